"""hive.handlers: every verb on documents and lists of them, with forms and JSON, and any kind of ID."""

import http.client
import re
import socket
from urllib.parse import quote

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, flatten
from hive.testing import serve

PROBLEM = "application/problem+json"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
ON_ITS_OWN = {"Prefer": "transaction=no"}


class Home(me.EmbeddedDocument):
    city = me.StringField()
    zip_code = me.StringField(db_field="z")


class Writer(me.Document):
    name = me.StringField(required=True)
    email = me.EmailField(unique=True, sparse=True, db_field="e")
    age = me.IntField(default=18)
    home = me.EmbeddedDocumentField(Home)
    tags = me.ListField(me.StringField())
    scores = me.ListField(me.IntField())
    details = me.DictField()


class Coin(me.Document):
    code = me.StringField(primary_key=True)
    name = me.StringField()


class Gate(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()


class Token(me.Document):
    key = me.UUIDField(primary_key=True, binary=True)
    name = me.StringField()


class Ticket(me.Document):
    number = me.SequenceField(primary_key=True)
    name = me.StringField()


class Passport(me.Document):
    writer = me.ReferenceField(Writer, primary_key=True)
    name = me.StringField()


class Page(me.Document):
    slug = me.StringField(unique=True, required=True)
    parent = me.ReferenceField("self")
    name = me.StringField()
    meta = {"lookup_field": "slug"}


class Named(me.Document):
    code = me.StringField(primary_key=True)
    slug = me.StringField()
    meta = {"lookup_field": "slug"}


class HTTPLogEntry(me.Document):
    name = me.StringField()


ROUTES = flatten(
    [
        [ModelHive.routes_for(model) for model in (Writer, Coin, Gate, Token, Ticket, Passport)],
        [ModelHive.routes_for(model) for model in (Page, Named, HTTPLogEntry)],
        ModelHive.routes_for(Writer, prefix="/whole", put="replace"),
    ]
)


@pytest.fixture
def api(database):
    for model in (Writer, Page):
        model._collection = None
        model.ensure_indexes()
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def quick(mongomock_database):
    """For claims that have nothing to do with the database."""
    with serve(ROUTES) as client:
        yield client


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == PROBLEM
    assert {"type", "title", "status", "detail"} <= reply.json.keys()
    assert reply.json["status"] == status
    return reply.json


def raw(api, request):
    """The answer to bytes that an HTTP library would not send."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        return response.status, response.headers, body


def links(reply):
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


# The main table


def test_empty_list_is_an_empty_array(api):
    reply = api.get("/writer")
    assert (reply.status, reply.json) == (200, [])
    assert reply.headers["Content-Type"] == "application/json"


def test_list_has_every_document_whole(api):
    writers = [Writer(name=name).save() for name in ("Ada", "Bob")]
    reply = api.get("/writer")
    assert [item["id"] for item in reply.json] == [str(writer.id) for writer in writers]
    assert reply.json[0] == api.get(f"/writer/{writers[0].id}").json


def test_create_is_201_with_the_document_its_location_and_its_id(api):
    reply = api.post("/writer", json={"name": "Ada", "home": {"city": "London", "zip_code": "N1"}})
    stored = Writer.objects.get()
    assert reply.status == 201
    assert reply.json == {
        "id": str(stored.id),
        "name": "Ada",
        "email": None,
        "age": 18,
        "home": {"city": "London", "zip_code": "N1"},
        "tags": [],
        "scores": [],
        "details": {},
    }
    assert reply.headers["Location"] == f"/writer/{stored.id}"
    assert reply.headers["X-Created-Id"] == str(stored.id)
    assert api.get(reply.headers["Location"]).json == reply.json


def test_json_has_python_names_where_mongodb_has_others(api, database):
    api.post("/writer", json={"name": "Ada", "email": "a@b.se", "home": {"zip_code": "N1"}})
    stored = database["writer"].find_one()
    assert (stored["e"], stored["home"]["z"]) == ("a@b.se", "N1")
    [item] = api.get("/writer").json
    assert item["email"] == "a@b.se"
    assert "e" not in item
    refused(api.post("/writer", json={"name": "Bob", "e": "b@b.se"}), 400)


def test_read_gives_one_document(api):
    writer = Writer(name="Ada").save()
    reply = api.get(f"/writer/{writer.id}")
    assert (reply.status, reply.json["name"]) == (200, "Ada")


def test_put_sets_the_fields_it_names_and_leaves_the_others(api):
    writer = Writer(name="Ada", age=36, home=Home(city="London", zip_code="N1")).save()
    reply = api.put(f"/writer/{writer.id}", json={"name": "Lady", "home": {"city": "Paris"}})
    assert reply.status == 200
    assert (reply.json["name"], reply.json["age"]) == ("Lady", 36)
    assert reply.json["home"] == {"city": "Paris", "zip_code": "N1"}
    assert api.get(f"/writer/{writer.id}").json == reply.json


def test_put_that_replaces_resets_the_fields_it_does_not_name(api):
    writer = Writer(name="Ada", age=36, tags=["x"], home=Home(city="London", zip_code="N1")).save()
    reply = api.put(f"/whole/writer/{writer.id}", json={"name": "Lady", "home": {"city": "Paris"}})
    assert reply.status == 200
    assert (reply.json["age"], reply.json["tags"]) == (18, [])
    assert reply.json["home"] == {"city": "Paris", "zip_code": None}
    assert reply.json["id"] == str(writer.id)


def test_put_that_replaces_without_a_required_field_is_400(api):
    writer = Writer(name="Ada", age=36).save()
    problem = refused(api.put(f"/whole/writer/{writer.id}", json={"age": 3}), 400)
    assert [error["field"] for error in problem["errors"]] == ["name"]
    assert Writer.objects.get().age == 36


def test_put_of_what_get_gave_changes_nothing(api):
    writer = Writer(name="Ada", tags=["x"], details={"a": [1]}, home=Home(city="London")).save()
    for path in (f"/writer/{writer.id}", f"/whole/writer/{writer.id}"):
        before = api.get(path).json
        reply = api.put(path, json=before)
        assert (reply.status, reply.json) == (200, before)


def test_patch_is_a_json_merge_patch(api):
    writer = Writer(name="Ada", age=36, details={"a": 1, "b": {"c": 2, "d": 3}}).save()
    patch = {"age": None, "details": {"a": None, "b": {"c": None, "e": 5}}}
    reply = api.patch(f"/writer/{writer.id}", json=patch, headers=MERGE_PATCH)
    assert reply.status == 200
    assert reply.json["details"] == {"b": {"d": 3, "e": 5}}
    assert (reply.json["name"], reply.json["age"]) == ("Ada", 18)


def test_patch_takes_plain_json_as_a_merge_patch(api):
    writer = Writer(name="Ada", details={"a": 1, "b": 2}).save()
    reply = api.patch(f"/writer/{writer.id}", json={"details": {"a": None}})
    assert reply.json["details"] == {"b": 2}


def test_merge_patch_is_for_patch_only(api):
    writer = Writer(name="Ada").save()
    refused(api.put(f"/writer/{writer.id}", json={"name": "B"}, headers=MERGE_PATCH), 415)
    refused(api.post("/writer", json={"name": "B"}, headers=MERGE_PATCH), 415)


def test_unset_of_a_required_field_is_400(api):
    writer = Writer(name="Ada").save()
    for verb in (api.put, api.patch):
        problem = refused(verb(f"/writer/{writer.id}", json={"name": None}), 400)
        assert [error["field"] for error in problem["errors"]] == ["name"]
    assert Writer.objects.get().name == "Ada"


def test_delete_is_204_without_a_body(api):
    writer = Writer(name="Ada").save()
    reply = api.delete(f"/writer/{writer.id}")
    assert (reply.status, reply.body) == (204, b"")
    assert "Content-Type" not in reply.headers
    assert Writer.objects.count() == 0
    refused(api.get(f"/writer/{writer.id}"), 404)


def test_delete_of_unknown_id_is_404(api):
    refused(api.delete(f"/writer/{ObjectId()}"), 404)


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ["65a0000000000000000000ff", "nonsense", "1", "65a0"])
def test_unknown_and_malformed_ids_are_404_for_every_verb(quick, verb, name):
    body = {"json": {"name": "x"}} if verb in ("PUT", "PATCH") else {}
    refused(quick.request(verb, f"/writer/{name}", **body), 404)


@pytest.mark.parametrize("path", ["/writer", "/writer/{}"])
def test_head_has_the_headers_of_get_and_no_body(api, path):
    writer = Writer(name="Ada").save()
    get, head = (api.request(verb, path.format(writer.id)) for verb in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    ignored = {"Date", "X-Request-Id", "Content-Length", "Etag"}  # of which two need the answer to be made
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }
    assert not {"Content-Length", "Etag", "Transfer-Encoding"} & set(head.headers)


def test_head_of_an_unknown_id_is_404_without_a_body(api):
    reply = api.request("HEAD", f"/writer/{ObjectId()}")
    assert (reply.status, reply.body) == (404, b"")


def test_options_of_the_list_names_its_methods(quick):
    reply = quick.request("OPTIONS", "/writer")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Allow"] == "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
    assert "application/merge-patch+json" in reply.headers["Accept-Patch"]


def test_options_of_a_document_names_its_methods_and_patch_formats(quick):
    writer = Writer(name="Ada").save()
    reply = quick.request("OPTIONS", f"/writer/{writer.id}")
    assert reply.status == 204
    assert reply.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"
    assert "application/merge-patch+json" in reply.headers["Accept-Patch"]


@pytest.mark.parametrize("path", ["/writer", "/writer/"])
def test_list_refuses_what_is_for_one_document_with_405(quick, path):
    Writer(name="Ada").save()
    reply = quick.put(path, json={"name": "x"}, headers=ON_ITS_OWN)
    refused(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
    assert Writer.objects.get().name == "Ada"


@pytest.mark.parametrize("verb", ["PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/writer", "/writer/", "/writer?"])
def test_list_is_changed_by_a_filter_only(api, verb, path):
    Writer(name="Ada").save()
    reply = api.request(verb, path, json={"name": "x"}, headers=ON_ITS_OWN)
    refused(reply, 400)
    assert "filter is required" in reply.json["detail"]
    assert Writer.objects.get().name == "Ada"


@pytest.mark.parametrize("verb", ["PATCH", "DELETE"])
def test_list_is_changed_at_once_only_where_there_are_transactions(quick, verb):
    Writer(name="Ada").save()
    refused(quick.request(verb, "/writer?name=Ada", json={"name": "x"}), 501)
    assert Writer.objects.get().name == "Ada"


def test_post_to_a_document_is_405(quick):
    writer = Writer(name="Ada").save()
    reply = quick.post(f"/writer/{writer.id}", json={"name": "x"})
    refused(reply, 405)
    assert reply.headers["Allow"] == "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"


@pytest.mark.parametrize("verb", ["TRACE", "PROPFIND", "BREW", "get"])
def test_unknown_verb_is_405_with_allow(quick, verb):
    status, headers, body = raw(quick, f"{verb} /writer HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status == 405
    assert headers["Content-Type"] == PROBLEM
    assert {"GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"} <= set(headers["Allow"].split(", "))
    assert b"html" not in body


def test_one_trailing_slash_does_not_count(api):
    writer = Writer(name="Ada").save()
    assert len(api.get("/writer/").json) == 1
    assert api.get(f"/writer/{writer.id}/").json["name"] == "Ada"
    assert api.post("/writer/", json={"name": "Bob"}).headers["Location"].startswith("/writer/")
    assert api.delete(f"/writer/{writer.id}/").status == 204


@pytest.mark.parametrize("path", ["/writer//", "//writer", "/writers", "/writerx/", "/", "/Writer"])
def test_other_paths_are_404(quick, path):
    refused(quick.get(path), 404)


def test_empty_segments_are_404(quick):
    writer = Writer(name="Ada", home=Home()).save()
    refused(quick.get(f"/writer//{writer.id}"), 404)
    refused(quick.get(f"/writer/{writer.id}//"), 404)
    refused(quick.get(f"/writer/{writer.id}//home"), 404)


# Routes


def test_the_spelling_of_bzz_works_too(mongomock_database):
    with serve(ModelHive.routes_for("mongoengine", Writer)) as api:
        assert api.get("/writer").json == []


@pytest.mark.parametrize("prefix", ["/api/v1", "api/v1", "/api/v1/", "/api//v1"])
def test_prefix_goes_before_the_name(mongomock_database, prefix):
    with serve(ModelHive.routes_for(Writer, prefix=prefix)) as api:
        reply = api.post("/api/v1/writer", json={"name": "Ada"})
        assert reply.headers["Location"] == f"/api/v1/writer/{reply.json['id']}"
        assert api.get(reply.headers["Location"]).status == 200
        refused(api.get("/writer"), 404)


@pytest.mark.parametrize("name", ["people", "/people/", "my people", "människor", "a.b+c", "staff/people"])
def test_resource_name_replaces_the_name_of_the_class(mongomock_database, name):
    with serve(ModelHive.routes_for(Writer, resource_name=name)) as api:
        path = "/" + quote(name.strip("/"))
        reply = api.post(path, json={"name": "Ada"})
        assert reply.status == 201
        assert api.get(reply.headers["Location"]).json == reply.json
        refused(api.get("/writer"), 404)


def test_dots_in_a_resource_name_mean_dots(mongomock_database):
    with serve(ModelHive.routes_for(Writer, resource_name="a.b")) as api:
        refused(api.get("/axb"), 404)


def test_class_names_become_snake_case(quick):
    assert quick.get("/http_log_entry").json == []


def test_flatten_takes_routes_nested_to_any_depth():
    writer, coin = ModelHive.routes_for(Writer), ModelHive.routes_for(Coin)
    assert flatten([writer, [[coin], []], ("/x", object)]) == [*writer, *coin, ("/x", object)]


# Paging


@pytest.fixture
def hundred(api):
    Coin.objects.insert([Coin(code=f"c{number:03}") for number in range(103)])
    return api


def codes(reply):
    assert reply.status == 200, reply.body
    return [item["code"] for item in reply.json]


def test_page_has_20_items_unless_asked_otherwise(hundred):
    assert codes(hundred.get("/coin")) == [f"c{number:03}" for number in range(20)]
    assert codes(hundred.get("/coin?page=2")) == [f"c{number:03}" for number in range(20, 40)]


def test_page_has_at_most_100_items(hundred):
    assert len(codes(hundred.get("/coin?per_page=100"))) == 100
    assert len(codes(hundred.get("/coin?per_page=1000"))) == 100
    assert codes(hundred.get("/coin?per_page=1000&page=2")) == ["c100", "c101", "c102"]


def test_pages_have_every_document_once(hundred):
    seen, path = [], "/coin?per_page=10"
    while path:
        reply = hundred.get(path)
        seen += codes(reply)
        path = links(reply).get("next")
    assert seen == [f"c{number:03}" for number in range(103)]


def test_link_names_first_prev_and_next_where_there_are_such_pages(hundred):
    assert links(hundred.get("/coin?per_page=50&page=1")) == {
        "first": "/coin?page=1&per_page=50",
        "next": "/coin?page=2&per_page=50",
    }
    assert links(hundred.get("/coin?per_page=50&page=2")) == {
        "first": "/coin?page=1&per_page=50",
        "prev": "/coin?page=1&per_page=50",
        "next": "/coin?page=3&per_page=50",
    }
    assert links(hundred.get("/coin?per_page=50&page=3")).keys() == {"first", "prev"}


def test_last_page_that_is_full_has_no_next(api):
    Coin.objects.insert([Coin(code=str(number)) for number in range(4)])
    assert links(api.get("/coin?per_page=2&page=2")).keys() == {"first", "prev"}


@pytest.mark.parametrize("page", ["7", "1000000", str(2**31), str(2**63 - 1), str(2**62)])
def test_page_out_of_range_is_empty(hundred, page):
    assert codes(hundred.get(f"/coin?page={page}&per_page=100")) == []


@pytest.mark.parametrize("name", ["page", "per_page"])
@pytest.mark.parametrize(
    "value",
    ["0", "-1", "1.5", "abc", "", "+1", "%201", "1_0", "0x1", "1e1", "%D9%A1", "%C2%B2", "%EF%BC%91", "%FF",
    "%00", "9" * 5000, "null"],
)  # fmt: skip
def test_page_that_is_no_positive_whole_number_is_400(quick, name, value):
    assert name in refused(quick.get(f"/coin?{name}={value}"), 400)["detail"]


@pytest.mark.parametrize("query", ["page=1&page=2", "page=1&page=1", "per_page=1&page=1&per_page=2"])
def test_repeated_query_parameter_is_400(quick, query):
    refused(quick.get(f"/coin?{query}"), 400)


@pytest.mark.parametrize(
    "query", ["x=1", "Page=1", "page[]=1", "$where=1", "nmae=Ada", "=1", "x", "%FF=1", "%00=1", "page.x=1"]
)
def test_unknown_query_parameter_is_400(quick, query):
    refused(quick.get(f"/coin?{query}"), 400)


def test_unknown_query_parameter_is_400_for_every_verb(quick):
    coin = Coin(code="sek", name="krona").save()
    for verb, path in (("POST", "/coin"), ("GET", "/coin/sek"), ("PUT", "/coin/sek"), ("PATCH", "/coin/sek"),
    ("DELETE", "/coin/sek")):  # fmt: skip
        refused(quick.request(verb, f"{path}?x=1", json={"name": "x"}), 400)
    coin.reload()
    assert (Coin.objects.count(), coin.name) == (1, "krona")


def test_lone_question_mark_is_no_query(quick):
    assert quick.get("/coin?").json == []


# Forms


def test_form_creates_with_text_converted_by_type(api):
    form = {"name": "Bernardo Heynemann", "age": "42", "email": ""}
    del form["email"]
    reply = api.post("/writer/", form=form)
    assert (reply.status, reply.json["name"], reply.json["age"]) == (201, "Bernardo Heynemann", 42)


def test_form_names_nested_fields_with_dots_and_lists_with_brackets(api):
    form = {
        "name": "Ada",
        "home.city": "London",
        "tags[]": ["a", "b"],
        "scores[]": ["1", "2"],
        "details.x.y": "z",
    }
    reply = api.post("/writer", form=form)
    assert reply.status == 201, reply.body
    assert reply.json["home"]["city"] == "London"
    assert (reply.json["tags"], reply.json["scores"]) == (["a", "b"], [1, 2])
    assert reply.json["details"] == {"x": {"y": "z"}}


def test_form_list_of_one(api):
    assert api.post("/writer", form={"name": "A", "tags[]": "x", "scores": ["3", "4"]}).json["tags"] == ["x"]


def test_form_updates(api):
    writer = Writer(name="Ada", age=3, home=Home(city="London", zip_code="N1")).save()
    for verb in (api.put, api.patch):
        reply = verb(f"/writer/{writer.id}", form={"home.city": "Paris", "age": "4"})
        assert reply.status == 200
        assert (reply.json["home"], reply.json["age"]) == ({"city": "Paris", "zip_code": "N1"}, 4)


def test_percent_encoded_form_is_decoded(quick):
    body = "name=Bernardo%20Heynemann&tags[]=%C3%A9+e"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = quick.post("/writer/", body=body, headers=headers)
    assert (reply.json["name"], reply.json["tags"]) == ("Bernardo Heynemann", ["é e"])


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
    Coin(code="sek", name="krona").save()
    refused(api.post("/coin", json={"code": "sek", "name": "other"}), 409)
    assert Coin.objects.get().name == "krona"


def test_create_without_a_primary_key_is_400(api):
    problem = refused(api.post("/coin", json={"name": "krona"}), 400)
    assert [error["field"] for error in problem["errors"]] == ["code"]


def test_primary_key_cannot_be_changed(api):
    Coin(code="sek").save()
    for verb in (api.put, api.patch):
        refused(verb("/coin/sek", json={"code": "nok"}), 400)
        refused(verb("/coin/sek", json={"code": None}), 400)
    assert [coin.code for coin in Coin.objects] == ["sek"]


def test_integer_as_primary_key(api):
    reply = api.post("/gate", json={"number": 7, "name": "x"})
    assert (reply.status, reply.headers["Location"]) == (201, "/gate/7")
    assert api.get("/gate/7").json == {"number": 7, "name": "x"}
    for name in ("x", "7.0", "7x", "%D9%A7", "0x7", "1e400", "9" * 30, "9" * 5000, "null", "%20", "seven"):
        refused(api.get(f"/gate/{name}"), 404)


def test_zero_and_negative_integers_as_primary_keys(api):
    for number in (0, -1, 2**63 - 1, -(2**63)):
        reply = api.post("/gate", json={"number": number})
        assert reply.status == 201, reply.body
        assert api.get(reply.headers["Location"]).json["number"] == number


def test_uuid_as_primary_key(mongodb_database):
    with serve(ModelHive.routes_for(Token)) as api:
        name = "12345678-1234-5678-1234-567812345678"
        reply = api.post("/token", json={"key": name, "name": "x"})
        assert (reply.status, reply.headers["Location"]) == (201, f"/token/{name}")
        assert api.get(f"/token/{name}").json == {"key": name, "name": "x"}
        refused(api.get("/token/nonsense"), 404)


def test_sequence_as_primary_key(api):
    first, second = (api.post("/ticket", json={"name": name}) for name in "ab")
    assert (first.status, second.status) == (201, 201)
    assert second.json["number"] == first.json["number"] + 1
    assert api.get(second.headers["Location"]).json["name"] == "b"


def test_reference_as_primary_key(api):
    writer = Writer(name="Ada").save()
    reply = api.post("/passport", json={"writer": str(writer.id), "name": "x"})
    assert (reply.status, reply.headers["Location"]) == (201, f"/passport/{writer.id}")
    assert api.get(f"/passport/{writer.id}").json == {"writer": str(writer.id), "name": "x"}
    assert api.put(f"/passport/{writer.id}", json={"name": "y"}).json["name"] == "y"
    refused(api.get("/passport/nonsense"), 404)
    assert api.delete(f"/passport/{writer.id}").status == 204
    assert Writer.objects.count() == 1


# Lookup fields


def test_lookup_field_names_documents_in_urls_beside_the_primary_key(api):
    page = Page(slug="start", name="Start").save()
    assert api.get("/page/start").json == api.get(f"/page/{page.id}").json
    assert api.put("/page/start", json={"name": "Home"}).json["name"] == "Home"
    assert api.delete("/page/start").status == 204


def test_lookup_field_is_what_location_and_created_id_use(api):
    reply = api.post("/page", json={"slug": "start"})
    assert (reply.headers["Location"], reply.headers["X-Created-Id"]) == ("/page/start", "start")
    assert reply.json["id"] == str(Page.objects.get().id)


def test_lookup_field_names_documents_in_bodies_beside_the_primary_key(api):
    start = Page(slug="start").save()
    for name in ("start", str(start.id)):
        reply = api.post("/page", json={"slug": f"by-{name}", "parent": name})
        assert reply.json["parent"] == str(start.id)
    reply = api.post("/page", form={"slug": "by-form", "parent": "start"})
    assert reply.json["parent"] == str(start.id)


def test_lookup_value_never_shadows_a_primary_key(api):
    Named(code="b", slug="a").save()
    Named(code="a", slug="x").save()
    assert api.get("/named/a").json["code"] == "a"
    assert api.get("/named/b").json["code"] == "b"
    assert api.get("/named/x").json["code"] == "a"


def test_document_without_a_lookup_value_is_named_by_its_primary_key(api):
    reply = api.post("/named", json={"code": "k"})
    assert (reply.headers["Location"], reply.headers["X-Created-Id"]) == ("/named/k", "k")


# IDs that are hard to write


HARD = [
    "test user", "a/b", "$where", "a$b", "100%", "%41", "a+b", "a&b=c", "a?b", "a#b", 'q"q', "q'q", "å",
    "日本", "🙂", "a\\b", "a;b", "<b>", "a:b@c", "{x}", "[x]", "null", "a\tb", "a\nb", "a\r\nSet-Cookie: x=1",
    "\x00", "a\x7fb", "..a", "...", "id", "save", "__class__", "x" * 900, "~", "/", "//", " ", "None", "*",
    "a|b", "^", "`",
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
    assert Coin.objects.count() == 0


@pytest.mark.parametrize("code", [".", ".."])
def test_dots_alone_are_ids_like_any_other(api, code):
    Coin(code=code).save()
    assert api.get(f"/coin/{code}").json["code"] == code
    assert api.get("/coin/" + code.replace(".", "%2E")).json["code"] == code


def test_lookup_values_that_no_url_can_end_in_give_way_to_the_primary_key(api):
    for number, slug in enumerate(["", ".", ".."]):
        reply = api.post("/named", json={"code": str(number), "slug": slug})
        assert reply.headers["Location"] == f"/named/{number}"


def test_raw_bytes_in_a_path_are_utf8(quick):
    Coin(code="é").save()
    status, _, body = raw(quick, "GET /coin/é HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, "é".encode() in body or b"\\u00e9" in body) == (200, True)


@pytest.mark.parametrize(
    "target",
    [b"/coin/\xff", b"/coin/%ff", b"/coin/%C3", b"/coin/%ED%A0%80", b"/coin/\xc3", b"/coin/%C0%AF"],
)
def test_path_that_is_not_utf8_is_404(quick, target):
    status, headers, _ = raw(quick, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, headers["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize("name", ["%", "%4", "%zz", "a%", "%u0041"])
def test_broken_percent_escapes_stand_for_themselves(quick, name):
    Coin(code=name).save()
    assert quick.get(f"/coin/{name}").json["code"] == name


@pytest.mark.parametrize("name", ["x" * 5000, "%00" * 5000, "/" + "x/" * 2000])
def test_very_long_paths_are_404(quick, name):
    refused(quick.get(f"/coin/{name}"), 404)


def test_get_answers_304_to_the_etag_it_gave(quick):
    Coin(code="sek").save()
    etag = quick.get("/coin/sek").headers["Etag"]
    reply = quick.get("/coin/sek", headers={"If-None-Match": etag})
    assert (reply.status, reply.body) == (304, b"")
