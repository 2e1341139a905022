"""Cursors: places in a list, which clients get in ``Link`` and give back as they are.

A cursor has the values by which the list is sorted, of the item that it is about, which may be one that the
client must not read. So it is encrypted and authenticated (AES-SIV, RFC 5297), for one list only, with its
filters and its order. Who has the key could learn no more by it than by a filter.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha512
from typing import Any

import bson
from bson import Regex
from bson.errors import BSONError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from hive.changes import codec_of
from hive.errors import BadRequest

Position = tuple[Any, ...]
"""The values of one item, as MongoDB has them, by which its list is sorted; its primary key is the last."""

LONGEST = 8192
STEP = 64
"""Bytes of which the length of a cursor is a multiple, before it is encrypted."""


def cipher(secret: bytes) -> AESSIV:
    """What makes cursors of an application with this secret, and reads them."""
    return AESSIV(sha512(b"hive cursors " + secret).digest())


def write(position: Position, bound: str, key: AESSIV, options: Any) -> str:
    """The cursor of a position in the list that `bound` names; `options` are those of the collection."""
    payload = bson.encode({"v": list(position)}, codec_options=codec_of(options))
    payload += bytes(-len(payload) % STEP)  # so that its length tells little of the values
    return urlsafe_b64encode(key.encrypt(payload, [bound.encode()])).rstrip(b"=").decode()


def read(name: str, text: str, bound: str, key: AESSIV) -> Position:
    """The position that a cursor means, in values that MongoDB takes. Raises `BadRequest`."""
    refusal = BadRequest(f"The query parameter {name!r} is no cursor of this list: take it from a Link.")
    if len(text) > LONGEST or not text.isascii():
        raise refusal
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        payload = key.decrypt(data, [bound.encode()])
    except (ValueError, InvalidTag):
        raise refusal from None
    if text != urlsafe_b64encode(data).rstrip(b"=").decode():  # with bits at its end that count for nothing
        raise refusal
    try:  # for where there is no secret, anyone can make one
        values = bson.decode(payload[: int.from_bytes(payload[:4], "little")]).get("v")
    except BSONError:
        raise refusal from None
    if not isinstance(values, list) or any(isinstance(value, list | dict | Regex) for value in values):
        raise refusal
    return tuple(values)
