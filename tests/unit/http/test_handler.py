"""Which clients are trusted to name their requests."""

import socket
from types import SimpleNamespace

import pytest

from hive.serving import REQUEST_ID, is_trusted

IPV4 = SimpleNamespace(address_family=socket.AF_INET, address=("127.0.0.1", 50_000))
IPV6 = SimpleNamespace(address_family=socket.AF_INET6, address=("::1", 50_000, 0, 0))
IPV4_IN_IPV6 = SimpleNamespace(address_family=socket.AF_INET6, address=("::ffff:127.0.0.1", 50_000, 0, 0))
UNIX = SimpleNamespace(address_family=socket.AF_UNIX, address="")


@pytest.mark.parametrize(
    ("trusted", "is_known"),
    [
        (["127.0.0.1"], True),
        (["127.0.0.0/8"], True),
        (["127.0.0.9/8"], True),
        (["10.0.0.0/8", "127.0.0.1/32"], True),
        (("127.0.0.1",), True),
        ({"127.0.0.1"}, True),
        (["0.0.0.0/0"], True),
        (["::1"], False),
        (["::/0"], False),
        (["10.0.0.0/8", "fe80::/10", "unix"], False),
        (["127.0.0.2"], False),
        ([], False),
    ],
    ids=str,
)
def test_ipv4_clients_are_trusted_by_addresses_and_networks(trusted, is_known):
    assert is_trusted(IPV4, tuple(trusted)) is is_known


@pytest.mark.parametrize(
    ("trusted", "is_known"),
    [("::1", True), ("::/64", True), ("127.0.0.1", False), ("unix", False), ("2001:db8::/32", False)],
)
def test_ipv6_clients_are_told_apart_too(trusted, is_known):
    assert is_trusted(IPV6, (trusted,)) is is_known


@pytest.mark.parametrize(
    ("trusted", "is_known"),
    [("127.0.0.1", True), ("127.0.0.0/8", True), ("10.0.0.0/8", False), ("::1", False)],
)
def test_an_ipv4_client_of_an_ipv6_socket_is_known_by_its_ipv4_address(trusted, is_known):
    assert is_trusted(IPV4_IN_IPV6, (trusted,)) is is_known


@pytest.mark.parametrize(
    ("trusted", "is_known"),
    [
        (["unix"], True),
        (["10.0.0.0/8", "unix"], True),
        (["127.0.0.1", "0.0.0.0/0", "::/0"], False),
        ([], False),
    ],
    ids=str,
)
def test_clients_of_a_unix_socket_are_trusted_together(trusted, is_known):
    assert is_trusted(UNIX, tuple(trusted)) is is_known


NONSENSE = [
    ["nonsense"],
    ["127.0.0.1", "nonsense"],
    [""],
    ["127.0.0.1/33"],
    [None],
    [[]],
    "127.0.0.1",
    "unix",
    {"127.0.0.1": None, "x": 1},
]


@pytest.mark.parametrize("setting", NONSENSE, ids=str)
def test_a_wrong_setting_is_refused(setting):
    with pytest.raises((TypeError, ValueError)):
        is_trusted(IPV4, tuple(setting))


@pytest.mark.parametrize(
    "own", ["x", "a" * 128, "00-4bf92f-01", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "%s%(x)d"]
)
def test_visible_ascii_is_an_id(own):
    assert REQUEST_ID.fullmatch(own)


@pytest.mark.parametrize(
    "own", ["", "a" * 129, "a b", "a\tb", "café", "a\n", "a\x00b", "a\x1b[31m", "\x7f", "\x85"]
)
def test_what_could_break_a_line_is_no_id(own):
    assert not REQUEST_ID.fullmatch(own)
