# `make help` lists the targets; each sets up .venv when needed.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
COMPILED := .compiled

# Where this is set, every server that a test starts would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=

# One process per core; each file's tests stay together, in their order, and share its servers.
# PROCESSES=0 runs all in one, as a debugger needs it.
PROCESSES ?= auto
PYTEST := $(BIN)/pytest -q -n $(PROCESSES) --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help setup check signs test test-fast test-slow shown-jobs compile test-compiled test-clients demo bench docs \
	aws-shapes changelog wheel lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything that development needs

# Made anew when what is to be installed changes. Works with an empty HOME and an empty cache.
# UV_SOURCES passes options to uv, such as UV_SOURCES="--find-links wheels".
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and f"coldspark needs Python 3.11 or newer, not {v[0]}.{v[1]}: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt $(UV_SOURCES) -e '.[dev]'
	touch $(STAMP)

check: setup ## lint, formatting, types, import contracts, house rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/house

signs: setup ## print what shows rot: crowded folders, long functions, lonely ports
	$(BIN)/pytest -q -s tests/house/test_rot.py -k signs

test: setup ## run the test suite, but for the long proofs
	$(PYTEST) -m "not slow"

FAR := compat docs gpu shown
test-fast: setup ## run what is quick and starts no process: for the loop of one change
	$(PYTEST) -m "not (process or seconds or slow or gpu or clients)" --hypothesis-profile fast \
		$(FAR:%=--ignore=tests/%)

test-slow: setup ## run the long proofs, and every property with ten times the examples
	$(PYTEST) -m "slow or hypothesis" --hypothesis-profile slow --timeout 900

shown-jobs: setup ## play ten thousand jobs through two kill -9, and say how long they took
	$(BIN)/pytest -q -s -m slow -k jobs_survive_two_kills

# The hot path as machine code, in a tree of its own: run $(COMPILED)/bin/coldspark. Needs a C
# compiler and about a minute. Made anew when a source changes; a stale one refuses to run.
compile: $(COMPILED)/.stamp ## compile the hot path to machine code, in .compiled

$(COMPILED)/.stamp: $(STAMP) scripts/compile_hot_path.py $(shell find src/coldspark -name '*.py')
	$(BIN)/python scripts/compile_hot_path.py $(COMPILED)
	touch $@

# The same tests against the compiled tree.
test-compiled: compile ## run the test suite against the compiled tree
	PYTHONPATH=$(CURDIR)/$(COMPILED) $(BIN)/pytest -q

# The large clients too; they are installed into a cache beside the others.
test-clients: setup ## run the tests of client languages, the large clients too
	COLDSPARK_HEAVY_CLIENTS=1 $(BIN)/pytest -q tests/compat/test_clients.py

demo: setup ## deploy two models and wake them with unmodified boto3
	$(BIN)/python examples/demo.py

bench: setup ## measure wakes, the warm path and the simulator
	$(BIN)/python -m benchmarks

docs: setup ## write the pages that are made from the code
	$(BIN)/python tests/docs/cli_page.py
	$(BIN)/python tests/docs/aws_page.py

# From the installed botocore; what a newer one adds is refused until the overlays decide on it.
aws-shapes: setup ## write the tables of what AWS's operations take
	$(BIN)/python scripts/generate_aws_shapes.py

changelog: setup ## show the section that the fragments in changes/ make
	$(BIN)/towncrier build --draft

wheel: setup ## make a source archive and a wheel in dist/
	$(BIN)/python -m build --no-isolation

lint: setup ## lint alone
	$(BIN)/ruff check

format: setup ## format, and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean: ## remove .venv and everything else that was made
	rm -rf .venv build dist $(COMPILED) .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
