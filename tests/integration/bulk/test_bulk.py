"""One request writes several documents: those of an array that is posted, or those that a filter finds."""

import json
import logging
from contextlib import contextmanager

import mongoengine as me
import pytest
from mongoengine import signals as engine_signals
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Problem, Provider, flatten, many, several, signals
from hive.errors import Conflict, NotFound
from hive.permissions import concealed, everyone, owner
from hive.testing import recorded, serve
from tests.support.threads import PATIENCE, at_once


class ManyUser(me.Document):
    meta = {"indexes": ["rank"]}
    name = me.StringField(required=True, max_length=40)
    email = me.StringField(unique=True, sparse=True)
    n = me.IntField()
    rank = me.IntField()
    owner = me.StringField()
    tags = me.ListField(me.StringField())


class ManyBeast(me.Document):
    meta = {"allow_inheritance": True}
    name = me.StringField()


class ManyHound(ManyBeast):
    legs = me.IntField()


class ManyNumbered(me.Document):
    number = me.SequenceField()
    name = me.StringField()


class ManyNamed(me.Document):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    n = me.IntField()


class ManyStrict(me.Document):
    name = me.StringField()

    def clean(self):
        if self.name == "bug":
            raise ZeroDivisionError("secret")
        if self.name == "bad":
            raise me.ValidationError("This is bad.")


class ManyAudit(me.Document):
    name = me.StringField()


class ManyAudited(me.Document):
    """Its own save() writes more than the document, and may find out late that it is not to be stored."""

    name = me.StringField()

    def save(self, *arguments, **how):
        ManyAudit(name=self.name).save()
        if self.name == "bad":
            raise me.ValidationError("bad", errors={"name": "is bad"})
        return super().save(*arguments, **how)


class ManyOwner(me.Document):
    name = me.StringField()


class ManyThing(me.Document):
    owner = me.ReferenceField(ManyOwner, reverse_delete_rule=me.DENY)


class ManyTeam(me.Document):
    members = me.ListField(me.ReferenceField(ManyUser))


class Teapot(Problem):
    status = 418
    sentence = "I am a teapot."


class Trusting(Provider):
    """Takes a bearer for who they say they are."""

    async def bearer(self, token):
        return {"id": token}, 2**32


MODELS = (
    ManyUser, ManyBeast, ManyNumbered, ManyNamed, ManyStrict, ManyAudited, ManyOwner, ManyThing, ManyTeam,
)  # fmt: skip
ROUTES = flatten([ModelHive.routes_for(model, deadline=60) for model in MODELS])
"""With time enough for many documents, however busy the machine is: ten times that for an array."""
USER = "/many_user"
JSON_PATCH = "application/json-patch+json"
EACH = {"Prefer": "transaction=no"}
ALL = {}
WAYS = pytest.mark.parametrize("way", [ALL, EACH], ids=["all or nothing", "each on its own"])
CREATED, UPDATED, DELETED = "create_instance", "update_instance", "delete_instance"


@pytest.fixture
def api(mongodb_database):
    with serve(ROUTES) as api:
        yield api


@pytest.fixture
def either(database):
    """For what MongoDB or mongomock tells of documents that it does not take."""
    with serve(ROUTES) as api:
        api.is_real = not type(database).__module__.startswith("mongomock")
        yield api


@pytest.fixture
def users(api):
    """a and b, with n=1, and c, with n=2."""
    return [str(ManyUser(name=name, n=n).save().pk) for name, n in (("a", 1), ("b", 1), ("c", 2))]


@contextmanager
def serving(model=ManyUser, **options):
    with serve(ModelHive.routes_for(model, **options)) as api:
        yield api


@contextmanager
def guarded(**allow):
    """Where bearers are who they say they are."""
    routes = AuthHive.routes_for([Trusting()]) + ModelHive.routes_for(ManyUser, allow=allow)
    application = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(application, secret_key="k" * 32, authenticated_get=False, write_rate=None)
    with serve(application) as api:
        yield api


def as_(who, way=ALL):
    return way | {"Authorization": f"Bearer {who}"}


def names(model=ManyUser, **query):
    return sorted(document.name for document in model.objects(**query))


def dump():
    return [list(model._get_collection().find()) for model in (*MODELS, ManyAudit)]


