"""Sessions are signed tokens that nobody can make, change, or use longer than they last."""

import base64
import hashlib
import json
import time

import jwt
import pytest
from tornado.web import Application

from hive import AuthHive
from hive.sessions import Keys, Lifetime, name_of

KEY, OTHER = "k" * 32, b"o" * 40
KID = name_of(KEY.encode())
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LIFETIME = Lifetime(1200, 43200)


def claims(*, started=0, renewed=0, left=600, **more):
    """Those of a session that began and was renewed so many seconds ago, and has so many left."""
    now = int(time.time())
    who = {"jti": "s1", "provider": "credulous", "user": {"id": "ann"}}
    return who | {"auth_time": now - (started or renewed), "iat": now - renewed, "exp": now + left, **more}


def signed(*, key=KEY, **how):
    return Keys(key).sign("session", claims(**how))


def is_session(token, keys=KEY, lifetime=LIFETIME):
    return lifetime.read(Keys(keys), token) is not None


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def kid_of(token):
    return jwt.get_unverified_header(token)["kid"]


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
    "make",
    [lambda: KEY, lambda: b"k" * 32, lambda: "ü" * 16, lambda: [KEY], lambda: (KEY, OTHER),
     lambda: iter([OTHER, KEY])],
    ids=["text", "bytes", "32 bytes of umlauts", "a list", "a tuple", "an iterator"],
)  # fmt: skip
def test_secret_key_of_32_bytes_is_taken(make):
    keys = Keys(make())
    assert LIFETIME.read(keys, keys.sign("session", claims())).user_data == {"id": "ann"}


def test_application_without_secret_key_does_not_start():
    with pytest.raises(TypeError, match="secret_key"):
        AuthHive.configure(Application())


def test_old_key_verifies_beside_the_new_one_and_not_after_it_is_gone():
    rings = (OTHER, [KEY, OTHER], KEY)
    before, after = signed(key=OTHER), signed(key=[KEY, OTHER])
    assert [is_session(before, keys) for keys in rings] == [True, True, False]
    assert [is_session(after, keys) for keys in rings] == [False, True, True]


def test_the_first_key_signs():
    assert [kid_of(signed(key=keys)) for keys in (OTHER, [KEY, OTHER])] == [name_of(OTHER), KID]


def test_kid_tells_keys_apart_and_nothing_of_them():
    told = base64.urlsafe_b64decode(kid_of(signed(key=OTHER)))
    assert len(told) == 9
    assert not {told} & {OTHER[:9], hashlib.sha256(OTHER).digest()[:9], hashlib.sha1(OTHER).digest()[:9]}
    assert len({name_of(bytes([index]) * 32) for index in range(100)}) == 100


@pytest.mark.parametrize("kid", [None, "", "unknown", "../../dev/null", name_of(OTHER)])
def test_kid_chooses_among_the_own_keys_only(kid):
    headers = {"kid": kid} if kid is not None else {}
    token = jwt.encode(claims(aud="session"), KEY, headers=headers)
    assert not is_session(token, [KEY, OTHER])


# Tampering


def test_session_with_any_byte_changed_left_out_or_added_is_none():
    token = signed()
    assert is_session(token)
    for index, character in enumerate(token):
        other = "A" if character == "." else ALPHABET[ALPHABET.index(character) ^ 32]
        assert not is_session(token[:index] + other + token[index + 1 :]), index
        assert not is_session(token[:index] + token[index + 1 :]), index
        assert not is_session(token[:index]), index
        assert not is_session(token[:index] + "AAAA" + token[index:]), index


def test_parts_of_two_good_sessions_make_no_third():
    ann, bob = signed().split("."), signed(user={"id": "bob"}).split(".")
    assert ann[0] == bob[0]
    assert not is_session(".".join((ann[0], bob[1], ann[2])))
    assert is_session(".".join((ann[0], bob[1], bob[2])))


def by_algorithm(algorithm, digest):
    """A session that says to be signed by an algorithm, and is signed by HMAC with a digest, or by none."""
    text = f"{part({'alg': algorithm, 'kid': KID, 'typ': 'session+jwt'})}.{part(claims(aud='session'))}"
    if digest is None:
        return f"{text}."
    mac = jwt.algorithms.HMACAlgorithm(digest).sign(text.encode(), KEY.encode())
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", None, "HS384", "HS512", "RS256", ["HS256"]], ids=repr
)
def test_session_by_another_algorithm_is_none(algorithm):
    assert is_session(by_algorithm("HS256", hashlib.sha256))
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(str(algorithm), hashlib.sha256)
    assert not is_session(by_algorithm(algorithm, digest))
    assert not is_session(by_algorithm(algorithm, None))


