"""hive.reading: what a request costs the database, and what its answer lets caches keep."""

import http.client
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, flatten, signals
from hive.testing import connected, serve
from tests.support.commands import Listener

PROBLEM = "application/problem+json"
CALLS = []


class ReadBoss(me.Document):
    name = me.StringField()


class ReadOwner(me.Document):
    name = me.StringField()
    boss = me.ReferenceField(ReadBoss)


class ReadPart(me.EmbeddedDocument):
    name = me.StringField()
    owner = me.ReferenceField(ReadOwner)


class ReadThing(me.Document):
    name = me.StringField()
    owner = me.ReferenceField(ReadOwner)
    other = me.ReferenceField(ReadOwner)
    friends = me.ListField(me.ReferenceField("self"))
    part = me.EmbeddedDocumentField(ReadPart)
    parts = me.EmbeddedDocumentListField(ReadPart)


class ReadCounted(me.Document):
    name = me.StringField()

    def to_dict(self):
        CALLS.append(self.name)
        return {"id": str(self.pk), "name": self.name}


class ReadSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


class ReadTagged(me.Document):
    tag = me.ReferenceField(ReadSlug)


def scope(queryset, handler):
    return queryset.filter(name__ne="nobody")


def for_ann(queryset, handler):
    return queryset if handler.request.headers.get("X-User") == "ann" else queryset.none()


MODELS = (ReadBoss, ReadOwner, ReadThing, ReadCounted, ReadSlug)
ROUTES = flatten(
    [
        [ModelHive.routes_for(model) for model in MODELS],
        ModelHive.routes_for(ReadThing, prefix="/scoped", scope=scope),
        ModelHive.routes_for(ReadTagged, prefix="/own"),
        ModelHive.routes_for(ReadSlug, prefix="/own", scope=for_ann),
        ModelHive.routes_for(ReadBoss, prefix="/cached", cache_control="public, max-age=60", stream=True),
    ]
)


class Commands(Listener):
    """What is sent to MongoDB."""

    def __init__(self):
        self.sent = []

    def started(self, event):
        self.sent.append((event.command_name, dict(event.command)))


@pytest.fixture
def quick(mongomock_database):
    CALLS.clear()
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def watched(mongodb_server):
    """A client, what its requests send to MongoDB, and the names of documents."""
    commands = Commands()
    with connected("reading", host=mongodb_server, event_listeners=[commands]) as database:
        with serve(ROUTES) as client:
            boss = client.post("/read_boss", json={"name": "B"}).json["id"]
            owner = client.post("/read_owner", json={"name": "O", "boss": boss}).json["id"]
            part = {"name": "p", "owner": owner}
            body = {"name": "a", "owner": owner, "other": owner, "part": part, "parts": [part, part]}
            thing = client.post("/read_thing", json=body).json["id"]
            friend = client.post("/read_thing", json=body | {"friends": [thing]}).json["id"]
            assert client.put(f"/read_thing/{thing}", json={"friends": [friend, thing]}).status == 200
            assert client.post("/read_slug", json={"slug": "s"}).status == 201
            assert client.get("/scoped/read_thing").status == 200
            yield client, commands, {"boss": boss, "owner": owner, "thing": thing, "friend": friend}
        database.client.drop_database(database.name)


