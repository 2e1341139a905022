"""For the tests of applications built with hive, and of hive itself: real HTTP, a real or mocked MongoDB.

Needs pytest and mongomock. ``pytest_plugins = ["hive.testing"]`` in a ``conftest.py`` gives the fixtures
`mongomock_database`, `mongodb_server`, `mongodb_database` and `new_mongodb_database`.
"""

import asyncio
import http.client
import json as jsonlib
import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlencode

import mongoengine
import mongomock
import pymongo
import pytest
from pymongo.collection import Collection
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from tornado.netutil import bind_sockets
from tornado.web import Application

from hive import signals
from hive.embedded import Server
from hive.server import HTTPServer, drain
from hive.serving import NotFoundHandler
from hive.signals import Signal

SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Reply:
    """An answer: its status, its headers (names in any case) and its bytes."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return jsonlib.loads(self.body)


class Client:
    """A blocking HTTP client for an application under test; every request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, Any] | None = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Reply:
        """Send `json`, a `form` (values may be lists) or a raw `body`; `timeout` in seconds."""
        sent = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json)
            sent.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form, doseq=True)
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **how: Any) -> Reply:
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> Reply:
        return self.request("POST", path, **how)

    def put(self, path: str, **how: Any) -> Reply:
        return self.request("PUT", path, **how)

    def patch(self, path: str, **how: Any) -> Reply:
        return self.request("PATCH", path, **how)

    def delete(self, path: str, **how: Any) -> Reply:
        return self.request("DELETE", path, **how)


