"""Writing: what changes MongoDB. Whatever calls this runs in the pool of threads (`hive.pool`)."""

import contextvars
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import mongoengine as me
import pymongo
from mongoengine.errors import OperationError, SaveConditionError
from pymongo.errors import PyMongoError

from hive import transactions
from hive.changes import Updated, difference, image_of
from hive.errors import Conflict, ContentTooLarge
from hive.insertions import Insertion, is_only_inserted
from hive.outcomes import known
from hive.preconditions import state_of
from hive.races import Same, Stored, Unchanged, as_confirmed, as_stored, attempts, options_of, turn
from hive.refusals import answering
from hive.rows import Raw, find_confirmed, hydrate, open_collection

Locate = Callable[[Any], Any]
Edit = Callable[[Any], None]
Link = Callable[[Any, Any], None]
Creation = Generator[Insertion, None, tuple[Any, Raw]]

SECONDS_TO_UNDO = 0.5
"""How long the deletion of what could not be linked may take, after the time of the request itself."""
COURTESY = 1.0
"""Seconds that an update waits for others of this process that are at the same document."""


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
        return difference(type(self.part), self.part_before, self.raw)

    def _image(self, raw: Raw) -> Raw:
        """What a document has, with what a field has by default that is not stored."""
        return image_of(hydrate(type(self.document), raw), options_of(self.document))


def create(part: Any) -> Creation:
    """Store a new document, and give it with what MongoDB has of it.

    `part` has its class, and builds it. Raises `Invalid`, or `Conflict` where a unique value is taken.
    """
    with answering(part.model):
        open_collection(part.model)
        document = part.build()
        if not is_only_inserted(part.model):
            with known(partial(has_identity, document), in_parts=True):
                document.save(force_insert=True, **cascading(part.model))
                if document._created and as_stored(document) is None:
                    raise RuntimeError(f"{part.model.__name__}.save() has stored nothing.")
            image = image_of(document, options_of(document))
            return document, as_left(document, image, in_parts=True)
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
    found = find_confirmed(insertion.collection, {"_id": insertion.values["_id"]})
    return found is not None and state_of(found) == state_of(insertion.image)


def has_identity(document: Any) -> bool | None:
    """Whether a new document is there, that got its primary key before it was stored; or nobody knows."""
    if document.pk is None:
        return None
    found = as_confirmed(document)
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
            contextvars.Context().run(undo, document)  # where the time of the request does not count
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
    in_parts = not is_only_inserted(type(stored.document))
    with turn(stored.document, COURTESY) as waited:
        for _ in attempts(stored, is_old=waited):
            document, options = stored.document, options_of(stored.document)
            part = locate(document)
            part_before = stored.raw if part is document else image_of(part, options)
            edit(part)
            set_sorted_whole(document)
            unchanged = Unchanged(stored)
            try:
                with answering(type(document)), known(unchanged.is_done, in_parts=in_parts):
                    document.save(save_condition=unchanged)
            except SaveConditionError:
                continue
            except ContentTooLarge:
                if not stored.can_ask_less:  # of the old and the new state, both do not fit into a command
                    raise
                stored.same = Same.SET
                continue
            after = as_left(document, unchanged.after, in_parts=in_parts)
            raw = after if part is document else image_of(part, options)
            before, stored.raw = stored.raw, after
            return Change(document, before, after, part, part_before, raw)
    raise Conflict("Too many others are changing this document.")


def as_left(document: Any, raw: Raw, *, in_parts: bool) -> Raw:
    """What a write has left: in a transaction also by what the application has done besides."""
    found = as_stored(document) if in_parts and transactions.is_open() else None
    return raw if found is None else found


def set_sorted_whole(document: Any) -> None:
    """Let lists that mongoengine sorts be stored whole: the index of an item may be another one then."""
    for path in list(document._get_changed_fields()):
        holder, names = document, path.split(".")
        for length, name in enumerate(names[:-1], 1):
            field = next((one for one in holder._fields.values() if one.db_field == name), None)
            if isinstance(field, me.SortedListField):
                document._mark_as_changed(".".join(names[:length]))
            holder = holder._data.get(field.name) if field is not None else None
            if not isinstance(holder, me.EmbeddedDocument):
                break
