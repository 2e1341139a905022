"""A receiver is given what it names, may be of any kind, and is refused where it asks for too much."""

import asyncio
import functools
import gc
import inspect
from unittest.mock import AsyncMock, MagicMock, Mock, create_autospec

import pytest

from hive.receivers import name_of
from hive.signals import Signal

GIVEN = {"instance": 1, "handler": 2}
PLAIN = ["send", "send_robust"]
AWAITED = ["send_async", "send_robust_async"]
WAYS = [*PLAIN, *AWAITED]


@pytest.fixture
def signal():
    return Signal("changed", "For tests.", ("instance", "handler"))


@pytest.fixture
def undeclared():
    return Signal("anything")


@pytest.fixture
def calls():
    return []


def send(signal, how="send", /, **arguments):
    responses = getattr(signal, how)("me", **(arguments or GIVEN))
    return asyncio.run(responses) if inspect.iscoroutine(responses) else responses


# A receiver is given what it names


def styles(calls):
    """Receivers, each with what it is called with when the signal is sent."""

    def what_it_names(sender, instance, handler):
        calls.append(["me", instance, handler])

    def one_of_them(sender, handler):
        calls.append([handler])

    def by_keyword(sender, *, handler):
        calls.append([handler])

    def in_another_order(handler, sender, instance):
        calls.append([handler, sender, instance])

    def keywords(sender, **kwargs):
        calls.append([sender, kwargs])

    def one_and_keywords(sender, handler, **kwargs):
        calls.append([handler, kwargs])

    def sender_only(sender):
        calls.append([sender])

    def sender_by_keyword(*, sender):
        calls.append([sender])

    def sender_by_position(sender, /, instance):
        calls.append([sender, instance])

    def another_name_for_the_sender(model, instance):
        calls.append([model, instance])

    def with_defaults(sender, handler=None, extra=7):
        calls.append([handler, extra])

    def with_a_default_by_position(sender, extra=7, /, **kwargs):
        calls.append([sender, extra, kwargs])

    def sender_with_a_default(sender=None):
        calls.append([sender])

    def nothing_but_keywords(**kwargs):
        calls.append([kwargs])

    def no_sender_but_keywords(instance, **kwargs):
        calls.append([instance, kwargs])

    def args(*args):
        calls.append([args])

    def args_and_one(*args, handler):
        calls.append([args, handler])

    def args_and_keywords(*args, **kwargs):
        calls.append([args, kwargs])

    def args_with_the_name_of_an_argument(*instance, **handler):
        calls.append([instance, handler])

    def sender_and_args(sender, *args, instance):
        calls.append([sender, args, instance])

    def args_and_sender(*args, sender):
        calls.append([args, sender])

    return {
        what_it_names: ["me", 1, 2],
        one_of_them: [2],
        by_keyword: [2],
        in_another_order: [2, "me", 1],
        keywords: ["me", GIVEN],
        one_and_keywords: [2, {"instance": 1}],
        sender_only: ["me"],
        sender_by_keyword: ["me"],
        sender_by_position: ["me", 1],
        another_name_for_the_sender: ["me", 1],
        with_defaults: [2, 7],
        with_a_default_by_position: ["me", 7, GIVEN],
        sender_with_a_default: ["me"],
        nothing_but_keywords: [{"sender": "me", **GIVEN}],
        no_sender_but_keywords: [1, {"sender": "me", "handler": 2}],
        args: [("me",)],
        args_and_one: [("me",), 2],
        args_and_keywords: [("me",), GIVEN],
        args_with_the_name_of_an_argument: [("me",), GIVEN],
        sender_and_args: ["me", (), 1],
        args_and_sender: [(), "me"],
    }


STYLES = [style.__name__ for style in styles([])]


def of_style(name, calls):
    return next((one, given) for one, given in styles(calls).items() if one.__name__ == name)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("style", STYLES)
def test_a_receiver_is_given_what_it_names(signal, calls, style, how):
    receiver, given = of_style(style, calls)
    signal.connect(receiver)
    send(signal, how)
    assert calls == [given]


