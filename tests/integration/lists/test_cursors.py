"""Clients get cursors in ``Link``, and can do nothing with them but give them back."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from urllib.parse import parse_qs, urlencode, urlsplit

import bson
import mongoengine as me
import pytest
from bson import MaxKey, ObjectId, Timestamp
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions

from hive import ModelHive, cursors, flatten
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


class CursorPaid(me.Document):
    name = me.StringField()
    salary = me.IntField()
    meta = {"ordering": ["salary"]}


class CursorSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


def own(handler, instance):
    return instance is None or instance.rank != "others"


THINGS = "/cursor_thing"
ROUTES = flatten(
    [
        ModelHive.routes_for(CursorThing),
        ModelHive.routes_for(CursorThing, prefix="/other"),
        ModelHive.routes_for(CursorThing, prefix="/own", allow={"get": concealed(own)}),
        ModelHive.routes_for(CursorNews, hidden=["rank"]),
        ModelHive.routes_for(CursorPaid, hidden=["salary"]),
        ModelHive.routes_for(CursorSlug, hidden=["id"]),
    ]
)


@pytest.fixture(scope="module")
def servers():
    """An application that has a secret, and one that has none."""
    with serve(ROUTES, cookie_secret="s" * 32) as one, serve(ROUTES) as other:
        yield one, other


@pytest.fixture
def api(servers, mongomock_database):
    return servers[0]


@pytest.fixture
def open_api(servers, mongomock_database):
    """Of an application that has no secret."""
    return servers[1]


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


# In a query string


def test_what_is_no_cursor_is_400(api, ten):
    for name in ("after", "before"):
        for text in ("", "x" * 22, cursor(api)[:-1]):
            assert repr(name) in refused(api.get(f"{THINGS}?{name}={text}"))


def test_a_cursor_that_is_not_utf8_is_400(api, ten):
    refused(api.get(f"{THINGS}?after=%ff"))


def test_a_cursor_holds_in_both_directions_and_for_any_shape_and_size_of_its_list(api, ten):
    text = cursor(api, sort="name")
    for more in ("", "&per_page=1", "&fields=name", "&expand=friends", "&count=exact"):
        for name in ("after", "before"):
            assert api.get(f"{THINGS}?sort=name&{name}={text}{more}").status == 200


OTHERS = [
    *("", "sort=-name", "sort=number", "sort=name,id", "sort=name&name=n1", "sort=name&number=1"),
    *("sort=name&number__ne=7&number__ne=8", "sort=id", "sort=name&name__ne="),
]


def test_a_cursor_of_a_list_with_another_filter_or_order_is_400(api, ten):
    text = cursor(api, sort="name", number__ne=7)
    assert api.get(f"{THINGS}?sort=name&number__ne=7&after={text}").status == 200
    for query in OTHERS:
        refused(api.get(f"{THINGS}?{query}&after={text}"))


def test_a_cursor_of_another_path_is_400(api, ten):
    for path in ("/other/cursor_thing", "/own/cursor_thing", "/cursor_news", "/cursor_thing/"):
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


def test_a_cursor_holds_as_long_as_the_secret_does(api, open_api, ten):
    text = cursor(api)
    with serve(ROUTES, cookie_secret="s" * 32) as same, serve(ROUTES, cookie_secret="t" * 32) as other:
        assert same.get(f"{THINGS}?after={text}").status == 200
        refused(other.get(f"{THINGS}?after={text}"))
    refused(open_api.get(f"{THINGS}?after={text}"))


TWO = [
    *("after={0}&before={0}", "page=1&after={0}", "page=2&before={0}", "page=1&after={0}&before={0}"),
    *("after={0}&after={0}", "per_page=all&after={0}", "before={0}&before="),
]


def test_only_one_of_page_after_and_before_once(api, ten):
    for query in TWO:
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


def forged(payload, bound=BOUND):
    sealed = cursors.cipher(NO_SECRET).encrypt(payload, [bound.encode()])
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def test_without_a_secret_there_are_cursors_too(open_api, ten):
    text = cursor(open_api)
    position = cursors.read("after", text, BOUND, cursors.cipher(NO_SECRET))
    for one in (text, forged(bson.encode({"v": list(position)}))):
        assert len(open_api.get(f"{THINGS}?after={one}").json) == 7


def test_a_forged_cursor_that_nothing_can_be_made_of_is_400(open_api):
    refused(open_api.get(f"{THINGS}?after={forged(b'garbage')}"))


FORGED = [[], [1, 2], [MaxKey()], [Timestamp(1, 1)], [None], [float("nan")], ["$name"], [{"$gt": ""}]]


def test_a_forged_cursor_gives_no_more_than_the_list(servers, mongodb_database):
    CursorThing(name="a").save()
    for values in FORGED:
        reply = servers[1].get(f"{THINGS}?after={forged(bson.encode({'v': values}))}")
        assert reply.status in (200, 400), values


def test_a_forged_cursor_does_not_ask_for_a_hidden_field(open_api):
    CursorPaid(name="Ann", salary=73421).save()
    least = ObjectId(b"\0" * 12)

    def asked(values, sort=None):
        text = forged(bson.encode({"v": values}), repr(("/cursor_paid", [], sort, None)))
        return open_api.get("/cursor_paid?" + urlencode({"after": text} | ({"sort": sort} if sort else {})))

    for salary in (0, 73420, 73421, 2**20):
        refused(asked([salary, least]))
    assert len(asked(["A", least], "name").json) == 1


def test_no_cursor_tells_a_hidden_primary_key_without_a_secret(open_api):
    CursorSlug.objects.insert([CursorSlug(slug="a"), CursorSlug(slug="b")])
    reply = open_api.get("/cursor_slug?per_page=1")
    assert reply.json == [{"slug": "a"}]
    assert links(reply) == {
        "first": "/cursor_slug?page=1&per_page=1",
        "next": "/cursor_slug?page=2&per_page=1",
    }
