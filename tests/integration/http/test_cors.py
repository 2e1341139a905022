"""hive.origins: who may read answers from elsewhere, where browsers may be sent, what keeps answers safe."""

import logging
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import mongoengine as me
import pytest
from hypothesis import given, strategies as st
from tornado.web import Application, RequestHandler

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, signals
from hive.errors import BadRequest
from hive.origins import LONGEST_PATH, checked_origin, is_loopback, own_path
from hive.testing import recorded, serve

FRIEND, STRANGER = "https://app.example.org", "https://evil.example"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class OriginNote(me.Document):
    text = me.StringField(required=True)


class Credulous(Provider):
    """Believes whatever is posted."""

    async def authenticate(self, credentials, handler):
        return credentials if "id" in credentials else None


class PlainHandler(RequestHandler):
    def get(self):
        self.write("plain")


@contextmanager
def serving(origins=None, *, configured=True, **settings):
    routes = ModelHive.routes_for(OriginNote)
    if configured:
        routes = AuthHive.routes_for([Credulous()]) + routes
    if origins is not None:
        settings["hive_cors_origins"] = origins
    application = Application(
        [*routes, ("/plain", PlainHandler)], default_handler_class=NotFoundHandler, **settings
    )
    if configured:
        AuthHive.configure(application, secret_key="k" * 32, write_rate="1000/minute")
    with serve(application) as client:
        yield client


@pytest.fixture
def note(mongomock_database):
    return OriginNote(text="x").save()


def cors(reply):
    return {name for name in reply.headers if name.lower().startswith("access-control-")}


def asked_of(client, note, headers):
    """Answers of all kinds: what there is, errors of all kinds, and the routes of sign-in."""
    path = f"/origin_note/{note.id}"
    requests = [
        ("GET", "/origin_note"), ("GET", path), ("HEAD", path), ("OPTIONS", path), ("PUT", path, "{}"),
        ("POST", "/origin_note", "{}"), ("POST", "/origin_note", "{"), ("GET", "/nothing"), ("TRACE", path),
        ("GET", "/origin_note/nothing"), ("GET", f"{path}?a=b"), ("GET", "/auth/me/"), ("GET",
        "/auth/signin/"),
        ("GET", "/auth/signin/nobody/"), ("GET", "/auth/callback/nobody/"), ("DELETE", "/auth/me/"),
        ("POST", "/auth/signin/", "{}"), ("POST", "/auth/signout/"),
    ]  # fmt: skip
    typed = headers | {"Content-Type": "application/json"}
    replies = [
        client.request(method, to, body="".join(body), headers=typed) for method, to, *body in requests
    ]
    return [*replies, client.get("/auth/me/", headers=headers | {"Authorization": "Bearer x"})]


# CORS


@pytest.mark.parametrize("origins", [None, [], ()], ids=repr)
@pytest.mark.parametrize("origin", [FRIEND, STRANGER, "null", "*", "http://localhost"])
@pytest.mark.parametrize("configured", [True, False], ids=["with sign-in", "without"])
def test_without_the_setting_no_answer_says_a_word_of_cors(note, origins, origin, configured):
    with serving(origins, configured=configured) as client:
        headers = {"Origin": origin}
        preflight = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
        replies = asked_of(client, note, headers)
        replies += [client.request("OPTIONS", "/origin_note", headers=headers | preflight)]
        assert [cors(reply) for reply in replies] == [set()] * len(replies)


def test_pages_of_a_listed_origin_may_read_every_answer(note):
    with serving([FRIEND]) as client:
        for reply in asked_of(client, note, {"Origin": FRIEND}):
            assert reply.headers.get_all("Access-Control-Allow-Origin") == [FRIEND]
            assert reply.headers.get_all("Access-Control-Allow-Credentials") == ["true"]
            exposed = set(reply.headers["Access-Control-Expose-Headers"].split(", "))
            assert exposed == {
                "Link", "Location", "Preference-Applied", "Retry-After", "X-Created-Id", "X-Request-ID",
                "X-Total-Count",
            }  # fmt: skip
            assert "Origin" in reply.headers["Vary"].split(", ")


