"""The cookies of sessions: who has one is known, and nobody else."""

import logging
import time
from contextlib import contextmanager

import jwt
import pytest
from tornado.web import Application

from hive import AuthHive, Provider
from hive.sessions import Keys, name_of
from hive.testing import serve

KEY, OTHER = "k" * 32, b"o" * 40


class Credulous(Provider):
    """Believes whatever is posted."""

    def __init__(self):
        self.nonces = []

    async def authenticate(self, credentials, handler):
        self.nonces.append(handler.nonce)
        return credentials


def application(*, settings=None, provider=None, **how):
    made = Application(AuthHive.routes_for([provider or Credulous()]), autoreload=False, **settings or {})
    AuthHive.configure(made, **{"secret_key": KEY} | how)
    return made


@contextmanager
def serving(**how):
    with serve(application(**how)) as client:
        yield client


def behind_proxy(served):
    """Serve an application as behind a proxy that tells of the client by X-Real-Ip and X-Scheme."""
    return serve(served, server={"xheaders": True})


def sign_in(client, headers=None, **user):
    reply = client.post("/auth/signin/", json={"id": "ann"} | user, headers=headers)
    assert reply.status == 200, reply.body
    return cookie_in(reply)


def cookie_in(reply):
    """The value of the cookie that an answer sets."""
    return reply.headers["Set-Cookie"].partition(";")[0].partition("=")[2]


def me(client, *values, name="__Host-session"):
    cookie = "; ".join(f"{name}={value}" for value in values)
    reply = client.get("/auth/me/", headers={"Cookie": cookie.encode()})
    assert reply.status == 200, reply.body
    return reply


def is_known(client, *values):
    return me(client, *values).json["authenticated"]


def aged(*, started=0, renewed=0, left=600, key=KEY, user=None):
    """The cookie of a session that began and was renewed so many seconds ago, and has so many left."""
    now = int(time.time())
    who = {"jti": "s1", "provider": "credulous", "user": user or {"id": "ann"}}
    times = {"auth_time": now - (started or renewed), "iat": now - renewed, "exp": now + left}
    return Keys(key).sign("session", who | times)


def claims_of(cookie):
    return jwt.decode(cookie, options={"verify_signature": False})


def kid_of(cookie):
    return jwt.get_unverified_header(cookie)["kid"]


# Keys


def test_old_key_verifies_beside_the_new_one_and_not_after_it_is_gone(mongomock_database):
    with serving(secret_key=OTHER) as old, serving(secret_key=[KEY, OTHER]) as both, serving() as new:
        before = sign_in(old)
        after = sign_in(both)
        assert [is_known(client, before) for client in (old, both, new)] == [True, True, False]
        assert [is_known(client, after) for client in (old, both, new)] == [False, True, True]


def test_renewed_session_is_signed_with_the_new_key(mongomock_database):
    with serving(secret_key=[KEY, OTHER]) as client:
        cookie = aged(renewed=700, left=500, key=OTHER)
        renewed = cookie_in(me(client, cookie))
    assert (kid_of(cookie), kid_of(renewed)) == (name_of(OTHER), name_of(KEY.encode()))


def test_applications_that_share_a_key_share_their_sessions_and_others_do_not(mongomock_database):
    with serving() as first, serving() as second, serving(secret_key=OTHER) as third:
        cookie = sign_in(first)
        assert [is_known(client, cookie) for client in (first, second, third)] == [True, True, False]


# Tampering


def test_cookie_that_was_changed_is_no_session(mongomock_database):
    with serving() as client:
        cookie = sign_in(client)
        assert is_known(client, cookie)
        for changed in (cookie[:-1], cookie + "AAAA", "A" + cookie, cookie.swapcase()):
            assert not is_known(client, changed)


def test_nonce_cookie_is_no_session_and_a_session_is_no_nonce(mongomock_database):
    provider = Credulous()
    with serving(provider=provider) as client:
        reply = client.get("/auth/signin/")
        nonce = cookie_in(reply)
        session = sign_in(client)
        assert not is_known(client, nonce)
        for value in (session, nonce):
            sign_in(client, headers={"Cookie": f"__Host-session_nonce={value}"})
    assert provider.nonces == [None, None, reply.json["nonce"]]


