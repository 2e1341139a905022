"""From a mongoengine Document class to Tornado routes."""

import re
from collections.abc import Iterable
from typing import Any

from tornado.web import URLSpec

from hive.handlers import ModelHandler
from hive.resource import METHODS, Resource, Scope


class ModelHive:
    """Serves mongoengine documents over HTTP."""

    @staticmethod
    def routes_for(
        *model: Any,
        prefix: str = "",
        resource_name: str | None = None,
        methods: Iterable[str] = METHODS,
        hidden: Iterable[str] = (),
        read_only: Iterable[str] = (),
        write_only: Iterable[str] = (),
        scope: Scope | None = None,
        put: str = "merge",
    ) -> list[URLSpec]:
        """The routes of a model, for `tornado.web.Application`: ``/prefix/user`` and everything below.

        `model` is the Document class; the spelling of bzz, ``routes_for("mongoengine", User)``, works too.

        - `prefix`: the path before the name.
        - `resource_name`: the name in URLs; the class name in snake_case unless given.
        - `methods`: those of GET, POST, PUT, PATCH and DELETE that are served. HEAD comes with GET.
        - `hidden`: fields that do not exist for clients. Names inside embedded documents are dotted.
        - `read_only`: fields that clients cannot set. They may send back the value that they were given.
        - `write_only`: fields that clients can set, but not see.
        - `scope`: ``(queryset, handler) -> queryset``, which documents exist for a request. It runs in the pool.
        - `put`: ``"merge"`` sets the fields that the body names, ``"replace"`` resets the others (RFC 9110).

        Raises `TypeError` or `ValueError`, with a sentence that says what to do, for a model or an option that cannot
        be served: file fields, unknown names, and fields that look like a secret and that no option mentions.
        """
        resource = Resource(
            model_in(model),
            prefix=prefix,
            resource_name=resource_name,
            methods=methods,
            hidden=hidden,
            read_only=read_only,
            write_only=write_only,
            scope=scope,
            put=put,
        )
        return [URLSpec(re.escape(resource.root) + "(?:/.*)?", ModelHandler, {"resource": resource})]


def model_in(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) == 2 and arguments[0] == "mongoengine":
        return arguments[1]
    if len(arguments) != 1:
        raise TypeError('routes_for takes a Document class, or as in bzz "mongoengine" and a Document class.')
    return arguments[0]


def flatten(routes: Iterable[Any]) -> list[Any]:
    """One list of routes from lists of routes, nested to any depth: ``Application(flatten([a, b, route]))``."""
    return [flat for route in routes for flat in (flatten(route) if isinstance(route, list) else [route])]
