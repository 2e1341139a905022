"""Answers to GET and HEAD: in the shape that was asked for, cached and compressed, whole or as a stream."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

from hive import codings, cursors, payload, protection, query, shapes, signals
from hive.authentication import authentication_of
from hive.errors import BadRequest
from hive.exchange import Chunk, Story
from hive.lazy import lazy
from hive.permissions import is_regardless
from hive.places.pages import Page
from hive.places.place import Item, Place
from hive.plain import dumps
from hive.query import Listing, Vocabulary
from hive.resource import Resource
from hive.shapes import Shape
from hive.together import Together

NDJSON = "application/x-ndjson"
UNSIGNED = b"hive"
"""What signs cursors where the application has no secret: enough to tell one that was changed by mistake."""


class Reader(Together):
    """A request that reads."""

    def listing(self, place: Any) -> Listing:
        """What the request asks of a list. Raises `BadRequest`."""
        listing = query.listing(self.request, self._vocabulary(place), self._cursor_key)
        resource = place.read_at
        if listing.count and resource and not is_regardless(protection.permission(self, resource, "get")):
            raise BadRequest("This list is not counted, for who may read what is decided by each document.")
        if listing.window.all and not place.streams:
            raise BadRequest("per_page=all is not for this list: leave it out, and follow the links.")
        if listing.shape.fields is None or not self._needs_no_more(place):
            return listing
        return replace(listing, projection=shapes.keys(listing.shape.fields, place.encoder))

    def shape(self, place: Any) -> Shape:
        """In which shape one document is asked for. Raises `BadRequest`."""
        vocabulary = self._vocabulary(place)
        return Shape() if vocabulary is None else query.instance(self.request, vocabulary)

    def _vocabulary(self, place: Any) -> Vocabulary | None:
        if place.encoder is None:
            return None
        has_text = place.many and place.searches and place.read_at.has_text
        find = self.decoding().sought
        return Vocabulary(place.encoder, place.read_at.filterable, find, self.routes_of, has_text)

    def _needs_no_more(self, place: Any) -> bool:
        """Whether nobody looks at the documents but the client."""
        resource: Resource = place.read_at
        heard = signals.post_get_list.has_receivers_for(place.sender)
        permission = protection.permission(self, resource, "get")
        return not heard and resource.serializer.own_dict is None and is_regardless(permission)

    @lazy
    def _cursor_key(self) -> bytes:
        authentication = authentication_of(self.application)
        secret = self.settings.get("cookie_secret")
        if secret is None and authentication is not None:
            return authentication.keys.secret
        return UNSIGNED if secret is None else str(secret).encode()

    def shown(self, items: Iterable[Item], shape: Shape) -> list[Any]:
        """The JSON of documents, in the shape that was asked for."""
        every = [(item.encoder, item.raw, item.encode(item.raw)) for item in items]
        if shape.expand:
            shapes.expand(self, every, shape.expand, self.routes_of)
        return [shape.pick(json) for _, _, json in every]

    def describe(self, listing: Listing, page: Page) -> None:
        """Say in the headers how the list goes on, and, where that was asked for, how long it is."""
        link = self.once("link", lambda: query.link(self.request, self._windows(listing, page)))
        self.set_header("Link", link)
        if listing.count is not None:
            self.set_header("X-Total-Count", str(page.total))
            self.set_header("Preference-Applied", f"count={listing.count}")

    def _windows(self, listing: Listing, page: Page) -> dict[str, list[tuple[str, Any]]]:
        size = ("per_page", listing.window.size)
        if page.is_numbered:
            number = listing.window.number or 1
            numbers = {"first": 1}
            numbers |= {"prev": number - 1} if page.has_before else {}
            numbers |= {"next": number + 1} if page.has_after else {}
            return {rel: [("page", number), size] for rel, number in numbers.items()}
        windows: dict[str, list[tuple[str, Any]]] = {"first": [size]}
        if page.ends is None:  # there is nothing
            return windows
        first, last = (cursors.write(end, listing.bound, self._cursor_key, page.options) for end in page.ends)
        windows |= {"prev": [("before", first), size]} if page.has_before else {}
        windows |= {"next": [("after", last), size]} if page.has_after else {}
        return windows

    def show(self, value: Callable[[], Any], *vary: str) -> None:
        """200, with the JSON of a value, which is not made for HEAD, nor sent to who has it.

        `vary` are the request headers that it depends on, beside those that every answer does.
        """
        if self._finished:
            return
        self._set_representation(payload.JSON, *vary)
        if self.request.method == "HEAD":
            return
        body = self.once("body", lambda: dumps(value()))
        tag = self.once("tag", lambda: f'"{sha256(body).hexdigest()[:32]}"')
        self.set_header("Etag", tag)
        if self.check_etag_header():
            self.set_status(304)
            return
        coding = codings.accepted(self.request.headers.get("Accept-Encoding", ""))
        if coding is not None and len(body) >= codings.LARGE:
            self.set_header("Etag", f"W/{tag}")
            self.set_header("Content-Encoding", coding)
            body = codings.CODINGS[coding]().last(body)
        self.write(body)

    def finish(self, chunk: Any = None) -> Any:
        """An answer to HEAD does not say how long that to GET would be, which nobody knows."""
        if self.request.method == "HEAD" and self.get_status() == 200 and not self._headers_written:
            self.flush()
        return super().finish(chunk)

    def _set_representation(self, content_type: str, *vary: str) -> None:
        self.set_header("Content-Type", content_type)
        if self.resource.cache_control is not None:
            self.set_header("Cache-Control", self.resource.cache_control)
        who = ("Authorization", "Cookie") if authentication_of(self.application) else ()
        told = [name for name in (self._headers.get("Vary"), "Accept-Encoding", *who, *vary) if name]
        self.set_header("Vary", ", ".join(told))

    def stream(self, place: Place, listing: Listing) -> Story:
        """The whole list, a piece at a time: an array, or a line for each document (``Accept``)."""
        lines = NDJSON in self.request.headers.get("Accept", "")
        self._set_representation(NDJSON if lines else payload.JSON, "Accept")
        if self.request.method == "HEAD":
            return
        coding = codings.accepted(self.request.headers.get("Accept-Encoding", ""))
        coder = codings.CODINGS[coding]() if coding else None
        if coding:
            self.set_header("Content-Encoding", coding)
        before = b"" if lines else b"["
        for items in place.everything(listing):  # type: ignore[attr-defined]
            values = self.shown(self.readable(items), listing.shape)
            if values:
                body = b"".join(dumps(value) + b"\n" for value in values) if lines else dumps(values)[1:-1]
                yield Chunk(coder.piece(before + body) if coder else before + body)
                before = b"" if lines else b","
        end = b"" if lines else b"[]" if before == b"[" else b"]"
        yield Chunk(coder.last(end) if coder else end)