@pytest.mark.parametrize(
    "value",
    ["", "..", "ü.ü.ü", "\ud83d", "\x80\xff", '"\\"', "%00", "x" * 9000],
    ids=lambda value: ascii(value)[:12],
)
def test_garbage_in_the_cookie_is_no_session_and_no_error(mongomock_database, value, caplog):
    with serving() as client:
        cookie = f"__Host-session={value}".encode(errors="surrogatepass")
        for headers in ({"Cookie": cookie}, {"Cookie": cookie, "Origin": f"http://127.0.0.1:{client.port}"}):
            assert client.get("/auth/me/", headers=headers).json == {"authenticated": False}
            assert client.post("/auth/signout/", headers=headers).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_of_two_cookies_of_a_name_none_counts(mongomock_database):
    with serving() as client:
        ann, bob = sign_in(client), sign_in(client, id="bob")
        for values in ((ann, "x"), ("x", ann), (ann, bob)):
            assert not is_known(client, *values)


@pytest.mark.parametrize("blank", ["\xa0", "\x85"], ids=ascii)
def test_a_cookie_whose_name_begins_with_another_blank_is_another(mongomock_database, blank):
    """Browsers let a neighbouring host set it in spite of the prefix, and Tornado takes it for ours."""
    with serving() as client:
        ann, eve = sign_in(client), sign_in(client, id="eve")
        planted = f"{blank}__Host-session={eve}".encode("latin-1")
        for cookie in (planted, f"__Host-session={ann}; ".encode() + planted):
            told = client.get("/auth/me/", headers={"Cookie": cookie}).json
            assert told.get("userData", {}).get("id") == ("ann" if cookie != planted else None)


# Lifetime


@pytest.mark.parametrize(
    ("age", "how", "holds"),
    [
        ({"left": 60}, {}, True),
        ({"left": -1}, {}, False),
        ({"started": 700, "left": 600}, {"expiration": 60, "absolute_expiration": 600}, False),
    ],
    ids=["in time", "idle for too long", "absolute lifetime shortened meanwhile"],
)
def test_session_lasts_as_long_as_both_lifetimes_say(mongomock_database, age, how, holds):
    with serving(**how) as client:
        assert is_known(client, aged(**age)) is holds


def test_new_session_lasts_for_the_idle_lifetime(mongomock_database):
    with serving(expiration=77, absolute_expiration=99) as client:
        reply = client.post("/auth/signin/", json={"id": "ann"})
        claims = claims_of(cookie_in(reply))
    assert (claims["exp"] - claims["iat"], claims["iat"]) == (77, claims["auth_time"])
    assert f"Max-Age={claims['exp'] - claims['iat']}" in reply.headers["Set-Cookie"]


@pytest.mark.parametrize(("idle", "is_renewed"), [(500, False), (605, True)])
def test_session_is_renewed_only_when_half_of_the_idle_time_is_gone(mongomock_database, idle, is_renewed):
    with serving() as client:
        reply = me(client, aged(started=2000, renewed=idle, left=1200 - idle))
    assert reply.json["authenticated"]
    assert ("Set-Cookie" in reply.headers) is is_renewed


def test_renewed_session_is_the_same_one(mongomock_database):
    before = aged(started=5000, renewed=900, left=300, user={"id": "ann", "roles": ["x"]})
    with serving() as client:
        after = claims_of(cookie_in(me(client, before)))
    for name in ("jti", "auth_time", "user", "provider", "aud"):
        assert after[name] == claims_of(before)[name]


def test_no_renewal_goes_beyond_the_absolute_end(mongomock_database):
    cookie = aged(started=43200 - 300, renewed=900, left=200)
    with serving() as client:
        reply = me(client, cookie)
        renewed, _, attributes = reply.headers["Set-Cookie"].partition("=")[2].partition(";")
        assert claims_of(renewed)["exp"] == claims_of(cookie)["auth_time"] + 43200
        assert int(attributes.partition("Max-Age=")[2].partition(";")[0]) <= 300
        assert "Set-Cookie" not in me(client, aged(started=43200 - 300, renewed=900, left=300)).headers


def test_session_that_no_longer_holds_is_not_renewed(mongomock_database):
    with serving() as client:
        assert "Set-Cookie" not in me(client, aged(renewed=1300, left=-100)).headers


