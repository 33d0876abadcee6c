"""The teaching notes: the skeleton, the checker's words, and each block of code are what they say."""

import configparser
import re
import shlex
import shutil
from pathlib import Path

import pytest

from micrograd_bn import cli
from micrograd_bn.check import check_backward

DOCS = Path(__file__).parents[1] / "docs"
SKELETON = DOCS / "assignment" / "batch_norm" / "student.py"
NOTES = (DOCS / "teaching.md").read_text(encoding="utf-8")
SOLUTION = {
    "dx_hat": "dx_hat = dy * gamma",
    "dgamma": "dgamma = (dy * x_hat).sum(axis=0)",
    "dbeta": "dbeta = dy.sum(axis=0)",
    "dvar": "dvar = (dx_hat * (x - mu) * -0.5 * (var + eps) ** -1.5).sum(axis=0)",
    "dmu": "dmu = (dx_hat * -1 / np.sqrt(var + eps)).sum(axis=0)",
    "dx": "dx = dx_hat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m",
}


def filled_in(lines):
    """The skeleton with these lines for those that assign the same names."""
    source = SKELETON.read_text(encoding="utf-8")
    for name, line in lines.items():
        source, times = re.subn(rf"(?m)^    {name} = .*$", f"    {line}", source)
        assert times == 1
    return source


def function(lines):
    namespace = {}
    exec(filled_in(lines), namespace)
    return namespace["backward"]


def test_the_skeleton_as_handed_out_asks_for_a_gradient(capsys):
    assert cli.main(["check", f"{SKELETON}:backward"]) == 2
    assert "returned none of the six gradients" in capsys.readouterr().err


def test_with_one_right_line_it_passes_and_shows_what_is_left(tmp_path, capsys):
    (tmp_path / "student.py").write_text(filled_in({"dbeta": SOLUTION["dbeta"]}), encoding="utf-8")
    assert cli.main(["check", f"{tmp_path / 'student.py'}:backward"]) == 0
    assert capsys.readouterr().out.count("not returned") == 5


def test_with_all_six_lines_it_is_right():
    report = check_backward(function(SOLUTION))
    assert report.ok
    assert not any(row.verdict == "not returned" for row in report.rows)


MISTAKES = re.findall(r"(?m)^\| `(.+?)` \| (.+?) \|", NOTES)


@pytest.mark.parametrize(("line", "says"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_the_checker_says_of_each_mistake_what_the_notes_say(line, says):
    rows = check_backward(function(SOLUTION | {line.split(" = ")[0]: line})).rows
    assert any(says in row.why for row in rows), [row.why for row in rows]


def test_there_are_mistakes_to_expect_for_each_of_the_six_gradients():
    assert SOLUTION.keys() <= {line.split(" = ")[0] for line, _ in MISTAKES}


def test_the_commands_of_the_notes_are_commands(tmp_path, monkeypatch, capsys):
    shutil.copy(SKELETON, tmp_path)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"(?m)^(?:    | +- run: )micrograd-bn (check .*)$", NOTES)
    assert len(commands) == 2
    for command in commands:
        assert cli.main(shlex.split(command)) == 2
        assert "returned none of the six gradients" in capsys.readouterr().err


def test_the_workflow_installs_the_wheel_that_was_built_as_the_notes_say():
    """Nothing to fill in: what pip wheel writes for this name and version is what students and their CI install."""
    about = configparser.ConfigParser()
    about.read(DOCS.parent / "setup.cfg", encoding="utf-8")
    wheel = f"{about['metadata']['name'].replace('-', '_')}-{about['metadata']['version']}-py3-none-any.whl"
    assert "pip wheel --no-deps --wheel-dir ../assignment ." in NOTES
    assert re.findall(r"(?m)^(?:    | +- run: )(pip install .*)$", NOTES) == [f"pip install ./{wheel}"] * 2


def test_the_links_of_the_notes_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", NOTES)
    assert len(links) > 6
    for link in links:
        assert (DOCS / link).exists()
