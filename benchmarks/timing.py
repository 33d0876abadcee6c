"""How it is measured: time in turns, the limit that memory sets, peak memory, and what of a float32 batch's precision survives."""

from __future__ import annotations

import gc
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import EPS, LAYERS, THREADS, Case, Run
from micrograd_bn import batch_norm, batch_norm_backward

Times = dict[str, list[float]]


def in_turn(runs: dict[str, Run], seconds: float) -> Times:
    """Seconds a call, for each in turn, round after round, for about so long in all and at least five rounds.

    So whatever else the machine does falls on all of them alike. Each is called once before it is timed, so that it finds the heap
    and the caches as it leaves them itself, not as the one before it did: with 50 MB of results that decides who pays for clearing
    new pages.
    """
    numbers = {}
    for name, run in runs.items():
        run()
        start = time.perf_counter()
        run()
        numbers[name] = max(1, int(2e-3 / (time.perf_counter() - start)))
    results: Times = {name: [] for name in runs}
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


def assert_equal(runs: dict[str, Run], truth: Iterable[Any], tolerance: float) -> None:
    """Before anyone is timed: all give the same, in proportion to the largest element."""
    for name, run in runs.items():
        for got, expected in zip(run(), truth, strict=True):
            off = np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()
            assert off <= tolerance, f"{name} is off by {off:.0e}"


def built(given: Case, names: Iterable[str] = LAYERS) -> dict[str, Run]:
    """The contenders that are installed and know the layer, and that agree."""
    runs: dict[str, Run] = {}
    for name in names:
        try:
            run = LAYERS[name](given)
        except ModuleNotFoundError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
            continue
        if run is not None:
            runs[name] = run
    exact = Case(given.layer, *(a.astype(np.float64) for a in (*given.leaves, given.dy)), given.axis)
    assert_equal(runs, LAYERS["this project, engine"](exact)(), 1e-10 if given.x.dtype == np.float64 else 2e-4)
    return runs


# ---- The limit: what has to move between memory and the processor, over how fast it moves

# How often a layer reads and writes an array of x's size. A batch's statistics are known only when all of it has been read, so y
# and dx need it once more; those of a row stay with the row. A forward pass writes y, a backward pass dx; a loss writes no y.
MOVES = {"batch norm": (6, 2), "layer norm": (3, 2), "RMS norm": (3, 2), "softmax cross-entropy": (4, 1)}
PROBES = ("read", "write", "write fresh")
SMALLEST = 1 << 16  # numbers that are moved to find out how fast: with fewer it would be NumPy's call that is timed


def probes(like: np.ndarray) -> dict[str, Run]:
    """Reading an array of this size, writing it, and writing it to new memory, as a result's is; a large one on all threads."""
    size = max(like.size, SMALLEST)
    source, target = np.ones(size, like.dtype), np.ones(size, like.dtype)
    pool = ThreadPoolExecutor(THREADS)

    def shared(work: Callable[[np.ndarray], Any], array: np.ndarray) -> None:
        if size < 1 << 18:
            work(array)
        else:
            list(pool.map(work, np.array_split(array, THREADS)))

    return {
        "read": lambda: shared(lambda a: np.dot(a, a), source),
        "write": lambda: shared(lambda a: a.fill(1), target),
        "write fresh": lambda: shared(lambda a: a.fill(1), np.empty_like(target)),
    }


def limits(given: Case, times: Times) -> tuple[float, float]:
    """Seconds of a forward and backward pass that did nothing but move: with results on fresh pages, and on warm ones."""
    reads, writes = MOVES[given.layer]
    read, write, fresh = (min(times[name]) * given.x.size / max(given.x.size, SMALLEST) for name in PROBES)
    return reads * read + writes * fresh, reads * read + writes * write


# ---- Memory


def bytes_a_node(chain: Run) -> tuple[float, float]:
    """What a node of a chain of 2000 takes: after the forward pass, and with its gradient."""
    chain()
    tracemalloc.start()
    y = chain()
    forward = tracemalloc.get_traced_memory()[0] / 2000
    y.backward()
    gc.collect()
    with_gradient = tracemalloc.get_traced_memory()[0] / 2000
    tracemalloc.stop()
    return forward, with_gradient


def peak_memory(contender: str, given: Case, small: Case) -> float:
    """By how many times the size of x this process, which does nothing else, grows in a forward and backward pass (Linux)."""
    LAYERS[contender](small)()  # imports and compilers have their memory before
    run = LAYERS[contender](given)
    for a in given.leaves:
        a.sum()
    reset_peak()
    before = resident("VmRSS")
    result = run()
    grown = (resident("VmHWM") - before) / given.x.nbytes
    del result
    return grown


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def resident(field: str) -> int:
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text()).group(1)) * 1024


def on_one_thread(parts: list[Any]) -> tuple[float, float]:
    """Seconds, and the gigabytes by which this process grows, which does nothing else."""
    import dask

    reset_peak()
    before, start = resident("VmRSS"), time.perf_counter()
    dask.compute(*parts, scheduler="synchronous")
    return time.perf_counter() - start, (resident("VmHWM") - before) / 1e9


def on_two_workers(parts: list[Any], memory: str = "auto") -> tuple[float, float]:
    """The same on two processes of one thread each: of the two, the one that grows more."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=memory, dashboard_address=None, silence_logs=50) as cluster,
        Client(cluster) as client,
    ):
        client.run(reset_peak)
        before, start = client.run(resident, "VmRSS"), time.perf_counter()
        client.compute(parts, sync=True)
        seconds, peaks = time.perf_counter() - start, client.run(resident, "VmHWM")
    return seconds, max(peaks[worker] - before[worker] for worker in peaks) / 1e9


# ---- Accuracy

MEANS = (0.0, 1e2, 1e4, 1e6)
PRECISE = ("this project, engine", "this project, fused", "NumPy, condensed", "PyTorch's kernel", "JAX jit")


def batch(center: float, shape: tuple[int, int] = (256, 4), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x with mean ``center`` and standard deviation 1, and an upstream gradient, both in float32."""
    random = np.random.default_rng(seed)
    return random.normal(center, 1, shape).astype(np.float32), random.normal(size=shape).astype(np.float32)


def exact(x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y and dx for gamma 1 and beta 0, computed in 50 digits from exactly these numbers, then rounded to float64."""
    to_decimal = np.vectorize(lambda number: Decimal(float(number)), otypes=[object])
    with localcontext() as context:
        context.prec = 50
        x, dy, one, eps = to_decimal(x), to_decimal(dy), Decimal(1), Decimal(EPS)
        y, dx = batch_norm(x, one, one * 0, eps), batch_norm_backward(dy, x, one, eps).x
        return y.astype(np.float64), dx.astype(np.float64)


def errors(x: np.ndarray, dy: np.ndarray, names: Iterable[str] = PRECISE) -> dict[str, tuple[float, float]]:
    """The largest error of y and of dx in proportion to their largest element, for each contender that is installed."""
    truth = exact(x, dy)
    ones = np.ones(x.shape[1], x.dtype)
    result = {}
    for name in names:
        try:
            found = LAYERS[name](Case("batch norm", x, ones, 0 * ones, dy, 0))()
        except ModuleNotFoundError:
            continue
        result[name] = tuple(float(np.abs(np.asarray(a) - t).max() / np.abs(t).max()) for a, t in zip(found, truth))
    return result
