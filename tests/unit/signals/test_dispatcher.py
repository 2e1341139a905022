"""A signal knows who hears it, calls them in order, and loses nobody that it should not."""

import asyncio
import enum
import functools
import gc
import importlib
import inspect
import logging
import sys
import threading
import types
import warnings
import weakref
from contextlib import contextmanager, suppress
from decimal import Decimal

import blinker
import pytest
from bson import ObjectId

from hive import signals
from hive.signals import ANY, Namespace, Signal, receiver
from tests.support.threads import PATIENCE, at_once, begun

WAYS = ["send", "send_robust", "send_async", "send_robust_async"]


class Animal:
    pass


class Dog(Animal):
    pass


class Puppy(Dog):
    pass


class Breed(enum.Enum):
    BEAGLE = 1


class Hearer:
    """Has a method to connect, which writes down the name of its object."""

    def __init__(self, calls, name="heard"):
        self.calls = calls
        self.name = name

    def hear(self, sender):
        self.calls.append(self.name)


class HeldUp:
    """Runs some code of the test while it is being connected, which looks at its signature."""

    def __init__(self, run):
        self.run = run

    @property
    def __signature__(self):
        self.run()
        return inspect.signature(hears)

    def __call__(self, sender):
        pass


class Decorated:
    def __init__(self, function):
        self.function = function

    def __call__(self, sender):
        self.function(sender)


def hears(sender):
    pass


def hears_too(sender):
    pass


@pytest.fixture
def signal():
    return Signal("changed", "For tests.", ("instance", "handler"))


@pytest.fixture
def calls():
    return []


@pytest.fixture
def named(calls):
    """Makes functions that write down their name; they are kept until the test ends."""
    kept = []

    def make(name):
        def write(sender):
            calls.append(name)

        kept.append(write)
        return write

    return make


def send(signal, sender=Dog, how="send"):
    responses = getattr(signal, how)(sender, instance=1, handler=2)
    return asyncio.run(responses) if inspect.iscoroutine(responses) else responses


@contextmanager
def warned():
    """A list that gets what was warned of in the block, when all that is lost there is collected."""
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield told
        gc.collect()
    told += [str(one.message) for one in caught if one.category is RuntimeWarning]


def run_in_thread(function):
    """Fails where it is deadlocked."""
    begun(function).result(PATIENCE)


# It is blinker's


def test_every_signal_of_the_catalogue_is_a_blinker_signal_with_a_name_of_its_own():
    for name, signal in signals.core.items():
        assert isinstance(signal, blinker.NamedSignal)
        assert signal.name == name
        assert getattr(signals, name) is signal


def test_any_is_blinkers():
    assert ANY is blinker.ANY is Signal.ANY


def test_connect_gives_back_the_receiver(signal):
    assert signal.connect(hears) is hears


def test_connect_via_keeps_the_receiver_and_hears_one_sender(signal, calls):
    @signal.connect_via(Dog)
    def receiver(sender):
        calls.append(sender)

    del receiver
    gc.collect()
    send(signal, Dog)
    send(signal, Animal)
    assert calls == [Dog]


def test_connected_to_ends_with_its_block_even_by_an_exception(signal, calls):
    def bad(sender):
        calls.append(sender)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), signal.connected_to(bad):
        send(signal)
    send(signal)
    assert calls == [Dog]


def test_connected_to_hears_one_sender_where_asked(signal, calls):
    with signal.connected_to(calls.append, Dog):
        send(signal, Animal)
        send(signal, Puppy)
    assert calls == [Puppy]


@pytest.mark.parametrize("how", WAYS)
def test_a_muted_signal_reaches_nobody(signal, calls, how):
    with signal.connected_to(calls.append):
        with signal.muted():
            assert signal.is_muted
            assert send(signal, how=how) == []
        assert not signal.is_muted
        send(signal, how=how)
    assert calls == [Dog]


def test_receivers_are_true_while_somebody_is_connected(signal):
    assert not signal.receivers
    signal.connect(hears, Dog)
    assert signal.receivers
    signal.disconnect(hears, Dog)
    assert not signal.receivers


@pytest.mark.parametrize(("sender", "told"), [(None, ANY), (ANY, ANY), (Dog, Dog), (0, 0)])
def test_receiver_connected_and_disconnected_are_told_with_any_for_anybody(signal, calls, sender, told):
    def tell(where, **what):
        calls.append((where, what))

    signal.receiver_connected.connect(tell)
    signal.receiver_disconnected.connect(tell)
    signal.connect(hears, sender, weak=False)
    signal.disconnect(hears, sender)
    assert calls == [
        (signal, {"receiver": hears, "sender": told, "weak": False}),
        (signal, {"receiver": hears, "sender": told}),
    ]


def test_who_hears_of_a_connection_refuses_it_with_a_type_error(signal):
    def refuses(signal, **connection):
        raise TypeError("not here")

    signal.receiver_connected.connect(refuses)
    with pytest.raises(TypeError, match="not here"):
        signal.connect(hears)
    assert not signal.receivers


def test_receiver_connected_is_not_told_of_who_is_not_connected(signal, calls):
    def tell(where, receiver, **rest):
        calls.append(receiver)

    signal.receiver_connected.connect(tell)
    signal.connect(hears, dispatch_uid="one")
    signal.connect(hears_too, dispatch_uid="one")
    assert calls == [hears]


def test_clearing_the_state_disconnects_everyone(signal):
    signal.connect(hears)
    signal.connect(hears, Dog)
    signal._clear_state()
    assert not signal.receivers
    assert send(signal) == []
    signal.connect(hears)
    assert send(signal) == [(hears, None)]


