"""The report: the engine and the derivation side by side, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal, DivisionByZero, InvalidOperation, getcontext, localcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .batches import drawn
from .derivation import Derivation, Edge, Equation, Gradient, as_derivation, evaluate, gradient_of
from .derivations.batch_norm import BATCH_NORM
from .engine import Tensor
from .faults import listed
from .kinds import Array, Value, as_data
from .notebook import as_html, as_table, as_text
from .numbers.running import Running, running
from .shapes import Shape

if TYPE_CHECKING:
    from rich.table import Table


class ReportRow(NamedTuple):
    """A line of the report: the engine's value against the derivation's.

    >>> row = verify([1.0, 2.0, 6.0]).rows[10]
    >>> row.number, row.name, row.formula, row.ok
    ('(11)', '∂μ/∂x', '1/m', True)
    """

    number: str  # of the equation, or of the edges whose terms the gradient adds up
    name: str
    formula: str
    error: float  # the largest absolute difference
    bound: float | None  # the most that rounding may make of one, by a running error analysis of both sides; None: anything
    ok: bool  # whether every difference is within its own bound
    by_engine: bool  # the table has no formula here, so there is nothing to hold the engine against


class Report(NamedTuple):
    """A row for each equation, local derivative, gradient and condensed form: twenty for batch norm."""

    rows: tuple[ReportRow, ...]
    shape: Shape
    dtype: str
    derivation: Derivation = BATCH_NORM
    drawn: tuple[str, ...] = ()  # what was not given

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
        plain = {**self._asdict(), "derivation": self.derivation.name, "shape": list(self.shape), "rows": rows}
        return {**plain, "ok": self.ok, "max_error": self.max_error}

    def __rich__(self) -> Table:
        from rich.table import Column
        from rich.text import Text

        equations, edges = self.derivation.equations, self.derivation.edges
        first, last = edges[0].number, edges[-1].number
        pulled = f"({first})" if first == last else f"({first}) to ({last})"
        alone = [row for row in self.rows if row.by_engine]
        unbound = [row for row in self.rows if row.bound is None and row.ok]
        held = [row for row in self.rows if row not in alone and row not in unbound]
        what = "A batch" if self.derivation is BATCH_NORM else f"{self.derivation.name}: {self.derivation.inputs[0]}"
        table = as_table(
            f"{what} of shape {self.shape}, {self.dtype}: engine against derivation",
            f"{sum(row.ok for row in held)} of {len(held)} rows agree within rounding: no error is above its bound.\n"
            f"Bounds are by a running error analysis of both sides. {pulled}: gradients pulled back."
            + f"\n{len(unbound)} without a bound: with the digits of {self.dtype}, rounding may make anything of these numbers."
            * bool(unbound)
            + f"\n{len(alone)} rows have no formula to hold the engine against: write one as an Edge." * bool(alone)
            + f"\nNot given, so drawn at random: {listed(self.drawn)}." * bool(self.drawn),
            Column("equation", justify="right", no_wrap=True),
            Column(no_wrap=True),
            "formula",
            Column("error", justify="right", no_wrap=True),
            Column("bound", justify="right", no_wrap=True),
            Column(no_wrap=True),
        )
        for i, row in enumerate(self.rows):
            verdict = Text("✓", "green") if row.ok else Text("✗ differs", "bold red")
            verdict = Text("by the engine" if row.by_engine else "no bound") if row.by_engine or row in unbound else verdict
            errors = ("", "") if row.by_engine else (_short(row.error), "" if row.bound is None else _short(row.bound))
            cells = (row.number, Text(row.name), Text(row.formula), *errors, verdict)
            table.add_row(*cells, end_section=i in (len(equations) - 1, len(equations) + len(edges) - 1))
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def _short(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def verify(
    x: Value = None,
    /,
    gamma: Value = None,
    beta: Value = None,
    dy: Value = None,
    eps: Value = None,
    axis: int | tuple[int, ...] | None = None,
    seed: int = 0,
    *,
    derivation: Derivation = BATCH_NORM,
    **values: Value,
) -> Report:
    """Hold the engine against a derivation: is every equation, every edge and every gradient the same?

    x, gamma, beta, eps and axis are ``batch_norm``'s, as numbers or arrays; dy is the upstream gradient, of x's shape. For another
    ``derivation``, x is its first input, and the others, its constants and its upstream gradient go by their names. What is not
    given is drawn at random from ``seed``, by the derivation's shapes and domains: gamma from 0.5 to 1.5, beta and dy normal.
    If x holds ``Decimal``s, the others are converted, and all is computed with the digits of the current decimal context.

    Each equation is held against itself in extended precision (Decimal: twice the digits), without the engine, on what the engine
    has put into it. For the local derivatives the gradient that arrives at an edge is pulled back along it, by the engine through
    that one equation's function and by the formula; an edge without a formula says "by the engine". For the gradients, the engine's
    pass through the graph is held against ``Derivation.backward``.

    Raises the errors of ``batch_norm``; TypeError for an input that is missing or that the derivation does not have; ValueError for
    NaN or infinity in the data or what is computed of it, a formula that gives another shape, and LaTeX that does not parse;
    ZeroDivisionError where a variance of 0 meets an eps of 0.

    >>> report = verify([[5.1, 3.5], [4.9, 3.0], [4.7, 3.2]])
    >>> len(report.rows), report.ok
    (20, True)
    >>> from micrograd_bn import derivations
    >>> verify([[5.1, 3.5], [4.9, 3.0]], derivation=derivations.RMS_NORM).ok
    True
    """
    d = as_derivation(derivation)
    named = {"gamma": gamma, "beta": beta, "eps": eps, "axis": axis, "dy" if "dy" in d.inputs else d.upstream: dy}
    named |= values | ({d.inputs[0]: x} if x is not None else {})
    given = {name: value for name, value in named.items() if value is not None}
    upstream, first = given.pop(d.upstream, None), given.get(d.inputs[0])
    if first is None:
        raise TypeError(f"verify needs the first input of {d.name}, {d.inputs[0]!r}: the others are drawn to fit it")
    first = np.asarray(as_data(first))
    convert = _converter(first, d)
    constants = {name: given.get(name, default) for name, default in d.constants.items()}
    constants = {name: convert(value)[()] if isinstance(d.constants[name], float) else value for name, value in constants.items()}
    inputs = {name: np.asarray(as_data(value)) for name, value in given.items() if name not in d.constants}
    d.check_latex()
    d.complete(dict.fromkeys(d.inputs, 1.0) | inputs | constants)  # for its errors, before anything is drawn
    d = d.with_constants(constants)
    own, own_upstream = drawn(first, seed, d, inputs)
    random = [name for name in d.inputs if name not in inputs]
    inputs = {name: convert(value) for name, value in (own | inputs).items()}
    known = values_on_paper(inputs | constants, convert(own_upstream if upstream is None else as_data(upstream)), d, random)
    nodes = d.forward(**{name: Tensor(value) for name, value in inputs.items()}, **constants)
    nodes[d.result].backward(known[d.upstream])
    number, precise = running(first.dtype), running(first.dtype, np.longdouble)
    lines = (*_forward(d, nodes, precise), *_edges(d, known, number), *_gradients(d, nodes, known, number))
    dtype = str(first.dtype) if first.dtype != object else f"Decimal with {getcontext().prec} digits"
    random += [d.upstream] * (upstream is None)
    return Report(tuple(_row(line, d) for line in lines), first.shape, dtype, derivation, tuple(random))


def _converter(x: Array, d: Derivation) -> Callable[[Value], Array]:
    """A function that turns numbers into x's kind, by way of their decimal digits where that is Decimal: 0.1 is 0.1."""
    if x.dtype != object:
        return lambda value: np.asarray(value, dtype=x.dtype)
    if x.size and not isinstance(x.flat[0], Decimal):
        raise TypeError(
            f"verify compares floats or Decimals, and {d.inputs[0]} holds {type(x.flat[0]).__name__}: convert it, or see prove() "
            "for symbols"
        )
    to_decimal = np.vectorize(lambda number: number if isinstance(number, Decimal) else Decimal(str(number)), otypes=[object])
    return lambda value: np.asarray(to_decimal(value))


