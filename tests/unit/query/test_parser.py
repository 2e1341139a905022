"""A query string is what it asks for, or is refused."""

import mongoengine as me
import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hive import cursors, query
from hive.errors import BadRequest
from hive.query import INT64, Vocabulary
from hive.schema import Visibility
from hive.serializers import Serializer

KEY = cursors.cipher(b"k" * 32)


class ParsedAddress(me.EmbeddedDocument):
    city = me.StringField()


class ParsedPerson(me.Document):
    name = me.StringField()
    age = me.IntField()
    address = me.EmbeddedDocumentField(ParsedAddress)


PEOPLE = Vocabulary(
    Serializer(ParsedPerson, Visibility()), None, lambda model, text: text, lambda model: None
)


def request(text, prefer=""):
    line = RequestStartLine("GET", f"/people?{text}", "HTTP/1.0")
    return HTTPServerRequest(headers=HTTPHeaders({"Prefer": prefer}), start_line=line)


def listing(text, prefer="", vocabulary=PEOPLE):
    return query.listing(request(text, prefer), vocabulary, KEY)


def refused(text, **how):
    with pytest.raises(BadRequest) as caught:
        listing(text, **how)
    return caught.value.detail


# Pages


def test_a_page_is_asked_for_by_number_and_size():
    window = listing("page=3&per_page=7").window
    assert (window.number, window.size, window.skip) == (3, 7, 14)
    window = listing("").window
    assert (window.number, window.size, window.skip) == (None, 20, 0)
    assert listing("per_page=1000").window.size == 100
    assert listing("per_page=all").window.all


def test_a_page_far_out_skips_no_more_than_mongodb_can():
    for page in (10**9, 2**31, 2**62, 10**18):
        window = listing(f"page={page}&per_page=100").window
        assert 0 < window.skip <= INT64 - 100


NO_NUMBERS = [
    *(
        "0",
        "-1",
        "1e9",
        str(10**30),
        "",
        "+1",
        "%201",
        "1.0",
        "0x1",
        "%D9%A1",
        "one",
        "NaN",
        "9" * 5000,
        "1,2",
    ),
    *("1_0", "%00", "null", "true", "-0", "00"),
]


@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: repr(text[:20]))
def test_what_is_no_number_of_a_page_is_refused(text):
    for vocabulary in (PEOPLE, None):
        for name in ("page", "per_page"):
            assert "positive whole number" in refused(f"{name}={text}", vocabulary=vocabulary)


@pytest.mark.parametrize("more", ["page=1", "after=x", "before=x", "per_page=all"])
def test_the_whole_list_has_no_pages(more):
    refused(f"per_page=all&{more}")


# Counts


@pytest.mark.parametrize("how", ["exact", "estimated"])
def test_a_list_is_counted_by_parameter_or_preference(how):
    assert listing(f"count={how}").count == how
    assert listing("", f"respond-async, count={how}; x=1, wait=5").count == how
    assert listing("", f'count="{how}"').count == how
    assert listing("").count is None


NO_COUNTS = ["", "true", "1", "Exact", "exact%20", "exact,estimated", "none", "EXACT", "exact&count=exact"]


@pytest.mark.parametrize("text", NO_COUNTS)
def test_what_is_no_way_to_count_is_refused(text):
    assert "'count'" in refused(f"count={text}")


NOT_UNDERSTOOD = [
    *("", "count", "count=", "count=none", "=", ";;,,", "counter=exact", "\xe9", "a" * 3000),
    "foo; count=exact",
]


@pytest.mark.parametrize("text", NOT_UNDERSTOOD, ids=lambda text: repr(text[:20]))
def test_a_preference_that_is_not_understood_is_ignored(text):
    assert listing("", text).count is None


# Names


def test_a_parameter_of_a_list_is_given_once():
    for name in ("page=1", "per_page=1", "sort=name", "count=exact", "fields=name", "expand=x", "q=x"):
        assert "more than once" in refused(f"{name}&{name}")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("limit=5", "'per_page'"), ("offset=5", "'page'"), ("order=name", "'sort'"), ("or=x", "'any_of'")),
        *(("include=x", "'expand'"), ("select=x", "'fields'"), ("cursor=x", "'after'"), ("search=x", "'q'")),
        *(("address__city=Rio", "'address.city'"), ("name__exact=x", "'eq'"), ("srot=name", "'sort'")),
    ],
)
def test_what_is_called_otherwise_elsewhere_is_told(text, meant):
    assert meant in refused(text)


def test_a_query_of_many_parameters_is_refused():
    assert "200" in refused("&".join(f"a{n}=1" for n in range(201)))
    assert "200" not in refused("&".join(f"a{n}=1" for n in range(200)))


def test_what_is_not_utf8_is_refused():
    for text in ("name=%ff", "%ff=x", "sort=%ff"):
        assert "UTF-8" in refused(text)


def test_a_list_of_documents_of_any_class_has_pages_only():
    for text in (
        "sort=name",
        "fields=name",
        "expand=x",
        "name=a",
        "count=exact",
        "after=x",
        "before=x",
        "x=1",
    ):
        refused(text, vocabulary=None)
    assert listing("page=2&per_page=3", vocabulary=None).window.number == 2


NOT_FOR_ONE = [
    *(
        "fields=name&fields=name",
        "expand=owner&expand=members",
        "sort=name",
        "page=1",
        "per_page=1",
        "x=1",
        "q=x",
    ),
    *("count=exact", "name=T", "after=x", "Fields=name", "fields[]=name"),
]


@pytest.mark.parametrize("text", NOT_FOR_ONE)
def test_what_a_document_does_not_take_is_refused(text):
    with pytest.raises(BadRequest):
        query.instance(request(text), PEOPLE)
    with pytest.raises(BadRequest):
        query.nothing(request(text))


@pytest.mark.parametrize("parameter", ["sort", "fields", "expand"])
def test_unknown_names_of_any_length_are_refused_in_few_words(parameter):
    """Their cost does not multiply with their length, or this would not end."""
    for text in ("a" * 16_000, "a." * 7_000, "name." * 3_000, "__" * 7_000, "name," * 3_000 + "name"):
        assert len(refused(f"{parameter}={text}")) < 1000
