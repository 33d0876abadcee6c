"""This project and its peers side by side, each case in one process, in turns, after they have agreed on the result.

    python -m benchmarks                     all of it; writes results.md, the plots, and the README's short table
    python -m benchmarks layers scalars      some sections, to the terminal
    python -m benchmarks --quick             fewer sizes and rounds, to the terminal

docs/benchmarks.md says what bounds each.
"""

from __future__ import annotations

import argparse
import gc
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from micrograd.engine import Value
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import contenders, timing
from benchmarks.contenders import COMPILED, FUSED, LAYERS, PROGRAM, REFERENCE, THREADS, case
from benchmarks.page import measured
from benchmarks.timing import Times, in_turn
from micrograd_bn import Tensor, trace

HERE = Path(__file__).parent
IMAGES = (32, 64, 56, 56)
SIZES = [((8, 4), "float64"), ((32, 10), "float64"), ((256, 128), "float32"), ((2048, 256), "float32"), ((8192, 1024), "float32")]
FEWER = [((32, 10), "float64"), ((256, 128), "float32"), ((8192, 1024), "float32")]
QUICK = [((32, 10), "float64"), ((256, 128), "float32")]
ROWS = [2**i for i in range(5, 16)]  # at 256 columns
COLUMNS = [2**i for i in range(2, 13)]  # at 2048 rows
SCALING = [(FUSED, 1), (REFERENCE, 1), (PROGRAM, 1), (FUSED, THREADS), (REFERENCE, THREADS), (COMPILED, THREADS)]
COLORS = {
    **{FUSED: "C0", REFERENCE: "C1", PROGRAM: "C2", COMPILED: "C3"},
    **{"this project, engine": "C0", "micrograd": "C1", "the limit": "C7"},
}


class Report:
    """What the sections write, and how far they are."""

    def __init__(self, quick: bool, progress: Progress, task: int):
        self.quick, self.lines, self.plots = quick, [], {}
        self._progress, self._task = progress, task

    def in_turn(self, what: str, runs: dict[str, contenders.Run], seconds: float) -> Times:
        self._progress.update(self._task, description=what)
        start = time.perf_counter()
        times = in_turn(runs, seconds / 10 if self.quick else seconds)
        self._progress.advance(self._task, time.perf_counter() - start)
        return times

    def write(self, *lines: str) -> None:
        self.lines += [*lines, ""]
        self._progress.console.print("\n".join([*lines, ""]), markup=False, highlight=False, soft_wrap=True)


# ---- Sections: each with about how many seconds it takes


