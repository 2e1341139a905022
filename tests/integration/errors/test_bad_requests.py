"""A bad request of any kind is answered with a problem, to every verb, and leaves nothing stored."""

import json

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import serve
from tests.support.refusals import refused

STORED = "65a000000000000000000001"
PATH = f"/gadget/{STORED}"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
ARRAY = {"Content-Type": JSON, "Prefer": "transaction=no"}
"""For an array of documents; mongomock has no transactions."""


class GadgetPart(me.EmbeddedDocument):
    name = me.StringField(max_length=2000)
    size = me.IntField()


class Maker(me.Document):
    name = me.StringField()


class Gadget(me.Document):
    name = me.StringField(max_length=2000)
    count = me.IntField()
    place = me.PointField()
    at = me.DateTimeField()
    maker = me.ReferenceField(Maker)
    makers = me.ListField(me.ReferenceField(Maker))
    part = me.EmbeddedDocumentField(GadgetPart)
    parts = me.EmbeddedDocumentListField(GadgetPart)
    tags = me.ListField(me.StringField())
    sizes = me.MapField(me.IntField())
    details = me.DictField()
    free = me.DynamicField()


class Loose(me.DynamicDocument):
    name = me.StringField()


class Land(me.Document):
    code = me.StringField(primary_key=True)


ROUTES = flatten([ModelHive.routes_for(model) for model in (Gadget, Maker, Loose, Land)])


@pytest.fixture(scope="module")
def client():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(client, mongomock_database):
    """A client; no test that takes it leaves anything changed."""
    Gadget(id=STORED, name="phone", count=1, details={"a": 1}, part=GadgetPart(name="lid"), tags=["x"]).save()
    Loose(id=STORED, name="loose", more=1).save()
    before = contents(mongomock_database)
    yield client
    assert contents(mongomock_database) == before


def contents(database):
    return {name: list(database[name].find()) for name in ("gadget", "maker", "loose", "land")}


# Bodies


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        (JSON, b""),
        (JSON, b'{"name": '),
        (JSON, b'{"name": "\xff"}'),
        (JSON, b'{"tags": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
        (JSON, b'{"count": 9223372036854775808}'),
        (JSON, b'{"count": ' + b"9" * 100_000 + b"}"),
        (JSON, b'{"count": NaN}'),
        (JSON, b'{"count": 1e400}'),
        (JSON, b'{"name": "a", "name": "b"}'),
        (JSON, b'{"name": "\\ud800"}'),
        (JSON, b'{"name": "x", "\\ud800": 1}'),
        (JSON, b'{"name": "x", "nothing": 1}'),
        (JSON, b'{"name": "x", "$set": {"count": 1}}'),
        (JSON, b'{"name": "x", "count": "1"}'),
        (JSON, b'{"name": "x", "maker": "65a0000000000000000000ff"}'),
        (JSON, b'{"name": "' + b"x" * 3000 + b'"}'),
        (FORM, b""),
        (FORM, b'[{"name": "x"}]'),
        (FORM, b"name=%FF"),
        (FORM, b"name=a&name=b"),
        (FORM, b"count=x"),
        (FORM, b"&".join(b"tags[]=x" for _ in range(10_000))),
        (FORM, b"details" + b".a" * 1000 + b"=1"),
        (FORM, b"tags=" + b"[" * 10_000 + b"]" * 10_000),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_bad_body_is_400_to_every_verb(api, media_type, body):
    headers = {"Content-Type": media_type}
    for verb, path in (("POST", "/gadget"), ("PUT", PATH), ("PATCH", PATH), ("PUT", f"{PATH}/part")):
        refused(api.request(verb, path, body=body, headers=headers))


@pytest.mark.parametrize(
    ("verb", "path"),
    [("PUT", PATH), ("PATCH", PATH), ("POST", f"{PATH}/part"), ("PUT", f"{PATH}/part"),
     ("PATCH", f"{PATH}/part"), ("POST", f"{PATH}/parts"), ("POST", f"{PATH}/maker"),
     ("POST", f"{PATH}/makers"), ("PATCH", "/gadget?name=phone")],
)  # fmt: skip
def test_a_body_that_is_no_object_is_400(api, verb, path):
    for body in (b"1", b'[{"name": "x"}]'):
        assert "object" in refused(api.request(verb, path, body=body, headers=ARRAY))["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"1", b"null", b"[1]", b'[{"name": "x"}, []]', b'[{"name": "x"},', b'[{"name": "x"}] x',
        b'[{"name": "\xff"}]', b'[{"name": "a", "name": "b"}]',
        b'[{"name": "x"}, ' + b"[" * 10_000 + b"]" * 10_000 + b"]",
    ],
    ids=lambda value: repr(value[:40]),
)  # fmt: skip
def test_a_bad_array_is_400(api, body):
    refused(api.post("/gadget", body=body, headers=ARRAY))


