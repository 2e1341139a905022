"""Writes to one document that come together: none overwrites what it has not seen."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from random import random
from typing import Any

from hive import transactions
from hive.changes import applied
from hive.errors import NotFound
from hive.preconditions import state_of
from hive.rows import Raw, find_confirmed, hydrate, primary

PATIENCE = 2.5
"""Seconds in which a write is tried against others who change the same document; after it, 409."""
LOST = 5
"""Races that a write loses before it asks for less: that what it sets is as it was."""

_turns = tuple(threading.RLock() for _ in range(1024))


class Same(Enum):
    """What of a document must be as it was loaded, for a write to it to hold."""

    ALL = "all that is stored"
    LOADED = "what is loaded of it"
    SET = "what the write sets"


@dataclass
class Stored:
    """A document, and what MongoDB had when it was loaded. `load` gives that anew, or None.

    What was decided by looking at the document `holds_whole`: no field of it may change meanwhile.
    """

    document: Any
    raw: Raw
    load: Callable[[], Raw | None]
    same: Same = Same.ALL
    holds_whole: bool = False

    def reload(self) -> None:
        """Take what MongoDB has by now. Raises `NotFound`."""
        raw = self.load()
        if raw is None:
            raise NotFound
        self.raw = raw
        self.renew()

    def renew(self) -> None:
        """Take the document as it was loaded, whatever has been done to it."""
        self.document = hydrate(type(self.document), self.raw)

    @property
    def can_ask_less(self) -> bool:
        return self.same is Same.ALL and not self.holds_whole


def options_of(document: Any) -> Any:
    return document._get_collection().codec_options


def as_stored(document: Any) -> Raw | None:
    """What MongoDB has of a document by now, whoever may see it."""
    return primary(document._get_collection()).find_one(key_of(document))  # type: ignore[no-any-return]


def as_confirmed(document: Any) -> Raw | None:
    """The same, as no failover undoes it."""
    return find_confirmed(document._get_collection(), key_of(document))


def key_of(document: Any) -> dict[str, Any]:
    return {"_id": document.to_mongo().get("_id")}


def attempts(stored: Stored, *, is_old: bool) -> Iterator[None]:
    """As many as there is time for. Before each but the first, or if it `is_old`, the document is loaded."""
    end, lost = time.monotonic() + PATIENCE, 0
    if is_old or transactions.is_open():
        stored.reload()
    yield
    while time.monotonic() < end:
        time.sleep(random() * 0.01)  # noqa: S311 - so that rivals do not meet again
        lost += 1
        stored.reload()
        is_odd = stored.same is Same.ALL and is_unequal(stored.raw)
        if is_odd or (lost > LOST and stored.can_ask_less):
            stored.same = Same.SET
        yield


def is_unequal(value: Any) -> bool:
    """Whether there is a value in it that not every server finds equal to itself: NaN."""
    if isinstance(value, Mapping):
        return any(map(is_unequal, value.values()))
    return any(map(is_unequal, value)) if isinstance(value, list) else value != value  # noqa: PLR0124


@contextmanager
def turn(document: Any, seconds: float) -> Iterator[bool]:
    """Let the writes to one document in this process go one after another, so that they do not lose races.

    It gives whether there was another, for which it waits some seconds. It is a courtesy: what keeps them
    from overwriting each other is the condition of the write.
    """
    lock = _turns[hash((document._get_collection_name(), str(document.pk))) % len(_turns)]
    is_free = lock.acquire(blocking=False)
    taken = is_free or lock.acquire(timeout=seconds)
    try:
        yield not is_free
    finally:
        if taken:
            lock.release()


def condition(stored: Stored, raw: Raw, names: set[str]) -> dict[str, Any]:
    """The filter of a document that is still what it was; a write sets the fields of these `names`."""
    if transactions.is_open():  # where nobody else changes what was loaded
        return {}
    match stored.same:
        case Same.ALL:
            return {"$expr": {"$eq": ["$$ROOT", {"$literal": raw}]}}
        case Same.LOADED:
            return {name: {"$eq": value} for name, value in raw.items() if name != "_id"}
        case Same.SET:
            return {name: {"$eq": raw.get(name)} for name in names}


class Unchanged(Mapping[str, Any]):
    """A `save_condition`: the document is still as it was loaded. `after` is what it becomes by the write.

    mongoengine unpacks it after `clean()` and all its signals, so it knows of their changes too; and again
    where a custom `save()` stores more than once.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored, self.document = stored, stored.document
        self.before = self.after = stored.raw

    def __getitem__(self, key: str) -> Any:
        expected, delta = self.after, self.document._delta()
        self.after = applied(expected, delta, options_of(self.document))
        return condition(self.stored, expected, {path.split(".")[0] for path in chain(*delta)})

    def __iter__(self) -> Iterator[str]:
        return iter(["__raw__"])

    def __len__(self) -> int:
        return 1

    def is_done(self) -> bool | None:
        """Whether the document is what the write makes of it, or what it was. After others, nobody knows."""
        found = as_confirmed(self.document)
        state = None if found is None else state_of(found)
        return {state_of(self.before): False, state_of(self.after): True}.get(state)  # type: ignore[arg-type]
