"""The package's Running: its bound holds for floats, by hand and on random graphs, and the report's verdict follows from it.

Its witness is the Running of ``tests.running``, which has 60 digits and shares no line with it.
"""

import itertools
import json
import sys
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from micrograd_bn import Derivation, derivations, equation, verify
from micrograd_bn import primitives as P
from micrograd_bn.numbers.running import FUNCTION, running
from tests.running import EXACT
from tests.running import running as witness
from tests.strategies import DTYPES, programs, prop
from tests.test_properties import analysed, draw_leaves, gradients

U = np.finfo(np.float64).eps / 2
Float64, Float32 = running(np.float64, np.longdouble), running(np.float32)
X = np.array([0.01, 4.0, 100.0])


def assert_roundings(number, n, of):
    """The error is n roundings of numbers as large as ``of``: to a percent, for they are bounded together."""
    np.testing.assert_allclose(number.error.astype(float), n * U * np.asarray(of), rtol=1e-2, atol=1e-300)


# ---- By hand


def test_a_difference_of_exact_numbers_rounds_its_result_and_of_inexact_ones_brings_their_errors():
    a, b = np.array([1e6]), np.array([1e6 + 1])
    assert_roundings(Float64(a) - b, 1, [1])
    assert_roundings(Float64(a, a * U) - Float64(b, b * U), 1, [2e6 + 2])


def test_a_sum_rounds_its_partial_sums_in_any_order():
    assert_roundings(Float64([[3.0, -4.0, 1.0]]).sum(), 2, 8)
    assert_roundings(Float64(np.ones((3, 2))).sum(axis=0), 2, [3, 3])
    assert_roundings(Float64([1.0, -1.0]) @ Float64([2.0, 2.0]), 2, 4)
    assert_roundings(Float64(np.ones((2, 3))) @ np.ones(3), 3, [3, 3])
    assert_roundings(Float64(np.ones(2**16)).sum(), 31 + 8, 2**16)  # a row in pairs, and so for every 8192
    assert_roundings(np.einsum("i,i->", Float64([1.0, -1.0, 1.0]), np.ones(3)), 6, 3)
    assert_roundings(np.cumsum(Float64(np.ones((1, 3))), axis=1), 3, [[1, 2, 3]])


def test_a_product_rounds_at_every_factor_and_a_change_of_type_once():
    assert_roundings(Float64([2.0, 3.0, -4.0]).prod(), 9, 24)  # of itself, and of the two that the error is computed from
    assert_roundings(Float64(X).astype(np.float64), 1, X)
    assert_roundings(Float64(X, X) ** 0, FUNCTION, [1, 1, 1])
    assert_roundings(np.square(Float64(X)), FUNCTION, X**2)
    assert_roundings(Float64([0.0, 4.0]) ** 1.5, FUNCTION, [0, 8])
    with np.errstate(invalid="ignore"):
        assert np.sqrt(Float64([0.0])).error < 1e-300


def test_what_is_cast_to_a_narrower_float_is_rounded_as_that_is_from_then_on():
    x = Float64(X).astype(np.float32)
    np.testing.assert_allclose(x.error.astype(float), X * np.finfo(np.float32).eps / 2, rtol=1e-2)
    np.testing.assert_allclose((x * Float32(X)).error.astype(float), X * X * np.finfo(np.float32).eps, rtol=1e-2)
    assert_roundings(Float32(X).astype(np.float64), 2**29, X)  # its own, as those of a gradient are, cast back

    @equation(1, "y", "x in float32")
    def narrowed(x, w):
        return P.astype(x, dtype=np.dtype(np.float32)) * w

    assert verify(np.array([0.1, 0.2, 0.7]), w=1.1, derivation=Derivation("narrowed", [narrowed], shapes={"x": ("m",), "w": ()})).ok


def test_what_is_put_together_keeps_its_errors_and_what_has_no_rule_says_so():
    assert np.concatenate([Float64(X), Float64(X, X)]).error.tolist() == [0, 0, 0, *X]
    with pytest.raises(TypeError, match="arctan"):
        np.arctan(Float64(X))


@pytest.mark.parametrize("exponent", [-1, -0.5, 0.5, 1, 1.5, 2, 3])
def test_a_power_carries_an_error_along_by_its_slope(exponent):
    error = 1e-6 * X
    slope = abs(exponent) * X ** (exponent - 1)
    np.testing.assert_allclose((Float64(X, error) ** exponent).error.astype(float), slope * error, rtol=1e-5)


