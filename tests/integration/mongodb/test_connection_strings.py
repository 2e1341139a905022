"""Every way to write works with every option that a connection string gives."""

import asyncio
import json
import logging

import mongoengine as me
import pymongo
import pytest
from pymongo import ReadPreference
from pymongo.common import BaseObject
from tornado.web import Application

import hive
from hive import AuthHive, ModelHive, Provider, concerns, flatten
from hive.revocations import Revocations
from hive.testing import connected, recorded, serve

JSON_PATCH = {"Content-Type": "application/json-patch+json"}
KEY = {"Idempotency-Key": "one"}
APART = {"Prefer": "transaction=no"}


class UriPart(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()


class UriFriend(me.Document):
    name = me.StringField(unique=True)


class UriTeam(me.Document):
    name = me.StringField()
    part = me.EmbeddedDocumentField(UriPart)
    parts = me.EmbeddedDocumentListField(UriPart)
    friend = me.ReferenceField(UriFriend)
    friends = me.ListField(me.ReferenceField(UriFriend))


class UriLedger(me.Document):
    """Its saves and deletes store elsewhere, too, by mongoengine alone."""

    name = me.StringField()

    def save(self, *args, **kwargs):
        UriFriend(name=f"of {self.name}").save()
        return super().save(*args, **kwargs)

    def delete(self, *args, **kwargs):
        UriFriend.objects(name=f"of {self.name}").delete()
        return super().delete(*args, **kwargs)


class UriOwned(me.Document):
    owner = me.ReferenceField(UriFriend, reverse_delete_rule=me.DENY)


class Trusting(Provider):
    async def authenticate(self, credentials, handler):
        return credentials


MODELS = (UriFriend, UriTeam, UriLedger, UriOwned)

OPTIONS = [
    "",
    "&w=majority",
    "&w=1",
    "&journal=true",
    "&readConcernLevel=majority",
    "&readPreference=secondaryPreferred",
    "&readPreference=primaryPreferred",
    "&retryWrites=true",
    "&retryWrites=false",
    "&wTimeoutMS=5000",
    "&retryWrites=true&w=majority&appName=Cluster0",
    "&retryWrites=true&w=majority&readPreference=secondaryPreferred&readConcernLevel=majority",
    "&retryWrites=false&w=1&journal=true&wTimeoutMS=5000&readPreference=primaryPreferred",
]


@pytest.fixture(params=OPTIONS, ids=lambda options: options[1:] or "none")
def database(request, mongod):
    """A new database, reached with the options of a connection string."""
    with connected("uri", host=mongod.uri + request.param) as database:
        yield database
        database.client.drop_database("uri")


@pytest.fixture
def client(database):
    with serve(routes()) as client:
        yield client


@pytest.fixture
def transacting(database):
    with serve(routes(transaction=True)) as client:
        yield client


def routes(**options):
    return flatten([ModelHive.routes_for(model, deadline=60, **options) for model in MODELS])


def write_each(client):
    """Write one document, and what is in it, in every way."""
    friend = sent(client, 201, "POST", "/uri_friend", {"name": "f"})
    team = sent(client, 201, "POST", "/uri_team", {"name": "t", "part": {"size": 1}, "friend": friend})
    path = f"/uri_team/{team}"
    sent(client, 200, "PUT", path, {"name": "u"})
    sent(client, 200, "PATCH", path, {"name": "v"})
    patch = [{"op": "replace", "path": "/name", "value": "w"}]
    assert client.patch(path, body=json.dumps(patch), headers=JSON_PATCH).status == 200
    sent(client, 200, "PUT", f"{path}/part", {"size": 2})
    sent(client, 201, "POST", f"{path}/parts", {"slug": "x"})
    sent(client, 204, "DELETE", f"{path}/parts/x")
    sent(client, 201, "POST", f"{path}/friend", {"name": "g"})
    sent(client, 200, "POST", f"{path}/friends", {"id": friend})
    sent(client, 204, "DELETE", f"{path}/friends/{friend}")
    sent(client, 204, "DELETE", path)
    sent(client, 409, "POST", "/uri_friend", {"name": "g"})
    ledger = sent(client, 201, "POST", "/uri_ledger", {"name": "l"})
    assert UriFriend.objects(name="of l").count() == 1
    sent(client, 204, "DELETE", f"/uri_ledger/{ledger}")
    assert UriFriend.objects(name="of l").count() == 0
    sent(client, 201, "POST", "/uri_owned", {"owner": friend})
    sent(client, 409, "DELETE", f"/uri_friend/{friend}")
    assert UriTeam.objects.count() == 0


def sent(client, status, method, path, body=None, **headers):
    """Send a request. Return the ID in its answer."""
    reply = client.request(method, path, json=body, **headers)
    assert reply.status == status, (method, path, reply.body)
    return reply.json.get("id") if reply.body else None


def write_many(client, headers):
    reply = client.post("/uri_team", json=[{"name": "a"}, {"name": "a"}, {"name": "b"}], headers=headers)
    assert [one["status"] for one in reply.json] == [201] * 3, reply.body
    reply = client.patch("/uri_team?name=a", json={"name": "c"}, headers=headers)
    assert [one["status"] for one in reply.json] == [200] * 2, reply.body
    reply = client.delete("/uri_team?name=c", headers=headers)
    assert [one["status"] for one in reply.json] == [204] * 2, reply.body
    assert [team.name for team in UriTeam.objects] == ["b"]


def write_with_a_key(client):
    created = [client.post("/uri_team", json={"name": "k"}, headers=KEY) for _ in range(2)]
    assert [reply.status for reply in created] == [201, 201]
    path = f"/uri_team/{created[0].json['id']}"
    assert [client.patch(path, json={"name": "l"}, headers=KEY).status for _ in range(2)] == [200, 200]
    many = [client.post("/uri_friend", json=[{"name": "k"}], headers=KEY).status for _ in range(2)]
    assert many == [201, 201]
    assert (UriTeam.objects(name="l").count(), UriFriend.objects(name="k").count()) == (1, 1)


def clear():
    for model in reversed(MODELS):
        model.objects.delete()


def test_documents_are_written_one_by_one_and_many_at_once(client):
    write_each(client)
    for headers in ({}, APART):
        clear()
        write_many(client, headers)
    write_with_a_key(client)


def test_documents_are_written_in_transactions(transacting):
    write_each(transacting)
    clear()
    write_many(transacting, APART)
    write_with_a_key(transacting)


def test_the_application_writes_and_users_sign_in_and_out_and_their_requests_are_counted(database):
    with recorded() as heard:
        asyncio.run(save_and_delete())
    posts = [signal.name for signal in heard if signal.name.startswith("post")]
    assert posts == [f"post_{what}_instance" for what in ("create", "update", "create", "delete", "delete")]
    assert (UriTeam.objects.count(), UriLedger.objects.count(), UriFriend.objects.count()) == (0, 0, 0)
    application = Application(flatten([AuthHive.routes_for([Trusting()]), *routes()]))
    secret = "for tests only, and of 32 bytes or more"
    AuthHive.configure(application, secret_key=secret, rates_in="mongodb", write_rate="3/hour")
    with serve(application) as client:
        headers = signed_in(client)
        assert client.post("/uri_team", json={"name": "a"}, headers=headers).status == 201
        assert client.post("/auth/signout/", headers=headers).status < 300
        assert client.get("/uri_team", headers=headers).status == 401
        headers = signed_in(client)
        statuses = [client.post("/uri_team", json={"name": "a"}, headers=headers).status for _ in range(2)]
    assert statuses == [201, 429]


async def save_and_delete():
    team = UriTeam(name="a")
    await hive.save(team)
    team.name = "b"
    await hive.save(team)
    ledger = UriLedger(name="l")
    await hive.save(ledger)
    await hive.delete(ledger)
    await hive.delete(team)


def signed_in(client):
    session = client.post("/auth/signin/", json={"id": "ann"}).headers["Set-Cookie"].partition(";")[0]
    return {"Cookie": session, "Origin": f"http://127.0.0.1:{client.port}"}


# What MongoDB is sent


@pytest.fixture
def at_hand(mongod, monkeypatch):
    """A client of an application whose connection string prefers secondaries, and says w=1."""
    host = f"{mongod.uri}&readPreference=secondaryPreferred&w=1"
    with connected("uri", host=host) as database, serve(routes()) as client:
        yield client
        database.client.drop_database("uri")


READS = ("find", "aggregate", "count", "distinct", "getMore")


def modes(mongod, commands=READS):
    """The read preferences of commands that have been sent."""
    return {
        command.get("$readPreference", {}).get("mode", "primary")
        for (name, _), command in zip(mongod.seen, mongod.commands, strict=True)
        if name in commands
    }


def test_what_decides_a_write_is_read_from_the_primary(mongod, at_hand):
    write_each(at_hand)
    write_many(at_hand, {})
    assert at_hand.post("/uri_team", json={"name": "k"}, headers=KEY).status == 201
    UriOwned.objects.delete()
    UriFriend.objects.delete()
    mongod.seen.clear()
    mongod.commands.clear()
    friend = sent(at_hand, 201, "POST", "/uri_friend", {"name": "f"})
    with serve(routes(transaction=True)) as client:
        sent(client, 201, "POST", "/uri_team", {"name": "t", "friend": friend})
    team = sent(at_hand, 201, "POST", "/uri_team", {"name": "t", "friend": friend})
    sent(at_hand, 200, "PATCH", f"/uri_team/{team}", {"friend": friend})
    sent(at_hand, 204, "DELETE", f"/uri_team/{team}")
    sent(at_hand, 204, "DELETE", f"/uri_friend/{friend}")
    assert "find" in [name for name, _ in mongod.seen]
    assert modes(mongod) == {"primary"}


def test_what_a_save_of_the_application_decides_is_read_from_the_primary(mongod, at_hand):
    async def main():
        friend = UriFriend(name="f")
        await hive.save(friend)
        await hive.delete(friend)

    mongod.commands.clear()
    mongod.seen.clear()
    asyncio.run(main())
    assert modes(mongod) == {"primary"}


class UriCounting(me.Document):
    """Its clean() counts, once as the connection string says and once as it says itself."""

    name = me.StringField()

    def clean(self):
        UriTeam.objects.count()
        UriTeam.objects.read_preference(ReadPreference.NEAREST).count()


def test_a_queryset_that_names_a_read_preference_keeps_it(mongod, at_hand):
    with serve(ModelHive.routes_for(UriCounting)) as client:
        mongod.commands.clear()
        mongod.seen.clear()
        assert client.post("/uri_counting", json={"name": "n"}).status == 201
    assert modes(mongod) == {"primary", "nearest"}


PRIVILEGES = {
    "aggregate", "count", "createIndexes", "delete", "find", "findAndModify", "insert", "listIndexes",
    "update",
}  # fmt: skip
"""Commands of the role readWrite, on one database."""
FREE = {"hello", "ismaster", "commitTransaction", "abortTransaction", "endSessions", "getMore", "killCursors"}
"""Commands that need no privilege."""


def test_the_role_readwrite_is_enough(mongod, at_hand):
    write_each(at_hand)
    clear()
    write_many(at_hand, {})
    write_with_a_key(at_hand)
    assert at_hand.get("/uri_team?sort=name&count=exact").status == 200
    assert {name for name, _ in mongod.seen} <= PRIVILEGES | FREE


def test_a_list_is_read_where_the_connection_string_says(mongod, at_hand):
    mongod.commands.clear()
    mongod.seen.clear()
    assert at_hand.get("/uri_team").status == 200
    assert modes(mongod) == {"secondaryPreferred"}


def test_a_commit_waits_for_a_majority_and_the_log_says_once_that_w_is_raised(mongod, at_hand, caplog):
    with caplog.at_level(logging.WARNING, logger="hive"):
        for name in ("a", "b"):
            assert at_hand.post("/uri_team", json=[{"name": name}]).status == 201
    commits = [command for command in mongod.commands if "commitTransaction" in command]
    assert [command["writeConcern"]["w"] for command in commits] == ["majority"] * 2
    assert [record.getMessage().count("w=1") for record in caplog.records] == [1]


def test_a_connection_without_acknowledgement_is_refused_before_anything_is_written(mongod):
    with connected("uri", host=f"{mongod.uri}&w=0") as database, serve(routes()) as client:
        assert client.post("/uri_friend", json={"name": "f"}).status == 500
        assert client.delete(f"/uri_team/{'6' * 24}").status == 500
        with pytest.raises(RuntimeError, match="w=0"):
            asyncio.run(hive.save(UriFriend(name="f")))
        with pytest.raises(RuntimeError, match="w=0"):  # or a proof would work twice
            Revocations("default").add("proof", 2**32)
        with pymongo.MongoClient(mongod.uri) as other:
            assert other["uri"].uri_friend.count_documents({}) == 0
        database.client.drop_database("uri")


# What hive leans on in pymongo


@pytest.mark.parametrize("name", ["_write_concern_for", "_read_preference_for"])
def test_pymongo_still_has_what_hive_replaces(name):
    """Where this fails, pymongo has changed: see whether `session.bind()` needs `hive.concerns` any more."""
    replaced = getattr(concerns, name)
    assert replaced.__qualname__ == f"BaseObject.{name}"
    assert replaced.__code__.co_varnames[: replaced.__code__.co_argcount] == ("self", "session")
    assert getattr(BaseObject, name) is getattr(concerns, name[1:])


def test_pymongo_overlooks_a_bound_session_by_itself(mongod):
    """The reason for `hive.concerns`; where this fails, pymongo is mended, and that module can go."""
    with pymongo.MongoClient(f"{mongod.uri}&w=majority") as client:
        client.uri.bound.insert_one({})
        with (
            pytest.raises(pymongo.errors.OperationFailure, match="writeConcern is not allowed"),
            client.start_session() as session,
            session.bind(end_session=False),
            session.start_transaction(),
        ):
            client.uri.bound.insert_one({})
        client.drop_database("uri")
