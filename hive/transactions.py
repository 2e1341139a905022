"""Transactions of MongoDB, in which all is done or nothing. Whatever calls this runs in the pool."""

import contextvars
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import pymongo
from bson.binary import UUID_SUBTYPE, Binary
from mongoengine.base.common import _document_registry as registry
from pymongo import WriteConcern
from pymongo.errors import OperationFailure, PyMongoError

from hive import concerns, pool
from hive.availability import is_uncertain, passes
from hive.errors import ContentTooLarge, WithoutTransactions
from hive.expiring import expiring
from hive.rows import open_collection

logger = logging.getLogger("hive")
T = TypeVar("T")

PROOFS = "hive_idempotency"
"""The collection in which servers prove that they have transactions."""
TRANSIENT = "TransientTransactionError"
NOT_IN_A_TRANSACTION = 263
"""MongoDB's code for what is not done in a transaction, such as the creation of an index."""
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
NO_SUCH_TRANSACTION = 251
"""MongoDB's code for a transaction that it does not know, for example after a restart."""
TOO_LARGE = (257, 388, 394)
"""MongoDB's codes for a transaction that its cache does not hold: they differ between versions."""
SECONDS_TO_ASK = 5
SECONDS_TO_GIVE_UP = 1.0
MONGODB_TO_BE_ASKED = "MongoDB was not there to be asked whether it has transactions: %s"

_proven: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Of each client, whether its server undoes what a transaction has done that is aborted."""


def is_open() -> bool:
    """Whether this code runs in a transaction of hive's."""
    return concerns.session.get() is not None


def has_transactions(model: Any) -> bool:
    """Whether the server of a model has transactions: a replica set or a sharded cluster does.

    What it says is proven once, for there are compatible servers that take transactions and undo nothing.
    """
    database = model._get_db()
    client = database.client
    if not isinstance(client, pymongo.MongoClient):
        return False
    if client not in _proven:
        told = client.admin.command("hello")
        is_several = "setName" in told or told.get("msg") == "isdbgrid"
        if not (is_several and "logicalSessionTimeoutMinutes" in told):
            return False  # as yet: a replica set may be initiated later
        _proven[client] = undoes_what_is_aborted(database)
    return _proven[client]


def undoes_what_is_aborted(database: Any) -> bool:
    """Whether a document is gone that was inserted in a transaction which was aborted."""
    collection = expiring(database, PROOFS).with_options(write_concern=WriteConcern(w=1))
    proof = {"_id": f"proof {token_hex(16)}", "expires": datetime.now(UTC)}
    try:
        with database.client.start_session() as session:
            session.start_transaction(**concerns.of_transaction(database.client))
            collection.insert_one(proof, session=session)
            session.abort_transaction()
    except OperationFailure as error:
        if passes(error):
            raise
        logger.warning("The server says that it has transactions, but refuses one: %s", error)
        return False
    is_undone = not collection.delete_one({"_id": proof["_id"]}).deleted_count
    if not is_undone:
        logger.warning("The server says that it has transactions, but does not undo one.")
    return is_undone


def check_transactions(model: Any) -> None:
    """That the server of a model has transactions. Raises `ValueError` where it has none.

    Raises what mongoengine does where nothing is connected yet; of a server that is not there, the log tells.
    """
    try:
        with pymongo.timeout(SECONDS_TO_ASK):
            found = has_transactions(model)
    except PyMongoError as error:
        logger.warning(MONGODB_TO_BE_ASKED, error)
        return
    if not found:
        raise ValueError(
            f"transaction=True is not possible for {model.__name__}: its server is no replica set or sharded "
            "cluster, and has no transactions."
        )


def session_of(model: Any) -> Any:
    """A session with the server of a model, for `atomically`. Raises `WithoutTransactions`."""
    if not has_transactions(model):
        raise WithoutTransactions
    return model._get_db().client.start_session()


def end_transaction(model: Any, session_id: bytes) -> None:
    """Undo what another process has begun in a session and not ended, which would keep others waiting.

    Where the server refuses that, as MongoDB Atlas' shared clusters do, it ends the transaction by itself, 60
    seconds after it began. Until then, writes to the same documents are `Unavailable`.
    """
    named = {"id": Binary(session_id, UUID_SUBTYPE)}
    try:
        model._get_db().client.admin.command("killSessions", [named])
    except OperationFailure as error:
        if passes(error):
            raise
        logger.warning("The transaction of a process that has ended is not ended: %s", error)


