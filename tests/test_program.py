"""The program: what it looks like, what it gives, and what it says of bad input."""

import json
import math
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, derivations, draw, grad, scalars, trace
from micrograd_bn import functions as F
from micrograd_bn.cli import main

SHAPES = ((32, 10), (10,), (10,), (32, 10))


def batch(seed=0, dtype="float64"):
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype(dtype) for shape in SHAPES]


def by_engine(f, values, dy=None):
    tensors = [Tensor(a) for a in values]
    y = f(*tensors)
    y.backward(dy)
    return y.data, [t.grad for t in tensors]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_batch_norm_on_other_numbers_bit_for_bit(dtype):
    p = trace(batch_norm, *batch(dtype=dtype)[:3])
    *values, dy = batch(1, dtype)
    y, gradients = by_engine(batch_norm, values, dy)
    found, of_inputs = p.gradients(*values, dy)
    np.testing.assert_array_equal(p(*values), y)
    for a, b in zip((found, *of_inputs), (y, *gradients)):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("narrow", ["float16", "float32"])
@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: (a * b).sum(),
        lambda a, b: (a + b * b).mean(axis=0),
        lambda a, b: a.sum() * b.sum(),  # the engine's single float64 takes the dtype that it meets
        lambda a, b: F.where(a > b.mean(), a, b.mean()) - F.maximum(b.max(), a) * 2,
        lambda a, b: (a * a + 1) ** b.mean() + b[0] / (b * b + 1),
        lambda a, b: batch_norm(a, b.mean(), F.sqrt((b * b).sum())),
    ],
)
def test_where_two_dtypes_meet_the_program_gives_each_its_own(f, narrow, reuse):
    random = np.random.default_rng(0)
    for of_a, of_b in ((narrow, "float64"), ("float64", narrow)):
        values = random.normal(size=(3, 2)).astype(of_a), random.normal(size=2).astype(of_b)
        y = f(*map(Tensor, values))
        dy = np.ones(y.shape, y.dtype) if y.shape else None
        expected, gradients = by_engine(f, values, dy)
        found, of_inputs = trace(f, *values, reuse=reuse).gradients(*values, *[dy] * bool(y.shape))
        for got, due in zip((found, *of_inputs), (expected, *gradients)):
            assert np.asarray(got).dtype == np.asarray(due).dtype
            np.testing.assert_array_equal(got, due)


def test_batch_norm_reads_as_its_derivation():
    p = trace(batch_norm, *batch()[:3])
    lines = p.body(backward=True).splitlines()
    statements = [line for line in lines if not line.startswith("#")]
    assert len(statements) <= 45
    names = [line.partition(" = ")[0] for line in statements]
    assert " ".join(n for n in names if not n.startswith("t")) == "mu var x_hat y dbeta dx_hat dgamma dvar dmu dx"
    assert [line for line in lines if line.startswith("#")] == [
        *("# (1): mu", "# (2): var", "# (3): x_hat", "# (4): y"),
        *("# back through (4): (5), (6), (7)", "# back through (3): (8), (10), (13)", "# back through (2): (9), (12)"),
        *("# back through (3): (8), (10), (13)", "# back through (1): (11)"),
    ]
    right = [line.partition(" = ")[2] for line in statements]
    assert len(set(right)) == len(right)  # nothing twice
    for i, name in enumerate(names):  # nothing in vain
        assert name in ("y", "dx", "dgamma", "dbeta") or re.search(rf"\b{name}\b", "\n".join(right[i:]))
    assert "t1 = x - mu" in p.body() and p.body() in str(p).replace("\n    ", "\n")


def test_a_graph_that_is_there():
    *values, dy = batch()
    x, gamma, beta = map(Tensor, values)
    y = batch_norm(x, gamma, beta)
    y.backward(dy)
    p = trace(y)
    given = dict(zip(("x", "gamma", "beta"), values))
    order = [name.label for name in p.inputs]
    _, found = p.gradients(*[given[label] for label in order], dy)
    for label, g in zip(order, found):
        np.testing.assert_array_equal(g, {"x": x, "gamma": gamma, "beta": beta}[label].grad)
    assert "# (3): x_hat" in str(p)
    y.backward(dy)  # the graph is as it was


