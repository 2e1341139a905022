"""Clients that change the same document at the same time: no change is lost, and nothing comes back."""

import http.client
import json
import threading
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise

import mongoengine as me
import pytest

from hive import ModelHive, signals
from hive.testing import recorded, serve
from tests.sending import at_once

CLIENTS, EACH = 50, 20
FIELDS = ("a", "b", "c", "d", "e")


class RivalPart(me.EmbeddedDocument):
    meta = {"lookup_field": "slug"}
    slug = me.StringField()
    size = me.IntField()
    note = me.StringField()


class RivalFriend(me.Document):
    name = me.StringField()


class Rival(me.Document):
    a = me.StringField()
    b = me.StringField()
    c = me.StringField()
    d = me.StringField()
    e = me.StringField(db_field="ee")
    count = me.IntField(default=0)
    part = me.EmbeddedDocumentField(RivalPart)
    parts = me.EmbeddedDocumentListField(RivalPart)
    tags = me.ListField(me.StringField())
    data = me.DictField()
    friend = me.ReferenceField(RivalFriend)


ROUTES = [*ModelHive.routes_for(Rival), *ModelHive.routes_for(RivalFriend)]


class Browser:
    """A client with a connection that it keeps, for many requests."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def close(self):
        self.connection.close()

    def request(self, method, path, body=None, headers=()):
        sent = {"Content-Type": "application/json", **dict(headers)}
        self.connection.request(method, path, body=None if body is None else json.dumps(body), headers=sent)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()


def add_one(browser, path, seen):
    """Read the counter and write it back with one more, until nobody was faster."""
    while True:
        _, headers, body = browser.request("GET", path)
        more = {"count": json.loads(body)["count"] + 1}
        status, _, answer = browser.request("PATCH", path, more, {"If-Match": headers["Etag"]})
        seen[status] += 1
        if status == 200:
            return json.loads(answer)["count"]
        assert status == 412, answer


def test_fifty_clients_that_count_with_if_match_count_every_time(mongodb_database):
    rival, seen = Rival().save(), Counter()

    def count(port):
        with closing(Browser(port)) as browser:
            return [add_one(browser, f"/rival/{rival.pk}", seen) for _ in range(EACH)]

    with serve(ROUTES) as client, recorded(signals.post_update_instance) as heard:
        counted = at_once([lambda: count(client.port)] * CLIENTS)
    assert Rival.objects.get().count == CLIENTS * EACH == 1000
    assert sorted(number for numbers in counted for number in numbers) == list(range(1, 1001))
    print(seen)