class UncertainCommit(Exception):
    """Whether a transaction was committed is not known. Its cause is what pymongo said."""


def atomically(model: Any, function: Callable[[], T], session: Any = None) -> T:
    """What `function` gives, with all that it stores in one transaction, in a `session` or one of its own.

    It is called again, with nothing of what it did before in MongoDB, where a transaction fails by chance.
    Raises `WithoutTransactions`, `UncertainCommit`, and `ContentTooLarge` for more than a transaction takes.
    """
    if session is None:
        with session_of(model) as own:
            return atomically(model, function, own)
    try:
        return transacted(session, function)
    except OperationFailure as error:
        if error.code != NOT_IN_A_TRANSACTION:
            raise
        open_all(model)
        return transacted(session, function)


def transacted(session: Any, function: Callable[[], T]) -> T:
    closed = {model for model in registry.values() if vars(model).get("_collection") is None}
    is_committing = False

    def attempt(_: Any) -> T:
        nonlocal is_committing
        forget(closed)
        is_committing = False
        try:
            result = unwrapped(function)
        except BaseException:
            if is_late():
                contextvars.Context().run(abort, session)
            raise
        is_committing = True
        return result

    try:
        with concerns.bound(session):
            options = concerns.of_transaction(session.client)
            return session.with_transaction(attempt, **options)  # type: ignore[no-any-return]
    except BaseException as error:
        forget(closed)
        if is_late():  # and its commit, if it came to that, was not sent
            contextvars.Context().run(kill, session)
        if is_committing and may_be_committed(error):
            raise UncertainCommit from error
        if isinstance(error, OperationFailure) and is_too_large(error):
            raise ContentTooLarge("The request changes more than one transaction takes.") from error
        raise


def may_be_committed(error: BaseException) -> bool:
    """Whether a transaction may be there whose commit ended with an error."""
    is_unknown = isinstance(error, PyMongoError) and error.has_error_label(UNKNOWN_COMMIT)
    return is_unknown or is_uncertain(error) or getattr(error, "code", None) == NO_SUCH_TRANSACTION


def is_too_large(error: OperationFailure) -> bool:
    name = (error.details or {}).get("codeName")
    return error.code in TOO_LARGE or name == "TransactionTooLargeForCache"


def is_late() -> bool:
    """Whether the time of the request is up. Then the driver sends MongoDB nothing more, no abort either."""
    return time.monotonic() >= pool.end()


def abort(session: Any) -> None:
    """Abort a transaction whose time is up: it would keep others waiting."""
    with suppress(PyMongoError), pymongo.timeout(SECONDS_TO_GIVE_UP):
        session.abort_transaction()


def kill(session: Any) -> None:
    """The same for one that is being committed. Where it is refused, MongoDB ends it, in 60 seconds."""
    with suppress(PyMongoError), pymongo.timeout(SECONDS_TO_GIVE_UP):
        session.client.admin.command("killSessions", [session.session_id])


def forget(models: set[Any]) -> None:
    """Let mongoengine create what it has created in a transaction that failed: collections and indexes."""
    for model in models:
        if vars(model).get("_collection") is not None:
            model._collection = None


def unwrapped(function: Callable[[], T]) -> T:
    """What it gives. What pymongo said of the transaction is raised as it is, whoever reworded it."""
    try:
        return function()
    except Exception as error:
        said = said_by_pymongo(error)
        if said is not None:
            raise said from error
        raise


def said_by_pymongo(error: BaseException | None) -> PyMongoError | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PyMongoError):
            forbidden = isinstance(error, OperationFailure) and error.code == NOT_IN_A_TRANSACTION
            if error.has_error_label(TRANSIENT) or forbidden:
                return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def open_all(model: Any) -> None:
    """Create what collections and indexes there may be to create, which cannot be done in a transaction."""
    for other in list(registry.values()):
        meta = other._meta
        is_stored = not meta.get("abstract") and meta.get("collection")
        if is_stored and meta.get("db_alias") == model._meta.get("db_alias"):
            open_collection(other)
