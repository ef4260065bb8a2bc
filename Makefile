# Everything starts from here; `make` alone lists the targets. Python 3.11 to 3.13 and a package registry are all it needs.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock

.DEFAULT_GOAL := help
.PHONY: help install demo dev sandbox test test-all lint format lock bench bench-lineage screenshots clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found: install one, or name it with make PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras; a changed lock or project file installs again.
$(VENV)/.installed: pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing mc_push_dagster into $(VENV) (about a minute, once) ..."
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing the test tools and every warehouse's client into $(VENV) (about two minutes, once) ..."
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-engines: $(VENV)/.installed-test
	@echo "Installing a real Spark with Iceberg into $(VENV) (about a minute, once) ..."
	@$(PIP_INSTALL) --editable '.[test,spark-engine]'
	@touch $@

install: $(VENV)/.installed ## make the environment alone

demo: $(VENV)/.installed ## build a demo warehouse, push it to a local stand-in for Monte Carlo, show what arrived
	@$(BIN)/mc-push demo

dev: $(VENV)/.installed ## open Dagster's UI on http://127.0.0.1:3000
	@$(BIN)/dagster dev

sandbox: $(VENV)/.installed ## open the page that shows what the demo pushed, on http://127.0.0.1:8765
	@$(BIN)/mc-push sandbox

test: $(VENV)/.installed-test ## run the tests (under five minutes)
	@$(BIN)/python -m pytest -q -n auto --dist loadfile

test-all: $(VENV)/.installed-engines ## run the tests with real Spark, Chromium and the slow ones (as CI does)
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not spark and not browser and not live and not bench"
	@$(BIN)/python -m pytest -q -m "(spark or browser) and not live and not bench"

lint: $(VENV)/.installed-test ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

format: $(VENV)/.installed-test ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: ## resolve requirements.lock anew (needs uv)
	@uv pip compile --universal --python-version 3.11 pyproject.toml --all-extras --upgrade --output-file requirements.lock \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

bench: $(VENV)/.installed-test ## measure: ratios from one run
	@$(BIN)/python -m pytest -q -s -m bench mc_push_dagster_tests/benchmarks

bench-lineage: $(VENV)/.installed-test ## score lineage on the corpora beside the checkout, and against an oracle without a parser
	@$(BIN)/python mc_push_dagster_tests/benchmarks/lineage_corpora.py
	@$(BIN)/python mc_push_dagster_tests/benchmarks/lineage_oracle.py

screenshots: $(VENV)/.installed-test ## take the README's pictures from the running demo (needs Chromium)
	@$(BIN)/python mc_push_dagster_tests/e2e/screenshots.py

clean: ## remove what the demo and Dagster wrote; the environment stays
	@rm -rf .mc_push .dagster .tmp_dagster_home_* .pytest_cache .ruff_cache .hypothesis
