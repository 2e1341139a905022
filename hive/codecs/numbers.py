"""How numbers cross JSON: decimals as strings, for a JSON number is a float to many."""

import math
from decimal import Decimal, DecimalException, localcontext
from typing import Any

from bson import Decimal128
from bson.decimal128 import create_decimal128_context

from hive.codecs.codec import Codec, Encode, empty_is_null, expect, text_of
from hive.plain import plain

INT64 = range(-(2**63), 2**63)


def integer_of(text: str) -> int:
    """Unlike Python's own, plain digits only."""
    expect(text.isascii() and "_" not in text, "a number")
    return int(text)


def number_of(text: str) -> int | float:
    try:
        return integer_of(text)
    except ValueError:
        expect(text.isascii() and "_" not in text, "a number")
        return float(text)


class Integer(Codec):
    def decode(self, value: Any, decoding: Any, current: Any = None) -> int:
        expect(isinstance(value, int) and not isinstance(value, bool), "an integer")
        expect(value in INT64, "an integer of at most 64 bits")
        return int(value)

    parse = empty_is_null(integer_of)  # type: ignore[assignment]


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
        try:
            return str(self.field.to_python(value))
        except DecimalException:  # others stored what this field could not
            return str(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Decimal:
        number = decimal_of(value)
        try:
            self.field.to_python(
                self.field.to_mongo(number)
            )  # the float that is stored may have a digit more
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


class Number(Codec):
    """`SequenceField`: a number, or the string that its decorator makes of it."""

    encode: Encode | None = staticmethod(plain)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        return text_of(value) if isinstance(value, str) else Integer().decode(value, decoding)

    def parse(self, text: str) -> Any:
        return text if self.field.value_decorator is not int else Integer().parse(text)


def decimal_of(value: Any) -> Decimal:
    expect(
        isinstance(value, str | int | float) and not isinstance(value, bool),
        "a decimal number, best as a string",
    )
    try:
        text = str(value)
        expect(text.isascii() and "_" not in text, "a decimal number")
        number = Decimal(text)
    except DecimalException:
        raise ValueError("must be a decimal number") from None
    expect(number.is_finite(), "a finite number")
    return number
