import asyncio
import functools
import gc
import inspect

import blinker
import pytest

from hive import signals
from hive.signals import Namespace, Signal


class Animal:
    pass


class Dog(Animal):
    pass


class Puppy(Dog):
    pass


@pytest.fixture
def signal():
    return Signal("changed", "For tests.", ("instance", "handler"))


@pytest.fixture
def undeclared():
    return Signal("anything")


@pytest.fixture
def calls():
    return []


def send(signal, sender=Dog, **arguments):
    arguments = arguments or {"instance": 1, "handler": 2}
    return asyncio.run(signal.send_async(sender, **arguments))


# It is blinker's


def test_every_signal_of_the_catalogue_is_a_blinker_signal_with_a_name_of_its_own():
    for name, signal in signals.core.items():
        assert isinstance(signal, blinker.NamedSignal)
        assert signal.name == name
        assert getattr(signals, name) is signal
        assert not hasattr(blinker.default_namespace, name)


def test_a_namespace_gives_the_signal_that_there_is():
    namespace = Namespace()
    first = namespace.signal("saved", "Told.", ("instance",))
    assert namespace.signal("saved") is first
    assert first.arguments == ("instance",)
    assert first.__doc__ == "Told."


def test_connect_gives_back_the_receiver_and_disconnect_ends_it(signal, calls):
    def receiver(sender):
        calls.append(sender)

    assert signal.connect(receiver) is receiver
    send(signal)
    signal.disconnect(receiver)
    send(signal)
    assert calls == [Dog]
    assert not signal.has_receivers_for(Dog)


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


def test_a_muted_signal_reaches_nobody(signal, calls):
    with signal.connected_to(calls.append):
        with signal.muted():
            assert send(signal) == []
            assert signal.send(Dog, instance=1, handler=2) == []
            assert asyncio.run(signal.send_robust_async(Dog, instance=1, handler=2)) == []
        send(signal)
    assert calls == [Dog]


def test_functions_are_referenced_weakly(signal, calls):
    def receiver(sender):
        calls.append(sender)

    signal.connect(receiver)
    del receiver
    gc.collect()
    send(signal)
    assert calls == []
    assert not signal.has_receivers_for(Dog)


def test_bound_methods_live_as_long_as_their_object(signal, calls):
    class Listener:
        def hear(self, sender, instance):
            calls.append(instance)

    listener = Listener()
    signal.connect(listener.hear)
    gc.collect()
    send(signal)
    del listener
    gc.collect()
    send(signal)
    assert calls == [1]


def test_weak_false_keeps_a_lambda(signal, calls):
    signal.connect(lambda sender: calls.append([sender]), weak=False)
    gc.collect()
    send(signal)
    assert calls == [[Dog]]


def test_receiver_connected_and_disconnected_are_told(signal, calls):
    def receiver(sender):
        pass

    def told(where, receiver, **rest):
        calls.append((where, receiver))

    signal.receiver_connected.connect(told)
    signal.receiver_disconnected.connect(told)
    signal.connect(receiver)
    signal.disconnect(receiver)
    assert calls == [(signal, receiver), (signal, receiver)]


def test_a_sender_may_be_a_string_or_an_object(signal, calls):
    dog = Dog()
    signal.connect_via("google")(calls.append)
    signal.connect_via(dog)(calls.append)
    for sender in ("goo" + "gle", dog, Dog(), "github", None):
        send(signal, sender)
    assert calls == ["google", dog]


# Order


def test_receivers_are_called_in_the_order_in_which_they_were_connected(signal, calls):
    for index, sender in enumerate([Dog, Animal, blinker.ANY, Dog, object, Animal, Dog]):
        signal.connect(lambda _, index=index: calls.append(index), sender, weak=False)
    send(signal)
    assert calls == [0, 1, 2, 3, 4, 5, 6]


def test_plain_and_coroutine_receivers_run_one_after_another(signal, calls):
    @signal.connect_via(Dog)
    async def slow(sender):
        calls.append("slow starts")
        await asyncio.sleep(0.01)
        calls.append("slow ends")

    @signal.connect_via(Dog)
    def quick(sender):
        calls.append("quick")

    send(signal)
    assert calls == ["slow starts", "slow ends", "quick"]


def test_who_is_disconnected_from_its_only_sender_loses_its_place(signal, calls):
    def first(sender):
        calls.append("first")

    def second(sender):
        calls.append("second")

    signal.connect(first, Dog)
    signal.connect(second, Dog)
    signal.disconnect(first, Dog)
    assert len(signal.receivers) == 1
    signal.connect(first, Dog)
    send(signal)
    assert calls == ["second", "first"]


