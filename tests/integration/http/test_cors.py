"""Who may read answers from elsewhere, where browsers may be sent, and what keeps answers safe."""

from contextlib import contextmanager
from urllib.parse import quote

import mongoengine as me
import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, ModelHive, NotFoundHandler, Provider, signals
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


@pytest.mark.parametrize(
    ("origins", "origin", "configured"),
    [(None, FRIEND, True), ([], "null", True), (None, "*", False)],
    ids=["with sign-in", "empty", "without sign-in"],
)
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


@pytest.mark.parametrize("origin", [STRANGER, "", f"{FRIEND}, {STRANGER}"])
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


def test_every_page_may_read_where_all_are_allowed_but_never_with_cookies(note):
    with serving(["*"]) as client:
        for reply in asked_of(client, note, {"Origin": STRANGER}):
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


@pytest.mark.parametrize(
    ("origins", "path"),
    [
        *(([FRIEND], path) for path in ("/origin_note", "/origin_note/{id}", "/origin_note/{id}/x")),
        *(([FRIEND], path) for path in ("/auth/signin/", "/auth/me/", "/auth/signout/", "/nothing")),
        (["*"], "/origin_note/{id}"),
    ],
    ids=str,
)
def test_preflight_is_answered_without_session_and_touches_nothing(note, origins, path):
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


@pytest.mark.parametrize("origins", ["https://app.example.org", [FRIEND + "/"], None], ids=repr)
def test_wrong_setting_is_logged_and_opens_nothing(mongomock_database, origins, caplog):
    application = Application(ModelHive.routes_for(OriginNote), hive_cors_origins=origins)
    with serve(application) as client:
        reply = client.get("/origin_note", headers={"Origin": FRIEND})
    assert (reply.status, cors(reply)) == (200, set())
    assert "The setting hive_cors_origins is not understood" in caplog.text


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


def signed_out(target):
    """The answer to a sign-out that asks to go on there."""
    with serving() as client:
        headers = {"Sec-Fetch-Site": "same-origin"}
        return client.post(f"/auth/signout/?next={quote(target, safe='')}", headers=headers)


@pytest.mark.parametrize("target", ["", "https://evil.example", "//evil.example", "/\r\nSet-Cookie: a", "/ü"])
def test_what_is_no_path_of_the_application_is_refused_as_next(mongomock_database, target):
    reply = signed_out(target)
    assert (reply.status, reply.headers["Location"]) == (400, None)


@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e=%20#f"])
def test_path_of_the_application_is_taken_as_next(mongomock_database, target):
    reply = signed_out(target)
    assert (reply.status, reply.headers["Location"]) == (303, target)
