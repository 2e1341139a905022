"""The audit trail over real HTTP, on a real server."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hive_audit import LONGEST, AuditEntry, AuditTrail, audit_recorded
from mongoengine import Document, EmbeddedDocument, EmbeddedDocumentField, IntField, StringField
from tornado.web import Application

from hive import ModelHandler, ModelHive, NotFoundHandler, plugins, signals
from hive.testing import recorded, serve


class Flat(EmbeddedDocument):
    city = StringField()


class Tenant(Document):
    name = StringField(required=True)
    age = IntField()
    flat = EmbeddedDocumentField(Flat)
    password = StringField()


@contextmanager
def audited(application):
    """A client of an application that keeps the trail while the block runs."""
    plugins.install(application, AuditTrail, limited=True)
    try:
        with serve(application) as client:
            yield client
    finally:
        plugins.disable(application, "audit")


def application_with_a_scope():
    return Application(
        ModelHive.routes_for(Tenant, write_only=["password"]),
        audit_scope=lambda entries, handler: entries.filter(user=handler.current_user),
    )


@pytest.fixture
def application(mongodb_database):
    return application_with_a_scope()


@pytest.fixture
def client(application):
    with audited(application) as client:
        yield client


@pytest.fixture
def signed_in(monkeypatch):
    """Whoever asks says who it is."""
    monkeypatch.setattr(
        ModelHandler, "get_current_user", lambda handler: handler.request.headers.get("X-User")
    )


def trail():
    """What was done to what, and the changes, in the order in which it was stored."""
    return [
        (entry.what, entry.model, entry.document, [(c.field, c.before, c.after) for c in entry.changes])
        for entry in AuditEntry.objects.order_by("id")
    ]


def test_what_is_created_updated_and_deleted_is_kept(client):
    ann = client.post("/tenant", json={"name": "Ann", "age": 7}).headers["X-Created-Id"]
    client.patch(f"/tenant/{ann}", json={"name": "Eve", "age": None})
    client.delete(f"/tenant/{ann}")
    assert trail() == [
        ("created", "Tenant", ann, []),
        ("updated", "Tenant", ann, [("name", "Ann", "Eve"), ("age", "7", None)]),
        ("deleted", "Tenant", ann, []),
    ]


def test_an_entry_says_when_by_whom_and_in_which_request(client, signed_in):
    reply = client.post("/tenant", json={"name": "Ann"}, headers={"X-User": "bob"})
    [entry] = AuditEntry.objects
    assert (entry.user, entry.request_id) == ("bob", reply.headers["X-Request-ID"])
    assert abs(entry.when.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(hours=1)


def test_what_is_read_refused_or_left_as_it_is_leaves_no_entry(client):
    ann = Tenant(name="Ann").save()
    assert client.get("/tenant").status == client.get(f"/tenant/{ann.pk}").status == 200
    assert client.post("/tenant", json={}).status == 400
    assert client.delete("/tenant/nobody").status == 404
    assert trail() == []


def test_a_change_inside_an_embedded_document_is_one_of_its_holder(client):
    flat = f"/tenant/{Tenant(name='Ann').save().pk}/flat"
    with recorded(signals.receiver_failed) as failed:
        client.post(flat, json={"city": "Rome"})
        client.put(flat, json={"city": "Bonn"})
        client.delete(flat)
    assert [(what, model) for what, model, *_ in trail()] == [("updated", "Tenant")] * 3
    assert trail()[1][-1] == [("flat.city", "Rome", "Bonn")]
    assert failed == []


def test_secrets_are_not_kept_and_long_values_are_cut(client):
    ann = Tenant(name="Ann", password="old").save()
    client.patch(f"/tenant/{ann.pk}", json={"password": "new", "name": "x" * 2 * LONGEST})
    changes = [("name", "Ann", "x" * LONGEST), ("password", "***", "***")]
    assert trail() == [("updated", "Tenant", str(ann.pk), changes)]


def test_audit_recorded_is_sent_with_the_stored_entry(client):
    with recorded(audit_recorded) as heard:
        client.post("/tenant", json={"name": "Ann"})
    [told] = heard
    assert (told.sender, told.arguments["entry"]) == (Tenant, AuditEntry.objects.get())


def test_the_trail_is_served_read_only_to_whom_the_scope_lets_see_it(client, signed_in):
    ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
    client.post("/tenant", json={"name": "Ann"}, headers=ann)
    [entry] = client.get("/audit_entry", headers=ann).json
    assert (entry["what"], entry["user"]) == ("created", "ann")
    assert client.get("/audit_entry", headers=bob).json == []
    assert client.get(f"/audit_entry/{entry['id']}", headers=bob).status == 404
    for method in ("PUT", "PATCH", "DELETE"):
        assert client.request(method, f"/audit_entry/{entry['id']}", json={}, headers=ann).status == 405


def test_the_trail_is_served_before_a_route_that_takes_everything(mongodb_database):
    routes = [*ModelHive.routes_for(Tenant, hidden=["password"]), (".*", NotFoundHandler)]
    application = Application(routes, audit_scope=lambda entries, handler: entries)
    with audited(application) as client:
        assert client.get("/audit_entry").json == client.get("/tenant").json == []
        assert client.get("/nothing").status == 404


def test_without_a_scope_the_trail_is_kept_but_not_served(mongodb_database):
    application = Application(ModelHive.routes_for(Tenant, hidden=["password"]))
    with audited(application) as client:
        client.post("/tenant", json={"name": "Ann"})
        assert client.get("/audit_entry").status == 404
    assert len(trail()) == 1


def test_an_entry_that_cannot_be_stored_leaves_the_client_its_answer(new_mongodb_database):
    new_mongodb_database.create_collection("audit", validator={"never": {"$exists": True}})
    with (
        recorded(signals.receiver_failed) as failed,
        recorded(audit_recorded) as heard,
        audited(application_with_a_scope()) as client,
    ):
        assert client.post("/tenant", json={"name": "Ann"}).status == 201
    assert [told.sender for told in failed] == [Tenant]
    assert heard == []


def test_a_disabled_audit_keeps_nothing_until_it_is_enabled(application, client):
    plugins.disable(application, "audit")
    client.post("/tenant", json={"name": "Ann"})
    assert trail() == []
    plugins.enable(application, "audit")
    client.post("/tenant", json={"name": "Bob"})
    assert len(trail()) == 1
