"""The mistakes that people make in a backward pass: a table of them, each a change of the derivation's formulas; what the
derivation gives with such changes; and the search for a change that gives somebody's wrong numbers, on every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .derivation import evaluate
from .derivations.batch_norm import BATCH_NORM, EQUATIONS, GRADIENTS
from .kinds import Array, Value
from .numbers.running import running
from .primitives import sqrt
from .shapes import count, shape, unbroadcast

NAMES = {entry.variable: entry.name for entry in GRADIENTS}
UPSTREAM = {  # the gradients that each is computed from
    name: [other for other in NAMES if other in [edge.output for edge in BATCH_NORM.leaving(name)]] for name in NAMES
}

# ---- The table. A change is a function of the values that it names: the derivation's, term (what the right formula gives), m,
# root = √(σ² + ε), and batch, which is x where x − μ is not meant.

Change: TypeAlias = Callable[..., Value]


class Mistake(NamedTuple):
    """A change of the derivation: of formulas, or of their sums over the batch, by equation number, or of the statistics' axis."""

    why: str
    formulas: Mapping[int, Change] = MappingProxyType({})
    sums: Mapping[int, Change] = MappingProxyType({})
    axis: int = 0

    @property
    def places(self) -> set[int | tuple[str, int]]:
        """What it changes: n for the formula of equation (n), ("Σ", n) for its sum."""
        return {*self.formulas, *(("Σ", number) for number in self.sums)}


def _in(number: int) -> str:
    return f"in {EQUATIONS[number - 1].name}, equation ({number})"


def _of_root(number: int, other: Change) -> Change:
    """The formula with something else for √(σ² + ε), in each of the four that divide by it or by its third power."""
    power = {3: 1, 8: 3, 10: 1, 13: 1}[number]
    return lambda term, root, var, eps: term * (root / evaluate(other, {"var": var, "eps": eps})) ** power


DROPPED = {11: "μ", 12: "σ²", 13: "x̂"}
FACTORS = (  # what is wrong, in which equations, and what then stands for the term
    ("the sign is wrong", (5, 6, 7, 8, 10, 11, 12, 13), lambda term: -term),
    ("the 1/m is missing", (11, 12), lambda term, m: term * m),
    ("there is m − 1 for m", (11, 12), lambda term, m: term * m / (m - 1)),
    ("there is a 1/m too many", (11, 12, 13), lambda term, m: term / m),
    ("there is a 1/m too many (a mean for the sum over the batch)", (6, 7, 8, 10), lambda term, m: term / m),
    ("the ½ is missing", (8,), lambda term: term * 2),
    ("the 2 is missing", (12,), lambda term: term / 2),
    ("the power is −½, not −3/2,", (8,), lambda term, root: term * root**2),
    ("the power is −1, not −3/2,", (8,), lambda term, root: term * root),
    ("the division by √(σ² + ε) is missing", (10, 13), lambda term, root: term * root),
    ("γ is forgotten", (5,), lambda dy: dy),
    ("γ is forgotten (dy stands for dx̂)", (8, 10, 13), lambda term, gamma: term / gamma),
    ("there is a γ too many", (5, 6, 7), lambda term, gamma: term * gamma),
    ("x̂ stands for x − μ", (8, 12), lambda term, root: term / root),
    ("x − μ stands for x̂", (7,), lambda term, root: term * root),
    ("x stands for x̂", (7,), lambda dy, batch: dy * batch),
    ("x stands for x − μ", (8,), lambda dx_hat, batch, root: dx_hat * -batch / (2 * root**3)),
    ("x stands for x − μ", (12,), lambda dvar, batch, m: dvar * (2 * batch / m)),
)
SUMMED = (6, 7, 8, 10)  # (9) has its own mean
SUMS = (
    ("there is no sum over the batch", lambda term: term),
    ("the sum is over the features (axis 1), not over the batch (axis 0),", lambda term: term.sum(axis=1, keepdims=True)),
    ("the sum is over everything, not only over the batch (axis 0),", lambda term: term.sum()),
)
ROOTS = (  # what stands for √(σ² + ε)
    ("ε is forgotten", lambda var: sqrt(var)),
    ("ε is always 1e-5, not the one that was passed,", lambda var: sqrt(var + 1e-5)),
    ("ε is added to σ, after the root,", lambda var, eps: sqrt(var) + eps),
    ("the square root is forgotten", lambda var, eps: var + eps),
)
UNBIASED = "the variance divides by m − 1, not by m, in equation"
NO_MEAN = "the variance lacks its 1/m in equation"
MEAN_OF_ALL = {1: lambda term, batch: 0 * term + batch.mean()}
VAR_OF_ALL = {2: lambda term, x, mu: 0 * term + ((x - mu) ** 2).mean()}
OF_ALL = (  # mean() and var() without an axis; var() has a mean of its own, whatever μ is
    ("μ and σ² are", "equations (1) and (2)", MEAN_OF_ALL | VAR_OF_ALL),
    ("μ is", "equation (1)", MEAN_OF_ALL),
    ("μ is", "equation (1)", MEAN_OF_ALL | {2: lambda batch: batch.var(axis=0, keepdims=True)}),
    ("σ² is", "equation (2)", VAR_OF_ALL),
    ("σ² is", "equation (2)", {2: lambda term, batch: 0 * term + batch.var()}),
)
NO_9 = {9: lambda term: term * 0}  # whoever leaves it out takes Σ (x − μ) for 0, which it is not with such a μ

