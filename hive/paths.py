"""The tail of a URL, walked segment by segment to the place that it addresses.

What no client may see cannot be walked to: `NotFound`.
"""

from urllib.parse import unquote_to_bytes

import mongoengine as me

from hive.errors import NotFound
from hive.fields import EMBEDDED, REFERENCES
from hive.places.embedded import Embedded, EmbeddedList, ListedEmbedded
from hive.places.place import Holder, Place, World
from hive.places.reference import ListedReference, Reference, References
from hive.places.stored import Collection

MOST_SEGMENTS = 64


def segments_of(path: str) -> list[str]:
    """The decoded segments of a path; a trailing slash does not count.

    Raises `NotFound` for an empty segment, for percent-encoding that is not UTF-8, and for a path so long
    that no client means it: every reference on it is a query.
    """
    parts = path.removesuffix("/").split("/")[1:]
    try:
        segments = [unquote_to_bytes(part.encode("latin-1")).decode("utf-8") for part in parts]
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise NotFound from None
    if "" in segments or len(segments) > MOST_SEGMENTS:
        raise NotFound
    return segments


def walk(world: World, segments: list[str]) -> Place:
    """The place that the segments lead to. Raises `NotFound`."""
    place: Place = Collection(world)
    for segment in segments:
        place = step(place, segment)
    return place


def step(place: Place, segment: str) -> Place:
    """The place one segment further."""
    match place:
        case Collection():
            return place.row_named(segment)
        case References():
            return ListedReference(place.holder, place.member, segment)
        case Reference():
            return field_of(place.target, segment)
        case EmbeddedList():
            return ListedEmbedded(place.holder, place.member, segment)
        case Holder():
            return field_of(place, segment)
    raise NotFound


def field_of(holder: Holder, name: str) -> Place:
    """The place of a field that holds documents. Who goes through a document must be allowed to get it.

    Raises `NotFound`, `Unauthorized` or `Forbidden`.
    """
    holder.check("get")
    member = holder.serializer_of(type(holder.current)).members.get(name)
    if member is None or not member.readable:
        raise NotFound
    is_list = isinstance(member.field, me.ListField)
    kind = member.field.field if is_list else member.field
    if isinstance(kind, EMBEDDED):
        return EmbeddedList(holder, member) if is_list else Embedded(holder, member)
    if isinstance(kind, REFERENCES):
        return References(holder, member) if is_list else Reference(holder, member)
    raise NotFound
