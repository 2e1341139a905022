"""What mongoengine and MongoDB say of a document that they do not take, as answers for the client."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from mongoengine.errors import NotUniqueError, OperationError, SaveConditionError, ValidationError
from pymongo.errors import DocumentTooLarge, DuplicateKeyError, OperationFailure, PyMongoError

from hive.changes import name_of
from hive.errors import BadRequest, Conflict, ContentTooLarge, FieldError, Invalid
from hive.pool import raise_answer

UNINDEXABLE = (16572, 16755, 13026, 13027)
"""MongoDB's codes for a geometry that its index cannot take, such as a polygon whose edges cross."""
UNSEARCHABLE = (2, 27, 291)
"""MongoDB's codes for ``$near`` or ``$text`` without an index; a server without text search has the first."""
TOO_LARGE = (10334, 17419, 17420)
DOCUMENT_VALIDATION = 121
OUT_OF_MEMORY = 292
"""MongoDB's code, QueryExceededMemoryLimitNoDiskUseAllowed."""


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """Turn what mongoengine and MongoDB say of a document into answers for the client."""
    try:
        yield
    except ValidationError as error:
        raise Invalid(errors=validation_errors(error)) from error
    except (NotUniqueError, DuplicateKeyError) as error:
        raise Conflict("A unique value is taken.", taken(model, cause_of(error))) from error
    except DocumentTooLarge as error:
        raise ContentTooLarge("The document is too large to be stored.") from error
    except SaveConditionError:
        raise
    except (OperationError, OperationFailure) as error:
        cause = cause_of(error)
        code = getattr(cause, "code", None)
        if code in UNINDEXABLE:
            raise Invalid("A place is not valid GeoJSON.") from error
        if code == DOCUMENT_VALIDATION:
            raise Invalid("The document does not fit the rules of its collection.") from error
        if code in TOO_LARGE:
            raise ContentTooLarge("The document is too large to be stored.") from error
        if isinstance(cause, PyMongoError):
            raise_answer(cause)
        raise


def cause_of(error: Exception) -> BaseException | None:
    """What pymongo said, which mongoengine may have put in its own words."""
    return error if isinstance(error, PyMongoError) else error.__context__


@contextmanager
def searching() -> Iterator[None]:
    """Tell the client of a search by place or text that MongoDB cannot do here, for want of an index."""
    try:
        yield
    except OperationFailure as error:
        if error.code in UNSEARCHABLE:
            raise BadRequest("There is no index here for this search.") from error
        raise


@contextmanager
def sorting(unsorted: Callable[[], BadRequest]) -> Iterator[None]:
    """Raise the answer that `unsorted` gives where MongoDB has not the memory to sort what was asked for."""
    try:
        yield
    except OperationFailure as error:
        if error.code == OUT_OF_MEMORY:
            raise unsorted() from error
        raise


def validation_errors(error: Any, prefix: str = "") -> list[FieldError]:
    """The leaves of a tree of mongoengine's validation errors, by dotted name."""
    nested = error.errors if isinstance(error, ValidationError) else error if isinstance(error, dict) else {}
    if nested:
        leaves = (validation_errors(inner, _dotted(prefix, name)) for name, inner in nested.items())
        return list(chain.from_iterable(leaves))
    message = error.message if isinstance(error, ValidationError) else str(error)
    return [{"field": prefix, "message": str(message)}]


def _dotted(prefix: str, name: Any) -> str:
    if name == "__all__":  # mongoengine's name for what `clean()` says of the whole document
        return prefix
    return f"{prefix}.{name}" if prefix else str(name)


def taken(model: Any, error: BaseException | None) -> list[FieldError]:
    """The fields of the index whose value is taken."""
    details = getattr(error, "details", None) or {}
    names = [name_of(model, key) for key in details.get("keyPattern", {})]
    return [{"field": name, "message": "is taken"} for name in names if name and name != "_cls"]
