"""For whoever writes derivatives by hand: ``check_backward`` says what is wrong and why, ``gradcheck`` says where; and
``first_not_finite`` says where a NaN comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .batches import Batches
from .computed import Computed, Trial, predict
from .derivation import Derivation, as_derivation
from .derivations.batch_norm import BATCH_NORM
from .draw import Graph, Picture, Wrong
from .engine import Tensor, grad
from .faults import NotFinite, first_not_finite, listed
from .kinds import Array, Value, as_data
from .mistakes import Why, explain
from .notebook import as_html, as_table, as_text
from .recorded import size
from .shapes import Shape

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Check", "CheckRow", "FunctionRaised", "NotFinite", "check_backward", "first_not_finite", "gradcheck"]

VERDICTS = (
    "Exact is bit for bit what the derivation gives in floats; approximate differs from that by rounding alone. An error is "
    "relative to the terms that are added up."
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


# ---- The report


class CheckRow(NamedTuple):
    """One of the gradients, and what became of it.

    >>> CheckRow("x", "dx", "wrong", 0.87, "dx lacks the path through μ, equation (11)", edges=(11,)).ok
    False
    """

    variable: str  # whose gradient it is: "x_hat"
    name: str  # as the derivation writes the gradient: "dx̂"
    verdict: str  # exact, approximate (within rounding), wrong shape, wrong type, wrong, not returned
    error: float | None  # the largest, relative to the terms added up; None where there is none, or it is not finite
    why: str = ""  # what explains it if it is wrong
    edges: tuple[int, ...] = ()  # the numbers of those that are to blame
    given: tuple[str, ...] = ()  # the variables whose wrong gradients it is right given
    zero: bool = False  # whether it is wrong, for it is 0 everywhere

    @property
    def ok(self) -> bool:
        """Whether it is right, or not returned."""
        return not self.verdict.startswith("wrong")


class Check(NamedTuple):
    """A row for each of a derivation's gradients, and the inputs that f overwrote, which is wrong too. Prints as a table.

    >>> check = check_backward(lambda dy, x, gamma, beta, eps: {"dx_hat": dy * gamma, "dbeta": dy.mean(axis=0)})
    >>> check.ok, [row.name for row in check.rows if not row.ok]
    (False, ['dβ'])
    """

    rows: tuple[CheckRow, ...]  # in the order of ``derivation.gradients``
    overwritten: tuple[str, ...]  # of the upstream gradient and the inputs: "dy", "x"
    batches: int  # how many f was called with
    derivation: str = BATCH_NORM.name
    picture: str | Callable[[], str] = ""  # what ``draw`` shows, in DOT, or what makes it

    @property
    def ok(self) -> bool:
        """Whether all gradients returned are right, and the inputs as they were."""
        return all(row.ok for row in self.rows) and not self.overwritten

    def raise_if_wrong(self) -> None:
        """Raise AssertionError, with the report, unless all is right: for a test."""
        if not self.ok:
            raise AssertionError(f"\n{self}")

    def draw(self) -> Graph:
        """The first batch on which a gradient is wrong, as the derivation has it, in equations; the first one if all is right.

        Red is the first gradient on the way back that is wrong, with yours below the right one, and the edges that explain it,
        or the only one that leads to it. What you had on the edges nobody knows: you returned gradients.
        """
        return Graph(self.picture if isinstance(self.picture, str) else self.picture())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, the picture is text: a derivation's functions do not go to another process."""
        return Check, (*self[:-1], self.draw().source)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, ready for JSON."""
        plain = {name: value for name, value in self._asdict().items() if name != "picture"}
        return {**plain, "rows": [row._asdict() for row in self.rows], "ok": self.ok}

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
        return f"{text}\n{VERDICTS}"

    def __rich__(self) -> Table:
        from rich.table import Column
        from rich.text import Text

        table = as_table(
            f"A backward pass of {re.sub(' norm$', ' normalisation', self.derivation)}, gradient by gradient",
            Text(self.summary),
            *[Column(heading, no_wrap=True) for heading in ("gradient", "verdict", "error")],
            Column("why", ratio=1),
            expand=True,
        )
        for row in self.rows:
            error = "not finite" if row.verdict == "wrong" else ""
            if row.error is not None and not row.ok:
                error = f"{row.error:.1e}"
            style = "bold red" if not row.ok else "dim" if row.verdict == "not returned" else "green"
            table.add_row(row.name, Text(row.verdict, style), error, Text(row.why))
        return table

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


class FunctionRaised(RuntimeError):
    """What somebody's function raised, its cause, and on which batch."""


