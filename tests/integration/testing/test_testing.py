import asyncio
import gc
import threading
from pathlib import Path

import pytest
from mongoengine import Document, StringField
from tornado.web import RequestHandler

import hive
from hive import ModelHive, signals
from hive.testing import Client, recorded, serve

pytest_plugins = ["pytester"]


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
            await asyncio.to_thread(release.wait, 10)

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
    with serve(ECHO, colour="red") as one:
        with serve(ECHO, colour="blue") as other:
            assert one.port != other.port
            assert [client.get("/echo").json["setting"] for client in (one, other)] == ["red", "blue"]
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset
            other.get("/echo")
        assert one.get("/echo").status == 200
    gc.collect()
    assert "served" not in [thread.name for thread in threading.enumerate()]


def test_serve_ends_when_its_block_raises():
    with pytest.raises(ZeroDivisionError), serve(ECHO):
        raise ZeroDivisionError
    assert "served" not in [thread.name for thread in threading.enumerate()]


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
    with serve([("/", Starts)]) as client:
        thread = threading.Thread(target=quietly, args=(client,))
        thread.start()
        started.wait(10)
    thread.join()
    assert ended == ["request", "task"]


def quietly(client):
    with pytest.raises((OSError, AssertionError)):
        assert client.get("/").status != 200


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


def test_recorded_leaves_nothing_connected_even_if_its_block_raises():
    before = {name: len(signal.receivers) for name, signal in signals.core.items()}
    with pytest.raises(AssertionError), recorded():
        assert not signals.pre_get_list.has_receivers_for(Cat)
    assert {name: len(signal.receivers) for name, signal in signals.core.items()} == before


def test_recorders_can_be_nested():
    with recorded() as outer:
        signals.post_get_list.send(Cat, items=[1], handler=None)
        with recorded() as inner:
            signals.post_get_list.send(Cat, items=[2], handler=None)
    assert [signal.arguments["items"] for signal in outer] == [[1], [2]]
    assert [signal.arguments["items"] for signal in inner] == [[2]]


def test_what_was_recorded_can_be_read_after_the_block():
    with recorded() as heard:
        signals.post_get_list.send(Cat, items=[1], handler=None)
    signals.post_get_list.send(Cat, items=[2], handler=None)
    assert len(heard) == 1


# The fixtures, as the tests of an application get them


@pytest.fixture
def application(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(hive.__file__).parents[1]))
    pytester.makeconftest('pytest_plugins = ["hive.testing"]')
    return pytester


def test_the_fixtures_give_an_empty_database_for_each_test(application):
    application.makepyfile(
        """
        import mongoengine
        import pytest
        from hive import ModelHive
        from hive.testing import serve

        class Dog(mongoengine.Document):
            name = mongoengine.StringField(unique=True)

        @pytest.fixture(params=["mongomock_database", "mongodb_database"])
        def database(request):
            return request.getfixturevalue(request.param)

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(database, turn):
            assert database["dog"].count_documents({}) == 0
            with serve(ModelHive.routes_for(Dog)) as client:
                assert client.post("/dog", json={"name": "Rex"}).status == 201
                assert client.post("/dog", json={"name": "Rex"}).status == 409
            assert database["dog"].count_documents({}) == 1

        def test_nothing_stays_connected():
            with pytest.raises(mongoengine.ConnectionFailure):
                Dog.objects.count()
        """
    )
    result = application.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=5)


def test_a_server_that_is_named_is_used_and_left_alone(application, mongodb_server, monkeypatch):
    monkeypatch.setenv("HIVE_TEST_MONGODB_URI", mongodb_server)
    application.makepyfile(
        f"""
        def test_it(mongodb_server, mongodb_database):
            assert mongodb_server == {mongodb_server!r}
            mongodb_database["x"].insert_one({{}})
            assert mongodb_database.name.startswith("hive-")
        """
    )
    application.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


# Classes of one name


def model_named(name):
    return type(name, (Document,), {"name": StringField()})


NAMESAKES = [model_named("Namesake"), model_named("Namesake")]


@pytest.mark.parametrize("turn", range(2))
def test_two_models_of_one_name_both_lose_the_connection_of_the_test_before(turn, mongomock_database):
    for model in NAMESAKES:
        assert model._get_collection().database.client is mongomock_database.client
