"""Kills the application or MongoDB under load, again and again, and tells what was lost or done twice.

    python -m tests.support.crash --rounds 10 [--writers 8] [--seconds-per-round 1] [--target both] [--seed 1]

Every write has an `Idempotency-Key` and is sent until it gets a final answer. Then what MongoDB has is held
against the answers. MongoDB is an embedded one, or that of HIVE_TEST_MONGODB_URI or MONGODB_URI, which cannot
be killed. Ctrl-C ends the rounds; what was done until then is checked.
"""

import argparse
import collections
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pymongo

from hive.embedded import HOST, Server, free_port

ROOT = Path(__file__).parents[2]
TARGETS = ("application", "mongodb")
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

SECONDS_UNTIL_BACK = 90
"""From the start of what was killed to the first write that is acknowledged again, on a busy machine."""
SECONDS_AWAY = {"application": (0.0, 0.3), "mongodb": (0.3, 7.0)}
"""How long what was killed is away, in turns: MongoDB also longer than a request waits for it."""
SECONDS_TO_ANSWER = 120
"""After it, a request counts as hanging: hive promises 503 in 5."""
SECONDS_TO_SETTLE = 240
"""How long a write is repeated until it has a final answer."""
PAUSE = (0.02, 0.2)
HASTY = 0.03
"""The part of requests whose client does not wait for the answer, but sends them again at once."""
SECONDS_OF_HASTE = 0.01
REPEATED = 0.05
"""The part of writes that are repeated although they were answered."""
MOST_KEPT = 10
"""Answered requests that each writer keeps, to repeat them after all the crashes."""
FULL = 100
"""Increments after which another counter takes the place of one."""
MOST_TOLD = 40


class Request(NamedTuple):
    method: str
    path: str
    body: bytes | None
    headers: dict


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@dataclass(slots=True)
class Write:
    """A write and how it ended. `troubles` are what its requests met before the final answer."""

    name: str
    kind: str
    writer: int
    number: int
    counter: str | None
    status: int | None = None
    troubles: list = field(default_factory=list)

    @property
    def acknowledged(self):
        return self.status in (200, 201)

    def __str__(self):
        troubles = collections.Counter(self.troubles)
        met = ", ".join(f"{times} {trouble}" for trouble, times in troubles.items())
        return f"{self.kind} {self.name} ({self.status or 'no answer'}{met and ', after '}{met})"


# What is killed


class Application:
    """The process of `tests/support/crashing.py`, always on the same port."""

    def __init__(self, uri, database, log):
        self.port = free_port()
        self.arguments = [str(self.port), uri, database]
        self.log = log
        self.process = None

    def start(self):
        """Return when it accepts connections. Another's connection may have its port for a moment."""
        deadline = time.monotonic() + SECONDS_TO_ANSWER
        while not self.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"The application did not start. The end of its log:\n{self.tail()}")
            if self.process is None or self.process.poll() is not None:
                self.spawn()
            time.sleep(0.02)

    def spawn(self):
        self.kill()
        command = [sys.executable, str(ROOT / "tests" / "support" / "crashing.py"), *self.arguments]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,
            )

    def answers(self):
        if self.process is None or self.process.poll() is not None:
            return False
        with suppress(OSError, http.client.HTTPException):
            return Client(self.port).send(Request("OPTIONS", "/entry", None, {})).status == 204
        return False

    def kill(self):
        if self.process:
            with self.process, suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None

    def tail(self):
        return "\n".join(self.log.read_text().splitlines()[-15:])


@dataclass
class World:
    """What serves: MongoDB, which is no `server` of ours where the environment names one; the application."""

    uri: str
    database: str
    server: Server | None
    application: Application

    def kill(self, target):
        (self.application if target == "application" else self.server).kill()

    def start(self, target):
        if target == "application":
            self.application.start()
        else:
            start_mongodb(self.server)

    @contextmanager
    def stored(self):
        """The database, as MongoDB has it."""
        with pymongo.MongoClient(self.uri) as client:
            yield client[self.database]


def direct(server):
    """The URI of an embedded MongoDB for clients that outlive it.

    In a moment of its start, SecantusDB 0.7 says that it belongs to no replica set. A client that knows it as
    a member of one would never look at it again.
    """
    return f"{server.uri}/?directConnection=true"