# Who is called


@pytest.mark.parametrize("anybody", [{}, {"sender": None}, {"sender": ANY}])
@pytest.mark.parametrize("sender", [None, Dog, Dog(), "google", 0, ANY])
def test_who_is_connected_to_anybody_hears_everybody(signal, anybody, sender):
    signal.connect(hears, **anybody)
    assert send(signal, sender) == [(hears, None)]


def test_has_receivers_for_a_class_means_those_of_its_bases_too(signal):
    assert not signal.has_receivers_for(Puppy)
    signal.connect(hears, Animal)
    assert signal.has_receivers_for(Puppy)
    assert not signal.has_receivers_for(object)
    assert not signal.has_receivers_for(None)
    assert not signal.has_receivers_for(ANY)


def test_receivers_for_gives_those_who_would_be_called(signal):
    signal.connect(hears, Animal)
    signal.connect(hears_too, Puppy)
    assert list(signal.receivers_for(Dog)) == [hears]
    assert list(signal.receivers_for(Puppy)) == [hears, hears_too]
    assert list(Signal("nobody").receivers_for(Dog)) == []


def test_a_base_class_as_sender_hears_its_subclasses_and_no_siblings_or_bases(signal, calls):
    signal.connect_via(Dog)(calls.append)
    for sender in (Animal, Dog, Puppy, object, type("Cat", (Animal,), {})):
        send(signal, sender)
    assert calls == [Dog, Puppy]


def test_a_subclass_made_after_connecting_is_heard(signal, calls):
    signal.connect_via(Animal)(lambda sender: calls.append(sender.__name__))
    send(signal, type("Cat", (Animal,), {}))
    assert calls == ["Cat"]


def test_an_instance_is_not_its_class(signal, calls):
    dog = Dog()
    signal.connect_via(Dog)(calls.append)
    signal.connect_via(dog)(calls.append)
    for sender in (dog, Dog(), Dog):
        send(signal, sender)
    assert calls == [dog, Dog]


def test_who_is_connected_to_a_class_and_its_base_and_anybody_is_called_once(signal, calls):
    def receiver(sender):
        calls.append(sender)

    for sender in (Dog, Animal, ANY, None, Dog):
        signal.connect(receiver, sender)
    signal.connect(receiver, Dog, dispatch_uid="one")
    signal.connect(receiver, Animal, dispatch_uid="one")
    send(signal, Puppy)
    assert calls == [Puppy]


def test_a_method_is_known_by_its_object(signal, calls):
    one, other = Hearer(calls, "one"), Hearer(calls, "other")
    for method in (one.hear, one.hear, other.hear):
        signal.connect(method)
    send(signal)
    assert calls == ["one", "other"]
    assert signal.disconnect(one.hear)
    send(signal)
    assert calls == ["one", "other", "other"]


@pytest.mark.parametrize("sender", ["google", "", 7, 10**20, 0, False])
def test_strings_and_numbers_are_told_apart_by_value(signal, calls, sender):
    equal = type(sender)(str(sender)) if sender is not False else False
    signal.connect_via(sender)(calls.append)
    for other in ("github", "0", "7", 1, -1, True, None, ANY, Dog, object()):
        send(signal, other)
    assert calls == []
    send(signal, equal)
    assert calls == [sender]


def test_a_number_is_not_the_object_with_that_address(signal, calls):
    signal.connect_via(id(Dog))(calls.append)
    signal.connect_via(id(calls))(calls.append)
    send(signal, Dog)
    send(signal, calls)
    assert calls == []


@pytest.mark.parametrize(
    ("sender", "other"),
    [((1, 2), tuple(range(1, 3))), ([1], [1]), ({}, {}), (1.5, float("1.5")), (Dog(), Dog())],
    ids=["tuple", "list", "dict", "float", "object"],
)
def test_other_objects_are_told_apart_by_what_they_are_not_by_what_they_equal(signal, sender, other):
    signal.connect(hears, sender)
    assert send(signal, other) == []
    assert send(signal, sender) == [(hears, None)]


def test_a_sender_that_dies_is_forgotten(signal, calls):
    sender = Dog()
    signal.connect_via(sender)(calls.append)
    del sender
    gc.collect()
    for _ in range(100):
        assert not signal.has_receivers_for(Dog())  # some have the address of the first
        send(signal, Dog())
    assert calls == []


@pytest.mark.parametrize("make", [list, dict, ObjectId, Decimal])
def test_a_sender_without_weak_references_is_not_taken_for_another(signal, calls, make):
    for _ in range(100):
        signal.connect(hears, make())
        assert send(signal, make()) == []
    signal.disconnect(hears)
    assert not signal._connections.senders


def test_a_class_that_dies_is_forgotten(signal, calls):
    signal.connect_via(type("Cat", (), {}))(calls.append)
    gc.collect()
    for _ in range(100):
        send(signal, type("Cow", (), {}))
    assert calls == []


def test_who_hears_several_senders_hears_the_others_when_one_dies(signal, calls):
    hearer, sender = Hearer(calls), Dog()
    signal.connect(hearer.hear, sender)
    signal.connect(hearer.hear, Dog)
    del sender
    gc.collect()
    send(signal)
    assert calls == ["heard"]


def test_a_kept_receiver_goes_with_its_only_sender(signal, calls):
    hearer, sender = Hearer(calls), Dog()
    signal.connect(hearer.hear, sender, weak=False)
    alive = weakref.ref(hearer)
    del hearer, sender
    gc.collect()
    assert alive() is None
    assert not signal.receivers


