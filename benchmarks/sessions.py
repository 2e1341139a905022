"""CPU time of the server process per request: what a session, a token and a permission cost.

    python -m benchmarks.sessions [--requests 300] [--rounds 3]

All run on one MongoDB (`MONGODB_URI`, or an embedded one in memory), in processes of their own, one after the
other in every round, under 16 connections. Printed are the medians over the rounds.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import mongoengine as me
from tornado.web import Application

from benchmarks import load
from benchmarks.load import HOST, http
from benchmarks.machine import about
from benchmarks.models import Person
from benchmarks.operations import changes, new
from benchmarks.people import DATABASE, fill
from benchmarks.servers import Process, mongodb, serving
from benchmarks.tables import table
from hive import AuthHive, HTTPServer, ModelHive, Provider
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


async def serve(port: int, uri: str, design: str) -> None:
    me.connect(DATABASE, host=uri, uuidRepresentation="standard")
    routes = ModelHive.routes_for(Person, allow=ALLOW[design])
    if ALLOW[design] is not None:
        routes += AuthHive.routes_for([Trusting()])
    application = Application(routes, log_function=lambda handler: None)
    if ALLOW[design] is not None:
        AuthHive.configure(application, secret_key="k" * 32, signin_rate=None, write_rate="1000000/second")
    HTTPServer(application).listen(port, HOST)
    await asyncio.Event().wait()


def headers_of(design: str, port: int) -> dict[str, str]:
    if design.endswith("by token"):
        return {"Authorization": "Bearer of-ann"}
    if not design.endswith("by cookie"):
        return {}
    signed = load.ask(port, http("POST", "/auth/signin/", {"provider": "trusting"}))
    return {"Cookie": signed.headers["set-cookie"].partition(";")[0], "Origin": f"http://{HOST}"}


def requests_of(operation: str, keys: Sequence[str], headers: dict[str, str]) -> Iterator[bytes]:
    for index, key in enumerate(keys):
        match operation:
            case "read one":
                yield http("GET", f"/person/{key}", headers=headers)
            case "list of 20":
                yield http("GET", "/person?per_page=20", headers=headers)
            case "create":
                yield http("POST", "/person", new(index) | {"name": USER["id"]}, headers)
            case _:
                yield http("PATCH", f"/person/{key}", changes(index), headers)


def measure(design: str, process: Process, operation: str, keys: Sequence[str]) -> float:
    """CPU seconds of the server for each request."""
    headers = headers_of(design, process.port)
    load.run(process.port, requests_of("read one", keys[:50], headers))
    before = process.cpu()
    load.run(process.port, requests_of(operation, keys, headers))
    return (process.cpu() - before) / len(keys)


def run(uri: str, requests: int, rounds: int) -> str:
    figures: dict[str, dict[str, list[float]]] = {
        design: {operation: [] for operation in OPERATIONS} for design in ALLOW
    }
    for _ in range(rounds):
        for design, values in figures.items():
            with serving(sys.executable, "benchmarks.sessions", uri, "--serve", design) as process:
                for operation in OPERATIONS:
                    values[operation].append(
                        measure(design, process, operation, fill(uri, requests, name=USER["id"]))
                    )
    rows = [
        [design, *(f"{statistics.median(values[operation]) * 1e6:.0f}" for operation in OPERATIONS)]
        for design, values in figures.items()
    ]
    return table(["microseconds of CPU per request", *OPERATIONS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("serving", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=ALLOW, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        port, uri = options.serving
        asyncio.run(serve(int(port), uri, options.serve))
        return
    with mongodb(os.environ.get("MONGODB_URI")) as (uri, database):
        print(about(uri, [], embedded=bool(database)))
        print(run(uri, options.requests, options.rounds))


if __name__ == "__main__":
    main()
