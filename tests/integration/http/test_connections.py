"""hive.HTTPServer: nobody keeps a connection for ever, and nobody sends what has no end."""

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from inspect import getdoc

import mongoengine as me
import pytest
from tornado.httpserver import HTTPServer as TornadoServer
from tornado.web import Application

import hive
from hive import HTTPServer, ModelHive
from hive.server import DEFAULTS
from hive.testing import Client, serve

SHORT, LONG = 0.1, 10
REQUEST = b"GET /server_note HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /server_note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class ServerNote(me.Document):
    text = me.StringField()


@contextmanager
def serving(**how):
    with serve(ModelHive.routes_for(ServerNote), server=how) as client:
        yield "127.0.0.1", client.port


def connection(address):
    return socket.create_connection(address, timeout=LONG)


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

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert until_closed(client) == b""
        done.set()
        dripping.join()


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
    with serving(idle_connection_timeout=SHORT) as address, connection(address) as client:
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


def test_defaults_are_those_of_the_docstring():
    text = " ".join(getdoc(HTTPServer).split())
    assert "which may have 16 KiB" in text
    assert "within 60 seconds each" in text
    assert all(f"``{name}``" in text for name in DEFAULTS)
    assert DEFAULTS["max_header_size"] == 16 * 1024
    assert (DEFAULTS["idle_connection_timeout"], DEFAULTS["body_timeout"]) == (60, 60)


def parameters(server):
    made = server.conn_params
    return {
        "idle_connection_timeout": made.header_timeout,
        "body_timeout": made.body_timeout,
        "max_header_size": made.max_header_size,
        "max_body_size": made.max_body_size,
    }


def test_defaults_reach_tornado_and_its_arguments_go_before_them():
    application = Application()
    assert parameters(HTTPServer(application)) == DEFAULTS
    own = {"idle_connection_timeout": 1.0, "body_timeout": 2.0, "max_header_size": 3, "max_body_size": 4}
    assert parameters(HTTPServer(application, **own)) == own
    assert parameters(HTTPServer(application, body_timeout=2.0)) == DEFAULTS | {"body_timeout": 2.0}


def test_server_is_a_tornado_server_in_all_else():
    assert issubclass(hive.HTTPServer, TornadoServer)
    server = HTTPServer(Application(), xheaders=True, no_keep_alive=True, decompress_request=True)
    assert (server.xheaders, server.conn_params.no_keep_alive, server.conn_params.decompress) == (
        True,
        True,
        True,
    )


# hive.run


async def kind_of_loop():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_run_gives_what_its_coroutine_gives_on_the_faster_loop():
    assert hive.run(kind_of_loop()) == "uvloop"


def test_run_raises_what_its_coroutine_raises():
    async def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        hive.run(fail())


def test_run_ends_the_tasks_that_are_left_and_closes_its_loop():
    ended = []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def main():
        main.task = asyncio.create_task(endless())
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    assert hive.run(main()).is_closed()
    assert ended == ["cancelled"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_run_is_not_for_a_loop_that_runs():
    async def main():
        coroutine = kind_of_loop()
        try:
            with pytest.raises(RuntimeError, match=r"loop.* is running"):
                hive.run(coroutine)
        finally:
            coroutine.close()

    asyncio.run(main())


RUN = """
import sys
if {blocked}:
    sys.modules["uvloop"] = None
import asyncio, signal
import mongoengine, mongomock
import hive
from tornado.web import Application

class Note(mongoengine.Document):
    text = mongoengine.StringField()

mongoengine.connect("x", mongo_client_class=mongomock.MongoClient, uuidRepresentation="standard")

async def main():
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, interrupted.set)
    server = hive.HTTPServer(Application(hive.ModelHive.routes_for(Note, stream=True)))
    [socket] = sockets = __import__("tornado.netutil").netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0], socket.getsockname()[1], flush=True)
    await interrupted.wait()
    server.stop()
    await server.close_all_connections()
    return "ended"

print(hive.run(main()))
"""


@pytest.mark.parametrize(("blocked", "loop"), [(False, "uvloop"), (True, "asyncio")])
def test_a_program_is_served_with_uvloop_and_without(blocked, loop):
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN.replace("{blocked}", str(blocked))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with program:
        kind, port = program.stdout.readline().split()
        client = Client(int(port))
        assert client.post("/note", json={"text": "a"}).status == 201
        assert [note["text"] for note in client.get("/note").json] == ["a"]
        assert [note["text"] for note in client.get("/note?per_page=all").json] == ["a"]
        program.terminate()
        assert program.wait(10) == 0, program.stderr.read()
        assert (kind, program.stdout.read()) == (loop, "ended\n")
        assert program.stderr.read() == ""