READS = [
    ("/read_thing/{thing}", "find"),
    ("/read_thing", "find"),
    ("/read_thing?page=2", "find"),
    ("/read_thing?name=a&sort=-name&fields=name", "find"),
    ("/read_thing?count=exact", "aggregate find"),
    ("/read_thing?count=estimated", "count find"),
    ("/read_thing?count=estimated&name=a", "aggregate find"),
    ("/read_thing?owner={owner}", "find"),
    ("/scoped/read_thing", "find"),
    ("/scoped/read_thing/{thing}", "find"),
    ("/read_thing/65a000000000000000000001", "find"),
    ("/read_thing/nonsense", ""),
    ("/read_slug/s", "find"),
    ("/read_thing/{thing}/part", "find"),
    ("/read_thing/{thing}/parts", "find"),
    ("/read_thing/{thing}/parts/0", "find"),
    ("/read_thing/{thing}/owner", "find find"),
    ("/read_thing/{thing}/part/owner", "find find"),
    ("/read_thing/{thing}/owner/boss", "find find find"),
    ("/read_thing/{thing}/friends?sort=name", "find find"),
    ("/read_thing/{thing}/friends/{friend}", "find find"),
    ("/read_thing/{thing}?expand=owner", "find find"),
    ("/read_thing?expand=owner", "find find"),
    ("/read_thing?expand=owner,other,part.owner,parts.owner", "find find"),
    ("/read_thing?expand=owner.boss", "find find find"),
    ("/read_thing?expand=owner,friends", "find find find"),
    ("/read_thing?expand=friends.friends.friends", "find find find find"),
    ("/read_thing?expand=owner.boss,other.boss,part.owner.boss", "find find find"),
    ("/cached/read_boss?per_page=all", "find"),
    ("/read_thing?name__near=1", ""),
    ("/read_thing?nothing=1", ""),
]


def cost(watched, method, path, body=None):
    client, commands, ids = watched
    commands.sent.clear()
    body = {name: value.format(**ids) for name, value in body.items()} if body else None
    reply = client.request(method, path.format(**ids), json=body)
    return reply, " ".join(sorted(name for name, _ in commands.sent))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "expected"), READS)
def test_reading_costs_these_commands_and_no_more(watched, method, path, expected):
    reply, sent = cost(watched, method, path)
    assert reply.status < 500
    if method == "HEAD" and ("expand" in path or "per_page=all" in path):
        assert sent in ("", "find")  # what is in the body only is not looked for
    else:
        assert sent == expected, reply.body
    assert all(command["maxTimeMS"] > 0 for _, command in watched[1].sent)


def test_a_list_of_references_in_its_own_order_costs_its_holder_its_members_and_its_page(watched):
    reply, sent = cost(watched, "GET", "/read_thing/{thing}/friends")
    assert len(reply.json) == 2
    assert sent == "find find find"


WRITES = [
    ("POST", "/read_thing", {"name": "new"}, "insert"),
    ("POST", "/read_thing", {"name": "new", "owner": "{owner}"}, "find insert"),
    ("PUT", "/read_thing/{thing}", {"name": "b"}, "find update"),
    ("PATCH", "/read_thing/{thing}", {"name": "c"}, "find update"),
    ("PUT", "/read_thing/{thing}/part", {"name": "b"}, "find update"),
    # mongoengine looks for what documents in a list refer to when it is set
    ("POST", "/read_thing/{thing}/parts", {"name": "b"}, "find find update"),
    ("DELETE", "/read_thing/{thing}/parts/1", None, "find find update"),
    ("POST", "/read_boss/{boss}", {"name": "b"}, ""),
    ("POST", "/read_boss", {"nme": "x"}, ""),
    ("PUT", "/read_thing/{thing}", {"nme": "x"}, "find"),
    ("OPTIONS", "/read_thing/{thing}", None, ""),
]


@pytest.mark.parametrize(("method", "path", "body", "expected"), WRITES)
def test_writing_costs_these_commands_and_no_more(watched, method, path, body, expected):
    reply, sent = cost(watched, method, path, body)
    assert reply.status < 500
    assert sent == expected, reply.body
    assert all(command["maxTimeMS"] > 0 for _, command in watched[1].sent)


def test_a_deletion_costs_a_look_and_a_deletion_at_most(watched):
    watched[2]["gone"] = watched[0].post("/read_boss", json={"name": "gone"}).json["id"]
    reply, sent = cost(watched, "DELETE", "/read_boss/{gone}")
    assert reply.status == 204
    assert sent in ("delete", "delete find")
    assert all(command["maxTimeMS"] > 0 for _, command in watched[1].sent)


