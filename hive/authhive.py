"""Sign-in for a Tornado application, and what needs it."""

import inspect
import logging
from collections.abc import Iterable
from functools import wraps
from itertools import permutations
from typing import Any, TypeVar

from tornado.httputil import url_concat
from tornado.routing import URLSpec
from tornado.web import Application

from hive import errors
from hive.auth.provider import NAME, Provider
from hive.authentication import SETTING, Authentication, authentication_in
from hive.errors import BadRequest, Problem, Unauthorized
from hive.flows import CallbackHandler, StartHandler
from hive.neighbours import routed
from hive.origins import has_bearer, own_path
from hive.providers import Providers, providers_of
from hive.resource import ACTIONS, Resource, path_of, prefix_of
from hive.routing import pattern_of
from hive.serving import ProblemHandler
from hive.sessions import Secret
from hive.signin import MeHandler, SignInHandler, SignOutHandler

logger = logging.getLogger("hive")

H = TypeVar("H", bound=Any)


class AuthHive:
    """Signs users in, and protects what is theirs."""

    @staticmethod
    def routes_for(providers: Iterable[Provider], prefix: str = "") -> list[URLSpec]:
        """The routes of sign-in, for `tornado.web.Application`.

        - ``/auth/me/``: GET tells who is signed in.
        - ``/auth/signin/``: GET tells the providers; POST signs in with credentials, such as an ID token.
        - ``/auth/signin/NAME/``: GET sends a browser to the provider, which sends it to
          ``/auth/callback/NAME/``.
        - ``/auth/signout/``: POST signs out.

        Raises `TypeError` or `ValueError` for what is no provider, or has a name that another has.
        """
        named = Providers()
        if isinstance(providers, Provider):
            raise TypeError(f"routes_for takes a list of providers: pass [{providers!r}].")
        for provider in providers:
            if not isinstance(provider, Provider):
                raise TypeError(f"routes_for takes objects of hive.auth.Provider, not {provider!r}.")
            check_provider(provider, named)
            named[provider.name] = provider
        root = prefix_of(prefix)
        given = {"providers": named, "prefix": path_of(*root.split("/"))}
        return [
            URLSpec(pattern_of(f"{root}/auth/me") + "/?", MeHandler, given),
            URLSpec(pattern_of(f"{root}/auth/signin") + "/?", SignInHandler, given),
            URLSpec(pattern_of(f"{root}/auth/signin") + "/([^/]+)/?", StartHandler, given),
            URLSpec(pattern_of(f"{root}/auth/callback") + "/([^/]+)/?", CallbackHandler, given),
            URLSpec(pattern_of(f"{root}/auth/signout") + "/?", SignOutHandler, given),
        ]

    @staticmethod
    def configure(
        application: Application,
        *,
        secret_key: Secret | Iterable[Secret],
        expiration: int = 1200,
        absolute_expiration: int = 43200,
        cookie_name: str = "session",
        authenticated_get: bool = True,
        authenticated_create: bool = True,
        authenticated_update: bool = True,
        authenticated_delete: bool = True,
        origin: str | None = None,
        signin_rate: str | None = "30/minute",
        write_rate: str | None = "600/minute",
        rates_in: str = "memory",
        db_alias: str = "default",
    ) -> None:
        """Let users sign in to the application, and let nobody else at its models.

        - `secret_key`: at least 32 bytes that nobody knows; or a list: the first signs, and all verify.
        - `expiration`: seconds after the last request until a session ends.
        - `absolute_expiration`: seconds after the sign-in until it ends in any case.
        - `cookie_name`: of the session's cookie; with the prefix ``__Host-`` where it is ``Secure``.
        - `authenticated_get`, `authenticated_create`, `authenticated_update`, `authenticated_delete`: whether
          that needs a session, for models whose ``allow`` does not say who may do it.
        - `origin`: under which browsers know the application, such as ``"https://app.example.org"``; else it
          is taken from each request.
        - `signin_rate`, `write_rate`: how often these may come from one client, and from one user, as the
          library `limits` writes it; None for no limit.
        - `rates_in`: where that is counted: ``"memory"`` of this process, or ``"mongodb"``.
        - `db_alias`: of the mongoengine connection that has the sessions which have ended.

        Raises `TypeError` or `ValueError`, with a sentence that says what to do.
        """
        if not isinstance(application, Application):
            raise TypeError(f"configure takes a tornado.web.Application, not {application!r}.")
        check_names([provider.name for provider in providers_of(application)])
        warn_of_kinds(list(routed(application.default_router)))
        flags = (authenticated_get, authenticated_create, authenticated_update, authenticated_delete)
        application.settings[SETTING] = Authentication(
            secret_key=secret_key,
            expiration=expiration,
            absolute_expiration=absolute_expiration,
            cookie_name=cookie_name,
            protected=frozenset(action for action, flag in zip(ACTIONS, flags, strict=True) if flag),
            origin=origin,
            signin_rate=signin_rate,
            write_rate=write_rate,
            rates_in=rates_in,
            db_alias=db_alias,
        )

    @staticmethod
    async def user_of(handler: Any) -> dict[str, Any] | None:
        """The user data of who asks, or None; for a Tornado handler that serves others too.

        Raises `Unauthorized` for a bearer token that does not hold, `Forbidden` for a change that comes from
        a foreign page.
        """
        session = await authentication_in(handler.application).identify(handler)
        return None if session is None else session.user_data


