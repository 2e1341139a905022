"""How each mongoengine field type crosses JSON: the one table, and the fields that hold other fields."""

from collections.abc import Callable
from typing import Any

import mongoengine as me
from bson import DBRef
from mongoengine.errors import NotRegistered
from mongoengine.base import BaseField, get_document

from hive.errors import Invalid
from hive.geo import Geometry, LegacyPoint
from hive.scalars import (
    Anything, Boolean, Bytes, Choice, Codec, Exact, FixedDecimal, Float, Id, Integer, Number, Text, Uuid,
    expect, free, json_of, key_of, plain,
)  # fmt: skip
from hive.times import Day, ExactMoment, Moment
from hive.values import Merge, Part

REFERENCES = (
    me.ReferenceField, me.LazyReferenceField, me.CachedReferenceField,
    me.GenericReferenceField, me.GenericLazyReferenceField,
)  # fmt: skip
EMBEDDED = (me.EmbeddedDocumentField, me.GenericEmbeddedDocumentField)
FILES = (me.FileField,)


class Embedded(Codec):
    """`EmbeddedDocumentField`: an object with the fields that the client may see."""

    def __init__(self, field: Any, serializer_of: Callable[[Any], Any]) -> None:
        super().__init__(field)
        self.serializer_of = serializer_of

    @property
    def serializer(self) -> Any:
        """Made when first needed, for an embedded document may hold itself."""
        return self.serializer_of(self.field.document_type)

    def encode(self, value: Any) -> Any:
        return self.serializer.encode(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Part:
        expect(isinstance(value, dict), "an object")
        return self.serializer.decode(value, decoding, current)  # type: ignore[no-any-return]

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class GenericEmbedded(Embedded):
    """`GenericEmbeddedDocumentField`: the same, with its class in ``_cls``."""

    def encode(self, value: Any) -> Any:
        return {"_cls": value["_cls"]} | self.serializer_of(get_document(value["_cls"])).encode(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Part:
        expect(isinstance(value, dict) and isinstance(value.get("_cls"), str), "an object with its class in _cls")
        model = registered(value["_cls"], me.EmbeddedDocument, self.field.choices)
        body = {key: item for key, item in value.items() if key != "_cls"}
        return self.serializer_of(model).decode(body, decoding, current if type(current) is model else None)  # type: ignore[no-any-return]


def registered(name: str, kind: type, choices: Any) -> Any:
    """The class of that name, where the field's choices allow it."""
    try:
        model = get_document(name)
    except NotRegistered:
        raise ValueError(f"knows no class {name!r}") from None
    allowed = [choice if isinstance(choice, str) else choice._class_name for choice in choices or [name]]
    expect(issubclass(model, kind) and name in allowed, "of a class that this field takes")
    return model


class Items(Codec):
    """`ListField` and its kin."""

    def __init__(self, field: Any, item: Codec) -> None:
        super().__init__(field)
        self.item = item
        if item.encode is None:
            self.encode = None
        else:
            encode = item.encode
            self.encode = lambda value: [None if one is None else encode(one) for one in value]

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        return list(each(self.item, enumerate(value), decoding.literal).values())

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class References(Items):
    """A list of references: one query finds them all."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        if not isinstance(self.item, GenericReference):
            decoding.prefetch(self.item.field.document_type, value)
        return super().decode(value, decoding)


class Mapping(Codec):
    """`MapField`, and `DictField` of a field."""

    def __init__(self, field: Any, item: Codec) -> None:
        super().__init__(field)
        self.item = item
        encode = item.encode or (lambda value: value)
        self.encode = lambda value: {key: None if one is None else encode(one) for key, one in value.items()}

    def decode(self, value: Any, decoding: Any, current: Any = None) -> dict[str, Any]:
        expect(isinstance(value, dict), "an object")
        removed = {key_of(key): None for key, item in value.items() if decoding.patch and item is None}
        kept = [(key_of(key), item) for key, item in value.items() if key not in removed]
        values = each(self.item, kept, decoding)
        return Merge(removed | values) if decoding.patch else values

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class Dictionary(Anything):
    """`DictField` without a field for its values."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> dict[str, Any]:
        expect(isinstance(value, dict), "an object")
        values = free(value)
        return Merge(values) if decoding.patch else values  # type: ignore[no-any-return]

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class UntypedItems(Anything):
    """`ListField` without a field for its items."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        return free(value)  # type: ignore[no-any-return]

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


def each(codec: Codec, items: Any, decoding: Any) -> dict[Any, Any]:
    """Every item decoded; all that are wrong are told at once."""
    decoded, errors = {}, []
    for key, item in items:
        try:
            expect(item is not None, "something else than null")
            decoded[key] = codec.decode(item, decoding)
        except Invalid as problem:
            errors += problem.under(key)
        except ValueError as error:
            errors.append({"field": str(key), "message": str(error)})
    if errors:
        raise Invalid(errors=errors)
    return decoded


class Reference(Codec):
    """`ReferenceField`: the primary key of the target as a string, without a query."""

    def encode(self, value: Any) -> str:
        return str(plain(key_in(value)))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> DBRef:
        model = self.field.document_type
        key = decoding.find(model, value)
        if model._meta.get("abstract"):
            raise ValueError("cannot be set, for its model is abstract")
        return DBRef(model._get_collection_name(), key)


class CachedReference(Reference):
    """`CachedReferenceField` takes nothing but the document."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return decoding.fetch(self.field.document_type, value)


class GenericReference(Reference):
    """`GenericReferenceField`: ``{"_cls": class, "id": primary key}``, for the key alone does not name a document."""

    def encode(self, value: Any) -> Any:
        return {"_cls": value["_cls"], "id": str(plain(value["_ref"].id))}

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        what = "an object of _cls and id"
        expect(isinstance(value, dict) and value.keys() == {"_cls", "id"} and isinstance(value["_cls"], str), what)
        model = decoding.routed(registered(value["_cls"], me.Document, self.field.choices), bool(self.field.choices))
        return {"_cls": model._class_name, "_ref": DBRef(model._get_collection_name(), decoding.find(model, value["id"]))}

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


def key_in(value: Any) -> Any:
    """The primary key in a reference, however mongoengine holds it: as stored, loaded or dereferenced."""
    if isinstance(value, DBRef):
        return value.id
    if isinstance(value, dict):
        return value["_ref"].id if "_ref" in value else value["_id"]
    return getattr(value, "pk", value)


def reference_to(field: Any, document: Any) -> Any:
    """What a reference field holds for a document."""
    if isinstance(field, me.CachedReferenceField):
        return document
    reference = DBRef(document._get_collection_name(), document.pk)
    return {"_cls": document._class_name, "_ref": reference} if isinstance(field, me.GenericReferenceField) else reference


TABLE: dict[type[BaseField], type[Codec]] = {
    me.StringField: Text,
    me.IntField: Integer,
    me.FloatField: Float,
    me.DecimalField: FixedDecimal,
    me.Decimal128Field: Exact,
    me.BooleanField: Boolean,
    me.DateTimeField: Moment,
    me.DateField: Day,
    me.ComplexDateTimeField: ExactMoment,
    me.UUIDField: Uuid,
    me.BinaryField: Bytes,
    me.ObjectIdField: Id,
    me.EnumField: Choice,
    me.SequenceField: Number,
    me.ReferenceField: Reference,
    me.LazyReferenceField: Reference,
    me.CachedReferenceField: CachedReference,
    me.GenericReferenceField: GenericReference,
    me.GeoJsonBaseField: Geometry,
    me.GeoPointField: LegacyPoint,
    BaseField: Anything,
}
"""A field type takes the row of its own class or of the nearest base class: a custom field needs no row."""


def codec(field: BaseField, serializer_of: Callable[[Any], Any]) -> Codec:
    """How `field` crosses JSON; `serializer_of` gives the serializer of an embedded class."""
    inner = getattr(field, "field", None)
    if isinstance(field, me.GenericEmbeddedDocumentField):
        return GenericEmbedded(field, serializer_of)
    if isinstance(field, me.EmbeddedDocumentField):
        return Embedded(field, serializer_of)
    if isinstance(field, me.ListField):
        if inner is None:
            return UntypedItems(field)
        return (References if isinstance(inner, REFERENCES) else Items)(field, codec(inner, serializer_of))
    if isinstance(field, me.DictField):
        return Dictionary(field) if inner is None else Mapping(field, codec(inner, serializer_of))
    return next(TABLE[row] for row in type(field).__mro__ if row in TABLE)(field)
