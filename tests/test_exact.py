"""The engine never looks inside a number: Decimal, Fraction, mpmath and SymPy go through the same lines as floats."""

from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, grad, scalars, verify
from micrograd_bn.batchnorm import mean, variance
from micrograd_bn.kinds import explain_kinds
from micrograd_bn.primitives import NONE
from tests.conftest import optional

X, DY = (np.random.default_rng(seed).normal(size=(8, 3)) for seed in (0, 1))


def arrays(kind):
    """x, dy, gamma, beta and eps of one kind of number."""

    def convert(array):
        return np.vectorize(lambda number: kind(repr(float(number))), otypes=[object])(array)

    return convert(X), convert(DY), convert([1.5, -0.5, 2.0]), convert([0.0, 1.0, 3.0]), kind("1e-5")


def gradients(x, dy, gamma, beta, eps):
    """dx and dgamma, by the engine and by the formulas."""
    tensors = Tensor(x), Tensor(gamma), Tensor(beta)
    batch_norm(*tensors, eps).backward(dy)
    on_paper = batch_norm_backward(dy, x, gamma, eps)
    return (tensors[0].grad, tensors[1].grad), (on_paper.x, on_paper.gamma)


def test_composed_and_closed_form_agree_in_sixty_digits():
    with localcontext() as context:
        context.prec = 60
        for engine, paper in zip(*gradients(*arrays(Decimal))):
            assert isinstance(engine.flat[0], Decimal)
            assert np.abs(engine - paper).max() < Decimal("1e-55")


def test_mpmath():
    mpmath = optional("mpmath")
    with mpmath.workdps(60):
        for engine, paper in zip(*gradients(*arrays(mpmath.mpf))):
            assert isinstance(engine.flat[0], mpmath.mpf)
            assert np.abs(engine - paper).max() < mpmath.mpf("1e-55")


def test_fractions_are_exact_up_to_the_square_root():
    x, dy, gamma, beta, eps = arrays(Fraction)
    mu = mean(x)
    assert mu[0, 0] == sum(x[:, 0]) / 8
    assert variance(x, mu)[0, 0] == sum((number - mu[0, 0]) ** 2 for number in x[:, 0]) / 8
    t = Tensor(x)
    ((t - t.mean(axis=0, keepdims=True)) ** 2 / 3 * t).backward(dy)
    assert all(isinstance(number, Fraction) for number in t.grad.flat)
    assert isinstance(batch_norm(x, gamma, beta, eps)[0, 0], float)


def test_symbols():
    sympy = optional("sympy")
    a, b, gamma, eps = sympy.symbols("a b gamma eps", positive=True)
    x = Tensor(np.array([a, b]))
    y = batch_norm(x, gamma, 0, eps)
    assert sympy.simplify(y.data[0] - gamma * (a - b) / 2 / sympy.sqrt((a - b) ** 2 / 4 + eps)) == 0
    y.backward(np.array([1, 0]))
    assert sympy.simplify(x.grad[0] - y.data[0].diff(a)) == 0


def test_a_float_that_was_multiplied_by_a_symbol_has_a_symbol_for_a_gradient():
    sympy = optional("sympy")
    a, b = sympy.symbols("a b")
    x = Tensor([1.0, 2.0])
    (x * np.array([a, b])).sum().backward()
    assert x.grad.tolist() == [a, b]


@pytest.mark.parametrize("kind", [Decimal, Fraction])
def test_a_single_number_of_any_kind_is_a_scalar_graph(kind):
    a, b = Tensor(kind("0.5")), Tensor(kind("3"))
    y = (a * b + 1 - a / 2) ** 2
    y.backward()
    assert a.grad == 2 * kind("2.25") * kind("2.5")
    assert isinstance(a.grad, kind)


def test_relu_of_exact_numbers_cuts_at_0():
    numbers = [Decimal(n) for n in ("-2", "-0.5", "0", "0.5", "2")]
    assert Tensor(np.array(numbers)).relu().data.tolist() == [0, 0, 0, Decimal("0.5"), 2]
    assert [Tensor(number).relu().data for number in numbers] == [0, 0, 0, Decimal("0.5"), 2]


def test_relu_keeps_the_kind_of_number_where_it_is_0():
    x = Tensor(np.array([Decimal(-1), Decimal(2)]))
    y = x.relu().exp()
    y.backward(np.array([Decimal(1), Decimal(1)]))
    assert y.data.tolist() == [1, Decimal(2).exp()]
    assert x.grad.tolist() == [0, Decimal(2).exp()]