def results(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/json"
    return reply.json


def refusing(error, name):
    """A pre receiver that refuses one document."""

    def receiver(sender, handler):
        if (handler.instance or type("_", (), handler.values)).name == name:
            raise error

    return receiver


def problem_of(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["status"] == status
    return reply.json


# What is done, and what is told of it


@WAYS
def test_an_array_creates_its_documents_in_order(api, way):
    reply = api.post(USER, json=[{"name": "b"}, {"name": "a", "n": 7}, {"name": "c"}], headers=way)
    told = results(reply, 201)
    assert [one.keys() for one in told] == [{"status", "id"}] * 3
    assert [one["status"] for one in told] == [201] * 3
    assert [ManyUser.objects.get(pk=one["id"]).name for one in told] == ["b", "a", "c"]
    assert ManyUser.objects.get(name="a").n == 7
    assert ManyUser.objects.count() == 3
    assert reply.headers.get("Preference-Applied") == way.get("Prefer")


@WAYS
@pytest.mark.parametrize("how", [{"json": {"n": 5}}, {"form": {"n": "5"}}], ids=["json", "form"])
def test_a_patch_changes_what_the_filter_finds(api, users, way, how):
    assert results(api.patch(f"{USER}?n=1", headers=way, **how), 200) == [
        {"status": 200, "id": users[0]},
        {"status": 200, "id": users[1]},
    ]
    assert [user.n for user in ManyUser.objects.order_by("name")] == [5, 5, 2]


@WAYS
def test_a_delete_deletes_what_the_filter_finds(api, users, way):
    assert results(api.delete(f"{USER}/?n=1", headers=way), 200) == [
        {"status": 204, "id": users[0]},
        {"status": 204, "id": users[1]},
    ]
    assert names() == ["c"]


@WAYS
def test_a_filter_that_finds_nothing_changes_nothing(api, users, way):
    before = dump()
    with recorded() as heard:
        assert results(api.patch(f"{USER}?n=9", json={"n": 5}, headers=way), 200) == []
        assert results(api.delete(f"{USER}?n=9", headers=way), 200) == []
    assert heard == []
    assert dump() == before


@WAYS
@pytest.mark.parametrize("body", [b"[]", b" [ \n ] "], ids=["bare", "blanks"])
def test_an_empty_array_creates_nothing(api, way, body):
    with recorded() as heard:
        reply = api.post(USER, body=body, headers=way | {"Content-Type": "application/json"})
    assert results(reply, 200) == []
    assert heard == []


@WAYS
def test_a_json_patch_is_one_of_each_document(api, way):
    for name, tags in (("a", ["x"]), ("b", ["y", "z"])):
        ManyUser(name=name, tags=tags).save()
    operations = [{"op": "add", "path": "/tags/-", "value": "new"}, {"op": "remove", "path": "/tags/0"}]
    reply = api.patch(f"{USER}?name__ne=q", json=operations, headers=way | {"Content-Type": JSON_PATCH})
    assert [one["status"] for one in results(reply, 200)] == [200, 200]
    assert [user.tags for user in ManyUser.objects.order_by("name")] == [["new"], ["z", "new"]]


def test_a_json_patch_that_one_document_does_not_take_changes_none(api):
    for name, n in (("a", 1), ("b", 2)):
        ManyUser(name=name, n=n).save()
    operations = [{"op": "test", "path": "/n", "value": 1}, {"op": "replace", "path": "/rank", "value": 5}]
    before = dump()
    reply = api.patch(f"{USER}?name__ne=q", json=operations, headers={"Content-Type": JSON_PATCH})
    assert 400 <= reply.status < 500
    assert [one["status"] for one in problem_of(reply, reply.status)["results"]] == [424, reply.status]
    assert dump() == before
    reply = api.patch(f"{USER}?name__ne=q", json=operations, headers=EACH | {"Content-Type": JSON_PATCH})
    assert results(reply, 207)[0]["status"] == 200
    assert [user.rank for user in ManyUser.objects.order_by("name")] == [5, None]


@WAYS
def test_an_array_may_have_documents_of_several_classes(api, way):
    body = [{"name": "x"}, {"_cls": "ManyBeast.ManyHound", "name": "rex", "legs": 4}]
    with recorded() as heard:
        told = results(api.post("/many_beast", json=body, headers=way), 201)
    kinds = [type(ManyBeast.objects.get(pk=one["id"])) for one in told]
    assert kinds == [ManyBeast, ManyHound]
    assert [signal.sender for signal in heard] == [ManyBeast, ManyHound] * 2
    with recorded() as heard:
        told = results(api.patch("/many_beast?name__ne=q", json={"name": "z"}, headers=way), 200)
    assert len(told) == 2
    assert [signal.sender for signal in heard] == [ManyBeast, ManyHound] * 2
    assert ManyHound.objects.get().legs == 4


@WAYS
def test_each_document_has_a_number_of_its_own(api, way):
    for _ in range(2):
        results(api.post("/many_numbered", json=[{"name": "x"}] * 3, headers=way), 201)
    assert sorted(one.number for one in ManyNumbered.objects) == [1, 2, 3, 4, 5, 6]


@WAYS
def test_results_name_documents_as_urls_do(api, way):
    told = results(api.post("/many_named", json=[{"slug": "x"}, {"slug": "y"}], headers=way), 201)
    assert [one["id"] for one in told] == ["x", "y"]
    told = results(api.patch("/many_named?slug=y", json={"n": 1}, headers=way), 200)
    assert told == [{"status": 200, "id": "y"}]
    assert api.get("/many_named/y").json["n"] == 1


# Signals


@WAYS
def test_each_new_document_has_one_pair_of_signals(api, way):
    stored, values = [], []

    def before(sender, arguments, handler):
        stored.append(ManyUser.objects.count())
        values.append((arguments, handler.instance, dict(handler.values)))

    def after(sender, instance, handler):
        stored.append(ManyUser.objects.count())
        values.append((ManyUser.objects.get(pk=instance.pk).name, handler.instance is instance))
        values.append(dict(handler.values))

    with (
        recorded() as heard,
        signals.pre_create_instance.connected_to(before, ManyUser),
        signals.post_create_instance.connected_to(after, ManyUser),
    ):
        told = results(api.post(USER, json=[{"name": "a"}, {"name": "b", "n": 1}], headers=way), 201)
    assert [signal.name for signal in heard] == [f"pre_{CREATED}"] * 2 + [f"post_{CREATED}"] * 2
    assert [str(signal.arguments["instance"].pk) for signal in heard[2:]] == [one["id"] for one in told]
    assert stored == [0, 0, 2, 2]
    assert values == [
        (["many_user"], None, {"name": "a"}),
        (["many_user"], None, {"name": "b", "n": 1}),
        ("a", True),
        {"name": "a"},
        ("b", True),
        {"name": "b", "n": 1},
    ]


@WAYS
def test_each_changed_document_has_one_pair_of_signals_that_tells_what_changed_in_it(api, users, way):
    seen = []

    def before(sender, arguments, handler):
        seen.append((arguments, handler.instance.name, handler.instance.n, dict(handler.values)))

    with recorded() as heard, signals.pre_update_instance.connected_to(before, ManyUser):
        results(api.patch(f"{USER}?name__ne=q", json={"n": 2}, headers=way), 200)
    assert seen == [
        ([f"many_user/{pk}"], name, n, {"n": 2}) for pk, name, n in zip(users, "abc", (1, 1, 2), strict=True)
    ]
    assert [signal.name for signal in heard] == [f"pre_{UPDATED}"] * 3 + [f"post_{UPDATED}"] * 3
    changed = {"n": {"from": 1, "to": 2}}
    assert [
        (signal.arguments["instance"].name, signal.arguments["updated_fields"]) for signal in heard[3:]
    ] == [("a", changed), ("b", changed), ("c", {})]


@WAYS
def test_each_deleted_document_has_one_pair_of_signals(api, users, way):
    with recorded() as heard:
        results(api.delete(f"{USER}?n=1", headers=way), 200)
    assert [signal.name for signal in heard] == [f"pre_{DELETED}"] * 2 + [f"post_{DELETED}"] * 2
    assert [signal.arguments["arguments"] for signal in heard[:2]] == [
        [f"many_user/{pk}"] for pk in users[:2]
    ]
    assert [signal.arguments["instance"].name for signal in heard[2:]] == ["a", "b"]


@WAYS
def test_mongoengines_signals_clean_and_save_are_heard_for_each(api, way):
    heard = []

    def receiver(sender, document, **_):
        heard.append(document.name)

    with engine_signals.post_save.connected_to(receiver, ManyUser):
        results(api.post(USER, json=[{"name": "a"}, {"name": "b"}], headers=way), 201)
    assert heard == ["a", "b"]
    results(api.post("/many_audited", json=[{"name": "a"}, {"name": "b"}], headers=way), 201)
    assert names(ManyAudit) == names(ManyAudited) == ["a", "b"]
    results(api.patch("/many_audited?name=a", json={"name": "c"}, headers=way), 200)
    assert names(ManyAudit) == ["a", "b", "c"]


@WAYS
def test_post_receivers_that_raise_do_not_spoil_the_answer(api, way, caplog):
    def receiver(sender, instance):
        raise ZeroDivisionError

    with (
        recorded(signals.receiver_failed) as failed,
        signals.post_create_instance.connected_to(receiver),
        caplog.at_level(logging.CRITICAL, "hive"),
    ):
        assert len(results(api.post(USER, json=[{"name": "a"}, {"name": "b"}], headers=way), 201)) == 2
    assert len(failed) == 2
    assert names() == ["a", "b"]


@WAYS
def test_what_a_pre_receiver_does_to_documents_in_hand_is_not_stored(api, users, way):
    def meddle(sender, handler):
        handler.instance.name = "meddled"
        handler.values["name"] = "meddled"

    with signals.pre_update_instance.connected_to(meddle):
        results(api.patch(f"{USER}?n=1", json={"n": 5}, headers=way), 200)
    assert names(n=5) == ["a", "b"]


@WAYS
def test_a_document_that_the_filter_does_not_find_any_more_is_left_out(api, users, way):
    def change_b(sender, handler):
        if handler.instance.name == "a":
            ManyUser.objects(name="b").update(n=9)

    with recorded(signals.post_update_instance) as heard, signals.pre_update_instance.connected_to(change_b):
        told = results(api.patch(f"{USER}?n=1", json={"rank": 5}, headers=way), 200)
    assert told == [{"status": 200, "id": users[0]}]
    assert [signal.arguments["instance"].name for signal in heard] == ["a"]
    assert names(rank=5) == ["a"]
    ManyUser.objects(name="b").update(n=1)
    with recorded(signals.post_delete_instance) as heard, signals.pre_delete_instance.connected_to(change_b):
        told = results(api.delete(f"{USER}?n=1", headers=way), 200)
    assert told == [{"status": 204, "id": users[0]}]
    assert [signal.arguments["instance"].name for signal in heard] == ["a"]
    assert names() == ["b", "c"]


# All or nothing


def test_documents_that_are_not_valid_are_told_with_their_index(api):
    body = [{"name": "a"}, {"email": 1}, {"name": 7, "nme": "x"}, {"name": "b"}]
    with recorded() as heard:
        told = problem_of(api.post(USER, json=body), 400)
    assert {error["field"] for error in told["errors"]} == {"1.email", "2.name", "2.nme"}
    assert [one["status"] for one in told["results"]] == [424, 400, 400, 424]
    assert told["results"][0] == {"status": 424, "title": "Failed Dependency"}
    assert [error["field"] for error in told["results"][1]["errors"]] == ["email"]
    assert heard == []
    told = problem_of(api.post(USER, json=[{"name": "a"}, {"email": "x"}, {"n": 1}]), 400)
    assert [error["field"] for error in told["errors"]] == ["1.name", "2.name"]
    assert ManyUser.objects.count() == 0


def test_a_unique_value_that_is_taken_within_the_array_is_a_conflict(api):
    body = [{"name": "a", "email": "x"}, {"name": "b", "email": "x"}, {"name": "c"}]
    with recorded() as heard:
        told = problem_of(api.post(USER, json=body), 409)
    assert told["errors"] == [{"field": "1.email", "message": "is taken"}]
    assert [one["status"] for one in told["results"]] == [424, 409, 424]
    assert [signal.name for signal in heard] == [f"pre_{CREATED}"] * 3
    assert ManyUser.objects.count() == 0


def test_the_first_problem_has_the_status(api):
    ManyUser(name="z", email="x").save()
    refuse = refusing(Teapot(), "c")
    with signals.pre_create_instance.connected_to(refuse, ManyUser):
        told = problem_of(api.post(USER, json=[{"name": "a"}, {"name": "c"}, {"name": "b"}]), 418)
    assert [one["status"] for one in told["results"]] == [424, 418, 424]
    assert told["results"][1]["detail"] == "I am a teapot."
    told = problem_of(api.post(USER, json=[{"name": "a"}, {"name": "b", "email": "x"}]), 409)
    assert told["errors"] == [{"field": "1.email", "message": "is taken"}]
    assert names() == ["z"]


def test_a_document_that_cannot_be_changed_keeps_the_others_from_it(api, users):
    before = dump()
    with recorded(*signals.LIFECYCLE) as heard:
        told = problem_of(api.patch(f"{USER}?n=1", json={"email": "x"}), 409)
    assert told["errors"] == [{"field": "1.email", "message": "is taken"}]
    results_told = told["results"]
    assert [(one["status"], one["id"]) for one in results_told] == [(424, users[0]), (409, users[1])]
    assert not [signal for signal in heard if signal.name.startswith("post")]
    assert dump() == before
    told = problem_of(api.patch(f"{USER}?n=1", json={"n": "x"}), 400)
    assert {error["field"] for error in told["errors"]} == {"0.n", "1.n"}


@pytest.mark.parametrize("error", [Teapot(), Conflict(), NotFound()], ids=lambda error: str(error.status))
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_what_a_receiver_refuses_is_not_done_and_nor_are_the_others(api, method, error):
    if method != "POST":
        ManyUser.objects.insert([ManyUser(name=name) for name in "abc"])
    body = {"POST": [{"name": name} for name in "abc"], "PATCH": {"n": 5}, "DELETE": None}[method]
    kind = {"POST": CREATED, "PATCH": UPDATED, "DELETE": DELETED}[method]
    path = USER if method == "POST" else f"{USER}?name__ne=q"
    before = dump()
    with recorded() as heard, signals.core[f"pre_{kind}"].connected_to(refusing(error, "b"), ManyUser):
        reply = api.request(method, path, json=body)
    assert dump() == before
    assert [one["status"] for one in problem_of(reply, error.status)["results"]] == [424, error.status, 424]
    assert not [signal for signal in heard if signal.name.startswith("post")]


def test_a_bug_in_a_receiver_or_in_a_model_stores_nothing(api, caplog):
    bug = refusing(ZeroDivisionError("secret"), "b")
    with signals.pre_create_instance.connected_to(bug, ManyUser):
        reply = api.post(USER, json=[{"name": "a"}, {"name": "b"}])
    assert b"secret" not in reply.body
    assert "request_id" in problem_of(reply, 500)
    reply = api.post("/many_strict", json=[{"name": "a"}, {"name": "bug"}, {"name": "b"}])
    assert b"secret" not in reply.body
    assert "request_id" in problem_of(reply, 500)
    assert ManyUser.objects.count() == ManyStrict.objects.count() == 0


def test_a_receiver_that_answers_ends_it(api):
    def answers(sender, handler):
        if handler.values["name"] == "b":
            handler.set_status(202)
            handler.finish("later")

    with signals.pre_create_instance.connected_to(answers, ManyUser):
        reply = api.post(USER, json=[{"name": "a"}, {"name": "b"}])
    assert (reply.status, reply.body) == (202, b"later")
    assert ManyUser.objects.count() == 0


def test_what_clean_and_save_refuse_undoes_all_that_was_written(api):
    told = problem_of(api.post("/many_strict", json=[{"name": "a"}, {"name": "bad"}]), 400)
    assert told["errors"] == [{"field": "1", "message": "This is bad."}]
    told = problem_of(api.post("/many_audited", json=[{"name": "a"}, {"name": "bad"}]), 400)
    assert told["errors"] == [{"field": "1.name", "message": "is bad"}]
    assert ManyStrict.objects.count() == ManyAudited.objects.count() == ManyAudit.objects.count() == 0


def test_a_delete_rule_keeps_all_documents(api):
    free, held = ManyOwner(name="free").save(), ManyOwner(name="held").save()
    ManyThing(owner=held).save()
    before = dump()
    with recorded() as heard:
        told = problem_of(api.delete("/many_owner?name__ne=q"), 409)
    assert [(one["status"], one["id"]) for one in told["results"]] == [
        (424, str(free.pk)),
        (409, str(held.pk)),
    ]
    assert not [signal for signal in heard if signal.name.startswith("post")]
    assert dump() == before
    told = results(api.delete("/many_owner?name__ne=q", headers=EACH), 207)
    assert [one["status"] for one in told] == [204, 409]
    assert names(ManyOwner) == ["held"]


def test_requests_that_change_the_same_documents_at_once_lose_nothing(api, users):
    def append(tag):
        operations = [{"op": "add", "path": "/tags/-", "value": tag}]
        return lambda: api.patch(
            f"{USER}?n=1", json=operations, headers={"Content-Type": JSON_PATCH}, timeout=PATIENCE
        )

    with recorded(signals.post_update_instance) as heard:
        replies = at_once([append(str(index)) for index in range(6)])
    done = [str(index) for index, reply in enumerate(replies) if reply.status == 200]
    assert {reply.status for reply in replies} <= {200, 409}
    assert done
    assert len(heard) == 2 * len(done)
    assert [sorted(user.tags) for user in ManyUser.objects.order_by("name")] == [done, done, []]


def test_a_server_without_transactions_does_not_do_all_or_nothing(mongomock_database):
    ManyUser(name="a").save()
    with serve(ROUTES) as api, recorded() as heard:
        replies = [
            api.post(USER, json=[{"name": "b"}]),
            api.post(USER, json=[]),
            api.patch(f"{USER}?name=a", json={"n": 1}),
            api.delete(f"{USER}?name=a"),
        ]
        assert [reply.status for reply in replies] == [501] * 4
        assert "Prefer: transaction=no" in replies[0].json["detail"]
        assert heard == []
        assert [(user.name, user.n) for user in ManyUser.objects] == [("a", None)]


def test_unique_fields_are_unique_after_a_first_request_that_was_refused(mongodb_database):
    class ManyFirst(me.Document):
        name = me.StringField(unique=True)

    with serving(ManyFirst) as api:
        assert api.post("/many_first", json=[{"name": "a"}, {"name": "a"}]).status == 409
        assert [api.post("/many_first", json={"name": "b"}).status for _ in range(2)] == [201, 409]
        assert api.post("/many_first", json=[{"name": "b"}, {"name": "c"}]).status == 409
    assert names(ManyFirst) == ["b"]


# Each on its own


@pytest.mark.parametrize(
    "preference",
    ["transaction=no", 'Transaction="no"', "respond-async, transaction = no;x=1"],
    ids=["plain", "quoted", "among others"],
)
def test_each_on_its_own_is_a_preference(api, preference):
    reply = api.post(USER, json=[{"name": "a"}], headers={"Prefer": preference})
    assert len(results(reply, 201)) == 1
    assert reply.headers["Preference-Applied"] == "transaction=no"


def test_problems_stand_in_the_places_of_their_documents(either):
    ManyUser(name="z", email="taken").save()
    body = [
        {"name": "a", "email": "x"},
        {"nme": "y"},
        {"name": "b", "email": "x"},
        {"name": "c"},
        {"name": "d", "email": "taken"},
    ]
    with recorded() as heard:
        reply = either.post(USER, json=body, headers=EACH)
    told = results(reply, 207)
    assert reply.headers["Preference-Applied"] == "transaction=no"
    assert [one["status"] for one in told] == [201, 400, 409, 201, 409]
    assert [ManyUser.objects.get(pk=told[index]["id"]).name for index in (0, 3)] == ["a", "c"]
    assert {"type", "title", "detail"} <= told[1].keys()
    assert [error["field"] for error in told[1]["errors"]] == ["nme"]
    if either.is_real:  # mongomock does not tell which field it is when several are inserted at once
        assert told[2]["errors"] == told[4]["errors"] == [{"field": "email", "message": "is taken"}]
    assert names() == ["a", "c", "z"]
    assert [signal.name for signal in heard] == [f"pre_{CREATED}"] * 4 + [f"post_{CREATED}"] * 2
    assert [signal.arguments["instance"].name for signal in heard[4:]] == ["a", "c"]


def test_changes_that_fail_leave_the_others_done(either):
    users = [str(ManyUser(name=name, n=1).save().pk) for name in "abc"]
    with recorded(signals.post_update_instance) as heard:
        told = results(either.patch(f"{USER}?n=1", json={"email": "x"}, headers=EACH), 207)
    assert [(one["status"], one["id"]) for one in told] == list(zip((200, 409, 409), users, strict=True))
    assert [signal.arguments["updated_fields"] for signal in heard] == [{"email": {"from": None, "to": "x"}}]
    assert names(email="x") == ["a"]


@pytest.mark.parametrize("error", [Teapot(), NotFound()], ids=lambda error: str(error.status))
def test_a_receiver_refuses_only_the_new_document_that_it_refuses(api, error):
    refuse = refusing(error, "b")
    with recorded() as heard, signals.pre_create_instance.connected_to(refuse, ManyUser):
        reply = api.post(USER, json=[{"name": name} for name in "abc"], headers=EACH)
    assert names() == ["a", "c"]
    assert [one["status"] for one in results(reply, 207)] == [201, error.status, 201]
    posts = [signal.arguments["instance"].name for signal in heard if signal.name.startswith("post")]
    assert posts == ["a", "c"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_receiver_refuses_only_the_stored_document_that_it_refuses(api, method):
    for name in "abc":
        ManyUser(name=name).save()
    with (
        signals.pre_update_instance.connected_to(refusing(Teapot(), "b"), ManyUser),
        signals.pre_delete_instance.connected_to(refusing(Teapot(), "b"), ManyUser),
    ):
        body = {"n": 5} if method == "PATCH" else None
        told = results(api.request(method, f"{USER}?name__ne=q", json=body, headers=EACH), 207)
    done = 200 if method == "PATCH" else 204
    assert [one["status"] for one in told] == [done, 418, done]
    assert names(n__ne=5) == (["b"])


def test_a_bug_in_one_document_is_told_in_its_place_and_in_the_log(api, caplog):
    body = [{"name": "a"}, {"name": "bug"}, {"name": "b"}]
    reply = api.post("/many_strict", json=body, headers=EACH)
    assert b"secret" not in reply.body
    assert [one["status"] for one in results(reply, 207)] == [201, 500, 201]
    assert names(ManyStrict) == ["a", "b"]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_each_on_its_own_is_still_in_a_transaction_where_the_routes_say_so(mongodb_database):
    with serving(ManyAudited, transaction=True) as api:
        body = [{"name": "a"}, {"name": "bad"}, {"name": "b"}]
        assert [one["status"] for one in api.post("/many_audited", json=body, headers=EACH).json] == [
            201,
            400,
            201,
        ]
    assert names(ManyAudited) == ["a", "b"]
    assert names(ManyAudit) == ["a", "b"]


# What is asked for must be clear


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (b'[{"name":"a"},{"name":"b"]', ALL),
        (b'[{"name":"a"},7]', ALL),
        (b'[{"name":"a"},{"name":"\xff"}]', ALL),
        (b'[{"name":"a"},{"name":' + b"[" * 70 + b"]" * 70 + b"}]", ALL),
        (b'[{"name":"a"},{"name":"b"]', EACH),
    ],
    ids=["broken", "of a number", "not UTF-8", "deep", "broken, each on its own"],
)
def test_an_array_that_is_not_one_of_objects_creates_nothing(api, body, way):
    with recorded() as heard:
        problem_of(api.post(USER, body=body, headers=way | JSON), 400)
    assert heard == []
    assert ManyUser.objects.count() == 0


NO_FILTERS = [
    "", "?page=1", "?nme=a", "?n=1&per_page=all", "?", "?name__like=a", "?n=x", "?per_page=5", "?sort=name",
    "?fields=name", "?expand=x", "?count=exact", "?q=a", "?n=1&page=1", "?limit=1", "?name=%ff",
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "query"),
    [("PATCH", query) for query in NO_FILTERS] + [("DELETE", query) for query in NO_FILTERS[:4]],
)
def test_what_is_changed_is_said_by_a_filter_and_nothing_else(api, users, method, query):
    before = dump()
    body = {"n": 5} if method == "PATCH" else None
    problem_of(api.request(method, USER + query, json=body), 400)
    assert dump() == before


