"""Any OpenID Connect provider, by discovery."""

import base64
import hashlib
import logging
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from hive.auth.fetching import fetch
from hive.auth.provider import Redirecting, UserData
from hive.auth.tokens import ACCESS_TOKENS, ID_TOKENS, Doubtful, Issuer, is_same, issuer_in, signed_part
from hive.errors import ProviderUnavailable

logger = logging.getLogger("hive")

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
REFUSALS = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
"""What a token endpoint says when it refuses (RFC 6749, 5.2)."""
PROFILE = ("name", "email")
TOLD = (*PROFILE, "email_verified")


class OpenIDProvider(Redirecting):
    """Signs in with an OpenID Connect provider, found by discovery.

    By redirect (authorization code flow with PKCE), or with an ID token that a client has and posts as
    ``id_token``. A token in ``Authorization`` works for single requests.

    - `issuer`: the URL of the provider, exactly as its tokens have it in ``iss``.
    - `client_id`, `client_secret`: as which the application is known there; the secret may be missing.
    - `name`: of the provider, for URLs and signals.
    - `scope`: what is asked for, separated by spaces; ``openid`` is part of it.
    - `audience`: what access tokens for this API have in ``aud``; `client_id` unless given.

    The user data are ``id`` (``sub``), ``name``, ``email`` and ``email_verified``, as far as they are told.
    Raises `ValueError` for what none of these can be.
    """

    name = "openid"

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | None = None,
        *,
        name: str | None = None,
        scope: str = "openid email profile",
        audience: str | None = None,
    ) -> None:
        self.audience = audience or client_id
        for option, value in (("client_id", client_id), ("audience", self.audience), ("scope", scope)):
            check_text(option, value)
        if "openid" not in scope.split():
            raise ValueError(f"scope={scope!r} must contain 'openid'.")
        self.name = name or self.name
        self.issuer = Issuer(issuer)
        self.issuers: tuple[str, ...] = (issuer,)
        self.client_id, self.client_secret = client_id, client_secret
        self.scope = scope

    def user_data(self, claims: dict[str, Any]) -> UserData:
        """The user data in the claims of a token that holds. Override it to take more, such as ``roles``."""
        return {"id": claims["sub"], **{name: claims[name] for name in TOLD if name in claims}}

    async def authenticate(self, credentials: dict[str, Any], handler: Any) -> UserData | None:
        """The user of an ``id_token``, which works once, and has the nonce that this browser asked for."""
        token: Any = credentials.get("id_token")
        try:
            claims = await self._identity(token, handler.nonce)
        except Doubtful as doubt:
            self._refuse(doubt)
            return None
        if not await handler.is_first_use(signed_part(token), claims["exp"]):
            self._refuse(Doubtful("it was used before"))
            return None
        return self.user_data(claims)

    async def bearer(self, token: str) -> tuple[UserData, float] | None:
        if issuer_in(token) not in self.issuers:
            return None
        try:
            claims = await self.issuer.claims(token, self.audience, ACCESS_TOKENS, self.issuers)
            self._check_bearer(claims)
        except Doubtful as doubt:
            self._refuse(doubt)
            return None
        return self.user_data(claims), claims["exp"]

    async def _identity(self, token: Any, nonce: str | None) -> dict[str, Any]:
        """The claims of an ID token for this application alone, with this nonce. Raises `Doubtful`."""
        claims = await self.issuer.claims(token, self.client_id, ID_TOKENS, self.issuers)
        self._check_party(claims)
        if not (is_same(claims.get("nonce"), nonce) if nonce else "nonce" not in claims):
            raise Doubtful("its nonce is not that of this browser")
        return claims

    def _check_bearer(self, claims: dict[str, Any]) -> None:
        """That a token is good in any hands, and no ID token of another client. Raises `Doubtful`."""
        if "cnf" in claims:
            raise Doubtful("it is bound to a key (RFC 7800)")
        if self.audience == self.client_id:
            self._check_party(claims)

    def _check_party(self, claims: dict[str, Any]) -> None:
        """That a token is for this client, and was issued to it. Raises `Doubtful`."""
        if claims["aud"] not in (self.client_id, [self.client_id]):
            raise Doubtful("it is for others too")
        if claims.get("azp", self.client_id) != self.client_id:
            raise Doubtful("it was issued to another")

    def _refuse(self, doubt: Doubtful) -> None:
        logger.warning("A token of the provider %s does not hold: %s", self.name, doubt)

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """The authorization endpoint, with a challenge that only `verifier` meets (RFC 7636)."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        endpoint = await self.issuer.endpoint("authorization_endpoint")
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode(parameters)

    async def redeem(
        self, answer: dict[str, str], redirect_uri: str, nonce: str, verifier: str
    ) -> UserData | None:
        if "code" not in answer or not await self._is_of_issuer(answer):
            self._refuse(Doubtful("there is no code, or it is of another provider"))
            return None
        tokens = await self._exchange(answer["code"], redirect_uri, verifier)
        try:
            claims = await self._identity(tokens.get("id_token"), nonce)
        except Doubtful as doubt:
            self._refuse(doubt)
            return None
        if not set(PROFILE) <= claims.keys() and "userinfo_endpoint" in await self.issuer.metadata():
            profile = await self._profile(str(tokens.get("access_token")))
            if profile.get("sub") != claims["sub"]:
                self._refuse(Doubtful("the user information is of another user"))
                return None
            claims = profile | claims
        return self.user_data(claims)

    async def _is_of_issuer(self, answer: dict[str, str]) -> bool:
        """Whether the answer says, or need not say, that it comes from this issuer (RFC 9207)."""
        says = bool((await self.issuer.metadata()).get("authorization_response_iss_parameter_supported"))
        return answer["iss"] in self.issuers if "iss" in answer else not says

    async def _exchange(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """What the token endpoint gives for a code; nothing where it refuses."""
        fields, how = await self._client()
        fields |= {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        endpoint = await self.issuer.endpoint("token_endpoint")
        status, tokens = await fetch(endpoint, method="POST", headers=FORM, body=urlencode(fields), **how)
        if status == 200:
            return tokens
        error = tokens.get("error")  # whose text may be the code itself
        reason = error if error in REFUSALS else f"HTTP {status}"
        logger.warning("The provider %s does not take the code: %s", self.name, reason)
        return {}

    async def _client(self) -> tuple[dict[str, str], dict[str, str]]:
        """How the application proves itself there: in the form, or by arguments of `fetch`."""
        methods = (await self.issuer.metadata()).get("token_endpoint_auth_methods_supported")
        if self.client_secret is None:
            return {"client_id": self.client_id}, {}
        if methods and "client_secret_basic" not in methods:
            return {"client_id": self.client_id, "client_secret": self.client_secret}, {}
        # Both are form-encoded first (RFC 6749, 2.3.1).
        name, password = quote_plus(self.client_id), quote_plus(self.client_secret)
        return {}, {"auth_username": name, "auth_password": password}

    async def _profile(self, access_token: str) -> dict[str, Any]:
        """What the provider tells of the user (OpenID Connect Core 1.0, 5.3)."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, profile = await fetch(await self.issuer.endpoint("userinfo_endpoint"), headers=headers)
        if status != 200:
            raise ProviderUnavailable("The sign-in provider tells nothing of the user.")
        return profile


def check_text(option: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{option} must be a text that is not empty, not {value!r}.")
