"""The teaching notes: the skeleton, the checker's words, and each block of code are what they say."""

import configparser
import re
import shlex
import shutil

import pytest

from micrograd_bn import cli
from micrograd_bn.check import check_backward
from micrograd_bn.submission import derivation_named
from tests.assignments import ASSIGNMENTS, DOCS, NOTES, function, gradients, mistakes, skeleton, solution, with_line

SKELETON = DOCS / "assignment" / "batch_norm" / "student.py"
every_assignment = pytest.mark.parametrize("assignment", ASSIGNMENTS)


@every_assignment
def test_the_skeleton_as_handed_out_asks_for_a_gradient_by_the_command_that_it_names(assignment, tmp_path, monkeypatch, capsys):
    (tmp_path / "student.py").write_text(skeleton(assignment), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"(?m)^    micrograd-bn (.*)$", skeleton(assignment))
    assert cli.main(shlex.split(command)) == 2
    number = {3: "three", 6: "six"}[len(gradients(assignment))]
    assert f"returned none of the {number} gradients" in capsys.readouterr().err


@every_assignment
def test_the_solution_is_the_skeleton_with_a_line_for_each_gradient(assignment):
    source = solution(assignment)
    for name in gradients(assignment):
        source = with_line(source, *re.findall(rf"(?m)^    ({name} = None .*)$", skeleton(assignment)))
    assert source.partition("import numpy")[2] == skeleton(assignment).partition("import numpy")[2]


@every_assignment
def test_with_all_lines_it_is_right(assignment):
    report = check_backward(function(solution(assignment)), derivation=derivation_named(assignment))
    assert all(row.verdict in ("exact", "approximate") for row in report.rows), report


def test_with_one_right_line_it_passes_and_shows_what_is_left(tmp_path, capsys):
    source = with_line(skeleton("batch_norm"), "dbeta = dy.sum(axis=0)")
    (tmp_path / "student.py").write_text(source, encoding="utf-8")
    assert cli.main(["check", f"{tmp_path / 'student.py'}:backward"]) == 0
    assert capsys.readouterr().out.count("not returned") == 5


@pytest.mark.parametrize(
    ("assignment", "line", "says"), [(assignment, *mistake) for assignment in ASSIGNMENTS for mistake in mistakes(assignment)]
)
def test_the_checker_says_of_each_mistake_what_the_notes_say(assignment, line, says):
    source = with_line(solution(assignment), line)
    rows = check_backward(function(source), derivation=derivation_named(assignment)).rows
    assert any(says in row.why for row in rows), [row.why for row in rows]


def test_there_are_mistakes_to_expect_for_each_of_the_six_gradients():
    assert {*gradients("batch_norm")} <= {line.split(" = ")[0] for line, _ in mistakes("batch_norm")}


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
