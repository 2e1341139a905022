"""A write whose answer is lost: it is done once, or hive finds out whether it was done, and says so."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import mongoengine as me
import pymongo
import pytest

import hive
from hive import ModelHive, outcomes, pool, signals, transactions
from hive.errors import Unavailable
from hive.testing import connected, recorded, serve
from tests.support.commands import Listener
from tests.support.mongod import Mongod, always, forward, once, refusal, then_nothing

ENOUGH = 60
"""Seconds that a request has, unless it is its end that matters."""


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


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Give hive the time to ask what was done, also on a busy machine."""
    monkeypatch.setattr(outcomes, "SECONDS_TO_KNOW", ENOUGH)


@pytest.fixture
def database(mongod):
    """A new database behind the proxy, with retryWrites=true as in production."""
    with connected(f"hive-{uuid.uuid4().hex[:12]}", host=mongod.uri) as database:
        yield database
        database.client.drop_database(database.name)


@dataclass
class Scene:
    """What there is: a client of hive, the proxy, the database, and in that a document of each model."""

    client: Any
    mongod: Mongod
    database: Any
    one: Any
    friend: Any

    def ask(self, row, client=None, **how):
        _, method, path, body, *_ = row
        names = {"one": self.one, "friend": self.friend}
        if body is not None:
            how["json"] = {
                name: item.format(**names) if isinstance(item, str) else item for name, item in body.items()
            }
        return (client or self.client).request(method, path.format(**names), timeout=120, **how)

    def stored(self):
        self.mongod.rule = forward
        names = [name for name in self.database.list_collection_names() if not name.startswith("hive")]
        return {name: list(self.database[name].find(sort=[("_id", 1)])) for name in names}

    def done(self, command):
        """How often a write was sent, and how often it was done."""
        sent = [one for one in self.mongod.commands if command in one and "txnNumber" in one]
        return len(sent), len({(bytes(one["lsid"]["id"]), one["txnNumber"]) for one in sent})


@pytest.fixture
def scene(mongod, database):
    friend = OutcomeFriend(name="f").save()
    one = Outcome(name="old", part=OutcomePart(slug="p", size=1), parts=[OutcomePart(slug="x", size=1)])
    OutcomeOfItsOwn(name="own", count=1).save()
    assert transactions.has_transactions(Outcome)  # proven before the proxy interferes
    with serve(routes(deadline=ENOUGH)) as client:
        yield Scene(client, mongod, database, one.save().pk, friend.pk)
        mongod.rule = forward


def in_short(scene, command, rule, action, attempt):
    """The result of what is attempted, in a short time, while the proxy takes an action at a command.

    Where the time, on a busy machine, is up before that command, nothing was changed: it is attempted again
    with more time. As long as there is time, the driver sends again what is not answered.
    """
    for seconds in (0.3, 2, 10, 50):
        del scene.mongod.seen[:], scene.mongod.commands[:]
        scene.mongod.rule = rule(command, action)
        result = attempt(seconds)
        if (command, action) in scene.mongod.seen:
            return result
    return pytest.fail(f"Nothing came to {command}.")


def late(scene, row, rule, action, *, headers=None, **options):
    """The answer to a request whose time is up because of the proxy, and the signals after it."""

    def attempt(seconds):
        with serve(routes(deadline=seconds, **options)) as client, recorded(*POSTS) as heard:
            return scene.ask(row, client, headers=headers and headers(seconds)), heard

    return in_short(scene, row[4], rule, action, attempt)


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
APART = {"Prefer": "transaction=no"}
EVERY = pytest.mark.parametrize("row", [*WRITES, OWN_DELETE], ids=[*IDS, OWN_DELETE[0]])


VERBS = pytest.mark.parametrize(
    "row", [row for row in WRITES if row[0] in ("create", "merge-patch", "delete")], ids=lambda row: row[0]
)


# The answer is lost


@pytest.mark.parametrize("row", WRITES, ids=IDS)
def test_a_write_whose_answer_is_lost_is_sent_again_and_done_once(scene, row):
    before, command, status, names = scene.stored(), *row[4:]
    scene.mongod.rule = once(command, "lose")
    with recorded(*POSTS) as heard:
        reply = scene.ask(row)
    assert (command, "lose") in scene.mongod.seen
    assert reply.status == status, reply.body
    assert [signal.name for signal in heard] == names
    sent, done = scene.done(command)
    assert sent == done + 1
    assert scene.stored() != before


