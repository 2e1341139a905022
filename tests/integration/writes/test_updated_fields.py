"""`updated_fields` has what PUT and PATCH changed, all of it, and nothing else."""

import enum
from datetime import date, datetime
from decimal import Decimal

import mongoengine as me
import pytest
from bson import DBRef, ObjectId
from mongoengine.base import LazyReference

from hive import ModelHive, signals
from hive.testing import recorded, serve
from tests.support.databases import on_both

naive = datetime  # as mongoengine has times: in UTC, without saying so

ID = ObjectId("65a000000000000000000001")
OTHER = ObjectId("65a000000000000000000002")


class Status(enum.Enum):
    NEW = "new"
    DONE = "done"


class UpdatedUser(me.Document):
    name = me.StringField()


class UpdatedSpot(me.EmbeddedDocument):
    lat = me.FloatField(db_field="la")
    lon = me.FloatField()


class UpdatedPostalAddress(me.EmbeddedDocument):
    city = me.StringField(db_field="c")
    geo = me.EmbeddedDocumentField(UpdatedSpot, db_field="g")
    note = me.StringField()
    source = me.StringField(default="client")


class UpdatedOther(me.EmbeddedDocument):
    city = me.StringField()


class UpdatedOrder(me.Document):
    title = me.StringField(db_field="t")
    slug = me.StringField()
    address = me.EmbeddedDocumentField(UpdatedPostalAddress, db_field="a")
    any = me.GenericEmbeddedDocumentField(choices=[UpdatedPostalAddress, UpdatedOther])
    stops = me.EmbeddedDocumentListField(UpdatedPostalAddress)
    places = me.MapField(me.EmbeddedDocumentField(UpdatedSpot))
    tags = me.ListField(me.StringField())
    data = me.DictField()
    counts = me.MapField(me.IntField())
    status = me.EnumField(Status, default=Status.NEW)
    states = me.ListField(me.EnumField(Status))
    price = me.DecimalField()
    prices = me.MapField(me.DecimalField())
    at = me.DateTimeField()
    exactly = me.ComplexDateTimeField()
    day = me.DateField()
    owner = me.ReferenceField(UpdatedUser)
    dbref = me.ReferenceField(UpdatedUser, dbref=True)
    lazy = me.LazyReferenceField(UpdatedUser)
    cached = me.CachedReferenceField(UpdatedUser, fields=["name"])
    generic = me.GenericReferenceField()
    generic_lazy = me.GenericLazyReferenceField()
    members = me.ListField(me.ReferenceField(UpdatedUser))
    things = me.ListField(me.GenericReferenceField())
    by_role = me.MapField(me.ReferenceField(UpdatedUser))
    revision = me.IntField(default=0)
    counted = me.IntField(default=0)

    def clean(self):
        self.slug = (self.title or "").lower() or None

    def save(self, *args, **kwargs):
        self.revision += 1
        return super().save(*args, **kwargs)


def count(sender, document, **_):
    document.counted += 10


@pytest.fixture(params=["mongodb"])
def database(request):
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def orders(database):
    UpdatedUser(pk=ID, name="one").save()
    UpdatedUser(pk=OTHER, name="two").save()
    with serve([*ModelHive.routes_for(UpdatedOrder), *ModelHive.routes_for(UpdatedUser)]) as client:
        yield client


def changed(client, path, method="PUT", **body):
    """What an update with this body changed, without what every save changes here."""
    with recorded(signals.post_update_instance) as heard:
        answer = client.request(method, path, json=body)
    assert answer.status == 200, answer.body
    assert client.get(path).json == answer.json
    [only] = heard
    assert only.arguments["instance"].pk == UpdatedOrder.objects.get(pk=only.arguments["instance"].pk).pk
    updated = dict(only.arguments["updated_fields"])
    del updated["revision"]
    return updated


def new(client, **body):
    created = client.post("/updated_order", json=body)
    assert created.status == 201, created.body
    return created.headers["Location"]


def test_a_field_that_changed_is_there_and_others_are_not(orders):
    path = new(orders, tags=["a"], price="1.00")
    assert changed(orders, path, tags=["a"], price="1.00", data={}, stops=[]) == {}
    assert changed(orders, path, tags=["a", "b"], price="1") == {"tags": {"from": ["a"], "to": ["a", "b"]}}


