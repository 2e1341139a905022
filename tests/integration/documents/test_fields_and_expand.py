"""An answer has the fields that were asked for, and objects in the place of references."""

import time
import uuid
from collections import Counter
from contextlib import contextmanager

import mongoengine as me
import pytest
from bson import DBRef, ObjectId
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, expansion, flatten
from hive.permissions import concealed, owner, role, signed_in
from hive.testing import connected, serve
from tests.support.commands import Listener

MISSING = "65a0000000000000000000ff"


class ShapeCity(me.Document):
    name = me.StringField()
    country = me.StringField()


class ShapeHome(me.EmbeddedDocument):
    street = me.StringField(db_field="s")
    pin = me.StringField()
    city = me.ReferenceField(ShapeCity, db_field="c")
    host = me.ReferenceField("ShapePerson")


class ShapePerson(me.Document):
    name = me.StringField(db_field="n")
    mail = me.StringField()
    note = me.StringField()
    boss = me.StringField()
    home = me.EmbeddedDocumentField(ShapeHome, db_field="h")
    friend = me.ReferenceField("self")
    friends = me.ListField(me.ReferenceField("self"))
    city = me.ReferenceField(ShapeCity)


class ShapeTask(me.EmbeddedDocument):
    title = me.StringField()
    doer = me.ReferenceField(ShapePerson)
    watchers = me.ListField(me.ReferenceField(ShapePerson))


class ShapeOwn(me.Document):
    first = me.StringField()
    last = me.StringField()
    friend = me.ReferenceField("self")

    def to_dict(self):
        return {
            "id": str(self.id),
            "first": self.first,
            "last": f"{self.first} {self.last}",
            "friend": str(self._data["friend"].id) if self._data["friend"] else None,
        }


class ShapeLost(me.Document):
    name = me.StringField()


class ShapeBase(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class ShapeLeft(ShapeBase):
    mark = me.StringField(db_field="m1")
    person = me.ReferenceField(ShapePerson)


class ShapeRight(ShapeBase):
    mark = me.StringField(db_field="m2")

    def to_dict(self):
        return {"_cls": self._class_name, "name": f"{self.name} {self.mark}", "mark": self.mark}


class ShapeTeam(me.Document):
    name = me.StringField()
    count = me.IntField(default=3)
    pin = me.StringField()
    owner = me.ReferenceField(ShapePerson, db_field="o")
    lazy = me.LazyReferenceField(ShapePerson)
    old = me.ReferenceField(ShapePerson, dbref=True)
    members = me.ListField(me.ReferenceField(ShapePerson))
    roles = me.MapField(me.ReferenceField(ShapePerson))
    groups = me.MapField(me.ListField(me.ReferenceField(ShapePerson)))
    home = me.EmbeddedDocumentField(ShapeHome)
    tasks = me.EmbeddedDocumentListField(ShapeTask)
    desks = me.MapField(me.EmbeddedDocumentField(ShapeTask))
    thing = me.GenericReferenceField()
    things = me.ListField(me.GenericReferenceField())
    base = me.ReferenceField(ShapeBase)
    own = me.ReferenceField(ShapeOwn)
    lost = me.ReferenceField(ShapeLost)
    data = me.DictField()
    tags = me.ListField(me.StringField())


class ShapeLetter(me.Document):
    text = me.StringField()
    author = me.ReferenceField(ShapePerson)
    readers = me.ListField(me.ReferenceField(ShapePerson))

    def to_dict(self):
        return {"text": self.text, "author": None, "readers": ["?" for _ in self.readers]}


TEAM = "/shape_team"


def routes(**person):
    others = [ModelHive.routes_for(model) for model in (ShapeCity, ShapeOwn, ShapeBase, ShapeLetter)]
    team = ModelHive.routes_for(ShapeTeam, hidden=["pin", "home.pin"])
    return flatten([others, team, ModelHive.routes_for(ShapePerson, **{"hidden": ["home.pin"], **person})])


class Watch(Listener):
    """What MongoDB is asked, and for which collection."""

    def __init__(self):
        self.asked = []

    def started(self, event):
        if event.command_name in ("find", "aggregate", "count", "getMore", "distinct"):
            self.asked.append((event.command_name, event.command[event.command_name]))


@pytest.fixture
def watch(mongodb_server):
    watch = Watch()
    name = f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=[watch]) as database:
        yield watch
        database.client.drop_database(name)


