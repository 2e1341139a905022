"""Who hears what, where: three identities and an owner, by every place of the route table, by every verb.

A list that can be changed at once is sent a filter, which finds what ann owns, and wants each on its own.
"""

import json
from itertools import product
from types import SimpleNamespace

import mongoengine as me
import pytest
from tornado.routing import RuleRouter
from tornado.web import Application, RequestHandler

import hive
from hive import AuthHive, ModelHive, NotFoundHandler, flatten
from hive.auth.provider import Redirecting
from hive.permissions import any_of, concealed, everyone, owner, role, signed_in
from hive.testing import serve

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
WHO = {
    "nobody": None,
    "user": {"id": "bob"},
    "owner": {"id": "ann"},
    "admin": {"id": "eve", "roles": ["admin"]},
}


class TablePlace(me.EmbeddedDocument):
    city = me.StringField()


class TableRemark(me.EmbeddedDocument):
    text = me.StringField()
    where = me.EmbeddedDocumentField(TablePlace)


class TableUser(me.Document):
    name = me.StringField()
    home = me.EmbeddedDocumentField(TablePlace)


class TableSecret(me.Document):
    name = me.StringField()


class TablePost(me.Document):
    name = me.StringField()
    author = me.ReferenceField(TableUser)
    readers = me.ListField(me.ReferenceField(TableUser))
    where = me.EmbeddedDocumentField(TablePlace)
    remarks = me.EmbeddedDocumentListField(TableRemark)
    source = me.ReferenceField(TableSecret)
    about = me.GenericReferenceField(choices=[TableUser])


class Trusting(Redirecting):
    """Takes everybody for who they say they are, but for those that it was to ask itself."""

    async def authenticate(self, credentials, handler):
        return credentials.get("user")

    async def authorization_url(self, redirect_uri, state, nonce, verifier):
        return "https://provider.example/"


class Diary(RequestHandler):
    """A handler that has nothing to do with models."""

    @hive.authenticated
    def get(self):
        self.write("Dear diary")


def application():
    admin = role("admin")
    routes = [
        AuthHive.routes_for([Trusting()]),
        ModelHive.routes_for(
            TablePost,
            allow={"get": everyone, "create": signed_in, "update": owner("name"), "delete": admin},
        ),
        ModelHive.routes_for(TableUser),
        ModelHive.routes_for(
            TableSecret,
            allow=dict.fromkeys(
                ["get", "create", "update", "delete"], concealed(any_of(owner("name"), admin))
            ),
        ),
        [("/diary", Diary)],
    ]
    made = Application(flatten(routes), default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key="k" * 32, write_rate=None, signin_rate=None)
    return made


