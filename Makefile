# The four things people do: install, lint, test, bench; quickstart, the whole pipeline in one command; and oracles, the
# tests against independent implementations, which have to be installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install quickstart test oracles lint bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

quickstart: install
	$(BIN)/edgepriv quickstart --output quickstart --force

# One thread each: beside another process, torch's threads wait for each other longer than they work.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

oracles: $(VENV)/.oracles
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/oracles

# One of the two says that it needs an older Python; the module that we compare with does not.
$(VENV)/.oracles: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[oracles]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps --ignore-requires-python \
		tensorflow-empirical-privacy jax-privacy
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python benchmarks/harden.py

clean:
	rm -rf $(VENV) build *.egg-info
