"""What `routes_for` takes, the sentences with which it refuses the rest, and whom it tells of its routes."""

import mongoengine as me
import pytest
from tornado.routing import URLSpec

from hive import ModelHive, NotFoundHandler, signals
from hive.testing import recorded


class Plain(me.Document):
    name = me.StringField()
    other = me.StringField()


class Keeper(me.EmbeddedDocument):
    label = me.StringField()
    api_token = me.StringField()


class Vault(me.Document):
    name = me.StringField()
    keepers = me.ListField(me.ListField(me.EmbeddedDocumentField(Keeper)))
    by_name = me.MapField(me.EmbeddedDocumentField(Keeper))
    any_keeper = me.GenericEmbeddedDocumentField(choices=[Keeper])
    named_keeper = me.GenericEmbeddedDocumentField(choices=["Keeper"])


class Account(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class SecretAccount(Account):
    password = me.StringField()


class OnlyABase(me.Document):
    meta = {"abstract": True}


class Picture(me.Document):
    data = me.FileField()


class Pictures(me.Document):
    all = me.ListField(me.FileField())


class AlbumPart(me.EmbeddedDocument):
    files = me.MapField(me.ListField(me.FileField()))


class Album(me.Document):
    parts = me.ListField(me.EmbeddedDocumentField(AlbumPart))


class Pair(me.EmbeddedDocument):
    a = me.IntField()
    b = me.IntField()


class Composite(me.Document):
    key = me.EmbeddedDocumentField(Pair, primary_key=True)


class DictKeyed(me.Document):
    key = me.DictField(primary_key=True)


class BehindComposite(me.Document):
    key = me.ReferenceField(Composite, primary_key=True)


class Stubborn(me.Document):
    name = me.StringField()

    def save(self):
        return super().save()


class BadLookup(me.Document):
    name = me.StringField()
    meta = {"lookup_field": "slug"}


class Free(me.DynamicDocument):
    name = me.StringField()


class Branch(me.EmbeddedDocument):
    label = me.StringField()
    secret = me.StringField()
    branches = me.ListField(me.EmbeddedDocumentField("self"))


class Tree(me.Document):
    root = me.EmbeddedDocumentField(Branch)


class Leaf(me.Document):
    meta = {"allow_inheritance": True}


class Needle(Leaf):
    pass


def failing(sender):
    raise ZeroDivisionError


def refusal(error, *model, **options):
    with pytest.raises(error) as caught:
        ModelHive.routes_for(*model, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    return sentence


def test_routes_are_what_tornado_takes():
    routes = ModelHive.routes_for(Plain)
    assert isinstance(routes, list)
    assert all(isinstance(route, URLSpec) for route in routes)


@pytest.mark.parametrize("model", [None, "Plain", int, Plain(), Keeper, me.EmbeddedDocument, object, ()])
def test_what_is_no_document_class_is_refused(model):
    assert "Document class" in refusal(TypeError, model)


@pytest.mark.parametrize(
    "arguments", [(), (Plain, Plain), ("sqlalchemy", Plain), ("mongoengine",), ("mongoengine", Plain, 1)]
)
def test_other_positional_arguments_are_refused(arguments):
    refusal(TypeError, *arguments)


@pytest.mark.parametrize("model", [OnlyABase, me.Document, me.DynamicDocument])
def test_abstract_models_are_refused(model):
    assert "abstract" in refusal(ValueError, model)


@pytest.mark.parametrize("model", [Picture, Pictures, Album])
def test_files_are_refused(model):
    assert "file" in refusal(ValueError, model)
    assert "file" in refusal(ValueError, model, methods=["GET"])


@pytest.mark.parametrize("model", [Composite, DictKeyed, BehindComposite])
def test_composite_primary_keys_are_refused(model):
    assert "primary key" in refusal(ValueError, model)


def test_save_that_cannot_be_told_of_conditions_is_refused():
    assert "**kwargs" in refusal(TypeError, Stubborn)


def test_lookup_field_that_is_no_field_is_refused():
    assert "'slug'" in refusal(ValueError, BadLookup)


@pytest.mark.parametrize("option", ["hidden", "write_only"])
def test_lookup_field_that_clients_cannot_see_is_refused(option):
    class Slugged(me.Document):
        slug = me.StringField()
        meta = {"lookup_field": "slug"}

    assert "lookup_field" in refusal(ValueError, Slugged, **{option: ["slug"]})


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="hiden"):
        ModelHive.routes_for(Plain, hiden=["name"])


@pytest.mark.parametrize("option", ["hidden", "read_only", "write_only"])
def test_string_instead_of_a_list_of_names_is_refused(option):
    assert "list" in refusal(TypeError, Plain, **{option: "name"})


def test_string_instead_of_a_list_of_methods_is_refused():
    assert "list" in refusal(TypeError, Plain, methods="GET")


@pytest.mark.parametrize("option", ["hidden", "read_only", "write_only"])
@pytest.mark.parametrize("name", ["nothing", "name.x", "save", "", "Name", "objects", 1, None])
def test_names_that_are_no_fields_are_refused(option, name):
    assert repr(name) in refusal(ValueError, Plain, **{option: [name]})


def test_names_may_be_of_subclasses_and_of_embedded_documents():
    ModelHive.routes_for(Account, hidden=["password"])
    ModelHive.routes_for(
        Vault,
        hidden=["keepers.api_token", "by_name.api_token", "any_keeper.api_token", "named_keeper.api_token"],
    )
    ModelHive.routes_for(Free, hidden=["anything"])


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "FOO", "", "GET,POST"])
def test_other_methods_are_refused(method):
    assert repr(method.upper())[1:-1] in refusal(ValueError, Plain, methods=[method])


