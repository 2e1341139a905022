"""How single values cross JSON: a `Codec` for each kind of value.

`encode` takes a BSON value as pymongo returns it and gives what orjson writes, `decode` takes a JSON value
and gives the typed Python value that the mongoengine field takes, `parse` takes the text of a form or a URL
and gives the JSON value meant by it. The last two raise `ValueError` with a sentence for the client.
"""

import base64
import binascii
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any

import orjson
from bson import ObjectId
from bson.binary import Binary
from bson.errors import InvalidId

from hive.plain import plain, uuid_text
from hive.values import frozen

Encode = Callable[[Any], Any]


class Codec:
    """How the values of one field cross JSON. This one passes them as they are."""

    encode: Encode | None = None  # None: the BSON value is the JSON value
    partial = False  # whether the JSON may leave out some of the value, or name what is no more

    def __init__(self, field: Any = None) -> None:
        self.field = field

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        """The typed value. `decoding` finds documents that are named, `current` is what the field holds."""
        return value

    def parse(self, text: str) -> Any:
        return text


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"must be {what}")


def text_of(value: Any) -> str:
    expect(isinstance(value, str), "a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return str(value)


def empty_is_null(parse: Callable[[str], Any]) -> Callable[[Any, str], Any]:
    """In a form, an empty text is how a person leaves out a value that is no string."""
    return lambda _, text: parse(text) if text else None


def json_of(text: str) -> Any:
    """The JSON in a form's text, for values that have no other spelling; else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def bool_of(text: str) -> Any:
    return {"true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False,
            "no": False}.get(text.lower(), text)  # fmt: skip


class Text(Codec):
    def decode(self, value: Any, decoding: Any, current: Any = None) -> str:
        return text_of(value)


class Address(Text):
    """`EmailField`, which looks for the first character of the domain before it knows that there is one."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> str:
        expect(not text_of(value).endswith("@"), "an email address")
        return str(value)


class Boolean(Codec):
    def decode(self, value: Any, decoding: Any, current: Any = None) -> bool:
        expect(isinstance(value, bool), "true or false")
        return bool(value)

    parse = empty_is_null(bool_of)  # type: ignore[assignment]


class Uuid(Codec):
    def encode(self, value: Any) -> str:
        return uuid_text(value) if isinstance(value, Binary) else str(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> uuid.UUID:
        expect(isinstance(value, str), "a UUID")
        try:
            return uuid.UUID(value)
        except ValueError:
            raise ValueError("must be a UUID") from None

    parse = empty_is_null(str)  # type: ignore[assignment]


class Bytes(Codec):
    def encode(self, value: Any) -> str:
        return base64.b64encode(value).decode()

    def decode(self, value: Any, decoding: Any, current: Any = None) -> bytes:
        expect(isinstance(value, str), "base64")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("must be base64") from None


class Id(Codec):
    """`ObjectIdField`."""

    def encode(self, value: Any) -> str:
        return str(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> ObjectId:
        expect(isinstance(value, str), "24 hexadecimal digits")
        try:
            return ObjectId(value)
        except InvalidId:
            raise ValueError("must be 24 hexadecimal digits") from None

    parse = empty_is_null(str)  # type: ignore[assignment]


class Choice(Codec):
    """`EnumField`: the value of the member."""

    encode: Encode | None = staticmethod(plain)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Enum:
        for member in self.field.choices:
            if frozen(plain(member.value)) == frozen(value):
                return member  # type: ignore[no-any-return]
        values = ", ".join(str(plain(member.value)) for member in self.field.choices)
        raise ValueError(f"must be one of {values}")

    def parse(self, text: str) -> Any:
        values = {str(plain(member.value)): plain(member.value) for member in self.field.choices}
        return values.get(text, text or None)
