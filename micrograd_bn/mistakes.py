"""Why a gradient is wrong: the search for a mistake that gives somebody's numbers, on every batch.

``STRATEGIES`` are the ways to explain one, the most likely first. To add one, write a function of a ``Case`` that returns a
``Why`` if it is a cause which gives the same numbers, or None, and put it where it belongs:

    def halved(case):
        def half(trial):
            value, tolerance = trial.truth[case.name]
            return Prediction(value / 2, tolerance)

        return Why("it is half of what it should be") if case.agrees(half) else None

    STRATEGIES.insert(0, halved)

A mistake that is made in one derivation only stands in its table (``Derivation.mistakes``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .computed import AS_DERIVED, Computed, Form, Prediction, Trial, forms_of, predict
from .derivation import Derivation, Formula, Mistake, evaluate, parameters, with_parameters
from .faults import listed
from .formulas import factors_in, mistakes_in
from .kinds import Array, Value

MISFIT = (ValueError, IndexError)  # shapes that do not broadcast, an axis that there is not


class Why(NamedTuple):
    """What explains a gradient: in words, and what a grade and a picture make of it."""

    text: str
    edges: tuple[int, ...] = ()  # the numbers of those that are to blame
    given: tuple[str, ...] = ()  # the variables whose wrong gradients it is right given
    zero: bool = False  # whether it is 0 everywhere


Together: TypeAlias = tuple[Mistake, ...]


class Way(NamedTuple):
    """How somebody may have come to a gradient: from which of the others, as f returned them, and in which form."""

    upstream: list[str]
    form: Form = AS_DERIVED


class Case:
    """A gradient that is wrong on these batches, as are those named in ``wrong``."""

    def __init__(self, d: Derivation, name: str, trials: list[Trial], wrong: list[str]):
        self.derivation, self.name, self.trials, self.wrong = d, name, trials, wrong
        self.names = {g.variable: g.name for g in d.gradients}
        self._values: dict[tuple[int, ...], tuple[Any, Value]] = {}
        edges = d.leaving(name)
        self.keys: tuple[Any, ...] = (name, *[edge.number for edge in edges])  # of the formulas that give all of it
        returned = [a for a in self.names if any(a in trial.got for trial in trials)]
        self.ways = [Way([a for a in returned if a in [edge.output for edge in edges]])]
        for form in forms_of(d):
            if form.formulas.keys() & {*self.keys}:
                named = {a for function in form.formulas.values() for a in parameters(function)}
                self.ways.append(Way([a for a in returned if f"d{a}" in named], form))
        if self.ways[0].upstream:
            self.ways.append(Way([]))  # in the end from nothing of what f returned

    @cached_property
    def best(self) -> Trial:
        """A batch on which it is wrong, in finite numbers if there are any, the one with the most that are large."""

        def telling(trial: Trial) -> tuple[bool, bool, int]:
            off, finite = trial.off(self.name), np.isfinite(trial.got[self.name])
            return bool((off & finite).any()), bool(off.any()), len(self.large(trial.got[self.name]))

        return max(self.trials, key=telling)

    @staticmethod
    def large(got: Array) -> Array:
        """The places of numbers that have lost no more digits than others, the largest first."""
        sizes = np.where(np.isfinite(got), np.abs(got), 0).ravel()
        large: Array = np.argsort(-sizes)[: np.count_nonzero(sizes > 1e-3 * sizes.max(initial=0))]
        return large

    def agrees(self, predicted: Callable[[Trial], Prediction], loses_digits: bool = False) -> bool:
        """Whether f's numbers are the ones predicted, on every batch, where that means something."""
        evidence = False
        for trial in self.trials:
            try:
                value, tolerance = map(np.squeeze, predicted(trial))
            except MISFIT:
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

    def is_gradient(self, name: str) -> bool:
        """Whether f's numbers are right for this gradient."""
        return self.agrees(lambda trial: trial.truth[name])

    def explained_by(self, *mistakes: Mistake, way: Way, dtype: np.dtype[Any] | None = None) -> bool:
        """Whether these mistakes give f's numbers."""

        def predicted(trial: Trial) -> Prediction:
            how = (mistakes, way.form, trial.given(way.upstream), trial.shapes)
            return predict(self.derivation, trial.values, dtype or trial.dtype, [self.name], *how)[self.name]

        return self.agrees(predicted, any(mistake.loses_digits for mistake in mistakes))

    def used(self, way: Way) -> dict[Any, Formula]:
        """The formulas that it takes this way."""
        right = self._computed(way, [])
        try:
            right[f"d{self.name}"]
        except MISFIT:  # a gradient that f returned has another shape
            return {}
        return right.used

    def relevant(self, way: Way, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Those that concern what is computed this way."""
        used = self.used(way)

        def concerned(mistake: Mistake) -> bool:
            steps = any(used.get(key) is change.function for key, change in mistake.steps.items())
            return steps or not used.keys().isdisjoint((*mistake.formulas, *mistake.sums))

        return list(filter(concerned, mistakes))

    def why(self, text: str, way: Way, mistakes: Iterable[Mistake]) -> Why:
        """These mistakes as a cause, with the edges on this way that they change."""
        changed = {place for mistake in mistakes for place in mistake.places} & self.used(way).keys()
        return Why(text, tuple(edge.number for edge in self.derivation.edges if edge.number in changed))

    def _computed(self, way: Way, mistakes: Sequence[Mistake]) -> Computed:
        given = {f"d{a}": g for a, g in self.best.given(way.upstream).items()}
        return Computed(self.derivation, self.best.values | given, mistakes, way.form, shapes=self.best.shapes)

    def value(self, way: Way, mistakes: Sequence[Mistake]) -> Value:
        """What these mistakes give on the best batch, without its rounding."""
        key = (id(way), *map(id, mistakes))
        if key in self._values:
            return self._values[key][1]
        try:
            value = np.squeeze(self._computed(way, mistakes)[f"d{self.name}"])
        except MISFIT:
            value = np.array(np.nan)
        if len(mistakes) < 2:  # these are asked for again
            self._values[key] = (way, mistakes), value
        return value

    def other_gradients(self) -> Iterator[Mistake]:
        """For the whole gradient, one that is known before it."""
        whole, first, *rest = self.keys
        for other in list(self.names)[: list(self.names).index(self.name)]:
            stops = dict.fromkeys((whole, first), with_parameters((f"d{other}",), lambda gradient: gradient))
            yield Mistake(f"this is {self.names[other]}", {**stops, **dict.fromkeys(rest, lambda term: term * 0)})

    def factors(self) -> Iterator[tuple[Together, Array]]:
        """What the whole gradient may be multiplied by, as a mistake, or none; and what that is on the best batch."""
        to = self.best.truth[self.name].value.shape
        yield (), np.ones(to)
        known = Computed(self.derivation, self.best.values)
        for q in factors_in(self.derivation):
            try:
                value = np.broadcast_to(evaluate(q.function, known), to).astype(float)
            except ValueError:  # it has another shape
                continue
            names = ("term", *parameters(q.function))
            for what, change, multiple in (
                ("factor", lambda term, *a, q=q: term * q.function(*a), value),
                ("division by", lambda term, *a, q=q: term / q.function(*a), 1 / value),
            ):
                why = f"there is a {what} {q.text} too many in all of {self.names[self.name]}"
                yield (Mistake(why, dict.fromkeys(self.keys, with_parameters(names, change))),), multiple

    @cached_property
    def close(self) -> float:
        """Within this, relative to each other, numbers on the best batch are the same."""
        return float(np.sqrt(np.finfo(self.best.dtype).eps))

    def multiples(self, wanted: Array, arrays: Iterable[tuple[Together, Array]]) -> Iterator[tuple[Together, float]]:
        """Whose arrays give the wanted one, multiplied by which number."""
        mistakes, values = zip(*arrays)
        ratios = (wanted / np.array(values)).astype(float)
        least, most = ratios.min(axis=1), ratios.max(axis=1)
        for i in np.flatnonzero(most - least <= self.close * np.abs(least)):
            yield mistakes[i], least[i]

    def comes_close(self, way: Way, mistakes: Sequence[Mistake]) -> bool:
        """Before they are tried on every batch: is it worth while?"""
        got, value = np.squeeze(self.best.got[self.name]), self.value(way, mistakes)
        return got.shape == value.shape and bool((np.abs(value - got) <= 1e-3 * np.abs(got)).any())


def explain(d: Derivation, name: str, trials: list[Trial], wrong: list[str]) -> Why | None:
    """The likeliest cause of a gradient that is wrong on these batches, as are those named in ``wrong``; None if none is known."""
    case = Case(d, name, trials, wrong)
    if case.is_gradient(name):  # only the shape is wrong
        return None
    return next(filter(None, (strategy(case) for strategy in STRATEGIES)), None)


def right_given_others(case: Case) -> Why | None:
    """An error further up explains this one."""
    for way in case.ways:
        given = tuple(a for a in case.wrong if a in way.upstream)  # in the derivation's order: the first is the root
        if given and case.explained_by(way=way):
            blamed, where = [case.names[a] for a in given], f", in {way.form.words}" if way.form.words else ""
            text = f"{case.names[case.name]} is right given your {listed(blamed)}{where}: fix {blamed[0]} first"
            return Why(text, given=given)
    return None


def all_zero(case: Case) -> Why | None:
    """Nothing was computed."""
    return None if any(trial.got[case.name].any() for trial in case.trials) else Why("it is 0 everywhere", zero=True)


def another_gradient(case: Case) -> Why | None:
    """Right numbers, under a wrong name."""
    for other, name in case.names.items():
        if other != case.name and case.is_gradient(other):
            return Why(f"this is {name}: are the names, or the order of the tuple, mixed up?")
    return None


def one_mistake(case: Case) -> Why | None:
    """A single mistake in the backward pass, or one of the derivation's own."""
    return _one_of(case, mistakes_in(case.derivation).backward)


def one_forward_mistake(case: Case) -> Why | None:
    """A single mistake in an equation, or wherever something stands."""
    return _one_of(case, mistakes_in(case.derivation).forward)


def _one_of(case: Case, mistakes: Sequence[Mistake]) -> Why | None:
    """Which of these gives the numbers: going on from what f returned, in one form or another, in the end from nothing of it."""
    for way in case.ways:
        causes: list[Mistake] = []
        for mistake in case.relevant(way, mistakes):
            new = not any(mistake.places >= cause.places for cause in causes)
            close = mistake.loses_digits or case.comes_close(way, [mistake])
            if new and close and case.explained_by(mistake, way=way):
                causes.append(mistake)
        if causes:
            return case.why("; or, with the same numbers, ".join(cause.why for cause in causes), way, causes)
    return None


def in_float32(case: Case) -> Why | None:
    """Nothing is wrong but the precision."""
    if case.explained_by(way=case.ways[0], dtype=np.dtype(np.float32)):
        first = case.derivation.inputs[0]
        return Why(f"right to the seven digits of float32, but {first} came as float64: something in between is float32")
    return None


def two_mistakes(case: Case) -> Why | None:
    """Two mistakes together, of the likelier ones; also where the gradients further up are right, or wrong, without them."""
    for way in case.ways:
        likely, values = [], [case.value(way, [])]
        for mistake in case.relevant(way, mistakes_in(case.derivation).likely):
            value = case.value(way, [mistake])
            if not any(value.shape == other.shape and np.allclose(value, other, 1e-9, 0) for other in values):
                likely.append(mistake)
                values.append(value)
        for pair in combinations(likely, 2):
            if case.comes_close(way, pair) and case.explained_by(*pair, way=way):
                return case.why(_together(pair), way, pair)
    return None


def up_to_factors(case: Case) -> Why | None:
    """A mistake and up to two more that multiply all by a number; or a gradient, this or another, times a quantity, and these; and
    what loses digits besides.

    Which go together is seen in how many times the one array is the other, on the best batch, so that all can be tried.
    """
    got, known = case.best.got[case.name], mistakes_in(case.derivation)
    largest = case.large(got)[:8]
    if got.shape != case.best.truth[case.name].value.shape or len(largest) < 3:  # of fewer, anything is a multiple
        return None
    wanted, factors = got.ravel()[largest], [(factor, value.ravel()[largest]) for factor, value in case.factors()]
    found: list[tuple[Together, Way]] = []
    for way in case.ways:

        def values(mistakes: Iterable[Mistake], way: Way = way) -> list[tuple[Together, Array]]:
            computed = [(mistake, case.value(way, (mistake,))) for mistake in case.relevant(way, mistakes)]
            return [((mistake,), value.ravel()[largest]) for mistake, value in computed if value.size == got.size]

        right, single = case.value(way, ()), values((*known.backward, *known.forward))
        if right.size != got.size or not single:  # what f returned further up has another shape
            continue
        right = right.ravel()[largest]
        gradients: list[tuple[Together, Array]] = [((), right), *values(case.other_gradients())]
        numbers = [(mistake, 1 / n) for mistake, n in case.multiples(right, single) if n]
        less_exact = [mistake for mistake, _ in numbers if mistake[0].loses_digits]
        numbers = [each for each in numbers if abs(each[1] - 1) > case.close]
        numbers += [(a + b, m * n) for (a, m), (b, n) in combinations(numbers, 2) if abs(m * n - 1) > case.close]
        numbers.append(((), 1.0))
        for factor, value in factors:
            bases = gradients if factor else [*gradients, *single]
            for base, number in case.multiples(wanted, [(mistakes, v * value) for mistakes, v in bases]):
                fit = [(*base, *more, *factor) for more, n in numbers if abs(n - number) <= case.close * abs(n)]
                found += [((*mistakes, *digits), way) for mistakes in fit for digits in [(), *less_exact]]
    for mistakes, way in sorted(found, key=lambda each: len(each[0])):
        if case.explained_by(*mistakes, way=way):
            return case.why(_together(mistakes), way, mistakes)
    return None


def _together(mistakes: Sequence[Mistake]) -> str:
    *others, last = [mistake.why for mistake in mistakes]
    number = ("", "two", "three", "four", "five")[len(others)]
    return f"{number} mistakes together: {'; '.join(others)}; and {last}" if others else last


STRATEGIES: list[Callable[[Case], Why | None]] = [
    right_given_others,
    all_zero,
    another_gradient,
    one_mistake,
    one_forward_mistake,
    in_float32,
    two_mistakes,
    up_to_factors,
]
