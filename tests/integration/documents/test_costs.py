"""A request costs MongoDB these commands and no more, each of which has a limit of time."""

import uuid

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import connected, serve
from tests.support.commands import Listener


class CostBoss(me.Document):
    name = me.StringField()


class CostOwner(me.Document):
    name = me.StringField()
    boss = me.ReferenceField(CostBoss)


class CostPart(me.EmbeddedDocument):
    name = me.StringField()
    owner = me.ReferenceField(CostOwner)


class CostThing(me.Document):
    name = me.StringField()
    owner = me.ReferenceField(CostOwner)
    other = me.ReferenceField(CostOwner)
    friends = me.ListField(me.ReferenceField("self"))
    part = me.EmbeddedDocumentField(CostPart)
    parts = me.EmbeddedDocumentListField(CostPart)


class CostSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


def scope(queryset, handler):
    return queryset.filter(name__ne="nobody")


ROUTES = flatten(
    [
        [ModelHive.routes_for(model) for model in (CostBoss, CostOwner, CostThing, CostSlug)],
        ModelHive.routes_for(CostThing, prefix="/scoped", scope=scope),
        ModelHive.routes_for(CostBoss, prefix="/whole", stream=True),
    ]
)


class Commands(Listener):
    """What is sent to MongoDB."""

    def __init__(self):
        self.sent = []

    def started(self, event):
        self.sent.append((event.command_name, dict(event.command)))


@pytest.fixture
def watched(mongodb_server):
    """A client, what its requests send to MongoDB, and the names of documents."""
    commands, name = Commands(), f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=[commands]) as database:
        with serve(ROUTES) as client:
            boss = client.post("/cost_boss", json={"name": "B"}).json["id"]
            owner = client.post("/cost_owner", json={"name": "O", "boss": boss}).json["id"]
            part = {"name": "p", "owner": owner}
            body = {"name": "a", "owner": owner, "other": owner, "part": part, "parts": [part, part]}
            thing = client.post("/cost_thing", json=body).json["id"]
            friend = client.post("/cost_thing", json=body | {"friends": [thing]}).json["id"]
            assert client.put(f"/cost_thing/{thing}", json={"friends": [friend, thing]}).status == 200
            assert client.post("/cost_slug", json={"slug": "s"}).status == 201
            assert client.get("/scoped/cost_thing").status == 200
            yield client, commands, {"boss": boss, "owner": owner, "thing": thing, "friend": friend}
        database.client.drop_database(name)


READS = [
    ("/cost_thing/{thing}", "find"),
    ("/cost_thing", "find"),
    ("/cost_thing?page=2", "find"),
    ("/cost_thing?name=a&sort=-name&fields=name", "find"),
    ("/cost_thing?count=exact", "aggregate find"),
    ("/cost_thing?count=estimated", "count find"),
    ("/cost_thing?count=estimated&name=a", "aggregate find"),
    ("/cost_thing?owner={owner}", "find"),
    ("/scoped/cost_thing", "find"),
    ("/scoped/cost_thing/{thing}", "find"),
    ("/cost_thing/65a000000000000000000001", "find"),
    ("/cost_thing/nonsense", ""),
    ("/cost_slug/s", "find"),
    ("/cost_thing/{thing}/part", "find"),
    ("/cost_thing/{thing}/parts", "find"),
    ("/cost_thing/{thing}/parts/0", "find"),
    ("/cost_thing/{thing}/owner", "find find"),
    ("/cost_thing/{thing}/part/owner", "find find"),
    ("/cost_thing/{thing}/owner/boss", "find find find"),
    ("/cost_thing/{thing}/friends?sort=name", "find find"),
    ("/cost_thing/{thing}/friends/{friend}", "find find"),
    ("/cost_thing/{thing}?expand=owner", "find find"),
    ("/cost_thing?expand=owner", "find find"),
    ("/cost_thing?expand=owner,other,part.owner,parts.owner", "find find"),
    ("/cost_thing?expand=owner.boss", "find find find"),
    ("/cost_thing?expand=owner,friends", "find find find"),
    ("/cost_thing?expand=friends.friends.friends", "find find find find"),
    ("/cost_thing?expand=owner.boss,other.boss,part.owner.boss", "find find find"),
    ("/whole/cost_boss?per_page=all", "find"),
    ("/cost_thing?name__near=1", ""),
    ("/cost_thing?nothing=1", ""),
]


def cost(watched, method, path, body=None):
    client, commands, ids = watched
    commands.sent.clear()
    body = {name: value.format(**ids) for name, value in body.items()} if body else None
    reply = client.request(method, path.format(**ids), json=body)
    assert reply.status < 500
    assert all(command["maxTimeMS"] > 0 for _, command in commands.sent)
    return " ".join(sorted(name for name, _ in commands.sent))


def test_reading_costs_these_commands_and_no_more(watched):
    sent = [(path, cost(watched, "GET", path)) for path, _ in READS]
    assert sent == READS


def test_head_costs_no_more_than_get(watched):
    """What is in the body only is not looked for."""
    for path, expected in READS:
        is_less = "expand" in path or "per_page=all" in path
        assert cost(watched, "HEAD", path) in (("", "find") if is_less else (expected,)), path


def test_a_list_of_references_in_its_own_order_costs_its_holder_its_members_and_its_page(watched):
    assert cost(watched, "GET", "/cost_thing/{thing}/friends") == "find find find"


WRITES = [
    ("POST", "/cost_thing", {"name": "new"}, "insert"),
    ("POST", "/cost_thing", {"name": "new", "owner": "{owner}"}, "find insert"),
    ("PUT", "/cost_thing/{thing}", {"name": "b"}, "find update"),
    ("PATCH", "/cost_thing/{thing}", {"name": "c"}, "find update"),
    ("PUT", "/cost_thing/{thing}/part", {"name": "b"}, "find update"),
    # mongoengine looks for what documents in a list refer to when it is set
    ("POST", "/cost_thing/{thing}/parts", {"name": "b"}, "find find update"),
    ("DELETE", "/cost_thing/{thing}/parts/1", None, "find find update"),
    ("POST", "/cost_boss/{boss}", {"name": "b"}, ""),
    ("POST", "/cost_boss", {"nme": "x"}, ""),
    ("PUT", "/cost_thing/{thing}", {"nme": "x"}, "find"),
    ("OPTIONS", "/cost_thing/{thing}", None, ""),
]


def test_writing_costs_these_commands_and_no_more(watched):
    sent = [(verb, path, body, cost(watched, verb, path, body)) for verb, path, body, _ in WRITES]
    assert sent == WRITES


def test_a_deletion_costs_a_look_and_a_deletion_at_most(watched):
    client, _, ids = watched
    ids["gone"] = client.post("/cost_boss", json={"name": "gone"}).json["id"]
    assert cost(watched, "DELETE", "/cost_boss/{gone}") in ("delete", "delete find")
    assert client.get(f"/cost_boss/{ids['gone']}").status == 404
