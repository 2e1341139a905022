"""What the receivers of a signal are like: which arguments they take, whether they are coroutines."""

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any

Receiver = Callable[..., Any]


def arguments_taken(receiver: Receiver, arguments: tuple[str, ...]) -> frozenset[str] | None:
    """Which of a signal's `arguments` a receiver takes, beside the sender; None for all that are sent.

    Raises `TypeError` with the reason why it cannot be called with the sender and these by name.
    """
    try:
        parameters = list(inspect.signature(receiver).parameters.values())
    except ValueError:  # some built-in functions have no signature to look at
        return None
    check_sender(parameters[:1], arguments)
    others = [parameter for parameter in parameters[1:] if fits(parameter, arguments)]
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in others)


def check_sender(first: list[Parameter], arguments: tuple[str, ...]) -> None:
    """Raises `TypeError` where the first parameter cannot take the sender, or is meant for something else."""
    if not first or first[0].kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD):
        raise TypeError("it takes no sender, which comes first")
    if first[0].name in arguments and first[0].kind is not Parameter.VAR_POSITIONAL:
        raise TypeError(f"its first parameter is {first[0].name!r}, and the sender comes first")


def fits(parameter: Parameter, arguments: tuple[str, ...]) -> bool:
    """Whether a parameter takes one of the `arguments`. Raises `TypeError` if it requires anything else."""
    by_name = parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    if by_name and parameter.name in arguments:
        return True
    variadic = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    if parameter.default is Parameter.empty and not variadic:
        by_position = "" if by_name else " by position, and arguments are passed by name"
        raise TypeError(f"it requires {parameter.name!r}{by_position}")
    return False


def is_coroutine(receiver: Receiver) -> bool:
    """Whether it is a coroutine function, or an object that is called like one."""
    call = getattr(type(receiver), "__call__", None)  # noqa: B004 - not whether, but which
    return inspect.iscoroutinefunction(receiver) or inspect.iscoroutinefunction(call)
