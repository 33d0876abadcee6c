"""The derivation on paper, written by the engine, for any derivation or graph. Needs SymPy, which checks every line.

A line is printed when it is an identity: the rows of ``prove`` hold the equations, the local derivatives and the gradients against
the engine and the definition, for every m, and each line that follows is held against the engine's gradient in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

from .derivation import Derivation, Edge, Equation, Gradient, Notation, gradient_of
from .engine import Tensor
from .graph import derivation_of
from .numbers import written as W
from .numbers.written import Expression, Reduction, Symbol, expression, replaced
from .paper import Derived, Line, Numbered, Paper
from .prove import Prover, prove
from .shapes import shape
from .writer import Named, Writer


def derive(source: Derivation | Tensor) -> Paper:
    """Derive a backward pass on paper: equations, local derivatives, gradients, and what these simplify to.

    source  a ``Derivation``, or the result y of a computation. Where y is a derivation's result, the paper is that derivation's;
            else its steps are the equations that were run (see ``equation``), and primitives where there are none.

    Every line is checked before it is printed, for every m; where that is out of reach, for sizes 2 and 3, and ``.scope`` says so.
    Raises ValueError where a formula of the table is wrong, TypeError for what is no derivation, or for a step that has no form on
    paper, as what picks or rearranges elements by their places (an index, reshape, cumsum), ModuleNotFoundError where SymPy is not
    installed.

    >>> x = Tensor([1.0, 2.0, 6.0], label="x")
    >>> print(derive((x * x).sum()).gradients[-1].text)
    da · 2 x
    """
    d = source if isinstance(source, Derivation) else derivation_of(source)
    _is_written(d)
    proof = prove(derivation=d)
    for row in proof.rows:
        if row.difference is not None:
            what = f"{d.name}: {row.number} {row.name} = {row.formula} is no identity"
            raise ValueError(f"{what}: {row.difference} does not vanish, {proof.seen(row)}")
    entries: list[Equation | Edge] = [*d.equations, *d.edges]
    numbered = tuple(_numbered(entry) for entry in entries)
    chains = _Simplifier(d).chains() if d.writer is not None and not proof.reason else {}
    gradients = tuple(_derived(d, gradient, chains.get(gradient.variable, [])) for gradient in d.gradients)
    letters = d.writer.letters if d.writer is not None else {}
    ranges = tuple((f"{letter} = 1 … {n}", rf"{letter} = 1, \dots, {n}") for n, letter in letters.items())
    constants = tuple(d.symbol(a) for a in d.inputs if a in d.no_gradient)
    return Paper(d.title, proof.rows[0].scope, numbered, gradients, ranges, constants)


def _is_written(d: Derivation) -> None:
    """Raise TypeError for a local derivative that would be written as no more than that: ∂f(x)/∂x."""
    named, what = [edge for edge in d.edges if edge.text == Named(d).edge(edge)[0]], ""
    if not named:
        return
    try:
        writer = Writer(d)
        for edge in named:
            what = f"({edge.number}) {edge.name} has no form on paper: "
            writer.edge(edge)
    except Exception as error:  # whatever an author's function says to a formula
        why = f"{what}{error}".partition("\n")[0]
        raise TypeError(
            f"{d.name}: {why}. Give its result as a Tensor of its own and derive what follows from that, or write a Derivation "
            "with texts for what is computed there and its local derivatives; draw(y), explore and trace(y) show any graph"
        ) from error


def _numbered(entry: Equation | Edge) -> Numbered:
    return Numbered(entry.number, entry.output, getattr(entry, "input", ""), entry.text, entry.latex, entry.name)


def _derived(d: Derivation, gradient: Gradient, steps: list[Line]) -> Derived:
    """With the condensed forms of the table, where they have not been reached."""
    reached = {step.text for step in steps}
    for entry in d.condensed:
        if entry.variable == gradient.variable and entry.text and entry.text not in reached:
            steps = [*steps, Line(entry.text, entry.latex.partition(" = ")[2], _words("condensed"))]
    numbers, text, latex, name = gradient.numbers, gradient.text, gradient.latex, gradient.name
    return Derived(gradient.variable, numbers, text, latex, name, tuple(steps))


def _words(words: str) -> Notation:
    return words, rf"\text{{{words}}}"


# ---- What follows from a sum over edges

_Form: TypeAlias = tuple[Expression, Notation]  # a form, and why
_Rule: TypeAlias = Callable[[Expression], Iterator[_Form]]


class _Simplifier:
    """Forms of the gradients, each held against the engine's."""

    def __init__(self, d: Derivation):
        assert d.writer is not None
        self.d, self.w = d, d.writer
        self.prover = Prover(d)
        self.engine = {g.variable: gradient_of(self.prover.nodes[g.variable]) for g in d.gradients}
        kind = self.prover.kind.Batch
        known = self.prover.known | {f"d{a}": g for a, g in self.engine.items()} | {d.upstream: self.prover.upstream}
        self.values = {name: kind(value.e) for name, value in known.items() if isinstance(value, kind)}
        self.values |= {n: kind(size) for n, size in self.prover.sizes.items()}
        self.short: dict[str, Expression] = {}  # the last form of each gradient
        self.sums: dict[Any, Expression] = {}  # a sum that is a gradient → its name

    def chains(self) -> dict[str, list[Line]]:
        """For each variable the lines that follow from the sum over its edges."""
        found = {}
        for gradient in self.d.gradients:
            v = gradient.variable
            term = self.w.term(v)
            found[v], self.short[v] = self._chain(v, term)
            if W.is_factor(term, (Reduction,)):
                self.sums[term.terms[0].factors[0][0]] = expression(self.w.symbol(f"d{v}"))
        return found

    def _chain(self, v: str, term: Expression) -> tuple[list[Line], Expression]:
        lines: list[_Form] = []
        if self._factored(v):
            lines.append((term, _words("what is the same for all stands before the sum")))
        e = self._go(lines, term, [self._valued])
        e = self._better(lines, e, [[self._renamed]])
        known = [a for a in self.short if expression(self.w.symbol(f"d{a}")) not in self.sums.values()]
        for inserted in ([a for a in known if self.w.axes[a] != self.w.axes[v]], known):
            insert = partial(self._inserted, inserted)
            end = [_gathered, self._named]
            e = self._better(lines, e, [[insert, self._valued, *end], [insert, self._valued, self._renamed, *end]])
        steps, last = [], term
        for form, why in lines:
            if not self._is_gradient(v, form):
                break  # what is not checked is not printed, nor what follows from it
            steps.append(Line(*self.w.printed(form, self.w.free(f"d{v}")), why))
            last = form
        return steps, last

    def _factored(self, v: str) -> bool:
        """Whether something stands before an edge's sum, once that is a formula."""
        found = [local for edge in self.d.leaving(v) if (local := self.w.local(edge)).axes and local.factor is not None]
        return any(not W.is_factor(local.term, (Reduction,)) and local.factor.as_term().factors for local in found if local.factor)

    def _go(self, lines: list[_Form], e: Expression, rules: Iterable[_Rule]) -> Expression:
        """Apply rules one after the other, a line for each that changes something."""
        for rule in rules:
            for form, why in rule(e):
                if form != e:
                    lines.append((form, why))
                e = form
        return e

    def _better(self, lines: list[_Form], e: Expression, routes: Iterable[Iterable[_Rule]]) -> Expression:
        """The end of the best route, if it is shorter, or one product of more than a number where there was a sum."""
        found: list[tuple[bool, int, int, list[_Form], Expression]] = []
        for rules in routes:
            trial: list[_Form] = []
            end = self._go(trial, e, rules)
            common = [base for base, n in end.as_term().factors if not (isinstance(base, Expression) and n == 1)]
            product = len(end.terms) == 1 < len(e.terms) and not all(isinstance(b, Symbol) and b.is_size for b in common)
            if product or (len(end.terms) <= len(e.terms) and W.length(end) < W.length(e)):
                found.append((not product, W.length(end), len(found), trial, end))
        if not found:
            return e
        _, _, _, trial, best = min(found)
        lines += trial
        return best

    def _is_gradient(self, v: str, e: Expression) -> bool:
        return self.prover.difference(shape(self.prover.known[v]), [self._computed(e)], self.engine[v]) is None

    def _computed(self, e: Expression) -> Any:
        """A form in the algebra of the proof."""
        (found,) = self.prover.flat(W.computed(e, self.values, self._total))
        return found

    def _total(self, value: Any, axis: str, name: str) -> Any:
        batch = self.prover.kind.Batch
        return batch((batch.total if name == "sum" else batch.largest)(value.e, self.prover.sizes[axis]))

    # ---- the rules: each gives a form and its reason

    def _valued(self, e: Expression) -> Iterator[_Form]:
        """Sums whose value is known: Σ (x − μ) = 0, Σ t = 1."""
        for base in dict.fromkeys(W.factors_of(e)):
            if isinstance(base, Reduction) and base in set(W.factors_of(e)):
                value = self.prover.kind.normal_form(self._computed(expression(base)))
                if value.is_Integer:
                    e, new = replaced(e, {base: expression(int(value))}), expression(int(value))
                    yield e, self._equality(expression(base), new)

    def _renamed(self, e: Expression) -> Iterator[_Form]:
        """What an equation divides or multiplies, by the name of the result: x − μ = x̂ √(σ² + ε)."""
        for equation in self.d.equations:
            o = equation.output
            term = self.w.right[o].as_term()
            own = [base for base, n in term.factors if n == 1 and W.axes_of(base) == set(self.w.axes[o]) and self.w.axes[o]]
            if len(own) != 1 or len(term.factors) < 2 or (isinstance(own[0], Symbol) and own[0].name not in self.d.inputs):
                continue
            rest = W.product(term.number, [factor for factor in term.factors if factor[0] != own[0]])
            result = expression(self.w.symbol(o))
            new = result * W.power(rest, expression(-1))
            sides = (self.w.right[o], result) if W.divisors(new) else (expression(own[0]), new)
            (text, latex), number = self._equality(*sides), equation.number
            form = replaced(e, {own[0]: new})
            if form != e and W.divisors(form) <= W.divisors(e):  # which may be 0
                e = form
                yield e, (f"by ({number}), {text}", rf"\text{{by ({number}), }} {latex}")

    def _inserted(self, variables: Iterable[str], e: Expression) -> Iterator[_Form]:
        """Gradients that are known, by their last forms."""
        used = {base.name for base in W.factors_of(e) if isinstance(base, Symbol)}
        names = [a for a in variables if f"d{a}" in used]
        new = {self.w.symbol(f"d{a}"): self.short[a] for a in names}
        if new:
            text = ", ".join(self.d.called(f"d{a}")[0] for a in names)
            yield replaced(e, new), (f"with {text}", rf"\text{{with }} {', '.join(self.w.variable(f'd{a}') for a in names)}")

    def _named(self, e: Expression) -> Iterator[_Form]:
        """Sums that are gradients by their names."""
        for base, name in self.sums.items():
            if base in set(W.factors_of(e)):
                e = replaced(e, {base: name})
                yield e, self._equality(expression(base), name)

    def _equality(self, left: Expression, right: Expression) -> Notation:
        free = {n: letter for n, letter in self.w.letters.items() if n in W.axes_of(left)}
        (text, latex), (text_2, latex_2) = (self.w.printed(e, free) for e in (left, right))
        return f"{text} = {text_2}", f"{latex} = {latex_2}"


def _gathered(e: Expression) -> Iterator[_Form]:
    yield W.gathered(e), _words("the terms collect")
