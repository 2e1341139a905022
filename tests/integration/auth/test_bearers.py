"""Clients that come with a bearer token in each request, and no cookie."""

import time

import pytest
from tornado.web import Application

from hive import AuthHive, OpenIDProvider, Provider
from hive.auth import tokens
from hive.errors import Forbidden
from hive.signals import authorized_user, pre_get_user_details, request_started
from hive.testing import recorded, serve
from tests.support.hostile import CLIENT_ID, Browser, Hostile, Key
from tests.support.threads import PATIENCE, at_once, in_thread, wait_for

AUDIENCE = "https://api.example.org"
INVALID = 'Bearer error="invalid_token"'


def application(*providers):
    made = Application(AuthHive.routes_for(providers))
    AuthHive.configure(made, secret_key="k" * 32, signin_rate=None, write_rate=None)
    return made


def openid(hostile, **how):
    return OpenIDProvider(hostile.url, CLIENT_ID, **how)


@pytest.fixture
def api(hostile, mongomock_database):
    with serve(application(openid(hostile))) as client:
        yield client


def with_bearer(client, token, method="GET", path="/auth/me/"):
    return client.request(method, path, headers={"Authorization": f"Bearer {token}"})


BAD = {
    "expired": lambda it: it.token(exp=1),
    "for another": lambda it: it.token(aud="another"),
    "a logout token": lambda it: it.token(header={"typ": "logout+jwt"}),
    "words": lambda it: "not a token",
    "not ASCII": lambda it: "\u00e9.\u00e9.\u00e9",
    "long": lambda it: "a" * 9000,
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_token_that_does_not_hold_is_401(hostile, api, bad):
    reply = with_bearer(api, bad(hostile))
    assert (reply.status, reply.json["status"]) == (401, 401)
    assert reply.headers["WWW-Authenticate"] == INVALID
    assert "Set-Cookie" not in reply.headers


def test_a_bearer_is_asked_for_its_audience(hostile, mongomock_database):
    with serve(application(openid(hostile, audience=AUDIENCE))) as client:
        good = hostile.token(header={"typ": "at+jwt"}, aud=[AUDIENCE, "another-api"])
        assert with_bearer(client, good).json["userData"]["id"] == "ann"
        assert with_bearer(client, hostile.token(aud=CLIENT_ID)).status == 401
        assert Browser(client).sign_in(good).status == 401


def test_a_bearer_needs_no_cookie_gets_none_and_no_proof_of_origin(hostile, api):
    sent = {"Authorization": f"Bearer {hostile.token()}"}
    reply = api.get("/auth/me/", headers=sent)
    assert reply.json["authenticated"] is True
    assert "Set-Cookie" not in reply.headers
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert api.post("/auth/signout/", headers=sent | foreign).status == 200


def test_a_bearer_goes_before_the_cookie_and_does_not_fall_back_to_it(hostile, api):
    browser = Browser(api)
    assert browser.sign_in(hostile.token()).status == 200
    as_bob = {"Authorization": f"Bearer {hostile.token(sub='bob')}"}
    assert browser.get("/auth/me/", headers=as_bob).json["userData"]["id"] == "bob"
    wrong = {"Authorization": f"Bearer {hostile.token(aud='another')}"}
    assert browser.get("/auth/me/", headers=wrong).status == 401
    assert browser.user["id"] == "ann"


def test_authorized_user_is_sent_once_for_a_bearer(hostile, api):
    token = hostile.token()
    with recorded(authorized_user) as heard:
        assert {with_bearer(api, token).status for _ in range(5)} == {200}
    assert [one.sender for one in heard] == ["openid"]
    assert hostile.requests.count("/jwks") == 1


def test_authorized_user_is_sent_once_for_a_bearer_that_comes_often_at_the_same_time(hostile, api):
    token = hostile.token()
    hostile.instead = {"/jwks": lambda request: hostile.released.wait(PATIENCE) and hostile.publish(request)}
    asks = [lambda: with_bearer(api, token)] * 8
    with recorded(authorized_user, request_started) as heard, in_thread(lambda: at_once(asks)) as replies:
        wait_for(lambda: len(heard) == 8)
        hostile.released.set()
        assert {reply.status for reply in replies.result()} == {200}
    assert [one.name for one in heard].count("authorized_user") == 1


def test_a_bearer_that_is_known_is_known_with_its_signature_only(hostile, api):
    token = hostile.token()
    assert with_bearer(api, token).status == 200
    for forged in (token[:-9] + "A" * 9, token.rpartition(".")[0] + ".", token.rpartition(".")[0]):
        assert with_bearer(api, forged).status == 401


def test_each_provider_is_asked_once_for_a_bearer(mongomock_database):
    class Asked(Provider):
        tokens = []

        async def bearer(self, token):
            self.tokens.append(token)

    with serve(application(Asked())) as client:
        assert with_bearer(client, "a.b.c").status == 401
    assert Asked.tokens == ["a.b.c"]


def test_a_receiver_refuses_a_bearer_each_time(hostile, api):
    def refuse(sender):
        raise Forbidden

    token = hostile.token()
    with authorized_user.connected_to(refuse):
        assert [with_bearer(api, token).status for _ in range(2)] == [403, 403]
    assert with_bearer(api, token).status == 200


def test_a_bearer_expires_although_it_is_known(hostile, api, monkeypatch):
    token = hostile.token(exp=int(time.time()) - 60)
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "LEEWAY", 600)
        assert with_bearer(api, token).status == 200
    assert with_bearer(api, token).status == 401


