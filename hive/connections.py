"""Who is connected to a signal: safe to read while others write, in any thread."""

import itertools
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, NamedTuple

from blinker import ANY
from blinker._utilities import make_id, make_ref
from blinker.base import ANY_ID

from hive.current import context
from hive.receivers import Call, Receiver, is_lasting, is_redefinition, name_of

CROWDED = 128
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
        """How often somebody had asked who hears before."""
        self.call: Call
        self.reference: Callable[[], Receiver | None]
        """Gives the receiver; None if it has been garbage collected."""


class Connection(NamedTuple):
    """To which sender a listener is connected, in which application (None: all), as which `dispatch_uid`."""

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


class Connections:
    """The connections of one signal.

    Those who send read without the lock, so sets are replaced, never changed. Garbage collection may come at
    any moment, also while the lock is held: what a dead reference has to tell waits in `_gone` where another
    thread has the lock, and the lock lets a ``__del__`` in that disconnects.
    """

    def __init__(self) -> None:
        self.by_sender: dict[Hashable, Bucket] = {}
        self.by_receiver: dict[Hashable, Bucket] = {}
        self.receivers: dict[Hashable, Any] = {}
        self.senders: dict[Hashable, Any] = {}
        self.listeners: dict[Hashable, Listener] = {}
        self.changes = 0
        self.lookups = 0
        self._gone: deque[Callable[[], None]] = deque()
        self._lock = threading.RLock()
        self._places = itertools.count()
        self._crowded = CROWDED

    def heard_by(self, sender: Any) -> tuple[Listener, ...]:
        """Those who hear what `sender` sends now, in the order in which they were connected."""
        self.lookups += 1
        anybody = self.by_sender.get(ANY_ID)
        heard = anybody.heard() if anybody else ()
        for key in map(id, sender.__mro__) if isinstance(sender, type) else (key_of(sender),):
            bucket = self.by_sender.get(key)
            if bucket and bucket is not anybody:
                heard = in_order((*heard, *bucket.heard())) if heard else bucket.heard()
        return heard

    def called(self, sender: Any, listeners: tuple[Listener, ...]) -> Iterator[tuple[Listener, Receiver]]:
        """These `listeners` to `sender`, one after another, but for those who are disconnected meanwhile."""
        changes = self.changes
        for listener in listeners:
            if changes == self.changes or listener in self.heard_by(sender):
                receiver = listener.reference()
                if receiver is not None:
                    yield listener, receiver

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A block that may change what is here; one thread at a time."""
        try:
            with self._lock:
                self._let_go()
                yield
                self.changes += 1
        finally:
            self._sweep()

    def add(
        self, receiver: Receiver, call: Call, *, weak: bool, sender: Any, application: Any, uid: Hashable
    ) -> bool:
        """Whether `receiver` is connected now: False where another has the `uid` for this sender."""
        key, place = key_of(sender), None if application is None else id(application)
        holder = self._holder(key, place, uid)
        if holder and holder.listener.id != make_id(receiver):
            earlier = holder.listener.reference()
            if earlier is not None and not is_redefinition(receiver, earlier):
                return False
            self.remove({holder})
        connection = Connection(self._listener(receiver, call, weak), key, place, uid)
        replace(self.by_sender, key, frozenset.union, connection)
        replace(self.by_receiver, connection.listener.id, frozenset.union, connection)
        self._watch(key, sender, self._forget_sender)
        self._watch(("application", place), application, self._forget_application)
        self._prune()
        return True

    def find(
        self, receiver: Receiver | None, sender: Any, application: Any, uid: Hashable
    ) -> set[Connection]:
        """The connections of `receiver`, or of who has the `uid`; None as sender or application is any."""
        if uid is None:
            known: Iterable[Connection] = self.by_receiver.get(make_id(receiver), NOBODY)
        else:
            known = itertools.chain.from_iterable(self.by_sender.values())
        key = key_of(sender)
        return {
            connection
            for connection in known
            if connection.uid == uid
            and key in (ANY_ID, connection.sender)
            and (application is None or id(application) == connection.application)
        }

    def remove(self, connections: Iterable[Connection]) -> None:
        """End these; a listener without any loses its place."""
        for connection in connections:
            receiver_id = connection.listener.id
            replace(self.by_sender, connection.sender, frozenset.difference, connection)
            replace(self.by_receiver, receiver_id, frozenset.difference, connection)
            if not self.by_receiver[receiver_id]:
                self._drop(receiver_id)

    def _drop(self, receiver_id: Hashable) -> None:
        self.receivers.pop(receiver_id, None)
        self.listeners.pop(receiver_id, None)

    def _holder(self, key: Hashable, place: int | None, uid: Hashable) -> Connection | None:
        """Who is connected with this `uid`, for the same sender and application."""
        if uid is None:
            return None
        rivals = (one for one in self.by_sender.get(key, NOBODY) if one.uid == uid)
        return next((one for one in rivals if one.application == place), None)

    def _listener(self, receiver: Receiver, call: Call, weak: bool) -> Listener:
        receiver_id = make_id(receiver)
        weakly = make_ref(receiver, partial(self._lost, receiver_id)) if weak else None
        listener = self.listeners.get(receiver_id) or Listener(receiver, next(self._places), self.lookups)
        listener.call, listener.reference = call, weakly or (lambda: receiver)
        self.listeners[receiver_id], self.receivers[receiver_id] = listener, weakly or receiver
        return listener

    def _watch(self, key: Hashable, sender: Any, forget: Callable[[Hashable, Any], None]) -> None:
        if sender is not None and sender is not ANY and key not in self.senders:
            with suppress(TypeError):  # strings, for example, have no weak references
                self.senders[key] = make_ref(sender, lambda reference: self._later(forget, key, reference))

    def _lost(self, receiver_id: Hashable, reference: Any) -> None:
        listener = self.listeners.get(receiver_id)
        self._later(self._forget_receiver, receiver_id, reference)
        unheard = listener and listener.reference is reference and listener.since == self.lookups
        if listener and unheard and not listener.is_lasting and not sys.is_finalizing():
            warnings.warn(
                f"{listener.name} was garbage collected before it heard anything, because it was connected "
                "weakly and nothing else refers to it. Keep it, or connect it with weak=False.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _later(self, forget: Callable[[Hashable, Any], None], key: Hashable, reference: Any) -> None:
        if not sys.is_finalizing():
            self._gone.append(partial(forget, key, reference))
            self._sweep()

    def _sweep(self) -> None:
        while self._gone and self._lock.acquire(blocking=False):
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _let_go(self) -> None:
        while self._gone:
            self._gone.popleft()()
            self.changes += 1

    def _forget_receiver(self, receiver_id: Hashable, reference: Any) -> None:
        if self.receivers.get(receiver_id) is reference:  # and not another, connected at the same address
            self.remove(self.by_receiver.get(receiver_id, NOBODY))
            self._drop(receiver_id)
            self.by_receiver.pop(receiver_id, None)

    def _forget_sender(self, key: Hashable, reference: Any) -> None:
        if self.senders.get(key) is reference:
            del self.senders[key]
            for connection in self.by_sender.pop(key, NOBODY):
                replace(self.by_receiver, connection.listener.id, frozenset.difference, connection)

    def _forget_application(self, key: Hashable, reference: Any) -> None:
        if self.senders.get(key) is reference:
            del self.senders[key]
            known = itertools.chain.from_iterable(self.by_sender.values())
            self.remove(
                [connection for connection in known if ("application", connection.application) == key]
            )

    def _prune(self) -> None:
        """Drop the sets that became empty, as soon as there may be more of them than of others."""
        if len(self.by_sender) + len(self.by_receiver) > self._crowded:
            for book in (self.by_sender, self.by_receiver):
                for key in [key for key, connections in book.items() if not connections]:
                    del book[key]
            self._crowded = 2 * (len(self.by_sender) + len(self.by_receiver)) + CROWDED


def replace(book: dict[Hashable, Bucket], key: Hashable, how: Any, connection: Connection) -> None:
    """Put a bucket in the place of another; again if garbage collection did so too while it was made."""
    while True:
        old = book.get(key, NOBODY)
        new = Bucket(how(old, {connection}))
        if book.get(key, NOBODY) is old:
            book[key] = new
            return


def key_of(sender: Any) -> Hashable:
    """What a sender is known by: strings and numbers by value, any other object by what it is."""
    if sender is None or sender is ANY:
        return ANY_ID
    return (int, sender) if isinstance(sender, int) else make_id(sender)
    # blinker takes the number itself, which 0 has in common with ANY


def application_now() -> int | None:
    """The `id` of the application that serves the current request."""
    current = context.get()
    return id(current.application) if current else None
