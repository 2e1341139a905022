"""The pool of threads, where everything runs that may wait for MongoDB.

mongoengine is synchronous. A request is a story told in the pool, which comes back to the event loop only where
somebody listens.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pymongo
from pymongo.common import MAX_POOL_SIZE
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WaitQueueTimeoutError

from hive.errors import Unavailable

logger = logging.getLogger("hive")
T = TypeVar("T")
E = TypeVar("E")

DEADLINE = 4.0
"""Seconds that one job in the pool may take, its wait for a thread included; after it, 503."""

_threads = ThreadPoolExecutor(MAX_POOL_SIZE, "hive")  # as many as pymongo keeps connections


async def run(story: Generator[E, None, T], deliver: Callable[[E], Awaitable[None]]) -> T:
    """Run `story` in the pool. What it yields is delivered on the event loop before it goes on.

    An exception of `deliver` is raised in the story, at its ``yield``, and out of here as it is.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    step: Callable[[], E] = partial(next, story)
    refusal: Exception | None = None
    while True:
        turn = partial(_turn, step, time.monotonic() + DEADLINE)
        try:
            ended, outcome = await loop.run_in_executor(_threads, context.run, turn)
        except PyMongoError as error:
            raise error if error is refusal else unavailable(error) from error
        if ended:
            return outcome  # type: ignore[no-any-return]
        try:
            await deliver(outcome)
            step = partial(next, story)
        except Exception as error:  # noqa: BLE001 - it goes on in the story
            refusal = error
            step = partial(story.throw, error)


def _turn(step: Callable[[], Any], deadline: float) -> tuple[bool, Any]:
    """One stretch of a story: whether it has ended, and what it yielded or returned."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise Unavailable("The server is too busy at the moment.")
    try:
        with pymongo.timeout(remaining):
            return False, step()
    except StopIteration as stop:
        return True, stop.value


def unavailable(error: PyMongoError) -> Exception:
    """The answer to an error of pymongo: 503 where MongoDB was not reached in time, else the error itself."""
    if error.timeout or isinstance(error, ConnectionFailure | ExecutionTimeout | WaitQueueTimeoutError):
        logger.warning("MongoDB was not reached in time: %s", error)
        return Unavailable()
    return error
