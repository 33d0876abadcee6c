# make demo and make test set up all they need in .venv, from Python (>= 3.10) and make alone.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test nightly pictures film derivations notebooks check-notebooks oracle bench mutants lint docs site dist smoke test-oldest clean

demo: .venv/installed
	$(BIN)/micrograd-bn demo

test: .venv/test
	$(BIN)/python -m pytest --quiet -r s

# The properties and the fuzzing among the tests, with more than 10,000 new examples: minutes.
nightly: .venv/test
	$(BIN)/python -m pytest --quiet --hypothesis-profile=nightly tests/test_properties.py tests/test_fuzz_reader.py tests/test_fuzz_graphs.py \
	    tests/test_fuzz_files.py

# The README's pictures; a test fails when they are out of date.
pictures: .venv/installed
	$(BIN)/python docs/pictures.py

# The README's page, as it moves: filmed in Chromium.
film: .venv/browser
	$(BIN)/python docs/pictures.py page

# The derivations on paper, docs/derivations; a test fails when they are out of date.
derivations: .venv/test
	$(BIN)/python docs/papers.py

# The lessons: what is committed of them is written anew …
notebooks: .venv/notebooks
	$(BIN)/python notebooks/run.py --write

# … or run, and held against what is committed.
check-notebooks: .venv/notebooks
	$(BIN)/python notebooks/run.py

# The same inputs through torch, autograd, micrograd and Dask.
oracle: .venv/oracle
	$(BIN)/python -m pytest --quiet tests/oracles

# Against the peers: benchmarks/results.md and .svg, and the README's table. make bench QUICK=1 is two minutes, to the terminal.
bench: .venv/bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

# Changes the source in place, one mutant after the other, and puts it back: in a checkout that you do not need meanwhile.
mutants: .venv/mutants
	mkdir -p out
	$(BIN)/cosmic-ray init tests/mutation.toml out/mutants.sqlite
	$(BIN)/cr-filter-operators out/mutants.sqlite tests/mutation.toml
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cosmic-ray exec tests/mutation.toml out/mutants.sqlite
	$(BIN)/cr-report --surviving-only out/mutants.sqlite

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The reference, out/docs: a page a module, from the docstrings, with the equations from the derivation's table.
docs: .venv/docs
	$(BIN)/python docs/reference/build.py out/docs

# The site, out/site: plain files for any static host, as with rsync -r --delete out/site/ you@host:folder/
site: .venv/site
	$(BIN)/python docs/site/build.py out/site

# The sdist, which has the whole repository in it, and the wheel that is built from it, which has the whole package.
dist: .venv/dist
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/check-wheel-contents --package micrograd_bn --package-omit "*.pyc,*.nb[ci]" dist/*.whl
	$(if $(wildcard .git),$(BIN)/check-manifest --no-build-isolation)

# The wheel alone in an empty environment: demo, every command, every public name. With PYTHONS, on each of them.
PYTHONS ?= $(PYTHON)
smoke: dist
	set -e; for python in $(PYTHONS); do \
	    rm -rf build/smoke; \
	    $$python -m venv build/smoke; \
	    build/smoke/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl; \
	    build/smoke/bin/python -I tests/smoke.py; \
	done

# The tests with the oldest of each part that setup.cfg admits, in an environment of their own; without a browser, a notebook and what takes long,
# and without the committed pages, whose MathML is the newest latex2mathml's.
test-oldest: build/oldest/installed
	build/oldest/bin/python -m pytest --quiet -r s $(patsubst %,--ignore=tests/test_%.py,draw explorer explorer_firefox last_line resources site) \
	    -k "not thousand and not mistake and not nbgrader and not otter and not what_is_committed"

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

# setup.cfg's lower bounds, numpy>=2.0 and the like, as what is to be installed: numpy==2.0.*
build/oldest/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv build/oldest
	sed -n '/^install_requires/,/^$$/s/^ *\([a-z0-9-]*\)\[*[a-z]*\]*>=\([0-9.]*\).*/\1==\2.*/p' setup.cfg > build/oldest/constraints
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint build/oldest/constraints --editable ".[test]"
	touch $@
