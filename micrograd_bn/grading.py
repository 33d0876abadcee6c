"""Points for somebody's backward pass, gradient by gradient, each with its reason: what every grader shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .check import Check, FunctionRaised, check_backward
from .derivation import Derivation
from .derivations.batch_norm import BATCH_NORM
from .submission import DidNotRun, check_file, crash

NOT_JUDGED = "there is nothing to judge"  # of each gradient, where the grade's note says why


class Mark(NamedTuple):
    """What a gradient has earned, and why not more."""

    name: str  # as a function returns it: "dgamma"
    points: float
    out_of: float
    why: str  # what is wrong, or that it is right; the reason of a full mark may be a mistake further up

    def __str__(self) -> str:
        return f"{self.name:<8} {self.points:g} of {self.out_of:g}  {self.why}"


class Grade(NamedTuple):
    """A mark for each gradient. Prints as a line for each, and the sum."""

    marks: tuple[Mark, ...]
    note: str = ""  # why nothing could be judged; or what is wrong besides

    @property
    def points(self) -> float:
        """The sum of the marks."""
        return sum(mark.points for mark in self.marks)

    @property
    def out_of(self) -> float:
        """What all gradients are worth together."""
        return sum(mark.out_of for mark in self.marks)

    def gradescope(self) -> dict[str, Any]:
        """The grade as Gradescope reads it from ``results.json``: a test for each gradient, its reason the output."""
        tests = [{"name": m.name, "score": m.points, "max_score": m.out_of, "output": m.why} for m in self.marks]
        return {"tests": tests, "output": self.note}

    def __str__(self) -> str:
        lines = [*map(str, self.marks), *filter(None, [self.note])]
        return "\n".join([*lines, f"{self.points:g} of {self.out_of:g} points"])


def grade(f: Callable[..., Any], points: Mapping[str, float], *, seed: int = 0, derivation: Derivation = BATCH_NORM) -> Grade:
    """The grade of a backward pass by what each gradient is worth: ``{"dgamma": 1, "dx": 3}``. One without points does not count.

    f           as for ``check_backward``. If it raises something, or returns nothing, all marks are 0, and the note says why.
    seed        of the batches: one that is not handed out makes them hidden ones.
    derivation  whose backward pass it is.

    A gradient that is right given a wrong one further up has all its points, for that mistake has cost its own; but not where one
    of them is 0 everywhere, which makes any mistake further down look like that. *Exact* and *approximate* are equally right.

    Raises ValueError for points of a gradient that there is not.

    >>> print(grade(lambda dy, x, gamma, beta, eps: {"dgamma": dy.sum(axis=0), "dbeta": dy.sum(axis=0)}, {"dgamma": 1, "dbeta": 2}))
    dgamma   0 of 1  this is dβ: are the names, or the order of the tuple, mixed up?
    dbeta    2 of 2  right
    2 of 3 points
    """
    try:
        return _graded(check_backward(f, seed=seed, derivation=derivation), points)
    except (FunctionRaised, TypeError) as error:  # what it raises, or returns
        return _nothing(str(error), crash(error), points)


def grade_file(
    target: str, points: Mapping[str, float], timeout: float = 60, *, seed: int = 0, derivation: str = "batch_norm"
) -> Grade:
    """The grade of a function in a file, "student.py:backward" or "student.py", run as ``check_file`` runs it.

    That there is no such file is the grade's note, too. Raises ValueError as ``grade`` does.
    """
    try:
        return _graded(check_file(target, timeout, seed, derivation), points)
    except (DidNotRun, FileNotFoundError) as error:
        return _nothing(NOT_JUDGED, str(error), points)


def _graded(check: Check, points: Mapping[str, float]) -> Grade:
    rows = {f"d{row.variable}": row for row in check.rows}
    for name in points:
        if name not in rows:
            raise ValueError(f"points for {name!r}: the gradients are {', '.join(rows)}")
    zeros = any(row.zero for row in check.rows)
    marks = []
    for name, out_of in points.items():
        row = rows[name]
        right = row.verdict in ("exact", "approximate") or (bool(row.given) and not zeros)
        marks.append(Mark(name, out_of if right else 0, out_of, row.why or ("right" if right else row.verdict)))
    return Grade(tuple(marks), f"the function overwrites its inputs ({', '.join(check.overwritten)})" if check.overwritten else "")


def _nothing(why: str, note: str, points: Mapping[str, float]) -> Grade:
    return Grade(tuple(Mark(name, 0, out_of, why) for name, out_of in points.items()), note)
