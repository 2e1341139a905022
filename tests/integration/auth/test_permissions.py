"""hive.permissions: each function and what is made of them, asked over HTTP by those whom they are about."""

import asyncio
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import mongoengine as me
import pytest
from bson import ObjectId
from tornado.web import Application, HTTPError

from hive import AuthHive, ModelHive, NotFoundHandler, Provider
from hive.errors import Conflict, NotFound, Problem
from hive.permissions import all_of, any_of, concealed, everyone, owner, regardless, role, signed_in
from hive.testing import serve

SECRET = "WHAT-ONLY-THE-SERVER-KNOWS"
HEX = "65a0000000000000000000aa"


class PermUser(me.Document):
    name = me.StringField()


class PermPage(me.Document):
    title = me.StringField()
    author = me.StringField()
    text_owners = me.ListField(me.StringField())
    number = me.IntField()
    oid = me.ObjectIdField()
    uid = me.UUIDField(binary=False)
    user = me.ReferenceField(PermUser)
    old = me.ReferenceField(PermUser, dbref=True)
    lazy = me.LazyReferenceField(PermUser)
    cached = me.CachedReferenceField(PermUser, fields=["name"])
    users = me.ListField(me.ReferenceField(PermUser))
    lazies = me.ListField(me.LazyReferenceField(PermUser))
    anyone = me.GenericReferenceField(choices=[PermUser])
    anyones = me.ListField(me.GenericReferenceField(choices=[PermUser]))
    anything = me.DictField()


class Refusal(Problem):
    status = 402
    sentence = "Pay first."


class Trusting(Provider):
    """Takes a bearer for who they say they are, with roles: ``ann+admin``."""

    async def bearer(self, token):
        name, *roles = token.split("+")
        return {"id": int(name) if name.isdigit() else name, "roles": roles}, time.time() + 60


def as_(who):
    return {"headers": {"Authorization": f"Bearer {who}"}} if who else {}


@contextmanager
def serving(*models, free=(), **options):
    routes = [route for model in models or [PermPage] for route in ModelHive.routes_for(model, **options)]
    routes += [route for model in free for route in ModelHive.routes_for(model)]
    application = Application(
        AuthHive.routes_for([Trusting()]) + routes, default_handler_class=NotFoundHandler
    )
    AuthHive.configure(application, secret_key="k" * 32, authenticated_get=False, write_rate=None)
    with serve(application) as api:
        yield api


def asking(user, **more):
    """A handler whose `current_user` has the user data `more`, with the id `user`; or is None."""
    return SimpleNamespace(current_user=None if user is None else {"id": user, **more})


def statuses(page, permission, *who, verb="GET", **how):
    """What each hears who wants to get the page under this permission."""
    with serving(allow={"get": permission}) as api:
        return [api.request(verb, f"/perm_page/{page.id}", **how, **as_(one)).status for one in who]


@pytest.fixture
def page(mongomock_database):
    return PermPage(title="a", author="ann").save()


# owner


@pytest.fixture
def owned(database):
    ann = PermUser(id=ObjectId(HEX), name="ann").save()
    bob = PermUser(name="bob").save()
    return PermPage(
        author="ann", text_owners=["bob", "ann"], number=7, oid=HEX, uid="12345678123456781234567812345678",
        user=ann, old=ann, lazy=ann, cached=ann, users=[bob, ann], lazies=[bob, ann], anyone=ann,
        anyones=[bob, ann],
    ).save()  # fmt: skip


OWNERS = {
    "author": "ann", "text_owners": "ann", "number": 7, "oid": HEX,
    "uid": "12345678-1234-5678-1234-567812345678",
    **dict.fromkeys(["user", "old", "lazy", "cached", "users", "lazies", "anyone", "anyones"], HEX),
}  # fmt: skip


def test_owner_is_who_the_field_names(owned):
    for field, user in OWNERS.items():
        assert statuses(owned, owner(field), user, f"{user}+admin", "eve", None) == [200, 200, 403, 401], (
            field
        )


def test_owner_of_a_document_in_hand_is_the_same_when_its_references_are_loaded(owned):
    loaded = PermPage.objects.get()
    for dereferenced in (False, True):
        for field, user in OWNERS.items():
            _ = getattr(loaded, field) if dereferenced else None
            assert owner(field)(asking(user), loaded), field
            assert not owner(field)(asking("eve"), loaded), field
    assert isinstance(loaded._data["user"], PermUser)
    raw = PermPage._from_son(PermPage.objects.as_pymongo().first())
    assert owner("lazy")(asking(HEX), raw)
    assert owner("anyone")(asking(HEX), raw)


