"""The start and the end of each request are told, around all other signals."""

import asyncio
import http.client
import re
import socket
import threading
from contextlib import contextmanager
from operator import attrgetter

import pytest
from mongoengine import Document, StringField
from tornado.web import Application

from hive import ModelHive, NotFoundHandler, signals, testing
from hive.testing import connected, recorded, serve
from tests.support.threads import PATIENCE

MADE = re.compile(r"[0-9a-f]{32}")


class Leaf(Document):
    name = StringField()


ROUTES = ModelHive.routes_for(Leaf)


def explode(sender):
    raise ZeroDivisionError


def application(**settings):
    return Application(
        ROUTES, **{"default_handler_class": NotFoundHandler, "hive_body_limit": 1000} | settings
    )


def any_answer(client):
    """A request for each kind of answer, with its status."""
    pk = Leaf(name="a").save().pk
    yield 200, client.get("/leaf")
    yield 200, client.get(f"/leaf/{pk}")
    yield 200, client.request("HEAD", f"/leaf/{pk}")
    yield 304, client.get("/leaf", headers={"If-None-Match": "*"})
    yield 201, client.post("/leaf", json={"name": "b"})
    yield 204, client.request("OPTIONS", "/leaf")
    yield 204, client.delete(f"/leaf/{pk}")
    yield 400, client.post("/leaf", json={"nme": "b"})
    yield 400, client.post("/leaf", body=b"{", headers={"Content-Type": "application/json"})
    yield 404, client.get(f"/leaf/{pk}")
    yield 404, client.request("HEAD", f"/leaf/{pk}")
    yield 404, client.get("/nothing")
    yield 404, client.post("/nothing", json={})
    yield 405, client.put("/leaf", json={})
    yield 405, client.request("BREW", "/leaf")
    yield 413, client.post("/leaf", json={"name": "b" * 1000})
    yield 413, client.request("POST", "/leaf", headers={"Content-Length": str(2**27)})
    yield 415, client.post("/leaf", body=b"<a/>", headers={"Content-Type": "text/xml"})
    with signals.pre_get_list.connected_to(explode):
        yield 500, client.get("/leaf")
        yield 500, client.request("HEAD", "/leaf")


@contextmanager
def told(app):
    """The pairs of start and end, as they are after the server has ended."""
    with recorded(signals.request_started, signals.request_finished) as heard, serve(app) as client:
        yield client, heard


def pairs(heard):
    """Of each request, by id, what was told of it."""
    found = {}
    for name, _, arguments in heard:
        request_id = arguments["handler"].request_id
        found.setdefault(request_id, []).append((name, arguments.get("status", "started")))
    return found


def test_each_request_has_an_id_starts_once_and_ends_once_with_the_status_of_its_answer(mongomock_database):
    app, replies = application(), []
    with told(app) as (client, heard):
        replies += any_answer(client)
    assert {sender for _, sender, _ in heard} == {app}
    assert [reply.status for _, reply in replies] == [status for status, _ in replies]
    ids = [request_id for _, reply in replies for request_id in reply.headers.get_all("X-Request-ID")]
    assert all(MADE.fullmatch(request_id) for request_id in ids)
    assert len(set(ids)) == len(ids) == len(replies)
    assert pairs(heard) == {
        reply.headers["X-Request-ID"]: [("request_started", "started"), ("request_finished", status)]
        for status, reply in replies
    }


def test_an_answer_without_a_database_has_an_id_and_a_pair_too():
    app = Application(ModelHive.routes_for(Leaf, deadline=0.1))
    with connected("away", host="mongodb://127.0.0.1:1"), told(app) as (client, heard):
        reply = client.get("/leaf", headers={"X-Request-ID": "mine"})
    assert reply.status == 503
    assert MADE.fullmatch(reply.headers["X-Request-ID"])
    assert pairs(heard) == {
        reply.headers["X-Request-ID"]: [("request_started", "started"), ("request_finished", 503)]
    }


