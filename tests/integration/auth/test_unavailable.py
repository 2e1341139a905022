"""Nobody is let in where MongoDB does not tell whose session has ended, and how often somebody has tried."""

import socket
import time

import mongoengine
import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, authenticated
from hive.sessions import Keys
from hive.testing import connected, serve
from tests.support.threads import at_once

KEY = "k" * 32


class AwayNote(mongoengine.Document):
    text = mongoengine.StringField()


class Credulous(Provider):
    """Believes whatever is posted, and any token."""

    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return {"id": token}, time.time() + 3600


class OwnHandler(RequestHandler):
    @authenticated
    def get(self):
        self.write(self.current_user["id"])


def application(**how):
    routes = [*AuthHive.routes_for([Credulous()]), *ModelHive.routes_for(AwayNote), ("/own", OwnHandler)]
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key=KEY, **how)
    return made


@pytest.fixture
def away(monkeypatch):
    """mongoengine's default connection, to a port where nobody listens."""
    monkeypatch.setattr("hive.pool.DEADLINE", 0.2)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with connected("hive-away", host=f"mongodb://127.0.0.1:{reserved.getsockname()[1]}"):
            yield
            mongoengine.get_connection().close()


def cookie():
    """That of a session which has begun at another process."""
    now = int(time.time())
    who = {"jti": "s1", "provider": "credulous", "user": {"id": "ann"}}
    times = {"auth_time": now - 700, "iat": now - 700, "exp": now + 500}  # it is due to be renewed
    return {"Cookie": f"__Host-session={Keys(KEY).sign('session', who | times)}"}


NEEDING = [
    *(("GET", path) for path in ("/auth/me/", "/own", "/away_note")),
    ("HEAD", "/away_note"),
    ("OPTIONS", "/away_note"),
    ("POST", "/away_note"),
    ("POST", "/auth/signout/"),
]


def bearer():
    return {"Authorization": "Bearer token"}


@pytest.mark.parametrize("proof", [cookie, bearer])
def test_nobody_is_let_in_while_it_is_unknown_whose_session_has_ended(away, monkeypatch, proof):
    with serve(application()) as client:
        sent = proof() | {"Origin": f"http://127.0.0.1:{client.port}"}
        replies = at_once(
            [lambda one=one: client.request(*one, headers=sent, timeout=120) for one in NEEDING]
        )
        assert [reply.status for reply in replies] == [503] * len(NEEDING)
        for reply in replies:
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert int(reply.headers["Retry-After"]) > 0
            assert reply.headers["Set-Cookie"] is None
        monkeypatch.setattr("hive.pool.DEADLINE", 60)
        assert client.get("/away_note").status == 401
        assert client.get("/auth/me/").json == {"authenticated": False}


def test_sign_in_that_cannot_end_the_previous_session_signs_nobody_in(away):
    with serve(application()) as client:
        reply = client.post("/auth/signin/", json={"id": "bob"}, headers=cookie(), timeout=120)
    assert (reply.status, reply.headers["Set-Cookie"]) == (503, None)


def test_no_attempt_gets_through_that_cannot_be_counted(away):
    with serve(application(signin_rate="9/hour", write_rate="9/hour", rates_in="mongodb")) as client:
        for path in ("/auth/signin/", "/away_note"):
            reply = client.post(path, json={"id": "ann"}, timeout=120)
            assert (reply.status, reply.headers["Set-Cookie"]) == (503, None)
            assert int(reply.headers["Retry-After"]) > 0
