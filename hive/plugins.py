"""Plugins: what an application is extended with, by its own code or by installed packages.

A plugin is an object, a class that needs no arguments, or a module. It has at least one of

- ``get_signal_subscriptions()``: gives ``{signal: [receiver, {"receiver": receiver, "sender": sender}]}``, as
  in CKAN. Its receivers are kept, so they may be lambdas and methods.
- ``bootstrap(application)``: called once for each application, as in Portal.

and may have a ``name``, which otherwise is that of the class or module. Packages offer theirs in the
entry-point group ``hive.plugins``, by the name of the entry point.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, finalize

from tornado.web import Application

from hive.dispatcher import Signal
from hive.receivers import is_coroutine

GROUP = "hive.plugins"
"""The entry-point group in which packages offer plugins."""
MEMBERS = ("get_signal_subscriptions", "bootstrap")


class PluginError(RuntimeError):
    """A plugin cannot be used; the message names it and says why."""


class Subscription(NamedTuple):
    """What a plugin asks for; the `uid` makes the connection its own."""

    signal: Signal
    receiver: Callable[..., Any]
    sender: Any
    uid: object


@dataclass
class Installed:
    """A plugin in an application."""

    name: str
    plugin: Any
    is_limited: bool
    subscriptions: list[Subscription]

    def connect(self, application: Application) -> None:
        only = application if self.is_limited else None
        for signal, receiver, sender, uid in self.subscriptions:
            signal.connect(receiver, sender, weak=False, dispatch_uid=uid, application=only)

    def bootstrap(self, application: Application) -> None:
        if bootstrap := getattr(self.plugin, "bootstrap", None):
            bootstrap(application)

    def is_of(self, plugin: Any) -> bool:
        """Whether this is the plugin, or one of that class."""
        return self.plugin is plugin or type(self.plugin) is plugin

    def disconnect(self) -> None:
        for subscription in self.subscriptions:
            subscription.signal.disconnect(dispatch_uid=subscription.uid)


_installed: WeakKeyDictionary[Application, dict[str, Installed]] = WeakKeyDictionary()


def discover() -> list[str]:
    """The names of the plugins that installed packages offer, sorted. None of them is loaded."""
    return sorted({entry_point.name for entry_point in entry_points(group=GROUP)})


def install(application: Application, *plugins: Any, limited: bool = False) -> None:
    """Connect the receivers of all `plugins`, then call the `bootstrap` of each: in this order, all or none.

    The place for it is between making the application and listening. A text stands for what a package
    offers by that name: ``install(application, *discover())`` takes all. Receivers hear every application
    of the process, or where `limited` what is sent in requests to this one; they are connected as long as
    this one lives. A plugin that is installed in it already is left as it is.

    Raises `PluginError`, with nothing installed, if one of them cannot be loaded. What a `bootstrap` did
    before that is not undone.
    """
    known = installed_in(application)
    fresh: list[Installed] = []
    try:
        for plugin in plugins:
            with blaming(plugin):
                if one := load(plugin, known, limited):
                    known[one.name] = one
                    fresh.append(one)
                    one.connect(application)
        for one in fresh:
            with blaming(one.plugin):
                one.bootstrap(application)
    except BaseException:
        for one in fresh:
            one.disconnect()
            del known[one.name]
        raise
    for one in fresh:
        finalize(application, one.disconnect).atexit = False


def disable(application: Application, name: str) -> None:
    """Disconnect the receivers of a plugin, and no others, until it is enabled; `PluginError` if unknown."""
    find(application, name).disconnect()


def enable(application: Application, name: str) -> None:
    """Connect the receivers of a plugin again, behind all others; `PluginError` if it is unknown."""
    find(application, name).connect(application)


def installed_in(application: Application) -> dict[str, Installed]:
    """The plugins of an application by name; `TypeError` if it is none."""
    if not isinstance(application, Application):
        raise TypeError(f"Plugins are for a tornado.web.Application, not for {application!r}.")
    return _installed.setdefault(application, {})


def find(application: Application, name: str) -> Installed:
    """The plugin that is installed by this name; `PluginError` if there is none."""
    known = installed_in(application)
    if name not in known:
        raise PluginError(f"No plugin {name!r} is installed, only these: {', '.join(known) or 'none'}.")
    return known[name]


@contextmanager
def blaming(plugin: Any) -> Iterator[None]:
    """Say of any exception which plugin it comes from."""
    try:
        yield
    except Exception as error:
        try:
            name = plugin_name(plugin)
        except Exception:  # noqa: BLE001 - what it is called may be the very thing that fails
            name = repr(plugin)
        raise PluginError(f"The plugin {name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def plugin_name(plugin: Any) -> str:
    """What a plugin is called."""
    if isinstance(plugin, str):
        return plugin
    named = plugin if isinstance(plugin, type) or inspect.ismodule(plugin) else type(plugin)
    name = getattr(plugin, "name", named.__name__)
    return name if isinstance(name, str) else named.__name__


def load(plugin: Any, known: dict[str, Installed], limited: bool) -> Installed | None:
    """A plugin with what it subscribes to; None if it is known already."""
    found = offered(plugin) if isinstance(plugin, str) else plugin
    if any(one.is_of(found) for one in known.values()):
        return None
    loaded = found() if isinstance(found, type) else found
    name = plugin if isinstance(plugin, str) else plugin_name(loaded)
    if name in known:
        raise ValueError("another one of that name is installed.")
    check(loaded)
    return Installed(name, loaded, limited, list(subscriptions_of(loaded)))


def check(plugin: Any) -> None:
    """Raises `TypeError` if it has not what a plugin has."""
    members = [member for member in MEMBERS if getattr(plugin, member, None)]
    if not members:
        raise TypeError(f"{plugin!r} has neither get_signal_subscriptions() nor bootstrap(application).")
    for member in members:
        if is_coroutine(getattr(plugin, member)):
            raise TypeError(f"{member} is a coroutine function, and there may be no event loop yet.")


def offered(name: str) -> Any:
    """What an installed package offers by this name."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise LookupError(f"no installed package offers it, but {', '.join(discover()) or 'nothing'}.")
    if len(found) > 1:
        rivals = " and ".join(one.dist.name if one.dist else one.value for one in found)
        raise LookupError(f"several installed packages offer it: {rivals}.")
    return found[0].load()


def subscriptions_of(plugin: Any) -> Iterator[Subscription]:
    """What a plugin subscribes to. Raises `TypeError` where it is not in the form that it should have."""
    declare = getattr(plugin, "get_signal_subscriptions", None)
    declared = declare() if declare else {}
    if not isinstance(declared, Mapping):
        raise TypeError(f"get_signal_subscriptions() gave {declared!r}, which is not a dictionary.")
    for signal, receivers in declared.items():
        if not isinstance(signal, Signal):
            raise TypeError(f"{signal!r} is not a signal of hive; connect to others in bootstrap.")
        if not isinstance(receivers, list | tuple):
            raise TypeError(f"{signal.name} has {receivers!r}, which is not a list of receivers.")
        for one in receivers:
            how = one if isinstance(one, dict) else {"receiver": one}
            if not {"receiver"} <= how.keys() <= {"receiver", "sender"}:
                raise TypeError(f"{signal.name} has {one!r}, which is not {{'receiver': …, 'sender': …}}.")
            yield Subscription(signal, how["receiver"], how.get("sender"), object())
