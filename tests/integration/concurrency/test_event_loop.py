"""The event loop waits for nobody: what may wait for MongoDB, or is code of a model, runs in the pool."""

import asyncio
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from mongoengine import (
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    GenericReferenceField,
    LazyReferenceField,
    ListField,
    QuerySet,
    ReferenceField,
    StringField,
)
from tornado.web import RequestHandler

from hive import ModelHive, flatten, pool, signals
from hive.errors import Unavailable
from hive.testing import connected, serve
from tests.support.clock import Clock
from tests.support.commands import Holding, Listener
from tests.support.idle import wait_until_idle
from tests.support.threads import PATIENCE, begun, wait_for

threads = set()


def note():
    threads.add(threading.current_thread().name)


class Noting(QuerySet):
    def __iter__(self):
        note()
        return super().__iter__()

    def filter(self, *args, **kwargs):
        note()
        return super().filter(*args, **kwargs)


class Slow(Document):
    name = StringField()


class Author(Document):
    name = StringField()

    def to_dict(self):
        note()
        return {"id": str(self.pk), "name": self.name}


class Place(EmbeddedDocument):
    city = StringField()
    mayor = ReferenceField(Author)


class Book(Document):
    meta = {"queryset_class": Noting}
    title = StringField()
    author = ReferenceField(Author)
    lazy = LazyReferenceField(Author)
    generic = GenericReferenceField(choices=[Author])
    readers = ListField(ReferenceField(Author))
    place = EmbeddedDocumentField(Place)
    places = EmbeddedDocumentListField(Place)

    def clean(self):
        note()
        assert self.author is None or self.author.name

    def save(self, *args, **kwargs):
        note()
        return super().save(*args, **kwargs)

    def delete(self, *args, **kwargs):
        note()
        return super().delete(*args, **kwargs)

    def to_dict(self):
        note()
        return {
            "id": str(self.pk),
            "title": self.title,
            "author": self.author.name if self.author else None,
            "readers": [reader.name for reader in self.readers],
        }


class NoQuery(RequestHandler):
    def get(self):
        self.write("at once")


class Noticing(Listener):
    """Notes the thread of every command that is sent to MongoDB."""

    def started(self, event):
        note()


def scope(queryset, handler):
    note()
    return queryset


def ignore(sender):
    pass


ROUTES = flatten(
    [
        ModelHive.routes_for(Slow, deadline=PATIENCE),
        ModelHive.routes_for(Author, scope=scope, deadline=PATIENCE),
        ModelHive.routes_for(Book, scope=scope, deadline=PATIENCE),
        ("/at-once", NoQuery),
    ]
)


@pytest.fixture
def finds():
    return Holding("find")


@pytest.fixture
def connection(mongodb_server, finds):
    listeners = [Noticing(), finds]
    name = f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=listeners) as database:
        yield database
        finds.let_go()
        database.client.drop_database(name)


@pytest.fixture
def client(connection):
    with serve(ROUTES) as client:
        yield client


@contextmanager
def held(finds, requests):
    """Requests in threads, whose queries wait while the block runs. Gives their futures."""
    wait_until_idle()
    finds.hold()
    with ThreadPoolExecutor(len(requests)) as executor:
        try:
            yield [executor.submit(request) for request in requests]
        finally:
            finds.let_go()


def takes_in(port):
    """Whether a server listens there."""
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


# Slow queries


def test_fifty_slow_queries_in_flight_do_not_delay_another_request(client, finds):
    Slow(name="x").save()
    author = Author(name="Ann").save()
    with held(finds, [partial(client.get, f"/slow?per_page={number}") for number in range(1, 51)]) as queries:
        wait_for(lambda: finds.held == 50)
        assert client.get("/at-once").status == 200
        assert client.get("/nothing").status == 404
        assert client.request("OPTIONS", "/slow").status == 204
        assert client.post("/author", json={"name": "Bob"}).status == 201
        assert client.post("/author", json={"nme": "Bob"}).status == 400
        assert not any(query.done() for query in queries)
    assert [query.result().status for query in queries] == [200] * 50
    assert client.get(f"/author/{author.pk}").status == 200


