"""Fixtures of the tests of sign-in."""

import pytest

from hive.auth import fetching
from tests.support.hostile import Hostile
from tests.support.threads import PATIENCE


@pytest.fixture
def hostile(monkeypatch):
    """An OpenID provider that does what a test tells it, and has as much time as it needs."""
    monkeypatch.setattr(fetching, "PATIENCE", PATIENCE)
    with Hostile() as provider:
        yield provider
