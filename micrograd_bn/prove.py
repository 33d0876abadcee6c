"""The report as identities: the engine, the table's formula and the derivative by definition, on symbols. Needs SymPy.

A batch is a generic element and an axis as long as a symbol (``numbers.batch``), so a row holds for every m. Where a derivation
has a step for which that is not enough, as a product of two matrices that share a size, it is proved for sizes 2 and 3. Where
numbers are compared, as in a rectifier, equal ones are left out; and for sizes that are numbers, it is proved for all numbers that
compare as those at one of several points.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .derivation import Derivation, Edge, Equation, Gradient, Notation, as_derivation, evaluate, gradient_of
from .derivations.batch_norm import BATCH_NORM
from .engine import Tensor
from .kinds import Value
from .notebook import as_html, as_table, as_text
from .numbers.printed import Plain
from .numbers.written import gathered
from .shapes import Shape, axes, shape

if TYPE_CHECKING:
    from rich.table import Table


class ProofRow(NamedTuple):
    """A line of the proof: an identity, or the difference that would not vanish."""

    number: str
    name: str
    formula: str
    scope: str  # what it is proved for: "every m", or "m = 2, k = 3"; "near 4 points" where numbers are compared
    difference: str | None


class Proof(NamedTuple):
    """The report's rows as identities. Each local derivative and each gradient is one between three ways: the engine's, the
    table's formula, and the derivative by definition."""

    rows: tuple[ProofRow, ...]
    m: int | None  # None: every m
    derivation: Derivation = BATCH_NORM
    reason: str = ""  # why not for every m
    points: int = 0  # for each size, near how many points numbers are compared; 0: they are not

    @property
    def ok(self) -> bool:
        """Whether all rows are identities."""
        return all(row.difference is None for row in self.rows)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What is taken for granted of inputs and constants: all others are any real numbers.

        >>> Proof((), None).conditions
        ('ε > 0', 'axis = 0')
        """
        d, of = self.derivation, {"positive": ("", " > 0"), "probabilities": ("Σ ", " = 1")}
        given = [(a, *of[domain]) for a, domain in d.domains.items() if domain in of]
        given += [(k, "", " > 0") for k, v in d.constants.items() if isinstance(v, float) and v > 0]
        given += [(k, "", f" = {v!r}") for k, v in d.constants.items() if not isinstance(v, float)]
        return tuple([f"{before}{d.symbol(name)[0]}{after}" for name, before, after in given])

    def seen(self, row: ProofRow) -> str:
        """Where a difference can be seen: small sizes, numbers for the symbols, and what it is there; "" of an identity.

        >>> Proof((), None).seen(prove().rows[0])
        ''
        """
        if row.difference is None:
            return ""
        d, place = self.derivation, self.rows.index(row)
        for sizes in [*[_sizes(d, m, 1) for m in range(1, (self.m or 3) + 1)], *_two_and_three(d)]:
            prover = Prover(d, sizes, 0)
            rest = prover.differs(_entries(d)[place][1])
            if rest is not None and (found := prover.numbers(rest)):
                return found
        return ""

    def __rich__(self) -> Table:
        from rich.table import Column
        from rich.text import Text

        scope, given = self.rows[0].scope, " and ".join(self.conditions)
        table = as_table(
            f"{self.derivation.name} on symbols: engine = formula = definition",
            f"{sum(row.difference is None for row in self.rows)} of {len(self.rows)} rows are identities for {scope}"
            + f", with {given}" * bool(given)
            + (", true of all that compare as at one of these." if self.points else ": true of all such numbers, not of some.")
            + "\nProved for a generic element, so for any sizes." * (self.m is None and not self.reason)
            + (f"\nNot for every m: {self.reason}" if self.reason else ""),
            Column("equation", justify="right", no_wrap=True),
            Column(no_wrap=True),
            "formula",
            "difference",
        )
        ends = len(self.derivation.equations) - 1, len(self.derivation.equations) + len(self.derivation.edges) - 1
        for i, row in enumerate(self.rows):
            verdict = Text("identity", "green")
            if row.difference is not None:
                verdict = Text(f"{row.difference}\n{self.seen(row)}".strip(), "bold red")
            table.add_row(row.number, Text(row.name), Text(row.formula), verdict, end_section=i in ends)
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def prove(m: int | None = None, *, derivation: Derivation = BATCH_NORM) -> Proof:
    """Prove the report's rows as identities for every m; or for one ``m``, on arrays of symbols: the check of the check.

    An ``m`` is the size of what the derivation's axis adds up, and the other axes have two elements, or three where m is 2; without
    an axis, it is the size of all. 4 takes two or three seconds, 8 more than a minute.
    Raises ModuleNotFoundError where SymPy is not installed, ValueError for an m below 1, TypeError for a step that has no rule on
    symbols, such as ``np.sort``.

    >>> prove().ok
    True
    >>> print(prove(2).rows[10])
    ProofRow(number='(11)', name='∂μ/∂x', formula='1/m', scope='m = 2, k = 3', difference=None)
    """
    try:
        import sympy  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a proof needs SymPy: pip install 'micrograd-bn[prove]'", name="sympy") from None
    as_derivation(derivation)
    if m is not None:
        if not isinstance(m, int):
            raise TypeError(f"m is the size of a batch, and this is {m!r}; another derivation is prove(derivation=…)")
        if m < 1:
            raise ValueError(f"a batch has at least one element, and m is {m}")
        return _for_numbers(derivation, [_sizes(derivation, m, 3 if m == 2 else 2)])._replace(m=m)
    try:
        prover = Prover(derivation)
        proof = _proof(derivation, prover.every() + prover.differing(), _differences(derivation, [prover]))
    except (TypeError, AttributeError) as error:  # a step without a rule for a generic element
        sizes, reason = _two_and_three(derivation), str(error).partition("\n")[0]
        try:
            _ = Prover(derivation, sizes[0], 0).nodes
        except (TypeError, AttributeError, ValueError):  # nor for numbers
            raise error from None
        return _for_numbers(derivation, sizes)._replace(reason=reason)
    return proof if proof.ok else _refuted(proof)


def _sizes(d: Derivation, m: int, others: int) -> dict[str, int]:
    """m along what the derivation's axis adds up (the first, of several), others along the other axes; m along all, without one."""
    if "axis" not in d.constants:
        return dict.fromkeys(d.size_names, m)
    first = d.shapes[d.inputs[0]]
    along, *reduced = [first[i] for i in axes(len(first), d.constants["axis"])]
    own = dict.fromkeys(first, others) | dict.fromkeys(reduced, 1) | {along: m}
    return {n: own.get(n, m) for n in d.size_names}


