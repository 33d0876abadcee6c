"""For whoever writes derivatives by hand: ``check_backward`` says what is wrong and why, ``gradcheck`` says where; and
``first_not_finite`` says where a NaN comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .derivations.batch_norm import batch_norm_backward
from .engine import Tensor, grad
from .faults import NotFinite, first_not_finite
from .kinds import Array, Value, as_data
from .mistakes import NAMES, Trial, explain, predict
from .notebook import as_html
from .verify import as_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Check", "FunctionRaised", "NotFinite", "Row", "check_backward", "first_not_finite", "gradcheck"]

Batch: TypeAlias = tuple[Array, Array, Array, Array, float]  # dy, x, gamma, beta, eps
WHOLE_BATCH = ("x_hat", "x")  # one number for each element of x, not for each column
HEADINGS = ("gradient", "verdict", "error", "why")
ERRORS = (
    "Errors are relative to the terms that are added up: one rounding is 1e-16 in float64, 6e-08 in float32. "
    "A wrong gradient's is the largest that rounding does not explain."
)
SPELLINGS = {spelling: name for name in NAMES for spelling in (name, f"d{name}")}


# ---- The report


class Row(NamedTuple):
    """One of the six gradients, and what became of it.

    >>> Row("x", "dx", "wrong", 0.87, "dx lacks the path through μ, equation (11)").ok
    False
    """

    variable: str  # x_hat, gamma, beta, var, mu or x
    name: str  # as the derivation writes its gradient: dx̂, dγ, dβ, dσ², dμ or dx
    verdict: str  # exact, approximate (within rounding), wrong shape, wrong, not returned
    error: float | None  # the largest, relative to the terms added up; None where there is none, or it is not finite
    why: str  # what explains it if it is wrong, or ""

    @property
    def ok(self) -> bool:
        """Whether it is right, or not returned."""
        return not self.verdict.startswith("wrong")


class Check(NamedTuple):
    """A row for each of the six gradients, and the inputs that f overwrote, which is wrong too. Prints as a table.

    >>> check = check_backward(lambda dy, x, gamma, beta, eps: {"dx_hat": dy * gamma, "dbeta": dy.mean(axis=0)})
    >>> check.ok, [row.name for row in check.rows if not row.ok]
    (False, ['dβ'])
    """

    rows: tuple[Row, ...]  # in the order of ``Gradients``: x_hat, gamma, beta, var, mu, x
    overwritten: tuple[str, ...]  # of dy, x, gamma, beta
    batches: int  # how many f was called with

    @property
    def ok(self) -> bool:
        """Whether all gradients returned are right, and the inputs as they were."""
        return all(row.ok for row in self.rows) and not self.overwritten

    def raise_if_wrong(self) -> None:
        """Raise AssertionError, with the report, unless all is right: for a test."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        return {**self._asdict(), "rows": [row._asdict() for row in self.rows], "ok": self.ok}

    @property
    def summary(self) -> str:
        """How many are wrong, on how many batches, and what the errors are relative to."""
        wrong = sum(not row.ok for row in self.rows)
        returned = sum(row.verdict != "not returned" for row in self.rows)
        text = "All gradients returned are right"
        if wrong:
            text = f"{wrong} of {returned} gradients returned {'is' if wrong == 1 else 'are'} wrong"
        text += f", on {self.batches} {'batch' if self.batches == 1 else 'batches'}."
        if self.overwritten:
            text += f" But the function overwrites its inputs ({', '.join(self.overwritten)}), which are the caller's: use copies."
        return f"{text}\n{ERRORS}"

    def _cells(self) -> Iterator[tuple[str, str, str, str]]:
        for row in self.rows:
            error = "not finite" if row.verdict == "wrong" else ""
            if row.error is not None:
                error = f"{row.error:.1e}" if row.error else "0"
            yield row.name, row.verdict, error, row.why

    def __rich__(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(
            box=box.SIMPLE_HEAD,
            title="A backward pass of batch normalisation, gradient by gradient",
            title_justify="left",
            caption=Text(self.summary),
            caption_justify="left",
            expand=True,
        )
        for heading in HEADINGS[:3]:
            table.add_column(heading, no_wrap=True)
        table.add_column(HEADINGS[3], ratio=1)
        for row, (name, verdict, error, why) in zip(self.rows, self._cells()):
            style = "bold red" if not row.ok else "dim" if row.verdict == "not returned" else "green"
            table.add_row(name, Text(verdict, style), error, Text(why))
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


class FunctionRaised(RuntimeError):
    """What somebody's function raised, its cause, and on which batch."""


def check_backward(f: Callable[..., Any], batches: Iterable[Batch] | None = None) -> Check:
    """Hold somebody's own backward pass of batch normalisation against the derivation, and say why it is wrong where it is.

    f         ``f(dy, x, gamma, beta, eps)`` for x and dy of shape (m, k), gamma and beta of shape (k,), and a number eps > 0.
              Statistics are over the batch, axis 0. It returns any of the six gradients: a dict ({"x": …} or {"dx": …}), a
              NamedTuple with such fields, or a plain tuple: all six in the order of ``Gradients``, or (dx, dgamma, dbeta).
              None stands for a gradient that is not returned. dx and dx_hat are of shape (m, k), the others (k,) or (1, k).
              It works on copies; overwriting them is reported.
    batches   what to call f with: tuples (dy, x, gamma, beta, eps) of float64 or float32, finite, in these shapes. None is a
              set of small batches on which the usual mistakes give different numbers.

    Returns a ``Check``: it prints as a table, and in a test ``check_backward(f).raise_if_wrong()`` is all. A gradient is
    *exact* if it is bit for bit what ``batch_norm_backward`` gives, that is equations (5) to (13) of the derivation in this
    order; *approximate* if it is the same number within rounding (8 times what a running error analysis of the derivation allows,
    for other forms round in other places). A wrong one is explained by the mistake that gives the same numbers on
    every batch, if it is in the table of ``mistakes``.

    Raises TypeError if f returns no gradients, or something else besides; ValueError for a batch of other shapes, dtypes or
    numbers, and for no batch at all; FunctionRaised, a RuntimeError, from whatever f raises, saying on which batch.

    >>> def backward(dy, x, gamma, beta, eps):
    ...     return {"dbeta": dy.mean(axis=0)}
    >>> check_backward(backward).rows[2].why
    'there is a 1/m too many (a mean for the sum over the batch) in ∂y/∂β, equation (6)'
    """
    trials, overwritten = [], []
    with np.errstate(all="ignore"):  # the numbers tell
        for batch in _adversarial() if batches is None else batches:
            arrays, eps = _checked_batch(batch)
            copies = [a.copy() for a in arrays]
            try:
                returned = f(*copies, eps)
            except Exception as error:
                where = f"on a batch x of shape {arrays[1].shape}, {arrays[1].dtype}"
                raise FunctionRaised(f"the function raised {type(error).__name__} {where}: {error}") from error
            overwritten += [name for name, a, b in zip(("dy", "x", "gamma", "beta"), arrays, copies) if not np.array_equal(a, b)]
            trials.append(_trial(arrays, eps, returned))
        if not trials:
            raise ValueError("there are no batches, so nothing would be checked: leave batches out, or pass at least one")
        return Check(_rows(trials), tuple(dict.fromkeys(overwritten)), len(trials))


def _adversarial() -> Iterator[Batch]:
    """Small batches that tell the usual mistakes apart: m ≠ k and m = k, an ε that counts, γ of both signs, unlike columns."""
    random = np.random.default_rng(0)
    for m, k, dtype, eps, scale, offset in (
        (5, 3, "float64", 1e-5, 1, 0),
        (4, 4, "float64", 0.1, 1, 0.5),  # m = k: a sum over the wrong axis has the right shape
        (7, 2, "float64", 1e-3, (1e-3, 1e3), 0),  # columns of very different scale
        (6, 3, "float64", 1e-5, 1, 1e6),  # far from 0
        (3, 5, "float64", 1e-4, (0, 1e-9, 1e-3, 1, 1), 2),  # constant, and nearly
        (8, 4, "float32", 1e-2, 1, 0),
        (2, 3, "float32", 1e-5, (1, 1, 1e-4), 100),
    ):
        gamma = random.uniform(1.25, 2.5, k) * (-1.0) ** np.arange(k)
        arrays = random.normal(size=(m, k)), random.normal(size=(m, k)) * scale + offset, gamma, random.normal(size=k)
        dy, x, gamma, beta = (a.astype(dtype) for a in arrays)
        yield dy, x, gamma, beta, eps


def _checked_batch(batch: Batch) -> tuple[list[Array], float]:
    if len(batch) != 5:
        raise ValueError(f"batches is a list of tuples (dy, x, gamma, beta, eps), and one of them has length {len(batch)}, not 5")
    dy, x, gamma, beta, eps = batch
    x = np.asarray(x)
    if x.ndim != 2 or x.dtype not in (np.float32, np.float64) or not x.size:
        raise ValueError(f"x is a batch of shape (m, k) of float32 or float64, and this is of shape {x.shape}, {x.dtype}")
    arrays = [np.asarray(a, dtype=x.dtype) for a in (dy, x, gamma, beta)]
    for name, a, expected in zip(("dy", "x", "gamma", "beta"), arrays, (x.shape, x.shape, x.shape[1:], x.shape[1:])):
        if a.shape != expected or not np.isfinite(a).all():
            raise ValueError(f"{name} is of shape {expected} and finite, and this is of shape {a.shape}: {a}")
    if not eps > 0:
        raise ValueError(f"eps is greater than 0 here, for constant columns, and this is {eps}")
    return arrays, eps


def _trial(arrays: list[Array], eps: float, returned: Any) -> Trial:
    dy, x, gamma, _ = arrays
    got = {name: _as_array(name, value, x.shape) for name, value in _by_name(returned).items() if value is not None}
    own = batch_norm_backward(dy, x, gamma, eps)._asdict()
    exact = {name for name, value in got.items() if np.array_equal(value, _as_array(name, own[name], x.shape))}
    wide = dict(zip(("dy", "x", "gamma", "beta", "eps"), (a.astype(np.longdouble) for a in (*arrays, np.asarray(eps)))))
    wide |= {"gamma": wide["gamma"][None], "beta": wide["beta"][None]}
    return Trial(wide, x.dtype, got, exact, predict(wide, x.dtype))


def _by_name(returned: Any) -> dict[str, Value]:
    """The gradients by name, whatever f returned them in."""
    if hasattr(returned, "_asdict"):
        returned = returned._asdict()
    if isinstance(returned, tuple) and len(returned) in (3, len(NAMES)):
        returned = dict(zip(NAMES if len(returned) == len(NAMES) else ("x", "gamma", "beta"), returned))
    if not isinstance(returned, Mapping):
        what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
        raise TypeError(
            f"the function returned {what}: return a dict such as {{'dx': …, 'dgamma': …}}, the tuple (dx, dgamma, dbeta), "
            f"or all six gradients ({', '.join(f'd{name}' for name in NAMES)})"
        )
    for name in returned:
        if name not in SPELLINGS:
            raise TypeError(f"the function returned a gradient named {name!r}: the six are {', '.join(f'd{n}' for n in NAMES)}")
    named = {SPELLINGS[name]: value for name, value in returned.items()}
    if len(named) < len(returned):
        twice = next(name for name in named if name in returned and f"d{name}" in returned)
        raise TypeError(f"the function returned both {twice!r} and 'd{twice}', two names of one gradient: return one of them")
    if all(value is None for value in named.values()):
        why = "yet: each is None" if named else f"but {returned!r}: is something missing in what it returns?"
        raise TypeError(f"the function returned none of the six gradients {why}")
    return named


def _as_array(name: str, value: Value, batch_shape: tuple[int, int]) -> Array:
    try:
        numbers = np.asarray(value.data if isinstance(value, Tensor) else value)
        if numbers.dtype.kind not in "fiu":
            raise ValueError(f"its dtype is {numbers.dtype}")
    except ValueError as error:
        raise TypeError(f"d{name} is an array of real numbers, and the function returned {type(value).__name__}: {error}") from None
    numbers = numbers.astype(np.longdouble)  # and a copy, for f may use its buffer again
    return numbers.reshape(1, -1) if name not in WHOLE_BATCH and numbers.shape == batch_shape[1:] else numbers


def _rows(trials: list[Trial]) -> tuple[Row, ...]:
    tried = {name: [trial for trial in trials if name in trial.got] for name in NAMES}
    wrong = [name for name in NAMES if any(trial.off(name).any() for trial in tried[name])]
    return tuple(_row(name, tried[name], wrong) for name in NAMES)


def _row(name: str, trials: list[Trial], wrong: list[str]) -> Row:
    if not trials:
        return Row(name, NAMES[name], "not returned", None, "")
    if name not in wrong:
        verdict = "exact" if all(name in trial.exact for trial in trials) else "approximate"
        return Row(name, NAMES[name], verdict, _error(name, trials), "")
    why = explain(name, trials, wrong)
    for trial in trials:
        got, due = trial.got[name].shape, trial.truth[name].value.shape
        if got != due:
            shapes = f"shape {got} and not {due if name in WHOLE_BATCH else due[1:]} for a batch of shape {trial.values['x'].shape}"
            return Row(name, NAMES[name], "wrong shape", None, f"{shapes}: {why}" if why else shapes)
    why = why or f"none of the known mistakes explains it, alone or in a pair; {_worst_element(name, trials)}"
    return Row(name, NAMES[name], "wrong", _error(name, trials, wrong=True), why)


def _error(name: str, trials: list[Trial], wrong: bool = False) -> float | None:
    largest = np.max([np.max(trial.errors(name), where=trial.off(name) if wrong else True, initial=0) for trial in trials])
    return float(largest) if np.isfinite(largest) else None


def _worst_element(name: str, trials: list[Trial]) -> str:
    """Where to look, on the first batch on which a gradient is wrong."""
    trial = next(trial for trial in trials if trial.off(name).any())
    got, right = trial.got[name], trial.truth[name].value
    index = np.unravel_index(np.where(trial.off(name), trial.errors(name), 0).argmax(), got.shape)
    element = list(map(int, index if name in WHOLE_BATCH else index[1:]))
    batch = f"on a batch of shape {trial.values['x'].shape}, {trial.dtype}"
    return f"{batch}, element {element} is {got[index]:.6g} instead of {right[index]:.6g}"


# ---- Any function of Tensors


def gradcheck(f: Callable[..., Tensor], *inputs: Value) -> bool:
    """Hold the engine's gradients of ``f(*inputs)`` against central differences. Returns True, or raises AssertionError.

    inputs   numbers, arrays or Tensors of any shape; f is called with Tensors of the same values in float64, and returns a
             Tensor. If that is an array, what is differentiated is the sum of its elements times fixed random weights.

    The step is u^(1/3) max(1, |element|), 6e-6 and up, with u = 2.2e-16 for float64: it balances what differences cut off (of
    the order step², 4e-11) against the rounding of f (u |f| / step, 4e-11 |f|); see Press et al., *Numerical Recipes*, section
    5.7. The tolerance, 1e-6 max(1, |gradient|) + 1e-9 |f|, leaves some orders of magnitude for curvature and for the rounding
    inside f; a wrong formula is wrong in its first digits. So let inputs and gradients be of the order of 1, and stay away from
    kinks such as relu's at 0.

    Raises AssertionError for the first element that differs, with its input, its place and both numbers; TypeError if f does
    not return a Tensor.

    >>> gradcheck(lambda a, b: (a * b).sum(), [1.0, 2.0], 3.0)
    True
    >>> gradcheck(lambda a: a * a.detach(), 3.0)
    Traceback (most recent call last):
    AssertionError: input 0, element []: the engine's gradient is 3, and central differences give 6
    """
    data = [np.array(a.data if isinstance(a, Tensor) else as_data(a), dtype=np.float64) for a in inputs]
    tensors = [Tensor(a.copy()) for a in data]
    output = f(*tensors)
    if not isinstance(output, Tensor):
        raise TypeError(f"f returned {type(output).__name__}, without a history: compose it from Tensors, not from their .data")
    single = np.prod(output.shape) == 1
    weights = np.ones(output.shape) if single else np.random.default_rng(0).normal(size=output.shape)
    gradients = grad(output, tensors, weights)

    def value() -> float:
        return float(np.sum(weights * f(*[Tensor(a.copy()) for a in data]).data))

    rounding = 1e-9 * float(np.sum(np.abs(weights * output.data)))
    for i, (a, gradient) in enumerate(zip(data, gradients)):
        for index, element in np.ndenumerate(a):
            step = np.finfo(np.float64).eps ** (1 / 3) * max(1.0, abs(element))
            above, below = element + step, element - step
            a[index] = above
            up = value()
            a[index] = below
            down = value()
            a[index] = element
            difference = (up - down) / (above - below)
            got = float(np.asarray(gradient.data)[index])
            if not abs(got - difference) <= 1e-6 * max(1.0, abs(difference)) + rounding:
                raise AssertionError(
                    f"input {i}, element {list(index)}: the engine's gradient is {got:.10g}, and central differences give "
                    f"{difference:.10g}"
                    + ("" if single else " (of the output's sum with random weights)")
                    + ("" if np.isfinite(difference) else ": f is not defined there")
                )
    return True
