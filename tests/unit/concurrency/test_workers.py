import asyncio
import contextvars
import gc
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import uuid
import weakref
from contextlib import suppress
from functools import partial

import pymongo
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
from hive.threads import MOST_UNDER_WAY, Batch, Joint
from tests.support.commands import Listener

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


class Commands(Listener):
    """Notes the thread of every command that is sent to MongoDB."""

    def started(self, event):
        note()


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

    def query(client, number):
        replies.append(client.get(f"/slow?per_page={number}"))  # equal ones would share an answer

    with serve([*ROUTES, ("/at-once", NoQuery)]) as client:
        assert client.post("/author", json={"name": "first"}).status == 201
        fail_point(connection, {"times": 50}, failCommands=["find"], blockConnection=True, blockTimeMS=2500)
        queries = [threading.Thread(target=query, args=(client, number)) for number in range(1, 51)]
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
        assert time.monotonic() - start < pool.DEADLINE + 1.5
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


# Threads


def until_idle():
    until(lambda: in_pool() == 0)


async def gathered(functions):
    return await asyncio.gather(*map(pool.call, functions), return_exceptions=True)


def test_as_many_jobs_run_at_once_as_pymongo_has_connections():
    gate = threading.Barrier(100)
    assert asyncio.run(gathered([lambda: gate.wait(10) >= 0] * 100)) == [True] * 100


def test_threads_are_used_again_and_no_more_are_made_than_are_needed():
    until_idle()

    async def main():
        names = [await pool.call(lambda: threading.current_thread().name) for _ in range(50)]
        count = threading.active_count()
        for _ in range(20):
            await gathered([lambda: time.sleep(0.001)] * 3)
        return names, count

    names, count = asyncio.run(main())
    assert all(name.startswith("hive-") for name in names)
    assert threading.active_count() <= count + 3


def test_threads_do_not_keep_a_program_from_ending():
    program = """
import asyncio, threading, time
from hive import pool
async def main():
    assert await pool.call(lambda: 7) == 7
    task = asyncio.create_task(pool.call(lambda: time.sleep(60)))
    await asyncio.sleep(0.1)
asyncio.run(main())
print("ended")
"""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "ended\n"
    assert time.monotonic() - start < 20


def test_each_of_many_jobs_gets_its_own_answer():
    values = asyncio.run(gathered([partial(lambda number: number, number) for number in range(2000)]))
    assert values == list(range(2000))


class Own(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError("x"), Own("x"), GeneratorExit("x")], ids=repr)
def test_what_a_job_raises_is_raised_where_it_is_awaited_and_its_thread_works_on(error):
    def fail():
        raise error

    async def main():
        for _ in range(150):  # more than there are threads
            with pytest.raises(type(error)) as raised:
                await pool.call(fail)
            assert raised.value is error
        return await pool.call(lambda: "works on")

    assert asyncio.run(main()) == "works on"
    until_idle()


def test_a_job_that_raises_the_end_of_an_iteration_leaves_nobody_waiting():
    async def main():
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.wait_for(pool.call(lambda: next(iter(()))), 5)

    asyncio.run(main())


def test_a_cancelled_wait_disturbs_neither_its_thread_nor_the_others(caplog):
    release = threading.Event()
    ended = []

    async def main():
        tasks = [asyncio.create_task(pool.call(lambda: ended.append(release.wait(10)))) for _ in range(10)]
        until_running = asyncio.to_thread(until, lambda: in_pool() >= 10)
        await until_running
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 10
        other = await pool.call(lambda: "other")
        release.set()
        await asyncio.to_thread(until_idle)
        await asyncio.sleep(0.05)  # for what the threads have to tell
        return other

    assert asyncio.run(main()) == "other"
    assert ended == [True] * 10
    assert caplog.records == []


def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(caplog):
    release = threading.Event()

    def fail():
        release.wait(10)
        raise ValueError

    async def main():
        task = asyncio.create_task(pool.call(fail))
        await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        release.set()
        await asyncio.to_thread(until_idle)
        await asyncio.sleep(0.05)

    asyncio.run(main())
    gc.collect()
    assert caplog.records == []


def test_a_loop_that_is_closed_while_a_job_runs_disturbs_nobody(caplog):
    release, ended = threading.Event(), threading.Event()

    def late():
        release.wait(10)
        ended.set()

    async def main():
        task = asyncio.create_task(pool.call(late))
        await asyncio.sleep(0.05)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    release.set()
    assert ended.wait(10)
    until_idle()
    assert asyncio.run(pool.call(lambda: "another loop")) == "another loop"
    assert caplog.records == []


