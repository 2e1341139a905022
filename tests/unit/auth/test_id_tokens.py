"""An OpenID provider believes tokens that are meant for the application, and no others."""

import asyncio
import json
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hive import GoogleProvider, OpenIDProvider
from hive.auth import tokens
from hive.auth.tokens import header_of, signed_part
from tests.support.hostile import CLIENT_ID, CURVES, Issuing, Key, b64, hs256, jws

AUDIENCE = "https://api.example.org"
STRANGER = Key("stranger")
ANN = {"id": "ann", "name": "Ann", "email": "ann@example.org"}
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def issuing(monkeypatch):
    """A provider whose answers need no network."""
    issuing = Issuing("http://127.0.0.1")

    async def fetch(url):
        path = urlsplit(url).path
        issuing.requests.append(path)
        return 200, {
            "/.well-known/openid-configuration": issuing.described,
            "/jwks": issuing.published,
        }[path]()

    monkeypatch.setattr(tokens, "fetch", fetch)
    return issuing


class Posted(SimpleNamespace):
    """A request to sign in, by a browser that has asked for a nonce or has not."""

    def __init__(self, nonce=None):
        super().__init__(nonce=nonce, used=set())

    async def is_first_use(self, proof, until):
        is_first = proof not in self.used
        self.used.add(proof)
        return is_first


def openid(**how):
    return OpenIDProvider("http://127.0.0.1", CLIENT_ID, **how)


def as_id_token(token, *, provider=None, posted=None):
    """The user data of who posts an ID token, or None."""
    provider, posted = provider or openid(), posted or Posted()
    return asyncio.run(provider.authenticate({"id_token": token}, posted))


def as_bearer(token, *, provider=None):
    """The user data of who comes with a bearer token, or None."""
    found = asyncio.run((provider or openid()).bearer(token))
    return None if found is None else found[0]


# What holds


@pytest.mark.parametrize(
    "alg",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"],
)
def test_a_good_token_of_each_algorithm_is_an_id_token_and_a_bearer(issuing, alg):
    issuing.keys = [Key(f"curve-{alg}" if alg in CURVES else "first", alg)]
    token = issuing.token()
    assert as_id_token(token) == ANN
    assert as_bearer(token) == ANN


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
def test_a_good_token_is_believed(issuing, good):
    assert as_id_token(good(issuing)) == ANN


def test_without_kid_the_only_key_of_the_algorithm_is_meant(issuing):
    issuing.keys = [Key(), Key("second", use="enc"), Key("curve", "ES256"), None, {"kty": "oct", "k": "eA"}]
    assert as_id_token(issuing.token(header={"kid": None})) == ANN


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
def test_a_token_that_does_not_hold_is_refused(issuing, bad):
    token = bad(issuing)
    assert as_id_token(token) is None
    assert as_bearer(token) is None
    assert ATTACKERS not in issuing.requests


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
def test_garbage_is_refused_and_asks_the_provider_nothing(issuing, garbage):
    assert as_id_token(garbage) is None
    assert as_bearer(garbage) is None
    assert issuing.requests == []


@pytest.mark.parametrize("token", [None, True, 1, ["a.b.c"], {"a": 1}], ids=str)
def test_an_id_token_that_is_no_text_is_refused(issuing, token):
    assert as_id_token(token) is None


def test_an_enormous_token_is_refused(issuing):
    assert as_id_token(issuing.token(more="x" * 20000)) is None
    assert issuing.requests == []


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
def test_a_published_key_that_is_none_is_no_reason_to_fail(issuing, odd):
    issuing.keys = [Key("first"), {"kid": "odd"} | odd | {"kid": "odd"}, [], "key", None]
    assert as_id_token(issuing.token(header={"kid": "odd"})) is None
    assert as_id_token(issuing.token()) == ANN


# What was issued for the client, but does not say that the client asked for it

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


BEARERS = (
    "an access token",
    "an access token of a full type",
    "a nonce that nobody asked for",
    "an empty nonce",
)
"""Those of them that are bearers nevertheless."""


@pytest.mark.parametrize("name", NO_ID)
def test_a_token_of_another_kind_is_no_id_token(issuing, name):
    token = NO_ID[name](issuing)
    assert as_id_token(token) is None
    assert (as_bearer(token) == ANN) is (name in BEARERS)


