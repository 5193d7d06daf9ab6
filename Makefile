# Two commands: `make demo` and `make test`. Both set everything up first, inside this folder.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# TRL needs Python >= 3.11: take the first interpreter that has it. `make PYTHON=/path/to/python demo` chooses another.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do \
	if $$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)

.PHONY: demo quick test lint format setup wheel clean

demo: $(READY)
	$(BIN)/fipo demo

quick: $(READY)
	$(BIN)/fipo demo --quick

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed (with venv): install it, or run make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing PyTorch, TRL and the tools of the tests into $(VENV) (some minutes)"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

wheel: $(READY)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
