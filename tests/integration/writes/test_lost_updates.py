"""What was tried against writes: none is lost, doubled, half done or told wrongly, whoever comes between."""

import json
import time
from collections import Counter
from threading import Event, Lock, Semaphore

import mongoengine as me
import pytest
from bson import ObjectId
from mongoengine import signals as mongoengine_signals
from tornado.web import Application

from hive import ModelHive, flatten, idempotency, pool, preconditions, signals, storage
from hive.testing import recorded, serve
from tests.support.threads import at_once

ID = ObjectId("65a000000000000000000001")
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
LARGE = 7 * 2**20
POSTS = (signals.post_create_instance, signals.post_update_instance, signals.post_delete_instance)


class OnsetLeaf(me.EmbeddedDocument):
    word = me.StringField()


class OnsetPlace(me.EmbeddedDocument):
    city = me.StringField()
    pin = me.StringField()
    leaf = me.EmbeddedDocumentField(OnsetLeaf)


class OnsetPerson(me.Document):
    """With places of one class, which may have different options in each of their fields."""

    name = me.StringField()
    home = me.EmbeddedDocumentField(OnsetPlace)
    work = me.EmbeddedDocumentField(OnsetPlace)
    leaf = me.EmbeddedDocumentField(OnsetLeaf)
    old = me.EmbeddedDocumentListField(OnsetPlace)
    new = me.EmbeddedDocumentListField(OnsetPlace)
    by_key = me.MapField(me.EmbeddedDocumentField(OnsetPlace))


class OnsetLog(me.Document):
    text = me.StringField()


class OnsetSlowly(me.Document):
    """Stores something more, when the time of the request is up; or all of it then."""

    meta = {"abstract": True}
    name = me.StringField()

    def save(self, *args, **kwargs):
        if self.name == "late":
            overrun()
        result = super().save(*args, **kwargs)
        if self.name == "slow":
            overrun()
            OnsetLog(text="slow").save()
        return result


class OnsetSlow(OnsetSlowly):
    pass


class OnsetSlowKey(OnsetSlowly):
    key = me.StringField(primary_key=True)


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


class OnsetWaiting(me.Document):
    """Is deleted when all who want that are there, unless a second one deletes it at the same time."""

    name = me.StringField()
    may_go, lock, deleting, is_second = Event(), Lock(), [], Event()

    def delete(self, *args, **kwargs):
        with self.lock:
            self.deleting.append(self)
            if len(self.deleting) > 1:
                self.is_second.set()
        assert self.may_go.wait(10)
        self.is_second.wait(0.2)  # which nobody sets where they go one after another
        super().delete(*args, **kwargs)


class OnsetNumber(me.Document):
    n = me.IntField()


class OnsetIdle(me.Document):
    name = me.StringField()

    def save(self, *args, **kwargs):
        return self


class OnsetIdleNamed(me.Document):
    key = me.StringField(primary_key=True)

    def save(self, *args, **kwargs):
        return self


class OnsetText(me.Document):
    text = me.StringField()


class OnsetCounted(me.Document):
    """Counts its versions where save() does not see it."""

    name = me.StringField()
    version = me.IntField(default=0)

    def save(self, *args, **kwargs):
        result = super().save(*args, **kwargs)
        count(type(self), self)
        return result


class OnsetHeard(me.Document):
    """The same by a signal."""

    name = me.StringField()
    version = me.IntField(default=0)


class OnsetBeaten(me.Document):
    """Keeps its transaction open until the request has said three times that it is still there."""

    name = me.StringField()
    beats = Semaphore(0)

    def save(self, *args, **kwargs):
        result = super().save(*args, **kwargs)
        while self.beats.acquire(blocking=False):
            pass  # for only those count that come while the transaction is open
        assert all(self.beats.acquire(timeout=10) for _ in range(3))
        return result


class Rival:
    """A receiver that does something behind hive's back, at first or each time that it is called."""

    def __init__(self, act, times=1):
        self.act, self.times, self.came = act, times, 0

    def __call__(self, sender, **_):
        self.came += 1
        if self.came <= self.times:
            self.act()


def overrun():
    """Take longer than the request has."""
    time.sleep(max(pool.end() - time.monotonic(), 0) + 0.02)


def count(sender, document, **_):
    sender.objects(pk=document.pk).update(inc__version=1)


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


# Embedded documents that move


def place(city, **more):
    return {"city": city, "pin": f"pin of {city}", "leaf": {"word": f"leaf of {city}"}} | more


