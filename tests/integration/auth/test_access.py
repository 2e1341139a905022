"""What `allow` and the defaults of the application let a request do, wherever the document is."""

import socket
import time
from contextlib import contextmanager

import mongoengine as me
import pytest
from tornado.routing import URLSpec
from tornado.web import Application

from hive import AuthHive, ModelHandler, ModelHive, NotFoundHandler, Provider, flatten, signals
from hive.permissions import any_of, concealed, everyone, owner, role, signed_in
from hive.testing import recorded, serve
from tests.support.threads import PATIENCE

ACTIONS = ("get", "create", "update", "delete")
MISSING = "65a0000000000000000000ff"


class ProtGeo(me.EmbeddedDocument):
    lat = me.FloatField()


class ProtPlace(me.EmbeddedDocument):
    city = me.StringField()
    geo = me.EmbeddedDocumentField(ProtGeo)
    host = me.ReferenceField("ProtPerson")


class ProtPerson(me.Document):
    name = me.StringField()
    rank = me.IntField()
    owner = me.StringField()
    home = me.EmbeddedDocumentField(ProtPlace)
    friend = me.ReferenceField("self")
    friends = me.ListField(me.ReferenceField("self"))


class ProtTeam(me.Document):
    name = me.StringField()
    rank = me.IntField()
    owner = me.StringField()
    place = me.EmbeddedDocumentField(ProtPlace)
    places = me.EmbeddedDocumentListField(ProtPlace)
    captain = me.ReferenceField(ProtPerson)
    lazy = me.LazyReferenceField(ProtPerson)
    members = me.ListField(me.ReferenceField(ProtPerson))
    thing = me.GenericReferenceField(choices=[ProtPerson])
    things = me.ListField(me.GenericReferenceField(choices=[ProtPerson]))


class ProtNick(me.Document):
    nick = me.StringField()
    meta = {"lookup_field": "nick"}


class ProtGroup(me.Document):
    nicks = me.ListField(me.ReferenceField(ProtNick))


TEAM, PERSON = "/prot_team", "/prot_person"


class Trusting(Provider):
    """Takes everybody for who they say they are, with roles: ``ann+admin``."""

    def user(self, text):
        name, *roles = text.split("+")
        return {"id": name, "roles": roles}

    async def authenticate(self, credentials, handler):
        return self.user(credentials["user"])

    async def bearer(self, token):
        return self.user(token), time.time() + 60


def as_(who):
    return {"headers": {"Authorization": f"Bearer {who}"}} if who else {}


def application(*routes, secret_key="k" * 32, **options):
    made = Application(
        AuthHive.routes_for([Trusting()]) + flatten(routes), default_handler_class=NotFoundHandler
    )
    AuthHive.configure(made, secret_key=secret_key, write_rate=None, **options)
    return made


@contextmanager
def serving(*, team=None, person=None, **options):
    """Teams and people, each with its own `allow`."""
    routes = [ModelHive.routes_for(ProtTeam, allow=team), ModelHive.routes_for(ProtPerson, allow=person)]
    with serve(application(*routes, **options)) as api:
        yield api


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json


def everything(database):
    return {
        name: sorted(database[name].find(), key=lambda raw: str(raw["_id"]))
        for name in ("prot_team", "prot_person")
    }


def person(name, **more):
    return ProtPerson(name=name, **more).save()


def build():
    """A team T with captain C, whose friend is F, a member M, things G and H; and X, who is not in it."""
    free = person("X")
    friend = person("F", home=ProtPlace(city="Rome", geo=ProtGeo(lat=1)))
    captain = person("C", friend=friend, friends=[friend], home=ProtPlace(city="Oslo"))
    member, thing, other = person("M"), person("G"), person("H")
    team = ProtTeam(
        name="T", place=ProtPlace(city="a", geo=ProtGeo(lat=1), host=friend), places=[ProtPlace(city="b")],
        captain=captain, lazy=captain, members=[member], thing=thing, things=[thing, other],
    ).save()  # fmt: skip
    return {"T": team, "X": free, "F": friend, "C": captain, "M": member, "G": thing, "H": other}


def filled(text, world):
    """`text` with the ID of T for ``<T>``."""
    for name, document in world.items():
        text = text.replace(f"<{name}>", str(document.id))
    return text


def named_by(value, world):
    """The same of a body."""
    if isinstance(value, dict):
        return {key: named_by(item, world) for key, item in value.items()}
    if isinstance(value, list):
        return [named_by(item, world) for item in value]
    return filled(value, world) if isinstance(value, str) else value


# The rule


