"""How often something may come, as it is counted; and who is counted as one client."""

from types import SimpleNamespace

import pytest
from tornado.web import Application

from hive import AuthHive
from hive.authentication import authentication_in
from hive.errors import TooManyRequests
from hive.rates import Rates, client_of, storage_of
from tests.support.threads import wait_for

ANN = ("write", "user", "club", "ann")


def configured(**how):
    application = Application()
    AuthHive.configure(application, secret_key="k" * 32, **how)
    return authentication_in(application)


def counted(rates, *who):
    """None; or after how many seconds to come back."""
    try:
        rates.count(*who)
    except TooManyRequests as problem:
        return int(problem.extra_headers["Retry-After"])
    return None


def in_memory(rate):
    storage = storage_of("memory", "default")
    return Rates(None, rate, storage), storage


@pytest.mark.parametrize("option", ["signin_rate", "write_rate"])
@pytest.mark.parametrize(
    "text",
    ["", "often", "5", "5/fortnight", "/minute", "-1/minute", "5 minutes", 5, ["5/minute"]],
    ids=repr,
)
def test_what_is_no_limit_is_refused_at_start_up(option, text):
    with pytest.raises(ValueError, match=r"[a-z]"):
        configured(**{option: text})


@pytest.mark.parametrize("place", ["redis", "", None, "Memory"])
def test_unknown_place_for_counts_is_refused_at_start_up(place):
    with pytest.raises(ValueError, match="pass 'memory' or 'mongodb'"):
        configured(rates_in=place)


def test_limits_by_default_are_there():
    rates = configured().rates
    assert [counted(rates, "signin", "client", "1") for _ in range(30)] == [None] * 30
    assert counted(rates, "signin", "client", "1")
    assert [counted(rates, "write", "client", "1") for _ in range(600)] == [None] * 600
    assert counted(rates, "write", "client", "1")


def test_users_of_two_providers_with_one_id_are_two():
    rates, _ = in_memory("1/hour")
    for who in (("user", "a", "1"), ("user", "b", "1"), ("user", "a", "11"), ("client", "1")):
        assert counted(rates, "write", *who) is None
    assert counted(rates, "write", "user", "a", "1")


def test_several_limits_hold_at_once():
    rates, storage = in_memory("2/minute;5/hour")
    waits = []
    for _ in range(3):
        waits += [counted(rates, *ANN) for _ in range(3)]
        shortest = min(storage.expirations, key=storage.expirations.get)
        storage.expirations[shortest] = 0
    through = [seconds is None for seconds in waits]
    assert through == [True, True, False, True, True, False, True, False, False]
    assert all(1 <= waits[number] <= 60 for number in (2, 5, 8))
    assert 3000 < waits[7] <= 3600


def test_a_window_ends():
    rates, storage = in_memory("2/hour")
    assert [counted(rates, *ANN) is None for _ in range(3)] == [True, True, False]
    storage.expirations.update(dict.fromkeys(storage.expirations, 0))
    assert [counted(rates, *ANN) is None for _ in range(3)] == [True, True, False]


def test_memory_does_not_grow_with_clients_that_are_gone():
    rates, storage = in_memory("1000000/minute;9000000/hour")
    for index in range(500):
        rates.count("write", "client", str(index))
    assert len(storage.storage) == 1000
    storage.expirations.update(dict.fromkeys(storage.expirations, 0))

    def is_forgotten():
        rates.count("write", "client", "another")
        return {len(kept) for kept in (storage.storage, storage.expirations, storage.locks)} == {2}

    assert wait_for(is_forgotten)


# Who is a client


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:DB8:1:2:0:0:0:9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("0.0.0.0", "0.0.0.0", True),
        (None, None, True),
        ("", "/run/app.sock", False),
    ],
)
def test_client_is_an_address_or_the_network_that_one_has(one, other, same):
    names = [client_of(SimpleNamespace(remote_ip=address)) for address in (one, other)]
    assert (names[0] == names[1]) is same
    assert all(isinstance(name, str) for name in names)
