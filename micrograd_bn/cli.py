"""The command line: ``micrograd-bn demo | verify | derivations | prove | derive | draw | …``, also ``python -m micrograd_bn``."""

from __future__ import annotations

import argparse
import inspect
import json
import math
import sys
import webbrowser
from collections.abc import Callable
from decimal import Decimal, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from . import derivations
from .batches import drawn
from .batchnorm import batch_norm
from .check import Check
from .derivation import Derivation
from .derive import derive
from .draw import ZOOMS, Zoom, draw
from .engine import Tensor, scalars
from .explorer import explore
from .files import write_whole
from .grading import grade_file
from .kinds import Array, Value
from .numbers.program import trace
from .prove import Proof, prove
from .reader import Batch, Unusable, read_batch
from .shapes import Shape
from .submission import DidNotRun, check_file, derivation_named, module
from .verify import Report, verify

# What draw() advises, in the words of the command line.
SPELLINGS = {
    "zoom='equations'": "--zoom equations",
    "a smaller batch": "a smaller batch (--rows, --columns)",
    "max_nodes=": "--max-nodes",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command, and return its exit code.

    0 all rows agree, 1 one does not, 2 unusable input (or code, for ``check``), 130 interrupted.

    >>> main(["verify", "no-such-file.csv"])  # and on stderr, why
    2
    """
    options = _parser().parse_args(argv)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        print("micrograd-bn: interrupted; a file is written whole or not at all", file=sys.stderr)
        return 130
    except (ValueError, TypeError, ZeroDivisionError, OSError, RuntimeError, ModuleNotFoundError) as error:
        print(f"micrograd-bn: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="micrograd-bn", description="Batch normalisation from primitive operations, held against the derivation."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version, and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "file",
        nargs="?",
        help="CSV (header or not; commas, semicolons, tabs, spaces) or .npy; - is CSV on standard input; none is Iris",
    )
    data.add_argument("--columns", help="the columns to take: a,b by name, or by number from 1: 1,2", type=lambda s: s.split(","))
    data.add_argument("--eps", type=float, default=1e-5, help="added to the variance (default %(default)s)")
    data.add_argument(
        "--seed", type=_between(0, 2**32 - 1), default=0, help="for gamma, beta and the upstream gradient (default 0)"
    )
    data.add_argument("--upstream", metavar="FILE", help="the upstream gradient, of the batch's shape (default random)")

    dtype = argparse.ArgumentParser(add_help=False)
    dtype.add_argument("--dtype", choices=("float32", "float64"), help="the precision to compute in (default float64)")

    command = commands.add_parser("demo", help="the whole: a report here, pictures in out/")
    command.set_defaults(run=_demo)

    command = commands.add_parser("verify", help="hold engine and derivation side by side, row by row", parents=[data, dtype])
    command.add_argument("--digits", type=_between(2, 300), help="compute in decimal numbers of so many digits instead of floats")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_derivation(command)
    command.set_defaults(run=_verify)

    command = commands.add_parser("derivations", help="list the derivations that are there, with their equations")
    command.set_defaults(run=_derivations)

    command = commands.add_parser("prove", help="the report as identities, on symbols (needs micrograd-bn[prove])")
    command.add_argument("--m", type=int, help="prove it for one size (default every m; 4 takes seconds, 8 more than a minute)")
    _add_derivation(command)
    command.set_defaults(run=_prove)

    command = commands.add_parser("derive", help="the derivation on paper: .html, .tex, .md (needs micrograd-bn[prove])")
    command.add_argument("derivation", metavar="NAME", help="a name that `micrograd-bn derivations` lists, or FILE.py:NAME")
    command.add_argument("-o", "--output", help="where to: .html, .tex, .md, .txt (default: the terminal)")
    command.set_defaults(run=_derive)

    command = commands.add_parser("draw", help="draw the graph of the batch as SVG", parents=[data, dtype])
    command.add_argument("--zoom", choices=ZOOMS, default=ZOOMS[0], help="how close to look (default %(default)s)")
    command.add_argument("--rows", type=int, help="take only the first so many rows")
    command.add_argument("--direction", choices=("TB", "LR"), default="TB", help="top to bottom, or left to right")
    command.add_argument("--precision", type=_between(1, 17), default=4, help="significant digits (default 4)")
    command.add_argument("--show", choices=("values", "gradients", "both", "neither"), default="both")
    command.add_argument("--max-nodes", type=int, default=2000, help="refuse a larger picture (default 2000)")
    command.add_argument("-o", "--output", default="graph.svg", help="where to: .svg, .dot, .png, .pdf (default %(default)s)")
    command.set_defaults(run=_draw)

    command = commands.add_parser("explore", help="write the interactive page, to step through", parents=[data])
    command.add_argument("--rows", type=int, help="take only the first so many rows (default 8)")
    command.add_argument("-o", "--output", default="page.html", help="where to (default %(default)s)")
    command.add_argument("--open", action="store_true", help="open it in the browser")
    command.set_defaults(run=_explore, dtype=None)

    submission = argparse.ArgumentParser(add_help=False)
    what = "a function of (dy, x, gamma, beta, eps), or of another derivation's upstream gradient, inputs and constants"
    submission.add_argument("function", metavar="FILE.py:FUNCTION", help=what)
    _add_derivation(submission)
    submission.add_argument(
        "--timeout",
        type=_between(0.1, 86400, float),
        default=60,
        metavar="SECONDS",
        help="stop it after so long (default %(default)s)",
    )
    command = commands.add_parser(
        "check", help="say what is wrong, and why, with a backward pass that you wrote", parents=[submission]
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.add_argument("--draw", metavar="FILE", help="draw the first gradient that is wrong: .svg, .dot, .png, .pdf")
    command.set_defaults(run=_check)

    command = commands.add_parser("grade", help="points for such a backward pass, gradient by gradient", parents=[submission])
    command.add_argument("--points", type=_points, required=True, help="what each gradient is worth: dgamma=1,dx=3")
    command.add_argument("--seed", type=_between(0, 2**32 - 1), default=0, help="of the batches (default 0, which check has)")
    command.add_argument("--gradescope", metavar="FILE", help="write the grade there, as Gradescope reads it")
    command.set_defaults(run=_grade)

    command = commands.add_parser("write", help="write a function's forward and backward pass as a module of NumPy statements")
    command.add_argument(
        "function",
        metavar="NAME",
        help="a derivation's, as `micrograd-bn derivations` lists them, or FILE.py:FUNCTION, a function of Tensors",
    )
    command.add_argument(
        "--shape",
        type=_shape,
        action="append",
        required=True,
        help="of the first argument, 32,10; again for each further one, or else they have that without its first axis",
    )
    command.add_argument("--dtype", choices=("float16", "float32", "float64"), default="float64", help="default %(default)s")
    command.add_argument("--reuse", action="store_true", help="with buffers that are kept from call to call")
    command.add_argument("-o", "--output", help="where to (default: the terminal)")
    command.set_defaults(run=_write)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"{parser.prog} {version('micrograd-bn')}")  # setup.cfg's, as it was installed
        parser.exit()


def _shape(text: str) -> Shape:
    try:
        return tuple(int(n) for n in text.split(",") if n)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 32,10") from None


def _add_derivation(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--derivation",
        default="batch_norm",
        metavar="NAME",
        help="which one: a name that `micrograd-bn derivations` lists, or FILE.py:NAME (default %(default)s)",
    )


def _between(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str], float]:
    """A parser of numbers from ``low`` to ``high``, for argparse."""

    def parse(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return number

    return parse


def _verify(options: argparse.Namespace) -> int:
    if options.digits and options.dtype:
        raise Unusable("--digits computes in decimals, and --dtype is a precision of floats: give one of the two")
    derivation = derivation_named(options.derivation)
    x, dy = _read(options)
    eps = {"eps": options.eps} if "eps" in derivation.constants else {}
    with localcontext() as context:
        if options.digits:
            context.prec = options.digits
            x = np.vectorize(lambda number: Decimal(repr(float(number))), otypes=[object])(x)
        report = verify(x, dy=dy, seed=options.seed, derivation=derivation, **eps)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(report)
    return 0 if report.ok else 1


def _derivations(options: argparse.Namespace) -> int:
    for name in derivations.__all__:
        d = getattr(derivations, name)
        print(f"{name.lower()}: {d.name}, of {', '.join(d.inputs)}")
        for e in d.equations:
            print(f"  ({e.number}) {e.name} = {e.text}")
    return 0


def _prove(options: argparse.Namespace) -> int:
    proof = prove(options.m, derivation=derivation_named(options.derivation))
    _show(proof)
    return 0 if proof.ok else 1


def _derive(options: argparse.Namespace) -> int:
    paper = derive(derivation_named(options.derivation))
    print(paper.save(options.output) if options.output else paper)
    return 0


def _draw(options: argparse.Namespace) -> int:
    x, dy = _read(options)
    y = _differentiated(x, dy, options.eps, options.seed, options.zoom)
    how = {"direction": options.direction, "precision": options.precision, "show": options.show}
    try:
        graph = draw(y, options.zoom, max_nodes=options.max_nodes, **how)
    except ValueError as error:
        message = str(error)
        for python, here in SPELLINGS.items():
            message = message.replace(python, here)
        raise Unusable(message) from None
    print(graph.save(options.output))
    return 0


def _explore(options: argparse.Namespace) -> int:
    batch, dy = _read_batch(options, rows=8)
    path = explore(options.output, batch.data, dy=dy, eps=options.eps, columns=batch.columns or None, seed=options.seed)
    print(path)
    if options.open:
        webbrowser.open(path.resolve().as_uri())
    return 0


def _write(options: argparse.Namespace) -> int:
    path, _, own = options.function.rpartition(":")
    f = getattr(module(path), own, None) if path else derivation_named(options.function)
    if not callable(f):
        raise Unusable(f"{path}: there is no function {own!r} in it")
    shapes = [*options.shape, *_further_shapes(f, options.shape[0])[len(options.shape) :]]
    program = trace(f, *[np.ones(shape, options.dtype)[()] for shape in shapes], reuse=options.reuse)
    print(program.save(options.output) if options.output else program, end="\n" if options.output else "")
    return 0


def _further_shapes(f: Any, first: Shape) -> list[Shape]:
    """The shapes of all arguments, from the first one's: as a derivation has them, or without the first axis."""
    if isinstance(f, Derivation):
        sizes = dict(zip(f.shapes[f.inputs[0]], first))
        shapes = [f.shapes[name] for name in f.inputs]
        fit = [
            first if i == 0 else tuple([sizes.get(n, 1) for n in s]) if isinstance(s, tuple) else () for i, s in enumerate(shapes)
        ]
        return [shape or first[1:] for shape in fit]
    parameters = inspect.signature(f).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [first, *[first[1:] for _ in required[1:]]]


def _check(options: argparse.Namespace) -> int:
    try:
        check = check_file(options.function, options.timeout, derivation=options.derivation)
    except DidNotRun as error:
        print(f"micrograd-bn: {options.function}: {error}", file=sys.stderr)
        return 2
    if options.draw:
        check.draw().save(options.draw)
    if options.json:
        print(json.dumps(check.to_dict(), indent=2, ensure_ascii=False))
    else:
        _show(check)
    return 0 if check.ok else 1


def _grade(options: argparse.Namespace) -> int:
    grade = grade_file(options.function, options.points, options.timeout, seed=options.seed, derivation=options.derivation)
    print(grade)
    if options.gradescope:
        write_whole(options.gradescope, json.dumps(grade.gradescope(), indent=2, ensure_ascii=False).encode())
    return 0


def _points(text: str) -> dict[str, float]:
    try:
        entries = [(name, float(points)) for name, points in (entry.split("=") for entry in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of points such as dgamma=1,dx=3") from None
    if len(dict(entries)) < len(entries) or not all(0 <= points < math.inf for _, points in entries):
        raise argparse.ArgumentTypeError(f"{text!r}: each gradient has its points once, and they are finite and not below 0")
    return dict(entries)


def _demo(options: argparse.Namespace) -> int:
    x = read_batch(None).data
    report = verify(x)
    print("Fisher's Iris measurements (1936), 150 flowers × 4 lengths in cm, as a batch;")
    print("γ, β and the upstream gradient dy are random, from seed 0.\n")
    _show(report)
    out = Path("out")
    out.mkdir(exist_ok=True)
    print("\nThe graph of the batch, as equations and as primitives, and of four petal lengths, number by number:")
    for zoom in ZOOMS:
        part = x if zoom != "scalars" else x[48:52, 2:3]
        print(f"  {draw(_differentiated(part, None, 1e-5, 0, zoom), zoom).save(out / f'{zoom}.svg')}")
    print(f"The derivation to step through, in a browser:\n  {explore(out / 'page.html')}")
    return 0 if report.ok else 1


def _read_batch(options: argparse.Namespace, rows: int | None = None) -> tuple[Batch, Array | None]:
    """The batch that the options name, and its upstream gradient if they name one; ``rows`` of it, if --rows does not say."""
    batch, dtype = read_batch(options.file, options.columns), options.dtype or "float64"
    _note(batch, *batch.notes)
    dy = None
    if options.upstream is not None:
        upstream = read_batch(options.upstream)
        _note(upstream, *upstream.notes)
        dy = upstream.data.astype(dtype)
        if dy.shape != batch.data.shape:
            raise Unusable(f"{options.upstream}: the gradient has shape {dy.shape}, and the batch {batch.data.shape}")
    wanted = getattr(options, "rows", None)
    if wanted is not None and wanted < 1:
        raise Unusable(f"--rows {wanted}: a batch has at least one row")
    if wanted and wanted > len(batch.data):
        _note(batch, f"--rows {wanted}: there are only {len(batch.data)}")
    if rows and not wanted and rows < len(batch.data):
        _note(batch, f"the first {rows} of {len(batch.data)} rows; --rows takes another number of them")
    rows = wanted or rows
    batch = batch._replace(data=batch.data[:rows].astype(dtype))
    of_batch_norm = getattr(options, "derivation", "batch_norm") == "batch_norm"  # others may have no variance
    constant = _constant(batch) if of_batch_norm else ""
    if constant and options.eps == 0:
        raise Unusable(f"{batch.name}: {constant} and --eps is 0: equation (3) divides by √(σ² + ε) = 0. Use an --eps > 0")
    if constant:
        _note(batch, f"{'one row' if len(batch.data) == 1 else constant}: variance 0, so x̂ is 0 and y is β")
    return batch, None if dy is None else dy[:rows]


def _note(batch: Batch, *notes: str) -> None:
    for note in notes:
        print(f"note: {batch.name}: {note}", file=sys.stderr)


def _constant(batch: Batch) -> str:
    """Which columns hold one number only: "column 'a' is constant", "columns 'a', 'b' are constant", or nothing."""
    places = np.argwhere(np.atleast_1d((batch.data == batch.data[0]).all(axis=0))).tolist()
    if batch.columns:
        names = [repr(batch.columns[j]) for (j,) in places]
    else:
        names = [str(place[0] + 1 if len(place) == 1 else place) for place in places]
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"column {some} is constant" if len(names) == 1 else f"columns {some} are constant" if names else ""


def _read(options: argparse.Namespace) -> tuple[Array, Array | None]:
    batch, dy = _read_batch(options)
    return batch.data, dy


def _differentiated(x: Array, dy: Array | None, eps: float, seed: int, zoom: Zoom) -> Value:
    """A batch norm of the batch after its backward pass: a Tensor, or for the scalars zoom an array of them."""
    own, random_dy = drawn(x, seed=seed)
    gamma, beta, random_dy = (value.astype(x.dtype) for value in (*own.values(), random_dy))
    dy = random_dy if dy is None else dy
    if zoom == "scalars":
        y = batch_norm(scalars(x), scalars(gamma), scalars(beta), eps)
        (y * dy).sum().backward()  # so that the gradient of each y is its dy
    else:
        y = batch_norm(Tensor(x), Tensor(gamma), Tensor(beta), eps)
        y.backward(dy)
    return y


def _show(report: Report | Proof | Check) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 110).print(report)  # in a file, no formula is broken at 80 columns
