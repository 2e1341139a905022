"""The pool of threads, where everything runs that may wait for MongoDB.

mongoengine is synchronous. A request is a story told in the pool, which comes back to the event loop only
where somebody listens.
"""

import asyncio
import atexit
import contextvars
import inspect
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
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
MOST_UNDER_WAY = 4
"""How many batches of one kind are under way at once."""
LONG = 0.05
"""Seconds that a turn waits at most for others of its kind to end."""
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
    """As many threads as pymongo keeps connections, made as they are needed.

    After a fork the child has threads of its own. Fed by a `queue.SimpleQueue`, a thread costs less than one
    of a `concurrent.futures.ThreadPoolExecutor`.
    """

    def __init__(self) -> None:
        self.renew()
        os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.lock = Lock()
        self.threads = self.busy = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Do the job, which raises nothing, in a thread."""
        with self.lock:
            self.busy += 1
            grows = self.threads < min(self.busy, MAX_POOL_SIZE)
            self.threads += grows
        if grows:
            Thread(target=self._work, name=f"hive-{self.threads}", daemon=True).start()
        self.jobs.put(job)

    def drain(self) -> None:
        """Wait for what is being done when the program ends, as long as a story may take."""
        end = time.monotonic() + DEADLINE
        while self.busy and time.monotonic() < end:
            time.sleep(0.01)

    def _work(self) -> NoReturn:
        while True:
            job = self.jobs.get()
            job()
            del job  # or it would live until the next one
            with self.lock:
                self.busy -= 1


class Turn:
    """One stretch of a story, done in the pool and awaited on the event loop."""

    __slots__ = ("end", "function", "future", "job", "loop")

    def __init__(self, function: Callable[[], Any], end: float, job: Any = None) -> None:
        self.function = function
        self.end = end
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def take(self) -> None:
        try:
            outcome = self.function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the turn is awaited
            self.fail(error)
        else:
            self._tell(self.future.set_result, outcome)

    def fail(self, error: BaseException) -> None:
        self._tell(self.future.set_exception, error)

    def _tell(self, tell: Callable[[Any], None], outcome: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self.loop.call_soon_threadsafe(self._end, tell, outcome)

    def _end(self, tell: Callable[[Any], None], outcome: Any) -> None:
        if not self.future.done():  # a cancelled one is
            tell(outcome)


class Batch:
    """Turns that are taken together, if many come at once.

    Those that come while enough are under way wait, and then go as one: `prepare` is called, in the pool, for
    the jobs of all of them, and then each is taken, one after another.
    """

    def __init__(self, prepare: Callable[[list[Any]], None]) -> None:
        self.prepare = prepare
        self.waiting: list[Turn] = []
        self.under_way = 0
        self.lock = Lock()

    def submit(self, turn: Turn) -> None:
        with self.lock:
            self.waiting.append(turn)
            goes = self.under_way < MOST_UNDER_WAY
            self.under_way += goes
        if goes:
            _pool.submit(self._work)
        else:
            turn.loop.call_later(LONG, self._hurry, turn)

    def _hurry(self, turn: Turn) -> None:
        """Let those go who wait for slow ones, whose time would not be enough for a query of their own."""
        with self.lock:
            goes = turn in self.waiting
            self.under_way += goes
        if goes:
            _pool.submit(self._work)

    def _work(self) -> None:
        while turns := self._next():
            try:
                with pymongo.timeout(max(min(turn.end for turn in turns) - time.monotonic(), MOMENT)):
                    self.prepare([turn.job for turn in turns])
            except BaseException as error:  # noqa: BLE001 - it is raised where each of them is awaited
                late = isinstance(error, PyMongoError) and error.timeout  # of one, not of all
                for turn in turns:
                    turn.take() if late else turn.fail(error)
            else:
                for turn in turns:
                    turn.take()

    def _next(self) -> list[Turn]:
        with self.lock:
            turns, self.waiting = self.waiting, []
            self.under_way -= not turns
        return turns


_pool = Pool()
atexit.register(_pool.drain)
_loop: ContextVar[asyncio.AbstractEventLoop] = ContextVar("hive.pool.loop")
_end: ContextVar[float] = ContextVar("hive.pool.end")


async def run(
    story: Generator[E, None, T],
    deliver: Callable[[E], Coroutine[Any, Any, bool]],
    batch: Batch | None = None,
    job: Any = None,
) -> T:
    """Run `story` in the pool. What it yields is delivered on the event loop before it goes on.

    Where `deliver` gives True, the time that the story may spend begins anew. With a `batch` the story begins
    when that is prepared for its `job`.

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
        turn = Turn(partial(context.run, _turn, step, start + left), start + left, job)
        if batch is None:
            _pool.submit(turn.take)
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
                left = DEADLINE
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
