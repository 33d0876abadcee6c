"""Sigmoid, LayerNorm, BatchNorm without a bias; and eps and momentum, which are plain numbers whatever they came as."""

import math
import warnings

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, nn
from micrograd_bn.batchnorm import variables
from micrograd_bn.check import gradcheck

# ---- Sigmoid


def test_sigmoid_is_a_half_at_zero_where_it_rises_by_a_quarter():
    x = Tensor(np.zeros(2))
    y = nn.Sigmoid()(x)
    y.backward(np.ones(2))
    assert (y.data.tolist(), x.grad.tolist()) == ([0.5, 0.5], [0.25, 0.25])


def test_sigmoid_has_all_its_digits_where_exp_would_overflow_or_one_plus_it_would_round():
    x = Tensor([-1000.0, -700.0, -40.0, -1.0, 1.0, 40.0, 1000.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = nn.Sigmoid()(x)
        y.backward(np.ones(7))
    expected = [math.exp(v) / (1 + math.exp(v)) if v < 0 else 1 / (1 + math.exp(-v)) for v in x.data]
    np.testing.assert_allclose(y.data, expected, rtol=1e-15, atol=0)
    np.testing.assert_allclose(x.grad[:4], [v * (1 - v) for v in expected[:4]], rtol=1e-15, atol=0)
    np.testing.assert_allclose(x.grad[4:], [v * (1 - v) for v in expected[4:]], atol=1e-16)


def test_sigmoids_gradient_and_dtype(random):
    assert gradcheck(nn.Sigmoid(), random.normal(size=(3, 4)))
    assert nn.Sigmoid()(np.zeros(3, np.float32)).data.dtype == np.float32


# ---- LayerNorm


@pytest.mark.parametrize(("normalized_shape", "axis"), [(5, -1), ((5,), -1), ([3, 5], (-2, -1)), ((4, 3, 5), (0, 1, 2))])
def test_layer_norm_is_batch_norms_equations_over_the_last_axes(random, normalized_shape, axis):
    norm = nn.LayerNorm(normalized_shape, dtype=np.float64)
    norm.weight.data, norm.bias.data = random.normal(size=norm.weight.shape), random.normal(size=norm.bias.shape)
    x = random.normal(3, 2, size=(4, 3, 5))
    y = norm(x)
    np.testing.assert_array_equal(y.data, batch_norm(x, norm.weight.data, norm.bias.data, 1e-5, axis))
    assert [variables(y)[name].equation.number for name in ("mu", "var", "x_hat", "y")] == [1, 2, 3, 4]
    assert (variables(y)["gamma"], variables(y)["beta"]) == (norm.weight, norm.bias)
    np.testing.assert_array_equal(norm.eval()(x).data, y.data)


def test_layer_norm_without_weights(random):
    x = random.normal(3, 2, size=(4, 5)).astype(np.float32)
    assert list(nn.LayerNorm(5, elementwise_affine=False).state_dict()) == []
    assert list(nn.LayerNorm(5, bias=False).state_dict()) == ["weight"]
    for norm in (nn.LayerNorm(5, elementwise_affine=False), nn.LayerNorm(5, bias=False), nn.LayerNorm(5)):
        y = norm(x).data
        assert y.dtype == np.float32
        np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-6)
        np.testing.assert_allclose(y.std(axis=1), 1, atol=1e-5)


# ---- BatchNorm without a bias


@pytest.mark.parametrize("fused", [False, True])
def test_batch_norm_without_a_bias_scales_and_does_not_shift(random, fused):
    norm = nn.BatchNorm1d(3, bias=False, dtype=np.float64, fused=fused)
    assert norm.bias is None
    assert [name for name, _ in norm.named_parameters()] == ["weight"]
    norm.weight.data = np.array([1.0, 2.0, 3.0])
    x = random.normal(3, 2, size=(8, 3))
    np.testing.assert_allclose(norm(x).data, batch_norm(x, norm.weight.data, 0.0), rtol=1e-12, atol=1e-14)
    norm(x).backward(random.normal(size=(8, 3)))
    assert norm.weight.grad.shape == (3,)
    assert norm.eval()(x).shape == (8, 3)


# ---- eps and momentum


@pytest.mark.parametrize("make", [lambda eps: nn.BatchNorm1d(3, eps=eps), lambda eps: nn.LayerNorm(3, eps=eps)])
def test_eps_is_a_plain_number_and_leaves_float32_alone(make):
    norm, x = make(np.float64(1e-5)), np.eye(4, 3, dtype=np.float32)
    assert type(norm.eps) is float
    assert norm(x).data.dtype == np.float32
    norm.eps = np.float64(0.1)
    assert type(norm.eps) is float
    assert norm(x).data.dtype == np.float32


def test_momentum_is_a_plain_number_or_none_and_leaves_float32_alone():
    norm, x = nn.BatchNorm1d(3, momentum=np.float64(0.5)), np.eye(4, 3, dtype=np.float32)
    for momentum in (np.float64(0.5), np.array(0.25), None):
        norm.momentum = momentum
        assert type(norm.momentum) in (float, type(None))
        norm(x)
        assert norm.running_mean.dtype == norm.running_var.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.BatchNorm1d(3, eps=-1e-5), ValueError, r"BatchNorm1d's eps is -1e-05, and should be 0 or more"),
        (lambda: nn.BatchNorm1d(3, momentum=1.5), ValueError, r"momentum is 1\.5, and should be from 0 to 1.*newest batch"),
        (lambda: nn.BatchNorm1d(3, momentum="0.1"), TypeError, r"momentum is '0\.1', and should be a number"),
        (lambda: nn.LayerNorm(3, eps=None), TypeError, r"LayerNorm's eps is None, and should be a number"),
        (lambda: nn.LayerNorm(3, eps=np.nan), ValueError, "eps is nan"),
        (lambda: nn.LayerNorm(3)(np.ones((5, 4))), ValueError, r"LayerNorm\(\(3,\)\) takes \(…, 3\), and this has shape \(5, 4\)"),
        (lambda: nn.LayerNorm((2, 3))(np.ones((2, 4, 3))), ValueError, r"takes \(…, 2, 3\), and this has shape \(2, 4, 3\)"),
        (lambda: nn.LayerNorm((2, 3))(np.ones(3)), ValueError, r"takes \(…, 2, 3\), and this has shape \(3,\)"),
        (lambda: nn.LayerNorm(()), ValueError, r"LayerNorm normalizes over the last axes, and \(\) names none"),
        (lambda: nn.LayerNorm(3)(Tensor(np.ones((5, 3)))), TypeError, "float64 meets float32"),
    ],
)  # fmt: skip
def test_errors_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()
