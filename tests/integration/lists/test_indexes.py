"""Lists that MongoDB does not find by an index are refused where one is required, and told of in the log."""

import logging
import re
from types import SimpleNamespace

import mongoengine as me
import pytest

from hive import ModelHive, flatten, indexes
from hive.testing import serve


class IndexPart(me.EmbeddedDocument):
    name = me.StringField(db_field="n")


class IndexOwner(me.Document):
    name = me.StringField()


class IndexThing(me.Document):
    meta = {"auto_create_index": False}
    name = me.StringField(db_field="n")
    rank = me.IntField()
    size = me.IntField()
    tags = me.ListField(me.StringField())
    parts = me.EmbeddedDocumentListField(IndexPart)
    owner = me.ReferenceField(IndexOwner)
    place = me.PointField(auto_index=False)
    data = me.DictField()
    tenant = me.StringField()
    gone = me.BooleanField()


class IndexOrdered(me.Document):
    meta = {"ordering": ["-rank"]}
    name = me.StringField()
    rank = me.IntField()


class IndexAnimal(me.Document):
    meta = {"allow_inheritance": True, "indexes": ["name"]}
    name = me.StringField()
    age = me.IntField()


class IndexDog(IndexAnimal):
    breed = me.StringField()


class IndexPlant(me.Document):
    meta = {"allow_inheritance": True, "index_cls": False}
    name = me.StringField()


class IndexTree(IndexPlant):
    pass


def of_tenant(queryset, handler):
    return queryset.filter(tenant="a")


def not_gone(queryset, handler):
    return queryset.filter(gone__ne=True)


STRICT = {"require_index": True}


class IndexSpot(me.Document):
    where = me.PointField(auto_index=False, db_field="stored_elsewhere")


ROUTES = flatten(
    [
        ModelHive.routes_for(IndexThing, **STRICT),
        ModelHive.routes_for(IndexThing, prefix="/free"),
        ModelHive.routes_for(IndexThing, prefix="/whole", stream=True, **STRICT),
        ModelHive.routes_for(IndexThing, prefix="/tenant", scope=of_tenant, **STRICT),
        ModelHive.routes_for(IndexThing, prefix="/there", scope=not_gone, **STRICT),
        [ModelHive.routes_for(model, **STRICT) for model in (IndexOwner, IndexOrdered)],
        [ModelHive.routes_for(model, **STRICT) for model in (IndexAnimal, IndexDog)],
        [ModelHive.routes_for(model, **STRICT) for model in (IndexPlant, IndexTree)],
        ModelHive.routes_for(IndexSpot),
    ]
)


