"""The report: the engine and the derivation side by side, row by row."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Context, Decimal, DivisionByZero, getcontext, localcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .batchnorm import batch_norm, checked, mean, normalize, variables, variance
from .derivation import CONDENSED, EQUATIONS, GRADIENTS, SYMBOLS, Equation, Gradient, batch_norm_backward, evaluate
from .engine import Tensor
from .kinds import Array, Value, as_data
from .notebook import as_html
from .shapes import Shape, axes, shape, unbroadcast

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

# How far two computations of the same formula may drift apart by rounding, in units of the last place of the terms that
# they add up: some hundred operations' worth. 1.8e-13 for float64, 9.5e-5 for float32.
ROUNDING = 800


FORWARD = {entry.output: entry.function for entry in EQUATIONS[:4]}


class Row(NamedTuple):
    """A line of the report: the engine's value against the derivation's.

    >>> row = verify([1.0, 2.0, 6.0]).rows[10]
    >>> row.number, row.name, row.formula, row.ok
    ('(11)', '∂μ/∂x', '1/m', True)
    """

    number: str  # of the equation, or of the edges whose terms the gradient adds up
    name: str
    formula: str
    error: float  # the largest absolute difference
    relative: float  # the largest difference in proportion to the terms that are added up, so that a sum of 0 has a scale
    ok: bool


class Report(NamedTuple):
    """Twenty rows: equations (1) to (4), local derivatives (5) to (13), six gradients, and the condensed form of dx."""

    rows: tuple[Row, ...]
    shape: Shape
    dtype: str
    tolerance: float  # the largest relative error that still counts as rounding

    @property
    def ok(self) -> bool:
        """Whether all rows agree within rounding."""
        return all(row.ok for row in self.rows)

    @property
    def max_error(self) -> float:
        """The largest absolute difference in any row."""
        return max(row.error for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        rows = [row._asdict() for row in self.rows]
        return {**self._asdict(), "shape": list(self.shape), "rows": rows, "ok": self.ok, "max_error": self.max_error}

    def __rich__(self) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"A batch of shape {self.shape}, {self.dtype}: engine against derivation",
            title_justify="left",
            caption=f"{sum(row.ok for row in self.rows)} of {len(self.rows)} rows agree within rounding"
            f": relative ≤ {self.tolerance:.1e}, {ROUNDING} machine epsilons.\n"
            "Relative to the size of the terms added up. (5) to (13): gradients pulled back.",
            caption_justify="left",
        )
        table.add_column("equation", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("formula")
        table.add_column("error", justify="right", no_wrap=True)
        table.add_column("relative", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for i, row in enumerate(self.rows):
            verdict = "[green]✓[/]" if row.ok else "[bold red]✗ differs[/]"
            cells = (row.number, row.name, row.formula, _short(row.error), _short(row.relative), verdict)
            table.add_row(*cells, end_section=i in (3, 12))
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def _short(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def as_text(table: RenderableType) -> str:
    """What rich would show, as plain text: in Jupyter, and where FORCE_COLOR is set, too."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=110, color_system=None, force_jupyter=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def verify(
    x: Value,
    gamma: Value = None,
    beta: Value = None,
    dy: Value = None,
    eps: Value = 1e-5,
    axis: int | tuple[int, ...] = 0,
    seed: int = 0,
) -> Report:
    """Hold the engine against the derivation on a batch: is every equation, every edge and every gradient the same?

    x, gamma, beta, eps and axis are ``batch_norm``'s, as numbers or arrays; dy is the upstream gradient, of x's shape. What
    is not given is drawn at random from ``seed``: gamma from 0.5 to 1.5, beta and dy normal. If x holds ``Decimal``s, the
    others are converted, and all is computed with the digits of the current decimal context.

    (1) to (4) are held against NumPy's own mean and var in extended precision (Decimal: twice the digits). For (5)
    to (13) the gradient that arrives at an edge is pulled back along it, by the engine through that one equation's function
    and by the formula. For the six gradients, the engine's pass through the graph is held against ``batch_norm_backward``.

    Raises the errors of ``batch_norm``; ValueError for NaN or infinity in the data or its statistics, and
    ZeroDivisionError where a variance of 0 meets an eps of 0.

    >>> report = verify([[5.1, 3.5], [4.9, 3.0], [4.7, 3.2]])
    >>> len(report.rows), report.ok
    (20, True)
    """
    x, _, _ = checked(np.asarray(as_data(x)), 1.0, 0.0, eps, axis)
    gamma, beta, dy = (own if given is None else as_data(given) for given, own in zip((gamma, beta, dy), drawn(x, axis, seed)))
    x, gamma, beta = checked(x, gamma, beta, eps, axis)
    convert = _converter(x)
    gamma, beta, dy, eps = convert(gamma), convert(beta), convert(dy), convert(eps)[()]
    values = values_on_paper(x, gamma, beta, dy, eps, axis)
    digits = getcontext().prec
    tolerance = ROUNDING * (float(np.finfo(x.dtype).eps) if x.dtype != object else 10.0 ** (1 - digits))
    rows = tuple(
        _row(line, tolerance) for line in (*_forward(values, convert(tolerance)[()]), *_edges(values), *_gradients(values))
    )
    return Report(rows, x.shape, str(x.dtype) if x.dtype != object else f"Decimal with {digits} digits", tolerance)


