"""Bearer tokens are remembered for a while, and no more of them than there is room for."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from tornado.web import Application

from hive import AuthHive, Provider
from hive.auth import tokens
from hive.bearers import Bearers
from hive.errors import Unauthorized
from hive.sessions import Lifetime
from hive.signals import authorized_user
from hive.testing import recorded


class Counting(Provider):
    """Knows each token that is a number of seconds, for which it lasts; and counts."""

    def __init__(self):
        self.asked = []

    async def bearer(self, token):
        self.asked.append(token)
        seconds = token.rpartition("-")[0]
        return ({"id": token}, time.time() + int(seconds or -3600)) if token else None


@pytest.fixture
def provider():
    return Counting()


def ask(provider, bearers, token):
    """The session of a token."""
    application = Application(AuthHive.routes_for([provider]))
    request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
    handler = SimpleNamespace(application=application, request=request, _finished=False)
    return asyncio.run(bearers.session_of(handler))


def test_token_is_looked_at_once_and_its_user_is_told_once(provider):
    bearers = Bearers(Lifetime(1200, 43200))
    with recorded(authorized_user) as heard:
        for token in ("3600-ann", "3600-ann", "3600-bob", "3600-ann"):
            assert ask(provider, bearers, token).user_data == {"id": token, "provider": "counting"}
    assert provider.asked == ["3600-ann", "3600-bob"]
    assert [told.arguments["user_data"]["id"] for told in heard] == provider.asked


@pytest.mark.parametrize(
    ("lifetime", "token"), [(Lifetime(0, 43200), "3600-ann"), (Lifetime(1200, 43200), "-60-ann")],
    ids=["the idle lifetime is over", "the token has expired within the leeway"],
)  # fmt: skip
def test_token_is_not_believed_longer_than_it_lasts(provider, monkeypatch, lifetime, token):
    monkeypatch.setattr(tokens, "LEEWAY", 3600)
    bearers = Bearers(lifetime)
    for _ in range(2):
        assert ask(provider, bearers, token)
    assert len(provider.asked) == 2


def test_token_that_has_expired_is_none(provider):
    with pytest.raises(Unauthorized, match="not valid"):
        ask(provider, Bearers(Lifetime(1200, 43200)), "-ann")


def test_memory_has_an_end_and_forgets_what_was_not_used_for_longest(provider, monkeypatch):
    monkeypatch.setattr("hive.bearers.MOST_REMEMBERED", 3)
    bearers = Bearers(Lifetime(1200, 43200))
    for name in "abcda":
        ask(provider, bearers, f"3600-{name}")
    assert len(provider.asked) == 5
    ask(provider, bearers, "3600-d")
    assert len(provider.asked) == 5


def test_session_of_a_token_is_a_copy(provider):
    bearers = Bearers(Lifetime(1200, 43200))
    ask(provider, bearers, "3600-ann").user_data["id"] = "eve"
    assert ask(provider, bearers, "3600-ann").user_data["id"] == "3600-ann"
