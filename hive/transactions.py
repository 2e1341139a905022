"""Transactions of MongoDB, in which all is done or nothing. Whatever calls this runs in the pool."""

import contextvars
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakSet

import pymongo
from bson.binary import UUID_SUBTYPE, Binary
from mongoengine.base.common import _document_registry as registry
from pymongo.errors import OperationFailure, PyMongoError

from hive import pool
from hive.errors import WithoutTransactions
from hive.rows import open_collection

logger = logging.getLogger("hive")
T = TypeVar("T")

TRANSIENT = "TransientTransactionError"
NOT_IN_A_TRANSACTION = 263
"""MongoDB's code for what is not done in a transaction, such as the creation of an index."""
SECONDS_TO_ASK = 5
SECONDS_TO_GIVE_UP = 1.0
MONGODB_TO_BE_ASKED = "MongoDB was not there to be asked whether it has transactions: %s"

_capable: WeakSet[Any] = WeakSet()
_open: ContextVar[bool] = ContextVar("hive.transactions.open", default=False)


def is_open() -> bool:
    """Whether this code runs in a transaction of hive's."""
    return _open.get()


def has_transactions(model: Any) -> bool:
    """Whether the server of a model has transactions: a replica set or a sharded cluster does."""
    client = model._get_db().client
    if not isinstance(client, pymongo.MongoClient):
        return False
    if client not in _capable:
        told = client.admin.command("hello")
        is_several = "setName" in told or told.get("msg") == "isdbgrid"
        if not (is_several and "logicalSessionTimeoutMinutes" in told):
            return False  # as yet: a replica set may be initiated later
        _capable.add(client)
    return True


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
    """Undo what another process has begun in a session and not ended, which would keep others waiting."""
    named = {"id": Binary(session_id, UUID_SUBTYPE)}
    model._get_db().client.admin.command("killSessions", [named])


def atomically(model: Any, function: Callable[[], T], session: Any = None) -> T:
    """What `function` gives, with all that it stores in one transaction, in a `session` or one of its own.

    It is called again, with nothing of what it did before in MongoDB, where a transaction fails by chance.
    Raises `WithoutTransactions`.
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

    def attempt(_: Any) -> T:
        forget(closed)
        return unwrapped(function)

    try:
        with session.bind(end_session=False), opened():
            return session.with_transaction(attempt)  # type: ignore[no-any-return]
    except BaseException:
        forget(closed)
        if time.monotonic() >= pool.end():  # then the driver does not send that it is over
            contextvars.Context().run(give_up, session)
        raise


def give_up(session: Any) -> None:
    """End a transaction whose time is up: it would keep others waiting."""
    with suppress(PyMongoError), pymongo.timeout(SECONDS_TO_GIVE_UP):
        session.client.admin.command("killSessions", [session.session_id])


def forget(models: set[Any]) -> None:
    """Let mongoengine create what it has created in a transaction that failed: collections and indexes."""
    for model in models:
        if vars(model).get("_collection") is not None:
            model._collection = None


@contextmanager
def opened() -> Iterator[None]:
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)


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