def _two_and_three(d: Derivation) -> list[dict[str, int]]:
    """Small sizes that differ, so that none stands where another is due."""
    return [{n: 2 + (first + i) % 2 for i, n in enumerate(d.size_names)} for first in range(2 if d.size_names else 1)]


def _named(sizes: Sequence[Mapping[str, int]]) -> str:
    """Sizes by their names: "m = 2, k = 3", and of several "m = 2, 3" or "(m, k) = (2, 3), (3, 2)"."""
    names = [*sizes[0]]
    if len(sizes) == 1 or len(names) < 2:
        return ", ".join(f"{n} = {', '.join(str(each[n]) for each in sizes)}" for n in names) or "single numbers"
    return f"({', '.join(names)}) = {', '.join(str((*each.values(),)) for each in sizes)}"


def _entries(d: Derivation) -> list[tuple[str, Any]]:
    """What the rows are of, each with its number: the equations, the edges, the gradients and the condensed forms."""
    numbered: list[Any] = [*d.equations, *d.edges]
    gradients = [(" ".join(f"({n})" for n in g.numbers), g) for g in d.gradients]
    return [*[(f"({e.number})", e) for e in numbered], *gradients, *[("condensed", g) for g in d.condensed]]


def _proof(d: Derivation, scope: str, differences: Mapping[int, str], points: int = 0) -> Proof:
    rows = [ProofRow(n, e.name, e.text, scope, differences.get(i)) for i, (n, e) in enumerate(_entries(d))]
    return Proof(tuple(rows), None, d, points=points)


