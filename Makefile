# What there is to type. Needs Python 3.11+ and make; everything else is installed into .venv, again only when it changed.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
# The first of these that is new enough; or name one: make run PYTHON=/opt/python3.12/bin/python3
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
export PORT

.PHONY: help run test test-sqlite test-postgres sdks torture check bench clean

help:
	@echo "make run      set up, make a demo instance and serve on 127.0.0.1:$(PORT)"
	@echo "make test     set up and run all tests, on SQLite and on PostgreSQL with Redis"
	@echo "make torture  the fault tests in their long form: kills, stalls, full disks, thousands of clients"
	@echo "make check    lint, types, import law, migrations, API schema"
	@echo "make bench    measure the server beside what else is installed (needs a C compiler; docs/performance.md)"
	@echo "make clean    remove what the others made, but no data"

run: $(VENV)/run.txt
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py quickstart
	@$(BIN)/python manage.py serve --bind 127.0.0.1:$(PORT)

# One suite, three times: what is promised holds on either backend, and does not hang on group commit. With -j2 two halves side
# by side, which take about as long: so the third run, without group commit, is shared out.
BESIDE := tests/admin $(wildcard tests/test_*.py tests/e2e/test_hostile*.py tests/e2e/test_twilio_*.py)

test: test-postgres test-sqlite

test-sqlite: sdks
	$(BIN)/python -m pytest
	PUBSUB_GROUP_COMMIT=false $(BIN)/python -m pytest $(BESIDE:%=--ignore=%)

test-postgres: sdks
	PUBSUB_TEST_BACKEND=postgres $(BIN)/python -m pytest
	PUBSUB_GROUP_COMMIT=false $(BIN)/python -m pytest $(BESIDE)

sdks: $(VENV)/dev.txt
	$(BIN)/python tests/sdk/install.py

# What `make test` does in short: with more clients, more rounds and more rows, and the servers' own time limits.
torture: export PUBSUB_TORTURE := 1
torture: FAULTS := $(wildcard tests/e2e/test_faults_*.py) tests/e2e/test_loss.py tests/e2e/test_many_rows.py
torture: $(VENV)/dev.txt
	$(BIN)/python -m pytest $(FAULTS)
	PUBSUB_TEST_BACKEND=postgres $(BIN)/python -m pytest $(FAULTS)

check: export PUBSUB_DATA := build/check
check: $(VENV)/dev.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

# Some of it, or quickly: make bench BENCH="--tasks fanout,publish --rounds 1"
bench: $(VENV)/dev.txt
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/run.txt: requirements.txt | $(BIN)/python
	@echo "Installing what the server needs (once)..."
	@$(BIN)/python -m pip install -qq --requirement requirements.txt
	@cp requirements.txt $@

$(VENV)/dev.txt: requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "Installing what the tests need (once)..."
	@$(BIN)/python -m pip install -qq --requirement requirements-dev.txt
	@cp requirements.txt $(VENV)/run.txt
	@cp requirements-dev.txt $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found. Name it: make $(MAKECMDGOALS) PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
