"""Entity tags and preconditions: a client that saw an old state does not overwrite a newer one."""

import gzip
import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle

import mongoengine as me
import pytest
from bson import Int64, ObjectId
from mongoengine import signals as mongoengine_signals
from tornado.web import Application

from hive import ModelHive, flatten, preconditions, signals
from hive.testing import serve
from tests.support.threads import in_thread

STRONG = re.compile(r'"[0-9a-f]{32}-[0-9a-f]{16}(-[a-z]+)?"')
JSON_PATCH = {"Content-Type": "application/json-patch+json"}
ID = ObjectId("65a000000000000000000001")
LONG = "x" * 10_000  # more than goes out uncompressed


class TaggedPlayer(me.Document):
    name = me.StringField()
    email = me.StringField()


class TaggedAddress(me.EmbeddedDocument):
    meta = {"strict": False}
    city = me.StringField(db_field="c")
    hush = me.StringField()
    mark = me.ObjectIdField(default=ObjectId)
    source = me.StringField(default="client")
    at = me.DateTimeField()


class TaggedProject(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()


class TaggedTeam(me.Document):
    name = me.StringField(db_field="n")
    hush = me.StringField()
    text = me.StringField()
    captain = me.ReferenceField(TaggedPlayer)
    members = me.ListField(me.ReferenceField(TaggedPlayer))
    address = me.EmbeddedDocumentField(TaggedAddress, db_field="a")
    projects = me.EmbeddedDocumentListField(TaggedProject)


class TaggedOwn(me.Document):
    """With a say in what is stored: by clean(), by save(), which stores twice, and by signals."""

    name = me.StringField()
    slug = me.StringField()
    revision = me.IntField(default=0)
    saves = me.IntField(default=0)
    heard = me.IntField(default=0)

    def clean(self):
        self.slug = (self.name or "").lower()

    def save(self, *args, **kwargs):
        self.revision += 1
        super().save(*args, **kwargs)
        kwargs.pop("force_insert", None)
        self.saves += 1
        return super().save(*args, **kwargs)


class TaggedFree(me.DynamicDocument):
    name = me.StringField()


class TaggedLoose(me.Document):
    meta = {"strict": False}
    name = me.StringField(db_field="n")
    address = me.EmbeddedDocumentField(TaggedAddress)


class TaggedTypes(me.Document):
    name = me.StringField()
    long = me.LongField()
    number = me.FloatField()
    price = me.DecimalField()
    at = me.DateTimeField()
    exactly = me.ComplexDateTimeField()
    data = me.DictField()
    counts = me.MapField(me.IntField())
    sorted = me.SortedListField(me.IntField())
    uuid = me.UUIDField()
    binary = me.BinaryField()


class TaggedBase(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class TaggedChild(TaggedBase):
    size = me.IntField(default=3)


class TaggedRuled(me.Document):
    name = me.StringField()


class TaggedFollower(me.Document):
    ruled = me.ReferenceField(TaggedRuled, reverse_delete_rule=me.CASCADE)


class TaggedCustom(me.Document):
    name = me.StringField()

    def delete(self, *args, **kwargs):
        return super().delete(*args, **kwargs)


class TaggedBound(me.Document):
    name = me.StringField()
    address = me.EmbeddedDocumentField(TaggedAddress)
    friend = me.ReferenceField(TaggedPlayer)


MODELS = (
    TaggedPlayer, TaggedOwn, TaggedFree, TaggedLoose, TaggedTypes, TaggedBase, TaggedRuled, TaggedFollower,
    TaggedCustom,
)  # fmt: skip
ROUTES = flatten(
    [
        *(ModelHive.routes_for(model, deadline=60) for model in MODELS),
        ModelHive.routes_for(TaggedTeam, hidden=["hush", "address.hush"], deadline=60),
        ModelHive.routes_for(TaggedBound, if_match="required", deadline=60),
    ]
)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A write that loses a race is tried again, however slow the machine is."""
    monkeypatch.setattr("hive.races.PATIENCE", 120)


@pytest.fixture
def client(mongodb_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def either(database):
    """A client for what a server and mongomock may find different: which values are stored, and are equal."""
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def team(client):
    return with_team(client)


@pytest.fixture
def either_team(either):
    return with_team(either)


def with_team(client):
    """The client, with a team that has one of everything; it knows its path and its players."""
    client.ann, client.bob = TaggedPlayer(name="Ann").save(), TaggedPlayer(name="Bob").save()
    document = TaggedTeam(
        name="A", hush="h", text=LONG, captain=client.ann, members=[client.ann, client.bob],
        address=TaggedAddress(city="Rome", hush="h"),
        projects=[TaggedProject(slug="x", size=1), TaggedProject(slug="y", size=2)],
    ).save()  # fmt: skip
    client.team, client.path = document.pk, f"/tagged_team/{document.pk}"
    return client


def each_with(firsts, seconds):
    """Pairs in which each of the first is once, with the second ones in turns."""
    return list(zip(firsts, cycle(seconds), strict=False))


def below(client, part):
    return client.path + part.format(ann=client.ann.pk)


def raw(model=TaggedTeam, **query):
    return model._get_collection().find_one(query)


def behind(update, model=TaggedTeam, **query):
    """Change a document as others do, of whom hive does not know."""
    assert model._get_collection().update_one(query, update).matched_count == 1


def tag(client, path, **headers):
    found = client.get(path, headers=headers)
    assert found.status == 200, found.body
    return found.headers["Etag"]


def write(client, method, path, body, **headers):
    """PUT, PATCH, a JSON Patch of the same, or DELETE."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if method == "DELETE":
        return client.delete(path, headers=names)
    if method == "JSON PATCH":
        operations = [{"op": "add", "path": f"/{key}", "value": value} for key, value in body.items()]
        return client.patch(path, body=json.dumps(operations), headers=names | JSON_PATCH)
    return client.request(method, path, json=body, headers=names)


# path below the team, what a body changes there, and what another one changes
PLACES = {
    "the document": ("", {"name": "B"}),
    "an embedded document": ("/address", {"city": "Oslo"}),
    "an item by its lookup field": ("/projects/y", {"size": 7}),
    "a reference": ("/captain", {"name": "Eve"}),
    "an item of a list of references": ("/members/{ann}", {"name": "Eve"}),
}
CHANGING = ["PUT", "PATCH", "JSON PATCH"]
WRITING = [*CHANGING, "DELETE"]


def every_place(methods):
    """The document with each of the methods, and each other place with one that changes, and with DELETE."""
    others = list(PLACES)[1:]
    pairs = [("the document", method) for method in methods] + each_with(others, CHANGING)
    pairs += [(place, "DELETE") for place in others if "DELETE" in methods]
    values = [pytest.param(PLACES[name], method, id=f"{method} of {name}") for name, method in pairs]
    return pytest.mark.parametrize(("place", "method"), values)


# What the tag is


@every_place(CHANGING)
def test_the_tag_of_the_answer_to_a_write_is_that_of_the_next_get(team, method, place):
    part, body = place
    path = below(team, part)
    before = tag(team, path)
    answer = write(team, method, path, body)
    assert answer.status == 200, answer.body
    assert STRONG.fullmatch(answer.headers["Etag"])
    assert answer.headers["Etag"] == tag(team, path) != before
    again = write(team, method, path, body)  # which changes nothing
    assert again.headers["Etag"] == answer.headers["Etag"] == tag(team, path)


@pytest.mark.parametrize(
    ("part", "body"),
    [
        pytest.param("", {"name": "B", "address": {"city": "Oslo"}}, id="a document"),
        pytest.param("/address", {"city": "Oslo"}, id="an embedded document"),
        pytest.param("/projects", {"slug": "z", "size": 3}, id="an item of a list"),
        pytest.param("/captain", {"name": "Eve"}, id="a document behind a reference"),
        pytest.param("/members", {"name": "Eve"}, id="a document in a list of references"),
        pytest.param("/captain", {"id": "{bob}"}, id="a reference to a document that there is"),
    ],
)
def test_the_tag_of_what_was_created_is_that_of_the_next_get(team, part, body):
    body = {key: value.format(bob=team.bob.pk) if key == "id" else value for key, value in body.items()}
    answer = team.post(f"{team.path}{part}" if part else "/tagged_team", json=body)
    assert answer.status in (200, 201), answer.body
    assert STRONG.fullmatch(answer.headers["Etag"])
    assert answer.headers["Etag"] == tag(team, answer.headers.get("Location", f"{team.path}{part}"))


STORED = {
    "another order of fields": (TaggedTypes, {"counts": {"b": 1, "a": 2}, "name": "x", "_id": ID}),
    "nothing but a key": (TaggedTypes, {"_id": ID}),
    "large and small 64-bit numbers": (
        TaggedTypes,
        {"_id": ID, "long": Int64(2**60), "data": {"a": Int64(1)}, "counts": {"a": Int64(2)}},
    ),
    "a whole number in a float": (TaggedTypes, {"_id": ID, "number": 1}),
    "a price as text": (TaggedTypes, {"_id": ID, "price": "1.10"}),
    "times": (
        TaggedTypes,
        {
            "_id": ID,
            "at": datetime(2026, 1, 1, 0, 0, 0, 123000, UTC),
            "exactly": "2026,01,01,00,00,00,000001",
        },
    ),
    "a list that is not sorted": (TaggedTypes, {"_id": ID, "sorted": [3, 1, 2]}),
    "null": (TaggedTypes, {"_id": ID, "data": None, "at": None}),
    "fields that are not declared": (TaggedFree, {"_id": ID, "more": [{"b": 1, "a": None}], "_x": 1}),
    "fields that the model does not know": (TaggedLoose, {"_id": ID, "old": {"b": [1]}, "n": "x"}),
    "a subclass": (TaggedBase, {"_id": ID, "_cls": "TaggedBase.TaggedChild", "name": "x"}),
    "code of its own": (TaggedOwn, {"_id": ID}),
}


@pytest.mark.parametrize(("model", "stored"), STORED.values(), ids=STORED)
def test_the_tag_after_a_write_is_that_of_what_is_stored_whatever_it_was(either, model, stored):
    client = either
    model._get_collection().insert_one(dict(stored))
    route = f"/{name_of(model)}/{ID}"
    before = tag(client, route)
    for method in CHANGING:
        answer = write(client, method, route, {"name": method}, If_Match=before)
        assert answer.status == 200, answer.body
        assert answer.headers["Etag"] == tag(client, route) != before
        before = answer.headers["Etag"]
    kept = {key: value for key, value in stored.items() if key not in ("name", "n")}
    assert {key: raw(model).get(key) for key in kept}.keys() == kept.keys()
    if model is not TaggedOwn:
        assert set(raw(model)) <= {*stored, "name", "n"}


def name_of(model):
    return "tagged_" + model.__name__.removeprefix("Tagged").lower()


TYPED = {
    "a 64-bit number": {"long": 2**60},
    "a small long": {"long": 1},
    "a whole float": {"number": 1},
    "a price": {"price": "1.005"},
    "a time with microseconds": {"at": "2026-01-01T00:00:00.123456Z"},
    "a time with a zone": {"at": "2026-01-01T00:00:00.9999+02:00"},
    "an exact time": {"exactly": "2026-01-01T00:00:00.123456Z"},
    "a nested dictionary": {"data": {"b": {"z": [1, 2.0, None, True]}, "a": 2**40}},
    "a map": {"counts": {"z": 2**40, "a": 0}},
    "a list that gets sorted": {"sorted": [3, 1, 2]},
    "bytes": {"binary": "AAEC"},
}


@pytest.mark.parametrize(("body", "method"), each_with(TYPED.values(), CHANGING), ids=TYPED)
def test_the_tag_of_a_typed_value_is_that_of_the_stored_one(either, body, method):
    client = either
    created = client.post("/tagged_types", json=body)
    assert created.status == 201, created.body
    path = created.headers["Location"]
    assert created.headers["Etag"] == tag(client, path)
    empty = client.post("/tagged_types", json={"name": "x"}).headers["Location"]
    answer = write(client, method, empty, body | {"name": method}, If_Match=tag(client, empty))
    assert answer.status == 200, answer.body
    assert answer.headers["Etag"] == tag(client, empty)


def test_the_tag_of_a_uuid_is_that_of_the_stored_one(client):  # mongomock takes none
    created = client.post("/tagged_types", json={"uuid": "12345678-1234-5678-1234-567812345678"})
    path, other = created.headers["Location"], "12345678-1234-5678-1234-567812345679"
    assert created.headers["Etag"] == tag(client, path)
    answer = write(client, "PUT", path, {"uuid": other}, If_Match=tag(client, path))
    assert (answer.status, answer.headers["Etag"]) == (200, tag(client, path))


def test_what_clean_and_save_and_signals_store_is_in_the_tag(client):
    def count(sender, document, **_):
        document.heard += 1

    with (
        mongoengine_signals.pre_save.connected_to(count, sender=TaggedOwn),
        mongoengine_signals.pre_save_post_validation.connected_to(count, sender=TaggedOwn),
    ):
        created = client.post("/tagged_own", json={"name": "ONE"})
        path = created.headers["Location"]
        assert created.headers["Etag"] == tag(client, path)
        for method in CHANGING:
            answer = write(client, method, path, {"name": method}, If_Match=tag(client, path))
            assert answer.status == 200, answer.body
            assert answer.headers["Etag"] == tag(client, path)
    stored = raw(TaggedOwn)
    assert (stored["slug"], stored["revision"], stored["saves"], stored["heard"]) == ("json patch", 4, 4, 16)


def test_documents_get_no_field_for_their_tag(team):
    write(team, "PUT", team.path, {"name": "B"}, If_Match=tag(team, team.path))
    assert set(raw()) == {"_id", "n", "hush", "text", "captain", "members", "a", "projects"}
    assert set(raw()["a"]) == {"c", "hush", "mark", "source"}


CHANGES = {
    "a field": {"$set": {"n": "B"}},
    "a hidden field": {"$set": {"hush": "other"}},
    "a field that is removed": {"$unset": {"text": 1}},
    "an item of a list": {"$set": {"projects.1.size": 3}},
    "what the model does not know": {"$set": {"a.old": 1}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_behind_hive_changes_the_tag(team, change):
    before = tag(team, team.path)
    behind(change)
    assert tag(team, team.path) != before
    answer = write(team, "PATCH", team.path, {"name": "C"}, If_Match=before)
    assert answer.status == 412
    assert answer.json["status"] == 412
    assert team.get(team.path, headers={"If-None-Match": before}).status == 200
    assert raw()["n"] != "C"


def test_a_change_by_a_queryset_changes_the_tag(team):
    before = tag(team, team.path)
    TaggedTeam.objects(pk=team.team).update(set__hush="other")
    assert tag(team, team.path) != before
    assert write(team, "DELETE", team.path, None, If_Match=before).status == 412
    assert TaggedTeam.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"$set": {"a.c": "Oslo"}}, id="a field"),
        pytest.param({"$set": {"a.hush": "other"}}, id="a hidden field"),
        pytest.param({"$set": {"a.old": 1}}, id="a field that the model does not know"),
    ],
)
def test_a_change_behind_hive_changes_the_tag_of_an_embedded_document(team, change):
    path = below(team, "/address")
    before = tag(team, path)
    behind(change)
    assert tag(team, path) != before
    assert write(team, "PATCH", path, {"city": "Bonn"}, If_Match=before).status == 412
    assert raw()["a"].get("c") != "Bonn"


