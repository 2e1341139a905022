"""Servers in processes of their own, and what they take of the machine. Linux only."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import NotMeasured, last_line
from benchmarks.load import HOST
from hive.embedded import Server as Embedded, free_port

PATIENCE = 30
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    pid: int
    port: int

    def family(self) -> Iterator[int]:
        """The process and all its descendants."""
        waiting = [self.pid]
        while waiting:
            yield (pid := waiting.pop())
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())

    def cpu(self) -> float:
        """Seconds of user and system time, of the whole family, to the nanosecond."""
        return sum(cpu_of(pid) for pid in self.family())

    def memory(self) -> int:
        """Bytes of it that are resident."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE for pid in self.family())


def cpu_of(pid: int) -> float:
    """Seconds of user and system time of one process: what clock_getcpuclockid(3) is for."""
    return time.clock_gettime((~pid << 3) | 2)


@contextlib.contextmanager
def serving(python: str, module: str, uri: str, *arguments: str) -> Iterator[Process]:
    """A program that takes a port and the URI of MongoDB. Raises `NotMeasured` if it does not come up."""
    port = free_port()
    command = [python, "-m", module, str(port), uri, *arguments]
    with tempfile.TemporaryFile("a+") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_for(process, port, log)
            yield Process(process.pid, port)
        finally:
            for pid in list(Process(process.pid, port).family()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


def wait_for(process: subprocess.Popen[bytes], port: int, log) -> None:
    end = time.monotonic() + PATIENCE
    while not answers(port):
        if process.poll() is not None or time.monotonic() > end:
            log.seek(0)
            raise NotMeasured(last_line(log.read()))
        time.sleep(0.05)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def mongodb(uri: str | None) -> Iterator[tuple[str, Process | None]]:
    """The URI of the MongoDB to use, and its process where it is an embedded one, in memory."""
    if uri:
        yield uri, None
        return
    with Embedded(None) as server:
        yield server.uri, Process(server.pid, server.port)
