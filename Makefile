PYTHON ?= python3
BIN := .venv/bin

.PHONY: help check docs test e2e bench chaos

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

$(BIN)/sphinx-build: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[dev,docs]"
	touch $@

docs: $(BIN)/sphinx-build  ## The site, in build/docs; a warning is an error
	$(BIN)/sphinx-build --nitpicky --fail-on-warning --keep-going --quiet docs build/docs

test: $(BIN)/ruff  ## Every test
	$(BIN)/pytest
	$(BIN)/pytest -m slow

e2e: $(BIN)/ruff  ## The examples and the commands of the documents alone
	$(BIN)/pytest -m "slow or not slow" tests/e2e

bench: $(BIN)/ruff  ## Speed, as ratios of medians within one run
	$(BIN)/python bench/run.py

SECONDS ?= 120
chaos: $(BIN)/ruff  ## Random kills and deploys under load; SEED=7 SECONDS=600
	PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
