"""What a JSON object means for a document of a class: which names it may have, and what changes."""

import mongoengine as me
import pytest
from bson import ObjectId

from hive.changes import difference
from hive.schema import Visibility
from hive.serializers import Serializer
from tests.support.bodies import change, decoding, errors_of, made, shown, stored


class SerPart(me.EmbeddedDocument):
    name = me.StringField()
    size = me.IntField()


class SerGadget(me.Document):
    name = me.StringField()
    count = me.IntField()
    on = me.BooleanField()
    part = me.EmbeddedDocumentField(SerPart)
    parts = me.EmbeddedDocumentListField(SerPart)


class SerKeyed(me.Document):
    code = me.StringField(primary_key=True)


class SerBeing(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class SerHound(SerBeing):
    tricks = me.ListField(me.StringField())


class SerPuppy(SerHound):
    weeks = me.IntField()


class SerExtra(me.DynamicEmbeddedDocument):
    label = me.StringField()


class SerFreeForm(me.DynamicDocument):
    name = me.StringField(db_field="n")
    locked = me.StringField(db_field="l")
    kind = me.StringField(choices=["a", "b"])
    extra = me.EmbeddedDocumentField(SerExtra)


class SerUntyped(me.Document):
    flag = me.DynamicField()
    data = me.DictField()
    items = me.ListField()
    exact = me.Decimal128Field()


GADGETS, KEYED = Serializer(SerGadget, Visibility()), Serializer(SerKeyed, Visibility())
BEINGS, HOUNDS = Serializer(SerBeing, Visibility()), Serializer(SerHound, Visibility())
UNTYPED = Serializer(SerUntyped, Visibility())
FREE = Serializer(
    SerFreeForm,
    Visibility(hidden=frozenset({"inner", "map.secret"}), read_only=frozenset({"locked", "stamp"})),
)


def fields_of(serializer, body, document=None, **how):
    return [error["field"] for error in errors_of(serializer, body, decoding(**how), document)]


def kept(document):
    """The document, with a primary key, as it is read from MongoDB."""
    document.id = document.id or ObjectId()
    return type(document)._from_son(stored(document))


# Names


def test_all_that_is_wrong_is_told_at_once():
    body = {
        "count": "x",
        "on": 3,
        "part": {"size": "x", "nothing": 1},
        "parts": [{"size": 1}, {"size": "x"}],
        "y": 1,
    }
    assert fields_of(GADGETS, body) == ["count", "on", "part.size", "part.nothing", "parts.1.size", "y"]


@pytest.mark.parametrize(
    "name",
    ["nothing", "_id", "pk", "_cls", "save", "to_json", "objects", "__class__", "_data", "_created",
    "_fields", "", " ",
     "$set", "$where", "a.b", "part.name", "id", "Name", "name ", "\0", "\ud800", "å", "constructor",
     "__proto__", "self",
     "delete", "meta", "_meta", "clean", "validate", "x" * 1000],
)  # fmt: skip
def test_an_unknown_field_is_refused_and_named(name):
    for value in ("x", None, {}, 1):
        for document in (None, kept(SerGadget(name="phone"))):
            for patch in (False, True):
                [error] = errors_of(GADGETS, {"name": "x", name: value}, decoding(patch=patch), document)
                assert error["field"] == name.encode(errors="replace").decode()


def test_a_generated_primary_key_can_not_be_set():
    for value in (str(ObjectId()), None, "x", 1):
        assert fields_of(GADGETS, {"id": value}, kept(SerGadget())) == ["id"]


def test_a_primary_key_can_be_chosen_once_and_must_fit_into_a_url():
    assert made(KEYED, {"code": "a"}, decoding()).pk == "a"
    assert fields_of(KEYED, {"code": ""}) == ["code"]
    assert fields_of(KEYED, {"code": "b"}, SerKeyed(code="a")) == ["code"]


# Classes


def test_the_class_of_a_new_document_is_the_one_that_the_body_names():
    puppy = made(BEINGS, {"_cls": "SerBeing.SerHound.SerPuppy", "name": "Rex", "weeks": 3}, decoding())
    assert type(puppy) is SerPuppy
    read = shown(BEINGS, stored(puppy))
    assert (read["_cls"], read["weeks"]) == ("SerBeing.SerHound.SerPuppy", 3)
    assert shown(HOUNDS, stored(puppy)) == read
    assert type(made(HOUNDS, {"name": "Rex"}, decoding())) is SerHound


@pytest.mark.parametrize(
    "named",
    ["SerGadget", "Nobody", "SerPart", "", 1, None, [], {}, "\0", "Document", "SerBeing.Cat", "objects"],
)  # fmt: skip
def test_a_class_that_is_no_subclass_is_refused(named):
    assert fields_of(BEINGS, {"_cls": named, "name": "x"}) == ["_cls"]


def test_a_base_class_is_not_made_below_its_subclass():
    assert fields_of(HOUNDS, {"_cls": "SerBeing"}) == ["_cls"]


def test_a_field_of_a_subclass_needs_its_class():
    assert fields_of(BEINGS, {"tricks": ["sit"]}) == ["tricks"]


@pytest.mark.parametrize("other", ["SerBeing", "SerBeing.SerHound.SerPuppy", "SerGadget", None, 1])
def test_a_document_keeps_its_class(other):
    hound = kept(SerHound(name="Rex"))
    change(BEINGS, hound, {"_cls": "SerBeing.SerHound", "tricks": ["sit"]}, decoding())
    assert hound.tricks == ["sit"]
    assert fields_of(BEINGS, {"_cls": other, "name": "x"}, hound) == ["_cls"]


# Dynamic documents


@pytest.mark.parametrize(
    "name",
    ["save", "objects", "pk", "_id", "_cls", "_data", "__class__", "to_json", "validate", "clean", "delete",
    "a.b", "$x", "",
     "\0", "\ud800", "self", "id", "n", "l", "stamp", "inner", "get_kind_display", "update", "reload",
     "STRICT",
     "my_metaclass", "$set", "_hidden", "a.$b"],
)  # fmt: skip
def test_a_dynamic_document_takes_no_name_that_means_something_else(mongomock_database, name):
    told = name.encode(errors="replace").decode()
    document = kept(SerFreeForm(name="x", extra=SerExtra(label="y")))
    before = stored(document)
    for existing in (None, document):
        for patch in (False, True):
            assert fields_of(FREE, {name: "evil"}, existing, patch=patch) == [told]
    assert stored(document) == before


@pytest.mark.parametrize("name", ["_id", "_cls", "_data", "__class__", "to_json", "validate", "clean", "a.b",
                                  "$x", "", "\0", "self", "STRICT", "my_metaclass"])  # fmt: skip
def test_a_dynamic_embedded_document_takes_no_such_name_either(name):
    document = kept(SerFreeForm(name="x", extra=SerExtra(label="y")))
    field = f"extra.{name}" if name else "extra"
    assert fields_of(FREE, {"extra": {name: "evil"}}, document) == [field]


@pytest.mark.parametrize("name", ["with space", "objects_", "å", "x" * 1000, "n_", "get_name_shown"])
def test_a_dynamic_document_takes_any_other_name(name):
    document = made(FREE, {name: [1, {"a": None}]}, decoding())
    assert shown(FREE, stored(document))[name] == [1, {"a": None}]


# Values that must not be lost


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("flag", 1, True), ("flag", False, 0), ("data", {"a": True}, {"a": 1}), ("items", [[1]], [[True]]),
        ("exact", "1.0", "1.00"), ("data", {"a": {"b": 0}}, {"a": {"b": False}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("patch", [False, True])
def test_values_that_python_finds_equal_are_told_apart(name, old, new, patch):
    document = kept(made(UNTYPED, {name: old}, decoding()))
    before = stored(document)
    change(UNTYPED, document, {name: new}, decoding(patch=patch))
    assert repr(shown(UNTYPED, stored(document))[name]) == repr(new)
    assert difference(SerUntyped, before, stored(document)).keys() == {name}
    assert document._get_changed_fields() != []
