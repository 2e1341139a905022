"""`hidden`, `read_only`, `write_only` and `methods` of routes hold for every verb, path and body."""

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import serve

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TOP = "TOP-SECRET"


class Desk(me.EmbeddedDocument):
    city = me.StringField(required=True)
    cost = me.IntField()
    pin = me.StringField(max_length=20)


class AgentNote(me.EmbeddedDocument):
    text = me.StringField()
    cost = me.IntField()
    pin = me.StringField(max_length=20)


class Agent(me.Document):
    name = me.StringField()
    rank = me.IntField(default=1)
    cover = me.StringField(unique=True, sparse=True, max_length=20)
    password = me.StringField(max_length=20)
    desk = me.EmbeddedDocumentField(Desk)
    notes = me.EmbeddedDocumentListField(AgentNote)
    chief = me.ReferenceField("self")
    aides = me.ListField(me.ReferenceField("self"))


class Spoken(me.Document):
    """Says itself what it is."""

    name = me.StringField()
    cover = me.StringField()
    desk = me.EmbeddedDocumentField(Desk)
    notes = me.EmbeddedDocumentListField(AgentNote)

    def to_dict(self):
        notes = [note.to_mongo().to_dict() for note in self.notes]
        desk = self.desk and self.desk.to_mongo().to_dict()
        return {
            "id": self.id,
            "name": self.name,
            "cover": self.cover,
            "desk": desk,
            "notes": notes,
            "extra": 1,
        }


class Row(me.Document):
    name = me.StringField()
    parent = me.ReferenceField("self")
    rows = me.ListField(me.ReferenceField("self"))


class Visa(me.EmbeddedDocument):
    country = me.StringField()
    stamp = me.StringField(required=True)


class TravelPass(me.Document):
    number = me.StringField(unique=True, sparse=True)
    holder = me.StringField(required=True)
    visas = me.ListField(me.EmbeddedDocumentField(Visa))


class Open(me.DynamicDocument):
    name = me.StringField()


HIDDEN = ["cover", "password", "desk.pin", "notes.pin"]


@pytest.fixture
def agent(mongomock_database):
    chief = Agent(name="M", cover=f"{TOP}-m", desk=Desk(city="x", pin=TOP)).save()
    return Agent(
        name="Bond", cover=TOP, password=TOP, desk=Desk(city="London", cost=7, pin=TOP),
        notes=[AgentNote(text="a", cost=1, pin=TOP), AgentNote(text="b", cost=2, pin=TOP)],
        chief=chief, aides=[chief],
    ).save()  # fmt: skip


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert TOP.encode() not in reply.body
    return reply.json


def fields(reply):
    return [error["field"] for error in refused(reply, 400)["errors"]]


def serving(model=Agent, **options):
    return serve(ModelHive.routes_for(model, **options))


# hidden


@pytest.mark.parametrize("option", ["hidden", "write_only"])
def test_what_clients_must_not_see_is_in_no_answer(agent, option):
    with serving(**{option: HIDDEN}) as api:
        path = f"/agent/{agent.id}"
        bodies = {"name": "Bond"}
        replies = [
            api.get("/agent"), api.get(path), api.put(path, json=bodies), api.patch(path, json=bodies),
            api.post("/agent", json={"name": "new"}), api.get(f"{path}/desk"), api.put(f"{path}/desk",
            json={"cost": 8}),
            api.patch(f"{path}/desk", json={"cost": 9}), api.get(f"{path}/notes"), api.get(f"{path}/notes/0"),
            api.put(f"{path}/notes/0", json={"cost": 3}), api.post(f"{path}/notes", json={"text": "c"}),
            api.get(f"{path}/chief"), api.get(f"{path}/aides"), api.get(f"{path}/chief/desk"),
            api.put(f"{path}/chief", json={"name": "M"}), api.post(f"{path}/aides",
            json={"id": str(agent.chief.id)}),
            api.post(f"{path}/aides", json={"name": "x"}), api.post(f"{path}/desk", json={"city": "Rome"}),
        ]  # fmt: skip
        for reply in replies:
            assert reply.status in (200, 201), reply.body
            for word in (TOP, '"cover"', '"password"', '"pin"'):
                assert word.encode() not in reply.body


