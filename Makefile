# What a person, a reviewer and CI do with this project. Everything runs in .venv, which `setup` makes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow check bench soak clean

BIN := .venv/bin
NAME ?= all
EXTRAS := client,server,simulation,dev

# Quiet: no telemetry, no update checks, no installation at run time, no look-up of models on a hub.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export RAY_USAGE_STATS_ENABLED := 0
export HF_HUB_OFFLINE := 1

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*##/\1\t/' | expand -t 10

setup: .venv/.stamp  ## make .venv with everything in it, at the tested versions

# The first Python that is new enough and can make an environment; say PYTHON=... to choose.
# pip takes a build of torch for the CPU wherever one is offered, otherwise the ordinary one.
.venv/.stamp: pyproject.toml constraints.txt
	@python=$(PYTHON); \
	for name in python3.11 python3.12 python3.13 python3; do \
	  [ -z "$$python" ] || break; \
	  $$name -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$$name; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.11 or newer with venv is needed; on Debian: apt install python3-venv" >&2; exit 1; }; \
	echo "making .venv with $$python"; \
	"$$python" -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

demo: setup  ## many people learn, share and help the next ones; writes build/demo/report.html
	$(BIN)/shoal-sim demo $(ARGS)

test: setup  ## the quick tests
	$(BIN)/python -m pytest $(ARGS)

slow: setup  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow --timeout 1800 --durations 20 $(ARGS)

check: setup  ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## one benchmark: make bench NAME=backbone [FULL=1]
	$(BIN)/python -m simulations.benchmarks $(NAME) $(if $(FULL),--full) $(ARGS)

soak: setup  ## kill processes in 200 rounds and more, and count what became of them: make soak ARGS='--seed 2'
	$(BIN)/python -m simulations.soak $(ARGS)

clean:  ## remove what was built, the environment excepted
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
