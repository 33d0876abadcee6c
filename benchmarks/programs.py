"""Programs and compiled programs beside their peers: scalar graphs against micrograd, layers against PyTorch and JAX.

    python -m benchmarks.programs            the whole, some minutes; a table to the terminal
    python -m benchmarks.programs --quick    fewer rounds, no 8192 × 1024

Contenders of a case first have to agree. They are then timed in turn, round after round, in one process, and what counts is each
one's minimum: on a machine that others use too, ratios of minima say most. In each round, a contender runs three times, for the
caches are full of the others at first. THREADS is what PyTorch may use; JAX takes all there are, unless the process is held to one
(taskset -c 0); a compiled program takes one.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from micrograd_bn import Tensor, batch_norm, trace
from micrograd_bn import functions as F

THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))


def minima(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The shortest time of each, in seconds, taken in turn."""
    best = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, run in contenders.items():
            for _ in range(3):
                start = time.perf_counter()
                result = run()
                best[name] = min(best[name], time.perf_counter() - start)
                del result
    return best


def show(case: str, best: dict[str, float], note: str = "") -> None:
    reference = next(iter(best.values()))
    cells = "   ".join(f"{name} {seconds * 1e6:,.0f} µs ({seconds / reference:.3g})" for name, seconds in best.items())
    print(f"{case}: {cells}{'   ' + note if note else ''}", flush=True)


def agree(case: str, a, b, rtol: float) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=rtol * np.abs(np.asarray(y)).max(), err_msg=case)


# ---- Scalar graphs, against micrograd


def sum_of_products(*values):
    half = len(values) // 2
    return sum(a * b for a, b in zip(values[:half], values[half:]))


def multi_layer_perceptron(*values):
    """A 3-8-8-1 network's loss on 10 points: weights first, then points and targets."""
    given = iter(values)
    layers = [[[next(given) for _ in range(m + 1)] for _ in range(n)] for m, n in ((3, 8), (8, 8), (8, 1))]
    loss = 0.0
    for _ in range(10):
        x = [next(given) for _ in range(3)]
        for i, layer in enumerate(layers):
            x = [sum((w * a for w, a in zip(neuron[1:], x)), neuron[0]) for neuron in layer]
            x = [a.relu() for a in x] if i < 2 else x
        loss = loss + (x[0] - next(given)) ** 2
    return loss


def scalar_case(name: str, f, n: int, rounds: int) -> None:
    from micrograd.engine import Value

    values = np.random.default_rng(0).normal(size=n).tolist()
    start = time.perf_counter()
    p = trace(f, *values)
    p.gradients(*values)
    traced = time.perf_counter() - start
    compiled = p.compile()
    start = time.perf_counter()
    compiled.gradients(*values)
    took = time.perf_counter() - start
    array = np.array(values)

    def micrograd():
        leaves = [Value(a) for a in values]
        y = f(*leaves)
        y.backward()
        return y.data, [leaf.grad for leaf in leaves]

    def engine():
        leaves = [Tensor(a) for a in values]
        y = f(*leaves)
        y.backward()
        return y.data, [leaf.grad for leaf in leaves]

    contenders = {
        "micrograd": micrograd,
        "engine": engine,
        "program": lambda: p.gradients(*values),
        "compiled": lambda: compiled.gradients(*values),
        "compiled, one array": lambda: compiled.gradients(array),
    }
    for run in contenders.values():
        y, g = run()
        agree(name, [y, *g], [micrograd()[0], *micrograd()[1]], 1e-9)
    show(name, minima(contenders, rounds), f"traced in {traced:.2f} s, compiled in {took:.2f} s, {len(p.statements)} statements")


# ---- Layers, against PyTorch and JAX


def layer_norm(x, gamma, beta):
    centered = x - x.mean(axis=-1, keepdims=True)
    return gamma * (centered / F.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-5)) + beta


def rms_norm(x, gamma, beta):
    return gamma * (x / F.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)) + beta


def cross_entropy(x, target, _):
    return -(target * F.log_softmax(x)).sum(axis=-1).mean()


LAYERS = {"batch norm": batch_norm, "layer norm": layer_norm, "RMS norm": rms_norm, "softmax cross-entropy": cross_entropy}


def torch_composed(name: str):
    def norm(x, gamma, beta, axis=-1, center=True):
        centered = x - x.mean(axis, keepdim=True) if center else x
        return gamma * (centered / ((centered**2).mean(axis, keepdim=True) + 1e-5).sqrt()) + beta

    return {
        "batch norm": lambda x, gamma, beta: norm(x, gamma, beta, 0),
        "layer norm": norm,
        "RMS norm": lambda x, gamma, beta: norm(x, gamma, beta, -1, False),
        "softmax cross-entropy": lambda x, target, _: -(target * x.log_softmax(-1)).sum(-1).mean(),
    }[name]


def torch_kernel(name: str):
    from torch.nn import functional

    return {
        "batch norm": lambda x, gamma, beta: functional.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-5),
        "layer norm": lambda x, gamma, beta: functional.layer_norm(x, gamma.shape, gamma, beta, 1e-5),
        "RMS norm": lambda x, gamma, beta: functional.rms_norm(x, gamma.shape, gamma, 1e-5) + beta,
        "softmax cross-entropy": lambda x, target, _: functional.cross_entropy(x, target),
    }[name]