def test_no_kind_of_own_token_is_of_use_as_another():
    keys, kinds = Keys(KEY), ("session", "nonce", "flow")
    for kind in kinds:
        token = keys.sign(kind, {"exp": time.time() + 600, "nonce": "n"})
        assert [other for other in kinds if keys.read(other, token)] == [kind]


@pytest.mark.parametrize("left_out", ["exp", "aud"])
def test_token_of_the_own_key_without_end_or_kind_is_no_session(left_out):
    said = claims(aud="session")
    assert is_session(jwt.encode(said, KEY, headers={"kid": KID}))
    del said[left_out]
    assert not is_session(jwt.encode(said, KEY, headers={"kid": KID}))


GARBAGE = [
    "", ".", "..", "...", "a.b.c", "null", "e30.e30.e30", "ü.ü.ü", "\ud83d", "\x80\xff", '"a', '"\\"', "%00",
    "x" * 9000, "." * 9000, part([]) + "..", part({"kid": {}}) + "..", part({"kid": []}) + "..",
    base64.urlsafe_b64encode(b"[" * 5000).decode() + "..", "🐝" * 100, None,
]  # fmt: skip


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: ascii(value)[:17] + str(len(value or "")))
def test_garbage_is_no_session_and_no_error(value):
    assert not is_session(value)


# Lifetime


@pytest.mark.parametrize(
    ("age", "lifetime", "holds"),
    [
        ({"left": 60}, LIFETIME, True),
        ({"left": -1}, LIFETIME, False),
        ({"started": 43000, "left": 100}, LIFETIME, True),
        ({"started": 43201, "left": 600}, LIFETIME, False),
        ({"started": 700, "left": 600}, Lifetime(60, 600), False),
        ({"renewed": 700, "left": 500}, Lifetime(600, 43200), False),
    ],
    ids=["in time", "idle for too long", "near its end", "beyond its end",
         "absolute lifetime shortened meanwhile", "idle lifetime shortened meanwhile"],
)  # fmt: skip
def test_session_lasts_as_long_as_both_lifetimes_say(age, lifetime, holds):
    assert is_session(signed(**age), lifetime=lifetime) is holds


def test_new_session_lasts_for_the_idle_lifetime():
    session = Lifetime(77, 99).begin("credulous", {"id": "ann"})
    assert session.expires - session.renewed == 77
    assert session.end - session.started == 99
    assert session.renewed == session.started


@pytest.mark.parametrize(("idle", "is_due"), [(1, False), (500, False), (605, True), (1000, True)])
def test_session_is_due_only_when_half_of_the_idle_time_is_gone(idle, is_due):
    session = LIFETIME.read(Keys(KEY), signed(started=2000, renewed=idle, left=1200 - idle))
    assert LIFETIME.is_due(session) is is_due


def test_renewed_session_is_the_same_one():
    keys, user = Keys(KEY), {"id": "ann", "roles": ["x"]}
    before = LIFETIME.read(keys, signed(started=5000, renewed=900, left=300, user=user))
    earliest = int(time.time())
    after = LIFETIME.read(keys, LIFETIME.write(keys, LIFETIME.renewed(before)))
    for name in ("id", "started", "user_data", "provider", "end"):
        assert getattr(after, name) == getattr(before, name)
    assert earliest <= after.renewed <= time.time()
    assert after.expires == after.renewed + 1200


def test_no_renewal_goes_beyond_the_absolute_end():
    session = LIFETIME.read(Keys(KEY), signed(started=43200 - 300, renewed=900, left=200))
    assert LIFETIME.renewed(session).expires == session.started + 43200
    at_its_end = LIFETIME.read(Keys(KEY), signed(started=43200 - 300, renewed=900, left=300))
    assert LIFETIME.is_due(session)
    assert not LIFETIME.is_due(at_its_end)


@pytest.mark.parametrize(
    "user",
    [{"id": 7}, {"id": "ü🐝"}, {"id": "a", "roles": ["x", 1, None, {"y": 1.5}], "nested": {"a": {"b": True}}},
     {"id": "a", "exp": 1, "aud": "nonce", "jti": "mine"}],
    ids=["number", "unicode", "nested", "names of claims"],
)  # fmt: skip
def test_user_data_survive(user):
    keys = Keys(KEY)
    assert LIFETIME.read(keys, LIFETIME.write(keys, LIFETIME.begin("x", user))).user_data == user