def drawn(x: Array, axis: int | tuple[int, ...] = 0, seed: int = 0) -> tuple[Array, Array, Array]:
    """gamma, beta and dy for a batch of which they are not given: from 0.5 to 1.5, and normal."""
    random = np.random.default_rng(seed)
    kept = tuple(1 if i in axes(x.ndim, axis) else n for i, n in enumerate(x.shape))
    return random.uniform(0.5, 1.5, kept), random.normal(size=kept), np.asarray(random.normal(size=x.shape))


def _converter(x: Array) -> Callable[[Value], Array]:
    """A function that turns numbers into x's kind, by way of their decimal digits where that is Decimal: 0.1 is 0.1."""
    if x.dtype != object:
        return lambda value: np.asarray(value, dtype=x.dtype)
    if not isinstance(x.flat[0], Decimal):
        raise TypeError(
            f"verify compares floats or Decimals, and x holds {type(x.flat[0]).__name__}: convert it, or see prove() for symbols"
        )
    to_decimal = np.vectorize(lambda number: number if isinstance(number, Decimal) else Decimal(str(number)), otypes=[object])
    return lambda value: np.asarray(to_decimal(value))


def values_on_paper(x: Array, gamma: Array, beta: Array, dy: Array, eps: Value, axis: int | tuple[int, ...]) -> dict[str, Value]:
    """Every variable of the derivation, without the engine, by the names that the table's functions use: "x", "mu", "dx", …

    Raises ValueError where one cannot be had because a number is not finite, ZeroDivisionError where it would be 0 / 0.
    """
    values: dict[str, Value] = {"x": x, "gamma": gamma, "beta": beta, "eps": eps, "axis": axis, "dy": dy}
    _check_finite(values, "x", "gamma", "beta", "dy")
    with np.errstate(over="ignore"):
        values["mu"] = mean(x, axis)
        values["var"] = variance(x, values["mu"], axis)
    _check_finite(values, "mu", "var", hint=f": x is too large for {x.dtype}, so divide it by a constant")
    if eps == 0 and not values["var"].all():
        where = np.argwhere(values["var"] == 0)[0].tolist()
        raise ZeroDivisionError(
            f"the batch is constant at statistic {where} and eps is 0: equation (3) divides by √(σ² + ε) = 0. Use an eps > 0"
        )
    values["x_hat"] = normalize(x, values["mu"], values["var"], eps)
    with np.errstate(over="ignore", invalid="ignore"):
        on_paper = batch_norm_backward(dy, x, gamma, eps, axis)
    gradients = {f"d{name}": gradient for name, gradient in on_paper._asdict().items()}
    _check_finite(gradients, *gradients, hint=f": it leaves the range of {x.dtype}, so scale dy, or x")
    return values | gradients


def _check_finite(values: dict[str, Value], *names: str, hint: str = "") -> None:
    for name in names:
        value = values[name]
        finite = np.isfinite(value) if value.dtype != object else np.vectorize(Decimal.is_finite, otypes=[bool])(value)
        if not finite.all():
            where = np.argwhere(~finite)[0].tolist()
            raise ValueError(f"{name}{where} is {value[tuple(where)]}, and the derivation is about finite numbers{hint}")


# What becomes a row: its number, its entry in the table, the engine's value, the derivation's, and the size of its terms.
_Line: TypeAlias = tuple[str, Equation | Gradient, Value, Value, Value]


def _row(line: _Line, tolerance: float) -> Row:
    number, entry, got, expected, scale = line
    with np.errstate(divide="ignore"), _twice_the_digits():
        error = np.abs(_precise(got) - _precise(expected))
        relative = np.divide(error, np.abs(_precise(scale)), out=np.zeros_like(error), where=error != 0)
    worst = float(relative.max(initial=0))
    return Row(number, entry.name, entry.text, float(error.max(initial=0)), worst, worst <= tolerance)


def _precise(value: Value) -> Array:
    array = np.asarray(value)
    return array if array.dtype == object else array.astype(np.longdouble)


