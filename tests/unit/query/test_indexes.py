"""hive.indexes: which lists MongoDB finds by an index, what the log says of others, who refuses them."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import mongoengine as me
import pytest

from hive import ModelHive, flatten, indexes
from hive.indexes import Needs
from hive.testing import serve

CHECKOUT = Path(__file__).parent.parent


class IndexTag(me.EmbeddedDocument):
    name = me.StringField(db_field="n")


class IndexOwner(me.Document):
    name = me.StringField()


class IndexThing(me.Document):
    meta = {"auto_create_index": False}
    name = me.StringField(db_field="n")
    rank = me.IntField()
    size = me.IntField()
    tags = me.ListField(me.StringField())
    parts = me.EmbeddedDocumentListField(IndexTag)
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
    ]
)


@pytest.fixture
def api(mongodb_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def things(mongodb_database):
    collection = mongodb_database.index_thing
    collection.insert_one({"n": "a", "rank": 1, "tenant": "a"})
    return collection


# What is refused

NAME, RANK = ("n", 1), ("rank", 1)
ROWS = [
    # the keys of one index, the query, whether it is found by that index
    ([NAME], "name=a", True),
    ([NAME], "name__in=a,b", True),
    ([NAME], "name__startswith=a", True),
    ([NAME], "name__gt=a", True),
    ([NAME], "name__gte=a&name__lt=b", True),
    ([NAME], "name__istartswith=a", False),
    ([NAME], "name__icontains=a", False),
    ([NAME], "name__contains=a", False),
    ([NAME], "name__endswith=a", False),
    ([NAME], "name__iexact=a", False),
    ([NAME], "name__ne=a", False),
    ([NAME], "name__nin=a", False),
    ([NAME], "name__exists=true", False),
    ([NAME], "name=a&rank=1", True),
    ([NAME], "name=a&rank__ne=1", True),
    ([NAME], "name=a&name__icontains=a", True),
    ([NAME], "rank=1", False),
    ([("n", -1)], "name=a", True),
    ([("n", -1)], "name__lt=a", True),
    ([NAME, RANK], "name=a", True),
    ([NAME, RANK], "rank=1", False),
    ([NAME, RANK], "rank=1&name=a", True),
    ([NAME, RANK], "rank=1&name__ne=a", False),
    ([NAME], "sort=name", False),  # for the primary key decides between equals
    ([NAME, ("_id", 1)], "sort=name", True),
    ([NAME, ("_id", -1)], "sort=-name", True),
    ([("n", -1), ("_id", 1)], "sort=-name", True),
    ([("n", -1), ("_id", -1)], "sort=name", True),
    ([RANK, NAME, ("_id", 1)], "sort=name", False),
    ([RANK, NAME, ("_id", 1)], "rank=1&sort=name", True),
    ([RANK, NAME, ("_id", 1)], "rank__gt=1&sort=name", False),
    ([RANK, ("n", -1), ("_id", 1)], "rank=1&sort=-name", True),
    ([NAME, ("_id", 1)], "name__gt=a&sort=name", True),
    ([NAME, RANK, ("_id", 1)], "sort=name,rank", True),
    ([NAME, ("rank", -1), ("_id", 1)], "sort=name,rank", False),
    ([NAME, ("rank", -1), ("_id", 1)], "sort=name,-rank", True),
    ([NAME, ("_id", 1), ("size", 1)], "sort=name", True),
    ([NAME, ("_id", 1)], "name=a&sort=rank", False),
    ([NAME], "sort=id", True),
    ([NAME], "sort=-id", True),
    ([NAME], "sort=id,name", True),
    ([NAME], "name=a&sort=id", False),
    ([NAME, ("_id", 1)], "name=a&sort=-id", True),
    ([("tags", 1)], "tags=a", True),
    ([("tags", 1)], "tags__all=a,b", True),
    ([("tags", 1)], "tags__size=2", False),
    ([("parts.n", 1)], "parts.name=a", True),
    ([("parts", 1)], "parts.name=a", False),
    ([("data.x", 1)], "data.x=1", True),
    ([("data.x", 1)], "data.y=1", False),
    ([("owner", 1)], "owner=65a000000000000000000001", True),
    ([NAME], "any_of=name=a,name=b", True),
    ([NAME], "any_of=name=a,rank=1", False),
    ([NAME], "any_of=name=a,id=65a000000000000000000001", True),
    ([NAME], "name=a&any_of=rank=1,size=2", True),
    ([NAME], "any_of=name=a,name=b&sort=rank", False),
    ([NAME], "any_of=name__icontains=a,name=b", False),
    ([NAME], "any_of=name__ne=a,name=b", False),
    ([("place", "2dsphere")], "place__within_box=1,1,2,2", False),
    ([("place", "2dsphere")], "place__near=1,1&place__max_distance=1000", True),
    ([NAME, ("_id", 1), RANK], "rank__gte=1&sort=size", False),
    ([NAME, ("_id", 1), RANK], "rank__gte=1&sort=name", True),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "query", "is_found"), ROWS)
def test_a_list_is_served_if_there_is_an_index_for_it(api, things, keys, query, is_found):
    things.create_index(keys)
    reply = api.get(f"/index_thing?{query}")
    assert reply.status == (200 if is_found else 400), reply.body
    if not is_found:
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


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "?page=2",
        "?per_page=1",
        "?id=65a000000000000000000001",
        "?id__in=65a000000000000000000001",
        "?id__gt=65a000000000000000000001",
        "?fields=name",
        "?expand=owner",
        "?count=exact",
        "?id=65a000000000000000000001&name__icontains=a",
    ],
)
def test_a_plain_list_and_one_by_primary_key_are_never_refused(api, things, query, method):
    assert api.request(method, f"/index_thing{query}").status == 200


PLAIN = ["/index_ordered", "/index_animal", "/index_dog", "/index_plant"]


@pytest.mark.parametrize("query", ["", "?id=65a000000000000000000001"], ids=["plain", "by key"])
@pytest.mark.parametrize("path", PLAIN)
def test_nor_are_they_for_a_model_of_any_kind(api, path, query):
    reply = api.get(path + query)
    assert reply.status == 200


@pytest.mark.parametrize("path", ["/index_tree", "/tenant/index_thing", "/there/index_thing"])
def test_what_the_application_adds_to_a_plain_list_is_not_held_against_the_client(api, things, path):
    assert api.get(path).status == 200


def test_an_order_of_a_client_that_is_that_of_the_model_needs_an_index(api, mongodb_database):
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


@pytest.mark.parametrize("path", ["/index_animal", "/index_dog"])
def test_an_index_that_mongoengine_made_of_class_and_name_counts(api, path):
    IndexAnimal.ensure_indexes()
    assert api.get(f"{path}?name=a").status == 200


@pytest.mark.parametrize("path", ["/index_animal?age=1", "/index_dog?breed=x", "/index_dog?age__gt=1"])
def test_an_index_of_the_class_alone_finds_nothing(api, path):
    IndexAnimal.ensure_indexes()
    assert api.get(path).status == 400


def test_the_order_of_a_class_is_found_with_its_name(api):
    IndexAnimal.ensure_indexes()
    IndexAnimal._get_collection().create_index([("_cls", 1), ("age", 1), ("_id", 1)])
    assert api.get("/index_dog?sort=age").status == 200


# When


def test_an_index_that_was_just_created_is_seen_in_time(api, things, monkeypatch):
    assert api.get("/index_thing?name=a").status == 400
    things.create_index([NAME])
    monkeypatch.setattr(indexes, "SECONDS_KNOWN", 0)
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


ADVICE = {
    "name=a": "[('n', 1)]",
    "name=a&rank=1": "[('n', 1), ('rank', 1)]",
    "rank=1&sort=-name": "[('rank', 1), ('n', -1), ('_id', 1)]",
    "size__gt=1&rank=1&sort=name": "[('rank', 1), ('n', 1), ('_id', 1), ('size', 1)]",
    "sort=name": "[('n', 1), ('_id', 1)]",
    "parts.name=a": "[('parts.n', 1)]",
    "name=a&rank__ne=1": "[('n', 1)]",
}


@pytest.mark.parametrize("query", ADVICE)
def test_the_log_says_which_index_is_missing(api, things, told, query):
    assert api.get(f"/free/index_thing?{query}").status == 200
    [line] = told()
    assert things.full_name in line
    assert f"create_index({ADVICE[query]})" in line


def test_the_log_says_it_once_for_each_shape(api, things, told):
    for value in range(5):
        api.get(f"/free/index_thing?name=n{value}")
    assert len(told()) == 1
    api.get("/free/index_thing?rank=5")
    assert len(told()) == 2
    api.get("/index_thing?rank=6")
    assert len(told()) == 2


@pytest.mark.parametrize("query", ["name__icontains=a", "name__ne=a"])
def test_the_log_knows_where_no_index_helps(api, things, told, query):
    api.get(f"/free/index_thing?{query}")
    [line] = told()
    assert "no index helps" in line


def test_the_log_advises_no_index_for_an_order_of_what_no_index_finds(api, things, told):
    api.get("/free/index_thing?name__icontains=a&sort=rank")
    [line] = told()
    assert "create_index" not in line


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
    indexes._told.clear()
    for name in ("name", "rank", "size", "tenant"):
        api.get(f"/free/index_thing?{name}=1")
    assert len(told()) == 4
    assert len(indexes._told) <= 2


# All shapes

EQUAL = [(), ("a",), ("a", "b")]
RANGES = [(), ("c",), ("a",)]
OTHERS = [(), ("d",)]
ORDERS = [(), (("e", 1), ("_id", 1)), (("a", 1), ("_id", 1)), (("c", -1), ("_id", 1))]
WAYS = [(), (("a", "f"),)]


def test_every_index_that_is_advised_would_do():
    shapes = [
        Needs(equal, ranged, others, ways, order)
        for equal in EQUAL for ranged in RANGES for others in OTHERS for ways in WAYS for order in ORDERS
    ]  # fmt: skip
    assert [needs for needs in shapes if needs.index and not needs.met_by([needs.index])] == []


def test_a_hashed_index_finds_what_is_equal_and_nothing_else():
    hashed = (("a", "hashed"),)  # which SecantusDB does not have
    assert Needs(("a",), (), (), (), ()).met_by([hashed])
    assert not Needs((), ("a",), (), (), ()).met_by([hashed])


def test_whether_an_index_would_do_is_decided_without_any_too():
    assert Needs((), (), (), (), ()).met_by([])
    assert Needs(("_id",), (), (), (), ()).met_by([])
    assert not Needs(("a",), (), (), (), ()).met_by([])


# The atlas

EXPLAIN = """
import json, sys
import mongoengine, pymongo.monitoring
from examples.atlas.__main__ import application
from examples.atlas.models import City, Continent, Country
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
with serve(application()) as http:
    for path in sys.argv[2:]:
        finds.found.clear()
        assert http.get(path).status == 200
        command = {name: finds.found[-1][name] for name in ("find", "filter", "sort", "limit", "skip")
                   if name in finds.found[-1]}
        print(json.dumps([path, database.command("explain", command)["queryPlanner"]["winningPlan"]]))
