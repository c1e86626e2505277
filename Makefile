# Everything runs in .venv, made from requirements.lock. `make run` is the whole product once; `make test` is the one check.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 7
CLIENTS ?= 3
MONTHS ?= 6
LEADS_PER_MONTH ?= 60
export LEADTRAIL_HOME ?= .leadtrail
# compiled modules are kept: the tools we start import thousands
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run ui test soak bench install lint lock clean

run: install
	@$(BIN)/leadtrail run --seed $(SEED) --clients $(CLIENTS) --months $(MONTHS) --leads-per-month $(LEADS_PER_MONTH)

ui: install
	@$(BIN)/leadtrail up

test: install lint
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder

soak: install
	$(BIN)/python -m pytest -m soak

# one that misses its targets does not keep the others from running
bench: install
	@missed=0; for part in intake ingest warehouse identity speed_to_lead redaction; do $(BIN)/python -m bench.$$part || missed=1; done; exit $$missed

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/installed

# uv installs the lock file in seconds; where it cannot be had, pip does the same more slowly
$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "Leadtrail needs Python 3.11, 3.12 or 3.13; set PYTHON=python3.12, say."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing what requirements.lock names …"
	@sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p}' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock \
	  && $(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: install
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:
	rm -rf $(LEADTRAIL_HOME)