def test_who_asks_for_the_list_of_a_slow_query_does_not_wait_for_it(client, finds, monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    Slow(name="x").save()
    assert client.get("/slow").status == 200
    with held(finds, [partial(client.get, "/slow")]) as slow:
        wait_for(lambda: finds.held == 1)
        with ThreadPoolExecutor(10) as executor:
            others = [executor.submit(client.get, "/slow") for _ in range(10)]
            wait_for(lambda: finds.held > 1)
            finds.let_go()
    assert [query.result().status for query in slow + others] == [200] * 11


def test_a_story_that_waits_for_a_thread_too_long_asks_mongodb_nothing(connection, monkeypatch):
    clock = Clock(monkeypatch)
    Slow(name="x").save()
    wait_until_idle()
    gate = threading.Barrier(101)

    def waits():
        gate.wait(PATIENCE)
        gate.wait(PATIENCE)

    async def main():
        waiting = [asyncio.create_task(pool.call(waits)) for _ in range(100)]
        await asyncio.to_thread(gate.wait, PATIENCE)
        late = asyncio.create_task(pool.call(Slow.objects.count))
        await asyncio.sleep(0)  # it has come
        clock.go_on(2 * pool.DEADLINE)
        await asyncio.to_thread(gate.wait, PATIENCE)
        with pytest.raises(Unavailable):
            await late
        await asyncio.gather(*waiting)

    threads.clear()
    asyncio.run(main())
    assert threads == set()


@pytest.mark.parametrize("is_told", [False, True], ids=["from the beginning", "after it was told"])
def test_a_story_that_is_late_asks_mongodb_nothing(connection, monkeypatch, is_told):
    clock = Clock(monkeypatch)
    Slow(name="x").save()

    def story():
        clock.go_on(2 * pool.DEADLINE)
        if is_told:
            yield
        threads.clear()
        return Slow.objects.count()

    with pytest.raises(Unavailable):
        asyncio.run(pool.run(story(), pool.nothing))
    assert threads == set()


# Off the loop


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "unobserved"])
def test_no_query_no_dereference_and_no_code_of_a_model_runs_on_the_event_loop(client, observed):
    ann, bob = Author(name="Ann").save(), Author(name="Bob").save()
    book = Book(
        title="B", author=ann, lazy=ann, generic=ann, readers=[ann],
        place=Place(city="Rome", mayor=ann), places=[Place(city="Rome", mayor=ann)],
    ).save()  # fmt: skip
    new = {
        "title": "C", "author": str(ann.pk), "lazy": str(bob.pk),
        "generic": {"_cls": "Author", "id": str(bob.pk)},
        "readers": [str(ann.pk), str(bob.pk)], "place": {"city": "Bonn", "mayor": str(bob.pk)},
        "places": [{"city": "Bonn", "mayor": str(bob.pk)}],
    }  # fmt: skip
    path = f"/book/{book.pk}"
    requests = [
        ("GET", "/book", None), ("HEAD", "/book", None), ("OPTIONS", path, None), ("GET", path, None),
        ("POST", "/book", new), ("PUT", path, new), ("PATCH", path, new), ("PUT", path, {"title": 7}),
        ("GET", f"{path}/author", None), ("PUT", f"{path}/author", {"name": "Eve"}),
        ("POST", f"{path}/author", {"id": str(bob.pk)}), ("POST", f"{path}/author", {"name": "Cid"}),
        ("OPTIONS", f"{path}/author", None), ("DELETE", f"{path}/author", None),
        ("GET", f"{path}/generic", None), ("GET", f"{path}/lazy", None),
        ("GET", f"{path}/readers", None), ("POST", f"{path}/readers", {"name": "Dan"}),
        ("GET", f"{path}/readers/{ann.pk}", None), ("DELETE", f"{path}/readers/{ann.pk}", None),
        ("GET", f"{path}/place", None), ("PUT", f"{path}/place", {"mayor": str(ann.pk)}),
        ("GET", f"{path}/place/mayor", None), ("PATCH", f"{path}/place/mayor", {"name": "Eve"}),
        ("DELETE", f"{path}/place", None), ("POST", f"{path}/place", {"city": "Oslo"}),
        ("GET", f"{path}/places", None), ("POST", f"{path}/places", {"city": "Oslo", "mayor": str(ann.pk)}),
        ("PUT", f"{path}/places/0", {"mayor": None}), ("GET", f"{path}/places/1/mayor", None),
        ("DELETE", f"{path}/places/0", None), ("GET", "/book/unknown", None), ("DELETE", path, None),
    ]  # fmt: skip
    kept = [signal for signal in signals.core.values() if observed]
    for signal in kept:
        signal.connect(ignore)
    try:
        for method, url, body in requests:
            threads.clear()
            status = client.request(method, url, json=body).status
            expected = (400,) if body == {"title": 7} else (200, 201, 204, 404)
            assert status in expected, (method, url, status)
            assert threads or method == "OPTIONS", (method, url)
            assert all(name.startswith("hive") for name in threads), (method, url, threads)
    finally:
        for signal in kept:
            signal.disconnect(ignore)


# Clients that go away, and servers that stop


def test_a_client_that_goes_away_does_not_keep_its_write_from_being_told(client):
    reached, release, heard = threading.Event(), threading.Event(), threading.Event()

    async def waits(sender):
        reached.set()
        await asyncio.to_thread(release.wait, PATIENCE)

    def told(sender, instance):
        heard.set()

    with signals.pre_create_instance.connected_to(waits), signals.post_create_instance.connected_to(told):
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            body = b'{"name": "gone"}'
            raw.sendall(
                b"POST /author HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert reached.wait(PATIENCE)
        release.set()
        assert heard.wait(PATIENCE)
    assert Author.objects(name="gone").count() == 1


def test_what_is_under_way_when_the_application_stops_is_finished(connection):
    reached, heard = threading.Event(), []

    async def waits(sender, handler):
        reached.set()
        _, port = handler.request.connection.stream.socket.getsockname()
        while takes_in(port):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.005)

    with (
        signals.pre_create_instance.connected_to(waits),
        signals.post_create_instance.connected_to(heard.append),
    ):
        with serve(ROUTES) as client:
            request = begun(partial(client.post, "/author", json={"name": "late"}))
            assert reached.wait(PATIENCE)
        assert request.result(PATIENCE).status == 201
    assert heard == [Author]
