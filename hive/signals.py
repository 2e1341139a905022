"""The catalogue of events.

The sender is the model class, unless said otherwise. `arguments` is the path of the request as a list:
``["team/ID", "members/X"]``; `handler` is the Tornado handler that serves it.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import blinker
from blinker import ANY as ANY  # noqa: PLC0414 - exported

from hive.dispatcher import Signal as Signal  # noqa: PLC0414 - exported
from hive.receivers import Receiver

F = TypeVar("F", bound=Receiver)


class Namespace(blinker.Namespace):
    """Signals by name: each name has one, whoever asks for it first."""

    def signal(self, name: str, doc: str | None = None, arguments: Iterable[str] = ()) -> Signal:
        """The signal of that name, declared with what is known of it; see `Signal.declare`."""
        signal: Signal = self.setdefault(name, Signal(name))  # type: ignore[assignment]
        signal.declare(doc, arguments)
        return signal


def receiver(signal: Signal | Iterable[Signal], **how: Any) -> Callable[[F], F]:
    """Connect the decorated function to a signal, or to each of several; `how` are arguments of `connect`."""
    signals = [signal] if isinstance(signal, blinker.Signal) else list(signal)

    def connect(function: F) -> F:
        for one in signals:
            one.connect(function, **how)
        return function

    return connect


core = Namespace()
"""The signals of hive."""
ext = Namespace()
"""The signals of plugins; they begin with the name of the plugin."""

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
    "A receiver of another than a pre signal raised ``error``; the answer to the client does not change.",
    ("signal", "receiver", "error", "handler"),
)
LIFECYCLE = tuple(core.values())
"""What is sent around the verbs: the signals above."""

request_started = core.signal(
    "request_started", "A request has arrived; sender: the application.", ("handler",)
)
request_finished = core.signal(
    "request_finished",
    "A request was answered, with ``status``; sender: the application.",
    ("handler", "status"),
)
pre_get_user_details = core.signal(
    "pre_get_user_details",
    "Before ``/auth/me/`` tells of the user; receivers may add to ``user_data``, or refuse. "
    "Sender: the name of the provider.",
    ("provider_name", "user_data", "handler"),
)
authorized_user = core.signal(
    "authorized_user",
    "A provider vouches for a user; receivers may change ``user_data``, which the session keeps, or refuse. "
    "Sender: the name of the provider.",
    ("provider_name", "user_data", "handler"),
)
unauthorized_user = core.signal(
    "unauthorized_user",
    "Somebody failed to sign in. Sender: the name of the provider.",
    ("provider_name", "handler"),
)
routes_registered = core.signal(
    "routes_registered", "A model got its routes, which are a list of `tornado.routing.URLSpec`.", ("routes",)
)
