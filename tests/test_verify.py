"""The report: twenty rows that agree, on real data and random batches, and that notice when something is wrong."""

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, derivations, equation, primitives, verify
from micrograd_bn.derivation import Edge, Gradient
from micrograd_bn.primitives import NONE
from micrograd_bn.reader import read_batch

SHAPES = [((2, 1), 0), ((3, 5), 0), ((128, 64), 0), ((4, 3, 8, 8), (0, 2, 3)), ((4, 10), -1), ((4, 3, 8), (1, 2))]


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-4)])
def test_iris_agrees_in_all_twenty_rows(dtype, bound):
    report = verify(read_batch(None).data.astype(dtype))
    assert (len(report.rows), report.dtype) == (20, dtype)
    assert report.ok
    assert report.max_error <= bound


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_random_batches_agree(shape, axis, dtype, bound):
    random = np.random.default_rng(1)
    report = verify(random.normal(3, 2, shape).astype(dtype), axis=axis)
    assert report.ok
    assert report.max_error <= bound


def test_layer_norm_with_a_gamma_for_each_feature():
    assert verify(np.random.default_rng(0).normal(size=(4, 10)), gamma=np.arange(1, 11), beta=np.ones(10), axis=-1).ok


def test_the_rows_are_the_tables():
    numbers = [row.number for row in verify([[1.0], [2.0], [4.0]]).rows]
    assert numbers[:13] == [f"({n})" for n in range(1, 14)]
    assert numbers[13:] == ["(5)", "(7)", "(6)", "(8)", "(10) (9)", "(13) (12) (11)", "condensed"]


def test_the_scale_is_meaningful_where_the_value_is_zero():
    """(9) is zero in exact arithmetic; its error counts in proportion to the terms that cancel."""
    row = verify(np.random.default_rng(0).normal(1e3, 1, size=(100, 3))).rows[8]
    assert row.name == "∂σ²/∂μ"
    assert row.bound < 1e-11  # of a hundred numbers of about 1


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
def test_a_large_mean_is_no_false_alarm(offset):
    assert verify(np.random.default_rng(0).normal(offset, 1, size=(50, 2))).ok


