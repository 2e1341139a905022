"""Orders: how a list is sorted, and what comes after one of its items.

An order ends with the primary key, so that no two items share a place in it. A list that continues after a
position costs the same wherever that is, and skips or repeats nothing while others insert and delete.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from bson import Decimal128, ObjectId

from hive.codecs.containers import Dictionary, Embedded, Items, Mapping as MappingCodec
from hive.codecs.geo import Geometry
from hive.codecs.references import CachedReference, GenericReference
from hive.codecs.scalars import Bytes, Choice
from hive.codecs.untyped import Anything
from hive.cursors import Position
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.matching import instant
from hive.names import Allowed, Named, resolve

Order = tuple[tuple[str, int], ...]
"""Names in MongoDB, each with 1 or -1."""
MOST_NAMES = 8
UNSORTED = (Dictionary, Embedded, Geometry, Items, MappingCodec)
UNMEASURED = (Anything, Bytes, CachedReference, GenericReference)
"""Values of any type or size, or objects: what comes after one of them, no filter tells everywhere."""
LONGEST = 3072
"""Bytes that the values of a position may have, so that its cursor fits into a URL."""
KEY = "_id"
KINDS: tuple[Any, ...] = (int | float | Decimal, str, bytes, ObjectId, datetime)
"""Types in the order in which MongoDB sorts their values, after null; True is a number as it is to Python."""
WITHIN: dict[Any, Any] = {
    KINDS[0]: lambda number: (number == number, number if number == number else 0),  # noqa: PLR0124 - not NaN
    str: str.encode,
    datetime: instant,
    bytes: lambda data: (len(data), getattr(data, "subtype", 0), bytes(data)),
}
"""What to compare the values of a type by, where that is not they themselves."""


def order(text: str | None, encoder: Encoder, filterable: Allowed) -> Order | None:
    """The order that ``sort=-created,name`` means. Raises `BadRequest`."""
    if text is None:
        return None
    names = text.split(",")
    if len(names) > MOST_NAMES:
        raise BadRequest(f"A list is sorted by {MOST_NAMES} fields at most.")
    keys: dict[str, int] = {}
    for name in names:
        bare = name.removeprefix("-")
        key = sortable(bare, encoder, filterable).key
        if key in keys:
            raise BadRequest(f"'sort' names {bare!r} twice.")
        keys[key] = -1 if name.startswith("-") else 1
    return total(tuple(keys.items()))


def sortable(name: str, encoder: Encoder, filterable: Allowed) -> Named:
    named = resolve(encoder, name, filterable)
    if named.listed or isinstance(named.codec, UNSORTED):
        raise BadRequest(f"A list cannot be sorted by {name!r}, for that is not a single value.")
    return named


def is_walkable(text: str | None, encoder: Encoder, filterable: Allowed) -> bool:
    """Whether a list in the order of ``sort`` has cursors, whatever is in its documents."""
    names = [] if text is None else [name.removeprefix("-") for name in text.split(",")]
    return not any(is_unmeasured(resolve(encoder, name, filterable)) for name in names)


def is_unmeasured(named: Named) -> bool:
    mixed = isinstance(named.codec, Choice) and len({type(one.value) for one in named.field.choices}) > 1
    return mixed or isinstance(named.codec, UNMEASURED) or getattr(named.field, "dbref", False)


def total(order: Sequence[tuple[str, int]]) -> Order:
    """The same order, where the primary key decides between equals."""
    names = [name for name, _ in order]
    end = names.index(KEY) + 1 if KEY in names else len(names)
    return (*order[:end], *([] if KEY in names else [(KEY, 1)]))


def reverse(order: Order) -> Order:
    return tuple((name, -direction) for name, direction in order)


def position(order: Order, raw: Mapping[str, Any]) -> Position | None:
    """Where an item is in its list; None where no filter could tell what comes after it."""
    values = tuple(value_at(raw, name) for name, _ in order)
    return None if any(isinstance(value, list | dict) for value in values[:-1]) else values


def shortened(position: Position) -> Position:
    """The same, or, where its values are too long for a URL, the primary key alone."""
    return position[-1:] if sum(map(size, position)) > LONGEST else position


def size(value: Any) -> int:
    """Bytes of a text or of data; other values are small."""
    return len(value.encode()) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 0


def value_at(raw: Any, name: str) -> Any:
    for key in name.split("."):
        if isinstance(raw, list):
            return raw
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw


def beyond(order: Order, position: Position) -> dict[str, Any]:
    """The filter of what comes after a position. MongoDB sorts null, which is no value, before all values."""
    equal: dict[str, Any] = {}
    ways: list[dict[str, Any]] = []
    for (name, direction), value in zip(order, position, strict=True):
        ways += [{**equal, **way} for way in past(name, direction, value)]
        equal = {**equal, name: {"$eq": value}}
    if not ways:
        return {KEY: {"$in": []}}
    bound = {name: {"$gte": position[0]} for name, direction in order[:1] if direction > 0 and len(ways) > 1}
    first = {} if position[0] is None or is_nan(position[0]) else bound  # which lets an index begin there
    return ways[0] if len(ways) == 1 else {**first, "$or": ways}


def past(name: str, direction: int, value: Any) -> list[dict[str, Any]]:
    """The filters of what is sorted after a value by this name alone; NaN comes before all numbers."""
    if value is None:
        return [{name: {"$ne": None}}] if direction > 0 else []
    if direction > 0:
        return [{name: {"$gte": -math.inf} if is_nan(value) else {"$gt": value}}]
    is_number = isinstance(value, int | float | Decimal128) and not isinstance(value, bool)
    nan = [{name: {"$eq": math.nan}}] if is_number and not is_nan(value) else []
    return [{name: {"$lt": value}}, *nan, *([] if name == KEY else [{name: {"$eq": None}}])]


def is_nan(value: Any) -> bool:
    number = value.to_decimal() if isinstance(value, Decimal128) else value
    return isinstance(number, float | Decimal) and math.isnan(number)


# In memory


def arranged(items: Sequence[Any], order: Order, raw_of: Callable[[Any], Any]) -> list[Any]:
    """The items in an order, as MongoDB would sort them; equal ones stay as they are."""
    result = list(items)
    for name, direction in reversed(order):
        ranks = {id(item): rank(value_at(raw_of(item), name)) for item in result}
        result.sort(key=lambda item, ranks=ranks: ranks[id(item)], reverse=direction < 0)  # type: ignore[misc]
    return result


def rank(value: Any) -> tuple[int, Any]:
    """What to compare a value by: MongoDB compares the types first, and then what is in them."""
    if value is None:
        return 0, 0
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    for place, kinds in enumerate(KINDS, start=1):
        if isinstance(value, kinds):
            return place, WITHIN.get(kinds, lambda same: same)(value)
    return len(KINDS) + 1, str(value)