def test_the_tag_of_an_embedded_document_is_the_same_while_nothing_changes(client):
    """Also where a default that differs each time stands in for what is not stored."""
    TaggedTeam._get_collection().insert_one({"_id": ID, "a": {"c": "Rome"}})
    path = f"/tagged_team/{ID}/address"
    state = {tag(client, path).split("-")[0] for _ in range(2)}
    assert len(state) == 1
    assert write(client, "PATCH", path, {"city": "Oslo"}, If_Match=tag(client, path)).status == 200


def test_documents_of_the_same_fields_have_tags_of_their_own(client):
    paths = [client.post("/tagged_player", json={"name": "x"}).headers["Location"] for _ in range(2)]
    assert tag(client, paths[0]) != tag(client, paths[1])
    assert write(client, "DELETE", paths[1], None, If_Match=tag(client, paths[0])).status == 412


# If-None-Match


def test_who_has_it_gets_304(team):
    for part, _ in PLACES.values():
        path = below(team, part)
        found = tag(team, path)
        for named in (found, f'"other", W/{found}'):
            again = team.get(path, headers={"If-None-Match": named})
            assert (again.status, again.body, again.headers["Etag"]) == (304, b"", found)
        assert team.get(path, headers={"If-None-Match": '"other"'}).status == 200