def test_who_lost_its_only_sender_is_connected_anew_behind_all_others(signal, calls, named):
    first, second, sender = named("first"), named("second"), Dog()
    signal.connect(first, sender)
    signal.connect(second)
    del sender
    gc.collect()
    signal.connect(first)
    send(signal)
    assert calls == ["second", "first"]


@pytest.mark.parametrize("crowd", [0, 1000])
def test_who_lost_its_only_sender_can_go_too(signal, calls, crowd):
    first, second, sender = Hearer(calls), Hearer(calls), Dog()
    signal.connect(first.hear, sender)
    signal.connect(second.hear, sender)
    del sender
    for number in range(crowd):
        signal.connect(hears, number)
        signal.disconnect(hears)
    assert not signal.disconnect(first.hear)
    del second
    gc.collect()
    assert not signal.receivers


def test_senders_that_come_and_go_leave_nothing_behind(signal):
    signal.connect(hears, Animal)
    for _ in range(1000):
        sender = Dog()
        signal.connect(hears_too, sender)
        signal.disconnect(hears_too, sender)
    assert len(signal._by_sender) < 500
    assert send(signal) == [(hears, None)]


# Order


@pytest.mark.parametrize("how", WAYS)
def test_receivers_are_called_in_the_order_in_which_they_were_connected(signal, calls, how, named):
    senders = [Dog, Animal, ANY, Dog, object, Animal, None, Dog]
    for index, sender in enumerate(senders):
        signal.connect(named(index), sender)
    send(signal, how=how)
    assert calls == list(range(len(senders)))


def test_it_is_the_order_of_what_connects_to_this_sender(signal, calls, named):
    first, second = named("first"), named("second")
    signal.connect(first, "another")
    signal.connect(second, Dog)
    signal.connect(first, Dog)
    send(signal)
    assert calls == ["second", "first"]


def test_who_is_connected_again_keeps_its_place(signal, calls, named):
    first = signal.connect(named("first"))
    signal.connect(named("second"), Dog)
    signal.connect(first)
    signal.connect(first, Dog)
    send(signal)
    assert calls == ["first", "second"]


def test_who_was_disconnected_loses_its_place(signal, calls, named):
    first = signal.connect(named("first"), Dog)
    signal.connect(named("second"), Dog)
    signal.disconnect(first, Dog)
    signal.connect(first, Dog)
    send(signal)
    assert calls == ["second", "first"]


# dispatch_uid

UIDS = {
    "text": "news",
    "empty text": "",
    "tuple": ("news", 1),
    "zero": 0,
    "number": 1,
    "false": False,
    "enum": Breed.BEAGLE,
    "object": object(),
    "class": Dog,
}
each_uid = pytest.mark.parametrize("uid", UIDS.values(), ids=UIDS)


@each_uid
def test_the_first_with_a_dispatch_uid_stays_and_is_called_once(signal, uid):
    signal.connect(hears, dispatch_uid=uid)
    signal.connect(hears_too, dispatch_uid=uid)
    signal.connect(hears, dispatch_uid=uid)
    assert send(signal) == [(hears, None)]


@each_uid
def test_who_has_a_dispatch_uid_is_disconnected_by_it(signal, uid):
    signal.connect(hears, dispatch_uid=uid)
    assert signal.disconnect(dispatch_uid=uid) is True
    assert signal.disconnect(dispatch_uid=uid) is False
    assert not signal.receivers
    signal.connect(hears_too, dispatch_uid=uid)
    assert send(signal) == [(hears_too, None)]


def test_a_dispatch_uid_is_for_one_sender(signal):
    signal.connect(hears, Dog, dispatch_uid="news")
    signal.connect(hears_too, Animal, dispatch_uid="news")
    signal.connect(hears_too, dispatch_uid="news")
    assert send(signal, Dog) == [(hears, None), (hears_too, None)]
    assert signal.disconnect(dispatch_uid="news", sender=Dog)
    assert send(signal, Dog) == [(hears_too, None)]


def test_a_dispatch_uid_is_for_one_signal(signal):
    other = Signal("other")
    signal.connect(hears, dispatch_uid="news")
    other.connect(hears_too, dispatch_uid="news")
    assert other.send(Dog) == [(hears_too, None)]


def test_the_dispatch_uid_of_who_was_lost_is_free(signal, calls):
    hearer = Hearer(calls, "lost")
    signal.connect(hearer.hear, dispatch_uid="news")
    hearer = Hearer(calls, "next")
    gc.collect()
    signal.connect(hearer.hear, dispatch_uid="news")
    send(signal)
    assert calls == ["next"]


def test_an_unhashable_dispatch_uid_is_a_type_error_and_nothing_is_connected(signal):
    with pytest.raises(TypeError, match="unhashable"):
        signal.connect(hears, dispatch_uid=["news"])
    assert not signal.receivers


