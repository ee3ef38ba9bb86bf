# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-quick test-faults test-wheel test-cuda-build lint format bench bench-quick clean

$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[cuda,dev]'
	touch $@ $(VENV)/.core

demo: $(VENV)/.core
	$(BIN)/python -m cli image --config configs/ping/demo.yaml --out-dir artifacts/demo
	@echo "open artifacts/demo/snapshot.png"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=10

# The inner loop: what needs no compiler and takes no ten seconds.
test-quick: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal \
		-m 'not compiler and not slow and not cuda_build and not faults' \
		tests/bridge tests/docs tests/house tests/scope tests/train_torch

# What must survive anything: every command killed at random moments (KILLS of them), on full and on
# read-only disks (root only), beside itself, and CASES hostile command lines, recipes and files.
KILLS ?= 12
CASES ?= 2000
test-faults: $(VENV)/.dev
	PINGBRIDGE_KILLS=$(KILLS) $(BIN)/python -m pytest -m faults -o timeout=3600 tests/faults
	$(BIN)/python tests/faults/bench.py --cases $(CASES)

# The wheel, in a fresh environment of each interpreter that is there. Those of another version than
# .venv get the dependencies from the index; torch, which by name alone may bring gigabytes of CUDA,
# only where TORCH says what to ask pip for. What needs it is skipped without.
PYTHONS ?= python3.11 python3.12 python3.13
TORCH ?=
test-wheel: $(VENV)/.dev
	PINGBRIDGE_WHEEL_PYTHONS="$(PYTHONS)" PINGBRIDGE_WHEEL_TORCH="$(TORCH)" \
		$(BIN)/python -m pytest -v tests/packaging

# Whole CUDA programs for compute capabilities 8.0 and 9.0: eight compilations of two to four CPU
# minutes each, for which no GPU is needed. Where there is one, the programs are run and compared, too.
test-cuda-build: $(VENV)/.dev
	$(BIN)/python -m pytest -m cuda_build -o timeout=5400 tests/sim_brian/test_cuda.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# train.py also measures snnTorch, Norse and SpikingJelly where they are installed (extra `bench`). By
# name alone they may replace torch by a CUDA build; this leaves it as it is:
#     .venv/bin/python -m pip install -c constraints.txt --no-deps snntorch norse nir nirtorch spikingjelly loguru
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/simulate.py
	$(BIN)/python benchmarks/train.py

bench-quick: $(VENV)/.dev
	$(BIN)/python benchmarks/simulate.py --quick
	$(BIN)/python benchmarks/train.py --quick

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