@pytest.fixture(scope="module")
def server():
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def clock(monkeypatch):
    """The time for which indexes are known, which goes on only where a test says so."""
    clock = SimpleNamespace(now=10_000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(indexes, "time", clock)
    return clock


@pytest.fixture
def api(server, new_mongodb_database, clock):
    indexes._known.clear()
    indexes._told.clear()
    return server


@pytest.fixture
def things(new_mongodb_database):
    collection = new_mongodb_database.index_thing
    collection.insert_one({"n": "a", "rank": 1, "tenant": "a"})
    return collection


# What is refused

NAME, RANK = ("n", 1), ("rank", 1)


def test_a_list_is_served_if_there_is_an_index_for_it(api, things):
    things.create_index([RANK, NAME, ("_id", 1)])
    things.create_index([("place", "2dsphere")])
    for query in ("rank=1", "rank=1&sort=name", "place__near=1,1&place__max_distance=1000"):
        assert api.get(f"/index_thing?{query}").status == 200, query
    for query in ("name=a", "sort=name", "rank__gt=1&sort=name", "any_of=rank=1,size=2"):
        reply = api.get(f"/index_thing?{query}")
        assert reply.status == 400, query
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert "index" in reply.json["detail"]
        assert "create_index" not in reply.json["detail"]


@pytest.mark.parametrize(
    "how",
    [{"sparse": True}, {"partialFilterExpression": {"rank": {"$gt": 5}}}, {"collation": {"locale": "de"}}],
    ids=lambda how: next(iter(how)),
)
def test_an_index_that_lacks_documents_or_compares_otherwise_does_not_count(api, things, how):
    things.create_index([NAME], **how)
    assert api.get("/index_thing?name=a").status == 400


def test_an_index_that_makes_unique_counts(api, things):
    things.create_index([NAME], unique=True)
    assert api.get("/index_thing?name=a").status == 200


@pytest.mark.parametrize(
    "query", ["", "?page=2", "?per_page=1", "?fields=name", "?expand=owner", "?count=exact"]
)
def test_a_plain_list_is_never_refused(api, things, query):
    for method in ("GET", "HEAD"):
        assert api.request(method, f"/index_thing{query}").status == 200


def test_nor_is_one_of_any_kind_or_by_primary_key(api, things):
    paths = ["/index_thing", "/index_ordered", "/index_animal", "/index_dog", "/index_plant"]
    for path in (*paths, *(f"{path}?id=65a000000000000000000001" for path in paths)):
        assert api.get(path).status == 200, path


def test_what_the_application_adds_to_a_plain_list_is_not_held_against_the_client(api, things):
    for path in ("/index_tree", "/tenant/index_thing", "/there/index_thing"):
        assert api.get(path).status == 200, path


def test_an_order_of_a_client_that_is_that_of_the_model_needs_an_index(api):
    assert api.get("/index_ordered?sort=-rank").status == 400


def test_pages_after_the_first_are_not_refused(api, things):
    things.insert_many([{"n": f"a{number}"} for number in range(5)])
    things.create_index([NAME, ("_id", 1)])
    reply = api.get("/index_thing?sort=name&per_page=2")
    seen = []
    while reply.status == 200:
        seen += [item["name"] for item in reply.json]
        following = re.search(r'<([^>]*)>; rel="next"', reply.headers["Link"])
        if following is None:
            break
        reply = api.get(following[1])
    assert seen == ["a", "a0", "a1", "a2", "a3", "a4"]


def test_a_whole_list_is_refused_the_same(api, things):
    assert api.get("/whole/index_thing?per_page=all&name=a").status == 400
    assert api.get("/whole/index_thing?per_page=all").status == 200
    things.create_index([NAME])
    indexes._known.clear()
    assert api.get("/whole/index_thing?per_page=all&name=a").json[0]["name"] == "a"


def test_routes_that_do_not_require_an_index_serve_all(api, things):
    assert api.get("/free/index_thing?name__icontains=a&sort=-rank").status == 200


def test_a_refused_list_costs_no_query_of_documents(api, things, monkeypatch):
    assert api.get("/index_thing?name=a").status == 400
    monkeypatch.setattr(indexes, "indexes_of", lambda collection: pytest.fail("it is known"))
    assert api.get("/index_thing?rank=1").status == 400


# Scopes and classes


def test_what_a_scope_asks_for_leads_an_index(api, things):
    things.create_index([("tenant", 1), NAME, ("_id", 1)])
    assert api.get("/tenant/index_thing?name=a").status == 200
    assert api.get("/tenant/index_thing?sort=name").status == 200
    assert api.get("/tenant/index_thing?sort=-name").status == 400
    assert api.get("/index_thing?name=a").status == 400


def test_an_index_that_mongoengine_made_of_class_and_name_counts(api):
    IndexAnimal.ensure_indexes()
    for path in ("/index_animal", "/index_dog"):
        assert api.get(f"{path}?name=a").status == 200


def test_an_index_of_the_class_alone_finds_nothing(api):
    IndexAnimal.ensure_indexes()
    for path in ("/index_animal?age=1", "/index_dog?breed=x", "/index_dog?age__gt=1"):
        assert api.get(path).status == 400


def test_the_order_of_a_class_is_found_with_its_name(api):
    IndexAnimal.ensure_indexes()
    IndexAnimal._get_collection().create_index([("_cls", 1), ("age", 1), ("_id", 1)])
    assert api.get("/index_dog?sort=age").status == 200


# When


def test_an_index_that_was_just_created_is_seen_in_time(api, things, clock):
    assert api.get("/index_thing?name=a").status == 400
    things.create_index([NAME])
    clock.now += indexes.SECONDS_KNOWN
    assert api.get("/index_thing?name=a").status == 200


def test_indexes_are_asked_for_once_in_a_while_only(api, things, monkeypatch):
    asked = []
    real = indexes.indexes_of
    monkeypatch.setattr(indexes, "indexes_of", lambda collection: asked.append(1) or real(collection))
    things.create_index([NAME])
    for _ in range(5):
        assert api.get("/index_thing?name=a").status == 200
        assert api.get("/index_thing?rank=1").status == 400
    assert len(asked) == 1


# The log


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.DEBUG, "hive")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "hive"]


def test_the_log_says_which_index_is_missing(api, things, told):
    assert api.get("/free/index_thing?rank=1&sort=-name").status == 200
    [line] = told()
    assert things.full_name in line
    assert "create_index([('rank', 1), ('n', -1), ('_id', 1)])" in line


def test_the_log_says_it_once_for_each_shape(api, things, told):
    for value in range(5):
        api.get(f"/free/index_thing?name=n{value}")
    assert len(told()) == 1
    api.get("/free/index_thing?rank=5")
    assert len(told()) == 2
    api.get("/index_thing?rank=6")
    assert len(told()) == 2


def test_the_log_knows_where_no_index_helps(api, things, told):
    for query in ("name__icontains=a", "name__icontains=a&sort=rank"):
        api.get(f"/free/index_thing?{query}")
        line = told()[-1]
        assert "no index helps" in line
        assert "create_index" not in line
    assert len(told()) == 2


def test_the_log_is_silent_for_what_has_an_index_and_unless_it_is_at_debug(api, things, told, caplog):
    things.create_index([NAME])
    api.get("/free/index_thing?name=a")
    api.get("/free/index_thing")
    assert told() == []
    caplog.set_level(logging.INFO, "hive")
    api.get("/free/index_thing?rank=1")
    assert told() == []


def test_a_log_that_is_not_at_debug_costs_no_question_for_indexes(api, things, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "hive")
    monkeypatch.setattr(indexes, "indexes_of", lambda collection: pytest.fail("nobody needs them"))
    assert api.get("/free/index_thing?rank=1").status == 200


def test_what_is_told_is_bounded(api, things, told, monkeypatch):
    monkeypatch.setattr(indexes, "MOST_TOLD", 2)
    for name in ("name", "rank", "size", "tenant"):
        api.get(f"/free/index_thing?{name}=1")
    assert len(told()) == 4
    assert len(indexes._told) <= 2


# Near


def test_what_is_near_without_an_index_is_refused_in_words_for_clients(api, clock):
    IndexSpot(where=[8, 47]).save()
    reply = api.get("/index_spot?where__near=8,47")
    assert reply.status == 400
    assert "stored_elsewhere" not in reply.json["detail"]
    assert "create_index" not in reply.json["detail"]
    IndexSpot._get_collection().create_index([("stored_elsewhere", "2dsphere")])
    clock.now += indexes.SECONDS_KNOWN
    assert len(api.get("/index_spot?where__near=8,47").json) == 1
    assert len(api.get("/index_spot?where__near=8,47&where__max_distance=9&sort=id").json) == 1