def may(action):
    """Who has the role ``T.get`` may get the document named T; before one is known, who is signed in."""

    def permission(handler, instance):
        user = handler.current_user
        return user is not None and (instance is None or f"{instance.name}.{action}" in user["roles"])

    return permission


RULED = {action: may(action) for action in ACTIONS}
NEW, RANK, LINK, THING = {"name": "N"}, {"rank": 2}, {"id": "<X>"}, {"_cls": "ProtPerson", "id": "<X>"}
NEEDED = [
    ("GET", "/prot_team/<T>", None, "T.get"),
    ("PUT", "/prot_team/<T>", RANK, "T.update"),
    ("DELETE", "/prot_team/<T>", None, "T.delete"),
    ("POST", "/prot_team", NEW, "N.create"),
    ("POST", "/prot_team", {"name": "N", "members": ["<X>"]}, "N.create"),
    # embedded documents
    ("GET", "/prot_team/<T>/place", None, "T.get"),
    ("POST", "/prot_team/<T>/place", {"city": "b"}, "T.get T.update"),
    ("PUT", "/prot_team/<T>/place", {"city": "b"}, "T.get T.update"),
    ("DELETE", "/prot_team/<T>/place", None, "T.get T.update"),
    ("GET", "/prot_team/<T>/place/geo", None, "T.get"),
    ("PUT", "/prot_team/<T>/place/geo", {"lat": 2}, "T.get T.update"),
    ("POST", "/prot_team/<T>/places", {"city": "b"}, "T.get T.update"),
    ("GET", "/prot_team/<T>/places/0", None, "T.get"),
    ("PUT", "/prot_team/<T>/places/0", {"city": "c"}, "T.get T.update"),
    ("DELETE", "/prot_team/<T>/places/0", None, "T.get T.update"),
    # references
    ("GET", "/prot_team/<T>/captain", None, "T.get C.get"),
    ("PATCH", "/prot_team/<T>/captain", RANK, "T.get C.update"),
    ("POST", "/prot_team/<T>/captain", LINK, "T.get T.update"),
    ("POST", "/prot_team/<T>/captain", NEW, "T.get T.update N.create"),
    ("DELETE", "/prot_team/<T>/captain", None, "T.get T.update"),
    ("GET", "/prot_team/<T>/lazy", None, "T.get C.get"),
    ("PATCH", "/prot_team/<T>/lazy", RANK, "T.get C.update"),
    ("POST", "/prot_team/<T>/members", NEW, "T.get T.update N.create"),
    ("GET", "/prot_team/<T>/members/<M>", None, "T.get M.get"),
    ("PUT", "/prot_team/<T>/members/<M>", RANK, "T.get M.update"),
    ("DELETE", "/prot_team/<T>/members/<M>", None, "T.get T.update"),
    ("POST", "/prot_team/<T>/thing", THING, "T.get T.update"),
    ("POST", "/prot_team/<T>/thing", NEW | {"_cls": "ProtPerson"}, "T.get T.update N.create"),
    ("DELETE", "/prot_team/<T>/thing", None, "T.get T.update"),
    ("POST", "/prot_team/<T>/things", THING, "T.get T.update"),
    ("GET", "/prot_team/<T>/things/<H>", None, "T.get H.get"),
    ("PUT", "/prot_team/<T>/things/<H>", RANK, "T.get H.update"),
    ("DELETE", "/prot_team/<T>/things/<H>", None, "T.get T.update"),
    # through one document into others
    ("DELETE", "/prot_team/<T>/place/host", None, "T.get T.update"),
    ("PUT", "/prot_team/<T>/captain/home", {"city": "b"}, "T.get C.get C.update"),
    ("POST", "/prot_team/<T>/captain/friends", LINK, "T.get C.get C.update"),
    ("DELETE", "/prot_team/<T>/captain/friends/<F>", None, "T.get C.get C.update"),
    ("PUT", "/prot_team/<T>/captain/friends/<F>", RANK, "T.get C.get F.update"),
    ("GET", "/prot_team/<T>/captain/friend/home/geo", None, "T.get C.get F.get"),
    ("PATCH", "/prot_team/<T>/captain/friend/home/geo", {"lat": 3}, "T.get C.get F.get F.update"),
    ("DELETE", "/prot_team/<T>/place/host/home", None, "T.get F.get F.update"),
]  # fmt: skip
RULES = [(rule, False) for rule in NEEDED]
RULES += [
    (rule, True)
    for rule in NEEDED
    if f"{rule[0]} {rule[1]}"
    in (
        "PUT /prot_team/<T>",
        "DELETE /prot_team/<T>",
        "POST /prot_team",
        "DELETE /prot_team/<T>/places/0",
        "PATCH /prot_team/<T>/captain",
        "POST /prot_team/<T>/captain",
        "PUT /prot_team/<T>/members/<M>",
        "DELETE /prot_team/<T>/thing",
        "POST /prot_team/<T>/things",
        "PATCH /prot_team/<T>/captain/friend/home/geo",
    )
]
"""And whether the documents are concealed."""


