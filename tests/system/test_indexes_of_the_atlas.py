"""The atlas, and what the documentation asks of it, is found by indexes."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.programs import ROOT

ASK = """
import json, re, sys
from pathlib import Path
import mongoengine, pymongo.monitoring
from examples.atlas.__main__ import application
from examples.atlas.models import City, Continent, Country
from hive import ModelHive, flatten
from hive.testing import serve

class Finds(pymongo.monitoring.CommandListener):
    def __init__(self): self.found = []
    def started(self, event):
        if event.command_name == "find": self.found.append(event.command)
    def succeeded(self, event): pass
    def failed(self, event): pass

finds = Finds()
client = mongoengine.connect("atlas-explained", host=sys.argv[1], event_listeners=[finds])
database = client["atlas-explained"]
Country(code="BR", name="Brazil", continent=Continent.SOUTH_AMERICA).save()
for number in range(30):
    City(geonameid=number, name=f"c{number}", country=Country(code="BR"), population=number).save()
plans = {}
with serve(application()) as http:
    for path in sys.argv[2:]:
        finds.found.clear()
        assert http.get(path, timeout=120).status == 200
        command = {name: finds.found[-1][name] for name in ("find", "filter", "sort", "limit", "skip")
                   if name in finds.found[-1]}
        plans[path] = database.command("explain", command)["queryPlanner"]["winningPlan"]
told = Path("docs/queries.md").read_text() + Path("examples/README.md").read_text()
paths = sorted(set(re.findall(r"/(?:city|country)[?][^ `'>]+", told)))
routes = [ModelHive.routes_for(model, require_index=True, stream=True) for model in (City, Country)]
with serve(flatten(routes)) as http:
    assert http.get("/city?timezone=UTC", timeout=120).status == 400
    answers = {path: http.get(path.replace(chr(92), "%5C"), timeout=120).status
               for path in paths if "after=" not in path}
client.drop_database(database.name)
mongoengine.disconnect()
print(json.dumps([plans, answers]))
"""
FOUND = [
    "/city?country=BR",
    "/city?country=BR&sort=-population",
    "/country?continent=EU&sort=name",
    "/city?country=BR&sort=-population&per_page=5&fields=name,population",
    "/city?name=Springfield&fields=country,population",
]
BY_KEY, WITHOUT = "/country/BR", "/city?timezone=UTC"


@pytest.fixture(scope="module")
def atlas(mongodb_server):
    """How MongoDB does queries of the atlas, and the statuses of those in the documentation.

    In a process of its own, for the models of the atlas have plain names.
    """
    done = subprocess.run(
        [sys.executable, "-c", ASK, mongodb_server, *FOUND, BY_KEY, WITHOUT],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def stages(plan):
    while plan:
        yield plan
        plan = plan.get("inputStage")


def test_the_atlas_is_asked_for_what_it_has_an_index_of(atlas):
    plans, _ = atlas
    names = {path: [stage["stage"] for stage in stages(plan)] for path, plan in plans.items()}
    assert [path for path in FOUND if "IXSCAN" not in names[path]] == []
    assert "COLLSCAN" not in names[BY_KEY]
    assert "COLLSCAN" in names[WITHOUT]


def test_the_index_of_the_largest_cities_of_a_country_has_them_in_order(atlas):
    plans, _ = atlas
    plan = plans["/city?country=BR&sort=-population"]
    keys = [stage["keyPattern"] for stage in stages(plan) if "keyPattern" in stage]
    assert keys == [{"country": 1, "population": -1, "_id": 1}]


def test_every_documented_query_has_an_index(atlas):
    _, answers = atlas
    assert len(answers) > 8
    assert {path: status for path, status in answers.items() if status != 200} == {}
