"""What servers refuse, for a while or for good, is an answer for clients; servers are of several kinds."""

import logging

import mongoengine as me
import pymongo
import pytest

from hive import ModelHive, signals
from hive.errors import WithoutTransactions
from hive.testing import connected, recorded, serve
from hive.transactions import has_transactions
from tests.support.mongod import Mongod, always, once, refusal

APART = {"Prefer": "transaction=no"}


class ServedPart(me.EmbeddedDocument):
    size = me.IntField()


class Served(me.Document):
    name = me.StringField()
    age = me.IntField()
    tenant = me.StringField()
    part = me.EmbeddedDocumentField(ServedPart)


class ServedUnique(me.Document):
    name = me.StringField(unique=True)


ROUTES = ModelHive.routes_for(Served, deadline=60) + ModelHive.routes_for(ServedUnique, deadline=60)


@pytest.fixture
def database(mongod):
    yield from opened(mongod)


def opened(mongod):
    with connected("served", host=mongod.uri) as database:
        yield database
        mongod.rule = always("nothing", "forward")
        database.client.drop_database("served")


@pytest.fixture
def client(database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def one(client):
    return f"/served/{client.post('/served', json={'name': 'a', 'age': 1}).json['id']}"


# Temporary errors

REFUSED = [24, 43, 46, 112, 134, 262, 365, 462, 463, 473, 11601]


def is_unavailable(reply):
    return reply.status == 503 and int(reply.headers["Retry-After"]) > 0


@pytest.mark.parametrize("code", [code for code in REFUSED if code not in (134, 262)])  # which are sent again
def test_a_temporary_error_is_503_for_reading(client, one, mongod, code):
    mongod.rule = once("find", refusal(code))
    reply = client.get(one)
    assert is_unavailable(reply)
    assert "done" not in reply.json


@pytest.mark.parametrize("code", REFUSED)
def test_a_temporary_error_is_503_for_writing_and_nothing_is_done(client, one, mongod, code):
    mongod.rule = once("update", refusal(code))
    with recorded(signals.post_update_instance) as heard:
        reply = client.patch(one, json={"name": "b"})
    assert is_unavailable(reply)
    assert reply.json["done"] is False
    assert not heard
    assert Served.objects.get().name == "a"


WRITES = [
    ("POST", "/served", {"name": "n"}, "insert"),
    ("PUT", "{one}", {"name": "n"}, "update"),
    ("PATCH", "{one}", {"name": "n"}, "update"),
    ("DELETE", "{one}", None, "delete"),
    ("PUT", "{one}/part", {"size": 1}, "update"),
]


@pytest.mark.parametrize("row", WRITES, ids=lambda row: f"{row[0]} {row[1]}")
@pytest.mark.parametrize("label", ["SystemOverloadedError", "RetryableError"])
def test_a_label_says_that_an_error_is_temporary(client, one, mongod, row, label):
    method, path, body, command = row
    Served.objects.update(part=ServedPart(size=0))
    mongod.rule = once(command, refusal(4711, label))
    if label == "RetryableError":  # which the driver obeys, where it knows it
        mongod.rule = once(command, refusal(4711, label, "NoWritesPerformed"))
    reply = client.request(method, path.format(one=one), json=body)
    assert is_unavailable(reply)
    assert reply.json["done"] is False


def test_what_is_temporary_for_one_of_many_is_its_result(client, mongod):
    client.post("/served", json={"name": "warm"})
    mongod.rule = once("insert", {"n": 1, "writeErrors": [{"index": 1, "code": 365, "errmsg": "busy"}]})
    reply = client.post("/served", json=[{"name": "a"}, {"name": "b"}], headers=APART)
    results = [(result["status"], result.get("done")) for result in reply.json]
    assert results == [(201, None), (503, False)]


def test_a_key_is_free_again_after_a_temporary_error(client, mongod):
    client.post("/served", json={"name": "warm"})
    mongod.rule = once("insert", refusal(365))
    headers = {"Idempotency-Key": "one"}
    statuses = [client.post("/served", json={"name": "a"}, headers=headers).status for _ in range(2)]
    assert statuses == [503, 201]
    assert Served.objects(name="a").count() == 1


def test_an_error_that_does_not_pass_is_500(client, one, mongod):
    mongod.rule = once("find", refusal(8000, name="AtlasError"))
    assert client.get(one).status == 500


KEY = {"Idempotency-Key": "one"}


@pytest.mark.parametrize(
    ("body", "headers"),
    [({"name": "a"}, {}), ([{"name": "a"}], {}), ({"name": "a"}, KEY)],
    ids=["one", "many", "key"],
)
def test_what_too_few_members_can_acknowledge_is_503(mongod, body, headers):
    with connected("served", host=f"{mongod.uri}&w=3"), serve(ROUTES) as client:
        assert is_unavailable(client.post("/served", json=body, headers=headers))
    with pymongo.MongoClient(mongod.uri) as other:
        other.drop_database("served")


# Too much

TOO_LARGE = {"388": refusal(388), "394": refusal(394), "257": refusal(257),
             "named": refusal(4711, name="TransactionTooLargeForCache")}  # fmt: skip


@pytest.mark.parametrize("error", TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize("command", ["insert", "commitTransaction"])
def test_more_than_a_transaction_takes_is_413(client, one, mongod, command, error):
    left = [True]

    def rule(name, sent):
        is_meant = name == command and ("autocommit" in sent) and sent.get(name) != "hive_idempotency"
        return error if is_meant and left.pop() else "forward"

    mongod.rule = rule
    reply = client.post("/served", json=[{"name": "b"}, {"name": "c"}])
    assert reply.status == 413
    assert not left
    assert Served.objects.count() == 1


def test_a_list_that_mongodb_cannot_sort_names_the_index_to_create(client, one, mongod, caplog):
    mongod.rule = once("find", refusal(292, name="QueryExceededMemoryLimitNoDiskUseAllowed"))
    reply = client.get("/served?name=a&sort=-age")
    assert reply.status == 400
    assert "create_index([('name', 1), ('age', -1), ('_id', 1)])" in reply.json["detail"]


def test_the_index_names_nothing_that_only_the_application_asks_for(database, mongod, caplog):
    routes = ModelHive.routes_for(Served, hidden=["tenant"], scope=of_a_tenant)
    with serve(routes) as client, caplog.at_level(logging.WARNING, logger="hive"):
        client.get("/served")
        mongod.rule = once("find", refusal(292))
        reply = client.get("/served?sort=age")
    assert "create_index([('age', 1), ('_id', 1)])" in reply.json["detail"]
    assert "create_index([('tenant', 1), ('age', 1), ('_id', 1)])" in caplog.text


class ServedOrdered(me.Document):
    meta = {"ordering": ["rank"]}
    name = me.StringField()
    rank = me.IntField()


def test_the_index_names_no_order_of_the_application(database, mongod, caplog):
    with serve(ModelHive.routes_for(ServedOrdered, hidden=["rank"])) as client:
        client.get("/served_ordered")
        mongod.rule = once("find", refusal(292))
        reply = client.get("/served_ordered?name=a")
    assert reply.json["detail"].endswith("create_index([('name', 1)]).")
    assert "create_index([('name', 1), ('rank', 1), ('_id', 1)])" in caplog.text


def of_a_tenant(objects, handler):
    return objects.filter(tenant="t")


def test_a_stream_that_mongodb_cannot_sort_is_refused_too(database, mongod):
    with serve(ModelHive.routes_for(Served, stream=True)) as client:
        client.get("/served")
        mongod.rule = once("find", refusal(292))
        reply = client.get("/served?sort=age&per_page=all")
    assert reply.status == 400
    assert "create_index" in reply.json["detail"]


# Sharded clusters


@pytest.fixture
def mongos(mongodb_server):
    proxy = Mongod(mongodb_server, is_sharded=True)
    yield proxy
    proxy.close()


@pytest.fixture
def sharded(mongos):
    yield from opened(mongos)


def test_a_sharded_cluster_has_all_that_a_replica_set_has(sharded, mongos):
    with serve([*ROUTES, *ModelHive.routes_for(Served, prefix="/t", transaction=True)]) as client:
        one = client.post("/served", json={"name": "a"}, headers={"Idempotency-Key": "k"}).json["id"]
        assert client.patch(f"/served/{one}", json={"name": "b"}).status == 200
        assert client.patch(f"/t/served/{one}", json={"name": "c"}).status == 200
        assert client.post("/served", json=[{"name": "d"}, {"name": "e"}]).status == 201
        assert client.delete(f"/t/served/{one}").status == 204
    assert any("recoveryToken" in command for command in mongos.commands if "commitTransaction" in command)
    assert Served.objects.count() == 2


def test_a_write_after_which_a_mongos_loses_the_shard_is_found_out(sharded, mongos):
    with serve(ROUTES) as client:
        path = f"/served/{client.post('/served', json={'name': 'a'}).json['id']}"
        lost = {"ok": 0.0, "code": 202, "codeName": "NetworkInterfaceExceededTimeLimit", "errmsg": "lost"}
        mongos.rule = once("update", lost)
        with recorded(signals.post_update_instance) as heard:
            assert client.patch(path, json={"name": "b"}).json["name"] == "b"
        assert len(heard) == 1
        mongos.rule = once("update", refusal(202))
        reply = client.patch(path, json={"name": "c"})
    assert (reply.status, reply.json["done"]) == (503, False)


# Servers that are not MongoDB


def test_a_server_that_ignores_transactions_has_none(mongodb_server, caplog):
    proxy = Mongod(mongodb_server, undoes=False)
    with connected("served", host=proxy.uri) as database:
        with pytest.raises(ValueError, match="transaction=True is not possible"):
            ModelHive.routes_for(Served, transaction=True)
        with serve(ROUTES) as client:
            assert client.post("/served", json=[{"name": "a"}]).status == WithoutTransactions.status
            assert client.post("/served", json=[{"name": "a"}], headers=APART).status == 201
            assert client.post("/served", json={"name": "b"}, headers={"Idempotency-Key": "k"}).status == 201
        proofs = [one for one in database.hive_idempotency.find() if one["_id"].startswith("proof")]
        database.client.drop_database("served")
    proxy.close()
    assert not proofs
    assert "does not undo one" in caplog.text


def test_a_server_that_refuses_transactions_has_none(database, mongod, caplog):
    mongod.rule = lambda name, command: refusal(20) if "autocommit" in command else "forward"
    assert not has_transactions(Served)
    assert "refuses one" in caplog.text


def test_a_server_proves_its_transactions_once(database, mongod):
    assert [has_transactions(model) for model in (Served, ServedUnique)] == [True, True]
    assert [name for name, _ in mongod.seen].count("abortTransaction") == 1


def test_whether_there_are_transactions_is_asked_again_when_mongodb_was_away(database, mongod):
    mongod.rule = once("hello", refusal(11600))
    answers = []
    for _ in range(2):
        try:
            answers.append(has_transactions(Served))
        except Exception as error:  # noqa: BLE001 - of whatever kind
            answers.append(type(error).__name__)
    assert answers[-1] is True
