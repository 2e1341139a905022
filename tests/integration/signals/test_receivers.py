"""Receivers that raise, answer, are cancelled, wait or write spoil neither the answer nor the server."""

import asyncio
import socket
import threading
from contextlib import ExitStack
from operator import attrgetter
from types import SimpleNamespace

import pytest
from mongoengine import Document, EmbeddedDocument, EmbeddedDocumentField, IntField, StringField
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Finish

from hive import ModelHive, flatten, receivers, signals
from hive.testing import recorded, serve
from tests.support.threads import PATIENCE, in_thread


class Lid(EmbeddedDocument):
    colour = StringField()


class Pot(Document):
    name = StringField()
    size = IntField()
    lid = EmbeddedDocumentField(Lid)


class Copy(Document):
    name = StringField()


ROUTES = flatten([ModelHive.routes_for(Pot), ModelHive.routes_for(Copy)])
name_of = attrgetter("name")
AFTER = [
    ("POST", "/pot", {"name": "b"}, 201, signals.post_create_instance),
    ("PUT", "/pot/{pk}", {"name": "b"}, 200, signals.post_update_instance),
    ("GET", "/pot/{pk}", None, 200, signals.post_get_instance),
    ("GET", "/pot", None, 200, signals.post_get_list),
    ("DELETE", "/pot/{pk}", None, 204, signals.post_delete_instance),
]
each_post_signal = pytest.mark.parametrize("row", AFTER, ids=[row[4].name for row in AFTER])
every_kind = pytest.mark.parametrize("asynchronous", [False, True], ids=["plain", "coroutine"])


@pytest.fixture(autouse=True)
def nobody_blocks(monkeypatch):
    """However busy the machine is: nobody is named in the log for that."""
    monkeypatch.setattr(receivers, "BLOCKED", 2 * PATIENCE)


@pytest.fixture
def client(mongomock_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def api(mongodb_database):
    with serve(ROUTES) as client:
        yield client


@pytest.fixture
def pot(client):
    return Pot(name="a", size=1).save()


def as_kind(function, *, asynchronous):
    """The function itself, or a coroutine function that does the same after a while."""

    async def coroutine(sender):
        await asyncio.sleep(0)
        return function(sender)

    return coroutine if asynchronous else function


def name_of_pair(value):
    return value[4].name if isinstance(value, tuple) else value.__name__


def ask(client, pot, row):
    method, path, body = row[:3]
    return client.request(method, path.format(pk=pot.pk), json=body)


def explode(sender):
    raise ZeroDivisionError("inside")


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "hive"]


async def put(port, path, body):
    return await fetch(port, path, method="PUT", body=body)


async def fetch(port, path, **how):
    """A request to the server itself, by Tornado's own client."""
    http = AsyncHTTPClient(force_instance=True)
    try:
        headers = {"Content-Type": "application/json"}
        url = f"http://127.0.0.1:{port}{path}"
        seconds = {"connect_timeout": PATIENCE, "request_timeout": PATIENCE}
        return await http.fetch(url, headers=headers, raise_error=False, **seconds, **how)
    finally:
        http.close()


# It raises


@every_kind
@each_post_signal
def test_a_post_receiver_that_raises_is_logged_and_told_and_nothing_else(
    client, pot, row, asynchronous, caplog
):
    status, signal = row[3:]
    bad, heard = as_kind(explode, asynchronous=asynchronous), []
    with (
        signal.connected_to(lambda _: heard.append("first")),
        signal.connected_to(bad),
        signal.connected_to(lambda _: heard.append("last")),
        recorded(signals.receiver_failed) as failed,
    ):
        reply = ask(client, pot, row)
    assert reply.status == status
    assert heard == ["first", "last"]
    request_id = reply.headers["X-Request-ID"]
    assert lines(caplog) == [f"{__name__}.{bad.__qualname__} failed on {signal.name} [request {request_id}]"]
    [(_, sender, arguments)] = failed
    assert sender is Pot
    assert (arguments["signal"], arguments["receiver"]) == (signal, bad)
    assert isinstance(arguments["error"], ZeroDivisionError)
    assert arguments["handler"].request_id == request_id


