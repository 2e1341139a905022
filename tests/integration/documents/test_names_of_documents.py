"""Documents by any kind of primary key, by a lookup field, and by names that are hard to write in a URL."""

from urllib.parse import quote

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import serve
from tests.support.databases import on_both, on_mongomock


class KeyWriter(me.Document):
    name = me.StringField(required=True)


class KeyCoin(me.Document):
    code = me.StringField(primary_key=True)
    name = me.StringField()


class KeyGate(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()


class KeyToken(me.Document):
    key = me.UUIDField(primary_key=True, binary=True)
    name = me.StringField()


class KeyTicket(me.Document):
    number = me.SequenceField(primary_key=True)
    name = me.StringField()


class KeyPassport(me.Document):
    writer = me.ReferenceField(KeyWriter, primary_key=True)
    name = me.StringField()


class KeyPage(me.Document):
    slug = me.StringField(unique=True, required=True)
    parent = me.ReferenceField("self")
    name = me.StringField()
    meta = {"lookup_field": "slug"}


class KeyNamed(me.Document):
    code = me.StringField(primary_key=True)
    slug = me.StringField()
    meta = {"lookup_field": "slug"}


NAMES = {
    "writer": KeyWriter, "coin": KeyCoin, "gate": KeyGate, "token": KeyToken, "ticket": KeyTicket,
    "passport": KeyPassport, "page": KeyPage, "named": KeyNamed,
}  # fmt: skip
ROUTES = flatten([ModelHive.routes_for(model, resource_name=name) for name, model in NAMES.items()])


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def api(database):
    with serve(ROUTES) as client:
        yield client


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json


# Kinds of primary key


def test_string_as_primary_key(api):
    reply = api.post("/coin", json={"code": "sek", "name": "krona"})
    assert (reply.status, reply.headers["Location"], reply.headers["X-Created-Id"]) == (
        201,
        "/coin/sek",
        "sek",
    )
    assert api.put("/coin/sek", json={"name": "Krona"}).json == {"code": "sek", "name": "Krona"}
    assert api.delete("/coin/sek").status == 204


def test_create_with_a_taken_primary_key_is_409_and_overwrites_nothing(api):
    KeyCoin(code="sek", name="krona").save()
    refused(api.post("/coin", json={"code": "sek", "name": "other"}), 409)
    assert KeyCoin.objects.get().name == "krona"


def test_create_without_a_primary_key_is_400(api):
    problem = refused(api.post("/coin", json={"name": "krona"}), 400)
    assert [error["field"] for error in problem["errors"]] == ["code"]


def test_primary_key_cannot_be_changed(api):
    KeyCoin(code="sek").save()
    for verb in (api.put, api.patch):
        refused(verb("/coin/sek", json={"code": "nok"}), 400)
        refused(verb("/coin/sek", json={"code": None}), 400)
    assert [coin.code for coin in KeyCoin.objects] == ["sek"]


def test_integer_as_primary_key(api):
    reply = api.post("/gate", json={"number": 7, "name": "x"})
    assert (reply.status, reply.headers["Location"]) == (201, "/gate/7")
    assert api.get("/gate/7").json == {"number": 7, "name": "x"}
    for name in ("x", "7.0", "%D9%A7", "9" * 30, "null", "%20"):
        refused(api.get(f"/gate/{name}"), 404)


@on_both
def test_zero_and_negative_integers_as_primary_keys(api):
    for number in (0, -1, 2**63 - 1, -(2**63)):
        reply = api.post("/gate", json={"number": number})
        assert reply.status == 201, reply.body
        assert api.get(reply.headers["Location"]).json["number"] == number


def test_uuid_as_primary_key(api):
    name = "12345678-1234-5678-1234-567812345678"
    reply = api.post("/token", json={"key": name, "name": "x"})
    assert (reply.status, reply.headers["Location"]) == (201, f"/token/{name}")
    assert api.get(f"/token/{name}").json == {"key": name, "name": "x"}
    refused(api.get("/token/nonsense"), 404)


@on_both
def test_sequence_as_primary_key(api):
    first, second = (api.post("/ticket", json={"name": name}) for name in "ab")
    assert (first.status, second.status) == (201, 201)
    assert second.json["number"] == first.json["number"] + 1
    assert api.get(second.headers["Location"]).json["name"] == "b"


@on_both
def test_reference_as_primary_key(api):
    writer = KeyWriter(name="Ada").save()
    reply = api.post("/passport", json={"writer": str(writer.id), "name": "x"})
    assert (reply.status, reply.headers["Location"]) == (201, f"/passport/{writer.id}")
    assert api.get(f"/passport/{writer.id}").json == {"writer": str(writer.id), "name": "x"}
    assert api.put(f"/passport/{writer.id}", json={"name": "y"}).json["name"] == "y"
    refused(api.get("/passport/nonsense"), 404)
    assert api.delete(f"/passport/{writer.id}").status == 204
    assert KeyWriter.objects.count() == 1


# Lookup fields


def test_lookup_field_names_documents_in_urls_beside_the_primary_key(api):
    page = KeyPage(slug="start", name="Start").save()
    assert api.get("/page/start").json == api.get(f"/page/{page.id}").json
    assert api.put("/page/start", json={"name": "Home"}).json["name"] == "Home"
    assert api.delete("/page/start").status == 204


def test_lookup_field_is_what_location_and_created_id_use(api):
    reply = api.post("/page", json={"slug": "start"})
    assert (reply.headers["Location"], reply.headers["X-Created-Id"]) == ("/page/start", "start")
    assert reply.json["id"] == str(KeyPage.objects.get().id)


def test_lookup_field_names_documents_in_bodies_beside_the_primary_key(api):
    start = KeyPage(slug="start").save()
    for name in ("start", str(start.id)):
        reply = api.post("/page", json={"slug": f"by-{name}", "parent": name})
        assert reply.json["parent"] == str(start.id)
    reply = api.post("/page", form={"slug": "by-form", "parent": "start"})
    assert reply.json["parent"] == str(start.id)


def test_lookup_value_never_shadows_a_primary_key(api):
    KeyNamed(code="b", slug="a").save()
    KeyNamed(code="a", slug="x").save()
    assert api.get("/named/a").json["code"] == "a"
    assert api.get("/named/b").json["code"] == "b"
    assert api.get("/named/x").json["code"] == "a"


def test_document_without_a_lookup_value_is_named_by_its_primary_key(api):
    reply = api.post("/named", json={"code": "k"})
    assert (reply.headers["Location"], reply.headers["X-Created-Id"]) == ("/named/k", "k")


# IDs that are hard to write


HARD = [
    "a/b", "$where", "100%41", "a+b", "a?b#c", "日本🙂", "a\r\nSet-Cookie: x=1", "\x00", "..a", "x" * 900,
    "//", " ", "null", "save", "*",
]  # fmt: skip


@pytest.mark.parametrize("code", HARD)
def test_hard_ids_are_percent_encoded_and_found_again(api, code):
    reply = api.post("/coin", json={"code": code, "name": "x"})
    assert reply.status == 201, reply.body
    location = reply.headers["Location"]
    assert location.isascii()
    assert location.isprintable()
    assert reply.headers["X-Created-Id"] == location.removeprefix("/coin/")
    assert api.get(location).json == {"code": code, "name": "x"}
    assert api.get("/coin/" + quote(code, safe="")).json["code"] == code
    assert api.put(location, json={"name": "y"}).json["name"] == "y"
    assert api.request("HEAD", location).status == 200
    assert api.delete(location).status == 204
    assert KeyCoin.objects.count() == 0


@on_mongomock
@pytest.mark.parametrize("code", [".", ".."])
def test_dots_alone_are_ids_like_any_other(api, code):
    KeyCoin(code=code).save()
    assert api.get(f"/coin/{code}").json["code"] == code
    assert api.get("/coin/" + code.replace(".", "%2E")).json["code"] == code


def test_lookup_values_that_no_url_can_end_in_give_way_to_the_primary_key(api):
    for number, slug in enumerate(["", ".", ".."]):
        reply = api.post("/named", json={"code": str(number), "slug": slug})
        assert reply.headers["Location"] == f"/named/{number}"
