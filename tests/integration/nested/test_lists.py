"""Lists in documents, of embedded documents and of references, take what lists take."""

import re
import uuid
from datetime import datetime

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import connected, recorded, serve

naive = datetime  # as mongoengine has times: in UTC, without saying so


class ListPart(me.EmbeddedDocument):
    title = me.StringField(db_field="t")
    size = me.IntField()
    pin = me.StringField()
    maker = me.ReferenceField("ListPerson")


class ListShelf(me.EmbeddedDocument):
    name = me.StringField()
    parts = me.EmbeddedDocumentListField(ListPart)
    people = me.ListField(me.ReferenceField("ListPerson"))


class ListPerson(me.Document):
    name = me.StringField()
    age = me.IntField()
    mail = me.StringField()
    note = me.StringField()
    shelf = me.EmbeddedDocumentField(ListShelf)
    shelves = me.EmbeddedDocumentListField(ListShelf)
    friends = me.ListField(me.ReferenceField("self"))
    things = me.ListField(me.GenericReferenceField())


class ListMeeting(me.EmbeddedDocument):
    at = me.DateTimeField(default=naive(2020, 1, 2))


class ListStop(me.EmbeddedDocument):
    name = me.StringField()
    at = me.PointField(auto_index=False)


class ListDiary(me.Document):
    meetings = me.EmbeddedDocumentListField(ListMeeting)
    stops = me.EmbeddedDocumentListField(ListStop)


class ListCoin(me.Document):
    code = me.StringField(primary_key=True)


PEOPLE = "/list_person"
ROUTES = flatten(
    [
        ModelHive.routes_for(ListPerson, hidden=["shelf.parts.pin", "shelves.parts.pin", "mail"]),
        [ModelHive.routes_for(model) for model in (ListCoin, ListDiary)],
    ]
)


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


def links(reply):
    assert reply.status == 200, reply.body
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def names(reply, key="name"):
    assert reply.status == 200, reply.body
    return [item[key] for item in reply.json]


def refused(reply, status=400):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json["detail"]


def follow(api, path, rel="next", between=lambda: None):
    """The names in all pages from a path on; others are busy between them."""
    found = []
    while path is not None:
        reply = api.get(path)
        page = names(reply)
        found += page if rel == "next" else page[::-1]
        path = links(reply).get(rel)
        between()
    return found


def iter_pages(api, path):
    while path is not None:
        reply = api.get(path)
        yield reply
        path = links(reply).get("next")


@pytest.fixture
def nested(server, mongodb_database):
    people = [
        ListPerson(name=name, age=age, mail="m").save()
        for name, age in (("b", 1), ("c", 2), ("a", 1), ("d", None))
    ]
    parts = [
        ListPart(title=title, size=size, pin="p", maker=people[0])
        for title, size in (("y", 2), ("x", 1), ("z", 2))
    ]
    shelf = ListShelf(name="s", parts=parts, people=people)
    things = [people[1], ListCoin(code="k").save(), people[0]]
    person = ListPerson(name="P", shelf=shelf, shelves=[shelf], friends=people, things=things).save()
    return server, f"{PEOPLE}/{person.id}"


REFERENCES = ["friends", "shelf/people", "shelves/0/people"]
PARTS = ["shelf/parts", "shelves/0/parts"]


@pytest.mark.parametrize("path", REFERENCES)
def test_a_list_of_references_keeps_its_order_and_has_page_numbers(nested, path):
    api, person = nested
    assert names(api.get(f"{person}/{path}")) == ["b", "c", "a", "d"]
    reply = api.get(f"{person}/{path}?per_page=3")
    assert links(reply) == {
        "first": f"{person}/{path}?page=1&per_page=3", "next": f"{person}/{path}?page=2&per_page=3"
    }  # fmt: skip
    assert names(api.get(links(reply)["next"])) == ["d"]
    assert follow(api, f"{person}/{path}?per_page=1&age=1") == ["b", "a"]


@pytest.mark.parametrize(
    ("path", "sort", "expected"),
    [
        ("friends", "name", "abcd"),
        ("friends", "-age,name", "cabd"),
        ("shelf/people", "-name", "dcba"),
        ("shelves/0/people", "age,name", "dabc"),
    ],
)
def test_a_sorted_list_of_references_has_cursors(nested, path, sort, expected):
    api, person = nested
    reply = api.get(f"{person}/{path}?sort={sort}&per_page=1")
    assert "after=" in links(reply)["next"]
    assert "".join(follow(api, f"{person}/{path}?sort={sort}&per_page=1")) == expected
    *_, last = iter_pages(api, f"{person}/{path}?sort={sort}&per_page=3")
    assert "".join(follow(api, links(last)["prev"], "prev")) == expected[2::-1]
    assert names(api.get(f"{person}/{path}?sort=name&page=2&per_page=1&age=1")) == ["b"]


