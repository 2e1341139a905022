"""The operators of filters: a row for each. Nothing else of MongoDB's language can be reached by clients."""

import math
import operator as order
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hive import operands
from hive.codecs.codec import Codec
from hive.codecs.containers import Dictionary, Embedded, Items, Mapping
from hive.codecs.geo import Geometry, LegacyPoint
from hive.codecs.numbers import Exact, FixedDecimal, Float, Integer, Number
from hive.codecs.references import CachedReference, GenericReference
from hive.codecs.scalars import Id, Text
from hive.codecs.times import Day, ExactMoment, Moment
from hive.codecs.untyped import Anything
from hive.matching import EARTH, distance, each, equal, fits, ordered, points
from hive.names import Named
from hive.operands import Find, Near

Holds = Callable[[list[Any], Any], bool]

COMPOUND = (Items, Embedded, Mapping, Dictionary, Geometry)
SORTED = (Text, Integer, Float, FixedDecimal, Exact, Number, Moment, ExactMoment, Day, Id, Anything)
KEYS: dict[type[Codec], str] = {CachedReference: "._id", GenericReference: "._ref"}
"""Where in what is stored the key of a referenced document is, if it is not the whole of it."""


@dataclass(frozen=True)
class Operator:
    """What clients may ask of a field.

    `suits` tells for which fields; `read` makes the value of a text; `expression` is what MongoDB is asked;
    `holds` answers the same of what a document in memory has there. Of a `whole` field, and not of the
    values in it, one asks whether it is there and how long it is.
    """

    suits: Callable[[Named], bool]
    read: Callable[[Named, str, Find], Any]
    expression: Callable[[Named, Any], dict[str, Any]]
    holds: Holds
    whole: bool = False

    def key(self, named: Named) -> str:
        """The dotted name in MongoDB of what is asked for."""
        return named.key if self.whole else named.key + KEYS.get(type(named.item.codec), "")


# Which fields


def always(named: Named) -> bool:
    return True


def is_value(named: Named) -> bool:
    """Whether the field, or each item of it, is a single value. MongoDB does not look into lists in lists."""
    return not isinstance(named.item.codec, COMPOUND)


def is_sorted(named: Named) -> bool:
    """Whether values of the field come before and after each other; decimals that are strings do not."""
    codec = named.item.codec
    is_string = isinstance(codec, FixedDecimal) and codec.field.force_string
    return is_value(named) and isinstance(codec, SORTED) and not is_string


def is_text(named: Named) -> bool:
    return isinstance(named.item.codec, Text)


def is_list(named: Named) -> bool:
    return isinstance(named.codec, Items)


def is_list_of_values(named: Named) -> bool:
    return is_list(named) and is_value(named)


def is_point(named: Named) -> bool:
    codec = named.item.codec
    return isinstance(codec, Geometry) and codec.type == "Point"


# What is asked in memory


def some(test: Callable[[Any, Any], bool]) -> Holds:
    """That a value, or an item of a list, passes."""
    return lambda found, value: any(test(one, value) for one in each(found))


def none(test: Callable[[Any, Any], bool]) -> Holds:
    return lambda found, value: not some(test)(found, value)


def is_among(value: Any, others: list[Any]) -> bool:
    return any(equal(value, other) for other in others)


def has_all(found: list[Any], values: list[Any]) -> bool:
    return all(some(equal)(found, value) for value in values)


def has_length(found: list[Any], length: int) -> bool:
    return any(isinstance(value, list) and len(value) == length for value in found)


def is_there(found: list[Any], wanted: bool) -> bool:
    return wanted is not some(equal)(found, None)


def is_near(found: list[Any], near: Near) -> bool:
    furthest = math.inf if near.metres is None else near.metres
    here = (near.longitude, near.latitude)
    return any(distance(here, there) <= furthest for value in found for there in points(value))


def is_within(found: list[Any], box: list[list[float]]) -> bool:
    (west, south), (east, north) = box
    return any(west <= x <= east and south <= y <= north for value in found for x, y in points(value))


# What is asked of MongoDB


def nearest(named: Named, near: Near) -> dict[str, Any]:
    """What is near, the nearest first; needs a geospatial index, and may not be counted or sorted."""
    place = [near.longitude, near.latitude]
    if isinstance(named.item.codec, LegacyPoint):
        limit = {} if near.metres is None else {"$maxDistance": radians(near.metres)}
        return {"$nearSphere": place} | limit
    limit = {} if near.metres is None else {"$maxDistance": near.metres}
    return {"$nearSphere": {"$geometry": {"type": "Point", "coordinates": place}} | limit}


def around(near: Near, metres: float) -> dict[str, Any]:
    """What is near, in any order."""
    return {"$geoWithin": {"$centerSphere": [[near.longitude, near.latitude], radians(metres)]}}


def radians(metres: float) -> float:
    """The angle seen from the centre of the earth; MongoDB takes no more than half of the way around."""
    return min(metres / EARTH, math.pi)


def comparison(name: str, holds: Holds, suits: Any = is_value, read: Any = operands.one) -> Operator:
    """An operator that MongoDB has itself."""
    return Operator(suits, read, lambda _, value: {name: value}, holds)


def pattern(before: str, after: str, options: str = "") -> Operator:
    """That a text has another one in it, which is no regular expression of the client's."""

    def expression(_: Any, text: str) -> dict[str, Any]:
        asked = {"$regex": before + re.escape(text) + after}
        return asked | {"$options": options} if options else asked

    return Operator(
        is_text, operands.pattern, expression, some(lambda one, text: fits(one, expression(None, text)))
    )


END = r"$(?!\n)"
"""Not before a newline at the end, where ``$`` alone would match too."""

OPERATORS: dict[str, Operator] = {
    "eq": comparison("$eq", some(equal)),
    "ne": comparison("$ne", none(equal)),
    "gt": comparison("$gt", some(ordered(order.gt)), is_sorted, operands.sortable),
    "gte": comparison("$gte", some(ordered(order.ge)), is_sorted, operands.sortable),
    "lt": comparison("$lt", some(ordered(order.lt)), is_sorted, operands.sortable),
    "lte": comparison("$lte", some(ordered(order.le)), is_sorted, operands.sortable),
    "in": comparison("$in", some(is_among), read=operands.several),
    "nin": comparison("$nin", none(is_among), read=operands.several),
    "exists": Operator(
        always, operands.flag, lambda _, wanted: {"$ne" if wanted else "$eq": None}, is_there, whole=True
    ),
    "iexact": pattern("^", END, "i"),
    "contains": pattern("", ""),
    "icontains": pattern("", "", "i"),
    "startswith": pattern("^", ""),
    "istartswith": pattern("^", "", "i"),
    "endswith": pattern("", END),
    "iendswith": pattern("", END, "i"),
    "all": comparison("$all", has_all, is_list_of_values, operands.all_of),
    "size": Operator(is_list, operands.length, lambda _, size: {"$size": size}, has_length, whole=True),
    "near": Operator(is_point, operands.point, nearest, is_near),
    "max_distance": Operator(is_point, operands.metres, lambda *_: {}, lambda *_: True),
    "within_box": Operator(is_point, operands.box, lambda _, box: {"$geoWithin": {"$box": box}}, is_within),
}
"""The meaning of ``NAME__OPERATOR=TEXT``, by operator.

Of a list, the comparisons ask for some item, and `ne` and `nin` for none. Clients read null where nothing is
stored as well as where null is: for `exists` neither is there. `max_distance` belongs to `near`.
"""


def operators_of(named: Named) -> list[str]:
    """The operators that the field has."""
    return [name for name, operator in OPERATORS.items() if operator.suits(named)]
