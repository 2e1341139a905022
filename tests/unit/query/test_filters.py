"""Query parameters become a filter of MongoDB, and the same filter in memory."""

import enum
import math
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import mongoengine as me
import pytest
from bson import Binary, DBRef, Decimal128, ObjectId
from mongoengine.base import BaseField

from hive.errors import BadRequest
from hive.filters import AnyOf, Condition, compiled, conditions, holds, split
from hive.schema import Visibility
from hive.serializers import Serializer

naive = datetime  # as mongoengine has times: in UTC, without saying so

ID = ObjectId("65a000000000000000000001")
NOBODY = "65a0000000000000000000ff"
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


class Picky(BaseField):
    def to_mongo(self, value):
        return value.upper()


class FilterOwner(me.Document):
    name = me.StringField()


class FilterGhost(me.Document):
    meta = {"abstract": True}
    name = me.StringField(primary_key=True)


class FilterAddress(me.EmbeddedDocument):
    city = me.StringField(db_field="c")
    pin = me.StringField()


class FilterTask(me.EmbeddedDocument):
    title = me.StringField()
    hours = me.ListField(me.IntField())
    place = me.PointField()


class FilterPerson(me.Document):
    name = me.StringField(db_field="n")
    email = me.EmailField()
    url = me.URLField()
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
    owner = me.ReferenceField(FilterOwner)
    old_owner = me.ReferenceField(FilterOwner, dbref=True)
    lazy_owner = me.LazyReferenceField(FilterOwner)
    cached_owner = me.CachedReferenceField(FilterOwner)
    ghost = me.ReferenceField(FilterGhost, dbref=True)
    thing = me.GenericReferenceField()
    chosen = me.GenericReferenceField(choices=[FilterOwner])
    owners = me.ListField(me.ReferenceField(FilterOwner))
    tags = me.ListField(me.StringField())
    anything = me.ListField()
    matrix = me.ListField(me.ListField(me.IntField()))
    address = me.EmbeddedDocumentField(FilterAddress)
    tasks = me.EmbeddedDocumentListField(FilterTask)
    data = me.DictField()
    scores = me.MapField(me.IntField())
    free = me.DynamicField()
    backwards = Reversed()
    picky = Picky()
    location = me.PointField()
    legacy = me.GeoPointField()
    stops = me.ListField(me.GeoPointField())
    way = me.LineStringField()
    page = me.IntField()
    any_of = me.IntField()
    password = me.StringField()
    hidden = me.StringField()


class FilterNote(me.DynamicDocument):
    title = me.StringField()


PEOPLE = Serializer(
    FilterPerson,
    Visibility(hidden=frozenset({"hidden", "address.pin"}), write_only=frozenset({"password"})),
)
NOTES = Serializer(FilterNote, Visibility(hidden=frozenset({"inner", "open.secret"})))


def find(model, text):
    """The owners are those with an ID; there is one of them."""
    if not ObjectId.is_valid(text):
        raise ValueError("must be the ID of a document")
    return ID if text == str(ID) else None


def asked(query: str, encoder: Any = PEOPLE, filterable: Any = None) -> list[Any]:
    return conditions(parse_qsl(query, keep_blank_values=True), encoder, filterable, find)


def filter_of(query: str, **how: Any) -> dict[str, Any]:
    return compiled(asked(query, **how))