@pytest.mark.parametrize("field", [*OWNERS, "title", "no_such_field"])
def test_a_document_without_a_value_has_no_owner(field, mongomock_database):
    empty = PermPage().save()
    for user in ("None", "null", "[]", "{}", "", "False", 0):
        for document in (empty, PermPage.objects.get(), PermPage()):
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
    assert owner(next(iter(values)))(asking(user), PermPage(**values)) is owns


def test_nothing_in_a_list_is_no_owner(mongomock_database):
    PermPage._get_collection().insert_one({"text_owners": [None, "bob"], "users": [None]})
    stored = PermPage.objects.get()
    assert not owner("text_owners")(asking("None"), stored)
    assert not owner("users")(asking("None"), stored)
    assert owner("text_owners")(asking("bob"), stored)


def test_before_a_document_is_known_somebody_may_be_its_owner():
    assert owner("author")(asking("ann"), None)
    assert not owner("author")(asking(None), None)


def test_owner_of_a_new_document_is_who_it_will_belong_to(mongomock_database):
    ann = PermUser(id=ObjectId(HEX)).save()
    for field, mine, theirs in (
        ("author", "ann", "bob"),
        ("text_owners", ["bob", "ann"], ["bob"]),
        ("number", 7, 8),
        ("user", str(ann.id), None),
        ("users", [str(ann.id)], []),
        ("anyone", {"_cls": "PermUser", "id": str(ann.id)}, None),
    ):
        who = {"author": "ann", "text_owners": "ann", "number": "7"}.get(field, str(ann.id))
        with serving(PermPage, free=[PermUser], allow={"create": owner(field)}) as api:
            assert api.post("/perm_page", json={field: mine}, **as_(who)).status == 201, field
            assert api.post("/perm_page", json={field: theirs}, **as_(who)).status == 403, field
            assert api.post("/perm_page", json={"title": "x"}, **as_(who)).status == 403, field
            assert api.post("/perm_page", json={field: mine}).status == 401, field


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


partial = functools.partial(
    lambda name, handler, instance: instance is None or instance.author == name, "ann"
)


@pytest.mark.parametrize(
    ("permission", "expected"),  # of nobody, ann, bob, an admin
    [
        pytest.param(everyone, [200, 200, 200, 200], id="everyone"),
        pytest.param(signed_in, [401, 200, 200, 200], id="signed in"),
        pytest.param(owner("author"), [401, 200, 403, 403], id="owner"),
        pytest.param(role("admin"), [401, 403, 403, 200], id="role"),
        pytest.param(any_of(owner("author"), role("admin")), [401, 200, 403, 200], id="any"),
        pytest.param(all_of(owner("author"), role("admin")), [401, 403, 403, 403], id="all"),
        pytest.param(any_of(no, IsAnn()), [401, 200, 403, 403], id="any, async"),
        pytest.param(
            all_of(yes, signed_in, any_of(IsAnn(), role("admin"))), [401, 200, 403, 200], id="nested"
        ),
        pytest.param(any_of(no, all_of(yes, no), everyone), [200, 200, 200, 200], id="mixed"),
        pytest.param(concealed(owner("author")), [401, 200, 404, 404], id="concealed owner"),
        pytest.param(concealed(any_of(no, partial)), [200, 200, 200, 200], id="concealed, async"),
        pytest.param(concealed(no), [401, 403, 403, 403], id="concealed from all"),
        pytest.param(any_of(concealed(owner("author")), no), [401, 200, 404, 404], id="any of a concealed"),
        pytest.param(all_of(signed_in, concealed(owner("author"))), [401, 200, 404, 404], id="all of it"),
        pytest.param(IsAnn(), [401, 200, 403, 403], id="object"),
        pytest.param(partial, [200, 200, 200, 200], id="partial"),
    ],
)
def test_permissions_alone_and_together(page, permission, expected):
    for verb in ("GET", "HEAD"):
        assert statuses(page, permission, None, "ann", "bob", "eve+admin", verb=verb) == expected


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(any_of, []), (all_of, []), (role, []), (role, [["admin"]]), (role, ["admin", None])],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_permission_of_nothing_is_refused(make, arguments):
    with pytest.raises(TypeError, match=r"^(Pass at least one permission|role takes)"):
        make(*arguments)


class Later:
    """An answer that is still to be awaited."""

    def __await__(self):
        yield
        return False


async def forgets_to_await(handler, instance):
    return Later()


class Older:
    """A permission that is a class is one that was not made yet."""

    def __init__(self, handler, instance):
        pass


@pytest.mark.parametrize(
    "permission",
    [forgets_to_await, lambda handler, instance: owner("author"), lambda handler, instance: role],
    ids=["without await", "not called", "not made"],
)
def test_an_answer_that_is_neither_yes_nor_no_lets_nobody_in(page, permission):
    assert statuses(page, permission, None, "ann") == [500, 500]


