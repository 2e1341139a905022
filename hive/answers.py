"""Answers to writes: made with the write itself, told to its receivers afterwards, and only then sent."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hive import errors
from hive.plain import dumps
from hive.preconditions import tag_of

JSON = "application/json"


class Answer(NamedTuple):
    """A status, headers and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def answer(status: int, value: Any, state: str | None = None, **headers: str) -> Answer:
    """That with the JSON of a value, in its `state`; None has no body, and 204 instead of 200."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    if value is None:
        return Answer(204 if status == 200 else status, named)
    body = dumps(value)
    tags = {} if state is None else {"Etag": tag_of(state, body)}
    return Answer(status, {"Content-Type": JSON, **tags, **named}, body)


def refusal(error: Any) -> Answer:
    """That to a request which ended with a `tornado.web.HTTPError`."""
    status, more = error.status_code, getattr(error, "extra_headers", {})
    return Answer(status, {"Content-Type": errors.CONTENT_TYPE, **more}, errors.body(status, error))
