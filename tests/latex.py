"""What a line of LaTeX says, in numbers: a parser of the formulas that derivations are printed in, and no more."""

import itertools
import math
import re

TOKEN = re.compile(r"\\[a-zA-Z]+|\\[,;! ]|\d+|[a-zA-Z]|[-+=^_{}()/]")
SPACES = {r"\,", r"\ ", r"\quad", r"\cdot"}


class Formula:
    """An expression in LaTeX, of symbols whose values are arrays with an axis for each index.

    symbols  LaTeX without an index → an array
    sizes    "m" → how far a sum over m goes
    """

    def __init__(self, latex, symbols, sizes):
        self.symbols, self.sizes = symbols, sizes
        self.names = sorted(((TOKEN.findall(name), value) for name, value in symbols.items()), key=lambda pair: -len(pair[0]))
        self.tokens, self.at = [t for t in TOKEN.findall(latex) if t not in SPACES], 0
        self.value = self.sum()
        assert self.at == len(self.tokens), f"{latex}: what comes after {' '.join(self.tokens[: self.at])}?"

    def __call__(self, **index):
        """The value, for an index of each letter that is free."""
        return self.value(index)

    # ---- grammar: each rule returns a function of the indices

    @property
    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, *wanted):
        for token in wanted:
            assert self.next == token, f"{token} is due, and {self.next!r} is there: {' '.join(self.tokens)}"
            self.at += 1

    def sum(self):
        parts = []
        while not parts or self.next in ("+", "-"):
            sign = -1 if self.next == "-" else 1
            self.at += self.next in ("+", "-")
            parts.append((sign, self.product()))
        return lambda index: math.fsum(sign * part(index) for sign, part in parts)

    def product(self):
        factors = []
        while self.next and self.next not in ("+", "-", ")", "}", "=", r"\right"):
            factors.append(self.factor())
        assert factors, f"a factor is due before {self.next!r}: {' '.join(self.tokens)}"
        return lambda index: math.prod(factor(index) for factor in factors)

    def factor(self):
        base = self.base()
        if self.next != "^":
            return base
        self.take("^")
        exponent = self.group()
        return lambda index: base(index) ** exponent(index)

    def group(self):
        """What stands in braces, or one token: a whole number, or a fraction such as -3/2."""
        if self.next != "{":
            return self.base()
        self.take("{")
        start = self.at
        inner = self.sum() if "/" not in self.tokens[start : self.tokens.index("}", start)] else self.ratio()
        self.take("}")
        return inner

    def ratio(self):
        sign = -1 if self.next == "-" else 1
        self.at += self.next == "-"
        above, _, below = self.tokens[self.at : self.at + 3]
        self.at += 3
        return lambda index: sign * int(above) / int(below)

    def base(self):
        if symbol := self.symbol():
            return symbol
        token = self.next
        self.at += 1
        if token.isdigit():
            return lambda index: float(token)
        if token == r"\frac":
            above, below = self.group(), self.group()
            return lambda index: above(index) / below(index)
        if token == r"\sqrt":
            inner = self.group()
            return lambda index: math.sqrt(inner(index))
        if token == "e":
            self.take("^")
            inner = self.group()
            return lambda index: math.exp(inner(index))
        if token in (r"\log", r"\tanh"):
            inner = self.factor()
            return lambda index: getattr(math, token[1:])(inner(index))
        if token in ("(", r"\left"):
            self.take(*["("] * (token == r"\left"))
            inner = self.sum()
            self.take(*[r"\right"] * (token == r"\left"), ")")
            return inner
        if token == r"\sum":
            self.take("_", "{")
            letter = self.next
            self.at += 1
            self.take("=", "1", "}", "^")
            size = self.next
            self.at += 1
            sign = -1 if self.next == "-" else 1  # the source's Σ −2 (x − μ)
            self.at += self.next == "-"
            body = self.product()
            return lambda index: sign * math.fsum(body({**index, letter: i}) for i in range(self.sizes[size]))
        if token in self.sizes:
            return lambda index: float(self.sizes[token])
        raise AssertionError(f"{token!r} is not known: {' '.join(self.tokens)}")

    def symbol(self):
        """The longest name that stands here, and its indices, which come before a power that is part of the name."""
        for name, array in self.names:
            power = name[-2:] if name[-2:-1] == ["^"] else []
            stem = name[: len(name) - len(power)]
            here, letters = self.at, []
            if self.tokens[here : here + len(stem)] != stem:
                continue
            here += len(stem)
            if array.ndim and "_" not in stem:
                assert self.tokens[here] == "_", f"{' '.join(name)} has no index: {' '.join(self.tokens)}"
                end = self.tokens.index("}", here) if self.tokens[here + 1] == "{" else here + 1
                letters = [t for t in self.tokens[here + 1 : end + 1] if t.isalpha()]
                here = end + 1
                assert len(letters) == array.ndim, f"{' '.join(name)} has {len(letters)} indices: {' '.join(self.tokens)}"
            if self.tokens[here : here + len(power)] != power:
                continue
            self.at = here + len(power)
            return lambda index, array=array, letters=letters: float(array[tuple(index[letter] for letter in letters)])
        return None


def everywhere(letters):
    """All indices: letters → how many."""
    return [dict(zip(letters, places)) for places in itertools.product(*map(range, letters.values()))]
