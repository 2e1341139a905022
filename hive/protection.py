"""What a request may do with the documents of a resource: by its ``allow``, or the application's default."""

from collections.abc import Callable
from typing import Any

from hive.authentication import authentication_of
from hive.errors import Forbidden, NotFound, Unauthorized
from hive.permissions import Permission, conceals, everyone, grants, is_regardless
from hive.refusals import answering
from hive.resource import ACTIONS, Resource
from hive.values import Part

OF_METHOD = {
    **dict.fromkeys(("GET", "HEAD", "OPTIONS"), "get"),
    "POST": "create",
    **dict.fromkeys(("PUT", "PATCH"), "update"),
    "DELETE": "delete",
}
BELOW = {
    "get": ("get",),
    "create": ("get", "create", "update"),
    "update": ("get", "update"),
    "delete": ("get", "update", "delete"),
}
"""What a method may do with a document below which it addresses something."""


def ask(handler: Any, rule: Permission, instance: Any) -> bool:
    """Whether the permission says yes; once for the whole request, if it looks at no instance."""
    if rule is everyone:
        return True
    if not is_regardless(rule):
        return grants(rule, handler, instance)
    if rule not in handler.answers:
        handler.answers[rule] = grants(rule, handler, None)
    return bool(handler.answers[rule])


def permission(handler: Any, resource: Resource, action: str) -> Permission:
    """Who may do this: the resource says, or the application, or it is everyone."""
    if action in resource.allow:
        return resource.allow[action]
    authentication = authentication_of(handler.application)
    return everyone if authentication is None else authentication.default(action)


def of_entry(handler: Any, resource: Resource, *, nested: bool) -> list[Permission]:
    """What a request must pass before anything is known but its method and path.

    A method that nobody thought of needs all that there is.
    """
    action = OF_METHOD.get(handler.request.method)
    if action is None:
        return [permission(handler, resource, one) for one in ACTIONS]
    if not nested:
        return [permission(handler, resource, action)]
    others = [one for one in BELOW[action] if one not in resource.allow]
    return [permission(handler, resource, one) for one in dict.fromkeys(("get", *others))]


def check_entry(handler: Any, permissions: list[Permission]) -> None:
    """Raises `Unauthorized` or `Forbidden`."""
    if not all(ask(handler, one, None) for one in permissions):
        raise refusal(handler)


def check(handler: Any, resource: Resource, action: str, instance: Any = None) -> None:
    """Whether a request may do this with a document, or, where that is None, with any.

    Raises `Unauthorized`, `Forbidden`, or `NotFound` where even the existence is concealed.
    """
    if instance is not None and action != "create" and is_concealed(handler, resource, instance):
        raise NotFound
    rule = permission(handler, resource, action)
    if not ask(handler, rule, instance):
        is_hidden = instance is not None and action != "create" and conceals(rule)
        raise NotFound if is_hidden else refusal(handler)


def check_new(handler: Any, resource: Resource, part: Part) -> None:
    """Whether a request may create the document that a body describes. Raises as `check`, or `Invalid`."""
    if not is_regardless(permission(handler, resource, "create")):
        with answering(part.model):
            document = part.build()
        check(handler, resource, "create", document)


def is_concealed(handler: Any, resource: Resource, instance: Any) -> bool:
    """Whether the client must not know that the document is there."""
    rule = permission(handler, resource, "get")
    return conceals(rule) and not ask(handler, rule, instance)


def conceals_some(handler: Any, resource: Resource) -> bool:
    """Whether there can be documents of which the client must not know."""
    return conceals(permission(handler, resource, "get"))


def looks_at_instances(handler: Any, resource: Resource, action: str) -> bool:
    """Whether it depends on the document whether a request may do this."""
    rules = permission(handler, resource, action), permission(handler, resource, "get")
    return not is_regardless(rules[0]) or conceals(rules[1])


def shows_all(handler: Any, resource: Resource) -> bool:
    """Whether the client may read all documents, whatever they are."""
    rule = permission(handler, resource, "get")
    return is_regardless(rule) and ask(handler, rule, None)


def shows(handler: Any, resource: Resource, instance: Callable[[], Any]) -> bool:
    """Whether the client may read the document, which is made only if that matters."""
    rule = permission(handler, resource, "get")
    return ask(handler, rule, None if is_regardless(rule) else instance())


def refusal(handler: Any) -> Unauthorized | Forbidden:
    return Unauthorized() if handler.current_user is None else Forbidden()