@pytest.fixture
def plugin(tmp_path, monkeypatch, signal, calls):
    """Imports a module made of some code, which knows how often it was loaded."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or what is written next may look the same age
    monkeypatch.syspath_prepend(tmp_path)
    given = types.ModuleType("given_to_plugin")
    given.signal, given.calls, given.loads, given.Decorated = signal, calls, [], Decorated
    monkeypatch.setitem(sys.modules, "given_to_plugin", given)

    def load(code):
        head = "from given_to_plugin import *\nfrom hive.signals import receiver\nloads.append(1)\n"
        (tmp_path / "loaded_plugin.py").write_text(head + code)
        return importlib.import_module("loaded_plugin")

    yield load
    sys.modules.pop("loaded_plugin", None)


FUNCTION = "def hear(sender, load=len(loads)):\n    calls.append(load)\n"
RELOADED = {
    "decorated": "@receiver(signal, dispatch_uid='news')\n" + FUNCTION,
    "decorated, kept": "@receiver(signal, dispatch_uid='news', weak=False)\n" + FUNCTION,
    "connected": FUNCTION + "signal.connect(hear, dispatch_uid='news')",
    "connected, kept": FUNCTION + "signal.connect(hear, weak=False, dispatch_uid='news')",
    "connected without dispatch_uid": FUNCTION + "signal.connect(hear)",
    "decorated without dispatch_uid": "@receiver(signal)\n" + FUNCTION,
    "a static method": "class Ears:\n    @staticmethod\n    @receiver(signal, dispatch_uid='news')\n"
    "    def hear(sender, load=len(loads)):\n        calls.append(load)\n",
    "of a decorator without functools.wraps": "def decorated(function):\n"
    "    def wrapper(sender):\n        function(sender)\n    return wrapper\n"
    "@receiver(signal, dispatch_uid='news')\n@decorated\n" + FUNCTION,
    "of a decorator that is a class": "@receiver(signal, dispatch_uid='news')\n@Decorated\n" + FUNCTION,
    "cached": "import functools\n@receiver(signal, dispatch_uid='news')\n@functools.lru_cache\n" + FUNCTION,
    "a method": "class Ears:\n    def hear(self, sender, load=len(loads)):\n        calls.append(load)\n"
    "ears = Ears()\nsignal.connect(ears.hear, weak=False, dispatch_uid='news')",
}


@pytest.mark.parametrize("how", RELOADED)
def test_after_its_module_is_loaded_again_the_new_function_is_called_once(signal, calls, plugin, how):
    module = plugin(RELOADED[how])
    send(signal)
    for _ in range(2):
        importlib.reload(module)
        gc.collect()
        send(signal)
    assert calls == [1, 2, 3]


def test_who_is_disconnected_by_its_dispatch_uid_leaves_it_to_nobody(signal, calls):
    first, second = Hearer(calls), Hearer(calls)
    signal.connect(first.hear, dispatch_uid="news")
    signal.connect(second.hear, dispatch_uid="news")
    signal.disconnect(dispatch_uid="news")
    del first
    gc.collect()
    assert not signal.receivers


def test_who_was_refused_for_a_dispatch_uid_has_it_when_the_first_is_lost(signal, calls):
    first, second = Hearer(calls, "first"), Hearer(calls, "second")
    signal.connect(first.hear, Dog, dispatch_uid="news")
    signal.connect(second.hear, Dog, dispatch_uid="news")
    send(signal)
    del first
    gc.collect()
    send(signal)
    assert signal.disconnect(dispatch_uid="news")
    send(signal)
    assert calls == ["first", "second"]


def test_a_function_that_is_loaded_again_takes_the_place_of_the_old_one(signal, calls, plugin, named):
    module = plugin("@receiver(signal, dispatch_uid='news')\n" + FUNCTION)
    signal.connect(named("second"))
    importlib.reload(module)
    send(signal)
    assert calls == [2, "second"]


@pytest.mark.parametrize(
    "make", [lambda calls: functools.partial(calls.append), Hearer], ids=["partial", "object"]
)
def test_others_than_functions_do_not_take_a_dispatch_uid_from_their_like(signal, calls, make):
    Hearer.__call__ = Hearer.hear
    try:
        first, second = make(calls), make(calls)
        signal.connect(first, dispatch_uid="news")
        signal.connect(second, dispatch_uid="news")
        assert list(signal.receivers_for(Dog)) == [first]
    finally:
        del Hearer.__call__


def test_another_function_of_that_name_does_not_take_the_dispatch_uid(signal, plugin):
    signal.connect(hears, dispatch_uid="news")
    plugin("@receiver(signal, dispatch_uid='news')\ndef hears(sender):\n    pass\n")
    assert send(signal) == [(hears, None)]


# disconnect


@pytest.mark.parametrize(
    ("connected", "asked", "found"),
    [
        ({}, {}, True),
        ({}, {"sender": None}, True),
        ({}, {"sender": ANY}, True),
        ({}, {"sender": Dog}, False),
        ({}, {"dispatch_uid": "news"}, False),
        ({"sender": Dog}, {}, True),
        ({"sender": Dog}, {"sender": ANY}, True),
        ({"sender": Dog}, {"sender": Dog}, True),
        ({"sender": Dog}, {"sender": Animal}, False),
        ({"sender": Dog}, {"sender": Puppy}, False),
        ({"sender": Dog}, {"sender": "Dog"}, False),
        ({"sender": 0}, {"sender": 0}, True),
        ({"sender": 0}, {"sender": ""}, False),
        ({"dispatch_uid": "news"}, {}, False),
        ({"dispatch_uid": "news"}, {"sender": ANY}, False),
        ({"dispatch_uid": "news"}, {"dispatch_uid": "news"}, True),
        ({"dispatch_uid": "news"}, {"dispatch_uid": "other"}, False),
        ({"dispatch_uid": "news"}, {"dispatch_uid": ""}, False),
        ({"sender": Dog, "dispatch_uid": "news"}, {"dispatch_uid": "news"}, True),
        ({"sender": Dog, "dispatch_uid": "news"}, {"sender": Dog, "dispatch_uid": "news"}, True),
        ({"sender": Dog, "dispatch_uid": "news"}, {"sender": Animal, "dispatch_uid": "news"}, False),
        ({"sender": Dog, "dispatch_uid": "news"}, {"sender": Dog}, False),
    ],
)
def test_disconnect_says_whether_there_was_somebody_and_else_changes_nothing(signal, connected, asked, found):
    signal.connect(hears, **connected)
    assert signal.disconnect(hears, **asked) is found
    assert signal.has_receivers_for(connected.get("sender", Dog)) is not found
    assert signal.disconnect(hears, **asked) is False


def test_receiver_disconnected_tells_who_had_the_dispatch_uid(signal, calls):
    signal.receiver_disconnected.connect(lambda _, **what: calls.append(what), weak=False)
    signal.connect(hears, Dog, dispatch_uid="news")
    signal.disconnect(dispatch_uid="news")
    assert calls == [{"receiver": hears, "sender": ANY}]


def test_disconnect_of_nobody_is_false(signal):
    signal.connect(hears)
    assert signal.disconnect() is False
    assert signal.disconnect(sender=Dog) is False
    assert signal.disconnect(hears_too) is False
    assert send(signal) == [(hears, None)]


def test_disconnect_without_a_sender_disconnects_from_all(signal):
    for sender in (Dog, "google", None):
        signal.connect(hears, sender)
    assert signal.disconnect(hears) is True
    assert not signal.receivers


def test_disconnect_from_one_sender_leaves_the_others(signal):
    for sender in (Dog, "google"):
        signal.connect(hears, sender)
    assert signal.disconnect(hears, Dog) is True
    assert send(signal, Dog) == []
    assert send(signal, "google") == [(hears, None)]


def test_disconnect_by_dispatch_uid_leaves_the_connection_without(signal):
    signal.connect(hears)
    signal.connect(hears, dispatch_uid="news")
    assert signal.disconnect(hears, dispatch_uid="news") is True
    assert send(signal) == [(hears, None)]
    assert signal.disconnect(hears) is True
    assert send(signal) == []


# Sending


@pytest.mark.parametrize("how", WAYS)
def test_sending_gives_each_receiver_with_its_response(signal, how):
    def one(sender, instance):
        return instance

    def other(sender):
        return sender

    signal.connect(one)
    signal.connect(other)
    assert send(signal, how=how) == [(one, 1), (other, Dog)]


@pytest.mark.parametrize("how", WAYS)
def test_the_sender_may_be_passed_by_keyword_or_not_at_all(calls, how):
    signal = Signal("anything")
    signal.connect(calls.append, weak=False)
    for arguments in ({"sender": Dog}, {}):
        responses = getattr(signal, how)(**arguments)
        if inspect.iscoroutine(responses):
            asyncio.run(responses)
    assert calls == [Dog, None]


@pytest.mark.parametrize("how", WAYS)
def test_sending_to_nobody_gives_an_empty_list(signal, how):
    assert send(signal, how=how) == []
    signal.connect(hears, Dog)
    assert send(signal, Animal, how=how) == []


def test_djangos_names_are_the_same_methods():
    assert Signal.asend is Signal.send_async
    assert Signal.asend_robust is Signal.send_robust_async
    assert Signal.has_listeners is Signal.has_receivers_for


@pytest.mark.parametrize("how", ["send", "send_async"])
def test_the_first_exception_ends_send(signal, calls, how, named):
    @signal.connect
    def bad(sender):
        raise ZeroDivisionError

    signal.connect(named("after"))
    with pytest.raises(ZeroDivisionError):
        send(signal, how=how)
    assert calls == []


@pytest.mark.parametrize("how", ["send_robust", "send_robust_async"])
def test_send_robust_calls_everyone_and_gives_exceptions_as_responses(signal, how):
    @signal.connect
    def bad(sender):
        raise ZeroDivisionError

    @signal.connect
    def worse(sender):
        raise KeyError("x")

    @signal.connect
    def good(sender):
        return "fine"

    responses = send(signal, how=how)
    assert [receiver for receiver, _ in responses] == [bad, worse, good]
    assert [type(response) for _, response in responses] == [ZeroDivisionError, KeyError, str]
    assert responses[0][1].__traceback__


@pytest.mark.parametrize("how", ["send_robust", "send_robust_async"])
def test_send_robust_lets_the_program_be_stopped(signal, how):
    @signal.connect
    def stops(sender):
        raise SystemExit

    with pytest.raises(SystemExit):
        send(signal, how=how)


class Failing:
    def __call__(self, sender):
        raise ZeroDivisionError

    def method(self, sender):
        raise ZeroDivisionError


def failing(sender):
    raise ZeroDivisionError


@pytest.mark.parametrize("how", ["send_robust", "send_robust_async"])
@pytest.mark.parametrize(
    ("receiver", "name"),
    [
        (failing, "failing"),
        (Failing().method, "Failing.method"),
        (Failing(), "Failing"),
        (functools.partial(failing), "failing"),
    ],
)
def test_send_robust_logs_each_failure_with_names_and_traceback(signal, caplog, how, receiver, name):
    signal.connect(receiver, weak=False)
    [(_, error)] = send(signal, how=how)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("hive", logging.ERROR)
    assert record.getMessage() == f"{__name__}.{name} failed on changed"
    assert record.exc_info[1] is error


def test_send_robust_logs_nothing_where_nothing_failed(signal, caplog):
    signal.connect(hears)
    send(signal, how="send_robust")
    assert caplog.records == []


# Changes while a signal is sent


@pytest.mark.parametrize("how", WAYS)
def test_who_is_connected_while_it_is_sent_hears_the_next(signal, calls, how, named):
    late = named("late")

    @signal.connect
    def connects(sender):
        calls.append("connects")
        signal.connect(late)

    for _ in range(2):
        send(signal, how=how)
    assert calls == ["connects", "connects", "late"]


@pytest.mark.parametrize("how", WAYS)
def test_who_is_disconnected_while_it_is_sent_is_not_called_any_more(signal, calls, how, named):
    gone = named("gone")

    @signal.connect
    def once(sender):
        calls.append("once")
        signal.disconnect(once)
        signal.disconnect(gone)

    signal.connect(gone)
    signal.connect(named("last"), Dog)
    for _ in range(2):
        send(signal, how=how)
    assert calls == ["once", "last", "last"]


@pytest.mark.parametrize("how", WAYS)
def test_who_is_disconnected_from_this_sender_only_is_not_called_for_it(signal, calls, how, named):
    other = named("other")
    signal.connect(lambda sender: signal.disconnect(other, Dog), weak=False)
    signal.connect(other, Dog)
    signal.connect(other, "google")
    send(signal, how=how)
    assert calls == []
    send(signal, "google", how=how)
    assert calls == ["other"]


def test_who_is_disconnected_from_one_of_its_senders_is_called_for_the_other(signal, calls, named):
    other = named("other")
    signal.connect(lambda sender: signal.disconnect(other, Dog), weak=False)
    signal.connect(other, Dog)
    signal.connect(other, Animal)
    send(signal)
    assert calls == ["other"]


@pytest.mark.parametrize("how", WAYS)
def test_a_receiver_that_dies_while_it_is_sent_is_not_called_any_more(signal, calls, how):
    hearers = [Hearer(calls)]

    @signal.connect
    def clears(sender):
        hearers.clear()

    signal.connect(hearers[0].hear)
    assert send(signal, how=how) == [(clears, None)]
    assert calls == []


@pytest.mark.parametrize("how", ["send", "send_robust"])
def test_a_receiver_may_send_the_same_signal(signal, calls, how):
    @signal.connect
    def first(sender):
        calls.append(("first", sender))
        if sender is Dog:
            send(signal, Puppy, how=how)

    @signal.connect
    def second(sender):
        calls.append(("second", sender))

    send(signal, how=how)
    assert calls == [("first", Dog), ("first", Puppy), ("second", Puppy), ("second", Dog)]


def test_a_coroutine_may_await_the_same_signal(signal, calls):
    @signal.connect
    async def first(sender):
        calls.append(("first", sender))
        if sender is Dog:
            await signal.send_async(Puppy, instance=1, handler=2)

    @signal.connect
    def second(sender):
        calls.append(("second", sender))

    send(signal, how="send_async")
    assert calls == [("first", Dog), ("first", Puppy), ("second", Puppy), ("second", Dog)]


# Weak references


def test_functions_are_referenced_weakly(signal, calls, named):
    def receiver(sender):
        calls.append(sender)

    signal.connect(receiver)
    send(signal)
    del receiver
    gc.collect()
    send(signal)
    assert calls == [Dog]
    assert not signal.receivers
    assert not signal.has_receivers_for(Dog)


def test_bound_methods_live_as_long_as_their_object(signal, calls):
    hearer = Hearer(calls)
    signal.connect(hearer.hear)
    gc.collect()
    send(signal)
    del hearer
    gc.collect()
    send(signal)
    assert calls == ["heard"]
    assert not signal.receivers


def test_who_is_kept_once_is_kept(signal, calls):
    hearer = Hearer(calls)
    signal.connect(hearer.hear, "a", weak=False)
    signal.connect(hearer.hear, "b")
    del hearer
    gc.collect()
    send(signal, "a")
    send(signal, "b")
    assert calls == ["heard", "heard"]


def test_weak_false_keeps_a_lambda_and_the_object_of_a_method(signal, calls):
    signal.connect(lambda sender: calls.append("lambda"), weak=False)
    signal.connect(Hearer(calls, "method").hear, weak=False)
    gc.collect()
    send(signal)
    assert calls == ["lambda", "method"]


def lambdas():
    return lambda sender: None


def local_functions():
    def local(sender):
        pass

    return local


LOST = {
    "lambda": (lambdas, "lambdas.<locals>.<lambda>"),
    "local function": (local_functions, "local_functions.<locals>.local"),
    "partial": (lambda: functools.partial(hears), "hears"),
    "callable object": (Failing, "Failing"),
}


@pytest.mark.parametrize("kind", LOST)
def test_who_is_lost_before_anybody_asked_who_hears_is_warned_of_once(signal, kind):
    make, name = LOST[kind]
    with warned() as told:
        receiver = make()
        for sender in (None, Dog, "google"):
            signal.connect(receiver, sender)
        del receiver
    [warning] = told
    assert f"{__name__}.{name} " in warning
    assert "weak=False" in warning
    assert not signal.receivers


@pytest.mark.parametrize("kind", LOST)
def test_nothing_is_warned_of_where_it_is_kept(signal, kind):
    make, _ = LOST[kind]
    with warned() as told:
        signal.connect(make(), weak=False)
        kept = make()
        signal.connect(kept)
    assert told == []
    assert len(signal.receivers) == 2
    send(Signal("other"))
    assert signal.has_receivers_for(Dog)


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("asks", [send, Signal.has_receivers_for, Signal.receivers_for])
def test_nothing_is_warned_of_after_somebody_asked_who_hears(signal, kind, asks):
    make, _ = LOST[kind]
    with warned() as told:
        receiver = make()
        signal.connect(receiver, "google")
        asks(signal, Dog)
        del receiver
    assert told == []
    assert not signal.receivers


@pytest.mark.parametrize("kind", LOST)
def test_nothing_is_warned_of_after_it_was_disconnected(signal, kind):
    make, _ = LOST[kind]
    with warned() as told:
        receiver = make()
        signal.connect(receiver)
        signal.disconnect(receiver)
        del receiver
    assert told == []


def test_nothing_is_warned_of_where_a_method_or_a_function_of_a_module_goes(signal, calls, plugin):
    with warned() as told:
        signal.connect(Hearer(calls).hear)
        module = plugin("@receiver(signal)\ndef hear(sender):\n    pass\n")
        del module.hear
    assert told == []
    assert not signal.receivers


# Threads, and garbage collection at any moment


@pytest.fixture
def often():
    """Threads take turns much more often than they do."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often")
