"""A process dies in the middle of a write with an Idempotency-Key: a repeat finds out what it has done.

As a program this file is the application that dies; its arguments are MONGODB_URI DATABASE WHEN.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection, RemoteDisconnected

import mongoengine as me
import pytest
from mongoengine import signals as engine_signals
from tornado.netutil import bind_sockets
from tornado.web import Application

from hive import HTTPServer, ModelHive, NotFoundHandler, flatten, idempotency, run, signals
from hive.testing import recorded, serve
from tests.support.programs import ROOT


class DyingNote(me.Document):
    text = me.StringField(max_length=20)
    n = me.IntField()
    tags = me.ListField(me.StringField())


class DyingTeam(me.Document):
    name = me.StringField()
    members = me.ListField(me.ReferenceField(DyingNote))


MODELS = (DyingNote, DyingTeam)
ROUTES = flatten([ModelHive.routes_for(model, deadline=60) for model in MODELS])
NOTE, TEAM = "/dying_note", "/dying_team"
TYPE, JSON, JSON_PATCH = "Content-Type", "application/json", "application/json-patch+json"
KEY = {"Idempotency-Key": "one"}
APPEND = [{"op": "add", "path": "/tags/-", "value": "new"}]


@pytest.fixture
def hasty(monkeypatch):
    """A process that does not beat is taken for dead after a moment."""
    monkeypatch.setattr(idempotency, "LEASE", 0.2)


def dump():
    return [list(model._get_collection().find()) for model in MODELS]


def told(reply):
    """All of an answer that may be told again."""
    headers = {name: value for name, value in reply.headers.items() if name not in ("Date", "X-Request-Id")}
    return reply.status, headers, reply.body


CREATE = ("POST", NOTE, {"text": "new"}, {}, 201)
CREATE_MANY = ("POST", NOTE, [{"text": "new"}, {"text": "newer"}], {}, 201)
CHANGE = ("PATCH", NOTE + "/{note}", APPEND, {TYPE: JSON_PATCH}, 200)
CREATE_AND_LINK = ("POST", TEAM + "/{team}/members", {"text": "new"}, {}, 201)
DEATHS = [
    ("pre", *CREATE),
    ("stored", *CREATE_MANY),
    ("stored", *CREATE_AND_LINK),
    ("post", *CHANGE),
    ("post", *CREATE_MANY),
]
"""When the process dies: before anything is stored, in the transaction, or before the answer."""


@contextmanager
def dying(uri, database, when):
    """The port of a process that serves, and dies at `when` of its first write."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, uri, database, when]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": path},
    ) as process:
        try:
            yield int(process.stdout.readline())
            assert process.wait(60) == 3
        finally:
            process.kill()


@pytest.mark.parametrize(
    "row", DEATHS, ids=[f"{row[0]} {i} {row[1]} {row[2]}" for i, row in enumerate(DEATHS)]
)
def test_a_process_that_dies_has_done_all_or_nothing_and_a_repeat_finds_out(
    mongodb_server, new_mongodb_database, hasty, row
):
    when, method, path, body, headers, status = row
    note = DyingNote(text="old", n=1, tags=["x"]).save()
    team = DyingTeam(name="A").save()
    path = path.format(note=note.pk, team=team.pk)
    before = dump()
    with (
        dying(mongodb_server, new_mongodb_database.name, when) as port,
        closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection,
    ):
        connection.request(method, path, json.dumps(body), {TYPE: JSON} | KEY | headers)
        with pytest.raises((RemoteDisconnected, ConnectionResetError)):
            connection.getresponse()
    after = dump()
    assert (after == before) == (when != "post")
    with serve(ROUTES) as api:
        with recorded() as heard:
            first = api.request(method, path, json=body, headers=KEY | headers)
        assert first.status == status, first.body
        assert bool(heard) == (when != "post")
        if when == "post":
            assert dump() == after
        done = dump()
        assert told(api.request(method, path, json=body, headers=KEY | headers)) == told(first)
    assert dump() == done
    assert DyingNote.objects(text__startswith="new").count() == (
        0 if method == "PATCH" else 2 if isinstance(body, list) else 1
    )
    note.reload()
    assert note.tags == (["x", "new"] if method == "PATCH" else ["x"])
    assert len(team.reload().members) == ("members" in path)


def die(*_, **__):
    os._exit(3)


async def serve_until_death(uri, database, when):
    me.connect(database, host=uri, uuidRepresentation="standard")
    server = HTTPServer(Application(ROUTES, default_handler_class=NotFoundHandler))
    sockets = bind_sockets(0, "127.0.0.1", socket.AF_INET)
    server.add_sockets(sockets)
    if when == "stored":
        engine_signals.post_save.connect(die)
    else:
        for kind in ("create", "update"):
            signals.core[f"{when}_{kind}_instance"].connect(lambda sender: die(), weak=False)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    run(serve_until_death(*sys.argv[1:]))
