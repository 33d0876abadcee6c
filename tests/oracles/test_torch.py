"""PyTorch as an oracle: the same inputs, the same gradients; and where its fused batch norm is wrong, ours is right."""

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, grad
from tests.conftest import optional

torch = optional("torch")

CASES = [
    ((8, 3), (0,), (3,)),
    ((2, 1), (0,), (1,)),
    ((128, 64), (0,), (64,)),
    ((4, 3, 5), (0, 2), (3, 1)),
    ((4, 3, 8, 8), (0, 2, 3), (3, 1, 1)),
]


def composed(x, gamma, beta, eps, axis):
    """Equations (1) to (4) in PyTorch, from its own primitives."""
    mu = x.mean(dim=axis, keepdim=True)
    var = ((x - mu) ** 2).mean(dim=axis, keepdim=True)
    return gamma * ((x - mu) / torch.sqrt(var + eps)) + beta


# Float64: rounding of some hundred operations. Float32: the same in its own units, and 1e-5 absolutely where dx cancels.
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [("float64", 1e-11, 1e-12), ("float32", 1e-4, 2e-5)])
@pytest.mark.parametrize(("shape", "axis", "affine"), CASES)
def test_the_same_gradients_as_torch_composed_and_fused(shape, axis, affine, dtype, rtol, atol):
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=shape).astype(dtype) for _ in range(2))
    gamma, beta = (random.normal(size=affine).astype(dtype) for _ in range(2))

    tensors = Tensor(x), Tensor(gamma), Tensor(beta)
    y = batch_norm(*tensors, axis=axis)
    y.backward(dy)
    ours = [y.data, *(t.grad for t in tensors)]

    def fused(x, gamma, beta, eps, axis):
        return torch.nn.functional.batch_norm(x, None, None, gamma.reshape(-1), beta.reshape(-1), training=True, eps=eps)

    for function in (composed, fused):
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        result = function(*leaves, 1e-5, axis)
        result.backward(torch.tensor(dy))
        for got, expected in zip(ours, [result.detach(), *(leaf.grad for leaf in leaves)]):
            np.testing.assert_allclose(got, expected.numpy(), rtol=rtol, atol=atol)


def test_layer_norm():
    random = np.random.default_rng(0)
    x, dy, gamma, beta = random.normal(size=(4, 6)), random.normal(size=(4, 6)), random.normal(size=6), random.normal(size=6)
    tensors = Tensor(x), Tensor(gamma), Tensor(beta)
    batch_norm(*tensors, axis=-1).backward(dy)
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    torch.nn.functional.layer_norm(leaves[0], (6,), leaves[1], leaves[2]).backward(torch.tensor(dy))
    for got, expected in zip(tensors, leaves):
        np.testing.assert_allclose(got.grad, expected.grad.numpy(), rtol=1e-11, atol=1e-12)


def test_repeated_differentiation_to_order_five():
    """pytorch/pytorch#186256: the fused kernel's saved statistics have no history, so from order 3 on it differs.

    A derivation that keeps the history of its statistics, here and in PyTorch's own primitives, is right at every order.
    """
    random = np.random.default_rng(0)
    x, v, w = (random.normal(size=(8, 3, 5)) for _ in range(3))
    eps, axis = 1e-5, (0, 2)

    def by_torch(function):
        t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        derivative = (function(torch.tensor(x) + t * torch.tensor(v)) * torch.tensor(w)).sum()
        found = []
        for _ in range(5):
            (derivative,) = torch.autograd.grad(derivative, t, create_graph=True)
            found.append(derivative.item())
        return np.array(found)

    t = Tensor(0.0)
    derivative = (batch_norm(x + t * v, 1.0, 0.0, eps, axis) * w).sum()
    ours = []
    for _ in range(5):
        (derivative,) = grad(derivative, [t])
        ours.append(derivative.data)

    np.testing.assert_allclose(ours, by_torch(lambda x: composed(x, 1.0, 0.0, eps, axis)), rtol=1e-9)
    fused = by_torch(lambda x: torch.nn.functional.batch_norm(x, None, None, training=True, eps=eps))
    np.testing.assert_allclose(ours[:2], fused[:2], rtol=1e-9)
    relative = np.abs(fused[2:] - ours[2:]) / np.abs(ours[2:])
    assert (relative > 1e-2).all(), "PyTorch's fused batch norm has become right from order 3 on: say so where we say it is not"


def test_nested_forward_mode_through_the_fused_kernel_is_still_wrong():
    """pytorch/pytorch#196699, whose right value is in tests/test_orders.py."""

    def f(t):
        x = torch.stack([(i + 1) * t + (i % 3 - 1) * t * t + i for i in range(8)]).reshape(2, 2, 2)
        weight, bias = torch.tensor([1.5, -0.5], dtype=t.dtype), torch.tensor([0.25, 1.0], dtype=t.dtype)
        y = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=0.25)
        return (y * torch.arange(1, 9, dtype=t.dtype).reshape(2, 2, 2)).sum()

    def slope(t):
        return torch.func.jvp(f, (t,), (torch.ones_like(t),))[1]

    t = torch.tensor(-6.0, dtype=torch.float64)
    assert torch.func.jvp(slope, (t,), (torch.ones_like(t),))[1].item() == pytest.approx(-2.132438339486815, abs=1e-9)


def test_double_backward():
    random = np.random.default_rng(0)
    x, dy = random.normal(size=(8, 3)), random.normal(size=(8, 3))
    ours = Tensor(x)
    (dx,) = grad(batch_norm(ours, 2.0, 0.0), [ours], dy)
    (dx**2).sum().backward()

    theirs = torch.tensor(x, requires_grad=True)
    (dx,) = torch.autograd.grad(composed(theirs, 2.0, 0.0, 1e-5, (0,)), theirs, torch.tensor(dy), create_graph=True)
    (dx**2).sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-10, atol=1e-11)
