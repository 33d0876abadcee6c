"""HIPS autograd and micrograd as oracles: the same inputs, the same gradients."""

import random

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, grad, scalars
from tests.conftest import optional

autograd = optional("autograd")
anp = optional("autograd.numpy")
Value = optional("micrograd.engine").Value


def composed(x, gamma, beta, eps, axis):
    """Equations (1) to (4) in autograd's NumPy."""
    mu = anp.mean(x, axis=axis, keepdims=True)
    var = anp.mean((x - mu) ** 2, axis=axis, keepdims=True)
    return gamma * ((x - mu) / anp.sqrt(var + eps)) + beta


@pytest.mark.parametrize(("shape", "affine", "axis"), [((8, 3), (3,), 0), ((4, 3, 5, 5), (3, 1, 1), (0, 2, 3)), ((4, 6), (6,), -1)])
def test_the_same_gradients_as_autograd_to_second_order(shape, affine, axis):
    rng = np.random.default_rng(0)
    arrays, dy = [rng.normal(size=s) for s in (shape, affine, affine)], rng.normal(size=shape)

    def loss(x, gamma, beta):
        return anp.sum(anp.tanh(composed(x, gamma, beta, 1e-5, axis)) * dy)

    def penalty(x, gamma, beta):
        return anp.sum(autograd.grad(loss, 0)(x, gamma, beta) ** 2)

    tensors = [Tensor(a) for a in arrays]
    ours = grad((batch_norm(*tensors, axis=axis).tanh() * dy).sum(), tensors)
    second = grad((ours[0] ** 2).sum(), tensors)
    for i in range(3):
        np.testing.assert_allclose(ours[i].data, autograd.grad(loss, i)(*arrays), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(second[i].data, autograd.grad(penalty, i)(*arrays), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_random_scalar_graphs_as_in_micrograd(seed):
    def build(number):
        """Sixty random operations; the same for both engines, since the choices do not depend on the values."""
        choose = random.Random(seed)
        leaves = [number(choose.uniform(-2, 2)) for _ in range(4)]
        nodes = list(leaves)
        for _ in range(60):
            a, b = choose.choice(nodes), choose.choice(nodes)
            operation = choose.randrange(6)
            nodes.append([a + b, a * b, a - b, a / (b * b + 1), a.relu(), (a * a + 1) ** -0.5][operation])
        root = sum(nodes[-8:], nodes[-9]) * (1 / 8)
        root.backward()
        return [root.data, *(leaf.grad for leaf in leaves)]

    # The two add the same numbers up in another order.
    np.testing.assert_allclose(build(lambda n: Tensor(n)), build(Value), rtol=1e-9, atol=1e-9)


def test_batch_norm_on_scalars_as_in_micrograd():
    data, dy = np.random.default_rng(0).normal(size=6), np.random.default_rng(1).normal(size=6)
    values = [Value(float(n)) for n in data]
    mu = sum(values) / 6
    var = sum((v - mu) ** 2 for v in values) / 6
    y = [2 * ((v - mu) / (var + 1e-5) ** 0.5) + 1 for v in values]
    sum(float(d) * v for d, v in zip(dy, y)).backward()

    ours = scalars(data)
    (batch_norm(ours, 2.0, 1.0) * dy).sum().backward()
    np.testing.assert_allclose([node.grad for node in ours], [v.grad for v in values], rtol=1e-11, atol=1e-12)
