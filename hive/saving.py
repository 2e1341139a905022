"""Documents that the application itself stores or deletes, told to receivers as those of a request are."""

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from hive import pool, signals
from hive.concerns import asking_primary
from hive.current import context
from hive.emissions import Emission, Story, emit, send
from hive.errors import NotFound, Unavailable
from hive.outcomes import found_out
from hive.races import Stored, as_stored
from hive.resource import Keys
from hive.rows import Raw, hydrate
from hive.schema import snake_case
from hive.writes import Creating, Deleting, Updating, Write

turns: WeakKeyDictionary[Any, asyncio.Lock] = WeakKeyDictionary()
"""For each handler, so that its `instance` is that of one delivery at a time."""
receiving: ContextVar[tuple[Any, ...]] = ContextVar("hive.saving.receiving", default=())
"""The handlers whose receivers this is in: what they save is told at once."""


async def save(document: Any, *, handler: Any = None) -> None:
    """Store a mongoengine document, new or changed, with the signals and the certainty of a request.

    ``pre_create_instance`` and ``post_create_instance`` are sent, or ``pre_update_instance`` and
    ``post_update_instance`` with `updated_fields`; once, and a pre receiver may refuse. Of a document that
    was loaded, those fields are stored that have been set, beside what the others are by now. `handler` is
    what receivers get as such; unless given, that of the request which is being served, or None.

    Raises what clients would be answered: `hive.errors.Invalid`, `Conflict` where a unique value is taken,
    `NotFound` where the document has been deleted, `Unavailable` (with `members["done"]`).
    """
    await run(partial(saving, document), handler)


async def delete(document: Any, *, handler: Any = None) -> None:
    """Delete a mongoengine document, with ``pre_delete_instance`` and ``post_delete_instance``.

    `handler` is as for `save`. Raises `hive.errors.NotFound` where it is gone, and `Conflict` where a delete
    rule denies it.
    """
    await run(partial(deleting, document), handler)


async def run(write: Any, handler: Any) -> None:
    if handler is None and (current := context.get()) is not None:
        handler = current.handler
    try:
        with asking_primary():
            await pool.run(told(write), partial(deliver, handler))
    except Unavailable as error:
        error.members.setdefault("done", False)  # for what may have been done says so itself
        raise


async def deliver(handler: Any, emission: Emission) -> bool:
    """Call the receivers; for them, and no longer, ``handler.instance`` is the document."""
    if handler is None:
        await send(emission, None)
    elif handler in receiving.get():
        await send_with(handler, emission)
    else:
        async with turns.setdefault(handler, asyncio.Lock()):
            token = receiving.set((*receiving.get(), handler))
            try:
                await send_with(handler, emission)
            finally:
                receiving.reset(token)
    return False


async def send_with(handler: Any, emission: Emission) -> None:
    instance = getattr(handler, "instance", None)
    handler.instance = emission.instance
    try:
        await send(emission, handler)
    finally:
        handler.instance = instance


def told(make: Any) -> Story:
    write: Write = make()
    yield from write.before()
    yield from write.store()
    yield from write.after()


def saving(document: Any) -> Write:
    if document._created:
        return Creating([snake_case(type(document).__name__)], Ready(document))
    return Saving(path_of(document), Held(document, stored(document), partial(as_stored, document)))


def deleting(document: Any) -> Write:
    raw = stored(document)
    held = Stored(hydrate(type(document), raw), raw, partial(as_stored, document))
    return Deleting(path_of(document), held, None)


def stored(document: Any) -> Raw:
    raw = as_stored(document)
    if raw is None:
        raise NotFound
    return raw


def path_of(document: Any) -> list[str]:
    name = Keys(type(document)).name_of(document.to_mongo())
    return [f"{snake_case(type(document).__name__)}/{name}"]


class Ready:
    """A new document, in the place of a part that would build it."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.model = type(document)

    def build(self) -> Any:
        return self.document


class Held(Stored):
    """A document that the application has changed: it stays that, whatever others do to what is stored."""

    def renew(self) -> None:
        pass


class Saving(Updating):
    """The update of a document that is changed already."""

    def __init__(self, arguments: list[str], stored: Held) -> None:
        super().__init__(arguments, stored, lambda document: document, lambda _: None)

    def before(self) -> Story:
        model = type(self.stored.document)
        if signals.pre_update_instance.has_receivers_for(model):
            current = hydrate(model, self.stored.raw)
            yield from emit(signals.pre_update_instance, model, current, arguments=self.arguments)

    def store(self) -> Story:
        yield from super().store()
        document = self.stored.document
        if (
            document._get_changed_fields()
        ):  # the answer was lost, and mongoengine does not know that it is done
            found_out(document._clear_changed_fields)
