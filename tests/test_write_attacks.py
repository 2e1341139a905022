"""What was tried against writes: none is lost, doubled, half done or told wrongly, whoever comes in between."""

import json
import time
from collections import Counter
from threading import Event, Semaphore

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, flatten, pool, signals
from hive.testing import recorded, serve

ID = ObjectId("65a000000000000000000001")
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
LARGE = 9 * 2**20
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
    """Is deleted when the test lets it."""

    name = me.StringField()
    may_go = Event()

    def delete(self, *args, **kwargs):
        assert self.may_go.wait(10)
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
    """Is stored when the request has said three times that it is still there."""

    name = me.StringField()
    beats = Semaphore(0)

    def save(self, *args, **kwargs):
        assert all(self.beats.acquire(timeout=10) for _ in range(3))
        return super().save(*args, **kwargs)


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
    "a copy that is changed": ({}, [op("copy", "/home", "/work"), op("replace", "/home/leaf/word", value="w")],
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
    "first at its place": [one for _ in range(MANY) for one in (op("remove", "/old/0"), op("add", "/old/0"))],
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


@pytest.mark.parametrize("options", [{}, {"transaction": True}], ids=["plain", "transaction"])
@pytest.mark.parametrize("name", ["slow", "late"])
@pytest.mark.parametrize(
    ("model", "method", "path", "body"),
    [
        pytest.param(OnsetSlow, "POST", "/onset_slow", {}, id="POST"),
        pytest.param(OnsetSlowKey, "POST", "/onset_slow_key", {"key": "k"}, id="POST of a key"),
        pytest.param(OnsetSlow, "PUT", f"/onset_slow/{ID}", {}, id="PUT"),
    ],
)
def test_nobody_is_told_that_nothing_was_done_when_it_was(
    mongodb_database, model, method, path, body, name, options
):
    insert(OnsetSlow, name="old")
    list(model.objects), list(OnsetLog.objects)
    routes = flatten(
        [ModelHive.routes_for(one, deadline=0.6, **options) for one in (OnsetSlow, OnsetSlowKey)]
    )
    with serve(routes) as api, recorded(*POSTS) as heard:
        answer = write(api, method, path, body | {"name": name})
    is_stored = model.objects(name=name).count() == 1
    assert is_stored is (name == "slow" and not options)
    assert answer.status in (200, 201, 503), answer.body
    done = answer.json["done"] if answer.status == 503 else True
    assert done is not (not is_stored)
    assert len(heard) == (1 if done else 0)
