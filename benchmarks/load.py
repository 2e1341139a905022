"""The load: HTTP/1.1 over connections that are kept alive, with no more work for each request than it takes.

It runs in the process of the command, which is never the one that serves.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import orjson

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True)
class Outcome:
    """Of many requests: seconds for all of them, and for each."""

    seconds: float
    latencies: list[float]

    def percentile(self, percent: int) -> float:
        ranked = sorted(self.latencies)
        return ranked[min(len(ranked) * percent // 100, len(ranked) - 1)]

    @property
    def rate(self) -> float:
        """Requests for each second."""
        return len(self.latencies) / self.seconds


class Refused(RuntimeError):
    """An answer that is no success."""


def http(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a request; what body it has is JSON."""
    content = b"" if body is None else orjson.dumps(body)
    about = {"Host": HOST, **(headers or {})}
    if body is not None:
        about |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in about.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Connection:
    """One client. It connects again where the server does not keep the connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.writer:
            self.writer.close()

    async def connect(self) -> None:
        self.reader, self.writer = await asyncio.open_connection(HOST, self.port, limit=2**22)

    async def fetch(self, request: bytes) -> Reply:
        if self.writer is None:
            await self.connect()
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        status = int(head[0].split()[1])
        body = b"" if status == 204 else await self.reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.writer.close()
            self.writer = None
        return Reply(status, headers, body)


async def send(connection: Connection, requests: Iterator[bytes], latencies: list[float]) -> None:
    for request in requests:
        start = time.perf_counter()
        reply = await connection.fetch(request)
        latencies.append(time.perf_counter() - start)
        if reply.status >= 300:
            raise Refused(
                f"{request.split(b' HTTP')[0].decode()}: {reply.status} {reply.body.decode()[:300]}"
            )


async def work(port: int, requests: Iterable[bytes], connections: int) -> Outcome:
    """Send all requests, as soon as one of so many connections is free. Raises `Refused`."""
    waiting, latencies = iter(requests), []
    clients = [Connection(port) for _ in range(connections)]
    start = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client_of(client, waiting, latencies))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return Outcome(time.perf_counter() - start, latencies)


async def client_of(client: Connection, waiting: Iterator[bytes], latencies: list[float]) -> None:
    async with client:
        await send(client, waiting, latencies)


def run(port: int, requests: Iterable[bytes], connections: int = 16) -> Outcome:
    return asyncio.run(work(port, requests, connections))


def ask(port: int, request: bytes) -> Reply:
    """One request, on a connection of its own."""

    async def fetch() -> Reply:
        async with Connection(port) as client:
            return await client.fetch(request)

    return asyncio.run(fetch())
