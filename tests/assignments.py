"""The assignments as docs/ has them. A wrong submission is the solution with one line as the table of mistakes to expect has it."""

import re
from pathlib import Path

from micrograd_bn.submission import derivation_named

DOCS = Path(__file__).parents[1] / "docs"
NOTES = (DOCS / "teaching.md").read_text(encoding="utf-8")
ASSIGNMENTS = {"batch_norm": "Batch norm", "layer_norm": "Layer norm", "softmax_cross_entropy": "Softmax cross-entropy"}


def skeleton(assignment):
    return (DOCS / "assignment" / assignment / "student.py").read_text(encoding="utf-8")


def solution(assignment):
    return (DOCS / "assignment" / assignment / "solution.py").read_text(encoding="utf-8")


def gradients(assignment):
    return [f"d{gradient.variable}" for gradient in derivation_named(assignment).gradients]


def with_line(source, line):
    """The source with this line for the one that assigns the same name."""
    changed, times = re.subn(rf"(?m)^    {line.split(' = ')[0]} = .*$", f"    {line}", source)
    assert times == 1
    return changed


def mistakes(assignment):
    """The lines of the table of this assignment's mistakes to expect, and what is said of each."""
    (table,) = re.findall(rf"(?s)### {ASSIGNMENTS[assignment]}\n(.*?)(?=\n#|\Z)", NOTES)
    return re.findall(r"(?m)^\| `(.+?)` \| (.+?) \|", table)


def function(source):
    namespace = {}
    exec(source, namespace)
    return namespace["backward"]
