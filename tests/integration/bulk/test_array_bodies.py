"""Which bodies are arrays."""

import mongoengine as me
import pytest

from hive import ModelHive
from hive.testing import serve


class ArrayNumber(me.Document):
    n = me.IntField()


@pytest.mark.parametrize(
    "blanks", ["", " " * 1000, "\r\n\t " * 250, "\n" * 200_000], ids=["none", "1,000", "mixed", "many"]
)
def test_an_array_is_one_whatever_blanks_are_before_it(mongomock_database, blanks):
    headers = {"Content-Type": "application/json", "Prefer": "transaction=no"}
    with serve(ModelHive.routes_for(ArrayNumber)) as api:
        answer = api.post("/array_number", body=f'{blanks}[{{"n": 1}}, {{"n": 2}}]', headers=headers)
    assert answer.status == 201, answer.body
    assert len(answer.json) == 2
    assert sorted(number.n for number in ArrayNumber.objects) == [1, 2]
