"""Plugins are installed, by object or by name, hear what they subscribe to, and are disabled."""

import gc
import sys
import types

import pytest
from tornado.web import Application

from hive import plugins, signals
from hive.plugins import PluginError
from hive.signals import ANY, Namespace, ext

happened = Namespace().signal("happened", "For tests.", ("what",))
ended = Namespace().signal("ended", "For tests.", ("what",))


class Tree:
    """A sender."""


class Oak(Tree):
    """Another one."""


class Plugin:
    """Hears `happened`, and remembers what, and for which applications it was bootstrapped."""

    made = 0

    def __init__(self):
        type(self).made += 1
        self.heard = []
        self.applications = []

    def get_signal_subscriptions(self):
        return {happened: [self.hears]}

    def hears(self, sender, what):
        self.heard.append(what)

    def bootstrap(self, application):
        self.applications.append(application)


class Named(Plugin):
    name = "gardener"


def subscribing(subscriptions, name="subscribing"):
    """A plugin that subscribes to this and nothing else."""
    return type(name, (), {"get_signal_subscriptions": lambda self: subscriptions})()


def bootstrapping(bootstrap, name="bootstrapping"):
    """A plugin that does this when it is bootstrapped and nothing else."""
    return type(name, (), {"bootstrap": staticmethod(bootstrap)})()


def failing(*given, **arguments):
    raise ZeroDivisionError("why")


def told(what):
    happened.send("somebody", what=what)


@pytest.fixture(autouse=True)
def nobody_is_left():
    """After each test all plugins are disabled, whereupon all signals must be as they were before."""

    def receivers():
        every = [*signals.core.values(), *ext.values(), happened, ended]
        return {signal: set(signal.receivers) for signal in every if signal.receivers}

    before = receivers()
    yield
    for one, known in list(plugins._installed.items()):
        for name in known:
            plugins.disable(one, name)
    gc.collect()
    assert receivers() == before


@pytest.fixture
def app():
    return Application()


@pytest.fixture
def other():
    return Application()


@pytest.fixture
def plugin():
    return Plugin()


# Objects, classes, modules, and their names


def test_an_object_is_a_plugin(app, plugin):
    plugins.install(app, plugin)
    told(1)
    assert plugin.heard == [1]
    assert plugins.find(app, "Plugin").plugin is plugin


def test_a_class_is_a_plugin_of_which_one_object_is_made(app):
    before = Plugin.made
    plugins.install(app, Plugin)
    told(1)
    assert Plugin.made == before + 1
    assert plugins.find(app, "Plugin").plugin.heard == [1]


def test_a_module_is_a_plugin(app):
    module, heard = types.ModuleType("garden.tools"), []
    module.get_signal_subscriptions = lambda: {
        happened: [lambda sender, what: heard.append((what, "module"))]
    }
    module.bootstrap = heard.append
    plugins.install(app, module)
    told(1)
    assert heard == [app, (1, "module")]
    assert plugins.find(app, "garden.tools").plugin is module


@pytest.mark.parametrize("what", [Named, Named()], ids=["class", "object"])
def test_a_name_goes_before_that_of_the_class(app, what):
    plugins.install(app, what)
    assert isinstance(plugins.find(app, "gardener").plugin, Named)
    with pytest.raises(PluginError, match="'Named'"):
        plugins.find(app, "Named")


def test_a_module_may_have_a_name_too(app):
    module = types.ModuleType("garden.tools")
    module.name, module.bootstrap = "spade", lambda application: None
    plugins.install(app, module)
    assert plugins.find(app, "spade").plugin is module


def test_either_member_is_enough(app):
    heard = []
    plugins.install(app, subscribing({happened: [lambda sender, what: heard.append(what)]}))
    plugins.install(app, bootstrapping(heard.append))
    told(1)
    assert heard == [app, 1]


# Subscriptions


