"""hive.serializers: classes, dynamic documents, defaults, renamed fields, `to_dict()`, what is not seen."""

import enum
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import mongoengine as me
import pytest
from bson import ObjectId
from mongoengine.base import BaseField

from hive import ModelHive, signals
from hive.testing import recorded, serve

naive = datetime  # as mongoengine has times: in UTC, without saying so

SOME_ID = ObjectId("65a000000000000000000001")


class Unit(enum.Enum):
    EURO = "eur"


class Human(me.Document):
    name = me.StringField()
    pin = me.StringField()


# Inheritance


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


@pytest.fixture
def animals(database):
    with serve([*ModelHive.routes_for(Creature), *ModelHive.routes_for(Greyhound)]) as client:
        yield client


@pytest.fixture
def drawings(database):
    with serve(ModelHive.routes_for(Drawing)) as client:
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


@pytest.mark.parametrize(
    "named",
    ["Human", "Nobody", "Shape.Circle", "", 1, None, [], {}, "\0", "Document", "Creature.Cat", "objects"],
)
def test_a_class_that_is_no_subclass_is_400(animals, named):
    answer = animals.post("/creature", json={"_cls": named, "name": "x"})
    assert answer.status == 400
    assert [error["field"] for error in answer.json["errors"]] == ["_cls"]
    assert Creature.objects.count() == 0


def test_a_base_class_is_not_created_below_its_subclass(animals):
    assert animals.post("/greyhound", json={"_cls": "Creature"}).status == 400


def test_a_field_of_a_subclass_needs_its_cls(animals):
    answer = animals.post("/creature", json={"tricks": ["sit"]})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "tricks")


def test_cls_may_be_sent_back_on_update_but_not_changed(animals):
    dog = animals.post("/creature", json={"_cls": "Creature.Greyhound", "name": "Rex"})
    for method in ("PUT", "PATCH"):
        path = dog.headers["Location"]
        assert animals.request(method, path, json={"_cls": "Creature.Greyhound", "tricks": ["sit"]}).json[
            "tricks"
        ] == ["sit"]
        assert animals.request(method, path, json={"tricks": ["roll"]}).json["_cls"] == "Creature.Greyhound"
        for other in ["Creature", "Creature.Greyhound.Whelp", "Human", None, 1]:
            answer = animals.request(method, path, json={"_cls": other, "name": "x"})
            assert (answer.status, answer.json["errors"][0]["field"]) == (400, "_cls")
    assert type(Creature.objects.first()) is Greyhound


def test_cls_is_no_field_of_a_model_without_subclasses(database):
    with serve(ModelHive.routes_for(Human)) as client:
        assert client.post("/human", json={"_cls": "Human", "name": "x"}).status == 400
        assert "_cls" not in client.post("/human", json={"name": "x"}).json


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
    for wrong in ["Creature", "Human", 1, "Shape.Line"]:
        assert drawings.put(path, json={"main": {"_cls": wrong}}).json["errors"][0]["field"] == "main._cls"


# Dynamic documents


class Extra(me.DynamicEmbeddedDocument):
    label = me.StringField()


class FreeForm(me.DynamicDocument):
    name = me.StringField(db_field="n")
    locked = me.StringField(db_field="l")
    kind = me.StringField(choices=["a", "b"])
    extra = me.EmbeddedDocumentField(Extra)


@pytest.fixture
def free(database):
    with serve(
        ModelHive.routes_for(FreeForm, read_only=["locked", "stamp"], hidden=["inner", "map.secret"])
    ) as client:
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


@pytest.mark.parametrize(
    "name",
    ["save", "objects", "pk", "_id", "_cls", "_data", "__class__", "to_json", "validate", "clean", "delete",
    "a.b", "$x", "",
     "\0", "self", "n", "l", "stamp", "inner", "get_kind_display", "update", "reload", "STRICT",
     "my_metaclass"],
)  # fmt: skip
def test_a_dynamic_document_takes_no_name_that_means_something_else(free, name):
    path = free.post("/free_form", json={"name": "x", "extra": {"label": "y"}}).headers["Location"]
    before = FreeForm.objects.as_pymongo().first()
    for method, where in [("POST", "/free_form"), ("PUT", path), ("PATCH", path)]:
        answer = free.request(method, where, json={name: "evil"})
        assert (answer.status, [error["field"] for error in answer.json["errors"]]) == (400, [name]), (
            answer.body
        )
    if name not in ("n", "l", "stamp", "inner", "get_kind_display"):
        answer = free.put(path, json={"extra": {name: "evil"}})
        if name not in (
            "objects",
            "pk",
            "save",
            "delete",
            "update",
            "reload",
        ):  # no attributes of an embedded one
            assert answer.status == 400
            assert answer.json["errors"][0]["field"] == (f"extra.{name}" if name else "extra")
        before = before if answer.status == 400 else FreeForm.objects.as_pymongo().first()
    assert list(FreeForm.objects.as_pymongo()) == [before]


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


