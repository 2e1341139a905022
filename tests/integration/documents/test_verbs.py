"""Every verb on documents and on lists of them, with forms and JSON; and what no route leads to."""

import http.client
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


class HTTPLogEntry(me.Document):
    name = me.StringField()


ROUTES = flatten(
    [
        *(ModelHive.routes_for(model) for model in (Writer, Coin, HTTPLogEntry)),
        ModelHive.routes_for(Writer, prefix="/whole", put="replace"),
    ]
)


@pytest.fixture
def api(mongodb_database):
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
    with socket.create_connection(("127.0.0.1", api.port), timeout=120) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        return response.status, response.headers, body


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


def test_json_has_python_names_where_mongodb_has_others(api, mongodb_database):
    api.post("/writer", json={"name": "Ada", "email": "a@b.se", "home": {"zip_code": "N1"}})
    stored = mongodb_database["writer"].find_one()
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


def test_merge_patch_is_for_patch_only(quick):
    writer = Writer(name="Ada").save()
    refused(quick.put(f"/writer/{writer.id}", json={"name": "B"}, headers=MERGE_PATCH), 415)
    refused(quick.post("/writer", json={"name": "B"}, headers=MERGE_PATCH), 415)


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


def test_delete_of_unknown_id_is_404(quick):
    refused(quick.delete(f"/writer/{ObjectId()}"), 404)


@pytest.mark.parametrize("verb", ["GET", "PUT", "PATCH", "DELETE"])
def test_unknown_and_malformed_ids_are_404_for_every_verb(quick, verb):
    body = {"json": {"name": "x"}} if verb in ("PUT", "PATCH") else {}
    for name in ("65a0000000000000000000ff", "nonsense", "1", "65a0"):
        refused(quick.request(verb, f"/writer/{name}", **body), 404)


@pytest.mark.parametrize("path", ["/writer", "/writer/{}"])
def test_head_has_the_headers_of_get_and_no_body(quick, path):
    writer = Writer(name="Ada").save()
    get, head = (quick.request(verb, path.format(writer.id)) for verb in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    ignored = {"Date", "X-Request-Id", "Content-Length", "Etag"}  # of which two need the answer to be made
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }
    assert not {"Content-Length", "Etag", "Transfer-Encoding"} & set(head.headers)


def test_head_of_an_unknown_id_is_404_without_a_body(quick):
    reply = quick.request("HEAD", f"/writer/{ObjectId()}")
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
def test_list_is_changed_by_a_filter_only(quick, verb):
    Writer(name="Ada").save()
    for path in ("/writer", "/writer/", "/writer?"):
        reply = quick.request(verb, path, json={"name": "x"}, headers=ON_ITS_OWN)
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


def test_other_paths_are_404(quick):
    for path in ("/writer//", "//writer", "/writers", "/writerx/", "/", "/Writer"):
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


def test_raw_bytes_in_a_path_are_utf8(quick):
    Coin(code="é").save()
    status, _, body = raw(quick, "GET /coin/é HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (status, "é".encode() in body or b"\\u00e9" in body) == (200, True)


@pytest.mark.parametrize("target", [b"/coin/\xff", b"/coin/%ff"])
def test_path_that_is_not_utf8_is_404(quick, target):
    status, headers, _ = raw(quick, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, headers["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize("name", ["x" * 5000, "%00" * 5000, "/" + "x/" * 2000])
def test_very_long_paths_are_404(quick, name):
    refused(quick.get(f"/coin/{name}"), 404)


def test_get_answers_304_to_the_etag_it_gave(quick):
    Coin(code="sek").save()
    etag = quick.get("/coin/sek").headers["Etag"]
    reply = quick.get("/coin/sek", headers={"If-None-Match": etag})
    assert (reply.status, reply.body) == (304, b"")