def test_what_is_created_to_be_linked_is_linked_though_the_answer_to_the_first_write_is_lost(scene):
    scene.mongod.rule = once("insert", "lose")
    reply = scene.client.post(f"/outcome/{scene.one}/friend", json={"name": "n"})
    assert ("insert", "lose") in scene.mongod.seen
    assert reply.status == 201
    stored = scene.stored()
    assert str(stored["outcome"][0]["friend"]) == reply.json["id"]
    assert len(stored["outcome_friend"]) == 2


@EVERY
def test_a_write_that_was_done_is_a_success_though_no_answer_comes(scene, row):
    before = scene.stored()
    reply, heard = late(scene, row, always, "lose")
    assert reply.status == row[5], reply.body
    assert [signal.name for signal in heard] == row[6]
    assert concerns_of(scene.mongod)[-1] == "linearizable"
    assert scene.stored() != before


@pytest.mark.parametrize("row", [*WRITES[:5], OWN_DELETE], ids=lambda row: row[0])
def test_a_write_that_was_done_is_a_success_though_its_answer_is_late(scene, row):
    before = scene.stored()
    reply, heard = late(scene, row, once, "hold")
    assert reply.status == row[5], reply.body
    assert [signal.name for signal in heard] == row[6]
    assert scene.stored() != before


@VERBS
def test_so_is_one_that_nobody_hears_of(scene, row):
    def attempt(seconds):
        with serve(routes(deadline=seconds)) as client:
            return scene.ask(row, client)

    before = scene.stored()
    assert in_short(scene, row[4], always, "lose", attempt).status == row[5]
    assert scene.stored() != before


@pytest.mark.parametrize("row", WRITES, ids=IDS)
def test_a_write_that_did_not_arrive_is_not_done(scene, row):
    before = scene.stored()
    reply, heard = late(scene, row, always, "cut")
    assert (reply.status, reply.json["done"]) == (503, False)
    assert reply.json["detail"].endswith(". Nothing was changed.")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert int(reply.headers["Retry-After"]) > 0
    assert not heard
    assert scene.stored() == before


@VERBS
def test_a_write_that_did_not_arrive_in_time_is_not_done(scene, row):
    before = scene.stored()
    reply, heard = late(scene, row, once, "swallow")
    assert (reply.status, reply.json["done"]) == (503, False)
    assert reply.json["detail"] == "The request was not answered in time. Nothing was changed."
    assert not heard
    assert scene.stored() == before


def test_a_delete_that_is_more_than_one_command_is_not_said_to_be_undone(scene):
    """Its rules, or the code of the application, may have done some of it by then."""
    before = scene.stored()
    scene.mongod.rule = once("delete", "cut")
    with recorded(*POSTS) as heard:
        reply = scene.ask(OWN_DELETE)
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    assert scene.stored() == before


@pytest.mark.parametrize("action", ["hold", "swallow"])
@pytest.mark.parametrize(
    "row", [row for row in [*WRITES, OWN_DELETE] if row[0] in ("create", "change", "delete", OWN_DELETE[0])],
    ids=lambda row: row[0],
)  # fmt: skip
def test_where_nothing_answers_any_more_it_is_not_known_whether_a_write_was_done(
    scene, monkeypatch, row, action
):
    before = scene.stored()
    monkeypatch.setattr(outcomes, "SECONDS_TO_KNOW", 0.1)
    reply, heard = late(scene, row, then_nothing, action)
    assert (reply.status, reply.json["done"]) == (503, None)
    assert "not known" in reply.json["detail"]
    assert not heard
    assert (scene.stored() != before) == (action == "hold")


def test_what_was_created_to_be_linked_is_gone_where_there_is_no_time_to_link_it(scene):
    row = ("link", "POST", "/outcome/{one}/friend", {"name": "n"}, "insert")
    before = scene.stored()
    reply, heard = late(scene, row, once, "hold")
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert scene.stored() == before


