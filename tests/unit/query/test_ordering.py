"""A list is sorted by what ``sort`` names, and goes on after any item."""

import mongoengine as me
import pytest

from hive.errors import BadRequest
from hive.orders import arranged, beyond, is_walkable, order, position, reverse, total
from hive.schema import Visibility
from hive.serializers import Serializer


class SortOwner(me.Document):
    name = me.StringField()


class SortPlace(me.EmbeddedDocument):
    city = me.StringField(db_field="c")


class SortTask(me.EmbeddedDocument):
    title = me.StringField()


class SortThing(me.Document):
    label = me.StringField(db_field="l")
    number = me.IntField()
    height = me.FloatField()
    price = me.DecimalField()
    active = me.BooleanField()
    born = me.DateField()
    created = me.DateTimeField()
    key = me.UUIDField()
    photo = me.BinaryField()
    color = me.StringField()
    owner = me.ReferenceField(SortOwner)
    old_owner = me.ReferenceField(SortOwner, dbref=True)
    thing = me.GenericReferenceField()
    place = me.EmbeddedDocumentField(SortPlace)
    scores = me.MapField(me.IntField())
    tags = me.ListField(me.StringField())
    tasks = me.EmbeddedDocumentListField(SortTask)
    where = me.PointField()
    data = me.DictField()
    free = me.DynamicField()
    concealed_rank = me.IntField()
    pin = me.StringField()


THINGS = Serializer(
    SortThing, Visibility(hidden=frozenset({"concealed_rank"}), write_only=frozenset({"pin"}))
)


def refused(text, filterable=None):
    with pytest.raises(BadRequest) as caught:
        order(text, THINGS, filterable)
    return caught.value.detail


ORDERS = {
    "label": (("l", 1), ("_id", 1)),
    "-label,number": (("l", -1), ("number", 1), ("_id", 1)),
    "id": (("_id", 1),),
    "-id,label": (("_id", -1),),
    "active,-id": (("active", 1), ("_id", -1)),
    "place.city": (("place.c", 1), ("_id", 1)),
    "scores.math": (("scores.math", 1), ("_id", 1)),
    "-data.x.y": (("data.x.y", -1), ("_id", 1)),
    "label,number,height,price,active,born,created,key": (
        *((name, 1) for name in ("l", "number", "height", "price", "active", "born", "created", "key")),
        ("_id", 1),
    ),
}


@pytest.mark.parametrize("text", ORDERS)
def test_a_list_is_sorted_by_names_and_then_by_the_primary_key(text):
    assert order(text, THINGS, None) == ORDERS[text]


def test_a_list_that_is_not_to_be_sorted_has_no_order():
    assert order(None, THINGS, None) is None


NO_ORDERS = [
    *(
        "",
        "-",
        "--label",
        "+label",
        " label",
        "label ",
        "label,",
        ",label",
        "label,label",
        "label,-label",
        "x",
    ),
    *("tags", "tasks", "tasks.title", "place", "where", "where.coordinates", "scores"),
    *(
        "concealed_rank",
        "-concealed_rank",
        "pin",
        "_id",
        "l",
        "pk",
        "place.c",
        "place.",
        ".city",
        "place..city",
    ),
    *("place.x", "_cls", "__class__", "__raw__", "$where", "label.$", "data.$where", "data.a.$b", "data._id"),
    *("data.", "owner.name", "owner.id", "save", "objects", "id.x", "label\\,number", "\x00", "label\x00"),
    *(
        "a" * 5000,
        "a." * 2000,
        "label,number,height,price,active,born,created,key,color",
        "label," * 2000,
        "label;number",
        "-é",
        "{}",
        "1",
        "score",
    ),
]


@pytest.mark.parametrize("text", NO_ORDERS, ids=lambda text: repr(text[:20]))
def test_what_is_no_order_is_refused(text):
    assert len(refused(text)) < 1000


def test_what_clients_must_not_see_is_refused_as_what_there_is_not():
    names = ("concealed_rank", "pin", "xyzzyx")
    assert len({refused(name).replace(name, "") for name in names}) == 1


def test_a_list_is_sorted_by_what_is_filterable_only():
    allowed = frozenset({"label", "place"})
    for text in ("label", "place.city"):
        assert order(text, THINGS, allowed)
    for text in ("number", "label,number", "id"):
        assert "no field here" in refused(text, allowed)


@pytest.mark.parametrize("name", ["data.x", "free", "thing", "photo", "old_owner"])
def test_an_order_of_values_of_any_type_or_size_is_no_walk(name):
    assert not is_walkable(name, THINGS, None)
    assert not is_walkable(f"label,-{name}", THINGS, None)
    assert is_walkable("label,place.city", THINGS, None)


# In memory


def test_equal_items_stay_as_they_are_in_both_directions():
    raws = [{"title": title, "at": number} for number, title in enumerate("baabab")]
    for way, expected in ((1, [1, 2, 4, 0, 3, 5]), (-1, [0, 3, 5, 1, 2, 4])):
        assert [raw["at"] for raw in arranged(raws, total([("title", way)]), lambda raw: raw)] == expected


# What comes after an item


def test_nothing_comes_after_the_last_null():
    assert beyond((("name", -1), ("_id", 1)), (None, 3)) == {"name": {"$eq": None}, "_id": {"$gt": 3}}
    assert beyond((("_id", -1),), (None,)) == {"_id": {"$in": []}}


def test_the_order_ends_with_the_primary_key():
    assert total([("name", -1)]) == (("name", -1), ("_id", 1))
    assert total([("_id", -1), ("name", 1)]) == (("_id", -1),)
    assert total([]) == (("_id", 1),)
    assert reverse(total([("name", -1)])) == (("name", 1), ("_id", -1))


def test_a_list_or_an_object_is_no_position():
    assert position((("a.b", 1), ("_id", 1)), {"_id": 1, "a": {"b": 2}}) == (2, 1)
    assert position((("a.b", 1), ("_id", 1)), {"_id": 1}) == (None, 1)
    for value in ([], [1], {}, {"x": 1}):
        assert position((("a.b", 1), ("_id", 1)), {"_id": 1, "a": {"b": value}}) is None
