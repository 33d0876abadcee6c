"""Grading: what each grader makes of wrong and right submissions. The graders are those of the teaching notes, as they stand there.

The wrong submissions are the solution with one line as the table of mistakes to expect has it.
"""

import csv
import inspect
import json
import re
import sys
from functools import cache

import numpy as np
import pytest

from micrograd_bn import cli, grading, submission
from micrograd_bn.check import check_backward
from micrograd_bn.grading import grade, grade_file
from micrograd_bn.submission import derivation_named
from tests.assignments import DOCS, NOTES, function, mistakes, skeleton, solution, with_line
from tests.conftest import optional

NORM = {"dx_hat": 1, "dgamma": 1, "dbeta": 1, "dvar": 2, "dmu": 2, "dx": 3}
POINTS = {"batch_norm": NORM, "layer_norm": NORM, "softmax_cross_entropy": {"dlog_p": 3, "ds": 3, "dz": 4}}
BLOCKS = re.findall(r"(?ms)^```(?:python|bash)\n(.*?)^```", NOTES)
pytest_plugins = ["pytester"]


def block(says, assignment):
    """The one block of the notes that says this, with what they say to change for another assignment than batch norm."""
    (found,) = [block for block in BLOCKS if says in block]
    if assignment == "batch_norm":
        return found
    points, derivation = POINTS[assignment], f"derivation=derivations.{assignment.upper()}"
    found = re.sub(r'\{"dx_hat".*?\}', json.dumps(points), found)
    found = re.sub(r"dx_hat=1\S*", f"{','.join(f'{a}={n}' for a, n in points.items())} --derivation {assignment}", found)
    found = re.sub(r"seed=7\)|backward\(mine\)", lambda call: f"{call[0][:-1]}, {derivation})", found)
    return f"from micrograd_bn import derivations\n{found}" if derivation in found else found


PLUGIN = ("-p", "micrograd_bn.pytest_plugin")  # which comes by itself where the package is installed
SUBMISSIONS = [
    entry
    for assignment in POINTS
    for entry in [
        pytest.param(assignment, solution(assignment), "right", id=f"{assignment}: right"),
        *(
            pytest.param(assignment, with_line(solution(assignment), line), says, id=f"{assignment}: {line}")
            for line, says in mistakes(assignment)[:5]
        ),
    ]
]
every_submission = pytest.mark.parametrize(("assignment", "source", "says"), SUBMISSIONS)


def checked(assignment, source, seed=0):
    return check_backward(function(source), derivation=derivation_named(assignment), seed=seed)


@cache
def graded(assignment, source):
    """The grade that all graders have to give."""
    return grade(function(source), POINTS[assignment], seed=7, derivation=derivation_named(assignment))


@pytest.fixture
def student(tmp_path, monkeypatch):
    """Write student.py. What its check gives is computed here and not in a process of its own: that is tested elsewhere."""

    def write(source):
        (tmp_path / "student.py").write_text(source, encoding="utf-8")
        for module in (grading, submission):
            monkeypatch.setattr(
                module, "check_file", lambda _, timeout=60, seed=0, derivation="": checked(derivation, source, seed)
            )
        return tmp_path / "student.py"

    return write


@every_submission
def test_the_core_takes_points_for_what_is_wrong_and_says_why(assignment, source, says):
    result = graded(assignment, source)
    lost = [mark for mark in result.marks if mark.points < mark.out_of]
    assert result.out_of == 10
    assert result.points == 10 - sum(mark.out_of for mark in lost)
    if says == "right":
        assert not lost
    else:
        assert any(says in mark.why for mark in lost), result
        assert result.points >= 5  # one line is wrong, and costs its points once


@every_submission
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hidden_batches_give_the_same_points_and_reasons(assignment, source, says, seed):
    result = grade(function(source), POINTS[assignment], seed=seed, derivation=derivation_named(assignment))
    assert result == graded(assignment, source)


@every_submission
def test_the_command_prints_the_grade_and_writes_gradescopes_json(assignment, source, says, student, tmp_path, monkeypatch, capsys):
    """run_autograder, with its folders here and its points."""
    expected, file = graded(assignment, source), student(source)
    (tmp_path / "submission").mkdir()
    file.rename(tmp_path / "submission" / "student.py")
    (tmp_path / "results").mkdir()
    script = block("# run_autograder", assignment).replace("/autograder", str(tmp_path)).replace("\\\n", " ")
    (command,) = re.findall(r"(?m)^micrograd-bn (.*)$", script)
    assert cli.main(command.split()) == 0
    assert capsys.readouterr().out == f"{expected}\n"
    results = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    assert [test["score"] for test in results["tests"]] == [mark.points for mark in expected.marks]
    assert sum(test["max_score"] for test in results["tests"]) == 10
    assert any(says in test["output"] for test in results["tests"])


