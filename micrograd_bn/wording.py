"""A derivation's formulas, counts and axes in words, as a mistake in them is told: "x − μ", "1/√d", "the batch (axis 0)"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import combinations
from typing import TypeAlias

from .derivation import Derivation
from .engine import Tensor
from .kinds import Value
from .recorded import Recorded, operation
from .shapes import Shape, shape

# A step in words, and how tightly they hold together: 1 for a sum, 2 for a product, 3 for what stands alone.
Part: TypeAlias = tuple[str, int]
WORDS: dict[str, tuple[str, int, tuple[int, ...]]] = {  # with the tightness that each input needs, else it is put in parentheses
    "add": ("{} + {}", 1, (1, 1)),
    "sub": ("{} − {}", 1, (1, 2)),
    "mul": ("{} {}", 2, (2, 3)),
    "matmul": ("{} {}", 2, (2, 3)),
    "div": ("{} / {}", 2, (2, 3)),
    "neg": ("−{}", 2, (2,)),
    "sqrt": ("√{}", 3, (3,)),
    "sum": ("Σ {}", 2, (2,)),
    "transpose": ("{}ᵀ", 3, (3,)),
}
POWERS = {0.5: "√{}", 2: "{}²", 3: "{}³"}
# Sizes by which a number in a formula is known for a count: 77 for two axes together.
PRIMES = (7, 11, 13, 5, 3, *[n for n in range(17, 100, 2) if all(n % i for i in range(3, n, 2))])
NAMES_OF_AXES = {"m": "the batch", "k": "the features"}


def is_shift(node: Tensor) -> bool:
    """Whether this adds or subtracts what the chain rule takes for a constant: so that exp does not overflow, and for no more."""
    return bool(node.inputs) and isinstance(node.inputs[-1], Tensor) and operation(node.inputs[-1]) == "stop_gradient"


class Wording:
    """The words for a derivation, on sizes that tell its axes apart."""

    def __init__(self, d: Derivation):
        self.d = d
        self.sizes = dict(zip(d.size_names, PRIMES))
        written = set(re.findall(r"[^\W\d_]+", " ".join([*[e.text for e in d.equations], *[edge.text for edge in d.edges]])))
        self.counts: dict[float, str] = {}  # what sizes and their products are called: m, if not by the name of an axis
        for n in range(1, len(self.sizes) + 1):
            for names in combinations(self.sizes, n):  # "m" on paper is a count that has no other name
                own = "m" in self.sizes or (n == 1 and names[0] in written) or "m" not in written
                self.counts[math.prod(self.sizes[name] for name in names)] = " ".join(names) if own else "m"
        self._axes = NAMES_OF_AXES | {d.shapes[a][-1]: "the classes" for a, what in d.domains.items() if what == "probabilities"}

    def symbol(self, name: str) -> str:
        return self.d.called(name)[0]

    def number(self, number: float, inverse: bool = False) -> str:
        number, sign = abs(number), "−" if number < 0 else ""
        text = self.counts.get(number) or {0.5: "½"}.get(number, f"{number:g}".replace("e-0", "e-"))
        squared = round(number**2, 9)
        if squared in self.counts:
            text = f"√({self.counts[squared]})" if " " in self.counts[squared] else f"√{self.counts[squared]}"
        return sign + ({"2": "½", "½": "2"}.get(text, f"1/({text})" if " " in text else f"1/{text}") if inverse else text)

    def text(self, a: Value, texts: Mapping[Tensor, str]) -> str:
        """An input of a step: another step, whose text is known, or a constant."""
        return texts[a] if isinstance(a, Tensor) else "…" if shape(a) else self.number(float(a))

    def texts(self, steps: Recorded) -> dict[Tensor, str]:
        """All steps of a formula."""
        texts: dict[Tensor, str] = {}
        levels: dict[Tensor, int] = {}
        for node in steps.nodes:
            inputs = [(texts[a], levels[a]) if isinstance(a, Tensor) else self._constant(a) for a in node.inputs]
            texts[node], levels[node] = self._part(node, inputs, steps.names.get(node))
        return texts

    def _constant(self, a: Value) -> Part:
        text = self.text(a, {})
        return text, 2 if text[0] == "−" or (" " in text and text[-1] != ")") else 3

    def _part(self, node: Tensor, inputs: list[Part], name: str | None) -> Part:
        of = operation(node)
        if not of:
            return self._constant(node.data) if name is None else (self.symbol(name), 3)
        if is_shift(node) or of in ("reshape", "broadcast", "astype", "stop_gradient"):
            return inputs[0]
        text, level, needed = WORDS.get(of, (f"{of}({', '.join(['{}'] * len(inputs))})", 3, (1,) * len(inputs)))
        if of == "pow":
            exponent = node.params["exponent"]
            text, needed = POWERS.get(exponent, f"{{}}^({self.number(exponent)})"), (3,)
        return text.format(*[part if tight >= least else f"({part})" for (part, tight), least in zip(inputs, needed)]), level

    def axes(self, sizes: Shape, over: tuple[int, ...], full: bool = True) -> str:
        """Axes by what goes along them, and by their numbers."""
        if len(over) != 1:
            return f"the axes {', '.join(map(str, over[:-1]))} and {over[-1]}"
        name = self._axes.get(next((n for n, known in self.sizes.items() if known == sizes[over[0]]), ""))
        return f"axis {over[0]}" if name is None else f"{name} (axis {over[0]})" if full else name
