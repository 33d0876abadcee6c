"""Whatever a file of functions holds, a command on it ends: with 0 or 1, or with 2 and why, in words, not a traceback of ours.

Nothing is half written: what a command was to write is whole, or it is not there.
"""

import io
import itertools
import re
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import strategies as st

from micrograd_bn import cli
from tests.conftest import optional
from tests.strategies import prop

FILE = """
import numpy as np
from micrograd_bn import Derivation, Tensor, equation
from micrograd_bn.derivation import Edge, Gradient, Mistake
{start}
@equation({numbers[0]}, "s")
def first({parameters}):
    return {first}
@equation({numbers[1]}, "y")
def second(s, x):
    return {second}
def local(ds, x):
    return {local}
D = Derivation("d", [{equations}], {how})
def function({more}):
    return {returned}
"""
RIGHT = {
    "start": ["", "print('hello')"],
    "numbers": [(1, 2), (7, 3)],
    "parameters": ["x, w", "x, w, c=2.0", "x, w, axis=-1"],
    "first": ["w * x", "x + w", "np.tanh(x) / w", "x - x.mean(axis=0, keepdims=True) * w", "np.exp(x @ w)[:, None]"],
    "second": ["s * x", "s - x**2", "s.sum() + 0 * x", "(s + x).sum()", "np.where(x > 0, s, x)", "(s.T @ x).sum()"],
    "local": ["ds * x", "ds"],
    "equations": ["first, second"],
    "how": ["", 'edges=[Edge(9, "s", "x", function=local)]', 'domains={"w": "positive"}', 'symbols={"x": ("ξ", r"\\xi")}'],
    "more": ["x, w", "dy, x, w", "dy, x, w, c"],
    "returned": ["w * x", '{"x": dy * w, "w": (dy * x).sum(axis=0)}', "(dy * w * w, dy.sum(axis=0) * 2)"],
}
ODD = """
x;  x**w;  x @ x;  x[0];  x.T;  -x;  x.max();  x.sum(axis=5);  x.foo;  np.sort(x);  np.fft.fft(x);  x > 0;  x % 2;  x if w else w
float(x);  np.asarray(x);  len(x);  0;  1.5;  None;  'a';  [x];  (x, w);  {};  undefined;  1 / 0;  {}['a'];  [][1];  exit(3)
print(x) or x;  first;  first(x, w);  Tensor(x);  x.data;  x.detach();  x.reshape(-1);  np.ones((2, 3));  np.full(3, np.nan)
np.zeros(0);  np.float16(x);  x * 1j;  {"s": None};  {"q": 1};  {"x": "a"};  x / 0
"""
HOW = """
shapes={"x": ("m", "k"), "w": ("k",)};  shapes={"w": ("k", "n")};  shapes={"x": ()};  shapes={"x": ("m", 3)};  shapes=3
shapes={"w": "kept"};  shapes={"nobody": ("m",)};  domains={"x": "positive"};  domains={"x": "odd"};  no_gradient=["w"]
no_gradient=["x", "w"];  symbols={"x": ("ξ", r"\\frac{")};  texts={"x": ("a", "b")};  texts={99: 1};  edges=[Edge(9, "y", "q")]
edges=[Edge(9, "s", "x", function=local)];  edges=[Edge(1, "s", "x")];  edges=["a"]
condensed=[Gradient((9,), "x", function=local)]
mistakes=[Mistake("why", {1: local})];  defaults={'c': 'c'};  check=local;  check=lambda values: 1 / 0;  nonsense=1
"""


def listed(text):
    return [entry.strip() for line in text.strip().split("\n") for entry in line.split(";")]


WRONG = {
    "start": listed("1 / 0; raise KeyError('k'); import no_such_module; exit(); def; x = '\\ud800'; def first(x"),
    "numbers": [(1, 1), (-1, 0), ("'a'", "None")],
    "parameters": listed("x, w=1; *x; x, s; **x; x; ; w, x"),
    **dict.fromkeys(["first", "second", "local", "returned"], listed(ODD)),
    "equations": listed("first; second, first; local; ; 3"),
    "how": listed(HOW),
    "more": listed("*a; x=1; ; **k; x"),
}


