"""Stories that come at once go together: they are prepared, and their joint work is done, for all of them."""

import asyncio
import contextvars
import threading

import pymongo
from pymongo.errors import AutoReconnect, NetworkTimeout

from hive import pool
from hive.errors import Unavailable
from hive.threads import MOST_UNDER_WAY, Batch, Joint
from tests.support.clock import Clock
from tests.support.threads import PATIENCE, wait_for


class Own(BaseException):
    pass


def batch_of(prepare=lambda jobs: None):
    return Batch(prepare)


async def together(batch, count, function):
    async def one(number):
        def story():
            yield from ()
            return function(number)

        return await pool.run(story(), pool.nothing, batch, number)

    return await asyncio.gather(*map(one, range(count)), return_exceptions=True)


def test_a_story_alone_is_a_batch_of_one():
    seen = []
    assert asyncio.run(together(batch_of(seen.append), 1, lambda number: number)) == [0]
    assert seen == [[0]]


def test_stories_that_come_while_enough_are_under_way_go_together():
    seen, release = [], threading.Event()

    def prepare(jobs):
        seen.append(jobs)
        if len(seen) <= MOST_UNDER_WAY:
            release.wait(PATIENCE)

    async def main():
        task = asyncio.create_task(together(batch_of(prepare), 50, lambda number: number))
        await asyncio.to_thread(wait_for, lambda: seen)  # all have come by then
        release.set()
        return await task

    assert asyncio.run(main()) == list(range(50))
    assert sorted(job for jobs in seen for job in jobs) == list(range(50))
    assert len(seen) <= 2 * MOST_UNDER_WAY


def test_stories_do_not_wait_long_for_slow_ones(monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    begun, release, prepared = threading.Event(), threading.Event(), []

    def prepare(jobs):
        if begun.is_set():
            prepared.extend(jobs)
        else:
            begun.set()
            release.wait(PATIENCE)

    async def main():
        batch = batch_of(prepare)
        slow = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.to_thread(begun.wait, PATIENCE)
        assert await together(batch, 10, lambda number: number) == list(range(10))
        assert not slow.done()
        release.set()
        return await slow

    assert asyncio.run(main()) == [0]
    assert sorted(prepared) == list(range(10))


def test_what_fails_for_one_of_a_batch_fails_for_that_one_only():
    def function(number):
        if number % 2:
            raise Own if number % 3 else KeyError
        return number

    answers = asyncio.run(together(batch_of(), 30, function))
    for number, answer in enumerate(answers):
        if number % 2:
            assert isinstance(answer, Own if number % 3 else KeyError)
        else:
            assert answer == number


def test_what_fails_for_all_of_a_batch_is_told_to_each_and_the_next_goes_on():
    def fail(jobs):
        raise AutoReconnect("x")

    async def main():
        batch = batch_of(fail)
        answers = await together(batch, 20, lambda number: number)
        assert {type(answer) for answer in answers} == {Unavailable}
        batch.prepare = lambda jobs: None
        return await together(batch, 3, lambda number: number)

    assert asyncio.run(main()) == [0, 1, 2]


def test_each_of_a_batch_has_a_context_of_its_own():
    variable = contextvars.ContextVar("variable", default=None)

    def function(number):
        before = variable.get()
        variable.set(number)
        return before

    assert asyncio.run(together(batch_of(), 50, function)) == [None] * 50


def test_who_goes_away_from_a_batch_keeps_nobody_waiting():
    begun, release = threading.Event(), threading.Event()

    def prepare(jobs):
        begun.set()
        release.wait(PATIENCE)

    async def main():
        batch = batch_of(prepare)
        gone = asyncio.create_task(together(batch, 10, lambda number: number))
        stays = asyncio.create_task(together(batch, 10, lambda number: number))
        await asyncio.to_thread(begun.wait, PATIENCE)
        gone.cancel()
        release.set()
        return await asyncio.wait_for(stays, PATIENCE)

    assert asyncio.run(main()) == list(range(10))


def test_who_came_late_to_a_batch_is_not_refused_for_one_who_waited_long(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(pool, "DEADLINE", 300)
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    monkeypatch.setattr("hive.threads.LONG", 3600)
    begun, release, prepared = threading.Event(), threading.Event(), []

    def prepare(jobs):
        prepared.append(len(jobs))
        if not begun.is_set():
            begun.set()
            release.wait(PATIENCE)
        elif pymongo._csot.remaining() < 100:
            raise NetworkTimeout("x")  # as pymongo does, where there is no time

    async def main():
        batch = batch_of(prepare)
        first = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.to_thread(begun.wait, PATIENCE)
        long_waiting = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.to_thread(wait_for, lambda: len(batch.waiting) == 1)
        clock.go_on(270)
        late = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.to_thread(wait_for, lambda: len(batch.waiting) == 2)
        release.set()
        return await asyncio.gather(first, long_waiting, late)

    assert asyncio.run(main()) == [[0]] * 3
    assert prepared == [1, 2]


# Joint work


class Noted(Joint):
    """Notes how much was done at once."""

    def __init__(self, sizes, error=None):
        self.sizes, self.error = sizes, error

    def do(self, works):
        if self.error:
            raise self.error
        self.sizes.append(len(works))


async def in_turn(batch, stories, deliver=pool.nothing):
    """What several stories of one batch, which come at once, return or raise."""
    tasks = [pool.run(story, deliver, batch, None) for story in stories]
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_work_that_stories_of_a_batch_come_to_is_done_at_once(monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    sizes, gate = [], threading.Event()

    def story(number):
        gate.wait(PATIENCE)
        yield Noted(sizes)
        if number % 2:
            raise ValueError(number)
        yield Noted(sizes)
        return number

    async def main():
        batch = batch_of()
        task = asyncio.create_task(in_turn(batch, map(story, range(9))))
        await asyncio.to_thread(wait_for, lambda: batch.under_way)  # all have come by then
        gate.set()
        return await task

    outcomes = asyncio.run(main())
    assert [str(outcome) for outcome in outcomes] == [str(number) for number in range(9)]
    assert [type(outcome) for outcome in outcomes] == [int, ValueError] * 4 + [int]
    assert sum(sizes) == 9 + 5
    assert len(sizes) <= 4  # those that came until the first began, and the rest, each twice


def test_work_of_a_story_alone_is_done_too():
    sizes = []

    def story():
        yield Noted(sizes)
        return "done"

    assert asyncio.run(pool.run(story(), pool.nothing)) == "done"
    assert sizes == [1]


def test_work_that_raises_ends_all_stories_that_came_to_it():
    def story():
        yield Noted([], ZeroDivisionError())

    outcomes = asyncio.run(in_turn(batch_of(), [story() for _ in range(6)]))
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 6


def test_what_a_delivery_raised_is_raised_once_before_joint_work():
    sizes = []

    def story():
        try:
            yield "told"
        except ValueError:
            yield Noted(sizes)
        return "recovered"

    async def refuse(_):
        raise ValueError

    assert asyncio.run(pool.run(story(), refuse)) == "recovered"
    assert sizes == [1]
