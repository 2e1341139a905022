"""The documents that exist for a request are those that a scope and mongoengine leave."""

import uuid
from contextlib import contextmanager

import mongoengine as me
import mongomock
import pytest
from mongoengine import Q
from mongoengine.context_managers import switch_db
from mongoengine.queryset import QuerySet, queryset_manager

from hive import ModelHive, flatten
from hive.orders import total
from hive.rows import rows_of
from hive.testing import connected, serve
from tests.support.commands import Listener

SCOPES = {}


class RowNote(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField(db_field="n")
    rank = me.IntField()
    tags = me.ListField(me.StringField())


class RowOrdered(me.Document):
    meta = {"ordering": ["-rank", "name"]}
    number = me.IntField(primary_key=True)
    name = me.StringField()
    rank = me.IntField()


class RowSoft(me.Document):
    """One whose deleted documents are still there."""

    number = me.IntField(primary_key=True)
    name = me.StringField()
    gone = me.BooleanField(default=False)
    slug = me.StringField()
    meta = {"lookup_field": "slug"}

    @queryset_manager
    def objects(cls, queryset):  # noqa: N805 - as mongoengine has it
        return queryset.filter(gone__ne=True)


class Present(QuerySet):
    """A queryset that begins with a filter of its own."""

    def __init__(self, document, collection):
        super().__init__(document, collection)
        self._cls_query = {**self._cls_query, "gone": {"$ne": True}}


class RowPresent(me.Document):
    meta = {"queryset_class": Present}
    number = me.IntField(primary_key=True)
    name = me.StringField()
    gone = me.BooleanField(default=False)


class RowBase(me.Document):
    """A base whose manager is inherited."""

    meta = {"abstract": True}
    number = me.IntField(primary_key=True)
    name = me.StringField()
    gone = me.BooleanField(default=False)

    @queryset_manager
    def objects(cls, queryset):  # noqa: N805 - as mongoengine has it
        return queryset.filter(gone__ne=True)


class RowConcrete(RowBase):
    pass


class RowHolder(me.Document):
    soft = me.ReferenceField(RowSoft)
    softs = me.ListField(me.ReferenceField(RowSoft))


class RowAnimal(me.Document):
    meta = {"allow_inheritance": True}
    number = me.IntField(primary_key=True)
    name = me.StringField()


class RowDog(RowAnimal):
    breed = me.StringField()


class RowPuppy(RowDog):
    age = me.IntField()


class RowLateBase(me.Document):
    meta = {"allow_inheritance": True}
    number = me.IntField(primary_key=True)
    name = me.StringField()


class RowElsewhere(me.Document):
    meta = {"db_alias": "elsewhere"}
    number = me.IntField(primary_key=True)
    name = me.StringField()


def scope(queryset, handler):
    return SCOPES["scope"](queryset)


SOFT = (RowSoft, RowPresent, RowConcrete)
PATHS = {RowSoft: "/row_soft", RowPresent: "/row_present", RowConcrete: "/row_concrete"}
ROUTES = flatten(
    [
        [ModelHive.routes_for(model) for model in (RowOrdered, *SOFT, RowHolder, RowElsewhere)],
        [ModelHive.routes_for(model) for model in (RowAnimal, RowDog, RowLateBase)],
        ModelHive.routes_for(RowNote, scope=scope, stream=True),
    ]
)


class Finds(Listener):
    def __init__(self):
        self.sent = []

    def started(self, event):
        if event.command_name in ("find", "aggregate"):
            self.sent.append(event.command)


@pytest.fixture(autouse=True)
def scopes():
    SCOPES["scope"] = lambda queryset: queryset
    yield
    SCOPES.clear()


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(server, mongodb_database):
    return server


@pytest.fixture
def quick(server, mongomock_database):
    return server


def insert_notes():
    RowNote.objects.insert([RowNote(number=n, name=f"n{n}", rank=n % 3) for n in range(6)])


@pytest.fixture
def notes(api):
    """A client of six documents, as a scope leaves them."""
    insert_notes()
    return api


@pytest.fixture
def finds(mongodb_server):
    """What is sent to a real server."""
    listener, name = Finds(), f"hive-{uuid.uuid4().hex[:12]}"
    with connected(name, host=mongodb_server, event_listeners=[listener]) as database:
        insert_notes()
        with serve(ROUTES) as client:
            listener.client = client
            yield listener
        database.client.drop_database(name)


def numbers(reply):
    assert reply.status == 200, reply.body
    return [item["number"] for item in reply.json]


def sent(finds, path):
    finds.sent.clear()
    reply = finds.client.get(path)
    assert reply.status == 200, reply.body
    return reply, finds.sent[-1]


# What a scope says

KEPT = {
    "all": (lambda queryset: queryset, [0, 1, 2, 3, 4, 5]),
    "filter": (lambda queryset: queryset.filter(rank=1), [1, 4]),
    "filters of one name": (lambda queryset: queryset.filter(number__gt=1).filter(number__lt=4), [2, 3]),
    "db_field": (lambda queryset: queryset.filter(name="n2"), [2]),
    "Q": (lambda queryset: queryset.filter(Q(rank=1) | Q(number=0)), [0, 1, 4]),
    "not": (lambda queryset: queryset.filter(Q(rank__ne=1) & Q(number__ne=0)), [2, 3, 5]),
    "raw": (lambda queryset: queryset.filter(__raw__={"n": {"$in": ["n1", "n5"]}}), [1, 5]),
    "call": (lambda queryset: queryset(rank=2), [2, 5]),
    "none": (lambda queryset: queryset.none(), []),
    "empty slice": (lambda queryset: queryset[0:0], []),
    "order": (lambda queryset: queryset.order_by("-number"), [5, 4, 3, 2, 1, 0]),
    "order of ties": (lambda queryset: queryset.order_by("-rank"), [2, 5, 1, 4, 0, 3]),
    "order of db_field": (lambda queryset: queryset.order_by("-name"), [5, 4, 3, 2, 1, 0]),
    "no order": (lambda queryset: queryset.order_by(), [0, 1, 2, 3, 4, 5]),
    "iterated": (lambda queryset: [*queryset][:0] or queryset.filter(rank=0), [0, 3]),
    "clone": (lambda queryset: queryset.clone().filter(rank=0), [0, 3]),
    "a new one": (lambda queryset: RowNote.objects(number__gte=4), [4, 5]),
    "no_cache": (lambda queryset: queryset.no_cache().filter(number=1), [1]),
    "no_dereference": (lambda queryset: queryset.no_dereference().filter(number=1), [1]),
    "as_pymongo": (lambda queryset: queryset.as_pymongo().filter(number=1), [1]),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_a_scope_is_kept(database, name):
    insert_notes()
    scope, expected = KEPT[name]
    rows = rows_of(RowNote, scope)
    assert [raw["_id"] for raw in rows.page(total(rows.order))] == expected
    assert rows.count() == rows.estimate() == len(expected)
    assert [n for n in range(6) if rows.first({"_id": n})] == sorted(expected)
    assert sorted(rows.keys({"_id": {"$gte": 3}})) == [n for n in sorted(expected) if n >= 3]
    assert sorted(raw["_id"] for raw in rows.among([0, 1, 2])) == [n for n in sorted(expected) if n < 3]


@pytest.mark.parametrize("name", ["Q", "none", "order", "raw"])
def test_a_scope_is_kept_in_lists_streams_counts_and_by_name(notes, name):
    SCOPES["scope"], expected = KEPT[name]
    assert numbers(notes.get("/row_note")) == expected
    assert numbers(notes.get("/row_note?per_page=all")) == expected
    assert numbers(notes.get("/row_note?number__gte=3")) == [n for n in expected if n >= 3]
    assert numbers(notes.get("/row_note?sort=-number")) == sorted(expected, reverse=True)
    assert notes.get("/row_note?count=exact").headers["X-Total-Count"] == str(len(expected))
    found = [n for n in range(6) if notes.get(f"/row_note/{n}").status == 200]
    assert found == sorted(expected)


@pytest.mark.parametrize("name", ["Q", "none", "filters of one name"])
def test_a_scope_is_kept_by_writes(notes, name):
    SCOPES["scope"], expected = KEPT[name]
    changed = [n for n in range(6) if notes.put(f"/row_note/{n}", json={"tags": ["x"]}).status == 200]
    assert changed == sorted(expected)
    deleted = [n for n in range(6) if notes.delete(f"/row_note/{n}").status == 204]
    assert deleted == sorted(expected)
    assert RowNote.objects.count() == 6 - len(expected)


NARROW = {
    "only": lambda queryset: queryset.only("number", "name"),
    "exclude": lambda queryset: queryset.exclude("rank", "tags"),
    "fields": lambda queryset: queryset.fields(rank=0, tags=0),
    "slice": lambda queryset: queryset.fields(slice__tags=1),
}


@pytest.mark.parametrize("name", NARROW)
def test_fields_that_a_scope_leaves_out_are_left_out(notes, name):
    RowNote.objects(number=0).update(tags=["a", "b", "c"])
    SCOPES["scope"] = NARROW[name]
    shown = notes.get("/row_note/0").json
    assert shown == notes.get("/row_note").json[0]
    assert shown["name"] == "n0"
    if name == "slice":
        assert shown["tags"] == ["a"]
    else:
        assert (shown.get("rank"), shown.get("tags")) in ((None, []), (None, None))
    assert RowNote.objects.get(number=0).tags == ["a", "b", "c"]


def test_an_update_in_a_scope_that_leaves_fields_out_keeps_them(notes):
    SCOPES["scope"] = lambda queryset: queryset.only("name")
    assert notes.put("/row_note/1", json={"name": "new"}).status == 200
    stored = RowNote.objects.get(number=1)
    assert (stored.name, stored.rank) == ("new", 1)


def test_how_many_a_scope_leaves_is_for_the_request_to_say(notes):
    """A slice is no filter: what a request may see is said by conditions."""
    SCOPES["scope"] = lambda queryset: queryset[:2]
    assert numbers(notes.get("/row_note")) == [0, 1, 2, 3, 4, 5]
    assert numbers(notes.get("/row_note?per_page=3")) == [0, 1, 2]


HOW = {
    "hint": (lambda queryset: queryset.hint([("_id", 1)]), "hint", {"_id": 1}),
    "collation": (
        lambda queryset: queryset.collation({"locale": "en", "strength": 2}),
        "collation",
        {"locale": "en", "strength": 2},
    ),
    "comment": (lambda queryset: queryset.comment("mine"), "comment", "mine"),
    "batch size": (lambda queryset: queryset.batch_size(7), "batchSize", 7),
    "no timeout": (lambda queryset: queryset.timeout(False), "noCursorTimeout", True),
    "disk": (lambda queryset: queryset.allow_disk_use(True), "allowDiskUse", True),
    "read concern": (
        lambda queryset: queryset.read_concern({"level": "majority"}),
        "readConcern",
        {"level": "majority"},
    ),
}


def test_how_a_scope_wants_to_be_asked_is_how_mongodb_is_asked(finds):
    for name, (scope, option, value) in HOW.items():
        SCOPES["scope"] = scope
        for path in ("/row_note", "/row_note/1", "/row_note?sort=-name"):
            _, command = sent(finds, path)
            assert command[option] == value, (name, path)


def test_a_collation_compares_for_filters_and_counts(finds):
    SCOPES["scope"] = lambda queryset: queryset.collation({"locale": "en", "strength": 2})
    _, command = sent(finds, "/row_note?name=N1&count=exact")
    assert [each["collation"]["strength"] for each in finds.sent] == [2, 2]
    assert command["collation"] == {"locale": "en", "strength": 2}


def test_a_scope_that_fails_is_a_bug(quick, caplog):
    SCOPES["scope"] = lambda queryset: queryset.filter(nothing=1)
    assert quick.get("/row_note").status == 500
    assert quick.get("/row_note/1").status == 500
    assert "nothing" in caplog.text


def test_a_scope_that_gives_no_queryset_is_a_bug_and_shows_nothing(quick):
    for value in (None, [], 7):
        SCOPES["scope"] = lambda queryset, value=value: value
        for path in ("/row_note", "/row_note/1", "/row_note?per_page=all"):
            assert quick.get(path).status == 500


def test_a_scope_of_another_database_reads_there(notes):
    with connected_too("other"), switch_db(RowNote, "other") as there:
        there._get_collection().insert_one({"_id": 77, "n": "there"})
        SCOPES["scope"] = lambda queryset: queryset.using("other")
        with switch_db(RowNote, "default"):
            assert numbers(notes.get("/row_note")) == [77]
            assert notes.get("/row_note/77").json["name"] == "there"
            assert notes.get("/row_note/1").status == 404


# What a model says


def test_the_order_of_a_model_is_kept(api):
    for number, (name, rank) in enumerate([("b", 1), ("a", 1), ("c", 2), ("d", None)]):
        RowOrdered(number=number, name=name, rank=rank).save()
    assert numbers(api.get("/row_ordered")) == [2, 1, 0, 3]
    assert numbers(api.get("/row_ordered?sort=number")) == [0, 1, 2, 3]
    first = api.get("/row_ordered?per_page=2")
    assert numbers(first) == [2, 1]
    following = first.headers["Link"].split("<")[-1].split(">")[0]
    assert numbers(api.get(following)) == [0, 3]


@pytest.mark.parametrize("model", SOFT, ids=lambda model: model.__name__)
def test_what_the_manager_of_a_model_leaves_out_is_not_there(api, model):
    path = PATHS[model]
    assert api.post(path, json={"number": 1, "name": "here"}).status == 201
    assert api.post(path, json={"number": 2, "name": "gone", "gone": True}).status == 201
    assert numbers(api.get(path)) == [1]
    assert numbers(api.get(f"{path}?gone=true")) == []
    assert api.get(f"{path}?count=exact").headers["X-Total-Count"] == "1"
    assert api.get(f"{path}?count=estimated").headers["X-Total-Count"] == "1"
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert api.request(method, f"{path}/2", json=body).status == 404, method
    assert model._get_collection().find_one({"_id": 2})["name"] == "gone"
    assert api.put(f"{path}/1", json={"gone": True}).status == 200
    assert api.get(f"{path}/1").status == 404
    assert api.put(f"{path}/1", json={"gone": False}).status == 404


def test_nor_is_it_behind_references_and_in_bodies(api):
    RowSoft(number=1, name="here", slug="a").save()
    RowSoft(number=2, name="gone", slug="b", gone=True).save()
    holder = RowHolder(soft=RowSoft(number=2), softs=[RowSoft(number=1), RowSoft(number=2)]).save()
    path = f"/row_holder/{holder.pk}"
    assert api.get(f"{path}/soft").status == 404
    assert numbers(api.get(f"{path}/softs")) == [1]
    assert numbers(api.get(f"{path}/softs?sort=-number")) == [1]
    assert api.get(f"{path}/softs/2").status == 404
    assert api.get(f"{path}/softs/b").status == 404
    assert api.put(f"{path}/soft", json={"name": "x"}).status == 404
    assert api.get(f"{path}?expand=soft,softs").json["soft"] == "2"
    assert [type(one) for one in api.get(f"{path}?expand=softs").json["softs"]] == [dict, str]
    assert api.post("/row_holder", json={"soft": 2}).status == 400
    assert api.post(f"{path}/softs", json={"id": 2}).status == 400
    assert api.get("/row_soft/b").status == 404
    assert RowSoft._get_collection().find_one({"_id": 2})["name"] == "gone"


def test_classes_of_one_collection_are_told_apart(api):
    RowAnimal(number=1, name="cat").save()
    RowDog(number=2, name="dog", breed="b").save()
    RowPuppy(number=3, name="puppy", age=1).save()
    assert numbers(api.get("/row_animal")) == [1, 2, 3]
    assert numbers(api.get("/row_dog")) == [2, 3]
    assert api.get("/row_dog/1").status == 404
    assert api.delete("/row_dog/1").status == 404
    assert api.get("/row_dog?count=estimated").headers["X-Total-Count"] == "2"
    assert [item["_cls"] for item in api.get("/row_dog").json] == [
        "RowAnimal.RowDog",
        "RowAnimal.RowDog.RowPuppy",
    ]


@contextmanager
def connected_too(alias):
    """A second connection, in memory."""
    how = {"mongo_client_class": mongomock.MongoClient, "uuidRepresentation": "standard"}
    try:
        yield me.connect(alias, alias=alias, **how)
    finally:
        me.disconnect(alias)
        RowElsewhere._collection = RowNote._collection = None


def test_a_model_of_another_connection_is_read_and_written_there(api):
    with connected_too("elsewhere") as client:
        assert api.post("/row_elsewhere", json={"number": 1, "name": "a"}).status == 201
        assert api.put("/row_elsewhere/1", json={"name": "b"}).json["name"] == "b"
        assert numbers(api.get("/row_elsewhere")) == [1]
        assert client["elsewhere"].row_elsewhere.find_one({"_id": 1})["name"] == "b"
        assert api.delete("/row_elsewhere/1").status == 204
        assert client["elsewhere"].row_elsewhere.count_documents({}) == 0


def test_a_subclass_that_is_defined_while_others_are_served_is_found(quick):
    RowLateBase(number=1, name="early").save()
    assert numbers(quick.get("/row_late_base")) == [1]

    class RowLate(RowLateBase):
        more = me.StringField()

    RowLate(number=2, name="late").save()
    assert numbers(quick.get("/row_late_base")) == [1, 2]
    assert quick.get("/row_late_base/2").json["name"] == "late"
