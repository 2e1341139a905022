"""hive.filters, of any query string: allowed operators on readable fields only, in memory as in MongoDB."""

import random
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, quote

import bson
import mongoengine as me
from bson import DBRef, Decimal128, ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from hypothesis import given, settings, strategies as st

from hive.errors import BadRequest
from hive.filters import AnyOf, compiled, conditions, holds
from hive.operators import OPERATORS
from hive.schema import Visibility
from hive.serializers import Serializer

naive = datetime  # as mongoengine has times: in UTC, without saying so

EXAMPLES = 300
ID = ObjectId("65a000000000000000000001")
OTHER = ObjectId("65a000000000000000000002")
CODEC: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)


class AskedOwner(me.Document):
    name = me.StringField()


class AskedTask(me.EmbeddedDocument):
    title = me.StringField(db_field="t")
    hours = me.ListField(me.IntField())
    secret_plan = me.StringField(db_field="plan")
    at = me.PointField()


class AskedThing(me.Document):
    name = me.StringField(db_field="n")
    age = me.IntField()
    height = me.FloatField()
    price = me.Decimal128Field()
    active = me.BooleanField()
    created = me.DateTimeField()
    key = me.UUIDField()
    owner = me.ReferenceField(AskedOwner)
    old_owner = me.ReferenceField(AskedOwner, dbref=True)
    cached_owner = me.CachedReferenceField(AskedOwner)
    thing = me.GenericReferenceField()
    tags = me.ListField(me.StringField())
    task = me.EmbeddedDocumentField(AskedTask)
    tasks = me.EmbeddedDocumentListField(AskedTask)
    data = me.DictField()
    scores = me.MapField(me.IntField())
    free = me.DynamicField()
    location = me.PointField()
    legacy = me.GeoPointField()
    password = me.StringField()
    hidden = me.StringField()


THINGS = Serializer(
    AskedThing,
    Visibility(
        hidden=frozenset({"hidden", "task.secret_plan", "tasks.secret_plan"}),
        write_only=frozenset({"password"}),
    ),
)
READABLE = {
    *("_id", "n", "age", "height", "price", "active", "created", "key", "owner", "old_owner", "cached_owner"),
    *(
        "cached_owner._id",
        "thing",
        "thing._ref",
        "tags",
        "task",
        "tasks",
        "data",
        "scores",
        "free",
        "location",
    ),
    *("legacy", *(f"{holder}.{name}" for holder in ("task", "tasks") for name in ("t", "hours", "at"))),
}
FREE = ("data.", "scores.", "free.")
ALLOWED = {
    *("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex", "$options", "$all", "$size"),
    *("$nearSphere", "$geometry", "$maxDistance", "$geoWithin", "$centerSphere", "$box"),
}


def find(model, text):
    return {str(ID): ID, str(OTHER): OTHER}.get(text)


def check_filter(query):
    """That clauses have readable names, or are clauses joined; and that names have allowed operators only."""
    for key, asked in query.items():
        if key in ("$and", "$or"):
            assert asked
            for clause in asked:
                check_filter(clause)
        else:
            assert key in READABLE or (key.startswith(FREE) and not {"$", "\0"} & set(key))
            assert isinstance(asked, dict)
            assert asked
            check_operators(asked)


def check_operators(asked):
    """Values are never dictionaries, so that there is no operator in them; but geometries are."""
    for operator, value in asked.items():
        assert operator in ALLOWED
        if operator in ("$nearSphere", "$geoWithin") and isinstance(value, dict):
            check_operators(value)
        elif operator == "$geometry":
            assert value.keys() == {"type", "coordinates"}
        else:
            assert not isinstance(value, dict)
            assert not any(isinstance(item, dict) for item in (value if isinstance(value, list) else []))


def check_query(pairs):
    for filterable in (None, frozenset({"age", "tasks"})):
        try:
            asked = conditions(pairs, THINGS, filterable, find)
            queries = [compiled(asked), *(compiled(asked, ordered=True) for _ in asked[:1])]
        except BadRequest:
            continue
        for query in queries:
            check_filter(query)
            bson.encode(query, codec_options=CODEC)
        assert holds(asked, {}) in (True, False)