def test_they_are_around_all_other_signals(mongomock_database):
    app = application()
    everything = (*signals.LIFECYCLE, signals.request_started, signals.request_finished)
    with recorded(*everything) as heard, serve(app) as client:
        client.post("/leaf", json={"name": "a"})
    assert [name for name, _, _ in heard] == [
        "request_started",
        "pre_create_instance",
        "post_create_instance",
        "request_finished",
    ]
    assert len({id(arguments["handler"]) for _, _, arguments in heard}) == 1


def test_they_can_be_heard_for_one_application(mongomock_database):
    one, other, heard = application(), application(), []
    with (
        signals.request_started.connected_to(heard.append, one),
        signals.request_finished.connected_to(heard.append, one),
        serve(one) as first,
        serve(other) as second,
    ):
        first.get("/leaf")
        second.get("/leaf")
        second.get("/nothing")
    assert heard == [one, one]


def test_many_requests_on_one_connection_each_have_their_pair(mongomock_database):
    with told(application()) as (client, heard):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=PATIENCE)
        for path in ("/leaf", "/nothing", "/leaf/nobody"):
            connection.request("GET", path)
            connection.getresponse().read()
        connection.close()
    assert list(pairs(heard).values()) == [
        [("request_started", "started"), ("request_finished", status)] for status in (200, 404, 404)
    ]


def open_socket(client, *lines):
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE)
    connection.sendall(b"\r\n".join(lines))
    return connection


@pytest.mark.parametrize(
    "lines",
    [
        (b"POST /leaf HTTP/1.1", b"Host: x", b"Content-Length: 100", b"", b'{"name"'),
        (b"POST /leaf HTTP/1.1", b"Host: x", b"Content-Length: 100", b"", b""),
        (b"POST /leaf HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", b"", b"7", b'{"name"', b"9", b""),
        (b"PUT /leaf/x HTTP/1.1", b"Host: x", b"Content-Length: 5000", b"", b"x" * 4000),
        (b"POST /nothing HTTP/1.1", b"Host: x", b"Content-Length: 100", b"", b"{"),
        (b"POST /leaf HTTP/1.1", b"Host: x"),
    ],
    ids=["in its body", "before its body", "in chunks", "in a large body", "to nowhere", "in its headers"],
)
def test_nothing_is_told_of_a_request_that_never_arrives_as_a_whole(mongomock_database, lines):
    with told(application()) as (client, heard):
        connection = open_socket(client, *lines)
        assert client.get("/leaf").status == 200
        connection.close()
        assert client.get("/leaf").status == 200
    assert list(pairs(heard).values()) == [[("request_started", "started"), ("request_finished", 200)]] * 2
    assert Leaf.objects.count() == 0


def test_nothing_is_told_of_a_request_that_tornado_itself_cannot_read(mongomock_database):
    lines = (b"POST /leaf HTTP/1.1", b"Host: x", b"Transfer-Encoding: chunked", b"", b"no", b"")
    with told(application()) as (client, heard), open_socket(client, *lines) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")
    assert heard == []


@pytest.mark.parametrize(
    "signal", [signals.pre_create_instance, signals.post_create_instance], ids=attrgetter("name")
)
def test_a_client_that_goes_away_while_the_server_works_ends_once_too(mongomock_database, signal):
    reached = threading.Event()

    async def sees_it_go(sender, handler):
        reached.set()
        async with asyncio.timeout(PATIENCE):
            while not handler.request.connection.stream.closed():  # noqa: ASYNC110 - has no event
                await asyncio.sleep(0.001)

    body = b'{"name": "a"}'
    lines = (
        b"POST /leaf HTTP/1.1",
        b"Host: x",
        b"Content-Type: application/json",
        b"Content-Length: 13",
        b"",
    )
    with signal.connected_to(sees_it_go), told(application()) as (client, heard):
        connection = open_socket(client, *lines, body)
        assert reached.wait(PATIENCE)
        connection.close()
    assert list(pairs(heard).values()) == [[("request_started", "started"), ("request_finished", 201)]]
    assert Leaf.objects.count() == 1


