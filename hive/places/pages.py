"""Pages of lists: the items that a request asks for, and whether there are more on either side."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeGuard

from hive import filters, indexes, orders
from hive.cursors import Position
from hive.errors import BadRequest
from hive.filters import AnyOf, Condition
from hive.orders import KEY, Order
from hive.places.place import Item
from hive.query import Listing, Window
from hive.refusals import searching, sorting
from hive.rows import BY_KEY, Raw, Rows

Readable = Callable[[list[Item]], list[Item]] | None
"""What leaves out the items that the client may not read; None where it may read all."""
MOST_AT_ONCE = 200
"""Items that are looked at, one after another, to know which may be read."""
STREAMED_AT_ONCE = 500
"""Items in a piece of a stream."""
STREAMED_BY_QUERY = 10_000
"""Items after which a stream asks anew, from where it is, so that no query of it takes long."""
PAGES_ONLY = "A list in this order has pages only: pass 'page'."
RELEVANCE: Any = (("score", {"$meta": "textScore"}),)


@dataclass
class Page:
    """Part of a list, of what the client may read there.

    `ends` are the positions of its first and last item, None where a list has none. `is_numbered` says that
    it is one of numbered pages, as where no filter tells what comes after an item. `total` is the number of
    items in the whole list, where that was asked for.
    """

    items: list[Item]
    has_before: bool = False
    has_after: bool = False
    is_numbered: bool = True
    ends: tuple[Position, Position] | None = None
    options: Any = None  # how the collection of these positions has its values in BSON
    total: int | None = None


def numbered(items: Sequence[Any], window: Window) -> Page:
    """A page of a list that is in memory."""
    part = items[window.skip : window.skip + window.size + 1]
    return Page(list(part[: window.size]), window.skip > 0, len(part) > window.size, total=len(items))


def stored(
    rows: Rows,
    listing: Listing,
    item: Callable[[Raw], Item],
    readable: Readable,
    *,
    indexed: bool | None,
) -> Page:
    """Part of the documents in `rows`; only what MongoDB finds by an index, if the list must be `indexed`.

    None says that they are few, so that no index matters.
    """
    order = order_of(rows, listing)
    if indexed is not None:
        check_index(rows, listing, required=indexed)
    window = listing.window
    way = orders.reverse(order) if order and window.before else order
    unsorted = partial(indexes.unsorted, rows, listing.conditions, order, listing.order)
    with searching(), sorting(unsorted):
        items = found(rows, listing, way, item, readable)
        total = count(rows, listing)
    more, items = len(items) > window.size, items[: window.size]
    if window.before:
        items.reverse()
    is_walkable = order is not None and listing.walkable
    places = ends(order, items, rows) if order and is_walkable else None
    if (window.after or window.before) and items and places is None:
        raise BadRequest(PAGES_ONLY)
    return Page(
        items,
        has_before=more if window.before else bool(window.after or window.skip),
        has_after=bool(window.before) or more,
        is_numbered=window.number is not None or not is_walkable or (bool(items) and places is None),
        ends=places,
        options=rows.collection.codec_options,
        total=total,
    )


def found(
    rows: Rows, listing: Listing, order: Order | None, item: Callable[[Raw], Item], readable: Readable
) -> list[Item]:
    """The items of a page and, if there is one, the next; in pieces, where not all may be read.

    What may not be read is left out before it is counted, so that nothing tells of it.
    """
    window, how = listing.window, projection(listing, rows)
    asked, position = matching(rows, listing), window.after or window.before
    if position is not None and order is not None:
        asked = asked.where(beyond(rows, order, position))
    sort: Any = order if order is not None else RELEVANCE if listing.text else ()
    if readable is None:
        return [item(raw) for raw in asked.page(sort, window.skip, window.size + 1, **how)]
    items: list[Item] = []
    seen, wanted = 0, window.skip + window.size + 1
    while len(items) < wanted:
        raws = asked.page(sort, seen, MOST_AT_ONCE, **how)
        items += readable([item(raw) for raw in raws])
        seen += len(raws)
        if len(raws) < MOST_AT_ONCE:
            break
    return items[window.skip : wanted]


def nearest(items: Sequence[Item], listing: Listing) -> list[Item]:
    """Items of a list in memory by distance, where they were asked to be near."""
    near = next(filter(is_near, listing.conditions), None)
    return list(items) if near is None else sorted(items, key=lambda item: near.distance(item.raw))


def streamed(
    rows: Rows, listing: Listing, item: Callable[[Raw], Item], *, indexed: bool
) -> Iterator[list[Item]]:
    """All of the documents, some at a time."""
    order = order_of(rows, listing)
    if order is None or not listing.walkable:
        raise BadRequest("A list in this order has pages only: leave out per_page=all.")
    check_index(rows, listing, required=indexed)
    asked = matching(rows, listing)
    unsorted = partial(indexes.unsorted, rows, listing.conditions, order, listing.order)
    position: Position | None = None
    most = 0 if "projection" in rows.how else STREAMED_BY_QUERY  # a scope may hide where it is
    while True:
        rest = asked if position is None else asked.where(orders.beyond(order, position))
        how = {"batch_size": STREAMED_AT_ONCE, **projection(listing, rows)}
        found, count = rest.each(order, most, **how), 0
        while raws := some_of(found, unsorted):
            yield [item(raw) for raw in raws]
            count, last = count + len(raws), raws[-1]
        if not most or count < most:
            return
        position = orders.position(order, last)
        if position is None:
            raise BadRequest("A list in this order has pages only: leave out per_page=all.")


def some_of(found: Iterator[Raw], unsorted: Callable[[], BadRequest]) -> list[Raw]:
    """The next documents of a stream."""
    with sorting(unsorted):
        return list(islice(found, STREAMED_AT_ONCE))


def projection(listing: Listing, rows: Rows) -> dict[str, Any]:
    if listing.projection is None or "projection" in rows.how:
        return {}
    order = (name.split(".")[0] for name, _ in listing.order or rows.order)
    return {"projection": dict.fromkeys([KEY, *listing.projection, *order], 1)}


def check_index(rows: Rows, listing: Listing, *, required: bool) -> None:
    order = listing.order
    if order is None and not listing.conditions and listing.text is None and rows.order != BY_KEY:
        order = orders.total(rows.order)
    asks = bool(listing.conditions or listing.order)  # what the application adds is not the client's fault
    if listing.text is None:  # for which MongoDB demands an index anyway
        indexes.check(rows, listing.conditions, order, required=required and asks)


def matching(rows: Rows, listing: Listing) -> Rows:
    """Those of the documents that the request asks for, in whatever part of the list."""
    query = filters.compiled(listing.conditions, ordered=listing.order is not None)
    text = {"$text": {"$search": listing.text}} if listing.text is not None else {}
    return rows.where(query).where(text)


def count(rows: Rows, listing: Listing) -> int | None:
    if listing.count is None:
        return None
    counted = matching(rows, replace(listing, order=()))
    return counted.estimate() if listing.count == "estimated" else counted.count()


def order_of(rows: Rows, listing: Listing) -> Order | None:
    """The order of the list; None where it is by distance or relevance, so that it has pages only."""
    is_ranked = listing.text is not None or not is_kept(listing)
    if listing.order is None and is_ranked:
        for near in filter(is_near, listing.conditions):
            indexes.check_place(rows, near.key)
        if listing.window.after or listing.window.before:
            raise BadRequest("A list by distance or relevance has pages only: pass 'page', or 'sort'.")
        return None
    return listing.order or orders.total(rows.order)


def is_kept(listing: Listing) -> bool:
    """Whether the filters leave a list in the order that it has."""
    return not any(map(is_near, listing.conditions))


def is_near(condition: Condition | AnyOf) -> TypeGuard[Condition]:
    return isinstance(condition, Condition) and condition.operator == "near"


def beyond(rows: Rows, order: Order, position: Position) -> dict[str, Any]:
    if len(position) == 1 < len(order):  # it was shortened
        raw = rows.first({KEY: position[0]})
        position = (raw and orders.position(order, raw)) or ()
    if len(position) != len(order):
        raise BadRequest("The cursor is of an item that is no more, or of another order: begin anew.")
    return orders.beyond(order, position)


def ends(order: Order, items: Sequence[Item], rows: Rows) -> tuple[Position, Position] | None:
    if not items or "projection" in rows.how:  # a scope that leaves fields out
        return None
    first, last = orders.position(order, items[0].raw), orders.position(order, items[-1].raw)
    return None if first is None or last is None else (orders.shortened(first), orders.shortened(last))
