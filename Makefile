# make demo and make test set up all they need in .venv, from Python (>= 3.10) and make alone.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test nightly pictures notebooks check-notebooks oracle bench lint clean

demo: .venv/installed
	$(BIN)/micrograd-bn demo

test: .venv/test
	$(BIN)/python -m pytest --quiet -r s

# The properties and the fuzzing among the tests, with more than 10,000 new examples: minutes.
nightly: .venv/test
	$(BIN)/python -m pytest --quiet --hypothesis-profile=nightly tests/test_properties.py tests/test_fuzz_reader.py

# The README's pictures; a test fails when they are out of date.
pictures: .venv/installed
	$(BIN)/micrograd-bn draw docs/example.csv -o docs/equations.svg

# The lessons: what is committed of them is written anew …
notebooks: .venv/notebooks
	$(BIN)/python notebooks/run.py --write

# … or run, and held against what is committed.
check-notebooks: .venv/notebooks
	$(BIN)/python notebooks/run.py

# The same inputs through torch, autograd, micrograd and Dask.
oracle: .venv/oracle
	$(BIN)/python -m pytest --quiet tests/oracles

# Against the peers: benchmarks/results.md and .svg, and the README's table. make bench QUICK=1 is under a minute, to the terminal.
bench: .venv/bench
	$(BIN)/python -m benchmarks.bench $(if $(QUICK),--quick)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv out notebooks/out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

# One stamp an extra of setup.cfg: .venv/test, .venv/lint, …
.venv/%: .venv/installed
	$(PIP) --editable ".[$*]"
	touch $@