# Renamed fields, defaults


class Room(me.EmbeddedDocument):
    title = me.StringField(db_field="t")


class Floor(me.EmbeddedDocument):
    rooms = me.EmbeddedDocumentListField(Room, db_field="r")
    main = me.EmbeddedDocumentField(Room, db_field="m")


class House(me.Document):
    meta = {"strict": False}
    street = me.StringField(db_field="s", required=True, unique=True)
    floor = me.EmbeddedDocumentField(Floor, db_field="f")
    floors = me.MapField(me.EmbeddedDocumentField(Floor), db_field="fs")


class Defaults(me.Document):
    static = me.IntField(default=5)
    called = me.ListField(me.IntField(), default=lambda: [1])
    nullable = me.IntField(default=5, null=True)
    day = me.DateTimeField(default=lambda: date(2026, 1, 31))
    price = me.DecimalField(default=1)
    unit = me.EnumField(Unit, default=Unit.EURO)
    room = me.EmbeddedDocumentField(Room, default=lambda: Room(title="hall"))
    place = me.PointField(default=lambda: [1, 2])
    nothing = me.StringField(default=lambda: None)


def test_json_knows_only_python_names(database):
    house = {
        "street": "Elm",
        "floor": {"rooms": [{"title": "a"}], "main": {"title": "b"}},
        "floors": {"one": {"rooms": [], "main": {"title": "c"}}},
    }
    with serve(ModelHive.routes_for(House)) as client:
        created = client.post("/house", json=house)
        assert created.json == house | {"id": created.json["id"]}
        raw = House.objects.as_pymongo().first()
        assert (raw["s"], raw["f"]["r"], raw["f"]["m"]) == ("Elm", [{"t": "a"}], {"t": "b"})
        for name in ("s", "f", "fs", "_id", "floor.m"):
            assert client.put(created.headers["Location"], json={name: "x"}).status == 400
        answer = client.patch(created.headers["Location"], json={"floor": {"main": {"title": "new"}}})
        assert answer.json["floor"] == {"rooms": [{"title": "a"}], "main": {"title": "new"}}
        wrong = client.put(created.headers["Location"], json={"floor": {"main": {"title": 1}}})
        assert wrong.json["errors"][0]["field"] == "floor.main.title"


def test_what_a_lax_model_does_not_declare_stays_stored_and_out_of_sight(database):
    house = House(street="Elm").save()
    House._get_collection().update_one({}, {"$set": {"secret": 1}})
    with serve(ModelHive.routes_for(House)) as client:
        path = f"/house/{house.pk}"
        assert "secret" not in client.get(path).json
        assert client.put(path, json={"secret": 2}).status == 400
        assert client.put(path, json={"street": "Oak"}).status == 200
    assert House._get_collection().find_one()["secret"] == 1


def test_fields_missing_in_the_store_read_as_their_defaults(database):
    Defaults._get_collection().insert_one({})
    with serve(ModelHive.routes_for(Defaults)) as client:
        [shown] = client.get("/defaults").json
        path = f"/defaults/{shown.pop('id')}"
        assert shown == {
            "static": 5, "called": [1], "nullable": None, "day": "2026-01-31T00:00:00Z", "price": "1.00",
            "unit": "eur",
            "room": {"title": "hall"}, "place": {"type": "Point", "coordinates": [1, 2]}, "nothing": None,
        }  # fmt: skip
        with recorded(signals.post_update_instance) as heard:
            answer = client.put(path, json=shown)
        assert answer.status == 200
        assert heard[0].arguments["updated_fields"] == {}
        created = client.post("/defaults", json={}).json
        assert created == shown | {"id": created["id"]}
        assert client.put(path, json={"nullable": None, "static": None}).json["static"] == 5


# Values that must not be lost


