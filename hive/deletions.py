"""Deleting: what takes documents out of MongoDB. Whatever calls this runs in the pool of threads."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import mongoengine as me
from mongoengine.errors import OperationError
from mongoengine.signals import post_delete, pre_delete

from hive import pool, transactions
from hive.concerns import check_acknowledged
from hive.errors import Conflict, NotFound
from hive.insertions import is_heard
from hive.outcomes import known
from hive.races import Stored, as_confirmed, attempts, condition, turn
from hive.refusals import answering
from hive.rows import Raw, both, class_query, find_confirmed

Check = Callable[[Raw], None]


def delete(stored: Stored, check: Check | None) -> None:
    """Delete a document under mongoengine's delete rules, if `check` raises nothing of what it is by then.

    Without a `check` it is deleted whatever it is. Raises `Conflict` where a rule denies it, and `NotFound`
    where it is gone.
    """
    # Two deletions by the application's own code, at once, would both be told.
    seconds = 0 if transactions.is_open() else max(pool.end() - time.monotonic(), 0)
    with turn(stored.document, seconds) as waited:
        for _ in attempts(stored, is_old=waited):
            if not is_deleted_by_key(type(stored.document)):
                delete_by_rules(stored, check)
                return
            if check is not None:
                check(stored.raw)
            if delete_as_it_is(stored, whatever=check is None or transactions.is_open()):
                return
    raise Conflict("Too many others are changing this document.")


def delete_as_it_is(stored: Stored, *, whatever: bool) -> bool:
    """Whether the document was there, and, if not `whatever` it was, what it was; and is deleted."""
    document = stored.document
    same = {} if whatever else condition(stored, stored.raw, set())
    collection, query = document._get_collection(), {"_id": stored.raw["_id"], **same}
    check_acknowledged(collection)
    with answering(type(document)), known(lambda: as_confirmed(document) is None):
        return bool(collection.delete_one(query).deleted_count)
    return True


def delete_by_rules(stored: Stored, check: Check | None) -> None:
    """Delete a document with all that mongoengine and the application do then.

    In no transaction others may change it after it was looked at, which is done as late as can be.
    """
    if not transactions.is_open():
        stored.reload()
    if check is not None:
        check(stored.raw)
    document = stored.document
    check_acknowledged(document._get_collection())
    with answering(type(document)), known(lambda: as_confirmed(document) is None or None):
        try:
            document.delete()
        except OperationError as error:
            if error.__context__ is None:  # not an error of the server, but mongoengine's word on a DENY rule
                raise deny(document) from error
            raise


def is_deleted_by_key(model: Any) -> bool:
    """Whether deleting a document of the model is nothing but that: no code and no rule has a say in it."""
    own = model.delete is not me.Document.delete or model._meta.get("delete_rules")
    heard = any(is_heard(signal, model) for signal in (pre_delete, post_delete))
    return not (own or heard or model._meta.get("shard_key"))


def delete_by_key(model: Any, key: Any) -> None:
    """Delete a document that nobody has to see, in one round trip. Raises `NotFound`."""
    collection, query = model._get_collection(), both({"_id": key}, class_query(model))
    check_acknowledged(collection)
    with answering(model), known(lambda: find_confirmed(collection, query) is None):
        if not collection.delete_one(query).deleted_count:
            raise NotFound


def deny(document: Any) -> Conflict:
    """The answer: how many documents, of which kind, refer to this one or to what goes with it."""
    found = list(referrers(type(document), [document], set()))
    if not found:  # those that there were are gone
        return Conflict("Other documents referred to this one. Try again.")
    several = ", ".join(f"{told['count']} {told['kind']} by {told['field']}" for told in found)
    return Conflict(f"Other documents refer to this one: {several}.", referrers=found)


def referrers(model: Any, documents: list[Any], seen: set[Any]) -> Iterator[dict[str, Any]]:
    """Who denies the deletion of documents, also by those that would be deleted with them."""
    for (other, name), rule in rules_of(model):
        if (other, name) in seen:
            continue
        found = other.objects(**{f"{name}__in": documents})
        if rule == me.DENY and (count := found.count()):
            yield {"kind": other.__name__, "field": name, "count": count}
        if rule == me.CASCADE:
            yield from referrers(other, list(found), seen | {(other, name)})


def rules_of(model: Any) -> list[tuple[tuple[Any, str], int]]:
    """Its delete rules; that of a class is that of its subclasses too."""
    rules = model._meta.get("delete_rules") or {}
    known = [(other, name) for other, name in rules if not other._meta.get("abstract")]
    return [
        ((other, name), rules[other, name])
        for other, name in known
        if not any(base is not other and issubclass(other, base) for base, same in known if same == name)
    ]
