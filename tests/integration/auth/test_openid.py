"""A sign-in by redirect at an OpenID provider that means harm: discovery, its keys, and the way back."""

import gzip
import json
import ssl
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from tornado import simple_httpclient
from tornado.web import Application

from hive import AuthHive, OpenIDProvider
from hive.auth import fetching, tokens
from hive.signals import request_started, unauthorized_user
from hive.testing import recorded, serve
from tests.support.hostile import (
    CLIENT_ID,
    CLIENT_SECRET,
    Browser,
    Hostile,
    certificate_for_loopback,
    says,
)
from tests.support.threads import PATIENCE, at_once, in_thread, wait_for

DISCOVERY = "/.well-known/openid-configuration"
START = "/auth/signin/openid/"
PROBLEM = "application/problem+json"


def application(*providers):
    made = Application(AuthHive.routes_for(providers))
    AuthHive.configure(made, secret_key="k" * 32, signin_rate=None, write_rate=None)
    return made


def openid(hostile, *secret, **how):
    return OpenIDProvider(hostile.url, CLIENT_ID, *secret, **how)


@pytest.fixture
def api(hostile, mongomock_database):
    with serve(application(openid(hostile))) as client:
        yield client


@pytest.fixture
def browser(api):
    return Browser(api)


def is_unavailable(reply):
    """Whether the answer says that the provider cannot be reached, and nothing of the inside."""
    assert (reply.status, reply.headers["Content-Type"]) == (503, PROBLEM), reply.body
    return "Retry-After" in reply.headers and b"127.0.0.1" not in reply.body


# Discovery


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"issuer": ["x"]},
        {"authorization_endpoint": None, "jwks_uri": None},
        *({"authorization_endpoint": url, "jwks_uri": url} for url in (5, "", "/a", "javascript:alert(1)")),
        *(
            {"authorization_endpoint": url, "jwks_uri": url}
            for url in ("ftp://a/", "file:///a", "https://[a")
        ),
        {"authorization_endpoint": "http://127.0.0.1/\r\nSet-Cookie: a=b", "jwks_uri": "http://127.0.0.1:x/"},
    ],
    ids=repr,
)
def test_a_document_that_is_wrong_makes_the_provider_unavailable(hostile, browser, document):
    hostile.document = document
    assert is_unavailable(browser.get(START))
    assert is_unavailable(browser.sign_in(hostile.token()))
    assert browser.user is None


INSTEAD = {
    "not found": says(404, {}),
    "found, but it is none": says(404, {"issuer": "x"}),
    "an error": says(500, {"keys": []}),
    "forbidden": says(403, b"no"),
    "a redirect": says(302, b"", Location="/elsewhere"),
    "no JSON": says(200, b"<html>"),
    "nothing": says(200, b""),
    "no content": says(204, b""),
    "a list": says(200, []),
    "a text": says(200, "keys"),
    "null": says(200, b"null"),
    "no UTF-8": says(200, b'{"a": "\xff"}'),
    "deep": says(200, b'{"keys":' + b"[" * 2**16),
    "a large number": says(200, b'{"keys": %s}' % (b"9" * 2**14)),
    "too large": says(200, {"more": "x" * 2**20}),
    "a gzip bomb": says(200, gzip.compress(b" " * 2**24), Content_Encoding="gzip"),
    "no HTTP": lambda request: request.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "no length": lambda request: request.head(200, Content_Length="many"),
    "half an answer": lambda request: request.head(200, Content_Length="5"),
    "silence": lambda request: request.connection.shutdown(2),
    "many headers": lambda request: request.head(200, **{f"A-{n}": "x" * 99 for n in range(999)}),
}
"""What should be JSON of a provider, and is not."""


@pytest.mark.parametrize(
    ("path", "name"),
    [(DISCOVERY, name) for name in INSTEAD]
    + [("/jwks", name) for name in ("found, but it is none", "an error", "a redirect", "a list", "silence")],
)
def test_an_answer_that_is_none_makes_the_provider_unavailable(hostile, browser, path, name):
    hostile.instead = {path: INSTEAD[name], "/elsewhere": hostile.discover}
    assert is_unavailable(browser.sign_in(hostile.token()))
    assert "/elsewhere" not in hostile.requests
    hostile.instead = {}
    assert browser.sign_in(hostile.token()).status == 200