@every_kind
def test_a_receiver_of_receiver_failed_that_fails_is_logged_and_called_once(client, asynchronous, caplog):
    calls = []

    def fails_too(sender):
        calls.append(sender)
        raise KeyError

    bad = as_kind(fails_too, asynchronous=asynchronous)
    with (
        signals.post_create_instance.connected_to(explode),
        signals.receiver_failed.connected_to(bad),
        signals.receiver_failed.connected_to(lambda _, error: calls.append(type(error))),
    ):
        reply = client.post("/pot", json={"name": "a"})
    assert reply.status == 201
    assert calls == [Pot, ZeroDivisionError]
    end = f"[request {reply.headers['X-Request-ID']}]"
    assert lines(caplog) == [
        f"{__name__}.explode failed on post_create_instance {end}",
        f"{__name__}.{bad.__qualname__} failed on receiver_failed {end}",
    ]


def test_an_exception_that_a_pre_receiver_returns_refuses_nothing(client):
    with signals.pre_create_instance.connected_to(lambda _: ValueError("returned")):
        assert client.post("/pot", json={"name": "a"}).status == 201


# It answers by itself


def answers(sender, handler):
    handler.set_status(202)
    handler.finish("mine")


def redirects(sender, handler):
    handler.redirect("/elsewhere")


def sends_an_error(sender, handler):
    handler.send_error(403)


@pytest.mark.parametrize(
    ("receiver", "status"),
    [(answers, 202), (redirects, 302), (sends_an_error, 403)],
    ids=["finish", "redirect", "send_error"],
)
@pytest.mark.parametrize("signal", [signals.pre_create_instance, signals.request_started], ids=name_of)
def test_one_that_answers_by_itself_before_ends_the_request(
    mongomock_database, signal, receiver, status, caplog
):
    with (
        signal.connected_to(receiver),
        recorded(*signals.LIFECYCLE, signals.request_finished) as heard,
        serve(ROUTES) as client,
    ):
        assert client.post("/pot", json={"name": "a"}).status == status
    assert Pot.objects.count() == 0
    names = [told.name for told in heard]
    assert names == [name for name in (signal.name, "request_finished") if name != "request_started"]
    assert lines(caplog) == []


@each_post_signal
def test_a_post_receiver_that_answers_by_itself_has_answered(client, pot, row, caplog):
    signal = row[-1]
    with signal.connected_to(answers):
        assert ask(client, pot, row).status == 202
    assert lines(caplog) == []


def test_a_pre_receiver_that_raises_finish_ends_the_request(mongomock_database, caplog):
    def finishes(sender, handler):
        handler.set_status(202)
        raise Finish

    with signals.pre_create_instance.connected_to(finishes), serve(ROUTES) as client:
        assert client.post("/pot", json={"name": "a"}).status == 202
    assert Pot.objects.count() == 0
    assert lines(caplog) == []


# It is cancelled


async def cancels_itself(sender):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def cancels_itself_and_returns(sender):
    asyncio.current_task().cancel()


def cancels_itself_plainly(sender):
    asyncio.current_task().cancel()


async def cancels_itself_and_goes_on(sender):
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def awaits_a_cancelled_task(sender):
    task = asyncio.create_task(asyncio.sleep(10))
    task.cancel()
    await task


async def awaits_a_cancelled_future(sender):
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def runs_out_of_time(sender):
    async with asyncio.timeout(0):
        await asyncio.sleep(10)


def calls_pytest_fail(sender):
    pytest.fail("for tests")


class Ended(BaseException):
    pass


async def raises_what_is_no_exception(sender):
    raise Ended


CANCELLED = [
    calls_pytest_fail,
    raises_what_is_no_exception,
    cancels_itself,
    cancels_itself_and_returns,
    cancels_itself_plainly,
    cancels_itself_and_goes_on,
    awaits_a_cancelled_task,
    awaits_a_cancelled_future,
    runs_out_of_time,
]


