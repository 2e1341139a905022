"""The arguments of an OpenID provider."""

import pytest

from hive import OpenIDProvider


@pytest.mark.parametrize(
    "issuer",
    [
        "http://login.example",
        "ftp://127.0.0.1",
        "https://",
        "https://a?b=c",
        "https://a#b",
        "login.example",
        "",
    ],
)
def test_an_issuer_is_an_https_url(issuer):
    with pytest.raises(ValueError, match="https"):
        OpenIDProvider(issuer, "the-client")


@pytest.mark.parametrize("client_id", ["", None])
def test_a_client_id_is_required(client_id):
    with pytest.raises(ValueError, match="client_id"):
        OpenIDProvider("https://login.example", client_id)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("client_id", ""),
        ("client_id", 5),
        ("audience", ["a", "b"]),
        ("scope", "email"),
        ("scope", ["openid"]),
    ],
    ids=str,
)
def test_an_argument_that_no_provider_has_is_named(option, value):
    arguments = {"issuer": "https://id.example.org", "client_id": "x"} | {option: value}
    with pytest.raises(ValueError, match=option):
        OpenIDProvider(**arguments)
