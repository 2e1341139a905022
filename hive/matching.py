"""What MongoDB finds in a document, found in memory: by the same paths, and by the same order of values."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Decimal128, ObjectId
from bson.binary import OLD_UUID_SUBTYPE, UUID_SUBTYPE, Binary

EARTH = 6378100.0
"""The radius of the earth in metres, as MongoDB has it."""
ORDERED = (str, int, float, Decimal, datetime, ObjectId)


def found(raw: Any, path: list[str]) -> Iterator[Any]:
    """What a document has at a path, in each item of the lists on the way; None where there is nothing."""
    if not path:
        yield raw
    elif isinstance(raw, Mapping):
        yield from found(raw.get(path[0]), path[1:])
    elif isinstance(raw, list):
        yield from found_in(raw, path)
    else:
        yield None


def found_in(items: list[Any], path: list[str]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, Mapping):
            yield from found(item, path)
    if path[0].isdigit() and int(path[0]) < len(items):
        yield from found(items[int(path[0])], path[1:])


def each(values: Iterable[Any]) -> Iterator[Any]:
    """The values, and of lists among them each item too."""
    for value in values:
        yield value
        if isinstance(value, list):
            yield from value


def kind(value: Any) -> tuple[str, Any]:
    """The type by which MongoDB brackets a value, and what to compare it by within the type."""
    name = next((name for name, types in KINDS.items() if isinstance(value, types)), type(value).__name__)
    return (name, WITHIN[name](value)) if name in WITHIN else (name, value)


def real(value: Any) -> Any:
    """A number that Python compares with others; what is not a number is a float."""
    decimal = value.to_decimal() if isinstance(value, Decimal128) else value
    return math.nan if isinstance(decimal, Decimal) and decimal.is_nan() else decimal


def instant(value: datetime) -> datetime:
    """A time in UTC, to the millisecond, as MongoDB keeps it; pymongo may say that it is UTC, or not."""
    moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def octets(value: Any) -> tuple[int, bytes]:
    """Bytes with their subtype; pymongo has a UUID as one, or as bytes, as the connection says."""
    if isinstance(value, UUID):
        return UUID_SUBTYPE, value.bytes
    is_old = isinstance(value, Binary) and value.subtype == OLD_UUID_SUBTYPE
    return UUID_SUBTYPE if is_old else getattr(value, "subtype", 0), bytes(value)


KINDS: dict[str, Any] = {
    "bool": bool,
    "number": (int, float, Decimal128),
    "date": datetime,
    "bytes": (bytes, UUID),
    "list": list,
    "object": Mapping,
}
"""The first that fits; all other types are each for itself."""
WITHIN: dict[str, Callable[[Any], Any]] = {
    "number": real,
    "date": instant,
    "bytes": octets,
    "list": lambda items: [kind(item) for item in items],
    "object": lambda items: [(key, kind(item)) for key, item in items.items()],
}


def equal(value: Any, other: Any) -> bool:
    return kind(value) == kind(other)


def ordered(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison of values of one type that has an order; of two types, neither comes before the other."""

    def compare(value: Any, other: Any) -> bool:
        (one, left), (two, right) = kind(value), kind(other)
        is_nan = left != left  # noqa: PLR0124 - only NaN is not itself; no decimal compares with it
        return one == two and isinstance(left, ORDERED) and not is_nan and holds(left, right)

    return compare


def fits(value: Any, expression: Mapping[str, str]) -> bool:
    """Whether a string matches ``{"$regex": ..., "$options": ...}``."""
    flags = re.IGNORECASE if "i" in expression.get("$options", "") else 0
    return isinstance(value, str) and re.search(expression["$regex"], value, flags) is not None


def points(value: Any) -> Iterator[tuple[float, float]]:
    """The longitude and latitude of a point, GeoJSON or a pair; of a list of points, of each."""
    if isinstance(value, Mapping):
        value = value.get("coordinates") if value.get("type") == "Point" else None
    if not isinstance(value, list):
        return
    if len(value) == 2 and all(isinstance(number, int | float) for number in value):
        yield value[0], value[1]
        return
    for item in value:
        yield from points(item)


def distance(one: tuple[float, float], two: tuple[float, float]) -> float:
    """Metres between two points on the sphere."""
    (west, south), (east, north) = [map(math.radians, point) for point in (one, two)]
    chord = math.sin((north - south) / 2) ** 2
    chord += math.cos(south) * math.cos(north) * math.sin((east - west) / 2) ** 2
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(chord)))