def jax_jit(name: str, values, dy):
    import jax

    jax.config.update("jax_enable_x64", True)
    np_ = jax.numpy

    def norm(x, gamma, beta, axis=-1, center=True):
        centered = x - x.mean(axis, keepdims=True) if center else x
        return gamma * (centered / np_.sqrt((centered**2).mean(axis, keepdims=True) + 1e-5)) + beta

    f = {
        "batch norm": lambda x, gamma, beta: norm(x, gamma, beta, 0),
        "layer norm": norm,
        "RMS norm": lambda x, gamma, beta: norm(x, gamma, beta, -1, False),
        "softmax cross-entropy": lambda x, target, _: -(target * jax.nn.log_softmax(x)).sum(-1).mean(),
    }[name]

    @jax.jit
    def both(x, gamma, beta, dy):
        y, vjp = jax.vjp(f, x, gamma, beta)
        return y, *vjp(dy)

    arrays = [np_.asarray(a) for a in (*values, dy)]
    return lambda: jax.block_until_ready(both(*arrays))


def layer_case(name: str, shape, dtype: str, rounds: int, with_jax: bool) -> None:
    import torch

    torch.set_num_threads(THREADS)
    random = np.random.default_rng(0)
    x, dy = random.normal(size=(2, *shape)).astype(dtype)
    gamma, beta = random.normal(size=(2, *shape[1:])).astype(dtype)
    entropy = name == "softmax cross-entropy"
    if entropy:
        gamma, dy = np.eye(shape[1], dtype=dtype)[random.integers(0, shape[1], shape[0])], np.asarray(1, dtype)
    values = x, gamma, beta
    upstream = () if entropy else (dy,)
    p, q = (trace(LAYERS[name], *values, reuse=reuse) for reuse in (False, True))
    compiled = p.compile()
    start = time.perf_counter()
    compiled.gradients(*values, *upstream)
    took = time.perf_counter() - start
    leaves = [torch.tensor(a, requires_grad=True) for a in values]
    if entropy:  # PyTorch's kernel has no gradient for the targets to compute, nor have the others then
        leaves[1].requires_grad_(False)
    torch_dy = torch.tensor(dy)

    def torch_run(function):
        def run():
            for leaf in leaves:
                leaf.grad = None
            y = function(*leaves)
            y.backward(torch_dy)
            return y.detach().numpy(), leaves[0].grad.numpy()

        return run

    contenders = {
        "PyTorch composed": torch_run(torch_composed(name)),
        "PyTorch kernel": torch_run(torch_kernel(name)),
        "program": lambda: p.gradients(*values, *upstream),
        "program with buffers": lambda: q.gradients(*values, *upstream),
        "compiled": lambda: compiled.gradients(*values, *upstream),
    }
    if with_jax:
        contenders["JAX jit"] = jax_jit(name, values, dy)
    expected = contenders["PyTorch composed"]()
    for run in contenders.values():
        y, first, *_ = run()
        agree(name, (y, first[0] if isinstance(first, tuple) else first), expected, 1e-3 if dtype == "float32" else 1e-10)
    case = f"{name} {' × '.join(map(str, shape))} {dtype}"
    show(case, minima(contenders, rounds), f"ready in {took:.2f} s")


PEAK = """
import resource, sys
import numpy as np
from micrograd_bn import batch_norm, trace
random = np.random.default_rng(0)
small = [np.ones(s, np.float32) for s in ((8192, 1024), (1024,), (1024,))]
compiled = trace(batch_norm, *small).compile()
compiled._module  # compiling takes memory, too, but not of the batch's size
del small
x, dy = (random.standard_normal((8192, 1024), dtype=np.float32) for _ in range(2))
gamma = beta = np.ones(1024, np.float32)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak counts from here
peak = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
before = peak()
y, (dx, *_) = compiled.gradients(x, gamma, beta, dy)
print((peak() - before - y.nbytes - dx.nbytes) / x.nbytes)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--jax", action="store_true", help="with JAX, whose threads slow the others down a little")
    options = parser.parse_args()
    scale = 5 if options.quick else 1
    print(f"{THREADS} thread(s) for PyTorch; minima of interleaved rounds; in parentheses the ratio to the first\n")
    scalar_case("sum of 300 products", sum_of_products, 600, 200 // scale)
    scalar_case("MLP's loss, 3-8-8-1 on 10 points", multi_layer_perceptron, 113 + 40, 100 // scale)
    for name in LAYERS:
        for shape, dtype, rounds in (((32, 10), "float64", 1000), ((256, 128), "float32", 300), ((8192, 1024), "float32", 8)):
            if not (options.quick and shape[0] == 8192):
                layer_case(name, shape, dtype, rounds // scale, options.jax)
    if sys.platform == "linux":
        beyond = float(subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout)
        print(f"peak memory of the compiled batch norm at 8192 × 1024, beyond inputs, y and dx: {beyond:.3f} of x")


if __name__ == "__main__":
    main()
