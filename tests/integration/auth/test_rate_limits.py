"""Sign-ins and writes are limited, for each client and for each user."""

import socket
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection

import mongoengine as me
import pytest
from tornado.netutil import bind_unix_socket
from tornado.web import Application

from hive import AuthHive, ModelHive, NotFoundHandler, Provider
from hive.permissions import everyone
from hive.rates import COUNTERS
from hive.testing import serve
from tests.support.threads import at_once

FETCHED = {"Sec-Fetch-Site": "same-origin"}


class RateNote(me.Document):
    text = me.StringField()


class Credulous(Provider):
    """Believes whoever says ``open sesame``, and any bearer token."""

    async def authenticate(self, credentials, handler):
        return {"id": credentials.get("id")} if credentials.get("password") == "open sesame" else None

    async def bearer(self, token):
        return {"id": token}, time.time() + 3600


class ByName(Credulous):
    identified_by = "id"


def application(provider=None, **how):
    routes = AuthHive.routes_for([provider or Credulous()]) + ModelHive.routes_for(
        RateNote, allow={"get": everyone, "create": everyone, "update": everyone, "delete": everyone}
    )
    made = Application(routes, default_handler_class=NotFoundHandler)
    AuthHive.configure(made, secret_key="k" * 32, **{"signin_rate": None, "write_rate": None} | how)
    return made


@contextmanager
def serving(**how):
    with serve(application(**how)) as client:
        yield client


def behind_proxy(served, sockets=None):
    """Serve an application as behind a proxy that tells of the client by X-Real-Ip and X-Scheme."""
    return serve(served, server={"xheaders": True}, sockets=sockets)


def sign_in(client, password="open sesame", headers=None, **user):
    body = {"id": "ann", "password": password} | user
    return client.post("/auth/signin/", json=body, headers=headers)


def cookie_of(client, **user):
    return {"Cookie": sign_in(client, **user).headers["Set-Cookie"].partition(";")[0]} | FETCHED


def write(client, headers=None):
    """The status of a write, having made sure that a refused one wrote nothing."""
    before = RateNote.objects.count()
    reply = client.post("/rate_note", json={}, headers=headers)
    assert RateNote.objects.count() == before + (reply.status == 201)
    return told(reply)


def told(reply):
    """The status of an answer, having made sure that 429 is as it should be."""
    if reply.status == 429:
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert 1 <= int(reply.headers["Retry-After"]) <= 3600
        assert reply.headers["Set-Cookie"] is None
        assert reply.json["detail"].startswith("These are too many requests. Try again in ")
    return reply.status


# Sign-in


@pytest.mark.parametrize("password", ["open sesame", "wrong"], ids=["holds", "does not hold"])
def test_sign_ins_of_one_client_are_limited_whether_they_hold_or_not(mongomock_database, password):
    with serving(signin_rate="3/hour") as client:
        statuses = [told(sign_in(client, password, id=str(index))) for index in range(5)]
        assert told(sign_in(client)) == 429
    assert statuses == [200 if password == "open sesame" else 401] * 3 + [429] * 2


def test_unreadable_attempts_count_too(mongomock_database):
    with serving(signin_rate="2/hour") as client:
        assert [client.post("/auth/signin/", body=b"{").status for _ in range(3)] == [415, 415, 429]


def test_callbacks_of_a_provider_that_is_not_there_are_no_way_around(mongomock_database):
    with serving(signin_rate="1/hour") as client:
        assert client.get("/auth/callback/nobody/").status == 404
        assert [told(sign_in(client)), told(sign_in(client))] == [200, 429]


def test_sign_ins_of_one_user_are_limited_wherever_they_come_from(mongomock_database):
    with behind_proxy(application(signin_rate="3/hour")) as client:
        statuses = [told(sign_in(client, headers={"X-Real-Ip": f"10.0.0.{index}"})) for index in range(5)]
        assert statuses == [200] * 3 + [429] * 2
        assert told(sign_in(client, headers={"X-Real-Ip": "10.0.0.9"}, id="bob")) == 200


