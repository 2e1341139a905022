"""Every test that takes `database` runs twice: on mongomock and on a real server."""

from typing import Any

import pytest


@pytest.fixture(params=["mongomock", "mongodb"])
def database(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_database")
