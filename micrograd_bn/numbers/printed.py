"""Expressions in print: one way through a formula, from its sums to its symbols, and two ways to write it, plainly and in LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from fractions import Fraction
from itertools import chain, count

from .written import Base, Expression, Factor, Function, Reduction, Symbol, Term, expression, factors_of, is_factor

_HALF = Fraction(1, 2)
LETTERS = "ijpqruvabc"  # of indices: l is the loss
SIGNS = {"less": "<", "less_equal": "≤", "greater": ">", "greater_equal": "≥", "equal": "=", "not_equal": "≠"}
SUBSCRIPTS = {"i": "ᵢ", "j": "ⱼ", "p": "ₚ", "r": "ᵣ", "u": "ᵤ", "v": "ᵥ"}


def free_letters(taken: Container[str]) -> Iterator[str]:
    """Letters for indices: as many as are asked for."""
    return (letter for letter in chain(LETTERS, (f"i_{n}" for n in count(1))) if letter not in taken)


def _itself(name: str) -> tuple[str, str]:
    return name, name


class Plain:
    """Expressions as on the terminal: variables without indices.

    symbol   a variable's name → what it is called on the terminal and in LaTeX, without an index.
    letters  the index of each axis that is shown; along the others, everything is the same for each.
    """

    minus, dot = "−", "·"

    def __init__(self, symbol: Callable[[str], tuple[str, str]] = _itself, letters: Mapping[str, str] | None = None):
        self.symbol, self.letters = symbol, dict(letters or {})

    def sum(self, e: Expression) -> str:
        """An expression, term by term."""
        return self.joined(map(self._term, e.terms)) if e.terms else "0"

    def joined(self, terms: Iterable[str]) -> str:
        """Terms as a sum."""
        first, *others = terms
        return first + "".join(f" {t[0]} {t[1:]}" if t.startswith(self.minus) else f" + {t}" for t in others)

    def factor(self, e: Expression) -> str:
        """An expression behind another factor."""
        text = self.sum(e)
        return self._parenthesised(text) if len(e.terms) > 1 else text

    def _term(self, term: Term) -> str:
        above, below = self._layers(term)
        number, sign = abs(term.number), self.minus * (term.number < 0)
        upper, under = str(number.numerator), [str(number.denominator)] * (number.denominator != 1)
        if number.denominator > 99 and (decimal := f"{float(number):.12f}".rstrip("0"))[-1] != ".":
            upper, under = decimal, []
        lower = under + [self._power(*factor) for factor in below]
        if not lower:
            return sign + self._product(above, [upper] * (upper != "1" or not above))
        only_sizes = all(_is_size(base) for base, _ in below)
        inside = [factor for factor in above if _is_size(factor[0])] if only_sizes else self._over(above)
        outside = [factor for factor in above if factor not in inside]
        head = [upper] * (upper != "1" or not inside)
        fraction = sign + self._fraction(head, inside, lower, only_sizes)
        return f"{fraction} {self._product(outside)}" if outside else fraction

    def _layers(self, term: Term) -> tuple[list[Factor], list[Factor]]:
        """The factors above and below the line, as they are printed: sums last. A power such as −3/2 stays above."""
        above = [(base, n) for base, n in term.factors if n > 0 or (n.denominator != 1 and n < -1)]
        below = [(base, -n) for base, n in term.factors if not (n > 0 or (n.denominator != 1 and n < -1))]

        def place(factor: Factor) -> tuple[int, str]:
            base, n = factor
            if isinstance(base, Symbol) and base.is_size:
                return 0, base.name
            if isinstance(base, Symbol) and n > 0:
                single = not any(axis in self.letters for axis in base.axes)
                return 1 + (single and base.name.startswith("d")), ""  # dγ, a single number, stands behind x̂
            return 5 if isinstance(base, Reduction) else 4 if isinstance(base, Function) else 3 if n < 0 else 2, ""

        return sorted(above, key=place), sorted(below, key=place)

    def _factors(self, factors: list[Factor]) -> list[str]:
        """Each factor; what goes on to the right, as a sum does, in parentheses unless it is the last."""
        texts = [self._power(*factor) for factor in factors]
        ends = [isinstance(base, (Reduction, Function)) and n == 1 for base, n in factors[:-1]]
        return [self._enclosed(t) if end and not t.startswith(("e^", "[", "|")) else t for t, end in zip(texts, [*ends, False])]

    def _power(self, base: Base, n: Fraction) -> str:
        if n == _HALF and not isinstance(base, Reduction):
            return self._root(base)
        return self._base(base) if n == 1 else self._raised(self._base(base), base, n)

    def _base(self, base: Base) -> str:
        if isinstance(base, Symbol):
            return base.name if base.is_size else self.variable(base.name, base.axes)
        if isinstance(base, Expression):
            return self._parenthesised(self.sum(base))
        if isinstance(base, Function) and base.name in SIGNS:
            right = tuple(term for term in base.of.terms if term.number < 0 or not term.factors)
            left = tuple(term for term in base.of.terms if term not in right)
            return f"[{self.sum(Expression(left))} {self._sign(SIGNS[base.name])} {self.sum(-Expression(right))}]"
        if isinstance(base, Function):
            return self._function(base.name, self.sum(base.of), is_factor(base.of, (Symbol, Reduction)))
        sign, within = self._bound(base)
        body = within.sum(base.of)
        return f"{sign} {body if len(base.of.terms) == 1 else self._parenthesised(body)}"

    def variable(self, name: str, axes: tuple[str, ...]) -> str:
        """A variable, with its indices where they are shown."""
        return self.symbol(name)[0]

    def sigma(self, axis: str) -> str:
        """The sign of a sum over an axis."""
        return "Σ" + (SUBSCRIPTS.get(self.letters[axis], "") if len(self.letters) > 1 else "")

    # ---- how each is written

    def _over(self, above: list[Factor]) -> list[Factor]:
        """What stands over the line where more than sizes stand under it."""
        return [factor for factor in above if not isinstance(factor[0], Reduction)]

    def _fraction(self, head: list[str], inside: list[Factor], lower: list[str], only_sizes: bool) -> str:
        below = lower[0] if len(lower) == 1 else f"({' '.join(lower)})"
        fraction = f"{self._product(inside, head)}{'/' if only_sizes else ' / '}{below}"
        return "½" if fraction == "1/2" else fraction

    def _product(self, factors: list[Factor], head: list[str] | None = None) -> str:
        return " ".join([*(head or []), *self._factors(factors)])

    def _enclosed(self, text: str) -> str:
        return f"({text})"

    _parenthesised = _enclosed

    def _root(self, base: Base) -> str:
        return f"√{self._base(base)}"

    def _raised(self, text: str, base: Base, n: Fraction) -> str:
        text = f"({text})" if isinstance(base, (Reduction, Function)) or text[-1] in "²³" else text
        exponent = f"^{n}" if n.denominator == 1 and n > 0 else f"^({n})".replace("-", "−")
        return text + ("²" if n == 2 else "³" if n == 3 else exponent)

    def _sign(self, sign: str) -> str:
        return sign

    def _function(self, name: str, of: str, is_one_factor: bool) -> str:
        return f"|{of}|" if name == "abs" else f"{name} {of}" if is_one_factor else f"{name}({of})"

    def _bound(self, base: Reduction) -> tuple[str, Plain]:
        """The sign of a reduction, and what writes what it is of."""
        return self.sigma(base.axis) if base.name == "sum" else base.name, self


class Latex(Plain):
    """Expressions as on paper; ``free`` are the indices that stand on the left-hand side, by axis."""

    minus, dot = "-", r"\cdot"

    def __init__(self, symbol: Callable[[str], tuple[str, str]], letters: Mapping[str, str], free: Mapping[str, str]):
        super().__init__(symbol, letters)
        self.free = dict(free)

    def factor(self, e: Expression) -> str:
        text = self.sum(e)
        return parenthesised(text) if len(e.terms) > 1 or text.startswith("-") else text

    def variable(self, name: str, axes: tuple[str, ...]) -> str:
        letters = {**self.letters, **self.free}
        index = [letters[axis] for axis in axes if axis in self.letters]
        return with_index(self.symbol(name)[1], "".join(index)) if index else self.symbol(name)[1]

    def sigma(self, axis: str, letter: str | None = None) -> str:
        """The sign of a sum over an axis, by its index or another."""
        return rf"\sum_{{{letter or self.letters[axis]}=1}}^{axis if len(axis) == 1 else f'{{{axis}}}'}"

    def _over(self, above: list[Factor]) -> list[Factor]:
        one = len(above) == 1 and above[0][1] == 1 and not _has_sum(above[0][0])
        return above if one else [factor for factor in above if isinstance(factor[0], Symbol)]

    def _fraction(self, head: list[str], inside: list[Factor], lower: list[str], only_sizes: bool) -> str:
        alone = inside[0][0] if len(inside) == 1 and not head else None
        upper = self.sum(alone) if isinstance(alone, Expression) else self._product(inside, head)
        return rf"\frac{{{upper}}}{{{r' '.join(lower)}}}"

    def _product(self, factors: list[Factor], head: list[str] | None = None) -> str:
        text = r" \, ".join([*(head or []), *self._factors(factors)])
        return text.replace(r"\, (", "(").replace(r"\, \left", r"\left")

    def _enclosed(self, text: str) -> str:
        return rf"\left( {text} \right)"

    def _parenthesised(self, text: str) -> str:
        return parenthesised(text)

    def _root(self, base: Base) -> str:
        return rf"\sqrt{{{self.sum(expression(base))}}}"

    def _raised(self, text: str, base: Base, n: Fraction) -> str:
        compound = isinstance(base, (Reduction, Function)) or (isinstance(base, Symbol) and ("^" in text or base.name not in text))
        text = self._enclosed(text) if compound and "\\sum" in text else f"({text})" if compound else text
        return f"{text}^{n}" if n.denominator == 1 and 0 < n < 10 else f"{text}^{{{n}}}"

    def _sign(self, sign: str) -> str:
        return {"≤": r"\le", "≥": r"\ge", "≠": r"\ne"}.get(sign, sign)

    def _function(self, name: str, of: str, is_one_factor: bool) -> str:
        if name == "abs":
            return f"|{of}|"
        return f"e^{{{of}}}" if name == "exp" else rf"\{name} {of if is_one_factor else parenthesised(of)}"

    def _bound(self, base: Reduction) -> tuple[str, Plain]:
        letter = self.letters.get(base.axis, "i")
        if letter in self.free.values():
            taken = {*self.letters.values(), *self.free.values()}
            letter = next(free_letters(taken))
        sign = self.sigma(base.axis, letter) if base.name == "sum" else rf"\{base.name}_{letter}"
        return sign, Latex(self.symbol, self.letters, {**self.free, base.axis: letter})


def _is_size(base: Base) -> bool:
    return isinstance(base, Symbol) and base.is_size


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
