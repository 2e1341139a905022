"""Whatever JSON or form is sent, it is refused or makes a document that is read as what may be sent back."""

import json
from datetime import datetime
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hive.changes import difference
from hive.errors import BadRequest
from hive.payload import FORM, JSON, read
from hive.permissions import everyone
from hive.resource import Resource
from hive.schema import Visibility
from hive.serializers import Serializer
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
from tests.support.bodies import change, decoding, made, shown, stored

SERIALIZERS = {model: Serializer(model, Visibility()) for model in (Everything, FreeText)}
SERVED = [Resource(model, allow={"get": everyone}) for model in (Everything, FreeText, Somebody)]
MANY = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def somebody(mongomock_database):
    Somebody(pk=ID, name="x").save()


def check(model, media_type, body):
    """That a body is refused, or makes a document that keeps what is read when that is sent back."""
    serializer = SERIALIZERS[model]
    for patch in (None, False, True):
        document = model() if patch is None else model._from_son(stored(model(id=ID)))
        how = decoding(*SERVED, patch=bool(patch))
        try:
            value = read(media_type, body, serializer, (JSON, FORM))
            if patch is None:
                document = made(serializer, value, how)
                document.id = ID
            else:
                change(serializer, document, value, how)
        except BadRequest:
            continue
        before = stored(document)
        again = model._from_son(before)
        change(serializer, again, shown(serializer, before), decoding(*SERVED))
        assert difference(model, before, stored(again)) == {}


@pytest.mark.parametrize("model", SERIALIZERS)
def test_any_json_object(model):
    @MANY
    @given(bodies)
    @with_known
    def run(body):
        check(model, JSON, json.dumps(body).encode())

    run()


def test_any_value_of_any_field():
    @settings(MANY, max_examples=150)
    @given(st.sampled_from(FIELDS), values)
    def run(name, value):
        check(Everything, JSON, json.dumps({name: value}).encode())

    run()


def test_any_text_of_a_form():
    @settings(MANY, max_examples=150)
    @given(st.sampled_from(FIELDS), st.sampled_from(SUFFIXES), texts)
    def run(name, suffix, text):
        check(Everything, FORM, urlencode({name + suffix: text}).encode())

    run()


def test_values_are_stored_and_read_as_they_were_sent():
    serializer = SERIALIZERS[Everything]

    @MANY
    @given(precise)
    def run(body):
        raw = stored(made(serializer, body, decoding()))
        read = shown(serializer, raw)
        for name in ("text", "whole", "real", "dictionary"):
            assert repr(read[name]) == repr(body[name])
        document = Everything._from_son(raw)
        assert (document.text, document.whole, document.real) == (body["text"], body["whole"], body["real"])
        assert document.exactly == datetime.fromisoformat(body["exactly"]).replace(tzinfo=None)
        assert dict(document.dictionary) == body["dictionary"]

    run()
