"""Documents and embedded documents of subclasses, by the `_cls` of a body."""

import mongoengine as me
import pytest

from hive import ModelHive, signals
from hive.testing import recorded, serve


class Breeder(me.Document):
    name = me.StringField()


class Creature(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class Greyhound(Creature):
    tricks = me.ListField(me.StringField())


class Whelp(Greyhound):
    weeks = me.IntField()


class Shape(me.EmbeddedDocument):
    meta = {"allow_inheritance": True}
    color = me.StringField()


class Circle(Shape):
    radius = me.FloatField()


class Square(Shape):
    side = me.FloatField()


class Drawing(me.Document):
    main = me.EmbeddedDocumentField(Shape)
    shapes = me.EmbeddedDocumentListField(Shape)
    named = me.MapField(me.EmbeddedDocumentField(Shape))
    any = me.GenericEmbeddedDocumentField(choices=[Shape])


ANIMALS = [*ModelHive.routes_for(Creature), *ModelHive.routes_for(Greyhound)]
DRAWINGS = ModelHive.routes_for(Drawing)


@pytest.fixture
def animals(mongomock_database):
    with serve(ANIMALS) as client:
        yield client


@pytest.fixture
def drawings(mongomock_database):
    with serve(DRAWINGS) as client:
        yield client


def test_a_subclass_is_created_by_its_cls_and_shown_with_its_fields(animals):
    created = animals.post("/creature", json={"_cls": "Creature.Greyhound.Whelp", "name": "Rex", "weeks": 3})
    assert created.status == 201
    assert created.json["_cls"] == "Creature.Greyhound.Whelp"
    assert created.json["weeks"] == 3
    assert animals.get("/creature").json == [created.json]
    assert animals.get(f"/greyhound/{created.json['id']}").json == created.json
    assert type(Creature.objects.first()) is Whelp


def test_without_cls_the_class_of_the_routes_is_created(animals):
    assert animals.post("/greyhound", json={"name": "Rex"}).json["_cls"] == "Creature.Greyhound"
    assert animals.post("/creature", json={"name": "Tom"}).json["_cls"] == "Creature"


def test_a_class_that_does_not_fit_is_400_and_stores_nothing(animals):
    for path, body, field in [
        ("/creature", {"_cls": "Breeder", "name": "x"}, "_cls"),
        ("/creature", {"_cls": {}, "name": "x"}, "_cls"),
        ("/greyhound", {"_cls": "Creature"}, "_cls"),
        ("/creature", {"tricks": ["sit"]}, "tricks"),
    ]:
        answer = animals.post(path, json=body)
        assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (400, [field])
    assert Creature.objects.count() == 0


def test_cls_may_be_sent_back_on_update_but_not_changed(animals):
    dog = animals.post("/creature", json={"_cls": "Creature.Greyhound", "name": "Rex"})
    for method in ("PUT", "PATCH"):
        path = dog.headers["Location"]
        assert animals.request(method, path, json={"_cls": "Creature.Greyhound", "tricks": ["sit"]}).json[
            "tricks"
        ] == ["sit"]
        assert animals.request(method, path, json={"tricks": ["roll"]}).json["_cls"] == "Creature.Greyhound"
        for other in ["Creature", "Breeder"]:
            answer = animals.request(method, path, json={"_cls": other, "name": "x"})
            assert (answer.status, answer.json["errors"][0]["field"]) == (400, "_cls")
    assert type(Creature.objects.first()) is Greyhound


def test_cls_is_no_field_of_a_model_without_subclasses(mongomock_database):
    with serve(ModelHive.routes_for(Breeder)) as client:
        assert client.post("/breeder", json={"_cls": "Breeder", "name": "x"}).status == 400
        assert "_cls" not in client.post("/breeder", json={"name": "x"}).json


def test_embedded_documents_have_a_class_too(drawings):
    circle, square = {"_cls": "Circle", "color": "red", "radius": 1.5}, {"_cls": "Square", "side": 2.0}
    created = drawings.post(
        "/drawing", json={"main": circle, "shapes": [square, circle], "named": {"a": square}, "any": circle}
    )
    assert created.status == 201, created.body
    assert created.json["main"] == circle
    assert created.json["shapes"] == [square | {"color": None}, circle]
    assert created.json["named"] == {"a": square | {"color": None}}
    assert created.json["any"] == circle
    stored = Drawing.objects.first()
    assert [type(one) for one in (stored.main, *stored.shapes, stored.named["a"], stored.any)] == [
        Circle, Square, Circle, Square, Circle,
    ]  # fmt: skip
    with recorded(signals.post_update_instance) as heard:
        assert drawings.put(created.headers["Location"], json=created.json).json == created.json
    assert heard[0].arguments["updated_fields"] == {}


def test_an_embedded_document_keeps_its_class_unless_the_body_names_another(drawings):
    circle = {"_cls": "Circle", "color": "red", "radius": 1.5}
    path = drawings.post("/drawing", json={"main": circle, "named": {"a": circle}}).headers["Location"]
    for method in ("PUT", "PATCH"):
        assert drawings.request(method, path, json={"main": {"radius": 2.5}}).json["main"] == circle | {
            "radius": 2.5
        }
    patched = drawings.patch(path, json={"named": {"a": {"radius": 7.0}}})
    assert patched.json["named"]["a"] == circle | {"radius": 7.0}
    assert drawings.get(path).json == patched.json
    other = drawings.put(path, json={"main": {"_cls": "Square", "side": 1.0}}).json["main"]
    assert other == {"_cls": "Square", "color": None, "side": 1.0}
    for wrong in ["Creature", "Breeder", 1, "Shape.Line"]:
        assert drawings.put(path, json={"main": {"_cls": wrong}}).json["errors"][0]["field"] == "main._cls"