def refused(query: str, **how: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        filter_of(query, **how)
    return caught.value


def detail(query: str, **how: Any) -> str:
    return refused(query, **how).detail


# What is asked of MongoDB

NEAR = {"$geometry": {"type": "Point", "coordinates": [1.5, -2.0]}}
OWNER = "{" + f'"_cls":"FilterOwner","id":"{ID}"' + "}"
GONE = "{" + f'"_cls":"FilterOwner","id":"{NOBODY}"' + "}"

COMPILED = {
    "": {},
    "name=Ann": {"n": {"$eq": "Ann"}},
    "name__eq=Ann": {"n": {"$eq": "Ann"}},
    "name=": {"n": {"$eq": ""}},
    "name=%00": {"n": {"$eq": "\0"}},
    "name=$where": {"n": {"$eq": "$where"}},
    "name=a.b": {"n": {"$eq": "a.b"}},
    "name__ne=Ann": {"n": {"$ne": "Ann"}},
    "name__gt=A&name__lte=B": {"n": {"$gt": "A", "$lte": "B"}},
    "name__in=a,b\\,c,,\\\\": {"n": {"$in": ["a", "b,c", "", "\\"]}},
    "name__nin=a": {"n": {"$nin": ["a"]}},
    "name=a&name=b": {"n": {"$eq": "a"}, "$and": [{"n": {"$eq": "b"}}]},
    "name__exists=true": {"n": {"$ne": None}},
    "name__exists=0": {"n": {"$eq": None}},
    "name__iexact=a.b": {"n": {"$regex": "^a\\.b$(?!\\n)", "$options": "i"}},
    "name__contains=.*": {"n": {"$regex": "\\.\\*"}},
    "name__icontains=x": {"n": {"$regex": "x", "$options": "i"}},
    "name__startswith=^": {"n": {"$regex": "^\\^"}},
    "name__istartswith=x": {"n": {"$regex": "^x", "$options": "i"}},
    "name__endswith=$": {"n": {"$regex": "\\$$(?!\\n)"}},
    "name__iendswith=x": {"n": {"$regex": "x$(?!\\n)", "$options": "i"}},
    "name__contains=a&name__contains=b": {"n": {"$regex": "a"}, "$and": [{"n": {"$regex": "b"}}]},
    "email=a@b.org": {"email": {"$eq": "a@b.org"}},
    "email__endswith=@": {"email": {"$regex": "@$(?!\\n)"}},
    "url__startswith=https": {"url": {"$regex": "^https"}},
    "age__gte=18&age__lt=65": {"age": {"$gte": 18, "$lt": 65}},
    "age__in=1,2": {"age": {"$in": [1, 2]}},
    "height__gt=1.5": {"height": {"$gt": 1.5}},
    "height=1": {"height": {"$eq": 1.0}},
    "price=1.5": {"price": {"$eq": 1.5}},
    "exact_price=1.5": {"exact_price": {"$eq": "1.50"}},
    "precise__lt=1.5": {"precise": {"$lt": Decimal128("1.5")}},
    "active=true": {"active": {"$eq": True}},
    "active__in=true,false": {"active": {"$in": [True, False]}},
    "born=2026-01-31": {"born": {"$eq": naive(2026, 1, 31)}},
    "created__gte=2026-01-31T01:00:00%2B01:00": {"created": {"$gte": naive(2026, 1, 31)}},
    "seen__lt=2026-01-31T00:00:00.000001Z": {"seen": {"$lt": "2026,01,31,00,00,00,000001"}},
    f"key={UUID}": {"key": {"$eq": UUID}},
    f"text_key={UUID}": {"text_key": {"$eq": str(UUID)}},
    "photo=AAE%3D": {"photo": {"$eq": Binary(b"\0\1")}},
    "number__gt=7": {"number": {"$gt": 7}},
    "label=7": {"label": {"$eq": "7"}},
    "color=red": {"color": {"$eq": "red"}},
    "color__in=red,blue": {"color": {"$in": ["red", "blue"]}},
    f"id={ID}": {"_id": {"$eq": ID}},
    f"id__gt={ID}": {"_id": {"$gt": ID}},
    f"owner={ID}": {"owner": {"$eq": ID}},
    f"owner={NOBODY}": {"owner": {"$in": []}},
    f"owner__ne={NOBODY}": {"owner": {"$nin": []}},
    f"owner__in={NOBODY},{ID}": {"owner": {"$in": [ID]}},
    f"owner__nin={NOBODY},{ID}": {"owner": {"$nin": [ID]}},
    f"old_owner={ID}": {"old_owner": {"$eq": DBRef("filter_owner", ID)}},
    f"lazy_owner={ID}": {"lazy_owner": {"$eq": ID}},
    f"cached_owner={ID}": {"cached_owner._id": {"$eq": ID}},
    "cached_owner__exists=true": {"cached_owner": {"$ne": None}},
    f"ghost={ID}": {"ghost": {"$in": []}},
    f"thing={OWNER}": {"thing._ref": {"$eq": DBRef("filter_owner", ID)}},
    f"thing__ne={GONE}": {"thing._ref": {"$nin": []}},
    'thing={"_cls":"NoSuchClass","id":"1"}': {"thing._ref": {"$in": []}},
    f"chosen={OWNER}": {"chosen._ref": {"$eq": DBRef("filter_owner", ID)}},
    f"owners={ID}": {"owners": {"$eq": ID}},
    f"owners__all={ID}": {"owners": {"$all": [ID]}},
    f"owners__all={ID},{NOBODY}": {"owners": {"$in": []}},
    "owners__size=2": {"owners": {"$size": 2}},
    "tags=x": {"tags": {"$eq": "x"}},
    "tags__all=x,y&tags__size=2": {"tags": {"$all": ["x", "y"], "$size": 2}},
    "tags__istartswith=x": {"tags": {"$regex": "^x", "$options": "i"}},
    "anything=5": {"anything": {"$eq": 5}},
    "matrix__size=0": {"matrix": {"$size": 0}},
    "address.city=Rio": {"address.c": {"$eq": "Rio"}},
    "address__exists=false": {"address": {"$eq": None}},
    "tasks.title__ne=x": {"tasks.title": {"$ne": "x"}},
    "tasks.hours__size=2": {"tasks.hours": {"$size": 2}},
    "tasks__size=2": {"tasks": {"$size": 2}},
    "data.x=5": {"data.x": {"$eq": 5}},
    'data.x="5"': {"data.x": {"$eq": "5"}},
    "data.x=1.5e3": {"data.x": {"$eq": 1500.0}},
    "data.x=true": {"data.x": {"$eq": True}},
    "data.x=null": {"data.x": {"$eq": None}},
    "data.x=": {"data.x": {"$eq": ""}},
    "data.x=007": {"data.x": {"$eq": "007"}},
    "data.x= 7": {"data.x": {"$eq": " 7"}},
    "data.x=NaN": {"data.x": {"$eq": "NaN"}},
    'data.x={"$gt":1}': {"data.x": {"$eq": '{"$gt":1}'}},
    "data.x=[1]": {"data.x": {"$eq": "[1]"}},
    "data.x.y.0__gt=5": {"data.x.y.0": {"$gt": 5}},
    "data.a__b__eq=5": {"data.a__b": {"$eq": 5}},
    "scores.eur__gt=5": {"scores.eur": {"$gt": 5}},
    "free=5": {"free": {"$eq": 5}},
    "free.x=a": {"free.x": {"$eq": "a"}},
    "backwards=abc": {"backwards": {"$eq": "abc"}},
    "page__eq=5&any_of__eq=6": {"page": {"$eq": 5}, "any_of": {"$eq": 6}},
    "location__near=1.5,-2": {"location": {"$nearSphere": NEAR}},
    "location__max_distance=9&location__near=1.5,-2": {
        "location": {"$nearSphere": NEAR | {"$maxDistance": 9.0}}
    },
    "location__exists=true&location__near=1.5,-2": {
        "location": {"$nearSphere": NEAR},
        "$and": [{"location": {"$ne": None}}],
    },
    "legacy__near=1.5,-2": {"legacy": {"$nearSphere": [1.5, -2.0]}},
    "legacy__near=1.5,-2&legacy__max_distance=6378100": {
        "legacy": {"$nearSphere": [1.5, -2.0], "$maxDistance": 1.0}
    },
    "location__within_box=-1,-2,3,4": {"location": {"$geoWithin": {"$box": [[-1.0, -2.0], [3.0, 4.0]]}}},
    "any_of=name=a,age__gte=5": {"$or": [{"n": {"$eq": "a"}}, {"age": {"$gte": 5}}]},
    "any_of=age__in=1\\,2,name=b=c\\\\d": {"$or": [{"age": {"$in": [1, 2]}}, {"n": {"$eq": "b=c\\d"}}]},
    "age=1&any_of=name=a&any_of=name=b": {
        "age": {"$eq": 1},
        "$or": [{"n": {"$eq": "a"}}],
        "$and": [{"$or": [{"n": {"$eq": "b"}}]}],
    },
}


@pytest.mark.parametrize("query", COMPILED)
def test_a_query_string_becomes_a_filter(query):
    assert filter_of(query) == COMPILED[query]
    assert repr(filter_of(query)) == repr(COMPILED[query])  # for True is 1, and 1 is 1.0


def test_conditions_tell_the_field_the_operator_and_the_value():
    single, alternatives = asked("age__gte=18&any_of=name=a")
    assert (single.named.name, single.operator, single.value, single.key) == ("age", "gte", 18, "age")
    assert isinstance(single, Condition)
    assert isinstance(alternatives, AnyOf)
    assert [one.value for one in alternatives.conditions] == ["a"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (",", ["", ""]),
        ("a\\,b,c", ["a,b", "c"]),
        ("\\\\,a", ["\\", "a"]),
        ("a\\", ["a\\"]),
        ("\\=", ["="]),
    ],
)
def test_split_takes_commas_unless_they_are_escaped(text, parts):
    assert split(text) == parts