NAMES = st.sampled_from(
    [
        *AskedThing._fields,
        *(
            "pk",
            "_id",
            "_cls",
            "__raw__",
            "__class__",
            "$where",
            "n",
            "any_of",
            "data.x",
            "data.x.0",
            "data.$x",
        ),
        *("data._cls", "scores.a", "free.x", "free", "task.title", "tasks.title", "tasks.hours", "tasks.at"),
        *(
            "tasks.plan",
            "tasks.secret_plan",
            "task.secret_plan.x",
            "owner.name",
            "thing._ref",
            "tags.0",
            "",
            ".",
        ),
    ]
)
SUFFIXES = st.sampled_from(
    ["", "", *(f"__{name}" for name in [*OPERATORS, "regex", "where", "$gt", "not", ""])]
)
WORDS = st.sampled_from(
    [
        *(
            "",
            "a",
            "Ab",
            "1",
            "-1",
            "0",
            "2",
            "1.5",
            "true",
            "null",
            "1e5",
            "9" * 30,
            "nan",
            "inf",
            "\0",
            "\\",
        ),
        *("2026-01-31T00:00:00Z", "2026-01-31", str(ID), str(OTHER), "12345678-1234-5678-1234-567812345678"),
        *(
            '{"$gt":""}',
            '{"_cls":"AskedOwner","id":"' + str(ID) + '"}',
            "1,2",
            "1,2,3,4",
            "a,b",
            ".*",
            "$where",
        ),
    ]
)
VALUES = st.one_of(WORDS, st.lists(WORDS, max_size=4).map(",".join), st.text(max_size=8))
PARAMETERS = st.tuples(st.builds(str.__add__, NAMES, SUFFIXES), VALUES)


def alternatives(pairs):
    escaped = [f"{name}={value}".replace("\\", "\\\\").replace(",", "\\,") for name, value in pairs]
    return "any_of", ",".join(escaped)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_asks_for_nothing_else(text):
    check_query(parse_qsl(text, keep_blank_values=True))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.one_of(PARAMETERS, st.lists(PARAMETERS, max_size=3).map(alternatives)), max_size=4))
def test_any_names_operators_and_values_are_refused_or_ask_for_nothing_else(pairs):
    query = "&".join(
        f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in pairs
    )
    check_query(parse_qsl(query, keep_blank_values=True))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=3))
def test_any_pairs_are_refused_or_ask_for_nothing_else(pairs):
    check_query(pairs)


# In memory and on a server

ANYTHING: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        2,
        1.5,
        float("nan"),
        Decimal128("1.5"),
        Decimal128("2"),
        "",
        "a",
        "Ab",
        "1",
        "a\n",
    ),
    *("2026-01-31", naive(2026, 1, 31), naive(2026, 2, 1), ID, OTHER, b"a", [], ["a", "b"], [1, 2], [None]),
    *({}, {"x": 1}, {"t": "a"}, [[1, 2]], [{"t": "a"}, {"t": ["Ab", "b"]}], [{"x": 1}, 5], "zoë", "ZOË"),
    *(DBRef("asked_owner", ID), {"_id": ID}, {"_cls": "AskedOwner", "_ref": DBRef("asked_owner", ID)}),
]
ASKED = [
    *(
        "name",
        "age",
        "height",
        "price",
        "active",
        "created",
        "owner",
        "old_owner",
        "cached_owner",
        "thing",
        "id",
    ),
    *(
        "tags",
        "task.title",
        "tasks.title",
        "tasks.hours",
        "task",
        "tasks",
        "data.x",
        "data.x.y",
        "free",
        "free.x",
    ),
]
TEXTS = [
    *(
        "",
        "a",
        "A",
        "Ab",
        "zoë",
        "1",
        "2",
        "1.5",
        "0",
        "true",
        "false",
        "null",
        "2026-01-31",
        "a,b",
        "1,2",
        "1.5,2",
    ),
    *(
        "2026-01-31T00:00:00Z",
        str(ID),
        str(OTHER),
        f"{OTHER},{ID}",
        '{"_cls":"AskedOwner","id":"' + str(ID) + '"}',
    ),
    *("true,1", "null,a", "nobody", "a\n", "b", "\0"),
]
ENOUGH = 300
FIELDS = {
    *("n", "age", "height", "price", "active", "created", "owner", "old_owner", "cached_owner", "thing"),
    *("tags", "task", "tasks", "data", "free"),
}


