"""The id of a request, its start and its end, and the signal of the routes: what is around the verbs."""

import asyncio
import http.client
import logging
import re
import socket
import threading
from contextlib import contextmanager
from operator import attrgetter

import pytest
from mongoengine import Document, StringField
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from hive import ModelHandler, ModelHive, NotFoundHandler, signals
from hive.testing import connected, recorded, serve

MADE = re.compile(r"[0-9a-f]{32}")
SEEN_LINE = "The setting hive_trusted_clients is not understood"


class Leaf(Document):
    meta = {"allow_inheritance": True}
    name = StringField()


class Needle(Leaf):
    pass


ROUTES = ModelHive.routes_for(Leaf)


def explode(sender):
    raise ZeroDivisionError


def application(**settings):
    return Application(
        ROUTES, **{"default_handler_class": NotFoundHandler, "hive_body_limit": 1000} | settings
    )


@pytest.fixture
def client(mongomock_database):
    with serve(application()) as client:
        yield client


@pytest.fixture
def trusting(mongomock_database):
    with serve(application(hive_trusted_clients=["127.0.0.1"])) as client:
        yield client


def listening(listener, served, **options):
    """Serve an application on a socket of one's own."""
    return serve(served, server=options, sockets=[listener])


def ask(family, address, *headers, line=b"GET /leaf HTTP/1.1", body=b""):
    """One request in bytes; gives the answer's status, headers and body."""
    with socket.socket(family) as connection:
        connection.settimeout(10)
        connection.connect(address)
        connection.sendall(b"\r\n".join([line, b"Host: x", b"Connection: close", *headers, b"", body]))
        method = line.split()[0].decode()
        with http.client.HTTPResponse(connection, method=method) as response:
            response.begin()
            return response.status, response.headers, response.read()


def id_told(client, *headers):
    """The id of a request that came with these headers, as its answer says."""
    status, answer, _ = ask(socket.AF_INET, ("127.0.0.1", client.port), *headers)
    assert status == 200
    [told] = answer.get_all("X-Request-ID")
    return told


# X-Request-ID


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


def test_every_answer_has_an_id_of_its_own(client):
    told = []
    for status, reply in any_answer(client):
        assert reply.status == status, reply
        told += reply.headers.get_all("X-Request-ID")
        if status == 500 and reply.body:
            assert reply.json["request_id"] == told[-1]
    assert all(MADE.fullmatch(request_id) for request_id in told), told
    assert len(set(told)) == len(told) == 20


def test_the_500_of_a_trusted_client_has_its_id_in_header_body_and_log(trusting, caplog):
    with signals.pre_get_list.connected_to(explode):
        reply = trusting.get("/leaf", headers={"X-Request-ID": "my-own"})
    assert reply.status == 500
    assert reply.headers.get_all("X-Request-ID") == ["my-own"]
    assert reply.json["request_id"] == "my-own"
    [record] = [record for record in caplog.records if record.name == "hive"]
    assert record.getMessage().endswith("[request my-own]")


def test_every_answer_to_a_trusted_client_has_its_id(trusting):
    headers = {"X-Request-ID": "mine"}
    for method, path, status in [
        ("GET", "/leaf", 200),
        ("HEAD", "/leaf", 200),
        ("OPTIONS", "/leaf", 204),
        ("POST", "/leaf", 415),
        ("PUT", "/leaf", 405),
        ("BREW", "/leaf", 405),
        ("GET", "/leaf/nobody", 404),
        ("GET", "/nothing", 404),
    ]:
        reply = trusting.request(method, path, headers=headers)
        assert (reply.status, reply.headers.get_all("X-Request-ID")) == (status, ["mine"])


