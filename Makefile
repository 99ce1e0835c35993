# What a person may do here. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
# The lock files are complete: nothing is resolved again. uv takes a third of pip's time; pip comes in where there is no uv
# for the machine, or uv does not get through, as where only pip's own settings name the index.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL = install() { { test -x $(BIN)/uv && $(UV) "$$@"; } || $(PIP) "$$@"; }; install --no-deps

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-quick test-slow bench soak mutants check format lock clean

help: ## list what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: .venv/installed ## install everything that runs into .venv

demo: setup ## two nights on the handwritten digits, from nothing to a promoted second model
	$(BIN)/python -m stack demo

up: setup ## keep the whole stack running on this machine; Ctrl-C stops it
	$(BIN)/python -m stack up

# Three workers on two CPUs, since a test often waits for a server; then each does its arithmetic in one thread.
WORKERS := -n 3 --dist worksteal

test test-quick: export OPENBLAS_NUM_THREADS = 1
test: .venv/installed-dev ## all tests but those that take minutes each; a quarter of an hour on two CPUs
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

test-quick: .venv/installed-dev ## the tests without MLflow, Airflow, networks and servers of their own; three minutes
	$(BIN)/python -m pytest -m "not slow and not heavy" $(WORKERS)

test-slow: .venv/installed-dev ## the tests that take minutes each and prove no more than the others
	$(BIN)/python -m pytest -m slow --timeout 1800

bench: .venv/installed-bench ## how fast it all is; DATA=folder for photos of your own, QUICK=1 for one short round
	$(BIN)/python -m benchmarks $(if $(DATA),--data '$(DATA)') $(if $(QUICK),--quick) $(PARTS)

soak: setup ## thirty nights with drift, on a clock of their own; about two minutes
	$(BIN)/python -m soak

mutants: .venv/installed-dev .venv-mutants/installed ## faults put into what must never be wrong: do the tests notice? hours; TARGETS="gate triggers"
	nice $(BIN)/python -m mutants $(TARGETS)

check: .venv/installed-dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: | .venv/python ## pin every package anew, from pyproject.toml
	echo uv | $(BIN)/uv pip compile $(LOCK) - -o requirements-uv.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra full -o requirements.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra full --extra dev -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra full --extra bench -c requirements.txt -o requirements-bench.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -c requirements.txt -o requirements-web.txt
	$(BIN)/uv pip compile $(LOCK) --group mutants -o requirements-mutants.txt

LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

clean: ## remove .venv; your data under var/ stays
	rm -rf .venv .venv-mutants

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Expected Python 3.11 to 3.13 (TensorFlow has no wheel for others), got $$($(PYTHON) --version)."; \
	  echo "Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements-uv.txt || echo "Without uv: pip will install, which takes longer."
	touch $@

.venv/installed: requirements.txt pyproject.toml | .venv/python
	@echo "Installing the pinned packages into .venv (one to three minutes) ..."
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --editable .
	touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	touch $@

.venv/installed-bench: requirements-bench.txt .venv/installed
	@$(INSTALL) --require-hashes -r requirements-bench.txt
	touch $@

# Cosmic Ray stands apart: it runs the tests with .venv, and nobody else needs what it needs.
.venv-mutants/installed: requirements-mutants.txt | .venv/python
	$(BIN)/python -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-mutants.txt
	touch $@