def test_a_receiver_alone_hears_every_sender_one_with_a_sender_only_that(app):
    heard = []
    plugins.install(
        app,
        subscribing(
            {
                happened: [
                    lambda sender: heard.append(("any", sender)),
                    {"receiver": lambda sender: heard.append(("oak", sender)), "sender": Oak},
                    {"receiver": lambda sender: heard.append(("tree", sender)), "sender": Tree},
                    {"receiver": lambda sender: heard.append(("text", sender)), "sender": "oak"},
                    {"receiver": lambda sender: heard.append(("dict", sender))},
                    {"receiver": lambda sender: heard.append(("ANY", sender)), "sender": ANY},
                ]
            }
        ),
    )
    for sender in (Oak, "oak"):
        happened.send(sender, what=1)
    by = [("any", Oak), ("oak", Oak), ("tree", Oak), ("dict", Oak), ("ANY", Oak)]
    assert heard == [*by, ("any", "oak"), ("text", "oak"), ("dict", "oak"), ("ANY", "oak")]


def test_a_tuple_is_a_list_and_an_empty_one_is_fine(app):
    heard = []
    plugins.install(app, subscribing({happened: (heard.append,), ended: []}), subscribing({}, "nothing"))
    told(1)
    assert heard == ["somebody"]


def test_lambdas_and_methods_are_kept(app):
    heard = []

    class Careless:
        def get_signal_subscriptions(self):
            class Forgotten:
                def method(self, sender, what):
                    heard.append(("method", what))

            return {happened: [lambda sender, what: heard.append(("lambda", what)), Forgotten().method]}

    plugins.install(app, Careless)
    gc.collect()
    told(1)
    assert heard == [("lambda", 1), ("method", 1)]


def test_receivers_hear_in_the_order_of_the_plugins(app):
    order = []

    def hearing(name):
        return subscribing({happened: [lambda sender: order.append(name)]}, name)

    plugins.install(app, hearing("a"), hearing("b"))
    plugins.install(app, hearing("c"))
    told(1)
    assert order == ["a", "b", "c"]


def test_a_plugin_is_asked_once_what_it_subscribes_to(app):
    asked = []

    class Counting(Plugin):
        def get_signal_subscriptions(self):
            asked.append(1)
            return super().get_signal_subscriptions()

    plugins.install(app, Counting)
    plugins.disable(app, "Counting")
    plugins.enable(app, "Counting")
    assert asked == [1]


# bootstrap


def test_bootstrap_is_called_once_with_the_application(app, plugin):
    plugins.install(app, plugin, plugin)
    plugins.install(app, plugin)
    assert plugin.applications == [app]
    assert plugin.applications[0] is app
    told(1)
    assert plugin.heard == [1]


def test_a_class_that_is_installed_again_stays_the_same_object(app):
    plugins.install(app, Named, Named)
    first = plugins.find(app, "gardener").plugin
    plugins.install(app, Named)
    assert plugins.find(app, "gardener").plugin is first
    assert first.applications == [app]


def test_bootstrap_is_called_once_for_each_application(app, other, plugin):
    plugins.install(app, plugin)
    plugins.install(other, plugin)
    assert plugin.applications == [app, other]
    told(1)
    assert plugin.heard == [1]


def test_bootstrap_is_called_when_the_receivers_of_all_are_connected(app):
    order = []

    class First:
        def get_signal_subscriptions(self):
            return {happened: [lambda sender, what: order.append(("first hears", what))]}

        def bootstrap(self, application):
            order.append("first")
            told("from first")

    class Second:
        def get_signal_subscriptions(self):
            return {happened: [lambda sender, what: order.append(("second hears", what))]}

        def bootstrap(self, application):
            order.append("second")

    plugins.install(app, First, Second)
    assert order == ["first", ("first hears", "from first"), ("second hears", "from first"), "second"]


def test_a_bootstrap_may_install_other_plugins(app, plugin):
    plugins.install(app, bootstrapping(lambda application: plugins.install(application, plugin)))
    told(1)
    assert (plugin.heard, plugin.applications) == ([1], [app])


# disable and enable


def test_a_disabled_plugin_hears_nothing_until_it_is_enabled(app, plugin):
    plugins.install(app, plugin)
    plugins.disable(app, "Plugin")
    told(1)
    plugins.enable(app, "Plugin")
    told(2)
    assert plugin.heard == [2]
    assert plugin.applications == [app]


