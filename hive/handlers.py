"""The story of a request: one method for each verb. The signals of what it writes are in `hive.writes`.

A verb is a generator that runs in the pool (`hive.pool.run`). Where it emits a signal that somebody hears, it
goes back to the event loop for that; where nobody does, the whole request is one job. What is stored is told
before anything else can go wrong.
"""

from functools import partial
from typing import Any

from hive import deletions, payload, protection, query, signals
from hive.answers import Answer, answer
from hive.emissions import Story, emit
from hive.errors import Forbidden, Invalid
from hive.exchange import story
from hive.many import Many
from hive.places.embedded import Embedded
from hive.places.place import Holder, Item
from hive.places.reference import Reference
from hive.places.stored import Collection, Row
from hive.preconditions import Precondition
from hive.writes import Amending, Creating, Deleting, Embedding, Linking, Removing, Updating, Write


class ModelHandler(Many):
    """Serves the URLs of one resource."""

    @story
    def get(self) -> Story:
        place = self.place()
        if place.many:
            yield from self._get_list(place)
        else:
            yield from self._get_instance(place)

    head = get

    def _get_list(self, place: Any) -> Story:
        listing = self.listing(place)
        self.agree(listing)
        yield from emit(signals.pre_get_list, place.sender, arguments=place.arguments)
        items: list[Item] = []
        if listing.window.all:
            yield from self.stream(place, listing)
        else:
            page = self.once("page", lambda: place.page(listing))
            items = page.items
            self.describe(place, listing, page)
            self.show(lambda: self.shown(items, listing.shape), "Prefer")
        if signals.post_get_list.has_receivers_for(place.sender):
            instances = [item.hydrate(item.raw) for item in items]
            yield from emit(signals.post_get_list, place.sender, items=instances)

    def _get_instance(self, place: Any) -> Story:
        target: Holder = place.target
        shape = self.shape(target)
        yield from emit(signals.pre_get_instance, place.sender, arguments=place.arguments)
        self.show(lambda: self.shown([target.item], shape)[0], state=lambda: target.state)
        model = target.class_of(target.raw)
        if signals.post_get_instance.has_receivers_for(model):
            yield from emit(signals.post_get_instance, model, instance=target.hydrate(target.raw))

    @story
    def post(self) -> Story:
        query.nothing(self.request)
        place = self.place()
        if self.is_array:
            yield from self.create_many(place)
            return
        body = self.body(place.form)
        self.refuse_preconditions()
        if isinstance(place, Collection):
            yield from self._create(place, body)
        elif isinstance(place, Reference) and (name := named(body, place)) is not None:
            yield from self._link(place, name)
        elif isinstance(place, Reference):
            yield from self._create_and_link(place, body)
        else:
            yield from self._embed(place, body)

    def _create(self, place: Collection, body: dict[str, Any]) -> Story:
        resource = place.resource
        part = resource.serializer.decode(body, self.decoding())
        self.values = dict(part.values)
        protection.check_new(self, resource, part)
        write = Creating(place.arguments, part, telling=place.telling)

        def made() -> Answer:
            return self.created_document(resource, write.instance, write.raw, in_list=True)

        yield from self.perform(resource, write, made)

    def _link(self, place: Reference, name: Any) -> Story:
        """Set a reference to a document that exists, or add it to the list: only the holder changes."""
        try:
            reference = place.codec.decode(name, self.decoding())
        except ValueError as error:
            raise Invalid(errors=[{"field": "id", "message": str(error)}]) from None
        target = place.row_of(reference)
        self.values = {place.member.name: reference}
        edit = partial(place.put_into, value=reference)
        write = Updating(place.arguments, place.stored, place.holder.locate, edit, telling=place.telling)
        yield from self.perform(place.resource, write, partial(self._shown, target, target.raw))

    def _create_and_link(self, place: Reference, body: dict[str, Any]) -> Story:
        resource, body = place.creating(body)
        if "POST" not in resource.methods:
            raise Forbidden(f"{resource.model.__name__} is not created by clients.")
        protection.check(self, resource, "create")
        part = resource.serializer.decode(body, self.decoding())
        protection.check_new(self, resource, part)
        self.values = dict(part.values)
        telling = partial(place.telling, resource)
        write = Linking(place.arguments, place.stored, place.holder.locate, part, place.link, telling=telling)

        def made() -> Answer:
            return self.created_document(resource, write.instance, write.raw, in_list=place.many)

        yield from self.perform(place.resource, write, made)

    def _embed(self, place: Any, body: dict[str, Any]) -> Story:
        part = place.new(body, self.decoding())
        self.values = dict(part.values)
        locate, put = place.holder.locate, place.put_into
        write = Embedding(place.arguments, place.stored, locate, part, put, telling=place.telling)

        def made() -> Answer:
            raw, name = place.kind.to_mongo(write.instance), place.name_of(write.instance, write.change.part)
            state = place.item_named(name).state
            return self.created(place.codec.encode(raw), name, state, in_list=place.many)

        yield from self.perform(place.resource, write, made)

    @story
    def put(self) -> Story:
        yield from self._update(replace=True)

    @story
    def patch(self) -> Story:
        if not self.segments:
            yield from self.update_many()
        else:
            yield from self._update(patch=True)

    def _update(self, *, patch: bool = False, replace: bool = False) -> Story:
        query.nothing(self.request)
        place: Any = self.place()
        target: Holder = place.target
        current, stored = target.current, target.stored
        precondition = self.precondition(target.resource)
        body = self.body(target.serializer_of(type(current)), *(payload.PATCHES if patch else ()))
        precondition.check(target.state)
        stored.holds_whole = stored.holds_whole or precondition.is_there
        part, amend = self.editing(target, body, patch=patch, replace=replace)
        self.values = dict(part.values)

        def edit(owner: Any) -> None:
            precondition.check(target.state)
            amend(owner)

        kind = Amending if isinstance(target, Embedded) else Updating
        write = kind(place.arguments, stored, target.locate, edit, telling=target.telling)

        def made() -> Answer:
            if isinstance(target, Embedded):
                return answer(200, target.encode(write.change.raw), target.state_with(write.change.part))
            return self._shown(target, write.change.raw, write.change.document)

        yield from self.perform(target.resource, write, made)

    def _shown(self, target: Holder, raw: Any, document: Any = None) -> Answer:
        """200 with a stored document, or 204 if the client may not read it."""
        if not self.may_read(target.resource, target.hydrate(raw) if document is None else document):
            return answer(200, None)
        return answer(200, target.encode(raw), target.state)

    @story
    def delete(self) -> Story:
        if not self.segments:
            yield from self.delete_many()
            return
        query.nothing(self.request)
        place: Any = self.place()
        precondition = self.precondition(place.read_at)
        write: Write
        if isinstance(place, Reference):
            write = self._unlinking(place, precondition)
        elif isinstance(place, Embedded):
            write = self._removing(place, precondition)
        elif self._nobody_looks_at(place) and not precondition.is_there:
            deletions.delete_by_key(place.model, place.key)
            self.set_status(204)
            return
        else:
            write = self._deleting(place, precondition)
        yield from self.perform(place.resource, write, lambda: Answer(204, {}))

    def _deleting(self, place: Row, precondition: Precondition) -> Write:
        precondition.check(place.state)
        matters = precondition.is_there or place.looked or place.resource.scope is not None
        check = (lambda raw: precondition.check(self.seal(raw))) if matters else None
        return Deleting(place.arguments, place.stored, check, telling=place.telling)

    def _nobody_looks_at(self, place: Any) -> bool:
        """Whether a document can be deleted without a look at it: nobody hears of it, or has a say in it."""
        heard = (signals.pre_delete_instance, signals.post_delete_instance)
        return (
            isinstance(place, Row)
            and place.key is not None
            and not (place.looked or place.resource.transaction or place.resource.needs_match)
            and not any(signal.has_receivers_for(place.model) for signal in heard)
            and deletions.is_deleted_by_key(place.model)
        )

    def _removing(self, place: Embedded, precondition: Precondition) -> Write:
        """Take an embedded document out of its field, or its list."""
        stored, locate = place.stored, place.holder.locate
        stored.holds_whole = stored.holds_whole or precondition.is_there

        def find(owner: Any) -> Any:
            precondition.check(place.state)
            return place.found_in(owner)

        return Removing(place.arguments, stored, locate, find, place.take_from, telling=place.telling)

    def _unlinking(self, place: Reference, precondition: Precondition) -> Write:
        """Unset a reference, or take it out of its list: only the holder changes."""
        place.check_holds()
        if precondition.is_there:
            precondition.check(place.target.state)

        def edit(owner: Any) -> None:
            if precondition.is_there:
                precondition.check(place.target_in(owner).state)
            place.take_from(owner)

        return Updating(place.arguments, place.stored, place.holder.locate, edit, telling=place.telling)

    @story
    def options(self) -> Story:
        allowed = self._walk().allowed
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        if "PATCH" in allowed:
            self.set_header("Accept-Patch", ", ".join((*payload.PATCHES, payload.JSON)))
        yield from ()


def named(body: dict[str, Any], place: Reference) -> Any:
    """What a body names and is no new object: ``{"id": X}``, ``{"captain": X}``, ``captain=X``; or None."""
    if place.model is None:
        return body if body.keys() == {"_cls", "id"} else None
    if body.keys() not in ({"id"}, {place.member.name}):
        return None
    [name] = body.values()
    return name[0] if isinstance(name, list) and len(name) == 1 else name