@pytest.mark.parametrize(
    ("rule", "conceals"),
    RULES,
    ids=[f"{verb} {path} {body} {'concealed' * conceals}" for (verb, path, body, _), conceals in RULES],
)
def test_a_request_needs_each_of_these_permissions_and_no_other(mongomock_database, rule, conceals):
    """Concealed documents must be gettable too by who changes, deletes or links them."""
    verb, path, body, needed = *rule[:3], set(rule[3].split())
    allow = {action: concealed(rule) if conceals else rule for action, rule in RULED.items()}
    if conceals:
        seen = {right.split(".")[0] for right in needed if not right.endswith("create")}
        needed = needed | {f"{name}.get" for name in seen | ({"X"} if "<X>" in str(body) else set())}
    with serving(team=allow, person=allow) as api:
        world = build()
        before = everything(mongomock_database)
        where, json = filled(path, world), named_by(body, world)
        with recorded() as heard:
            refused(api.request(verb, where, json=json), 401)
            for lacking in needed:
                who = "+".join(["ann", *sorted(needed - {lacking})])
                hidden = 400 if lacking == "X.get" else 404  # X is named in the body
                status = hidden if conceals and not lacking.endswith("create") else 403
                refused(api.request(verb, where, json=json, **as_(who)), status)
                assert everything(mongomock_database) == before, lacking
                assert heard == [], lacking
        reply = api.request(verb, where, json=json, **as_("+".join(["ann", *sorted(needed)])))
        assert reply.status in (200, 201, 204), reply.body
        assert (everything(mongomock_database) == before) is (verb == "GET")


def test_head_and_options_need_what_get_needs(mongomock_database):
    with serving(team=RULED, person=RULED) as api:
        world = build()
        for path, rights in (("<T>", "T.get"), ("<T>/place/geo", "T.get"), ("<T>/captain", "T.get+C.get")):
            where = filled(f"{TEAM}/{path}", world)
            assert api.request("HEAD", where).status == 401
            assert api.request("HEAD", where, **as_("ann")).status == 403
            assert api.request("HEAD", where, **as_(f"ann+{rights}")).status == 200
            refused(api.request("OPTIONS", where), 401)
            assert api.request("OPTIONS", where, **as_(f"ann+{rights}")).status == 204
        refused(api.request("OPTIONS", filled(f"{TEAM}/<T>/place", world), **as_("ann")), 403)


# Lists


def numbered(reply):
    return [item["name"] for item in reply.json]


@pytest.mark.parametrize("rule", [owner("owner"), concealed(owner("owner"))], ids=["", "concealed"])
def test_lists_leave_out_what_may_not_be_read_and_links_do_not_tell_of_it(mongomock_database, rule):
    people = [person(str(number), owner="ann" if number % 3 == 0 else "bob") for number in range(8)]
    team = ProtTeam(name="T", members=people, things=people).save()
    allow = {"get": rule}
    with serving(team={"get": everyone}, person=allow) as api:
        for path in (PERSON, f"{TEAM}/{team.id}/members", f"{TEAM}/{team.id}/things"):
            pages, heard_of = [], []
            for number in (1, 2):
                with recorded(signals.post_get_list) as heard:
                    reply = api.get(f"{path}?page={number}&per_page=2", **as_("ann"))
                pages.append(numbered(reply))
                heard_of += [item.name for item in heard[0].arguments["items"]]
                assert ('rel="next"' in reply.headers["Link"]) is (number < 2)
            assert pages == [["0", "3"], ["6"]]
            assert heard_of == ["0", "3", "6"]
            assert numbered(api.get(path, **as_("eve"))) == []
        refused(api.get(PERSON), 401)
        assert api.get(f"{TEAM}/{team.id}/members").json == []


# What a write shows


