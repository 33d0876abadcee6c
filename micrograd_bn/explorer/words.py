"""What a primitive computes and its local derivatives, in words: for the steps of a graph that has no equations."""

from __future__ import annotations

from collections.abc import Iterable

from ..draw import text
from ..engine import Tensor

# What is computed of a and b (and with a parameter, as an exponent, n), and the derivative by each of them; y is the result.
FORMULAS: dict[str, tuple[str, ...]] = {
    "add": ("{a} + {b}", "1", "1"),
    "sub": ("{a} − {b}", "1", "−1"),
    "mul": ("{a} × {b}", "{b}", "{a}"),
    "div": ("{a} ÷ {b}", "1 ÷ {b}", "−{y} ÷ {b}"),
    "neg": ("−{a}", "−1"),
    "pow": ("{a} ^ {n}", "{n} {a}{less}"),
    "power": ("{a} ^ {b}", "{b} {a} ^ ({b} − 1)", "{y} log {a}"),
    "sqrt": ("√{a}", "1 ÷ (2 {y})"),
    "exp": ("exp {a}", "{y}"),
    "expm1": ("exp {a} − 1", "{y} + 1"),
    "log": ("log {a}", "1 ÷ {a}"),
    "log1p": ("log(1 + {a})", "1 ÷ (1 + {a})"),
    "sin": ("sin {a}", "cos {a}"),
    "cos": ("cos {a}", "−sin {a}"),
    "tanh": ("tanh {a}", "1 − {y}²"),
    "relu": ("relu {a}", "1 where {a} > 0, else 0"),
    "abs": ("|{a}|", "the sign of {a}"),
    "maximum": ("max({a}, {b})", "1 where {a} is larger, else 0", "1 where {b} is larger, else 0"),
    "minimum": ("min({a}, {b})", "1 where {a} is smaller, else 0", "1 where {b} is smaller, else 0"),
    "where": ("{b} where {a}, else {c}", "none", "1 where {a}, else 0", "0 where {a}, else 1"),
    "sum": ("Σ {a}", "1 for each number"),
    "mean": ("mean {a}", "1/m for each of m numbers"),
    "max": ("max {a}", "1 at the largest, else 0"),
    "min": ("min {a}", "1 at the smallest, else 0"),
    "matmul": ("{a} @ {b}", "{b}, transposed", "{a}, transposed"),
    "less": ("{a} < {b}",),
    "less_equal": ("{a} ≤ {b}",),
    "greater": ("{a} > {b}",),
    "greater_equal": ("{a} ≥ {b}",),
    "equal": ("{a} = {b}",),
    "not_equal": ("{a} ≠ {b}",),
}

# What goes number by number: the local derivatives are numbers, one for each.
ELEMENTWISE = FORMULAS.keys() - {"where", "sum", "mean", "max", "min", "matmul"}


def formulas(node: Tensor, symbol: str, inputs: Iterable[str]) -> tuple[str, ...]:
    """What a primitive's node computes, and the local derivative by each input where it has a short one, else nothing."""
    primitive = node.primitive
    inputs = list(inputs)
    assert primitive is not None
    if primitive.name not in FORMULAS:
        return (f"{primitive.symbol} {', '.join(inputs)}", *[""] * len(inputs))
    n = node.params.get("exponent", 0)
    less = text(n - 1, 4)
    names = dict(zip("abc", inputs)) | {"y": symbol, "n": text(n, 4), "less": "" if less == "1" else f" ^ {less}"}
    return tuple(formula.format(**names) for formula in FORMULAS[primitive.name])
