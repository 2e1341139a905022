"""What all places have in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import mongoengine as me
from mongoengine.base import get_document

from hive import patches, protection
from hive.decoding import Decoding
from hive.errors import BadRequest, Invalid, Problem
from hive.patches import Operation
from hive.plain import as_json
from hive.races import Stored
from hive.resource import Resource
from hive.rows import Raw, Rows
from hive.serializers import Serializer
from hive.values import Part


@dataclass(frozen=True)
class World:
    """What a walk needs of its request: the handler (for scopes), its routes and those of the application."""

    handler: Any
    root: Resource
    routes_of: Callable[[Any], Resource | None]

    def resource_of(self, model: Any) -> Resource | None:
        """The routes under which this request reaches documents of `model`, or None."""
        try:
            return self.routes_of(model)
        except ValueError:
            return None

    def readable(self, resource: Resource) -> Callable[[list[Any]], list[Any]] | None:
        """What leaves out the items of a list that the client may not read, None where it may read all."""
        return None if protection.shows_all(self.handler, resource) else self.handler.readable

    def rows(self, resource: Resource, model: Any = None) -> Rows:
        """The documents that exist for this request, of one class among those of the routes."""
        rows = resource.rows(self.handler)
        return rows if model in (None, resource.model) else rows.of_class(model)


class Place:
    """What a URL addresses. `arguments` is its path as the signals tell it."""

    verbs: ClassVar[tuple[str, ...]]
    many = False
    searches = False  # whether it is a list that MongoDB finds
    streams = False  # whether it is a list that may be had whole
    trail: tuple[str, ...] = ()  # the names from the stored document to this place; "*" stands for an index
    model: Any = None  # the class of what is addressed; None where only the reference itself knows

    def __init__(self, world: World, resource: Resource, arguments: list[str]) -> None:
        self.world = world
        self.resource = resource  # the routes of the stored document that this is, or is in
        self.arguments = arguments

    @property
    def sender(self) -> Any:
        """The sender of signals before anything is fetched."""
        return self.model or me.EmbeddedDocument

    @property
    def allowed(self) -> list[str]:
        """The methods that this place takes under the options of all routes concerned."""
        verbs = [verb for verb in self.verbs if verb in self.world.root.methods and self.permits(verb)]
        return [*verbs[:1], "HEAD", *verbs[1:], "OPTIONS"] if "GET" in verbs else [*verbs, "OPTIONS"]

    def permits(self, verb: str) -> bool:
        return verb in self.resource.methods

    def check(self, action: str) -> None:
        """Whether the request may do this here: ``get``, ``create``, ``update`` or ``delete``.

        Raises `Unauthorized`, `Forbidden` or `NotFound`.
        """
        raise NotImplementedError

    @property
    def read_at(self) -> Resource:
        """The routes with whose options it is read."""
        return self.resource

    @property
    def encoder(self) -> Serializer | None:
        """What knows the fields that a query string can name here; None where they are not known."""
        return self.resource.serializer

    @contextmanager
    def telling(self, *others: Resource) -> Iterator[None]:
        """Say what is wrong with the stored document in names that clients know, as seen from this place."""
        try:
            yield
        except Problem as problem:
            for resource in (self.resource, *others):
                problem.errors = [error for error in problem.errors if resource.knows(error["field"])]
            problem.move(self.trail)
            raise

    @property
    def form(self) -> Serializer | None:
        """What gives the texts of a posted form their types, where that is known beforehand."""
        return self.resource.serializer


class Item(NamedTuple):
    """One of a list: what MongoDB has, and how it becomes JSON and a mongoengine object.

    `resource` has the routes of a stored document; what is part of one has none. `encoder` knows its fields.
    """

    raw: Raw
    encode: Callable[[Raw], dict[str, Any]]
    hydrate: Callable[[Raw], Any]
    encoder: Serializer
    resource: Resource | None = None


class Holder(Place):
    """A place with fields: a stored document, or an embedded one."""

    writable: bool

    @property
    def stored(self) -> Stored:
        """The stored document that this is, or is in. Raises `NotFound`."""
        raise NotImplementedError

    @property
    def target(self) -> "Holder":
        """What GET, PUT and PATCH are about."""
        return self

    @property
    def raw(self) -> Raw:
        """The object as MongoDB has it. Raises `NotFound`."""
        raise NotImplementedError

    def locate(self, document: Any) -> Any:
        """This object within its stored document. Raises `NotFound` where it is gone."""
        raise NotImplementedError

    @property
    def latest(self) -> Raw:
        """The object as it was loaded last, or as a write has left it."""
        raise NotImplementedError

    @property
    def state(self) -> str:
        """What tells that from any other state of it, to clients."""
        return self.world.handler.seal(self.latest)  # type: ignore[no-any-return]

    @property
    def current(self) -> Any:
        """The object as it was loaded."""
        return self.locate(self.stored.document)

    def class_of(self, raw: Raw) -> Any:
        """The class of the object that MongoDB has."""
        return get_document(raw["_cls"]) if "_cls" in raw else self.model

    def serializer_of(self, model: Any) -> Serializer:
        """How an object of this very class crosses JSON here."""
        raise NotImplementedError

    def decode(self, body: dict[str, Any], decoding: Decoding) -> Part:
        """What a body sets of this object, which keeps its class. Raises `Invalid`."""
        model = type(self.current)
        part = self.serializer_of(model).decode(body, decoding, self.current)
        if part.model is not model:
            raise Invalid(errors=[{"field": "_cls", "message": f"must stay {model._class_name}"}])
        return part

    def patched(self, operations: list[Operation], decoding: Decoding) -> Part:
        """What a JSON Patch (RFC 6902) of what the client reads of this object sets. Raises `Problem`."""
        shown: Any = {} if decoding.blind else as_json(self.encode(self.latest))
        current = self.current
        serializer = self.serializer_of(type(current))
        origins = serializer.trace(shown, current)
        result = patches.apply(operations, shown)
        if not isinstance(result, dict):
            raise BadRequest("The patch must leave a JSON object.")
        return self.decode(result, decoding.amending(origins))

    def encode(self, raw: Raw) -> dict[str, Any]:
        raise NotImplementedError

    def hydrate(self, raw: Raw) -> Any:
        """The mongoengine object for what MongoDB has."""
        raise NotImplementedError

    @property
    def item(self) -> Item:
        encoder = self.serializer_of(self.class_of(self.raw))
        return Item(self.raw, self.encode, self.hydrate, encoder, self.resource)