def test_another_representation_of_the_same_state_is_not_304(team):
    whole, name = tag(team, team.path), tag(team, f"{team.path}?fields=name")
    expanded = tag(team, f"{team.path}?expand=captain")
    assert len({whole, name, expanded}) == 3
    assert len({one.split("-")[0] for one in (whole, name, expanded)}) == 1
    assert team.get(team.path, headers={"If-None-Match": name}).status == 200
    assert team.get(f"{team.path}?fields=name", headers={"If-None-Match": whole}).status == 200
    assert team.get(f"{team.path}?fields=name", headers={"If-None-Match": name}).status == 304


def test_an_expanded_document_is_sent_again_when_what_it_refers_to_has_changed(team):
    path = f"{team.path}?expand=captain"
    before = tag(team, path)
    behind({"$set": {"name": "Eve"}}, TaggedPlayer, _id=team.ann.pk)
    again = team.get(path, headers={"If-None-Match": before})
    assert (again.status, again.json["captain"]["name"]) == (200, "Eve")


def test_the_tag_of_a_write_is_one_for_a_get(team):
    for method in CHANGING:
        written = write(team, method, team.path, {"name": method}).headers["Etag"]
        assert team.get(team.path, headers={"If-None-Match": written}).status == 304


# If-Match: which tags hold


