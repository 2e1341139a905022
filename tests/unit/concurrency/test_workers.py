"""A story runs in the pool, comes back to the event loop where it yields, and ends when its time is up."""

import asyncio
import contextvars
import threading

import pymongo
import pytest
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure

from hive import pool
from hive.errors import Unavailable
from tests.support.clock import Clock
from tests.support.threads import PATIENCE, wait_for


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def tell(story, deliver=None):
    async def nothing(outcome):
        pass

    return asyncio.run(pool.run(story, deliver or nothing))


def test_a_story_that_nobody_listens_to_is_one_job():
    idents = []

    def story():
        idents.append(threading.get_ident())
        yield from ()
        idents.append(threading.get_ident())
        return 7

    assert tell(story()) == 7
    assert len(set(idents)) == 1
    assert idents[0] != threading.get_ident()


def test_what_a_story_yields_is_delivered_on_the_loop_before_it_goes_on():
    order = []

    async def deliver(outcome):
        order.append((outcome, threading.current_thread() is threading.main_thread()))

    def story():
        yield 1
        order.append("between")
        yield 2
        order.append("after")

    tell(story(), deliver)
    assert order == [(1, True), "between", (2, True), "after"]


@pytest.mark.parametrize(
    "error", [KeyError("x"), StopIteration(), AutoReconnect("x"), OperationFailure("x")], ids=repr
)
def test_an_exception_of_a_delivery_is_raised_in_the_story_and_out_of_it(error):
    seen = []

    async def deliver(outcome):
        if isinstance(error, StopIteration):
            next(iter(()))
        raise error

    def story():
        try:
            yield 1
        except Exception as raised:
            seen.append(raised)
            raise

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected) as raised:
        tell(story(), deliver)
    assert seen == [raised.value]


def test_a_story_may_recover_from_an_exception_of_a_delivery():
    async def deliver(outcome):
        if outcome == 1:
            raise KeyError

    def story():
        try:
            yield 1
        except KeyError:
            yield 2
        return "recovered"

    assert tell(story(), deliver) == "recovered"


def test_a_story_may_raise_anything_even_the_end_of_an_iteration():
    def story():
        yield from ()
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        tell(story())


@pytest.mark.parametrize("error", [AutoReconnect("x"), NetworkTimeout("x")], ids=repr)
def test_an_error_of_the_connection_is_503(error):
    def story():
        yield from ()
        raise error

    with pytest.raises(Unavailable) as raised:
        tell(story())
    assert raised.value.__cause__ is error


def test_any_other_error_of_mongodb_is_itself():
    error = OperationFailure("x", 2)

    def story():
        yield from ()
        raise error

    with pytest.raises(OperationFailure) as raised:
        tell(story())
    assert raised.value is error
    assert raised.value.__cause__ is None


def test_a_cancelled_story_ends_its_stretch_and_is_cleaned_up():
    begun, release, closed = threading.Event(), threading.Event(), threading.Event()

    def story():
        try:
            begun.set()
            release.wait(PATIENCE)
            yield 1
            raise AssertionError("nobody listens any more")
        finally:
            closed.set()

    async def main():
        task = asyncio.create_task(pool.run(story(), None))
        await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    asyncio.run(main())
    assert closed.wait(PATIENCE)


def test_a_delivery_is_cancelled_with_its_story():
    begun, ended = asyncio.Event(), []

    async def deliver(outcome):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("delivery")

    def story():
        try:
            yield 1
        finally:
            ended.append("story")

    async def main():
        task = asyncio.create_task(pool.run(story(), deliver))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_for(lambda: len(ended) == 2)  # a thread may have the story for a moment
    assert ended == ["delivery", "story"]


def test_a_story_and_its_deliveries_share_a_copy_of_the_context():
    variable = contextvars.ContextVar("variable")
    seen = []

    async def deliver(outcome):
        seen.append(variable.get())
        variable.set([*variable.get(), outcome])

    def story():
        token = variable.set([*variable.get(), "story"])
        yield 1
        seen.append(variable.get())
        yield 2
        variable.reset(token)
        return variable.get()

    async def main():
        variable.set(["caller"])
        result = await pool.run(story(), deliver)
        return result, variable.get()

    assert asyncio.run(main()) == (["caller"], ["caller"])
    assert seen == [["caller", "story"], ["caller", "story", 1], ["caller", "story", 1]]


def left():
    """The seconds that MongoDB still has."""
    return pymongo._csot.remaining()


def test_the_time_of_receivers_does_not_count_and_that_of_all_stretches_does(monkeypatch, clock):
    monkeypatch.setattr(pool, "DEADLINE", 300)
    seen = []

    async def deliver(outcome):
        clock.go_on(400)

    def story():
        seen.append(left())
        yield 1
        for _ in range(2):
            seen.append(left())
            clock.go_on(200)
            yield 2
        seen.append(left())

    tell(story(), deliver)
    assert seen[:3] == pytest.approx([300, 300, 100], abs=1)
    assert seen[3] == pytest.approx(0, abs=1)


def test_a_story_may_have_a_time_of_its_own(clock):
    def story():
        yield from ()
        return left()

    assert asyncio.run(pool.run(story(), pool.nothing, seconds=77)) == pytest.approx(77, abs=1)


def test_the_time_begins_anew_where_a_delivery_says_so(monkeypatch, clock):
    monkeypatch.setattr(pool, "DEADLINE", 300)
    seen = []

    async def deliver(outcome):
        return outcome

    def story():
        for anew in (False, True, False):
            clock.go_on(100)
            yield anew
            seen.append(left())

    tell(story(), deliver)
    assert seen == pytest.approx([200, 300, 200], abs=1)


def test_the_time_of_one_story_is_not_that_of_the_next_in_its_thread(monkeypatch, clock):
    monkeypatch.setattr(pool, "DEADLINE", 300)

    async def main():
        for _ in range(3):
            assert await pool.call(left) == pytest.approx(300, abs=1)
            await pool.call(lambda: clock.go_on(200))

    asyncio.run(main())
    assert left() is None


def test_who_is_late_ends_its_story(monkeypatch, clock):
    monkeypatch.setattr(pool, "DEADLINE", 300)

    def story():
        yield 1
        clock.go_on(400)
        yield 2
        return "told"

    assert tell(story()) == "told"
