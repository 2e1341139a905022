"""A model with fields of all kinds, bodies of it for hypothesis, and what a document has, to compare by."""

import enum
from datetime import datetime

import mongoengine as me
from bson import Int64, ObjectId
from hypothesis import strategies as st

ID = ObjectId("65a000000000000000000001")


class Hue(enum.Enum):
    RED = "red"
    BLUE = "blue"


class DiffedLeaf(me.EmbeddedDocument):
    word = me.StringField(db_field="w")
    number = me.IntField()


class DiffedPart(me.EmbeddedDocument):
    name = me.StringField(db_field="n")
    leaf = me.EmbeddedDocumentField(DiffedLeaf, db_field="l")
    leaves = me.EmbeddedDocumentListField(DiffedLeaf)
    data = me.DictField()
    source = me.StringField(default="client")


class DiffedOther(me.EmbeddedDocument):
    name = me.StringField()


class DiffedThing(me.Document):
    text = me.StringField(db_field="t")
    whole = me.IntField()
    long = me.LongField()
    number = me.FloatField()
    price = me.DecimalField()
    flag = me.BooleanField()
    at = me.DateTimeField()
    exactly = me.ComplexDateTimeField()
    day = me.DateField()
    hue = me.EnumField(Hue)
    key = me.ObjectIdField()
    free = me.DynamicField()
    texts = me.ListField(me.StringField())
    rows = me.ListField(me.ListField(me.IntField()))
    data = me.DictField(db_field="d")
    counts = me.MapField(me.IntField())
    part = me.EmbeddedDocumentField(DiffedPart, db_field="p")
    any = me.GenericEmbeddedDocumentField(choices=[DiffedPart, DiffedOther])
    parts = me.EmbeddedDocumentListField(DiffedPart)
    places = me.MapField(me.EmbeddedDocumentField(DiffedLeaf))
    count = me.IntField(default=0)

    def clean(self):
        self.count = (self.count or 0) + 1


words = st.text(st.sampled_from("abé~/ "), max_size=3)
keys = st.sampled_from(["a", "b", "c d", "é", "1"])
small = st.integers(-3, 3)
times = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))  # noqa: DTZ001 - in UTC, without saying so
values = st.recursive(
    st.none() | st.booleans() | small | st.just(2**63 - 1) | st.sampled_from([0.0, 1.0, 0.5]) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def objects(**fields):
    """JSON objects with some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


leaves = objects(word=st.none() | words, number=st.none() | small)
dictionaries = st.dictionaries(keys, values, max_size=3)
PART = {
    "name": st.none() | words,
    "leaf": st.none() | leaves,
    "leaves": st.lists(leaves, max_size=2),
    "data": dictionaries,
    "source": words,
}
parts = objects(**PART)
SCALARS = {
    "text": words,
    "whole": small,
    "long": st.integers(-(2**63), 2**63 - 1),
    "number": st.sampled_from([0, 1, 1.0, -0.5, 1e300]),
    "price": st.sampled_from(["1.10", "1.1", "0", "-2.55", 3]),
    "flag": st.booleans(),
    "at": times.map(lambda time: time.isoformat() + "Z"),
    "exactly": times.map(lambda time: time.isoformat() + "Z"),
    "day": st.sampled_from(["2026-01-31", "1999-12-31"]),
    "hue": st.sampled_from(["red", "blue"]),
    "key": st.sampled_from([str(ID), "65a000000000000000000002"]),
    "free": values,
}
FIELDS = {name: st.none() | field for name, field in SCALARS.items()} | {
    "texts": st.none() | st.lists(words, max_size=3),
    "rows": st.lists(st.lists(small, max_size=2), max_size=2),
    "data": st.none() | dictionaries,
    "counts": st.dictionaries(keys, small, max_size=3),
    "part": st.none() | parts,
    "any": st.none()
    | parts.map(lambda body: body | {"_cls": "DiffedPart"})
    | objects(name=words).map(lambda body: body | {"_cls": "DiffedOther"}),
    "parts": st.lists(parts, max_size=2),
    "places": st.dictionaries(keys, leaves, max_size=2),
}
bodies = objects(**FIELDS)


@st.composite
def patches(draw):
    """JSON Patches of fields and of what is in lists and dictionaries, which may not be there."""
    fields = draw(bodies).items()
    operations = [{"op": "add", "path": f"/{name}", "value": field} for name, field in fields]
    tails = {
        "/texts/-": words, "/data/a": values, "/counts/a": small, "/rows/-": st.lists(small, max_size=2),
        "/parts/-": parts, "/places/a": leaves,
    }  # fmt: skip
    for path in draw(st.lists(st.sampled_from(sorted(tails)), max_size=3)):
        operations += [{"op": "add", "path": path, "value": draw(tails[path])}]
    sources = st.sampled_from(["/text", "/texts", "/data", "/parts", "/part", "/whole", "/places"])
    for source in draw(st.lists(sources, max_size=2, unique=True)):
        ways = [[{"op": "remove", "path": source}], [{"op": "add", "path": "/parts/-", "value": {}}]]
        if source not in ("/part", "/parts", "/places"):
            ways.append([{"op": "copy", "from": source, "path": "/free"}])
        operations.extend(draw(st.sampled_from(ways)))
    return operations


# Documents as typed Python values, with None for what is empty or not there


def typed(value):
    """What a document has, by Python names: embedded documents as dictionaries with their class."""
    if isinstance(value, me.Document | me.EmbeddedDocument):
        return {"": type(value).__name__} | {
            name: held(getattr(value, name)) for name in value._fields if name not in ("id", "_cls")
        }
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    return value


def held(value):
    """What a field has: mongoengine does not store what is empty."""
    found = typed(value)
    return None if found in ({}, []) else found


def known(value):
    """The same, to compare by: True is not 1, and a float no integer."""
    if isinstance(value, dict):
        return {key: known(item) for key, item in value.items()}
    if isinstance(value, list):
        return [known(item) for item in value]
    return int if isinstance(value, Int64) else type(value), value


def differing(one, other):
    """The fields in which two typed documents are not the same."""
    return {name: (one[name], other[name]) for name in other if known(one[name]) != known(other[name])}


def done(document, updated, side):
    """The typed document with one side of each change."""
    result = json_like(document)
    for name, change in updated.items():
        *trail, last = name.split(".")
        holder = result
        for step in trail:
            holder = holder[step]
        assert last in holder
        holder[last] = held(change[side])
    return result


def json_like(value):
    if isinstance(value, dict):
        return {key: json_like(item) for key, item in value.items()}
    return [json_like(item) for item in value] if isinstance(value, list) else value
