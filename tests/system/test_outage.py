"""MongoDB goes away and comes back: requests are 503 in time, and tell of a write whether it was done."""

import os
import signal as posix
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import mongoengine
import pymongo
import pytest
from mongoengine import (
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    ListField,
    ReferenceField,
    StringField,
)

from hive import ModelHive, flatten, pool, signals
from hive.embedded import Server
from hive.testing import connected, recorded, serve
from tests.support.crash import direct, start_mongodb
from tests.support.threads import PATIENCE, wait_for

SECONDS = 25
"""Nobody waits as long as pymongo would by itself; so many seconds tell that apart on a busy machine too."""
READS = ("GET", "HEAD")


class Part(EmbeddedDocument):
    name = StringField()


class Person(Document):
    name = StringField()
    email = StringField(unique=True, sparse=True)


class Club(Document):
    name = StringField()
    head = ReferenceField(Person, reverse_delete_rule=mongoengine.NULLIFY)
    members = ListField(ReferenceField(Person))
    part = EmbeddedDocumentField(Part)


ROUTES = flatten([ModelHive.routes_for(Person), ModelHive.routes_for(Club)])


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("outage") / "data")
    yield server
    server.kill()


@pytest.fixture
def server(shared_server):
    """It runs."""
    start_mongodb(shared_server)
    yield shared_server
    if shared_server.pid:
        os.kill(shared_server.pid, posix.SIGCONT)


@pytest.fixture
def client(server):
    stack = ExitStack()
    stack.enter_context(connected(f"hive-{uuid.uuid4().hex[:12]}", host=direct(server)))
    yield stack.enter_context(serve(ROUTES))
    with pymongo.timeout(0.1):  # the driver says goodbye to the server, which may be gone, for half a minute
        stack.close()


@pytest.fixture
def patience(monkeypatch):
    """Sets how many seconds requests have; many, at first."""

    def have(seconds):
        monkeypatch.setattr(pool, "DEADLINE", seconds)

    have(PATIENCE)
    return have


@pytest.fixture
def world(client, patience):
    """What is stored, by requests that had time. Those of the test have little."""
    person = client.post("/person", json={"name": "Ann", "email": "a@x.org"}).json["id"]
    body = {"name": "C", "head": person, "members": [person], "part": {"name": "p"}}
    club = client.post("/club", json=body).json["id"]
    patience(1)
    return {"person": person, "club": club}


REQUESTS = [
    ("GET", "/person", None),
    ("HEAD", "/person", None),
    ("GET", "/person/{person}", None),
    ("POST", "/person", {"name": "Bob"}),
    ("PUT", "/person/{person}", {"name": "Eve"}),
    ("PATCH", "/person/{person}", {"name": "Eve"}),
    ("DELETE", "/person/{person}", None),
    ("GET", "/club/{club}/head", None),
    ("POST", "/club/{club}/head", {"id": "{person}"}),
    ("POST", "/club/{club}/head", {"name": "New"}),
    ("PUT", "/club/{club}/head", {"name": "New"}),
    ("DELETE", "/club/{club}/head", None),
    ("GET", "/club/{club}/members", None),
    ("POST", "/club/{club}/members", {"name": "New"}),
    ("PUT", "/club/{club}/part", {"name": "New"}),
    ("POST", "/club", {"name": "D", "members": ["{person}"]}),
]
INSIDE = [b"Traceback", b"pymongo", b"mongo:", b"27017", b"Errno", b"refused", b"127.0.0.1", b"Topology"]


def freeze(server):
    os.kill(server.pid, posix.SIGSTOP)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED | os.WNOWAIT)  # or it may still answer


def timed(client, method, path, body=None):
    start = time.monotonic()
    reply = client.request(method, path, json=body, timeout=PATIENCE)
    return reply, time.monotonic() - start


def assert_unavailable(reply, method, *done):
    """That it is 503, and tells of a write that it was not done; or what else may be told by `done`."""
    assert reply.status == 503
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Retry-After"]) > 0
    if method != "HEAD":
        assert reply.json["status"] == 503
        assert not [word for word in INSIDE if word in reply.body]
    if method in READS:
        assert b"done" not in reply.body
    else:
        assert reply.json["done"] in (done or (False,))


def assert_every_verb_is_unavailable(client, world, unknown=()):
    """`unknown` are the requests of which nobody can know whether they were done."""

    def work(request):
        method, path, body = request
        if body:
            body = {name: world["person"] if item == "{person}" else item for name, item in body.items()}
            if "members" in body:
                body["members"] = [world["person"]]
        return timed(client, method, path.format(**world), body)

    with ThreadPoolExecutor(len(REQUESTS)) as threads, recorded() as heard:
        for request, (reply, seconds) in zip(REQUESTS, threads.map(work, REQUESTS), strict=True):
            done = [None] if request in unknown else []
            assert_unavailable(reply, request[0], *done)
            assert seconds < SECONDS, (request, seconds)
    assert not [signal for signal in heard if signal.name.startswith("post")]


def assert_resumes(client, world, patience):
    """Service is there again, with nothing done about it."""
    patience(PATIENCE)
    assert client.get(f"/person/{world['person']}", timeout=PATIENCE).json["name"] == "Ann"
    assert client.post("/person", json={"name": "After"}).status == 201
    assert client.put(f"/person/{world['person']}", json={"name": "Changed"}).json["name"] == "Changed"
    assert client.delete(f"/person/{world['person']}").status == 204