def test_who_is_connected_again_keeps_its_place_and_is_called_once(signal, calls):
    def first(sender):
        calls.append("first")

    signal.connect(first)
    signal.connect_via(Dog)(lambda sender: calls.append("second"))
    signal.connect(first)
    send(signal)
    assert calls == ["first", "second"]


# Senders


def test_a_base_class_as_sender_hears_its_subclasses_and_no_siblings_or_bases(signal, calls):
    signal.connect_via(Dog)(calls.append)
    for sender in (Animal, Dog, Puppy, object):
        send(signal, sender)
    assert calls == [Dog, Puppy]


def test_who_is_connected_to_a_class_and_its_base_and_anybody_is_called_once(signal, calls):
    def receiver(sender):
        calls.append(sender)

    for sender in (Dog, Animal, blinker.ANY):
        signal.connect(receiver, sender)
    send(signal, Puppy)
    assert calls == [Puppy]


def test_a_subclass_made_after_connecting_is_heard(signal, calls):
    signal.connect_via(Animal)(lambda sender: calls.append(sender.__name__))
    send(signal, type("Cat", (Animal,), {}))
    assert calls == ["Cat"]


def test_has_receivers_for_a_class_means_those_of_its_bases_too(signal):
    assert not signal.has_receivers_for(Puppy)
    signal.connect_via(Animal)(print)
    assert signal.has_receivers_for(Puppy)
    assert not signal.has_receivers_for(object)


def test_receivers_for_gives_those_who_would_be_called(signal):
    def one(sender):
        pass

    def other(sender):
        pass

    signal.connect(one, Animal)
    signal.connect(other, Puppy)
    assert list(signal.receivers_for(Dog)) == [one]
    assert list(signal.receivers_for(Puppy)) == [one, other]
    assert list(Signal("nobody").receivers_for(Dog)) == []


# Kinds of receivers


class Sync:
    def __init__(self, calls):
        self.calls = calls

    def __call__(self, sender, instance):
        self.calls.append(instance)

    def method(self, sender, instance):
        self.calls.append(instance)

    async def async_method(self, sender, instance):
        self.calls.append(instance)

    @classmethod
    def class_method(cls, sender, instance):
        pass

    @staticmethod
    def static_method(sender, instance):
        pass


class Async:
    def __init__(self, calls):
        self.calls = calls

    async def __call__(self, sender, instance):
        await asyncio.sleep(0)
        self.calls.append(instance)


def kinds(calls):
    def function(sender, instance):
        calls.append(instance)

    async def coroutine(sender, instance):
        await asyncio.sleep(0)
        calls.append(instance)

    def with_extra(extra, sender, instance):
        calls.append(instance)

    async def async_with_extra(sender, instance, extra):
        calls.append(instance)

    def future(sender, instance):
        calls.append(instance)
        return asyncio.get_running_loop().create_task(asyncio.sleep(0))

    return {
        "function": function,
        "coroutine": coroutine,
        "lambda": lambda sender, instance: calls.append(instance),
        "method": Sync(calls).method,
        "async method": Sync(calls).async_method,
        "object": Sync(calls),
        "async object": Async(calls),
        "partial": functools.partial(with_extra, "extra"),
        "async partial": functools.partial(async_with_extra, extra=1),
        "partial of a method": functools.partial(Sync(calls).method),
        "one who returns a future": future,
    }


@pytest.mark.parametrize("kind", kinds([]))
def test_every_kind_of_callable_is_called(signal, calls, kind):
    receiver = kinds(calls)[kind]
    signal.connect(receiver, weak=False)
    send(signal)
    asyncio.run(signal.send_robust_async(Dog, instance=3, handler=2))
    assert calls == [1, 3]


def test_class_and_static_methods_can_be_connected(signal):
    signal.connect(Sync.class_method)
    signal.connect(Sync.static_method)
    assert len(send(signal)) == 2


# Arguments


