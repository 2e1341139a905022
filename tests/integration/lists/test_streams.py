"""A whole list, ``?per_page=all``, is valid JSON, and never taken for whole where it is not."""

import gzip
import http.client
import json
import logging
import socket
import threading
import time
import tracemalloc
import zlib
from contextlib import closing, suppress

import mongoengine as me
import pytest
import zstandard
from tornado.web import Application

from hive import AuthHive, ModelHive, flatten, pool, signals, threads
from hive.errors import Forbidden
from hive.places import pages
from hive.testing import connected, recorded, serve
from tests.support.commands import Commands
from tests.support.threads import PATIENCE, at_once, wait_for

NDJSON = {"Accept": "application/x-ndjson"}
PROBLEM = "application/problem+json"
HOOKS = {}


class StreamTeam(me.Document):
    name = me.StringField()


class StreamItem(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()
    rank = me.IntField()
    text = me.StringField()
    team = me.ReferenceField(StreamTeam)
    friends = me.ListField(me.ReferenceField("self"))
    parts = me.ListField(me.StringField())


class StreamFree(me.Document):
    number = me.IntField(primary_key=True)
    free = me.DynamicField()


class StreamDict(me.Document):
    number = me.IntField(primary_key=True)

    def to_dict(self):
        return {"twice": self.number * 2}


def hooked(handler, instance):
    """Do what the test wants done when the stream comes to a document; keeps those back that it names."""
    answer = HOOKS.get(instance.number) if instance else None
    return answer() is not False if answer else True


def without_rank(queryset, handler):
    return queryset.exclude("rank")


def even(queryset, handler):
    return queryset.filter(rank__ne=1)


ROUTES = flatten(
    [
        ModelHive.routes_for(StreamItem, stream=True),
        ModelHive.routes_for(StreamTeam),
        ModelHive.routes_for(StreamFree, stream=True),
        ModelHive.routes_for(StreamDict, stream=True, cache_control="public, max-age=60"),
        ModelHive.routes_for(StreamItem, prefix="/pages"),
        ModelHive.routes_for(StreamItem, prefix="/hooked", stream=True, allow={"get": hooked}),
        ModelHive.routes_for(StreamItem, prefix="/narrow", stream=True, scope=without_rank),
        ModelHive.routes_for(StreamItem, prefix="/even", stream=True, scope=even),
    ]
)
ALL = "/stream_item?per_page=all"
HOOKED = "/hooked/stream_item?per_page=all"


@pytest.fixture(autouse=True)
def hooks():
    yield
    HOOKS.clear()


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of two documents, queries of four."""
    monkeypatch.setattr(pages, "STREAMED_AT_ONCE", 2)
    monkeypatch.setattr(pages, "STREAMED_BY_QUERY", 4)


@pytest.fixture
def quick(mongomock_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def real(mongodb_database):
    with serve(ROUTES) as client:
        yield client


def fill(count, **values):
    StreamItem._get_collection().insert_many(
        [{"_id": number, "name": f"n{number}", "rank": number % 3, **values} for number in range(count)]
    )


def numbers(reply):
    return [item["number"] for item in items_of(reply)]


def items_of(reply):
    if reply.headers["Content-Type"] == "application/x-ndjson":
        lines = reply.body.split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line) for line in lines]
    return json.loads(reply.body)


def is_idle():
    """Whether no thread of hive is at work."""
    return pool.pool.busy == 0


def is_at_rest(checks=20):
    """Whether no thread of hive is at work, for some time: nothing goes on with a stream."""
    for _ in range(checks):
        if not is_idle():
            return False
        time.sleep(0.01)
    return True


class Clock:
    """The time of hive's threads, which a test sets forward."""

    def __init__(self):
        self.ahead = 0

    def monotonic(self):
        return time.monotonic() + self.ahead

    sleep = time.sleep


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pool, "DEADLINE", 60)
    for module in (pool, threads):
        monkeypatch.setattr(module, "time", clock)
    return clock


def received(client, path, version="1.1", headers=""):
    """All bytes of an answer, and whether the connection was reset at their end."""
    data = b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=120) as connection:
        connection.sendall(
            f"GET {path} HTTP/{version}\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode()
        )
        try:
            while chunk := connection.recv(65536):
                data += chunk
        except ConnectionResetError:
            return data, True
    return data, False