def compressed(client):
    answer = client.get(client.path, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body))["text"] == LONG
    assert STRONG.fullmatch(answer.headers["Etag"])
    assert answer.headers["Etag"] != tag(client, client.path)
    return answer.headers["Etag"]


SHOWN = {
    "GET": lambda client: tag(client, client.path),
    "GET of some fields": lambda client: tag(client, f"{client.path}?fields=name"),
    "GET of what it refers to, too": lambda client: tag(client, f"{client.path}?expand=captain"),
    "GET, compressed": compressed,
    "PUT": lambda client: write(client, "PUT", client.path, {"name": "B"}).headers["Etag"],
    "PATCH": lambda client: write(client, "PATCH", client.path, {"name": "B"}).headers["Etag"],
    "a JSON Patch": lambda client: write(client, "JSON PATCH", client.path, {"name": "B"}).headers["Etag"],
}


@pytest.mark.parametrize(("shown", "method"), each_with(SHOWN.values(), WRITING), ids=SHOWN)
def test_a_write_takes_the_tag_of_any_answer(team, shown, method):
    found = shown(team)
    assert STRONG.fullmatch(found)
    answer = write(team, method, team.path, {"name": "C"}, If_Match=found)
    assert answer.status == (204 if method == "DELETE" else 200), answer.body
    late = write(team, method, team.path, {"name": "D"}, If_Match=found)
    assert late.status == (404 if method == "DELETE" else 412)


