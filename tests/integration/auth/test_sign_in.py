"""Sign-in over HTTP: the routes, providers of one's own, signals, and what is told to nobody."""

import base64
import json
import logging
from functools import partial
from urllib.parse import quote

import pytest
from tornado.web import Application, RequestHandler

from hive import AuthHive, NotFoundHandler, OpenIDProvider, Provider, authenticated
from hive.errors import Forbidden, Unauthorized
from hive.signals import authorized_user, pre_get_user_details, unauthorized_user
from hive.testing import recorded, serve
from tests.support.hostile import CLIENT_ID, CLIENT_SECRET, Browser, says

PROBLEM = "application/problem+json"
KEY = "the secret key of this application, which is long"
PASSWORD = "the password of Ann"
START, CALLBACK = "/auth/signin/openid/", "/auth/callback/openid/"


class Club(Provider):
    """Believes whatever comes with the password."""

    async def authenticate(self, credentials, handler):
        if credentials.get("password") != "sesame":
            return None
        return {name: value for name, value in credentials.items() if name != "password"}


class Gives(Provider):
    """Gives, or raises, what it was made with."""

    def __init__(self, value):
        self.value = value

    async def authenticate(self, credentials, handler):
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


class Secret(RequestHandler):
    @authenticated
    def get(self):
        self.write(self.current_user)


def application(*providers, prefix="", **how):
    routes = [*AuthHive.routes_for(providers, prefix), (r"/secret", Secret)]
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key=KEY, **{"signin_rate": None, "write_rate": None} | how)
    return made


@pytest.fixture
def api(hostile, mongomock_database):
    openid = OpenIDProvider(hostile.url, CLIENT_ID, CLIENT_SECRET)
    with serve(application(Club(), openid)) as client:
        yield client


@pytest.fixture
def browser(api):
    return Browser(api)


def ann(browser, **how):
    """Sign in at the club."""
    credentials = {"provider": "club", "password": "sesame", "id": "ann"}
    return browser.post("/auth/signin/", json=credentials | how)


def is_refused(reply, status):
    return (reply.status, reply.json["status"], reply.headers["Content-Type"]) == (status, status, PROBLEM)


# What the routes answer


def test_nobody_is_signed_in_at_first(browser):
    assert browser.get("/auth/me/").json == {"authenticated": False}
    assert browser.cookies == {}


def test_who_signs_in_is_told_who_they_are_until_they_sign_out(browser):
    assert ann(browser, roles=["admin"]).json == {"authenticated": True}
    told = browser.get("/auth/me/")
    user = {"id": "ann", "roles": ["admin"], "provider": "club"}
    assert told.json == {"authenticated": True, "userData": user}
    assert told.headers["Cache-Control"] == "no-store"
    assert browser.get("/secret").json == user
    kept = dict(browser.cookies)
    assert browser.post("/auth/signout/").json == {"authenticated": False}
    assert browser.cookies == {}
    assert Browser(browser.client, kept).get("/auth/me/").json == {"authenticated": False}
    assert browser.post("/auth/signout/").json == {"authenticated": False}


def test_the_providers_are_told_with_the_addresses_of_their_redirects(browser):
    told = browser.get("/auth/signin/").json
    assert told["providers"] == {"club": None, "openid": "/auth/signin/openid/"}
    assert len(told["nonce"]) >= 32
    assert told["nonce"] != browser.get("/auth/signin/").json["nonce"]


def test_a_session_cookie_is_for_this_host_and_no_script(browser):
    (line,) = ann(browser).headers.get_all("Set-Cookie")
    value, *attributes = line.split("; ")
    assert value.startswith("__Host-session=")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert not [one for one in attributes if one.lower().startswith("domain")]


ROUTES = {
    "/auth/me/": {"GET", "HEAD"},
    "/auth/signin/": {"GET", "HEAD", "POST"},
    START: {"GET"},
    CALLBACK: {"GET"},
    "/auth/signout/": {"POST"},
}


@pytest.mark.parametrize("path", ROUTES)
def test_other_methods_are_not_allowed_and_the_answer_tells_which_are(browser, path):
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"):
        reply = browser.request(method, path)
        assert (reply.status == 405) == (method not in ROUTES[path]), method
        if reply.status == 405:
            assert reply.headers["Content-Type"] == PROBLEM
            assert ROUTES[path] <= set(reply.headers["Allow"].split(", ")) <= ROUTES[path] | {"OPTIONS"}
    options = browser.request("OPTIONS", path)
    assert options.status == 204
    assert ROUTES[path] <= set(options.headers["Allow"].split(", "))