def styles(calls):
    def django(sender, **kwargs):
        calls.append(kwargs)

    def bzz(sender, instance, handler):
        calls.append({"instance": instance, "handler": handler})

    def sender_only(sender):
        calls.append({})

    def named_otherwise(model):
        calls.append({})

    def one(sender, handler):
        calls.append({"handler": handler})

    def by_keyword(sender, *, handler):
        calls.append({"handler": handler})

    def with_default(sender, handler=None, extra=7):
        calls.append({"handler": handler, "extra": extra})

    def positional_sender(sender, /, instance):
        calls.append({"instance": instance})

    def positional_default(sender, extra=7, /, **kwargs):
        calls.append({**kwargs, "extra": extra})

    def args(*args):
        calls.append({"args": args})

    def args_and_one(*args, handler):
        calls.append({"args": args, "handler": handler})

    def arguments(*arguments, **instance):
        calls.append({"args": arguments, **instance})

    def sender_and_args(sender, *args, instance):
        calls.append({"args": args, "instance": instance})

    both = {"instance": 1, "handler": 2}
    return {
        django: both,
        bzz: both,
        sender_only: {},
        named_otherwise: {},
        one: {"handler": 2},
        by_keyword: {"handler": 2},
        with_default: {"handler": 2, "extra": 7},
        positional_sender: {"instance": 1},
        positional_default: {**both, "extra": 7},
        args: {"args": (Dog,)},
        args_and_one: {"args": (Dog,), "handler": 2},
        arguments: {"args": (Dog,), **both},
        sender_and_args: {"args": (), "instance": 1},
    }


@pytest.mark.parametrize("style", range(len(styles([]))), ids=[style.__name__ for style in styles([])])
def test_receivers_are_given_what_they_name(signal, calls, style):
    receiver, expected = list(styles(calls).items())[style]
    signal.connect(receiver)
    send(signal)
    assert calls == [expected]


def test_old_receivers_survive_an_argument_that_is_new_to_the_signal(calls):
    signal = Signal("grown", arguments=("instance", "handler", "reason"))

    @signal.connect
    def old(sender, instance, handler):
        calls.append((instance, handler))

    send(signal, instance=1, handler=2, reason="why")
    assert calls == [(1, 2)]


def requires_another(sender, instance, updated_fields):
    pass


def requires_by_keyword(sender, *, reason):
    pass


def requires_by_position(sender, instance, /):
    pass


@pytest.mark.parametrize(
    ("receiver", "words"),
    [
        (requires_another, ["requires_another", "'updated_fields'"]),
        (requires_by_keyword, ["'reason'"]),
        (requires_by_position, ["'instance' by position"]),
        (lambda: None, ["takes no sender"]),
        (lambda *, sender: None, ["takes no sender"]),
        (lambda **rest: None, ["takes no sender"]),
        (lambda instance: None, ["'instance'", "the sender comes first"]),
        (lambda handler, **rest: None, ["'handler'", "the sender comes first"]),
    ],
)
def test_who_requires_what_the_signal_does_not_have_is_refused_with_what_it_has(signal, receiver, words):
    with pytest.raises(TypeError) as refusal:
        signal.connect(receiver, weak=False)
    for word in [*words, "changed", "sender, instance, handler"]:
        assert word in str(refusal.value)
    assert not signal.receivers


def test_what_is_not_callable_is_refused(signal):
    with pytest.raises(TypeError):
        signal.connect("nothing to call")


def test_a_method_that_requires_more_is_refused_too(signal):
    class Listener:
        def hear(self, sender, user):
            pass

    with pytest.raises(TypeError, match="'user'"):
        signal.connect(Listener().hear)


def test_a_callable_without_a_signature_gets_everything(signal, calls):
    class Opaque:
        @property
        def __signature__(self):
            raise ValueError("no signature")

        def __call__(self, sender, **arguments):
            calls.append(arguments)

    receiver = Opaque()
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(receiver)
    signal.connect(receiver)
    send(signal)
    assert calls == [{"instance": 1, "handler": 2}]


def test_a_signal_without_declared_arguments_passes_whatever_is_sent(undeclared, calls):
    @undeclared.connect
    def receiver(sender, **anything):
        calls.append((sender, anything))

    @undeclared.connect
    def strict(sender, a):
        pass

    send(undeclared, "me", a=1)
    assert calls == [("me", {"a": 1})]
    with pytest.raises(TypeError):
        send(undeclared, "me", a=1, b=2)


def test_a_signal_may_be_sent_without_a_sender(undeclared, calls):
    undeclared.connect(calls.append, weak=False)
    undeclared.send()
    asyncio.run(undeclared.send_async())
    asyncio.run(undeclared.send_robust_async())
    assert calls == [None, None, None]


# Sending


def test_send_gives_each_receiver_with_its_response(signal):
    def one(sender, instance):
        return instance

    def other(sender):
        return sender

    signal.connect(one)
    signal.connect(other)
    expected = [(one, 1), (other, Dog)]
    assert signal.send(Dog, instance=1, handler=2) == expected
    assert asyncio.run(signal.send_async(Dog, instance=1, handler=2)) == expected
    assert asyncio.run(signal.send_robust_async(Dog, instance=1, handler=2)) == expected


