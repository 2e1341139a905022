"""Who listens to a signal, and on which terms."""

from collections.abc import Callable, Hashable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

from blinker import ANY
from blinker._utilities import make_id
from blinker.base import ANY_ID
from tornado.web import Application

from hive.current import context
from hive.lazy import lazy
from hive.receivers import Call, Receiver, is_lasting, name_of

LISTENER, PLACE = itemgetter(0), itemgetter(2)


class Listener:
    """A receiver as one signal knows it."""

    __slots__ = ("call", "id", "is_lasting", "name", "reference", "since")

    def __init__(self, receiver: Receiver, since: int) -> None:
        self.id = make_id(receiver)
        self.name = name_of(receiver)
        self.is_lasting = is_lasting(receiver)
        self.since = since
        """The `lookups` when it was connected: as many later mean that nobody has asked who hears."""
        self.call: Call
        self.reference: Callable[[], Receiver | None]
        """Gives the receiver; None if it has been garbage collected."""


class On(NamedTuple):
    """What identifies the terms on which somebody listens."""

    sender: Hashable
    application: int | None
    uid: Hashable

    def cover(self, other: "On") -> bool:
        """Whether these are the others, or say less: any sender, all applications."""
        return (
            self.uid == other.uid
            and self.sender in (ANY_ID, other.sender)
            and self.application in (None, other.application)
        )


class Terms:
    """To which sender (None: any), in which application (None: all), as which `dispatch_uid` (None: none)."""

    def __init__(self, sender: Any, application: Application | None, uid: Hashable) -> None:
        self.sender = sender
        self.application = application
        self.on = On(key_of(sender), None if application is None else id(application), uid)


class Heir(NamedTuple):
    """Who is refused because another has its `dispatch_uid`, and is connected if that one is lost."""

    reference: Callable[[], Receiver | None]
    call: Call
    weak: bool
    terms: Terms


class Connection(NamedTuple):
    """A listener, the terms on which it listens, and its place in the order of connections."""

    listener: Listener
    on: On
    place: int


class Bucket(frozenset[Connection]):
    """Some connections, with what those who send need to know of them."""

    @lazy
    def listeners(self) -> tuple[Listener, ...]:
        return in_order(self)

    @lazy
    def is_limited(self) -> bool:
        """Whether some of them hear one application only."""
        return any(connection.on.application is not None for connection in self)

    def heard(self) -> "Bucket":
        """Those of them that hear what is sent now."""
        if not self.is_limited:
            return self
        here = (None, application_now())
        return Bucket(connection for connection in self if connection.on.application in here)


def in_order(connections: Iterable[Connection]) -> tuple[Listener, ...]:
    """The listeners in the order in which they were connected; nobody is in it twice."""
    return tuple(dict.fromkeys(map(LISTENER, sorted(connections, key=PLACE))))


NOBODY = Bucket()


def key_of(sender: Any) -> Hashable:
    """What a sender is known by: strings and integers by value, any other object by what it is."""
    if sender is None or sender is ANY:
        return ANY_ID
    return (int, sender) if isinstance(sender, int) else make_id(sender)
    # blinker takes the number itself, which 0 has in common with ANY


def application_now() -> int | None:
    """The `id` of the application that serves the current request."""
    current = context.get()
    return id(current.application) if current else None
