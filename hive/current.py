"""The request that is being served: which one it is, for code and logs that were not handed it."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from tornado.web import Application


class Current:
    """What `hive.context` gives while a request is served."""

    __slots__ = ("handler", "request_id")

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.request_id: str = handler.request_id
        """What names this request in the log and, as ``X-Request-ID``, in its answer."""

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
        if current:
            message = str(record.msg) if record.args else str(record.msg).replace("%", "%%")
            if isinstance(record.args, Mapping):
                record.msg = f"{message} [request %(request_id)s]"
                record.args = {**record.args, "request_id": current.request_id}
            else:
                record.msg = f"{message} [request %s]"
                record.args = (*(record.args or ()), current.request_id)
        return True


logging.getLogger("hive").addFilter(RequestIds())
