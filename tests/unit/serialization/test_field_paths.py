"""A dotted name leads to a field, where clients may know that there is one."""

import time

import mongoengine as me
import pytest

from hive.codecs.scalars import Text
from hive.errors import BadRequest
from hive.names import DEEPEST, known, names_of, resolve, unknown
from hive.schema import Visibility
from hive.serializers import Serializer


class NamedOwner(me.Document):
    name = me.StringField()


class NamedStreet(me.EmbeddedDocument):
    number = me.IntField(db_field="no")
    code = me.StringField()


class NamedAddress(me.EmbeddedDocument):
    city = me.StringField(db_field="c")
    streets = me.EmbeddedDocumentListField(NamedStreet, db_field="s")


class NamedNode(me.EmbeddedDocument):
    title = me.StringField()
    note = me.StringField()
    children = me.EmbeddedDocumentListField("NamedNode")


class NamedLeft(me.EmbeddedDocument):
    go = me.GenericEmbeddedDocumentField(choices=["NamedLeft", "NamedRight"])


class NamedRight(me.EmbeddedDocument):
    go = me.GenericEmbeddedDocumentField(choices=["NamedLeft", "NamedRight"])
    end = me.StringField()


class NamedHouse(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField(db_field="n")
    address = me.EmbeddedDocumentField(NamedAddress, db_field="a")
    others = me.ListField(me.EmbeddedDocumentField(NamedAddress))
    grid = me.ListField(me.ListField(me.EmbeddedDocumentField(NamedAddress)))
    by_name = me.MapField(me.EmbeddedDocumentField(NamedAddress))
    owner = me.ReferenceField(NamedOwner)
    owners = me.ListField(me.ReferenceField(NamedOwner))
    node = me.EmbeddedDocumentField(NamedNode)
    either = me.GenericEmbeddedDocumentField(choices=[NamedStreet, "NamedNode"])
    any_part = me.GenericEmbeddedDocumentField()
    start = me.EmbeddedDocumentField(NamedLeft)
    data = me.DictField()
    lists = me.MapField(me.ListField(me.IntField()))
    secret = me.StringField()


class NamedCastle(NamedHouse):
    towers = me.IntField(db_field="t")
    dungeon = me.StringField()


class NamedRuin(NamedHouse):
    since = me.DateField()


class NamedNote(me.DynamicDocument):
    meta = {"allow_inheritance": True}
    title = me.StringField(db_field="t")


class NamedDiary(NamedNote):
    confession = me.StringField(db_field="truth")


HOUSES = Serializer(
    NamedHouse,
    Visibility(
        hidden=frozenset({"secret", "dungeon", "address.streets.code", "node.note"}),
        write_only=frozenset({"either.code"}),
    ),
)
NOTES = Serializer(NamedNote, Visibility(hidden=frozenset({"confession", "extra.inner"})))


@pytest.mark.parametrize(
    ("name", "key", "path", "listed"),
    [
        ("id", "_id", "id", False),
        ("name", "n", "name", False),
        ("address", "a", "address", False),
        ("address.city", "a.c", "address.city", False),
        ("address.streets", "a.s", "address.streets", False),
        ("address.streets.number", "a.s.no", "address.streets.number", True),
        ("others", "others", "others", False),
        ("others.city", "others.c", "others.city", True),
        ("others.streets.code", "others.s.code", "others.streets.code", True),
        ("by_name.x.city", "by_name.x.c", "by_name.city", False),
        ("towers", "t", "towers", False),
        ("since", "since", "since", False),
        ("owner", "owner", "owner", False),
        ("node.children.children.title", "node.children.children.title", "node.title", True),
        ("either.number", "either.no", "either.number", False),
        ("either.title", "either.title", "either.title", False),
        ("start.go.go.end", "start.go.go.end", "start.go.end", False),
        ("data.x.0.y", "data.x.0.y", "data.x.y", False),
        ("lists.x", "lists.x", "lists", False),
    ],
)
def test_a_name_leads_to_a_field(name, key, path, listed):
    named = resolve(HOUSES, name)
    assert (named.name, named.key, named.path, named.listed) == (name, key, path, listed)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "secret",
            "dungeon",
            "address.streets.code",
            "node.note",
            "node.children.note",
            "either.code",
            "n",
            "a.c",
        ),
        *(
            "address.c",
            "grid.city",
            "any_part.number",
            "name.x",
            "owner.name",
            "owners.name",
            "data._cls",
            "pk",
        ),
        *("_cls", "lists.x.0", "start.end", "", ".", "name.", "by_name.x.y.z", "id.x"),
        "node" + ".children" * DEEPEST,
    ],
)
def test_a_name_that_clients_do_not_know_leads_nowhere(name):
    assert known(HOUSES, name) is None
    with pytest.raises(BadRequest):
        resolve(HOUSES, name)


