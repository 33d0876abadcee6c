"""For pytest: ``--backward student.py`` makes a test of each gradient; the fixture ``backward`` holds a function in a test.

A test that fails shows what is wrong, and no traceback.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a submission."""
    group = parser.getgroup("micrograd-bn", "backward passes written by hand")
    group.addoption("--backward", metavar="FILE.py[:FUNCTION]", help="a test for each gradient of this function (default backward)")
    group.addoption(
        "--backward-derivation", default="batch_norm", metavar="NAME", help="whose backward pass it is (default batch_norm)"
    )
    group.addoption("--backward-seed", type=int, default=0, metavar="N", help="of the batches (default 0)")


def pytest_configure(config: pytest.Config) -> None:
    """The submission is collected: alone, or with what the command names besides."""
    if target := config.getoption("--backward"):
        named = config.args if config.args_source is config.ArgsSource.ARGS else []
        config.args = [target.partition(":")[0], *named]


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Submission | None:
    """The submission, in place of the module of tests that a file named on the command line would be."""
    path, _, function = (parent.config.getoption("--backward") or "").partition(":")
    if not path or module_path != Path(os.path.abspath(path)):  # which has no "..", as pytest's has none
        return None
    submission: Submission = Submission.from_parent(parent, path=module_path)
    submission.function = function or "backward"
    return submission


class Submission(pytest.File):
    """A file with somebody's backward pass: a test for each gradient, or one that says why it did not run."""

    function: str

    def collect(self) -> Iterator[Finding]:
        """Run it, as ``check_file`` does."""
        from .submission import DidNotRun, check_file

        try:
            seed, derivation = (self.config.getoption(f"--backward-{option}") for option in ("seed", "derivation"))
            check = check_file(f"{self.path}:{self.function}", seed=seed, derivation=derivation)
        except DidNotRun as error:
            yield self._finding(self.function, "did not run", str(error))
            return
        except ValueError as error:  # no such derivation
            raise self.CollectError(f"--backward-derivation {error}") from error
        for row in check.rows:
            yield self._finding(f"d{row.variable}", row.verdict, row.why)
        if check.overwritten:
            yield self._finding("inputs", "wrong", f"the function overwrites {', '.join(check.overwritten)}: use copies")

    def _finding(self, name: str, verdict: str, why: str) -> Finding:
        finding: Finding = Finding.from_parent(self, name=name)
        finding.verdict, finding.why = verdict, why
        return finding


class Finding(pytest.Item):
    """What became of a gradient, as a test: skipped where it is not returned."""

    verdict: str
    why: str

    def runtest(self) -> None:
        """Fail with the reason."""
        if self.verdict == "not returned":
            pytest.skip("not returned")
        if self.verdict not in ("exact", "approximate"):
            pytest.fail(self.why, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """What the failure is headed with."""
        return self.path, None, f"{self.path.name}: {self.name}"


@pytest.fixture
def backward() -> Callable[..., None]:
    """``backward(f)`` in a test: it fails with the report of ``check_backward(f)``, unless all that f returns is right."""
    from .check import FunctionRaised, check_backward
    from .submission import crash

    def hold(f: Callable[..., Any], **options: Any) -> None:
        try:
            check = check_backward(f, **options)
        except FunctionRaised as error:
            pytest.fail(crash(error), pytrace=False)
        if not check.ok:
            pytest.fail(str(check), pytrace=False)

    return hold
