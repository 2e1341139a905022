"""hive.auth.tokens: which ID tokens sign somebody in, which bearer tokens hold, and that no other does."""

import json
import time
from functools import partial

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tornado.web import Application

from hive import AuthHive, Provider
from hive.auth import tokens
from hive.auth.openid import OpenIDProvider
from hive.errors import Forbidden
from hive.signals import authorized_user, pre_get_user_details, request_started
from hive.testing import recorded, serve
from tests.support.hostile import CLIENT_ID, CURVES, Asking, Browser, Hostile, Key, b64, hs256, jws, until

AUDIENCE = "https://api.example.org"
STRANGER = Key("stranger")


@pytest.fixture
def hostile():
    with Hostile() as provider:
        yield provider


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


def with_bearer(client, token, method="GET", path="/auth/me/"):
    return client.request(method, path, headers={"Authorization": f"Bearer {token}"})


# What holds


@pytest.mark.parametrize(
    "alg",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
)
def test_a_good_token_of_each_algorithm_signs_in_and_is_a_bearer(hostile, browser, alg):
    hostile.keys = [Key(f"key-{alg[:2]}" + alg * (alg in CURVES), alg)]
    token = hostile.token()
    assert browser.sign_in(token).json == {"authenticated": True}
    assert browser.user["id"] == "ann"
    assert with_bearer(browser.client, token).json["userData"]["email"] == "ann@example.org"


GOOD = {
    "without typ": lambda it: it.token(header={"typ": None}),
    "audience in a list": lambda it: it.token(aud=[CLIENT_ID]),
    "azp is the client": lambda it: it.token(azp=CLIENT_ID),
    "a clock that is a little ahead": lambda it: it.token(iat=int(time.time()) + 2),
    "times with fractions": lambda it: it.token(exp=time.time() + 99.5, iat=time.time() - 0.5),
    "a time beyond all calendars": lambda it: it.token(exp=10**15),
    "no kid, and one key": lambda it: it.token(header={"kid": None}),
}


@pytest.mark.parametrize("good", GOOD.values(), ids=GOOD)
def test_a_good_token_signs_in(hostile, browser, good):
    assert browser.sign_in(good(hostile)).status == 200
    assert browser.user == {"id": "ann", "name": "Ann", "email": "ann@example.org", "provider": "openid"}


def test_without_kid_the_only_key_of_the_algorithm_is_meant(hostile, browser):
    hostile.keys = [Key(), Key("encrypts", use="enc"), Key("curve", "ES256"), None, {"kty": "oct", "k": "eA"}]
    assert browser.sign_in(hostile.token(header={"kid": None})).status == 200


# What does not hold, neither as an ID token nor as a bearer


def with_public(encoding, form="SubjectPublicKeyInfo", alg="HS256", end=b""):
    """A token whose shared secret is the public key, which attackers know."""
    return lambda it: it.token(
        header={"alg": alg}, sign=hs256(it.keys[0].public_bytes(encoding, form).removesuffix(end))
    )


def with_text(text):
    return lambda it: it.token(header={"alg": "HS256"}, sign=hs256(text(it.keys[0].jwk).encode()))


def pointing(name, value):
    """A token of a stranger, whose header says where the key is to be found."""
    return lambda it: it.token(STRANGER, header={name: value(it)})


def tampered(it):
    header, _, signature = it.token().split(".")
    return ".".join((header, it.token(sub="eve").split(".")[1], signature))


def among(*keys, **how):
    """A token of the first of the keys that the provider publishes from now on."""

    def token(it):
        it.keys = list(keys)
        return it.token(**how)

    return token


def unsigned(alg):
    return lambda it: it.token(header={"alg": alg}, sign=lambda _: b"")


def published_secret(it):
    """HS256, and the provider is so careless as to publish the secret."""
    it.keys = [{"kty": "oct", "kid": "first", "alg": "HS256", "k": b64(b"s" * 32)}, Key("other")]
    return it.token(Key(), header={"alg": "HS256"}, sign=hs256(b"s" * 32))


def for_another_algorithm(it):
    it.keys = [Key().jwk | {"alg": "RS512"}]
    return it.token(Key())


