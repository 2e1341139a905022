"""The databases that a test runs on, where its file has a fixture `database` with another default."""

import pytest


def on(*names):
    return pytest.mark.parametrize("database", names, indirect=True)


on_mongomock = on("mongomock")
"""For claims that are the same on any database, as where nothing is stored; it is faster than a server."""
on_both = on("mongomock", "mongodb")
"""For what may differ between them."""
