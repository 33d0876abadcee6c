"""The report as identities: the engine and the derivation on symbols instead of numbers. Needs SymPy.

The square root is taken out beforehand: every batch with σ² + ε > 0 has an s > 0 with s² = σ² + ε, so ε is written as s² − σ².
What is left are polynomials in 1/s and the symbols, and two of them are equal exactly if their difference expands to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batchnorm import batch_norm, mean, normalize, scale_shift, variables, variance
from .derivation import evaluate
from .derivations.batch_norm import BATCH_NORM, CONDENSED, EQUATIONS, GRADIENTS, batch_norm_backward
from .engine import Tensor
from .kinds import Array, Value
from .notebook import as_html
from .verify import as_text

if TYPE_CHECKING:
    from rich.table import Table


class ProofRow(NamedTuple):
    """A line of the proof: an identity, or the difference that would not vanish."""

    number: str
    name: str
    formula: str
    scope: str  # the batches that it is proved for: "every m", or those of one size
    difference: str | None


class Proof(NamedTuple):
    """The report's twenty rows on a batch of m symbols. Each of (5) to (13) and of the gradients is a three-way identity: the
    engine's, the derivation's, and SymPy's own derivative."""

    rows: tuple[ProofRow, ...]
    m: int

    @property
    def ok(self) -> bool:
        """Whether all rows are identities."""
        return all(row.difference is None for row in self.rows)

    def __rich__(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=box.SIMPLE_HEAD,
            title=f"A batch of {self.m} symbols: engine = derivation = SymPy's derivative",
            title_justify="left",
            caption=f"{sum(row.difference is None for row in self.rows)} of {len(self.rows)} rows are identities: "
            "true of all numbers, not of some.\n"
            "every m: proved for a generic element of the batch, into which its size does not enter.\n"
            f"m = {self.m}: the equation adds over the batch, so it is proved for batches of this size.",
            caption_justify="left",
        )
        table.add_column("equation", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("formula")
        table.add_column("for", no_wrap=True)
        table.add_column("engine − derivation")
        for i, row in enumerate(self.rows):
            verdict = Text("identity", "green") if row.difference is None else Text(row.difference, "bold red")
            table.add_row(row.number, row.name, row.formula, row.scope, verdict, end_section=i in (3, 12))
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def prove(m: int = 3) -> Proof:
    """Prove the report's rows as identities for a batch of ``m`` symbols: m from 1; 4 takes a second or two, 8 more than a minute.

    Raises ModuleNotFoundError where SymPy is not installed, ValueError for an m below 1.

    >>> prove(2).ok
    True
    """
    try:
        import sympy
    except ModuleNotFoundError:
        raise ModuleNotFoundError("prove needs SymPy: pip install 'micrograd-bn[prove]'", name="sympy") from None
    if m < 1:
        raise ValueError(f"a batch has at least one element, and m is {m}")

    return Proof((*_forward(sympy, m), *_edges(sympy, m), *_gradients(sympy, m)), m)


def _difference(sympy: ModuleType, first: Value, *others: Value) -> str | None:
    """None if all are equal, element by element; else the first difference that does not vanish."""
    for other in others:
        for a, b in np.broadcast(np.asarray(first, dtype=object), np.asarray(other, dtype=object)):
            rest = sympy.expand(a - b)
            if rest != 0 and (rest := sympy.simplify(rest)) != 0:
                return str(rest)
    return None


def _symbols(sympy: ModuleType, name: str, count: int) -> Array:
    """An array of symbols, numbered from 1 as on paper; a single one has no number."""
    names = [name] if count == 1 else [f"{name}{i + 1}" for i in range(count)]
    return np.array([sympy.Symbol(n, real=True) for n in names], dtype=object)


def _batch(sympy: ModuleType, m: int) -> dict[str, Value]:
    values: dict[str, Value] = {name: _symbols(sympy, name, m) for name in ("x", "dy")}
    values |= {name: _symbols(sympy, name, 1) for name in ("gamma", "beta")} | {"axis": 0, "mu": mean(values["x"])}
    values["var"] = variance(values["x"], values["mu"])
    s = sympy.Symbol("s", positive=True)
    return values | {"s": s, "eps": s**2 - values["var"][0]}


def _forward(sympy: ModuleType, m: int) -> Iterator[ProofRow]:
    """(1) to (4) against the textbook's other forms: sums written out, and the variance as E[x²] − E[x]²."""
    v = _batch(sympy, m)
    y = batch_norm(Tensor(v["x"]), Tensor(v["gamma"]), Tensor(v["beta"]), v["eps"])
    nodes = variables(y)
    average = sympy.Add(*v["x"]) / m
    normal = (v["x"] - average) / v["s"]
    expected = (average, sympy.Add(*v["x"] ** 2) / m - average**2, normal, v["gamma"] * normal + v["beta"])
    for entry, value in zip(EQUATIONS, expected):
        difference = _difference(sympy, nodes[entry.output].data, value)
        yield ProofRow(f"({entry.number})", entry.name, entry.text, f"m = {m}", difference)


def _edges(sympy: ModuleType, m: int) -> Iterator[ProofRow]:
    """(5) to (13): all seven variables are symbols of their own, for each is a partial derivative."""
    s, eps = sympy.Symbol("s", positive=True), sympy.Symbol("eps", positive=True)
    for entry in EQUATIONS[4:]:
        over_the_batch = entry.output in ("mu", "var")
        n = m if over_the_batch else 1
        values: dict[str, Value] = {name: _symbols(sympy, name, n) for name in ("x", "x_hat")}
        values |= {name: _symbols(sympy, name, 1) for name in ("mu", "var", "gamma", "beta")} | {"axis": 0}
        upstream = _symbols(sympy, f"d{entry.output}", 1)
        values |= {"eps": s**2 - values["var"][0], f"d{entry.output}": upstream}

        loss = sympy.Add(*(upstream * evaluate(BATCH_NORM.equation_of(entry.output).function, values | {"eps": eps})))
        by_sympy = [loss.diff(variable).subs(eps, values["eps"]) for variable in values[entry.input]]
        scope = f"m = {m}" if over_the_batch else "every m"
        difference = _difference(sympy, BATCH_NORM.by_engine(entry, values), BATCH_NORM.pull_back(entry, values), by_sympy)
        yield ProofRow(f"({entry.number})", entry.name, entry.text, scope, difference)


def _gradients(sympy: ModuleType, m: int) -> Iterator[ProofRow]:
    """The six gradients and the condensed form, through the whole of batch norm."""
    v = _batch(sympy, m)
    y = batch_norm(Tensor(v["x"]), Tensor(v["gamma"]), Tensor(v["beta"]), v["eps"])
    y.backward(v["dy"])
    nodes = variables(y)
    on_paper = batch_norm_backward(v["dy"], v["x"], v["gamma"], v["eps"])
    for entry in GRADIENTS:
        number = " ".join(f"({n})" for n in entry.numbers)
        node = nodes[entry.variable]
        expected = getattr(on_paper, entry.variable), _differentiated(sympy, v, entry.variable, node.data)
        yield ProofRow(number, entry.name, entry.text, f"m = {m}", _difference(sympy, node.grad, *expected))
    condensed = evaluate(CONDENSED.function, v | {"x_hat": nodes["x_hat"].data})
    yield ProofRow("condensed", CONDENSED.name, CONDENSED.text, f"m = {m}", _difference(sympy, nodes["x"].grad, condensed))


def _differentiated(sympy: ModuleType, v: dict[str, Value], variable: str, value: Array) -> list[Any]:
    """SymPy's own ∂l/∂variable: the loss Σ dy y with the variable as free symbols from where it is computed on."""
    eps = sympy.Symbol("eps", positive=True)
    free = v[variable] if variable in ("x", "gamma", "beta") else _symbols(sympy, f"free_{variable}", len(value))
    mu = free if variable == "mu" else mean(v["x"])
    var = free if variable == "var" else variance(v["x"], mu)
    x_hat = free if variable == "x_hat" else normalize(v["x"], mu, var, eps)
    loss = sympy.Add(*(v["dy"] * scale_shift(x_hat, v["gamma"], v["beta"])))
    back = dict(zip(free, value))
    return [loss.diff(symbol).subs(back).subs(eps, v["eps"]) for symbol in free]
