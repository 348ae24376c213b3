# Two commands: `make quickstart` and `make test`. Each creates .venv and installs what it needs on the first call.
PYTHON ?= python3
PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed

.PHONY: quickstart test test-all test-fast lint format ui clean

quickstart: $(DONE)
	$(BIN)/codeblock run configs/quickstart.yaml

test: $(DONE)
	$(BIN)/python -m pytest -n $(PROCESSES) -m "not long"

test-all: $(DONE)
	$(BIN)/python -m pytest -n $(PROCESSES)

test-fast: $(DONE)
	$(BIN)/python -m pytest -m "not slow"

lint: $(DONE)
	$(BIN)/ruff check platform tests jobs
	$(BIN)/ruff format --check platform tests jobs
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DONE)
	$(BIN)/ruff check --fix platform tests jobs
	$(BIN)/ruff format platform tests jobs

ui: $(DONE)
	$(BIN)/codeblock ui

clean:
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(DONE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11, 3.12 or 3.13 is needed, $$($(PYTHON) --version) found; name one with make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(DONE)