def test_a_graph_of_single_numbers():
    x, w = scalars([1.0, -2.0, 3.0], "x"), scalars([0.5, 0.25, -1.0], "w")
    loss = (x @ w).relu() + (x @ w).tanh()
    p = trace(loss)
    y, found = p.gradients(*[name.value for name in p.inputs])
    loss.backward()
    assert y == loss.data
    assert {n.label: g for n, g in zip(p.inputs, found)} == {
        f"{label}_{i}": t.grad for label, ts in (("x", x), ("w", w)) for i, t in enumerate(ts)
    }


def test_what_is_captured_is_a_constant_under_its_name():
    weights, shift = Tensor([[1.0, 2.0], [3.0, 4.0]], label="weights"), np.array([1.0, 5.0])
    p = trace(lambda x: (x @ weights + shift).tanh(), np.zeros((1, 2)))
    assert [name.label for name in p.constants] == ["weights", "c1"]
    assert "def gradients(x, dy, weights=weights, c1=c1):" in str(p) and "3.0" not in p.body(backward=True)
    np.testing.assert_array_equal(p(np.ones((1, 2))), np.tanh(np.ones((1, 2)) @ weights.data + shift))
    assert weights.grad is None


@pytest.mark.parametrize("number", [Decimal("0.7"), Fraction(3, 7)])
def test_other_kinds_of_number(number):
    def f(a, b):
        root = (a * b).sqrt() if isinstance(number, Decimal) else a * b
        return root / (a + 2) - b**3 + abs(a - b) + F.where(a > b, a, b) + (a - 5).relu()

    given = number + 1, number * 2
    p = trace(f, number, number)
    y, gradients = by_engine(f, given)
    assert p(*given) == y and type(p(*given)) is type(number)
    assert p.gradients(*given) == (y, tuple(gradients))
    q = trace(lambda a: a.log().tanh() if isinstance(number, Decimal) else a / 3, number)
    assert q(given[0]) == by_engine(lambda a: a.log().tanh() if isinstance(number, Decimal) else a / 3, given[:1])[0]


def test_floats_that_pythons_arithmetic_refuses_are_numpys():
    p = trace(lambda a, b: a / b + a**0.5, 1.0, 1.0)
    with np.errstate(all="ignore"):
        assert p(1.0, 0.0) == np.inf and np.isnan(p(-1.0, 1.0))
        assert p.gradients(1.0, 0.0)[1][1] == -np.inf


def test_constants_come_back_bit_for_bit():
    for number in (0.1, 1e-320, 1 / 3, np.inf, -0.0, np.float32(0.1)):
        p = trace(lambda a, c=number: a * 2 + c, np.zeros(2, np.float32))
        np.testing.assert_array_equal(p(np.ones(2, np.float32)), (Tensor(np.ones(2, np.float32)) * 2 + number).data)


def test_comparisons_are_recorded_and_not_frozen():
    p = trace(lambda a: F.where(a > 0, a * a, -a) + a.relu() + F.maximum(a, 2.0), 1.0)
    for number in (-3.0, 0.0, 5.0):
        y, gradients = by_engine(lambda a: F.where(a > 0, a * a, -a) + a.relu() + F.maximum(a, 2.0), [number])
        assert p.gradients(number) == (y, tuple(gradients))


def decides(t):
    if t.data[0] > 0:
        return t * 2
    return -t


@pytest.mark.parametrize(
    "f",
    [
        decides,
        lambda t: t * float(t.sum()),
        lambda t: t * int(t.data.sum()),
        lambda t: t[np.argmax(t)],
        lambda t: t[t > 0],
        lambda t: t if (t > 0).sum() else -t,
        lambda t: t * np.asarray(t.data),
        lambda t: t * sum(t.data),
        lambda t: t * t.sum().item(),
        lambda t: t * t.numpy(),
    ],
)
def test_a_function_that_looks_inside_a_number_is_refused_with_its_line(f):
    with pytest.raises(TypeError, match="looks inside a number") as raised:
        trace(f, np.ones(3))
    assert "test_program.py, line " in str(raised.value)
    if f is decides:
        assert "if t.data[0] > 0:" in str(raised.value)


