"""Indexes: whether MongoDB finds a list by one, or has to look at every document, or to sort them itself."""

import logging
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hive.codecs.geo import LegacyPoint
from hive.errors import BadRequest
from hive.filters import AnyOf, Condition
from hive.orders import KEY, Order
from hive.rows import Rows

logger = logging.getLogger("hive")

SECONDS_KNOWN = 5.0
"""How long the indexes of a collection are taken to be as they were, for a list that has none."""
MOST_TOLD = 1000
CLASS = "_cls"
GEO = ("2dsphere", "2d")
EQUAL = ("eq", "in", "all")
RANGE = ("gt", "gte", "lt", "lte", "startswith")

Index = tuple[tuple[str, Any], ...]
Conditions = Iterable[Condition | AnyOf]
_known: dict[Any, tuple[float, list[Index]]] = {}
_told: set[tuple[str, "Needs"]] = set()


@dataclass(frozen=True)
class Needs:
    """What an index must have to answer a list: the names that are asked to equal something, or to be in a
    range, and the order; `others` must be looked at in each document, `ways` are the names in each `any_of`.
    """

    equal: tuple[str, ...]
    range: tuple[str, ...]
    others: tuple[str, ...]
    ways: tuple[tuple[str, ...], ...]
    order: Order
    near: tuple[str, ...] = ()  # those of the range that are points

    def met_by(self, indexes: Iterable[Index]) -> bool:
        indexes = [*indexes, ((KEY, 1),)]
        firsts = {index[0][0] for index in indexes}
        asks = self.equal or self.range or self.others or self.ways
        if self.ways and all(set(way) <= firsts for way in self.ways) and not self.order:
            return True
        return any(self._met_by(index) for index in indexes) if asks or self.order else True

    def _met_by(self, index: Index) -> bool:
        first, kind = index[0]
        if (kind in GEO) != (first in self.near):
            return False
        bounded = {*self.equal, *self.range}
        if kind == "hashed" and first not in self.equal:
            return False
        is_walked = bool(self.order and self.range and not self.equal) and bounded <= dict(index).keys()
        if (bounded or self.others or self.ways) and not (first in bounded or is_walked):
            return False
        keys = [(name, way) for name, way in index if name not in self.equal]
        order = [(name, way) for name, way in self.order if name not in self.equal]
        start = keys[: len(order)]
        return start == order or start == [(name, -way) for name, way in order]

    @property
    def index(self) -> Index:
        """The index that would do: what is equal, then the order, then what is in a range (MongoDB's ESR).

        Empty where none would.
        """
        if not self.equal and not self.range and (self.others or self.ways):
            return ()
        order: dict[str, Any] = dict(self.order) | dict.fromkeys(self.near, "2dsphere")
        names = (*self.equal, *dict(self.order), *self.range)
        return tuple({name: order.get(name, 1) for name in names}.items())


def check(
    rows: Rows, conditions: Iterable[Condition | AnyOf], order: Order | None, *, required: bool
) -> None:
    """Say in the debug log, once, which index a list lacks. Raises `BadRequest` where one is `required`."""
    if not required and not logger.isEnabledFor(logging.DEBUG):
        return
    needs = needs_of(rows, conditions, order)
    if is_met(rows.collection, needs):
        return
    told = rows.collection.full_name, needs
    if told not in _told:
        if len(_told) >= MOST_TOLD:
            _told.clear()
        _told.add(told)
        logger.debug("A list of %s needs all documents: %s", rows.collection.full_name, advice(needs))
    if required:
        raise BadRequest("This list takes a filter and an order for which there is an index.")


def unsorted(rows: Rows, conditions: Conditions, order: Order | None, asked: Order | None) -> BadRequest:
    """The answer where MongoDB has not the memory to sort a list in `order`: which index it needs.

    The answer has what the client has `asked` for, the log what the application has added, too.
    """
    needed = advice(needs_of(rows, conditions, order))
    shown = advice(needs_of(replace(rows, query={}), conditions, asked))
    logger.warning("A list of %s is too long to be sorted: %s", rows.collection.full_name, needed)
    return BadRequest(f"This list is too long to be sorted: {shown}.")


def advice(needs: Needs) -> str:
    index = list(needs.index)
    return f"create_index({index})" if index else "no index helps, but another filter would"


def check_place(rows: Rows, key: str) -> None:
    """That there is an index by which what is near is found in order. Raises `BadRequest`."""
    if not is_met(rows.collection, Needs((), (key,), (), (), (), (key,))):
        raise BadRequest("There is no index here for what is near: pass 'sort' and a max_distance.")


def needs_of(rows: Rows, conditions: Conditions, order: Order | None) -> Needs:
    equal, ranged = names_in(rows.query)
    others: list[str] = []
    ways: list[tuple[str, ...]] = []
    near: list[str] = []
    for condition in conditions:
        if isinstance(condition, AnyOf):
            ways.append(tuple(one.key if is_sought(one) else "" for one in condition.conditions))
        elif condition.operator in EQUAL:
            equal.append(condition.key)
        elif is_sought(condition):
            ranged.append(condition.key)
            near += [condition.key] if condition.operator == "near" else []
        else:
            others.append(condition.key)
    return Needs(once(equal), once(ranged), once(others), tuple(ways), order or (), once(near))


def is_sought(condition: Condition) -> bool:
    """Whether an index of the field finds what is asked for; one of points on a globe finds no flat box."""
    is_flat = isinstance(condition.named.item.codec, LegacyPoint)
    return condition.operator in (*EQUAL, *RANGE, "near") or (condition.operator == "within_box" and is_flat)


def once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def names_in(query: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The names that a scope asks to equal something, and those that it asks for otherwise."""
    names = [name for name in query if not name.startswith("$") and name != CLASS]
    equal = [name for name in names if is_equal(query[name])]
    return equal, [name for name in names if name not in equal]


def is_equal(value: Any) -> bool:
    return not isinstance(value, dict) or value.keys() <= {"$eq", "$in"}


def is_met(collection: Any, needs: Needs) -> bool:
    told, indexes = _known.get(collection, (-math.inf, []))
    if needs.met_by(indexes):
        return True
    if time.monotonic() - told < SECONDS_KNOWN:
        return False
    _known[collection] = time.monotonic(), indexes_of(collection)
    return needs.met_by(_known[collection][1])


def indexes_of(collection: Any) -> list[Index]:
    """The indexes that have every document, as their keys are, without that of the class: it finds all."""
    partial = ("sparse", "partialFilterExpression", "hidden", "collation")
    every = collection.index_information().values()
    whole = [index["key"] for index in every if not any(index.get(name) for name in partial)]
    keys = [tuple((name, way) for name, way in key if name != CLASS) for key in whole]
    return [key for key in keys if key]
