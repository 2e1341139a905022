"""mongoengine's default connection is bound to models while a block runs, and not any more afterwards."""

import mongoengine
import mongomock
import pytest
from mongoengine import Document, StringField

from hive.testing import connected


def model_named(name):
    return type(name, (Document,), {"name": StringField()})


def test_two_models_of_one_name_both_lose_the_connection_of_the_block_before():
    models = [model_named("Namesake"), model_named("Namesake")]
    for _ in range(2):
        with connected("test", mongo_client_class=mongomock.MongoClient) as database:
            assert [model._get_collection().database.client for model in models] == [database.client] * 2
    for model in models:
        with pytest.raises(mongoengine.ConnectionFailure):
            model._get_collection()