def test_a_power_of_two_that_have_errors_is_bounded_by_the_slopes_of_both():
    a, n, far, more = np.array([100.0, 0.5]), np.array([2.0, -1.5]), np.array([1e-6, 1e-8]), np.array([1e-8, 1e-7])
    y = np.power(Float64(a, far), Float64(n, more))
    for one, other in itertools.product((-1, 1), repeat=2):
        assert np.all(abs((a + one * far) ** (n + other * more) - a**n) <= y.error)
    assert np.all(y.error <= 1.01 * a**n * (abs(n) / a * far + abs(np.log(a)) * more))


@pytest.mark.parametrize("function", [np.sqrt, np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos, np.tanh])
def test_a_function_carries_an_error_along_by_its_steepest_slope_and_rounds(function):
    """Nowhere within the error is the function further away; at one end it is, but for those that are bounded by a slope of 1."""
    x, error = np.array([0.3, 0.7]), np.array([0.1, 1e-3])
    y = function(Float64(x, error))
    for away in np.linspace(-1, 1, 21):
        assert np.all(np.abs(function(x + away * error) - y.value) <= y.error)
    slopes = {np.sqrt: 0.5 / np.sqrt(x - error), np.log: 1 / (x - error), np.log1p: 1 / (1 + x - error)}
    steepest = slopes.get(function, np.exp(x + error) if function in (np.exp, np.expm1) else 1)
    assert np.all(y.error <= 1.0001 * steepest * error)
    assert np.all(function(Float64(x)).error >= (1 if function is np.sqrt else FUNCTION) * U * np.abs(function(x)))


def test_of_what_may_have_left_the_range_or_its_domain_nothing_is_known():
    with np.errstate(all="ignore"):
        near_0 = Float32([1.0], [2.0])
        for lost in (
            *(1 / Float32([1.0], [error]) for error in (1.0, 1.5, 2.0)),
            np.log(near_0),
            np.sqrt(near_0),
            near_0**-1,
            near_0**1.5,
            Float32([1e30]) ** 2,
            Float32([1e30]) * 1e9,
        ):
            assert lost.error == np.inf
    assert (near_0**-1).error == np.inf  # and no warning
    for n in (2048, 4000):  # from 2048 on another 1 adds nothing
        assert running(np.float16)(np.ones((n, 1))).sum(axis=0).error == np.inf


def test_the_larger_of_two_has_its_own_error_where_it_is_the_larger_beyond_doubt():
    one = Float64([1.0, 1.0], [0.1, 0.1])
    np.testing.assert_allclose(np.maximum(one, Float64([0.0, 0.9], [0.5, 0.5])).error.astype(float), [0.1, 0.5])
    np.testing.assert_allclose(np.minimum(one, Float64([0.0, 0.9], [0.5, 0.5])).error.astype(float), [0.5, 0.5])


def test_a_number_of_python_is_rounded_to_the_dtype_as_numpy_rounds_it():
    assert (Float32(np.array([1.0], np.float32)) * 0.1).value == np.float32(0.1)


def test_decimals_have_their_digits():
    with localcontext() as context:
        context.prec = 50
        number = running(object)
        y = np.sqrt((number(np.array([Decimal(2), Decimal(3)], dtype=object)) ** 2).sum(axis=0) / 3)
        two = number(np.array(Decimal(2)))
        assert [function(two).value[()] for function in (np.log, np.exp, np.expm1)] == [
            Decimal(2).ln(), Decimal(2).exp(), Decimal(2).exp() - 1
        ]  # fmt: skip
        assert isinstance(np.tanh(two).value[()], Decimal)
    assert isinstance(y.value[()], Decimal)
    assert 1e-50 < float(y.error) < 1e-47


def test_it_does_not_become_an_array_without_its_error():
    with pytest.raises(TypeError, match=r"take its \.value"):
        np.asarray(Float64(X))


# ---- On random graphs


@prop(30, data=st.data(), program=programs(), dtype=st.sampled_from(DTYPES))
def test_floats_stay_within_the_bound(data, program, dtype):
    """The exact numbers are the witness's. It gives up where a comparison is in doubt, which here goes by the values."""
    leaves, dy = draw_leaves(data, program, dtype)
    number = running(dtype)
    with np.errstate(all="ignore"):
        try:
            exact = analysed(program, leaves, dy, witness(dtype))
            floats = gradients(program, leaves, dy)
        except (OverflowError, ZeroDivisionError):
            assume(False)
        bounds = gradients(program, [number(a) for a in leaves], number(dy))
    for got, bound, true in zip(floats, bounds, exact):
        for index in np.ndindex(np.shape(got)):
            number, error = np.asarray(true, dtype=object)[index], getattr(bound, "error", np.zeros(np.shape(got)))[index]
            if getattr(number, "error", np.inf) < np.inf and error < np.inf:
                assert abs(float(EXACT.mpf(float(np.asarray(got)[index])) - number.value)) <= error


