"""hive.sessions: cookies that nobody can make, change, or use longer than they last."""

import base64
import hashlib
import json
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
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
CLAIMS = {"jti": "x", "provider": "credulous", "user": {"id": "eve"}, "aud": "session"}


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


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def kid_of(cookie):
    return jwt.get_unverified_header(cookie)["kid"]


# Secret keys


UNFIT = {
    "empty": "",
    "no bytes": b"",
    "31 characters": "k" * 31,
    "31 bytes": b"k" * 31,
    "31 bytes of umlauts": "ü" * 15 + "x",
    "no keys": [],
    "the old one short": [KEY, "short"],
    "the new one short": ["short", KEY],
    "None": None,
    "a number": 32,
    "a list of None": [None],
    "a list of numbers": [32],
    "a short bytearray": bytearray(31),
    "nested lists": [[KEY]],
    "an object": object(),
}


@pytest.mark.parametrize("key", UNFIT.values(), ids=UNFIT)
def test_secret_key_that_is_short_or_none_at_all_is_refused_at_start_up(key):
    with pytest.raises(ValueError, match=r"secret_key must .*secrets\.token_urlsafe"):
        AuthHive.configure(Application(), secret_key=key)


@pytest.mark.parametrize(
    "key", [KEY, b"k" * 32, "ü" * 16, [KEY], (KEY, OTHER), iter([OTHER, KEY])],
    ids=["text", "bytes", "32 bytes of umlauts", "a list", "a tuple", "an iterator"],
)  # fmt: skip
def test_secret_key_of_32_bytes_is_taken(mongomock_database, key):
    with serving(secret_key=key) as client:
        assert is_known(client, sign_in(client))


def test_application_without_secret_key_does_not_start():
    with pytest.raises(TypeError, match="secret_key"):
        AuthHive.configure(Application())


def test_old_key_verifies_beside_the_new_one_and_not_after_it_is_gone(mongomock_database):
    with serving(secret_key=OTHER) as old, serving(secret_key=[KEY, OTHER]) as both, serving() as new:
        before = sign_in(old)
        after = sign_in(both)
        assert [is_known(client, before) for client in (old, both, new)] == [True, True, False]
        assert [is_known(client, after) for client in (old, both, new)] == [False, True, True]


def test_renewed_session_is_signed_with_the_new_key(mongomock_database):
    with serving(secret_key=[KEY, OTHER]) as client:
        cookie = aged(renewed=700, left=500, key=OTHER)
        renewed = me(client, cookie).headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert (kid_of(cookie), kid_of(renewed)) == (name_of(OTHER), name_of(KEY.encode()))


def test_kid_tells_keys_apart_and_nothing_of_them(mongomock_database):
    with serving(secret_key=OTHER) as client:
        kid = kid_of(sign_in(client))
    told = base64.urlsafe_b64decode(kid)
    assert len(told) == 9
    assert not {told} & {OTHER[:9], hashlib.sha256(OTHER).digest()[:9], hashlib.sha1(OTHER).digest()[:9]}
    assert len({name_of(bytes([index]) * 32) for index in range(100)}) == 100


@pytest.mark.parametrize("kid", [None, "", "unknown", "../../dev/null", name_of(OTHER)])
def test_kid_chooses_among_the_own_keys_only(mongomock_database, kid):
    token = jwt.encode(
        CLAIMS | {"exp": time.time() + 60}, KEY, headers={"kid": kid} if kid is not None else {}
    )
    with serving(secret_key=[KEY, OTHER]) as client:
        assert not is_known(client, token)


def test_applications_that_share_a_key_share_their_sessions_and_others_do_not(mongomock_database):
    with serving() as first, serving() as second, serving(secret_key=OTHER) as third:
        cookie = sign_in(first)
        assert [is_known(client, cookie) for client in (first, second, third)] == [True, True, False]


# Tampering


