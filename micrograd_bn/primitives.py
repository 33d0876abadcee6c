"""The primitives: each operation's symbol, its forward and its vector-Jacobian product, an entry each.

A VJP takes ``g`` (the gradient of the loss with respect to the result ``y``), ``y`` and the inputs, and returns a
gradient for each input. Values go by position, parameters (an axis, an exponent) by keyword.

Nothing here looks inside a number. Forwards and VJPs use only operators, integers and NumPy functions that dispatch, so
the same line serves floats, arrays of any kind of number (Decimal, SymPy, Dask …) and ``Tensor``s; on ``Tensor``s a VJP is
itself recorded, and can be differentiated again. Where an input was broadcast, its gradient here still has the shape of
the result: the engine undoes that for all of them (``shapes.unbroadcast``); sub and div do so themselves, before they change
the sign of a whole batch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from .kinds import Value, is_tensor
from .shapes import Shape, count, shape, spread, unbroadcast


class Primitive(NamedTuple):
    """An operation that the engine can differentiate. Call it on plain data to compute, on a Tensor to record."""

    name: str
    symbol: str
    forward: Callable[..., Any]
    vjp: Callable[..., tuple[Any, ...]]
    params: tuple[tuple[str, Any], ...] = ()

    def bind(self, **params: Any) -> Primitive:
        """The same primitive with its parameters fixed: a function of values alone."""
        if "index" in params:  # not looked up: (False, True) equals (0, 1) and picks something else
            return _bound.__wrapped__(self, **params)
        try:
            return _bound(self, **params)
        except TypeError:  # a list, which no cache can look up
            return _bound.__wrapped__(self, **params)

    def __call__(self, *inputs: Value, **params: Any) -> Value:
        primitive = self.bind(**params) if params else self
        for value in inputs:
            if is_tensor(value):
                return value.record(primitive, inputs)
        return primitive.forward(*inputs)


@lru_cache(maxsize=256, typed=True)
def _bound(primitive: Primitive, **params: Any) -> Primitive:
    forward, vjp = partial(primitive.forward, **params), partial(primitive.vjp, **params)
    return Primitive(primitive.name, primitive.symbol, forward, vjp, tuple(params.items()))


# ---- The table

# fmt: off
add = Primitive("add", "+",
                operator.add,
                lambda g, y, a, b: (g, g))

sub = Primitive("sub", "−",
                operator.sub,
                lambda g, y, a, b: (g, -unbroadcast(g, shape(b))))

mul = Primitive("mul", "×",
                operator.mul,
                lambda g, y, a, b: (g * b, g * a))

div = Primitive("div", "÷",
                operator.truediv,
                lambda g, y, a, b: (da := g / b, -unbroadcast(da * y, shape(b))))

neg = Primitive("neg", "−",
                operator.neg,
                lambda g, y, a: (-g,))


def _pow_vjp(g: Value, y: Value, a: Value, exponent: Value) -> tuple[Value]:
    # 0 and 1 on their own: a ** -1 fails at 0, and Decimal has no 0 ** 0. 2 on its own: a product is faster than a power.
    if exponent == 0:
        return (g * 0,)
    if exponent == 1:
        return (g,)
    if exponent == 2:
        da = g * a
        da *= 2
        return (da,)
    return (g * (exponent * a ** (exponent - 1)),)


def _pow(a: Value, exponent: Value) -> Value:
    y = a ** exponent
    return np.float64(a) ** exponent if type(y) is complex else y  # Python leaves the real numbers; NumPy says NaN


pow = Primitive("pow", "^",
                _pow,
                _pow_vjp)


def _sqrt(a: Value) -> Value:
    try:
        return np.sqrt(a)
    except (TypeError, AttributeError):  # a number without a sqrt of its own: a SymPy expression, a Fraction
        return a ** Fraction(1, 2)


sqrt = Primitive("sqrt", "√",
                 _sqrt,
                 lambda g, y, a: (g / (2 * y),))

exp = Primitive("exp", "exp",
                lambda a: np.exp(a),
                lambda g, y, a: (g * y,))

log = Primitive("log", "log",
                lambda a: np.log(a),
                lambda g, y, a: (g / a,))

tanh = Primitive("tanh", "tanh",
                 lambda a: np.tanh(a),
                 lambda g, y, a: (g * (1 - y * y),))


def _relu(a: Value) -> Value:
    if not hasattr(a, "shape"):
        return max(a, type(a)(0))
    # Among objects, NumPy's maximum leaves an integer 0, which has no exp() and no sqrt() for what follows.
    return a * (a > 0) if a.dtype == object else np.maximum(a, 0)


relu = Primitive("relu", "relu",
                 _relu,
                 lambda g, y, a: (g * (y > 0),))


def _reduced(a: Value) -> Value:
    """What has the methods sum and mean, which are faster than NumPy's functions of these names: a bare number has not."""
    return a if hasattr(a, "sum") else np.asarray(a)


sum = Primitive("sum", "Σ",
                lambda a, axis, keepdims: _reduced(a).sum(axis=axis, keepdims=keepdims),
                lambda g, y, a, axis, keepdims: (spread(g, a, axis),))

mean = Primitive("mean", "mean",
                 lambda a, axis, keepdims: _reduced(a).mean(axis=axis, keepdims=keepdims),
                 lambda g, y, a, axis, keepdims: (spread(g / count(a, axis), a, axis),))

reshape = Primitive("reshape", "reshape",
                    lambda a, to: np.reshape(a, to),
                    lambda g, y, a, to: (np.reshape(g, shape(a)),))

transpose = Primitive("transpose", "transpose",
                      lambda a, axes: np.transpose(a, axes),
                      lambda g, y, a, axes: (np.transpose(g, np.argsort([i % len(axes) for i in axes]).tolist()),))

broadcast = Primitive("broadcast", "broadcast",
                      lambda a, to: np.broadcast_to(a, to),
                      lambda g, y, a, to: (g,))


def _swap(a: Value) -> Value:
    """The transpose of the last two axes."""
    n = len(a.shape)
    return np.transpose(a, (*range(n - 2), n - 1, n - 2))


def _matmul_vjp(g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    # As in NumPy, a vector is a row on the left and a column on the right.
    row, column = len(a.shape) == 1, len(b.shape) == 1
    left = np.reshape(a, (1, -1)) if row else a
    right = np.reshape(b, (-1, 1)) if column else b
    batch = shape(y)[: len(shape(y)) - (not row) - (not column)]
    g = np.reshape(g, (*batch, left.shape[-2], right.shape[-1]))
    da, db = g @ _swap(right), _swap(left) @ g
    return (np.reshape(da, (*da.shape[:-2], da.shape[-1])) if row else da, np.reshape(db, db.shape[:-1]) if column else db)


matmul = Primitive("matmul", "@",
                   operator.matmul,
                   _matmul_vjp)


def _scatter(a: Value, index: Any, to: Shape) -> Value:
    out = np.zeros(to, dtype=np.asarray(a).dtype)
    np.add.at(out, index, a)  # adds, so an element picked twice gets both gradients
    return out


scatter = Primitive("scatter", "scatter",
                    _scatter,
                    lambda g, y, a, index, to: (g[index],))

getitem = Primitive("getitem", "[ ]",
                    lambda a, index: a[index],
                    lambda g, y, a, index: (scatter(g, index=index, to=a.shape),))
# fmt: on
