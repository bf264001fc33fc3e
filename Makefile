# Two commands from nothing: `make demo` and `make test`. Both set up .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := build/demo

FUZZ_EXAMPLES ?= 5000
# As many processes as there are cores, but each takes up to 3 GB.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test quick fuzz lint format bench clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# The main job on drawn scenes and the bundled model; nothing is downloaded but the packages.
demo: $(READY)
	rm -rf $(DEMO)
	$(BIN)/zsclip demo $(DEMO)
	@echo
	$(BIN)/zsclip classify '$(DEMO)/scenes/red star/001.png' --model demo --labels-file $(DEMO)/labels.txt --format table
	@echo
	$(BIN)/zsclip classify $(DEMO)/scenes --model demo --labels-file $(DEMO)/labels.txt --top-k 3 --format table | head -n 20
	@echo
	@echo "To go on: source $(BIN)/activate"

test: $(READY)
	$(PYTEST)

# What is tested within a minute.
quick: $(READY)
	$(PYTEST) -m "not slow"

# The same laws as in the tests, with many more examples. A finding becomes a test.
fuzz: $(READY)
	ZSCLIP_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest tests/property

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# zsclip beside its peers, whose packages are installed for it. About an hour on two cores.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/first_run.py
	$(BIN)/python benchmarks/first_run.py --images 22 --rounds 1
	$(BIN)/python benchmarks/families.py
	$(BIN)/python benchmarks/gate.py
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python benchmarks/relabel.py
	$(BIN)/python -m benchmarks.known
	$(BIN)/python -m benchmarks.precision
	$(BIN)/python -m benchmarks.containers --members 0
	$(BIN)/python benchmarks/bucket.py
	$(BIN)/python benchmarks/vectors.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