def test_disabling_and_enabling_twice_is_once(app, plugin):
    plugins.install(app, plugin)
    plugins.enable(app, "Plugin")
    told(1)
    plugins.disable(app, "Plugin")
    plugins.disable(app, "Plugin")
    told(2)
    plugins.enable(app, "Plugin")
    plugins.enable(app, "Plugin")
    told(3)
    plugins.disable(app, "Plugin")
    told(4)
    assert plugin.heard == [1, 3]
    assert not happened.receivers


def test_all_subscriptions_of_a_disabled_plugin_go(app):
    heard = []
    several = [heard.append, {"receiver": lambda sender: heard.append("oak"), "sender": Oak}]
    plugins.install(app, subscribing({happened: several, ended: several}))
    plugins.disable(app, "subscribing")
    for signal in (happened, ended):
        signal.send(Oak, what=1)
        assert not signal.receivers
    assert heard == []
    plugins.enable(app, "subscribing")
    for signal in (happened, ended):
        signal.send(Oak, what=1)
    assert heard == [Oak, "oak"] * 2


def test_an_enabled_plugin_hears_behind_all_others(app):
    order = []
    for name in ("a", "b"):
        plugins.install(app, subscribing({happened: [lambda sender, by=name: order.append(by)]}, name))
    plugins.disable(app, "a")
    plugins.enable(app, "a")
    told(1)
    assert order == ["b", "a"]


@pytest.mark.parametrize("sender", [None, ANY, "somebody"])
@pytest.mark.parametrize("uid", [None, "own"])
def test_disabling_leaves_what_the_application_connected_itself(app, sender, uid):
    heard = []

    def receiver(sender, what):
        heard.append(what)

    happened.connect(receiver, sender, dispatch_uid=uid)
    try:
        plugins.install(app, subscribing({happened: [receiver]}))
        told(1)
        plugins.disable(app, "subscribing")
        told(2)
    finally:
        assert happened.disconnect(receiver, dispatch_uid=uid)
    told(3)
    assert heard == [1, 2]


def test_what_the_application_disconnects_the_plugin_still_hears(app):
    heard = []

    def receiver(sender, what):
        heard.append(what)

    happened.connect(receiver)
    plugins.install(app, subscribing({happened: [receiver]}))
    assert happened.disconnect(receiver)
    told(1)
    assert heard == [1]


def test_disabling_leaves_another_plugin_with_the_very_same_receiver(app):
    heard = []

    def receiver(sender, what):
        heard.append(what)

    plugins.install(app, subscribing({happened: [receiver]}, "a"), subscribing({happened: [receiver]}, "b"))
    plugins.disable(app, "a")
    told(1)
    plugins.disable(app, "b")
    told(2)
    assert heard == [1]


def test_disabling_in_one_application_leaves_the_other(app, other):
    heard = []
    plugin = subscribing({happened: [lambda sender, what: heard.append(what)]})
    plugins.install(app, plugin)
    plugins.install(other, plugin)
    plugins.disable(app, "subscribing")
    told(1)
    plugins.disable(other, "subscribing")
    told(2)
    assert heard == [1]


def test_installing_again_does_not_enable(app, plugin):
    plugins.install(app, plugin)
    plugins.disable(app, "Plugin")
    plugins.install(app, plugin)
    told(1)
    assert plugin.heard == []


@pytest.mark.parametrize("switch", [plugins.disable, plugins.enable, plugins.find])
def test_an_unknown_name_is_answered_with_those_that_there_are(app, other, plugin, switch):
    with pytest.raises(PluginError, match=r"'Plugni' .* none"):
        switch(app, "Plugni")
    plugins.install(app, plugin, Named)
    with pytest.raises(PluginError, match=r"'Plugni' .* Plugin, gardener"):
        switch(app, "Plugni")
    with pytest.raises(PluginError, match=r"'Plugin' .* none"):
        switch(other, "Plugin")
    told(1)
    assert plugin.heard == [1]


# What cannot be loaded


def members(**attributes):
    return type("Broken", (), attributes)


async def coroutine(self, application):
    pass


class Calls:
    async def __call__(self, application):
        pass


