"""hive.patches: JSON Patch does what RFC 6902 says, to the very objects of the document, within limits."""

import copy
import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies as st

from hive.errors import BadRequest, Conflict, ContentTooLarge
from hive.patches import DEEPEST, MOST_COPIED, MOST_OPERATIONS, apply, operations


def patched(document, *patch):
    return apply(operations(list(patch)), document)


def add(path, value):
    return {"op": "add", "path": path, "value": value}


def replace(path, value):
    return {"op": "replace", "path": path, "value": value}


def check(path, value):
    return {"op": "test", "path": path, "value": value}


def remove(path):
    return {"op": "remove", "path": path}


def move(source, path):
    return {"op": "move", "from": source, "path": path}


def copied(source, path):
    return {"op": "copy", "from": source, "path": path}


def nested(depth):
    """Lists in one another."""
    value = []
    for _ in range(depth - 1):
        value = [value]
    return value


def name_of(operation):
    return f"{operation['op']} {operation.get('from', '')} {operation['path']}"


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        pytest.param({"a": 1}, add("/b", 2), {"a": 1, "b": 2}, id="a key is added"),
        pytest.param({"a": 1}, add("/a", None), {"a": None}, id="add replaces a key"),
        pytest.param([1, 3], add("/1", 2), [1, 2, 3], id="add inserts before an index"),
        pytest.param([1, 2], add("/2", 3), [1, 2, 3], id="add at the length appends"),
        pytest.param({"a": [1]}, add("/a/-", [2]), {"a": [1, [2]]}, id="a hyphen appends"),
        pytest.param({}, add("/-", 1), {"-": 1}, id="a hyphen is a key of an object"),
        pytest.param({}, add("/", 1), {"": 1}, id="an empty name is a key"),
        pytest.param({}, add("/0", 1), {"0": 1}, id="a number is a key of an object"),
        pytest.param({"01": 1}, remove("/01"), {}, id="a leading zero is of a key"),
        pytest.param({"a": 1}, add("", [1]), [1], id="add replaces the document"),
        pytest.param(1, replace("", 2), 2, id="replace replaces the document"),
        pytest.param({"a": 1, "b": 2}, remove("/a"), {"b": 2}, id="a key is removed"),
        pytest.param([1, 2, 3], remove("/1"), [1, 3], id="an item is removed"),
        pytest.param([1, 2], replace("/0", 3), [3, 2], id="an item is replaced"),
        pytest.param({"a": None}, replace("/a", 1), {"a": 1}, id="null is there to be replaced"),
        pytest.param({"a": 1}, move("/a", "/b"), {"b": 1}, id="a key is renamed"),
        pytest.param([1, 2, 3], move("/0", "/2"), [2, 3, 1], id="an index counts without what is moved"),
        pytest.param({"a": {"b": 1}}, move("/a/b", "/a"), {"a": 1}, id="a part replaces its holder"),
        pytest.param({"a": {"b": 1}}, move("/a", ""), {"b": 1}, id="a part replaces the document"),
        pytest.param({"a": 1}, move("/a", "/a"), {"a": 1}, id="a value moves to where it is"),
        pytest.param({"ab": 1, "a": 2}, move("/a", "/ab"), {"ab": 2}, id="a longer name is not within"),
        pytest.param({"a": [1]}, copied("/a", "/a/0"), {"a": [[1], 1]}, id="a list is copied into itself"),
        pytest.param({"a": 1}, copied("", "/b"), {"a": 1, "b": {"a": 1}}, id="the document is copied"),
        pytest.param({"a/b": 1}, remove("/a~1b"), {}, id="an escaped slash"),
        pytest.param({"m~n": 1}, remove("/m~0n"), {}, id="an escaped tilde"),
        pytest.param({"~1": 1, "/": 2}, remove("/~01"), {"/": 2}, id="an escaped tilde before a one"),
        pytest.param({"a": 1}, remove("/a") | {"value": nested(65)}, {}, id="other members are ignored"),
    ],
)
def test_an_operation_does_what_the_rfc_says(document, operation, result):
    assert patched(document, operation) == result


