"""Here, and not beside the tests, because pytest takes plugins from the outermost conftest only."""

import gc

pytest_plugins = ["hive.testing"]


def pytest_collection_finish():
    """What was imported stays: tests that collect garbage need not look through it each time."""
    gc.collect()
    gc.freeze()