def test_a_redirect_does_not_begin_where_discovery_fails(hostile, browser):
    hostile.instead = {DISCOVERY: INSTEAD["an error"]}
    assert is_unavailable(browser.get(START))


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks"])
def test_an_answer_that_is_compressed_is_not_unpacked(hostile, browser, path):
    honest = {DISCOVERY: hostile.discover, "/jwks": hostile.publish}[path]
    hostile.instead = {path: lambda request: compressed(request, honest(request))}
    assert is_unavailable(browser.sign_in(hostile.token()))


def compressed(request, value):
    body = gzip.compress(json.dumps(value).encode() + b" " * 2**16)
    request.reply(200, body, **{"Content-Encoding": "gzip"})


PREDECESSORS = {DISCOVERY: None, "/token": DISCOVERY, "/jwks": DISCOVERY, "/userinfo": "/jwks"}
"""What a provider is asked for before, in a sign-in by redirect."""


def impatient(hostile, monkeypatch, path):
    """Give the provider a moment to answer at a path, and as long as it needs for what comes before."""
    honest = {DISCOVERY: hostile.discover, "/jwks": hostile.publish}
    before = PREDECESSORS[path]

    def end_of_patience(request):
        monkeypatch.setattr(fetching, "PATIENCE", 0.1)
        return honest[before](request)

    if before is None:
        monkeypatch.setattr(fetching, "PATIENCE", 0.1)
    else:
        hostile.instead[before] = end_of_patience


@pytest.mark.parametrize(("path", "how"), [(DISCOVERY, "hang"), ("/jwks", "drip")])
def test_a_provider_that_takes_its_time_gets_no_more_than_some(hostile, browser, monkeypatch, path, how):
    hostile.instead = {path: getattr(hostile, how)}
    impatient(hostile, monkeypatch, path)
    assert is_unavailable(browser.sign_in(hostile.token()))


def test_a_provider_that_is_not_there_is_unavailable(hostile, browser):
    hostile.server.server_close()
    assert is_unavailable(browser.get(START))


def test_a_provider_with_tls_names_no_endpoint_without(tmp_path, mongomock_database, monkeypatch):
    certificate = certificate_for_loopback(tmp_path)
    with Hostile(certificate) as secure, serve(application(openid(secure))) as client:
        assert is_unavailable(client.get(START))  # a certificate that nobody knows
        trusting = ssl.create_default_context(cafile=certificate)
        monkeypatch.setattr(simple_httpclient, "_client_ssl_defaults", lambda: trusting)
        assert Browser(client).sign_in(secure.token()).status == 200
    with Hostile(certificate) as secure, serve(application(openid(secure))) as client:
        plain = secure.url.replace("https", "http")
        secure.document = {"authorization_endpoint": f"{plain}/authorize", "jwks_uri": f"{plain}/jwks"}
        assert is_unavailable(client.get(START))
        assert is_unavailable(Browser(client).sign_in(secure.token()))


# Its keys


def test_the_keys_are_fetched_once_for_many_at_the_same_time(hostile, api):
    hostile.instead = {
        DISCOVERY: lambda request: hostile.released.wait(PATIENCE) and hostile.discover(request)
    }
    asks = [lambda: Browser(api).sign_in(hostile.token()) for _ in range(8)]
    with recorded(request_started) as heard, in_thread(lambda: at_once(asks)) as replies:
        wait_for(lambda: len(heard) == 8)
        hostile.released.set()
        assert {reply.status for reply in replies.result()} == {200}
    assert hostile.requests == [DISCOVERY, "/jwks"]


