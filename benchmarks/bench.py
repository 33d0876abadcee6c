"""This project and its peers side by side: forward and backward of batch norm, scalar graphs, second derivatives, memory.

    make bench             the whole, about ten minutes; writes benchmarks/results.md, results.svg and the README's table
    make bench QUICK=1     under a minute, to the terminal only

All contenders of a case first have to agree on the result. They are then timed in turn, round after round, in one process, so that
whatever else the machine does falls on all of them alike. Times are of a forward and a backward pass, in microseconds.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks import accuracy
from micrograd_bn import Tensor, batch_norm, fused_batch_norm, grad

EPS = 1e-5
HERE = Path(__file__).parent
THREADS = os.cpu_count() or 1

# name → shape, dtype, axis
SIZES = {
    "8 × 4": ((8, 4), "float64", 0),
    "32 × 10": ((32, 10), "float64", 0),
    "256 × 128": ((256, 128), "float32", 0),
    "2048 × 256": ((2048, 256), "float32", 0),
    "8192 × 1024": ((8192, 1024), "float32", 0),
    "32 × 64 × 56 × 56": ((32, 64, 56, 56), "float32", (0, 2, 3)),
}
QUICK_SIZES = ("32 × 10", "256 × 128", "2048 × 256")
# In the order in which the tables show them; the first is what the ratios are to.
REFERENCE = "PyTorch composed"


def data(shape, dtype, axis):
    random = np.random.default_rng(0)
    one_each = tuple(1 if i in np.atleast_1d(axis) else n for i, n in enumerate(shape))
    affine = one_each if axis else one_each[-1:]
    arrays = random.normal(1, 2, shape), random.uniform(0.5, 1.5, affine), random.normal(size=affine), random.normal(size=shape)
    return [a.astype(dtype) for a in arrays]


# ---- The contenders: each takes the arrays and returns a function that does one forward and backward pass and gives (y, dx).


def ours(function):
    def build(x, gamma, beta, dy, axis):
        def run():
            leaves = Tensor(x), Tensor(gamma), Tensor(beta)
            y = function(*leaves, EPS, axis)
            y.backward(dy)
            return y.data, leaves[0].grad

        return run

    return build


def torch_with(function):
    def build(x, gamma, beta, dy, axis):
        import torch

        torch.set_num_threads(THREADS)
        leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
        upstream = torch.tensor(dy)

        def run():
            for leaf in leaves:
                leaf.grad = None
            y = function(torch, *leaves, axis)
            y.backward(upstream)
            return y.detach().numpy(), leaves[0].grad.numpy()

        return run

    return build


def torch_composed(torch, x, gamma, beta, axis):
    mu = x.mean(dim=axis, keepdim=True)
    var = ((x - mu) ** 2).mean(dim=axis, keepdim=True)
    return gamma * ((x - mu) / torch.sqrt(var + EPS)) + beta


def torch_fused(torch, x, gamma, beta, axis):
    return torch.nn.functional.batch_norm(x, None, None, gamma.reshape(-1), beta.reshape(-1), training=True, eps=EPS)


def autograd_composed(x, gamma, beta, dy, axis):
    import autograd
    import autograd.numpy as anp

    def forward(x, gamma, beta):
        mu = anp.mean(x, axis=axis, keepdims=True)
        var = anp.mean((x - mu) ** 2, axis=axis, keepdims=True)
        return gamma * ((x - mu) / anp.sqrt(var + EPS)) + beta

    packed = autograd.make_vjp(lambda leaves: forward(*leaves))

    def run():
        vjp, y = packed((x, gamma, beta))
        return y, vjp(dy)[0]

    return run


def jax_jit(x, gamma, beta, dy, axis):
    import jax

    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy

    def forward(x, gamma, beta):
        mu = jnp.mean(x, axis=axis, keepdims=True)
        var = jnp.mean((x - mu) ** 2, axis=axis, keepdims=True)
        return gamma * ((x - mu) / jnp.sqrt(var + EPS)) + beta

    @jax.jit
    def both(x, gamma, beta, dy):
        y, vjp = jax.vjp(forward, x, gamma, beta)
        return y, *vjp(dy)

    arrays = [jnp.asarray(a) for a in (x, gamma, beta, dy)]

    def run():
        y, dx, *_ = jax.block_until_ready(both(*arrays))
        return y, dx

    return run


def numpy_written(x, gamma, beta, dy, axis):
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


def numpy_condensed(x, gamma, beta, dy, axis):
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


def copy(x, gamma, beta, dy, axis):
    return lambda: x.copy()


CONTENDERS: dict[str, Callable] = {
    "this project, composed": ours(batch_norm),
    "this project, fused": ours(fused_batch_norm),
    REFERENCE: torch_with(torch_composed),
    "PyTorch F.batch_norm": torch_with(torch_fused),
    "autograd composed": autograd_composed,
    "JAX jit": jax_jit,
    "NumPy, formulas as written": numpy_written,
    "NumPy, condensed": numpy_condensed,
    "one copy of x": copy,
}


# ---- Timing


def timed(runs: dict[str, Callable], seconds: float) -> dict[str, list[float]]:
    """Seconds a call, for each in turn, round after round, for about so long in all and at least five rounds.

    Each is called once before it is timed, so that it finds the heap and the caches as it leaves them itself, not as the one before
    it did: at 32 × 64 × 56 × 56 that decides who pays for clearing 50 MB of new pages.
    """
    numbers = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        numbers[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    results: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + seconds
    gc.collect()
    while time.perf_counter() < stop or len(results[next(iter(runs))]) < 5:
        for name, run in runs.items():
            run()
            start = time.perf_counter()
            for _ in range(numbers[name]):
                run()
            results[name].append((time.perf_counter() - start) / numbers[name])
    return results


def batch_norms(sizes, seconds) -> dict[str, dict[str, list[float]]]:
    table = {}
    for name in sizes:
        shape, dtype, axis = SIZES[name]
        x, gamma, beta, dy = data(shape, dtype, axis)
        runs = {}
        for contender, build in CONTENDERS.items():
            try:
                runs[contender] = build(x, gamma, beta, dy, axis)
            except ModuleNotFoundError as error:
                print(f"left out: {contender} ({error})", file=sys.stderr)
        truth = numpy_written(*(a.astype(np.float64) for a in (x, gamma, beta, dy)), axis)()
        for contender, run in runs.items():
            if contender != "one copy of x":
                for got, expected in zip(run(), truth):
                    np.testing.assert_allclose(got, expected, atol=1e-10 if dtype == "float64" else 2e-4, err_msg=contender)
        table[name] = timed(runs, seconds)
        print(name, {contender: f"{min(times) * 1e6:,.0f}" for contender, times in table[name].items()}, flush=True)
    return table


def double_backward(shape, seconds) -> dict[str, list[float]]:
    """The gradient of the squared norm of dx, by this project and by PyTorch's primitives."""
    import torch

    torch.set_num_threads(THREADS)
    x, gamma, beta, dy = data(shape, "float32", 0)

    def here():
        leaf = Tensor(x)
        (dx,) = grad(batch_norm(leaf, gamma, beta, EPS), [leaf], dy)
        (dx * dx).sum().backward()
        return leaf.grad

    t_gamma, t_beta, t_dy = (torch.tensor(a) for a in (gamma, beta, dy))

    def there():
        leaf = torch.tensor(x, requires_grad=True)
        (dx,) = torch.autograd.grad(torch_composed(torch, leaf, t_gamma, t_beta, 0), leaf, t_dy, create_graph=True)
        (dx * dx).sum().backward()
        return leaf.grad.numpy()

    np.testing.assert_allclose(here(), there(), atol=1e-4)
    return timed({"this project, composed": here, REFERENCE: there}, seconds)


