"""Who is connected to a signal: safe to read while others write, in any thread."""

import itertools
import sys
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any

from blinker import ANY
from blinker._utilities import make_id, make_ref
from blinker.base import ANY_ID

from hive.exclusive import Exclusive
from hive.listeners import NOBODY, Bucket, Connection, Heir, Listener, On, Terms, in_order, key_of
from hive.receivers import Call, Receiver, is_redefinition

CROWDED = 128
exclusively = Exclusive()
"""In which connections are changed. There is one for all signals, so that threads never wait in a circle."""


class Connections:
    """The connections of one signal.

    Who changes them does so within `exclusively`. Who sends reads without a lock, so sets are replaced.
    """

    def __init__(self) -> None:
        self.by_sender: dict[Hashable, Bucket] = {}
        self.by_receiver: dict[Hashable, Bucket] = {}
        self.receivers: dict[Hashable, Any] = {}
        self.senders: dict[Hashable, Any] = {}
        self.listeners: dict[Hashable, Listener] = {}
        self.heirs: dict[On, Heir] = {}
        self.changes = 0
        self.lookups = 0
        self._places = itertools.count()
        self._crowded = CROWDED

    def heard_by(self, sender: Any) -> tuple[Listener, ...]:
        """Those who hear what `sender` sends now, in the order in which they were connected."""
        self.lookups += 1
        anybody = self.by_sender.get(ANY_ID)
        heard = [anybody.heard()] if anybody else []
        for key in map(id, sender.__mro__) if isinstance(sender, type) else (key_of(sender),):
            bucket = self.by_sender.get(key)
            if bucket and bucket is not anybody:
                heard.append(bucket.heard())
        if len(heard) == 1:
            return heard[0].listeners
        return in_order(itertools.chain(*heard)) if heard else ()

    def called(self, sender: Any, listeners: tuple[Listener, ...]) -> Iterator[tuple[Listener, Receiver]]:
        """These `listeners` with their receivers, but for those who are disconnected or lost meanwhile."""
        changes = self.changes
        for listener in listeners:
            if changes == self.changes or listener in self.heard_by(sender):
                receiver = listener.reference()
                if receiver is not None:
                    yield listener, receiver

    def add(self, receiver: Receiver, call: Call, weak: bool, terms: Terms) -> bool:
        """Whether `receiver` is connected now: False where another has the `uid` for this sender."""
        holder = self._holder(terms)
        if holder and holder.listener.id != make_id(receiver):
            earlier = holder.listener.reference()
            if earlier is not None and not is_redefinition(receiver, earlier):
                reference = make_ref(receiver) if weak else lambda: receiver
                self.heirs[terms.on] = Heir(reference, call, weak, terms)
                return False
            self.remove({holder})
        listener = self._listener(receiver, call, weak)
        if not any(connection.on == terms.on for connection in self.by_receiver.get(listener.id, NOBODY)):
            place = holder.place if holder else next(self._places)
            self._put(Connection(listener, terms.on, place))
            self._watch(terms.on.sender, terms.sender, self._forget_sender)
            self._watch(("application", terms.on.application), terms.application, self._forget_application)
            self._prune()
        self.changes += 1
        return True

    def _put(self, connection: Connection) -> None:
        sender, receiver_id = connection.on.sender, connection.listener.id
        self.by_sender[sender] = Bucket(self.by_sender.get(sender, NOBODY) | {connection})
        self.by_receiver[receiver_id] = Bucket(self.by_receiver.get(receiver_id, NOBODY) | {connection})

    def end(self, receiver: Receiver | None, terms: Terms) -> list[Connection]:
        """End those of `receiver`, or of who has the `uid`, on these terms."""
        if terms.on.uid is None:
            known: Iterable[Connection] = self.by_receiver.get(make_id(receiver), NOBODY)
        else:
            known = itertools.chain.from_iterable(self.by_sender.values())
        ended = [connection for connection in known if terms.on.cover(connection.on)]
        self.remove(ended)
        self._drop_unconnected(make_id(receiver))
        return ended

    def remove(self, connections: Iterable[Connection]) -> None:
        """A listener that has none any more loses its place."""
        for connection in connections:
            sender, receiver_id = connection.on.sender, connection.listener.id
            self.by_sender[sender] = Bucket(self.by_sender[sender] - {connection})
            self.by_receiver[receiver_id] = Bucket(self.by_receiver[receiver_id] - {connection})
            self.heirs.pop(connection.on, None)
            self._drop_unconnected(receiver_id)
            if not self.by_sender[sender] and not isinstance(self.senders.get(sender), weakref.ref):
                self.senders.pop(sender, None)
        self.changes += 1

    def _is_weak(self, receiver_id: Hashable) -> bool:
        return isinstance(self.receivers[receiver_id], weakref.ref)

    def _drop_unconnected(self, receiver_id: Hashable) -> None:
        if not self.by_receiver.get(receiver_id):
            self.receivers.pop(receiver_id, None)
            self.listeners.pop(receiver_id, None)

    def clear(self) -> None:
        for book in (self.by_sender, self.by_receiver, self.receivers, self.senders, self.listeners):
            book.clear()
        self.heirs.clear()
        self.changes += 1

    def _holder(self, terms: Terms) -> Connection | None:
        """Who is connected with this `uid`, for the same sender and application."""
        if terms.on.uid is None:
            return None
        rivals = self.by_sender.get(terms.on.sender, NOBODY)
        return next((connection for connection in rivals if connection.on == terms.on), None)

    def _listener(self, receiver: Receiver, call: Call, weak: bool) -> Listener:
        receiver_id = make_id(receiver)
        listener = self.listeners.get(receiver_id) if self.by_receiver.get(receiver_id) else None
        if listener and not self._is_weak(receiver_id):  # who is kept once, is kept
            weak = False
        weakly = make_ref(receiver, partial(self._lost, receiver_id)) if weak else None
        listener = listener or Listener(receiver, self.lookups)
        listener.call, listener.reference = call, weakly or (lambda: receiver)
        self.listeners[receiver_id], self.receivers[receiver_id] = listener, weakly or receiver
        return listener

    def _watch(self, key: Hashable, sender: Any, forget: Callable[[Hashable, Any], None]) -> None:
        if sender is None or sender is ANY or key in self.senders:
            return
        try:
            self.senders[key] = make_ref(sender, lambda reference: when_gone(forget, key, reference))
        except TypeError:
            if not isinstance(sender, str | int):  # no other object may get its address while it is heard
                self.senders[key] = sender

    def _lost(self, receiver_id: Hashable, reference: Any) -> None:
        listener = self.listeners.get(receiver_id)
        when_gone(self._forget_receiver, receiver_id, reference)
        unheard = listener and listener.reference is reference and listener.since == self.lookups
        if listener and unheard and not listener.is_lasting and not sys.is_finalizing():
            warnings.warn(
                f"{listener.name} was garbage collected before it heard anything, because it was connected "
                "weakly and nothing else refers to it. Keep it, or connect it with weak=False.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _forget_receiver(self, receiver_id: Hashable, reference: Any) -> None:
        if self.receivers.get(receiver_id) is reference:  # and not another, connected at the same address
            connections = self.by_receiver.get(receiver_id, NOBODY)
            heirs = [self.heirs.get(connection.on) for connection in connections]
            self.remove(connections)
            self.by_receiver.pop(receiver_id, None)
            self._drop_unconnected(receiver_id)  # as it is already, if its senders went before
            for heir in filter(None, heirs):
                if (receiver := heir.reference()) is not None:
                    self.add(receiver, *heir[1:])
                    self.lookups += 1  # for it was not lost at once, should it be lost now

    def _forget_sender(self, key: Hashable, reference: Any) -> None:
        if self.senders.get(key) is reference:
            del self.senders[key]
            for connection in self.by_sender.pop(key, NOBODY):
                receiver_id = connection.listener.id
                self.by_receiver[receiver_id] = Bucket(self.by_receiver[receiver_id] - {connection})
                if not self._is_weak(receiver_id):
                    self._drop_unconnected(receiver_id)  # others go by themselves, and blinker keeps them
            self.changes += 1

    def _forget_application(self, key: Hashable, reference: Any) -> None:
        if self.senders.get(key) is reference:
            del self.senders[key]
            known = itertools.chain.from_iterable(self.by_sender.values())
            self.remove([one for one in known if ("application", one.on.application) == key])

    def _prune(self) -> None:
        """Drop the sets that became empty, as soon as there may be more of them than of others."""
        if len(self.by_sender) + len(self.by_receiver) > self._crowded:
            for book in (self.by_sender, self.by_receiver):
                for key in [key for key, connections in book.items() if not connections]:
                    del book[key]
            self._crowded = 2 * (len(self.by_sender) + len(self.by_receiver)) + CROWDED


def when_gone(forget: Callable[[Hashable, Any], None], key: Hashable, reference: Any) -> None:
    if not sys.is_finalizing():
        exclusively.soon(partial(forget, key, reference))
