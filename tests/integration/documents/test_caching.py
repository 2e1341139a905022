"""An answer says what caches may keep, and is not sent again to who has it; HEAD makes no JSON."""

import http.client
import re
from contextlib import closing

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, flatten, signals
from hive.testing import serve

PROBLEM = "application/problem+json"
CALLS = []


class CachedBoss(me.Document):
    name = me.StringField()


class CachedCounted(me.Document):
    name = me.StringField()

    def to_dict(self):
        CALLS.append(self.name)
        return {"id": str(self.pk), "name": self.name}


ROUTES = flatten(
    [
        [ModelHive.routes_for(model) for model in (CachedBoss, CachedCounted)],
        ModelHive.routes_for(CachedBoss, prefix="/cached", cache_control="public, max-age=60", stream=True),
    ]
)


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def quick(server, mongomock_database):
    CALLS.clear()
    return server


# Caching


def put_some(count=3, size=10):
    for index in range(count):
        CachedBoss(name=f"{index}" * size).save()


TAGGED = ["/cached_boss", "/cached_boss/{pk}", "/cached_boss?fields=name", "/cached/cached_boss"]


@pytest.mark.parametrize("pattern", TAGGED)
def test_what_a_client_has_is_not_sent_again(quick, pattern):
    put_some()
    path = pattern.format(pk=CachedBoss.objects.first().pk)
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
    first = CachedBoss.objects.first()
    path = path.format(pk=first.pk)
    tag = quick.get(path).headers["Etag"]
    assert quick.put(f"/cached_boss/{first.pk}", json={"name": "changed"}).status == 200
    reply = quick.get(path, headers={"If-None-Match": tag})
    assert reply.status == 200
    assert reply.headers["Etag"] != tag


def test_not_modified_has_the_headers_that_caches_update(quick):
    put_some()
    whole = quick.get("/cached/cached_boss")
    kept = quick.get("/cached/cached_boss", headers={"If-None-Match": whole.headers["Etag"]})
    assert kept.status == 304
    for name in ("Cache-Control", "Vary", "Etag", "Link"):
        assert kept.headers[name] == whole.headers[name]


def varies(reply):
    return {name.strip() for name in reply.headers.get("Vary", "").split(",")} - {""}


def test_an_answer_varies_by_what_it_depends_on(quick):
    put_some()
    assert varies(quick.get("/cached_boss")) == {"Accept-Encoding", "Prefer"}
    assert varies(quick.get(f"/cached_boss/{CachedBoss.objects.first().pk}")) == {"Accept-Encoding"}
    assert varies(quick.request("HEAD", "/cached_boss")) == {"Accept-Encoding", "Prefer"}


def test_cache_control_is_that_of_the_routes(quick):
    put_some()
    pk = CachedBoss.objects.first().pk
    for path in ("/cached/cached_boss", f"/cached/cached_boss/{pk}", "/cached/cached_boss?per_page=all"):
        for method in ("GET", "HEAD"):
            assert quick.request(method, path).headers["Cache-Control"] == "public, max-age=60"
    assert "Cache-Control" not in quick.get("/cached_boss").headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/cached/cached_boss/65a000000000000000000001", 404),
        ("HEAD", "/cached/cached_boss/65a000000000000000000001", 404),
        ("GET", "/cached/cached_boss?nothing=1", 400),
        ("GET", "/cached/cached_boss?per_page=all&sort=nothing", 400),
        ("PUT", "/cached/cached_boss", 405),
        ("POST", "/cached/cached_boss", 415),
        ("POST", "/cached/cached_boss?x=1", 400),
    ],
)
def test_no_error_is_cached(quick, method, path, status):
    reply = quick.request(method, path)
    assert reply.status == status
    assert "public" not in reply.headers.get("Cache-Control", "")
    assert "Etag" not in reply.headers


def test_no_write_is_cached(quick):
    created = quick.post("/cached/cached_boss", json={"name": "a"})
    assert created.status == 201
    path = f"/cached/cached_boss/{created.json['id']}"
    changed = quick.put(path, json={"name": "b"})
    patched = quick.patch(path, json={"name": "c"})
    for reply in (created, changed, patched, quick.delete(path)):
        assert "Cache-Control" not in reply.headers


