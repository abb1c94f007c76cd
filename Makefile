# quickstart and test are the front door: each works on a fresh machine and installs what it needs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA := $(abspath ../shared)
# Real data, where a checkout has it beside it; tests that need it skip with a reason elsewhere.
export LIGHTNING_DNA_DATA ?= $(if $(wildcard $(DATA)/data),$(DATA),)

.PHONY: install quickstart test test-all check bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	$(BIN)/python -c 'from lightning_dna.stats.backend import warm_up; warm_up()'
	$(BIN)/python -c 'from lightning_dna.tokenizers.backend import warm_up; warm_up()'
	touch $@

quickstart: install
	$(BIN)/lightning-dna run quickstart --out quickstart --workers 2

# A process for each core, each computing on one thread; a file's tests stay together, as they share their fixtures.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 8 --dist loadfile

test: install
	$(PYTEST)

test-all: install
	$(PYTEST) -m 'slow or not slow'

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

bench: install
	$(BIN)/python benchmarks/speed/data_path.py
	$(BIN)/python benchmarks/speed/bootstrap.py
	$(BIN)/python benchmarks/speed/alibi.py
	$(BIN)/python benchmarks/speed/long_context.py
	$(BIN)/python benchmarks/speed/lightning_overhead.py
	$(BIN)/python benchmarks/speed/memorization.py

clean:
	rm -rf $(VENV) quickstart dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
