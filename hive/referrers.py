"""Who refers to a document that is to be deleted, where a delete rule of mongoengine denies that."""

from typing import Any

import mongoengine as me

from hive.errors import Conflict


def deny(document: Any) -> Conflict:
    """The answer: how many documents refer to this one, of which kind and by which field."""
    referrers = [
        {"kind": model.__name__, "field": field, "count": count}
        for (model, field), rule in type(document)._meta.get("delete_rules", {}).items()
        if rule == me.DENY and not model._meta.get("abstract")
        if (count := model.objects(**{field: document}).count())
    ]
    if not referrers:  # those that there were are gone
        return Conflict("Other documents referred to this one. Try again.")
    several = ", ".join(f"{told['count']} {told['kind']} by {told['field']}" for told in referrers)
    return Conflict(f"Other documents refer to this one: {several}.", referrers=referrers)
