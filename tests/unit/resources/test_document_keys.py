"""hive.resource.Keys: how URLs and bodies name documents."""

import mongoengine as me
import pytest
from bson import ObjectId

from hive.resource import Keys

ID = ObjectId("65a000000000000000000001")


class KeyedById(me.Document):
    name = me.StringField()


class KeyedByNumber(me.Document):
    number = me.IntField(primary_key=True)


class KeyedByText(me.Document):
    code = me.StringField(primary_key=True, db_field="c")


class KeyedByLookup(me.Document):
    meta = {"lookup_field": "slug"}
    code = me.StringField(primary_key=True)
    slug = me.StringField(db_field="s")


@pytest.mark.parametrize(
    ("model", "name", "queries"),
    [
        pytest.param(KeyedById, str(ID), [{"_id": ID}], id="an ObjectId"),
        pytest.param(KeyedByNumber, "7", [{"_id": 7}], id="a number"),
        pytest.param(KeyedByNumber, "-1", [{"_id": -1}], id="a negative number"),
        pytest.param(KeyedByNumber, str(2**63 - 1), [{"_id": 2**63 - 1}], id="the largest number"),
        pytest.param(KeyedByText, "7", [{"_id": "7"}], id="a text"),
        pytest.param(KeyedByText, "$where", [{"_id": "$where"}], id="a text with a dollar sign"),
        pytest.param(KeyedByLookup, "a", [{"_id": "a"}, {"s": "a"}], id="a lookup value, after the key"),
    ],
)
def test_a_name_is_looked_for_by_the_primary_key_first(model, name, queries):
    assert list(Keys(model).queries(name)) == queries


@pytest.mark.parametrize(
    "name", ["x", "7.0", "7x", "\u0667", "0x7", "1e400", "9" * 30, "9" * 5000, "null", " ", "seven", ""]
)
def test_what_is_no_number_names_nothing(name):
    assert list(Keys(KeyedByNumber).queries(name)) == []


@pytest.mark.parametrize("name", ["nonsense", "1", "65a0", "", "$ne", "65a00000000000000000000g"])
def test_what_is_no_object_id_names_nothing(name):
    assert list(Keys(KeyedById).queries(name)) == []


@pytest.mark.parametrize(
    ("model", "raw", "name"),
    [
        pytest.param(KeyedById, {"_id": ID}, str(ID), id="an ObjectId"),
        pytest.param(KeyedByNumber, {"_id": 7}, "7", id="a number"),
        pytest.param(KeyedByLookup, {"_id": "k", "s": "start"}, "start", id="a lookup value"),
        pytest.param(KeyedByLookup, {"_id": "k"}, "k", id="no lookup value"),
        pytest.param(KeyedByLookup, {"_id": "k", "s": ""}, "k", id="an empty lookup value"),
        pytest.param(KeyedByLookup, {"_id": "k", "s": "."}, "k", id="a dot"),
        pytest.param(KeyedByLookup, {"_id": "k", "s": ".."}, "k", id="two dots"),
    ],
)
def test_a_document_is_named_by_its_lookup_value_where_a_url_can_end_in_it(model, raw, name):
    assert Keys(model).name_of(raw) == name
