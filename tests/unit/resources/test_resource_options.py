"""A resource checks its options, and remembers what it makes of those that are functions of a request."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import mongoengine as me
import pytest

from hive.resource import Resource


class Viewed(me.Document):
    for number in range(8):
        locals()[f"f{number}"] = me.IntField(default=number)


@pytest.fixture
def hasty_switches():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_static_names_are_checked_when_the_routes_are_made_though_others_are_functions():
    for option, function in (("hidden", "read_only"), ("read_only", "hidden"), ("write_only", "hidden")):
        with pytest.raises(ValueError, match="no_such_field"):
            Resource(Viewed, **{option: ["no_such_field"], function: lambda handler: []})
        with pytest.raises(TypeError, match="string"):
            Resource(Viewed, **{option: "f1", function: lambda handler: []})


def test_what_is_forgotten_while_it_is_asked_for_is_made_again(monkeypatch, hasty_switches):
    """Each thread of the pool may find that there are too many sets, and forgets all of them."""
    monkeypatch.setattr("hive.resource.MOST_VIEWS", 1)
    resource = Resource(Viewed, hidden=lambda handler: handler.names)

    def seen(number):
        view = resource.seen_by(SimpleNamespace(names=[f"f{number % 8}"], views={}))
        return view.serializer.visibility.hidden == {f"f{number % 8}"}

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(seen, range(1500)))