@pytest.mark.parametrize("method", ["PATCH", "GET", "HEAD"])
def test_what_is_late_before_a_write_is_not_done_and_what_reads_does_not_say_so(scene, method):
    before = scene.stored()
    body = {"name": "n"} if method == "PATCH" else None
    reply, heard = late(scene, ("read", method, "/outcome/{one}", body, "find"), once, "swallow")
    assert reply.status == 503
    assert method == "HEAD" or reply.json["detail"].startswith("The request was not answered in time.")
    assert (reply.body and reply.json.get("done")) == {"PATCH": False, "GET": None, "HEAD": b""}[method]
    assert not heard
    assert scene.stored() == before


def meanwhile(scene):
    """A rule: no answer comes to an update, and before hive asks what was done, another one has come."""
    changed = []

    def rule(name, command):
        if "readConcern" in command and not changed:
            changed.append(name)
            with pymongo.MongoClient(*scene.mongod.address) as client:
                client[scene.database.name].outcome.update_one({}, {"$set": {"count": 7}})
        return "lose" if name == "update" else "forward"

    return rule


def test_a_write_after_which_another_came_is_not_said_to_be_undone(scene):
    reply, _ = late(scene, WRITES[1], lambda *_: meanwhile(scene), "lose")
    assert (reply.status, reply.json["done"]) == (503, None)
    [stored] = scene.stored()["outcome"]
    assert (stored["name"], stored["count"]) == ("n", 7)


def test_what_was_created_to_be_linked_stays_where_it_may_be_linked(scene):
    """Or the reference would lead nowhere."""
    row = ("link", "POST", "/outcome/{one}/friend", {"name": "n"}, "update")
    reply, heard = late(scene, row, lambda *_: meanwhile(scene), "lose")
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    stored = scene.stored()
    [friend] = [one for one in stored["outcome_friend"] if one["_id"] == stored["outcome"][0]["friend"]]
    assert friend["name"] == "n"


# How hive finds out


def concerns_of(mongod):
    """The read concerns of the queries."""
    return [one.get("readConcern", {}).get("level") for one in mongod.commands if "find" in one]


def unanswered(error):
    """A rule: no answer comes to an update, and no linearizable read is answered but with an error."""

    def rule(name, command):
        is_linearizable = command.get("readConcern", {}).get("level") == "linearizable"
        return error if is_linearizable else "lose" if name == "update" else "forward"

    return rule


def test_a_server_that_cannot_read_linearizably_is_asked_for_what_a_majority_has(scene):
    error = refusal(187, name="LinearizableReadConcernError")
    reply, _ = late(scene, WRITES[1], lambda *_: unanswered(error), "lose")
    assert reply.status == 200
    assert concerns_of(scene.mongod)[-2:] == ["linearizable", "majority"]


def test_where_no_majority_answers_it_is_not_known_whether_a_write_was_done(scene):
    reply, _ = late(scene, WRITES[1], lambda *_: unanswered(refusal(50, name="MaxTimeMSExpired")), "lose")
    assert (reply.status, reply.json["done"]) == (503, None)


# MongoDB answers with an error after the write

RETRYABLE = ["RetryableWriteError"]
ENDED = {
    "time-is-up": {"code": 50, "codeName": "MaxTimeMSExpired"},
    "stepped-down": {"code": 11602, "codeName": "InterruptedDueToReplStateChange"},
    "interrupted": {"code": 11601, "codeName": "Interrupted"},
    "shard-is-lost": {"code": 6, "codeName": "HostUnreachable", "errorLabels": RETRYABLE},
    "shard-is-not-found": {"code": 7, "codeName": "HostNotFound", "errorLabels": RETRYABLE},
    "shard-does-not-answer": {"code": 89, "codeName": "NetworkTimeout", "errorLabels": RETRYABLE},
    "socket": {"code": 9001, "codeName": "SocketException", "errorLabels": RETRYABLE},
    "shard-is-late": {"code": 202, "codeName": "NetworkInterfaceExceededTimeLimit"},
    "labelled": {"code": 4711, "codeName": "OfALaterVersion", "errorLabels": RETRYABLE},
}


def failed(error):
    """The action that does a command and answers with an error."""
    return {"ok": 0.0, "errmsg": "failed"} | error


