"""hive.context is empty outside of a request; in one, lines of the log end with its id."""

import logging
from types import SimpleNamespace

import pytest

import hive
from hive.current import Current

logger = logging.getLogger("hive")


LINES = [
    (("nothing more",), "nothing more"),
    (("one %s", "argument"), "one argument"),
    (("%d of %s", 2, "three"), "2 of three"),
    (("100% of it",), "100% of it"),
    (("50%s",), "50%s"),
    (("%% of %s", "100%s"), "% of 100%s"),
    (("%s", "%d"), "%d"),
    (("%s", ("a", "tuple")), "('a', 'tuple')"),
    ((ValueError("50% off"),), "50% off"),
    ((ValueError("%s"), "no text"), "no text"),
    ((7,), "7"),
    (("",), ""),
]


@pytest.fixture
def request_id():
    """The id of a request that is being served."""
    token = hive.context.set(Current(SimpleNamespace(request_id="100%s%(x)d")))
    yield "100%s%(x)d"
    hive.context.reset(token)


def logged(caplog, *line):
    """The record of a line."""
    with caplog.at_level(logging.DEBUG, "hive"):
        logger.debug(*line)
    [record] = caplog.records
    return record


def test_it_is_none_outside_of_a_request():
    assert hive.context.get() is None
    assert hive.context.name == "hive.context"


@pytest.mark.parametrize(("line", "message"), LINES, ids=[message for _, message in LINES])
def test_a_line_of_the_log_ends_with_the_id_of_its_request(request_id, caplog, line, message):
    record = logged(caplog, *line)
    assert record.getMessage() == f"{message} [request {request_id}]"
    assert record.request_id == request_id


@pytest.mark.parametrize(("line", "message"), LINES, ids=[message for _, message in LINES])
def test_a_line_outside_of_a_request_is_as_it_was_written(caplog, line, message):
    record = logged(caplog, *line)
    assert record.getMessage() == message
    assert record.request_id is None
    assert record.args == line[1:]


def test_a_line_with_arguments_by_name_has_the_id_too(request_id, caplog):
    record = logged(caplog, "%(a)s", {"a": "100%s"})
    assert record.getMessage() == f"100%s [request {request_id}]"
