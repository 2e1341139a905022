"""`routes_for(..., transaction=True)`: all that a request stores is one transaction of MongoDB."""

import json
from weakref import WeakKeyDictionary

import mongoengine as me
import pymongo
import pytest
from mongoengine.signals import post_delete, post_save, pre_delete
from pymongo.errors import OperationFailure

from hive import ModelHive, Problem, signals, transactions
from hive.embedded import free_port
from hive.testing import connected, recorded, serve
from tests.support.commands import Listener
from tests.support.threads import at_once, in_thread

CLIENTS, EACH = 16, 5
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
POSTS = [getattr(signals, f"post_{what}_instance") for what in ("create", "update", "delete")]


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."


class TxnAudit(me.Document):
    text = me.StringField()


class TxnLedger(me.Document):
    meta = {"indexes": ["entry"]}
    entry = me.StringField(unique=True)


class TxnPart(me.EmbeddedDocument):
    size = me.IntField()


class TxnFriend(me.Document):
    name = me.StringField()


class TxnAccount(me.Document):
    """Writes of each change into another collection; `between` runs when that is done, and then it fails."""

    name = me.StringField()
    balance = me.IntField(default=0)
    deposit = me.IntField()
    part = me.EmbeddedDocumentField(TxnPart)
    friend = me.ReferenceField(TxnFriend, reverse_delete_rule=me.NULLIFY)

    between = staticmethod(lambda document: None)
    failure = None

    def save(self, *args, **kwargs):
        TxnAudit(text=f"save {self.name}").save()
        self.between(self)
        self.balance += self.deposit or 0
        self.deposit = None
        super().save(*args, **kwargs)
        if self.failure is not None:
            raise self.failure
        return self

    def delete(self, *args, **kwargs):
        TxnAudit(text=f"delete {self.name}").save()
        self.between(self)
        super().delete(*args, **kwargs)
        if self.failure is not None:
            raise self.failure


class TxnPlain(me.Document):
    name = me.StringField()


class TxnKeeper(me.Document):
    """Stores what it refers to, too."""

    meta = {"cascade": True}
    name = me.StringField()
    plain = me.ReferenceField(TxnPlain)

    def clean(self):
        if self.plain is not None:
            self.plain.name = f"kept by {self.name}"


MODELS = (TxnAccount, TxnFriend, TxnPlain, TxnKeeper, TxnAudit)


def routes(**options):
    return [
        route for model in MODELS for route in ModelHive.routes_for(model, **{"transaction": True} | options)
    ]


def dump():
    return {model: list(model._get_collection().find(sort=[("_id", 1)])) for model in (*MODELS, TxnLedger)}


@pytest.fixture
def client(mongodb_database):
    with serve(routes()) as client:
        yield client


@pytest.fixture
def world(client):
    friend = TxnFriend(name="f").save()
    account = TxnAccount(name="old", balance=1, part=TxnPart(size=1), friend=friend).save()
    plain = TxnPlain(name="old").save()
    TxnAudit.objects.delete()
    return {"account": account.pk, "friend": friend.pk, "plain": plain.pk}


WRITES = [
    ("create", "POST", "/txn_account", {"name": "n"}, 201),
    ("change", "PUT", "/txn_account/{account}", {"name": "n"}, 200),
    ("patch", "PATCH", "/txn_account/{account}", {"name": "n"}, 200),
    ("nested", "PUT", "/txn_account/{account}/part", {"size": 2}, 200),
    ("unset", "DELETE", "/txn_account/{account}/part", None, 204),
    ("unlink", "DELETE", "/txn_account/{account}/friend", None, 204),
    ("create-and-link", "POST", "/txn_account/{account}/friend", {"name": "n"}, 201),
    ("delete", "DELETE", "/txn_account/{account}", None, 204),
]
IDS = [row[0] for row in WRITES]
every_write = pytest.mark.parametrize("row", WRITES, ids=IDS)


def ask(client, world, row, **how):
    _, method, path, body, _ = row
    return client.request(method, path.format(**world), json=body, **how)


# All, or nothing


