"""Pages of lists by number, and the query parameters that lists take."""

import re

import mongoengine as me
import pytest

from hive import ModelHive
from hive.testing import serve


class PagedCoin(me.Document):
    code = me.StringField(primary_key=True)
    name = me.StringField()


ROUTES = ModelHive.routes_for(PagedCoin, resource_name="coin")


@pytest.fixture
def api(mongodb_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def quick(mongomock_database):
    """For claims that have nothing to do with the database."""
    with serve(ROUTES) as client:
        yield client


def refused(reply, status):
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json


def links(reply):
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


@pytest.fixture
def hundred(api):
    PagedCoin.objects.insert([PagedCoin(code=f"c{number:03}") for number in range(103)])
    return api


def codes(reply):
    assert reply.status == 200, reply.body
    return [item["code"] for item in reply.json]


def test_page_has_20_items_unless_asked_otherwise(hundred):
    assert codes(hundred.get("/coin")) == [f"c{number:03}" for number in range(20)]
    assert codes(hundred.get("/coin?page=2")) == [f"c{number:03}" for number in range(20, 40)]


def test_page_has_at_most_100_items(hundred):
    assert len(codes(hundred.get("/coin?per_page=100"))) == 100
    assert len(codes(hundred.get("/coin?per_page=1000"))) == 100
    assert codes(hundred.get("/coin?per_page=1000&page=2")) == ["c100", "c101", "c102"]


def test_pages_have_every_document_once(hundred):
    seen, path = [], "/coin?per_page=10"
    while path:
        reply = hundred.get(path)
        seen += codes(reply)
        path = links(reply).get("next")
    assert seen == [f"c{number:03}" for number in range(103)]


def test_link_names_first_prev_and_next_where_there_are_such_pages(hundred):
    assert links(hundred.get("/coin?per_page=50&page=1")) == {
        "first": "/coin?page=1&per_page=50",
        "next": "/coin?page=2&per_page=50",
    }
    assert links(hundred.get("/coin?per_page=50&page=2")) == {
        "first": "/coin?page=1&per_page=50",
        "prev": "/coin?page=1&per_page=50",
        "next": "/coin?page=3&per_page=50",
    }
    assert links(hundred.get("/coin?per_page=50&page=3")).keys() == {"first", "prev"}


def test_last_page_that_is_full_has_no_next(api):
    PagedCoin.objects.insert([PagedCoin(code=str(number)) for number in range(4)])
    assert links(api.get("/coin?per_page=2&page=2")).keys() == {"first", "prev"}


@pytest.mark.parametrize("page", ["7", str(2**63 - 1)])
def test_page_out_of_range_is_empty(hundred, page):
    assert codes(hundred.get(f"/coin?page={page}&per_page=100")) == []


@pytest.mark.parametrize("name", ["page", "per_page"])
def test_page_that_is_no_positive_whole_number_is_400(quick, name):
    for value in ("0", "%201", "%D9%A1", "%FF", "9" * 5000):
        assert name in refused(quick.get(f"/coin?{name}={value}"), 400)["detail"]


def test_repeated_query_parameter_is_400(quick):
    for query in ("page=1&page=2", "page=1&page=1", "per_page=1&page=1&per_page=2"):
        refused(quick.get(f"/coin?{query}"), 400)


def test_unknown_query_parameter_is_400(quick):
    for query in (
        "x=1",
        "Page=1",
        "page[]=1",
        "$where=1",
        "nmae=Ada",
        "=1",
        "x",
        "%FF=1",
        "%00=1",
        "page.x=1",
    ):
        refused(quick.get(f"/coin?{query}"), 400)


def test_unknown_query_parameter_is_400_for_every_verb(quick):
    coin = PagedCoin(code="sek", name="krona").save()
    for verb, path in (("POST", "/coin"), ("GET", "/coin/sek"), ("PUT", "/coin/sek"), ("PATCH", "/coin/sek"),
    ("DELETE", "/coin/sek")):  # fmt: skip
        refused(quick.request(verb, f"{path}?x=1", json={"name": "x"}), 400)
    coin.reload()
    assert (PagedCoin.objects.count(), coin.name) == (1, "krona")


def test_lone_question_mark_is_no_query(quick):
    assert quick.get("/coin?").json == []