def test_a_client_that_goes_away_while_its_start_is_told_ends_once_too(mongomock_database):
    reached = threading.Event()

    async def sees_it_go(sender, handler):
        reached.set()
        async with asyncio.timeout(PATIENCE):
            while not handler.request.connection.stream.closed():  # noqa: ASYNC110 - has no event
                await asyncio.sleep(0.001)

    with signals.request_started.connected_to(sees_it_go), told(application()) as (client, heard):
        connection = open_socket(client, b"GET /leaf HTTP/1.1", b"Host: x", b"", b"")
        assert reached.wait(PATIENCE)
        connection.close()
    assert list(pairs(heard).values()) == [[("request_started", "started"), ("request_finished", 200)]]


def test_coroutines_hear_them_too(mongomock_database):
    heard = []

    async def start(sender, handler):
        await asyncio.sleep(0)
        heard.append("start")

    async def end(sender, handler, status):
        await asyncio.sleep(0)
        heard.append(status)

    with (
        signals.request_started.connected_to(start),
        signals.request_finished.connected_to(end),
        signals.pre_get_list.connected_to(lambda _: heard.append("get")),
        serve(application()) as client,
    ):
        client.get("/leaf")
    assert heard == ["start", "get", 200]


@pytest.mark.parametrize(
    ("signal", "path", "asynchronous"),
    [
        (signals.request_started, "/leaf", False),
        (signals.request_started, "/nothing", True),
        (signals.request_finished, "/leaf", True),
        (signals.request_finished, "/nothing", False),
    ],
)
def test_what_their_receivers_raise_does_not_change_the_answer(
    mongomock_database, signal, path, asynchronous, caplog
):
    def plain(sender):
        raise KeyError("inside")

    async def coroutine(sender):
        await asyncio.sleep(0)
        raise KeyError("inside")

    bad, others = coroutine if asynchronous else plain, []
    app = application()
    with (
        signal.connected_to(bad),
        signal.connected_to(others.append),
        recorded(signals.receiver_failed) as failed,
        serve(app) as client,
    ):
        reply = client.get(path)
    assert reply.status == {"/leaf": 200, "/nothing": 404}[path]
    assert b"inside" not in reply.body
    assert others == [app]
    [(_, sender, arguments)] = failed
    assert sender is app
    assert (arguments["signal"], arguments["receiver"]) == (signal, bad)
    assert isinstance(arguments["error"], KeyError)
    assert arguments["handler"].request_id == reply.headers["X-Request-ID"]
    [record] = [record for record in caplog.records if record.name == "hive"]
    assert record.exc_info[1] is arguments["error"]
    assert record.getMessage().endswith(
        f"{bad.__qualname__} failed on {signal.name} [request {reply.headers['X-Request-ID']}]"
    )


def test_the_end_is_told_before_the_server_of_a_test_ends(mongomock_database):
    reached, release, ended = threading.Event(), threading.Event(), []

    async def slow(sender, status):
        reached.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        await asyncio.sleep(0.05)
        ended.append(status)

    with signals.request_finished.connected_to(slow):
        with serve(application()) as client:
            assert client.get("/leaf").status == 200  # nobody waits for those who hear of its end
            assert reached.wait(PATIENCE)
            assert ended == []
            release.set()
        assert ended == [200]


def test_a_server_of_a_test_does_not_wait_for_the_ends_of_another(mongomock_database, monkeypatch):
    monkeypatch.setattr(testing, "SECONDS_TO_END", 2 * PATIENCE)
    reached, release, ended = threading.Event(), threading.Event(), []
    one, other = application(), application()

    async def slow(sender):
        reached.set()
        await asyncio.to_thread(release.wait, PATIENCE)
        ended.append(release.is_set())

    with signals.request_finished.connected_to(slow, one), serve(one) as client:
        client.get("/leaf")
        assert reached.wait(PATIENCE)
        with serve(other) as second:
            second.get("/leaf")
        assert ended == []  # the other has ended, and this one still waits
        release.set()
    assert ended == [True]
