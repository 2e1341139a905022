"""Programs that begin where hive has been imported, which costs most of the time that a small one takes."""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import warnings

from tests.support.threads import PATIENCE

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["hive", "mongomock", "uvloop", "tests.support.forked"])


class Forked:
    """A process that runs some code, in which `arguments` are those; warnings are errors there."""

    def __init__(self, code, *arguments):
        self.pipe, pipe = socket.socketpair()
        self.errors, errors = socket.socketpair()
        self.process = FORKING.Process(target=execute, args=(code, arguments, pipe, errors))
        self.process.start()
        for end in (pipe, errors):
            end.close()
        for end in (self.pipe, self.errors):
            end.settimeout(PATIENCE)
        self.output = self.pipe.makefile()

    def line(self):
        """The next line that it prints."""
        return self.output.readline().rstrip("\n")

    def send(self, data):
        """Give it something to read."""
        self.pipe.sendall(data)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def end(self):
        """Wait for its end. Give its status, what is left of its output, and its standard error."""
        output = self.output.read()
        with self.errors.makefile() as errors:
            told = errors.read()
        self.process.join(PATIENCE)
        return self.process.exitcode, output, told

    def kill(self):
        self.process.kill()
        self.process.join()
        self.output.close()
        for end in (self.pipe, self.errors):
            end.close()
        self.process.close()

    @property
    def is_alive(self):
        return self.process.is_alive()


def execute(code, arguments, pipe, errors):
    """Run the code as a program of its own, as far as that goes."""
    for end, number in ((pipe, 0), (pipe, 1), (errors, 2)):
        os.dup2(end.fileno(), number)
    pipe.close()
    errors.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    try:
        exec(compile(code, "<program>", "exec"), {"__name__": "__main__", "arguments": arguments})
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
