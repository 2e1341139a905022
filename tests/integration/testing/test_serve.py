"""The client and the server of hive.testing, and what its recorder hears of requests."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from mongoengine import Document, StringField
from tornado.web import RequestHandler

from hive import ModelHive, signals
from hive.testing import Client, recorded, serve
from tests.support.threads import PATIENCE


class Cat(Document):
    name = StringField()
    tags = StringField()


class Echo(RequestHandler):
    def get(self):
        self.write({"method": "GET", "setting": self.settings.get("colour")})

    def post(self):
        self.write(
            {
                "body": self.request.body.decode(),
                "type": self.request.headers.get("Content-Type"),
                "own": self.request.headers.get("X-Own"),
                "arguments": {
                    key: [v.decode() for v in values] for key, values in self.request.arguments.items()
                },
            }
        )

    put = patch = delete = post


ECHO = [("/echo", Echo)]


@pytest.fixture
def client():
    with serve(ECHO, colour="red") as client:
        yield client


# The client


def test_an_answer_has_status_headers_body_and_json(client):
    reply = client.get("/echo")
    assert reply.status == 200
    assert reply.headers["content-type"] == reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert reply.json == {"method": "GET", "setting": "red"}
    assert isinstance(reply.body, bytes)


@pytest.mark.parametrize("verb", ["post", "put", "patch", "delete"])
def test_every_verb_sends_json_forms_and_raw_bodies(client, verb):
    send = getattr(client, verb)
    assert send("/echo", json={"a": [1]}).json["body"] == '{"a": [1]}'
    assert send("/echo", json={"a": 1}).json["type"] == "application/json"
    assert send("/echo", form={"a": "1 2", "b": ["x", "y"]}).json["arguments"] == {
        "a": ["1 2"],
        "b": ["x", "y"],
    }
    raw = send("/echo", body=b"raw", headers={"Content-Type": "text/plain", "X-Own": "mine"}).json
    assert (raw["body"], raw["type"], raw["own"]) == ("raw", "text/plain", "mine")


def test_a_content_type_of_ones_own_goes_before_that_of_json(client):
    headers = {"Content-Type": "application/merge-patch+json"}
    assert client.patch("/echo", json={}, headers=headers).json["type"] == headers["Content-Type"]


def test_a_client_gives_up_after_its_timeout(client):
    release = threading.Event()

    class Waits(RequestHandler):
        async def get(self):
            await asyncio.to_thread(release.wait, PATIENCE)

    with serve([("/waits", Waits)]) as waiting:
        with pytest.raises(TimeoutError):
            waiting.get("/waits", timeout=0.05)
        release.set()


# The server


def test_serve_answers_unknown_addresses_with_problems(client):
    reply = client.get("/nothing")
    assert reply.status == 404
    assert reply.json["title"] == "Not Found"


def test_serve_takes_every_setting_of_an_application():
    class Other(RequestHandler):
        def prepare(self):
            self.set_status(418)
            self.finish()

    with serve(ECHO, default_handler_class=Other) as client:
        assert client.get("/nothing").status == 418


def test_serve_refuses_a_bad_application_at_once():
    with pytest.raises(AssertionError), serve([("/", Echo, {}, "name", "one too many")]):
        pass


def test_several_applications_run_side_by_side_and_end_with_their_blocks():
    before = threading.enumerate()
    with serve(ECHO, colour="red") as one:
        with serve(ECHO, colour="blue") as other:
            assert one.port != other.port
            assert [client.get("/echo").json["setting"] for client in (one, other)] == ["red", "blue"]
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            other.get("/echo")
        assert one.get("/echo").status == 200
    gc.collect()
    assert set(threading.enumerate()) <= set(before)


def test_serve_ends_when_its_block_raises():
    before = threading.enumerate()
    with pytest.raises(ZeroDivisionError), serve(ECHO):
        raise ZeroDivisionError
    assert set(threading.enumerate()) <= set(before)


def test_serve_waits_for_requests_and_cancels_what_the_application_left_running():
    ended = []

    class Starts(RequestHandler):
        async def get(self):
            self.task = asyncio.create_task(self.forever())
            started.set()
            await asyncio.sleep(0.1)
            ended.append("request")

        async def forever(self):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("task")

    started = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        with serve([("/", Starts)]) as client:
            reply = executor.submit(client.get, "/")
            assert started.wait(PATIENCE)
        assert reply.result().status == 200
    assert ended == ["request", "task"]


def test_a_client_can_be_made_for_any_port(client):
    assert Client(client.port).get("/echo").status == 200


# The recorder


def test_recorded_hears_all_signals_in_order_with_sender_and_arguments(mongomock_database):
    with serve(ModelHive.routes_for(Cat)) as client, recorded() as heard:
        client.post("/cat", json={"name": "Tom"})
    assert [signal.name for signal in heard] == ["pre_create_instance", "post_create_instance"]
    assert heard[0].sender is Cat
    assert heard[0].arguments.keys() == {"arguments", "handler"}
    name, sender, arguments = heard[1]
    assert (name, sender, arguments["instance"].name) == ("post_create_instance", Cat, "Tom")


def test_recorded_hears_only_the_signals_that_it_is_given(mongomock_database):
    with serve(ModelHive.routes_for(Cat)) as client, recorded(signals.post_create_instance) as heard:
        client.post("/cat", json={"name": "Tom"})
        client.get("/cat")
    assert [signal.name for signal in heard] == ["post_create_instance"]