PERSON = {
    "name": "Ann", "home": place("Rome"), "work": place("Oslo"), "leaf": {"word": "own"},
    "old": [place("Bern"), place("Kyiv")], "new": [place("Lima")], "by_key": {"k": place("Baku")},
}  # fmt: skip
PERSON_PATH, HIDING, FIXED, VEILED, BURIED = (
    f"/{name}/{ID}"
    for name in ("onset_person", "onset_hiding", "onset_fixed", "onset_veiled", "onset_buried")
)
SHUT = ["home.pin", "old.pin"]
PEOPLE = flatten(
    [
        ModelHive.routes_for(OnsetPerson),
        ModelHive.routes_for(OnsetPerson, resource_name="onset_hiding", hidden=SHUT),
        ModelHive.routes_for(OnsetPerson, resource_name="onset_fixed", read_only=SHUT),
        ModelHive.routes_for(OnsetPerson, resource_name="onset_veiled", write_only=SHUT),
        ModelHive.routes_for(
            OnsetPerson, resource_name="onset_buried", hidden=["old.pin", "old.leaf", "by_key.pin"]
        ),
    ]
)


@pytest.fixture
def people(database):
    with serve(PEOPLE) as api:
        yield api


MOVES = {
    "to one that is there": ({}, [op("move", "/home", "/work")], {"home": place("Oslo"), "work": None}),
    "to one that is not": ({"home": None}, [op("move", "/home", "/work")],
                           {"home": place("Oslo"), "work": None}),
    "to one that is removed": ({}, [op("remove", "/home"), op("move", "/home", "/work")],
                               {"home": place("Oslo"), "work": None}),
    "and change it": ({}, [op("move", "/home", "/work"), op("replace", "/home/city", value="Wien")],
                      {"home": place("Oslo") | {"city": "Wien"}, "work": None}),
    "change it first": ({}, [op("replace", "/work/leaf/word", value="w"), op("move", "/home", "/work")],
                        {"home": place("Oslo", leaf={"word": "w"}), "work": None}),
    "from a list": ({}, [op("move", "/work", "/old/0")], {"work": place("Bern"), "old": [place("Kyiv")]}),
    "from a list to one that is not": ({"work": None}, [op("move", "/work", "/old/1")],
                                       {"work": place("Kyiv"), "old": [place("Bern")]}),
    "the last of a list": ({}, [op("move", "/work", "/new/0")], {"work": place("Lima"), "new": []}),
    "to the end of a list": ({}, [op("move", "/old/-", "/work")],
                             {"work": None, "old": [place("Bern"), place("Kyiv"), place("Oslo")]}),
    "into a list": ({}, [op("move", "/old/1", "/work")],
                    {"work": None, "old": [place("Bern"), place("Oslo"), place("Kyiv")]}),
    "into an empty list": ({"new": []}, [op("move", "/new/0", "/work")],
                           {"work": None, "new": [place("Oslo")]}),
    "from list to list": ({}, [op("move", "/new/0", "/old/1")],
                          {"old": [place("Bern")], "new": [place("Kyiv"), place("Lima")]}),
    "within a list": ({}, [op("move", "/old/0", "/old/1")], {"old": [place("Kyiv"), place("Bern")]}),
    "into a map": ({}, [op("move", "/by_key/new", "/work")],
                   {"work": None, "by_key": {"k": place("Baku"), "new": place("Oslo")}}),
    "onto a key of a map": ({}, [op("move", "/by_key/k", "/work")],
                            {"work": None, "by_key": {"k": place("Oslo")}}),
    "from a map": ({}, [op("move", "/work", "/by_key/k")], {"work": place("Baku"), "by_key": {}}),
    "from key to key": ({}, [op("move", "/by_key/other", "/by_key/k")], {"by_key": {"other": place("Baku")}}),
    "from a map to a list": ({}, [op("move", "/old/0", "/by_key/k")],
                             {"by_key": {}, "old": [place("Baku"), place("Bern"), place("Kyiv")]}),
    "out of an embedded one": ({}, [op("move", "/leaf", "/work/leaf")],
                               {"leaf": {"word": "leaf of Oslo"}, "work": place("Oslo", leaf=None)}),
    "into an item": ({}, [op("move", "/old/1/leaf", "/leaf")],
                     {"leaf": None, "old": [place("Bern"), place("Kyiv", leaf={"word": "own"})]}),
    "two that change places": ({}, [op("move", "/by_key/t", "/work"), op("move", "/work", "/home"),
                                    op("move", "/home", "/by_key/t")],
                               {"home": place("Oslo"), "work": place("Rome")}),
    "there and back": ({}, [op("move", "/old/-", "/work"), op("move", "/work", "/old/2")], {}),
    "a copy": ({}, [op("copy", "/home", "/work")], {"home": place("Oslo")}),
    "a copy that is changed": ({}, [op("copy", "/home", "/work"),
                                    op("replace", "/home/leaf/word", value="w")],
                               {"home": place("Oslo", leaf={"word": "w"})}),
    "a copy in the same list": ({}, [op("copy", "/old/-", "/old/0"), op("replace", "/old/2/pin", value="p")],
                                {"old": [place("Bern"), place("Kyiv"), place("Bern", pin="p")]}),
}  # fmt: skip


