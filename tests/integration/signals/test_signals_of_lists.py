"""Receivers hear once of a list, and of whole documents in whatever shape it is asked for."""

import mongoengine as me
import pytest

from hive import ModelHive, flatten, signals
from hive.permissions import concealed
from hive.testing import recorded, serve


class HeardPerson(me.Document):
    name = me.StringField()
    age = me.IntField()
    mail = me.StringField()
    note = me.StringField()
    friends = me.ListField(me.ReferenceField("self"))


def public(handler, instance):
    return instance is None or instance.mail != "secret"


PEOPLE = "/heard_person"
ROUTES = flatten(
    [
        ModelHive.routes_for(HeardPerson, hidden=["mail"]),
        ModelHive.routes_for(HeardPerson, prefix="/concealed", allow={"get": concealed(public)}),
    ]
)


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def api(server, mongomock_database):
    return server


def names(reply, key="name"):
    assert reply.status == 200, reply.body
    return [item[key] for item in reply.json]


def refused(reply, status=400):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json["detail"]


def crowd(number=10, **more):
    people = [HeardPerson(name=f"n{n:03}", age=n % 3, **more) for n in range(number)]
    return HeardPerson.objects.insert(people)


@pytest.mark.parametrize(
    "query", ["", "?fields=name", "?fields=name&sort=-name&per_page=2", "?count=exact", "?page=2&per_page=2",
    "?expand=friends&fields=name", "?name=nobody"],
)  # fmt: skip
def test_a_list_is_told_of_once_with_whole_documents(api, query):
    crowd(5, mail="m", note="whole")
    with recorded() as heard:
        reply = api.get(f"{PEOPLE}{query}")
    assert [(one.name, one.sender) for one in heard] == [
        ("pre_get_list", HeardPerson),
        ("post_get_list", HeardPerson),
    ]
    assert heard[0].arguments["arguments"] == ["heard_person"]
    items = heard[1].arguments["items"]
    assert [(type(item), item.mail, item.note) for item in items] == [(HeardPerson, "m", "whole")] * len(
        reply.json
    )
    assert [item.name for item in items] == names(reply)


def test_a_document_in_a_shape_is_told_of_whole(api):
    [person] = crowd(1, mail="m")
    with recorded() as heard:
        assert api.get(f"{PEOPLE}/{person.id}?fields=name&expand=friends").json == {"name": "n000"}
    assert [one.name for one in heard] == ["pre_get_instance", "post_get_instance"]
    assert heard[1].arguments["instance"].mail == "m"


@pytest.mark.parametrize(
    "query", ["sort=x", "fields=x", "expand=x", "after=x", "per_page=0", "x=1", "count=x"]
)
def test_nobody_hears_of_a_list_that_is_refused(api, query):
    with recorded() as heard:
        refused(api.get(f"{PEOPLE}?{query}"))
    assert heard == []


def test_who_may_not_be_read_is_not_told_of(api):
    HeardPerson.objects.insert([HeardPerson(name=f"n{n}", mail="secret" if n % 2 else "") for n in range(4)])
    with recorded(signals.post_get_list) as heard:
        api.get(f"/concealed{PEOPLE}")
    assert [item.name for item in heard[0].arguments["items"]] == ["n0", "n2"]
