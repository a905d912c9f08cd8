# `make demo` and `make test` are all a newcomer needs; each makes its virtual environment when there is none.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# Tests start hundreds of processes: what one of them has compiled is there for the next, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-more soak lint types dist clean

help:
	@echo "make demo        archive, persist, eject, restore and verify on the embedded appliance"
	@echo "make test        tests, types, lint, import arrows, README"
	@echo "make test-more   what needs minutes, or tens of gigabytes of disk"
	@echo "make soak        kills the tool 200 times and the appliance 50 times, resumes, and compares every byte"
	@echo "make dist        sdist and wheel"
	@echo "make clean       remove what the others made"

$(VENV)/demo.stamp: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/demo.stamp

$(VENV)/more.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,more]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/ds3tool demo

# A third of the tests' time is waiting for servers and processes, so three run at once on two cores.
test: $(VENV)/test.stamp lint types
	$(BIN)/python -m pytest -n 3 -q

test-more: $(VENV)/more.stamp
	$(BIN)/python -m pytest -q -m more

soak: $(VENV)/test.stamp
	$(BIN)/python -m tests.soak

lint: $(VENV)/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/test.stamp
	$(BIN)/mypy

dist: $(VENV)/test.stamp
	rm -rf dist
	$(BIN)/python -m build --outdir dist

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
