"""Answers to GET and HEAD: in the shape that was asked for, cached and compressed, whole or as a stream."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from hive import codings, cursors, expansion, payload, protection, query, shapes, signals
from hive.authentication import authentication_of
from hive.cursors import Position
from hive.emissions import Story
from hive.errors import BadRequest
from hive.exchange import Chunk
from hive.lazy import lazy
from hive.names import family, known
from hive.permissions import is_regardless
from hive.places.pages import Page
from hive.places.place import Item, Place
from hive.plain import dumps
from hive.preconditions import sealed, state_of, tag_of
from hive.query import Listing, Vocabulary
from hive.resource import Resource
from hive.shapes import Shape
from hive.together import Together

NDJSON = "application/x-ndjson"
NO_SECRET = b""
"""For cursors of an application without one: they are told from what was changed by mistake, and no more."""

cursor_key = lru_cache(cursors.cipher)


class Reader(Together):
    """A request that reads."""

    def listing(self, place: Any) -> Listing:
        """What the request asks of a list. Raises `BadRequest`."""
        listing = query.listing(self.request, self._vocabulary(place), self._cursor_key)
        if listing.window.all and not place.streams:
            raise BadRequest("per_page=all is not for this list: leave it out, and follow the links.")
        if (position := listing.window.after or listing.window.before) is not None:
            self._check_position(place, listing, position)
        if listing.count and (listing.window.all or not self._reads_all(place)):
            if "count" in self.request.query_arguments:
                raise BadRequest(
                    "This list is not counted: it is whole, or not everybody may read all of it."
                )
            listing = replace(listing, count=None)  # for what is only preferred
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

    def _reads_all(self, place: Any) -> bool:
        """Whether nobody looks at the documents to know who may read them."""
        return is_regardless(protection.permission(self, place.read_at, "get"))

    def _needs_no_more(self, place: Any) -> bool:
        """Whether nobody looks at the documents but the client."""
        resource: Resource = place.read_at
        heard = signals.post_get_list.has_receivers_for(place.sender)
        own = any(one.own_dict is not None for one in family(resource.serializer))
        return not heard and not own and self._reads_all(place)

    @lazy
    def _secret(self) -> bytes | None:
        authentication = authentication_of(self.application)
        secret = self.settings.get("cookie_secret")
        if secret is None:
            return None if authentication is None else authentication.keys.secret
        return str(secret).encode()

    def seal(self, raw: Mapping[str, Any]) -> str:
        """The state of an object in MongoDB, as this application tells it."""
        return sealed(state_of(raw), self._secret)

    @property
    def _cursor_key(self) -> AESSIV:
        return cursor_key(self._secret or NO_SECRET)

    def shown(self, items: Sequence[Item], shape: Shape) -> list[Any]:
        """The JSON of documents, in the shape that was asked for."""
        documents = [item.encode(item.raw) for item in items]
        if shape.expand:
            every = [(item.encoder, item.raw, json) for item, json in zip(items, documents, strict=True)]
            expansion.expand(self, every, shape.expand, self.routes_of)
        return documents if shape.fields is None else [shape.pick(json) for json in documents]

    def describe(self, place: Any, listing: Listing, page: Page) -> None:
        """Say in the headers how the list goes on, and, where that was asked for, how long it is."""
        link = self.once("link", lambda: query.link(self.request, self._windows(place, listing, page)))
        self.set_header("Link", link)
        if listing.count is not None:
            self.set_header("X-Total-Count", str(page.total))
            if "count" not in self.request.query_arguments:
                self.set_header("Preference-Applied", f"count={listing.count}")

    def _windows(self, place: Any, listing: Listing, page: Page) -> dict[str, list[tuple[str, Any]]]:
        size = ("per_page", listing.window.size)
        if page.is_numbered or (page.ends and not self._may_tell(place, listing, page.ends[0])):
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

    def _check_position(self, place: Any, listing: Listing, position: Position) -> None:
        """Without a secret anybody can make a cursor, and ask by it for what a list is sorted by."""
        if not self._may_tell(place, listing, position):
            raise BadRequest("This list has pages only: pass 'page'.")

    def _may_tell(self, place: Any, listing: Listing, position: Position) -> bool:
        """Whether a cursor tells nothing that clients do not read: without a secret it hides nothing."""
        if self._secret is not None:
            return True
        identity = known(place.encoder, place.encoder.model._meta["id_field"])
        is_read = identity is not None and (listing.order is not None or len(position) == 1)
        return is_read and self._reads_all(place)

    def show(self, value: Callable[[], Any], *vary: str, state: Callable[[], str] | None = None) -> None:
        """200, with the JSON of a value, which is not made for HEAD, nor sent to who has it.

        `vary` are the request headers that it depends on, beside those that every answer does; `state` is
        that of the one document which it shows.
        """
        if self._finished:
            return
        self._set_representation(payload.JSON, *vary)
        if self.request.method == "HEAD":
            return
        body: bytes = self.once("body", lambda: dumps(value()))
        tag = self.once("tag", lambda: tag_of(state() if state else "list", body))
        large = len(body) >= codings.LARGE
        coding = codings.accepted(self.request.headers.get("Accept-Encoding", "")) if large else None
        self.set_header("Etag", f'{tag[:-1]}-{coding}"' if coding else tag)
        if self.check_etag_header():
            self.set_status(304)
            return
        if coding:
            self.set_header("Content-Encoding", coding)
            body = self.once(coding, lambda: codings.CODINGS[coding]().last(body))
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
        weights = dict(map(codings.weighted, self.request.headers.get("Accept", "").lower().split(",")))
        lines = weights.get(NDJSON, 0.0) > 0 and weights[NDJSON] >= weights.get(payload.JSON, 0.0)
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
            if not values:
                yield Chunk(b"")  # for a story that goes on has its time anew
                continue
            body = b"".join(dumps(value) + b"\n" for value in values) if lines else dumps(values)[1:-1]
            yield Chunk(coder.piece(before + body) if coder else before + body)
            before = b"" if lines else b","
        end = b"" if lines else b"[]" if before == b"[" else b"]"
        yield Chunk(coder.last(end) if coder else end)
