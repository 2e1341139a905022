"""Filters find the same in MongoDB, in memory and as mongoengine stores the values."""

import enum
import os
import random
import uuid
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from itertools import product
from typing import Any
from urllib.parse import parse_qsl

import mongoengine as me
from bson import DBRef, Decimal128, ObjectId
from mongoengine.base import BaseField

from hive.errors import BadRequest
from hive.filters import AnyOf, compiled, conditions, holds
from hive.operators import OPERATORS
from hive.schema import Visibility
from hive.serializers import Serializer

naive = datetime  # as mongoengine has times: in UTC, without saying so

ID = ObjectId("65a000000000000000000001")
OTHER = ObjectId("65a000000000000000000002")
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Reversed(BaseField):
    """A field of the application's own, which stores texts backwards."""

    def to_mongo(self, value):
        return value[::-1]

    def to_python(self, value):
        return value[::-1]


class FoundOwner(me.Document):
    name = me.StringField()


class FoundTask(me.EmbeddedDocument):
    title = me.StringField(db_field="t")
    hours = me.ListField(me.IntField())


class FoundPerson(me.Document):
    name = me.StringField(db_field="n")
    email = me.EmailField()
    age = me.IntField()
    height = me.FloatField()
    price = me.DecimalField()
    exact_price = me.DecimalField(force_string=True)
    precise = me.Decimal128Field()
    active = me.BooleanField()
    born = me.DateField()
    created = me.DateTimeField()
    seen = me.ComplexDateTimeField()
    key = me.UUIDField()
    text_key = me.UUIDField(binary=False)
    photo = me.BinaryField()
    number = me.SequenceField()
    label = me.SequenceField(value_decorator=str)
    color = me.EnumField(Color)
    owner = me.ReferenceField(FoundOwner)
    old_owner = me.ReferenceField(FoundOwner, dbref=True)
    lazy_owner = me.LazyReferenceField(FoundOwner)
    cached_owner = me.CachedReferenceField(FoundOwner)
    thing = me.GenericReferenceField()
    chosen = me.GenericReferenceField(choices=[FoundOwner])
    owners = me.ListField(me.ReferenceField(FoundOwner))
    tags = me.ListField(me.StringField())
    anything = me.ListField()
    task = me.EmbeddedDocumentField(FoundTask)
    tasks = me.EmbeddedDocumentListField(FoundTask)
    data = me.DictField()
    scores = me.MapField(me.IntField())
    free = me.DynamicField()
    backwards = Reversed()


class FoundPlace(me.Document):
    number = me.IntField(primary_key=True)
    age = me.IntField()
    location = me.PointField()
    legacy = me.GeoPointField()


PEOPLE = Serializer(FoundPerson, Visibility())
PLACES = Serializer(FoundPlace, Visibility())


def find(model, text):
    """The owners are those with these IDs."""
    return {str(ID): ID, str(OTHER): OTHER}.get(text)


def asked(query, encoder=PEOPLE, find=find):
    return conditions(parse_qsl(query, keep_blank_values=True), encoder, None, find)


# What mongoengine stores


