"""The lessons as they are committed; that they still run and show the same is for ``make check-notebooks``."""

import json
import re

import pytest

from notebooks.run import LESSONS, difference


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_committed_as_it_ran_from_top_to_bottom(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_nothing_that_changes_from_run_to_run_is_committed(path):
    text = path.read_text(encoding="utf-8")
    assert "at 0x" not in text  # an address in memory
    assert "iopub" not in text  # a time of execution


def test_each_lesson_is_short_has_pictures_or_tables_and_names_the_next():
    assert [path.stem.split("_")[0] for path in LESSONS] == [str(n) for n in range(1, len(LESSONS) + 1)]
    for path, after in zip(LESSONS, [*LESSONS[1:], LESSONS[0]]):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        shown = {kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", {})}
        assert shown & {"image/png", "image/svg+xml", "text/html"}
        assert sum(cell["cell_type"] == "code" for cell in cells) <= 12
        last = "".join(cells[-1]["source"])
        assert "**Try it.**" in last
        assert after.name in last


def cell(*outputs, tags=()):
    return {"metadata": {"tags": list(tags)}, "outputs": outputs}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(kind, content):
    return {"output_type": "display_data", "data": {kind: content}}


def test_a_run_that_shows_the_same_is_no_difference():
    assert difference(cell(printed("x = 1.5\n")), cell(printed("x = 1.5\n"))) is None
    assert difference(cell(shown("image/png", "abc")), cell(shown("image/png", "abd"))) is None
    assert difference(cell(printed("error 1.1e-16\n")), cell(printed("error 2.2e-16\n"))) is None


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (cell(printed("a\nx = 1.6\n")), r"shows\n    x = 1.6\n  instead of\n    x = 1.5"),
        (cell(printed("a\ny = 1.5\n")), "y = 1.5"),
        (cell(printed("a\nx = 1.5\nmore\n")), "more"),
        (cell(), "nothing instead of stdout"),
        (cell(shown("image/png", "abc")), "image/png instead of stdout"),
    ],
)
def test_a_run_that_shows_something_else_is_told_what(new, message):
    assert re.search(message, difference(cell(printed("a\nx = 1.5\n")), new))


def test_a_timing_may_be_another_but_not_absent():
    assert difference(cell(printed("4.1 s\n"), tags=["timing"]), cell(printed("27.0 s\n"), tags=["timing"])) is None
    assert "shows nothing" in difference(cell(printed("4.1 s\n"), tags=["timing"]), cell(tags=["timing"]))
