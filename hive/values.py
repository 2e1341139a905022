"""Typed values on their way from a body into a document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive.errors import Conflict


@dataclass
class Part:
    """A document or embedded document as a body describes it: its class, and the fields that it names."""

    model: Any
    values: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """A new document with these values."""
        known = self.model._fields
        return self.model(
            **{name: settle(None, value) for name, value in self.values.items() if value is not None or name in known}
        )

    def apply(self, document: Any) -> None:
        """Set the named fields of `document`, and leave the others; None empties a field."""
        if type(document) is not self.model:
            raise Conflict("The object was replaced by one of another class.")
        for name, value in self.values.items():
            if name in document._fields or value is not None:
                setattr(document, name, settle(document._data.get(name), value))
            elif name in document._dynamic_fields:
                delattr(document, name)


class Merge(dict[str, Any]):
    """A JSON Merge Patch (RFC 7396) for a dictionary: None removes a key, objects merge, all else replaces."""

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
    if isinstance(value, Part):
        if type(current) is not value.model:
            return value.build()
        value.apply(current)
        return current
    if isinstance(value, Merge):
        return value.onto(current)
    if isinstance(value, list):
        return [settle(None, item) for item in value]
    if isinstance(value, dict):
        return {key: settle(None, item) for key, item in value.items()}
    return value
