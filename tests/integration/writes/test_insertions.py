"""Documents that are created at once are inserted by one command, each as if alone."""

import uuid

import mongoengine as me
import pytest
from mongoengine.signals import post_save, pre_save
from pymongo.errors import AutoReconnect, DocumentTooLarge

from hive import ModelHive, flatten, signals
from hive.insertions import Insertion
from hive.testing import connected, recorded, serve
from tests.support.commands import Listener
from tests.support.threads import PATIENCE, at_once, wait_for


class InsertedNote(me.Document):
    text = me.StringField(required=True, max_length=10)
    code = me.IntField(unique=True, sparse=True)
    tags = me.ListField(me.StringField())


class InsertedKey(me.Document):
    name = me.StringField(primary_key=True)


class InsertedBase(me.Document):
    meta = {"allow_inheritance": True}
    text = me.StringField()


class InsertedSub(InsertedBase):
    more = me.StringField()


class InsertedSaved(me.Document):
    text = me.StringField()

    def save(self, *args, **kwargs):
        self.text = f"saved {self.text}"
        return super().save(*args, **kwargs)


class InsertedCleaned(me.Document):
    text = me.StringField()

    def clean(self):
        if self.text == "wrong":
            raise me.ValidationError("is wrong")
        self.text = f"clean {self.text}"


class InsertedCascading(me.Document):
    meta = {"cascade": True}
    text = me.StringField()


class InsertedNumber(me.Document):
    number = me.SequenceField()
    text = me.StringField()


class InsertedTags(me.Document):
    tags = me.ListField(me.StringField())


MODELS = (
    InsertedNote,
    InsertedKey,
    InsertedBase,
    InsertedSaved,
    InsertedCleaned,
    InsertedCascading,
    InsertedNumber,
)
ROUTES = flatten([ModelHive.routes_for(model, deadline=60) for model in MODELS])
NOTES = ROUTES[0].kwargs["resource"]


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(server, mongodb_database):
    return server


class Insertions(Listener):
    """How many documents each command inserts. The first one waits until all others wait for it to end."""

    def __init__(self):
        self.sizes, self.all = [], 0

    def started(self, event):
        if event.command_name == "insert":
            self.sizes.append(len(event.command["documents"]))
            if len(self.sizes) == 1:
                wait_for(lambda: self.sizes[0] + self.waiting() >= self.all)

    def waiting(self):
        return sum(len(batch.waiting) for batch in NOTES.batches.values())