def test_bad_input():
    p = trace(batch_norm, *batch()[:3])
    x, gamma, beta, dy = batch()
    with pytest.raises(TypeError, match=r"takes 3 values \(x, gamma, beta\), and this is 2"):
        p(x, gamma)
    with pytest.raises(TypeError, match=r"takes 4 values \(x, gamma, beta, dy\), the last .* gradient of shape \(32, 10\)"):
        p.gradients(x, gamma, beta)
    with pytest.raises(ValueError, match=r"dy: .* \(32, 10\), and this has \(10,\)"):
        p.gradients(x, gamma, beta, dy[0])
    with pytest.raises(ValueError, match=r"x: .* \(32, 10\), and this has \(31, 10\)"):
        p(x[:-1], gamma, beta)
    with pytest.raises(TypeError, match=r"x: .* float64, and this is float32"):
        p(x.astype("float32"), gamma, beta)
    with pytest.raises(TypeError, match="holds real numbers, and this is str"):
        trace(lambda a: a, "one")
    with pytest.raises(TypeError, match="returns tuple: which of them is the result"):
        trace(lambda a: (a, a), 1.0)
    with pytest.raises(TypeError, match=r"trace takes a function of Tensors, .* and this is 'batch_norm'"):
        trace("batch_norm", 1.0)
    with pytest.raises(TypeError, match="returns NoneType"):
        trace(lambda a: None, 1.0)
    with pytest.raises(TypeError, match="as comparisons are"):
        trace(lambda a: a > 0, 1.0)
    with pytest.raises(TypeError, match="an example is needed for each argument"):
        trace(batch_norm, x)
    with pytest.raises(OSError, match="cannot be written: there is no folder"):
        p.save("no/such/folder/backward.py")
    with pytest.raises(ValueError, match=r"backward.txt ends with .txt: a program is saved as .py"):
        p.save("backward.txt")
    with pytest.raises(TypeError, match="takes its examples from the leaves"):
        trace(Tensor(1.0) * 2, 1.0)


def test_a_program_is_a_node_to_any_order():
    p = trace(lambda a: (a**3 * 2).sum() + F.relu(a).sum(), np.ones(2))
    x = Tensor([0.0, 2.0])
    y = p(x) * 3
    assert [node.primitive.name for node in y.parents] == ["<lambda>"] or y.parents[0].parents == (x,)
    (first,) = grad(y, x)
    (second,) = grad(first.sum(), x)
    (third,) = grad(second.sum(), x)
    np.testing.assert_array_equal(first.data, 3 * (6 * x.data**2 + (x.data > 0)))
    np.testing.assert_array_equal(second.data, 36 * x.data)
    np.testing.assert_array_equal(third.data, [36.0, 36.0])
    *values, dy = batch()
    by_program = by_engine(trace(batch_norm, *values), values, dy)
    for a, b in zip(by_program[1], by_engine(batch_norm, values, dy)[1]):
        np.testing.assert_array_equal(a, b)
    weights = np.array([1.0, 4.0])
    (slope,) = grad(trace(lambda a: (a**2 * Tensor(weights)).sum(), np.ones(2))(x), x)
    np.testing.assert_array_equal(grad(slope.sum(), x)[0].data, 2 * weights)  # what was captured is a number again
    q = trace(lambda a: a * F.softmax(a), np.ones(2))
    with pytest.raises(ValueError, match=r"x|a"):
        q(Tensor(np.ones(3)))


def test_what_has_been_stopped_stays_a_constant_in_the_second_derivative():
    from micrograd_bn.primitives import stop_gradient

    def f(a):
        return (stop_gradient(a) * a * a).sum()

    x, p = Tensor([1.0, 3.0]), trace(f, np.ones(2))
    for g in (f, p):
        (first,) = grad(g(x), x)
        (second,) = grad(first.sum(), x)
        np.testing.assert_array_equal(second.data, 2 * x.data)


def test_gradients_are_arrays_of_their_own():
    p = trace(lambda a, b: a + b, np.zeros(2), np.zeros(2))
    dy = np.ones(2)
    _, (da, db) = p.gradients(np.zeros(2), np.zeros(2), dy)
    da *= 5
    assert db.tolist() == dy.tolist() == [1, 1]
    _, (dx,) = trace(lambda a: a.sum(), np.zeros(2)).gradients([1.0, 2.0])
    dx *= 5