def name_of(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def layers(report: Report) -> None:
    report.write(
        "Forward and backward in microseconds: minimum (median), the ratio of minimums to PyTorch's kernel, and to the limit:",
        "what has to move over how fast it moves here; in parentheses, the limit if results did not need new memory.",
        f"Float64 up to 32 × 10, float32 elsewhere. {machine()}.",
    )
    for layer in timing.MOVES:
        sizes = QUICK if report.quick else FEWER if layer != "batch norm" else [*SIZES, (IMAGES, "float32")]
        report.write(
            f"**{layer[0].upper()}{layer[1:]}**", "", *table({name_of(s): layer_times(report, layer, s, d) for s, d in sizes})
        )


def layer_times(report: Report, layer: str, shape: tuple[int, ...], dtype: str) -> tuple[Times, tuple[float, float]]:
    given = case(layer, shape, dtype)
    times = report.in_turn(
        f"{layer} {name_of(shape)}", timing.built(given) | timing.probes(given.x), 20 if layer == "batch norm" else 8
    )
    return times, timing.limits(given, times)


def scalars(report: Report) -> None:
    columns = {}
    for name, (function, count) in contenders.SCALAR_GRAPHS.items():
        runs = contenders.scalar_contenders(function, count)
        truth = runs["micrograd"]()
        for run in runs.values():
            for a, b in zip(run(), truth):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        columns[name] = report.in_turn(name, runs, 10), None
    report.write(
        "Scalar graphs, forward and backward, in microseconds; the ratio is to micrograd.", "", *table(columns, "micrograd")
    )
    report.write(
        "Seconds until a program has given its gradients for the first time, from tracing on: "
        + ", ".join(f"{once(partial(traced, *graph)):.2f} for {name}" for name, graph in contenders.SCALAR_GRAPHS.items())
        + f", {once(partial(traced, lambda x: contenders.chain(lambda _: x, 10_000), 1)):.2f} for a chain of 10,000 nodes; "
        + "compiled, "
        + " and ".join(f"{once(partial(traced, *graph, compiled=True)):.2f}" for graph in contenders.SCALAR_GRAPHS.values())
        + "."
    )
    (own, with_gradient), (peers, peers_with) = (
        timing.bytes_a_node(lambda n=n: contenders.chain(n, 2000)) for n in (Tensor, Value)
    )
    report.write(
        f"A node takes {own:.0f} bytes after the forward pass and {with_gradient:.0f} with its gradient; micrograd's {peers:.0f} "
        f"and {peers_with:.0f} (ratios {own / peers:.2f} and {with_gradient / peers_with:.2f})."
    )


def second(report: Report) -> None:
    given = case("batch norm", QUICK[-1][0] if report.quick else SIZES[-1][0])
    runs = contenders.double_backward(given)
    here, there = (run() for run in runs.values())
    np.testing.assert_allclose(here, there, atol=1e-4)
    times = report.in_turn("second derivatives", runs, 20)
    shown = table({name_of(given.x.shape): (times, None)}, "PyTorch composed")
    report.write("The gradient of the squared norm of dx (two backward passes); the ratio is to PyTorch composed.", "", *shown)


def accuracy(report: Report) -> None:
    lines = [
        "The largest error of y and of dx in proportion to their largest element, against the exact result in 50 digits.",
        "",
        "| float32, 256 × 4 | " + " | ".join(f"{name}: y, dx" for name in timing.PRECISE) + " |",
        "|---|" + "---:|" * len(timing.PRECISE),
    ]
    for center in timing.MEANS:
        found = timing.errors(*timing.batch(center))
        cells = [f"{found[name][0]:.0e}, {found[name][1]:.0e}" if name in found else "not installed" for name in timing.PRECISE]
        lines.append(f"| mean {center:g}, std 1 | " + " | ".join(cells) + " |")
    report.write(*lines)


def memory(report: Report) -> None:
    """Each in a process of its own."""
    peaks = {}
    for name in LAYERS:
        command = [sys.executable, "-m", "benchmarks", "--peak", name]
        peaks[name] = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    report.write(
        f"Peak memory of a forward and backward pass at {name_of(SIZES[-1][0])}, in sizes of x, beyond the inputs: y and dx are 2.",
        "",
        "| " + " | ".join(peaks) + " |",
        "|" + "---:|" * len(peaks),
        "| " + " | ".join(peaks.values()) + " |",
    )


def scaling(report: Report) -> None:
    """Time an element against rows, columns and threads, and a node against nodes: plots."""
    called = {(name, n): f"{name}, {n} thread{'s' * (n > 1)}" for name, n in SCALING}
    for along, shapes in (("rows", [(n, 256) for n in ROWS]), ("columns", [(2048, n) for n in COLUMNS])):
        found = report.plots[along] = {name: [] for name in (*called.values(), "the limit")}
        for shape in shapes[:: 3 if report.quick else 1]:
            given = case("batch norm", shape)
            for n in (1, THREADS):
                contenders.use_threads(n)
                names = [name for name, threads in SCALING if threads == n]
                times = report.in_turn(f"{name_of(shape)}, {n} threads", timing.built(given, names) | timing.probes(given.x), 2)
                for name in names:
                    found[called[name, n]].append((given.x.size, min(times[name])))
            found["the limit"].append((given.x.size, timing.limits(given, times)[0]))
    found = report.plots["nodes"] = {"this project, engine": [], "micrograd": []}
    for nodes in [10**i for i in range(2, 5 if report.quick else 7)]:
        for name, number in zip(found, (Tensor, Value)):
            if number is Tensor or nodes <= 10_000:  # micrograd's pass is a recursion
                found[name].append((nodes, best_of_three(partial(contenders.chain, number, nodes))))
    report.write(
        "Forward and backward of a chain, a node: "
        + ", ".join(f"{seconds / nodes * 1e6:.2f} µs at {nodes:,}" for nodes, seconds in found["this project, engine"])
        + " nodes."
    )
    for along in ("rows", "columns"):
        lines = report.plots[along]
        sizes = [f"{size:,}" for size, _ in lines["the limit"]]
        shown = [f"| Nanoseconds a number of x, by {along} | " + " | ".join(sizes) + " |", "|---|" + "---:|" * len(sizes)]
        for name, points in lines.items():
            shown.append(f"| {name} | " + " | ".join(f"{seconds / size * 1e9:.2f}" for size, seconds in points) + " |")
        report.write(*shown)


def traced(function: Callable, count: int, compiled: bool = False) -> Any:
    """A program from the function to its first gradients."""
    program = trace(function, *[1.0] * count)
    return (program.compile() if compiled else program).gradients(*[0.5] * count)


def once(run: Callable[[], Any]) -> float:
    """Seconds of the one call that there is to time."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def best_of_three(build: Callable[[], Any]) -> float:
    """Seconds of a forward and a backward pass through a graph."""
    best = np.inf
    for _ in range(3):
        gc.collect()
        best = min(best, once(lambda: build().backward()))
    return best


def dask(report: Report) -> None:
    """Larger batches than is good for one process, and larger chunks."""
    lines = [
        "A Dask batch of float64, 64 columns: seconds, and the gigabytes by which a process grows, or the larger of two.",
        "",
        "| | one thread | two workers | two workers of 1 GB |",
        "|---|---:|---:|---:|",
    ]
    cases = [(gigabytes, 50_000) for gigabytes in (1, 2, 4)] + [(1, chunk) for chunk in (12_500, 200_000, 800_000)]
    for layer in ("batch norm", "layer norm"):
        for gigabytes, chunk in [(0.1, 5_000)] if report.quick else cases:
            parts = contenders.lazy(layer, gigabytes, chunk)
            command = [sys.executable, "-m", "benchmarks", "--lazy", layer, str(gigabytes), str(chunk)]
            one = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            cells = [one, timing.on_two_workers(parts)]
            if chunk <= 50_000:  # larger chunks do not fit into so little
                cells.append(timing.on_two_workers(parts, "1GB"))
            shown = [f"{float(seconds):.1f} s, {float(peak):.2f} GB" for seconds, peak in cells] + ["–"] * (3 - len(cells))
            lines.append(f"| {layer}, {gigabytes} GB, {chunk:,} rows a chunk | " + " | ".join(shown) + " |")
    report.write(*lines)


def page(report: Report) -> None:
    report.write(*measured(20 if report.quick else 100))


SECTIONS = {layers: 250, scalars: 30, second: 30, accuracy: 5, memory: 90, scaling: 200, dask: 1000, page: 30}


# ---- How it is shown


def number(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 10 else f"{microseconds:.1f}"


def table(columns: dict[str, tuple[Times, tuple[float, float] | None]], reference: str = REFERENCE) -> list[str]:
    """A row a contender, a column a case: minimum (median), ratio to the reference, ratio to the limit."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    names = dict.fromkeys(name for times, _ in columns.values() for name in times if name not in timing.PROBES)
    for name in names:
        cells = []
        for times, limit in columns.values():
            best, middle = min(times[name]), statistics.median(times[name])
            ratio = f" · {best / limit[0]:.1f}" if limit else ""
            cells.append(f"{number(best * 1e6)} ({number(middle * 1e6)}) {best / min(times[reference]):.2f}×{ratio}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    if all(limit for _, limit in columns.values()):
        cells = [f"{number(fresh * 1e6)} ({number(warm * 1e6)})" for _, (fresh, warm) in columns.values()]
        lines.append("| the limit | " + " | ".join(cells) + " |")
    return lines


def in_short(text: str) -> str:
    """What the README shows of the results: batch norm's table, the first, without most of its columns and all but the minimums."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    sizes = [lines[0].index(name_of(shape)) for shape, _ in FEWER]
    rows = [["", *[lines[0][i] for i in sizes]], ["---", *["---:"] * len(sizes)]]
    for name in (FUSED, COMPILED, "this project, engine", REFERENCE, "PyTorch composed", "JAX jit", "autograd"):
        cells = next(cells for cells in lines if cells[0] == name)
        rows.append([name, *[re.sub(r" \(.*\) (\S+×).*", r" (\1)", cells[i]) for i in sizes]])
    what = "Batch norm, forward and backward: microseconds, and in parentheses how many times that of PyTorch's kernel."
    where = next(line for line in text.splitlines() if line.startswith("Float64"))
    return "\n".join([what, where, "", *[f"| {' | '.join(row)} |" for row in rows]])


def machine() -> str:
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "torch", "jax", "autograd", "micrograd"))
    return f"{model.group(1) if model else platform.processor()}, {THREADS} cores; Python {platform.python_version()}, {versions}"


def plot(found: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """Time an element, or a node, against how many there are."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"
    import matplotlib.pyplot as plt

    titles = {"rows": "rows of 256", "columns": "columns of 2048", "nodes": "a chain of single numbers"}
    figure, panels = plt.subplots(1, len(found), figsize=(4.4 * len(found), 4.8))
    for axes, (along, lines) in zip(panels, found.items()):
        for name, points in lines.items():
            style = ":" if name == "the limit" else "--" if name.endswith("1 thread") else "-"
            color = next(color for start, color in COLORS.items() if name.startswith(start))
            sizes, seconds = zip(*points)
            axes.loglog(sizes, np.array(seconds) / sizes * 1e9, style, color=color, marker=".", label=name)
        axes.set(title=titles[along], xlabel="nodes" if along == "nodes" else "numbers in x")
        axes.set_ylabel(f"forward and backward, ns a {'node' if along == 'nodes' else 'number'}")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=7, frameon=False, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    by_name = {section.__name__: section for section in SECTIONS}
    parser.add_argument("sections", nargs="*", choices=[*by_name, []], help="all by default")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # a process of its own for ``memory``
    parser.add_argument("--lazy", nargs=3, help=argparse.SUPPRESS)  # … and for ``dask``
    options = parser.parse_args()
    if options.lazy:
        layer, gigabytes, chunk = options.lazy
        print(*timing.on_one_thread(contenders.lazy(layer, float(gigabytes), int(chunk))))
        return
    if options.peak:
        shape, dtype = SIZES[-1]
        print(f"{timing.peak_memory(options.peak, case('batch norm', shape, dtype), case('batch norm', (8, 8), dtype)):.1f}")
        return

    chosen = [by_name[name] for name in options.sections] or list(SECTIONS)
    expected = sum(SECTIONS[section] for section in chosen) / (6 if options.quick else 1)
    console = Console()
    console.print(f"This takes about {max(1, round(expected / 60))} minutes; times of a machine that does nothing else say most.")
    contenders.use_threads(THREADS)
    sys.setrecursionlimit(50_000)  # for micrograd
    with Progress(BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), console=console) as progress:
        report = Report(options.quick, progress, progress.add_task("", total=expected))
        for section in chosen:
            section(report)
    if not options.sections and not options.quick:
        text = "\n".join(report.lines)
        (HERE / "results.md").write_text(text, encoding="utf-8")
        plot(report.plots, HERE / "results.svg")
        readme = HERE.parent / "README.md"
        shown = re.sub(
            r"(<!-- benchmark -->\n).*?(<!-- /benchmark -->)",
            lambda found: f"{found.group(1)}\n{in_short(text)}\n\n{found.group(2)}",
            readme.read_text(encoding="utf-8"),
            flags=re.DOTALL,
        )
        readme.write_text(shown, encoding="utf-8")


if __name__ == "__main__":
    main()