@every_submission
def test_pytest_fails_with_the_reason_and_no_traceback(assignment, source, says, student, pytester):
    file = student(source)
    run = pytester.runpytest_inprocess(
        *PLUGIN, "--backward", str(file), "--backward-derivation", assignment, "-rA", "-p", "no:cacheprovider"
    )
    text = run.stdout.str()
    wrong = [row for row in checked(assignment, source).rows if not row.ok]
    run.assert_outcomes(passed=len(POINTS[assignment]) - len(wrong), failed=len(wrong))
    assert run.ret == bool(wrong)
    assert "Traceback" not in text and "runtest" not in text
    for row in wrong:
        assert f"student.py: d{row.variable} " in text and f"\n{row.why}\n" in text
    assert says == "right" or says in text


@every_submission
def test_the_fixture_fails_with_the_report(assignment, source, says, student, pytester):
    file = student(source)
    (file.parent / "test_student.py").write_text(block("# test_student.py", assignment), encoding="utf-8")
    run = pytester.runpytest_inprocess(*PLUGIN, str(file.parent), "-p", "no:cacheprovider")
    assert run.ret == (says != "right")
    text = run.stdout.str()
    assert says == "right" or says in " ".join(text.split())
    assert "Traceback" not in text and "pytest.fail" not in text


@every_submission
def test_nbgrader_gives_partial_credit_and_the_cell_prints_the_reason(assignment, source, says):
    """By nbgrader's own function that makes a grade of a cell's outputs; the cell is run as a kernel runs it."""
    utils, capture = optional("nbgrader.utils"), optional("IPython.utils.capture")
    nbformat, shell = optional("nbformat"), optional("IPython.core.interactiveshell").InteractiveShell()
    shell.run_cell(source)
    with capture.capture_output() as captured:
        result = shell.run_cell(block("result.points", assignment))
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text=captured.stdout),
        nbformat.v4.new_output("execute_result", {"text/plain": repr(result.result)}),
    ]
    cell = nbformat.v4.new_code_cell(outputs=outputs)
    cell.metadata["nbgrader"] = {"grade": True, "solution": False, "points": 10}
    expected = graded(assignment, source)
    assert captured.stderr == ""  # for which nbgrader takes all points
    assert utils.determine_grade(cell) == (expected.points, 10)
    assert str(expected) in captured.stdout and says in captured.stdout


@pytest.mark.filterwarnings("ignore:Traits should be given as instances:DeprecationWarning")  # a widget's, which otter imports
@every_submission
def test_otter_gives_partial_credit_and_the_reason(assignment, source, says):
    otter = optional("otter.test_files")
    path = "tests/backward.py"
    test_file = otter.ExceptionTestFile.from_string(block(f"# {path}", assignment), path)
    test_file.run({"backward": function(source)})
    expected = graded(assignment, source)
    assert (test_file.score, test_file.possible) == (expected.points, 10)
    for result, mark in zip(test_file.test_case_results, expected.marks):
        assert result.passed == (mark.points == mark.out_of)
        assert result.passed or mark.why in result.message
    assert says == "right" or says in test_file.summary()


# ---- What else becomes of a submission, run in a process of its own

SKELETON = skeleton("batch_norm")
BROKEN = [
    pytest.param(SKELETON, "the function returned none of the six gradients yet", id="the skeleton"),
    pytest.param(SKELETON.replace("dx = None", "dx = 1 / 0"), "dx = 1 / 0", id="raises"),
    pytest.param(SKELETON.replace("dx = None", "dx = ("), "'(' was never closed", id="no Python"),
    pytest.param(SKELETON.replace("def backward", "def forward"), "there is no function 'backward' in it", id="another name"),
]


