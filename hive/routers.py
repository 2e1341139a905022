"""Tornado's routers, which hold all that an application serves."""

from collections.abc import Iterator, Mapping
from typing import Any

from tornado.routing import RuleRouter


def arguments_in(router: Any) -> Iterator[Mapping[str, Any]]:
    """For each route in a router, and in those below it, the arguments that its handlers get."""
    for rule in router.rules:
        if isinstance(rule.target, RuleRouter):
            yield from arguments_in(rule.target)
        else:
            yield rule.target_kwargs or {}
