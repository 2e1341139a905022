"""Handlers that need a session, and the routes of sign-in."""

import asyncio
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import mongoengine as me
import pytest
from tornado.web import Application, HTTPError, RequestHandler, authenticated as by_tornado

from hive import (
    AuthHive,
    ModelHandler,
    ModelHive,
    NotFoundHandler,
    Provider,
    authenticated,
)
from hive.auth.provider import Redirecting
from hive.resource import path_of
from hive.serving import ProblemHandler
from hive.testing import serve

KEY = "k" * 32


class AuthHiveNote(me.Document):
    text = me.StringField()


class Credulous(Provider):
    """Believes whatever is posted, and any bearer token but ``bad``."""

    async def authenticate(self, credentials, handler):
        return credentials

    async def bearer(self, token):
        return None if token == "bad" else ({"id": token}, 2**32)


class Elsewhere(Redirecting):
    """Sends browsers to itself."""

    async def authorization_url(self, redirect_uri, state, nonce, verifier):
        return redirect_uri


class Methods(RequestHandler):
    """One way to write a handler for each verb."""

    @authenticated
    def get(self, name=None):
        """Tells who asks."""
        self.write({"user": self.current_user, "name": name})

    @authenticated
    async def post(self, name):
        await asyncio.sleep(0)
        self.write({"user": self.current_user, "name": name})

    @authenticated
    def put(self, name):
        return self.later(name)

    async def later(self, name):
        await asyncio.sleep(0)
        self.write({"user": self.current_user, "name": name})

    @authenticated
    async def delete(self, name):
        raise HTTPError(418)

    @authenticated
    @by_tornado
    def patch(self, name):
        self.write({"user": self.current_user, "name": name})


class Bare(RequestHandler):
    def initialize(self, log=None):
        self.log = log

    def answer(self, *path, **named):
        if self.log is not None:
            self.log.append(("verb", self.current_user))
        self.write({"user": self.current_user, "path": path, "named": named})

    get = post = answer


@authenticated
class Whole(Bare):
    """Needs a session."""


@authenticated
class Prepared(Bare):
    def prepare(self):
        self.log.append(("prepare", self.current_user))


@authenticated
class PreparedLater(Bare):
    async def prepare(self):
        await asyncio.sleep(0)
        self.log.append(("prepare", self.current_user))


class Below(Whole):
    pass


@authenticated
class OwnModelHandler(ModelHandler):
    pass


class OwnProblemHandler(ProblemHandler):
    @authenticated
    async def get(self):
        self.write(self.current_user)


class Public(RequestHandler):
    async def get(self):
        self.write({"user": await AuthHive.user_of(self), "again": self.current_user})

    async def post(self):
        self.write({"user": await AuthHive.user_of(self)})


LOG = []
ROUTES = [
    ("/methods/([a-z]+)", Methods), ("/whole/(.)/(.)", Whole), ("/named/(?P<a>.)", Whole), ("/bare", Bare),
    ("/prepared", Prepared, {"log": LOG}), ("/later", PreparedLater, {"log": LOG}), ("/below", Below),
    ("/problem", OwnProblemHandler), ("/public", Public),
]  # fmt: skip
DECORATED = ["/methods/a", "/whole/a/b", "/named/a", "/prepared", "/later", "/below", "/problem"]


def application(**settings):
    routes = [*AuthHive.routes_for([Credulous(), Elsewhere()]), *ModelHive.routes_for(AuthHiveNote), *ROUTES]
    return Application(routes, default_handler_class=NotFoundHandler, **settings)


@contextmanager
def serving(*, configured=True, **settings):
    made = application(**settings)
    if configured:
        AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        yield client


@pytest.fixture
def client(mongomock_database):
    LOG.clear()
    with serving() as client:
        yield client


def sign_in(client, **user):
    reply = client.post("/auth/signin/", json={"provider": "credulous", "id": "ann"} | user)
    return {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}


def own(client):
    return {"Origin": f"http://127.0.0.1:{client.port}"}


ANN = {"id": "ann", "provider": "credulous"}


# @hive.authenticated


@pytest.mark.parametrize("path", DECORATED)
def test_without_a_session_a_decorated_handler_is_401(client, path):
    for headers in ({}, {"Cookie": "__Host-session=nonsense"}, {"Authorization": "Bearer bad"}):
        reply = client.get(path, headers=headers)
        assert (reply.status, reply.json["status"], reply.json["title"]) == (401, 401, "Unauthorized")
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert LOG == []


