# Every target does its own set-up. It needs Python 3.11 or newer and a package registry, nothing else.

PYTHON ?= $(shell for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$candidate; break; }; done)
JOBS ?= 4
ARGS ?=

VENV := .venv
DEMO_VENV := .venv-demo
PIP := -m pip --disable-pip-version-check install --quiet
READY := $(VENV)/.ready
DEMO_READY := $(DEMO_VENV)/.ready
SOURCES := $(shell find litequeue -name '*.py' -o -name '*.sql')

.PHONY: help test lint format types unit docs-check demo bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

test: $(READY)  ## what CI runs: lint, types, tests; all three, whichever fails
	@failed=0; \
	for step in lint types unit; do $(MAKE) --no-print-directory $$step || failed=1; done; \
	exit $$failed

lint: $(READY)  ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY)  ## let ruff put the code in order
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

types: $(READY)  ## mypy, strict
	$(VENV)/bin/mypy

unit: $(READY)  ## the tests; ARGS="-k name" picks some
	$(VENV)/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

docs-check: $(READY)  ## only the tests of docs, README and examples
	$(VENV)/bin/python -m pytest tests/docs tests/test_examples.py $(ARGS)

demo: $(DEMO_READY)  ## install litequeue and let it analyse this machine's standard library
	$(DEMO_VENV)/bin/python examples/stdlib_report/run.py $(ARGS)

bench: $(READY)  ## measure the figures; ARGS="--help" tells how to choose
	$(VENV)/bin/python -m tests.benchmarks $(ARGS)

clean:  ## remove environments and everything built
	rm -rf $(VENV) $(DEMO_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml litequeue/__init__.py
	@$(need_python)
	@echo "Preparing $(VENV) with $(PYTHON) ..."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(PIP) --editable '.[dev]'
	@touch $@

$(DEMO_READY): pyproject.toml $(SOURCES)
	@$(need_python)
	@echo "Installing litequeue into $(DEMO_VENV) with $(PYTHON) ..."
	@test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	@rm -rf build
	@$(DEMO_VENV)/bin/python $(PIP) .
	@touch $@

define need_python
test -n "$(PYTHON)" || { \
	echo "litequeue needs Python 3.11 or newer with the venv module, and found none." >&2; \
	echo "Install one (Debian, Ubuntu: apt install python3-venv) or say which: make PYTHON=/path/to/python3.12" >&2; \
	exit 1; }
endef