def declaring(subscriptions):
    return members(get_signal_subscriptions=lambda self: subscriptions)


BROKEN = {
    "constructor": (members(__init__=failing, bootstrap=failing), "ZeroDivisionError: why"),
    "constructor with arguments": (
        members(__init__=lambda self, it: None, bootstrap=failing),
        "argument: .it.",
    ),
    "subscriptions raise": (members(get_signal_subscriptions=failing), "ZeroDivisionError: why"),
    "subscriptions are nothing": (declaring(None), "None, which is not a dictionary"),
    "subscriptions are a list": (declaring([happened]), "which is not a dictionary"),
    "subscriptions are no method": (members(get_signal_subscriptions={happened: []}), "dict"),
    "no list": (declaring({happened: failing}), "happened has .* not a list of receivers"),
    "a dictionary for a list": (declaring({happened: {"receiver": failing}}), "happened has .* not a list"),
    "a text for a list": (declaring({happened: "failing"}), "happened has 'failing', which is not a list"),
    "no receiver": (declaring({happened: [{"sender": Tree}]}), "happened has .*'receiver': …, 'sender': …"),
    "wrong key": (declaring({happened: [{"receiver": failing, "weak": True}]}), "happened has .* is not {"),
    "empty dictionary": (declaring({happened: [{}]}), "happened has {}, which is not"),
    "no signal": (declaring({"happened": [failing]}), "'happened' is not a signal of hive"),
    "unknown argument": (declaring({happened: [lambda sender, else_: None]}), "it requires 'else_'"),
    "no sender": (declaring({happened: [lambda: None]}), "it takes no sender"),
    "not callable": (declaring({happened: ["failing"]}), "not a callable"),
    "bootstrap raises": (members(bootstrap=failing), "ZeroDivisionError: why"),
    "bootstrap takes nothing": (members(bootstrap=lambda self: None), "positional argument"),
    "bootstrap is a coroutine": (members(bootstrap=coroutine), "coroutine function"),
    "bootstrap is called as one": (members(bootstrap=Calls()), "coroutine function"),
    "bootstrap is no method": (members(bootstrap="now"), "'str' object is not callable"),
    "subscriptions are a coroutine": (
        members(get_signal_subscriptions=coroutine),
        "get_signal_subscriptions is a coroutine function",
    ),
    "members are None": (members(bootstrap=None, get_signal_subscriptions=None), "neither"),
    "neither member": (members(), "neither get_signal_subscriptions.. nor bootstrap"),
}


@pytest.mark.parametrize(("broken", "why"), BROKEN.values(), ids=BROKEN)
def test_a_plugin_that_cannot_be_loaded_is_named_and_nothing_is_installed(app, plugin, broken, why):
    late = Named()
    with pytest.raises(PluginError, match=f"The plugin 'Broken' cannot be loaded: .*{why}") as raised:
        plugins.install(app, plugin, broken, late)
    assert raised.value.__cause__ is not None
    assert not happened.receivers
    for name in ("Plugin", "Broken", "gardener"):
        with pytest.raises(PluginError, match="only these: none"):
            plugins.enable(app, name)
    plugins.install(app, plugin, late)
    told(1)
    assert plugin.heard == late.heard == [1]


def test_what_was_installed_before_stays_when_another_fails(app, plugin):
    plugins.install(app, plugin)
    with pytest.raises(PluginError, match="'Broken'"):
        plugins.install(app, plugin, Named, members(bootstrap=failing))
    told(1)
    assert plugin.heard == [1]
    assert plugins.find(app, "Plugin").plugin is plugin


def test_a_signal_that_has_the_first_half_of_a_plugin_loses_it(app):
    heard = []
    half = {happened: [heard.append, failing], ended: [lambda sender, unknown: None]}
    with pytest.raises(PluginError, match=r"'subscribing' .* it requires 'unknown'"):
        plugins.install(app, subscribing(half))
    assert not happened.receivers
    assert not ended.receivers


def test_no_bootstrap_is_called_where_one_cannot_be_connected(app, plugin):
    with pytest.raises(PluginError):
        plugins.install(app, plugin, declaring({happened: [lambda sender, else_: None]}))
    assert plugin.applications == []


