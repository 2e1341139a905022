"""Which signals every way to write sends, and that a change is told alike by all."""

import asyncio
import json
from itertools import cycle

import mongoengine as me
import pytest

import hive
from hive import ModelHive, signals
from hive.testing import recorded, serve


class PipedFriend(me.Document):
    name = me.StringField()


class PipedPart(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()


class Piped(me.Document):
    name = me.StringField()
    count = me.IntField(default=0)
    part = me.EmbeddedDocumentField(PipedPart)
    parts = me.EmbeddedDocumentListField(PipedPart)
    friend = me.ReferenceField(PipedFriend)
    friends = me.ListField(me.ReferenceField(PipedFriend))


MODELS = (Piped, PipedFriend)
MERGE = {"Content-Type": "application/merge-patch+json"}
PATCH = {"Content-Type": "application/json-patch+json"}


def routes(**options):
    return [route for model in MODELS for route in ModelHive.routes_for(model, **options)]


@pytest.fixture
def world():
    ann, bob = PipedFriend(name="Ann").save(), PipedFriend(name="Bob").save()
    parts = [PipedPart(slug="x", size=1)]
    piped = Piped(name="old", part=PipedPart(slug="p", size=1), parts=parts, friend=ann, friends=[ann]).save()
    return {"piped": str(piped.pk), "ann": str(ann.pk), "bob": str(bob.pk)}


def filled(value, world):
    if isinstance(value, dict):
        return {name: filled(item, world) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, world) for item in value]
    return world.get(value[1:-1], value) if isinstance(value, str) and value.startswith("{") else value


def change_of_name(path):
    return [{"op": "replace", "path": path, "value": "new"}]


CREATE, UPDATE, DELETE = (("create", Piped), ("update", Piped), ("delete", Piped))
PART, NEW_FRIEND, FRIEND = ("update", PipedPart), ("create", PipedFriend), ("update", PipedFriend)
AT = "/piped/{piped}"