def test_a_whole_list_costs_a_query_and_what_follows_it(watched):
    reply, sent = cost(watched, "GET", "/cached/read_boss?per_page=all")
    assert reply.status == 200
    assert sent == "find"
    assert watched[1].sent[0][1]["maxTimeMS"] > 0


# Caching


def put_some(count=3, size=10):
    for index in range(count):
        ReadBoss(name=f"{index}" * size).save()


TAGGED = ["/read_boss", "/read_boss/{pk}", "/read_boss?fields=name", "/cached/read_boss"]


@pytest.mark.parametrize("pattern", TAGGED)
def test_what_a_client_has_is_not_sent_again(quick, pattern):
    put_some()
    path = pattern.format(pk=ReadBoss.objects.first().pk)
    tag = quick.get(path).headers["Etag"]
    assert re.fullmatch(r'"(list|[0-9a-f]{32})-[0-9a-f]{16}"', tag)
    assert tag.startswith('"list-') is ("{pk}" not in pattern)
    for known in (tag, f"W/{tag}", f'"x", {tag}', f'W/"y",W/{tag}', "*", f'"a,b", {tag}'):
        reply = quick.get(path, headers={"If-None-Match": known})
        assert (reply.status, reply.body) == (304, b""), known
        assert reply.headers["Etag"] == tag
        assert "Content-Type" not in reply.headers
        assert "Content-Encoding" not in reply.headers
    for unknown in ('"x"', tag.strip('"'), tag[:-2] + '"', "", "garbage", f"{tag[1:-1]}*"[:5]):
        reply = quick.get(path, headers={"If-None-Match": unknown})
        assert reply.status == 200, unknown
        assert reply.body


@pytest.mark.parametrize("path", TAGGED)
def test_what_changed_is_sent_again(quick, path):
    put_some()
    first = ReadBoss.objects.first()
    path = path.format(pk=first.pk)
    tag = quick.get(path).headers["Etag"]
    assert quick.put(f"/read_boss/{first.pk}", json={"name": "changed"}).status == 200
    reply = quick.get(path, headers={"If-None-Match": tag})
    assert reply.status == 200
    assert reply.headers["Etag"] != tag


def test_not_modified_has_the_headers_that_caches_update(quick):
    put_some()
    whole = quick.get("/cached/read_boss")
    kept = quick.get("/cached/read_boss", headers={"If-None-Match": whole.headers["Etag"]})
    assert kept.status == 304
    for name in ("Cache-Control", "Vary", "Etag", "Link"):
        assert kept.headers[name] == whole.headers[name]


def varies(reply):
    return {name.strip() for name in reply.headers.get("Vary", "").split(",")} - {""}


def test_an_answer_varies_by_what_it_depends_on(quick):
    put_some()
    assert varies(quick.get("/read_boss")) == {"Accept-Encoding", "Prefer"}
    assert varies(quick.get(f"/read_boss/{ReadBoss.objects.first().pk}")) == {"Accept-Encoding"}
    assert varies(quick.request("HEAD", "/read_boss")) == {"Accept-Encoding", "Prefer"}


def test_cache_control_is_that_of_the_routes(quick):
    put_some()
    pk = ReadBoss.objects.first().pk
    for path in ("/cached/read_boss", f"/cached/read_boss/{pk}", "/cached/read_boss?per_page=all"):
        for method in ("GET", "HEAD"):
            assert quick.request(method, path).headers["Cache-Control"] == "public, max-age=60"
    assert "Cache-Control" not in quick.get("/read_boss").headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/cached/read_boss/65a000000000000000000001", 404),
        ("HEAD", "/cached/read_boss/65a000000000000000000001", 404),
        ("GET", "/cached/read_boss?nothing=1", 400),
        ("GET", "/cached/read_boss?per_page=all&sort=nothing", 400),
        ("PUT", "/cached/read_boss", 405),
        ("POST", "/cached/read_boss", 415),
        ("POST", "/cached/read_boss?x=1", 400),
    ],
)
def test_no_error_is_cached(quick, method, path, status):
    reply = quick.request(method, path)
    assert reply.status == status
    assert "public" not in reply.headers.get("Cache-Control", "")
    assert "Etag" not in reply.headers