def shown(document):
    """What a stored document without these fields is for a client."""
    return {"id": str(ID)} | document


def kept(document):
    """What MongoDB has of it: nothing of what is empty."""
    return {"_id": ID} | {
        name: pruned(value) for name, value in document.items() if value not in (None, [], {})
    }


def pruned(value):
    if isinstance(value, list):
        return [pruned(item) for item in value]
    if isinstance(value, dict):
        return {name: pruned(item) for name, item in value.items() if item is not None}
    return value


@pytest.mark.parametrize(("start", "operations", "then"), MOVES.values(), ids=MOVES)
def test_what_is_moved_or_copied_is_there_and_no_more_here(people, start, operations, then):
    collection(OnsetPerson).insert_one(kept(PERSON | start))
    answer = write(people, "PATCH", PERSON_PATH, operations)
    assert answer.status == 200, answer.body
    assert answer.json == shown(PERSON | start | then)
    assert people.get(PERSON_PATH).json == answer.json
    assert stored(OnsetPerson) == kept(PERSON | start | then)


OUT = [
    ("/home", "/work"), ("/home", "/new/-"), ("/home", "/by_key/x"), ("/home", "/by_key/k"),
    ("/old/0", "/new/0"), ("/old/0", "/work"), ("/old/0", "/by_key/k"), ("/old/1", "/by_key/x"),
]  # fmt: skip
INTO = [
    ("/work", "/home"), ("/work", "/old/0"), ("/work", "/old/-"), ("/new/0", "/old/1"),
    ("/new/0", "/home"), ("/by_key/k", "/home"), ("/by_key/k", "/old/-"),
]  # fmt: skip


def arrows(pairs):
    return [f"{source} to {target}" for source, target in pairs]


def at(document, path):
    """What is at a path; of a list the last item for ``-``."""
    for name in path.split("/")[1:]:
        document = document[int(name.replace("-", "-1"))] if isinstance(document, list) else document[name]
    return document


@pytest.mark.parametrize("name", ["move", "copy"])
@pytest.mark.parametrize("path", [HIDING, VEILED], ids=["hidden", "write-only"])
@pytest.mark.parametrize(("source", "target"), OUT, ids=arrows(OUT))
def test_what_clients_do_not_see_stays_behind(people, path, name, source, target):
    collection(OnsetPerson).insert_one(kept(PERSON))
    secret = at(PERSON, source)["pin"]
    answer = write(people, "PATCH", path, [op(name, target, source)])
    assert answer.status == 200, answer.body
    assert secret not in answer.body.decode() + people.get(path).body.decode()
    open_ones = {
        key: value for key, value in stored(OnsetPerson).items() if key not in ("home", "old", "_id")
    }
    assert secret not in json.dumps(open_ones)
    assert at(stored(OnsetPerson), target) == pruned(at(PERSON, source) | {"pin": None})


@pytest.mark.parametrize("name", ["move", "copy"])
@pytest.mark.parametrize("path", [HIDING, FIXED], ids=["hidden", "read-only"])
@pytest.mark.parametrize(("source", "target"), INTO, ids=arrows(INTO))
def test_what_clients_cannot_set_does_not_come_from_elsewhere(people, path, name, source, target):
    collection(OnsetPerson).insert_one(kept(PERSON))
    answer = write(people, "PATCH", path, [op(name, target, source)])
    assert answer.status == 400, answer.body
    assert stored(OnsetPerson) == kept(PERSON)


@pytest.mark.parametrize(("source", "target"), INTO, ids=arrows(INTO))
def test_what_is_written_only_comes_from_elsewhere_and_is_not_shown(people, source, target):
    collection(OnsetPerson).insert_one(kept(PERSON))
    answer = write(people, "PATCH", VEILED, [op("copy", target, source)])
    assert answer.status == 200, answer.body
    assert "pin" not in at(answer.json, target)
    assert at(stored(OnsetPerson), target) == at(PERSON, source)