def test_guesses_at_one_account_are_limited_wherever_they_come_from(mongomock_database):
    with behind_proxy(application(ByName(), signin_rate="3/hour")) as client:

        def guess(index, **user):
            return told(sign_in(client, "wrong", headers={"X-Real-Ip": f"10.0.0.{index}"}, **user))

        assert [guess(index) for index in range(5)] == [401] * 3 + [429] * 2
        assert told(sign_in(client, headers={"X-Real-Ip": "10.0.0.9"})) == 429
        assert guess(10, id="bob") == 401


def test_without_an_account_to_count_by_guesses_are_limited_by_client_only(mongomock_database):
    with behind_proxy(application(signin_rate="2/hour")) as client:
        headers = [{"X-Real-Ip": f"10.0.0.{index % 3}"} for index in range(9)]
        statuses = [told(sign_in(client, "wrong", headers=header)) for header in headers]
    assert statuses == [401] * 6 + [429] * 3


def test_sign_in_counts_once_for_the_account_that_it_names_and_is(mongomock_database):
    with behind_proxy(application(ByName(), signin_rate="4/hour")) as client:
        statuses = [told(sign_in(client, headers={"X-Real-Ip": f"10.0.0.{index}"})) for index in range(5)]
    assert statuses == [200] * 4 + [429]


@pytest.mark.parametrize("account", [None, {"$gt": ""}, ["ann"], "x" * 10000, "\ud800", "\0"], ids=repr)
def test_strange_accounts_are_counted_without_an_error(mongomock_database, account):
    with serving(provider=ByName(), signin_rate="2/hour") as client:
        statuses = [told(sign_in(client, "wrong", id=account)) for _ in range(3)]
    assert statuses in ([401, 401, 429], [400, 400, 429])


# Writes


def test_writes_of_one_client_are_limited_with_and_without_session(mongomock_database):
    with serving(write_rate="4/hour") as client:
        cookie = cookie_of(client)
        assert [write(client) for _ in range(3)] == [201] * 3
        assert [write(client, cookie) for _ in range(2)] == [201, 429]
        assert write(client) == 429


def test_every_verb_that_changes_counts_and_none_that_reads(mongomock_database):
    with serving(write_rate="4/hour") as client:
        path = f"/rate_note/{RateNote(text='x').save().id}"
        for method in ("GET", "HEAD", "OPTIONS"):
            for _ in range(6):
                assert client.request(method, path).status in (200, 204)
        verbs = ("PUT", "PATCH", "POST", "DELETE")
        assert [client.request(verb, path, json={}).status for verb in verbs] == [200, 200, 405, 204]
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert told(client.request(method, path, json={})) == 429
        for address in ("/rate_note", "/auth/me/", "/auth/signin/"):
            assert client.get(address).status == 200
        assert client.post("/auth/signout/", headers=FETCHED).status == 429


def test_write_over_the_limit_changes_nothing(mongomock_database):
    with serving(write_rate="1/hour") as client:
        RateNote(text="x").save()
        assert write(client) == 201
        path = f"/rate_note/{RateNote.objects.first().id}"
        assert client.delete(path).status == 429
        assert client.put(path, json={"text": "changed"}).status == 429
    assert [note.text for note in RateNote.objects] == ["x", None]


def test_writes_of_one_user_are_limited_wherever_they_come_from(mongomock_database):
    with behind_proxy(application(write_rate="3/hour")) as client:
        ann, bob = cookie_of(client), cookie_of(client, id="bob")
        phone = cookie_of(client)
        sent = [cookie | {"X-Real-Ip": f"10.0.0.{index}"} for index, cookie in enumerate([ann, phone] * 3)]
        assert [write(client, headers) for headers in sent] == [201] * 3 + [429] * 3
        assert write(client, bob | {"X-Real-Ip": "10.0.0.9"}) == 201
        assert write(client, {"X-Real-Ip": "10.0.0.10"}) == 201