@pytest.mark.parametrize(
    "style",
    [
        "what_it_names",
        "in_another_order",
        "keywords",
        "one_and_keywords",
        "nothing_but_keywords",
        "no_sender_but_keywords",
        "args_and_keywords",
    ],
)
def test_it_is_given_the_same_by_a_signal_that_declares_nothing(undeclared, calls, style):
    receiver, given = of_style(style, calls)
    undeclared.connect(receiver)
    send(undeclared)
    assert calls == [given]


def test_the_sender_comes_first_whatever_that_parameter_is_called(calls):
    signal = Signal("user_logged_in", arguments=("provider_name", "user_data", "handler"))

    @signal.connect
    def log_in(self, provider_name, user_data, handler):
        calls.append((self, provider_name, user_data, handler))

    send(signal, provider_name="google", user_data={"id": 1}, handler=2)
    assert calls == [("me", "google", {"id": 1}, 2)]


def test_old_receivers_survive_an_argument_that_is_new_to_the_signal(calls):
    signal = Signal("grown", arguments=("instance", "handler", "reason"))

    @signal.connect
    def old(sender, instance, handler):
        calls.append((instance, handler))

    send(signal, instance=1, handler=2, reason="why")
    assert calls == [(1, 2)]


def test_an_argument_that_is_not_sent_is_not_given(signal, calls):
    @signal.connect
    def hear(sender, instance, handler=None, **rest):
        calls.append((instance, handler, rest))

    send(signal, instance=1)
    assert calls == [(1, None, {})]


def test_what_was_not_declared_is_given_to_keywords_only(signal, calls):
    @signal.connect
    def hear(sender, **kwargs):
        calls.append(kwargs)

    @signal.connect
    def hear_less(sender, instance):
        calls.append(instance)

    send(signal, instance=1, extra=7)
    assert calls == [{"instance": 1, "extra": 7}, 1]


def test_one_receiver_does_not_see_what_another_did_to_its_keywords(signal, calls):
    @signal.connect
    def clears(sender, **kwargs):
        kwargs.clear()

    @signal.connect
    def hear(sender, **kwargs):
        calls.append(kwargs)

    send(signal)
    assert calls == [GIVEN]


def test_a_signal_without_declared_arguments_passes_whatever_is_sent(undeclared, calls):
    @undeclared.connect
    def receiver(sender, **anything):
        calls.append((sender, anything))

    @undeclared.connect
    def strict(sender, a):
        pass

    send(undeclared, a=1)
    assert calls == [("me", {"a": 1})]
    with pytest.raises(TypeError, match="'b'"):
        send(undeclared, a=1, b=2)


# The signal itself


@pytest.mark.parametrize("how", WAYS)
def test_a_receiver_that_names_signal_is_given_it(signal, calls, how):
    @signal.connect
    def djangos(signal, sender, instance, **kwargs):
        calls.append((signal, sender, instance, kwargs))

    @signal.connect
    def blinkers(sender, signal):
        calls.append((signal, sender))

    @signal.connect
    def by_keyword(*args, signal):
        calls.append((signal, *args))

    @signal.connect
    def first(signal, **kwargs):
        calls.append((signal, kwargs))

    send(signal, how)
    assert calls == [
        (signal, "me", 1, {"handler": 2}),
        (signal, "me"),
        (signal, "me"),
        (signal, {"sender": "me", **GIVEN}),
    ]


def test_a_receiver_of_a_signal_that_declares_nothing_may_name_signal_too(undeclared, calls):
    @undeclared.connect
    def djangos(signal, sender, **kwargs):
        calls.append((signal, sender, kwargs))

    send(undeclared)
    assert calls == [(undeclared, "me", GIVEN)]


def test_an_argument_of_the_name_signal_comes_before_the_signal(undeclared, calls):
    declared = Signal("receiver_failed_too", arguments=("signal", "error"))

    def hear(sender, signal):
        calls.append(signal)

    for one in (declared, undeclared):
        one.connect(hear)
        send(one, signal="sent")
    assert calls == ["sent", "sent"]


def test_keywords_are_not_given_the_signal(signal, calls):
    @signal.connect
    def hear(sender, **kwargs):
        calls.append(kwargs)

    send(signal)
    assert calls == [GIVEN]