class Untyped(me.Document):
    flag = me.DynamicField()
    data = me.DictField()
    items = me.ListField()
    exact = me.Decimal128Field()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("flag", 1, True), ("flag", False, 0), ("data", {"a": True}, {"a": 1}), ("items", [[1]], [[True]]),
        ("exact", "1.0", "1.00"), ("data", {"a": {"b": 0}}, {"a": {"b": False}}),
    ],
)  # fmt: skip
def test_values_that_python_finds_equal_are_told_apart(database, name, old, new):
    with serve(ModelHive.routes_for(Untyped)) as client:
        path = client.post("/untyped", json={name: old}).headers["Location"]
        for method, value in [("PUT", new), ("PATCH", old)]:
            with recorded(signals.post_update_instance) as heard:
                answer = client.request(method, path, json={name: value})
            assert repr(answer.json[name]) == repr(value)
            assert repr(client.get(path).json[name]) == repr(value)
            assert heard[0].arguments["updated_fields"].keys() == {name}


# Recursion


class Node(me.EmbeddedDocument):
    title = me.StringField()
    hushed = me.StringField()
    fixed = me.StringField()
    child = me.EmbeddedDocumentField("self")
    children = me.ListField(me.EmbeddedDocumentField("self"))


class Forest(me.Document):
    root = me.EmbeddedDocumentField(Node)


def test_a_class_within_itself_has_the_same_options_at_every_depth(database):
    leaf = Node(title="leaf", hushed="h3", fixed="f3")
    Forest(
        root=Node(title="a", hushed="h1", fixed="f1", child=Node(hushed="h2", fixed="f2", children=[leaf]))
    ).save()
    with serve(ModelHive.routes_for(Forest, hidden=["root.hushed"], read_only=["root.fixed"])) as client:
        read = client.get("/forest")
        assert b"hushed" not in read.body
        [tree] = read.json
        assert tree["root"]["child"]["children"][0]["title"] == "leaf"
        path = f"/forest/{tree['id']}"
        assert client.put(path, json=tree).json == tree
        assert client.put(path, json={"root": {"child": {"hushed": "x"}}}).status == 400
        assert client.put(path, json={"root": {"child": {"fixed": "x"}}}).status == 400
        assert (
            client.put(path, json={"root": {"child": {"title": "b"}}}).json["root"]["child"]["title"] == "b"
        )
    child = Forest.objects.first().root.child
    assert (child.hushed, child.fixed, child.children[0].hushed) == ("h2", "f2", "h3")


# What clients do not see of the items of lists and maps


class Comment(me.EmbeddedDocument):
    text = me.StringField()
    ip = me.StringField()
    at = me.DateTimeField()


class Post(me.Document):
    comments = me.EmbeddedDocumentListField(Comment)
    pinned = me.MapField(me.EmbeddedDocumentField(Comment))
    author = me.ReferenceField(Human)
    readers = me.ListField(me.ReferenceField(Human))
    at = me.DateTimeField()


@pytest.fixture
def post(database):
    at = naive(2026, 1, 31)
    document = Post(
        comments=[
            Comment(text="a", ip="1", at=at),
            Comment(text="b", ip="2"),
            Comment(text="a", ip="3", at=at),
        ],
        pinned={"x": Comment(text="p", ip="4", at=at)},
        at=at,
    ).save()
    options = {"hidden": ["comments.ip", "pinned.ip"], "read_only": ["comments.at", "pinned.at", "at"]}
    with serve(
        [*ModelHive.routes_for(Post, **options), *ModelHive.routes_for(Human, hidden=["pin"])]
    ) as client:
        client.path = f"/post/{document.pk}"
        yield client


def test_items_that_are_sent_back_keep_what_clients_do_not_see(post):
    read = post.get(post.path).json
    stored = Post.objects.as_pymongo().first()
    for method in ("PUT", "PATCH"):
        with recorded(signals.post_update_instance) as heard:
            answer = post.request(method, post.path, json=read)
        assert (answer.status, answer.json) == (200, read), answer.body
        assert heard[0].arguments["updated_fields"] == {}
    assert Post.objects.as_pymongo().first() == stored


def test_items_keep_what_clients_do_not_see_when_others_come_and_go(post):
    [first, second, third] = post.get(post.path).json["comments"]
    answer = post.put(post.path, json={"comments": [{"text": "new"}, third, second]})
    assert answer.status == 200, answer.body
    assert [comment.ip for comment in Post.objects.first().comments] == [None, "1", "2"]
    assert (
        post.put(post.path, json={"comments": [first | {"text": "other"}]}).status == 400
    )  # `at` of no item
    kept = post.get(post.path).json["pinned"]["x"]
    assert post.put(post.path, json={"pinned": {"x": kept, "y": {"text": "z"}}}).status == 200
    assert Post.objects.first().pinned["x"].ip == "4"


