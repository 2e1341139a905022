"""JSON Patch over HTTP: what a client may change, and nothing that it may not change, or see."""

import json

import mongoengine as me
import pytest
from bson import ObjectId
from mongoengine import signals as mongoengine_signals

from hive import ModelHive, flatten, signals
from hive.plain import plain
from hive.testing import recorded, serve
from tests.support.databases import on_both, on_mongomock

ID = ObjectId("65a000000000000000000001")
TYPE = "application/json-patch+json"


class PatchedLeaf(me.EmbeddedDocument):
    word = me.StringField()
    hush = me.StringField()


class PatchedItem(me.EmbeddedDocument):
    name = me.StringField(required=True)
    size = me.IntField(max_value=9)
    hush = me.StringField()
    rank = me.IntField()
    pin = me.StringField()
    leaf = me.EmbeddedDocumentField(PatchedLeaf)
    leaves = me.EmbeddedDocumentListField(PatchedLeaf)


class PatchedThing(me.Document):
    name = me.StringField(required=True)
    size = me.IntField(max_value=9)
    tags = me.ListField(me.StringField())
    data = me.DictField()
    counts = me.MapField(me.IntField())
    hush = me.StringField()
    rank = me.IntField()
    pin = me.StringField()
    item = me.EmbeddedDocumentField(PatchedItem)
    items = me.EmbeddedDocumentListField(PatchedItem)
    by_key = me.MapField(me.EmbeddedDocumentField(PatchedItem))