def test_writes_show_no_document_that_may_not_be_read(mongomock_database):
    may_all_but_get = dict.fromkeys(ACTIONS, everyone) | {"get": role("reader")}
    world = build()
    with serving(team={"get": everyone, "update": everyone}, person=may_all_but_get) as api:
        for verb, path, body, status in (
            ("PUT", "/prot_person/<C>", {}, 204),
            ("PUT", "/prot_person/<C>", {"rank": 5}, 204),
            ("PATCH", "/prot_person/<C>", {}, 204),
            ("PUT", "/prot_team/<T>/captain", {}, 204),
            ("PATCH", "/prot_team/<T>/members/<M>", {}, 204),
            ("PUT", "/prot_team/<T>/things/<H>", {}, 204),
            ("POST", "/prot_team/<T>/captain", LINK, 204),
            ("POST", "/prot_team/<T>/things", THING, 204),
            ("POST", "/prot_person", {"name": "N"}, 201),
            ("POST", "/prot_team/<T>/captain", {"name": "N"}, 201),
            ("POST", "/prot_team/<T>/members", {"name": "N"}, 201),
        ):
            for who, shown in (("ann", False), ("ann+reader", True)):
                reply = api.request(verb, filled(path, world), json=named_by(body, world), **as_(who))
                assert reply.status == (200 if shown and status == 204 else status), (verb, path)
                assert bool(reply.body) is shown, (verb, path)
                assert (reply.headers["Content-Type"] == "application/json") is shown
                if status == 201:
                    assert {"Location", "X-Created-Id"} <= set(reply.headers)


def test_who_gives_a_document_away_is_not_shown_what_it_became(mongomock_database):
    mine = person("P", owner="ann")
    rule = owner("owner")
    with serving(person={"get": rule, "update": rule, "create": signed_in}) as api:
        assert api.patch(f"{PERSON}/{mine.id}", json={"rank": 1}, **as_("ann")).json["rank"] == 1
        given = api.patch(f"{PERSON}/{mine.id}", json={"owner": "bob"}, **as_("ann"))
        assert (given.status, given.body) == (204, b"")
        made = api.post(PERSON, json={"name": "Q", "owner": "bob"}, **as_("ann"))
        assert (made.status, made.body) == (201, b"")
        refused(api.patch(f"{PERSON}/{mine.id}", json={"owner": "ann"}, **as_("ann")), 403)


# Create


def test_create_sees_the_document_as_it_would_be_and_nothing_is_stored_before(mongomock_database):
    seen = []

    def permission(handler, instance):
        if instance is not None:
            seen.append((instance.name, instance.rank, instance.home.city, ProtPerson.objects.count()))
        return instance is None or instance.owner == handler.current_user["id"]

    team = ProtTeam(name="T").save()
    body = {"name": "N", "rank": 3, "home": {"city": "Oslo"}}
    with serving(team=dict.fromkeys(ACTIONS, everyone), person={"create": permission}) as api:
        for path in (PERSON, f"{TEAM}/{team.id}/captain", f"{TEAM}/{team.id}/members"):
            ProtPerson.drop_collection()
            before = everything(mongomock_database)
            refused(api.post(path, json=body, **as_("ann")), 403)
            refused(api.post(path, json=body | {"owner": "bob"}, **as_("ann")), 403)
            assert everything(mongomock_database) == before
            assert api.post(path, json=body | {"owner": "ann"}, **as_("ann")).status == 201
            assert seen.pop() == ("N", 3, "Oslo", 0)


def test_who_may_not_hears_that_and_not_what_is_wrong_with_the_body(mongomock_database):
    wrong = {"no_such_field": 1}
    with serving(team=dict.fromkeys(ACTIONS, everyone), person=dict.fromkeys(ACTIONS, role("admin"))) as api:
        for verb, path in (
            ("POST", PERSON), ("PUT", f"{PERSON}/<C>"), ("POST", f"{TEAM}/<T>/captain"),
            ("POST", f"{TEAM}/<T>/members"), ("PATCH", f"{TEAM}/<T>/captain"),
        ):  # fmt: skip
            where = filled(path, build())
            refused(api.request(verb, where, json=wrong, **as_("ann")), 403)
            refused(api.request(verb, where, json=wrong, **as_("ann+admin")), 400)


# Races


@contextmanager
def meanwhile(change):
    """Do that when an update has been allowed, and is not stored yet; once."""
    changes = [change]

    def interfere(sender, handler):
        if changes:
            changes.pop()()

    with signals.pre_update_instance.connected_to(interfere):
        yield


