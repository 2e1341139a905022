"""Receivers hear the requests to one application only, beside those who hear the whole process."""

import asyncio
import gc
import threading
import weakref
from contextlib import contextmanager

import pytest
from mongoengine import Document, StringField
from tornado.web import Application, RequestHandler

from hive import ModelHive, NotFoundHandler, signals
from hive.errors import Forbidden
from hive.signals import ANY, Namespace, receiver
from hive.testing import serve
from tests.support.threads import PATIENCE, in_thread, wait_for

CREATED = signals.post_create_instance
noticed = Namespace().signal("noticed", "For tests.", ("what",))


class Fish(Document):
    meta = {"allow_inheritance": True}
    name = StringField()


class Shark(Fish):
    pass


class Bird(Document):
    name = StringField()

    def clean(self):
        noticed.send(Bird, what=self.name)


class Plain(RequestHandler):
    """Not one of hive's."""

    def get(self):
        noticed.send(Plain, what="plain")


class Hears:
    """A receiver of anything, which remembers the senders."""

    def __init__(self):
        self.senders = []

    def __call__(self, sender):
        self.senders.append(sender)


def application():
    routes = [*ModelHive.routes_for(Fish), *ModelHive.routes_for(Bird), ("/plain", Plain)]
    return Application(routes, default_handler_class=NotFoundHandler)


@pytest.fixture(autouse=True)
def nobody_is_left():
    every = [*signals.core.values(), noticed]
    before = [set(signal.receivers) for signal in every]
    yield
    gc.collect()
    assert [set(signal.receivers) for signal in every] == before


@pytest.fixture
def connect():
    """Gives what connects a receiver until the test ends, and tells it: ``connect(signal, ...)``."""
    connected = []

    def connect(signal, hears=None, sender=ANY, **how):
        hears = hears or Hears()
        connected.append((signal, hears, how.get("dispatch_uid")))
        return signal.connect(hears, sender, weak=False, **how)

    yield connect
    for signal, hears, uid in connected:
        signal.disconnect(hears, dispatch_uid=uid)


@pytest.fixture
def red():
    return application()


@pytest.fixture
def blue():
    return application()


@pytest.fixture
def clients(mongomock_database, red, blue):
    """One for each of two applications in one process."""
    with serve(red) as to_red, serve(blue) as to_blue:
        yield to_red, to_blue


def post_fish(client, name="Nemo"):
    reply = client.post("/fish", json={"_cls": "Fish", "name": name}, timeout=PATIENCE)
    assert reply.status == 201
    return reply


# Who hears what


def test_who_names_no_application_hears_all(clients, connect):
    hears = connect(CREATED)
    for client in clients:
        post_fish(client)
    assert hears.senders == [Fish, Fish]


@pytest.mark.parametrize("index", [0, 1], ids=["red", "blue"])
def test_who_names_an_application_hears_requests_to_that_only(clients, connect, red, blue, index):
    hears = connect(CREATED, application=(red, blue)[index])
    post_fish(clients[1 - index])
    assert hears.senders == []
    post_fish(clients[index])
    assert hears.senders == [Fish]


def test_coroutine_functions_are_limited_too(clients, connect, red):
    heard = []

    async def coroutine(sender, instance):
        await asyncio.sleep(0)
        heard.append(instance.name)

    connect(CREATED, coroutine, application=red)
    post_fish(clients[1], "blue")
    post_fish(clients[0], "red")
    assert heard == ["red"]


def test_sender_and_application_both_count(clients, connect, red):
    hears = connect(CREATED, sender=Fish, application=red)
    for client in clients:
        client.post("/bird", json={"name": "Robin"})
        client.post("/fish", json={"_cls": "Fish.Shark", "name": "Jaws"})
    assert hears.senders == [Shark]


def test_one_receiver_of_two_applications_hears_each_once(clients, connect, red, blue):
    hears = connect(CREATED, application=red)
    connect(CREATED, hears, application=blue)
    for client in clients:
        post_fish(client)
    assert hears.senders == [Fish, Fish]


def test_one_that_also_hears_everything_is_called_once_for_a_request(clients, connect, red):
    hears = connect(CREATED)
    connect(CREATED, hears, application=red)
    connect(CREATED, hears, sender=Fish, application=red)
    for client in clients:
        post_fish(client)
    assert hears.senders == [Fish, Fish]