def test_several_loops_share_the_threads():
    results = []

    def run(number):
        results.append(asyncio.run(gathered([partial(lambda n: n, number)] * 50)) == [number] * 50)

    loops = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join()
    assert results == [True] * 8


def test_what_a_job_holds_is_let_go_when_it_is_done():
    class Large:
        pass

    held = []

    async def main():
        large = Large()
        held.append(weakref.ref(large))
        assert await pool.call(lambda: large is not None)
        with suppress(ValueError):
            await pool.call(partial(raise_with, large))

    asyncio.run(main())
    until(lambda: gc.collect() >= 0 and held[0]() is None)


def raise_with(large):
    raise ValueError(large)


def test_a_job_has_the_context_of_its_caller_and_leaves_none_in_its_thread():
    variable = contextvars.ContextVar("variable", default="none")

    def change():
        before = variable.get()
        variable.set("changed")
        return before

    async def main():
        variable.set("caller")
        assert await pool.call(change) == "caller"
        assert variable.get() == "caller"

    asyncio.run(main())
    assert asyncio.run(gathered([variable.get] * 100)) == ["none"] * 100


def test_the_time_of_one_story_is_not_that_of_the_next_in_its_thread(monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.2)

    async def main():
        for _ in range(3):
            left = await pool.call(pymongo._csot.remaining)
            assert 0.1 < left <= 0.2
            await pool.call(lambda: time.sleep(0.15))

    asyncio.run(main())
    assert pymongo._csot.remaining() is None


def test_a_story_that_waits_for_a_thread_too_long_asks_mongodb_nothing(connection, monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.3)
    release = threading.Event()

    async def main():
        waiting = [asyncio.create_task(pool.call(lambda: release.wait(10))) for _ in range(100)]
        await asyncio.to_thread(until, lambda: in_pool() == 100)
        threads.clear()
        late = asyncio.create_task(pool.call(Slow.objects.count))
        await asyncio.sleep(0.5)
        release.set()
        with pytest.raises(Unavailable):
            await late
        await asyncio.gather(*waiting)

    asyncio.run(main())
    assert threads == set()


def test_the_time_begins_anew_where_a_delivery_says_so(monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.3)
    left = []

    async def deliver(outcome):
        return outcome

    def story():
        for anew in (False, True, False):
            time.sleep(0.1)
            yield anew
            left.append(pymongo._csot.remaining())

    tell(story(), deliver)
    assert 0.1 < left[0] <= 0.2
    assert 0.2 < left[1] <= 0.3
    assert 0.1 < left[2] <= 0.2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_while_all_threads_are_at_work_has_its_own():
    release = threading.Event()

    def fork():
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        child = context.Process(target=in_child, args=(queue,))
        child.start()
        try:
            return queue.get(timeout=10)
        finally:
            child.join(10)
            child.kill()

    async def main():
        busy = [asyncio.create_task(pool.call(lambda: release.wait(10))) for _ in range(100)]
        await asyncio.to_thread(until, lambda: in_pool() == 100)
        answer = await asyncio.to_thread(fork)
        release.set()
        await asyncio.gather(*busy)
        return answer

    assert asyncio.run(main()) == 7


# Batches


def batch_of(prepare=lambda jobs: None):
    return Batch(prepare)


async def together(batch, count, function):
    async def one(number):
        def story():
            yield from ()
            return function(number)

        return await pool.run(story(), pool.nothing, batch, number)

    return await asyncio.gather(*map(one, range(count)), return_exceptions=True)


def test_a_story_alone_is_a_batch_of_one():
    seen = []
    assert asyncio.run(together(batch_of(seen.append), 1, lambda number: number)) == [0]
    assert seen == [[0]]


def test_stories_that_come_while_enough_are_under_way_go_together():
    seen, release = [], threading.Event()

    def prepare(jobs):
        seen.append(jobs)
        if len(seen) <= MOST_UNDER_WAY:
            release.wait(10)

    async def main():
        task = asyncio.create_task(together(batch_of(prepare), 50, lambda number: number))
        await asyncio.to_thread(until, lambda: seen)
        await asyncio.sleep(0.05)
        release.set()
        return await task

    assert asyncio.run(main()) == list(range(50))
    assert sorted(job for jobs in seen for job in jobs) == list(range(50))
    assert len(seen) <= 2 * MOST_UNDER_WAY


def test_what_fails_for_one_of_a_batch_fails_for_that_one_only():
    def function(number):
        if number % 2:
            raise Own if number % 3 else KeyError
        return number

    answers = asyncio.run(together(batch_of(), 30, function))
    for number, answer in enumerate(answers):
        if number % 2:
            assert isinstance(answer, Own if number % 3 else KeyError)
        else:
            assert answer == number