def _twice_the_digits() -> AbstractContextManager[Context]:
    """A decimal context for what the report compares with; floats are not concerned, they have ``_precise``."""
    context = getcontext().copy()
    context.prec *= 2
    context.traps[DivisionByZero] = False  # an error where nothing is added up is infinitely large
    return localcontext(context)


def magnitudes(values: dict[str, Value]) -> dict[str, Value]:
    """Values for which the terms of every formula have one sign: evaluated on them, it gives the size of what it adds up.

    All formulas but (1) know x and mu only as x − mu, so |x − mu| stands for x, and 0 for mu.
    """
    sizes = {name: value if name in ("eps", "axis") else np.abs(value) for name, value in values.items()}
    return sizes | {"x": np.abs(values["x"] - values["mu"]), "mu": values["mu"] * 0}


def _forward(values: dict[str, Value], rounding: Value) -> Iterator[_Line]:
    """(1) to (4): the engine on the batch, against NumPy's mean and var in extended precision."""
    y = batch_norm(Tensor(values["x"]), Tensor(values["gamma"]), Tensor(values["beta"]), values["eps"], values["axis"])
    nodes = variables(y)

    x, gamma, beta, eps, axis = (values[name] for name in ("x", "gamma", "beta", "eps", "axis"))
    with _twice_the_digits():
        exact = {"mu": _precise(x).mean(axis=axis, keepdims=True), "var": _precise(x).var(axis=axis, keepdims=True)}
        deviation = np.sqrt(exact["var"] + eps)
        exact["x_hat"] = (_precise(x) - exact["mu"]) / deviation
        exact["y"] = _precise(gamma) * exact["x_hat"] + beta
    # The rounding of x − mu is in proportion to x and mu, however small their difference.
    scale = {"mu": np.abs(x).mean(axis=axis, keepdims=True)}
    scale["var"] = exact["var"] + rounding * scale["mu"] ** 2  # around a mean that is off by d, var is larger by d²
    scale["var"] += 0 if x.dtype == object else np.finfo(x.dtype).tiny  # and what is smaller has no digits as a float
    scale["x_hat"] = (np.abs(x) + np.abs(exact["mu"])) / deviation
    scale["y"] = np.abs(gamma) * scale["x_hat"] + np.abs(beta)
    for entry in EQUATIONS[:4]:
        name = entry.output
        yield f"({entry.number})", entry, nodes[name].data, exact[name], scale[name]


def _edges(values: dict[str, Value]) -> Iterator[_Line]:
    """(5) to (13): the gradient that arrives at an edge, pulled back along it by the engine and by the formula."""
    sizes = magnitudes(values)
    for entry in EQUATIONS[4:]:
        yield f"({entry.number})", entry, by_engine(entry, values), by_formula(entry, values), by_formula(entry, sizes)


def by_engine(edge: Equation, values: dict[str, Value]) -> Value:
    """The gradient of the edge's output, pulled back along it by the engine, through the function of that one equation."""
    leaves = {name: Tensor(values[name]) for name in SYMBOLS if name in values}
    leaves |= {name: values[name] for name in ("eps", "axis")}
    evaluate(FORWARD[edge.output], leaves).backward(values[f"d{edge.output}"])
    return leaves[edge.input].grad


def by_formula(edge: Equation, values: dict[str, Value]) -> Value:
    """The same by the edge's formula: the term for each element of the batch, added up to the shape of the edge's input."""
    term, to = evaluate(edge.function, values), shape(values[edge.input])
    return unbroadcast(np.broadcast_to(term, np.broadcast_shapes(shape(term), to)), to)


def _gradients(values: dict[str, Value]) -> Iterator[_Line]:
    """The six gradients and the condensed form: a pass through the composed graph, against the formulas."""
    x, gamma, beta = (Tensor(values[name]) for name in ("x", "gamma", "beta"))
    y = batch_norm(x, gamma, beta, values["eps"], values["axis"])
    y.backward(values["dy"])
    nodes = variables(y)
    sizes = magnitudes(values)
    for entry in GRADIENTS:
        number = " ".join(f"({n})" for n in entry.numbers)
        yield number, entry, nodes[entry.variable].grad, values[f"d{entry.variable}"], evaluate(entry.function, sizes)
    # Collecting the terms takes Σ (x − μ) for 0, which holds to the rounding of x and μ: their sizes count, not their difference's.
    sizes["x"] = np.abs(values["x"]) + np.abs(values["mu"])
    yield "condensed", CONDENSED, x.grad, evaluate(CONDENSED.function, values), evaluate(GRADIENTS[-1].function, sizes)
