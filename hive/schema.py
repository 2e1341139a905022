"""What the fields of a model are, and which of them an option may name."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import mongoengine as me
from mongoengine.base import get_document

from hive.fields import FILES, REFERENCES
from hive.rows import has_plain_objects

SECRETS = ("password", "passwd", "secret", "token", "hash")
MAKING = ("__init__", "clean", "validate", "to_mongo")
PLURALS = ("passwords", "secrets", "tokens", "hashes")


@dataclass(frozen=True)
class Visibility:
    """Dotted names: for clients `hidden` fields do not exist, others cannot be set, or cannot be read."""

    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    write_only: frozenset[str] = frozenset()

    def unreadable(self, name: str) -> bool:
        return name in self.hidden or name in self.write_only


def checked_names(model: Any, option: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} takes a list of field names, not the string {names!r}.")
    chosen = frozenset(names)
    known = {name for name, _ in fields_of(model)}
    for name in sorted(chosen - known, key=str):
        if not model._dynamic or str(name).split(".")[0] in known:
            raise ValueError(f"{option} names {name!r}, which is not a field of {model.__name__}.")
    return chosen


def check_files(model: Any) -> None:
    for name, field in fields_of(model):
        if isinstance(innermost(field), FILES):
            raise ValueError(f"{model.__name__}.{name} is a file, which hive does not serve: leave it out.")


def check_visibility(model: Any, visibility: Visibility, path: str = "") -> None:
    """That no field that looks like a secret is served by oversight, and none hidden that URLs show.

    `path` is where the class is embedded: ``""`` or ``"address."``. Raises `ValueError`.
    """
    mentioned = visibility.hidden | visibility.read_only | visibility.write_only
    for name, _ in fields_of(model, path):
        if looks_secret(name) and not covered(name, mentioned):
            raise ValueError(
                f"{model.__name__}.{name} looks like a secret: pass hidden=[{name!r}] so that it never "
                f"leaves, write_only=[{name!r}] so that clients can set it but not see it, "
                f"or read_only=[{name!r}]."
            )
    lookup = lookup_field(model)
    if lookup and visibility.unreadable(path + lookup):
        raise ValueError(
            f"The lookup_field {lookup!r} is part of URLs, so it cannot be hidden or write_only."
        )


def looks_secret(name: str) -> bool:
    words = re.split(r"[_\W]+", snake_case(name.rpartition(".")[2]))
    return any(word.endswith((*SECRETS, *PLURALS)) or word.startswith("password") for word in words)


def covered(name: str, mentioned: frozenset[str]) -> bool:
    """Whether an option names the field, or an embedded document that holds it."""
    parts = name.split(".")
    return any(".".join(parts[:length]) in mentioned for length in range(1, len(parts) + 1))


def fields_of(model: Any, prefix: str = "", seen: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All fields of a class, its subclasses and what they embed, by dotted name; recursion is cut short."""
    for one in family(model):
        for name, field in one._fields.items():
            yield prefix + name, field
            for nested in embedded_in(field):
                if nested not in seen:
                    yield from fields_of(nested, f"{prefix}{name}.", (*seen, nested))


def family(model: Any) -> list[Any]:
    """A class and its subclasses."""
    return [model, *(get_document(name) for name in model._subclasses if name != model._class_name)]


def innermost(field: Any) -> Any:
    """The field of the items in a list or a dictionary, to any depth; else the field itself."""
    while isinstance(field, me.ListField | me.DictField) and field.field is not None:
        field = field.field
    return field


def embedded_in(field: Any) -> list[Any]:
    """The classes of embedded documents that a field is known to hold."""
    inner = innermost(field)
    if isinstance(inner, me.EmbeddedDocumentField):
        return [inner.document_type]
    if isinstance(inner, me.GenericEmbeddedDocumentField):
        return [get_document(one) if isinstance(one, str) else one for one in inner.choices or ()]
    return []


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def target_key(field: Any) -> Any:
    """The field of a primary key; where that is a reference, the primary key of the target."""
    while isinstance(field, me.ReferenceField | me.LazyReferenceField):
        field = field.document_type._fields[field.document_type._meta["id_field"]]
    return field


def lookup_field(model: Any) -> str | None:
    """The field that ``meta = {"lookup_field": ...}`` names; works for embedded documents too."""
    name: str | None = model._meta.get("lookup_field")
    if name is not None and name not in model._fields:
        raise ValueError(f"The lookup_field {name!r} is not a field of {model.__name__}.")
    return name


@cache
def runs_code(model: Any, _: tuple[str, ...]) -> bool:
    """Whether the application has a say in what is read or shown of a class, with these subclasses."""
    own = any(hasattr(kind, "to_dict") for kind in kinds_in(model))
    fields = kinds_of_fields(model)
    own = own or any(not is_mongoengine(type(field)) or inspect.isfunction(field.default) for field in fields)
    return own or not has_plain_objects(model)


@cache
def waits_to_be_made(model: Any, _: tuple[str, ...]) -> bool:
    """Whether code of the application or a query makes a document of a class, before it is stored."""
    own = any(not is_mongoengine(getattr(kind, name)) for kind in kinds_in(model) for name in MAKING)
    asks = (*REFERENCES, me.SequenceField)
    return own or any(isinstance(one, asks) or one.validation for one in kinds_of_fields(model))


def kinds_in(model: Any) -> set[Any]:
    """A class, what it embeds, and the subclasses of all these."""
    embedded = {kind for _, field in fields_of(model) for kind in embedded_in(field)}
    return {one for kind in (model, *embedded) for one in family(kind)}


def kinds_of_fields(model: Any) -> list[Any]:
    """The fields of a class and of what it embeds, and those of the items in their lists and dictionaries."""
    return [one for _, field in fields_of(model) for one in (field, innermost(field))]


def is_mongoengine(kind: Any) -> bool:
    return str(kind.__module__).startswith("mongoengine.")


def refers_by_name(field: Any) -> bool:
    """Whether clients may name the target of a reference by a lookup field, or by an ID of any class."""
    kind = innermost(field)
    if isinstance(kind, me.ReferenceField | me.LazyReferenceField):
        return lookup_field(kind.document_type) is not None
    return isinstance(kind, REFERENCES)