@pytest.mark.parametrize(
    ("others", "conceals"), [({"rank": 9}, True), ({}, False)], ids=["and the same field", "and nothing else"]
)
def test_update_is_asked_again_when_another_has_changed_the_owner(mongodb_database, others, conceals):
    """Whoever lost the document between the check and the write does not write."""
    rule = concealed(owner("owner")) if conceals else owner("owner")
    allow = dict.fromkeys(ACTIONS, rule)
    captain = person("C", owner="ann", rank=1)
    team = ProtTeam(name="T", owner="ann", rank=1, captain=captain, place=ProtPlace(city="a")).save()
    lost = {"owner": "bob"} | others
    with serving(team=allow, person=allow) as api:
        for model, one, path, body in (
            (ProtTeam, team, f"{TEAM}/{team.id}", {"rank": 2}),
            (ProtTeam, team, f"{TEAM}/{team.id}/place", {"city": "b"}),
            (ProtPerson, captain, f"{TEAM}/{team.id}/captain", {"rank": 2}),
        ):
            embeds = {"place": {"city": "z"}} if path.endswith("place") and others else {}
            change = {"$set": lost | embeds}
            collection = model._get_collection()
            with meanwhile(lambda of=collection, what=change, one=one: of.update_one({"_id": one.id}, what)):
                refused(api.patch(path, json=body, **as_("ann")), 404 if conceals else 403)
            stored = collection.find_one({"_id": one.id})
            assert {name: stored[name] for name in change["$set"]} == change["$set"]
            collection.update_one({"_id": one.id}, {"$set": {"owner": "ann", "rank": 1}})


def test_who_loses_the_race_for_the_holder_creates_nothing(mongodb_database):
    team = ProtTeam(name="T", owner="ann").save()
    people = [person("A"), person("B")]
    collection = ProtTeam._get_collection()
    change = {"$set": {"owner": "bob", "members": [people[0].id], "captain": people[1].id}}
    allow = dict.fromkeys(ACTIONS, owner("owner"))
    with serving(team=allow, person=dict.fromkeys(ACTIONS, everyone)) as api:
        for field in ("captain", "members"):
            collection.update_one({}, {"$set": {"owner": "ann"}, "$unset": {"members": 1, "captain": 1}})
            with meanwhile(lambda: collection.update_one({}, change)):
                refused(api.post(f"{TEAM}/{team.id}/{field}", json={"name": "N"}, **as_("ann")), 403)
            assert ProtPerson.objects(name="N").count() == 0
            stored = collection.find_one()
            assert (stored["members"], stored["captain"]) == ([people[0].id], people[1].id)


# Concealed documents


def answer(reply, *ids):
    """All that a client hears, but for IDs, the time, and what names the request."""
    named = {name.lower(): value for name, value in reply.headers.items()}
    for name in ("date", "x-request-id", "etag"):
        named.pop(name, None)
    text = str((reply.status, sorted(named.items()), reply.body.decode()))
    for one in ids:
        text = text.replace(str(one), "ID")
    return text


def test_a_concealed_document_is_in_no_way_different_from_none(mongomock_database):
    world = build()
    secret = person("S", owner="bob", home=ProtPlace(city="x"), friend=world["F"])
    hidden = {"get": concealed(owner("owner"))} | dict.fromkeys(ACTIONS[1:], everyone)
    with serving(team=dict.fromkeys(ACTIONS, everyone), person=hidden) as api:
        for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for tail in ("", "/", "/home", "/home/geo", "/friend", "/friends", "/friends/x", "/name", "/no"):
                one, none = (
                    answer(
                        api.request(verb, f"{PERSON}/{key}{tail}", json={"rank": 1}, **as_("ann")),
                        secret.id,
                        MISSING,
                    )
                    for key in (secret.id, MISSING)
                )
                assert one == none, (verb, tail)
        assert ProtPerson.objects.get(id=secret.id).rank is None
        assert api.get(f"{PERSON}/{secret.id}", **as_("bob")).status == 200


@pytest.mark.parametrize(
    ("field", "verb"),
    [("captain", verb) for verb in ("GET", "POST", "PUT", "DELETE")]
    + [("lazy", verb) for verb in ("HEAD", "PATCH")]
    + [("thing", verb) for verb in ("GET", "PUT", "OPTIONS")]
    + [("members", verb) for verb in ("GET", "POST", "PATCH", "DELETE")]
    + [("things", verb) for verb in ("HEAD", "PUT", "DELETE", "OPTIONS")],
)
def test_a_reference_to_a_concealed_document_is_like_one_to_none(mongomock_database, field, verb):
    """For example in a list where one is not gone, but concealed."""
    hidden = {"get": concealed(owner("owner"))} | dict.fromkeys(ACTIONS[1:], everyone)
    heard = []
    with serving(team=dict.fromkeys(ACTIONS, everyone), person=hidden) as api:
        for gone in (True, False):
            secret = person("S", owner="bob", home=ProtPlace(city="x"))
            many = field in ("members", "things")
            team = ProtTeam(name="T", **{field: [secret] if many else secret}).save()
            if gone:
                secret.delete()
            path = f"{TEAM}/{team.id}/{field}" + (f"/{secret.id}" if many else "")
            heard.append(
                [
                    answer(api.request(verb, path + tail, **how, **as_("ann")), secret.id, team.id)
                    for tail in ("/home", "")
                    for how in [{} if verb in ("GET", "HEAD", "OPTIONS", "DELETE") else {"json": {"rank": 1}}]
                    if not (verb == "POST" and not many and not tail)  # which replaces it
                ]
            )
    assert heard[0] == heard[1]