def check_backward(
    f: Callable[..., Any], batches: Iterable[tuple[Any, ...]] | None = None, derivation: Derivation = BATCH_NORM, *, seed: int = 0
) -> Check:
    """Hold somebody's own backward pass against the derivation, batch normalisation's or another, and say why it is wrong.

    f           ``f(dy, x, gamma, beta, eps)`` for x and dy of shape (m, k), gamma and beta of shape (k,), and a number eps > 0.
                Statistics are over the batch, axis 0. It returns any of the six gradients: a dict ({"x": …} or {"dx": …}), a
                NamedTuple with such fields, or a plain tuple: all six in the order of ``Gradients``, or (dx, dgamma, dbeta).
                None or ... stands for a gradient that is not returned. dx and dx_hat are of shape (m, k), the others (k,) or
                (1, k). It works on copies; overwriting them is reported.
    batches     what to call f with: tuples (dy, x, gamma, beta, eps) of float64 or float32, finite, in these shapes. None is a
                set of small batches on which the usual mistakes give different numbers.
    derivation  whose backward pass it is. For another than batch norm, f takes the upstream gradient, the inputs in the order of
                their first use and the constants but axis, and returns any of ``derivation.gradients``, or a tuple of all, or of
                those of the inputs. An input's gradient has its shape, an intermediate variable's may drop axes of size 1 that a
                sum or mean has left. The batches are drawn by the derivation's shapes and domains.
    seed        of the numbers in that set.

    Returns a ``Check``: it prints as a table, and in a test ``check_backward(f).raise_if_wrong()`` is all. A gradient is
    *exact* if it is bit for bit what ``batch_norm_backward`` gives, that is equations (5) to (13) of the derivation in this
    order; *approximate* if it is the same number within rounding (8 times what a running error analysis of the derivation
    allows, for other forms round in other places). A wrong one is explained by the mistake that gives the same numbers on every
    batch, if one of ``mistakes.STRATEGIES`` finds it.

    Raises TypeError if f returns no gradient that is an array of numbers, or something else besides; ValueError for a batch of
    other shapes, dtypes or numbers, for no batch at all, and where none can be drawn; FunctionRaised, a RuntimeError, from whatever
    f raises, saying on which batch.

    >>> def backward(dy, x, gamma, beta, eps):
    ...     return {"dbeta": dy.mean(axis=0)}
    >>> check_backward(backward).rows[2].why
    'there is a 1/m too many (a mean for the sum over the batch) in ∂y/∂β, equation (6)'
    >>> from micrograd_bn import derivations
    >>> check_backward(lambda dy, x, w, b: {"dw": dy.T @ x, "db": dy.sum(axis=0)}, derivation=derivations.LINEAR).ok
    True
    """
    derivation = as_derivation(derivation)
    own = Batches(derivation)
    held, trials, overwritten = _Held(own), [], []
    with np.errstate(all="ignore"):  # the numbers tell
        for batch in own.adversarial(seed) if batches is None else batches:
            arrays, constants = own.checked(batch)
            copies = [a.copy() for a in arrays]
            try:
                returned = f(*copies, *constants)
            except Exception as error:
                shapes = listed(f"{name} of shape {a.shape}" for name, a in zip(own.arguments, arrays))
                where = f"on a batch of {arrays[1].dtype}, {shapes}"
                what = f"the function raised {type(error).__name__} {where}: {error}"
                if isinstance(error, TypeError) and getattr(error.__traceback__, "tb_next", None) is None:  # before its first line
                    what = f"the function is called as f({', '.join([*own.arguments, *own.constants])}): {error}"
                raise FunctionRaised(what) from error
            overwritten += [name for name, a, b in zip(own.arguments, arrays, copies) if not np.array_equal(a, b)]
            trials.append(held.trial(arrays, constants, returned))
        if not trials:
            raise ValueError("there are no batches, so nothing would be checked: leave batches out, or pass at least one")
        rows = held.rows(trials)
        return Check(rows, tuple(dict.fromkeys(overwritten)), len(trials), derivation.name, partial(held.picture, trials, rows))


