"""Models with fields of all kinds, and strategies of whatever JSON clients may send for them."""

import enum

import mongoengine as me
from hypothesis import example, strategies as st

ID = "65a000000000000000000001"


class Hue(enum.Enum):
    RED = "red"
    ONE = 1


class Somebody(me.Document):
    name = me.StringField()


class Inner(me.EmbeddedDocument):
    text = me.StringField(max_length=20)
    number = me.IntField(min_value=0)
    inner = me.EmbeddedDocumentField("self")
    more = me.EmbeddedDocumentListField("self")


class LooseInner(me.DynamicEmbeddedDocument):
    text = me.StringField()


class Everything(me.Document):
    text = me.StringField(max_length=1000)
    url = me.URLField()
    email = me.EmailField(allow_ip_domain=True, allow_utf8_user=True)
    whole = me.IntField()
    long = me.LongField()
    real = me.FloatField()
    decimal = me.DecimalField()
    decimal_text = me.DecimalField(force_string=True, precision=4)
    exact = me.Decimal128Field()
    flag = me.BooleanField()
    at = me.DateTimeField()
    exactly = me.ComplexDateTimeField()
    day = me.DateField()
    uuid = me.UUIDField(binary=False)
    data = me.BinaryField()
    color = me.EnumField(Hue)
    oid = me.ObjectIdField()
    number = me.SequenceField()
    numbers = me.ListField(me.IntField())
    untyped = me.ListField()
    nested = me.ListField(me.ListField(me.DateTimeField()))
    ordered = me.SortedListField(me.StringField())
    sorted = me.SortedListField(me.EmbeddedDocumentField(Inner), ordering="number")
    unsortable = me.SortedListField(me.DynamicField())
    embedded = me.EmbeddedDocumentField(Inner)
    generic_embedded = me.GenericEmbeddedDocumentField(choices=[Inner, LooseInner])
    loose = me.EmbeddedDocumentField(LooseInner)
    several = me.EmbeddedDocumentListField(Inner)
    map = me.MapField(me.DecimalField())
    maps = me.MapField(me.EmbeddedDocumentField(Inner))
    dictionary = me.DictField()
    dynamic = me.DynamicField()
    chosen = me.DynamicField(choices=["a", 1])
    reference = me.ReferenceField(Somebody)
    references = me.ListField(me.ReferenceField(Somebody))
    lazy = me.LazyReferenceField(Somebody)
    cached = me.CachedReferenceField(Somebody)
    generic = me.GenericReferenceField()
    generics = me.ListField(me.GenericLazyReferenceField())
    geo = me.GeoPointField()
    point = me.PointField()
    line = me.LineStringField()
    polygon = me.PolygonField()
    points = me.MultiPointField()
    lines = me.MultiLineStringField()
    polygons = me.MultiPolygonField()


class FreeText(me.DynamicDocument):
    text = me.StringField(db_field="t")


FIELDS = [name for name in Everything._fields if name != "id"]
STRINGS = [
    "", "\0", "\ud800", "$x", "a.b", "_cls", "_ref", "__class__", "a@", "a@[", "http://", ID,
    "2026-01-31T00:00:00Z", "2026-01-31",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1e400", "9" * 30, "-1E-30", "NaN", "sNaN",
    "Infinity", "AAAA", "red",
    "12345678-1234-5678-1234-567812345678", "true", "1", "-0", "null", "[1]", "{}", "Inner", "Somebody", "é",
    "\u2028", "x" * 2000,
]  # fmt: skip
KEYS = [
    "",
    "$a",
    "a.b",
    "\0",
    "_cls",
    "_ref",
    "_id",
    "id",
    "pk",
    "self",
    "type",
    "coordinates",
    "text",
    "number",
    "inner",
    "more",
]
NUMBERS = [
    0,
    1,
    -1,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**390,
    10**1000,
    1e308,
    -0.0,
    0.1,
    180,
    181,
    5e-324,
]
scalars = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), st.sampled_from(STRINGS),
    st.text(st.characters(exclude_categories=()), max_size=20),
)  # fmt: skip
keys = st.sampled_from(KEYS) | st.text(max_size=5)
shapes = st.sampled_from([
    {"_cls": "Inner", "text": "x"}, {"_cls": "LooseInner", "any": [1]}, {"_cls": "Somebody", "id": ID},
    {"text": "a", "number": 1},
    {"type": "Point", "coordinates": [1, 2]}, [1, 2], [[1, 2], [3, 4]], [[[0, 0], [0, 5], [5, 5], [0, 0]]],
    [ID], [[]], [{}], {}, [],
    [{"number": 1}, {"text": "x"}], [{"number": None}],
])  # fmt: skip
values = st.recursive(
    scalars | shapes,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
texts = st.sampled_from([text for text in STRINGS if text != "\ud800"]) | st.text(max_size=20)
bodies = st.dictionaries(st.sampled_from(FIELDS) | keys, values, max_size=6)
precise = st.fixed_dictionaries({
    "text": st.text(max_size=50),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "exactly": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "dictionary": st.dictionaries(
        st.text(st.characters(exclude_characters="$.\0_", exclude_categories=["Cs"]), min_size=1,
            max_size=5),
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=10),
        max_size=5,
    ),
})  # fmt: skip
"""Bodies whose values are stored and read as they are."""

SUFFIXES = ["", "[]", ".text", ".a.b", "[].x", "."]
"""What the name of a field of a form may end with."""

KNOWN = [
    {"sorted": [{"text": "x"}]},
    {"point": [10**390, 0], "geo": [0, 10**390], "real": 10**390, "decimal": 10**390},
    {"decimal": "9" * 26, "map": {"a": "99999999999999999999999999.99"}},
    {"dictionary": {"a": {"b": None}}, "dynamic": {"a": [None]}},
    {"several": [{"text": "x", "more": [{"number": -1}]}]},
    {"\ud800": 1},
]
"""Bodies at which hive has failed."""


def with_known(test):
    """Try the known bodies, too."""
    for body in KNOWN:
        test = example(body)(test)
    return test
