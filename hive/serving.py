"""What every handler of hive does: name its request, tell of its start and its end, answer errors."""

import asyncio
import logging
import re
import socket
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from secrets import token_hex
from typing import Any

from tornado.web import HTTPError, RequestHandler

from hive import emissions, errors, origins, signals
from hive.concerns import ask_primary
from hive.current import Current, context
from hive.dispatcher import Signal
from hive.errors import NotFound, Problem
from hive.lazy import lazy

logger = logging.getLogger("hive")

TRUSTED = "hive_trusted_clients"
"""The setting of the application that lists the addresses and networks whose ``X-Request-ID`` is taken."""
REQUEST_ID = re.compile(r"[!-~]{1,128}")
"""Visible ASCII, which can break neither a header nor a line of the log."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What keeps a browser from taking an answer for a page, or showing it in another (OWASP REST Security)."""
SECONDS_OF_HTTPS = 31_536_000
ENDING: set[asyncio.Task[None]] = set()
"""Requests whose end is being told: asyncio itself keeps no reference to its tasks."""


class ProblemHandler(RequestHandler):
    """Answers every error as ``application/problem+json`` (RFC 9457), which tells nothing of the inside.

    It sends `request_started` and `request_finished`; in between, `hive.context` knows the request.
    """

    _is_started = False

    request: Any  # Tornado's own type does not know the connection

    @lazy
    def request_id(self) -> str:
        """Names this request in the log and in its answer: as a trusted client says, or anew."""
        told: list[str] = self.request.headers.get_list("X-Request-ID")
        if len(told) == 1 and REQUEST_ID.fullmatch(told[0]) and self._is_trusted():
            return told[0]
        return token_hex(16)

    def _is_trusted(self) -> bool:
        try:
            return is_trusted(self.request.connection.context, tuple(self.settings.get(TRUSTED, ())))
        except (TypeError, ValueError) as error:
            logger.error("The setting %s is not understood: %s", TRUSTED, error)  # noqa: TRY400 - no bug
            return False

    def set_default_headers(self) -> None:
        del self._headers["Server"]
        self._headers.update(SECURITY)
        self._headers["X-Request-Id"] = self.request_id
        for name, value in origins.cors_headers(self.request, origins.readers(self.settings)).items():
            self.set_header(name, value)
        if self.request.protocol == "https":
            self.set_header("Strict-Transport-Security", f"max-age={SECONDS_OF_HTTPS}")

    def prepare(self) -> Any:
        context.set(Current(self))
        if self.may_write():
            ask_primary()
        if self.is_preflight():
            for name, value in origins.preflight_headers(self.request, METHODS).items():
                self.set_header(name, value)
            self.set_status(204)
            self.finish()

    def may_write(self) -> bool:
        """Whether the request may change what is stored."""
        return self.request.method not in origins.SAFE

    def is_preflight(self) -> bool:
        """Whether a browser asks if a page of another origin, which may read answers, may send a request."""
        return origins.is_preflight(self.request) and "Access-Control-Allow-Origin" in self._headers

    def check_xsrf_cookie(self) -> None:
        """As Tornado does, but not for a client that sends a token: no page can make a browser do that."""
        if not origins.has_bearer(self.request):
            super().check_xsrf_cookie()

    async def start(self) -> None:
        """Send `request_started`, unless that was done."""
        if not self._is_started:
            self._is_started = True
            await self.tell(signals.request_started, self.application)

    def on_finish(self) -> None:
        # Whether anybody hears of this application is known in the context, which not every way here has.
        if signals.request_started.receivers or signals.request_finished.receivers:
            ENDING.add(task := asyncio.create_task(self._end()))
            task.add_done_callback(ENDING.discard)

    async def _end(self) -> None:
        context.set(Current(self))
        await self.start()  # for one that was refused before its verb
        await self.tell(signals.request_finished, self.application, status=self.get_status())

    async def tell(self, signal: Signal, sender: Any, **arguments: Any) -> None:
        """Call the receivers, whose exceptions do not count here but are told by `receiver_failed`."""
        await emissions.tell(signal, sender, handler=self, **arguments)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        members = {"request_id": self.request_id} if status_code == 500 else {}
        if isinstance(error, Problem):
            for name, value in error.extra_headers.items():
                self.set_header(name, value)
        self.set_header("Content-Type", errors.CONTENT_TYPE)
        self.finish(errors.body(status_code, error, **members))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)
        else:
            logger.error("%s", self._request_summary(), exc_info=(typ, value, tb))


class NotFoundHandler(ProblemHandler):
    """For `Application(default_handler_class=...)`: 404 as a problem, like hive's own."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise NotFound


def is_trusted(connection: Any, names: tuple[str, ...]) -> bool:
    """Whether a connection comes from one of the networks; "unix" stands for all Unix sockets.

    It is the address of the connection that counts, whatever ``X-Forwarded-For`` says. Raises `ValueError`.
    """
    networks = networks_of(names)
    if connection.address_family not in (socket.AF_INET, socket.AF_INET6):
        return "unix" in names
    address = ip_address(connection.address[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


@lru_cache
def networks_of(names: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(name, strict=False) for name in names if name != "unix"]
