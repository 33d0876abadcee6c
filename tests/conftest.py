"""What several tests share."""

import importlib
import os

import pytest


def optional(name: str):
    """An optional library, or a skip that says it is not installed; in CI everything runs, so there it is a failure."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{name} is not installed", allow_module_level=True)
