"""Functions that say who may do what: each of them, what is made of them, and what is none."""

import asyncio
import functools
from types import SimpleNamespace

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, pool
from hive.permissions import all_of, any_of, concealed, everyone, grants, owner, role, signed_in


class OwningUser(me.Document):
    name = me.StringField()


class OwnedPage(me.Document):
    title = me.StringField()
    author = me.StringField()
    text_owners = me.ListField(me.StringField())
    number = me.IntField()
    oid = me.ObjectIdField()
    uid = me.UUIDField(binary=False)
    user = me.ReferenceField(OwningUser)
    old = me.ReferenceField(OwningUser, dbref=True)
    lazy = me.LazyReferenceField(OwningUser)
    cached = me.CachedReferenceField(OwningUser, fields=["name"])
    users = me.ListField(me.ReferenceField(OwningUser))
    lazies = me.ListField(me.LazyReferenceField(OwningUser))
    anyone = me.GenericReferenceField(choices=[OwningUser])
    anyones = me.ListField(me.GenericReferenceField(choices=[OwningUser]))
    anything = me.DictField()


def asking(user, **more):
    """A handler whose `current_user` has the user data `more`, with the id `user`; or is None."""
    return SimpleNamespace(current_user=None if user is None else {"id": user, **more})


def answer(permission, handler=None, instance=None):
    """What a permission says, as a request asks it."""
    return asyncio.run(pool.call(lambda: grants(permission, handler or asking("ann"), instance)))


# owner

HEX = "65a0000000000000000000aa"
OWNERS = {
    "author": "ann", "text_owners": "ann", "number": 7, "oid": HEX,
    "uid": "12345678-1234-5678-1234-567812345678",
    **dict.fromkeys(["user", "old", "lazy", "cached", "users", "lazies", "anyone", "anyones"], HEX),
}  # fmt: skip


def stored(**values):
    """A page as it is read from MongoDB."""
    return OwnedPage._from_son({"_id": ObjectId(), **values})


@pytest.fixture
def owned(mongomock_database):
    ann = OwningUser(id=ObjectId(HEX), name="ann").save()
    bob = OwningUser(name="bob").save()
    return OwnedPage(
        author="ann", text_owners=["bob", "ann"], number=7, oid=HEX, uid="12345678123456781234567812345678",
        user=ann, old=ann, lazy=ann, cached=ann, users=[bob, ann], lazies=[bob, ann], anyone=ann,
        anyones=[bob, ann],
    ).save()  # fmt: skip


def test_owner_is_who_the_field_names_whether_its_references_are_loaded_or_not(owned):
    loaded = OwnedPage.objects.get()
    for dereferenced in (False, True):
        for field, user in OWNERS.items():
            _ = getattr(loaded, field) if dereferenced else None
            assert owner(field)(asking(user), loaded), field
            assert not owner(field)(asking("eve"), loaded), field
    assert isinstance(loaded._data["user"], OwningUser)
    raw = OwnedPage._from_son(OwnedPage.objects.as_pymongo().first())
    assert owner("lazy")(asking(HEX), raw)
    assert owner("anyone")(asking(HEX), raw)


@pytest.mark.parametrize("field", [*OWNERS, "title", "no_such_field"])
def test_a_document_without_a_value_has_no_owner(field):
    for user in ("None", "null", "[]", "{}", "", "False", 0):
        for document in (OwnedPage(), stored()):
            assert not owner(field)(asking(user), document)


@pytest.mark.parametrize(
    ("values", "user", "owns"),
    [
        ({"author": "7"}, 7, True),
        ({"number": 7}, "7", True),
        ({"number": 0}, 0, True),
        ({"number": 0}, "0", True),
        ({"author": ""}, 0, False),
        ({"author": "None"}, "None", True),
        ({"author": "ann"}, "an", False),
        ({"author": "ann"}, "ANN", False),
        ({"author": "ann "}, "ann", False),
        ({"author": "['ann']"}, "ann", False),
        ({"text_owners": ["ann"]}, "['ann']", False),
        ({"text_owners": ["None"]}, "None", True),
        ({"text_owners": []}, "[]", False),
        ({"anyones": []}, "None", False),
    ],
)
def test_owner_compares_whole_ids_as_texts(values, user, owns):
    assert owner(next(iter(values)))(asking(user), OwnedPage(**values)) is owns