def test_every_value_is_found_as_mongoengine_stores_it(database):
    owner = FoundOwner(name="Ann").save()

    def find_owner(model, text):
        return owner.pk if text == str(owner.pk) else None

    values = {
        "name": "Ann",
        "email": "a@b.org",
        "age": 5,
        "height": 1.5,
        "price": Decimal("1.10"),
        "label": "7",
        "exact_price": Decimal("1.10"),
        "precise": Decimal("1.10"),
        "active": True,
        "born": date(2026, 1, 31),
        "created": naive(2026, 1, 31),
        "seen": naive(2026, 1, 31, 1, 2, 3, 4),
        "key": UUID,
        "number": 3,
        "text_key": UUID,
        "photo": b"\0\1",
        "color": Color.RED,
        "owner": owner,
        "old_owner": owner,
        "lazy_owner": owner,
        "cached_owner": owner,
        "thing": owner,
        "chosen": owner,
        "owners": [owner],
        "tags": ["x", "y"],
        "anything": [5],
        "data": {"x": "z"},
        "scores": {"eur": 4},
        "backwards": "abc",
    }
    if database.name == "test":  # mongomock stores neither of these
        del values["precise"], values["key"]
    FoundPerson(**values).save(cascade=False)
    FoundPerson().save()
    named = f'{{"_cls":"FoundOwner","id":"{owner.pk}"}}'
    queries = [
        *("name=Ann", "email=a@b.org", "age=5", "height=1.5", "price=1.1", "label=7", "exact_price=1.1"),
        *("active=true", "born=2026-01-31", "created=2026-01-31T00:00:00Z", "number__in=3,4"),
        *("seen=2026-01-31T01:02:03.000004Z", f"text_key={UUID}", "photo=AAE%3D", "color=red"),
        *(f"{name}={owner.pk}" for name in ("owner", "old_owner", "lazy_owner", "cached_owner", "owners")),
        *(f"thing={named}", f"chosen={named}", "tags=x", "anything=5", "data.x=z", "scores.eur=4"),
        *("name__iexact=ANN", "tags__all=y,x", "name__endswith=nn", "backwards=abc"),
    ]
    queries += ["precise=1.1", f"key={UUID}"] if "precise" in values else []
    everything = list(FoundPerson._get_collection().find())
    for query in queries:
        chosen = asked(query, find=find_owner)
        found = list(FoundPerson._get_collection().find(compiled(chosen)))
        assert [raw.get("n") for raw in found] == ["Ann"], query
        assert [raw.get("n") for raw in everything if holds(chosen, raw)] == ["Ann"], query


# In memory and on a server

ANYTHING: list[Any] = [
    *(None, True, False, 0, 1, 2, 1.5, float("nan"), Decimal128("1.5"), Decimal128("2"), "", "a", "Ab", "1"),
    *("a\n", "2026-01-31", naive(2026, 1, 31), naive(2026, 2, 1), ID, OTHER, b"a", [], ["a", "b"], [1, 2]),
    *([None], {}, {"x": 1}, {"t": "a"}, [[1, 2]], [{"t": "a"}, {"t": ["Ab", "b"]}], [{"x": 1}, 5], "zoë"),
    *("ZOË", DBRef("found_owner", ID), {"_id": ID}),
    {"_cls": "FoundOwner", "_ref": DBRef("found_owner", ID)},
]
NAMES = [
    *("name", "age", "height", "precise", "active", "created", "owner", "old_owner", "cached_owner", "thing"),
    *("id", "tags", "task.title", "tasks.title", "tasks.hours", "task", "tasks", "data.x", "data.x.y"),
    *("free", "free.x"),
]
TEXTS = [
    *("", "a", "A", "Ab", "zoë", "1", "2", "1.5", "0", "true", "false", "null", "2026-01-31", "a,b", "1,2"),
    *("1.5,2", "2026-01-31T00:00:00Z", str(ID), str(OTHER), f"{OTHER},{ID}", "true,1", "null,a", "nobody"),
    *("a\n", "b", "\0", f'{{"_cls":"FoundOwner","id":"{ID}"}}'),
]
KEYS = [
    *("n", "age", "height", "precise", "active", "created", "owner", "old_owner", "cached_owner", "thing"),
    *("tags", "task", "tasks", "data", "free"),
]
PLAIN = OPERATORS.keys() - {"near", "max_distance", "within_box"}
HOLDERS = [("task", "t"), ("tasks", "t"), ("tasks", "hours"), ("data", "x"), ("free", "x")]


def documents(choose):
    """Each field of every type, by itself and in what fields are in; some of it in lists."""
    for number in range(100):
        raw = {name: choose.choice(ANYTHING) for name in KEYS if choose.random() < 0.7}
        for holder, inner in HOLDERS:
            if choose.random() < 0.4:
                items = [{inner: choose.choice(ANYTHING)} for _ in range(choose.randrange(3))]
                raw[holder] = choose.choice([items, {inner: choose.choice(ANYTHING)}])
        yield {"_id": number, **raw}