@pytest.mark.parametrize("path", DECORATED)
def test_with_a_session_it_is_what_it_was(client, path):
    for headers, user in ((sign_in(client), ANN), ({"Authorization": "Bearer bob"}, ANN | {"id": "bob"})):
        reply = client.get(path, headers=headers)
        assert reply.status == 200
        assert reply.json.get("user", reply.json) == user


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH"])
def test_methods_of_all_kinds_are_decorated_and_get_their_arguments(client, method):
    reply = client.request(method, "/methods/abc", headers=sign_in(client) | own(client))
    assert (reply.status, reply.json) == (200, {"user": ANN, "name": "abc"})
    assert client.request(method, "/methods/abc", headers=own(client)).status == 401


def test_what_a_decorated_method_raises_is_its_own_affair(client):
    reply = client.delete("/methods/a", headers=sign_in(client) | own(client))
    assert reply.status == 418


def test_decorated_class_gets_its_arguments(client):
    cookie = sign_in(client)
    assert client.get("/whole/a/b", headers=cookie).json["path"] == ["a", "b"]
    assert client.get("/named/a", headers=cookie).json["named"] == {"a": "a"}


@pytest.mark.parametrize("path", ["/prepared", "/later"])
def test_own_prepare_of_a_decorated_class_comes_after_and_knows_who_asks(client, path):
    assert client.get(path).status == 401
    assert LOG == []
    assert client.get(path, headers=sign_in(client)).status == 200
    assert LOG == [("prepare", ANN), ("verb", ANN)]


def test_decorating_a_class_leaves_its_bases_alone(client):
    assert client.get("/bare").json["user"] is None


def test_method_that_the_handler_does_not_have_needs_a_session_too(client):
    assert client.delete("/whole/a/b").status == 401
    assert client.delete("/whole/a/b", headers=sign_in(client) | own(client)).status == 405


@pytest.mark.parametrize("path", ["/methods/a", "/whole/a/b"])
def test_change_by_a_foreign_page_is_403(client, path):
    cookie = sign_in(client)
    for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        reply = client.post(path, headers=cookie | headers)
        assert (reply.status, reply.json["status"]) == (403, 403)
        assert reply.headers["Content-Type"] == "application/problem+json"
    assert client.post(path, headers=cookie | own(client)).status == 200
    assert client.post(path, headers={"Authorization": "Bearer bob"}).status == 200


def test_handler_of_a_model_is_decorated_too(mongomock_database):
    AuthHiveNote(text="x").save()
    [route] = ModelHive.routes_for(AuthHiveNote)
    made = Application(
        [*AuthHive.routes_for([Credulous()]), (route.regex.pattern, OwnModelHandler, route.kwargs)]
    )
    AuthHive.configure(made, secret_key=KEY, authenticated_get=False)
    with serve(made) as client:
        assert client.get("/auth_hive_note").status == 401
        assert [note["text"] for note in client.get("/auth_hive_note", headers=sign_in(client)).json] == ["x"]


def test_preflight_of_a_decorated_handler_of_hive_needs_no_session(mongomock_database):
    @authenticated
    class Decorated(ProblemHandler):
        pass

    made = Application([("/decorated", Decorated)], hive_cors_origins=["https://app.example.org"])
    AuthHive.configure(made, secret_key=KEY)
    headers = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "PUT"}
    with serve(made) as client:
        assert client.request("OPTIONS", "/decorated", headers=headers).status == 204
        del headers["Access-Control-Request-Method"]
        assert client.request("OPTIONS", "/decorated", headers=headers).status == 401


# login_url


@pytest.mark.parametrize("login_url", ["https://login.example.org/in", "/login?lang=en", "/login?"])
def test_page_without_a_session_is_sent_to_sign_in_and_told_where_it_was(mongomock_database, login_url):
    with serving(login_url=login_url) as client:
        reply = client.get("/whole/a/b?x=1&y=%26%2F")
    assert reply.status == 302
    target, asked = urlsplit(reply.headers["Location"]), urlsplit(login_url)
    assert target[:3] == asked[:3]
    assert parse_qs(target.query) == {**parse_qs(asked.query), "next": ["/whole/a/b?x=1&y=%26%2F"]}


def test_only_pages_of_who_has_no_session_are_sent_to_sign_in(mongomock_database):
    with serving(login_url="/login") as client:
        assert client.request("HEAD", "/below").status in (302, 405)
        assert client.post("/whole/a/b").status == 401
        assert client.get("/below", headers={"Authorization": "Bearer bad"}).status == 401
        assert client.get("/problem").status == 401
        assert client.get("/below", headers=sign_in(client)).status == 200
        assert client.post("/whole/a/b", headers=sign_in(client)).status == 403


