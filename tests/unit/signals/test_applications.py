"""Receivers that are limited to an application hear nothing outside of its requests."""

import gc
import weakref

import pytest
from mongoengine import Document
from tornado.web import Application

import hive
from hive import ModelHive, signals
from hive.signals import Namespace

noticed = Namespace().signal("noticed", "For tests.", ("what",))


class Fish(Document):
    pass


class Hears:
    """A receiver of anything, which remembers the senders."""

    def __init__(self):
        self.senders = []

    def __call__(self, sender):
        self.senders.append(sender)


@pytest.fixture
def connect():
    """Gives what connects a receiver until the test ends, and tells it: ``connect(signal, ...)``."""
    connected = []

    def connect(signal, **how):
        hears = Hears()
        connected.append((signal, hears))
        return signal.connect(hears, weak=False, **how)

    yield connect
    for signal, hears in connected:
        signal.disconnect(hears)


@pytest.fixture
def red():
    return Application()


def test_outside_of_a_request_only_those_hear_who_named_no_application(connect, red):
    limited, anywhere = connect(noticed, application=red), connect(noticed)
    assert hive.context.get() is None
    assert noticed.send("here", what="nothing") == [(anywhere, None)]
    assert (limited.senders, anywhere.senders) == ([], ["here"])


def test_outside_of_a_request_a_limited_receiver_is_none(connect, red):
    connect(noticed, application=red)
    assert not noticed.has_receivers_for("here")
    assert noticed.send("here", what="nothing") == []


def test_routes_are_registered_outside_of_requests(connect, red):
    limited, anywhere = (
        connect(signals.routes_registered, application=red),
        connect(signals.routes_registered),
    )
    red.add_handlers(".*", ModelHive.routes_for(Fish, prefix="more"))
    assert (limited.senders, anywhere.senders) == ([], [Fish])


def test_a_connection_keeps_no_application_alive(connect):
    mortal = Application()
    known = weakref.ref(mortal)
    connect(noticed, application=mortal)
    del mortal
    gc.collect()
    assert known() is None


def test_what_is_no_application_is_refused():
    signal = Namespace().signal("happened")
    with pytest.raises(TypeError, match=r"application is a tornado.web.Application, not 'nonsense'"):
        signal.connect(print, application="nonsense")
    assert not signal.receivers
