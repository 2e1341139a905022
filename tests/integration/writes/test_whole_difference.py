"""`updated_fields` is the whole difference: done to the old document it gives the new, undone the old."""

import json
from contextlib import contextmanager

import mongomock
from hypothesis import given, settings, strategies as st

from hive import ModelHive, signals
from hive.testing import connected, recorded, serve
from tests.support.differences import (
    DiffedPart,
    DiffedThing,
    bodies,
    differing,
    done,
    known,
    parts,
    patches,
    typed,
)

SETTINGS = settings(max_examples=15)


@contextmanager
def served():
    """A client of the model, on a MongoDB in memory, where hypothesis has it from."""
    with (
        connected("diffs", mongo_client_class=mongomock.MongoClient),
        serve(ModelHive.routes_for(DiffedThing)) as client,
    ):
        yield client


def stored(path):
    return typed(DiffedThing.objects.get(pk=path.rpartition("/")[2]))


def check(client, path, send):
    """Write, and compare what is told of it with what is stored before and after it."""
    before = stored(path)
    with recorded(signals.post_update_instance) as heard:
        answer = send()
    if answer.status in (400, 409):
        assert heard == []
        assert known(stored(path)) == known(before)
        return False
    assert answer.status == 200, answer.body
    after, [told] = stored(path), heard
    updated = told.arguments["updated_fields"]
    assert differing(done(before, updated, "to"), after) == {}
    assert differing(done(after, updated, "from"), before) == {}
    assert answer.json == client.get(path).json
    assert answer.headers["Etag"] == client.get(path).headers["Etag"]
    return True


def test_the_difference_done_to_the_old_document_gives_the_new():
    with served() as client:

        @SETTINGS
        @given(bodies, st.lists(st.tuples(st.sampled_from(["PUT", "PATCH"]), bodies), min_size=1, max_size=3))
        def holds(first, updates):
            created = client.post("/diffed_thing", json=first)
            assert created.status == 201, created.body
            path = created.headers["Location"]
            for method, body in updates:
                assert check(client, path, lambda m=method, b=body: client.request(m, path, json=b))

        holds()


def test_the_difference_of_a_json_patch_is_whole_too():
    done_at_all = []
    with served() as client:

        @SETTINGS
        @given(bodies, st.lists(patches(), min_size=1, max_size=2))
        def holds(first, several):
            path = client.post("/diffed_thing", json=first).headers["Location"]
            for patch in several:
                how = {"body": json.dumps(patch), "headers": {"Content-Type": "application/json-patch+json"}}
                done_at_all.append(check(client, path, lambda how=how: client.patch(path, **how)))

        holds()
    assert sum(done_at_all) > len(done_at_all) / 4


def test_the_difference_of_an_embedded_document_is_whole_too():
    with served() as client:

        @settings(max_examples=10)
        @given(parts, st.sampled_from(["PUT", "PATCH"]), parts)
        def holds(first, method, body):
            path = client.post("/diffed_thing", json={"part": first, "text": "x"}).headers["Location"]
            before = stored(path)
            with recorded(signals.post_update_instance) as heard:
                assert client.request(method, f"{path}/part", json=body).status == 200
            after = stored(path)
            of_part, of_thing = (told.arguments["updated_fields"] for told in heard)
            assert [told.sender for told in heard] == [DiffedPart, DiffedThing]
            assert known(done(before["part"], of_part, "to")) == known(after["part"])
            assert known(done(after["part"], of_part, "from")) == known(before["part"])
            assert known(done(before, of_thing, "to")) == known(after)
            assert known(done(after, of_thing, "from")) == known(before)

        holds()
