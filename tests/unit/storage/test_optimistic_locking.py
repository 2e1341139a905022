"""hive.races: on which condition a write to a document holds, and whose turn it is."""

import threading

import mongoengine as me
import pytest
from bson import ObjectId

from hive.errors import NotFound
from hive.races import Same, Stored, attempts, condition, is_unequal, turn
from tests.support.threads import PATIENCE, at_once

ID = ObjectId("65a000000000000000000001")
RAW = {"_id": ID, "name": "a", "size": 1}


class RacedThing(me.Document):
    name = me.StringField()
    size = me.IntField()


def thing(raw, *loads, **how):
    """A document as it was loaded, and what loading it again gives, one after another."""
    rest = iter(loads)
    return Stored(RacedThing._from_son(raw), raw, lambda: next(rest), **how)


# The condition


@pytest.mark.parametrize(
    ("same", "expected"),
    [
        (Same.ALL, {"$expr": {"$eq": ["$$ROOT", {"$literal": RAW}]}}),
        (Same.LOADED, {"name": {"$eq": "a"}, "size": {"$eq": 1}}),
        (Same.SET, {"size": {"$eq": 1}, "more": {"$eq": None}}),
    ],
)
def test_a_write_asks_for_what_was_loaded_or_for_what_it_sets(same, expected):
    assert condition(thing(RAW, same=same), RAW, {"size", "more"}) == expected


def test_what_was_decided_by_looking_at_all_of_it_asks_for_no_less():
    assert thing(RAW).can_ask_less
    assert not thing(RAW, holds_whole=True).can_ask_less
    assert not thing(RAW, same=Same.SET).can_ask_less


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"a": [1, {"b": None}]}, False, id="none"),
        pytest.param(float("nan"), True, id="itself"),
        pytest.param({"a": [1, {"b": float("nan")}]}, True, id="within"),
        pytest.param({"a": float("inf")}, False, id="infinity"),
    ],
)
def test_a_value_that_is_not_equal_to_itself_is_found(value, expected):
    assert is_unequal(value) is expected


# The attempts


def test_the_first_attempt_takes_the_document_as_it_was_loaded():
    stored = thing(RAW)
    next(attempts(stored, is_old=False))
    assert stored.raw is RAW


def test_an_old_document_is_loaded_before_the_first_attempt():
    stored = thing(RAW, RAW | {"name": "b"})
    next(attempts(stored, is_old=True))
    assert (stored.raw["name"], stored.document.name) == ("b", "b")


def test_each_further_attempt_loads_the_document_and_undoes_what_was_done_to_it(monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", PATIENCE)
    stored = thing(RAW, *(RAW | {"size": size} for size in (2, 3)))
    seen = []
    for _, _ in zip(range(3), attempts(stored, is_old=False), strict=False):
        seen.append((stored.document.name, stored.document.size))
        stored.document.name = "changed"
    assert seen == [("a", 1), ("a", 2), ("a", 3)]


@pytest.mark.parametrize(("holds_whole", "last"), [(False, Same.SET), (True, Same.ALL)])
def test_a_write_that_lost_often_asks_for_less_unless_it_must_not(monkeypatch, holds_whole, last):
    monkeypatch.setattr("hive.races.PATIENCE", PATIENCE)
    stored = thing(RAW, *[RAW] * 9, holds_whole=holds_whole)
    asked = [stored.same for _ in zip(range(7), attempts(stored, is_old=False), strict=False)]
    assert asked == [Same.ALL] * 6 + [last]


def test_a_document_that_is_not_equal_to_itself_is_asked_for_less_at_once(monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", PATIENCE)
    stored = thing(RAW, RAW | {"size": float("nan")})
    assert [stored.same for _ in zip(range(2), attempts(stored, is_old=False), strict=False)] == [
        Same.ALL,
        Same.SET,
    ]


def test_a_document_that_is_gone_is_not_found(monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", PATIENCE)
    tries = attempts(thing(RAW, None), is_old=False)
    next(tries)
    with pytest.raises(NotFound):
        next(tries)


def test_attempts_end_when_the_time_is_up(monkeypatch):
    monkeypatch.setattr("hive.races.PATIENCE", 0)
    assert len(list(attempts(thing(RAW), is_old=False))) == 1


# Turns


def test_writes_to_one_document_go_one_after_another():
    inside, most = [], []

    def write():
        with turn(RacedThing(pk=ID), PATIENCE):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    at_once([write] * 8)
    assert most == [1] * 8


def test_who_has_waited_knows_it():
    with turn(RacedThing(pk=ID), 0) as first:
        assert first is False

        def wait():
            with turn(RacedThing(pk=ID), 0.001) as waited:
                return waited

        [waited] = at_once([wait])
        assert waited is True


def test_a_turn_ends_by_an_exception_too():
    with pytest.raises(ZeroDivisionError), turn(RacedThing(pk=ID), 0):
        raise ZeroDivisionError
    taken = threading.Event()

    def take():
        with turn(RacedThing(pk=ID), PATIENCE) as waited:
            taken.set()
            return waited

    assert at_once([take]) == [False]
    assert taken.is_set()