# What is refused


def requires_another(sender, instance, updated_fields):
    pass


def requires_by_keyword(sender, *, reason):
    pass


def requires_by_position(sender, instance, /):
    pass


def requires_one_more_before_the_sender(extra, sender):
    pass


def takes_nothing():
    pass


def takes_no_sender(instance):
    pass


def takes_only_the_signal(signal):
    pass


def takes_no_sender_by_keyword(*, instance):
    pass


async def requires_another_and_awaits(sender, updated_fields):
    pass


class Requiring:
    def __call__(self, sender, user):
        pass

    def method(self, sender, user):
        pass


def kind_and_name(receiver):
    return f"{type(receiver).__name__} {getattr(receiver, '__name__', '')}"


REFUSED = {
    requires_another: "it requires 'updated_fields'",
    requires_by_keyword: "it requires 'reason'",
    requires_by_position: "it requires 'instance' by position",
    requires_one_more_before_the_sender: "it requires 'extra'",
    requires_another_and_awaits: "it requires 'updated_fields'",
    takes_nothing: "it takes no sender",
    takes_no_sender: "its first parameter is 'instance', and the sender comes first",
    takes_only_the_signal: "it takes no sender",
    takes_no_sender_by_keyword: "'instance', and the sender comes first",
    Requiring().method: "it requires 'user'",
    Requiring(): "it requires 'user'",
    functools.partial(requires_another, instance=1): "it requires 'updated_fields'",
}


@pytest.mark.parametrize(("receiver", "words"), REFUSED.items(), ids=map(kind_and_name, REFUSED))
def test_who_requires_what_the_signal_does_not_have_is_refused_with_what_it_has(signal, receiver, words):
    with pytest.raises(TypeError) as refusal:
        signal.connect(receiver)
    text = str(refusal.value)
    assert repr(receiver) in text
    assert "to changed" in text
    assert words in text
    assert "The signal has sender, instance, handler." in text
    assert not signal.receivers


def test_who_is_refused_does_not_take_the_place_of_who_has_its_dispatch_uid(signal):
    def hear(sender):
        pass

    signal.connect(hear, dispatch_uid="news")
    with pytest.raises(TypeError):
        signal.connect(requires_another, dispatch_uid="news")
    assert send(signal) == [(hear, None)]


def test_who_takes_no_sender_is_refused_by_a_signal_that_declares_nothing_too(undeclared):
    with pytest.raises(TypeError, match="it takes no sender"):
        undeclared.connect(takes_nothing)
    assert not undeclared.receivers


@pytest.mark.parametrize("nothing", [None, "text", 1, object()], ids=["None", "text", "number", "object"])
def test_what_is_not_callable_is_refused(signal, undeclared, nothing):
    for one in (signal, undeclared):
        with pytest.raises(TypeError, match="not a callable object"):
            one.connect(nothing, weak=False)
        assert not one.receivers


def test_what_cannot_be_referenced_weakly_is_refused_unless_it_is_kept(signal, calls):
    class Slotted:
        __slots__ = ()

        def __call__(self, sender):
            calls.append(sender)

    receiver = Slotted()
    with pytest.raises(TypeError, match="weak reference"):
        signal.connect(receiver)
    assert not signal.receivers
    signal.connect(receiver, weak=False)
    send(signal)
    assert calls == ["me"]


# Worked out once


class Examined:
    """Counts how often somebody looked at its signature."""

    def __init__(self):
        self.times = 0

    @property
    def __signature__(self):
        self.times += 1
        return inspect.signature(takes_the_instance)

    def __call__(self, sender, instance):
        pass


def takes_the_instance(sender, instance):
    pass


@pytest.mark.parametrize("how", WAYS)
def test_how_a_receiver_is_called_is_worked_out_when_it_is_connected(signal, how):
    examined = Examined()
    signal.connect(examined)
    assert examined.times == 1
    for _ in range(3):
        assert send(signal, how) == [(examined, None)]
    assert examined.times == 1


