"""The first answer to a write, kept for those who ask again (``Idempotency-Key``, an IETF draft).

A key is claimed before anything is done, so that of several requests with it one is served. Where MongoDB has
transactions the answer is stored in that of the write: both are there, or none, whenever a process ends.
Whatever calls this runs in the pool of threads.
"""

import re
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Any

from pymongo.errors import DuplicateKeyError, PyMongoError

from hive import transactions
from hive.answers import Answer
from hive.errors import BadRequest, Conflict, ContentTooLarge, UnprocessableContent
from hive.expiring import expiring
from hive.rows import find_confirmed

COLLECTION = "hive_idempotency"
SECONDS_KEPT = 24 * 3600
BEAT = 1.0
"""Seconds after which a process that is still at a request says so."""
LEASE = 3.0
"""Seconds without a beat after which another request with the key takes over: the process has ended."""
PAUSE = 0.05
"""Seconds between two looks for the answer that another request is about to get."""
LARGEST = 15 * 2**20
"""Bytes of a body that is kept; MongoDB takes 16 MiB for a document."""
KEY = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-+\--:<-~]{1,255})')
"""A string of RFC 8941 without escapes, or the same without quotes."""


def after(seconds: float) -> datetime:
    """The time then, as MongoDB has it: in UTC, without saying so."""
    return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)


class Busy(Conflict):
    sentence = "The first request with this Idempotency-Key is still being served."
    extra_headers = {"Retry-After": "1"}  # noqa: RUF012 - as all problems have it


def key_of(texts: list[str]) -> str | None:
    """The key that a request names in its headers, if it does. Raises `BadRequest`."""
    if not texts:
        return None
    match = KEY.fullmatch(texts[0].strip())
    if len(texts) > 1 or match is None:
        raise BadRequest("Idempotency-Key must be one string of 1 to 255 visible characters, such as a UUID.")
    return match[1] or match[2]


class Pause:
    """What a story yields that waits for another."""


@dataclass
class Claim:
    """What is known of one key.

    `who` has all that a key is for: the client and the URL. `what` has all that must be the same when it is
    sent again. If the key `is_atomic`, its answer is stored together with the write.
    """

    model: Any
    who: bytes
    what: bytes
    is_atomic: bool
    seconds: float = SECONDS_KEPT

    def __post_init__(self) -> None:
        self.name = sha256(self.who).hexdigest()
        self.fingerprint = sha256(self.what).hexdigest()
        self.owner = token_hex(8)
        self.is_held = False
        self.beats = 0
        self.session = transactions.session_of(self.model) if self.is_atomic else None

    def take(self, patience: float) -> Generator[Pause, None, Answer | None]:
        """Claim the key, or give its first answer. `Pause` is yielded while another request is at it.

        Raises `UnprocessableContent` where that was another request, and `Conflict` where it takes longer
        than `patience` seconds, or ended in a way that does not tell what it did.
        """
        now = since = time.monotonic()
        end, seen = now + max(patience, LEASE + BEAT), None
        while not self._claim():
            found = self.kept.find_one({"_id": self.name})
            if found is None:
                continue
            if self.kept.delete_one({"_id": self.name, "expires": {"$lte": after(0)}}).deleted_count:
                continue
            if found["fingerprint"] != self.fingerprint:
                raise UnprocessableContent("This Idempotency-Key was sent with another request.")
            if "answer" in found:
                kept = found["answer"]
                return Answer(kept["status"], dict(kept["headers"]), bytes(kept["body"]))
            now, beat = time.monotonic(), (found["owner"], self._beat_of(found["owner"]))
            if beat != seen:
                since, seen = now, beat
            elif now - since > LEASE and self._take_over(found):
                break
            elif now > end:
                raise Busy
            yield Pause()
        self.is_held = True
        return None

    def _claim(self) -> bool:
        expires = after(max(self.seconds, SECONDS_KEPT))
        claim = {"_id": self.name, "fingerprint": self.fingerprint, "expires": expires}
        try:
            self.kept.insert_one(claim | self._mine)
        except DuplicateKeyError:
            return False
        return True

    def _take_over(self, found: Any) -> bool:
        """Whether the key is claimed now in the place of a process that has ended."""
        if found["session"] is None:
            raise Conflict(
                "The first request with this Idempotency-Key was interrupted. What it has done is not known."
            )
        last = {
            "_id": self.name,
            "owner": found["owner"],
            "answer": {"$exists": False},
        }
        transactions.end_transaction(self.model, found["session"])
        return bool(self.kept.update_one(last, {"$set": self._mine}).matched_count)

    @property
    def _mine(self) -> dict[str, Any]:
        session = None if self.session is None else bytes(self.session.session_id["id"])
        return {"owner": self.owner, "session": session}

    def beat(self) -> None:
        """Say that this process is still at it: apart from the claim, which a transaction may be about."""
        if self.is_held:
            self.beats += 1
            expires = after(self.seconds)
            told = {"$set": {"beat": self.beats, "expires": expires}}
            self.kept.update_one({"_id": f"{self.name} {self.owner}"}, told, upsert=True)

    def _beat_of(self, owner: str) -> int:
        found = self.kept.find_one({"_id": f"{self.name} {owner}"})
        return 0 if found is None else int(found["beat"])

    def keep(self, answer: Answer) -> None:
        """Keep the answer. Raises `Conflict` where another request has taken over."""
        if len(answer.body) > LARGEST:
            if self.is_atomic:
                raise ContentTooLarge("The answer is too large to be kept for an Idempotency-Key.")
            answer = answer._replace(body=b"")  # for what it tells of is stored already
        kept = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        mine = {"_id": self.name, "owner": self.owner, "answer": {"$exists": False}}
        expires = after(self.seconds)
        if not self.kept.update_one(mine, {"$set": {"answer": kept, "expires": expires}}).matched_count:
            raise Conflict("Another request with this Idempotency-Key has taken over.")

    def keeps(self, answer: Answer) -> bool:
        """Whether the answer could be kept."""
        try:
            self.keep(answer)
        except (PyMongoError, Conflict):
            return False
        return True

    def is_kept(self) -> bool:
        """Whether the answer is there, and so what was stored with it."""
        return self.kept.find_one(self._answered) is not None

    def is_confirmed(self) -> bool:
        """The same, as no failover undoes it."""
        return find_confirmed(self.kept, self._answered) is not None

    @property
    def _answered(self) -> dict[str, Any]:
        return {"_id": self.name, "owner": self.owner, "answer": {"$exists": True}}

    def end(self) -> None:
        """Say no more that this process is at it."""
        self.is_held = False
        if self.session is not None:
            self.session.end_session()
        if self.beats:
            with suppress(PyMongoError):  # MongoDB removes it by itself
                self.kept.delete_one({"_id": f"{self.name} {self.owner}"})

    def release(self) -> None:
        """Let the next request with this key begin anew, for this one has done nothing."""
        self.is_held = False
        with suppress(PyMongoError):  # a claim that nobody renews ends by itself
            self.kept.delete_one({"_id": self.name, "owner": self.owner, "answer": {"$exists": False}})

    @property
    def kept(self) -> Any:
        """The collection, in the database of the model; MongoDB removes what has expired."""
        return expiring(self.model._get_db(), COLLECTION)
