"""Dynamic documents have fields of any name, except those that mean something else."""

import mongoengine as me
import pytest

from hive import ModelHive, signals
from hive.testing import recorded, serve


class Extra(me.DynamicEmbeddedDocument):
    label = me.StringField()


class FreeForm(me.DynamicDocument):
    name = me.StringField(db_field="n")
    locked = me.StringField(db_field="l")
    kind = me.StringField(choices=["a", "b"])
    extra = me.EmbeddedDocumentField(Extra)


ROUTES = ModelHive.routes_for(FreeForm, read_only=["locked", "stamp"], hidden=["inner", "map.secret"])


@pytest.fixture
def free(mongodb_database):
    with serve(ROUTES) as client:
        yield client


def test_a_dynamic_document_takes_any_name_and_any_json(free):
    body = {
        "name": "x",
        "with space": 1,
        "list": [1, {"a": None}],
        "obj": {"b": True},
        "extra": {"label": "l", "more": [1]},
    }
    created = free.post("/free_form", json=body)
    assert created.status == 201, created.body
    assert body.items() <= created.json.items()
    assert free.get(created.headers["Location"]).json == created.json
    with recorded(signals.post_update_instance) as heard:
        answer = free.put(created.headers["Location"], json=created.json)
    assert (answer.json, heard[0].arguments["updated_fields"]) == (created.json, {})
    assert FreeForm.objects.first().extra.more == [1]


def test_a_name_that_means_something_else_is_400_and_stores_nothing(free):
    path = free.post("/free_form", json={"name": "x", "extra": {"label": "y"}}).headers["Location"]
    before = FreeForm.objects.as_pymongo().first()
    for method, where in [("POST", "/free_form"), ("PUT", path), ("PATCH", path)]:
        for name in ("save", "_id", "a.b", "n", "stamp", "inner"):
            answer = free.request(method, where, json={name: "evil"})
            assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (400, [name])
    for name in ("_cls", "validate", "$x"):
        answer = free.put(path, json={"extra": {name: "evil"}})
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, f"extra.{name}")
    assert list(FreeForm.objects.as_pymongo()) == [before]


def test_names_of_methods_that_embedded_documents_do_not_have_are_theirs(free):
    path = free.post("/free_form", json={"extra": {"label": "y"}}).headers["Location"]
    for name in ("objects", "pk", "save", "delete", "update", "reload"):
        answer = free.put(path, json={"extra": {name: "fine"}})
        assert (answer.status, answer.json["extra"][name]) == (200, "fine")
        assert free.get(path).json == answer.json


def test_null_removes_what_a_dynamic_document_has(free):
    created = free.post("/free_form", json={"a": 1, "b": 2, "c": None, "extra": {"x": 1, "y": 2}})
    assert "c" not in created.json
    path = created.headers["Location"]
    for method, name in [("PUT", "a"), ("PATCH", "b")]:
        with recorded(signals.post_update_instance) as heard:
            answer = free.request(method, path, json={name: None})
        assert answer.status == 200
        assert name not in answer.json
        assert heard[0].arguments["updated_fields"].keys() == {name}
    for method, name in [("PUT", "x"), ("PATCH", "y")]:
        answer = free.request(method, path, json={"extra": {name: None}})
        assert name not in answer.json["extra"]
        assert free.get(path).json == answer.json
    raw = FreeForm.objects.as_pymongo().first()
    assert raw.keys() == {"_id"} | ({"extra"} & raw.keys())
    assert not raw.get("extra")


def test_a_merge_patch_merges_dynamic_objects(free):
    path = free.post("/free_form", json={"obj": {"a": 1, "b": {"c": 2, "d": 3}}}).headers["Location"]
    answer = free.patch(path, json={"obj": {"b": {"c": None, "e": [None]}, "f": {"g": None}}})
    assert answer.json["obj"] == {"a": 1, "b": {"d": 3, "e": [None]}, "f": {}}
    assert free.get(path).json == answer.json


@pytest.mark.parametrize("empty", ["", [], {}])
def test_what_is_empty_is_removed_by_an_update_of_a_dynamic_document_as_mongoengine_does(free, empty):
    created = free.post("/free_form", json={"a": empty, "extra": {"b": 1}})
    path = created.headers["Location"]
    assert created.json["a"] == empty
    assert free.put(path, json=created.json).json == created.json
    assert "b" not in free.put(path, json={"b": empty}).json
    assert free.put(path, json={"a": 1, "extra": {"b": empty}}).json["extra"]["b"] == empty
    answer = free.put(path, json={"a": empty})
    assert "a" not in answer.json
    assert free.get(path).json == answer.json


def test_hidden_names_of_a_dynamic_document_stay_hidden(free):
    FreeForm(inner="secret", map={"secret": 1, "open": 2}, stamp="s").save()
    [shown] = free.get("/free_form").json
    assert "inner" not in shown
    assert shown["map"] == {"open": 2}
    assert free.put(f"/free_form/{shown['id']}", json=shown).status == 200


def test_what_mongoengine_alone_can_make_of_a_dynamic_field_can_be_sent_back(free):
    document = FreeForm(thing=Extra(label="x"), things=[Extra(label="y")]).save()
    path = f"/free_form/{document.pk}"
    read = free.get(path)
    assert read.status == 200
    with recorded(signals.post_update_instance) as heard:
        answer = free.put(path, json=read.json | {"name": "new"})
    assert answer.status == 200, answer.body
    assert heard[0].arguments["updated_fields"] == {"name": {"from": None, "to": "new"}}
    assert free.put(path, json={"thing": {"_cls": "Extra", "label": "y"}}).status == 400
