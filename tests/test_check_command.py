"""The command ``micrograd-bn check``: exit codes, and what a student sees of code that does not run."""

import inspect
import json
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from micrograd_bn import cli
from micrograd_bn.submission import check_file, derivation_named, in_their_code, module
from tests.backward_passes import condensed, derived
from tests.test_check_derivations import layer_norm

DEF = "def backward(dy, x, gamma, beta, eps):\n    "


@pytest.fixture
def student(tmp_path):
    def write(text):
        path = tmp_path / "student.py"
        path.write_text("import numpy as np\n" + text, encoding="utf-8")
        return f"{path}:backward"

    return write


def test_the_command_is_0_for_right_and_1_for_wrong(student, capfd):
    right = inspect.getsource(derived).replace("def derived", "def backward")
    assert cli.main(["check", student("print('hello')\n" + right)]) == 0
    out, err = capfd.readouterr()
    assert "All gradients returned are right" in out
    assert "hello" not in out  # what the student's code prints is no part of the report
    assert "hello" in err

    assert cli.main(["check", "--json", student(right.replace("dmu / m", "dmu"))]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["rows"][5]["why"] == "the 1/m is missing in ∂μ/∂x, equation (11)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEF + "z = 1\n    return 1 / 0", ["student.py", "line 4, in backward", "return 1 / 0", "ZeroDivisionError"]),
        (DEF + "return np.ones((2, 3)) @ x", ["x of shape (5, 3)", "line 3", "ValueError"]),
        ("def backward(dy x):\n    pass", ["line 2", "SyntaxError"]),
        ("1 / 0", ["line 2, in <module>", "ZeroDivisionError"]),
        ("raise ValueError('setup') from KeyError('k')", ["line 2, in <module>", "ValueError: setup"]),
        (DEF + "return {'dx': x, 'x': x}", ["both 'x' and 'dx'"]),
        (DEF + "raise SystemExit(0)", ["line 3", "SystemExit"]),
        (DEF + "import os; os._exit(0)", ["ended without a result", "exit code 0"]),
        (DEF + "pass", ["student.py:backward: the function returned NoneType: return a dict"]),
        ("def backward(x):\n    pass", ["called as f(dy, x, gamma, beta, eps): ", "takes 1 positional argument"]),
        ("def other():\n    pass", ["no function 'backward'"]),
    ],
)  # fmt: skip
def test_code_that_crashes_is_2_and_its_own_lines_are_shown(student, capfd, text, expected):
    assert cli.main(["check", student(text)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    for words in expected:
        assert words in err
    assert "micrograd_bn/" not in err  # the lines are the student's, not ours


def test_code_that_does_not_end_is_stopped(student, capfd):
    start = time.monotonic()
    assert cli.main(["check", "--timeout", "2", student("def backward(*a):\n    while True: pass")]) == 2
    assert "not done after 2 seconds" in capfd.readouterr().err
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("no_such.py:backward", "no_such.py: there is no such file"),
        ("no_such.py", "no_such.py: there is no such file"),
        ("C:\\no_such.py", "C:\\no_such.py: there is no such file"),
        ("tests:backward", "tests is a folder: name a file in it, FILE.py or FILE.py:FUNCTION"),
    ],
)
def test_a_file_that_is_not_there_is_2(argument, message, capfd, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert cli.main(["check", argument]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_file_is_checked_out_of_reach_of_an_interrupt_or_from_any_thread(student):
    code = DEF + "import signal; return {'dbeta': dy.sum(axis=0) * (signal.getsignal(signal.SIGINT) is signal.SIG_IGN)}"
    before = signal.getsignal(signal.SIGINT)
    assert check_file(student(code)).ok
    assert signal.getsignal(signal.SIGINT) is before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(check_file, student(DEF + "return {'dbeta': dy.sum(axis=0)}")).result().ok


def test_a_file_that_is_not_named_as_python_is_2(tmp_path, capfd):
    (tmp_path / "student.txt").write_text("def backward(*a): pass", encoding="utf-8")  # which is the function where none is named
    assert cli.main(["check", f"{tmp_path / 'student.txt'}"]) == 2
    assert "its name ends with .py" in capfd.readouterr().err


def test_python_m_runs_the_check(student):
    code = inspect.getsource(condensed).replace("def condensed", "def backward")
    done = subprocess.run(
        [sys.executable, "-m", "micrograd_bn", "check", student(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_guides_student_gets_the_guides_report(student, capfd, monkeypatch):
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
    code = re.search(r"(?ms)^```python\n(# student.py\n.*?)^```", guide)[1]
    shown = re.search(r"(?m)^    \$ micrograd-bn check student.py:backward\n((?:\n|    .*\n)+)", guide)[1]
    monkeypatch.setenv("COLUMNS", "110")
    assert cli.main(["check", student(code)]) == 1

    def words(text):
        return re.sub(r"\de-0\d", "rounding", text).split()  # which may be another on another machine

    assert words(shown) == words(capfd.readouterr().out)


def test_the_command_draws_what_is_wrong(student, capfd, tmp_path):
    code = inspect.getsource(derived).replace("def derived", "def backward")
    path = tmp_path / "wrong.dot"
    assert cli.main(["check", "--json", student(code.replace("** -1.5", "** -0.5")), "--draw", str(path)]) == 1
    out, err = capfd.readouterr()
    json.loads(out)
    assert err == f"note: {path}: where it goes wrong first\n"
    assert "yours  " in path.read_text(encoding="utf-8").replace("\\", "")
    assert cli.main(["check", student(code), "--draw", str(tmp_path / "wrong.txt")]) == 2
    assert "ends with .txt: a picture is saved as .svg" in capfd.readouterr().err


def test_the_command_checks_another_derivations_backward_pass(student, capfd):
    code = inspect.getsource(layer_norm).replace("def layer_norm", "def backward")
    assert cli.main(["check", student(code), "--derivation", "layer_norm"]) == 0
    assert "A backward pass of layer normalisation" in capfd.readouterr().out

    assert cli.main(["check", "--json", student(code.replace("dmu / m", "dmu")), "--derivation", "layer_norm"]) == 1
    report = json.loads(capfd.readouterr().out)
    assert (report["derivation"], report["rows"][5]["why"]) == ("layer norm", "the 1/k is missing in ∂μ/∂x, equation (11)")


OWN = """
from micrograd_bn import Derivation, equation
@equation(1, "y")
def scaled(x, w):
    return np.log(x) * w
MY_LAYER = Derivation("log", [scaled], domains={"x": "positive"})
ANY = Derivation("log", [scaled])
def backward(dy, x, w):
    return {"dw": dy * np.log(x)}
"""


def test_a_file_called_as_a_module_is_takes_nobodys_place(tmp_path):
    (tmp_path / "random.py").write_text("import numpy as np" + OWN, encoding="utf-8")
    assert derivation_named(f"{tmp_path}/random.py:MY_LAYER").name == "log"
    assert sys.modules["random"] is random


def test_an_error_in_somebodys_file_is_in_its_own_words_where_they_name_the_file_and_else_with_its_line(tmp_path):
    path = tmp_path / "layer.py"
    raises = "def {}():\n    raise ValueError({!r})\n".format
    path.write_text(raises("named", f"{path}:\n  is  odd") + raises("other", "is odd"), encoding="utf-8")
    theirs = module(str(path))
    for function, words in ((theirs.named, f"{path}: is odd"), (theirs.other, f'ValueError: is odd\n  File "{path}", line 4')):
        with pytest.raises(ValueError, match="odd") as caught:
            function()
        assert in_their_code(caught.value).startswith(words)
    assert in_their_code(ValueError("of ours")) is None


def test_the_command_checks_a_derivation_of_a_file(student, capfd):
    function = student(OWN)
    file = function.rpartition(":")[0]
    assert cli.main(["check", function, "--derivation", f"{file}:MY_LAYER"]) == 1
    assert "there is no sum over the batch in ∂y/∂w" in " ".join(capfd.readouterr().out.split())
    for derivation, message in [
        (f"{file}:ANY", "Say what its inputs look like"),
        (f"{file}:NO", "has no Derivation named 'NO'"),
        ("no", "these are there"),
    ]:
        assert cli.main(["check", function, "--derivation", derivation]) == 2
        assert message in capfd.readouterr().err
