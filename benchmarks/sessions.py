"""CPU time of the server process per request: what a session, a token and a permission cost.

    python -m benchmarks.sessions [--requests 300] [--rounds 3]

All run on one MongoDB (`MONGODB_URI`, or an embedded one in memory), in processes of their own, one after the
other in every round, under 16 connections. Printed are the medians over the rounds.
"""

import argparse
import asyncio
import contextlib
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import mongoengine as me
import orjson
import tornado
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.netutil import bind_sockets
from tornado.web import Application

from benchmarks.requests import BODY, CONNECTIONS, Cpu, Person, fill
from hive import AuthHive, HTTPServer, ModelHive, Provider
from hive.embedded import Server
from hive.permissions import everyone, owner, signed_in

USER = {"id": "Ann", "name": "Ann", "email": "ann@example.org"}
OPERATIONS = ("read one", "list of 20", "create", "update")


class Trusting(Provider):
    async def authenticate(self, credentials: dict[str, Any], handler: Any) -> dict[str, Any]:
        return USER

    async def bearer(self, token: str) -> tuple[dict[str, Any], float]:
        return USER, 2**40


ALLOW: dict[str, Any] = {
    "no AuthHive": None,
    "for everyone": dict.fromkeys(("get", "create", "update", "delete"), everyone),
    "signed in, by cookie": dict.fromkeys(("get", "create", "update", "delete"), signed_in),
    "signed in, by token": dict.fromkeys(("get", "create", "update", "delete"), signed_in),
    "the owner, by cookie": dict.fromkeys(("get", "create", "update", "delete"), owner("name")),
}


async def serve(design: str, uri: str) -> None:
    me.connect("bench", host=uri, uuidRepresentation="standard")
    routes = [("/cpu", Cpu), *ModelHive.routes_for(Person, allow=ALLOW[design])]
    if ALLOW[design] is not None:
        routes += AuthHive.routes_for([Trusting()])
    application = Application(routes, log_function=lambda handler: None)
    if ALLOW[design] is not None:
        AuthHive.configure(application, secret_key="k" * 32, signin_rate=None, write_rate="1000000/second")
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(application)
    server.add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@contextlib.contextmanager
def serving(design: str, uri: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.sessions", "--serve", design, "--uri", uri]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


async def headers_of(design: str, base: str, client: AsyncHTTPClient) -> dict[str, str]:
    if design.endswith("by token"):
        return {"Authorization": "Bearer of-ann"}
    if not design.endswith("by cookie"):
        return {}
    body, json = orjson.dumps({"provider": "trusting"}), {"Content-Type": "application/json"}
    answer = await client.fetch(f"{base}/auth/signin/", method="POST", body=body, headers=json)
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0], "Origin": base}


def request(operation: str, base: str, key: str, index: int, headers: dict[str, str]) -> HTTPRequest:
    json = headers | {"Content-Type": "application/json"}
    match operation:
        case "read one":
            return HTTPRequest(f"{base}/person/{key}", headers=headers)
        case "list of 20":
            return HTTPRequest(f"{base}/person?per_page=20", headers=headers)
        case "create":
            return HTTPRequest(f"{base}/person", "POST", json, orjson.dumps(BODY))
        case _:
            return HTTPRequest(f"{base}/person/{key}", "PUT", json, orjson.dumps({"age": index}))


async def measure(design: str, base: str, operation: str, keys: list[str]) -> float:
    """CPU seconds of the server for each request."""
    client = AsyncHTTPClient(force_instance=True, max_clients=CONNECTIONS)
    headers = await headers_of(design, base, client)
    requests = (request(operation, base, key, index, headers) for index, key in enumerate(keys))

    async def work() -> None:
        for one in requests:
            await client.fetch(one)

    before = float((await client.fetch(f"{base}/cpu")).body)
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return (float((await client.fetch(f"{base}/cpu")).body) - before) / len(keys)


def run(uri: str, requests: int, rounds: int) -> None:
    figures: dict[str, dict[str, list[float]]] = {
        design: {operation: [] for operation in OPERATIONS} for design in ALLOW
    }
    for _ in range(rounds):
        for design, values in figures.items():
            with serving(design, uri) as base:
                for operation in OPERATIONS:
                    keys = fill(uri, requests)
                    asyncio.run(measure(design, base, "read one", keys[:50]))
                    values[operation].append(asyncio.run(measure(design, base, operation, keys)))
    versions = f"Python {platform.python_version()}, tornado {tornado.version}"
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}")
    print("| microseconds of CPU per request | " + " | ".join(OPERATIONS) + " |")
    print("|---" * (len(OPERATIONS) + 1) + "|")
    for design, values in figures.items():
        cells = [f"{statistics.median(values[operation]) * 1e6:.0f}" for operation in OPERATIONS]
        print(f"| {design} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=ALLOW, help=argparse.SUPPRESS)
    parser.add_argument(
        "--uri", default=os.environ.get("MONGODB_URI"), help="MongoDB; an embedded one unless given"
    )
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.uri))
    elif options.uri:
        run(options.uri, options.requests, options.rounds)
    else:
        with Server(None) as server:
            run(server.uri, options.requests, options.rounds)


if __name__ == "__main__":
    main()