TAKEN = [b"x", b"a" * 128, b"00-4bf92f-01", b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", b"1,2", b"%s%(x)d"]
NOT_TAKEN = {
    "empty": [b"X-Request-ID: "],
    "too long": [b"X-Request-ID: " + b"a" * 129],
    "much too long": [b"X-Request-ID: " + b"a" * 10_000],
    "a space": [b"X-Request-ID: a b"],
    "a tab": [b"X-Request-ID: a\tb"],
    "not ASCII": [b"X-Request-ID: caf\xc3\xa9"],
    "Latin-1": [b"X-Request-ID: caf\xe9"],
    "sent twice": [b"X-Request-ID: one", b"X-Request-ID: two"],
    "sent twice the same": [b"X-Request-ID: one", b"X-Request-ID: one"],
    "not sent": [],
}


@pytest.mark.parametrize("own", TAKEN, ids=range(len(TAKEN)))
def test_a_trusted_client_may_name_its_request(trusting, own):
    assert id_told(trusting, b"X-Request-ID: " + own) == own.decode()
    assert id_told(trusting, b"x-request-id:" + own + b"  ") == own.decode()


@pytest.mark.parametrize("headers", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_an_id_that_could_break_a_line_is_not_taken(trusting, headers):
    assert MADE.fullmatch(id_told(trusting, *headers))


@pytest.mark.parametrize("control", [b"\x00", b"\x07", b"\x1b[31m", b"\x7f", b"\x85"])
def test_control_characters_are_not_taken(trusting, control):
    address = (socket.AF_INET, ("127.0.0.1", trusting.port))
    status, headers, _ = ask(*address, b"X-Request-ID: a" + control + b"b")
    told = headers.get("X-Request-ID")
    assert (status, told) == (400, None) or (status == 200 and MADE.fullmatch(told))


def test_nobody_is_trusted_by_default(client):
    assert MADE.fullmatch(id_told(client, b"X-Request-ID: mine"))


HERE = [
    (["127.0.0.1"], True),
    (["127.0.0.0/8"], True),
    (["127.0.0.9/8"], True),
    (["10.0.0.0/8", "127.0.0.1/32"], True),
    (("127.0.0.1",), True),
    ({"127.0.0.1"}, True),
    (["0.0.0.0/0"], True),
    (["::1"], False),
    (["::/0"], False),
    (["10.0.0.0/8", "fe80::/10", "unix"], False),
    (["127.0.0.2"], False),
    ([], False),
]


@pytest.mark.parametrize(("trusted", "taken"), HERE, ids=[str(trusted) for trusted, _ in HERE])
def test_who_is_trusted_is_said_by_addresses_and_networks(mongomock_database, trusted, taken):
    with serve(application(hive_trusted_clients=trusted)) as client:
        assert (id_told(client, b"X-Request-ID: mine") == "mine") is taken


def ipv6_listener(*, dual):
    listener = socket.socket(socket.AF_INET6)
    try:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        listener.bind(("::" if dual else "::1", 0))
    except OSError:
        listener.close()
        pytest.skip("There is no IPv6 on this machine.")
    listener.setblocking(False)
    listener.listen()
    return listener


@pytest.mark.parametrize(
    ("trusted", "taken"),
    [
        (["::1"], True),
        (["::/64"], True),
        (["127.0.0.1"], False),
        (["unix"], False),
        (["2001:db8::/32"], False),
    ],
    ids=str,
)
def test_ipv6_clients_are_told_apart_too(mongomock_database, trusted, taken):
    listener = ipv6_listener(dual=False)
    with listening(listener, application(hive_trusted_clients=trusted)):
        _, headers, _ = ask(socket.AF_INET6, listener.getsockname()[:2], b"X-Request-ID: mine")
    assert (headers["X-Request-ID"] == "mine") is taken


@pytest.mark.parametrize(
    ("trusted", "taken"),
    [(["127.0.0.1"], True), (["127.0.0.0/8"], True), (["10.0.0.0/8"], False), (["::1"], False)],
    ids=str,
)
def test_an_ipv4_client_of_an_ipv6_socket_is_known_by_its_ipv4_address(mongomock_database, trusted, taken):
    listener = ipv6_listener(dual=True)
    with listening(listener, application(hive_trusted_clients=trusted)):
        address = ("127.0.0.1", listener.getsockname()[1])
        _, headers, _ = ask(socket.AF_INET, address, b"X-Request-ID: mine")
    assert (headers["X-Request-ID"] == "mine") is taken


@pytest.mark.parametrize(
    ("trusted", "taken"),
    [
        (["unix"], True),
        (["10.0.0.0/8", "unix"], True),
        (["127.0.0.1", "0.0.0.0/0", "::/0"], False),
        ([], False),
    ],
    ids=str,
)
def test_clients_of_a_unix_socket_are_trusted_together(mongomock_database, tmp_path, trusted, taken):
    path = str(tmp_path / "s")
    with listening(bind_unix_socket(path), application(hive_trusted_clients=trusted)):
        _, headers, _ = ask(socket.AF_UNIX, path, b"X-Request-ID: mine")
    assert (headers["X-Request-ID"] == "mine") is taken


@pytest.mark.parametrize(
    ("trusted", "taken"), [(["127.0.0.1"], True), (["10.1.1.1"], False)], ids=["its own", "the forwarded"]
)
def test_it_is_the_address_of_the_connection_that_counts(mongomock_database, trusted, taken):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    seen = []
    with (
        signals.request_started.connected_to(lambda _, handler: seen.append(handler.request.remote_ip)),
        listening(listener, application(hive_trusted_clients=trusted), xheaders=True),
    ):
        for header in (b"X-Forwarded-For: 10.1.1.1", b"X-Real-Ip: 10.1.1.1"):
            _, headers, _ = ask(socket.AF_INET, listener.getsockname(), b"X-Request-ID: mine", header)
            assert (headers["X-Request-ID"] == "mine") is taken
    assert seen == ["10.1.1.1", "10.1.1.1"]


NONSENSE = [
    ["nonsense"],
    ["127.0.0.1", "nonsense"],
    [""],
    ["127.0.0.1/33"],
    [None],
    [[]],
    "127.0.0.1",
    "unix",
    None,
    7,
    True,
    {"127.0.0.1": None, "x": 1},
]


@pytest.mark.parametrize("setting", NONSENSE, ids=str)
def test_a_wrong_setting_is_logged_and_the_request_is_served(mongomock_database, setting, caplog):
    with serve(application(hive_trusted_clients=setting)) as client:
        assert MADE.fullmatch(id_told(client, b"X-Request-ID: mine"))
    [record] = [record for record in caplog.records if record.name == "hive"]
    assert record.levelno == logging.ERROR
    assert SEEN_LINE in record.getMessage()


def test_a_wrong_setting_does_not_matter_to_those_who_name_nothing(mongomock_database, caplog):
    with serve(application(hive_trusted_clients=["nonsense"])) as client:
        assert MADE.fullmatch(id_told(client))
    assert [record for record in caplog.records if record.name == "hive"] == []


class OwnHeaders(ModelHandler):
    """One that forgets its super(), as Tornado's own handlers may."""

    def set_default_headers(self):
        self.set_header("X-Own", "1")


def test_a_wrong_setting_is_logged_once_for_handlers_that_forget_their_super(mongomock_database, caplog):
    [route] = ROUTES
    own = [(route.matcher.regex.pattern, OwnHeaders, route.target_kwargs)]
    with (
        signals.post_get_list.connected_to(explode),
        serve(own, hive_trusted_clients=["nonsense"]) as client,
    ):
        assert client.get("/leaf", headers={"X-Request-ID": "mine"}).status == 200
    assert [record.exc_info and record.exc_info[0] for record in caplog.records if record.name == "hive"] in (
        [None, ZeroDivisionError],
        [ZeroDivisionError, None],
    )


# request_started and request_finished


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


def test_each_request_starts_once_and_ends_once_with_the_status_of_its_answer(mongomock_database):
    app, replies = application(), []
    with told(app) as (client, heard):
        replies += any_answer(client)
    assert {sender for _, sender, _ in heard} == {app}
    expected = {
        reply.headers["X-Request-ID"]: [("request_started", "started"), ("request_finished", status)]
        for status, reply in replies
    }
    assert pairs(heard) == expected


def test_an_answer_without_a_database_has_an_id_and_a_pair_too():
    away = connected("away", host="mongodb://127.0.0.1:1", serverSelectionTimeoutMS=20)
    with away, told(application()) as (client, heard):
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
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)
        for path in ("/leaf", "/nothing", "/leaf/nobody"):
            connection.request("GET", path)
            connection.getresponse().read()
        connection.close()
    assert list(pairs(heard).values()) == [
        [("request_started", "started"), ("request_finished", status)] for status in (200, 404, 404)
    ]


def open_socket(client, *lines):
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=10)
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
        async with asyncio.timeout(10):
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
        assert reached.wait(10)
        connection.close()
    assert list(pairs(heard).values()) == [[("request_started", "started"), ("request_finished", 201)]]
    assert Leaf.objects.count() == 1