def test_bearers_are_limited_by_their_user(mongomock_database):
    with behind_proxy(application(write_rate="2/hour")) as client:
        sent = [{"X-Real-Ip": f"10.0.0.{index}", "Authorization": "Bearer ann"} for index in range(3)]
        assert [write(client, headers) for headers in sent] == [201, 201, 429]
        assert write(client, sent[0] | {"Authorization": "Bearer bob"}) == 201


def test_sign_ins_and_writes_are_counted_apart(mongomock_database):
    with serving(signin_rate="1/hour", write_rate="1/hour") as client:
        assert [told(sign_in(client)), write(client)] == [200, 201]
        assert [told(sign_in(client)), write(client)] == [429, 429]


def test_no_limit_is_none(mongomock_database):
    with serving() as client:
        assert {write(client) for _ in range(12)} == {201}
        assert {told(sign_in(client)) for _ in range(35)} == {200}


# Who is a client


def test_clients_of_an_ipv6_network_are_one(mongomock_database):
    with behind_proxy(application(write_rate="2/hour")) as client:
        addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
        statuses = [write(client, {"X-Real-Ip": address}) for address in addresses]
    assert statuses == [201, 201, 429, 201]


def test_clients_of_a_unix_socket_are_told_apart_by_the_proxy(mongomock_database, tmp_path):
    path = str(tmp_path / "s")

    def status(address):
        connection = HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path)
        headers = {"X-Real-Ip": address} if address else {}
        connection.request("POST", "/rate_note", "{}", headers | {"Content-Type": "application/json"})
        response = connection.getresponse()
        connection.close()
        return response.status

    with behind_proxy(application(write_rate="1/hour"), [bind_unix_socket(path)]):
        statuses = [status(address) for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", None, None)]
    assert statuses == [201, 429, 201, 201, 429]


def test_address_that_a_client_invents_counts_for_nothing(mongomock_database):
    with serving(write_rate="1/hour") as client:
        assert [write(client, {"X-Real-Ip": f"10.0.0.{index}"}) for index in range(2)] == [201, 429]


# In MongoDB


@contextmanager
def shared(count, **how):
    with ExitStack() as stack:
        how = {"rates_in": "mongodb"} | how
        yield [stack.enter_context(serve(application(**how))) for _ in range(count)]


def test_applications_count_together_in_mongodb_and_apart_in_memory(mongodb_database):
    for how, statuses in (({}, [201] * 3 + [429] * 3), ({"rates_in": "memory"}, [201] * 6)):
        with shared(2, write_rate="3/hour", **how) as clients:
            assert [write(clients[index % 2]) for index in range(6)] == statuses


def test_sign_ins_count_together_too(mongodb_database):
    with shared(2, signin_rate="3/hour") as clients:
        statuses = [told(sign_in(clients[index % 2], "wrong")) for index in range(5)]
    assert statuses == [401] * 3 + [429] * 2


def test_no_more_get_through_at_once_than_in_a_row(mongodb_database):
    with shared(2, write_rate="10/hour") as clients:
        replies = at_once([lambda to=to: to.post("/rate_note", json={}, timeout=120) for to in clients * 10])
    assert sorted(told(reply) for reply in replies) == [201] * 10 + [429] * 10


def test_window_in_mongodb_ends(mongodb_database):
    with shared(1, write_rate="2/hour") as [client]:
        assert [write(client) for _ in range(3)] == [201, 201, 429]
        over = {"$set": {"expireAt": datetime.now(UTC) - timedelta(seconds=1)}}
        assert mongodb_database[COUNTERS].update_many({}, over).modified_count == 1
        assert [write(client) for _ in range(3)] == [201, 201, 429]


def test_mongodb_forgets_counts_by_an_index_and_has_no_names(mongodb_database):
    with shared(1, signin_rate="5/hour") as [client]:
        sign_in(client, id="ann-of-the-secret")
    counters = mongodb_database[COUNTERS]
    indexes = counters.index_information().values()
    assert [index["key"] for index in indexes if index.get("expireAfterSeconds") == 0] == [[("expireAt", 1)]]
    assert counters.count_documents({}) == 2
    text = str(list(counters.find()))
    assert "ann-of-the-secret" not in text
    assert "127.0.0.1" not in text
