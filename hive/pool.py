"""The pool of threads, where everything runs that may wait for MongoDB.

mongoengine is synchronous. A request is a story told in the pool, which comes back to the event loop only
where somebody listens.
"""

import asyncio
import contextvars
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any, NoReturn, TypeVar

import pymongo
from pymongo.common import MAX_POOL_SIZE
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WaitQueueTimeoutError

from hive.errors import Unavailable
from hive.receivers import is_cancelled

logger = logging.getLogger("hive")
T = TypeVar("T")
E = TypeVar("E")

DEADLINE = 3.5
"""Seconds that one story may spend in the pool: its waits for a thread count, its receivers do not. After it,
MongoDB is not asked any more, and the answer is 503: within 5 seconds, for pymongo may be half a one late."""
MOMENT = 1e-6
"""Seconds for those who are late: long enough to be no zero, which pymongo takes for no limit at all."""


class Interrupted(RuntimeError):
    """Raised in a story where a receiver ended the task that delivered what the story yielded."""


def interrupted(error: BaseException) -> Interrupted:
    """What is raised for what is no `Exception`: a receiver cancelled itself, or called ``pytest.fail()``."""
    interruption = Interrupted(f"A receiver ended the delivery: {error!r}")
    interruption.__cause__ = error
    return interruption


class Pool:
    """As many threads as pymongo keeps connections. After a fork the child has threads of its own."""

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.threads = ThreadPoolExecutor(MAX_POOL_SIZE, "hive")


_pool = Pool()
_loop: ContextVar[asyncio.AbstractEventLoop] = ContextVar("hive.pool.loop")
_end: ContextVar[float] = ContextVar("hive.pool.end")


async def run(story: Generator[E, None, T], deliver: Callable[[E], Coroutine[Any, Any, None]]) -> T:
    """Run `story` in the pool. What it yields is delivered on the event loop before it goes on.

    An exception of `deliver` is raised in the story, at its ``yield``, and out of here as it is. The story
    and its deliveries share one context (`contextvars`), which starts as a copy of the caller's.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(_loop.set, loop)
    step: Callable[[], E] = partial(next, story)
    refusal: Exception | None = None
    left = DEADLINE
    while True:
        start = time.monotonic()
        turn = partial(_turn, step, start + left)
        try:
            ended, outcome = await loop.run_in_executor(_pool.threads, context.run, turn)
        except PyMongoError as error:
            if error is refusal:
                raise
            raise_answer(error)
        if ended:
            return outcome  # type: ignore[no-any-return]
        left -= time.monotonic() - start
        try:
            await loop.create_task(deliver(outcome), context=context)
            step = partial(next, story)
        except Exception as error:  # noqa: BLE001 - it goes on in the story
            refusal = error
            step = partial(story.throw, error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit) or is_cancelled(asyncio.current_task()):
                raise
            step = partial(story.throw, interrupted(error))


async def call(function: Callable[[], T]) -> T:
    """What the function gives when it is called in the pool, within the time of a story."""

    def story() -> Generator[None, None, T]:
        yield from ()
        return function()

    return await run(story(), nothing)


async def nothing(_: None) -> None:
    """For stories that yield nothing."""


def settled(value: T | Awaitable[T]) -> T:
    """The value; in a thread of the pool, what the event loop gives for one that must be awaited.

    Raises `Unavailable` where that takes longer than the story still has.
    """
    if not inspect.isawaitable(value):
        return value
    waiting: Future[T] = asyncio.run_coroutine_threadsafe(awaited(value), _loop.get())
    try:
        return waiting.result(max(_end.get() - time.monotonic(), MOMENT))
    except TimeoutError:
        waiting.cancel()
        raise Unavailable("The server could not decide in time.") from None


async def awaited(value: Awaitable[T]) -> T:
    return await value


def _turn(step: Callable[[], Any], deadline: float) -> tuple[bool, Any]:
    """One stretch of a story: whether it has ended, and what it yielded or returned."""
    try:
        # Who is late is not stopped: what follows a write needs no MongoDB, and must happen.
        _end.set(deadline)
        with pymongo.timeout(max(deadline - time.monotonic(), MOMENT)):
            return False, step()
    except StopIteration as stop:
        return True, stop.value


def raise_answer(error: PyMongoError) -> NoReturn:
    """Raise the answer to an error of pymongo: 503 where MongoDB was not reached in time, else itself."""
    if error.timeout or isinstance(error, ConnectionFailure | ExecutionTimeout | WaitQueueTimeoutError):
        logger.warning("MongoDB was not reached in time: %s", error)
        raise Unavailable from error
    raise error