def test_replacing_a_value_leaves_its_key_where_it_was():
    assert list(patched({"a": 1, "b": 2}, replace("/a", 3))) == ["a", "b"]


def test_operations_are_done_one_after_the_other():
    patch = [add("/a", []), add("/a/-", 1), check("/a", [1]), copied("/a", "/b"), remove("/a/0")]
    assert patched({}, *patch) == {"a": [], "b": [1]}


def test_no_operations_leave_the_document():
    document = {"a": 1}
    assert patched(document) is document
    assert document == {"a": 1}


EQUAL = {
    "a float and a whole number": (1, 1.0),
    "objects of another order": ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    "null": (None, None),
    "true": (True, True),
    "nested": ([{"a": [1, 2]}], [{"a": [1.0, 2]}]),
}
UNEQUAL = {
    "true against one": (1, True),
    "one against true": (True, 1),
    "false against zero in a list": ([0], [False]),
    "true in an object": ({"a": 1}, {"a": True}),
    "a number against text": (1, "1"),
    "null against false": (None, False),
    "an empty list against an empty object": ([], {}),
    "lists of another order": ([1, 2], [2, 1]),
    "a part of a list": ([1, 2], [1]),
    "a part of an object": ({"a": 1, "b": 2}, {"a": 1}),
    "a deeper value": ([], [[]]),
}


@pytest.mark.parametrize(("stored", "value"), EQUAL.values(), ids=EQUAL)
def test_a_test_of_what_is_the_same_json_passes(stored, value):
    assert patched({"a": stored}, check("/a", value)) == {"a": stored}


@pytest.mark.parametrize(("stored", "value"), UNEQUAL.values(), ids=UNEQUAL)
def test_a_test_of_another_value_fails(stored, value):
    with pytest.raises(Conflict) as caught:
        patched({"a": stored}, add("/b", 1), check("/a", value))
    assert caught.value.detail == 'Operation 1 (test "/a") fails: the value is another one.'


def test_a_failing_test_tells_nothing_of_what_is_stored():
    with pytest.raises(Conflict) as caught:
        patched({"password": "swordfish"}, check("/password", "guessed"))
    assert not {"swordfish", "guessed"} & set(caught.value.detail.split())


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        pytest.param(document, operation, id=f"{name_of(operation)} of {json.dumps(document)}")
        for document, operation in [
            ({}, remove("/a")),
            ({}, replace("/a", 1)),
            ({}, check("/a", None)),
            ({}, add("/a/b", 1)),
            ({"a": 1}, add("/a/b", 1)),
            ({"a": "text"}, check("/a/0", "t")),
            ({"a": None}, remove("/a/b")),
            ({"A": 1}, remove("/a")),
            ([1, 2], add("/3", 1)),
            ([1, 2], remove("/2")),
            ([1, 2], replace("/2", 1)),
            ([1, 2], replace("/-", 1)),
            ([1, 2], remove("/-")),
            ([1, 2], check("/-", 2)),
            ([1, 2], add("/-/a", 2)),
            ([1, 2], copied("/-", "/0")),
            ([1, 2], move("/0", "/2")),
            ([1, 2], move("/2", "/0")),
            ([1, 2], copied("/0", "/3")),
            ({}, move("/a", "/a")),
            ({}, copied("/a", "/b")),
            ([1, 2], add("/01", 1)),
            ([1, 2], remove("/-1")),
            ([1, 2], remove("/+1")),
            ([1, 2], remove("/1.0")),
            ([1, 2], check("/1e0", 2)),
            ([1, 2], check("/ 1", 2)),
            ([1, 2], check("/1\n", 2)),
            ([1, 2], check("/", 1)),
            ([1, 2], check("/\u0661", 2)),
            ([1, 2], add("/a", 1)),
            ([1, 2], add("/9999999999", 1)),
        ]
    ],
)
def test_a_place_that_is_not_there_is_a_conflict(document, operation):
    with pytest.raises(Conflict, match="fails: there is no such place"):
        patched(document, operation)


