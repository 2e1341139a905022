"""hive.preconditions: a state tells what is stored from anything else that may be."""

import uuid
from copy import deepcopy
from datetime import UTC, datetime

import pytest
from bson import Binary, DBRef, Decimal128, Int64, ObjectId

from hive.preconditions import state_of

ID = ObjectId("65a000000000000000000001")
DOCUMENT = {
    "_id": ID, "n": "A", "hush": "h", "text": "t", "captain": ID, "a": {"c": "Rome", "hush": "h"},
    "projects": [{"slug": "x", "size": 1}, {"slug": "y", "size": 2}], "flag": True, "none": None,
}  # fmt: skip
CHANGES = {
    "a field": lambda raw: raw.update(n="B"),
    "a field that is removed": lambda raw: raw.pop("text"),
    "a field that is added": lambda raw: raw.update(more=1),
    "a field that becomes null": lambda raw: raw.update(text=None),
    "null that is removed": lambda raw: raw.pop("none"),
    "an empty list that is added": lambda raw: raw.update(more=[]),
    "another name for a field": lambda raw: raw.update(m=raw.pop("n")),
    "a number that becomes another kind of number": lambda raw: raw["projects"][0].update(size=1.0),
    "a number that becomes a long one": lambda raw: raw["projects"][0].update(size=Int64(1)),
    "true that becomes one": lambda raw: raw.update(flag=1),
    "a field of an embedded document": lambda raw: raw["a"].update(hush="other"),
    "a field that the model does not know": lambda raw: raw["a"].update(old=1),
    "an item of a list": lambda raw: raw["projects"][1].update(size=3),
    "the order of a list": lambda raw: raw["projects"].reverse(),
    "an item that is added": lambda raw: raw["projects"].append({"slug": "z"}),
    "a reference": lambda raw: raw.update(captain=ObjectId("65a000000000000000000002")),
    "a reference that becomes text": lambda raw: raw.update(captain=str(ID)),
    "the primary key": lambda raw: raw.update(_id=ObjectId("65a000000000000000000002")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_is_another_state(change):
    changed = deepcopy(DOCUMENT)
    change(changed)
    assert state_of(changed) != state_of(DOCUMENT) == state_of(deepcopy(DOCUMENT))


def test_the_order_in_which_fields_are_stored_does_not_matter():
    one = {"_id": ID, "name": "x", "data": {"a": 1, "b": [{"c": 1, "d": 2}]}}
    other = {"data": {"b": [{"d": 2, "c": 1}], "a": 1}, "name": "x", "_id": ID}
    assert state_of(one) == state_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Int64(2**60), Int64(2**60 + 1), id="long numbers that are one float"),
        pytest.param(0.0, -0.0, id="zero"),
        pytest.param(Decimal128("1.1"), Decimal128("1.10"), id="decimal numbers"),
        pytest.param(
            datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1000, tzinfo=UTC), id="times"
        ),
        pytest.param(uuid.UUID(int=1), uuid.UUID(int=2), id="UUIDs"),
        pytest.param(b"\x00", b"\x01", id="bytes"),
        pytest.param(b"\x00", Binary(b"\x00", 128), id="kinds of bytes"),
        pytest.param(DBRef("a", ID), DBRef("b", ID), id="DBRefs"),
        pytest.param("\u00e9", "e\u0301", id="text that looks alike"),
    ],
)
def test_values_of_all_types_have_states_of_their_own(one, other):
    assert state_of({"a": one}) == state_of({"a": one}) != state_of({"a": other})


def test_a_value_that_is_not_equal_to_itself_has_one_state():
    assert state_of({"a": float("nan")}) == state_of({"a": float("nan")})