def test_user_data_are_told_as_they_were(mongomock_database):
    user = {"id": "ü🐝", "roles": ["x", 1, None, {"y": 1.5}], "exp": 1, "jti": "mine"}
    with serving() as client:
        shown = me(client, sign_in(client, **user)).json
    assert shown == {"authenticated": True, "userData": user | {"provider": "credulous"}}


def test_user_data_that_fill_a_cookie_are_an_error_that_says_what_to_do(mongomock_database, caplog):
    with serving() as client:
        reply = client.post("/auth/signin/", json={"id": "ann", "photo": "x" * 4000})
    assert (reply.status, reply.headers["Set-Cookie"]) == (500, None)
    assert "keep them small in authorized_user" in caplog.text


# The cookie


def attributes(header):
    name, *rest = header.split("; ")
    return name.partition("=")[0], {item for item in rest if not item.startswith(("Max-Age", "expires"))}


def test_cookies_are_out_of_reach_for_scripts_other_sites_and_other_hosts(mongomock_database):
    expected = {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"}
    with serving() as client:
        replies = [
            client.post("/auth/signin/", json={"id": "ann"}),
            client.get("/auth/signin/"),
            me(client, aged(renewed=900, left=300)),
            client.post("/auth/signout/", headers={"Sec-Fetch-Site": "same-origin"}),
        ]
    told = [attributes(reply.headers["Set-Cookie"]) for reply in replies]
    names = ["__Host-session", "__Host-session_nonce", "__Host-session", "__Host-session"]
    assert told == [(name, expected) for name in names]


@pytest.mark.parametrize(
    ("debug", "host", "scheme", "secure"),
    [
        (True, "localhost:8000", None, False),
        (True, "example.org", None, True),
        (True, "localhost", "https", True),
        (False, "localhost", None, True),
    ],
)
def test_cookie_is_secure_but_in_debug_on_this_machine_over_http(
    mongomock_database, debug, host, scheme, secure
):
    headers = {"Host": host} | ({"X-Scheme": scheme} if scheme else {})
    with behind_proxy(application(settings={"debug": debug})) as client:
        reply = client.post("/auth/signin/", json={"id": "ann"}, headers=headers)
    name, how = attributes(reply.headers["Set-Cookie"])
    assert name == ("__Host-session" if secure else "session")
    assert ("Secure" in how) is secure
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= how


def test_scheme_that_anybody_may_tell_counts_for_nothing(mongomock_database):
    with serving(settings={"debug": True}) as client:
        reply = client.post("/auth/signin/", json={"id": "ann"}, headers={"X-Scheme": "https"})
    assert "Secure" not in reply.headers["Set-Cookie"]
    assert "Strict-Transport-Security" not in reply.headers


def test_browsers_are_told_to_stay_with_https_by_https_only(mongomock_database):
    with behind_proxy(application()) as client:
        for path, scheme in (("/auth/me/", "https"), ("/auth/callback/x/", "https"), ("/auth/me/", "http")):
            told = client.get(path, headers={"X-Scheme": scheme}).headers["Strict-Transport-Security"]
            assert told == ("max-age=31536000" if scheme == "https" else None)


def test_origin_that_is_configured_decides_whether_cookies_are_secure(mongomock_database):
    with serving(settings={"debug": True}, origin="https://app.example.org") as client:
        assert sign_in(client)
        assert "Secure" in client.post("/auth/signin/", json={"id": "ann"}).headers["Set-Cookie"]


def test_cookie_has_the_name_that_is_configured_and_no_other_is_read(mongomock_database):
    with serving(cookie_name="hive-sid") as client:
        cookie = sign_in(client)
        assert me(client, cookie, name="__Host-hive-sid").json["authenticated"]
        for name in ("__Host-session", "hive-sid", "session", "__host-hive-sid", "__Host-hive-sid_nonce"):
            assert not me(client, cookie, name=name).json["authenticated"]


@pytest.mark.parametrize("host", ["[abc]", "[::1", "a:b", "localhost:99999"])
def test_strange_host_is_no_error_of_the_server(mongomock_database, host):
    with serving() as client:
        for path in ("/auth/me/", "/auth/signin/"):
            assert client.get(path, headers={"Host": host}).status in (200, 400)
