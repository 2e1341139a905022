"""Only fields that there are can be chosen, and only references can be expanded."""

import mongoengine as me
import pytest

from hive import ModelHive
from hive.errors import BadRequest
from hive.shapes import Shape, chosen, expanded


class ProjectionCity(me.Document):
    name = me.StringField()


class ProjectionHome(me.EmbeddedDocument):
    street = me.StringField(db_field="s")
    pin = me.StringField()
    host = me.ReferenceField("ProjectionPerson")


class ProjectionPerson(me.Document):
    name = me.StringField(db_field="n")
    home = me.EmbeddedDocumentField(ProjectionHome, db_field="h")
    friend = me.ReferenceField("self")
    friends = me.ListField(me.ReferenceField("self"))
    city = me.ReferenceField(ProjectionCity)


class ProjectionLost(me.Document):
    name = me.StringField()


class ProjectionTeam(me.Document):
    name = me.StringField()
    count = me.IntField(default=3)
    pin = me.StringField()
    owner = me.ReferenceField(ProjectionPerson, db_field="o")
    members = me.ListField(me.ReferenceField(ProjectionPerson))
    roles = me.MapField(me.ReferenceField(ProjectionPerson))
    home = me.EmbeddedDocumentField(ProjectionHome)
    thing = me.GenericReferenceField()
    lost = me.ReferenceField(ProjectionLost)
    data = me.DictField()
    tags = me.ListField(me.StringField())


def resource_of(model, **options):
    """The options under which a model is served."""
    return ModelHive.routes_for(model, **options)[0].kwargs["resource"]


SERVED = {
    ProjectionTeam: resource_of(ProjectionTeam, hidden=["pin", "home.pin"]),
    ProjectionPerson: resource_of(ProjectionPerson, hidden=["home.pin"]),
    ProjectionCity: resource_of(ProjectionCity),
}
TEAM = SERVED[ProjectionTeam].serializer


def fields(text, expand=""):
    tree = expanded(expand.split(","), TEAM, SERVED.get) if expand else {}
    return chosen(text.split(","), TEAM, tree, SERVED.get)


# Fields


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("name", {"name": {}}),
        ("name,name", {"name": {}}),
        ("id", {"id": {}}),
        ("home.street,name", {"home": {"street": {}}, "name": {}}),
        ("data,data.a", {"data": {}}),
        ("data.b.c,data,data.a", {"data": {}}),
        ("data.b,data.b.c", {"data": {"b": {}}}),
        ("data.b.c,data.d", {"data": {"b": {"c": {}}, "d": {}}}),
    ],
)
def test_names_become_a_tree_where_an_object_is_whole_that_is_named(text, tree):
    assert fields(text) == tree


@pytest.mark.parametrize(
    ("tree", "shown"),
    [
        ({"id": {}}, {}),
        ({"name": {}}, {"name": "T"}),
        ({"data": {"a": {}}}, {"data": {"a": 1}}),
        ({"data": {"b": {"c": {}}}}, {"data": {"b": {"c": 2}}}),
        ({"data": {"nothing": {}}}, {"data": {}}),
        ({"data": {"a": {"deeper": {}}}}, {"data": {"a": 1}}),
        ({"tasks": {"title": {}}}, {"tasks": [{"title": "a"}, {"title": "b"}]}),
        ({"owner": {"name": {}}}, {"owner": None}),
    ],
)
def test_a_shape_leaves_out_what_it_does_not_name(tree, shown):
    tasks = [{"title": "a", "at": 1}, {"title": "b"}]
    json = {"name": "T", "data": {"a": 1, "b": {"c": 2, "d": 3}}, "tasks": tasks, "owner": None}
    assert Shape(tree).pick(json) == shown
    assert Shape().pick(json) == json


BAD_FIELDS = [
    *(
        "",
        ",",
        "name,",
        ",name",
        "x",
        "pin",
        "home.pin",
        "-name",
        " name",
        "name ",
        "_id",
        "o",
        "home.s",
        "home.",
    ),
    *(
        ".home",
        "home..street",
        "name.x",
        "_cls",
        "__class__",
        "__raw__",
        "$where",
        "home.$",
        "data.$where",
        "pk",
    ),
    *(
        "data._id",
        "data.",
        "owner.name",
        "owner.id",
        "members.name",
        "home.host.name",
        "save",
        "objects",
        "*",
    ),
    *(
        "\x00",
        "name\x00",
        "é",
        "a" * 5000,
        "a." * 2000,
        "name\\,count",
        "thing._cls",
        "data." + "a." * 30 + "b",
    ),
]
BAD_EXPAND = [
    *(
        "",
        ",",
        "owner,",
        "name",
        "pin",
        "home.pin",
        "home.street",
        "x",
        "o",
        "h",
        "-owner",
        " owner",
        "_id",
        "id",
    ),
    *(
        "_cls",
        "__class__",
        "__raw__",
        "$where",
        "owner.$where",
        "owner.",
        ".owner",
        "owner..friend",
        "owner.name",
    ),
    *(
        "owner.id",
        "data",
        "data.x",
        "tags",
        "thing.name",
        "lost",
        "owner.friend.friend.friend",
        "\x00",
        "é",
        "*",
    ),
    *(
        "members.friends.friends.friends",
        "home.host.friend.friend.friend",
        "a" * 5000,
        "a." * 2000,
        "roles.$x",
    ),
]


@pytest.mark.parametrize("text", BAD_FIELDS, ids=lambda text: repr(text[:30]))
def test_fields_that_there_are_not_are_refused(text):
    with pytest.raises(BadRequest) as caught:
        fields(text)
    assert len(caught.value.detail) < 1000


@pytest.mark.parametrize("text", ["owner.x", "owner.n", "owner.home.pin", "owner.friend.name", "owner."])
def test_fields_that_there_are_not_in_what_is_expanded_are_refused(text):
    assert fields("owner.name,owner.home.street", "owner")
    with pytest.raises(BadRequest):
        fields(text, "owner")


# Expand


REFERENCES = ["owner", "members", "roles.x", "home.host", "thing", "owner.friend.friend", "roles.x.city"]


@pytest.mark.parametrize("text", REFERENCES)
def test_references_are_expanded_up_to_three_one_after_another(text):
    assert expanded([text], TEAM, SERVED.get)


@pytest.mark.parametrize("text", BAD_EXPAND, ids=lambda text: repr(text[:30]))
def test_what_is_no_reference_or_too_deep_is_refused(text):
    with pytest.raises(BadRequest) as caught:
        expanded(text.split(","), TEAM, SERVED.get)
    assert len(caught.value.detail) < 1000


def test_a_hundred_names_are_not_too_many():
    with pytest.raises(BadRequest, match="'fields'"):
        fields(",".join(["name"] * 101))
    assert fields(",".join(["name"] * 100)) == {"name": {}}
    for names in (["owner"] * 10_000, ["a"] * 10_000, [""] * 10_001):
        with pytest.raises(BadRequest, match="more than 100 names"):
            expanded(names, TEAM, SERVED.get)
