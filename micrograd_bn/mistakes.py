"""Why a gradient is wrong: the search for a mistake that gives somebody's numbers, on every batch.

``STRATEGIES`` are the ways to explain one, the most likely first. To add one, write a function of a ``Case`` that returns the
causes which give the same numbers, in words, or nothing, and put it where it belongs:

    def halved(case):
        def half(trial):
            value, tolerance = trial.truth[case.name]
            return Prediction(value / 2, tolerance)

        return ["it is half of what it should be"] if case.agrees(half) else []

    STRATEGIES.insert(0, halved)

A mistake that is made in one derivation only stands in its table (``Derivation.mistakes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .derivation import Derivation, Edge, Formula, Mistake, added_up, evaluate, parameters
from .faults import listed
from .formulas import mistakes_in
from .kinds import Array, Value
from .numbers.running import Running, running
from .recorded import PLAIN, Changed
from .shapes import Shape, shape

# The derivation's own way to compute is within its bound; another right one, as the condensed form, rounds in other places.
OTHER_WAYS = 8

# ---- What a derivation gives with mistakes in it, and how far rounding may move it


class Form(NamedTuple):
    """A way to write a gradient: with these formulas for the edges' own, by number, or for the whole, by its variable."""

    words: str  # "the condensed form"
    formulas: Mapping[Any, Formula]


AS_DERIVED = Form("", MappingProxyType({}))


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
        total, to = sum(others, first), self._shape(variable)
        return np.broadcast_to(total, to) if shape(total) != to and not any(map(self._summed_otherwise, edges)) else total

    def _shape(self, variable: str) -> Shape:
        return self.shapes[variable] if variable in self.shapes else shape(self[variable])

    def _summed_otherwise(self, edge: Edge) -> bool:
        """Whether a mistake may have left another shape; the engine's formulas have their sums in them."""
        n = edge.number
        return any(n in mistake.sums or (edge.function is None and n in mistake.formulas) for mistake in self.mistakes)

    def _term(self, edge: Edge) -> Value:
        function = self.form.formulas.get(edge.number, self.derivation.formula(edge))
        term = self._formula(edge.number, function)
        if not self._summed_otherwise(edge):
            return added_up(term, self._shape(edge.input))
        for mistake in self.mistakes:
            term = mistake.sums.get(edge.number, lambda term: term)(term)
        return term

    def _formula(self, key: Any, function: Formula) -> Value:
        self.used[key] = function
        changes = [mistake.formulas[key] for mistake in self.mistakes if key in mistake.formulas]
        steps = [change for change in changes if isinstance(change, Changed) and change.function is function]
        term = None
        if steps:
            changed, *others = steps
            for other in others:
                changed = changed | other
            term = changed(self)
        for change in changes:
            if not isinstance(change, Changed):
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
    exact = {a: v if isinstance(v, PLAIN) else number(v) for a, v in values.items()}
    computed = Computed(d, exact | {f"d{a}": number(g) for a, g in given.items()}, mistakes, form, shapes=shapes)
    found = {}
    for name in names:
        gradient: Running = number.lift(computed[f"d{name}"])
        found[name] = Prediction(gradient.value, OTHER_WAYS * gradient.error)
    return found


# ---- Why: the first strategy that finds a cause which gives the same numbers on every batch


class Way(NamedTuple):
    """How somebody may have come to a gradient: from which of the others, as f returned them, and in which form."""

    upstream: list[str]
    form: Form = AS_DERIVED


