"""Which coding a client likes most, and answers that are coded piece by piece."""

import zlib

import pytest
import zstandard
from hypothesis import given, strategies as st

from hive.codings import CODINGS, accepted

LIKED = [
    ("gzip", "gzip"), ("zstd", "zstd"), ("gzip, zstd", "zstd"), ("gzip, deflate, br", "gzip"),
    ("gzip;q=1, zstd;q=0.5", "gzip"), ("zstd;q=0, gzip", "gzip"), ("GZIP", "gzip"), ("*", "zstd"),
    ("*;q=0.5, zstd;q=0", "gzip"), ("gzip;q=0", None), ("*;q=0", None), ("identity", None), ("", None),
    ("identity;q=1, gzip;q=0.5", None), ("gzip;q=0.5, identity;q=0.1", "gzip"), ("br, deflate", None),
    ("gzip;q=banana", None), (";;;,,,=", None), ("gzipped", None), ("gzip;q=nan", None),
]  # fmt: skip


@pytest.mark.parametrize(("header", "coding"), LIKED)
def test_the_coding_is_the_one_that_the_client_likes_most(header, coding):
    assert accepted(header) == coding


@given(st.text(alphabet="gzipstd*identy;q=0.15, \t-", max_size=40))
def test_no_header_is_too_strange(header):
    assert accepted(header) in (None, *CODINGS)


@given(st.text(alphabet=[chr(code) for code in range(256)]))
def test_nothing_is_too_strange(header):
    assert accepted(header) in (None, *CODINGS)


def test_zstandard_is_offered_where_it_is_installed_and_goes_first():
    assert list(CODINGS) == ["zstd", "gzip"]


# Pieces


def decoder(coding):
    return (
        zlib.decompressobj(zlib.MAX_WBITS | 16)
        if coding == "gzip"
        else zstandard.ZstdDecompressor().decompressobj()
    )


@given(st.sampled_from(sorted(CODINGS)), st.lists(st.binary(max_size=50)), st.binary(max_size=50))
def test_each_piece_can_be_decoded_when_it_is_there(coding, pieces, last):
    coder, reader = CODINGS[coding](), decoder(coding)
    assert [reader.decompress(coder.piece(piece)) for piece in pieces] == pieces
    assert reader.decompress(coder.last(last)) == last
    assert reader.eof


@pytest.mark.parametrize("coding", CODINGS)
def test_what_lacks_its_last_piece_is_known_to(coding):
    coder, reader = CODINGS[coding](), decoder(coding)
    assert reader.decompress(coder.piece(b"x" * 1000)) == b"x" * 1000
    assert not reader.eof