@pytest.mark.parametrize("path", REFERENCES)
def test_a_list_of_references_takes_all_that_a_list_does(nested, path):
    api, person = nested
    reply = api.get(f"{person}/{path}?fields=name&age=1&count=exact&expand=friends")
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"name": "b"}, {"name": "a"}], "2")
    reply = api.get(f"{person}/{path}?fields=name&age=1&count=exact&sort=-name&per_page=1")
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"name": "b"}], "2")
    for query in (
        "sort=mail",
        "fields=mail",
        "mail=m",
        "sort=x",
        "expand=name",
        "after=x",
        "sort=name&after=x",
    ):
        refused(api.get(f"{person}/{path}?{query}"))


@pytest.mark.parametrize("path", PARTS)
def test_a_list_in_an_embedded_document_is_filtered_sorted_and_shaped(nested, path):
    api, person = nested
    assert names(api.get(f"{person}/{path}"), "title") == ["y", "x", "z"]
    assert names(api.get(f"{person}/{path}?sort=title"), "title") == ["x", "y", "z"]
    assert names(api.get(f"{person}/{path}?sort=-size"), "title") == ["y", "z", "x"]
    assert names(api.get(f"{person}/{path}?sort=-size,-title"), "title") == ["z", "y", "x"]
    reply = api.get(
        f"{person}/{path}?size=2&sort=-title&fields=title,maker.name&expand=maker&count=exact&per_page=1"
    )
    assert (reply.json, reply.headers["X-Total-Count"]) == ([{"title": "z", "maker": {"name": "b"}}], "2")
    assert "page=2" in links(reply)["next"]
    assert names(api.get(links(reply)["next"]), "title") == ["y"]
    assert "pin" not in api.get(f"{person}/{path}").json[0]
    unknown = (
        "sort=pin",
        "fields=pin",
        "pin=p",
        "sort=t",
        "fields=maker.name",
        "expand=title",
        "after=x",
        "q=x",
    )
    for query in (*unknown, "sort=maker.name", "fields=maker.mail&expand=maker"):
        refused(api.get(f"{person}/{path}?{query}"))


def test_a_list_of_references_of_any_class_has_pages_only(nested):
    api, person = nested
    reply = api.get(f"{person}/things?per_page=2")
    assert [item.get("code", item.get("name")) for item in reply.json] == ["c", "k"]
    assert links(reply)["next"] == f"{person}/things?page=2&per_page=2"
    refused(api.get(f"{person}/things?sort=name"))


def test_embedded_times_are_sorted_where_the_connection_has_zones(mongodb_server):
    with connected(f"hive-{uuid.uuid4().hex[:12]}", host=mongodb_server, tz_aware=True) as database:
        meetings = [{"at": naive(2020, 1, 3)}, {}]
        key = ListDiary._get_collection().insert_one({"meetings": meetings}).inserted_id
        with serve(ModelHive.routes_for(ListDiary)) as api:
            reply = api.get(f"/list_diary/{key}/meetings?sort=at")
            assert [item["at"] for item in reply.json] == ["2020-01-02T00:00:00Z", "2020-01-03T00:00:00Z"]
        database.client.drop_database(database.name)


def test_embedded_documents_that_are_near_come_by_distance(server, mongomock_database):
    places = {"far": [0.5, 0], "here": [0, 0], "away": [20, 20], "near": [0.1, 0]}
    diary = ListDiary(stops=[ListStop(name=name, at=place) for name, place in places.items()]).save()
    path = f"/list_diary/{diary.id}/stops?at__near=0,0"
    assert names(server.get(path)) == ["here", "near", "far", "away"]
    assert names(server.get(f"{path}&at__max_distance=100000&sort=-name")) == ["near", "here", "far"]


# Who hears of them


@pytest.mark.parametrize(
    ("path", "sender"), [("friends", ListPerson), ("shelf/people", ListPerson), ("shelf/parts", ListPart)]
)
def test_a_nested_list_is_told_of_once_with_whole_documents(nested, path, sender):
    api, person = nested
    name = "title" if sender is ListPart else "name"
    for query in (f"fields={name}", f"fields={name}&sort={name}&per_page=2"):
        with recorded() as heard:
            reply = api.get(f"{person}/{path}?{query}")
        assert [(one.name, one.sender) for one in heard] == [
            ("pre_get_list", sender),
            ("post_get_list", sender),
        ]
        items = heard[1].arguments["items"]
        assert [getattr(item, name) for item in items] == names(reply, name)
        assert all(item.pin == "p" if sender is ListPart else item.mail == "m" for item in items)
