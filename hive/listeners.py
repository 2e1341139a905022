"""Who listens to a signal, and on which terms."""

from collections.abc import Callable, Hashable, Iterable
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from blinker._utilities import make_id
from tornado.web import Application

from hive.current import context
from hive.receivers import Call, Receiver, is_lasting, name_of

PLACE = attrgetter("place")


class Listener:
    """A receiver as one signal knows it."""

    __slots__ = ("call", "id", "is_lasting", "name", "place", "reference", "since")

    def __init__(self, receiver: Receiver, place: int, since: int) -> None:
        self.id = make_id(receiver)
        self.name = name_of(receiver)
        self.is_lasting = is_lasting(receiver)
        self.place = place
        """In the order in which receivers were connected."""
        self.since = since
        """The `lookups` when it was connected: as many later mean that nobody has asked who hears."""
        self.call: Call
        self.reference: Callable[[], Receiver | None]
        """Gives the receiver; None if it has been garbage collected."""


class Terms(NamedTuple):
    """To which sender (None: any), in which application (None: all), as which `dispatch_uid` (None: none)."""

    sender: Any
    application: Application | None
    uid: Hashable


class Connection(NamedTuple):
    """A listener and its terms, of which only what identifies them is kept."""

    listener: Listener
    sender: Hashable
    application: int | None
    uid: Hashable


class Bucket(frozenset[Connection]):
    """Some connections, with what those who send need to know of them."""

    @cached_property
    def listeners(self) -> tuple[Listener, ...]:
        return in_order(connection.listener for connection in self)

    @cached_property
    def is_limited(self) -> bool:
        """Whether some of them hear one application only."""
        return any(connection.application is not None for connection in self)

    def heard(self) -> tuple[Listener, ...]:
        """Those who hear what is sent now, in the order in which they were connected."""
        if not self.is_limited:
            return self.listeners
        everywhere = (None, application_now())
        return in_order(one.listener for one in self if one.application in everywhere)


def in_order(listeners: Iterable[Listener]) -> tuple[Listener, ...]:
    return tuple(sorted(set(listeners), key=PLACE))


NOBODY = Bucket()


def application_now() -> int | None:
    """The `id` of the application that serves the current request."""
    current = context.get()
    return id(current.application) if current else None
