"""Collections of hive, from which MongoDB removes documents when their time has come."""

from typing import Any
from weakref import WeakKeyDictionary

from pymongo import ReadPreference

from hive.concerns import check_acknowledged

_indexed: WeakKeyDictionary[Any, set[tuple[str, str]]] = WeakKeyDictionary()


def expiring(database: Any, name: str, field: str = "expires") -> Any:
    """The collection, with an index by which MongoDB removes a document at the time in its `field`.

    It is read from the primary, for what it has decides writes. Raises `RuntimeError` for ``w=0``.
    """
    indexed = _indexed.setdefault(database.client, set())
    collection = database.get_collection(name, read_preference=ReadPreference.PRIMARY)
    if (database.name, name) not in indexed:
        check_acknowledged(collection)
        collection.create_index(field, expireAfterSeconds=0)
        indexed.add((database.name, name))
    return collection
