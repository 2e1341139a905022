"""Signals on their way from a story, in the pool, to those who hear them, on the event loop."""

import logging
from collections.abc import Generator
from typing import Any, NamedTuple

from hive import pool, signals
from hive.signals import Signal

logger = logging.getLogger("hive")

Story = Generator[Any, None, Any]
"""What yields `Emission`, `Chunk` and `Pause` for the event loop, and `Joint` for others in the pool."""


class Emission(NamedTuple):
    """A signal to be sent; `instance` is the document that it is about, as ``handler.instance``."""

    signal: Signal
    sender: Any
    arguments: dict[str, Any]
    instance: Any


def emit(signal: Signal, sender: Any, current: Any = None, **arguments: Any) -> Story:
    """Send a signal to those who hear it; ``handler.instance`` is `current`, or the `instance` it has."""
    if signal.has_receivers_for(sender):
        try:
            yield Emission(signal, sender, arguments, arguments.get("instance", current))
        except pool.Interrupted:
            if may_refuse(signal):
                raise
            logger.exception("The receivers of %s were not all called", signal.name)


def may_refuse(signal: Signal) -> bool:
    """Whether what its receivers raise ends the request."""
    return signal.name.startswith("pre_")


async def send(told: Emission, handler: Any) -> None:
    """Call the receivers, on the event loop. What a pre receiver raises is raised."""
    if may_refuse(told.signal):
        await told.signal.send_async(told.sender, handler=handler, **told.arguments)
    else:
        await tell(told.signal, told.sender, handler=handler, **told.arguments)


async def tell(signal: Signal, sender: Any, *, handler: Any, **arguments: Any) -> None:
    """Call the receivers, whose exceptions do not count here but are told by `receiver_failed`."""
    for receiver, response in await signal.send_robust_async(sender, handler=handler, **arguments):
        if isinstance(response, Exception):
            failure = {"signal": signal, "receiver": receiver, "error": response, "handler": handler}
            await signals.receiver_failed.send_robust_async(sender, **failure)
