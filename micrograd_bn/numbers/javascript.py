"""A program in JavaScript, number by number: what a page computes again when a reader changes a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kinds import apply
from ..shapes import axes
from .name import Name, Tape
from .program import Program

INFIX = {
    **{"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "power": "**"},
    **{"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "===", "not_equal": "!=="},
}
FUNCTIONS = {
    **{of: of for of in ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "abs")},
    **{"maximum": "max", "minimum": "min", "relu": "max"},
}
LARGEST = 20_000  # numbers


def source(p: Program) -> str:
    """A function of the values and their upstream gradient, all as flat arrays of numbers, that returns the result and the
    gradients of the inputs, flat as well: ``[y, [dx, …]]``.

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
    numbers = sum(math.prod(a.shape) for a in (*given, *p.statements))
    if numbers > LARGEST:
        raise ValueError(
            f"{numbers:,} numbers are too many to be written out one by one, {LARGEST:,} at most: trace a smaller batch"
        )
    tape, texts, values = Tape(), {}, {}
    for a in given:
        array = values[a] = np.empty(a.shape, dtype=object)
        for i, index in enumerate(np.ndindex(a.shape)):
            name = array[index] = tape.given(0.5, "")
            texts[name] = f"{a.label}[{i}]"
    for a in p.statements:
        values[a] = _numbers(tape, a, [values[b] if isinstance(b, Name) else b for b in a.inputs])
    results = [values[a] if isinstance(a, Name) else np.asarray(a, dtype=object) for a in (p.result, *p.gradient)]
    needed, todo = set(), [a for array in results for a in np.ravel(array) if isinstance(a, Name)]
    while todo:
        a = todo.pop()
        if a not in needed:
            needed.add(a)
            todo += a.uses()
    lines: list[str] = []
    for a in tape.names:
        if a in needed:
            texts[a] = f"t{len(lines) + 1}"
            lines.append(f"  const {texts[a]} = {_right(a, texts)};")
    y, *gradients = [f"[{', '.join(_text(a, texts) for a in np.ravel(array))}]" for array in results]
    head = f"function gradients({', '.join(a.label or '' for a in given)}) {{"
    return "\n".join([head, *lines, f"  return [{y}, [{', '.join(gradients)}]];", "}"])


def _numbers(tape: Tape, a: Name, inputs: Sequence[Any]) -> Any:
    """What a statement makes of arrays of numbers, each of them a Name."""
    assert a.primitive is not None
    of, params = a.primitive.name, dict(a.params)

    def each(*numbers: Any) -> Any:
        if any(isinstance(number, Name) for number in numbers):
            return tape.write(a.primitive, numbers, params)  # type: ignore[arg-type]
        return apply(a.primitive.forward, numbers, params)  # type: ignore[union-attr]

    if of in INFIX or of in FUNCTIONS or of in ("where", "neg"):
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
    of, args = a.primitive.name, [_text(b, texts) for b in a.inputs]
    if of == "pow":
        args.append(_text(a.params["exponent"], texts))
    if of in INFIX:
        return f"{args[0]} {INFIX[of]} {args[1]}"
    if of == "where":
        return f"{args[0]} ? {args[1]} : {args[2]}"
    return f"-{args[0]}" if of == "neg" else f"Math.{FUNCTIONS[of]}({', '.join(args)})"
