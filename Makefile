# The commands that a person types; `make` lists them. Only Python 3.11 or newer and make are
# needed; everything that gets installed goes into .venv and .tox.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
COMPOSE ?= docker compose
COMPOSE_FILE := deploy/compose.yaml

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Debian keeps nginx and rsyslogd where the PATH of a plain user does not look.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.DEFAULT_GOAL := help

##@ Try it
.PHONY: demo
demo: $(VENV)/.installed ## a receiver, three sample clients, a summary; about ten seconds
	@$(BIN)/python examples/demo.py

##@ Work on it
.PHONY: test
test: $(VENV)/.tox ## format, types, docs, and the tests of what users rely on; six minutes
	@$(BIN)/tox run-parallel --parallel auto --parallel-no-spinner -e lint,typing,docs,quick $(TOX_ARGS)

.PHONY: test-all
test-all: $(VENV)/.tox ## every suite on every Python there is; under an hour
	@$(BIN)/tox run-parallel --parallel auto --parallel-no-spinner $(TOX_ARGS)

.PHONY: docs
docs: $(VENV)/.tox ## the documentation, into docs/_build/html
	@$(BIN)/tox run -e docs -- docs/_build/html
	@echo "docs/_build/html/index.html"

.PHONY: bench
bench: $(VENV)/.tox ## the benchmarks, on the machine as it is
	@$(BIN)/tox run -e bench -- $(BENCH_ARGS)

.PHONY: distclean
distclean: ## remove everything that was made here
	rm -rf $(VENV) .tox .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist docs/_build

##@ Containers
.PHONY: build run client logs stop clean
build: ## build the images
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server --profile client build
run: ## start the receiver
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server up --detach
client: ## send sample records to the receiver
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server --profile client up --exit-code-from client client
logs: ## follow what the receiver prints
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server logs --follow receiver
stop: ## stop everything
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server --profile client --profile test down
clean: ## stop everything, and remove the images and volumes
	$(COMPOSE) -f $(COMPOSE_FILE) --profile server --profile client --profile test down --rmi local --volumes

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

# The stamps are touched last, so that an interrupted installation is done again.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12")'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.made
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tox: tox.ini | $(VENV)/.made
	@$(BIN)/python -m pip install --quiet 'tox>=4.51'
	@touch $@
