"""The body of a request, as it arrives: no more of it than is allowed."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from tornado.web import stream_request_body

from hive import payload
from hive.errors import ContentTooLarge, UnsupportedMediaType
from hive.lazy import lazy
from hive.serving import ProblemHandler

BODY_LIMIT = 2**20
"""Bytes of a body at most, unless the application's setting `hive_body_limit` says otherwise."""
BULK_LIMIT = 2**24
"""The same of an array of documents, by `hive_bulk_limit`."""
ARRAY = re.compile(rb"[ \t\n\r]*\[")
MOST_DROPPED = 2**26
"""Bytes of a body over the limit that are read, so that the client sees the answer."""


@stream_request_body
class BodyHandler(ProblemHandler):
    """A handler that takes bodies."""

    _is_over = False  # whether the body is larger than it may be
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
        limit = max(self.body_limit, self._bulk_limit) if self._is(payload.JSON) else self.body_limit
        most = limit if "Expect" in self.request.headers else max(limit, MOST_DROPPED)
        if length.isascii() and length.isdigit() and int(length[:20]) > most:
            raise self._too_large()

    def check_xsrf_cookie(self) -> None:
        """As Tornado does; for a form without the header when its body is there, in `start`."""
        if self._is(payload.FORM) and not {"X-Xsrftoken", "X-Csrftoken"} & set(self.request.headers):
            self._is_unchecked = True
        else:
            super().check_xsrf_cookie()

    async def start(self) -> None:
        if self._is_unchecked:
            self.request.arguments["_xsrf"] = [text.encode() for text in self._tokens()]
            super().check_xsrf_cookie()
        await super().start()

    def _is(self, media_type: str) -> bool:
        told = self.request.headers.get("Content-Type", "").lower()
        return bool(told.partition(";")[0].strip() == media_type)

    def _tokens(self) -> list[str]:
        try:
            texts = parse_qs(self._body.decode("utf-8", "replace"), max_num_fields=payload.MOST_FORM_FIELDS)
        except ValueError:  # too many fields, of which more is said where the form is read
            return []
        return texts.get("_xsrf", [])

    def data_received(self, chunk: bytes) -> None:
        if not self._is_over:
            self._body += chunk
            self._is_over = len(self._body) > self.body_limit

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The body is larger than {self.body_limit} bytes.")

    def body(self, form: Any, *more_types: str) -> Any:
        """The object in the body; the operations of a JSON Patch, where `more_types` has that."""
        accepted = (payload.JSON, *more_types, payload.FORM)
        body, content_type = self._checked_body(), self.request.headers.get("Content-Type", "")
        value = payload.read(content_type, body, form, accepted)
        if self._is_unchecked and isinstance(value, dict):
            value.pop("_xsrf", None)  # which is no field
        return value

    def array(self, most: int) -> Iterator[dict[str, Any]]:
        """The objects in the body, `most` at most."""
        payload.checked_type(self.request.headers.get("Content-Type", ""), (payload.JSON,))
        return payload.array(self._checked_body(), most)

    def _checked_body(self) -> bytes:
        if self._is_over:
            raise self._too_large()
        if "Content-Encoding" in self.request.headers:  # Tornado's decompress_request takes it away
            raise UnsupportedMediaType("The body must not be compressed.")
        return bytes(self._body)

    @property
    def is_array(self) -> bool:
        """Whether the body is a JSON array, rather than an object or a form."""
        return self._is(payload.JSON) and bool(ARRAY.match(self._body))

    @property
    def body_limit(self) -> int:
        return self._bulk_limit if self.is_array else int(self.settings.get("hive_body_limit", BODY_LIMIT))

    @property
    def _bulk_limit(self) -> int:
        return int(self.settings.get("hive_bulk_limit", BULK_LIMIT))
