"""The query string of a request, as what it asks for. ``docs/queries.md`` tells the language."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from hive import cursors, filters, orders, shapes
from hive.cursors import Position
from hive.encoding import Encoder
from hive.errors import BadRequest
from hive.filters import AnyOf, Condition
from hive.names import Allowed, known, quoted, unknown
from hive.orders import Order
from hive.shapes import Shape

PATH = "/%~!$&'()*+,;=:@"
"""What may stand in a path beside letters, digits and ``-._`` (RFC 3986); clients send more."""
PER_PAGE = 20
MOST_PER_PAGE = 100
MOST_PARAMETERS = 200
INT64 = 2**63 - 1
EVERYTHING = "all"
WINDOW = ("page", "after", "before")
NUMBERS = ("page", "per_page")
SHAPE = ("fields", "expand")
CONTROLS = (*WINDOW, "per_page", "sort", "count", "q", *SHAPE)
"""The parameters that are no filters; a field of such a name is filtered by its ``__eq``."""
ELSEWHERE = {
    **dict.fromkeys(("limit", "page_size", "pagesize", "size", "max_results"), "per_page"),
    **dict.fromkeys(("offset", "skip", "start"), "page"),
    **dict.fromkeys(("order", "order_by", "orderby", "ordering"), "sort"),
    **dict.fromkeys(("search", "query"), "q"),
    **dict.fromkeys(("select", "only", "projection"), "fields"),
    **dict.fromkeys(("include", "embed", "embedded", "populate"), "expand"),
    **dict.fromkeys(("cursor", "starting_after"), "after"),
    **dict.fromkeys(("or", "where"), "any_of"),
}
"""Names that controls have elsewhere."""


@dataclass(frozen=True)
class Vocabulary:
    """What the names in a query string mean, to this request: which fields there are, and what is behind."""

    encoder: Encoder
    filterable: Allowed
    find: Callable[[Any, str], Any]
    routes_of: Callable[[Any], Any]
    has_text: bool = False


@dataclass(frozen=True)
class Window:
    """Which part of a list is meant: by number, what is `after` or `before` a position, or all."""

    number: int | None = None
    size: int = PER_PAGE
    after: Position | None = None
    before: Position | None = None
    all: bool = False

    @property
    def skip(self) -> int:
        """How many items come before; a number that MongoDB can take."""
        return min(((self.number or 1) - 1) * self.size, INT64 - self.size - 1)


@dataclass(frozen=True)
class Listing:
    """What a request for a list asks for; `order` is None where it leaves that to the list."""

    conditions: tuple[Condition | AnyOf, ...] = ()
    text: str | None = None
    order: Order | None = None
    walkable: bool = True  # whether what comes after an item in this order can be told
    window: Window = Window()
    shape: Shape = field(default_factory=Shape)
    count: str | None = None
    projection: tuple[str, ...] | None = None  # the names in MongoDB, where only these are needed
    bound: str = ""  # what cursors are bound to: the list, its filters and its order


def listing(request: Any, vocabulary: Vocabulary | None, key: AESSIV) -> Listing:
    """What a request for a list asks for. `key` is that of cursors. Raises `BadRequest`.

    Without a `vocabulary` there are no fields that it could name: such a list has pages only.
    """
    pairs = texts_of(request)
    controls = {name: text for name, text in pairs if name in CONTROLS}
    for name in controls:
        if sum(name == other for other, _ in pairs) > 1:
            raise BadRequest(f"The query parameter {name!r} is given more than once.")
    rest = [(name, text) for name, text in pairs if name not in controls]
    if vocabulary is None:
        if named := [name for name, _ in pairs if name not in NUMBERS]:
            raise unknown(f"The query parameter {named[0]!r} is not known here", named[0], NUMBERS)
        return Listing(window=window(controls, "", key))
    for name, _ in rest:
        check_meant(name, vocabulary)
    if "q" in controls and not vocabulary.has_text:
        raise BadRequest("'q' is not known here, for there is no text index.")
    bound = repr((request.path, sorted(rest), controls.get("sort"), controls.get("q")))
    return Listing(
        tuple(filters.conditions(rest, vocabulary.encoder, vocabulary.filterable, vocabulary.find)),
        controls.get("q"),
        orders.order(controls.get("sort"), vocabulary.encoder, vocabulary.filterable),
        orders.is_walkable(controls.get("sort"), vocabulary.encoder, vocabulary.filterable),
        window(controls, bound, key),
        shape(controls, vocabulary),
        count(controls, request),
        bound=bound,
    )


def check_meant(name: str, vocabulary: Vocabulary) -> None:
    """That a name is no control that is spelled wrongly, or as elsewhere. Raises `BadRequest`."""
    nearest = ELSEWHERE.get(name) or next(iter(get_close_matches(name, CONTROLS, n=1, cutoff=0.75)), None)
    if nearest and known(vocabulary.encoder, name.partition("__")[0], vocabulary.filterable) is None:
        raise BadRequest(f"{quoted(name)} is no field or parameter here: did you mean {nearest!r}?")


def conditions(request: Any, vocabulary: Vocabulary) -> tuple[Condition | AnyOf, ...]:
    """Which documents a request means that changes them: by filters only. Raises `BadRequest`."""
    pairs = texts_of(request)
    for name, _ in pairs:
        if name in CONTROLS:
            raise BadRequest(f"The query parameter {name!r} is not for documents that are to be changed.")
        check_meant(name, vocabulary)
    return tuple(filters.conditions(pairs, vocabulary.encoder, vocabulary.filterable, vocabulary.find))


def instance(request: Any, vocabulary: Vocabulary) -> Shape:
    """In which shape a request asks for one document. Raises `BadRequest`."""
    return shape(parameters(request, SHAPE), vocabulary)


def nothing(request: Any) -> None:
    """That the query string is empty. Raises `BadRequest`."""
    parameters(request)


def parameters(request: Any, known: tuple[str, ...] = ()) -> dict[str, str]:
    """The query parameters by name. Raises `BadRequest` for one that is not known, or is given twice."""
    texts: dict[str, str] = {}
    for name, text in texts_of(request):
        if name not in known:
            raise unknown(f"The query parameter {name!r} is not known here", name, known)
        if name in texts:
            raise BadRequest(f"The query parameter {name!r} is given more than once.")
        texts[name] = text
    return texts


def texts_of(request: Any) -> list[tuple[str, str]]:
    """The names and texts in the query string. Raises `BadRequest` for too many, or what is not UTF-8."""
    pairs = [(name, text) for name, texts in request.query_arguments.items() for text in texts]
    if len(pairs) > MOST_PARAMETERS:
        raise BadRequest(f"There are more than {MOST_PARAMETERS} query parameters.")
    return [(utf8(name.encode("latin-1"), "name of a parameter"), utf8(text, name)) for name, text in pairs]


def utf8(text: bytes, what: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{what!r} is not UTF-8 in the query string.") from None


def shape(controls: dict[str, str], vocabulary: Vocabulary) -> Shape:
    expand = filters.split(controls["expand"]) if "expand" in controls else []
    tree = shapes.expanded(expand, vocabulary.encoder, vocabulary.routes_of)
    if "fields" not in controls:
        return Shape(None, tree)
    fields = filters.split(controls["fields"])
    return Shape(shapes.chosen(fields, vocabulary.encoder, tree, vocabulary.routes_of), tree)


def window(controls: dict[str, str], bound: str, key: AESSIV) -> Window:
    if sum(name in controls for name in WINDOW) > 1:
        raise BadRequest("Pass only one of 'page', 'after' and 'before'.")
    if controls.get("per_page") == EVERYTHING:
        if any(name in controls for name in WINDOW):
            raise BadRequest("per_page=all is the whole list, and has no pages.")
        return Window(all=True)
    size = min(positive("per_page", controls.get("per_page", str(PER_PAGE))), MOST_PER_PAGE)
    positions = {
        name: cursors.read(name, controls[name], bound, key) for name in WINDOW[1:] if name in controls
    }
    number = positive("page", controls["page"]) if "page" in controls else None
    return Window(number, size, positions.get("after"), positions.get("before"))


def count(controls: dict[str, str], request: Any) -> str | None:
    """How the total is counted: ``exact``, ``estimated`` or not; by parameter or ``Prefer`` (RFC 7240)."""
    if "count" in controls:
        if controls["count"] not in ("exact", "estimated"):
            raise BadRequest("The query parameter 'count' must be 'exact' or 'estimated'.")
        return controls["count"]
    told = re.sub('[ "]', "", request.headers.get("Prefer", "")).lower()
    preferences = [preference.partition(";")[0] for preference in told.split(",")]
    return next((one for one in ("exact", "estimated") if f"count={one}" in preferences), None)


def positive(name: str, text: str) -> int:
    """A whole number from 1 up, in plain digits."""
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) > 0):
        raise BadRequest(f"The query parameter {name!r} must be a positive whole number.")
    return int(text)


def link(request: Any, windows: dict[str, list[tuple[str, Any]]]) -> str:
    """The value of the ``Link`` header (RFC 8288): this list, with other parameters of its window.

    These are numbers and cursors, which stand in a URL as they are.
    """
    others = [pair for pair in texts_of(request) if pair[0] not in (*WINDOW, "per_page")]
    rest = f"&{urlencode(others)}" if others else ""
    path = quote(request.path, safe=PATH)
    return ", ".join(
        f'<{path}?{"&".join(f"{name}={value}" for name, value in window)}{rest}>; rel="{rel}"'
        for rel, window in windows.items()
    )