@pytest.mark.parametrize(
    "origin",
    [STRANGER, "null", "", "*", FRIEND + "/", FRIEND + ":443", FRIEND + ".evil.example",
     "http://app.example.org",
     "https://example.org", "https://evil.app.example.org", f"{FRIEND}, {STRANGER}", "app.example.org",
     "https://appxexample.org"],
)  # fmt: skip
def test_pages_of_other_origins_read_nothing(note, origin):
    with serving([FRIEND, "http://localhost:3000"]) as client:
        for reply in asked_of(client, note, {"Origin": origin}):
            assert cors(reply) == set()
            assert "Origin" in reply.headers["Vary"].split(", ")


def test_answer_says_that_it_varies_to_who_sends_no_origin_too(note):
    with serving([FRIEND]) as client:
        for reply in asked_of(client, note, {}):
            assert cors(reply) == set()
            assert "Origin" in reply.headers["Vary"].split(", ")


@pytest.mark.parametrize("origin", [STRANGER, FRIEND, "null"])
def test_every_page_may_read_where_all_are_allowed_but_never_with_cookies(note, origin):
    with serving(["*"]) as client:
        for reply in asked_of(client, note, {"Origin": origin}):
            assert reply.headers.get_all("Access-Control-Allow-Origin") == ["*"]
            assert "Access-Control-Allow-Credentials" not in reply.headers


def test_listed_origin_beside_all_others_is_the_only_one_with_cookies(note):
    with serving(["*", FRIEND]) as client:
        for origin, allowed, credentials in (
            (FRIEND, FRIEND, "true"),
            (STRANGER, "*", None),
            ("null", "*", None),
        ):
            reply = client.get("/auth/me/", headers={"Origin": origin})
            assert reply.headers["Access-Control-Allow-Origin"] == allowed
            assert reply.headers["Access-Control-Allow-Credentials"] == credentials


@pytest.mark.parametrize("path", ["/origin_note", "/origin_note/{id}", "/origin_note/{id}/x", "/auth/signin/",
                                  "/auth/me/", "/auth/signout/", "/nothing"])  # fmt: skip
@pytest.mark.parametrize("origins", [[FRIEND], ["*"]], ids=["listed", "all"])
def test_preflight_is_answered_without_session_and_touches_nothing(note, path, origins):
    asked = {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "content-type, x-a",
    }
    with serving(origins) as client, recorded(*signals.LIFECYCLE, signals.authorized_user) as heard:
        reply = client.request("OPTIONS", path.format(id=note.id), headers={"Origin": FRIEND} | asked)
    assert (reply.status, reply.body) == (204, b"")
    assert set(reply.headers["Access-Control-Allow-Methods"].split(", ")) == {
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE",
    }  # fmt: skip
    assert reply.headers["Access-Control-Allow-Headers"] == "content-type, x-a"
    assert int(reply.headers["Access-Control-Max-Age"]) <= 3600
    assert "Set-Cookie" not in reply.headers
    assert heard == []
    assert OriginNote.objects.count() == 1


def test_preflight_of_a_stranger_is_an_ordinary_request(note):
    with serving([FRIEND]) as client:
        headers = {"Origin": STRANGER, "Access-Control-Request-Method": "PUT"}
        reply = client.request("OPTIONS", "/origin_note", headers=headers)
        assert (reply.status, cors(reply)) == (401, set())


@pytest.mark.parametrize("header", ["Origin", "Access-Control-Request-Method"])
def test_options_with_half_of_a_preflight_needs_a_session_as_ever(note, header):
    with serving([FRIEND]) as client:
        headers = {header: FRIEND if header == "Origin" else "GET"}
        assert client.request("OPTIONS", "/origin_note", headers=headers).status == 401


def test_what_a_preflight_asks_for_cannot_break_the_answer(note):
    headers = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "ü\t, \xff",
    }
    with serving([FRIEND]) as client:
        assert client.request("OPTIONS", "/origin_note", headers=headers).status in (204, 400)


WRONG = ["https://app.example.org", [FRIEND + "/"], [FRIEND, "app.example.org"], ["null"],
         ["https://*.example.org"],
         [None], [[]], None, 7, [""], ["*.example.org"], ["ftp://a"],
          ["HTTPS://app.example.org/x"]]  # fmt: skip


@pytest.mark.parametrize("origins", WRONG, ids=repr)
def test_wrong_setting_is_logged_and_opens_nothing(note, origins, caplog):
    application = Application(ModelHive.routes_for(OriginNote), hive_cors_origins=origins)
    with serve(application) as client:
        for origin in (FRIEND, STRANGER, "null", "h"):
            reply = client.get("/origin_note", headers={"Origin": origin})
            assert (reply.status, cors(reply)) == (200, set())
    assert "The setting hive_cors_origins is not understood" in caplog.text
    assert {record.levelno for record in caplog.records if record.name == "hive"} == {logging.ERROR}