@pytest.fixture(scope="module")
def server():
    with serve(routes()) as client:
        yield client


@pytest.fixture
def api(server, mongodb_database):
    return server


@pytest.fixture
def quick(server, mongomock_database):
    """For claims that have nothing to do with the database."""
    return server


@contextmanager
def serving(**person):
    with serve(routes(**person)) as client:
        yield client


def got(api, path, **how):
    reply = api.get(path, **how)
    assert reply.status == 200, reply.body
    return reply.json


def one(api, team, query, **how):
    """A team, which is the same in its list."""
    found = got(api, f"{TEAM}/{team.id}?{query}", **how)
    assert found in got(api, f"{TEAM}?{query}", **how)
    return found


def refused(reply, status=400):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json["detail"]


def person(name, **more):
    return ShapePerson(name=name, **more).save()


# Fields


@pytest.fixture
def team(quick):
    home = ShapeHome(street="x", pin="1234", host=ShapePerson(name="H").save())
    tasks = [ShapeTask(title="a"), ShapeTask(title="b")]
    data = {"a": 1, "b": {"c": 2, "d": 3}}
    return ShapeTeam(
        name="T", pin="p", home=home, tasks=tasks, data=data, tags=["x"], desks={"k": ShapeTask(title="t")}
    ).save()


SHOWN = {
    "name": {"name": "T"},
    "count,name": {"name": "T", "count": 3},
    "home.street,name": {"name": "T", "home": {"street": "x"}},
    "tasks.title": {"tasks": [{"title": "a"}, {"title": "b"}]},
    "tags": {"tags": ["x"]},
    "data.b.c": {"data": {"b": {"c": 2}}},
    "data,data.a": {"data": {"a": 1, "b": {"c": 2, "d": 3}}},
    "desks.k.title": {"desks": {"k": {"title": "t"}}},
    "owner": {"owner": None},
    "data.__class__": {"data": {}},
}


def test_fields_leaves_out_what_it_does_not_name(quick, team):
    for fields, shown in SHOWN.items():
        assert one(quick, team, f"fields={fields}") == shown, fields


def test_fields_has_the_primary_key_only_where_it_names_it(quick, team):
    assert one(quick, team, "fields=id") == {"id": str(team.id)}


def test_fields_that_are_not_stored_have_their_defaults(api):
    ShapeTeam._get_collection().insert_one({"name": "T"})
    assert got(api, f"{TEAM}?fields=count,tags,owner") == [{"count": 3, "tags": [], "owner": None}]


def test_fields_of_several_classes(api):
    ShapeLeft(name="l", mark="x").save()
    assert got(api, "/shape_base?fields=_cls,mark") == [{"_cls": "ShapeBase.ShapeLeft", "mark": "x"}]
    assert got(api, "/shape_base?fields=name") == [{"name": "l"}]


def test_fields_that_classes_store_under_different_names(api):
    ShapeLeft(name="l", mark="x").save()
    ShapeRight(name="r", mark="y").save()
    assert got(api, "/shape_base?fields=mark&sort=id") == [{"mark": "x"}, {"mark": "y"}]


def test_fields_of_a_class_with_its_own_to_dict_below_one_without(api):
    ShapeRight(name="r", mark="y").save()
    whole = got(api, "/shape_base")
    assert got(api, "/shape_base?fields=name") == [{"name": whole[0]["name"]}]