def test_the_order_is_that_of_connecting_limited_or_not(clients, connect, red):
    order = []

    def hearing(name):
        return lambda sender: order.append(name)

    connect(CREATED, hearing(1), application=red)
    connect(CREATED, hearing(2))
    connect(CREATED, hearing(3), sender=Fish, application=red)
    post_fish(clients[0])
    assert order == [1, 2, 3]


def test_a_refusal_holds_in_its_application_only(clients, connect, red):
    def refuse(sender):
        raise Forbidden

    connect(signals.pre_create_instance, refuse, application=red)
    assert clients[0].post("/bird", json={"name": "Robin"}).status == 403
    assert clients[1].post("/bird", json={"name": "Robin"}).status == 201


def test_the_failure_of_a_receiver_is_told_in_its_application_only(clients, connect, red, blue):
    def fail(sender):
        raise ZeroDivisionError

    connect(CREATED, fail)
    hears = connect(signals.receiver_failed, application=red)
    post_fish(clients[1])
    assert hears.senders == []
    post_fish(clients[0])
    assert hears.senders == [Fish]


def test_start_and_end_of_a_request_are_told_in_its_application_also_of_unknown_paths(
    mongomock_database, connect, red, blue
):
    started = connect(signals.request_started, application=red)
    finished = connect(signals.request_finished, application=red)
    with serve(red) as to_red, serve(blue) as to_blue:
        for client in (to_red, to_blue):
            assert client.get("/fish").status == 200
            assert client.get("/nothing").status == 404
    assert started.senders == finished.senders == [red, red]


def test_the_decorator_takes_an_application(clients, red):
    heard = []

    @receiver([CREATED, signals.post_delete_instance], application=red)
    def hears(sender, signal):
        heard.append(signal)

    for client in clients:
        client.delete(post_fish(client).headers["Location"])
    assert heard == [CREATED, signals.post_delete_instance]


def test_a_uid_is_taken_in_one_application_only(clients, connect, red, blue):
    first, rival, other = (
        connect(CREATED, application=where, dispatch_uid="one") for where in (red, red, blue)
    )
    for client in clients:
        post_fish(client)
    assert (first.senders, rival.senders, other.senders) == ([Fish], [], [Fish])


# Signals of one's own


def plain_send(sender):
    noticed.send(sender, what="by a function")


async def send_in_coroutine(sender):
    await noticed.send_async(sender, what="by a coroutine")


async def send_in_thread(sender):
    await asyncio.to_thread(noticed.send, sender, what="in a thread")


async def send_in_task(sender):
    await asyncio.create_task(noticed.send_robust_async(sender, what="in a task"))


@pytest.mark.parametrize("sends", [plain_send, send_in_coroutine, send_in_thread, send_in_task])
def test_what_a_receiver_sends_stays_in_its_application(clients, connect, red, blue, sends):
    connect(CREATED, sends)
    in_red, in_blue, anywhere = (connect(noticed, application=where) for where in (red, blue, None))
    post_fish(clients[0])
    assert (in_red.senders, in_blue.senders, anywhere.senders) == ([Fish], [], [Fish])


def test_what_a_document_sends_in_the_pool_stays_in_its_application(clients, connect, red, blue):
    in_red, in_blue = (connect(noticed, application=where) for where in (red, blue))
    assert clients[1].post("/bird", json={"name": "Robin"}).status == 201
    assert (in_red.senders, in_blue.senders) == ([], [Bird])


def test_what_a_task_sends_after_the_answer_stays_in_its_application(clients, connect, red, blue):
    answered, sent, tasks = threading.Event(), threading.Event(), []

    async def later():
        await asyncio.to_thread(answered.wait, PATIENCE)
        noticed.send("later", what="after the answer")
        sent.set()

    in_red, in_blue = (connect(noticed, application=where) for where in (red, blue))
    connect(CREATED, lambda sender: tasks.append(asyncio.create_task(later())))
    post_fish(clients[0])
    answered.set()
    assert sent.wait(PATIENCE)
    assert (in_red.senders, in_blue.senders) == (["later"], [])


