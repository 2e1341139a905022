"""A body over its limit is 413, whether its length is told, it comes in chunks or the client waits."""

import json
import socket

import mongoengine as me
import pytest

from hive import ModelHive
from hive.testing import serve
from tests.support.refusals import refused, talk
from tests.support.threads import PATIENCE

JSON = {"Content-Type": "application/json"}
ARRAY = JSON | {"Prefer": "transaction=no"}
STORED = "65a000000000000000000001"
PATH = f"/parcel/{STORED}"


class Slip(me.EmbeddedDocument):
    name = me.StringField()


class Parcel(me.Document):
    name = me.StringField()
    tags = me.ListField(me.StringField())
    parts = me.EmbeddedDocumentListField(Slip)


ROUTES = ModelHive.routes_for(Parcel, deadline=PATIENCE)


@pytest.fixture(scope="module")
def client():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(client, mongomock_database):
    """A client; no test that takes it leaves anything changed."""
    Parcel(id=STORED, name="box").save()
    before = list(Parcel.objects.as_pymongo())
    yield client
    assert list(Parcel.objects.as_pymongo()) == before


@pytest.fixture
def free(client, mongomock_database):
    """A client for what is stored after all."""
    return client


def head_of_post(*headers):
    lines = ["POST /parcel HTTP/1.1", "Host: x", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def test_a_body_over_a_mebibyte_is_413(api):
    body = json.dumps({"name": "x" * 2**20})
    for verb, path in (("POST", "/parcel"), ("PUT", PATH), ("PATCH", PATH)):
        refused(api.request(verb, path, body=body, headers=JSON), 413)


def test_a_body_of_just_a_mebibyte_is_read(free):
    head, tail = b'{"tags": ["', b'"]}'
    body = head + b"x" * (2**20 - len(head + tail)) + tail
    assert free.post("/parcel", body=body, headers=JSON).status == 201
    refused(free.post("/parcel", body=body + b" ", headers=JSON), 413)


def test_an_array_of_just_16_mebibytes_is_read(free):
    filler = '{"tags": ["' + "x" * (2**20 - 64) + '"]}'
    body = "[" + ",".join([filler] * 15) + ',{"name": "last"}'
    body += " " * (2**24 - len(body) - 1) + "]"
    reply = free.post("/parcel", body=body, headers=ARRAY, timeout=PATIENCE)
    assert (reply.status, {one["status"] for one in reply.json}, len(reply.json)) == (201, {201}, 16)
    refused(free.post("/parcel", body=body + " ", headers=ARRAY), 413)
    assert Parcel.objects.count() == 16


@pytest.mark.parametrize("verb", ["PUT", "PATCH"])
def test_an_array_over_a_mebibyte_that_no_list_takes_is_refused(api, verb):
    body = json.dumps([{"name": "x" * 1000}] * 1_100)
    refused(api.request(verb, PATH, body=body, headers=JSON))
    refused(api.post(f"{PATH}/parts", body=body, headers=JSON))
    refused(api.request(verb, PATH, body=" " * 1000 + body, headers=JSON))


@pytest.mark.parametrize("size", [2**21, 2**26])
def test_a_client_sees_the_413_although_it_has_sent_everything_first(api, size):
    body = b" " * size
    refused(api.post("/parcel", body=body, headers=JSON, timeout=PATIENCE), 413)
    with socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE) as connection:
        connection.sendall(head_of_post(f"Content-Length: {size}") + body)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("media_type", "limit"),
    [("application/json", 2**24), ("application/x-www-form-urlencoded", 2**20),
     ("application/merge-patch+json", 2**20), ("text/plain", 2**20)],
)  # fmt: skip
def test_a_client_that_waits_for_100_continue_sees_the_413_instead(api, media_type, limit):
    def head(size):
        text = head_of_post("Expect: 100-continue", f"Content-Length: {size}")
        return text.replace(b"application/json", media_type.encode())

    assert talk(api, head(limit + 1)).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE) as connection:
        connection.sendall(head(limit))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")


def test_a_client_that_was_told_to_continue_sees_the_413_of_an_object(api):
    """For only what an array begins with tells it from an object, and it may be larger."""
    head = head_of_post("Expect: 100-continue", "Content-Length: 2000000", "Connection: close")
    answer = talk(api, head, b'{"name": "' + b"x" * 1_999_988 + b'"}')
    assert answer.startswith(b"HTTP/1.1 100 ")
    assert answer.split(b"\r\n\r\n", 1)[1].startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", [10**8 + 1, 10**30])
def test_a_huge_content_length_is_413(api, length):
    answer = talk(api, head_of_post(f"Content-Length: {length}") + b"{}")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "length", ["x", "-1", "²", "1_0", "0x10", "", "9" * 5000, "1.5", "+5", "2, 3", "5 5"]
)
def test_a_content_length_that_is_no_number_is_4xx(api, length):
    answer = talk(api, head_of_post(f"Content-Length: {length}") + b"{}")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")


def chunked(size, chunk=65536):
    yield head_of_post("Transfer-Encoding: chunked", "Connection: close", "Prefer: transaction=no")
    for _ in range(0, size, chunk):
        yield b"%x\r\n" % chunk + b" " * chunk + b"\r\n"
    yield b"0\r\n\r\n"


def test_a_chunked_body_over_the_limit_is_413(api):
    assert talk(api, *chunked(2**21)).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_array_over_its_limit_is_413(api):
    head, *chunks = chunked(2**24)
    assert talk(api, head, b"1\r\n[\r\n", *chunks).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_read(free):
    body = b'{"name": "x"}'
    head, end = chunked(0)
    assert talk(free, head, b"%x\r\n" % len(body), body, b"\r\n", end).startswith(b"HTTP/1.1 201 ")


def test_a_setting_limits_the_body(mongomock_database):
    with serve(ROUTES, hive_body_limit=100) as client:
        assert client.post("/parcel", json={"name": "x"}).status == 201
        assert "100" in refused(client.post("/parcel", json={"name": "x" * 100}), 413)["detail"]
        assert Parcel.objects.count() == 1


def test_a_setting_limits_arrays_on_their_own(mongomock_database):
    one = {"name": "x" * 60}
    with serve(ROUTES, hive_body_limit=100, hive_bulk_limit=200) as client:
        assert client.post("/parcel", json=[one, one], headers=ARRAY).status == 201
        refusal = refused(client.post("/parcel", json=[one, one, one], headers=ARRAY), 413)
        assert "200" in refusal["detail"]
        assert "100" in refused(client.post("/parcel", json={"name": "x" * 100}), 413)["detail"]
        assert Parcel.objects.count() == 2


def test_a_setting_may_raise_the_limit_up_to_what_mongodb_stores(mongodb_database):
    with serve(ROUTES, hive_body_limit=2**26) as client:
        assert client.post("/parcel", json={"tags": ["x" * 2**21]}, timeout=PATIENCE).status == 201
        refused(client.post("/parcel", json={"tags": ["x" * (17 * 2**20)]}, timeout=PATIENCE), 413)
        assert Parcel.objects.count() == 1
