"""hive.changes: the difference of two images of a document, and what an update makes of one."""

from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal

import mongoengine as me
import pytest
from bson import DBRef, ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from hypothesis import given, settings

from hive import ModelHive
from hive.changes import applied, difference, image_of, name_of
from hive.decoding import Decoding
from hive.rows import hydrate
from tests.support.differences import (
    DiffedOther,
    DiffedPart,
    DiffedThing,
    bodies,
    differing,
    done,
    known,
    typed,
)

naive = datetime  # as mongoengine has times: in UTC, without saying so
OPTIONS = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
ID, OTHER = ObjectId("65a000000000000000000001"), ObjectId("65a000000000000000000002")
[ROUTE] = ModelHive.routes_for(DiffedThing)
SERIALIZER = ROUTE.target_kwargs["resource"].serializer


class DiffedReferrer(me.Document):
    owner = me.ReferenceField(DiffedThing, db_field="o")
    dbref = me.ReferenceField(DiffedThing, dbref=True)
    lazy = me.LazyReferenceField(DiffedThing)
    cached = me.CachedReferenceField(DiffedThing, fields=["text"])
    generic = me.GenericReferenceField()
    members = me.ListField(me.ReferenceField(DiffedThing))
    by_role = me.MapField(me.ReferenceField(DiffedThing))
    part = me.EmbeddedDocumentField(DiffedPart, db_field="p")


def image(body):
    """What MongoDB has of a document that is made of a body."""
    part = SERIALIZER.decode(body, Decoding(None, lambda model: None))
    return image_of(part.build(), OPTIONS)


# The whole difference


@settings(max_examples=60)
@given(bodies, bodies)
def test_the_difference_done_to_one_document_gives_the_other(one, other):
    before, after = image(one), image(other)
    updated = difference(DiffedThing, before, after)
    old, new = (typed(hydrate(DiffedThing, raw)) for raw in (before, after))
    assert differing(done(old, updated, "to"), new) == {}
    assert differing(done(new, updated, "from"), old) == {}


@settings(max_examples=20)
@given(bodies)
def test_a_document_does_not_differ_from_itself(body):
    assert difference(DiffedThing, image(body), image(body)) == {}


# What it tells


SCALARS = {
    "text": ("t", "a", "b", "a", "b"),
    "a number": ("whole", 1, 2, 1, 2),
    "a price": ("price", "1.10", "2.00", Decimal("1.10"), Decimal("2.00")),
    "true": ("flag", False, True, False, True),
    "a time": ("at", naive(2026, 1, 1), naive(2026, 1, 2), naive(2026, 1, 1), naive(2026, 1, 2)),
    "a day": ("day", naive(2026, 1, 1), naive(2026, 1, 2), date(2026, 1, 1), date(2026, 1, 2)),
    "a list": ("texts", ["a"], ["a", "b"], ["a"], ["a", "b"]),
    "a dictionary": ("d", {"a": {"b": 1}}, {"a": {"b": 2}}, {"a": {"b": 1}}, {"a": {"b": 2}}),
    "a list of prices": ("more", ["1"], ["2"], ["1"], ["2"]),
}


@pytest.mark.parametrize(("key", "old", "new", "was", "now"), SCALARS.values(), ids=SCALARS)
def test_values_are_told_by_name_and_typed_as_in_python(key, old, new, was, now):
    [(name, change)] = difference(DiffedThing, {"_id": ID, key: old}, {"_id": ID, key: new}).items()
    assert name == {"t": "text", "d": "data"}.get(key, key)
    assert change == {"from": was, "to": now}
    assert [type(change[end]) for end in ("from", "to")] == [type(was), type(now)]


def test_names_inside_of_embedded_documents_are_dotted_to_any_depth():
    before = {"p": {"n": "a", "l": {"w": "b", "number": 1}}}
    after = {"p": {"n": "c", "l": {"w": "d", "number": 1}}}
    assert difference(DiffedThing, before, after) == {
        "part.name": {"from": "a", "to": "c"},
        "part.leaf.word": {"from": "b", "to": "d"},
    }


def test_an_embedded_document_that_comes_or_goes_is_whole():
    come = difference(DiffedThing, {}, {"p": {"n": "a"}})
    assert come == {"part": {"from": None, "to": DiffedPart(name="a")}}
    assert difference(DiffedThing, {"p": {"n": "a"}}, {}) == {
        "part": {"from": DiffedPart(name="a"), "to": None}
    }


def test_an_embedded_document_of_another_class_is_whole():
    part, same, other = ({"_cls": name} for name in ("DiffedPart", "DiffedPart", "DiffedOther"))
    part, same, other = part | {"n": "a"}, same | {"n": "b"}, other | {"name": "a"}
    assert difference(DiffedThing, {"any": part}, {"any": same}) == {"any.name": {"from": "a", "to": "b"}}
    assert difference(DiffedThing, {"any": part}, {"any": other}) == {
        "any": {"from": DiffedPart(name="a"), "to": DiffedOther(name="a")}
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(1, True, id="one and true"),
        pytest.param(0, False, id="zero and false"),
        pytest.param(None, False, id="nothing and false"),
        pytest.param([], {}, id="what is empty"),
        pytest.param([1], [True], id="within a list"),
    ],
)
def test_what_python_finds_equal_may_be_a_difference(one, other):
    assert difference(DiffedThing, {"free": one}, {"free": other}) == {"free": {"from": one, "to": other}}