@every_write
def test_what_a_save_or_delete_of_ones_own_stores_is_there_with_the_write(client, world, row):
    before = dump()
    reply = ask(client, world, row)
    assert reply.status == row[4], reply.body
    assert TxnAudit.objects.count() == 1
    assert dump()[TxnAccount] != before[TxnAccount]


@pytest.mark.parametrize("failure", [(ZeroDivisionError("x"), 500), (Teapot(), 418)], ids=["bug", "no"])
@every_write
def test_nothing_is_there_where_a_save_or_delete_of_ones_own_fails_at_its_end(
    client, world, monkeypatch, row, failure
):
    before, (error, status) = dump(), failure
    monkeypatch.setattr(TxnAccount, "failure", error)
    with recorded(*POSTS) as heard:
        assert ask(client, world, row).status == status
    assert dump() == before
    assert not heard


@every_write
def test_without_a_transaction_some_of_it_would_be_there(client, world, monkeypatch, row):
    """So that the test above may fail."""
    monkeypatch.setattr(TxnAccount, "failure", Teapot())
    with serve(routes(transaction=False)) as other:
        assert ask(other, world, row).status == 418
    assert TxnAudit.objects.count() == 1


@pytest.mark.parametrize(
    "signal", [post_save, pre_delete, post_delete], ids=["post_save", "pre_delete", "post_delete"]
)
def test_nothing_is_there_where_a_receiver_of_mongoengine_fails(client, world, signal):
    def receiver(sender, document, **_):
        TxnAudit(text="receiver").save()
        raise Teapot

    before = dump()
    with recorded(*POSTS) as heard, signal.connected_to(receiver, TxnPlain):
        if signal is post_save:
            assert client.post("/txn_plain", json={"name": "n"}).status == 418
            assert client.put(f"/txn_plain/{world['plain']}", json={"name": "n"}).status == 418
        else:
            assert client.delete(f"/txn_plain/{world['plain']}").status == 418
    assert dump() == before
    assert not heard


def test_nothing_is_there_where_mongodb_refuses_the_last_of_it(client, world, monkeypatch):
    TxnLedger(entry="taken").save()
    before = dump()
    monkeypatch.setattr(TxnAccount, "between", staticmethod(lambda document: TxnLedger(entry="taken").save()))
    assert client.post("/txn_account", json={"name": "n"}).status in (409, 500)
    assert dump() == before


def test_a_save_that_cascades_does_so_in_the_transaction(client, world, monkeypatch):
    keeper = TxnKeeper(name="k", plain=TxnPlain.objects.get()).save()
    assert client.put(f"/txn_keeper/{keeper.pk}", json={"name": "l"}).status == 200
    assert TxnPlain.objects.get().name == "kept by l"
    before = dump()
    monkeypatch.setattr(TxnPlain, "save", fails)
    assert client.put(f"/txn_keeper/{keeper.pk}", json={"name": "m"}).status == 418
    assert dump() == before


def test_a_new_document_whose_save_cascades_is_stored_with_what_it_refers_to(client, world):
    reply = client.post("/txn_keeper", json={"name": "k", "plain": str(world["plain"])})
    assert reply.status == 201, reply.body
    assert TxnPlain.objects.get().name == "kept by k"


def fails(*_, **__):
    raise Teapot


def test_the_rules_of_a_delete_are_undone_with_it(client, world, monkeypatch):
    def receiver(sender, document, **_):
        raise Teapot

    before = dump()
    with post_delete.connected_to(receiver, TxnFriend):
        assert client.delete(f"/txn_friend/{world['friend']}").status == 418
    assert dump() == before
    assert client.delete(f"/txn_friend/{world['friend']}").status == 204
    assert TxnAccount.objects.get().friend is None


def test_a_post_receiver_undoes_nothing_and_finds_all_that_is_stored(
    client, mongodb_server, mongodb_database
):
    seen = []

    def receiver(sender):
        with pymongo.MongoClient(mongodb_server) as other:
            seen.append(
                [
                    other[mongodb_database.name][name].count_documents({})
                    for name in ("txn_account", "txn_audit")
                ]
            )
        raise ZeroDivisionError

    with signals.post_create_instance.connected_to(receiver):
        assert client.post("/txn_account", json={"name": "n"}).status == 201
    assert seen == [[1, 1]]
    assert TxnAccount.objects.count() == 1


