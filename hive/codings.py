"""Content codings (RFC 9110): how large answers are compressed for the clients that say what they take."""

import zlib
from typing import Any

zstandard: Any
try:
    import zstandard
except ImportError:  # it comes with the extra `fast`
    zstandard = None

LARGE = 8192
"""Bytes from which on an answer is worth the time to compress it."""
GZIP_LEVEL = 5
ZSTD_LEVEL = 3


class Gzip:
    """The coding that every client takes."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)

    def piece(self, data: bytes) -> bytes:
        """The next piece of the answer, which a client can decode as soon as it is there."""
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)

    def last(self, data: bytes) -> bytes:
        """The rest of the answer."""
        return self._stream.compress(data) + self._stream.flush()


class Zstandard:
    """Faster and smaller than gzip (RFC 8878)."""

    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()

    def piece(self, data: bytes) -> bytes:
        """The next piece of the answer, which a client can decode as soon as it is there."""
        piece: bytes = self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        return piece

    def last(self, data: bytes) -> bytes:
        """The rest of the answer."""
        last: bytes = self._stream.compress(data) + self._stream.flush()
        return last


CODINGS: dict[str, type[Any]] = {**({"zstd": Zstandard} if zstandard else {}), "gzip": Gzip}
"""The codings that there are, the best first."""


def accepted(header: str) -> str | None:
    """The coding that a client with this ``Accept-Encoding`` likes most, the best of several; or None."""
    weights = dict(map(weighted, header.lower().split(",")))
    liked = [(weights.get(name, weights.get("*", 0.0)), name) for name in CODINGS]
    weight, name = max(liked, key=lambda one: one[0])
    return name if weight > weights.get("identity", 0.0) or weight == 1 else None


def weighted(text: str) -> tuple[str, float]:
    """A coding and its weight, from ``gzip;q=0.5``; what is not understood weighs nothing."""
    name, *parameters = text.replace(" ", "").split(";")
    weight = next((one.removeprefix("q=") for one in parameters if one.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0
