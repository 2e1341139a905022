"""Processes are killed under load: nothing is lost, nothing is done twice; and `crash` would notice."""

import subprocess
import sys

import pytest
from bson import ObjectId

from tests.support import crash
from tests.support.programs import ROOT

WRITERS = 4
KINDS = {"counter", "entry", "increment", "own"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The database after a load without crashes, and that load."""
    with crash.serving(tmp_path_factory.mktemp("written")) as world:
        with crash.Load(world, WRITERS, guarded=False) as load:
            load.go_on_until(lambda: {write.kind for write in load.writes if write.acknowledged} >= KINDS)
            load.stop()
        with world.stored() as database:
            yield database, load


@pytest.fixture
def database(written):
    """That database, which is as it was after each test."""
    database, _ = written
    before = {name: list(database[name].find()) for name in ("entry", "counter")}
    yield database
    for name, documents in before.items():
        database[name].delete_many({})
        database[name].insert_many(documents)


def test_an_application_that_is_killed_three_times_loses_nothing_and_does_nothing_twice(tmp_path):
    result = crash.run(tmp_path, 3, writers=WRITERS, seconds=0.3, targets=["application"])
    assert result.failures == []
    assert result.kills == {"application": 3}
    assert len(result.back) == 3
    assert result.load.count("acknowledged") >= 3 * WRITERS
    assert result.load.count("repeats")


def test_a_mongodb_that_is_killed_twice_is_503_and_nothing_else_and_then_nothing_is_lost_or_done_twice(
    tmp_path,
):
    result = crash.run(tmp_path, 2, writers=WRITERS, seconds=0.3, targets=["mongodb"])
    assert result.failures == []
    assert result.kills == {"mongodb": 2}
    assert len(result.back) == 2
    assert {status for status in result.load.count("statuses") if status >= 500} == {503}
    assert not result.load.count("broken")


def test_a_load_without_crashes_is_all_there_once(written):
    database, load = written
    assert crash.check(database, load.writes) == []
    assert all(write.acknowledged or write.status == 412 for write in load.writes)


def lose_entry(database):
    database.entry.delete_one({})


def double_entry(database):
    database.entry.insert_one(database.entry.find_one() | {"_id": ObjectId()})


def invent_entry(database):
    database.entry.insert_one({"name": "9-9"})


def lose_counter(database):
    database.counter.delete_one({"n": {"$gt": 0}})


def double_counter(database):
    database.counter.insert_one(database.counter.find_one() | {"_id": ObjectId()})


def lose_increment(database):
    counter = database.counter.find_one({"n": {"$gt": 0}})
    name = next(iter(counter["log"]))
    database.counter.update_one({"_id": counter["_id"]}, {"$unset": {f"log.{name}": ""}})


def overwrite_increment(database):
    database.counter.update_one({"n": {"$gt": 0}}, {"$inc": {"n": -1}})


def double_increment(database):
    database.counter.update_one({"n": {"$gt": 0}}, {"$inc": {"n": 1}})


def overwrite_own(database):
    counter = database.counter.find_one({"own": {"$ne": {}}})
    writer = next(iter(counter["own"]))
    database.counter.update_one({"_id": counter["_id"]}, {"$set": {f"own.{writer}": -1}})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lose_entry, "lost: entry "),
        (double_entry, "done 2 times: entry "),
        (invent_entry, "stored, and yet never sent: 9-9"),
        (lose_counter, "lost: counter "),
        (double_counter, "done 2 times: counter "),
        (lose_increment, "lost: increment "),
        (overwrite_increment, "counter "),
        (double_increment, "counter "),
        (overwrite_own, "lost: own "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_check_notices(written, database, damage, sentence):
    _, load = written
    damage(database)
    failures = crash.check(database, load.writes)
    assert [failure for failure in failures if failure.startswith(sentence)], failures


def test_what_was_refused_and_is_stored_is_told_and_what_has_no_answer_may_be_there_once():
    refused = crash.Write("1-0", "step", 1, 0, "c", status=412)
    unanswered = crash.Write("1-1", "step", 1, 1, "c", troubles=["503", "503"])
    assert crash.compare([refused, unanswered], ["1-1"]) == []
    assert crash.compare([refused], ["1-0"]) == ["refused, and yet done: step 1-0 (412)"]
    assert crash.compare([unanswered], ["1-1", "1-1"]) == [
        "done 2 times: step 1-1 (no answer, after 2 503)",
    ]


def test_the_command_ends_with_1_and_lists_what_it_found(written, monkeypatch, capsys, tmp_path):
    _, load = written
    result = crash.Result(failures=["lost: this"], load=load)
    monkeypatch.setattr(crash, "run", lambda *_, **__: result)
    monkeypatch.setattr(crash.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["crash", "--rounds", "0"])
    with pytest.raises(SystemExit) as ended:
        crash.main()
    assert ended.value.code == 1
    assert "lost: this" in capsys.readouterr().out.splitlines()


def test_it_runs_as_a_module():
    options = ["--rounds", "0", "--seconds-per-round", "0.2", "--writers", "2", "--unguarded"]
    command = [sys.executable, "-m", "tests.support.crash", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Nothing was lost or done twice.\n")
