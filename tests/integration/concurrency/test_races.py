"""Clients change the same document at the same time: no change is lost, and nothing comes back."""

import http.client
import json
import threading
import uuid
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import count

import mongoengine as me
import pytest
from mongoengine import signals as mongoengine_signals

from hive import ModelHive, flatten, races, signals, storage
from hive.testing import recorded, serve
from tests.support.threads import PATIENCE, at_once

FIELDS = ("a", "b", "c", "d", "e")
JSON_PATCH = {"Content-Type": "application/json-patch+json"}


class RivalPart(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()
    note = me.StringField()


class RivalFriend(me.Document):
    name = me.StringField()


class RivalNote(me.Document):
    a = me.StringField()
    b = me.StringField()
    c = me.StringField()
    d = me.StringField()
    e = me.StringField(db_field="ee")
    count = me.IntField(default=0)
    part = me.EmbeddedDocumentField(RivalPart)
    parts = me.EmbeddedDocumentListField(RivalPart)
    tags = me.ListField(me.StringField())
    data = me.DictField()
    friend = me.ReferenceField(RivalFriend)
    friends = me.ListField(me.ReferenceField(RivalFriend))


ROUTES = flatten(ModelHive.routes_for(model, deadline=PATIENCE) for model in (RivalNote, RivalFriend))


class Browser:
    """A client that keeps its connection, for many requests."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def close(self):
        self.connection.close()

    def request(self, method, path, body=None, headers=()):
        sent = {"Content-Type": "application/json", **dict(headers)}
        self.connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()


def raw():
    return RivalNote._get_collection().find_one()


# Many at once


@pytest.fixture
def patience(monkeypatch):
    """Everybody tries until they succeed, however slow the machine is."""
    monkeypatch.setattr(races, "PATIENCE", PATIENCE)


@pytest.mark.system
def test_fifty_clients_that_count_with_if_match_count_every_time(mongodb_database):
    clients, each, seen = 50, 3, []
    path = f"/rival_note/{RivalNote().save().pk}"
    all_have_read, polite = threading.Barrier(clients), threading.Semaphore(2)

    def read(browser):
        status, headers, body = browser.request("GET", path)
        assert status == 200
        return json.loads(body)["count"], headers["Etag"]

    def write(browser, count, tag):
        """Write it until that is answered: the key keeps it from being done twice."""
        headers = {"If-Match": tag, "Idempotency-Key": f'"{uuid.uuid4()}"'}
        while True:
            status, told, _ = browser.request("PATCH", path, {"count": count}, headers)
            if "Retry-After" not in told:
                seen.append(status)
                return status

    def add_one(browser):
        """Read the counter and write it back with one more, until nobody was faster."""
        status = 412
        while status == 412:
            with polite:
                count, tag = read(browser)
                status = write(browser, count + 1, tag)
        return count + 1

    def count_on(port):
        with closing(Browser(port)) as browser:
            count, tag = read(browser)
            all_have_read.wait(PATIENCE)
            first = [count + 1] if write(browser, count + 1, tag) == 200 else [add_one(browser)]
            return first + [add_one(browser) for _ in range(each - 1)]

    with serve(ROUTES) as client:
        counted = at_once([lambda: count_on(client.port)] * clients)
    assert RivalNote.objects.get().count == clients * each == seen.count(200)
    assert sorted(number for numbers in counted for number in numbers) == list(range(1, clients * each + 1))
    assert set(seen) == {200, 412}
    assert seen.count(412) >= clients - 1  # all but one of those who had read the same


@pytest.mark.parametrize(
    ("servers", "is_polite"),
    [
        pytest.param(1, True, id="one server"),
        pytest.param(2, True, id="two servers"),
        pytest.param(2, False, id="two servers, of which none waits for the other"),
    ],
)
@pytest.mark.usefixtures("patience")
def test_changes_of_single_fields_are_chains_and_none_is_lost(
    mongodb_database, monkeypatch, servers, is_polite
):
    clients, each = 6, 15
    if not is_polite:  # as between processes
        monkeypatch.setattr(storage, "turn", lambda *_: nullcontext(False))
    path = f"/rival_note/{RivalNote(**dict.fromkeys(FIELDS, 'first')).save().pk}"

    def change(number, port):
        with closing(Browser(port)) as browser:
            return [
                browser.request("PATCH", path, {FIELDS[(number + turn) % 5]: f"{number}/{turn}"})[0]
                for turn in range(each)
            ]

    with ExitStack() as stack:
        ports = [stack.enter_context(serve(ROUTES)).port for _ in range(servers)]
        heard = stack.enter_context(recorded(signals.post_update_instance))
        statuses = at_once(
            [lambda number=number: change(number, ports[number % servers]) for number in range(clients)]
        )
    assert statuses == [[200] * each] * clients
    updates = [told.arguments["updated_fields"] for told in heard]
    assert sum(map(len, updates)) == len(updates) == clients * each
    stored = RivalNote.objects.get()
    for name in FIELDS:
        steps = [update[name] for update in updates if name in update]
        following = {step["from"]: step["to"] for step in steps}
        assert len(following) == len(steps)
        value, links = "first", 0
        while value in following:
            value, links = following[value], links + 1
        assert (links, value) == (len(steps), stored[name])


@pytest.mark.usefixtures("patience")
def test_items_that_many_add_are_all_there(mongodb_database):
    path, many = f"/rival_note/{RivalNote().save().pk}", range(6)

    def add(number, client):
        tag = [op("add", "/tags/-", value=f"tag {number}")]
        return [
            client.patch(path, body=json.dumps(tag), headers=JSON_PATCH, timeout=PATIENCE).status,
            client.post(f"{path}/parts", json={"slug": f"part {number}"}, timeout=PATIENCE).status,
            client.post(f"{path}/friends", json={"name": f"friend {number}"}, timeout=PATIENCE).status,
        ]

    with serve(ROUTES) as client:
        statuses = at_once([lambda number=number: add(number, client) for number in many])
    assert statuses == [[200, 201, 201]] * len(many)
    note = RivalNote.objects.get()
    assert sorted(note.tags) == [f"tag {number}" for number in many]
    assert sorted(part.slug for part in note.parts) == [f"part {number}" for number in many]
    assert sorted(friend.name for friend in note.friends) == [f"friend {number}" for number in many]


@pytest.mark.usefixtures("patience")
def test_what_is_deleted_while_many_change_it_is_gone_for_all(mongodb_database):
    with serve(ROUTES) as client:
        for _ in range(5):
            path = f"/rival_note/{RivalNote(a='first', part=RivalPart(slug='x')).save().pk}"

            def change(path, body):
                """The statuses of changes until the document is gone, and of one more."""
                statuses = [client.patch(path, json=body, timeout=PATIENCE).status]
                while statuses[-1] == 200:
                    more = body | {"note": str(len(statuses))}
                    statuses.append(client.patch(path, json=more, timeout=PATIENCE).status)
                return [*statuses, client.patch(path, json=body, timeout=PATIENCE).status]

            seen = at_once(
                [
                    lambda path=path: change(f"{path}/part", {"size": 1}),
                    lambda path=path: change(f"{path}/part", {"size": 2}),
                    lambda path=path: client.delete(path, timeout=PATIENCE).status,
                ]
            )
            assert seen.pop() == 204
            assert all(set(statuses[:-2]) <= {200} and statuses[-2:] == [404, 404] for statuses in seen)
            assert raw() is None


# One race, for certain: what another does when mongoengine is about to save


class Rival:
    """A receiver that does something to the document behind hive, the first time that it is called."""

    def __init__(self, change):
        self.change, self.came = change, 0

    def __call__(self, *_, **__):
        self.came += 1
        if self.came == 1:
            self.change()


def rivalled(change, signal=mongoengine_signals.pre_save):
    rival = Rival(change)
    return rival, signal.connected_to(rival, sender=RivalNote)


def setting(**values):
    return lambda: RivalNote._get_collection().update_one({}, {"$set": values})


@contextmanager
def serving_note():
    """One of everything; the client knows its path."""
    friends = [RivalFriend(name=name).save() for name in ("Ann", "Bob")]
    document = RivalNote(
        a="a", b="b", e="e", tags=["t"], data={"x": 1, "y": {"z": 1}}, part=RivalPart(slug="p", size=1),
        parts=[RivalPart(slug="p", size=1), RivalPart(slug="q", size=2)], friend=friends[0], friends=friends,
    ).save()  # fmt: skip
    with serve(ROUTES) as client:
        client.pk, client.path, client.ann = document.pk, f"/rival_note/{document.pk}", friends[0].pk
        yield client


@pytest.fixture
def note(mongodb_database):
    with serving_note() as client:
        yield client


@pytest.fixture
def either(database):
    """For the conditions of writes, which MongoDB or mongomock decides."""
    with serving_note() as client:
        yield client


def send(client, method, part, body):
    path = client.path + part.format(ann=client.ann)
    if method == "JSON PATCH":
        return client.patch(path, body=json.dumps(body), headers=JSON_PATCH)
    return client.request(method, path, json=body)


def op(name, path, **more):
    return {"op": name, "path": path, **more}


# method, path below the note, body, what another sets, and what is then stored of the note
BOTH = {
    "PUT and another field": ("PUT", "", {"a": "A"}, {"b": "B"}, {"a": "A", "b": "B"}),
    "PATCH and another field": ("PATCH", "", {"a": "A"}, {"ee": "E"}, {"a": "A", "ee": "E"}),
    "PATCH and the same field": ("PATCH", "", {"a": "A"}, {"a": "B"}, {"a": "A"}),
    "a JSON Patch and another field": (
        "JSON PATCH", "", [op("replace", "/a", value="A")], {"b": "B"}, {"a": "A", "b": "B"},
    ),
    "a JSON Patch that appends": (
        "JSON PATCH", "", [op("add", "/tags/-", value="mine")], {"tags": ["t", "theirs"]},
        {"tags": ["t", "theirs", "mine"]},
    ),
    "a JSON Patch that copies what is there by then": (
        "JSON PATCH", "", [op("copy", "/b", **{"from": "/a"})], {"a": "A"}, {"a": "A", "b": "A"},
    ),
    "PATCH of keys of a dictionary": (
        "PATCH", "", {"data": {"x": None, "w": 1}}, {"data.y.z": 2}, {"data": {"y": {"z": 2}, "w": 1}},
    ),
    "PATCH of an embedded document within": (
        "PATCH", "", {"part": {"size": 5}}, {"part.note": "n"},
        {"part": {"slug": "p", "size": 5, "note": "n"}},
    ),
    "PATCH of an embedded document": (
        "PATCH", "/part", {"size": 5}, {"part.note": "n"}, {"part": {"slug": "p", "size": 5, "note": "n"}},
    ),
    "PATCH of an item whose place in the list changes": (
        "PATCH", "/parts/q", {"size": 5}, {"parts": [{"slug": "q", "size": 3, "note": "n"}, {"slug": "p"}]},
        {"parts": [{"slug": "q", "size": 5, "note": "n"}, {"slug": "p"}]},
    ),
    "POST of an item": (
        "POST", "/parts", {"slug": "r"}, {"parts": [{"slug": "s"}]},
        {"parts": [{"slug": "s"}, {"slug": "r"}]},
    ),
    "DELETE of an item": (
        "DELETE", "/parts/p", None, {"parts": [{"slug": "s"}, {"slug": "p"}]}, {"parts": [{"slug": "s"}]},
    ),
    "DELETE of an embedded document": ("DELETE", "/part", None, {"a": "A"}, {"a": "A", "part": None}),
    "DELETE of a reference": ("DELETE", "/friend", None, {"a": "A"},
        {"a": "A", "friend": None}),
}  # fmt: skip


@pytest.mark.parametrize(("method", "part", "body", "change", "then"), BOTH.values(), ids=BOTH)
def test_what_another_changed_meanwhile_survives(either, method, part, body, change, then):  # noqa: PLR0917
    rival, connected = rivalled(setting(**change))
    with connected, recorded(signals.post_update_instance) as heard:
        answer = send(either, method, part, body)
    assert answer.status in (200, 201, 204), answer.body
    assert rival.came == 2  # it was done anew
    stored = raw()
    assert {name: stored.get(name) for name in then} == then
    told = heard[-1].arguments["updated_fields"]
    assert heard[-1].sender is RivalNote
    assert told
    for name in change.keys() & {"a", "tags"} & told.keys():
        assert told[name]["from"] == change[name]
    assert not {"b", "e"} & told.keys() or part == ""
    if method in ("PUT", "PATCH", "JSON PATCH"):
        assert answer.json == either.get(either.path + part).json


WRITES = {
    "PUT": ("PUT", "", {"a": "A"}),
    "PATCH": ("PATCH", "", {"a": "A"}),
    "a JSON Patch": ("JSON PATCH", "", [op("add", "/tags/-", value="x")]),
    "PATCH of an embedded document": ("PATCH", "/part", {"size": 5}),
    "DELETE of an embedded document": ("DELETE", "/part", None),
    "POST of an item": ("POST", "/parts", {"slug": "r"}),
    "PUT of an item": ("PUT", "/parts/p", {"size": 5}),
    "DELETE of an item": ("DELETE", "/parts/p", None),
    "POST of a document to which it refers": ("POST", "/friend", {"name": "Eve"}),
    "POST of a document to a list": ("POST", "/friends", {"name": "Eve"}),
    "DELETE of a reference": ("DELETE", "/friend", None),
    "DELETE of a reference in a list": ("DELETE", "/friends/{ann}", None),
}


def gone():
    RivalNote._get_collection().delete_one({})


def assert_is_404_and_stays_deleted(client, write, signal):
    rival, connected = rivalled(gone, signal)
    with connected, recorded(signals.post_update_instance, signals.post_create_instance) as heard:
        answer = send(client, *write)
    assert answer.status == 404, answer.body
    assert rival.came == 1
    assert heard == []
    assert raw() is None
    assert sorted(friend.name for friend in RivalFriend.objects) == ["Ann", "Bob"]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_another_deleted_meanwhile_is_404_and_stays_deleted(note, write):
    assert_is_404_and_stays_deleted(note, write, mongoengine_signals.pre_save)


@pytest.mark.parametrize("write", ["PATCH", "POST of an item", "POST of a document to a list"])
@pytest.mark.parametrize(
    "signal",
    [
        pytest.param(signals.pre_update_instance, id="before it is told"),
        pytest.param(mongoengine_signals.pre_save_post_validation, id="when it was validated"),
    ],
)
def test_it_is_the_same_whenever_another_deletes_it(note, write, signal):
    assert_is_404_and_stays_deleted(note, WRITES[write], signal)


def test_deleting_what_another_deleted_is_404(either):
    rival, connected = rivalled(gone, signals.pre_delete_instance)
    with connected:
        assert either.delete(either.path).status == 404
    assert rival.came == 1


def test_deleting_what_another_changed_deletes_it(either):
    _, connected = rivalled(setting(a="A"), signals.pre_delete_instance)
    with connected:
        assert either.delete(either.path).status == 204
    assert raw() is None


def test_what_is_no_more_valid_with_the_change_of_another_is_not_stored(note):
    """A JSON Patch is one of what is there by then, also where that does not fit any more."""
    patch = [op("remove", "/tags/1"), op("replace", "/a", value="A")]
    setting(tags=["t", "u"])()
    rival, connected = rivalled(setting(tags=["t"]))
    with connected:
        assert send(note, "JSON PATCH", "", patch).status == 409
    assert rival.came == 1
    assert (raw()["a"], raw()["tags"]) == ("a", ["t"])


def test_who_is_always_outrun_hears_of_it(note, monkeypatch):
    monkeypatch.setattr(races, "PATIENCE", 0.1)
    changes = count(1)

    def outrun(*_, **__):
        setting(a=f"rival {next(changes)}")()

    with mongoengine_signals.pre_save.connected_to(outrun, sender=RivalNote):
        answer = note.patch(note.path, json={"a": "A"})
    assert answer.status == 409
    assert "Too many" in answer.json["detail"]
    assert raw()["a"].startswith("rival")


@pytest.mark.usefixtures("patience")
def test_who_is_outrun_by_changes_of_other_fields_comes_in_at_last(either):
    changes = count(1)

    def outrun(*_, **__):
        setting(count=next(changes))()

    with mongoengine_signals.pre_save.connected_to(outrun, sender=RivalNote):
        assert either.patch(either.path, json={"a": "A"}).status == 200
    assert (raw()["a"], raw()["count"]) == ("A", next(changes) - 1)
