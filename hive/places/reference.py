"""Places that are references, or lists of them; through them, the documents there."""

from typing import Any, ClassVar

import mongoengine as me

from hive import protection
from hive.codecs.references import key_in, model_of, reference_to, registered
from hive.encoding import Member
from hive.errors import Invalid, NotFound
from hive.lazy import lazy
from hive.places import pages
from hive.places.field import Field
from hive.places.pages import Page
from hive.places.place import Holder, Item
from hive.places.stored import Find, Row, by_name, item_of
from hive.plain import plain
from hive.query import Listing
from hive.resource import Resource
from hive.rows import NOTHING, Rows, rows_of
from hive.serializers import Serializer


class Reference(Field):
    verbs: ClassVar[tuple[str, ...]] = ("GET", "POST", "PUT", "PATCH", "DELETE")

    def __init__(self, holder: Holder, member: Member, key: str | None = None) -> None:
        super().__init__(holder, member, key)
        self.trail = ()  # what is below is in another document
        if self.model is not None and self.world.resource_of(self.model) is None:
            raise NotFound

    def permits(self, verb: str) -> bool:
        if verb in ("POST", "DELETE"):
            return super().permits(verb)
        return verb in self.resource.methods and self._target_permits(verb)

    def check(self, action: str) -> None:
        """GET, PUT and PATCH are about the target; POST and DELETE change the document that refers to it."""
        if action in ("get", "update"):
            self.target.check(action)
        else:
            super().check(action)

    def _target_permits(self, verb: str) -> bool:
        """Whether the routes of what it leads to have this method; if it leads nowhere, the answer is 404."""
        if self.model is not None:
            return verb in self.target_resource(self.model).methods
        models = {self.class_of(item) for item in self._values()}
        resources = [resource for model in models if (resource := self.world.resource_of(model))]
        return not models or any(verb in resource.methods for resource in resources)

    def _values(self) -> list[Any]:
        """The references that it may be, for one that does not tell its class beforehand."""
        value = self.find_in(self.holder.current)
        return [] if value is None else [value]

    @property
    def form(self) -> Serializer | None:
        return self.target_resource(self.model).serializer if self.model else None

    def target_resource(self, model: Any) -> Resource:
        resource = self.world.resource_of(model)
        if resource is None:
            raise NotFound
        return resource

    @property
    def sender(self) -> Any:
        return self.model or (me.Document if self.many else self.target.model)

    def creating(self, body: dict[str, Any]) -> tuple[Resource, dict[str, Any]]:
        """The routes under which a new target is created from a body, and its fields."""
        if self.model is not None:
            return self.target_resource(self.model), body
        try:
            model = registered(str(body.get("_cls")), me.Document, self.kind.choices)
        except ValueError as error:
            raise Invalid(errors=[{"field": "_cls", "message": str(error)}]) from None
        return self.target_resource(model), {name: item for name, item in body.items() if name != "_cls"}

    def class_of(self, reference: Any) -> Any:
        """The class of the target: the field declares it, or the reference itself names it."""
        return self.model or model_of(reference)

    def identity(self, reference: Any) -> tuple[Any, Any]:
        """The class of the target and its primary key."""
        return self.class_of(reference), key_in(reference)

    def row_of(self, reference: Any) -> Row:
        """The document that a reference means."""
        model = self.class_of(reference)
        return self.row(model, lambda rows: rows.first({"_id": key_in(reference)}))

    def link(self, owner: Any, document: Any) -> None:
        """Set the reference to a document, or add one to the list."""
        self.put_into(owner, reference_to(self.kind, document))

    def check_holds(self) -> None:
        """Raises `NotFound` where there is no reference to take away."""
        if self.find_in(self.holder.current) is None:
            raise NotFound

    @lazy
    def target(self) -> Row:
        """The document behind the reference. Raises `NotFound` if there is none, or none for this request."""
        return self.target_in(self.holder.current)

    def find_in(self, owner: Any) -> Any:
        return self.value_in(owner)

    def target_in(self, owner: Any) -> Row:
        """The document behind the reference in an object, by now. Raises `NotFound`."""
        value = self.find_in(owner)
        if value is None:
            raise NotFound
        return self.row_of(value)

    def row(self, model: Any, find: Find) -> Row:
        resource = self.target_resource(model)
        return Row(self.world, resource, self.arguments, find, model)