def test_a_query_with_an_array_is_refused(api):
    problem_of(api.post(f"{USER}?n=1", json=[{"name": "a"}]), 400)
    assert ManyUser.objects.count() == 0


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[1]", JSON, 400),
        (b"", JSON, 400),
        (b'{"nme": 1}', JSON, 400),
        (b'{"n": 5', JSON, 400),
        (b'{"n": 5}', {"Content-Type": "text/plain"}, 415),
        (b'[{"op": "fly"}]', {"Content-Type": JSON_PATCH}, 400),
    ],
    ids=["array", "empty", "unknown field", "not closed", "text", "no operation"],
)
def test_a_patch_that_is_none_changes_nothing(api, users, body, headers, status):
    before = dump()
    problem_of(api.patch(f"{USER}?n=1", body=body, headers=headers), status)
    assert dump() == before


def test_preconditions_are_for_single_documents(api, users):
    before = dump()
    for reply in (
        api.post(USER, json=[{"name": "x"}], headers={"If-Match": "*"}),
        api.patch(f"{USER}?n=1", json={"n": 5}, headers={"If-Match": "*"}),
        api.delete(f"{USER}?n=1", headers={"If-Match": '"x"'}),
    ):
        problem_of(reply, 400)
    assert dump() == before


def test_where_if_match_is_required_documents_are_changed_one_by_one(mongodb_database):
    ManyUser(name="a", n=1).save()
    with serving(if_match="required") as api:
        assert api.patch(f"{USER}?n=1", json={"n": 5}).status == 428
        assert api.delete(f"{USER}?n=1").status == 428
        assert api.delete(f"{USER}?n=1", headers=EACH).status == 428
        assert api.post(USER, json=[{"name": "b"}]).status == 201
    assert [(user.name, user.n) for user in ManyUser.objects.order_by("name")] == [("a", 1), ("b", None)]


