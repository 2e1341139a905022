"""Requests that come at once are answered together, each as if it were alone."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive, flatten, races, signals
from hive.testing import connected, recorded, serve
from tests.support.commands import Commands, Holding
from tests.support.idle import wait_until_idle
from tests.support.threads import PATIENCE, at_once, wait_for


class TogetherNote(me.Document):
    text = me.StringField()
    number = me.IntField()


class TogetherTag(me.Document):
    name = me.StringField(primary_key=True)


class TogetherToken(me.Document):
    key = me.UUIDField(primary_key=True)


class TogetherCount(me.Document):
    key = me.IntField(primary_key=True)


ROUTES = flatten(
    [
        ModelHive.routes_for(model, deadline=PATIENCE)
        for model in (TogetherNote, TogetherTag, TogetherToken, TogetherCount)
    ]
)
NOTES = ROUTES[0].kwargs["resource"]


@pytest.fixture
def commands():
    return Commands()


@pytest.fixture
def finds():
    return Holding("find")


@pytest.fixture
def api(mongodb_server, commands, finds):
    name, listeners = f"together-{uuid.uuid4().hex[:8]}", [commands, finds]
    with connected(name, host=mongodb_server, event_listeners=listeners) as database:
        with serve(ROUTES) as client:
            yield client
        database.client.drop_database(name)


@pytest.fixture
def one_by_one(monkeypatch):
    """Requests wait while another one of their kind is under way, however long that takes."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 1)
    monkeypatch.setattr("hive.threads.LONG", PATIENCE)


def test_each_gets_its_own_document(api):
    notes = TogetherNote.objects.insert([TogetherNote(text=f"note {number}") for number in range(20)])
    for _ in range(3):
        replies = at_once([lambda note=note: api.get(f"/together_note/{note.id}") for note in notes])
        assert [reply.json["text"] for reply in replies] == [note.text for note in notes]


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        (TogetherTag, [f"tag {number}" for number in range(12)]),
        (TogetherToken, [uuid.uuid4() for _ in range(12)]),
        (TogetherCount, list(range(-6, 6))),
    ],
    ids=["str", "uuid", "int"],
)
def test_keys_of_every_kind_are_told_apart(api, model, keys):
    model.objects.insert([model(pk=key) for key in keys[::2]])
    path, field = f"/{model._get_collection_name()}", model._meta["id_field"]
    for _ in range(3):
        replies = at_once([lambda key=key: api.get(f"{path}/{key}".replace(" ", "%20")) for key in keys])
        assert [reply.status for reply in replies] == [200, 404] * 6
        assert [reply.json[field] for reply in replies[::2]] == [
            key if isinstance(key, int) else str(key) for key in keys[::2]
        ]


def test_what_is_gone_or_never_was_is_404_among_others(api):
    note = TogetherNote(text="here").save()
    names = [str(note.id), str(ObjectId()), "nonsense"] * 8
    replies = at_once([lambda name=name: api.get(f"/together_note/{name}") for name in names])
    assert [reply.status for reply in replies] == [200, 404, 404] * 8


def while_the_first_is_slow(finds, requests):
    """What requests get that all come before the query of the first one is sent."""
    wait_until_idle()
    finds.hold()
    with ThreadPoolExecutor(len(requests)) as executor:
        try:
            first = executor.submit(requests[0])
            wait_for(lambda: finds.held)
            others = [executor.submit(request) for request in requests[1:]]
            wait_for(lambda: sum(len(one.waiting) for one in NOTES.batches.values()) == len(others))
        finally:
            finds.let_go()
    return [request.result() for request in (first, *others)]


