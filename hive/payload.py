"""The body of a request: from bytes to a JSON object, and from there to typed values."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl

from hive import patches
from hive.codecs.containers import Embedded, Items, Mapping
from hive.errors import BadRequest, ContentTooLarge, Invalid, UnsupportedMediaType
from hive.patches import DEEPEST, Operation
from hive.serializers import Serializer

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PATCHES = (MERGE_PATCH, JSON_PATCH)
"""The media types of patches (RFC 7396, RFC 6902)."""
MOST_FORM_FIELDS = 1000
LONGEST_INTEGER = 400
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
BLANKS = re.compile(r"[ \t\n\r]*")
BRACKET = re.compile(rb"[\[\]{}]")


def read(
    content_type: str, body: bytes, serializer: Serializer | None, accepted: tuple[str, ...]
) -> dict[str, Any] | list[Operation]:
    """The object in a body, as JSON, or the operations of a JSON Patch.

    The text of a form becomes JSON by the types of the fields. Raises `UnsupportedMediaType`, `BadRequest` or
    `Invalid`.
    """
    media_type = checked_type(content_type, accepted)
    if not body.strip():
        raise BadRequest("The body is empty.")
    if media_type == FORM:
        return from_form(body, serializer)
    value = from_json(body)
    if media_type == JSON_PATCH:
        return patches.operations(value)
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.")
    return value


def checked_type(content_type: str, accepted: tuple[str, ...]) -> str:
    """The media type, without its parameters. Raises `UnsupportedMediaType`."""
    media_type, _, parameters = content_type.lower().replace(" ", "").partition(";")
    if media_type not in accepted or parameters not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise UnsupportedMediaType(f"The body must be one of {', '.join(accepted)}, in UTF-8.")
    return media_type


# JSON (RFC 8259), strictly


def from_json(body: bytes) -> Any:
    """The value of a JSON text. orjson would be faster, but loses duplicate keys and large integers."""
    if body.count(b"{") + body.count(b"[") > DEEPEST and depth(body) > DEEPEST:
        raise too_deep()
    with reading_json():
        return DECODER.decode(body.decode("utf-8"))


@contextmanager
def reading_json() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise BadRequest("The body is not valid UTF-8.") from None
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from None


def too_deep() -> BadRequest:
    return BadRequest(f"The JSON is nested more than {DEEPEST} deep.")


def array(body: bytes, most: int) -> Iterator[dict[str, Any]]:
    """The objects in a JSON array, `most` of them at most, one after another: that keeps nobody waiting long.

    Raises `BadRequest`, or `ContentTooLarge` for more.
    """
    with reading_json():
        text = body.decode("utf-8")
    end = blank(text, 0) + 1
    for count in range(most + 1):
        end = blank(text, end)
        if text[end : end + 1] == "]" and not count:
            break
        if count == most:
            raise ContentTooLarge(f"The array has more than {most} items.")
        try:
            with reading_json():
                value, after = DECODER.raw_decode(text, end)
        except RecursionError:
            raise too_deep() from None
        if not isinstance(value, dict):
            raise BadRequest(f"Item {count} of the array must be a JSON object.")
        if depth(text[end:after].encode()) > DEEPEST:
            raise too_deep()
        yield value
        end = blank(text, after)
        if text[end : end + 1] == "]":
            break
        if text[end : end + 1] != ",":
            raise BadRequest(f"The body is not valid JSON: ',' or ']' expected at character {end}.")
        end += 1
    if blank(text, end + 1) != len(text):
        raise BadRequest("The body is not valid JSON: there is more after the array.")


def blank(text: str, start: int) -> int:
    """Where the blanks from there on end."""
    return BLANKS.match(text, start).end()  # type: ignore[union-attr]


def depth(body: bytes) -> int:
    """How deep the brackets outside of strings are nested."""
    steps = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
    return max(accumulate(steps[bracket] for bracket in BRACKET.findall(STRING.sub(b"", body))), default=0)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise ValueError(f"the key {name!r} is there twice")
        value[name] = item
    return value


def whole(text: str) -> int:
    if len(text) > LONGEST_INTEGER:  # Python would take long to read it, or refuse in its own words
        raise ValueError(f"the number {text[:20]}... is out of range")
    return int(text)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]}... is out of range")
    return number


def no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON value")


DECODER = json.JSONDecoder(
    object_pairs_hook=unique, parse_int=whole, parse_float=finite, parse_constant=no_constant
)


# Forms


def from_form(body: bytes, serializer: Serializer | None) -> dict[str, Any]:
    """The object that a form describes: ``child.name=x`` is nested, ``members[]=a&members[]=b`` is a list."""
    try:
        text = body.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FORM_FIELDS)
    except UnicodeDecodeError:
        raise BadRequest("The form is not valid UTF-8.") from None
    except ValueError:
        raise BadRequest(f"The form has more than {MOST_FORM_FIELDS} fields.") from None
    texts: dict[str, list[str]] = {}
    for key, value in pairs:
        texts.setdefault(key, []).append(value)
    result: dict[str, Any] = {}
    for key, values in texts.items():
        try:
            assign(result, key.removesuffix("[]").split("."), values, serializer, key.endswith("[]"))
        except ValueError as error:
            raise Invalid(errors=[{"field": key.removesuffix("[]"), "message": str(error)}]) from None
    return result


def assign(target: dict[str, Any], path: list[str], texts: list[str], holder: Any, is_list: bool) -> None:
    """Put the texts of one form field at its place in the object, as JSON of the type of the field there.

    `holder` is what has the fields of `target`: a serializer, the codec of a map, or None if not known.
    """
    if len(path) > DEEPEST:
        raise ValueError(f"is nested more than {DEEPEST} deep")
    name, *rest = path
    codec = codec_of(holder, name)
    if rest:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ValueError("is given both as a value and with fields of its own")
        return assign(inner, rest, texts, codec.serializer if type(codec) is Embedded else codec, is_list)
    if name in target:
        raise ValueError("is given more than once")
    if isinstance(codec, Items) and (is_list or len(texts) > 1):
        target[name] = [parsed(codec.item, text) for text in texts]
    elif is_list and codec is None:
        target[name] = texts
    elif len(texts) > 1 or is_list:
        raise ValueError("takes a single value" if is_list else "is given more than once")
    else:
        target[name] = texts[0] if codec is None else parsed(codec, texts[0])
    return None


def codec_of(holder: Any, name: str) -> Any:
    if isinstance(holder, Mapping):
        return holder.item
    return holder.members[name].codec if isinstance(holder, Serializer) and name in holder.members else None


def parsed(codec: Any, text: str) -> Any:
    try:
        value = codec.parse(text)
    except ValueError:
        return text  # no spelling of such a value: decoding says what is expected
    if isinstance(value, dict | list) and depth(text.encode()) > DEEPEST:
        raise ValueError(f"is nested more than {DEEPEST} deep")
    return value