@pytest.mark.parametrize("instead", [INSTEAD["an error"], INSTEAD["silence"]], ids=["an error", "silence"])
def test_tokens_of_random_keys_do_not_hammer_a_provider_that_fails(hostile, browser, monkeypatch, instead):
    monkeypatch.setattr(tokens, "SECONDS_BETWEEN_MISSES", 3600)
    assert browser.sign_in(hostile.token()).status == 200
    hostile.instead = {"/jwks": instead}
    for number in range(5):
        assert browser.sign_in(hostile.token(header={"kid": f"random-{number}"})).status in (401, 503)
        assert browser.sign_in(hostile.token()).status == 200
    assert hostile.requests.count("/jwks") <= 3


def hanging(hostile):
    return hostile.hang


def chunked(hostile):
    return hostile.flood(announced={"Transfer-Encoding": "chunked"}, gated=True)


def until_the_end(hostile):
    return hostile.flood(announced={"Connection": "close"}, gated=True)


@pytest.mark.parametrize(
    ("path", "instead"),
    [(DISCOVERY, hanging), ("/jwks", hanging), (DISCOVERY, chunked), ("/jwks", until_the_end)],
)
def test_others_are_answered_while_a_provider_hangs_or_sends_a_gigabyte(hostile, browser, path, instead):
    hostile.instead = {path: instead(hostile)}
    with in_thread(lambda: Browser(browser.client).sign_in(hostile.token())) as waiting:
        wait_for(lambda: path in hostile.requests)
        assert browser.get("/auth/signin/").status == 200
        assert browser.user is None
        assert not waiting.done()
        hostile.released.set()
        assert is_unavailable(waiting.result())
    assert hostile.sent < 2**26


@pytest.mark.parametrize("path", [DISCOVERY, "/jwks", "/token", "/userinfo"])
def test_a_gigabyte_that_is_announced_is_not_read(hostile, browser, path):
    hostile.instead = {path: hostile.flood(announced={"Content-Length": str(2**30)})}
    hostile.claims = {"name": None}
    assert is_unavailable(browser.get(START if path == DISCOVERY else browser.start(START)))
    assert hostile.sent < 2**26
    assert browser.session is None


def test_a_token_of_a_known_key_holds_while_the_provider_hangs(hostile, browser):
    assert browser.sign_in(hostile.token()).status == 200
    hostile.instead = {"/jwks": hostile.hang}
    unknown = hostile.token(header={"kid": "random"})
    with in_thread(lambda: Browser(browser.client).sign_in(unknown)) as waiting:
        wait_for(lambda: hostile.requests.count("/jwks") == 2)
        assert browser.sign_in(hostile.token()).status == 200
        assert not waiting.done()
        hostile.released.set()
        assert waiting.result().status in (401, 503)


# The redirect flow


def test_a_browser_signs_in_by_redirect(hostile, browser):
    callback = browser.start(START + "?" + urlencode({"next": "/projects?page=2#top"}))
    back = browser.get(callback)
    assert (back.status, back.headers["Location"]) == (302, "/projects?page=2#top")
    assert browser.user == {"id": "ann", "name": "Ann", "email": "ann@example.org", "provider": "openid"}
    assert browser.cookies.keys() == {"__Host-session"}
    assert "/userinfo" not in hostile.requests


def test_the_provider_is_asked_for_a_code_with_pkce_state_and_nonce(hostile, browser):
    first, second = (dict(parse_qsl(urlsplit(browser.get(START).headers["Location"]).query)) for _ in "ab")
    assert first["response_type"] == "code"
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == f"{browser.origin}/auth/callback/openid/"
    assert "openid" in first["scope"].split()
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 32
        assert first[name] != second[name]


def test_an_authorization_endpoint_keeps_its_own_query(hostile, browser):
    hostile.document = {"authorization_endpoint": f"{hostile.url}/authorize?tenant=a"}
    assert (
        browser.get(START).headers["Location"].startswith(f"{hostile.url}/authorize?tenant=a&response_type=")
    )


def test_a_verifier_that_does_not_fit_its_challenge_is_refused_by_the_provider(hostile, browser):
    callback = browser.start()
    for grant in hostile.grants.values():
        grant["code_challenge"] = "another"
    assert browser.get(callback).status == 401
    assert hostile.exchanges[0][2]["code_verifier"]


