"""A JSON array is read one object after another, and only as one of objects."""

import pytest

from hive import payload
from hive.errors import BadRequest, ContentTooLarge

BROKEN = {
    "not closed": b'[{"name":"a"}',
    "opened only": b"[",
    "ends after a comma": b'[{"name":"a"},',
    "broken in the middle": b'[{"name":"a"},{"name":},{"name":"b"}]',
    "broken at the end": b'[{"name":"a"},{"name":"b"]',
    "trailing comma": b'[{"name":"a"},]',
    "leading comma": b'[,{"name":"a"}]',
    "two commas": b'[{"name":"a"},,{"name":"b"}]',
    "no comma": b'[{"name":"a"}{"name":"b"}]',
    "garbage after it": b'[{"name":"a"}] x',
    "another array after it": b'[{"name":"a"}][{"name":"b"}]',
    "a bracket after it": b'[{"name":"a"}]]',
    "garbage after nothing": b"[] x",
    "not UTF-8": b'[{"name":"a"},{"name":"\xff"}]',
    "a number": b'[{"name":"a"},7]',
    "null": b'[{"name":"a"},null]',
    "a text": b'[{"name":"a"},"b"]',
    "an array": b'[{"name":"a"},[{"name":"b"}]]',
    "deep": b'[{"name":"a"},{"name":' + b"[" * 70 + b"]" * 70 + b"}]",
    "very deep": b'[{"name":"a"},' + b'{"name":' * 50_000 + b"1" + b"}" * 50_000 + b"]",
    "a key twice": b'[{"name":"a"},{"name":"b","name":"c"}]',
    "no JSON number": b'[{"name":"a"},{"name":"b","n":NaN}]',
}


@pytest.mark.parametrize(
    ("body", "objects"),
    [
        (b"[]", []),
        (b" [ \n ] ", []),
        (b"[{}]", [{}]),
        (b'[{"a":1},{"b":[2]}]', [{"a": 1}, {"b": [2]}]),
        (b' \n[ {"a": 1} ,\t{"b":[2]}\r\n] \n', [{"a": 1}, {"b": [2]}]),
    ],
)
def test_it_is_read_whatever_blanks_stand_in_it(body, objects):
    assert list(payload.array(body, 10)) == objects


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_one_that_is_not_of_objects_is_refused(body):
    with pytest.raises(BadRequest):
        list(payload.array(body, 10))


def test_an_item_that_is_no_object_is_told_with_its_index():
    with pytest.raises(BadRequest, match="Item 1 of the array must be a JSON object"):
        list(payload.array(b"[{},7]", 10))


def test_it_has_so_many_items_at_most():
    assert len(list(payload.array(b"[{},{},{}]", 3))) == 3
    with pytest.raises(ContentTooLarge, match="more than 3 items"):
        list(payload.array(b"[{},{},{},{}]", 3))