def values_on_paper(
    values: dict[str, Value], upstream: Array, d: Derivation = BATCH_NORM, random: Iterable[str] = ()
) -> dict[str, Value]:
    """Every variable of a derivation, its constants and gradients, without the engine, by name: "x", "dx", …

    random  the inputs that were drawn, which an error names.

    Raises ValueError where one cannot be had because a number is not finite, or has another shape than what it belongs to.
    """
    first = d.inputs[0]
    dtype = np.asarray(values[first]).dtype
    _check_finite({a: values[a] for a in d.inputs} | {d.upstream: upstream})
    unlimited = [repr(a) for a in random if not d.domains.get(a)]
    undefined = f": {d.name}, or a derivative of it, is not defined there"
    if unlimited:
        undefined = (
            f": not given, so drawn at random: {listed(unlimited)}. Give them, or say where {d.name} is defined, "
            f"Derivation(…, domains={{{unlimited[0]}: 'positive'}})"
        )
    faults: list[str] = []  # of the floats, in their order

    def why(large: str) -> str:
        return large if faults[:1] in ([], ["overflow"]) else undefined

    with np.errstate(all="call", under="ignore", call=lambda fault, _: faults.append(fault)):
        known = d.forward(**values)
        _check_finite({a: known[a] for a in d.outputs}, why(f": {first} is too large for {dtype}, so divide it by a constant"))
        faults.clear()
        gradients = {f"d{name}": gradient for name, gradient in d.backward(upstream, **known).items()}
        _check_finite(gradients, why(f": it leaves the range of {dtype}, so scale {d.upstream}, or {first}"))
    return known | {d.upstream: upstream} | gradients


