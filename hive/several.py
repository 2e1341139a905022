"""Several writes of one request: what comes of each, and what of all."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tornado.web import HTTPError

from hive import errors, transactions
from hive.errors import Invalid, NotFound, Problem, Unavailable
from hive.outcomes import committed

logger = logging.getLogger("hive")

AT_ONCE = 500
"""New documents that are inserted by one command."""
FAILED_DEPENDENCY = {"status": 424, "title": "Failed Dependency"}
"""The result of a document that was not written, because of another (RFC 4918, 11.4)."""


@dataclass
class One:
    """One of the documents: its write, or why there is none; its name, as far as it has one.

    One that was found may be gone when it is written: the filter finds it no more.
    """

    write: Any = None
    name: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None
    is_gone: bool = False

    @property
    def problem(self) -> HTTPError | None:
        """What the client did wrong with it."""
        is_problem = isinstance(self.error, HTTPError) and self.error.status_code < 500
        return self.error if is_problem and not self.is_gone else None  # type: ignore[return-value]

    def fail(self, error: Exception) -> None:
        self.error = error
        self.is_gone = isinstance(error, NotFound) and self.name is not None

    def begin(self) -> None:
        """Forget what became of it, to try again."""
        self.error, self.is_gone = None, False


class Refused(Problem):
    """None of the documents was written; `results` has the reasons."""

    def __init__(self, several: list[One]) -> None:
        problems = {index: one.problem for index, one in enumerate(several) if one.problem is not None}
        first = next(iter(problems.values()))
        self.status = first.status_code
        self.extra_headers = getattr(first, "extra_headers", {})
        told = [
            error | {"field": f"{index}.{error['field']}".removesuffix(".")}
            for index, problem in problems.items()
            for error in getattr(problem, "errors", ())
        ]
        detail = f"Nothing was changed, for {len(problems)} of {len(several)} documents cannot be."
        super().__init__(detail, told, results=[result_of(one, FAILED_DEPENDENCY) for one in several])


@contextmanager
def refusing(one: One) -> Iterator[None]:
    """Keep what the client did wrong with one document, or what the application says to it, as its result."""
    try:
        yield
    except HTTPError as error:
        if error.status_code >= 500:
            raise
        one.error = error


def check(several: Iterable[One]) -> None:
    """Raises `Refused` where something is wrong with one of them, or what else kept it from being written."""
    several = list(several)
    if any(one.problem for one in several):
        raise Refused(several)
    for one in several:
        if one.error is not None and not one.is_gone:
            raise one.error


def store(several: list[One]) -> None:
    """Store each; those that are inserted, by one command."""
    stories = [(one, one.write.store()) for one in several if one.error is None]
    while stories:
        works = []
        for one, story in stories:
            try:
                works.append((one, story, next(story)))
            except StopIteration:
                pass
            except Exception as error:  # noqa: BLE001 - it is told, or raised, when all have been tried
                one.fail(error)
                if transactions.is_open() and not isinstance(error, Invalid):
                    return  # what MongoDB refuses ends the transaction
        if works:
            works[0][2].do([work for _, _, work in works])
        stories = [(one, story) for one, story, _ in works]


def store_apart(several: list[One], model: Any) -> None:
    """Store each in a transaction of its own."""
    for one in several:
        if one.error is None:
            try:
                with committed(lambda: None):
                    transactions.atomically(model, one.write.store_alone)
            except Exception as error:  # noqa: BLE001 - it is told as the result
                one.fail(error)


def pieces(several: list[One]) -> Iterator[list[One]]:
    rest = iter(several)
    while some := list(islice(rest, AT_ONCE)):
        yield some


def result_of(one: One, otherwise: dict[str, Any]) -> dict[str, Any]:
    named = {} if one.name is None else {"id": one.name}
    if one.error is None:
        return {**otherwise, **named}
    if not isinstance(one.error, HTTPError):
        logger.error("A document could not be written", exc_info=one.error)
    if isinstance(one.error, Unavailable):
        one.error.members.setdefault("done", False)  # for what may have been done says so itself
    status = getattr(one.error, "status_code", 500)
    return {**named, **errors.described(status, one.error)}