@pytest.mark.parametrize(("prefix", "end"), [("", "/"), ("/api/v1", ""), ("api", "/")])
def test_the_routes_have_the_prefix_and_work_without_the_last_slash(hostile, mongomock_database, prefix, end):
    openid = OpenIDProvider(hostile.url, CLIENT_ID)
    with serve(application(openid, prefix=prefix)) as client:
        root = "/" + prefix.strip("/") if prefix else ""
        browser = Browser(client)
        addresses = browser.get(f"{root}/auth/signin{end}").json["providers"]
        assert addresses == {"openid": f"{root}/auth/signin/openid/"}
        callback = browser.start(addresses["openid"].removesuffix("/") + end)
        assert callback.startswith(f"{browser.origin}{root}/auth/callback/openid/?")
        assert browser.get(callback).status == 302
        assert browser.get(f"{root}/auth/me{end}").json["authenticated"] is True
        assert browser.post(f"{root}/auth/signout{end}").status == 200
        assert browser.get(f"{root}/auth/me/x").status == 404


@pytest.mark.parametrize("name", ["club", "Openid", "openid%00", "%2e%2e", "a" * 2000])
def test_a_redirect_by_an_unknown_provider_or_one_without_pages_is_404(browser, name):
    for path in (f"/auth/signin/{name}/", f"/auth/callback/{name}/?code=a&state=b"):
        assert browser.get(path).status == 404


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"body": b""}, 415),
        ({"body": b"", "headers": {"Content-Type": "application/json"}}, 400),
        ({"body": b"[]", "headers": {"Content-Type": "application/json"}}, 400),
        ({"body": b'{"provider":', "headers": {"Content-Type": "application/json"}}, 400),
        ({"body": b"[" * 9999, "headers": {"Content-Type": "application/json"}}, 400),
        ({"body": b"\xff", "headers": {"Content-Type": "application/json"}}, 400),
        ({"body": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"json": {}}, 400),
        ({"json": {"provider": ["club"], "password": "sesame", "id": "x"}}, 400),
        ({"json": {"provider": "nobody", "password": "sesame", "id": "x"}}, 400),
        ({"json": {"provider": "club", "password": "sesame", "id": "x" * 2**17}}, 413),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_sign_in_that_makes_no_sense_is_refused(browser, how, status):
    assert is_refused(browser.post("/auth/signin/", **how), status)
    assert browser.cookies == {}


def test_a_form_signs_in_too_and_one_provider_needs_no_name(mongomock_database):
    with serve(application(Club())) as client:
        browser = Browser(client)
        assert browser.post("/auth/signin/", form={"password": "sesame", "id": "ann"}).status == 200
        assert browser.user["id"] == "ann"


# Foreign pages

FOREIGN = [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_a_foreign_page_signs_nobody_in(browser, headers):
    credentials = {"provider": "club", "password": "sesame", "id": "eve"}
    for how in ({"json": credentials}, {"form": credentials}):
        reply = browser.post("/auth/signin/", headers=headers, **how)
        assert is_refused(reply, 403)
    assert browser.cookies == {}


@pytest.mark.parametrize("headers", [*FOREIGN, None], ids=str)
def test_a_foreign_page_signs_nobody_out(browser, headers):
    ann(browser)
    if headers is None:  # which says nothing of where it comes from
        cookie = {"Cookie": f"__Host-session={browser.session}"}
        reply = browser.client.post("/auth/signout/", headers=cookie)
    else:
        reply = browser.post("/auth/signout/", headers=headers)
    assert is_refused(reply, 403)
    assert "Set-Cookie" not in reply.headers
    assert browser.user["id"] == "ann"


def test_a_client_that_is_no_browser_needs_no_origin_to_sign_in(api):
    reply = api.post("/auth/signin/", json={"provider": "club", "password": "sesame", "id": "ann"})
    assert reply.status == 200


# Where the browser goes in the end


@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e=f#g", "/a%20b"])
def test_the_browser_goes_to_a_path_of_the_application_in_the_end(browser, target):
    reply = browser.get(browser.start(f"{START}?next={quote(target, safe='')}"))
    assert (reply.status, reply.headers["Location"]) == (302, target)
    out = browser.post(f"/auth/signout/?next={quote(target, safe='')}")
    assert (out.status, out.headers["Location"]) == (303, target)
    assert browser.user is None


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\r\nSet-Cookie: a=b", "", "{origin}/"]
)
def test_the_browser_goes_nowhere_else(browser, target):
    ann(browser)
    query = "?next=" + quote(target.format(origin=browser.origin), safe="")
    for reply in (browser.get(START + query), browser.post("/auth/signout/" + query)):
        assert is_refused(reply, 400)
        assert "Location" not in reply.headers
    assert browser.user["id"] == "ann"


