"""The fixtures of hive.testing, as the tests of an application get them."""

import pymongo

from tests.support.programs import ROOT

pytest_plugins = ["pytester"]

TESTS = """
import pathlib

import mongoengine
import pytest
from hive import ModelHive
from hive.testing import serve

class Dog(mongoengine.Document):
    name = mongoengine.StringField(unique=True)

@pytest.fixture(params=["mongomock_database", "mongodb_database", "new_mongodb_database"])
def database(request):
    return request.getfixturevalue(request.param)

@pytest.mark.parametrize("turn", [1, 2])
def test_the_database_is_empty_and_has_its_indexes(database, turn):
    assert database["dog"].count_documents({}) == 0
    with serve(ModelHive.routes_for(Dog)) as client:
        assert client.post("/dog", json={"name": "Rex"}).status == 201
        assert client.post("/dog", json={"name": "Rex"}).status == 409
    assert database["dog"].count_documents({}) == 1

def test_the_server_is_the_one_that_is_named(mongodb_server, mongodb_database):
    assert mongodb_server == pathlib.Path("server").read_text()
    assert mongodb_database.name.startswith("hive-")
    assert mongodb_database.client.address[1] == int(mongodb_server.rpartition(":")[2].partition("/")[0])

@pytest.mark.parametrize("fixture", ["mongodb_database", "new_mongodb_database"])
def test_the_names_of_its_databases_are_told(request, fixture):
    with pathlib.Path("databases").open("a") as file:
        print(request.getfixturevalue(fixture).name, file=file)

def test_nothing_stays_connected():
    with pytest.raises(mongoengine.ConnectionFailure):
        Dog.objects.count()
"""


def test_each_test_has_an_empty_database_and_a_server_that_is_named_is_left_as_it_was(
    pytester, monkeypatch, mongodb_server
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HIVE_TEST_MONGODB_URI", mongodb_server)
    pytester.makeconftest('pytest_plugins = ["hive.testing"]')
    pytester.makepyfile(TESTS)
    (pytester.path / "server").write_text(mongodb_server)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=10)
    shared, new = (pytester.path / "databases").read_text().split()
    assert shared != new
    with pymongo.MongoClient(mongodb_server) as client:
        assert not {shared, new} & set(client.list_database_names())
