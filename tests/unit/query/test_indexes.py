"""An index answers a list, or does not; one that would do is advised."""

from urllib.parse import parse_qsl

import mongoengine as me
import pytest

from hive.filters import conditions
from hive.indexes import Needs, needs_of
from hive.orders import order
from hive.rows import Rows
from hive.schema import Visibility
from hive.serializers import Serializer


class NeedsPart(me.EmbeddedDocument):
    name = me.StringField(db_field="n")


class NeedsOwner(me.Document):
    name = me.StringField()


class NeedsThing(me.Document):
    name = me.StringField(db_field="n")
    rank = me.IntField()
    size = me.IntField()
    tags = me.ListField(me.StringField())
    parts = me.EmbeddedDocumentListField(NeedsPart)
    owner = me.ReferenceField(NeedsOwner)
    place = me.PointField()
    data = me.DictField()


THINGS = Serializer(NeedsThing, Visibility())


def needs(query, scope=None):
    """What a list needs that a query string asks for, where a scope leaves some documents."""
    pairs = parse_qsl(query)
    sort = dict(pairs).get("sort")
    asked = [pair for pair in pairs if pair[0] != "sort"]
    found = conditions(asked, THINGS, None, lambda model, text: text)
    return needs_of(Rows(None, scope or {}), found, order(sort, THINGS, None))


# What an index answers

NAME, RANK = ("n", 1), ("rank", 1)
ROWS = [
    # the keys of one index, the query, whether it is found by that index
    ([NAME], "name=a", True),
    ([NAME], "name__in=a,b", True),
    ([NAME], "name__startswith=a", True),
    ([NAME], "name__gt=a", True),
    ([NAME], "name__gte=a&name__lt=b", True),
    ([NAME], "name__istartswith=a", False),
    ([NAME], "name__icontains=a", False),
    ([NAME], "name__contains=a", False),
    ([NAME], "name__endswith=a", False),
    ([NAME], "name__iexact=a", False),
    ([NAME], "name__ne=a", False),
    ([NAME], "name__nin=a", False),
    ([NAME], "name__exists=true", False),
    ([NAME], "name=a&rank=1", True),
    ([NAME], "name=a&rank__ne=1", True),
    ([NAME], "name=a&name__icontains=a", True),
    ([NAME], "rank=1", False),
    ([("n", -1)], "name=a", True),
    ([("n", -1)], "name__lt=a", True),
    ([NAME, RANK], "name=a", True),
    ([NAME, RANK], "rank=1", False),
    ([NAME, RANK], "rank=1&name=a", True),
    ([NAME, RANK], "rank=1&name__ne=a", False),
    ([NAME], "sort=name", False),  # for the primary key decides between equals
    ([NAME, ("_id", 1)], "sort=name", True),
    ([NAME, ("_id", -1)], "sort=-name", True),
    ([("n", -1), ("_id", 1)], "sort=-name", True),
    ([("n", -1), ("_id", -1)], "sort=name", True),
    ([RANK, NAME, ("_id", 1)], "sort=name", False),
    ([RANK, NAME, ("_id", 1)], "rank=1&sort=name", True),
    ([RANK, NAME, ("_id", 1)], "rank__gt=1&sort=name", False),
    ([RANK, ("n", -1), ("_id", 1)], "rank=1&sort=-name", True),
    ([NAME, ("_id", 1)], "name__gt=a&sort=name", True),
    ([NAME, RANK, ("_id", 1)], "sort=name,rank", True),
    ([NAME, ("rank", -1), ("_id", 1)], "sort=name,rank", False),
    ([NAME, ("rank", -1), ("_id", 1)], "sort=name,-rank", True),
    ([NAME, ("_id", 1), ("size", 1)], "sort=name", True),
    ([NAME, ("_id", 1)], "name=a&sort=rank", False),
    ([NAME], "sort=id", True),
    ([NAME], "sort=-id", True),
    ([NAME], "sort=id,name", True),
    ([NAME], "name=a&sort=id", False),
    ([NAME, ("_id", 1)], "name=a&sort=-id", True),
    ([("tags", 1)], "tags=a", True),
    ([("tags", 1)], "tags__all=a,b", True),
    ([("tags", 1)], "tags__size=2", False),
    ([("parts.n", 1)], "parts.name=a", True),
    ([("parts", 1)], "parts.name=a", False),
    ([("data.x", 1)], "data.x=1", True),
    ([("data.x", 1)], "data.y=1", False),
    ([("owner", 1)], "owner=65a000000000000000000001", True),
    ([NAME], "any_of=name=a,name=b", True),
    ([NAME], "any_of=name=a,rank=1", False),
    ([NAME], "any_of=name=a,id=65a000000000000000000001", True),
    ([NAME], "name=a&any_of=rank=1,size=2", True),
    ([NAME], "any_of=name=a,name=b&sort=rank", False),
    ([NAME], "any_of=name__icontains=a,name=b", False),
    ([NAME], "any_of=name__ne=a,name=b", False),
    ([("place", "2dsphere")], "place__within_box=1,1,2,2", False),
    ([("place", "2dsphere")], "place__near=1,1&place__max_distance=1000", True),
    ([NAME, ("_id", 1), RANK], "rank__gte=1&sort=size", False),
    ([NAME, ("_id", 1), RANK], "rank__gte=1&sort=name", True),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "query", "is_found"), ROWS)
