"""A request that writes several documents: an array of new ones, or those that a filter finds.

All of them or none, in a transaction; or, where the client prefers that, each on its own.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tornado.web import Finish

from hive import payload, pool, protection, query, transactions
from hive.answers import Answer, answer
from hive.emissions import Story
from hive.errors import BadRequest, NotFound, PreconditionRequired, WithoutTransactions
from hive.places import pages
from hive.places.place import Place
from hive.places.stored import Collection, Row
from hive.query import Listing, Window
from hive.resource import Resource
from hive.rows import BY_KEY
from hive.several import One, check, pieces, refusing, result_of, store, store_apart
from hive.writes import Creating, Deleting, Updating, Write
from hive.writing import Writer

MOST_CREATED = 10_000
MOST_CHANGED = 1_000
TIMES = 10
"""How much more time than others such a request has."""


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
            if not isinstance(one.error, NotFound):  # which conceals it
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
        listing = self._filter(place)
        unordered = replace(listing, order=None)
        pages.check_index(place.rows, unordered, required=place.resource.require_index)
        readable = place.world.readable(place.resource)
        items = pages.found(place.rows, listing, tuple(BY_KEY), place.item, readable)
        if len(items) > MOST_CHANGED:
            raise BadRequest(f"The filter finds more than {MOST_CHANGED} documents: filter by more.")
        found = pages.matching(place.rows, listing).query
        return [place.row_found(item.raw, found) for item in items]

    def _filter(self, place: Collection) -> Listing:
        vocabulary = self._vocabulary(place)
        conditions = () if vocabulary is None else query.conditions(self.request, vocabulary)
        if not conditions:
            raise BadRequest("A filter is required: which documents are meant?")
        return Listing(conditions, order=tuple(BY_KEY), window=Window(size=MOST_CHANGED))

    def _write(self, resource: Resource, several: list[One], status: int) -> Story:
        made = partial(self._results, several, status)
        if self.prefers_no_transaction:
            for some in pieces(several):
                yield from self._each_on_its_own(resource, some)
            told = self.certain(made)
            if isinstance(told, Exception):
                raise told
        else:
            told = yield from self._all_or_none(resource, several, made)
        self.reply(told)

    def _each_on_its_own(self, resource: Resource, several: list[One]) -> Story:
        for one in several:
            if one.error is None:
                self.values = one.values
                try:
                    yield from one.write.before()
                except Finish:
                    raise  # a receiver has answered
                except Exception as error:  # noqa: BLE001 - it is told as the result
                    one.error = error
        self.is_stored = True
        if resource.transaction:
            store_apart(several, resource.model)
        else:
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
                one.begin()
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
        if any(one.error for one in several if not one.is_gone):
            return answer(207, results, **applied)
        return answer(201 if status == 201 and results else 200, results, **applied)