MANY = 300
RENEWED = {
    "one after another": [one for _ in range(MANY) for one in (op("remove", "/old/0"), op("add", "/old/-"))],
    "each at its place": [
        one for index in range(MANY) for one in (op("remove", f"/old/{index}"), op("add", f"/old/{index}"))
    ],
    "all at once": [op("remove", "/old/0")] * MANY + [op("add", "/old/-")] * MANY,
    "by replacing": [op("replace", f"/old/{index}") for index in range(MANY)],
    "as a whole": [op("replace", "/old")],
}


@pytest.mark.parametrize("operations", RENEWED.values(), ids=RENEWED)
def test_a_new_item_has_nothing_of_one_that_is_gone(people, operations):
    last = place("last")
    collection(OnsetPerson).insert_one(
        kept(PERSON | {"old": [*(place(f"city {n}") for n in range(MANY)), last]})
    )
    news = {"/old": [{"city": "new"}] * MANY + [{"city": "last"}]}
    given = [
        one if one["op"] == "remove" else one | {"value": news.get(one["path"], {"city": "new"})}
        for one in operations
    ]
    answer = write(people, "PATCH", BURIED, given)
    assert answer.status == 200, answer.body
    found = stored(OnsetPerson)["old"]
    assert Counter(item["city"] for item in found) == {"new": MANY, "last": 1}
    assert [item for item in found if item["city"] == "new"] == [{"city": "new"}] * MANY
    if operations is not RENEWED["as a whole"]:  # where nobody can tell which was which
        assert last in found


def test_a_new_value_of_a_map_has_nothing_of_one_that_is_gone(people):
    people_at = {f"k{n}": place(f"city {n}") for n in range(MANY)}
    collection(OnsetPerson).insert_one(kept(PERSON | {"by_key": people_at}))
    value = {"city": "new", "leaf": None}
    operations = [
        one for key in people_at for one in (op("remove", f"/by_key/{key}"), op("add", f"/by_key/{key}x"))
    ]
    given = [one if one["op"] == "remove" else one | {"value": value} for one in operations]
    assert write(people, "PATCH", BURIED, given).status == 200
    assert stored(OnsetPerson)["by_key"] == {f"{key}x": {"city": "new"} for key in people_at}


# Those that take too long


SLOW = {
    "POST": (OnsetSlow, "POST", "/onset_slow", {}),
    "POST of a key": (OnsetSlowKey, "POST", "/onset_slow_key", {"key": "k"}),
    "PUT": (OnsetSlow, "PUT", f"/onset_slow/{ID}", {}),
}


@pytest.mark.parametrize("name", ["slow", "late"])
@pytest.mark.parametrize("way", SLOW)
def test_nobody_is_told_that_nothing_was_done_when_it_was(mongodb_database, way, name):
    model, method, path, body = SLOW[way]
    insert(OnsetSlow, name="old")
    list(model.objects), list(OnsetLog.objects)
    routes = flatten([ModelHive.routes_for(one, deadline=0.6) for one in (OnsetSlow, OnsetSlowKey)])
    with serve(routes) as api, recorded(*POSTS) as heard:
        answer = write(api, method, path, body | {"name": name})
    is_stored = model.objects(name=name).count() == 1
    assert is_stored is (name == "slow")
    assert answer.status in (200, 201, 503), answer.body
    done = answer.json["done"] if answer.status == 503 else True
    assert done is not (not is_stored)
    assert len(heard) == (1 if done else 0)


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


@pytest.mark.parametrize("signal", [signals.pre_update_instance, mongoengine_signals.pre_save],
                         ids=["before it is told", "when it is saved"])  # fmt: skip
