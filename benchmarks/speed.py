"""What a request costs: hive, beside handlers written by hand and its peers.

    python -m benchmarks.speed [--designs hive,asyncio] [--requests 2000] [--rounds 5] [--documents 10000]

Every design serves the same documents of the same MongoDB (`MONGODB_URI`, or an embedded one), one design
after the other in turn, in every round, to 16 connections that are kept alive. Before an operation is timed,
its answer is checked, and the server warmed up with such requests. Measured are the CPU time of the server
(user and system, all its processes) for each request, the time that half and 99 % of the requests stay under,
and requests per second.

The embedded MongoDB looks at every document of a collection for a list, and for findAndModify. With it there
are fewer documents (--scanned) and requests where lists and updates are measured: it alone would be measured.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import load
from benchmarks.environments import NotMeasured, python_for
from benchmarks.machine import about
from benchmarks.operations import OPERATIONS, Operation, check
from benchmarks.people import fill
from benchmarks.servers import Process, mongodb, serving
from benchmarks.tables import spread, table

DESIGNS = {
    "hive": "hive",
    "hive_heard": "hive, heard",
    "hive_uvloop": "hive, uvloop",
    "asyncio": "(a) asyncio",
    "threads": "(c) threads",
    "beanie": "FastAPI + Beanie",
    "fastapi_mongoengine": "FastAPI + mongoengine",
    "eve": "Eve",
    "drf": "DRF + mongoengine",
}
COMPARED = [
    ("hive", "asyncio"),
    ("hive", "threads"),
    ("hive_heard", "threads"),
    ("hive_uvloop", "hive"),
    *((peer, "hive") for peer in ("beanie", "fastapi_mongoengine", "eve", "drf")),
]
TOGETHER = (
    "hive answers requests for the same list that come together once, and those for single documents with "
    "one query. All connections ask for the same list here, so its figures for lists are those of one that "
    "many want at once. What one costs that nobody else asks for is measured with one connection, below."
)
ALONE = ("hive", "asyncio", "threads")
"""The designs that are measured with one connection too."""
WARM = 100
SCANNED = 300
FEWER = 4


@dataclass(frozen=True)
class Figures:
    """One operation of one design in one round."""

    cpu: float
    p50: float
    p99: float
    rate: float


Metric = Callable[[Figures], float]
METRICS: dict[str, tuple[Metric, int]] = {
    "CPU time per request, in microseconds": (lambda figures: figures.cpu * 1e6, 0),
    "p50, in milliseconds": (lambda figures: figures.p50 * 1e3, 2),
    "p99, in milliseconds": (lambda figures: figures.p99 * 1e3, 2),
    "Requests per second": (lambda figures: figures.rate, 0),
}


@dataclass
class Results:
    operations: list[str]
    designs: list[str]
    rounds: list[dict[tuple[str, str], Figures]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def values(self, design: str, operation: str, metric: Metric) -> list[float]:
        return [metric(each[design, operation]) for each in self.rounds if (design, operation) in each]

    def ratios(self, pair: tuple[str, str], operation: str, metric: Metric) -> list[float]:
        """Of figures of the same round, so that what slows down a whole round is in none of them."""
        both = zip(*(self.values(design, operation, metric) for design in pair), strict=False)
        return [one / other for one, other in both]


@dataclass(frozen=True)
class Plan:
    """How much is done, once for each design in a round."""

    requests: int
    documents: int
    scanned: int
    connections: int
    embedded: bool

    def stages(self) -> Iterator[tuple[int, int, list[Operation]]]:
        """Documents, requests and operations that go together."""
        fewer = max(self.requests // FEWER, 1) if self.embedded else self.requests
        yield self.scanned, fewer, [operation for operation in OPERATIONS if operation.scans]
        yield self.documents, self.requests, [operation for operation in OPERATIONS if not operation.scans]


def measure(
    process: Process, operation: Operation, keys: Sequence[str], requests: int, connections: int
) -> Figures:
    """Warm up with the last of the keys, then ask about the first."""
    warm = min(WARM, 32 + requests // 8)
    first = len(keys) - 1 - warm
    load.run(process.port, [operation.request(place, keys[place]) for place in range(first, first + warm)])
    asked = [operation.request(place % first, keys[place % first]) for place in range(requests)]
    before = process.cpu()
    outcome = load.run(process.port, asked, connections)
    cpu = (process.cpu() - before) / requests
    return Figures(cpu, outcome.percentile(50), outcome.percentile(99), outcome.rate)


def measure_design(design: str, uri: str, plan: Plan) -> dict[tuple[str, str], Figures]:
    figures = {}
    with serving(python_for(design), f"benchmarks.designs.{design}", uri) as process:
        for documents, requests, operations in plan.stages():
            keys = fill(uri, documents)
            for operation in operations:
                if design == "hive_heard" and not operation.name.startswith("list"):
                    continue  # nobody hears of it
                check(design, operation, process.port, uri, keys)
                figures[design, operation.name] = measure(
                    process, operation, keys, requests, plan.connections
                )
    return figures


def run(uri: str, designs: Sequence[str], rounds: int, plan: Plan) -> Results:
    results = Results([operation.name for operation in OPERATIONS], list(designs))
    for turn in range(rounds):
        results.rounds.append({})
        for design in rotated(designs, turn):
            if design in results.missing:
                continue
            print(f"round {turn + 1} of {rounds}: {design}", file=sys.stderr)
            try:
                results.rounds[-1] |= measure_design(design, uri, plan)
            except NotMeasured as reason:
                results.missing[design] = str(reason)
    return results


def rotated(designs: Sequence[str], turn: int) -> list[str]:
    """All of them, each round beginning with another one."""
    first = turn % len(designs)
    return [*designs[first:], *designs[:first]]


def report(results: Results, plan: Plan) -> str:
    parts = [
        "## Speed" if plan.connections > 1 else "## Speed, one request after the other",
        told(plan, len(results.rounds)),
        *([TOGETHER] if plan.connections > 1 else []),
        *(f"Not measured: {DESIGNS[design]}: {reason}" for design, reason in results.missing.items()),
        *ratio_tables(results),
        *value_tables(results),
    ]
    return "\n\n".join(parts)


def told(plan: Plan, rounds: int) -> str:
    (scanned, fewer, _), (documents, requests, _) = plan.stages()
    sizes = f"{documents} documents, {plan.connections} connections, {rounds} rounds, {requests} requests"
    if (scanned, fewer) != (documents, requests):
        sizes += (
            f"; for lists and updates, {scanned} documents and {fewer} requests, because the embedded "
            "MongoDB looks at every document for them, and would be what is measured"
        )
    return (
        f"{sizes}. Median, and least and most, over the rounds; a ratio is one of figures of the same round."
    )


def ratio_tables(results: Results) -> Iterator[str]:
    for name, (metric, _) in METRICS.items():
        rows = [
            [f"{DESIGNS[one]} / {DESIGNS[other]}"]
            + [spread(results.ratios((one, other), operation, metric)) for operation in results.operations]
            for one, other in COMPARED
            if {one, other} <= {*results.designs} - {*results.missing}
        ]
        yield f"{name.partition(',')[0]}, ratios:\n\n" + table(["", *results.operations], rows)


def value_tables(results: Results) -> Iterator[str]:
    for name, (metric, digits) in METRICS.items():
        rows = [
            [DESIGNS[design]]
            + [spread(results.values(design, operation, metric), digits) for operation in results.operations]
            for design in results.designs
            if design not in results.missing
        ]
        yield f"{name}:\n\n" + table(["", *results.operations], rows)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--designs", default=",".join(DESIGNS), help="of " + ", ".join(DESIGNS))
    parser.add_argument("--requests", type=int, default=2000, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--documents", type=int, default=10_000, help="more than requests, by a few hundred")
    parser.add_argument("--scanned", type=int, help="documents where lists and updates are measured")


def section(uri: str, chosen: argparse.Namespace, *, embedded: bool) -> str:
    """What was measured, in Markdown."""
    documents = max(chosen.documents, chosen.requests + 2 * WARM)
    scanned = chosen.scanned or (min(SCANNED, documents) if embedded else documents)
    plan = Plan(chosen.requests, documents, scanned, chosen.connections, embedded)
    return report(run(uri, chosen.designs.split(","), chosen.rounds, plan), plan)


def section_alone(uri: str, chosen: argparse.Namespace, *, embedded: bool) -> str:
    """The same of hive and of what is written by hand, with one connection."""
    designs = ",".join(design for design in chosen.designs.split(",") if design in ALONE)
    alone = argparse.Namespace(**{**vars(chosen), "connections": 1, "designs": designs})
    return section(uri, alone, embedded=embedded)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options(parser)
    chosen = parser.parse_args()
    with mongodb(os.environ.get("MONGODB_URI")) as (uri, embedded):
        print(about(uri, chosen.designs.split(","), embedded=bool(embedded)))
        print(section(uri, chosen, embedded=bool(embedded)))


if __name__ == "__main__":
    main()
