"""From a mongoengine Document class to Tornado routes."""

import re
from collections.abc import Iterable, Mapping
from string import ascii_letters, digits
from typing import Any
from urllib.parse import unquote_to_bytes

from tornado.routing import URLSpec

from hive import signals
from hive.handlers import ModelHandler
from hive.permissions import Permission
from hive.resource import METHODS, Names, Resource, Scope

UNRESERVED = ascii_letters + digits + "-._~/"


class ModelHive:
    """Serves mongoengine documents over HTTP."""

    @staticmethod
    def routes_for(
        *model: Any,
        prefix: str = "",
        resource_name: str | None = None,
        methods: Iterable[str] = METHODS,
        hidden: Names = (),
        read_only: Names = (),
        write_only: Iterable[str] = (),
        scope: Scope | None = None,
        allow: Mapping[str, Permission] | None = None,
        put: str = "merge",
        filterable: Iterable[str] | None = None,
        require_index: bool = False,
        stream: bool = False,
        cache_control: str | None = None,
        if_match: str = "optional",
        transaction: bool = False,
        deadline: float | None = None,
    ) -> list[URLSpec]:
        """The routes of a model, for `tornado.web.Application`: ``/prefix/user`` and everything below.

        `model` is the Document class; the spelling of bzz, ``routes_for("mongoengine", User)``, works too.

        - `prefix`: the path before the name.
        - `resource_name`: the name in URLs; the class name in snake_case unless given.
        - `methods`: those of GET, POST, PUT, PATCH and DELETE that are served. HEAD comes with GET.
        - `hidden`: fields that do not exist for clients. Names inside embedded documents are dotted.
        - `read_only`: fields that clients cannot set. They may send back the value that they were given.
          These two may be functions of the Tornado handler, sync or async, that give such lists.
        - `write_only`: fields that clients can set, but not see.
        - `scope`: ``(queryset, handler) -> queryset``, which documents exist for a request; runs in the pool.
        - `allow`: who may ``get``, ``create``, ``update`` or ``delete``, by functions of `hive.permissions`.
          For what is not named here, `hive.AuthHive.configure` says whether it needs a session.
        - `put`: ``"merge"`` sets the fields that the body names, ``"replace"`` resets the others (RFC 9110).
        - `filterable`: the fields by which lists are filtered and sorted; unless given all that clients read,
          and none where the model has its own ``to_dict()``.
        - `require_index`: refuse (400) filters and orders for which MongoDB has no index.
        - `stream`: serve the whole list too, ``?per_page=all``, in pieces.
        - `cache_control`: the ``Cache-Control`` of what is read (RFC 9111), such as ``"public, max-age=60"``.
        - `if_match`: ``"required"`` refuses (428) PUT, PATCH and DELETE without ``If-Match`` (RFC 6585).
        - `transaction`: each write is in a transaction of MongoDB, with all that it stores.
        - `deadline`: seconds that a request may spend on MongoDB, 5 unless given; then it is 503.

        Raises `TypeError` or `ValueError`, with a sentence that says what to do, for what cannot be served:
        file fields, unknown names, fields that look like a secret and that no option mentions, `transaction`
        where MongoDB has none.
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
            allow=allow,
            put=put,
            filterable=filterable,
            require_index=require_index,
            stream=stream,
            cache_control=cache_control,
            if_match=if_match,
            transaction=transaction,
            deadline=deadline,
        )
        routes = [URLSpec(pattern_of(resource.root) + "(?:/.*)?", ModelHandler, {"resource": resource})]
        signals.routes_registered.send(resource.model, routes=routes)
        return routes


def pattern_of(path: str) -> str:
    """What matches a path however a client encodes it: ``a+b`` and ``a%2Bb`` are the same."""
    return "".join(
        re.escape(chr(byte)) if chr(byte) in UNRESERVED else f"(?:{re.escape(chr(byte))}|(?i:%{byte:02X}))"
        for byte in unquote_to_bytes(path)
    )


def model_in(arguments: tuple[Any, ...]) -> Any:
    if len(arguments) == 2 and arguments[0] == "mongoengine":
        return arguments[1]
    if len(arguments) != 1:
        raise TypeError('routes_for takes a Document class, or as in bzz "mongoengine" and a Document class.')
    return arguments[0]


def flatten(routes: Iterable[Any]) -> list[Any]:
    """One list from lists of routes, nested to any depth: ``Application(flatten([a, [b, c], route]))``."""
    return [flat for route in routes for flat in (flatten(route) if isinstance(route, list) else [route])]