# name, method, path, how it is sent, the status, the pairs: the pre signals in this order, then the post ones
TABLE = [
    ("post", "POST", "/piped", {"json": {"name": "new"}}, 201, [CREATE]),
    ("post-form", "POST", "/piped", {"form": {"name": "new"}}, 201, [CREATE]),
    ("put", "PUT", AT, {"json": {"name": "new"}}, 200, [UPDATE]),
    ("put-form", "PUT", AT, {"form": {"name": "new"}}, 200, [UPDATE]),
    ("patch", "PATCH", AT, {"json": {"name": "new"}}, 200, [UPDATE]),
    ("merge-patch", "PATCH", AT, {"json": {"name": "new"}, "headers": MERGE}, 200, [UPDATE]),
    ("json-patch", "PATCH", AT, {"json": change_of_name("/name"), "headers": PATCH}, 200, [UPDATE]),
    ("nothing-changed", "PUT", AT, {"json": {"name": "old"}}, 200, [UPDATE]),
    ("delete", "DELETE", AT, {}, 204, [DELETE]),
    ("nested-set", "POST", f"{AT}/part", {"json": {"slug": "q"}}, 201, [("create", PipedPart), UPDATE]),
    ("nested-form", "POST", f"{AT}/part", {"form": {"slug": "q"}}, 201, [("create", PipedPart), UPDATE]),
    ("nested-put", "PUT", f"{AT}/part", {"json": {"size": 2}}, 200, [PART, UPDATE]),
    ("nested-patch", "PATCH", f"{AT}/part", {"json": {"size": 2}}, 200, [PART, UPDATE]),
    ("nested-json-patch", "PATCH", f"{AT}/part",
     {"json": [{"op": "replace", "path": "/size", "value": 2}], "headers": PATCH}, 200, [PART, UPDATE]),
    ("nested-unset", "DELETE", f"{AT}/part", {}, 204, [("delete", PipedPart), UPDATE]),
    ("list-append", "POST", f"{AT}/parts", {"json": {"slug": "y"}}, 201, [("create", PipedPart), UPDATE]),
    ("list-put", "PUT", f"{AT}/parts/x", {"json": {"size": 2}}, 200, [PART, UPDATE]),
    ("list-patch", "PATCH", f"{AT}/parts/x", {"json": {"size": 2}}, 200, [PART, UPDATE]),
    ("list-remove", "DELETE", f"{AT}/parts/x", {}, 204, [("delete", PipedPart), UPDATE]),
    ("reference-set", "POST", f"{AT}/friend", {"json": {"id": "{bob}"}}, 200, [UPDATE]),
    ("reference-create", "POST", f"{AT}/friend", {"json": {"name": "Cid"}}, 201, [NEW_FRIEND, UPDATE]),
    ("reference-put", "PUT", f"{AT}/friend", {"json": {"name": "Eve"}}, 200, [FRIEND]),
    ("reference-patch", "PATCH", f"{AT}/friend", {"json": {"name": "Eve"}}, 200, [FRIEND]),
    ("reference-json-patch", "PATCH", f"{AT}/friend",
     {"json": change_of_name("/name"), "headers": PATCH}, 200, [FRIEND]),
    ("reference-unset", "DELETE", f"{AT}/friend", {}, 204, [UPDATE]),
    ("references-add", "POST", f"{AT}/friends", {"json": {"id": "{bob}"}}, 200, [UPDATE]),
    ("references-create", "POST", f"{AT}/friends", {"json": {"name": "Cid"}}, 201, [NEW_FRIEND, UPDATE]),
    ("references-put", "PUT", f"{AT}/friends/{{ann}}", {"json": {"name": "Eve"}}, 200, [FRIEND]),
    ("references-patch", "PATCH", f"{AT}/friends/{{ann}}", {"json": {"name": "Eve"}}, 200, [FRIEND]),
    ("references-remove", "DELETE", f"{AT}/friends/{{ann}}", {}, 204, [UPDATE]),
]  # fmt: skip
BULK = [
    ("bulk-post", "POST", "/piped", {"json": [{"name": "a"}, {"name": "b"}]}, 201, [CREATE] * 2),
    ("bulk-post-one", "POST", "/piped", {"json": [{"name": "a"}]}, 201, [CREATE]),
    ("bulk-patch", "PATCH", "/piped_friend?name__in=Ann,Bob", {"json": {"name": "new"}}, 200, [FRIEND] * 2),
    ("bulk-json-patch", "PATCH", "/piped_friend?name__in=Ann,Bob",
     {"json": change_of_name("/name"), "headers": PATCH}, 200, [FRIEND] * 2),
    ("bulk-delete", "DELETE", "/piped_friend?name__in=Ann,Bob", {}, 200, [("delete", PipedFriend)] * 2),
    ("bulk-nothing", "PATCH", "/piped?name=nobody", {"json": {"name": "new"}}, 200, []),
]  # fmt: skip
KEY = {"Idempotency-Key": "one"}
ONE_BY_ONE = {"Prefer": "transaction=no"}


def table(rows):
    return pytest.mark.parametrize("row", rows, ids=[row[0] for row in rows])


def named(*names):
    rows = {row[0]: row for row in TABLE}
    return [rows[name] for name in names]


def ask(client, world, row, headers=None):
    _, method, path, how, *_ = row
    how = {name: filled(value, world) for name, value in how.items()}
    how["headers"] = how.get("headers", {}) | (headers or {})
    return client.request(method, path.format(**world), **how)


def assert_sends(client, world, row, headers=None):
    """That the request sends exactly the signals that the table has for it."""
    with recorded() as heard:
        reply = ask(client, world, row, headers)
    assert reply.status == row[4], reply.body
    assert [(told.name, told.sender) for told in heard] == [
        (f"{when}_{what}_instance", sender) for when in ("pre", "post") for what, sender in row[5]
    ]
    for told in heard:
        if told.name == "post_update_instance":
            assert told.arguments["updated_fields"] or row[0] == "nothing-changed"
    return reply


# The table


@table(TABLE)
def test_every_write_sends_one_pair_for_each_document_it_changes(mongodb_database, world, row):
    with serve(routes()) as client:
        assert_sends(client, world, row)


@table(
    named("post", "put", "json-patch", "delete", "nested-set", "nested-put", "nested-unset", "list-append",
          "list-remove", "reference-set", "reference-create", "references-remove")
)  # fmt: skip
def test_in_a_transaction_it_is_the_same(mongodb_database, world, row):
    with serve(routes(transaction=True)) as client:
        assert_sends(client, world, row)