def test_threads_may_connect_and_disconnect_and_send_and_lose_at_once(signal, calls):
    heard = []
    stays = Hearer(heard)
    signal.connect(stays.hear)

    def hammer(sender):
        for turn in range(60):
            hearers = [Hearer(calls) for _ in range(3)]
            for hearer in hearers:
                hearer.me = hearer  # so that it waits for the collection
                signal.connect(hearer.hear, sender)
                signal.connect(hearer.hear, "everyone", dispatch_uid=(sender, turn))
            signal.send("everyone", instance=1, handler=2)
            signal.disconnect(hearers[0].hear)
            signal.disconnect(hearers[1].hear, sender)
            if turn % 20 == 0:
                gc.collect()

    at_once([functools.partial(hammer, f"sender {number}") for number in range(6)])
    gc.collect()
    assert len(heard) == 6 * 60
    assert len(signal.receivers) == 1
    assert list(signal.receivers_for("everyone")) == [stays.hear]


def test_who_sends_does_not_wait_for_a_thread_that_connects(signal):
    signal.connect(hears)
    held_up = HeldUp(lambda: run_in_thread(lambda: send(signal)))
    signal.connect(held_up)
    assert send(signal) == [(hears, None), (held_up, None)]


@pytest.fixture
def meanwhile():
    """Starts a function in a thread of its own; ``meanwhile.end()`` waits until all are through."""
    futures = []

    def start(function):
        futures.append(begun(function))

    def end():
        for future in futures:
            future.result(PATIENCE)

    start.end = end
    return start


