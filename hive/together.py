"""Requests that come at once, and are answered together: many documents by one query, a list by one answer.

That needs no waiting: a request is answered at once, as long as few are under way. Those that come then wait
for one of these to end, and what they share is read after that, so that everybody gets what is stored when
they ask, or later. Nobody waits for another list than their own, or where the application has a say.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from hive import protection, signals
from hive.exchange import Exchange
from hive.paths import segments_of
from hive.permissions import is_regardless
from hive.resource import Resource
from hive.rows import rows_of
from hive.threads import Batch

T = TypeVar("T")
OWN = ("expand=", "per_page=all")
"""What is in a query string whose answer is for one request only."""


class Together(Exchange):
    """A request that may be answered together with others like it."""

    def initialize(self, resource: Resource) -> None:
        super().initialize(resource)
        self.wanted: Any = None  # the primary key of the document that is asked for
        self.fetched: Any = None  # that document, if it was read with those of others
        self.made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` gives, made once for all requests for the same that are answered together."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]  # type: ignore[no-any-return]

    def agree(self, listing: Any) -> None:
        """Share nothing more with others whose request means something else, or may see something else."""
        if listing.shape.expand or self.made.setdefault("listing", listing) != listing:
            self.made = {}

    def batch(self) -> Batch | None:
        resource, method = self.resource, self.request.method
        if not resource.is_plain or not is_regardless(protection.permission(self, resource, "get")):
            return None
        rest = self.request.path[len(resource.root) :].strip("/")
        if method in ("PUT", "PATCH") and rest:
            return self._batch_of_documents(rest, "to change", apart=True)
        if method not in ("GET", "HEAD"):
            return None
        if not rest:
            return self._batch_of_list()
        heard = signals.pre_get_instance.has_receivers_for(resource.model)
        return None if heard else self._batch_of_documents(rest, "to read")

    def _batch_of_documents(self, rest: str, key: str, *, apart: bool = False) -> Batch | None:
        """That of requests for single documents; each that changes one does so in a thread of its own."""
        resource = self.resource
        if "/" not in rest:
            self.wanted = next(resource.keys.queries(segments_of(f"/{rest}")[0]), {}).get("_id")
        return None if self.wanted is None else batch_at(resource, key, read_documents, apart=apart)

    def _batch_of_list(self) -> Batch | None:
        resource = self.resource
        heard = (signals.pre_get_list, signals.post_get_list)
        is_own = any(text in self.request.query for text in OWN)
        if is_own or any(signal.has_receivers_for(resource.model) for signal in heard):
            return None
        return batch_at(resource, f"{self.request.uri} {self.request.headers.get('Prefer')}", share)


def batch_at(
    resource: Resource, key: str, prepare: Callable[[list[Any]], None], *, apart: bool = False
) -> Batch:
    """The batch of that key, which is there while it is under way."""
    batch = resource.batches.get(key)
    if batch is None:
        batch = resource.batches.setdefault(key, Batch(prepare, apart=apart))
    return batch


def read_documents(handlers: list[Any]) -> None:
    """Read what several requests want. What is not found then, each looks for itself."""
    if len(handlers) > 1:
        wanted = [handler.wanted for handler in handlers]
        found = {raw["_id"]: raw for raw in rows_of(handlers[0].resource.model).among(wanted)}
        for handler in handlers:
            handler.fetched = found.get(handler.wanted)


def share(handlers: list[Any]) -> None:
    """Let requests for the same list have the same of all that they make `once`."""
    for handler in handlers:
        handler.made = handlers[0].made
