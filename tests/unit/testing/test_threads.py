"""A thread of a test that fails makes the test fail, with its own exception."""

import threading

import pytest

from tests.support.threads import at_once, in_thread, wait_for


def fail():
    message = "of the thread"
    raise LookupError(message)


def test_what_one_of_many_raises_is_raised_when_all_have_ended():
    ended = threading.Event()
    with pytest.raises(LookupError, match="of the thread"):
        at_once([fail, ended.set])
    assert ended.is_set()


def test_functions_are_called_at_the_same_time_and_their_results_are_in_order():
    barrier = threading.Barrier(3)
    assert sorted(at_once([lambda: barrier.wait(60)] * 3)) == [0, 1, 2]
    assert at_once([lambda index=index: index for index in range(5)]) == [0, 1, 2, 3, 4]


def test_what_a_thread_beside_a_block_raises_is_raised_at_its_end():
    with pytest.raises(LookupError, match="of the thread"), in_thread(fail):
        pass


def test_a_state_that_does_not_come_fails(monkeypatch):
    monkeypatch.setattr("tests.support.threads.PATIENCE", 0.01)
    with pytest.raises(AssertionError, match="did not become true"):
        wait_for(lambda: False)
