"""Query parameters as a filter: for MongoDB, and for documents in memory."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace as changed
from typing import Any

from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.matching import distance, found, points
from hive.names import Allowed, Named, known, last, quoted, resolve, unknown
from hive.operands import NOTHING, Find, Near, split
from hive.operators import OPERATORS, around, operators_of

__all__ = ["AnyOf", "Condition", "compiled", "conditions", "holds", "split"]

MOST_CONDITIONS = 100
ABSENT = {"eq": "in", "ne": "nin", "all": "in"}
"""What is asked instead where a document is named that there is not: to be, or not, one of none."""
ELSEWHERE = {
    **dict.fromkeys(("exact", "is", "equals"), "eq"),
    **dict.fromkeys(("not", "neq", "isnot"), "ne"),
    **dict.fromkeys(("isnull", "null"), "exists"),
    **dict.fromkeys(("regex", "like", "match", "search"), "contains"),
    **dict.fromkeys(("iregex", "ilike"), "icontains"),
    **dict.fromkeys(("range", "between", "min"), "gte"),
    **dict.fromkeys(("max",), "lte"),
}
"""Names that operators have elsewhere."""
ORDERING = ("near", "max_distance")
"""What orders the documents too, which MongoDB does for a whole filter only."""


@dataclass(frozen=True)
class Condition:
    """What must hold of one field; `value` is as MongoDB has it."""

    named: Named
    operator: str
    value: Any

    @property
    def key(self) -> str:
        """The dotted name in MongoDB of what is asked for."""
        return OPERATORS[self.operator].key(self.named)

    def expression(self, ordered: bool = False) -> dict[str, Any]:
        """What MongoDB is asked; if the documents are `ordered` otherwise, nearness does not order them."""
        if ordered and self.operator == "near":
            return around(self.value, self.value.metres)
        return OPERATORS[self.operator].expression(self.named, self.value)

    def distance(self, raw: Mapping[str, Any]) -> float:
        """For ``near``, the metres to the nearest point that the document has."""
        center = self.value.longitude, self.value.latitude
        every = (point for value in found(raw, self.key.split(".")) for point in points(value))
        return min((distance(center, point) for point in every), default=math.inf)

    def holds(self, raw: Mapping[str, Any]) -> bool:
        values = list(found(raw, self.key.split(".")))
        return OPERATORS[self.operator].holds(values, self.value)


@dataclass(frozen=True)
class AnyOf:
    """Conditions of which one must hold."""

    conditions: tuple[Condition, ...]

    def holds(self, raw: Mapping[str, Any]) -> bool:
        return any(condition.holds(raw) for condition in self.conditions)


def conditions(
    pairs: Sequence[tuple[str, str]], encoder: Encoder, filterable: Allowed, find: Find
) -> list[Condition | AnyOf]:
    """What query parameters ask for, all of which must hold. Raises `BadRequest`, which names what is wrong.

    `filterable` are the dotted names that clients may use, each for all below it; None for all that they
    read. `find` gives the primary key of the document of a model that a client names, None if there is
    none; its `ValueError` says why the name cannot be one.
    """
    reading = Reading(encoder, filterable, find)
    if len(pairs) > MOST_CONDITIONS or sum(map(weight, pairs)) > MOST_CONDITIONS:
        raise BadRequest(f"There are more than {MOST_CONDITIONS} conditions.")
    return joined(
        [reading.any_of(text) if name == "any_of" else reading.condition(name, text) for name, text in pairs]
    )


def weight(pair: tuple[str, str]) -> int:
    """How many conditions a parameter has."""
    return len(split(pair[1])) if pair[0] == "any_of" else 1


@dataclass(frozen=True)
class Reading:
    """How one request's parameters become conditions."""

    encoder: Encoder
    filterable: Allowed
    find: Find

    def condition(self, parameter: str, text: str) -> Condition:
        """``NAME=TEXT`` or ``NAME__OPERATOR=TEXT``."""
        named, operator = self.asked(parameter)
        try:
            value = OPERATORS[operator].read(named, text, self.find)
        except ValueError as error:
            raise wrong(parameter, str(error)) from None
        return (
            Condition(named, ABSENT[operator], []) if value is NOTHING else Condition(named, operator, value)
        )

    def asked(self, parameter: str) -> tuple[Named, str]:
        """The field and the operator that a parameter names.

        It is a name as a whole if there is such a field. A key that is no field's name must have no
        ``__``, or an operator after it: ``data.a__b__eq`` asks for ``data.a__b``.
        """
        whole = known(self.encoder, parameter, self.filterable)
        if whole is not None and not (whole.is_key and "__" in last(parameter)):
            return whole, suited(whole, "eq")
        name, _, operator = parameter.rpartition("__")
        if operator not in OPERATORS and known(self.encoder, name, self.filterable) is None:
            name = parameter
        dotted = parameter.replace("__", ".")
        meant = None if operator in OPERATORS else known(self.encoder, dotted, self.filterable)
        if meant is not None and not meant.is_key:
            raise BadRequest(f"{quoted(parameter)} is no field here: did you mean {dotted!r}?")
        named = resolve(self.encoder, name, self.filterable)
        return named, suited(named, operator)

    def any_of(self, text: str) -> AnyOf:
        """``NAME=TEXT,NAME__OPERATOR=TEXT``."""
        return AnyOf(tuple(self.alternative(part) for part in split(text)))

    def alternative(self, part: str) -> Condition:
        parameter, equals, text = part.partition("=")
        if not equals:
            raise wrong("any_of", f"must be NAME=VALUE between its commas, which {quoted(part)} is not")
        if parameter == "any_of":
            raise wrong("any_of", "cannot be in itself")
        condition = self.condition(parameter, text)
        if condition.operator in ORDERING:
            raise wrong("any_of", f"cannot have {quoted(parameter)}: ask for it beside any_of, or within_box")
        return condition