@pytest.mark.parametrize("put", ["Merge", "", None, True, "patch"])
def test_other_ways_to_put_are_refused(put):
    assert "put" in refusal(ValueError, Plain, put=put)


@pytest.mark.parametrize("name", ["", "/", "//"])
def test_empty_resource_name_is_refused(name):
    assert "resource_name" in refusal(ValueError, Plain, resource_name=name)


SECRETS = [
    "password", "passwords", "Password", "user_password", "userPassword", "password_hash", "passwordHash",
    "hashed_password",
    "secret", "client_secret", "clientSecret", "secrets", "token", "api_token", "apiToken", "accessToken",
    "access_tokens",
    "hash", "hashes", "salted_hash", "PASSWORD", "SECRET_KEY", "password2", "passwd", "reset_token_at",
    "APIToken",
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("", name) for name in SECRETS),
        *((where, name) for where in ("part.", "parts.", "maps.") for name in ("password", "apiToken")),
    ],
)
def test_fields_that_look_like_a_secret_are_refused_until_an_option_mentions_them(where, name):
    part = type("SecretPart", (me.EmbeddedDocument,), {name: me.StringField()})
    fields = {
        "": {name: me.StringField()},
        "part.": {"part": me.EmbeddedDocumentField(part)},
        "parts.": {"parts": me.EmbeddedDocumentListField(part)},
        "maps.": {"maps": me.MapField(me.ListField(me.EmbeddedDocumentField(part)))},
    }[where]
    model = type("SecretHolder", (me.Document,), fields)
    sentence = refusal(ValueError, model)
    for option in ("hidden", "write_only", "read_only"):
        assert f"{option}=['{where}{name}']" in sentence
        ModelHive.routes_for(model, **{option: [where + name]})


@pytest.mark.parametrize(
    "name", ["name", "secretary", "hashtag", "tokenizer", "passport", "rehashed", "compass", "secretion"]
)
def test_fields_that_do_not_look_like_a_secret_are_served(name):
    ModelHive.routes_for(type("Harmless", (me.Document,), {name: me.StringField()}))


def test_secrets_of_subclasses_are_refused():
    assert "SecretAccount" in refusal(ValueError, Account) or "password" in refusal(ValueError, Account)
    ModelHive.routes_for(Account, write_only=["password"])


def test_secrets_in_what_generic_fields_may_hold_are_refused():
    names = ["keepers.api_token", "by_name.api_token", "any_keeper.api_token", "named_keeper.api_token"]
    for left_out in names:
        sentence = refusal(ValueError, Vault, hidden=[name for name in names if name != left_out])
        assert left_out in sentence


def test_an_option_for_what_holds_a_secret_is_enough():
    ModelHive.routes_for(Vault, hidden=["keepers", "by_name", "any_keeper", "named_keeper"])


def test_a_class_that_holds_itself_is_refused_until_an_option_mentions_its_secret():
    refusal(ValueError, Tree)
    ModelHive.routes_for(Tree, hidden=["root.secret"])


# Whom it tells


def test_routes_are_told_when_they_are_made():
    with recorded(signals.routes_registered) as heard:
        routes = ModelHive.routes_for(Leaf, prefix="api")
    [(name, sender, arguments)] = heard
    assert (name, sender) == ("routes_registered", Leaf)
    assert arguments.keys() == {"routes"}
    assert arguments["routes"] is routes


def test_a_receiver_of_a_base_class_hears_of_the_routes_of_its_subclasses():
    base, sub = [], []
    with (
        signals.routes_registered.connected_to(base.append, Leaf),
        signals.routes_registered.connected_to(sub.append, Needle),
    ):
        ModelHive.routes_for(Needle)
        ModelHive.routes_for("mongoengine", Leaf)
    assert (base, sub) == ([Needle, Leaf], [Needle])


def test_routes_that_cannot_be_made_are_not_told():
    with recorded(signals.routes_registered) as heard, pytest.raises(ValueError, match="nme"):
        ModelHive.routes_for(Leaf, hidden=["nme"])
    assert heard == []


def test_what_a_receiver_raises_comes_out_of_routes_for():
    with signals.routes_registered.connected_to(failing), pytest.raises(ZeroDivisionError):
        ModelHive.routes_for(Leaf)


def test_routes_are_told_to_plain_functions_only():
    async def coroutine(sender):
        pass

    with (
        signals.routes_registered.connected_to(coroutine),
        pytest.raises(RuntimeError, match=r"coroutine is a coroutine function: send_async calls it\."),
    ):
        ModelHive.routes_for(Leaf)


def test_a_receiver_may_add_to_the_routes():
    def adds(sender, routes):
        routes.append(("/more", NotFoundHandler))

    with signals.routes_registered.connected_to(adds):
        assert ("/more", NotFoundHandler) in ModelHive.routes_for(Leaf)
