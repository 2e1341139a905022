"""The pool of threads in processes that fork and end."""

import asyncio
import multiprocessing
import subprocess
import sys
import threading

import pytest

from hive import pool
from tests.support.idle import wait_until_idle
from tests.support.programs import ROOT
from tests.support.threads import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def answer():
    return asyncio.run(pool.call(lambda: 7))


def answer_to(queue):
    queue.put(answer())


def answer_of_child():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=answer_to, args=(queue,))
    child.start()
    try:
        return queue.get(timeout=PATIENCE)
    finally:
        child.join(PATIENCE)
        child.kill()


def test_a_forked_process_has_a_pool_of_its_own():
    assert answer() == 7
    assert answer_of_child() == 7


def test_a_process_that_is_forked_while_all_threads_are_at_work_has_its_own():
    wait_until_idle()
    gate = threading.Barrier(101)

    def waits():
        gate.wait(PATIENCE)
        gate.wait(PATIENCE)

    async def main():
        busy = [asyncio.create_task(pool.call(waits)) for _ in range(100)]
        await asyncio.to_thread(gate.wait, PATIENCE)
        found = await asyncio.to_thread(answer_of_child)
        await asyncio.to_thread(gate.wait, PATIENCE)
        await asyncio.gather(*busy)
        return found

    assert asyncio.run(main()) == 7


def test_threads_do_not_keep_a_program_from_ending():
    """It waits 5 seconds for what is being done, and not for an hour."""
    program = """
import asyncio, threading, time
from hive import pool
begun = threading.Event()
def last():
    begun.set()
    time.sleep(3600)
async def main():
    assert await pool.call(lambda: 7) == 7
    task = asyncio.create_task(pool.call(last))
    await asyncio.to_thread(begun.wait)
asyncio.run(main())
print("ended")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "ended\n"
