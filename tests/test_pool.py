import asyncio
import contextvars
import multiprocessing
import socket
import sys
import threading
import time
import uuid
from contextlib import suppress

import pymongo.monitoring
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
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure
from tornado.web import RequestHandler

from hive import ModelHive, flatten, pool, signals
from hive.embedded import Server
from hive.errors import Unavailable
from hive.testing import connected, serve

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


class Commands(pymongo.monitoring.CommandListener):
    """Notes the thread of every command that is sent to MongoDB."""

    def started(self, event):
        note()

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


def scope(queryset, handler):
    note()
    return queryset


ROUTES = flatten(
    [
        ModelHive.routes_for(Slow),
        ModelHive.routes_for(Author, scope=scope),
        ModelHive.routes_for(Book, scope=scope),
    ]
)


@pytest.fixture(scope="module")
def slowable():
    with Server(None, arguments=("--enable-test-commands",)) as server:
        yield server


@pytest.fixture
def connection(slowable):
    name = f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=slowable.uri, event_listeners=[Commands()]) as database:
        yield database.client
        fail_point(database.client, mode="off")


def fail_point(client, mode, **data):
    client.admin.command(
        {"configureFailPoint": "failCommand", "mode": mode, "data": data or {"failCommands": []}}
    )


# Slow queries


def test_fifty_slow_queries_in_flight_do_not_delay_another_request(connection):
    Slow(name="x").save()
    author = Author(name="Ann").save()
    replies = []

    def query(client):
        replies.append(client.get("/slow"))

    with serve([*ROUTES, ("/at-once", NoQuery)]) as client:
        assert client.post("/author", json={"name": "first"}).status == 201
        fail_point(connection, {"times": 50}, failCommands=["find"], blockConnection=True, blockTimeMS=2500)
        queries = [threading.Thread(target=query, args=(client,)) for _ in range(50)]
        for thread in queries:
            thread.start()
        until(lambda: in_pool() == 50)
        assert client.get("/at-once").status == 200
        assert client.get("/nothing").status == 404
        assert client.request("OPTIONS", "/slow").status == 204
        assert client.post("/author", json={"name": "Bob"}).status == 201
        assert client.post("/author", json={"nme": "Bob"}).status == 400
        assert replies == []  # so all of the fifty were in flight while the others were answered
        for thread in queries:
            thread.join()
        assert client.get(f"/author/{author.pk}").status == 200
    assert [reply.status for reply in replies] == [200] * 50


def test_a_slow_query_is_answered_503_in_time(connection):
    Slow(name="x").save()
    with serve(ROUTES) as client:
        fail_point(connection, {"times": 1}, failCommands=["find"], blockConnection=True, blockTimeMS=8000)
        start = time.monotonic()
        reply = client.get("/slow")
        assert time.monotonic() - start < 5
    assert reply.status == 503
    assert reply.headers["Retry-After"]


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_pool():
    """How many threads of the pool are at work: those that are not waiting for a job."""
    frames = sys._current_frames()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return sum(
        "_turn" in stack(frame) for ident, frame in frames.items() if names.get(ident, "").startswith("hive")
    )


def stack(frame):
    found = []
    while frame is not None:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


# Off the loop


@pytest.mark.parametrize("observed", [True, False], ids=["observed", "unobserved"])
def test_no_query_no_dereference_and_no_code_of_a_model_runs_on_the_event_loop(connection, observed):
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
        with serve(ROUTES) as client:
            for method, url, body in requests:
                threads.clear()
                status = client.request(method, url, json=body).status
                assert status in ((400,) if body == {"title": 7} else (200, 201, 204, 404)), (
                    method,
                    url,
                    status,
                )
                assert threads or method == "OPTIONS", (method, url)
                assert all(name.startswith("hive") for name in threads), (method, url, threads)
    finally:
        for signal in kept:
            signal.disconnect(ignore)


def ignore(sender):
    pass


# Stories


def tell(story, deliver=None):
    async def nothing(outcome):
        pass

    return asyncio.run(pool.run(story, deliver or nothing))


def test_a_story_that_nobody_listens_to_is_one_job():
    idents = []

    def story():
        idents.append(threading.get_ident())
        yield from ()
        idents.append(threading.get_ident())
        return 7

    assert tell(story()) == 7
    assert len(set(idents)) == 1
    assert idents[0] != threading.get_ident()


def test_what_a_story_yields_is_delivered_on_the_loop_before_it_goes_on():
    order = []

    async def deliver(outcome):
        order.append((outcome, threading.current_thread() is threading.main_thread()))

    def story():
        yield 1
        order.append("between")
        yield 2
        order.append("after")

    tell(story(), deliver)
    assert order == [(1, True), "between", (2, True), "after"]


@pytest.mark.parametrize(
    "error", [KeyError("x"), StopIteration(), AutoReconnect("x"), OperationFailure("x")], ids=repr
)
def test_an_exception_of_a_delivery_is_raised_in_the_story_and_out_of_it(error):
    seen = []

    async def deliver(outcome):
        if isinstance(error, StopIteration):
            next(iter(()))
        raise error

    def story():
        try:
            yield 1
        except Exception as raised:
            seen.append(raised)
            raise

    expected = RuntimeError if isinstance(error, StopIteration) else type(error)
    with pytest.raises(expected) as raised:
        tell(story(), deliver)
    assert seen == [raised.value]


def test_a_story_may_recover_from_an_exception_of_a_delivery():
    async def deliver(outcome):
        if outcome == 1:
            raise KeyError

    def story():
        try:
            yield 1
        except KeyError:
            yield 2
        return "recovered"

    assert tell(story(), deliver) == "recovered"


