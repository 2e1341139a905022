"""What a write changed, told from what is stored before and after it."""

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any

import bson
import mongoengine as me
from bson.codec_options import CodecOptions

from hive.codecs.references import key_in
from hive.fields import EMBEDDED, REFERENCES
from hive.values import frozen

Updated = dict[str, dict[str, Any]]
Delta = tuple[Mapping[str, Any], Mapping[str, Any]]
"""What mongoengine sends as ``$set`` and ``$unset``: by dotted names of MongoDB."""
GONE: Any = object()


def image_of(document: Any, options: Any) -> dict[str, Any]:
    """The document as MongoDB gives it back when it is stored, under a collection's codec options."""
    values = document.to_mongo()
    if not document._is_document:
        values.setdefault("_cls", document._class_name)  # it may be of any class, so it says which
    codec = codec_of(options)
    return bson.decode(bson.encode(values, codec_options=codec), codec_options=codec)


def applied(raw: Mapping[str, Any], delta: Delta, options: Any) -> dict[str, Any]:
    """What MongoDB has of a document after ``$set`` and ``$unset``, under a collection's codec options."""
    codec, result = codec_of(options), dict(raw)
    to_set = bson.decode(bson.encode(delta[0], codec_options=codec), codec_options=codec)
    for path, value in to_set.items():
        put(result, path.split("."), value)
    for path in delta[1]:
        put(result, path.split("."), GONE)
    return result


def put(container: Any, path: list[str], value: Any) -> None:
    """Set what is at a path, or take it away. Containers on the way are copied, for others have them too."""
    name, *rest = path
    key: Any = int(name) if isinstance(container, list) else name
    if isinstance(container, list):  # which MongoDB fills up with null, also where something is unset
        container += [None] * (key + 1 - len(container))
    if rest:
        held = container[key] if isinstance(container, list) else container.get(key)
        container[key] = copy(held) if isinstance(held, dict | list) else {}
        put(container[key], rest, value)
    elif value is not GONE:
        container[key] = value
    elif isinstance(container, list):
        container[key] = None
    else:
        container.pop(key, None)


def codec_of(options: Any) -> "CodecOptions[dict[str, Any]]":
    """A collection's codec options, for documents that are dictionaries whatever it makes of them."""
    return CodecOptions(
        tz_aware=options.tz_aware, uuid_representation=options.uuid_representation, tzinfo=options.tzinfo
    )


def difference(model: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> Updated:
    """``{name: {"from": old, "to": new}}`` in typed Python values, for two images of a document of `model`.

    Names inside embedded documents are dotted, lists and dictionaries are whole, references are primary keys
    (of a generic reference the `bson.DBRef`), and what did not change is not there.
    """
    return {name: {"from": old, "to": new} for name, old, new in _changed(model, before, after)}


def _changed(
    model: Any, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    fields = {field.db_field: (name, field) for name, field in model._fields.items()}
    for key in dict.fromkeys([*fields, *before, *after]):
        old, new = before.get(key), after.get(key)
        if frozen(old) == frozen(new):
            continue
        name, field = fields.get(key, (key, None))
        if not (isinstance(old, dict) and isinstance(new, dict) and isinstance(field, EMBEDDED)):
            yield name, typed(field, old), typed(field, new)
        elif old.get("_cls") == new.get("_cls"):
            part = type(field.to_python(new))
            yield from ((f"{name}.{inner}", was, now) for inner, was, now in _changed(part, old, new))
        else:
            yield name, typed(field, old), typed(field, new)


def typed(field: Any, value: Any) -> Any:
    """A BSON value as the Python value that the field has, references as primary keys without a query."""
    if value is None or field is None:
        return value
    if isinstance(value, dict) and "_ref" in value:
        return value["_ref"]
    if isinstance(field, REFERENCES):
        return key_in(value)
    if isinstance(field, me.ListField):
        return [typed(field.field, item) for item in value]
    if isinstance(field, me.DictField):
        return {key: typed(field.field, item) for key, item in value.items()}
    return field.to_python(value)


def name_of(model: Any, db_field: str) -> str | None:
    """The dotted Python name of a dotted MongoDB name, or None; below a dictionary they are the same."""
    names: list[str] = []
    keys = db_field.split(".")
    for position, key in enumerate(keys, 1):
        found = next(((name, field) for name, field in model._fields.items() if field.db_field == key), None)
        if found is None:
            return None
        name, field = found
        names.append(name)
        inner = getattr(field, "field", None) or field
        if not isinstance(inner, me.EmbeddedDocumentField):
            return ".".join((*names, *keys[position:]))
        model = inner.document_type
    return ".".join(names)