class Case:
    """A gradient that is wrong on these batches, as are those named in ``wrong``."""

    def __init__(self, d: Derivation, name: str, trials: list[Trial], wrong: list[str]):
        self.derivation, self.name, self.trials, self.wrong = d, name, trials, wrong
        self.names = {g.variable: g.name for g in d.gradients}

        def named(functions: Iterable[Formula]) -> list[str]:
            return [a for a in self.names if any(f"d{a}" in parameters(function) for function in functions)]

        edges = d.leaving(name)
        self.ways = [Way([a for a in self.names if a in [edge.output for edge in edges]])]
        for words, formulas in d.forms.items():
            if formulas.keys() & {edge.number for edge in edges}:
                self.ways.append(Way(named(formulas.values()), Form(words, formulas)))
        for g in d.condensed:
            if g.variable == name:
                self.ways.append(Way(named([g.function]), Form("the condensed form", {name: g.function})))

    @cached_property
    def best(self) -> Trial:
        """A batch on which it is wrong, in finite numbers if there are any, the largest."""

        def telling(trial: Trial) -> tuple[bool, bool, int]:
            off, finite = trial.off(self.name), np.isfinite(trial.got[self.name])
            return bool((off & finite).any()), bool(off.any()), trial.truth[self.name].value.size

        return max(self.trials, key=telling)

    def agrees(self, predicted: Callable[[Trial], Prediction], loses_digits: bool = False) -> bool:
        """Whether f's numbers are the ones predicted, on every batch, where that means something."""
        evidence = False
        for trial in self.trials:
            try:
                value, tolerance = map(np.squeeze, predicted(trial))
            except ValueError:  # shapes that do not broadcast
                return False
            got = np.squeeze(trial.got[self.name])
            if got.shape != value.shape:
                return False
            precise = tolerance <= 0.01 * np.abs(value)
            # A mistake that divides by 0 may give any number, and so may one that loses all digits.
            known = precise if loses_digits else np.isfinite(tolerance)
            if (known & ~(np.abs(got - value) <= tolerance)).any():
                return False
            evidence |= bool((precise if loses_digits else np.squeeze(trial.off(self.name)) & precise).any())
        return evidence

    def explained_by(self, *mistakes: Mistake, way: Way, dtype: np.dtype[Any] | None = None) -> bool:
        """Whether these mistakes give f's numbers."""

        def predicted(trial: Trial) -> Prediction:
            given = trial.given(way.upstream)
            how = (trial.values, dtype or trial.dtype, [self.name], mistakes, way.form, given, trial.shapes)
            return predict(self.derivation, *how)[self.name]

        return self.agrees(predicted, any(mistake.loses_digits for mistake in mistakes))

    def relevant(self, way: Way, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Those that concern what is computed this way."""
        right = self._computed(way, [])
        try:
            right[f"d{self.name}"]
        except ValueError:  # a gradient that f returned has another shape
            return []

        def concerns(key: Any, change: Callable[..., Value]) -> bool:
            return key in right.used and (not isinstance(change, Changed) or change.function is right.used[key])

        return [m for m in mistakes if any(concerns(*each) for each in m.formulas.items()) or m.sums.keys() & right.used.keys()]

    def _computed(self, way: Way, mistakes: Sequence[Mistake]) -> Computed:
        given = {f"d{a}": g for a, g in self.best.given(way.upstream).items()}
        return Computed(self.derivation, self.best.values | given, mistakes, way.form, shapes=self.best.shapes)

    def value(self, way: Way, mistakes: Sequence[Mistake]) -> Value:
        """What these mistakes give on the best batch, without its rounding."""
        try:
            return np.squeeze(self._computed(way, mistakes)[f"d{self.name}"])
        except (ValueError, IndexError):  # shapes that do not broadcast
            return np.array(np.nan)

    def comes_close(self, way: Way, mistakes: Sequence[Mistake]) -> bool:
        """Before they are tried on every batch: is it worth while?"""
        got, value = np.squeeze(self.best.got[self.name]), self.value(way, mistakes)
        return got.shape == value.shape and bool((np.abs(value - got) <= 1e-3 * np.abs(got)).any())


Strategy = Callable[[Case], "list[str]"]


def explain(d: Derivation, name: str, trials: list[Trial], wrong: list[str]) -> str | None:
    """The likeliest causes of a gradient that is wrong on these batches, as are those named in ``wrong``; None if none is known."""
    case = Case(d, name, trials, wrong)
    if case.agrees(lambda trial: trial.truth[name]):  # only the shape is wrong
        return None
    causes = next(filter(None, (strategy(case) for strategy in STRATEGIES)), None)
    return "; or, with the same numbers, ".join(causes) if causes else None


def right_given_others(case: Case) -> list[str]:
    """An error further up explains this one."""
    for way in case.ways:
        blamed = [case.names[a] for a in case.wrong if a in way.upstream]  # in the derivation's order: the first is the root
        if blamed and case.explained_by(way=way):
            where = f", in {way.form.words}" if way.form.words else ""
            return [f"{case.names[case.name]} is right given your {listed(blamed)}{where}: fix {blamed[0]} first"]
    return []


def all_zero(case: Case) -> list[str]:
    """Nothing was computed."""
    return [] if any(trial.got[case.name].any() for trial in case.trials) else ["it is 0 everywhere"]


def another_gradient(case: Case) -> list[str]:
    """Right numbers, under a wrong name."""

    def is_it(other: str) -> bool:
        return other != case.name and case.agrees(lambda trial: trial.truth[other])

    found = next((name for other, name in case.names.items() if is_it(other)), None)
    return [f"this is {found}: are the names, or the order of the tuple, mixed up?"] if found else []


def one_mistake(case: Case) -> list[str]:
    """A single mistake in the backward pass, or one of the derivation's own."""
    return _one_of(case, mistakes_in(case.derivation).backward)


def one_forward_mistake(case: Case) -> list[str]:
    """A single mistake in an equation, or wherever something stands."""
    return _one_of(case, mistakes_in(case.derivation).forward)


def _one_of(case: Case, mistakes: Sequence[Mistake]) -> list[str]:
    """Which of these gives the numbers: going on from what f returned, in one form or another, in the end from nothing of it."""
    for way in (*case.ways, Way([])):
        causes: list[Mistake] = []
        for mistake in case.relevant(way, mistakes):
            new = not any(mistake.places >= cause.places for cause in causes)
            close = mistake.loses_digits or case.comes_close(way, [mistake])
            if new and close and case.explained_by(mistake, way=way):
                causes.append(mistake)
        if causes:
            return [cause.why for cause in causes]
    return []


def in_float32(case: Case) -> list[str]:
    """Nothing is wrong but the precision."""
    if case.explained_by(way=case.ways[0], dtype=np.dtype(np.float32)):
        first = case.derivation.inputs[0]
        return [f"right to the seven digits of float32, but {first} came as float64: something in between is float32"]
    return []


def two_mistakes(case: Case) -> list[str]:
    """Two mistakes together, of the likelier ones; also where the gradients further up are right, or wrong, without them."""
    for way in (*case.ways, Way([])):
        likely, values = [], [case.value(way, [])]
        for mistake in case.relevant(way, mistakes_in(case.derivation).likely):
            value = case.value(way, [mistake])
            if not any(value.shape == other.shape and np.allclose(value, other, 1e-9, 0) for other in values):
                likely.append(mistake)
                values.append(value)
        for pair in combinations(likely, 2):
            if case.comes_close(way, pair) and case.explained_by(*pair, way=way):
                return [f"two mistakes together: {pair[0].why}; and {pair[1].why}"]
    return []


STRATEGIES: list[Strategy] = [
    right_given_others,
    all_zero,
    another_gradient,
    one_mistake,
    one_forward_mistake,
    in_float32,
    two_mistakes,
]