def test_a_concealed_member_of_a_list_is_not_known_by_its_lookup_field(mongomock_database):
    secret = ProtNick(nick="zed").save()
    group = ProtGroup(nicks=[secret]).save()
    opened = dict.fromkeys(ACTIONS, everyone)
    hidden = opened | {"get": concealed(role("reader"))}
    routes = [ModelHive.routes_for(ProtGroup, allow=opened), ModelHive.routes_for(ProtNick, allow=hidden)]
    with serve(application(*routes)) as api:
        for verb in ("DELETE", "GET", "PUT"):
            refused(api.request(verb, f"/prot_group/{group.id}/nicks/zed", json={}, **as_("ann")), 404)
        reader = as_("ann+reader")
        assert api.delete(f"/prot_group/{group.id}/nicks/zed", **reader).status == 204


BODIES = [
    ("POST", TEAM, lambda one: {"captain": one}),
    ("POST", TEAM, lambda one: {"members": [one]}),
    ("POST", TEAM, lambda one: {"thing": {"_cls": "ProtPerson", "id": one}}),
    ("POST", TEAM, lambda one: {"place": {"host": one}}),
    ("PUT", f"{TEAM}/<T>", lambda one: {"captain": one}),
    ("PATCH", f"{TEAM}/<T>", lambda one: {"lazy": one}),
    ("PUT", f"{TEAM}/<T>", lambda one: {"members": ["<X>", one]}),
    ("PATCH", f"{TEAM}/<T>", lambda one: {"things": [{"_cls": "ProtPerson", "id": one}]}),
    ("PUT", f"{TEAM}/<T>", lambda one: {"places": [{"host": one}]}),
    ("PUT", f"{TEAM}/<T>/place", lambda one: {"host": one}),
    ("POST", f"{TEAM}/<T>/places", lambda one: {"host": one}),
    ("POST", f"{TEAM}/<T>/captain", lambda one: {"id": one}),
    ("POST", f"{TEAM}/<T>/captain", lambda one: {"captain": one}),
    ("POST", f"{TEAM}/<T>/captain", lambda one: {"name": "N", "friend": one}),
    ("POST", f"{TEAM}/<T>/members", lambda one: {"id": one}),
    ("POST", f"{TEAM}/<T>/things", lambda one: {"_cls": "ProtPerson", "id": one}),
]


@pytest.mark.parametrize(("verb", "path", "body"), BODIES, ids=[str(number) for number in range(len(BODIES))])
def test_a_concealed_document_cannot_be_named_in_a_body(mongomock_database, verb, path, body):
    world = build()
    secret = person("S", owner="bob")
    hidden = {"get": concealed(any_of(role("reader"), owner("name"), lambda _, one: one and one.name != "S"))}
    with serving(team=dict.fromkeys(ACTIONS, everyone), person=hidden | {"create": everyone}) as api:
        before = everything(mongomock_database)
        where = filled(path, world)
        one, none = (
            answer(
                api.request(verb, where, json=named_by(body(str(key)), world), **as_("ann")),
                secret.id,
                MISSING,
            )
            for key in (secret.id, MISSING)
        )
        assert one == none
        assert one.startswith("(400")
        assert everything(mongomock_database) == before
        reply = api.request(verb, where, json=named_by(body(str(secret.id)), world), **as_("ann+reader"))
        assert reply.status in (200, 201), reply.body


@pytest.mark.parametrize("rule", [role("reader"), concealed(role("reader"))], ids=["", "concealed"])
def test_references_that_may_not_be_followed_can_be_sent_back(mongomock_database, rule):
    world = build()
    with serving(team=dict.fromkeys(ACTIONS, everyone), person={"get": rule}) as api:
        before = everything(mongomock_database)
        path = f"{TEAM}/{world['T'].id}"
        for verb in ("PUT", "PATCH"):
            for where in (path, f"{path}/place", f"{path}/places/0"):
                same = api.get(where, **as_("ann")).json
                assert api.request(verb, where, json=same, **as_("ann")).json == same
        assert everything(mongomock_database) == before


def test_a_concealed_document_of_a_model_at_two_addresses_cannot_be_named(mongomock_database):
    secret = person("S", owner="bob")
    hidden = {"get": concealed(owner("owner"))}
    routes = [ModelHive.routes_for(ProtPerson, prefix=prefix, allow=hidden) for prefix in ("a", "b")]
    with serve(application(ModelHive.routes_for(ProtTeam), *routes)) as api:
        one, none = (
            answer(api.post(TEAM, json={"captain": str(key)}, **as_("ann")), key)
            for key in (secret.id, MISSING)
        )
        assert one == none


