"""Users who come with a token in each request (RFC 6750), and no cookie."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from hive.auth import tokens
from hive.errors import Unauthorized
from hive.providers import authorize, providers_of
from hive.sessions import Lifetime, Session

MOST_REMEMBERED = 4096
BAD_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Bearers:
    """The sessions of bearer tokens: who comes with one signs in by the first request, at each process.

    A session is remembered for the idle lifetime; then the token is looked at anew.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self.lifetime = lifetime
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._arriving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def session_of(self, handler: Any) -> Session:
        """The session of the token that the request has. Raises `Unauthorized`."""
        token = handler.request.headers["Authorization"][len("Bearer") :].strip()
        name = digest_of(token)
        async with self._arriving.setdefault(name, asyncio.Lock()):  # the first request tells of the sign-in
            known = self._known.get(name)
            if known is None or time.time() >= known.expires:
                known = self._known[name] = await self._arrival(handler, token)
                while len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)
        self._known.move_to_end(name)
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


def digest_of(token: str) -> str:
    return "bearer " + hashlib.sha256(token.encode()).hexdigest()


def bad_token() -> Unauthorized:
    error = Unauthorized("The bearer token is not valid here.")
    error.extra_headers = BAD_TOKEN
    return error
