"""Expansion: the targets of references, put into an answer in the place of their IDs."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mongoengine.base import get_document
from mongoengine.errors import NotRegistered

from hive import protection
from hive.codecs.containers import Embedded, GenericEmbedded, Items, Mapping as MappingCodec
from hive.codecs.references import GenericReference, Reference, key_in, model_of
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.plain import as_json, dumps, plain
from hive.resource import Resource
from hive.rows import Raw, hydrate
from hive.shapes import MOST_EXPANDED, RoutesOf, Tree, readable_at

MOST_BYTES = 2**26
"""Bytes of JSON that `expand` may put into one answer."""


@dataclass
class Size:
    """How much was put into an answer so far."""

    bytes: int = 0

    def add(self, count: int) -> None:
        self.bytes += count
        if self.bytes > MOST_BYTES:
            raise BadRequest(f"'expand' makes the answer larger than {MOST_BYTES} bytes: ask for fewer.")


class Slot(NamedTuple):
    """A place in the JSON of an answer that has a reference, to be replaced by its target."""

    holder: Any
    key: Any
    model: Any
    target: Any
    below: Tree
    is_generic: bool = False  # whether only `_cls` tells what the target is
    times: int = 1  # how often the holder is in the answer


def expand(handler: Any, shown: Iterable[tuple[Encoder, Raw, Any]], tree: Tree, routes_of: RoutesOf) -> None:
    """Put the targets of references into the JSON of documents: one query for each level and model.

    What does not exist for the request, or may not be read, stays the ID that it is. Raises `BadRequest` for
    more than 10,000 objects.
    """
    slots = [slot for encoder, raw, json in shown for slot in slots_in(encoder, raw, json, tree)]
    count, size = 0, Size()
    while slots:
        count += sum(slot.times for slot in slots)
        if count > MOST_EXPANDED:
            raise BadRequest(f"'expand' makes the answer larger than {MOST_EXPANDED} objects: ask for fewer.")
        slots = list(fill(handler, slots, routes_of, size))


def fill(handler: Any, slots: list[Slot], routes_of: RoutesOf, size: Size) -> Iterator[Slot]:
    """Fill slots with the JSON of their targets, and give the slots in these."""
    targets: dict[Any, dict[Any, Raw]] = {}
    encoders: dict[Any, Encoder] = {}
    times: Counter[Any] = Counter()
    for slot in slots:
        times[same(slot)] += slot.times
    for model in dict.fromkeys(slot.model for slot in slots):
        resource = readable_at(model, routes_of)
        if resource is not None:
            keys = {hashable(slot.target): slot.target for slot in slots if slot.model is model}
            targets[model] = read(handler, resource, model, list(keys.values()))
            encoders[model] = resource.serializer
    filled: dict[Any, Any] = {}
    for slot in slots:
        raw = targets.get(slot.model, {}).get(hashable(slot.target))
        if raw is None:
            continue
        one = same(slot)
        if one not in filled:
            encoder = encoders[slot.model]
            filled[one] = json = encoder.encode(raw)
            size.add(len(dumps(json)) * times[one])
            for inner in slots_in(encoder, raw, json, slot.below):
                yield inner._replace(times=times[one])
        json = filled[one]
        slot.holder[slot.key] = {"_cls": slot.model._class_name, **json} if slot.is_generic else json


def same(slot: Slot) -> tuple[Any, Any, int]:
    """What two slots share that get the same object."""
    return slot.model, hashable(slot.target), id(slot.below)


def hashable(key: Any) -> Any:
    """A primary key as it may be in a dictionary, which a `bson.Decimal128` may not."""
    return key if isinstance(key, Hashable) else (type(key), str(key))


def read(handler: Any, resource: Resource, model: Any, keys: list[Any]) -> dict[Any, Raw]:
    """The documents of a model that the request may read, by primary key."""
    rows = resource.rows(handler)
    rows = rows if resource.model is model else rows.of_class(model)
    return {
        hashable(raw["_id"]): raw
        for raw in rows.among(keys)
        if protection.shows(handler, resource, lambda raw=raw: hydrate(model, raw))  # type: ignore[misc]
    }


def slots_in(encoder: Encoder, raw: Raw, json: Any, tree: Tree) -> Iterator[Slot]:
    """The references in a document that the tree names."""
    if not tree or not isinstance(json, dict):
        return
    own = encoder.of(raw["_cls"]) if "_cls" in raw and encoder.polymorphic else encoder
    for name, below in tree.items():
        member = own.members.get(name)
        value = None if member is None else raw.get(member.field.db_field)
        if member is None or value is None or name not in json:
            continue
        shown = (member.codec.encode or plain)(value)
        if own.own_dict is None or as_json(json[name]) == as_json(shown):  # which may show something else
            yield from slots_of(member.codec, value, json, name, below)


def slots_of(codec: Any, value: Any, holder: Any, key: Any, below: Tree) -> Iterator[Slot]:
    if isinstance(codec, Reference):
        try:
            model = getattr(codec.field, "document_type", None) or model_of(value)
        except NotRegistered:  # a class that is no more
            return
        yield Slot(holder, key, model, key_in(value), below, isinstance(codec, GenericReference))
    elif isinstance(codec, Embedded):
        generic = isinstance(codec, GenericEmbedded)
        encoder = codec.serializer_of(get_document(value["_cls"])) if generic else codec.serializer
        yield from slots_in(encoder, value, holder[key], below)
    elif isinstance(codec, Items) and same_size(value, holder[key]):
        for index, item in enumerate(value):
            if item is not None:
                yield from slots_of(codec.item, item, holder[key], index, below)
    elif isinstance(codec, MappingCodec) and same_size(value, holder[key]):
        for name, item in value.items():
            if item is not None and name in holder[key] and name in (below or value):
                yield from slots_of(codec.item, item, holder[key], name, below.get(name, {}))


def same_size(value: Any, json: Any) -> bool:
    """Whether a list or a map has become JSON of its kind, as a model's own ``to_dict()`` may not make it."""
    kind = dict if isinstance(value, Mapping) else list
    return isinstance(json, kind) and len(json) == len(value)
