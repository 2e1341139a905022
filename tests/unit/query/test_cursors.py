"""A cursor means the position of which it was made, in its list only."""

import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from urllib.parse import quote

import bson
import pytest
from bson import Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from hive import cursors
from hive.errors import BadRequest
from hive.reading import NO_SECRET

naive = datetime  # as mongoengine has times: in UTC, without saying so

OPTIONS: CodecOptions = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
KEY = cursors.cipher(b"k" * 32)


def refused(text, bound="list", key=KEY):
    with pytest.raises(BadRequest, match="'after'"):
        cursors.read("after", text, bound, key)


def bytes_of(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def text_of(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


POSITIONS = [
    ("a", ObjectId()),
    (None, 1.5, True, ObjectId()),
    ("ä🙂\x00", Int64(2**62), -1, naive(2026, 1, 1)),
    (Decimal128("1.50"), b"\x00", float("inf")),
    ("x",),
]


@pytest.mark.parametrize("position", POSITIONS, ids=range(len(POSITIONS)))
def test_a_cursor_means_the_position_of_which_it_was_made(position):
    text = cursors.write(position, "list", KEY, OPTIONS)
    assert quote(text, safe="") == text
    assert cursors.read("after", text, "list", KEY) == position


def test_a_uuid_is_found_again_as_mongodb_has_it():
    text = cursors.write((uuid.UUID(int=5),), "list", KEY, OPTIONS)
    [value] = cursors.read("after", text, "list", KEY)
    assert bson.encode({"v": value}) == bson.encode({"v": uuid.UUID(int=5)}, codec_options=OPTIONS)


@pytest.mark.parametrize(
    ("bound", "secret"),
    [
        ("lis", b"k" * 32),
        ("list ", b"k" * 32),
        ("", b"k" * 32),
        ("list", b"k"),
        ("list", b""),
        ("list", b"k" * 33),
    ],
    ids=str,
)
def test_a_cursor_of_another_list_or_another_secret_is_refused(bound, secret):
    text = cursors.write(("a", 1), "list", KEY, OPTIONS)
    refused(text, bound, cursors.cipher(secret))


def test_a_cursor_with_any_character_changed_added_or_left_out_is_refused():
    text = cursors.write(("name", ObjectId()), "list", KEY, OPTIONS)
    changed = [text[:at] + other + text[at + 1 :] for at in range(len(text)) for other in "AZ-_=+/ .\né\x00"]
    longer = [text[:at] + other + text[at:] for at in range(len(text) + 1) for other in "A=\n"]
    shorter = [text[:at] for at in range(len(text))] + [text[at:] for at in range(1, len(text))]
    for one in {*changed, *longer, *shorter, text + text, text.swapcase()} - {text}:
        refused(one)


def test_a_cursor_with_any_byte_changed_is_refused():
    data = bytes_of(cursors.write(("name", ObjectId()), "list", KEY, OPTIONS))
    for at in range(len(data)):
        refused(text_of(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))


NO_CURSORS = [
    *(
        "",
        "A",
        "=",
        "====",
        " ",
        "x" * 22,
        "A" * 8193,
        "B" * 15_000,
        "é",
        "日本",
        "\x00",
        "null",
        "0",
        "1",
        "-1",
    ),
    *("65a000000000000000000001", "{}", "[]", "$where", "..", "%", "+", "/", "\n", "a,b"),
]


@pytest.mark.parametrize("text", NO_CURSORS, ids=lambda text: repr(text[:30]))
def test_what_is_no_cursor_is_refused(text):
    refused(text)


def test_a_cursor_does_not_show_its_values():
    assert b"secret" not in bytes_of(cursors.write(("secret", 1), "list", KEY, OPTIONS))


def test_the_length_of_a_cursor_tells_little():
    lengths = {len(cursors.write(("x" * size, 1), "list", KEY, OPTIONS)) for size in range(20)}
    assert len(lengths) == 1


# Without a secret anyone can make cursors

OPEN = cursors.cipher(NO_SECRET)


def forged(payload):
    return text_of(OPEN.encrypt(payload, [b"list"]))


def test_without_a_secret_a_cursor_can_be_made_by_anyone():
    for values in (["a", 1], [None], [float("inf"), MaxKey(), Timestamp(1, 1)]):
        assert cursors.read("after", forged(bson.encode({"v": values})), "list", OPEN) == tuple(values)


UNREADABLE = {
    "empty": b"",
    "no BSON": b"garbage",
    "cut": bson.encode({"v": [ObjectId()]})[:-3],
    "without values": bson.encode({"w": [1]}),
    "no list": bson.encode({"v": 1}),
    "far date": b"\x17\x00\x00\x00\x04v\x00\x10\x00\x00\x00\x090\x00" + b"\x7f" * 8 + b"\x00\x00",
    "an operator": bson.encode({"v": [{"$gt": ""}]}),
    "a list": bson.encode({"v": [[1]]}),
    "regex": bson.encode({"v": [Regex("a")]}),
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_a_forged_cursor_that_nothing_can_be_made_of_is_refused(payload):
    refused(forged(payload), key=OPEN)
