"""hive.cursors: clients get them in Link, and can do nothing with them but give them back."""

import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import bson
import mongoengine as me
import pytest
from bson import Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from hive import ModelHive, cursors, flatten
from hive.errors import BadRequest
from hive.permissions import concealed
from hive.reading import NO_SECRET
from hive.testing import serve

naive = datetime  # as mongoengine has times: in UTC, without saying so

OPTIONS: CodecOptions = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)
KEY = cursors.cipher(b"k" * 32)


class CursorTask(me.EmbeddedDocument):
    title = me.StringField()


class CursorThing(me.Document):
    name = me.StringField()
    number = me.IntField()
    rank = me.StringField()
    friends = me.ListField(me.ReferenceField("self"))
    tasks = me.EmbeddedDocumentListField(CursorTask)


class CursorNews(me.Document):
    title = me.StringField()
    rank = me.StringField()
    meta = {"ordering": ["rank"]}


def own(handler, instance):
    return instance is None or instance.rank != "others"


THINGS = "/cursor_thing"
ROUTES = flatten(
    [
        ModelHive.routes_for(CursorThing),
        ModelHive.routes_for(CursorThing, prefix="/other"),
        ModelHive.routes_for(CursorThing, prefix="/own", allow={"get": concealed(own)}),
        ModelHive.routes_for(CursorNews, hidden=["rank"]),
    ]
)


@pytest.fixture
def api(mongomock_database):
    with serve(ROUTES, cookie_secret="s" * 32) as client:
        yield client


@pytest.fixture
def open_api(mongomock_database):
    """Of an application that has no secret."""
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def ten():
    things = [CursorThing(name=f"n{number}", number=number % 3) for number in range(10)]
    return CursorThing.objects.insert(things)


def links(reply):
    assert reply.status == 200, reply.body
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def cursors_of(reply):
    """Those in the links of an answer."""
    parameters = [parse_qs(urlsplit(url).query) for url in links(reply).values()]
    return [text for one in parameters for name in ("after", "before") for text in one.get(name, [])]


def cursor(api, path=THINGS, **parameters):
    [first, *_] = cursors_of(api.get(f"{path}?{urlencode({'per_page': 3, **parameters})}"))
    return first


def refused(reply):
    assert reply.status == 400, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.json["detail"]


# As values


POSITIONS = [
    ("a", ObjectId()),
    (None, 1.5, True, ObjectId()),
    ("ä🙂\x00", Int64(2**62), -1, naive(2026, 1, 1)),
    (Decimal128("1.50"), b"\x00", float("inf")),
    ("x",),
]


@pytest.mark.parametrize("position", POSITIONS, ids=range(len(POSITIONS)))
def test_a_cursor_means_the_position_of_which_it_was_made(position):
    text = cursors.write(position, "list", KEY, OPTIONS)
    assert quote(text, safe="") == text
    assert cursors.read("after", text, "list", KEY) == position


def test_a_uuid_is_found_again_as_mongodb_has_it():
    text = cursors.write((uuid.UUID(int=5),), "list", KEY, OPTIONS)
    [value] = cursors.read("after", text, "list", KEY)
    assert bson.encode({"v": value}) == bson.encode({"v": uuid.UUID(int=5)}, codec_options=OPTIONS)


@pytest.mark.parametrize(
    ("bound", "secret"),
    [
        ("lis", b"k" * 32),
        ("list ", b"k" * 32),
        ("", b"k" * 32),
        ("list", b"k"),
        ("list", b""),
        ("list", b"k" * 33),
    ],
    ids=str,
)
def test_a_cursor_of_another_list_or_another_secret_is_refused(bound, secret):
    text = cursors.write(("a", 1), "list", KEY, OPTIONS)
    with pytest.raises(BadRequest):
        cursors.read("after", text, bound, cursors.cipher(secret))