@st.composite
def files(draw):
    """A file of Python with a Derivation D and a function in it, most often wrong in one place or two."""
    wrong = draw(st.lists(st.sampled_from([*WRONG, "text"]), max_size=2))
    content = FILE.format(**{name: draw(st.sampled_from((WRONG if name in wrong else RIGHT)[name])) for name in RIGHT})
    if "text" not in wrong:
        return content.encode()
    i = draw(st.integers(0, len(content)))
    content = content[:i] + draw(st.sampled_from(["", "\0", "\n", "(", "'''", "é"])) + content[i + draw(st.integers(0, 9)) :]
    return content.encode(draw(st.sampled_from(["utf-8", "utf-16", "latin-1"])), errors="replace")


DERIVED = ("{f}:D -o new.html", "{f}:D -o new.md", "{f}:D -o new.tex", "{f}:D", "{f}:no -o new.txt", "{f} -o new.txt")
SHAPES = ("--shape 2,3", "--shape 2", "--shape=", "--shape 2,3 --shape 3", "--shape 0,3", "--shape=-1", "--shape 2,3,4 --reuse")
COMMANDS = [
    *[f"verify x.csv --derivation {{f}}:D {more}" for more in ("", "--json", "--digits 20", "--upstream dy.csv", "--eps 0.1")],
    *[f"draw x.csv --derivation {{f}}:D -o new.svg {more}" for more in ("", "--zoom primitives", "--zoom scalars")],
    "explore x.csv --derivation {f}:D -o new.html",
    *[f"write {{f}}:{what} {shape} -o new.py" for what in ("function", "first", "D") for shape in SHAPES],
    *[f"write {{f}}:{what} --shape 3 -o new.py" for what in ("np", "no")],
]
PROVED = ["prove --derivation {f}:D", "prove --m 2 --derivation {f}:D", *[f"derive {what}" for what in DERIVED]]
CHECKED = [
    "check {f}:function --derivation {f}:D --draw new.svg",
    "check {f}:function",
    "grade {f}:function --derivation {f}:D --points dx=1 --gradescope new.json",
]
NAMES = (f"file_{i}" for i in itertools.count())  # one after the other: a process imports a name once


def assert_ends_well(content, command):
    before, name = Path.cwd(), next(NAMES)
    out, err = io.StringIO(), io.StringIO()
    with (
        TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        patch.chdir(folder)
        patch.setattr(sys, "dont_write_bytecode", True)
        given = {f"{name}.py": content, "x.csv": b"a,b\n1,2\n3,4.5\n-6,7\n", "dy.csv": b"a,b\n1,0\n0,1\n1,1\n"}
        for path, text in given.items():
            Path(path).write_bytes(text)
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = cli.main(command.format(f=f"{name}.py").split())
            except SystemExit as usage:  # argparse's way to say what an option is not
                code = usage.code
        new = {path.name for path in Path().iterdir()} - given.keys()
    sys.modules.pop(f"micrograd_bn_file_{name}", None)
    assert Path.cwd() == before
    assert code in (0, 1, 2)
    assert new <= ({part for part in command.split() if part.startswith("new.")} if code < 2 else set())
    if code == 2:
        assert out.getvalue() == ""
        assert re.search(r"^micrograd-bn( write: error)?: ", err.getvalue(), re.M)
        assert f'File "{Path(cli.__file__).parent}' not in err.getvalue()
        assert len(err.getvalue().rpartition("micrograd-bn")[2].strip()) > 10


@prop(40, content=files(), command=st.sampled_from(COMMANDS))
def test_any_file_of_functions_ends_well(content, command):
    assert_ends_well(content, command)


@prop(12, content=files(), command=st.sampled_from(PROVED))
def test_any_file_is_derived_and_proved_or_it_is_said_why_not(content, command):
    optional("sympy")
    assert_ends_well(content, command)


@prop(2, content=files(), command=st.sampled_from(CHECKED))
def test_any_file_is_checked_and_graded_in_a_process_of_its_own(content, command):
    assert_ends_well(content, command)
