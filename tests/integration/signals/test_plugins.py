"""Plugins hear the requests to the applications in which they are installed."""

import pytest
from mongoengine import Document, StringField
from tornado.web import Application

from hive import ModelHive, plugins, signals
from hive.testing import serve


class Tree(Document):
    name = StringField()


def application():
    return Application(ModelHive.routes_for(Tree))


def subscribing(subscriptions, name="subscribing"):
    """A plugin that subscribes to this and nothing else."""
    return type(name, (), {"get_signal_subscriptions": lambda self: subscriptions})()


def creating():
    """A plugin that hears what is created, and what it has heard."""
    heard = []
    signal = signals.post_create_instance
    return subscribing({signal: [lambda sender, instance: heard.append(instance.name)]}, "creating"), heard


@pytest.fixture(autouse=True)
def no_plugin_is_left():
    yield
    for one, known in list(plugins._installed.items()):
        for name in known:
            plugins.disable(one, name)


@pytest.fixture
def app():
    return application()


@pytest.fixture
def other():
    return application()


def test_bootstrap_is_called_before_the_first_request_and_may_add_routes(mongomock_database):
    app, order = Application(), []

    def bootstrap(application):
        order.append("bootstrap")
        application.add_handlers(".*", ModelHive.routes_for(Tree))

    request = {signals.request_started: [lambda sender: order.append("request")]}
    plugins.install(app, type("Adds", (), {"bootstrap": staticmethod(bootstrap)}), subscribing(request))
    with serve(app) as client:
        assert [client.get("/tree").status, client.get("/tree").status] == [200, 200]
    assert order == ["bootstrap", "request", "request"]


def test_a_plugin_that_is_disabled_by_a_receiver_hears_no_more_of_that_request(app, mongomock_database):
    heard = []

    async def switch_off(sender):
        heard.append("switched off")
        plugins.disable(app, "late")

    late = {
        signal: [lambda sender, signal: heard.append(signal.name)]
        for signal in (signals.pre_create_instance, signals.post_create_instance)
    }
    plugins.install(app, subscribing({signals.pre_create_instance: [switch_off]}, "early"))
    plugins.install(app, subscribing(late, "late"))
    with serve(app) as client:
        assert client.post("/tree", json={"name": "x"}).status == 201
        assert heard == ["switched off"]
        plugins.disable(app, "early")
        plugins.enable(app, "late")
        assert client.post("/tree", json={"name": "x"}).status == 201
    assert heard == ["switched off", "pre_create_instance", "post_create_instance"]


def test_a_plugin_may_disable_itself_while_it_hears(app, mongomock_database):
    heard = []

    def once(sender):
        heard.append(sender)
        plugins.disable(app, "once")

    plugins.install(app, subscribing({signals.pre_get_list: [once]}, "once"))
    with serve(app) as client:
        assert [client.get("/tree").status, client.get("/tree").status] == [200, 200]
    assert heard == [Tree]


# One application of several


@pytest.fixture
def clients(mongomock_database, app, other):
    """One for each of two applications in one process."""
    with serve(app) as to_app, serve(other) as to_other:
        yield to_app, to_other


def plant(client, name):
    assert client.post("/tree", json={"name": name}).status == 201


def test_a_plugin_hears_every_application_of_the_process(clients, app):
    plugin, heard = creating()
    plugins.install(app, plugin)
    for client, name in zip(clients, ("here", "there"), strict=True):
        plant(client, name)
    assert heard == ["here", "there"]


def test_a_limited_plugin_hears_requests_to_its_application_only(clients, app):
    plugin, heard = creating()
    plugins.install(app, plugin, limited=True)
    for client, name in zip(clients, ("here", "there"), strict=True):
        plant(client, name)
    assert heard == ["here"]


def test_a_limited_plugin_stays_limited_when_it_is_enabled_again(clients, app):
    plugin, heard = creating()
    plugins.install(app, plugin, limited=True)
    plugins.disable(app, "creating")
    plant(clients[0], "disabled")
    plugins.enable(app, "creating")
    for client, name in zip(clients, ("here", "there"), strict=True):
        plant(client, name)
    assert heard == ["here"]


def test_a_plugin_limited_to_each_of_two_hears_each_once_and_can_be_disabled_in_one(clients, app, other):
    plugin, heard = creating()
    for application in (app, other):
        plugins.install(application, plugin, limited=True)
    for client, name in zip(clients, ("here", "there"), strict=True):
        plant(client, name)
    plugins.disable(app, "creating")
    for client, name in zip(clients, ("not here", "again"), strict=True):
        plant(client, name)
    assert heard == ["here", "there", "again"]


def test_a_class_is_another_object_in_each_application(clients, app, other):
    class Creating:
        def __init__(self):
            self.heard = []

        def get_signal_subscriptions(self):
            return {signals.post_create_instance: [lambda sender, instance: self.heard.append(instance.name)]}

    for application in (app, other):
        plugins.install(application, Creating, limited=True)
    for client, name in zip(clients, ("here", "there"), strict=True):
        plant(client, name)
    assert [plugins.find(one, "Creating").plugin.heard for one in (app, other)] == [["here"], ["there"]]