def with_query(callback, **changes):
    url = urlsplit(callback)
    query = {
        name: value for name, value in (dict(parse_qsl(url.query)) | changes).items() if value is not None
    }
    return f"{url.path}?{urlencode(query)}"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "wrong"},
        {"state": ""},
        {"state": None},
        {"state": b"\xff"},
        {"code": None},
        {"code": "wrong"},
        {"code": b"\xff"},
        {"error": "access_denied"},
        {"error": "access_denied", "code": None, "error_description": "<script>alert(1)</script>"},
        {"error": ""},
        {"iss": "https://evil.example"},
        {"iss": ""},
    ],
    ids=repr,
)
def test_a_callback_that_was_changed_signs_nobody_in(hostile, browser, change):
    callback = browser.start()
    with recorded(unauthorized_user) as heard:
        reply = browser.get(with_query(callback, **change))
    assert (reply.status, reply.headers["Content-Type"]) == (401, PROBLEM)
    assert b"script" not in reply.body
    assert browser.session is None
    assert [one.sender for one in heard] == ["openid"]
    assert hostile.exchanges == [] or change.get("code") is not None


def test_a_state_counts_to_its_last_letter(hostile, browser):
    callback = browser.start()
    state = dict(parse_qsl(urlsplit(callback).query))["state"]
    for wrong in (state[:-1], state + "a", state[:8], state[:8] + "a" * 24, state.swapcase()):
        assert browser.get(with_query(callback, state=wrong)).status == 401
    assert hostile.exchanges == []
    assert browser.get(callback).status == 302


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_a_parameter_that_is_there_twice_counts_as_none(hostile, browser, name):
    hostile.document = {"authorization_response_iss_parameter_supported": True}
    hostile.callback = {"iss": hostile.url}
    assert browser.get(f"{browser.start()}&{name}=x").status == 401
    assert browser.session is None


@pytest.mark.parametrize("iss", ["https://evil.example", "", None])
def test_the_issuer_of_a_callback_is_as_promised(hostile, browser, iss):
    hostile.document = {"authorization_response_iss_parameter_supported": True}
    hostile.callback = {"iss": hostile.url}
    callback = browser.start()
    assert browser.get(with_query(callback, iss=iss)).status == 401
    assert hostile.exchanges == []
    assert browser.get(browser.start()).status == 302
    assert browser.user["id"] == "ann"


def test_a_callback_counts_in_the_browser_that_was_sent_off_only(browser):
    callback = browser.start()
    other = Browser(browser.client)
    assert other.get(callback).status == 401
    other.start()
    assert other.get(callback).status == 401
    assert other.session is None
    assert browser.get(callback).status == 302


def test_a_callback_counts_for_the_provider_to_which_the_browser_was_sent_only(hostile, mongomock_database):
    with Hostile() as other:
        providers = openid(hostile), openid(other, name="other")
        with serve(application(*providers)) as client:
            browser = Browser(client)
            callback = browser.start("/auth/signin/other/")
            assert browser.get(callback.replace("/callback/other/", "/callback/openid/")).status == 401
            assert hostile.exchanges == []
            assert browser.get(callback).status == 302


def test_a_callback_counts_once_on_all_instances(hostile, mongodb_database):
    with serve(application(openid(hostile))) as one, serve(application(openid(hostile))) as other:
        browser = Browser(one)
        callback = browser.start()
        kept = dict(browser.cookies)
        assert browser.get(callback).status == 302
        assert browser.get(callback).status == 401
        path = callback.removeprefix(browser.origin)
        assert [Browser(client, kept).get(path).status for client in (one, other)] == [401, 401]
        assert len(hostile.exchanges) == 1


def test_a_replayed_code_is_refused_by_the_provider(hostile, browser):
    first = browser.start()
    code = dict(parse_qsl(urlsplit(first).query))["code"]
    assert browser.get(first).status == 302
    browser.cookies.clear()
    assert browser.get(with_query(browser.start(), code=code)).status == 401
    assert browser.session is None


def test_a_code_of_somebody_else_does_not_fit_the_verifier_of_this_browser(browser):
    stolen = dict(parse_qsl(urlsplit(Browser(browser.client).start()).query))["code"]
    assert browser.get(with_query(browser.start(), code=stolen)).status == 401