def test_scope_holds_besides(mongomock_database):
    documents = {name: person(name, owner=name) for name in ("ann", "bob")}
    team = ProtTeam(name="T", members=list(documents.values())).save()

    def only_ann(queryset, handler):
        return queryset.filter(name="ann")

    routes = [
        ModelHive.routes_for(ProtPerson, scope=only_ann, allow=dict.fromkeys(ACTIONS, owner("owner"))),
        ModelHive.routes_for(ProtTeam),
    ]
    with serve(application(*routes)) as api:
        for verb in ("GET", "PUT", "PATCH", "DELETE"):
            refused(api.request(verb, f"{PERSON}/{documents['bob'].id}", json={}, **as_("bob")), 404)
            refused(api.request(verb, f"{PERSON}/{documents['ann'].id}", json={}, **as_("bob")), 403)
        for path in (PERSON, f"{TEAM}/{team.id}/members"):
            assert numbered(api.get(path, **as_("ann"))) == ["ann"]
            assert numbered(api.get(path, **as_("bob"))) == []


# What the application says


DEFAULTS = [
    ("GET", TEAM, "get"),
    ("HEAD", f"{TEAM}/<T>", "get"),
    ("OPTIONS", f"{TEAM}/<T>/place", "get"),
    ("GET", f"{TEAM}/<T>/captain/friend", "get"),
    ("POST", TEAM, "create"),
    ("PUT", f"{TEAM}/<T>", "update"),
    ("PATCH", f"{TEAM}/<T>", "update"),
    ("DELETE", f"{TEAM}/<T>", "delete"),
    ("POST", f"{TEAM}/<T>/places", "get create update"),
    ("POST", f"{TEAM}/<T>/captain", "get create update"),
    ("PUT", f"{TEAM}/<T>/place", "get update"),
    ("PATCH", f"{TEAM}/<T>/captain", "get update"),
    ("DELETE", f"{TEAM}/<T>/place", "get update delete"),
    ("DELETE", f"{TEAM}/<T>/members/<M>", "get update delete"),
]


@pytest.mark.parametrize(
    ("protected", "allowed"),
    [
        ((), ()),
        *(((action,), ()) for action in ACTIONS),
        (ACTIONS, ()),
        (ACTIONS, ("get",)),
        (("create", "delete"), ("create",)),
        (ACTIONS, ACTIONS),
    ],
    ids=str,
)
def test_defaults_of_the_application_hold_where_allow_says_nothing(mongomock_database, protected, allowed):
    options = {f"authenticated_{action}": action in protected for action in ACTIONS}
    allow, opened = dict.fromkeys(allowed, everyone), dict.fromkeys(ACTIONS, everyone)
    with serving(team=allow, person=opened, **options) as api:
        world = build()
        for verb, path, needed in DEFAULTS:
            body = {"city": "x"} if "place" in path else {"name": "x"}
            is_open = not (set(protected) - allow.keys()) & set(needed.split())
            with recorded() as heard:
                reply = api.request(verb, filled(path, world), json=body)
            assert reply.status < 300 if is_open else reply.status == 401, (verb, path)
            assert (heard == []) is (verb == "OPTIONS" or not is_open)
            if not is_open:
                assert api.request(verb, filled(path, world), json=body, **as_("ann")).status < 300
            if verb == "DELETE":
                world = build()


def test_defaults_hold_for_what_a_reference_leads_to(mongomock_database):
    with serving(team=dict.fromkeys(ACTIONS, everyone)) as api:
        for verb, tail, status in (
            ("GET", "place", 200), ("GET", "captain", 401), ("HEAD", "captain", 401), ("PUT", "lazy", 401),
            ("GET", "captain/home", 401), ("PUT", "captain/home", 401), ("OPTIONS", "captain/home", 401),
            ("POST", "captain", 401), ("POST", "members", 401), ("GET", "captain/friend/home", 401),
            ("GET", "thing", 401), ("PATCH", "things/<H>", 401), ("DELETE", "members/<M>", 204),
            ("DELETE", "captain/friend", 401), ("POST", "place/host/friends", 401), ("GET", "members", 200),
        ):  # fmt: skip
            body = {"city": "x"} if "home" in tail else {"name": "N"}
            for who, expected in ((None, status), ("ann", None)):
                path = filled(f"{TEAM}/<T>/{tail}", build())
                reply = api.request(verb, path, json=body, **as_(who))
                assert reply.status == expected if expected else reply.status < 300, (verb, tail, who)


