"""A derivation's texts, written by the engine: its equations, local derivatives and gradients, run on formulas and printed."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

from .derivation import Derivation, Edge, Equation, Gradient, Notation, evaluate
from .kinds import Value
from .numbers.printed import Latex, Plain, free_letters
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


class Local(NamedTuple):
    """What an edge carries back: ``term``, which is the gradient of the output times ``factor``, summed over ``axes``."""

    term: Expression
    axes: tuple[str, ...]
    factor: Expression | None  # None: it is no product with one number, as in a softmax


class Writer:
    """The formulas of a derivation, by running it on a generic element, and their print.

    Axes along which every variable has numbers of its own, as the columns of a batch, are not written down; the others have an
    index each. Raises TypeError for a step that has no form on paper, which it names.
    """

    def __init__(self, d: Derivation):
        self.d = d
        names = d.size_names
        self.sizes = {n: expression(Symbol(n, is_size=True)) for n in names}
        self.values: dict[str, Value] = {k: Written(Symbol(k)) if isinstance(v, float) else v for k, v in d.constants.items()}
        self.values |= {a: self._variable(a, to) for a, to in d.shapes_for(self.sizes).items()}
        self.right: dict[str, Expression] = {}
        for e in d.equations:
            try:
                result = evaluate(e.function, self.values)
                if not isinstance(result, Written):
                    raise TypeError(f"it gives {result!r}, and no formula")
            except Exception as error:  # whatever an author's function says to a formula
                raise TypeError(
                    f"({e.number}) {d.symbol(e.output)[0]} = {Named(d).equation(e)[0]} has no form on paper: {error}"
                ) from error
            self.right[e.output] = result.e
            self.values[e.output] = self._variable(e.output, result.shape)
        self.values |= {f"d{a}": self._variable(f"d{a}", shape(self.values[a])) for a in d.variables}
        self.axes = {a: self.symbol(a).axes for a in (*d.variables, *[f"d{a}" for a in d.variables])}
        shown = [n for n in names if not all(n in self.axes[a] for a in d.variables)]
        free = free_letters({*names, *d.variables})
        self.letters = {n: next(free) for n in shown}
        self._plain, self._latex = Plain(d.called, self.letters), partial(Latex, d.called, self.letters)

    @staticmethod
    def _variable(name: str, to: tuple[Any, ...]) -> Written:
        return Written(Symbol(name, tuple([str(n) for n in to if n != 1])), to)

    def symbol(self, name: str) -> Symbol:
        """A variable or a gradient, in a formula."""
        ((base, _),) = self.values[name].e.terms[0].factors
        return base  # type: ignore[no-any-return]

    # ---- formulas

    def local(self, edge: Edge) -> Local:
        """What an edge carries back, and its local derivative."""
        term: Expression = self.d.pull_back(edge, self.values).e
        if not term.terms:
            return Local(term, (), term)
        upstream = self.symbol(f"d{edge.output}")
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

    # ---- print

    def printed(self, e: Expression, free: Mapping[str, str]) -> Notation:
        """An expression as on the terminal, and in LaTeX for these indices on the left-hand side."""
        return self._plain.sum(e), self._latex(free).sum(e)

    def free(self, *names: str) -> dict[str, str]:
        """The indices of some variables, by axis."""
        return {n: self.letters[n] for a in names for n in self.axes[a] if n in self.letters}

    def variable(self, name: str) -> str:
        """A variable in LaTeX, with its indices."""
        return self._latex({}).variable(name, self.axes[name])

    def equation(self, e: Equation) -> Notation:
        """The right-hand side of an equation as text, and the whole in LaTeX."""
        return self.line(e.output, self.right[e.output])

    def condensed(self, entry: Gradient) -> Notation:
        """A further form of a gradient: what its function gives."""
        return self.line(f"d{entry.variable}", collected(evaluate(entry.function, self.values).e))

    def line(self, name: str, e: Expression) -> Notation:
        """An expression as text, and as what a variable or a gradient is equal to in LaTeX."""
        text, latex = self.printed(e, self.free(name))
        return text, f"{self.variable(name)} = {latex}"

    def edge(self, edge: Edge) -> Notation:
        """A local derivative as text, and the whole equation in LaTeX."""
        found, of, by = self.local(edge), edge.output, edge.input
        name = rf"\frac{{\partial {self.variable(of)}}}{{\partial {self.variable(by)}}}"
        if found.factor is None:
            text, latex = self.printed(found.term, self.free(by))
            return text, rf"{name}: \quad {self.variable(f'd{of}')} \mapsto {latex}"
        text, latex = self.printed(found.factor, self.free(of, by))
        return text, f"{name} = {latex}"

    def gradient(self, entry: Gradient) -> Notation:
        """A gradient as the sum over its edges: each a gradient times a local derivative, summed where one is used by many."""
        edges = self.d.leaving(entry.variable)
        texts, latex = zip(*[self._carried(edge) for edge in [e for e in edges if self.local(e).term.terms] or edges[:1]])
        return self._plain.joined(texts), f"{self.variable(f'd{entry.variable}')} = {self._latex({}).joined(latex)}"

    def _carried(self, edge: Edge) -> Notation:
        found, up = self.local(edge), self.symbol(f"d{edge.output}")
        if (factor := found.factor) is None or not factor.as_term().factors:
            return self.printed(found.term, self.free(edge.input))
        term = factor.as_term()
        plain = term.number == 1 and all(isinstance(base, Symbol) and n == 1 for base, n in term.factors)

        def written(form: Plain) -> str:
            product = f"{form.variable(up.name, up.axes)} {form.dot} {form.factor(factor)}"
            product = form.sum(expression(up) * factor) if plain else product
            return " ".join([*map(form.sigma, found.axes), product])

        return written(self._plain), written(self._latex(self.free(edge.input, edge.output)))


class Named:
    """What stands for what has no form on paper: an equation's function by name, a derivative of that, and the sum over edges."""

    def __init__(self, d: Derivation):
        self.d = d

    def equation(self, e: Equation) -> Notation:
        """The function, applied to its inputs."""
        text, latex = self._applied(e)
        return text, f"{self.d.symbol(e.output)[1]} = {latex}"

    def edge(self, edge: Edge) -> Notation:
        """Its derivative with respect to one of them."""
        (text, latex), (x, x_latex) = self._applied(self.d.equation_of(edge.output)), self.d.symbol(edge.input)
        return f"∂{text}/∂{x}", rf"{self._ratio(edge)} = \frac{{\partial}}{{\partial {x_latex}}} {latex}"

    def gradient(self, entry: Gradient) -> Notation:
        """A sum of products, of a gradient and a local derivative each."""
        terms = [(self.d.called(f"d{edge.output}"), edge) for edge in self.d.leaving(entry.variable)]
        latex = " + ".join(rf"{up} \cdot {self._ratio(edge)}" for (_, up), edge in terms)
        return " + ".join(f"{up} · {edge.name}" for (up, _), edge in terms), f"{self.d.called(f'd{entry.variable}')[1]} = {latex}"

    condensed = gradient

    def _applied(self, e: Equation) -> Notation:
        name = found if (found := getattr(e.function, "__name__", "")).isidentifier() else "f"
        text, latex = [", ".join([self.d.symbol(a)[i] for a in e.inputs]) for i in (0, 1)]
        return f"{name}({text})", rf"\mathrm{{{name.replace('_', ' ')}}}({latex})"

    def _ratio(self, edge: Edge) -> str:
        return rf"\frac{{\partial {self.d.symbol(edge.output)[1]}}}{{\partial {self.d.symbol(edge.input)[1]}}}"