@pytest.mark.parametrize(
    ("receiver", "row"),
    [(receiver, AFTER[index % len(AFTER)]) for index, receiver in enumerate(CANCELLED)],
    ids=name_of_pair,
)
def test_a_post_receiver_that_is_cancelled_does_not_spoil_the_answer(client, pot, receiver, row):
    status, signal = row[3:]
    with signal.connected_to(receiver):
        assert ask(client, pot, row).status == status
    assert client.get("/pot").status == 200


@pytest.mark.parametrize(
    "receiver",
    [awaits_a_cancelled_task, awaits_a_cancelled_future, runs_out_of_time, cancels_itself_and_goes_on],
)
def test_others_are_called_after_one_that_awaited_what_was_cancelled(client, receiver):
    heard = []
    with (
        signals.post_create_instance.connected_to(receiver),
        signals.post_create_instance.connected_to(heard.append),
    ):
        assert client.post("/pot", json={"name": "a"}).status == 201
    assert heard == [Pot]


@pytest.mark.parametrize("receiver", CANCELLED)
def test_the_holder_is_told_whatever_becomes_of_a_receiver_of_its_part(client, pot, receiver):
    heard = []
    with (
        signals.post_create_instance.connected_to(receiver, Lid),
        signals.post_update_instance.connected_to(heard.append, Pot),
    ):
        assert client.post(f"/pot/{pot.pk}/lid", json={"colour": "red"}).status == 201
    assert heard == [Pot]


@pytest.mark.parametrize("receiver", CANCELLED)
def test_a_request_is_served_whatever_becomes_of_those_who_hear_of_its_end(mongomock_database, receiver):
    with (
        recorded(signals.request_started, signals.request_finished) as heard,
        signals.request_finished.connected_to(receiver),
        serve(ROUTES) as client,
    ):
        assert client.get("/pot").status == 200
        assert client.get("/nothing").status == 404
    assert sorted(told.name for told in heard) == ["request_finished"] * 2 + ["request_started"] * 2


@pytest.mark.parametrize(
    "receiver",
    [cancels_itself, awaits_a_cancelled_task, awaits_a_cancelled_future, calls_pytest_fail],
)
def test_a_pre_receiver_that_is_cancelled_is_a_bug_and_nothing_is_stored(client, receiver):
    with signals.pre_create_instance.connected_to(receiver):
        reply = client.post("/pot", json={"name": "a"})
    assert reply.status == 500
    assert reply.json["request_id"] == reply.headers["X-Request-ID"]
    assert Pot.objects.count() == 0


# It blocks the event loop, or waits


def test_a_receiver_that_blocks_the_event_loop_is_named_in_the_log_with_its_request(
    client, caplog, monkeypatch
):
    seconds = []
    monkeypatch.setattr(receivers, "BLOCKED", 0.1)
    monkeypatch.setattr(receivers, "time", SimpleNamespace(perf_counter=lambda: sum(seconds)))

    def block(sender):
        seconds.append(0.3)

    with signals.post_create_instance.connected_to(block):
        reply = client.post("/pot", json={"name": "a"})
    who, request = f"{__name__}.{block.__qualname__}", f"[request {reply.headers['X-Request-ID']}]"
    assert lines(caplog) == [f"{who} blocked the event loop for 300 ms on post_create_instance {request}"]


@pytest.mark.parametrize("signal", [signals.pre_create_instance, signals.post_create_instance], ids=name_of)
def test_while_a_receiver_waits_others_are_served(client, signal):
    reached, events = threading.Event(), []

    async def waits(sender):
        events.append((asyncio.get_running_loop(), event := asyncio.Event()))
        reached.set()
        await event.wait()

    with (
        signal.connected_to(waits, Pot),
        in_thread(lambda: client.post("/pot", json={"name": "slow"}, timeout=PATIENCE)) as slow,
    ):
        assert reached.wait(PATIENCE)
        for number in range(5):
            assert client.post("/copy", json={"name": str(number)}).status == 201
            assert client.get("/pot").status == 200
        assert not slow.done()
        [(loop, event)] = events
        loop.call_soon_threadsafe(event.set)
    assert slow.result().status == 201


