"""What stays the same while something grows: pages, memory, clients, slow queries, processes.

    python -m benchmarks.growth [--sizes 10000,100000] [--pages 50] [--mixed 100000]

- Pages of 20 by cursor, at depth 1, 100 and 10,000: it walks there by ``rel="next"``, with the largest pages.
- The server's memory after a tenth of the requests of a mix, and after all of them.
- 1,000 clients at once, each of which keeps its connection.
- A handler of the same application that asks no database, while 50 slow queries are in flight.
- Two processes on one port, beside one.

The embedded MongoDB looks at every document of a collection for a page. With it the time of a page is its
own, so look at the CPU time of hive; and with 100,000 documents hardly a page is within hive's deadline.
"""

import argparse
import asyncio
import contextlib
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import repeat

from benchmarks import load
from benchmarks.load import Connection, http
from benchmarks.machine import about
from benchmarks.operations import changes, new
from benchmarks.people import fill
from benchmarks.servers import Process, mongodb, serving
from benchmarks.tables import table

PAGE, LARGEST = 20, 100
DEPTHS = (1, 100, 10_000)
CLIENTS = 1000
SLOW = 50
NEXT = re.compile(r'<([^>]+)>; *rel="?next"?')


def grown(uri: str, processes: int = 1) -> contextlib.AbstractContextManager[Process]:
    return serving(sys.executable, "benchmarks.grown", uri, str(processes))


def note(text: str) -> None:
    print(text, file=sys.stderr)


# Pages


async def follow(client: Connection, path: str, times: int, size: int) -> str:
    """The path of the page that is so many pages of `size` after one."""
    for _ in range(times):
        reply = await client.fetch(http("GET", resized(path, size)))
        if reply.status != 200 or not (found := NEXT.search(reply.headers["link"])):
            raise load.Refused(f"{path}: {reply.status}, Link: {reply.headers.get('link')}")
        path = found[1]
    return path


def resized(path: str, size: int) -> str:
    """Cursors hold for pages of any size; paths are told by hive."""
    return re.sub(r"per_page=\d+", f"per_page={size}", path)