def test_methods_that_are_not_served_are_not_served_for_many(mongodb_database):
    ManyUser(name="a", n=1).save()
    before = dump()
    with serving(methods=["GET"]) as api:
        for reply in (
            api.post(USER, json=[{"name": "b"}]),
            api.patch(f"{USER}?n=1", json={"n": 5}),
            api.delete(f"{USER}?n=1"),
            api.put(USER, json={"n": 5}),
        ):
            assert reply.status == 405
            assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert dump() == before


def test_the_list_tells_what_it_takes(api):
    allowed = api.request("OPTIONS", USER).headers["Allow"].split(", ")
    assert sorted(allowed) == ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST"]
    assert api.put(USER, json={"n": 5}).status == 405


def test_lists_in_documents_take_neither_arrays_nor_filters(api, users):
    team = ManyTeam(members=users[:2]).save()
    before = dump()
    path = f"/many_team/{team.pk}/members"
    assert api.patch(path, json={"n": 5}).status == 405
    assert api.delete(path).status == 405
    assert api.patch(f"{path}?n=1", json={"n": 5}).status in (400, 405)
    assert api.delete(f"{path}?n=1").status in (400, 405)
    assert api.post(path, json=[{"name": "x"}]).status == 400
    assert api.post(path, json=[{"id": users[2]}]).status == 400
    assert dump() == before


