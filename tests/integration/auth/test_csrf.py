"""Changes by cookie come from the application's own pages, and bearer tokens go before cookies."""

import time
from contextlib import contextmanager

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, signals
from hive.errors import Forbidden
from hive.testing import recorded, serve

KEY = "k" * 32
TRUSTED = "https://app.example.org"


class AuthnNote(me.Document):
    text = me.StringField()


class Credulous(Provider):
    """Believes whatever is posted, and a token that says ``token NAME``."""

    def __init__(self):
        self.asked = 0

    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        self.asked += 1
        kind, _, name = token.partition("-")
        seconds = {"token": 3600, "gone": -60}.get(kind)
        return ({"id": name}, time.time() + seconds) if name and seconds else None


class Other(Provider):
    """Knows one token."""

    async def bearer(self, token):
        return ({"id": "of the other"}, time.time() + 60) if token == "other" else None


@contextmanager
def serving(*, provider=None, settings=None, **how):
    routes = AuthHive.routes_for([provider or Credulous(), Other()]) + ModelHive.routes_for(AuthnNote)
    application = Application(routes, default_handler_class=NotFoundHandler, **settings or {})
    AuthHive.configure(application, **{"secret_key": KEY} | how)
    with serve(application) as client:
        yield client


@pytest.fixture
def client(mongomock_database):
    with serving() as client:
        yield client


@pytest.fixture
def strict(mongomock_database):
    with serving(settings={"xsrf_cookies": True}) as client:
        yield client


def origin(client):
    return f"http://127.0.0.1:{client.port}"


def sign_in(client, **headers):
    """The headers of who is signed in, without any that prove where a request comes from."""
    reply = client.post("/auth/signin/", json={"provider": "credulous", "id": "ann"}, headers=headers)
    assert reply.status == 200, reply.body
    return {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}


def create(client, headers):
    """The status of a request that creates, having made sure that a refused one created nothing."""
    before = AuthnNote.objects.count()
    reply = client.post("/authn_note", json={"text": "x"}, headers=headers)
    assert AuthnNote.objects.count() == before + (reply.status == 201)
    if reply.status != 201:
        assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.status


# Changes by cookie must come from the application's own pages

OWN = "http://127.0.0.1:{port}"
PROOFS = [
    ({"Origin": OWN}, 201),
    ({"Sec-Fetch-Site": "same-origin"}, 201),
    ({}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "https://127.0.0.1:{port}"}, 403),
    ({"Origin": OWN, "Sec-Fetch-Site": "same-site"}, 403),
]


@pytest.mark.parametrize(("proof", "status"), PROOFS, ids=[str(proof) for proof, _ in PROOFS])
def test_change_by_cookie_needs_proof_of_where_it_comes_from(client, proof, status):
    headers = {name: value.format(port=client.port) for name, value in proof.items()}
    assert create(client, sign_in(client) | headers) == status


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {}),
        ("PUT", {"Origin": "https://evil.example"}),
        ("PATCH", {"Sec-Fetch-Site": "cross-site"}),
        ("DELETE", {}),
    ],
)
def test_no_change_by_cookie_from_elsewhere_is_heard_or_stored(client, method, headers):
    note = AuthnNote(text="before").save()
    path = "/authn_note" if method == "POST" else f"/authn_note/{note.id}"
    with recorded() as heard:
        reply = client.request(method, path, json={"text": "after"}, headers=sign_in(client) | headers)
    assert reply.status == 403
    assert [note.text for note in AuthnNote.objects] == ["before"]
    assert heard == []


def test_reading_needs_no_proof(client):
    headers = sign_in(client) | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.request(method, "/authn_note", headers=headers).status in (200, 204)


@pytest.mark.parametrize(
    ("allowed", "status"),
    [([TRUSTED], 201), (["*"], 403), (["https://other.example.org"], 403), ([], 403)],
    ids=str,
)
def test_pages_of_origins_that_are_listed_may_change_too(mongomock_database, allowed, status):
    with serving(settings={"hive_cors_origins": allowed}) as client:
        assert create(client, sign_in(client) | {"Origin": TRUSTED, "Sec-Fetch-Site": "cross-site"}) == status


def test_wrong_list_of_origins_opens_nothing_and_leaves_own_pages_alone(mongomock_database):
    with serving(settings={"hive_cors_origins": ["https://app.example.org/"]}) as client:
        cookie = sign_in(client)
        assert create(client, cookie | {"Origin": TRUSTED}) == 403
        assert create(client, cookie | {"Origin": origin(client)}) == 201


def test_origin_that_is_configured_is_the_own_one_whatever_the_host_says(mongomock_database):
    with serving(origin="https://app.example.org") as client:
        cookie = sign_in(client)
        assert create(client, cookie | {"Origin": TRUSTED}) == 201
        assert create(client, cookie | {"Origin": origin(client)}) == 403
        assert create(client, cookie | {"Origin": "http://evil.example", "Host": "evil.example"}) == 403


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Basic x, Bearer token-eve"])
def test_authorization_of_a_proxy_beside_a_cookie_does_not_replace_the_proof(client, authorization):
    headers = sign_in(client) | {"Authorization": authorization}
    assert create(client, headers) == 403
    assert create(client, headers | {"Origin": "https://evil.example"}) == 403
    assert create(client, headers | {"Origin": origin(client)}) == 201


