"""Every field type that mongoengine has crosses JSON, BSON and forms, and comes back as it was."""

from urllib.parse import urlencode

import mongoengine as me
import pytest
from bson import Binary, DBRef, Decimal128, Regex
from mongoengine.base import BaseField

from hive.changes import difference
from hive.fields import FILES
from hive.payload import FORM, read
from hive.permissions import everyone
from hive.resource import Resource
from hive.schema import Visibility
from hive.serializers import Serializer
from tests.support.bodies import change, decoding, errors_of, made, shown, stored
from tests.support.field_types import ID, ROWS, UUID, Road, Target, is_same, model_of, naive, store_targets

SERIALIZERS = {name: Serializer(model_of(name), Visibility()) for name in ROWS}
SERVED = Resource(Target, allow={"get": everyone})
INTERNALS = ("Traceback", "mongo", "bson", 'File "', "int_max", "object at 0x")


class Abstract(me.Document):
    meta = {"abstract": True}
    name = me.StringField(primary_key=True)


class Legacy(me.Document):
    price = me.DecimalField()
    data = me.DictField()
    numbers = me.ListField(me.DecimalField())
    roads = me.ListField(me.EmbeddedDocumentField(Road))
    owner = me.ReferenceField(Abstract)
    owners = me.ListField(me.ReferenceField(Abstract))


LEGACY = Serializer(Legacy, Visibility())

pytestmark = pytest.mark.usefixtures("targets")


@pytest.fixture
def targets(mongomock_database):
    store_targets()


def again(document):
    """The document when it is read from MongoDB."""
    return type(document)._from_son(stored(document))


def test_the_table_has_every_field_of_mongoengine():
    exported = {getattr(me.fields, name) for name in me.fields.__all__}
    fields = {one for one in exported if isinstance(one, type) and issubclass(one, BaseField)}
    assert fields - {type(row.field) for row in ROWS.values()} == {me.GeoJsonBaseField, *FILES, me.ImageField}


@pytest.mark.parametrize("inside", [lambda field: field, me.ListField, me.MapField])
def test_file_fields_are_refused_with_a_sentence(inside):
    model = type("WithFile", (me.Document,), {"scan": inside(me.FileField())})
    with pytest.raises(ValueError, match=r"WithFile\.scan is a file, which hive does not serve"):
        Resource(model)


@pytest.mark.parametrize("name", ROWS)
def test_a_value_is_stored_typed_and_read_as_it_was_sent(name):
    row, serializer = ROWS[name], SERIALIZERS[name]
    for sent in [row.json, *row.also]:
        document = made(serializer, {"value": sent}, decoding(SERVED))
        read = shown(serializer, stored(document))["value"]
        assert read == row.json
        assert type(read) is type(row.json)
        assert is_same(again(document).value, row.python)
        assert shown(serializer, stored(serializer.model(value=row.python)))["value"] == row.json


@pytest.mark.parametrize("name", ROWS)
def test_what_was_read_may_be_sent_back_and_changes_nothing(name):
    row, serializer = ROWS[name], SERIALIZERS[name]
    document = again(made(serializer, {"value": row.json}, decoding(SERVED)))
    before = stored(document)
    change(serializer, document, shown(serializer, before), decoding(SERVED))
    assert difference(serializer.model, before, stored(document)) == {}


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].form is not None])
def test_the_text_of_a_form_becomes_the_value(name):
    row, serializer = ROWS[name], SERIALIZERS[name]
    form = row.form if isinstance(row.form, dict) else {"value": row.form}
    body = read(FORM, urlencode(form, doseq=True).encode(), serializer, (FORM,))
    document = made(serializer, body, decoding(SERVED))
    assert shown(serializer, stored(document))["value"] == row.json
    assert is_same(again(document).value, row.python)


@pytest.mark.parametrize("name", ROWS)
def test_json_of_a_wrong_type_is_refused_with_the_name_of_the_field(name):
    row, serializer = ROWS[name], SERIALIZERS[name]
    for wrong in row.wrong:
        existing = again(made(serializer, {"value": row.json}, decoding(SERVED)))
        for document in (None, existing):
            errors = errors_of(serializer, {"value": wrong}, decoding(SERVED), document)
            assert {error["field"].split(".")[0] for error in errors} == {"value"}, wrong
            assert not any(word in error["message"] for error in errors for word in INTERNALS), errors


@pytest.mark.parametrize(
    "name", [name for name in ROWS if not isinstance(ROWS[name].field, me.SequenceField)]
)
def test_null_empties_a_field(name):
    row, serializer = ROWS[name], SERIALIZERS[name]
    for sent in [{"value": None}, {}]:
        assert shown(serializer, stored(made(serializer, sent, decoding())))["value"] == row.empty
    for patch in (False, True):
        document = again(made(serializer, {"value": row.json}, decoding(SERVED)))
        change(serializer, document, {"value": None}, decoding(patch=patch))
        assert shown(serializer, stored(document))["value"] == row.empty
        assert again(document).value in (row.empty, None)


def test_null_asks_for_the_next_number_of_a_sequence():
    serializer = SERIALIZERS["sequence"]
    numbers = [made(serializer, sent, decoding()).value for sent in ({"value": None}, {})]
    assert numbers == [1, 2]


def test_what_other_programs_stored_is_shown():
    data = {
        "id": ID, "ref": DBRef("target", ID), "uuid": Binary(UUID.bytes, 3), "raw": Binary(b"\0", 128),
        "exact": Decimal128("1.10"), "at": naive(2026, 1, 31), "nan": float("nan"), "re": Regex("x"),
    }  # fmt: skip
    raw = {"price": 1e30, "data": data, "numbers": [1.5, None], "roads": [None, {"name": "Elm"}]}
    read = shown(LEGACY, raw)
    assert (read["price"], read["numbers"]) == ("1e+30", ["1.50", None])
    assert read["roads"] == [None, {"name": "Elm", "number": None}]
    assert read["data"].pop("re")
    assert read["data"] == {
        "id": str(ID), "ref": str(ID), "uuid": str(UUID), "raw": "AA==",
        "exact": "1.10", "at": "2026-01-31T00:00:00Z", "nan": None,
    }  # fmt: skip


def test_a_reference_to_an_abstract_model_cannot_be_set():
    errors = errors_of(LEGACY, {"owner": "x", "owners": ["x"]}, decoding())
    assert [error["field"] for error in errors] == ["owner", "owners"]
