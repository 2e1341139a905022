"""The fields that a query string names: dotted, through embedded documents, only what clients may read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace as changed
from difflib import get_close_matches
from itertools import islice
from typing import Any

from mongoengine.base import get_document

from hive.codecs.codec import Codec
from hive.codecs.containers import Embedded, GenericEmbedded, Items, Mapping
from hive.codecs.references import Reference
from hive.codecs.untyped import Anything, Custom, key_of
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.schema import Visibility, covered

DEEPEST = 20
"""How many names a dotted one may have."""
MOST_SUGGESTED = 1000
LONGEST_QUOTE = 100

Allowed = frozenset[str] | None
"""Dotted names, each for all below it too; None allows every field that clients are known to read."""
SHOWN: Allowed = frozenset({"*"})
"""Allows every field, for a name that only chooses from what is shown anyway."""


@dataclass(frozen=True)
class Named:
    """A field that a client named: `key` is its dotted name in MongoDB, `codec` knows its values.

    `field` is None inside of what no field describes. `listed` says that a list is on the way to it, so that
    a document has many values, or none. `path` is its name in the options of `routes_for`, which know of no
    keys and indexes. It is not `told` where a class with its own ``to_dict()`` says what clients read.
    """

    name: str
    key: str
    field: Any
    codec: Codec
    listed: bool = False
    path: str = ""
    told: bool = True

    @property
    def item(self) -> "Named":
        """Of a list, what its items are; of anything else, the same."""
        if not isinstance(self.codec, Items):
            return self
        return changed(self, field=self.field.field, codec=self.codec.item, listed=True)

    @property
    def is_key(self) -> bool:
        """Whether its last name is a key in a dictionary, or of a value that no field describes."""
        return self.field is None or last(self.name) != last(self.path)

    def within(self, holder: "Named") -> "Named":
        """The same, named from outside of the embedded document `holder`."""
        name, key = f"{holder.name}.{self.name}", f"{holder.key}.{self.key}"
        listed, told = self.listed or holder.listed, self.told and holder.told
        return changed(self, name=name, key=key, listed=listed, told=told)


def last(name: str) -> str:
    """The last of the names in a dotted one."""
    return name.rpartition(".")[2]


def resolve(encoder: Encoder, name: str, allowed: Allowed = SHOWN) -> Named:
    """The field of that name. Raises `BadRequest`, which says what name is like it.

    What is hidden, cannot be read or is not `allowed` is told apart by nothing from what does not exist.
    """
    found = known(encoder, name, allowed)
    if found is not None:
        return found
    for end in (index for index, character in enumerate(name[:1000]) if character == "."):
        holder = known(encoder, name[:end], allowed)
        if holder is not None and isinstance(holder.item.codec, Reference):
            raise BadRequest(f"{quoted(name[:end])} is a reference: only its own value can be asked for.")
    raise unknown(f"{quoted(name)} is no field here", name, names_of(encoder, allowed))


def unknown(sentence: str, name: str, names: Iterable[str]) -> BadRequest:
    """What is said of a `name` that is not one of `names`, with the nearest that is."""
    nearest = get_close_matches(name, list(names), n=1, cutoff=0.6)
    return BadRequest(f"{sentence}: did you mean {nearest[0]!r}?" if nearest else f"{sentence}.")


def quoted(name: str) -> str:
    """A name as an error repeats it, for clients may send any."""
    return repr(name if len(name) <= LONGEST_QUOTE else f"{name[:LONGEST_QUOTE]}…")


def known(encoder: Encoder, name: str, allowed: Allowed = SHOWN) -> Named | None:
    """The field of that name, of a class, of its subclasses or of what they embed; None if there is none."""
    parts = name.split(".", DEEPEST)
    found = led(encoder, parts, set()) if len(parts) <= DEEPEST else None
    return found if found is not None and is_allowed(found, allowed) else None


def is_allowed(named: Named, allowed: Allowed) -> bool:
    if allowed is None:
        return named.told
    return allowed is SHOWN or covered(named.path, allowed)


def led(encoder: Encoder, parts: list[str], tried: set[tuple[Encoder, int]]) -> Named | None:
    """The field to which `parts` lead from a class; what was `tried` in vain is not tried again.

    Without that, two classes that embed both each other and themselves would have 2^20 ways to look.
    """
    if (encoder, len(parts)) in tried:
        return None
    tried.add((encoder, len(parts)))
    for named in members(encoder, parts[0]):
        found = below(named, parts[1:], encoder.visibility, tried)
        if found is not None:
            return found
    return None


def members(encoder: Encoder, name: str) -> Iterator[Named]:
    """The fields of that name in a class and its subclasses, or the value that has no field."""
    encoders = list(family(encoder))
    is_identity = name == encoder.model._meta.get("id_field")  # which is in URLs
    told = is_identity or all(one.own_dict is None for one in encoders)
    for one in encoders:
        member = one.members.get(name)
        if member is not None and member.readable:
            yield Named(name, member.field.db_field, member.field, member.codec, False, one.path + name, told)
    if (
        encoder.model._dynamic
        and is_free(name, encoder.model)
        and all(one._is_dynamic(name) for one in encoders)
    ):
        yield Named(name, name, None, Anything(), False, encoder.path + name, told)


def is_free(name: str, model: Any) -> bool:
    """Whether a dynamic document may have a value of that name, which clients could set."""
    return is_key(name) and not name.startswith("_") and not hasattr(model, name)


def below(
    named: Named, parts: list[str], visibility: Visibility, tried: set[tuple[Encoder, int]]
) -> Named | None:
    """The field to which `parts` lead from a field. MongoDB does not look into lists that are in lists."""
    if not parts:
        return named
    inner = named.item
    if isinstance(inner.codec, Embedded):
        every = (led(one, parts, tried) for one in embedded(inner.codec))
        return next((found.within(inner) for found in every if found is not None), None)
    value = entry(inner, parts[0], visibility)
    return None if value is None else below(value, parts[1:], visibility, tried)


def entry(named: Named, key: str, visibility: Visibility) -> Named | None:
    """What a dictionary has at a key, or what no field describes; options name no keys of typed ones."""
    if not is_key(key):
        return None
    there = changed(named, name=f"{named.name}.{key}", key=f"{named.key}.{key}")
    if isinstance(named.codec, Mapping):
        return changed(there, field=named.field.field, codec=named.codec.item)
    if not isinstance(named.codec, Anything) or isinstance(named.codec, Custom):
        return None
    path = named.path if key.isdigit() else f"{named.path}.{key}"  # which may be an index in a list
    is_hidden = visibility.unreadable(path) or visibility.unreadable(there.name)
    return None if is_hidden else changed(there, field=None, codec=Anything(), path=path)


def is_key(key: str) -> bool:
    """Whether it may be a key in MongoDB that is not the driver's or mongoengine's own."""
    try:
        return bool(key_of(key))
    except ValueError:
        return False


def family(encoder: Encoder) -> Iterator[Encoder]:
    """The encoders of a class and of its subclasses."""
    yield encoder
    for name in encoder.model._subclasses if encoder.polymorphic else ():
        if name != encoder.model._class_name:
            yield encoder.of(name)


def embedded(codec: Embedded) -> Iterator[Encoder]:
    """The encoders of the classes that a field is known to embed."""
    if not isinstance(codec, GenericEmbedded):
        yield codec.serializer
        return
    for choice in codec.field.choices or ():
        yield codec.serializer_of(get_document(choice) if isinstance(choice, str) else choice)


def names_of(encoder: Encoder, allowed: Allowed = SHOWN) -> Iterator[str]:
    """All names that clients may use, each once; recursion is cut short."""
    some = islice(every(encoder, ()), MOST_SUGGESTED)
    return iter(dict.fromkeys(named.name for named in some if is_allowed(named, allowed)))


def every(encoder: Encoder, above: tuple[Any, ...]) -> Iterator[Named]:
    """All fields that can be named, those of embedded documents after the one that has them."""
    for name in dict.fromkeys(name for one in family(encoder) for name in one.members):
        for named in members(encoder, name):
            yield named
            yield from every_below(named.item, (*above, encoder.model))


def every_below(named: Named, above: tuple[Any, ...]) -> Iterator[Named]:
    for one in embedded(named.codec) if isinstance(named.codec, Embedded) else ():
        if one.model not in above:
            yield from (inner.within(named) for inner in every(one, above))