def test_an_index_of_thousands_of_digits_is_a_place_that_is_not_there():
    with pytest.raises(Conflict) as caught:
        patched([1], remove("/" + "1" * 5000))
    assert len(caught.value.detail) < 200


def test_a_conflict_names_both_places_of_a_move():
    with pytest.raises(Conflict) as caught:
        patched({"a": 1}, add("/b", 1), move("/m~0~1n", "/c"))
    assert caught.value.detail == 'Operation 1 (move "/m~0~1n" to "/c") fails: there is no such place.'


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        pytest.param({}, "must be a list", id="an object"),
        pytest.param(None, "must be a list", id="null"),
        pytest.param([remove("/a")] * (MOST_OPERATIONS + 1), "at most 1000", id="too many"),
        pytest.param([remove("/a"), []], "Operation 1 must be an object", id="a list as an operation"),
        pytest.param([{"path": "/a"}], 'Operation 0 must have an "op"', id="no op"),
        pytest.param([{"op": "spam", "path": "/a"}], 'must have an "op"', id="unknown op"),
        pytest.param([{"op": "Test", "path": "/a", "value": 1}], 'must have an "op"', id="capital op"),
        pytest.param([{"op": "put", "path": "/a", "value": 1}], 'must have an "op"', id="own name as op"),
        pytest.param([{"op": ["add"], "path": "/a", "value": 1}], 'must have an "op"', id="list as op"),
        pytest.param([{"op": "remove"}], 'must have a "path"', id="no path"),
        pytest.param([remove(None)], 'must have a "path"', id="null as path"),
        pytest.param([remove(["a"])], 'must have a "path"', id="list as path"),
        pytest.param([remove("a")], 'must have a "path"', id="path without slash"),
        pytest.param([remove("#/a")], 'must have a "path"', id="path as fragment"),
        pytest.param([remove("/a~")], 'must have a "path"', id="tilde at the end"),
        pytest.param([remove("/a~2")], 'must have a "path"', id="unknown escape"),
        pytest.param([remove("/~~0")], 'must have a "path"', id="tilde before an escape"),
        pytest.param([{"op": "move", "path": "/a"}], 'must have a "from"', id="move without from"),
        pytest.param([{"op": "copy", "path": "/a"}], 'must have a "from"', id="copy without from"),
        pytest.param([copied("/~", "/a")], 'must have a "from"', id="broken from"),
        pytest.param([{"op": "add", "path": "/a"}], r'\(add "/a"\) must have a "value"', id="add nothing"),
        pytest.param([{"op": "replace", "path": "/a"}], 'must have a "value"', id="replace by nothing"),
        pytest.param([{"op": "test", "path": "/a"}], 'must have a "value"', id="test for nothing"),
        pytest.param([remove("")], "would leave nothing", id="remove all"),
        pytest.param([move("/a", "/a/b")], "into itself", id="move into itself"),
        pytest.param([move("", "/a")], "into itself", id="move all into itself"),
        pytest.param([move("/a", "/a/b/c")], "into itself", id="move deep into itself"),
    ],
)
def test_what_is_no_json_patch_is_refused(patch, message):
    with pytest.raises(BadRequest, match=message):
        operations(patch)


def test_the_most_operations_are_accepted():
    assert len(operations([remove("/a")] * MOST_OPERATIONS)) == MOST_OPERATIONS


