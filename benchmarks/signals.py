"""What it costs to send a signal: hive's beside blinker's, with the same receivers.

    python -m benchmarks.signals [--sendings 20000] [--rounds 9]

Both are measured in turns, in every round; printed are the medians over the rounds. The exit status is 1 if
hive costs more than 1.5 times what blinker does, with no receivers or with five plain functions.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import blinker

from hive.signals import ANY, Signal

MOST = 1.5
ARGUMENTS = {"instance": "an instance", "handler": "a handler"}
Receivers = Iterable[tuple[Callable[..., Any], Any]]


class Model:
    """The sender, as a model class is."""


class Other:
    pass


class Listener:
    def hear(self, sender, **arguments):
        pass


def functions() -> list[Callable[..., Any]]:
    return [lambda sender, **arguments: None for _ in range(5)]


def naming() -> list[Callable[..., Any]]:
    return [lambda sender, instance, handler: None for _ in range(5)]


def coroutine() -> Callable[..., Any]:
    async def receiver(sender, **arguments):
        pass

    return receiver


LISTENERS = [Listener() for _ in range(5)]
CASES: dict[str, Receivers] = {
    "no receivers": [],
    "5 functions": [(function, ANY) for function in functions()],
    "5 functions, of the sender only": [(function, Model) for function in functions()],
    "5 functions, 2 of the sender only": list(zip(functions(), [ANY, Model, ANY, Model, ANY], strict=True)),
    "5 functions that name the arguments": [(function, ANY) for function in naming()],
    "5 methods": [(listener.hear, ANY) for listener in LISTENERS],
    "5 functions of another sender": [(function, Other) for function in functions()],
    "5 coroutines, awaited": [(coroutine(), ANY) for _ in range(5)],
}
PROMISED = ("no receivers", "5 functions")


def connected(signal: blinker.Signal, receivers: Receivers) -> blinker.Signal:
    for receiver, sender in receivers:
        signal.connect(receiver, sender)
    return signal


def seconds(signal: blinker.Signal, sendings: int) -> float:
    """For one sending."""
    start = time.perf_counter()
    for _ in range(sendings):
        signal.send(Model, **ARGUMENTS)
    return (time.perf_counter() - start) / sendings


async def seconds_async(signal: blinker.Signal, sendings: int) -> float:
    start = time.perf_counter()
    for _ in range(sendings):
        await signal.send_async(Model, **ARGUMENTS)
    return (time.perf_counter() - start) / sendings


def measure(case: str, sendings: int, rounds: int) -> list[float]:
    """The medians for blinker's signal and hive's, in seconds."""
    signals = [
        connected(blinker.NamedSignal("sent"), CASES[case]),
        connected(Signal("sent", arguments=tuple(ARGUMENTS)), CASES[case]),
    ]
    figures: list[list[float]] = [[], []]
    for _ in range(rounds):
        for signal, times in zip(signals, figures, strict=True):
            if case == "5 coroutines, awaited":
                times.append(asyncio.run(seconds_async(signal, sendings)))
            else:
                times.append(seconds(signal, sendings))
    return [statistics.median(times) for times in figures]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sendings", type=int, default=20000, help="in a round")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"blinker {version('blinker')}"
    )
    print("| microseconds for one sending | blinker | hive | hive / blinker |")
    print("|---|---|---|---|")
    missed = []
    for case in CASES:
        blinkers, hives = measure(case, options.sendings, options.rounds)
        print(f"| {case} | {blinkers * 1e6:.2f} | {hives * 1e6:.2f} | {hives / blinkers:.2f} |")
        if case in PROMISED and hives > MOST * blinkers:
            missed.append(case)
    if missed:
        sys.exit(f"More than {MOST} times the cost of blinker's: {', '.join(missed)}")


if __name__ == "__main__":
    main()