def test_hidden_fields_do_not_exist_for_clients(agent, mongomock_database):
    before = mongomock_database["agent"].find_one({"name": "Bond"})
    with serving(hidden=HIDDEN) as api:
        path = f"/agent/{agent.id}"
        for name in ("cover", "password"):
            for value in ("x", None, TOP, {}, 1):
                for reply in (api.post("/agent", json={name: value}), api.put(path, json={name: value})):
                    assert fields(reply) == [name]
                    assert reply.json["errors"][0]["message"] == "is not a field of Agent"
                assert fields(api.patch(path, json={name: value})) == [name]
            assert fields(api.put(path, body=f"{name}=x", headers=FORM)) == [name]
        assert fields(api.put(path, json={"desk": {"pin": "x"}})) == ["desk.pin"]
        assert fields(api.put(path, json={"notes": [{"text": "x", "pin": "x"}]})) == ["notes.0.pin"]
        assert fields(api.put(path, body="desk.pin=x", headers=FORM)) == ["desk.pin"]
        assert fields(api.put(f"{path}/desk", json={"pin": "x"})) == ["pin"]
        assert fields(api.put(f"{path}/notes/0", json={"pin": "x"})) == ["pin"]
        assert fields(api.post(f"{path}/notes", json={"pin": "x"})) == ["pin"]
        assert fields(api.post(f"{path}/aides", json={"name": "x", "cover": "x"})) == ["cover"]
        for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            refused(api.request(verb, f"{path}/cover", json={"x": 1}), 404)
    assert mongomock_database["agent"].find_one({"name": "Bond"}) == before


def test_hidden_holders_of_documents_are_not_walked(agent):
    with serving(hidden=["desk", "notes", "chief", "aides", "password"]) as api:
        for name in ("desk", "notes", "notes/0", "chief", "chief/desk", "aides", f"aides/{agent.chief.id}"):
            for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                refused(api.request(verb, f"/agent/{agent.id}/{name}", json={"name": "x"}), 404)


def test_updates_keep_what_is_hidden(agent):
    for put in ("merge", "replace"):
        with serving(hidden=HIDDEN, put=put) as api:
            path = f"/agent/{agent.id}"
            assert api.put(path, json=api.get(path).json | {"rank": 5}).status == 200
            assert api.put(f"{path}/desk", json={"city": "Rome"}).status == 200
            assert api.put(f"{path}/notes/0", json={"text": "z"}).status == 200
        agent.reload()
        assert (agent.rank, agent.cover, agent.password, agent.desk.pin) == (5, TOP, TOP, TOP)
        assert [note.pin for note in agent.notes] == [TOP, TOP]


def test_hidden_primary_key_is_in_no_body(mongomock_database):
    with serving(Open, hidden=["id", "code"]) as api:
        reply = api.post("/open", json={"name": "x", "more": 1})
        assert reply.json == {"name": "x", "more": 1}
        assert fields(api.post("/open", json={"code": "x"})) == ["code"]


def test_what_a_model_says_of_itself_is_without_hidden_fields(mongomock_database):
    spoken = Spoken(
        name="x", cover=TOP, desk=Desk(city="c", pin=TOP), notes=[AgentNote(text="t", pin=TOP)]
    ).save()
    for option in ("hidden", "write_only"):
        with serving(Spoken, **{option: ["cover", "desk.pin", "notes.pin"]}) as api:
            for path in (
                "/spoken",
                f"/spoken/{spoken.id}",
                f"/spoken/{spoken.id}/desk",
                f"/spoken/{spoken.id}/notes",
            ):
                reply = api.get(path)
                assert reply.status == 200
                assert TOP.encode() not in reply.body
            assert api.get(f"/spoken/{spoken.id}").json["extra"] == 1
            assert api.put(f"/spoken/{spoken.id}", json={"name": "y"}).json["name"] == "y"
    assert spoken.reload().cover == TOP


# read_only


READ_ONLY = ["rank", "desk.cost", "notes.cost", "chief", "password", "cover"]


