"""The catalogue of events, and the `Signal` that tells receivers of them.

Connect with ``connect``, ``connect_via(Model)`` or the other means of `blinker.Signal`, which `Signal` is.
The sender is the model class. `arguments` is the path of the request as a list: ``["team/ID", "members/X"]``;
`handler` is the Tornado handler that serves it.
"""

import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import blinker
from blinker.base import ANY, ANY_ID, make_id

Receiver = Callable[..., Any]
F = TypeVar("F", bound=Receiver)
Responses = list[tuple[Receiver, Any]]


class Signal(blinker.NamedSignal):
    """A `blinker.NamedSignal` that declares its arguments, keeps order and knows classes.

    - Receivers are called in the order in which they were connected.
    - A receiver connected to a class hears the subclasses of that class, and is called once.
    - A receiver is called with the sender and those declared arguments that it takes, all if it takes ``**kwargs``.
      One that requires anything else is refused with `TypeError` when it is connected.
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
        taken = self._arguments_taken_by(receiver)
        self._taken[make_id(receiver)] = taken
        return super().connect(receiver, sender, weak)

    def has_receivers_for(self, sender: Any) -> bool:
        """Whether somebody would be called; weakly referenced receivers may be gone already."""
        return bool(self.receivers) and any(self._by_sender.get(i) for i in _sender_ids(sender))

    def receivers_for(self, sender: Any) -> Iterator[Receiver]:  # type: ignore[override]
        """The receivers to be called for `sender`, in the order in which they were connected."""
        if not self.receivers:
            return
        wanted = set().union(*(self._by_sender.get(i, ()) for i in _sender_ids(sender)))
        for receiver_id, reference in list(self.receivers.items()):
            if receiver_id in wanted:
                receiver = reference() if isinstance(reference, weakref.ref) else reference
                if receiver is not None:
                    yield receiver

    def send(self, sender: Any = None, /, *, _async_wrapper: Any = None, **arguments: Any) -> Responses:
        """Call every receiver; the first exception ends it. Coroutine functions need an `_async_wrapper`."""
        responses: Responses = []
        for receiver in self._audience(sender):
            call = receiver
            if _is_async(receiver):
                if _async_wrapper is None:
                    raise RuntimeError("Cannot send to a coroutine function; use send_async.")
                call = _async_wrapper(receiver)
            responses.append((receiver, call(sender, **self._share(receiver, arguments))))
        return responses

    async def send_async(self, sender: Any = None, /, *, _sync_wrapper: Any = None, **arguments: Any) -> Responses:
        """Call every receiver, plain or coroutine function, one after another; the first exception ends it."""
        responses: Responses = []
        for receiver in self._audience(sender):
            call = _sync_wrapper(receiver) if _sync_wrapper and not _is_async(receiver) else receiver
            responses.append((receiver, await self._call(call, receiver, sender, arguments)))
        return responses

    async def send_robust_async(self, sender: Any = None, /, **arguments: Any) -> Responses:
        """As `send_async`, but everyone is called: an exception stands in the place of the response."""
        responses: Responses = []
        for receiver in self._audience(sender):
            try:
                response = await self._call(receiver, receiver, sender, arguments)
            except Exception as error:
                response = error
            responses.append((receiver, response))
        return responses

    def _audience(self, sender: Any) -> list[Receiver]:
        return [] if self.is_muted else list(self.receivers_for(sender))

    async def _call(self, call: Receiver, receiver: Receiver, sender: Any, arguments: dict[str, Any]) -> Any:
        response = call(sender, **self._share(receiver, arguments))
        return await response if inspect.isawaitable(response) else response

    def _share(self, receiver: Receiver, arguments: dict[str, Any]) -> dict[str, Any]:
        taken = self._taken.get(make_id(receiver))
        return arguments if taken is None else {name: arguments[name] for name in arguments if name in taken}

    def _arguments_taken_by(self, receiver: Receiver) -> frozenset[str] | None:
        """Which of the declared arguments `receiver` takes, beside the sender; None for all that are sent."""
        if not self.arguments:
            return None
        try:
            parameters = list(inspect.signature(receiver).parameters.values())
        except ValueError:  # some built-in functions have no signature to look at
            return None
        kinds = {parameter.kind for parameter in parameters}
        if not kinds & {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                        inspect.Parameter.VAR_POSITIONAL}:
            raise TypeError(f"{receiver!r} cannot be connected to {self.name}: it takes no sender.")
        others = parameters[1:] if parameters[0].kind != inspect.Parameter.VAR_POSITIONAL else parameters
        for parameter in others:
            self._check(receiver, parameter)
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return None
        return frozenset(parameter.name for parameter in others) & frozenset(self.arguments)

    def _check(self, receiver: Receiver, parameter: inspect.Parameter) -> None:
        optional = parameter.default is not parameter.empty
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        known = parameter.name in self.arguments and parameter.kind != parameter.POSITIONAL_ONLY
        if not (optional or variadic or known):
            raise TypeError(
                f"{receiver!r} cannot be connected to {self.name}: it requires {parameter.name!r}, "
                f"and the signal has sender, {', '.join(self.arguments)}."
            )

    def _disconnect(self, receiver_id: Any, sender_id: Any) -> None:
        super()._disconnect(receiver_id, sender_id)
        if receiver_id not in self.receivers:
            self._taken.pop(receiver_id, None)


def _is_async(receiver: Receiver) -> bool:
    return inspect.iscoroutinefunction(receiver) or inspect.iscoroutinefunction(getattr(receiver, "__call__", None))


def _sender_ids(sender: Any) -> Iterator[Any]:
    yield ANY_ID
    if isinstance(sender, type):
        yield from map(make_id, sender.__mro__)
    else:
        yield make_id(sender)


class Namespace(blinker.Namespace):
    """The signals of hive by name; `signal` declares one, or gives the one there is."""

    def signal(self, name: str, doc: str | None = None, arguments: tuple[str, ...] = ()) -> Signal:  # type: ignore[override]
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
    "Before a document is created; may refuse. The body is parsed and typed (``handler.values``), nothing is stored.",
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
