"""Who may do what: functions ``(handler, instance) -> bool``, sync or async, for ``allow`` of `routes_for`.

`handler` is the Tornado handler; its ``current_user`` has the user data of who asks, or is None. `instance`
is the document that is meant: as it is stored, or for ``create`` as it would be. It is None before one is
known, and the answer then says whether there can be any for which it is yes. Plain functions run in the pool
of threads, where they may query; coroutines run on the event loop.

What a function raises ends the request: a `hive.Problem` or a `tornado.web.HTTPError` is the answer.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from hive import pool
from hive.codecs.references import key_in
from hive.errors import own_fault
from hive.plain import plain

__all__ = ["all_of", "any_of", "concealed", "everyone", "owner", "regardless", "role", "signed_in"]

Permission = Callable[[Any, Any], bool | Awaitable[bool]]


def regardless(permission: Permission) -> Permission:
    """Mark a permission that looks at no instance and waits for nothing: none is loaded to ask it."""
    permission.regardless = True  # type: ignore[attr-defined]
    return permission


@regardless
def everyone(handler: Any, instance: Any) -> bool:
    """Everybody, signed in or not."""
    return True


@regardless
def signed_in(handler: Any, instance: Any) -> bool:
    """Everybody who is signed in."""
    return handler.current_user is not None


def owner(field: str) -> Permission:
    """The user whose ``id`` is the value of the field: a text, or a reference to the document with that key.

    In a list, each is an owner. A document without a value has none. The name of a field in an embedded
    document is dotted.
    """

    def is_owner(handler: Any, instance: Any) -> bool:
        user = handler.current_user
        if user is None or instance is None:
            return user is not None
        value = instance
        for name in field.split("."):
            value = None if value is None else value._data.get(name)
        owners = value if isinstance(value, list | tuple) else [value]
        return str(user["id"]) in [str(plain(key_in(one))) for one in owners if one is not None]

    is_owner.fields = {field}  # type: ignore[attr-defined]
    return is_owner


def role(*names: str) -> Permission:
    """Those who have one of these roles among the ``roles`` of their user data, a list of strings."""
    given: tuple[Any, ...] = names
    if not given or not all(isinstance(name, str) for name in given):
        raise TypeError(f'role takes the names of roles, as role("admin", "editor"), not {names!r}.')

    @regardless
    def has_role(handler: Any, instance: Any) -> bool:
        roles = (handler.current_user or {}).get("roles")
        return isinstance(roles, list | tuple) and any(name in roles for name in names)

    return has_role


def any_of(*permissions: Permission) -> Permission:
    """Those whom one of the permissions allows."""
    return combined(any, permissions)


def all_of(*permissions: Permission) -> Permission:
    """Those whom each of the permissions allows."""
    return combined(all, permissions)


def concealed(permission: Permission) -> Permission:
    """The same, but who is refused a document hears that there is none (404), whatever they want with it."""
    same = combined(all, [permission])
    same.conceals = True  # type: ignore[attr-defined]
    return same


def combined(decide: Callable[[Iterable[bool]], bool], permissions: Iterable[Permission]) -> Permission:
    parts = [checked(part) for part in permissions]
    if not parts:
        raise TypeError("Pass at least one permission: of none, nobody can say whom they allow.")

    def is_allowed(handler: Any, instance: Any) -> bool:
        return decide(grants(part, handler, instance) for part in parts)

    is_allowed.regardless = all(map(is_regardless, parts))  # type: ignore[attr-defined]
    is_allowed.conceals = any(map(conceals, parts))  # type: ignore[attr-defined]
    is_allowed.fields = set().union(*map(fields_named_in, parts))  # type: ignore[attr-defined]
    return is_allowed


def checked(permission: Any) -> Permission:
    """The same. Raises `TypeError` for what is no permission, such as ``role`` without its names."""
    generates = inspect.isgeneratorfunction(permission) or inspect.isasyncgenfunction(permission)
    makes_one = isinstance(permission, type) or permission in (owner, role, any_of, all_of, concealed)
    if not callable(permission) or generates or makes_one or not takes_two(permission):
        raise TypeError(f"A permission is a function of handler and instance, and {permission!r} is none.")
    return permission  # type: ignore[no-any-return]


def takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it is written in C, and does not tell
        pass
    return True


def grants(permission: Permission, handler: Any, instance: Any) -> bool:
    """Whether the answer is yes. Waits for a coroutine, so call it in the pool."""
    with own_fault("A permission"):
        answer: Any = pool.settled(permission(handler, instance))
    if inspect.isawaitable(answer) or inspect.isroutine(answer):
        raise TypeError(f"{permission!r} answers neither yes nor no, but {answer!r}: call it, and await it.")
    return bool(answer)


def is_regardless(permission: Permission) -> bool:
    return bool(getattr(permission, "regardless", False))


def fields_named_in(permission: Permission) -> set[str]:
    """The fields of the instance that it is known to look at."""
    return getattr(permission, "fields", set())


def conceals(permission: Permission) -> bool:
    return bool(getattr(permission, "conceals", False))
