"""What has ended is dead at once, on every process that uses the same database."""

import time
from datetime import UTC

import mongoengine
import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, authenticated
from hive.revocations import COLLECTION, Revocations
from hive.sessions import Keys
from hive.testing import serve
from tests.support.threads import at_once

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


@pytest.fixture
def client(mongodb_database):
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


def test_cookie_that_was_signed_out_is_dead_on_another_application(mongodb_database):
    with serve(application()) as first, serve(application()) as second:
        cookie = sign_in(first)
        assert is_known(second, cookie)
        sign_out(first, cookie)
        assert not is_known(second, cookie)


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


def test_collection_has_an_index_by_which_mongodb_forgets(new_mongodb_database):
    with serve(application()) as client:
        sign_out(client, sign_in(client))
    indexes = new_mongodb_database[COLLECTION].index_information()
    assert [
        index["expireAfterSeconds"] for index in indexes.values() if index["key"] == [("expires", 1)]
    ] == [0]


def kept_until(database):
    [entry] = database[COLLECTION].find()
    return entry["expires"].replace(tzinfo=UTC).timestamp()


def test_session_is_remembered_until_no_cookie_of_it_can_hold(client, mongodb_database):
    earliest = int(time.time())
    cookie = sign_in(client)
    latest = time.time()
    sign_out(client, cookie)
    assert earliest <= kept_until(mongodb_database) - 43200 <= latest


def test_bearer_token_is_remembered_until_it_expires_itself(client, mongodb_database):
    earliest = int(time.time())
    client.post("/auth/signout/", headers={"Authorization": "Bearer token"})
    assert kept_until(mongodb_database) >= earliest + 10 * DAY


def test_no_secret_is_kept(client, mongodb_database):
    cookie = sign_in(client)
    sign_out(client, cookie)
    client.post("/auth/signout/", headers={"Authorization": "Bearer token-of-ann"})
    kept = str(list(mongodb_database[COLLECTION].find()))
    assert "token-of-ann" not in kept
    assert cookie["Cookie"].rpartition(".")[2] not in kept


def test_what_works_once_works_once(database):
    revocations, until = Revocations("default"), time.time() + 600
    assert [revocations.add(proof, until) for proof in ("one", "two", "one")] == [True, True, False]
    assert [proof in revocations for proof in ("one", "two", "three")] == [True, True, False]


def test_what_works_once_works_for_one_of_many_at_once(mongodb_database):
    revocations, until = Revocations("default"), time.time() + 600
    proofs = [f"proof {index % 4}" for index in range(16)]
    firsts = at_once([lambda proof=proof: revocations.add(proof, until) for proof in proofs])
    assert firsts.count(True) == 4


def test_time_beyond_what_mongodb_knows_is_its_last(database):
    assert Revocations("default").add("far", 1e30)
    [entry] = database[COLLECTION].find()
    assert entry["expires"].year == 9999


def test_sessions_that_ended_are_kept_in_the_connection_that_is_named(mongodb_database, mongodb_server):
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
        assert mongodb_database[COLLECTION].count_documents({}) == 0
    finally:
        elsewhere.drop_database(name)
        mongoengine.disconnect("revoke-elsewhere")


def test_connection_that_is_not_there_lets_nobody_in(mongomock_database):
    with serve(application(db_alias="revoke-nowhere")) as client:
        cookie = sign_in(client)
        for path in ("/auth/me/", "/own", "/revoke_note"):
            assert client.get(path, headers=cookie).status >= 500