def test_no_write_is_cached(quick):
    created = quick.post("/cached/read_boss", json={"name": "a"})
    assert created.status == 201
    path = f"/cached/read_boss/{created.json['id']}"
    changed = quick.put(path, json={"name": "b"})
    patched = quick.patch(path, json={"name": "c"})
    for reply in (created, changed, patched, quick.delete(path)):
        assert "Cache-Control" not in reply.headers


def test_the_answer_to_a_write_has_the_tag_that_a_get_has(quick):
    created = quick.post("/read_boss", json={"name": "a"})
    path = f"/read_boss/{created.json['id']}"
    tags = [created.headers["Etag"]]
    assert quick.get(path).headers["Etag"] == tags[-1]
    for verb in ("PUT", "PATCH"):
        reply = quick.request(verb, path, json={"name": verb}, headers={"If-Match": tags[-1]})
        assert reply.status == 200
        tags.append(reply.headers["Etag"])
        assert quick.get(path, headers={"If-None-Match": tags[-1]}).status == 304
    assert len(set(tags)) == 3
    assert "Etag" not in quick.delete(path).headers


@pytest.mark.parametrize("verb", ["PUT", "PATCH", "DELETE"])
def test_a_write_that_is_for_no_such_state_is_412(quick, verb):
    boss = ReadBoss(name="a").save()
    path, body = f"/read_boss/{boss.pk}", None if verb == "DELETE" else {"name": "b"}
    tag = quick.get(path).headers["Etag"]
    for condition in (
        {"If-None-Match": tag}, {"If-None-Match": "*"}, {"If-None-Match": f'"x", W/{tag}'},
        {"If-Match": '"x"'}, {"If-Match": f"W/{tag}"}, {"If-Match": tag, "If-None-Match": tag},
    ):  # fmt: skip
        reply = quick.request(verb, path, json=body, headers=condition)
        assert (reply.status, reply.headers["Content-Type"]) == (412, PROBLEM), condition
        assert "Etag" not in reply.headers
        assert ReadBoss.objects.get().name == "a"
    good = {"If-Match": f'"x", {tag}', "If-None-Match": '"y"'}
    assert quick.request(verb, path, json=body, headers=good).status == (204 if verb == "DELETE" else 200)


def test_a_bug_while_an_answer_is_made_is_not_cached(mongomock_database, caplog):
    class ReadBroken(me.Document):
        def to_dict(self):
            raise ValueError("mine")

    ReadBroken().save()
    with serve(ModelHive.routes_for(ReadBroken, cache_control="public")) as client:
        reply = client.get("/read_broken")
    assert (reply.status, reply.headers["Content-Type"]) == (500, PROBLEM)
    assert "Cache-Control" not in reply.headers
    assert "Link" not in reply.headers


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\0", "\u20ac"])
def test_a_cache_control_that_is_no_header_is_refused(value):
    with pytest.raises(ValueError, match="cache_control"):
        ModelHive.routes_for(ReadBoss, cache_control=value)


@pytest.fixture
def private(mongomock_database):
    application = Application(
        flatten(
            [
                ModelHive.routes_for(ReadBoss),
                ModelHive.routes_for(ReadBoss, prefix="/own", cache_control="max-age=5"),
            ]
        )
    )
    AuthHive.configure(application, secret_key="s" * 40, authenticated_get=False)
    with serve(application) as client:
        yield client


def test_with_sign_in_answers_are_private_unless_the_routes_say_otherwise(private):
    put_some()
    reply = private.get("/read_boss")
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert varies(reply) == {"Accept-Encoding", "Prefer", "Authorization", "Cookie"}
    assert private.get("/own/read_boss").headers["Cache-Control"] == "max-age=5"
    assert private.get("/own/read_boss/nobody").headers["Cache-Control"] == "private, no-cache"
    kept = private.get("/read_boss", headers={"If-None-Match": reply.headers["Etag"]})
    assert (kept.status, kept.headers["Cache-Control"]) == (304, "private, no-cache")