@pytest.mark.parametrize("nonce", ["wrong", None, "", 1, ["x"], "\u00e9", "\ud800"], ids=repr)
def test_an_id_token_has_the_nonce_that_this_browser_asked_for(issuing, nonce):
    posted = Posted("the-nonce-of-this-browser")
    for wrong in (nonce, posted.nonce[:-1]):
        assert as_id_token(issuing.token(nonce=wrong), posted=posted) is None
    assert as_id_token(issuing.token(nonce=posted.nonce)) is None  # which another browser has not asked for
    assert as_id_token(issuing.token(nonce=posted.nonce), posted=posted) == ANN


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": "logout+jwt"}, {}),
        ({}, {"events": {LOGOUT: {}}}),
        ({"typ": "refresh"}, {}),
        ({}, {"cnf": {"jkt": "x"}}),
        ({}, {"azp": "another"}),
        ({}, {"aud": [CLIENT_ID, "another"]}),
    ],
    ids=["logout", "event", "refresh", "bound to a key", "of another client", "for others too"],
)
def test_a_token_of_another_kind_is_no_bearer(issuing, header, claims, caplog):
    assert as_bearer(issuing.token(header=header, **claims)) is None
    assert "does not hold" in caplog.text


def test_a_bearer_is_for_the_audience_of_the_provider(issuing):
    api = openid(audience=AUDIENCE)
    good = issuing.token(header={"typ": "at+jwt"}, aud=[AUDIENCE, "another-api"])
    assert as_bearer(good, provider=api) == ANN
    for audience in (CLIENT_ID, "another-api", AUDIENCE + "/", AUDIENCE[:-1], None):
        assert as_bearer(issuing.token(aud=audience), provider=api) is None
    assert as_id_token(good, provider=api) is None


# One token, spelled in several ways


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


def test_an_id_token_works_once_however_its_signature_is_spelled(issuing):
    token, posted = issuing.token(), Posted()
    assert as_id_token(token, posted=posted) == ANN
    assert {as_id_token(one, posted=posted) for one in (token, *other_spellings(token))} == {None}


def test_an_id_token_whose_signature_is_negated_is_the_same(issuing):
    issuing.keys = [Key("curve", "ES256")]
    token, posted = issuing.token(), Posted()
    assert as_id_token(negated(token)) == ANN
    assert as_id_token(token, posted=posted) == ANN
    assert as_id_token(negated(token), posted=posted) is None


def test_the_signed_part_is_that_of_a_jwt_and_all_of_anything_else(issuing):
    token = issuing.token()
    assert signed_part(token) == token.rpartition(".")[0]
    assert {signed_part(one) for one in other_spellings(token) if header_of(one)} == {signed_part(token)}
    assert signed_part("a.b.c") == "a.b.c"


# The keys of the provider


def test_the_keys_are_fetched_once_and_then_kept(issuing):
    provider = openid()
    for _ in range(3):
        assert as_id_token(issuing.token(), provider=provider) == ANN
    assert issuing.requests == ["/.well-known/openid-configuration", "/jwks"]


def test_a_new_key_holds_at_once_and_an_old_one_no_more(issuing):
    provider, old = openid(), issuing.token()
    assert as_id_token(issuing.token(), provider=provider) == ANN
    issuing.keys = [Key("second")]
    assert as_id_token(issuing.token(), provider=provider) == ANN
    assert issuing.requests.count("/jwks") == 2
    assert as_id_token(old, provider=provider) is None
    assert as_id_token(old) is None


def test_tokens_of_random_keys_do_not_hammer_the_provider(issuing, monkeypatch):
    monkeypatch.setattr(tokens, "SECONDS_BETWEEN_MISSES", 3600)
    provider = openid()
    for check in (as_id_token, as_bearer):
        assert check(issuing.token(), provider=provider) == ANN
        for number in range(5):
            assert check(issuing.token(header={"kid": f"random-{number}"}), provider=provider) is None
        assert issuing.requests.count("/jwks") == 2
    assert as_id_token(issuing.token(), provider=provider) == ANN


def test_after_a_while_a_key_that_is_not_known_is_looked_for_again(issuing, monkeypatch):
    provider = openid()
    assert as_id_token(issuing.token(header={"kid": "random"}), provider=provider) is None
    monkeypatch.setattr(tokens, "SECONDS_BETWEEN_MISSES", 0)
    issuing.keys = [Key("second")]
    assert as_id_token(issuing.token(), provider=provider) == ANN


# Google


def test_google_is_a_preset():
    google = GoogleProvider("some-id", "some-secret")
    assert (google.name, google.client_id) == ("google", "some-id")
    assert google.issuer.url == "https://accounts.google.com"
    assert set(google.issuers) == {"https://accounts.google.com", "accounts.google.com"}


@pytest.mark.parametrize(
    ("issuer", "holds"),
    [("accounts.google.com", True), ("https://accounts.google.com", True), ("evil.google.com", False)],
)
def test_google_has_two_issuers(issuing, issuer, holds):
    google = GoogleProvider(CLIENT_ID)
    google.issuer = openid().issuer  # its keys, which are not Google's
    token = issuing.token(iss=issuer)
    assert (as_bearer(token, provider=google) is not None) is holds
    assert (as_id_token(token, provider=google) is not None) is holds