def authenticated(target: H) -> H:
    """Decorates a method of a Tornado handler, sync or async, or a whole handler class: it needs a session.

    `current_user` has the user data then. Without a session the answer is 401, as a problem; or, for a GET
    where the application has Tornado's setting ``login_url``, a redirect there.
    """
    if inspect.isclass(target):
        guard(target)
        setattr(target, "__init_subclass__", classmethod(guard))  # noqa: B010 - mypy allows no assignment
        return target

    @wraps(target)
    async def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            if not is_preflight(self) and await AuthHive.user_of(self) is None:
                raise Unauthorized
        except Problem as problem:
            if isinstance(self, ProblemHandler):
                raise
            turn_away(self, problem)
            return None
        result = target(self, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return guarded  # type: ignore[return-value]


def guard(handler_class: Any) -> None:
    """Let a handler class prepare nothing without a session, nor a subclass that prepares by itself."""
    if "prepare" in vars(handler_class) or not hasattr(handler_class.prepare, "guards"):
        handler_class.prepare = authenticated(handler_class.prepare)
        handler_class.prepare.guards = True


def check_provider(provider: Any, others: Iterable[str]) -> None:
    name = getattr(provider, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"The name of a provider is of a-z, 0-9, '-' and '_', not {name!r}.")
    if not inspect.iscoroutinefunction(provider.authenticate):
        raise TypeError(f"The method authenticate of the provider {name!r} must be `async def`.")
    check_names([*others, name])


def check_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two providers have the name {name!r}: give one of them another.")


def warn_of_kinds(resources: list[Resource]) -> None:
    """Say in the log where the routes of a base class serve what those of a subclass guard."""
    for base, kind in permutations(resources, 2):
        if issubclass(kind.model, base.model) and (kind.allow or kind.scope) and kind.model is not base.model:
            logger.warning(
                "%s serves every %s too, by its own options: the allow and the scope of %s do not hold there",
                base.root,
                kind.model.__name__,
                kind.root,
            )


def is_preflight(handler: Any) -> bool:
    """Whether a browser asks for leave, which a handler of hive gives to who has it, in `prepare`."""
    return isinstance(handler, ProblemHandler) and handler.is_preflight()


def target_of(handler: Any) -> str:
    """Where to come back to: here, unless that is too long for a cookie."""
    try:
        return own_path(handler.request.uri)
    except BadRequest:
        return "/"


def turn_away(handler: Any, problem: Problem) -> None:
    """The answer to who may not come in, of a handler that knows nothing of problems."""
    login_url = handler.settings.get("login_url")
    is_page = handler.request.method in ("GET", "HEAD") and not has_bearer(handler.request)
    if problem.status == 401 and login_url and is_page:
        handler.redirect(url_concat(login_url, {"next": target_of(handler)}))
        return
    handler.clear()
    handler.set_status(problem.status)
    for name, value in problem.extra_headers.items():
        handler.set_header(name, value)
    handler.set_header("Content-Type", errors.CONTENT_TYPE)
    handler.finish(errors.body(problem.status, problem))