def test_nothing_in_a_list_is_no_owner():
    page = stored(text_owners=[None, "bob"], users=[None])
    assert not owner("text_owners")(asking("None"), page)
    assert not owner("users")(asking("None"), page)
    assert owner("text_owners")(asking("bob"), page)


def test_before_a_document_is_known_somebody_may_be_its_owner():
    assert owner("author")(asking("ann"), None)
    assert not owner("author")(asking(None), None)


# role


@pytest.mark.parametrize(
    ("data", "has"),
    [
        ({"roles": ["admin"]}, True),
        ({"roles": ("x", "admin")}, True),
        ({"roles": ["boss", {}, [], None]}, True),
        ({"roles": []}, False),
        ({"roles": None}, False),
        ({"roles": "admin"}, False),
        ({"roles": "administrator"}, False),
        ({"roles": {"admin": True}}, False),
        ({"roles": [["admin"]]}, False),
        ({"roles": ["administrator", "Admin", "admin "]}, False),
        ({"roles": 5}, False),
        ({"roles": True}, False),
        ({"role": "admin"}, False),
        ({}, False),
    ],
)
def test_role_is_one_of_a_list_of_strings(data, has):
    assert role("admin", "boss")(asking("ann", **data), None) is has


def test_role_of_nobody_is_nothing():
    assert not role("admin")(asking(None), None)
    assert not role("")(asking("ann", roles="x"), None)


# Together


async def yes(handler, instance):
    await asyncio.sleep(0)
    return True


async def no(handler, instance):
    await asyncio.sleep(0)
    return False


class IsAnn:
    async def __call__(self, handler, instance):
        return handler.current_user is not None and handler.current_user["id"] == "ann"


is_of_ann = functools.partial(
    lambda name, handler, instance: instance is None or instance.author == name, "ann"
)


@pytest.mark.parametrize(
    ("permission", "expected"),  # of nobody, ann, bob, an admin
    [
        pytest.param(everyone, [True, True, True, True], id="everyone"),
        pytest.param(signed_in, [False, True, True, True], id="signed in"),
        pytest.param(owner("author"), [False, True, False, False], id="owner"),
        pytest.param(role("admin"), [False, False, False, True], id="role"),
        pytest.param(any_of(owner("author"), role("admin")), [False, True, False, True], id="any"),
        pytest.param(all_of(owner("author"), role("admin")), [False, False, False, False], id="all"),
        pytest.param(any_of(no, IsAnn()), [False, True, False, False], id="any, async"),
        pytest.param(
            all_of(yes, signed_in, any_of(IsAnn(), role("admin"))), [False, True, False, True], id="nested"
        ),
        pytest.param(any_of(no, all_of(yes, no), everyone), [True, True, True, True], id="mixed"),
        pytest.param(concealed(owner("author")), [False, True, False, False], id="concealed owner"),
        pytest.param(concealed(any_of(no, is_of_ann)), [True, True, True, True], id="concealed, async"),
        pytest.param(IsAnn(), [False, True, False, False], id="object"),
        pytest.param(is_of_ann, [True, True, True, True], id="partial"),
    ],
)
def test_permissions_alone_and_together(permission, expected):
    page = OwnedPage(author="ann")
    askers = [asking(None), asking("ann"), asking("bob"), asking("eve", roles=["admin"])]
    assert [answer(permission, asker, page) for asker in askers] == expected


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(any_of, []), (all_of, []), (role, []), (role, [["admin"]]), (role, ["admin", None])],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_permission_of_nothing_is_refused(make, arguments):
    with pytest.raises(TypeError, match=r"^(Pass at least one permission|role takes)"):
        make(*arguments)


