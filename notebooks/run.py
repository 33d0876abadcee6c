"""Run the lessons from top to bottom and hold what they show against what is committed; with --write, write it anew."""

from __future__ import annotations

import math
import re
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
LESSONS = sorted(HERE.glob("[0-9]*_*.ipynb"), key=lambda path: int(path.stem.split("_")[0]))
# No times of execution, what is printed in one piece, and a kernel that says no more than errors.
SETTINGS = {"record_timing": False, "coalesce_streams": True, "extra_arguments": ["--log-level=ERROR"]}
RICH = ("image/png", "image/svg+xml", "text/html", "text/latex")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def execute(notebook):
    """A copy of the notebook with the outputs of a run in this folder. Raises RuntimeError if a cell does."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    run = nbformat.from_dict(notebook)
    try:
        NotebookClient(run, kernel_name="python3", timeout=300, resources={"metadata": {"path": HERE}}, **SETTINGS).execute()
    except CellExecutionError as error:
        last = max(cell.get("execution_count") or 0 for cell in run.cells)
        raise RuntimeError(f"In [{last}] raised {error.ename}: {error.evalue}") from error
    run.metadata = notebook.metadata  # the kernel adds the version of Python
    for cell in run.cells:
        for output in cell.get("outputs", []):
            if any(kind in output.get("data", {}) for kind in RICH):
                output.data.pop("text/plain", None)  # nobody sees it, and it may be an address in memory
    return run


def difference(committed: dict, run: dict) -> str | None:
    """What a cell shows that is not what is committed, or None. Timings (in cells with that tag) and pixels may differ."""
    old, new = _shown(committed), _shown(run)
    if [kind for kind, _ in old] != [kind for kind, _ in new]:
        return f"shows {_kinds(new)} instead of {_kinds(old)}"
    if "timing" in run["metadata"].get("tags", []):
        return None
    for (kind, a), (_, b) in zip(old, new):
        if not kind.startswith("image") and not _same(a, b):
            before, after = next((pair for pair in zip(a.splitlines(), b.splitlines()) if not _same(*pair)), (a, b))
            return f"shows\n    {after}\n  instead of\n    {before}"
    return None


def _shown(cell: dict) -> list[tuple[str, str]]:
    """A cell's outputs, in order: their kinds, and their text."""
    shown = []
    for output in cell.get("outputs", []):
        shown += [(output["name"], output["text"])] if "text" in output else output["data"].items()
    return shown


def _kinds(shown) -> str:
    return ", ".join(kind for kind, _ in shown) or "nothing"


def _same(a: str, b: str) -> bool:
    """Whether two texts differ by no more than rounding, float32's included: another processor may round otherwise."""
    if NUMBER.sub("0", a) != NUMBER.sub("0", b):
        return False
    numbers = zip(NUMBER.findall(a), NUMBER.findall(b))
    return all(math.isclose(float(m), float(n), rel_tol=1e-6, abs_tol=1e-6) for m, n in numbers)


def main() -> int:
    """Returns the exit code: 0 all lessons run, and show what is committed; 1 one does not."""
    import nbformat

    failures = []
    for path in LESSONS:
        committed = nbformat.read(path, as_version=4)
        started = time.perf_counter()
        try:
            run = execute(committed)
        except RuntimeError as error:
            failures.append(f"{path.name}, {error}")
            continue
        print(f"{path.name}  {time.perf_counter() - started:.0f} s", flush=True)
        if "--write" in sys.argv[1:]:
            nbformat.write(run, path)
            continue
        for old, new in zip(committed.cells, run.cells):
            found = difference(old, new)
            if found:
                failures.append(f"{path.name}, In [{new.execution_count}] {found}")
    if failures:
        print(*failures, "If that is as it should be, `make notebooks` writes what is to be committed.", sep="\n", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
