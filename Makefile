PYTHON ?= python3
BIN := .venv/bin

.PHONY: help check test e2e bench chaos

help:  ## List the targets
	@grep -E '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 8

$(BIN)/ruff: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

check: $(BIN)/ruff  ## Linters, types and floors: what CI runs in addition to the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(BIN)/ruff  ## Every test
	$(BIN)/pytest
	$(BIN)/pytest -m slow

e2e: $(BIN)/ruff  ## The examples and the README's commands alone
	$(BIN)/pytest -m "slow or not slow" tests/e2e

bench: $(BIN)/ruff  ## Speed, as ratios of medians within one run
	$(BIN)/python bench/run.py

SECONDS ?= 120
chaos: $(BIN)/ruff  ## Random kills and deploys under load; SEED=7 SECONDS=600
	PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
