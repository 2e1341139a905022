"""Typed values on their way from a body into a document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import mongoengine as me

from hive.errors import Conflict


@dataclass
class Part:
    """A document or embedded document as a body describes it: its class, and the fields that it names.

    It may be meant `onto` an embedded document that there is, wherever that is put.
    """

    model: Any
    values: dict[str, Any] = field(default_factory=dict)
    onto: Any = None

    def build(self) -> Any:
        """A new document with these values."""
        known = self.model._fields
        named = {name: value for name, value in self.values.items() if value is not None or name in known}
        return self.model(**{name: settle(None, value) for name, value in named.items()})

    def settled(self, current: Any) -> Any:
        """What it makes of the object that it is meant onto, or of `current`, or else a new one."""
        held = current if self.onto is None else self.onto
        if type(held) is not self.model:
            return self.build()
        self.apply(held)
        return held

    def apply(self, document: Any) -> None:
        """Set the named fields of `document`, and leave the others; None empties a field."""
        if type(document) is not self.model:
            raise Conflict("The object was replaced by one of another class.")
        for name, value in self.values.items():
            set_to = put if name in document._fields else put_dynamic
            set_to(document, name, settle(document._data.get(name), value))


def put(document: Any, name: str, value: Any) -> None:
    """Set a field. mongoengine does not store what Python finds equal to the old value, as True is to 1."""
    old = document._data.get(name)
    setattr(document, name, value)
    new = document._data.get(name)
    if old == new and frozen(old) != frozen(new):
        document._mark_as_changed(name)


def put_dynamic(document: Any, name: str, value: Any) -> None:
    """Set what is no field; None removes it. mongoengine unsets what is empty, so it must not seem there."""
    if name not in document._dynamic_fields and value is None:
        return
    if value is not None and frozen(document._data.get(name)) == frozen(value):
        return
    gone = value is None or (document._is_document and value in ("", [], {}))
    setattr(document, name, None if gone else value)
    if gone:
        document._dynamic_fields[name].null = False  # or null would be stored


def frozen(value: Any) -> Any:
    """What to compare a value by, of JSON or of MongoDB: True is not 1, but 1 is 1.0, and NaN is itself."""
    if isinstance(value, dict):
        return dict, *((key, frozen(value[key])) for key in sorted(value))
    if isinstance(value, list | tuple):
        return list, *map(frozen, value)
    if isinstance(value, bool | Decimal) or value != value:  # noqa: PLR0124 - only NaN is not
        return type(value), str(value)
    return value


class Merge(dict[str, Any]):
    """A JSON Merge Patch (RFC 7396) for a dictionary: None removes a key, objects merge, others replace."""

    def onto(self, current: Any) -> dict[str, Any]:
        merged = dict(current) if isinstance(current, Mapping) else {}
        for key, value in self.items():
            if value is None:
                merged.pop(key, None)
            else:
                patch = Merge(value) if isinstance(value, dict) else value
                merged[key] = settle(merged.get(key), patch)
        return merged


def settle(current: Any, value: Any) -> Any:
    """What a field holds when `value` is set where `current` was."""
    match value:
        case Part():
            return value.settled(current)
        case Merge():
            return value.onto(current)
        case me.EmbeddedDocument():  # one that is there, and is not to be shared by several attempts
            return type(value)._from_son(value.to_mongo())
        case list():
            return [settle(None, item) for item in value]
        case dict():
            return {key: settle(None, item) for key, item in value.items()}
    return value