def test_it_is_worked_out_again_when_the_signal_is_declared(undeclared):
    examined = Examined()
    undeclared.connect(examined)
    undeclared.declare(None, ("instance", "handler"))
    assert examined.times == 2
    assert send(undeclared) == [(examined, None)]
    assert examined.times == 2


def test_a_callable_without_a_signature_gets_everything(signal, calls):
    class Opaque:
        @property
        def __signature__(self):
            raise ValueError("no signature")

        def __call__(self, sender, **arguments):
            calls.append((sender, arguments))

    receiver = Opaque()
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(receiver)
    signal.connect(receiver)
    send(signal)
    assert calls == [("me", GIVEN)]


# Kinds of receivers


class Ear:
    def __init__(self, calls):
        self.calls = calls

    def __call__(self, sender, instance):
        self.calls.append(instance)

    def method(self, sender, instance):
        self.calls.append(instance)

    async def async_method(self, sender, instance):
        await asyncio.sleep(0)
        self.calls.append(instance)

    @classmethod
    def class_method(cls, sender, instance):
        return cls, instance

    @classmethod
    async def async_class_method(cls, sender, instance):
        return cls, instance

    @staticmethod
    def static_method(sender, instance):
        return instance


class AsyncEar:
    def __init__(self, calls):
        self.calls = calls

    async def __call__(self, sender, instance):
        await asyncio.sleep(0)
        self.calls.append(instance)


def plain_kinds(calls):
    def function(sender, instance):
        calls.append(instance)

    def with_extra(extra, sender, instance):
        calls.append(instance)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        function(*args, **kwargs)

    return {
        "function": function,
        "lambda": lambda sender, instance: calls.append(instance),
        "method": Ear(calls).method,
        "object": Ear(calls),
        "partial": functools.partial(with_extra, "extra"),
        "partial of a method": functools.partial(Ear(calls).method),
        "partial of an object": functools.partial(Ear(calls)),
        "wrapper": wrapper,
    }


def async_kinds(calls):
    async def coroutine(sender, instance):
        await asyncio.sleep(0)
        calls.append(instance)

    async def with_extra(sender, instance, extra):
        await asyncio.sleep(0)
        calls.append(instance)

    return {
        "coroutine": coroutine,
        "async method": Ear(calls).async_method,
        "async object": AsyncEar(calls),
        "async partial": functools.partial(with_extra, extra=1),
        "partial of an async method": functools.partial(Ear(calls).async_method),
        "partial of an async object": functools.partial(AsyncEar(calls)),
    }


def awaitable_kinds(calls):
    """Plain functions that return what can be awaited."""

    async def later(instance):
        await asyncio.sleep(0)
        calls.append(instance)

    class Awaitable:
        def __init__(self, instance):
            self.instance = instance

        def __await__(self):
            return later(self.instance).__await__()

    return {
        "one who returns a coroutine": lambda sender, instance: later(instance),
        "one who returns a task": lambda sender, instance: asyncio.ensure_future(later(instance)),
        "one who returns an awaitable": lambda sender, instance: Awaitable(instance),
    }


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", plain_kinds([]))
def test_every_kind_of_callable_is_called(signal, calls, kind, how):
    receiver = plain_kinds(calls)[kind]
    signal.connect(receiver, weak=False)
    assert send(signal, how) == [(receiver, None)]
    assert calls == [1]


@pytest.mark.parametrize("how", [*AWAITED, "asend", "asend_robust"])
@pytest.mark.parametrize("kind", async_kinds([]) | awaitable_kinds([]))
def test_every_kind_of_coroutine_is_awaited(signal, calls, kind, how):
    receiver = (async_kinds(calls) | awaitable_kinds(calls))[kind]
    signal.connect(receiver, weak=False)
    assert send(signal, how) == [(receiver, None)]
    assert calls == [1]


@pytest.mark.parametrize("how", AWAITED)
def test_class_and_static_methods_can_be_connected(signal, how):
    signal.connect(Ear.class_method)
    signal.connect(Ear.async_class_method)
    signal.connect(Ear.static_method)
    gc.collect()
    assert [response for _, response in send(signal, how)] == [(Ear, 1), (Ear, 1), 1]


