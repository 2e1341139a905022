"""A list that is walked by its links has the order of the list in one piece."""

import enum
import random
import re
import uuid
from datetime import datetime
from typing import Any

import mongoengine as me
import pytest
from bson import DBRef, Decimal128, ObjectId
from hypothesis import HealthCheck, given, settings, strategies as st

from hive import ModelHive, flatten
from hive.orders import arranged
from hive.testing import serve

naive = datetime  # as mongoengine has times: in UTC, without saying so


class OrderColor(enum.Enum):
    RED = "red"
    BLUE = "blue"


class OrderKind(enum.Enum):
    """Values of several types, so that no filter tells what comes after one."""

    FIRST = "a"
    ONE = 1
    LAST = "c"


class OrderOwner(me.Document):
    name = me.StringField()


class OrderPlace(me.EmbeddedDocument):
    city = me.StringField(db_field="c")
    floor = me.IntField()


class OrderTask(me.EmbeddedDocument):
    key = me.IntField(db_field="_id")
    title = me.StringField()
    weight = me.Decimal128Field()
    data = me.BinaryField()
    rank = me.IntField()


class OrderThing(me.Document):
    label = me.StringField(db_field="l")
    number = me.IntField()
    height = me.FloatField()
    price = me.DecimalField()
    exact = me.Decimal128Field()
    active = me.BooleanField()
    born = me.DateField()
    created = me.DateTimeField()
    seen = me.ComplexDateTimeField()
    key = me.UUIDField()
    photo = me.BinaryField()
    color = me.EnumField(OrderColor)
    kind = me.EnumField(OrderKind)
    owner = me.ReferenceField(OrderOwner)
    old_owner = me.ReferenceField(OrderOwner, dbref=True)
    thing = me.GenericReferenceField()
    place = me.EmbeddedDocumentField(OrderPlace)
    scores = me.MapField(me.IntField())
    tags = me.ListField(me.StringField())
    tasks = me.EmbeddedDocumentListField(OrderTask)
    where = me.PointField(auto_index=False)
    data = me.DictField()
    free = me.DynamicField()
    concealed_rank = me.IntField()
    pin = me.StringField()


class OrderCoin(me.Document):
    code = me.StringField(primary_key=True)
    worth = me.IntField()


class OrderGate(me.Document):
    number = me.IntField(primary_key=True)
    width = me.IntField()


class OrderToken(me.Document):
    key = me.UUIDField(primary_key=True)


class OrderPass(me.Document):
    owner = me.ReferenceField(OrderOwner, primary_key=True)


class OrderNews(me.Document):
    title = me.StringField()
    rank = me.IntField()
    meta = {"ordering": ["-rank", "title"]}