# By chance, and again


def elsewhere(change):
    """Do this in a thread, and so in no transaction of this one."""
    with in_thread(change):
        pass


def interfering(tries):
    """What changes the same document in the midst of the first try."""

    def between(document):
        tries.append(document.name)
        if len(tries) == 1:
            query, change = {"name": "old"}, {"$inc": {"balance": 10}}
            elsewhere(lambda: TxnAccount._get_collection().update_one(query, change))

    return staticmethod(between)


@pytest.mark.parametrize("row", WRITES[1:], ids=IDS[1:])
def test_a_transaction_that_loses_to_another_write_is_tried_again(client, world, monkeypatch, row):
    tries = []
    monkeypatch.setattr(TxnAccount, "between", interfering(tries))
    with recorded() as heard:
        reply = ask(client, world, row)
    assert reply.status == row[4], reply.body
    assert len(tries) == 2
    assert TxnAudit.objects.count() == 1
    names = [(told.name, told.sender) for told in heard]
    assert len(names) == len(set(names))
    assert [told.name for told in heard][-1].startswith("post_")
    if row[0] == "delete":
        assert TxnAccount.objects.count() == 0
    else:
        assert TxnAccount.objects.get().balance == 11
    assert TxnFriend.objects.count() == (2 if row[0] == "create-and-link" else 1)


def test_the_changes_that_are_told_are_those_of_the_try_that_counts(client, world, monkeypatch):
    monkeypatch.setattr(TxnAccount, "between", interfering([]))
    with recorded(signals.post_update_instance) as heard:
        reply = client.put(f"/txn_account/{world['account']}", json={"deposit": 5})
    assert reply.json["balance"] == 16
    assert [told.arguments["updated_fields"] for told in heard] == [{"balance": {"from": 11, "to": 16}}]


def test_a_condition_is_checked_again_in_the_next_try(client, world, monkeypatch):
    monkeypatch.setattr(TxnAccount, "between", interfering([]))
    path = f"/txn_account/{world['account']}"
    tag = client.get(path).headers["Etag"]
    with recorded(*POSTS) as heard:
        assert client.put(path, json={"name": "n"}, headers={"If-Match": tag}).status == 412
    assert not heard
    assert TxnAccount.objects.get().name == "old"
    assert TxnAudit.objects.count() == 0


def test_a_json_patch_is_applied_to_what_the_next_try_finds(client, world, monkeypatch):
    monkeypatch.setattr(TxnAccount, "between", interfering([]))
    patch = [{"op": "test", "path": "/balance", "value": 1}, {"op": "replace", "path": "/name", "value": "n"}]
    reply = client.patch(f"/txn_account/{world['account']}", body=json.dumps(patch), headers=JSON_PATCH)
    assert reply.status == 409
    assert TxnAccount.objects.get().balance == 11
    assert TxnAudit.objects.count() == 0


def test_many_clients_at_one_document_lose_nothing(mongodb_database):
    account = TxnAccount(name="shared").save()
    TxnAudit.objects.delete()

    def deposit():
        return [
            client.put(f"/txn_account/{account.pk}", json={"deposit": 1}, timeout=120).status
            for _ in range(EACH)
        ]

    with serve(routes(deadline=100)) as client, recorded(signals.post_update_instance) as heard:
        told = [status for statuses in at_once([deposit] * CLIENTS) for status in statuses]
    assert told == [200] * CLIENTS * EACH
    assert TxnAccount.objects.get().balance == CLIENTS * EACH
    assert TxnAudit.objects.count() == CLIENTS * EACH
    steps = [one.arguments["updated_fields"]["balance"] for one in heard]
    assert sorted(step["to"] for step in steps) == list(range(1, CLIENTS * EACH + 1))
    assert all(step["to"] == step["from"] + 1 for step in steps)


# What MongoDB is sent


class Sent(Listener):
    def __init__(self):
        self.commands = []

    def started(self, event):
        self.commands.append((event.command_name, dict(event.command)))

    def of_transactions(self):
        return [(name, command) for name, command in self.commands if "autocommit" in command]