def test_a_pre_receiver_that_never_ends_does_not_hold_up_the_server_when_its_client_has_gone(client):
    reached, tasks = threading.Event(), []

    async def never_ends(sender):
        tasks.append((asyncio.get_running_loop(), asyncio.current_task()))
        reached.set()
        await asyncio.Event().wait()

    with signals.pre_create_instance.connected_to(never_ends):
        with socket.create_connection(("127.0.0.1", client.port)) as leaving:
            leaving.sendall(
                b"POST /pot HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 12\r\n\r\n{"name":"a"}'
            )
            assert reached.wait(PATIENCE)
        for _ in range(5):
            assert client.get("/pot").status == 200
    [(loop, task)] = tasks
    assert not task.done()
    assert Pot.objects.count() == 0
    loop.call_soon_threadsafe(task.cancel)  # or the server would wait for it, when it ends


# It changes who hears


def test_one_that_disconnects_others_keeps_them_from_being_called(client):
    heard = []

    def second(sender):
        heard.append("second")

    def third(sender):
        heard.append("third")

    def first(sender):
        heard.append("first")
        signal.disconnect(second)
        signal.disconnect(first)

    signal = signals.post_create_instance
    for receiver in (first, second, third):
        signal.connect(receiver)
    client.post("/pot", json={"name": "a"})
    client.post("/pot", json={"name": "b"})
    signal.disconnect(third)
    assert heard == ["first", "third", "third"]
    assert not signal.receivers


@every_kind
def test_one_that_connects_another_lets_it_hear_the_next(client, asynchronous):
    heard, signal = [], signals.post_create_instance

    def late(sender):
        heard.append("late")

    with signal.connected_to(as_kind(lambda _: signal.connect(late), asynchronous=asynchronous)):
        client.post("/pot", json={"name": "a"})
        assert heard == []
        client.post("/pot", json={"name": "b"})
    signal.disconnect(late)
    assert heard == ["late"]


# It sends again


@every_kind
def test_one_that_sends_the_same_signal_lets_everyone_hear_it_twice_in_order(client, asynchronous):
    heard, signal = [], signals.post_create_instance

    def first(sender):
        heard.append("first")

    def plain(sender, instance, handler):
        heard.append("again")
        if heard.count("again") == 1:
            signal.send(sender, instance=instance, handler=handler)

    async def coroutine(sender, instance, handler):
        heard.append("again")
        if heard.count("again") == 1:
            await signal.send_async(sender, instance=instance, handler=handler)

    def last(sender):
        heard.append("last")

    with ExitStack() as stack:
        for receiver in (first, coroutine if asynchronous else plain, last):
            stack.enter_context(signal.connected_to(receiver))
        assert client.post("/pot", json={"name": "a"}).status == 201
    assert heard == ["first", "again", "first", "again", "last", "last"]


def plain_without_end(sender, instance, handler):
    signals.post_create_instance.send(sender, instance=instance, handler=handler)


async def coroutine_without_end(sender, instance, handler):
    await signals.post_create_instance.send_async(sender, instance=instance, handler=handler)


@pytest.mark.parametrize("receiver", [plain_without_end, coroutine_without_end])
def test_one_that_sends_the_same_signal_without_end_fails_at_last(client, receiver, caplog):
    heard = []
    with (
        signals.post_create_instance.connected_to(receiver),
        signals.post_create_instance.connected_to(lambda _: heard.append("last")),
        recorded(signals.receiver_failed) as failed,
    ):
        reply = client.post("/pot", json={"name": "a"})
    assert reply.status == 201
    assert heard == ["last"]
    assert [type(told.arguments["error"]) for told in failed] == [RecursionError]
    failures = [line for line in lines(caplog) if " failed on " in line]
    request_id = reply.headers["X-Request-ID"]
    assert failures == [
        f"{__name__}.{receiver.__name__} failed on post_create_instance [request {request_id}]"
    ]
    assert client.post("/pot", json={"name": "b"}).status == 201


# It writes through hive