def start_mongodb(server):
    """Return when it serves. Another's connection may have its port for a moment."""
    deadline = time.monotonic() + SECONDS_UNTIL_BACK
    while True:
        try:
            server.start()
        except RuntimeError as error:
            if "is not free" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def named_uri():
    """The MongoDB that the environment names, if it does."""
    return os.environ.get("HIVE_TEST_MONGODB_URI") or os.environ.get("MONGODB_URI")


@contextmanager
def serving(directory, uri=None):
    """A `World` that keeps its files in `directory`, with a MongoDB of its own unless there is a `uri`."""
    with ExitStack() as stack:
        server = None
        if uri is None:
            server = stack.enter_context(Server(directory / "mongodb"))
            uri = direct(server)
        database = f"hive-crash-{uuid.uuid4().hex[:12]}"
        world = World(uri, database, server, Application(uri, database, directory / "application.log"))
        stack.callback(world.application.kill)
        world.application.start()
        yield world


# Those who write


class Client:
    """A connection to the application, which lasts for one request or as long as the server keeps it."""

    def __init__(self, port, *, lasting=False):
        self.port = port
        self.lasting = lasting
        self.connection = None

    def send(self, request, seconds=SECONDS_TO_ANSWER):
        """The answer. Raises OSError (TimeoutError after `seconds`) or HTTPException."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection(HOST, self.port)
        self.connection.timeout = seconds
        if self.connection.sock:
            self.connection.sock.settimeout(seconds)
        try:
            self.connection.request(*request)
            response = self.connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise
        if not self.lasting:
            self.close()
        return answer

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class Writer:
    """Writes one thing after another until it is told to stop, and remembers how each ended.

    `counters` are the ids of those that it may increment; what is shared with others is changed in place.
    Not `guarded`, it neither gives up on requests nor repeats what was answered, as without keys both write
    twice.
    """

    def __init__(self, writer, port, counters, stopping, *, media_types, seed, guarded=True):
        self.writer = writer
        self.counters = counters
        self.stopping = stopping
        self.media_types = media_types
        self.guarded = guarded
        self.random = random.Random(f"{seed}/{writer}")
        self.client = Client(port, lasting=writer % 2 == 0)
        self.writes = []
        self.kept = []
        self.known = {}
        self.failures = []
        self.statuses = collections.Counter()
        self.broken = collections.Counter()
        self.acknowledged = self.retries = self.repeats = 0
        self.acknowledged_at = 0.0

    def run(self):
        kinds = [self.create, self.increment, self.set_own]
        if JSON_PATCH in self.media_types:
            kinds.append(self.append)
        while not self.stopping.is_set():
            self.random.choice(kinds)()
        self.client.close()

    def create(self):
        write = self.begin("entry")
        self.settle(write, "POST", "/entry", {"name": write.name})

    def create_counter(self):
        write = self.begin("counter")
        answer = self.settle(write, "POST", "/counter", {"name": write.name})
        return answer.json["id"] if write.acknowledged else None

    def increment(self):
        """Read, and write on the condition that nobody else has written since."""
        write = self.begin("increment", counter := self.random.choice(self.counters))
        n, tag = self.known.pop(counter, None) or self.read(counter)
        if tag is None:
            return
        media_type = self.random.choice(self.media_types)
        change = {"n": n + 1, "log": {write.name: n + 1}}
        if media_type == JSON_PATCH:
            change = [
                {"op": "replace", "path": "/n", "value": n + 1},
                {"op": "add", "path": f"/log/{write.name}", "value": n + 1},
            ]
        answer = self.settle(write, "PATCH", f"/counter/{counter}", change, media_type, tag=tag)
        if write.acknowledged:
            self.incremented(counter, n + 1, answer)

    def incremented(self, counter, n, answer):
        if n >= FULL and counter in self.counters:
            self.replace(counter)
        elif self.random.random() < 0.5 and "ETag" in answer.headers:
            self.known[counter] = n, answer.headers["ETag"]

    def replace(self, counter):
        if (other := self.create_counter()) and counter in self.counters:
            self.counters[self.counters.index(counter)] = other

    def read(self, counter):
        """The number of a counter and its ETag, or None and None if it cannot be had."""
        answer = self.insist(Request("GET", f"/counter/{counter}", None, {}), [])
        if answer is None or answer.status != 200:
            self.failures.append(f"GET of counter {counter}: {told(answer)}")
            return None, None
        return answer.json["n"], answer.headers["ETag"]

    def set_own(self):
        """Set a field that nobody else sets, whatever else has changed."""
        write = self.begin("own", counter := self.random.choice(self.counters))
        change = {"own": {str(self.writer): write.number}}
        self.settle(write, "PATCH", f"/counter/{counter}", change, MERGE_PATCH)

    def append(self):
        """Add to a list, which shows whether it was done twice."""
        write = self.begin("step", counter := self.random.choice(self.counters))
        change = [{"op": "add", "path": "/steps/-", "value": write.name}]
        self.settle(write, "PATCH", f"/counter/{counter}", change, JSON_PATCH)

    def begin(self, kind, counter=None):
        number = len(self.writes)
        write = Write(f"{self.writer}-{number}", kind, self.writer, number, counter)
        self.writes.append(write)
        return write

    def settle(self, write, method, path, body, media_type=JSON, *, tag=None):
        """Send a write until it has its final answer, and take that down."""
        headers = {"Content-Type": media_type, "Idempotency-Key": f'"{uuid.uuid4()}"'}
        if tag is not None:
            headers["If-Match"] = tag
        request = Request(method, path, json.dumps(body).encode(), headers)
        answer = self.insist(request, write.troubles)
        if answer is None:
            self.failures.append(f"{write} was never answered")
            return None
        write.status = answer.status
        if write.acknowledged:
            self.acknowledged += 1
            self.acknowledged_at = time.monotonic()
        elif answer.status != 409 and (answer.status != 412 or tag is None):
            self.failures.append(f"{write}: {told(answer)}")
        if self.guarded:
            self.keep(write, request, answer)
        return answer

    def insist(self, request, troubles):
        """The final answer, or None if there is none in time."""
        deadline = time.monotonic() + SECONDS_TO_SETTLE
        while time.monotonic() < deadline:
            answer = self.attempt(request, troubles)
            if answer is not None and is_final(answer):
                return answer
            self.retries += 1
            time.sleep(self.random.uniform(*PAUSE))
        return None

    def attempt(self, request, troubles):
        """An answer, or None where the connection broke or the client lost its patience."""
        hasty = self.guarded and self.random.random() < HASTY
        try:
            answer = self.client.send(request, SECONDS_OF_HASTE if hasty else SECONDS_TO_ANSWER)
        except TimeoutError:
            troubles.append("haste" if hasty else "a hang")
            if not hasty:
                self.failures.append(f"{request.method} {request.path} hung for {SECONDS_TO_ANSWER} s")
            return None
        except (OSError, http.client.HTTPException) as error:
            troubles.append(type(error).__name__)
            self.broken[type(error).__name__] += 1
            return None
        self.statuses[answer.status] += 1
        if not is_final(answer):
            troubles.append(str(answer.status))
        return answer

    def keep(self, write, request, answer):
        """Repeat it now, or keep it for the end, each now and then."""
        kept = write, request, answer
        if self.random.random() < REPEATED:
            self.repeat(*kept)
        if len(self.kept) < MOST_KEPT:
            self.kept.append(kept)
        elif self.random.random() < MOST_KEPT / len(self.writes):
            self.kept[self.random.randrange(MOST_KEPT)] = kept

    def repeat(self, write, request, first):
        again = self.insist(request, [])
        self.repeats += 1
        if again is None or (again.status, again.body) != (first.status, first.body):
            self.failures.append(
                f"{write}: a repeat of its key got {told(again)}, where it had got {told(first)}"
            )


def is_final(answer):
    """Whether a client that wants its write done has no more to do."""
    return answer.status != 503 and not (answer.status == 409 and "Retry-After" in answer.headers)


def told(answer):
    return "no answer" if answer is None else f"{answer.status} {answer.body[:300].decode(errors='replace')}"


class Load:
    """Writers at work, while the block runs or until `stop()`. Not `guarded`, they share no counter."""

    def __init__(self, world, writers, *, seed=None, guarded=True):
        self.stopping = threading.Event()
        port = world.application.port
        how = {"media_types": accepted(port), "seed": seed, "guarded": guarded}
        self.founder = Writer(0, port, [], self.stopping, **how)  # which makes the first counters
        shared = self.counters(max(writers // 2, 1))
        self.writers = [
            Writer(number, port, shared if guarded else self.counters(1), self.stopping, **how)
            for number in range(1, writers + 1)
        ]
        self.founder.client.close()

    def counters(self, number):
        made = [self.founder.create_counter() for _ in range(number)]
        if None in made:
            raise RuntimeError(f"There is no service to begin with: {self.founder.failures}")
        return made

    def __enter__(self):
        self.threads = ThreadPoolExecutor(len(self.writers))
        self.running = [self.threads.submit(writer.run) for writer in self.writers]
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.threads.shutdown()

    def stop(self):
        """Let each writer finish what it is at. Raises what went wrong in it."""
        self.stopping.set()
        for running in self.running:
            running.result()

    def go_on_until(self, condition):
        """Wait for something that the writers do. Raises what went wrong in one that has ended."""
        deadline = time.monotonic() + SECONDS_TO_SETTLE
        while not condition():
            for running in self.running:
                if running.done():
                    running.result()
            if time.monotonic() > deadline:
                raise RuntimeError(f"The writers have not come far enough. {self.failures}")
            time.sleep(0.005)

    def repeat(self):
        """Send again what was kept: it is to be answered as it was."""
        for writer in self.everyone:
            for kept in writer.kept:
                writer.repeat(*kept)
            writer.client.close()

    def back_after(self, moment):
        """Seconds from `moment` to the first write acknowledged since, or None if it takes too long."""
        while (now := time.monotonic()) < moment + SECONDS_UNTIL_BACK:
            if any(writer.acknowledged_at > moment for writer in self.writers):
                return now - moment
            time.sleep(0.005)
        return None

    @property
    def everyone(self):
        return [self.founder, *self.writers]

    @property
    def writes(self):
        return [write for writer in self.everyone for write in writer.writes]

    @property
    def failures(self):
        return [failure for writer in self.everyone for failure in writer.failures]

    def count(self, name):
        """The sum of what the writers have counted under this name."""
        counts = [getattr(writer, name) for writer in self.everyone]
        return sum(counts[1:], start=counts[0])


def accepted(port):
    """The media types that increments are sent as."""
    answer = Client(port).send(Request("OPTIONS", "/counter/0", None, {}))
    return [MERGE_PATCH, JSON_PATCH] if JSON_PATCH in answer.headers["Accept-Patch"] else [MERGE_PATCH]


# What is there afterwards


def check(database, writes):
    """Sentences about what is lost, or there though it was refused, or there twice."""
    counters = {str(counter["_id"]): counter for counter in database.counter.find()}
    sent = collections.defaultdict(list)
    for write in writes:
        sent[write.kind].append(write)
    documents = {"entry": database.entry.find(projection=["name"]), "counter": counters.values()}
    failures = []
    for kind, found in documents.items():
        failures += compare(sent[kind], (document["name"] for document in found))
    failures += compare(sent["increment"], (name for counter in counters.values() for name in counter["log"]))
    failures += compare(sent["step"], (name for counter in counters.values() for name in counter["steps"]))
    return failures + check_numbers(counters, sent["increment"]) + check_own(counters, sent["own"])


def compare(writes, names):
    """Hold the names that are stored against what was sent."""
    stored = collections.Counter(names)
    failures = []
    for write in writes:
        times = stored.pop(write.name, 0)
        if write.acknowledged and not times:
            failures.append(f"lost: {write}")
        elif times > 1:
            failures.append(f"done {times} times: {write}")
        elif times and write.status is not None and not write.acknowledged:
            failures.append(f"refused, and yet done: {write}")
    return failures + [f"stored, and yet never sent: {name}" for name in stored]


def check_numbers(counters, increments):
    expected = collections.Counter(write.counter for write in increments if write.acknowledged)
    return [
        f"counter {name} is {counter['n']}, after {expected[name]} increments"
        for name, counter in counters.items()
        if counter["n"] != expected[name]
    ]


def check_own(counters, writes):
    """Each writer waits for the answer before it sends the next: what it set last is there."""
    last = {(write.counter, str(write.writer)): write for write in writes if write.acknowledged}
    return [
        f"lost: {write}; writer {writer} of counter {name} has {found}"
        for (name, writer), write in last.items()
        if (found := counters.get(name, {"own": {}})["own"].get(writer)) != write.number
    ]


# The rounds


@dataclass
class Result:
    """What the rounds did and found. `back` are the seconds until service was back, by kill."""

    kills: collections.Counter = field(default_factory=collections.Counter)
    back: list = field(default_factory=list)
    failures: list = field(default_factory=list)
    load: Load | None = None

    def __str__(self):
        load = self.load
        kills = (
            ", ".join(f"{count} of the {target}" for target, count in sorted(self.kills.items())) or "none"
        )
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(load.count("statuses").items()))
        return (
            f"kills: {kills}\n"
            f"writes: {len(load.writes)}, of which {load.count('acknowledged')} acknowledged\n"
            f"retries: {load.count('retries')}; repeats of what was answered: {load.count('repeats')}\n"
            f"answers: {statuses}; broken connections: {load.count('broken').total()}\n"
            f"longest time until service was back: {max(self.back, default=0):.1f} s"
        )


def run(directory, rounds, *, writers=8, seconds=1.0, targets=TARGETS, seed=None, guarded=True, uri=None):
    """Kill one of the `targets` in each round, and check what there is in the end.

    Without rounds, writers write for so many `seconds`, and nothing is killed.
    """
    result = Result()
    with serving(directory, uri) as world:
        with Load(world, writers, seed=seed, guarded=guarded) as result.load:
            with suppress(KeyboardInterrupt):
                play(world, result, rounds, targets, seconds=seconds, chance=random.Random(seed))
            result.load.stop()
        conclude(world, result)
    return result


def play(world, result, rounds, targets, *, seconds, chance):
    if not rounds:
        time.sleep(seconds)
    for number in range(1, rounds + 1):
        target = chance.choice(targets)
        away = SECONDS_AWAY[target][result.kills[target] % 2]
        wanted = result.load.count("acknowledged") + len(result.load.writers)
        time.sleep(chance.uniform(0.3, 1.5) * seconds)
        result.load.go_on_until(lambda wanted=wanted: result.load.count("acknowledged") >= wanted)
        result.kills[target] += 1
        back = crash(world, result.load, target, away)
        if back is None:
            result.failures.append(f"round {number}: {target} started, no service for {SECONDS_UNTIL_BACK} s")
        else:
            result.back.append(back)
        after = "not back" if back is None else f"back after {back:.1f} s"
        load = result.load
        counts = f"{load.count('acknowledged')} acknowledged, {load.count('retries')} retries"
        print(f"round {number}: {target} killed, {after}; {counts}", flush=True)


def crash(world, load, target, away):
    """Kill the target and start it again; seconds from then until it serves, or None."""
    try:
        world.kill(target)
        time.sleep(away)
    finally:
        moment = time.monotonic()
        world.start(target)
    return load.back_after(moment)


def conclude(world, result):
    """Check what is stored, and once more after repeats of what was answered."""
    load = result.load
    with world.stored() as database:
        result.failures += check(database, load.writes)
        load.repeat()
        late = [failure for failure in check(database, load.writes) if failure not in result.failures]
        result.failures += [f"after repeats of what was answered: {failure}" for failure in late]
        result.failures += load.failures
        if result.kills["application"] == 0 and (broken := load.count("broken")):
            result.failures.append(f"connections broken, though the application was there: {dict(broken)}")
        if world.server is None and not result.failures:
            database.client.drop_database(database.name)


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, help="kills; 0 for a load without any")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--seconds-per-round", type=float, default=1.0, help="of load, about")
    parser.add_argument("--target", choices=[*TARGETS, "both"], help="what is killed; both where it can be")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--unguarded", action="store_true", help="for a hive without keys and If-Match")
    chosen = parser.parse_args()
    if named_uri() and chosen.target in ("mongodb", "both"):
        parser.error("The MongoDB that the environment names is not killed: --target application")
    chosen.target = chosen.target or ("application" if named_uri() else "both")
    return chosen


def main():
    chosen = options()
    targets = TARGETS if chosen.target == "both" else (chosen.target,)
    directory = Path(tempfile.mkdtemp(prefix="hive-crash-"))
    print(f"seed {chosen.seed}, files in {directory}", flush=True)
    result = run(
        directory,
        chosen.rounds,
        writers=chosen.writers,
        seconds=chosen.seconds_per_round,
        targets=targets,
        seed=chosen.seed,
        guarded=not chosen.unguarded,
        uri=named_uri(),
    )
    print(result)
    if not result.failures:
        shutil.rmtree(directory)
        print("Nothing was lost or done twice.")
        return
    print(f"{len(result.failures)} failures; the files are left in {directory}:")
    print("\n".join(result.failures[:MOST_TOLD]))
    if len(result.failures) > MOST_TOLD:
        print(f"... and {len(result.failures) - MOST_TOLD} more")
    sys.exit(1)


if __name__ == "__main__":
    main()