def test_a_list_is_found_if_there_is_an_index_for_it(keys, query, is_found):
    assert needs(query).met_by([tuple(keys)]) is is_found


def test_what_a_scope_asks_for_leads_an_index():
    index = (("tenant", 1), NAME, ("_id", 1))
    for scope in ({"tenant": "a"}, {"tenant": {"$eq": "a"}}, {"tenant": {"$in": ["a", "b"]}}):
        assert needs("name=a", scope).met_by([index])
        assert needs("sort=name", scope).met_by([index])
        assert not needs("sort=-name", scope).met_by([index])
        assert not needs("name=a").met_by([index])


@pytest.mark.parametrize(
    "query", ["", "id=65a000000000000000000001", "id__in=65a000000000000000000001",
    "id__gt=65a000000000000000000001", "id=65a000000000000000000001&name__icontains=a"],
)  # fmt: skip
def test_a_plain_list_and_one_by_primary_key_need_no_further_index(query):
    assert needs(query).met_by([])


# What is advised

ADVICE = {
    "name=a": [NAME],
    "name=a&rank=1": [NAME, RANK],
    "rank=1&sort=-name": [RANK, ("n", -1), ("_id", 1)],
    "size__gt=1&rank=1&sort=name": [RANK, NAME, ("_id", 1), ("size", 1)],
    "sort=name": [NAME, ("_id", 1)],
    "parts.name=a": [("parts.n", 1)],
    "name=a&rank__ne=1": [NAME],
    "name__icontains=a": [],
    "name__ne=a": [],
    "name__icontains=a&sort=rank": [],
}


@pytest.mark.parametrize("query", ADVICE)
def test_an_index_is_advised_where_one_helps(query):
    assert list(needs(query).index) == ADVICE[query]


EQUAL = [(), ("a",), ("a", "b")]
RANGES = [(), ("c",), ("a",)]
OTHERS = [(), ("d",)]
ORDERS = [(), (("e", 1), ("_id", 1)), (("a", 1), ("_id", 1)), (("c", -1), ("_id", 1))]
WAYS = [(), (("a", "f"),)]


def test_every_index_that_is_advised_would_do():
    shapes = [
        Needs(equal, ranged, others, ways, order)
        for equal in EQUAL for ranged in RANGES for others in OTHERS for ways in WAYS for order in ORDERS
    ]  # fmt: skip
    assert [needs for needs in shapes if needs.index and not needs.met_by([needs.index])] == []


def test_a_hashed_index_finds_what_is_equal_and_nothing_else():
    hashed = (("a", "hashed"),)  # which SecantusDB does not have
    assert Needs(("a",), (), (), (), ()).met_by([hashed])
    assert not Needs((), ("a",), (), (), ()).met_by([hashed])


def test_whether_an_index_would_do_is_decided_without_any_too():
    assert Needs((), (), (), (), ()).met_by([])
    assert Needs(("_id",), (), (), (), ()).met_by([])
    assert not Needs(("a",), (), (), (), ()).met_by([])
