"""Every answer that is not success, as ``application/problem+json`` (RFC 9457).

An error is a class of three attributes. Raise one from a receiver, a ``scope`` or a ``clean()`` and the
client gets exactly that answer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import responses
from typing import Any, TypedDict

from tornado.web import HTTPError

CONTENT_TYPE = "application/problem+json"


class FieldError(TypedDict):
    """What is wrong with one field: its dotted name, and a sentence for the person who sent it."""

    field: str
    message: str


class Problem(HTTPError):
    """An error with an answer of its own, and a `tornado.web.HTTPError`.

    `detail` replaces the sentence of the class, `errors` says which fields are meant, and `members` are what
    else the answer has (RFC 9457, 3.2).
    """

    status = 500
    sentence = "The server failed to answer this request."
    extra_headers: Mapping[str, str] = {}

    def __init__(self, detail: str | None = None, errors: Iterable[FieldError] = (), **members: Any) -> None:
        self.detail = detail or self.sentence
        self.errors = list(errors)
        self.members = members
        super().__init__(self.status)  # without a message: Tornado's log has a line of the request anyway

    def move(self, trail: Sequence[str]) -> None:
        """Tell the errors as seen from the object to which `trail` leads; ``"*"`` is any index."""
        self.errors = [error | {"field": beneath(error["field"], trail)} for error in self.errors]

    def __str__(self) -> str:
        return f"{self.status}: {self.detail}"


class BadRequest(Problem):
    status = 400
    sentence = "The request cannot be understood."


class Invalid(BadRequest):
    """Fields that do not fit, each named in `errors`."""

    sentence = "Some fields are not valid."

    def under(self, name: str | int) -> list[FieldError]:
        """The same errors, seen from the object that holds this one as `name`."""
        return [error | {"field": f"{name}.{error['field']}".removesuffix(".")} for error in self.errors]


def beneath(field: str, trail: Sequence[str]) -> str:
    """A dotted name, without the `trail` that leads to it."""
    parts = field.split(".")
    leads = len(parts) >= len(trail) and all(
        step in ("*", part) for step, part in zip(trail, parts, strict=False)
    )
    return ".".join(parts[len(trail) :]) if leads else field


class Unauthorized(Problem):
    """Nobody is signed in; the challenge says how a client without cookies does (RFC 6750)."""

    status = 401
    sentence = "Sign in first."
    extra_headers: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}


class Forbidden(Problem):
    status = 403
    sentence = "This is not allowed."


class NotFound(Problem):
    status = 404
    sentence = "There is nothing at this address."


class MethodNotAllowed(Problem):
    status = 405
    sentence = "This address does not take this method."

    def __init__(self, allowed: Iterable[str]) -> None:
        super().__init__()
        self.extra_headers = {"Allow": ", ".join(allowed)}


class Conflict(Problem):
    status = 409
    sentence = "The request is in conflict with what is stored."


class ContentTooLarge(Problem):
    status = 413
    sentence = "The body is too large."


class PreconditionFailed(Problem):
    status = 412
    sentence = "The document is not in the state that If-Match or If-None-Match asks for."


class PreconditionRequired(Problem):
    """A write must say which state it is about (RFC 6585, 3)."""

    status = 428
    sentence = "Send If-Match, with the ETag of the document as you read it."


class UnprocessableContent(Problem):
    status = 422
    sentence = "The content cannot be processed."


class UnsupportedMediaType(Problem):
    status = 415
    sentence = "The content type of the body is not supported."


class TooManyRequests(Problem):
    status = 429
    sentence = "These are too many requests."

    def __init__(self, seconds: int) -> None:
        super().__init__(f"These are too many requests. Try again in {seconds} seconds.")
        self.extra_headers = {"Retry-After": str(seconds)}


class WithoutTransactions(Problem):
    """What must be all or nothing cannot be that on this MongoDB: a server that is no replica set."""

    status = 501
    sentence = (
        "This database has no transactions: send 'Prefer: transaction=no' for each document on its own."
    )


class Unavailable(Problem):
    """MongoDB cannot be reached, has no time, or is overloaded. Try again after some seconds.

    The answer to a write has the member `done`: whether it was, or null where that is not known.
    """

    status = 503
    sentence = "The database cannot be reached at the moment."
    extra_headers: Mapping[str, str] = {"Retry-After": "2"}


class ProviderUnavailable(Problem):
    """A provider of sign-ins cannot be reached in time, or gives no answer that can be used."""

    status = 503
    sentence = "The sign-in provider cannot be reached at the moment."
    extra_headers: Mapping[str, str] = {"Retry-After": "5"}


@contextmanager
def own_fault(what: str) -> Iterator[None]:
    """Let no `ValueError` of the application's own code be taken for what is wrong with a client's value."""
    try:
        yield
    except ValueError as error:
        raise RuntimeError(f"{what} failed: {error}") from error


def body(status: int, error: BaseException | None = None, **members: Any) -> bytes:
    """The JSON of a problem."""
    return json.dumps(described(status, error) | members).encode()  # which can quote broken Unicode


def described(status: int, error: BaseException | None = None) -> dict[str, Any]:
    """What is told of an error; `title` is the status's own phrase, as for every ``about:blank`` problem."""
    title = responses.get(status, "Unknown")
    problem = {"type": "about:blank", "title": title, "status": status, "detail": sentence_of(status)}
    if isinstance(error, Problem):
        problem |= {"detail": error.detail} | error.members
        if error.errors:
            problem["errors"] = error.errors
    elif isinstance(error, HTTPError) and error.reason:
        problem["detail"] = error.reason
    return problem


def sentence_of(status: int) -> str:
    """What is said of a status when nothing more is known."""
    own = reversed(Problem.__subclasses__())  # hive's go before those that an application adds
    sentences = {problem.status: problem.sentence for problem in own}
    return sentences.get(status, Problem.sentence if status >= 500 else responses.get(status, "Error"))
