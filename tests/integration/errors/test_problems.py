"""Every answer that is not success is a problem, and tells nothing of the server's inside."""

import logging
import socket

import mongoengine as me
import pytest
import tornado.web
from tornado.web import HTTPError

from hive import ModelHive, NotFoundHandler, Problem, errors, flatten, signals
from hive.testing import serve

INNER = "inner detail of the server"


class Rack(me.EmbeddedDocument):
    code = me.StringField(unique=True, db_field="c", sparse=True)


class Shop(me.Document):
    name = me.StringField()


class Item(me.Document):
    name = me.StringField()
    email = me.StringField(unique=True, sparse=True, db_field="e")
    shelf = me.EmbeddedDocumentField(Rack)
    shop = me.ReferenceField(Shop, reverse_delete_rule=me.DENY)
    price = me.IntField()

    def clean(self):
        if self.price == 13:
            raise me.ValidationError("No thirteens.")
        if self.price == 14:
            raise me.ValidationError(
                errors={"price": me.ValidationError("is not fourteen", field_name="price")}
            )
        if self.price == 15:
            raise RuntimeError(INNER)
        if self.price == 16:
            raise errors.Conflict("Sixteen is taken.", [{"field": "price", "message": "is taken"}])


class Lot(me.Document):
    street = me.StringField(db_field="s")
    number = me.IntField(unique_with="street", db_field="n")


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."
    extra_headers = {"X-Tea": "green"}


class Gone(Problem):
    status = 404
    sentence = "It was here once."


ROUTES = flatten([ModelHive.routes_for(model) for model in (Item, Shop, Lot)])


@pytest.fixture
def quick(mongomock_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def raising(quick):
    """Let a receiver, before every creation of an item, raise this."""
    chosen = []

    def refuse(sender):
        raise chosen[-1]

    with signals.pre_create_instance.connected_to(refuse, sender=Item):
        yield chosen.append


def problem(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert list(reply.json)[:4] == ["type", "title", "status", "detail"]
    assert (reply.json["type"], reply.json["status"]) == ("about:blank", status)
    assert INNER.encode() not in reply.body
    return reply.json


def named(reply, status):
    return [error["field"] for error in problem(reply, status)["errors"]]


# Shape


def test_problem_has_the_phrase_of_its_status_and_a_sentence(quick):
    assert problem(quick.get("/item/x"), 404) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing at this address.",
    }


def test_problem_names_fields_by_dotted_name(quick):
    found = problem(quick.post("/item", json={"price": "x", "shelf": {"code": 1}}), 400)
    assert found["title"] == "Bad Request"
    assert [error["field"] for error in found["errors"]] == ["price", "shelf.code"]
    assert all(isinstance(error["message"], str) for error in found["errors"])


def test_client_sees_its_own_broken_unicode_escaped(quick):
    reply = quick.post(
        "/item", body=b'{"\\ud800": 1, "\\u2028": 2}', headers={"Content-Type": "application/json"}
    )
    assert len(named(reply, 400)) == 2
    assert reply.body.decode("utf-8")


@pytest.mark.parametrize("path", ["/", "/items", "/item/x/y", "/favicon.ico", "/%ff", "/item%2F1"])
def test_what_is_not_there_is_a_problem(quick, path):
    problem(quick.get(path), 404)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_what_is_not_there_is_a_problem_to_every_verb(quick, verb):
    problem(quick.request(verb, "/nothing", json={}), 404)


def test_not_found_handler_answers_problems_to_unknown_verbs(quick):
    with socket.create_connection(("127.0.0.1", quick.port), timeout=120) as connection:
        connection.sendall(b"BREW /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"application/problem+json" in answer
    assert b"html" not in answer


def test_not_found_handler_is_for_applications_without_hive_too():
    class Plain(tornado.web.RequestHandler):
        def get(self):
            self.write("ok")

    with serve([("/plain", Plain), ("/mine/.*", NotFoundHandler)]) as client:
        assert client.get("/plain").body == b"ok"
        problem(client.get("/mine/x"), 404)
        problem(client.get("/other"), 404)


# What receivers raise


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (errors.Forbidden("Not you."), 403, "Not you."),
        (errors.Conflict(), 409, "The request is in conflict with what is stored."),
        (Gone(), 404, "It was here once."),
        (HTTPError(403, INNER + " %s", "x"), 403, "This is not allowed."),
        (HTTPError(402, reason="Pay first"), 402, "Pay first"),
        (HTTPError(599), 599, "The server failed to answer this request."),
    ],
)
def test_receiver_refuses_with_a_status(quick, raising, error, status, detail):
    raising(error)
    assert problem(quick.post("/item", json={"name": "x"}), status)["detail"] == detail
    assert Item.objects.count() == 0