def test_cookie_with_any_byte_changed_left_out_or_added_is_no_session(mongomock_database):
    with serving() as client:
        cookie = sign_in(client)
        assert is_known(client, cookie)
        for index, character in enumerate(cookie):
            other = "A" if character == "." else ALPHABET[ALPHABET.index(character) ^ 32]
            assert not is_known(client, cookie[:index] + other + cookie[index + 1 :]), index
        for index in range(0, len(cookie), 7):
            assert not is_known(client, cookie[:index] + cookie[index + 1 :]), index
            assert not is_known(client, cookie[:index]), index
            assert not is_known(client, cookie[:index] + "AAAA" + cookie[index:]), index


def test_parts_of_two_good_cookies_make_no_third(mongomock_database):
    with serving() as client:
        ann, bob = sign_in(client).split("."), sign_in(client, id="bob").split(".")
        assert ann[0] == bob[0]
        assert not is_known(client, ".".join((ann[0], bob[1], ann[2])))
        assert is_known(client, ".".join((bob[0], bob[1], bob[2])))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", None, "HS384", "HS512", "RS256", ["HS256"]], ids=repr
)
def test_cookie_by_another_algorithm_is_no_session(mongomock_database, algorithm):
    now = int(time.time())
    claims = part(CLAIMS | {"auth_time": now, "iat": now, "exp": now + 600})
    header = {"alg": algorithm, "kid": name_of(KEY.encode()), "typ": "session+jwt"}
    signed = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(algorithm), hashlib.sha256)
    text = f"{part(header)}.{claims}"
    mac = jwt.algorithms.HMACAlgorithm(signed).sign(text.encode(), KEY.encode())
    good = f"{part(header | {'alg': 'HS256'})}.{claims}"
    good_mac = jwt.algorithms.HMACAlgorithm(hashlib.sha256).sign(good.encode(), KEY.encode())
    with serving() as client:
        assert is_known(client, f"{good}.{base64.urlsafe_b64encode(good_mac).decode().rstrip('=')}")
        for signature in ("", base64.urlsafe_b64encode(mac).decode().rstrip("=")):
            assert not is_known(client, f"{text}.{signature}")


def test_no_kind_of_own_token_is_of_use_as_another(mongomock_database):
    keys, claims = Keys(KEY), {"exp": time.time() + 60, "nonce": "n"}
    kinds = ("session", "nonce", "flow")
    for kind in kinds:
        token = keys.sign(kind, claims)
        assert [other for other in kinds if keys.read(other, token)] == [kind]


def test_nonce_cookie_is_no_session_and_a_session_is_no_nonce(mongomock_database):
    provider = Credulous()
    with serving(provider=provider) as client:
        reply = client.get("/auth/signin/")
        nonce = reply.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        session = sign_in(client)
        assert not is_known(client, nonce)
        for value in (session, nonce):
            sign_in(client, headers={"Cookie": f"__Host-session_nonce={value}"})
    assert provider.nonces == [None, None, reply.json["nonce"]]


@pytest.mark.parametrize("left_out", ["exp", "aud"])
def test_token_of_the_own_key_without_end_or_kind_is_no_session(mongomock_database, left_out):
    now = int(time.time())
    claims = CLAIMS | {"auth_time": now, "iat": now, "exp": now + 600}
    del claims[left_out]
    with serving() as client:
        assert not is_known(client, jwt.encode(claims, KEY, headers={"kid": name_of(KEY.encode())}))


@pytest.mark.parametrize(
    "value",
    ["", ".", "..", "...", "a.b.c", "null", "e30.e30.e30", "ü.ü.ü", "\ud83d", "\x80\xff", '"a', '"\\"',
     "%00", "x" * 9000, "." * 9000, part([]) + "..", part({"kid": {}}) + "..", part({"kid": []}) + "..",
     base64.urlsafe_b64encode(b"[" * 5000).decode() + "..", "🐝" * 100],
    ids=lambda value: repr(value[:12]) + str(len(value)),
)  # fmt: skip
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
        ({"left": 5}, {}, True),
        ({"left": -1}, {}, False),
        ({"started": 43190, "left": 10}, {}, True),
        ({"started": 43201, "left": 600}, {}, False),
        ({"started": 700, "left": 600}, {"expiration": 60, "absolute_expiration": 600}, False),
        ({"renewed": 700, "left": 500}, {"expiration": 600}, False),
    ],
    ids=["in time", "idle for too long", "near its end", "beyond its end",
         "absolute lifetime shortened meanwhile", "idle lifetime shortened meanwhile"],
)  # fmt: skip
def test_session_lasts_as_long_as_both_lifetimes_say(mongomock_database, age, how, holds):
    with serving(**how) as client:
        assert is_known(client, aged(**age)) is holds


