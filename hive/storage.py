"""Writing: what changes MongoDB. Whatever calls this runs in the pool of threads (`hive.pool`)."""

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from random import random
from typing import Any

import pymongo
from mongoengine.errors import OperationError, SaveConditionError
from pymongo import ReadPreference
from pymongo.errors import PyMongoError

from hive import transactions
from hive.changes import Updated, applied, difference, image_of
from hive.errors import Conflict, NotFound
from hive.insertions import Insertion, is_only_inserted
from hive.outcomes import known
from hive.preconditions import state_of
from hive.refusals import answering
from hive.rows import Raw, hydrate, open_collection

Locate = Callable[[Any], Any]
Edit = Callable[[Any], None]
Link = Callable[[Any, Any], None]
Creation = Generator[Insertion, None, tuple[Any, Raw]]

PATIENCE = 2.5
"""Seconds in which a write is tried against others who change the same document; after it, 409."""
SECONDS_TO_UNDO = 0.5
"""How long the deletion of what could not be linked may take, after the time of the request itself."""
COURTESY = 1.0
"""Seconds that a write waits for others of this process that are at the same document."""

_turns = tuple(threading.RLock() for _ in range(1024))


@dataclass
class Stored:
    """A document, and what MongoDB had when it was loaded. `load` gives that anew, or None."""

    document: Any
    raw: Raw
    load: Callable[[], Raw | None]
    is_comparable: bool = True  # whether it can be asked of MongoDB if it is still the same as a whole

    def reload(self) -> None:
        """Take what MongoDB has by now. Raises `NotFound`."""
        raw = self.load()
        if raw is None:
            raise NotFound
        self.raw = raw
        self.renew()

    def compare(self, before: Raw) -> None:
        """Notice that nobody has changed it: it has a value, such as NaN, that equals nothing there."""
        if not transactions.is_open() and state_of(self.raw) == state_of(before):
            self.is_comparable = False

    def renew(self) -> None:
        """Take the document as it was loaded, whatever has been done to it."""
        self.document = hydrate(type(self.document), self.raw)


@dataclass
class Change:
    """What an update did, to the document and to the part that was meant, as MongoDB has them."""

    document: Any
    before: Raw
    after: Raw
    part: Any
    part_before: Raw
    raw: Raw  # the part, after

    @property
    def updated_fields(self) -> Updated:
        before, after = (self._image(raw) for raw in (self.before, self.after))
        return difference(type(self.document), before, after)

    @property
    def part_updated_fields(self) -> Updated:
        if self.part is self.document:
            return self.updated_fields
        return difference(type(self.part), self.part_before, self.raw)

    def _image(self, raw: Raw) -> Raw:
        """What a document has, with what a field has by default that is not stored."""
        return image_of(hydrate(type(self.document), raw), options_of(self.document))


def options_of(document: Any) -> Any:
    return document._get_collection().codec_options


def as_stored(document: Any) -> Raw | None:
    """What MongoDB has of a document by now, whoever may see it."""
    collection = document._get_collection().with_options(read_preference=ReadPreference.PRIMARY)
    return collection.find_one({"_id": document.to_mongo().get("_id")})  # type: ignore[no-any-return]


def create(part: Any) -> Creation:
    """Store a new document, and give it with what MongoDB has of it.

    `part` has its class, and builds it. Raises `Invalid`, or `Conflict` where a unique value is taken.
    """
    with answering(part.model):
        open_collection(part.model)
        document = part.build()
        if not is_only_inserted(part.model):
            with known(partial(has_identity, document)):
                document.save(force_insert=True, **cascading(part.model))
            return document, image_of(document, options_of(document))
        document.validate()
        insertion = Insertion(document)
        yield insertion
        with known(partial(is_inserted, insertion), may_repeat=insertion.is_named_here):
            insertion.check()
        insertion.done()
        return document, insertion.image


def cascading(model: Any) -> dict[str, Any]:
    """What to tell mongoengine, for it not to insert what a new document refers to."""
    return {"cascade_kwargs": {"force_insert": False}} if model._meta.get("cascade") else {}


def is_inserted(insertion: Insertion) -> bool:
    found = insertion.collection.find_one({"_id": insertion.values["_id"]})
    return found is not None and state_of(found) == state_of(insertion.image)


def has_identity(document: Any) -> bool | None:
    """Whether a new document is there, that got its primary key before it was stored; or nobody knows."""
    if document.pk is None:
        return None
    found = as_stored(document)
    return found is not None and state_of(found) == state_of(image_of(document, options_of(document)))