@contextmanager
def serve(
    routes: list[Any] | Application,
    *,
    server: Mapping[str, Any] = MappingProxyType({}),
    sockets: list[Any] | None = None,
    **settings: Any,
) -> Iterator[Client]:
    """Serve routes, or an application, on a free port of 127.0.0.1 while the block runs.

    It has a thread with an event loop of its own. `settings` are those of the `Application` that is made for
    routes; `server` are arguments of `hive.HTTPServer`, and `sockets` those to serve on instead. Requests
    that are served when the block ends have 10 seconds to end and to tell of it (`request_finished`), and
    are answered; tasks that the application has started are cancelled.
    """
    if isinstance(routes, Application):
        application = routes
    else:
        application = Application(routes, **{"default_handler_class": NotFoundHandler} | settings)
    http = HTTPServer(application, **server)
    bound = sockets or bind_sockets(0, "127.0.0.1")
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        http.add_sockets(bound)
        await stop.wait()
        await drain(SECONDS_TO_END)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="served", daemon=True)
    thread.start()
    try:
        yield Client(bound[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


class Heard(NamedTuple):
    """A signal that was sent: its name, its sender and its arguments."""

    name: str
    sender: Any
    arguments: dict[str, Any]


@contextmanager
def recorded(*only: Signal) -> Iterator[list[Heard]]:
    """What is sent while the block runs, in order: by these signals, or by `signals.LIFECYCLE`."""
    heard: list[Heard] = []
    with ExitStack() as stack:
        for signal in only or signals.LIFECYCLE:
            stack.enter_context(signal.connected_to(recorder(signal, heard)))
        yield heard


def recorder(signal: Any, heard: list[Heard]) -> Any:
    """A receiver that adds what `signal` tells to `heard`."""

    def record(sender: Any, **arguments: Any) -> None:
        heard.append(Heard(signal.name, sender, arguments))

    return record


@contextmanager
def connected(name: str, **how: Any) -> Iterator[Any]:
    """mongoengine's default connection, to the database `name`, while the block runs; gives that database.

    `how` are arguments of `mongoengine.connect`. Afterwards no model is bound to that database any more.
    """
    client = mongoengine.connect(name, uuidRepresentation="standard", **how)
    try:
        yield client[name]
    finally:
        disconnect()


def disconnect() -> None:
    """End mongoengine's default connection, and let all models forget it."""
    mongoengine.disconnect()
    for model in documents():  # mongoengine forgets one of two of the same name
        model._disconnect()


def documents() -> set[Any]:
    """All classes of documents that are defined."""
    return set(subclasses(mongoengine.Document))


def subclasses(parent: Any) -> Iterator[Any]:
    """All classes below `parent`."""
    for child in parent.__subclasses__():
        yield child
        yield from subclasses(child)


class UsedCollections(CommandListener):
    """The collections that commands have named, and what they have defined there: indexes and options."""

    DEFINING = ("collMod", "create", "createIndexes", "dropIndexes")

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.defined: defaultdict[str, set[str]] = defaultdict(set)

    def started(self, event: CommandStartedEvent) -> None:
        name = event.command.get(event.command_name)
        if isinstance(name, str):
            self.named.add(name)
            if event.command_name in self.DEFINING:
                indexes = [index["name"] for index in event.command.get("indexes", ())]
                self.defined[name] |= {*indexes} or {event.command_name}

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


class LastingClient(pymongo.MongoClient[dict[str, Any]]):
    """A client that `mongoengine.disconnect` leaves open."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


class SharedDatabase:
    """One database for many tests, each of which finds it empty.

    Between tests the documents of the collections that were used are deleted; their indexes stay, unless a
    test has changed them or has defined the model. What other clients do to other collections stays, too.
    """

    def __init__(self, uri: str) -> None:
        self.used = UsedCollections()
        self.name = f"hive-{uuid.uuid4().hex[:12]}"
        self.client = LastingClient(uri, uuidRepresentation="standard", event_listeners=[self.used])
        self.bound: dict[Any, Any] = {}  # by model, mongoengine's collection
        self.settled: dict[str, set[str]] = {}  # collections, with the names of their indexes

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """mongoengine's default connection to it, while the block runs."""
        models = documents()
        for model, collection in self.bound.items():
            model._collection = collection
        with connected(self.name, mongo_client_class=lambda **_: self.client) as database:
            yield database
            self.empty(database, {model._meta.get("collection") for model in documents() - models})
            self.bound = {model: model._collection for model in models if self.is_bound(model)}

    def is_bound(self, model: Any) -> bool:
        collection = vars(model).get("_collection")
        return isinstance(collection, Collection) and collection.name in self.settled

    def empty(self, database: Any, temporary: set[str]) -> None:
        """Delete all documents, and the collections that a test has defined for itself."""
        for name in set(self.used.named):
            defined = self.used.defined[name]
            if name in temporary or defined - self.settled.get(name, defined):
                database.drop_collection(name)
                self.settled.pop(name, None)
            else:
                database[name].delete_many({})
                self.settled[name] = self.settled.get(name, set()) | defined
        self.used.named.clear()
        self.used.defined.clear()

    def drop(self) -> None:
        self.client.drop_database(self.name)
        self.client.end()


@pytest.fixture
def mongomock_database() -> Iterator[Any]:
    """mongoengine's default connection, on an empty MongoDB in memory; for one test."""
    with connected("test", mongo_client_class=mongomock.MongoClient) as database:
        yield database


@pytest.fixture(scope="session")
def mongodb_server() -> Iterator[str]:
    """The URI of a real server: ``HIVE_TEST_MONGODB_URI``, or an embedded one in memory."""
    uri = os.environ.get("HIVE_TEST_MONGODB_URI")
    if uri:
        yield uri
        return
    with Server(None, arguments=("--cache-size", "2G")) as server:  # it keeps what was dropped, too
        yield server.uri


@pytest.fixture(scope="session")
def shared_mongodb(mongodb_server: str) -> Iterator[SharedDatabase]:
    """The database of `mongodb_database`."""
    shared = SharedDatabase(mongodb_server)
    yield shared
    shared.drop()


@pytest.fixture
def mongodb_database(shared_mongodb: SharedDatabase) -> Iterator[Any]:
    """mongoengine's default connection, on an empty database of a real server; for one test.

    All tests of a process use the same one, one after another. Collections keep their indexes.
    """
    with shared_mongodb.connected() as database:
        yield database


@pytest.fixture
def new_mongodb_database(mongodb_server: str) -> Iterator[Any]:
    """The same, on a new database: for tests of indexes and options, and of what other processes store."""
    with connected(f"hive-{uuid.uuid4().hex[:12]}", host=mongodb_server) as database:
        yield database
        database.client.drop_database(database.name)
