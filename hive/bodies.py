"""The body of a request, as it arrives: no more of it than is allowed."""

from typing import Any
from urllib.parse import parse_qs

from tornado.web import stream_request_body

from hive import payload
from hive.errors import ContentTooLarge, UnsupportedMediaType
from hive.lazy import lazy
from hive.serving import ProblemHandler

BODY_LIMIT = 2**20
"""Bytes of a body at most, unless the application's setting `hive_body_limit` says otherwise."""
MOST_DROPPED = 2**26
"""Bytes of a body over the limit that are read, so that the client sees the answer."""


@stream_request_body
class BodyHandler(ProblemHandler):
    """A handler that takes bodies."""

    _is_unchecked = False  # whether the token against forged requests is still to come, with the form

    @lazy
    def _body(self) -> bytearray:
        return bytearray()

    def prepare(self) -> None:
        """Refuse a large body before it is sent, if the client waits for that or would not end soon.

        Any other is read to its end and dropped: a client sees no answer while it is sending.
        """
        super().prepare()
        if self._finished:
            return
        length = self.request.headers.get("Content-Length", "0")
        most = self.body_limit if "Expect" in self.request.headers else max(self.body_limit, MOST_DROPPED)
        if length.isascii() and length.isdigit() and int(length[:20]) > most:
            raise self._too_large()

    def check_xsrf_cookie(self) -> None:
        """As Tornado does; for a form without the header when its body is there, in `start`."""
        if self._is_form() and not {"X-Xsrftoken", "X-Csrftoken"} & set(self.request.headers):
            self._is_unchecked = True
        else:
            super().check_xsrf_cookie()

    async def start(self) -> None:
        if self._is_unchecked:
            self.request.arguments["_xsrf"] = [text.encode() for text in self._tokens()]
            super().check_xsrf_cookie()
        await super().start()

    def _is_form(self) -> bool:
        return bool(self.request.headers.get("Content-Type", "").lower().startswith(payload.FORM))

    def _tokens(self) -> list[str]:
        try:
            texts = parse_qs(self._body.decode("utf-8", "replace"), max_num_fields=payload.MOST_FORM_FIELDS)
        except ValueError:  # too many fields, of which more is said where the form is read
            return []
        return texts.get("_xsrf", [])

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.body_limit:
            self._body += chunk

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The body is larger than {self.body_limit} bytes.")

    def body(self, form: Any, *more_types: str) -> dict[str, Any]:
        if len(self._body) > self.body_limit:
            raise self._too_large()
        if "Content-Encoding" in self.request.headers:  # Tornado's decompress_request takes it away
            raise UnsupportedMediaType("The body must not be compressed.")
        accepted = (payload.JSON, *more_types, payload.FORM)
        value = payload.read(self.request.headers.get("Content-Type", ""), bytes(self._body), form, accepted)
        if self._is_unchecked:
            value.pop("_xsrf", None)  # which is no field
        return value

    @property
    def body_limit(self) -> int:
        return int(self.settings.get("hive_body_limit", BODY_LIMIT))
