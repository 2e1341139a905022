"""How fields that hold other fields cross JSON: embedded documents, lists and maps.

Clients see of an embedded document only what they may, and a reference may name what is no more. So an item
that comes back as it was read stays what it is, with all that they did not see.
"""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import mongoengine as me
from mongoengine.base import get_document

from hive.codecs.codec import Codec, expect, json_of
from hive.codecs.references import GenericReference, registered
from hive.codecs.untyped import Anything, key_of
from hive.errors import Invalid
from hive.lazy import lazy
from hive.plain import as_json, plain
from hive.values import Merge, Part, frozen, settle

Held = Callable[[Any, Any], Any]


class Embedded(Codec):
    """`EmbeddedDocumentField`: an object with the fields that the client may see."""

    partial = True

    def __init__(self, field: Any, serializer_of: Callable[[Any], Any]) -> None:
        super().__init__(field)
        self.serializer_of = serializer_of

    @lazy
    def serializer(self) -> Any:
        """Made when first needed, for an embedded document may hold itself."""
        return self.serializer_of(self.field.document_type)

    def encode(self, value: Any) -> Any:
        return self.serializer.encode(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Part:
        expect(isinstance(value, dict), "an object")
        return self.serializer.decode(value, decoding, current)  # type: ignore[no-any-return]

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None

    def trace(self, shown: Any, value: Any) -> dict[int, Any]:
        if not isinstance(shown, dict) or value is None:
            return {}
        return self.serializer_of(type(value)).trace(shown, value)  # type: ignore[no-any-return]


class GenericEmbedded(Embedded):
    """`GenericEmbeddedDocumentField`: the same, with its class in ``_cls``."""

    def encode(self, value: Any) -> Any:
        return {"_cls": value["_cls"]} | self.serializer_of(get_document(value["_cls"])).encode(value)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Part:
        expect(
            isinstance(value, dict) and isinstance(value.get("_cls"), str), "an object with its class in _cls"
        )
        model = registered(value["_cls"], me.EmbeddedDocument, self.field.choices)
        body = {key: item for key, item in value.items() if key != "_cls"}
        same = current if type(current) is model else None
        return self.serializer_of(model).decode(body, decoding, same)  # type: ignore[no-any-return]


class Items(Codec):
    """`ListField` and its kin."""

    def __init__(self, field: Any, item: Codec) -> None:
        super().__init__(field)
        self.item = item
        self.partial = item.partial
        if item.encode is None:
            self.encode = None
        else:
            encode = item.encode
            self.encode = lambda value: [None if one is None else encode(one) for one in value]

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        held = self._held(current, decoding)
        return list(each(self.item, enumerate(value), decoding.literal, held, among=current or ()).values())

    def trace(self, shown: Any, value: Any) -> dict[int, Any]:
        if not isinstance(shown, list) or len(shown) != len(value or []):
            return {}
        pairs = zip(shown, value or [], strict=True)
        return dict(chain.from_iterable(self.item.trace(*pair).items() for pair in pairs))

    def _held(self, current: Any, decoding: Any) -> Held:
        """Finds an item of `current` by the JSON that clients read of it, each item once."""
        items: dict[Any, list[Any]] = {}
        is_known = decoding.origins is not None and isinstance(self.item, Embedded)  # without a search
        for item in (current or []) if self.partial and not is_known else []:
            items.setdefault(shown(self.item, item), []).append(item)

        def find(_: Any, sent: Any) -> Any:
            same = items.get(frozen(sent)) if items else None
            return same.pop(0) if same else None

        return find

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class SortedItems(Items):
    """`SortedListField`, which mongoengine sorts on its way to MongoDB."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        items = super().decode(value, decoding, current)
        try:
            self.field.to_mongo(settle(None, items))
        except (KeyError, TypeError):
            raise ValueError("must be a list of items that can be sorted") from None
        return items


class References(Items):
    """A list of references: one query finds them all."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        if not isinstance(self.item, GenericReference):
            decoding.prefetch(self.item.field.document_type, value)
        return super().decode(value, decoding, current)


class UntypedItems(Items):
    """`ListField` without a field for its items."""

    def __init__(self, field: Any) -> None:
        super().__init__(field, Anything())

    def decode(self, value: Any, decoding: Any, current: Any = None) -> list[Any]:
        expect(isinstance(value, list), "a list")
        return Anything(self.field).decode(value, decoding)  # type: ignore[no-any-return]


class Mapping(Codec):
    """`MapField`, and `DictField` of a field."""

    def __init__(self, field: Any, item: Codec) -> None:
        super().__init__(field)
        self.item = item
        self.partial = item.partial
        encode = item.encode or (lambda value: value)
        self.encode = lambda value: {key: None if one is None else encode(one) for key, one in value.items()}

    def decode(self, value: Any, decoding: Any, current: Any = None) -> dict[str, Any]:
        expect(isinstance(value, dict), "an object")
        removed = {key_of(key): None for key, item in value.items() if decoding.patch and item is None}
        kept = [(key_of(key), item) for key, item in value.items() if key not in removed]
        below = dict(current or {}) if decoding.patch else {}
        among = (current or {}).values()
        values = each(self.item, kept, decoding, self._held(current, decoding), below=below, among=among)
        return Merge(removed | values) if decoding.patch else values

    def trace(self, shown: Any, value: Any) -> dict[int, Any]:
        if not isinstance(shown, dict) or shown.keys() != (value or {}).keys():
            return {}
        below = (self.item.trace(shown[key], item).items() for key, item in (value or {}).items())
        return dict(chain.from_iterable(below))

    def _held(self, current: Any, decoding: Any) -> Held:
        """Finds a value of `current` by its key, if it is sent as clients read it."""
        is_known = decoding.origins is not None and isinstance(self.item, Embedded)
        known = {} if is_known or not self.partial else current or {}
        held = {key: shown(self.item, item) for key, item in known.items()}
        return lambda key, sent: current[key] if key in held and held[key] == frozen(sent) else None

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


class Dictionary(Anything):
    """`DictField` without a field for its values."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> dict[str, Any]:
        expect(isinstance(value, dict), "an object")
        return super().decode(value, decoding)  # type: ignore[no-any-return]

    def parse(self, text: str) -> Any:
        return json_of(text) if text else None


def shown(codec: Codec, item: Any) -> Any:
    """What a client reads of a value in Python, to compare by."""
    if item is None:
        return None
    encode = codec.encode or plain
    return frozen(as_json(encode(codec.field._to_mongo_safe_call(item))))


def each(
    codec: Codec, items: Any, decoding: Any, held: Held, *, below: Any = None, among: Iterable[Any] = ()
) -> dict[Any, Any]:
    """Every item decoded, or the one that is `held` already; all that are wrong are told at once.

    `below` has what the field holds at each key, for a patch of it. An item that was read from one `among`
    these, which the field holds, is that one; read from elsewhere it is new, for other things may be hidden
    there.
    """
    decoded, errors = {}, []
    own = set(map(id, among))
    for key, item in items:
        try:
            expect(item is not None, "something else than null")
            found, origin = held(key, item), decoding.origin(item)
            origin = origin if id(origin) in own else None
            current = below.get(key) if below else origin
            decoded[key] = codec.decode(item, decoding, current) if found is None else found
            if origin is not None and isinstance(decoded[key], Part):
                decoded[key].onto = origin
        except Invalid as problem:
            errors += problem.under(key)
        except ValueError as error:
            errors.append({"field": str(key), "message": str(error)})
    if errors:
        raise Invalid(errors=errors)
    return decoded