def test_a_write_takes_the_tag_of_a_creation(client):
    created = client.post("/tagged_player", json={"name": "x"})
    path, first = created.headers["Location"], created.headers["Etag"]
    assert write(client, "PATCH", path, {"name": "y"}, If_Match=first).status == 200
    assert write(client, "DELETE", path, None, If_Match=first).status == 412
    assert raw(TaggedPlayer)["name"] == "y"


def assert_refused(client, path, answer, before, found):
    assert answer.status == 412, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert raw() == before
    assert tag(client, path) == found


@every_place(WRITING)
def test_if_match_holds_where_it_names_the_state(team, place, method):
    part, body = place
    path = below(team, part)
    before, found = raw(), tag(team, path)
    answer = write(team, method, path, body, If_Match=f'"a", W/{found}')
    assert_refused(team, path, answer, before, found)
    answer = write(team, method, path, body, If_Match=f'"a", {found}')
    assert answer.status == (204 if method == "DELETE" else 200), answer.body


@pytest.mark.parametrize("method", WRITING)
def test_if_match_of_anything_holds_where_there_is_something(team, method):
    answer = write(team, method, team.path, {"name": "C"}, If_Match="*")
    assert answer.status == (204 if method == "DELETE" else 200), answer.body


@pytest.mark.parametrize("header", ["If_Match", "If_None_Match"])
def test_what_is_no_list_of_tags_is_400(team, header):
    before = raw()
    for method in WRITING:
        answer = write(team, method, team.path, {"name": "C"}, **{header: '"a",'})
        assert answer.status == 400, (method, answer.body)
        assert header.replace("_", "-") in answer.json["detail"]
    assert raw() == before


@every_place(WRITING)
def test_if_none_match_keeps_a_write_from_what_is_there(team, place, method):
    part, body = place
    path = below(team, part)
    before, found = raw(), tag(team, path)
    for given in ("*", f'"a", W/{found}'):
        answer = write(team, method, path, body, If_None_Match=given)
        assert_refused(team, path, answer, before, found)
    answer = write(team, method, path, body, If_None_Match='"another"')
    assert answer.status == (204 if method == "DELETE" else 200)


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("/address", id="an embedded document"),
        pytest.param("/captain", id="a reference"),
        pytest.param("/projects/x", id="an item of a list"),
        pytest.param("/members/{ID}", id="an item of a list of references"),
        pytest.param(None, id="a document"),
    ],
)
def test_what_is_not_there_stays_404(client, part):
    TaggedTeam._get_collection().insert_one({"_id": ID})
    path = f"/tagged_team/{ID}{part.format(ID=ID)}" if part else f"/tagged_player/{ID}"
    given = [(header, text) for header in ("If_Match", "If_None_Match") for text in ("*", '"a"')]
    for (header, text), method in zip(given, WRITING, strict=True):
        answer = write(client, method, path, {"name": "x"}, **{header: text})
        assert answer.status == 404, (method, header, text, answer.body)
    assert raw() == {"_id": ID}
    assert raw(TaggedPlayer) is None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/tagged_player", {"name": "x"}, id="POST of a document"),
        pytest.param("POST", "/tagged_player", [{"name": "x"}], id="POST of several documents"),
        pytest.param("POST", "{team}/projects", {"slug": "z"}, id="POST of an item"),
        pytest.param("POST", "{team}/address", {"city": "x"}, id="POST of an embedded document"),
        pytest.param("POST", "{team}/members", {"name": "x"}, id="POST of a member"),
        pytest.param("POST", "{team}/captain", {"name": "x"}, id="POST of a reference"),
        pytest.param("PATCH", "/tagged_player?name=Ann", {"name": "x"}, id="PATCH of several documents"),
        pytest.param("DELETE", "/tagged_player?name=Ann", None, id="DELETE of several documents"),
    ],
)
def test_if_match_is_400_where_it_could_not_be_decided_with_the_write(team, method, path, body):
    before = [raw(), list(TaggedPlayer._get_collection().find())]
    for given in ("*", '"a"', "nonsense"):
        headers = {"If-Match": given, "Prefer": "transaction=no"}
        answer = team.request(method, path.format(team=team.path), json=body, headers=headers)
        assert answer.status == 400, (given, answer.body)
        assert "If-Match" in answer.json["detail"]
    assert [raw(), list(TaggedPlayer._get_collection().find())] == before


