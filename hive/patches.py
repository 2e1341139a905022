"""JSON Patch (RFC 6902): what to change in a JSON value, at the places that JSON Pointers (RFC 6901) name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hive.errors import BadRequest, Conflict, ContentTooLarge
from hive.values import frozen

OPS = ("add", "remove", "replace", "move", "copy", "test")  # each a method of `Target`
MOST_OPERATIONS = 1000
DEEPEST = 64
MOST_COPIED = 100_000  # by `size`, of all that one patch copies, or moves to deeper places
LONGEST_QUOTE = 100
INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
BROKEN_ESCAPE = re.compile(r"~(?![01])")

Pointer = tuple[str, ...]  # the names on the way to a place, the first always "": all is at ("",)


@dataclass(frozen=True)
class Operation:
    """One change, or one test, of a document. As a string it is what errors call it."""

    index: int
    op: str
    path: Pointer
    source: Pointer = ()
    value: Any = None

    def __str__(self) -> str:
        places = (written(place) for place in (self.source, self.path) if place)
        return f"Operation {self.index} ({self.op} {' to '.join(places)})"

    def check(self, value: Any) -> None:
        """Raise `BadRequest` for what no document allows, or if `value` were too deep at the path."""
        if self.op == "remove" and self.path == ("",):
            raise BadRequest(f"{self} would leave nothing.")
        if self.op == "move" and self.path != self.source == self.path[: len(self.source)]:
            raise BadRequest(f"{self} would move a value into itself.")
        if len(self.path) - 1 + depth(value) > DEEPEST:
            raise BadRequest(f"{self} would reach more than {DEEPEST} deep.")


def operations(value: Any) -> list[Operation]:
    """The operations of a JSON Patch, none of which is done yet. Raises `BadRequest` for what is none."""
    if not isinstance(value, list) or len(value) > MOST_OPERATIONS:
        raise BadRequest(f"A JSON Patch must be a list of at most {MOST_OPERATIONS} operations.")
    return [read(index, given) for index, given in enumerate(value)]


def read(index: int, given: Any) -> Operation:
    """One operation. What it has beside the members that it needs is of no meaning."""
    if not isinstance(given, dict):
        raise BadRequest(f"Operation {index} must be an object.")
    op = given.get("op")
    if op not in OPS:
        raise BadRequest(f'Operation {index} must have an "op" of {", ".join(OPS)}.')
    path = pointer(index, given, "path")
    source = pointer(index, given, "from") if op in ("move", "copy") else ()
    has_value = op in ("add", "replace", "test")
    operation = Operation(index, op, path, source, given.get("value") if has_value else None)
    if has_value and "value" not in given:
        raise BadRequest(f'{operation} must have a "value".')
    operation.check(operation.value)
    return operation


def pointer(index: int, given: dict[str, Any], member: str) -> Pointer:
    """The JSON Pointer that an operation has as this member."""
    text = given.get(member)
    if not isinstance(text, str) or text[:1] not in ("", "/") or BROKEN_ESCAPE.search(text):
        raise BadRequest(f'Operation {index} must have a "{member}" that is a JSON Pointer, as "/a/0".')
    return tuple(name.replace("~1", "/").replace("~0", "~") for name in text.split("/"))


def written(place: Pointer) -> str:
    """A pointer for a sentence, which a long one does not fill."""
    text = "/".join(name.replace("~", "~0").replace("/", "~1") for name in place)
    return f'"{text[:LONGEST_QUOTE]}..."' if len(text) > LONGEST_QUOTE else f'"{text}"'


def apply(operations: list[Operation], document: Any) -> Any:
    """The document with the operations done to it in place, or what replaced it.

    Every dictionary and list that stays is the same object as before, also where it was moved; those that
    come from the operations are copies. Raises `Conflict` if a test fails or a place is not there, and
    `BadRequest` or `ContentTooLarge` for a result without measure: then the document is half changed.
    """
    target = Target({"": document})
    for operation in operations:
        try:
            getattr(target, operation.op)(operation)
        except LookupError:
            raise Conflict(f"{operation} fails: there is no such place.") from None
    return target.root[""]


@dataclass
class Target:
    """A document that operations are done to. They raise `LookupError` where a place is not there."""

    root: dict[str, Any]
    copied: int = 0

    def test(self, operation: Operation) -> None:
        found, value = self.at(operation.path), operation.value
        if depth(found) != depth(value) or frozen(found) != frozen(value):  # which recurs: not too deep
            raise Conflict(f"{operation} fails: the value is another one.")

    def add(self, operation: Operation) -> None:
        self.put(operation.path, copy_of(operation.value))

    def remove(self, operation: Operation) -> None:
        self.take(operation.path)

    def replace(self, operation: Operation) -> None:
        self.at(operation.path)
        holder = self.at(operation.path[:-1])
        holder[key_in(holder, operation.path[-1])] = copy_of(operation.value)

    def copy(self, operation: Operation) -> None:
        value = self.at(operation.source)
        self.spend(operation, value)
        self.put(operation.path, copy_of(value))

    def move(self, operation: Operation) -> None:
        if len(operation.path) > len(operation.source):
            self.spend(operation, self.at(operation.source))
        self.put(operation.path, self.take(operation.source))

    def spend(self, operation: Operation, value: Any) -> None:
        """Let an operation have `value` at its path, if that is not too deep, nor too much in all."""
        self.copied += size(value)
        if self.copied > MOST_COPIED:
            raise ContentTooLarge(f"{operation} would copy or move too much.")
        operation.check(value)

    def at(self, place: Pointer) -> Any:
        """What is at a place."""
        value: Any = self.root
        for name in place:
            value = value[key_in(value, name)]
        return value

    def take(self, place: Pointer) -> Any:
        """Remove and return what is at a place."""
        value, holder = self.at(place), self.at(place[:-1])
        del holder[key_in(holder, place[-1])]
        return value

    def put(self, place: Pointer, value: Any) -> None:
        """Set the key of a dictionary, or insert into a list, for which ``-`` is its end."""
        holder, name = self.at(place[:-1]), place[-1]
        if not isinstance(holder, list):
            holder[key_in(holder, name)] = value
            return
        index = len(holder) if name == "-" else key_in(holder, name)
        if index > len(holder):
            raise IndexError(name)
        holder.insert(index, value)


def key_in(holder: Any, name: str) -> Any:
    """A name of a pointer as the key of a dictionary or the index of a list; else raises `LookupError`."""
    if isinstance(holder, dict):
        return name
    if isinstance(holder, list) and INDEX.fullmatch(name):
        return int(name)
    raise LookupError(name)


def copy_of(value: Any) -> Any:
    """The same JSON in new dictionaries and lists."""
    if isinstance(value, dict):
        return {key: copy_of(item) for key, item in value.items()}
    return [copy_of(item) for item in value] if isinstance(value, list) else value


def depth(value: Any) -> int:
    """How many dictionaries and lists are in one another; of what is too deep, only that it is."""
    return sum(any(isinstance(one, dict | list) for one in level) for level in levels(value))


def size(value: Any) -> int:
    """How many values and keys there are in a value; text counts once more for every 100 characters."""
    return sum(1 + len(one) // 100 if isinstance(one, str) else 1 for row in levels(value) for one in row)


def levels(value: Any) -> Iterator[list[Any]]:
    """The value, then all values and keys that it holds, and so on, until it is too deep."""
    level = [value]
    for _ in range(DEEPEST + 2):
        yield level
        lists = [one for one in level if isinstance(one, list)]
        dicts = [one for one in level if isinstance(one, dict)]
        level = list(chain(*lists, *dicts, *(one.values() for one in dicts)))