# ---- Scalar graphs


def products(number, count=300):
    """Σ wᵢ xᵢ and its gradients."""
    random = np.random.default_rng(0)
    weights, inputs = ([number(float(v)) for v in random.normal(size=count)] for _ in range(2))

    def run():
        total = weights[0] * inputs[0]
        for w, x in zip(weights[1:], inputs[1:]):
            total = total + w * x
        total.backward()
        return total.data

    return run


def mlp(number, sizes=(3, 8, 8, 1), examples=10):
    """The squared error of a small net on ten examples, number by number."""
    random = np.random.default_rng(0)
    layers = [
        [([number(float(v)) for v in random.normal(size=n)], number(0.0)) for _ in range(m)] for n, m in itertools.pairwise(sizes)
    ]
    batch = random.normal(size=(examples, sizes[0])).tolist()

    def run():
        loss = number(0.0)
        for example in batch:
            values = example
            for i, layer in enumerate(layers):
                sums = []
                for weights, bias in layer:
                    total = bias
                    for w, v in zip(weights, values):
                        total = total + w * v
                    sums.append(total if i == len(layers) - 1 else total.relu())
                values = sums
            loss = loss + (values[0] - 1.0) ** 2
        loss.backward()
        return loss.data

    return run


def chain(number, nodes):
    y = x = number(1.0)
    for _ in range(nodes):
        y = y * x
    return y


