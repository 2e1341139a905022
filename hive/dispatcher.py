"""One signal: what blinker's signals can do, and what Django's can do."""

import asyncio
import inspect
from collections.abc import Hashable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import blinker
from blinker import ANY
from tornado.web import Application

from hive.connections import Connections, exclusively
from hive.listeners import Listener, Terms
from hive.receivers import Call, Receiver, Watch, call_of, is_cancelled, logger, watched

F = TypeVar("F", bound=Receiver)
Responses = list[tuple[Receiver, Any]]


class Signal(blinker.NamedSignal):
    """A `blinker.NamedSignal` that declares its arguments, keeps order and knows classes.

    - Receivers are called in the order in which they were connected.
    - A receiver connected to a class hears the subclasses of that class. Nobody is called twice.
    - A receiver is called with the sender and those declared `arguments` that it takes, all if it takes
      ``**kwargs``. One that names ``signal`` is given this signal.
    - One that is connected while the signal is sent hears the next; one that is disconnected, no more.
    - Without declared `arguments` receivers get whatever ``send`` is given, as in blinker.
    - All methods may be called from any thread.
    """

    def __init__(self, name: str, doc: str | None = None, arguments: Iterable[str] = ()) -> None:
        super().__init__(name, doc)
        self.arguments: tuple[str, ...] = ()
        self._connections = Connections()
        self.receivers = self._connections.receivers
        self._by_sender = self._connections.by_sender  # type: ignore[assignment]
        self._by_receiver = self._connections.by_receiver  # type: ignore[assignment]
        self._weak_senders = self._connections.senders
        self.declare(doc, arguments)

    def declare(self, doc: str | None, arguments: Iterable[str]) -> None:
        """Say what the signal means, and which `arguments` it has, where that was not said before.

        Raises `TypeError` if other arguments were said before, or if a receiver requires what is not there.
        """
        if isinstance(arguments, str):
            raise TypeError(f"arguments is a list of names, not the text {arguments!r}.")
        exclusively(partial(self._declare, doc, tuple(arguments)))

    def _declare(self, doc: str | None, arguments: tuple[str, ...]) -> None:
        if self.arguments and arguments and {*self.arguments} != {*arguments}:
            raise TypeError(f"{self.name} is declared with {self.arguments}, and cannot have {arguments}.")
        if arguments and not self.arguments:
            known = [(listener, listener.reference()) for listener in self._connections.listeners.values()]
            calls = [
                (one, self._call_of(receiver, arguments)) for one, receiver in known if receiver is not None
            ]
            self.arguments = arguments
            for listener, call in calls:
                listener.call = call
        if doc:
            self.__doc__ = doc

    def connect(
        self,
        receiver: F,
        sender: Any = ANY,
        weak: bool = True,
        dispatch_uid: Hashable = None,
        *,
        application: Application | None = None,
    ) -> F:
        """Call `receiver` when the signal is sent by `sender`, or by anybody where that is None or `ANY`.

        - `sender`: any object. Strings and integers are told apart by value, a class hears its subclasses.
        - `weak`: forget the receiver when nothing else refers to it. Lambdas and local functions need False.
          Who was connected with False is kept until it is disconnected.
        - `dispatch_uid`: for each sender only the first receiver with this uid is connected. Another follows
          when that is lost, or takes its place if it is the same function, loaded anew.
        - `application`: hear only what is sent while a request to that application is served.

        Raises `TypeError` if `receiver` requires an argument that the signal does not have, and for a
        `dispatch_uid` that is not hashable.
        """
        if not isinstance(application, Application | None):
            raise TypeError(f"application is a tornado.web.Application, not {application!r}.")
        hash(dispatch_uid)  # which says what is wrong with it, before anything is changed
        terms = Terms(sender, application, dispatch_uid)
        if exclusively(partial(self._connect, receiver, weak, terms)):
            try:
                self._announce("receiver_connected", receiver=receiver, sender=sender, weak=weak)
            except TypeError:  # with which blinker lets one who hears of it refuse
                self.disconnect(receiver, sender, dispatch_uid, application=application)
                raise
        return receiver

    def _connect(self, receiver: Receiver, weak: bool, terms: Terms) -> bool:
        return self._connections.add(receiver, self._call_of(receiver, self.arguments), weak, terms)

    def disconnect(  # type: ignore[override]
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        dispatch_uid: Hashable = None,
        *,
        application: Application | None = None,
    ) -> bool:
        """Disconnect `receiver`, or whoever has the `dispatch_uid`; whether there was anybody.

        Without a `sender` it is disconnected from all, as in blinker; with an `application`, in that only.
        One that was connected with a `dispatch_uid` is disconnected by that only, as in Django.
        """
        terms = Terms(sender, application, dispatch_uid)
        ended = exclusively(partial(self._connections.end, receiver, terms))
        if receiver is None and ended:
            receiver = ended[0].listener.reference()
        self._announce("receiver_disconnected", receiver=receiver, sender=sender)
        return bool(ended)

    def has_receivers_for(self, sender: Any = ANY) -> bool:
        """Whether somebody is connected who hears `sender` now, be the signal muted or not."""
        return bool(self.receivers) and bool(self._connections.heard_by(sender))

    def receivers_for(self, sender: Any) -> Iterator[Receiver]:  # type: ignore[override]
        """The receivers to be called for `sender`, in the order in which they were connected."""
        listeners = self._connections.heard_by(sender)
        return (receiver for _, receiver in self._connections.called(sender, listeners))

    def send(self, /, sender: Any = None, *, _async_wrapper: Any = None, **arguments: Any) -> Responses:
        """Call every receiver; the first exception ends it. Coroutine functions need an `_async_wrapper`.

        Gives a list of ``(receiver, response)``, as everything that sends does.
        """
        if not self.receivers:  # which costs less than to find out that nobody hears this
            return []
        return [
            (receiver, self._call(listener, receiver, _async_wrapper, sender, arguments))
            for listener, receiver in self._audience(sender)
        ]

    def send_robust(
        self, /, sender: Any = None, *, _async_wrapper: Any = None, **arguments: Any
    ) -> Responses:
        """As `send`, but everyone is called: an exception is logged, and the response in its pair."""
        responses: Responses = []
        for listener, receiver in self._audience(sender):
            try:
                response = self._call(listener, receiver, _async_wrapper, sender, arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                response = self._failed(listener, error)
            responses.append((receiver, response))
        return responses

    async def send_async(
        self, /, sender: Any = None, *, _sync_wrapper: Any = None, **arguments: Any
    ) -> Responses:
        """Call every receiver, plain or coroutine, one after another; the first exception ends it."""
        return [
            (receiver, await self._await(listener, receiver, _sync_wrapper, sender, arguments))
            for listener, receiver in self._audience(sender)
        ]

    async def send_robust_async(
        self, /, sender: Any = None, *, _sync_wrapper: Any = None, **arguments: Any
    ) -> Responses:
        """As `send_async`, but everyone is called: an exception is logged, and the response in its pair."""
        responses: Responses = []
        for listener, receiver in self._audience(sender):
            try:
                response = await self._await(listener, receiver, _sync_wrapper, sender, arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told
                response = self._failed(listener, error)
            responses.append((receiver, response))
        return responses

    asend, asend_robust, has_listeners = send_async, send_robust_async, has_receivers_for
    """Django's names."""

    def _audience(self, sender: Any) -> Iterable[tuple[Listener, Receiver]]:
        if self.is_muted or not self.receivers:
            return ()
        listeners = self._connections.heard_by(sender)
        return self._connections.called(sender, listeners) if listeners else ()

    def _call(
        self, listener: Listener, receiver: Receiver, wrapper: Any, sender: Any, arguments: dict[str, Any]
    ) -> Any:
        if listener.call.is_coroutine:
            if wrapper is None:
                raise RuntimeError(f"{listener.name} is a coroutine function: send_async calls it.")
            receiver = wrapper(receiver)
        return listener.call(receiver, self, sender, arguments)

    async def _await(
        self, listener: Listener, receiver: Receiver, wrapper: Any, sender: Any, arguments: dict[str, Any]
    ) -> Any:
        watch, call = Watch(receiver, self), listener.call
        try:
            if wrapper and not call.is_coroutine:
                return await call(wrapper(receiver), self, sender, arguments)
            with watch:
                response = call(receiver, self, sender, arguments)
            return await watched(response, watch) if inspect.isawaitable(response) else response
        except asyncio.CancelledError as error:
            if is_cancelled(asyncio.current_task()):
                raise
            raise RuntimeError(f"{listener.name} waited for what was cancelled.") from error

    def _failed(self, listener: Listener, error: Exception) -> Exception:
        logger.error("%s failed on %s", listener.name, self.name, exc_info=error)
        return error

    def _call_of(self, receiver: Receiver, arguments: tuple[str, ...]) -> Call:
        try:
            return call_of(receiver, arguments)
        except TypeError as error:
            raise TypeError(
                f"{receiver!r} cannot be connected to {self.name}: {error}. "
                f"The signal has {', '.join(('sender', *arguments))}."
            ) from None

    def _announce(self, told: str, sender: Any, **arguments: Any) -> None:
        """Send `receiver_connected` or `receiver_disconnected`, if ever somebody asked for it."""
        if told in vars(self) and getattr(self, told).receivers:
            getattr(self, told).send(self, sender=ANY if sender is None else sender, **arguments)

    def _clear_state(self) -> None:
        exclusively(self._connections.clear)