client.drop_database(database.name)
mongoengine.disconnect()
"""
EXPLAINED = {
    "/city?country=BR": "IXSCAN",
    "/city?country=BR&sort=-population": "IXSCAN",
    "/country?continent=EU&sort=name": "IXSCAN",
    "/city?country=BR&sort=-population&per_page=5&fields=name,population": "IXSCAN",
    "/city?name=Springfield&fields=country,population": "IXSCAN",
    "/country/BR": "IXSCAN",
    "/city?timezone=UTC": "COLLSCAN",
}


@pytest.fixture(scope="module")
def plans(mongodb_server):
    """How MongoDB does the queries of the atlas; in a process of its own, for its models have plain names."""
    done = subprocess.run(
        [sys.executable, "-c", EXPLAIN, mongodb_server, *EXPLAINED],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(line) for line in done.stdout.splitlines())


def stages(plan):
    while plan:
        yield plan
        plan = plan.get("inputStage")


@pytest.mark.parametrize("path", EXPLAINED)
def test_the_atlas_is_asked_for_what_it_has_an_index_of(plans, path):
    names = [stage["stage"] for stage in stages(plans[path])]
    wanted = EXPLAINED[path]
    if path == "/country/BR":
        assert "COLLSCAN" not in names
    else:
        assert wanted in names


def test_the_index_of_the_largest_cities_of_a_country_has_them_in_order(plans):
    keys = [
        stage["keyPattern"]
        for stage in stages(plans["/city?country=BR&sort=-population"])
        if "keyPattern" in stage
    ]
    assert keys == [{"country": 1, "population": -1, "_id": 1}]


REQUIRED = """
import re, sys
from pathlib import Path
import mongoengine
from examples.atlas.models import City, Country
from hive import ModelHive, flatten
from hive.testing import serve

