"""The command line: ``micrograd-bn demo | verify | derivations | prove | derive | draw | …``, also ``python -m micrograd_bn``."""

from __future__ import annotations

import argparse
import csv
import inspect
import io
import json
import math
import sys
import webbrowser
from collections.abc import Callable
from contextlib import redirect_stdout
from decimal import Decimal, localcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from . import derivations
from .batches import drawn
from .check import Check
from .derivation import Derivation
from .derivations.batch_norm import BATCH_NORM
from .derive import derive
from .draw import ZOOMS, Zoom, draw
from .engine import Tensor, scalars
from .explorer import explore
from .files import write_whole
from .grading import NOT_JUDGED, Grade, grade_file
from .kinds import Array, Value
from .numbers.program import trace
from .prove import Proof, prove
from .reader import Batch, Unusable, read_batch
from .shapes import Shape
from .submission import DidNotRun, check_file, derivation_named, in_their_code, module, submissions
from .verify import Report, verify

# What draw() advises, in the words of the command line.
SPELLINGS = {
    "zoom='equations'": "--zoom equations",
    "a smaller batch": "a smaller batch (--rows, --columns)",
    "max_nodes=": "--max-nodes",
}

# What the package says of bad input. Anything else is raised by code of the user's, or is our mistake, which wants its traceback.
EXPECTED = (ValueError, TypeError, ZeroDivisionError, OSError, RuntimeError, ModuleNotFoundError, MemoryError)


