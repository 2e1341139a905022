"""A connection goes on after an error, and what is not a whole request leaves nothing."""

import http.client

import mongoengine as me
import pytest

from hive import ModelHive
from hive.testing import serve
from tests.support.refusals import talk
from tests.support.threads import PATIENCE

JSON = {"Content-Type": "application/json"}
JSON_TYPE = "Content-Type: application/json\r\n"
CLOSE = "Connection: close\r\n"
PATH = "/wire/65a000000000000000000001"


class Wire(me.Document):
    name = me.StringField()


ROUTES = ModelHive.routes_for(Wire)


@pytest.fixture(scope="module")
def client():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(client, mongomock_database):
    """A client; no test leaves anything changed."""
    Wire(id="65a000000000000000000001", name="copper").save()
    yield client
    assert [wire.name for wire in Wire.objects] == ["copper"]


def request(method, path, body=b"", headers=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def statuses(answer):
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def test_a_connection_goes_on_after_an_error(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
    for body in (b"{", b"", b'{"x": 1}', b"[" * 10_000):
        connection.request("POST", "/wire", body=body, headers=JSON | {"Prefer": "transaction=no"})
        response = connection.getresponse()
        assert (response.status, response.read() != b"") == (400, True)
    connection.request("GET", "/wire/x")
    assert connection.getresponse().read()
    connection.request("GET", "/wire")
    assert connection.getresponse().status == 200
    connection.close()


def test_pipelined_requests_are_answered_in_order(api):
    sent = [
        request("GET", "/wire"), request("POST", "/wire", b"{", JSON_TYPE), request("GET", "/wire/x"),
        request("PUT", "/wire"), request("POST", "/wire", b'{"y": 1}', JSON_TYPE),
        request("DELETE", "/wire", headers="Prefer: transaction=no\r\n"),
        request("GET", "/wire", headers=CLOSE),
    ]  # fmt: skip
    assert statuses(talk(api, b"".join(sent))) == [200, 400, 404, 405, 400, 400, 200]


def test_get_with_a_body_is_a_get(api):
    assert api.get("/wire", json={"name": "x"}).status == 200
    assert api.get(PATH, body=b"\xff" * 100, headers={"Content-Type": "garbage"}).status == 200
    sent = request("GET", PATH, b"GET /x HTTP/1.1\r\n\r\n") + request("GET", "/wire", headers=CLOSE)
    assert statuses(talk(api, sent)) == [200, 200]


def test_get_drops_a_body_of_any_size(api):
    assert api.get("/wire", body=b" " * 2**21).status == 200


def test_half_a_request_leaves_nothing(api):
    whole = request("POST", "/wire", b'{"name": "x"}' + b" " * 87, JSON_TYPE)
    assert talk(api, whole[:-87], ends=True) == b""
    assert len(api.get("/wire").json) == 1
