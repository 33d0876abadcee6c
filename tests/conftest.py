"""What several tests share."""

import importlib
import os

import pytest


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