def _check_finite(values: dict[str, Value], hint: str = "") -> None:
    for name, value in values.items():
        value = np.asarray(value)
        finite = np.isfinite(value) if value.dtype != object else np.vectorize(Decimal.is_finite, otypes=[bool])(value)
        if not finite.all():
            where = np.argwhere(~finite)[0].tolist()
            raise ValueError(f"{name}{where} is {value[tuple(where)]}, and the derivation is about finite numbers{hint}")


# What becomes a row: its number, its entry in the table, the engine's value, the derivation's, and what rounding may make of both.
_Line: TypeAlias = tuple[str, Equation | Edge | Gradient, Value, Value, Value]


def _row(line: _Line, d: Derivation) -> ReportRow:
    number, entry, got, expected, bound = line
    if np.shape(got) != np.shape(expected):
        raise ValueError(f"{number} {entry.name}: the formula gives shape {np.shape(expected)}, and {np.shape(got)} is due")
    with _extended():
        error = np.asarray(np.abs(np.asarray(got) - np.asarray(expected)))
        ok = bool(np.all(error <= bound))
    largest, most = float(error.max(initial=0)), float(np.max(bound, initial=0))
    return ReportRow(number, entry.name, entry.text, largest, most if np.isfinite(most) else None, ok, _by_engine(entry, d))


def _by_engine(entry: Equation | Edge | Gradient, d: Derivation) -> bool:
    """Whether no author's formula is in this: an edge without one, or a gradient none of whose edges has one."""
    if entry in d.gradients:
        return all(_by_engine(edge, d) for edge in d.leaving(entry.variable))
    return isinstance(entry, Edge) and entry.function is None


@contextmanager
def _extended() -> Iterator[None]:
    """Twice the digits for Decimals, and no complaint of what has no bound."""
    context = getcontext().copy()
    context.prec *= 2
    context.traps[DivisionByZero] = context.traps[InvalidOperation] = False
    with localcontext(context), np.errstate(all="ignore"):
        yield


