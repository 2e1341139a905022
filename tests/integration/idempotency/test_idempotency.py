"""Idempotency-Key: who asks again gets the first answer, and nothing is done twice."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection

import mongoengine as me
import pymongo
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Problem, Provider, flatten, idempotency, signals
from hive.testing import connected, recorded, serve
from tests.support.clock import Clock as PoolClock
from tests.support.databases import on_both
from tests.support.threads import PATIENCE, at_once, wait_for


class IdemPlace(me.EmbeddedDocument):
    city = me.StringField()


class IdemNote(me.Document):
    text = me.StringField(max_length=20)
    email = me.StringField(unique=True, sparse=True)
    n = me.IntField()
    tags = me.ListField(me.StringField())


class IdemTeam(me.Document):
    name = me.StringField()
    place = me.EmbeddedDocumentField(IdemPlace)
    places = me.EmbeddedDocumentListField(IdemPlace)
    captain = me.ReferenceField(IdemNote)
    members = me.ListField(me.ReferenceField(IdemNote))


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."
    extra_headers = {"X-Pot": "short and stout"}


class Trusting(Provider):
    """Takes a bearer for who they say they are: whatever stands before a colon."""

    async def bearer(self, token):
        return {"id": token.partition(":")[0]}, 2**32


MODELS = (IdemNote, IdemTeam)
ROUTES = flatten([ModelHive.routes_for(model) for model in MODELS])
NOTE, TEAM = "/idem_note", "/idem_team"
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
EACH = {"Prefer": "transaction=no"}
TYPE = "Content-Type"


@pytest.fixture
def database(request):
    """A server, which has transactions, unless a test says otherwise."""
    return request.getfixturevalue(f"{getattr(request, 'param', 'mongodb')}_database")


@pytest.fixture
def api(database):
    with serve(ROUTES) as api:
        yield api


@pytest.fixture
def real(mongodb_database):
    """On the server that has transactions."""
    with serve(ROUTES) as api:
        yield api


@pytest.fixture
def world(database):
    note = IdemNote(text="old", n=1, tags=["x"]).save()
    other = IdemNote(text="other", n=2).save()
    team = IdemTeam(name="A", captain=note, members=[note], places=[IdemPlace(city="Rome")]).save()
    return {"note": note.pk, "other": other.pk, "team": team.pk}


@pytest.fixture
def hasty(monkeypatch):
    """A process that does not beat is taken for dead after a moment."""
    monkeypatch.setattr(idempotency, "BEAT", 0.02)
    monkeypatch.setattr(idempotency, "LEASE", 0.2)
    monkeypatch.setattr(idempotency, "PAUSE", 0.01)


class Clock:
    """The time by which a request waits for another one: it goes on with each beat, and so never without."""

    def __init__(self):
        self.now, self.beats = 0.0, []

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """A clock that each beat puts forward by 10 seconds; without a beat, 100 are too many."""
    clock, beat = Clock(), idempotency.Claim.beat

    def counted(self):
        beat(self)
        clock.now += 10
        clock.beats.append(self.is_held and self.owner)

    monkeypatch.setattr(idempotency, "time", clock)
    monkeypatch.setattr(idempotency, "BEAT", 0.02)
    monkeypatch.setattr(idempotency, "LEASE", 100)
    monkeypatch.setattr(idempotency, "PAUSE", 0.01)
    monkeypatch.setattr(idempotency.Claim, "beat", counted)
    return clock


def keyed(key="one", **more):
    return {"Idempotency-Key": key, **{name.replace("_", "-"): value for name, value in more.items()}}


def dump():
    return [list(model._get_collection().find()) for model in MODELS]


def claims():
    return IdemNote._get_db()[idempotency.COLLECTION]


def told(reply):
    """All of an answer that may be told again."""
    headers = {name: value for name, value in reply.headers.items() if name not in ("Date", "X-Request-Id")}
    return reply.status, headers, reply.body


def filled(value, world):
    if isinstance(value, dict):
        return {name: filled(item, world) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, world) for item in value]
    return value.format(**world) if isinstance(value, str) else value


# What is told again

APPEND = [{"op": "add", "path": "/tags/-", "value": "new"}]
WRITES = [
    ("POST", NOTE, {"text": "new"}, {}, 201),
    ("POST", NOTE + "/", {"text": "new"}, {}, 201),
    ("POST", NOTE, [{"text": "a"}, {"text": "b"}], EACH, 201),
    ("POST", NOTE, [{"text": "a"}, {"nme": "b"}], EACH, 207),
    ("PATCH", NOTE + "/{note}", {"text": "new"}, {}, 200),
    ("PATCH", NOTE + "/{note}", APPEND, {TYPE: JSON_PATCH}, 200),
    ("PATCH", NOTE + "?n__gte=1", APPEND, {TYPE: JSON_PATCH} | EACH, 200),
    ("PATCH", NOTE + "?n=1", {"n": 2}, EACH, 200),
    ("POST", TEAM + "/{team}/place", {"city": "Bonn"}, {}, 201),
    ("POST", TEAM + "/{team}/places", {"city": "Bonn"}, {}, 201),
    ("PATCH", TEAM + "/{team}/places/0", {"city": "Bonn"}, {}, 200),
    ("POST", TEAM + "/{team}/members", {"text": "new"}, {}, 201),
    ("POST", TEAM + "/{team}/members", {"id": "{other}"}, {}, 200),
    ("POST", TEAM + "/{team}/captain", {"text": "new"}, {}, 201),
    ("PATCH", TEAM + "/{team}/captain", {"text": "new"}, {}, 200),
]


def ids(rows):
    return [f"{index} {row[0]} {row[1]} {row[4]}" for index, row in enumerate(rows)]


@on_both
@pytest.mark.parametrize("row", WRITES, ids=ids(WRITES))
def test_a_repeated_write_gets_the_first_answer_and_is_not_done_again(api, world, row):
    method, path, body, headers, status = row
    path, body = path.format(**world), filled(body, world)
    before = dump()
    with recorded() as heard:
        first = api.request(method, path, json=body, headers=keyed() | headers)
    assert first.status == status, first.body
    assert heard
    after = dump()
    assert after != before
    with recorded() as heard:
        for _ in range(2):
            assert told(api.request(method, path, json=body, headers=keyed() | headers)) == told(first)
    assert heard == []
    assert dump() == after


ALL_OR_NOTHING = [
    ("POST", NOTE, [{"text": "a"}, {"text": "b"}], {}, 201),
    ("POST", NOTE, [{"text": "a"}, {"nme": "b"}], {}, 400),
    ("PATCH", NOTE + "?n=1", APPEND, {TYPE: JSON_PATCH}, 200),
]


@pytest.mark.parametrize("row", ALL_OR_NOTHING, ids=ids(ALL_OR_NOTHING))
def test_so_does_one_of_several_documents_at_once(real, row):
    method, path, body, headers, status = row
    IdemNote(n=1, tags=["x"]).save()
    first = real.request(method, path, json=body, headers=keyed() | headers)
    assert first.status == status, first.body
    after = dump()
    with recorded() as heard:
        assert told(real.request(method, path, json=body, headers=keyed() | headers)) == told(first)
    assert heard == []
    assert dump() == after


def test_the_headers_are_told_again_too(api):
    first, again = (api.post(NOTE, json={"text": "x"}, headers=keyed()) for _ in range(2))
    for name in ("Location", "ETag", "X-Created-Id", "Content-Type"):
        assert first.headers[name]
        assert again.headers.get_all(name) == [first.headers[name]]
    assert api.get(again.headers["Location"]).json == again.json


def test_a_patch_that_asked_for_a_state_is_no_failure_when_it_is_repeated(api, world):
    path = f"{NOTE}/{world['note']}"
    tag = api.get(path).headers["ETag"]
    first, again = (api.patch(path, json={"n": 5}, headers=keyed(If_Match=tag)) for _ in range(2))
    assert first.status == 200
    assert told(again) == told(first)
    assert api.patch(path, json={"n": 5}, headers=keyed("two", If_Match=tag)).status == 412


REFUSALS = [
    ("POST", NOTE, {"text": "x" * 21}, {}, 400),
    ("POST", NOTE, {"nme": "x"}, {}, 400),
    ("POST", NOTE + "?x=1", {"text": "x"}, {}, 400),
    ("POST", NOTE, {"email": "taken"}, {}, 409),
    ("POST", NOTE, {"text": "x"}, {TYPE: "text/plain"}, 415),
    ("POST", TEAM + "/{team}/nothing", {"text": "x"}, {}, 404),
    ("POST", NOTE + "/{note}", {"text": "x"}, {}, 405),
    ("PATCH", NOTE + "/65a0000000000000000000ff", {"n": 1}, {}, 404),
    ("PATCH", NOTE + "/{note}", {"n": 1}, {"If-Match": '"old"'}, 412),
    ("PATCH", NOTE, {"n": 1}, EACH, 400),
    ("POST", NOTE, [{"text": "x"}, 7], EACH, 400),
]


@pytest.mark.parametrize("row", REFUSALS, ids=ids(REFUSALS))
def test_a_refusal_is_told_again(api, world, row):
    method, path, body, headers, status = row
    IdemNote(email="taken").save()
    before = dump()
    path = path.format(**world)
    plain = api.request(method, path, json=body, headers=headers)
    first = api.request(method, path, json=body, headers=keyed() | headers)
    assert first.status == status, first.body
    assert told(first) == told(plain)
    with recorded() as heard:
        assert told(api.request(method, path, json=body, headers=keyed() | headers)) == told(first)
    assert heard == []
    assert dump() == before


@on_both
def test_a_refusal_is_told_again_even_when_there_is_no_reason_any_more(api):
    taken = IdemNote(email="x").save()
    first = api.post(NOTE, json={"email": "x"}, headers=keyed())
    assert first.status == 409
    taken.delete()
    assert told(api.post(NOTE, json={"email": "x"}, headers=keyed())) == told(first)
    assert api.post(NOTE, json={"email": "x"}, headers=keyed("two")).status == 201


def test_what_a_receiver_refuses_is_told_again_with_its_headers(api):
    def refuse(sender):
        raise Teapot

    with signals.pre_create_instance.connected_to(refuse):
        first = api.post(NOTE, json={"text": "x"}, headers=keyed())
    again = api.post(NOTE, json={"text": "x"}, headers=keyed())
    assert first.status == 418
    assert first.headers["X-Pot"] == "short and stout"
    assert told(again) == told(first)
    assert IdemNote.objects.count() == 0


@pytest.mark.parametrize("body", [{"text": "x"}, [{"text": "x"}]], ids=["one", "several"])
def test_an_error_of_the_server_is_not_kept(real, body, caplog):
    def bug(sender):
        raise ZeroDivisionError

    with signals.pre_create_instance.connected_to(bug):
        for _ in range(2):
            assert real.post(NOTE, json=body, headers=keyed()).status == 500
    assert IdemNote.objects.count() == 0
    assert real.post(NOTE, json=body, headers=keyed()).status == 201
    assert real.post(NOTE, json=body, headers=keyed()).status == 201
    assert IdemNote.objects.count() == 1


def test_post_receivers_that_raise_do_not_spoil_what_is_kept(api, caplog):
    def bug(sender):
        raise ZeroDivisionError

    with signals.post_create_instance.connected_to(bug):
        first = api.post(NOTE, json={"text": "x"}, headers=keyed())
    assert first.status == 201
    assert told(api.post(NOTE, json={"text": "x"}, headers=keyed())) == told(first)
    assert IdemNote.objects.count() == 1


def test_the_other_methods_do_not_mind_a_key(api, world):
    path = f"{NOTE}/{world['note']}"
    assert api.get(NOTE, headers=keyed()).status == 200
    assert [api.put(path, json={"n": n}, headers=keyed()).json["n"] for n in (5, 6)] == [5, 6]
    assert [api.delete(path, headers=keyed()).status for _ in range(2)] == [204, 404]
    assert api.request("OPTIONS", NOTE, headers=keyed()).status == 204
    assert claims().count_documents({}) == 0


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_other_methods_do_not_mind_a_key_that_is_none(api, world, method):
    body = {"n": 5} if method == "PUT" else None
    reply = api.request(method, f"{NOTE}/{world['note']}", json=body, headers=keyed("a,b"))
    assert reply.status == (204 if method == "DELETE" else 200)


def test_without_a_key_nothing_is_kept(api):
    assert [api.post(NOTE, json={"text": "x"}).status for _ in range(2)] == [201, 201]
    assert IdemNote.objects.count() == 2
    assert claims().count_documents({}) == 0


# What a key is


@pytest.mark.parametrize(
    "key",
    [
        "", '""', " ", '"a', 'a"', '"a"b"', "a,b", '"a", "b"', "a;b=c", '"a";b', "ä", "x" * 256,
        f'"{"x" * 256}"',
    ],
    ids=[
        "empty", "quoted empty", "blank", "not closed", "not opened", "three quotes", "comma", "two",
        "parameter", "quoted with parameter", "no ASCII", "too long", "quoted too long",
    ],
)  # fmt: skip
def test_what_is_no_key_is_refused(api, key):
    for method, path in (("POST", NOTE), ("PATCH", f"{NOTE}/x")):
        reply = api.request(method, path, json={"text": "x"}, headers=keyed(key.encode("latin-1")))
        assert reply.status == 400
        assert "Idempotency-Key" in reply.json["detail"]
    assert IdemNote.objects.count() == 0


def test_several_keys_are_refused(api):
    with closing(HTTPConnection("127.0.0.1", api.port)) as connection:
        connection.putrequest("POST", NOTE)
        body = b'{"text": "x"}'
        for name, value in (
            ("Idempotency-Key", "a"), ("Idempotency-Key", "a"), (TYPE, JSON),
            ("Content-Length", str(len(body))),
        ):  # fmt: skip
            connection.putheader(name, value)
        connection.endheaders(body)
        assert connection.getresponse().status == 400
    assert IdemNote.objects.count() == 0


@pytest.mark.parametrize(
    "key",
    ["8e03978e-40d5-43dd-bc93-6894a57f9324", "x" * 255, "a_b:c/d=", "1"],
    ids=["uuid", "long", "odd", "short"],
)
def test_a_key_is_the_same_with_quotes_and_without(api, key):
    first = api.post(NOTE, json={"text": "x"}, headers=keyed(key))
    assert first.status == 201
    assert told(api.post(NOTE, json={"text": "x"}, headers=keyed(f'"{key}"'))) == told(first)
    assert told(api.post(NOTE, json={"text": "x"}, headers=keyed(f'  "{key}" '))) == told(first)
    assert api.post(NOTE, json={"text": "x"}, headers=keyed(f'"{key[:-1]} "')).status == 201
    assert IdemNote.objects.count() == 2


# What is the same request, and whose


@pytest.mark.parametrize(
    ("method", "path", "body", "more"),
    [
        ("POST", NOTE, b'{"text": "y"}', {}),
        ("POST", NOTE, b'{"text":"x"}', {}),
        ("POST", NOTE, b"", {}),
        ("POST", NOTE + "?a=b", b'{"text": "x"}', {}),
        ("POST", NOTE, b'{"text": "x"}', {TYPE: "application/x-www-form-urlencoded"}),
        ("PATCH", NOTE, b'{"text": "x"}', {}),
        ("POST", NOTE, b'{"text": "x"}', EACH),
    ],
    ids=["body", "blanks", "no body", "query", "type", "method", "preference"],
)
def test_a_key_that_was_sent_with_another_request_is_refused(api, method, path, body, more):
    first = api.post(NOTE, json={"text": "x"}, headers=keyed())
    with recorded() as heard:
        reply = api.request(method, path, body=body, headers=keyed() | {TYPE: JSON} | more)
    assert reply.status == 422
    assert reply.headers[TYPE] == "application/problem+json"
    assert heard == []
    assert told(api.post(NOTE, json={"text": "x"}, headers=keyed())) == told(first)
    assert IdemNote.objects.count() == 1


def test_a_key_is_for_one_address(api, world):
    replies = [
        api.post(NOTE, json={"text": "x"}, headers=keyed()),
        api.post(TEAM, json={"name": "x"}, headers=keyed()),
        api.patch(f"{NOTE}/{world['note']}", json={"n": 5}, headers=keyed()),
        api.patch(f"{NOTE}/{world['other']}", json={"n": 6}, headers=keyed()),
    ]
    assert [reply.status for reply in replies] == [201, 201, 200, 200]
    assert told(api.post(f"{NOTE}/", json={"text": "x"}, headers=keyed())) == told(replies[0])
    assert IdemNote.objects.count() == 3


def test_a_key_is_for_one_client(api):
    replies = [
        api.post(NOTE, json={"text": "x"}, headers=keyed(Authorization=who)) for who in ("Basic a", "Basic b")
    ]
    replies.append(api.post(NOTE, json={"text": "x"}, headers=keyed()))
    assert [reply.status for reply in replies] == [201] * 3
    assert len({reply.json["id"] for reply in replies}) == 3
    assert api.post(NOTE, json={"text": "y"}, headers=keyed(Authorization="Basic c")).status == 201
    again = api.post(NOTE, json={"text": "x"}, headers=keyed(Authorization="Basic b"))
    assert told(again) == told(replies[1])


def test_a_key_is_for_one_user_whatever_proves_who_that_is(database):
    application = Application(
        AuthHive.routes_for([Trusting()]) + ModelHive.routes_for(IdemNote),
        default_handler_class=NotFoundHandler,
    )
    AuthHive.configure(application, secret_key="k" * 32, write_rate=None)
    with serve(application) as api:

        def post(who):
            more = {"Authorization": f"Bearer {who}"} if who else {}
            return api.post(NOTE, json={"text": "x"}, headers=keyed(**more))

        assert post(None).status == 401
        ann, bob = post("ann:1"), post("bob:1")
        assert (ann.status, bob.status) == (201, 201)
        assert ann.json["id"] != bob.json["id"]
        assert told(post("ann:2")) == told(ann)
        assert told(post("bob:2")) == told(bob)
        assert post(None).status == 401
    assert IdemNote.objects.count() == 2


def test_what_is_kept_tells_no_secrets_of_the_request(api):
    headers = keyed("the-very-key", Authorization="Basic the-very-secret")
    assert api.post(NOTE, json={"text": "x"}, headers=headers).status == 201
    [kept] = claims().find()
    assert "the-very" not in repr(kept)


# How long


def test_a_key_is_kept_for_a_day(api):
    api.post(NOTE, json={"text": "x"}, headers=keyed())
    [kept] = claims().find()
    left = kept["expires"].replace(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_mongodb_removes_keys_that_have_expired(real):
    real.post(NOTE, json={"text": "x"}, headers=keyed())
    indexes = claims().index_information().values()
    assert [index["expireAfterSeconds"] for index in indexes if index["key"] == [("expires", 1)]] == [0]


def test_a_key_is_kept_as_long_as_the_application_says(database):
    with serve(ROUTES, hive_idempotency_seconds=7_200) as api:
        api.post(NOTE, json={"text": "x"}, headers=keyed())
    [kept] = claims().find()
    left = kept["expires"].replace(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(hours=1) < left <= timedelta(hours=2)
    with serve(ROUTES, hive_idempotency_seconds=0) as api:
        replies = [api.post(NOTE, json={"text": "x"}, headers=keyed("two")) for _ in range(2)]
    assert [reply.status for reply in replies] == [201, 201]
    assert replies[0].json["id"] != replies[1].json["id"]


@on_both
def test_a_key_that_has_expired_is_a_new_one(api):
    first = api.post(NOTE, json={"text": "x"}, headers=keyed())
    claims().update_many({}, {"$set": {"expires": datetime.now(UTC) - timedelta(seconds=1)}})
    other = api.post(NOTE, json={"text": "y"}, headers=keyed())
    assert (first.status, other.status) == (201, 201)
    assert told(api.post(NOTE, json={"text": "y"}, headers=keyed())) == told(other)
    assert sorted(note.text for note in IdemNote.objects) == ["x", "y"]


# At once


CONCURRENT = [
    ("POST", NOTE, {"text": "x"}, 201, {}),
    ("POST", NOTE, {"email": "taken"}, 409, {}),
    ("POST", NOTE, [{"text": "x"}, {"text": "y"}], 201, EACH),
    ("PATCH", NOTE + "/{note}", APPEND, 200, {TYPE: JSON_PATCH}),
]


@on_both
@pytest.mark.parametrize("row", CONCURRENT, ids=["create", "refused", "several", "append"])
def test_of_many_at_once_one_is_done_and_all_get_its_answer(database, world, row):
    method, path, body, status, headers = row
    IdemNote(email="taken").save()
    before = IdemNote.objects.count()
    headers = keyed() | headers

    def sending(api):
        return lambda: api.request(method, path.format(**world), json=body, headers=headers)

    with serve(ROUTES) as one, serve(ROUTES) as another, recorded() as heard:
        replies = at_once([sending(api) for api in (one, another) for _ in range(10)])
    assert replies[0].status == status, replies[0].body
    assert [told(reply) for reply in replies] == [told(replies[0])] * 20
    several = len(body) if isinstance(body, list) and method == "POST" else 1
    names = [signal.name.partition("_")[0] for signal in heard]
    assert names == ["pre"] * several + (["post"] * several if status < 400 else [])
    created = several if status == 201 else 0
    assert IdemNote.objects.count() == before + created
    assert IdemNote.objects.get(pk=world["note"]).tags == (["x", "new"] if method == "PATCH" else ["x"])


@on_both
def test_of_two_different_requests_at_once_with_one_key_one_is_refused(api):
    replies = at_once(
        [lambda text=text: api.post(NOTE, json={"text": text}, headers=keyed()) for text in ("a", "b") * 5]
    )
    statuses = [reply.status for reply in replies]
    assert sorted(statuses) == [201] * 5 + [422] * 5
    assert IdemNote.objects.count() == 1


def test_another_server_tells_the_first_answer(database):
    with serve(ROUTES) as api:
        first = api.post(NOTE, json={"text": "x"}, headers=keyed())
    with serve(ROUTES) as api, recorded() as heard:
        assert told(api.post(NOTE, json={"text": "x"}, headers=keyed())) == told(first)
    assert heard == []


class Gate:
    """A pre receiver that stops the first to come until it is opened."""

    def __init__(self):
        self.reached, self.open, self.calls = threading.Event(), threading.Event(), 0

    async def __call__(self, sender):
        self.calls += 1
        if self.calls == 1:
            self.reached.set()
            await asyncio.to_thread(self.open.wait, PATIENCE)


@contextmanager
def stopped(api, body, headers):
    """A POST that waits until the gate is opened, or the block ends. Give the gate and the future answer."""
    gate = Gate()
    with signals.pre_create_instance.connected_to(gate, IdemNote), ThreadPoolExecutor(1) as executor:
        future = executor.submit(api.post, NOTE, json=body, headers=headers, timeout=PATIENCE)
        try:
            assert gate.reached.wait(PATIENCE)
            yield gate, future
        finally:
            gate.open.set()


@on_both
def test_a_slow_request_keeps_its_key(database, clock):
    with serve(ModelHive.routes_for(IdemNote, deadline=1000)) as api:
        with stopped(api, {"text": "x"}, keyed()) as (gate, first), ThreadPoolExecutor(1) as executor:
            repeat = executor.submit(api.post, NOTE, json={"text": "x"}, headers=keyed(), timeout=PATIENCE)
            wait_for(lambda: clock.now > 300)  # three times what would be too much without a beat
            gate.open.set()
        assert first.result().status == 201
        assert told(repeat.result()) == told(first.result())
    assert gate.calls == 1
    assert IdemNote.objects.count() == 1
    assert len({owner for owner in clock.beats if owner}) == 1


@on_both
def test_a_repeat_that_waits_too_long_is_refused(database, clock):
    with serve(ModelHive.routes_for(IdemNote, deadline=20)) as api:
        with stopped(api, {"text": "x"}, keyed()) as (gate, first):
            busy = api.post(NOTE, json={"text": "x"}, headers=keyed(), timeout=PATIENCE)
            assert busy.status == 409
            assert busy.headers["Retry-After"] == "1"
        assert first.result().status == 201
        assert told(api.post(NOTE, json={"text": "x"}, headers=keyed())) == told(first.result())
    assert gate.calls == 1
    assert IdemNote.objects.count() == 1


def test_the_time_of_a_request_does_not_pass_while_it_waits_for_the_first(database, monkeypatch):
    clock, looks, look = PoolClock(monkeypatch), [], idempotency.Claim._beat_of

    def counted(self, owner):
        looks.append(owner)
        return look(self, owner)

    monkeypatch.setattr(idempotency.Claim, "_beat_of", counted)
    with serve(ModelHive.routes_for(IdemNote, deadline=60)) as api:
        with stopped(api, {"text": "x"}, keyed()) as (gate, first), ThreadPoolExecutor(1) as executor:
            repeat = executor.submit(api.post, NOTE, json={"text": "x"}, headers=keyed(), timeout=PATIENCE)
            for _ in range(3):
                seen = len(looks)
                wait_for(lambda seen=seen: len(looks) > seen + 2)
                clock.go_on(50)
            gate.open.set()
        assert told(repeat.result()) == told(first.result())


def test_unique_fields_are_unique_after_a_first_request_under_a_key_that_was_refused(mongodb_database):
    class IdemFirst(me.Document):
        name = me.StringField(unique=True)

        def clean(self):
            if self.name == "bad":
                raise me.ValidationError("This is bad.")

    with serve(ModelHive.routes_for(IdemFirst)) as api:
        assert api.post("/idem_first", json={"name": "bad"}, headers=keyed()).status == 400
        assert [api.post("/idem_first", json={"name": "a"}).status for _ in range(2)] == [201, 409]


def test_who_was_taken_for_dead_writes_nothing_any_more(real, hasty, monkeypatch):
    monkeypatch.setattr(idempotency.Claim, "beat", lambda self: None)
    with recorded(signals.post_create_instance) as heard:
        with stopped(real, {"text": "x"}, keyed()) as (gate, first):
            again = real.post(NOTE, json={"text": "x"}, headers=keyed())
            assert again.status == 201
        assert first.result().status == 409
    assert gate.calls == 2
    assert len(heard) == 1
    assert told(real.post(NOTE, json={"text": "x"}, headers=keyed())) == told(again)
    assert [str(note.pk) for note in IdemNote.objects] == [again.json["id"]]


def test_many_documents_are_created_under_a_key_while_it_beats(mongodb_database, monkeypatch):
    monkeypatch.setattr(idempotency, "BEAT", 0.01)
    body = [{"text": str(index)} for index in range(1_100)]  # three insertions
    with serve(ModelHive.routes_for(IdemNote, deadline=60)) as api:
        first = api.post(NOTE, json=body, headers=keyed(), timeout=PATIENCE)
        assert first.status == 201
        assert told(api.post(NOTE, json=body, headers=keyed(), timeout=PATIENCE)) == told(first)
    assert IdemNote.objects.count() == 1_100


# Interrupted


def interrupt():
    """Let the last claim be that of a process that has ended before it had an answer."""
    claim = {"fingerprint": {"$exists": True}}
    gone = {"$unset": {"answer": ""}, "$set": {"owner": "gone"}}
    assert claims().update_many(claim, gone).matched_count == 1


def test_what_an_interrupted_request_did_without_transactions_is_not_done_again(mongomock_database, hasty):
    with serve(ROUTES) as api:
        api.post(NOTE, json={"text": "x"}, headers=keyed())
        interrupt()
        with recorded() as heard:
            for _ in range(2):
                reply = api.post(NOTE, json={"text": "x"}, headers=keyed())
                assert reply.status == 409
                assert "interrupted" in reply.json["detail"]
        assert api.post(NOTE, json={"text": "y"}, headers=keyed()).status == 422
    assert heard == []
    assert IdemNote.objects.count() == 1


def test_nor_what_one_did_that_wanted_no_transaction(real, hasty):
    for _ in range(2):
        reply = real.post(NOTE, json=[{"text": "x"}], headers=keyed(**EACH))
        if reply.status == 201:
            interrupt()
    assert reply.status == 409
    assert IdemNote.objects.count() == 1


def test_an_interrupted_request_that_has_stored_nothing_is_done_anew(real, hasty):
    real.post(NOTE, json={"text": "x"}, headers=keyed())
    IdemNote.objects.delete()
    interrupt()
    first = real.post(NOTE, json={"text": "x"}, headers=keyed())
    assert first.status == 201
    assert told(real.post(NOTE, json={"text": "x"}, headers=keyed())) == told(first)
    assert IdemNote.objects.count() == 1


def test_of_many_that_take_over_one_does(real, hasty):
    real.post(NOTE, json={"text": "x"}, headers=keyed())
    IdemNote.objects.delete()
    interrupt()
    with recorded() as heard:
        replies = at_once([lambda: real.post(NOTE, json={"text": "x"}, headers=keyed()) for _ in range(10)])
    assert replies[0].status == 201
    assert [told(reply) for reply in replies] == [told(replies[0])] * 10
    assert len(heard) == 2
    assert IdemNote.objects.count() == 1


def test_a_repeat_takes_over_where_the_server_kills_no_sessions(mongod, hasty):
    mongod.kills_sessions = False
    with connected("idempotency", host=mongod.uri) as database, serve(ROUTES) as api:
        api.post(NOTE, json={"text": "x"}, headers=keyed())
        IdemNote.objects.delete()
        interrupt()
        replies = [api.post(NOTE, json={"text": "x"}, headers=keyed()) for _ in range(2)]
        assert ("killSessions", "forward") in mongod.seen
        assert [reply.status for reply in replies] == [201, 201]
        assert told(replies[0]) == told(replies[1])
        assert IdemNote.objects.count() == 1
        database.client.drop_database("idempotency")


def test_what_the_transaction_of_a_dead_process_holds_is_unavailable_until_it_ends(mongod, hasty):
    mongod.kills_sessions = False
    with connected("idempotency", host=mongod.uri) as database:
        note = IdemNote(text="old").save()
        with serve(ModelHive.routes_for(IdemNote, deadline=1)) as api:
            patch = partial(api.patch, f"{NOTE}/{note.pk}", json={"text": "x"}, headers=keyed())
            assert patch().status == 200
            interrupt()
            IdemNote.objects.update(text="old")
            with pymongo.MongoClient(mongod.uri) as other, other.start_session() as session:
                session.start_transaction()
                other["idempotency"].idem_note.update_one({}, {"$set": {"n": 1}}, session=session)
                reply = patch(timeout=PATIENCE)
                assert (reply.status, reply.json["done"]) == (503, False)
                session.abort_transaction()
            assert patch().status == 200
        database.client.drop_database("idempotency")
