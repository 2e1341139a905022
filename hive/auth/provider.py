"""What all providers have in common."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

UserData = Mapping[str, Any]
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Provider:
    """Vouches for users. A provider of your own is a subclass with `authenticate`.

    `name` is the sender of the signals and stands in URLs. Unless it is set or inherited, it is that of the
    class in lower case.
    `identified_by` names the one of the credentials that says who wants to sign in, such as ``"email"``: then
    attempts are limited for each of these too, not for each client only.
    """

    name: str
    identified_by: ClassVar[str | None] = None
    _is_named: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._is_named = cls._is_named or "name" in vars(cls)
        if not cls._is_named:
            cls.name = cls.__name__.lower()

    async def authenticate(self, credentials: dict[str, Any], handler: Any) -> UserData | None:
        """The data of the user whom these credentials prove, or None.

        `credentials` is what was posted to ``/auth/signin/``, without ``provider``. The data have an ``id``,
        by which this provider knows the user for ever, and whatever JSON else the application needs.

        `handler` is that of ``/auth/signin/``. Beside what Tornado offers it has ``nonce``, which this
        browser has asked for and an ID token must contain, or None; and ``await is_first_use(proof, until)``,
        which tells whether a proof that works once, until a time in seconds since the epoch, is new.
        """
        raise NotImplementedError

    async def bearer(self, token: str) -> tuple[UserData, float] | None:
        """The user for whom a bearer token was issued, and when it expires, in seconds since the epoch.

        None for a token that this provider has not issued for this API.
        """
        return None


class Redirecting(Provider):
    """A provider to whose pages browsers are sent to sign in (the authorization code flow of OAuth 2)."""

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser."""
        raise NotImplementedError

    async def redeem(
        self, answer: dict[str, str], redirect_uri: str, nonce: str, verifier: str
    ) -> UserData | None:
        """The data of the user, for what the browser brought back; None where that proves nothing."""
        raise NotImplementedError
