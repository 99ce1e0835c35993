# The commands for developers and operators. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
# The lock files are complete, so nothing is resolved again. uv takes a third of pip's time. pip is used where uv is not
# available for the machine, or where uv fails, for example where only pip's settings name the package index.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALL = install() { { test -x $(BIN)/uv && $(UV) "$$@"; } || $(PIP) "$$@"; }; install --no-deps

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-quick test-slow bench soak mutants check format lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: .venv/installed ## install Mycoflow and its dependencies into .venv

demo: setup ## two nights, from nothing to a second model, on handwritten digits; PHOTOS=folder for your own photos
	$(BIN)/python -m stack demo $(if $(PHOTOS),--photos '$(subst ','\'',$(PHOTOS))')

up: setup ## run the whole stack on this machine; Ctrl-C stops it
	$(BIN)/python -m stack up

# Three workers on two CPUs, because tests often wait for a server. Each worker computes in one thread.
WORKERS := -n 3 --dist worksteal

test test-quick: export OPENBLAS_NUM_THREADS = 1
test: .venv/installed-dev ## all tests except those that take minutes each; a quarter of an hour on two CPUs
	$(BIN)/python -m pytest -m "not slow" $(WORKERS)

test-quick: .venv/installed-dev ## the tests that start no MLflow, Airflow or other server and train no network; three minutes
	$(BIN)/python -m pytest -m "not slow and not heavy" $(WORKERS)

test-slow: .venv/installed-dev ## the tests that take minutes each and prove no more than the others
	$(BIN)/python -m pytest -m slow --timeout 1800

bench: .venv/installed-bench ## measure the speed of everything; DATA=folder for your own photos, QUICK=1 for one short round
	$(BIN)/python -m benchmarks $(if $(DATA),--data '$(DATA)') $(if $(QUICK),--quick) $(PARTS)

soak: setup ## thirty nights with drift, on a simulated clock; about two minutes
	$(BIN)/python -m soak

mutants: .venv/installed-dev .venv-mutants/installed ## put faults into critical code and count those that the tests notice; takes hours; TARGETS="gate triggers" SAMPLE=40
	nice $(BIN)/python -m mutants $(if $(SAMPLE),--sample $(SAMPLE)) $(TARGETS)

check: .venv/installed-dev ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: | .venv/python ## pin all packages again, from pyproject.toml
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
	  echo "Choose another Python: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r requirements-uv.txt || echo "uv is not available: pip installs instead, which takes longer."
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

# Cosmic Ray has its own environment, because nothing else needs its packages. It runs the tests with .venv.
.venv-mutants/installed: requirements-mutants.txt | .venv/python
	$(BIN)/python -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-mutants.txt
	touch $@