def test_a_dynamic_document_refuses_names_that_are_no_fields(api):
    for name in ("_id", "objects", "$set", "\ud800"):
        refused(api.post("/loose", json={"name": "x", name: "y"}))
        refused(api.patch(f"/loose/{STORED}", json={"name": "x", name: "y"}))
    for name in ("_id", "objects"):
        refused(api.post("/loose", form={"name": "x", name: "y"}))


def test_an_empty_primary_key_is_400_for_no_url_can_name_it(api):
    refused(api.post("/land", json={"code": ""}))


def test_a_generated_primary_key_cannot_be_changed(api):
    refused(api.put(PATH, json={"id": "65a0000000000000000000ff"}))


def test_what_is_odd_but_right_is_stored(client, mongodb_database):
    deep = {"a": 1}
    for _ in range(61):
        deep = {"a": deep}
    for how, read in [
        ({"json": {"details": deep}}, {"details": deep}),
        ({"json": {"name": '[{\\"' * 400, "tags": ["}" * 500]}}, {"name": '[{\\"' * 400}),
        ({"form": {"name": "[" * 500, "free": "[" * 500}}, {"name": "[" * 500, "free": "[" * 500}),
        ({"body": "name=a;b%", "headers": {"Content-Type": FORM}}, {"name": "a;b%"}),
        ({"body": b'{"name": "\xc3\xa5"}', "headers": {"Content-Type": 'Application/JSON ; charset="UTF-8"'}},
         {"name": "å"}),
    ]:  # fmt: skip
        reply = client.post("/gadget", **how)
        assert reply.status == 201, reply.body
        assert read.items() <= reply.json.items()
        assert client.get(reply.headers["Location"]).json == reply.json


# Content types


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/json; charset=latin-1", "applicatión/json", "x" * 5000,
     "application/x-www-form-urlencoded; charset=iso-8859-1", "multipart/form-data; boundary=x"],
)  # fmt: skip
def test_another_content_type_is_415_to_every_verb(api, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    for verb, path in (("POST", "/gadget"), ("PUT", PATH), ("PATCH", PATH)):
        refused(api.request(verb, path, body=b'{"name": "x"}', headers=headers), 415)
    refused(api.post("/gadget", body=b"", headers=headers), 415)


def test_a_multipart_body_is_415(api):
    body = '--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--x--\r\n'
    refused(api.post("/gadget", body=body, headers={"Content-Type": "multipart/form-data; boundary=x"}), 415)


def test_a_compressed_body_is_415(api):
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    refused(api.post("/gadget", body=b"\x1f\x8b", headers=headers), 415)


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "name", "count", "tags", "tags/0", "details", "details/a", "sizes/a", "free/x", "at/year", "id", "pk",
        "_id", "_cls", "save", "objects", "__class__", "_data", "part/name", "part/name/x", "part/_instance",
        "place/coordinates", "to_json", "part/0", "nothing", "part/save/x", "%00",
    ],
)  # fmt: skip
def test_a_path_over_what_is_no_document_is_404(api, path):
    refused(api.get(f"{PATH}/{path}"), 404)
    refused(api.put(f"{PATH}/{path}", json={"name": "x"}), 404)
    refused(api.get(f"{PATH}/{path}/x/y/z"), 404)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_path_over_what_is_no_document_is_404_to_every_verb(api, verb):
    body = None if verb in ("GET", "DELETE", "OPTIONS") else json.dumps({"name": "x"})
    for path in ("name", "tags/0", "details/a", "objects", "part/name", "nothing/x/y/z"):
        refused(api.request(verb, f"{PATH}/{path}", body=body, headers={"Content-Type": JSON}), 404)