def test_refusal_may_name_fields_and_set_headers(quick, raising):
    raising(errors.Invalid("Not so.", [{"field": "name", "message": "is rude"}]))
    found = problem(quick.post("/item", json={"name": "x"}), 400)
    assert (found["detail"], found["errors"]) == ("Not so.", [{"field": "name", "message": "is rude"}])
    raising(Teapot())
    assert quick.post("/item", json={}).headers["X-Tea"] == "green"


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError(INNER), ValueError(INNER), StopIteration(INNER), TimeoutError(INNER)),
        *(me.ValidationError(INNER), me.DoesNotExist(INNER), HTTPError(500, INNER)),
    ],
    ids=repr,
)
def test_any_other_exception_is_a_500_with_a_request_id_and_no_inner_text(quick, raising, caplog, error):
    raising(error)
    with caplog.at_level(logging.WARNING):
        found = problem(quick.post("/item", json={"name": "x"}), 500)
    assert found["title"] == "Internal Server Error"
    assert len(found["request_id"]) >= 16
    if not isinstance(error, HTTPError):
        assert found["request_id"] in caplog.text
    assert INNER in caplog.text
    assert Item.objects.count() == 0


def test_every_500_has_a_request_id_of_its_own(quick, raising):
    raising(RuntimeError())
    found = [quick.post("/item", json={}).json["request_id"] for _ in range(3)]
    assert len(set(found)) == 3


def test_answer_that_was_begun_does_not_show_in_a_problem(quick, raising):
    def spoil(sender, handler):
        handler.write("half an answer")
        handler.set_header("X-Half", "1")
        raise errors.Forbidden

    with signals.pre_get_list.connected_to(spoil, sender=Item):
        reply = quick.get("/item")
    assert problem(reply, 403)
    assert "X-Half" not in reply.headers


# What the model says


def test_clean_speaks_for_the_whole_document(quick):
    assert problem(quick.post("/item", json={"price": 13}), 400)["errors"] == [
        {"field": "", "message": "No thirteens."}
    ]


def test_clean_speaks_for_a_field(quick):
    item = Item(price=1).save()
    for reply in (quick.post("/item", json={"price": 14}), quick.put(f"/item/{item.id}", json={"price": 14})):
        assert named(reply, 400) == ["price"]
        assert "fourteen" in reply.json["errors"][0]["message"]
    assert item.reload().price == 1


def test_clean_may_raise_what_hive_knows_and_nothing_else(quick):
    assert named(quick.post("/item", json={"price": 16}), 409) == ["price"]
    problem(quick.post("/item", json={"price": 15}), 500)
    assert Item.objects.count() == 0


# Conflicts


@pytest.fixture
def api(database):
    """On mongomock and on a server, each of which tells of a conflict in its own way."""
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def server(mongodb_database):
    """On a server, for what mongomock does not tell."""
    with serve(ROUTES) as client:
        yield client


def test_unique_value_that_is_taken_is_409(api):
    Item(email="a").save()
    other = Item(email="b").save()
    problem(api.post("/item", json={"email": "a"}), 409)
    problem(api.put(f"/item/{other.id}", json={"email": "a"}), 409)
    problem(api.patch(f"/item/{other.id}", json={"email": "a"}), 409)
    assert sorted(item.email for item in Item.objects) == ["a", "b"]


def test_conflict_names_the_field_as_clients_know_it(server):
    item = Item(email="a").save()
    reply = server.post("/item", json={"email": "a"})
    assert named(reply, 409) == ["email"]
    assert reply.json["errors"][0]["message"] == "is taken"
    assert b'"a"' not in reply.body
    assert b"index" not in reply.body
    assert server.put(f"/item/{item.id}", json={"email": "a"}).status == 200


def test_conflict_of_fields_together_names_them_all(server):
    Lot(street="s", number=1).save()
    assert sorted(named(server.post("/lot", json={"street": "s", "number": 1}), 409)) == ["number", "street"]
    assert server.post("/lot", json={"street": "t", "number": 1}).status == 201


def test_conflict_inside_of_an_embedded_document_names_it_with_a_dot(server):
    Item(shelf=Rack(code="x")).save()
    assert named(server.post("/item", json={"shelf": {"code": "x"}}), 409) == ["shelf.code"]


def test_conflict_of_a_primary_key_names_it(server):
    model = type("Keyed", (me.Document,), {"code": me.StringField(primary_key=True)})
    model(code="x").save()
    with serve(ModelHive.routes_for(model)) as client:
        assert named(client.post("/keyed", json={"code": "x"}), 409) == ["code"]


def test_delete_that_others_forbid_is_409(quick):
    shop = Shop(name="x").save()
    item = Item(shop=shop).save()
    found = problem(quick.delete(f"/shop/{shop.id}"), 409)
    assert "refer" in found["detail"]
    assert Shop.objects.count() == 1
    assert quick.delete(f"/item/{item.id}").status == 204
    assert quick.delete(f"/shop/{shop.id}").status == 204
