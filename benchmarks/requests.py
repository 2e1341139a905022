"""CPU time of the server process per request: hive beside handlers written by hand for the same model.

    python -m benchmarks.requests [--requests 2000] [--rounds 3]

All run on one MongoDB (`MONGODB_URI`, or an embedded one in memory), in processes of their own, one after
the other in every round, under 16 connections. Printed are the medians over the rounds, and hive's ratio to:

- mongoengine: documents in a `ThreadPoolExecutor`, `to_mongo()`, `save()` and orjson, no signals.
- asyncio: pymongo's AsyncMongoClient and orjson, no models, no validation, no signals.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import mongoengine as me
import orjson
import pymongo
import tornado
from bson import ObjectId
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from hive import ModelHive
from hive.embedded import Server

DOCUMENTS = 1000
CONNECTIONS = 16
OPERATIONS = ("read one", "list of 20", "list of 100", "create", "update", "delete")


class Address(me.EmbeddedDocument):
    street = me.StringField()
    city = me.StringField()


class Person(me.Document):
    name = me.StringField(required=True)
    email = me.EmailField()
    age = me.IntField()
    score = me.FloatField()
    born = me.DateTimeField()
    tags = me.ListField(me.StringField())
    address = me.EmbeddedDocumentField(Address)


BODY = {
    "name": "Ann", "email": "ann@example.org", "age": 33, "score": 1.5, "born": "2000-01-01T00:00:00Z",
    "tags": ["a", "b"], "address": {"street": "1 Main Street", "city": "Rio"},
}  # fmt: skip


# The designs


def hive_routes(uri: str) -> list:
    me.connect("bench", host=uri, uuidRepresentation="standard")
    return ModelHive.routes_for(Person)


def mongoengine_routes(uri: str) -> list:
    me.connect("bench", host=uri, uuidRepresentation="standard")
    threads = ThreadPoolExecutor(100)

    def dumps(document: Person) -> dict:
        return {"id": str(document.pk)} | {k: v for k, v in document.to_mongo().items() if k != "_id"}

    class Many(RequestHandler):
        async def get(self) -> None:
            limit = int(self.get_query_argument("per_page"))
            self.finish(
                await self.run(
                    lambda: orjson.dumps([dumps(p) for p in Person.objects.order_by("id")[:limit]])
                )
            )

        async def post(self) -> None:
            values = orjson.loads(self.request.body)
            self.set_status(201)
            self.finish(await self.run(lambda: orjson.dumps(dumps(Person(**values).save()))))

        async def run(self, job):
            self.set_header("Content-Type", "application/json")
            return await asyncio.get_running_loop().run_in_executor(threads, job)

    class One(Many):
        async def get(self, key: str) -> None:
            self.finish(await self.run(lambda: orjson.dumps(dumps(Person.objects.get(id=key)))))

        async def put(self, key: str) -> None:
            def job() -> bytes:
                person = Person.objects.get(id=key)
                for name, value in orjson.loads(self.request.body).items():
                    setattr(person, name, value)
                return orjson.dumps(dumps(person.save()))

            self.finish(await self.run(job))

        async def delete(self, key: str) -> None:
            await self.run(lambda: Person.objects.get(id=key).delete())
            self.set_status(204)

    return [("/person", Many), ("/person/(.*)", One)]


def asyncio_routes(uri: str) -> list:
    people = pymongo.AsyncMongoClient(uri)["bench"]["person"]

    def dumps(raw) -> bytes:
        return orjson.dumps(raw, default=str)

    class Many(RequestHandler):
        async def get(self) -> None:
            limit = int(self.get_query_argument("per_page"))
            self.finish(dumps(await people.find().sort("_id").limit(limit).to_list()))

        async def post(self) -> None:
            values = orjson.loads(self.request.body)
            await people.insert_one(values)
            self.set_status(201)
            self.finish(dumps(values))

    class One(RequestHandler):
        async def get(self, key: str) -> None:
            self.finish(dumps(await people.find_one({"_id": ObjectId(key)})))

        async def put(self, key: str) -> None:
            change = {"$set": orjson.loads(self.request.body)}
            self.finish(
                dumps(await people.find_one_and_update({"_id": ObjectId(key)}, change, return_document=True))
            )

        async def delete(self, key: str) -> None:
            await people.delete_one({"_id": ObjectId(key)})
            self.set_status(204)

    return [("/person", Many), ("/person/(.*)", One)]


DESIGNS = {"hive": hive_routes, "mongoengine": mongoengine_routes, "asyncio": asyncio_routes}


class Cpu(RequestHandler):
    def get(self) -> None:
        self.write(str(time.process_time()))


async def serve(design: str, uri: str) -> None:
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(
        Application([("/cpu", Cpu), *DESIGNS[design](uri)], log_function=lambda handler: None)
    )
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


# The load


@contextlib.contextmanager
def serving(design: str, uri: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.requests", "--serve", design, "--uri", uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def requests_of(operation: str, base: str, keys: list[str]) -> Iterator[HTTPRequest]:
    json = {"Content-Type": "application/json"}
    for index, key in enumerate(keys):
        match operation:
            case "read one":
                yield HTTPRequest(f"{base}/person/{key}")
            case "list of 20":
                yield HTTPRequest(f"{base}/person?per_page=20")
            case "list of 100":
                yield HTTPRequest(f"{base}/person?per_page=100")
            case "create":
                yield HTTPRequest(f"{base}/person", "POST", json, orjson.dumps(BODY))
            case "update":
                yield HTTPRequest(f"{base}/person/{key}", "PUT", json, orjson.dumps({"age": index}))
            case "delete":
                yield HTTPRequest(f"{base}/person/{key}", "DELETE")


async def measure(base: str, operation: str, keys: list[str]) -> float:
    """CPU seconds of the server for each request."""
    client = AsyncHTTPClient(force_instance=True, max_clients=CONNECTIONS)
    requests = requests_of(operation, base, keys)

    async def work() -> None:
        for request in requests:
            reply = await client.fetch(request)
            if reply.code >= 300:
                raise RuntimeError(f"{operation}: {reply.code} {reply.body!r}")

    before = float((await client.fetch(f"{base}/cpu")).body)
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    after = float((await client.fetch(f"{base}/cpu")).body)
    return (after - before) / len(keys)


def fill(uri: str, count: int) -> list[str]:
    people = pymongo.MongoClient(uri)["bench"]["person"]
    people.delete_many({})
    return [str(key) for key in people.insert_many([{**BODY} for _ in range(count)]).inserted_ids]


def run(uri: str, requests: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    figures: dict[str, dict[str, list[float]]] = {
        operation: {design: [] for design in DESIGNS} for operation in OPERATIONS
    }
    for _ in range(rounds):
        for design in DESIGNS:
            with serving(design, uri) as base:
                for operation in OPERATIONS:
                    keys = fill(uri, max(requests, DOCUMENTS))[:requests]
                    asyncio.run(measure(base, "read one", keys[:50]))
                    figures[operation][design].append(asyncio.run(measure(base, operation, keys)))
    return figures


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"tornado {tornado.version}, mongoengine {me.__version__}, pymongo {pymongo.version}"
    )
    print(
        "| microseconds of CPU per request | "
        + " | ".join(DESIGNS)
        + " | hive / mongoengine | hive / asyncio |"
    )
    print("|---" * (len(DESIGNS) + 3) + "|")
    for operation, designs in figures.items():
        medians = {design: statistics.median(values) for design, values in designs.items()}
        cells = [f"{value * 1e6:.0f}" for value in medians.values()]
        ratios = [f"{medians['hive'] / medians[other]:.2f}" for other in ("mongoengine", "asyncio")]
        print(f"| {operation} | " + " | ".join(cells + ratios) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000, help="requests of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=DESIGNS, help=argparse.SUPPRESS)
    parser.add_argument(
        "--uri", default=os.environ.get("MONGODB_URI"), help="MongoDB; an embedded one unless given"
    )
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.uri))
    elif options.uri:
        report(run(options.uri, options.requests, options.rounds))
    else:
        with Server(None) as server:
            report(run(server.uri, options.requests, options.rounds))


if __name__ == "__main__":
    main()
