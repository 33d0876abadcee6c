"""Who is timed: this project and its peers, on layers and on graphs of single numbers.

A contender of a layer takes a ``Case`` and returns a function that does a forward and a backward pass and gives y and dx, or None
if it does not know the layer. All compute what ``layer`` says, or a kernel of their own for it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from micrograd_bn import Tensor, batch_norm, fused_batch_norm, trace
from micrograd_bn import functions as F
from micrograd_bn.numbers import threads

EPS = 2.0**-17  # 7.6e-6, the same number in float32, in float64 and in decimals
THREADS = os.cpu_count() or 1

Run = Callable[[], Any]


class Case(NamedTuple):
    """A layer of a shape and its inputs; gamma is the target of a cross-entropy, which has no beta."""

    layer: str
    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    dy: np.ndarray
    axis: int | tuple[int, ...]

    @property
    def leaves(self) -> tuple[np.ndarray, ...]:
        return self.x, self.gamma, self.beta

    @property
    def of_batch(self) -> bool:
        return self.layer == "batch norm"


def case(layer: str, shape: tuple[int, ...], dtype: str = "float32") -> Case:
    random = np.random.default_rng(0)
    axis: Any = -1 if layer != "batch norm" else 0 if len(shape) == 2 else (0, *range(2, len(shape)))
    each = tuple(n if i == 1 else 1 for i, n in enumerate(shape)) if len(shape) > 2 else shape[1:]
    x, gamma, beta, dy = (
        a.astype(dtype)
        for a in (random.normal(1, 2, shape), random.uniform(0.5, 1.5, each), random.normal(size=each), random.normal(size=shape))
    )
    if layer == "softmax cross-entropy":
        gamma, dy = np.eye(shape[1], dtype=dtype)[random.integers(0, shape[1], shape[0])], np.asarray(1, dtype)
    return Case(layer, x, gamma, beta, dy, axis)


def use_threads(n: int) -> None:
    """For this project and PyTorch; JAX takes all that the process may use."""
    import torch

    torch.set_num_threads(n)
    threads.THREADS = n


# ---- The formulas, of which a framework needs mean, sum, √ and the logarithm of softmax


def norm(sqrt: Callable, x: Any, gamma: Any, beta: Any, axis: Any, center: bool = True) -> Any:
    centered = x - x.mean(axis=axis, keepdims=True) if center else x
    return gamma * (centered / sqrt((centered**2).mean(axis=axis, keepdims=True) + EPS)) + beta


def layer(given: Case, sqrt: Callable, log_softmax: Callable) -> Callable:
    """The layer as a function of x, gamma and beta."""
    if given.layer == "softmax cross-entropy":
        return lambda x, target, _: -(target * log_softmax(x)).sum(axis=-1).mean()
    return lambda x, gamma, beta: norm(sqrt, x, gamma, beta, given.axis, given.layer != "RMS norm")


def composed(given: Case) -> Callable:
    return (lambda *leaves: batch_norm(*leaves, EPS, given.axis)) if given.of_batch else layer(given, F.sqrt, F.log_softmax)


# ---- This project


def engine(function: Callable, given: Case) -> Run:
    def run():
        leaves = [Tensor(a) for a in given.leaves]
        y = function(*leaves)
        y.backward(given.dy)
        return y.data, leaves[0].grad

    return run


def fused_layer(given: Case) -> Run | None:
    if given.of_batch:
        return engine(lambda *leaves: fused_batch_norm(*leaves, EPS, given.axis), given)
    if given.layer == "layer norm":
        return engine(lambda x, gamma, beta: gamma * fused_batch_norm(x, 1.0, 0.0, EPS, -1) + beta, given)
    return None


def program(given: Case, compiled: bool = False, reuse: bool = False) -> Run:
    made = trace(composed(given), *given.leaves, reuse=reuse)
    made = made.compile() if compiled else made
    dy = () if given.layer == "softmax cross-entropy" else (given.dy,)

    def run():
        y, (dx, *_) = made.gradients(*given.leaves, *dy)
        return y, dx

    return run


# ---- PyTorch, autograd, JAX


def torch_run(function: Callable, given: Case) -> Run:
    import torch

    leaves = [torch.tensor(a, requires_grad=True) for a in given.leaves]
    if given.layer == "softmax cross-entropy":  # whose kernel has no gradient for the targets
        leaves[1].requires_grad_(False)
    upstream = torch.tensor(given.dy)

    def run():
        for leaf in leaves:
            leaf.grad = None
        y = function(*leaves)
        y.backward(upstream)
        return y.detach().numpy(), leaves[0].grad.numpy()

    return run


def torch_composed(given: Case) -> Run:
    import torch

    return torch_run(layer(given, torch.sqrt, lambda x: x.log_softmax(-1)), given)


def torch_kernel(given: Case) -> Run:
    from torch.nn import functional

    kernels = {
        "batch norm": lambda x, gamma, beta: functional.batch_norm(
            x, None, None, gamma.reshape(-1), beta.reshape(-1), training=True, eps=EPS
        ),
        "layer norm": lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta, EPS),
        "RMS norm": lambda x, gamma, beta: functional.rms_norm(x, gamma.shape, gamma, EPS) + beta,
        "softmax cross-entropy": lambda x, target, _: functional.cross_entropy(x, target),
    }
    return torch_run(kernels[given.layer], given)


def autograd_composed(given: Case) -> Run | None:
    if not given.of_batch:
        return None
    import autograd
    import autograd.numpy as anp

    def forward(leaves):
        x, gamma, beta = leaves
        mu = anp.mean(x, axis=given.axis, keepdims=True)
        var = anp.mean((x - mu) ** 2, axis=given.axis, keepdims=True)
        return gamma * ((x - mu) / anp.sqrt(var + EPS)) + beta

    def run():
        vjp, y = autograd.make_vjp(forward)(given.leaves)
        return y, vjp(given.dy)[0]

    return run


def jax_jit(given: Case) -> Run:
    import jax

    jax.config.update("jax_enable_x64", True)
    function = layer(given, jax.numpy.sqrt, jax.nn.log_softmax)

    @jax.jit
    def both(x, gamma, beta, dy):
        y, vjp = jax.vjp(function, x, gamma, beta)
        return y, *vjp(dy)

    arrays = [jax.numpy.asarray(a) for a in (*given.leaves, given.dy)]
    return lambda: jax.block_until_ready(both(*arrays))[:2]


# ---- NumPy, by hand


def numpy_written(given: Case) -> Run | None:
    if not given.of_batch:
        return None
    x, gamma, beta, dy, axis = given[1:]
    m = x.size // np.mean(x, axis=axis).size

    def run():
        mu = x.mean(axis=axis, keepdims=True)
        var = ((x - mu) ** 2).mean(axis=axis, keepdims=True)
        root = np.sqrt(var + EPS)
        x_hat = (x - mu) / root
        y = gamma * x_hat + beta
        dx_hat = dy * gamma
        _dbeta, _dgamma = dy.sum(axis=axis), (dy * x_hat).sum(axis=axis)
        dvar = (dx_hat * (-(x - mu) / 2 * root**-3)).sum(axis=axis, keepdims=True)
        dmu = (dx_hat * (-1 / root)).sum(axis=axis, keepdims=True) + dvar * (-2 * (x - mu)).mean(axis=axis, keepdims=True)
        return y, dx_hat / root + dvar * 2 * (x - mu) / m + dmu / m

    return run


def numpy_condensed(given: Case) -> Run | None:
    if not given.of_batch:
        return None
    x, gamma, beta, dy, axis = given[1:]
    m = x.size // np.mean(x, axis=axis).size

    def run():
        mu = x.mean(axis=axis, keepdims=True)
        d = x - mu
        root = np.sqrt((d * d).mean(axis=axis, keepdims=True) + EPS)
        x_hat = d / root
        y = gamma * x_hat + beta
        dbeta, dgamma = dy.sum(axis=axis, keepdims=True), (dy * x_hat).sum(axis=axis, keepdims=True)
        return y, gamma / (m * root) * (m * dy - dbeta - x_hat * dgamma)

    return run


REFERENCE = "PyTorch's kernel"  # what ratios are to
PROGRAM = "this project, program"
COMPILED = "this project, compiled program"
FUSED = "this project, fused"
LAYERS: dict[str, Callable[[Case], Run | None]] = {  # in the order in which tables show them
    "this project, engine": lambda given: engine(composed(given), given),
    FUSED: fused_layer,
    PROGRAM: program,
    "this project, program with buffers": lambda given: program(given, reuse=True),
    COMPILED: lambda given: program(given, compiled=True),
    REFERENCE: torch_kernel,
    "PyTorch composed": torch_composed,
    "JAX jit": jax_jit,
    "autograd": autograd_composed,
    "NumPy, formulas as written": numpy_written,
    "NumPy, condensed": numpy_condensed,
}


# ---- Graphs of single numbers: each contender gives the result and the gradients


def sum_of_products(*values):
    half = len(values) // 2
    return sum(a * b for a, b in zip(values[:half], values[half:]))


def multi_layer_perceptron(*values):
    """A 3-8-8-1 network's squared error on 10 points: weights first, then points and targets."""
    given = iter(values)
    layers = [[[next(given) for _ in range(m + 1)] for _ in range(n)] for m, n in itertools.pairwise((3, 8, 8, 1))]
    loss = 0.0
    for _ in range(10):
        x = [next(given) for _ in range(3)]
        for i, neurons in enumerate(layers):
            x = [sum((w * a for w, a in zip(weights, x)), bias) for bias, *weights in neurons]
            x = [a.relu() for a in x] if i < 2 else x
        loss = loss + (x[0] - next(given)) ** 2
    return loss