def test_fields_of_its_own_to_dict_are_made_of_the_whole_document(api):
    ShapeOwn(first="Ada", last="King").save()
    assert got(api, "/shape_own?fields=last") == [{"last": "Ada King"}]


def test_fields_and_expand_of_embedded_documents_and_their_lists(quick, team):
    host = str(team.home._data["host"].id)
    assert got(quick, f"{TEAM}/{team.id}/home?fields=street") == {"street": "x"}
    assert got(quick, f"{TEAM}/{team.id}/home?fields=host.name&expand=host") == {"host": {"name": "H"}}
    assert got(quick, f"{TEAM}/{team.id}/home?fields=host") == {"host": host}
    assert got(quick, f"{TEAM}/{team.id}/tasks?fields=title") == [{"title": "a"}, {"title": "b"}]
    assert got(quick, f"{TEAM}/{team.id}/tasks/1?fields=title") == {"title": "b"}


def test_fields_and_expand_of_what_is_behind_a_reference(quick):
    city = ShapeCity(name="Oslo").save()
    ann = person("Ann", city=city)
    team = ShapeTeam(owner=ann, members=[ann]).save()
    for path, json in (
        (f"{TEAM}/{team.id}/owner", {"name": "Ann", "city": {"name": "Oslo"}}),
        (f"{TEAM}/{team.id}/members/{ann.id}", {"name": "Ann", "city": {"name": "Oslo"}}),
    ):
        assert got(quick, f"{path}?fields=name,city.name&expand=city") == json
    assert got(quick, f"{TEAM}/{team.id}/members?fields=name,city.name&expand=city") == [json]


def test_what_is_no_field_or_no_reference_is_400(quick, team):
    for path in (TEAM, f"{TEAM}/{team.id}"):
        for query in (
            "fields=name,x",
            "fields=",
            "fields=home.pin",
            "expand=name",
            "expand=lost",
            "expand=x",
        ):
            refused(quick.get(f"{path}?{query}"))


def test_what_a_document_does_not_take_is_400(quick, team):
    for query in ("sort=name", "page=1", "fields=name&fields=name", "name=T"):
        refused(quick.get(f"{TEAM}/{team.id}?{query}"))
        refused(quick.get(f"{TEAM}/{team.id}/home?{query}"))


def test_writes_take_no_shape(quick, team):
    verbs = [("POST", TEAM), *((verb, f"{TEAM}/{team.id}") for verb in ("PUT", "PATCH", "DELETE"))]
    for verb, path in verbs:
        for query in ("fields=name", "expand=owner"):
            refused(quick.request(verb, f"{path}?{query}", json={"name": "other"}))
    assert [team.name for team in ShapeTeam.objects] == ["T"]


# Expand


def test_every_kind_of_reference_is_expanded(api):
    ann = person("Ann")
    task = ShapeTask(title="t", doer=ann, watchers=[ann, ann])
    team = ShapeTeam(
        owner=ann, lazy=ann, old=ann, members=[ann, ann], home=ShapeHome(host=ann), tasks=[task, ShapeTask()],
        thing=ann, things=[ann], groups={"x": [ann]}, desks={"y": task},
    ).save()  # fmt: skip
    whole = got(api, f"/shape_person/{ann.id}")
    for name, find in {
        "owner": lambda json: json["owner"],
        "lazy": lambda json: json["lazy"],
        "old": lambda json: json["old"],
        "members": lambda json: json["members"][1],
        "home.host": lambda json: json["home"]["host"],
        "tasks.doer": lambda json: json["tasks"][0]["doer"],
        "tasks.watchers": lambda json: json["tasks"][0]["watchers"][1],
        "groups.x": lambda json: json["groups"]["x"][0],
    }.items():
        assert find(one(api, team, f"expand={name}")) == whole, name
    things = one(api, team, "expand=thing,things")
    assert things["thing"] == things["things"][0] == {"_cls": "ShapePerson"} | whole
    assert one(api, team, "expand=home") == one(api, team, "expand=tasks") == one(api, team, "")