def _differences(d: Derivation, provers: Iterable[Prover], places: Collection[int] | None = None) -> dict[int, str]:
    """By its place, the first difference of each row that has one."""
    found: dict[int, str] = {}
    for prover in provers:
        for place, (_, entry) in enumerate(_entries(d)):
            if place not in found and (places is None or place in places) and (rest := prover.differs(entry)) is not None:
                found[place] = prover.text(rest)
    return found


def _for_numbers(d: Derivation, sizes: Sequence[Mapping[str, int]], places: Collection[int] | None = None) -> Proof:
    """The rows for sizes that are numbers; where a comparison depends on these, near several points."""
    from .numbers.batch import POINTS

    try:
        provers = [Prover(d, each) for each in sizes]
        return _proof(d, _named(sizes) + provers[0].differing(), _differences(d, provers, places))
    except TypeError:
        found = _differences(d, (Prover(d, sizes[i % len(sizes)], i) for i in range(POINTS)), places)
        points = POINTS // len(sizes)
        return _proof(d, f"{_named(sizes)}, near {points} points{' each' * (len(sizes) > 1)}", found, points)


def _refuted(proof: Proof) -> Proof:
    """The proof without the differences that are none for numbers: as of generic elements, two sides may only not have been brought
    to one form, as of a root in a mean."""
    unseen = [i for i, row in enumerate(proof.rows) if row.difference is not None and not proof.seen(row)]
    found = _for_numbers(proof.derivation, _two_and_three(proof.derivation), unseen) if unseen else proof
    right = [found.rows[i].name for i in unseen if found.rows[i].difference is None]
    if not right:
        return proof
    rows = [row if i in unseen else row._replace(difference=proof.rows[i].difference) for i, row in enumerate(found.rows)]
    return found._replace(rows=tuple(rows), reason=f"the two sides of {', '.join(right)} have no one form for a generic element")


LONG = 300  # characters of a difference: nobody reads more