# AuthHive.user_of


def test_public_page_learns_who_asks_if_anybody(client):
    assert client.get("/public").json == {"user": None, "again": None}
    assert client.get("/public", headers={"Cookie": "__Host-session=x"}).json["user"] is None
    assert client.get("/public", headers=sign_in(client)).json == {"user": ANN, "again": ANN}
    assert client.get("/public", headers={"Authorization": "Bearer bob"}).json["user"]["id"] == "bob"


def test_public_page_is_not_public_for_bad_tokens_and_foreign_pages(client):
    assert client.get("/public", headers={"Authorization": "Bearer bad"}).status == 401
    assert client.post("/public", headers=sign_in(client)).status == 403
    assert client.post("/public").json == {"user": None}


# Without configure()


@pytest.mark.parametrize("path", ["/auth/me/", "/auth/signin/", "/public", "/methods/a", "/below"])
def test_before_configure_nobody_gets_in_and_the_log_says_why(mongomock_database, path, caplog):
    with serving(configured=False) as client:
        for method in ("GET", "POST"):
            reply = client.request(method, path, headers={"Authorization": "Bearer bob"})
            assert reply.status in (405, 500)
    assert "Nobody can sign in before AuthHive.configure(application, secret_key=...)." in caplog.text


def test_models_of_other_applications_stay_as_they_are(mongomock_database):
    bare = Application(ModelHive.routes_for(AuthHiveNote))
    with serve(bare) as without, serving() as protected:
        assert [client.get("/auth_hive_note").status for client in (without, protected)] == [200, 401]
        assert [client.post("/auth_hive_note", json={}).status for client in (without, protected)] == [
            201,
            401,
        ]


def test_models_beside_a_sign_in_that_was_not_configured_are_open_and_the_log_says_so_once(
    mongomock_database, caplog
):
    with serving(configured=False) as client:
        assert [client.get("/auth_hive_note").status for _ in range(3)] == [200, 200, 200]
    assert caplog.text.count("Models are served to everybody beside routes of sign-in") == 1


# AuthHive.routes_for


@pytest.mark.parametrize("prefix", ["", "/", "//api//v1/", "/a+b", "/(x)", "/ü", "/a b"])
def test_routes_are_served_under_their_prefix_with_and_without_slash(mongomock_database, prefix):
    routes = AuthHive.routes_for([Credulous(), Elsewhere()], prefix=prefix)
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key=KEY)
    segments = "".join(f"/{path_of(segment)}" for segment in prefix.split("/") if segment)
    with serve(made) as client:
        for slash in ("", "/"):
            assert client.get(f"{segments}/auth/me{slash}").json == {"authenticated": False}
            assert client.post(f"{segments}/auth/signout{slash}").status == 200
        address = client.get(f"{segments}/auth/signin/").json["providers"]["elsewhere"]
        assert address == f"{segments}/auth/signin/elsewhere/"
        target = client.get(address).headers["Location"]
        assert target == f"http://127.0.0.1:{client.port}{segments}/auth/callback/elsewhere/"
        assert client.get(urlsplit(target).path).status == 401
        assert client.get(f"{segments}x/auth/me").status == 404


def test_routes_can_be_made_without_providers(mongomock_database):
    made = Application(AuthHive.routes_for([]))
    AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        assert client.get("/auth/me/").json == {"authenticated": False}
        assert client.get("/auth/signin/").json["providers"] == {}
        assert client.post("/auth/signin/", json={"provider": "x"}).status == 400


# AuthHive.configure


def test_last_configuration_counts(mongomock_database):
    made = application()
    AuthHive.configure(made, secret_key=KEY)
    AuthHive.configure(made, secret_key="o" * 32, authenticated_get=False, cookie_name="other")
    with serve(made) as client:
        assert client.get("/auth_hive_note").status == 200
        assert client.post("/auth_hive_note", json={}).status == 401
        assert sign_in(client)["Cookie"].startswith("__Host-other=")


# Forms and the token against forged requests


