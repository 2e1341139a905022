"""Nested URLs, to any depth: what each verb does there, and the signals that tell of it."""

from itertools import cycle

import mongoengine as me
import pytest
from bson import DBRef, ObjectId

from hive import ModelHive, flatten
from hive.testing import recorded, serve
from tests.support.databases import on_mongomock

NOBODY = "65a0000000000000000000ff"
PROBLEM = "application/problem+json"


class Geo(me.EmbeddedDocument):
    lat = me.FloatField()
    lon = me.FloatField()


class Street(me.EmbeddedDocument):
    city = me.StringField(required=True)
    zip_code = me.StringField(db_field="z")
    geo = me.EmbeddedDocumentField(Geo)


class Task(me.EmbeddedDocument):
    title = me.StringField(required=True)
    hours = me.IntField()


class CrewProject(me.EmbeddedDocument):
    slug = me.StringField(required=True)
    title = me.StringField()
    tasks = me.EmbeddedDocumentListField(Task)
    lead = me.ReferenceField("CrewMate")
    where = me.EmbeddedDocumentField(Street)
    meta = {"lookup_field": "slug"}


class CrewMate(me.Document):
    name = me.StringField(required=True)
    nick = me.StringField(unique=True, sparse=True)
    home = me.EmbeddedDocumentField(Street)
    friend = me.ReferenceField("self")
    friends = me.ListField(me.ReferenceField("self"))
    pet = me.ReferenceField("Pet")
    meta = {"lookup_field": "nick"}


class Pet(me.Document):
    """Served by no route."""

    name = me.StringField()


class Tag(me.Document):
    """Named by a text, and by another."""

    code = me.StringField(primary_key=True)
    slug = me.StringField()
    meta = {"lookup_field": "slug"}


class Label(me.Document):
    code = me.StringField(primary_key=True)


class Memo(me.EmbeddedDocument):
    text = me.StringField()
    meta = {"allow_inheritance": True}


class LongMemo(Memo):
    more = me.StringField()


class Board(me.Document):
    tags = me.ListField(me.ReferenceField(Tag))
    marks = me.ListField(me.GenericReferenceField(choices=[Tag, Label, "Pet"]))
    note = me.EmbeddedDocumentField(Memo)


