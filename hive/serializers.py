"""Documents as JSON, both ways, under the options of one resource."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from mongoengine.base import get_document
from mongoengine.errors import NotRegistered

from hive.errors import FieldError, Invalid
from hive.fields import codec
from hive.scalars import Anything, Codec, expect, key_of, plain
from hive.values import Part

ENCODING = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def dumps(value: Any) -> bytes:
    """JSON text; times are RFC 3339 in UTC."""
    return orjson.dumps(value, default=plain, option=ENCODING)


@dataclass(frozen=True)
class Visibility:
    """Dotted names of fields: `hidden` do not exist for clients, `read_only` they cannot set, `write_only` not see."""

    hidden: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    write_only: frozenset[str] = frozenset()

    def unreadable(self, name: str) -> bool:
        return name in self.hidden or name in self.write_only


@dataclass(frozen=True)
class Member:
    """One field as clients know it."""

    name: str
    field: Any
    codec: Codec
    readable: bool
    writable: bool


class Serializer:
    """How documents of one class cross JSON. `path` is where they are embedded: ``""`` or ``"address."``."""

    def __init__(self, model: Any, visibility: Visibility, path: str = "") -> None:
        self.model = model
        self.visibility = visibility
        self.path = path
        self.polymorphic = bool(model._meta.get("allow_inheritance"))
        self.own_dict: Callable[[Any], dict[str, Any]] | None = getattr(model, "to_dict", None)
        self._family: dict[str, Serializer] = {model._class_name: self}
        self.members = {
            name: self._member(name, field)
            for name, field in ordered(model)
            if name != "_cls" and path + name not in visibility.hidden
        }
        self._declared = {field.db_field for field in model._fields.values()} | {"_id", "_cls"}

    def of(self, class_name: str) -> "Serializer":
        """The serializer of this class or of a subclass, by the name in ``_cls``; `ValueError` for any other."""
        if class_name not in self._family:
            try:
                model = get_document(class_name)
            except NotRegistered:
                raise ValueError(f"knows no class {class_name!r}") from None
            expect(issubclass(model, self.model), f"{self.model._class_name} or a subclass of it")
            self._family[class_name] = Serializer(model, self.visibility, self.path)
        return self._family[class_name]

    def _member(self, name: str, field: Any) -> Member:
        path = self.path + name
        nested: dict[Any, Serializer] = {}

        def serializer_of(model: Any) -> Serializer:
            if model not in nested:
                nested[model] = Serializer(model, self.visibility, path + ".")
            return nested[model]

        return Member(
            name,
            field,
            codec(field, serializer_of),
            readable=path not in self.visibility.write_only,
            writable=path not in self.visibility.read_only,
        )

    # BSON to JSON

    def encode(self, raw: Any) -> dict[str, Any]:
        """The JSON of a document as MongoDB has it; declared fields that are not stored have their default or null."""
        class_name = raw.get("_cls")
        if class_name is not None and class_name not in (self.model._class_name, self.model.__name__):
            return self.of(class_name).encode(raw)
        if self.own_dict is not None:
            return self._pruned(self.own_dict(self.model._from_son(raw)), self.path)  # type: ignore[no-any-return]
        result = {"_cls": self.model._class_name} if self.polymorphic else {}
        for name, db_field, encode, default in self._plan:
            value = raw.get(db_field)
            if value is None:
                result[name] = None if default is None else default()
            else:
                result[name] = value if encode is None else encode(value)
        if self.model._dynamic:
            result |= {key: plain(raw[key]) for key in raw if self._is_dynamic(key)}
        return result

    @cached_property
    def _plan(self) -> list[tuple[str, str, Callable[[Any], Any] | None, Callable[[], Any] | None]]:
        return [
            (member.name, member.field.db_field, member.codec.encode, default_of(member))
            for member in self.members.values()
            if member.readable
        ]

    def _is_dynamic(self, key: str) -> bool:
        return key not in self._declared and not self.visibility.unreadable(self.path + key)

    def _pruned(self, value: Any, path: str) -> Any:
        """What a model's own ``to_dict()`` gives, without what clients must not see."""
        if isinstance(value, dict):
            return {
                key: self._pruned(item, f"{path}{key}.")
                for key, item in value.items()
                if not self.visibility.unreadable(f"{path}{key}")
            }
        return [self._pruned(item, path) for item in value] if isinstance(value, list | tuple) else value

    # JSON to values

    def decode(self, body: dict[str, Any], decoding: Any, current: Any = None) -> Part:
        """The values named in a JSON object, typed; all that is wrong is told at once, in `Invalid`.

        `current` is the document that they are meant for. What clients cannot set they may send back as it is.
        """
        try:
            serializer, current = self._chosen(body, current)
        except ValueError as error:
            raise Invalid(errors=[{"field": "_cls", "message": str(error)}]) from None
        values, errors = serializer._values(body, decoding, current)
        if errors:
            raise Invalid(errors=errors)
        blank = serializer._blank(current) if decoding.replace else {}
        return Part(serializer.model, blank | values)

    def _chosen(self, body: dict[str, Any], current: Any) -> "tuple[Serializer, Any]":
        """The serializer for the class that the body names, and `current` if it is of that class."""
        if "_cls" not in body or not self.polymorphic:
            return self if current is None else self.of(type(current)._class_name), current
        expect(isinstance(body["_cls"], str), "the name of a class")
        serializer = self.of(body["_cls"])
        if current is None or type(current) is serializer.model:
            return serializer, current
        expect(not current._is_document, f"{type(current)._class_name}, for a document keeps its class")
        return serializer, None

    def _values(self, body: dict[str, Any], decoding: Any, current: Any) -> tuple[dict[str, Any], list[FieldError]]:
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        for name, item in body.items():
            if name == "_cls" and self.polymorphic:
                continue
            try:
                if self._settable(name, item, current):
                    values[name] = self._value(name, item, decoding, current)
            except Invalid as problem:
                errors += problem.under(name)
            except ValueError as error:
                errors.append({"field": name, "message": str(error)})
        return values, errors

    def _settable(self, name: str, item: Any, current: Any) -> bool:
        """Whether the field can be set; not if it is sent back as it is. `ValueError` if it must not be."""
        member = self.members.get(name)
        if member is None:
            self._check_dynamic(name)
            return True
        identity = name == self.model._meta.get("id_field")
        generated = identity and bool(getattr(self.model, "_auto_id_field", False))
        if member.writable and not generated and not (identity and current is not None):
            return True
        if current is not None and member.readable and self.encode(current.to_mongo()).get(name) == item:
            return False
        raise ValueError("is assigned by the server" if generated else "cannot be set" if identity else "is read-only")

    def _check_dynamic(self, name: str) -> None:
        path = self.path + name
        free = self.model._dynamic and path not in self.visibility.hidden and path not in self.visibility.read_only
        if not free or name.startswith("_") or hasattr(self.model, name):
            raise ValueError(f"is not a field of {self.model.__name__}")
        key_of(name)

    def _value(self, name: str, item: Any, decoding: Any, current: Any) -> Any:
        if item is None:
            return None
        member = self.members.get(name)
        if member is None:
            return Anything().decode(item, decoding)
        return member.codec.decode(item, decoding, None if current is None else current._data.get(name))

    def _blank(self, current: Any) -> dict[str, Any]:
        """What a replacing PUT sets where the body is silent: everything that the client can see and set."""
        names = [
            member.name
            for member in self.members.values()
            if member.readable and member.writable and not member.field._auto_gen
        ]
        identity = self.model._meta.get("id_field")
        dynamic = [] if current is None else [name for name in current._dynamic_fields if self._is_dynamic(name)]
        return {name: None for name in [*names, *dynamic] if name != identity}


def ordered(model: Any) -> list[tuple[str, Any]]:
    """The fields of a class, its primary key first."""
    identity = model._meta.get("id_field")
    return sorted(model._fields.items(), key=lambda item: item[0] != identity)


def default_of(member: Member) -> Callable[[], Any] | None:
    """What a stored document without this field has in Python, as JSON."""
    field, encode = member.field, member.codec.encode
    if field.default is None or field.null:
        return None

    def default() -> Any:
        value = field.default() if callable(field.default) else field.default
        return value if value is None or encode is None else encode(field._to_mongo_safe_call(value))

    return default