def test_a_class_can_be_connected(signal):
    class Made:
        def __init__(self, sender, instance):
            self.sender = sender

    signal.connect(Made)
    [(receiver, response)] = send(signal)
    assert receiver is Made
    assert isinstance(response, Made)


@pytest.mark.parametrize("how", AWAITED)
def test_plain_and_coroutine_receivers_run_one_after_another(signal, calls, how):
    @signal.connect
    async def slow(sender):
        calls.append("slow starts")
        await asyncio.sleep(0)
        calls.append("slow ends")

    @signal.connect
    def quick(sender):
        calls.append("quick")

    @signal.connect
    async def last(sender):
        calls.append("last")

    send(signal, how)
    assert calls == ["slow starts", "slow ends", "quick", "last"]


@pytest.mark.parametrize("how", AWAITED)
def test_a_coroutine_is_resumed_with_what_it_awaited_or_with_its_exception(signal, calls, how):
    async def fails():
        await asyncio.sleep(0)
        raise KeyError("x")

    @signal.connect
    async def hear(sender):
        calls.append(await asyncio.sleep(0, "result"))
        try:
            await asyncio.ensure_future(fails())
        except KeyError as error:
            calls.append(str(error))
        return "response"

    assert send(signal, how) == [(hear, "response")]
    assert calls == ["result", "'x'"]


@pytest.mark.parametrize("kind", async_kinds([]))
def test_send_async_ends_with_the_first_exception_of_a_coroutine(signal, calls, kind):
    @signal.connect
    async def bad(sender):
        await asyncio.sleep(0)
        raise ZeroDivisionError

    signal.connect(async_kinds(calls)[kind], weak=False)
    with pytest.raises(ZeroDivisionError):
        send(signal, "send_async")
    assert calls == []


def test_send_robust_async_gives_and_logs_the_exceptions_of_coroutines(signal, calls, caplog):
    @signal.connect
    async def bad(sender):
        await asyncio.sleep(0)
        raise ZeroDivisionError

    signal.connect(calls.append, weak=False)
    responses = send(signal, "send_robust_async")
    assert isinstance(responses[0][1], ZeroDivisionError)
    assert calls == ["me"]
    [record] = caplog.records
    assert "bad failed on changed" in record.getMessage()
    assert record.exc_info[1] is responses[0][1]


# Without a loop, and with wrappers


@pytest.mark.parametrize("kind", async_kinds([]))
def test_send_refuses_coroutines(signal, calls, kind):
    signal.connect(async_kinds(calls)[kind], weak=False)
    with pytest.raises(RuntimeError, match="is a coroutine function: send_async calls it"):
        send(signal)
    assert calls == []


def test_send_robust_gives_the_refusal_of_a_coroutine_as_its_response(signal, calls):
    signal.connect(async_kinds(calls)["coroutine"], weak=False)
    signal.connect(calls.append, weak=False)
    responses = send(signal, "send_robust")
    assert isinstance(responses[0][1], RuntimeError)
    assert calls == ["me"]


@pytest.mark.parametrize("how", PLAIN)
@pytest.mark.parametrize("kind", async_kinds([]))
def test_an_async_wrapper_runs_coroutines_and_leaves_the_others_alone(signal, calls, kind, how):
    def wrapper(receiver):
        calls.append("wrapped")
        return lambda *args, **kwargs: asyncio.run(receiver(*args, **kwargs))

    coroutine = signal.connect(async_kinds(calls)[kind], weak=False)
    plain = signal.connect(plain_kinds(calls)["function"], weak=False)
    responses = getattr(signal, how)("me", _async_wrapper=wrapper, instance=1, handler=2)
    assert responses == [(coroutine, None), (plain, None)]
    assert calls == ["wrapped", 1, 1]


@pytest.mark.parametrize("how", AWAITED)
@pytest.mark.parametrize("kind", plain_kinds([]))
def test_a_sync_wrapper_runs_plain_functions_and_leaves_coroutines_alone(signal, calls, kind, how):
    def wrapper(receiver):
        async def run(*args, **kwargs):
            calls.append("wrapped")
            return receiver(*args, **kwargs)

        return run

    plain = signal.connect(plain_kinds(calls)[kind], weak=False)
    coroutine = signal.connect(async_kinds(calls)["coroutine"], weak=False)
    responses = asyncio.run(getattr(signal, how)("me", _sync_wrapper=wrapper, instance=1, handler=2))
    assert responses == [(plain, None), (coroutine, None)]
    assert calls == ["wrapped", 1, 1]