client = mongoengine.connect("atlas-required", host=sys.argv[1])
told = Path("docs/queries.md").read_text() + Path("examples/README.md").read_text()
paths = sorted(set(re.findall(r"/(?:city|country)[?][^ `'>]+", told)))
routes = [ModelHive.routes_for(model, require_index=True, stream=True) for model in (City, Country)]
with serve(flatten(routes)) as http:
    assert http.get("/city?timezone=UTC").status == 400
    for path in paths:
        if "after=" not in path:
            print(http.get(path.replace(chr(92), "%5C")).status, path)
client.drop_database("atlas-required")
mongoengine.disconnect()
"""


def test_every_documented_query_has_an_index(mongodb_server):
    done = subprocess.run(
        [sys.executable, "-c", REQUIRED, mongodb_server],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = done.stdout.splitlines()
    assert len(answers) > 8
    assert [answer for answer in answers if not answer.startswith("200 ")] == []


class IndexSpot(me.Document):
    where = me.PointField(auto_index=False, db_field="stored_elsewhere")


def test_what_is_near_without_an_index_is_refused_in_words_for_clients(mongodb_database):
    IndexSpot(where=[8, 47]).save()
    with serve(ModelHive.routes_for(IndexSpot)) as client:
        reply = client.get("/index_spot?where__near=8,47")
        assert reply.status == 400
        assert "stored_elsewhere" not in reply.json["detail"]
        assert "create_index" not in reply.json["detail"]
        assert len(client.get("/index_spot?where__near=8,47&where__max_distance=9&sort=id").json) == 1