def test_a_map_of_references_is_expanded_whole(api):
    team = ShapeTeam(roles={"x": person("Ann"), "y": person("Bob")}).save()
    task = ShapeTask(doer=person("Cyd"))
    team.update(desks={"y": task, "z": task})
    desks = one(api, team, "expand=desks.y.doer")["desks"]
    assert (desks["y"]["doer"]["name"], desks["z"]["doer"]) == ("Cyd", str(task._data["doer"].id))
    roles = one(api, team, "expand=roles")["roles"]
    assert [roles[key]["name"] for key in "xy"] == ["Ann", "Bob"]


def test_one_key_of_a_map_of_references_is_expanded(api):
    ann, city = person("Ann"), ShapeCity(name="Oslo").save()
    bob = person("Bob", friend=ann, city=city)
    team = ShapeTeam(roles={"x": bob, "friend": bob}).save()
    shown = one(api, team, "expand=roles.friend.city")["roles"]
    assert shown["x"] == str(bob.id)
    assert (shown["friend"]["friend"], shown["friend"]["city"]["name"]) == (str(ann.id), "Oslo")
    assert one(api, team, "fields=roles.x.name&expand=roles.x") == {"roles": {"x": {"name": "Bob"}}}


def test_null_and_empty_references_stay(api):
    team = ShapeTeam().save()
    ShapeTeam._get_collection().update_one(
        {"_id": team.id}, {"$set": {"members": [None], "roles": {"x": None}}}
    )
    names = "owner,members,home.host,tasks.doer,thing,things,roles.x,base,lazy"
    shown = one(api, team, f"expand={names}")
    assert (shown["owner"], shown["members"], shown["things"], shown["roles"]) == (
        None,
        [None],
        [],
        {"x": None},
    )


def test_dangling_references_stay_ids(api):
    ann, gone = person("Ann"), ObjectId(MISSING)
    thing = {"_cls": "ShapePerson", "_ref": DBRef("shape_person", gone)}
    team = ShapeTeam(members=[ann]).save()
    dangling = {
        "o": gone,
        "members": [gone, ann.id, gone],
        "home": {"host": gone},
        "thing": thing,
        "things": [thing],
    }
    ShapeTeam._get_collection().update_one({"_id": team.id}, {"$set": dangling})
    shown = one(api, team, "expand=owner.friend,members,home.host,thing,things")
    assert shown["owner"] == shown["home"]["host"] == shown["members"][0] == shown["members"][2] == MISSING
    assert shown["members"][1]["name"] == "Ann"
    assert shown["thing"] == {"_cls": "ShapePerson", "id": MISSING} == shown["things"][0]


def test_a_generic_reference_to_a_class_that_is_no_more_stays(api):
    team = ShapeTeam(name="T").save()
    thing = {"_cls": "ShapeForgotten", "_ref": DBRef("forgotten", ObjectId(MISSING))}
    ShapeTeam._get_collection().update_one({"_id": team.id}, {"$set": {"thing": thing}})
    assert one(api, team, "expand=thing")["thing"] == {"_cls": "ShapeForgotten", "id": MISSING}


def test_a_generic_reference_to_a_class_without_routes_stays(api):
    lost = ShapeLost(name="x").save()
    team = ShapeTeam(thing=lost, things=[lost, person("Ann")]).save()
    shown = one(api, team, "expand=thing,things")
    assert shown["thing"] == {"_cls": "ShapeLost", "id": str(lost.id)} == shown["things"][0]
    assert shown["things"][1]["name"] == "Ann"


