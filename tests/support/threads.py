"""Threads of tests, whose exceptions are those of the test; and states that tests wait for."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

PATIENCE = 120
"""Seconds after which a state is taken for one that never comes, on a slow and busy machine too."""


def at_once(functions):
    """Call functions at the same time, each in a thread of its own. Return their results in order.

    An exception of one is raised when all have ended.
    """
    barrier = threading.Barrier(len(functions))

    def call(function):
        barrier.wait(PATIENCE)
        return function()

    with ThreadPoolExecutor(len(functions)) as executor:
        futures = [executor.submit(call, function) for function in functions]
    return [future.result() for future in futures]


@contextmanager
def in_thread(function):
    """Call a function in a thread while the block runs. Give its future, and wait for it at the end.

    The end of the block raises what the function has raised.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(function)
        yield future
    future.result()


def begun(function):
    """Begin a function in a thread that nobody waits for, as it may never end. Return its future."""
    future = Future()

    def run():
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_for(condition):
    """Return the first true result of a condition. Fail where there is none in time."""
    end = time.monotonic() + PATIENCE
    while not (result := condition()):
        assert time.monotonic() < end, f"{condition} did not become true"
        time.sleep(0.005)
    return result