@pytest.mark.parametrize(("source", "says"), BROKEN)
def test_what_does_not_run_has_no_points_and_says_why(source, says, tmp_path, pytester):
    file = tmp_path / "student.py"
    file.write_text(source, encoding="utf-8")
    result = grade_file(f"{file}:backward", POINTS["batch_norm"])
    assert (result.points, result.out_of) == (0, 10)
    assert says in result.note and says in str(result)
    assert result.gradescope()["output"] == result.note
    run = pytester.runpytest_inprocess(*PLUGIN, "--backward", str(file), "-p", "no:cacheprovider")
    run.assert_outcomes(failed=1)
    assert says in run.stdout.str() and "runtest" not in run.stdout.str()


def test_a_function_that_raises_in_a_notebook_has_no_points_and_is_shown_its_line():
    def backward(dy, x, gamma, beta, eps):
        return {"dx": dy / sigma}  # noqa: F821

    result = grade(backward, {"dx": 3})
    assert result.points == 0
    assert result.marks[0].why.startswith(
        "the function raised NameError on a batch of float64, dy of shape (5, 3), x of shape (5, 3), gamma"
    )
    assert 'return {"dx": dy / sigma}' in result.note


def test_a_grade_is_of_the_batches_that_the_check_is_of():
    seen = []

    def backward(dy, *_):
        seen.append(dy)
        return {"dbeta": dy.sum(axis=0)}

    batches = check_backward(backward).batches
    assert grade(backward, {"dbeta": 1}).points == 1
    assert all(map(np.array_equal, seen[:batches], seen[batches:])) and len(seen) == 2 * batches


def test_a_grade_of_a_file_is_of_what_the_check_of_one_is_of():
    of_grade, of_check = [inspect.signature(function).parameters for function in (grade_file, submission.check_file)]
    assert {name: parameter.default for name, parameter in of_check.items()}.items() <= {
        name: parameter.default for name, parameter in of_grade.items()
    }.items()


def test_a_file_that_is_not_there_has_no_points(tmp_path):
    result = grade_file(f"{tmp_path}/student.py:backward", {"dx": 3})
    assert (result.points, result.out_of) == (0, 3)
    assert "there is no such file" in result.note


def test_a_mistake_costs_its_points_once():
    result = grade(
        function(with_line(solution("batch_norm"), "dmu = (dx_hat / np.sqrt(var + eps)).sum(axis=0)")), POINTS["batch_norm"]
    )
    assert result.points == 8
    assert result.marks[5] == ("dx", 3, 3, "dx is right given your dμ: fix dμ first")


def test_no_points_are_by_the_words_of_a_reason():
    source = solution("batch_norm")
    for line in ("dmu = 2 * dmu_", "dbeta = dy.sum(axis=0) * 2"):
        source = with_line(source, line.replace("dmu_", "(dx_hat / np.sqrt(var + eps)).sum(axis=0)"))
    check = check_backward(function(source))
    plain = check._replace(rows=tuple(row._replace(why="is right given your dx: it is 0 everywhere") for row in check.rows))
    points = [mark.points for mark in grading._graded(check, POINTS["batch_norm"]).marks]
    assert [mark.points for mark in grading._graded(plain, POINTS["batch_norm"]).marks] == points == [1, 1, 0, 2, 0, 3]


def test_zeros_further_up_earn_nothing_for_what_follows_from_them():
    zeros = {"dvar": "dvar = 0 * gamma", "dmu": "dmu = 0 * gamma", "dx": "dx = dx_hat / np.sqrt(var + eps)"}
    source = solution("batch_norm")
    for line in zeros.values():
        source = with_line(source, line)
    result = grade(function(source), POINTS["batch_norm"])
    assert [mark.name for mark in result.marks if not mark.points] == ["dvar", "dmu", "dx"]


def test_one_right_line_is_a_success_in_pytest_and_its_points_in_a_grade(pytester, tmp_path):
    file = tmp_path / "student.py"
    file.write_text(with_line(SKELETON, "dbeta = dy.sum(axis=0)"), encoding="utf-8")
    run = pytester.runpytest_inprocess(*PLUGIN, f"--backward={file}:backward", "-p", "no:cacheprovider")
    run.assert_outcomes(passed=1, skipped=5)
    assert [mark.points for mark in grade_file(f"{file}:backward", POINTS["batch_norm"]).marks] == [0, 0, 1, 0, 0, 0]


def test_overwriting_the_inputs_is_a_failure_in_pytest_and_a_note_in_a_grade(pytester, tmp_path):
    source = solution("batch_norm").replace("    return {", "    dy *= 2\n    return {")
    file = tmp_path / "student.py"
    file.write_text(source, encoding="utf-8")
    run = pytester.runpytest_inprocess(*PLUGIN, "--backward", str(file), "-p", "no:cacheprovider")
    run.assert_outcomes(passed=6, failed=1)
    run.stdout.fnmatch_lines(["the function overwrites dy: use copies"])
    result = grade(function(source), POINTS["batch_norm"])
    assert (result.points, result.note) == (10, "the function overwrites its inputs (dy)")


