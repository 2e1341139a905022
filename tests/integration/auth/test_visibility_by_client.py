"""`hidden` and `read_only` as functions of the handler: what each client knows of a field, everywhere."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import mongoengine as me
import pytest
from tornado.web import Application, HTTPError

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, flatten
from hive.errors import Problem
from hive.permissions import role
from hive.testing import serve
from tests.support.threads import PATIENCE, at_once

TOP = "TOP-SECRET"


class VisDesk(me.EmbeddedDocument):
    city = me.StringField()
    cost = me.IntField()
    pin = me.StringField()


class VisAgent(me.Document):
    name = me.StringField()
    rank = me.IntField()
    cover = me.StringField(unique=True, sparse=True, max_length=20)
    desk = me.EmbeddedDocumentField(VisDesk)
    desks = me.EmbeddedDocumentListField(VisDesk)
    chief = me.ReferenceField("self")
    aides = me.ListField(me.ReferenceField("self"))


class VisCase(me.Document):
    title = me.StringField()
    agent = me.ReferenceField(VisAgent)
    agents = me.ListField(me.ReferenceField(VisAgent))
    anyone = me.GenericReferenceField(choices=[VisAgent])
    derived = me.ReferenceField("VisDerived")


class VisSpoken(me.Document):
    """Says itself what it is."""

    name = me.StringField()
    cover = me.StringField()
    desk = me.EmbeddedDocumentField(VisDesk)

    def to_dict(self):
        return {"id": self.id, "name": self.name, "cover": self.cover, "desk": self.desk, "extra": 1}


class VisDerived(me.Document):
    """Fills fields that some clients do not know, and judges them."""

    name = me.StringField()
    cover = me.StringField(unique=True)
    desk = me.EmbeddedDocumentField(VisDesk)

    def clean(self):
        self.cover = self.name
        if self.name == "bad pin":
            raise me.ValidationError(errors={"desk": {"pin": "is bad"}})


class VisOpen(me.DynamicDocument):
    name = me.StringField()


class VisSafe(me.Document):
    name = me.StringField()
    password = me.StringField()


class VisMany(me.Document):
    for number in range(8):
        locals()[f"f{number}"] = me.IntField(default=number)


class Refusal(Problem):
    status = 402
    sentence = "Pay first."


class Trusting(Provider):
    async def bearer(self, token):
        name, *roles = token.split("+")
        return {"id": name, "roles": roles}, time.time() + 3600


def as_(who):
    return {"headers": {"Authorization": f"Bearer {who}"}}


ANN, CHIEF = as_("ann"), as_("eve+chief")
HIDDEN = ["cover", "desk.pin", "desks.pin"]
READ_ONLY = ["rank", "desk.cost", "desks.cost", "chief"]


def unless_chief(names):
    """A function of the handler: these names, but for chiefs none."""

    def plain(handler):
        return [] if role("chief")(handler, None) else names

    async def coroutine(handler):
        await asyncio.sleep(0)
        return plain(handler)

    return {"plain": plain, "async": coroutine, "generator": lambda handler: iter(plain(handler))}


KINDS = pytest.mark.parametrize("kind", ["plain", "async", "generator"])


@contextmanager
def serving(*models, others=(), **options):
    routes = [ModelHive.routes_for(model, **options) for model in models or [VisAgent]]
    routes += [ModelHive.routes_for(model) for model in others]
    application = Application(
        AuthHive.routes_for([Trusting()]) + flatten(routes), default_handler_class=NotFoundHandler
    )
    AuthHive.configure(application, secret_key="k" * 32, write_rate=None)
    with serve(application) as api:
        yield api


@pytest.fixture
def agent(mongomock_database):
    chief = VisAgent(name="M", cover=f"{TOP}-m", desk=VisDesk(city="x", cost=1, pin=TOP)).save()
    return VisAgent(
        name="Bond", rank=7, cover=TOP, desk=VisDesk(city="London", cost=7, pin=TOP),
        desks=[VisDesk(city="a", cost=1, pin=TOP), VisDesk(city="b", cost=2, pin=TOP)], chief=chief,
        aides=[chief],
    ).save()  # fmt: skip


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert TOP.encode() not in reply.body
    return reply.json


def fields(reply):
    return [error["field"] for error in refused(reply, 400)["errors"]]


# hidden


@KINDS
def test_hidden_fields_are_in_no_answer_to_those_for_whom_they_are_hidden(agent, kind):
    with serving(hidden=unless_chief(HIDDEN)[kind]) as api:
        path = f"/vis_agent/{agent.id}"
        requests = [
            ("GET", "/vis_agent", None), ("GET", path, None), ("PUT", path, {"name": "x"}),
            ("PATCH", path, {"rank": 8}), ("GET", f"{path}/desk", None), ("PUT", f"{path}/desk", {"cost": 8}),
            ("GET", f"{path}/desks", None), ("GET", f"{path}/desks/1", None),
            ("PATCH", f"{path}/desks/1", {"cost": 3}), ("POST", f"{path}/desks", {"city": "c"}),
            ("GET", f"{path}/chief", None), ("PUT", f"{path}/chief", {"rank": 9}),
            ("GET", f"{path}/aides", None), ("GET", f"{path}/chief/desk", None),
            ("POST", f"{path}/aides", {"id": str(agent.id)}),
            ("POST", f"{path}/aides", {"name": "new"}), ("POST", "/vis_agent", {"name": "new"}),
        ]  # fmt: skip
        for verb, where, body in requests:
            for who, knows in ((ANN, False), (CHIEF, True)):
                reply = api.request(verb, where, json=body, **who)
                assert reply.status in (200, 201), (verb, where, reply.body)
                assert (b'"pin"' in reply.body or b'"cover"' in reply.body) is knows, (verb, where)
                assert knows or TOP.encode() not in reply.body


def test_hidden_fields_are_unknown_in_bodies_and_paths(agent, mongomock_database):
    hidden = unless_chief([*HIDDEN, "aides"])["async"]
    before = mongomock_database["vis_agent"].find_one({"name": "Bond"})
    with serving(hidden=hidden) as api:
        path = f"/vis_agent/{agent.id}"
        for verb, where, body, field in (
            ("POST", "/vis_agent", {"cover": "x"}, "cover"),
            ("PUT", path, {"cover": TOP}, "cover"),
            ("PATCH", path, {"cover": None}, "cover"),
            ("PUT", path, {"desk": {"pin": TOP}}, "desk.pin"),
            ("PATCH", path, {"desk": {"pin": "x"}}, "desk.pin"),
            ("PUT", path, {"desks": [{"city": "a", "pin": TOP}]}, "desks.0.pin"),
            ("PUT", f"{path}/desk", {"pin": TOP}, "pin"),
            ("PATCH", f"{path}/desks/0", {"pin": "x"}, "pin"),
            ("POST", f"{path}/desks", {"pin": "x"}, "pin"),
            ("POST", f"{path}/chief", {"name": "x", "cover": "x"}, "cover"),
            ("PUT", f"{path}/chief", {"cover": f"{TOP}-m"}, "cover"),
        ):
            reply = api.request(verb, where, json=body, **ANN)
            assert fields(reply) == [field], (verb, where)
            assert reply.json["errors"][0]["message"].startswith("is not a field of Vis")
        assert fields(api.put(path, form={"desk.pin": "x"}, **ANN)) == ["desk.pin"]
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for tail in ("aides", f"aides/{agent.chief.id}"):
                refused(api.request(verb, f"{path}/{tail}", json={"name": "x"}, **ANN), 404)
        assert api.get(f"{path}/aides", **CHIEF).status == 200
        assert mongomock_database["vis_agent"].find_one({"name": "Bond"}) == before
        for body in ({"cover": "new"}, {"desk": {"pin": "new"}}, {"desks": [{"pin": "new"}]}):
            assert api.put(path, json=body, **CHIEF).status == 200
        agent.reload()
        assert (agent.cover, agent.desk.pin, agent.desks[0].pin) == ("new", "new", "new")


@pytest.mark.parametrize("put", ["merge", "replace"])
def test_updates_keep_what_is_hidden_from_who_makes_them(agent, put):
    with serving(hidden=unless_chief(HIDDEN)["plain"], put=put) as api:
        path = f"/vis_agent/{agent.id}"
        assert api.put(path, json=api.get(path, **ANN).json | {"rank": 5}, **ANN).status == 200
        assert api.put(f"{path}/desk", json={"city": "Rome"}, **ANN).status == 200
        assert api.put(f"{path}/desks/0", json={"city": "z"}, **ANN).status == 200
        agent.reload()
        assert (agent.rank, agent.cover, agent.desk.pin, agent.desk.city) == (5, TOP, TOP, "Rome")
        assert [(desk.city, desk.pin) for desk in agent.desks] == [("z", TOP), ("b", TOP)]


def test_errors_do_not_tell_of_hidden_fields(mongodb_database):
    VisDerived(name="taken").save()
    mine, case = VisDerived(name="mine").save(), VisCase(title="x").save()
    with serving(
        VisDerived, others=[VisCase], hidden=unless_chief(["cover", "desk.pin"])["generator"]
    ) as api:
        path = f"/vis_derived/{mine.id}"
        for verb, where, status, body, named in (
            ("PUT", path, 409, {"name": "taken"}, "cover"),
            ("POST", "/vis_derived", 409, {"name": "taken"}, "cover"),
            ("POST", f"/vis_case/{case.id}/derived", 409, {"name": "taken"}, "cover"),
            ("PUT", path, 400, {"name": "bad pin"}, "desk.pin"),
            ("POST", "/vis_derived", 400, {"name": "bad pin"}, "desk.pin"),
            ("PATCH", f"/vis_case/{case.id}/derived", 400, {"name": "bad pin"}, "desk.pin"),
        ):
            if verb == "PATCH":
                case.update(derived=mine)
            told = refused(api.request(verb, where, json=body, **CHIEF), status)
            assert [error["field"] for error in told["errors"]] == [named]
            told = refused(api.request(verb, where, json=body, **ANN), status)
            assert "errors" not in told
            assert named not in str(told)


def test_what_a_model_says_of_itself_is_without_hidden_fields(mongomock_database):
    spoken = VisSpoken(name="x", cover=TOP, desk=VisDesk(city="c", pin=TOP)).save()
    with serving(VisSpoken, hidden=unless_chief(["cover", "desk.pin"])["plain"]) as api:
        for path in ("/vis_spoken", f"/vis_spoken/{spoken.id}", f"/vis_spoken/{spoken.id}/desk"):
            assert TOP.encode() in api.get(path, **CHIEF).body
            reply = api.get(path, **ANN)
            assert (reply.status, TOP.encode() in reply.body, b'"pin"' in reply.body) == (200, False, False)
        assert api.get(f"/vis_spoken/{spoken.id}", **ANN).json["extra"] == 1
        assert "cover" not in api.put(f"/vis_spoken/{spoken.id}", json={"name": "y"}, **ANN).json


@KINDS
def test_hidden_dynamic_fields_are_unknown(mongomock_database, kind):
    one = VisOpen(name="x", code=TOP).save()
    with serving(VisOpen, hidden=unless_chief(["code"])[kind]) as api:
        path = f"/vis_open/{one.id}"
        assert api.get(path, **CHIEF).json["code"] == TOP
        assert "code" not in api.get(path, **ANN).json
        assert fields(api.put(path, json={"code": "x"}, **ANN)) == ["code"]


# read_only


@KINDS
def test_what_is_read_only_for_a_client_cannot_be_set_but_sent_back(agent, kind):
    with serving(read_only=unless_chief(READ_ONLY)[kind]) as api:
        path = f"/vis_agent/{agent.id}"
        chief, other = str(agent.chief.id), str(agent.id)
        for where, same, others in (
            (path, {"rank": 7}, {"rank": 8}),
            (path, {"chief": chief}, {"chief": other}),
            (path, {"desk": {"cost": 7}}, {"desk": {"cost": 8}}),
            (path, {"desks": api.get(f"{path}/desks", **ANN).json}, {"desks": [{"cost": 8}]}),
            (f"{path}/desk", {"cost": 7}, {"cost": 8}),
            (f"{path}/desks/0", {"cost": 1}, {"cost": 8}),
        ):
            for verb in ("PUT", "PATCH"):
                assert api.request(verb, where, json=same, **ANN).status == 200, (where, same)
                [field] = fields(api.request(verb, where, json=others, **ANN))
                assert field.split(".")[-1] in ("rank", "chief", "cost")
        for where, body in (("/vis_agent", {"rank": 7}), (f"{path}/desks", {"cost": 7})):
            assert len(fields(api.post(where, json=body, **ANN))) == 1
        for verb in ("POST", "DELETE"):
            refused(api.request(verb, f"{path}/chief", json={"id": other}, **ANN), 405)
        assert "POST" not in api.request("OPTIONS", f"{path}/chief", **ANN).headers["Allow"]
        before = api.get(path, **ANN).json
        assert (before["rank"], before["desk"]["cost"], before["chief"]) == (7, 7, chief)
        assert api.put(path, json={"rank": 9, "desk": {"cost": 9}, "chief": other}, **CHIEF).status == 200
        assert api.post(f"{path}/desks", json={"cost": 9}, **CHIEF).status == 201
        after = api.get(path, **ANN).json
        assert (after["rank"], after["desk"]["cost"], after["chief"]) == (9, 9, other)


# Through references


def test_through_a_reference_the_functions_of_the_resource_there_hold(agent):
    case = VisCase(title="x", agent=agent, agents=[agent], anyone=agent).save()
    hidden, read_only = unless_chief(HIDDEN)["async"], unless_chief(["rank"])["async"]
    with serving(VisAgent, others=[VisCase], hidden=hidden, read_only=read_only) as api:
        path = f"/vis_case/{case.id}"
        for tail in (
            "agent",
            "agents",
            f"agents/{agent.id}",
            "anyone",
            "agent/desk",
            "agents",
            "agent/chief/desk",
        ):
            assert TOP.encode() in api.get(f"{path}/{tail}", **CHIEF).body, tail
            reply = api.get(f"{path}/{tail}", **ANN)
            assert (reply.status, TOP.encode() in reply.body) == (200, False), tail
        for tail in ("agent", f"agents/{agent.id}", "anyone"):
            assert fields(api.put(f"{path}/{tail}", json={"cover": "x"}, **ANN)) == ["cover"]
            assert fields(api.patch(f"{path}/{tail}", json={"rank": 1}, **ANN)) == ["rank"]
            assert api.put(f"{path}/{tail}", json={"rank": 7, "name": "B"}, **ANN).status == 200
        for tail, extra in (("agent", {}), ("agents", {}), ("anyone", {"_cls": "VisAgent"})):
            assert fields(api.post(f"{path}/{tail}", json={"cover": "x", "rank": 1} | extra, **ANN)) == [
                "cover",
                "rank",
            ]
            made = api.post(f"{path}/{tail}", json={"name": "new"} | extra, **ANN)
            assert (made.status, "cover" in made.json) == (201, False)


# The functions


@pytest.mark.parametrize(
    ("option", "kind"), [("hidden", "plain"), ("hidden", "async"), ("read_only", "generator")]
)
def test_the_function_is_called_once_for_a_request(agent, option, kind):
    called = []

    def counting(handler):
        called.append(handler.request.path)
        return unless_chief(["rank"])[kind](handler)

    case = VisCase(title="x", agent=agent, agents=[agent, agent.chief]).save()
    with serving(VisAgent, others=[VisCase], **{option: counting}) as api:
        mine, here = f"/vis_agent/{agent.id}", f"/vis_case/{case.id}"
        for verb, path, body in (
            ("GET", "/vis_agent", None), ("GET", mine, None), ("PUT", mine, {"name": "x"}),
            ("PATCH", f"{mine}/chief/desk", {"city": "x"}), ("POST", "/vis_agent", {"chief": str(agent.id)}),
            ("POST", f"{mine}/aides", {"name": "x", "aides": [str(agent.id)]}), ("OPTIONS", mine, None),
            ("GET", f"{here}/agents", None), ("GET", f"{here}/agent/chief/desk", None),
            ("PUT", here, {"agent": str(agent.id), "agents": [str(agent.id)]}), ("DELETE", mine, None),
        ):  # fmt: skip
            called.clear()
            assert api.request(verb, path, json=body, **ANN).status < 300, (verb, path)
            assert called == [path], (verb, path)


def test_plain_functions_query_in_the_pool_and_coroutines_run_on_the_loop(agent):
    threads = []

    def queries(handler):
        threads.append(threading.current_thread().name)
        return ["cover"] if VisAgent.objects(name="Bond") else []

    async def waits(handler):
        threads.append(threading.current_thread().name)
        return []

    with serving(hidden=queries, read_only=waits) as api:
        assert "cover" not in api.get(f"/vis_agent/{agent.id}", **ANN).json
    assert threads[0].startswith("hive")
    assert threads[1:] == ["served"]


@pytest.mark.parametrize("static", ["hidden", "read_only", "write_only"])
def test_names_beside_a_function_hold_for_every_request(agent, static):
    """Even if they come from a generator, which gives them but once."""
    function = "read_only" if static == "hidden" else "hidden"
    options = {function: lambda handler: ["rank"], static: (name for name in ["cover"])}
    with serving(**options) as api:
        for _ in range(2):
            got = api.get(f"/vis_agent/{agent.id}", **ANN).json
            assert ("cover" in got) is (static == "read_only")
            status = 200 if static == "write_only" else 400
            assert api.put(f"/vis_agent/{agent.id}", json={"cover": "x"}, **ANN).status == status


WRONG = {
    "no such field": lambda handler: ["cover", f"no_such_field_{TOP}"],
    "no such dotted field": lambda handler: [f"desk.{TOP}"],
    "a text": lambda handler: "cover",
    "nothing": lambda handler: None,
    "no names": lambda handler: [1],
    "value error": lambda handler: int(f"x{TOP}"),
    "key error": lambda handler: {}[TOP],
    "unhashable": lambda handler: [["cover"]],
}


@pytest.mark.parametrize("name", WRONG)
def test_a_function_that_fails_is_500_and_nothing_leaks(agent, name, caplog):
    option = "read_only" if name in ("a text", "key error") else "hidden"
    with serving(**{option: WRONG[name]}) as api:
        for verb, body in (("GET", None), ("PUT", {"name": "x"})):
            caplog.clear()
            reply = api.request(verb, f"/vis_agent/{agent.id}", json=body, **ANN)
            refused(reply, 500)
            assert "request_id" in reply.json
            assert [record.name for record in caplog.records if record.exc_info] == ["hive"]


@pytest.mark.parametrize("option", ["hidden", "read_only"])
def test_a_function_that_fails_is_500_wherever_it_is_asked(agent, option):
    case = VisCase(title="x", agent=agent, agents=[agent], anyone=agent).save()
    me_and_chief = [str(agent.id), str(agent.chief.id)]
    with serving(VisAgent, others=[VisCase], **{option: WRONG["value error"]}) as api:
        mine, here = f"/vis_agent/{agent.id}", f"/vis_case/{case.id}"
        for verb, path, body in (
            ("GET", "/vis_agent", None), ("GET", mine, None), ("PUT", mine, {"name": "x"}),
            ("DELETE", mine, None), ("OPTIONS", mine, None), ("GET", f"{mine}/desk", None),
            ("GET", f"{here}/agent", None), ("GET", f"{here}/agents", None), ("GET", f"{here}/anyone", None),
            ("PATCH", f"{here}/agents/{agent.id}", {"name": "x"}), ("POST", f"{here}/agent", {"name": "x"}),
            ("POST", f"{here}/agents", {"id": str(agent.id)}), ("PUT", here, {"agent": str(agent.id)}),
            ("POST", "/vis_case", {"agents": me_and_chief}),
            ("PATCH", here, {"anyone": {"_cls": "VisAgent", "id": str(agent.id)}}),
        ):  # fmt: skip
            reply = api.request(verb, path, json=body, **ANN)
            assert "request_id" in refused(reply, 500), (verb, path)
    assert VisAgent.objects.count() == 2
    assert VisCase.objects.count() == 1


def test_a_field_that_looks_like_a_secret_and_is_not_named_is_500(mongomock_database, caplog):
    safe = VisSafe(name="x", password=TOP).save()
    with serving(VisSafe, hidden=unless_chief(["password"])["plain"]) as api:
        for verb, path in (("GET", "/vis_safe"), ("GET", f"/vis_safe/{safe.id}"), ("POST", "/vis_safe")):
            assert api.request(verb, path, json={"name": "x"}, **ANN).status in (200, 201)
            refused(api.request(verb, path, json={"name": "x"}, **CHIEF), 500)
    assert VisSafe.objects.count() == 2


@pytest.mark.parametrize(
    ("make", "status", "later"),
    [
        (Refusal, 402, False),
        (Refusal, 402, True),
        (lambda: HTTPError(451), 451, True),
        (lambda: HTTPError(418, TOP), 418, False),
    ],
    ids=["problem", "async problem", "async http error", "teapot"],
)
def test_what_a_function_raises_is_the_answer(agent, make, status, later):
    def raises(handler):
        raise make()

    async def coroutine(handler):
        raise make()

    case = VisCase(title="x", agent=agent).save()
    with serving(VisAgent, others=[VisCase], hidden=coroutine if later else raises) as api:
        for verb, path, body in (
            ("GET", "/vis_agent", None),
            ("PUT", f"/vis_agent/{agent.id}", {"name": "x"}),
            ("GET", f"/vis_case/{case.id}/agent", None),
            ("PUT", f"/vis_case/{case.id}", {"agent": str(agent.id)}),
        ):
            refused(api.request(verb, path, json=body, **ANN), status)


def test_who_may_not_enter_makes_no_function_run(agent):
    called = []
    with serving(hidden=lambda handler: called.append(1) or [], allow={"get": role("chief")}) as api:
        refused(api.get("/vis_agent"), 401)
        refused(api.get("/vis_agent", **ANN), 403)
        assert called == []
        assert api.get("/vis_agent", **CHIEF).status == 200


# Many at once


def test_two_at_once_do_not_see_with_each_others_eyes(agent):
    arrived = {"ann": threading.Event(), "eve": threading.Event()}

    def hidden(handler):
        name = handler.current_user["id"]
        arrived[name].set()
        assert all(event.wait(PATIENCE) for event in arrived.values())
        return unless_chief(["cover"])["plain"](handler)

    with serving(hidden=hidden, deadline=PATIENCE) as api:
        path = f"/vis_agent/{agent.id}"
        seen = at_once([lambda who=who: api.get(path, timeout=PATIENCE, **who) for who in (ANN, CHIEF)])
    assert ["cover" in reply.json for reply in seen] == [False, True]


def test_more_sets_of_fields_than_are_remembered_do_not_get_mixed_up(mongomock_database, monkeypatch):
    monkeypatch.setattr("hive.resource.MOST_VIEWS", 8)
    one = VisMany().save()
    sets = [{f"f{bit}" for bit in range(8) if number >> bit & 1} for number in range(20)]

    def hidden(handler):
        return handler.current_user["roles"]

    with serving(VisMany, hidden=hidden, deadline=PATIENCE) as api, ThreadPoolExecutor(8) as clients:

        def seen(names):
            return api.get(f"/vis_many/{one.id}", **as_("+".join(["ann", *sorted(names)])))

        for names, reply in zip(sets * 2, clients.map(seen, sets * 2), strict=True):
            assert reply.status == 200
            assert reply.json.keys() == {"id", *(f"f{bit}" for bit in range(8))} - names