class PurgingHandler(ModelHandler):
    SUPPORTED_METHODS = (*ModelHandler.SUPPORTED_METHODS, "PURGE")

    def purge(self):
        self.finish("purged")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_verb_that_nobody_thought_of_needs_all_permissions(mongomock_database, action):
    def routes(allow):
        [route] = ModelHive.routes_for(ProtTeam, allow=allow)
        return URLSpec(route.regex.pattern, PurgingHandler, route.kwargs)

    world = build()
    options = {f"authenticated_{one}": one == action for one in ACTIONS}
    for allow, who in (({}, "ann"), ({action: role("admin")}, "eve+admin")):
        with serve(application(routes(allow), **options)) as api:
            for path in (TEAM, f"{TEAM}/<T>", f"{TEAM}/<T>/place", f"{TEAM}/<T>/no/such/thing"):
                where = filled(path, world)
                with recorded() as heard:
                    refused(api.request("PURGE", where), 401)
                    assert heard == []
                assert api.request("PURGE", where, **as_(who)).body == b"purged"
            assert api.request("BREW", TEAM, **as_(who)).status == 405


def test_paths_that_lead_nowhere_need_a_session_too(mongomock_database):
    world = build()
    with serving() as api:
        for tail in (
            "/no",
            "/place/no",
            "/captain/no/x",
            "/name",
            "//",
            "/%2F",
            "/_data",
            "/pk",
        ):
            for verb in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
                where = f"{TEAM}/{world['T'].id}{tail}"
                refused(api.request(verb, where, json={}), 401)
                refused(api.request(verb, where, json={}, **as_("ann")), 404)


@pytest.mark.parametrize(
    ("verb", "path", "protected"),
    [
        ("PUT", f"{TEAM}/{MISSING}", "update"),
        ("DELETE", f"{TEAM}/{MISSING}", "delete"),
        ("PATCH", f"{TEAM}/{MISSING}/place", "get"),
        ("PUT", f"{TEAM}/{MISSING}/place", "update"),
        ("POST", TEAM, "create"),
        ("POST", f"{TEAM}/{MISSING}/members", "create"),
        ("DELETE", f"{TEAM}/{MISSING}/place", "delete"),
    ],
)
def test_who_may_not_is_refused_before_the_body_is_read(mongomock_database, verb, path, protected):
    options = {f"authenticated_{action}": action == protected for action in ACTIONS}
    head = [f"{verb} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 1000000"]
    with (
        serving(**options) as api,
        socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE) as connection,
    ):
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


# Applications


def session(api, user="ann"):
    """The headers of a browser that has signed in."""
    reply = api.post("/auth/signin/", json={"user": user})
    assert reply.status == 200, reply.body
    cookie = reply.headers["Set-Cookie"].partition(";")[0]
    return {"headers": {"Cookie": cookie, "Origin": f"http://127.0.0.1:{api.port}"}}


def test_configure_protects_that_application_and_no_other(mongomock_database):
    routes = ModelHive.routes_for(ProtTeam)  # the very same for both
    with serve(Application(routes)) as opened, serve(application(routes)) as closed:
        for api, statuses in ((opened, (200, 201)), (closed, (401, 401)), (opened, (200, 201))):
            assert (api.get(TEAM).status, api.post(TEAM, json={}).status) == statuses


def test_a_session_of_one_application_is_none_in_another(mongomock_database):
    routes = ModelHive.routes_for(ProtTeam)
    first, second = application(routes), application(routes, secret_key="x" * 32)
    with serve(first) as one, serve(second) as other:
        for api, foreign in ((one, other), (other, one)):
            mine = session(api)
            assert api.get(TEAM, **mine).status == 200
            assert api.post(TEAM, json={}, **mine).status == 201
            refused(foreign.get(TEAM, **mine), 401)
            mine["headers"]["Origin"] = f"http://127.0.0.1:{foreign.port}"
            refused(foreign.post(TEAM, json={}, **mine), 401)


def test_pages_do_not_tell_by_filters_of_what_may_not_be_read(mongomock_database):
    person("mine", owner="ann", rank=1)
    person("boss", owner="bob", rank=777)
    with serving(person={"get": concealed(owner("owner"))}) as api:
        for query in (
            "rank__gte=5",
            "rank__lt=5",
            "sort=rank",
            "sort=-rank",
            "any_of=name=mine,rank=777",
        ):
            reply = api.get(f"{PERSON}?{query}&per_page=1", **as_("ann"))
            assert numbered(reply) in ([], ["mine"]), query
            assert "next" not in reply.headers["Link"], query
            assert "prev" not in reply.headers["Link"], query