def test_pytest_collects_the_submission_alone_or_with_what_is_named(pytester):
    student = pytester.makepyfile(student=solution("batch_norm"))
    other = pytester.makepyfile(test_other="def test_other(): pass")
    arguments = (*PLUGIN, "--backward", str(student), "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=6)
    pytester.runpytest_inprocess(*arguments, str(other)).assert_outcomes(passed=7)
    (student.parent / "tests").mkdir()
    arguments = (*PLUGIN, "--backward", f"{student.parent}/tests/../student.py", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=6)


@pytest.fixture
def folder(pytester, monkeypatch):
    """Submissions in a folder that is not to be collected: whatever is in it would be imported here."""
    subs = pytester.mkdir("subs")
    imported = "import sys\nsys.imported_here = True\n"
    for name in ("__init__", "conftest", "test_helpers"):
        (subs / f"{name}.py").write_text(imported, encoding="utf-8")
    for name in ("anna", "bob", "test_carol"):
        (subs / f"{name}.py").write_text(imported + with_line(SKELETON, "dbeta = dy.sum(axis=0)"), encoding="utf-8")
    monkeypatch.delattr("sys.imported_here", raising=False)
    yield subs
    assert not hasattr(sys, "imported_here")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--backward", "subs/anna.py", "subs/bob.py", "subs/test_carol.py:backward"],  # as a shell makes of subs/*.py
        ["--backward", "subs/anna.py", "--backward=subs/bob.py", "--backward=subs/test_carol.py", "--backward", "subs/bob.py"],
    ],
)
def test_pytest_runs_every_submission_and_imports_none(arguments, folder, pytester):
    run = pytester.runpytest_inprocess(*PLUGIN, "-rA", "-p", "no:cacheprovider", *arguments)
    run.assert_outcomes(passed=3, skipped=15)
    for name in ("anna", "bob", "test_carol"):
        run.stdout.fnmatch_lines([f"PASSED subs/{name}.py::dbeta"])


def test_a_folder_is_every_file_in_it_and_its_tests_are_not_run_here(folder, pytester):
    run = pytester.runpytest_inprocess(*PLUGIN, "--backward", "subs", "-p", "no:cacheprovider", "-k", "dbeta or helpers")
    run.assert_outcomes(passed=3, failed=1, deselected=17)
    run.stdout.fnmatch_lines(["*subs/test_helpers.py: backward*", "there is no function 'backward' in it"])


def test_a_submission_that_pytest_is_to_collect_is_not_imported_here(folder, pytester):
    for name in ("__init__", "conftest", "test_helpers"):  # which pytest itself imports where it collects a folder
        (folder / f"{name}.py").unlink()
    arguments = (*PLUGIN, "--backward=subs", "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments, ".").assert_outcomes(passed=3, skipped=15)
    run = pytester.runpytest_inprocess(*arguments, "subs/test_carol.py::dbeta")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "subs/test_carol.py::dbeta is a submission, and no module of tests: -k picks of its tests" in run.stderr.str()


def test_pytest_says_what_to_name_where_there_is_no_submission(folder, pytester):
    (folder / "empty").mkdir()
    for argument, message in (
        ("subs/dora.py", "--backward subs/dora.py: there is no such file"),
        ("subs/empty", "--backward subs/empty: there is no .py file in this folder; in its folders, name the files: subs/empty/*/"),
    ):
        run = pytester.runpytest_inprocess(*PLUGIN, "--backward", "subs/anna.py", argument, "-p", "no:cacheprovider")
        assert run.ret == pytest.ExitCode.USAGE_ERROR
        assert message in run.stderr.str()


def test_pytest_stops_a_submission_after_its_own_time(pytester):
    file = pytester.makepyfile(student="def backward(*a):\n    while True: pass")
    run = pytester.runpytest_inprocess(*PLUGIN, "--backward", str(file), "--backward-timeout=0.5", "-p", "no:cacheprovider")
    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["not done after 0.5 seconds, so stopped"])


