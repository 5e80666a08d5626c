# Targets: setup, check, test, compile, test-compiled, test-clients, demo, bench, docs, lint, format, clean.
# Each sets up .venv when needed.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp
COMPILED := .compiled

.PHONY: setup check test shown-jobs compile test-compiled test-clients demo bench docs lint format clean

setup: $(STAMP)

# Made anew when what is to be installed changes. Works with an empty HOME and an empty cache.
# UV_SOURCES passes options to uv, such as UV_SOURCES="--find-links wheels".
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and f"coldspark needs Python 3.11 or newer, not {v[0]}.{v[1]}: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt uv
	$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt $(UV_SOURCES) -e '.[dev]'
	touch $(STAMP)

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/house

test: setup
	$(BIN)/pytest -q

# Ten thousand jobs through two kill -9; `make test` plays a thousand.
shown-jobs: setup
	COLDSPARK_SHOWN_JOBS=10000 $(BIN)/pytest -q -s tests/shown/test_shown_jobs.py

# The hot path as machine code, in a tree of its own: run $(COMPILED)/bin/coldspark. Needs a C
# compiler and about a minute. Made anew when a source changes; a stale one refuses to run.
compile: $(COMPILED)/.stamp

$(COMPILED)/.stamp: $(STAMP) scripts/compile_hot_path.py $(shell find src/coldspark -name '*.py')
	$(BIN)/python scripts/compile_hot_path.py $(COMPILED)
	touch $@

# The same tests against the compiled tree.
test-compiled: compile
	PYTHONPATH=$(CURDIR)/$(COMPILED) $(BIN)/pytest -q

# The large clients too; they are installed into a cache beside the others.
test-clients: setup
	COLDSPARK_HEAVY_CLIENTS=1 $(BIN)/pytest -q tests/compat/test_clients.py

demo: setup
	$(BIN)/python examples/demo.py

bench: setup
	$(BIN)/python -m benchmarks

# Writes the pages that are made from the code.
docs: setup
	$(BIN)/python tests/docs/cli_page.py
	$(BIN)/python tests/docs/aws_page.py

lint: setup
	$(BIN)/ruff check

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf .venv $(COMPILED) .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