def test_a_form_brings_the_token_against_forged_requests_in_a_field(mongomock_database):
    routes = [*AuthHive.routes_for([Credulous()]), *ModelHive.routes_for(AuthHiveNote)]
    made = Application(routes, default_handler_class=NotFoundHandler, xsrf_cookies=True)
    AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        token = client.get("/auth/me/").headers["Set-Cookie"].partition(";")[0].partition("=")[2]
        headers = {"Cookie": f"_xsrf={token}", "Origin": f"http://127.0.0.1:{client.port}"}
        assert client.post("/auth/signin/", form={"id": "ann"}, headers=headers).status == 403
        wrong = client.post("/auth/signin/", form={"id": "ann", "_xsrf": "2|x"}, headers=headers)
        assert wrong.status == 403
        signed_in = client.post("/auth/signin/?next=/x", form={"id": "ann", "_xsrf": token}, headers=headers)
        assert (signed_in.status, signed_in.headers["Location"]) == (303, "/x")
        headers["Cookie"] += "; " + signed_in.headers["Set-Cookie"].partition(";")[0]
        assert client.post("/auth_hive_note", form={"text": "a"}, headers=headers).status == 403
        made = client.post("/auth_hive_note", form={"text": "a", "_xsrf": token}, headers=headers)
        assert (made.status, made.json["text"]) == (201, "a")
        assert client.post("/auth/signout/", headers=headers, form={"_xsrf": token}).status == 200
    assert AuthHiveNote.objects.count() == 1


# Once for each request


@authenticated
class Twice(RequestHandler):
    @authenticated
    async def post(self):
        self.write({"user": await AuthHive.user_of(self)})


class Heir(Whole):
    """Prepares by itself what a decorated class prepares."""

    def prepare(self):
        self.prepared = True


def test_a_request_is_counted_once_however_often_it_is_asked_who_asks(mongomock_database):
    made = Application([*AuthHive.routes_for([Credulous()]), ("/twice", Twice), ("/heir", Heir)])
    AuthHive.configure(made, secret_key=KEY, write_rate="2/hour")
    with serve(made) as client:
        bearer = {"Authorization": "Bearer bob"}
        statuses = [client.post("/twice", headers=bearer).status for _ in range(3)]
        assert statuses == [200, 200, 429]


def test_a_subclass_that_prepares_by_itself_needs_a_session_too(mongomock_database):
    made = Application([*AuthHive.routes_for([Credulous()]), ("/heir", Heir)])
    AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        assert client.get("/heir").status == 401
        assert client.get("/heir", headers={"Authorization": "Bearer bob"}).status == 200


def test_bearer_tokens_that_do_not_hold_are_limited_and_others_are_not(mongomock_database):
    made = Application(AuthHive.routes_for([Credulous()]))
    AuthHive.configure(made, secret_key=KEY, signin_rate="2/hour")
    with serve(made) as client:
        statuses = [
            client.get("/auth/me/", headers={"Authorization": f"Bearer {token}"}).status
            for token in ("bad", "a", "b", "c", "bad", "bad", "d")
        ]
    assert statuses == [401, 200, 200, 200, 401, 429, 200]


def test_sign_ins_that_are_begun_do_not_fill_the_header(mongomock_database):
    made = Application(AuthHive.routes_for([Elsewhere()]))
    AuthHive.configure(made, secret_key=KEY)
    kept = {}
    with serve(made) as client:
        for _ in range(30):
            cookie = "; ".join(f"{name}={value}" for name, value in kept.items())
            reply = client.get("/auth/signin/elsewhere/?next=/" + "x" * 900, headers={"Cookie": cookie})
            assert reply.status == 302
            for line in reply.headers.get_all("Set-Cookie"):
                name, _, value = line.partition(";")[0].partition("=")
                kept.pop(name, None)
                if value.strip('"'):
                    kept[name] = value
            assert len(cookie) < 14_000


def test_who_is_sent_to_sign_in_from_a_long_address_comes_back_to_the_root(mongomock_database):
    made = Application([("/note", Methods), *AuthHive.routes_for([Elsewhere()])], login_url="/login?lang=en")
    AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        short, long = (client.get(f"/note?x={'y' * length}").headers["Location"] for length in (10, 2000))
    assert short == "/login?lang=en&next=%2Fnote%3Fx%3Dyyyyyyyyyy"
    assert long == "/login?lang=en&next=%2F"


def test_a_form_of_too_many_fields_has_no_token(mongomock_database):
    made = Application(AuthHive.routes_for([Credulous()]), xsrf_cookies=True)
    AuthHive.configure(made, secret_key=KEY)
    with serve(made) as client:
        form = {f"field{number}": "" for number in range(1001)}
        assert client.post("/auth/signin/", form=form).status == 403