# Whole


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9])
def test_a_stream_is_valid_whatever_the_number_of_documents(real, small_pieces, count):
    if count:
        fill(count)
    page = real.get("/stream_item?per_page=100").json
    assert [item["number"] for item in page] == list(range(count))
    for headers in ({}, NDJSON):
        reply = real.get(ALL, headers=headers)
        assert reply.status == 200
        assert reply.headers["Content-Type"] == headers.get("Accept", "application/json")
        assert items_of(reply) == page


@pytest.mark.parametrize("count", [499, 500, 501])
def test_a_stream_is_valid_around_the_size_of_its_pieces(quick, count):
    assert pages.STREAMED_AT_ONCE == 500
    fill(count)
    assert numbers(quick.get(ALL)) == list(range(count))
    assert numbers(quick.get(ALL, headers=NDJSON)) == list(range(count))


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_a_stream_is_an_array_unless_lines_are_asked_for(quick, accept):
    fill(2)
    reply = quick.get(ALL, headers={"Accept": accept})
    assert reply.headers["Content-Type"] == "application/json"
    assert len(reply.json) == 2


@pytest.mark.parametrize(
    "accept",
    [
        "application/x-ndjson, application/json;q=0.5",
        "application/x-ndjson;q=0.9",
        "Application/X-NDJSON",
        "application/x-ndjson; charset=utf-8",
    ],
)
def test_lines_are_asked_for_as_media_types_are(quick, accept):
    fill(2)
    assert quick.get(ALL, headers={"Accept": accept}).headers["Content-Type"] == "application/x-ndjson"


def test_lines_that_are_refused_are_not_sent(quick):
    fill(2)
    reply = quick.get(ALL, headers={"Accept": "application/json, application/x-ndjson;q=0"})
    assert reply.headers["Content-Type"] == "application/json"


def test_a_line_is_one_whatever_is_in_the_texts(quick):
    texts = ["é", "a\nb", "a\r\nb", "a\u2028b", "\x85", '"', "\\n", "]", ","]
    for number, text in enumerate(texts):
        StreamItem(number=number, text=text).save()
    assert [item["text"] for item in items_of(quick.get(ALL, headers=NDJSON))] == texts
    assert [item["text"] for item in quick.get(ALL).json] == texts