# HEAD


def test_head_makes_no_json(quick):
    document = ReadCounted(name="a").save()
    for path in ("/read_counted", f"/read_counted/{document.pk}"):
        whole = quick.get(path)
        CALLS.clear()
        head = quick.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert CALLS == []
        assert "Content-Length" not in head.headers
        assert "Etag" not in head.headers
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert head.headers["Vary"] == whole.headers["Vary"]
        assert head.headers.get("Link") == whole.headers.get("Link")


def test_not_modified_is_decided_by_what_is_made(quick):
    ReadCounted(name="a").save()
    tag = quick.get("/read_counted").headers["Etag"]
    assert quick.get("/read_counted", headers={"If-None-Match": tag}).status == 304
    assert quick.request("HEAD", "/read_counted", headers={"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("compress", [False, True])
def test_a_connection_serves_on_after_head(mongomock_database, compress):
    put_some()
    with (
        serve(ROUTES, compress_response=compress) as client,
        closing(http.client.HTTPConnection("127.0.0.1", client.port, timeout=10)) as connection,
    ):
        for method in ("HEAD", "GET", "HEAD", "HEAD", "GET"):
            connection.request(method, "/read_boss", headers={"Accept-Encoding": "gzip"})
            response = connection.getresponse()
            assert response.status == 200
            assert bool(response.read()) is (method == "GET")


def test_head_is_heard_of_as_get_is(quick):
    put_some()
    heard = []

    def note(sender, items):
        heard.append(len(items))

    with signals.post_get_list.connected_to(note, sender=ReadBoss):
        assert quick.request("HEAD", "/read_boss").status == 200
    assert heard == [3]


# Together


class Gate(Commands):
    """Holds the first query back until it is opened."""

    def __init__(self):
        super().__init__()
        self.opened, self.reached, self.armed = threading.Event(), threading.Event(), False

    def started(self, event):
        if self.armed and event.command_name == "find":
            self.armed = False
            self.reached.set()
            self.opened.wait(3)


@pytest.fixture
def gate(mongodb_server, monkeypatch):
    """One query is under way at once, and the first one waits."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    gate = Gate()
    with connected("reading", host=mongodb_server, event_listeners=[gate]) as database:
        tag = ReadSlug(slug="s").save()
        ReadTagged(tag=tag).save()
        with serve(ROUTES) as client:
            gate.client = client
            yield gate
        database.client.drop_database(database.name)


def answers_together(gate, path, users):
    """The answers to users who ask for the same at once, while another one is served."""
    with ThreadPoolExecutor(len(users) + 1) as threads:
        gate.armed = True
        threads.submit(gate.client.get, path, headers={"X-User": users[0]})
        assert gate.reached.wait(5)
        replies = []
        for user in users:
            replies.append(threads.submit(gate.client.get, path, headers={"X-User": user}))
            time.sleep(0.05)  # so that they come in this order
        gate.opened.set()
        return [reply.result().json for reply in replies]


def test_who_asks_at_once_with_another_does_not_find_what_is_only_for_him(gate):
    path = "/own/read_tagged?tag=s"
    assert len(gate.client.get(path, headers={"X-User": "ann"}).json) == 1
    assert gate.client.get(path, headers={"X-User": "bob"}).json == []
    ann, bob = answers_together(gate, path, ["ann", "bob"])
    assert len(ann) == 1
    assert bob == []


def test_who_asks_at_once_with_another_does_not_see_what_is_only_for_him(gate):
    path = "/own/read_tagged?exp%61nd=tag"
    [ann], [bob] = answers_together(gate, path, ["ann", "bob"])
    assert ann["tag"]["slug"] == "s"
    assert isinstance(bob["tag"], str)