def test_what_clients_cannot_set_they_may_send_back_as_they_read_it(post):
    assert post.put(post.path, json={"at": "2026-01-31T00:00:00Z"}).status == 200
    for at in [None, "2026-01-31", "2026-01-31T00:00:01Z", 0]:
        answer = post.put(post.path, json={"at": at})
        assert (answer.status, answer.json["errors"][0]["field"]) == (400, "at")
    assert post.post("/post", json={"at": None}).status == 400


def test_a_reference_to_what_is_no_more_may_be_sent_back(post):
    gone, here = Human(name="gone").save(), Human(name="here").save()
    Post.objects.update(author=gone, readers=[gone, here])
    gone.delete()
    read = post.get(post.path).json
    assert post.put(post.path, json=read | {"comments": []}).status == 200
    answer = post.put(post.path, json={"readers": [*read["readers"], str(here.pk)]})
    assert answer.json["readers"] == [str(gone.pk), str(here.pk), str(here.pk)]
    assert post.put(post.path, json={"readers": [str(gone.pk)] * 2}).status == 400
    assert post.post("/post", json={"author": str(gone.pk)}).status == 400


# A model's own to_dict()


class Money(me.EmbeddedDocument):
    amount = me.DecimalField()
    note = me.StringField()

    def to_dict(self):
        return {"text": f"{self.amount} EUR", "note": self.note}


class Remark(me.EmbeddedDocument):
    open = me.StringField()
    note = me.StringField()


class Invoice(me.Document):
    number = me.IntField()
    internal = me.StringField()
    total = me.EmbeddedDocumentField(Money)
    lines = me.EmbeddedDocumentListField(Money)
    plain = me.EmbeddedDocumentField(Remark)
    plains = me.MapField(me.EmbeddedDocumentField(Remark))
    owner = me.ReferenceField(Human)
    tree = me.EmbeddedDocumentField(Node)

    def to_dict(self):
        return {
            "id": self.id, "number": self.number, "internal": self.internal, "owner": self.owner,
            "total": self.total.to_dict(),
            "object": self.plain, "plain": {"open": 1, "note": 2}, "plains": {"k": {"open": 1, "note": 2},
            "l": self.plain},
            "when": naive(2026, 1, 31), "aware": naive(2026, 1, 31, 2,
            tzinfo=timezone(timedelta(hours=2))),
            "day": date(2026, 1, 31), "exact": Decimal("1.10"), "ids": {SOME_ID}, "tuple": (1, SOME_ID),
            1: Unit.EURO, "raw": b"\0",
            "tree": {"title": 1, "hushed": 2, "children": [{"title": 1, "hushed": 2,
            "child": {"hushed": 2}}]},
        }  # fmt: skip


class Purse(me.Document):
    content = me.EmbeddedDocumentField(Money)
    coins = me.ListField(me.EmbeddedDocumentField(Money))


HIDDEN = ["internal", "total.note", "lines.note", "plain.note", "plains.note", "tree.hushed"]


@pytest.fixture
def invoice(database):
    owner = Human(name="p", pin="1234").save()
    document = Invoice(
        number=1, internal="x", total=Money(amount=2, note="n"), plain=Remark(open="o", note="n"), owner=owner
    ).save()
    with serve(ModelHive.routes_for(Invoice, hidden=HIDDEN)) as client:
        yield client, f"/invoice/{document.pk}", document


def test_a_models_own_to_dict_wins_without_what_is_hidden(invoice):
    client, path, document = invoice
    answer = client.get(path)
    assert answer.status == 200, answer.body
    assert answer.json == {
        "id": str(document.pk), "number": 1, "owner": str(document.owner.pk), "total": {"text": "2.00 EUR"},
        "object": {"open": "o", "note": "n"}, "plain": {"open": 1}, "plains": {"k": {"open": 1},
        "l": {"open": "o"}},
        "when": "2026-01-31T00:00:00Z", "aware": "2026-01-31T02:00:00+02:00", "day": "2026-01-31",
        "exact": "1.10",
        "ids": [str(SOME_ID)], "tuple": [1, str(SOME_ID)], "1": "eur", "raw": "AA==",
        "tree": {"title": 1, "children": [{"title": 1, "child": {}}]},
    }  # fmt: skip
    assert client.get("/invoice").json == [answer.json]
    with recorded(signals.post_get_instance, signals.post_get_list):
        assert client.get(path).body == answer.body
        assert client.get("/invoice").json == [answer.json]


def test_what_to_dict_gave_may_be_sent_back(invoice):
    client, path, _ = invoice
    read = client.get(path).json
    with recorded(signals.post_update_instance) as heard:
        answer = client.put(path, json=read)
    assert (answer.status, answer.json) == (200, read), answer.body
    assert heard[0].arguments["updated_fields"] == {}
    assert client.put(path, json={"object": 1}).status == 400


