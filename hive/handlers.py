"""The story of a request: one method for each verb, its signals in sight.

A verb is a generator that runs in the pool (`hive.pool.run`). Where it emits a signal that somebody hears, it
goes back to the event loop for that; where nobody does, the whole request is one job. What is stored is told
before anything else can go wrong.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from hive import payload, protection, query, signals, storage
from hive.errors import Forbidden, Invalid
from hive.exchange import Story, story
from hive.places.embedded import Embedded
from hive.places.place import Holder, Item, Place
from hive.places.reference import Reference
from hive.places.stored import Collection, Row
from hive.reading import Reader
from hive.storage import Stored


class ModelHandler(Reader):
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
        yield from self.emit(signals.pre_get_list, place.sender, arguments=place.arguments)
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
            yield from self.emit(signals.post_get_list, place.sender, items=instances)

    def _get_instance(self, place: Any) -> Story:
        target: Holder = place.target
        shape = self.shape(target)
        yield from self.emit(signals.pre_get_instance, place.sender, arguments=place.arguments)
        self.show(lambda: self.shown([target.item], shape)[0])
        model = target.class_of(target.raw)
        if signals.post_get_instance.has_receivers_for(model):
            yield from self.emit(signals.post_get_instance, model, instance=target.hydrate(target.raw))

    @story
    def post(self) -> Story:
        query.nothing(self.request)
        place = self.place()
        body = self.body(place.form)
        if isinstance(place, Collection):
            yield from self._create(place, body)
        elif isinstance(place, Reference) and (name := named(body, place)) is not None:
            yield from self._link(place, name)
        elif isinstance(place, Reference):
            yield from self._create_and_link(place, body)
        else:
            yield from self._embed(place, body)

    def _create(self, place: Collection, body: dict[str, Any]) -> Story:
        part = place.resource.serializer.decode(body, self.decoding())
        self.values = dict(part.values)
        protection.check_new(self, place.resource, part)
        yield from self.emit(signals.pre_create_instance, part.model, arguments=place.arguments)
        with place.telling():
            instance, raw = yield from storage.create(part)
        yield from self.emit(signals.post_create_instance, type(instance), instance=instance)
        self.created_document(place.resource, instance, raw, in_list=True)

    def _link(self, place: Reference, name: Any) -> Story:
        """Set a reference to a document that exists, or add it to the list: only the holder changes."""
        try:
            reference = place.codec.decode(name, self.decoding())
        except ValueError as error:
            raise Invalid(errors=[{"field": "id", "message": str(error)}]) from None
        stored, target = place.stored, place.row_of(reference)
        raw = target.raw
        self.values = {place.member.name: reference}
        yield from self._before_update(place, stored, stored.document)
        with place.telling():
            change = storage.update(stored, place.holder.locate, partial(place.put_into, value=reference))
        yield from self._after_update(change.document, lambda: change.updated_fields)
        shown = self.may_read(target.resource, target.hydrate(raw))
        self.reply(200, target.encode(raw) if shown else None)

    def _create_and_link(self, place: Reference, body: dict[str, Any]) -> Story:
        resource, body = place.creating(body)
        if "POST" not in resource.methods:
            raise Forbidden(f"{resource.model.__name__} is not created by clients.")
        protection.check(self, resource, "create")
        part = resource.serializer.decode(body, self.decoding())
        protection.check_new(self, resource, part)
        self.values = dict(part.values)
        stored = place.stored
        yield from self.emit(signals.pre_create_instance, part.model, arguments=place.arguments)
        yield from self._before_update(place, stored, stored.document)
        with place.telling(resource):
            instance, raw, change = yield from storage.create_in(
                part, stored, place.holder.locate, place.link
            )
        yield from self.emit(signals.post_create_instance, type(instance), instance=instance)
        yield from self._after_update(change.document, lambda: change.updated_fields)
        self.created_document(resource, instance, raw, in_list=place.many)

    def _embed(self, place: Any, body: dict[str, Any]) -> Story:
        part = place.new(body, self.decoding())
        self.values = dict(part.values)
        stored = place.stored
        yield from self.emit(signals.pre_create_instance, part.model, arguments=place.arguments)
        yield from self._before_update(place, stored, stored.document)
        instance = part.build()
        with place.telling():
            change = storage.update(stored, place.holder.locate, partial(place.put_into, value=instance))
        name, raw = place.name_of(instance, change.part), place.kind.to_mongo(instance)
        yield from self.emit(signals.post_create_instance, type(instance), instance=instance)
        yield from self._after_update(change.document, lambda: change.updated_fields)
        self.created(place.codec.encode(raw), name, in_list=place.many)

    @story
    def put(self) -> Story:
        yield from self._update(replace=True)

    @story
    def patch(self) -> Story:
        yield from self._update(patch=True)

    def _update(self, *, patch: bool = False, replace: bool = False) -> Story:
        query.nothing(self.request)
        place: Any = self.place()
        target: Holder = place.target
        current, stored = target.current, target.stored
        serializer = target.serializer_of(type(current))
        body = self.body(serializer, *([payload.MERGE_PATCH] if patch else []))
        readable = isinstance(target, Embedded) or self.may_read(target.resource, current)
        replace = replace and target.resource.replaces
        decoding = self.decoding(patch=patch, replace=replace, blind=not readable)
        part = target.decode(body, decoding)
        self.values = dict(part.values)
        yield from self._before_update(place, stored, current)
        if isinstance(target, Embedded):
            yield from self._before_update(place, stored, stored.document)
        changed = {type(current), type(stored.document)}
        told = any(signals.post_update_instance.has_receivers_for(model) for model in changed)
        with target.telling():
            change = storage.update(stored, target.locate, part.apply, told=told)
        if told:
            yield from self._after_update(change.part, lambda: change.part_updated_fields)
        if told and isinstance(target, Embedded):
            yield from self._after_update(change.document, lambda: change.updated_fields)
        shown = isinstance(target, Embedded) or self.may_read(target.resource, change.document)
        self.reply(200, target.encode(change.raw) if shown else None)

    @story
    def delete(self) -> Story:
        query.nothing(self.request)
        place: Any = self.place()
        if isinstance(place, Reference):
            yield from self._unlink(place)
            return
        if self._nobody_looks_at(place):
            storage.delete_by_key(place.model, place.key)
            self.set_status(204)
            return
        instance, stored = place.current, place.stored
        yield from self.emit(signals.pre_delete_instance, type(instance), instance, arguments=place.arguments)
        if isinstance(place, Embedded):
            yield from self._before_update(place, stored, stored.document)
            with place.telling():
                change = storage.update(stored, place.holder.locate, place.take_from)
        else:
            place.check_again()
            storage.delete(instance)
        self.set_status(204)
        yield from self.emit(signals.post_delete_instance, type(instance), instance=instance)
        if isinstance(place, Embedded):
            yield from self._after_update(change.document, lambda: change.updated_fields)

    def _nobody_looks_at(self, place: Any) -> bool:
        """Whether a document can be deleted without a look at it: nobody hears of it, or has a say in it."""
        heard = (signals.pre_delete_instance, signals.post_delete_instance)
        return (
            isinstance(place, Row)
            and place.key is not None
            and not place.looked
            and not any(signal.has_receivers_for(place.model) for signal in heard)
            and storage.is_deleted_by_key(place.model)
        )

    def _unlink(self, place: Reference) -> Story:
        """Unset a reference, or take it out of its list: only the holder changes."""
        stored = place.stored
        place.check_holds()
        yield from self._before_update(place, stored, stored.document)
        with place.telling():
            change = storage.update(stored, place.holder.locate, place.take_from)
        self.set_status(204)
        yield from self._after_update(change.document, lambda: change.updated_fields)

    @story
    def options(self) -> Story:
        allowed = self._walk().allowed
        self.set_status(204)
        self.set_header("Allow", ", ".join(allowed))
        if "PATCH" in allowed:
            self.set_header("Accept-Patch", ", ".join((payload.MERGE_PATCH, payload.JSON)))
        yield from ()

    def _before_update(self, place: Place, stored: Stored, instance: Any) -> Story:
        signal, sender = signals.pre_update_instance, type(instance)
        if signal.has_receivers_for(sender):
            yield from self.emit(signal, sender, instance, arguments=place.arguments)
            stored.renew()  # for receivers have had it in hand, and what they do to it is not to be stored

    def _after_update(self, instance: Any, updated_fields: Callable[[], dict[str, Any]]) -> Story:
        signal, sender = signals.post_update_instance, type(instance)
        if signal.has_receivers_for(sender):
            yield from self.emit(signal, sender, instance=instance, updated_fields=updated_fields())


def named(body: dict[str, Any], place: Reference) -> Any:
    """What a body names and is no new object: ``{"id": X}``, ``{"captain": X}``, ``captain=X``; or None."""
    if place.model is None:
        return body if body.keys() == {"_cls", "id"} else None
    if body.keys() not in ({"id"}, {place.member.name}):
        return None
    [name] = body.values()
    return name[0] if isinstance(name, list) and len(name) == 1 else name
