"""(c) Written by hand: Tornado, and mongoengine's documents in threads; no signals."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mongoengine as me
import orjson
from tornado.web import Application, RequestHandler

from benchmarks.models import Person
from benchmarks.people import DATABASE

threads = ThreadPoolExecutor(100)


def plain(person: Any) -> dict[str, Any]:
    values = person.to_mongo().to_dict()
    return {"id": str(values.pop("_id")), **values}


class Handler(RequestHandler):
    async def answer(self, job: Callable[[], Any]) -> None:
        body = await asyncio.get_running_loop().run_in_executor(threads, lambda: orjson.dumps(job()))
        self.set_header("Content-Type", "application/json")
        self.finish(body)


class Many(Handler):
    async def get(self) -> None:
        limit = int(self.get_query_argument("per_page"))
        await self.answer(lambda: [plain(person) for person in Person.objects.order_by("id")[:limit]])

    async def post(self) -> None:
        self.set_status(201)
        await self.answer(lambda: plain(Person(**orjson.loads(self.request.body)).save()))


class One(Handler):
    async def get(self, key: str) -> None:
        await self.answer(lambda: plain(Person.objects.get(id=key)))

    async def patch(self, key: str) -> None:
        def job() -> dict[str, Any]:
            person = Person.objects.get(id=key)
            for name, value in orjson.loads(self.request.body).items():
                setattr(person, name, value)
            return plain(person.save())

        await self.answer(job)

    async def delete(self, key: str) -> None:
        job = Person.objects.get
        await asyncio.get_running_loop().run_in_executor(threads, lambda: job(id=key).delete())
        self.set_status(204)


async def serve(port: int, uri: str) -> None:
    me.connect(DATABASE, host=uri, uuidRepresentation="standard")
    routes = [("/person", Many), ("/person/(.*)", One)]
    Application(routes, log_function=lambda handler: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
