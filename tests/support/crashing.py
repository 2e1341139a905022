"""The application that `crash` kills: python tests/support/crashing.py PORT MONGODB_URI DATABASE.

It ends with the process that started it: when its standard input does.
"""

import asyncio
import logging
import os
import sys
import threading

import mongoengine
from mongoengine import DictField, Document, IntField, ListField, StringField
from tornado.web import Application

from hive import HTTPServer, ModelHive, NotFoundHandler, flatten, run


class Entry(Document):
    """One write. Nothing in it is unique for MongoDB, so that one which is done twice is there twice."""

    name = StringField()


class Counter(Document):
    """What writers share: `n` is the number of its increments, `log` has the name of each."""

    name = StringField()
    n = IntField(default=0)
    log = DictField()
    own = DictField()  # what each writer set last, by its number
    steps = ListField(StringField())


async def serve(port, uri, database):
    mongoengine.connect(database, host=uri, uuidRepresentation="standard")
    routes = flatten([ModelHive.routes_for(Entry), ModelHive.routes_for(Counter)])
    server = HTTPServer(Application(routes, default_handler_class=NotFoundHandler))
    server.listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def end_with_input():
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # refusals are part of the load
    threading.Thread(target=end_with_input, daemon=True).start()
    run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