@pytest.fixture
def sent(mongodb_server, direct):
    sent = Sent()
    with connected(direct.name, host=mongodb_server, event_listeners=[sent]):
        yield sent


@pytest.fixture
def direct(mongodb_server):
    with pymongo.MongoClient(mongodb_server) as client:
        database = client[f"hive-transactions-{free_port()}"]
        client.drop_database(database.name)
        yield database
        client.drop_database(database.name)


@pytest.fixture
def listened(sent):
    """A world whose models are all in use already."""
    friend = TxnFriend(name="f").save()
    account = TxnAccount(name="old", balance=1, part=TxnPart(size=1), friend=friend).save()
    for model in (*MODELS, TxnLedger):
        model.objects.count()
    with serve(routes()) as client:
        for row in (("warm", "POST", "/txn_account", {"name": "warm"}, 201),):
            assert ask(client, {}, row).status == 201
        sent.commands.clear()
        yield client, {"account": account.pk, "friend": friend.pk}


@every_write
def test_all_that_is_written_is_in_one_transaction(listened, sent, row):
    client, world = listened
    assert ask(client, world, row).status == row[4]
    within = sent.of_transactions()
    assert {"insert", "update", "delete", "findAndModify"} & {name for name, _ in within}
    assert [
        name
        for name, command in sent.commands
        if name in ("insert", "update", "delete", "findAndModify") and "autocommit" not in command
    ] == []
    assert [command["autocommit"] for _, command in within] == [False] * len(within)
    assert [command.get("startTransaction") for _, command in within] == [True] + [None] * (len(within) - 1)
    assert len({command["txnNumber"] for _, command in within}) == 1
    assert len({str(command["lsid"]) for _, command in within}) == 1
    assert within[-1][0] == "commitTransaction"
    assert [name for name, command in sent.commands if not 0 < command.get("maxTimeMS", 0) <= 5000] == []
    if row[0] != "create":  # what is changed is loaded there, too
        assert within[0][0] in ("find", "insert")
        assert "find" in [name for name, _ in within]


def test_a_transaction_that_fails_is_aborted(listened, sent, monkeypatch):
    client, world = listened
    monkeypatch.setattr(TxnAccount, "failure", Teapot())
    assert ask(client, world, WRITES[1]).status == 418
    assert sent.of_transactions()[-1][0] == "abortTransaction"
    assert "commitTransaction" not in [name for name, _ in sent.commands]


def test_what_is_refused_before_begins_no_transaction(listened, sent):
    client, world = listened
    with signals.pre_update_instance.connected_to(fails):
        assert ask(client, world, WRITES[1]).status == 418
    assert client.put(f"/txn_account/{world['account']}", json={"name": 7}).status == 400
    assert sent.of_transactions() == []


@pytest.mark.parametrize("path", ["/txn_account", "/txn_account/{account}", "/txn_account/{account}/friend"])
def test_what_reads_begins_no_transaction(listened, sent, path):
    client, world = listened
    assert client.get(path.format(**world)).status == 200
    assert sent.of_transactions() == []


def test_the_answer_of_a_key_is_stored_in_the_transaction(listened, sent):
    client, world = listened
    assert ask(client, world, WRITES[0], headers={"Idempotency-Key": "one"}).status == 201
    within = [(name, command.get(name)) for name, command in sent.of_transactions()]
    assert ("insert", "txn_account") in within
    assert ("update", "hive_idempotency") in within
    assert within[-1][0] == "commitTransaction"


def test_the_transactions_of_other_routes_are_their_own(listened, sent):
    _, world = listened
    with serve(routes(transaction=False)) as client:
        assert ask(client, world, WRITES[1]).status == 200
    assert sent.of_transactions() == []


# What cannot be done in a transaction


