"""A batch of any size as a kind of number: an expression of a generic element, and means as symbols of their own. Needs SymPy.

An axis is as long as a symbol, m. x is its generic element x_i, and what holds for that holds for each. A sum is m means, a mean
is linear, and what is the same for all elements comes out of it: so the mean of x − mean(x) is 0 by itself. What is left is the
mean of a product, as of x² or x dy: a symbol, an ``Element`` that knows what it is the mean of. A root is a symbol, too: r with
r² = σ² + ε; and whether a number is above another: c, which is 1 or 0, with c² = c. On single numbers, of shape (), and arrays of
them, the same are SymPy's expressions with such symbols.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import partial, reduce
from typing import Any
from zlib import crc32

import numpy as np
import sympy as sp

from ..kinds import Value
from . import written as W
from .generic import Generic

Algebraic = Any  # SymPy's expression


class Element(sp.Symbol):  # type: ignore[misc]
    """A symbol that is a number for each place along ``axes``; along the axis ``adds_up``, they add up to 1.

    Two are the same if their names, their axes and what they are means or roots ``of`` are. A kind that is of something has its
    ``slope``, the derivative by that, and ``again``, the same of something else.
    """

    of: Algebraic = None
    over: Any = None  # what is reduced is no longer there
    adds_up: Any = None
    at: Any = None  # its value where numbers are compared

    def __new__(cls, name: str, axes: Iterable[Any] = (), **more: Any) -> Element:
        """A new symbol, real if nothing else is said."""
        own = {key: more.pop(key) for key in ("of", "over", "adds_up", "at") if key in more}
        self: Element = sp.Symbol.__xnew__(cls, name, **{k: v for k, v in ({"real": True} | more).items() if v is not None})
        self.axes = frozenset(axes)
        for key, value in own.items():
            setattr(self, key, value)
        return self

    def _hashable_content(self) -> tuple[Any, ...]:
        own = [sp.S.Zero if e is None else e for e in (self.of, self.over, self.adds_up, self.at)]
        return (*super()._hashable_content(), self.axes, *own)


class Mean(Element):
    """The mean of a product, over an axis."""

    @property
    def slope(self) -> Algebraic:
        """Each of m has a share of 1/m."""
        return 1 / self.over

    def again(self, e: Algebraic) -> Algebraic:
        """The mean of something else."""
        return mean(e, self.over)


class Root(Element):
    """The square root of a sum, and positive; of a sum that is a denominator, the root may be no real number."""

    @property
    def slope(self) -> Algebraic:
        """The derivative of a root."""
        return 1 / (2 * self)

    def again(self, e: Algebraic) -> Algebraic:
        """The root of something else."""
        return power(e, sp.Rational(1, 2))


class Case(Element):
    """1 where an expression is above 0, else 0: so its square is itself, and its derivative 0 wherever it has one."""

    def again(self, e: Algebraic) -> Algebraic:
        """The case of something else."""
        return case(e)


class Largest(Element):
    """The largest along an axis, of which no more is known."""


def expand(e: Algebraic) -> Algebraic:
    """Products of sums as sums of products; an exponential of a sum stays, for that it were a product is seldom of use."""
    return _squared(sp.expand(e, power_exp=False))


def _squared(e: Algebraic) -> Algebraic:
    """The expression with cases for their powers."""
    powers = {p: p.base for p in e.atoms(sp.Pow) if isinstance(p.base, Case)}
    return e.xreplace(powers) if powers else e


def elements(e: Algebraic) -> list[Element]:
    """The Elements in an expression, by name."""
    return sorted((s for s in e.free_symbols if isinstance(s, Element)), key=lambda s: (s.name, str(s.axes)))


def axes_of(e: Algebraic) -> frozenset[Any]:
    """The axes along which an expression is not the same everywhere."""
    return frozenset().union(*[s.axes for s in elements(e)])


# ---- Means and roots


def mean(e: Algebraic, axis: Any) -> Algebraic:
    """The mean along an axis, term by term; what does not depend on the axis stands before it."""
    total = []
    for term in sp.Add.make_args(_squared(sp.expand(e))):
        factors = sp.Mul.make_args(term)
        inside = [f for f in factors if axis in axes_of(f)]
        total.append(sp.Mul(*[f for f in factors if f not in inside], _mean(inside, axis) if inside else 1))
    return expand(sp.Add(*total))


def _mean(factors: list[Algebraic], axis: Any) -> Algebraic:
    """The mean of a product. A mean of means is written one way: along the axis whose name comes first, of the other mean."""
    if len(factors) == 1 and getattr(factors[0], "adds_up", None) == axis:
        return 1 / axis
    for f in factors:
        over = f.over if isinstance(f, Mean) else None
        others = [g for g in factors if g is not f]
        if over is not None and str(over) < str(axis) and not any(over in axes_of(g) for g in others):
            return mean(mean(sp.Mul(f.of, *others), axis), over)
    product = sp.Mul(*factors)
    sign = {"positive": True} if product.is_positive else {}
    name = f"mean_{axis}({product})"
    return Mean(name, axes_of(product) - {axis}, of=product, over=axis, **sign)


def power(e: Algebraic, exponent: Any) -> Algebraic:
    """A power; of a sum, if it is negative or a fraction, as a power of its root, a symbol."""
    if exponent.is_Integer and exponent >= 0:
        return e**exponent
    if cases(e):
        return by_cases(lambda e: power(e, exponent), e)
    base, sign = expand(e), {"real": None} if exponent.is_Integer else {"positive": True}
    unsigned = [s for s in base.free_symbols if isinstance(s, Root) and not s.is_positive]
    if base.is_Add or (unsigned and not exponent.is_Integer):  # with a root of its own, the normal form is enough
        return Root(f"sqrt({base})", axes_of(base), of=base, **sign) ** (2 * exponent)
    return base**exponent


def logarithm(e: Algebraic) -> Algebraic:
    """A logarithm: of a product, the sum of its factors'; of a sum, twice that of its root."""
    if cases(e):
        return by_cases(logarithm, e)
    return sp.expand_log(2 * sp.log(power(e, sp.Rational(1, 2))))


