"""Requests that come at once, and are answered together: many documents by one query, a list by one answer.

That needs no waiting: a request is answered at once, as long as few are under way. Those that come then wait
for one of these to end, and what they share is read after that, so that everybody gets what is stored when
they ask, or later. Nobody waits for another list than their own, or where the application has a say.
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from hive import protection, signals
from hive.concerns import asking_primary
from hive.exchange import Exchange
from hive.permissions import is_regardless
from hive.query import CONTROLS, EVERYTHING
from hive.resource import Resource
from hive.rows import Raw, rows_of
from hive.schema import waits_to_be_made
from hive.threads import Batch

T = TypeVar("T")


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
        resource = self.resource
        if not resource.is_plain or not is_regardless(protection.permission(self, resource, "get")):
            return None
        match self.request.method, bool(self.segments):
            case "GET" | "HEAD", True:
                return self._batch_of_readers()
            case "GET" | "HEAD", False:
                return self._batch_of_list()
            case "PUT" | "PATCH", True:
                return self._batch_of_documents("to change", apart=True)
            case "POST", False:
                return self._batch_of_creations()
        return None

    def _batch_of_readers(self) -> Batch | None:
        heard = (signals.pre_get_instance, signals.post_get_instance)
        if self.request.query or any(signal.has_receivers_for(self.resource.model) for signal in heard):
            return None
        return self._batch_of_documents("to read")

    def _batch_of_documents(self, key: str, *, apart: bool = False) -> Batch | None:
        """That of requests for single documents; each that changes one does so in a thread of its own."""
        if len(self.segments) == 1:
            self.wanted = next(self.resource.keys.queries(self.segments[0]), {}).get("_id")
        if self.wanted is None or not isinstance(self.wanted, Hashable):
            return None
        return self._batch_at(key, take_documents if apart else read_documents, apart=apart)

    def _batch_of_creations(self) -> Batch | None:
        """That of requests for new documents, which are inserted by one command."""
        resource, model = self.resource, self.resource.model
        heard = signals.pre_create_instance.has_receivers_for(model)
        is_free = is_regardless(protection.permission(self, resource, "create"))
        if heard or not is_free or waits_to_be_made(model, model._subclasses):
            return None
        return self._batch_at("to create", read_nothing)

    def _batch_of_list(self) -> Batch | None:
        resource = self.resource
        heard = (signals.pre_get_list, signals.post_get_list)
        if any(signal.has_receivers_for(resource.model) for signal in heard) or not self._is_alike():
            return None
        return self._batch_at(f"{self.request.uri} {self.request.headers.get('Prefer')}", share)

    def _is_alike(self) -> bool:
        """Whether the query string means the same for everybody, and is read without a query."""
        asked = self.request.query_arguments
        filters = asked.keys() - set(CONTROLS)
        return (
            "expand" not in asked
            and EVERYTHING.encode() not in asked.get("per_page", ())
            and not (filters and self.resource.refers_by_name)
        )

    def _batch_at(self, key: str, prepare: Callable[[list[Any]], None], *, apart: bool = False) -> Batch:
        """The batch of that key in this application, which is there while it is under way."""
        batches, key = self.resource.batches, f"{id(self.application)} {key}"
        batch = batches.get(key)
        return batches.setdefault(key, Batch(prepare, apart=apart)) if batch is None else batch


def read_documents(handlers: list[Any]) -> None:
    """Read what several requests want. What is not found then, each looks for itself."""
    found = documents_of(handlers)
    for handler in handlers:
        handler.fetched = found.get(handler.wanted)


def take_documents(handlers: list[Any]) -> None:
    """The same, but each document is for one of them, who changes it."""
    with asking_primary():
        found = documents_of(handlers)
    for handler in handlers:
        handler.fetched = found.pop(handler.wanted, None)


def read_nothing(_: list[Any]) -> None:
    """For those who create: what they have in common is to come."""


def documents_of(handlers: list[Any]) -> dict[Any, Raw]:
    """The documents that they want, by primary key; of one who is alone, none."""
    wanted = [handler.wanted for handler in handlers]
    every = rows_of(handlers[0].resource.model).among(wanted) if len(handlers) > 1 else []
    return {raw["_id"]: raw for raw in every if isinstance(raw["_id"], Hashable)}


def share(handlers: list[Any]) -> None:
    """Let requests for the same list have the same of all that they make `once`."""
    for handler in handlers:
        handler.made = handlers[0].made