def test_indexes_that_are_missing_are_there_in_the_end(sent, direct, monkeypatch):
    """Of a collection that is first used in the save() of another model."""
    monkeypatch.setattr(TxnAccount, "between", staticmethod(lambda document: TxnLedger(entry="one").save()))
    with serve(routes()) as client, recorded(signals.post_create_instance) as heard:
        assert client.post("/txn_account", json={"name": "n"}).status == 201
    created = [command["createIndexes"] for name, command in sent.commands if name == "createIndexes"]
    assert "txn_ledger" in created
    assert len(heard) == 1
    assert [direct[name].count_documents({}) for name in ("txn_account", "txn_audit", "txn_ledger")] == [
        1,
        1,
        1,
    ]
    assert "entry_1" in direct.txn_ledger.index_information()


@pytest.mark.parametrize("worded", [True, False], ids=["by-mongoengine", "by-pymongo"])
def test_what_mongodb_forbids_in_a_transaction_is_tried_once_more_when_indexes_are_there(
    client, world, monkeypatch, worded
):
    tries = []

    def between(document):
        tries.append(document.name)
        if len(tries) == 1:
            error = OperationFailure("Cannot create indexes in a transaction", 263)
            if not worded:
                raise error
            try:
                raise error
            except OperationFailure as cause:
                message = f"Could not save document ({cause})"
                raise me.errors.OperationError(message)  # noqa: B904 - as mongoengine does it

    monkeypatch.setattr(TxnAccount, "between", staticmethod(between))
    with recorded() as heard:
        assert ask(client, world, WRITES[1]).status == 200
    assert len(tries) == 2
    assert [told.name for told in heard] == ["pre_update_instance", "post_update_instance"]
    assert TxnAudit.objects.count() == 1


def test_what_mongodb_forbids_twice_is_an_error_and_nothing_is_stored(client, world, monkeypatch):
    def between(document):
        message = "not in a transaction"
        raise OperationFailure(message, 263)

    before = dump()
    monkeypatch.setattr(TxnAccount, "between", staticmethod(between))
    with recorded(*POSTS) as heard:
        assert ask(client, world, WRITES[1]).status == 500
    assert not heard
    assert dump() == before


# Where there are none


def test_transactions_are_refused_at_start_up_on_mongomock(mongomock_database):
    with pytest.raises(ValueError, match="no replica set"):
        ModelHive.routes_for(TxnPlain, transaction=True)


HELLOS = [
    ("standalone", {"maxWireVersion": 21, "logicalSessionTimeoutMinutes": 30}, False),
    ("old-replica-set", {"setName": "rs0"}, False),
    ("replica-set", {"setName": "rs0", "logicalSessionTimeoutMinutes": 30}, True),
    ("sharded", {"msg": "isdbgrid", "logicalSessionTimeoutMinutes": 30}, True),
]


@pytest.mark.parametrize(("hello", "capable"), [row[1:] for row in HELLOS], ids=[row[0] for row in HELLOS])
def test_transactions_are_refused_at_start_up_where_the_server_has_none(
    mongodb_database, monkeypatch, hello, capable
):
    """No standalone server can be had here: what stands in is what such a server answers to ``hello``."""
    command = pymongo.database.Database.command

    def stand_in(self, name, *args, **kwargs):
        return hello if name == "hello" else command(self, name, *args, **kwargs)

    monkeypatch.setattr(pymongo.database.Database, "command", stand_in)
    monkeypatch.setattr(transactions, "_proven", WeakKeyDictionary())  # which knows the server by its address
    if capable:
        assert ModelHive.routes_for(TxnPlain, transaction=True)
    else:
        with pytest.raises(
            ValueError, match=r"transaction=True is not possible for TxnPlain.*no replica set"
        ):
            ModelHive.routes_for(TxnPlain, transaction=True)
    assert ModelHive.routes_for(TxnPlain)


def test_without_a_server_to_ask_the_application_starts_and_its_writes_are_503(monkeypatch, caplog):
    monkeypatch.setattr(transactions, "SECONDS_TO_ASK", 0.1)
    with connected("hive-nowhere", host=f"mongodb://127.0.0.1:{free_port()}"):
        [route] = ModelHive.routes_for(TxnPlain, transaction=True, deadline=0.2)
        assert "whether it has transactions" in caplog.text
        with serve([route]) as client:
            reply = client.post("/txn_plain", json={"name": "n"})
    assert (reply.status, reply.json["done"]) == (503, False)
    assert reply.json["detail"] == "The database cannot be reached at the moment."
