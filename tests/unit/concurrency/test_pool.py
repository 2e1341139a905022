"""Threads take jobs one after another, tell who waits for them, and keep nothing of what they did."""

import asyncio
import contextvars
import gc
import threading
import weakref
from contextlib import suppress
from functools import partial

import pytest

from hive import pool
from hive.threads import Pool
from tests.support.idle import wait_until_idle
from tests.support.threads import PATIENCE, at_once, wait_for

MOST = 100
"""As many threads as pymongo has connections."""


class Own(BaseException):
    pass


async def gathered(functions):
    return await asyncio.gather(*map(pool.call, functions), return_exceptions=True)


def test_as_many_jobs_run_at_once_as_pymongo_has_connections():
    wait_until_idle()
    gate = threading.Barrier(MOST)
    assert asyncio.run(gathered([lambda: gate.wait(PATIENCE) >= 0] * MOST)) == [True] * MOST


def test_a_job_for_which_there_is_no_thread_waits_for_one():
    wait_until_idle()
    gate, names = threading.Barrier(MOST + 1), set()

    def waits():
        names.add(threading.current_thread().name)
        gate.wait(PATIENCE)

    async def main():
        waiting = [asyncio.create_task(pool.call(waits)) for _ in range(MOST)]
        await asyncio.to_thread(wait_for, lambda: gate.n_waiting == MOST)
        last = asyncio.create_task(pool.call(lambda: threading.current_thread().name))
        await asyncio.to_thread(gate.wait, PATIENCE)
        await asyncio.gather(*waiting)
        return await last

    last = asyncio.run(main())
    assert len(names) == MOST
    assert last in names


def test_threads_are_used_again_and_no_more_are_made_than_are_needed():
    own, names = Pool(), set()
    for _ in range(20):
        own.submit(lambda: names.add(threading.current_thread().name))
        wait_for(lambda: not own.busy)
    assert names == {"hive-1"}
    for _ in range(5):
        gate = threading.Barrier(3)
        for _ in range(3):
            own.submit(partial(gate.wait, PATIENCE))
        wait_for(lambda: not own.busy)
    assert own.threads == 3


def test_each_of_many_jobs_gets_its_own_answer():
    values = asyncio.run(gathered([partial(lambda number: number, number) for number in range(500)]))
    assert values == list(range(500))


@pytest.mark.parametrize("error", [ValueError("x"), Own("x"), GeneratorExit("x")], ids=repr)
def test_what_a_job_raises_is_raised_where_it_is_awaited_and_its_thread_works_on(error):
    def fail():
        raise error

    async def main():
        for _ in range(MOST + 10):
            with pytest.raises(type(error)) as raised:
                await pool.call(fail)
            assert raised.value is error
        return await pool.call(lambda: "works on")

    assert asyncio.run(main()) == "works on"
    wait_until_idle()


def test_a_job_that_raises_the_end_of_an_iteration_leaves_nobody_waiting():
    async def main():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(pool.call(lambda: next(iter(()))), PATIENCE)

    asyncio.run(main())


async def all_told():
    """Wait until the threads have done all, and the event loop has heard of it."""
    await asyncio.to_thread(wait_until_idle)
    await asyncio.sleep(0)


def test_a_cancelled_wait_disturbs_neither_its_thread_nor_the_others(caplog):
    wait_until_idle()
    gate, ended = threading.Barrier(11), []

    def waits():
        gate.wait(PATIENCE)
        gate.wait(PATIENCE)
        ended.append(True)

    async def main():
        tasks = [asyncio.create_task(pool.call(waits)) for _ in range(10)]
        await asyncio.to_thread(gate.wait, PATIENCE)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 10
        other = await pool.call(lambda: "other")
        await asyncio.to_thread(gate.wait, PATIENCE)
        await all_told()
        return other

    assert asyncio.run(main()) == "other"
    assert ended == [True] * 10
    assert caplog.records == []


async def cancelled(job, begun):
    """Wait for a job, and give up when it has begun."""
    task = asyncio.create_task(pool.call(job))
    await asyncio.to_thread(begun.wait, PATIENCE)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(caplog):
    begun, release = threading.Event(), threading.Event()

    def fail():
        begun.set()
        release.wait(PATIENCE)
        raise ValueError

    async def main():
        await cancelled(fail, begun)
        release.set()
        await all_told()

    asyncio.run(main())
    gc.collect()
    assert caplog.records == []


def test_a_loop_that_is_closed_while_a_job_runs_disturbs_nobody(caplog):
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    def late():
        begun.set()
        release.wait(PATIENCE)
        ended.set()

    asyncio.run(cancelled(late, begun))
    release.set()
    assert ended.wait(PATIENCE)
    wait_until_idle()
    assert asyncio.run(pool.call(lambda: "another loop")) == "another loop"
    assert caplog.records == []


def test_several_loops_share_the_threads():
    def run(number):
        return asyncio.run(gathered([lambda: number] * 50))

    assert at_once([partial(run, number) for number in range(8)]) == [[number] * 50 for number in range(8)]


def test_what_a_job_holds_is_let_go_when_it_is_done():
    class Large:
        pass

    def raise_with(large):
        raise ValueError(large)

    held = []

    async def main():
        large = Large()
        held.append(weakref.ref(large))
        assert await pool.call(lambda: large is not None)
        with suppress(ValueError):
            await pool.call(partial(raise_with, large))

    asyncio.run(main())
    wait_for(lambda: gc.collect() >= 0 and held[0]() is None)


def test_a_job_has_the_context_of_its_caller_and_leaves_none_in_its_thread():
    variable = contextvars.ContextVar("variable", default="none")

    def change():
        before = variable.get()
        variable.set("changed")
        return before

    async def main():
        variable.set("caller")
        assert await pool.call(change) == "caller"
        assert variable.get() == "caller"

    asyncio.run(main())
    assert asyncio.run(gathered([variable.get] * 100)) == ["none"] * 100