def test_a_request_from_within_another_is_heard_where_it_goes_to(clients, connect, red, blue):
    to_red, to_blue = clients

    async def pass_on(sender):
        await asyncio.to_thread(to_blue.post, "/bird", json={"name": "Robin"})
        noticed.send(sender, what="back in red")

    connect(CREATED, pass_on, application=red)
    in_red, in_blue = (connect(noticed, application=where) for where in (red, blue))
    post_fish(to_red)
    assert (in_red.senders, in_blue.senders) == ([Fish], [Bird])


def test_requests_at_the_same_time_do_not_mix(clients, connect, red, blue):
    to_red, to_blue = clients
    waiting, release = threading.Event(), threading.Event()

    async def wait_in_red(sender):
        waiting.set()
        assert await asyncio.to_thread(release.wait, PATIENCE)
        noticed.send("red", what="after blue was served")

    connect(CREATED, wait_in_red, application=red)
    in_red, in_blue = (connect(noticed, application=where) for where in (red, blue))
    with in_thread(lambda: post_fish(to_red)):
        try:
            assert waiting.wait(PATIENCE)
            to_blue.post("/bird", json={"name": "Robin"})
        finally:
            release.set()
    assert (in_red.senders, in_blue.senders) == (["red"], [Bird])


# Outside of a request


def test_the_handlers_of_others_are_outside(clients, connect, red):
    limited, anywhere = connect(noticed, application=red), connect(noticed)
    assert clients[0].get("/plain").status == 200
    assert (limited.senders, anywhere.senders) == ([], [Plain])


# The end of a connection


def test_disconnecting_from_one_application_leaves_the_other(clients, connect, red, blue):
    hears = connect(CREATED, application=red)
    connect(CREATED, hears, application=blue)
    assert CREATED.disconnect(hears, application=red)
    assert not CREATED.disconnect(hears, application=red)
    post_fish(clients[0])
    assert hears.senders == []
    post_fish(clients[1])
    assert hears.senders == [Fish]


def test_disconnecting_from_one_application_leaves_a_connection_to_all(clients, connect, red):
    hears = connect(CREATED)
    assert not CREATED.disconnect(hears, application=red)
    post_fish(clients[0])
    assert hears.senders == [Fish]


def test_disconnecting_without_an_application_is_from_all(clients, connect, red, blue):
    hears = connect(CREATED, application=red)
    connect(CREATED, hears, application=blue)
    connect(CREATED, hears)
    assert CREATED.disconnect(hears)
    for client in clients:
        post_fish(client)
    assert hears.senders == []


def test_a_sender_and_an_application_end_one_connection(clients, connect, red, blue):
    hears = connect(CREATED, sender=Fish, application=red)
    connect(CREATED, hears, sender=Bird, application=red)
    connect(CREATED, hears, sender=Fish, application=blue)
    assert CREATED.disconnect(hears, Fish, application=red)
    for client in clients:
        post_fish(client)
        client.post("/bird", json={"name": "Robin"})
    assert hears.senders == [Bird, Fish]


@contextmanager
def gone(*, served):
    """An application until the end of the block, perhaps one that has served a request."""
    mortal = application()
    yield mortal
    if served:
        with serve(mortal) as client:
            post_fish(client)
    known = weakref.ref(mortal)
    del mortal
    wait_for(lambda: gc.collect() >= 0 and known() is None)  # its thread may let go a moment later


@pytest.mark.parametrize("served", [False, True], ids=["idle", "served"])
def test_an_application_takes_its_connections_along(mongomock_database, connect, served):
    limited, sensitive, anywhere = Hears(), Hears(), connect(CREATED)
    with gone(served=served) as mortal:
        connect(CREATED, limited, application=mortal)
        connect(CREATED, sensitive, Fish, application=mortal)
        connect(CREATED, anywhere, application=mortal)
        assert len(CREATED.receivers) == 3
        del mortal
    assert list(CREATED.receivers.values()) == [anywhere]
    assert len(limited.senders) == len(sensitive.senders) == len(anywhere.senders) == served
    assert not CREATED.disconnect(limited)
    with serve(application()) as client:
        post_fish(client)
    assert len(anywhere.senders) == served + 1
