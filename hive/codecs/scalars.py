"""How texts, identifiers and other single values cross JSON."""

import base64
import binascii
import uuid
from enum import Enum
from typing import Any

from bson import ObjectId
from bson.binary import Binary
from bson.errors import InvalidId

from hive.codecs.codec import Codec, Encode, empty_is_null, expect, text_of
from hive.plain import plain, uuid_text
from hive.values import frozen


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

    encode: Encode | None = str

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
