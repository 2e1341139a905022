"""The documents that a body names, found under the options of their own routes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace as changed
from typing import Any

from hive import protection
from hive.resource import Keys, Resource
from hive.rows import Rows, hydrate, rows_of

Origins = Mapping[int, tuple[Any, Any, Any]]
"""By the `id` of an object: what it was read from, what it was then, and it, lest another gets its `id`."""
MOST_SOUGHT = 50
"""Names by lookup field in the filters of one request: each is a query."""


@dataclass
class Decoding:
    """How one body is read: as a merge patch or not, as a replacement or not, for which request.

    Who may not read what is changed is `blind`: they cannot send it back as they read it.

    With `origins` it is an object that was read and then changed: what is as it was read is left alone, what
    is missing was removed. They tell, by the `id` of an object in it, what that was read from, and as what.

    `resource_of` gives the routes of a model in the application, or None.
    """

    handler: Any
    resource_of: Callable[[Any], Resource | None]
    patch: bool = False
    replace: bool = False
    blind: bool = False
    origins: Origins | None = None
    _known: set[tuple[Any, Any]] = field(default_factory=set)
    _sought: int = 0

    @property
    def literal(self) -> "Decoding":
        """For the items of a list: a patch replaces it whole."""
        return changed(self, patch=False, replace=False)

    def amending(self, origins: Origins) -> "Decoding":
        """For an object that was read and then changed."""
        return changed(self, patch=False, replace=False, origins=origins)

    def origin(self, item: Any) -> Any:
        """What an object was read from, or None."""
        return self._origin(item)[0]

    def as_read(self, item: Any) -> Any:
        """What an object was when it was read, or None."""
        return self._origin(item)[1]

    def _origin(self, item: Any) -> tuple[Any, Any, Any]:
        nothing = (None, None, None)
        return nothing if self.origins is None else self.origins.get(id(item), nothing)

    def find(self, model: Any, name: Any) -> Any:
        """The primary key of the document of `model` that a body names. `ValueError` if there is none."""
        keys, rows = self._keys_and_rows(model)
        for query in keys.queries(text_of(name)):
            if (model, query.get("_id")) in self._known:
                return query["_id"]
            key = self._key(model, rows, query)
            if key is not None:
                self._known.add((model, key))
                return key
        raise ValueError(f"names no {model.__name__} that there is")

    def sought(self, model: Any, name: str) -> Any:
        """The primary key that a filter means by a name: None where that may be, but there is none.

        Only names by lookup field need a query. Raises `ValueError` for what cannot be a name.
        """
        keys, _ = self._keys_and_rows(model)
        queries = list(keys.queries(name))
        if not queries:
            raise ValueError(f"must be the ID of a {model.__name__}")
        if keys.lookup is None:
            return queries[0]["_id"]
        self._sought += 1
        if self._sought > MOST_SOUGHT:
            raise ValueError(
                f"names more than {MOST_SOUGHT} documents by what must be looked up: filter by less"
            )
        try:
            return self.find(model, name)
        except ValueError:
            return None

    def _key(self, model: Any, rows: Rows, query: dict[str, Any]) -> Any:
        if not self._conceals(model):
            return next(iter(rows.keys(query)), None)
        found = rows.first(query)
        return None if found is None or self._is_concealed(model, found) else found["_id"]

    def prefetch(self, model: Any, names: Iterable[Any]) -> None:
        """Find many documents by primary key in one query, for `find` to know."""
        if self._conceals(model):
            return  # each is looked at for itself
        keys, rows = self._keys_and_rows(model)
        queries = [next(keys.queries(str(name)), {}) for name in names if isinstance(name, str | int)]
        found = rows.keys({"_id": {"$in": [query["_id"] for query in queries if "_id" in query]}})
        self._known |= {(model, key) for key in found}

    def fetch(self, model: Any, name: Any) -> Any:
        """The document itself."""
        raw = rows_of(model).first({"_id": self.find(model, name)})
        if raw is None:
            raise ValueError(f"names no {model.__name__} that there is")
        return hydrate(model, raw)

    def _conceals(self, model: Any) -> bool:
        """Whether there may be documents of which this client must not know."""
        resource = None if model._meta.get("abstract") else self.resource_of(model)
        return resource is not None and protection.conceals_some(self.handler, resource)

    def _is_concealed(self, model: Any, raw: Any) -> bool:
        resource = self.resource_of(model) if self._conceals(model) else None
        return resource is not None and protection.is_concealed(self.handler, resource, hydrate(model, raw))

    def routed(self, model: Any, declared: bool) -> Any:
        """`model`, if clients may name its documents: the field declares it, or the application serves it."""
        if not declared and self.resource_of(model) is None:
            raise ValueError(f"knows no class {model._class_name!r}")
        return model

    def _keys_and_rows(self, model: Any) -> tuple[Keys, Rows]:
        if model._meta.get("abstract"):
            raise ValueError("cannot be set, for its model is abstract")
        resource = self.resource_of(model)
        if resource is None:
            return Keys(model), rows_of(model)
        rows = resource.rows(self.handler)
        return resource.keys, rows if resource.model is model else rows.of_class(model)


def text_of(name: Any) -> str:
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError("must be the ID of a document")
    return str(name)
