"""Nobody keeps a connection for ever, and nobody sends what has no end."""

import socket
import threading
from contextlib import contextmanager, suppress

import mongoengine as me
import pytest

from hive import ModelHive, signals
from hive.testing import Client, serve
from tests.support.threads import PATIENCE, in_thread

SHORT = 0.1
REQUEST = b"GET /server_note HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /server_note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class ServerNote(me.Document):
    text = me.StringField()


@contextmanager
def serving(**how):
    with serve(ModelHive.routes_for(ServerNote), server=how) as client:
        yield "127.0.0.1", client.port


def connection(address):
    return socket.create_connection(address, timeout=PATIENCE)


def until_closed(client):
    """All that a server sends until it closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while chunk := client.recv(65536):
            received += chunk
    return received


def answer(client):
    """The first answer on a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    return received


STALLED = {
    "nothing at all": b"",
    "half a request line": b"GET /server_no",
    "half a header": b"GET /server_note HTTP/1.1\r\nHost: x\r\nX-A: ",
    "no end of the header": b"GET /server_note HTTP/1.1\r\nHost: x\r\n",
}


@pytest.mark.parametrize("sent", STALLED.values(), ids=STALLED)
def test_header_that_does_not_come_to_its_end_ends_the_connection(mongomock_database, sent):
    with serving(idle_connection_timeout=SHORT) as address, connection(address) as client:
        client.sendall(sent)
        assert until_closed(client) == b""


def test_header_that_comes_byte_by_byte_does_not_prolong_its_time(mongomock_database):
    done = threading.Event()
    with serving(idle_connection_timeout=SHORT) as address, connection(address) as client:

        def drip():
            with suppress(OSError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
                while not done.wait(SHORT / 10):
                    client.sendall(b"X-A: a\r\n")

        with in_thread(drip):
            try:
                received = until_closed(client)
            finally:
                done.set()
    assert received == b""


@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
             b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"],
    ids=["with a length", "in chunks", "expected"],
)  # fmt: skip
def test_body_that_does_not_come_to_its_end_ends_the_connection(mongomock_database, head):
    with serving(body_timeout=SHORT) as address, connection(address) as client:
        client.sendall(POST + head)
        assert until_closed(client).removeprefix(b"HTTP/1.1 100 (Continue)\r\n\r\n") == b""
    assert ServerNote.objects.count() == 0


def test_connection_without_a_further_request_is_closed(mongomock_database):
    def wait_shortly(sender, handler):
        handler.request.connection.params.header_timeout = SHORT

    with signals.pre_get_list.connected_to(wait_shortly), serving() as address, connection(address) as client:
        client.sendall(REQUEST)
        assert answer(client).startswith(b"HTTP/1.1 200 OK")
        assert until_closed(client) == b""


def test_connection_with_further_requests_is_kept(mongomock_database):
    with serving() as address, connection(address) as client:
        for _ in range(3):
            client.sendall(REQUEST)
            assert answer(client).startswith(b"HTTP/1.1 200 OK")


def test_who_waits_keeps_nobody_else_waiting(mongomock_database):
    with serving() as address:
        stalled = [connection(address) for _ in range(20)]
        for client, sent in zip(
            stalled, [*STALLED.values(), POST + b"Content-Length: 9\r\n\r\n{"] * 4, strict=True
        ):
            client.sendall(sent)
        assert Client(address[1]).get("/server_note").json == []
        for client in stalled:
            client.close()


@pytest.mark.parametrize("cookie", [b"x" * 20_000, b"x" * 1_000_000], ids=["20 kB", "1 MB"])
def test_header_that_is_too_large_is_answered_by_the_end_of_the_connection(mongomock_database, cookie):
    with serving() as address:
        with connection(address) as client:
            with suppress(OSError):
                client.sendall(b"GET /server_note HTTP/1.1\r\nHost: x\r\nCookie: " + cookie + b"\r\n\r\n")
            received = until_closed(client)
        assert b" 200 " not in received
        assert not received or received.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
        assert Client(address[1]).get("/server_note").status == 200


def test_header_of_what_is_allowed_is_taken(mongomock_database):
    with serving() as address:
        assert Client(address[1]).get("/server_note", headers={"X-A": "x" * 15_000}).status == 200


@pytest.mark.parametrize(("most", "size", "is_taken"), [(2000, 3000, False), (40_000, 30_000, True)])
def test_arguments_of_tornado_say_otherwise(mongomock_database, most, size, is_taken):
    with serving(max_header_size=most) as address, connection(address) as client:
        client.sendall(
            b"GET /server_note HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * size + b"\r\nConnection: close\r\n\r\n"
        )
        received = until_closed(client)
    assert received.startswith(b"HTTP/1.1 200") is is_taken


def test_body_over_what_the_server_takes_ends_the_connection(mongomock_database):
    with serving(max_body_size=100) as address, connection(address) as client:
        client.sendall(POST + b"Content-Length: 101\r\n\r\n")
        received = until_closed(client)
    assert not received or received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
