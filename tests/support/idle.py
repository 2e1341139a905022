"""Whether the pool of threads has something to do."""

from hive import threads
from tests.support.threads import wait_for


def busy():
    """How many jobs the pool has: those under way, and those that wait for a thread."""
    return threads.pool.busy


def wait_until_idle():
    """Return when all jobs are done, and whoever waits for them has been told."""
    wait_for(lambda: not busy())