# Cancellation


async def waits_for_what_is_cancelled(sender):
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


def test_a_receiver_that_awaits_something_cancelled_fails_as_any_other(signal, calls):
    signal.connect(waits_for_what_is_cancelled)
    signal.connect(calls.append, weak=False)
    responses = send(signal, "send_robust_async")
    assert isinstance(responses[0][1], RuntimeError)
    assert calls == ["me"]
    with pytest.raises(RuntimeError, match="waits_for_what_is_cancelled waited for what was cancelled"):
        send(signal, "send_async")


@pytest.mark.parametrize("how", AWAITED)
def test_who_sends_can_be_cancelled(signal, calls, how):
    waits = asyncio.Event()

    @signal.connect
    async def forever(sender):
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("cleans up")

    signal.connect(calls.append, weak=False)

    async def main():
        task = asyncio.create_task(getattr(signal, how)("me", **GIVEN))
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert calls == ["cleans up"]


# What they are called


@pytest.mark.parametrize(
    ("receiver", "name"),
    [
        (Ear([]), f"{__name__}.Ear"),
        (Ear([]).method, f"{__name__}.Ear.method"),
        (functools.partial(Ear([]).method), f"{__name__}.Ear.method"),
        ([].append, "builtins.list.append"),
        ({}.__setitem__, "builtins.dict.__setitem__"),
        (print, "builtins.print"),
    ],
    ids=["object", "method", "partial", "built-in method", "method of a built-in class", "built-in function"],
)
def test_every_receiver_has_a_name(receiver, name):
    assert name_of(receiver) == name


# Wrappers and mocks


def passing_on(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def adding(function):
    @functools.wraps(function)
    def wrapper(sender, **arguments):
        return function(sender, store=1, **arguments)

    return wrapper


def requiring(function):
    @functools.wraps(function)
    def wrapper(sender, price):
        return function(sender)

    return wrapper


def test_a_wrapper_that_passes_everything_on_is_given_what_the_wrapped_takes(signal):
    @passing_on
    def receiver(sender, instance):
        return instance

    signal.connect(receiver)
    assert signal.send("me", instance=1, handler=2) == [(receiver, 1)]


def test_a_wrapper_is_given_what_it_takes_itself(signal):
    @adding
    def receiver(sender, store, **arguments):
        return store, arguments

    signal.connect(receiver)
    assert signal.send("me", instance=1, handler=2) == [(receiver, (1, {"instance": 1, "handler": 2}))]


def test_a_wrapper_that_requires_what_the_signal_does_not_have_is_refused(signal):
    with pytest.raises(TypeError, match="it requires 'price'"):
        signal.connect(requiring(lambda sender: None))


def test_a_cached_function_is_given_what_it_takes(signal):
    receiver = functools.lru_cache(lambda sender, instance: instance)
    signal.connect(receiver)
    assert signal.send("me", instance=1, handler=2) == [(receiver, 1)]


@pytest.mark.parametrize(
    "mock", [Mock(), MagicMock(), Mock(spec=print), create_autospec(lambda sender, instance, handler: None)]
)
def test_mocks_are_called_with_everything(signal, mock):
    signal.connect(mock)
    signal.send("me", instance=1, handler=2)
    mock.assert_called_once_with("me", instance=1, handler=2)


def test_an_async_mock_is_awaited(signal):
    mock = AsyncMock()
    signal.connect(mock)
    asyncio.run(signal.send_async("me", instance=1, handler=2))
    mock.assert_awaited_once_with("me", instance=1, handler=2)


def test_an_argument_may_be_called_self():
    signal = Signal("told", arguments=("self",))
    signal.connect(receiver := lambda sender, self: self)
    assert signal.send("me", self=1) == [(receiver, 1)]
