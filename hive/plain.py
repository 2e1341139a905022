"""JSON of values whose field is not known, and the text of all JSON."""

import base64
from datetime import datetime
from enum import Enum
from typing import Any

import orjson
from bson import DBRef
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation

ENCODING = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


def dumps(value: Any) -> bytes:
    """JSON text; times are RFC 3339 in UTC."""
    return orjson.dumps(value, default=plain, option=ENCODING)


def as_json(value: Any) -> Any:
    """What a client reads of a value that was encoded."""
    return orjson.loads(dumps(value))


def plain(value: Any) -> Any:
    """Any BSON value as JSON; also what orjson calls for the values in a model's own ``to_dict()``."""
    if value is None or isinstance(value, str | int | float | datetime):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        is_uuid = isinstance(value, Binary) and value.subtype in (3, UUID_SUBTYPE)
        return uuid_text(value) if is_uuid else base64.b64encode(value).decode()  # type: ignore[arg-type]
    if isinstance(value, DBRef | Enum):
        return plain(value.id if isinstance(value, DBRef) else value.value)
    return str(getattr(value, "pk", value))


def uuid_text(value: Binary) -> str:
    """The text of a UUID that the connection, for want of a uuidRepresentation, gives as bytes."""
    standard = value.subtype == UUID_SUBTYPE
    return str(value.as_uuid(UuidRepresentation.STANDARD if standard else UuidRepresentation.PYTHON_LEGACY))
