"""Code knows which request is being served, wherever the code of that request runs."""

import asyncio
import http.client
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import mongoengine
import pytest
from mongoengine import Document, StringField
from tornado.web import Application, RequestHandler

import hive
from hive import ModelHandler, ModelHive, NotFoundHandler, Problem, signals
from hive.testing import serve
from tests.support.threads import PATIENCE

AT_ONCE = 20


class Note(Document):
    name = StringField()

    def clean(self):
        look("clean")

    def save(self, *args, **kwargs):
        look("save")
        return super().save(*args, **kwargs)


class Greeted(ModelHandler):
    """A handler that believes whoever says who they are."""

    def get_current_user(self):
        return self.request.headers.get("X-User")


class Plain(RequestHandler):
    """A neighbour of hive's handlers that is none of them."""

    def get(self):
        look("plain")
        hive_logger.warning("plain")


class Refusal(Problem):
    status = 418
    sentence = "Not for you."


seen = []
hive_logger = logging.getLogger("hive")
[NOTES] = ModelHive.routes_for(Note, scope=lambda queryset, handler: (look("scope"), queryset)[1])
ROUTES = [(NOTES.matcher.regex.pattern, Greeted, NOTES.target_kwargs), ("/plain", Plain)]
EVERY_SIGNAL = (*signals.LIFECYCLE, signals.request_started, signals.request_finished)
NAMES = {signal.name for signal in EVERY_SIGNAL}


def look(where):
    """Note what the context says here and now."""
    current = hive.context.get()
    facts = current and (current.request_id, current.current_user, current.handler, current.application)
    seen.append((where, facts, threading.current_thread().name))


def places():
    return [where for where, _, _ in seen]


def ids():
    return {facts and facts[0] for _, facts, _ in seen}


def receiver_for(name, *, asynchronous):
    def plain(sender, **arguments):
        look(name)

    async def coroutine(sender, **arguments):
        await asyncio.sleep(0)
        look(name)

    return coroutine if asynchronous else plain


def failing(sender):
    raise ZeroDivisionError


@pytest.fixture(autouse=True)
def nothing_seen():
    seen.clear()


@pytest.fixture
def application(mongomock_database):
    return Application(
        ROUTES, default_handler_class=NotFoundHandler, hive_trusted_clients=["127.0.0.1"], log_function=id
    )


@pytest.fixture
def client(application):
    with serve(application) as client:
        yield client


# Where it is known


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
def test_receivers_of_every_signal_know_the_request(application, asynchronous):
    note = Note(name="a").save()
    seen.clear()
    handlers = {}
    with ExitStack() as stack:
        for signal in EVERY_SIGNAL:
            receiver = receiver_for(signal.name, asynchronous=asynchronous)
            stack.enter_context(signal.connected_to(receiver))
            stack.enter_context(
                signal.connected_to(lambda _, handler: handlers.setdefault(handler.request_id, handler))
            )
        stack.enter_context(signals.post_create_instance.connected_to(failing))
        client = stack.enter_context(serve(application))
        for number, (method, path, body) in enumerate(
            [
                ("GET", "/note", None),
                ("GET", f"/note/{note.pk}", None),
                ("POST", "/note", {"name": "b"}),
                ("PUT", f"/note/{note.pk}", {"name": "c"}),
                ("DELETE", f"/note/{note.pk}", None),
            ]
        ):
            headers = {"X-User": f"user {number}", "X-Request-ID": f"id-{number}"}
            assert client.request(method, path, json=body, headers=headers).status < 300
    heard = [(where, facts, thread) for where, facts, thread in seen if where in NAMES]
    assert {where for where, _, _ in heard} == NAMES
    for _, (request_id, user, handler, app), thread in heard:
        assert request_id.removeprefix("id-") == user.removeprefix("user ")
        assert handler is handlers[request_id]
        assert isinstance(handler, Greeted)
        assert app is application
        assert thread == "served"


def test_the_pool_knows_the_request(client):
    reply = client.post("/note", json={"name": "a"}, headers={"X-User": "ann"})
    client.get("/note", headers={"X-Request-ID": "other"})
    request_id = reply.headers["X-Request-ID"]
    assert [(where, facts[:2]) for where, facts, _ in seen if facts[0] == request_id] == [
        ("save", (request_id, "ann")),
        ("clean", (request_id, "ann")),
    ]
    assert [(where, facts[:2]) for where, facts, _ in seen if facts[0] == "other"] == [
        ("scope", ("other", None))
    ]
    assert all(thread.startswith("hive") for _, _, thread in seen)