# From the particular to the general: where several give the same numbers, the first is named first.
MISTAKES = (
    *(Mistake(f"dx lacks the path through {name}, equation ({n})", {n: lambda term: term * 0}) for n, name in DROPPED.items()),
    Mistake(
        "dx takes μ and σ² for constants: it lacks the paths through them, equations (11) and (12)",
        dict.fromkeys((11, 12), lambda term: term * 0),
    ),
    *(Mistake(f"{what} {_in(n)}", {n: change}) for what, numbers, change in FACTORS for n in numbers),
    *(Mistake(f"{what} {_in(n)}", sums={n: change}) for what, change in SUMS for n in SUMMED),
    *(Mistake(f"{what} {_in(n)}", {n: _of_root(n, other)}) for what, other in ROOTS for n in (3, 8, 10, 13)),
    *(Mistake(f"{what} wherever √(σ² + ε) stands", {n: _of_root(n, other) for n in (3, 8, 10, 13)}) for what, other in ROOTS),
    Mistake(
        "ε is added to σ, after the root, in equation (3) and in its derivatives",
        {n: _of_root(n, ROOTS[2][1]) for n in (3, 10, 13)}
        | {8: lambda term, root, var, eps: term * root**3 / (sqrt(var) * (sqrt(var) + eps) ** 2)},
    ),
    Mistake(f"{UNBIASED} (2)", {2: lambda term, m: term * m / (m - 1)}),
    Mistake(f"{UNBIASED}s (2) and (12)", dict.fromkeys((2, 12), lambda term, m: term * m / (m - 1))),
    Mistake(f"{NO_MEAN} (2)", {2: lambda term, m: term * m}),
    Mistake(f"{NO_MEAN}s (2) and (12)", dict.fromkeys((2, 12), lambda term, m: term * m)),
    Mistake("σ stands for σ² in equation (2)", {2: lambda term: sqrt(term)}),
    Mistake("μ and σ² are taken over the features (axis 1), not over the batch (axis 0), equations (1) and (2)", axis=1),
    *(
        Mistake(f"{what} taken over everything (no axis), not only over the batch (axis 0), {where}", formulas | without)
        for what, where, formulas in OF_ALL
        for without in ({}, NO_9)
    ),
    Mistake("the sign is wrong in all of dx", dict.fromkeys(DROPPED, lambda term: -term)),
    Mistake("a 1/m is missing in all of dx", dict.fromkeys(DROPPED, lambda term, m: term * m)),
    Mistake("the division by √(σ² + ε) is missing in all of dx", dict.fromkeys(DROPPED, lambda term, root: term * root)),
    Mistake("the square root is forgotten in all of dx", dict.fromkeys(DROPPED, lambda term, root: term / root)),
)

# No mistake: the condensed form of dx goes on with dγ and dβ, where the derivation goes on with dσ² and dμ.
CONDENSED_FORM = Mistake(
    "",
    {
        12: lambda gamma, x_hat, dgamma, m, root: -gamma * x_hat * dgamma / (m * root),
        11: lambda gamma, dbeta, m, root: -gamma * dbeta / (m * root),
    },
)


# ---- What the derivation gives with such changes, and how far rounding may move it.


# The derivation's own form of the computation is within its bound; another right form, as the condensed one, rounds elsewhere.
OTHER_FORMS = 8


class Prediction(NamedTuple):
    """A gradient, the size of the terms that it adds up, and how far from it rounding may take whoever computes it."""

    value: Array
    size: Array
    tolerance: Array


