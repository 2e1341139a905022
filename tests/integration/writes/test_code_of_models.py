"""Models with code of their own: nobody is told what was not done, nor is anything done that is not told."""

import time
from threading import Event, Lock, Semaphore
from types import SimpleNamespace

import mongoengine as me
import pymongo
import pytest
from bson import ObjectId
from mongoengine import signals as mongoengine_signals

from hive import ModelHive, idempotency, signals, storage
from hive.testing import recorded, serve
from tests.support.threads import PATIENCE, at_once

ID = ObjectId("65a000000000000000000001")
POSTS = (signals.post_create_instance, signals.post_update_instance, signals.post_delete_instance)
DEADLINE = 60
clock = SimpleNamespace(ahead=0.0)
"""How far the time of requests is ahead of that of the machine."""


class OnsetLog(me.Document):
    text = me.StringField()


class OnsetSlowly(me.Document):
    """Stores something more, when the time of the request is up; or all of it then."""

    meta = {"abstract": True}
    name = me.StringField()

    def save(self, *args, **kwargs):
        if self.name == "late":
            overrun()
        result = super().save(*args, **kwargs)
        if self.name == "slow":
            overrun()
            OnsetLog(text="slow").save()
        return result


class OnsetSlow(OnsetSlowly):
    pass


class OnsetSlowKey(OnsetSlowly):
    key = me.StringField(primary_key=True)


class OnsetWaiting(me.Document):
    """Is deleted when all who want that are there, unless a second one deletes it at the same time."""

    name = me.StringField()
    may_go, lock, deleting, is_second = Event(), Lock(), [], Event()

    def delete(self, *args, **kwargs):
        with self.lock:
            self.deleting.append(self)
            if len(self.deleting) > 1:
                self.is_second.set()
        assert self.may_go.wait(PATIENCE)
        self.is_second.wait(0.2)  # which nobody sets where they go one after another
        super().delete(*args, **kwargs)


class OnsetNumber(me.Document):
    n = me.IntField()


class OnsetIdle(me.Document):
    name = me.StringField()

    def save(self, *args, **kwargs):
        return self


class OnsetIdleNamed(me.Document):
    key = me.StringField(primary_key=True)

    def save(self, *args, **kwargs):
        return self


class OnsetCounted(me.Document):
    """Counts its versions where save() does not see it."""

    name = me.StringField()
    version = me.IntField(default=0)

    def save(self, *args, **kwargs):
        result = super().save(*args, **kwargs)
        count(type(self), self)
        return result


class OnsetHeard(me.Document):
    """The same by a signal."""

    name = me.StringField()
    version = me.IntField(default=0)


class OnsetBeaten(me.Document):
    """Keeps its transaction open until the request has said three times that it is still there."""

    name = me.StringField()
    beats = Semaphore(0)

    def save(self, *args, **kwargs):
        result = super().save(*args, **kwargs)
        while self.beats.acquire(blocking=False):
            pass  # for only those count that come while the transaction is open
        assert all(self.beats.acquire(timeout=PATIENCE) for _ in range(3))
        return result


def overrun():
    """Let the time of the request be up."""
    clock.ahead += DEADLINE + 1
    pymongo.timeout(1e-6).__enter__()  # until hive leaves the timeout of its own that is around it


@pytest.fixture
def clocked(monkeypatch):
    """Let hive tell the time of requests by `clock`, and have time to find out what was done."""
    monkeypatch.setattr(clock, "ahead", 0.0)
    monkeypatch.setattr("hive.pool.time", SimpleNamespace(monotonic=lambda: time.monotonic() + clock.ahead))
    monkeypatch.setattr("hive.outcomes.SECONDS_TO_KNOW", PATIENCE + DEADLINE)


def count(sender, document, **_):
    sender.objects(pk=document.pk).update(inc__version=1)


def collection(model):
    return model._get_collection()


def insert(model, **values):
    collection(model).insert_one({"_id": ID, **values})


# Those that take too long


SLOW = {
    "POST": (OnsetSlow, "POST", "/onset_slow", {}),
    "POST of a key": (OnsetSlowKey, "POST", "/onset_slow_key", {"key": "k"}),
    "PUT": (OnsetSlow, "PUT", f"/onset_slow/{ID}", {}),
}


@pytest.mark.parametrize("name", ["slow", "late"])
@pytest.mark.parametrize("way", SLOW)
def test_nobody_is_told_that_nothing_was_done_when_it_was(mongodb_database, clocked, way, name):
    model, method, path, body = SLOW[way]
    insert(OnsetSlow, name="old")
    list(model.objects), list(OnsetLog.objects)
    routes = [
        route for one in (OnsetSlow, OnsetSlowKey) for route in ModelHive.routes_for(one, deadline=DEADLINE)
    ]
    with serve(routes) as api, recorded(*POSTS) as heard:
        answer = api.request(method, path, json=body | {"name": name}, timeout=PATIENCE)
    assert clock.ahead > 0
    is_stored = model.objects(name=name).count() == 1
    assert is_stored is (name == "slow")
    assert answer.status in (200, 201, 503), answer.body
    done = answer.json["done"] if answer.status == 503 else True
    assert done is not (not is_stored)
    assert len(heard) == (1 if done else 0)