def test_signals_of_mongoengine_know_the_request(client):
    def stored(sender, document, **arguments):
        look("post_save")

    with mongoengine.signals.post_save.connected_to(stored, Note):
        reply = client.post("/note", json={"name": "a"})
        Note(name="b").save()
    assert [facts and facts[0] for where, facts, _ in seen if where == "post_save"] == [
        reply.headers["X-Request-ID"],
        None,
    ]


@pytest.mark.parametrize("listening", [False, True], ids=["nobody listens", "somebody listens"])
def test_the_pool_knows_the_request_whether_anybody_listens_or_not(client, listening):
    with ExitStack() as stack:
        for signal in signals.LIFECYCLE * listening:
            stack.enter_context(signal.connected_to(receiver_for(signal.name, asynchronous=True)))
        pk = client.post("/note", json={"name": "a"}, headers={"X-Request-ID": "one"}).json["id"]
        client.put(f"/note/{pk}", json={"name": "b"}, headers={"X-Request-ID": "one"})
        client.delete(f"/note/{pk}", headers={"X-Request-ID": "one"})
    assert {"scope", "save", "clean"} <= set(places())
    assert ids() == {"one"}


def test_tasks_and_threads_that_a_receiver_starts_know_the_request(application):
    async def work():
        await asyncio.sleep(0)
        look("task")
        await asyncio.to_thread(look, "thread of a task")

    tasks = []

    async def starts(sender):
        tasks.append(asyncio.create_task(work()))
        await asyncio.to_thread(look, "thread")
        asyncio.get_running_loop().call_soon(look, "callback")

    async def awaits(sender):
        await asyncio.gather(*tasks)

    with (
        signals.post_create_instance.connected_to(starts),
        signals.request_finished.connected_to(awaits),
        serve(application) as client,
    ):
        reply = client.post("/note", json={"name": "a"})
    assert {"task", "thread of a task", "thread", "callback"} <= set(places())
    assert ids() == {reply.headers["X-Request-ID"]}


def test_a_task_still_knows_its_request_when_that_is_over(application):
    over = threading.Event()
    tasks = []

    async def work():
        await asyncio.to_thread(over.wait, PATIENCE)
        look("late")

    def starts(sender):
        tasks.append(asyncio.create_task(work()))

    async def last(sender, handler):
        if handler.request_id == "last":
            over.set()
            await asyncio.gather(*tasks)

    with (
        signals.post_get_list.connected_to(starts),
        signals.request_finished.connected_to(last),
        serve(application) as client,
    ):
        client.get("/note", headers={"X-Request-ID": "first", "X-User": "ann"})
        client.get("/plain")
        client.post("/note", json={}, headers={"X-Request-ID": "last"})
    assert [facts[:2] for where, facts, _ in seen if where == "late"] == [("first", "ann")]


def test_the_not_found_handler_is_known_too(application):
    receiver = receiver_for("started", asynchronous=True)
    with signals.request_started.connected_to(receiver), serve(application) as client:
        reply = client.get("/nothing")
    [(_, (request_id, user, handler, _), _)] = seen
    assert request_id == reply.headers["X-Request-ID"]
    assert user is None
    assert isinstance(handler, NotFoundHandler)


def test_the_current_user_is_what_the_handler_says_at_the_time(client):
    users = []

    def signs_in(sender, handler):
        users.append(hive.context.get().current_user)
        handler.current_user = {"name": "Ann"}

    with (
        signals.pre_create_instance.connected_to(signs_in),
        signals.post_create_instance.connected_to(lambda _: users.append(hive.context.get().current_user)),
    ):
        client.post("/note", json={"name": "a"})
    assert users == [None, {"name": "Ann"}]


# Each request its own