class PatchedBeast(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class PatchedHound(PatchedBeast):
    legs = me.IntField()


class PatchedShut(me.Document):
    """Whoever may update these need not be allowed to read them."""

    name = me.StringField()
    size = me.IntField()
    item = me.EmbeddedDocumentField(PatchedItem)


def nobody(handler, instance):
    return False


def everyone(handler, instance):
    return True


EVERYWHERE = ("", "item.", "items.", "by_key.")
ROUTES = flatten(
    [
        ModelHive.routes_for(
            PatchedThing,
            hidden=[
                *(f"{path}hush" for path in EVERYWHERE),
                *(f"{path}{leaf}.hush" for path in EVERYWHERE[1:] for leaf in ("leaf", "leaves")),
            ],
            read_only=[f"{path}rank" for path in EVERYWHERE],
            write_only=[f"{path}pin" for path in EVERYWHERE],
        ),
        ModelHive.routes_for(PatchedBeast),
        ModelHive.routes_for(PatchedShut, allow={"get": nobody, "update": everyone}),
    ]
)
PATH = f"/patched_thing/{ID}"


def item(name, size=None, leaf="l"):
    """One with something in all fields that clients do not see."""
    leaves = [{"word": leaf, "hush": f"leaf of {name}"}]
    return {
        "name": name, "size": size, "hush": f"hush of {name}", "rank": 5, "pin": f"pin of {name}",
        "leaf": {"word": leaf, "hush": f"inner of {name}"}, "leaves": leaves,
    }  # fmt: skip


THING = {
    "_id": ID, "name": "x", "size": 1, "tags": ["a", "b"], "data": {"k": [1, {"d": 2}], "m/n": 1, "~": 2},
    "counts": {"one": 1}, "hush": "hush", "rank": 5, "pin": "pin", "item": item("i", 1),
    "items": [item("p", 1), item("q", 2), item("r", 3)], "by_key": {"k": item("k", 1)},
}  # fmt: skip


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A write that loses a race is tried again, and a patch of a thousand tests made, on any machine."""
    monkeypatch.setattr("hive.races.PATIENCE", 120)
    monkeypatch.setattr("hive.pool.DEADLINE", 60)


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def client(database):
    PatchedThing._get_collection().insert_one(json_copy(THING))
    with serve(ROUTES) as client:
        yield client


def json_copy(value):
    """The same in new dictionaries and lists."""
    if isinstance(value, dict):
        return {key: json_copy(item) for key, item in value.items()}
    return [json_copy(item) for item in value] if isinstance(value, list) else value


def raw(model=PatchedThing):
    return model._get_collection().find_one()


def send(client, *operations, path=PATH, **headers):
    sent = {"Content-Type": TYPE} | headers
    return client.patch(path, body=json.dumps(operations), headers=sent)


def op(name, path, *value, source=None):
    """An operation, with a value if there is one."""
    told = {"op": name, "path": path} | ({"value": value[0]} if value else {})
    return told if source is None else told | {"from": source}


# What it does


DONE = {
    "add a field": ([op("add", "/size", 2)], {"size": 2}),
    "add to the end of a list": ([op("add", "/tags/-", "c")], {"tags": ["a", "b", "c"]}),
    "add into a list": ([op("add", "/tags/1", "c")], {"tags": ["a", "c", "b"]}),
    "add a key": ([op("add", "/data/new", {"a": None})], {"data": THING["data"] | {"new": {"a": None}}}),
    "add to a map": ([op("add", "/counts/two", 2)], {"counts": {"one": 1, "two": 2}}),
    "add below": ([op("add", "/data/k/1/e", 3)], {"data": THING["data"] | {"k": [1, {"d": 2, "e": 3}]}}),
    "add in an embedded document": ([op("add", "/item/size", 4)], {"item": item("i", 4)}),
    "remove a field": ([op("remove", "/size")], {"size": None}),
    "remove an item": ([op("remove", "/tags/0")], {"tags": ["b"]}),
    "remove a key with a slash": ([op("remove", "/data/m~1n")], {"data": {"k": [1, {"d": 2}], "~": 2}}),
    "remove a key with a tilde": ([op("remove", "/data/~0")], {"data": {"k": [1, {"d": 2}], "m/n": 1}}),
    "remove an embedded document": ([op("remove", "/item")], {"item": None}),
    "remove an item of documents": ([op("remove", "/items/1")], {"items": [item("p", 1), item("r", 3)]}),
    "replace a field": ([op("replace", "/name", "y")], {"name": "y"}),
    "replace with null": ([op("replace", "/size", None)], {"size": None}),
    "replace an item": ([op("replace", "/tags/1", "c")], {"tags": ["a", "c"]}),
    "replace a list": ([op("replace", "/tags", [])], {"tags": None}),
    "move a field": ([op("move", "/name", source="/tags/0")], {"name": "a", "tags": ["b"]}),
    "move an item": ([op("move", "/tags/1", source="/tags/0")], {"tags": ["b", "a"]}),
    "copy a value": ([op("copy", "/counts/two", source="/size")], {"counts": {"one": 1, "two": 1}}),
    "copy into a list": ([op("copy", "/tags/-", source="/name")], {"tags": ["a", "b", "x"]}),
    "test and change": ([op("test", "/name", "x"), op("replace", "/name", "y")], {"name": "y"}),
    "test what was changed": ([op("add", "/size", 5), op("test", "/size", 5.0)], {"size": 5}),
    "test a whole list": ([op("test", "/tags", ["a", "b"]), op("add", "/size", 2)], {"size": 2}),
    "nothing": ([], {}),
    "change and take back": ([op("add", "/tags/-", "c"), op("remove", "/tags/2")], {}),
    "as many as there may be": ([op("test", "/name", "x")] * 999 + [op("add", "/size", 2)], {"size": 2}),
}  # fmt: skip


@pytest.mark.parametrize(("operations", "then"), DONE.values(), ids=DONE)
def test_a_patch_does_what_it_says_and_no_more(client, operations, then):
    answer = send(client, *operations)
    assert answer.status == 200, answer.body
    assert answer.json == client.get(PATH).json
    stored, expected = raw(), THING | then
    assert {name: stored.get(name) for name in expected} == expected
    assert stored.keys() <= expected.keys()


def test_a_patch_of_an_embedded_document_is_one_of_that(client):
    assert send(client, op("test", "/name", "i"), op("add", "/size", 7), path=f"{PATH}/item").status == 200
    assert raw() == THING | {"item": item("i", 7)}
    assert send(client, op("add", "/leaf/word", "w"), path=f"{PATH}/items/1").json["leaf"] == {"word": "w"}
    assert raw()["items"][1]["leaf"] == {"word": "w", "hush": "inner of q"}


# What fails, and leaves everything as it was


FAILING = {
    "another value": ([op("test", "/name", "y")], 409),
    "true for one": ([op("test", "/size", True)], 409),
    "a test after a change": ([op("add", "/size", 2), op("test", "/name", "y")], 409),
    "remove what is not there": ([op("remove", "/data/none")], 409),
    "replace what is not there": ([op("replace", "/data/none", 1)], 409),
    "an index beyond the list": ([op("add", "/tags/3", "c")], 409),
    "a place below a text": ([op("add", "/name/x", "c")], 409),
    "more than 1,000 operations": ([op("test", "/name", "x")] * 1001, 400),
    "no operation": ([{"op": "delete", "path": "/name"}], 400),
    "no pointer": ([op("add", "name", 1)], 400),
    "no value": ([op("add", "/name")], 400),
    "a field that is not there": ([op("add", "/nope", 1)], 400),
    "a wrong type": ([op("add", "/size", "many")], 400),
    "a value that is too large": ([op("add", "/size", 10)], 400),
    "one of two that fits": ([op("add", "/name", "y"), op("add", "/size", 10)], 400),
    "a required field is removed": ([op("remove", "/name")], 400),
    "an item that does not fit": ([op("add", "/tags/-", "c"), op("add", "/items/0/size", 10)], 400),
    "an item without what is required": ([op("add", "/items/-", {"size": 1})], 400),
    "a key that MongoDB takes for more": ([op("add", "/data/$set", 1)], 400),
    "not an object": ([op("replace", "", [1])], 400),
    "the primary key": ([op("replace", "/id", str(ObjectId()))], 400),
    "no primary key": ([op("remove", "/id")], 400),
    "the primary key by another name": ([op("add", "/pk", str(ID))], 400),
    "the primary key as MongoDB has it": ([op("add", "/_id", str(ID))], 400),
}


@on_mongomock
@pytest.mark.parametrize(("operations", "status"), FAILING.values(), ids=FAILING)
def test_a_patch_that_fails_stores_nothing(client, operations, status):
    with recorded(signals.post_update_instance) as heard:
        answer = send(client, *operations)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert raw() == THING
    assert heard == []


@on_mongomock
def test_what_is_no_patch_is_400(client):
    for body in ("{}", "null", '{"op": "add"}', "[1]", "[", '"x"'):
        assert client.patch(PATH, body=body, headers={"Content-Type": TYPE}).status == 400
    assert raw() == THING


@on_mongomock
def test_only_patch_takes_one(client):
    for method, path in (("PUT", PATH), ("POST", "/patched_thing")):
        assert client.request(method, path, body="[]", headers={"Content-Type": TYPE}).status == 415


# What clients must not touch, nor learn


SECRET = [
    "/hush", "/item/hush", "/items/0/hush", "/by_key/k/hush", "/item/leaf/hush", "/items/0/leaf/hush",
    "/items/0/leaves/0/hush", "/by_key/k/leaves/0/hush", "/pin", "/item/pin", "/items/0/pin", "/by_key/k/pin",
    "/_cls", "/item/_cls", "/items/0/_cls", "/_id", "/_data", "/__class__", "/pk",
]  # fmt: skip


def value_at(path):
    value = THING
    for name in path.split("/")[1:]:
        value = value[int(name)] if isinstance(value, list) else value.get(name)
    return value


@on_mongomock
@pytest.mark.parametrize("path", SECRET)
def test_what_clients_do_not_see_cannot_be_learned(client, path):
    told = []
    for value in (plain(value_at(path)), "a guess", None):
        answer = send(client, op("test", path, value))
        told.append((answer.status, answer.json["detail"]))
    assert told == [told[0]] * 3
    assert told[0][0] == 409
    for taking, to in (("copy", "/name"), ("copy", "/tags/-"), ("move", "/data/x")):
        assert send(client, op(taking, to, source=path)).status == 409
    for operation in (op("remove", path), op("replace", path, "mine")):
        assert send(client, operation).status == 409
    assert raw() == THING


UNSETTABLE = [path for path in SECRET if "pin" not in path] + ["/rank", "/item/rank", "/items/0/rank",
              "/by_key/k/rank"]  # fmt: skip


@on_mongomock
@pytest.mark.parametrize("path", UNSETTABLE)
def test_what_clients_cannot_set_is_not_set_by_any_operation(client, path):
    for operations in (
        [op("add", path, "7")],
        [op("add", path, None)],
        [op("copy", path, source="/name")],
        [op("move", path, source="/tags/0")],
        [op("add", path.rpartition("/")[0] or "", {"name": "n", path.rpartition("/")[2]: "7"})],
    ):
        assert send(client, *operations).status == 400, operations
    assert raw() == THING


@pytest.mark.parametrize("path", ["/rank", "/item/rank", "/items/0/rank", "/by_key/k/rank"])
def test_what_is_only_read_can_be_tested_and_copied_but_not_changed(client, path):
    assert send(client, op("test", path, 5), op("copy", "/size", source=path)).status == 200
    assert raw() == THING | {"size": 5}
    for operation in (op("replace", path, 6), op("move", "/counts/x", source=path)):
        assert send(client, operation).status == 400
    assert raw() == THING | {"size": 5}


@pytest.mark.parametrize("path", ["/pin", "/item/pin", "/items/0/pin", "/by_key/k/pin"])
def test_what_is_only_written_can_be_set(client, path):
    answer = send(client, op("add", path, "new"))
    assert answer.status == 200, answer.body
    assert "new" not in answer.body.decode()
    holder = expected = json_copy(THING)
    for name in path.split("/")[1:-1]:
        holder = holder[int(name)] if isinstance(holder, list) else holder[name]
    holder["pin"] = "new"
    assert raw() == expected


REORDERED = {
    "reversed": ([op("move", "/items/0", source="/items/2"), op("move", "/items/2", source="/items/1")],
                 "rqp"),
    "one removed": ([op("remove", "/items/0")], "qr"),
    "one removed, one put in front": ([op("remove", "/items/1"), op("move", "/items/0", source="/items/1")],
                                      "rp"),
    "one added in front": ([op("add", "/items/0", {"name": "n"})], "npqr"),
    "one added at the end": ([op("add", "/items/-", {"name": "n"})], "pqrn"),
    "moved to a map and back": (
        [op("move", "/by_key/new", source="/items/0"), op("move", "/items/-", source="/by_key/new")], "qrp",
    ),
    "all replaced by one moved": ([op("move", "/items/0", source="/items/2"), op("remove", "/items/1"),
                                   op("remove", "/items/1")], "r"),
}  # fmt: skip


@pytest.mark.parametrize(("operations", "names"), REORDERED.values(), ids=REORDERED)
@pytest.mark.parametrize(
    ("database", "sized"),
    [pytest.param("mongomock", False, id="as they were"), pytest.param("mongodb", True, id="and changed")],
    indirect=["database"],
)
def test_hidden_data_goes_where_its_item_goes(client, operations, names, sized):
    more = [op("add", f"/items/{index}/size", 8) for index in range(len(names))] if sized else []
    answer = send(client, *operations, *more)
    assert answer.status == 200, answer.body
    stored = raw()["items"]
    assert [one["name"] for one in stored] == list(names)
    for one in stored:
        if one["name"] == "n":
            assert one.keys() <= {"name", "size", "leaves"}
        else:
            size = 8 if sized else {"p": 1, "q": 2, "r": 3}[one["name"]]
            assert one == item(one["name"], size)
    assert "hush" not in answer.body.decode()


def test_a_copied_item_has_only_what_was_seen_of_it(client):
    operations = [op("copy", "/items/-", source="/items/0"), op("remove", "/items/3/rank")]
    assert send(client, *operations).status == 200
    assert raw()["items"][:3] == THING["items"]
    copied = raw()["items"][3]
    assert copied["name"] == "p"
    assert "hush" not in json.dumps(copied)
    assert "pin" not in copied


FRESH = {
    "removed, then added": [op("remove", "/items/0"), op("add", "/items/0", {"name": "n"})],
    "replaced": [op("replace", "/items/0", {"name": "n"})],
    "replaced twice": [op("replace", "/items/0", {"name": "m"}), op("replace", "/items/0", {"name": "n"})],
    "all replaced": [op("replace", "/items", [{"name": "n"}])],
    "all removed, then added": [op("remove", "/items"), op("add", "/items", [{"name": "n"}])],
    "removed and many added": [
        op("remove", "/items/0"), op("remove", "/items/0"), op("remove", "/items/0"),
        *(op("add", "/items/-", {"name": "n"}) for _ in range(20)),
    ],
    "with leaves": [
        op("remove", "/items/0"),
        op("add", "/items/0", {"name": "n", "leaf": {"word": "l"}, "leaves": [{"word": "l"}]}),
    ],
}  # fmt: skip


@on_mongomock
@pytest.mark.parametrize("operations", FRESH.values(), ids=FRESH)
def test_a_new_item_has_no_hidden_data_of_one_that_is_gone(client, operations):
    assert send(client, *operations).status == 200
    fresh = [one for one in raw()["items"] if one["name"] == "n"]
    assert fresh
    assert not {"hush", "pin", "rank"} & {key for one in fresh for key in one}
    assert "hush" not in json.dumps(fresh)


def test_all_can_be_replaced_by_what_was_read(client):
    read = client.get(PATH).json
    answer = send(client, op("replace", "", read | {"name": "y"}))
    assert answer.status == 200, answer.body
    stored = raw()
    assert (stored["name"], stored["hush"], stored["pin"], stored["rank"]) == ("y", "hush", "pin", 5)
    assert stored["item"] == THING["item"]


@pytest.mark.parametrize("name", ["PatchedBeast", "PatchedBeast.PatchedHound", "PatchedItem", 1, None])
def test_a_document_keeps_its_class(client, name):
    stored = {"_id": ID, "_cls": "PatchedBeast.PatchedHound", "name": "Rex", "legs": 4}
    PatchedBeast._get_collection().insert_one(dict(stored))
    answer = send(client, op("replace", "/_cls", name), path=f"/patched_beast/{ID}")
    assert answer.status == (200 if name == stored["_cls"] else 400), answer.body
    assert raw(PatchedBeast) == stored
    assert send(client, op("remove", "/legs"), path=f"/patched_beast/{ID}").status == 200
    assert raw(PatchedBeast) == {key: value for key, value in stored.items() if key != "legs"}


@on_mongomock
def test_who_may_not_read_learns_nothing_by_a_test(client):
    stored = {"_id": ID, "name": "x", "size": 1, "item": item("i")}
    PatchedShut._get_collection().insert_one(json_copy(stored))
    path, told = f"/patched_shut/{ID}", set()
    for name in ("/name", "/size", "/item/name", "/none"):
        for value in ("x", "y", 1, 2, "i", None):
            answer = send(client, op("test", name, value), path=path)
            told.add((answer.status, answer.json["detail"].replace(name, "")))
    assert len(told) == 1
    assert {status for status, _ in told} == {409}
    below = [send(client, op("test", "/name", value), path=f"{path}/item").status for value in ("i", "j")]
    assert below == [401, 401]
    for operation in (op("copy", "/name", source="/size"), op("move", "/name", source="/item/name")):
        assert send(client, operation, path=path).status == 409
    assert raw(PatchedShut) == stored
    answer = send(client, op("add", "/name", "y"), path=path)
    assert (answer.status, answer.body, answer.headers["Etag"]) == (204, b"", None)
    assert raw(PatchedShut) == stored | {"name": "y"}


# Races


@on_both
def test_two_that_append_at_once_both_do(client):
    came = []

    def rival(*_, **__):
        came.append(1)
        if len(came) == 1:
            PatchedThing._get_collection().update_one({}, {"$push": {"tags": "theirs"}})

    with mongoengine_signals.pre_save.connected_to(rival, sender=PatchedThing):
        assert send(client, op("add", "/tags/-", "mine")).status == 200
    assert raw()["tags"] == ["a", "b", "theirs", "mine"]
    assert len(came) == 2


@on_both
def test_a_test_is_one_of_what_is_there_when_it_is_stored(client):
    def rival(*_, **__):
        PatchedThing._get_collection().update_one({}, {"$set": {"name": "theirs"}})

    with mongoengine_signals.pre_save.connected_to(rival, sender=PatchedThing):
        assert send(client, op("test", "/name", "x"), op("add", "/size", 2)).status == 409
    assert raw() == THING | {"name": "theirs"}


@on_both
def test_hidden_data_that_another_changed_meanwhile_stays(client):
    came = []

    def rival(*_, **__):
        came.append(1)
        if len(came) == 1:
            PatchedThing._get_collection().update_one({}, {"$set": {"items.2.hush": "theirs"}})

    with mongoengine_signals.pre_save.connected_to(rival, sender=PatchedThing):
        moved = op("move", "/items/0", source="/items/2")
        assert send(client, moved, op("add", "/items/0/size", 8)).status == 200
    assert raw()["items"][0] == item("r", 8) | {"hush": "theirs"}


# Merge patches


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", "application/json"])
def test_null_in_a_merge_patch_removes(client, content_type):
    body = {
        "size": None, "tags": None, "data": {"k": None, "~": 3, "new": {"a": None, "b": 1}},
        "counts": {"one": None}, "item": {"size": None, "leaf": None}, "by_key": {"k": None},
    }  # fmt: skip
    answer = client.patch(PATH, body=json.dumps(body), headers={"Content-Type": content_type})
    assert answer.status == 200, answer.body
    stored = raw()
    assert "size" not in stored
    assert stored.get("tags", []) == stored.get("counts") or stored.get("tags") in (None, [])
    assert stored["data"] == {"m/n": 1, "~": 3, "new": {"b": 1}}
    assert stored.get("counts", {}) == stored.get("by_key", {}) == {}
    kept = {key: value for key, value in item("i").items() if key not in ("size", "leaf")}
    assert {key: value for key, value in stored["item"].items() if value is not None} == kept
    assert stored["items"] == THING["items"]
