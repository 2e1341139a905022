"""Whether a write was done of which MongoDB did not say so in time."""

import contextvars
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pymongo.errors import (
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from hive import pool, transactions
from hive.errors import Unavailable
from hive.refusals import cause_of

SECONDS_TO_KNOW = 1.0
"""How long may be asked, after the time of the request itself."""
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
NO_SUCH_TRANSACTION = 251
"""MongoDB's code for a transaction that it does not know any more, as when it was started anew."""
SENTENCES = {
    True: "It is done, but the answer could not be made in time.",
    False: "The database cannot be reached at the moment. Nothing was changed.",
    None: "The database did not answer, and whether it made the change is not known.",
}


def unavailable(done: bool | None) -> Unavailable:
    return Unavailable(SENTENCES[done], done=done)


def though_done(error: Exception) -> Exception:
    """What to answer where a write was done, and what is still to be done for its answer failed."""
    return unavailable(True) if isinstance(error, PyMongoError | Unavailable) else error


@contextmanager
def known(
    is_done: Callable[[], bool | None], *, may_repeat: bool = False, in_parts: bool = False
) -> Iterator[None]:
    """Find out whether a write was done, where MongoDB could not tell any more.

    One that was done is no error. Raises `Unavailable` for any other; `is_done` gives None where nobody can
    know. In a transaction its end decides. Where a write `may_repeat` itself, for the driver sends again what
    was not answered, a value that is taken may be its own. One that is made `in_parts`, by code of the
    application, may be half done when MongoDB is gone.
    """
    try:
        yield
    except Exception as error:
        cause = cause_of(error)
        is_taken = may_repeat and isinstance(cause, DuplicateKeyError)
        is_open_end = is_uncertain(cause) or (in_parts and is_outage(cause))
        if transactions.is_open() or not (is_taken or is_open_end):
            raise
        done = None if isinstance(cause, WriteConcernError) else found_out(is_done)
        if done:
            return
        if is_taken:
            raise
        raise unavailable(done) from error


def is_outage(error: BaseException | None) -> bool:
    return isinstance(error, PyMongoError) and (error.timeout or isinstance(error, ConnectionFailure))


@contextmanager
def committed(is_done: Callable[[], bool | None]) -> Iterator[None]:
    """Find out whether a transaction was committed, where MongoDB could not tell any more."""
    try:
        yield
    except PyMongoError as error:
        lost = isinstance(error, OperationFailure) and error.code == NO_SUCH_TRANSACTION
        if not (lost or error.has_error_label(UNKNOWN_COMMIT)):
            raise
        done = found_out(is_done)
        if not done:
            raise unavailable(done) from error


def is_uncertain(error: BaseException | None) -> bool:
    """Whether what was asked for may have been done all the same, or may yet be undone."""
    if isinstance(error, WriteConcernError | ExecutionTimeout):
        return True
    return isinstance(error, ConnectionFailure) and not isinstance(error, ServerSelectionTimeoutError)


def found_out(is_done: Callable[[], bool | None]) -> bool | None:
    """What `is_done` gives; None where MongoDB does not answer that either."""
    try:
        # Where the time of the request, maybe up, does not count.
        return contextvars.Context().run(pool.until, pool.end() + SECONDS_TO_KNOW, is_done)
    except Exception:  # noqa: BLE001 - MongoDB, or mongoengine for it, says that it is not there
        return None
