"""One exchange over HTTP: a body in, an answer out, and the signals between."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any, NamedTuple, TypeVar

from tornado.iostream import StreamClosedError
from tornado.web import Finish

from hive import emissions, pool, protection
from hive.authentication import authentication_for, authentication_of
from hive.bodies import BodyHandler
from hive.decoding import Decoding
from hive.emissions import Emission, Story
from hive.errors import MethodNotAllowed, Unavailable
from hive.lazy import lazy
from hive.neighbours import neighbour
from hive.origins import SAFE
from hive.paths import segments_of, walk
from hive.permissions import Permission, is_regardless
from hive.places.place import Item, Place, World
from hive.protection import OF_METHOD
from hive.resource import Resource
from hive.threads import Batch

SECONDS_TO_READ = 60.0
"""How long a client may take for a piece of a stream, before the connection is broken off."""
RESET = pack("ii", 1, 0)


class Chunk(NamedTuple):
    """A piece of an answer that goes out before the next is made."""

    data: bytes


X = TypeVar("X", bound="Exchange")


def story(verb: Callable[[X], Story]) -> Callable[[X], Coroutine[Any, Any, None]]:
    """Tell the story in the pool, and its signals on the event loop."""

    @wraps(verb)
    async def run(self: X) -> None:
        await self.start()
        if not self._finished:
            await self.tell_story(verb(self))

    return run


class Exchange(BodyHandler):
    """A request for a URL of one resource.

    Receivers find in it, beside what Tornado offers: `instance`, the document that the signal is about, as
    far as there is one; `values`, what the body sets, typed, by field name; `resource`; `request_id`.
    """

    def initialize(self, resource: Resource) -> None:
        self.resource = resource
        self.instance: Any = None
        self.values: dict[str, Any] = {}
        self.views: dict[Resource, Resource] = {}
        self.answers: dict[Permission, bool] = {}

    def set_default_headers(self) -> None:
        super().set_default_headers()
        if authentication_of(self.application):
            self.set_header("Cache-Control", "private, no-cache")  # for who asks matters

    def prepare(self) -> Any:
        """Let nobody in who has no business here, before anything else is done."""
        super().prepare()
        if not self._finished and (authentication_for(self.application) or self.resource.allow):
            return self._enter()
        return None

    async def _enter(self) -> None:
        """Raises `Unauthorized`, `Forbidden` or `TooManyRequests`."""
        authentication = authentication_of(self.application)
        session = await authentication.session_of(self) if authentication else None
        nested = self.request.path.removesuffix("/").count("/") > self.resource.root.count("/") + 1
        entry = protection.of_entry(self, self.resource, nested=nested)

        def enter() -> None:
            if authentication:
                authentication.admit(self, session)
            protection.check_entry(self, entry)

        if session or self.request.method not in SAFE or not all(map(is_regardless, entry)):
            await pool.call(enter)
        else:
            enter()

    async def tell_story(self, story: Story) -> None:
        """Run the story of a verb, in the time that the resource gives it."""
        await pool.run(story, self.deliver, self.batch(), self, self.seconds)

    @property
    def seconds(self) -> float | None:
        """Those that the story may spend in the pool; None for as many as any other."""
        return self.resource.deadline

    def batch(self) -> Batch | None:
        """The batch with which the story begins, if there is one for such requests."""
        return None

    async def deliver(self, told: Emission | Chunk) -> bool:
        """Call the receivers, on the event loop. What a pre receiver raises ends the request, or answers.

        Or send a piece of the answer, after which the time of the story begins anew: it is the client's.
        """
        if isinstance(told, Chunk):
            self.write(told.data)
            try:
                await asyncio.wait_for(self.flush(), SECONDS_TO_READ)
            except StreamClosedError:
                raise Finish from None  # the client went away, which is no fault of anybody's
            except TimeoutError:
                self._break_off()
                raise Finish from None
            return True
        self.instance = told.instance
        await emissions.send(told, self)
        if self._finished and emissions.may_refuse(told.signal):
            raise Finish
        return False

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer an error; where the answer has begun, break off, so that nobody takes it for whole."""
        if self._headers_written and not self._finished:
            self._break_off()
        else:
            super().send_error(status_code, **kwargs)

    def _break_off(self) -> None:
        """Reset the connection, for its mere end is that of the answer to a client of HTTP/1.0."""
        self._log()
        stream = self.detach()
        if not stream.closed():
            stream.socket.setsockopt(SOL_SOCKET, SO_LINGER, RESET)
            stream.close()
        self.on_finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 405:  # where Tornado itself refuses a method that it does not know
            read = {"HEAD"} if "GET" in self.resource.methods else set()
            methods = self.resource.methods | {"OPTIONS"} | read
            self.set_header("Allow", ", ".join(sorted(methods)))
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, Unavailable) and self.request.method not in SAFE:
            error.members.setdefault("done", False)  # for what may have been done says so itself
        super().write_error(status_code, **kwargs)

    def place(self) -> Place:
        """What the URL addresses, if the request may do there what it wants.

        Raises `NotFound`, `MethodNotAllowed`, `Unauthorized` or `Forbidden`.
        """
        place = self._walk()
        if str(self.request.method) not in place.allowed:
            raise MethodNotAllowed(place.allowed)
        place.check(OF_METHOD[self.request.method])
        return place

    def _walk(self) -> Place:
        self.resource = self.resource.seen_by(self)
        world = World(self, self.resource, self.routes_of)
        return walk(world, self.segments)

    @lazy
    def segments(self) -> list[str]:
        """Those of the URL after the list's own. Raises `NotFound`."""
        return segments_of(self.request.path)[self.resource.root.count("/") :]

    def routes_of(self, model: Any) -> Resource | None:
        """The routes under which this request reaches documents of `model`, by `hive.neighbours`."""
        resource = neighbour(self.application, self.resource, model)
        return None if resource is None else resource.seen_by(self)

    def decoding(self, *, patch: bool = False, replace: bool = False, blind: bool = False) -> Decoding:
        return Decoding(self, self.routes_of, patch, replace, blind)

    def may_read(self, resource: Resource, document: Any) -> bool:
        return protection.shows(self, resource, lambda: document)

    def readable(self, items: list[Item]) -> list[Item]:
        """Those of a list that the client may read."""
        resources = dict.fromkeys(item.resource for item in items if item.resource is not None)
        if all(protection.shows_all(self, resource) for resource in resources):
            return items
        return [
            item
            for item in items
            if item.resource is None or protection.shows(self, item.resource, partial(item.hydrate, item.raw))
        ]
