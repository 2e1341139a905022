"""What is not accepted any more, on all processes: ended sessions, and proofs that work once.

They are kept in the collection `hive_revocations`, from which MongoDB removes what has expired anyway.
"""

from datetime import UTC, datetime
from typing import Any

from mongoengine import get_db
from pymongo.errors import DuplicateKeyError

from hive.expiring import expiring

COLLECTION = "hive_revocations"
LAST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class Revocations:
    """Those in the database of one of mongoengine's connections. Its methods query: call them in the pool."""

    def __init__(self, db_alias: str) -> None:
        self.db_alias = db_alias

    def add(self, name: str, until: float) -> bool:
        """Revoke something until a time in seconds since the epoch; whether it had not been revoked."""
        expires = datetime.fromtimestamp(min(until, LAST), UTC)
        try:
            self._collection.insert_one({"_id": name, "expires": expires})
        except DuplicateKeyError:
            return False
        return True

    def __contains__(self, name: str) -> bool:
        return self._collection.find_one({"_id": name}, {"_id": 1}) is not None

    @property
    def _collection(self) -> Any:
        return expiring(get_db(self.db_alias), COLLECTION)