def predict(
    values: dict[str, Value],
    dtype: np.dtype[Any],
    mistakes: Sequence[Mistake] = (),
    given: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, Prediction]:
    """The six gradients of a batch with these mistakes made, for numbers of ``dtype``; ``given`` are gradients to go on with."""
    number = running(dtype, np.longdouble)
    own, returned = ({name: number(value) for name, value in known.items()} for known in (values, given))
    found: dict[str, Value] = backward(forward(own, mistakes), mistakes, returned)
    v = forward(values, mistakes)
    apart = {"x": np.abs(v["x"] - v["mu"]), "mu": 0 * v["mu"]}  # so that no formula's terms cancel: all know x only as x − mu
    size = backward(v | apart, mistakes, given, np.abs)
    return {name: Prediction(found[name].value, size[name], OTHER_FORMS * found[name].error) for name in found}


def forward(values: dict[str, Value], mistakes: Sequence[Mistake] = ()) -> dict[str, Value]:
    """The values, and all that the formulas and their changes name."""
    axis = max((mistake.axis for mistake in mistakes), default=0)
    v = values | {"axis": axis, "m": count(values["x"], axis), "batch": values["x"]}
    v["mu"] = _formula(1, v, mistakes)
    v["var"] = _formula(2, v, mistakes)
    v["root"] = sqrt(v["var"] + v["eps"])
    v["x_hat"] = _formula(3, v, mistakes)
    return v


def backward(
    v: dict[str, Value],
    mistakes: Sequence[Mistake] = (),
    given: Mapping[str, Value] = MappingProxyType({}),
    measure: Change = lambda term: term,
) -> dict[str, Value]:
    """The six gradients, each the sum of the terms on its edges. A ``given`` one is what the formulas after it then see."""
    v, found = dict(v), {}
    for entry in GRADIENTS:
        first, *others = (_summed(number, measure(_formula(number, v, mistakes)), v, mistakes) for number in entry.numbers)
        found[entry.variable] = sum(others, first)
        v[f"d{entry.variable}"] = measure(given.get(entry.variable, found[entry.variable]))
    return found


def _formula(number: int, v: dict[str, Value], mistakes: Sequence[Mistake]) -> Value:
    term = evaluate(EQUATIONS[number - 1].function, v)
    for mistake in mistakes:
        if number in mistake.formulas:
            term = evaluate(mistake.formulas[number], v | {"term": term})
    return term


def _summed(number: int, term: Value, v: dict[str, Value], mistakes: Sequence[Mistake]) -> Value:
    if number not in SUMMED:
        return term
    for mistake in mistakes:
        if number in mistake.sums:
            return mistake.sums[number](term)
    return unbroadcast(term, shape(v[EQUATIONS[number - 1].input]))


# ---- Why: the first hypothesis that gives the same numbers on every batch.


class Trial(NamedTuple):
    """A batch, what f returned for it, and what is true, in extended precision."""

    values: dict[str, Value]
    dtype: np.dtype[Any]  # of the numbers that f was given
    got: dict[str, Array]
    exact: set[str]  # the gradients that are batch_norm_backward's, bit for bit
    truth: dict[str, Prediction]

    def off(self, name: str) -> Array:
        """Where a gradient is further from the truth than rounding takes it; everywhere, if it has another shape."""
        got, truth = self.got[name], self.truth[name]
        if got.shape != truth.value.shape:
            return np.array(True)
        off: Array = ~(np.abs(got - truth.value) <= truth.tolerance)
        return off

    def errors(self, name: str) -> Array:
        """Differences from the truth, relative to the sum of the terms' absolute values; where that is 0, the differences."""
        value, size, _ = self.truth[name]
        errors: Array = np.abs(self.got[name] - value) / np.where(size > 0, size, 1)
        return errors

    def given(self, upstream: list[str]) -> dict[str, Array]:
        """Those of the gradients named ``upstream`` that f returned."""
        return {name: self.got[name] for name in upstream if name in self.got}


def explain(name: str, trials: list[Trial], wrong: list[str]) -> str | None:
    """The likeliest causes of a gradient that is wrong on these batches, as are those named in ``wrong``; None if none is known."""
    causes = next(filter(None, _hypotheses(name, trials, wrong)), None)
    return "; or, with the same numbers, ".join(causes) if causes else None


def _explains(name: str, trials: list[Trial], predicted: Callable[[Trial], Prediction]) -> bool:
    evidence = False
    for trial in trials:
        try:
            value, size, tolerance = map(np.squeeze, predicted(trial))
        except ValueError:  # shapes that do not broadcast
            return False
        got = np.squeeze(trial.got[name])
        if got.shape != value.shape:
            return False
        if (np.isfinite(tolerance) & ~(np.abs(got - value) <= tolerance)).any():  # a mistake that divides by 0 may give any number
            return False
        evidence |= bool((np.squeeze(trial.off(name)) & (tolerance < 0.01 * size)).any())  # agreement that means something
    return evidence


