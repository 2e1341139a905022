"""The routes under which a request reaches the documents of other models, in the same application."""

from collections.abc import Iterator
from typing import Any

from hive.permissions import conceals
from hive.resource import Resource
from hive.routers import arguments_in


def routed(router: Any) -> Iterator[Resource]:
    """The resources that a Tornado application, or a router in it, serves."""
    for arguments in arguments_in(router):
        if isinstance(resource := arguments.get("resource"), Resource):
            yield resource


def neighbour(application: Any, asking: Resource, model: Any) -> Resource | None:
    """The routes under which `asking` reaches documents of `model`.

    They are its own, else those with the same prefix, else the only ones in the application. None if there
    are none, or no telling which. Raises `ValueError` if there is no telling which and one has a scope or
    conceals documents, for then no document of `model` is known to exist for this request.
    """
    resources = list(routed(application.default_router))
    for cls in model.__mro__:
        candidates = [resource for resource in resources if resource.model is cls]
        beside = [resource for resource in candidates if resource.prefix == asking.prefix]
        if asking.origin in candidates:
            return asking.origin
        if len(beside or candidates) == 1:
            return (beside or candidates)[0]
        if any(map(is_limited, candidates)):
            raise ValueError(f"cannot be told, for {model.__name__} is served at several addresses")
        if candidates:
            return None
    if any(is_limited(resource) for resource in resources if issubclass(resource.model, model)):
        raise ValueError(f"cannot be told, for some kinds of {model.__name__} are not for everybody")
    return None


def is_limited(resource: Resource) -> bool:
    """Whether there may be documents which do not exist for a request."""
    return resource.scope is not None or ("get" in resource.allow and conceals(resource.allow["get"]))
