"""Operations run one at a time, and garbage collection in the midst of one makes nobody wait for ever."""

import threading

import pytest

from hive.exclusive import Exclusive
from tests.support.threads import PATIENCE, begun


@pytest.fixture
def exclusively():
    return Exclusive()


def test_an_operation_runs_at_once_and_its_result_comes_back(exclusively):
    assert exclusively(lambda: 7) == 7


def test_one_that_comes_in_the_midst_of_another_waits_for_its_end_and_is_told_none(exclusively):
    done = []

    def outer():
        told = exclusively(lambda: done.append("inner"))
        done.append("outer")
        return told

    assert exclusively(outer) is None
    assert done == ["outer", "inner"]


def test_those_that_wait_keep_their_order_and_may_ask_for_more(exclusively):
    done = []

    def more():
        done.append("first")
        exclusively(lambda: done.append("third"))

    def outer():
        exclusively(more)
        exclusively(lambda: done.append("second"))

    exclusively(outer)
    assert done == ["first", "second", "third"]


def test_those_that_wait_run_even_if_the_operation_fails(exclusively):
    done = []

    def outer():
        exclusively(lambda: done.append("inner"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        exclusively(outer)
    assert done == ["inner"]
    assert exclusively(lambda: "next") == "next"


def test_those_of_other_threads_wait_outside_and_get_their_result(exclusively):
    inside, go_on, results = threading.Event(), threading.Event(), []

    def slow():
        inside.set()
        assert go_on.wait(PATIENCE)
        results.append("slow")

    first = begun(lambda: exclusively(slow))
    assert inside.wait(PATIENCE)
    second = begun(lambda: results.append(exclusively(lambda: "quick")))
    go_on.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert results == ["slow", "quick"]


def test_one_that_fails_after_it_had_to_wait_is_logged_and_holds_up_nobody(exclusively, caplog):
    def outer():
        exclusively(lambda: 1 / 0)
        exclusively(lambda: done.append("second"))
        return "outer"

    done = []
    assert exclusively(outer) == "outer"
    assert done == ["second"]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]
    assert exclusively(lambda: "next") == "next"


def test_soon_runs_at_once_where_nobody_is_at_it(exclusively):
    done = []
    exclusively.soon(lambda: done.append("now"))
    assert done == ["now"]


def test_soon_never_waits_and_whoever_is_at_it_runs_it(exclusively):
    inside, go_on, done = threading.Event(), threading.Event(), []

    def slow():
        inside.set()
        assert go_on.wait(PATIENCE)
        done.append("slow")

    thread = begun(lambda: exclusively(slow))
    assert inside.wait(PATIENCE)
    exclusively.soon(lambda: done.append("soon"))
    assert done == []
    go_on.set()
    thread.result(PATIENCE)
    assert done == ["slow", "soon"]


def test_soon_in_the_midst_of_one_comes_after_it(exclusively):
    done = []

    def outer():
        exclusively.soon(lambda: done.append("soon"))
        done.append("outer")

    exclusively(outer)
    assert done == ["outer", "soon"]


def test_one_that_is_interrupted_while_others_wait_does_not_keep_the_lock(exclusively):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exclusively.soon(interrupted)
    assert exclusively(lambda: "next") == "next"