def test_objects_that_move_or_shift_stay_the_same_objects():
    first, second, inner, other = {"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}
    document = {"list": [first, second], "a": {"inner": inner}, "other": other}
    lists, holder = document["list"], document["a"]
    result = patched(
        document,
        move("/list/0", "/list/1"),
        add("/list/0", {"new": 1}),
        move("/a/inner", "/deep"),
        add("/deeper", {}),
        move("/deep", "/deeper/inner"),
        replace("/other/n", 5),
    )
    assert result is document
    assert result["list"] is lists
    assert result["list"][1] is second
    assert result["list"][2] is first
    assert result["a"] is holder
    assert result["deeper"]["inner"] is inner
    assert result["other"] is other
    assert other == {"n": 5}


def test_what_replaces_the_document_by_a_move_stays_the_same_object():
    inner = {"b": 1}
    assert patched({"a": inner}, move("/a", "")) is inner


def test_copies_are_separate_objects():
    inner = {"list": []}
    result = patched({"a": inner}, copied("/a", "/b"), add("/b/list/-", 1), copied("/b", "/c"))
    assert result["a"] is inner
    assert result == {"a": {"list": []}, "b": {"list": [1]}, "c": {"list": [1]}}
    assert result["b"]["list"] is not result["c"]["list"]


@pytest.mark.parametrize("put", [add, replace], ids=["add", "replace"])
def test_the_values_of_a_patch_stay_as_they_are_when_it_is_applied_twice(put):
    value = {"list": [1]}
    patch = operations([put("/a", value), add("/a/list/-", 2)])
    one, two = apply(patch, {"a": 0}), apply(patch, {"a": 0})
    assert value == {"list": [1]}
    assert one == two == {"a": {"list": [1, 2]}}
    assert one["a"] is not two["a"]
    assert one["a"]["list"] is not two["a"]["list"]


def test_a_value_that_is_used_twice_in_a_patch_is_two_values():
    value = []
    result = patched({}, add("/a", value), add("/b", value), add("/c", [value, value]), add("/c/0/-", 1))
    assert result == {"a": [], "b": [], "c": [[1], []]}
    assert result["a"] is not result["b"]


# Limits


@pytest.mark.parametrize("put", [add, replace, check], ids=["add", "replace", "test"])
@pytest.mark.parametrize("path", ["", "/a"], ids=["all", "a part"])
def test_a_value_that_is_too_deep_at_its_place_is_refused(put, path):
    deepest = DEEPEST - path.count("/")
    operations([put(path, nested(deepest))])
    with pytest.raises(BadRequest, match="more than 64 deep"):
        operations([put(path, nested(deepest + 1))])


@pytest.mark.parametrize("put", [move, copied], ids=["move", "copy"])
def test_what_is_stored_becomes_no_deeper_than_values_can_be(put):
    holder = {"a": nested(DEEPEST - 2), "b": {"c": {}}}
    patched(copy.deepcopy(holder), put("/a", "/b/c"))
    with pytest.raises(BadRequest, match=r'"/a" to "/b/c/d"\) would reach more than 64 deep'):
        patched(holder, put("/a", "/b/c/d"))


def test_what_is_stored_too_deep_can_be_renamed_and_removed():
    deep = nested(100_000)
    document = patched({"a": deep}, move("/a", "/b"))
    assert document["b"] is deep
    assert patched(document, remove("/b")) == {}


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        pytest.param(check("/a", nested(60)), Conflict, id="test"),
        pytest.param(copied("/a", "/b"), BadRequest, id="copy"),
        pytest.param(move("/a", "/b/c"), BadRequest, id="move deeper"),
    ],
)
def test_what_is_stored_too_deep_exhausts_no_stack(operation, problem):
    with pytest.raises(problem):
        patched({"a": nested(100_000), "b": {}}, operation)


def test_a_value_of_any_depth_exhausts_no_stack():
    with pytest.raises(BadRequest, match="64 deep"):
        operations([add("/a", nested(100_000))])


def test_a_list_that_is_copied_into_itself_again_and_again_is_too_much():
    document = {"a": [1]}
    with pytest.raises(ContentTooLarge, match=r"Operation \d+ \(copy .+\) would copy or move too much"):
        patched(document, *[copied("/a", "/a/-")] * 50)


def test_a_document_that_is_copied_into_itself_again_and_again_is_too_much():
    with pytest.raises(ContentTooLarge):
        patched({"a": []}, *[copied("", "/a/-")] * 50)


