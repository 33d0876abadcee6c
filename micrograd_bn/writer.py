"""A derivation's texts, written by the engine: its equations, local derivatives and gradients, run on formulas and printed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

from .derivation import Derivation, Edge, Equation, Formula, Gradient, evaluate
from .kinds import Value
from .numbers.printed import LETTERS, Latex, Plain, parenthesised
from .numbers.written import (
    Expression,
    Function,
    Reduction,
    Symbol,
    Written,
    collected,
    expression,
    factors_of,
    product,
    replaced,
)
from .shapes import shape

Text = tuple[str, str]  # on the terminal, and in LaTeX


class Local(NamedTuple):
    """What an edge carries back: ``term``, which is the gradient of the output times ``factor``, summed over ``axes``."""

    term: Expression
    axes: tuple[str, ...]
    factor: Expression | None  # None: it is no product with one number, as in a softmax


class Writer:
    """The formulas of a derivation, by running it on a generic element, and their print.

    Axes along which every variable has numbers of its own, as the columns of a batch, are not written down; the others have an
    index each. Raises TypeError for a step that has no form on paper.
    """

    def __init__(self, d: Derivation):
        self.d = d
        names = d.size_names
        self.sizes = {n: expression(Symbol(n, is_size=True)) for n in names}
        self.values: dict[str, Value] = {k: Written(Symbol(k)) if isinstance(v, float) else v for k, v in d.constants.items()}
        self.values |= {a: self._variable(a, to) for a, to in d.shapes_for(self.sizes).items()}
        self.right: dict[str, Expression] = {}
        for e in d.equations:
            result = evaluate(e.function, self.values)
            if not isinstance(result, Written):
                raise TypeError(f"equation ({e.number}) of {d.name} gives {result!r}, and no formula")
            self.right[e.output] = result.e
            self.values[e.output] = self._variable(e.output, result.shape)
        self.values |= {f"d{a}": self._variable(f"d{a}", shape(self.values[a])) for a in d.variables}
        self.axes = {a: self._symbol(a).axes for a in (*d.variables, *[f"d{a}" for a in d.variables])}
        shown = [n for n in names if not all(n in self.axes[a] for a in d.variables)]
        free = iter([c for c in LETTERS if c not in {*names, *d.variables}])
        self.letters = {n: next(free) for n in shown}
        self._plain, self._latex = Plain(d.called, self.letters), partial(Latex, d.called, self.letters)

    @staticmethod
    def _variable(name: str, to: tuple[Any, ...]) -> Written:
        return Written(Symbol(name, tuple([str(n) for n in to if n != 1])), to)

    def _symbol(self, name: str) -> Symbol:
        ((base, _),) = self.values[name].e.terms[0].factors
        return base  # type: ignore[no-any-return]

    # ---- formulas

    def local(self, edge: Edge) -> Local:
        """What an edge carries back, and its local derivative."""
        term: Expression = self.d.pull_back(edge, self.values).e
        upstream = self._symbol(f"d{edge.output}")
        number, factors = term.as_term().number, list(term.as_term().factors)
        axes: list[str] = []
        while (upstream, Fraction(1)) not in factors:
            sums = [f for f in factors if isinstance(f[0], Reduction) and f[1] == 1 and upstream in factors_of(f[0].of)]
            if len(sums) != 1 or not isinstance(sums[0][0], Reduction):
                return Local(term, (), None)
            inner = sums[0][0].of.as_term()
            number, axes = number * inner.number, [*axes, sums[0][0].axis]
            factors = [f for f in factors if f != sums[0]] + list(inner.factors)
        factor = product(number, [f for f in factors if f[0] != upstream])
        if upstream in factors_of(factor):
            return Local(term, (), None)
        if edge.function is None:  # what the equation itself computes, is known by its name
            right = self.right[edge.output].as_term()
            if right.number == 1 and len(right.factors) == 1 and isinstance(right.factors[0][0], Function):
                factor = replaced(factor, {right.factors[0][0]: self.values[edge.output].e})
        return Local(term, tuple(axes), factor)

    def term(self, variable: str) -> Expression:
        """A gradient as a formula: the sum of the terms on its edges."""
        return reduce(add, [self.local(edge).term for edge in self.d.leaving(variable)])

    def result(self, function: Formula) -> Expression:
        """What a function of the table gives, as a formula."""
        found: Expression = collected(evaluate(function, self.values).e)
        return found

    # ---- print

    def text(self, e: Expression) -> str:
        """An expression as on the terminal."""
        return self._plain.sum(e)

    def latex(self, e: Expression, free: Mapping[str, str]) -> str:
        """An expression as on paper, for these indices on the left-hand side."""
        return self._latex(free).sum(e)

    def free(self, *names: str) -> dict[str, str]:
        """The indices of some variables, by axis."""
        return {n: self.letters[n] for a in names for n in self.axes[a] if n in self.letters}

    def variable(self, name: str) -> str:
        """A variable in LaTeX, with its indices."""
        return self._latex({}).variable(name, self.axes[name])

    def equation(self, e: Equation) -> Text:
        """The right-hand side of an equation as text, and the whole in LaTeX."""
        return self.line(e.output, self.right[e.output])

    def condensed(self, entry: Gradient) -> Text:
        """A further form of a gradient: what its function gives."""
        return self.line(f"d{entry.variable}", self.result(entry.function))

    def line(self, name: str, e: Expression) -> Text:
        """An expression as text, and as what a variable or a gradient is equal to in LaTeX."""
        return self.text(e), f"{self.variable(name)} = {self.latex(e, self.free(name))}"

    def edge(self, edge: Edge) -> Text:
        """A local derivative as text, and the whole equation in LaTeX."""
        found, of, by = self.local(edge), edge.output, edge.input
        name = rf"\frac{{\partial {self.variable(of)}}}{{\partial {self.variable(by)}}}"
        if found.factor is None:
            term = self.latex(found.term, self.free(by))
            return self.text(found.term), rf"{name}: \quad {self.variable(f'd{of}')} \mapsto {term}"
        return self.text(found.factor), f"{name} = {self.latex(found.factor, self.free(of, by))}"

    def gradient(self, entry: Gradient) -> Text:
        """A gradient as the sum over its edges: each a gradient times a local derivative, summed where one is used by many."""
        texts, latex = zip(*[self._carried(edge) for edge in self.d.leaving(entry.variable)])
        return " + ".join(texts).replace(
            "+ −", "− "
        ), f"{self.variable(f'd{entry.variable}')} = {' + '.join(latex).replace('+ -', '- ')}"

    def _carried(self, edge: Edge) -> Text:
        found, up = self.local(edge), f"d{edge.output}"
        free = self.free(edge.input)
        if found.factor is None or not found.factor.as_term().factors:
            return self.text(found.term), self.latex(found.term, free)
        whole = expression(self._symbol(up)) * found.factor
        term = found.factor.as_term()
        plain = term.number == 1 and all(isinstance(base, Symbol) and n == 1 for base, n in term.factors)
        free |= {n: letter for n, letter in self.free(edge.output).items() if n not in free}
        if plain:
            text, latex = self.text(whole), self.latex(whole, free)
        else:
            text, latex = self.text(found.factor), self.latex(found.factor, free)
            text = f"({text})" if len(found.factor.terms) > 1 else text
            latex = parenthesised(latex) if len(found.factor.terms) > 1 or latex.startswith("-") else latex
            text, latex = f"{self.d.called(up)[0]} · {text}", rf"{self.variable(up)} \cdot {latex}"
        for axis in reversed(found.axes):
            text, latex = f"{self._plain.sigma(axis)} {text}", f"{self._latex({}).sigma(axis)} {latex}"
        return text, latex
