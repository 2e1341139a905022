"""How values that no field describes cross JSON."""

from typing import Any

from mongoengine.base import BaseField

from hive.codecs.codec import Codec, Encode, expect, text_of
from hive.codecs.numbers import Integer
from hive.plain import plain
from hive.values import Merge

UNEXPECTED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)
"""What a `to_python`, which is made for what is stored, may do with something else."""


class Anything(Codec):
    """Values that no field describes: what is JSON stays, other BSON types go out as strings."""

    encode: Encode | None = staticmethod(plain)

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        if getattr(self.field, "choices", None):
            expect(is_hashable(value), "one of the choices")
        return Merge(free(value)) if decoding.patch and isinstance(value, dict) else free(value)


class Custom(Anything):
    """A field class of the application's own: JSON is what is stored, `to_python` makes the value of it."""

    def decode(self, value: Any, decoding: Any, current: Any = None) -> Any:
        if type(self.field).to_python is BaseField.to_python:
            return super().decode(value, decoding)
        try:
            return self.field.to_python(free(value))
        except UNEXPECTED:
            raise ValueError("is not such a value") from None


def is_hashable(value: Any) -> bool:
    """Whether mongoengine can look for a value, or for the items of a list, among the choices of a field."""
    return not any(isinstance(item, dict | list) for item in (value if isinstance(value, list) else [value]))


def free(value: Any) -> Any:
    """A JSON value as MongoDB takes it, without knowing its type."""
    if isinstance(value, dict):
        return {key_of(key): free(item) for key, item in value.items()}
    if isinstance(value, list):
        return [free(item) for item in value]
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Integer().decode(value, None)
    return value


def key_of(key: str) -> str:
    """A key that MongoDB stores as a key and mongoengine does not take for a class or a reference."""
    if not key or key.startswith("$") or "." in key or "\0" in key or key in ("_cls", "_ref", "_id"):
        raise ValueError(f"cannot have the key {key!r}")
    return text_of(key)