def test_many_requests_at_once_each_know_their_own(client):
    arrived = []
    everyone = asyncio.Event()

    async def meets(sender, handler):
        arrived.append(handler.request_id)
        if len(arrived) == AT_ONCE:
            everyone.set()
        look("before")
        await asyncio.wait_for(everyone.wait(), PATIENCE)
        look("after")

    def ask(number):
        headers = {"X-Request-ID": f"id-{number}", "X-User": f"user-{number}"}
        return client.post("/note", json={"name": str(number)}, headers=headers, timeout=PATIENCE).status

    with (
        signals.pre_create_instance.connected_to(meets),
        signals.post_create_instance.connected_to(receiver_for("post", asynchronous=True)),
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        assert list(threads.map(ask, range(AT_ONCE))) == [201] * AT_ONCE
    for number in range(AT_ONCE):
        own = [where for where, facts, _ in seen if facts[:2] == (f"id-{number}", f"user-{number}")]
        assert own == ["before", "after", "save", "clean", "post"]
    assert len(seen) == 5 * AT_ONCE


def test_requests_on_one_connection_differ(client):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    told = []
    for path in ("/note", "/note", "/plain", "/note"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        told.append(response.headers["X-Request-ID"])
    connection.close()
    assert places() == ["scope", "scope", "plain", "scope"]
    assert [facts and facts[0] for _, facts, _ in seen] == told
    assert told[2] is None
    assert len(set(told)) == 4


def test_it_is_empty_again_after_requests_and_in_tasks_started_outside(client):
    loops = []
    with signals.pre_get_list.connected_to(lambda _: loops.append(asyncio.get_running_loop())):
        client.get("/note")

    async def outside():
        await asyncio.sleep(0)
        look("loop")
        await asyncio.to_thread(look, "thread")

    seen.clear()
    asyncio.run_coroutine_threadsafe(outside(), loops[0]).result(PATIENCE)
    Note(name="a").save()
    assert [(where, facts) for where, facts, _ in seen] == [
        ("loop", None),
        ("thread", None),
        ("save", None),
        ("clean", None),
    ]
    assert hive.context.get() is None


def test_a_request_that_fails_leaves_nothing_behind(client):
    def refuses(sender):
        look("refuses")
        raise Refusal

    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
    with signals.pre_get_list.connected_to(refuses):
        connection.request("GET", "/note", headers={"X-Request-ID": "first"})
        assert connection.getresponse().read()
    connection.request("GET", "/plain")
    assert connection.getresponse().read() == b""
    connection.close()
    assert [(where, facts and facts[0]) for where, facts, _ in seen] == [
        ("refuses", "first"),
        ("plain", None),
    ]


# The log


def test_a_line_of_the_log_ends_with_the_id_of_its_request(client, caplog):
    with (
        caplog.at_level(logging.DEBUG, "hive"),
        signals.post_get_list.connected_to(lambda _: hive_logger.debug("%d of %s", 2, "100%s")),
    ):
        reply = client.get("/note")
    [record] = [record for record in caplog.records if record.name == "hive"]
    request_id = reply.headers["X-Request-ID"]
    assert record.getMessage() == f"2 of 100%s [request {request_id}]"
    assert record.request_id == request_id


def test_lines_of_the_pool_of_threads_and_of_tasks_have_the_id_too(application, caplog):
    async def coroutine(sender):
        await asyncio.to_thread(hive_logger.warning, "%s", "thread")
        await asyncio.create_task(speak())

    async def speak():
        hive_logger.warning("task")

    def stored(sender, document, **arguments):
        hive_logger.warning("pool")

    with (
        mongoengine.signals.post_save.connected_to(stored, Note),
        signals.post_create_instance.connected_to(failing),
        signals.request_finished.connected_to(coroutine),
        serve(application) as client,  # the last to come, for it goes first: then the end has been told
    ):
        request_id = client.post("/note", json={"name": "a"}).headers["X-Request-ID"]
    records = [record for record in caplog.records if record.name == "hive"]
    assert [record.getMessage() for record in records] == [
        f"pool [request {request_id}]",
        f"{__name__}.failing failed on post_create_instance [request {request_id}]",
        f"thread [request {request_id}]",
        f"task [request {request_id}]",
    ]
    assert {record.request_id for record in records} == {request_id}


def test_lines_of_a_handler_that_is_not_of_hive_have_no_id(client, caplog):
    client.get("/note")
    client.get("/plain")
    [record] = [record for record in caplog.records if record.name == "hive"]
    assert record.getMessage() == "plain"
    assert record.request_id is None


def test_lines_of_requests_at_once_have_each_their_own_id(client, caplog):
    arrived = []
    everyone = asyncio.Event()

    async def speaks(sender, handler):
        arrived.append(handler)
        if len(arrived) == AT_ONCE:
            everyone.set()
        await asyncio.wait_for(everyone.wait(), PATIENCE)
        hive_logger.warning("I am %s", handler.request_id)

    with signals.pre_get_list.connected_to(speaks), ThreadPoolExecutor(AT_ONCE) as threads:
        replies = list(threads.map(lambda _: client.get("/note", timeout=PATIENCE), range(AT_ONCE)))
    told = {reply.headers["X-Request-ID"] for reply in replies}
    assert len(told) == AT_ONCE
    assert sorted(record.getMessage() for record in caplog.records if record.name == "hive") == sorted(
        f"I am {request_id} [request {request_id}]" for request_id in told
    )
