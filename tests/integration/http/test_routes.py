"""Routes are served as the options of `routes_for` say."""

import mongoengine as me
import pytest

from hive import ModelHive, flatten
from hive.testing import serve


class Plain(me.Document):
    name = me.StringField()
    other = me.StringField()


class Willing(me.Document):
    name = me.StringField()

    def save(self, *args, **kwargs):
        self.name = self.name.upper()
        return super().save(*args, **kwargs)


class Explicit(me.Document):
    name = me.StringField()

    def save(self, force_insert=False, save_condition=None, **others):
        return super().save(force_insert=force_insert, save_condition=save_condition, **others)


class Branch(me.EmbeddedDocument):
    label = me.StringField()
    secret = me.StringField()
    branches = me.ListField(me.EmbeddedDocumentField("self"))


class Tree(me.Document):
    root = me.EmbeddedDocumentField(Branch)


def test_save_that_passes_things_on_is_served(mongomock_database):
    with serve(flatten([ModelHive.routes_for(Willing), ModelHive.routes_for(Explicit)])) as api:
        assert api.post("/willing", json={"name": "x"}).json["name"] == "X"
        assert api.post("/explicit", json={"name": "x"}).status == 201


@pytest.mark.parametrize("kind", [list, tuple, set, iter])
def test_names_may_be_any_iterable(mongomock_database, kind):
    Plain(name="a", other="b").save()
    options = {"hidden": kind(["name"]), "read_only": kind(["other"]), "methods": kind(["GET", "POST"])}
    with serve(ModelHive.routes_for(Plain, **options)) as api:
        assert api.get("/plain").json[0].keys() == {"id", "other"}
        assert api.post("/plain", json={"other": "x"}).status == 400
        assert api.post("/plain", json={"name": "x"}).status == 400


def test_methods_are_served_in_any_case(mongomock_database):
    with serve(ModelHive.routes_for(Plain, methods=["get", "Post"])) as api:
        assert api.request("OPTIONS", "/plain").headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_secrets_in_a_class_that_holds_itself_are_hidden_at_any_depth(mongomock_database):
    Tree(
        root=Branch(secret="s1", branches=[Branch(secret="s2", branches=[Branch(label="x", secret="s3")])])
    ).save()
    with serve(ModelHive.routes_for(Tree, hidden=["root.secret"])) as api:
        reply = api.get("/tree")
        assert b'"x"' in reply.body
        assert b"s1" not in reply.body
        assert b"s2" not in reply.body
        assert b"s3" not in reply.body
        branch = {"label": "x", "secret": "y"}
        for body in (branch, {"branches": [branch]}, {"branches": [{"branches": [branch]}]}):
            assert api.post("/tree", json={"root": body}).status == 400