class _Held:
    """A backward pass that is held against its derivation: what it returned, and what became of that."""

    def __init__(self, batches: Batches):
        self.batches, self.d = batches, batches.derivation
        self.names = {g.variable: g.name for g in self.d.gradients}
        self.no_arrays: dict[str, TypeError] = {}  # what was returned for a gradient and is none

    def trial(self, arrays: list[Array], constants: list[Any], returned: Any) -> Trial:
        """What f returned on a batch, and what is true."""
        d, named = self.d, dict(zip(self.batches.arguments, arrays))
        x = arrays[1]
        values = self.batches.values(named, constants, x.dtype)
        got: dict[str, Array] = {}
        for name, value in self.by_name(returned).items():
            if value is not None:
                try:
                    got[name] = self.as_array(name, value, np.shape(values[name]))
                except TypeError as error:
                    self.no_arrays[name] = error
        if not got:
            raise next(iter(self.no_arrays.values()))
        own = d.backward(named[d.upstream], **values)
        exact = {name for name, value in got.items() if np.array_equal(value, np.asarray(own[name], np.longdouble))}
        wide = self.batches.values(named, constants, np.longdouble)
        given = {a: wide[a] for a in (*d.inputs, *d.constants)}
        given |= {d.upstream: named[d.upstream].astype(np.longdouble), "sizes": self.batches.sizes(named)}
        terms = Computed(d, {**wide, **given}, evaluate=size)
        magnitudes = {name: np.asarray(terms[f"d{name}"]) for name in self.names}
        return Trial(given, x.dtype, got, exact, predict(d, given, x.dtype, self.names), magnitudes)

    @property
    def all(self) -> str:
        """The number of gradients, in words."""
        return NUMBERS[len(self.names)] if len(self.names) < len(NUMBERS) else str(len(self.names))

    def by_name(self, returned: Any) -> dict[str, Value]:
        """The gradients by name, whatever f returned them in."""
        names, inputs = self.names, [a for a in self.d.inputs if a in self.names]
        if hasattr(returned, "_asdict"):
            returned = returned._asdict()
        if isinstance(returned, tuple) and len(returned) in (len(inputs), len(names)):
            returned = dict(zip(inputs if len(returned) == len(inputs) else names, returned))
        if not isinstance(returned, Mapping):
            what = f"a tuple of {len(returned)}" if isinstance(returned, tuple) else type(returned).__name__
            some = ", ".join(f"'d{a}': …" for a in inputs[:2])
            short, long = [", ".join(f"d{a}" for a in some) for some in (inputs, names)]
            raise TypeError(
                f"the function returned {what}: return a dict such as {{{some}}}, the tuple ({short}), or all {self.all} gradients "
                f"({long})"
            )
        spellings = {spelling: name for name in names for spelling in (name, f"d{name}")}
        for name in returned:
            if name not in spellings:
                known = f"the {self.all} {'is' if len(names) == 1 else 'are'} {', '.join(f'd{n}' for n in names)}"
                raise TypeError(f"the function returned a gradient named {name!r}: {known}")
        named = {spellings[name]: None if value is ... else value for name, value in returned.items()}
        if len(named) < len(returned):
            twice = next(name for name in named if name in returned and f"d{name}" in returned)
            raise TypeError(f"the function returned both {twice!r} and 'd{twice}', two names of one gradient: return one of them")
        if all(value is None for value in named.values()):
            why = (
                "yet: each is None. Replace one, and ask again"
                if named
                else f"but {returned!r}: is something missing in what it returns?"
            )
            raise TypeError(f"the function returned none of the {self.all} gradients {why}")
        return named

    def as_array(self, name: str, value: Value, due: Shape) -> Array:
        """What f returned for a gradient, in extended precision, and in the shape that is due where it dropped what it may."""
        try:
            numbers = np.asarray(value.data if isinstance(value, Tensor) else value)
            if numbers.dtype.kind not in "fiu":
                raise ValueError(f"its dtype is {numbers.dtype}")
        except (ValueError, TypeError) as error:
            raise TypeError(
                f"d{name} is an array of real numbers, and the function returned {type(value).__name__}: {error}"
            ) from None
        numbers = numbers.astype(np.longdouble)  # and a copy, for f may use its buffer again
        return numbers.reshape(due) if numbers.shape == self.batches.dropped(name, due) else numbers

    # ---- the report

    def rows(self, trials: list[Trial]) -> tuple[CheckRow, ...]:
        """A row for each gradient."""
        tried = {name: [trial for trial in trials if name in trial.got] for name in self.names}
        wrong = [name for name in self.names if any(trial.off(name).any() for trial in tried[name])]
        return tuple(self._row(name, tried[name], wrong) for name in self.names)

    def _row(self, name: str, trials: list[Trial], wrong: list[str]) -> CheckRow:
        title = self.names[name]
        if name in self.no_arrays:
            return CheckRow(name, title, "wrong type", None, str(self.no_arrays[name]))
        if not trials:
            return CheckRow(name, title, "not returned", None)
        if name not in wrong:
            verdict = "exact" if all(name in trial.exact for trial in trials) else "approximate"
            return CheckRow(name, title, verdict, _error(name, trials))
        found = explain(self.d, name, trials, wrong) or Why("")
        why, reasons = found.text, found[1:]
        first = self.d.inputs[0]
        for trial in trials:
            got, due = trial.got[name].shape, trial.truth[name].value.shape
            if got != due:
                batch = f"a batch of shape {np.shape(trial.values[first])}"
                shapes = f"shape {got} and not {self.batches.dropped(name, due)} for {batch}"
                return CheckRow(name, title, "wrong shape", None, f"{shapes}: {why}" if why else shapes, *reasons)
        if not why:
            first_wrong = next(trial for trial in trials if trial.off(name).any())
            why = f"none of the known mistakes explains it, alone or in a pair; {self._worst_element(name, first_wrong)}"
        return CheckRow(name, title, "wrong", _error(name, trials, wrong=True), why, *reasons)

    @np.errstate(all="ignore")
    def picture(self, trials: list[Trial], rows: Iterable[CheckRow]) -> str:
        """What ``Check.draw`` shows, in extended precision."""
        d = self.d
        off = ((trial, row) for trial in trials for row in rows if row.variable in trial.got and trial.off(row.variable).any())
        trial, row = next(off, (trials[0], None))
        values = {a: trial.values[a] for a in (*d.inputs, *d.constants)}
        nodes = d.forward(**{a: Tensor(v) if a in self.names else v for a, v in values.items()})
        nodes[d.result].backward(trial.values[d.upstream])
        wrong = self._wrong(trial, row, nodes[row.variable]) if row else None
        return Picture([nodes[d.result]], "equations", "TB", 4, "both", 2000, wrong).source()

    def _wrong(self, trial: Trial, row: CheckRow, node: Tensor) -> Wrong:
        """What is marked: the edges are those that are to blame, or the only one that there is."""
        leaving = {edge.number for edge in self.d.leaving(row.variable)}
        why = f"{row.name} is the first gradient on the way back that is wrong: {row.why}"
        if row.verdict == "wrong" and (worst := self._worst_element(row.variable, trial)) not in why:
            why += f"; {worst}"
        return Wrong(node, trial.got[row.variable], {*row.edges} or (leaving if len(leaving) == 1 else set()), why)

    def _worst_element(self, name: str, trial: Trial) -> str:
        """Where to look, on a batch on which a gradient is wrong."""
        got, right = trial.got[name], trial.truth[name].value
        index = np.unravel_index(np.where(trial.off(name), trial.errors(name), 0).argmax(), got.shape)
        element = [int(n) for i, n in enumerate(index) if i not in self.batches.ones[name]]
        batch = f"on a batch of shape {np.shape(trial.values[self.d.inputs[0]])}, {trial.dtype}"
        written = [(f"{got[index]:.{digits}g}", f"{right[index]:.{digits}g}") for digits in range(6, 18)]
        yours, due = next((pair for pair in written if pair[0] != pair[1]), written[0])
        return f"{batch}, element {element} is {yours} instead of {due}"