def suited(named: Named, operator: str) -> str:
    """The same operator, if the field has it."""
    having = operators_of(named)
    if operator in having:
        return operator
    sentence = f"{quoted(named.name)} has no operator {quoted(operator)}, but {', '.join(having)}"
    raise unknown(sentence, ELSEWHERE.get(operator, operator), having)


def wrong(parameter: str, message: str) -> BadRequest:
    """What is said of a value that is none."""
    name = quoted(parameter)[1:-1]
    return BadRequest(f"{name} {message}.", errors=[{"field": name, "message": message}])


def joined(given: Iterable[Condition | AnyOf]) -> list[Condition | AnyOf]:
    """The same, with how near as a part of what is near. Raises `BadRequest`."""
    apart: dict[str, list[Condition]] = {name: [] for name in ORDERING}
    rest: list[Condition | AnyOf] = []
    for one in given:
        (rest if isinstance(one, AnyOf) else apart.get(one.operator, rest)).append(one)  # type: ignore[arg-type]
    near, limits = apart["near"], apart["max_distance"]
    for conditions in (near, limits):
        if len(conditions) > 1:
            raise wrong(f"{conditions[1].named.name}__{conditions[1].operator}", "cannot be asked for twice")
    for limit in limits:
        if not near or near[0].named.name != limit.named.name:
            raise wrong(f"{limit.named.name}__max_distance", f"needs {limit.named.name}__near beside it")
        near = [changed(near[0], value=changed(near[0].value, metres=limit.value))]
    return [*near, *rest]


def compiled(conditions: Iterable[Condition | AnyOf], ordered: bool = False) -> dict[str, Any]:
    """The filter for MongoDB, which has all of the conditions; ``{}`` for none.

    Without `ordered`, a condition of nearness orders the documents by distance: then they can neither be
    sorted nor counted, and MongoDB needs a geospatial index. With it, it only chooses the documents; raises
    `BadRequest` if there is no max_distance to choose by.
    """
    result: dict[str, Any] = {}
    further = []
    for clause in (clause_of(one, ordered) for one in conditions):
        ((key, asked),) = clause.items()
        if key not in result:
            result[key] = asked
        elif mergeable(result[key], asked):
            result[key] = result[key] | asked
        else:
            further.append(clause)
    return result | {"$and": further} if further else result


def mergeable(one: Any, other: Any) -> bool:
    """Whether one dictionary can have the operators of both; that of nearness wants to be alone."""
    both = isinstance(one, dict) and isinstance(other, dict)
    return both and one.keys().isdisjoint(other) and "$nearSphere" not in {*one, *other}


def clause_of(one: Condition | AnyOf, ordered: bool) -> dict[str, Any]:
    if isinstance(one, AnyOf):
        return {"$or": [clause_of(each, ordered) for each in one.conditions]}
    if ordered and isinstance(one.value, Near) and one.value.metres is None:
        name = one.named.name
        raise wrong(f"{name}__near", f"needs {name}__max_distance where a list is sorted or counted")
    return {one.key: one.expression(ordered)}


def holds(conditions: Iterable[Condition | AnyOf], raw: Mapping[str, Any]) -> bool:
    """Whether all of the conditions hold of a document as pymongo returns it, as they would in MongoDB."""
    return all(condition.holds(raw) for condition in conditions)