def alone(creation: Generator[Insertion, None, Any]) -> Any:
    """What a creation gives, if it does not wait for others."""
    try:
        while True:
            insertion = next(creation)
            insertion.do([insertion])
    except StopIteration as stop:
        return stop.value


def create_in(part: Any, stored: Stored, locate: Locate, link: Link) -> Generator[Insertion, None, Any]:
    """Store a new document, and `link` it to the part of a stored one that `locate` gives; both or none."""
    document, raw = yield from create(part)
    try:
        return document, raw, update(stored, locate, lambda owner: link(owner, document))
    except BaseException as error:
        is_done = getattr(error, "members", {}).get("done", False)  # as nobody knows, or it was
        if is_done is False and not transactions.is_open():
            contextvars.Context().run(
                undo, document
            )  # where the time of the request, maybe up, does not count
        raise


def undo(document: Any) -> None:
    """Delete a document that was just created, if MongoDB is there."""
    with suppress(PyMongoError, OperationError), pymongo.timeout(SECONDS_TO_UNDO):
        document.delete()


def update(stored: Stored, locate: Locate, edit: Edit) -> Change:
    """Do `edit` to the part of the document that `locate` gives, and store it.

    The write holds only if nothing of the document has changed since it was loaded. Otherwise it is loaded
    again and everything done anew, so that what comes out of it is what this very write made of what was
    there: each ``from``, and the state that is told.
    """
    open_collection(type(stored.document))
    with turn(stored.document) as waited:
        for _ in attempts(stored, is_old=waited):
            document, options = stored.document, options_of(stored.document)
            part = locate(document)
            part_before = stored.raw if part is document else image_of(part, options)
            edit(part)
            unchanged = Unchanged(stored)
            try:
                with answering(type(document)), known(unchanged.is_done):
                    document.save(save_condition=unchanged)
            except SaveConditionError:
                continue
            raw = unchanged.after if part is document else image_of(part, options)
            before, stored.raw = stored.raw, unchanged.after
            return Change(document, before, unchanged.after, part, part_before, raw)
    raise Conflict("Too many others are changing this document.")


def attempts(stored: Stored, *, is_old: bool) -> Iterator[None]:
    """As many as there is time for. Before each but the first, or if it `is_old`, the document is loaded."""
    end = time.monotonic() + PATIENCE
    if is_old or transactions.is_open():
        stored.reload()
    yield
    while time.monotonic() < end:
        time.sleep(random() * 0.01)  # noqa: S311 - so that rivals do not meet again
        before = stored.raw
        stored.reload()
        stored.compare(before)
        yield


@contextmanager
def turn(document: Any) -> Iterator[bool]:
    """Let the writes to one document in this process go one after another, so that they do not lose races.

    It gives whether there was another. It is a courtesy: what keeps them from overwriting each other is the
    condition of the write.
    """
    lock = _turns[hash((document._get_collection_name(), str(document.pk))) % len(_turns)]
    is_free = lock.acquire(blocking=False)
    taken = is_free or lock.acquire(timeout=COURTESY)
    try:
        yield not is_free
    finally:
        if taken:
            lock.release()


def same_as(raw: Raw) -> dict[str, Any]:
    """The filter of a document that is still what it was, in all that it has."""
    return {"$expr": {"$eq": ["$$ROOT", {"$literal": raw}]}}


class Unchanged(Mapping[str, Any]):
    """A `save_condition`: the document is still as it was loaded. `after` is what it becomes by the write.

    mongoengine unpacks it after `clean()` and all its signals, so it knows of their changes too; and again
    where a custom `save()` stores more than once.
    """

    def __init__(self, stored: Stored) -> None:
        self.document, self.before, self.after = stored.document, stored.raw, stored.raw
        self.is_comparable = stored.is_comparable

    def __getitem__(self, key: str) -> Any:
        expected, delta = self.after, self.document._delta()
        self.after = applied(expected, delta, options_of(self.document))
        if transactions.is_open():  # where nobody else changes what was loaded
            return {}
        if self.is_comparable:
            return same_as(expected)
        names = {path.split(".")[0] for path in chain(*delta)}
        return {name: {"$eq": expected.get(name)} for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(["__raw__"])

    def __len__(self) -> int:
        return 1

    def is_done(self) -> bool | None:
        """Whether the document is what the write makes of it, or what it was. After others, nobody knows."""
        found = as_stored(self.document)
        state = None if found is None else state_of(found)
        return {state_of(self.before): False, state_of(self.after): True}.get(state)  # type: ignore[arg-type]
