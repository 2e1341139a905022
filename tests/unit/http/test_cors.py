"""What an origin is, which origins may read an answer, and to which paths a browser may be sent."""

import logging
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given, strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from hive import AuthHive
from hive.errors import BadRequest
from hive.origins import CORS, LONGEST_PATH, checked_origin, cors_headers, is_loopback, own_path, readers

FRIEND, STRANGER = "https://app.example.org", "https://evil.example"


def headers_for(origin, origins):
    """The headers for a request from an origin, where the setting lists `origins`."""
    headers = HTTPHeaders({"Host": "x", "Origin": origin})
    request = HTTPServerRequest(headers=headers, start_line=RequestStartLine("GET", "/", "HTTP/1.1"))
    return cors_headers(request, readers({CORS: origins}))


# Who may read


@pytest.mark.parametrize("origins", [[], ()])
@pytest.mark.parametrize("origin", [FRIEND, "null", "*", "http://localhost"])
def test_where_no_origin_is_listed_no_header_says_a_word_of_cors(origins, origin):
    assert headers_for(origin, origins) == {}
    assert readers({}) == frozenset()


@pytest.mark.parametrize(
    "origin",
    [
        *(STRANGER, "null", "", "*", FRIEND + "/", FRIEND + ":443", FRIEND + ".evil.example"),
        *("http://app.example.org", "https://example.org", "https://evil.app.example.org"),
        *(f"{FRIEND}, {STRANGER}", "app.example.org", "https://appxexample.org"),
    ],
)
def test_pages_of_other_origins_than_those_listed_read_nothing(origin):
    assert headers_for(origin, [FRIEND, "http://localhost:3000"]) == {"Vary": "Origin"}


@pytest.mark.parametrize("origin", [STRANGER, FRIEND, "null"])
def test_every_page_may_read_where_all_are_allowed_but_never_with_cookies(origin):
    headers = headers_for(origin, ["*"])
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


WRONG = ["https://app.example.org", [FRIEND + "/"], [FRIEND, "app.example.org"], ["null"],
         ["https://*.example.org"],
         [None], [[]], None, 7, [""], ["*.example.org"], ["ftp://a"],
          ["HTTPS://app.example.org/x"]]  # fmt: skip


@pytest.mark.parametrize("origins", WRONG, ids=repr)
def test_wrong_setting_is_logged_and_opens_nothing(origins, caplog):
    assert headers_for(FRIEND, origins) == {}
    [record] = caplog.records
    assert "The setting hive_cors_origins is not understood" in record.getMessage()
    assert record.levelno == logging.ERROR


# Where a browser may be sent

PIECES = st.sampled_from(
    ["/", "//", "\\", ".", "..", "@", ":", "evil.example", "http:", "https://", "javascript:", "%2f", "%5c",
     "\t", "\n", "\r", " ", "\0", "?", "#", "a", "ü", "\u2028", "\uff0f", "&", ";"]
)  # fmt: skip
CHARACTERS = [chr(code) for code in range(256)]
TARGETS = st.one_of(st.text(CHARACTERS, max_size=30), st.lists(PIECES, max_size=8).map("".join))


@given(TARGETS)
@example("/ /0")
def test_whatever_a_browser_is_told_it_stays_with_the_application(target):
    base = "https://app.example.org/auth/callback/"
    try:
        path = own_path(target)
    except BadRequest:
        return
    assert path == target
    # as browsers read it (WHATWG URL): tabs and line ends are dropped, backslashes are slashes
    without_ends = path.translate(dict.fromkeys(map(ord, "\t\n\r")))
    for seen in (path, path.replace("\\", "/"), without_ends, path.strip("\0 ")):
        parts = urlsplit(urljoin(base, seen))
        assert (parts.scheme, parts.netloc) == ("https", "app.example.org")
    assert seen.startswith("/")
    assert path.isprintable()


@pytest.mark.parametrize(
    "target",
    ["", "x", "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example",
     "\\\\evil.example",
     "/a\\b", "/\tb", "/\n/evil.example", "/\r\nSet-Cookie: a=b", " /a", "/ü", "/\0", "/\x7f",
     "javascript:alert(1)", "http:/evil", "/" + "a" * LONGEST_PATH, "\u2028/a", "?a", "#a", "./a", "../a",
     "@evil.example"],
)  # fmt: skip
def test_what_is_no_path_of_the_application_is_refused(target):
    with pytest.raises(BadRequest):
        own_path(target)


@pytest.mark.parametrize("target", ["/ /0", "/a b", "/a "])
def test_a_path_with_a_blank_is_refused(target):
    with pytest.raises(BadRequest):
        own_path(target)


@pytest.mark.parametrize(
    "target",
    ["/", "/a", "/a/b?c=d&e=%20#f", "/a//b", "/@evil", "/:80", "/" + "a" * (LONGEST_PATH - 1)],
    ids=lambda target: target[:12],
)
def test_path_of_the_application_is_taken_as_it_is(target):
    assert own_path(target) == target


# What is an origin


@pytest.mark.parametrize(
    "origin", ["https://a.example", "http://localhost:8080", "https://[::1]:8443", "http://10.0.0.1"]
)
def test_origin_is_taken_as_browsers_write_it(origin):
    assert checked_origin(origin) == origin


@pytest.mark.parametrize(
    "origin",
    ["", "a.example", "https://", "https://a.example/", "https://a.example/x", "https://a.example?x",
     "null", "*",
     "https://a.example#x", "ftp://a.example", "file:///", "//a.example", "https://u@a.example",
     "https://u:p@a.example", "https://a.example:x", "https://a.example:99999", "https://a.example:",
     "https://a.example:443", "http://a.example:80", "https://[::1", "https://a example", "https://ü.example",
     "https://*.example.org"],
)  # fmt: skip
def test_what_no_browser_sends_as_origin_is_refused_at_start_up(origin):
    with pytest.raises(ValueError, match=r"[a-z]"):
        AuthHive.configure(Application(), secret_key="k" * 32, origin=origin)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("localhost", "127.0.0.1", "::1", "a.localhost")),
        *((host, False) for host in ("localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example")),
        *((host, False) for host in ("", None, "0.0.0.0")),
    ],
)
def test_only_this_machine_is_loopback(host, here):
    assert is_loopback(host) is here