def test_filters_need_an_index_where_the_routes_say_so(mongodb_database):
    ManyUser(name="a", rank=1).save()
    with serving(require_index=True) as api:
        assert api.patch(f"{USER}?name=a", json={"n": 5}).status == 400
        assert api.delete(f"{USER}?name=a").status == 400
        assert api.patch(f"{USER}?rank=1", json={"n": 5}).status == 200
    assert [user.n for user in ManyUser.objects] == [5]


# Who may


@WAYS
def test_documents_out_of_scope_are_neither_touched_nor_told_of(mongodb_database, way):
    for name, rank in (("a", 1), ("b", 20), ("c", 2)):
        ManyUser(name=name, rank=rank, n=1).save()
    with serving(scope=lambda queryset, handler: queryset.filter(rank__lt=10)) as api, recorded() as heard:
        assert len(results(api.patch(f"{USER}?n=1", json={"n": 2}, headers=way), 200)) == 2
        assert results(api.patch(f"{USER}?name=b", json={"n": 2}, headers=way), 200) == []
        assert len(results(api.delete(f"{USER}?n__in=1,2", headers=way), 200)) == 2
        assert results(api.delete(f"{USER}?name=b", headers=way), 200) == []
    assert [(user.name, user.n) for user in ManyUser.objects] == [("b", 1)]
    assert len(heard) == 8