# X-XSRFToken, where the application asks for it


def test_me_gives_pages_the_token_for_their_changes(strict):
    reply = strict.get("/auth/me/")
    [cookie] = reply.headers.get_all("Set-Cookie")
    assert cookie.startswith("_xsrf=")
    assert "HttpOnly" not in cookie
    token = cookie.partition(";")[0].partition("=")[2]
    signed_in = sign_in(strict, Cookie=f"_xsrf={token}", **{"X-XSRFToken": token})
    headers = {"Cookie": f"{signed_in['Cookie']}; _xsrf={token}", "Origin": origin(strict)}
    assert create(strict, headers | {"X-XSRFToken": token}) == 201
    of_another = strict.get("/auth/me/").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    for wrong in ("", "x", "2|a|b|c", of_another):
        assert create(strict, headers | {"X-XSRFToken": wrong}) == 403
    for method, path in (("POST", "/auth/signout/"), ("POST", "/auth/signin/")):
        assert strict.request(method, path, headers=headers).status == 403


def test_token_for_changes_does_not_replace_the_proof_of_origin(strict):
    token = strict.get("/auth/me/").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    asked = {"X-XSRFToken": token}
    cookie = sign_in(strict, Cookie=f"_xsrf={token}", **asked)["Cookie"]
    headers = asked | {"Cookie": f"{cookie}; _xsrf={token}"}
    assert create(strict, headers) == 403
    assert create(strict, headers | {"Sec-Fetch-Site": "same-site"}) == 403


def test_client_with_a_bearer_token_needs_no_other(strict):
    assert create(strict, {"Authorization": "Bearer token-ann"}) == 201
    assert create(strict, {"Authorization": "Basic YTpi"}) == 403


def test_without_the_setting_me_sets_no_cookie(client):
    assert "Set-Cookie" not in client.get("/auth/me/").headers


# Bearer tokens


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Bearer "])
def test_bearer_token_lets_in_without_cookie_and_proof(client, scheme):
    headers = {"Authorization": f"{scheme} token-ann"}
    assert create(client, headers) == 201
    assert create(client, headers | {"Origin": "https://evil.example"}) == 201
    reply = client.get("/auth/me/", headers=headers)
    assert reply.json["userData"] == {"id": "ann", "provider": "credulous"}
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize(
    "token",
    ["nonsense", "gone-ann", "ü", "\x80", "nonsense, Bearer token-ann", ""],
    ids=lambda token: repr(token[:12]),
)
def test_bearer_token_that_does_not_hold_is_401_even_beside_a_good_cookie(client, token):
    cookie = sign_in(client) | {"Origin": origin(client)}
    bad = {"Authorization": f"Bearer {token}".encode("latin-1")}
    for headers in (bad, cookie | bad):
        assert create(client, headers) == 401
        for path in ("/auth/me/", "/authn_note"):
            reply = client.get(path, headers=headers)
            assert (reply.status, reply.json["status"]) == (401, 401)
            assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_bearer_token_goes_before_the_cookie(client):
    reply = client.get("/auth/me/", headers=sign_in(client) | {"Authorization": "Bearer token-bob"})
    assert reply.json["userData"]["id"] == "bob"


def test_each_provider_of_the_application_is_asked_for_a_token(client):
    reply = client.get("/auth/me/", headers={"Authorization": "Bearer other"})
    assert reply.json["userData"] == {"id": "of the other", "provider": "other"}


def test_bearer_token_is_checked_once_and_its_user_is_told_once(mongomock_database):
    provider = Credulous()
    with serving(provider=provider) as client, recorded(signals.authorized_user) as heard:
        for _ in range(3):
            assert create(client, {"Authorization": "Bearer token-ann"}) == 201
        assert create(client, {"Authorization": "Bearer token-bob"}) == 201
    assert provider.asked == 2
    assert [told.arguments["user_data"]["id"] for told in heard] == ["ann", "bob"]


def test_user_whom_a_receiver_refuses_is_refused_with_a_token_too(client):
    def refuse(sender, user_data):
        if user_data["id"] == "eve":
            raise Forbidden

    with signals.authorized_user.connected_to(refuse):
        for _ in range(2):
            assert create(client, {"Authorization": "Bearer token-eve"}) == 403
        assert create(client, {"Authorization": "Bearer token-ann"}) == 201


def test_provider_without_bearer_tokens_takes_none(mongomock_database):
    class Plain(Provider):
        pass

    with serving(provider=Plain()) as client:
        assert client.get("/auth/me/", headers={"Authorization": "Bearer x"}).status == 401


# Sign-in


def test_authentication_does_not_depend_on_receivers(client):
    assert not signals.authorized_user.receivers
    assert create(client, {}) == 401
    assert create(client, sign_in(client) | {"Origin": origin(client)}) == 201
