"""A program is served with what the extra `fast` installs, and without it."""

import gzip
import signal

import pytest
import zstandard

from hive.testing import Client
from tests.support.programs import Program

PROGRAM = """
import sys
if sys.argv[1:]:
    sys.modules.update(dict.fromkeys(sys.argv[1:]))
import asyncio, signal
import mongoengine, mongomock
import hive
from hive import codings
from tornado.netutil import bind_sockets
from tornado.web import Application

class Note(mongoengine.Document):
    text = mongoengine.StringField()

mongoengine.connect("x", mongo_client_class=mongomock.MongoClient, uuidRepresentation="standard")

async def main():
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, interrupted.set)
    server = hive.HTTPServer(Application(hive.ModelHive.routes_for(Note, stream=True)))
    [socket] = sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    print(loop, ",".join(codings.CODINGS), socket.getsockname()[1])
    await interrupted.wait()
    server.stop()
    await server.close_all_connections()
    return "ended"

print(hive.run(main()))
"""
DECODED = {
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.mark.parametrize(
    ("blocked", "told", "accepted"),
    [
        ([], ("uvloop", "zstd,gzip"), {"zstd": "zstd", "zstd, gzip": "zstd", "*": "zstd"}),
        (["uvloop", "zstandard"], ("asyncio", "gzip"), {"zstd": None, "zstd, gzip": "gzip", "*": "gzip"}),
    ],
    ids=["with", "without"],
)
def test_a_program_is_served_with_the_extra_fast_and_without(tmp_path, blocked, told, accepted):
    with Program(tmp_path, "-W", "error", "-c", PROGRAM, *blocked) as program:
        match = program.wait_for(r"(\w+) (\S+) (\d+)\n")
        assert match.groups()[:2] == told
        client = Client(int(match[3]))
        assert client.post("/note", json={"text": "x" * 20_000}).status == 201
        for path in ("/note", "/note?per_page=all"):
            plain = client.get(path)
            assert [note["text"] for note in plain.json] == ["x" * 20_000]
            for asked, given in accepted.items():
                reply = client.get(path, headers={"Accept-Encoding": asked})
                assert reply.headers["Content-Encoding"] == given
                assert (DECODED[given](reply.body) if given else reply.body) == plain.body
        assert program.end(signal.SIGTERM) == 0
    assert program.output == match[0] + "ended\n"