TABLE = """
            GET HEAD POST PUT PATCH   DELETE  OPTIONS
/auth/me
    nobody  200 200  405  405 405     405     204
    user    200 200  405  405 405     405     204
    owner   200 200  405  405 405     405     204
    admin   200 200  405  405 405     405     204
/auth/signin  {"user": {"id": "x"}}
    nobody  200 200  200  405 405     405     204
    user    200 200  200  405 405     405     204
    owner   200 200  200  405 405     405     204
    admin   200 200  200  405 405     405     204
/auth/signin/NAME
    nobody  302 405  405  405 405     405     204
    user    302 405  405  405 405     405     204
    owner   302 405  405  405 405     405     204
    admin   302 405  405  405 405     405     204
/auth/callback/NAME
    nobody  401 405  405  405 405     405     204
    user    401 405  405  405 405     405     204
    owner   401 405  405  405 405     405     204
    admin   401 405  405  405 405     405     204
/auth/signout
    nobody  405 405  200  405 405     405     204
    user    405 405  200  405 405     405     204
    owner   405 405  200  405 405     405     204
    admin   405 405  200  405 405     405     204
/table_post  {"name": "ann"}
    nobody  200 200  401  401 401     401     204
    user    200 200  201  405 207:403 403     204
    owner   200 200  201  405 200:200 403     204
    admin   200 200  201  405 207:403 200:204 204
/table_post/ID  {"name": "ann"}
    nobody  200 200  401  401 401     401     204
    user    200 200  405  403 403     403     204
    owner   200 200  405  200 200     403     204
    admin   200 200  405  403 403     204     204
/table_post/ID/author  {"name": "ann"}
    nobody  401 401  401  401 401     401     204
    user    200 200  403  200 200     403     204
    owner   200 200  201  200 200     204     204
    admin   200 200  403  200 200     403     204
/table_post/ID/author/home  {"city": "Oslo"}
    nobody  401 401  401  401 401     401     401
    user    200 200  201  200 200     204     204
    owner   200 200  201  200 200     204     204
    admin   200 200  201  200 200     204     204
/table_post/ID/readers  {"name": "ann"}
    nobody  200 200  401  405 405     405     204
    user    200 200  403  405 405     405     204
    owner   200 200  201  405 405     405     204
    admin   200 200  403  405 405     405     204
/table_post/ID/readers/ITEM  {"name": "ann"}
    nobody  401 401  405  401 401     401     204
    user    200 200  405  200 200     403     204
    owner   200 200  405  200 200     204     204
    admin   200 200  405  200 200     403     204
/table_post/ID/readers/ITEM/home  {"city": "Oslo"}
    nobody  401 401  401  401 401     401     401
    user    200 200  201  200 200     204     204
    owner   200 200  201  200 200     204     204
    admin   200 200  201  200 200     204     204
/table_post/ID/where  {"city": "Oslo"}
    nobody  200 200  401  401 401     401     204
    user    200 200  403  403 403     403     204
    owner   200 200  201  200 200     204     204
    admin   200 200  403  403 403     403     204
/table_post/ID/remarks  {"text": "b"}
    nobody  200 200  401  405 405     405     204
    user    200 200  403  405 405     405     204
    owner   200 200  201  405 405     405     204
    admin   200 200  403  405 405     405     204
/table_post/ID/remarks/ITEM  {"text": "b"}
    nobody  200 200  405  401 401     401     204
    user    200 200  405  403 403     403     204
    owner   200 200  405  200 200     204     204
    admin   200 200  405  403 403     403     204
/table_post/ID/remarks/ITEM/where  {"city": "Oslo"}
    nobody  200 200  401  401 401     401     204
    user    200 200  403  403 403     403     204
    owner   200 200  201  200 200     204     204
    admin   200 200  403  403 403     403     204
/table_post/ID/source  {"name": "ann"}
    nobody  404 404  401  404 404     401     204
    user    404 404  403  404 404     403     204
    owner   200 200  201  200 200     204     204
    admin   200 200  403  200 200     403     204
/table_post/ID/about  {"_cls": "TableUser", "name": "ann"}
    nobody  401 401  401  401 401     401     204
    user    200 200  403  200 200     403     204
    owner   200 200  201  200 200     204     204
    admin   200 200  403  200 200     403     204
/table_user  {"name": "ann"}
    nobody  401 401  401  401 401     401     401
    user    200 200  201  405 200:200 200:204 204
    owner   200 200  201  405 200:200 200:204 204
    admin   200 200  201  405 200:200 200:204 204
/table_user/ID  {"name": "ann"}
    nobody  401 401  401  401 401     401     401
    user    200 200  405  200 200     204     204
    owner   200 200  405  200 200     204     204
    admin   200 200  405  200 200     204     204
/table_user/ID/home  {"city": "Oslo"}
    nobody  401 401  401  401 401     401     401
    user    200 200  201  200 200     204     204
    owner   200 200  201  200 200     204     204
    admin   200 200  201  200 200     204     204
/table_secret  {"name": "ann"}
    nobody  401 401  401  401 401     401     401
    user    200 200  403  405 200:    200:    204
    owner   200 200  201  405 200:200 200:204 204
    admin   200 200  201  405 200:200 200:204 204
/table_secret/ID  {"name": "ann"}
    nobody  401 401  401  401 401     401     401
    user    404 404  405  404 404     404     204
    owner   200 200  405  200 200     204     204
    admin   200 200  405  200 200     204     204
/diary
    nobody  401 405  405  405 405     405     405
    user    200 405  405  405 405     405     405
    owner   200 405  405  405 405     405     405
    admin   200 405  405  405 405     405     405
"""
"""The status of each cell; beside a place, the body that is sent there. Ann owns all that there is.

After a colon, what it says of the one document that the filter finds; nothing, where it finds none.
"""


def declared():
    """The cells of the table, by place, identity and verb; and the body that is sent to each place."""
    cells, bodies, place = {}, {}, None
    for line in TABLE.splitlines()[2:]:
        if line.startswith("/"):
            place, _, body = line.partition("  ")
            bodies[place] = json.loads(body) if body else {}
        else:
            who, *statuses = line.split()
            cells |= {(place, who, verb): status for verb, status in zip(VERBS, statuses, strict=True)}
    return cells, bodies


CELLS, BODIES = declared()


# The places of an application, from its routes and the fields of its models


def rules(router):
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from rules(rule.target)
        else:
            yield rule


def places(made):
    """Where there is something to be protected, with names for the variable parts."""
    for rule in rules(made.default_router):
        resource = (rule.target_kwargs or {}).get("resource")
        if resource is None:
            yield rule.matcher.regex.pattern.replace("([^/]+)", "NAME").removesuffix("$").removesuffix("/?")
        else:
            yield resource.root
            yield f"{resource.root}/ID"
            yield from below(resource.model, f"{resource.root}/ID", references=1)


def below(model, path, references):
    for name, field in model._fields.items():
        here, is_list = f"{path}/{name}", isinstance(field, me.ListField)
        kind = field.field if is_list else field
        is_reference = isinstance(kind, me.ReferenceField | me.GenericReferenceField)
        if not is_reference and not isinstance(kind, me.EmbeddedDocumentField):
            continue
        yield here
        if is_list:
            yield (here := f"{here}/ITEM")
        if not isinstance(kind, me.GenericReferenceField) and references >= is_reference:
            yield from below(kind.document_type, here, references - is_reference)