class Vehicle(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class Bus(Vehicle):
    seats = me.IntField()


class Crew(me.Document):
    name = me.StringField(required=True, max_length=20)
    captain = me.ReferenceField(CrewMate)
    boss = me.ReferenceField(CrewMate, required=True)
    members = me.ListField(me.ReferenceField(CrewMate))
    lazy = me.LazyReferenceField(CrewMate)
    lazies = me.ListField(me.LazyReferenceField(CrewMate))
    old = me.ReferenceField(CrewMate, dbref=True)
    cached = me.CachedReferenceField(CrewMate, fields=["name"])
    address = me.EmbeddedDocumentField(Street)
    base = me.EmbeddedDocumentField(Street, required=True)
    projects = me.EmbeddedDocumentListField(CrewProject)
    tasks = me.ListField(me.EmbeddedDocumentField(Task))
    thing = me.GenericReferenceField(choices=[CrewMate, Vehicle, Bus])
    things = me.ListField(me.GenericReferenceField(choices=[CrewMate, Bus]))
    part = me.GenericEmbeddedDocumentField(choices=[Street, Task])
    parts = me.ListField(me.GenericEmbeddedDocumentField(choices=[Street, Task]))
    ride = me.ReferenceField(Vehicle)
    rides = me.ListField(me.ReferenceField(Vehicle))
    tags = me.ListField(me.StringField())
    by_city = me.MapField(me.EmbeddedDocumentField(Street))
    meta = {"cascade": False}


ROUTES = flatten([ModelHive.routes_for(model) for model in (Crew, CrewMate, Vehicle)])


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def api(database):
    CrewMate._collection = None
    CrewMate.ensure_indexes()
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def people(database):
    return [CrewMate(name=name, nick=name.lower()).save() for name in ("Ann", "Bob", "Cid", "Dee")]


@pytest.fixture
def crew(people):
    ann, bob, cid, _ = people
    cid.home = Street(city="Rome", geo=Geo(lat=1, lon=2))
    cid.friend, cid.friends = ann, [ann, bob]
    cid.save()
    return Crew(
        name="A",
        boss=ann,
        captain=cid,
        members=[ann, cid],
        base=Street(city="Oslo"),
        address=Street(city="Bergen", zip_code="5", geo=Geo(lat=60, lon=5)),
        projects=[
            CrewProject(
                slug="moon", title="Moon", lead=bob, tasks=[Task(title="a", hours=1), Task(title="b")]
            ),
            CrewProject(slug="mars", title="Mars", where=Street(city="Tharsis")),
        ],
        tasks=[Task(title="x"), Task(title="y")],
    ).save()


@pytest.fixture
def path(crew):
    return f"/crew/{crew.id}"


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == PROBLEM
    return reply.json


def told(heard):
    """The signals and their senders, in short: ``create CrewMate``."""
    return [f"{name.removesuffix('_instance')} {sender.__name__}" for name, sender, _ in heard]


def changes(heard, model):
    [updated] = [
        signal.arguments["updated_fields"]
        for signal in heard
        if told([signal]) == [f"post_update {model.__name__}"]
    ]
    return updated


def arguments(heard):
    return [signal.arguments["arguments"] for signal in heard if signal.name.startswith("pre_")]


def pairs(*names):
    return [f"{when}_{name}" for when in ("pre", "post") for name in names]


# A reference


@on_mongomock
def test_get_of_a_reference_is_its_target(api, path, people):
    with recorded() as heard:
        reply = api.get(f"{path}/captain")
    assert (reply.status, reply.json) == (200, api.get(f"/crew_mate/{people[2].id}").json)
    assert told(heard) == pairs("get CrewMate")
    assert arguments(heard) == [[f"{path[1:]}", "captain"]]


@pytest.mark.parametrize(
    ("field", "how"),
    [("captain", "id"), ("captain", "name"), ("captain", "form"), ("captain", "lookup"),
     ("captain", "form id"), ("lazy", "id"), ("lazy", "name"), ("old", "name"), ("old", "lookup"),
     ("cached", "form"), ("cached", "form id")],
)  # fmt: skip
def test_post_to_a_reference_sets_it_to_an_existing_document(api, path, people, field, how):
    body = {
        "id": {"json": {"id": str(people[1].id)}},
        "name": {"json": {field: str(people[1].id)}},
        "form": {"form": {field: str(people[1].id)}},
        "lookup": {"json": {"id": "bob"}},
        "form id": {"form": {"id": "bob"}},
    }[how]
    with recorded() as heard:
        reply = api.post(f"{path}/{field}", **body)
    assert (reply.status, reply.json["name"]) == (200, "Bob")
    assert told(heard) == pairs("update Crew")
    was = people[2].id if field == "captain" else None
    assert changes(heard, Crew) == {field: {"from": was, "to": people[1].id}}
    assert getattr(Crew.objects.get(), field).id == people[1].id
    assert api.get(f"{path}/{field}").json["name"] == "Bob"
    assert CrewMate.objects.count() == 4


@pytest.mark.parametrize(
    "body", [{"json": {"name": "Eve"}}, {"form": {"name": "Eve"}}, {"json": {"name": "Eve", "nick": "eve"}}]
)
def test_post_of_a_new_object_to_a_reference_creates_and_sets_it(api, path, crew, body):
    with recorded() as heard:
        reply = api.post(f"{path}/captain", **body)
    eve = CrewMate.objects.get(name="Eve")
    assert (reply.status, reply.json["id"]) == (201, str(eve.id))
    assert reply.headers["Location"] == f"{path}/captain"
    assert reply.headers["X-Created-Id"] == (eve.nick or str(eve.id))
    assert told(heard) == pairs("create CrewMate", "update Crew")
    assert changes(heard, Crew)["captain"]["to"] == eve.id
    assert api.get(reply.headers["Location"]).json == reply.json


def test_put_and_patch_of_a_reference_change_its_target(api, path, crew, people):
    before = crew.to_mongo()
    for verb in (api.put, api.patch):
        with recorded() as heard:
            reply = verb(f"{path}/captain", json={"name": f"C {verb.__name__}"})
        assert (reply.status, reply.json["name"]) == (200, f"C {verb.__name__}")
        assert told(heard) == pairs("update CrewMate")
        assert changes(heard, CrewMate)["name"]["to"] == f"C {verb.__name__}"
    assert crew.reload().to_mongo() == before
    assert people[2].reload().name == "C patch"


def test_delete_of_a_reference_unsets_it_and_leaves_the_target(api, path, crew, people):
    with recorded() as heard:
        assert api.delete(f"{path}/captain").status == 204
    assert told(heard) == pairs("update Crew")
    assert changes(heard, Crew) == {"captain": {"from": people[2].id, "to": None}}
    assert crew.reload().captain is None
    assert CrewMate.objects.count() == 4
    for verb in (api.get, api.delete):
        refused(verb(f"{path}/captain"), 404)
    refused(api.put(f"{path}/captain", json={"name": "x"}), 404)


@on_mongomock
def test_options_of_a_reference(api, path):
    reply = api.request("OPTIONS", f"{path}/captain")
    assert (reply.status, reply.headers["Allow"]) == (204, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
    assert "Accept-Patch" in reply.headers


def test_unset_reference_can_be_posted_to(api, path):
    refused(api.get(f"{path}/lazy"), 404)
    assert "POST" in api.request("OPTIONS", f"{path}/lazy").headers["Allow"]
    assert api.post(f"{path}/lazy", json={"id": "bob"}).status == 200


def test_unset_of_a_required_reference_is_400(api, path, crew):
    problem = refused(api.delete(f"{path}/boss"), 400)
    assert [error["field"] for error in problem["errors"]] == ["boss"]
    assert crew.reload().boss.name == "Ann"


@on_mongomock
@pytest.mark.parametrize("name", [NOBODY, "nobody", 1, "", True, {}, [], ["bob", "ann"], None, {"$ne": 1}])
def test_reference_to_nothing_is_400(api, path, crew, name):
    before = crew.to_mongo()
    for field in ("captain", "members"):
        for key in ("id", field):
            with recorded() as heard:
                assert refused(api.post(f"{path}/{field}", json={key: name}), 400)["errors"]
            assert heard == []
    assert crew.reload().to_mongo() == before
    assert CrewMate.objects.count() == 4


@pytest.mark.parametrize("field", ["captain", "members"])
def test_failed_create_leaves_the_holder_as_it_was(api, path, crew, field):
    before = crew.to_mongo()
    refused(api.post(f"{path}/{field}", json={"nick": "no-name"}), 400)
    refused(api.post(f"{path}/{field}", json={"name": "Ann", "nick": "ann"}), 409)
    refused(api.post(f"{path}/{field}", json={"name": "x", "nothing": 1}), 400)
    assert crew.reload().to_mongo() == before
    assert CrewMate.objects.count() == 4


@pytest.mark.parametrize("field", ["captain", "members", "thing"])
def test_failed_link_leaves_nothing_created(api, path, crew, database, field):
    database["crew"].update_one({}, {"$set": {"name": "x" * 100}})
    before = database["crew"].find_one()
    body = {"name": "Eve"} | ({"_cls": "CrewMate"} if field == "thing" else {})
    with recorded() as heard:
        refused(api.post(f"{path}/{field}", json=body), 400)
    assert told(heard) == ["pre_create CrewMate" if field != "thing" else told(heard)[0], "pre_update Crew"]
    assert CrewMate.objects.count() == 4
    assert database["crew"].find_one() == before


def test_dangling_reference_is_404_and_can_be_replaced_or_unset(api, path, crew, people):
    people[2].delete()
    refused(api.get(f"{path}/captain"), 404)
    refused(api.put(f"{path}/captain", json={"name": "x"}), 404)
    assert api.get(path).json["captain"] == str(people[2].id)
    assert api.put(path, json={"name": "B"}).status == 200
    assert api.delete(f"{path}/captain").status == 204
    assert crew.reload().captain is None


# A list of references


@on_mongomock
def test_get_of_a_list_of_references_is_a_list_of_targets(api, path, people):
    with recorded() as heard:
        reply = api.get(f"{path}/members")
    assert [item["name"] for item in reply.json] == ["Ann", "Cid"]
    assert reply.json[1] == api.get(f"/crew_mate/{people[2].id}").json
    assert told(heard) == ["pre_get_list CrewMate", "post_get_list CrewMate"]
    assert [item.name for item in heard[1].arguments["items"]] == ["Ann", "Cid"]
    assert arguments(heard) == [[path[1:], "members"]]


@on_mongomock
def test_lists_of_references_page(api, path, crew):
    crew.members = [CrewMate(name=f"P{number:02}").save() for number in range(30)]
    crew.save()
    assert len(api.get(f"{path}/members").json) == 20
    reply = api.get(f"{path}/members?page=3&per_page=12")
    assert [item["name"] for item in reply.json] == [f"P{number:02}" for number in range(24, 30)]
    assert f'<{path}/members?page=2&per_page=12>; rel="prev"' in reply.headers["Link"]
    assert "next" not in reply.headers["Link"]
    refused(api.get(f"{path}/members?page=0"), 400)


@pytest.mark.parametrize("field", ["members", "lazies"])
def test_post_of_an_id_to_a_list_adds_the_reference(api, path, crew, people, field):
    was = [person.id for person in getattr(crew, field)]
    with recorded() as heard:
        reply = api.post(f"{path}/{field}", json={"id": str(people[1].id)})
    assert (reply.status, reply.json["name"]) == (200, "Bob")
    assert told(heard) == pairs("update Crew")
    assert changes(heard, Crew) == {field: {"from": was, "to": [*was, people[1].id]}}
    assert api.get(f"{path}/{field}/bob").status == 200


@pytest.mark.parametrize(
    "body", [{"json": {"id": "ann"}}, {"json": {"members": "ann"}}, {"json": {"members": ["ann"]}},
    {"form": {"members[]": "ann"}}, {"form": {"members": "ann"}}]
)  # fmt: skip
def test_adding_twice_does_not_duplicate(api, path, crew, body):
    reply = api.post(f"{path}/members", **body)
    assert (reply.status, reply.json["name"]) == (200, "Ann")
    assert [member.name for member in crew.reload().members] == ["Ann", "Cid"]


def test_post_of_a_new_object_to_a_list_creates_and_adds_it(api, path, crew, people):
    with recorded() as heard:
        reply = api.post(f"{path}/members", json={"name": "Eve", "nick": "eve"})
    eve = CrewMate.objects.get(nick="eve")
    assert (reply.status, reply.headers["Location"]) == (201, f"{path}/members/eve")
    assert reply.headers["X-Created-Id"] == "eve"
    assert told(heard) == pairs("create CrewMate", "update Crew")
    assert changes(heard, Crew)["members"]["to"] == [people[0].id, people[2].id, eve.id]
    assert api.get(reply.headers["Location"]).json == reply.json


@on_mongomock
@pytest.mark.parametrize("field", ["members", "projects"])
def test_lists_take_get_and_post_only(api, path, crew, field):
    before = crew.to_mongo()
    for verb in ("PUT", "PATCH", "DELETE"):
        reply = api.request(verb, f"{path}/{field}", json={"name": "x"})
        refused(reply, 405)
        assert reply.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert api.request("OPTIONS", f"{path}/{field}").headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert crew.reload().to_mongo() == before


@on_mongomock
@pytest.mark.parametrize("how", ["id", "lookup"])
def test_get_of_a_member_is_its_target(api, path, people, how):
    name = people[2].id if how == "id" else "cid"
    with recorded() as heard:
        reply = api.get(f"{path}/members/{name}")
    assert reply.json == api.get(f"/crew_mate/{people[2].id}").json
    assert told(heard) == pairs("get CrewMate")
    assert arguments(heard) == [[path[1:], f"members/{name}"]]


@on_mongomock
@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_document_that_is_no_member_is_404(api, path, crew, verb):
    before, bob = crew.to_mongo(), CrewMate.objects.get(name="Bob")
    for name in (bob.id, "bob", "nobody", NOBODY, "0", "save"):
        assert api.request(verb, f"{path}/members/{name}", json={"name": "x"}).status == 404
    assert crew.reload().to_mongo() == before
    assert bob.reload().name == "Bob"


def test_put_and_patch_of_a_member_change_its_target(api, path, crew, people):
    before = crew.to_mongo()
    for verb in (api.put, api.patch):
        with recorded() as heard:
            reply = verb(f"{path}/members/cid", json={"name": verb.__name__})
        assert (reply.status, reply.json["name"]) == (200, verb.__name__)
        assert told(heard) == pairs("update CrewMate")
    assert crew.reload().to_mongo() == before


def test_delete_of_a_member_takes_it_out_and_leaves_the_target(api, path, crew, people):
    with recorded() as heard:
        assert api.delete(f"{path}/members/ann").status == 204
    assert told(heard) == pairs("update Crew")
    assert changes(heard, Crew) == {"members": {"from": [people[0].id, people[2].id], "to": [people[2].id]}}
    assert CrewMate.objects.count() == 4
    refused(api.delete(f"{path}/members/ann"), 404)


@on_mongomock
def test_post_to_a_member_is_405(api, path):
    reply = api.post(f"{path}/members/ann", json={"name": "x"})
    refused(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"


def test_dangling_members_are_left_out_and_can_be_taken_out(api, path, crew, people):
    people[0].delete()
    assert [item["name"] for item in api.get(f"{path}/members").json] == ["Cid"]
    refused(api.get(f"{path}/members/{people[0].id}"), 404)
    assert api.post(f"{path}/members", json={"id": "bob"}).status == 200
    assert api.delete(f"{path}/members/{people[0].id}").status == 204
    assert [item["name"] for item in api.get(f"{path}/members").json] == ["Cid", "Bob"]
    assert len(api.get(path).json["members"]) == 2


# An embedded document


@on_mongomock
def test_get_of_an_embedded_document(api, path):
    with recorded() as heard:
        reply = api.get(f"{path}/address")
    assert reply.json == {"city": "Bergen", "zip_code": "5", "geo": {"lat": 60.0, "lon": 5.0}}
    assert told(heard) == pairs("get Street")


@pytest.mark.parametrize("body", [{"json": {"city": "Paris"}}, {"form": {"city": "Paris"}}])
def test_post_to_an_embedded_document_sets_it_whole(api, path, crew, body):
    with recorded() as heard:
        reply = api.post(f"{path}/address", **body)
    assert (reply.status, reply.json) == (201, {"city": "Paris", "zip_code": None, "geo": None})
    assert reply.headers["Location"] == f"{path}/address"
    assert told(heard) == pairs("create Street", "update Crew")
    assert changes(heard, Crew)["address.city"] == {"from": "Bergen", "to": "Paris"}
    assert crew.reload().address.geo is None


def test_put_and_patch_of_an_embedded_document_update_it(api, path, crew):
    for verb, city in ((api.put, "Paris"), (api.patch, "Rome")):
        was = crew.reload().address.city
        with recorded() as heard:
            reply = verb(f"{path}/address", json={"city": city})
        assert reply.json == {"city": city, "zip_code": "5", "geo": {"lat": 60.0, "lon": 5.0}}
        assert told(heard) == pairs("update Street", "update Crew")
        assert changes(heard, Street) == {"city": {"from": was, "to": city}}
        assert changes(heard, Crew) == {"address.city": {"from": was, "to": city}}
        assert arguments(heard) == [[path[1:], "address"]] * 2


def test_delete_of_an_embedded_document_unsets_it(api, path, crew):
    with recorded() as heard:
        assert api.delete(f"{path}/address").status == 204
    assert told(heard) == pairs("delete Street", "update Crew")
    assert crew.reload().address is None
    for verb in ("GET", "PUT", "PATCH", "DELETE"):
        refused(api.request(verb, f"{path}/address", json={"city": "x"}), 404)
    assert api.post(f"{path}/address", json={"city": "x"}).status == 201


def test_unset_of_a_required_embedded_document_is_400(api, path, crew):
    assert refused(api.delete(f"{path}/base"), 400)["errors"]
    assert crew.reload().base.city == "Oslo"


@on_mongomock
@pytest.mark.parametrize(("verb", "body", "field"), [
    ("POST", {"zip_code": "1"}, "city"), ("PUT", {"city": None}, "city"), ("PATCH", {"city": None}, "city"),
    ("PUT", {"city": 1}, "city"), ("POST", {"city": "x", "geo": {"lat": "x"}}, "geo.lat"), ("PUT",
    {"nothing": 1}, "nothing"),
    ("PATCH", {"geo": {"x": 1}}, "geo.x"), ("POST", {"_cls": "Street", "city": "x"}, "_cls"), ("PUT",
    {"save": 1}, "save"),
])  # fmt: skip
def test_errors_of_an_embedded_document_have_its_own_names(api, path, verb, body, field):
    before = Crew.objects.get().to_mongo()
    problem = refused(api.request(verb, f"{path}/address", json=body), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert Crew.objects.get().to_mongo() == before


@on_mongomock
def test_options_of_an_embedded_document(api, path):
    reply = api.request("OPTIONS", f"{path}/address")
    assert reply.headers["Allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


@on_mongomock
def test_head_of_nested_places(api, path):
    for place in ("address", "captain", "members", "members/ann", "projects", "projects/moon"):
        get, head = (api.request(verb, f"{path}/{place}") for verb in ("GET", "HEAD"))
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]


# A list of embedded documents


@on_mongomock
def test_get_of_an_embedded_list(api, path):
    with recorded() as heard:
        reply = api.get(f"{path}/projects")
    assert [item["slug"] for item in reply.json] == ["moon", "mars"]
    assert told(heard) == ["pre_get_list CrewProject", "post_get_list CrewProject"]
    assert [item["title"] for item in api.get(f"{path}/tasks?per_page=1&page=2").json] == ["y"]


def test_post_to_an_embedded_list_appends(api, path, crew):
    with recorded() as heard:
        reply = api.post(f"{path}/projects", json={"slug": "sun", "tasks": [{"title": "t"}]})
    assert (reply.status, reply.headers["Location"]) == (201, f"{path}/projects/sun")
    assert reply.headers["X-Created-Id"] == "sun"
    assert told(heard) == pairs("create CrewProject", "update Crew")
    assert changes(heard, Crew).keys() == {"projects"}
    assert api.get(reply.headers["Location"]).json == reply.json
    assert [project.slug for project in crew.reload().projects] == ["moon", "mars", "sun"]


def test_items_without_a_lookup_field_are_named_by_index(api, path, crew):
    for index in (2, 3):
        reply = api.post(f"{path}/tasks", form={"title": "same"})
        assert (reply.headers["Location"], reply.headers["X-Created-Id"]) == (
            f"{path}/tasks/{index}",
            str(index),
        )
    assert api.get(f"{path}/tasks/1").json == {"title": "y", "hours": None}
    assert api.put(f"{path}/tasks/1", json={"hours": 3}).json == {"title": "y", "hours": 3}
    assert api.delete(f"{path}/tasks/0").status == 204
    assert [(task.title, task.hours) for task in crew.reload().tasks] == [
        ("y", 3),
        ("same", None),
        ("same", None),
    ]


@on_mongomock
@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE"])
def test_index_that_is_none_is_404(api, path, crew, verb):
    before = crew.to_mongo()
    for name in ("2", "-1", "01", "+1", "1.0", "x", "%D9%A1", "9" * 30, "title", "append", "__len__", "%200"):
        refused(api.request(verb, f"{path}/tasks/{name}", json={"title": "x"}), 404)
    assert crew.reload().to_mongo() == before


def test_items_with_a_lookup_field_are_named_by_it(api, path, crew):
    refused(api.get(f"{path}/projects/0"), 404)
    with recorded() as heard:
        reply = api.put(f"{path}/projects/mars", json={"title": "Red"})
    assert (reply.json["slug"], reply.json["title"]) == ("mars", "Red")
    assert told(heard) == pairs("update CrewProject", "update Crew")
    assert changes(heard, CrewProject) == {"title": {"from": "Mars", "to": "Red"}}
    with recorded() as heard:
        assert api.delete(f"{path}/projects/moon").status == 204
    assert told(heard) == pairs("delete CrewProject", "update Crew")
    assert [project.title for project in crew.reload().projects] == ["Red"]


def test_put_may_change_the_lookup_value_of_an_item(api, path):
    assert api.put(f"{path}/projects/mars", json={"slug": "phobos"}).json["slug"] == "phobos"
    refused(api.get(f"{path}/projects/mars"), 404)
    assert api.get(f"{path}/projects/phobos").json["title"] == "Mars"


@on_mongomock
def test_post_to_an_item_is_405(api, path):
    reply = api.post(f"{path}/projects/moon", json={"slug": "x"})
    refused(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"


@on_mongomock
def test_errors_of_an_item_have_its_own_names(api, path, crew):
    before = crew.to_mongo()
    for verb, url, body, field in (
        ("POST", "projects", {"title": "x"}, "slug"),
        ("POST", "tasks", {"title": None}, "title"),
        ("PUT", "projects/mars", {"slug": None}, "slug"),
        ("POST", "projects", {"slug": "x", "tasks": [{"title": "t"}, {}]}, "tasks.1.title"),
        ("POST", "projects/moon/tasks", {"hours": 1}, "title"),
        ("PUT", "projects/moon/tasks/1", {"title": None}, "title"),
    ):
        problem = refused(api.request(verb, f"{path}/{url}", json=body), 400)
        assert [error["field"] for error in problem["errors"]] == [field]
    assert crew.reload().to_mongo() == before


# Deeper


def test_embedded_in_embedded(api, path, crew):
    url = f"{path}/address/geo"
    assert api.get(url).json == {"lat": 60.0, "lon": 5.0}
    with recorded() as heard:
        assert api.put(url, json={"lat": 61}).json == {"lat": 61.0, "lon": 5.0}
    assert told(heard) == pairs("update Geo", "update Crew")
    assert changes(heard, Geo) == {"lat": {"from": 60.0, "to": 61.0}}
    assert changes(heard, Crew) == {"address.geo.lat": {"from": 60.0, "to": 61.0}}
    assert arguments(heard)[0] == [path[1:], "address", "geo"]
    assert api.delete(url).status == 204
    assert crew.reload().address.to_mongo() == {"city": "Bergen", "z": "5"}
    reply = api.post(url, json={"lat": 1, "lon": 2})
    assert (reply.status, reply.headers["Location"]) == (201, url)


@on_mongomock
def test_path_through_an_unset_embedded_document_is_404(api, path):
    for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        refused(api.request(verb, f"{path}/base/geo/x", json={"lat": 1}), 404)
    api.delete(f"{path}/address")
    for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        refused(api.request(verb, f"{path}/address/geo", json={"lat": 1}), 404)


def test_embedded_document_of_a_reference(api, path, crew, people):
    before = crew.to_mongo()
    url = f"{path}/captain/home"
    with recorded() as heard:
        assert api.put(url, json={"city": "Paris"}).json["city"] == "Paris"
    assert told(heard) == pairs("update Street", "update CrewMate")
    assert changes(heard, CrewMate) == {"home.city": {"from": "Rome", "to": "Paris"}}
    assert api.put(f"{url}/geo", json={"lat": 9}).json == {"lat": 9.0, "lon": 2.0}
    assert people[2].reload().home.geo.lat == 9
    assert api.delete(url).status == 204
    assert people[2].reload().home is None
    assert crew.reload().to_mongo() == before


def test_reference_of_a_reference_and_its_list(api, path, crew, people):
    before = crew.to_mongo()
    assert api.get(f"{path}/captain/friend").json["name"] == "Ann"
    assert [item["name"] for item in api.get(f"{path}/captain/friends").json] == ["Ann", "Bob"]
    with recorded() as heard:
        assert api.put(f"{path}/captain/friends/bob", json={"name": "Bobby"}).status == 200
    assert told(heard) == pairs("update CrewMate")
    assert heard[1].arguments["instance"].id == people[1].id
    with recorded() as heard:
        assert api.post(f"{path}/captain/friends", json={"id": "dee"}).status == 200
    assert told(heard) == pairs("update CrewMate")
    assert heard[1].arguments["instance"].id == people[2].id
    assert api.delete(f"{path}/captain/friends/ann").status == 204
    assert [friend.name for friend in people[2].reload().friends] == ["Bobby", "Dee"]
    assert crew.reload().to_mongo() == before


def test_create_deep_in_a_path(api, path, people):
    with recorded() as heard:
        reply = api.post(f"{path}/members/cid/friends", json={"name": "Eve"})
    eve = CrewMate.objects.get(name="Eve")
    assert (reply.status, reply.headers["Location"]) == (201, f"{path}/members/cid/friends/{eve.id}")
    assert told(heard) == pairs("create CrewMate", "update CrewMate")
    assert [signal.arguments["instance"].name for signal in heard[2:]] == ["Eve", "Cid"]
    assert api.get(reply.headers["Location"]).json["name"] == "Eve"


def test_member_and_then_its_reference(api, path, people):
    assert api.get(f"{path}/members/cid/friend").json["name"] == "Ann"
    assert api.delete(f"{path}/members/cid/friend").status == 204
    assert people[2].reload().friend is None


def test_reference_in_an_item_of_an_embedded_list(api, path, crew, people):
    url = f"{path}/projects/moon/lead"
    assert api.get(url).json["name"] == "Bob"
    with recorded() as heard:
        assert api.post(url, json={"id": "dee"}).status == 200
    assert told(heard) == pairs("update Crew")
    assert changes(heard, Crew).keys() == {"projects"}
    assert crew.reload().projects[0].lead.name == "Dee"
    with recorded() as heard:
        reply = api.post(url, json={"name": "Eve"})
    assert (reply.status, told(heard)) == (201, pairs("create CrewMate", "update Crew"))
    assert api.delete(url).status == 204
    assert crew.reload().projects[0].lead is None


def test_list_in_an_item_of_an_embedded_list(api, path, crew):
    url = f"{path}/projects/moon/tasks"
    assert [item["title"] for item in api.get(url).json] == ["a", "b"]
    reply = api.post(url, json={"title": "c"})
    assert reply.headers["Location"] == f"{url}/2"
    with recorded() as heard:
        assert api.patch(f"{url}/1", json={"hours": 7}).json == {"title": "b", "hours": 7}
    assert told(heard) == pairs("update Task", "update Crew")
    assert api.delete(f"{url}/0").status == 204
    assert [task.title for task in crew.reload().projects[0].tasks] == ["b", "c"]
    assert api.put(f"{path}/projects/mars/where", json={"zip_code": "1"}).json["zip_code"] == "1"


@on_mongomock
def test_path_may_go_round(api, people):
    ann, bob = people[:2]
    ann.friend, bob.friend = bob, ann
    ann.save()
    bob.save()
    assert api.get("/crew_mate/ann" + "/friend" * 20).json["name"] == "Ann"
    refused(api.get("/crew_mate/ann" + "/friend" * 2000), 404)


# References that name their class


def test_generic_reference(api, path, crew, people):
    bus = Bus(name="B", seats=9).save()
    refused(api.get(f"{path}/thing"), 404)
    with recorded() as heard:
        reply = api.post(f"{path}/thing", json={"_cls": "Vehicle.Bus", "id": str(bus.id)})
    assert (reply.status, reply.json["seats"]) == (200, 9), reply.body
    assert told(heard) == pairs("update Crew")
    with recorded() as heard:
        assert api.get(f"{path}/thing").json["name"] == "B"
    assert told(heard) == pairs("get Bus")
    with recorded() as heard:
        assert api.put(f"{path}/thing", json={"seats": 10}).json["seats"] == 10
    assert told(heard) == pairs("update Bus")
    reply = api.post(f"{path}/thing", json={"_cls": "CrewMate", "name": "Eve"})
    assert (reply.status, api.get(f"{path}/thing").json["name"]) == (201, "Eve")
    assert api.delete(f"{path}/thing").status == 204
    assert crew.reload().thing is None
    assert Bus.objects.count() == 1


@on_mongomock
@pytest.mark.parametrize(
    "body",
    [{"name": "x"}, {"id": "ann"}, {"_cls": "Crew", "name": "x"}, {"_cls": "Pet", "name": "x"},
    {"_cls": "Street", "city": "x"},
     {"_cls": 1, "name": "x"}, {"_cls": "Nothing"}, {"_cls": "CrewMate", "id": NOBODY}, {"_cls": "CrewMate"},
     {"_cls": None},
     {"_cls": "Vehicle", "seats": 1}, {"thing": "ann"}, {"_cls": "__class__", "id": "x"}, {}],
)  # fmt: skip
def test_generic_reference_to_what_it_does_not_take_is_400(api, path, crew, body):
    before = crew.to_mongo()
    for field in ("thing", "things"):
        refused(api.post(f"{path}/{field}", json=body), 400)
    assert crew.reload().to_mongo() == before
    assert (CrewMate.objects.count(), Vehicle.objects.count(), Pet.objects.count()) == (4, 0, 0)


def test_list_of_generic_references(api, path, crew):
    bus = Bus(name="B", seats=9).save()
    for body in ({"_cls": "Vehicle.Bus", "id": str(bus.id)}, {"_cls": "CrewMate", "id": "ann"}):
        for _ in range(2):
            assert api.post(f"{path}/things", json=body).status == 200
    assert [item["name"] for item in api.get(f"{path}/things").json] == ["B", "Ann"]
    assert api.get(f"{path}/things/ann").json["name"] == "Ann"
    assert api.get(f"{path}/things/{bus.id}").json["seats"] == 9
    refused(api.get(f"{path}/things/bob"), 404)
    reply = api.post(f"{path}/things", json={"_cls": "CrewMate", "name": "Eve"})
    assert api.get(reply.headers["Location"]).json["name"] == "Eve"
    assert api.delete(f"{path}/things/ann").status == 204
    assert [item["name"] for item in api.get(f"{path}/things").json] == ["B", "Eve"]


def test_generic_embedded_document(api, path, crew):
    reply = api.post(f"{path}/part", json={"_cls": "Task", "title": "t"})
    assert (reply.status, reply.json) == (201, {"_cls": "Task", "title": "t", "hours": None})
    assert api.get(f"{path}/part").json == reply.json
    assert api.put(f"{path}/part", json={"hours": 2}).json["hours"] == 2
    assert api.put(f"{path}/part", json=api.get(f"{path}/part").json).status == 200
    refused(api.post(f"{path}/part", json={"title": "t"}), 400)
    refused(api.post(f"{path}/part", json={"_cls": "Geo", "lat": 1}), 400)
    assert api.post(f"{path}/part", json={"_cls": "Street", "city": "x"}).status == 201
    assert api.delete(f"{path}/part").status == 204
    assert crew.reload().part is None


def test_list_of_generic_embedded_documents(api, path, crew):
    assert (
        api.post(f"{path}/parts", json={"_cls": "Task", "title": "t"}).headers["Location"]
        == f"{path}/parts/0"
    )
    assert api.post(f"{path}/parts", json={"_cls": "Street", "city": "c"}).headers["X-Created-Id"] == "1"
    assert [item["_cls"] for item in api.get(f"{path}/parts").json] == ["Task", "Street"]
    assert api.patch(f"{path}/parts/1", json={"zip_code": "1"}).json["zip_code"] == "1"
    assert api.delete(f"{path}/parts/0").status == 204
    assert [item["_cls"] for item in api.get(f"{path}/parts").json] == ["Street"]


def test_reference_to_a_class_with_subclasses(api, path):
    bus = Bus(name="B", seats=9).save()
    assert api.post(f"{path}/ride", json={"id": str(bus.id)}).json["seats"] == 9
    with recorded() as heard:
        assert api.put(f"{path}/ride", json={"seats": 10}).json["seats"] == 10
    assert told(heard) == pairs("update Bus")
    reply = api.post(f"{path}/rides", json={"_cls": "Vehicle.Bus", "name": "C", "seats": 1})
    assert (reply.status, reply.json["seats"]) == (201, 1)
    assert api.post(f"{path}/rides", json={"id": str(bus.id)}).status == 200
    assert [item["seats"] for item in api.get(f"{path}/rides").json] == [1, 10]
    with recorded() as heard:
        assert api.get(f"{path}/rides/{bus.id}").status == 200
    assert told(heard)[1] == "post_get Bus"


def test_member_is_found_by_its_lookup_value_even_if_that_is_the_primary_key_of_another(database):
    Tag(code="b", slug="z").save()
    board = Board(tags=[Tag(code="a", slug="b").save()]).save()
    with serve(flatten([ModelHive.routes_for(Board), ModelHive.routes_for(Tag)])) as client:
        assert client.get(f"/board/{board.id}/tags/b").json["code"] == "a"
        assert client.get("/tag/b").json["code"] == "b"
        assert client.delete(f"/board/{board.id}/tags/b").status == 204
        assert client.get(f"/board/{board.id}/tags").json == []


def test_references_to_two_classes_with_one_primary_key_are_two(database):
    for model in (Tag, Label):
        model(code="x").save()
    board = Board(marks=[Pet(name="of no route").save()]).save()
    path = f"/board/{board.id}/marks"
    with serve(flatten([ModelHive.routes_for(model) for model in (Board, Tag, Label)])) as client:
        for name in ("Tag", "Label", "Tag"):
            assert client.post(path, json={"_cls": name, "id": "x"}).status == 200
        assert [mark.keys() for mark in client.get(path).json] == [{"code", "slug"}, {"code"}]
        assert client.delete(f"{path}/x").status == 204
        assert [mark.keys() for mark in client.get(path).json] == [{"code"}]


def test_embedded_document_keeps_its_class_until_another_is_posted(database):
    board = Board(note=LongMemo(text="x")).save()
    path = f"/board/{board.id}/note"
    with serve(ModelHive.routes_for(Board)) as client:
        whole = client.get(path).json
        assert client.put(path, json=whole).json == whole
        problem = refused(client.put(path, json={"_cls": "Memo", "text": "y"}), 400)
        assert [error["field"] for error in problem["errors"]] == ["_cls"]
        assert board.reload().note.text == "x"
        assert client.post(path, json={"_cls": "Memo", "text": "y"}).status == 201
        assert type(board.reload().note) is Memo


# What no path leads to


NO_PLACES = [
    "save", "to_json", "objects", "__class__", "_id", "pk", "_cls", "id", "name", "tags", "by_city", "_data",
    "z", "nothing", "_fields", "delete", "captain_id", "Captain", "address.city", "by_city/x",
    "members/ann/save", "captain/pet", "$where", "%00",
]  # fmt: skip
EVERY_VERB = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@on_mongomock
@pytest.mark.parametrize("shift", range(6))
def test_what_is_no_field_with_documents_is_404(api, path, crew, shift):
    """Each name with each verb, and in turns at each of six places."""
    before, verbs = crew.to_mongo(), cycle(EVERY_VERB[shift:] + EVERY_VERB[:shift])
    places = [holder + tail for holder in ("{}", "address/{}") for tail in ("", "/x", "/x/y")]
    for number, (name, verb) in enumerate(zip(NO_PLACES, verbs, strict=False)):
        place = places[(number // 6 + number) % 6].format(name)
        refused(api.request(verb, f"{path}/{place}", json={"id": "ann"}), 404)
        refused(api.get(f"{path}/{places[(number + shift) % 6].format(name)}"), 404)
    assert crew.reload().to_mongo() == before


@on_mongomock
def test_model_without_routes_is_not_reached(api, people):
    pet = Pet(name="Rex").save()
    people[0].pet = pet
    people[0].save()
    assert api.get("/crew_mate/ann").json["pet"] == str(pet.id)
    for verb in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for body in ({"id": str(pet.id)}, {"name": "x"}):
            refused(api.request(verb, "/crew_mate/ann/pet", json=body), 404)
    assert Pet.objects.get().name == "Rex"


# Several routes for one model


@on_mongomock
def test_two_prefixes_never_share_options(database, people):
    person = CrewMate(name="Eve", home=Street(city="Rome")).save()
    crew = Crew(name="A", boss=person, captain=person, members=[person], base=Street(city="x")).save()
    routes = flatten([
        ModelHive.routes_for(Crew, prefix="/open"), ModelHive.routes_for(CrewMate, prefix="/open"),
        ModelHive.routes_for(Crew, prefix="/shut"),
        ModelHive.routes_for(CrewMate, prefix="/shut", hidden=["name", "home"], methods=["GET"]),
    ])  # fmt: skip
    with serve(routes) as api:
        for place in ("captain", f"members/{person.id}"):
            opened, shut = (f"/{prefix}/crew/{crew.id}/{place}" for prefix in ("open", "shut"))
            assert api.get(opened).json["name"] == "Eve"
            assert "name" not in api.get(shut).json
            assert api.put(opened, json={"name": "Eve"}).status == 200
            refused(api.put(shut, json={"nick": "x"}), 405)
            assert api.get(f"{opened}/home").status == 200
            refused(api.get(f"{shut}/home"), 404)
        assert all("name" not in item for item in api.get(f"/shut/crew/{crew.id}/members").json)
        refused(api.post(f"/shut/crew/{crew.id}/members", json={"nick": "x"}), 403)


@on_mongomock
def test_two_applications_never_share_options(database, people):
    crew = Crew(name="A", boss=people[0], captain=people[0], base=Street(city="x")).save()
    alone = ModelHive.routes_for(Crew)
    with (
        serve(alone) as first,
        serve(flatten([alone, ModelHive.routes_for(CrewMate, hidden=["name"])])) as second,
    ):
        refused(first.get(f"/crew/{crew.id}/captain"), 404)
        assert "name" not in second.get(f"/crew/{crew.id}/captain").json


@on_mongomock
def test_reference_is_not_followed_where_there_is_no_telling_which_routes(database, people):
    crew = Crew(name="A", boss=people[0], captain=people[0], base=Street(city="x")).save()
    mates = [ModelHive.routes_for(CrewMate, prefix=prefix) for prefix in ("/a", "/b")]
    routes = flatten([ModelHive.routes_for(Crew), mates])
    with serve(routes) as api:
        refused(api.get(f"/crew/{crew.id}/captain"), 404)


@on_mongomock
def test_only_routes_of_a_model_are_those_of_another_prefix(database, people):
    crew = Crew(name="A", boss=people[0], captain=people[0], base=Street(city="x")).save()
    with serve(flatten([ModelHive.routes_for(Crew), ModelHive.routes_for(CrewMate, prefix="/a")])) as api:
        assert api.get(f"/crew/{crew.id}/captain").json["name"] == "Ann"


def test_stored_dbref_is_read_like_any_reference(api, path, crew, database, people):
    database["crew"].update_one(
        {}, {"$set": {"old": DBRef("crew_mate", people[1].id), "captain": ObjectId(NOBODY)}}
    )
    assert api.get(f"{path}/old").json["name"] == "Bob"
    refused(api.get(f"{path}/captain"), 404)