@pytest.mark.usefixtures("one_by_one")
def test_many_that_come_while_one_is_answered_need_one_query(api, commands, finds):
    notes = TogetherNote.objects.insert([TogetherNote(text=f"note {number}") for number in range(20)])
    api.get(f"/together_note/{notes[0].id}")
    commands.names.clear()
    replies = while_the_first_is_slow(
        finds, [partial(api.get, f"/together_note/{note.id}", timeout=PATIENCE) for note in notes]
    )
    assert [reply.json["id"] for reply in replies] == [str(note.id) for note in notes]
    assert commands.names.count("find") == 2
    commands.names.clear()
    replies = while_the_first_is_slow(
        finds, [partial(api.get, "/together_note?per_page=50", timeout=PATIENCE)] * 20
    )
    assert {len(reply.json) for reply in replies} == {20}
    assert commands.names.count("find") == 2


def test_changes_that_come_at_once_each_change_their_own(api):
    notes = TogetherNote.objects.insert([TogetherNote(text="", number=number) for number in range(20)])
    with recorded(signals.post_update_instance) as heard:
        replies = at_once(
            [
                lambda note=note: api.put(f"/together_note/{note.id}", json={"text": f"t{note.number}"})
                for note in notes
            ]
        )
    assert [reply.json["text"] for reply in replies] == [f"t{number}" for number in range(20)]
    assert [note.text for note in TogetherNote.objects.order_by("number")] == [f"t{n}" for n in range(20)]
    told = {one.arguments["instance"].number: one.arguments["updated_fields"] for one in heard}
    assert told == {number: {"text": {"from": "", "to": f"t{number}"}} for number in range(20)}


def test_changes_of_one_document_at_once_all_happen(api, monkeypatch):
    monkeypatch.setattr(races, "PATIENCE", PATIENCE)
    note = TogetherNote(text="", number=0).save()
    fields = ("text", "number")
    replies = at_once(
        [
            lambda index=index: api.patch(
                f"/together_note/{note.id}", json={fields[index % 2]: [str(index), index][index % 2]}
            )
            for index in range(12)
        ]
    )
    assert {reply.status for reply in replies} == {200}
    note.reload()
    assert note.text in {str(index) for index in range(0, 12, 2)}
    assert note.number in set(range(1, 12, 2))


def test_who_has_the_answer_to_a_change_reads_it_whatever_others_read(api):
    note = TogetherNote(text="", number=0).save()
    stop = threading.Event()

    def read():
        while not stop.is_set():
            api.get(f"/together_note/{note.id}")
            api.get("/together_note")

    def change():
        try:
            for number in range(1, 15):
                assert api.put(f"/together_note/{note.id}", json={"number": number}).status == 200
                assert api.get(f"/together_note/{note.id}").json["number"] == number
                assert api.get("/together_note").json[0]["number"] == number
        finally:
            stop.set()

    at_once([read] * 4 + [change])


def test_one_of_several_deletes_at_once_is_done_and_the_others_are_404(api):
    for _ in range(3):
        note = TogetherNote(text="x").save()
        replies = at_once([lambda note=note: api.delete(f"/together_note/{note.id}")] * 4)
        assert sorted(reply.status for reply in replies) == [204, 404, 404, 404]


def test_a_delete_of_which_nobody_hears_is_one_command(api, commands):
    note = TogetherNote(text="x").save()
    commands.names.clear()
    assert api.delete(f"/together_note/{note.id}").status == 204
    assert commands.names == ["delete"]
    assert TogetherNote.objects.count() == 0


def test_whoever_hears_of_a_delete_gets_the_document(api):
    note = TogetherNote(text="x").save()
    with recorded(signals.post_delete_instance) as heard:
        assert api.delete(f"/together_note/{note.id}").status == 204
    assert [one.arguments["instance"].text for one in heard] == ["x"]


def test_an_address_that_is_spelled_otherwise_is_of_the_same_document(mongodb_database):
    tags = [TogetherTag(name=f"{'A' * (number % 3)}{number}").save() for number in range(12)]
    with serve(ModelHive.routes_for(TogetherTag, prefix="/a|b", resource_name="città")) as client:
        for root in ("/a|b/citt%C3%A0", "/a%7Cb/citt%c3%a0"):
            replies = at_once([lambda tag=tag, root=root: client.get(f"{root}/{tag.name}") for tag in tags])
            assert [reply.json["name"] for reply in replies] == [tag.name for tag in tags]
