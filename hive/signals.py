"""The catalogue of events, and the `Signal` that tells receivers of them.

Connect with ``connect``, ``connect_via(Model)`` or the other means of `blinker.Signal`, which `Signal` is.
The sender is the model class. `arguments` is the path of the request as a list: ``["team/ID", "members/X"]``;
`handler` is the Tornado handler that serves it.
"""

import asyncio
import inspect
import weakref
from collections.abc import Iterator
from typing import Any, TypeVar

import blinker
from blinker import ANY
from blinker._utilities import make_id
from blinker.base import ANY_ID

from hive.receivers import Receiver, arguments_taken, is_coroutine

F = TypeVar("F", bound=Receiver)
Responses = list[tuple[Receiver, Any]]


class Signal(blinker.NamedSignal):
    """A `blinker.NamedSignal` that declares its arguments, keeps order and knows classes.

    - Receivers are called in the order in which they were connected.
    - A receiver connected to a class hears the subclasses of that class, and is called once.
    - A receiver is called with the sender and those declared arguments that it takes, all if it takes
      ``**kwargs``. One that requires anything else is refused with `TypeError` when it is connected.
    - One that is connected while the signal is sent hears the next; one that is disconnected, no more.
    - Without declared `arguments` receivers get whatever ``send`` is given, as in blinker.
    """

    def __init__(self, name: str, doc: str | None = None, arguments: tuple[str, ...] = ()) -> None:
        super().__init__(name, doc)
        self.arguments = arguments
        self._taken: dict[Any, frozenset[str] | None] = {}

    def connect(self, receiver: F, sender: Any = ANY, weak: bool = True) -> F:
        """Call `receiver` when the signal is sent by `sender`, by a subclass of it, or (default) by anybody.

        Raises `TypeError` if `receiver` requires an argument that the signal does not have.
        """
        self._taken[make_id(receiver)] = self._arguments_taken_by(receiver)
        return super().connect(receiver, sender, weak)

    def has_receivers_for(self, sender: Any) -> bool:
        """Whether somebody would be called; weakly referenced receivers may be gone already."""
        return bool(self.receivers) and any(self._by_sender.get(i) for i in _sender_ids(sender))

    def receivers_for(self, sender: Any) -> Iterator[Receiver]:  # type: ignore[override]
        """The receivers to be called for `sender`, in the order in which they were connected."""
        if not self.receivers:
            return
        wanted = set().union(*(self._by_sender.get(i, ()) for i in _sender_ids(sender)))
        for receiver_id in [i for i in self.receivers if i in wanted]:
            reference = self.receivers.get(receiver_id)  # None if it was disconnected by one before it
            receiver = reference() if isinstance(reference, weakref.ref) else reference
            if receiver is not None:
                yield receiver

    def send(self, sender: Any = None, /, *, _async_wrapper: Any = None, **arguments: Any) -> Responses:
        """Call every receiver; the first exception ends it. Coroutine functions need an `_async_wrapper`."""
        responses: Responses = []
        for receiver in self._audience(sender):
            call = receiver
            if is_coroutine(receiver):
                if _async_wrapper is None:
                    raise RuntimeError("Cannot send to a coroutine function; use send_async.")
                call = _async_wrapper(receiver)
            responses.append((receiver, call(sender, **self._share(receiver, arguments))))
        return responses

    async def send_async(
        self, sender: Any = None, /, *, _sync_wrapper: Any = None, **arguments: Any
    ) -> Responses:
        """Call every receiver, plain or coroutine, one after another; the first exception ends it."""
        responses: Responses = []
        for receiver in self._audience(sender):
            call = _sync_wrapper(receiver) if _sync_wrapper and not is_coroutine(receiver) else receiver
            responses.append((receiver, await self._call(call, receiver, sender, arguments)))
        return responses

    async def send_robust_async(self, sender: Any = None, /, **arguments: Any) -> Responses:
        """As `send_async`, but everyone is called: an exception stands in the place of the response."""
        responses: Responses = []
        for receiver in self._audience(sender):
            try:
                response = await self._call(receiver, receiver, sender, arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                response = error
            responses.append((receiver, response))
        return responses

    def _audience(self, sender: Any) -> Iterator[Receiver]:
        return iter(()) if self.is_muted else self.receivers_for(sender)

    async def _call(self, call: Receiver, receiver: Receiver, sender: Any, arguments: dict[str, Any]) -> Any:
        try:
            response = call(sender, **self._share(receiver, arguments))
            return await response if inspect.isawaitable(response) else response
        except asyncio.CancelledError as error:
            if is_cancelled(asyncio.current_task()):
                raise
            raise RuntimeError(f"{receiver!r} waited for what was cancelled.") from error

    def _share(self, receiver: Receiver, arguments: dict[str, Any]) -> dict[str, Any]:
        taken = self._taken.get(make_id(receiver))
        return arguments if taken is None else {name: arguments[name] for name in arguments if name in taken}

    def _arguments_taken_by(self, receiver: Receiver) -> frozenset[str] | None:
        if not self.arguments:
            return None
        try:
            return arguments_taken(receiver, self.arguments)
        except TypeError as error:
            raise TypeError(
                f"{receiver!r} cannot be connected to {self.name}: {error}. "
                f"The signal has sender, {', '.join(self.arguments)}."
            ) from None

    def _disconnect(self, receiver_id: Any, sender_id: Any) -> None:
        super()._disconnect(receiver_id, sender_id)
        if not self._by_receiver.get(receiver_id):  # connected to no sender: it loses its place in the order
            super()._disconnect(receiver_id, ANY_ID)
            self._taken.pop(receiver_id, None)


def is_cancelled(task: asyncio.Task[Any] | None) -> bool:
    """Whether somebody asked this task to stop, rather than something that it awaits."""
    return task is None or task.cancelling() > 0


def _sender_ids(sender: Any) -> Iterator[Any]:
    yield ANY_ID
    if isinstance(sender, type):
        yield from map(make_id, sender.__mro__)
    else:
        yield make_id(sender)


class Namespace(blinker.Namespace):
    """The signals of hive by name; `signal` declares one, or gives the one there is."""

    def signal(self, name: str, doc: str | None = None, arguments: tuple[str, ...] = ()) -> Signal:
        return self.setdefault(name, Signal(name, doc, arguments))  # type: ignore[return-value]


core = Namespace()

pre_get_instance = core.signal(
    "pre_get_instance", "Before a document is fetched; may refuse.", ("arguments", "handler")
)
post_get_instance = core.signal("post_get_instance", "A document was fetched.", ("instance", "handler"))
pre_get_list = core.signal("pre_get_list", "Before a list is fetched; may refuse.", ("arguments", "handler"))
post_get_list = core.signal("post_get_list", "A list was fetched.", ("items", "handler"))
pre_create_instance = core.signal(
    "pre_create_instance",
    "Before a document is created; may refuse. The body is parsed and typed (``handler.values``), "
    "nothing is stored.",
    ("arguments", "handler"),
)
post_create_instance = core.signal("post_create_instance", "A document was stored.", ("instance", "handler"))
pre_update_instance = core.signal(
    "pre_update_instance",
    "Before a document is changed; may refuse. The current document is ``handler.instance``.",
    ("arguments", "handler"),
)
post_update_instance = core.signal(
    "post_update_instance",
    "A changed document was stored; ``updated_fields`` is ``{name: {'from': old, 'to': new}}``.",
    ("instance", "updated_fields", "handler"),
)
pre_delete_instance = core.signal(
    "pre_delete_instance",
    "Before a document is deleted; may refuse. The current document is ``handler.instance``.",
    ("arguments", "handler"),
)
post_delete_instance = core.signal(
    "post_delete_instance", "A document is gone; ``instance`` is as it last was.", ("instance", "handler")
)
receiver_failed = core.signal(
    "receiver_failed",
    "A receiver of a post signal raised ``error``; the answer to the client does not change.",
    ("signal", "receiver", "error", "handler"),
)