class Prover:
    """A derivation on generic elements, or on arrays of symbols, for ``sizes`` that are numbers; these compare as at a ``point``.

    Raises TypeError where they are compared and there is no point.
    """

    def __init__(self, d: Derivation, sizes: Mapping[str, int] | None = None, point: int | None = None):
        import sympy

        from .numbers import batch

        self.d, self.generic, self.point, self.kind, self.sympy = d, sizes is None, point, batch, sympy
        self.sizes = sizes or {n: sympy.Symbol(n, integer=True, positive=True) for n in d.size_names}
        self.shapes = d.shapes_for(self.sizes)
        if self.generic:  # sizes that are numbers are axes, too
            self.shapes = {a: tuple([n if n == 1 else sympy.sympify(n) for n in to]) for a, to in self.shapes.items()}
        self.constants = {k: self.variable(k, (), positive=v > 0) if isinstance(v, float) else v for k, v in d.constants.items()}
        self.inputs = {a: self.input(a) for a in d.inputs}
        self.known = d.forward(**self.inputs, **self.constants)
        self.upstream = self.variable(d.upstream, shape(self.known[d.result]))

    def every(self) -> str:
        """The sizes by their names. Where there is one index, the other axes are not on paper, as the columns of batch norm."""
        letters = self.d.writer.letters if self.d.writer is not None else {}
        names = letters if len(letters) == 1 else self.sizes
        return f"every {' and '.join(names)}" if names else "all numbers"

    def differing(self) -> str:
        """What is left out where it depends on which of two numbers is larger."""
        known, nodes = ([values[v] for v in self.d.variables] for values in (self.known, self.nodes))
        values = [*known, *self.gradients.values(), *map(gradient_of, nodes)]
        every = [s for value in values for e in self.flat(value) for s in self.kind.within(e)]
        return ", where numbers that are compared differ" * any(isinstance(s, self.kind.Case) for s in every)

    # ---- variables

    def variable(self, name: str, to: Shape, stands_for: Value = None, **more: Any) -> Value:
        """A variable as a symbol; in an array, they are numbered from 1 as on paper, and compare as what they stand for."""
        Batch, Element = self.kind.Batch, self.kind.Element
        if self.generic:
            return Batch(Element(name, [n for n in to if n != 1], **more), to)
        array = np.empty(to, dtype=object)
        for index in np.ndindex(to):
            number = ",".join(str(i + 1) for i, n in zip(index, to) if n != 1)
            called = f"{name}[{number}]" if number else name
            at = None
            if self.point is not None and stands_for is not None:
                at = self.kind.sample(*self.flat(stands_for[index] if to else stands_for))
            elif self.point is not None:
                at = self.kind.value_at(self.point, called, "positive" in more)
            array[index] = Batch(Element(called, at=at, **more))
        return array if to else array[()]

    def input(self, a: str) -> Value:
        """An input, with what its domain says of it."""
        to, domain = self.shapes[a], self.d.domains.get(a)
        if domain != "probabilities":
            return self.variable(a, to, **({"positive": True} if domain == "positive" else {}))
        if self.generic:
            return self.variable(a, to, adds_up=to[-1])
        array = self.variable(a, to)
        array[..., -1] = 1 - array[..., :-1].sum(axis=-1)
        return array

    def free(self, v: str, value: Value) -> Value:
        """Symbols of their own for a variable of this value: itself, if it is of such."""
        if v in self.inputs and self.d.domains.get(v) != "probabilities":  # which add up to 1, and change one by one
            return value
        return self.variable(v, shape(value), stands_for=value)

    def flat(self, value: Value, to: Shape = ()) -> list[Any]:
        """The expressions in a value: one, if it is a generic element."""
        Batch = self.kind.Batch
        if self.generic and not isinstance(value, (Batch, np.ndarray)):
            value = Batch(value)
        if isinstance(value, Batch):
            return [value.e]
        array = np.broadcast_to(np.asarray(value, dtype=object), to or shape(value))
        return [each.e if isinstance(each, Batch) else Batch.expression(each) for each in array.flat]

    # ---- what is compared

    def difference(self, to: Shape, *ways: Value) -> Any:
        """None if all ways give the same; else the first difference that does not vanish. What numbers refute is left as it is, for
        to simplify it may take SymPy a minute."""
        sp, normal_form = self.sympy, self.kind.normal_form
        first, *others = [way if isinstance(way, list) else self.flat(way, to) for way in ways]
        for other in others:
            for a, b in zip(first, other, strict=True):
                rest = self.kind.expand(a - b)
                if rest == 0 or normal_form(rest) == 0:
                    continue
                if self.numbers(rest):
                    return rest
                if normal_form(rest, sp.expand) != 0 and (rest := sp.simplify(rest)) != 0:
                    return rest
        return None

    def text(self, rest: Any) -> str:
        """An expression as on the terminal, in the derivation's symbols."""
        found = Plain(self._called).sum(gathered(self.kind.written(self.sympy.factor_terms(rest))))
        assert found != "0", f"{rest} vanishes"
        return found if len(found) < LONG else f"{found[: found.rindex(' ', 0, LONG)]} …"

    def _called(self, name: str) -> Notation:
        base, bracket, place = name.partition("[")
        text, latex = self.d.called(base)
        return text + bracket + place, latex

    def numbers(self, rest: Any) -> str:
        """Small numbers for the symbols at which it is not 0, and what it is there, "at m = 1, x = 1: 2"; "" if none are found."""
        rest = self.kind.by_numbers(rest)
        symbols = sorted(rest.free_symbols, key=lambda s: (s in self.kind.elements(rest), s.name, str(s)))
        for attempt in range(50):
            random = Random(attempt)
            values = {s: random.choice([1, 2] if s.is_positive else [1, 2, 0, -1]) for s in symbols}
            value = self.sympy.N(rest.subs(values), 4)
            if value.is_Float and abs(value) > 1e-9:
                sizes = {} if self.generic else self.sizes
                given = [f"{n} = {size}" for n, size in sizes.items()] + [
                    f"{self._called(s.name)[0]} = {n}" for s, n in values.items()
                ]
                return f"{'at ' * bool(given)}{', '.join(given) or 'everywhere'}: {float(value):.4g}".replace("-", "−")
        return ""

    def by_definition(self, y: Value, upstream: Value, x: Value, back: Value) -> list[Any]:
        """∂ Σ upstream · y / ∂x; then x, which stood for ``back``, is that again."""
        along = frozenset(n for n in shape(y) if n != 1) if self.generic else frozenset()
        loss = self.sympy.Add(*[a * b for a, b in zip(self.flat(upstream), self.flat(y))])
        found = [self.kind.derivative(loss, along, self.sympy.Integer(1), each) for each in self.flat(x)]
        values = {s: e for s, e in zip(self.flat(x), self.flat(back)) if s != e}
        return [self.kind.substitute(e, values) for e in found]

    # ---- the rows

    @cached_property
    def nodes(self) -> dict[str, Value]:
        """The engine's run, forward and backward."""
        nodes = self.d.forward(**{a: Tensor(value) for a, value in self.inputs.items()}, **self.constants)
        nodes[self.d.result].backward(self.upstream)
        return nodes

    def differs(self, entry: Equation | Edge | Gradient) -> Any:
        """The difference that does not vanish, in the row of an entry of the table; None if it is an identity."""
        if isinstance(entry, Edge):
            return self.edge(entry)
        if isinstance(entry, Equation):
            return self.difference(shape(self.known[entry.output]), self.nodes[entry.output].data, self.known[entry.output])
        v = entry.variable
        to, engine = shape(self.known[v]), gradient_of(self.nodes[v])
        if entry in self.d.gradients:
            return self.difference(to, engine, self.gradients[v], self.through(v))
        given = self.known | {self.d.upstream: self.upstream} | {f"d{a}": g for a, g in self.gradients.items()}
        condensed = evaluate(entry.function, given)
        if shape(condensed) != to:
            raise ValueError(f"{entry.name}: the formula gives shape {shape(condensed)}, and {to} is due")
        return self.difference(to, engine, condensed)

    @cached_property
    def gradients(self) -> dict[str, Value]:
        """The gradients by the table's formulas."""
        return self.d.backward(self.upstream, **self.known)

    def edge(self, edge: Edge) -> Any:
        """A local derivative: all variables but the edge's output are symbols of their own, for it is a partial one."""
        d = self.d
        values = self.constants | self.inputs | {a: self.variable(a, shape(self.known[a])) for a in d.outputs}
        values |= {f"d{a}": self.variable(f"d{a}", shape(self.known[a])) for a in d.variables}
        function, x = d.equation_of(edge.output).function, values[edge.input]
        values[edge.output], free = evaluate(function, values), self.free(edge.input, x)
        definition = self.by_definition(evaluate(function, values | {edge.input: free}), values[f"d{edge.output}"], free, x)
        return self.difference(shape(values[edge.input]), d.by_engine(edge, values), d.pull_back(edge, values), definition)

    def through(self, v: str) -> list[Any]:
        """A gradient by definition, with a symbol for the variable from where it is computed on."""
        free = self.free(v, self.known[v])
        values = self.constants | self.inputs | {v: free}
        for e in self.d.equations:
            values[e.output] = free if e.output == v else evaluate(e.function, values)
        return self.by_definition(values[self.d.result], self.upstream, free, self.known[v])
