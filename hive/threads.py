"""The threads of the pool, and what is done in them: turns, each by itself or many together."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, NoReturn

import pymongo
from pymongo.common import MAX_POOL_SIZE
from pymongo.errors import PyMongoError

MOST_UNDER_WAY = 4
"""How many batches of one kind are under way at once."""
LONG = 0.05
"""Seconds that a turn waits at most for others of its kind to end."""
MOMENT = 1e-6
"""Seconds for those who are late: long enough to be no zero, which pymongo takes for no limit at all."""


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

    def drain(self, seconds: float) -> None:
        """Wait for what is being done, when the program ends."""
        end = time.monotonic() + seconds
        while self.busy and time.monotonic() < end:
            time.sleep(0.01)

    def _work(self) -> NoReturn:
        while True:
            job = self.jobs.get()
            job()
            del job  # or it would live until the next one
            with self.lock:
                self.busy -= 1


class Joint:
    """Work that a story yields, to be done at once with that which others of its batch have come to.

    The story goes on in its thread when it is done.
    """

    def do(self, works: list[Any]) -> None:
        """Do these, of which this is one; each keeps for its story what came of it.

        What it raises is raised where each of them is awaited.
        """
        raise NotImplementedError


class Turn:
    """One stretch of a story, done in the pool and awaited on the event loop."""

    __slots__ = ("end", "function", "future", "job", "loop")

    def __init__(self, function: Callable[[], tuple[bool, Any]], end: float, job: Any = None) -> None:
        self.function = function
        self.end = end
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    def go(self) -> Joint | None:
        """Go on to the end of the stretch, or to work that it gives."""
        try:
            outcome = self.function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the turn is awaited
            self.fail(error)
            return None
        if isinstance(outcome[1], Joint):
            return outcome[1]
        self._tell(self.future.set_result, outcome)
        return None

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
    the jobs of all of them. Then they are taken, one after another, or each `apart` in a thread of its own.
    """

    def __init__(self, prepare: Callable[[list[Any]], None], *, apart: bool = False) -> None:
        self.prepare = prepare
        self.apart = apart
        self.waiting: list[Turn] = []
        self.under_way = 0
        self.lock = Lock()

    def submit(self, turn: Turn) -> None:
        with self.lock:
            self.waiting.append(turn)
            goes = self.under_way < MOST_UNDER_WAY
            self.under_way += goes
        if goes:
            pool.submit(self._work)
        else:
            turn.loop.call_later(LONG, self._hurry, turn)

    def _hurry(self, turn: Turn) -> None:
        """Let those go who wait for slow ones, whose time would not be enough for a query of their own."""
        with self.lock:
            goes = turn in self.waiting
            self.under_way += goes
        if goes:
            pool.submit(self._work)

    def _work(self) -> None:
        while turns := self._next():
            try:
                with pymongo.timeout(max(min(turn.end for turn in turns) - time.monotonic(), MOMENT)):
                    self.prepare([turn.job for turn in turns])
            except BaseException as error:  # noqa: BLE001 - it is raised where each of them is awaited
                late = isinstance(error, PyMongoError) and error.timeout  # of one, not of all
                if late:
                    take(turns)
                else:
                    for turn in turns:
                        turn.fail(error)
            else:
                self._take(turns)

    def _take(self, turns: list[Turn]) -> None:
        if self.apart:
            for turn in turns[1:]:
                pool.submit(partial(take, [turn]))
            del turns[1:]
        take(turns)

    def _next(self) -> list[Turn]:
        with self.lock:
            turns, self.waiting = self.waiting, []
            self.under_way -= not turns
        return turns


def take(turns: list[Turn]) -> None:
    """Take turns one after another, and what they come to all at once, until they have ended."""
    while turns:
        works = [(turn, work) for turn in turns if (work := turn.go()) is not None]
        turns = [turn for turn, _ in works]
        if works:
            end = max(turn.end for turn in turns)  # so that nobody fails because of one who is late
            try:
                with pymongo.timeout(max(end - time.monotonic(), MOMENT)):
                    works[0][1].do([work for _, work in works])
            except BaseException as error:  # noqa: BLE001 - it is raised where each of them is awaited
                for turn in turns:
                    turn.fail(error)
                return


pool = Pool()
"""The threads of this process."""
