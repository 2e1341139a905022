"""What is asked of MongoDB is what a scope and mongoengine's querysets say."""

import mongoengine as me
import pytest
from pymongo import ReadPreference

from hive.rows import BY_KEY, Rows, both, rows_of


class QueriesNote(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField(db_field="n")
    rank = me.IntField()


class QueriesOrdered(me.Document):
    meta = {"ordering": ["-rank", "name"]}
    name = me.StringField(db_field="n")
    rank = me.IntField()


class QueriesAnimal(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class QueriesDog(QueriesAnimal):
    breed = me.StringField()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"$and": [{"a": 1}, {"a": 2}]}),
        ({"$or": [1]}, {"$or": [2]}, {"$and": [{"$or": [1]}, {"$or": [2]}]}),
        ({"$and": [1]}, {"a": 2}, {"$and": [1], "a": 2}),
    ],
)
def test_what_matches_both_filters_matches_each(one, other, expected):
    assert both(one, other) == expected


def test_rows_without_a_scope_are_those_of_a_queryset(mongomock_database):
    for model in (QueriesNote, QueriesOrdered, QueriesDog, QueriesAnimal):
        plain, scoped = rows_of(model), rows_of(model, lambda queryset: queryset)
        assert (dict(plain.query), list(plain.order), dict(plain.how)) == (
            dict(scoped.query),
            list(scoped.order),
            dict(scoped.how),
        )
        assert plain.collection == scoped.collection
    assert list(rows_of(QueriesNote).order) == list(BY_KEY)


def test_a_class_has_the_order_and_the_documents_that_its_model_says(mongomock_database):
    assert list(rows_of(QueriesOrdered).order) == [("rank", -1), ("n", 1)]
    assert rows_of(QueriesNote).query == {}
    assert rows_of(QueriesDog).query == {"_cls": "QueriesAnimal.QueriesDog"}


def test_a_where_clause_is_sent(mongomock_database):
    rows = rows_of(QueriesNote, lambda queryset: queryset.where("this[~name] == 'x'"))
    assert rows.query == {"$where": "this['n'] == 'x'"} or "$where" in rows.query
    rows = rows_of(QueriesNote, lambda queryset: queryset.filter(rank=1).where("true"))
    assert rows.query == {"rank": 1, "$where": "true"}


def test_a_scope_says_what_is_read_from_where(mongomock_database):
    rows = rows_of(QueriesNote, lambda queryset: queryset.read_preference(ReadPreference.SECONDARY_PREFERRED))
    assert rows.collection.read_preference == ReadPreference.SECONDARY_PREFERRED
    assert rows.on_primary().collection.read_preference == ReadPreference.PRIMARY


def test_nothing_is_asked_for_no_keys(mongomock_database):
    assert Rows(None, {}).among([]) == []
