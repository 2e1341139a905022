"""Reading: the documents of a model that exist for a request, as MongoDB has them. Runs in the pool."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from inspect import getattr_static
from typing import Any

from mongoengine.queryset import QuerySet, QuerySetManager
from pymongo import ReadPreference
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from hive.availability import passes
from hive.concerns import check_acknowledged
from hive.errors import own_fault

Raw = Mapping[str, Any]
Query = Mapping[str, Any]
Order = Sequence[tuple[str, int]]

BY_KEY: Order = (("_id", 1),)
NOTHING: Query = {"_id": {"$in": ()}}
INDEX_CONFLICT = 86

_opened: dict[Any, Any] = {}


@dataclass(frozen=True)
class Rows:
    """Documents of a `collection`: those that match `query`, in `order`, a list as MongoDB takes it.

    `how` has further arguments of pymongo's ``find``. Filters are those that hive compiled.
    """

    collection: Any
    query: Query
    order: Order = BY_KEY
    how: Mapping[str, Any] = field(default_factory=dict)

    def where(self, query: Query) -> "Rows":
        """Those of them that match a filter too."""
        return replace(self, query=both(self.query, query)) if query else self

    def on_primary(self) -> "Rows":
        """The same, as the server has them that takes writes, and transactions."""
        return replace(self, collection=primary(self.collection))

    def of_class(self, model: Any) -> "Rows":
        """Those of them that are of one class, or of a subclass of it."""
        return self.where({"_cls": {"$in": model._subclasses}})

    def first(self, query: Query) -> dict[str, Any] | None:
        """The document that matches a filter, or None."""
        found = self.collection.find(both(self.query, query), limit=-1, **self.how)
        return next(iter(found), None)

    def page(self, order: Order, skip: int = 0, limit: int = 0, **how: Any) -> list[dict[str, Any]]:
        """`limit` of the documents in `order`, or all; `how` are further arguments of pymongo's ``find``."""
        found = self.collection.find(
            self.query, sort=list(order), skip=skip, limit=limit, **{**self.how, **how}
        )
        return list(found)

    def each(self, order: Order, limit: int, **how: Any) -> Iterator[dict[str, Any]]:
        """The same as `page`, but no more of them in memory than MongoDB sends at once."""
        return iter(self.collection.find(self.query, sort=list(order), limit=limit, **{**self.how, **how}))

    def among(self, keys: Sequence[Any]) -> list[dict[str, Any]]:
        """Those with these primary keys."""
        query = both(self.query, {"_id": {"$in": list(keys)}})
        return list(self.collection.find(query, **self.how)) if keys else []

    def keys(self, query: Query) -> list[Any]:
        """The primary keys of those that match a filter."""
        found = self.collection.find(both(self.query, query), **{**self.how, "projection": ["_id"]})
        return [raw["_id"] for raw in found]

    def count(self) -> int:
        """How many there are."""
        known = {name: value for name, value in self.how.items() if name in ("collation", "hint", "comment")}
        return int(self.collection.count_documents(self.query, **known))

    def estimate(self) -> int:
        """About how many there are: what MongoDB knows of the collection, where they are all of it."""
        return self.count() if self.query else int(self.collection.estimated_document_count())


def primary(collection: Any) -> Any:
    return collection.with_options(read_preference=ReadPreference.PRIMARY)


def find_confirmed(collection: Any, query: Query) -> Raw | None:
    """The document with a primary key as a majority of the members has it: no failover undoes what this says.

    That is MongoDB's read concern "linearizable", or "majority" where the server does not know that one.
    """
    try:
        return with_concern(collection, "linearizable").find_one(query)  # type: ignore[no-any-return]
    except OperationFailure as error:
        if passes(error):
            raise
        return with_concern(collection, "majority").find_one(query)  # type: ignore[no-any-return]


def with_concern(collection: Any, level: str) -> Any:
    return collection.with_options(read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern(level))


def both(one: Query, other: Query) -> dict[str, Any]:
    """The filter of what matches two filters."""
    return {"$and": [one, other]} if one.keys() & other.keys() else {**one, **other}


def rows_of(model: Any, scope: Callable[[Any], Any] | None = None) -> Rows:
    """All documents of a model, or those that a `scope` leaves of its queryset."""
    with indexing():
        collection = model._get_collection()
    if scope is None and has_plain_objects(model):
        return Rows(collection, class_query(model), order_of(model))
    queryset = model.objects
    if scope is not None:
        with own_fault("A scope"):
            queryset = scope(queryset)
    return from_queryset(queryset)


@cache
def has_plain_objects(model: Any) -> bool:
    """Whether ``model.objects`` is mongoengine's own, which leaves nothing out."""
    manager = getattr_static(model, "objects")
    is_plain = type(manager) is QuerySetManager and manager.get_queryset is None
    return is_plain and model._meta.get("queryset_class", QuerySet) is QuerySet


def class_query(model: Any) -> Query:
    """What tells the documents of a class from others in its collection, as mongoengine does."""
    return query_of_classes(model, model._subclasses)


@cache
def query_of_classes(model: Any, _: tuple[str, ...]) -> Query:
    """That; there may be more subclasses later."""
    return dict(QuerySet(model, None)._query)


@cache
def order_of(model: Any) -> Order:
    """The order that the model's ``meta`` gives, or that by primary key."""
    return QuerySet(model, None)._get_order_by(model._meta["ordering"]) or BY_KEY


def from_queryset(queryset: Any) -> Rows:
    """What a queryset would find, and how; how many, and from where on, is for the request to say."""
    how = dict(queryset._cursor_args)
    for name, unset in (("hint", -1), ("collation", None), ("batch_size", None), ("comment", None)):
        if (value := getattr(queryset, f"_{name}")) != unset:
            how[name] = value
    collection = queryset._collection
    if queryset._read_preference is not None or queryset._read_concern is not None:
        collection = collection.with_options(
            read_preference=queryset._read_preference, read_concern=queryset._read_concern
        )
    query = NOTHING if queryset._none or queryset._empty else queryset._query
    if queryset._where_clause:
        query = both(query, {"$where": queryset._sub_js_fields(queryset._where_clause)})
    order = order_of(queryset._document) if queryset._ordering is None else queryset._ordering
    return Rows(collection, query, order or BY_KEY, how)


@contextmanager
def indexing() -> Iterator[None]:
    """SecantusDB 0.7 takes a 2dsphere index that is there already for another one of its name."""
    try:
        yield
    except OperationFailure as error:
        if error.code != INDEX_CONFLICT or "2dsphere" not in str(error):
            raise


def open_collection(model: Any) -> None:
    """Let no write go before the indexes of its model, which make unique fields unique.

    mongoengine creates them when it first uses a collection. It does not wait for another thread that is
    about it, nor does it try again where MongoDB was not there.
    """
    with indexing():
        model._get_collection()
    collection = model._get_collection()
    if _opened.get(model) is not collection:
        check_acknowledged(collection)
        if model._meta.get("auto_create_index", True) and collection.database.client.is_primary:
            with indexing():
                model.ensure_indexes()
        _opened[model] = collection


def hydrate(model: Any, raw: Raw) -> Any:
    """The mongoengine document, of the class that is stored with it."""
    return model._from_son(raw)
