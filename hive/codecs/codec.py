"""What all codecs have in common.

`encode` takes a BSON value as pymongo returns it, and gives what orjson writes. `decode` takes a JSON value
and gives the typed Python value that the mongoengine field takes. `parse` takes the text of a form or
a URL and gives the JSON value meant by it. The last two raise `ValueError` with a sentence for the client.
"""

from collections.abc import Callable
from typing import Any

import orjson

Encode = Callable[[Any], Any]


class Codec:
    """How the values of one field cross JSON. This one passes them as they are."""

    encode: Encode | None = None  # None: the BSON value is the JSON value
    partial = False  # whether the JSON may leave out some of the value, or name what is no more

    def __init__(self, field: Any = None) -> None:
        self.field = field

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        """The typed value. `decoding` finds documents that are named, `current` is what the field holds."""
        return value

    def parse(self, text: str) -> Any:
        return text

    def trace(self, shown: Any, value: Any) -> dict[int, Any]:
        """What objects in that which is `shown` of a value are read from: the `origins` of `Decoding`."""
        return {}


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"must be {what}")


def text_of(value: Any) -> str:
    expect(isinstance(value, str), "a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return str(value)


def empty_is_null(parse: Callable[[str], Any]) -> Callable[[Any, str], Any]:
    """In a form, an empty text is how a person leaves out a value that is no string."""
    return lambda _, text: parse(text) if text else None


def json_of(text: str) -> Any:
    """The JSON in a form's text, for values that have no other spelling; else the text itself."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
