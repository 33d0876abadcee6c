"""What several tests share."""

import importlib
import os

import pytest
from hypothesis import HealthCheck, settings

# make test draws the same examples every time; make nightly draws new ones, 30 times as many (see strategies.prop).
settings.register_profile("default", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("nightly", settings.get_profile("default"), derandomize=False, max_examples=3000, print_blob=True)
settings.load_profile("default")


def pytest_terminal_summary(terminalreporter):
    from tests.strategies import EXAMPLES

    if EXAMPLES:
        terminalreporter.write_line(f"{EXAMPLES.total():,} examples of {len(EXAMPLES)} properties hold")


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