def test_two_sign_ins_side_by_side_in_one_browser_both_work(browser):
    first, second = (browser.start(START + f"?next=/{name}") for name in ("first", "second"))
    assert browser.get(second).headers["Location"] == "/second"
    assert browser.get(first).headers["Location"] == "/first"
    assert browser.cookies.keys() == {"__Host-session"}


@pytest.mark.parametrize(
    "changes",
    [
        {"grant": {"nonce": "wrong"}},
        {"grant": {"nonce": None}},
        {"claims": {"iss": "https://evil.example"}},
        {"claims": {"aud": "another"}},
        {"claims": {"azp": "another"}},
        {"claims": {"exp": 1}},
        {"claims": {"sub": None}},
        {"claims": {"name": None}, "profile": {"sub": "eve"}},
        {"claims": {"name": None}, "profile": {"sub": None}},
        {"tokens": {"id_token": None}},
        {"tokens": {"id_token": 5}},
        {"tokens": {"id_token": "a.b.c"}},
        pytest.param({"instead": {"/token": says(400, {"error": "invalid_grant"})}}, id="error"),
        pytest.param({"instead": {"/token": says(302, {}, Location="/elsewhere")}}, id="redirect"),
    ],
    ids=str,
)
def test_what_does_not_hold_behind_a_good_callback_signs_nobody_in(hostile, browser, changes):
    callback = browser.start()
    vars(hostile).update(changes)
    for grant in hostile.grants.values():
        grant.update(changes.get("grant", {}))
    reply = browser.get(callback)
    assert (reply.status, reply.headers["Content-Type"]) == (401, PROBLEM)
    assert browser.session is None


@pytest.mark.parametrize(
    ("path", "name"),
    [("/token", "no JSON"), ("/token", "an error"), ("/userinfo", "a list"), ("/userinfo", "a gzip bomb")],
)
def test_an_endpoint_that_fails_makes_the_provider_unavailable(hostile, browser, path, name):
    hostile.claims, hostile.instead = {"name": None}, {path: INSTEAD[name]}
    assert is_unavailable(browser.get(browser.start()))
    assert browser.session is None


@pytest.mark.parametrize(("path", "how"), [("/token", "hang"), ("/userinfo", "drip")])
def test_an_endpoint_that_takes_its_time_makes_the_provider_unavailable(
    hostile, browser, monkeypatch, path, how
):
    hostile.claims, hostile.instead = {"name": None}, {path: getattr(hostile, how)}
    impatient(hostile, monkeypatch, path)
    assert is_unavailable(browser.get(browser.start()))
    assert browser.session is None


def test_what_the_id_token_leaves_out_is_asked_for_and_what_it_says_stays(hostile, browser):
    hostile.claims = {"name": None}
    hostile.profile = {"email": "eve@example.org", "email_verified": True}
    assert browser.get(browser.start()).status == 302
    assert browser.user == {
        "id": "ann",
        "name": "Ann of userinfo",
        "email": "ann@example.org",
        "email_verified": True,
        "provider": "openid",
    }


@pytest.mark.parametrize(
    ("secret", "supported", "how"),
    [
        (CLIENT_SECRET, None, "client_secret_basic"),
        (CLIENT_SECRET, ["client_secret_post", "client_secret_basic"], "client_secret_basic"),
        (CLIENT_SECRET, ["client_secret_post"], "client_secret_post"),
        (None, ["client_secret_basic"], "none"),
        (None, None, "none"),
    ],
)
def test_the_client_proves_itself_as_the_provider_wants_it(
    hostile, mongomock_database, secret, supported, how
):
    hostile.document = {"token_endpoint_auth_methods_supported": supported}
    with serve(application(openid(hostile, secret))) as client:
        browser = Browser(client)
        assert browser.get(browser.start()).status == 302
    told, who, fields = hostile.exchanges[0]
    assert (told, who) == (how, [CLIENT_ID, secret])
    assert fields["grant_type"] == "authorization_code"
    assert how != "client_secret_basic" or "client_secret" not in fields
