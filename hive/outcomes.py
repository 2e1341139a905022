"""Whether a write was done of which MongoDB did not say so in time."""

import contextvars
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pymongo.errors import DuplicateKeyError, PyMongoError, WriteConcernError

from hive import pool, transactions
from hive.availability import is_uncertain, passes, sentence_of
from hive.errors import Unavailable
from hive.refusals import cause_of
from hive.transactions import UncertainCommit

SECONDS_TO_KNOW = 1.0
"""How long may be asked, after the time of the request or, where that is up already, from then on."""
SENTENCES = {
    True: "The change was made.",
    False: "Nothing was changed.",
    None: "Whether the change was made is not known.",
}


def unavailable(done: bool | None, cause: BaseException | None) -> Unavailable:
    return Unavailable(f"{sentence_of(cause)} {SENTENCES[done]}", done=done)


def though_done(error: Exception) -> Exception:
    """What to answer where a write was done, and what is still to be done for its answer failed."""
    return unavailable(True, error) if isinstance(error, PyMongoError | Unavailable) else error


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
        is_open_end = is_uncertain(cause) or (in_parts and passes(cause))
        if transactions.is_open() or not (is_taken or is_open_end):
            raise
        done = None if isinstance(cause, WriteConcernError) else found_out(is_done)
        if done:
            return
        if is_taken:
            raise
        raise unavailable(done, cause) from error


@contextmanager
def committed(is_done: Callable[[], bool | None]) -> Iterator[None]:
    """Find out whether a transaction was committed, where MongoDB could not tell any more."""
    try:
        yield
    except UncertainCommit as error:
        done = found_out(is_done)
        if not done:
            raise unavailable(done, error.__cause__) from error


def found_out(is_done: Callable[[], bool | None]) -> bool | None:
    """What `is_done` gives; None where MongoDB does not answer that either."""
    end = max(pool.end(), time.monotonic()) + SECONDS_TO_KNOW
    try:
        # Where the time of the request, maybe up, does not count.
        return contextvars.Context().run(pool.until, end, is_done)
    except Exception:  # noqa: BLE001 - MongoDB, or mongoengine for it, says that it is not there
        return None
