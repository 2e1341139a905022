"""How often sign-ins and writes may come, from one client and from one user, by the library `limits`."""

import hashlib
import math
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

import limits
from limits.storage import MemoryStorage, MongoDBStorage
from mongoengine import get_connection, get_db
from pymongo.errors import DuplicateKeyError

from hive.errors import TooManyRequests
from hive.expiring import expiring

COUNTERS = "hive_rates"
PREFIX_OF_ONE_CLIENT = 64
"""Bits of an IPv6 address that tell one client from another: who has one address has all with these."""


class SharedStorage(MongoDBStorage):
    """Counts in the MongoDB of one of mongoengine's connections, for all processes that use it."""

    def __init__(self, db_alias: str) -> None:
        self._db_alias = db_alias
        super().__init__("mongodb://", counter_collection_name=COUNTERS)

    @property
    def storage(self) -> Any:
        return get_connection(self._db_alias)

    @property
    def _database(self) -> Any:
        return get_db(self._db_alias)

    @property
    def counters(self) -> Any:
        return expiring(self._database, COUNTERS, "expireAt")

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """As the library does, but by the time of this process: SecantusDB 0.7 does not know ``$$NOW``."""
        now = datetime.now(UTC)
        end, is_over = now + timedelta(seconds=expiry), {"$lt": ["$expireAt", now]}
        counted = {
            "count": {"$cond": [is_over, amount, {"$add": ["$count", amount]}]},
            "expireAt": {"$cond": [is_over, end, "$expireAt"]},
        }
        while True:
            found = self.counters.find_one_and_update({"_id": key}, [{"$set": counted}], return_document=True)
            if found is not None:
                return int(found["count"])
            # An upsert would do; but where many come first at once, SecantusDB does not tell all of them.
            with suppress(DuplicateKeyError):
                self.counters.insert_one({"_id": key, "count": 0, "expireAt": end})

    def __del__(self) -> None:
        """Leave mongoengine's connection open."""


class Rates:
    """The limits of an application, such as ``"30/minute"`` or ``"10/minute;100/hour"``; None for no limit.

    Raises `ValueError` for what is no such limit.
    """

    def __init__(self, signin: str | None, write: str | None, storage: Any) -> None:
        self._limits = {
            kind: parsed(f"{kind}_rate", text) if text is not None else []
            for kind, text in (("signin", signin), ("write", write))
        }
        self._limiter = limits.strategies.FixedWindowRateLimiter(storage)

    def count(self, kind: str, *who: str) -> None:
        """Count a sign-in or a write of one client or user. Raises `TooManyRequests`. Call it in the pool."""
        name = hashlib.sha256("\0".join((kind, *who)).encode(errors="surrogatepass")).hexdigest()
        for limit in self._limits[kind]:
            if not self._limiter.hit(limit, name):
                reset = self._limiter.get_window_stats(limit, name).reset_time
                raise TooManyRequests(max(1, math.ceil(reset - time.time())))


def parsed(option: str, text: Any) -> list[Any]:
    try:
        found = limits.parse_many(text)
    except (TypeError, ValueError):
        found = []
    if not found or any(limit.amount < 1 for limit in found):
        raise ValueError(f"{option}={text!r} is no rate, such as '30/minute' or '10/minute;100/hour'.")
    return found


def storage_of(place: str, db_alias: str) -> Any:
    """Where is counted: in the memory of this process, or in MongoDB. Raises `ValueError`."""
    if place == "memory":
        return MemoryStorage()
    if place == "mongodb":
        return SharedStorage(db_alias)
    raise ValueError(f"rates_in={place!r} is not known: pass 'memory' or 'mongodb'.")


def client_of(request: Any) -> str:
    """The client that a request comes from, by its address."""
    try:
        address = ip_address(request.remote_ip)
    except ValueError:  # a Unix socket
        return str(request.remote_ip)
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, IPv6Address):
        return str(ip_network((address, PREFIX_OF_ONE_CLIENT), strict=False))
    return str(address)
