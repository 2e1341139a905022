"""Permissions, asked over HTTP by those whom they are about."""

import asyncio
import functools
import threading
import time
from contextlib import contextmanager

import mongoengine as me
import pytest
from bson import ObjectId
from tornado.web import Application, HTTPError

from hive import AuthHive, ModelHive, NotFoundHandler, Provider
from hive.errors import Conflict, NotFound, Problem
from hive.permissions import all_of, any_of, concealed, everyone, owner, regardless, role, signed_in
from hive.testing import serve
from tests.support.threads import PATIENCE, in_thread, wait_for

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


def statuses(page, permission, *who, verb="GET", **how):
    """What each hears who wants to get the page under this permission."""
    with serving(allow={"get": permission}) as api:
        return [api.request(verb, f"/perm_page/{page.id}", **how, **as_(one)).status for one in who]


@pytest.fixture
def page(mongomock_database):
    return PermPage(title="a", author="ann").save()


# owner


@pytest.fixture
def owned(mongodb_database):
    ann = PermUser(id=ObjectId(HEX), name="ann").save()
    bob = PermUser(name="bob").save()
    return PermPage(
        author="ann", text_owners=["bob", "ann"], number=7, oid=HEX, uid="12345678123456781234567812345678",
        user=ann, old=ann, lazy=ann, cached=ann, users=[bob, ann], lazies=[bob, ann], anyone=ann,
        anyones=[bob, ann],
    ).save()  # fmt: skip


def test_owner_is_who_the_field_names(owned):
    for field, user in {"author": "ann", "number": 7, "users": HEX, "lazy": HEX, "anyone": HEX}.items():
        heard = statuses(owned, owner(field), user, f"{user}+admin", "eve", None)
        assert heard == [200, 200, 403, 401], field


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


@pytest.mark.parametrize(
    ("permission", "expected"),  # of nobody, ann, bob, an admin
    [
        pytest.param(signed_in, [401, 200, 200, 200], id="signed in"),
        pytest.param(any_of(owner("author"), role("admin")), [401, 200, 403, 200], id="any"),
        pytest.param(any_of(no, all_of(yes, no), everyone), [200, 200, 200, 200], id="mixed"),
        pytest.param(all_of(yes, IsAnn()), [401, 200, 403, 403], id="all, async"),
        pytest.param(concealed(owner("author")), [401, 200, 404, 404], id="concealed owner"),
        pytest.param(concealed(no), [401, 403, 403, 403], id="concealed from all"),
        pytest.param(any_of(concealed(owner("author")), no), [401, 200, 404, 404], id="any of a concealed"),
        pytest.param(all_of(signed_in, concealed(owner("author"))), [401, 200, 404, 404], id="all of it"),
    ],
)
def test_permissions_alone_and_together(page, permission, expected):
    for verb in ("GET", "HEAD"):
        assert statuses(page, permission, None, "ann", "bob", "eve+admin", verb=verb) == expected


def test_an_answer_that_is_neither_yes_nor_no_lets_nobody_in(page, caplog):
    assert statuses(page, lambda handler, instance: owner("author"), None, "ann") == [500, 500]
    assert "answers neither yes nor no" in caplog.text


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
def test_others_are_answered_while_a_permission_waits(page, monkeypatch, kind):
    monkeypatch.setattr("hive.pool.DEADLINE", PATIENCE)
    asked, go = threading.Event(), threading.Event()

    def plain(handler, instance):
        asked.set()
        return go.wait(PATIENCE)

    async def coroutine(handler, instance):
        asked.set()
        return await asyncio.get_running_loop().run_in_executor(None, go.wait, PATIENCE)

    allow = {"get": everyone, "delete": {"plain": plain, "async": coroutine}[kind]}
    with serving(allow=allow) as api:
        path = f"/perm_page/{page.id}"
        with in_thread(lambda: api.delete(path, timeout=PATIENCE, **as_("ann"))) as slow:
            assert asked.wait(PATIENCE)
            assert api.get(path).status == 200
            assert not slow.done()
            go.set()
            assert slow.result().status == 204


def test_a_coroutine_that_never_ends_is_503(page, monkeypatch, caplog):
    monkeypatch.setattr("hive.pool.DEADLINE", 0.2)
    cancelled = threading.Event()

    async def hangs(handler, instance):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with serving(allow={"get": everyone, "delete": hangs}) as api:

        def is_cancelled():
            reply = api.delete(f"/perm_page/{page.id}", timeout=PATIENCE, **as_("ann"))
            assert reply.status == 503
            assert reply.headers["Content-Type"] == "application/problem+json"
            return cancelled.wait(1)

        wait_for(is_cancelled)  # where the time is up before it is asked, again
        monkeypatch.setattr("hive.pool.DEADLINE", PATIENCE)
        assert api.get("/perm_page").status == 200
    assert PermPage.objects.count() == 1


# Answers


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


def raising(make, *, at_once):
    """A permission that raises, at once or when it sees a document."""

    def permission(handler, instance):
        if instance is not None or at_once:
            raise make()
        return True

    return permission


@pytest.mark.parametrize("name", ERRORS)
def test_what_a_permission_raises_is_the_answer(page, name, caplog):
    make, status, detail = ERRORS[name]
    for at_once in (True, False):
        permission = raising(make, at_once=at_once)
        with serving(allow=dict.fromkeys(["get", "delete"], permission)) as api:
            for verb in ("GET", "DELETE"):
                reply = api.request(verb, f"/perm_page/{page.id}", **as_("ann"))
                assert reply.status == status, (verb, reply.body)
                assert reply.headers["Content-Type"] == "application/problem+json"
                assert SECRET.encode() not in reply.body
                assert detail is None or reply.json["detail"] == detail


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "for a document"])
@pytest.mark.parametrize("kind", ["plain", "async", "any_of", "concealed"])
def test_what_a_permission_raises_is_the_answer_everywhere(mongomock_database, at_once, kind):
    user = PermUser(name="x").save()
    page = PermPage(title="a", user=user, users=[user]).save()
    plain = raising(lambda: Refusal("Pay."), at_once=at_once)

    async def coroutine(handler, instance):
        return plain(handler, instance)

    permission = {
        "plain": plain,
        "async": coroutine,
        "any_of": any_of(no, plain),
        "concealed": concealed(coroutine),
    }[kind]
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
            assert api.request(verb, where, json=json, **as_("ann")).status == 402, (verb, where)
    assert [stored.title for stored in PermPage.objects] == ["a"]
    assert PermUser.objects.count() == 1


@pytest.mark.parametrize("name", ["problem", "http error", "not found", "value error", "invalid"])
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
