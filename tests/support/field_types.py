"""Every field type that mongoengine has: values, and JSON that is no such value."""

import enum
import uuid
from copy import copy
from dataclasses import dataclass, field as dataclass_field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import mongoengine as me
from bson import ObjectId
from mongoengine.base import LazyReference

naive = datetime  # as mongoengine has times: in UTC, without saying so

ID = ObjectId("65a000000000000000000001")
OTHER = ObjectId("65a000000000000000000002")
NOBODY = "65a0000000000000000000ff"
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"
    BLACK = "black"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Target(me.Document):
    name = me.StringField()


class Coded(me.Document):
    code = me.StringField(primary_key=True)


class Road(me.EmbeddedDocument):
    name = me.StringField(required=True)
    number = me.IntField()


class Pin(me.EmbeddedDocument):
    at = me.PointField()


class Plank(me.EmbeddedDocument):
    order = me.IntField()
    label = me.StringField()


@dataclass
class Row:
    """A field type: a value in JSON, in Python and as the text of a form, and JSON that is no such value."""

    field: Any
    json: Any
    python: Any
    wrong: list[Any]
    form: Any = None
    also: list[Any] = dataclass_field(default_factory=list)  # other JSON that means the same
    empty: Any = None  # what null makes of it
    mongomock: bool = True  # whether mongomock stores it


NOT_TEXT = [1, 1.5, True, [], {}, ["a"], {"a": 1}, "\ud800"]
NOT_NUMBER = ["1", "", True, False, [], {}, [1], 2**80, -(2**70)]
NOT_PLACE = [
    1,
    "1,2",
    True,
    [],
    {},
    [1],
    [1, 2, 3],
    ["1", "2"],
    [True, False],
    [181, 0],
    [0, -91],
    [10**390, 0],
]
NOT_PLACE += [
    "x",
    ["a", "b"],
    {"$geometry": 1},
    {"type": "Point"},
    {"type": "Circle", "coordinates": [1, 2]},
    {"type": "Point", "coordinates": None},
    {"type": "Point", "coordinates": [[1, 2]]},
    {"type": "Point", "coordinates": {}},
]
NOT_REFERENCE = [
    True,
    [],
    {},
    1.5,
    "nobody",
    "\ud800",
    "",
    NOBODY,
    {"id": str(ID)},
    {"$gt": ""},
    {"$ne": None},
    {"id": NOBODY},
    {"name": "x"},
    1,
    "../" + str(ID),
]
RING = [[0, 0], [0, 5], [5, 5], [0, 0]]
STREET = {"name": "Elm", "number": 7}