@table(
    named("post", "patch", "json-patch", "nested-set", "nested-json-patch", "list-append", "list-patch",
          "reference-set", "reference-create", "references-create", "references-patch")
)  # fmt: skip
def test_with_a_key_it_is_the_same_and_the_second_time_nothing(mongodb_database, world, row):
    with serve(routes()) as client:
        first = assert_sends(client, world, row, KEY)
        with recorded() as heard:
            second = ask(client, world, row, KEY)
    assert not heard
    assert (second.status, second.body) == (first.status, first.body)


@table(BULK)
def test_several_documents_send_a_pair_each(mongodb_database, world, row):
    with serve(routes()) as client:
        assert_sends(client, world, row)


@table(BULK)
def test_several_documents_on_their_own_send_a_pair_each(mongodb_database, world, row):
    with serve(routes()) as client:
        assert_sends(client, world, row, ONE_BY_ONE)


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        pytest.param(row, headers, id=f"{row[0]}, {'each' if headers is not KEY else 'transaction'}")
        for row, headers in zip(
            [row for row in BULK if row[1] != "DELETE"], cycle([KEY, KEY | ONE_BY_ONE]), strict=False
        )
    ],
)
def test_several_documents_with_a_key_send_a_pair_each_and_the_second_time_nothing(
    mongodb_database, world, row, headers
):
    with serve(routes(transaction="Prefer" not in headers)) as client:
        first = assert_sends(client, world, row, headers)
        with recorded() as heard:
            second = ask(client, world, row, headers)
    assert not heard
    assert (second.status, second.body) == (first.status, first.body)


def test_put_that_replaces_sends_one_pair(mongodb_database, world):
    with serve(routes(put="replace")) as client, recorded() as heard:
        assert client.put(f"/piped/{world['piped']}", json={"name": "new"}).status == 200
    assert [told.name for told in heard] == ["pre_update_instance", "post_update_instance"]
    updated = heard[1].arguments["updated_fields"]
    assert updated["name"] == {"from": "old", "to": "new"}
    assert {"part", "parts", "friend", "friends"} <= updated.keys()


async def loaded(change):
    document = await asyncio.to_thread(Piped.objects.get)
    await change(document)


def rename(document):
    document.name = "new"
    return hive.save(document)


def test_every_verb_that_writes_is_in_the_table_for_every_place(mongomock_database, world):
    """As the places themselves tell with ``Allow``."""
    writes = {(row[1], row[2].split("?")[0].format(**world)) for row in TABLE + BULK}
    writes |= {("PATCH", "/piped"), ("DELETE", "/piped")}  # which stand there with the other model
    with serve(routes()) as client:
        for path in sorted({path for _, path in writes if path.startswith("/piped/")} | {"/piped"}):
            allowed = client.request("OPTIONS", path).headers["Allow"].split(", ")
            asked = {method for method, there in writes if there == path}
            assert asked == set(allowed) - {"GET", "HEAD", "OPTIONS"}, path


# The same change, told alike

RENAMED = {"name": {"from": "old", "to": "new"}}
RENAMINGS = [row for row in TABLE if row[0] in ("put", "put-form", "patch", "merge-patch", "json-patch")]
BY_FILTER = [
    ("bulk-patch", "PATCH", "/piped?name=old", {"json": {"name": "new"}}, 200, [UPDATE]),
    ("bulk-json-patch", "PATCH", "/piped?name=old", {"json": change_of_name("/name"), "headers": PATCH}, 200,
     [UPDATE]),
]  # fmt: skip


def updates(heard):
    return [told.arguments["updated_fields"] for told in heard if told.name == "post_update_instance"]


def in_turns(rows, ways):
    """The rows, each with one of the ways."""
    pairs = list(zip(rows, cycle(ways), strict=False))
    return pytest.mark.parametrize(("row", "way"), pairs, ids=[f"{row[0]}, {way}" for row, way in pairs])


WAYS = ["by-itself", "transaction", "key", "transaction-key"]


@in_turns((RENAMINGS + BY_FILTER) * 2, WAYS)
def test_a_change_of_one_field_is_told_alike_on_every_path(mongodb_database, world, row, way):
    transaction, headers = way.startswith("transaction"), KEY if way.endswith("key") else {}
    with serve(routes(transaction=transaction)) as client, recorded() as heard:
        assert ask(client, world, row, headers).status == 200
    assert updates(heard) == [RENAMED]