# A VJP with a mistake in it → the local derivatives that must notice, and no others. A wrong sign in sub leaves (9) at 0.
MISTAKES = {
    "mul": (lambda g, y, a, b: (g * b, g), {"(5)"}),
    "add": (lambda g, y, a, b: (g, 2 * g), {"(6)"}),
    "sqrt": (lambda g, y, a: (g / y,), {"(8)"}),
    "div": (lambda g, y, a, b: (g / b, g * (y / b)), {"(8)"}),
    "sub": (lambda g, y, a, b: (g, g), {"(10)"}),
    "pow": (lambda g, y, a, exponent: (g * a,), {"(12)"}),
    "mean": (lambda g, y, a, axis, keepdims: (primitives.spread(g, a, 0),), {"(11)", "(12)"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_vjp_is_noticed_where_it_is(name, monkeypatch):
    wrong, expected = MISTAKES[name]
    record = Tensor.record

    def record_wrongly(primitive, inputs, params=NONE):
        return record(replace(primitive, vjp=wrong) if primitive.name == name else primitive, inputs, params)

    monkeypatch.setattr(Tensor, "record", staticmethod(record_wrongly))
    report = verify([[1.0, 5.0], [2.0, 3.0], [6.0, 3.5]])
    assert {row.number for row in report.rows[:13] if not row.ok} == expected
    assert not all(row.ok for row in report.rows[13:])
    assert "✗ differs" in str(report)


def test_the_printed_report_is_a_table_with_a_verdict():
    report = verify([[1.0], [2.0], [4.0]])
    text, row = str(report), report.rows[1]
    assert f"{row.error:.1e}   {row.bound:.1e}   ✓" in text
    assert "∂x̂/∂σ²" in text
    assert text.splitlines()[-3:] == [
        "20 of 20 rows agree within rounding: no error is above its bound.",
        "Bounds are by a running error analysis of both sides. (5) to (13): gradients pulled back.",
        "Not given, so drawn at random: gamma, beta and dy.",
    ]
    assert max(map(len, text.splitlines())) <= 110
    assert [len(part.splitlines()) for part in text.split("\n\n")] == [1, 2 + 4, 9, 7, 3]  # equations, edges, gradients


def test_what_has_no_bound_is_counted_apart():
    """With eps beyond float32's digits, the condensed form is a difference that is all rounding, over nearly 0."""
    report = verify(np.array([[1e8], [1e8 + 8]], np.float32), eps=1e-30)
    assert report.ok and [row.number for row in report.rows if row.bound is None] == ["condensed"]
    text = str(report)
    assert text.count("no bound") == 1
    assert "19 of 19 rows agree" in text
    assert "1 without a bound: with the digits of float32" in text


@pytest.mark.parametrize(("formula", "ok"), [(lambda dy, w: dy * w + 1e6 - 1e6, True), (lambda dy, w: dy * w * (1 + 1e-9), False)])
def test_a_condensed_form_may_round_in_its_own_way_and_is_not_another(formula, ok):
    product, condensed = equation(1, "y")(lambda x, w: x * w), Gradient((2,), "x", function=formula)
    d = Derivation("a product", [product], condensed=[condensed], shapes=dict.fromkeys("xw", ("k",)))
    report = verify([1.0, 2.0, 3.0], derivation=d)
    assert (report.ok, f"{1 + ok} of 2 rows agree" in str(report)) == (ok, True)
    assert str(report).startswith("a product: x of shape (3,), float64")
    assert [row.bound for row in report.rows[1:3]] == [0, 0]  # the engine's own local derivatives


def test_as_text_the_report_is_plain_even_where_colour_is_forced_and_in_jupyter(monkeypatch):
    report = verify([[1.0], [2.0], [6.0]])
    plain = str(report)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(report) == plain
    assert "\x1b" not in plain


def test_the_report_is_json():
    report = verify([[1.0], [2.0], [4.0]])
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["ok"], len(data["rows"]), data["max_error"]) == (True, 20, report.max_error)


def test_the_backward_pass_by_formulas_itself_is_held_against_the_engine(monkeypatch):
    backward = Derivation.backward

    def off(*args, **values):
        gradients = backward(*args, **values)
        return gradients | {"x": -gradients["x"], "beta": gradients["gamma"]}

    monkeypatch.setattr(Derivation, "backward", off)  # what batch_norm_backward returns
    report = verify([[1.0], [2.0], [4.0]])
    assert {row.name for row in report.rows if not row.ok} == {"dx", "dβ"}


def test_an_axis_that_is_none_is_named():
    with pytest.raises(TypeError, match="axis is an integer or a tuple of them, and this is 'a'"):
        verify([[1.0], [2.0]], axis="a")


def test_a_constant_that_is_no_float_stays_what_it_is():
    @equation(1, "y")
    def total(x, axis=None, how="sum", power=2):
        return getattr(x**power, how)(axis=axis)

    d = Derivation("total", [total], shapes={"x": ("m", "k")})
    assert verify([[1.0, 2.0]], derivation=d).ok and verify([[Decimal(1), Decimal(2)]], derivation=d, how="mean", axis=0).ok


def test_an_input_may_be_called_as_a_parameter_is():
    weighted = Derivation("weighted", [equation(1, "y")(lambda w, x: w * x)], shapes={"w": ("k",), "x": ("k",)})
    assert verify([1.0, 2.0], x=[3.0, 4.0], derivation=weighted).ok
    with pytest.raises(ValueError, match=r"x\[1\] is nan"):
        verify([1.0, 2.0], x=[3.0, np.nan], derivation=weighted)
    scaled = Derivation("scaled", [equation(1, "z")(lambda gamma, dy: gamma * dy)], shapes={"gamma": ("k",), "dy": ("k",)})
    assert verify([1.0, 2.0], dy=[3.0, 4.0], dz=[1.0, 1.0], derivation=scaled).ok
    assert verify(gamma=[1.0, 2.0], derivation=scaled).shape == (2,)
    with pytest.raises(ValueError, match=r"dy\[0\] is nan"):
        verify([1.0, 2.0], dy=[np.nan, 4.0], derivation=scaled)


def test_inputs_are_none_of_xs_numbers_again_though_x_may_be_drawn_with_the_same_seed():
    product, wrong = equation(1, "y")(lambda x, w: x * w), Edge(2, "y", "x", function=lambda dy, x: dy * x)
    taken_for_w = Derivation("a product", [product], [wrong], shapes=dict.fromkeys("xw", ("m", "k")))
    assert not verify(np.random.default_rng(0).normal(size=(4, 3)), derivation=taken_for_w).ok


def test_where_no_path_has_a_derivative_the_gradient_is_0():
    held = equation(2, "b")(lambda mu: primitives.stop_gradient(mu))
    mean = equation(1, "mu")(lambda x: x.mean(axis=0, keepdims=True))
    equations = [mean, held, equation(3, "y")(lambda x, b: x - b)]
    assert verify(np.eye(3), derivation=Derivation("held", equations)).ok
    for formula, ok in ((lambda db: db * 0, True), (lambda db: db, False)):
        assert verify(np.eye(3), derivation=Derivation("held", equations, [Edge(4, "b", "mu", function=formula)])).ok is ok


def test_what_is_written_in_brackets_is_shown():
    weigh = equation(1, "y", text="w[i] x[i] [/w]", latex="y = w x")(lambda w, x: w * x)
    d = Derivation("layer [bold]x", [weigh], shapes={"w": ("k",), "x": ("k",)})
    for text in (str(verify([1.0], derivation=d)), verify([1.0], derivation=d)._repr_html_()):
        assert "layer [bold]x" in text and "w[i] x[i] [/w]" in text


def test_the_first_input_is_needed():
    with pytest.raises(TypeError, match="needs the first input of RMS norm, 'x': the others are drawn to fit it"):
        verify(gamma=[1.0, 2.0], derivation=derivations.RMS_NORM)


def test_other_kinds_of_number_are_refused_by_name():
    with pytest.raises(TypeError, match="compares floats or Decimals, and x holds Fraction: convert it"):
        verify(np.array([[Fraction(1)], [Fraction(2)]]))


def test_an_empty_array_of_objects_is_empty():
    with pytest.raises(ValueError, match="empty"):
        verify(np.array([], dtype=object))


def test_a_constant_column_without_eps_is_the_derivations_own_singularity():
    with pytest.raises(ZeroDivisionError, match=r"constant at statistic \[0, 1\]"):
        verify([[1.0, 5.0], [2.0, 5.0]], eps=0.0)
    assert verify([[1.0, 5.0], [2.0, 5.0]]).ok


def test_a_variance_below_the_smallest_float_is_rounding():
    assert verify([[1e-200], [3e-200]]).ok
    assert verify(np.array([[1e-23], [3e-23]], np.float32)).ok


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": [[1.0], [np.nan]]}, r"x\[1, 0\] is nan"),
        ({"dy": [[1.0], [np.inf]]}, r"dy\[1, 0\] is inf"),
        ({"gamma": np.nan}, r"gamma\[\] is nan"),
        ({"x": np.ones((0, 2))}, "empty"),
        ({"gamma": 2.0, "dy": [[1e308], [0.0]]}, r"dx_hat\[0, 0\] is inf, .*: it leaves the range of float64"),
        ({"x": [[1e200], [3e200]]}, r"var\[0, 0\] is inf, .*: x is too large for float64, so divide it"),
        ({"x": [[1.7e308], [1.7e308]]}, r"mu\[0, 0\] is inf"),
        ({"dy": [1.0, 2.0]}, r"of shape \(2, 1\)"),
    ],
)
def test_errors_teach(arguments, message):
    with pytest.raises(ValueError, match=message):
        verify(**{"x": [[1.0], [2.0]]} | arguments)