def test_as_much_as_the_limit_can_be_copied_and_no_more():
    document = {"a": [0] * (MOST_COPIED // 2 - 1)}
    assert patched(document, copied("/a", "/b"), copied("/a", "/c"))["c"] == document["a"]
    with pytest.raises(ContentTooLarge, match="Operation 2 "):
        patched(document, copied("/a", "/b"), copied("/a", "/c"), copied("/a/0", "/d"))


@pytest.mark.parametrize("stored", ["x" * 1_000_000, {"x" * 1_000_000: 1}], ids=["a long text", "a long key"])
def test_a_long_text_counts_for_its_length(stored):
    with pytest.raises(ContentTooLarge):
        patched({"a": stored, "b": []}, *[copied("/a", "/b/-")] * 20)


def test_moving_much_to_deeper_places_again_and_again_is_too_much():
    document = {"a": [0] * (MOST_COPIED // 2), "b": {}}
    with pytest.raises(ContentTooLarge):
        patched(document, *[move("/a", "/b/a"), move("/b/a", "/a")] * 3)


def test_much_can_be_added_and_moved_aside():
    much = [0] * (MOST_COPIED + 1)
    result = patched({"a": 0}, add("/a", much), move("/a", "/b"), check("/b", much))
    assert result == {"b": much}


# Anything

NAMES = st.sampled_from(["", "a", "b", "0", "1", "01", "-", "~0", "~1", "~"])
POINTERS = st.lists(NAMES, max_size=4).map(lambda names: "".join(f"/{name}" for name in names))
KEYS = st.sampled_from(["", "a", "b", "0", "-", "~", "/"])
VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, "", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
CHANGES = st.one_of(
    st.builds(add, POINTERS, VALUES),
    st.builds(replace, POINTERS, VALUES),
    st.builds(remove, POINTERS),
    st.builds(move, POINTERS, POINTERS),
    st.builds(copied, POINTERS, POINTERS),
    st.builds(check, POINTERS, VALUES),
)
REFUSALS = (BadRequest, Conflict, ContentTooLarge)
QUICK = settings(max_examples=100)


def places(value, path=""):
    """The pointers of all that a value holds, itself included, and what is there."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")


def holders(value):
    """The lists and dictionaries in a value."""
    return [part for _, part in places(value) if isinstance(part, list | dict)]


@QUICK
@given(VALUES, st.data())
def test_any_patch_is_done_to_the_same_objects_or_refused(document, data):
    before = {id(holder): holder for holder in holders(document)}
    patch = []
    for _ in range(data.draw(st.integers(0, 6))):
        there = st.sampled_from([path for path, _ in places(document)])
        change = data.draw(CHANGES)
        members = {"path", "from"} & change.keys()
        change |= {member: data.draw(there | st.just(change[member])) for member in sorted(members)}
        kept = copy.deepcopy(document)
        try:
            document = patched(document, change)
        except REFUSALS:
            assert document == kept or change["op"] == "move"
            return
        patch.append(change)
        assert set(Counter(map(id, holders(document))).values()) <= {1}
        given_holders = {id(holder) for one in patch for holder in holders(one.get("value"))}
        assert given_holders.isdisjoint(map(id, holders(document)))
        expect(change, kept, document, before)


def expect(change, kept, document, before):
    """What holds after a change: nothing is a new object but what it put there."""
    path, after = change["path"], dict(places(document))
    put = change["value"] if change["op"] in ("add", "replace") else None
    if "from" in change:
        put = dict(places(kept))[change["from"]]
    if change["op"] not in ("remove", "test") and not path.endswith("-"):
        assert json.dumps(after[path]) == json.dumps(put)
    new = [holder for holder in holders(document) if id(holder) not in before]
    assert len(new) == (0 if change["op"] == "move" else len(holders(put)))
    before |= {id(holder): holder for holder in new}


@QUICK
@given(st.lists(CHANGES | VALUES, max_size=4) | VALUES, VALUES)
def test_anything_as_a_patch_is_applied_or_refused(patch, document):
    with suppress(*REFUSALS):
        apply(operations(patch), document)