def test_nearness_only_chooses_where_another_order_is_asked_for():
    for field in ("location", "legacy"):
        near = asked(f"{field}__near=1,2&{field}__max_distance=6378100")
        assert compiled(near, ordered=True) == {field: {"$geoWithin": {"$centerSphere": [[1.0, 2.0], 1.0]}}}


def test_nearness_without_a_limit_cannot_choose():
    with pytest.raises(BadRequest) as caught:
        compiled(asked("location__near=1,2"), ordered=True)
    assert "location__max_distance" in caught.value.detail


def test_no_distance_is_more_than_half_of_the_way_around():
    near = asked("legacy__near=1,2&legacy__max_distance=1e300")
    assert compiled(near)["legacy"]["$maxDistance"] == pytest.approx(3.14159265)


# Names


SAME_AS_NONE = [
    "hidden", "password", "address.pin", "hidden__exists", "password__startswith", "address.pin__ne",
    "nothing", "__raw__", "$where", "_cls", "__class__", "_id", "pk", "", "__", "__gte", "name__", ".",
    "address.", ".city", "address..city", "address.$", "data.$where", "data._cls", "data._id", "data.",
    "$or", "n", "address.c", "name.x", "age.0", "tags.0", "matrix.0", "n__regex", "objects", "to_mongo",
    "_data", "backwards.x", "location.type", "location.coordinates", "_cls__in", "password.x", "hidden.x",
    "\ud800", "data.\ud800", "data.a\0b", "x" * 60000, "data" + ".x" * 25, "." * 5000,
]  # fmt: skip