def scalar_graphs(seconds) -> dict[str, dict[str, list[float]]]:
    from micrograd.engine import Value

    table = {}
    for name, build in (("Σ of 300 products", products), ("loss of an MLP, 3-8-8-1 on 10", mlp)):
        runs = {"this project": build(Tensor), "micrograd": build(Value)}
        here, there = (run() for run in runs.values())
        np.testing.assert_allclose(here, there, rtol=1e-12)
        table[name] = timed(runs, seconds)
    return table


def bytes_a_node(number, nodes=2000) -> tuple[float, float]:
    """What a node of a chain takes: after the forward pass, and with its gradient."""
    sys.setrecursionlimit(10 * nodes)  # for micrograd
    tracemalloc.start()
    y = chain(number, nodes)
    forward = tracemalloc.get_traced_memory()[0] / nodes
    y.backward()
    gc.collect()
    with_gradient = tracemalloc.get_traced_memory()[0] / nodes
    tracemalloc.stop()
    return forward, with_gradient


def seconds_a_node(nodes: int) -> float:
    """Forward and backward of a chain of this project's, for each of its nodes: the best of three."""
    best = np.inf
    for _ in range(3):
        gc.collect()
        start = time.perf_counter()
        chain(Tensor, nodes).backward()
        best = min(best, (time.perf_counter() - start) / nodes)
    return best


# ---- Memory: the peak of a process that does nothing else


def peak_memory(contender: str, size: str) -> float:
    """By how many times the size of x the peak of a process grows in one forward and backward pass."""
    command = [sys.executable, "-m", "benchmarks.bench", "--peak", contender, "--size", size]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(contender: str, size: str) -> None:
    shape, dtype, axis = SIZES[size]
    small = data(tuple(min(n, 8) for n in shape), dtype, axis)
    CONTENDERS[contender](*small, axis)()  # imports and compilers have their memory before the measurement
    arrays = data(shape, dtype, axis)
    for a in arrays:
        a.sum()
    run = CONTENDERS[contender](*arrays, axis)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
    before = resident("VmRSS")
    result = run()
    print((resident("VmHWM") - before) / arrays[0].nbytes)
    del result


