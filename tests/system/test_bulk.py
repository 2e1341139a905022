"""Arrays of as many documents as one request may create."""

import json
import tracemalloc
from concurrent.futures import wait

import mongoengine as me
import pytest
from tornado.web import RequestHandler

from hive import ModelHive
from hive.testing import serve
from tests.support.threads import PATIENCE, in_thread

JSON = {"Content-Type": "application/json"}


class Crowd(me.Document):
    name = me.StringField(required=True, max_length=40)
    email = me.StringField(unique=True, sparse=True)
    tags = me.ListField(me.StringField())


class Ping(RequestHandler):
    def get(self):
        self.write("pong")


@pytest.fixture
def api(mongodb_database):
    with serve([*ModelHive.routes_for(Crowd, deadline=60), ("/ping", Ping)]) as api:
        yield api


def array_of(count, **more):
    return json.dumps([{"name": f"user {index}"} | more for index in range(count)]).encode()


def test_10000_documents_and_no_more_are_created_while_others_are_answered(api):
    """Where the event loop waited for them, it would answer one or two."""
    pings = 0
    with in_thread(lambda: api.post("/crowd", body=array_of(10_000), headers=JSON, timeout=600)) as creating:
        while not creating.done():
            assert api.get("/ping", timeout=PATIENCE).body == b"pong"
            pings += 1
            wait([creating], timeout=0.05)
    reply = creating.result()
    assert reply.status == 201
    assert len({one["id"] for one in reply.json}) == 10_000
    assert Crowd.objects.count() == 10_000
    assert Crowd.objects.get(pk=reply.json[9_999]["id"]).name == "user 9999"
    assert pings > 5
    reply = api.post("/crowd", body=array_of(10_001), headers=JSON, timeout=PATIENCE)
    assert reply.status == 413
    assert "10000" in reply.json["detail"]
    assert Crowd.objects.count() == 10_000


def test_documents_are_created_in_little_memory(api):
    """For 10,000 of them, 150 MiB."""
    api.post("/crowd", json=[{"name": "first"}])
    body = array_of(1_000, tags=["x" * 100] * 3)
    tracemalloc.start()
    try:
        reply = api.post("/crowd", body=body, headers=JSON, timeout=600)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reply.status == 201
    assert Crowd.objects.count() == 1_001
    assert peak < 15 * 2**20