def test_a_client_that_goes_away_while_its_start_is_told_ends_once_too(mongomock_database):
    reached = threading.Event()

    async def sees_it_go(sender, handler):
        reached.set()
        async with asyncio.timeout(10):
            while not handler.request.connection.stream.closed():  # noqa: ASYNC110 - has no event
                await asyncio.sleep(0.001)

    with signals.request_started.connected_to(sees_it_go), told(application()) as (client, heard):
        connection = open_socket(client, b"GET /leaf HTTP/1.1", b"Host: x", b"", b"")
        assert reached.wait(10)
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


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize("path", ["/leaf", "/nothing"])
@pytest.mark.parametrize(
    "signal", [signals.request_started, signals.request_finished], ids=attrgetter("name")
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
        await asyncio.to_thread(release.wait, 10)
        await asyncio.sleep(0.05)
        ended.append(status)

    with signals.request_finished.connected_to(slow):
        with serve(application()) as client:
            assert client.get("/leaf").status == 200  # nobody waits for those who hear of its end
            assert reached.wait(10)
            assert ended == []
            threading.Timer(0.05, release.set).start()
        assert ended == [200]


def test_a_server_of_a_test_does_not_wait_for_the_ends_of_another(mongomock_database):
    reached, release, ended = threading.Event(), threading.Event(), []
    one, other = application(), application()

    async def slow(sender):
        reached.set()
        await asyncio.to_thread(release.wait, 5)
        ended.append(release.is_set())

    with signals.request_finished.connected_to(slow, one), serve(one) as client:
        client.get("/leaf")
        assert reached.wait(10)
        with serve(other) as second:
            second.get("/leaf")
        assert ended == []  # the other has ended, and this one still waits
        release.set()
    assert ended == [True]


# routes_registered


def test_routes_are_told_when_they_are_made():
    with recorded(signals.routes_registered) as heard:
        routes = ModelHive.routes_for(Leaf, prefix="api")
    [(name, sender, arguments)] = heard
    assert (name, sender) == ("routes_registered", Leaf)
    assert arguments.keys() == {"routes"}
    assert arguments["routes"] is routes


def test_a_receiver_of_a_base_class_hears_of_the_routes_of_its_subclasses():
    base, sub = [], []
    with (
        signals.routes_registered.connected_to(base.append, Leaf),
        signals.routes_registered.connected_to(sub.append, Needle),
    ):
        ModelHive.routes_for(Needle)
        ModelHive.routes_for("mongoengine", Leaf)
    assert (base, sub) == ([Needle, Leaf], [Needle])


def test_routes_that_cannot_be_made_are_not_told():
    with recorded(signals.routes_registered) as heard, pytest.raises(ValueError, match="nme"):
        ModelHive.routes_for(Leaf, hidden=["nme"])
    assert heard == []


def test_what_a_receiver_raises_comes_out_of_routes_for():
    with signals.routes_registered.connected_to(explode), pytest.raises(ZeroDivisionError):
        ModelHive.routes_for(Leaf)


def test_routes_are_told_to_plain_functions_only():
    async def coroutine(sender):
        pass

    with (
        signals.routes_registered.connected_to(coroutine),
        pytest.raises(RuntimeError, match=r"coroutine is a coroutine function: send_async calls it\."),
    ):
        ModelHive.routes_for(Leaf)


def test_a_receiver_may_add_to_the_routes(mongomock_database):
    def adds(sender, routes):
        routes.append(("/more", NotFoundHandler))

    with signals.routes_registered.connected_to(adds):
        assert ("/more", NotFoundHandler) in ModelHive.routes_for(Leaf)
