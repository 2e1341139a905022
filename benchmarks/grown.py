"""The application whose growth is measured: hive, a model that is slow, and a handler that asks no database.

python -m benchmarks.grown PORT URI PROCESSES
"""

import asyncio
import sys
import time
from typing import Any

import mongoengine as me
from tornado.netutil import bind_sockets
from tornado.process import fork_processes
from tornado.web import Application, RequestHandler

from benchmarks.load import HOST
from benchmarks.models import Person
from benchmarks.people import DATABASE
from hive import HTTPServer, ModelHive


class Ping(RequestHandler):
    async def get(self) -> None:
        self.finish("pong")


def slowly(queryset: Any, handler: Any) -> Any:
    """A query that takes a second: it runs in the pool, where queries do."""
    time.sleep(1)
    return queryset


async def serve(port: int, uri: str) -> None:
    me.connect(DATABASE, host=uri, uuidRepresentation="standard")
    slow = ModelHive.routes_for(Person, resource_name="slow", scope=slowly)
    routes = [("/ping", Ping), *ModelHive.routes_for(Person), *slow]
    server = HTTPServer(Application(routes, log_function=lambda handler: None))
    server.add_sockets(bind_sockets(port, HOST, backlog=1024, reuse_port=True))
    await asyncio.Event().wait()


if __name__ == "__main__":
    if (processes := int(sys.argv[3])) > 1:
        fork_processes(processes)  # each listens on a socket of its own, and connects to MongoDB for itself
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
