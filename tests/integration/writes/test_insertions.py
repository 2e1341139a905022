"""hive.insertions: documents that are created at once are inserted by one command, each as if alone."""

import uuid

import mongoengine as me
import pytest
from mongoengine.signals import post_save, pre_save
from pymongo.errors import AutoReconnect, BulkWriteError, DocumentTooLarge

from hive import ModelHive, flatten, signals
from hive.insertions import Insertion, is_only_inserted
from hive.testing import connected, recorded, serve
from tests.support.commands import Listener
from tests.support.threads import at_once


class Insertions(Listener):
    """How many documents each command has inserted."""

    def __init__(self):
        self.sizes = []

    def started(self, event):
        if event.command_name == "insert":
            self.sizes.append(len(event.command["documents"]))


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
ROUTES = flatten([ModelHive.routes_for(model) for model in MODELS])


@pytest.fixture
def insertions():
    return Insertions()


@pytest.fixture
def api(mongodb_server, insertions):
    with connected(
        f"insertions-{uuid.uuid4().hex[:8]}", host=mongodb_server, event_listeners=[insertions]
    ) as database:
        with serve(ROUTES) as client:
            yield client
        database.client.drop_database(database.name)


def posted(api, path, bodies):
    return at_once([lambda body=body: api.post(path, json=body) for body in bodies])


def test_many_that_come_at_once_are_few_insertions(api, insertions, monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    bodies = [{"text": f"note {number}", "code": number, "tags": ["a"]} for number in range(40)]
    replies = posted(api, "/inserted_note", bodies)
    assert [reply.status for reply in replies] == [201] * 40
    assert [{**body, "id": reply.json["id"]} for body, reply in zip(bodies, replies, strict=True)] == [
        reply.json for reply in replies
    ]
    assert sum(insertions.sizes) == 40
    assert max(insertions.sizes) > 1
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
    for number in range(5):
        replies = posted(api, "/inserted_note", [{"text": "same", "code": number}] * 12)
        assert sorted(reply.status for reply in replies) == [201] + [409] * 11
        keys = posted(api, "/inserted_key", [{"name": f"key {number}"}] * 12)
        assert sorted(reply.status for reply in keys) == [201] + [409] * 11
        taken = next(reply for reply in keys if reply.status == 409)
        assert taken.json["errors"] == [{"field": "name", "message": "is taken"}]
    assert InsertedNote.objects.count() == InsertedKey.objects.count() == 5


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
        assert not is_only_inserted(InsertedNote)
        replies = posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(8)])
    assert [reply.status for reply in replies] == [201] * 8
    assert sorted(heard) == [f"note {number}" for number in range(8)]
    assert is_only_inserted(InsertedNote)


def test_receivers_that_are_gone_have_no_say():
    with post_save.connected_to(print), post_save.connected_to(print, sender=InsertedNote):
        assert not is_only_inserted(InsertedNote)
        assert not is_only_inserted(InsertedKey)
    with post_save.connected_to(print, sender=InsertedNote):
        assert not is_only_inserted(InsertedNote)
        assert is_only_inserted(InsertedKey)
    with post_save.connected_to(print, sender=InsertedKey):
        assert is_only_inserted(InsertedNote)


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


def test_what_is_only_heard_afterwards_is_inserted_together(api, insertions, monkeypatch):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    heard = []
    with signals.post_create_instance.connected_to(lambda _, instance: heard.append(instance.text)):
        posted(api, "/inserted_note", [{"text": f"note {number}"} for number in range(40)])
    assert sorted(heard) == sorted(f"note {number}" for number in range(40))
    assert max(insertions.sizes) > 1


def test_who_may_not_create_creates_nothing_beside_those_who_may(mongodb_database):
    routes = ModelHive.routes_for(
        InsertedNote, allow={"create": lambda handler, document: document is None or document.text != "no"}
    )
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


# What the command says of each of several


class Refusing:
    """A collection whose server says this of an insertion."""

    codec_options = None

    def __init__(self, details):
        self.details = details

    def insert_many(self, documents, ordered):
        raise BulkWriteError(self.details)


@pytest.fixture
def works(mongodb_database):
    return [Insertion(InsertedNote(text=f"note {number}")) for number in range(3)]


def refused(works, monkeypatch, **details):
    monkeypatch.setattr(
        works[0], "collection", Refusing({"writeErrors": [], "writeConcernErrors": [], **details})
    )
    works[0].do(works)
    return [type(work.error).__name__ for work in works]


def test_only_those_that_are_refused_have_an_error(works, monkeypatch):
    told = [
        {"index": 0, "code": 11000, "errmsg": "E11000", "keyPattern": {"code": 1}},
        {"index": 2, "code": 121, "errmsg": "does not fit"},
    ]
    assert refused(works, monkeypatch, writeErrors=told) == ["DuplicateKeyError", "NoneType", "WriteError"]
    works[1].check()
    works[1].done()
    assert works[1].document.pk == works[1].image["_id"]
    for work, said in ((works[0], "E11000"), (works[2], "does not fit")):
        with pytest.raises(type(work.error), match=said):
            work.check()


def test_a_write_concern_that_is_not_met_is_told_to_all(works, monkeypatch):
    told = [{"code": 64, "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}]
    assert refused(works, monkeypatch, writeConcernErrors=told) == ["WTimeoutError"] * 3
    assert works[0].error.timeout  # so that the answer is 503
    told = [{"code": 100, "errmsg": "not enough data-bearing nodes"}]
    assert refused(works, monkeypatch, writeConcernErrors=told) == ["WriteConcernError"] * 3


@pytest.mark.usefixtures("api")
def test_one_that_is_too_large_keeps_nobody_from_it(insertions):
    works = [Insertion(InsertedTags(tags=["x" * length])) for length in (1, 2**24 + 2**15, 2)]
    works[0].do(works)
    assert [type(work.error) for work in works] == [type(None), DocumentTooLarge, type(None)]
    assert insertions.sizes == [2]
    assert sorted(len(tags) for [tags] in InsertedTags.objects.scalar("tags")) == [1, 2]