async def page_at(client: Connection, depth: int) -> str:
    """The path of the depth-th page of 20."""
    before = (depth - 1) * PAGE
    start = f"/person?per_page={PAGE}"
    path = await follow(client, start, before // LARGEST, LARGEST)
    return resized(await follow(client, path, before % LARGEST // PAGE, PAGE), PAGE)


async def time_pages(process: Process, size: int, pages: int) -> list[list[str]]:
    """A row for each depth that there is: milliseconds for a page, and the server's CPU time."""
    depths = sorted({min(depth, size // PAGE) for depth in DEPTHS})
    async with Connection(process.port) as client:
        paths = [await page_at(client, depth) for depth in depths]
        times: list[list[float]] = [[] for _ in depths]
        for _ in range(pages):
            for place, path in enumerate(paths):
                times[place].append(await seconds_of(client, path))
        costs = [await cost_of(process, client, path, pages) for path in paths]
    walls = [statistics.median(each) for each in times]
    return [
        [str(size), str(depth), *compared(wall * 1e3, walls[0] * 1e3), *compared(cost, costs[0])]
        for depth, wall, cost in zip(depths, walls, costs, strict=True)
    ]


def compared(value: float, first: float) -> tuple[str, str]:
    return f"{value:.2f}", f"{value / first:.2f}"


async def seconds_of(client: Connection, path: str) -> float:
    start = time.perf_counter()
    reply = await client.fetch(http("GET", path))
    if reply.status != 200 or len(reply.json) != PAGE:
        raise load.Refused(f"{path}: {reply.status}, {len(reply.json)} items")
    return time.perf_counter() - start


async def cost_of(process: Process, client: Connection, path: str, pages: int) -> float:
    """Milliseconds of CPU time of the server for a page."""
    before = process.cpu()
    for _ in range(pages):
        await seconds_of(client, path)
    return (process.cpu() - before) / pages * 1e3


def pages(uri: str, sizes: Sequence[int], count: int) -> str:
    """The time of a page, at several depths."""
    rows = []
    for size in sizes:
        note(f"pages of {size} documents")
        fill(uri, size)
        with grown(uri) as process:
            rows += asyncio.run(time_pages(process, size, count))
    head = ["documents", "page", "ms", "to page 1", "ms of CPU time of hive", "to page 1"]
    return f'A page of {PAGE} by ``rel="next"``, medians of {count}:\n\n' + table(head, rows)


# Memory


def mix(keys: Sequence[str], count: int) -> Iterator[bytes]:
    """Of 200 requests 170 read one, 20 update, 5 create, 4 delete what was there, and 1 lists."""
    doomed = iter(keys[500:])
    for index in range(count):
        key = keys[index % 500]
        match index % 200:
            case 0:
                yield http("GET", f"/person?per_page={PAGE}")
            case turn if turn <= 20:
                yield http("PATCH", f"/person/{key}", changes(index))
            case turn if turn <= 24:
                yield http("POST", "/person", new(index))
            case turn if turn <= 28:
                yield http("DELETE", f"/person/{next(doomed)}")
            case _:
                yield http("GET", f"/person/{key}")


def memory(uri: str, count: int) -> str:
    """The server's memory after a tenth of a mix of requests, and after all."""
    rows = []
    with grown(uri) as process:
        for part in (count // 10, count - count // 10):
            note(f"{part} requests of a mix")
            load.run(process.port, mix(fill(uri, 500 + part // 50 + 4), part))
            rows.append(process.memory() / 2**20)
    sizes = f"{rows[0]:.1f} MiB after {count // 10} requests, {rows[1]:.1f} MiB after {count}"
    return f"Memory of the server: {sizes}: {rows[1] / rows[0]:.2f} times as much."


# Clients


def clients(uri: str) -> str:
    """1,000 clients at once, which keep their connections."""
    note(f"{CLIENTS} clients at once")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    keys = fill(uri, 1000)
    with grown(uri) as process:
        outcome = load.run(process.port, [http("GET", f"/person/{key}") for key in keys * 5], CLIENTS)
    slowest = max(outcome.latencies)
    return (
        f"{CLIENTS} clients at once, which keep their connections, {len(keys) * 5} requests to read one: "
        f"no error, p50 {outcome.percentile(50):.2f} s, the slowest {slowest:.2f} s."
    )


# Slow queries


async def ping_beside(port: int, paths: Sequence[str], pings: int) -> tuple[load.Outcome, int]:
    """Pings one after the other, and how many slow requests were answered meanwhile."""
    answered: list[float] = []
    others = [asyncio.create_task(repeating(port, path, answered)) for path in paths]
    await asyncio.sleep(0.5)
    outcome = load.Outcome(0, [])
    async with Connection(port) as client:
        for _ in range(pings):
            await load.send(client, iter([http("GET", "/ping")]), outcome.latencies)
            await asyncio.sleep(0.002)
    for other in others:
        other.cancel()
    results = await asyncio.gather(*others, return_exceptions=True)
    failures = [result for result in results if not isinstance(result, asyncio.CancelledError)]
    if failures:
        raise load.Refused(str(failures[0]))
    return outcome, len(answered)


async def repeating(port: int, path: str, answered: list[float]) -> None:
    async with Connection(port) as client:
        await load.send(client, repeat(http("GET", path)), answered)


def ping(uri: str, pings: int = 2000) -> str:
    """A handler that asks no database, beside 50 slow queries."""
    note("pings beside slow queries")
    keys = fill(uri, 1000)
    parts = []
    with grown(uri) as process:
        for slow in (0, SLOW):
            paths = [f"/slow/{key}" for key in keys[:slow]]
            outcome, answered = asyncio.run(ping_beside(process.port, paths, pings))
            parts.append(
                f"with {slow} slow requests in flight ({answered} of them answered) p50 "
                f"{outcome.percentile(50) * 1e3:.2f} ms, p99 {outcome.percentile(99) * 1e3:.2f} ms"
            )
    return f"`/ping`, {pings} times: " + "; ".join(parts) + "."


# Processes


def share(uri: str, count: int, database: Process | None, requests: int) -> tuple[float, str]:
    """Requests per second of so many processes, and who used how much of the machine for them."""
    keys = fill(uri, 1000)
    asked = [http("GET", f"/person/{keys[index % 1000]}") for index in range(requests)]
    with grown(uri, count) as process:
        load.run(process.port, asked[:1000], 64)
        users = {"hive": process.cpu, "load": time.process_time} | (
            {"MongoDB": database.cpu} if database else {}
        )
        before = {name: cpu() for name, cpu in users.items()}
        outcome = load.run(process.port, asked, 64)
        used = {name: cpu() - before[name] for name, cpu in users.items()}
    told = ", ".join(f"{name} {seconds / outcome.seconds:.2f}" for name, seconds in used.items())
    return outcome.rate, told


def processes(uri: str, database: Process | None, requests: int) -> str:
    """Two processes beside one."""
    note("one process and two")
    rates: dict[int, list[float]] = {1: [], 2: []}
    shares = {}
    for _ in range(3):
        for count, values in rates.items():
            rate, shares[count] = share(uri, count, database, requests)
            values.append(rate)
    one, two = (statistics.median(values) for values in rates.values())
    return (
        f"Reading one, 64 connections: one process {one:.0f} requests per second (cores used: {shares[1]}), "
        f"two processes {two:.0f} ({shares[2]}): {two / one:.2f} times as many on {os.cpu_count()} cores, "
        "which they share with MongoDB and the load."
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", help="documents to page through; 10^4 to 10^6, only 10^4 if embedded")
    parser.add_argument("--pages", type=int, default=20, help="of each depth")
    parser.add_argument("--mixed", type=int, default=100_000, help="requests that memory is measured after")


def section(uri: str, chosen: argparse.Namespace, database: Process | None) -> str:
    """What was measured, in Markdown."""
    sizes = chosen.sizes or ("10000" if database else "10000,100000,1000000")
    counts = [int(size) for size in sizes.split(",")]
    parts = ["## Growth", *attempted(partial(pages, uri, counts, chosen.pages))]
    if database:
        parts.append(
            "The embedded MongoDB looks at every document for a page: the time is its own, and with 100,000 "
            "or more hardly a page is within hive's deadline. Sizes that are not here need `MONGODB_URI`."
        )
    parts += attempted(
        partial(memory, uri, chosen.mixed),
        partial(clients, uri),
        partial(ping, uri),
        partial(processes, uri, database, 5000),
    )
    return "\n\n".join(parts)


def attempted(*measurements: Callable[[], str]) -> Iterator[str]:
    """What each tells, or how it failed: that is a result too."""
    for measurement in measurements:
        try:
            yield measurement()
        except (load.Refused, OSError, EOFError) as error:
            yield f"FAILED: {measurement.func.__doc__} {error}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser)
    chosen = parser.parse_args()
    with mongodb(os.environ.get("MONGODB_URI")) as (uri, database):
        print(about(uri, [], embedded=bool(database)))
        print(section(uri, chosen, database))


if __name__ == "__main__":
    main()
