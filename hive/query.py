"""The query string, as typed values."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hive.errors import BadRequest

PER_PAGE = 20
MOST_PER_PAGE = 100
INT64 = 2**63 - 1


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for: ``?page=2&per_page=50``; by default the first 20 items."""

    number: int
    size: int

    @property
    def skip(self) -> int:
        """How many items come before; a number that MongoDB can take."""
        return min((self.number - 1) * self.size, INT64 - self.size - 1)

    def links(self, path: str, more: bool) -> str:
        """The value of the ``Link`` header (RFC 8288): first, and prev and next if there are such pages."""
        pages = {"first": 1} | ({"prev": self.number - 1} if self.number > 1 else {})
        pages |= {"next": self.number + 1} if more else {}
        return ", ".join(
            f'<{path}?{urlencode({"page": number, "per_page": self.size})}>; rel="{name}"'
            for name, number in pages.items()
        )


def page(request: Any) -> Page:
    """The page that a request asks for. Raises `BadRequest`."""
    texts = parameters(request, ("page", "per_page"))
    number = positive("page", texts.get("page", "1"))
    return Page(number, min(positive("per_page", texts.get("per_page", str(PER_PAGE))), MOST_PER_PAGE))


def parameters(request: Any, known: tuple[str, ...] = ()) -> dict[str, str]:
    """The query parameters by name. Raises `BadRequest` for one that is not known, or is given twice."""
    texts = {}
    for name, values in request.query_arguments.items():
        if name not in known:
            raise BadRequest(f"The query parameter {name!r} is not known here.")
        if len(values) > 1:
            raise BadRequest(f"The query parameter {name!r} is given more than once.")
        texts[name] = values[0].decode("utf-8", "replace")
    return texts


def positive(name: str, text: str) -> int:
    """A whole number from 1 up, in plain digits."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0):
        raise BadRequest(f"The query parameter {name!r} must be a positive whole number.")
    return int(text)
