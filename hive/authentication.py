"""Who asks: the session of a request, what an application demands of it, and how one begins and ends."""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from tornado.routing import RuleRouter
from tornado.web import Finish

from hive import permissions, pool, signals
from hive.auth import tokens
from hive.auth.provider import Provider, UserData
from hive.errors import Unauthorized
from hive.origins import SAFE, check_sender, checked_origin, has_bearer, is_loopback, readers
from hive.permissions import Permission
from hive.plain import as_json
from hive.rates import Rates, client_of, storage_of
from hive.revocations import Revocations
from hive.sessions import Keys, Lifetime, Secret, Session

SETTING = "hive_authentication"
MOST_BEARERS = 4096
"""Bearer tokens that are remembered, with what their first request found out."""
COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]+")
LONGEST_COOKIE = 4000
"""Bytes of its value: browsers keep 4096 with the name (RFC 6265bis)."""
BAD_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Providers(dict[str, Provider]):
    """The providers of an application, by name."""


class Authentication:
    """What `hive.AuthHive.configure`, which documents it, says of one application."""

    def __init__(
        self,
        *,
        secret_key: Secret | Iterable[Secret],
        expiration: int,
        absolute_expiration: int,
        cookie_name: str,
        protected: frozenset[str],
        origin: str | None,
        signin_rate: str | None,
        write_rate: str | None,
        rates_in: str,
        db_alias: str,
    ) -> None:
        if not 0 < expiration <= absolute_expiration:
            raise ValueError(
                "expiration and absolute_expiration are seconds, and the second is not the smaller."
            )
        self.keys = Keys(secret_key)
        self.lifetime = Lifetime(expiration, absolute_expiration)
        if not COOKIE_NAME.fullmatch(cookie_name):
            raise ValueError(f"cookie_name={cookie_name!r} is no name of a cookie: use letters and digits.")
        self.cookie_name = cookie_name
        self.protected = protected
        self.origin = checked_origin(origin) if origin is not None else None
        self.revocations = Revocations(db_alias)
        self.rates = Rates(signin_rate, write_rate, storage_of(rates_in, db_alias))
        self._bearers: OrderedDict[str, Session] = OrderedDict()
        self._arriving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def default(self, action: str) -> Permission:
        """The permission for an action of which a model's routes say nothing."""
        return permissions.signed_in if action in self.protected else permissions.everyone

    # Who asks

    async def session_of(self, handler: Any) -> Session | None:
        """The session that a request claims; whether that was revoked is not known yet. None for no claim.

        A bearer token goes before the cookie, and if it does not hold, nothing does. Raises `Unauthorized`;
        `Forbidden` for a change by cookie that does not prove to come from the application's own pages.
        """
        if has_bearer(handler.request):
            return await self._bearer(handler)
        session = self.cookie_session(handler)
        if session is not None:
            self.check_sender(handler, proof=True)
        return session

    def admit(self, handler: Any, session: Session | None) -> Session | None:
        """Let the request have its session, if that holds; runs in the pool.

        Raises `TooManyRequests`; `Unauthorized` for a token that was revoked.
        """
        writes = handler.request.method not in SAFE
        if writes:
            self.rates.count("write", "client", client_of(handler.request))
        if session is None:
            return None
        if session.id in self.revocations:
            if has_bearer(handler.request):
                raise bad_token()
            return None
        if writes:
            self.rates.count("write", "user", session.provider, str(session.user_data["id"]))
        handler.current_user = session.user_data
        if self.lifetime.is_due(session) and not has_bearer(handler.request):
            self.set_session(handler, self.lifetime.renewed(session))
        return session

    async def identify(self, handler: Any) -> Session | None:
        """Find out who asks, for any Tornado handler: its `current_user` is then known."""
        session = await self.session_of(handler)
        if session is None and handler.request.method in SAFE:
            return None
        return await pool.call(lambda: self.admit(handler, session))

    async def _bearer(self, handler: Any) -> Session:
        token = handler.request.headers["Authorization"][len("Bearer") :].strip()
        name = digest_of(token)
        async with self._arriving.setdefault(name, asyncio.Lock()):  # the first request tells of the sign-in
            known = self._bearers.get(name)
            if known is None or time.time() >= known.expires:
                known = self._bearers[name] = await self._arrival(handler, token)
                while len(self._bearers) > MOST_BEARERS:
                    self._bearers.popitem(last=False)
        self._bearers.move_to_end(name)
        return replace(known, user_data=deepcopy(known.user_data))

    async def _arrival(self, handler: Any, token: str) -> Session:
        """The session of a token that is not known yet. Raises `Unauthorized`."""
        for provider in providers_of(handler.application):
            found = await provider.bearer(token)
            if found is not None and found[1] > time.time() - tokens.LEEWAY:
                user_data, end = await authorize(handler, provider, found[0]), int(found[1])
                begun = self.lifetime.begin(provider.name, user_data)
                name, expires = digest_of(tokens.signed_part(token)), min(begun.expires, end)
                return replace(begun, id=name, expires=expires, end=end + tokens.LEEWAY)
        raise bad_token()

    # Its cookie

    def cookie_session(self, handler: Any) -> Session | None:
        return self.lifetime.read(self.keys, handler.get_cookie(self.cookie(handler)))

    def cookie(self, handler: Any, suffix: str = "") -> str:
        """The name of a cookie; the prefix keeps other hosts from setting it (RFC 6265bis, 4.1.3.2)."""
        return ("__Host-" if self.is_secure(handler) else "") + self.cookie_name + suffix

    def is_secure(self, handler: Any) -> bool:
        """Whether cookies travel encrypted only: always, but for an application in debug on this machine."""
        try:
            own = urlsplit(self.origin_of(handler))
        except ValueError:  # the client's Host is no host
            return True
        return not (handler.settings.get("debug") and own.scheme == "http" and is_loopback(own.hostname))

    def set_cookie(self, handler: Any, suffix: str, value: str, seconds: int) -> None:
        """Set a cookie that no script can read; without a value, delete it."""
        name, how = self.cookie(handler, suffix), {"httponly": True, "samesite": "Lax"}
        if value:
            handler.set_cookie(name, value, max_age=seconds, secure=self.is_secure(handler), **how)
        else:
            handler.clear_cookie(name, secure=self.is_secure(handler), **how)

    def written(self, session: Session) -> str:
        """The session as it stands in a cookie. Raises `ValueError` for one that does not fit."""
        value = self.lifetime.write(self.keys, session)
        if len(value) > LONGEST_COOKIE:
            raise ValueError(
                f"The user data of {session.provider} fill a cookie: keep them small in authorized_user, and "
                "let pre_get_user_details add what only /auth/me needs."
            )
        return value

    def set_session(self, handler: Any, session: Session) -> None:
        self.set_cookie(handler, "", self.written(session), max(1, session.expires - int(time.time())))

    # Where it came from

    def origin_of(self, handler: Any) -> str:
        """The origin under which browsers know the application."""
        return self.origin or f"{handler.request.protocol}://{handler.request.host}"

    def check_sender(self, handler: Any, *, proof: bool) -> None:
        trusted = readers(handler.settings) - {"*"}
        check_sender(handler.request, self.origin_of(handler), trusted, proof=proof)

    # Begin and end

    async def begin(self, handler: Any, provider: Provider, user_data: UserData) -> None:
        """Sign a user in: always with a new session, and the old one of this browser ends.

        Raises what a receiver of `authorized_user` raises.
        """
        user_data = await authorize(handler, provider, user_data)
        session = self.lifetime.begin(provider.name, user_data)
        self.written(session)  # or it fails here, before the old session ends
        if (old := self.cookie_session(handler)) is not None:
            await pool.call(lambda: self.revocations.add(old.id, old.end))
        self.set_session(handler, session)
        handler.current_user = user_data

    async def end(self, handler: Any, session: Session | None) -> None:
        """Sign a user out, here and on every other process."""
        if session is not None:
            await pool.call(lambda: self.revocations.add(session.id, session.end))
        if not has_bearer(handler.request):
            self.set_cookie(handler, "", "", 0)