def test_read_only_fields_are_seen_and_not_set(agent, mongomock_database):
    before = mongomock_database["agent"].find_one({"name": "Bond"})
    with serving(read_only=READ_ONLY) as api:
        path = f"/agent/{agent.id}"
        assert api.get(path).json["rank"] == 1
        for reply in (
            api.post("/agent", json={"name": "x", "rank": 2}), api.put(path, json={"rank": 2}),
            api.patch(path, json={"rank": None}),
            api.put(path, body="rank=2", headers=FORM), api.put(path, json={"rank": "1"}), api.put(path,
            json={"rank": True}),
        ):  # fmt: skip
            assert fields(reply) == ["rank"]
            assert "read-only" in reply.json["errors"][0]["message"]
        assert fields(api.put(path, json={"desk": {"cost": 1}})) == ["desk.cost"]
        assert fields(api.put(f"{path}/desk", json={"cost": 1})) == ["cost"]
        assert fields(api.post(f"{path}/desk", json={"city": "x", "cost": 1})) == ["cost"]
        assert fields(api.put(path, json={"notes": [{"cost": 9}]})) == ["notes.0.cost"]
        assert fields(api.put(f"{path}/notes/0", json={"cost": 9})) == ["cost"]
        assert fields(api.post(f"{path}/notes", json={"cost": 9})) == ["cost"]
        for verb in ("POST", "DELETE"):
            reply = api.request(verb, f"{path}/chief", json={"id": str(agent.id)})
            refused(reply, 405)
            assert reply.headers["Allow"] == "GET, HEAD, PUT, PATCH, OPTIONS"
    assert mongomock_database["agent"].find_one({"name": "Bond"}) == before


@pytest.mark.parametrize("put", ["merge", "replace"])
def test_read_only_values_may_be_sent_back(agent, put):
    with serving(read_only=READ_ONLY, put=put) as api:
        path = f"/agent/{agent.id}"
        for verb in (api.put, api.patch):
            reply = verb(path, json=api.get(path).json | {"name": verb.__name__})
            assert (reply.status, reply.json["name"]) == (200, verb.__name__), reply.body
        for place in ("desk", "notes/0", "notes/1", "chief"):
            before = api.get(f"{path}/{place}").json
            reply = api.put(f"{path}/{place}", json=before)
            assert (reply.status, reply.json) == (200, before)


def test_read_only_holder_makes_all_in_it_read_only(agent):
    with serving(read_only=["desk", "notes", "aides", "password"]) as api:
        path = f"/agent/{agent.id}"
        for name in ("desk", "notes", "notes/0", "aides"):
            for verb in ("POST", "PUT", "PATCH", "DELETE"):
                refused(api.request(verb, f"{path}/{name}", json={"city": "x"}), 405)
            assert "PUT" not in api.request("OPTIONS", f"{path}/{name}").headers["Allow"]
        assert api.put(f"{path}/aides/{agent.chief.id}", json={"name": "Moneypenny"}).status == 200
        refused(api.delete(f"{path}/aides/{agent.chief.id}"), 405)


def test_replacing_put_keeps_what_is_read_only_or_write_only(agent):
    with serving(
        read_only=["rank", "desk.cost", "cover"],
        write_only=["password", "desk.pin", "notes.pin"],
        put="replace",
    ) as api:
        Agent.objects(id=agent.id).update(rank=7)
        reply = api.put(f"/agent/{agent.id}", json={"desk": {"city": "Rome"}})
        assert (reply.json["name"], reply.json["rank"]) == (None, 7)
        agent.reload()
        assert (agent.cover, agent.password, agent.desk.cost, agent.desk.pin) == (TOP, TOP, 7, TOP)


# write_only


def test_write_only_fields_are_set_and_not_seen(agent):
    with serving(write_only=HIDDEN) as api:
        path = f"/agent/{agent.id}"
        reply = api.post(
            "/agent",
            json={"name": "x", "password": "p", "desk": {"city": "c", "pin": "q"}, "notes": [{"pin": "r"}]},
        )
        assert (reply.status, "password" in reply.json) == (201, False)
        created = Agent.objects.get(id=reply.json["id"])
        assert (created.password, created.desk.pin, created.notes[0].pin) == ("p", "q", "r")
        for verb, value in ((api.put, "a"), (api.patch, "b")):
            assert verb(path, json={"password": value, "desk": {"pin": value}}).status == 200
            assert verb(f"{path}/notes/0", json={"pin": value}).status == 200
            agent.reload()
            assert (agent.password, agent.desk.pin, agent.notes[0].pin) == (value, value, value)
        assert api.put(path, body="password=f", headers=FORM).status == 200
        assert api.patch(path, json={"password": None}).status == 200
        assert agent.reload().password is None