@pytest.mark.parametrize(("method", "body"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("scope", NARROW)
def test_if_match_holds_of_the_fields_that_a_scope_loads(things, scope, method, body, signal):
    path, rival = f"/onset_{scope}/{ID}", Rival(behind(OnsetThing, {"$set": {"name": "rival"}}))
    found = tag(things, path)
    with signal.connected_to(rival, sender=OnsetThing), recorded(*POSTS) as heard:
        answer = write(things, method, path, body, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    assert stored(OnsetThing) == {"_id": ID, **THING, "name": "rival"}
    assert heard == []


@pytest.mark.parametrize("given", [{}, {"If_Match": "*"}, {"If_Match": None}], ids=["none", "any", "tag"])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("scope", NARROW)
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
def test_the_item_that_is_meant_is_changed_where_the_list_is_not_in_order(database, part, body, index, name):
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
    "before it is told": (signals.pre_update_instance, OnsetHolder),
    "when it is saved": (mongoengine_signals.pre_save, OnsetHolder),
    "when it is valid": (mongoengine_signals.pre_save_post_validation, OnsetHolder),
}


@pytest.fixture
def holder(database):
    insert(OnsetHolder, items=HELD, n=1)
    with serve(ModelHive.routes_for(OnsetHolder)) as api:
        yield api


@pytest.mark.parametrize(("signal", "sender"), TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("touching", TOUCHING)
@pytest.mark.parametrize("index", [0, 1])
def test_an_index_means_the_item_that_it_meant_at_first(holder, index, touching, signal, sender):
    method, body = TOUCHING[touching]
    rival = Rival(behind(OnsetHolder, {"$pop": {"items": -1}}))
    with signal.connected_to(rival, sender=sender), recorded(*POSTS) as heard:
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


# Code of the application


@pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}], ids=["whatever it is", "If-Match"])
def test_of_several_who_delete_a_document_one_does(database, monkeypatch, headers):
    arrived = []
    for name, value in {"may_go": Event(), "deleting": [], "is_second": Event()}.items():
        monkeypatch.setattr(OnsetWaiting, name, value)
    monkeypatch.setattr(storage, "COURTESY", 0.01)
    insert(OnsetWaiting, name="x")
    path = f"/onset_waiting/{ID}"

    def arrive(sender, **_):
        arrived.append(sender)
        if len(arrived) == 3:
            OnsetWaiting.may_go.set()

    with (
        serve(ModelHive.routes_for(OnsetWaiting)) as api,
        signals.pre_delete_instance.connected_to(arrive, sender=OnsetWaiting),
        recorded(signals.post_delete_instance) as heard,
    ):
        replies = at_once([lambda: api.delete(path, headers=headers)] * 3)
    assert sorted(reply.status for reply in replies) == [204, 404, 404]
    assert [told.arguments["instance"].pk for told in heard] == [ID]
    assert collection(OnsetWaiting).count_documents({}) == 0


def test_a_receiver_that_fails_for_one_of_many_keeps_the_others_from_nothing(database):
    def refuse(sender, handler, **_):
        if handler.values["n"] == 600:
            raise RuntimeError("a mistake")

    with (
        serve(ModelHive.routes_for(OnsetNumber)) as api,
        signals.pre_create_instance.connected_to(refuse, sender=OnsetNumber),
        recorded(signals.post_create_instance) as heard,
    ):
        body = [{"n": n} for n in range(700)]
        answer = api.post("/onset_number", json=body, headers={"Prefer": "transaction=no"})
    assert answer.status == 207
    assert [result["status"] for result in answer.json] == [500 if n == 600 else 201 for n in range(700)]
    assert b"a mistake" not in answer.body
    others = [n for n in range(700) if n != 600]
    assert sorted(found["n"] for found in collection(OnsetNumber).find()) == others
    assert sorted(told.arguments["instance"].n for told in heard) == others


@pytest.mark.parametrize(
    ("model", "path", "body"),
    [
        pytest.param(OnsetIdle, "/onset_idle", {"name": "x"}, id="its own key"),
        pytest.param(OnsetIdleNamed, "/onset_idle_named", {"key": "k"}, id="a key of the client"),
    ],
)
def test_nothing_is_told_of_what_was_not_stored(database, model, path, body):
    with serve(ModelHive.routes_for(model)) as api, recorded(signals.post_create_instance) as heard:
        assert api.post(path, json=body).status == 500
    assert collection(model).count_documents({}) == 0
    assert heard == []