def test_later_bootstraps_are_not_called_after_one_that_failed(app, plugin):
    with pytest.raises(PluginError, match="'Broken'"):
        plugins.install(app, members(bootstrap=failing), plugin)
    assert plugin.applications == []


def test_an_interrupted_installation_leaves_nothing(app, plugin):
    def interrupt(application):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plugins.install(app, plugin, bootstrapping(interrupt))
    assert not happened.receivers
    with pytest.raises(PluginError, match="none"):
        plugins.find(app, "Plugin")


def test_another_plugin_of_that_name_is_refused(app):
    first, second = Named(), Named()
    plugins.install(app, first)
    for rival in (second, type("Rival", (Named,), {})):
        with pytest.raises(PluginError, match=r"'gardener' cannot be loaded: .*another one of that name"):
            plugins.install(app, rival)
    told(1)
    assert (first.heard, second.heard) == ([1], [])
    assert plugins.find(app, "gardener").plugin is first


def test_two_plugins_of_one_name_in_one_call_are_refused(app):
    with pytest.raises(PluginError, match=r"'gardener' .*another one of that name"):
        plugins.install(app, Named(), Named())
    assert not happened.receivers


def test_a_name_is_free_in_another_application(app, other):
    first, second = Named(), Named()
    plugins.install(app, first)
    plugins.install(other, second)
    told(1)
    assert first.heard == second.heard == [1]


# Packages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package: ``package(name, source, plugin=object)`` offers an object of its module so."""
    modules = []

    def package(name, source, **offers):
        home = tmp_path / name
        info = home / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (home / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{plugin} = {name}{':' * bool(what)}{what}" for plugin, what in offers.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{plugins.GROUP}]", *lines, ""]))
        monkeypatch.syspath_prepend(home)
        modules.append(name)

    yield package
    for name in modules:
        sys.modules.pop(name, None)


GARDEN = """
from hive.signals import ext

heard, applications = [], []
watered = ext.signal("garden_watered", "For tests.", ("what",))

class Garden:
    name = "not asked for"

    def get_signal_subscriptions(self):
        return {watered: [lambda sender, what: heard.append(what)]}

    def bootstrap(self, application):
        applications.append(application)

ready = Garden()

def get_signal_subscriptions():
    return ready.get_signal_subscriptions()
"""


def test_discover_gives_the_names_sorted_and_loads_nothing(package):
    before = plugins.discover()
    package("garden_b", "raise ZeroDivisionError", b="Any", a="Any")
    package("garden_a", "raise ZeroDivisionError", c="Any", a="Any")
    assert plugins.discover() == sorted([*before, "a", "b", "c"])
    assert not {"garden_a", "garden_b"} & sys.modules.keys()


@pytest.mark.parametrize("what", ["Garden", "ready", ""], ids=["class", "object", "module"])
def test_what_a_package_offers_is_installed_by_its_name(app, package, what):
    package("garden", GARDEN, rose=what)
    plugins.install(app, "rose")
    ext.signal("garden_watered").send("somebody", what=1)
    garden = sys.modules["garden"]
    assert garden.heard == [1]
    assert garden.applications == ([app] if what else [])
    assert plugins.find(app, "rose").name == "rose"
    plugins.disable(app, "rose")
    assert not ext.signal("garden_watered").receivers


def test_all_that_is_discovered_can_be_installed(app, package):
    package("garden", GARDEN, rose="Garden", tulip="ready")
    plugins.install(app, *plugins.discover())
    plugins.install(app, "tulip", "rose")
    assert sys.modules["garden"].applications == [app, app]


def test_a_name_that_no_package_offers_is_answered_with_those_that_there_are(app, package, plugin):
    package("garden", GARDEN, rose="Garden")
    with pytest.raises(
        PluginError, match=r"'tulip' cannot be loaded: .*no installed package offers it, but rose"
    ):
        plugins.install(app, plugin, "tulip")
    assert not happened.receivers
    assert "garden" not in sys.modules


