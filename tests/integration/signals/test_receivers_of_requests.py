"""What receivers get of a request, when, and what they can do to its answer."""

import asyncio
import contextvars
import logging
import threading
from itertools import cycle

import pytest
from mongoengine import (
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    IntField,
    ListField,
    ReferenceField,
    StringField,
)
from tornado.web import HTTPError

from hive import ModelHandler, ModelHive, Problem, flatten, signals
from hive.testing import recorded, serve
from tests.support.databases import on
from tests.support.threads import PATIENCE, in_thread


class HeardAddress(EmbeddedDocument):
    city = StringField()


class HeardProject(EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = StringField()
    size = IntField()


class HeardPlayer(Document):
    name = StringField(required=True)
    email = StringField()


class HeardTeam(Document):
    name = StringField()
    captain = ReferenceField(HeardPlayer)
    members = ListField(ReferenceField(HeardPlayer))
    address = EmbeddedDocumentField(HeardAddress)
    projects = EmbeddedDocumentListField(HeardProject)


class HeardBeast(Document):
    meta = {"allow_inheritance": True}
    name = StringField()


class HeardHound(HeardBeast):
    legs = IntField()


class HeardStrict(Document):
    name = StringField()

    def clean(self):
        seen_in_pool.append((threading.current_thread().name, who.get()))


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."


class Locked(Problem):
    status = 423
    sentence = "This is locked."


who = contextvars.ContextVar("who", default="nobody")
seen_in_pool = []
MODELS = {"player": HeardPlayer, "team": HeardTeam, "beast": HeardBeast, "strict": HeardStrict}
ROUTES = flatten([ModelHive.routes_for(model, resource_name=name) for name, model in MODELS.items()])


on_mongodb = on("mongodb")


@pytest.fixture(params=["mongomock"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def client(database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def world(client):
    """One of everything, known by these names in the table of requests."""
    ann, bob = HeardPlayer(name="Ann").save(), HeardPlayer(name="Bob").save()
    team = HeardTeam(
        name="A",
        captain=ann,
        members=[ann],
        address=HeardAddress(city="Rome"),
        projects=[HeardProject(slug="x", size=1)],
    ).save()
    return {"ann": ann.pk, "bob": bob.pk, "team": team.pk}


CREATE_PLAYER, CREATE_TEAM = ("create_instance", HeardPlayer), ("create_instance", HeardTeam)
UPDATE_PLAYER, UPDATE_TEAM = ("update_instance", HeardPlayer), ("update_instance", HeardTeam)
DELETE_PLAYER = ("delete_instance", HeardPlayer)
LIST_PLAYERS, GET_PLAYER = ("get_list", HeardPlayer), ("get_instance", HeardPlayer)
GET_ADDRESS = ("get_instance", HeardAddress)

# method, path, body, status, the arguments, the pairs (the signals of the second within those of the first)
TABLE = [
    ("GET", "/player", None, 200, ["player"], [LIST_PLAYERS]),
    ("HEAD", "/player", None, 200, ["player"], [LIST_PLAYERS]),
    ("GET", "/player/", None, 200, ["player"], [LIST_PLAYERS]),
    ("GET", "/player/{ann}", None, 200, ["player/{ann}"], [GET_PLAYER]),
    ("HEAD", "/player/{ann}", None, 200, ["player/{ann}"], [GET_PLAYER]),
    ("POST", "/player", {"name": "Cid"}, 201, ["player"], [CREATE_PLAYER]),
    ("PUT", "/player/{ann}", {"name": "Eve"}, 200, ["player/{ann}"], [UPDATE_PLAYER]),
    ("PATCH", "/player/{ann}/", {"name": "Eve"}, 200, ["player/{ann}"], [UPDATE_PLAYER]),
    ("DELETE", "/player/{bob}", None, 204, ["player/{bob}"], [DELETE_PLAYER]),
    ("OPTIONS", "/player", None, 204, None, []),
    ("OPTIONS", "/player/{ann}", None, 204, None, []),
    ("OPTIONS", "/team/{team}/members/{ann}", None, 204, None, []),
    ("GET", "/team/{team}/captain", None, 200, ["team/{team}", "captain"], [GET_PLAYER]),
    ("HEAD", "/team/{team}/captain", None, 200, ["team/{team}", "captain"], [GET_PLAYER]),
    ("POST", "/team/{team}/captain", {"id": "{bob}"}, 200, ["team/{team}", "captain"], [UPDATE_TEAM]),
    (
        "POST", "/team/{team}/captain", {"name": "Cid"}, 201, ["team/{team}", "captain"],
        [CREATE_PLAYER, UPDATE_TEAM],
    ),
    ("PUT", "/team/{team}/captain", {"name": "Eve"}, 200, ["team/{team}", "captain"], [UPDATE_PLAYER]),
    ("PATCH", "/team/{team}/captain", {"name": "Eve"}, 200, ["team/{team}", "captain"], [UPDATE_PLAYER]),
    ("DELETE", "/team/{team}/captain", None, 204, ["team/{team}", "captain"], [UPDATE_TEAM]),
    ("GET", "/team/{team}/members", None, 200, ["team/{team}", "members"], [LIST_PLAYERS]),
    ("POST", "/team/{team}/members", {"id": "{bob}"}, 200, ["team/{team}", "members"], [UPDATE_TEAM]),
    (
        "POST", "/team/{team}/members", {"name": "Cid"}, 201, ["team/{team}", "members"],
        [CREATE_PLAYER, UPDATE_TEAM],
    ),
    (
        "GET", "/team/{team}/members/{ann}", None, 200, ["team/{team}", "members/{ann}"],
        [GET_PLAYER],
    ),
    (
        "PUT", "/team/{team}/members/{ann}", {"name": "Eve"}, 200, ["team/{team}", "members/{ann}"],
        [UPDATE_PLAYER],
    ),
    ("DELETE", "/team/{team}/members/{ann}", None, 204, ["team/{team}", "members/{ann}"], [UPDATE_TEAM]),
    ("GET", "/team/{team}/address", None, 200, ["team/{team}", "address"], [GET_ADDRESS]),
    (
        "POST", "/team/{team}/address", {"city": "Bonn"}, 201, ["team/{team}", "address"],
        [("create_instance", HeardAddress), UPDATE_TEAM],
    ),
    (
        "PUT", "/team/{team}/address", {"city": "Bonn"}, 200, ["team/{team}", "address"],
        [("update_instance", HeardAddress), UPDATE_TEAM],
    ),
    (
        "PATCH", "/team/{team}/address", {"city": None}, 200, ["team/{team}", "address"],
        [("update_instance", HeardAddress), UPDATE_TEAM],
    ),
    (
        "DELETE", "/team/{team}/address", None, 204, ["team/{team}", "address"],
        [("delete_instance", HeardAddress), UPDATE_TEAM],
    ),
    ("GET", "/team/{team}/projects", None, 200, ["team/{team}", "projects"], [("get_list", HeardProject)]),
    (
        "POST", "/team/{team}/projects", {"slug": "y"}, 201, ["team/{team}", "projects"],
        [("create_instance", HeardProject), UPDATE_TEAM],
    ),
    (
        "GET", "/team/{team}/projects/x", None, 200, ["team/{team}", "projects/x"],
        [("get_instance", HeardProject)],
    ),
    (
        "PUT", "/team/{team}/projects/x", {"size": 2}, 200, ["team/{team}", "projects/x"],
        [("update_instance", HeardProject), UPDATE_TEAM],
    ),
    (
        "DELETE", "/team/{team}/projects/x", None, 204, ["team/{team}", "projects/x"],
        [("delete_instance", HeardProject), UPDATE_TEAM],
    ),
]  # fmt: skip
WRITES = [row for row in TABLE if row[0] in ("POST", "PUT", "PATCH", "DELETE")]


def names(rows):
    return [f"{row[0]} {row[1]} {sorted(row[2] or {})}" for row in rows]


def filled(value, world):
    if isinstance(value, dict):
        return {name: filled(item, world) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, world) for item in value]
    return value.format(**world) if isinstance(value, str) else value


def ask(client, world, row):
    return client.request(row[0], row[1].format(**world), json=filled(row[2], world))


def dump():
    return [
        [list(model._get_collection().find()) for model in (HeardPlayer, HeardTeam, HeardBeast, HeardStrict)]
    ]


# When they fire


@pytest.mark.parametrize("row", TABLE, ids=names(TABLE))
def test_one_request_sends_one_pair_and_one_for_the_holder(client, world, row):
    _, _, _, status, arguments, pairs = row
    with recorded() as heard:
        reply = ask(client, world, row)
    assert reply.status == status, reply.body
    assert [(signal.name, signal.sender) for signal in heard] == [
        (f"{when}_{kind}", sender) for when in ("pre", "post") for kind, sender in pairs
    ]
    for signal in heard:
        assert isinstance(signal.arguments["handler"], ModelHandler)
        if signal.name.startswith("pre_"):
            assert signal.arguments["arguments"] == filled(arguments, world)


@pytest.mark.parametrize("row", TABLE, ids=names(TABLE))
def test_the_answer_is_the_same_whether_anybody_listens_or_not(client, world, row):
    before = dump()
    with recorded():
        observed = ask(client, world, row)
    if row[0] != "POST" and before != dump():
        for model in (HeardPlayer, HeardTeam):
            model._get_collection().delete_many({})
        for documents, model in zip(before[0], (HeardPlayer, HeardTeam), strict=False):
            model._get_collection().insert_many(documents)
    if ("name" in (row[2] or {}) and row[0] == "POST") or row[1].endswith(("/projects", "/address")):
        assert observed.status == row[3]  # a second time it would be another document
        return
    alone = ask(client, world, row)
    assert (alone.status, alone.body) == (observed.status, observed.body)
    assert without_its_own(alone) == without_its_own(observed)


def without_its_own(reply):
    return {name: value for name, value in reply.headers.items() if name not in ("Date", "X-Request-Id")}


def test_pre_create_finds_typed_values_and_no_instance(client):
    seen = []

    def receiver(sender, arguments, handler):
        seen.append((arguments, handler.values, handler.instance, handler.resource.model))

    with signals.pre_create_instance.connected_to(receiver, HeardBeast):
        client.post("/beast", json={"_cls": "HeardBeast.HeardHound", "name": "Rex", "legs": 4})
        client.post("/beast", form={"name": "Rex"})
    assert seen == [
        (["beast"], {"name": "Rex", "legs": 4}, None, HeardBeast),
        (["beast"], {"name": "Rex"}, None, HeardBeast),
    ]


def test_the_handler_has_the_instance_that_a_post_signal_is_about(client):
    seen = []
    with signals.post_create_instance.connected_to(
        lambda _, instance, handler: seen.append(handler.instance is instance), HeardBeast
    ):
        client.post("/beast", json={"name": "Rex"})
    assert seen == [True]


@on_mongodb
def test_pre_update_finds_the_current_document_and_the_new_values(client, world):
    seen = []

    def receiver(sender, handler):
        seen.append((sender, handler.instance.to_mongo().to_dict(), handler.values))

    with signals.pre_update_instance.connected_to(receiver):
        client.put(f"/player/{world['ann']}", json={"name": "Eve"})
        client.put(f"/team/{world['team']}/address", json={"city": "Bonn"})
    assert seen[0] == (HeardPlayer, {"_id": world["ann"], "name": "Ann"}, {"name": "Eve"})
    assert seen[1] == (HeardAddress, {"city": "Rome"}, {"city": "Bonn"})
    assert seen[2][0] is HeardTeam
    assert seen[2][1]["address"] == {"city": "Rome"}


@on_mongodb
def test_delete_receivers_find_the_document_as_it_last_was(client, world):
    with recorded(signals.post_delete_instance) as heard:
        seen = []
        with signals.pre_delete_instance.connected_to(lambda _, handler: seen.append(handler.instance.name)):
            client.delete(f"/player/{world['bob']}")
    assert seen == ["Bob"]
    assert heard[0].arguments["instance"].name == "Bob"
    assert heard[0].arguments["instance"].pk == world["bob"]


@on_mongodb
def test_post_receivers_find_what_is_stored(client, world):
    stored = []

    def receiver(sender, instance):
        stored.append(HeardPlayer.objects.get(pk=instance.pk).name)

    for signal in (signals.post_create_instance, signals.post_update_instance):
        with signal.connected_to(receiver):
            client.post("/player", json={"name": "New"})
            client.put(f"/player/{world['ann']}", json={"name": "Eve"})
    assert stored == ["New", "Eve"]


def test_post_get_receivers_find_documents(client, world):
    with recorded(signals.post_get_list, signals.post_get_instance) as heard:
        client.get("/player")
        client.get(f"/player/{world['ann']}")
        client.get(f"/team/{world['team']}/projects")
    assert [type(item) for item in heard[0].arguments["items"]] == [HeardPlayer, HeardPlayer]
    assert heard[1].arguments["instance"].name == "Ann"
    assert [type(item) for item in heard[2].arguments["items"]] == [HeardProject]


@pytest.mark.parametrize(
    "request_and_status",
    [
        ("GET", "/player/nobody", None, 404),
        ("PUT", "/player/nobody", {"name": "x"}, 404),
        ("DELETE", "/player/nobody", None, 404),
        ("POST", "/player", {}, 400),
        ("POST", "/player", {"nme": "x"}, 400),
        ("PUT", "/player/{ann}", {"name": 7}, 400),
        ("PUT", "/player", {"name": "x"}, 405),
        ("POST", "/team/{team}/captain", {"id": "nobody"}, 400),
        ("GET", "/team/{team}/nothing", None, 404),
        ("DELETE", "/team/{team}/projects/nothing", None, 404),
    ],
)
def test_a_request_that_is_refused_tells_nothing_afterwards(client, world, request_and_status):
    method, path, body, status = request_and_status
    before = dump()
    with recorded() as heard:
        assert client.request(method, path.format(**world), json=body).status == status
    assert [signal.name for signal in heard if signal.name.startswith("post")] == []
    assert dump() == before


def test_receivers_of_a_base_class_hear_subclasses_and_those_of_a_subclass_only_its_own(client):
    heard = []
    base, sub = (
        (lambda sender: heard.append(("base", sender))),
        (lambda sender: heard.append(("sub", sender))),
    )
    with (
        signals.post_create_instance.connected_to(base, HeardBeast),
        signals.post_create_instance.connected_to(sub, HeardHound),
    ):
        client.post("/beast", json={"name": "Plain"})
        client.post("/beast", json={"_cls": "HeardBeast.HeardHound", "name": "Rex"})
    assert heard == [("base", HeardBeast), ("base", HeardHound), ("sub", HeardHound)]


@on_mongodb
def test_a_stored_subclass_is_the_sender_of_what_happens_to_it(client):
    hound = HeardHound(name="Rex").save()
    with recorded() as heard:
        client.get(f"/beast/{hound.pk}")
        client.put(f"/beast/{hound.pk}", json={"legs": 3})
        client.delete(f"/beast/{hound.pk}")
    assert [(signal.name, signal.sender) for signal in heard] == [
        ("pre_get_instance", HeardBeast),  # what it is, is not known yet
        ("post_get_instance", HeardHound),
        ("pre_update_instance", HeardHound),
        ("post_update_instance", HeardHound),
        ("pre_delete_instance", HeardHound),
        ("post_delete_instance", HeardHound),
    ]


# Pre receivers may refuse


def refusing(error, *, asynchronous):
    def receiver(sender):
        raise error

    async def coroutine(sender):
        await asyncio.sleep(0)
        raise error

    return coroutine if asynchronous else receiver


ERRORS = [
    (HTTPError(403, reason="Not today"), 403, "Not today"),
    (Teapot(), 418, "I am a teapot."),
    (Locked("Ask Ann."), 423, "Ask Ann."),
    (ZeroDivisionError("secret"), 500, None),
    (StopIteration(), 500, None),
    (asyncio.CancelledError(), 500, None),
    (TimeoutError("secret"), 500, None),
]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize("raised", ERRORS, ids=[type(raised[0]).__name__ for raised in ERRORS])
def test_what_a_pre_receiver_raises_is_the_answer(client, world, raised, asynchronous):
    error, status, detail = raised
    before = dump()
    signal = signals.pre_update_instance
    with signal.connected_to(refusing(error, asynchronous=asynchronous), HeardPlayer), recorded() as heard:
        reply = client.put(f"/player/{world['ann']}", json={"name": "Eve"})
    assert reply.status == status
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert b"secret" not in reply.body
    assert ("request_id" in reply.json) == (status == 500)
    if detail:
        assert reply.json["detail"] == detail
    assert not [signal.name for signal in heard if signal.name.startswith("post")]
    assert dump() == before


@pytest.mark.parametrize("row", WRITES, ids=names(WRITES))
def test_a_refusal_stores_nothing_whichever_pair_it_comes_from(client, world, row):
    before = dump()
    for kind, sender in row[5]:
        with signals.core[f"pre_{kind}"].connected_to(refusing(Teapot(), asynchronous=True), sender):
            assert ask(client, world, row).status == 418
    assert dump() == before


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_get_can_be_refused_before_anything_is_fetched(client, world, method):
    for signal, path in (
        (signals.pre_get_list, "/player"),
        (signals.pre_get_instance, "/player/{ann}"),
        (signals.pre_get_list, "/team/{team}/projects"),
        (signals.pre_get_instance, "/team/{team}/address"),
    ):
        with signal.connected_to(refusing(Teapot(), asynchronous=False)):
            assert client.request(method, path.format(**world)).status == 418


def test_the_first_refusal_keeps_later_receivers_from_being_called(client):
    called = []
    signal = signals.pre_create_instance
    with (
        signal.connected_to(refusing(Teapot(), asynchronous=False)),
        signal.connected_to(lambda sender: called.append(1)),
    ):
        client.post("/player", json={"name": "Cid"})
    assert called == []


def test_a_bug_in_a_pre_receiver_is_logged_with_its_request_id(client, caplog):
    with signals.pre_create_instance.connected_to(refusing(ZeroDivisionError("why"), asynchronous=False)):
        reply = client.post("/player", json={"name": "Cid"})
    [record] = [record for record in caplog.records if record.name == "hive"]
    assert reply.json["request_id"] in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


# Receivers change nothing


@on_mongodb
def test_what_a_pre_receiver_does_to_the_current_document_is_not_stored(client, world):
    def meddle(sender, handler):
        handler.instance.email = "meddled"
        handler.values["email"] = "meddled"
        handler.instance.name = "meddled"

    with (
        recorded(signals.post_update_instance) as heard,
        signals.pre_update_instance.connected_to(meddle, HeardPlayer),
    ):
        reply = client.put(f"/player/{world['ann']}", json={"name": "Eve"})
    assert reply.json == {"id": str(world["ann"]), "name": "Eve", "email": None}
    assert heard[0].arguments["updated_fields"] == {"name": {"from": "Ann", "to": "Eve"}}
    assert HeardPlayer.objects.get(pk=world["ann"]).email is None


@on_mongodb
def test_what_a_receiver_does_to_an_embedded_document_is_not_stored(client, world):
    def meddle(sender, handler):
        if sender is HeardAddress:
            handler.instance.city = "meddled"
        else:
            handler.instance.projects = []
            handler.instance.address = None

    with recorded(signals.post_update_instance) as heard, signals.pre_update_instance.connected_to(meddle):
        reply = client.put(f"/team/{world['team']}/address", json={"city": "Bonn"})
    assert reply.json == {"city": "Bonn"}
    assert [signal.arguments["updated_fields"] for signal in heard] == [
        {"city": {"from": "Rome", "to": "Bonn"}},
        {"address.city": {"from": "Rome", "to": "Bonn"}},
    ]
    assert HeardTeam.objects.get().projects[0].slug == "x"


def test_what_a_post_receiver_does_to_the_instance_is_not_in_the_answer(client, world):
    def meddle(sender, instance):
        instance.name = "meddled"

    with (
        signals.post_update_instance.connected_to(meddle),
        signals.post_create_instance.connected_to(meddle),
        signals.post_get_instance.connected_to(meddle),
    ):
        assert client.put(f"/player/{world['ann']}", json={"name": "Eve"}).json["name"] == "Eve"
        assert client.post("/player", json={"name": "Cid"}).json["name"] == "Cid"
        assert client.get(f"/player/{world['bob']}").json["name"] == "Bob"


# Post receivers cannot spoil the answer


FAILURES = cycle([ZeroDivisionError("why"), HTTPError(403), asyncio.CancelledError()])


@pytest.mark.parametrize(("row", "error"), list(zip(TABLE, FAILURES, strict=False)), ids=names(TABLE))
def test_a_post_receiver_that_raises_does_not_spoil_the_answer(client, world, row, error, caplog):
    heard = []
    for kind, sender in row[5]:
        signals.core[f"post_{kind}"].connect(bad := refusing(error, asynchronous=True), sender, weak=False)
        signals.core[f"post_{kind}"].connect(good := heard.append, sender, weak=False)
        row = (*row, (signals.core[f"post_{kind}"], bad, good))
    try:
        with recorded(signals.receiver_failed) as failed, caplog.at_level(logging.ERROR, "hive"):
            reply = ask(client, world, row)
    finally:
        for signal, bad, good in row[6:]:
            signal.disconnect(bad)
            signal.disconnect(good)
    assert reply.status == row[3]
    assert heard == [sender for _, sender in row[5]]
    assert [signal.sender for signal in failed] == heard
    for told, (signal, bad, _) in zip(failed, row[6:], strict=True):
        assert told.arguments["signal"] is signal
        assert told.arguments["receiver"] is bad
        assert isinstance(told.arguments["error"], Exception)
        request_id = told.arguments["handler"].request_id
        assert any(
            record.exc_info[1] is told.arguments["error"]
            and bad.__qualname__ in record.getMessage()
            and signal.name in record.getMessage()
            and request_id in record.getMessage()
            for record in caplog.records
        )
    assert len(caplog.records) == len(failed)


def test_a_receiver_of_receiver_failed_that_raises_is_logged_and_no_more(client, caplog):
    told = []
    with (
        signals.post_create_instance.connected_to(refusing(ZeroDivisionError(), asynchronous=False)),
        signals.receiver_failed.connected_to(refusing(KeyError("again"), asynchronous=True)),
        signals.receiver_failed.connected_to(lambda sender, error: told.append(error)),
    ):
        assert client.post("/player", json={"name": "Cid"}).status == 201
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert [record.exc_info[0] for record in caplog.records if record.name == "hive"] == [
        ZeroDivisionError,
        KeyError,
    ]


def test_receiver_failed_can_be_heard_for_one_model(client):
    told = []
    with (
        signals.post_create_instance.connected_to(refusing(ZeroDivisionError(), asynchronous=False)),
        signals.receiver_failed.connected_to(told.append, HeardPlayer),
    ):
        client.post("/player", json={"name": "Cid"})
        client.post("/team", json={"name": "B"})
    assert told == [HeardPlayer]


@on_mongodb
def test_what_is_stored_is_told_even_where_the_answer_fails(database, caplog):
    class Broken(Document):
        name = StringField()

        def to_dict(self):
            return {"name": {"old": 1}[self.name]}

    broken = Broken(name="old").save()
    with serve(ModelHive.routes_for(Broken)) as client, recorded() as heard:
        assert client.post("/broken", json={"name": "x"}).status == 500
        assert client.put(f"/broken/{broken.pk}", json={"name": "x"}).status == 500
    assert [signal.name for signal in heard] == [
        "pre_create_instance",
        "post_create_instance",
        "pre_update_instance",
        "post_update_instance",
    ]
    assert Broken.objects(name="x").count() == 2


# Where they run


def test_receivers_run_on_the_event_loop_and_documents_in_the_pool(client):
    seen_in_pool.clear()
    threads = []

    def plain(sender):
        threads.append(threading.current_thread().name)
        asyncio.get_running_loop()

    async def coroutine(sender):
        threads.append(threading.current_thread().name)

    with (
        signals.pre_create_instance.connected_to(plain),
        signals.post_create_instance.connected_to(coroutine),
    ):
        client.post("/strict", json={"name": "x"})
    assert threads == ["served", "served"]
    assert [name.startswith("hive") for name, _ in seen_in_pool] == [True]


def test_context_variables_set_in_prepare_reach_the_pool_and_receivers(database):
    class Knowing(ModelHandler):
        def prepare(self):
            super().prepare()
            who.set(self.request.headers["X-Who"])

    seen_in_pool.clear()
    heard = []
    [route] = ModelHive.routes_for(HeardStrict, resource_name="strict")
    with (
        serve([(route.matcher.regex.pattern, Knowing, route.target_kwargs)]) as client,
        signals.pre_create_instance.connected_to(lambda sender: heard.append(who.get())),
        signals.post_create_instance.connected_to(lambda sender: heard.append(who.get())),
    ):
        for name in ("ann", "bob"):
            client.post("/strict", json={"name": "x"}, headers={"X-Who": name})
    assert [value for _, value in seen_in_pool] == ["ann", "bob"]
    assert heard == ["ann", "ann", "bob", "bob"]
    assert who.get() == "nobody"


def test_context_variables_set_by_a_receiver_reach_the_pool_and_later_receivers(client):
    seen_in_pool.clear()
    heard = []

    async def sets(sender):
        who.set("set")

    with (
        signals.pre_create_instance.connected_to(sets),
        signals.post_create_instance.connected_to(lambda sender: heard.append(who.get())),
    ):
        client.post("/strict", json={"name": "x"})
    client.post("/strict", json={"name": "x"})
    assert [value for _, value in seen_in_pool] == ["set", "nobody"]
    assert heard == ["set"]


@on_mongodb
def test_one_slow_receiver_does_not_hold_up_other_requests(client):
    release, reached = threading.Event(), threading.Event()

    async def waits(sender):
        reached.set()
        await asyncio.to_thread(release.wait, PATIENCE)

    def slow():
        return client.post("/player", json={"name": "slow"}, timeout=PATIENCE)

    with signals.pre_create_instance.connected_to(waits, HeardPlayer), in_thread(slow) as answer:
        try:
            assert reached.wait(PATIENCE)
            assert client.post("/team", json={"name": "B"}).status == 201
            assert HeardPlayer.objects.count() == 0
        finally:
            release.set()
        assert answer.result().status == 201
    assert HeardPlayer.objects.count() == 1