FOUND = {
    "rank=1": [1, 4, 7],
    "number__gte=7": [7, 8, 9],
    "number__in=3,99": [3],
    "name=nobody": [],
    "sort=-number": [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    "sort=rank": [0, 3, 6, 9, 1, 4, 7, 2, 5, 8],
    "sort=-rank": [2, 5, 8, 1, 4, 7, 0, 3, 6, 9],
    "sort=rank,-number&number__ne=9": [6, 3, 0, 7, 4, 1, 8, 5, 2],
    "any_of=number=1,number=8": [1, 8],
}


@pytest.mark.parametrize("query", FOUND)
def test_filters_and_orders_apply_beyond_the_end_of_a_query(real, small_pieces, query):
    fill(10)
    assert numbers(real.get(f"{ALL}&{query}")) == FOUND[query]


@pytest.mark.parametrize("sort", ["rank", "-rank", "name,rank", "-name,-rank"])
def test_ties_and_what_is_missing_are_neither_skipped_nor_repeated(real, small_pieces, sort):
    fill(5)
    StreamItem._get_collection().insert_many(
        [
            {"_id": 10},
            {"_id": 11, "rank": None},
            {"_id": 12, "rank": 0},
            {"_id": 13},
            {"_id": 14, "name": "n1"},
        ]
    )
    whole = numbers(real.get(f"{ALL}&sort={sort}"))
    assert whole == numbers(real.get(f"/stream_item?sort={sort}"))
    assert sorted(whole) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


def test_fields_and_expand_apply(real, small_pieces):
    team = StreamTeam(name="A").save()
    fill(6, team=team.pk)
    shown = real.get(f"{ALL}&fields=number,team.name&expand=team").json
    assert shown == [{"number": number, "team": {"name": "A"}} for number in range(6)]
    assert real.get(f"{ALL}&fields=name").json[5] == {"name": "n5"}


def test_a_sort_by_what_is_not_shown_goes_on_after_a_query(real, small_pieces):
    fill(9)
    shown = real.get(f"{ALL}&fields=name&sort=-number").json
    assert shown == [{"name": f"n{number}"} for number in reversed(range(9))]


def test_a_scope_applies(real, small_pieces):
    fill(12)
    assert numbers(real.get("/even/stream_item?per_page=all")) == [n for n in range(12) if n % 3 != 1]


def test_a_scope_that_leaves_the_sorted_field_out_does_not_stream_for_ever(real, small_pieces):
    fill(9)
    connection = http.client.HTTPConnection("127.0.0.1", real.port, timeout=120)
    with closing(connection):
        connection.request("GET", "/narrow/stream_item?per_page=all&sort=rank&fields=number")
        found = json.loads(connection.getresponse().read(10_000))
    assert [item["number"] for item in found] == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_what_a_model_says_of_itself_is_streamed(quick, small_pieces):
    for number in range(5):
        StreamDict(number=number).save()
    assert quick.get("/stream_dict?per_page=all").json == [{"twice": number * 2} for number in range(5)]


# Not here


@pytest.mark.parametrize(
    "path",
    [
        "/pages/stream_item?per_page=all",
        "/stream_item/1/friends?per_page=all",
        "/stream_item?per_page=all&page=1",
        "/stream_item?per_page=all&after=x",
        "/stream_item?per_page=all&per_page=all",
        "/stream_item?per_page=ALL",
        "/stream_item?per_page=all&nothing=1",
        "/stream_item?per_page=all&sort=nothing",
        "/stream_item/1?per_page=all",
    ],
)
def test_what_is_no_stream_is_refused(quick, path):
    fill(2)
    reply = quick.get(path)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == PROBLEM


def test_a_refused_stream_has_nothing_of_a_stream(quick):
    reply = quick.get("/pages/stream_item?per_page=all", headers={**NDJSON, "Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in reply.headers
    assert reply.json["status"] == 400


# What the application sees


def test_one_pair_of_signals_whose_items_are_none(quick, small_pieces):
    fill(9)
    with recorded() as heard:
        assert len(quick.get(ALL).json) == 9
    assert [told.name for told in heard] == ["pre_get_list", "post_get_list"]
    assert heard[1].arguments["items"] == []


def test_a_receiver_before_a_stream_can_refuse_it(quick):
    def refuse(sender):
        raise Forbidden

    with signals.pre_get_list.connected_to(refuse, sender=StreamItem):
        reply = quick.get(ALL, headers=NDJSON)
    assert (reply.status, reply.headers["Content-Type"]) == (403, PROBLEM)


def test_a_receiver_after_a_stream_that_fails_does_not_spoil_it(quick):
    def fail(sender):
        raise ValueError("mine")

    fill(3)
    with signals.post_get_list.connected_to(fail, sender=StreamItem):
        assert len(quick.get(ALL).json) == 3


def test_who_may_read_what_takes_documents_out(quick, small_pieces):
    fill(9)
    HOOKS.update({number: lambda: False for number in (0, 3, 4, 5, 6, 8)})
    assert numbers(quick.get(HOOKED)) == [1, 2, 7]
    assert numbers(quick.get(HOOKED, headers=NDJSON)) == [1, 2, 7]
    HOOKS.update({number: lambda: False for number in range(9)})
    assert quick.get(HOOKED).body == b"[]"
    assert quick.get(HOOKED, headers=NDJSON).body == b""


# HTTP around it


@pytest.mark.parametrize("headers", [{}, NDJSON], ids=["array", "lines"])
def test_head_of_a_stream_has_its_headers_and_makes_nothing(quick, headers):
    fill(3)
    HOOKS[0] = lambda: pytest.fail("nobody needs this")
    reply = quick.request("HEAD", HOOKED, headers=headers)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"] == headers.get("Accept", "application/json")
    assert "Content-Length" not in reply.headers
    assert "Etag" not in reply.headers


def test_a_stream_varies_by_what_it_depends_on_and_has_the_cache_control_of_its_routes(quick):
    reply = quick.get("/stream_dict?per_page=all")
    assert {name.strip() for name in reply.headers["Vary"].split(",")} >= {"Accept", "Accept-Encoding"}
    assert reply.headers["Cache-Control"] == "public, max-age=60"
    assert "Etag" not in reply.headers


CODERS = {
    "gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 16),
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


@pytest.mark.parametrize(
    ("coding", "headers", "settings"),
    [
        ("gzip", {}, {}),
        ("zstd", NDJSON, {}),
        ("gzip", NDJSON, {"compress_response": True}),
        ("zstd", {}, {"compress_response": True}),
    ],
    ids=["gzip-array", "zstd-lines", "gzip-lines-compress_response", "zstd-array-compress_response"],
)
def test_a_compressed_stream_is_the_same(mongomock_database, small_pieces, coding, headers, settings):
    fill(9)
    with serve(ROUTES, **settings) as client:
        same = client.get(ALL, headers=headers)
        reply = client.get(ALL, headers={**headers, "Accept-Encoding": coding})
    assert reply.headers["Content-Encoding"] == coding
    assert CODERS[coding]().decompress(reply.body) == same.body
    assert "Content-Encoding" not in same.headers


@pytest.mark.parametrize("coding", CODERS)
def test_a_compressed_stream_can_be_read_as_far_as_it_has_come(quick, small_pieces, coding):
    fill(6)
    gate = threading.Event()
    HOOKS[4] = lambda: gate.wait(PATIENCE)
    connection = http.client.HTTPConnection("127.0.0.1", quick.port, timeout=120)
    with closing(connection):
        connection.request("GET", HOOKED, headers={**NDJSON, "Accept-Encoding": coding})
        response, decoder, text = connection.getresponse(), CODERS[coding](), b""
        while text.count(b"\n") < 4:
            text += decoder.decompress(response.read1())
        assert not gate.is_set()
        gate.set()
        while data := response.read1():
            text += decoder.decompress(data)
    assert [json.loads(line)["number"] for line in text.splitlines()] == list(range(6))


@pytest.mark.parametrize("coding", CODERS)
def test_a_compressed_stream_of_nothing_is_valid(quick, coding):
    reply = quick.get(ALL, headers={"Accept-Encoding": coding})
    assert CODERS[coding]().decompress(reply.body) == b"[]"
    reply = quick.get(ALL, headers={**NDJSON, "Accept-Encoding": coding})
    assert CODERS[coding]().decompress(reply.body) == b""


def test_a_stream_for_an_old_client_ends_with_its_connection(quick, small_pieces):
    fill(5)
    data, reset = received(quick, ALL, version="1.0")
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert [item["number"] for item in json.loads(body)] == list(range(5))
    assert not reset


def test_a_connection_serves_on_after_a_stream(quick, small_pieces):
    fill(5)
    connection = http.client.HTTPConnection("127.0.0.1", quick.port, timeout=120)
    with closing(connection):
        for path in (ALL, ALL, "/stream_item/1", ALL):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            response.read()


def test_with_sign_in_a_stream_is_private(mongomock_database):
    application = Application(ModelHive.routes_for(StreamItem, stream=True))
    AuthHive.configure(application, secret_key="s" * 40, authenticated_get=False)
    with serve(application) as client:
        assert "private" in client.get(ALL).headers["Cache-Control"]


# Cut short


def test_a_bug_in_the_middle_breaks_the_stream_off_and_is_logged(quick, small_pieces, caplog):
    fill(9)
    HOOKS[5] = lambda: 1 / 0
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        quick.get(HOOKED)
    wait_for(lambda: "ZeroDivisionError" in caplog.text)
    wait_for(is_idle)
    HOOKS.clear()
    assert len(quick.get(HOOKED).json) == 9


def test_a_bug_in_the_first_piece_is_a_500(quick, small_pieces):
    fill(9)
    HOOKS[1] = lambda: 1 / 0
    reply = quick.get(HOOKED, headers={**NDJSON, "Accept-Encoding": "gzip"})
    assert (reply.status, reply.headers["Content-Type"]) == (500, PROBLEM)


def test_lines_that_were_broken_off_are_not_taken_for_whole_by_an_old_client(quick, small_pieces):
    """To HTTP/1.0, as nginx speaks it to what is behind it, the end of a connection is that of an answer."""
    fill(9)
    HOOKS[5] = lambda: 1 / 0
    data, reset = received(quick, HOOKED, version="1.0", headers="Accept: application/x-ndjson\r\n")
    assert b'"number":3' in data or reset
    assert reset


def test_a_stream_that_was_broken_off_has_ended_for_the_application(quick, small_pieces):
    fill(9)
    HOOKS[5] = lambda: 1 / 0
    with recorded(signals.request_started, signals.request_finished) as heard:
        with suppress(http.client.IncompleteRead, ConnectionResetError):
            quick.get(HOOKED)
        wait_for(lambda: len(heard) == 2)
    assert [told.name for told in heard] == ["request_started", "request_finished"]


def gone(client, headers=""):
    """A client that reads some of a stream, and then no more."""
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=120)
    connection.sendall(f"GET {ALL} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    return connection


@pytest.fixture
def large(monkeypatch):
    """More than fits between two sockets: 20 MB."""
    monkeypatch.setattr(pages, "STREAMED_AT_ONCE", 4)

    def make():
        fill(100, text="x" * 200_000)

    return make


def test_a_client_that_goes_away_leaves_no_error_and_no_thread_behind(mongomock_database, large, caplog):
    caplog.set_level(logging.INFO)
    large()
    with serve(ROUTES) as client:
        for _ in range(3):
            gone(client).close()
        wait_for(is_idle)
        assert client.get("/stream_item/1?fields=name").json == {"name": "n1"}
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info]
    assert loud == []


def test_a_client_that_goes_away_has_ended_for_the_application(quick, large):
    large()
    with recorded(signals.request_started, signals.request_finished) as heard:
        gone(quick).close()
        wait_for(lambda: len(heard) == 2)
    assert [told.name for told in heard] == ["request_started", "request_finished"]


def test_a_client_that_goes_away_leaves_no_cursor_behind(mongodb_server, large):
    commands = Commands()
    with (
        connected("stream-gone", host=mongodb_server, event_listeners=[commands]) as database,
        serve(ROUTES) as client,
    ):
        large()
        gone(client).close()
        wait_for(lambda: "killCursors" in commands.names)
        assert commands.names.count("getMore") < 25
        database.client.drop_database(database.name)


def test_who_does_not_read_holds_neither_a_thread_nor_the_list_in_memory(quick, large):
    large()
    tracemalloc.start()
    try:
        with recorded(signals.request_finished) as finished, closing(gone(quick)):
            wait_for(is_at_rest)
            assert finished == []
            assert quick.get("/stream_item/1?fields=name").status == 200
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000


def test_who_reads_slowly_gets_all_of_it_however_long_it_takes(real, large, clock):
    large()
    connection = http.client.HTTPConnection("127.0.0.1", real.port, timeout=120)
    with recorded(signals.request_finished) as finished, closing(connection):
        connection.request("GET", ALL)
        response = connection.getresponse()
        data = response.read(1000)
        wait_for(is_at_rest)
        assert finished == []
        clock.ahead += 2 * pool.DEADLINE
        data += response.read()
    assert len(json.loads(data)) == 100


def test_pieces_of_which_nothing_may_be_read_renew_the_time_too(real, small_pieces, clock):
    fill(20)

    def keep_back():
        clock.ahead += pool.DEADLINE / 4
        return False

    HOOKS.update(dict.fromkeys(range(19), keep_back))
    reply = real.get(HOOKED, headers=NDJSON)
    assert reply.status == 200
    assert numbers(reply) == [19]


# Others are writing


def test_what_is_there_all_the_time_is_streamed_once_whatever_comes_and_goes(real, small_pieces):
    fill(20)
    collection = StreamItem._get_collection()

    def meanwhile():
        collection.delete_many({"_id": {"$in": [0, 1, 6, 15]}})
        collection.insert_many([{"_id": -1}, {"_id": 100}, {"_id": 101}])

    HOOKS[5] = meanwhile
    found = numbers(real.get(HOOKED))
    assert found == sorted(set(found))
    assert set(found) >= set(range(20)) - {6, 15}
    assert {100, 101} <= set(found)
    assert not {-1, 15} & set(found)


def test_a_value_that_no_filter_can_go_on_from_breaks_the_stream_off(quick, small_pieces):
    for number in range(6):
        StreamFree(number=number, free=[number] if number == 3 else number).save()
    with suppress(http.client.IncompleteRead, ConnectionResetError):
        reply = quick.get("/stream_free?per_page=all&sort=free")
        assert reply.status == 400 or len(reply.json) == 6


def test_many_streams_at_once_are_each_whole(real, small_pieces):
    fill(30)
    replies = at_once([lambda: real.get(ALL, headers=NDJSON)] * 8)
    assert [numbers(reply) for reply in replies] == [list(range(30))] * 8


# Memory


def test_memory_does_not_grow_with_the_list(mongodb_database, monkeypatch):
    """All of them as Python objects take some 10 MB; a piece of 100 takes 0.3."""
    monkeypatch.setattr(pages, "STREAMED_AT_ONCE", 100)
    fill(3000, text="x" * 1000, parts=["a", "b", "c"])
    with serve(ROUTES) as client:
        assert client.get("/stream_item/1").status == 200
        tracemalloc.start()
        try:
            size = 0
            connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=120)
            with closing(connection):
                connection.request("GET", ALL)
                response = connection.getresponse()
                while chunk := response.read1(65536):
                    size += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert size > 3_000_000
    assert peak < 3_000_000


def test_gzip_of_a_stream_is_what_gzip_reads(quick, small_pieces):
    fill(9)
    reply = quick.get(ALL, headers={"Accept-Encoding": "gzip"})
    assert [item["number"] for item in json.loads(gzip.decompress(reply.body))] == list(range(9))