@pytest.mark.parametrize("kind", ["coroutine", "async method", "async object", "async partial"])
def test_send_refuses_coroutines_unless_a_wrapper_runs_them(signal, calls, kind):
    receiver = kinds(calls)[kind]
    signal.connect(receiver, weak=False)
    with pytest.raises(RuntimeError, match="send_async"):
        signal.send(Dog, instance=1, handler=2)

    def wrapper(receiver):
        return lambda *args, **kwargs: asyncio.run(receiver(*args, **kwargs))

    signal.send(Dog, _async_wrapper=wrapper, instance=1, handler=2)
    assert calls == [1]


def test_send_async_wraps_plain_functions_where_asked(signal, calls):
    @signal.connect
    def plain(sender, instance):
        calls.append(instance)

    @signal.connect
    async def coroutine(sender, handler):
        calls.append(handler)

    def wrapper(receiver):
        async def run(*args, **kwargs):
            calls.append("wrapped")
            receiver(*args, **kwargs)

        return run

    asyncio.run(signal.send_async(Dog, _sync_wrapper=wrapper, instance=1, handler=2))
    assert calls == ["wrapped", 1, 2]


@pytest.mark.parametrize("how", ["send", "send_async"])
def test_the_first_exception_ends_the_sending(signal, calls, how):
    @signal.connect
    def bad(sender):
        raise ZeroDivisionError

    @signal.connect
    def good(sender):
        calls.append(1)

    sending = signal.send if how == "send" else functools.partial(send, signal)
    with pytest.raises(ZeroDivisionError):
        sending(Dog, instance=1, handler=2)
    assert calls == []


def test_send_robust_async_calls_everyone_and_gives_exceptions_as_responses(signal, calls):
    @signal.connect
    def bad(sender):
        raise ZeroDivisionError

    @signal.connect
    async def worse(sender):
        raise KeyError("x")

    @signal.connect
    def good(sender):
        return "fine"

    responses = asyncio.run(signal.send_robust_async(Dog, instance=1, handler=2))
    assert [receiver for receiver, _ in responses] == [bad, worse, good]
    assert [type(response) for _, response in responses] == [ZeroDivisionError, KeyError, str]


def test_a_receiver_that_awaits_something_cancelled_fails_as_any_other(signal, calls):
    @signal.connect
    async def waits(sender):
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    @signal.connect
    def good(sender):
        calls.append(1)

    responses = asyncio.run(signal.send_robust_async(Dog, instance=1, handler=2))
    assert isinstance(responses[0][1], RuntimeError)
    assert calls == [1]
    with pytest.raises(RuntimeError, match="cancelled"):
        send(signal)


def test_who_sends_can_be_cancelled(signal, calls):
    @signal.connect
    async def forever(sender):
        await asyncio.Event().wait()

    @signal.connect
    def after(sender):
        calls.append(1)

    async def main():
        task = asyncio.create_task(signal.send_robust_async(Dog, instance=1, handler=2))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert calls == []


@pytest.mark.parametrize("how", ["send", "send_async", "send_robust_async"])
def test_who_is_connected_while_it_is_sent_hears_the_next(signal, calls, how):
    def late(sender):
        calls.append("late")

    @signal.connect
    def connects(sender):
        calls.append("connects")
        signal.connect(late)

    for _ in range(2):
        result = getattr(signal, how)(Dog, instance=1, handler=2)
        if how != "send":
            asyncio.run(waited(result))
    assert calls == ["connects", "connects", "late"]


@pytest.mark.parametrize("how", ["send", "send_async", "send_robust_async"])
def test_who_is_disconnected_while_it_is_sent_is_not_called_any_more(signal, calls, how):
    def gone(sender, instance):
        calls.append("gone")

    @signal.connect
    def once(sender):
        calls.append("once")
        signal.disconnect(once)
        signal.disconnect(gone)

    signal.connect(gone)
    signal.connect_via(Dog)(lambda sender: calls.append("last"))
    for _ in range(2):
        result = getattr(signal, how)(Dog, instance=1, handler=2)
        if how != "send":
            asyncio.run(waited(result))
    assert calls == ["once", "last", "last"]


def test_a_receiver_that_dies_while_it_is_sent_is_not_called_any_more(signal, calls):
    class Listener:
        def hear(self, sender, instance):
            calls.append("heard")

    listeners = [Listener()]

    @signal.connect
    def clears(sender):
        listeners.clear()

    signal.connect(listeners[0].hear)
    assert len(send(signal)) == 1
    assert calls == []


async def waited(result):
    return await result