def test_one_that_creates_another_document_through_hive_is_a_client_like_any_other(api):
    replies = []

    async def copies(sender, instance):
        replies.append(await fetch(api.port, "/copy", method="POST", body=b'{"name": "copy"}'))

    with recorded() as heard, signals.post_create_instance.connected_to(copies, Pot):
        reply = api.post("/pot", json={"name": "a"})
    assert reply.status == 201
    assert [one.code for one in replies] == [201]
    assert [(told.name, told.sender) for told in heard] == [
        ("pre_create_instance", Pot),
        ("post_create_instance", Pot),
        ("pre_create_instance", Copy),
        ("post_create_instance", Copy),
    ]
    assert replies[0].headers["X-Request-ID"] != reply.headers["X-Request-ID"]
    assert (Pot.objects.count(), Copy.objects.count()) == (1, 1)


def test_one_that_creates_a_document_of_its_own_kind_hears_of_it_too(api):
    names = []

    async def copies(sender, instance):
        names.append(instance.name)
        if len(instance.name) < 4:
            body = b'{"name": "%sa"}' % instance.name.encode()
            assert (await fetch(api.port, "/pot", method="POST", body=body)).code == 201

    with signals.post_create_instance.connected_to(copies):
        assert api.post("/pot", json={"name": "a"}).json["name"] == "a"
    assert names == ["a", "aa", "aaa", "aaaa"]
    assert Pot.objects.count() == 4


def updates(heard):
    return [told.arguments["updated_fields"] for told in heard]


def nested(api, signal, write):
    """Connect a receiver to `signal` that writes once, by `write(path)`, and let a request begin."""
    replies = []

    async def writes(sender, handler):
        if not replies:
            replies.append(None)
            replies[0] = await write(handler.request.path)

    return signal.connected_to(writes, Pot), replies


def test_an_update_of_the_very_same_document_after_it_was_updated_comes_second(api):
    pk = Pot(name="a", size=1).save().pk
    receiver, replies = nested(
        api, signals.post_update_instance, lambda path: put(api.port, path, b'{"name": "c"}')
    )
    with recorded(signals.post_update_instance) as heard, receiver:
        reply = api.put(f"/pot/{pk}", json={"name": "b", "size": 2})
    assert (reply.status, reply.json["name"], reply.json["size"]) == (200, "b", 2)
    assert replies[0].code == 200
    assert updates(heard) == [
        {"name": {"from": "a", "to": "b"}, "size": {"from": 1, "to": 2}},
        {"name": {"from": "b", "to": "c"}},
    ]
    assert (Pot.objects.get().name, Pot.objects.get().size) == ("c", 2)


def test_an_update_of_the_very_same_document_before_it_is_updated_comes_first(api):
    pk = Pot(name="a", size=1).save().pk
    receiver, replies = nested(
        api, signals.pre_update_instance, lambda path: put(api.port, path, b'{"name": "c", "size": 3}')
    )
    with recorded(signals.post_update_instance) as heard, receiver:
        reply = api.put(f"/pot/{pk}", json={"name": "b"})
    assert (reply.status, reply.json["name"], reply.json["size"]) == (200, "b", 3)
    assert replies[0].code == 200
    assert updates(heard) == [
        {"name": {"from": "a", "to": "c"}, "size": {"from": 1, "to": 3}},
        {"name": {"from": "c", "to": "b"}},
    ]
    assert (Pot.objects.get().name, Pot.objects.get().size) == ("b", 3)


def test_an_update_of_other_fields_before_it_is_updated_is_kept(api):
    pk = Pot(name="a", size=1).save().pk
    receiver, _ = nested(api, signals.pre_update_instance, lambda path: put(api.port, path, b'{"size": 3}'))
    with recorded(signals.post_update_instance) as heard, receiver:
        api.put(f"/pot/{pk}", json={"name": "b"})
    assert updates(heard) == [{"size": {"from": 1, "to": 3}}, {"name": {"from": "a", "to": "b"}}]
    assert (Pot.objects.get().name, Pot.objects.get().size) == ("b", 3)


def test_the_same_update_before_it_is_updated_leaves_nothing_to_do(api):
    pk = Pot(name="a", size=1).save().pk
    receiver, _ = nested(api, signals.pre_update_instance, lambda path: put(api.port, path, b'{"name": "b"}'))
    with recorded(signals.post_update_instance) as heard, receiver:
        assert api.put(f"/pot/{pk}", json={"name": "b"}).json["name"] == "b"
    assert updates(heard) == [{"name": {"from": "a", "to": "b"}}, {}]