def main(argv: list[str] | None = None) -> int:
    """Run a command, and return its exit code.

    0 all rows agree, 1 one does not, 2 unusable input (or code, for ``check``), 130 interrupted.

    >>> main(["verify", "no-such-file.csv"])  # and on stderr, why
    2
    """
    parser = _parser()
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    options.out = sys.stdout
    if options.run is None:
        parser.print_help()
        return 2
    try:
        with redirect_stdout(sys.stderr):  # what a user's code prints is no part of what a command prints, which is on options.out
            code: int = options.run(options)
    except KeyboardInterrupt:
        print("micrograd-bn: interrupted; a file is written whole or not at all", file=sys.stderr)
        return 130
    except (Exception, SystemExit) as error:
        message = in_their_code(error)
        if message is None and not isinstance(error, EXPECTED):
            raise
        message = message or (str(error) if isinstance(error, DidNotRun) else " ".join(str(error).split()))
        print(f"micrograd-bn: {message}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="micrograd-bn", description="Batch normalisation from primitive operations, held against the derivation."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version, and leave")
    parser.set_defaults(run=None, parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, what: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:], parents=parents)
        command.set_defaults(parser=command)
        return command

    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "file",
        nargs="?",
        help="CSV (header or not; commas, semicolons, tabs, spaces) or .npy; - is CSV on standard input; none is Iris",
    )
    data.add_argument("--columns", help="the columns to take: a,b by name, or by number from 1: 1,2", type=lambda s: s.split(","))
    data.add_argument("--eps", type=float, help="added to the variance (default 1e-05)")
    data.add_argument(
        "--seed", type=_between(0, 2**32 - 1), default=0, help="for gamma, beta and the upstream gradient (default 0)"
    )
    data.add_argument("--upstream", metavar="FILE", help="the upstream gradient, of the result's shape (default random)")
    _add_derivation(data)

    dtype = argparse.ArgumentParser(add_help=False)
    dtype.add_argument("--dtype", choices=("float32", "float64"), help="the precision to compute in (default float64)")

    command = add("demo", "the whole: a report here, pictures in out/")
    command.set_defaults(run=_demo)

    command = add("verify", "hold engine and derivation side by side, row by row", data, dtype)
    command.add_argument("--digits", type=_between(2, 300), help="compute in decimal numbers of so many digits instead of floats")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.set_defaults(run=_verify)

    command = add("derivations", "list the derivations that are there, with their equations")
    command.set_defaults(run=_derivations)

    command = add("prove", "the report as identities, on symbols (needs micrograd-bn[prove])")
    command.add_argument("--m", type=int, help="prove it for one size (default every m; 4 takes seconds, 8 more than a minute)")
    _add_derivation(command)
    command.set_defaults(run=_prove)

    command = add("derive", "the derivation on paper: .html, .tex, .md (needs micrograd-bn[prove])")
    command.add_argument("derivation", nargs="?", default=argparse.SUPPRESS, metavar="NAME", help="the same as --derivation NAME")
    _add_derivation(command)
    command.add_argument("-o", "--output", help="where to: .html, .tex, .md, .txt (default: the terminal)")
    command.set_defaults(run=_derive)

    command = add("draw", "draw the graph of the batch as SVG", data, dtype)
    command.add_argument("--zoom", choices=ZOOMS, default=ZOOMS[0], help="how close to look (default %(default)s)")
    command.add_argument("--rows", type=int, help="take only the first so many rows")
    command.add_argument("--direction", choices=("TB", "LR"), default="TB", help="top to bottom, or left to right")
    command.add_argument("--precision", type=_between(1, 17), default=4, help="significant digits (default 4)")
    command.add_argument(
        "--show", choices=("values", "gradients", "both", "neither"), default="both", help="in the boxes (default both)"
    )
    command.add_argument("--max-nodes", type=int, default=2000, help="refuse a larger picture (default 2000)")
    command.add_argument("-o", "--output", default="graph.svg", help="where to: .svg, .dot, .png, .pdf (default %(default)s)")
    command.set_defaults(run=_draw)

    command = add("explore", "write the interactive page, to step through", data)
    command.add_argument("--rows", type=int, help="take only the first so many rows (default 8)")
    command.add_argument("-o", "--output", default="page.html", help="where to (default %(default)s)")
    command.add_argument("--open", action="store_true", help="open it in the browser")
    command.set_defaults(run=_explore, dtype=None)

    submission = argparse.ArgumentParser(add_help=False)
    _add_derivation(submission)
    submission.add_argument(
        "--timeout",
        type=_between(0.1, 86400, float),
        default=60,
        metavar="SECONDS",
        help="stop it after so long (default %(default)s)",
    )
    target = "FILE.py[:FUNCTION]"
    what = (
        "a function of (dy, x, gamma, beta, eps), or of another derivation's upstream gradient, inputs and constants "
        "(default FUNCTION: backward)"
    )
    command = add("check", "say what is wrong, and why, with a backward pass that you wrote", submission)
    command.add_argument("function", metavar=target, help=what)
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.add_argument("--draw", metavar="FILE", help="draw the first gradient that is wrong: .svg, .dot, .png, .pdf")
    command.set_defaults(run=_check)

    command = add("grade", "points for backward passes that others wrote, gradient by gradient", submission)
    command.add_argument("functions", nargs="+", metavar=target, help=f"{what}; a folder is every .py file in it")
    command.add_argument("--points", type=_points, help="what each gradient is worth: dgamma=1,dx=3 (default 1 each)")
    command.add_argument("--seed", type=_between(0, 2**32 - 1), default=0, help="of the batches (default 0, which check has)")
    command.add_argument("--csv", metavar="FILE", help="write the grades there, a row for each file")
    command.add_argument("--gradescope", metavar="FILE", help="write the grade of one file there, as Gradescope reads it")
    command.set_defaults(run=_grade)

    command = add("write", "write a function's forward and backward pass as a module of NumPy statements")
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
        help="of the first argument, 32,10; again for each further one, where its shape does not follow from a derivation's, "
        "or, of a function, is not that without its first axis",
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
    sizes = text.removesuffix(",").split(",") if text else []
    if not all(n.strip().isdecimal() for n in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape such as 32,10")
    if 0 in map(int, sizes):
        raise argparse.ArgumentTypeError(f"{text!r}: sizes are 1 or more")
    return tuple(map(int, sizes))


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
    given = _read(options)
    x = given.batch.data
    with localcontext() as context:
        if options.digits:
            context.prec = options.digits
            x = np.vectorize(lambda number: Decimal(repr(float(number))), otypes=[object])(x)
        report = verify(x, seed=options.seed, derivation=given.derivation, **given.constants, **given.upstream)
    return _reported(report, options)


def _derivations(options: argparse.Namespace) -> int:
    for name in derivations.__all__:
        d = getattr(derivations, name)
        print(f"{name.lower()}: {d.name}, of {', '.join(d.inputs)}", file=options.out)
        for e in d.equations:
            print(f"  ({e.number}) {e.name} = {e.text}", file=options.out)
    return 0


def _prove(options: argparse.Namespace) -> int:
    proof = prove(options.m, derivation=derivation_named(options.derivation))
    _show(proof, options.out)
    return 0 if proof.ok else 1


def _derive(options: argparse.Namespace) -> int:
    paper = derive(derivation_named(options.derivation))
    print(paper.save(options.output) if options.output else paper, file=options.out)
    return 0


def _draw(options: argparse.Namespace) -> int:
    y = _differentiated(_read(options), options.seed, options.zoom)
    how = {"direction": options.direction, "precision": options.precision, "show": options.show}
    try:
        graph = draw(y, options.zoom, max_nodes=options.max_nodes, **how)
    except ValueError as error:
        message = str(error)
        for python, here in SPELLINGS.items():
            message = message.replace(python, here)
        raise Unusable(message) from None
    print(graph.save(options.output), file=options.out)
    return 0


def _explore(options: argparse.Namespace) -> int:
    given = _read(options, rows=8)
    if given.derivation is BATCH_NORM:  # its page has the batch's columns to choose from
        columns = given.batch.columns or None
        path = explore(options.output, given.batch.data, columns=columns, seed=options.seed, **given.constants, **given.upstream)
    else:
        path = explore(options.output, _differentiated(given, options.seed))
    print(path, file=options.out)
    if options.open:
        webbrowser.open(path.resolve().as_uri())
    return 0


def _write(options: argparse.Namespace) -> int:
    path, _, own = options.function.rpartition(":")
    f = getattr(module(path), own, None) if path else derivation_named(options.function)
    if not callable(f):
        raise Unusable(f"{path}: there is no function {own!r} in it")
    shapes = [*options.shape, *_further_shapes(f, options.shape)]
    program = trace(f, *[np.ones(shape, options.dtype)[()] for shape in shapes], reuse=options.reuse)
    print(program.save(options.output) if options.output else program, end="\n" if options.output else "", file=options.out)
    return 0


def _further_shapes(f: Any, given: list[Shape]) -> list[Shape]:
    """The shapes of the arguments after those given: as a derivation has them, or the first one's without its first axis."""
    first = given[0]
    if not isinstance(f, Derivation):
        parameters = inspect.signature(f).parameters.values()
        required = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return [first[1:]] * len(required[len(given) :])
    dims = f.dimensions()
    further = f.inputs[len(given) :]
    if len(dims[f.inputs[0]]) != len(first):
        return [first[1:]] * len(further)
    sizes = {name: size for a, shape in zip(f.inputs, given) for name, size in zip(dims[a], shape)}
    for a in further:
        if unknown := [n for n in dims[a] if not n.isdigit() and n not in sizes]:
            every = ", ".join(f.inputs)
            raise Unusable(f"{a} has shape ({', '.join(dims[a])}), and {unknown[0]} is not known: say --shape for each of {every}")
    shapes = {a: tuple(int(n) if n.isdigit() else sizes[n] for n in dims[a]) for a in further}
    row = {a for a in further if f.shapes[a] == "kept" and dims[a][:1] == ("1",)}  # of (1, k), (k,) says as much
    return [shapes[a][1:] if a in row else shapes[a] for a in further]


def _check(options: argparse.Namespace) -> int:
    try:
        check = check_file(options.function, options.timeout, derivation=options.derivation)
    except DidNotRun as error:
        print(f"micrograd-bn: {options.function}: {error}", file=sys.stderr)
        return 2
    if options.draw:
        path = check.draw().save(options.draw)
        print(f"note: {path}: {'where it goes wrong first' if not check.ok else 'nothing is wrong'}", file=sys.stderr)
    return _reported(check, options)


def _grade(options: argparse.Namespace) -> int:
    derivation = derivation_named(options.derivation)  # a mistake in it is nobody's 0
    points = options.points or {f"d{gradient.variable}": 1 for gradient in derivation.gradients}
    if options.gradescope and len(options.functions) > 1:
        raise Unusable("--gradescope is for the one submission that Gradescope gives; the grades of several go to --csv")
    # What Gradescope finds no file of is a grade, too.
    targets = options.functions if options.gradescope else submissions(options.functions)
    grades: dict[str, Grade] = {}
    for target in targets:
        if len(targets) > 1:
            print(f"{chr(10) * bool(grades)}{target}", file=options.out, flush=True)
        grades[target] = grade_file(target, points, options.timeout, seed=options.seed, derivation=options.derivation)
        print(grades[target], file=options.out, flush=True)
    if options.gradescope:
        (grade,) = grades.values()
        write_whole(options.gradescope, json.dumps(grade.gradescope(), indent=2, ensure_ascii=False).encode())
    if options.csv:
        write_whole(options.csv, _table(grades, [*points]).encode())
    return 0


def _table(grades: dict[str, Grade], gradients: list[str]) -> str:
    """Grades as CSV, a row for each submission."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["submission", *gradients, "points", "why"])
    for target, grade in grades.items():
        lost = [f"{mark.name}: {mark.why}" for mark in grade.marks if mark.points < mark.out_of and mark.why != NOT_JUDGED]
        why = "; ".join(filter(None, [*lost, grade.note]))
        table.writerow([target, *[f"{mark.points:g}" for mark in grade.marks], f"{grade.points:g}", why])
    return text.getvalue()


def _points(text: str) -> dict[str, float]:
    try:
        entries = [(name, float(points)) for name, points in (entry.split("=") for entry in text.split(","))]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of points such as dgamma=1,dx=3") from None
    if len(dict(entries)) < len(entries) or not all(0 <= points < math.inf for _, points in entries):
        raise argparse.ArgumentTypeError(f"{text!r}: each gradient has its points once, and they are finite and not below 0")
    return dict(entries)


def _demo(options: argparse.Namespace) -> int:
    batch = read_batch(None)
    report = verify(batch.data)
    print("Fisher's Iris measurements (1936), 150 flowers × 4 lengths in cm, as a batch:\n", file=options.out)
    _show(report, options.out)
    out = Path("out")
    out.mkdir(exist_ok=True)
    print(
        "\nThe graph of the batch, as equations and as primitives, and of four petal lengths, number by number:", file=options.out
    )
    for zoom in ZOOMS:
        part = batch if zoom != "scalars" else batch._replace(data=batch.data[48:52, 2:3])
        y = _differentiated(_Given(BATCH_NORM, part, {}, {}), 0, zoom)
        print(f"  {draw(y, zoom).save(out / f'{zoom}.svg')}", file=options.out)
    print(f"The derivation to step through, in a browser:\n  {explore(out / 'page.html')}", file=options.out)
    return 0 if report.ok else 1


class _Given(NamedTuple):
    """What the options name."""

    derivation: Derivation
    batch: Batch  # the derivation's first input
    constants: dict[str, Any]  # eps, if it is given
    upstream: dict[str, Any]  # the upstream gradient by its name, if it is given


def _read(options: argparse.Namespace, rows: int | None = None) -> _Given:
    """The batch that the options name, and what goes with it; ``rows`` of it, if --rows does not say."""
    d, eps, dtype = derivation_named(options.derivation), options.eps, options.dtype or "float64"
    if eps is not None and "eps" not in d.constants:
        raise Unusable(f"--eps {eps:g}: there is no ε in {d.name}")
    if eps is not None and not 0 <= eps < math.inf:
        raise Unusable(f"--eps {eps:g}: it is added under a square root, and is a finite number from 0 on")
    batch = read_batch(options.file, options.columns)
    _note(batch, *batch.notes)
    upstream = _read_upstream(options.upstream, batch, d) if options.upstream is not None else None
    wanted = getattr(options, "rows", None)
    if wanted is not None and wanted < 1:
        raise Unusable(f"--rows {wanted}: a batch has at least one row")
    if wanted and wanted > len(batch.data):
        _note(batch, f"--rows {wanted}: there are only {len(batch.data)}")
    if rows and not wanted and rows < len(batch.data):
        _note(batch, f"the first {rows} of {len(batch.data)} rows; --rows takes another number of them")
    rows = wanted or rows
    with np.errstate(over="ignore"):  # verify says what is not finite
        if upstream is not None:
            upstream = upstream.astype(dtype)[: rows or None] if upstream.ndim else upstream.astype(dtype)
        batch = batch._replace(data=batch.data[:rows].astype(dtype))
    if d is BATCH_NORM and batch.data.ndim > 2:
        _note(batch, f"the statistics of shape {batch.data.shape} are over axis 0 alone; for others, verify(x, axis=…) in Python")
    constant = _constant(batch) if d is BATCH_NORM else ""  # others may have no variance
    if constant and eps == 0:
        raise Unusable(f"{batch.name}: {constant} and --eps is 0: equation (3) divides by √(σ² + ε) = 0. Use an --eps > 0")
    if constant:
        _note(batch, f"{'one row' if len(batch.data) == 1 else constant}: variance 0, so x̂ is 0 and y is β")
    return _Given(d, batch, {} if eps is None else {"eps": eps}, {} if upstream is None else {d.upstream: upstream})


def _read_upstream(path: str, batch: Batch, d: Derivation) -> Array:
    """The upstream gradient in a file, of the shape that the result has for this batch."""
    upstream = read_batch(path)
    _note(upstream, *upstream.notes)
    _, like = drawn(batch.data, derivation=d)
    if like.size == upstream.data.size == 1:  # a file has no arrays without axes
        return upstream.data.reshape(like.shape)
    if upstream.data.shape != like.shape:
        what = f"the batch {like.shape}" if like.shape == batch.data.shape else f"{d.result} of {d.name} {like.shape}"
        raise Unusable(f"{path}: the gradient has shape {upstream.data.shape}, and {what}")
    return upstream.data


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


def _differentiated(given: _Given, seed: int, zoom: Zoom = "equations") -> Value:
    """The derivation's result for a batch, after its backward pass: a Tensor, or for the scalars zoom an array of them."""
    d, x = given.derivation, given.batch.data
    others, random = drawn(x, seed, d)
    upstream = given.upstream.get(d.upstream, random).astype(x.dtype)
    kind: Callable[[Array], Value] = scalars if zoom == "scalars" else Tensor
    inputs = {a: np.asarray(value, x.dtype) for a, value in ({d.inputs[0]: x} | others).items()}
    y = d(**{a: value if a in d.no_gradient else kind(value) for a, value in inputs.items()}, **given.constants)
    if zoom == "scalars":
        (y * upstream).sum().backward()  # so that the gradient of each y is its dy
    else:
        y.backward(upstream)
    return y


def _reported(report: Report | Check, options: argparse.Namespace) -> int:
    """Print a report, as a table or as --json, and return the exit code."""
    if options.json:
        print(json.dumps(report.to_dict(), indent=2, ensure_ascii=False), file=options.out)
    else:
        _show(report, options.out)
    return 0 if report.ok else 1


def _show(report: Report | Proof | Check, out: TextIO) -> None:
    from rich.console import Console

    Console(file=out, width=None if out.isatty() else 110).print(report)  # in a file, no formula is broken at 80 columns