# Where it is required


@pytest.mark.parametrize(
    ("part", "method"),
    [*(("", method) for method in WRITING), ("/address", "PUT"), ("/address", "DELETE"), ("/friend", "PATCH"),
     ("/friend", "DELETE")],
)  # fmt: skip
def test_where_if_match_is_required_a_write_without_it_is_428(client, method, part):
    friend = TaggedPlayer(name="f").save()
    document = TaggedBound(name="x", address=TaggedAddress(city="Rome"), friend=friend).save()
    path = f"/tagged_bound/{document.pk}{part}"
    body = {"city": "Oslo"} if part == "/address" else {"name": "y"}
    free = part == "/friend" and method != "DELETE"  # which is about a document with routes of its own
    before = raw(TaggedBound)
    for headers in ({}, {"If_None_Match": '"a"'}):
        assert write(client, method, path, body, **headers).status == (200 if free else 428)
    assert raw(TaggedBound) == before
    answer = write(client, method, path, body, If_Match=tag(client, path))
    assert answer.status == (204 if method == "DELETE" else 200)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_where_if_match_is_required_several_documents_are_not_written(client, method):
    TaggedBound(name="x").save()
    how = {"Prefer": "transaction=no"}
    body = {"name": "y"} if method == "PATCH" else None
    assert client.request(method, "/tagged_bound?name=x", json=body, headers=how).status == 428
    assert raw(TaggedBound)["name"] == "x"


def test_where_if_match_is_required_creating_and_reading_need_none(client):
    created = client.post("/tagged_bound", json={"name": "x"})
    assert created.status == 201
    assert client.get(created.headers["Location"]).status == 200
    assert client.get("/tagged_bound").status == 200


def test_where_if_match_is_required_what_is_not_there_is_404(client):
    for method in WRITING:
        assert write(client, method, f"/tagged_bound/{ID}", {"name": "x"}, If_Match="*").status == 404


# Races: what changes after it was looked at, and before it is stored


HOOKS = {
    "before it is told": signals.pre_update_instance,
    "when it is saved": mongoengine_signals.pre_save,
    "when it was validated": mongoengine_signals.pre_save_post_validation,
}


class Rival:
    """A receiver that changes the document, once, behind hive."""

    def __init__(self, change, model=TaggedTeam):
        self.change, self.model, self.came = change, model, 0

    def __call__(self, *_, **__):
        self.came += 1
        if self.came == 1:
            self.change() if callable(self.change) else behind(self.change, self.model)


RACES = {
    "the document": ("", {"name": "C"}, {"$set": {"hush": "rival"}}),
    "the same field": ("", {"name": "C"}, {"$set": {"n": "rival"}}),
    "an embedded document": ("/address", {"city": "C"}, {"$set": {"a.hush": "rival"}}),
    "an item": ("/projects/y", {"size": 9}, {"$set": {"projects.1.size": 8}}),
}
LOST = [
    pytest.param(race, HOOKS[hook], method, id=f"{method} of {name}, {hook}")
    for shift, (name, race) in enumerate(RACES.items())
    for hook, method in zip(HOOKS, (CHANGING * 2)[shift % 3 :], strict=False)
]


