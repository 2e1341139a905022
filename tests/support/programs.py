"""Programs that tests start: those of the checkout, and those that pip does not install."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
"""The checkout, where programs of the project are started."""


def program(name):
    """The path of a program. Skip the test where it is not installed.

    ``HIVE_TEST_CHROMIUM``, for "chromium", names another path.
    """
    path = os.environ.get(f"HIVE_TEST_{name.upper()}") or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