@pytest.mark.parametrize("name", SAME_AS_NONE, ids=range(len(SAME_AS_NONE)))
def test_what_is_no_readable_field_is_refused_in_the_same_words(name):
    with pytest.raises(BadRequest) as caught:
        conditions([(name, "x")], PEOPLE, None, find)
    assert " is no field here" in caught.value.detail or "has no operator" in caught.value.detail
    said = caught.value.detail.partition(" is no field here")[2]
    assert not any(word in said for word in ("hidden", "password", "pin"))
    assert len(caught.value.detail) < 2000


@pytest.mark.parametrize("name", ["hidden", "password", "address.pin", "name", "address", "address.city"])
def test_what_cannot_be_filtered_by_is_answered_like_what_does_not_exist(name):
    """The names differ, so a twin of the same length is asked for."""
    twin = name[:-2] + "qq"
    allowed = frozenset({"age"})
    for operator in ("", "__gte", "__exists", "__regex", "__"):
        said = detail(f"{name}{operator}=x", filterable=allowed)
        assert said == detail(f"{twin}{operator}=x", filterable=allowed).replace(twin, name)


def test_a_reference_that_cannot_be_filtered_by_is_not_told_to_be_one():
    assert "is a reference" in detail("owner.name=x")
    assert detail("owner.name=x", filterable=frozenset({"age"})) == "'owner.name' is no field here."


def test_filterable_fields_are_those_named_and_all_below_them():
    allowed = frozenset({"address", "tasks.title", "data.x", "age"})
    for query in ("address.city=x", "tasks.title=x", "data.x=1", "data.x.y=1", "age=1", "address__exists=1"):
        assert filter_of(query, filterable=allowed)
    for query in ("tasks__size=1", "tasks.hours=1", "data.y=1", "name=x", "data__exists=1", "id__exists=1"):
        assert " is no field here" in detail(query, filterable=allowed)


def test_alternatives_are_held_to_what_is_filterable_and_readable():
    assert " is no field here" in detail("any_of=age=1,name=x", filterable=frozenset({"age"}))
    assert " is no field here" in detail("any_of=age=1,password__startswith=x")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("nmae=x", "'nmae' is no field here: did you mean 'name'?"),
        ("nmae__gte=x", "'nmae' is no field here: did you mean 'name'?"),
        ("adress.city=x", "'adress.city' is no field here: did you mean 'address.city'?"),
        ("qqqqqqqq=x", "'qqqqqqqq' is no field here."),
        (
            "active__gtt=1",
            "'active' has no operator 'gtt', but eq, ne, in, nin, exists.",
        ),
        (
            "active__exist=1",
            "'active' has no operator 'exist', but eq, ne, in, nin, exists: did you mean 'exists'?",
        ),
        ("address=x", "'address' has no operator 'eq', but exists."),
        ("owner.name=x", "'owner' is a reference: only its own value can be asked for."),
        ("age__gte=x", "age__gte must be an integer."),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_near(query, said):
    assert detail(query) == said


