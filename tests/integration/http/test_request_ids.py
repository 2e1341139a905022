"""Every request has an id, which its answer tells, and which a trusted client may choose."""

import http.client
import logging
import re
import socket

import pytest
from mongoengine import Document, StringField
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from hive import ModelHandler, ModelHive, NotFoundHandler, signals
from hive.testing import serve

MADE = re.compile(r"[0-9a-f]{32}")
SEEN_LINE = "The setting hive_trusted_clients is not understood"


class Leaf(Document):
    name = StringField()


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
        connection.settimeout(120)
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


@pytest.mark.parametrize(("trusted", "taken"), [(["127.0.0.0/8"], True), (["::/0", "unix"], False)], ids=str)
def test_who_is_trusted_is_said_by_addresses_and_networks(mongomock_database, trusted, taken):
    with serve(application(hive_trusted_clients=trusted)) as client:
        assert (id_told(client, b"X-Request-ID: mine") == "mine") is taken


@pytest.mark.parametrize(
    ("trusted", "taken"),
    [(["10.0.0.0/8", "unix"], True), (["127.0.0.1", "0.0.0.0/0", "::/0"], False)],
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


@pytest.mark.parametrize("setting", [["127.0.0.1", "nonsense"], "unix", None], ids=str)
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
