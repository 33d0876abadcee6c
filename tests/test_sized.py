"""The size of what a formula adds up: exact numbers round their result, sums count their terms, functions go by their slope."""

from decimal import Decimal

import numpy as np
import pytest

from micrograd_bn.numbers.sized import Sized, rounded, sized

X = np.array([0.01, 4.0, 100.0])


def test_a_difference_of_exact_numbers_is_as_large_as_its_result_and_of_rounded_ones_as_its_terms():
    a, b = np.array([1e6]), np.array([1e6 + 1])
    assert (sized(a) - b).size == 1
    assert (rounded(a) - rounded(b)).size == 2e6 + 1


def test_a_sum_is_as_large_as_its_terms():
    assert sized(np.array([3.0, -4.0])).sum().size == 7
    assert sized(np.array([3.0, -4.0])).mean().size == 3.5


@pytest.mark.parametrize("exponent", [-1, -0.5, 0.5, 1, 1.5, 2, 3])
def test_a_power_carries_along_by_its_slope(exponent):
    """∂aⁿ/∂a · the size of a, measured by a small change of a, where that is more than the result itself."""
    brought = 1e6 * X
    h = 1e-6 * X
    slope = np.abs((X + h) ** exponent - (X - h) ** exponent) / (2 * h)
    np.testing.assert_allclose((Sized(X, brought) ** exponent).size, slope * brought, rtol=1e-6)


@pytest.mark.parametrize("function", [np.sqrt, np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos, np.tanh])
def test_a_function_carries_along_by_its_slope(function):
    x, brought, h = np.array([0.3, 0.7]), np.array([1e6, 1e6]), 1e-6
    slope = np.abs(function(x + h) - function(x - h)) / (2 * h)
    np.testing.assert_allclose(function(Sized(x, brought)).size, slope * brought, rtol=1e-6)


def test_a_power_of_0_and_decimals():
    assert (Sized(np.array([0.0]), np.array([1.0])) ** 2).size == 0
    assert (Sized(Decimal(4), Decimal(100)) ** 1).size == 100


def test_a_function_whose_slope_is_not_known_is_named():
    with pytest.raises(TypeError, match=r"the size of numpy\.arctan is not known"):
        np.arctan(sized(X))
