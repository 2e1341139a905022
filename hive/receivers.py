"""What receivers are like: how each is called, how it is named, whether it blocks the event loop."""

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from inspect import Parameter
from types import FunctionType, MethodType, coroutine
from typing import Any, TypeVar

logger = logging.getLogger("hive")
T = TypeVar("T")
Receiver = Callable[..., Any]

BLOCKED = 0.1
"""Seconds for which a receiver may hold the event loop before that is logged."""
BY_NAME = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(slots=True)
class Call:
    """How a receiver is called; worked out once."""

    first: str | None
    """Its first parameter, which gets the sender unless an argument has that name; None: it gets none."""
    takes_signal: bool
    names: frozenset[str] | None
    """The arguments that it takes; None for all that are sent."""
    is_coroutine: bool

    def __call__(self, receiver: Receiver, signal: Any, sender: Any, arguments: dict[str, Any]) -> Any:
        if self.names is not None and not self.names.issuperset(arguments):
            arguments = {name: arguments[name] for name in arguments if name in self.names}
        if self.takes_signal:
            arguments = {"signal": signal} | arguments
        if self.first is None or self.first in arguments:
            return receiver(**{"sender": sender} | arguments)
        return receiver(sender, **arguments)


def call_of(receiver: Receiver, arguments: tuple[str, ...]) -> Call:
    """How `receiver` is called with the sender and those of a signal's `arguments` that it takes.

    It may also name ``signal``. Raises `TypeError` with the reason why it cannot be called with these. A
    signal without declared arguments may have any.
    """
    parameters = parameters_of(receiver)
    if parameters is None:
        return Call("", False, None, is_coroutine(receiver))
    named = {parameter.name for parameter in parameters if parameter.kind in BY_NAME}
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
    first = place_of_sender(parameters, named, arguments)
    if first is None and not takes_all and "sender" not in named:
        raise TypeError(no_place(parameters, arguments))
    others = [] if not arguments else parameters if first is None else parameters[1:]
    taken = frozenset(parameter.name for parameter in others if fits(parameter, arguments))
    takes_signal = "signal" in named - set(arguments) - {first}
    return Call(first, takes_signal, None if takes_all or not arguments else taken, is_coroutine(receiver))


def parameters_of(receiver: Receiver) -> list[Parameter] | None:
    """Its own, or where it passes on whatever it gets those of what it wraps; None if nobody can tell."""
    own = signature_of(receiver, follow_wrapped=False)
    passes_on = own is None or [parameter.kind for parameter in own] == list(VARIADIC)
    return signature_of(receiver, follow_wrapped=True) if passes_on else own


def signature_of(receiver: Receiver, *, follow_wrapped: bool) -> list[Parameter] | None:
    try:
        return list(inspect.signature(receiver, follow_wrapped=follow_wrapped).parameters.values())
    except (TypeError, ValueError):  # some built-in functions and mocks have none to look at
        if not callable(receiver):
            raise
        return None


def place_of_sender(parameters: list[Parameter], named: set[str], arguments: tuple[str, ...]) -> str | None:
    """The first parameter, if the sender goes there; ``""`` for one that no argument can be meant for."""
    if not parameters or parameters[0].kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        return None
    first = parameters[0]
    if "sender" in named and first.name != "sender":
        return None
    if first.kind is Parameter.VAR_POSITIONAL:
        return ""
    if first.name in (*arguments, "signal"):
        return None
    return first.name if first.kind in BY_NAME else ""


def no_place(parameters: list[Parameter], arguments: tuple[str, ...]) -> str:
    if parameters and parameters[0].name in arguments:
        return f"its first parameter is {parameters[0].name!r}, and the sender comes first"
    return "it takes no sender, which comes first"


def fits(parameter: Parameter, arguments: tuple[str, ...]) -> bool:
    """Whether a parameter takes one of the `arguments`. Raises `TypeError` if it requires anything else."""
    by_name = parameter.kind in BY_NAME
    if by_name and parameter.name in arguments:
        return True
    own = by_name and parameter.name in ("sender", "signal")
    if parameter.default is Parameter.empty and parameter.kind not in VARIADIC and not own:
        by_position = "" if by_name else " by position, and arguments are passed by name"
        raise TypeError(f"it requires {parameter.name!r}{by_position}")
    return False


def is_coroutine(receiver: Receiver) -> bool:
    """Whether it is a coroutine function, an object that is called like one, or a partial of either."""
    while isinstance(receiver, partial):
        receiver = receiver.func
    call = getattr(type(receiver), "__call__", None)  # noqa: B004 - not whether, but which
    return inspect.iscoroutinefunction(receiver) or inspect.iscoroutinefunction(call)


def name_of(receiver: Receiver) -> str:
    """Its module and qualified name; of a partial those of its function, of other objects of their class."""
    if isinstance(receiver, partial):
        return name_of(receiver.func)
    named = receiver if isinstance(getattr(receiver, "__qualname__", None), str) else type(receiver)
    module = getattr(named, "__module__", None) or "builtins"
    return f"{module}.{named.__qualname__}"


def is_lasting(receiver: Receiver) -> bool:
    """Whether something else is known to keep it: a module its function, an object its method."""
    return isinstance(receiver, MethodType) or (
        isinstance(receiver, FunctionType) and "<" not in receiver.__qualname__
    )


def is_redefinition(receiver: Receiver, earlier: Receiver) -> bool:
    """Whether `receiver` is what `earlier` became when its module was loaded again."""
    new, old = (getattr(one, "__func__", one) for one in (receiver, earlier))
    both = is_lasting(new) and is_lasting(old)
    return both and new is not old and name_of(new) == name_of(old)


class Watch:
    """A context for each stretch of time in which a receiver has the event loop; logs a long one."""

    __slots__ = ("receiver", "signal", "start")

    def __init__(self, receiver: Receiver, signal: Any) -> None:
        self.receiver = receiver
        self.signal = signal

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        seconds = time.perf_counter() - self.start
        if seconds > BLOCKED:
            logger.warning(
                "%s blocked the event loop for %.0f ms on %s",
                *(name_of(self.receiver), seconds * 1000, self.signal.name),
            )


@coroutine
def watched(awaitable: Awaitable[T], watch: Watch) -> Generator[Any, Any, T]:
    """Await something with a watch on each of its steps."""
    running = waiting(awaitable)
    step = partial(running.send, None)
    while True:
        try:
            with watch:
                awaited = step()
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            step = partial(running.send, (yield awaited))
        except BaseException as error:  # noqa: BLE001 - it is the coroutine's
            step = partial(running.throw, error)


async def waiting(awaitable: Awaitable[T]) -> T:
    return await awaitable


def is_cancelled(task: asyncio.Task[Any] | None) -> bool:
    """Whether somebody asked this task to stop, rather than something that it awaits."""
    return task is None or task.cancelling() > 0