@pytest.mark.parametrize("model", [OnsetCounted, OnsetHeard], ids=["save", "post_save"])
@pytest.mark.parametrize("is_keyed", [False, True], ids=["transaction", "with a key"])
def test_in_a_transaction_all_that_was_done_to_a_document_is_told(mongodb_database, model, is_keyed):
    options = {} if is_keyed else {"transaction": True}
    keys = [{"Idempotency-Key": f"key-{n}"} if is_keyed else {} for n in range(2)]
    with (
        mongoengine_signals.post_save.connected_to(count, sender=OnsetHeard),
        serve(ModelHive.routes_for(model, **options)) as api,
        recorded(signals.post_update_instance) as heard,
    ):
        root = "/onset_counted" if model is OnsetCounted else "/onset_heard"
        made = api.post(root, json={"name": "x"}, headers=keys[0])
        assert made.status == 201, made.body
        path = f"{root}/{made.json['id']}"
        read = api.get(path)
        assert made.json == read.json == {"id": made.json["id"], "name": "x", "version": 1}
        assert made.headers["Etag"] == read.headers["Etag"]
        put = api.patch(path, json={"name": "y"}, headers=keys[1])
        assert put.status == 200, put.body
        read = api.get(path)
        assert put.json == read.json == {"id": made.json["id"], "name": "y", "version": 2}
        assert put.headers["Etag"] == read.headers["Etag"]
    told = {"name": {"from": "x", "to": "y"}, "version": {"from": 1, "to": 2}}
    assert [one.arguments["updated_fields"] for one in heard] == [told]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_transaction_with_a_key_may_take_longer_than_a_beat(mongodb_database, monkeypatch, method):
    beats, beat = Semaphore(0), idempotency.Claim.beat

    def beaten(claim):
        beat(claim)
        if collection(OnsetBeaten).database[idempotency.COLLECTION].find_one({"beat": {"$gte": 1}}):
            beats.release()

    monkeypatch.setattr(idempotency, "BEAT", 0.01)
    monkeypatch.setattr(idempotency.Claim, "beat", beaten)
    monkeypatch.setattr(OnsetBeaten, "beats", beats)
    insert(OnsetBeaten, name="old")
    list(OnsetBeaten.objects)
    path = "/onset_beaten" if method == "POST" else f"/onset_beaten/{ID}"
    headers = {"Idempotency-Key": "key"}
    with serve(ModelHive.routes_for(OnsetBeaten)) as api, recorded(*POSTS) as heard:
        answer = api.request(method, path, json={"name": "new"}, headers=headers)
        assert answer.status == (201 if method == "POST" else 200), answer.body
        assert OnsetBeaten.objects(name="new").count() == 1
        again = api.request(method, path, json={"name": "new"}, headers=headers)
    assert (again.status, again.body) == (answer.status, answer.body)
    assert OnsetBeaten.objects(name="new").count() == 1
    assert len(heard) == 1


# What goes over the wire


def test_a_large_text_is_replaced_by_another(mongodb_database):
    insert(OnsetText, text="a" * LARGE)
    with serve(ModelHive.routes_for(OnsetText), hive_body_limit=2**24) as api:
        answer = api.put(f"/onset_text/{ID}", json={"text": "b" * LARGE})
    assert answer.status == 200, answer.body[:200]
    assert stored(OnsetText)["text"] == "b" * LARGE


@pytest.mark.parametrize(
    "blanks", [" " * 1000, "\r\n\t " * 250, "\n" * 200_000], ids=["1,000", "mixed", "many"]
)
def test_an_array_is_one_whatever_blanks_are_before_it(mongodb_database, blanks):
    with serve(ModelHive.routes_for(OnsetNumber)) as api:
        body = f'{blanks}[{{"n": 1}}, {{"n": 2}}]'
        answer = api.post("/onset_number", body=body, headers={"Content-Type": JSON})
    assert answer.status == 201, answer.body
    assert len(answer.json) == 2
    assert sorted(found["n"] for found in collection(OnsetNumber).find()) == [1, 2]


def state(reply):
    return reply.headers["Etag"].strip('"').partition("-")[0]


def test_a_tag_tells_nothing_of_what_is_hidden_to_those_who_try(database):
    insert(OnsetThing, **THING)
    plain = preconditions.state_of(collection(OnsetThing).find_one())
    one, same, other = (Application(THINGS, cookie_secret=letter * 40) for letter in "aab")
    with serve(one) as first, serve(same) as second, serve(other) as third:
        states = [state(api.get(THING_PATH)) for api in (first, second, third)]
        assert plain not in states
        assert states[0] == states[1] != states[2]
        guess = write(first, "PUT", THING_PATH, {"size": 2}, If_Match=f'"{plain}-{"0" * 16}"')
        assert guess.status == 412, guess.body
        answer = write(second, "PUT", THING_PATH, {"size": 2}, If_Match=tag(first, THING_PATH))
        assert answer.status == 200, answer.body
        assert state(answer) == state(first.get(THING_PATH))
        assert state(answer) != preconditions.state_of(collection(OnsetThing).find_one())
