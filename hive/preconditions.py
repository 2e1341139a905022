"""Entity tags, and the preconditions that name them (RFC 9110, 8.8.3 and 13.1).

A tag is strong: ``"STATE-REPRESENTATION"``. The first part tells the stored state, whatever of it a client
sees; the second what it looks like. A write asks for the first only.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from hive.errors import BadRequest, PreconditionFailed

ANY = "\n"
"""In the place of a state: any that there is. No tag can have it."""
TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
CODEC = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)  # type: ignore[var-annotated]


def state_of(raw: Mapping[str, Any]) -> str:
    """What tells the state of an object in MongoDB from any other, whatever the order of its fields."""
    return sha256(bson.encode(sorted_by_name(raw), codec_options=CODEC)).hexdigest()[:32]


def sorted_by_name(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: sorted_by_name(value[name]) for name in sorted(value)}
    return [sorted_by_name(item) for item in value] if isinstance(value, list) else value


def sealed(state: str, secret: bytes | None) -> str:
    """The state as clients know it, who must not find out by trying what of the document they do not see."""
    return state if secret is None else hmac.new(secret, state.encode(), "sha256").hexdigest()[:32]


def tag_of(state: str, body: bytes) -> str:
    """The entity tag of an object in a state, and the body that shows it."""
    return f'"{state}-{sha256(body).hexdigest()[:16]}"'


@dataclass(frozen=True)
class Precondition:
    """Which states a write is meant for (``If-Match``), and not meant for (``If-None-Match``); None: any."""

    wanted: frozenset[str] | None = None
    unwanted: frozenset[str] | None = None

    @property
    def is_there(self) -> bool:
        return self.wanted is not None or self.unwanted is not None

    def check(self, state: str) -> None:
        """Raises `PreconditionFailed` where the object that is there has another state."""
        is_wanted = self.wanted is None or bool(self.wanted & {ANY, state})
        if not is_wanted or (self.unwanted is not None and self.unwanted & {ANY, state}):
            raise PreconditionFailed


def precondition_of(headers: Any) -> Precondition:
    """That of a request. Raises `BadRequest`."""
    return Precondition(
        states("If-Match", headers.get("If-Match"), weak=False),
        states("If-None-Match", headers.get("If-None-Match"), weak=True),
    )


def states(name: str, text: str | None, *, weak: bool) -> frozenset[str] | None:
    """The states that a header names. A weak tag counts only where it may: it does not tell all changes."""
    if text is None:
        return None
    if text.strip() == "*":
        return frozenset({ANY})
    found, end = set(), 0
    while match := TAG.match(text, end):
        if weak or not match[1]:
            found.add(match[2].partition("-")[0])
        end = match.end()
        if end == len(text):
            return frozenset(found)
        if text[end] != ",":
            break
        end += 1
    raise BadRequest(f'{name} must be "*" or a list of entity tags, such as "abc", "def".')
