"""Sessions and rate limits of two processes that use the same database."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager

import mongoengine
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider
from hive.permissions import everyone
from hive.testing import Client, connected, serve
from tests.support.programs import ROOT


class SharedNote(mongoengine.Document):
    text = mongoengine.StringField()


class Credulous(Provider):
    """Believes whatever is posted, and any token."""

    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return {"id": token}, time.time() + 3600


def application(**how):
    routes = [*AuthHive.routes_for([Credulous()]), *ModelHive.routes_for(SharedNote)]
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key="k" * 32, **how)
    return made


def limited():
    """An application whose writes are limited for all processes."""
    routes = ModelHive.routes_for(SharedNote, allow={"create": everyone})
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key="k" * 32, write_rate="5/hour", rates_in="mongodb")
    return made


@contextmanager
def served():
    """Clients of both applications."""
    with serve(application()) as open_one, serve(limited()) as limited_one:
        yield open_one, limited_one


def main(uri, name):
    """Serve both in another process, until its input ends."""
    with connected(name, host=uri), served() as clients:
        print(json.dumps([client.port for client in clients]), flush=True)
        sys.stdin.read()


@contextmanager
def another_process(database):
    host, port = database.client.address
    command = [sys.executable, "-m", "tests.system.test_auth", f"mongodb://{host}:{port}", database.name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield [Client(port) for port in json.loads(process.stdout.readline())]
        process.stdin.close()
        assert process.wait(120) == 0


def own(client):
    return {"Origin": f"http://127.0.0.1:{client.port}"}


def sign_in(client, headers=None):
    reply = client.post("/auth/signin/", json={"id": "ann"}, headers=headers)
    assert reply.status == 200, reply.body
    return {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}


def is_known(client, headers):
    """Whether a request is let in, to read and to write."""
    known = client.get("/auth/me/", headers=headers).json.get("authenticated", False)
    assert client.get("/shared_note", headers=headers).status == (200 if known else 401)
    writing = client.post("/shared_note", json={}, headers=headers | own(client))
    assert writing.status == (201 if known else 401)
    return known


def test_what_one_process_ends_or_counts_holds_for_another_at_once(new_mongodb_database):
    with served() as (here, limited_here), another_process(new_mongodb_database) as (there, limited_there):
        cookie, bearer = sign_in(here), {"Authorization": "Bearer token"}
        for headers in (cookie, bearer):
            assert is_known(here, headers)
            assert is_known(there, headers)
            assert there.post("/auth/signout/", headers=headers | own(there)).status == 200
            assert not is_known(here, headers)
            assert not is_known(there, headers)
        first = sign_in(there)
        second = sign_in(there, headers=first)
        assert [is_known(here, headers) for headers in (first, second)] == [False, True]
        clients = [limited_here, limited_there] * 4
        assert [client.post("/shared_note", json={}).status for client in clients] == [201] * 5 + [429] * 3


if __name__ == "__main__":
    main(*sys.argv[1:])
