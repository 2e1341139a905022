"""Large answers are compressed for who takes that."""

import gzip
import http.client
from contextlib import closing

import mongoengine as me
import pytest
import zstandard

from hive import ModelHive, codings
from hive.testing import serve


class CodingNote(me.Document):
    name = me.StringField()


ROUTES = ModelHive.routes_for(CodingNote)


@pytest.fixture
def quick(mongomock_database):
    with serve(ROUTES) as client:
        yield client


def put_some(count=3, size=10):
    for index in range(count):
        CodingNote(name=f"{index}" * size).save()


def varies(reply):
    return {name.strip() for name in reply.headers.get("Vary", "").split(",")} - {""}


DECODED = {
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.fixture
def large(quick):
    put_some(20, 1000)
    return quick


@pytest.mark.parametrize(
    ("header", "coding"),
    [("gzip", "gzip"), ("zstd", "zstd"), ("gzip, zstd", "zstd"), ("br", None), (";;;,,,=", None)],
)
def test_a_large_answer_is_coded_as_the_client_likes_it(large, header, coding):
    plain = large.get("/coding_note", headers={"Accept-Encoding": "identity"})
    assert len(plain.body) > codings.LARGE
    reply = large.get("/coding_note", headers={"Accept-Encoding": header})
    assert reply.status == 200
    assert reply.headers["Content-Encoding"] == coding
    assert int(reply.headers["Content-Length"]) == len(reply.body)
    if coding is None:
        assert reply.body == plain.body
    else:
        assert DECODED[coding](reply.body) == plain.body
        assert len(reply.body) < len(plain.body) / 2


def test_nothing_is_coded_for_who_does_not_say_what_he_takes(large):
    with closing(http.client.HTTPConnection("127.0.0.1", large.port, timeout=120)) as connection:
        connection.putrequest("GET", "/coding_note", skip_accept_encoding=True)
        connection.endheaders()
        response = connection.getresponse()
        assert response.headers["Content-Encoding"] is None
        assert response.read().startswith(b"[")


def test_a_small_answer_is_not_coded(quick):
    put_some()
    assert "Content-Encoding" not in quick.get("/coding_note", headers={"Accept-Encoding": "gzip"}).headers


@pytest.mark.parametrize("more", [0, 1])
def test_large_begins_where_it_is_said_to(quick, monkeypatch, more):
    put_some()
    size = len(quick.get("/coding_note").body)
    monkeypatch.setattr(codings, "LARGE", size + more)
    reply = quick.get("/coding_note", headers={"Accept-Encoding": "gzip"})
    assert ("Content-Encoding" in reply.headers) is (more == 0)


@pytest.mark.parametrize(("coding", "path"), [("gzip", "/coding_note"), ("zstd", "/coding_note/{pk}")])
def test_the_tag_of_a_coded_answer_names_its_coding_and_is_known_again(large, coding, path):
    path = path.format(pk=CodingNote(name="x" * codings.LARGE).save().pk)
    headers = {"Accept-Encoding": coding}
    plain, coded = large.get(path), large.get(path, headers=headers)
    own, other = plain.headers["Etag"], coded.headers["Etag"]
    assert other == f'{own[:-1]}-{coding}"'
    for tag, how in ((own, {}), (other, headers)):
        for known in (tag, f"W/{tag}", f'"x", {tag}', f"{own}, {other}"):
            reply = large.get(path, headers=how | {"If-None-Match": known})
            assert (reply.status, reply.body, reply.headers["Etag"]) == (304, b"", tag), known
            assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize("coding", DECODED)
def test_who_has_an_answer_in_one_coding_has_it_in_no_other(large, coding):
    tags = {
        how: large.get("/coding_note", headers={"Accept-Encoding": how}).headers["Etag"]
        for how in ("identity", *DECODED)
    }
    assert len(set(tags.values())) == 3
    assert not any(tag.startswith("W/") for tag in tags.values())
    plain = large.get("/coding_note").body
    for other in tags.keys() - {coding}:
        how = {"Accept-Encoding": coding, "If-None-Match": tags[other]}
        reply = large.get("/coding_note", headers=how)
        assert (reply.status, reply.headers["Etag"]) == (200, tags[coding])
        assert DECODED[coding](reply.body) == plain


def test_one_document_is_coded_too(quick):
    boss = CodingNote(name="x" * 20_000).save()
    reply = quick.get(f"/coding_note/{boss.pk}", headers={"Accept-Encoding": "zstd"})
    assert reply.headers["Content-Encoding"] == "zstd"
    assert len(DECODED["zstd"](reply.body)) > 20_000


def test_no_error_is_coded(large):
    reply = large.get("/coding_note?" + "x" * 9000 + "=1", headers={"Accept-Encoding": "gzip"})
    assert reply.status == 400
    assert reply.json["status"] == 400


@pytest.mark.parametrize("size", [1000, 100])  # coded by hive, and by Tornado
@pytest.mark.parametrize("accept", ["gzip", "zstd", "identity"])
def test_tornado_may_compress_too(mongomock_database, accept, size):
    put_some(20, size)
    with serve(ROUTES, compress_response=True) as client:
        plain = client.get("/coding_note", headers={"Accept-Encoding": "identity"})
        reply = client.get("/coding_note", headers={"Accept-Encoding": accept})
        coding = reply.headers["Content-Encoding"]
        assert coding in (None, accept)
        assert (DECODED[coding](reply.body) if coding else reply.body) == plain.body
        assert "Accept-Encoding" in varies(reply)
        tag = {"If-None-Match": reply.headers["Etag"], "Accept-Encoding": accept}
        assert client.get("/coding_note", headers=tag).status == 304


@pytest.mark.parametrize(("coding", "verb"), [("gzip", "PUT"), ("zstd", "PATCH"), ("gzip", "DELETE")])
def test_the_tag_of_a_coded_answer_tells_the_state_for_a_write(quick, verb, coding):
    path = f"/coding_note/{CodingNote(name='x' * codings.LARGE).save().pk}"
    tag = quick.get(path, headers={"Accept-Encoding": coding}).headers["Etag"]
    body = None if verb == "DELETE" else {"name": "y"}
    refused = quick.request(verb, path, json=body, headers={"If-None-Match": tag})
    assert (refused.status, quick.get(path).json["name"][0]) == (412, "x")
    done = quick.request(verb, path, json=body, headers={"If-Match": tag})
    assert done.status == (204 if verb == "DELETE" else 200)
    assert quick.request(verb, path, json=body, headers={"If-Match": tag}).status in (404, 412)