def test_a_bearer_that_has_signed_out_is_dead_on_all_instances(hostile, mongodb_database):
    token = hostile.token()
    with serve(application(openid(hostile))) as one, serve(application(openid(hostile))) as other:
        assert [with_bearer(client, token).status for client in (one, other)] == [200, 200]
        assert with_bearer(one, token, "POST", "/auth/signout/").status == 200
        replies = [with_bearer(client, token) for client in (one, other)]
        assert [reply.status for reply in replies] == [401, 401]
        assert replies[1].headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_bearer_that_has_signed_out_is_dead_however_it_is_spelled(hostile, api):
    token = hostile.token()
    assert with_bearer(api, token, "POST", "/auth/signout/").status == 200
    assert {with_bearer(api, token + end).status for end in ("", "=", "==")} == {401}


def test_what_receivers_do_to_the_data_of_a_bearer_is_gone_with_the_request(hostile, mongomock_database):
    class WithRoles(OpenIDProvider):
        def user_data(self, claims):
            return super().user_data(claims) | {"roles": ["reader"]}

    def add(sender, user_data):
        user_data["roles"].append("admin")

    with serve(application(WithRoles(hostile.url, CLIENT_ID))) as client:
        token = hostile.token()
        with pre_get_user_details.connected_to(add):
            told = [with_bearer(client, token).json["userData"]["roles"] for _ in range(3)]
            assert told == 3 * [["reader", "admin"]]
        assert with_bearer(client, token).json["userData"]["roles"] == ["reader"]


def test_each_bearer_finds_the_provider_that_has_issued_it(hostile, mongomock_database):
    with Hostile() as other:
        other.keys = [Key("of the other")]
        providers = openid(hostile, name="one"), OpenIDProvider(other.url, CLIENT_ID, name="other")
        with serve(application(*providers)) as client:
            assert with_bearer(client, other.token()).json["userData"]["provider"] == "other"
            assert with_bearer(client, hostile.token()).json["userData"]["provider"] == "one"
            assert with_bearer(client, hostile.token(iss=other.url)).status == 401
            mixed = Browser(client).post("/auth/signin/", json={"provider": "one", "id_token": other.token()})
            assert mixed.status == 401
