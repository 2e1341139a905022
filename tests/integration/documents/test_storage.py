import threading
from functools import partial

import mongoengine
import pytest
from mongoengine import (
    CASCADE,
    DENY,
    NULLIFY,
    PULL,
    DictField,
    Document,
    EmbeddedDocument,
    EmbeddedDocumentField,
    EmbeddedDocumentListField,
    IntField,
    ListField,
    PolygonField,
    ReferenceField,
    StringField,
    ValidationError,
)

from hive import ModelHive, flatten, refusals, signals
from hive.testing import recorded, serve
from tests.support import threads
from tests.support.clock import Clock

CLIENTS = 16
ROUNDS = 4


class Address(EmbeddedDocument):
    city = StringField()
    street = StringField()
    number = IntField()


class Friend(Document):
    name = StringField()


class Shared(Document):
    meta = {"strict": False}
    count = IntField(default=0)
    address = EmbeddedDocumentField(Address)
    items = EmbeddedDocumentListField(Address)
    friends = ListField(ReferenceField(Friend))
    notes = DictField()
    locals().update({f"field{index}": IntField() for index in range(CLIENTS)})


class Seat(Document):
    row = IntField(unique_with="number")
    number = IntField()
    holder = StringField(unique=True, sparse=True)


class Keyed(Document):
    code = StringField(primary_key=True)
    text = StringField()


class Area(Document):
    shape = PolygonField()


class Careful(Document):
    name = StringField()
    slug = StringField()
    saved = IntField(default=0)

    def clean(self):
        if self.name == "bad":
            raise ValidationError("Not this one.", errors={"name": "bad"})
        self.slug = (self.name or "").lower()

    def save(self, *args, **kwargs):
        self.saved += 1
        return super().save(*args, **kwargs)


class Stubborn(Document):
    """One whose first writes always meet somebody who was quicker."""

    name = StringField()
    counter = IntField(default=0)
    rivals = 0

    def clean(self):
        if self.pk and Stubborn.rivals > 0:
            Stubborn.rivals -= 1
            Stubborn._get_collection().update_one({"_id": self.pk}, {"$inc": {"counter": 1}})
        self.counter += 1


class Parent(Document):
    name = StringField()


class Nulled(Document):
    parent = ReferenceField(Parent, reverse_delete_rule=NULLIFY)


class Cascaded(Document):
    parent = ReferenceField(Parent, reverse_delete_rule=CASCADE)


class Pulled(Document):
    parents = ListField(ReferenceField(Parent, reverse_delete_rule=PULL))


class Denied(Document):
    parent = ReferenceField(Parent, reverse_delete_rule=DENY)


class Cascading(Document):
    meta = {"cascade": True}
    text = StringField()
    friend = ReferenceField(Friend)


MODELS = (Friend, Shared, Seat, Keyed, Area, Careful, Stubborn, Parent, Cascading)
ROUTES = flatten([ModelHive.routes_for(model) for model in MODELS])