def test_who_is_lost_while_another_thread_connects_is_gone(signal, calls, meanwhile):
    hearers = [Hearer(calls)]
    signal.connect(hearers[0].hear)
    held_up = HeldUp(lambda: meanwhile(hearers.clear))
    signal.connect(held_up)
    meanwhile.end()
    assert len(signal.receivers) == 1
    assert send(signal) == [(held_up, None)]


def test_a_sender_that_dies_while_another_thread_connects_is_forgotten(signal, meanwhile):
    senders = [Dog()]
    signal.connect(hears, senders[0])
    held_up = HeldUp(lambda: meanwhile(senders.clear))
    signal.connect(held_up)
    meanwhile.end()
    assert [send(signal, Dog()) for _ in range(100)] == [[(held_up, None)]] * 100


def test_who_is_connected_and_disconnected_by_another_thread_meanwhile_is_so(signal, meanwhile):
    signal.connect(hears)

    def change():
        signal.disconnect(hears)
        signal.connect(hears_too)

    held_up = HeldUp(lambda: meanwhile(change))
    signal.connect(held_up)
    meanwhile.end()
    assert set(signal.receivers_for(Dog)) == {held_up, hears_too}


def collected(calls, end):
    """Makes what does `end` when it is collected, which is soon."""

    class Ending(Hearer):
        def __del__(self):
            end()

    ending = Ending(calls)
    ending.me = ending
    return ending


