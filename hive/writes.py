"""Writes: what a request, or the application itself, changes. Each tells of itself around what it stores.

Creating    a new document
Updating    a stored document
  Amending    an embedded document in it
  Embedding   a new embedded document in it
  Removing    an embedded document, which it loses
  Linking     a new document, to which it refers
Deleting    a stored document

`before` and `after` send the signals, to those who hear them. What `store` does counts once, and it begins
anew when it is called again, as in a transaction that failed by chance.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hive import deletions, signals, storage
from hive.deletions import Check
from hive.emissions import Story, emit
from hive.races import Stored
from hive.rows import open_collection
from hive.storage import Change, Edit, Link, Locate

Telling = Callable[[], AbstractContextManager[None]]
"""Within which errors are told as clients know what is stored."""


class Write:
    """One write; `arguments` is the path that its signals tell.

    It `is_delicate` if only a transaction keeps others from coming in between what it asks and what it does.
    """

    is_delicate = False

    def __init__(self, arguments: Sequence[str], *, telling: Telling = nullcontext) -> None:
        self.arguments = list(arguments)
        self.telling = telling

    def before(self) -> Story:
        """Send what is told of it before it is done; receivers may refuse."""
        raise NotImplementedError

    def store(self) -> Story:
        """Do it."""
        raise NotImplementedError

    def after(self) -> Story:
        """Send what is told of it when it is done."""
        raise NotImplementedError

    def store_alone(self) -> None:
        """Do it without waiting for others, as in a transaction."""
        storage.alone(self.store())


class Creating(Write):
    """`part` has the class of the document, and builds it."""

    def __init__(self, arguments: Sequence[str], part: Any, *, telling: Telling = nullcontext) -> None:
        super().__init__(arguments, telling=telling)
        self.part = part

    def before(self) -> Story:
        open_collection(self.part.model)
        yield from emit(signals.pre_create_instance, self.part.model, arguments=self.arguments)

    def store(self) -> Story:
        with self.telling():
            self.instance, self.raw = yield from storage.create(self.part)

    def after(self) -> Story:
        yield from emit(signals.post_create_instance, type(self.instance), instance=self.instance)


class Updating(Write):
    """`edit` is done to the part of the document that `locate` gives. Then `change` is what that did."""

    change: Change

    def __init__(
        self,
        arguments: Sequence[str],
        stored: Stored,
        locate: Locate,
        edit: Edit,
        *,
        telling: Telling = nullcontext,
    ) -> None:
        super().__init__(arguments, telling=telling)
        self.stored, self.locate, self.edit = stored, locate, edit

    def before(self) -> Story:
        open_collection(type(self.stored.document))
        yield from self._before(self.stored.document)

    def store(self) -> Story:
        yield from ()
        with self.telling():
            self.change = storage.update(self.stored, self.locate, self.edit)

    def after(self) -> Story:
        yield from after_update(self.change.document, lambda: self.change.updated_fields)

    def _before(self, instance: Any) -> Story:
        if signals.pre_update_instance.has_receivers_for(type(instance)):
            yield from emit(signals.pre_update_instance, type(instance), instance, arguments=self.arguments)
            self.stored.renew()  # for receivers have had it in hand: what they do to it is not to be stored


class Amending(Updating):
    def before(self) -> Story:
        yield from self._before(self.locate(self.stored.document))
        yield from super().before()

    def after(self) -> Story:
        yield from after_update(self.change.part, lambda: self.change.part_updated_fields)
        yield from super().after()


class Embedding(Updating):
    """`part` builds what `put` puts there."""

    def __init__(
        self,
        arguments: Sequence[str],
        stored: Stored,
        locate: Locate,
        part: Any,
        put: Link,
        *,
        telling: Telling = nullcontext,
    ) -> None:
        super().__init__(arguments, stored, locate, self._edit, telling=telling)
        self.part, self.put = part, put

    def _edit(self, owner: Any) -> None:
        self.instance = self.part.build()
        self.put(owner, self.instance)

    def before(self) -> Story:
        yield from emit(signals.pre_create_instance, self.part.model, arguments=self.arguments)
        yield from super().before()

    def after(self) -> Story:
        yield from emit(signals.post_create_instance, type(self.instance), instance=self.instance)
        yield from super().after()


class Linking(Embedding):
    def before(self) -> Story:
        open_collection(self.part.model)
        yield from super().before()

    def store(self) -> Story:
        with self.telling():
            self.instance, self.raw, self.change = yield from storage.create_in(
                self.part, self.stored, self.locate, self.put
            )


class Removing(Updating):
    """`take` takes away what `find` finds there."""

    def __init__(
        self,
        arguments: Sequence[str],
        stored: Stored,
        locate: Locate,
        find: Locate,
        take: Edit,
        *,
        telling: Telling = nullcontext,
    ) -> None:
        super().__init__(arguments, stored, locate, self._edit, telling=telling)
        self.find, self.take = find, take
        self.instance = find(locate(stored.document))

    def _edit(self, owner: Any) -> None:
        self.instance = self.find(owner)
        self.take(owner)

    def before(self) -> Story:
        sender = type(self.instance)
        yield from emit(signals.pre_delete_instance, sender, self.instance, arguments=self.arguments)
        yield from super().before()

    def after(self) -> Story:
        yield from emit(signals.post_delete_instance, type(self.instance), instance=self.instance)
        yield from super().after()


class Deleting(Write):
    """`check` raises what keeps a document, as it is when it is deleted, from that; None if nothing does."""

    def __init__(
        self, arguments: Sequence[str], stored: Stored, check: Check | None, *, telling: Telling = nullcontext
    ) -> None:
        super().__init__(arguments, telling=telling)
        self.stored, self.check = stored, check
        self.is_delicate = check is not None and not deletions.is_deleted_by_key(type(stored.document))

    def before(self) -> Story:
        instance = self.stored.document
        yield from emit(signals.pre_delete_instance, type(instance), instance, arguments=self.arguments)

    def store(self) -> Story:
        yield from ()
        with self.telling():
            deletions.delete(self.stored, self.check)

    def after(self) -> Story:
        instance = self.stored.document
        yield from emit(signals.post_delete_instance, type(instance), instance=instance)


def after_update(instance: Any, updated_fields: Callable[[], dict[str, Any]]) -> Story:
    if signals.post_update_instance.has_receivers_for(type(instance)):
        yield from emit(
            signals.post_update_instance,
            type(instance),
            instance=instance,
            updated_fields=updated_fields(),
        )