def test_a_reference_to_a_base_class_gives_the_class_that_is_stored(api):
    left = ShapeLeft(name="l", mark="x", person=person("Ann")).save()
    team = ShapeTeam(base=left, thing=left).save()
    shown = one(api, team, "expand=base.person,thing")
    assert shown["base"] | {"person": str(left._data["person"].id)} == got(api, f"/shape_base/{left.id}")
    assert shown["base"]["person"]["name"] == "Ann"
    assert shown["thing"]["_cls"] == "ShapeBase.ShapeLeft"
    assert one(api, team, "expand=base&fields=base._cls,base.mark")["base"] == {
        "_cls": "ShapeBase.ShapeLeft",
        "mark": "x",
    }


def test_references_that_loop_are_followed_three_times(api):
    ann = person("Ann")
    ann.update(friend=ann, friends=[ann, ann])
    team = ShapeTeam(owner=ann).save()
    shown = one(api, team, "expand=owner.friend.friend")["owner"]
    assert shown["friend"]["friend"]["friend"] == str(ann.id)
    assert shown["friend"]["friend"]["name"] == "Ann"
    [shown] = got(api, "/shape_person?expand=friends.friends.friends")
    assert shown["friends"][1]["friends"][0]["friends"][1]["friends"] == [str(ann.id)] * 2
    assert shown["friend"] == str(ann.id)


def test_the_same_target_is_in_the_shape_of_each_place(api):
    oslo = ShapeCity(name="Oslo").save()
    ann = person("Ann", city=oslo)
    team = ShapeTeam(owner=ann, lazy=ann, members=[ann]).save()
    shown = one(api, team, "expand=owner.city,members&fields=owner.city.name,members.city,lazy")
    assert shown == {
        "owner": {"city": {"name": "Oslo"}}, "members": [{"city": str(oslo.id)}], "lazy": str(ann.id)
    }  # fmt: skip


def test_fields_into_what_is_expanded(api):
    team = ShapeTeam(name="T", owner=person("Ann", mail="a@x", home=ShapeHome(street="s"))).save()
    assert one(api, team, "fields=name,owner.name&expand=owner") == {"name": "T", "owner": {"name": "Ann"}}
    assert one(api, team, "fields=owner.home.street&expand=owner") == {"owner": {"home": {"street": "s"}}}
    assert one(api, team, "fields=name&expand=owner") == {"name": "T"}
    assert list(one(api, team, "fields=owner&expand=owner")) == ["owner"]
    for fields in ("owner.x", "owner.n", "owner.home.pin", "owner.friend.name", "owner.", "members.name"):
        refused(api.get(f"{TEAM}?fields={fields}&expand=owner"))


def test_fields_into_what_cannot_be_read_leaves_the_id(api):
    team = ShapeTeam().save()
    ShapeTeam._get_collection().update_one({"_id": team.id}, {"$set": {"o": ObjectId(MISSING)}})
    assert one(api, team, "fields=owner.name&expand=owner") == {"owner": MISSING}


# With how many queries


def population(number):
    """As many teams, each with people of its own, who live in cities of their own."""
    cities = ShapeCity.objects.insert([ShapeCity(name=f"c{n}") for n in range(number)])
    people = [ShapePerson(name=f"p{n}", city=cities[n], friend=ObjectId()) for n in range(number)]
    people = ShapePerson.objects.insert(people)
    ShapeTeam.objects.insert(
        [
            ShapeTeam(
                name=f"t{n}", owner=people[n], members=people[n : n + 3], home=ShapeHome(host=people[-n]),
                tasks=[ShapeTask(doer=people[-n])], thing=cities[n], things=[people[n], cities[n]],
            )
            for n in range(number)
        ]
    )  # fmt: skip


QUERIES = {
    "": {},
    "owner": {"shape_person": 1},
    "owner,members,home.host,tasks.doer": {"shape_person": 1},
    "owner.city": {"shape_person": 1, "shape_city": 1},
    "owner.city,members.city,members.friend,thing": {"shape_person": 2, "shape_city": 2},
    "members.friend.friend": {"shape_person": 2},
    "thing,things": {"shape_person": 1, "shape_city": 1},
}


