"""How each mongoengine field type crosses JSON: the one table."""

from collections.abc import Callable
from typing import Any

import mongoengine as me
from mongoengine.base import BaseField

from hive.codecs.codec import Codec
from hive.codecs.containers import (
    Dictionary,
    Embedded,
    GenericEmbedded,
    Items,
    Mapping,
    References,
    SortedItems,
    UntypedItems,
)  # fmt: skip
from hive.codecs.geo import Geometry, LegacyPoint
from hive.codecs.numbers import Exact, FixedDecimal, Float, Integer, Number
from hive.codecs.references import CachedReference, GenericReference, Reference
from hive.codecs.scalars import Address, Boolean, Bytes, Choice, Id, Text, Uuid
from hive.codecs.times import Day, ExactMoment, Moment
from hive.codecs.untyped import Anything, Custom
from hive.plain import plain

REFERENCES = (
    me.ReferenceField, me.LazyReferenceField, me.CachedReferenceField,
    me.GenericReferenceField, me.GenericLazyReferenceField,
)  # fmt: skip
EMBEDDED = (me.EmbeddedDocumentField, me.GenericEmbeddedDocumentField)
FILES = (me.FileField,)

TABLE: dict[type[BaseField], type[Codec]] = {
    me.StringField: Text,
    me.EmailField: Address,
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
    me.DynamicField: Anything,
    BaseField: Custom,
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
        return UntypedItems(field) if inner is None else items(field)(field, codec(inner, serializer_of))
    if isinstance(field, me.DictField):
        return Dictionary(field) if inner is None else Mapping(field, codec(inner, serializer_of))
    return scalar(field)


def items(field: Any) -> type[Items]:
    if isinstance(field, me.SortedListField):
        return SortedItems
    return References if isinstance(field.field, REFERENCES) else Items


def scalar(field: BaseField) -> Codec:
    """The row of the table. Of a class with a `to_python` of its own, clients read what that gives."""
    row = next(row for row in type(field).__mro__ if row in TABLE)
    found = TABLE[row](field)
    if row not in (BaseField, *REFERENCES) and type(field).to_python is not row.to_python:
        encode = found.encode or plain
        found.encode = lambda value: encode(field.to_python(value))
    return found
