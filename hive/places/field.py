"""Places that are fields of another."""

from typing import Any

from hive.decoding import Decoding
from hive.encoding import Member
from hive.errors import Invalid
from hive.places.place import Holder, Place
from hive.races import Stored
from hive.serializers import Serializer
from hive.values import Part


class Field(Place):
    """A field of a holder that holds documents, or a list of them; `kind` is the field of one of them."""

    def __init__(self, holder: Holder, member: Member, key: str | None = None) -> None:
        segment = member.name if key is None else f"{member.name}/{key}"
        super().__init__(holder.world, holder.resource, [*holder.arguments, segment])
        self.holder, self.member, self.key = holder, member, key
        self.trail = (*holder.trail, member.name)
        self.writable = holder.writable and member.writable
        self.kind = getattr(member.field, "field", None) or member.field
        self.codec: Any = getattr(member.codec, "item", member.codec)
        self.model = getattr(self.kind, "document_type", None)

    @property
    def stored(self) -> Stored:
        return self.holder.stored

    def permits(self, verb: str) -> bool:
        return verb in self.resource.methods and (verb == "GET" or self.writable)

    def check(self, action: str) -> None:
        """Whatever is done to a field is an update of the document that has it."""
        self.holder.check("get" if action == "get" else "update")

    @property
    def form(self) -> Serializer | None:
        return getattr(self.codec, "serializer", None) if self.model else None

    def new(self, body: dict[str, Any], decoding: Decoding) -> Part:
        """The embedded document that a body describes. Raises `Invalid`."""
        try:
            return self.codec.decode(body, decoding)  # type: ignore[no-any-return]
        except ValueError as error:
            raise Invalid(errors=[{"field": "_cls", "message": str(error)}]) from None

    def value_in(self, owner: Any) -> Any:
        """What the field holds, without a query."""
        return owner._data.get(self.member.name)

    def items_in(self, owner: Any) -> list[Any]:
        return list(self.value_in(owner) or [])

    def put_into(self, owner: Any, value: Any) -> None:
        """Set the field of its holder."""
        setattr(owner, self.member.name, value)

    def take_from(self, owner: Any) -> None:
        """Empty the field of its holder."""
        setattr(owner, self.member.name, None)
