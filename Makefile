# make demo, make test: each sets up all it needs below .venv, once, and again only when what it stands on changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO := $(wildcard proto/cri/v1/*.proto)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint types contracts check peers lock wheel clean help
help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.runtime ## polling, relisting, events and hints side by side, then a hung list
	@$(BIN)/pleg demo

test: $(VENV)/.dev ## the test suite, without the peers
	@$(BIN)/python -m pytest --ignore=tests/peers

lint: $(VENV)/.dev ## ruff: style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy --strict over code and tests
	@$(BIN)/mypy

contracts: $(VENV)/.dev ## import-linter: the floors of the design
	@$(BIN)/lint-imports --no-cache

check: test lint types contracts ## all of the above

peers: $(VENV)/.dev ## install and build the peers (root, Debian), then test against them
	@.ci/peers
	@$(BIN)/python -m pytest tests/peers

wheel: $(VENV)/.dev ## dist/*.whl from this tree
	@rm -rf dist && $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

lock: ## new versions into the hashed locks (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade --group build pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade --group dev --constraints requirements.lock pyproject.toml --output-file requirements-dev.lock

clean: ## forget everything that was built
	rm -rf $(VENV) build dist cri/v1/*_pb2.py cri/v1/*_pb2.pyi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.X" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv is missing: install the package python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)

# Two stamps: the demo needs no test tools. The development lock holds all of the other one.
$(VENV)/.runtime: requirements.lock pyproject.toml hatch_build.py $(PROTO) | $(BIN)/python
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $@
