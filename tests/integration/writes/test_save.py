"""`hive.save` and `hive.delete`: what an application itself stores and deletes is told as a request's is."""

import asyncio
import json

import mongoengine as me
import pytest
from mongoengine.signals import post_save, pre_save
from tornado.web import RequestHandler

import hive
from hive import ModelHive, Problem, signals
from hive.errors import Conflict, Invalid, NotFound
from hive.testing import recorded, serve
from tests.support.databases import on_both

CREATED = ["pre_create_instance", "post_create_instance"]
UPDATED = ["pre_update_instance", "post_update_instance"]
DELETED = ["pre_delete_instance", "post_delete_instance"]


class Refusal(Problem):
    status = 418
    sentence = "Not this."


class SavedPart(me.EmbeddedDocument):
    city = me.StringField()


class SavedFriend(me.Document):
    name = me.StringField(required=True)


class Saved(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField(required=True, max_length=9)
    email = me.StringField(unique=True, sparse=True)
    count = me.IntField(default=0)
    tags = me.ListField(me.StringField())
    part = me.EmbeddedDocumentField(SavedPart)
    friend = me.ReferenceField(SavedFriend, db_field="ff")


class SavedKind(Saved):
    more = me.StringField()


class SavedByItself(me.Document):
    """With code of its own around what is stored."""

    meta = {"lookup_field": "name"}
    name = me.StringField()
    cleaned = me.StringField()
    sealed = me.StringField()
    pre = me.StringField()

    def clean(self):
        self.cleaned = f"cleaned {self.name}"

    def save(self, *args, **kwargs):
        self.sealed = f"sealed {self.name}"
        return super().save(*args, **kwargs)


def save(document, **how):
    asyncio.run(hive.save(document, **how))


def delete(document, **how):
    asyncio.run(hive.delete(document, **how))


def names(heard):
    return [told.name for told in heard]


def raw(model):
    return [dict(one) for one in model._get_collection().find(sort=[("_id", 1)])]


pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A write that loses a race is tried again, however slow the machine is."""
    monkeypatch.setattr("hive.races.PATIENCE", 120)
    monkeypatch.setattr("hive.pool.DEADLINE", 60)


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


# New


@pytest.mark.parametrize("model", [Saved, SavedKind, SavedByItself], ids=lambda model: model.__name__)
def test_a_new_document_is_stored_and_told_as_created(model):
    document = model(name="n")
    with recorded() as heard:
        save(document)
    assert [(told.name, told.sender) for told in heard] == [(name, model) for name in CREATED]
    assert heard[0].arguments["handler"] is None
    assert heard[1].arguments["instance"] is document
    assert document.pk is not None
    assert model.objects.get(pk=document.pk).name == "n"


def test_the_arguments_are_the_path_that_a_request_would_have():
    with recorded() as heard:
        document = Saved(name="n")
        save(document)
        document.name = "m"
        save(document)
        delete(document)
        own = SavedByItself(name="own")
        save(own)
        delete(own)
    told = [one.arguments["arguments"] for one in heard if one.name.startswith("pre_")]
    at = [f"saved/{document.pk}"]
    assert told == [["saved"], at, at, ["saved_by_itself"], ["saved_by_itself/own"]]


@on_both
def test_a_document_that_was_saved_can_be_saved_again():
    document = Saved(name="n")
    with recorded() as heard:
        save(document)
        document.count = 7
        save(document)
    assert names(heard) == CREATED + UPDATED
    assert heard[-1].arguments["updated_fields"] == {"count": {"from": 0, "to": 7}}
    assert len(raw(Saved)) == 1


@on_both
def test_with_a_primary_key_that_is_taken_nothing_is_overwritten():
    first = Saved(name="first").save()
    with recorded() as heard, pytest.raises(Conflict):
        save(Saved(id=first.pk, name="second"))
    assert names(heard) == CREATED[:1]
    assert [one["name"] for one in raw(Saved)] == ["first"]


# Changed


def changed(**values):
    Saved(name="old", count=1, tags=["a"], part=SavedPart(city="Rome")).save()
    document = Saved.objects.get()
    for name, value in values.items():
        setattr(document, name, value)
    return document


CHANGES = [
    ({"name": "new"}, {"name": {"from": "old", "to": "new"}}),
    ({"name": "new", "count": 2}, {"name": {"from": "old", "to": "new"}, "count": {"from": 1, "to": 2}}),
    ({"tags": ["a", "b"]}, {"tags": {"from": ["a"], "to": ["a", "b"]}}),
    ({"part": None}, {"part": {"from": {"city": "Rome"}, "to": None}}),
    ({"count": 1}, {}),
    ({}, {}),
]


def plain(updated):
    """With embedded documents as dictionaries."""
    return {
        name: {
            end: value.to_mongo().to_dict() if isinstance(value, me.EmbeddedDocument) else value
            for end, value in change.items()
        }
        for name, change in updated.items()
    }


@pytest.mark.parametrize(
    ("values", "told"), CHANGES, ids=["one", "two", "list", "unset", "the-same", "nothing-at-all"]
)
def test_a_changed_document_is_stored_and_told_with_what_changed(values, told):
    document = changed(**values)
    with recorded() as heard:
        save(document)
    assert names(heard) == UPDATED
    assert plain(heard[1].arguments["updated_fields"]) == told
    assert heard[1].arguments["instance"] is document
    stored = Saved.objects.get()
    assert {name: getattr(stored, name) for name in values} == values
    assert document._get_changed_fields() == []


@on_both
def test_what_changed_within_is_told_by_dotted_name():
    document = changed()
    document.part.city = "Bonn"
    document.tags.append("b")
    with recorded(signals.post_update_instance) as heard:
        save(document)
    assert heard[0].arguments["updated_fields"] == {
        "part.city": {"from": "Rome", "to": "Bonn"},
        "tags": {"from": ["a"], "to": ["a", "b"]},
    }


@on_both
def test_of_a_stale_document_those_fields_are_stored_that_were_set():
    document = changed(name="new", count=5)
    Saved._get_collection().update_one({}, {"$set": {"count": 3, "tags": ["z"], "email": "e@x.org"}})
    with recorded(signals.post_update_instance) as heard:
        save(document)
    [stored] = raw(Saved)
    assert (stored["name"], stored["count"], stored["tags"], stored["email"]) == ("new", 5, ["z"], "e@x.org")
    assert heard[0].arguments["updated_fields"] == {
        "name": {"from": "old", "to": "new"},
        "count": {"from": 3, "to": 5},  # what was replaced, not what was loaded
    }


def test_what_others_change_between_the_signals_survives_and_is_told():
    document = changed(count=5)

    def other(sender):
        Saved._get_collection().update_one({}, {"$set": {"count": 3, "name": "other"}})

    with signals.pre_update_instance.connected_to(other), recorded(signals.post_update_instance) as heard:
        save(document)
    [stored] = raw(Saved)
    assert (stored["name"], stored["count"]) == ("other", 5)
    assert heard[0].arguments["updated_fields"] == {"count": {"from": 3, "to": 5}}


@on_both
def test_what_others_change_at_the_last_moment_survives_and_is_told():
    """After hive has looked at the document, so that its write does not hold and is done anew."""
    document, tries = changed(count=5), []

    def other(sender, document, **_):
        tries.append(document.pk)
        if len(tries) == 1:
            Saved._get_collection().update_one({}, {"$set": {"count": 3, "name": "other"}})

    with pre_save.connected_to(other, Saved), recorded() as heard:
        save(document)
    [stored] = raw(Saved)
    assert len(tries) == 2
    assert (stored["name"], stored["count"]) == ("other", 5)
    assert names(heard) == UPDATED
    assert heard[1].arguments["updated_fields"] == {"count": {"from": 3, "to": 5}}


def test_two_tasks_that_save_the_same_document_lose_nothing():
    changed()

    async def main():
        documents = [Saved.objects.get() for _ in range(20)]
        for index, document in enumerate(documents):
            setattr(document, *(("count", index) if index % 2 else ("name", f"n{index}")))
        await asyncio.gather(*map(hive.save, documents))

    with recorded(signals.post_update_instance) as heard:
        asyncio.run(main())
    steps = [change for told in heard for change in told.arguments["updated_fields"].items()]
    for field, first in (("name", "old"), ("count", 1)):
        mine = {change["from"]: change["to"] for name, change in steps if name == field}
        value, seen = first, 0
        while value in mine:  # each begins where another has ended
            value, seen = mine[value], seen + 1
        assert seen >= len(mine) - 1
        assert raw(Saved)[0][field] == value


# What is not stored


def test_an_invalid_document_is_not_stored():
    with recorded() as heard, pytest.raises(Invalid) as raised:
        save(Saved(name="too long a name"))
    assert [error["field"] for error in raised.value.errors] == ["name"]
    assert names(heard) == CREATED[:1]
    assert raw(Saved) == []
    document = changed(name="too long a name")
    with recorded() as heard, pytest.raises(Invalid):
        save(document)
    assert names(heard) == UPDATED[:1]
    assert raw(Saved)[0]["name"] == "old"


def test_an_invalid_document_can_be_mended_and_saved():
    document = changed(name="too long a name")
    with pytest.raises(Invalid):
        save(document)
    document.name = "short"
    save(document)
    assert raw(Saved)[0]["name"] == "short"


@on_both
@pytest.mark.parametrize("new", [True, False], ids=["new", "changed"])
def test_a_unique_value_that_is_taken_is_a_conflict(new):
    Saved.ensure_indexes()
    Saved(name="first", email="a@x.org").save()
    document = Saved(name="second") if new else Saved(name="second").save()
    before = raw(Saved)
    document.email = "a@x.org"
    with recorded() as heard, pytest.raises(Conflict):
        save(document)
    assert names(heard) == (CREATED if new else UPDATED)[:1]
    assert raw(Saved) == before
    document.email = "b@x.org"
    save(document)
    assert sorted(one["email"] for one in raw(Saved)) == ["a@x.org", "b@x.org"]


@on_both
@pytest.mark.parametrize("values", [{"name": "new"}, {}], ids=["changed", "unchanged"])
def test_a_document_that_was_deleted_meanwhile_does_not_come_back(values):
    document = changed(**values)
    Saved.objects.delete()
    with recorded() as heard, pytest.raises(NotFound):
        save(document)
    assert not heard
    assert raw(Saved) == []


def test_a_document_that_is_deleted_between_the_signals_does_not_come_back():
    document = changed(name="new")
    with (
        signals.pre_update_instance.connected_to(lambda sender: Saved._get_collection().delete_many({})),
        recorded(signals.post_update_instance) as heard,
        pytest.raises(NotFound),
    ):
        save(document)
    assert not heard
    assert raw(Saved) == []


@pytest.mark.parametrize("asynchronous", [True, False], ids=["coroutine", "plain"])
def test_a_pre_receiver_may_refuse(asynchronous):
    def plain(sender):
        raise Refusal

    async def coroutine(sender):
        await asyncio.sleep(0)
        raise Refusal

    refuse = coroutine if asynchronous else plain
    document = changed(name="new")
    before = raw(Saved)
    for what, change in (
        ("create", lambda: save(Saved(name="another"))),
        ("update", lambda: save(document)),
        ("delete", lambda: delete(document)),
    ):
        signal = signals.core[f"pre_{what}_instance"]
        with signal.connected_to(refuse), recorded() as heard, pytest.raises(Refusal):
            change()
        assert not [name for name in names(heard) if name.startswith("post_")]
        assert raw(Saved) == before


def test_what_a_pre_receiver_does_to_the_current_document_is_not_stored():
    def meddle(sender, handler):
        handler.instance.tags = ["meddled"]
        handler.instance.name = "meddled"

    document = changed(name="new")
    with signals.pre_update_instance.connected_to(meddle):
        save(document, handler=type("Handler", (), {"instance": None})())
    assert (raw(Saved)[0]["name"], raw(Saved)[0]["tags"]) == ("new", ["a"])


def test_a_post_receiver_that_raises_is_told_and_spoils_nothing():
    def broken(sender):
        raise ZeroDivisionError

    document = changed(name="new")
    for what, change in (
        ("update", lambda: save(document)),
        ("create", lambda: save(Saved(name="another"))),
        ("delete", lambda: delete(document)),
    ):
        signal = signals.core[f"post_{what}_instance"]
        with signal.connected_to(broken), recorded(signals.receiver_failed) as failed:
            change()
        assert [(told.sender, type(told.arguments["error"])) for told in failed] == [
            (Saved, ZeroDivisionError)
        ]
        assert failed[0].arguments["handler"] is None
    assert [one["name"] for one in raw(Saved)] == ["another"]


# Code of the application


def test_the_own_code_of_a_document_has_its_say():
    document = SavedByItself(name="n")
    save(document)
    assert raw(SavedByItself)[0]["sealed"] == "sealed n"
    document = SavedByItself.objects.get()
    document.name = "m"
    with recorded(signals.post_update_instance) as heard:
        save(document)
    assert heard[0].arguments["updated_fields"] == {
        "name": {"from": "n", "to": "m"},
        "cleaned": {"from": "cleaned n", "to": "cleaned m"},
        "sealed": {"from": "sealed n", "to": "sealed m"},
    }


def test_the_signals_of_mongoengine_are_sent_once_each():
    def before(sender, document, **_):
        told.append(("pre_save", document.name))
        document.pre = "seen"

    def after(sender, document, created, **_):
        told.append(("post_save", created))

    told = []
    with pre_save.connected_to(before, SavedByItself), post_save.connected_to(after, SavedByItself):
        document = SavedByItself(name="n")
        save(document)
        document.name = "m"
        save(document)
    assert told == [("pre_save", "n"), ("post_save", True), ("pre_save", "m"), ("post_save", False)]
    assert raw(SavedByItself)[0]["pre"] == "seen"


def test_what_the_own_code_refuses_is_raised_as_it_is():
    def refuse(sender, document, **_):
        raise ZeroDivisionError

    document = changed(name="new")
    with pre_save.connected_to(refuse, Saved), recorded() as heard, pytest.raises(ZeroDivisionError):
        save(document)
    assert names(heard) == UPDATED[:1]
    assert raw(Saved)[0]["name"] == "old"


# Deleted


def test_a_document_is_deleted_and_told_as_it_last_was():
    document = changed()
    Saved._get_collection().update_one({}, {"$set": {"name": "other"}})
    with recorded() as heard:
        delete(document)
    assert names(heard) == DELETED
    assert heard[1].arguments["instance"].name == "other"
    assert raw(Saved) == []


def test_a_document_that_is_gone_is_not_found():
    document = changed()
    Saved.objects.delete()
    with recorded() as heard, pytest.raises(NotFound):
        delete(document)
    with pytest.raises(NotFound):
        delete(Saved(name="never stored"))
    assert not heard


def test_a_document_that_goes_between_the_signals_is_not_found():
    document = changed()
    with (
        signals.pre_delete_instance.connected_to(lambda sender: Saved._get_collection().delete_many({})),
        recorded(signals.post_delete_instance) as heard,
        pytest.raises(NotFound),
    ):
        delete(document)
    assert not heard


# With a handler, and within requests


class Handler:
    instance = "as before"


def test_receivers_get_the_handler_that_is_named_and_it_is_as_before_afterwards():
    def see(sender, handler):
        seen.append((handler, handler.instance.name))

    seen, handler = [], Handler()
    document = changed(name="new")
    for signal in (signals.pre_update_instance, signals.post_update_instance, signals.post_delete_instance):
        signal.connect(see)
    try:
        save(document, handler=handler)
        delete(document, handler=handler)
    finally:
        for signal in (
            signals.pre_update_instance,
            signals.post_update_instance,
            signals.post_delete_instance,
        ):
            signal.disconnect(see)
    assert seen == [(handler, "old"), (handler, "new"), (handler, "new")]
    assert handler.instance == "as before"


def test_the_handler_is_as_before_when_a_receiver_refused():
    handler = Handler()

    def refuse(sender, handler):
        assert handler.instance is None
        raise Refusal

    with signals.pre_create_instance.connected_to(refuse), pytest.raises(Refusal):
        save(Saved(name="n"), handler=handler)
    assert handler.instance == "as before"


def test_the_handler_is_as_before_when_several_were_saved_at_once():
    """Each receiver finds the document that it is told of, and none is left behind."""

    async def slow(sender, instance, handler):
        for _ in range(3):
            await asyncio.sleep(0)
        seen.append(handler.instance is instance)

    async def main():
        documents = [Saved(name=f"n{index}") for index in range(5)]
        with signals.post_create_instance.connected_to(slow):
            await asyncio.gather(*(hive.save(document, handler=handler) for document in documents))

    seen, handler = [], Handler()
    asyncio.run(main())
    assert handler.instance == "as before"
    assert seen == [True] * 5


class SavingHandler(RequestHandler):
    """One of the application itself, which knows nothing of hive."""

    async def post(self):
        document = Saved(**json.loads(self.request.body))
        await hive.save(document, handler=self)
        self.write({"id": str(document.pk)})

    async def put(self, key):
        document = await asyncio.to_thread(Saved.objects.get, pk=key)
        for name, value in json.loads(self.request.body).items():
            setattr(document, name, value)
        await hive.save(document)

    async def delete(self, key):
        document = await asyncio.to_thread(Saved.objects.get, pk=key)
        await hive.delete(document)


@pytest.fixture
def client():
    with serve(
        [(r"/own", SavingHandler), (r"/own/(\w+)", SavingHandler), *ModelHive.routes_for(Saved),
         *ModelHive.routes_for(SavedFriend)]
    ) as client:  # fmt: skip
        yield client


def test_a_handler_of_the_application_saves_and_deletes_over_http(client):
    with recorded() as heard:
        key = client.post("/own", json={"name": "n"}).json["id"]
        assert client.put(f"/own/{key}", json={"name": "m"}).status == 200
        assert client.delete(f"/own/{key}").status == 200
    assert names(heard) == CREATED + UPDATED + DELETED
    assert [type(told.arguments["handler"]) for told in heard[:2]] == [SavingHandler] * 2
    assert heard[3].arguments["updated_fields"] == {"name": {"from": "n", "to": "m"}}
    assert raw(Saved) == []


def test_what_hive_raises_there_is_the_answer(client):
    Saved.ensure_indexes()
    Saved(name="first", email="a@x.org").save()
    assert client.post("/own", json={"name": "too long a name"}).status == 400
    assert client.post("/own", json={"name": "n", "email": "a@x.org"}).status == 409
    with signals.pre_create_instance.connected_to(refusing):
        assert client.post("/own", json={"name": "n"}).status == 418
    assert len(raw(Saved)) == 1


def refusing(sender):
    raise Refusal


def test_a_receiver_of_a_request_saves_with_the_handler_of_that_request(client):
    async def more(sender, instance, handler):
        await hive.save(SavedFriend(name=instance.name))
        seen.append(handler.instance is instance)

    seen = []
    with signals.post_create_instance.connected_to(more, Saved), recorded() as heard:
        reply = client.post("/saved", json={"name": "n"})
    assert reply.status == 201
    assert seen == [True]
    assert {(told.name, told.sender) for told in heard} == {
        (name, model) for name in CREATED for model in (Saved, SavedFriend)
    }
    assert len({told.arguments["handler"] for told in heard}) == 1
    assert heard[0].arguments["handler"] is not None
    assert [one["name"] for one in raw(SavedFriend)] == ["n"]


def test_a_pre_receiver_of_a_request_may_save_and_what_is_refused_there_is_the_answer(client):
    async def more(sender, handler):
        await hive.save(SavedFriend())

    with signals.pre_create_instance.connected_to(more, Saved):
        reply = client.post("/saved", json={"name": "n"})
    assert reply.status == 400
    assert raw(Saved) == []
    assert raw(SavedFriend) == []


def test_a_receiver_that_saves_the_document_itself_is_told_of_as_a_change_of_its_own(client):
    async def again(sender, instance):
        instance.count += 1
        await hive.save(instance)

    with signals.post_create_instance.connected_to(again, Saved), recorded() as heard:
        reply = client.post("/saved", json={"name": "n"})
    assert reply.json["count"] == 0  # the answer is to the request
    assert sorted(names(heard)) == sorted(CREATED + UPDATED)
    assert raw(Saved)[0]["count"] == 1


def test_many_saves_at_once_are_each_told_once():
    async def main():
        await asyncio.gather(*(hive.save(Saved(name=f"n{index}")) for index in range(50)))

    with recorded() as heard:
        asyncio.run(main())
    assert sorted(names(heard)) == sorted(CREATED * 50)
    assert len(raw(Saved)) == 50