def assert_the_rival_wins(team, race, signal, method):
    part, body, change = race
    path = below(team, part)
    found, rival = tag(team, path), Rival(change)
    with signal.connected_to(rival, sender=TaggedTeam):
        answer = write(team, method, path, body, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    [stored] = TaggedTeam._get_collection().find()
    [(name, value)] = change["$set"].items()
    assert found_in(stored, name) == value
    assert stored["n"] != "C"
    assert stored["a"]["c"] == "Rome"
    assert stored["projects"][1]["size"] in (2, 8)


@pytest.mark.parametrize(("race", "signal", "method"), LOST)
def test_a_write_that_lost_a_race_is_412_and_stores_nothing(team, race, signal, method):
    assert_the_rival_wins(team, race, signal, method)


@pytest.mark.parametrize(("race", "method"), each_with(RACES.values(), CHANGING), ids=RACES)
def test_a_write_that_lost_a_race_is_412_on_either_database(either_team, race, method):
    assert_the_rival_wins(either_team, race, mongoengine_signals.pre_save, method)


def found_in(value, name):
    for key in name.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


@pytest.mark.parametrize("signal", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize(
    ("part", "body", "then"),
    [
        pytest.param("/address", {"city": "Oslo"}, ("a.c", "Oslo"), id="an embedded document"),
        pytest.param("/projects/y", {"size": 9}, ("projects.1.size", 9), id="an item"),
    ],
)
def test_a_change_of_another_part_does_not_matter(team, signal, part, body, then):
    path = below(team, part)
    found, rival = tag(team, path), Rival({"$set": {"n": "rival"}})
    with signal.connected_to(rival, sender=TaggedTeam):
        answer = write(team, "PATCH", path, body, If_Match=found)
    assert answer.status == 200, answer.body
    assert rival.came >= 1
    assert raw()["n"] == "rival"
    assert found_in(raw(), then[0]) == then[1]
    assert answer.headers["Etag"] == tag(team, path)


@pytest.mark.parametrize("part", ["/address", "/projects/y"])
@pytest.mark.parametrize("given", ["{tag}", "*"])
def test_deleting_a_part_that_another_changed_is_412_if_its_tag_is_named(team, part, given):
    path = below(team, part)
    found = tag(team, path)
    rival = Rival({"$set": {"a.hush": "rival", "projects.1.size": 8}})
    with mongoengine_signals.pre_save.connected_to(rival, sender=TaggedTeam):
        answer = write(team, "DELETE", path, None, If_Match=given.format(tag=found))
    assert answer.status == (204 if given == "*" else 412), answer.body
    assert rival.came >= 1
    assert team.get(path).status == (404 if given == "*" else 200)
    assert (raw().get("a") or {"hush": "rival"})["hush"] == "rival"


def test_a_part_that_another_took_away_is_404(team):
    path, rival = below(team, "/address"), Rival({"$unset": {"a": 1}})
    found = tag(team, path)
    with mongoengine_signals.pre_save.connected_to(rival, sender=TaggedTeam):
        assert write(team, "PATCH", path, {"city": "Oslo"}, If_Match=found).status == 404
    assert "a" not in raw()


@pytest.mark.parametrize(
    ("part", "method"),
    [("/captain", "PUT"), ("/captain", "JSON PATCH"), ("/members/{ann}", "PATCH")],
)
def test_a_write_through_a_reference_that_lost_a_race_is_412(team, method, part):
    path = below(team, part)
    found = tag(team, path)

    def change():
        behind({"$set": {"email": "rival"}}, TaggedPlayer, _id=team.ann.pk)

    rival = Rival(change)
    with mongoengine_signals.pre_save.connected_to(rival, sender=TaggedPlayer):
        assert write(team, method, path, {"name": "Eve"}, If_Match=found).status == 412
    assert rival.came >= 1
    stored = raw(TaggedPlayer, _id=team.ann.pk)
    assert (stored["name"], stored["email"]) == ("Ann", "rival")


@pytest.mark.parametrize("signal", [signals.pre_update_instance, mongoengine_signals.pre_save],
                         ids=["before it is told", "when it is saved"])  # fmt: skip
def test_a_reference_that_another_set_meanwhile_is_not_taken_away(team, signal):
    path, rival = below(team, "/captain"), Rival({"$set": {"captain": team.bob.pk}})
    found = tag(team, path)
    with signal.connected_to(rival, sender=TaggedTeam):
        answer = write(team, "DELETE", path, None, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    assert raw()["captain"] == team.bob.pk


RACED = {
    "before it is told": (signals.pre_delete_instance, TaggedPlayer),
    "with a delete rule, before it is told": (signals.pre_delete_instance, TaggedRuled),
    "with a delete() of its own, before it is told": (signals.pre_delete_instance, TaggedCustom),
}


@pytest.mark.parametrize(("signal", "model"), RACED.values(), ids=RACED)
def test_what_changed_before_it_was_deleted_stays(client, signal, model):
    document = model(name="x").save()
    if model is TaggedRuled:
        TaggedFollower(ruled=document).save()
    path, rival = f"/{name_of(model)}/{document.pk}", Rival({"$set": {"name": "rival"}}, model)
    found = tag(client, path)
    with signal.connected_to(rival, sender=model):
        answer = write(client, "DELETE", path, None, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    assert raw(model) == {"_id": document.pk, "name": "rival"}
    assert TaggedFollower.objects.count() == (1 if model is TaggedRuled else 0)


@pytest.mark.parametrize("model", [TaggedPlayer, TaggedRuled, TaggedCustom])
def test_what_another_client_changed_while_it_was_deleted_stays(client, model):
    def change():
        with in_thread(lambda: behind({"$set": {"name": "rival"}}, model)):
            pass

    document, rival = model(name="x").save(), Rival(change)
    path = f"/{name_of(model)}/{document.pk}"
    found = tag(client, path)
    with mongoengine_signals.pre_delete.connected_to(rival, sender=model):
        answer = write(client, "DELETE", path, None, If_Match=found)
    assert rival.came >= 1
    assert answer.status == 412, answer.body
    assert raw(model) == {"_id": document.pk, "name": "rival"}


@pytest.mark.parametrize("model", [TaggedPlayer, TaggedRuled, TaggedCustom])
def test_a_deletion_takes_a_tag_and_what_the_model_says_of_it(client, model):
    document = model(name="x").save()
    if model is TaggedRuled:
        TaggedFollower(ruled=document).save()
    path = f"/{name_of(model)}/{document.pk}"
    assert write(client, "DELETE", path, None, If_Match='"old"').status == 412
    assert raw(model) is not None
    assert write(client, "DELETE", path, None, If_Match=tag(client, path)).status == 204
    assert raw(model) is None
    assert TaggedFollower.objects.count() == 0


@pytest.mark.parametrize("method", CHANGING)
def test_a_document_that_another_deleted_meanwhile_is_404(team, method):
    found = tag(team, team.path)
    rival = Rival(lambda: TaggedTeam._get_collection().delete_one({"_id": team.team}))
    with mongoengine_signals.pre_save.connected_to(rival, sender=TaggedTeam):
        assert write(team, method, team.path, {"name": "C"}, If_Match=found).status == 404
    assert raw() is None


def test_a_precondition_is_kept_where_a_document_is_stored_more_than_once(client):
    """A change between the two halves of a save() of the application's own does not get lost."""
    path = client.post("/tagged_own", json={"name": "x"}).headers["Location"]
    found, came = tag(client, path), []

    def change(*_, **__):
        came.append(1)
        if len(came) == 1:
            behind({"$set": {"heard": 5}}, TaggedOwn)

    with mongoengine_signals.post_save.connected_to(change, sender=TaggedOwn):
        answer = write(client, "PATCH", path, {"name": "y"}, If_Match=found)
    assert answer.status in (409, 412), answer.body
    assert raw(TaggedOwn)["heard"] == 5


def test_prices_that_are_equal_as_numbers_do_not_fail_a_write(client):
    path = client.post("/tagged_types", json={"price": "1.10", "name": "x"}).headers["Location"]
    assert write(client, "PUT", path, {"price": "1.1"}, If_Match=tag(client, path)).status == 200
    assert TaggedTypes.objects.get().price == Decimal("1.10")


# Hidden data


def state(reply):
    return reply.headers["Etag"].strip('"').partition("-")[0]


def test_a_tag_tells_nothing_of_what_is_hidden_to_those_who_try(team):
    plain = preconditions.state_of(raw())
    one, same, other = (Application(ROUTES, cookie_secret=letter * 40) for letter in "aab")
    with serve(one) as first, serve(same) as second, serve(other) as third:
        states = [state(api.get(team.path)) for api in (first, second, third)]
        assert plain not in states
        assert states[0] == states[1] != states[2]
        guess = write(first, "PUT", team.path, {"text": "t"}, If_Match=f'"{plain}-{"0" * 16}"')
        assert guess.status == 412, guess.body
        answer = write(second, "PUT", team.path, {"text": "t"}, If_Match=tag(first, team.path))
        assert answer.status == 200, answer.body
        assert state(answer) == state(first.get(team.path))
        assert state(answer) != preconditions.state_of(raw())
