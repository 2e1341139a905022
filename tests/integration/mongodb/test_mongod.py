"""The proxy of these tests answers as mongod does, where the embedded server does not."""

import bson
import pymongo
import pytest
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, WTimeoutError
from pymongo.read_concern import ReadConcern

from tests.support.mongod import Mongod, always, once, refusal


@pytest.fixture
def database(mongod):
    yield from opened(mongod)


def opened(mongod):
    with pymongo.MongoClient(mongod.uri) as client:
        name = f"hive-{bson.ObjectId()}"
        client[name].things.insert_one({"_id": 0, "n": 0})
        yield client[name]
        mongod.rule = always("nothing", "forward")
        client.drop_database(name)


@pytest.fixture
def session(database):
    with database.client.start_session() as session:
        session.start_transaction()
        yield session
        if session.in_transaction:
            session.abort_transaction()


WRITES = [
    lambda things: things.update_one({}, {"$inc": {"n": 1}}).modified_count,
    lambda things: things.find_one_and_update({}, {"$inc": {"n": 1}}, return_document=True)["n"],
    lambda things: len(things.insert_many([{"n": 1}]).inserted_ids),
]


@pytest.mark.parametrize("write", WRITES, ids=["update", "findAndModify", "insert"])
def test_a_write_that_is_sent_again_is_done_once_and_has_its_first_answer(mongod, database, write):
    left = ["lose"]
    names = ("update", "findAndModify", "insert")
    mongod.rule = lambda name, _: left.pop() if name in names and left else "forward"
    assert write(database.things) == 1
    assert not left
    assert sum(one["n"] for one in database.things.find()) == 1


def test_writes_with_numbers_of_their_own_are_done_each(database):
    for _ in range(2):
        database.things.update_one({}, {"$inc": {"n": 1}})
    assert database.things.find_one()["n"] == 2


REFUSED = {
    "a write concern": (
        72, lambda things, session: things.database.command(
            "insert", "things", documents=[{}], writeConcern={"w": 1}, session=session,
        ),
    ),
    "a later read concern": (
        72, lambda things, session: things.database.command(
            "find", "things", readConcern={"level": "local"}, session=session
        ),
    ),
    "count": (263, lambda things, session: things.database.command("count", "things", session=session)),
    "listIndexes": (263, lambda things, session: list(things.list_indexes(session=session))),
    "createIndexes": (263, lambda things, session: things.create_index("n", session=session)),
}  # fmt: skip


@pytest.mark.parametrize(("code", "command"), REFUSED.values(), ids=REFUSED)
def test_a_transaction_takes_no(database, session, code, command):
    database.things.find_one(session=session)
    with pytest.raises(OperationFailure) as error:
        command(database.things, session)
    assert error.value.code == code


def test_a_transaction_may_create_a_collection_with_an_index(database, session):
    database.others.create_index("n", session=session)
    session.commit_transaction()
    assert "n_1" in database.others.index_information()


def test_in_a_transaction_no_insertion_follows_the_first_error(database, session):
    documents = [{"_id": 1}, {"_id": 0}, {"_id": 0}, {"_id": 2}]
    with pytest.raises(BulkWriteError) as error:
        database.things.insert_many(documents, ordered=False, session=session)
    assert [one["index"] for one in error.value.details["writeErrors"]] == [1]


def test_a_refused_command_is_not_done_and_has_its_code_and_labels(mongod, database):
    mongod.rule = once("update", refusal(365, "SomeLabel"))
    with pytest.raises(OperationFailure) as error:
        database.things.update_one({}, {"$inc": {"n": 1}})
    assert error.value.code == 365
    assert error.value.has_error_label("SomeLabel")
    assert database.things.find_one()["n"] == 0


def test_a_command_that_is_done_may_have_an_error_in_its_answer(mongod, database):
    error = {"code": 64, "errmsg": "late", "errInfo": {"wtimeout": True}}
    mongod.rule = once("update", {"writeConcernError": error})
    with pytest.raises(WTimeoutError):
        database.things.update_one({}, {"$inc": {"n": 1}})
    assert database.things.find_one()["n"] == 1


@pytest.mark.parametrize("action", ["cut", "lose"])
def test_a_connection_ends_before_or_after_a_command(mongod, database, action):
    mongod.rule = always("find", action)
    with pytest.raises(AutoReconnect):
        database.things.find_one()


def test_it_is_the_primary_of_a_replica_set_at_its_own_address(mongod, database):
    assert database.client.primary == ("127.0.0.1", mongod.port)


def test_it_may_be_a_mongos(mongodb_server):
    mongod = Mongod(mongodb_server, is_sharded=True)
    for database in opened(mongod):
        assert database.client.is_mongos
        with database.client.start_session() as session, session.start_transaction():
            database.things.update_one({}, {"$inc": {"n": 1}}, session=session)
        assert mongod.commands[-1]["recoveryToken"]
        assert database.things.find_one()["n"] == 1
    mongod.close()


def test_it_may_refuse_to_kill_sessions(mongod, database):
    database.client.admin.command("killSessions", [])
    mongod.kills_sessions = False
    with pytest.raises(OperationFailure, match="not allowed"):
        database.client.admin.command("killSessions", [])


def test_it_may_ignore_transactions(mongodb_server):
    mongod = Mongod(mongodb_server, undoes=False)
    for database in opened(mongod):
        with database.client.start_session() as session:
            session.start_transaction(ReadConcern("local"), WriteConcern("majority"), ReadPreference.PRIMARY)
            database.things.update_one({}, {"$inc": {"n": 1}}, session=session)
            session.abort_transaction()
        assert database.things.find_one()["n"] == 1
    mongod.close()
