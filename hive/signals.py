"""The catalogue of events.

The sender is the model class, unless said otherwise. `arguments` is the path of the request as a list:
``["team/ID", "members/X"]``; `handler` is the Tornado handler that serves it.
"""

from blinker import ANY

from hive.dispatcher import Namespace, Signal, receiver

__all__ = ["ANY", "Namespace", "Signal", "core", "ext", "receiver"]

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
    "A receiver of a post signal raised ``error``; the answer to the client does not change.",
    ("signal", "receiver", "error", "handler"),
)
LIFECYCLE = tuple(core.values())
"""What is sent around the verbs."""

request_started = core.signal(
    "request_started", "A request has arrived; sender: the application.", ("handler",)
)
request_finished = core.signal(
    "request_finished",
    "A request was answered, with ``status``; sender: the application.",
    ("handler", "status"),
)
routes_registered = core.signal(
    "routes_registered", "A model got its routes, which are a list of `tornado.routing.URLSpec`.", ("routes",)
)
