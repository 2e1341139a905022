"""Whether to believe a token of an OpenID provider (OpenID Connect Core 1.0, 3.1.3.7; RFC 8725)."""

import hmac
import logging
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import jwt

from hive import pool
from hive.auth.fetching import Kept, fetch
from hive.errors import ProviderUnavailable
from hive.origins import is_loopback

logger = logging.getLogger("hive")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Those that are accepted: a public key verifies each of them, so whoever can verify cannot sign."""
ID_TOKENS = ("jwt", "application/jwt")
ACCESS_TOKENS = (*ID_TOKENS, "at+jwt", "application/at+jwt")
"""What tokens of the two kinds may have as ``typ`` (RFC 8725, 3.11; RFC 9068, 2.1)."""
LONGEST = 16384
LEEWAY = 5
"""Seconds by which the clocks of provider and server may differ."""
SECONDS_KEPT = 3600.0
SECONDS_BETWEEN_MISSES = 10.0
"""For so long, a key that was not found even in fresh keys keeps hive from fetching them for another."""
UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Doubtful(Exception):
    """A token is not to be believed; the text says why, and tells nothing of the token."""


class Issuer:
    """An OpenID provider as it describes itself (OpenID Connect Discovery 1.0), and its keys (RFC 7517).

    Raises `ValueError` for what is no issuer.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(str(url))
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
        if not is_safe or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"The issuer {url!r} is no https URL without query and fragment.")
        self.url = url
        self._is_loopback = parts.scheme == "http"
        self._metadata = Kept(self._discover, SECONDS_KEPT)
        self._keys = Kept(self._fetch_keys, SECONDS_KEPT)
        self._missed = float("-inf")

    async def endpoint(self, name: str) -> str:
        """The URL of an endpoint. Raises `ProviderUnavailable` if there is none that can be used."""
        url = (await self.metadata()).get(name)
        if not is_url(url, ("https", "http") if self._is_loopback else ("https",)):
            raise ProviderUnavailable(f"The sign-in provider has no {name}.")
        return str(url)

    async def metadata(self) -> dict[str, Any]:
        return await self._metadata.get()

    async def _discover(self) -> dict[str, Any]:
        url = self.url.removesuffix("/") + "/.well-known/openid-configuration"
        status, metadata = await fetch(url)
        if status != 200 or metadata.get("issuer") != self.url:
            logger.error("%s: HTTP %d, issuer %.200r, not %r", url, status, metadata.get("issuer"), self.url)
            raise ProviderUnavailable(
                "The sign-in provider does not describe itself as the issuer it should be."
            )
        return metadata

    async def _fetch_keys(self) -> list[dict[str, Any]]:
        status, answer = await fetch(await self.endpoint("jwks_uri"))
        keys = answer.get("keys")
        if status != 200 or not isinstance(keys, list):
            raise ProviderUnavailable("The sign-in provider publishes no keys.")
        return [key for key in keys if isinstance(key, dict)]

    async def _key(self, header: dict[str, Any]) -> dict[str, Any] | None:
        """The public key that a token says it was signed with; fetched anew, once, if it is not known."""
        found = key_for(header, await self._keys.get())
        if found is None and time.monotonic() - self._missed > SECONDS_BETWEEN_MISSES:
            try:
                found = key_for(header, await self._keys.renew())
            finally:
                if found is None:
                    self._missed = time.monotonic()
        return found

    async def claims(
        self, token: Any, audience: str, kinds: Iterable[str], issuers: Iterable[str]
    ) -> dict[str, Any]:
        """The claims of a token of one of these kinds that this provider has signed for this audience.

        Raises `Doubtful` for any other; `ProviderUnavailable`.
        """
        header = header_of(token)
        if header is None:
            raise Doubtful("it is no JWT")
        if header.get("alg") not in ALGORITHMS:
            raise Doubtful("its algorithm is not accepted")
        key = await self._key(header)
        if key is None:
            raise Doubtful("it is not signed by a known key")
        claims = await pool.call(lambda: verified(token, key, header["alg"], audience, list(issuers)))
        if str(header.get("typ", "JWT")).lower() not in kinds or "events" in claims:
            raise Doubtful("it is a token of another kind")
        return claims


def header_of(token: Any) -> dict[str, Any] | None:
    """What a token says of itself, which is not to be believed yet; None if it is no JWT."""
    if not isinstance(token, str) or len(token) > LONGEST:
        return None
    try:
        return jwt.get_unverified_header(token)
    except UNREADABLE:
        return None


def signed_part(token: str) -> str:
    """What the signature of a JWT is for, which itself can be written in several ways; or the whole token."""
    return token if header_of(token) is None else token.rpartition(".")[0]


def issuer_in(token: str) -> Any:
    """The issuer that a token names, which is not to be believed yet; None if it is no JWT."""
    if header_of(token) is None:
        return None
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except UNREADABLE:
        return None


def is_url(url: Any, schemes: Iterable[str]) -> bool:
    try:
        return (
            isinstance(url, str) and url.isprintable() and url.isascii() and urlsplit(url).scheme in schemes
        )
    except ValueError:
        return False


def key_for(header: dict[str, Any], keys: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The key that a token names, or the only one that there is for its algorithm if it names none."""
    fitting = [key for key in keys if fits(key, header["alg"])]
    if "kid" in header:
        return next((key for key in fitting if key.get("kid") == header["kid"]), None)
    return fitting[0] if len(fitting) == 1 else None


def fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether a key is meant for signatures by this algorithm."""
    kty = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}[algorithm[:2]]
    return key.get("kty") == kty and key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm


def verified(
    token: str, key: dict[str, Any], algorithm: str, audience: str, issuers: list[str]
) -> dict[str, Any]:
    """The claims of a token whose signature, issuer, audience and times are right. Raises `Doubtful`."""
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK(key, algorithm),
            [algorithm],
            audience=audience,
            issuer=issuers,
            leeway=LEEWAY,
            options={"require": ["aud", "exp", "iat", "iss", "sub"], "enforce_minimum_key_length": True},
        )
    except UNREADABLE as error:  # whose text may quote the token
        raise Doubtful(type(error).__name__) from None
    if not claims["sub"] or not isinstance(claims["exp"], int | float):
        raise Doubtful("it has no sub, or no number as exp")
    return claims


def is_same(one: Any, other: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing of where they differ."""
    return isinstance(one, str) and hmac.compare_digest(one.encode(errors="replace"), other.encode())