@WAYS
def test_documents_may_be_changed_so_that_they_are_out_of_scope_or_of_the_filter(mongodb_database, way):
    for name in "abc":
        ManyUser(name=name, rank=1).save()
    with serving(scope=lambda queryset, handler: queryset.filter(rank__lt=10)) as api:
        told = results(api.patch(f"{USER}?rank=1", json={"rank": 20}, headers=way), 200)
    assert [one["status"] for one in told] == [200] * 3
    assert names(rank=20) == ["a", "b", "c"]


def test_fields_that_are_hidden_or_read_only_are_so_in_arrays_and_filters(mongodb_database):
    ManyUser(name="a", n=1, rank=1, email="taken").save()
    before = dump()
    with serving(hidden=["n", "email"], read_only=["rank"]) as api:
        for way in (ALL, EACH):
            assert api.patch(f"{USER}?n=1", json={"name": "b"}, headers=way).status == 400
            assert api.delete(f"{USER}?n=1", headers=way).status == 400
        told = problem_of(api.post(USER, json=[{"name": "b"}, {"name": "c", "n": 1}, {"rank": 5}]), 400)
        assert {"1.n", "2.rank"} <= {error["field"] for error in told["errors"]}
        told = problem_of(api.patch(f"{USER}?rank=1", json={"rank": 5}), 400)
        assert [error["field"] for error in told["errors"]] == ["0.rank"]
        assert dump() == before
        assert results(api.patch(f"{USER}?rank=1", json={"rank": 1, "name": "b"}), 200)


