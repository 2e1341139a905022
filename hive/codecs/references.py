"""How references to stored documents cross JSON."""

from collections.abc import Mapping
from typing import Any

import mongoengine as me
from bson import DBRef
from mongoengine.base import get_document
from mongoengine.errors import NotRegistered

from hive.codecs.codec import Codec, expect, json_of
from hive.plain import plain


class Reference(Codec):
    """`ReferenceField`: the primary key of the target as a string, without a query."""

    partial = True

    def encode(self, value: Any) -> str:
        return str(plain(key_in(value)))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> DBRef:
        model = self.field.document_type
        return DBRef(model._get_collection_name(), decoding.find(model, value))


class CachedReference(Reference):
    """`CachedReferenceField` takes nothing but the document."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return decoding.fetch(self.field.document_type, value)


class GenericReference(Reference):
    """`GenericReferenceField`: ``{"_cls": class, "id": key}``, for the key alone names no document."""

    def encode(self, value: Any) -> Any:
        return {"_cls": value["_cls"], "id": str(plain(value["_ref"].id))}

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        what = "an object of _cls and id"
        expect(isinstance(value, dict) and value.keys() == {"_cls", "id"}, what)
        expect(isinstance(value["_cls"], str), what)
        named = registered(value["_cls"], me.Document, self.field.choices)
        model = decoding.routed(named, bool(self.field.choices))
        key = decoding.find(model, value["id"])
        return {"_cls": model._class_name, "_ref": DBRef(model._get_collection_name(), key)}

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


def registered(name: str, kind: type, choices: Any) -> Any:
    """The class of that name, where the field's choices allow it."""
    try:
        model = get_document(name)
    except NotRegistered:
        raise ValueError(f"knows no class {name!r}") from None
    is_own = model.__module__ != me.document.__name__  # not one of mongoengine's base classes
    is_chosen = not choices or any(allows(choice, model) for choice in choices)
    expect(is_own and issubclass(model, kind) and is_chosen, "of a class that this field takes")
    return model


def allows(choice: Any, model: Any) -> bool:
    """Whether mongoengine takes an object of `model` where this is a choice: a class, or its name."""
    if isinstance(choice, str):
        return bool(model._class_name == choice)
    return issubclass(model, choice)


def key_in(value: Any) -> Any:
    """The primary key in a reference, however mongoengine holds it: as stored, loaded or dereferenced."""
    if isinstance(value, DBRef):
        return value.id
    if isinstance(value, dict):
        return value["_ref"].id if "_ref" in value else value["_id"]
    return getattr(value, "pk", value)


def model_of(reference: Any) -> Any:
    """The class that a generic reference names."""
    if isinstance(reference, Mapping):
        return get_document(reference["_cls"])
    return getattr(reference, "document_type", type(reference))


def reference_to(field: Any, document: Any) -> Any:
    """What a reference field holds for a document."""
    if isinstance(field, me.CachedReferenceField):
        return document
    reference = DBRef(document._get_collection_name(), document.pk)
    if isinstance(field, me.GenericReferenceField):
        return {"_cls": document._class_name, "_ref": reference}
    return reference