def test_a_story_may_raise_anything_even_the_end_of_an_iteration():
    def story():
        yield from ()
        next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        tell(story())


@pytest.mark.parametrize("error", [AutoReconnect("x"), NetworkTimeout("x")], ids=repr)
def test_an_error_of_the_connection_is_503(error):
    def story():
        yield from ()
        raise error

    with pytest.raises(Unavailable) as raised:
        tell(story())
    assert raised.value.__cause__ is error


def test_any_other_error_of_mongodb_is_itself():
    error = OperationFailure("x", 2)

    def story():
        yield from ()
        raise error

    with pytest.raises(OperationFailure) as raised:
        tell(story())
    assert raised.value is error
    assert raised.value.__cause__ is None


def test_a_cancelled_story_ends_its_stretch_and_is_cleaned_up():
    begun, release, closed = threading.Event(), threading.Event(), threading.Event()

    def story():
        try:
            begun.set()
            release.wait(10)
            yield 1
            raise AssertionError("nobody listens any more")
        finally:
            closed.set()

    async def main():
        task = asyncio.create_task(pool.run(story(), None))
        await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    asyncio.run(main())
    assert closed.wait(10)


def test_a_delivery_is_cancelled_with_its_story():
    ended = []

    async def deliver(outcome):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("delivery")

    def story():
        try:
            yield 1
        finally:
            ended.append("story")

    async def main():
        task = asyncio.create_task(pool.run(story(), deliver))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended == ["delivery", "story"]


def test_a_story_and_its_deliveries_share_a_copy_of_the_context():
    variable = contextvars.ContextVar("variable")
    seen = []

    async def deliver(outcome):
        seen.append(variable.get())
        variable.set([*variable.get(), outcome])

    def story():
        token = variable.set([*variable.get(), "story"])
        yield 1
        seen.append(variable.get())
        yield 2
        variable.reset(token)
        return variable.get()

    async def main():
        variable.set(["caller"])
        result = await pool.run(story(), deliver)
        return result, variable.get()

    assert asyncio.run(main()) == (["caller"], ["caller"])
    assert seen == [["caller", "story"], ["caller", "story", 1], ["caller", "story", 1]]


def test_the_time_of_receivers_does_not_count_and_that_of_all_stretches_does(monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.3)
    left = []

    async def deliver(outcome):
        await asyncio.sleep(0.4)

    def story():
        left.append(pymongo._csot.remaining())
        yield 1
        left.append(pymongo._csot.remaining())
        time.sleep(0.2)
        yield 2
        left.append(pymongo._csot.remaining())
        time.sleep(0.2)
        yield 3
        left.append(pymongo._csot.remaining())

    tell(story(), deliver)
    assert 0.2 < left[0] <= 0.3
    assert 0.2 < left[1] <= 0.3
    assert 0 < left[2] <= 0.1
    assert left[3] <= 0


def test_who_is_late_asks_mongodb_no_more_but_ends_its_story(connection, monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.05)
    Slow(name="x").save()

    def late():
        yield 1
        time.sleep(0.1)
        yield 2
        return "told"

    def later():
        time.sleep(0.1)
        yield from ()
        return Slow.objects.count()

    def after_delivery():
        time.sleep(0.1)
        yield 1
        threads.clear()
        return Slow.objects.count()

    assert tell(late()) == "told"
    for story in (later(), after_delivery()):
        with pytest.raises(Unavailable):
            tell(story)
    assert threads == set()


def test_a_hundred_stories_run_at_once_and_the_next_one_after_them():
    gate = threading.Barrier(101)
    order = []

    def waits():
        gate.wait(10)
        order.append("waits")
        yield from ()

    def next_one():
        order.append("next")
        yield from ()

    async def main():
        stories = [asyncio.create_task(pool.run(waits(), None)) for _ in range(100)]
        await asyncio.sleep(0.05)
        last = asyncio.create_task(pool.run(next_one(), None))
        await asyncio.sleep(0.05)
        assert order == []
        await asyncio.to_thread(gate.wait, 10)
        await asyncio.gather(last, *stories)

    asyncio.run(main())
    assert sorted(order) == ["next"] + ["waits"] * 100


def simple():
    yield from ()
    return 7


def in_child(queue):
    queue.put(tell(simple()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_pool_of_its_own():
    assert tell(simple()) == 7
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=10) == 7
    finally:
        child.join(10)
        child.kill()


# Clients that go away


def test_a_client_that_goes_away_does_not_keep_its_write_from_being_told(connection):
    reached, heard = threading.Event(), threading.Event()
    release = threading.Event()

    async def waits(sender):
        reached.set()
        await asyncio.to_thread(release.wait, 10)

    def told(sender, instance):
        heard.set()

    with (
        serve(ROUTES) as client,
        signals.pre_create_instance.connected_to(waits),
        signals.post_create_instance.connected_to(told),
    ):
        with socket.create_connection(("127.0.0.1", client.port)) as raw:
            body = b'{"name": "gone"}'
            raw.sendall(
                b"POST /author HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert reached.wait(10)
        release.set()
        assert heard.wait(10)
    assert Author.objects(name="gone").count() == 1


def test_what_is_under_way_when_the_application_stops_is_finished(connection):
    reached = threading.Event()
    heard = []

    async def waits(sender):
        reached.set()
        await asyncio.sleep(0.2)

    with (
        signals.pre_create_instance.connected_to(waits),
        signals.post_create_instance.connected_to(heard.append),
    ):
        with serve(ROUTES) as client:
            thread = threading.Thread(target=lost, args=(client,))
            thread.start()
            assert reached.wait(10)
        thread.join()
    assert heard == [Author]


def lost(client):
    with suppress(OSError):
        client.post("/author", json={"name": "late"})
