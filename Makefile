# make demo, make test: each sets up all it needs below .venv, once, and again only when what it stands on changed.
# Nothing here needs git.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PROTO := $(wildcard proto/cri/v1/*.proto)
GENERATED := $(PROTO:proto/%.proto=%_pb2.py) $(PROTO:proto/%.proto=%_pb2.pyi)

# What a user has told Python and pip for other purposes must not lead packages elsewhere. Indexes and proxies stay.
unexport PYTHONPATH PYTHONHOME
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_EDITABLE PIP_DRY_RUN
unexport PIP_REQUIRE_HASHES PIP_NO_BINARY PIP_ONLY_BINARY PIP_IGNORE_INSTALLED PIP_NO_BUILD_ISOLATION
export PIP_USER := 0

# .made names the directory the environment was made in: moved or copied, it would run another tree's code.
# .unfinished stays behind when an installation is broken off: what pip had begun it would take for whole.
ifneq ($(shell test -x $(BIN)/python && test ! -e $(VENV)/.unfinished && cat $(VENV)/.made 2>/dev/null),$(CURDIR))
ANEW := anew
endif

.PHONY: demo test lint types contracts check packaging docs peers lock wheel clean help anew
help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.runtime $(GENERATED) ## polling, relisting, events and hints side by side, then a hung list
	@$(BIN)/pleg demo

test: $(VENV)/.dev $(GENERATED) ## the test suite, without what takes long: peers, packaging, docs
	@$(BIN)/python -m pytest --ignore=tests/peers --ignore=tests/packaging --ignore=tests/docs

lint: $(VENV)/.dev $(GENERATED) ## ruff: style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev $(GENERATED) ## mypy --strict over code and tests
	@$(BIN)/mypy

contracts: $(VENV)/.dev $(GENERATED) ## import-linter: the floors of the design
	@$(BIN)/lint-imports --no-cache

check: test lint types contracts ## all of the above

packaging: $(VENV)/.dev $(GENERATED) ## the wheel and the set-up, each tried in a fresh directory
	@$(BIN)/python -m pytest tests/packaging

docs: $(VENV)/.dev $(GENERATED) ## every command of the README, in real time
	@$(BIN)/python -m pytest tests/docs

peers: $(VENV)/.dev $(GENERATED) ## install and build the peers (root, Debian), then test against them
	@.ci/peers
	@$(BIN)/python -m pytest tests/peers

wheel: $(VENV)/.runtime ## dist/*.whl from this tree
	@rm -rf dist
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

lock: ## new versions into the hashed locks (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade --group build pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --upgrade --group dev --constraints requirements.lock pyproject.toml --output-file requirements-dev.lock

clean: ## forget everything that was built
	rm -rf $(VENV) build dist cri/v1/*_pb2.py cri/v1/*_pb2.pyi

$(VENV)/.made: $(ANEW)
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "Python's venv is missing: install the package python3-venv" >&2; exit 1; }; \
	  echo "setting up $(VENV) with $$python (once, about a minute)" >&2; \
	  rm -rf $(VENV) && "$$python" -m venv $(VENV) && printf %s '$(CURDIR)' >$@; \
	  exit; \
	done; \
	echo "Python 3.11 or newer is needed: make PYTHON=python3.X" >&2; exit 1

# Two stamps: the demo needs no test tools. The development lock holds all of the other one.
$(VENV)/.runtime: requirements.lock pyproject.toml hatch_build.py $(ANEW) | $(VENV)/.made
	@touch $(VENV)/.unfinished
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@rm $(VENV)/.unfinished
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@touch $(VENV)/.unfinished
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.lock
	@rm $(VENV)/.unfinished
	@touch $@

cri/v1/%_pb2.py cri/v1/%_pb2.pyi: proto/cri/v1/%.proto hatch_build.py | $(VENV)/.runtime
	@$(BIN)/python hatch_build.py
