"""Tornado's server, with limits that suit an API, and the event loop that it runs on."""

import asyncio
import signal
import socket
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from tornado.httpserver import HTTPServer as TornadoServer

from hive.bodies import MOST_DROPPED
from hive.serving import ENDING

uvloop: Any
try:
    import uvloop
except ImportError:  # it comes with the extra `fast`
    uvloop = None

T = TypeVar("T")

DEFAULTS = {
    "idle_connection_timeout": 60.0,
    "body_timeout": 60.0,
    "max_header_size": 2**14,
    "max_body_size": MOST_DROPPED,
}
SECONDS_TO_END = 30.0
"""How long requests may take to end after SIGTERM."""
SECONDS_TO_CLOSE = 1.0
MOMENT = 0.01
MOMENTS = 20
"""For so many in a row nothing must be under way: a client that sends its next request is not cut off."""


class HTTPServer(TornadoServer):
    """`tornado.httpserver.HTTPServer` whose clients cannot keep a connection for ever.

    A request's header, which may have 16 KiB, and then its body must arrive within 60 seconds each, and so
    long a connection may be idle. Tornado's own arguments say otherwise: ``idle_connection_timeout``,
    ``body_timeout`` (seconds), ``max_header_size``, ``max_body_size`` (bytes).
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **(DEFAULTS | kwargs))
        self.messages: dict[Any, Any] = {}  # by connection, what it reads or answers

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        super().add_sockets(sockets)
        with suppress(RuntimeError):  # where the event loop does not run yet
            LISTENING.setdefault(asyncio.get_running_loop(), WeakSet()).add(self)

    def start_request(self, server_conn: object, request_conn: Any) -> Any:
        self.messages[server_conn] = request_conn
        return super().start_request(server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        self.messages.pop(server_conn, None)
        super().on_close(server_conn)

    def retire(self) -> None:
        """Take nobody in any more but those who have connected, and close each connection with an answer."""
        if not self._stopped:
            self._take_in()
            self.stop()
        self.conn_params.no_keep_alive = True
        for message in self.messages.values():
            if is_request(message) and message._response_start_line is None:
                message._disconnect_on_finish = True

    def _take_in(self) -> None:
        """Accept the connections that the kernel has: it resets those that are left to it."""
        for listener in self._sockets.values():
            with suppress(OSError):
                for _ in range(socket.SOMAXCONN):
                    self._handle_connection(*listener.accept())

    def is_busy(self) -> bool:
        """Whether a request is being read or answered; one of which half the header is there is none."""
        return any(
            not connection.stream.reading() or is_request(self.messages.get(connection))
            for connection in self._connections
        )

    def close_streams(self) -> None:
        """Close all connections, at once: no request begins meanwhile."""
        for connection in self._connections:
            connection.stream.close()


LISTENING: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[HTTPServer]] = WeakKeyDictionary()


def is_request(message: Any) -> bool:
    """Whether the header of a request has come; before, Tornado only waits for one."""
    return message is not None and message._request_start_line is not None


def run(main: Coroutine[Any, Any, T]) -> T | None:
    """As `asyncio.run`, on the event loop of uvloop where that is installed (the extra `fast`).

    At SIGTERM, the servers (`HTTPServer`) stop listening, requests that are under way have 30 seconds to end,
    and then `main` is cancelled: None is returned, unless it returns or raises something else. The next
    SIGTERM cancels it at once. In a thread, on Windows, and where the program or `main` handles that signal
    itself, nothing of this happens.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        return runner.run(until_terminated(main))


async def until_terminated(main: Coroutine[Any, Any, T]) -> T | None:
    """What `main` gives; None if it was cancelled because of SIGTERM."""
    termination = Termination(asyncio.current_task())
    if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.default_int_handler):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, termination.proceed)
    try:
        return await main
    except asyncio.CancelledError:
        if termination.is_due():
            return None
        raise  # it is Ctrl-C


class Termination:
    """What SIGTERM does to the task of a program."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.draining: asyncio.Task[None] | None = None

    def proceed(self) -> None:
        """Let requests end, and cancel the task; if that goes on already, cancel the task now."""
        if self.draining is None:
            self.draining = asyncio.create_task(drain(SECONDS_TO_END, MOMENTS))
            self.draining.add_done_callback(lambda _: self.task.cancel())
        elif not self.draining.cancel():
            self.task.cancel()

    def is_due(self) -> bool:
        """Whether the task was cancelled."""
        return self.draining is not None and self.draining.done()


async def drain(seconds: float, moments: int = 0) -> None:
    """Stop the servers of this event loop; return when requests have ended and been told of, or `seconds` on.

    Clients that have a connection may use it until nothing was under way for `moments`. Then all are closed.
    """
    servers = list(LISTENING.get(asyncio.get_running_loop(), ()))
    for server in servers:
        server.retire()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await silence(servers, moments)
    for server in servers:
        server.close_streams()
    if closing := [asyncio.create_task(server.close_all_connections()) for server in servers]:
        await asyncio.wait(closing, timeout=SECONDS_TO_CLOSE)


async def silence(servers: list[HTTPServer], moments: int) -> None:
    """Return when nothing was under way for some moments; at once when nobody is connected."""
    left = moments
    while (busy := is_busy(servers)) or (left and any(server.messages for server in servers)):
        left = moments if busy else left - 1
        await asyncio.sleep(MOMENT)


def is_busy(servers: list[HTTPServer]) -> bool:
    """Whether a client waits for an answer, or anything on this event loop still belongs to a request."""
    loop = asyncio.get_running_loop()
    return (
        any(server.is_busy() for server in servers)
        or any(is_serving(task) for task in asyncio.all_tasks())
        or any(task.get_loop() is loop for task in ENDING.copy())
    )


def is_serving(task: asyncio.Task[Any]) -> bool:
    """Whether the task is a request: Tornado runs each in one, of `RequestHandler._execute`."""
    return getattr(task.get_coro(), "__qualname__", "") == "RequestHandler._execute"
