"""One model and its options, compiled once."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import mongoengine as me
from mongoengine.base import get_document
from tornado.routing import RuleRouter

from hive.encoding import Visibility
from hive.fields import EMBEDDED, FILES, codec
from hive.plain import dumps, plain
from hive.serializers import Serializer

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SECRETS = ("password", "passwd", "secret", "token", "hash")
PLURALS = ("passwords", "secrets", "tokens", "hashes")
PATH_CHARACTERS = "~!$&'()*+,;=:@"
"""What may stand in a segment of a path as it is, beside letters, digits and ``-._`` (RFC 3986)."""
Scope = Callable[[Any, Any], Any]


class Resource:
    """A model at an address, with the options of `hive.ModelHive.routes_for`, which says what they mean.

    Raises `TypeError` or `ValueError`, with a sentence that says what to do, for what cannot be served.
    """

    def __init__(
        self,
        model: Any,
        *,
        prefix: str = "",
        resource_name: str | None = None,
        methods: Iterable[str] = METHODS,
        hidden: Iterable[str] = (),
        read_only: Iterable[str] = (),
        write_only: Iterable[str] = (),
        scope: Scope | None = None,
        put: str = "merge",
    ) -> None:
        check_model(model)
        self.model = model
        self.name = checked_resource_name(
            snake_case(model.__name__) if resource_name is None else resource_name
        )
        self.prefix = "".join("/" + segment for segment in prefix.split("/") if segment)
        self.methods = checked_methods(methods)
        self.scope = scope
        self.replaces = {"merge": False, "replace": True}[checked(put, "put", ("merge", "replace"))]
        visibility = Visibility(
            **{
                option: checked_names(model, option, names)
                for option, names in (
                    ("hidden", hidden),
                    ("read_only", read_only),
                    ("write_only", write_only),
                )
            }
        )
        check_fields(model, visibility)
        self.serializer = Serializer(model, visibility)
        self.keys = Keys(model)

        self.root = "/" + path_of(*f"{self.prefix}/{self.name}".split("/")[1:])
        """The path of the list, percent-encoded: ``/api/user``."""

    def knows(self, field: str) -> bool:
        """Whether clients know of a field, by dotted name; indexes in lists do not count."""
        names = [name for name in field.split(".") if not name.isdigit()]
        return not covered(".".join(names), self.serializer.visibility.hidden)


class Keys:
    """How the documents of one model are named, in URLs and bodies: by primary key or lookup field."""

    def __init__(self, model: Any) -> None:
        self.lookup = lookup_field(model)
        self._fields = [model._fields[name] for name in (model._meta["id_field"], self.lookup) if name]
        self._codecs = [codec(target_key(field), lambda _: None) for field in self._fields]

    def queries(self, text: str) -> Iterator[dict[str, Any]]:
        """The filters under which a document of this name may be found, the primary key's first."""
        for field, key in zip(self._fields, self._codecs, strict=True):
            try:
                yield {field.db_field: field.to_mongo(key.decode(key.parse(text), None))}
            except (ValueError, me.ValidationError):
                continue  # no value of this field looks like that

    def name_of(self, raw: Mapping[str, Any]) -> str:
        """The name of a stored document: the value of its lookup field if it has one, or its primary key."""
        if self.lookup is not None:
            value = raw.get(self._fields[1].db_field)
            if value not in (None, "", ".", ".."):  # no URL ends in those
                return str(plain(value))
        encode = self._codecs[0].encode
        key = encode(raw["_id"]) if encode else raw["_id"]
        return key if isinstance(key, str) else dumps(key).decode().strip('"')


def path_of(*segments: str) -> str:
    """Segments of a path, percent-encoded."""
    return "/".join(quote(segment, safe=PATH_CHARACTERS) for segment in segments)


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def check_model(model: Any) -> None:
    is_document = isinstance(model, type) and issubclass(model, me.Document)
    if not is_document:
        raise TypeError(f"routes_for takes a mongoengine Document class, not {model!r}.")
    if model._meta.get("abstract"):
        raise ValueError(f"{model.__name__} is abstract: pass a class that is stored.")
    identity = target_key(model._fields[model._meta["id_field"]])
    if isinstance(identity, (*EMBEDDED, me.DictField, me.ListField)):
        raise ValueError(f"The primary key of {model.__name__} is not a single value, so no URL can name it.")
    parameters = inspect.signature(model.save).parameters
    variadic = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not variadic and not {"force_insert", "save_condition"} <= parameters.keys():
        raise TypeError(
            f"{model.__name__}.save() must take **kwargs and pass them on to super().save(): hive stores "
            "with force_insert and save_condition, so that no write overwrites another."
        )


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


def checked(value: str, option: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise ValueError(f"{option}={value!r} is not known: pass one of {', '.join(values)}.")
    return value


def checked_resource_name(name: str) -> str:
    if not name.strip("/"):
        raise ValueError("resource_name is empty: leave it out for the name of the class in snake_case.")
    return name.strip("/")


def checked_methods(methods: Iterable[str]) -> frozenset[str]:
    if isinstance(methods, str):
        raise TypeError(f"methods takes a list of methods, not the string {methods!r}.")
    return frozenset(checked(method.upper(), "methods", METHODS) for method in methods)


def checked_names(model: Any, option: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise TypeError(f"{option} takes a list of field names, not the string {names!r}.")
    chosen = frozenset(names)
    known = {name for name, _ in fields_of(model)}
    for name in sorted(chosen - known, key=str):
        if not model._dynamic:
            raise ValueError(f"{option} names {name!r}, which is not a field of {model.__name__}.")
    return chosen


def check_fields(model: Any, visibility: Visibility) -> None:
    """That every field can be served, and that none that looks like a secret is served by oversight."""
    mentioned = visibility.hidden | visibility.read_only | visibility.write_only
    for name, field in fields_of(model):
        if isinstance(innermost(field), FILES):
            raise ValueError(f"{model.__name__}.{name} is a file, which hive does not serve: leave it out.")
        if looks_secret(name) and not covered(name, mentioned):
            raise ValueError(
                f"{model.__name__}.{name} looks like a secret: pass hidden=[{name!r}] so that it never "
                f"leaves, write_only=[{name!r}] so that clients can set it but not see it, "
                f"or read_only=[{name!r}]."
            )
    lookup = lookup_field(model)
    if lookup and visibility.unreadable(lookup):
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


def routed(router: Any) -> Iterator[Resource]:
    """The resources that a Tornado application, or a router in it, serves."""
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from routed(rule.target)
        elif isinstance(resource := (rule.target_kwargs or {}).get("resource"), Resource):
            yield resource


def neighbour(application: Any, asking: Resource, model: Any) -> Resource | None:
    """The routes under which `asking` reaches documents of `model`.

    They are its own, else those with the same prefix, else the only ones in the application. None if there
    are none, or no telling which. Raises `ValueError` if there is no telling which and one has a scope, for
    then no document of `model` is known to exist for this request.
    """
    resources = list(routed(application.default_router))
    for cls in model.__mro__:
        candidates = [resource for resource in resources if resource.model is cls]
        beside = [resource for resource in candidates if resource.prefix == asking.prefix]
        if asking in candidates:
            return asking
        if len(beside or candidates) == 1:
            return (beside or candidates)[0]
        if any(resource.scope for resource in candidates):
            raise ValueError(f"cannot be told, for {model.__name__} is served at several addresses")
        if candidates:
            break
    return None