def chain(number: Callable, nodes: int) -> Any:
    y = x = number(1.0)
    for _ in range(nodes):
        y = y * x
    return y


SCALAR_GRAPHS = {"Σ of 300 products": (sum_of_products, 600), "loss of an MLP, 3-8-8-1 on 10": (multi_layer_perceptron, 153)}


def scalar_contenders(function: Callable, count: int) -> dict[str, Run]:
    from micrograd.engine import Value

    values = np.random.default_rng(0).normal(size=count).tolist()
    array = np.array(values)
    made = trace(function, *values)
    compiled = made.compile()

    def graph(number, gradient):
        def run():
            leaves = [number(a) for a in values]
            y = function(*leaves)
            y.backward()
            return y.data, [gradient(leaf) for leaf in leaves]

        return run

    return {
        "this project, engine": graph(Tensor, lambda leaf: leaf.grad),
        PROGRAM: lambda: made.gradients(*values),
        COMPILED: lambda: compiled.gradients(*values),
        f"{COMPILED}, one array": lambda: compiled.gradients(array),
        "micrograd": graph(Value, lambda leaf: leaf.grad),
    }


def double_backward(given: Case) -> dict[str, Run]:
    """The gradient of the squared norm of dx."""
    import torch

    from micrograd_bn import grad

    function = layer(given, torch.sqrt, torch.log_softmax)

    def here():
        leaf = Tensor(given.x)
        (dx,) = grad(batch_norm(leaf, given.gamma, given.beta, EPS, given.axis), [leaf], given.dy)
        (dx * dx).sum().backward()
        return leaf.grad

    gamma, beta, dy = (torch.tensor(a) for a in (given.gamma, given.beta, given.dy))

    def there():
        leaf = torch.tensor(given.x, requires_grad=True)
        (dx,) = torch.autograd.grad(function(leaf, gamma, beta), leaf, dy, create_graph=True)
        (dx * dx).sum().backward()
        return leaf.grad.numpy()

    return {"this project, engine": here, "PyTorch composed": there}


# ---- Beyond one machine


def lazy(layer: str, gigabytes: float, chunk: int) -> list[Any]:
    """Sums of y and dx of a batch that is made where it is used: all is computed, and nothing large comes here."""
    import dask.array as da

    rows = round(gigabytes * 1e9 / 8 / 64)
    x, dy = (da.random.default_rng(seed).normal(3, 2, size=(rows, 64), chunks=(chunk, 64)) for seed in (0, 1))
    leaf = Tensor(x)
    y = batch_norm(leaf, 1.5, 0.5, EPS, 0 if layer == "batch norm" else -1)
    y.backward(dy)
    return [y.data.sum(axis=0), leaf.grad.sum(axis=0)]