def test_a_list_needs_one_query_for_each_level_and_model(watch):
    population(12)
    with serve(routes()) as api:
        got(api, f"{TEAM}?expand=owner.city")  # which makes the collections known
        for size in (1, 12):
            for expand, queries in QUERIES.items():
                query = f"&expand={expand}" if expand else ""
                watch.asked.clear()
                assert len(got(api, f"{TEAM}?per_page={size}{query}")) == size
                expected = {("find", name): times for name, times in {"shape_team": 1, **queries}.items()}
                assert Counter(watch.asked) == expected, (size, expand)


def test_a_document_and_its_nested_lists_need_no_more_queries(watch):
    population(5)
    team = ShapeTeam.objects.order_by("name").first()
    with serve(routes()) as api:
        for path, expand, expected in (
            ("", "members.city", {"shape_team": 1, "shape_person": 1, "shape_city": 1}),
            ("/tasks", "doer.city", {"shape_team": 1, "shape_person": 1, "shape_city": 1}),
            ("/members", "city", {"shape_team": 1, "shape_person": 2, "shape_city": 1}),
            ("/members", "city&sort=name", {"shape_team": 1, "shape_person": 1, "shape_city": 1}),
            ("/owner", "city", {"shape_team": 1, "shape_person": 1, "shape_city": 1}),
        ):
            watch.asked.clear()
            got(api, f"{TEAM}/{team.id}{path}?expand={expand}")
            assert Counter(watch.asked) == Counter({("find", name): n for name, n in expected.items()}), path


def test_what_fields_leaves_out_of_a_list_is_not_asked_for(watch):
    population(3)
    with serve(routes()) as api:
        watch.asked.clear()
        assert got(api, f"{TEAM}?fields=name&expand=owner.city")[0] == {"name": "t0"}
        assert watch.asked == [("find", "shape_team")]


# Bombs


def crowd(number):
    """People each of whom is the friend of all."""
    ids = [ObjectId() for _ in range(number)]
    ShapePerson._get_collection().insert_many([{"_id": one, "n": "x", "friends": ids} for one in ids])
    return ids


def test_a_hundred_references_to_depth_3_are_400(mongodb_database):
    crowd(100)
    with serving() as api:
        for query in ("expand=friends.friends.friends&per_page=1", "expand=friends.friends&per_page=2"):
            assert "10000" in refused(api.get(f"/shape_person?{query}"))


@pytest.mark.parametrize(("number", "status"), [(21, 200), (22, 400)])
def test_the_objects_of_an_answer_are_counted_as_often_as_they_are_in_it(mongodb_database, number, status):
    """21 + 21² + 21³ are 9,723; of 22 there are 11,154."""
    first, *_ = crowd(number)
    with serving() as api:
        path = f"/shape_person/{first}?expand=friends.friends.friends&fields=friends.friends.friends.name"
        assert api.get(path).status == status


@pytest.mark.parametrize(("most", "status"), [(100, 200), (99, 400)])
def test_as_many_objects_as_there_may_be_are_served(mongodb_database, monkeypatch, most, status):
    monkeypatch.setattr(expansion, "MOST_EXPANDED", most)
    crowd(10)
    with serving() as api:
        assert api.get("/shape_person?expand=friends&fields=friends.name").status == status


def test_expand_does_not_make_an_answer_of_any_size(quick):
    large = person("x" * 100_000)
    ann = person("Ann", friends=[large] * 1500)
    assert "'expand'" in refused(quick.get(f"/shape_person/{ann.id}?expand=friends"))


# The options of the target