@pytest.mark.parametrize(
    "query", ["?next=/a&next=/b", "?next=/a&next=//evil.example", "?nxt=/a", "?next=%FF"]
)
def test_what_is_no_next_is_refused(browser, query):
    assert is_refused(browser.get(START + query), 400)
    assert is_refused(browser.post("/auth/signout/" + query), 400)


@pytest.mark.parametrize(("letter", "length"), [("a", 1000), ('"', 1000), ("%", 1000), ("a", 2000)])
def test_a_path_that_is_taken_fits_its_cookie(browser, letter, length):
    there = browser.get(f"{START}?next=/{quote(letter * (length - 1), safe='')}")
    cookies = [line.split(";")[0] for line in there.headers.get_all("Set-Cookie", [])]
    assert there.status == 302 or (there.status, length) == (400, 2000)
    assert not [cookie for cookie in cookies if len(cookie) > 4096]


# Session fixation


def test_the_session_changes_at_each_sign_in_and_the_old_one_is_dead(browser):
    ways = [partial(ann, browser), lambda: browser.get(browser.start()), partial(ann, browser, id="bob")]
    before = []
    for sign_in in ways:
        assert sign_in().status in (200, 302)
        assert browser.session not in before
        for session in before:
            assert Browser(browser.client, {"__Host-session": session}).user is None
        before.append(browser.session)
    assert browser.user["id"] == "bob"


def test_a_session_that_was_planted_does_not_become_that_of_who_signs_in(browser):
    planted = Browser(browser.client)
    ann(planted, id="eve")
    browser.cookies["__Host-session"] = planted.session
    ann(browser)
    assert browser.user["id"] == "ann"
    assert planted.user is None


@pytest.mark.parametrize("value", ["chosen", "x" * 9000])
def test_a_session_that_the_client_makes_up_is_none(browser, value):
    browser.cookies["__Host-session"] = value
    assert browser.get("/auth/me/").json == {"authenticated": False}
    ann(browser)
    assert browser.session not in (value, None)


def test_a_sign_in_that_fails_leaves_the_session_that_there_was(browser):
    ann(browser)
    session = browser.session
    assert ann(browser, password="wrong").status == 401
    assert ann(browser, more="x" * 9000).status == 500
    assert browser.get(browser.start() + "x").status == 401
    with authorized_user.connected_to(refusal(Forbidden())):
        assert ann(browser, id="bob").status == 403
    with authorized_user.connected_to(answer):
        assert ann(browser, id="bob").status == 418
    assert browser.session == session
    assert browser.user["id"] == "ann"


# Providers of one's own


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        (Unauthorized(), 401),
        (Unauthorized("The account is locked."), 401),
        (Forbidden("Not from there."), 403),
        (RuntimeError("postgres://user:password@host"), 500),
        ({"id": None}, 500),
        ({"name": "Ann"}, 500),
        ("ann", 500),
        (["ann"], 500),
        ({"id": "ann", "more": "x" * 4000}, 500),
        ({"id": "ann", "more": object}, 200),
    ],
    ids=lambda value: f"{value!r} {getattr(value, 'detail', '')}",
)
def test_what_a_provider_gives_signs_in_or_is_answered(mongomock_database, given, status):
    with serve(application(Gives(given))) as client, recorded(unauthorized_user) as heard:
        browser = Browser(client)
        reply = browser.post("/auth/signin/", json={})
        assert reply.status == status
        assert (browser.session is None) == (status != 200)
        assert b"postgres" not in reply.body
        assert [one.sender for one in heard] == ["gives"] * (status == 401)
        if getattr(given, "detail", None):
            assert reply.json["detail"] == given.detail


