"""Programs that tests start: those of the checkout, and those that pip does not install."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

import pymongo
import pytest

from tests.support.threads import wait_for

ROOT = Path(__file__).parents[2]
"""The checkout, where programs of the project are started."""


def program(name):
    """The path of a program. Skip the test where it is not installed.

    ``HIVE_TEST_CHROMIUM``, for "chromium", names another path.
    """
    path = os.environ.get(f"HIVE_TEST_{name.upper()}") or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@contextmanager
def reserved_port():
    """Give a port of 127.0.0.1 that a program may listen on, and that no other gets, while the block runs."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def database_on(server):
    """Give the URI of a new database on a server; the end of the block drops it."""
    name = f"hive-{uuid.uuid4().hex[:12]}"
    with pymongo.MongoClient(server) as client:
        yield f"{server.rstrip('/')}/{name}"
        client.drop_database(name)


class Program:
    """A Python program of the checkout, and what it has printed since its last start.

    It runs in `directory`. `environment` adds to that of the tests, without ``MONGODB_URI``. A block ends it.
    """

    def __init__(self, directory, *arguments, **environment):
        self.log = directory / "output"
        self.command = [sys.executable, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name != "MONGODB_URI"}
        self.environment = inherited | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | environment
        self.start()

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.log.parent, env=self.environment, stdout=log, stderr=log
            )

    @property
    def output(self):
        return self.log.read_text().replace("\r", "\n")

    def wait_for(self, pattern):
        """Return the match of a pattern in the output when it is there. Fail if the program ends before."""

        def found():
            is_over = self.process.poll() is not None
            match = re.search(pattern, self.output)
            assert match or not is_over, self.output
            return match

        return wait_for(found)

    def wait(self):
        """Return the exit status of a program that ends by itself."""
        return wait_for(lambda: self.process.poll() is not None) and self.process.returncode

    def end(self, signum=signal.SIGINT):
        """Return the exit status after a signal."""
        self.process.send_signal(signum)
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.wait()
        finally:
            self.process.kill()
