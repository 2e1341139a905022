"""The handlers of sign-in with credentials, sign-out and ``/auth/me/``."""

import hashlib
import time
import unicodedata
from collections.abc import Mapping
from secrets import token_urlsafe
from typing import Any, NoReturn

from tornado.web import Finish

from hive import payload, pool, query, signals
from hive.auth.provider import Provider, Redirecting
from hive.auth.tokens import LEEWAY
from hive.authentication import Authentication, authentication_in
from hive.bodies import BodyHandler
from hive.errors import Invalid, NotFound, Unauthorized
from hive.origins import own_path
from hive.plain import dumps
from hive.providers import Providers
from hive.rates import client_of

NONCE = "nonce"
SECONDS_TO_SIGN_IN = 600
MOST_BYTES = 2**16


class AuthHandler(BodyHandler):
    """What the handlers below `prefix`/auth have in common."""

    def initialize(self, providers: Providers, prefix: str) -> None:
        self.providers, self.prefix = providers, prefix

    @property
    def authentication(self) -> Authentication:
        return authentication_in(self.application)

    @property
    def body_limit(self) -> int:
        return min(MOST_BYTES, super().body_limit)

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def answer(self, value: dict[str, Any]) -> None:
        self.set_header("Content-Type", payload.JSON)
        self.write(dumps(value))

    def provider(self, name: Any, kind: type[Provider] = Provider) -> Any:
        """Raises `NotFound`."""
        found = self.providers.get(name) if isinstance(name, str) else None
        if not isinstance(found, kind):
            raise NotFound
        return found

    async def count_client(self) -> None:
        """Count an attempt to sign in by this client. Raises `TooManyRequests`."""
        client = client_of(self.request)
        await pool.call(lambda: self.authentication.rates.count("signin", "client", client))

    async def count_user(self, provider: Provider, account: Any) -> None:
        """Count an attempt to sign in as this user. Raises `TooManyRequests`."""
        name = unicodedata.normalize("NFKC", str(account)).strip().casefold()
        await pool.call(lambda: self.authentication.rates.count("signin", "user", provider.name, name))

    async def fail(self, provider: Provider, detail: str) -> NoReturn:
        """Tell that a sign-in failed. Raises `Unauthorized`."""
        await self.tell(signals.unauthorized_user, provider.name, provider_name=provider.name)
        raise Finish if self._finished else Unauthorized(detail)

    def target(self) -> str | None:
        """Where the browser wants to be in the end, by ``?next=``. Raises `BadRequest`."""
        texts = query.parameters(self.request, ("next",))
        return own_path(texts["next"]) if "next" in texts else None

    def end_at(self, target: str | None, value: dict[str, Any]) -> None:
        """Go there, or answer, unless a receiver has done so."""
        if self._finished:
            return
        if target is None:
            self.answer(value)
        else:
            self.redirect(target, status=303)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:
            self.set_header("Allow", ", ".join(self._methods()))
        super().write_error(status_code, **kwargs)

    def _methods(self) -> list[str]:
        return [name for name in self.SUPPORTED_METHODS if name.lower() in vars(type(self))] + ["OPTIONS"]

    async def options(self, *_: str) -> None:
        await self.start()
        self.set_status(204)
        self.set_header("Allow", ", ".join(self._methods()))


class MeHandler(AuthHandler):
    """``/auth/me/``: who is signed in."""

    async def get(self) -> None:
        await self.start()
        session = await self.authentication.identify(self)
        if self.settings.get("xsrf_cookies"):
            self.xsrf_token  # noqa: B018 - which sets the cookie that pages copy into X-XSRFToken
        if session is None:
            self.answer({"authenticated": False})
            return
        user_data, name = dict(session.user_data), session.provider
        arguments = {"provider_name": name, "user_data": user_data, "handler": self}
        await signals.pre_get_user_details.send_async(name, **arguments)
        if not self._finished:
            self.answer({"authenticated": True, "userData": user_data})

    head = get


class SignInHandler(AuthHandler):
    """``/auth/signin/``: which providers there are, and sign-in with what the client has in hand."""

    async def get(self) -> None:
        """The providers, with the addresses of their sign-ins by redirect, and a nonce for an ID token."""
        await self.start()
        nonce = token_urlsafe(24)
        value = self.authentication.keys.sign(NONCE, {"nonce": nonce, "exp": soon()})
        self.authentication.set_cookie(self, "_nonce", value, SECONDS_TO_SIGN_IN)
        addresses = {
            name: f"{self.prefix}/auth/signin/{name}/" if isinstance(provider, Redirecting) else None
            for name, provider in self.providers.items()
        }
        self.answer({"providers": addresses, "nonce": nonce})

    head = get

    async def post(self) -> None:
        await self.start()
        target = self.target()
        self.authentication.check_sender(self, proof=False)
        await self.count_client()
        credentials = self.body(None)
        provider = self._chosen(credentials.pop("provider", None))
        if provider.identified_by is not None:
            await self.count_user(provider, credentials.get(provider.identified_by))
        user_data = await self._authenticate(provider, credentials)
        if provider.identified_by is None:
            await self.count_user(provider, user_data.get("id"))
        await self.authentication.begin(self, provider, user_data)
        if self.nonce is not None:
            self.authentication.set_cookie(self, "_nonce", "", 0)
        self.end_at(target, {"authenticated": True})

    def _chosen(self, name: Any) -> Provider:
        if name is None and len(self.providers) == 1:
            return next(iter(self.providers.values()))
        try:
            return self.provider(name)  # type: ignore[no-any-return]
        except NotFound:
            message = f"must be one of {', '.join(self.providers)}"
            raise Invalid(errors=[{"field": "provider", "message": message}]) from None

    async def _authenticate(self, provider: Provider, credentials: dict[str, Any]) -> Any:
        detail = "The credentials do not hold."
        try:
            user_data = await provider.authenticate(credentials, self)
        except Unauthorized as error:
            user_data, detail = None, error.detail
        if user_data is None:
            await self.fail(provider, detail)
        if not isinstance(user_data, Mapping):
            raise TypeError(f"The provider {provider.name} must give user data as a dictionary, or None.")
        return user_data

    @property
    def nonce(self) -> str | None:
        """What an ID token must have as ``nonce``, if this browser has asked for one."""
        claims = self.authentication.keys.read(NONCE, self.authentication.get_cookie(self, "_nonce"))
        return None if claims is None else claims["nonce"]

    async def is_first_use(self, proof: str, until: float) -> bool:
        """Whether a proof that works once has not been used on any process; it expires at `until`."""
        name = "proof " + hashlib.sha256(proof.encode()).hexdigest()
        return await pool.call(lambda: self.authentication.revocations.add(name, until + LEEWAY))


class SignOutHandler(AuthHandler):
    """``/auth/signout/``: the session ends, everywhere; ``?next=/path`` is where the browser goes then."""

    async def post(self) -> None:
        await self.start()
        target = self.target()
        await self.authentication.end(self, await self.authentication.identify(self))
        self.end_at(target, {"authenticated": False})


def soon() -> int:
    """When a sign-in that is begun now must have ended, in seconds since the epoch."""
    return int(time.time()) + SECONDS_TO_SIGN_IN