def test_the_command_grades_a_class(folder, capsys):
    for name in ("__init__", "conftest", "test_helpers"):
        (folder / f"{name}.py").unlink()
    (folder / "anna.py").write_text("def backward(*a): return {}\n", encoding="utf-8")
    assert cli.main(["grade", "subs", "--points", "dbeta=2,dx=3", "--csv", "grades.csv"]) == 0
    out = capsys.readouterr().out.split("\n\n")
    assert [text.splitlines()[0] for text in out] == [f"subs/{name}.py:backward" for name in ("anna", "bob", "test_carol")]
    assert [text.splitlines()[-1] for text in out] == ["0 of 5 points", "2 of 5 points", "2 of 5 points"]
    with open("grades.csv", encoding="utf-8", newline="") as file:
        anna, bob, _ = csv.DictReader(file)
    assert (anna["points"], bob["dbeta"], bob["dx"], bob["points"]) == ("0", "2", "0", "2")
    assert anna["why"].startswith("the function returned none of the six gradients") and bob["why"] == "dx: not returned"


def test_without_points_each_gradient_has_one(student, capsys):
    file = student(solution("layer_norm"))
    assert cli.main(["grade", str(file), "--derivation", "layer_norm"]) == 0
    assert capsys.readouterr().out.endswith("dx       1 of 1  right\n6 of 6 points\n")


def test_a_slip_of_the_teachers_is_nobodys_0(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "student.py").write_text(SKELETON, encoding="utf-8")
    for arguments, message in (
        (["nobody.py:backward"], "nobody.py: there is no such file"),
        (["*.py"], "*.py: there is no such file"),
        ([".", "nobody.py"], "nobody.py: there is no such file"),
        (["student.py", "--derivation", "nothing.py:D"], "nothing.py: there is no such file"),
        (["student.py", "student.py", "--gradescope", "g.json"], "the grades of several go to --csv"),
        ([".", "--gradescope", "g.json"], ". is a folder: name a file in it"),
    ):
        assert cli.main(["grade", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err
    assert cli.main(["grade", "nobody.py", "--gradescope", "g.json"]) == 0  # which is a student's: Gradescope has a file less
    assert json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))["output"] == "nobody.py: there is no such file"


@pytest.mark.parametrize("assignment", POINTS)
def test_a_derivation_is_named_to_the_process_that_runs_the_file(assignment, pytester):
    file = pytester.makepyfile(student=solution(assignment))
    arguments = (*PLUGIN, "--backward", str(file), "--backward-derivation", assignment, "-p", "no:cacheprovider")
    pytester.runpytest_inprocess(*arguments).assert_outcomes(passed=len(POINTS[assignment]))
    result = grade_file(f"{file}:backward", POINTS[assignment], derivation=assignment)
    assert (result.points, result.note) == (10, "")


def test_a_derivation_that_there_is_not_is_refused(pytester, capsys):
    file = pytester.makepyfile(student=SKELETON)
    run = pytester.runpytest_inprocess(*PLUGIN, "--backward", str(file), "--backward-derivation", "norm", "-p", "no:cacheprovider")
    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["--backward-derivation norm: these are there: *batch_norm*layer_norm*"])
    assert "derivation_named" not in run.stdout.str()
    assert cli.main(["grade", f"{file}:backward", "--points", "dx=1", "--derivation", "norm"]) == 2
    assert "norm: these are there: " in capsys.readouterr().err


def test_points_for_a_gradient_that_is_not_one_are_refused(capsys):
    with pytest.raises(ValueError, match="points for 'dgama': the gradients are dx_hat, dgamma, dbeta, dvar, dmu, dx"):
        grade(function(solution("batch_norm")), {"dgama": 1})
    with pytest.raises(ValueError, match="points for 'dx': the gradients are dlog_p, ds, dz"):
        grade_file(f"{DOCS}/assignment/softmax_cross_entropy/solution.py:backward", {"dx": 1}, derivation="softmax_cross_entropy")
    with pytest.raises(SystemExit):
        cli.main(["grade", "student.py:backward", "--points", "dx"])
    assert "'dx' is not a list of points such as dgamma=1,dx=3" in capsys.readouterr().err


@pytest.mark.parametrize("points", ["dx=-1", "dx=nan", "dx=inf", "dx=1,dx=3"])
def test_points_that_make_no_grade_are_refused(points, capsys):
    with pytest.raises(SystemExit):
        cli.main(["grade", "student.py:backward", "--points", points])
    assert "each gradient has its points once" in capsys.readouterr().err