WEAK = Key("weak", bits=1024)
ATTACKERS = "/attacker"
BAD = {
    **{f"alg {alg}": unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "", "RS256", "HS256")},
    **{f"alg {alg!r}": unsigned(alg) for alg in (None, 1, ["RS256"], {"RS256": 1}, "RS1", "rs256", "ES256K")},
    "alg none, signed": lambda it: it.token(header={"alg": "none"}),
    "alg of another family": lambda it: it.token(header={"alg": "ES256"}),
    "alg of the same family": lambda it: it.token(header={"alg": "PS256"}),
    "HS256 with the public PEM": with_public("PEM"),
    "HS256 with the public PEM without its end of line": with_public("PEM", end=b"\n"),
    "HS512 with the public PEM": with_public("PEM", alg="HS512"),
    "HS256 with the public DER": with_public("DER"),
    "HS256 with the public PKCS1": with_public("PEM", "PKCS1"),
    "HS256 with the public JWK": with_text(json.dumps),
    "HS256 with the modulus": with_text(lambda jwk: jwk["n"]),
    "HS256 with a published secret": published_secret,
    "no signature": lambda it: it.token().rpartition(".")[0] + ".",
    "no third part": lambda it: it.token().rpartition(".")[0],
    "a changed claim": tampered,
    "a stranger's key": lambda it: it.token(STRANGER),
    "a stranger's key by the known name": lambda it: it.token(STRANGER, header={"kid": "first"}),
    "no kid, two keys": among(Key(), Key("second"), header={"kid": None}),
    "an empty kid": lambda it: it.token(header={"kid": ""}),
    "a kid that is a path": lambda it: it.token(STRANGER, header={"kid": "../../dev/null"}),
    "a kid that is no text": lambda it: it.token(header={"kid": 1}),
    "wrong kty": among(Key(kty="EC")),
    "no kty": among(Key(kty=None)),
    "a key for encryption": among(Key(use="enc")),
    "a key for another algorithm": for_another_algorithm,
    "a published curve that is another": among(Key("curve", "ES256", crv="P-384")),
    "1024 bits of RSA": among(WEAK),
    "jwk": pointing("jwk", lambda it: STRANGER.jwk),
    "jku": pointing("jku", lambda it: it.url + ATTACKERS),
    "x5u": pointing("x5u", lambda it: it.url + ATTACKERS),
    "x5c": pointing("x5c", lambda it: [b64(STRANGER.public_bytes("DER"))]),
    "an unknown crit": lambda it: it.token(header={"crit": ["policy"], "policy": 1}),
    "an empty crit": lambda it: it.token(header={"crit": []}),
    "an unencoded payload": lambda it: it.token(header={"crit": ["b64"], "b64": False}),
    "another issuer": lambda it: it.token(iss="https://evil.example"),
    "an issuer with a slash more": lambda it: it.token(iss=it.url + "/"),
    "issuers": lambda it: it.token(iss=[it.url]),
    "another audience": lambda it: it.token(aud="another-client"),
    "a longer audience": lambda it: it.token(aud=CLIENT_ID + "x"),
    "another audience in a list": lambda it: it.token(aud=["another-client"]),
    "no audience in a list": lambda it: it.token(aud=[]),
    "an audience that is no text": lambda it: it.token(aud=[1]),
    "an audience by name": lambda it: it.token(aud={CLIENT_ID: 1}),
    "expired": lambda it: it.token(exp=int(time.time()) - 10),
    "expired for ever": lambda it: it.token(exp=-1),
    "issued in the future": lambda it: it.token(iat=int(time.time()) + 60),
    "not yet": lambda it: it.token(nbf=int(time.time()) + 60),
    "exp that is no time": lambda it: it.token(exp="soon"),
    "exp that is a list": lambda it: it.token(exp=[int(time.time()) + 60]),
    "exp that is text": lambda it: it.token(exp=str(int(time.time()) + 60)),
    "claims that are deep": lambda it: f"{it.token().split('.')[0]}.{b64(b'[' * 9000)}.AA",
    "infinite exp": lambda it: it.token(exp=float("inf")),
    "sub that is no text": lambda it: it.token(sub=7),
    "sub that is empty": lambda it: it.token(sub=""),
    "claims that are no object": lambda it: jws(
        {"alg": "RS256", "kid": "first"}, [CLIENT_ID], it.keys[0].sign
    ),
    **{f"no {name}": lambda it, name=name: it.token(**{name: None}) for name in ("iss", "aud", "sub")},
    **{f"no {name}": lambda it, name=name: it.token(**{name: None}) for name in ("exp", "iat")},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_token_that_does_not_hold_is_refused(hostile, browser, bad):
    token = bad(hostile)
    posted, sent = browser.sign_in(token), with_bearer(browser.client, token)
    assert (posted.status, sent.status) == (401, 401)
    assert posted.json["detail"] == "The credentials do not hold."
    assert sent.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert browser.session is None
    assert "Set-Cookie" not in sent.headers
    assert ATTACKERS not in hostile.requests


