"""The pool of threads, where everything runs that may wait for MongoDB.

mongoengine is synchronous. A request is a story told in the pool, which comes back to the event loop only
where somebody listens.
"""

import asyncio
import atexit
import contextvars
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any, NoReturn, TypeVar

import pymongo
from pymongo.errors import PyMongoError

from hive.availability import TIME_IS_UP, passes, sentence_of
from hive.errors import Unavailable
from hive.receivers import is_cancelled
from hive.threads import MOMENT, Batch, Turn, pool, take

logger = logging.getLogger("hive")
T = TypeVar("T")
E = TypeVar("E")

DEADLINE = 5.0
"""Seconds that a story may spend in the pool, unless it has its own: waits for a thread count, receivers do
not. After it MongoDB, which is told how long it has (``maxTimeMS``), is not asked any more: it is 503."""


class Interrupted(RuntimeError):
    """Raised in a story where a receiver ended the task that delivered what the story yielded."""


def interrupted(error: BaseException) -> Interrupted:
    """What is raised for what is no `Exception`: a receiver cancelled itself, or called ``pytest.fail()``."""
    interruption = Interrupted(f"A receiver ended the delivery: {error!r}")
    interruption.__cause__ = error
    return interruption


atexit.register(pool.drain, DEADLINE)
_loop: ContextVar[asyncio.AbstractEventLoop] = ContextVar("hive.pool.loop")
_end: ContextVar[float] = ContextVar("hive.pool.end")


async def run(
    story: Generator[E, None, T],
    deliver: Callable[[E], Coroutine[Any, Any, bool]],
    batch: Batch | None = None,
    job: Any = None,
    seconds: float | None = None,
) -> T:
    """Run `story` in the pool. What it yields is delivered on the event loop before it goes on.

    Joint work (`hive.threads.Joint`) is done in the pool. `seconds` may be spent there, or `DEADLINE`.

    Where `deliver` gives True, the time that the story may spend begins anew. With a `batch` the story begins
    when that is prepared for its `job`.

    An exception of `deliver` is raised in the story, at its ``yield``, and out of here as it is. The story
    and its deliveries share one context (`contextvars`), which starts as a copy of the caller's.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(_loop.set, loop)
    errors: list[BaseException] = []  # to be raised in the story when it goes on
    refusal: Exception | None = None

    def step() -> E:
        return story.throw(errors.pop()) if errors else next(story)

    most = DEADLINE if seconds is None else seconds
    left = most
    while True:
        start = time.monotonic()
        turn = Turn(partial(context.run, _turn, step, start + left), start + left, job)
        if batch is None:
            pool.submit(partial(take, [turn]))
        else:
            batch.submit(turn)
            batch = None
        try:
            ended, outcome = await turn.future
        except PyMongoError as error:
            if error is refusal:
                raise
            raise_answer(error)
        if ended:
            return outcome  # type: ignore[no-any-return]
        left -= time.monotonic() - start
        try:
            if await loop.create_task(deliver(outcome), context=context):
                left = most
        except Exception as error:  # noqa: BLE001 - it goes on in the story
            refusal = error
            errors.append(error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit) or is_cancelled(asyncio.current_task()):
                raise
            errors.append(interrupted(error))


async def call(function: Callable[[], T]) -> T:
    """What the function gives when it is called in the pool, within the time of a story."""

    def story() -> Generator[None, None, T]:
        yield from ()
        return function()

    return await run(story(), nothing)


async def nothing(_: None) -> bool:
    """For stories that yield nothing."""
    return False


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
        raise Unavailable(TIME_IS_UP) from None


async def awaited(value: Awaitable[T]) -> T:
    return await value


def end() -> float:
    """When the time of this story is up, by `time.monotonic`; now, for who runs in none."""
    return _end.get(time.monotonic())


def until(end: float, function: Callable[[], T]) -> T:
    """What the function gives, while MongoDB has time until then."""
    with pymongo.timeout(max(end - time.monotonic(), MOMENT)):
        return function()


def _turn(step: Callable[[], Any], deadline: float) -> tuple[bool, Any]:
    """One stretch of a story: whether it has ended, and what it yielded or returned."""
    try:
        # Who is late is not stopped: what follows a write needs no MongoDB, and must happen.
        _end.set(deadline)
        return False, until(deadline, step)
    except StopIteration as stop:
        return True, stop.value


def raise_answer(error: PyMongoError) -> NoReturn:
    """Raise the answer to an error of pymongo: 503 for one that passes, else the error itself."""
    if passes(error):
        logger.warning("%s: %s", sentence_of(error).removesuffix("."), error)
        raise Unavailable(sentence_of(error)) from error
    raise error