def _hypotheses(name: str, trials: list[Trial], wrong: list[str]) -> Iterator[list[str]]:
    """What explains a wrong gradient, the most likely first: lists of causes that give the same numbers, or empty ones."""

    def explained_by(*mistakes: Mistake, upstream: list[str], dtype: np.dtype[Any] | None = None) -> bool:
        def predicted(trial: Trial) -> Prediction:
            return predict(trial.values, dtype or trial.dtype, mistakes, trial.given(upstream))[name]

        return _explains(name, trials, predicted)

    def is_instead(other: str) -> bool:
        return _explains(name, trials, lambda trial: trial.truth[other])

    # the gradients that it goes on with, as f returned them, and in which form
    ways: list[tuple[list[str], tuple[Mistake, ...], str]] = [(UPSTREAM[name], (), "")]
    if name == "x" and ("gamma" in wrong or "beta" in wrong):
        ways.append((["gamma", "beta"], (CONDENSED_FORM,), ", in the condensed form"))
    for upstream, form, in_which in ways:
        blamed = [NAMES[other] for other in wrong if other in upstream]  # in the derivation's order: the first is the root
        if blamed and explained_by(*form, upstream=upstream):
            listed = " and ".join(filter(None, [", ".join(blamed[:-1]), blamed[-1]]))
            yield [f"{NAMES[name]} is right given your {listed}{in_which}: fix {blamed[0]} first"]
    if not any(trial.got[name].any() for trial in trials):
        yield ["it is 0 everywhere"]
    for other in NAMES:
        if other != name and is_instead(other):
            yield [f"this is {NAMES[other]}: are the names, or the order of the tuple, mixed up?"]

    largest = max(trials, key=lambda trial: trial.values["x"].size)
    for upstream, form, _ in (*ways, ([], (), "")):  # in the end from nothing that f returned
        causes: list[Mistake] = []
        for mistake in _relevant(name, largest, upstream, form):
            particular = not any(mistake.places > cause.places for cause in causes)
            if particular and explained_by(*form, mistake, upstream=upstream):
                causes.append(mistake)
        yield [cause.why for cause in causes]
    if _only_far_from_zero(name, trials):
        yield ["right where a column's mean is small; where it is large against σ, digits are lost, as E[x²] − E[x]² loses them"]
    if explained_by(upstream=UPSTREAM[name], dtype=np.dtype(np.float32)):
        yield ["right to the seven digits of float32, but x came as float64: something in between is float32"]
    for upstream, form, _ in ways:
        for a, b in combinations(_relevant(name, largest, upstream, form), 2):
            mistakes = (*form, a, b)
            if _comes_close(name, largest, upstream, mistakes) and explained_by(*mistakes, upstream=upstream):
                yield [f"two mistakes together: {a.why}; and {b.why}"]


def _value(name: str, trial: Trial, upstream: list[str], mistakes: Sequence[Mistake]) -> Value:
    try:
        return backward(forward(trial.values, mistakes), mistakes, trial.given(upstream))[name]
    except ValueError:  # shapes that do not broadcast
        return np.nan


def _relevant(name: str, trial: Trial, upstream: list[str], form: tuple[Mistake, ...]) -> list[Mistake]:
    """The mistakes that make a difference to this gradient."""
    right = _value(name, trial, upstream, form)
    return [mistake for mistake in MISTAKES if not np.array_equal(_value(name, trial, upstream, (*form, mistake)), right)]


def _comes_close(name: str, trial: Trial, upstream: list[str], mistakes: Sequence[Mistake]) -> bool:
    """Before thousands of pairs are tried on every batch: is it worth while?"""
    got, value = np.squeeze(trial.got[name]), np.squeeze(_value(name, trial, upstream, mistakes))
    return got.shape == value.shape and bool(np.abs(value - got).max() <= 1e-3 * np.abs(got).max())


def _only_far_from_zero(name: str, trials: list[Trial]) -> bool:
    """Is a gradient right in some columns, and wrong only in such whose mean is more than ten times √(σ² + ε)?"""
    near_zero = False
    for trial in trials:
        v = forward(trial.values)
        near = np.abs(v["mu"]) < 10 * v["root"]
        if trial.got[name].shape != trial.truth[name].value.shape or (trial.off(name) & near).any():
            return False
        near_zero |= bool(near.any())
    return near_zero
