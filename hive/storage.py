"""Writing: what changes MongoDB. Whatever calls this runs in the pool of threads (`hive.pool`)."""

import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import random
from typing import Any

import mongoengine as me
import pymongo
from mongoengine.errors import OperationError, SaveConditionError
from mongoengine.signals import post_delete, pre_delete
from pymongo.errors import PyMongoError

from hive.changes import Updated, difference, image_of
from hive.errors import Conflict, NotFound
from hive.insertions import Insertion, is_heard, is_only_inserted
from hive.refusals import answering
from hive.rows import hydrate, indexing
from hive.values import Part

Locate = Callable[[Any], Any]
Link = Callable[[Any, Any], None]
Creation = Generator[Insertion, None, tuple[Any, Mapping[str, Any]]]

PATIENCE = 2.5
"""Seconds in which an update is tried against others who change the same fields; after it, 409."""
SECONDS_TO_UNDO = 0.5
"""How long the deletion of what could not be linked may take, after the time of the request itself."""

COURTESY = 1.0
"""Seconds that an update waits for others of this process that are at the same document."""

_opened: dict[Any, Any] = {}
_turns = tuple(threading.RLock() for _ in range(1024))


@dataclass
class Stored:
    """A document, and what MongoDB had when it was loaded. `load` gives that anew, or None.

    What was decided by looking at the document holds for it `whole`: no field of it may change meanwhile.
    """

    document: Any
    raw: Mapping[str, Any]
    load: Callable[[], Mapping[str, Any] | None]
    whole: bool = False

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


@dataclass
class Change:
    """What an update did, to the document and to the part that was meant, as MongoDB has them."""

    document: Any
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    part: Any
    part_before: Mapping[str, Any]
    raw: Mapping[str, Any]  # the part, after

    @property
    def updated_fields(self) -> Updated:
        return difference(type(self.document), self.before, self.after)

    @property
    def part_updated_fields(self) -> Updated:
        return difference(type(self.part), self.part_before, self.raw)


def options_of(document: Any) -> Any:
    return document._get_collection().codec_options


def open_collection(model: Any) -> None:
    """Let no write go before the indexes of its model, which make unique fields unique.

    mongoengine creates them when it first uses a collection. It does not wait for another thread that is
    about it, nor does it try again where MongoDB was not there.
    """
    with indexing():
        model._get_collection()
    collection = model._get_collection()
    if _opened.get(model) is not collection:
        if model._meta.get("auto_create_index", True) and collection.database.client.is_primary:
            with indexing():
                model.ensure_indexes()
        _opened[model] = collection


def create(part: Part) -> Creation:
    """Store a new document, and give it with what MongoDB has of it.

    Raises `Invalid`, or `Conflict` where a unique value is taken.
    """
    with answering(part.model):
        open_collection(part.model)
        document = part.build()
        if not is_only_inserted(part.model):
            document.save(force_insert=True)
            return document, image_of(document, options_of(document))
        document.validate()
        insertion = Insertion(document)
        yield insertion
        insertion.done()
        return document, insertion.image


def create_in(part: Part, stored: Stored, locate: Locate, link: Link) -> Generator[Insertion, None, Any]:
    """Store a new document, and `link` it to the part of a stored one that `locate` gives; both or none."""
    document, raw = yield from create(part)
    try:
        return document, raw, update(stored, locate, lambda owner: link(owner, document))
    except BaseException:
        contextvars.Context().run(undo, document)  # where the time of the request, maybe up, does not count
        raise


def undo(document: Any) -> None:
    """Delete a document that was just created, if MongoDB is there."""
    with suppress(PyMongoError, OperationError), pymongo.timeout(SECONDS_TO_UNDO):
        document.delete()


def update(stored: Stored, locate: Locate, edit: Callable[[Any], None], *, told: bool = True) -> Change:
    """Do `edit` to the part of the document that `locate` gives, and store it; what is changed can be `told`.

    The write holds only if the fields that it sets (or all) have not changed since they were loaded.
    Otherwise the document is loaded again and everything done anew, so that each ``from`` is what this very
    write replaced.
    """
    open_collection(type(stored.document))
    with turn(stored.document):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            document, options = stored.document, options_of(stored.document)
            part = locate(document)
            before = image_of(document, options) if told else {}
            part_before = before if part is document or not told else image_of(part, options)
            edit(part)
            try:
                with answering(type(document)):
                    document.save(save_condition=Unchanged(stored))
            except SaveConditionError:
                time.sleep(random() * 0.01)  # noqa: S311 - so that rivals do not meet again
                stored.reload()
            else:
                after = image_of(document, options)
                raw = after if part is document else image_of(part, options)
                return Change(document, before, after, part, part_before, raw)
    raise Conflict("Too many others are changing this document.")


@contextmanager
def turn(document: Any) -> Iterator[None]:
    """Let the updates of one document in this process go one after another, so that they do not lose races.

    It is a courtesy: what keeps them from overwriting each other is the condition of the write.
    """
    lock = _turns[hash((document._get_collection_name(), str(document.pk))) % len(_turns)]
    taken = lock.acquire(timeout=COURTESY)
    try:
        yield
    finally:
        if taken:
            lock.release()


class Unchanged(Mapping[str, Any]):
    """A `save_condition`: the fields that are about to be set still hold what was loaded.

    mongoengine unpacks it after `clean()` and all its signals, so it knows of their changes too.
    """

    def __init__(self, stored: Stored) -> None:
        self.stored = stored

    def __getitem__(self, key: str) -> Any:
        document, raw = self.stored.document, self.stored.raw
        names = {path.split(".")[0] for path in document._get_changed_fields()}
        if self.stored.whole:
            names |= {*raw, *(field.db_field for field in document._fields.values())} - {"_id"}
        return {name: {"$eq": raw.get(name)} for name in names}

    def __iter__(self) -> Iterator[str]:
        return iter(["__raw__"])

    def __len__(self) -> int:
        return 1


def delete(document: Any) -> None:
    """Delete a document under mongoengine's delete rules. Raises `Conflict` where one denies it."""
    with answering(type(document)):
        try:
            document.delete()
        except OperationError as error:
            if error.__context__ is None:  # not an error of the server, but mongoengine's word on a DENY rule
                raise Conflict("Other documents refer to this one.") from error
            raise


def is_deleted_by_key(model: Any) -> bool:
    """Whether deleting a document of the model is nothing but that: no code and no rule has a say in it."""
    own = model.delete is not me.Document.delete or model._meta.get("delete_rules")
    heard = any(is_heard(signal, model) for signal in (pre_delete, post_delete))
    return not (own or heard or model._meta.get("allow_inheritance") or model._meta.get("shard_key"))


def delete_by_key(model: Any, key: Any) -> None:
    """Delete a document that nobody has to see, in one round trip. Raises `NotFound`."""
    with answering(model):
        if not model._get_collection().delete_one({"_id": key}).deleted_count:
            raise NotFound
