"""For pytest: ``--backward student.py`` makes a test of each gradient; the fixture ``backward`` holds a function in a test.

A test that fails shows what is wrong, and no traceback.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TARGETS = pytest.StashKey[list[str]]()  # each "student.py:backward"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of submissions."""
    group = parser.getgroup("micrograd-bn", "backward passes written by hand")
    group.addoption(
        "--backward",
        nargs="+",
        action="extend",
        metavar="FILE.py[:FUNCTION]",
        help="a test for each gradient of these functions (default backward); a folder is the .py files in it",
    )
    group.addoption(
        "--backward-derivation", default="batch_norm", metavar="NAME", help="whose backward pass it is (default batch_norm)"
    )
    group.addoption("--backward-seed", type=int, default=0, metavar="N", help="of the batches (default 0)")
    group.addoption("--backward-timeout", type=float, default=60, metavar="SECONDS", help="stop each after so long (default 60)")


def pytest_configure(config: pytest.Config) -> None:
    """Submissions are collected alone, or with what the command names besides."""
    from .submission import submissions

    targets = config.getoption("--backward") or []
    try:
        config.stash[TARGETS] = submissions(targets)
    except FileNotFoundError as error:
        raise pytest.UsageError(f"--backward {error}") from None
    if targets and config.args_source is not config.ArgsSource.ARGS:
        config.args = []
    for named in config.args if targets else ():
        if pytest_ignore_collect(Path(os.path.abspath(named.partition("::")[0])), config):
            raise pytest.UsageError(f"{named} is a submission, and no module of tests: -k picks of its tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A submission is not collected with the tests of its folder: it would be imported here."""
    return collection_path in {_path(target) for target in config.stash[TARGETS]} or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """The submissions come first. Their folders are not collected, for conftest.py and __init__.py would be imported here."""
    submissions = [Submission.from_parent(session, path=_path(target), name=target) for target in session.config.stash[TARGETS]]
    items[:0] = [item for submission in submissions for item in session.genitems(submission)]


def _path(target: str) -> Path:
    return Path(os.path.abspath(target.rpartition(":")[0]))  # which has no "..", as pytest's has none


class Submission(pytest.File):
    """A file with somebody's backward pass: a test for each gradient, or one that says why it did not run."""

    def collect(self) -> Iterator[Finding]:
        """Run it, as ``check_file`` does."""
        from .submission import DidNotRun, check_file

        try:
            options = {name: self.config.getoption(f"--backward-{name}") for name in ("timeout", "seed", "derivation")}
            check = check_file(self.name, **options)
        except DidNotRun as error:
            yield self._finding(self.name.rpartition(":")[2], "did not run", str(error))
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
        return self.path, None, self.nodeid.replace("::", ": ")


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
