"""What needs a program that is not installed is skipped and listed; a run that must be complete fails."""

import os
import subprocess
import sys

import pytest

from tests.support.programs import ROOT


@pytest.mark.parametrize(
    ("complete", "status"), [({}, 0), ({"HIVE_TEST_COMPLETE": "1"}, 1)], ids=["any", "complete"]
)
def test_a_skipped_test_is_listed_and_fails_a_complete_run(complete, status):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HIVE_", "PYTEST_"))}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/system/test_browser.py", "-p", "no:cacheprovider"],
        cwd=ROOT, env=inherited | {"PATH": ""} | complete, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "5 skipped" in ran.stdout
    assert "chromium is not installed" in ran.stdout
    assert ran.returncode == status
    assert ("that is a failure" in ran.stdout) == bool(complete)