def test_one_decimal_broadcast_over_several_axes_gets_a_gradient_of_its_own_shape():
    one = Tensor(np.array([Decimal(2)]))
    (one * np.array([[Decimal(1), Decimal(2)], [Decimal(3), Decimal(4)]])).sum().backward()
    assert one.grad.tolist() == [Decimal(10)]


def test_an_array_of_decimals_as_scalars():
    with localcontext() as context:
        context.prec = 30
        x = scalars(arrays(Decimal)[0][:3, 0])
        y = batch_norm(x, Decimal(2), Decimal(0), Decimal("1e-5"))
        y[0].backward()
        assert abs(sum(node.grad for node in x)) < Decimal("1e-28")


def test_the_report_in_fifty_digits():
    with localcontext() as context:
        context.prec = 50
        report = verify(arrays(Decimal)[0])
    assert report.ok
    assert len(report.rows) == 20
    assert report.max_error < 1e-46
    assert 0 < report.rows[2].error <= report.rows[2].bound  # held against itself in twice the digits
    assert "Decimal with 50 digits" in str(report)


def test_the_report_in_fifty_digits_notices_a_mistake_in_the_fortieth():
    x, dy, *_ = arrays(Decimal)
    record = Tensor.record

    def record_almost(primitive, inputs, params=NONE):
        if primitive.name != "sqrt":
            return record(primitive, inputs, params)
        return record(replace(primitive, vjp=lambda g, y, a: (g / (2 * y) * (1 + Decimal("1e-40")),)), inputs, params)

    with localcontext() as context, pytest.MonkeyPatch.context() as patch:
        context.prec = 50
        patch.setattr(Tensor, "record", staticmethod(record_almost))
        assert {row.number for row in verify(x, dy=dy).rows[:13] if not row.ok} == {"(8)"}


def test_the_report_refuses_a_kind_it_cannot_measure():
    with pytest.raises(TypeError, match="Fraction"):
        verify(arrays(Fraction)[0])
    with pytest.raises(ValueError, match=r"x\[1\] is NaN"):
        verify(np.array([Decimal(1), Decimal("NaN")]))
    with pytest.raises(ZeroDivisionError, match="constant"):
        verify(np.array([Decimal(1), Decimal(1)]), eps=0)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, dy, gamma, beta, eps: batch_norm(x, gamma, beta),
        lambda x, dy, gamma, beta, eps: batch_norm(Tensor(x), gamma, beta),
        lambda x, dy, gamma, beta, eps: batch_norm(x, 0.5, beta, eps),
        lambda x, dy, gamma, beta, eps: batch_norm(Tensor(x), gamma, beta, eps).backward(DY),
        lambda x, dy, gamma, beta, eps: batch_norm_backward(DY, x, gamma, eps),
        lambda x, dy, gamma, beta, eps: Tensor(x) * 0.5,
    ],
)
def test_kinds_that_do_not_mix_raise_their_own_error_and_a_line_that_helps(mix):
    with pytest.raises(
        TypeError, match=r"unsupported operand.*\nDecimal and float do not mix: convert .*by Decimal\(str\(value\)\)"
    ):
        mix(*arrays(Decimal))


def test_what_to_convert_to_is_the_other_kind_than_float_whatever_its_name():
    mpf = optional("mpmath").mpf
    assert "float and mpf do not mix: " in str(explain_kinds(TypeError("no"), [1.0, mpf(1)]))
    assert "by mpf(str(value))" in str(explain_kinds(TypeError("no"), [1.0, mpf(1)]))


def test_a_function_that_a_kind_has_neither_of_its_own_nor_by_another_is_said_to_be_missing():
    with pytest.raises(TypeError, match="Fraction has no log: convert to a kind of number that has"):
        Tensor(Fraction(1, 2)).log()


def test_an_exponent_is_not_taken_for_another_that_equals_it():
    """Decimal ** 7 is a Decimal, Decimal ** 7.0 an error: the cache of bound primitives has to tell them apart."""
    assert (Tensor(2.0) ** 7.0).data == (Tensor(Decimal(2)) ** 7).data == 128


def test_a_power_of_one_at_zero():
    """The general rule asks for 0 ** 0, which Decimal has not."""
    x = Tensor(np.array([Decimal(0), Decimal(3)]))
    (x**1).backward(np.array([Decimal(1), Decimal(2)]))
    assert x.grad.tolist() == [1, 2]