def test_names_inside_of_embedded_documents_are_dotted(orders):
    path = new(orders, address={"city": "Rome", "geo": {"lat": 1.0, "lon": 2.0}})
    assert changed(orders, path, address={"city": "Oslo", "geo": {"lat": 3.0}}) == {
        "address.city": {"from": "Rome", "to": "Oslo"},
        "address.geo.lat": {"from": 1.0, "to": 3.0},
    }
    assert changed(orders, path, "PATCH", address={"geo": {"lon": None}}) == {
        "address.geo.lon": {"from": 2.0, "to": None}
    }


def test_an_embedded_document_that_comes_or_goes_is_whole(orders):
    path = new(orders, title=None)
    address = UpdatedPostalAddress(city="Rome", geo=UpdatedSpot(lat=1.0))
    body = {"city": "Rome", "geo": {"lat": 1.0}}
    assert changed(orders, path, address=body) == {"address": {"from": None, "to": address}}
    assert changed(orders, path, address={"geo": None}) == {
        "address.geo": {"from": UpdatedSpot(lat=1.0), "to": None}
    }
    assert changed(orders, path, address=None) == {
        "address": {"from": UpdatedPostalAddress(city="Rome"), "to": None}
    }


def test_an_embedded_document_of_another_class_is_whole(orders):
    path = new(orders, any={"_cls": "UpdatedPostalAddress", "city": "Rome"})
    assert changed(orders, path, any={"_cls": "UpdatedPostalAddress", "city": "Oslo"}) == {
        "any.city": {"from": "Rome", "to": "Oslo"}
    }
    assert changed(orders, path, any={"_cls": "UpdatedOther", "city": "Oslo"}) == {
        "any": {"from": UpdatedPostalAddress(city="Oslo"), "to": UpdatedOther(city="Oslo")}
    }


@on_both
def test_lists_and_maps_are_whole_and_typed(orders):
    path = new(
        orders,
        stops=[{"city": "a"}],
        places={"x": {"lat": 1.0}},
        states=["new"],
        prices={"a": "1"},
        counts={"a": 1},
    )
    stops, places = [{"city": "a"}, {"city": "b"}], {"x": {"lat": 2.0}}
    assert changed(
        orders, path, stops=stops, places=places, states=["done"], prices={"b": "2"}, counts={}
    ) == {
        "stops": {
            "from": [UpdatedPostalAddress(city="a")],
            "to": [UpdatedPostalAddress(city="a"), UpdatedPostalAddress(city="b")],
        },
        "places": {"from": {"x": UpdatedSpot(lat=1.0)}, "to": {"x": UpdatedSpot(lat=2.0)}},
        "states": {"from": [Status.NEW], "to": [Status.DONE]},
        "prices": {"from": {"a": Decimal("1.00")}, "to": {"b": Decimal("2.00")}},
        "counts": {"from": {"a": 1}, "to": {}},
    }  # fmt: skip


@on_both
def test_values_are_typed_as_in_python(orders):
    path = new(
        orders,
        price="1.10",
        at="2026-01-31T00:00:00Z",
        exactly="2026-01-31T00:00:00.000001Z",
        day="2026-01-31",
    )
    update = changed(
        orders,
        path,
        status="done",
        price="2",
        at="2027-01-01T00:00:00.5Z",
        exactly="2027-01-01T00:00:00.000002Z",
        day="2027-01-01",
    )
    assert update == {
        "status": {"from": Status.NEW, "to": Status.DONE},
        "price": {"from": Decimal("1.10"), "to": Decimal("2.00")},
        "at": {"from": naive(2026, 1, 31), "to": naive(2027, 1, 1, 0, 0, 0, 500000)},
        "exactly": {"from": naive(2026, 1, 31, 0, 0, 0, 1), "to": naive(2027, 1, 1, 0, 0, 0, 2)},
        "day": {"from": date(2026, 1, 31), "to": date(2027, 1, 1)},
    }
    for change in update.values():
        assert type(change["from"]) is type(change["to"])
        assert type(change["from"]) in (Status, Decimal, datetime, date)


@on_both
@pytest.mark.parametrize("name", ["owner", "dbref", "lazy", "cached"])
def test_references_are_primary_keys(orders, name):
    path = new(orders, **{name: str(ID)})
    update = changed(orders, path, **{name: str(OTHER)})
    assert update == {name: {"from": ID, "to": OTHER}}
    assert [type(one) for one in update[name].values()] == [ObjectId, ObjectId]
    assert changed(orders, path, **{name: None}) == {name: {"from": OTHER, "to": None}}