def test_what_is_collected_while_another_is_connected_may_disconnect(signal, calls):
    signal.connect(hears)
    signal.connect(collected(calls, lambda: signal.disconnect(hears)).hear)
    held_up = HeldUp(gc.collect)
    run_in_thread(lambda: signal.connect(held_up))
    assert list(signal.receivers_for(Dog)) == [held_up]


def test_what_is_collected_while_another_is_connected_may_connect_and_send(signal, calls):
    def end():
        signal.connect(hears)
        send(signal)
        signal.declare(None, signal.arguments)

    collected(calls, end)
    held_up = HeldUp(gc.collect)
    run_in_thread(lambda: signal.connect(held_up))
    assert set(signal.receivers_for(Dog)) == {hears, held_up}


def test_what_is_collected_while_another_is_disconnected_may_disconnect(signal, calls):
    class Collecting:
        """A `dispatch_uid` that is compared with others, which takes a collection of garbage."""

        def __hash__(self):
            return hash("news")

        def __eq__(self, other):
            gc.collect()
            return other == "news"

    for sender in ("google", "github"):
        signal.connect(hears, sender, dispatch_uid="news")
    for _ in range(10):
        dog = Dog()
        dog.me = dog
        signal.connect(hears, dog, dispatch_uid="news")
        signal.connect(collected(calls, lambda: signal.disconnect(hears, "google", "news")).hear)
    del dog
    run_in_thread(lambda: signal.disconnect(dispatch_uid=Collecting()))
    assert not signal.receivers


def test_finalizers_that_disconnect_from_each_others_signals_do_not_wait_in_a_circle(meanwhile):
    first, second = Signal("first"), Signal("second")
    barrier = threading.Barrier(2)

    class Leaving:
        def __init__(self, other):
            self.other = other

        def __del__(self):
            with suppress(threading.BrokenBarrierError):
                barrier.wait(0.2)  # until both are in the midst, where that is possible
            self.other.disconnect(hears)

    def change(signal, other):
        box = [Leaving(other)]
        signal.connect(HeldUp(box.clear), weak=False)

    first.connect(hears)
    second.connect(hears)
    meanwhile(lambda: change(first, second))
    meanwhile(lambda: change(second, first))
    meanwhile.end()
    assert [len(signal.receivers) for signal in (first, second)] == [1, 1]


