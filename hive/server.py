"""Tornado's server, with limits that suit an API, and the event loop that it runs on."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tornado.httpserver import HTTPServer as TornadoServer

from hive.bodies import MOST_DROPPED

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


class HTTPServer(TornadoServer):
    """`tornado.httpserver.HTTPServer` whose clients cannot keep a connection for ever.

    A request's header, which may have 16 KiB, and then its body must arrive within 60 seconds each, and so
    long a connection may be idle. Tornado's own arguments say otherwise: ``idle_connection_timeout``,
    ``body_timeout`` (seconds), ``max_header_size``, ``max_body_size`` (bytes).
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **(DEFAULTS | kwargs))


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on the event loop of uvloop where that is installed (the extra `fast`)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        return runner.run(main)