@pytest.mark.parametrize("error", ENDED.values(), ids=ENDED)
def test_a_write_that_was_done_and_ended_with_an_error_is_a_success(scene, error):
    reply, heard = late(scene, WRITES[2], always, failed(error))
    assert reply.status == 200, reply.body
    assert [signal.name for signal in heard] == ["post_update_instance"]
    assert scene.done("update")[1] == 1


@pytest.mark.parametrize("error", [ENDED["shard-is-lost"], ENDED["time-is-up"]], ids=["shard", "time"])
@EVERY
def test_so_is_every_kind_of_write(scene, row, error):
    before = scene.stored()
    reply, heard = late(scene, row, always, failed(error))
    assert reply.status == row[5], reply.body
    assert [signal.name for signal in heard] == row[6]
    assert scene.stored() != before


@VERBS
def test_a_write_that_a_lost_shard_did_not_do_is_not_done(scene, row):
    before = scene.stored()
    reply, heard = late(scene, row, always, refusal(6, *RETRYABLE, name="HostUnreachable"))
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert scene.stored() == before


def test_hive_does_not_ask_what_was_done_where_mongodb_says_that_nothing_was(scene):
    scene.mongod.rule = once("update", refusal(11601, "NoWritesPerformed", name="Interrupted"))
    reply = scene.ask(WRITES[2])
    assert (reply.status, reply.json["done"]) == (503, False)
    assert "linearizable" not in concerns_of(scene.mongod)


NOT_REPLICATED = {
    "in-time": {"code": 64, "codeName": "WriteConcernTimeout", "errInfo": {"wtimeout": True}},
    "by-shutdown": {"code": 91, "codeName": "ShutdownInProgress"},
}


@pytest.mark.parametrize("error", NOT_REPLICATED.values(), ids=NOT_REPLICATED)
@VERBS
def test_a_write_that_was_done_and_not_replicated_is_not_said_to_be_undone(scene, row, error):
    before = scene.stored()
    reply, _ = late(scene, row, always, {"writeConcernError": {"errmsg": "not replicated"} | error})
    assert scene.stored() != before
    assert reply.status == row[5] or (reply.status == 503 and reply.json["done"] is None)


# Several documents


@pytest.mark.parametrize(
    "case", [("lose", 201, 201, None, 2), ("cut", 207, 503, False, 0)], ids=["lost", "cut"]
)
def test_of_several_new_documents_each_says_whether_it_is_there(scene, case):
    action, whole, status, done, new = case

    def attempt(seconds):
        with serve(routes(deadline=seconds / 10)) as client, recorded(*POSTS) as heard:  # ten times for many
            return client.post("/outcome", json=[{"name": "a"}, {"name": "b"}], headers=APART), heard

    reply, heard = in_short(scene, "insert", always, action, attempt)
    assert reply.status == whole
    assert [(one["status"], one.get("done")) for one in reply.json] == [(status, done)] * 2
    assert len(heard) == new
    assert len(scene.stored()["outcome"]) == 1 + new


# In transactions


@EVERY
def test_a_commit_whose_answer_is_lost_is_sent_again(scene, row):
    before = scene.stored()
    scene.mongod.rule = once("commitTransaction", "lose")
    with serve(routes(transaction=True, deadline=ENOUGH)) as client, recorded(*POSTS) as heard:
        reply = scene.ask(row, client)
    assert ("commitTransaction", "lose") in scene.mongod.seen
    assert reply.status == row[5], reply.body
    assert [signal.name for signal in heard] == row[6]
    assert scene.stored() != before


@pytest.mark.parametrize("command", ["find", "insert"])
def test_a_transaction_that_does_not_come_to_its_end_is_not_done(scene, command):
    row = ("link", "POST", "/outcome/{one}/friend", {"name": "n"}, command)
    before = scene.stored()
    reply, heard = late(scene, row, once, "hold", transaction=True)
    assert (reply.status, reply.json["done"]) == (503, False)
    assert not heard
    assert command == "find" or "abortTransaction" in [name for name, _ in scene.mongod.seen]
    assert scene.stored() == before


@pytest.mark.parametrize("action", [failed(ENDED["shard-is-late"]), "hold"], ids=["error", "silence"])
def test_a_commit_of_which_nobody_knows_is_said_to_be_unknown(scene, monkeypatch, action):
    row = ("change", "PUT", "/outcome/{one}", {"name": "n"}, "commitTransaction")
    monkeypatch.setattr(outcomes, "SECONDS_TO_KNOW", 0.1)
    reply, heard = late(scene, row, then_nothing, action, transaction=True)
    assert (reply.status, reply.json["done"]) == (503, None)
    assert not heard
    assert scene.stored()["outcome"][0]["name"] == "n"


