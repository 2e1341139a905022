"""The handlers of sign-in by redirect: off to the provider, and back with a code (RFC 6749, 4.1)."""

import logging
import re
from secrets import token_urlsafe
from typing import Any

from hive import pool
from hive.auth.provider import Provider, Redirecting
from hive.auth.tokens import is_same
from hive.signin import SECONDS_TO_SIGN_IN, AuthHandler, soon

logger = logging.getLogger("hive")

ERROR = re.compile(r"[a-z_]{1,60}")
"""What a provider may say is wrong (RFC 6749, 4.1.2.1)."""
FLOW = "flow"
MOST_SIDE_BY_SIDE = 5
NOT_BEGUN = "The sign-in was not begun in this browser, or it took too long, or it has ended before."


class FlowHandler(AuthHandler):
    """What the two ends of a sign-in by redirect have in common."""

    def redirect_uri(self, provider: Provider) -> str:
        """Where the provider sends the browser back to; to be registered there."""
        return f"{self.authentication.origin_of(self)}{self.prefix}/auth/callback/{provider.name}/"

    def _request_summary(self) -> str:
        """For the log: without the query, which has the code of the provider."""
        return f"{self.request.method} {self.request.path} ({self.request.remote_ip})"


class StartHandler(FlowHandler):
    """``/auth/signin/NAME/``: off to the provider; ``?next=/path`` is where the browser is in the end."""

    async def get(self, name: str) -> None:
        await self.start()
        provider = self.provider(name, Redirecting)
        target = self.target() or "/"
        state, nonce, verifier = token_urlsafe(24), token_urlsafe(24), token_urlsafe(48)
        url = await provider.authorization_url(self.redirect_uri(provider), state, nonce, verifier)
        flow = {
            "uri": self.redirect_uri(provider),
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "next": target,
        }
        value = self.authentication.keys.sign(FLOW, flow | {"exp": soon()})
        self._forget_others()
        self.authentication.set_cookie(self, suffix_of(state), value, SECONDS_TO_SIGN_IN)
        self.redirect(url)

    def _forget_others(self) -> None:
        """Let not so many sign-ins be begun side by side that their cookies fill the header of a request."""
        own = self.authentication.cookie(self)
        begun = [name.removeprefix(own) for name in self.cookies if name.startswith(own + "_")]
        for suffix in begun if len(begun) > MOST_SIDE_BY_SIDE else ():
            self.authentication.set_cookie(self, suffix, "", 0)


class CallbackHandler(FlowHandler):
    """``/auth/callback/NAME/``: back from the provider, with a code that is worth a session."""

    def may_write(self) -> bool:
        """Receivers of a sign-in store accounts."""
        return True

    async def get(self, name: str) -> None:
        await self.start()
        provider = self.provider(name, Redirecting)
        answer = {
            key: values[0].decode(errors="replace")
            for key, values in self.request.query_arguments.items()
            if len(values) == 1
        }
        flow = await self._flow(provider, answer.get("state", ""))
        await self.count_client()
        if "error" in answer:
            said = (
                answer["error"] if ERROR.fullmatch(answer["error"]) else "something else than an error code"
            )
            logger.warning("The provider %s has not signed in a user: %s", provider.name, said)
            await self.fail(provider, "The provider has not signed you in.")
        user_data = await provider.redeem(
            answer, self.redirect_uri(provider), flow["nonce"], flow["verifier"]
        )
        if user_data is None:
            await self.fail(provider, "The answer of the provider does not hold.")
        await self.count_user(provider, user_data.get("id"))
        await self.authentication.begin(self, provider, user_data)
        if not self._finished:
            self.redirect(flow["next"])

    async def _flow(self, provider: Provider, state: str) -> dict[str, Any]:
        """What this browser was sent off with; it comes back once."""
        authentication, suffix = self.authentication, suffix_of(state)
        flow = authentication.keys.read(FLOW, authentication.get_cookie(self, suffix))
        if flow is None or not is_same(flow["state"], state) or flow["uri"] != self.redirect_uri(provider):
            await self.fail(provider, NOT_BEGUN)
        authentication.set_cookie(self, suffix, "", 0)
        if not await pool.call(lambda: authentication.revocations.add(f"state {state}", flow["exp"])):
            await self.fail(provider, NOT_BEGUN)
        return flow


def suffix_of(state: str) -> str:
    """What tells the cookies apart of sign-ins that were begun side by side."""
    return "_" + state[:8]
