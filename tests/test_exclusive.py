import threading

import pytest

from hive.exclusive import Exclusive


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
        assert go_on.wait(10)
        results.append("slow")

    first = threading.Thread(target=exclusively, args=(slow,))
    second = threading.Thread(target=lambda: results.append(exclusively(lambda: "quick")))
    first.start()
    assert inside.wait(10)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert results == ["slow", "quick"]


def test_one_that_comes_when_all_seems_done_is_not_forgotten(exclusively):
    """As garbage collection may, between the last look at those that wait and the end."""
    done = []

    class Late(type(exclusively._waiting)):
        looks = 0

        def __bool__(self):
            self.looks += 1
            if self.looks == 1:
                exclusively(lambda: done.append("late"))
                return False
            return len(self) > 0

    exclusively._waiting = Late()
    exclusively(lambda: None)
    assert done == ["late"]
