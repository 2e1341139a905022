"""What the text after an operator means: the value that MongoDB has for it.

`ValueError` says what is wrong with the text, to go after the name of the parameter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import mongoengine as me
from bson import DBRef

from hive.codecs.codec import expect, json_of, text_of
from hive.codecs.geo import check
from hive.codecs.numbers import Integer, Number, number_of
from hive.codecs.references import GenericReference, Reference, registered
from hive.codecs.scalars import bool_of
from hive.codecs.untyped import UNEXPECTED, Anything
from hive.names import Named

Find = Callable[[Any, str], Any]
"""The primary key of the document of a model that a client names; None if there is none."""

MOST_VALUES = 1000
LONGEST_PATTERN = 400
"""Characters. Escaped they are twice as many, and SecantusDB takes patterns of 1,000."""
LONGEST_INTEGER = 20

NOTHING: Final = object()
"""In place of the key of a document that there is not."""


@dataclass(frozen=True)
class Near:
    """A point, and how many metres from there; None for any distance."""

    longitude: float
    latitude: float
    metres: float | None = None


def split(text: str) -> list[str]:
    r"""The texts between commas; what follows a backslash stays as it is: ``a\,b,c`` is ``a,b`` and ``c``."""
    parts = [""]
    characters = iter(text)
    for character in characters:
        if character == ",":
            parts.append("")
        else:
            parts[-1] += next(characters, "\\") if character == "\\" else character
    return parts


def one(named: Named, text: str, find: Find) -> Any:
    """The value of a field, or of an item of it; `NOTHING` for a reference to what there is not."""
    text_of(text)
    if isinstance(named.item.codec, Reference):
        return reference(named.item, text, find)
    return stored(named.item, typed(named.item, text))


def several(named: Named, text: str, find: Find) -> list[Any]:
    """Comma separated values; documents that there are not are left out."""
    return [value for value in every(named, text, find) if value is not NOTHING]


def all_of(named: Named, text: str, find: Find) -> Any:
    """Comma separated values; `NOTHING` if one is a document that there is not."""
    values = list(every(named, text, find))
    return NOTHING if any(value is NOTHING for value in values) else values


def every(named: Named, text: str, find: Find) -> Iterator[Any]:
    parts = split(text)
    expect(len(parts) <= MOST_VALUES, f"at most {MOST_VALUES} values")
    return (one(named, part, find) for part in parts)


def sortable(named: Named, text: str, find: Find) -> Any:
    """A value that others are before or after; where no field says so, true, false and null are not."""
    value = one(named, text, find)
    expect(value is not None and not isinstance(value, bool), "a number or a text")
    return value


def typed(named: Named, text: str) -> Any:
    """What the field has in Python, read as from a form."""
    codec = named.codec
    if isinstance(codec, Anything):
        return codec.decode(scalar(text), LITERAL)
    if isinstance(codec, Number) and codec.field.value_decorator is int:
        codec = Integer()
    try:
        value = codec.parse(text)
    except ValueError:
        value = text  # no spelling of such a value: decoding says what is expected
    check_given(value is not None, named)
    return codec.decode(value, LITERAL)


class Literal:
    """How `decode` takes a value that stands for itself."""

    patch = False


LITERAL = Literal()


def check_given(is_given: bool, named: Named) -> None:
    if not is_given:
        raise ValueError(f"must not be empty: for what is not there, ask {named.name}__exists=false")


def stored(named: Named, value: Any) -> Any:
    """What mongoengine stores of it."""
    try:
        return value if named.field is None else named.field._to_mongo_safe_call(value)
    except UNEXPECTED:
        raise ValueError("is not such a value") from None


def scalar(text: str) -> Any:
    """The JSON number, string, true, false or null that a text is; else the text itself."""
    value = json_of(text) if text == text.strip() else text
    if isinstance(value, float) and text.removeprefix("-").isdecimal():  # orjson's way with large integers
        raise ValueError("must be an integer of at most 64 bits")
    return text if isinstance(value, dict | list) else value


def reference(named: Named, text: str, find: Find) -> Any:
    """The key of a document as the field stores it."""
    field = named.field
    check_given(bool(text), named)
    is_generic = isinstance(named.codec, GenericReference)
    model, name = named_in(field, text) if is_generic else (field.document_type, text)
    try:
        key = None if model is None or model._meta.get("abstract") else find(model, name)
    except ValueError:
        if not is_generic or field.choices:
            raise
        key = None  # for it is not told which classes there are
    if key is None:
        return NOTHING
    is_dbref = is_generic or getattr(field, "dbref", False)
    return DBRef(model._get_collection_name(), key) if is_dbref else key


def named_in(field: Any, text: str) -> tuple[Any, str]:
    """The class, and the name of the document, in the JSON of a generic reference.

    Where the field takes any class, it is not told which there are.
    """
    body = json_of(text)
    what = 'like {"_cls": "User", "id": "..."}'
    expect(isinstance(body, dict) and body.keys() == {"_cls", "id"} and isinstance(body["_cls"], str), what)
    expect(isinstance(body["id"], str | int) and not isinstance(body["id"], bool), what)
    try:
        return registered(body["_cls"], me.Document, field.choices), str(body["id"])
    except ValueError:
        if field.choices:
            raise
        return None, ""


def flag(named: Named, text: str, find: Find) -> bool:
    value = bool_of(text)
    expect(isinstance(value, bool), "true or false")
    return bool(value)


def length(named: Named, text: str, find: Find) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < LONGEST_INTEGER
    expect(is_number and int(text) < 2**31, "a whole number from 0 to 2147483647")
    return int(text)


def pattern(named: Named, text: str, find: Find) -> str:
    """A text to look for; BSON has no regular expressions with NUL."""
    expect("\0" not in text_of(text), "text without NUL")
    expect(len(text) <= LONGEST_PATTERN, f"at most {LONGEST_PATTERN} characters")
    return text


def point(named: Named, text: str, find: Find) -> Near:
    what = "LONGITUDE,LATITUDE"
    longitude, latitude = numbers(text, 2, what)
    check([longitude, latitude], 1, what)
    return Near(longitude, latitude)


def metres(named: Named, text: str, find: Find) -> float:
    (distance,) = numbers(text, 1, "a number of metres")
    expect(0 <= distance < float("inf"), "a finite number of metres, 0 or more")
    return distance


def box(named: Named, text: str, find: Find) -> list[list[float]]:
    """Its south-western and its north-eastern corner."""
    what = "WEST,SOUTH,EAST,NORTH"
    west, south, east, north = numbers(text, 4, what)
    check([[west, south], [east, north]], 2, what)
    expect(west <= east and south <= north, f"{what}, with west before east and south before north")
    return [[west, south], [east, north]]


def numbers(text: str, count: int, what: str) -> list[float]:
    try:
        found = [float(number_of(part)) for part in text.split(",", count)]
    except (ValueError, OverflowError):
        found = []
    expect(len(found) == count, what)
    return found
