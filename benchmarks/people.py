"""The documents that every design serves: people of 7 fields, one of them an embedded document."""

from datetime import UTC, datetime
from typing import Any

import pymongo

DATABASE = "bench"
COLLECTION = "person"
BATCH = 10_000

Values = dict[str, Any]


def person(index: int) -> Values:
    """One of them, as a client sends it."""
    return {
        "name": f"Ann {index}",
        "email": f"ann{index}@example.org",
        "age": index % 90,
        "score": index / 8,
        "born": f"{1940 + index % 80}-01-01T00:00:00Z",
        "tags": ["a", f"b{index % 7}"],
        "address": {"street": f"{index} Main Street", "city": "Rio"},
    }


def moment(text: str) -> datetime:
    """A time of RFC 3339; one that names no zone is in UTC."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def typed(values: Values) -> Values:
    """What a client sends, or is given, as MongoDB has it."""
    return values | {"born": moment(values["born"])} if "born" in values else values


def fill(uri: str, count: int, **same: Any) -> list[str]:
    """Store so many people and nobody else, with some values the `same`; their keys, in order."""
    with pymongo.MongoClient[Values](uri) as client:
        people = client[DATABASE][COLLECTION]
        people.drop()
        keys: list[str] = []
        for start in range(0, count, BATCH):
            batch = [typed(person(index) | same) for index in range(start, min(start + BATCH, count))]
            keys += [str(key) for key in people.insert_many(batch).inserted_ids]
        return keys


def stored(uri: str, name: str) -> list[Values]:
    """Every document of that name, as MongoDB has it, without its key."""
    with pymongo.MongoClient[Values](uri, tz_aware=True) as client:
        found = client[DATABASE][COLLECTION].find({"name": name}, dict.fromkeys(person(0), 1) | {"_id": 0})
        return found.to_list()