def test_the_answer_to_a_write_has_the_tag_that_a_get_has(quick):
    created = quick.post("/cached_boss", json={"name": "a"})
    path = f"/cached_boss/{created.json['id']}"
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
    boss = CachedBoss(name="a").save()
    path, body = f"/cached_boss/{boss.pk}", None if verb == "DELETE" else {"name": "b"}
    tag = quick.get(path).headers["Etag"]
    for condition in (
        {"If-None-Match": tag}, {"If-None-Match": "*"}, {"If-None-Match": f'"x", W/{tag}'},
        {"If-Match": '"x"'}, {"If-Match": f"W/{tag}"}, {"If-Match": tag, "If-None-Match": tag},
    ):  # fmt: skip
        reply = quick.request(verb, path, json=body, headers=condition)
        assert (reply.status, reply.headers["Content-Type"]) == (412, PROBLEM), condition
        assert "Etag" not in reply.headers
        assert CachedBoss.objects.get().name == "a"
    good = {"If-Match": f'"x", {tag}', "If-None-Match": '"y"'}
    assert quick.request(verb, path, json=body, headers=good).status == (204 if verb == "DELETE" else 200)


def test_a_bug_while_an_answer_is_made_is_not_cached(mongomock_database, caplog):
    class CachedBroken(me.Document):
        def to_dict(self):
            raise ValueError("mine")

    CachedBroken().save()
    with serve(ModelHive.routes_for(CachedBroken, cache_control="public")) as client:
        reply = client.get("/cached_broken")
    assert (reply.status, reply.headers["Content-Type"]) == (500, PROBLEM)
    assert "Cache-Control" not in reply.headers
    assert "Link" not in reply.headers


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\0", "\u20ac"])
def test_a_cache_control_that_is_no_header_is_refused(value):
    with pytest.raises(ValueError, match="cache_control"):
        ModelHive.routes_for(CachedBoss, cache_control=value)


@pytest.fixture
def private(mongomock_database):
    application = Application(
        flatten(
            [
                ModelHive.routes_for(CachedBoss),
                ModelHive.routes_for(CachedBoss, prefix="/own", cache_control="max-age=5"),
            ]
        )
    )
    AuthHive.configure(application, secret_key="s" * 40, authenticated_get=False)
    with serve(application) as client:
        yield client


def test_with_sign_in_answers_are_private_unless_the_routes_say_otherwise(private):
    put_some()
    reply = private.get("/cached_boss")
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert varies(reply) == {"Accept-Encoding", "Prefer", "Authorization", "Cookie"}
    assert private.get("/own/cached_boss").headers["Cache-Control"] == "max-age=5"
    assert private.get("/own/cached_boss/nobody").headers["Cache-Control"] == "private, no-cache"
    kept = private.get("/cached_boss", headers={"If-None-Match": reply.headers["Etag"]})
    assert (kept.status, kept.headers["Cache-Control"]) == (304, "private, no-cache")


def test_not_modified_has_the_tag_of_the_compressed_answer_that_it_stands_for(quick):
    put_some(1, 20_000)
    headers = {"Accept-Encoding": "gzip"}
    tag = quick.get("/cached_boss", headers=headers).headers["Etag"]
    reply = quick.get("/cached_boss", headers=headers | {"If-None-Match": tag})
    assert (reply.status, reply.headers["Etag"]) == (304, tag)


# HEAD


def test_head_makes_no_json(quick):
    document = CachedCounted(name="a").save()
    for path in ("/cached_counted", f"/cached_counted/{document.pk}"):
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
    CachedCounted(name="a").save()
    tag = quick.get("/cached_counted").headers["Etag"]
    assert quick.get("/cached_counted", headers={"If-None-Match": tag}).status == 304
    assert quick.request("HEAD", "/cached_counted", headers={"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("compress", [False, True])
def test_a_connection_serves_on_after_head(mongomock_database, compress):
    put_some()
    with (
        serve(ROUTES, compress_response=compress) as client,
        closing(http.client.HTTPConnection("127.0.0.1", client.port, timeout=120)) as connection,
    ):
        for method in ("HEAD", "GET", "HEAD", "HEAD", "GET"):
            connection.request(method, "/cached_boss", headers={"Accept-Encoding": "gzip"})
            response = connection.getresponse()
            assert response.status == 200
            assert bool(response.read()) is (method == "GET")


def test_head_is_heard_of_as_get_is(quick):
    put_some()
    heard = []

    def note(sender, items):
        heard.append(len(items))

    with signals.post_get_list.connected_to(note, sender=CachedBoss):
        assert quick.request("HEAD", "/cached_boss").status == 200
    assert heard == [3]
