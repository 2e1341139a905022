"""Requests that come at once share what is the same for all of them, and nothing else."""

import json
import re
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import mongoengine as me
import pytest
from tornado.web import Application

import hive
from hive import AuthHive, ModelHive, Provider, flatten, signals
from hive.testing import connected, serve
from tests.support.commands import Listener
from tests.support.threads import PATIENCE, at_once, wait_for

JSON_HEADERS = b"Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


class Trusting(Provider):
    """Takes everybody for who they say they are."""

    async def authenticate(self, credentials, handler):
        return credentials


class SharedNumber(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()


class SharedPrice(me.Document):
    price = me.Decimal128Field(primary_key=True)


class SharedNote(me.EmbeddedDocument):
    text = me.StringField()
    by = me.StringField()

    def to_dict(self):
        return {"text": self.text if self.by == hive.context.get().current_user["id"] else None}


class SharedNoted(me.Document):
    note = me.EmbeddedDocumentField(SharedNote)


class SharedShape(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class SharedOwnShape(SharedShape):
    phone = me.StringField()

    def to_dict(self):
        return {"name": self.name, "for": hive.context.get().current_user["id"]}


class SharedDefault(me.Document):
    mine = me.StringField(default=lambda: hive.context.get().current_user["id"])


class SharedPerson(me.Document):
    name = me.StringField()


class SharedPlace(me.Document):
    at = me.PointField()


class SharedSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


class SharedTagged(me.Document):
    tag = me.ReferenceField(SharedSlug)


def for_ann(queryset, handler):
    return queryset if handler.request.headers.get("X-User") == "ann" else queryset.none()


@pytest.fixture
def together(monkeypatch):
    """Every request waits for those that come soon after it, as where many are under way."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 0)


def routes_of(*models):
    return flatten([ModelHive.routes_for(model) for model in models])


def raw(port, method, target, body=b""):
    """Status, head and body of the answer to a request whose target no client of HTTP would send."""
    length = b"Content-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"%s %s HTTP/1.1\r\n%s%s\r\n%s" % (method, target, JSON_HEADERS, length, body))
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, answer = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, answer


def links(reply):
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def test_the_right_document_is_read_whatever_the_spelling_of_the_prefix(mongodb_database, together):
    SharedNumber.objects.insert([SharedNumber(number=number) for number in (1234567, 4567)])
    with serve(ModelHive.routes_for(SharedNumber, prefix="/café")) as api:
        target = "/café/shared_number/1234567".encode()
        for status, _, body in at_once([lambda: raw(api.port, b"GET", target)] * 2):
            assert status == 200
            assert json.loads(body)["number"] == 1234567


@pytest.mark.parametrize("most", [0, 4])
def test_a_change_is_of_the_document_that_the_url_names(mongodb_database, monkeypatch, most):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", most)
    SharedNumber.objects.insert([SharedNumber(number=number, name="old") for number in (1234567, 4567)])
    with serve(ModelHive.routes_for(SharedNumber, prefix="/café")) as api:
        target = "/café/shared_number/1234567".encode()
        replies = at_once([partial(raw, api.port, b"PUT", target, b'{"name":"%d"}' % n) for n in range(20)])
        assert 200 in {status for status, *_ in replies}
    assert SharedNumber.objects.get(number=4567).name == "old"
    assert SharedNumber.objects.get(number=1234567).name != "old"


def test_documents_whose_primary_key_is_a_decimal_are_read_together(mongodb_database, together):
    SharedPrice(price="1.50").save()
    with serve(ModelHive.routes_for(SharedPrice)) as api:
        replies = at_once([lambda: api.get("/shared_price/1.50")] * 3)
        assert [reply.status for reply in replies] == [200] * 3
        assert {reply.json["price"] for reply in replies} == {api.get("/shared_price/1.50").json["price"]}


@pytest.mark.parametrize("path", ["/shared_noted", "/shared_shape", "/shared_default"])
def test_two_users_do_not_share_what_code_of_the_application_makes(mongomock_database, together, path):
    SharedNoted(note=SharedNote(text="ann's secret", by="ann")).save()
    SharedOwnShape(name="s").save()
    SharedDefault._get_collection().insert_one({})
    models = routes_of(SharedNoted, SharedShape, SharedDefault)
    application = Application(flatten([AuthHive.routes_for([Trusting()]), models]))
    AuthHive.configure(application, secret_key="s" * 40)
    with serve(application) as api:
        signins = [api.post("/auth/signin/", json={"id": user}) for user in ("ann", "bob")]
        headers = [{"Cookie": reply.headers["Set-Cookie"].partition(";")[0]} for reply in signins]
        alone = [api.get(path, headers=one).json for one in headers]
        assert alone[0] != alone[1]
        for _ in range(5):
            replies = at_once([partial(api.get, path, headers=one) for one in headers])
            assert [reply.json for reply in replies] == alone


def test_what_a_receiver_does_to_its_instance_is_not_in_another_answer(mongodb_database, together):
    place = SharedPlace(at=[1, 2]).save()

    def change(sender, instance):
        instance.at["coordinates"][0] = 99

    heard = signals.post_get_instance.connected_to(change, SharedPlace)
    with serve(ModelHive.routes_for(SharedPlace)) as api, heard:
        for _ in range(8):
            for reply in at_once([lambda: api.get(f"/shared_place/{place.pk}")] * 4):
                assert reply.json["at"]["coordinates"] == [1, 2]


def test_applications_of_one_resource_have_cursors_of_their_own(mongodb_database, together):
    SharedPerson.objects.insert([SharedPerson() for _ in range(3)])
    routes = ModelHive.routes_for(SharedPerson)
    one, other = (Application(routes, cookie_secret=letter * 40) for letter in "ab")
    with serve(one) as first, serve(other) as second:
        apis = first, second
        for _ in range(3):
            replies = at_once([partial(api.get, "/shared_person?per_page=1") for api in apis])
            for api, reply in zip(apis, replies, strict=True):
                assert api.get(links(reply)["next"]).status == 200


# Under way


class Gate(Listener):
    """Holds the first query back until it is opened."""

    def __init__(self):
        self.opened, self.reached, self.armed = threading.Event(), threading.Event(), False

    def waiting(self):
        """How many requests wait to be answered together with others."""
        return sum(len(batch.waiting) for batch in self.resource.batches.values())

    def started(self, event):
        if self.armed and event.command_name == "find":
            self.armed = False
            self.reached.set()
            self.opened.wait(PATIENCE)


@pytest.fixture
def gate(mongodb_server, monkeypatch):
    """One query is under way at once, and the first one waits."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    monkeypatch.setattr("hive.threads.LONG", PATIENCE)
    gate, name = Gate(), f"hive-{uuid.uuid4().hex[:12]}"
    routes = flatten(
        [
            ModelHive.routes_for(SharedTagged, prefix="/own", deadline=60),
            ModelHive.routes_for(SharedSlug, prefix="/own", scope=for_ann, deadline=60),
        ]
    )
    with connected(name, host=mongodb_server, event_listeners=[gate]) as database:
        tag = SharedSlug(slug="s").save()
        SharedTagged(tag=tag).save()
        with serve(routes) as client:
            gate.client, gate.resource = client, routes[0].kwargs["resource"]
            yield gate
        database.client.drop_database(name)


def answers_together(gate, path, users):
    """The answers to users who ask for the same at once, while another one is served.

    Each begins when the one before is answered, or waits to be answered together with others.
    """
    with ThreadPoolExecutor(len(users) + 1) as threads:
        gate.armed = True
        first = threads.submit(gate.client.get, path, headers={"X-User": users[0]}, timeout=PATIENCE)
        wait_for(gate.reached.is_set)
        replies = []
        for number, user in enumerate(users, 1):
            reply = threads.submit(gate.client.get, path, headers={"X-User": user}, timeout=PATIENCE)
            wait_for(lambda reply=reply, number=number: reply.done() or gate.waiting() == number)
            replies.append(reply)
        gate.opened.set()
        assert first.result().status == 200
        return [reply.result().json for reply in replies]


def test_who_asks_at_once_with_another_does_not_find_what_is_only_for_him(gate):
    path = "/own/shared_tagged?tag=s"
    assert len(gate.client.get(path, headers={"X-User": "ann"}).json) == 1
    assert gate.client.get(path, headers={"X-User": "bob"}).json == []
    ann, bob = answers_together(gate, path, ["ann", "bob"])
    assert len(ann) == 1
    assert bob == []


def test_who_asks_at_once_with_another_does_not_see_what_is_only_for_him(gate):
    path = "/own/shared_tagged?exp%61nd=tag"
    [ann], [bob] = answers_together(gate, path, ["ann", "bob"])
    assert ann["tag"]["slug"] == "s"
    assert isinstance(bob["tag"], str)