def resident(field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


# ---- Results


def number(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 10 else f"{microseconds:.1f}"


def rows(table: dict[str, dict[str, list[float]]], reference: str) -> list[str]:
    lines = ["| | " + " | ".join(table) + " |", "|---|" + "---:|" * len(table)]
    for contender in next(iter(table.values())):
        cells = []
        for times in table.values():
            best, middle = min(times[contender]), statistics.median(times[contender])
            cells.append(f"{number(best * 1e6)} ({number(middle * 1e6)}) {best / min(times[reference]):.2f}×")
        lines.append(f"| {contender} | " + " | ".join(cells) + " |")
    return lines


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    parts = ["numpy", "torch", "jax", "autograd", "micrograd"]
    versions = ", ".join(f"{p} {version(p)}" for p in parts)
    cpu = model.group(1) if model else platform.processor()
    return f"{cpu}, {THREADS} cores; Python {platform.python_version()}, {versions}"


def plot(table, path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5.2))
    names = [name for name in table if len(SIZES[name][0]) == 2]
    sizes = [int(np.prod(SIZES[name][0])) for name in names]
    for i, contender in enumerate(CONTENDERS):
        bold = contender.startswith("this project")
        times = [min(table[name][contender]) * 1e6 for name in names]
        style = {"linewidth": 2.6 if bold else 1.2, "marker": "o", "markersize": 5 if bold else 3.5, "color": f"C{i}"}
        axes.loglog(sizes, times, label=contender, linestyle=":" if contender == "one copy of x" else "-", **style)
        image = next((name for name in table if len(SIZES[name][0]) == 4), None)
        if image:
            axes.loglog([int(np.prod(SIZES[image][0]))], [min(table[image][contender]) * 1e6], **style | {"marker": "s"})
    axes.set_xlabel("elements of x (squares: images 32 × 64 × 56 × 56)")
    axes.set_ylabel("forward and backward, µs (minimum)")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print_peak(options.peak, options.size)
        return

    sizes, seconds = (QUICK_SIZES, 3) if options.quick else (SIZES, 25)
    table = batch_norms(sizes, seconds)
    scalar = scalar_graphs(2 if options.quick else 15)
    second_shape = (2048, 256) if options.quick else (8192, 1024)
    second = {f"{second_shape[0]} × {second_shape[1]}": double_backward(second_shape, 2 if options.quick else 20)}
    counts = (1_000, 10_000, 100_000) if options.quick else (1_000, 10_000, 100_000, 1_000_000)
    from micrograd.engine import Value

    own, peer = bytes_a_node(Tensor), bytes_a_node(Value)
    lines = [
        f"Forward and backward of batch norm, in microseconds: minimum (median), and the ratio of minimums to {REFERENCE}.",
        f"Float64 up to 32 × 10, float32 elsewhere. {machine()}.",
        "",
        *rows(table, REFERENCE),
        "",
        "Scalar graphs, forward and backward; the ratio is to micrograd.",
        "",
        *rows(scalar, "micrograd"),
        "",
        f"A node takes {own[0]:.0f} bytes after the forward pass and {own[1]:.0f} with its gradient; micrograd's {peer[0]:.0f} and "
        f"{peer[1]:.0f} (ratios {own[0] / peer[0]:.2f} and {own[1] / peer[1]:.2f}). Forward and backward of a chain, a node: "
        + ", ".join(f"{seconds_a_node(count) * 1e6:.2f} µs at {count:,}" for count in counts)
        + " nodes.",
        "",
        f"The gradient of the squared norm of dx (two backward passes); the ratio is to {REFERENCE}.",
        "",
        *rows(second, REFERENCE),
    ]
    lines += [
        "",
        "The largest error of y and of dx in proportion to their largest element, against the exact result in 50 digits.",
        "",
    ]
    lines += accuracy.table()
    if not options.quick:
        size = "8192 × 1024"
        peaks = {contender: peak_memory(contender, size) for contender in CONTENDERS}
        lines += ["", f"Peak memory of a forward and backward pass at {size}, in sizes of x, beyond the inputs.", ""]
        lines += ["| " + " | ".join(peaks) + " |", "|" + "---:|" * len(peaks)]
        lines += ["| " + " | ".join(f"{peak:.1f}" for peak in peaks.values()) + " |"]
    text = "\n".join(lines) + "\n"
    print("\n" + text)
    if not options.quick:
        (HERE / "results.md").write_text(text, encoding="utf-8")
        plot(table, HERE / "results.svg")
        readme = HERE.parent / "README.md"
        marked = re.sub(
            r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)",
            lambda found: found.group(1) + "\n" + text + "\n" + found.group(2),
            readme.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        readme.write_text(marked, encoding="utf-8")


if __name__ == "__main__":
    main()
