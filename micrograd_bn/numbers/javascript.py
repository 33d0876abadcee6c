"""A program in JavaScript, number by number: what a page computes again when a reader changes a number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kinds import apply
from ..shapes import axes
from .name import Name, Tape, behind
from .program import Program, identifiers
from .python import ARITHMETIC, FUNCTIONS, operands

RIGHT = {
    **ARITHMETIC,
    **{of: f"Math.{of}({{}})" for of in (*FUNCTIONS, "abs")},
    **{"pow": "{} ** {}", "power": "{} ** {}", "equal": "{} === {}", "not_equal": "{} !== {}", "where": "{} ? {} : {}"},
    **{"maximum": "Math.max({}, {})", "minimum": "Math.min({}, {})", "relu": "Math.max({}, {})"},
}
UNIT = 2.0**-53  # of a correctly rounded result; JavaScript's other functions are within two last places
EXACT = {"add", "sub", "mul", "div", "sqrt", "neg", "abs", "where", "maximum", "minimum", "relu"}
LARGEST = 20_000  # numbers
# Names in Python that are none in JavaScript.
RESERVED = {
    *("arguments", "case", "catch", "const", "debugger", "default", "delete", "do", "enum"),
    *("eval", "export", "extends", "false", "function", "implements", "instanceof", "interface", "let"),
    *("Math", "Infinity", "NaN", "new", "null", "package", "private", "protected", "public"),
    *("static", "super", "switch", "this", "throw", "true", "typeof", "undefined", "var"),
    *("void"),
}


def source(p: Program, errors: bool = False) -> str:
    """A function of the values and their upstream gradient, all as flat arrays of numbers, that returns the result and the
    gradients of the inputs, flat as well: ``[y, [dx, …]]``; with ``errors`` also, for each number of the gradients, a bound on what
    rounding may have made of it, as ``running`` gives it: ``[y, [dx, …], [error of dx, …]]``.

    Numbers are float64, and a sum is taken from left to right. Raises ValueError where they are too many to be written out.

    >>> from micrograd_bn import trace
    >>> print(trace(lambda a, b: (a * b).sum(), np.zeros(2), np.zeros(2)).javascript)
    function gradients(a, b) {
      const t1 = a[0] * b[0];
      const t2 = a[1] * b[1];
      const t3 = t1 + t2;
      return [[t3], [[b[0], b[1]], [a[0], a[1]]]];
    }
    """
    given = [a for a in (*p.inputs, p.upstream, *p.constants) if a is not None]
    count = sum(math.prod(a.shape) for a in (*given, *p.statements))
    if count > LARGEST:
        raise ValueError(f"{count:,} numbers are too many to be written out one by one, {LARGEST:,} at most: trace a smaller batch")
    tape, texts, values = Tape(), {}, {}
    labels = identifiers([a.label or "" for a in given], "x", RESERVED)
    for a, label in zip(given, labels):
        array = values[a] = np.empty(a.shape, dtype=object)
        for i, index in enumerate(np.ndindex(a.shape)):
            name = array[index] = tape.given(0.5, "")
            texts[name] = f"{label}[{i}]"
    for a in p.statements:
        values[a] = _numbers(tape, a, [values[b] if isinstance(b, Name) else b for b in a.inputs])
    lists = [np.ravel(np.asarray(values[a] if isinstance(a, Name) else a, dtype=object)).tolist() for a in (p.result, *p.gradient)]
    if errors:
        bounds = _bounds(tape)
        lists += [[bounds.get(a, 0.0) if isinstance(a, Name) else 0.0 for a in numbers] for numbers in lists[1:]]
    needed = behind(itertools.chain(*lists))
    lines: list[str] = []
    free = (label for i in itertools.count(1) if (label := f"t{i}") not in labels)
    for a in tape.names:
        if a in needed:
            texts[a] = next(free)
            lines.append(f"  const {texts[a]} = {_right(a, texts)};")
    y, *others = [f"[{', '.join(_text(a, texts) for a in numbers)}]" for numbers in lists]
    n = len(p.gradient)
    parts = [y, *[f"[{', '.join(part)}]" for part in ([others[:n], others[n:]] if errors else [others])]]
    head = f"function gradients({', '.join(labels)}) {{"
    return "\n".join([head, *lines, f"  return [{', '.join(parts)}];", "}"])


def _bounds(tape: Tape) -> dict[Name, Any]:
    """A bound on the rounding error of each number, as one more: what its slopes make of the errors of its inputs, and its own.
    What is given counts as rounded, too, for 0.1 is no float."""
    bounds: dict[Name, Any] = {}
    for a in [*tape.names]:
        assert a.primitive is not None
        if a.primitive.vjp is None:
            continue  # a comparison
        own = abs(a) * (UNIT if a.primitive.name in EXACT else 4 * UNIT)
        for b in a.uses():
            if b.primitive is None and b not in bounds:
                bounds[b] = abs(b) * UNIT
        carried = [(i, bounds[b]) for i, b in enumerate(a.inputs) if isinstance(b, Name) and b in bounds]
        slopes = a.primitive.vjp(1.0, a, *a.inputs, **a.params) if carried else ()
        for i, bound in carried:
            own = own + (bound if type(slopes[i]) is float else abs(slopes[i]) * bound)
        bounds[a] = own
    return bounds


def _numbers(tape: Tape, a: Name, inputs: Sequence[Any]) -> Any:
    """What a statement makes of arrays of numbers, each of them a Name."""
    assert a.primitive is not None
    of, params = a.primitive.name, dict(a.params)

    def each(*numbers: Any) -> Any:
        if any(isinstance(number, Name) for number in numbers):
            return tape.write(a.primitive, numbers, params)  # type: ignore[arg-type]
        return apply(a.primitive.forward, numbers, params)  # type: ignore[union-attr]

    if of in RIGHT:
        found = np.frompyfunc(each, len(inputs), 1)(*inputs)
    elif of in ("max", "min"):
        larger: Any = np.frompyfunc(np.maximum if of == "max" else np.minimum, 2, 1)
        over = axes(inputs[0].ndim, params["axis"])
        found = larger.reduce(inputs[0], axis=over, keepdims=params["keepdims"]) if over else inputs[0]
    elif of == "mean":
        found = inputs[0].sum(**params) / (inputs[0].size // max(1, math.prod(a.shape)))
    elif of == "astype":
        found = inputs[0]
    else:
        found = a.primitive.forward(*[np.asarray(b, dtype=object) for b in inputs], **params)
    array = np.empty(a.shape, dtype=object)
    array[... if a.shape else ()] = found
    return array


def _text(a: Any, texts: dict[Name, str]) -> str:
    if isinstance(a, Name):
        return texts[a]
    if isinstance(a, (bool, np.bool_)):
        return "true" if a else "false"
    number = repr(float(a)).replace("inf", "Infinity").replace("nan", "NaN")
    number = number[:-2] if number.endswith(".0") else number
    return f"({number})" if number.startswith("-") else number


def _right(a: Name, texts: dict[Name, str]) -> str:
    assert a.primitive is not None
    return RIGHT[a.primitive.name].format(*[_text(b, texts) for b in operands(a)])