@pytest.mark.parametrize(
    "permission",
    [Older, lambda handler: True, lambda: True, "admin"],
    ids=["class", "of a handler", "of nothing", "text"],
)
def test_what_does_not_take_handler_and_instance_is_no_permission(permission):
    with pytest.raises(TypeError, match="A permission is a function of handler and instance"):
        ModelHive.routes_for(PermPage, allow={"get": permission})


def test_any_of_and_all_of_ask_no_more_than_they_must(page):
    asked = []

    def answering(answer):
        return lambda handler, instance: asked.append(answer) or answer

    assert statuses(page, any_of(answering(True), answering(False)), "ann") == [200]
    assert set(asked) == {True}
    asked.clear()
    assert statuses(page, all_of(answering(False), answering(True)), "ann") == [403]
    assert set(asked) == {False}


def test_a_permission_that_looks_at_no_document_is_asked_as_often_for_a_long_list(mongomock_database):
    asked = []

    def counting(handler, instance):
        asked.append(instance)
        return True

    for permission, own in ((regardless(functools.partial(counting)), 0), (counting, 3)):
        for size in (1, 3):
            PermPage.drop_collection()
            PermPage.objects.insert([PermPage(title=str(number)) for number in range(size)])
            asked.clear()
            with serving(allow={"get": permission}) as api:
                assert len(api.get("/perm_page").json) == size
        assert len(asked) == 1 + own
        assert asked[0] is None


# What they do meanwhile


def test_plain_functions_query_in_the_pool_and_coroutines_run_on_the_loop(owned):
    threads = {}

    def queries(handler, instance):
        threads["plain"] = threading.current_thread().name
        return PermUser.objects(name=handler.current_user["id"]).first()

    async def waits(handler, instance):
        await asyncio.sleep(0)
        threads["async"] = threading.current_thread().name
        return True

    together = all_of(waits, any_of(no, queries))
    assert statuses(owned, queries, "ann", "eve") == [200, 403]
    assert threads["plain"].startswith("hive")
    assert statuses(owned, together, "ann", "eve") == [200, 403]
    assert threads == {"plain": threads["plain"], "async": "served"}
    assert threads["plain"].startswith("hive")


def test_a_permission_of_a_request_without_a_session_does_not_run_on_the_loop_either(page):
    threads = []

    def queries(handler, instance):
        threads.append(threading.current_thread().name)
        return PermUser.objects.count() == 0

    assert statuses(page, queries, None) == [200]
    assert len(threads) == 2
    assert all(name.startswith("hive") for name in threads)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_others_are_answered_while_a_permission_waits(page, kind):
    asked, go = threading.Event(), threading.Event()

    def plain(handler, instance):
        asked.set()
        return go.wait(5)

    async def coroutine(handler, instance):
        asked.set()
        return await asyncio.get_running_loop().run_in_executor(None, go.wait, 5)

    allow = {"get": everyone, "delete": {"plain": plain, "async": coroutine}[kind]}
    with serving(allow=allow) as api, ThreadPoolExecutor() as clients:
        path = f"/perm_page/{page.id}"
        slow = clients.submit(api.delete, path, **as_("ann"))
        assert asked.wait(5)
        assert api.get(path).status == 200
        assert not slow.done()
        go.set()
        assert slow.result().status == 204


def test_a_coroutine_that_never_ends_is_503(page, monkeypatch, caplog):
    monkeypatch.setattr("hive.pool.DEADLINE", 0.1)
    cancelled = threading.Event()

    async def hangs(handler, instance):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with serving(allow={"get": everyone, "delete": hangs}) as api:
        reply = api.delete(f"/perm_page/{page.id}", **as_("ann"))
        assert reply.status == 503
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert cancelled.wait(5)
        assert api.get("/perm_page").status == 200
    assert PermPage.objects.count() == 1


# Answers


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        *[(answer, 200) for answer in (True, 1, "no", [0], {"x": 0}, object(), -0.5)],
        *[(answer, 403) for answer in (False, None, 0, "", [], {}, 0.0)],
    ],
    ids=lambda value: repr(value).partition(" at ")[0],
)
def test_an_answer_counts_by_its_truth(page, answer, status):
    async def later(handler, instance):
        return answer

    for permission in (lambda handler, instance: answer, later, all_of(everyone, later), concealed(later)):
        assert statuses(page, permission, "ann") == [status]


