"""One model and its options, compiled once."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from copy import copy
from math import inf
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

import mongoengine as me

from hive.errors import own_fault
from hive.fields import EMBEDDED, codec
from hive.lazy import lazy
from hive.names import every, is_allowed
from hive.permissions import Permission, checked as checked_permission, fields_named_in
from hive.plain import dumps, plain
from hive.pool import settled
from hive.rows import Rows, rows_of
from hive.schema import (
    Visibility,
    check_files,
    check_visibility,
    checked_names,
    covered,
    fields_of,
    lookup_field,
    refers_by_name,
    runs_code,
    snake_case,
    target_key,
)
from hive.serializers import Serializer
from hive.threads import Batch
from hive.transactions import check_transactions

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ACTIONS = ("get", "create", "update", "delete")
MOST_VIEWS = 64
PATH_CHARACTERS = "~!$&'()*+,;=:@"
"""What may stand in a segment of a path as it is, beside letters, digits and ``-._`` (RFC 3986)."""
Scope = Callable[[Any, Any], Any]
Names = Iterable[str] | Callable[[Any], Iterable[str] | Awaitable[Iterable[str]]]


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
        hidden: Names = (),
        read_only: Names = (),
        write_only: Iterable[str] = (),
        scope: Scope | None = None,
        allow: Mapping[str, Permission] | None = None,
        put: str = "merge",
        filterable: Iterable[str] | None = None,
        require_index: bool = False,
        stream: bool = False,
        cache_control: str | None = None,
        if_match: str = "optional",
        transaction: bool = False,
        deadline: float | None = None,
    ) -> None:
        check_model(model)
        self.model = model
        self.name = checked_resource_name(
            snake_case(model.__name__) if resource_name is None else resource_name
        )
        self.prefix = prefix_of(prefix)
        self.methods = checked_methods(methods)
        self.scope = scope
        self.replaces = {"merge": False, "replace": True}[checked(put, "put", ("merge", "replace"))]
        self.allow = checked_permissions(model, allow or {})
        self.filterable = None if filterable is None else checked_names(model, "filterable", filterable)
        self.require_index = require_index
        self.stream = stream
        self.cache_control = checked_header(cache_control, "cache_control")
        self.needs_match = checked(if_match, "if_match", ("optional", "required")) == "required"
        self.transaction = transaction
        self.deadline = checked_seconds(deadline, "deadline")
        if transaction:
            check_transactions(model)
        check_files(model)
        given = {"hidden": hidden, "read_only": read_only, "write_only": write_only}
        self._names = {
            option: names if callable(names) else checked_names(model, option, names)
            for option, names in given.items()
        }
        self._views: dict[Visibility, Resource] = {}
        self.origin = self
        self.varies = callable(hidden) or callable(read_only)
        if not self.varies:  # else only what `seen_by` gives has a serializer
            self.serializer = self._serializer(self._visibility())
        self.keys = Keys(model)
        self.refers_by_name = any(refers_by_name(field) for _, field in fields_of(model))
        self.batches: WeakValueDictionary[str, Batch] = WeakValueDictionary()

        self.root = "/" + path_of(*f"{self.prefix}/{self.name}".split("/")[1:])
        """The path of the list, percent-encoded: ``/api/user``."""

    def seen_by(self, handler: Any) -> "Resource":
        """The same, with the fields that this request may see and set; runs in the pool."""
        if not self.varies:
            return self
        if self not in handler.views:
            with own_fault("A function that says what is hidden or read-only"):
                handler.views[self] = self._view(self._visibility(handler))
        return handler.views[self]  # type: ignore[no-any-return]

    def _view(self, visibility: Visibility) -> "Resource":
        view = self._views.get(visibility)
        if view is None:
            view = copy(self)
            view.varies, view.serializer = False, self._serializer(visibility)
            if len(self._views) >= MOST_VIEWS:
                self._views.clear()
            self._views[visibility] = view
        return view

    def _visibility(self, handler: Any = None) -> Visibility:
        named = {
            option: settled(names(handler)) if callable(names) else names
            for option, names in self._names.items()
        }
        return Visibility(
            **{option: checked_names(self.model, option, names) for option, names in named.items()}
        )

    def _serializer(self, visibility: Visibility) -> Serializer:
        check_visibility(self.model, visibility)
        return Serializer(self.model, visibility)

    def rows(self, handler: Any) -> Rows:
        """The documents that exist for this request; runs in the pool."""
        scope = self.scope
        return rows_of(self.model, None if scope is None else lambda queryset: scope(queryset, handler))

    @property
    def is_plain(self) -> bool:
        """Whether documents are read by primary key, alike for all, and without code of the application."""
        has_say = self.varies or self.scope or self.keys.lookup
        return not has_say and not runs_code(self.model, self.model._subclasses)

    @lazy
    def has_text(self) -> bool:
        """Whether the model has a text index, of fields that clients may filter by."""
        specs = [spec["fields"] for spec in self.model._meta["index_specs"]]
        text = [name for fields in specs for name, kind in fields if kind == "text"]
        known = {named.key for named in every(self.serializer, ()) if is_allowed(named, self.filterable)}
        return bool(text) and set(text) <= known

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


def checked_permissions(model: Any, allow: Any) -> dict[str, Permission]:
    if not isinstance(allow, Mapping):
        raise TypeError(f"allow is a dictionary of permissions by action, not {allow!r}.")
    for action, permission in allow.items():
        checked(action, "allow", ACTIONS)
        checked_names(model, f"allow[{action!r}]", fields_named_in(checked_permission(permission)))
    return dict(allow)


def prefix_of(prefix: str) -> str:
    """A prefix as it stands in paths: ``"/api"``, or ``""``."""
    return "".join("/" + segment for segment in prefix.split("/") if segment)


def path_of(*segments: str) -> str:
    """Segments of a path, percent-encoded."""
    return "/".join(quote(segment, safe=PATH_CHARACTERS) for segment in segments)


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


def checked(value: str, option: str, values: tuple[str, ...]) -> str:
    if value not in values:
        raise ValueError(f"{option}={value!r} is not known: pass one of {', '.join(values)}.")
    return value


def checked_header(value: str | None, option: str) -> str | None:
    if value is not None and not (value.isascii() and value.isprintable()):
        raise ValueError(f"{option}={value!r} is no value of a header.")
    return value


def checked_seconds(value: float | None, option: str) -> float | None:
    if value is not None and not 0 < value < inf:
        raise ValueError(f"{option}={value!r} is no number of seconds.")
    return value


def checked_resource_name(name: str) -> str:
    if not name.strip("/"):
        raise ValueError("resource_name is empty: leave it out for the name of the class in snake_case.")
    return name.strip("/")


def checked_methods(methods: Iterable[str]) -> frozenset[str]:
    if isinstance(methods, str):
        raise TypeError(f"methods takes a list of methods, not the string {methods!r}.")
    return frozenset(checked(method.upper(), "methods", METHODS) for method in methods)