def test_new_session_lasts_for_the_idle_lifetime(mongomock_database):
    with serving(expiration=77, absolute_expiration=99) as client:
        reply = client.post("/auth/signin/", json={"id": "ann"})
        claims = claims_of(reply.headers["Set-Cookie"].partition(";")[0].partition("=")[2])
    assert (claims["exp"] - claims["iat"], claims["iat"]) == (77, claims["auth_time"])
    assert f"Max-Age={claims['exp'] - claims['iat']}" in reply.headers["Set-Cookie"]


@pytest.mark.parametrize(("idle", "is_renewed"), [(1, False), (590, False), (605, True), (1190, True)])
def test_session_is_renewed_only_when_half_of_the_idle_time_is_gone(mongomock_database, idle, is_renewed):
    with serving() as client:
        reply = me(client, aged(started=2000, renewed=idle, left=1200 - idle))
    assert reply.json["authenticated"]
    assert ("Set-Cookie" in reply.headers) is is_renewed


def test_renewed_session_is_the_same_one(mongomock_database):
    before = aged(started=5000, renewed=900, left=300, user={"id": "ann", "roles": ["x"]})
    with serving() as client:
        reply = me(client, before)
    after = claims_of(reply.headers["Set-Cookie"].partition(";")[0].partition("=")[2])
    now, same = time.time(), {"jti", "auth_time", "user", "provider", "aud"}
    assert {name: after[name] for name in same} == {name: claims_of(before)[name] for name in same}
    assert now - 5 < after["iat"] <= now
    assert after["exp"] == after["iat"] + 1200


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


@pytest.mark.parametrize(
    "user",
    [{"id": 7}, {"id": "ü🐝"}, {"id": "a", "roles": ["x", 1, None, {"y": 1.5}], "nested": {"a": {"b": True}}},
     {"id": "a", "exp": 1, "aud": "nonce", "jti": "mine"}],
    ids=["number", "unicode", "nested", "names of claims"],
)  # fmt: skip
def test_user_data_survive(mongomock_database, user):
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


HOSTS = [
    (True, "localhost:8000", None, False),
    (True, "LocalHost", None, False),
    (True, "127.0.0.1", None, False),
    (True, "[::1]:8000", None, False),
    (True, "app.localhost", None, False),
    (True, "example.org", None, True),
    (True, "localhost.example.org", None, True),
    (True, "127.0.0.1.example.org", None, True),
    (True, "notlocalhost", None, True),
    (True, "10.0.0.1", None, True),
    (True, "0.0.0.0", None, True),
    (True, "localhost", "https", True),
    (True, "localhost", "http", False),
    (False, "localhost", None, True),
    (False, "127.0.0.1", "http", True),
]


@pytest.mark.parametrize(("debug", "host", "scheme", "secure"), HOSTS)
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


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "ü", "a\n"], ids=repr)
def test_cookie_name_that_no_browser_takes_is_refused_at_start_up(name):
    with pytest.raises(ValueError, match="cookie_name"):
        AuthHive.configure(Application(), secret_key=KEY, cookie_name=name)


@pytest.mark.parametrize("host", ["[abc]", "[::1", "[]", "[v1.x]", "a:b", "a@b", "%", "_", "localhost:99999"])
def test_strange_host_is_no_error_of_the_server(mongomock_database, host):
    with serving() as client:
        for path in ("/auth/me/", "/auth/signin/"):
            assert client.get(path, headers={"Host": host}).status in (200, 400)