def test_a_name_that_two_packages_offer_is_refused_with_both(app, package):
    package("garden", GARDEN, rose="Garden")
    package("orchard", GARDEN, rose="Garden", tulip="Garden")
    with pytest.raises(PluginError) as raised:
        plugins.install(app, "tulip", "rose")
    assert "'rose'" in str(raised.value)
    assert "garden and orchard" in str(raised.value) or "orchard and garden" in str(raised.value)
    assert not ext.signal("garden_watered").receivers
    plugins.install(app, "tulip")
    assert sys.modules["orchard"].applications == [app]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import there_is_no_such_module", "ModuleNotFoundError: .*there_is_no_such_module"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "SyntaxError"),
        ("", "AttributeError: .*'Garden'"),
        ("Garden = None", "TypeError: None has neither"),
    ],
    ids=["import", "raises", "syntax", "attribute", "nothing"],
)
def test_a_package_that_cannot_be_loaded_is_named_and_nothing_is_installed(app, package, plugin, source, why):
    package("garden", source, rose="Garden")
    with pytest.raises(PluginError, match=f"The plugin 'rose' cannot be loaded: {why}"):
        plugins.install(app, plugin, "rose")
    assert not happened.receivers
    plugins.install(app, plugin)
    told(1)
    assert plugin.heard == [1]


def test_a_signal_of_a_plugin_that_is_not_installed_can_be_heard_and_never_comes(app, package):
    heard = []
    signal = ext.signal("garden_watered")
    plugins.install(app, subscribing({signal: [lambda sender, what: heard.append(what)]}))
    told(1)
    assert heard == []
    package("garden", GARDEN, rose="Garden")
    plugins.install(app, "rose")
    sys.modules["garden"].watered.send("somebody", what=2)
    assert heard == [2]


# The end of an application


def test_a_limited_plugin_hears_nothing_outside_of_requests(app, plugin):
    plugins.install(app, plugin, limited=True)
    told(1)
    assert plugin.heard == []


def test_a_limited_plugin_goes_with_its_application(plugin):
    plugins.install(Application(), plugin, limited=True)
    plugin.applications.clear()
    gc.collect()
    assert not happened.receivers


def test_the_receivers_of_a_plugin_go_with_its_application():
    app, heard = Application(), []
    plugins.install(app, subscribing({happened: [lambda sender, what: heard.append(what)]}))
    told(1)
    del app
    gc.collect()
    told(2)
    assert heard == [1]
    assert not happened.receivers


def test_a_class_whose_objects_have_a_name_is_installed_by_that_name_and_once(app):
    class Late:
        def __init__(self):
            self.name = "late"

        def bootstrap(self, application):
            made.append(self)

    made = []
    plugins.install(app, Late)
    plugins.install(app, Late)
    assert plugins.find(app, "late").plugin is made[0]
    assert len(made) == 1


def test_a_plugin_whose_name_cannot_be_told_is_named_by_what_it_is(app):
    class Nameless:
        @property
        def name(self):
            raise ZeroDivisionError

        def bootstrap(self, application):
            pass

    with pytest.raises(PluginError, match=r"Nameless object at .* cannot be loaded: ZeroDivisionError"):
        plugins.install(app, Nameless())


def test_a_package_that_is_installed_again_stays_as_it_is(app, package):
    package(
        "orchard", "class Orchard:\n    def bootstrap(self, application):\n        pass\n", orchard="Orchard"
    )
    plugins.install(app, "orchard")
    first = plugins.find(app, "orchard").plugin
    plugins.install(app, "orchard", type(first), first)
    assert plugins.find(app, "orchard").plugin is first


def test_a_package_does_not_pass_for_another_plugin_of_its_name(app, package):
    package("orchard", "def bootstrap(application):\n    pass\n", gardener="")
    plugins.install(app, Named)
    with pytest.raises(PluginError, match=r"'gardener' .*another one of that name"):
        plugins.install(app, "gardener")


@pytest.mark.parametrize("nothing", ["app", None, Application])
def test_what_is_no_application_takes_no_plugins(nothing, plugin):
    for call in (plugins.install, plugins.disable, plugins.enable):
        with pytest.raises(TypeError, match=r"for a tornado.web.Application, not for"):
            call(nothing, plugin)
    assert not happened.receivers