def test_a_wrong_value_is_named_as_a_field():
    assert refused("any_of=name=a,age__gte=x").errors == [
        {"field": "age__gte", "message": "must be an integer"}
    ]


# Operators


OPERATORS_OF = {
    "name": "eq ne gt gte lt lte in nin exists "
    "iexact contains icontains startswith istartswith endswith iendswith",
    "age": "eq ne gt gte lt lte in nin exists",
    "exact_price": "eq ne in nin exists",
    "active": "eq ne in nin exists",
    "photo": "eq ne in nin exists",
    "key": "eq ne in nin exists",
    "color": "eq ne in nin exists",
    "owner": "eq ne in nin exists",
    "thing": "eq ne in nin exists",
    "number": "eq ne gt gte lt lte in nin exists",
    "seen": "eq ne gt gte lt lte in nin exists",
    "id": "eq ne gt gte lt lte in nin exists",
    "owners": "eq ne in nin exists all size",
    "anything": "eq ne gt gte lt lte in nin exists all size",
    "address": "exists",
    "data": "exists",
    "scores": "exists",
    "matrix": "exists size",
    "tasks": "exists size",
    "way": "exists",
    "stops": "exists size near max_distance within_box",
    "location": "exists near max_distance within_box",
    "legacy": "exists near max_distance within_box",
}
WRONG_OPERATORS = [
    "name__regex=x", "name__size=1", "name__all=x", "name__near=1,2", "age__contains=1", "age__iexact=1",
    "active__gt=true", "address__gt=x", "location=1,2", "location__in=1,2", "data=x", "data__in=x",
    "photo__gt=AA", f"owner__gt={ID}", "color__startswith=r", "exact_price__gt=1", "way__near=1,2",
    "matrix=1", "matrix__all=1", "name__=x", "name__$gt=x", "name__GTE=x", "name__eq__eq=x", "age__where=1",
]  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS_OF)
def test_a_field_has_the_operators_of_its_type(name):
    said = detail(f"{name}__whatever=x")
    assert said == f"'{name}' has no operator 'whatever', but {', '.join(OPERATORS_OF[name].split())}."


@pytest.mark.parametrize("query", WRONG_OPERATORS)
def test_an_operator_that_the_field_does_not_have_is_refused(query):
    said = detail(query)
    assert "has no operator" in said or "is no field" in said


# Values