class ListedReference(Reference):
    verbs = ("GET", "PUT", "PATCH", "DELETE")

    @lazy
    def target(self) -> Row:
        references = list(map(self.identity, self.items_in(self.holder.current)))
        for model in dict.fromkeys(model for model, _ in references):
            if self.world.resource_of(model) is not None:
                row = self.row(model, self._find(model, [key for cls, key in references if cls is model]))
                if row.found is not None:
                    return row
        raise NotFound

    def _find(self, model: Any, members: list[Any]) -> Find:
        keys = self.target_resource(model).keys
        return lambda rows: by_name(rows, keys, str(self.key), members)

    def _values(self) -> list[Any]:
        return self.items_in(self.holder.current)

    def check_holds(self) -> None:
        self.named  # noqa: B018 - which looks for it in the list

    @lazy
    def named(self) -> tuple[Any, Any]:
        """The identity of the reference that the URL names. It may be one whose target is no more."""
        try:
            target = self.target
        except NotFound:
            return self._dangling()
        handler, key = self.world.handler, target.raw["_id"]
        if str(plain(key)) != self.key and protection.conceals_some(handler, target.resource):
            target.check("get")  # whose other names tell of it
        return target.model, key

    def _dangling(self) -> tuple[Any, Any]:
        for model, key in map(self.identity, self.items_in(self.holder.current)):
            query = next(self.target_resource(model).keys.queries(str(self.key)), {})
            if query.get("_id") == key and rows_of(model).first(query) is None:
                return model, key
        raise NotFound

    def target_in(self, owner: Any) -> Row:
        model, key = self.named
        return self.row(model, lambda rows: rows.first({"_id": key}))

    def take_from(self, owner: Any) -> None:
        items = [item for item in self.items_in(owner) if self.identity(item) != self.named]
        setattr(owner, self.member.name, items)


class References(Reference):
    verbs = ("GET", "POST")
    many = True
    searches = True

    def permits(self, verb: str) -> bool:
        if self.model is not None:
            return super().permits(verb)
        return Field.permits(self, verb)

    def check(self, action: str) -> None:
        Field.check(self, action)

    @property
    def read_at(self) -> Resource:
        return self.target_resource(self.model) if self.model else self.resource

    @property
    def encoder(self) -> Serializer | None:
        return self.read_at.serializer if self.model else None

    def page(self, listing: Listing) -> Page:
        """The part of the list that a request asks for, in its own order unless it says otherwise."""
        references = list(map(self.identity, self.items_in(self.holder.current)))
        rows = {model: self._among(every, model, references) for model, every in self._rows().items()}
        if self.model and (listing.order is not None or not pages.is_kept(listing)):
            found = rows.get(self.model, self.world.rows(self.read_at).where(NOTHING))
            readable = self.world.readable(self.read_at)
            return pages.stored(found, listing, item_of(self.read_at, self.model), readable, indexed=None)
        existing = {(model, key) for model in rows for key in pages.matching(rows[model], listing).keys({})}
        kept = [reference for reference in references if reference in existing]
        if all(self.world.readable(self.target_resource(model)) is None for model in rows):
            page = pages.numbered(kept, listing.window)
            page.items = self._items(page.items, rows)
            return page
        return pages.numbered(self.world.handler.readable(self._items(kept, rows)), listing.window)

    def _among(self, rows: Rows, model: Any, references: list[tuple[Any, Any]]) -> Rows:
        return rows.where({"_id": {"$in": [key for cls, key in references if cls is model]}})

    def _items(self, references: list[Any], rows: dict[Any, Rows]) -> list[Item]:
        """Those documents that are still there, in this order."""
        found: dict[tuple[Any, Any], Item] = {}
        for model in {model for model, _ in references}:
            item = item_of(self.target_resource(model), model)
            for raw in rows[model].among([key for cls, key in references if cls is model]):
                found[model, raw["_id"]] = item(raw)
        return [found[reference] for reference in references if reference in found]

    def _rows(self) -> dict[Any, Rows]:
        """For each class in the list that has routes, its documents."""
        models = {self.class_of(item) for item in self.items_in(self.holder.current)}
        resources = {model: self.world.resource_of(model) for model in models}
        return {model: self.world.rows(resource, model) for model, resource in resources.items() if resource}

    def put_into(self, owner: Any, value: Any) -> None:
        items = self.items_in(owner)
        if self.identity(value) not in map(self.identity, items):
            setattr(owner, self.member.name, [*items, value])