# Those that do something else


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}], ids=["whatever it is", "If-Match"])
def test_of_several_who_delete_a_document_one_does(mongodb_database, monkeypatch, headers):
    arrived = []
    for name, value in {"may_go": Event(), "deleting": [], "is_second": Event()}.items():
        monkeypatch.setattr(OnsetWaiting, name, value)
    monkeypatch.setattr(storage, "COURTESY", 0.01)
    insert(OnsetWaiting, name="x")
    path = f"/onset_waiting/{ID}"

    def arrive(sender, **_):
        arrived.append(sender)
        if len(arrived) == 3:
            OnsetWaiting.may_go.set()

    with (
        serve(ModelHive.routes_for(OnsetWaiting, deadline=DEADLINE)) as api,
        signals.pre_delete_instance.connected_to(arrive, sender=OnsetWaiting),
        recorded(signals.post_delete_instance) as heard,
    ):
        replies = at_once([lambda: api.delete(path, headers=headers, timeout=PATIENCE)] * 3)
    assert sorted(reply.status for reply in replies) == [204, 404, 404]
    assert [told.arguments["instance"].pk for told in heard] == [ID]
    assert collection(OnsetWaiting).count_documents({}) == 0


def test_a_receiver_that_fails_for_one_of_many_keeps_the_others_from_nothing(mongodb_database):
    def refuse(sender, handler, **_):
        if handler.values["n"] == 600:
            raise RuntimeError("a mistake")

    with (
        serve(ModelHive.routes_for(OnsetNumber, deadline=DEADLINE)) as api,
        signals.pre_create_instance.connected_to(refuse, sender=OnsetNumber),
        recorded(signals.post_create_instance) as heard,
    ):
        body = [{"n": n} for n in range(700)]
        answer = api.post("/onset_number", json=body, headers={"Prefer": "transaction=no"}, timeout=PATIENCE)
    assert answer.status == 207
    assert [result["status"] for result in answer.json] == [500 if n == 600 else 201 for n in range(700)]
    assert b"a mistake" not in answer.body
    others = [n for n in range(700) if n != 600]
    assert sorted(found["n"] for found in collection(OnsetNumber).find()) == others
    assert sorted(told.arguments["instance"].n for told in heard) == others


@pytest.mark.parametrize(
    ("model", "path", "body"),
    [
        pytest.param(OnsetIdle, "/onset_idle", {"name": "x"}, id="its own key"),
        pytest.param(OnsetIdleNamed, "/onset_idle_named", {"key": "k"}, id="a key of the client"),
    ],
)
def test_nothing_is_told_of_what_was_not_stored(mongodb_database, model, path, body):
    with serve(ModelHive.routes_for(model)) as api, recorded(signals.post_create_instance) as heard:
        assert api.post(path, json=body).status == 500
    assert collection(model).count_documents({}) == 0
    assert heard == []


@pytest.mark.parametrize("model", [OnsetCounted, OnsetHeard], ids=["save", "post_save"])
@pytest.mark.parametrize("is_keyed", [False, True], ids=["transaction", "with a key"])
def test_in_a_transaction_all_that_was_done_to_a_document_is_told(mongodb_database, model, is_keyed):
    options = {} if is_keyed else {"transaction": True}
    keys = [{"Idempotency-Key": f"key-{n}"} if is_keyed else {} for n in range(2)]
    with (
        mongoengine_signals.post_save.connected_to(count, sender=OnsetHeard),
        serve(ModelHive.routes_for(model, **options)) as api,
        recorded(signals.post_update_instance) as heard,
    ):
        root = "/onset_counted" if model is OnsetCounted else "/onset_heard"
        made = api.post(root, json={"name": "x"}, headers=keys[0])
        assert made.status == 201, made.body
        path = f"{root}/{made.json['id']}"
        read = api.get(path)
        assert made.json == read.json == {"id": made.json["id"], "name": "x", "version": 1}
        assert made.headers["Etag"] == read.headers["Etag"]
        put = api.patch(path, json={"name": "y"}, headers=keys[1])
        assert put.status == 200, put.body
        read = api.get(path)
        assert put.json == read.json == {"id": made.json["id"], "name": "y", "version": 2}
        assert put.headers["Etag"] == read.headers["Etag"]
    told = {"name": {"from": "x", "to": "y"}, "version": {"from": 1, "to": 2}}
    assert [one.arguments["updated_fields"] for one in heard] == [told]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_transaction_with_a_key_may_take_longer_than_a_beat(mongodb_database, monkeypatch, method):
    beats, beat = Semaphore(0), idempotency.Claim.beat

    def beaten(claim):
        beat(claim)
        if collection(OnsetBeaten).database[idempotency.COLLECTION].find_one({"beat": {"$gte": 1}}):
            beats.release()

    monkeypatch.setattr(idempotency, "BEAT", 0.01)
    monkeypatch.setattr(idempotency.Claim, "beat", beaten)
    monkeypatch.setattr(OnsetBeaten, "beats", beats)
    insert(OnsetBeaten, name="old")
    list(OnsetBeaten.objects)
    path = "/onset_beaten" if method == "POST" else f"/onset_beaten/{ID}"
    headers = {"Idempotency-Key": "key"}
    with serve(ModelHive.routes_for(OnsetBeaten, deadline=DEADLINE)) as api, recorded(*POSTS) as heard:
        answer = api.request(method, path, json={"name": "new"}, headers=headers)
        assert answer.status == (201 if method == "POST" else 200), answer.body
        assert OnsetBeaten.objects(name="new").count() == 1
        again = api.request(method, path, json={"name": "new"}, headers=headers)
    assert (again.status, again.body) == (answer.status, answer.body)
    assert OnsetBeaten.objects(name="new").count() == 1
    assert len(heard) == 1
