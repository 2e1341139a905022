"""Sessions and the like as signed JWTs (RFC 7519), which clients keep and cannot change."""

import hashlib
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from secrets import token_urlsafe
from typing import Any

import jwt

SHORTEST_KEY = 32
LONGEST_TOKEN = 8192
ALGORITHM = "HS256"
SESSION = "session"

Secret = str | bytes


class Keys:
    """The secret keys of an application: the first signs, each verifies what it has signed (``kid``).

    Raises `ValueError` for keys shorter than 32 bytes, which RFC 7518 does not allow for HS256.
    """

    def __init__(self, secret_key: Secret | Iterable[Secret]) -> None:
        is_list = not isinstance(secret_key, str | bytes) and hasattr(secret_key, "__iter__")
        given: list[Any] = list(secret_key) if is_list else [secret_key]
        keys = [key.encode() if isinstance(key, str) else key for key in given]
        if not keys or not all(isinstance(key, bytes) and len(key) >= SHORTEST_KEY for key in keys):
            raise ValueError(
                f"secret_key must have {SHORTEST_KEY} bytes or more, or be a list of such keys of which the "
                "first signs. Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._keys = {name_of(key): key for key in keys}
        self._first = name_of(keys[0])

    @property
    def secret(self) -> bytes:
        """The key that signs."""
        return self._keys[self._first]

    def sign(self, kind: str, claims: dict[str, Any]) -> str:
        """A JWT of these claims, which is of no use where another kind is asked for."""
        headers = {"kid": self._first, "typ": f"{kind}+jwt"}
        return jwt.encode(claims | {"aud": kind}, self._keys[self._first], ALGORITHM, headers=headers)

    def read(self, kind: str, token: str | None) -> dict[str, Any] | None:
        """The claims of a JWT of this kind, or None if it is not ours, was changed or has expired."""
        if not token or len(token) > LONGEST_TOKEN:
            return None
        try:
            key = self._keys[jwt.get_unverified_header(token)["kid"]]
            required = {"require": ["aud", "exp"]}
            return jwt.decode(token, key, [ALGORITHM], audience=kind, options=required)  # type: ignore[arg-type]
        except (jwt.PyJWTError, KeyError, ValueError):
            return None


def name_of(key: bytes) -> str:
    """What tells a key from others, and tells nothing of it."""
    return urlsafe_b64encode(hashlib.sha256(b"hive kid " + key).digest()[:9]).decode()


@dataclass(frozen=True)
class Session:
    """Who is signed in. Times are seconds since the epoch.

    It `started` at the sign-in, was last `renewed`, `expires` unless it is renewed again, and at its `end` in
    any case.
    """

    id: str
    provider: str
    user_data: dict[str, Any]
    started: int
    renewed: int
    expires: int
    end: int


@dataclass(frozen=True)
class Lifetime:
    """How many seconds a session lasts without requests (`idle`), and in all (`absolute`)."""

    idle: int
    absolute: int

    def begin(self, provider: str, user_data: dict[str, Any]) -> Session:
        now = int(time.time())
        return self.renewed(
            Session(token_urlsafe(24), provider, user_data, now, now, now, now + self.absolute)
        )

    def renewed(self, session: Session) -> Session:
        """The same session from now on."""
        now = int(time.time())
        return replace(session, renewed=now, expires=min(now + self.idle, session.end))

    def is_due(self, session: Session) -> bool:
        """Whether it is time to renew: half of the idle time is gone, and there is more to gain."""
        gone = time.time() - session.renewed
        return gone > self.idle / 2 and session.expires < session.end

    def write(self, keys: Keys, session: Session) -> str:
        return keys.sign(
            SESSION,
            {
                "jti": session.id,
                "provider": session.provider,
                "user": session.user_data,
                "auth_time": session.started,
                "iat": session.renewed,
                "exp": session.expires,
            },
        )

    def read(self, keys: Keys, token: str | None) -> Session | None:
        """The session in a cookie; None if there is none that holds, by the lifetimes of now too."""
        claims = keys.read(SESSION, token)
        if claims is None:
            return None
        started, end = claims["auth_time"], claims["auth_time"] + self.absolute
        expires = min(claims["exp"], claims["iat"] + self.idle, end)
        times = (started, claims["iat"], expires, end)
        session = Session(claims["jti"], claims["provider"], claims["user"], *times)
        return session if time.time() < expires else None