GARBAGE = {
    "nothing": "",
    "dots": "..",
    "words": "not a token",
    "letters": "a.b.c",
    "four parts": "a.b.c.d",
    "not ASCII": "é.é.é",
    "half a character": "\ud800.a.b",
    "a null": "\0",
    "a header that is no object": b64(b"[]") + ".e30.AA",
    "a header without alg": "e30.e30.AA",
    "a deep header": b64(b"[" * 9000) + ".e30.AA",
    "a large number": b64(b'{"alg": ' + b"9" * 9000 + b"}") + ".e30.AA",
    "long": "a" * 20000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_as_an_id_token_and_asks_the_provider_nothing(hostile, browser, garbage):
    assert browser.sign_in(garbage).status == 401
    assert hostile.requests == []


@pytest.mark.parametrize("token", [None, True, 1, ["a.b.c"], {"a": 1}], ids=str)
def test_an_id_token_that_is_no_text_is_refused(browser, token):
    assert browser.sign_in(token).status == 401
    assert browser.post("/auth/signin/", json={"token": "a.b.c"}).status == 401


def test_enormous_tokens_are_refused(hostile, browser):
    large = hostile.token(more="x" * 20000)
    assert browser.sign_in(large).status == 401
    assert browser.sign_in(large * 4).status == 413


@pytest.mark.parametrize("name", sorted(GARBAGE.keys() - {"nothing", "half a character", "a null"}))
def test_garbage_is_refused_as_a_bearer(api, name):
    reply = with_bearer(api, GARBAGE[name][:9000])
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')


ODD_KEYS = {
    "numbers": {"kty": "RSA", "n": 5, "e": 3},
    "no members": {"kty": "RSA"},
    "empty members": {"kty": "RSA", "n": "", "e": ""},
    "an even modulus": {"kty": "RSA", "n": b64(b"\x80" + b"\0" * 255), "e": "AQAB"},
    "an exponent of one": {"kty": "RSA", "n": b64(b"\xff" * 256), "e": "AQ"},
    "no base64": {"kty": "RSA", "n": "\u2603", "e": "!"},
    "a list": {"kty": ["RSA"], "n": ["AA"]},
    "a private key": {**Key().jwk, "d": "AQ"},
}


@pytest.mark.parametrize("odd", ODD_KEYS.values(), ids=ODD_KEYS)
def test_a_published_key_that_is_none_is_no_reason_to_fail(hostile, browser, odd):
    hostile.keys = [Key("good"), {"kid": "odd"} | odd | {"kid": "odd"}, [], "key", None]
    assert browser.sign_in(hostile.token(header={"kid": "odd"})).status == 401
    assert browser.sign_in(hostile.token()).status == 200


# What holds as a bearer only: what was issued for the client, but does not say that the client asked for it

NO_ID = {
    "an access token": lambda it: it.token(header={"typ": "at+jwt"}),
    "an access token of a full type": lambda it: it.token(header={"typ": "application/AT+JWT"}),
    "a nonce that nobody asked for": lambda it: it.token(nonce="unasked"),
    "an empty nonce": lambda it: it.token(nonce=""),
    "an audience more": lambda it: it.token(aud=[CLIENT_ID, "another-client"]),
    "an audience more, and azp": lambda it: it.token(aud=[CLIENT_ID, "another-client"], azp=CLIENT_ID),
    "an audience twice": lambda it: it.token(aud=[CLIENT_ID, CLIENT_ID]),
    "another azp": lambda it: it.token(azp="another-client"),
    "azp that is no text": lambda it: it.token(azp=[CLIENT_ID]),
    "a logout token": lambda it: it.token(header={"typ": "logout+jwt"}),
    "a logout token by its claim": lambda it: it.token(
        events={"http://schemas.openid.net/event/backchannel-logout": {}}
    ),
}


@pytest.mark.parametrize("token", NO_ID.values(), ids=NO_ID)
def test_a_token_of_another_kind_is_no_id_token(hostile, browser, token):
    assert browser.sign_in(token(hostile)).status == 401
    assert browser.session is None


@pytest.mark.parametrize("nonce", ["wrong", None, "", 1, ["x"], "\u00e9", "\ud800"], ids=repr)
def test_an_id_token_has_the_nonce_that_this_browser_asked_for(hostile, browser, nonce):
    asked = browser.get("/auth/signin/").json["nonce"]
    assert browser.sign_in(hostile.token(nonce=nonce)).status == 401
    assert browser.sign_in(hostile.token(nonce=asked[:-1])).status == 401
    assert Browser(browser.client).sign_in(hostile.token(nonce=asked)).status == 401
    assert browser.sign_in(hostile.token(nonce=asked)).status == 200


def test_the_nonce_goes_with_the_sign_in(hostile, browser):
    nonce = browser.get("/auth/signin/").json["nonce"]
    assert browser.sign_in(hostile.token(nonce=nonce)).status == 200
    assert browser.cookies.keys() == {"__Host-session"}
    assert browser.sign_in(hostile.token(nonce=nonce)).status == 401


# An ID token signs in once


def other_spellings(token):
    """The same token, its signature written otherwise."""
    signed, _, signature = token.rpartition(".")
    last = signature[:-1] + chr(ord(signature[-1]) + 1)
    return [
        f"{signed}.{last}",
        f"{token}=",
        f"{token}==",
        f"{signed}.!{signature}",
        f"{signed}.{signature}\n",
    ]


def negated(token):
    """The same token, with the other of the two ECDSA signatures that anybody can tell from each other."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed, _, signature = token.rpartition(".")
    raw = jwt.utils.base64url_decode(signature)
    r, s = decode_dss_signature(jwt.utils.raw_to_der_signature(raw, CURVES["ES256"]()))
    return f"{signed}.{b64(r.to_bytes(32) + (order - s).to_bytes(32))}"


def test_an_id_token_signs_in_once_on_all_instances(hostile, database):
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
        asking = [Asking(partial(Browser(to).sign_in, token)) for to in (one, other) * 5]
        assert sorted(one.reply.status for one in asking) == [200] + 9 * [401]


def test_an_id_token_whose_signature_is_spelled_otherwise_is_the_same(hostile, browser):
    token = hostile.token()
    assert browser.sign_in(token).status == 200
    assert {browser.sign_in(other).status for other in other_spellings(token)} == {401}


def test_an_id_token_whose_signature_is_negated_is_the_same(hostile, browser):
    hostile.keys = [Key("curve", "ES256")]
    token = hostile.token()
    assert browser.sign_in(token).status == 200
    assert browser.sign_in(negated(token)).status == 401


# Bearers


def test_a_bearer_is_asked_for_its_audience(hostile, mongomock_database):
    with serve(application(openid(hostile, audience=AUDIENCE))) as client:
        good = hostile.token(header={"typ": "at+jwt"}, aud=[AUDIENCE, "another-api"])
        assert with_bearer(client, good).json["userData"]["id"] == "ann"
        for audience in (CLIENT_ID, "another-api", AUDIENCE + "/", AUDIENCE[:-1], None):
            reply = with_bearer(client, hostile.token(aud=audience))
            assert (reply.status, reply.json["status"]) == (401, 401)
            assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert Browser(client).sign_in(good).status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_needs_no_cookie_gets_none_and_no_proof_of_origin(hostile, api, scheme):
    sent = {"Authorization": f"{scheme} {hostile.token()}"}
    reply = api.get("/auth/me/", headers=sent)
    assert reply.json["authenticated"] is True
    assert "Set-Cookie" not in reply.headers
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert api.post("/auth/signout/", headers=sent | foreign).status == 200


def test_a_bearer_goes_before_the_cookie_and_does_not_fall_back_to_it(hostile, browser):
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
    hostile.instead = {"/jwks": lambda request: hostile.released.wait(10) and hostile.publish(request)}
    with recorded(authorized_user, request_started) as heard:
        asking = [Asking(partial(with_bearer, api, token)) for _ in range(8)]
        until(lambda: len(heard) == 8)
        hostile.released.set()
        assert {one.reply.status for one in asking} == {200}
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


def test_a_bearer_that_has_signed_out_is_dead_on_all_instances(hostile, database):
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
    assert {with_bearer(api, other.strip()).status for other in other_spellings(token)} == {401}


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


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "logout+jwt"}, {}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({"typ": "refresh"}, {}),
        ({}, {"cnf": {"jkt": "x"}}),
        ({}, {"azp": "another"}),
        ({}, {"aud": [CLIENT_ID, "another"]}),
    ],
    ids=["logout", "event", "refresh", "bound to a key", "of another client", "for others too"],
)
def test_a_token_of_another_kind_is_no_bearer(hostile, api, header, claims, caplog):
    assert with_bearer(api, hostile.token(header=header, **claims)).status == 401
    assert "does not hold" in caplog.text
