"""hive, as its README shows it."""

import asyncio
import sys

import mongoengine as me
from tornado.web import Application

from benchmarks.models import Person
from benchmarks.people import DATABASE
from hive import HTTPServer, ModelHive


async def serve(port: int, uri: str) -> None:
    me.connect(DATABASE, host=uri, uuidRepresentation="standard")
    application = Application(ModelHive.routes_for(Person), log_function=lambda handler: None)
    HTTPServer(application).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
