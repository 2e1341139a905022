"""Here, and not beside the tests, because pytest takes plugins from the outermost conftest only."""

pytest_plugins = ["hive.testing"]
