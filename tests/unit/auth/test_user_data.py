"""The data of a user become JSON, and have an id."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from bson import ObjectId

from hive import Provider
from hive.providers import authorize
from hive.signals import authorized_user

OID = ObjectId("65a000000000000000000001")


class Gives(Provider):
    pass


def authorized(user):
    return asyncio.run(authorize(SimpleNamespace(_finished=False), Gives(), user))


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ({"id": "ann"}, {"id": "ann"}),
        ({"id": 7}, {"id": 7}),
        ({"id": 0}, {"id": 0}),
        ({"id": OID}, {"id": str(OID)}),
        ({"id": "\u00e9\u2603\U0001f600"}, {"id": "\u00e9\u2603\U0001f600"}),
        (
            {"id": "a", "since": datetime(2024, 1, 2, tzinfo=UTC)},
            {"id": "a", "since": "2024-01-02T00:00:00Z"},
        ),
        ({"id": "a", "of": [OID]}, {"id": "a", "of": [str(OID)]}),
        ({"id": "a", "in": {"b": {1}}, "raw": b"\xff"}, {"id": "a", "in": {"b": [1]}, "raw": "/w=="}),
        ({"id": "a", "provider": "another"}, {"id": "a"}),
    ],
    ids=repr,
)
def test_user_data_become_json(user, told):
    assert authorized(user) == told | {"provider": "gives"}


@pytest.mark.parametrize("value", [None, "", [], {"a": 1}, 1.5, True, False, float("nan"), 2**80], ids=repr)
def test_an_id_is_a_text_or_a_whole_number(value):
    with pytest.raises(TypeError):
        authorized({"id": value})


@pytest.mark.parametrize("user", [{}, {"name": "Ann"}, {"id": "ann", 1: "x"}], ids=str)
def test_user_data_without_an_id_or_with_a_name_that_is_no_text_are_none(user):
    with pytest.raises(TypeError):
        authorized(user)


def test_an_object_that_json_does_not_know_is_told_as_a_text():
    assert isinstance(authorized({"id": "ann", "more": object})["more"], str)


def test_a_receiver_may_give_the_id():
    def give(sender, user_data):
        user_data["id"] = f"{sender}:{user_data['name']}"

    with authorized_user.connected_to(give):
        assert authorized({"name": "ann"})["id"] == "gives:ann"
