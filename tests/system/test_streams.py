"""A stream breaks off where MongoDB goes away."""

import http.client
import threading
from functools import partial

import mongoengine as me
import pytest

from hive import ModelHive, pool
from hive.embedded import Server
from hive.places import pages
from hive.testing import connected, serve
from tests.support.threads import PATIENCE, at_once, wait_for

NDJSON = {"Accept": "application/x-ndjson"}
PROBLEM = "application/problem+json"
HOOKS = {}


class MortalItem(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()


def hooked(handler, instance):
    """Do what the test wants done when the stream comes to a document."""
    if instance is not None and instance.number in HOOKS:
        HOOKS[instance.number]()
    return True


ROUTES = ModelHive.routes_for(MortalItem, stream=True, allow={"get": hooked})
ALL = "/mortal_item?per_page=all"


@pytest.fixture(scope="module")
def server():
    """A server that is for the tests to kill."""
    with Server(None) as server:
        yield server


@pytest.fixture
def mortal(server, monkeypatch):
    """A client of documents in pieces of two, that come by queries of four."""
    monkeypatch.setattr(pages, "STREAMED_AT_ONCE", 2)
    monkeypatch.setattr(pages, "STREAMED_BY_QUERY", 4)
    with connected("stream", host=server.uri, serverSelectionTimeoutMS=3000):
        MortalItem.objects.insert([MortalItem(number=number, name=f"n{number}") for number in range(20)])
        with serve(ROUTES) as client:
            yield client
        HOOKS.clear()
        server.start()  # or the driver says goodbye to nobody for half a minute


def is_idle():
    return pool.pool.busy == 0


def test_a_database_that_goes_away_breaks_streams_off(server, mortal):
    kinds = [{}, NDJSON, {"Accept-Encoding": "gzip"}]
    begun = threading.Barrier(len(kinds), server.kill)
    HOOKS[6] = lambda: begun.wait(PATIENCE)

    def is_broken_off(headers):
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            mortal.get(ALL, headers=headers, timeout=PATIENCE)

    at_once([partial(is_broken_off, headers) for headers in kinds])
    wait_for(is_idle)


def test_a_database_that_goes_away_before_a_stream_is_503(server, mortal):
    server.kill()
    reply = mortal.get(ALL, headers={**NDJSON, "Accept-Encoding": "gzip"}, timeout=PATIENCE)
    assert (reply.status, reply.headers["Content-Type"]) == (503, PROBLEM)
    assert "Content-Encoding" not in reply.headers
    assert reply.json["status"] == 503