def _lifted(d: Derivation, values: dict[str, Value], number: type[Running]) -> dict[str, Value]:
    """Variables and gradients as exact inputs of an error analysis; constants as they are."""
    return {name: value if name in d.constants else number(value) for name, value in values.items()}


def _forward(d: Derivation, nodes: dict[str, Value], number: type[Running]) -> Iterator[_Line]:
    """The equations: the engine, and the same in extended precision, each on what the engine has computed before."""
    got = {name: node.data if isinstance(node, Tensor) else node for name, node in nodes.items()}
    for e in d.equations:
        with _extended():
            exact = evaluate(e.function, _lifted(d, got, number))
        yield f"({e.number})", e, got[e.output], exact.value, exact.error


def _edges(d: Derivation, values: dict[str, Value], number: type[Running]) -> Iterator[_Line]:
    """The local derivatives: the gradient that arrives at an edge, pulled back along it by the engine and by the formula."""
    lifted = _lifted(d, values, number)
    with _extended():
        by_engine = {e.output: d.all_by_engine(e, lifted) for e in d.equations}
        own = {e.output: evaluate(e.function, lifted) for e in d.equations}  # a formula may name it; the engine computes it again
    for edge in d.edges:
        got = expected = d.by_engine(edge, values)
        bound: Value = 0
        if edge.function is not None:
            expected = np.broadcast_to(d.pull_back(edge, values), np.shape(got))
            with _extended():
                bound = by_engine[edge.output][edge.input].error + d.pull_back(edge, lifted | {edge.output: own[edge.output]}).error
        yield f"({edge.number})", edge, got, expected, bound


def _gradients(d: Derivation, nodes: dict[str, Value], values: dict[str, Value], number: type[Running]) -> Iterator[_Line]:
    """The gradients and the condensed forms: the engine's pass through the composed graph, against the formulas."""
    shared = _lifted(d, values, number)
    with _extended():
        engine, formulas = _passes(d, shared, {e.output: evaluate(e.function, shared) for e in d.equations})
        # Collecting terms takes for 0 what is 0 but for the rounding of variables: here nothing is shared but the inputs.
        forward = d.forward(**{a: shared[a] for a in (*d.inputs, *d.constants)}) | {d.upstream: shared[d.upstream]}
        engine_alone, alone = _passes(d, forward, forward)
    for entry in d.gradients:
        a, where = entry.variable, " ".join(f"({n})" for n in entry.numbers)
        yield where, entry, gradient_of(nodes[a]), values[f"d{a}"], engine[f"d{a}"].error + formulas[f"d{a}"].error
    for entry in d.condensed:
        with _extended():
            bound = engine_alone[f"d{entry.variable}"].error + evaluate(entry.function, alone).error
        yield "condensed", entry, gradient_of(nodes[entry.variable]), evaluate(entry.function, values), bound


def _passes(d: Derivation, known: dict[str, Value], own: dict[str, Value]) -> tuple[dict[str, Value], dict[str, Value]]:
    """The gradients by the engine, in any order of the terms, and by formulas, which may name an equation's ``own`` output."""
    engine, formulas = dict(known), dict(known)
    pulled: dict[str, dict[str, Value]] = {}
    for gradient in d.gradients:
        name, edges = f"d{gradient.variable}", d.leaving(gradient.variable)
        for output in {edge.output for edge in edges} - pulled.keys():
            pulled[output] = d.all_by_engine(d.equation_of(output), engine)
        engine[name] = np.stack([pulled[edge.output][edge.input] for edge in edges]).sum(axis=0)
        terms = [d.pull_back(edge, formulas | {edge.output: own[edge.output]}) for edge in edges]
        formulas[name] = np.broadcast_to(sum(terms[1:], terms[0]), known[gradient.variable].shape)
    return engine, formulas
