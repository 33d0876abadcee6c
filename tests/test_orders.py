"""Derivatives of every order, by differentiating gradients again."""

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, grad, scalars
from tests.conftest import optional


def test_a_second_derivative_that_pytorch_gets_wrong():
    """pytorch/pytorch#196699: nested forward mode gives −2.132438339486815 there; the value below is the right one."""
    i = np.arange(8.0).reshape(2, 2, 2)

    def f(t):
        x = (i + 1) * t + (i % 3 - 1) * t * t + i
        y = batch_norm(x, np.array([[1.5], [-0.5]]), np.array([[0.25], [1.0]]), eps=0.25, axis=(0, 2))
        return (y * (i + 1)).sum()

    t = Tensor(-6.0)
    (slope,) = grad(f(t), [t])
    (curvature,) = grad(slope, [t])
    assert curvature.data == pytest.approx(-0.20703015646993195, abs=1e-9)

    # … as 30-digit central differences say, on the same function and with no engine.
    mpmath = optional("mpmath")
    with mpmath.workdps(40):
        i = np.vectorize(lambda number: mpmath.mpf(float(number)), otypes=[object])(i)

        def exact(t):
            x = (i + 1) * t + np.array([-1, 0, 1, -1, 0, 1, -1, 0]).reshape(2, 2, 2) * t * t + i
            gamma, beta = (np.array([[mpmath.mpf(a)], [mpmath.mpf(b)]]) for a, b in ((1.5, -0.5), (0.25, 1)))
            return (batch_norm(x, gamma, beta, eps=mpmath.mpf(0.25), axis=(0, 2)) * (i + 1)).sum()

        assert float(mpmath.diff(exact, -6, 2)) == pytest.approx(-0.20703015646993195, abs=1e-15)


def test_orders_one_to_five_on_an_array_and_on_scalars():
    """The k-th derivative of a batch norm along a direction, against mpmath's numerical ones in 60 digits."""
    mpmath = optional("mpmath")
    random = np.random.default_rng(0)
    x, v, w = (random.normal(size=(4, 2)) for _ in range(3))

    def exact(t):
        lifted = [np.vectorize(lambda n: mpmath.mpf(float(n)), otypes=[object])(a) for a in (x, v, w)]
        return (batch_norm(lifted[0] + t * lifted[1], mpmath.mpf(2), mpmath.mpf(0), mpmath.mpf("0.5")) * lifted[2]).sum()

    with mpmath.workdps(60):
        expected = [float(mpmath.diff(exact, 0, k)) for k in range(1, 6)]
    for build in (lambda t: x + t * v, lambda t: scalars(x) + scalars(v) * t):
        t = Tensor(0.0)
        derivative = (batch_norm(build(t), 2.0, 0.0, 0.5) * w).sum()
        found = []
        for _ in range(5):
            (derivative,) = grad(derivative, [t])
            found.append(derivative.data)
        # Each order adds and cancels larger terms than the last.
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_hessian_vector_product_is_symmetric():
    random = np.random.default_rng(0)
    x = Tensor(random.normal(size=(5, 2)))
    u, v, w = (random.normal(size=(5, 2)) for _ in range(3))
    (g,) = grad((batch_norm(x, 1.5, 0.0) * w).tanh().sum(), [x])
    (hu,), (hv,) = grad((g * u).sum(), [x]), grad((g * v).sum(), [x])
    assert np.sum(hu.data * v) == pytest.approx(np.sum(hv.data * u), rel=1e-10)


def test_a_gradient_penalty_trains():
    """The squared norm of dl/dx in the loss: one gradient inside, another one through it."""
    random = np.random.default_rng(0)
    data, target, direction = random.normal(size=(16, 3)), random.normal(size=(16, 1)), random.normal(size=(3, 1))
    weights = random.normal(size=(3, 1))

    def penalised(weights):
        x = Tensor(data)
        loss = ((batch_norm(x, 1.0, 0.0) @ weights - target).tanh() ** 2).mean()
        (dx,) = grad(loss, [x])
        return loss + 10 * (dx**2).sum()

    h = 1e-6
    w = Tensor(weights)
    penalised(w).backward()
    measured = (penalised(weights + h * direction).item() - penalised(weights - h * direction).item()) / (2 * h)
    assert np.sum(w.grad * direction) == pytest.approx(measured, rel=1e-6)

    losses = []
    for _ in range(60):
        w = Tensor(weights)
        total = penalised(w)
        total.backward()
        losses.append(total.item())
        weights = weights - 0.5 * w.grad
    assert losses[-1] < 0.5 * losses[0]