# ---- Cases: where numbers are compared


def case(e: Algebraic) -> Algebraic:
    """1 where an expression is above 0, else 0. Of a polynomial it is 1 − the case of −e, for where that is 0 is left out."""
    if cases(e):
        return by_cases(case, e)
    _, e = expand(e).as_content_primitive()
    if e.is_number or e.is_positive or e.is_negative:
        return sp.Integer(bool(e > 0))
    polynomial = not e.atoms(sp.Function) and not any(isinstance(s, (Case, Root, Largest)) for s in within(e))
    if polynomial and e.could_extract_minus_sign():
        return 1 - case(-e)
    return Case(f"[{e} > 0]", axes_of(e), of=e)


def cases(e: Algebraic) -> list[Case]:
    """The cases that an expression depends on, by itself."""
    return [s for s in elements(e) if isinstance(s, Case)]


def by_cases(function: Callable[[Algebraic], Algebraic], e: Algebraic) -> Algebraic:
    """A function of an expression, in each case by itself: of c a + (1 − c) b, c f(a) + (1 − c) f(b)."""
    if not (found := cases(e)):
        return function(e)
    if len(found) > 1:
        raise TypeError(f"{e} has several cases, which would be more and more")
    (c,) = found
    above, below = [function(expand(e.xreplace({c: sp.Integer(n)}))) for n in (1, 0)]
    if (above + below).has(sp.zoo, sp.nan):
        raise TypeError(f"in one of two cases, {e} has no value")
    return expand(c * above + (1 - c) * below)


# ---- What an identity needs: a normal form, and the derivative by definition


def normal_form(e: Algebraic, how: Callable[[Algebraic], Algebraic] = expand) -> Algebraic:
    """0 only if e is: a multiple of it, in which no root stands in a denominator or at a power above 1."""
    done: set[Element] = set()
    e = how(_signed(e))
    while roots := [s for s in elements(e) if isinstance(s, Root) and s not in done]:
        root = next(r for r in roots if not any(r in _within(other) for other in roots))
        done.add(root)
        parts = [_split(term, root) for term in sp.Add.make_args(e)]
        if _cleared([part for part in parts if part[1] != 0], root, how) == 0:
            e = sp.Add(*[rest for rest, n in parts if n == 0])  # the terms without the root stay as short as they are
        else:
            e = _cleared(parts, root, how)
    return e


def _signed(e: Algebraic) -> Algebraic:
    """The expression with positive roots of the denominators of which a root has been taken, too."""
    positive = {(s.of, s.axes): s for s in within(e) if isinstance(s, Root) and s.is_positive}
    twins = {
        s: positive[s.of, s.axes] for s in within(e) if isinstance(s, Root) and not s.is_positive and (s.of, s.axes) in positive
    }
    return _signed(substitute(e, twins)) if twins else e