@on_both
def test_references_in_lists_and_maps_are_primary_keys(orders):
    path = new(orders, members=[str(ID)], by_role={"a": str(ID)})
    update = changed(orders, path, members=[str(OTHER), str(ID)], by_role={"a": str(OTHER)})
    assert update == {
        "members": {"from": [ID], "to": [OTHER, ID]},
        "by_role": {"from": {"a": ID}, "to": {"a": OTHER}},
    }
    assert [type(one) for one in update["members"]["to"]] == [ObjectId, ObjectId]


@on_both
@pytest.mark.parametrize("name", ["generic", "generic_lazy"])
def test_generic_references_are_dbrefs(orders, name):
    one, two = {"_cls": "UpdatedUser", "id": str(ID)}, {"_cls": "UpdatedUser", "id": str(OTHER)}
    path = new(orders, **{name: one}, things=[one])
    update = changed(orders, path, **{name: two}, things=[two, one])
    assert update == {
        name: {"from": DBRef("updated_user", ID), "to": DBRef("updated_user", OTHER)},
        "things": {
            "from": [DBRef("updated_user", ID)],
            "to": [DBRef("updated_user", OTHER), DBRef("updated_user", ID)],
        },
    }
    assert not isinstance(update[name]["to"], LazyReference)


def test_what_clean_and_save_changed_is_there_too(orders):
    path = new(orders, title="One")
    with recorded(signals.post_update_instance) as heard:
        orders.put(path, json={"title": "Two"})
    assert heard[0].arguments["updated_fields"] == {
        "title": {"from": "One", "to": "Two"},
        "slug": {"from": "one", "to": "two"},
        "revision": {"from": 1, "to": 2},
    }


def test_what_a_signal_of_mongoengine_changed_is_there_too(orders):
    path = new(orders, title="One")
    for signal in (me.signals.pre_save, me.signals.pre_save_post_validation):
        with signal.connected_to(count, sender=UpdatedOrder):
            assert set(changed(orders, path, tags=["x", signal.name])) == {"tags", "counted"}
    assert UpdatedOrder.objects.first().counted == 20
    assert changed(orders, path, tags=[])["tags"]["to"] == []


def test_defaults_of_fields_that_are_not_stored_are_no_change(orders):
    UpdatedOrder._get_collection().insert_one({"_id": ID, "t": "x", "slug": "x", "a": {"c": "Rome"}})
    assert changed(orders, f"/updated_order/{ID}", address={"city": "Oslo"}) == {
        "address.city": {"from": "Rome", "to": "Oslo"}
    }
    assert "source" not in UpdatedOrder.objects.as_pymongo().first()["a"]
    assert changed(orders, f"/updated_order/{ID}", status="done", address={"source": "import"}) == {
        "status": {"from": Status.NEW, "to": Status.DONE},
        "address.source": {"from": "client", "to": "import"},
    }


@on_both
def test_what_is_stored_beside_the_fields_stays(orders):
    UpdatedOrder._get_collection().insert_one({"_id": ID, "data": {"a": float("nan")}})
    assert changed(orders, f"/updated_order/{ID}", title="x").keys() == {"title", "slug"}


# JSON Merge Patch (RFC 7396)


def test_null_in_a_patch_removes_keys_of_dictionaries_and_maps(orders):
    path = new(
        orders,
        data={"a": 1, "b": {"c": 2, "d": [1]}},
        counts={"a": 1, "b": 2},
        places={"x": {"lat": 1.0, "lon": 2.0}},
    )
    assert changed(
        orders, path, "PATCH", data={"a": None, "b": {"c": None, "e": {"f": None}}}, counts={"a": None,
            "z": None},
        places={"x": {"lat": None}, "y": {"lon": 3.0}, "z": None},
    ) == {
        "data": {"from": {"a": 1, "b": {"c": 2, "d": [1]}}, "to": {"b": {"d": [1], "e": {}}}},
        "counts": {"from": {"a": 1, "b": 2}, "to": {"b": 2}},
        "places": {
            "from": {"x": UpdatedSpot(lat=1.0, lon=2.0)},
            "to": {"x": UpdatedSpot(lon=2.0), "y": UpdatedSpot(lon=3.0)},
        },
    }  # fmt: skip


