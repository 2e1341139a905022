"""Who may do what with documents of subclasses, which the routes of their base class serve, too."""

import time

import mongoengine as me
import pytest
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, flatten
from hive.permissions import concealed, owner, signed_in
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
        return {"id": token}, time.time() + 3600


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