WRONG_VALUES = [
    "age=x", "age=1.5", "age=true", "age=", "age=0x10", "age=1_0", "age=٣", "age=9223372036854775808",
    "age=" + "9" * 5000, "age__in=1,x", "age__in=", "age__in=1,,2", "age=[1]", 'age={"$gt":1}', "age=null",
    "height=x", "height=nan", "height=inf", "height=1e999", "height=", "height=" + "9" * 400, "height=1,5",
    "price=x", "price=NaN", "price=Infinity", "price=", "price=1e400", "price=" + "9" * 40, "precise=x",
    "precise=sNaN", "precise=1e9999", "active=maybe", "active=", "active=2", "born=31.1.2026", "born=",
    "born=2026-13-01", "created=yesterday", "created=", "created=0001-01-01T00:00:00%2B23:00", "seen=x",
    "seen=", "key=x", "key=", "photo=!", "photo=é", "number=x", "number=", "color=green", "color=", "id=x",
    "id=", "owner=", "owner=nobody", "owner__in=nobody", "owner=$where", 'owner={"$gt":""}', "owners=x",
    "thing=x", "thing=", "thing=1", "thing=[]", 'thing={"_cls":1,"id":"1"}', 'thing={"id":"1"}',
    'thing={"_cls":"FilterOwner","id":{"$gt":""}}', 'chosen={"_cls":"NoSuch","id":"1"}',
    'chosen={"_cls":"FilterPerson","id":"1"}', 'thing={"_cls":"FilterOwner","id":true}', "tags__size=x",
    "tags__size=-1", "tags__size=2147483648", "tags__size=", "tags__size=1.5", "tags__size=²",
    "name__exists=", "name__exists=x", "name__contains=a%00", "name__contains=" + "x" * 401,
    "data.x=9223372036854775808", "data.x=" + "1" * 30, "data.x__gt=true", "data.x__lt=null", "picky=5",
    "location__near=", "location__near=1", "location__near=1,2,3", "location__near=x,y",
    "location__near=181,0", "location__near=0,91", "location__near=nan,0", "location__near=inf,0",
    "location__near=1,2,,", "legacy__near=,", "location__within_box=1,2,3", "location__within_box=3,0,1,1",
    "location__within_box=0,2,1,1", "location__within_box=0,0,0,nan", "location__within_box=0,0,181,0",
    "location__near=" + "9" * 400 + ",0", "location__max_distance=5",
    "location__near=1,2&legacy__max_distance=5", "location__near=1,2&location__near=1,2",
    "location__near=1,2&legacy__near=1,2",
    *(f"location__near=1,2&location__max_distance={text}" for text in ("x", "", "-1", "nan", "inf", "1,2")),
    "location__near=1,2&location__max_distance=1&location__max_distance=2", "any_of=", "any_of=name",
    "any_of=name=a,", "any_of=any_of=x", "any_of=nothing=x", "any_of=age=x", "any_of=location__near=1\\,2",
    "any_of=location__max_distance=1", "any_of==x", "name__in=" + ",".join(["a"] * 1001),
    "any_of=" + ",".join(["name=a"] * 101), "&".join(["name=a"] * 101),
    "&".join(f"name={number}" for number in range(1000)),
    "any_of=" + ",".join(["name=a"] * 60) + "&any_of=" + ",".join(["name=a"] * 41),
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG_VALUES, ids=range(len(WRONG_VALUES)))
def test_a_value_that_the_field_cannot_have_is_refused(query):
    problem = refused(query)
    assert problem.status == 400
    assert len(problem.detail) < 2000


@pytest.mark.parametrize("name", ["name", "name__contains", "data.x", "owner", "age", "name__in", "thing"])
def test_what_is_no_unicode_is_refused(name):
    with pytest.raises(BadRequest):
        conditions([(name, "\ud800")], PEOPLE, None, find)


def test_an_empty_text_for_what_is_no_text_is_told_of_exists():
    assert "age__exists=false" in detail("age__gte=")
    assert "owner__exists=false" in detail("owner=")


def test_as_many_conditions_and_values_as_are_allowed():
    assert len(asked("&".join(["name=a"] * 100))) == 100
    assert len(filter_of("age__in=" + ",".join(["1"] * 1000))["age"]["$in"]) == 1000


# Dynamic documents


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("color=red", {"color": {"$eq": "red"}}),
        ("color__ne=red", {"color": {"$ne": "red"}}),
        ("size__gte=5", {"size": {"$gte": 5}}),
        ("a__b__eq=5", {"a__b": {"$eq": 5}}),
        ("open.door=5", {"open.door": {"$eq": 5}}),
        ("open.0.door=5", {"open.0.door": {"$eq": 5}}),
    ],
)
def test_a_dynamic_document_has_fields_of_any_name(query, expected):
    assert filter_of(query, encoder=NOTES) == expected


@pytest.mark.parametrize(
    "name",
    [
        *(
            "inner",
            "inner.x",
            "open.secret",
            "open.0.secret",
            "open.secret.x",
            "__raw__",
            "__class__",
            "_cls",
            "_id",
        ),
        *("pk", "$where", "save", "_data", "a__b", "title__regex", "inner__exists", "open.0.1.secret__ne"),
    ],
)
def test_a_dynamic_document_has_not_every_field(name):
    assert detail(f"{name}=x", encoder=NOTES)


# In memory


def test_the_distance_is_that_to_the_nearest_point():
    [near] = asked("stops__near=0,0")
    assert near.distance({"stops": [[50, 50], [1, 0], [0, 2]]}) == pytest.approx(111_318, abs=5)
    assert near.distance({"stops": []}) == near.distance({}) == math.inf