class OrderShape(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class OrderCircle(OrderShape):
    radius = me.FloatField()


class OrderSquare(OrderShape):
    side = me.FloatField(db_field="s")


def newest(queryset, handler):
    return queryset.order_by("-number", "label")


def by_tasks(queryset, handler):
    return queryset.order_by("tasks.title")


def by_tags(queryset, handler):
    return queryset.order_by("-tags")


def alike(queryset, handler):
    return queryset.order_by("label").collation({"locale": "en", "strength": 2})


ROUTES = flatten(
    [
        ModelHive.routes_for(OrderThing, hidden=["concealed_rank"], write_only=["pin"]),
        ModelHive.routes_for(OrderThing, prefix="/scoped", scope=newest, hidden=["pin"]),
        ModelHive.routes_for(OrderThing, prefix="/tasks", scope=by_tasks, hidden=["pin"]),
        ModelHive.routes_for(OrderThing, prefix="/tags", scope=by_tags, hidden=["pin"]),
        ModelHive.routes_for(OrderThing, prefix="/some", filterable=["label", "place"], hidden=["pin"]),
        [ModelHive.routes_for(model) for model in (OrderOwner, OrderCoin, OrderGate, OrderToken, OrderPass)],
        [ModelHive.routes_for(model) for model in (OrderNews, OrderShape)],
    ]
)
UNORDERED = "/order_thing"


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def api(server, mongodb_database):
    return server


def links(reply):
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def ids(reply, key="id"):
    assert reply.status == 200, reply.body
    return [item[key] for item in reply.json]


def pages(api, path, rel, most=150):
    """The pages from a path on, by its links."""
    while path is not None:
        reply = api.get(path)
        assert reply.status == 200, reply.body
        yield reply
        path = links(reply).get(rel)
        most -= 1
        assert most, "the links never end"


def query(path, **parameters):
    from_parameters = "&".join(f"{name}={value}" for name, value in parameters.items() if value is not None)
    return f"{path}?{from_parameters}"


def walks(api, path, per_page, sort=None, key="id"):
    """A list in one piece, by its links forward, and back again from its last page."""
    whole = ids(api.get(query(path, sort=sort, per_page=100)), key)
    there = list(pages(api, query(path, sort=sort, per_page=per_page), "next"))
    back = list(pages(api, links(there[-1]).get("prev"), "prev"))
    forward = [one for reply in there for one in ids(reply, key)]
    before = [one for reply in reversed(back) for one in ids(reply, key)]
    return whole, forward, before + ids(there[-1], key)


def check_walk(api, path, sort=None, per_page=3, key="id"):
    whole, forward, backward = walks(api, path, per_page, sort, key)
    assert forward == whole, (sort, per_page)
    assert backward == whole, (sort, per_page)


def check_walks(api, name, per_page=3):
    """Upwards and downwards."""
    for sort in (name, f"-{name}"):
        check_walk(api, UNORDERED, sort, per_page)


OWNERS = [ObjectId(f"65a00000000000000000000{number}") for number in range(3)]
UUIDS = [uuid.UUID(int=number << 100) for number in (3, 1, 15)]
VALUES: dict[str, tuple[str, list[Any]]] = {
    "label": ("l", ["b", "a", "", "Ä", "ä", "z", "日本", "🙂", "\uffff", "a\x00b", "a", "$x", "a.b"]),
    "number": ("number", [3, 1, -(2**63), 2**63 - 1, 0, 3, 2**53 + 1, 2**53]),
    "height": ("height", [1.5, -1.5, 0.0, -0.0, float("inf"), float("-inf"), 5e-324, 1e308, 1.5, 7]),
    "price": ("price", [1.5, 0.1, 1.5, -2.0]),
    "exact": ("exact", [Decimal128(text) for text in ("1.5", "1.50", "NaN", "-3", "1E+3", "-Infinity")]),
    "active": ("active", [True, False, True]),
    "born": ("born", [naive(2026, 1, 1), naive(1, 1, 1), naive(2026, 1, 1), naive(9999, 12, 31)]),
    "created": ("created", [naive(2026, 1, 1, 0, 0, 0, 1000), naive(2026, 1, 1), naive(1960, 1, 1)]),
    "seen": ("seen", ["2026,01,31,00,00,00,000001", "2026,01,31,00,00,00,000000"]),
    "key": ("key", UUIDS + UUIDS[:1]),
    "color": ("color", ["red", "blue", "red"]),
    "kind": ("kind", ["a", 1, "c"]),
    "owner": ("owner", [OWNERS[1], OWNERS[0], OWNERS[2], OWNERS[1]]),
    "place.city": ("place", [{"c": "b"}, {"c": "a"}, {}, {"c": None}, {"c": "b", "floor": 2}]),
    "scores.math": ("scores", [{"math": 3}, {"math": 1}, {}, {"math": 3, "art": 0}]),
}


def store(key, values):
    """Things with these values, some with null, and some with nothing."""
    documents = [{key: value} for value in values] + [{key: None}, {}, {key: None}, {}]
    random.Random(7).shuffle(documents)
    OrderThing._get_collection().insert_many(documents)


# By a walk over what is stored


@pytest.mark.parametrize("name", VALUES)
def test_a_walk_gives_each_once_in_the_order_of_the_whole_list(api, name):
    store(*VALUES[name])
    check_walks(api, name)


@pytest.mark.parametrize("per_page", [1, 2])
def test_a_walk_gives_each_once_whatever_the_size_of_the_pages(api, per_page):
    store("l", ["b", "a", "", "a"])
    check_walks(api, "label", per_page)


@pytest.mark.parametrize(
    "sort", ["label,-number", "-label,number", "number,-height,label", "-place.city,place.floor", "active,id",
    "active,-id", "id", "-id", "-id,label", "label,number,height,active,created,key,color,owner"],
)  # fmt: skip
def test_a_walk_by_several_names(api, sort):
    chosen = random.Random(5)
    cities = [None, "a", "b"]
    OrderThing._get_collection().insert_many(
        [
            {
                "l": chosen.choice(["a", "b", None]), "number": chosen.choice([1, 2]),
                "height": chosen.choice([1.0, None, 2.0]), "active": chosen.choice([True, False, None]),
                "place": {"c": chosen.choice(cities), "floor": chosen.choice([1, 2, None])},
            }
            for _ in range(20)
        ]
    )  # fmt: skip
    check_walk(api, UNORDERED, sort, per_page=4)


def test_ties_are_broken_by_id_upwards_in_whatever_direction(api):
    made = [str(OrderThing(label="a").save().id) for _ in range(5)]
    for sort in ("label", "-label", "-label,-number"):
        assert ids(api.get(f"{UNORDERED}?sort={sort}")) == made
    assert ids(api.get(f"{UNORDERED}?sort=-label,-id")) == made[::-1]


def test_null_and_what_is_missing_come_first_upwards_and_last_downwards(api):
    OrderThing._get_collection().insert_many([{"_id": 1, "l": "a"}, {"_id": 2, "l": None}, {"_id": 3}])
    names = [item["label"] for item in api.get(f"{UNORDERED}?sort=label").json]
    assert names == [None, None, "a"]
    assert [item["label"] for item in api.get(f"{UNORDERED}?sort=-label").json] == ["a", None, None]


def test_texts_are_sorted_by_their_bytes(api):
    for label in ("b", "B", "ä", "a", "Z"):
        OrderThing(label=label).save()
    assert ids(api.get(f"{UNORDERED}?sort=label"), "label") == ["B", "Z", "a", "b", "ä"]


def test_nan_is_sorted_before_all_numbers_and_is_no_end_of_a_walk(api):
    store("height", [1.0, float("nan"), 2.0, float("nan"), float("-inf"), 0.5])
    check_walks(api, "height")


def test_references_that_are_stored_as_dbref_are_sorted(api):
    store("old_owner", [DBRef("order_owner", one) for one in (OWNERS[1], OWNERS[0], OWNERS[2], OWNERS[0])])
    check_walks(api, "old_owner")


def test_bytes_are_sorted(api):
    store("photo", [b"b", b"a", b"", b"aa", b"b"])
    check_walks(api, "photo")


@pytest.mark.parametrize("name", ["data.x", "free"])
def test_values_of_any_type_are_walked_without_loss(api, name):
    values = [3, "a", None, 1, "b", True, {"q": 1}, 2.5, naive(2026, 1, 1), ObjectId(), b"x"]
    key, *below = name.split(".")
    store(key, [{below[0]: value} if below else value for value in values])
    check_walks(api, name)


def test_objects_in_lists_that_no_field_describes_are_walked_without_loss(api):
    store("data", [{"x": value} for value in ([{"y": 3}], [{"y": 1}], [{"y": 2}], {"y": 2}, [], 5)])
    check_walks(api, "data.x.y")


def test_generic_references_are_walked_without_loss(api):
    store("thing", [{"_cls": "OrderOwner", "_ref": DBRef("order_owner", one)} for one in OWNERS])
    check_walks(api, "thing")


@pytest.mark.parametrize("prefix", ["/tasks", "/tags"])
def test_a_scope_that_sorts_by_what_is_in_lists_is_walked_without_loss(api, prefix):
    OrderThing._get_collection().insert_many(
        [{"tags": [one], "tasks": [{"title": one}, {"title": "z"}]} for one in "cabdb"]
    )
    check_walk(api, f"{prefix}{UNORDERED}")


def test_texts_that_are_too_long_for_a_url_have_no_broken_links(api):
    store("l", ["a" * 5000, "b" * 9000, "c", "d" * 60_000, "a", "\U0001f600" * 3000, "\U0001f601"])
    for sort in ("label", "-label"):
        for reply in pages(api, f"{UNORDERED}?sort={sort}&per_page=2&fields=id", "next"):
            assert len(reply.headers["Link"]) < 16_000
        check_walk(api, UNORDERED, sort)
        assert [api.get(f"{UNORDERED}?sort={sort}&page={page}").status for page in (1, 2)] == [200, 200]


def test_a_walk_from_a_text_that_is_too_long_for_a_url_and_is_no_more_begins_anew(api):
    store("l", ["a" * 60_000, "b"])
    following = links(api.get(f"{UNORDERED}?sort=-label&per_page=2&fields=id"))["next"]
    OrderThing._get_collection().delete_many({"l": {"$regex": "^a"}})
    reply = api.get(following)
    assert (reply.status, "begin anew" in reply.json["detail"]) == (400, True)


def test_a_walk_with_a_custom_primary_key(api):
    OrderCoin.objects.insert([OrderCoin(code=code, worth=len(code)) for code in ("b", "ä", "a", "ab", "日")])
    OrderGate.objects.insert([OrderGate(number=number, width=number % 2) for number in (3, -1, 0, 10, 2**40)])
    OrderToken.objects.insert([OrderToken(key=key) for key in UUIDS])
    for one in OWNERS:
        OrderPass(owner=one).save()
    for path, sort, key in (
        ("/order_coin", None, "code"), ("/order_coin", "-code", "code"), ("/order_coin", "-worth", "code"),
        ("/order_gate", None, "number"), ("/order_gate", "-number", "number"),
        ("/order_gate", "width", "number"),
        ("/order_token", None, "key"), ("/order_token", "-key", "key"), ("/order_pass", "-owner", "owner"),
    ):  # fmt: skip
        check_walk(api, path, sort, key=key)
    assert ids(api.get("/order_gate?sort=-number"), "number") == [2**40, 10, 3, 0, -1]


def test_a_walk_in_the_order_of_the_model(api):
    OrderNews.objects.insert(
        [OrderNews(title=title, rank=rank) for title, rank in zip("cabdb", [1, 1, None, 2, 2], strict=True)]
    )
    titles = ids(api.get("/order_news"), "title")
    assert titles == ["b", "d", "a", "c", "b"]
    check_walk(api, "/order_news")
    check_walk(api, "/order_news", "title")


def test_a_walk_in_the_order_of_a_scope(api):
    store("number", [3, 1, 3, 2])
    check_walk(api, f"/scoped{UNORDERED}")
    check_walk(api, f"/scoped{UNORDERED}", "number")


def test_a_walk_by_the_collation_of_a_scope(mongodb_database):
    with serve(ModelHive.routes_for(OrderThing, scope=alike, hidden=["pin"])) as api:
        store("l", ["b", "B", "a", "A", "c"])
        check_walk(api, UNORDERED)


def test_a_walk_over_documents_of_several_classes(api):
    for number in (2, 1):
        OrderShape(name=f"n{number}").save()
        OrderCircle(name=f"n{number}", radius=number).save()
        OrderSquare(name=f"n{number}", side=number).save()
    for sort in ("name", "-radius", "side", "-side,radius"):
        check_walk(api, "/order_shape", sort)
    assert [item["_cls"] for item in api.get("/order_shape?sort=-side").json][:2] == [
        "OrderShape.OrderSquare"
    ] * 2


TEXTS = st.sampled_from(["a", "b", "", "ä", "日", "A"])
FIELDS: dict[str, tuple[str, Any]] = {
    "label": ("l", TEXTS),
    "number": ("number", st.integers(-2, 2)),
    "height": ("height", st.sampled_from([1.5, -1.5, 0.0, -0.0, 2, float("inf"), float("nan")])),
    "exact": ("exact", st.sampled_from([Decimal128("1.5"), Decimal128("1.50"), Decimal128("-2")])),
    "active": ("active", st.booleans()),
    "created": ("created", st.sampled_from([naive(2026, 1, 1), naive(2026, 1, 2), naive(1960, 1, 1)])),
    "key": ("key", st.sampled_from(UUIDS)),
    "owner": ("owner", st.sampled_from(OWNERS)),
    "place.city": ("place", st.one_of(st.just({}), st.builds(lambda city: {"c": city}, st.none() | TEXTS))),
}
DOCUMENTS = st.lists(
    st.fixed_dictionaries({}, optional={key: st.none() | values for key, values in FIELDS.values()}),
    max_size=12,
)
SORTS = st.lists(st.sampled_from([*FIELDS, "id"]), max_size=4, unique=True).flatmap(
    lambda names: st.tuples(*(st.sampled_from([name, f"-{name}"]) for name in names))
)


@given(documents=DOCUMENTS, sort=SORTS, size=st.integers(1, 5))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_documents_in_any_order_are_walked_as_they_are_listed(api, documents, sort, size):
    collection = OrderThing._get_collection()
    collection.delete_many({})
    if documents:
        collection.insert_many([dict(document) for document in documents])
    check_walk(api, UNORDERED, ",".join(sort) or None, per_page=size)


# What is no order


def test_what_is_no_order_is_400(api):
    for path in (f"{UNORDERED}?sort=label,", f"{UNORDERED}?sort=pin", f"/some{UNORDERED}?sort=number"):
        reply = api.get(path)
        assert reply.status == 400, reply.body
        assert reply.headers["Content-Type"] == "application/problem+json"
    assert api.get(f"/some{UNORDERED}?sort=place.city").status == 200


# In memory


TASKS = {
    "title": ["b", "a", None, "ä", "B", "日", "a", ""],
    "weight": [Decimal128("1.5"), Decimal128("-2"), None, Decimal128("1E+3"), Decimal128("NaN")],
    "data": [b"b", b"a", b"", b"aa", None],
    "rank": [3, 1, None, 2, 3],
    "_id": [3, 1, None, 2, 7],
}


def test_a_list_in_a_document_is_sorted_as_mongodb_sorts(mongodb_database):
    collection = mongodb_database["order_tasks"]
    collection.insert_many(
        [{"of": key, "task": {key: one}} for key, values in TASKS.items() for one in values]
    )
    for key in TASKS:
        raws = list(collection.find({"of": key}, sort=[("_id", 1)]))
        for way in (1, -1):
            found = collection.find({"of": key}, sort=[(f"task.{key}", way), ("_id", 1)])
            assert arranged(raws, ((f"task.{key}", way), ("_id", 1)), lambda raw: raw) == list(found)
