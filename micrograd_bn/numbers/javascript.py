"""A program in JavaScript, number by number: what a page computes again when a reader changes a number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dispatch import ArrayLike
from ..kinds import apply
from ..primitives import Primitive
from ..shapes import Shape, axes
from .name import Name, Tape, behind, unused
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
    gradients of the inputs, flat as well: ``[y, [dx, …]]``; with ``errors`` also, for each number of the gradients, what rounding
    may have made of it, to first order: ``[y, [dx, …], [error of dx, …]]``.

    Numbers are float64, and a sum is taken from left to right. Raises ValueError where they are too many to be written out.

    >>> from micrograd_bn import trace
    >>> print(source(trace(lambda a, b: (a * b).sum(), np.zeros(2), np.zeros(2))))
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
        raise ValueError(f"{count:,} numbers are too many to be written out one by one, {LARGEST:,} at most: take a smaller batch")
    tape, texts, values = Tape(), {}, {}
    labels = identifiers([a.label or "" for a in given], "x", RESERVED)
    for a, label in zip(given, labels):
        array = values[a] = np.empty(a.shape, dtype=object)
        for i, index in enumerate(np.ndindex(a.shape)):
            name = array[index] = tape.given(True if a.dtype == np.bool_ else 0.5, "")
            texts[name] = f"{label}[{i}]"
    for a in p.statements:
        assert a.primitive is not None
        inputs = [values[b] if isinstance(b, Name) else b for b in a.inputs]
        params = {key: _plain(value) for key, value in a.params.items()}
        values[a] = number_by_number(tape.write, a.primitive, params, a.shape, inputs)
    lists = [np.ravel(np.asarray(values[a] if isinstance(a, Name) else a, dtype=object)).tolist() for a in (p.result, *p.gradient)]
    if errors:
        bounds = _bounds(tape)
        lists += [[bounds.get(a, 0.0) if isinstance(a, Name) else 0.0 for a in numbers] for numbers in lists[1:]]
    needed = behind(itertools.chain(*lists))
    lines: list[str] = []
    free = unused("t", labels)
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
    """How large the rounding error of each number can be, as one more: what its slopes make of the errors of its inputs, and its
    own. What is given counts as rounded, too, for 0.1 is no float.

    That is a bound to first order, where ``running`` has one that holds in any case, for as many operations again: the page
    computes these while a number is dragged.
    """
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
            if slopes[i] is not None:  # as a condition has none
                own = own + (bound if type(slopes[i]) is float else abs(slopes[i]) * bound)
        bounds[a] = own
    return bounds


def _plain(value: Any) -> Any:
    """A parameter as NumPy takes it: of an index, the places."""
    return tuple(map(_plain, value)) if type(value) is tuple else value.value if isinstance(value, Name) else value


def number_by_number(
    record: Callable[..., Any], primitive: Primitive, params: Mapping[str, Any], to: Shape, inputs: Sequence[Any]
) -> Any:
    """What a primitive makes of arrays of Names, or of Tensors: an array of shape ``to`` of others, each recorded."""
    of = primitive.name

    def each(*numbers: Any, params: Mapping[str, Any] = params) -> Any:
        if any(isinstance(number, ArrayLike) for number in numbers):
            return record(primitive, numbers, params)
        return apply(primitive.forward, numbers, params)

    if of == "pow":  # to an array of exponents, a number to each
        found = np.frompyfunc(lambda a, n: each(a, params={"exponent": n}), 2, 1)(inputs[0], params["exponent"])
    elif of in RIGHT:
        found = np.frompyfunc(each, len(inputs), 1)(*inputs)
    elif of in ("max", "min"):
        larger: Any = np.frompyfunc(np.maximum if of == "max" else np.minimum, 2, 1)
        found = inputs[0]
        for axis in axes(found.ndim, params["axis"]):  # NumPy reduces objects by one at a time
            found = larger.reduce(found, axis=axis, keepdims=True)
        found = found.reshape(to)
    elif of == "mean":
        found = inputs[0].sum(**params) / (inputs[0].size // max(1, math.prod(to)))
    elif of in ("astype", "full"):
        found = inputs[0] if inputs else params["value"]
    else:
        found = primitive.forward(*[np.asarray(b, dtype=object) for b in inputs], **params)
    array = np.empty(to, dtype=object)
    array[... if to else ()] = found[()] if isinstance(found, np.ndarray) else found
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