def test_what_fails_for_all_of_a_batch_is_told_to_each_and_the_next_goes_on():
    def fail(jobs):
        raise AutoReconnect("x")

    async def main():
        batch = batch_of(fail)
        answers = await together(batch, 20, lambda number: number)
        assert {type(answer) for answer in answers} == {Unavailable}
        batch.prepare = lambda jobs: None
        return await together(batch, 3, lambda number: number)

    assert asyncio.run(main()) == [0, 1, 2]


def test_each_of_a_batch_has_a_context_of_its_own():
    variable = contextvars.ContextVar("variable", default=None)

    def function(number):
        before = variable.get()
        variable.set(number)
        return before

    assert asyncio.run(together(batch_of(), 50, function)) == [None] * 50


def test_who_goes_away_from_a_batch_keeps_nobody_waiting():
    release = threading.Event()

    async def main():
        batch = batch_of(lambda jobs: release.wait(10))
        gone = asyncio.create_task(together(batch, 10, lambda number: number))
        stays = asyncio.create_task(together(batch, 10, lambda number: number))
        await asyncio.sleep(0.05)
        gone.cancel()
        release.set()
        return await asyncio.wait_for(stays, 5)

    assert asyncio.run(main()) == list(range(10))


def test_who_came_late_to_a_batch_is_not_refused_for_one_who_waited_long(monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 0.5)
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    begun = threading.Event()

    def prepare(jobs):
        if not begun.is_set():
            begun.set()
            time.sleep(0.45)
        elif pymongo._csot.remaining() < 0.1:
            raise NetworkTimeout("x")  # as pymongo does, where there is no time

    async def main():
        batch = batch_of(prepare)
        first = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.to_thread(begun.wait, 10)
        long_waiting = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.sleep(0.4)
        late = asyncio.create_task(together(batch, 1, lambda number: number))
        await asyncio.gather(first, long_waiting)
        return await late

    assert asyncio.run(main()) == [0]


def test_a_slow_list_is_answered_to_all_who_ask_for_it_at_once(connection, monkeypatch):
    monkeypatch.setattr(pool, "DEADLINE", 1)
    Slow(name="x").save()
    statuses = []
    with serve(ROUTES) as client:
        assert client.get("/slow").status == 200
        fail_point(connection, {"times": 20}, failCommands=["find"], blockConnection=True, blockTimeMS=600)
        queries = [
            threading.Thread(target=lambda: statuses.append(client.get("/slow").status)) for _ in range(20)
        ]
        for thread in queries:
            thread.start()
        for thread in queries:
            thread.join()
    assert statuses == [200] * 20


# Joint work


class Noted(Joint):
    """Notes how much was done at once."""

    def __init__(self, sizes, error=None):
        self.sizes, self.error = sizes, error

    def do(self, works):
        if self.error:
            raise self.error
        self.sizes.append(len(works))


async def in_turn(batch, stories, deliver=pool.nothing):
    """What several stories of one batch, which come at once, return or raise."""
    tasks = [pool.run(story, deliver, batch, None) for story in stories]
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_work_that_stories_of_a_batch_come_to_is_done_at_once(monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    sizes, gate = [], threading.Event()

    def story(number):
        gate.wait(10)
        yield Noted(sizes)
        if number % 2:
            raise ValueError(number)
        yield Noted(sizes)
        return number

    async def main():
        asyncio.get_running_loop().call_later(0.03, gate.set)
        return await in_turn(Batch(lambda jobs: None), map(story, range(9)))

    outcomes = asyncio.run(main())
    assert [str(outcome) for outcome in outcomes] == [str(number) for number in range(9)]
    assert [type(outcome) for outcome in outcomes] == [int, ValueError] * 4 + [int]
    assert sum(sizes) == 9 + 5
    assert len(sizes) <= 4  # those that came until the first began, and the rest, each twice


def test_work_of_a_story_alone_is_done_too():
    sizes = []

    def story():
        yield Noted(sizes)
        return "done"

    assert asyncio.run(pool.run(story(), pool.nothing)) == "done"
    assert sizes == [1]


def test_work_that_raises_ends_all_stories_that_came_to_it():
    def story():
        yield Noted([], ZeroDivisionError())

    outcomes = asyncio.run(in_turn(Batch(lambda jobs: None), [story() for _ in range(6)]))
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 6


def test_what_a_delivery_raised_is_raised_once_before_joint_work():
    sizes = []

    def story():
        try:
            yield "told"
        except ValueError:
            yield Noted(sizes)
        return "recovered"

    async def refuse(_):
        raise ValueError

    assert asyncio.run(pool.run(story(), refuse)) == "recovered"
    assert sizes == [1]
