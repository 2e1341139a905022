"""New documents on their way into MongoDB: many by one command, where nothing else is to be done."""

from typing import Any

import bson
import mongoengine as me
from bson import ObjectId
from mongoengine import signals
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    PyMongoError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from hive.changes import codec_of
from hive.threads import Joint

LARGE = 2**20
"""Bytes from which on a document goes by itself, for one that is too large would keep others from it."""
DUPLICATE_KEY = 11000
WRITE_CONCERN_TIMEOUT = 64
HEARD = (signals.pre_save, signals.pre_save_post_validation, signals.post_save)


class Insertion(Joint):
    """A document that is valid, and is to be inserted. Then `image` is what MongoDB has of it."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.collection = document._get_collection()
        self.values = document.to_mongo()
        self.is_named_here = "_id" not in self.values
        self.values.setdefault("_id", ObjectId())
        codec = codec_of(self.collection.codec_options)
        data = bson.encode(self.values, codec_options=codec)
        self.is_large = len(data) >= LARGE
        self.image = bson.decode(data, codec_options=codec)
        self.error: Exception | None = None

    def do(self, works: list["Insertion"]) -> None:
        """Insert documents of one collection, each whether or not others can be."""
        several = [work for work in works if not work.is_large]
        for some in (several, *([work] for work in works if work.is_large)):
            try:
                insert(some)
            except (PyMongoError, DocumentTooLarge) as error:
                for work in some:
                    work.error = error

    def check(self) -> None:
        """Raises what pymongo said of it, if it was not inserted."""
        if self.error is not None:
            raise self.error

    def done(self) -> None:
        """Let the document know that it is stored."""
        name = self.document._meta["id_field"]
        self.document[name] = self.document._fields[name].to_python(self.values["_id"])
        self.document._clear_changed_fields()
        self.document._created = False


def insert(works: list[Insertion]) -> None:
    """Insert documents by one command. The errors of single ones among several are kept there."""
    if len(works) < 2:
        for work in works:
            work.collection.insert_one(work.values)
        return
    try:
        works[0].collection.insert_many([work.values for work in works], ordered=False)
    except BulkWriteError as error:
        refused = {told["index"]: told for told in error.details["writeErrors"]}
        concern = error.details.get("writeConcernErrors", ())  # which is about the whole command
        for index, work in enumerate(works):
            told = refused.get(index) or next(iter(concern), None)
            work.error = None if told is None else error_of(told, refused=index in refused)


def error_of(told: Any, *, refused: bool) -> PyMongoError:
    """The error that the insertion of a single document would have raised."""
    code = told["code"]
    if refused:
        kind: Any = DuplicateKeyError if code == DUPLICATE_KEY else WriteError
    else:
        kind = WTimeoutError if code == WRITE_CONCERN_TIMEOUT else WriteConcernError
    return kind(told["errmsg"], code, told)  # type: ignore[no-any-return]


def is_only_inserted(model: Any) -> bool:
    """Whether nothing has a say in how a valid document of the model is stored, or does more than that."""
    meta = model._meta
    more = meta.get("cascade") or meta.get("auto_create_index_on_save")
    own = any(getattr(model, name) is not getattr(me.Document, name) for name in ("save", "_save_create"))
    return not (own or more or any(is_heard(signal, model) for signal in HEARD))


def is_heard(signal: Any, model: Any) -> bool:
    """Whether a signal of mongoengine has receivers; blinker itself says so too of those that it once had."""
    return signal.has_receivers_for(model) and any(signal.receivers_for(model))
