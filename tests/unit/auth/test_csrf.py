"""Changes by cookie come from own pages; browsers are sent to paths of the application only."""

from types import SimpleNamespace

import pytest

from hive.errors import BadRequest, Forbidden
from hive.origins import check_sender, has_bearer, own_path

OWN, TRUSTED = "http://127.0.0.1:8000", "https://app.example.org"


def says(headers, *, method="POST", trusted=(), proof=True):
    """Whether a request with these headers is let through."""
    try:
        check_sender(SimpleNamespace(method=method, headers=headers), OWN, trusted, proof=proof)
    except Forbidden:
        return False
    return True


OWN_PAGES = [
    {"Origin": OWN},
    {"Origin": "HTTP://127.0.0.1:8000"},
    {"Origin": OWN, "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]
SILENT = [{}, {"Referer": OWN + "/"}, {"X-Requested-With": "XMLHttpRequest"}]
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "*"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "https://127.0.0.1:8000"},
    {"Origin": "https://127.0.0.1"},
    {"Origin": "http://localhost:8000"},
    {"Origin": OWN + "/"},
    {"Origin": OWN + ".evil.example"},
    {"Origin": "http://evil.example@127.0.0.1:8000"},
    {"Origin": OWN + ", https://evil.example"},
    {"Origin": TRUSTED},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "SAME-ORIGIN!"},
    {"Sec-Fetch-Site": ""},
    {"Origin": OWN, "Sec-Fetch-Site": "same-site"},
    {"Origin": OWN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", OWN_PAGES, ids=str)
def test_own_pages_may_change(headers):
    assert says(headers)
    assert says(headers, proof=False)


@pytest.mark.parametrize("headers", SILENT, ids=str)
def test_who_does_not_say_where_a_request_comes_from_may_change_what_needs_no_proof(headers):
    assert not says(headers)
    assert says(headers, proof=False)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_foreign_pages_may_not_change(headers):
    assert not says(headers)
    assert not says(headers, proof=False)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_needs_no_proof(method):
    assert says(FOREIGN[0], method=method)


@pytest.mark.parametrize(
    "site", [{}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}], ids=str
)
def test_pages_of_origins_that_are_listed_may_change(site):
    assert says({"Origin": TRUSTED} | site, trusted=[TRUSTED])
    assert not says({"Origin": TRUSTED} | site, trusted=["https://other.example.org"])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_a_request_with_a_token_is_signed_by_its_client(scheme):
    assert has_bearer(SimpleNamespace(headers={"Authorization": f"{scheme} x"}))


@pytest.mark.parametrize(
    "authorization", ["Basic YTpi", "basic YTpi", "Digest x", "Basic x, Bearer y", "", "Bearers x"]
)
def test_a_request_with_another_authorization_is_not(authorization):
    assert not has_bearer(SimpleNamespace(headers={"Authorization": authorization}))
    assert not has_bearer(SimpleNamespace(headers={}))


HERE = [
    "/",
    "/a/b?c=d&e=f#g",
    "/%2F%2Fevil.example",
    "/a//b",
    "/?next=//evil.example",
    "/@evil.example",
    "/a%20b",
]
ELSEWHERE = [
    *("//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example"),
    *("https://evil.example", "https:evil.example", "http:///evil.example", "javascript:alert(1)"),
    *("data:text/html,x", "evil.example", "@evil.example", ".evil.example", "", "?a", "#a"),
    *("/\t/evil.example", "/\n/evil.example", "/\r\nSet-Cookie: a=b", "\t//evil.example", " //evil.example"),
    *("/\0", "/\x7f", "/a\\b", "/\u2028", "/\u3002evil", "/\uff0fevil.example", "/" + "a" * 2000),
    *("http://127.0.0.1@evil.example", f"{OWN}@evil.example", f"{OWN}.evil.example/", f"{OWN}/"),
]


@pytest.mark.parametrize("target", HERE)
def test_a_path_of_the_application_is_taken_as_it_is(target):
    assert own_path(target) == target


@pytest.mark.parametrize("target", ELSEWHERE, ids=lambda target: repr(target)[:60])
def test_a_browser_is_sent_nowhere_else(target):
    with pytest.raises(BadRequest, match="next"):
        own_path(target)