def _cleared(parts: list[Any], root: Root, how: Callable[[Algebraic], Algebraic]) -> Algebraic:
    least = min([0, *[n for _, n in parts]])
    return how(sp.Add(*[rest * root.of ** ((n - least) // 2) * root ** ((n - least) % 2) for rest, n in parts]))


def _split(term: Algebraic, root: Root) -> tuple[Algebraic, Any]:
    """A term without the powers of a root that are numbers, and their sum."""
    pairs = [f.as_base_exp() for f in sp.Mul.make_args(term)]
    numbers = [n.as_coeff_Add()[0] if b == root else sp.S.Zero for b, n in pairs]
    return sp.Mul(*[b ** (n - number) for (b, n), number in zip(pairs, numbers)]), sum(numbers)


def _within(e: Element) -> set[Any]:
    """What a mean or a root depends on, at any depth."""
    return within(e.of) if e.of is not None else set()


def within(e: Algebraic) -> set[Any]:
    """The Elements in an expression, at any depth."""
    return set(elements(e)).union(*map(_within, elements(e)))


def derivative(e: Algebraic, along: frozenset[Any], upstream: Algebraic, x: Element) -> Algebraic:
    """The derivative of Σ upstream · e, over the axes ``along``, by the element x_j of x: by definition, without the engine.

    ∂x_i/∂x_j is 1 where i = j, and the mean of f depends on x_j by ∂f/∂x_j / m, a root of f by that over twice the root.
    """
    total: Algebraic = sp.Integer(0)
    for s in elements(e):
        if isinstance(s, Largest):
            raise TypeError(f"{s.name} is no polynomial of a generic element, and does not cancel")
        if s != x and (s.of is None or isinstance(s, Case)):
            continue
        term = expand(upstream * sp.diff(e, s).replace(sp.sign, lambda number: number / abs(number)))
        for axis in sorted(along - s.axes, key=str, reverse=True):
            term = axis * mean(term, axis)
        total += term if s == x else derivative(s.of, s.axes | ({s.over} - {None}), term * s.slope, x)
    return expand(total)


def substitute(e: Algebraic, values: Mapping[Any, Algebraic]) -> Algebraic:
    """The expression with other values for some of its symbols, also in what its means and roots are of."""
    new = {s: values[s] if s in values else s.again(of) for s in elements(e) if (of := _inner(s, values)) is not None}
    if not new:
        return e
    e = e.xreplace(new).replace(lambda p: p.is_Pow, lambda p: power(p.base, p.exp))  # of what has become a sum
    for function in (sp.exp, sp.tanh, sp.sin, sp.cos):
        e = e.replace(function, partial(by_cases, function))
    return expand(e.replace(sp.log, logarithm))


def _inner(s: Element, values: Mapping[Any, Algebraic]) -> Algebraic:
    if s in values or s.of is None:
        return values.get(s)
    inner = substitute(s.of, values)
    return None if inner == s.of else inner


def by_numbers(e: Algebraic) -> Algebraic:
    """The expression with what SymPy computes for the symbols of roots and cases."""
    own = {s: by_numbers(s.of) for s in elements(e) if isinstance(s, (Root, Case))}
    return e.xreplace({s: sp.sqrt(of) if isinstance(s, Root) else sp.Piecewise((1, of > 0), (0, True)) for s, of in own.items()})


def written(e: Algebraic) -> W.Expression:
    """An expression as a formula that can be printed. TypeError for a function that has no print."""
    if e.is_Rational:
        return W.expression(Fraction(int(e.p), int(e.q)))
    if isinstance(e, Mean):
        n = W.Symbol(str(e.over), is_size=True)
        return W.reduced(written(e.of), n) * W.power(W.expression(n), W.expression(-1))
    if isinstance(e, Root):
        return W.power(written(e.of), W.expression(Fraction(1, 2)))
    if e.is_Symbol:
        own = tuple(sorted(map(str, e.axes))) if isinstance(e, Element) else ()
        return W.expression(W.Symbol(e.name, own, is_size=not isinstance(e, Element)))
    if not e.args:  # π, or no number
        return W.expression(W.Symbol(str(e)))
    parts = [written(part) for part in e.args]
    if e.is_Add:
        return W.added(*parts)
    if e.is_Mul:
        return reduce(operator.mul, parts)
    if e.is_Pow:
        return W.power(*parts)
    name = type(e).__name__
    return W.FUNCTIONS[name](parts[0]) if name in W.FUNCTIONS else W.expression(W.Function(name, parts[0]))


POINTS = 4


def value_at(point: int, name: str, positive: bool = False) -> Algebraic:
    """The value of a symbol at a point: near 0, or not; each odd point mirrors the one before, with the other sign or order."""
    number, far = crc32(name.encode()) / 2**31 - (not positive), point // 2
    number = number + far * (2 if positive else math.copysign(2, number))
    return sp.Float((1 / number if positive else -number) if point % 2 else number)


def sample(e: Algebraic) -> Algebraic:
    """The value at a point: where two single numbers are compared, a proof goes on with the case that is true near it."""

    return sp.N(e.subs({s: sp.sqrt(sample(s.of)) if isinstance(s, Root) else s.at for s in elements(e)}))


# ---- The kind of number


class Batch(Generic):
    """An array of numbers whose axes are as long as symbols: an expression of the generic element.

    >>> m, x = sp.Symbol("m", integer=True, positive=True), sp.Symbol("x")
    >>> x = Batch(Element("x", [m]), (m,))
    >>> x - x.mean(keepdims=True), (x - x.mean(keepdims=True)).sum()
    (Batch(x - mean_m(x)), Batch(0))
    """

    @staticmethod
    def expression(value: Any) -> Algebraic:
        """A number, a float as it is written, 0 or 1 for what is false or true, or an expression as it is."""
        value = int(value) if isinstance(value, (bool, np.bool_)) else value
        return sp.Rational(str(value)) if isinstance(value, (float, Fraction)) else sp.sympify(value)

    power = staticmethod(power)

    @staticmethod
    def total(e: Algebraic, n: Any) -> Algebraic:
        """A sum is so many means as there are numbers."""
        return n * mean(e, n)

    @staticmethod
    def largest(e: Algebraic, n: Any) -> Algebraic:
        """A symbol of which no more is known: a proof in which it does not cancel fails."""
        return Largest(f"max_{n}({e})", axes_of(e) - {n})

    # ---- comparisons: of single numbers near a point true or false, else 1 or 0

    @staticmethod
    def _comparison(
        compare: Callable[[Algebraic, Algebraic], Any], by_case: Callable[[Algebraic], Algebraic]
    ) -> Callable[[Batch, Value], Any]:
        def method(self: Batch, other: Value) -> Any:
            if isinstance(other, np.ndarray):
                return NotImplemented
            other = other if isinstance(other, Batch) else Batch(other)
            if (found := compare(self.e, other.e)) in (True, False):  # whatever the numbers are
                return bool(found)
            if all(s.at is not None or isinstance(s, Root) for s in within(self.e) | within(other.e)):
                return bool(compare(sample(self.e), sample(other.e)))
            return (self - other)._condition(by_case)

        return method

    __lt__, __le__ = _comparison(operator.lt, lambda e: case(-e)), _comparison(operator.le, lambda e: 1 - case(e))
    __gt__, __ge__ = _comparison(operator.gt, case), _comparison(operator.ge, lambda e: 1 - case(-e))

    def _condition(self, by_case: Callable[[Algebraic], Algebraic]) -> Batch:
        found = Batch(by_case(self.e), self.shape)
        found.dtype = np.dtype(bool)
        return found

    def __bool__(self) -> bool:
        raise TypeError("which number is larger depends on the numbers, and these are any")

    def __invert__(self) -> Batch:
        return self._condition(lambda e: 1 - e)

    def __and__(self, other: Batch) -> Batch:
        return Batch._condition(self * other, expand)

    def __or__(self, other: Batch) -> Batch:
        return Batch._condition(self + other - self * other, expand)

    @staticmethod
    def _where(condition: Value, a: Value, b: Value) -> Batch:
        one = condition if isinstance(condition, Batch) else Batch(condition)
        found: Batch = one * a + (1 - one) * b
        return Batch(expand(found.e), found.shape)

    def __abs__(self) -> Batch:
        return self._where(self >= 0, self, -self)

    # ---- functions of the generic element: SymPy's own, which SymPy differentiates

    def exp(self) -> Batch:
        """e to the power of each."""
        return Batch(by_cases(lambda e: sp.exp(expand(e)), self.e), self.shape)

    def log(self) -> Batch:
        """The natural logarithm."""
        return Batch(logarithm(self.e), self.shape)

    @staticmethod
    def _function(function: Callable[[Algebraic], Algebraic]) -> Callable[[Batch], Batch]:
        return lambda self: Batch(by_cases(function, self.e), self.shape)

    tanh, sin, cos = _function(sp.tanh), _function(sp.sin), _function(sp.cos)
