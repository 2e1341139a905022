"""A write whose answer is lost: hive finds out whether it was done, and says so."""

import asyncio
import socket
import struct
import threading
import uuid
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import bson
import mongoengine as me
import pymongo
import pytest
from pymongo.uri_parser import parse_uri

import hive
from hive import ModelHive, pool, signals
from hive.errors import Unavailable
from hive.testing import connected, recorded, serve
from tests.support.commands import Listener

OP_MSG = 2013
DEADLINE = 0.5
"""Seconds that the requests of this file have, for in many of them they pass."""


class OutcomePart(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()


class OutcomeFriend(me.Document):
    name = me.StringField()


class Outcome(me.Document):
    name = me.StringField()
    count = me.IntField()
    part = me.EmbeddedDocumentField(OutcomePart)
    parts = me.EmbeddedDocumentListField(OutcomePart)
    friend = me.ReferenceField(OutcomeFriend)


class OutcomeOfItsOwn(me.Document):
    """With a save() and a delete() of its own, and a primary key that it gets there."""

    name = me.StringField(primary_key=True)
    count = me.IntField()
    seal = me.StringField()

    def save(self, *args, **kwargs):
        self.seal = f"sealed {self.count}"
        return super().save(*args, **kwargs)

    def delete(self, *args, **kwargs):
        return super().delete(*args, **kwargs)


MODELS = (Outcome, OutcomeOfItsOwn, OutcomeFriend)


def routes(**options):
    return [route for model in MODELS for route in ModelHive.routes_for(model, **options)]


def forward(name, command):
    """What the proxy does with every command, unless a test says otherwise."""
    return "forward"


class Proxy:
    """Between hive and MongoDB. `rule(name, command)` says of each command what becomes of it:

    forward   it is answered
    lose      it is done, and then the connection ends
    hold      it is done, and nothing comes back
    cut       it does not arrive, for the connection ends
    swallow   it does not arrive, and nothing comes back
    a dict    it is done, and these members are put into the answer
    """

    def __init__(self, address):
        self.address, self.rule = address, forward
        self.seen, self.open, self.lock = [], [], threading.Lock()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                with self.lock:
                    self.open.append(client)
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with suppress(OSError), closing(client), socket.create_connection(self.address) as server:
            while (message := received(client)) is not None:
                name, command = command_in(message)
                with self.lock:
                    what = self.rule(name, command)
                    self.seen.append((name, what))
                if what == "cut":
                    return
                if what == "swallow":
                    continue
                server.sendall(message)
                answer = received(server)
                if answer is None or what == "lose":
                    return
                if isinstance(what, dict):
                    answer = with_members(answer, what)
                if what != "hold":
                    client.sendall(answer)

    def close(self):
        """End; what waits for an answer learns that there will be none."""
        self.rule = forward
        self.listening.close()
        with self.lock:
            for client in self.open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def received(connection):
    """The next message of MongoDB's wire protocol, None at the end of the connection."""
    head = exactly(connection, 4)
    if head is None:
        return None
    rest = exactly(connection, struct.unpack("<i", head)[0] - 4)
    return None if rest is None else head + rest


def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            return None
        data += more
    return data


def command_in(message):
    """The command of a message, and its name; a greeting of old is none."""
    if struct.unpack_from("<i", message, 12)[0] != OP_MSG:
        return "hello", {}
    size = struct.unpack_from("<i", message, 21)[0]
    command = bson.decode(message[21 : 21 + size])
    return next(iter(command)), command


def with_members(message, members):
    """The answer that MongoDB gave, changed."""
    size = struct.unpack_from("<i", message, 21)[0]
    body = bson.encode(bson.decode(message[21 : 21 + size]) | members)
    return struct.pack("<i", 21 + len(body)) + message[4:21] + body


@pytest.fixture
def direct(mongodb_server):
    """The same database, without a proxy in between."""
    with pymongo.MongoClient(mongodb_server) as client:
        name = f"hive-{uuid.uuid4().hex[:12]}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def proxy(mongodb_server, direct):
    proxy = Proxy(parse_uri(mongodb_server)["nodelist"][0])
    # Without retryWrites, with which pymongo sends a lost command again before hive hears of it. SecantusDB
    # 0.7 then does it twice, where MongoDB knows that it has done it.
    how = "directConnection=true&serverMonitoringMode=poll&retryWrites=false"
    with connected(direct.name, host=f"mongodb://127.0.0.1:{proxy.port}/?{how}"):
        yield proxy
        proxy.rule = forward
    proxy.close()


@pytest.fixture
def client(proxy):
    with serve(routes(deadline=DEADLINE)) as client:
        yield client


@dataclass
class Scene:
    """What there is: a client, hive, the proxy, MongoDB, and in that a document of each model."""

    client: Any
    proxy: Proxy
    direct: Any
    one: Any
    friend: Any

    def ask(self, row, client=None, **how):
        _, method, path, body, *_ = row
        names = {"one": self.one, "friend": self.friend}
        if body is not None:
            how["json"] = {
                name: item.format(**names) if isinstance(item, str) else item for name, item in body.items()
            }
        return (client or self.client).request(method, path.format(**names), **how)

    def stored(self):
        names = [name for name in self.direct.list_collection_names() if not name.startswith("hive")]
        return {name: list(self.direct[name].find(sort=[("_id", 1)])) for name in names}


@pytest.fixture
def scene(client, proxy, direct):
    friend = OutcomeFriend(name="f").save()
    one = Outcome(name="old", part=OutcomePart(slug="p", size=1), parts=[OutcomePart(slug="x", size=1)])
    OutcomeOfItsOwn(name="own", count=1).save()
    return Scene(client, proxy, direct, one.save().pk, friend.pk)


def once(command, what):
    """A rule that does that to the first command of this name."""
    left = [what]

    def rule(name, _):
        return left.pop() if name == command and left else "forward"

    return rule


# name, method, path, body, the command, the status when it is done, the signals after it
WRITES = [
    ("create", "POST", "/outcome", {"name": "n"}, "insert", 201, ["post_create_instance"]),
    ("change", "PUT", "/outcome/{one}", {"name": "n"}, "update", 200, ["post_update_instance"]),
    ("merge-patch", "PATCH", "/outcome/{one}", {"name": "n"}, "update", 200, ["post_update_instance"]),
    ("change-nothing-but-a-default", "PATCH", "/outcome/{one}", {"count": 0}, "update", 200,
     ["post_update_instance"]),
    ("delete", "DELETE", "/outcome/{one}", None, "delete", 204, ["post_delete_instance"]),
    ("nested-change", "PUT", "/outcome/{one}/part", {"size": 2}, "update", 200,
     ["post_update_instance", "post_update_instance"]),
    ("nested-new", "POST", "/outcome/{one}/parts", {"slug": "y"}, "update", 201,
     ["post_create_instance", "post_update_instance"]),
    ("nested-away", "DELETE", "/outcome/{one}/parts/x", None, "update", 204,
     ["post_delete_instance", "post_update_instance"]),
    ("link", "POST", "/outcome/{one}/friend", {"id": "{friend}"}, "update", 200, ["post_update_instance"]),
    ("link-of-create-and-link", "POST", "/outcome/{one}/friend", {"name": "n"}, "update", 201,
     ["post_create_instance", "post_update_instance"]),
    ("create-by-its-own", "POST", "/outcome_of_its_own", {"name": "new", "count": 3}, "insert", 201,
     ["post_create_instance"]),
    ("change-by-its-own", "PUT", "/outcome_of_its_own/own", {"count": 3}, "update", 200,
     ["post_update_instance"]),
]  # fmt: skip
OWN_DELETE = ("delete-by-its-own", "DELETE", "/outcome_of_its_own/own", None, "delete", 204,
              ["post_delete_instance"])  # fmt: skip
IDS = [row[0] for row in WRITES]


POSTS = [getattr(signals, f"post_{what}_instance") for what in ("create", "update", "delete")]


@pytest.mark.parametrize("heard_by_all", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("how", ["lose", "hold"])
@pytest.mark.parametrize("row", [*WRITES, OWN_DELETE], ids=[*IDS, OWN_DELETE[0]])
def test_a_write_that_was_done_is_a_success_though_its_answer_is_lost(scene, row, how, heard_by_all):
    before, rest = scene.stored(), row[4:]
    command, status, names = rest
    scene.proxy.rule = once(command, how)
    with recorded(*(POSTS if heard_by_all else [signals.receiver_failed])) as heard:
        reply = scene.ask(row)
    assert (command, how) in scene.proxy.seen
    assert reply.status == status, reply.body
    assert [told.name for told in heard] == (names if heard_by_all else [])
    assert scene.stored() != before


@pytest.mark.parametrize("heard_by_all", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("how", ["cut", "swallow"])
@pytest.mark.parametrize("row", WRITES, ids=IDS)
def test_a_write_that_did_not_arrive_is_told_as_not_done(scene, row, how, heard_by_all):
    before, command = scene.stored(), row[4]
    scene.proxy.rule = once(command, how)
    with recorded(*(POSTS if heard_by_all else [signals.receiver_failed])) as heard:
        reply = scene.ask(row)
    assert (command, how) in scene.proxy.seen
    assert (reply.status, reply.json["done"]) == (503, False)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Retry-After"]) > 0
    assert not heard
    assert scene.stored() == before


@pytest.mark.parametrize("how", ["cut", "swallow"])
def test_a_delete_that_is_more_than_one_command_is_not_told_as_not_done(scene, how):
    """Its rules, or the code of the application, may have done some of it by then."""
    before = scene.stored()
    scene.proxy.rule = once("delete", how)
    with recorded(*POSTS) as heard:
        reply = scene.ask(OWN_DELETE)
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    assert scene.stored() == before


def then_nothing(command, what):
    """A rule that does that to the first command of this name, and lets nothing through from then on."""
    state = ["forward"]

    def rule(name, _):
        if name == command and state[0] == "forward":
            state[0] = "swallow"
            return what
        return state[0]

    return rule


@pytest.mark.parametrize("how", ["hold", "swallow"])
@pytest.mark.parametrize(
    "row", [row for row in [*WRITES, OWN_DELETE] if row[0].startswith(("create", "change", "delete"))],
    ids=lambda row: row[0],
)  # fmt: skip
def test_where_nothing_answers_any_more_nobody_knows_whether_it_was_done(scene, row, how):
    before, command = scene.stored(), row[4]
    scene.proxy.rule = then_nothing(command, how)
    with recorded(*POSTS) as heard:
        reply = scene.ask(row)
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    assert (scene.stored() != before) == (how in ("lose", "hold"))


@pytest.mark.parametrize("method_and_body", [("POST", {"name": "n"}), ("DELETE", None)], ids=["new", "away"])
def test_a_write_that_nobody_hears_of_is_not_told_as_not_done_where_nobody_knows(scene, method_and_body):
    method, body = method_and_body
    scene.proxy.rule = then_nothing("insert" if body else "delete", "hold")
    reply = scene.client.request(method, "/outcome" if body else f"/outcome/{scene.one}", json=body)
    assert (reply.status, reply.json["done"]) == (503, None)


@pytest.mark.parametrize("how", ["hold", "swallow"])
def test_what_was_created_to_be_linked_is_gone_where_there_is_no_time_to_link_it(scene, how):
    before = scene.stored()
    scene.proxy.rule = once("insert", how)
    with recorded(*POSTS) as heard:
        reply = scene.client.post(f"/outcome/{scene.one}/friend", json={"name": "n"})
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert scene.stored() == before


def test_what_was_created_to_be_linked_is_linked_though_the_answer_to_the_first_was_lost(scene):
    scene.proxy.rule = once("insert", "lose")
    with serve(routes()) as client:
        reply = client.post(f"/outcome/{scene.one}/friend", json={"name": "n"})
    assert reply.status == 201
    assert ("insert", "lose") in scene.proxy.seen
    assert str(scene.direct.outcome.find_one()["friend"]) == reply.json["id"]
    assert scene.direct.outcome_friend.count_documents({}) == 2


LOOKED_UP = [row for row in WRITES if "{one}" in row[2] or "own/own" in row[2]]


@pytest.mark.parametrize("row", LOOKED_UP, ids=lambda row: row[0])
def test_what_is_held_up_before_the_write_is_told_as_not_done(scene, row):
    before = scene.stored()
    scene.proxy.rule = once("find", "swallow")
    with recorded(*POSTS) as heard:
        reply = scene.ask(row)
    assert ("find", "swallow") in scene.proxy.seen
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert scene.stored() == before


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_reads_does_not_say_whether_it_was_done(scene, method):
    scene.proxy.rule = once("find", "swallow")
    reply = scene.client.request(method, f"/outcome/{scene.one}")
    assert reply.status == 503
    assert b"done" not in reply.body


def test_what_was_created_to_be_linked_stays_where_nobody_knows_whether_it_was_linked(scene):
    """Or the reference, which may be there, would lead nowhere."""

    def rule(name, _):
        nonlocal stage
        if stage == 0 and name == "update":
            stage = 1
            return "lose"
        if stage == 1 and name == "find":  # which would find out, if nobody else had been there
            stage = 2
            scene.direct.outcome.update_one({}, {"$set": {"count": 7}})
        return "forward"

    stage = 0
    scene.proxy.rule = rule
    with serve(routes()) as client, recorded(*POSTS) as heard:
        reply = client.post(f"/outcome/{scene.one}/friend", json={"name": "n"})
    assert stage == 2
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    linked = scene.direct.outcome.find_one()
    assert linked["count"] == 7
    assert scene.direct.outcome_friend.find_one({"_id": linked["friend"]})["name"] == "n"


def test_a_write_after_which_another_came_is_not_told_as_not_done(scene):
    def rule(name, _):
        nonlocal stage
        if stage == 0 and name == "update":
            stage = 1
            return "lose"
        if stage == 1 and name == "find":
            stage = 2
            scene.direct.outcome.update_one({}, {"$set": {"count": 7}})
        return "forward"

    stage = 0
    scene.proxy.rule = rule
    with serve(routes()) as client:
        reply = client.put(f"/outcome/{scene.one}", json={"name": "n"})
    assert stage == 2
    assert (reply.status, reply.json["done"]) == (503, None)
    assert scene.direct.outcome.find_one()["name"] == "n"


# What MongoDB itself says

TIME_IS_UP = {
    "ok": 0.0,
    "code": 50,
    "codeName": "MaxTimeMSExpired",
    "errmsg": "operation exceeded time limit",
}
NOT_REPLICATED = {
    "writeConcernError": {
        "code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out",
        "errInfo": {"wtimeout": True},
    }
}  # fmt: skip
STEPPED_DOWN = {"ok": 0.0, "code": 11602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "stepdown"}


@pytest.mark.parametrize("told", [TIME_IS_UP, STEPPED_DOWN], ids=["time-is-up", "stepped-down"])
@pytest.mark.parametrize("row", WRITES, ids=IDS)
def test_a_write_that_mongodb_interrupted_when_it_was_done_is_a_success(scene, row, told):
    before = scene.stored()
    scene.proxy.rule = once(row[4], told)
    with recorded(*POSTS) as heard:
        reply = scene.ask(row)
    assert reply.status == row[5], reply.body
    assert [told.name for told in heard] == row[6]
    assert scene.stored() != before


@pytest.mark.parametrize("row", WRITES, ids=IDS)
def test_a_write_that_was_done_and_not_replicated_in_time_is_not_told_as_not_done(scene, row):
    before = scene.stored()
    scene.proxy.rule = once(row[4], NOT_REPLICATED)
    reply = scene.ask(row)
    assert scene.stored() != before
    assert reply.status == row[5] or (reply.status == 503 and reply.json["done"] is not False)


# Several documents


@pytest.mark.parametrize("how", ["lose", "hold"])
def test_of_several_new_documents_those_are_told_that_are_there(scene, how):
    scene.proxy.rule = once("insert", how)
    with serve(routes(deadline=DEADLINE / 10)) as client, recorded(*POSTS) as heard:
        reply = client.post(
            "/outcome", json=[{"name": "a"}, {"name": "b"}], headers={"Prefer": "transaction=no"}
        )
    assert [one["status"] for one in reply.json] == [201, 201]
    assert reply.status == 201
    assert len(heard) == 2
    assert scene.direct.outcome.count_documents({"name": {"$in": ["a", "b"]}}) == 2


@pytest.mark.parametrize("how", ["cut", "swallow"])
def test_of_several_new_documents_those_are_told_that_are_not_there(scene, how):
    scene.proxy.rule = once("insert", how)
    with serve(routes(deadline=DEADLINE / 10)) as client, recorded(*POSTS) as heard:
        reply = client.post(
            "/outcome", json=[{"name": "a"}, {"name": "b"}], headers={"Prefer": "transaction=no"}
        )
    assert not heard
    assert scene.direct.outcome.count_documents({"name": {"$in": ["a", "b"]}}) == 0
    assert reply.status in (207, 503), reply.body
    if reply.status == 207:
        assert [(one["status"], one["done"]) for one in reply.json] == [(503, False)] * 2
    else:
        assert reply.json["done"] is False


# In transactions


@pytest.fixture
def transacting(scene):
    with serve(routes(deadline=DEADLINE, transaction=True)) as client:
        yield client


@pytest.mark.parametrize("row", [*WRITES, OWN_DELETE], ids=[*IDS, OWN_DELETE[0]])
def test_a_commit_whose_answer_is_lost_is_sent_again(scene, row):
    before = scene.stored()
    scene.proxy.rule = once("commitTransaction", "lose")
    with serve(routes(transaction=True)) as client, recorded(*POSTS) as heard:
        reply = scene.ask(row, client)
    assert ("commitTransaction", "lose") in scene.proxy.seen
    assert reply.status == row[5], reply.body
    assert [told.name for told in heard] == row[6]
    assert scene.stored() != before


@pytest.mark.parametrize("command", ["find", "insert"])
def test_a_transaction_that_does_not_come_to_its_end_is_not_done(transacting, scene, command):
    before = scene.stored()
    scene.proxy.rule = once(command, "hold")
    with recorded(*POSTS) as heard:
        reply = transacting.post(f"/outcome/{scene.one}/friend", json={"name": "n"})
    assert (command, "hold") in scene.proxy.seen
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert scene.stored() == before


def test_a_commit_of_which_nobody_knows_is_told_so(transacting, scene):
    scene.proxy.rule = then_nothing("commitTransaction", "hold")
    with recorded(*POSTS) as heard:
        reply = transacting.put(f"/outcome/{scene.one}", json={"name": "n"})
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    assert scene.direct.outcome.find_one()["name"] == "n"


@pytest.mark.parametrize(
    "row", [row for row in WRITES if row[1] in ("POST", "PATCH")], ids=lambda row: row[0]
)
def test_with_a_key_a_commit_whose_answer_is_lost_is_found_out(scene, row):
    before = scene.stored()
    scene.proxy.rule = once("commitTransaction", "hold")
    with recorded(*POSTS) as heard:
        reply = scene.ask(row, headers={"Idempotency-Key": "one"})
    assert ("commitTransaction", "hold") in scene.proxy.seen
    assert reply.status == row[5], reply.body
    assert [told.name for told in heard] == row[6]
    assert scene.stored() != before


# By the application itself


@pytest.fixture
def short(monkeypatch):
    """What an application stores has the time of any story."""
    monkeypatch.setattr(pool, "DEADLINE", DEADLINE)


async def changing(model):
    """What `hive.save` and `hive.delete` do, by name."""
    new = model(name="new", count=1)
    old = await asyncio.to_thread(model.objects.first)
    old.count = 99
    return {"new": lambda: hive.save(new), "old": lambda: hive.save(old), "away": lambda: hive.delete(old)}


SAVES = [("new", "insert"), ("old", "update"), ("away", "delete")]


@pytest.mark.parametrize("how", ["lose", "hold"])
@pytest.mark.parametrize("what", SAVES, ids=[name for name, _ in SAVES])
@pytest.mark.parametrize("model", [Outcome, OutcomeOfItsOwn], ids=["plain", "by-its-own"])
def test_what_the_application_saves_is_saved_though_the_answer_is_lost(scene, short, model, what, how):
    name, command = what

    async def main():
        change = (await changing(model))[name]
        scene.proxy.rule = once(command, how)
        await change()

    before = scene.stored()
    with recorded(*POSTS) as heard:
        asyncio.run(main())
    assert (command, how) in scene.proxy.seen
    assert [told.sender for told in heard] == [model]
    assert scene.stored() != before


@pytest.mark.parametrize("rule_and_done", [(once, False), (then_nothing, None)], ids=["known", "unknown"])
@pytest.mark.parametrize("what", SAVES, ids=[name for name, _ in SAVES])
def test_what_the_application_could_not_save_says_whether_it_was_done(scene, short, what, rule_and_done):
    name, command = what
    rule, done = rule_and_done

    async def main():
        change = (await changing(Outcome))[name]
        scene.proxy.rule = rule(command, "swallow")
        await change()

    before = scene.stored()
    with recorded(*POSTS) as heard, pytest.raises(Unavailable) as raised:
        asyncio.run(main())
    assert raised.value.members == {"done": done}
    assert not heard
    assert scene.stored() == before


# The time that there is


class Times(Listener):
    """What MongoDB is told of the time that its commands have."""

    def __init__(self):
        self.told = []

    def started(self, event):
        if not event.command_name.startswith(("hello", "endSessions", "createIndexes", "listIndexes")):
            self.told.append((event.command_name, event.command.get("maxTimeMS")))


@pytest.mark.parametrize("options", [{}, {"deadline": 60}, {"deadline": 0.9}], ids=["unset", "60", "0.9"])
def test_mongodb_is_told_how_long_each_command_has(mongodb_server, direct, options):
    times = Times()
    with connected(direct.name, host=mongodb_server, event_listeners=[times]):
        one = Outcome(name="old", part=OutcomePart(slug="p")).save()
        with serve(ModelHive.routes_for(Outcome, **options)) as client:
            client.get("/outcome")
            del times.told[:]
            client.post("/outcome", json={"name": "n"})
            client.get("/outcome")
            client.get(f"/outcome/{one.pk}")
            client.put(f"/outcome/{one.pk}", json={"name": "n"})
            client.put(f"/outcome/{one.pk}/part", json={"size": 2})
            client.delete(f"/outcome/{one.pk}")
    most = 1000 * options.get("deadline", 5)
    assert {"insert", "find", "update", "delete"} <= {name for name, _ in times.told}
    assert [name for name, time in times.told if time is None or not 0 < time <= most] == []
    assert max(time for _, time in times.told) > most / 2


def test_a_request_has_five_seconds_unless_its_routes_say_otherwise():
    assert pool.DEADLINE == 5.0


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")], ids=str)
def test_a_deadline_must_be_a_number_of_seconds(seconds):
    with pytest.raises(ValueError, match="deadline"):
        ModelHive.routes_for(Outcome, deadline=seconds)