def test_a_cursor_with_any_character_changed_added_or_left_out_is_refused():
    text = cursors.write(("name", ObjectId()), "list", KEY, OPTIONS)
    changed = [text[:at] + other + text[at + 1 :] for at in range(len(text)) for other in "AZ-_=+/ .\né\x00"]
    longer = [text[:at] + other + text[at:] for at in range(len(text) + 1) for other in "A=\n"]
    shorter = [text[:at] for at in range(len(text))] + [text[at:] for at in range(1, len(text))]
    for one in {*changed, *longer, *shorter, text + text, text.swapcase()} - {text}:
        with pytest.raises(BadRequest):
            cursors.read("after", one, "list", KEY)


# Over HTTP


def test_a_cursor_with_any_byte_changed_is_400(api, ten):
    text = cursor(api)
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for at in range(len(data)):
        other = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        refused(api.get(f"{THINGS}?after={urlsafe_b64encode(other).rstrip(b'=').decode()}"))


NO_CURSORS = [
    *(
        "",
        "A",
        "=",
        "====",
        " ",
        "x" * 22,
        "A" * 8193,
        "B" * 15_000,
        "é",
        "日本",
        "\x00",
        "null",
        "0",
        "1",
        "-1",
    ),
    *("65a000000000000000000001", "{}", "[]", "$where", "..", "%", "+", "/", "\n", "a,b"),
]


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("text", NO_CURSORS, ids=lambda text: repr(text[:30]))
def test_what_is_no_cursor_is_400(api, ten, name, text):
    assert repr(name) in refused(api.get(f"{THINGS}?{name}={quote(text)}"))


def test_a_cursor_that_is_not_utf8_is_400(api, ten):
    refused(api.get(f"{THINGS}?after=%ff"))


def test_a_cursor_holds_in_both_directions_and_for_any_shape_and_size_of_its_list(api, ten):
    text = cursor(api, sort="name")
    for more in ("", "&per_page=1", "&fields=name", "&expand=friends", "&count=exact"):
        for name in ("after", "before"):
            assert api.get(f"{THINGS}?sort=name&{name}={text}{more}").status == 200


@pytest.mark.parametrize(
    "query", ["", "sort=-name", "sort=number", "sort=name,id", "sort=name&name=n1", "sort=name&number=1",
    "sort=name&number__ne=7&number__ne=8", "sort=id", "sort=name&name__ne="],
)  # fmt: skip
def test_a_cursor_of_a_list_with_another_filter_or_order_is_400(api, ten, query):
    text = cursor(api, sort="name", number__ne=7)
    assert api.get(f"{THINGS}?sort=name&number__ne=7&after={text}").status == 200
    refused(api.get(f"{THINGS}?{query}&after={text}"))


@pytest.mark.parametrize(
    "path", ["/other/cursor_thing", "/own/cursor_thing", "/cursor_news", "/cursor_thing/"]
)
def test_a_cursor_of_another_path_is_400(api, ten, path):
    refused(api.get(f"{path}?after={cursor(api)}"))


def test_a_cursor_of_another_list_of_references_is_400(api, ten):
    one = CursorThing(friends=ten[:5]).save()
    two = CursorThing(friends=ten[:5]).save()
    text = cursor(api, f"{THINGS}/{one.id}/friends", sort="name")
    assert api.get(f"{THINGS}/{one.id}/friends?sort=name&after={text}").status == 200
    refused(api.get(f"{THINGS}/{two.id}/friends?sort=name&after={text}"))
    refused(api.get(f"{THINGS}?sort=name&after={text}"))
    refused(api.get(f"{THINGS}/{one.id}/friends?after={text}"))


def test_a_list_without_cursors_takes_none(api, ten):
    one = CursorThing(tasks=[CursorTask(title="a")]).save()
    refused(api.get(f"{THINGS}/{one.id}/tasks?after={cursor(api)}"))


def test_a_cursor_holds_as_long_as_the_secret_does(api, ten):
    text = cursor(api)
    with serve(ROUTES, cookie_secret="s" * 32) as same, serve(ROUTES, cookie_secret="t" * 32) as other:
        assert same.get(f"{THINGS}?after={text}").status == 200
        refused(other.get(f"{THINGS}?after={text}"))
    with serve(ROUTES) as without:
        refused(without.get(f"{THINGS}?after={text}"))


