"""One document with a field of every type, over HTTP."""

from contextlib import contextmanager
from copy import copy

import mongoengine as me
import pytest
from bson import Binary

from hive import ModelHive, signals
from hive.testing import recorded, serve
from tests.support.field_types import ID, ROWS, UUID, Target, is_same, naive, store_targets
from tests.support.threads import PATIENCE

NAMES = {name.lower().replace(" ", "_").replace("-", "_"): name for name in ROWS}
FIELDS = {field: ROWS[name] for field, name in NAMES.items()}
Everything = type("EveryType", (me.Document,), {field: copy(row.field) for field, row in FIELDS.items()})
Mocked = type(
    "EveryMockedType",
    (me.Document,),
    {field: copy(row.field) for field, row in FIELDS.items() if row.mongomock},
)
"""Without `uuid`, which mongomock 4.3 cannot encode."""
SEQUENCES = [field for field, row in FIELDS.items() if isinstance(row.field, me.SequenceField)]
BODY = {field: row.json for field, row in FIELDS.items()}


class Leftover(me.Document):
    data = me.DictField()


@contextmanager
def serving(model=Everything):
    store_targets()
    assert model.objects.count() == 0  # its indexes are made now, which takes a server long
    routes = [
        *ModelHive.routes_for(model, resource_name="thing", deadline=PATIENCE),
        *ModelHive.routes_for(Target),
    ]
    with serve(routes) as client:
        yield client


@pytest.mark.parametrize("model", [Mocked, Everything], ids=["mongomock", "mongodb"])
def test_values_come_back_as_they_were_sent_and_are_typed_in_the_store(model, request):
    request.getfixturevalue("mongomock_database" if model is Mocked else "mongodb_database")
    body = {field: BODY[field] for field in BODY if field in model._fields}
    with serving(model) as client:
        created = client.post("/thing", json=body)
        assert (created.status, created.json) == (201, {"id": created.json["id"], **body})
        assert client.get(created.headers["Location"]).json == created.json
        assert client.get("/thing").json == [created.json]
        document = model.objects.get()
    assert {field for field in body if not is_same(document[field], FIELDS[field].python)} == set()


def test_what_was_read_may_be_sent_back_and_changes_nothing(mongodb_database):
    with serving() as client:
        location = client.post("/thing", json=BODY).headers["Location"]
        stored = Everything.objects.as_pymongo().first()
        read = client.get(location).json
        with recorded(signals.post_update_instance) as heard:
            answer = client.put(location, json=read)
    assert (answer.status, answer.json) == (200, read)
    assert [one.arguments["updated_fields"] for one in heard] == [{}]
    assert Everything.objects.as_pymongo().first() == stored


def test_what_mongoengine_stored_reads_the_same_observed_or_not(mongodb_database):
    with serving() as client:
        document = Everything(**{field: row.python for field, row in FIELDS.items()}).save()
        path = f"/thing/{document.pk}"
        unobserved = client.get(path)
        with recorded(signals.post_get_instance, signals.post_get_list) as heard:
            observed, listed = client.get(path), client.get("/thing")
    assert unobserved.json == {"id": str(document.pk), **BODY}
    assert observed.body == unobserved.body
    assert listed.body == b"[" + unobserved.body + b"]"
    [instance, items] = [heard[0].arguments["instance"], heard[1].arguments["items"]]
    assert {field for field, row in FIELDS.items() if not is_same(instance[field], row.python)} == set()
    assert items == [document]


def test_a_form_has_a_text_for_every_value(mongodb_database):
    forms = {field: row.form for field, row in FIELDS.items() if row.form is not None}
    form = {}
    for field, given in forms.items():
        texts = given if isinstance(given, dict) else {"value": given}
        form |= {field + key.removeprefix("value"): text for key, text in texts.items()}
    with serving() as client:
        created = client.post("/thing", form=form)
    assert created.status == 201, created.body
    assert {field: created.json[field] for field in forms} == {field: BODY[field] for field in forms}


def test_all_wrong_values_are_told_at_once_and_none_is_stored(mongodb_database):
    wrong = {field: row.wrong[0] for field, row in FIELDS.items() if row.wrong}
    with serving() as client:
        location = client.post("/thing", json=BODY).headers["Location"]
        before = list(Everything.objects.as_pymongo())
        for method, path in [("POST", "/thing"), *((verb, location) for verb in ("PUT", "PATCH"))]:
            answer = client.request(method, path, json=wrong)
            assert answer.status == 400
            assert answer.headers["Content-Type"] == "application/problem+json"
            named = {error["field"].split(".")[0] for error in answer.json["errors"]}
            assert named <= wrong.keys()
            assert len(named) > 60
    assert list(Everything.objects.as_pymongo()) == before


def test_null_empties_every_field(mongodb_database):
    nothing = {field: None for field in FIELDS if field not in SEQUENCES}
    empty = {field: FIELDS[field].empty for field in nothing}
    with serving() as client:
        for sent in [nothing, {}]:
            created = client.post("/thing", json=sent)
            assert created.status == 201
            assert empty.items() <= created.json.items()
        for method in ("PUT", "PATCH"):
            location = client.post("/thing", json=BODY).headers["Location"]
            answer = client.request(method, location, json=nothing)
            assert answer.status == 200
            assert empty.items() <= answer.json.items()
            assert client.get(location).json == answer.json


def test_what_other_programs_stored_may_be_sent_back(mongodb_database):
    data = {"id": ID, "uuid": Binary(UUID.bytes, 3), "at": naive(2026, 1, 31), "nan": float("nan")}
    Leftover._get_collection().insert_one({"data": data})
    with serve(ModelHive.routes_for(Leftover)) as client:
        [read] = client.get("/leftover").json
        assert read["data"] == {
            "id": str(ID), "uuid": str(UUID), "at": "2026-01-31T00:00:00Z", "nan": None,
        }  # fmt: skip
        answer = client.put(f"/leftover/{read['id']}", json=read)
    assert (answer.status, answer.json) == (200, read)
