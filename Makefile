# The things people do: install, check (before each commit), lint, test, bench, docs; quickstart, the whole pipeline in one
# command; and oracles, the tests against independent implementations, which have to be installed first. install-all
# installs for all of these at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --constraint constraints.txt
# One of the two says that it needs an older Python; the module that we compare with does not.
ORACLES := --no-deps --ignore-requires-python tensorflow-empirical-privacy jax-privacy

# Bytecode is kept: the tests start many processes, and each would compile the package again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install install-all quickstart check test oracles lint bench docs arm64 clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable ".[dev]"
	touch $@

# Without pip's compiling of every module: three quarters are never imported, and the rest compile when they first are.
install-all: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-compile --editable ".[dev,oracles,docs]"
	$(PIP) --no-compile $(ORACLES)
	touch $(VENV)/.installed
	touch $(VENV)/.oracles $(VENV)/.docs

quickstart: install
	$(BIN)/edgepriv quickstart --output quickstart --force

# One thread each: beside another process, torch's threads wait for each other longer than they work.
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

oracles: $(VENV)/.oracles
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs tests/oracles

$(VENV)/.oracles: $(VENV)/.installed
	$(PIP) --editable ".[oracles]"
	$(PIP) $(ORACLES)
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Lint, types, and tests that are quick together: a minute or so in all.
QUICK := tests/recipe/test_resolve.py tests/recipe/test_defences.py tests/recipe/test_training_hash.py tests/cli tests/data tests/report \
	tests/audit/test_array_attacks.py tests/audit/test_rmia.py tests/audit/test_ties.py \
	tests/audit/test_gate.py tests/training/test_pgd.py tests/training/test_quantization.py \
	tests/training/test_device.py tests/test_imports.py

check: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --ignore tests/report/test_page_in_chromium.py $(QUICK)

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict --quiet --clean

$(VENV)/.docs: $(VENV)/.installed
	$(PIP) --editable ".[docs]"
	touch $@

bench: install
	$(BIN)/python benchmarks/harden.py

# For the night: the Python kit's golden outputs under arm64 emulation. Skips with a sentence where qemu-user-static is missing.
arm64: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/export/write_kit.py build/arm64
	.ci/arm64 build/arm64

clean:
	rm -rf $(VENV) build site *.egg-info
