"""The providers of an application, and what becomes of what they say of a user."""

from typing import Any

from tornado.web import Finish

from hive import signals
from hive.auth.provider import Provider, UserData
from hive.plain import as_json
from hive.routers import arguments_in


class Providers(dict[str, Provider]):
    """The providers of an application, by name."""


async def authorize(handler: Any, provider: Provider, user_data: UserData) -> dict[str, Any]:
    """Tell of a sign-in; the user data as the receivers leave them. What one raises ends the sign-in.

    Raises `TypeError` where there is no ``id`` in them.
    """
    told = {**user_data, "provider": provider.name}
    arguments = {"provider_name": provider.name, "user_data": told, "handler": handler}
    await signals.authorized_user.send_async(provider.name, **arguments)
    if handler._finished:  # a receiver has answered instead
        raise Finish
    result: dict[str, Any] = as_json(told)
    if type(result.get("id")) not in (str, int) or result["id"] == "":
        raise TypeError(
            f"The user data of the provider {provider.name} need an id: a text or a whole number."
        )
    return result


def providers_of(application: Any) -> list[Provider]:
    """The providers with which users sign in to a Tornado application."""
    routed = (arguments.get("providers") for arguments in arguments_in(application.default_router))
    each = {id(providers): providers for providers in routed if isinstance(providers, Providers)}
    return [provider for providers in each.values() for provider in providers.values()]