def test_a_saved_program_runs_without_the_package(tmp_path):
    *values, dy = batch()
    p = trace(batch_norm, *values)
    path = p.save(tmp_path / "backward.py")
    assert path.read_text() == str(p)
    np.savez(tmp_path / "given.npz", *values, dy)
    run = (
        "import sys; sys.modules['micrograd_bn'] = None; sys.path.insert(0, '.'); import numpy as np, backward; "
        "y, g = backward.gradients(*np.load('given.npz').values()); np.savez('found.npz', y, *g); "
        "assert 'gamma: float64 of shape (10,)' in backward.__doc__"
    )
    subprocess.run([sys.executable, "-I", "-c", run], check=True, cwd=tmp_path)
    y, gradients = by_engine(batch_norm, values, dy)
    for a, b in zip(np.load(tmp_path / "found.npz").values(), (y, *gradients)):
        np.testing.assert_array_equal(a, b)


def test_a_saved_module_says_both_shapes(tmp_path):
    """Its statements have the shapes in them, a mean's m for one."""
    *values, dy = batch()
    scope = {}
    exec(trace(batch_norm, *values).save(tmp_path / "backward.py").read_text(), scope)
    np.testing.assert_array_equal(scope["gradients"](*values, dy)[0], batch_norm(*values))
    for function, given in (("forward", (values[0][:8], *values[1:])), ("gradients", (values[0][:8], *values[1:], dy[:8]))):
        with pytest.raises(ValueError, match=r"x: the statements are for shape \(32, 10\), and this has \(8, 10\)"):
            scope[function](*given)
    with pytest.raises(ValueError, match=r"dy: the statements are for shape \(32, 10\), and this has \(10,\)"):
        scope["gradients"](*values, dy[0])


def test_ten_thousand_nodes():
    def f(*values):
        total = values[0]
        for a in values[1:]:
            total = (total * a).tanh()
        return total

    values = np.linspace(0.9, 1.1, 5001).tolist()
    y, gradients = by_engine(f, values)
    p = trace(f, *values)
    assert len(p.statements) > 10_000
    assert p.gradients(*values) == (y, tuple(gradients))


def test_a_gradient_within_a_function():
    """Its second derivative goes back through elements that were picked, and put in their places."""

    def f(x):
        (g,) = grad((x[1:] ** 3 * x[[0, 0, 1]]).sum(), x)
        return g * g

    values = [np.array([1.0, 2.0, -3.0, 0.5])]
    y, gradients = by_engine(f, values, np.ones(4))
    found, of_inputs = trace(f, np.zeros(4)).gradients(*values, np.ones(4))
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(of_inputs[0], gradients[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_buffers_are_reused_and_never_given_away(dtype):
    *values, dy = batch(dtype=dtype)
    p, q = trace(batch_norm, *values), trace(batch_norm, *values, reuse=True)
    assert f"buffers = [np.empty((32, 10), np.{dtype}) for _ in range(4)]" in str(q) and "buffer" not in str(p)
    first = q.gradients(*values, dy)
    kept = [first[0].copy(), *[g.copy() for g in first[1]]]
    *others, other_dy = batch(7, dtype)
    second = q.gradients(*others, other_dy)
    for a, b, c, d in zip(
        (first[0], *first[1]), kept, (second[0], *second[1]), (lambda y, g: (y, *g))(*p.gradients(*others, other_dy))
    ):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(c, d)


def test_as_plain_data_in_colours_and_as_a_graph():
    p = trace(batch_norm, *batch()[:3])
    data = json.loads(json.dumps(p.to_dict()))
    assert [a["name"] for a in data["inputs"]] == ["x", "gamma", "beta"] and data["upstream"]["shape"] == [32, 10]
    (x_hat,) = [a for a in data["statements"] if a["name"] == "x_hat"]
    assert (x_hat["operation"], x_hat["equation"], x_hat["backward"], x_hat["text"]) == ("div", 3, False, ["x_hat = t1 / t4"])
    shown = p._repr_mimebundle_()
    assert shown["text/plain"] == str(p) and '<span style="color: #6a737d"># (1): mu</span>' in shown["text/html"]
    assert '"t1" -> "x_hat"' in p.dot() and draw(p).svg.count("<title>") > 60


def evaluated(source, *arguments):
    """What JavaScript's statements give, as Python computes them: the two write arithmetic alike."""
    *lines, last = [line.strip().rstrip(";").removeprefix("const ") for line in source.splitlines()[1:-1]]
    head = source.splitlines()[0]
    scope = dict(zip(head[head.index("(") + 1 : head.index(")")].split(", "), arguments))
    functions = SimpleNamespace(**{name: getattr(math, name) for name in ("sqrt", "exp", "tanh", "log")}, max=max, abs=abs)
    scope |= {"Math": functions, "true": True, "false": False}
    for line in lines:
        left, _, right = line.partition(" = ")
        choice = re.fullmatch(r"(.*) \? (.*) : (.*)", right)
        scope[left] = eval("{1} if {0} else {2}".format(*choice.groups()) if choice else right, {}, scope)
    return eval(last.removeprefix("return "), {}, scope)


def network(x, w):
    e = F.softmax((x @ w).relu() + F.where(x > 0, x, -x).sum(axis=-1, keepdims=True))
    return (e.max(axis=1) ** 2).mean() + batch_norm(x[1:], 1.0, 2.0)[0, 0] ** 3


def test_javascript_number_by_number():
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 2)), random.normal(size=(2, 2))
    y, gradients = by_engine(network, values)
    found, of_inputs = evaluated(trace(network, *values).javascript, *[a.ravel().tolist() for a in values])
    np.testing.assert_allclose(found, [y], rtol=1e-12)
    for a, b in zip(of_inputs, gradients):
        np.testing.assert_allclose(a, b.ravel(), rtol=1e-12)
    with pytest.raises(ValueError, match="too many to be written out"):
        trace(batch_norm, np.ones((4000, 2)), np.ones(2), np.ones(2)).javascript  # noqa: B018


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no JavaScript here but a browser's")
def test_javascript_in_javascript():
    values = [a[:6] if a.ndim == 2 else a for a in batch()]
    y, gradients = by_engine(batch_norm, values[:3], values[3])
    order = [values[0], values[1], values[2], values[3]]
    call = f"console.log(JSON.stringify(gradients({', '.join(json.dumps(a.ravel().tolist()) for a in order)})))"
    program = trace(batch_norm, *values[:3]).javascript + "\n" + call
    done = subprocess.run(["node", "-e", program], check=True, capture_output=True, text=True)
    found, of_inputs = json.loads(done.stdout)
    for a, b in zip((found, *of_inputs), (y, *gradients)):
        np.testing.assert_array_equal(a, b.ravel())