# @receiver


def test_receiver_connects_the_decorated_function(signal):
    decorated = receiver(signal)(hears)
    assert decorated is hears
    assert send(signal, Animal) == [(hears, None)]


@pytest.mark.parametrize("several", [list, tuple, iter])
def test_receiver_connects_to_several_signals_as_connect_would(calls, several):
    first, second = Signal("first"), Signal("second")

    @receiver(several([first, second]), sender=Dog, weak=False, dispatch_uid="news")
    def hear(sender):
        calls.append(sender)

    del hear
    gc.collect()
    for signal in (first, second):
        signal.send(Dog)
        signal.send(Animal)
        assert signal.disconnect(dispatch_uid="news")
    assert calls == [Dog, Dog]


# Declarations and namespaces


@pytest.mark.parametrize(
    "arguments", [("toppings", "size"), ["toppings", "size"], iter(["toppings", "size"])]
)
def test_a_signal_declares_its_arguments_in_any_iterable(arguments):
    signal = Signal("pizza_done", arguments=arguments)
    assert signal.arguments == ("toppings", "size")


def test_a_text_is_no_list_of_arguments():
    with pytest.raises(TypeError, match="'toppings'"):
        Signal("pizza_done", arguments="toppings")


def test_a_signal_has_the_doc_that_it_is_given():
    assert Signal("pizza_done", "A pizza is done.").__doc__ == "A pizza is done."


@pytest.fixture
def namespace():
    return Namespace()


@pytest.fixture
def name():
    """A name in the namespace of plugins, which is free again after the test."""
    yield "tests.pizza_done"
    signals.ext.pop("tests.pizza_done", None)


def test_there_is_one_namespace_of_hive_and_one_of_plugins_and_blinkers_stays_empty(name):
    signals.ext.signal(name)
    assert signals.core is not signals.ext
    assert name not in signals.core
    for known in (*signals.core, name):
        assert known not in blinker.default_namespace


def test_all_plugins_get_the_same_signal(name):
    signal = signals.ext.signal(name)
    assert signals.ext.signal(name, "A pizza is done.", ["toppings"]) is signal
    assert signals.ext.signal(name) is signal
    assert signal.name == name


def test_a_signal_is_declared_by_whoever_knows_its_arguments(namespace):
    signal = namespace.signal("pizza_done")
    assert signal.arguments == ()
    namespace.signal("pizza_done", "A pizza is done.", ("toppings", "size"))
    assert signal.arguments == ("toppings", "size")
    assert signal.__doc__ == "A pizza is done."


def test_the_same_declaration_again_or_none_changes_nothing(namespace):
    signal = namespace.signal("pizza_done", "A pizza is done.", ("toppings", "size"))
    namespace.signal("pizza_done", "A pizza is done.", ["toppings", "size"])
    namespace.signal("pizza_done")
    assert signal.arguments == ("toppings", "size")
    assert signal.__doc__ == "A pizza is done."


@pytest.mark.parametrize("other", [("toppings",), ("toppings", "price"), "toppings"])
def test_another_declaration_is_a_type_error_and_changes_nothing(namespace, other):
    signal = namespace.signal("pizza_done", "A pizza is done.", ("toppings", "size"))
    with pytest.raises(TypeError, match="toppings"):
        namespace.signal("pizza_done", "Another.", other)
    assert signal.arguments == ("toppings", "size")
    assert signal.__doc__ == "A pizza is done."


def test_who_is_connected_before_the_declaration_gets_what_it_takes(namespace, calls):
    signal = namespace.signal("pizza_done")

    @signal.connect
    def hear(sender, size):
        calls.append(size)

    @signal.connect
    def hear_all(sender, **arguments):
        calls.append(arguments)

    namespace.signal("pizza_done", arguments=("toppings", "size"))
    signal.send(toppings=["olives"], size=3)
    assert calls == [3, {"toppings": ["olives"], "size": 3}]


def test_who_does_not_fit_makes_the_declaration_a_type_error_and_nothing_is_declared(namespace, calls):
    signal = namespace.signal("pizza_done")

    @signal.connect
    def fits(sender, size):
        calls.append(size)

    @signal.connect
    def pays(sender, price):
        calls.append(price)

    with pytest.raises(TypeError, match=r"pays.*'price'.*sender, size"):
        namespace.signal("pizza_done", arguments=("size",))
    assert signal.arguments == ()
    signal.disconnect(pays)
    namespace.signal("pizza_done", arguments=("size",))
    signal.send(size=3)
    assert calls == [3]


def test_a_receiver_that_is_false_gets_what_it_takes_too(namespace):
    class Heard(list):
        def __call__(self, sender, instance):
            self.append(instance)

    heard = Heard()
    namespace.signal("happened").connect(heard, weak=False)
    namespace.signal("happened", arguments=("instance", "reason")).send(Dog, instance=1, reason=2)
    assert heard == [1]


def test_who_was_lost_does_not_hinder_a_declaration(namespace, calls):
    signal = namespace.signal("pizza_done")

    class Paying:
        def pay(self, sender, price):
            pass

    paying = Paying()
    signal.connect(paying.pay)
    del paying
    gc.collect()
    namespace.signal("pizza_done", arguments=("size",))
    assert signal.arguments == ("size",)


def test_threads_that_ask_for_a_name_get_the_same_signal(namespace, often):
    def ask():
        return [namespace.signal(f"signal {number}", arguments=("size",)) for number in range(50)]

    found = at_once([ask] * 8)
    assert all(signals == found[0] for signals in found)
    assert len(set(map(id, found[0]))) == 50
