"""Whoever comes between the reading and the storing of a document, no write is lost or goes elsewhere."""

import json

import mongoengine as me
import pytest
from bson import ObjectId
from mongoengine import signals as mongoengine_signals

from hive import ModelHive, flatten, signals
from hive.testing import recorded, serve
from tests.support.databases import on_both

ID = ObjectId("65a000000000000000000001")
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
LARGE = 7 * 2**20
POSTS = (signals.post_create_instance, signals.post_update_instance, signals.post_delete_instance)


class OnsetThing(me.Document):
    name = me.StringField()
    size = me.IntField()
    more = me.StringField()
    hush = me.StringField()
    seen = me.IntField(default=0)


class OnsetRanked(me.EmbeddedDocument):
    rank = me.IntField()
    name = me.StringField()
    hush = me.StringField()


class OnsetSorted(me.Document):
    items = me.SortedListField(me.EmbeddedDocumentField(OnsetRanked), ordering="rank")


class OnsetItem(me.EmbeddedDocument):
    name = me.StringField()
    size = me.IntField()


class OnsetHolder(me.Document):
    items = me.EmbeddedDocumentListField(OnsetItem)
    n = me.IntField()


class OnsetText(me.Document):
    text = me.StringField()


class Rival:
    """A receiver that does something behind hive's back, at first or each time that it is called."""

    def __init__(self, act, times=1):
        self.act, self.times, self.came = act, times, 0

    def __call__(self, sender, **_):
        self.came += 1
        if self.came <= self.times:
            self.act()


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A write that loses a race is tried again, however slow the machine is."""
    monkeypatch.setattr("hive.races.PATIENCE", 120)
    monkeypatch.setattr("hive.pool.DEADLINE", 60)


def collection(model):
    return model._get_collection()


def stored(model, key=ID):
    """A document as MongoDB has it, without what is empty."""
    found = collection(model).find_one({"_id": key})
    return None if found is None else {name: value for name, value in found.items() if value not in ([], {})}


def insert(model, **values):
    collection(model).insert_one({"_id": ID, **values})


def behind(model, change):
    """What changes the document without hive."""
    return lambda: collection(model).update_one({"_id": ID}, change)


def write(api, method, path, body=None, **headers):
    """A request; a list in its body is a JSON Patch."""
    kind = JSON_PATCH if isinstance(body, list) else JSON
    sent = {"Content-Type": kind} | {name.replace("_", "-"): text for name, text in headers.items()}
    return api.request(method, path, body=None if body is None else json.dumps(body), headers=sent)


def tag(api, path):
    return api.get(path).headers["Etag"]


def op(name, path, source=None, **more):
    return {"op": name, "path": path, **more} | ({} if source is None else {"from": source})


# Those who come in between


NARROW = {
    "only": lambda documents, handler: documents.only("name", "size"),
    "exclude": lambda documents, handler: documents.exclude("more"),
}
THINGS = flatten(
    [
        ModelHive.routes_for(OnsetThing, hidden=["hush"]),
        *(
            ModelHive.routes_for(OnsetThing, resource_name=f"onset_{name}", hidden=["hush"], scope=scope)
            for name, scope in NARROW.items()
        ),
    ]
)
THING, THING_PATH = {"name": "old", "size": 1, "more": "m", "hush": "h", "seen": 0}, f"/onset_thing/{ID}"
CHANGES = {
    "PUT": ("PUT", {"size": 2}),
    "PATCH": ("PATCH", {"size": 2}),
    "JSON Patch": ("PATCH", [op("replace", "/size", value=2)]),
}
PLAIN = {name: change for name, change in CHANGES.items() if name != "JSON Patch"}


@pytest.fixture
def things(database):
    insert(OnsetThing, **THING)
    with serve(THINGS) as api:
        yield api


@on_both
@pytest.mark.parametrize(
    ("scope", "change", "signal"),
    [
        pytest.param("only", "PUT", signals.pre_update_instance, id="only, PUT, before it is told"),
        pytest.param("only", "PATCH", mongoengine_signals.pre_save, id="only, PATCH, when it is saved"),
        pytest.param("only", "JSON Patch", signals.pre_update_instance, id="only, JSON Patch, before"),
        pytest.param("exclude", "PUT", mongoengine_signals.pre_save, id="exclude, PUT, when it is saved"),
        pytest.param("exclude", "JSON Patch", mongoengine_signals.pre_save, id="exclude, JSON Patch, saved"),
    ],
)
def test_if_match_holds_of_the_fields_that_a_scope_loads(things, scope, change, signal):
    method, body = CHANGES[change]
    path, rival = f"/onset_{scope}/{ID}", Rival(behind(OnsetThing, {"$set": {"name": "rival"}}))
    found = tag(things, path)
    with signal.connected_to(rival, sender=OnsetThing), recorded(*POSTS) as heard:
        answer = write(things, method, path, body, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    assert stored(OnsetThing) == {"_id": ID, **THING, "name": "rival"}
    assert heard == []


@pytest.mark.parametrize("given", [{}, {"If_Match": "*"}, {"If_Match": None}], ids=["none", "any", "tag"])
@pytest.mark.parametrize(("scope", "method"), [("only", "PUT"), ("exclude", "PATCH")])
def test_a_field_that_a_scope_leaves_out_can_be_set(things, scope, method, given):
    path = f"/onset_{scope}/{ID}"
    headers = {name: text or tag(things, path) for name, text in given.items()}
    assert write(things, method, path, {"more": "new"}, **headers).status == 200
    assert stored(OnsetThing) == {"_id": ID, **THING, "more": "new"}


@pytest.mark.parametrize(("method", "body"), PLAIN.values(), ids=PLAIN)
def test_a_handler_that_updates_its_own_document_keeps_nobody_from_writing(things, method, body):
    runs = []

    def see(sender, document, **_):
        runs.append(document)
        sender.objects(pk=document.pk).update(inc__seen=1)

    with mongoengine_signals.pre_save.connected_to(see, sender=OnsetThing):
        answer = write(things, method, THING_PATH, body)
    assert answer.status == 200, answer.body
    assert 1 <= len(runs) <= 10
    assert stored(OnsetThing) == {"_id": ID, **THING, "size": 2, "seen": len(runs)}


@pytest.mark.parametrize(("method", "body"), PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("is_matched", [False, True], ids=["whatever it is", "If-Match"])
def test_a_field_that_others_change_all_the_time(things, method, body, is_matched):
    rival = Rival(behind(OnsetThing, {"$inc": {"seen": 1}}), times=10**6)
    headers = {"If_Match": tag(things, THING_PATH)} if is_matched else {}
    with mongoengine_signals.pre_save.connected_to(rival, sender=OnsetThing), recorded(*POSTS) as heard:
        answer = write(things, method, THING_PATH, body, **headers)
    assert rival.came >= 1
    assert answer.status == (412 if is_matched else 200), answer.body
    size = 1 if is_matched else 2
    assert stored(OnsetThing) == {"_id": ID, **THING, "size": size, "seen": rival.came}
    assert [told.arguments["updated_fields"] for told in heard] == [{"size": {"from": 1, "to": 2}}] * (
        size - 1
    )


def test_what_a_json_patch_tests_holds_when_it_is_stored_whoever_changes_it_all_the_time(things, monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", 0.3)
    patch = [op("test", "/name", value="old"), op("replace", "/size", value=2)]
    rival = Rival(behind(OnsetThing, {"$inc": {"seen": 1}}), times=10**6)
    with mongoengine_signals.pre_save.connected_to(rival, sender=OnsetThing):
        answer = write(things, "PATCH", THING_PATH, patch)
    assert answer.status == 409, answer.body
    assert stored(OnsetThing)["size"] == 1


# Lists whose items have no name but their index


UNSORTED = [{"rank": 3, "name": "c", "hush": "C"}, {"rank": 1, "name": "a", "hush": "A"}]
ONE_ITEM = {
    "the first by index": ("/items/0", {"name": "new"}, 0, "name"),
    "the last by index": ("/items/1", {"name": "new"}, 1, "name"),
    "the first by JSON Patch": ("", [op("replace", "/items/0/name", value="new")], 0, "name"),
    "the last by JSON Patch": ("", [op("replace", "/items/1/name", value="new")], 1, "name"),
    "by a JSON Patch of the item": ("/items/0", [op("replace", "/name", value="new")], 0, "name"),
    "what it is sorted by": ("/items/0", {"rank": 0}, 0, "rank"),
    "what it is sorted by, by JSON Patch": ("", [op("replace", "/items/1/rank", value=9)], 1, "rank"),
}


@pytest.mark.parametrize(("part", "body", "index", "name"), ONE_ITEM.values(), ids=ONE_ITEM)
def test_the_item_that_is_meant_is_changed_where_the_list_is_not_in_order(
    mongodb_database, part, body, index, name
):
    insert(OnsetSorted, items=UNSORTED)
    with serve(ModelHive.routes_for(OnsetSorted, hidden=["items.hush"])) as api:
        path = f"/onset_sorted/{ID}"
        assert [item["name"] for item in api.get(path).json["items"]] == ["c", "a"]
        answer = write(api, "PATCH", path + part, body)
        assert answer.status == 200, answer.body
        if not part:
            assert answer.json == api.get(path).json
    value = body[name] if isinstance(body, dict) else body[0]["value"]
    items = [item | ({name: value} if at == index else {}) for at, item in enumerate(UNSORTED)]
    assert stored(OnsetSorted)["items"] == sorted(items, key=lambda item: item["rank"])


HELD = [{"name": name, "size": 1} for name in "abc"]
HOLDER_PATH = f"/onset_holder/{ID}"
TOUCHING = {
    "PUT": ("PUT", {"size": 9}),
    "PATCH": ("PATCH", {"size": 9}),
    "JSON Patch": ("PATCH", [op("replace", "/size", value=9)]),
    "DELETE": ("DELETE", None),
}
TAKING = {
    "before it is told": signals.pre_update_instance,
    "when it is saved": mongoengine_signals.pre_save,
    "when it is valid": mongoengine_signals.pre_save_post_validation,
}


@pytest.fixture
def holder(database):
    insert(OnsetHolder, items=HELD, n=1)
    with serve(ModelHive.routes_for(OnsetHolder)) as api:
        yield api


@pytest.mark.parametrize("signal", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize(("index", "touching"), list(zip([0, 1, 0, 1], TOUCHING, strict=True)))
def test_an_index_means_the_item_that_it_meant_at_first(holder, index, touching, signal):
    method, body = TOUCHING[touching]
    rival = Rival(behind(OnsetHolder, {"$pop": {"items": -1}}))
    with signal.connected_to(rival, sender=OnsetHolder), recorded(*POSTS) as heard:
        answer = write(holder, method, f"{HOLDER_PATH}/items/{index}", body)
    assert rival.came >= 1
    assert answer.status == 409, answer.body
    assert stored(OnsetHolder) == {"_id": ID, "items": HELD[1:], "n": 1}
    assert heard == []


def test_what_was_removed_is_told_as_it_was_when_it_was_removed(holder):
    rival = Rival(behind(OnsetHolder, {"$set": {"n": 2, "items.1.size": 7}}))
    with (
        mongoengine_signals.pre_save.connected_to(rival, sender=OnsetHolder),
        recorded(signals.post_delete_instance) as heard,
    ):
        assert holder.delete(f"{HOLDER_PATH}/items/1").status == 204
    assert rival.came >= 2
    assert [told.sender for told in heard] == [OnsetItem]
    gone = heard[0].arguments["instance"]
    assert (gone.name, gone.size) == ("b", 7)
    assert stored(OnsetHolder) == {"_id": ID, "items": [HELD[0], HELD[2]], "n": 2}


# Large documents


def test_a_large_text_is_replaced_by_another(mongodb_database):
    insert(OnsetText, text="a" * LARGE)
    with serve(ModelHive.routes_for(OnsetText), hive_body_limit=2**24) as api:
        answer = api.put(f"/onset_text/{ID}", json={"text": "b" * LARGE})
    assert answer.status == 200, answer.body[:200]
    assert stored(OnsetText)["text"] == "b" * LARGE