# Signals


def both_kinds(function):
    async def later(sender, **arguments):
        function(sender, **arguments)

    return [function, later]


@pytest.mark.parametrize("kind", [0, 1], ids=["sync", "async"])
def test_what_receivers_of_a_sign_in_change_is_in_the_session(browser, kind):
    def change(sender, user_data, provider_name, handler):
        assert sender == provider_name == "club"
        assert handler.request.path == "/auth/signin/"
        user_data["roles"] = ["admin"]
        user_data["id"] = f"club:{user_data['id']}"
        del user_data["name"]

    with authorized_user.connected_to(both_kinds(change)[kind], sender="club"):
        ann(browser, name="Ann")
    user = {"id": "club:ann", "roles": ["admin"], "provider": "club"}
    assert browser.user == browser.get("/secret").json == user


@pytest.mark.parametrize("kind", [0, 1], ids=["sync", "async"])
def test_what_receivers_of_the_details_add_is_told_and_kept_nowhere(browser, kind):
    def add(sender, user_data, provider_name, handler):
        assert sender == provider_name == "club"
        user_data["theme"], user_data["large"] = "dark", "x" * 9000
        user_data["roles"].append("admin")

    ann(browser, roles=["reader"])
    with pre_get_user_details.connected_to(both_kinds(add)[kind], sender="club"):
        assert browser.user["theme"] == "dark"
        assert browser.user["roles"] == ["reader", "admin"]
    user = {"id": "ann", "roles": ["reader"], "provider": "club"}
    assert browser.user == browser.get("/secret").json == user


def refusal(error):
    def refuse(sender):
        raise error

    return refuse


def answer(sender, handler):
    handler.set_status(418)
    handler.finish("later")


@pytest.mark.parametrize(
    ("receiver", "status", "way"),
    [
        (refusal(Forbidden()), 403, "posted"),
        (refusal(Unauthorized()), 401, "redirect"),
        (refusal(RuntimeError("x")), 500, "posted"),
        (answer, 418, "posted"),
        (answer, 418, "redirect"),
    ],
    ids=["forbidden", "unauthorized", "failing", "answering", "answering after a redirect"],
)
def test_a_receiver_ends_a_sign_in_without_a_session(browser, receiver, status, way):
    with authorized_user.connected_to(receiver):
        reply = ann(browser) if way == "posted" else browser.get(browser.start())
        assert reply.status == status
    assert browser.session is None
    assert browser.user is None


def test_a_receiver_ends_the_details(browser):
    ann(browser)
    with pre_get_user_details.connected_to(refusal(Forbidden())):
        assert is_refused(browser.get("/auth/me/"), 403)
    with pre_get_user_details.connected_to(answer):
        assert browser.get("/auth/me/").status == 418
    assert browser.user["id"] == "ann"


def test_the_signals_of_sign_in_are_sent_by_the_name_of_the_provider(browser):
    with recorded(authorized_user, unauthorized_user, pre_get_user_details) as heard:
        browser.get("/auth/me/")
        ann(browser, password="wrong")
        browser.sign_in("a.b.c", provider="openid")
        ann(browser)
        browser.get("/auth/me/")
        browser.get(browser.start())
        browser.post("/auth/signout/")
    assert [(one.name, one.sender) for one in heard] == [
        ("unauthorized_user", "club"),
        ("unauthorized_user", "openid"),
        ("authorized_user", "club"),
        ("pre_get_user_details", "club"),
        ("authorized_user", "openid"),
    ]
    assert [set(one.arguments) for one in heard[:3]] == [
        {"provider_name", "handler"},
        {"provider_name", "handler"},
        {"provider_name", "user_data", "handler"},
    ]


def test_a_receiver_of_a_failed_sign_in_lets_nobody_in(browser):
    def let_in(sender, handler):
        handler.current_user = {"id": "eve"}

    with unauthorized_user.connected_to(let_in), unauthorized_user.connected_to(refusal(KeyError("x"))):
        assert is_refused(ann(browser, password="wrong"), 401)
    assert browser.user is None


# What is nobody's business


def secrets_of(hostile):
    """Whatever must not be seen, in all its spellings: the secrets, and the parts that hold them."""
    given = [CLIENT_SECRET, KEY, PASSWORD, *hostile.secrets]
    parts = [part for one in given for part in one.split(".") if len(part) > 12]
    return {spelling for part in parts for spelling in (part, quote(part, safe=""), b64(part))}


