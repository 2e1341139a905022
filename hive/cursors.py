"""Cursors: places in a list, which clients get in ``Link`` and give back as they are.

A cursor has the values by which the list is sorted, of the item that it is about. Its signature holds for
one list only, with its filters and its order. Whoever could forge one would learn no more than by a filter.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import bson
from bson.codec_options import CodecOptions

from hive.errors import BadRequest

Position = tuple[Any, ...]
"""The values of one item, as MongoDB has them, by which its list is sorted; its primary key is the last."""

SIGNED = 16
"""Bytes of a signature."""
LONGEST = 8192


def write(position: Position, bound: str, key: bytes, options: Any) -> str:
    """The cursor of a position in the list that `bound` names; `options` are those of the collection."""
    codec: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=options.uuid_representation)
    payload = bson.encode({"v": list(position)}, codec_options=codec)
    return urlsafe_b64encode(signature(payload, bound, key) + payload).rstrip(b"=").decode()


def read(name: str, text: str, bound: str, key: bytes) -> Position:
    """The position that a cursor means, in values that MongoDB takes. Raises `BadRequest`."""
    refusal = BadRequest(f"The query parameter {name!r} is no cursor of this list: take it from a Link.")
    if len(text) > LONGEST or not text.isascii():
        raise refusal
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise refusal from None
    if text != urlsafe_b64encode(data).rstrip(b"=").decode():
        raise refusal
    payload = data[SIGNED:]
    if not hmac.compare_digest(data[:SIGNED], signature(payload, bound, key)):
        raise refusal
    return tuple(bson.decode(payload)["v"])


def signature(payload: bytes, bound: str, key: bytes) -> bytes:
    return hmac.digest(key, sha256(bound.encode()).digest() + payload, "sha256")[:SIGNED]
