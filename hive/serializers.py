"""Documents as JSON, both ways, under the options of one resource."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any

from hive.codecs.codec import expect
from hive.codecs.untyped import Anything, key_of
from hive.encoding import Encoder
from hive.errors import FieldError, Invalid
from hive.plain import as_json
from hive.values import Part, frozen


class Serializer(Encoder):
    """How documents of one class cross JSON: `encode` gives what is read, `decode` takes what is sent."""

    def decode(self, body: dict[str, Any], decoding: Any, current: Any = None) -> Part:
        """The values named in a JSON object, typed; all that is wrong is told at once, in `Invalid`.

        `current` is the document that they are meant for. What cannot be set may be sent back as it is.
        """
        try:
            serializer, current = self._chosen(body, current)
        except ValueError as error:
            raise Invalid(errors=[{"field": "_cls", "message": str(error)}]) from None
        values, errors = serializer._values(body, decoding, current)
        if errors:
            raise Invalid(errors=errors)
        blank = serializer._blank(current) if decoding.replace else []
        return Part(serializer.model, {name: None for name in blank if name not in body} | values)

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

    def _values(
        self, body: dict[str, Any], decoding: Any, current: Any
    ) -> tuple[dict[str, Any], list[FieldError]]:
        values: dict[str, Any] = {}
        errors: list[FieldError] = []
        is_same = current is not None and decoding.origin(body) is current
        as_read = decoding.as_read(body) if is_same else None
        given = self._given(None if decoding.blind else current, as_read)
        amends = decoding.origins is not None
        if amends:
            body = dict.fromkeys(given()) | body  # what was removed is null

        def is_as_given(name: str, item: Any) -> bool:
            return name in given() and frozen(given()[name]) == frozen(item)

        for name, item in body.items():
            if name == "_cls" and self.polymorphic:
                continue
            if (amends or self.own_dict) and is_as_given(name, item):
                continue
            try:
                self._check_settable(name, item, current)
                values[name] = self._value(name, item, decoding, current)
            except Invalid as problem:
                errors += [] if is_as_given(name, item) else problem.under(name)
            except ValueError as error:
                field = name.encode(errors="replace").decode()
                errors += [] if is_as_given(name, item) else [{"field": field, "message": str(error)}]
        return values, errors + list(self._unsortable(values, current))

    def _given(self, current: Any, as_read: Any) -> Callable[[], dict[str, Any]]:
        """What clients read of a document: to send that back is no error, though they cannot set it."""
        if as_read is not None:
            return lambda: as_read
        return cache(lambda: {} if current is None else as_json(self.encode(current.to_mongo())))

    def trace(self, shown: dict[str, Any], current: Any) -> dict[int, tuple[Any, Any, Any]]:
        """What objects in that which is `shown` of a document are read from: the `origins` of `Decoding`."""
        found = {id(shown): (current, deepcopy(shown), shown)}
        for name, member in self.members.items():
            found |= member.codec.trace(shown.get(name), current._data.get(name))
        return found

    def _check_settable(self, name: str, item: Any, current: Any) -> None:
        """`ValueError` if clients cannot set the field to this, of `current` or of a new document."""
        member = self.members.get(name)
        if member is None:
            self._check_dynamic(name)
            return
        if not member.writable:
            raise ValueError("is read-only")
        if name == self.model._meta.get("id_field"):
            expect(self.model._fields[name].primary_key, "left to the server")  # mongoengine has added it
            expect(current is None, "what it is, for a document keeps its primary key")
            expect(item != "", "something that a URL can name")

    def _check_dynamic(self, name: str) -> None:
        path = self.path + name
        free = (
            self.model._dynamic
            and path not in self.visibility.hidden
            and path not in self.visibility.read_only
        )
        if not free or self._is_taken(name):
            raise ValueError(f"is not a field of {self.model.__name__}")
        key_of(name)

    def _is_taken(self, name: str) -> bool:
        """Whether a document has something else by that name, in Python or in MongoDB."""
        displayed = name.removeprefix("get_").removesuffix("_display")
        return (
            name.startswith("_")
            or name == "self"  # which mongoengine's constructor has for itself
            or name in self._declared
            or hasattr(self.model, name)
            or (name == f"get_{displayed}_display" and displayed in self.model._fields)
        )

    def _unsortable(self, values: dict[str, Any], current: Any) -> Iterator[FieldError]:
        """The field by which a list is sorted, if there is no value to sort by."""
        for name, field in self.model._fields.items() if self.sorted_by else ():
            if field.db_field != self.sorted_by or field.default is not None:
                continue
            if values.get(name) is None and (name in values or current is None):
                yield {"field": name, "message": "must be there, for the list is sorted by it"}

    def _value(self, name: str, item: Any, decoding: Any, current: Any) -> Any:
        if item is None:
            return None
        member = self.members.get(name)
        if member is None:
            return Anything().decode(item, decoding)
        return member.codec.decode(item, decoding, None if current is None else current._data.get(name))

    def _blank(self, current: Any) -> Iterator[str]:
        """What a replacing PUT resets where the body is silent: all that the client can see and set."""
        identity = self.model._meta.get("id_field")
        for name, member in self.members.items():
            if member.readable and member.writable and not member.field._auto_gen and name != identity:
                yield name
        for name in () if current is None else current._dynamic_fields:
            if self._is_dynamic(name) and self.path + name not in self.visibility.read_only:
                yield name
