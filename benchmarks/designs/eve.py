"""Eve under gunicorn, with its own settings wherever the same requests and answers do not need others."""

import os
import sys
from urllib.parse import urlsplit

from eve import Eve

from benchmarks.people import COLLECTION, DATABASE

PEOPLE = {
    "datasource": {"source": COLLECTION, "default_sort": [("_id", 1)]},
    "schema": {
        "name": {"type": "string", "required": True},
        "email": {"type": "string", "regex": r"^[^@\s]+@[^@\s]+\.[^@\s]+$"},
        "age": {"type": "integer"},
        "score": {"type": "float"},
        "born": {"type": "datetime"},
        "tags": {"type": "list", "schema": {"type": "string"}},
        "address": {"type": "dict", "schema": {"street": {"type": "string"}, "city": {"type": "string"}}},
    },
}
SETTINGS = {
    "DOMAIN": {"person": PEOPLE},
    "RESOURCE_METHODS": ["GET", "POST"],
    "ITEM_METHODS": ["GET", "PATCH", "DELETE"],
    "QUERY_MAX_RESULTS": "per_page",
    "PAGINATION_LIMIT": 100,
    "DATE_FORMAT": "%Y-%m-%dT%H:%M:%SZ",
    "IF_MATCH": False,  # no other design asks for the version that is changed: updates and deletes need none
    "BANDWIDTH_SAVER": False,  # the whole document is the answer to a change, as with all others
}


def application():
    uri = urlsplit(os.environ["MONGODB_URI"])._replace(path=f"/{DATABASE}").geturl()
    return Eve(settings=SETTINGS | {"MONGO_URI": uri})


if __name__ == "__main__":
    os.environ["MONGODB_URI"] = sys.argv[2]
    arguments = f"--bind 127.0.0.1:{sys.argv[1]} --workers 1 --log-level error".split()
    program = "benchmarks.designs.eve:application()"
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments, program])  # noqa: S606