def test_a_field_knows_its_values_and_those_of_its_items():
    single, listed = resolve(HOUSES, "name"), resolve(HOUSES, "owners")
    assert isinstance(single.codec, Text)
    assert single.item is single
    assert not listed.listed
    assert listed.item.listed
    assert listed.item.field.document_type is NamedOwner
    assert resolve(HOUSES, "data.x").field is None


def test_it_is_told_whether_a_name_ends_with_a_key():
    ends_with_key = {"name": False, "address.city": False, "data": False, "data.x": True, "lists.x": True}
    assert {name: resolve(HOUSES, name).is_key for name in ends_with_key} == ends_with_key
    assert not resolve(HOUSES, "by_name.x.city").is_key


def test_the_nearest_name_is_told_unless_clients_may_not_know_it():
    with pytest.raises(BadRequest) as caught:
        resolve(HOUSES, "adress.citi")
    assert caught.value.detail == "'adress.citi' is no field here: did you mean 'address.city'?"
    for name in ("secre", "dungeo", "address.streets.codes"):
        with pytest.raises(BadRequest) as caught:
            resolve(HOUSES, name)
        assert not any(word in caught.value.detail for word in ("'secret'", "'dungeon'", "streets.code'"))


def test_the_nearest_name_is_an_allowed_one():
    with pytest.raises(BadRequest) as caught:
        resolve(HOUSES, "nam", frozenset({"address"}))
    assert caught.value.detail == "'nam' is no field here."


def test_a_name_may_be_told_apart_from_all_others():
    assert unknown("'x' is wrong", "x", []).detail == "'x' is wrong."
    assert unknown("'sort' is wrong", "sort", iter(["sorted", "after"])).detail.endswith(
        "did you mean 'sorted'?"
    )


def test_an_allowed_name_allows_all_below_it():
    allowed = frozenset({"address", "node.title", "by_name.city", "data.x"})
    for name in (
        "address.city",
        "address.streets",
        "node.title",
        "node.children.title",
        "by_name.x.city",
        "data.x.y",
    ):
        assert known(HOUSES, name, allowed)
    for name in ("name", "node", "node.children", "by_name", "by_name.x", "data", "data.y", "towers"):
        assert known(HOUSES, name, allowed) is None


def test_what_leads_through_a_reference_is_told():
    for name in ("owner.name", "owners.name", "owner.name.x"):
        with pytest.raises(BadRequest, match=r"400: 'owners?' is a reference"):
            resolve(HOUSES, name)
    with pytest.raises(BadRequest, match="is no field here"):
        resolve(HOUSES, "owner.name", frozenset({"name"}))


def test_all_names_are_those_that_clients_may_use_each_once():
    names = list(names_of(HOUSES))
    assert len(names) == len(set(names))
    assert {"name", "address.streets.number", "node.children", "towers", "since", "either.title"} <= set(
        names
    )
    assert not {"secret", "dungeon", "node.note", "either.code", "address.streets.code"} & set(names)
    assert all(known(HOUSES, name) for name in names)
    assert list(names_of(HOUSES, frozenset({"address.city", "owner"}))) == ["address.city", "owner"]


def test_classes_that_embed_each_other_do_not_take_long():
    start = time.thread_time()
    for name in ("start" + ".go" * 18 + ".nothing", "start" + ".go" * 18, "start" + ".go" * 18 + ".end"):
        known(HOUSES, name)
    assert known(HOUSES, "start" + ".go" * 18 + ".end")
    with pytest.raises(BadRequest):
        resolve(HOUSES, "owner." * 5000)
    assert time.thread_time() - start < 4  # CPU seconds: it takes 0.004, a search of all 2**18 ways 16


def test_a_dynamic_document_has_any_name_but_not_what_is_hidden_or_declared_under_another():
    assert resolve(NOTES, "anything").key == "anything"
    assert resolve(NOTES, "title").key == "t"
    assert resolve(NOTES, "extra.other").key == "extra.other"
    for name in (
        "t",
        "truth",
        "confession",
        "extra.inner",
        "extra.3.inner.x",
        "_cls",
        "_id",
        "pk",
        "save",
        "__raw__",
    ):
        assert known(NOTES, name) is None