# Headers that keep answers safe


@pytest.mark.parametrize("configured", [True, False], ids=["with sign-in", "without"])
def test_every_answer_has_the_headers_that_keep_it_safe(note, configured):
    with serving(configured=configured) as client:
        for reply in asked_of(client, note, {}):
            assert {name: reply.headers.get_all(name) for name in SECURITY} == {
                name: [value] for name, value in SECURITY.items()
            }
            assert "Server" not in reply.headers
            assert "Strict-Transport-Security" not in reply.headers


@pytest.mark.parametrize("path", ["/origin_note", "/auth/me/", "/nothing"])
def test_crash_has_them_too(note, path, caplog):
    def crash(sender):
        raise ZeroDivisionError

    with (
        signals.pre_get_user_details.connected_to(crash),
        signals.pre_get_list.connected_to(crash),
        serving() as client,
    ):
        cookie = client.post("/auth/signin/", json={"id": "a"}).headers["Set-Cookie"].partition(";")[0]
        reply = client.get(path, headers={"Cookie": cookie})
    assert reply.status == (404 if path == "/nothing" else 500)
    assert {name: reply.headers[name] for name in SECURITY} == SECURITY
    assert "Server" not in reply.headers


def test_handlers_of_others_are_left_alone(mongomock_database):
    with serving([FRIEND]) as client:
        reply = client.get("/plain", headers={"Origin": FRIEND})
    assert cors(reply) == set()
    assert "Tornado" in reply.headers["Server"]
    assert not SECURITY.keys() & set(reply.headers)


def test_answers_for_who_asks_are_kept_by_no_other(note):
    with serving() as client:
        for path in ("/origin_note", f"/origin_note/{note.id}", "/origin_note/nothing"):
            assert client.get(path).headers["Cache-Control"] == "private, no-cache"
        for path in ("/auth/me/", "/auth/signin/", "/auth/signin/x/", "/auth/callback/x/", "/auth/signout/"):
            assert client.get(path).headers["Cache-Control"] == "no-store"
    with serving(configured=False) as client:
        assert "Cache-Control" not in client.get("/origin_note").headers


# Where a browser may be sent

PIECES = st.sampled_from(
    ["/", "//", "\\", ".", "..", "@", ":", "evil.example", "http:", "https://", "javascript:", "%2f", "%5c",
     "\t", "\n", "\r", " ", "\0", "?", "#", "a", "ü", "\u2028", "\uff0f", "&", ";"]
)  # fmt: skip
TARGETS = st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=8).map("".join))


@given(TARGETS)
def test_whatever_a_browser_is_told_it_stays_with_the_application(target):
    base = "https://app.example.org/auth/callback/"
    try:
        path = own_path(target)
    except BadRequest:
        return
    assert path == target
    # as browsers read it (WHATWG URL): tabs and line ends are dropped, backslashes are slashes
    for seen in (path, path.replace("\\", "/"), "".join(path.split()), path.strip("\0 ")):
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
def test_what_is_no_path_of_the_application_is_refused_as_next(mongomock_database, target):
    with pytest.raises(BadRequest):
        own_path(target)
    with serving() as client:
        headers = {"Sec-Fetch-Site": "same-origin"}
        quoted = "".join(f"%{byte:02X}" for byte in target.encode())
        reply = client.post(f"/auth/signout/?next={quoted}", headers=headers)
    assert (reply.status, reply.headers["Location"]) == (400, None)


@pytest.mark.parametrize(
    "target",
    ["/", "/a", "/a/b?c=d&e=%20#f", "/a//b", "/@evil", "/:80", "/a b", "/" + "a" * (LONGEST_PATH - 1)],
    ids=lambda target: target[:12],
)
def test_path_of_the_application_is_taken_as_it_is(mongomock_database, target):
    assert own_path(target) == target
    with serving() as client:
        quoted = "".join(f"%{byte:02X}" for byte in target.encode())
        reply = client.post(f"/auth/signout/?next={quoted}", headers={"Sec-Fetch-Site": "same-origin"})
    assert (reply.status, reply.headers["Location"]) == (303, target)


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