def test_of_several_in_transactions_of_their_own_one_of_which_nobody_knows_says_so(scene):
    scene.mongod.rule = always("commitTransaction", failed(ENDED["shard-is-late"]))
    with serve(routes(transaction=True, deadline=ENOUGH)) as client:
        reply = client.post("/outcome", json=[{"name": "a"}], headers=APART)
    assert (reply.status, reply.json[0]["status"], reply.json[0]["done"]) == (207, 503, None)


@pytest.mark.parametrize("row", [WRITES[0], WRITES[2], WRITES[9]], ids=lambda row: row[0])
def test_with_a_key_a_commit_whose_answer_is_late_is_found_out(scene, row):
    committing = (*row[:4], "commitTransaction")
    before = scene.stored()
    key = "{:.1f}".format  # another one for each attempt
    reply, heard = late(
        scene, committing, once, "hold", headers=lambda seconds: {"Idempotency-Key": key(seconds)}
    )
    assert reply.status == row[5], reply.body
    assert [signal.name for signal in heard] == row[6]
    assert concerns_of(scene.mongod)[-1] == "linearizable"
    assert scene.stored() != before


# By the application itself


async def changing(model):
    """What `hive.save` and `hive.delete` do, by name."""
    new = model(name="new", count=1)
    old = await asyncio.to_thread(model.objects.first)
    old.count = 99
    return {"new": lambda: hive.save(new), "old": lambda: hive.save(old), "away": lambda: hive.delete(old)}


SAVES = [("new", "insert"), ("old", "update"), ("away", "delete")]


def saving(scene, monkeypatch, model, what, *, rule, action):
    """Save or delete by the application itself. Return the signals after it, and the error."""

    def attempt(seconds):
        monkeypatch.setattr(pool, "DEADLINE", seconds)
        with recorded(*POSTS) as heard:
            try:
                asyncio.run(main())
            except Unavailable as error:
                return heard, error
        return heard, None

    async def main():
        await (await changing(model))[what]()

    return in_short(scene, dict(SAVES)[what], rule, action, attempt)


@pytest.mark.parametrize("what", dict(SAVES))
@pytest.mark.parametrize("model", [Outcome, OutcomeOfItsOwn], ids=["plain", "by-its-own"])
def test_what_the_application_saves_is_saved_though_no_answer_comes(scene, monkeypatch, model, what):
    before = scene.stored()
    heard, error = saving(scene, monkeypatch, model, what, rule=always, action="lose")
    assert error is None
    assert [signal.sender for signal in heard] == [model]
    assert scene.stored() != before


@pytest.mark.parametrize(("rule", "done"), [(always, False), (then_nothing, None)], ids=["known", "unknown"])
@pytest.mark.parametrize("what", dict(SAVES))
def test_what_the_application_could_not_save_says_whether_it_was_done(scene, monkeypatch, what, rule, done):
    before = scene.stored()
    if done is None:
        monkeypatch.setattr(outcomes, "SECONDS_TO_KNOW", 0.1)
    heard, error = saving(scene, monkeypatch, Outcome, what, rule=rule, action="swallow")
    assert error.members == {"done": done}
    assert not heard
    assert scene.stored() == before


# The time that there is


class Times(Listener):
    """What MongoDB is told of the time that its commands have."""

    def __init__(self):
        self.told = []

    def started(self, event):
        others = ("hello", "endSessions", "createIndexes", "listIndexes", "dropDatabase")
        if event.command_name not in others:
            self.told.append((event.command_name, event.command.get("maxTimeMS")))


@pytest.mark.parametrize("options", [{}, {"deadline": 60}, {"deadline": 9}], ids=["unset", "60", "9"])
def test_mongodb_is_told_how_long_each_command_has(mongodb_server, options):
    times = Times()
    with connected(f"hive-{uuid.uuid4().hex[:12]}", host=mongodb_server, event_listeners=[times]) as database:
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
        database.client.drop_database(database.name)
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
