"""hive.revocations: what has ended is dead at once, on every process, and nobody gets in by doubt."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC

import mongoengine
import pymongo
import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, authenticated
from hive.embedded import Server
from hive.revocations import COLLECTION, Revocations
from hive.sessions import Keys
from hive.testing import Client, connected, serve

KEY = "k" * 32
DAY = 86400


class RevokeNote(mongoengine.Document):
    text = mongoengine.StringField()


class Credulous(Provider):
    """Believes whatever is posted, and any token that begins with ``token``, for ten days."""

    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return ({"id": token}, time.time() + 10 * DAY) if token.startswith("token") else None


class OwnHandler(RequestHandler):
    @authenticated
    def get(self):
        self.write(self.current_user["id"])


def application(**how):
    routes = [*AuthHive.routes_for([Credulous()]), *ModelHive.routes_for(RevokeNote), ("/own", OwnHandler)]
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key=KEY, **how)
    return made


def main(uri, name):
    """What another process serves, until its input ends."""
    with connected(name, host=uri), serve(application()) as client:
        print(client.port, flush=True)
        sys.stdin.read()


@contextmanager
def another_process(database):
    host, port = database.client.address
    command = [sys.executable, __file__, f"mongodb://{host}:{port}", database.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Client(int(process.stdout.readline()))
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.fixture
def client(database):
    with serve(application()) as client:
        yield client


def own(client):
    return {"Origin": f"http://127.0.0.1:{client.port}"}


def sign_in(client, headers=None, **user):
    reply = client.post("/auth/signin/", json={"id": "ann"} | user, headers=headers)
    assert reply.status == 200, reply.body
    return {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}


def sign_out(client, headers):
    return client.post("/auth/signout/", headers=headers | own(client))


def is_known(client, headers):
    """Whether a request is let in, everywhere alike."""
    known = client.get("/auth/me/", headers=headers).json.get("authenticated", False)
    assert client.get("/revoke_note", headers=headers).status == (200 if known else 401)
    assert client.get("/own", headers=headers).status == (200 if known else 401)
    writing = client.post("/revoke_note", json={"text": "x"}, headers=headers | own(client))
    assert writing.status == (201 if known else 401)
    return known


# Sign-out


def test_cookie_that_was_signed_out_is_dead_at_once_for_everything(client):
    cookie = sign_in(client)
    assert is_known(client, cookie)
    reply = sign_out(client, cookie)
    assert (reply.status, reply.json) == (200, {"authenticated": False})
    assert "expires=" in reply.headers["Set-Cookie"]
    assert reply.headers["Set-Cookie"].startswith('__Host-session="";')
    assert not is_known(client, cookie)


def test_cookie_that_was_signed_out_is_dead_on_another_application(database):
    with serve(application()) as first, serve(application()) as second:
        cookie = sign_in(first)
        assert is_known(second, cookie)
        sign_out(first, cookie)
        assert not is_known(second, cookie)


def test_session_that_ended_is_dead_in_another_process_at_once(mongodb_database):
    with serve(application()) as here, another_process(mongodb_database) as there:
        cookie, bearer = sign_in(here), {"Authorization": "Bearer token"}
        for headers in (cookie, bearer):
            assert is_known(here, headers)
            assert is_known(there, headers)
            assert sign_out(there, headers).status == 200
            assert not is_known(here, headers)
            assert not is_known(there, headers)
        first = sign_in(there)
        second = sign_in(there, headers=first)
        assert [is_known(here, headers) for headers in (first, second)] == [False, True]


def test_all_cookies_of_a_session_die_with_it(client):
    now = int(time.time())
    old = {"jti": "s1", "provider": "credulous", "user": {"id": "ann"}}
    value = Keys(KEY).sign("session", old | {"auth_time": now - 700, "iat": now - 700, "exp": now + 500})
    before = {"Cookie": f"__Host-session={value}"}
    reply = client.get("/auth/me/", headers=before)
    renewed = {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}
    assert before != renewed
    sign_out(client, renewed)
    assert not is_known(client, before)
    assert not is_known(client, renewed)
    assert "Set-Cookie" not in client.get("/auth/me/", headers=before).headers


def test_sign_out_ends_no_other_session_of_the_user(client):
    phone, desk = sign_in(client), sign_in(client)
    sign_out(client, phone)
    assert not is_known(client, phone)
    assert is_known(client, desk)


def test_sign_out_without_a_session_or_of_one_that_ended_is_no_error(client):
    cookie = sign_in(client)
    for headers in ({}, cookie, cookie, {"Cookie": "__Host-session=nonsense"}):
        assert sign_out(client, headers).json == {"authenticated": False}
    assert client.get("/auth/signout/").status == 405


@pytest.mark.parametrize(
    "names",
    [("token1", "token2"), ("token.x.1", "token.x.2"), ("token-v4.local.1", "token-v4.local.2")],
    ids=str,
)
def test_sign_out_of_a_bearer_token_holds_for_that_token_only(client, names):
    first, second = ({"Authorization": f"Bearer {name}"} for name in names)
    assert is_known(client, first)
    assert client.post("/auth/signout/", headers=first).status == 200
    reply = client.get("/auth/me/", headers=first)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert not is_known(client, first)
    assert is_known(client, second)


def test_sign_in_ends_the_session_that_the_browser_had(client):
    ann = sign_in(client)
    bob = sign_in(client, headers=ann, id="bob")
    assert not is_known(client, ann)
    assert is_known(client, bob)


def test_sign_in_that_fails_ends_no_session(client):
    cookie = sign_in(client)
    for user in ({"id": None}, {"id": "bob", "photo": "x" * 5000}):
        assert client.post("/auth/signin/", json=user, headers=cookie).status == 500
    assert is_known(client, cookie)


# What is kept, and for how long


def test_collection_has_an_index_by_which_mongodb_forgets(mongodb_database):
    with serve(application()) as client:
        sign_out(client, sign_in(client))
    indexes = mongodb_database[COLLECTION].index_information()
    assert [
        index["expireAfterSeconds"] for index in indexes.values() if index["key"] == [("expires", 1)]
    ] == [0]


def kept_until(database):
    [entry] = database[COLLECTION].find()
    return entry["expires"].replace(tzinfo=UTC).timestamp()


def test_session_is_remembered_until_no_cookie_of_it_can_hold(client, database):
    sign_out(client, sign_in(client))
    assert 43200 - 10 < kept_until(database) - time.time() <= 43200


def test_bearer_token_is_remembered_until_it_expires_itself(client, database):
    client.post("/auth/signout/", headers={"Authorization": "Bearer token"})
    assert kept_until(database) >= time.time() + 10 * DAY - 10


def test_no_secret_is_kept(client, database):
    cookie = sign_in(client)
    sign_out(client, cookie)
    client.post("/auth/signout/", headers={"Authorization": "Bearer token-of-ann"})
    kept = str(list(database[COLLECTION].find()))
    assert "token-of-ann" not in kept
    assert cookie["Cookie"].rpartition(".")[2] not in kept


def test_what_works_once_works_for_one_of_many_at_once(mongodb_database):
    revocations, until = Revocations("default"), time.time() + 60
    with ThreadPoolExecutor(8) as threads:
        firsts = list(threads.map(lambda index: revocations.add(f"proof {index % 5}", until), range(40)))
    assert firsts.count(True) == 5
    assert "proof 1" in revocations
    assert "proof 5" not in revocations


def test_time_beyond_what_mongodb_knows_is_its_last(database):
    assert Revocations("default").add("far", 1e30)
    [entry] = database[COLLECTION].find()
    assert entry["expires"].year == 9999


def test_sessions_that_ended_are_kept_in_the_connection_that_is_named(database, mongodb_server):
    name = f"hive-elsewhere-{time.time_ns()}"
    elsewhere = mongoengine.connect(
        name, alias="revoke-elsewhere", host=mongodb_server, uuidRepresentation="standard"
    )
    try:
        with serve(application(db_alias="revoke-elsewhere")) as client:
            cookie = sign_in(client)
            sign_out(client, cookie)
            assert not is_known(client, cookie)
        assert elsewhere[name][COLLECTION].count_documents({}) == 1
        assert database[COLLECTION].count_documents({}) == 0
    finally:
        elsewhere.drop_database(name)
        mongoengine.disconnect("revoke-elsewhere")


def test_connection_that_is_not_there_lets_nobody_in(mongomock_database):
    with serve(application(db_alias="revoke-nowhere")) as client:
        cookie = sign_in(client)
        for path in ("/auth/me/", "/own", "/revoke_note"):
            assert client.get(path, headers=cookie).status >= 500


# MongoDB goes away

NEEDING = [
    *(("GET", path) for path in ("/auth/me/", "/own", "/revoke_note")),
    ("HEAD", "/revoke_note"),
    ("OPTIONS", "/revoke_note"),
    ("POST", "/revoke_note"),
    ("POST", "/auth/signout/"),
]


@pytest.fixture
def server():
    server = Server(None)
    yield server
    server.kill()


@pytest.fixture
def left_alone(server):
    """A client of an application whose MongoDB will be gone."""
    server.start()
    stack = ExitStack()
    stack.enter_context(connected("hive-away", host=server.uri))
    yield stack.enter_context(serve(application()))
    with pymongo.timeout(0.1):  # or the driver says goodbye for half a minute
        stack.close()


def test_nobody_is_let_in_while_it_is_unknown_whose_session_has_ended(server, left_alone):
    client = left_alone
    cookie, token = sign_in(client), {"Authorization": "Bearer token"}
    for headers in (cookie, token):
        assert is_known(client, headers)
    server.kill()
    asked = [(*one, headers | own(client)) for headers in (cookie, token) for one in NEEDING]
    with ThreadPoolExecutor(len(asked)) as threads:
        replies = list(threads.map(lambda one: client.request(one[0], one[1], headers=one[2]), asked))
    assert [reply.status for reply in replies] == [503] * len(asked)
    for reply in replies:
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert int(reply.headers["Retry-After"]) > 0
        assert reply.headers["Set-Cookie"] is None
    assert client.get("/revoke_note").status == 401
    assert client.get("/auth/me/").json == {"authenticated": False}


def test_sign_in_that_cannot_end_the_previous_session_signs_nobody_in(server, left_alone):
    cookie = sign_in(left_alone)
    server.kill()
    reply = left_alone.post("/auth/signin/", json={"id": "bob"}, headers=cookie)
    assert (reply.status, reply.headers["Set-Cookie"]) == (503, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
