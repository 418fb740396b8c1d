# make demo: from a generated plant's pictures to a recognizer, on the CPU, in a few minutes
# make test: all tests            make check: style and types
# make docs: docs/options.md      make results: tables and pictures of docs/results/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format docs results clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/cvgssl demo demo

# compiled once, whatever the caller's environment says, for all the processes that tests start
test: $(READY)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist worksteal --durations 25

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict src

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo build

docs: $(READY)
	$(BIN)/python -m cvgssl.cli.reference > docs/options.md

results: $(READY)
	$(BIN)/python recipes/results.py
