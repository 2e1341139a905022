"""What was tried against hive by those who mean harm or do not read the documents: none of it may work."""

import enum
import json
import os
import re
import socket
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import bson
import mongoengine as me
import pytest
from bson import Decimal128, ObjectId
from tornado.web import Application

import hive
from hive import AuthHive, ModelHive, Provider, cursors, flatten, signals
from hive.reading import NO_SECRET
from hive.testing import connected, serve
from tests.support.commands import Listener

naive = datetime  # as mongoengine has times: in UTC, without saying so

JSON_HEADERS = b"Host: x\r\nConnection: close\r\nContent-Type: application/json\r\n"


class Counting(Listener):
    """How many commands were sent."""

    def __init__(self):
        self.sent = 0

    def started(self, event):
        self.sent += 1


class Trusting(Provider):
    """Takes everybody for who they say they are."""

    async def authenticate(self, credentials, handler):
        return credentials


class AttackNumber(me.Document):
    number = me.IntField(primary_key=True)
    name = me.StringField()


class AttackPrice(me.Document):
    price = me.Decimal128Field(primary_key=True)


class AttackNote(me.EmbeddedDocument):
    text = me.StringField()
    by = me.StringField()

    def to_dict(self):
        return {"text": self.text if self.by == hive.context.get().current_user["id"] else None}


class AttackNoted(me.Document):
    note = me.EmbeddedDocumentField(AttackNote)


class AttackShape(me.Document):
    name = me.StringField()
    meta = {"allow_inheritance": True}


class AttackOwnShape(AttackShape):
    phone = me.StringField()

    def to_dict(self):
        return {"name": self.name, "for": hive.context.get().current_user["id"]}


class AttackDefault(me.Document):
    mine = me.StringField(default=lambda: hive.context.get().current_user["id"])


class AttackPerson(me.Document):
    name = me.StringField()


class AttackLetter(me.Document):
    text = me.StringField()
    author = me.ReferenceField(AttackPerson)
    readers = me.ListField(me.ReferenceField(AttackPerson))

    def to_dict(self):
        return {"text": self.text, "author": None, "readers": ["?" for _ in self.readers]}


class AttackSlug(me.Document):
    slug = me.StringField(unique=True)
    meta = {"lookup_field": "slug"}


class AttackHolder(me.Document):
    friends = me.ListField(me.ReferenceField(AttackPerson))
    slug = me.ReferenceField(AttackSlug)
    anything = me.GenericReferenceField()


class AttackUnserved(me.Document):
    name = me.StringField()


class AttackPaid(me.Document):
    name = me.StringField()
    salary = me.IntField()
    meta = {"ordering": ["salary"]}


class AttackKind(enum.Enum):
    FIRST = "a"
    ONE = 1
    LAST = "c"


class AttackOdd(me.Document):
    kind = me.EnumField(AttackKind)
    price = me.Decimal128Field()


class AttackMeeting(me.EmbeddedDocument):
    at = me.DateTimeField(default=naive(2020, 1, 2))


class AttackDiary(me.Document):
    meetings = me.EmbeddedDocumentListField(AttackMeeting)


class AttackKey(me.Document):
    key = me.StringField(primary_key=True)
    friends = me.ListField(me.ReferenceField(AttackPerson))


class AttackPlace(me.Document):
    at = me.PointField()


class AttackFree(me.DynamicDocument):
    name = me.StringField()


class AttackPart(me.EmbeddedDocument):
    name = me.StringField()
    price = me.IntField()


class AttackMap(me.Document):
    things = me.MapField(me.EmbeddedDocumentField(AttackPart))


class AttackAddress(me.EmbeddedDocument):
    city = me.StringField()


class AttackHome(me.Document):
    name = me.StringField()
    address = me.EmbeddedDocumentField(AttackAddress)


class AttackText(me.Document):
    name = me.StringField()
    text = me.StringField()
    meta = {"auto_create_index": False, "indexes": [{"fields": ["$text"]}]}


@pytest.fixture
def together(monkeypatch):
    """Every request waits for those that come soon after it, as where many are under way."""
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", 0)


def routes_of(*models):
    return flatten([ModelHive.routes_for(model) for model in models])


