"""Write concern and read preference of commands that the connection string must not decide.

- In a transaction of hive, commands have no write concern and ask the primary; else MongoDB refuses them. The
  commit waits for a majority of the members, so that no failover undoes it.
- In a request that may write, and in `hive.save` and `hive.delete`, what has the read preference of the
  connection string asks the primary: a secondary may not have yet what decides the write.

pymongo (4.20) takes both from the session that a command is handed, and overlooks one of ``session.bind()``.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from pymongo import ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.common import BaseObject
from pymongo.read_concern import ReadConcern

logger = logging.getLogger("hive")

MAJORITY = "majority"

session: ContextVar[Any] = ContextVar("hive.concerns.session", default=None)
"""The session whose transaction this code runs in."""
_asks_primary: ContextVar[bool] = ContextVar("hive.concerns.asks_primary", default=False)
_told: WeakSet[Any] = WeakSet()

_write_concern_for = BaseObject._write_concern_for
_read_preference_for = BaseObject._read_preference_for


def ask_primary() -> None:
    """From here on, in this context, let what decides a write be read from the primary."""
    _asks_primary.set(True)


@contextmanager
def asking_primary() -> Iterator[None]:
    """The same, while the block runs."""
    token = _asks_primary.set(True)
    try:
        yield
    finally:
        _asks_primary.reset(token)


@contextmanager
def bound(own: Any) -> Iterator[None]:
    """Let what runs in the block, and mongoengine, use the transactions of a session."""
    with own.bind(end_session=False):
        token = session.set(own)
        try:
            yield
        finally:
            session.reset(token)


def of_transaction(client: Any) -> dict[str, Any]:
    """The options of a transaction: those of ``ClientSession.with_transaction``.

    ``j`` and ``wtimeout`` are those of the connection string. The log says once if its ``w`` is not obeyed.
    """
    options = dict(client.write_concern.document)
    if options.get("w", MAJORITY) != MAJORITY and client not in _told:
        _told.add(client)
        logger.warning(
            "The connection string says w=%s. Transactions are committed with w=majority all the same.",
            options["w"],
        )
    return {
        "read_concern": ReadConcern("local"),
        "write_concern": WriteConcern(**options | {"w": MAJORITY}),
        "read_preference": ReadPreference.PRIMARY,
    }


def check_acknowledged(collection: Any) -> None:
    """Raise `RuntimeError` where the connection string says ``w=0``: then no write is known to be done."""
    if not collection.write_concern.acknowledged:
        raise RuntimeError(
            "The connection string says w=0, so MongoDB does not say whether a write was done: "
            "set w=majority, or leave it out."
        )


def write_concern_for(self: Any, given: Any) -> Any:
    return _write_concern_for(self, given or session.get())


def read_preference_for(self: Any, given: Any) -> Any:
    preference = _read_preference_for(self, given or session.get())
    is_default = isinstance(self, Collection) and preference == self.database.client.read_preference
    return ReadPreference.PRIMARY if is_default and _asks_primary.get() else preference


BaseObject._write_concern_for = write_concern_for  # type: ignore[assignment,method-assign]
BaseObject._read_preference_for = read_preference_for  # type: ignore[assignment,method-assign]