@pytest.fixture
def client(mongodb_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def mock_or_real(database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def shared(mongodb_database):
    return Shared(address=Address(city="Rome"), notes={"start": 0}).save()


def at_once(work, count=CLIENTS):
    """The results of `work(0)` to `work(count - 1)`, all started at the same moment."""
    return threads.at_once([partial(work, index) for index in range(count)])


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Sixteen writers at one document have the time that they need, on any machine."""
    monkeypatch.setattr("hive.races.PATIENCE", 120)
    monkeypatch.setattr("hive.pool.DEADLINE", 60)


def assert_chain(changes, first, last):
    """The changes of one field, in whatever order they were told, lead from `first` to `last`, each once."""
    left, value = list(changes), first
    while left:
        following = [change for change in left if change["from"] == value]
        assert following, f"nothing follows {value!r} of {left!r}"
        assert len(following) == 1, f"two writes replaced {value!r}"
        left.remove(following[0])
        value = following[0]["to"]
    assert value == last


def changes_of(heard, name):
    told = [signal.arguments["updated_fields"] for signal in heard if signal.sender is Shared]
    return [fields[name] for fields in told if name in fields]


# Sixteen clients, one document


def test_different_fields_are_all_kept(client, shared):
    with recorded(signals.post_update_instance) as heard:
        replies = at_once(lambda i: client.put(f"/shared/{shared.pk}", json={f"field{i}": i}))
    assert {reply.status for reply in replies} == {200}
    shared.reload()
    for index in range(CLIENTS):
        assert shared[f"field{index}"] == index
        assert changes_of(heard, f"field{index}") == [{"from": None, "to": index}]


def test_the_same_field_has_a_history_in_which_every_from_is_the_previous_to(client, shared):
    def work(index):
        return [
            client.put(f"/shared/{shared.pk}", json={"count": 1 + index * ROUNDS + turn}).status
            for turn in range(ROUNDS)
        ]

    with recorded(signals.post_update_instance) as heard:
        statuses = at_once(work)
    assert statuses == [[200] * ROUNDS] * CLIENTS
    changes = changes_of(heard, "count")
    assert len(changes) == CLIENTS * ROUNDS
    assert_chain(changes, 0, Shared.objects.get().count)


def test_one_embedded_document_keeps_the_changes_of_all(client, shared):
    names = ["city", "street"]

    def work(index):
        name = names[index % 2]
        return client.put(f"/shared/{shared.pk}/address", json={name: f"{name} {index}"}).status

    with recorded(signals.post_update_instance) as heard:
        assert set(at_once(work)) == {200}
    shared.reload()
    for name, first in (("city", "Rome"), ("street", None)):
        changes = changes_of(heard, f"address.{name}")
        assert len(changes) == CLIENTS // 2
        assert_chain(changes, first, shared.address[name])
        told = [signal.arguments["updated_fields"] for signal in heard if signal.sender is Address]
        assert [fields[name] for fields in told if name in fields] == changes


def test_nothing_that_is_appended_to_one_list_is_lost(client, shared):
    with recorded(signals.post_update_instance) as heard:
        replies = at_once(lambda i: client.post(f"/shared/{shared.pk}/items", json={"number": i}))
    assert {reply.status for reply in replies} == {201}
    shared.reload()
    numbers = [item.number for item in shared.items]
    assert sorted(numbers) == list(range(CLIENTS))
    for index, reply in enumerate(replies):
        assert numbers[int(reply.headers["X-Created-Id"])] == index
    lengths = sorted((len(change["from"]), len(change["to"])) for change in changes_of(heard, "items"))
    assert lengths == [(length, length + 1) for length in range(CLIENTS)]


@pytest.mark.parametrize("create", [True, False], ids=["new", "existing"])
def test_no_reference_that_is_added_is_lost(client, shared, create):
    friends = [] if create else [Friend(name=str(index)).save().pk for index in range(CLIENTS)]

    def work(index):
        body = {"name": str(index)} if create else {"id": str(friends[index])}
        return client.post(f"/shared/{shared.pk}/friends", json=body)

    with recorded(signals.post_update_instance) as heard:
        assert {reply.status for reply in at_once(work)} == {201 if create else 200}
    shared.reload()
    assert sorted(friend.name for friend in shared.friends) == sorted(map(str, range(CLIENTS)))
    assert Friend.objects.count() == CLIENTS
    changes = changes_of(heard, "friends")
    assert_chain(
        [{key: tuple(value or ()) for key, value in change.items()} for change in changes],
        (),
        tuple(friend.pk for friend in shared.friends),
    )


def test_patches_of_one_dictionary_are_all_kept(client, shared):
    def work(index):
        return client.patch(f"/shared/{shared.pk}", json={"notes": {f"key{index}": index}}).status

    with recorded(signals.post_update_instance) as heard:
        assert set(at_once(work)) == {200}
    shared.reload()
    assert shared.notes == {"start": 0} | {f"key{index}": index for index in range(CLIENTS)}
    assert_chain(changes_of(heard, "notes"), {"start": 0}, shared.notes)


def test_clients_of_everything_at_once_lose_nothing(client, shared):
    def work(index):
        path = f"/shared/{shared.pk}"
        return [
            client.put(path, json={"count": index + 1}).status,
            client.patch(path, json={"notes": {str(index): True}}).status,
            client.put(f"{path}/address", json={"number": index}).status,
            client.post(f"{path}/items", json={"number": index}).status,
            client.get(path).status,
        ]

    with recorded(signals.post_update_instance) as heard:
        assert at_once(work) == [[200, 200, 200, 201, 200]] * CLIENTS
    shared.reload()
    assert len(shared.items) == CLIENTS
    assert len(shared.notes) == CLIENTS + 1
    assert_chain(changes_of(heard, "count"), 0, shared.count)
    assert_chain(changes_of(heard, "address.number"), None, shared.address.number)


def test_a_conflict_is_retried_without_a_second_signal(mock_or_real):
    stubborn = Stubborn(name="old").save()
    Stubborn.rivals = 5
    with recorded() as heard:
        reply = mock_or_real.put(f"/stubborn/{stubborn.pk}", json={"name": "new"})
    assert (reply.status, Stubborn.rivals) == (200, 0)
    assert [signal.name for signal in heard] == ["pre_update_instance", "post_update_instance"]
    assert heard[1].arguments["updated_fields"] == {
        "name": {"from": "old", "to": "new"},
        "counter": {"from": 6, "to": 7},
    }
    assert reply.json["counter"] == 7
    assert Stubborn.objects.get().counter == 7


def test_an_update_that_always_loses_is_409(mock_or_real, monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", 0.2)
    stubborn = Stubborn(name="old").save()
    Stubborn.rivals = 10**9
    try:
        with recorded(signals.post_update_instance) as heard:
            reply = mock_or_real.put(f"/stubborn/{stubborn.pk}", json={"name": "new"})
    finally:
        Stubborn.rivals = 0
    assert reply.status == 409
    assert not heard
    assert Stubborn.objects.get().name == "old"


# Deletion


@pytest.mark.parametrize("path", ["", "/address", "/items/0"])
def test_an_update_of_what_is_deleted_meanwhile_is_404_and_does_not_bring_it_back(mock_or_real, path):
    shared = Shared(address=Address(city="Rome"), items=[Address(city="Bonn")]).save()

    def delete(sender):
        Shared._get_collection().delete_many({})

    body = {"city": "Paris"} if path else {"count": 5}
    with signals.pre_update_instance.connected_to(delete), recorded() as heard:
        assert mock_or_real.put(f"/shared/{shared.pk}{path}", json=body).status == 404
    assert not [signal for signal in heard if signal.name.startswith("post")]
    assert Shared.objects.count() == 0


def test_updates_against_deletes_leave_either_a_whole_document_or_none(client):
    for _ in range(5):
        shared = Shared(count=1, notes={"whole": True}).save()

        def work(index, path=f"/shared/{shared.pk}"):
            return (
                client.delete(path).status if index == 7 else client.put(path, json={"count": index}).status
            )

        statuses = at_once(work)
        assert statuses.pop(7) == 204
        assert set(statuses) <= {200, 404}
        assert Shared.objects.count() == 0


def test_linking_in_what_is_deleted_meanwhile_creates_nothing(mock_or_real):
    shared = Shared().save()
    with signals.pre_update_instance.connected_to(lambda sender: Shared._get_collection().delete_many({})):
        assert mock_or_real.post(f"/shared/{shared.pk}/friends", json={"name": "x"}).status == 404
    assert Friend.objects.count() == 0


@pytest.mark.parametrize(
    ("model", "names", "left"),
    [(Nulled, "parent", [None]), (Cascaded, "parent", []), (Pulled, "parents", [[]])],
    ids=["NULLIFY", "CASCADE", "PULL"],
)
def test_delete_rules_are_followed(mock_or_real, model, names, left):
    parent = Parent().save()
    model(**{names: [parent] if names == "parents" else parent}).save()
    assert mock_or_real.delete(f"/parent/{parent.pk}").status == 204
    assert [child[names] for child in model.objects] == left


def test_a_denied_deletion_is_409_and_deletes_nothing(mock_or_real):
    parent = Parent().save()
    Denied(parent=parent).save()
    with recorded() as heard:
        reply = mock_or_real.delete(f"/parent/{parent.pk}")
    assert reply.status == 409
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert [signal.name for signal in heard] == ["pre_delete_instance"]
    assert Parent.objects.count() == 1


# The ways of mongoengine


def test_clean_and_a_custom_save_take_part_in_the_write_and_in_what_is_told(mock_or_real):
    with recorded(signals.post_update_instance) as heard:
        created = mock_or_real.post("/careful", json={"name": "ANN"}).json
        updated = mock_or_real.put(f"/careful/{created['id']}", json={"name": "BOB"}).json
    assert (created["slug"], created["saved"]) == ("ann", 1)
    assert (updated["slug"], updated["saved"]) == ("bob", 2)
    assert heard[0].arguments["updated_fields"] == {
        "name": {"from": "ANN", "to": "BOB"},
        "slug": {"from": "ann", "to": "bob"},
        "saved": {"from": 1, "to": 2},
    }


def test_what_clean_refuses_is_400_with_the_field(mock_or_real):
    careful = Careful(name="good").save()
    for reply in (
        mock_or_real.post("/careful", json={"name": "bad"}),
        mock_or_real.put(f"/careful/{careful.pk}", json={"name": "bad"}),
    ):
        assert reply.status == 400
        assert reply.json["errors"] == [{"field": "name", "message": "bad"}]
    assert [careful.name for careful in Careful.objects] == ["good"]


def test_a_custom_save_counts_every_one_of_sixteen_writers(client):
    careful = Careful(name="x").save()
    with recorded(signals.post_update_instance) as heard:
        replies = at_once(lambda i: client.put(f"/careful/{careful.pk}", json={"name": f"n{i}"}))
    assert {reply.status for reply in replies} == {200}
    careful.reload()
    assert careful.saved == 1 + CLIENTS
    for name, first in (("saved", 1), ("name", "x"), ("slug", "x")):
        changes = [signal.arguments["updated_fields"][name] for signal in heard]
        assert_chain(changes, first, careful[name])


def test_a_cascade_saves_what_is_referenced(mock_or_real):
    friend = Friend(name="old").save()
    cascading = Cascading(text="a", friend=friend).save()

    def rename(sender, document, **rest):
        document.friend.name = "new"

    mongoengine.signals.pre_save.connect(rename, Cascading)
    try:
        assert mock_or_real.put(f"/cascading/{cascading.pk}", json={"text": "b"}).status == 200
    finally:
        mongoengine.signals.pre_save.disconnect(rename, Cascading)
    assert Friend.objects.get().name == "new"


def test_the_signals_of_mongoengine_are_sent(mock_or_real):
    heard = []
    signals_of_it = [
        getattr(mongoengine.signals, name)
        for name in ("pre_save", "pre_save_post_validation", "post_save", "pre_delete", "post_delete")
    ]

    def receiver(sender, document, **rest):
        heard.append(threading.current_thread().name)

    for signal in signals_of_it:
        signal.connect(receiver, Friend)
    created = mock_or_real.post("/friend", json={"name": "x"}).json
    mock_or_real.put(f"/friend/{created['id']}", json={"name": "y"})
    mock_or_real.delete(f"/friend/{created['id']}")
    for signal in signals_of_it:
        signal.disconnect(receiver, Friend)
    assert len(heard) == 8
    assert all(name.startswith("hive") for name in heard)


# What is taken


def test_creation_never_overwrites_an_existing_primary_key(mock_or_real):
    assert mock_or_real.post("/keyed", json={"code": "a", "text": "first"}).status == 201
    reply = mock_or_real.post("/keyed", json={"code": "a", "text": "second"})
    assert reply.status == 409
    assert Keyed.objects.get().text == "first"


def test_of_sixteen_who_create_one_primary_key_one_wins(client):
    with recorded(signals.post_create_instance) as heard:
        replies = at_once(lambda i: client.post("/keyed", json={"code": "a", "text": str(i)}))
    statuses = [reply.status for reply in replies]
    assert sorted(statuses) == [201] + [409] * (CLIENTS - 1)
    assert Keyed.objects.get().text == str(statuses.index(201))
    assert len(heard) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [({"holder": "Ann"}, ["holder"]), ({"row": 1, "number": 2}, ["row", "number"])],
    ids=["unique", "compound"],
)
def test_of_sixteen_who_take_one_unique_value_one_wins_and_the_others_are_told_the_field(
    client, body, fields
):
    def work(index):
        other = {"row": index, "number": 9} if "holder" in body else {"holder": str(index)}
        return client.post("/seat", json=body | other)

    replies = at_once(work)  # which are the first requests of all: the index is made just now
    assert sorted(reply.status for reply in replies) == [201] + [409] * (CLIENTS - 1)
    assert Seat.objects.count() == 1
    for reply in replies:
        if reply.status == 409:
            assert sorted(error["field"] for error in reply.json["errors"]) == sorted(fields)


def test_of_sixteen_who_change_to_one_unique_value_one_wins(client):
    seats = [Seat(row=index, number=1, holder=str(index)).save() for index in range(CLIENTS)]
    replies = at_once(lambda i: client.put(f"/seat/{seats[i].pk}", json={"holder": "Ann"}))
    assert sorted(reply.status for reply in replies) == [200] + [409] * (CLIENTS - 1)
    assert Seat.objects(holder="Ann").count() == 1


def test_indexes_are_there_though_the_first_use_of_the_collection_failed(mongodb_database, monkeypatch):
    with monkeypatch.context() as patch, serve(ROUTES) as client:
        patch.setattr(Seat, "ensure_indexes", fail)
        client.get("/seat")
    with serve(ROUTES) as client:
        assert client.post("/seat", json={"holder": "Ann", "row": 1, "number": 1}).status == 201
        assert client.post("/seat", json={"holder": "Ann", "row": 2, "number": 1}).status == 409


def fail():
    raise ZeroDivisionError


def test_a_model_that_makes_no_indexes_gets_none(mongodb_database):
    class Plain(Document):
        meta = {"auto_create_index": False}
        name = StringField(unique=True)

    with serve(ModelHive.routes_for(Plain)) as client:
        assert [client.post("/plain", json={"name": "x"}).status for _ in range(2)] == [201, 201]


# What MongoDB refuses


def test_a_shape_that_cannot_be_indexed_is_400(client):
    far = [[[0, 0], [400, 0], [400, 10], [0, 0]]]
    square = [[[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]]
    created = client.post("/area", json={"shape": {"type": "Polygon", "coordinates": square}})
    assert created.status == 201
    for reply in (
        client.post("/area", json={"shape": {"type": "Polygon", "coordinates": far}}),
        client.put(f"/area/{created.json['id']}", json={"shape": {"type": "Polygon", "coordinates": far}}),
    ):
        assert reply.status == 400, reply.body
        assert reply.headers["Content-Type"] == "application/problem+json"
    assert Area.objects.count() == 1


def test_a_document_that_grows_too_large_is_413(client):
    shared = Shared(notes={str(index): "x" * 2**20 for index in range(15)}).save()
    path = f"/shared/{shared.pk}"
    body = {"notes": {"a": "x" * 1_000_000}}
    statuses = [
        client.patch(path, json={"notes": {f"n{turn}": body["notes"]["a"]}}).status for turn in range(3)
    ]
    assert statuses[-1] == 413
    assert len(Shared.objects.get().notes) < 18


def test_a_rule_of_the_collection_that_does_not_hold_is_400(mongodb_database):
    with serve(ROUTES) as client:
        client.post("/friend", json={"name": "Ann"})
        rule = {"$jsonSchema": {"properties": {"name": {"enum": ["Ann", "Bob"]}}}}
        mongodb_database.command("collMod", "friend", validator=rule)
        friend = Friend.objects.get()
        assert client.post("/friend", json={"name": "Cid"}).status == 400
        assert client.put(f"/friend/{friend.pk}", json={"name": "Cid"}).status == 400
        assert client.put(f"/friend/{friend.pk}", json={"name": "Bob"}).status == 200


# Both or none


def test_what_cannot_be_linked_is_not_created(mock_or_real, monkeypatch):
    class Small(Document):
        friends = ListField(ReferenceField(Friend), max_length=1)

    holder = Small(friends=[Friend(name="first").save()]).save()
    with (
        serve(flatten([ModelHive.routes_for(Small), ModelHive.routes_for(Friend)])) as client,
        recorded() as heard,
    ):
        assert client.post(f"/small/{holder.pk}/friends", json={"name": "second"}).status == 400
    assert [signal.name for signal in heard] == ["pre_create_instance", "pre_update_instance"]
    assert [friend.name for friend in Friend.objects] == ["first"]


def test_what_cannot_be_linked_in_time_is_not_created(mongodb_database, monkeypatch):
    shared, clock, late = Shared().save(), Clock(monkeypatch), []

    def be_late(sender, document, **rest):
        late.append(clock.go_on(100))

    with mongoengine.signals.pre_save.connected_to(be_late, Shared), serve(ROUTES) as client:
        assert client.post(f"/shared/{shared.pk}/friends", json={"name": "x"}).status == 503
    assert late
    assert Friend.objects.count() == 0


def test_the_errors_of_clean_are_named_by_their_path():
    inner = ValidationError("inner", errors={"city": ValidationError("Too far.")})
    error = ValidationError("all", errors={"address": inner, "__all__": "Something else."})
    assert refusals.validation_errors(error) == [
        {"field": "address.city", "message": "Too far."},
        {"field": "", "message": "Something else."},
    ]
