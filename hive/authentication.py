"""Who asks: the session of a request, what an application demands of it, and how one begins and ends."""

import logging
import re
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from hive import permissions, pool
from hive.auth.provider import Provider, UserData
from hive.bearers import Bearers, bad_token
from hive.errors import Unauthorized
from hive.origins import SAFE, check_sender, checked_origin, has_bearer, is_loopback, readers
from hive.permissions import Permission
from hive.providers import authorize, providers_of
from hive.rates import Rates, client_of, storage_of
from hive.revocations import Revocations
from hive.sessions import Keys, Lifetime, Secret, Session

logger = logging.getLogger("hive")

SETTING = "hive_authentication"
UNCONFIGURED = "Nobody can sign in before AuthHive.configure(application, secret_key=...)."
ADMITTED = "hive_session"
"""The attribute of a request that has its session, or None, once that is known."""
COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]+")
LONGEST_COOKIE = 4000
"""Bytes of its value: browsers keep 4096 with the name (RFC 6265bis)."""


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
        if {type(expiration), type(absolute_expiration)} != {
            int
        } or not 0 < expiration <= absolute_expiration:
            raise ValueError(
                "expiration and absolute_expiration are whole numbers of seconds, the second not the smaller."
            )
        self.keys = Keys(secret_key)
        self.lifetime = Lifetime(expiration, absolute_expiration)
        if not COOKIE_NAME.fullmatch(cookie_name or ""):
            raise ValueError(f"cookie_name={cookie_name!r} is no name of a cookie: use letters and digits.")
        self.cookie_name = cookie_name
        self.protected = protected
        self.origin = checked_origin(origin) if origin is not None else None
        self.revocations = Revocations(db_alias)
        self.rates = Rates(signin_rate, write_rate, storage_of(rates_in, db_alias))
        self.bearers = Bearers(self.lifetime)

    def default(self, action: str) -> Permission:
        """The permission for an action of which a model's routes say nothing."""
        return permissions.signed_in if action in self.protected else permissions.everyone

    async def session_of(self, handler: Any) -> Session | None:
        """The session that a request claims; whether that was revoked is not known yet. None for no claim.

        A bearer token goes before the cookie, and if it does not hold, nothing does. Raises `Unauthorized`;
        `Forbidden` for a change by cookie that does not prove to come from the application's own pages;
        `TooManyRequests` for many tokens that do not hold.
        """
        if has_bearer(handler.request):
            try:
                return await self.bearers.session_of(handler)
            except Unauthorized:
                client = client_of(handler.request)
                await pool.call(lambda: self.rates.count("signin", "client", client))
                raise
        session = self.cookie_session(handler)
        if session is not None:
            self.check_sender(handler, proof=True)
        return session

    def admit(self, handler: Any, session: Session | None) -> None:
        """Let the request have its session, if that holds; runs in the pool.

        Raises `TooManyRequests`; `Unauthorized` for a token that was revoked.
        """
        setattr(handler.request, ADMITTED, None)
        writes = handler.request.method not in SAFE
        if writes:
            self.rates.count("write", "client", client_of(handler.request))
        if session is None:
            return
        if session.id in self.revocations:
            if has_bearer(handler.request):
                raise bad_token()
            return
        if writes:
            self.rates.count("write", "user", session.provider, str(session.user_data["id"]))
        handler.current_user = session.user_data
        if self.lifetime.is_due(session) and not has_bearer(handler.request):
            self.set_session(handler, self.lifetime.renewed(session))
        setattr(handler.request, ADMITTED, session)

    async def identify(self, handler: Any) -> Session | None:
        """Find out who asks, once for each request, for any Tornado handler: `current_user` is then known."""
        if not hasattr(handler.request, ADMITTED):
            session = await self.session_of(handler)
            if session is None and handler.request.method in SAFE:
                return None
            await pool.call(lambda: self.admit(handler, session))
        found: Session | None = getattr(handler.request, ADMITTED)
        return found

    def cookie_session(self, handler: Any) -> Session | None:
        return self.lifetime.read(self.keys, self.get_cookie(handler))

    def get_cookie(self, handler: Any, suffix: str = "") -> str | None:
        """The value of a cookie, if there is exactly one of its name.

        Tornado takes a name with other blanks around it for the same. Browsers do not, and let another host
        set it in spite of the prefix.
        """
        values = defaultdict(list)
        for pair in handler.request.headers.get("Cookie", "").split(";"):
            name, _, value = pair.partition("=")
            values[name.strip(" \t")].append(value.strip(' \t"'))
        found: list[str] = values[self.cookie(handler, suffix)]
        return found[0] if len(found) == 1 else None

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

    def origin_of(self, handler: Any) -> str:
        """The origin under which browsers know the application."""
        return self.origin or f"{handler.request.protocol}://{handler.request.host}"

    def check_sender(self, handler: Any, *, proof: bool) -> None:
        trusted = readers(handler.settings) - {"*"}
        check_sender(handler.request, self.origin_of(handler), trusted, proof=proof)

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


def authentication_of(application: Any) -> Authentication | None:
    return application.settings.get(SETTING)  # type: ignore[no-any-return]


def authentication_for(application: Any) -> Authentication | None:
    """What protects the models of an application, or None; the log tells once if that seems forgotten."""
    if SETTING not in application.settings:
        if providers_of(application):
            logger.warning("Models are served to everybody beside routes of sign-in. %s", UNCONFIGURED)
        application.settings[SETTING] = None
    return authentication_of(application)


def authentication_in(application: Any) -> Authentication:
    """Raises `RuntimeError` where the application has none."""
    found = authentication_of(application)
    if found is None:
        raise RuntimeError(UNCONFIGURED)
    return found
