"""Sign-in with an ID token that a client has: it is posted once, and has the nonce of its browser."""

import pytest
from tornado.web import Application

from hive import AuthHive, OpenIDProvider
from hive.testing import serve
from tests.support.hostile import CLIENT_ID, Browser, hs256
from tests.support.threads import at_once


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


@pytest.fixture
def browser(api):
    return Browser(api)


def test_a_good_token_signs_in(hostile, browser):
    assert browser.sign_in(hostile.token()).json == {"authenticated": True}
    assert browser.user == {"id": "ann", "name": "Ann", "email": "ann@example.org", "provider": "openid"}


BAD = {
    "alg none": lambda it: it.token(header={"alg": "none"}, sign=lambda _: b""),
    "HS256 with the public PEM": lambda it: it.token(
        header={"alg": "HS256"}, sign=hs256(it.keys[0].public_bytes())
    ),
    "jku": lambda it: it.token(header={"kid": None, "jku": f"{it.url}/attacker"}, sign=lambda _: b"x"),
    "expired": lambda it: it.token(exp=1),
    "of no text": lambda it: ["a.b.c"],
    "nothing": lambda it: "",
    "half a character": lambda it: "\ud800.a.b",
    "long": lambda it: it.token(more="x" * 20000),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_token_that_does_not_hold_is_refused(hostile, browser, bad):
    reply = browser.sign_in(bad(hostile))
    assert (reply.status, reply.headers["Content-Type"]) == (401, "application/problem+json")
    assert reply.json["detail"] == "The credentials do not hold."
    assert browser.session is None
    assert "/attacker" not in hostile.requests


def test_credentials_without_a_token_do_not_hold(browser):
    assert browser.post("/auth/signin/", json={"token": "a.b.c"}).status == 401


def test_an_enormous_token_is_too_large(hostile, browser):
    assert browser.sign_in(hostile.token(more="x" * 80000)).status == 413


def test_an_id_token_has_the_nonce_that_this_browser_asked_for(hostile, browser):
    asked = browser.get("/auth/signin/").json["nonce"]
    for wrong in ("wrong", asked[:-1], None):
        assert browser.sign_in(hostile.token(nonce=wrong)).status == 401
    assert Browser(browser.client).sign_in(hostile.token(nonce=asked)).status == 401
    assert browser.sign_in(hostile.token(nonce=asked)).status == 200


def test_the_nonce_goes_with_the_sign_in(hostile, browser):
    nonce = browser.get("/auth/signin/").json["nonce"]
    assert browser.sign_in(hostile.token(nonce=nonce)).status == 200
    assert browser.cookies.keys() == {"__Host-session"}
    assert browser.sign_in(hostile.token(nonce=nonce)).status == 401


# Once


def test_an_id_token_signs_in_once_on_all_instances(hostile, mongodb_database):
    token = hostile.token()
    with serve(application(openid(hostile))) as one, serve(application(openid(hostile))) as other:
        assert Browser(one).sign_in(token).status == 200
        for client in (one, other):
            replayed = Browser(client)
            assert replayed.sign_in(token).status == 401
            assert replayed.session is None


def test_an_id_token_signs_in_once_with_a_nonce_too(hostile, mongodb_database):
    with serve(application(openid(hostile))) as one, serve(application(openid(hostile))) as other:
        browser = Browser(one)
        token = hostile.token(nonce=browser.get("/auth/signin/").json["nonce"])
        kept = dict(browser.cookies)
        assert browser.sign_in(token).status == 200
        assert [Browser(client, kept).sign_in(token).status for client in (one, other)] == [401, 401]
        assert Browser(one).sign_in(token).status == 401


def test_an_id_token_signs_in_once_of_many_at_the_same_time(hostile, mongodb_database):
    token = hostile.token()
    with serve(application(openid(hostile))) as one, serve(application(openid(hostile))) as other:
        browsers = [Browser(client) for client in (one, other) * 5]
        replies = at_once([lambda browser=browser: browser.sign_in(token) for browser in browsers])
        assert sorted(reply.status for reply in replies) == [200] + 9 * [401]


def test_an_id_token_whose_signature_is_spelled_otherwise_is_the_same(hostile, browser):
    token = hostile.token()
    assert browser.sign_in(token).status == 200
    assert browser.sign_in(token + "=").status == 401
