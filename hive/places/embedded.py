"""Places that are embedded documents, or lists of them."""

from typing import Any, ClassVar

from mongoengine.base import get_document

from hive import filters
from hive.decoding import Decoding
from hive.encoding import Member
from hive.errors import Conflict, NotFound
from hive.orders import arranged
from hive.places import pages
from hive.places.field import Field
from hive.places.pages import Page
from hive.places.place import Holder, Item
from hive.plain import plain
from hive.query import Listing
from hive.rows import Raw
from hive.schema import lookup_field
from hive.serializers import Serializer
from hive.values import Part


class Embedded(Field, Holder):
    verbs: ClassVar[tuple[str, ...]] = ("GET", "POST", "PUT", "PATCH", "DELETE")

    def locate(self, document: Any) -> Any:
        return self.found_in(self.holder.locate(document))

    def found_in(self, owner: Any) -> Any:
        """The object in its owner. Raises `NotFound` where it is gone."""
        found = self.find_in(owner)
        if found is None:
            raise NotFound
        return found

    def find_in(self, owner: Any) -> Any:
        return self.value_in(owner)

    @property
    def raw(self) -> Raw:
        return self.kind.to_mongo(self.current)  # type: ignore[no-any-return]

    @property
    def latest(self) -> Raw:
        found = self.holder.latest.get(self.member.field.db_field)
        if found is None:
            raise NotFound
        return found  # type: ignore[no-any-return]

    def decode(self, body: dict[str, Any], decoding: Decoding) -> Part:
        if self.model is None and body.get("_cls") == self.current._class_name:
            body = {name: item for name, item in body.items() if name != "_cls"}
        return super().decode(body, decoding)

    def serializer_of(self, model: Any) -> Serializer:
        return self.codec.serializer_of(model)  # type: ignore[no-any-return]

    @property
    def encoder(self) -> Serializer | None:
        return self.serializer_of(type(self.current))

    def encode(self, raw: Raw) -> dict[str, Any]:
        return self.codec.encode(raw)  # type: ignore[no-any-return]

    def hydrate(self, raw: Raw) -> Any:
        return self.kind.to_python(raw)

    def name_of(self, value: Any, owner: Any) -> str | None:
        """The segment that leads on to a value that was put into the field."""
        return None

    def item_named(self, _: None) -> "Embedded":
        """The place to which that segment leads."""
        return self

    def state_with(self, part: Any) -> str:
        """The state of the object, which a write has made of what was here."""
        return self.state


class ListedEmbedded(Embedded):
    verbs = ("GET", "PUT", "PATCH", "DELETE")

    def __init__(self, holder: Holder, member: Member, key: str) -> None:
        super().__init__(holder, member, key)
        self.trail = (*self.trail, "*")

    def find_in(self, owner: Any) -> Any:
        """The item of that name. Where it is an index, the list must be as long as it was at first."""
        items = self.items_in(owner)
        self.length = getattr(self, "length", len(items))
        named = ((item, item_name(item, index)) for index, item in enumerate(items))
        found = next((item for item, name in named if name == self.key), None)
        if found is not None and is_by_index(found) and len(items) != self.length:
            raise Conflict("The list has changed, so that an index means another item of it.")
        return found

    def state_with(self, part: Any) -> str:
        items = self.holder.latest.get(self.member.field.db_field) or []
        same = (raw for raw in items if self.kind.to_python(raw) == part)  # wherever it is, by whatever name
        found = next(same, None)
        return self.state if found is None else self.world.handler.seal(found)

    @property
    def latest(self) -> Raw:
        items = self.holder.latest.get(self.member.field.db_field) or []
        for index, raw in enumerate(items):
            if item_name(self.kind.to_python(raw), index) == self.key:
                return raw  # type: ignore[no-any-return]
        raise NotFound

    def take_from(self, owner: Any) -> None:
        gone = self.find_in(owner)
        setattr(owner, self.member.name, [item for item in self.items_in(owner) if item is not gone])


class EmbeddedList(Field):
    verbs = ("GET", "POST")
    many = True

    def __init__(self, holder: Holder, member: Member) -> None:
        super().__init__(holder, member)
        self.trail = (*self.trail, "*")

    @property
    def encoder(self) -> Serializer | None:
        return self.codec.serializer if self.model else None

    def page(self, listing: Listing) -> Page:
        """The part of the list that a request asks for."""
        items = [self._item(self.kind.to_mongo(item)) for item in self.items_in(self.holder.current)]
        items = [item for item in items if filters.holds(listing.conditions, item.raw)]
        if listing.order is None:
            items = pages.nearest(items, listing)
        else:
            items = arranged(items, listing.order, lambda item: item.raw)
        return pages.numbered(items, listing.window)

    def _item(self, raw: Raw) -> Item:
        encoder = self.encoder or self.codec.serializer_of(get_document(raw["_cls"]))
        return Item(raw, self.codec.encode, self.kind.to_python, encoder)

    def put_into(self, owner: Any, value: Any) -> None:
        setattr(owner, self.member.name, [*self.items_in(owner), value])

    def name_of(self, value: Any, owner: Any) -> str | None:
        stored = self.member.field.to_mongo(self.items_in(owner))  # a sorted list has its own order
        index = max(index for index, raw in enumerate(stored) if raw == self.kind.to_mongo(value))
        return item_name(value, index)

    def item_named(self, name: str) -> ListedEmbedded:
        return ListedEmbedded(self.holder, self.member, name)


def is_by_index(item: Any) -> bool:
    lookup = lookup_field(type(item))
    return lookup is None or item._data.get(lookup) in (None, "")


def item_name(item: Any, index: int) -> str:
    """The name of an item of an embedded list: the value of its lookup field, or its index if it has none."""
    lookup = lookup_field(type(item))
    value = None if lookup is None else item._data.get(lookup)
    return str(index) if value in (None, "") else str(plain(value))
