"""SIGTERM: nobody new is let in, requests under way are answered, then the program ends as it should."""

import asyncio
import http.client
import json
import re
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import mongoengine
import pytest
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

import hive
from hive import HTTPServer, ModelHive
from hive.server import MOMENT, MOMENTS, drain, is_request
from tests.support.forked import Forked
from tests.support.threads import PATIENCE, wait_for

CLIENTS = 4
HEAD = b"POST /note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"
BODY = b'{"text":"a"}'
PROGRAM = """
import asyncio, os
import mongoengine, mongomock
import hive
from hive import signals
from tornado.netutil import bind_sockets
from tornado.web import Application

loop, uri, database, seconds, count = arguments
if loop == "asyncio":
    hive.server.uvloop = None

class Note(mongoengine.Document):
    text = mongoengine.StringField()

released = asyncio.Event()

def release():
    os.read(0, 1)
    asyncio.get_running_loop().remove_reader(0)
    released.set()

@signals.post_create_instance.connect_via(Note)
async def wait(sender, instance, handler):
    if instance.text == "slow":
        print("slow", flush=True)
        await released.wait()

@signals.request_finished.connect
async def told(sender, handler, status):
    if "X-Told" in handler.request.headers:
        print("telling", flush=True)
        await released.wait()
        print("told", flush=True)

async def main():
    asyncio.get_running_loop().add_reader(0, release)
    [listener] = sockets = bind_sockets(0, "127.0.0.1")
    hive.HTTPServer(Application(hive.ModelHive.routes_for(Note, stream=True))).add_sockets(sockets)
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0], flush=True)
    print(listener.getsockname()[1], flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("cancelled", flush=True)
        await asyncio.sleep(0)
        print("main has ended", flush=True)

hive.server.SECONDS_TO_END = seconds
how = {"host": uri} if uri else {"mongo_client_class": mongomock.MongoClient}
with mongoengine.connect(database, uuidRepresentation="standard", **how):
    Note.objects.insert([Note(text="x" * 160_000) for _ in range(count)]) if count else None
    try:
        print("given", hive.run(main()), flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print("stored", Note.objects.count(), flush=True)
"""
ENDED = ["cancelled", "main has ended", "given None"]