async def authorize(handler: Any, provider: Provider, user_data: UserData) -> dict[str, Any]:
    """Tell of a sign-in; the user data as the receivers leave them. What one raises ends the sign-in.

    Raises `TypeError` where there is no ``id`` in them.
    """
    told = {**user_data, "provider": provider.name}
    arguments = {"provider_name": provider.name, "user_data": told, "handler": handler}
    await signals.authorized_user.send_async(provider.name, **arguments)
    if handler._finished:  # a receiver has answered instead
        raise Finish
    result: dict[str, Any] = as_json(told)
    if type(result.get("id")) not in (str, int) or result["id"] == "":
        raise TypeError(f"The user data of the provider {provider.name} have no id.")
    return result


def digest_of(token: str) -> str:
    return "bearer " + hashlib.sha256(token.encode()).hexdigest()


def bad_token() -> Unauthorized:
    error = Unauthorized("The bearer token is not valid here.")
    error.extra_headers = BAD_TOKEN
    return error


def authentication_of(application: Any) -> Authentication | None:
    return application.settings.get(SETTING)  # type: ignore[no-any-return]


def authentication_in(application: Any) -> Authentication:
    """Raises `RuntimeError` where the application has none."""
    found = authentication_of(application)
    if found is None:
        raise RuntimeError("Nobody can sign in before AuthHive.configure(application, secret_key=...).")
    return found


def providers_of(application: Any) -> list[Provider]:
    """The providers with which users sign in to a Tornado application."""
    routed = {id(providers): providers for providers in routed_in(application.default_router)}
    return [provider for providers in routed.values() for provider in providers.values()]


def routed_in(router: Any) -> Iterator[Providers]:
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from routed_in(rule.target)
        elif isinstance(providers := (rule.target_kwargs or {}).get("providers"), Providers):
            yield providers