def test_what_is_hidden_or_write_only_in_the_target_stays_so(mongomock_database):
    ann = person("Ann", mail="a@x", note="n", home=ShapeHome(street="s", pin="1"))
    ann.update(friend=ann)
    team = ShapeTeam(owner=ann, members=[ann], thing=ann).save()
    with serving(hidden=["mail", "home.pin"], write_only=["note"]) as api:
        shown = one(api, team, "expand=owner.friend,members,thing")
        for json in (shown["owner"], shown["owner"]["friend"], shown["members"][0], shown["thing"]):
            assert not {"mail", "note"} & json.keys()
            assert "pin" not in json["home"]
        for fields in ("owner.mail", "owner.note", "owner.home.pin"):
            refused(api.get(f"{TEAM}?expand=owner&fields={fields}"))
        assert one(api, team, "expand=thing&fields=thing.mail,thing.name") == {"thing": {"name": "Ann"}}
    with serving(hidden=["friend", "home.pin"]) as api:
        refused(api.get(f"{TEAM}?expand=owner.friend"))


async def hidden_for_most(handler):
    return ["home.pin"] if handler.request.headers.get("X-Who") == "boss" else ["home.pin", "mail", "friend"]


def test_what_a_function_hides_in_the_target_depends_on_who_asks(mongomock_database):
    ann = person("Ann", mail="a@x")
    ann.update(friend=ann)
    team = ShapeTeam(owner=ann).save()
    with serving(hidden=hidden_for_most) as api:
        assert "mail" not in one(api, team, "expand=owner")["owner"]
        refused(api.get(f"{TEAM}?expand=owner.friend"))
        refused(api.get(f"{TEAM}?expand=owner&fields=owner.mail"))
        boss = {"headers": {"X-Who": "boss"}}
        assert one(api, team, "expand=owner.friend&fields=owner.mail,owner.friend.mail", **boss) == {
            "owner": {"mail": "a@x", "friend": {"mail": "a@x"}}
        }


def test_a_target_out_of_scope_stays_an_id(mongomock_database):
    ann, bob = person("Ann"), person("Bob")
    team = ShapeTeam(owner=bob, members=[bob, ann], things=[bob, ann]).save()
    with serving(scope=lambda queryset, handler: queryset.filter(name="Ann")) as api:
        shown = one(api, team, "expand=owner,members,things")
        assert (shown["owner"], shown["members"][0]) == (str(bob.id), str(bob.id))
        assert shown["things"][0] == {"_cls": "ShapePerson", "id": str(bob.id)}
        assert [shown["members"][1]["name"], shown["things"][1]["name"]] == ["Ann", "Ann"]


def test_targets_that_have_no_get_are_not_expanded(mongomock_database):
    ann = person("Ann")
    team = ShapeTeam(owner=ann, thing=ann).save()
    with serving(methods=["POST", "PUT"]) as api:
        refused(api.get(f"{TEAM}?expand=owner"))
        assert one(api, team, "expand=thing")["thing"] == {"_cls": "ShapePerson", "id": str(ann.id)}


def test_targets_at_several_addresses_of_which_one_is_limited_are_not_expanded(mongomock_database):
    team = ShapeTeam(owner=person("Ann")).save()
    other = ModelHive.routes_for(
        ShapePerson, prefix="/b", hidden=["home.pin"], scope=lambda queryset, _: queryset
    )
    third = ModelHive.routes_for(ShapePerson, prefix="/c", hidden=["home.pin"])
    team_routes = ModelHive.routes_for(ShapeTeam, hidden=["pin", "home.pin"])
    with serve(flatten([team_routes, other, third])) as api:
        refused(api.get(f"{TEAM}/{team.id}?expand=owner"))
        assert one(api, team, "")["owner"] == str(team._data["owner"].id)


def test_routes_with_the_same_prefix_are_those_of_the_target(mongomock_database):
    team = ShapeTeam(owner=person("Ann", mail="a@x")).save()
    made = [
        ModelHive.routes_for(ShapePerson, prefix=prefix, hidden=["home.pin", *hidden])
        for prefix, hidden in (("/a", []), ("/b", ["mail"]))
    ]
    teams = [
        ModelHive.routes_for(ShapeTeam, prefix=prefix, hidden=["pin", "home.pin"]) for prefix in ("/a", "/b")
    ]
    with serve(flatten([made, teams])) as api:
        assert got(api, f"/a{TEAM}/{team.id}?expand=owner")["owner"]["mail"] == "a@x"
        assert "mail" not in got(api, f"/b{TEAM}/{team.id}?expand=owner")["owner"]