ROWS = {
    "string": Row(me.StringField(max_length=50), "Zoë \0 ☃", "Zoë \0 ☃", [*NOT_TEXT, "x" * 51], "Zoë \0 ☃"),
    "empty string": Row(me.StringField(), "", "", NOT_TEXT, ""),
    "url": Row(
        me.URLField(), "https://example.org/a?b=c", "https://example.org/a?b=c",
        [*NOT_TEXT, "", "://", "http://", "javascript:alert(1)", "http://\0", "http://[", "x" * 5000,
        "http://" + "a." * 5000],
        "https://example.org/a?b=c",
    ),
    "email": Row(
        me.EmailField(), "a@example.org", "a@example.org",
        [*NOT_TEXT, "", "@", "a@", "@b", "a@b", "a@\0.org", "a@" + "x" * 5000 + ".org",
        '"' + "\\" * 5001 + '"@b.org', "a@.."],
        "a@example.org",
    ),
    "email with an IP domain": Row(
        me.EmailField(allow_ip_domain=True, allow_utf8_user=True), "a@[192.168.0.1]", "a@[192.168.0.1]",
        ["a@", "@", "a@[", "a@]", "a@[]", "a@[\0]", "a@[::g]", "a@[\u2603]"], "a@[192.168.0.1]",
    ),
    "int": Row(me.IntField(), 7, 7, [*NOT_NUMBER, 1.5, 1.0, 2**63, "x", 1e300], "7"),
    "largest int": Row(me.IntField(), 2**63 - 1, 2**63 - 1, [2**63, -(2**63) - 1], str(2**63 - 1)),
    "int with bounds": Row(me.IntField(min_value=1, max_value=9), 9, 9, [0, 10, -(2**63)], "9"),
    "int with choices": Row(me.IntField(choices=[1, 2]), 2, 2, [3, "2", [2], {}], "2"),
    "long": Row(me.LongField(), -(2**63), -(2**63), [*NOT_NUMBER, 1.5], str(-(2**63))),
    "float": Row(me.FloatField(), 0.1, 0.1, [*NOT_NUMBER[:-2], 10**390, "1.5", "x"], "0.1"),
    "whole float": Row(me.FloatField(), 2.0, 2.0, [], "2", also=[2]),
    "decimal": Row(
        me.DecimalField(), "12.35", Decimal("12.35"),
        [True, [], {}, "", "x", "NaN", "Infinity", "-Infinity", "1e400", 10**40, "9" * 27, "9" * 26 + ".99",
        "1_0", "1,5", "1e999999999", "0x1"],
        "12.35", also=["12.345", 12.35],
    ),
    "decimal as a string": Row(
        me.DecimalField(force_string=True, precision=5), "0.10000", Decimal("0.10000"),
        [True, "x", "sNaN", "9" * 27, "1e999999999999999999"], "0.1", also=["0.1", 0.1],
    ),
    "whole decimal": Row(me.DecimalField(precision=0), "12", Decimal(12), ["1e40"], "12", also=[12,
    "12.4"]),
    "decimal128": Row(
        me.Decimal128Field(), "1234567890123456789012345678901234",
        Decimal(1234567890123456789012345678901234),
        [True, [], {}, "", "x", "NaN", "Infinity", "1" * 35, "1e7000", "1e-7000", "1e999999999", 10**390 + 1,
        "٣"],
        "1234567890123456789012345678901234",
    ),
    "decimal128 with bounds": Row(
        me.Decimal128Field(min_value=Decimal("0.5"), max_value=2), "1.10", Decimal("1.10"), ["0.4", 3], "1.10"
    ),
    "boolean": Row(me.BooleanField(), True, True, [0, 1, "true", "yes", "", [], {}, 1.0], "on"),
    "false": Row(me.BooleanField(), False, False, [0], "false"),
    "datetime": Row(
        me.DateTimeField(), "2026-01-31T23:59:59.123000Z", naive(2026, 1, 31, 23, 59, 59, 123000),
        [1, 1.5, True, [], {}, "", "today", "2026-02-30", "24:00", "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
         "10000-01-01T00:00:00Z", "2026-01-31T23:59:60Z", "\ud800", "2026-01-31T23:59:59+99:00", "2020-13-01",
        "2020-01-01T25:00:00Z", "20200101T000000Z0", 1e30, "0000-00-00T00:00:00Z"],
        "2026-01-31T23:59:59.123Z", also=["2026-02-01T01:59:59.123456+02:00", "2026-01-31T23:59:59.123"],
    ),
    "first datetime": Row(me.DateTimeField(), "0001-01-01T00:00:00Z", naive(1, 1, 1), [], "0001-01-01"),
    "last datetime": Row(
        me.DateTimeField(), "9999-12-31T23:59:59.999000Z", naive(9999, 12, 31, 23, 59, 59, 999000), [],
        "9999-12-31T23:59:59.999Z",
    ),
    "complex datetime": Row(
        me.ComplexDateTimeField(), "2026-01-31T23:59:59.123456Z", naive(2026, 1, 31, 23, 59, 59, 123456),
        [1, True, [], {}, "", "x", "2026,01,31,23,59,59,123456", "0001-01-01T00:00:00+14:00"],
        "2026-01-31T23:59:59.123456Z", also=["2026-02-01T01:59:59.123456+02:00"],
    ),
    "first complex datetime": Row(me.ComplexDateTimeField(separator="-"), "0001-01-01T00:00:00Z", naive(1,
    1, 1), []),
    "date": Row(
        me.DateField(), "2026-01-31", date(2026, 1, 31),
        [1, True, [], {}, "", "x", "2026-02-30", "2026-01-31T00:00:00Z", "10000-01-01", "2020-1-1", "\ud800"],
        "2026-01-31",
    ),
    "first date": Row(me.DateField(), "0001-01-01", date(1, 1, 1), ["0000-01-01"], "0001-01-01"),
    "uuid": Row(me.UUIDField(), str(UUID), UUID, [1, True, [], {}, "", "x", "\ud800", str(UUID)[:-1]],
    str(UUID), mongomock=False),
    "uuid as a string": Row(
        me.UUIDField(binary=False), str(UUID), UUID, [1, True, [], {}, "", "x"], str(UUID),
        also=[str(UUID).upper()]
    ),
    "binary": Row(
        me.BinaryField(max_bytes=8), "AAH/", b"\x00\x01\xff",
        [1, True, [], {}, "x", "=", "AAH", "AAH/AAH/AAH/", "ÄÄ==", "\ud800", "AA H/", "AA__",
        "å", "a===", "%%%%"], "AAH/",
    ),
    "empty binary": Row(me.BinaryField(), "", b"", [], ""),
    "enum": Row(me.EnumField(Color), "red", Color.RED, [1, True, [], {}, "", "RED", "Color.RED", "\ud800"],
    "red"),
    "int enum": Row(me.EnumField(Size), 1, Size.SMALL, ["1", True, 3, [], {}, "SMALL"], "1", also=[1.0]),
    "enum with choices": Row(
        me.EnumField(Color, choices=[Color.RED, Color.BLUE]), "blue", Color.BLUE, ["black", "x", []], "blue"
    ),
    "list": Row(
        me.ListField(me.IntField(), max_length=3), [3, 1], [3, 1],
        [1, "x", True, {}, ["1"], [None], [[1]], [True], [1, 2, 3, 4], [2**64]], {"value[]": ["3", "1"]},
        empty=[],
    ),
    "list of strings": Row(
        me.ListField(me.StringField()), ["b", "a"], ["b", "a"], [1, True, {}, "x", [1], [None], [[]], [{}],
        ["x", 1]], {"value[]": ["b", "a"]}, empty=[],
    ),
    "untyped list": Row(
        me.ListField(), [1, "a", True, None, 1.5, {"a": [1]}], [1, "a", True, None, 1.5, {"a": [1]}],
        [1, "x", True, {}, [2**64], ["\ud800"], [{"$a": 1}], [{"a.b": 1}], [[{"\0": 1}]],
        [{"_cls": "Target"}], [{"$where": 1}]],
        '[1,"a",true,null,1.5,{"a":[1]}]', empty=[],
    ),
    "untyped list of texts": Row(me.ListField(), ["a", "b"], ["a", "b"], [], {"value[]": ["a", "b"]},
    empty=[]),
    "nested list": Row(
        me.ListField(me.ListField(me.IntField())), [[1], [], [2, 3]], [[1], [], [2, 3]],
        [[1], [["1"]], [[None]], {}], "[[1],[],[2,3]]", empty=[],
    ),
    "list of enums": Row(me.ListField(me.EnumField(Color)), ["red"], [Color.RED], [["RED"], [1]],
    {"value[]": ["red"]}, empty=[]),
    "list of datetimes": Row(
        me.ListField(me.DateTimeField()), ["2026-01-31T00:00:00Z"], [naive(2026, 1, 31)], [[1], ["x"]],
        {"value[]": ["2026-01-31"]}, empty=[],
    ),
    "list of decimals": Row(me.ListField(me.DecimalField()), ["0.10"], [Decimal("0.10")], [["x"]],
    {"value[]": ["0.1"]}, empty=[]),
    "sorted list": Row(
        me.SortedListField(me.IntField(), reverse=True), [3, 2, 1], [3, 2, 1], [[1, "2"], 1, {}],
        {"value[]": ["1", "3", "2"]},
        also=[[1, 3, 2]], empty=[],
    ),
    "sorted list of embedded": Row(
        me.SortedListField(me.EmbeddedDocumentField(Plank), ordering="order"),
        [{"order": 1, "label": "b"}, {"order": 2, "label": "a"}], [Plank(order=1, label="b"), Plank(order=2,
        label="a")],
        [[{"order": "1"}], [{"order": 1}, {"order": None}], [{"label": "a"}, {"order": 1}]],
        also=[[{"order": 2, "label": "a"}, {"order": 1, "label": "b"}]], empty=[],
    ),
    "sorted list of anything": Row(
        me.SortedListField(me.DynamicField()), [1, 2], [1, 2], [[1, "a"], [{}, {}]], "[2,1]", empty=[]
    ),
    "embedded": Row(
        me.EmbeddedDocumentField(Road), STREET, Road(**STREET),
        [1, "x", True, [], [STREET], {"name": 1}, {"nme": "x"}, {"name": "Elm", "_cls": "Road"},
        {"name": "Elm", "_id": 1}, "", [{}], {"name": "Elm", "number": "x"}, {"$set": 1}],
        {"value.name": "Elm", "value.number": "7"},
    ),
    "embedded place": Row(
        me.EmbeddedDocumentField(Pin), {"at": {"type": "Point", "coordinates": [1, 2]}},
        Pin(at={"type": "Point", "coordinates": [1, 2]}), [{"at": 1}], {"value.at": "[1,2]"},
            also=[{"at": [1, 2]}],
    ),
    "generic embedded": Row(
        me.GenericEmbeddedDocumentField(choices=[Road, Pin]), {"_cls": "Road"} | STREET, Road(**STREET),
        [1, "x", [], {}, STREET, {"_cls": "Plank"}, {"_cls": "Nobody"}, {"_cls": 1}, {"_cls": "Target"},
        {"_cls": "Pin", "name": "x"}],
        '{"_cls":"Road","name":"Elm","number":7}',
    ),
    "any embedded": Row(
        me.GenericEmbeddedDocumentField(), {"_cls": "Road"} | STREET, Road(**STREET),
        [{"_cls": "Target", "name": "x"}, {"_cls": "\ud800"}, {"_cls": "EmbeddedDocument"},
        {"_cls": "DynamicEmbeddedDocument"}],
    ),
    "embedded list": Row(
        me.EmbeddedDocumentListField(Road), [STREET, {"name": "Oak", "number": None}], [Road(**STREET),
        Road(name="Oak")],
        [1, True, "x", {}, STREET, [1], [None], ["x"], [[]], [{}], [{"name": 1}],
        [{"nothing": 1}], [STREET, {"name": "x", "number": "1"}]], empty=[],
    ),
    "map": Row(
        me.MapField(me.IntField()), {"a": 1, "b c": 2}, {"a": 1, "b c": 2},
        [1, "x", [], {"a": "1"}, {"a": None}, {"$a": 1}, {"a.b": 1}, {"": 1}, {"\0": 1}, {"_cls": 1},
        {"\ud800": 1}, {"a": "x"}, {"a": 2**70}, {"a\0b": 1}],
        {"value.a": "1", "value.b c": "2"}, empty={},
    ),
    "map of embedded": Row(
        me.MapField(me.EmbeddedDocumentField(Road)), {"home": STREET}, {"home": Road(**STREET)},
        [{"home": 1}, {"home": {}}, {"home": {"nme": 1}}, {"home": [STREET]}],
        {"value.home.name": "Elm", "value.home.number": "7"}, empty={},
    ),
    "map of lists": Row(
        me.MapField(me.ListField(me.IntField())), {"a": [1], "b": []}, {"a": [1], "b": []}, [{"a": 1},
        {"a": ["x"]}], empty={}
    ),
    "dict": Row(
        me.DictField(), {"a": {"b": [1, None, "x", True, 1.5]}, "c": None}, {"a": {"b": [1, None, "x", True,
        1.5]}, "c": None},
        [1, "x", True, [], [{}], {"$a": 1}, {"a": {"$b": 1}}, {"a.b": 1}, {"a": [{"\0": 1}]}, {"": 1},
        {"a": 2**64},
         {"_cls": "Target"}, {"a": {"_ref": 1}}, {"a": "\ud800"}, {"\ud800": 1},
         {"$where": "1"}, {"a": {"b": [{"$c": 1}]}},
         {"\0": 1}],
        '{"a":{"b":[1,null,"x",true,1.5]},"c":null}', empty={},
    ),
    "dict of a field": Row(me.DictField(me.IntField()), {"a": 1}, {"a": 1}, [{"a": "x"}, [], 1],
    {"value.a": "1"}, empty={}),
    "dynamic": Row(
        me.DynamicField(), {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]},
        [{"$where": "1"}, {"a.b": 1}, 2**64, "\ud800", ["\udc00"], [{"$a": 1}], {"_cls": "Target"},
         [{"_ref": 1, "_cls": "Target"}]],
    ),
    "dynamic text": Row(me.DynamicField(), "x", "x", [], "x"),
    "dynamic with choices": Row(me.DynamicField(choices=[1, "a"]), "a", "a", [{}, [[]], {"a": 1}, 2, [{}],
    [1, 2]], "a"),
    "reference": Row(me.ReferenceField(Target), str(ID), Target(pk=ID), NOT_REFERENCE, str(ID)),
    "reference as DBRef": Row(me.ReferenceField(Target, dbref=True), str(ID), Target(pk=ID), NOT_REFERENCE,
    str(ID)),
    "reference to a custom key": Row(me.ReferenceField(Coded), "n/1", Coded(pk="n/1"), NOT_REFERENCE, "n/1"),
    "list of references": Row(
        me.ListField(me.ReferenceField(Target)), [str(OTHER), str(ID)], [Target(pk=OTHER), Target(pk=ID)],
        [str(ID), 1, True, {}, [1], ["x"], [NOBODY], [str(ID), None], [None], [[]], [{}],
        [{"$ne": None}], [[str(ID)]], [True], ["\ud800"]], {"value[]": [str(OTHER),
        str(ID)]}, empty=[],
    ),
    "map of references": Row(
        me.MapField(me.ReferenceField(Target)), {"a": str(ID)}, {"a": Target(pk=ID)}, [{"a": NOBODY},
        {"a": 1.5}], empty={}
    ),
    "lazy reference": Row(me.LazyReferenceField(Target), str(ID), LazyReference(Target, ID), NOT_REFERENCE,
    str(ID)),
    "lazy reference as DBRef": Row(
        me.LazyReferenceField(Target, dbref=True), str(ID), LazyReference(Target, ID), NOT_REFERENCE, str(ID)
    ),
    "list of lazy references": Row(
        me.ListField(me.LazyReferenceField(Target)), [str(ID)], [LazyReference(Target, ID)], [[NOBODY]],
        empty=[]
    ),
    "generic reference": Row(
        me.GenericReferenceField(), {"_cls": "Target", "id": str(ID)}, Target(pk=ID),
        [str(ID), 1, [], {}, {"_cls": "Target"}, {"_cls": "Target", "id": NOBODY}, {"_cls": "Nobody",
        "id": str(ID)},
         {"_cls": "Coded", "id": "n/1"}, {"_cls": "Road", "id": "x"}, {"_cls": 1, "id": 1},
         {"_cls": "Target", "id": {"$gt": ""}}, True, "x", {"id": "x"}, {"_cls": "Target", "id": "x"},
         {"_cls": "Target", "_ref": "x"}],
        f'{{"_cls":"Target","id":"{ID}"}}',
    ),
    "generic reference with choices": Row(
        me.GenericReferenceField(choices=[Coded]), {"_cls": "Coded", "id": "n/1"}, Coded(pk="n/1"),
        [{"_cls": "Target", "id": str(ID)}]
    ),
    "generic lazy reference": Row(
        me.GenericLazyReferenceField(), {"_cls": "Target", "id": str(ID)}, LazyReference(Target, ID),
        [str(ID), {"_cls": "Target", "id": NOBODY}, {"_cls": "Target", "id": None}],
    ),
    "generic lazy reference with choices": Row(
        me.GenericLazyReferenceField(choices=["Target"]), {"_cls": "Target", "id": str(ID)},
        LazyReference(Target, ID),
        [{"_cls": "Coded", "id": "n/1"}],
    ),
    "list of generic references": Row(
        me.ListField(me.GenericReferenceField(choices=[Target, Coded])),
        [{"_cls": "Coded", "id": "n/1"}, {"_cls": "Target", "id": str(ID)}], [Coded(pk="n/1"), Target(pk=ID)],
        [[str(ID)], [{"_cls": "Target", "id": NOBODY}]], empty=[],
    ),
    "cached reference": Row(me.CachedReferenceField(Target, fields=["name"]), str(ID), Target(pk=ID),
    NOT_REFERENCE, str(ID)),
    "object id": Row(me.ObjectIdField(), str(ID), ID, [1, True, [], {}, "", "x" * 12, "x" * 24, str(ID)[:-1],
    "\ud800", "65a0", {"$oid": str(ID)}], str(ID)),
    "sequence": Row(me.SequenceField(), 7, 7, [1.5, True, [], {}, 2**64], "7"),
    "decorated sequence": Row(
        me.SequenceField(value_decorator=lambda number: f"N{number}"), "N7", "N7", [1.5, True, [], {},
        "\ud800"], "N7"
    ),
    "geo point": Row(
        me.GeoPointField(), {"type": "Point", "coordinates": [1.5, -2]}, [1.5, -2], NOT_PLACE, "[1.5,-2]",
        also=[[1.5, -2]]
    ),
    "point": Row(
        me.PointField(), {"type": "Point", "coordinates": [1.5, -2]}, {"type": "Point", "coordinates": [1.5,
        -2]}, NOT_PLACE,
        '{"type":"Point","coordinates":[1.5,-2]}', also=[[1.5, -2]],
    ),
    "line": Row(
        me.LineStringField(), {"type": "LineString", "coordinates": [[0, 0], [1, 1.5]]},
        {"type": "LineString", "coordinates": [[0, 0], [1, 1.5]]}, [*NOT_PLACE, [1, 2], [[1]], [[1, 2],
        None]],
        "[[0,0],[1,1.5]]", also=[[[0, 0], [1, 1.5]]],
    ),
    "polygon": Row(
        me.PolygonField(), {"type": "Polygon", "coordinates": [RING]}, {"type": "Polygon",
        "coordinates": [RING]},
        [*NOT_PLACE, RING, [RING[:-1]], [[]], [[[]]], [[None]]], also=[[RING]],
    ),
    "multi-point": Row(
        me.MultiPointField(), {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]},
        {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]}, [*NOT_PLACE, [1, 2]], also=[[[0, 0], [1,
        1]]],
    ),
    "multi-line": Row(
        me.MultiLineStringField(), {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]]]}, [*NOT_PLACE, [[0, 0], [1, 1]]],
        also=[[[[0, 0], [1, 1]]]],
    ),
    "multi-polygon": Row(
        me.MultiPolygonField(), {"type": "MultiPolygon", "coordinates": [[RING]]},
        {"type": "MultiPolygon", "coordinates": [[RING]]}, [*NOT_PLACE, [RING], [[RING[:-1]]]],
        also=[[[RING]]],
    ),
}  # fmt: skip


def model_of(name):
    """A new model whose one field, `value`, is of the type of a row."""
    return type("Row" + name.title().replace(" ", ""), (me.Document,), {"value": copy(ROWS[name].field)})


def store_targets():
    """Store the documents that the values of references name."""
    Target(pk=ID, name="one").save()
    Target(pk=OTHER, name="two").save()
    Coded(pk="n/1").save()


def is_same(found, expected):
    if isinstance(expected, bytes):
        return bytes(found) == expected  # mongomock keeps the subtype, and so gives a bson.Binary
    return isinstance(found, type(expected)) and found == expected