@pytest.fixture
def insertions(server, mongodb_server, monkeypatch):
    """The insertions of notes, of which one is under way at once."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    monkeypatch.setattr("hive.threads.LONG", PATIENCE)
    insertions, name = Insertions(), f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=[insertions]) as database:
        yield insertions
        database.client.drop_database(name)


def posted(api, path, bodies):
    return at_once([lambda body=body: api.post(path, json=body, timeout=PATIENCE) for body in bodies])


def test_many_that_come_at_once_are_few_insertions(server, insertions):
    insertions.all = 12
    bodies = [{"text": f"note {number}", "code": number, "tags": ["a"]} for number in range(12)]
    replies = posted(server, "/inserted_note", bodies)
    assert [reply.status for reply in replies] == [201] * 12
    assert [{**body, "id": reply.json["id"]} for body, reply in zip(bodies, replies, strict=True)] == [
        reply.json for reply in replies
    ]
    assert sum(insertions.sizes) == 12
    assert len(insertions.sizes) <= 2
    stored = {str(note.id): (note.text, note.code, note.tags) for note in InsertedNote.objects}
    assert stored == {
        reply.headers["X-Created-Id"]: (body["text"], body["code"], ["a"])
        for body, reply in zip(bodies, replies, strict=True)
    }


def test_each_hears_of_its_own_mistake(api):
    InsertedNote(text="there", code=0).save()
    good = [{"text": f"note {number}", "code": number} for number in range(1, 11)]
    bad = [{"text": "taken", "code": 0}, {"code": 20}, {"text": "longer than ten"}, {"text": 1}, {"x": 1}]
    replies = posted(api, "/inserted_note", good + bad * 2)
    assert [reply.status for reply in replies] == [201] * 10 + [409, 400, 400, 400, 400] * 2
    for taken in (replies[10], replies[15]):
        assert taken.json["errors"] == [{"field": "code", "message": "is taken"}]
    assert [reply.json["errors"][0]["field"] for reply in replies[11:15]] == ["text", "text", "text", "x"]
    assert InsertedNote.objects.count() == 11


def test_of_several_with_the_same_unique_value_one_is_created(api):
    for number in range(2):
        replies = posted(api, "/inserted_note", [{"text": "same", "code": number}] * 8)
        assert sorted(reply.status for reply in replies) == [201] + [409] * 7
        keys = posted(api, "/inserted_key", [{"name": f"key {number}"}] * 8)
        assert sorted(reply.status for reply in keys) == [201] + [409] * 7
        taken = next(reply for reply in keys if reply.status == 409)
        assert taken.json["errors"] == [{"field": "name", "message": "is taken"}]
    assert InsertedNote.objects.count() == InsertedKey.objects.count() == 2


def test_classes_of_one_collection_go_together(api):
    bodies = [{"text": "base"}, {"_cls": "InsertedBase.InsertedSub", "more": "sub"}] * 8
    replies = posted(api, "/inserted_base", bodies)
    assert [reply.json["_cls"] for reply in replies] == ["InsertedBase", "InsertedBase.InsertedSub"] * 8
    assert InsertedSub.objects.count() == 8


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/inserted_saved", "saved text"),
        ("/inserted_cleaned", "clean text"),
        ("/inserted_cascading", "text"),
        ("/inserted_number", "text"),
    ],
)
def test_what_a_model_does_when_it_is_made_or_saved_is_done_once(api, path, expected):
    api.delete(f"{path}/{api.post(path, json={'text': 'first'}).json['id']}")
    replies = posted(api, path, [{"text": "text"}] * 8)
    assert [reply.status for reply in replies] == [201] * 8
    assert [reply.json["text"] for reply in replies] == [expected] * 8
    assert [item["text"] for item in api.get(path).json] == [expected] * 8


def test_sequences_go_on(api):
    api.post("/inserted_number", json={"text": "the first makes the counter"})
    replies = posted(api, "/inserted_number", [{"text": "text"}] * 8)
    numbers = sorted(reply.json["number"] for reply in replies)
    assert numbers == list(range(numbers[0], numbers[0] + 8))


def test_what_clean_says_is_400(api):
    assert api.post("/inserted_cleaned", json={"text": "wrong"}).status == 400
    assert InsertedCleaned.objects.count() == 0


@pytest.mark.parametrize("signal", [pre_save, post_save], ids=["pre_save", "post_save"])
def test_signals_of_mongoengine_are_sent(api, signal):
    heard = []

    def hear(sender, document, **_):
        heard.append(document.text)

    with signal.connected_to(hear, sender=InsertedNote):
        replies = posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(8)])
    assert [reply.status for reply in replies] == [201] * 8
    assert sorted(heard) == [f"note {number}" for number in range(8)]


def test_receivers_have_the_document_as_it_is_stored(api):
    seen = []

    def change(sender, instance):
        seen.append((instance.pk is not None, instance._created, instance._get_changed_fields()))
        instance.text = "changed"
        instance.save()

    with signals.post_create_instance.connected_to(change, InsertedNote):
        replies = posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(6)])
    assert [reply.status for reply in replies] == [201] * 6
    assert seen == [(True, False, [])] * 6
    assert [note.text for note in InsertedNote.objects] == ["changed"] * 6


def test_each_has_its_pair_of_signals(api):
    with recorded() as heard:
        posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(8)])
    names = [told.name for told in heard if told.sender is InsertedNote]
    assert sorted(names) == ["post_create_instance"] * 8 + ["pre_create_instance"] * 8


def test_what_is_only_heard_afterwards_is_inserted_together(server, insertions):
    insertions.all = 12
    heard = []
    with signals.post_create_instance.connected_to(lambda _, instance: heard.append(instance.text)):
        posted(server, "/inserted_note", [{"text": f"note {number}"} for number in range(12)])
    assert sorted(heard) == sorted(f"note {number}" for number in range(12))
    assert sum(insertions.sizes) == 12
    assert len(insertions.sizes) <= 2


def test_who_may_not_create_creates_nothing_beside_those_who_may(mongodb_database):
    def is_yes(handler, document):
        return document is None or document.text != "no"

    routes = ModelHive.routes_for(InsertedNote, deadline=60, allow={"create": is_yes})
    with serve(routes) as api:
        replies = posted(api, "/inserted_note", [{"text": "yes"}, {"text": "no"}] * 6)
    assert [reply.status for reply in replies] == [201, 401] * 6
    assert {note.text for note in InsertedNote.objects} == {"yes"}


def test_every_document_is_inserted_or_answered_when_mongodb_goes_away(api, monkeypatch):
    def fails(self, *args, **kwargs):
        raise AutoReconnect("gone")

    monkeypatch.setattr("pymongo.collection.Collection.insert_one", fails)
    monkeypatch.setattr("pymongo.collection.Collection.insert_many", fails)
    replies = posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(8)])
    assert [reply.status for reply in replies] == [503] * 8
    assert all("Retry-After" in reply.headers for reply in replies)
    monkeypatch.undo()
    assert InsertedNote.objects.count() == 0


def test_a_bug_in_the_driver_leaves_nobody_waiting(api, monkeypatch):
    def fails(self, *args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("pymongo.collection.Collection.insert_one", fails)
    monkeypatch.setattr("pymongo.collection.Collection.insert_many", fails)
    replies = posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(8)])
    assert [reply.status for reply in replies] == [500] * 8


def test_one_that_is_too_large_keeps_nobody_from_it(insertions):
    works = [Insertion(InsertedTags(tags=["x" * length])) for length in (1, 2**24 + 2**15, 2)]
    works[0].do(works)
    assert [type(work.error) for work in works] == [type(None), DocumentTooLarge, type(None)]
    assert insertions.sizes == [2]
    assert sorted(len(tags) for [tags] in InsertedTags.objects.scalar("tags")) == [1, 2]