def test_a_conflict_in_a_field_that_is_hidden_does_not_tell_its_name(mongodb_database):
    class ManyTwin(me.Document):
        twin = me.StringField(unique=True, default="same")
        name = me.StringField()

    with serving(ManyTwin, hidden=["twin"]) as api:
        for way, status in ((ALL, 409), (EACH, 207)):
            reply = api.post("/many_twin", json=[{"name": "a"}, {"name": "b"}], headers=way)
            assert reply.status == status
            assert b"twin" not in reply.body


def test_who_is_not_signed_in_writes_nothing(mongodb_database):
    ManyUser(name="a", n=1).save()
    before = dump()
    with guarded() as api:
        for way in (ALL, EACH):
            assert api.post(USER, json=[{"name": "b"}], headers=way).status == 401
            assert api.patch(f"{USER}?n=1", json={"n": 5}, headers=way).status == 401
            assert api.delete(f"{USER}?n=1", headers=way).status == 401
    assert dump() == before


def test_a_permission_is_asked_for_each_new_document(mongodb_database):
    body = [{"name": "a", "owner": "ann"}, {"name": "b", "owner": "bob"}]
    with guarded(create=owner("owner")) as api:
        told = problem_of(api.post(USER, json=body, headers=as_("ann")), 403)
        assert [one["status"] for one in told["results"]] == [424, 403]
        assert ManyUser.objects.count() == 0
        told = results(api.post(USER, json=body, headers=as_("ann", EACH)), 207)
    assert [one["status"] for one in told] == [201, 403]
    assert names() == ["a"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_permission_is_asked_for_each_document_that_is_to_be_changed(mongodb_database, method):
    for name, who in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        ManyUser(name=name, owner=who).save()
    before = dump()
    body = {"n": 5} if method == "PATCH" else None
    done = 200 if method == "PATCH" else 204
    path = f"{USER}?name__ne=q"
    with guarded(get=everyone, update=owner("owner"), delete=owner("owner")) as api, recorded() as heard:
        told = problem_of(api.request(method, path, json=body, headers=as_("ann")), 403)
        assert [one["status"] for one in told["results"]] == [424, 403, 424]
        assert dump() == before
        assert heard == []
        told = results(api.request(method, path, json=body, headers=as_("ann", EACH)), 207)
    assert [one["status"] for one in told] == [done, 403, done]
    assert names(n__ne=5) == ["b"]


@WAYS
@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("rule", [owner("owner"), concealed(owner("owner"))], ids=["unread", "concealed"])
def test_documents_that_the_client_may_not_read_are_neither_touched_nor_told_of(
    mongodb_database, way, method, rule
):
    for name, who in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        ManyUser(name=name, owner=who).save()
    body = {"n": 5} if method == "PATCH" else None
    with guarded(get=rule, update=everyone, delete=everyone) as api, recorded() as heard:
        told = results(api.request(method, f"{USER}?name__ne=q", json=body, headers=as_("ann", way)), 200)
    assert len(told) == 2
    assert len(heard) == 4
    assert names(n__ne=5) == ["b"]


@WAYS
def test_a_document_that_the_client_may_not_change_any_more_is_not_changed(mongodb_database, way):
    for name in "ab":
        ManyUser(name=name, owner="ann").save()

    def give_away(sender, handler):
        if handler.instance.name == "a":
            ManyUser.objects(name="b").update(owner="bob")

    with (
        guarded(get=everyone, update=owner("owner")) as api,
        signals.pre_update_instance.connected_to(give_away, ManyUser),
    ):
        reply = api.patch(f"{USER}?name__ne=q", json={"n": 5}, headers=as_("ann", way))
    assert reply.status == (403 if way is ALL else 207)
    assert names(n=5) == ([] if way is ALL else ["a"])


# How many


def array_of(count, **more):
    return json.dumps([{"name": f"user {index}"} | more for index in range(count)]).encode()


def test_more_than_1000_documents_are_not_changed_at_once(api, monkeypatch):
    assert many.MOST_CHANGED == 1_000
    monkeypatch.setattr(many, "MOST_CHANGED", 10)
    ManyUser.objects.insert([ManyUser(name=f"{index}", n=1) for index in range(11)])
    for way in (ALL, EACH):
        assert (
            "10 documents" in problem_of(api.patch(f"{USER}?n=1", json={"n": 5}, headers=way), 400)["detail"]
        )
        assert "10 documents" in problem_of(api.delete(f"{USER}?n=1", headers=way), 400)["detail"]
    assert ManyUser.objects(n=1).count() == 11
    assert len(results(api.patch(f"{USER}?name__ne=0&n=1", json={"n": 5}), 200)) == 10
    assert ManyUser.objects(n=5).count() == 10


def test_arrays_have_a_limit_of_size_of_their_own(mongodb_database):
    with serve(ROUTES, hive_body_limit=500, hive_bulk_limit=5_000) as api:
        assert api.post(USER, body=array_of(50), headers=JSON).status == 201
        assert api.post(USER, body=array_of(500), headers=JSON).status == 413
        assert api.post(USER, json={"name": "a", "tags": ["x" * 600]}).status == 413
        assert api.patch(f"{USER}?name=a", json={"tags": ["x" * 600]}).status == 413
    assert ManyUser.objects.count() == 50


def test_a_large_array_goes_over_the_limit_of_single_documents(api):
    body = array_of(10, tags=["x" * 200_000])
    assert len(body) > 2**20
    assert api.post(USER, body=body, headers=JSON).status == 201
    body = array_of(100, tags=["x" * 200_000])
    assert len(body) > 2**24
    assert api.post(USER, body=body, headers=JSON).status == 413
    assert ManyUser.objects.count() == 10


@pytest.fixture
def small_pieces(monkeypatch):
    """So many documents are stored by one command."""
    monkeypatch.setattr(several, "AT_ONCE", 10)


@WAYS
@pytest.mark.usefixtures("small_pieces")
def test_each_of_several_pieces_has_its_pairs_of_signals(api, way):
    heard = []

    def before(sender, handler):
        heard.append(("pre", handler.values["name"]))

    def after(sender, instance):
        heard.append(("post", instance.name))

    with (
        signals.pre_create_instance.connected_to(before, ManyUser),
        signals.post_create_instance.connected_to(after, ManyUser),
    ):
        told = results(api.post(USER, body=array_of(25), headers=way | JSON), 201)
    expected = [f"user {index}" for index in range(25)]
    assert [ManyUser.objects.get(pk=one["id"]).name for one in told] == expected
    assert [name for when, name in heard if when == "pre"] == expected
    assert [name for when, name in heard if when == "post"] == expected


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("last", [{"nme": 1}, {"name": "bad", "email": "taken"}], ids=["invalid", "taken"])
def test_of_several_pieces_none_is_stored_if_one_document_cannot_be(api, last):
    ManyUser(name="first", email="taken").save()
    body = json.loads(array_of(30))
    body[28] = last
    reply = api.post(USER, json=body)
    told = problem_of(reply, 400 if "nme" in last else 409)
    assert {error["field"].split(".")[0] for error in told["errors"]} == {"28"}
    assert len(told["results"]) == 30
    assert [index for index, one in enumerate(told["results"]) if one["status"] != 424] == [28]
    assert names() == ["first"]