@table(BY_FILTER)
def test_it_is_told_alike_without_transactions(mongodb_database, world, row):
    with serve(routes()) as client, recorded() as heard:
        assert ask(client, world, row, ONE_BY_ONE).status == 200
    assert updates(heard) == [RENAMED]


def test_it_is_told_alike_where_the_application_does_it(mongodb_database, world):
    with recorded() as heard:
        asyncio.run(loaded(rename))
    assert updates(heard) == [RENAMED]


RESIZED = {"part.size": {"from": 1, "to": 2}}
RESIZINGS = [
    *(row for row in TABLE if row[0] in ("nested-put", "nested-patch", "nested-json-patch")),
    ("put", "PUT", AT, {"json": {"part": {"size": 2}}}, 200, [UPDATE]),
    ("put-form", "PUT", AT, {"form": {"part.size": "2"}}, 200, [UPDATE]),
    ("merge-patch", "PATCH", AT, {"json": {"part": {"size": 2}}, "headers": MERGE}, 200, [UPDATE]),
    ("json-patch", "PATCH", AT, {"json": [{"op": "replace", "path": "/part/size", "value": 2}],
     "headers": PATCH}, 200, [UPDATE]),
    ("bulk-patch", "PATCH", "/piped?name=old", {"json": {"part": {"size": 2}}}, 200, [UPDATE]),
]  # fmt: skip


@in_turns(RESIZINGS, WAYS[:2])
def test_a_change_within_is_told_alike_by_the_document_on_every_path(mongodb_database, world, row, way):
    with serve(routes(transaction=way == "transaction")) as client, recorded() as heard:
        assert ask(client, world, row).status == 200
    told = [one.arguments["updated_fields"] for one in heard if one[:2] == ("post_update_instance", Piped)]
    assert told == [RESIZED]
    inner = [
        one.arguments["updated_fields"] for one in heard if one[:2] == ("post_update_instance", PipedPart)
    ]
    assert inner == ([{"size": {"from": 1, "to": 2}}] if row[0].startswith("nested") else [])


def test_a_change_within_is_told_alike_where_the_application_does_it(mongodb_database, world):
    def resize(document):
        document.part.size = 2
        return hive.save(document)

    with recorded() as heard:
        asyncio.run(loaded(resize))
    assert updates(heard) == [RESIZED]


BEFRIENDINGS = [
    *(row for row in TABLE if row[0] == "reference-set"),
    ("put", "PUT", AT, {"json": {"friend": "{bob}"}}, 200, [UPDATE]),
    ("put-form", "PUT", AT, {"form": {"friend": "{bob}"}}, 200, [UPDATE]),
    ("json-patch", "PATCH", AT, {"json": [{"op": "replace", "path": "/friend", "value": "{bob}"}],
     "headers": PATCH}, 200, [UPDATE]),
]  # fmt: skip


@in_turns(BEFRIENDINGS, WAYS[:2])
def test_a_change_of_a_reference_is_told_alike_on_every_path(mongodb_database, world, row, way):
    with serve(routes(transaction=way == "transaction")) as client, recorded() as heard:
        assert ask(client, world, row).status == 200
    [told] = updates(heard)
    assert json.loads(json.dumps(told, default=str)) == {"friend": {"from": world["ann"], "to": world["bob"]}}


def test_a_change_of_a_reference_is_told_alike_where_the_application_does_it(mongodb_database, world):
    def befriend(document):
        document.friend = PipedFriend.objects.get(name="Bob")
        return hive.save(document)

    with recorded() as heard:
        asyncio.run(loaded(befriend))
    [told] = updates(heard)
    assert json.loads(json.dumps(told, default=str)) == {"friend": {"from": world["ann"], "to": world["bob"]}}


@table(named("post", "put", "delete", "nested-set", "list-remove", "reference-create"))
def test_a_write_that_is_refused_sends_no_post_signal(mongodb_database, world, row):
    def refuse(sender):
        raise hive.Problem

    kind, sender = row[5][-1]
    signal = signals.core[f"pre_{kind}_instance"]
    with serve(routes(transaction=True)) as client, signal.connected_to(refuse, sender), recorded() as heard:
        assert ask(client, world, row).status == 500
    assert not [told for told in heard if told.name.startswith("post_")]