FUNCTIONS = {
    "exp": lambda t: t.exp(),
    "expm1": np.expm1,
    "log": lambda t: t.log(),
    "log1p": np.log1p,
    "sqrt": lambda t: t.sqrt(),
    "sin": lambda t: t.sin(),
    "cos": lambda t: t.cos(),
    "tanh": lambda t: t.tanh(),
    "sigmoid": lambda t: t.sigmoid(),
    "abs": lambda t: abs(-t),
    "relu": lambda t: t.relu(),
    "t ** t": lambda t: t**t,
    "2 ** t": lambda t: 2**t,
    "maximum": lambda t: np.maximum(t, 1),
    "where": lambda t: np.where(t > 1, t * t, t),
    "clip": lambda t: t.clip(0, 2) * t,
    "prod": lambda t: np.stack([t, t, t]).prod(axis=0),
    "cumsum": lambda t: t.cumsum() * t,
    "einsum": lambda t: np.einsum("...,...->...", t, t),
    "integers": lambda t: (t * np.array([1, 2])).sum(axis=-1),
    "norm": lambda t: (3 * t).norm(),
    "logsumexp": lambda t: np.stack([t, 2 * t]).logsumexp(axis=0),
    "softmax": lambda t: np.stack([t, 2 * t]).softmax(axis=0)[0],
    "var": lambda t: np.stack([t, 2 * t]).var(axis=0, ddof=1),
    "mean": lambda t: np.stack([t, 3 * t]).mean(axis=0),
    "max": lambda t: np.stack([t, 2 * t]).max(axis=0),
    "min": lambda t: np.stack([t, 2 * t]).min(axis=0),
    "minimum": lambda t: np.minimum(2 * t, t * t),
    "std": lambda t: np.stack([t, 3 * t]).std(axis=0),
    "log_softmax": lambda t: np.stack([t, 2 * t]).log_softmax(axis=0)[0],
    "@": lambda t: np.stack([t, t * t]).ravel() @ np.stack([t, 2 * t]).ravel(),
    "dot": lambda t: np.stack([t, t * t]).ravel().dot([1, 2]),
    "outer": lambda t: np.outer(t, np.stack([t, t * t])),
    "tensordot": lambda t: np.tensordot(np.stack([t, t * t]).ravel(), np.stack([t, t]).ravel(), 1),
    "shapes": lambda t: np.squeeze(np.repeat(np.moveaxis(np.expand_dims(np.stack([t * t, t]), 0), 0, -1), 2, axis=0), -1)[1:],
    "concatenate": lambda t: np.concatenate([np.stack([t, t * t]), np.stack([t])]).swapaxes(0, -1),
}


def derivatives(function, number):
    t = Tensor(number)
    y = function(t).sum()
    y.backward()
    (first,) = grad(y, [t])
    (second,) = grad(first.sum(), [t])
    return y.data, t.grad, first.data, second.data


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("boxed", [lambda number: number, lambda number: np.array([number], dtype=object)], ids=["bare", "array"])
@pytest.mark.parametrize("kind", ["Decimal", "mpf", "Symbol"])
def test_every_function_goes_with_every_kind_of_number(name, kind, boxed):
    """To second order, and the results are of the same kind; where a kind has no such function, that is said."""
    sympy, mpmath = optional("sympy"), optional("mpmath")
    number = {"Decimal": Decimal("1.5"), "mpf": mpmath.mpf("1.5"), "Symbol": sympy.Symbol("x", positive=True)}[kind]
    function = FUNCTIONS[name]
    if kind == "Decimal" and name in ("sin", "cos"):
        with pytest.raises(TypeError, match=f"Decimal has no {name}: convert to a kind of number that has"):
            function(Tensor(boxed(number)))
        return
    if kind == "Symbol" and name in ("maximum", "minimum", "where", "clip"):
        with pytest.raises(TypeError, match="truth value"):  # SymPy's own: is x > 1?
            function(Tensor(boxed(number)))
        return
    found = derivatives(function, boxed(number))
    expected = derivatives(function, np.asarray(boxed(1.5), dtype=float))
    for got, want in zip(found, expected):
        got = np.asarray(got, dtype=object).reshape(-1)[0]
        assert isinstance(got, (type(number), sympy.Basic) if kind == "Symbol" else type(number))
        value = got.subs(number, 1.5) if kind == "Symbol" else got
        assert float(value) == pytest.approx(float(np.ravel(want)[0]), rel=1e-12, abs=1e-12)
