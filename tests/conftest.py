"""What several tests share."""

import importlib
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# make test draws the same examples every time; make nightly draws new ones, 30 times as many (see strategies.prop).
settings.register_profile("default", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", settings.get_profile("default"), derandomize=False, max_examples=3000, print_blob=True)
settings.load_profile("default")


# What make test does without: which tests need it, and how to have it.
EXTRAS = {
    ("playwright", "Chromium", "Firefox"): "browser: with Chromium and Firefox on PATH (apt install chromium firefox-esr), "
    "`make .venv/browser test` runs them",
    ("nbclient", "IPython"): "notebook: `make .venv/notebooks test` runs them",
    ("pdoc", "markdown2"): "site: `make .venv/site test` runs them",
    ("nbgrader", "otter"): "grader: `make .venv/graders test` runs them",
}


def pytest_terminal_summary(terminalreporter):
    from tests.strategies import EXAMPLES

    if EXAMPLES:
        terminalreporter.write_line(f"{EXAMPLES.total():,} examples of {len(EXAMPLES)} properties hold")
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for needed, what_to_do in EXTRAS.items():
        if skipped := sum(any(what in reason for what in needed) for reason in reasons):
            terminalreporter.write_line(f"{skipped} skipped that need a {what_to_do}")


@pytest.fixture
def random():
    """The same numbers for each test."""
    return np.random.default_rng(0)


def missing(what: str):
    """Skip, and say what is not installed; in CI everything runs, so there it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and CI runs everything")
    pytest.skip(f"{what} is not installed", allow_module_level=True)


def optional(name: str):
    """An optional library."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        missing(name)