def test_an_embedded_documents_own_to_dict_wins_too(database):
    Purse(content=Money(amount=2, note="n"), coins=[Money(amount=1)]).save()
    with serve(ModelHive.routes_for(Purse, hidden=["content.note"])) as client:
        [shown] = client.get("/purse").json
        assert shown["content"] == {"text": "2.00 EUR"}
        assert shown["coins"] == [{"text": "1.00 EUR", "note": None}]
        assert client.put(f"/purse/{shown['id']}", json=shown).json == shown
    assert Purse.objects.first().content.note == "n"


# Field classes of the application's own


class Stored(me.StringField):
    """What is stored is not what Python has, as in a field that encrypts."""

    def to_mongo(self, value):
        return f"<{value}>"

    def to_python(self, value):
        return value.strip("<>")


class Upper(me.StringField):
    def validate(self, value):
        super().validate(value)
        if not value.isupper():
            self.error("must be in capitals")


class Span(BaseField):
    """Seconds in MongoDB, a timedelta in Python."""

    def to_mongo(self, value):
        return value.total_seconds()

    def to_python(self, value):
        return value if isinstance(value, timedelta) else timedelta(seconds=value)

    def validate(self, value):
        if not isinstance(value, timedelta):
            self.error("must be a timedelta")


class Opaque(BaseField):
    pass


class Custom(me.Document):
    sealed = Stored()
    upper = Upper()
    span = Span()
    opaque = Opaque()
    spans = me.ListField(Span())
    sealeds = me.MapField(Stored())


def test_field_classes_of_the_applications_own_need_no_row(database):
    body = {
        "sealed": "abc",
        "upper": "ABC",
        "span": 1.5,
        "opaque": {"a": [1]},
        "spans": [1.0],
        "sealeds": {"a": "b"},
    }
    with serve(ModelHive.routes_for(Custom)) as client:
        created = client.post("/custom", json=body)
        assert created.status == 201, created.body
        assert created.json == body | {"id": created.json["id"]}
        path = created.headers["Location"]
        assert client.get(path).json == created.json
        with recorded(signals.post_update_instance) as heard:
            assert client.put(path, json=created.json).json == created.json
            changed = client.put(path, json={"span": 60, "sealed": "xyz"})
        assert changed.json == created.json | {"span": 60.0, "sealed": "xyz"}
        assert [one.arguments["updated_fields"] for one in heard] == [
            {},
            {
                "span": {"from": timedelta(seconds=1.5), "to": timedelta(minutes=1)},
                "sealed": {"from": "abc", "to": "xyz"},
            },
        ]
        raw = Custom.objects.as_pymongo().first()
        assert (raw["sealed"], raw["span"], raw["sealeds"]) == ("<xyz>", 60.0, {"a": "<b>"})
        for wrong in [
            {"sealed": 1},
            {"upper": "abc"},
            {"span": "x"},
            {"span": []},
            {"span": {}},
            {"spans": ["x"]},
            {"opaque": {"$a": 1}},
        ]:
            answer = client.put(path, json=wrong)
            assert answer.status == 400, (wrong, answer.body)
            assert answer.json["errors"][0]["field"].split(".")[0] in wrong


# Lists that are sorted by a field


class Step(me.EmbeddedDocument):
    position = me.IntField(db_field="p")
    text = me.StringField()


class Plan(me.Document):
    steps = me.SortedListField(me.EmbeddedDocumentField(Step), ordering="p")


def test_what_a_list_is_sorted_by_can_not_be_missing(database):
    with serve(ModelHive.routes_for(Plan)) as client:
        path = client.post("/plan", json={"steps": [{"position": 2}, {"position": 1, "text": "x"}]}).headers[
            "Location"
        ]
        before = client.get(path).json
        assert [step["position"] for step in before["steps"]] == [1, 2]
        for method, where, body in [
            ("POST", "/plan", {"steps": [{"text": "y"}]}),
            ("PUT", path, {"steps": [{"position": 1}, {"position": None}]}),
            ("POST", f"{path}/steps", {"text": "y"}),
            ("PUT", f"{path}/steps/0", {"position": None}),
            ("PATCH", f"{path}/steps/1", {"position": None}),
        ]:
            answer = client.request(method, where, json=body)
            assert answer.status == 400, (where, answer.body)
            assert answer.json["errors"][0]["field"].endswith("position")
        assert client.get(path).json == before
        assert client.put(f"{path}/steps/0", json={"text": "z"}).status == 200