def test_the_command_line_writes_it(tmp_path, capsys):
    assert main(["write", "batch_norm", "--shape", "32,10"]) == 0
    written = capsys.readouterr().out
    assert written == str(trace(derivations.BATCH_NORM, *batch()[:3])) and "# back through (3): (8), (10), (13)" in written
    for name in derivations.__all__:
        shapes = {"group_norm": ["--shape", "4,2,3,2,2"], "linear": ["--shape", "4,6", "--shape", "3,6", "--shape", "3"]}
        assert main(["write", name.lower(), *shapes.get(name.lower(), ["--shape", "4,6"])]) == 0, name
    mine = tmp_path / "mine.py"
    mine.write_text(
        "def layer(x, w, scale=2.0):\n    return (x @ w * scale).tanh()\n\ndef bad(x):\n    return x if x.data[0] > 0 else -x\n"
    )
    assert (
        main(["write", f"{mine}:layer", "--shape", "4,3", "--shape", "3,2", "--dtype", "float32", "-o", str(tmp_path / "b.py")])
        == 0
    )
    assert "w: float32 of shape (3, 2)" in (tmp_path / "b.py").read_text()
    for arguments, said in (
        (["layernorm", "--shape", "3"], "one of your own is FILE.py:NAME"),
        ([f"{mine}:none", "--shape", "3"], "there is no function 'none'"),
        ([f"{mine}:bad", "--shape", "3"], "line 5: return x if x.data[0] > 0 else -x looks inside a number"),
        ([f"{mine}:layer", "--shape", "4,3", "--shape", "4"], "matmul"),
        (["batch_norm", "--shape", "4,3", "-o", "no/such/b.py"], "there is no folder"),
    ):
        assert main(["write", *arguments]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(("value", "name"), [(np.nan, "np.nan"), (np.inf, "np.inf"), (-np.inf, "(-np.inf)")])
def test_constants_that_are_no_numbers_have_numpys_names(value, name):
    assert f"x * {name}\n" in str(trace(lambda x: x * float(value), 1.0))


def test_a_program_is_for_one_kind_of_number():
    program = trace(lambda x: x * x + 1, Decimal(2))
    assert program(Decimal(3)) == 10
    with pytest.raises(TypeError, match="written for Decimal, and this is Fraction"):
        program(Fraction(3))
    for own, other in ((np.float32, np.float64), (np.float64, np.float32)):
        with pytest.raises(TypeError, match=f"written for {own.__name__}, and this is {other.__name__}"):
            trace(lambda x: x * x, np.ones(2, own))(np.ones(2, other))


def test_several_arguments_of_one_name_are_numbered_from_1_and_a_statement_is_a_box():
    program = trace(lambda x, *ws: x * ws[0] + ws[1], 1.0, 2.0, 3.0)
    assert "def forward(x, ws1, ws2):" in str(program)
    assert '[label="t1 = x * ws1"]' in program.dot()


def test_of_two_zeros_the_program_takes_the_engines():
    for f in (F.relu, lambda x: np.maximum(x, 0.0), lambda x: np.maximum(0.0, x)):
        for zero in (-0.0, 0.0):
            assert repr(trace(f, 1.0)(zero)) == repr(f(Tensor(zero)).data)


@pytest.mark.parametrize(
    ("f", "x", "written"),
    [
        (lambda x: x * 2, np.ones(3), "t1 = x * 2.0\ndx = dy * 2.0"),  # with floats NumPy is faster
        (lambda x: x * 2, 1.0, "t1 = x * 2"),
        (lambda x: x[..., 0] * 1.5, np.ones((2, 3)), "dx = np.zeros((2, 3), np.float64)\ndx[..., 0] += "),
        (lambda x: x[[0, 0]] * 1.5, np.ones(3), "np.add.at(dx, [0, 0], "),
        (lambda x: x[0] * x[1], np.array([Decimal(1), Decimal(2)]), "np.zeros((2,), object)"),
        (lambda x: (x.reshape((1, 1)) * 2).sum(), 1.0, "t1 = np.reshape(x, (1, 1))"),
        (lambda x: x.reshape((1, 2)) * 2, np.ones(2), "t1 = x.reshape((1, 2))"),
    ],
)
def test_a_statement_is_written_as_a_person_would(f, x, written):
    assert written in trace(f, x).body(backward=True)


def test_of_many_arguments_the_docstring_has_the_first_and_counts_the_others():
    for n, said in ((1, "v1: a single float64"), (21, "v21: a single float64"), (22, "v20: a single float64\n    … and 2 more\n")):
        program = str(trace(lambda *v: sum(v), *[1.0] * n))
        assert said in program and (" more" in program) == (n > 21)


def test_what_is_repeated_along_a_new_axis_has_that_axis():
    program = trace(lambda x: np.broadcast_to(x, (1, 3)) + 1.0, np.ones(3))
    assert program(np.arange(3.0)).tolist() == [[1, 2, 3]]


def test_a_saved_program_has_its_small_constants_and_says_which_it_has_not(tmp_path):
    masks = [np.array([1.0, -0.0, np.inf]), np.array([1.5, 2.0, 0.1], np.float32), np.arange(3), np.array([True, False, True])]
    large = np.arange(3 * 65.0).reshape(65, 3)

    def f(x):
        y = x * masks[0] + np.where(masks[3], x, masks[2])
        return (y * large).sum(axis=0)

    for function, x in ((f, np.ones(3)), (lambda x: x * masks[1], np.ones(3, np.float32))):
        p = trace(function, x)
        path, scope = p.save(tmp_path / "saved.py"), {}
        exec(path.read_text(encoding="utf-8"), scope)
        given = [a for a in p.arrays if a.size > 64]
        assert [a.size > 64 for a in p.arrays] == sorted([a.size > 64 for a in p.arrays], reverse=True)
        (y, (dx,)), (y_2, (dx_2,)) = scope["gradients"](x, x, *given), p.gradients(x, x)
        for a, b in ((y, y_2), (dx, dx_2), (scope["forward"](x, *given), y)):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        assert ("is not in here (Program.arrays has it), float64 of shape (65, 3)" in str(p)) == bool(given)


def test_a_program_has_no_shape_changed_to_itself_and_names_every_gradient():
    p = trace(lambda x, w: (np.broadcast_to(x.reshape(3).reshape((3,)), (3,)) + w).sum(), np.ones(3), 1.0)
    assert "reshape" not in str(p) and "broadcast" not in p.body() and "dx = np.full((3,), 1.0)" in p.body(backward=True)
    assert p.gradients([1.0, 2.0, 3.0], 2.0)[1][1] == 3
