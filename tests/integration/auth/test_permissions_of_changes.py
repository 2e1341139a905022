"""Permissions of documents that receivers change, that cannot be read, and that take too long to be asked."""

import asyncio
import time

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, flatten, signals
from hive.permissions import all_of, everyone, owner, signed_in
from hive.testing import serve


class Guarded(me.Document):
    name = me.StringField(unique=True)
    owner = me.StringField()
    locked = me.BooleanField(default=False)
    salary = me.IntField()
    meta = {"lookup_field": "name"}


class Trusting(Provider):
    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return {"id": token}, time.time() + 3600


ANN = {"headers": {"Authorization": "Bearer ann"}}


def serving(*routes):
    made = Application(
        AuthHive.routes_for([Trusting()]) + flatten(routes), default_handler_class=NotFoundHandler
    )
    AuthHive.configure(made, secret_key="k" * 32, authenticated_get=False)
    return serve(made)


def unlocked(handler, animal):
    return animal is None or not animal.locked


@pytest.mark.parametrize("change", [{"locked": True}, {"owner": "bob"}], ids=str)
def test_delete_is_asked_again_after_its_receivers(mongomock_database, change):
    rex = Guarded(name="rex", owner="ann").save()

    def interfere(sender):
        Guarded.objects(pk=rex.pk).update(**{f"set__{name}": value for name, value in change.items()})

    rule = all_of(owner("owner"), unlocked)
    with (
        serving(ModelHive.routes_for(Guarded, allow={"delete": rule})) as api,
        signals.pre_delete_instance.connected_to(interfere),
    ):
        assert api.delete("/guarded/rex", **ANN).status == 403
    assert Guarded.objects.count() == 1


def test_delete_of_what_was_deleted_by_a_receiver_is_404(mongomock_database):
    Guarded(name="rex", owner="ann").save()
    with (
        serving(ModelHive.routes_for(Guarded, allow={"delete": owner("owner")})) as api,
        signals.pre_delete_instance.connected_to(lambda _: Guarded.objects.delete() and None),
    ):
        assert api.delete("/guarded/rex", **ANN).status == 404


def test_who_may_change_but_not_read_cannot_guess_what_is_read_only(mongomock_database):
    Guarded(name="rex", owner="bob", salary=4711).save()
    allow = {"get": owner("owner"), "update": signed_in}
    with serving(ModelHive.routes_for(Guarded, read_only=["salary"], allow=allow)) as api:
        for method in ("PUT", "PATCH"):
            told = [api.request(method, "/guarded/rex", json={"salary": guess}, **ANN) for guess in (1, 4711)]
            assert [reply.status for reply in told] == [400, 400]
            assert told[0].body == told[1].body
    with serving(ModelHive.routes_for(Guarded, read_only=["salary"], allow=allow | {"get": everyone})) as api:
        assert api.put("/guarded/rex", json={"salary": 4711}, **ANN).status == 200


def test_permissions_of_a_long_list_share_the_time_of_one_request(mongomock_database):
    asked = []

    async def hangs(handler, animal):
        if animal is None:
            return True
        asked.append(animal.name)
        await asyncio.sleep(600)
        return True

    Guarded.objects.insert([Guarded(name=str(number)) for number in range(20)])
    with serving(ModelHive.routes_for(Guarded, allow={"get": hangs}, deadline=0.2)) as api:
        assert api.get("/guarded").status == 503
    assert len(asked) <= 1