def documents():
    """Each field of every type, by itself and in what fields are in; some of it in lists."""
    choose = random.Random(5)
    for number in range(400):
        raw = {name: choose.choice(ANYTHING) for name in sorted(FIELDS) if choose.random() < 0.7}
        for holder, inner in (
            ("task", "t"),
            ("tasks", "t"),
            ("tasks", "hours"),
            ("data", "x"),
            ("free", "x"),
        ):
            if choose.random() < 0.4:
                items = [{inner: choose.choice(ANYTHING)} for _ in range(choose.randrange(3))]
                raw[holder] = choose.choice([items, {inner: choose.choice(ANYTHING)}])
        yield {"_id": number, **raw}


def questions():
    """Each that can be asked, of a single condition or of two."""
    single = []
    for name, operator, text in product(ASKED, OPERATORS, TEXTS):
        try:
            single.append(conditions([(f"{name}__{operator}", text)], THINGS, None, find))
        except BadRequest:
            continue
    yield from single
    choose = random.Random(3)
    yield from (choose.choice(single) + choose.choice(single) for _ in single)
    yield from ([AnyOf((*choose.choice(single), *choose.choice(single)))] for _ in single)


def test_what_holds_in_memory_is_what_a_server_finds(mongodb_database):
    collection = mongodb_database["asked"]
    collection.insert_many(documents())
    everything = list(collection.find().sort("_id"))
    every = list(questions())
    for asked in random.Random(9).sample(every, ENOUGH):
        found = [raw["_id"] for raw in collection.find(compiled(asked)).sort("_id")]
        assert [raw["_id"] for raw in everything if holds(asked, raw)] == found, compiled(asked)


def test_places_in_memory_are_those_that_a_server_finds(mongodb_database):
    choose = random.Random(7)
    collection = AskedThing._get_collection()
    for number in range(200):
        place = [round(choose.uniform(-179, 179), 3), round(choose.uniform(-89, 89), 3)]
        raw = {"_id": number, "location": {"type": "Point", "coordinates": place}, "legacy": place}
        collection.insert_one(raw if number % 10 else {"_id": number})
    everything = list(collection.find())
    for _ in range(40):
        west, south = choose.randrange(-140, 100) + 0.5, choose.randrange(-40, 40) + 0.5
        box = f"{west},{south},{west + choose.randrange(9, 70)},{south + choose.randrange(9, 45)}"
        metres = {
            "location": choose.randrange(20_000_000),
            "legacy": choose.randrange(2_000_000),
        }  # which is flat
        for field, furthest in metres.items():
            near = [(f"{field}__near", f"{west},{south}"), (f"{field}__max_distance", str(furthest))]
            for pairs in (near, [(f"{field}__within_box", box)]):
                asked = conditions(pairs, THINGS, None, find)
                inside = {raw["_id"] for raw in everything if holds(asked, raw)}
                assert {raw["_id"] for raw in collection.find(compiled(asked))} == inside, pairs
                assert {raw["_id"] for raw in collection.find(compiled(asked, ordered=True))} == inside, pairs


def test_times_are_the_same_whether_the_connection_knows_their_zone_or_not():
    moment = naive(2026, 1, 31, 12)
    asked = conditions([("created__gte", "2026-01-31T12:00:00Z")], THINGS, None, find)
    for options in (CODEC, CODEC.with_options(tz_aware=True)):
        for later, expected in ((0, True), (-1, False)):
            raw = bson.encode({"created": moment + timedelta(seconds=later)})
            assert holds(asked, bson.decode(raw, codec_options=options)) is expected
