"""The request that is being served: which one it is, for code and logs that were not handed it."""

import logging
from contextvars import ContextVar
from typing import Any

from tornado.web import Application


class Current:
    """What `hive.context` gives while a request is served."""

    __slots__ = ("handler",)

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    @property
    def request_id(self) -> str:
        """What names this request in the log and, as ``X-Request-ID``, in its answer."""
        return self.handler.request_id  # type: ignore[no-any-return]

    @property
    def current_user(self) -> Any:
        """The handler's `current_user`: None where nobody is signed in."""
        return self.handler.current_user

    @property
    def application(self) -> Application:
        return self.handler.application  # type: ignore[no-any-return]


context: ContextVar[Current | None] = ContextVar("hive.context", default=None)
"""The request that is being served; None outside of one.

It reaches receivers, the code that hive runs in its pool (`clean()`, `scope`, mongoengine's signals) and the
tasks that these start. ``hive.context.get()`` has `request_id`, `current_user`, `handler` and `application`.
"""


class RequestIds(logging.Filter):
    """Puts the id of the request into each record: as `request_id`, and at the end of the message."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = context.get()
        record.request_id = current.request_id if current else None
        if current and isinstance(record.args, tuple):
            message = str(record.msg) if record.args else str(record.msg).replace("%", "%%")
            record.msg, record.args = f"{message} [request %s]", (*record.args, current.request_id)
        return True


logging.getLogger("hive").addFilter(RequestIds())
