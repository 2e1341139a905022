# Everything happens in .venv, which the first target that needs it makes.
# PYTHON chooses the Python (3.11 or newer) to make it with: make test PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes: they share what was compiled, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-unit lint docs bench clean

help:  ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 14

run: .venv/examples.stamp  ## serve the example application on http://127.0.0.1:8888 (PORT, MONGODB_URI)
	@$(BIN)/python -m examples.atlas

test: .venv/dev.stamp  ## run all tests and measure coverage
	@$(BIN)/python -m pytest --cov --numprocesses 3 --dist worksteal

test-unit: .venv/dev.stamp  ## run the tests that need no server
	@$(BIN)/python -m pytest tests/unit --numprocesses 2 --dist worksteal

lint: .venv/dev.stamp  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/dev.stamp  ## check the documents: run every code block in them
	@$(BIN)/python -m pytest tests/system/test_docs.py

bench: .venv/embedded.stamp .venv/fast.stamp  ## measure speed and growth beside peers; BENCH="--rounds 2"
	@$(BIN)/python -m benchmarks $(or $(BENCH),--write benchmarks/RESULTS.md)

clean:  ## remove what was built; the data in ./hive-data stays
	rm -rf .venv benchmarks/.venvs .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
