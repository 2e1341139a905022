"""JSON from a provider's server: bounded in time and size, and kept for a while."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import UnsatisfiableReadError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from hive.errors import ProviderUnavailable

logger = logging.getLogger("hive")
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds within which a provider must answer."""
MOST_BYTES = 2**18


async def fetch(url: str, **how: Any) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of an answer; `how` is for `tornado.httpclient.HTTPRequest`.

    No redirect is followed. Raises `ProviderUnavailable` for what takes too long or is too large, for a
    status from 500 up, and for what is no JSON object.
    """
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=MOST_BYTES)
    request = HTTPRequest(
        url,
        connect_timeout=PATIENCE,
        request_timeout=PATIENCE,
        follow_redirects=False,
        decompress_response=False,
        **how,
    )
    try:
        response = await client.fetch(request, raise_error=False)
    except (HTTPClientError, UnsatisfiableReadError, OSError, ValueError) as error:
        raise unavailable(url, error) from error
    finally:
        client.close()
    if response.code >= 500:
        raise unavailable(url, f"HTTP {response.code}")
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise unavailable(url, f"HTTP {response.code}, without a JSON object")
    return response.code, answer


def unavailable(url: str, reason: Any) -> ProviderUnavailable:
    logger.warning("A sign-in provider gives no answer at %s: %s", url, reason)
    return ProviderUnavailable()


class Kept(Generic[T]):
    """What a coroutine function gives, kept for some seconds; all who ask meanwhile wait for one answer."""

    def __init__(self, load: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._load = load
        self._seconds = seconds
        self._value: T | None = None
        self._until = 0.0
        self._loading: asyncio.Task[T] | None = None

    async def get(self) -> T:
        if self._value is None or time.monotonic() >= self._until:
            return await self.renew()
        return self._value

    async def renew(self) -> T:
        """What the function gives now."""
        loop = asyncio.get_running_loop()
        if self._loading is None or self._loading.done() or self._loading.get_loop() is not loop:
            self._loading = loop.create_task(self._keep())
        return await asyncio.shield(self._loading)

    async def _keep(self) -> T:
        self._value = await self._load()
        self._until = time.monotonic() + self._seconds
        return self._value
