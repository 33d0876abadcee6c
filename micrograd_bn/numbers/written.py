"""Formulas as a person writes them: an expression of a generic element that keeps its form (``printed`` writes it down).

Nothing is multiplied out. A product collects the powers of its factors, and a sum over an axis stands last, behind what does not
depend on its index. ``Written`` is the kind of number: run an equation, a local derivative or the engine on it, and what comes
out is the formula.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias, Union

import numpy as np

from ..kinds import Value
from ..shapes import broadcast_shape
from .generic import Generic

# ---- Expressions: a sum of terms, each a number times powers of factors


@dataclass(frozen=True)
class Symbol:
    """A variable, one for each place along its axes; or a size."""

    name: str
    axes: tuple[str, ...] = ()
    is_size: bool = False


@dataclass(frozen=True)
class Reduction:
    """A sum over an axis, or what is the "max" along it."""

    of: Expression
    axis: str
    name: str = "sum"


@dataclass(frozen=True)
class Function:
    """A function of a number, by its name in NumPy; of the name of a comparison, with 0: 1 where it is true, else 0."""

    name: str
    of: Expression


Base: TypeAlias = Union[Symbol, Reduction, Function, "Expression"]
Factor: TypeAlias = tuple[Base, Fraction]  # a power of a base


@dataclass(frozen=True)
class Term:
    """A number times powers of factors, in the order in which they were multiplied."""

    number: Fraction
    factors: tuple[Factor, ...] = ()


@dataclass(frozen=True, repr=False)
class Expression:
    """A sum of terms, in the order in which they were added."""

    terms: tuple[Term, ...]

    def __add__(self, other: Any) -> Expression:
        return added(self, expression(other))

    def __neg__(self) -> Expression:
        return expression(-1) * self

    def __sub__(self, other: Any) -> Expression:
        return self + -expression(other)

    def __mul__(self, other: Any) -> Expression:
        if isinstance(other, Generic):
            return NotImplemented
        parts = [e.as_term() for e in (self, expression(other))]
        powers: dict[Base, Fraction] = {}
        exponent: Expression = ZERO
        for base, n in (factor for part in parts for factor in part.factors):
            if isinstance(base, Function) and base.name == "exp":
                exponent = exponent + base.of * n
            else:
                powers[base] = powers.get(base, Fraction(0)) + n
        if exponent.terms:
            powers[Function("exp", exponent)] = Fraction(1)
        number = math.prod([part.number for part in parts], start=Fraction(1))
        return product(number, [(base, n) for base, n in powers.items() if n])

    def __rmul__(self, other: Any) -> Expression:
        return expression(other) * self

    def __repr__(self) -> str:
        from .printed import Plain

        return Plain().sum(self)

    def as_term(self) -> Term:
        """The same as one term: a sum of several is its only factor."""
        if len(self.terms) == 1:
            return self.terms[0]
        return Term(Fraction(1), ((self, Fraction(1)),)) if self.terms else Term(Fraction(0))


def product(number: Fraction, factors: list[Factor]) -> Expression:
    """A number times powers of factors; a sum alone is that sum."""
    if not number:
        return ZERO
    if number == 1 and len(factors) == 1 and isinstance(factors[0][0], Expression) and factors[0][1] == 1:
        return factors[0][0]
    return Expression((Term(number, tuple(factors)),))


def added(*parts: Expression) -> Expression:
    """A sum, without what cancels; a sum in parentheses, and its sign, are its terms."""
    found: dict[frozenset[Any], Term] = {}
    for term in (term for part in parts for term in _flat(part)):
        key = frozenset(term.factors)
        found[key] = replace(found[key], number=found[key].number + term.number) if key in found else term
    terms = [term for term in found.values() if term.number]
    return product(terms[0].number, list(terms[0].factors)) if len(terms) == 1 else Expression(tuple(terms))


def _flat(e: Expression) -> Iterator[Term]:
    for term in e.terms:
        base = term.factors[0][0] if len(term.factors) == 1 and term.factors[0][1] == 1 else None
        if isinstance(base, Expression) and abs(term.number) == 1:
            yield from [replace(inner, number=inner.number * term.number) for inner in _flat(base)]
        else:
            yield term


def expression(value: Any) -> Expression:
    """A number, or an expression as it is."""
    if isinstance(value, Expression):
        return value
    if isinstance(value, (Symbol, Reduction, Function)):
        return Expression((Term(Fraction(1), ((value, Fraction(1)),)),))
    if not isinstance(value, (int, float, Fraction)):
        raise TypeError(f"{value!r} is no number that is written as a fraction")
    number = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    return Expression((Term(number),)) if number else ZERO


ZERO = Expression(())


def power(e: Expression, exponent: Expression) -> Expression:
    """A power whose exponent is a number; of a product, the product of powers where the exponent is whole."""
    if exponent != ZERO and (len(exponent.terms) != 1 or exponent.terms[0].factors):
        raise TypeError("a power whose exponent is a variable has no rule")
    p = exponent.terms[0].number if exponent.terms else Fraction(0)
    term = e.as_term()
    if p.denominator == 1:
        return product(term.number**p.numerator, [(base, n * p) for base, n in term.factors if p])
    if term.number == 1 and len(term.factors) == 1 and term.factors[0][1] % 2:  # the root of a square is no power
        return product(term.number, [(base, n * p) for base, n in term.factors])
    return product(Fraction(1), [(e, p)])


def axes_of(e: Base | Expression) -> frozenset[str]:
    """The axes along which an expression is not the same everywhere."""
    if isinstance(e, Symbol):
        return frozenset(e.axes)
    if isinstance(e, Expression):
        return frozenset().union(*[axes_of(base) for term in e.terms for base, _ in term.factors])
    return axes_of(e.of) - ({e.axis} if isinstance(e, Reduction) else set())


def reduced(e: Expression, size: Any, name: str = "sum") -> Expression:
    """A sum over an axis, by its size: what does not depend on the axis stands before it."""
    ((base, _),) = expression(size).as_term().factors
    assert isinstance(base, Symbol)
    axis = base.name
    term = collected(e).as_term() if name == "sum" else e.as_term()
    outside: list[Factor] = []
    inside: list[Factor] = []
    for factor, n in term.factors:
        if isinstance(factor, Function) and factor.name == "exp" and axis in axes_of(factor):
            parts = [Expression((t,)) for t in factor.of.terms]
            before = added(*[part for part in parts if axis not in axes_of(part)])
            outside += [(Function("exp", before), n)] if before.terms else []
            factor = Function("exp", added(*[part for part in parts if axis in axes_of(part)]))
        (inside if axis in axes_of(factor) else outside).append((factor, n))
    if not inside:
        return e * expression(size) if name == "sum" else e
    if name == "sum":
        body = expression(Reduction(product(Fraction(1), inside), axis))
        return math.prod([product(Fraction(1), [factor]) for factor in outside], start=expression(term.number) * body)
    return expression(Reduction(e, axis, name))


def logarithm(e: Expression) -> Expression:
    """log e, in which an exponential that is a factor stands as its exponent."""
    term = e.as_term()
    exponents = [base.of * n for base, n in term.factors if isinstance(base, Function) and base.name == "exp"]
    rest = product(term.number, [(b, n) for b, n in term.factors if not (isinstance(b, Function) and b.name == "exp")])
    return added(*([] if rest == expression(1) else [expression(Function("log", rest))]), *exponents)


def collected(e: Expression) -> Expression:
    """A sum with what all of its terms have in common, numbers and denominators too, as factors of one product."""
    if len(e.terms) < 2:
        return e
    powers = [dict(term.factors) for term in e.terms]
    common: list[Factor] = []
    for base in dict.fromkeys(base for each in powers for base in each):
        least = min([each.get(base, Fraction(0)) for each in powers])
        if least:
            common.append((base, least))
    numbers = [term.number for term in e.terms]
    number = Fraction(math.gcd(*[n.numerator for n in numbers]), math.lcm(*[n.denominator for n in numbers]))
    number = Fraction(1) if any(not term.factors for term in e.terms) else number  # x + 1/2 stays
    number = -number if all(n < 0 for n in numbers) else number
    if number == 1 and not common:
        return e
    outside = product(number, common)
    inverse = power(outside, expression(-1))
    terms = [Expression((term,)) * inverse for term in e.terms]
    return outside * added(*sorted(terms, key=lambda part: (part.terms[0].number < 0, len(part.terms[0].factors))))


def gathered(e: Expression) -> Expression:
    """``collected``, with what its factors have in common, too."""
    return collected(_rebuilt(e, lambda base: collected(expression(base))))


def _rebuilt(e: Expression, how: Callable[[Base], Expression]) -> Expression:
    """The expression with another in the place of each factor."""
    parts = [([power(how(base), expression(n)) for base, n in term.factors], expression(term.number)) for term in e.terms]
    return added(*[math.prod(powers, start=number) for powers, number in parts])


def length(e: Expression) -> int:
    """How much there is to read: variables, sums, which count twice, and roots."""
    found = 0
    for term in e.terms:
        for base, n in term.factors:
            found += 1 if isinstance(base, Symbol) else length(_inner(base)) + 2 * isinstance(base, Reduction)
            found += n.denominator - 1 + (abs(n) > 1)
    return found


def _inner(base: Reduction | Function | Expression) -> Expression:
    """What a factor is of, or the sum that it is."""
    return base if isinstance(base, Expression) else base.of


def replaced(e: Expression, new: Mapping[Any, Expression]) -> Expression:
    """The expression with others in the place of some symbols or sums."""
    return new[e] if e in new else _rebuilt(e, lambda base: _replaced(base, new))


def _replaced(base: Base, new: Mapping[Any, Expression]) -> Expression:
    if base in new or isinstance(base, Symbol):
        return new.get(base, expression(base))
    inner = replaced(_inner(base), new)
    if isinstance(base, Function):
        return FUNCTIONS[base.name](inner)
    return reduced(inner, Symbol(base.axis, is_size=True), base.name) if isinstance(base, Reduction) else inner


def factors_of(e: Expression) -> Iterator[Base]:
    """All factors in an expression, at any depth."""
    for term in e.terms:
        for base, _ in term.factors:
            yield base
            if not isinstance(base, Symbol):
                yield from factors_of(_inner(base))


def divisors(e: Expression) -> set[Symbol]:
    """The variables that an expression divides by, at any depth."""
    parts = [e, *[_inner(base) for base in factors_of(e) if not isinstance(base, Symbol)]]
    powers = [factor for part in parts for term in part.terms for factor in term.factors]
    return {base for base, n in powers if n < 0 and isinstance(base, Symbol) and not base.is_size}


def computed(e: Expression, values: Mapping[str, Value], total: Callable[[Value, str, str], Value]) -> Value:
    """The expression on any kind of number, with a value for each symbol; ``total`` adds one up over an axis, by its name."""

    def value_of(base: Base) -> Value:
        if isinstance(base, Symbol):
            return values[base.name]
        inner = computed(_inner(base), values, total)
        if isinstance(base, Function):
            return COMPARISONS[base.name](inner, 0) if base.name in COMPARISONS else getattr(np, base.name)(inner)
        return total(inner, base.axis, base.name) if isinstance(base, Reduction) else inner

    result: Value = 0
    for term in e.terms:
        value: Value = term.number
        for base, n in term.factors:
            value = value * value_of(base) ** n
        result = result + value
    return result


def is_factor(e: Expression, kinds: tuple[type, ...]) -> bool:
    """Whether an expression is one factor of such a kind, and no more."""
    term = e.as_term()
    return term.number == 1 and [type(base) in kinds and n == 1 for base, n in term.factors] == [True]


# ---- The kind of number


class Written(Generic):
    """An array of numbers as a formula of its generic element.

    >>> m = expression(Symbol("m", is_size=True))
    >>> x = Written(Symbol("x", ("m",)), (m,))
    >>> ((x - x.mean(keepdims=True)) ** 2).mean()
    Written(1/m Σ (x − 1/m Σ x)²)
    """

    expression, power, total = staticmethod(expression), staticmethod(power), staticmethod(reduced)
    largest = staticmethod(lambda e, n: reduced(e, n, "max"))

    # ---- what depends on a comparison, by Iverson's bracket: [x > 0] is 1 where that is true, else 0

    @staticmethod
    def _comparison(name: str) -> Callable[[Written, Any], Any]:
        bracket = Generic._operator(lambda k, a, b: expression(Function(name, a - b)))

        def method(self: Written, other: Any) -> Any:
            found = bracket(self, other)
            if isinstance(found, Written):
                found.dtype = np.dtype(bool)
            return found

        return method

    __lt__, __le__, __gt__, __ge__ = map(_comparison, ("less", "less_equal", "greater", "greater_equal"))
    __eq__, __ne__ = map(_comparison, ("equal", "not_equal"))
    __hash__ = Generic.__hash__

    def __bool__(self) -> bool:
        raise TypeError("which number is larger depends on the numbers, and a formula has none")

    @staticmethod
    def _where(condition: Any, x: Any, y: Any) -> Written:
        first, second, chosen = (a if isinstance(a, Written) else Written(a) for a in (x, y, condition))
        factors = chosen.e.as_term().factors
        otherwise = expression(1) - chosen.e
        if len(factors) == 1 and isinstance(base := factors[0][0], Function) and base.name in OTHERWISE:
            otherwise = expression(Function(OTHERWISE[base.name], base.of))
        to = broadcast_shape(chosen.shape, broadcast_shape(first.shape, second.shape))
        return Written(collected(chosen.e * first.e + otherwise * second.e), to)

    @staticmethod
    def _function(name: str) -> Callable[[Written], Written]:
        return lambda self: Written(FUNCTIONS[name](self.e), self.shape)

    exp, log, tanh, __abs__ = _function("exp"), _function("log"), _function("tanh"), _function("abs")
    sin, cos = _function("sin"), _function("cos")


def _applied(name: str) -> Callable[[Expression], Expression]:
    return lambda e: expression(Function(name, e))


COMPARISONS = {
    **{"less": operator.lt, "less_equal": operator.le, "greater": operator.gt, "greater_equal": operator.ge},
    **{"equal": operator.eq, "not_equal": operator.ne},
}
OTHERWISE = {"less": "greater_equal", "less_equal": "greater", "equal": "not_equal"}
OTHERWISE |= {b: a for a, b in OTHERWISE.items()}  # a comparison, and what is true where it is not
FUNCTIONS = {name: _applied(name) for name in ("exp", "tanh", "sin", "cos", "abs", *OTHERWISE)} | {"log": logarithm}
