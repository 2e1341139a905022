"""The limits of hive.HTTPServer, and what hive.run does with the coroutine of a program."""

import asyncio
from inspect import getdoc

import pytest
from tornado.httpserver import HTTPServer as TornadoServer
from tornado.web import Application

import hive
from hive import HTTPServer
from hive.server import DEFAULTS


def test_defaults_are_those_of_the_docstring():
    text = " ".join(getdoc(HTTPServer).split())
    assert "which may have 16 KiB" in text
    assert "within 60 seconds each" in text
    assert all(f"``{name}``" in text for name in DEFAULTS)
    assert DEFAULTS["max_header_size"] == 16 * 1024
    assert (DEFAULTS["idle_connection_timeout"], DEFAULTS["body_timeout"]) == (60, 60)


def parameters(server):
    made = server.conn_params
    return {
        "idle_connection_timeout": made.header_timeout,
        "body_timeout": made.body_timeout,
        "max_header_size": made.max_header_size,
        "max_body_size": made.max_body_size,
    }


def test_defaults_reach_tornado_and_its_arguments_go_before_them():
    application = Application()
    assert parameters(HTTPServer(application)) == DEFAULTS
    own = {"idle_connection_timeout": 1.0, "body_timeout": 2.0, "max_header_size": 3, "max_body_size": 4}
    assert parameters(HTTPServer(application, **own)) == own
    assert parameters(HTTPServer(application, body_timeout=2.0)) == DEFAULTS | {"body_timeout": 2.0}


def test_server_is_a_tornado_server_in_all_else():
    assert issubclass(hive.HTTPServer, TornadoServer)
    server = HTTPServer(Application(), xheaders=True, no_keep_alive=True, decompress_request=True)
    assert (server.xheaders, server.conn_params.no_keep_alive, server.conn_params.decompress) == (
        True,
        True,
        True,
    )


# hive.run


async def kind_of_loop():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_run_gives_what_its_coroutine_gives_on_the_faster_loop():
    assert hive.run(kind_of_loop()) == "uvloop"


def test_run_raises_what_its_coroutine_raises():
    async def fail():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        hive.run(fail())


def test_run_ends_the_tasks_that_are_left_and_closes_its_loop():
    ended = []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def main():
        main.task = asyncio.create_task(endless())
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    assert hive.run(main()).is_closed()
    assert ended == ["cancelled"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_run_is_not_for_a_loop_that_runs():
    async def main():
        coroutine = kind_of_loop()
        try:
            with pytest.raises(RuntimeError, match=r"loop.* is running"):
                hive.run(coroutine)
        finally:
            coroutine.close()

    asyncio.run(main())