def test_write_only_value_that_does_not_fit_is_not_repeated(agent):
    with serving(write_only=HIDDEN) as api:
        for value in (TOP * 10, 1, [TOP], {"x": TOP}, [TOP * 3]):
            assert fields(api.put(f"/agent/{agent.id}", json={"password": value})) == ["password"]
        assert fields(api.put(f"/agent/{agent.id}/desk", json={"pin": TOP * 10})) == ["pin"]


def test_write_only_holders_are_not_walked(agent):
    with serving(write_only=["desk", "notes", "chief", "aides", "password"]) as api:
        for name in ("desk", "notes", "notes/0", "chief", "aides"):
            for verb in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                refused(api.request(verb, f"/agent/{agent.id}/{name}", json={"city": "x"}), 404)


# methods


@pytest.mark.parametrize("methods", [["GET"], ["POST"], ["GET", "PUT"], ["DELETE"], ["PATCH", "GET"], []])
def test_only_the_given_methods_are_served(agent, methods):
    with serving(methods=methods, hidden=["password"]) as api:
        paths = {"": "GET POST PATCH DELETE", f"/{agent.id}": "GET PUT PATCH DELETE",
                 f"/{agent.id}/notes": "GET POST",
                 f"/{agent.id}/desk": "GET POST PUT PATCH DELETE",
                 f"/{agent.id}/aides": "GET POST"}  # fmt: skip
        for path, verbs in paths.items():
            allowed = [verb for verb in verbs.split() if verb in methods]
            expected = set(allowed) | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
            reply = api.request("OPTIONS", f"/agent{path}")
            assert (reply.status, set(reply.headers["Allow"].split(", "))) == (204, expected)
            for verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
                if verb not in expected:
                    reply = api.request(verb, f"/agent{path}", json={"name": "x"})
                    assert (reply.status, set(reply.headers["Allow"].split(", "))) == (405, expected)
    assert Agent.objects.count() == 2


def test_methods_of_the_target_hold_behind_a_reference(mongomock_database):
    parent = Row(name="p").save()
    agent = Agent(name="x").save()
    row = Row(name="c", parent=parent, rows=[parent]).save()
    routes = flatten(
        [
            ModelHive.routes_for(Row, methods=["GET", "POST", "PUT"]),
            ModelHive.routes_for(Agent, hidden=["password"]),
        ]
    )
    with serve(routes) as api:
        assert api.put(f"/row/{row.id}/parent", json={"name": "q"}).status == 200
        refused(api.patch(f"/row/{row.id}/parent", json={"name": "q"}), 405)
        refused(api.delete(f"/row/{row.id}/parent"), 405)
        refused(api.delete(f"/row/{row.id}/rows/{parent.id}"), 405)
        assert api.delete(f"/agent/{agent.id}").status == 204


# What errors tell


def test_no_error_names_a_hidden_field(mongodb_database):
    TravelPass(number="X1", holder="Ann").save()

    def take(sender, document, **_):
        document.number = "X1"

    hidden = ["number", "visas.stamp"]
    with serve(ModelHive.routes_for(TravelPass, hidden=hidden)) as client:
        with me.signals.pre_save.connected_to(take, sender=TravelPass):
            reply = client.post("/travel_pass", json={"holder": "Bob"})
        assert (reply.status, "errors" in reply.json) == (409, False)
        reply = client.post("/travel_pass", json={"holder": "Bob", "visas": [{"country": "BR"}]})
        assert (reply.status, "errors" in reply.json) == (400, False)
        key = client.get("/travel_pass").json[0]["id"]
        reply = client.post(f"/travel_pass/{key}/visas", json={"country": "BR"})
        assert (reply.status, "errors" in reply.json) == (400, False)


def test_an_error_inside_of_what_is_addressed_is_told_as_seen_from_there(mongomock_database):
    key = TravelPass(holder="Ann").save().pk
    with serve(ModelHive.routes_for(TravelPass)) as client:
        reply = client.post(f"/travel_pass/{key}/visas", json={"country": "BR"})
        assert reply.json["errors"] == [{"field": "stamp", "message": "Field is required"}]
        reply = client.patch(f"/travel_pass/{key}", json={"visas": [{"country": "BR"}]})
        assert reply.json["errors"] == [{"field": "visas.0.stamp", "message": "Field is required"}]