def at_once(*calls):
    """What calls return that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def raw(port, method, target, body=b""):
    """Status, head and body of the answer to a request whose target no client of HTTP would send."""
    length = b"Content-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"%s %s HTTP/1.1\r\n%s%s\r\n%s" % (method, target, JSON_HEADERS, length, body))
        data = b""
        while piece := connection.recv(65536):
            data += piece
    head, _, answer = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, answer


def links(reply):
    return {rel: url for url, rel in re.findall(r'<([^>]*)>; rel="(\w+)"', reply.headers["Link"])}


def walked(api, path):
    """All items of a list, page by page."""
    items = []
    while path is not None:
        reply = api.get(path)
        assert reply.status == 200, reply.body[:200]
        items += reply.json
        path = links(reply).get("next")
    return items


def forged(path, values, sort=None):
    """A cursor of an application without a secret, as anybody can make it."""
    bound = repr((path, [], sort, None))
    data = cursors.cipher(NO_SECRET).encrypt(bson.encode({"v": values}), [bound.encode()])
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def refused(reply):
    assert reply.status == 400, reply.body[:200]
    return reply.json["detail"]


def test_the_right_document_is_read_whatever_the_spelling_of_the_prefix(mongodb_database, together):
    AttackNumber.objects.insert([AttackNumber(number=number) for number in (1234567, 4567)])
    with serve(ModelHive.routes_for(AttackNumber, prefix="/café")) as api:
        target = "/café/attack_number/1234567".encode()
        for status, _, body in at_once(*[lambda: raw(api.port, b"GET", target)] * 2):
            assert status == 200
            assert json.loads(body)["number"] == 1234567


@pytest.mark.parametrize("most", [0, 4])
def test_a_change_is_of_the_document_that_the_url_names(mongodb_database, monkeypatch, most):
    monkeypatch.setattr("hive.threads.MOST_UNDER_WAY", most)
    AttackNumber.objects.insert([AttackNumber(number=number, name="old") for number in (1234567, 4567)])
    with serve(ModelHive.routes_for(AttackNumber, prefix="/café")) as api:
        target = "/café/attack_number/1234567".encode()
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(lambda n: raw(api.port, b"PUT", target, b'{"name":"%d"}' % n), range(100)))
    assert AttackNumber.objects.get(number=4567).name == "old"
    assert AttackNumber.objects.get(number=1234567).name != "old"


def test_documents_whose_primary_key_is_a_decimal_are_read_together(mongodb_database, together):
    AttackPrice(price="1.50").save()
    with serve(ModelHive.routes_for(AttackPrice)) as api:
        replies = at_once(*[lambda: api.get("/attack_price/1.50")] * 3)
        assert [reply.status for reply in replies] == [200] * 3
        assert {reply.json["price"] for reply in replies} == {api.get("/attack_price/1.50").json["price"]}


@pytest.mark.parametrize("path", ["/attack_noted", "/attack_shape", "/attack_default"])
def test_two_users_do_not_share_what_code_of_the_application_makes(mongomock_database, together, path):
    AttackNoted(note=AttackNote(text="ann's secret", by="ann")).save()
    AttackOwnShape(name="s").save()
    AttackDefault._get_collection().insert_one({})
    models = routes_of(AttackNoted, AttackShape, AttackDefault)
    application = Application(flatten([AuthHive.routes_for([Trusting()]), models]))
    AuthHive.configure(application, secret_key="s" * 40)
    with serve(application) as api:
        signins = [api.post("/auth/signin/", json={"id": user}) for user in ("ann", "bob")]
        headers = [{"Cookie": reply.headers["Set-Cookie"].partition(";")[0]} for reply in signins]
        alone = [api.get(path, headers=one).json for one in headers]
        assert alone[0] != alone[1]
        for _ in range(5):
            replies = at_once(*[lambda one=one: api.get(path, headers=one) for one in headers])
            assert [reply.json for reply in replies] == alone


def test_what_a_receiver_does_to_its_instance_is_not_in_another_answer(mongodb_database, together):
    place = AttackPlace(at=[1, 2]).save()

    def change(sender, instance):
        instance.at["coordinates"][0] = 99

    heard = signals.post_get_instance.connected_to(change, AttackPlace)
    with serve(ModelHive.routes_for(AttackPlace)) as api, heard:
        for _ in range(8):
            for reply in at_once(*[lambda: api.get(f"/attack_place/{place.pk}")] * 4):
                assert reply.json["at"]["coordinates"] == [1, 2]


def test_applications_of_one_resource_have_cursors_of_their_own(mongodb_database, together):
    AttackPerson.objects.insert([AttackPerson() for _ in range(3)])
    routes = ModelHive.routes_for(AttackPerson)
    one, other = (Application(routes, cookie_secret=letter * 40) for letter in "ab")
    with serve(one) as first, serve(other) as second:
        apis = first, second
        for _ in range(3):
            replies = at_once(*[lambda api=api: api.get("/attack_person?per_page=1") for api in apis])
            for api, reply in zip(apis, replies, strict=True):
                assert api.get(links(reply)["next"]).status == 200


@pytest.mark.parametrize("name", ["author", "readers"])
def test_expand_shows_nothing_that_to_dict_leaves_out(mongomock_database, name):
    ann = AttackPerson(name="Ann").save()
    letter = AttackLetter(text="x", author=ann, readers=[ann]).save()
    with serve(routes_of(AttackPerson, AttackLetter)) as api:
        for path in (f"/attack_letter/{letter.pk}", "/attack_letter"):
            assert b"Ann" not in api.get(f"{path}?expand={name}").body


def test_no_filter_asks_for_what_an_embedded_to_dict_or_a_subclass_leaves_out(mongomock_database):
    with serve(routes_of(AttackNoted, AttackShape)) as api:
        refused(api.get("/attack_noted?note.text__startswith=s"))
        refused(api.get("/attack_shape?phone__startswith=1"))
        assert api.get("/attack_noted?note__exists=true").status == 200


def test_expand_does_not_make_an_answer_of_any_size(mongomock_database):
    large = AttackPerson(name="x" * 100_000).save()
    holder = AttackHolder(friends=[large] * 1500).save()
    with serve(routes_of(AttackPerson, AttackHolder)) as api:
        assert "'expand'" in refused(api.get(f"/attack_holder/{holder.pk}?expand=friends"))


def test_a_query_string_does_not_make_thousands_of_queries(mongodb_server):
    counting = Counting()
    with connected("attack-lookups", host=mongodb_server, event_listeners=[counting]) as database:
        with serve(routes_of(AttackSlug, AttackHolder)) as api:
            for names, parameters in ((1000, 7), (50, 90), (1, 90)):
                counting.sent = 0
                one = f"slug__in={','.join('x' * names)}"
                refused(api.get("/attack_holder?" + "&".join([one] * parameters)))
                assert counting.sent <= 100
        database.client.drop_database(database.name)


def test_a_forged_cursor_does_not_ask_for_a_hidden_field(mongomock_database):
    AttackPaid(name="Ann", salary=73421).save()
    least = ObjectId(b"\0" * 12)
    with serve(ModelHive.routes_for(AttackPaid, hidden=["salary"])) as api:
        for salary in (0, 73420, 73421, 2**20):
            refused(api.get("/attack_paid?after=" + forged("/attack_paid", [salary, least])))
        by_name = forged("/attack_paid", ["A", least], sort="name")
        assert len(api.get(f"/attack_paid?sort=name&after={by_name}").json) == 1


def test_no_cursor_tells_a_hidden_primary_key_without_a_secret(mongomock_database):
    AttackSlug.objects.insert([AttackSlug(slug="a"), AttackSlug(slug="b")])
    with serve(ModelHive.routes_for(AttackSlug, hidden=["id"])) as api:
        reply = api.get("/attack_slug?per_page=1")
        assert reply.json == [{"slug": "a"}]
        assert links(reply) == {
            "first": "/attack_slug?page=1&per_page=1",
            "next": "/attack_slug?page=2&per_page=1",
        }


@pytest.mark.parametrize(
    "name", ["\U0001f600" * 3000, "b" * 4000, "b" * 60_000], ids=["emoji", "letters", "many"]
)
def test_a_walk_by_links_reaches_every_document_however_long_its_name(database, name):
    names = {"a", name, "\U0001f601"}
    AttackPerson.objects.insert([AttackPerson(name=one) for one in names])
    with serve(ModelHive.routes_for(AttackPerson)) as api:
        for sort in ("name", "-name"):
            items = walked(api, f"/attack_person?sort={sort}&per_page=1")
            assert len(items) == 3
            assert {item["name"] for item in items} == names


@pytest.mark.parametrize("sort", ["kind", "-kind", "price", "-price"])
def test_a_walk_over_values_of_many_kinds_reaches_every_document(mongodb_database, sort):
    prices = [Decimal128(text) for text in ("1", "NaN", "2", "-Infinity")]
    values = {"kind": ["a", 1, "c", None], "price": [*prices, None]}[sort.removeprefix("-")]
    AttackOdd._get_collection().insert_many([{sort.removeprefix("-"): value} for value in values])
    with serve(ModelHive.routes_for(AttackOdd)) as api:
        items = walked(api, f"/attack_odd?sort={sort}&per_page=1")
        assert len({item["id"] for item in items}) == len(items) == len(values)


def test_embedded_times_are_sorted_where_the_connection_has_zones(mongodb_server):
    with connected("attack-zones", host=mongodb_server, tz_aware=True) as database:
        meetings = [{"at": naive(2020, 1, 3)}, {}]
        key = AttackDiary._get_collection().insert_one({"meetings": meetings}).inserted_id
        with serve(ModelHive.routes_for(AttackDiary)) as api:
            reply = api.get(f"/attack_diary/{key}/meetings?sort=at")
            assert reply.status == 200
            assert len(reply.json) == 2
        database.client.drop_database(database.name)


def test_it_is_not_told_which_classes_there_are(mongomock_database):
    with serve(ModelHive.routes_for(AttackHolder)) as api:
        replies = [
            api.get(f'/attack_holder?anything=%7B"_cls":"{name}","id":"zz"%7D')
            for name in ("AttackUnserved", "AttackNowhere")
        ]
        assert replies[0].status == replies[1].status
        assert replies[0].json == replies[1].json


def test_not_modified_has_the_tag_of_the_answer_that_it_stands_for(mongomock_database):
    AttackPerson(name="x" * 20_000).save()
    with serve(ModelHive.routes_for(AttackPerson)) as api:
        headers = {"Accept-Encoding": "gzip"}
        tag = api.get("/attack_person", headers=headers).headers["Etag"]
        reply = api.get("/attack_person", headers=headers | {"If-None-Match": tag})
        assert (reply.status, reply.headers["Etag"]) == (304, tag)


def test_what_is_no_uri_in_a_target_is_one_in_link(mongomock_database):
    AttackKey(key="a>b").save()
    with serve(routes_of(AttackKey, AttackPerson)) as api:
        status, head, _ = raw(api.port, b"GET", b"/attack_key/a>b/friends")
        assert status == 200
        assert b"</attack_key/a%3Eb/friends?" in head


def test_keys_of_digits_are_hidden_too(mongomock_database):
    AttackFree(name="g", extra={"1": "secret"}, deep={"5": {"secret": 7}}).save()
    with serve(ModelHive.routes_for(AttackFree, hidden=["extra.1", "deep.5.secret"])) as api:
        (shown,) = api.get("/attack_free").json
        assert (shown["extra"], shown["deep"]) == ({}, {"5": {}})
        refused(api.get("/attack_free?extra.1=secret"))
        refused(api.get("/attack_free?deep.5.secret=7"))


def test_a_key_of_a_map_is_no_name_in_an_option(mongomock_database):
    with serve(ModelHive.routes_for(AttackMap, filterable=["things.name"])) as api:
        refused(api.get("/attack_map?things.k.price=5"))
        refused(api.get("/attack_map?things.name.price=5"))
        assert api.get("/attack_map?things.k.name=x").status == 200


@pytest.mark.parametrize(
    ("query", "meant"),
    [("limit=5", "'per_page'"), ("address__city=Rio", "'address.city'"), ("name__exact=x", "'eq'")],
)
def test_what_is_called_otherwise_elsewhere_is_400_and_told(mongomock_database, query, meant):
    with serve(ModelHive.routes_for(AttackHome)) as api:
        assert meant in refused(api.get(f"/attack_home?{query}"))


@pytest.mark.skipif("HIVE_TEST_MONGODB_URI" in os.environ, reason="MongoDB itself can search for words")
@pytest.mark.parametrize("more", ["", "&sort=name", "&count=exact"])
def test_a_search_that_the_server_cannot_do_is_400(mongodb_database, more):
    AttackText(name="a", text="x").save()
    with serve(ModelHive.routes_for(AttackText)) as api:
        assert "no index" in refused(api.get(f"/attack_text?q=x{more}"))


@pytest.mark.parametrize(("text", "total"), [('count="exact"', "1"), ("foo; count=exact", None)])
def test_a_preference_may_be_quoted_but_is_no_parameter_of_another(mongomock_database, text, total):
    AttackPerson(name="a").save()
    with serve(ModelHive.routes_for(AttackPerson)) as api:
        reply = api.get("/attack_person", headers={"Prefer": text})
        assert (reply.status, reply.headers["X-Total-Count"]) == (200, total)
        assert reply.headers["Preference-Applied"] == ("count=exact" if total else None)


def test_lines_are_sent_to_who_asks_for_them_in_utf8(mongomock_database):
    AttackPerson.objects.insert([AttackPerson(name="é"), AttackPerson(name="b")])
    with serve(ModelHive.routes_for(AttackPerson, stream=True)) as api:
        headers = {"Accept": "application/x-ndjson; charset=utf-8"}
        reply = api.get("/attack_person?per_page=all", headers=headers)
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        assert [json.loads(line)["name"] for line in reply.body.splitlines()] == ["é", "b"]
