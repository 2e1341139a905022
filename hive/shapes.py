"""Shapes: the fields that an answer has (``fields``), the references that are objects in it (``expand``)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mongoengine.base import get_document
from mongoengine.errors import NotRegistered

from hive import protection
from hive.codecs.containers import Embedded, GenericEmbedded, Items, Mapping as MappingCodec
from hive.codecs.references import GenericReference, Reference, key_in, model_of
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.names import Named, family, known, members, names_of, quoted, resolve, unknown
from hive.resource import Resource
from hive.rows import Raw, hydrate

DEEPEST = 3
"""How many references `expand` follows one after another."""
MOST_EXPANDED = 10_000
"""Objects that one answer may have in the place of references."""
MOST_NAMES = 100

Tree = dict[str, "Tree"]
"""Names, and below each the names in what it holds."""
RoutesOf = Callable[[Any], Resource | None]


@dataclass(frozen=True)
class Shape:
    """How a request wants each document: with these `fields` or all, and these references expanded."""

    fields: Tree | None = None
    expand: Tree = field(default_factory=dict)

    def pick(self, value: Any) -> Any:
        """The JSON of a document, without what was not asked for."""
        return value if self.fields is None else picked(value, self.fields)


def picked(value: Any, tree: Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [picked(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: picked(item, tree[name]) for name, item in value.items() if name in tree}


# What a request names


def chosen(names: list[str], encoder: Encoder, expand: Tree, routes_of: RoutesOf) -> Tree:
    """The tree of ``fields=name,address.city``. Raises `BadRequest`."""
    tree: Tree = {}
    for name in limited(names, "fields"):
        check_field(name.split("."), encoder, expand, routes_of, name)
    for name in names:
        if not any(name.startswith(f"{other}.") for other in names):  # which is asked for whole
            plant(tree, name.split("."))
    return tree


def check_field(path: list[str], encoder: Encoder, expand: Tree, routes_of: RoutesOf, name: str) -> None:
    """That there is such a field, maybe in what is expanded."""
    for length in range(1, len(path)):
        reference = known(encoder, ".".join(path[:length]))
        below = branch(expand, path[:length])
        if reference is None or not isinstance(reference.item.codec, Reference) or below is None:
            continue
        resource = resource_of(reference.item, routes_of)
        if resource is not None:
            check_field(path[length:], resource.serializer, below, routes_of, name)
        return
    if path != ["_cls"] or not encoder.polymorphic:
        resolve(encoder, ".".join(path))


def expanded(names: list[str], encoder: Encoder, routes_of: RoutesOf) -> Tree:
    """The tree of ``expand=owner,members.address``. Raises `BadRequest`."""
    tree: Tree = {}
    for name in limited(names, "expand"):
        check_expandable(name.split("."), encoder, routes_of, name, 0)
        plant(tree, name.split("."))
    return tree


def check_expandable(path: list[str], encoder: Encoder, routes_of: RoutesOf, name: str, depth: int) -> None:
    """That the names lead from reference to reference, whose targets have routes to be read at."""
    for length in range(1, len(path) + 1):
        named = known(encoder, ".".join(path[:length]))
        if named is None:
            raise unknown(f"{quoted(name)} is no reference here", name, references_of(encoder))
        if not isinstance(named.item.codec, Reference):
            continue
        if depth == DEEPEST:
            raise BadRequest(f"{quoted(name)} leads through more than {DEEPEST} references.")
        resource = resource_of(named.item, routes_of)
        if resource is None and not isinstance(named.item.codec, GenericReference):
            raise BadRequest(f"{quoted(name)} cannot be expanded: its target has no address to read it at.")
        if length < len(path):
            if resource is None:
                raise BadRequest(f"{quoted(name)} leads through a reference to documents of any class.")
            check_expandable(path[length:], resource.serializer, routes_of, name, depth + 1)
        return
    whole = known(encoder, ".".join(path))
    kept = None if whole is None else whole.item.codec
    if not isinstance(getattr(kept, "item", kept), Embedded | Reference):  # a map, or an object anyway
        raise unknown(f"{quoted(name)} is no reference here", name, references_of(encoder))


def references_of(encoder: Encoder) -> Iterator[str]:
    for name in names_of(encoder):
        named = known(encoder, name)
        if named is not None and isinstance(named.item.codec, Reference):
            yield name


def resource_of(named: Named, routes_of: RoutesOf) -> Resource | None:
    """The routes at which the target of a reference is read, or None."""
    model = getattr(named.field, "document_type", None)
    return None if model is None else readable_at(model, routes_of)


def readable_at(model: Any, routes_of: RoutesOf) -> Resource | None:
    try:
        resource = routes_of(model)
    except ValueError:  # it has several, some of them not for everybody
        return None
    return resource if resource is not None and "GET" in resource.methods else None


def limited(names: list[str], parameter: str) -> list[str]:
    if len(names) > MOST_NAMES:
        raise BadRequest(f"{parameter!r} has more than {MOST_NAMES} names.")
    return names


def plant(tree: Tree, path: Iterable[str]) -> None:
    for name in path:
        tree = tree.setdefault(name, {})


def branch(tree: Tree, path: Iterable[str]) -> Tree | None:
    """What is below a path, None where it is not in the tree."""
    below: Tree | None = tree
    for name in path:
        below = None if below is None else below.get(name)
    return below


def keys(fields: Tree, encoder: Encoder) -> tuple[str, ...]:
    """The names in MongoDB, on the first level, of chosen fields."""
    named = (one for name in fields for kind in family(encoder) for one in members(kind, name))
    return ("_cls", *(one.key for one in named))


# What the answer gets


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
    count = 0
    while slots:
        count += sum(slot.times for slot in slots)
        if count > MOST_EXPANDED:
            raise BadRequest(f"'expand' makes the answer larger than {MOST_EXPANDED} objects: ask for fewer.")
        slots = list(fill(handler, slots, routes_of))


def fill(handler: Any, slots: list[Slot], routes_of: RoutesOf) -> Iterator[Slot]:
    """Fill slots with the JSON of their targets, and give the slots in these."""
    targets: dict[Any, dict[Any, Raw]] = {}
    encoders: dict[Any, Encoder] = {}
    times: Counter[Any] = Counter()
    for slot in slots:
        times[same(slot)] += slot.times
    for model in dict.fromkeys(slot.model for slot in slots):
        resource = readable_at(model, routes_of)
        if resource is not None:
            keys = dict.fromkeys(slot.target for slot in slots if slot.model is model)
            targets[model] = read(handler, resource, model, list(keys))
            encoders[model] = resource.serializer
    filled: dict[Any, Any] = {}
    for slot in slots:
        raw = targets.get(slot.model, {}).get(slot.target)
        if raw is None:
            continue
        one = same(slot)
        if one not in filled:
            encoder = encoders[slot.model]
            filled[one] = json = encoder.encode(raw)
            for inner in slots_in(encoder, raw, json, slot.below):
                yield inner._replace(times=times[one])
        json = filled[one]
        slot.holder[slot.key] = {"_cls": slot.model._class_name, **json} if slot.is_generic else json


def same(slot: Slot) -> tuple[Any, Any, int]:
    """What two slots share that get the same object."""
    return slot.model, slot.target, id(slot.below)


def read(handler: Any, resource: Resource, model: Any, keys: list[Any]) -> dict[Any, Raw]:
    """The documents of a model that the request may read, by primary key."""
    rows = resource.rows(handler)
    rows = rows if resource.model is model else rows.of_class(model)
    return {
        raw["_id"]: raw
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
        if member is not None and name in json and raw.get(member.field.db_field) is not None:
            value = raw[member.field.db_field]
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