def test_what_is_not_a_number_is_no_difference():
    assert difference(DiffedThing, {"free": [float("nan")]}, {"free": [float("nan")]}) == {}


def test_what_the_model_does_not_know_is_told_by_its_own_name():
    assert difference(DiffedThing, {"old": 1}, {"new": {"a": 1}}) == {
        "old": {"from": 1, "to": None},
        "new": {"from": None, "to": {"a": 1}},
    }


REFERENCES = {
    "a reference": ("o", ID, OTHER, ID, OTHER),
    "a DBRef": ("dbref", DBRef("diffed_thing", ID), DBRef("diffed_thing", OTHER), ID, OTHER),
    "a lazy one": ("lazy", ID, OTHER, ID, OTHER),
    "a cached one": ("cached", {"_id": ID, "t": "a"}, {"_id": OTHER, "t": "b"}, ID, OTHER),
    "a generic one": (
        "generic",
        {"_cls": "DiffedThing", "_ref": DBRef("diffed_thing", ID)},
        {"_cls": "DiffedThing", "_ref": DBRef("diffed_thing", OTHER)},
        DBRef("diffed_thing", ID),
        DBRef("diffed_thing", OTHER),
    ),
    "a list": ("members", [ID], [OTHER, ID], [ID], [OTHER, ID]),
    "a map": ("by_role", {"a": ID}, {"a": OTHER}, {"a": ID}, {"a": OTHER}),
}


@pytest.mark.parametrize(("key", "old", "new", "was", "now"), REFERENCES.values(), ids=REFERENCES)
def test_references_are_told_as_primary_keys_without_a_query(key, old, new, was, now):
    name = {"o": "owner"}.get(key, key)
    assert difference(DiffedReferrer, {key: old}, {key: new}) == {name: {"from": was, "to": now}}


@pytest.mark.parametrize(
    ("db_field", "name"),
    [("o", "owner"), ("p", "part"), ("p.n", "part.name"), ("p.l.w", "part.leaf.word"),
     ("p.leaves.w", "part.leaves.word"), ("x", None), ("p.x", None)],
)  # fmt: skip
def test_a_name_of_mongodb_has_a_name_in_python_where_the_model_knows_it(db_field, name):
    assert name_of(DiffedReferrer, db_field) == name


# What an update makes of a document


RAW = {"_id": ID, "a": 1, "p": {"n": "x", "l": {"w": 1}}, "list": [{"n": 1}, {"n": 2}]}
UPDATES = {
    "nothing": ({}, {}, {}),
    "a field": ({"a": 2}, {}, {"a": 2}),
    "a new field": ({"b": 2}, {}, {"b": 2}),
    "a part of a part": ({"p.l.w": 2}, {}, {"p": {"n": "x", "l": {"w": 2}}}),
    "a part of what is not there": ({"q.r.s": 1}, {}, {"q": {"r": {"s": 1}}}),
    "a part of an item": ({"list.1.n": 3}, {}, {"list": [{"n": 1}, {"n": 3}]}),
    "beyond the end of a list": ({"list.3": 4}, {}, {"list": [{"n": 1}, {"n": 2}, None, 4]}),
    "unset a field": ({}, {"a": 1}, {"a": ...}),
    "unset a part": ({}, {"p.l": 1}, {"p": {"n": "x"}}),
    "unset an item": ({}, {"list.0": 1}, {"list": [None, {"n": 2}]}),
    "unset what is not there": ({}, {"x": 1}, {}),
    "both": ({"a": 2}, {"p": 1}, {"a": 2, "p": ...}),
}


@pytest.mark.parametrize(("to_set", "to_unset", "then"), UPDATES.values(), ids=UPDATES)
def test_an_update_is_applied_as_mongodb_does_it(to_set, to_unset, then):
    raw = deepcopy(RAW)
    expected = {name: value for name, value in (RAW | then).items() if value is not ...}
    assert applied(raw, (to_set, to_unset), OPTIONS) == expected
    assert raw == RAW


def test_an_applied_value_is_as_mongodb_gives_it_back():
    raw = applied({}, ({"at": naive(2026, 1, 1, 0, 0, 0, 123456), "pair": (1, 2)}, {}), OPTIONS)
    assert raw == {"at": naive(2026, 1, 1, 0, 0, 0, 123000), "pair": [1, 2]}


def test_the_comparison_would_tell():
    old = {"": "X", "a": 1, "b": None, "c": {"": "Y", "d": 1}}
    assert done(old, {"a": {"from": 1, "to": 2}, "c.d": {"from": 1, "to": None}}, "to") == {
        "": "X", "a": 2, "b": None, "c": {"": "Y", "d": None},
    }  # fmt: skip
    assert known(True) != known(1) != known(1.0)
    assert known([date(2026, 1, 1)]) != known([naive(2026, 1, 1)])
    assert known(Decimal(1)) != known(1)