class Program(Forked):
    """The program above, and what it prints."""

    def __init__(self, loop="uvloop", database=None, seconds=1e6, count=0):
        uri, name = database or ("", "test")
        super().__init__(PROGRAM, loop, uri, name, seconds, count)
        self.loop = loop

    def __enter__(self):
        assert self.line() == self.loop, self.end()
        self.port = int(self.line())
        return self

    def __exit__(self, *_):
        self.kill()

    def lines(self):
        """What is left of its output, when it has ended as it should, with nothing to say about it."""
        lines, errors = self.ended()
        assert errors == ""
        return lines

    def ended(self):
        """What is left of its output, and what it has logged, when it has ended with 0."""
        status, output, errors = self.end()
        assert status == 0, errors
        return output.splitlines(), errors

    def terminate(self):
        """SIGTERM, and wait until it lets nobody in any more."""
        self.signal(signal.SIGTERM)
        wait_for(self.refuses)
        assert self.is_alive

    def refuses(self):
        with suppress(ConnectionResetError):
            try:
                self.connection().close()
            except ConnectionRefusedError:
                return True
        return False

    def connection(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def release(self):
        self.send(b"x")


def received(connection):
    """All that comes until the server closes the connection."""
    found = b""
    with suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            found += chunk
    return found


def answer(connection):
    """One answer on a connection that is kept: its header, and as much of its body as has come."""
    found = b""
    while b"\r\n\r\n" not in found:
        chunk = connection.recv(65536)
        assert chunk
        found += chunk
    return found


def is_201(reply):
    """Whether it is a whole 201."""
    head, _, body = reply.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return head.startswith(b"HTTP/1.1 201") and len(body) == int(length[1])


def is_last(reply):
    """Whether it is a whole 201, which tells the client that the connection is closed."""
    return is_201(reply) and b"\r\nConnection: close\r\n" in reply


class Hammer:
    """A client that sends one request after the other, until it is told to go, or is not answered at all."""

    def __init__(self, port, *, is_kept):
        self.port, self.is_kept = port, is_kept
        self.statuses, self.unanswered = [], 0
        self.warm = threading.Event()

    def run(self):
        try:
            while self.hit_until_told():
                pass
        finally:
            self.warm.set()

    def hit_until_told(self):
        """Use one connection; whether to make another."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            while True:
                response = self.response(connection)
                if response is None:
                    return False
                assert json.loads(response.read())["text"] == "a"
                self.statuses.append(response.status)
                if len(self.statuses) >= 5:
                    self.warm.set()
                if not self.is_kept:
                    return True
                if response.getheader("Connection") == "close":
                    return False
        finally:
            connection.close()

    def response(self, connection):
        """None where the connection ends before a byte has come."""
        try:
            connection.request("POST", "/note", BODY, {"Content-Type": "application/json"})
            return connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self.unanswered += 1
            return None


@contextmanager
def hammered(port, *, is_kept=True):
    """Clients at work, each of which has had some answers."""
    clients = [Hammer(port, is_kept=is_kept) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(client.run) for client in clients]
        for client in clients:
            assert client.warm.wait(PATIENCE)
        yield clients
        for one in running:
            one.result(PATIENCE)
    assert all(set(client.statuses) == {201} for client in clients)


def created(clients):
    return sum(len(client.statuses) for client in clients)


@pytest.fixture
def stored(mongodb_server, new_mongodb_database):
    """Where a program may store what it gets."""
    return mongodb_server, new_mongodb_database.name


@pytest.fixture
def held():
    """A program that serves a request which does not end before it is released, and its connection."""
    with Program() as running, running.connection() as slow:
        hold(running, slow)
        yield running, slow


def hold(running, slow):
    slow.sendall(HEAD.replace(b"12", b"15") + b'{"text":"slow"}')
    assert running.line() == "slow"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_under_load_every_request_is_answered_and_nothing_else_is_stored(stored, loop):
    with Program(loop, stored) as running, running.connection() as slow:
        hold(running, slow)
        with hammered(running.port) as clients:
            running.terminate()
        assert [client.unanswered for client in clients] == [0] * CLIENTS
        running.release()
        assert is_last(received(slow))
        assert running.lines() == [*ENDED, f"stored {created(clients) + 1}"]


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept connections", "new connections"])
def test_what_is_not_answered_is_not_stored(stored, is_kept):
    with Program(database=stored) as running:
        with hammered(running.port, is_kept=is_kept) as clients:
            running.signal(signal.SIGTERM)
        assert running.lines() == [*ENDED, f"stored {created(clients)}"]


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_long_answer_is_sent_to_its_end(loop):
    count = 70  # 11 MB, more than is on its way at once
    with Program(loop, count=count) as running, socket.socket() as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.connect(("127.0.0.1", running.port))
        client.sendall(b"GET /note?per_page=all HTTP/1.0\r\n\r\n")
        head = answer(client)
        assert head.startswith(b"HTTP/1.1 200")
        running.terminate()
        assert len(json.loads((head + received(client)).partition(b"\r\n\r\n")[2])) == count
        assert running.lines() == [*ENDED, f"stored {count}"]


def test_who_is_connected_may_still_ask(held):
    running, slow = held
    with running.connection() as idle, running.connection() as half, running.connection() as fresh:
        idle.sendall(HEAD + BODY)
        assert b"\r\nConnection: close" not in answer(idle)
        half.sendall(HEAD[:20])
        running.terminate()
        for client, rest in [(idle, HEAD), (half, HEAD[20:]), (fresh, HEAD)]:
            client.sendall(rest + BODY)
            assert is_last(received(client))
    running.release()
    assert is_last(received(slow))
    assert running.lines() == [*ENDED, "stored 5"]


def test_a_body_that_is_on_its_way_is_waited_for():
    with Program() as running, running.connection() as client:
        client.sendall(HEAD + BODY[:5])
        with running.connection() as other:  # the answer to a later request says that the header was read
            other.sendall(HEAD + BODY)
            answer(other)
        running.terminate()
        client.sendall(BODY[5:])
        assert is_last(received(client))
        assert running.lines() == [*ENDED, "stored 2"]


def test_a_client_that_asks_for_nothing_is_not_waited_for():
    with Program() as running, running.connection() as idle, running.connection() as stalled:
        idle.sendall(HEAD + BODY)
        answer(idle)
        stalled.sendall(HEAD[:20])
        running.signal(signal.SIGTERM)
        assert received(idle) == received(stalled) == b""
        assert running.lines() == [*ENDED, "stored 1"]


def test_who_hears_of_the_end_of_a_request_is_waited_for():
    with Program() as running, running.connection() as client:
        client.sendall(HEAD.replace(b"Host: x", b"X-Told: 1\r\nHost: x") + BODY)
        answer(client)
        assert running.line() == "telling"
        running.terminate()
        running.release()
        assert running.lines() == ["told", *ENDED, "stored 1"]


def test_a_request_whose_client_has_gone_is_waited_for(held):
    running, slow = held
    slow.close()
    running.terminate()
    running.release()
    assert running.lines() == [*ENDED, "stored 1"]


def test_a_request_that_does_not_end_is_given_up():
    with Program(seconds=0.1) as running, running.connection() as slow:
        hold(running, slow)
        running.signal(signal.SIGTERM)
        assert b"HTTP/1.1 2" not in received(slow)
        assert running.ended()[0] == [*ENDED, "stored 1"]


def test_the_second_sigterm_ends_at_once(held):
    running, slow = held
    running.terminate()
    running.signal(signal.SIGTERM)
    assert b"HTTP/1.1 2" not in received(slow)
    assert running.ended()[0] == [*ENDED, "stored 1"]


@pytest.mark.parametrize("is_draining", [False, True])
def test_ctrl_c_interrupts_at_once(held, is_draining):
    running, slow = held
    if is_draining:
        running.terminate()
    running.signal(signal.SIGINT)
    assert b"HTTP/1.1 2" not in received(slow)
    assert running.ended()[0] == ["cancelled", "main has ended", "interrupted", "stored 1"]


def test_a_program_that_serves_nobody_ends():
    with Program() as running:
        running.signal(signal.SIGTERM)
        assert running.lines() == [*ENDED, "stored 0"]


# What happens in which turn of the event loop


class Note(mongoengine.Document):
    text = mongoengine.StringField()


class Plain(RequestHandler):
    """Tornado calls it when the body has come; hive's own handlers are called before."""

    def post(self):
        self.set_status(201)


@contextmanager
def served(*routes):
    """A server on the running event loop, and a client that has connected but was not accepted."""
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(Application([*routes, *ModelHive.routes_for(Note)]))
    server.add_sockets(sockets)
    with socket.create_connection(sockets[0].getsockname(), timeout=PATIENCE) as client:
        yield server, client


def test_who_has_connected_but_was_not_accepted_is_answered(mongomock_database):
    async def main():
        with served() as (_, client):
            client.sendall(HEAD + BODY)
            await drain(PATIENCE)
            assert is_last(received(client))

    hive.run(main())


def test_a_request_that_is_sent_but_not_read_is_answered(mongomock_database):
    async def main():
        with served() as (_, client):
            client.sendall(HEAD + BODY)
            await asyncio.to_thread(answer, client)
            client.sendall(HEAD + BODY)
            await drain(PATIENCE, MOMENTS)
            assert is_last(received(client))

    hive.run(main())


def test_a_request_of_which_the_header_was_read_is_answered():
    async def main():
        with served(("/note", Plain)) as (server, client):
            client.sendall(HEAD + BODY[:5])
            while not any(map(is_request, server.messages.values())):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(MOMENT)
            draining = asyncio.create_task(drain(PATIENCE))
            await asyncio.sleep(0)  # it has begun
            client.sendall(BODY[5:])
            await draining
            assert is_last(received(client))

    hive.run(main())


@pytest.mark.parametrize("turns", range(8))
def test_a_request_is_answered_or_nothing_is_done_about_it(turns, mongomock_database):
    async def main():
        with served() as (_, client):
            client.sendall(HEAD + BODY)
            await asyncio.to_thread(answer, client)
            client.sendall(HEAD + BODY)
            for _ in range(turns):
                await asyncio.sleep(0)
            await drain(PATIENCE)
            return is_201(received(client))

    is_answered = asyncio.run(main())
    assert Note.objects.count() == 1 + is_answered


# What a program makes of it

START = """
import asyncio, os, signal, threading, hive
terminate = lambda: os.kill(os.getpid(), signal.SIGTERM)
"""


RETURNS = """
async def main():
    terminate()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "mine"
print(hive.run(main()))
"""
RAISES = RETURNS.replace('return "mine"', "raise SystemExit(3)")
OWN = """
async def main():
    terminate()
    await asyncio.sleep(0)
    return "mine"
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
print(hive.run(main()))
"""
OWN_OF_LOOP = """
async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    terminate()
    await ended.wait()
    return "mine"
print(hive.run(main()))
"""
CANCELLED_ITSELF = """
async def main():
    raise asyncio.CancelledError
try:
    hive.run(main())
except asyncio.CancelledError:
    print("mine")
"""
IN_A_THREAD = """
async def main():
    return "mine"
thread = threading.Thread(target=lambda: print(hive.run(main())))
thread.start()
thread.join()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (RETURNS, (0, "mine\n")),
        (RAISES, (3, "")),
        (OWN, (0, "handled\nmine\n")),
        (OWN_OF_LOOP, (0, "mine\n")),
        (CANCELLED_ITSELF, (0, "mine\n")),
        (IN_A_THREAD, (0, "mine\nTrue\n")),
    ],
    ids=["returns", "raises", "own handler", "own handler of the loop", "cancelled", "thread"],
)
def test_a_program_has_the_last_word(code, expected):
    program = Forked(START + code)
    try:
        assert program.end() == (*expected, "")
    finally:
        program.kill()
