"""Any query string is refused, or asks with allowed operators for readable fields only."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

import bson
import mongoengine as me
from bson import ObjectId
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from hypothesis import given, settings, strategies as st

from hive.errors import BadRequest
from hive.filters import compiled, conditions, holds
from hive.operators import OPERATORS
from hive.schema import Visibility
from hive.serializers import Serializer

naive = datetime  # as mongoengine has times: in UTC, without saying so

EXAMPLES = 80
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


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=60))
def test_any_text_is_refused_or_asks_for_nothing_else(text):
    check_query(parse_qsl(text, keep_blank_values=True))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.one_of(PARAMETERS, st.lists(PARAMETERS, max_size=3).map(alternatives)), max_size=4))
def test_any_names_operators_and_values_are_refused_or_ask_for_nothing_else(pairs):
    query = "&".join(
        f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in pairs
    )
    check_query(parse_qsl(query, keep_blank_values=True))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=3))
def test_any_pairs_are_refused_or_ask_for_nothing_else(pairs):
    check_query(pairs)


# In memory


def test_times_are_the_same_whether_the_connection_knows_their_zone_or_not():
    moment = naive(2026, 1, 31, 12)
    asked = conditions([("created__gte", "2026-01-31T12:00:00Z")], THINGS, None, find)
    for options in (CODEC, CODEC.with_options(tz_aware=True)):
        for later, expected in ((0, True), (-1, False)):
            raw = bson.encode({"created": moment + timedelta(seconds=later)})
            assert holds(asked, bson.decode(raw, codec_options=options)) is expected
