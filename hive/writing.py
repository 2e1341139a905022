"""A request that writes: what it depends on, and an answer that is as certain as what is stored."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from tornado.web import HTTPError

from hive import answers, idempotency, outcomes, pool, transactions
from hive.answers import Answer, answer
from hive.authentication import ADMITTED
from hive.emissions import Emission, Story
from hive.errors import BadRequest, PreconditionRequired, Unavailable
from hive.exchange import Chunk
from hive.idempotency import Claim, Pause
from hive.places.embedded import Embedded
from hive.places.place import Holder
from hive.plain import dumps
from hive.preconditions import Precondition, precondition_of
from hive.reading import Reader
from hive.resource import Resource, path_of
from hive.storage import Edit
from hive.threads import Batch
from hive.values import Part
from hive.writes import Write

KEY = "Idempotency-Key"
KEYED = ("POST", "PATCH")
"""The methods that take an ``Idempotency-Key``: the others can be repeated as they are (RFC 9110, 9.2.2)."""


class Writer(Reader):
    """A request that may write."""

    def initialize(self, resource: Resource) -> None:
        super().initialize(resource)
        self.claim: Claim | None = None
        self.is_stored = False

    def batch(self) -> Batch | None:
        alone = KEY in self.request.headers or self.resource.transaction or self.is_array
        return None if alone else super().batch()

    def precondition(self, resource: Resource) -> Precondition:
        """What must hold of a document there. Raises `PreconditionRequired` or `BadRequest`."""
        precondition = precondition_of(self.request.headers)
        if resource.needs_match and precondition.wanted is None:
            raise PreconditionRequired
        return precondition

    def refuse_preconditions(self) -> None:
        """That there is none, where it could not be decided together with the write."""
        precondition = precondition_of(self.request.headers)
        if precondition.wanted is not None or (precondition.is_there and self.request.method != "POST"):
            raise BadRequest("If-Match is for PUT, PATCH and DELETE of one document.")

    def editing(
        self, target: Holder, body: Any, *, patch: bool = False, replace: bool = False
    ) -> tuple[Part, Edit]:
        """What a body sets of an object, and what does it. A JSON Patch is one of what is there by then."""
        readable = isinstance(target, Embedded) or self.may_read(target.resource, target.current)
        if isinstance(body, list):
            decoding = self.decoding(blind=not readable)
            target.stored.holds_whole = True  # for what it tests and copies, too
            part = target.patched(body, decoding)
            return part, lambda owner: target.patched(body, decoding).apply(owner)
        replace = replace and target.resource.replaces
        part = target.decode(body, self.decoding(patch=patch, replace=replace, blind=not readable))
        return part, part.apply

    def perform(self, resource: Resource, write: Write, made: Callable[[], Answer]) -> Story:
        """Tell of a write, do it, make the answer, tell of it again, and answer.

        Whatever receivers do then, and whether or not the process is still there, the answer is that.
        """
        yield from write.before()
        if self._is_atomic(resource, write):
            told: Answer | Exception = self.at_once(resource, partial(self._all_of, write, made))
        else:
            told = yield from self._one_by_one(write, made)
        yield from write.after()
        if isinstance(told, Exception):
            raise told
        self.reply(told)

    def _is_atomic(self, resource: Resource, write: Write) -> bool:
        """Whether the write is done in a transaction."""
        is_kept = self.claim is not None and self.claim.is_atomic
        could = write.is_delicate and transactions.has_transactions(resource.model)
        return resource.transaction or is_kept or could

    def at_once(self, resource: Resource, function: Callable[[], Answer]) -> Answer:
        """The answer that the function gives, with all that it stores, in a transaction."""
        found: list[Answer] = []

        def attempt() -> None:
            if found and self.claim is not None and self.claim.is_kept():
                return  # the transaction has ended well, though MongoDB did not say so
            found[:] = [function()]
            if self.claim is not None:
                self.claim.keep(found[0])

        with outcomes.committed(lambda: None if self.claim is None else self.claim.is_confirmed()):
            session = None if self.claim is None else self.claim.session
            transactions.atomically(resource.model, attempt, session)
        return found[0]

    def _all_of(self, write: Write, made: Callable[[], Answer]) -> Answer:
        write.store_alone()
        return made()

    def _one_by_one(self, write: Write, made: Callable[[], Answer]) -> Story:
        yield from write.store()
        self.is_stored = True
        return self.certain(made)

    def certain(self, made: Callable[[], Answer]) -> Answer | Exception:
        """The answer to what is stored already, or the error to be raised when the receivers know of it."""
        try:
            told = made()
            if self.claim is not None:
                self.claim.keep(told)
        except Exception as error:  # noqa: BLE001 - it is raised when the receivers know of the write
            return outcomes.though_done(error)
        return told

    def reply(self, told: Answer) -> None:
        """Answer, unless a receiver has."""
        if self._finished:
            return
        self.set_status(told.status)
        for name, text in told.headers.items():
            self.set_header(name, text)
        if told.body:
            self.write(told.body)

    def created(self, value: Any, name: str | None, state: str, *, in_list: bool) -> Answer:
        """201, with the address of what was created."""
        here = [*self.segments, name] if in_list and name is not None else self.segments
        named = {} if name is None else {"X_Created_Id": path_of(name)}
        location = f"{self.resource.root}/{path_of(*here)}"
        return answer(201, value, state, Location=location, **named)

    def created_document(self, resource: Resource, document: Any, raw: Any, *, in_list: bool) -> Answer:
        """201 for a stored document, which is shown if the client may read it."""
        value = resource.serializer.encode(raw) if self.may_read(resource, document) else None
        return self.created(value, resource.keys.name_of(raw), self.seal(raw), in_list=in_list)

    async def tell_story(self, story: Story) -> None:
        takes_key = self.request.method in KEYED
        key = idempotency.key_of(self.request.headers.get_list(KEY)) if takes_key else None
        if key is None:
            await super().tell_story(story)
            return
        beating = asyncio.create_task(self._beat())
        try:
            await super().tell_story(self._keyed(story, key))
        finally:
            beating.cancel()

    def _keyed(self, story: Story, key: str) -> Story:
        """The story of the first request with a key; for any other, its answer."""
        claim = self._claim(key)
        try:
            kept = yield from claim.take(pool.DEADLINE if self.seconds is None else self.seconds)
            if kept is None:
                yield from story
            else:
                self.reply(kept)
        except HTTPError as error:
            if error.status_code >= 500 or not (claim.is_held and claim.keeps(answers.refusal(error))):
                self._let_go(claim, error)
            raise
        except Exception as error:
            self._let_go(claim, error)
            raise
        finally:
            claim.end()

    def _claim(self, key: str) -> Claim:
        model, request = self.resource.model, self.request
        told = [request.headers.get("Content-Type", ""), request.headers.get("Prefer", "")]
        what = [str(request.method), request.query, *told]
        self.claim = Claim(
            model,
            dumps([key, request.path.removesuffix("/"), self._identity()]),
            dumps(what) + bytes(self._body),
            transactions.has_transactions(model) and not self.prefers_no_transaction,
            float(self.settings.get("hive_idempotency_seconds", idempotency.SECONDS_KEPT)),
        )
        return self.claim

    def _identity(self) -> Any:
        """Who asks: the user that is signed in, or what else tells clients from each other."""
        session = getattr(self.request, ADMITTED, None)
        if session is not None:
            return [session.provider, session.user_data["id"]]
        return [self.current_user, self.request.headers.get("Authorization")]

    def _let_go(self, claim: Claim, error: Exception) -> None:
        """Let the key be used again, if nothing was done; what nobody knows stays claimed."""
        is_doubtful = getattr(error, "members", {}).get("done", False) is not False
        if claim.is_atomic or not (self.is_stored or is_doubtful):
            claim.release()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(idempotency.BEAT)
            if self.claim is not None:
                with suppress(Unavailable):
                    await pool.call(self.claim.beat)

    async def deliver(self, told: Emission | Chunk | Pause) -> bool:
        if isinstance(told, Pause):
            await asyncio.sleep(idempotency.PAUSE)
            return True  # it is the other request that takes time
        return await super().deliver(told)

    @property
    def prefers_no_transaction(self) -> bool:
        """Whether each of several documents shall be written on its own (``Prefer``, RFC 7240)."""
        preferences = self.request.headers.get("Prefer", "").lower().replace(" ", "").replace('"', "")
        return "transaction=no" in [one.partition(";")[0] for one in preferences.split(",")]