def questions(choose):
    """For each operator of each field a condition that is taken; pairs of these, and either of two."""
    single = []
    for name, operator in product(NAMES, OPERATORS):
        for text in choose.sample(TEXTS, len(TEXTS)):
            with suppress(BadRequest):
                single.append(asked_of(f"{name}__{operator}", text))
                break
    for other in choose.sample(single, len(single)):
        one = choose.choice(single)
        yield from (other, choose.choice([one + other, [AnyOf((*one, *other))]]))


def asked_of(name, text):
    return conditions([(name, text)], PEOPLE, None, find)


def facets(collection, queries):
    """The primary keys that each filter finds, of many filters at once."""
    for start in range(0, len(queries), 50):
        some = {
            str(at): [{"$match": query}, {"$project": {"_id": 1}}]
            for at, query in enumerate(queries[start : start + 50])
        }
        [found] = collection.aggregate([{"$facet": some}])
        yield from ({raw["_id"] for raw in found[name]} for name in some)


def test_what_holds_in_memory_is_what_a_server_finds(mongodb_database):
    collection = FoundPerson._get_collection()
    collection.insert_many(documents(random.Random(5)))
    everything = list(collection.find())
    every = list(questions(random.Random(3)))
    assert {one.operator for chosen in every for one in chosen if not isinstance(one, AnyOf)} >= PLAIN
    queries = [compiled(chosen) for chosen in every]
    for chosen, query, found in zip(every, queries, facets(collection, queries), strict=True):
        assert {raw["_id"] for raw in everything if holds(chosen, raw)} == found, query


# Places


def test_places_in_memory_are_those_that_a_server_finds(mongodb_database):
    choose = random.Random(7)
    collection = FoundPlace._get_collection()
    for number in range(60):
        place = [round(choose.uniform(-179, 179), 3), round(choose.uniform(-89, 89), 3)]
        raw = {"_id": number, "location": {"type": "Point", "coordinates": place}, "legacy": place}
        collection.insert_one(raw if number % 10 else {"_id": number})
    everything = list(collection.find())
    for _ in range(6):
        west, south = choose.randrange(-140, 100) + 0.5, choose.randrange(-40, 40) + 0.5
        box = f"{west},{south},{west + choose.randrange(9, 70)},{south + choose.randrange(9, 45)}"
        furthest = {"location": choose.randrange(20_000_000), "legacy": choose.randrange(2_000_000)}
        for field, metres in furthest.items():  # legacy points are on a plane
            near = f"{field}__near={west},{south}&{field}__max_distance={metres}"
            for query in (near, f"{field}__within_box={box}"):
                chosen = asked(query, PLACES)
                inside = {raw["_id"] for raw in everything if holds(chosen, raw)}
                for ordered in (False, True):
                    found = collection.find(compiled(chosen, ordered=ordered), ["_id"])
                    assert {raw["_id"] for raw in found} == inside, query


NEAREST = [1, 2, 0, 3]


def test_what_is_near_is_found(mongodb_database):
    for number, place in enumerate([[0.5, 0], [0.01, 0], [0.1, 0], [20, 20]]):
        FoundPlace(number=number, age=number, location=place, legacy=place).save()
    collection = FoundPlace._get_collection()

    def ages(query, ordered=False):
        found = [raw["age"] for raw in collection.find(compiled(asked(query, PLACES), ordered=ordered))]
        orders = "HIVE_TEST_MONGODB_URI" in os.environ  # SecantusDB 0.7 finds what is near in any order
        return found if orders and not ordered else sorted(found, key=NEAREST.index)

    for field in ("location", "legacy"):
        near = f"{field}__near=0,0"
        assert ages(near) == NEAREST
        limited = f"{near}&{field}__max_distance=20000"
        assert ages(limited) == [1, 2]
        assert ages(limited + f"&{field}__exists=true&age__gt=1") == [2]
        assert ages(limited, ordered=True) == [1, 2]
        assert ages(f"{near}&{field}__max_distance=1e12", ordered=True) == NEAREST
        assert ages(f"{field}__within_box=-1,-1,0.2,1") == [1, 2]
        assert ages(f"any_of={field}__within_box=-1\\,-1\\,0.2\\,1,age=3") == [1, 2, 3]