LOG = Derivation("a log", [equation(1, "y")(lambda x, w: np.log(x) * np.sqrt(w))])
DRAWN = (
    r": not given, so drawn at random: 'w'. Give them, or say where a log is defined, Derivation\(…, domains={'w': 'positive'}\)"
)
WHERE = r": a log, or a derivative of it, is not defined there$"


@pytest.mark.parametrize(
    ("x", "given", "message"),
    [
        ([[3.0, 4.0, 5.0]], {}, r"y\[0, \d\] is nan, .*" + DRAWN),  # of three numbers that are drawn one is below 0
        ([[3.0]], {"w": [-1.0]}, r"y\[0, 0\] is nan, .*" + WHERE),
        ([[0.0]], {"w": [1.0]}, r"y\[0, 0\] is -inf, .*" + WHERE),
        ([[3.0]], {"w": [0.0], "dy": [[1.0]]}, r"dw\[0\] is inf, .*" + WHERE),
        ([[1e-300]], {"w": [1.0], "dy": [[1e10]]}, r"dx\[0, 0\] is inf, .*: it leaves the range of float64, so scale dy, or x"),
    ],
)
def test_what_is_not_finite_has_its_own_reason(x, given, message):
    with pytest.raises(ValueError, match=message):
        verify(x, derivation=LOG, **given)


def test_what_was_drawn_is_told_of_any_derivation():
    product = Derivation("a product", [equation(1, "y")(lambda x, w: x * w)])
    assert verify([[1.0]], derivation=product).drawn == ("w", "dy")
    assert "Not given, so drawn at random: w.\n" in str(verify([[1.0]], derivation=product, dy=[[1.0]])) + "\n"
    given = verify([[1.0]], derivation=product, dy=[[1.0]], w=[1.0])
    assert given.drawn == () and "at random" not in str(given)