@pytest.mark.parametrize("n", [1, 7, 8, 127, 129, 1000, 8193, 100_000])
@pytest.mark.parametrize("step", [1, -1, 2])
def test_a_row_is_added_up_in_pairs(n, step):
    """The one sum whose order is known: not n roundings of it."""
    row = np.random.default_rng(n).uniform(0.5, 1.5, 2 * n).astype(np.float32)[::step][:n]
    total = Float32(row).sum()
    assert abs(row.sum() - total.value) <= total.error <= min(n, 50) * 6e-8 * np.abs(row).sum()


# ---- The report


ALL = [getattr(derivations, name) for name in derivations.__all__]


def random_batches(n):
    """Of any derivation: offsets to 1e8, scales from 1e-6 to 1e6, float32 and float64."""
    random = np.random.default_rng(0)
    for i in range(n):
        d = ALL[i % len(ALL)]
        shape = tuple(int(size) for size in random.integers(2, 7, len(d.shapes[d.inputs[0]])))
        offset = 10.0 ** random.uniform(-2, 8) * random.choice([-1, 0, 1])
        x = random.normal(size=shape) * 10.0 ** random.uniform(-6, 6) + offset
        yield d, x.astype(random.choice(["float32", "float64"]))


def test_no_false_alarm_and_an_error_of_100_times_the_bound_in_any_one_entry_is_seen(monkeypatch):
    """1,000 reports; in each line of each, an error is planted in one of the entries that have a bound."""
    report, random, lines = sys.modules["micrograd_bn.verify"], np.random.default_rng(1), []
    row = report._row
    monkeypatch.setattr(report, "_row", lambda line, d: lines.append((line, d)) or row(line, d))
    monkeypatch.setattr(Derivation, "check_latex", lambda d: None)  # which has been checked, and takes a while
    planted = unknown = 0
    for d, x in random_batches(1000):
        assert verify(x, derivation=d).ok, (d, x)
        for (number, entry, got, expected, bound), _ in lines:
            got, bound = np.array(got), np.broadcast_to(np.asarray(bound, dtype=float), np.shape(got))
            places = np.argwhere((bound > 0) & np.isfinite(bound) & (bound < np.finfo(got.dtype).max / 1000))
            unknown += not np.isfinite(bound).all()
            if len(places):
                index = tuple(random.choice(places))
                got[index] += random.choice([-100, 100]) * bound[index]
                assert not row((number, entry, got, expected, bound), d).ok, (d, number, index, x)
                planted += 1
        lines.clear()
    assert planted > 12_000
    assert 0 < unknown < 500  # condensed forms alone, of batches that lie too far from 0 for their dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_report_is_as_strict_far_from_0_as_near_it(dtype):
    """μ and σ² are exact inputs to both sides, so that only the mean itself, and what collects terms, know of an offset."""
    x = np.random.default_rng(0).integers(-8, 9, (10, 3)) / 4.0  # with an offset of 1000 exact in both
    near, far = (verify((x + offset).astype(dtype)) for offset in (0, 1000))
    eps = np.finfo(dtype).eps
    for a, b in list(zip(near.rows, far.rows))[1:-1]:
        assert b.bound == pytest.approx(a.bound, rel=0.01, abs=float(eps))
    assert near.rows[15].name == "dβ" and near.rows[15].bound <= 2 * 10 * 20 * eps  # 10 roundings on either side of Σ |dy|


def test_where_rounding_may_make_anything_of_a_row_the_report_says_so_and_that_is_no_alarm():
    report = verify(np.random.default_rng(0).normal(1e4, 1e-3, (50, 2)).astype(np.float32))
    assert report.ok
    assert [row.number for row in report.rows if row.bound is None] == ["condensed"]
    assert "no bound" in str(report)
    assert "19 of 19 rows agree" in str(report)
    assert "1 without a bound: with the digits of float32, rounding may make anything of these numbers." in str(report)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"][-1]["bound"] is None
