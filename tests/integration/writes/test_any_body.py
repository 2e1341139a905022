"""Whatever a client sends, it is answered with 2xx or 4xx, and what is stored reads as it was answered."""

import json
from datetime import datetime
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hive import ModelHive, flatten
from hive.testing import serve
from tests.support.any_values import (
    FIELDS,
    ID,
    SUFFIXES,
    Everything,
    FreeText,
    Somebody,
    bodies,
    precise,
    texts,
    values,
    with_known,
)

ROUTES = flatten([ModelHive.routes_for(model) for model in (Everything, FreeText, Somebody)])
JSON = {"headers": {"Content-Type": "application/json"}}
FORM = {"headers": {"Content-Type": "application/x-www-form-urlencoded"}}
FEW = settings(max_examples=10, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def client():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture(autouse=True)
def somebody(mongomock_database):
    Somebody(pk=ID, name="x").save()


def check(client, path, method, **what):
    """That the answer is no failure, and the answer to a success what is then read, and may be sent back."""
    count = Everything.objects.count() + FreeText.objects.count()
    answer = client.request(method, path, timeout=120, **what)
    assert answer.status in (200, 201, 400), (what, answer.status, answer.body)
    if answer.status == 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert Everything.objects.count() + FreeText.objects.count() == count
        return
    location = answer.headers.get("Location", path)
    assert client.get(location).json == answer.json, what
    back = client.put(location, json=answer.json)
    assert (back.status, back.json) == (200, answer.json), (what, back.body)


@pytest.mark.parametrize("path", ["/everything", "/free_text"])
def test_no_json_object_fails_the_server(client, path):
    existing = client.post(path, json={}).headers["Location"]

    @FEW
    @given(bodies)
    @with_known
    def run(body):
        text = json.dumps(body)
        for method, where in [("POST", path), ("PUT", existing), ("PATCH", existing)]:
            check(client, where, method, body=text, **JSON)

    run()


def test_no_value_of_a_field_fails_the_server(client):
    @settings(FEW, max_examples=50)
    @given(st.sampled_from(FIELDS), values)
    def run(name, value):
        check(client, "/everything", "POST", body=json.dumps({name: value}), **JSON)

    run()


def test_no_text_of_a_form_fails_the_server(client):
    @settings(FEW, max_examples=50)
    @given(st.sampled_from(FIELDS), st.sampled_from(SUFFIXES), texts)
    def run(name, suffix, text):
        check(client, "/everything", "POST", body=urlencode({name + suffix: text}), **FORM)

    run()


def test_values_are_stored_and_read_as_they_were_sent(client):
    @settings(FEW, max_examples=30)
    @given(precise)
    def run(body):
        created = client.post("/everything", json=body)
        assert created.status == 201, created.body
        for name in ("text", "whole", "real", "dictionary"):
            assert repr(created.json[name]) == repr(body[name])
        stored = Everything.objects.get(pk=created.json["id"])
        assert (stored.text, stored.whole, stored.real) == (body["text"], body["whole"], body["real"])
        assert stored.exactly == datetime.fromisoformat(body["exactly"]).replace(tzinfo=None)
        assert dict(stored.dictionary) == body["dictionary"]
        assert client.get(created.headers["Location"]).json == created.json

    run()