@pytest.mark.parametrize(
    "query", ["after={0}&before={0}", "page=1&after={0}", "page=2&before={0}", "page=1&after={0}&before={0}",
    "after={0}&after={0}", "per_page=all&after={0}", "before={0}&before="],
)  # fmt: skip
def test_only_one_of_page_after_and_before_once(api, ten, query):
    refused(api.get(f"{THINGS}?{query.format(cursor(api))}"))


def test_a_cursor_is_for_lists_only(api, ten):
    text = cursor(api)
    refused(api.get(f"{THINGS}/{ten[0].id}?after={text}"))
    for verb in ("POST", "PUT", "PATCH", "DELETE"):
        path = THINGS if verb == "POST" else f"{THINGS}/{ten[0].id}"
        refused(api.request(verb, f"{path}?after={text}", json={"name": "x"}))


# What cursors tell


def payloads(reply):
    return b"".join(urlsafe_b64decode(text + "=" * (-len(text) % 4)) for text in cursors_of(reply))


def test_a_cursor_has_only_what_its_list_is_sorted_by(api):
    CursorThing.objects.insert([CursorThing(name=f"name-{n}", rank=f"rank-{n}") for n in range(3)])
    assert b"rank" not in payloads(api.get(f"{THINGS}?sort=name&per_page=1"))


def test_a_cursor_does_not_tell_of_documents_that_the_client_must_not_read(api):
    hidden = CursorThing(name="the-name-of-another", rank="others").save()
    CursorThing(name="z", rank="own").save()
    CursorThing(name="zz", rank="own").save()
    reply = api.get(f"/own{THINGS}?sort=name&per_page=1")
    assert [item["name"] for item in reply.json] == ["z"]
    assert b"the-name-of-another" not in payloads(reply)
    assert hidden.id.binary not in payloads(reply)
    assert [item["name"] for item in api.get(links(reply)["next"]).json] == ["zz"]


def test_a_cursor_does_not_tell_hidden_values_by_which_the_model_is_sorted(api):
    CursorNews.objects.insert([CursorNews(title=str(n), rank=f"rank-{n}") for n in (2, 1, 3)])
    reply = api.get("/cursor_news?per_page=1")
    assert reply.json[0]["title"] == "1"
    assert b"rank-1" not in payloads(reply)
    assert [item["title"] for item in api.get(links(reply)["next"]).json] == ["2"]


# Without a secret anyone can make cursors


BOUND = repr((THINGS, [], None, None))


def forged(payload):
    sealed = cursors.cipher(NO_SECRET).encrypt(payload, [BOUND.encode()])
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def test_without_a_secret_there_are_cursors_too(open_api, ten):
    text = cursor(open_api)
    position = cursors.read("after", text, BOUND, cursors.cipher(NO_SECRET))
    for one in (text, forged(bson.encode({"v": list(position)}))):
        assert len(open_api.get(f"{THINGS}?after={one}").json) == 7


UNREADABLE = {
    "empty": b"",
    "no BSON": b"garbage",
    "cut": bson.encode({"v": [ObjectId()]})[:-3],
    "without values": bson.encode({"w": [1]}),
    "no list": bson.encode({"v": 1}),
    "far date": b"\x17\x00\x00\x00\x04v\x00\x10\x00\x00\x00\x090\x00" + b"\x7f" * 8 + b"\x00\x00",
    "regex": bson.encode({"v": [Regex("a")]}),
}


@pytest.mark.parametrize("payload", UNREADABLE.values(), ids=UNREADABLE)
def test_a_forged_cursor_that_nothing_can_be_made_of_is_400(mongodb_database, payload):
    with serve(ROUTES) as api:
        refused(api.get(f"{THINGS}?after={forged(payload)}"))


@pytest.mark.parametrize(
    "values", [[], [1, 2], [{"$gt": ""}], [{"$where": "1"}], [[1]], [MaxKey()], [Timestamp(1, 1)], [None],
    [float("nan")], ["$name"], [{"$regex": "a"}]],
    ids=str,
)  # fmt: skip
def test_a_forged_cursor_gives_no_more_than_the_list(mongodb_database, values):
    CursorThing(name="a").save()
    with serve(ROUTES) as api:
        assert api.get(f"{THINGS}?after={forged(bson.encode({'v': values}))}").status in (200, 400)
