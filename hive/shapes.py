"""Shapes: the fields that an answer has (``fields``), the references that are objects in it (``expand``)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hive.codecs.containers import Embedded
from hive.codecs.references import GenericReference, Reference
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.names import Named, family, known, members, names_of, quoted, resolve, unknown
from hive.resource import Resource

DEEPEST = 3
"""How many references `expand` follows one after another."""
MOST_EXPANDED = 10_000
"""Objects that one answer may have in the place of references."""
MOST_NAMES = 100
MOST_DOTS = 64

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
    for name in names:
        if name.count(".") >= MOST_DOTS:
            raise BadRequest(f"{quoted(name)} has more than {MOST_DOTS} dots.")
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