def test_a_stopped_mongodb_is_503_for_every_verb_and_service_resumes(server, client, world, patience):
    server.stop()
    assert_every_verb_is_unavailable(client, world)
    start_mongodb(server)
    assert_resumes(client, world, patience)


def test_a_mongodb_that_answers_no_more_is_503_for_every_verb_and_service_resumes(
    server, client, world, patience
):
    freeze(server)
    # which reads first for every other, and was given this one
    assert_every_verb_is_unavailable(client, world, [("POST", "/person", {"name": "Bob"})])
    os.kill(server.pid, posix.SIGCONT)
    patience(PATIENCE)
    assert client.get("/person", timeout=PATIENCE).status == 200
    assert client.post("/person", json={"name": "After"}).status == 201


@pytest.mark.parametrize(
    "request_", [("POST", "/club", {"name": "D"}), ("DELETE", "/club/{club}", None)], ids=lambda one: one[0]
)
def test_no_write_that_mongodb_was_given_is_told_to_be_undone(server, client, world, request_):
    """It may do what waits for it when it comes to itself; nobody listens, so nothing was read first."""
    method, path, body = request_
    freeze(server)
    reply, seconds = timed(client, method, path.format(**world), body)
    assert_unavailable(reply, method, None)
    assert seconds < SECONDS


def test_what_needs_no_mongodb_is_answered_as_ever(server, client, world):
    server.stop()
    assert client.get("/nothing").status == 404
    assert client.request("OPTIONS", "/person").status == 204
    assert client.put("/person", json={}).status == 405
    assert client.post("/person", json={"nme": "x"}).status == 400
    assert client.post("/person", body=b"{", headers={"Content-Type": "application/json"}).status == 400


def test_more_requests_than_there_are_threads_are_all_answered_in_time(server, client, world):
    server.stop()
    with ThreadPoolExecutor(120) as threads:
        results = list(threads.map(lambda _: timed(client, "GET", f"/person/{world['person']}"), range(120)))
    for reply, seconds in results:
        assert_unavailable(reply, "GET")
        assert seconds < SECONDS


def test_an_application_may_start_before_mongodb_and_then_its_unique_fields_are_unique(
    server, client, patience
):
    server.stop()
    patience(1)
    reply, seconds = timed(client, "POST", "/person", {"name": "early", "email": "a@x.org"})
    assert_unavailable(reply, "POST")
    assert seconds < SECONDS
    start_mongodb(server)
    patience(PATIENCE)
    ann = client.post("/person", json={"name": "Ann", "email": "a@x.org"}, timeout=PATIENCE)
    assert ann.status == 201
    assert client.post("/person", json={"name": "Bob", "email": "a@x.org"}).status == 409
    assert [person["name"] for person in client.get("/person").json] == ["Ann"]


def test_a_mongodb_killed_during_writes_leaves_no_request_hanging_and_loses_no_answer(
    server, client, world, patience
):
    patience(5)
    stop = threading.Event()
    created, statuses, undone = [], set(), []

    def write(index):
        while not stop.is_set():
            name = f"writer {index} {uuid.uuid4()}"
            reply, seconds = timed(client, "POST", "/person", {"name": name})
            statuses.add(reply.status)
            assert seconds < SECONDS
            if reply.status == 201:
                created.append(reply.json["id"])
            elif reply.status != 409:
                assert_unavailable(reply, "POST", False, None)
                if reply.json["done"] is False:
                    undone.append(name)

    with ThreadPoolExecutor(6) as threads, recorded(signals.post_create_instance) as heard:
        writers = [threads.submit(write, index) for index in range(6)]

        def go_on_until(count):
            wait_for(lambda: len(created) >= count or any(writer.done() for writer in writers))

        try:
            go_on_until(20)
            server.kill()
            start_mongodb(server)
            go_on_until(len(created) + 10)
        finally:
            stop.set()
        for writer in writers:
            writer.result(PATIENCE)
    # 409: SecantusDB forgets with its process what it did, so a driver that repeats a write may find it done
    assert statuses <= {201, 503, 409}
    assert len(heard) == len(created)
    stored = {str(person.pk): person.name for person in Person.objects}
    assert set(created) <= set(stored)
    assert not set(undone) & set(stored.values())


def test_a_mongodb_that_goes_away_between_two_signals_stores_nothing_and_tells_nothing(
    server, client, world, patience
):
    def stop(sender):
        server.kill()

    with signals.pre_update_instance.connected_to(stop), recorded(signals.post_update_instance) as heard:
        reply, seconds = timed(client, "PUT", f"/person/{world['person']}", {"name": "Eve"})
    assert_unavailable(reply, "PUT", False, None)  # it may have been on its way
    assert seconds < SECONDS
    assert not heard
    start_mongodb(server)
    assert_resumes(client, world, patience)


def test_a_post_receiver_that_meets_an_outage_does_not_spoil_the_answer(server, client, world, patience):
    def stop(sender):
        server.kill()

    patience(PATIENCE)
    with signals.post_create_instance.connected_to(stop), recorded(signals.post_create_instance) as heard:
        assert client.post("/person", json={"name": "told"}).status == 201
    assert len(heard) == 1