class Older:
    """A permission that is a class is one that was not made yet."""

    def __init__(self, handler, instance):
        pass


@pytest.mark.parametrize(
    "permission",
    [Older, lambda handler: True, lambda: True, "admin"],
    ids=["class", "of a handler", "of nothing", "text"],
)
def test_what_does_not_take_handler_and_instance_is_no_permission(permission):
    with pytest.raises(TypeError, match="A permission is a function of handler and instance"):
        ModelHive.routes_for(OwnedPage, allow={"get": permission})


def test_any_of_and_all_of_ask_no_more_than_they_must():
    asked = []

    def answering(says):
        return lambda handler, instance: asked.append(says) or says

    assert answer(any_of(answering(True), answering(False)))
    assert set(asked) == {True}
    asked.clear()
    assert not answer(all_of(answering(False), answering(True)))
    assert set(asked) == {False}


@pytest.mark.parametrize(
    ("says", "is_yes"),
    [
        *[(says, True) for says in (True, 1, "no", [0], {"x": 0}, object(), -0.5)],
        *[(says, False) for says in (False, None, 0, "", [], {}, 0.0)],
    ],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_an_answer_counts_by_its_truth(says, is_yes):
    async def later(handler, instance):
        return says

    for permission in (lambda handler, instance: says, later, all_of(everyone, later), concealed(later)):
        assert answer(permission) is is_yes


class Later:
    """An answer that is still to be awaited."""

    def __await__(self):
        yield
        return False


async def forgets_to_await(handler, instance):
    return Later()


@pytest.mark.parametrize(
    "permission",
    [forgets_to_await, lambda handler, instance: owner("author"), lambda handler, instance: role],
    ids=["without await", "not called", "not made"],
)
def test_an_answer_that_is_neither_yes_nor_no_is_an_error(permission):
    for asked in (permission, all_of(permission)):
        with pytest.raises(TypeError, match="answers neither yes nor no"):
            answer(asked)


# What is no permission


@pytest.mark.parametrize(
    ("allow", "error", "says"),
    [
        ({"GET": everyone}, ValueError, "GET"),
        ({"read": everyone}, ValueError, "read"),
        ({"list": everyone}, ValueError, "get, create, update, delete"),
        ({"": everyone}, ValueError, "allow"),
        ({None: everyone}, ValueError, "None"),
        ({"get": True}, TypeError, "True"),
        ({"get": None}, TypeError, "None"),
        ({"get": "everyone"}, TypeError, "everyone"),
        ({"get": [everyone]}, TypeError, "function"),
        (everyone, TypeError, "allow"),
        ([everyone], TypeError, "allow"),
        ("get", TypeError, "allow"),
    ],
)
def test_what_is_no_permission_is_refused_when_the_routes_are_made(allow, error, says):
    with pytest.raises(error, match=says):
        ModelHive.routes_for(OwnedPage, allow=allow)


def yields(handler, instance):
    yield False


async def yields_later(handler, instance):
    yield False


@pytest.mark.parametrize("mistaken", [owner, role, any_of, all_of, concealed, yields, yields_later])
def test_what_answers_neither_yes_nor_no_is_no_permission(mistaken):
    """Who writes ``role`` and forgets ``("admin")``, for one, does not open the door to everybody."""
    with pytest.raises(TypeError, match="A permission is a function of handler and instance"):
        ModelHive.routes_for(OwnedPage, allow={"get": mistaken})


@pytest.mark.parametrize("part", [None, "admin", True, [everyone]], ids=["none", "text", "bool", "list"])
def test_a_part_that_is_no_permission_is_refused_when_it_is_put_together(part):
    for make in (any_of, all_of, concealed):
        with pytest.raises(TypeError):
            make(part)
