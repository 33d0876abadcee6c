"""The command line: ``micrograd-bn demo | verify | prove | draw``, also as ``python -m micrograd_bn``."""

from __future__ import annotations

import argparse
import json
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np

from .batchnorm import batch_norm
from .draw import Graph, draw
from .engine import Tensor
from .prove import Proof, prove
from .reader import Unusable, read_batch
from .verify import Report, verify


def main(argv: list[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 all rows agree, 1 one does not, 2 unusable input."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options)
    except (Unusable, ValueError, TypeError, ZeroDivisionError, OSError, ModuleNotFoundError) as error:
        print(f"micrograd-bn: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="micrograd-bn", description="Batch normalisation from primitive operations, held against the derivation."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument("file", nargs="?", help="CSV (header or not) or .npy; - is CSV on standard input; none is Iris")
    data.add_argument("--columns", help="the columns to take, by name or number: a,b", type=lambda s: s.split(","))
    data.add_argument("--eps", type=float, default=1e-5, help="added to the variance (default %(default)s)")
    data.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="the precision to compute in")
    data.add_argument("--seed", type=int, default=0, help="for gamma, beta and the upstream gradient (default 0)")
    data.add_argument("--upstream", metavar="FILE", help="the upstream gradient, of the batch's shape (default random)")

    command = commands.add_parser("demo", help="the whole: a report here, pictures in out/", parents=[])
    command.set_defaults(run=_demo)

    command = commands.add_parser("verify", help="hold engine and derivation side by side, row by row", parents=[data])
    command.add_argument("--digits", type=_digits, help="compute in decimal numbers of so many digits instead of floats")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=_verify)

    command = commands.add_parser("prove", help="the report as identities, on symbols (needs micrograd-bn[prove])")
    command.add_argument("--m", type=int, default=3, help="the size of the batch (default 3)")
    command.set_defaults(run=_prove)

    command = commands.add_parser("draw", help="draw the graph of the batch as SVG", parents=[data])
    command.add_argument("--zoom", choices=("primitives",), default="primitives", help="how close to look")
    command.add_argument("-o", "--output", default="graph.svg", help="where to, .svg or .dot (default %(default)s)")
    command.set_defaults(run=_draw)
    return parser


def _digits(text: str) -> int:
    digits = int(text)
    if not 2 <= digits <= 300:
        raise argparse.ArgumentTypeError(f"{digits} is not between 2 and 300")
    return digits


def _verify(options) -> int:
    x, dy = _read(options)
    with localcontext() as context:
        if options.digits:
            context.prec = options.digits
            x = np.vectorize(lambda number: Decimal(repr(float(number))), otypes=[object])(x)
        report = verify(x, dy=dy, eps=options.eps, seed=options.seed)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    return 0 if report.ok else 1


def _prove(options) -> int:
    proof = prove(options.m)
    _show(proof)
    return 0 if proof.ok else 1


def _draw(options) -> int:
    x, dy = _read(options)
    print(_picture(x, dy, options.eps, options.seed, options.zoom).save(options.output))
    return 0


def _demo(options) -> int:
    x = read_batch(None).data
    report = verify(x)
    print("Fisher's Iris measurements (1936), 150 flowers × 4 lengths in cm, as a batch.\n")
    _show(report)
    Path("out").mkdir(exist_ok=True)
    path = _picture(x, None, 1e-5, 0, "primitives").save("out/primitives.svg")
    print(f"\nThe graph, every primitive with its values and gradients: {path}")
    return 0 if report.ok else 1


def _read(options):
    batch = read_batch(options.file, options.columns)
    for note in batch.notes:
        print(f"note: {note}", file=sys.stderr)
    dy = None
    if options.upstream:
        dy = read_batch(options.upstream).data.astype(options.dtype)
        if dy.shape != batch.data.shape:
            raise Unusable(f"{options.upstream}: the gradient has shape {dy.shape}, and the batch {batch.data.shape}")
    return batch.data.astype(options.dtype), dy


def _picture(x, dy, eps, seed, zoom) -> Graph:
    random = np.random.default_rng(seed)
    kept = (1, *x.shape[1:])
    gamma, beta = random.uniform(0.5, 1.5, kept).astype(x.dtype), random.normal(size=kept).astype(x.dtype)
    y = batch_norm(Tensor(x, "x"), Tensor(gamma, "gamma"), Tensor(beta, "beta"), eps)
    y.backward(random.normal(size=x.shape).astype(x.dtype) if dy is None else dy)
    return draw(y, zoom)


def _show(report: Report | Proof) -> None:
    from rich.console import Console

    Console().print(report)
