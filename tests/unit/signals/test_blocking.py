"""A receiver that keeps the event loop for long is named in the log; one that waits is not."""

import asyncio
import logging
import re
import threading
from functools import partial

import pytest

from hive import receivers
from hive.signals import Signal
from tests.support.threads import PATIENCE

TOO_LONG = 0.3
BLOCKED = re.compile(r"(\S+) blocked the event loop for (\d+) ms on (\w+)")


class Clock:
    """It stands still while receivers run, but for what they take."""

    now = 0.0

    def perf_counter(self):
        return self.now


clock = Clock()


def block(sender):
    clock.now += TOO_LONG


async def block_before_the_first_step(sender):
    clock.now += TOO_LONG
    await asyncio.sleep(0)


async def block_between_two_steps(sender):
    await asyncio.sleep(0)
    clock.now += TOO_LONG
    await asyncio.sleep(0)


async def block_and_fail(sender):
    await asyncio.sleep(0)
    clock.now += TOO_LONG
    raise ZeroDivisionError


class Blocking:
    def method(self, sender):
        block(sender)

    def __call__(self, sender):
        block(sender)


@pytest.fixture(autouse=True)
def injected(monkeypatch):
    monkeypatch.setattr(receivers, "time", clock)


@pytest.fixture
def signal():
    return Signal("elsewhere")


def blocked(caplog):
    """Who blocked the event loop for how many milliseconds on which signal."""
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    return [BLOCKED.fullmatch(record.getMessage()).groups() for record in warnings]


@pytest.mark.parametrize("how", ["send_async", "send_robust_async"])
@pytest.mark.parametrize("receiver", [block, block_before_the_first_step, block_between_two_steps])
def test_a_receiver_that_blocks_is_named(caplog, signal, receiver, how):
    signal.connect(receiver)
    assert asyncio.run(getattr(signal, how)()) == [(receiver, None)]
    assert blocked(caplog) == [(f"{__name__}.{receiver.__name__}", "300", "elsewhere")]


@pytest.mark.parametrize(
    ("receiver", "name"),
    [(partial(block), "block"), (Blocking().method, "Blocking.method"), (Blocking(), "Blocking")],
    ids=["partial", "method", "object"],
)
def test_a_receiver_of_any_kind_is_named(caplog, signal, receiver, name):
    signal.connect(receiver, weak=False)
    asyncio.run(signal.send_async())
    assert [who for who, _, _ in blocked(caplog)] == [f"{__name__}.{name}"]


def test_only_the_one_who_blocks_is_named_and_also_if_it_raises(caplog, signal):
    async def waits(sender):
        await asyncio.sleep(0)

    def returns(sender):
        pass

    for receiver in (waits, block_and_fail, returns):
        signal.connect(receiver)
    asyncio.run(signal.send_robust_async())
    assert [who for who, _, _ in blocked(caplog)] == [f"{__name__}.block_and_fail"]
    assert len(caplog.records) == 2


def test_a_receiver_that_awaits_for_long_is_not_named(caplog, signal):
    async def waits(sender):
        asyncio.get_running_loop().call_soon(block, None)  # so long it has to wait
        await asyncio.sleep(0)

    signal.connect(waits)
    asyncio.run(signal.send_async())
    assert caplog.records == []


def test_a_receiver_that_awaits_a_thread_is_not_named(caplog, signal):
    async def waits(sender):
        waiting = threading.Event()
        asyncio.get_running_loop().call_soon(waiting.set)
        await asyncio.to_thread(lambda: block(sender) if waiting.wait(PATIENCE) else None)

    signal.connect(waits)
    asyncio.run(signal.send_async())
    assert caplog.records == []


def test_one_that_blocks_in_a_thread_is_not_named(caplog, signal):
    served = threading.Event()

    def waits_until_another_is_served(sender):
        assert served.wait(PATIENCE)
        block(sender)

    async def main():
        asyncio.get_running_loop().call_soon(served.set)
        return await signal.send_async(_sync_wrapper=lambda function: partial(asyncio.to_thread, function))

    signal.connect(waits_until_another_is_served)
    assert asyncio.run(main()) == [(waits_until_another_is_served, None)]
    assert caplog.records == []


def test_a_plain_send_has_no_event_loop_to_block(caplog, signal):
    signal.connect(block)
    signal.send()
    assert caplog.records == []