def test_an_update_of_a_document_that_is_deleted_before_it_is_a_404(api):
    pk = Pot(name="a", size=1).save().pk
    receiver, replies = nested(
        api, signals.pre_update_instance, lambda path: fetch(api.port, path, method="DELETE")
    )
    with recorded() as heard, receiver:
        reply = api.put(f"/pot/{pk}", json={"name": "b"})
    assert (reply.status, replies[0].code) == (404, 204)
    assert [told.name for told in heard] == [
        "pre_update_instance",
        "pre_delete_instance",
        "post_delete_instance",
    ]
    assert Pot.objects.count() == 0


def test_an_answer_stays_when_the_document_is_deleted_after_it_was_written(api):
    receiver, replies = nested(
        api, signals.post_update_instance, lambda path: fetch(api.port, path, method="DELETE")
    )
    pk = Pot(name="a", size=1).save().pk
    with receiver:
        reply = api.put(f"/pot/{pk}", json={"name": "b"})
    assert (reply.status, reply.json["name"], replies[0].code) == (200, "b", 204)
    assert Pot.objects.count() == 0


def test_a_document_that_is_deleted_before_it_is_deleted_is_a_404_and_gone_but_once(api):
    receiver, replies = nested(
        api, signals.pre_delete_instance, lambda path: fetch(api.port, path, method="DELETE")
    )
    pk = Pot(name="a", size=1).save().pk
    with recorded() as heard, receiver:
        reply = api.delete(f"/pot/{pk}")
    assert (reply.status, replies[0].code) == (404, 204)
    assert [told.name for told in heard] == [
        "pre_delete_instance",
        "pre_delete_instance",
        "post_delete_instance",
    ]
    assert Pot.objects.count() == 0


# It writes with mongoengine


@pytest.mark.parametrize(
    "signal",
    [signals.post_create_instance, signals.post_update_instance, signals.post_get_instance],
    ids=name_of,
)
def test_another_document_may_be_saved_in_a_thread(api, signal):
    pk = Pot(name="a", size=1).save().pk

    async def saves(sender, instance):
        await asyncio.to_thread(Copy(name=instance.name).save)

    ask = {"post_create_instance": api.post, "post_update_instance": api.put, "post_get_instance": api.get}
    path = "/pot" if ask[signal.name] == api.post else f"/pot/{pk}"
    body = {} if signal.name.startswith("post_get") else {"json": {"name": "b"}}
    with recorded() as heard, signal.connected_to(saves, Pot):
        assert ask[signal.name](path, **body).status in (200, 201)
    assert {told.sender for told in heard} == {Pot}
    assert Copy.objects.count() == 1


def test_the_same_document_may_be_saved_in_a_thread_and_the_answer_is_what_the_request_stored(api):
    def save_changed(instance):
        instance.name += "!"
        instance.save()

    async def saves(sender, instance):
        await asyncio.to_thread(save_changed, instance)

    with (
        recorded(signals.post_create_instance, signals.post_update_instance) as heard,
        signals.post_create_instance.connected_to(saves),
        signals.post_update_instance.connected_to(saves),
    ):
        reply = api.post("/pot", json={"name": "a", "size": 1})
        assert (reply.status, reply.json["name"]) == (201, "a")
        assert Pot.objects.get().name == "a!"
        reply = api.put(f"/pot/{reply.json['id']}", json={"name": "b"})
        assert (reply.status, reply.json["name"]) == (200, "b")
    assert Pot.objects.get().name == "b!"
    assert Pot.objects.get().size == 1
    assert [told.name for told in heard] == ["post_create_instance", "post_update_instance"]
    assert heard[1].arguments["updated_fields"] == {"name": {"from": "a!", "to": "b"}}


def test_the_same_document_may_be_deleted_in_a_thread(api):
    async def deletes(sender, instance):
        await asyncio.to_thread(instance.delete)

    with signals.post_create_instance.connected_to(deletes):
        assert api.post("/pot", json={"name": "a"}).status == 201
    assert Pot.objects.count() == 0
