"""How single values cross JSON: a `Codec` for each kind of value.

`encode` takes a BSON value as pymongo returns it and gives what orjson writes, `decode` takes a JSON value and
gives the typed Python value that the mongoengine field takes, `parse` takes the text of a form or a URL and gives
the JSON value meant by it. Both raise `ValueError` with a sentence for the client.
"""

import base64
import binascii
import math
import uuid
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, DecimalException, localcontext
from enum import Enum
from typing import Any

import orjson
from bson import DBRef, Decimal128, ObjectId
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.decimal128 import create_decimal128_context
from bson.errors import InvalidId

Encode = Callable[[Any], Any]
INT64 = range(-(2**63), 2**63)


class Codec:
    """How the values of one field cross JSON. This one passes them as they are."""

    encode: Encode | None = None  # None: the BSON value is the JSON value

    def __init__(self, field: Any = None) -> None:
        self.field = field

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        """The typed value. `decoding` finds the documents that the body names, `current` is what the field holds."""
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


def number_of(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


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


class Integer(Codec):
    def decode(self, value: Any, decoding: Any, current: Any = None) -> int:
        expect(isinstance(value, int) and not isinstance(value, bool), "an integer")
        expect(value in INT64, "an integer of at most 64 bits")
        return int(value)

    parse = empty_is_null(lambda text: int(text) if text.isascii() and "_" not in text else text)  # type: ignore[assignment]


class Float(Codec):
    def decode(self, value: Any, decoding: Any, current: Any = None) -> float:
        expect(isinstance(value, int | float) and not isinstance(value, bool), "a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        expect(math.isfinite(number), "a finite number of 64 bits")
        return number

    parse = empty_is_null(number_of)  # type: ignore[assignment]


class FixedDecimal(Codec):
    """`DecimalField`: stored as a float or a string, a string in JSON."""

    def encode(self, value: Any) -> str:
        return str(self.field.to_python(value))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Decimal:
        number = decimal_of(value)
        try:
            return Decimal(self.field.to_python(number))
        except DecimalException:
            raise ValueError("must be a decimal number of at most 28 digits") from None

    parse = empty_is_null(str)  # type: ignore[assignment]


class Exact(Codec):
    """`Decimal128Field`."""

    def encode(self, value: Any) -> str:
        return str(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Decimal:
        number = decimal_of(value)
        try:
            with localcontext(create_decimal128_context()):
                return Decimal128(number).to_decimal()
        except DecimalException:
            raise ValueError("must be a decimal number of at most 34 digits") from None

    parse = empty_is_null(str)  # type: ignore[assignment]


def decimal_of(value: Any) -> Decimal:
    expect(isinstance(value, str | int | float) and not isinstance(value, bool), "a decimal number, best as a string")
    try:
        number = Decimal(str(value))
    except DecimalException:
        raise ValueError("must be a decimal number") from None
    expect(number.is_finite(), "a finite number")
    return number


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


def uuid_text(value: Binary) -> str:
    """The text of a UUID that the connection, for want of a uuidRepresentation, gives as bytes."""
    standard = value.subtype == UUID_SUBTYPE
    return str(value.as_uuid(UuidRepresentation.STANDARD if standard else UuidRepresentation.PYTHON_LEGACY))


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

    encode: Encode | None = staticmethod(lambda value: plain(value))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Enum:
        for member in self.field._enum_cls:
            if plain(member.value) == value and type(plain(member.value)) is type(value):
                return member  # type: ignore[no-any-return]
        values = ", ".join(str(plain(member.value)) for member in self.field._enum_cls)
        raise ValueError(f"must be one of {values}")

    def parse(self, text: str) -> Any:
        values = {str(plain(member.value)): plain(member.value) for member in self.field._enum_cls}
        return values.get(text, text or None)


class Number(Codec):
    """`SequenceField`: a number, or the string that its decorator makes of it."""

    encode: Encode | None = staticmethod(lambda value: plain(value))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return text_of(value) if isinstance(value, str) else Integer().decode(value, decoding)

    def parse(self, text: str) -> Any:
        return text if self.field.value_decorator is not int else Integer().parse(text)


class Anything(Codec):
    """Values that no field describes: what is JSON stays, other BSON types go out as strings."""

    encode: Encode | None = staticmethod(lambda value: plain(value))

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return free(value)


def free(value: Any) -> Any:
    """A JSON value as MongoDB takes it, without knowing its type."""
    if isinstance(value, dict):
        return {key_of(key): free(item) for key, item in value.items()}
    if isinstance(value, list):
        return [free(item) for item in value]
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Integer().decode(value, None)
    return value


def key_of(key: str) -> str:
    """A key that MongoDB stores as a key and mongoengine does not take for a class or a reference."""
    if not key or key.startswith("$") or "." in key or "\0" in key or key in ("_cls", "_ref", "_id"):
        raise ValueError(f"cannot have the key {key!r}")
    return text_of(key)


def plain(value: Any) -> Any:
    """Any BSON value as JSON; also what orjson calls for the values in a model's own ``to_dict()``."""
    if value is None or isinstance(value, str | int | float | datetime):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        is_uuid = isinstance(value, Binary) and value.subtype in (3, UUID_SUBTYPE)
        return uuid_text(value) if is_uuid else base64.b64encode(value).decode()  # type: ignore[arg-type]
    if isinstance(value, DBRef):
        return plain(value.id)
    if isinstance(value, Enum):
        return plain(value.value)
    return str(getattr(value, "pk", value))