def test_a_patch_replaces_lists_and_all_that_is_no_object(orders):
    path = new(
        orders, data={"a": {"b": 1}, "c": [1, {"d": 1}]}, tags=["a"], stops=[{"city": "a", "note": "n"}]
    )
    answer = orders.patch(
        path, json={"data": {"a": 1, "c": [{"e": None}]}, "tags": None, "stops": [{"city": "b"}]}
    )
    assert answer.json["data"] == {"a": 1, "c": [{"e": None}]}
    assert answer.json["tags"] == []
    assert answer.json["stops"][0] == {"city": "b", "geo": None, "note": None, "source": "client"}
    assert orders.patch(path, json={"data": {"a": {"x": 1}}}).json["data"]["a"] == {"x": 1}
    assert orders.patch(path, json={"data": None, "address": {"geo": None}}).json["data"] == {}


def test_put_sets_dictionaries_whole(orders):
    path = new(orders, data={"a": 1}, counts={"a": 1})
    assert changed(orders, path, data={"b": None}, counts={"b": 2}) == {
        "data": {"from": {"a": 1}, "to": {"b": None}},
        "counts": {"from": {"a": 1}, "to": {"b": 2}},
    }


# PUT that replaces


class UpdatedProfile(me.EmbeddedDocument):
    bio = me.StringField(default="none")
    rank = me.IntField()
    mark = me.StringField()
    pin = me.StringField()


class UpdatedMembership(me.DynamicDocument):
    name = me.StringField(required=True)
    level = me.IntField(default=1)
    tags = me.ListField(me.StringField())
    hush = me.StringField()
    pin = me.StringField()
    rank = me.IntField()
    number = me.SequenceField()
    maybe = me.IntField(default=5, null=True)
    profile = me.EmbeddedDocumentField(UpdatedProfile)


@pytest.fixture
def account(database):
    profile = UpdatedProfile(bio="b", rank=3, mark="m", pin="p")
    document = UpdatedMembership(
        name="x",
        level=7,
        tags=["t"],
        hush="h",
        pin="p",
        rank=3,
        maybe=6,
        profile=profile,
        free=1,
        stamp=2,
        inner=3,
    ).save()
    routes = ModelHive.routes_for(
        UpdatedMembership, put="replace", hidden=["hush", "profile.mark", "inner"],
        write_only=["pin", "profile.pin"], read_only=["rank", "profile.rank", "stamp"],
    )  # fmt: skip
    with serve(routes) as client:
        client.path = f"/updated_membership/{document.pk}"
        yield client


@on_both
def test_a_replacing_put_resets_what_the_body_does_not_name(account):
    with recorded(signals.post_update_instance) as heard:
        answer = account.put(account.path, json={"name": "y", "profile": {}})
    assert answer.status == 200, answer.body
    assert heard[0].arguments["updated_fields"] == {
        "name": {"from": "x", "to": "y"},
        "level": {"from": 7, "to": 1},
        "tags": {"from": ["t"], "to": []},
        "maybe": {"from": 6, "to": None},
        "profile.bio": {"from": "b", "to": "none"},
        "free": {"from": 1, "to": None},
    }
    assert account.get(account.path).json == answer.json
    assert "free" not in answer.json
    stored = UpdatedMembership.objects.first()
    assert (stored.hush, stored.pin, stored.rank, stored.stamp, stored.inner) == ("h", "p", 3, 2, 3)
    assert (stored.profile.rank, stored.profile.mark, stored.profile.pin) == (3, "m", "p")
    assert stored.number == answer.json["number"] == 1


def test_a_replacing_put_takes_back_what_was_read(account):
    read = account.get(account.path).json
    with recorded(signals.post_update_instance) as heard:
        assert account.put(account.path, json=read).json == read
    assert heard[0].arguments["updated_fields"] == {}


def test_a_replacing_put_without_an_embedded_document_removes_it(account):
    assert account.put(account.path, json={"name": "y"}).json["profile"] is None


def test_a_replacing_put_without_a_required_field_is_400(account):
    answer = account.put(account.path, json={"level": 2})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "name")
    assert UpdatedMembership.objects.first().level == 7


def test_a_patch_of_a_model_that_is_replaced_by_put_still_merges(account):
    assert account.patch(account.path, json={"name": "y"}).json["level"] == 7
