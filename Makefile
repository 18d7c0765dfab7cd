# Verbs: make demo | test | ui | lint | prove | bench | mlflow | clean      (make help lists them)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
CANDLES ?=
INSTRUMENT ?=
FORMAT ?=
UTC_OFFSET ?=
SEEDS ?= 2
MINUTES ?= 0.8
FULL_MINUTES ?= 7
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint format ui mlflow prove bench clean clean-all

help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3.11."; exit 1; }
	@echo "installing into .venv (two to three minutes the first time) ..."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@# torch first and by its exact version: whatever asks for it later is then content.
	$(BIN)/pip install --no-compile -c constraints.txt torch==2.13.0
	$(BIN)/pip install --no-compile -c constraints.txt -e '.[dev,mctx,ppo]'
	@# pip compiles on one core, this on all of them; what does not compile are templates that nobody imports.
	$(BIN)/python -m compileall -qq -j 0 .venv/lib || true
	@touch $(STAMP)

setup: $(STAMP) ## Create .venv and install the pinned dependencies.

demo: $(STAMP) ## Run the whole chain (CANDLES=FILE for real candles; INSTRUMENT=, FORMAT=, UTC_OFFSET=).
	$(BIN)/fx-pipeline demo $(if $(CANDLES),--candles "$(CANDLES)") $(if $(INSTRUMENT),--instrument $(INSTRUMENT)) \
	  $(if $(FORMAT),--format $(FORMAT)) $(if $(UTC_OFFSET),--utc-offset "$(UTC_OFFSET)")

test: $(STAMP) ## Run all tests but the slow ones.
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(STAMP) ## Run the slow tests.
	@# A third worker, as many of them wait; one test at a time, in the order of fx_pipeline_tests/conftest.py.
	$(BIN)/pytest -n 3 --maxschedchunk 1 -m slow --durations 12 --durations-min 10

lint: $(STAMP) ## Check style, types and the walls between rooms.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ui: $(STAMP) ## Open the Dagster UI and the report pages on localhost (open the addresses that it prints).
	$(BIN)/fx-pipeline ui

mlflow: $(STAMP) ## Open the MLflow UI on localhost.
	$(BIN)/fx-pipeline mlflow

prove: $(STAMP) ## Print whether the agent learns, in some twenty minutes (SEEDS=5 MINUTES=5 FULL_MINUTES=30: hours).
	$(BIN)/fx-pipeline prove muzero --market all --seeds $(SEEDS) --minutes $(MINUTES) --no-fail
	$(BIN)/fx-pipeline prove muzero --market ou --preset full --seeds 1 --minutes $(FULL_MINUTES) --no-ppo --no-fail \
	  --output "$$($(BIN)/fx-pipeline folder)/proofs/full"
	$(BIN)/pytest -m slow -k ends_in_the_same_bytes fx_pipeline_tests/agents/test_muzero_kills.py -v

bench: $(STAMP) ## Run the benchmarks (some ten minutes; on an otherwise idle machine).
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.importers
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.paper_broker
	$(BIN)/python -m benchmarks.montecarlo
	$(BIN)/python -m benchmarks.validation
	@echo 'longer ones: python -m benchmarks.gate (a quarter of an hour), python -m benchmarks.options (an hour and a half)'

clean: ## Remove .venv and what can be made again; keeps imported candles, registered models, tracking, the trial ledger.
	@if test -x $(BIN)/fx-pipeline; then $(BIN)/fx-pipeline clean; \
	  else echo "the data folder is left as it is: without .venv nobody reads FX_DATA_DIR (make setup clean)"; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: $(STAMP) ## Remove imported candles, models and the trial ledger, too: they are lost.
	$(BIN)/fx-pipeline clean --all
	$(MAKE) clean
