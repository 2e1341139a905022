"""Who may do what with documents of several kinds, and with documents that others change meanwhile."""

import asyncio
import time

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, flatten, pool, signals
from hive.permissions import all_of, concealed, everyone, owner, signed_in
from hive.testing import serve


class KindAnimal(me.Document):
    name = me.StringField(unique=True)
    owner = me.StringField()
    locked = me.BooleanField(default=False)
    salary = me.IntField()
    meta = {"allow_inheritance": True, "lookup_field": "name"}


class KindDog(KindAnimal):
    chip = me.StringField()


class KindZoo(me.Document):
    star = me.ReferenceField(KindAnimal)
    lazy = me.LazyReferenceField(KindAnimal)
    stars = me.ListField(me.ReferenceField(KindAnimal))


class Trusting(Provider):
    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return {"id": token}, time.time() + 60


ANN = {"headers": {"Authorization": "Bearer ann"}}


def serving(*routes):
    made = Application(
        AuthHive.routes_for([Trusting()]) + flatten(routes), default_handler_class=NotFoundHandler
    )
    AuthHive.configure(made, secret_key="k" * 32, authenticated_get=False)
    return serve(made)


LIMITED = [
    {"scope": lambda rows, handler: rows.filter(owner="ann")},
    {"allow": {"get": concealed(owner("owner"))}},
]


@pytest.mark.parametrize("limits", LIMITED, ids=["out of scope", "concealed"])
@pytest.mark.parametrize("field", ["star", "lazy", "stars"])
def test_a_kind_that_is_not_for_everybody_is_not_named_by_its_base(mongomock_database, limits, field):
    KindDog(name="rex", owner="bob").save()
    with serving(ModelHive.routes_for(KindZoo), ModelHive.routes_for(KindDog, **limits)) as api:
        told = []
        for name in ("rex", "none"):
            reply = api.post("/kind_zoo", json={field: [name] if field == "stars" else name}, **ANN)
            assert reply.status == 400
            told.append(reply.body.replace(name.encode(), b""))
        assert told[0] == told[1]


def test_a_kind_that_is_younger_than_the_routes_does_not_show_its_secrets(mongomock_database, caplog):
    with serving(ModelHive.routes_for(KindAnimal)) as api:

        class KindCat(KindAnimal):
            password = me.StringField()

        cat = KindCat(name="tom", password="PWD").save()
        try:
            for path in ("/kind_animal", "/kind_animal/tom"):
                reply = api.get(path)
                assert reply.status == 500
                assert b"PWD" not in reply.body
            assert "KindCat.password looks like a secret" in caplog.text
        finally:
            cat.delete()
            KindAnimal._subclasses = tuple(name for name in KindAnimal._subclasses if "KindCat" not in name)


def test_configure_tells_where_the_routes_of_a_base_class_serve_what_a_subclass_guards(caplog):
    with serving(ModelHive.routes_for(KindAnimal), ModelHive.routes_for(KindDog)):
        assert caplog.text == ""
    with serving(ModelHive.routes_for(KindAnimal), ModelHive.routes_for(KindDog, allow={"get": signed_in})):
        assert "/kind_animal serves every KindDog too" in caplog.text
        assert "the allow and the scope of /kind_dog do not hold there" in caplog.text


def unlocked(handler, animal):
    return animal is None or not animal.locked


@pytest.mark.parametrize("change", [{"locked": True}, {"owner": "bob"}], ids=str)
def test_delete_is_asked_again_after_its_receivers(mongomock_database, change):
    rex = KindAnimal(name="rex", owner="ann").save()

    def interfere(sender):
        KindAnimal.objects(pk=rex.pk).update(**{f"set__{name}": value for name, value in change.items()})

    rule = all_of(owner("owner"), unlocked)
    with (
        serving(ModelHive.routes_for(KindAnimal, allow={"delete": rule})) as api,
        signals.pre_delete_instance.connected_to(interfere),
    ):
        assert api.delete("/kind_animal/rex", **ANN).status == 403
    assert KindAnimal.objects.count() == 1


def test_delete_of_what_was_deleted_by_a_receiver_is_404(mongomock_database):
    KindAnimal(name="rex", owner="ann").save()
    with (
        serving(ModelHive.routes_for(KindAnimal, allow={"delete": owner("owner")})) as api,
        signals.pre_delete_instance.connected_to(lambda _: KindAnimal.objects.delete() and None),
    ):
        assert api.delete("/kind_animal/rex", **ANN).status == 404


def test_who_may_change_but_not_read_cannot_guess_what_is_read_only(mongomock_database):
    KindAnimal(name="rex", owner="bob", salary=4711).save()
    allow = {"get": owner("owner"), "update": signed_in}
    with serving(ModelHive.routes_for(KindAnimal, read_only=["salary"], allow=allow)) as api:
        for method in ("PUT", "PATCH"):
            told = [
                api.request(method, "/kind_animal/rex", json={"salary": guess}, **ANN) for guess in (1, 4711)
            ]
            assert [reply.status for reply in told] == [400, 400]
            assert told[0].body == told[1].body
    with serving(
        ModelHive.routes_for(KindAnimal, read_only=["salary"], allow=allow | {"get": everyone})
    ) as api:
        assert api.put("/kind_animal/rex", json={"salary": 4711}, **ANN).status == 200


def test_permissions_of_a_long_list_share_the_time_of_one_request(mongomock_database, monkeypatch):
    asked = []

    async def hangs(handler, animal):
        if animal is None:
            return True
        asked.append(animal.name)
        await asyncio.sleep(60)
        return True

    monkeypatch.setattr(pool, "DEADLINE", 0.2)
    KindAnimal.objects.insert([KindAnimal(name=str(number)) for number in range(20)])
    with serving(ModelHive.routes_for(KindAnimal, allow={"get": hangs})) as api:
        assert api.get("/kind_animal").status == 503
    assert len(asked) < 20
