"""What is stored as JSON: renamed fields, defaults, `to_dict()`, fields of one's own, what is not seen."""

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


class Node(me.EmbeddedDocument):
    title = me.StringField()
    hushed = me.StringField()
    fixed = me.StringField()
    child = me.EmbeddedDocumentField("self")
    children = me.ListField(me.EmbeddedDocumentField("self"))


class Forest(me.Document):
    root = me.EmbeddedDocumentField(Node)


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


class Step(me.EmbeddedDocument):
    position = me.IntField(db_field="p")
    text = me.StringField()


class Plan(me.Document):
    steps = me.SortedListField(me.EmbeddedDocumentField(Step), ordering="p")


class Untyped(me.Document):
    flag = me.DynamicField()
    data = me.DictField()
    items = me.ListField()
    exact = me.Decimal128Field()


# Renamed fields, defaults


def test_json_knows_only_python_names(mongodb_database):
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


def test_what_a_lax_model_does_not_declare_stays_stored_and_out_of_sight(mongodb_database):
    house = House(street="Elm").save()
    House._get_collection().update_one({}, {"$set": {"secret": 1}})
    with serve(ModelHive.routes_for(House)) as client:
        path = f"/house/{house.pk}"
        assert "secret" not in client.get(path).json
        assert client.put(path, json={"secret": 2}).status == 400
        assert client.put(path, json={"street": "Oak"}).status == 200
    assert House._get_collection().find_one()["secret"] == 1


def test_fields_missing_in_the_store_read_as_their_defaults(mongodb_database):
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


# Recursion


def test_a_class_within_itself_has_the_same_options_at_every_depth(mongomock_database):
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


@pytest.fixture
def post(mongodb_database):
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


HIDDEN = ["internal", "total.note", "lines.note", "plain.note", "plains.note", "tree.hushed"]


@pytest.fixture
def invoice(mongomock_database):
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


def test_an_embedded_documents_own_to_dict_wins_too(mongomock_database):
    Purse(content=Money(amount=2, note="n"), coins=[Money(amount=1)]).save()
    with serve(ModelHive.routes_for(Purse, hidden=["content.note"])) as client:
        [shown] = client.get("/purse").json
        assert shown["content"] == {"text": "2.00 EUR"}
        assert shown["coins"] == [{"text": "1.00 EUR", "note": None}]
        assert client.put(f"/purse/{shown['id']}", json=shown).json == shown
    assert Purse.objects.first().content.note == "n"


# Field classes of the application's own


def test_field_classes_of_the_applications_own_need_no_row(mongodb_database):
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


def test_what_a_list_is_sorted_by_can_not_be_missing(mongomock_database):
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


# Values that must not be lost


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("flag", 1, True),
        ("data", {"a": {"b": 0}}, {"a": {"b": False}}),
        ("exact", "1.0", "1.00"),
    ],
)
def test_values_that_python_finds_equal_are_told_apart(mongodb_database, name, old, new):
    with serve(ModelHive.routes_for(Untyped)) as client:
        path = client.post("/untyped", json={name: old}).headers["Location"]
        for method, value in [("PUT", new), ("PATCH", old)]:
            with recorded(signals.post_update_instance) as heard:
                answer = client.request(method, path, json={name: value})
            assert repr(answer.json[name]) == repr(value)
            assert repr(client.get(path).json[name]) == repr(value)
            assert heard[0].arguments["updated_fields"].keys() == {name}
