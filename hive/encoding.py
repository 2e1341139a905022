"""Documents as JSON: what clients read."""

from collections.abc import Callable, Mapping as MappingOf
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Self

import mongoengine as me
from mongoengine.base import get_document
from mongoengine.errors import NotRegistered

from hive.codecs.codec import Codec, expect
from hive.codecs.containers import Embedded, Mapping
from hive.errors import own_fault
from hive.fields import codec
from hive.lazy import lazy
from hive.plain import plain
from hive.schema import Visibility, check_visibility

Default = Callable[[], Any]
EncodeDocument = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Member:
    """One field as clients know it."""

    name: str
    field: Any
    codec: Codec
    readable: bool
    writable: bool


class Encoder:
    """What clients read of the documents of one class.

    `path` is where they are embedded: ``""`` or ``"address."``; `above` has the encoders of the classes that
    embed them; `sorted_by` is the name in MongoDB of what the list that has them is sorted by.
    """

    def __init__(
        self,
        model: Any,
        visibility: Visibility,
        path: str = "",
        above: MappingOf[Any, Any] | None = None,
        sorted_by: str | None = None,
    ) -> None:
        self.model = model
        self.visibility = visibility
        self.path = path
        self.above = {**(above or {}), model: self}
        self.sorted_by = sorted_by
        self.polymorphic = bool(model._meta.get("allow_inheritance"))
        self.own_dict: Callable[[Any], dict[str, Any]] | None = getattr(model, "to_dict", None)
        self._family: dict[str, Any] = {model._class_name: self}
        self.members = {
            name: self._member(name, field)
            for name, field in ordered(model)
            if name != "_cls" and path + name not in visibility.hidden
        }
        self._declared = {field.db_field for field in model._fields.values()} | {"_id", "_cls"}

    def of(self, class_name: str) -> Self:
        """The encoder of this class or of a subclass, by the name in ``_cls``; `ValueError` for any other."""
        if class_name not in self._family:
            try:
                model = get_document(class_name)
            except NotRegistered:
                raise ValueError(f"knows no class {class_name!r}") from None
            expect(issubclass(model, self.model), f"{self.model._class_name} or a subclass of it")
            with own_fault(f"Serving {class_name}"):  # which may be younger than the routes
                check_visibility(model, self.visibility, self.path)
            options = (self.visibility, self.path, self.above, self.sorted_by)
            self._family[class_name] = type(self)(model, *options)
        found: Self = self._family[class_name]
        return found

    def _member(self, name: str, field: Any) -> Member:
        path = self.path + name
        nested: dict[Any, Any] = {**self.above}  # a class within itself has the options of the outer one
        sorted_by = getattr(field, "_ordering", None)

        def serializer_of(model: Any) -> Any:
            if model not in nested:
                nested[model] = type(self)(model, self.visibility, path + ".", self.above, sorted_by)
            return nested[model]

        return Member(
            name,
            field,
            codec(field, serializer_of),
            readable=path not in self.visibility.write_only,
            writable=path not in self.visibility.read_only,
        )

    @lazy
    def encode(self) -> EncodeDocument:
        """Makes the JSON of a document that MongoDB has. What is not stored has its default or is null."""
        has_more = self.polymorphic or self.model._dynamic or self.own_dict
        return self._encode_more if has_more else self._encode_fields

    @lazy
    def _encode_fields(self) -> EncodeDocument:
        return encode_of([member for member in self.members.values() if member.readable])

    def _encode_more(self, raw: Any) -> dict[str, Any]:
        """That of a document which has a class, other fields or JSON of its own."""
        class_name = raw.get("_cls")
        if class_name is not None and class_name not in (self.model._class_name, self.model.__name__):
            return self.of(class_name).encode(raw)
        if self.own_dict is not None:
            return self._shown(self.own_dict(self.model._from_son(raw)))
        result = self._encode_fields(raw)
        if self.polymorphic:
            result = {"_cls": self.model._class_name, **result}
        if self.model._dynamic:
            result |= self._shown({key: plain(raw[key]) for key in raw if self._is_dynamic(key)})
        return result

    def _is_dynamic(self, key: str) -> bool:
        return key not in self._declared and not self.visibility.unreadable(self.path + key)

    def _shown(self, given: dict[Any, Any]) -> dict[str, Any]:
        """What a model's own ``to_dict()`` gives, without what clients must not see."""
        return {
            str(name): self._pruned(item, f"{self.path}{name}", self._codec_of(name))
            for name, item in given.items()
            if not self.visibility.unreadable(f"{self.path}{name}")
        }

    def _codec_of(self, name: str) -> Codec | None:
        return self.members[name].codec if name in self.members else None

    def _pruned(self, value: Any, path: str, codec: Codec | None) -> Any:
        """The same of what is there at a dotted name; the codec, where there is one, knows what it is."""
        if isinstance(value, me.EmbeddedDocument):
            if isinstance(codec, Embedded):
                return codec.serializer_of(type(value)).encode(value.to_mongo())
            return type(self)(type(value), self.visibility, f"{path}.", self.above).encode(value.to_mongo())
        if isinstance(value, list | tuple):
            return [self._pruned(item, path, getattr(codec, "item", None)) for item in value]
        return self._pruned_object(value, path, codec) if isinstance(value, dict) else value

    def _pruned_object(self, value: dict[Any, Any], path: str, codec: Codec | None) -> dict[str, Any]:
        if type(codec) is Embedded:
            return codec.serializer._shown(value)  # type: ignore[no-any-return]
        if isinstance(codec, Mapping):
            return {str(key): self._pruned(item, path, codec.item) for key, item in value.items()}
        return {
            str(key): self._pruned(item, f"{path}.{key}", None)
            for key, item in value.items()
            if not self.visibility.unreadable(f"{path}.{key}")
        }


def ordered(model: Any) -> list[tuple[str, Any]]:
    """The fields of a class, its primary key first."""
    identity = model._meta.get("id_field")
    return sorted(model._fields.items(), key=lambda item: item[0] != identity)


def encode_of(members: list[Member]) -> EncodeDocument:
    """What makes the JSON of these fields; all that is known beforehand is looked up once."""
    names = [member.name for member in members]
    keys = [member.field.db_field for member in members]
    values_of = itemgetter(*keys) if len(keys) > 1 else lambda raw: [raw[key] for key in keys]
    changes = [(member.name, member.codec.encode, default_of(member)) for member in members]
    changes = [change for change in changes if change[1:] != (None, None)]

    def encode(raw: Any) -> dict[str, Any]:
        try:
            values = values_of(raw)
        except KeyError:  # of a field that is not stored
            values = map(raw.get, keys)
        result = dict(zip(names, values, strict=True))
        for name, encode_value, default in changes:
            value = result[name]
            if value is not None:
                if encode_value is not None:
                    result[name] = encode_value(value)
            elif default is not None:
                result[name] = default()
        return result

    return encode


def default_of(member: Member) -> Default | None:
    """What a stored document without this field has in Python, as JSON."""
    field, encode = member.field, member.codec.encode
    if field.default is None or field.null:
        return None

    def default() -> Any:
        value = field.default() if callable(field.default) else field.default
        if value is None:
            return None
        stored = field._to_mongo_safe_call(value)
        return stored if encode is None else encode(stored)

    return default
