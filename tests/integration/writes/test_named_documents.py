"""The documents that a body names are found under the options of their own routes."""

import mongoengine as me
import pytest
from bson import ObjectId

from hive import ModelHive
from hive.testing import serve


class Nation(me.Document):
    meta = {"lookup_field": "code"}
    code = me.StringField(unique=True)
    open = me.BooleanField(default=True)


class Harbour(me.Document):
    meta = {"allow_inheritance": True}
    number = me.IntField(primary_key=True)


class Marina(Harbour):
    berths = me.IntField()


class Ship(me.Document):
    flag = me.ReferenceField(Nation)
    flags = me.ListField(me.ReferenceField(Nation))
    home = me.ReferenceField(Harbour)
    berth = me.ReferenceField(Marina)
    seen = me.MapField(me.ReferenceField(Harbour))
    cached = me.CachedReferenceField(Nation, fields=["code"])
    anything = me.GenericReferenceField()
    logs = me.ListField(me.ReferenceField("self"))


def open_only(queryset, handler):
    return queryset.filter(open=True)


ROUTES = [
    *ModelHive.routes_for(Ship),
    *ModelHive.routes_for(Nation, scope=open_only),
    *ModelHive.routes_for(Harbour),
]


@pytest.fixture
def ships(mongodb_database):
    Nation(code="fr").save()
    Nation(code="xx", open=False).save()
    Harbour(number=1).save()
    Marina(number=2).save()
    with serve(ROUTES) as client:
        yield client


def nation(code):
    return str(Nation.objects.get(code=code).pk)


def test_a_body_names_documents_by_primary_key_or_by_lookup_field(ships):
    for name in (nation("fr"), "fr"):
        created = ships.post("/ship", json={"flag": name, "flags": [name, nation("fr")], "cached": name})
        assert created.status == 201, created.body
        assert created.json["flag"] == created.json["cached"] == nation("fr")
        assert created.json["flags"] == [nation("fr")] * 2


def test_what_is_out_of_scope_does_not_exist_for_a_body(ships):
    for name in (nation("xx"), "xx"):
        for body in (
            {"flag": name},
            {"flags": ["fr", name]},
            {"cached": name},
            {"anything": {"_cls": "Nation", "id": name}},
        ):
            answer = ships.post("/ship", json=body)
            assert answer.status == 400, body
            assert "names no Nation" in answer.json["errors"][0]["message"]
    assert Ship.objects.count() == 0


def test_a_primary_key_that_is_a_number_is_named_by_a_number_or_its_text(ships):
    for name in (1, "1"):
        created = ships.post("/ship", json={"home": name, "seen": {"a": name}})
        assert (created.json["home"], created.json["seen"]) == ("1", {"a": "1"})
    for wrong in (True, 1.5, "01x", 3, "-1", 2**64, "1" * 30, [1]):
        assert ships.post("/ship", json={"home": wrong}).status == 400


def test_a_reference_takes_subclasses_and_no_base_class(ships):
    assert ships.post("/ship", json={"home": 2, "berth": 2}).status == 201
    answer = ships.post("/ship", json={"berth": 1})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "berth")


def test_a_generic_reference_names_only_what_the_application_serves(ships):
    assert ships.post("/ship", json={"anything": {"_cls": "Harbour.Marina", "id": 2}}).status == 201
    ship = Ship().save()
    assert ships.post("/ship", json={"anything": {"_cls": "Ship", "id": str(ship.pk)}}).status == 201
    with serve(ModelHive.routes_for(Ship)) as client:
        assert client.post("/ship", json={"anything": {"_cls": "Harbour", "id": 1}}).status == 400
        assert (
            client.post("/ship", json={"home": 1, "flag": "xx"}).status == 201
        )  # the field says so, no routes restrict


def test_a_list_of_references_is_found_in_one_query_and_names_each_that_is_wrong(ships):
    fine = [str(Ship().save().pk) for _ in range(5)]
    answer = ships.post("/ship", json={"logs": [fine[0], str(ObjectId()), *fine[1:], "x"]})
    assert [error["field"] for error in answer.json["errors"]] == ["logs.1", "logs.6"]
    assert ships.post("/ship", json={"logs": fine}).json["logs"] == fine