def test_a_queryset_is_a_yes_if_it_has_documents(owned):
    def named(handler, instance):
        return PermUser.objects(name=handler.current_user["id"])

    async def later(handler, instance):
        return PermUser.objects(name=handler.current_user["id"])

    for permission in (named, later):
        assert statuses(owned, permission, "ann", "eve") == [200, 403]


ERRORS = {
    "problem": (lambda: Refusal("Pay for this."), 402, "Pay for this."),
    "not found": (NotFound, 404, "There is nothing at this address."),
    "conflict": (lambda: Conflict("Busy."), 409, "Busy."),
    "http error": (lambda: HTTPError(410, SECRET), 410, "Gone"),
    "reason": (lambda: HTTPError(451, reason="The court"), 451, "The court"),
    "value error": (lambda: ValueError(SECRET), 500, None),
    "key error": (lambda: KeyError(SECRET), 500, None),
    "stop": (lambda: StopIteration(SECRET), 500, None),
    "invalid": (lambda: me.ValidationError(SECRET), 500, None),
    "not there": (lambda: PermUser.DoesNotExist(SECRET), 500, None),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("when", ["at once", "for a document"])
def test_what_a_permission_raises_is_the_answer(mongomock_database, name, when, caplog):
    make, status, detail = ERRORS[name]
    user = PermUser(name="x").save()
    page = PermPage(title="a", user=user, users=[user]).save()

    def plain(handler, instance):
        if instance is not None or when == "at once":
            raise make()
        return True

    async def coroutine(handler, instance):
        return plain(handler, instance)

    for permission in (plain, coroutine, any_of(no, plain), concealed(coroutine)):
        allow = dict.fromkeys(["get", "create", "update", "delete"], permission)
        with serving(PermPage, PermUser, allow=allow) as api:
            path, body = f"/perm_page/{page.id}", {"title": "b"}
            for verb, where, json in (
                ("GET", "/perm_page", None),
                ("GET", path, None),
                ("POST", "/perm_page", body),
                ("PUT", path, body),
                ("PATCH", path, body),
                ("DELETE", path, None),
                ("GET", f"{path}/user", None),
                ("POST", f"{path}/users", {"name": "b"}),
            ):
                reply = api.request(verb, where, json=json, **as_("ann"))
                assert reply.status == status, (verb, where, reply.body)
                assert reply.headers["Content-Type"] == "application/problem+json"
                assert SECRET.encode() not in reply.body
                assert detail is None or reply.json["detail"] == detail
    assert [stored.title for stored in PermPage.objects] == ["a"]
    assert PermUser.objects.count() == 1


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_permission_raises_for_a_document_that_a_body_names_is_the_answer(
    mongomock_database, name, caplog
):
    make, status, _ = ERRORS[name]
    user = PermUser(name="x").save()

    def raises(handler, instance):
        if instance is not None:
            raise make()
        return True

    page, generic = PermPage(title="a").save(), {"_cls": "PermUser", "id": str(user.id)}
    application = Application(
        AuthHive.routes_for([Trusting()])
        + ModelHive.routes_for(PermPage)
        + ModelHive.routes_for(PermUser, allow={"get": concealed(raises)})
    )
    AuthHive.configure(application, secret_key="k" * 32)
    with serve(application) as api:
        for verb, where, body in (
            ("POST", "/perm_page", {"user": str(user.id)}),
            ("PUT", f"/perm_page/{page.id}", {"users": [str(user.id)]}),
            ("PATCH", f"/perm_page/{page.id}", {"anyone": generic}),
            ("POST", f"/perm_page/{page.id}/user", {"id": str(user.id)}),
            ("POST", f"/perm_page/{page.id}/anyones", generic),
        ):
            reply = api.request(verb, where, json=body, **as_("ann"))
            assert (reply.status, SECRET.encode() in reply.body) == (status, False), (verb, where, reply.body)


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
        ModelHive.routes_for(PermPage, allow=allow)


def yields(handler, instance):
    yield False


async def yields_later(handler, instance):
    yield False


@pytest.mark.parametrize("mistaken", [owner, role, any_of, all_of, concealed, yields, yields_later])
def test_what_answers_neither_yes_nor_no_lets_nobody_in(page, mistaken, caplog):
    """Who writes ``role`` and forgets ``("admin")``, for one, does not open the door to everybody."""
    try:
        heard = statuses(page, mistaken, None, "ann")
    except TypeError:  # it may be refused beforehand
        heard = []
    assert 200 not in heard


@pytest.mark.parametrize("part", [None, "admin", True, [everyone]], ids=["none", "text", "bool", "list"])
def test_a_part_that_is_no_permission_is_refused_when_it_is_put_together(part):
    for make in (any_of, all_of, concealed):
        with pytest.raises(TypeError):
            make(part)