def test_every_place_of_the_application_is_in_the_table_and_no_other():
    assert sorted(set(places(application()))) == sorted(BODIES)


def test_every_cell_is_declared_once():
    assert CELLS.keys() == {(place, who, verb) for place in BODIES for who in WHO for verb in VERBS}
    assert TABLE.count("\n/") == len(BODIES)
    assert sum(
        map(len, (line.split()[1:] for line in TABLE.splitlines()[2:] if line.startswith(" ")))
    ) == len(CELLS)


# What there is


def build(database):
    """One document of each kind, that belong to ann; and an empty database else."""
    for name in database.list_collection_names():
        database.drop_collection(name)
    place = TablePlace(city="Rome")
    user = TableUser(name="ann", home=place).save()
    secret = TableSecret(name="ann").save()
    post = TablePost(
        name="ann", author=user, readers=[user], where=place, remarks=[TableRemark(text="a", where=place)],
        source=secret, about=user,
    ).save()  # fmt: skip
    ids = {"table_post": post.id, "table_user": user.id, "table_secret": secret.id}
    return SimpleNamespace(ids=ids, user=user)


def path_to(place, world):
    path = place.replace("/remarks/ITEM", "/remarks/0").replace("/readers/ITEM", f"/readers/{world.user.id}")
    return path.replace("/ID", f"/{world.ids.get(path.split('/')[1])}").replace("NAME", "trusting")


def session(api, who):
    headers = {"Origin": f"http://127.0.0.1:{api.port}"}
    if WHO[who] is not None:
        reply = api.post("/auth/signin/", json={"user": WHO[who]})
        headers["Cookie"] = reply.headers["Set-Cookie"].partition(";")[0]
    return headers


@pytest.fixture
def api(mongomock_database):
    with serve(application()) as client:
        yield client


LISTS = [place for place in BODIES if place.count("/") == 1 and place != "/diary"]
AT_ONCE = ("PATCH", "DELETE")
ON_ITS_OWN = {"Prefer": "transaction=no"}


def heard_of(reply):
    """As the table has it."""
    if reply.body.startswith(b"[") and "Preference-Applied" in reply.headers:
        return f"{reply.status}:{','.join(str(one['status']) for one in reply.json)}"
    return str(reply.status)


@pytest.fixture
def sessions(api):
    """The headers of each identity."""
    return {who: session(api, who) for who in WHO}


@pytest.mark.parametrize("place", BODIES)
def test_each_identity_hears_at_each_place_what_the_table_says(mongomock_database, api, sessions, place):
    world, heard = build(mongomock_database), {}
    for who in WHO:
        for verb in VERBS:
            headers, body = sessions[who], BODIES[place] if verb in ("POST", "PUT", "PATCH") else None
            if verb != "POST" and body:  # only what is new has its class in the body
                body = {name: value for name, value in body.items() if name != "_cls"}
            path = path_to(place, world)
            if place in LISTS and verb in AT_ONCE:
                path, headers = f"{path}?name=ann", headers | ON_ITS_OWN
            reply = api.request(verb, path, json=body, headers=headers)
            heard[place, who, verb] = heard_of(reply)
            if reply.status < 300 and verb not in ("GET", "HEAD", "OPTIONS"):
                world = build(mongomock_database)
    assert heard == {cell: status for cell, status in CELLS.items() if cell[0] == place}


def stored(database):
    return {name: list(database[name].find()) for name in ("table_post", "table_user", "table_secret")}


@pytest.mark.parametrize("place", LISTS)
def test_a_list_is_changed_for_those_of_whom_the_table_says_so(mongomock_database, api, sessions, place):
    for who, verb in product(WHO, AT_ONCE):
        build(mongomock_database)
        headers, path, cell = sessions[who] | ON_ITS_OWN, f"{place}?name=ann", CELLS[place, who, verb]
        before = stored(mongomock_database)
        assert heard_of(api.request(verb, path, json={"name": "eve"}, headers=headers)) == cell
        after = stored(mongomock_database)
        assert (after != before) is cell.endswith((":200", ":204"))
        if after != before:
            expected = [] if verb == "DELETE" else [before[place[1:]][0] | {"name": "eve"}]
            assert after == before | {place[1:]: expected}


@pytest.mark.parametrize("place", LISTS)
def test_nobody_changes_a_list_without_a_filter(mongomock_database, api, sessions, place):
    build(mongomock_database)
    before = stored(mongomock_database)
    for who, verb in product(WHO, AT_ONCE):
        cell = CELLS[place, who, verb]
        for how, status in ((ON_ITS_OWN, "400"), ({}, "501")):  # mongomock has no transactions
            reply = api.request(verb, place, json={"name": "eve"}, headers=sessions[who] | how)
            assert heard_of(reply) == (cell if cell in ("401", "403") else status)
    assert stored(mongomock_database) == before