@pytest.mark.parametrize(
    ("query", "raw", "expected"),
    [
        ("age__gte=18", {"age": 18}, True),
        ("age__gte=18", {"age": 17.5}, False),
        ("age__gte=18", {"age": "20"}, False),
        ("age__gte=18", {}, False),
        ("age=1", {"age": True}, False),
        ("active=true", {"active": 1}, False),
        ("age=1", {"age": 1.0}, True),
        ("age=1", {"age": Decimal128("1.00")}, True),
        ("age__lt=1", {"age": Decimal128("NaN")}, False),
        ("age__lt=1", {"age": float("nan")}, False),
        ("price__lt=1.5", {"price": Decimal128("1.4")}, True),
        ("age__ne=1", {}, True),
        ("age__nin=1,2", {"age": 3}, True),
        ("age__nin=1,2", {"age": 2}, False),
        ("age__exists=false", {}, True),
        ("age__exists=false", {"age": None}, True),
        ("age__exists=true", {"age": 0}, True),
        ("data.x=null", {"data": {}}, True),
        ("tags=x", {"tags": ["y", "x"]}, True),
        ("tags__ne=x", {"tags": ["y", "x"]}, False),
        ("tags__all=x,y", {"tags": ["y", "x"]}, True),
        ("tags__all=x,z", {"tags": ["y", "x"]}, False),
        ("tags__size=2", {"tags": ["y", "x"]}, True),
        ("tags__size=2", {"tags": "xy"}, False),
        ("tags__icontains=X", {"tags": ["y", "axb"]}, True),
        ("tasks.title=a", {"tasks": [{"title": "b"}, {"title": "a"}]}, True),
        ("tasks.title=a", {"tasks": []}, False),
        ("tasks.hours=3", {"tasks": [{"hours": [1, 3]}]}, True),
        ("tasks.title__exists=false", {"tasks": [{"title": "b"}, {}]}, True),
        ("name__endswith=c", {"n": "abc\n"}, False),
        ("name__iexact=ABC", {"n": "abc"}, True),
        ("name__contains=a", {"n": 5}, False),
        ("created__gte=2026-01-31T00:00:00Z", {"created": datetime(2026, 1, 31, tzinfo=UTC)}, True),
        ("created=2026-01-31T00:00:00Z", {"created": naive(2026, 1, 31)}, True),
        (f"key={UUID}", {"key": Binary.from_uuid(UUID)}, True),
        (f"key={UUID}", {"key": Binary(UUID.bytes, 3)}, True),
        (f"key={UUID}", {"key": UUID}, True),
        ("photo=AAE%3D", {"photo": b"\0\1"}, True),
        (f"old_owner={ID}", {"old_owner": DBRef("filter_owner", ID)}, True),
        (f"cached_owner={ID}", {"cached_owner": {"_id": ID, "name": "x"}}, True),
        (f"thing={OWNER}", {"thing": {"_cls": "FilterOwner", "_ref": DBRef("filter_owner", ID)}}, True),
        (f"owner={NOBODY}", {"owner": ID}, False),
        (f"owner__ne={NOBODY}", {"owner": ID}, True),
        ("any_of=age=1,name=a", {"n": "a"}, True),
        ("any_of=age=1,name=a", {"n": "b"}, False),
        ("location__near=1,2", {"location": {"type": "Point", "coordinates": [50, 50]}}, True),
        ("location__near=1,2", {}, False),
        ("location__near=1,2", {"location": {"type": "LineString", "coordinates": [[1, 2], [1, 2]]}}, False),
        ("legacy__near=0,0&legacy__max_distance=111320", {"legacy": [1, 0]}, True),
        ("legacy__near=0,0&legacy__max_distance=111310", {"legacy": [1, 0]}, False),
        (
            "tasks.place__within_box=0,0,1,1",
            {"tasks": [{"place": {"type": "Point", "coordinates": [1, 1]}}]},
            True,
        ),
        ("legacy__within_box=0,0,1,1", {"legacy": [1.1, 1]}, False),
        ("stops__within_box=0,0,1,1", {"stops": [[50, 50], [1, 1]]}, True),
        ("stops__within_box=0,0,1,1", {"stops": [[50, 50], [1, 2]]}, False),
        ("data.x.0=5", {"data": {"x": [5, 6]}}, True),
        ("data.x.1=5", {"data": {"x": [5, 6]}}, False),
        ("data.x.9=5", {"data": {"x": [5, 6]}}, False),
        ("data.x=5", {"data": 7}, False),
    ],
)
def test_a_filter_holds_in_memory_as_in_mongodb(query, raw, expected):
    assert holds(asked(query), raw) is expected
