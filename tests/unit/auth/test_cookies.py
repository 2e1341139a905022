"""The names of cookies, and whether they travel encrypted only."""

from types import SimpleNamespace

import pytest
from tornado.web import Application

from hive import AuthHive
from hive.authentication import authentication_in

KEY = "k" * 32


def configured(**how):
    application = Application()
    AuthHive.configure(application, secret_key=KEY, **how)
    return authentication_in(application)


def request(host="localhost", scheme="http", debug=True, **headers):
    """What a handler knows of a request."""
    asked = SimpleNamespace(host=host, protocol=scheme, headers=headers)
    return SimpleNamespace(settings={"debug": debug}, request=asked)


@pytest.mark.parametrize("host", ["localhost:8000", "localhost", "127.0.0.1", "[::1]:8000", "app.localhost"])
def test_cookies_of_this_machine_in_debug_over_http_need_no_encryption(host):
    authentication = configured()
    assert not authentication.is_secure(request(host))
    assert authentication.is_secure(request(host, debug=False))
    assert authentication.is_secure(request(host, scheme="https"))
    assert authentication.cookie(request(host)) == "session"
    assert authentication.cookie(request(host, scheme="https"), "_nonce") == "__Host-session_nonce"


@pytest.mark.parametrize(
    "host",
    ["example.org", "localhost.example.org", "127.0.0.1.example.org", "notlocalhost", "10.0.0.1", "0.0.0.0",
     "[abc]", "[::1", "[]", "[v1.x]", "a:b", "a@b", "%", "_"],
)  # fmt: skip
def test_cookies_of_other_hosts_and_of_what_is_none_are_encrypted(host):
    assert configured().is_secure(request(host))


def test_origin_that_is_configured_decides():
    assert configured(origin="https://app.example.org").is_secure(request())
    assert not configured(origin="http://localhost:8000").is_secure(request("example.org"))


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("__Host-session=a", "a"),
        ("x=y; __Host-session=a; z", "a"),
        ('__Host-session="a"', "a"),
        ("__Host-session=a=b", "a=b"),
        ("__Host-session=a; __Host-session=b", None),
        ("__Host-session=a; __Host-session=a", None),
        ("\xa0__Host-session=a", None),
        ("\x85__Host-session=a", None),
        ("__Host-session=a; \xa0__Host-session=b", "a"),
        ("__host-session=a", None),
        ("session=a", None),
        ("", None),
    ],
    ids=ascii,
)
def test_one_cookie_of_exactly_the_name_counts(header, value):
    assert configured().get_cookie(request(scheme="https", Cookie=header)) == value


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "ü", "a\n"], ids=repr)
def test_cookie_name_that_no_browser_takes_is_refused_at_start_up(name):
    with pytest.raises(ValueError, match="cookie_name"):
        configured(cookie_name=name)