def test_a_target_is_shown_by_its_own_to_dict(mongomock_database):
    friend = ShapeOwn(first="Bob", last="B").save()
    ada = ShapeOwn(first="Ada", last="King", friend=friend).save()
    team = ShapeTeam(own=ada).save()
    with serving() as api:
        shown = one(api, team, "expand=own.friend")["own"]
        assert (shown["last"], shown["friend"]["last"]) == ("Ada King", "Bob B")
        assert one(api, team, "expand=own&fields=own.last") == {"own": {"last": "Ada King"}}


def test_expand_shows_nothing_that_to_dict_leaves_out(quick):
    ann = person("Ann")
    letter = ShapeLetter(text="x", author=ann, readers=[ann]).save()
    for name in ("author", "readers"):
        for path in (f"/shape_letter/{letter.pk}", "/shape_letter"):
            assert b"Ann" not in quick.get(f"{path}?expand={name}").body


class Trusting(Provider):
    """Takes everybody for who they say they are, with roles: ``ann+admin``."""

    def user(self, text):
        name, *roles = text.split("+")
        return {"id": name, "roles": roles}

    async def authenticate(self, credentials, handler):
        return self.user(credentials["user"])

    async def bearer(self, token):
        return self.user(token), time.time() + 60


@contextmanager
def guarded(person, **options):
    made = Application(
        AuthHive.routes_for([Trusting()]) + routes(allow=person), default_handler_class=NotFoundHandler
    )
    AuthHive.configure(made, secret_key="k" * 32, write_rate=None, **options)
    with serve(made) as api:
        yield api


def as_(who):
    return {"headers": {"Authorization": f"Bearer {who}"}} if who else {}


@pytest.mark.parametrize("conceal", [concealed, lambda permission: permission], ids=["concealed", "allowed"])
def test_a_target_that_the_client_may_not_read_stays_an_id(mongomock_database, conceal):
    mine, other = person("A", mail="ann"), person("B", mail="bob")
    team = ShapeTeam(owner=other, members=[other, mine], things=[other], roles={"x": other}).save()
    with guarded({"get": conceal(owner("mail"))}, authenticated_get=False) as api:
        shown = one(api, team, "expand=owner,members,things,roles.x", **as_("ann"))
        assert (shown["owner"], shown["members"][0], shown["roles"]["x"]) == (str(other.id),) * 3
        assert shown["things"] == [{"_cls": "ShapePerson", "id": str(other.id)}]
        assert shown["members"][1]["name"] == "A"
        assert one(api, team, "expand=owner&fields=owner.name", **as_("bob"))["owner"] == {"name": "B"}
        assert one(api, team, "expand=owner,members")["members"] == [str(other.id), str(mine.id)]


@pytest.mark.parametrize(
    ("permission", "who"), [(role("admin"), "ann+admin"), (signed_in, "ann")], ids=["role", "signed in"]
)
def test_targets_for_some_clients_are_expanded_for_them(mongomock_database, permission, who):
    ann = person("Ann")
    team = ShapeTeam(owner=ann).save()
    with guarded({"get": permission}, authenticated_get=False) as api:
        assert one(api, team, "expand=owner")["owner"] == str(ann.id)
        assert one(api, team, "expand=owner", **as_(who))["owner"]["name"] == "Ann"


def test_targets_follow_what_the_application_protects(mongomock_database):
    ann = person("Ann")
    team = ShapeTeam(owner=ann).save()
    with guarded(None) as api:
        assert api.get(f"{TEAM}/{team.id}?expand=owner").status in (200, 401)
        assert one(api, team, "expand=owner", **as_("ann"))["owner"]["name"] == "Ann"
