"""Places that are documents stored for themselves."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hive import protection
from hive.errors import NotFound
from hive.lazy import lazy
from hive.origins import SAFE
from hive.places import pages
from hive.places.pages import Page
from hive.places.place import Holder, Item, Place, World
from hive.query import Listing
from hive.races import Same, Stored
from hive.resource import Keys, Resource
from hive.rows import Query, Raw, Rows, hydrate
from hive.serializers import Serializer

Find = Callable[[Rows], Raw | None]


class Collection(Place):
    verbs = ("GET", "POST", "PATCH", "DELETE")
    many = True
    searches = True

    def __init__(self, world: World) -> None:
        super().__init__(world, world.root, [world.root.name])
        self.model = world.root.model

    def check(self, action: str) -> None:
        """Nothing more than every request had to pass, for no document is known yet."""

    def row_named(self, name: str) -> "Row":
        """The document with this ID."""

        def find(rows: Rows) -> Raw | None:
            handler = self.world.handler
            fetched, handler.fetched = handler.fetched, None  # what was read with others holds once
            if fetched is not None and fetched["_id"] == handler.wanted == row.key:
                return fetched  # type: ignore[no-any-return]
            return by_name(rows, self.resource.keys, name)

        row = Row(self.world, self.resource, [f"{self.resource.name}/{name}"], find)
        if self.resource.is_plain:
            row.key = next(self.resource.keys.queries(name), {}).get("_id")
        return row

    def row_found(self, raw: Raw, query: Query) -> "Row":
        """A document that a filter has found, and finds again as long as it matches."""
        name = self.resource.keys.name_of(raw)
        row = Row(
            self.world,
            self.resource,
            [f"{self.resource.name}/{name}"],
            lambda rows: rows.where(query).first({"_id": raw["_id"]}),
        )
        row.found, row.is_filtered = raw, True
        return row

    @property
    def streams(self) -> bool:  # type: ignore[override]
        return self.resource.stream

    def page(self, listing: Listing) -> Page:
        """The part of the list that a request asks for."""
        readable, indexed = self.world.readable(self.resource), self.resource.require_index
        return pages.stored(self.rows, listing, self.item, readable, indexed=indexed)

    def everything(self, listing: Listing) -> Iterator[list[Item]]:
        """The whole list, some items at a time."""
        return pages.streamed(self.rows, listing, self.item, indexed=self.resource.require_index)

    @lazy
    def rows(self) -> Rows:
        rows = self.world.rows(self.resource)
        return rows if self.world.handler.request.method in SAFE else rows.on_primary()

    @lazy
    def item(self) -> Callable[[Raw], Item]:
        return item_of(self.resource, self.model)


def item_of(resource: Resource, model: Any) -> Callable[[Raw], Item]:
    """What makes an item of a document that is read at `resource`."""
    serializer, document = resource.serializer, partial(hydrate, model)
    return lambda raw: Item(raw, serializer.encode, document, serializer, resource)


def by_name(rows: Rows, keys: Keys, name: str, among: list[Any] | None = None) -> Raw | None:
    """The document that an ID in a URL names, `among` those with some primary keys or all.

    A primary key goes before a lookup field.
    """
    found = (rows.first(query) for query in keys.queries(name))
    return next((raw for raw in found if raw is not None and (among is None or raw["_id"] in among)), None)


class Row(Holder):
    """A stored document. `find` gives it from among the documents that exist for this request, or None."""

    verbs = ("GET", "PUT", "PATCH", "DELETE")
    writable = True

    def __init__(
        self, world: World, resource: Resource, arguments: list[str], find: Find, model: Any = None
    ) -> None:
        super().__init__(world, resource, arguments)
        self.model = model or resource.model
        self.find = find
        self.checked: list[str] = []
        self.looked = False  # whether the answers came from the document itself
        self.is_filtered = False  # whether it is meant for what it has
        self.key: Any = None  # its primary key, where that is all to find it by

    @lazy
    def found(self) -> Raw | None:
        return self.find(self._rows)

    @property
    def _rows(self) -> Rows:
        """The documents among which it is, by now."""
        rows = self.world.rows(self.resource, self.model)
        return rows if self.world.handler.request.method in SAFE else rows.on_primary()

    @property
    def raw(self) -> Raw:
        if self.found is None:
            raise NotFound
        return self.found

    @lazy
    def stored(self) -> Stored:
        """The document. A scope may leave out fields of it, which are then of no account."""
        is_whole = self.resource.scope is None or "projection" not in self._rows.how
        same = Same.ALL if is_whole else Same.LOADED
        is_chosen = self.is_filtered or self.resource.scope is not None
        return Stored(self.hydrate(self.raw), self.raw, self._load, same, holds_whole=is_chosen)

    @property
    def latest(self) -> Raw:
        return self.stored.raw if "stored" in vars(self) else self.raw

    def _load(self) -> Raw | None:
        """The document as it is by now, if the request may still do what it was allowed to."""
        raw = self.find(self._rows)
        if raw is not None:
            for action in self.checked:
                protection.check(self.world.handler, self.resource, action, self.hydrate(raw))
        return raw

    def check(self, action: str) -> None:
        if action not in self.checked:
            looks = protection.looks_at_instances(self.world.handler, self.resource, action)
            instance = self.hydrate(self.raw) if looks else None
            protection.check(self.world.handler, self.resource, action, instance)
            self.checked.append(action)
            self.looked = self.looked or looks
            if looks and action == "update":
                self.stored.holds_whole = True

    def locate(self, document: Any) -> Any:
        return document

    def serializer_of(self, model: Any) -> Serializer:
        return self.resource.serializer.of(model._class_name)

    def encode(self, raw: Raw) -> dict[str, Any]:
        return self.resource.serializer.encode(raw)

    def hydrate(self, raw: Raw) -> Any:
        return hydrate(self.model, raw)
