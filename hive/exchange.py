"""One exchange over HTTP: a body in, an answer out, and the signals between."""

import logging
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, NamedTuple, TypeVar

from tornado.web import Finish, stream_request_body

from hive import payload, pool
from hive.decoding import Decoding
from hive.errors import ContentTooLarge, MethodNotAllowed, UnsupportedMediaType
from hive.paths import segments_of, walk
from hive.places.place import Place, World
from hive.plain import dumps
from hive.resource import Resource, neighbour, path_of
from hive.serving import ProblemHandler
from hive.signals import Signal

logger = logging.getLogger("hive")

BODY_LIMIT = 2**20
"""Bytes of a body at most, unless the application's setting `hive_body_limit` says otherwise."""
MOST_DROPPED = 2**26
"""Bytes of a body over the limit that are read, so that the client sees the answer."""


class Emission(NamedTuple):
    """A signal on its way to those who hear it; `instance` is the document that it is about."""

    signal: Signal
    sender: Any
    arguments: dict[str, Any]
    instance: Any


Story = Generator[Emission, None, None]
X = TypeVar("X", bound="Exchange")


def story(verb: Callable[[X], Story]) -> Callable[[X], Coroutine[Any, Any, None]]:
    """Tell the story in the pool, and its signals on the event loop."""

    @wraps(verb)
    async def run(self: X) -> None:
        await self.start()
        if not self._finished:
            await pool.run(verb(self), self.deliver)

    return run


@stream_request_body
class Exchange(ProblemHandler):
    """A request for a URL of one resource.

    Receivers find in it, beside what Tornado offers: `instance`, the document that the signal is about, as
    far as there is one; `values`, what the body sets, typed, by field name; `resource`; `request_id`.
    """

    def initialize(self, resource: Resource) -> None:
        self.resource = resource
        self.instance: Any = None
        self.values: dict[str, Any] = {}
        self._body = bytearray()

    def emit(self, signal: Signal, sender: Any, current: Any = None, **arguments: Any) -> Story:
        """Send a signal to those who hear it; ``handler.instance`` is `current`, or the `instance` it has."""
        if signal.has_receivers_for(sender):
            try:
                yield Emission(signal, sender, arguments, arguments.get("instance", current))
            except pool.Interrupted:
                if may_refuse(signal):
                    raise
                logger.exception("The receivers of %s were not all called", signal.name)

    async def deliver(self, emission: Emission) -> None:
        """Call the receivers, on the event loop. What a pre receiver raises ends the request, or answers."""
        signal, sender, arguments, self.instance = emission
        if may_refuse(signal):
            await signal.send_async(sender, handler=self, **arguments)
            if self._finished:
                raise Finish
        else:
            await self.tell(signal, sender, **arguments)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:  # where Tornado itself refuses a method that it does not know
            read = {"HEAD"} if "GET" in self.resource.methods else set()
            methods = self.resource.methods | {"OPTIONS"} | read
            self.set_header("Allow", ", ".join(sorted(methods)))
        super().write_error(status_code, **kwargs)

    def place(self) -> Place:
        """What the URL addresses. Raises `NotFound`, or `MethodNotAllowed`."""
        place = self._walk()
        if str(self.request.method) not in place.allowed:
            raise MethodNotAllowed(place.allowed)
        return place

    def _walk(self) -> Place:
        world = World(self, self.resource, partial(neighbour, self.application, self.resource))
        self.segments = segments_of(self.request.path)[self.resource.root.count("/") :]
        return walk(world, self.segments)

    def decoding(self, *, patch: bool = False, replace: bool = False) -> Decoding:
        return Decoding(self, partial(neighbour, self.application, self.resource), patch, replace)

    def reply(self, status: int, value: Any) -> None:
        """The answer, unless a receiver gave one."""
        if self._finished:
            return
        self.set_status(status)
        self.set_header("Content-Type", payload.JSON)
        self.write(dumps(value))

    def created(self, value: Any, name: str | None, *, in_list: bool) -> None:
        """201, with the address of what was created."""
        here = [*self.segments, name] if in_list and name is not None else self.segments
        self.set_header("Location", f"{self.resource.root}/{path_of(*here)}")
        if name is not None:
            self.set_header("X-Created-Id", path_of(name))
        self.reply(201, value)

    def prepare(self) -> None:
        """Refuse a large body before it is sent, if the client waits for that or would not end soon.

        Any other is read to its end and dropped: a client sees no answer while it is sending.
        """
        super().prepare()
        length = self.request.headers.get("Content-Length", "0")
        most = self.body_limit if "Expect" in self.request.headers else max(self.body_limit, MOST_DROPPED)
        if length.isascii() and length.isdigit() and int(length[:20]) > most:
            raise self._too_large()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) <= self.body_limit:
            self._body += chunk

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"The body is larger than {self.body_limit} bytes.")

    def body(self, form: Any, *more_types: str) -> dict[str, Any]:
        if len(self._body) > self.body_limit:
            raise self._too_large()
        if "Content-Encoding" in self.request.headers:  # Tornado's decompress_request takes it away
            raise UnsupportedMediaType("The body must not be compressed.")
        accepted = (payload.JSON, *more_types, payload.FORM)
        return payload.read(self.request.headers.get("Content-Type", ""), bytes(self._body), form, accepted)

    @property
    def body_limit(self) -> int:
        return int(self.settings.get("hive_body_limit", BODY_LIMIT))


def may_refuse(signal: Signal) -> bool:
    """Whether what its receivers raise ends the request."""
    return signal.name.startswith("pre_")
