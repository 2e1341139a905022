"""Any OpenID Connect provider, by discovery."""

import base64
import hashlib
import logging
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from hive.auth.fetching import fetch
from hive.auth.provider import Redirecting, UserData
from hive.auth.tokens import Issuer, is_id_token, is_same, issuer_in, signed_part
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
PROFILE = ("name", "email", "email_verified")


class OpenIDProvider(Redirecting):
    """Signs in with an OpenID Connect provider, found by discovery.

    By redirect (authorization code flow with PKCE), or with an ID token that a client has and posts as
    ``id_token``. A token in ``Authorization`` works for single requests.

    - `issuer`: the URL of the provider, exactly as its tokens have it in ``iss``.
    - `client_id`, `client_secret`: as which the application is known there; the secret may be missing.
    - `name`: of the provider, for URLs and signals.
    - `scope`: what is asked for; ``openid`` is part of it.
    - `audience`: what access tokens for this API have in ``aud``; `client_id` unless given.

    The user data are ``id`` (``sub``), ``name``, ``email`` and ``email_verified``, as far as they are told.
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
        if not client_id:
            raise ValueError("client_id is empty: without it, every token of the provider would be taken.")
        self.name = name or self.name
        self.issuer = Issuer(issuer)
        self.issuers: tuple[str, ...] = (issuer,)
        self.client_id, self.client_secret = client_id, client_secret
        self.scope = scope
        self.audience = audience or client_id

    async def authenticate(self, credentials: dict[str, Any], handler: Any) -> UserData | None:
        """The user of an ``id_token``, which works once, and has the nonce that this browser asked for."""
        token: Any = credentials.get("id_token")
        claims = await self._identity(token, handler.nonce)
        if claims is None or not await handler.is_first_use(signed_part(token), claims["exp"]):
            return None
        return self.user_data(claims)

    async def bearer(self, token: str) -> tuple[UserData, float] | None:
        if issuer_in(token) not in self.issuers:
            return None
        claims = await self.issuer.claims(token, [self.audience], issuers=self.issuers)
        return None if claims is None else (self.user_data(claims), claims["exp"])

    async def _identity(self, token: Any, nonce: str | None) -> dict[str, Any] | None:
        """The claims of an ID token for this application with this nonce."""
        claims = await self.issuer.claims(token, [self.client_id], issuers=self.issuers)
        if claims is None or not is_id_token(token, claims):
            return None
        if claims.get("azp", self.client_id) != self.client_id or claims["aud"] not in (
            self.client_id,
            [self.client_id],
        ):
            return None
        if nonce is None:
            return claims if "nonce" not in claims else None
        return claims if is_same(claims.get("nonce"), nonce) else None

    def user_data(self, claims: dict[str, Any]) -> UserData:
        """The user data in the claims of a token that holds. Override it to take more, such as ``roles``."""
        return {"id": claims["sub"], **{name: claims[name] for name in PROFILE if name in claims}}

    # The authorization code flow (RFC 6749, 4.1) with PKCE (RFC 7636)

    async def authorization_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
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
            return None
        tokens = await self._exchange(answer["code"], redirect_uri, verifier)
        claims = await self._identity(tokens.get("id_token"), nonce)
        if claims is None:
            return None
        if not set(PROFILE[:2]) <= claims.keys() and "userinfo_endpoint" in await self.issuer.metadata():
            profile = await self._profile(str(tokens.get("access_token")))
            if profile.get("sub") != claims["sub"]:
                return None
            claims = profile | claims
        return self.user_data(claims)

    async def _is_of_issuer(self, answer: dict[str, str]) -> bool:
        """Whether the answer says, or need not say, that it comes from this issuer (RFC 9207)."""
        says = bool((await self.issuer.metadata()).get("authorization_response_iss_parameter_supported"))
        return answer["iss"] in self.issuers if "iss" in answer else not says

    async def _exchange(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """What the token endpoint gives for a code; nothing where it refuses."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        how: dict[str, Any] = {"method": "POST", "headers": FORM}
        methods = (await self.issuer.metadata()).get("token_endpoint_auth_methods_supported")
        if self.client_secret is None:
            fields |= {"client_id": self.client_id}
        elif methods and "client_secret_basic" not in methods:
            fields |= {"client_id": self.client_id, "client_secret": self.client_secret}
        else:  # both of the two are form-encoded first (RFC 6749, 2.3.1)
            how |= {
                "auth_username": quote_plus(self.client_id),
                "auth_password": quote_plus(self.client_secret),
            }
        status, tokens = await fetch(
            await self.issuer.endpoint("token_endpoint"), body=urlencode(fields), **how
        )
        if status != 200:
            error = tokens.get("error")  # whose text may be the code itself
            logger.warning(
                "The provider %s does not take the code: %s",
                self.name,
                error if error in REFUSALS else f"HTTP {status}",
            )
        return tokens if status == 200 else {}

    async def _profile(self, access_token: str) -> dict[str, Any]:
        """What the provider tells of the user (OpenID Connect Core 1.0, 5.3)."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, profile = await fetch(await self.issuer.endpoint("userinfo_endpoint"), headers=headers)
        if status != 200:
            raise ProviderUnavailable("The sign-in provider tells nothing of the user.")
        return profile
