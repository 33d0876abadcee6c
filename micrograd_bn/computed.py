"""What a derivation gives, in one form or another and also with mistakes in it, and how far rounding may move that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .derivation import Derivation, Edge, Formula, Mistake, added_up, evaluate, parameters
from .kinds import Array, Value
from .numbers.running import Running, running
from .recorded import NOT_NUMBERS
from .shapes import Shape, broadcast_to, shape

# The derivation's own way to compute is within its bound; another right one, as the condensed form, rounds in other places.
OTHER_WAYS = 8


class Form(NamedTuple):
    """A way to write a gradient: with these formulas for the edges' own, by number, or for the whole, by its variable."""

    words: str  # "the condensed form"
    formulas: Mapping[Any, Formula]


AS_DERIVED = Form("", MappingProxyType({}))


def forms_of(d: Derivation) -> list[Form]:
    """How people write its gradients, if not edge by edge."""
    condensed = [("the condensed form", {g.variable: g.function}) for g in d.condensed]
    return [Form(*form) for form in (*d.forms.items(), *condensed)]


class Computed(dict[str, Value]):
    """All values and gradients ("dx") by name, each computed when it is first asked for, with these mistakes made."""

    def __init__(
        self,
        d: Derivation,
        values: Mapping[str, Value],
        mistakes: Sequence[Mistake] = (),
        form: Form = AS_DERIVED,
        evaluate: Callable[[Formula, Mapping[str, Value]], Value] = evaluate,
        shapes: Mapping[str, Shape] = MappingProxyType({}),
    ):
        super().__init__(values)
        self.derivation, self.mistakes, self.form, self.evaluate = d, mistakes, form, evaluate
        self.shapes = shapes  # of the variables, where a mistake may give them others: on paper a sum goes where it should
        self.used: dict[Any, Formula] = {}  # the formulas that were needed

    def __missing__(self, name: str) -> Value:
        d = self.derivation
        if name in d.outputs:
            e = d.equation_of(name)
            value = self._formula(e.number, e.function)
        elif name[:1] == "d" and name[1:] in d.variables:
            value = self._gradient(name[1:])
        else:
            raise KeyError(name)
        self[name] = value
        return value

    def _gradient(self, variable: str) -> Value:
        if variable in self.form.formulas:
            return self._formula(variable, self.form.formulas[variable])
        edges = self.derivation.leaving(variable)
        first, *others = [self._term(edge) for edge in edges]
        total = sum(others, first)
        return total if any(map(self._summed_otherwise, edges)) else broadcast_to(total, self._shape(variable))

    def _shape(self, variable: str) -> Shape:
        return self.shapes[variable] if variable in self.shapes else shape(self[variable])

    def _summed_otherwise(self, edge: Edge) -> bool:
        """Whether a mistake may have left another shape; the engine's formulas have their sums in them."""
        n = edge.number
        return any(n in mistake.sums or (edge.function is None and n in mistake.places) for mistake in self.mistakes)

    def _term(self, edge: Edge) -> Value:
        function = self.form.formulas.get(edge.number, self.derivation.formula(edge))
        term = self._formula(edge.number, function)
        if not self._summed_otherwise(edge):
            return added_up(term, self._shape(edge.input))
        for mistake in self.mistakes:
            if edge.number in mistake.sums:
                term = mistake.sums[edge.number](term)
        return term

    def _formula(self, key: Any, function: Formula) -> Value:
        self.used[key] = function
        changed = [mistake.steps[key] for mistake in self.mistakes if key in mistake.steps]
        steps = [change for change in changed if change.function is function]
        term = reduce(or_, steps)(self) if steps else None
        for change in [mistake.formulas[key] for mistake in self.mistakes if key in mistake.formulas]:
            names = parameters(change)
            if term is None and "term" in names:
                term = self.evaluate(function, self)
            term = change(*[term if name == "term" else self[name] for name in names])
        return self.evaluate(function, self) if term is None else term


class Prediction(NamedTuple):
    """A gradient, and how far from it rounding may take whoever computes it."""

    value: Array
    tolerance: Array


class Trial(NamedTuple):
    """A batch, what f returned for it, and what is true, in extended precision."""

    values: dict[str, Value]  # the inputs and constants, the upstream gradient, and the sizes of the axes
    dtype: np.dtype[Any]  # of the numbers that f was given
    got: dict[str, Array]
    exact: set[str]  # the gradients that are the derivation's own, bit for bit
    truth: dict[str, Prediction]
    sizes: dict[str, Array]  # of the terms that each gradient adds up

    def off(self, name: str) -> Array:
        """Where a gradient is further from the truth than rounding takes it; everywhere, if it has another shape."""
        got, truth = self.got[name], self.truth[name]
        if got.shape != truth.value.shape:
            return np.array(True)
        off: Array = ~(np.abs(got - truth.value) <= truth.tolerance)
        return off

    def errors(self, name: str) -> Array:
        """Differences from the truth, relative to the sum of the terms' absolute values; where that is 0, the differences."""
        size = self.sizes[name]
        errors: Array = np.abs(self.got[name] - self.truth[name].value) / np.where(size > 0, size, 1)
        return errors

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of the variables whose gradients are known."""
        return {name: truth.value.shape for name, truth in self.truth.items()}

    def given(self, upstream: Iterable[str]) -> dict[str, Array]:
        """Those of the gradients named ``upstream`` that f returned."""
        return {name: self.got[name] for name in upstream if name in self.got}


def predict(
    d: Derivation,
    values: Mapping[str, Value],
    dtype: np.dtype[Any],
    names: Iterable[str],
    mistakes: Sequence[Mistake] = (),
    form: Form = AS_DERIVED,
    given: Mapping[str, Array] = MappingProxyType({}),
    shapes: Mapping[str, Shape] = MappingProxyType({}),
) -> dict[str, Prediction]:
    """Gradients with these mistakes made, for numbers of ``dtype``; ``given`` are gradients to go on with."""
    number = running(dtype, np.longdouble)
    exact = {a: v if isinstance(v, NOT_NUMBERS) else number(v) for a, v in values.items()}
    computed = Computed(d, exact | {f"d{a}": number(g) for a, g in given.items()}, mistakes, form, shapes=shapes)
    found = {}
    for name in names:
        gradient: Running = number.lift(computed[f"d{name}"])
        found[name] = Prediction(gradient.value, OTHER_WAYS * gradient.error)
    return found