def b64(text):
    return base64.b64encode(text.encode()).decode().rstrip("=")


class Vault(Provider):
    """Fails where no password is given."""

    async def authenticate(self, credentials, handler):
        return {"id": "ann"} if credentials["password"] == PASSWORD else None


def echo(status, request):
    """An answer that has all that was asked, even in its first line."""
    told = " ".join((*request.form.values(), request.headers["Authorization"]))
    body = json.dumps({"error": told, "error_description": told}).encode()
    request.send_response(status, told)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def test_no_answer_no_cookie_and_no_log_has_a_token_a_code_or_a_secret(hostile, mongomock_database, caplog):
    caplog.set_level(logging.DEBUG)
    replies = []
    hostile.claims = {"name": None}
    openid = OpenIDProvider(hostile.url, CLIENT_ID, CLIENT_SECRET)
    with serve(application(openid, Vault())) as client:
        browser = Browser(client)

        def seen(reply):
            replies.append(f"{reply.headers}\n{reply.body.decode()}")
            return reply

        def posted(token, **how):
            hostile.secrets.append(token)
            seen(browser.sign_in(token, provider="openid"))
            seen(browser.get("/auth/me/", headers={"Authorization": f"Bearer {token}"}))

        def redirected(**how):
            callback = browser.start()
            vars(hostile).update(how)
            reply = seen(browser.get(callback))
            hostile.instead, hostile.tokens, hostile.profile = {}, {}, {}
            seen(browser.get(callback))
            seen(browser.get("/auth/me/"))
            return reply.status

        assert redirected() == 302
        assert redirected(instead={"/token": says(400, {"error": "invalid_grant"})}) == 401
        assert redirected(instead={"/token": says(500, b"")}) == 503
        assert redirected(instead={"/token": says(200, b"no JSON")}) == 503
        assert redirected(instead={"/userinfo": says(401, {})}) == 503
        assert redirected(instead={"/token": partial(echo, 400)}) == 401
        assert redirected(instead={"/token": partial(echo, 500)}) == 503
        assert redirected(profile={"sub": "eve"}) == 401
        assert redirected(tokens={"id_token": "a.b.c"}) == 401
        posted(hostile.token())
        for bad in (
            {"aud": "another"},
            {"exp": 1},
            {"iss": "https://a.example"},
            {"header": {"alg": "none"}},
        ):
            posted(hostile.token(**bad))
        posted(hostile.token()[:-9] + "A" * 9)
        hostile.instead = {"/jwks": says(500, b"")}
        posted(hostile.token(header={"kid": "unknown"}))
        for credentials in ({"password": PASSWORD}, {"password": PASSWORD + "x"}, {}):
            seen(browser.post("/auth/signin/", json={"provider": "vault", **credentials}))
        seen(browser.post("/auth/signout/"))
        with authorized_user.connected_to(refusal(RuntimeError("the database is gone"))):
            hostile.instead = {}
            assert redirected() == 500
            posted(hostile.token())
    logged = [logging.Formatter().format(record) for record in caplog.records]
    assert {"tornado.access", "hive"} <= {record.name for record in caplog.records}
    for secret in secrets_of(hostile):
        assert not [line for line in logged if secret in line], secret
        assert not [reply for reply in replies if secret in reply], secret


def test_a_session_has_no_token_of_the_provider(hostile, browser):
    hostile.claims = {"name": None, "more": "of the token"}
    assert browser.get(browser.start()).status == 302
    payload = browser.session.split(".")[1]
    session = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert set(session) == {"jti", "provider", "user", "auth_time", "iat", "exp", "aud"}
    assert set(session["user"]) == {"id", "name", "email", "provider"}


def test_a_callback_that_is_refused_keeps_its_code_out_of_the_log(browser, caplog):
    caplog.set_level(logging.DEBUG)
    for path in ("/auth/callback/nobody/", CALLBACK, CALLBACK.rstrip("/"), START):
        for method in ("GET", "HEAD", "POST", "BREW"):
            reply = browser.request(method, f"{path}?code=the-code-of-ann&state=a")
            assert reply.status in (400, 401, 404, 405)
    assert "tornado.access" in {record.name for record in caplog.records}
    assert "the-code-of-ann" not in caplog.text
