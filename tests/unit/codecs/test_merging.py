"""hive.values: JSON Merge Patches, and what counts as the same value."""

from copy import deepcopy
from decimal import Decimal

import pytest

from hive.values import Merge, frozen, settle

# The examples of RFC 7396, appendix A, whose patch is an object.
EXAMPLES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), EXAMPLES)
def test_a_merge_patch_does_what_the_rfc_says(target, patch, result):
    before, given = deepcopy(target), deepcopy(patch)
    assert settle(target, Merge(patch)) == result
    assert (target, patch) == (before, given)


@pytest.mark.parametrize("target", [None, "text", 1, []])
def test_a_merge_patch_of_what_is_no_object_begins_with_an_empty_one(target):
    assert Merge({"a": 1, "b": None}).onto(target) == {"a": 1}


def test_what_a_merge_patch_sets_is_no_part_of_the_patch():
    patch = {"a": [{"b": []}]}
    one, other = (settle({}, Merge(patch)) for _ in range(2))
    one["a"][0]["b"].append(1)
    assert (patch, other) == ({"a": [{"b": []}]}, {"a": [{"b": []}]})


SAME = {
    "a float and a whole number": (1, 1.0),
    "another order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "a tuple and a list": ((1, 2), [1, 2]),
    "what is not a number": (float("nan"), float("nan")),
    "within": ([{"a": (1, float("nan"))}], [{"a": [1.0, float("nan")]}]),
}
OTHER = {
    "true and one": (True, 1),
    "false and zero": (False, 0),
    "decimal numbers of one value": (Decimal("1.1"), Decimal("1.10")),
    "a decimal number and a float": (Decimal("0.5"), 0.5),
    "nothing and false": (None, False),
    "an empty list and an empty object": ([], {}),
    "another order of a list": ([1, 2], [2, 1]),
    "a text and its letters": ("ab", ["a", "b"]),
    "within": ({"a": [1]}, {"a": [True]}),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_the_same_value_is_no_change(one, other):
    assert frozen(one) == frozen(other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_another_value_is_a_change_whatever_python_says(one, other):
    assert frozen(one) != frozen(other)
