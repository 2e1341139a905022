"""Unique values that are taken are 409, under every write."""

import mongoengine as me
import pytest

from hive import ModelHive, signals
from hive.testing import recorded, serve
from tests.support.threads import at_once


class UniqueAccount(me.Document):
    email = me.StringField(unique=True, sparse=True, db_field="mail")
    name = me.StringField()


class UniqueSeat(me.Document):
    row = me.StringField()
    number = me.IntField(unique_with="row")


class UniqueCode(me.Document):
    """With an index of a name within a dictionary."""

    meta = {"indexes": [{"fields": ["data.code"], "unique": True}]}
    data = me.DictField()


def routes(**options):
    return [
        route
        for model in (UniqueAccount, UniqueSeat)
        for route in ModelHive.routes_for(model, deadline=60, **options)
    ]


def dump():
    return list(UniqueAccount._get_collection().find(sort=[("_id", 1)]))


@pytest.fixture
def client(database):
    with serve(routes()) as client:
        yield client


@pytest.fixture
def accounts(client):
    UniqueAccount.ensure_indexes()
    return [
        UniqueAccount(email="a@x.org", name="a").save(),
        UniqueAccount(email="b@x.org", name="b").save(),
    ]


JSON_PATCH = {"Content-Type": "application/json-patch+json"}
TAKEN = {"email": "a@x.org"}
UNIQUE = [
    ("post", lambda client, two: client.post("/unique_account", json=TAKEN)),
    ("form", lambda client, two: client.post("/unique_account", form=TAKEN)),
    ("put", lambda client, two: client.put(f"/unique_account/{two.pk}", json=TAKEN)),
    ("patch", lambda client, two: client.patch(f"/unique_account/{two.pk}", json=TAKEN)),
    (
        "json-patch",
        lambda client, two: client.patch(
            f"/unique_account/{two.pk}",
            body='[{"op": "replace", "path": "/email", "value": "a@x.org"}]',
            headers=JSON_PATCH,
        ),
    ),
]


@pytest.mark.parametrize("send", [send for _, send in UNIQUE], ids=[name for name, _ in UNIQUE])
def test_a_unique_value_that_is_taken_is_409_and_names_the_field(client, accounts, send):
    before = dump()
    with recorded(*POSTS) as heard:
        reply = send(client, accounts[1])
    assert reply.status == 409
    assert [error["field"] for error in reply.json.get("errors", [])] == (
        ["email"] if tells(accounts) else []
    )
    assert dump() == before
    assert not heard


POSTS = (signals.post_create_instance, signals.post_update_instance)


def tells(documents):
    """Whether the server says which index it is; mongomock does not."""
    return not type(documents[0]._get_db().client).__module__.startswith("mongomock")


def test_of_an_index_of_several_fields_all_are_named(mongodb_database):
    UniqueSeat(row="r", number=1).save()
    with serve(routes()) as client:
        reply = client.post("/unique_seat", json={"row": "r", "number": 1})
    assert reply.status == 409
    assert {error["field"] for error in reply.json["errors"]} == {"row", "number"}


@pytest.mark.parametrize("preference", [{}, {"Prefer": "transaction=no"}], ids=["all-or-none", "each"])
def test_of_several_the_one_whose_value_is_taken_is_named(mongodb_database, preference):
    UniqueAccount(email="a@x.org").save()
    bodies = [{"email": "b@x.org"}, {"email": "a@x.org"}]
    with serve(routes()) as client:
        reply = client.post("/unique_account", json=bodies, headers=preference)
    results = reply.json if preference else reply.json["results"]
    assert reply.status == (207 if preference else 409)
    assert [one["status"] for one in results] == [201 if preference else 424, 409]
    assert results[1]["errors"] == [{"field": "email", "message": "is taken"}]
    if not preference:
        assert reply.json["errors"] == [{"field": "1.email", "message": "is taken"}]
    assert UniqueAccount.objects.count() == (2 if preference else 1)


@pytest.mark.parametrize("transaction", [False, True], ids=["by-itself", "in-a-transaction"])
def test_of_many_who_want_the_same_value_at_once_one_gets_it(mongodb_database, transaction):
    with serve(routes(transaction=transaction)) as client:
        replies = at_once(
            [
                lambda number=number: client.post(
                    "/unique_account", json={"email": "a@x.org", "name": str(number)}, timeout=120
                )
                for number in range(12)
            ]
        )
    assert sorted(reply.status for reply in replies) == [201] + [409] * 11
    assert {
        tuple(error["field"] for error in reply.json["errors"]) for reply in replies if reply.status == 409
    } == {("email",)}
    assert UniqueAccount.objects.count() == 1


def test_a_unique_name_within_a_dictionary_is_named_too(mongodb_database):
    with serve(ModelHive.routes_for(UniqueCode)) as client:
        statuses = [client.post("/unique_code", json={"data": {"code": 1}}).status for _ in range(2)]
        reply = client.post("/unique_code", json={"data": {"code": 1}})
    assert statuses == [201, 409]
    assert reply.json["errors"] == [{"field": "data.code", "message": "is taken"}]
