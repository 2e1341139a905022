"""(a) Written by hand: Tornado, AsyncMongoClient and orjson; no models, no validation, no signals."""

import asyncio
import sys
from typing import Any

import orjson
import pymongo
from bson import ObjectId
from tornado.web import Application, RequestHandler

from benchmarks.people import COLLECTION, DATABASE, typed


class Handler(RequestHandler):
    def initialize(self, people: Any) -> None:
        self.people = people

    def answer(self, found: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(found, default=str))


class Many(Handler):
    async def get(self) -> None:
        limit = int(self.get_query_argument("per_page"))
        self.answer(await self.people.find().sort("_id").limit(limit).to_list())

    async def post(self) -> None:
        values = typed(orjson.loads(self.request.body))
        await self.people.insert_one(values)
        self.set_status(201)
        self.answer(values)


class One(Handler):
    async def get(self, key: str) -> None:
        self.answer(await self.people.find_one({"_id": ObjectId(key)}))

    async def patch(self, key: str) -> None:
        change = {"$set": typed(orjson.loads(self.request.body))}
        self.answer(
            await self.people.find_one_and_update({"_id": ObjectId(key)}, change, return_document=True)
        )

    async def delete(self, key: str) -> None:
        await self.people.delete_one({"_id": ObjectId(key)})
        self.set_status(204)


async def serve(port: int, uri: str) -> None:
    people = {"people": pymongo.AsyncMongoClient[Any](uri)[DATABASE][COLLECTION]}
    routes = [("/person", Many, people), ("/person/(.*)", One, people)]
    Application(routes, log_function=lambda handler: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
