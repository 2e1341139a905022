"""A request that writes several documents: an array of new ones, or those that a filter finds.

All of them or none, in a transaction; or, where the client prefers that, each on its own.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from tornado.web import HTTPError

from hive import errors, filters, indexes, payload, pool, protection, query, transactions
from hive.answers import Answer, answer
from hive.emissions import Story
from hive.errors import BadRequest, NotFound, PreconditionRequired, Problem, WithoutTransactions
from hive.places.place import Place
from hive.places.stored import Collection, Row
from hive.resource import Resource
from hive.rows import BY_KEY, Rows
from hive.writes import Creating, Deleting, Updating, Write
from hive.writing import Writer

MOST_CREATED = 10_000
MOST_CHANGED = 1_000
AT_ONCE = 500
"""New documents that are inserted by one command."""
TIMES = 10
"""How much more time than others such a request has."""
FAILED_DEPENDENCY = {"status": 424, "title": "Failed Dependency"}
"""The result of a document that could be written, if the others could (RFC 4918, 11.4)."""


@dataclass
class One:
    """One of the documents: its write, or why there is none; its name, as far as it has one."""

    write: Any = None
    name: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    @property
    def problem(self) -> HTTPError | None:
        """What the client did wrong with it."""
        is_problem = isinstance(self.error, HTTPError) and self.error.status_code < 500
        return self.error if is_problem else None  # type: ignore[return-value]

    @property
    def is_gone(self) -> bool:
        """Whether the filter does not find it any more."""
        return isinstance(self.error, NotFound)


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


class Many(Writer):
    """A request that may write several documents."""

    @property
    def is_many(self) -> bool:
        method = self.request.method
        return (method == "POST" and self.is_array) or (method in ("PATCH", "DELETE") and not self.segments)

    @property
    def seconds(self) -> float | None:
        seconds = super().seconds
        return TIMES * (pool.DEADLINE if seconds is None else seconds) if self.is_many else seconds

    def create_many(self, place: Place) -> Story:
        if not isinstance(place, Collection):
            raise BadRequest("The body must be a JSON object: only a list of documents takes an array.")
        self._check_way(place.resource)
        several = [self._new(place, body) for body in self.array(MOST_CREATED)]
        yield from self._write(place.resource, several, 201)

    def _new(self, place: Collection, body: dict[str, Any]) -> One:
        resource, one = place.resource, One()
        with refusing(one):
            part = resource.serializer.decode(body, self.decoding())
            one.values = dict(part.values)
            self.values = one.values
            protection.check_new(self, resource, part)
            one.write = Creating(place.arguments, part, telling=place.telling)
        return one

    def update_many(self) -> Story:
        place: Any = self.place()
        body = self.body(place.resource.serializer, *payload.PATCHES)

        def update(row: Row) -> Write:
            part, edit = self.editing(row, body, patch=True)
            self.values = dict(part.values)
            return Updating(row.arguments, row.stored, row.locate, edit, telling=row.telling)

        yield from self._change(place, update, "update", 200)

    def delete_many(self) -> Story:
        place: Any = self.place()

        def delete(row: Row) -> Write:
            return Deleting(row.arguments, row.stored, lambda _: None, telling=row.telling)

        yield from self._change(place, delete, "delete", 204)

    def _change(self, place: Collection, write: Callable[[Row], Write], action: str, status: int) -> Story:
        resource = place.resource
        self._check_way(resource)
        several = []
        for row in self._found(place):
            one = One(name=resource.keys.name_of(row.raw))
            with refusing(one):
                row.check(action)
                one.write = write(row)
                one.values = self.values
            if not one.is_gone:
                several.append(one)
        yield from self._write(resource, several, status)

    def _check_way(self, resource: Resource) -> None:
        """That the documents can be written in the way that is asked for."""
        self.refuse_preconditions()
        if resource.needs_match and self.request.method != "POST":
            raise PreconditionRequired("Documents are changed here one by one, with If-Match.")
        if not self.prefers_no_transaction and not transactions.has_transactions(resource.model):
            raise WithoutTransactions

    def _found(self, place: Collection) -> list[Row]:
        """The documents that the filter finds, of those that the client may read."""
        rows = self._filtered(place)
        raws = rows.page(BY_KEY, limit=MOST_CHANGED + 1)
        if len(raws) > MOST_CHANGED:
            raise BadRequest(f"The filter finds more than {MOST_CHANGED} documents: filter by more.")
        readable = self.readable([place.item(raw) for raw in raws])
        return [place.row_found(item.raw, rows.query) for item in readable]

    def _filtered(self, place: Collection) -> Rows:
        vocabulary = self._vocabulary(place)
        conditions = () if vocabulary is None else query.conditions(self.request, vocabulary)
        if not conditions:
            raise BadRequest("A filter is required: which documents are meant?")
        rows = place.rows
        indexes.check(rows, conditions, None, required=place.resource.require_index)
        return rows.where(filters.compiled(conditions, ordered=True))

    def _write(self, resource: Resource, several: list[One], status: int) -> Story:
        made = partial(self._results, several, status)
        if self.prefers_no_transaction:
            for some in pieces(several):
                yield from self._each_on_its_own(some)
            told = made()
            if self.claim is not None:
                self.claim.keep(told)
        else:
            told = yield from self._all_or_none(resource, several, made)
        self.reply(told)

    def _each_on_its_own(self, several: list[One]) -> Story:
        for one in several:
            if one.error is None:
                self.values = one.values
                with refusing(one):
                    yield from one.write.before()
        self.is_stored = True
        store(several)
        for one in several:
            if one.error is None:
                self.values = one.values
                yield from one.write.after()

    def _all_or_none(self, resource: Resource, several: list[One], made: Callable[[], Answer]) -> Story:
        check(several)
        for one in several:
            self.values = one.values
            with refusing(one):
                yield from one.write.before()
            check(several if one.error else ())

        def write() -> Answer:
            for one in several:
                one.error = None
            for some in pieces(several):
                store(some)
                check(several if any(one.error for one in some) else ())
            return made()

        told = self.at_once(resource, write)
        for one in several:
            if one.error is None:
                self.values = one.values
                yield from one.write.after()
        return told

    def _results(self, several: list[One], status: int) -> Answer:
        """One for each document: what came of it, and its ID or its problem."""
        for one in several:
            if isinstance(one.write, Creating) and one.error is None:
                one.name = self.resource.keys.name_of(one.write.raw)
        results = [result_of(one, {"status": status}) for one in several if not one.is_gone]
        applied = {"Preference_Applied": "transaction=no"} if self.prefers_no_transaction else {}
        if any(one.problem for one in several if not one.is_gone):
            return answer(207, results, **applied)
        return answer(201 if status == 201 and results else 200, results, **applied)


class refusing:  # noqa: N801 - a context manager
    """Keep what the client did wrong with one document, or what MongoDB said of it, for its result."""

    def __init__(self, one: One) -> None:
        self.one = one

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> bool:
        if isinstance(error, HTTPError) and error.status_code < 500:
            self.one.error = error
            return True
        return False


def check(several: Iterable[One]) -> None:
    """Raises `Refused` where something is wrong with one of them, or what else kept it from being written."""
    several = list(several)
    if any(one.problem for one in several if not one.is_gone):
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
                one.error = error
        if works:
            works[0][2].do([work for _, _, work in works])
        stories = [(one, story) for one, story, _ in works]


def pieces(several: list[One]) -> Iterator[list[One]]:
    rest = iter(several)
    while some := list(islice(rest, AT_ONCE)):
        yield some


def result_of(one: One, otherwise: dict[str, Any]) -> dict[str, Any]:
    named = {} if one.name is None else {"id": one.name}
    if one.error is None:
        return {**otherwise, **named}
    status = getattr(one.error, "status_code", 500)
    return {**named, **errors.described(status, one.error)}
