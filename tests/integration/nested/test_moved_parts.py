"""JSON Patches that move or copy embedded documents: they go with all that they have, and leave nothing."""

import json
from collections import Counter

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, flatten
from hive.testing import serve
from tests.support.databases import on_mongomock

ID = ObjectId("65a000000000000000000001")
JSON_PATCH = "application/json-patch+json"


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


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def people(database):
    with serve(PEOPLE) as api:
        yield api


def collection():
    return OnsetPerson._get_collection()


def stored():
    """The document as MongoDB has it, without what is empty."""
    return {name: value for name, value in collection().find_one().items() if value not in ([], {})}


def patch(api, path, operations):
    return api.patch(path, body=json.dumps(operations), headers={"Content-Type": JSON_PATCH})


def op(name, path, source=None, **more):
    return {"op": name, "path": path, **more} | ({} if source is None else {"from": source})


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
    collection().insert_one(kept(PERSON | start))
    answer = patch(people, PERSON_PATH, operations)
    assert answer.status == 200, answer.body
    assert answer.json == shown(PERSON | start | then)
    assert people.get(PERSON_PATH).json == answer.json
    assert stored() == kept(PERSON | start | then)


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


def ways(paths, pairs):
    """Each move of a pair by one of the paths, and the copy by the other."""
    return [
        pytest.param(name, paths[option], source, target, id=f"{name} {source} to {target}, {option}")
        for number, (source, target) in enumerate(pairs)
        for name, option in zip(("move", "copy"), list(paths)[:: -1 if number % 2 else 1], strict=True)
    ]


def at(document, path):
    """What is at a path; of a list the last item for ``-``."""
    for name in path.split("/")[1:]:
        document = document[int(name.replace("-", "-1"))] if isinstance(document, list) else document[name]
    return document


@on_mongomock
@pytest.mark.parametrize(
    ("name", "path", "source", "target"), ways({"hidden": HIDING, "write-only": VEILED}, OUT)
)
def test_what_clients_do_not_see_stays_behind(people, name, path, source, target):
    collection().insert_one(kept(PERSON))
    secret = at(PERSON, source)["pin"]
    answer = patch(people, path, [op(name, target, source)])
    assert answer.status == 200, answer.body
    assert secret not in answer.body.decode() + people.get(path).body.decode()
    open_ones = {key: value for key, value in stored().items() if key not in ("home", "old", "_id")}
    assert secret not in json.dumps(open_ones)
    assert at(stored(), target) == pruned(at(PERSON, source) | {"pin": None})


@on_mongomock
@pytest.mark.parametrize(
    ("name", "path", "source", "target"), ways({"hidden": HIDING, "read-only": FIXED}, INTO)
)
def test_what_clients_cannot_set_does_not_come_from_elsewhere(people, name, path, source, target):
    collection().insert_one(kept(PERSON))
    answer = patch(people, path, [op(name, target, source)])
    assert answer.status == 400, answer.body
    assert stored() == kept(PERSON)


@pytest.mark.parametrize(("source", "target"), INTO, ids=arrows(INTO))
def test_what_is_written_only_comes_from_elsewhere_and_is_not_shown(people, source, target):
    collection().insert_one(kept(PERSON))
    answer = patch(people, VEILED, [op("copy", target, source)])
    assert answer.status == 200, answer.body
    assert "pin" not in at(answer.json, target)
    assert at(stored(), target) == at(PERSON, source)


MANY = 100
RENEWED = {
    "one after another": [one for _ in range(MANY) for one in (op("remove", "/old/0"), op("add", "/old/-"))],
    "each at its place": [
        one for index in range(MANY) for one in (op("remove", f"/old/{index}"), op("add", f"/old/{index}"))
    ],
    "all at once": [op("remove", "/old/0")] * MANY + [op("add", "/old/-")] * MANY,
    "by replacing": [op("replace", f"/old/{index}") for index in range(MANY)],
    "as a whole": [op("replace", "/old")],
}


@on_mongomock
@pytest.mark.parametrize("operations", RENEWED.values(), ids=RENEWED)
def test_a_new_item_has_nothing_of_one_that_is_gone(people, operations):
    last = place("last")
    collection().insert_one(kept(PERSON | {"old": [*(place(f"city {n}") for n in range(MANY)), last]}))
    news = {"/old": [{"city": "new"}] * MANY + [{"city": "last"}]}
    given = [
        one if one["op"] == "remove" else one | {"value": news.get(one["path"], {"city": "new"})}
        for one in operations
    ]
    answer = patch(people, BURIED, given)
    assert answer.status == 200, answer.body
    found = stored()["old"]
    assert Counter(item["city"] for item in found) == {"new": MANY, "last": 1}
    assert [item for item in found if item["city"] == "new"] == [{"city": "new"}] * MANY
    if operations is not RENEWED["as a whole"]:  # where nobody can tell which was which
        assert last in found


@on_mongomock
def test_a_new_value_of_a_map_has_nothing_of_one_that_is_gone(people):
    people_at = {f"k{n}": place(f"city {n}") for n in range(MANY)}
    collection().insert_one(kept(PERSON | {"by_key": people_at}))
    value = {"city": "new", "leaf": None}
    operations = [
        one for key in people_at for one in (op("remove", f"/by_key/{key}"), op("add", f"/by_key/{key}x"))
    ]
    given = [one if one["op"] == "remove" else one | {"value": value} for one in operations]
    assert patch(people, BURIED, given).status == 200
    assert stored()["by_key"] == {f"{key}x": {"city": "new"} for key in people_at}
