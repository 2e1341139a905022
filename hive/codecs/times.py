"""How dates and times cross JSON: as RFC 3339, in UTC."""

from datetime import UTC, date, datetime
from typing import Any

from hive.codecs.codec import Codec, empty_is_null, expect


class Moment(Codec):
    """`DateTimeField`: milliseconds in UTC; orjson writes it as RFC 3339."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> datetime:
        moment = datetime_of(value)
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    parse = empty_is_null(str)  # type: ignore[assignment]


class ExactMoment(Codec):
    """`ComplexDateTimeField`: microseconds, stored as a string."""

    def encode(self, value: Any) -> datetime:
        return self.field.to_python(value)  # type: ignore[no-any-return]

    def decode(self, value: Any, decoding: Any, current: Any = None) -> datetime:
        return datetime_of(value)

    parse = empty_is_null(str)  # type: ignore[assignment]


def datetime_of(value: Any) -> datetime:
    """RFC 3339; a time without an offset is taken as UTC."""
    expect(isinstance(value, str), "a date and time as in RFC 3339, like 2026-01-31T23:59:59Z")
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise ValueError("must be a date and time as in RFC 3339, like 2026-01-31T23:59:59Z") from None


class Day(Codec):
    """`DateField`."""

    def encode(self, value: Any) -> str:
        return str(value.isoformat())[:10]

    def decode(self, value: Any, decoding: Any, current: Any = None) -> date:
        try:
            return date.fromisoformat(value)
        except (ValueError, TypeError):
            raise ValueError("must be a date as in RFC 3339, like 2026-01-31") from None

    parse = empty_is_null(str)  # type: ignore[assignment]
