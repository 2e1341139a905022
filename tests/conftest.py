"""Fixtures and rules of all tests.

A test in `tests/system` starts processes or needs time; its marker is `system`. hypothesis always tries the
same examples; with ``HYPOTHESIS_PROFILE=explore`` it looks for others. With ``HIVE_TEST_COMPLETE=1`` the run
fails where a test was skipped.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support.mongod import Mongod

SYSTEM = Path(__file__).parent / "system"

# A shell lets its programs in the background ignore Ctrl-C. Those that tests start have to heed it.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(params=["mongomock", "mongodb"])
def database(request: pytest.FixtureRequest) -> Any:
    """For what differs between mongomock and a server: the test runs on both."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture
def mongod(mongodb_server: str) -> Iterator[Mongod]:
    """A proxy in front of a real server that answers as mongod does."""
    proxy = Mongod(mongodb_server)
    yield proxy
    proxy.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of processes, and let them begin: they take longest."""
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker("system")
    items.sort(key=lambda item: item.get_closest_marker("system") is None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if os.environ.get("HIVE_TEST_COMPLETE") and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("HIVE_TEST_COMPLETE is set, and tests were skipped: that is a failure.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_skipped = reporter is not None and reporter.stats.get("skipped")
    if os.environ.get("HIVE_TEST_COMPLETE") and is_skipped and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