def _error(name: str, trials: list[Trial], wrong: bool = False) -> float | None:
    largest = np.max([np.max(trial.errors(name), where=trial.off(name) if wrong else True, initial=0) for trial in trials])
    return float(largest) if np.isfinite(largest) else None


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
    not return a Tensor; ValueError without inputs.

    >>> gradcheck(lambda a, b: (a * b).sum(), [1.0, 2.0], 3.0)
    True
    >>> gradcheck(lambda a: a * a.detach(), 3.0)
    Traceback (most recent call last):
    AssertionError: input 0, element []: the engine's gradient is 3, and central differences give 6
    """
    if not inputs:
        raise ValueError(
            "there are no inputs, so nothing would be checked: pass what f is to be differentiated by, gradcheck(f, x)"
        )
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

    def why(up: float, down: float, step: float) -> str:
        """What else may be the reason for a difference."""
        if not np.isfinite(up - down):
            return ": f is not defined there"
        left, right = (value() - down) / step, (up - value()) / step
        kink = abs(right - left) > 1e-2 * max(1.0, abs(left), abs(right))  # a curve's differ by a step's worth
        return f": there is a kink, with slope {left:.4g} before it and {right:.4g} behind" if kink else ""

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
                    f"{difference:.10g}" + ("" if single else " (of the output's sum with random weights)") + why(up, down, step)
                )
    return True
