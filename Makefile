# The commands of this repository; `make` alone lists them.
#   PYTHON=python3.12 make setup    chooses another Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup scan test test-fast lint types imports check audit bench server wheel clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## Make .venv from requirements.lock (again when that or pyproject.toml changes)

scan: setup ## Judge the sample pictures; verdicts and the report land in reports/
	$(BIN)/deepfake scan data/samples --full

test: setup ## Run all tests
	$(BIN)/python -m pytest

test-fast: setup ## Run the tests that start no process and train no network, in a minute
	$(BIN)/python -m pytest -m "not processes and not slow"

lint: setup ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check types
	$(BIN)/mypy

imports: setup ## Check the direction of dependencies
	$(BIN)/lint-imports

check: lint types imports test ## All that CI runs

# It stands in an environment of its own: in the lock it would add 15 packages to those it audits.
# Without --strict it succeeds where not one package could be looked up.
AUDITOR := pip-audit==2.10.1
AUDIT := --requirement requirements.lock --no-deps --disable-pip --strict --progress-spinner off
NOT_CLEAN = { echo "The audit is not clean: it found what stands above, or could not look it up." \
  "It asks https://pypi.org/pypi/NAME/VERSION/json; a package index that lacks this page will" \
  "not do, and a network is needed." >&2; exit 1; }
audit: ## Look up the locked versions in PyPI's list of known vulnerabilities (needs a network)
ifneq ($(UV),)
	@$(UV) tool run --quiet --from $(AUDITOR) pip-audit $(AUDIT) || $(NOT_CLEAN)
else
	@$(PYTHON) -m venv .audit && .audit/bin/python -m pip install --quiet $(AUDITOR) \
	  && .audit/bin/pip-audit $(AUDIT) || $(NOT_CLEAN)
endif

bench: setup ## Measure the speed of this machine into reports/bench.json
	$(BIN)/python -m deepfake_core.bench

PORT ?= 4200
server: setup ## Start a Prefect server, a worker and the deployments on PORT; Ctrl-C stops all
	@exec $(BIN)/python -m flows.server --port $(PORT)

wheel: setup ## Build the wheels into dist/: the program with its models, and the second look
	@for source in . ./models/clip; do \
	  if $(BIN)/python -c 'import pip' 2>/dev/null; \
	  then $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist $$source; \
	  else $(UV) build --quiet --wheel --out-dir dist $$source; fi || exit 1; \
	  rm -rf $$source/build $$source/*.egg-info; \
	done; ls -l dist/*.whl

clean: ## Remove the environment, caches and build products; reports stay
	rm -rf $(VENV) .audit build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Touched last, so that an installation that was interrupted is done again.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing)." \
	    "Name another one: PYTHON=/path/to/python3.11 make setup" >&2; exit 1; }
	@echo "Installing into $(VENV); the first time takes minutes and about 3 GB of disk." >&2
ifneq ($(UV),)
	@$(BIN)/python -c '$(FITS)' 2>/dev/null || $(UV) venv --quiet --clear \
	  --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@{ $(BIN)/python -c '$(FITS)' && $(BIN)/python -m pip --version; } >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; \
	  exit 1; }
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
endif
	@touch $@
