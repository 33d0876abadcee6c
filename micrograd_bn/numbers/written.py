"""Formulas as a person writes them: an expression of a generic element that keeps its form, and is printed as text and LaTeX.

Nothing is multiplied out. A product collects the powers of its factors, and a sum over an axis stands last, behind what does not
depend on its index. ``Written`` is the kind of number: run an equation, a local derivative or the engine on it, and what comes
out is the formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias, Union

import numpy as np

from ..kinds import Value
from .generic import Generic

_HALF = Fraction(1, 2)

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

    body: Expression
    axis: str
    name: str = "sum"


@dataclass(frozen=True)
class Function:
    """A function of a number, by its name in NumPy."""

    name: str
    of: Expression


Base: TypeAlias = Union[Symbol, Reduction, Function, "Expression"]


@dataclass(frozen=True)
class Term:
    """A number times powers of factors, in the order in which they were multiplied."""

    number: Fraction
    factors: tuple[tuple[Base, Fraction], ...] = ()


@dataclass(frozen=True)
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

    def __str__(self) -> str:
        return Printer().text(self)

    def as_term(self) -> Term:
        """The same as one term: a sum of several is its only factor."""
        if len(self.terms) == 1:
            return self.terms[0]
        return Term(Fraction(1), ((self, Fraction(1)),)) if self.terms else Term(Fraction(0))


def product(number: Fraction, factors: list[tuple[Base, Fraction]]) -> Expression:
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
NO_LETTERS: Mapping[str, str] = {}


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
    if isinstance(e, Function):
        return axes_of(e.of)
    if isinstance(e, Reduction):
        return axes_of(e.body) - {e.axis}
    return frozenset().union(*[axes_of(base) for term in e.terms for base, _ in term.factors])


def reduced(e: Expression, size: Any, name: str = "sum") -> Expression:
    """A sum over an axis, by its size: what does not depend on the axis stands before it."""
    ((base, _),) = expression(size).as_term().factors
    assert isinstance(base, Symbol)
    axis = base.name
    term = collected(e).as_term() if name == "sum" else e.as_term()
    outside: list[tuple[Base, Fraction]] = []
    inside: list[tuple[Base, Fraction]] = []
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
    common: list[tuple[Base, Fraction]] = []
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
    parts = []
    for term in e.terms:
        part = expression(term.number)
        for base, n in term.factors:
            part = part * power(collected(base) if isinstance(base, Expression) else expression(base), expression(n))
        parts.append(part)
    return collected(added(*parts))


def length(e: Expression) -> int:
    """How much there is to read: variables, sums, which count twice, and roots."""
    found = 0
    for term in e.terms:
        for base, n in term.factors:
            inner = base if isinstance(base, Expression) else base.body if isinstance(base, Reduction) else None
            inner = base.of if isinstance(base, Function) else inner
            found += 1 if inner is None else length(inner) + 2 * isinstance(base, Reduction)
            found += n.denominator - 1 + (abs(n) > 1)
    return found


def replaced(e: Expression, new: Mapping[Any, Expression]) -> Expression:
    """The expression with others in the place of some symbols or sums."""
    if e in new:
        return new[e]
    terms = []
    for term in e.terms:
        total = expression(term.number)
        for base, n in term.factors:
            total = total * power(_replaced(base, new), expression(n))
        terms.append(total)
    return added(*terms)


def _replaced(base: Base, new: Mapping[Any, Expression]) -> Expression:
    if base in new:
        return new[base]
    if isinstance(base, Expression):
        return replaced(base, new)
    if isinstance(base, Function):
        return FUNCTIONS[base.name](replaced(base.of, new))
    if isinstance(base, Reduction):
        return reduced(replaced(base.body, new), Symbol(base.axis, is_size=True), base.name)
    return expression(base)


def factors_of(e: Expression) -> Iterator[Base]:
    """All factors in an expression, at any depth."""
    for term in e.terms:
        for base, _ in term.factors:
            yield base
            if not isinstance(base, Symbol):
                yield from factors_of(
                    base if isinstance(base, Expression) else base.body if isinstance(base, Reduction) else base.of
                )


def divisors(e: Expression) -> set[Symbol]:
    """The variables that an expression divides by, at any depth."""
    inner = [base for base in factors_of(e) if not isinstance(base, Symbol)]
    parts = [
        e,
        *[base if isinstance(base, Expression) else base.body if isinstance(base, Reduction) else base.of for base in inner],
    ]
    powers = [factor for part in parts for term in part.terms for factor in term.factors]
    return {base for base, n in powers if n < 0 and isinstance(base, Symbol) and not base.is_size}


def computed(e: Expression, values: Mapping[str, Value], total: Callable[[Value, str, str], Value]) -> Value:
    """The expression on any kind of number, with a value for each symbol; ``total`` adds one up over an axis, by its name."""

    def value_of(base: Base) -> Value:
        if isinstance(base, Symbol):
            return values[base.name]
        if isinstance(base, Expression):
            return computed(base, values, total)
        inner = computed(base.body if isinstance(base, Reduction) else base.of, values, total)
        return total(inner, base.axis, base.name) if isinstance(base, Reduction) else getattr(np, base.name)(inner)

    result: Value = 0
    for term in e.terms:
        value: Value = term.number.numerator
        for base, n in term.factors:
            root = value_of(base)
            root = root if n.denominator == 1 else np.sqrt(root) if n.denominator == 2 else root ** (1 / n.denominator)
            value = value * root**n.numerator if n > 0 else value / root**-n.numerator
        result = result + value / term.number.denominator
    return result


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

    def __abs__(self) -> Any:
        raise self._no_rule("abs")

    def __lt__(self, other: Any) -> Any:
        raise TypeError("which number is larger depends on the numbers, and a formula has none")

    __le__ = __gt__ = __ge__ = __lt__

    @staticmethod
    def _function(name: str) -> Callable[[Written], Written]:
        return lambda self: Written(FUNCTIONS[name](self.e), self.shape)

    exp, log, tanh = _function("exp"), _function("log"), _function("tanh")
    sin, cos = _function("sin"), _function("cos")


def _applied(name: str) -> Callable[[Expression], Expression]:
    return lambda e: expression(Function(name, e))


FUNCTIONS = {name: _applied(name) for name in ("exp", "tanh", "sin", "cos")} | {"log": logarithm}


# ---- In print


class Printer:
    """Expressions as text and as LaTeX.

    symbol   a variable's name → what it is called on the terminal and in LaTeX, without an index.
    letters  the index of each axis that is shown; along the others, everything is the same for each.
    """

    def __init__(
        self, symbol: Callable[[str], tuple[str, str]] = lambda name: (name, name), letters: Mapping[str, str] = NO_LETTERS
    ):
        self.symbol, self.letters = symbol, dict(letters)

    def _layers(self, term: Term) -> tuple[list[tuple[Base, Fraction]], list[tuple[Base, Fraction]]]:
        """The factors above and below the line, as they are printed: sums last. A power such as −3/2 stays above."""
        above = [(base, n) for base, n in term.factors if n > 0 or (n.denominator != 1 and n < -1)]
        below = [(base, -n) for base, n in term.factors if not (n > 0 or (n.denominator != 1 and n < -1))]

        def place(factor: tuple[Base, Fraction]) -> tuple[int, str]:
            base, n = factor
            if isinstance(base, Symbol) and base.is_size:
                return 0, base.name
            if isinstance(base, Symbol) and n > 0:
                single = not any(axis in self.letters for axis in base.axes)
                return 1 + (single and base.name.startswith("d")), ""  # dγ, a single number, stands behind x̂
            return 5 if isinstance(base, Reduction) else 4 if isinstance(base, Function) else 3 if n < 0 else 2, ""

        return sorted(above, key=place), sorted(below, key=place)

    # ---- text

    def text(self, e: Expression) -> str:
        """As on the terminal: variables without indices."""
        if not e.terms:
            return "0"
        parts = [self._text_term(term) for term in e.terms]
        return parts[0] + "".join(f" − {part[1:]}" if part.startswith("−") else f" + {part}" for part in parts[1:])

    def _text_term(self, term: Term) -> str:
        sign = "−" if term.number < 0 else ""
        if term.number.denominator > 99 and not term.factors:
            return f"{float(term.number):.12f}".rstrip("0").replace("-", "−")
        above, below = self._layers(term)
        sizes = all(isinstance(base, Symbol) and base.is_size for base, _ in below)
        number = abs(term.number)
        upper = [(base, n) for base, n in above if isinstance(base, Symbol) and base.is_size] if sizes else []
        above = [factor for factor in above if factor not in upper]
        lower = [self._text_power(base, n) for base, n in below]
        if sizes:
            head = [str(number.numerator)] * (number.numerator != 1 or not upper) + [self._text_power(*f) for f in upper]
            foot = [str(number.denominator)] * (number.denominator != 1) + lower
            front = " ".join(head) + (f"/{' '.join(foot)}" if len(foot) == 1 else f"/({' '.join(foot)})" if foot else "")
            front = "½" if front == "1/2" else front
            rest = self._text_product(above)
            return sign + (rest if rest and front == "1" else f"{front} {rest}".strip())
        sums = [factor for factor in above if isinstance(factor[0], Reduction)]
        above = [factor for factor in above if factor not in sums]
        head = [str(number.numerator)] if number.numerator != 1 or not above else []
        lower = [str(number.denominator)] * (number.denominator != 1) + lower
        upper_text = " ".join([*head, *([self._text_product(above)] if above else [])])
        fraction = f"{sign}{upper_text} / " + (lower[0] if len(lower) == 1 else f"({' '.join(lower)})")
        return " ".join([fraction, *([self._text_product(sums)] if sums else [])])

    def _text_product(self, factors: list[tuple[Base, Fraction]]) -> str:
        texts = [self._text_power(base, n) for base, n in factors]
        ends = [isinstance(base, (Reduction, Function)) and n == 1 for base, n in factors]
        return " ".join([f"({text})" if end and i < len(texts) - 1 else text for i, (text, end) in enumerate(zip(texts, ends))])

    def _text_power(self, base: Base, n: Fraction) -> str:
        if n == _HALF and not isinstance(base, Reduction):
            return f"√({self._text_base(base).strip('()')})" if isinstance(base, Expression) else f"√{self._text_base(base)}"
        text = self._text_base(base)
        if n == 1:
            return text
        text = f"({text})" if isinstance(base, (Reduction, Function)) or text[-1] in "²³" else text
        exponent = f"^{n}" if n.denominator == 1 and n > 0 else f"^({n})".replace("-", "−")
        return text + ("²" if n == 2 else "³" if n == 3 else exponent)

    def _text_base(self, base: Base) -> str:
        if isinstance(base, Symbol):
            return base.name if base.is_size else self.symbol(base.name)[0]
        if isinstance(base, Expression):
            return f"({self.text(base)})"
        if isinstance(base, Function):
            inner = self.text(base.of)
            return f"{base.name} {inner}" if is_factor(base.of, (Symbol, Reduction)) else f"{base.name}({inner})"
        if base.name == "sum":
            return f"{self._sigma(base.axis)} {self._text_body(base.body)}"
        return f"{base.name} {self._text_body(base.body)}"

    def _sigma(self, axis: str) -> str:
        return "Σ" + (SUBSCRIPTS.get(self.letters[axis], "") if len(self.letters) > 1 else "")

    def _text_body(self, body: Expression) -> str:
        return self.text(body) if len(body.terms) == 1 else f"({self.text(body)})"

    def summed(self, axis: str, term: tuple[str, str]) -> tuple[str, str]:
        """A term with a sum over an axis before it, as text and in LaTeX."""
        return f"{self._sigma(axis)} {term[0]}", f"{_sum(self.letters[axis], axis)} {term[1]}"

    # ---- LaTeX

    def latex(self, e: Expression, free: Mapping[str, str]) -> str:
        """As on paper; ``free`` are the indices that stand on the left-hand side, by axis."""
        if not e.terms:
            return "0"
        parts = [self._latex_term(term, free) for term in e.terms]
        return parts[0] + "".join(f" - {part[1:]}" if part.startswith("-") else f" + {part}" for part in parts[1:])

    def variable(self, name: str, axes: tuple[str, ...], free: Mapping[str, str] | None = None) -> str:
        """A variable in LaTeX with its indices."""
        letters = self.letters if free is None else {**self.letters, **free}
        index = [letters[axis] for axis in axes if axis in self.letters]
        return with_index(self.symbol(name)[1], "".join(index)) if index else self.symbol(name)[1]

    def _latex_term(self, term: Term, free: Mapping[str, str]) -> str:
        above, below = self._layers(term)
        sign, number = "-" if term.number < 0 else "", abs(term.number)
        if number.denominator > 99 and not term.factors:
            return f"{float(term.number):.12f}".rstrip("0")
        lower = [self._latex_power(base, n, free) for base, n in below]
        lower = [str(number.denominator)] * (number.denominator != 1) + lower
        only_sizes = all(isinstance(base, Symbol) and base.is_size for base, _ in below)
        if not lower:
            return sign + self._joined(above, free, [str(number.numerator)] * (number.numerator != 1 or not above))
        if only_sizes:
            inside = [factor for factor in above if isinstance(factor[0], Symbol) and factor[0].is_size]
        elif len(above) == 1 and above[0][1] == 1 and not _has_sum(above[0][0]):
            inside = above
        else:
            inside = [factor for factor in above if isinstance(factor[0], Symbol)]
        outside = [factor for factor in above if factor not in inside]
        head = [str(number.numerator)] * (number.numerator != 1 or not inside)
        if len(inside) == 1 and isinstance(inside[0][0], Expression) and not head:
            upper = self.latex(inside[0][0], free)
        else:
            upper = self._joined(inside, free, head)
        fraction = rf"{sign}\frac{{{upper}}}{{{r' '.join(lower)}}}"
        return f"{fraction} {self._joined(outside, free)}" if outside else fraction

    def _joined(self, factors: list[tuple[Base, Fraction]], free: Mapping[str, str], head: list[str] | None = None) -> str:
        text = r" \, ".join([*(head or []), *self._latex_product(factors, free)])
        return text.replace(r"\, (", "(").replace(r"\, \left", r"\left")

    def _latex_product(self, factors: list[tuple[Base, Fraction]], free: Mapping[str, str]) -> list[str]:
        texts = [self._latex_power(base, n, free) for base, n in factors]
        ends = [isinstance(base, (Reduction, Function)) and n == 1 for base, n in factors]
        return [
            rf"\left( {text} \right)" if end and i < len(texts) - 1 and not text.startswith("e^") else text
            for i, (text, end) in enumerate(zip(texts, ends))
        ]

    def _latex_power(self, base: Base, n: Fraction, free: Mapping[str, str]) -> str:
        if n == _HALF and not isinstance(base, Reduction):
            inner = self.latex(base, free) if isinstance(base, Expression) else self._latex_base(base, free)
            return rf"\sqrt{{{inner}}}"
        text = self._latex_base(base, free)
        if n == 1:
            return text
        compound = isinstance(base, (Reduction, Function)) or (isinstance(base, Symbol) and ("^" in text or base.name not in text))
        text = rf"\left( {text} \right)" if compound and "\\sum" in text else f"({text})" if compound else text
        return f"{text}^{n}" if n.denominator == 1 and 0 < n < 10 else f"{text}^{{{n}}}"

    def _latex_base(self, base: Base, free: Mapping[str, str]) -> str:
        if isinstance(base, Symbol):
            return base.name if base.is_size else self.variable(base.name, base.axes, free)
        if isinstance(base, Expression):
            return parenthesised(self.latex(base, free))
        if isinstance(base, Function):
            inner = self.latex(base.of, free)
            if base.name == "exp":
                return f"e^{{{inner}}}"
            return rf"\{base.name} {inner if is_factor(base.of, (Symbol, Reduction)) else parenthesised(inner)}"
        letter = self.letters.get(base.axis, "i")
        if letter in free.values():
            taken = {*self.letters.values(), *free.values()}
            letter = next(c for c in LETTERS if c not in taken)
        bound = {**free, base.axis: letter}
        body = self.latex(base.body, bound)
        body = body if len(base.body.terms) == 1 else parenthesised(body)
        if base.name == "sum":
            return f"{_sum(letter, base.axis)} {body}"
        return rf"\{base.name}_{letter} {body}"


def _sum(letter: str, size: str) -> str:
    return rf"\sum_{{{letter}=1}}^{size if len(size) == 1 else f'{{{size}}}'}"


LETTERS = "ijpqruvabc"  # l is the loss
SUBSCRIPTS = {"i": "ᵢ", "j": "ⱼ", "p": "ₚ", "r": "ᵣ", "u": "ᵤ", "v": "ᵥ"}


def is_factor(e: Expression, kinds: tuple[type, ...]) -> bool:
    """Whether an expression is one factor of such a kind, and no more."""
    return (
        bool(e.terms)
        and len(e.terms) == len(e.terms[0].factors) == e.terms[0].number == 1
        and all(type(b) in kinds and n == 1 for b, n in e.terms[0].factors)
    )


def _has_sum(base: Base) -> bool:
    return isinstance(base, Reduction) or any(isinstance(b, Reduction) for b in factors_of(expression(base)))


def parenthesised(latex: str) -> str:
    """In parentheses that are as high as what is in them."""
    high = any(mark in latex for mark in (r"\frac", r"\sum", r"\sqrt"))
    return rf"\left( {latex} \right)" if high else f"({latex})"


def with_index(latex: str, index: str) -> str:
    """A symbol with one more index: of \\sigma^2 below the power, of \\mu_B behind the B.

    >>> print(with_index(r"\\sigma^2", "i"), with_index(r"\\mu_B", "i"), with_index("x", "ij"))
    \\sigma_i^2 \\mu_{B,i} x_{ij}
    """
    stem, mark, exponent = latex.partition("^")
    before, under, own = stem.partition("_")
    inner = f"{own.strip('{}')},{index}" if under else index
    inner = inner if len(inner) == 1 else f"{{{inner}}}"
    return f"{before}_{inner}{mark}{exponent}"
