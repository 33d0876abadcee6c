"""The primitives: each operation's symbol, its forward and its vector-Jacobian product, an entry each.

A VJP takes ``g`` (the gradient of the loss with respect to the result ``y``), ``y`` and the inputs, and returns a gradient
for each input, g times ∂y/∂input; None where there is none. Values go by position, parameters (an axis, an exponent) by keyword.

Nothing here looks inside a number. Forwards and VJPs use only operators, integers and NumPy functions that dispatch, so
the same line serves floats, arrays of any kind of number (Decimal, SymPy, Dask …) and ``Tensor``s; on ``Tensor``s a VJP is
itself recorded, and can be differentiated again. Where an input was broadcast, its gradient here still has the shape of
the result: the engine undoes that for all of them (``shapes.unbroadcast``); sub and div do so themselves, before they change
the sign of a whole batch. The helpers, by what they do to shapes and kinds: ``total`` is a sum, ``spread`` gives each element that
went into a reduction its gradient, ``expanded`` puts reduced axes back, ``by_kind`` finds a function for each kind of number.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from .kinds import Value, as_constant, by_kind, is_boolean, is_tensor, one, power, zero
from .shapes import Shape, array, axes, count, expanded, shape, spread, total, unbroadcast

NONE: Mapping[str, Any] = {}  # the parameters of a primitive that takes none
PLAIN = (float, bool, int)  # no Tensors, known without asking them


@dataclass(frozen=True, slots=True, eq=False)
class Primitive:
    """An operation that the engine can differentiate. Call it on plain data to compute, on a Tensor to record."""

    name: str
    symbol: str
    forward: Callable[..., Any]
    vjp: Callable[..., tuple[Any, ...]] | None  # None: the result has no derivative

    def __call__(self, *inputs: Value, **params: Any) -> Value:
        tensor = None
        for value in inputs:
            if type(value) not in PLAIN and is_tensor(value):
                tensor = value  # whose dtype constants take: the last of them, for the first may be a condition
        if tensor is None:
            return self.forward(*inputs, **params)
        if len(inputs) > 1:
            inputs = tuple([as_constant(a, tensor.data) for a in inputs])
        return tensor.record(self, inputs, params or NONE)


# ---- The table: arithmetic

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
                lambda g, y, a, b: (da := g / b, -unbroadcast(da * y, shape(b))))  # ∂y/∂b = −a/b² = −y/b

neg = Primitive("neg", "−",
                operator.neg,
                lambda g, y, a: (-g,))


def _pow_vjp(g: Value, y: Value, a: Value, exponent: Value) -> tuple[Value]:
    if shape(exponent):  # an array of exponents: where one is 0, so is the slope, and a ** -1 would fail at 0
        return (g * (exponent * a ** np.where(exponent == 0, 0, exponent - 1)),)
    # 0 and 1 on their own for the same reason, and because Decimal has no 0 ** 0. 2: a product is faster than a power.
    if exponent == 0:
        return (where(False, g, zero(g)),)  # 0 in g's shape, even where g is infinite
    if exponent == 1:
        return (g,)
    if exponent == 2:
        return (g * a * 2,)
    return (g * (exponent * power(a, exponent - 1)),)


pow = Primitive("pow", "^",  # to a constant exponent, which is a parameter …
                lambda a, exponent: power(a, exponent),
                _pow_vjp)


def _power_vjp(g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    base = where(a == 0, one(y), a * one(y))  # of y's kind: an integer's logarithm would be a float
    da = g * b * power(where(b == 0, base, a), b - 1)  # the slope of 0 to the power of 0 is 0 · 1, not 0 · ∞
    db = where(a == 0, zero(g), g * y * log(base))  # 0 to the power of b stays 0
    return da, db


variable_power = Primitive("power", "^",  # … and to one that is a variable
                           power,
                           _power_vjp)


# ---- Functions of each number

sqrt = Primitive("sqrt", "√",
                 by_kind("sqrt"),
                 lambda g, y, a: (g / (2 * y),))

exp = Primitive("exp", "exp",
                by_kind("exp"),
                lambda g, y, a: (g * y,))

expm1 = Primitive("expm1", "expm1",
                  by_kind("expm1"),
                  lambda g, y, a: (g * (y + 1),))

log: Primitive = Primitive("log", "log",
                           by_kind("log"),
                           lambda g, y, a: (g / a,))

log1p = Primitive("log1p", "log1p",
                  by_kind("log1p"),
                  lambda g, y, a: (g / (1 + a),))

sin = Primitive("sin", "sin",
                by_kind("sin"),
                lambda g, y, a: (g * cos(a),))

cos: Primitive = Primitive("cos", "cos",
                           by_kind("cos"),
                           lambda g, y, a: (-(g * sin(a)),))

tanh = Primitive("tanh", "tanh",
                 by_kind("tanh"),
                 lambda g, y, a: (g * (1 - y * y),))


# ---- Selections: what is not selected has a gradient of 0, whatever it is; a product with 0 would make NaN of an infinity

less = Primitive("less", "<", operator.lt, None)
less_equal = Primitive("less_equal", "≤", operator.le, None)
greater = Primitive("greater", ">", operator.gt, None)
greater_equal = Primitive("greater_equal", "≥", operator.ge, None)
equal = Primitive("equal", "=", operator.eq, None)
not_equal = Primitive("not_equal", "≠", operator.ne, None)


def _where(condition: Value, a: Value, b: Value) -> Value:
    if isinstance(condition, bool) and not hasattr(a, "shape") and not hasattr(b, "shape"):
        return a if condition else b
    if not is_boolean(condition):
        raise TypeError(f"where selects by a condition of booleans, and this is {condition!r}: compare first, as in t > 0")
    selected: Any = np.where(condition, a, b)
    return selected[()]


where: Primitive = Primitive("where", "where",
                             _where,
                             lambda g, y, condition, a, b: (None, where(condition, g, zero(g)), where(condition, zero(g), g)))

def _relu(a: Value) -> Value:
    return np.maximum(a, zero(a)) if hasattr(a, "shape") else builtins.max(a, zero(a))


relu = Primitive("relu", "relu",
                 _relu,
                 lambda g, y, a: (where(a <= 0, zero(g), g),))

abs = Primitive("abs", "abs",
                operator.abs,
                lambda g, y, a: (where(a < 0, -g, where(a == 0, zero(g), g)),))


def _larger_vjp(g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    half = where(a == b, g / 2, g)  # equals share the gradient
    return where(a < b, zero(g), half), where(b < a, zero(g), half)


maximum = Primitive("maximum", "max",
                    lambda a, b: np.maximum(a, b),
                    _larger_vjp)

minimum = Primitive("minimum", "min",
                    lambda a, b: np.minimum(a, b),
                    lambda g, y, a, b: _larger_vjp(g, y, b, a))

stop_gradient = Primitive("stop_gradient", "const",  # for the chain rule a constant, though it is computed
                          lambda a: a,
                          None)


# ---- Reductions, and what goes along an axis

sum = Primitive("sum", "Σ",
                total,
                lambda g, y, a, axis, keepdims: (spread(g, a, axis),))


def shared(g: Value, a: Value, axis: Any) -> Value:
    """g / m, where a mean of ``a`` over ``axis`` is of m numbers. float16 goes through float32, for m may be beyond its range."""
    m = count(a, axis)
    if getattr(g, "dtype", None) == np.float16 and m > 2048:
        return astype(astype(g, dtype=np.float32) / m, dtype=np.float16)
    return g / m


def _mean(a: Value, axis: Any, keepdims: bool) -> Value:
    if type(a) is np.ndarray and a.dtype.char in "fd" and a.size:
        return total(a, axis, keepdims) / count(a, axis)
    return array(a).mean(axis=axis, keepdims=keepdims)


mean = Primitive("mean", "mean",
                 _mean,
                 lambda g, y, a, axis, keepdims: (spread(shared(g, a, axis), a, axis),))


def _extremum_vjp(g: Value, a: Value, loses: Value, axis: Any) -> tuple[Value]:
    """Those that do not lose share the gradient; where there is a NaN, nobody loses."""
    winners = total(where(loses, zero(a), one(a)), axis, True)
    share = spread(expanded(g, a, axis) / winners, a, axis)
    return (where(loses, zero(share), share),)


max = Primitive("max", "max",
                lambda a, axis, keepdims: np.max(array(a), axis=axis, keepdims=keepdims),
                lambda g, y, a, axis, keepdims: _extremum_vjp(g, a, a < expanded(y, a, axis), axis))

min = Primitive("min", "min",
                lambda a, axis, keepdims: np.min(array(a), axis=axis, keepdims=keepdims),
                lambda g, y, a, axis, keepdims: _extremum_vjp(g, a, a > expanded(y, a, axis), axis))


def _flip(a: Value, axis: int) -> Value:
    return a[(*[slice(None)] * axis, slice(None, None, -1))]


def _cumsum(a: Value, axis: int) -> Value:
    if a.dtype == np.float16:  # as in ``total``
        return np.cumsum(a, axis, np.float32).astype(np.float16)
    return np.cumsum(a, axis)


cumsum: Primitive = Primitive("cumsum", "cumsum",
                              _cumsum,
                              # An element is in all sums from its own place on, so its gradient is the sum from the end.
                              lambda g, y, a, axis: (_flip(cumsum(_flip(g, axis), axis=axis), axis),))


def _before(a: Value) -> Value:
    """For each element along axis 0, the product of those before it, in log₂ n steps: no division, so a 0 is as good as any."""
    n, ones = shape(a)[0], np.ones(shape(a), getattr(a, "dtype", float))
    product, step = concatenate(ones[:1], a[:-1], axis=0), 1
    while step < n:
        product, step = product * concatenate(ones[:step], product[:-step], axis=0), 2 * step
    return product


def _prod_vjp(g: Value, y: Value, a: Value, axis: Any, keepdims: bool) -> tuple[Value]:
    sizes = shape(a)
    reduced = axes(len(sizes), axis)
    order = (*reduced, *[i for i in range(len(sizes)) if i not in reduced])
    moved = np.transpose(a, order)
    row = np.reshape(moved, (count(a, axis), *[sizes[i] for i in order[len(reduced):]]))
    others = _before(row) * _before(row[::-1])[::-1]
    return (spread(g, a, axis) * np.transpose(np.reshape(others, shape(moved)), np.argsort(order).tolist()),)


prod = Primitive("prod", "Π",
                 lambda a, axis, keepdims: np.prod(a, axis=axis, keepdims=keepdims),
                 _prod_vjp)


# ---- Shapes and types

astype: Primitive = Primitive("astype", "astype",
                              lambda a, dtype: np.asarray(a, dtype)[()] if not hasattr(a, "astype") else a.astype(dtype),
                              lambda g, y, a, dtype: (astype(g, dtype=getattr(a, "dtype", np.dtype(float))),))

reshape = Primitive("reshape", "reshape",
                    lambda a, to: np.reshape(a, to),
                    lambda g, y, a, to: (np.reshape(g, shape(a)),))

transpose = Primitive("transpose", "transpose",
                      lambda a, axes: np.transpose(a, axes),
                      # The order of an order is its inverse.
                      lambda g, y, a, axes: (np.transpose(g, np.argsort([i % len(axes) for i in axes]).tolist()),))

broadcast = Primitive("broadcast", "broadcast",
                      lambda a, to: np.broadcast_to(a, to),
                      lambda g, y, a, to: (g,))


def _concatenate_vjp(g: Value, y: Value, *arrays: Value, axis: int) -> tuple[Value, ...]:
    ends = np.cumsum([shape(a)[axis] for a in arrays]).tolist()
    before = [slice(None)] * axis
    return tuple([g[(*before, slice(end - shape(a)[axis], end))] for a, end in zip(arrays, ends)])


concatenate: Primitive = Primitive("concatenate", "concat",
                                   lambda *arrays, axis: np.concatenate(arrays, axis=axis),
                                   _concatenate_vjp)


# ---- Products

def _swap(a: Value) -> Value:
    """The transpose of the last two axes."""
    n = len(a.shape)
    return np.transpose(a, (*range(n - 2), n - 1, n - 2))


def _matmul_vjp(g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    # As in NumPy, a vector is a row on the left and a column on the right.
    row, column = len(a.shape) == 1, len(b.shape) == 1
    left = np.reshape(a, (1, *a.shape)) if row else a
    right = np.reshape(b, (*b.shape, 1)) if column else b
    batch = shape(y)[: len(shape(y)) - (not row) - (not column)]
    g = np.reshape(g, (*batch, left.shape[-2], right.shape[-1]))
    da, db = g @ _swap(right), _swap(left) @ g
    return (np.reshape(da, (*da.shape[:-2], da.shape[-1])) if row else da, np.reshape(db, db.shape[:-1]) if column else db)


matmul = Primitive("matmul", "@",
                   operator.matmul,
                   _matmul_vjp)


def _einsum_vjp(g: Value, y: Value, *arrays: Value, subscripts: str) -> tuple[Value, ...]:
    """For each operand the einsum of g with the others. An index that the operand alone has is repeated, by ones; one that it has
    twice goes along its diagonal, by an identity matrix."""
    given, result = subscripts.split("->")
    operands = given.split(",")
    terms = []
    for i, (own, a) in enumerate(zip(operands, arrays)):
        others = [(s, b) for j, (s, b) in enumerate(zip(operands, arrays)) if j != i]
        whole, to = [(result, g), *others], ""
        for letter, n in zip(own, shape(a)):
            if letter in to:
                fresh = next(c for c in LETTERS if c not in subscripts + to)
                others.append((letter + fresh, np.eye(n, dtype=getattr(a, "dtype", float))))
                letter = fresh
            elif not any(letter in s and shape(b)[s.index(letter)] == n for s, b in whole):
                others.append((letter, np.ones(n, getattr(a, "dtype", float))))
            to += letter
        terms.append(einsum(g, *[b for _, b in others], subscripts=f"{','.join([result, *[s for s, _ in others]])}->{to}"))
    return tuple(terms)


def _einsum(*arrays: Value, subscripts: str) -> Value:
    if all(getattr(a, "dtype", None) == np.float16 for a in arrays):  # as in ``total``
        return np.einsum(subscripts, *arrays, dtype=np.float32).astype(np.float16)
    return np.einsum(subscripts, *arrays)


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
einsum: Primitive = Primitive("einsum", "einsum",
                              _einsum,
                              _einsum_vjp)


# ---- Elements

def _scatter(a: Value, index: Any, to: Shape) -> Value:
    if is_tensor(a):  # what records operations records this as one, for it cannot be added into an array
        return scatter(a, index=index, to=to)
    if hasattr(a, "scatter"):
        return a.scatter(index, to)
    if hasattr(a, "__array_function__") and not isinstance(a, np.ndarray):
        return _scatter_by_axis(a, index, to)
    dtype = array(a).dtype
    out = np.zeros(to, np.float32 if dtype == np.float16 else dtype)  # as in ``total``
    np.add.at(out, index, a)  # adds, so an element picked twice gets both gradients
    return out.astype(dtype, copy=False)[()]


def _scatter_by_axis(a: Value, index: Any, to: Shape) -> Value:
    """The same for arrays that live elsewhere, by functions that dispatch: along each axis a place takes its element, or 0."""
    index = [i for i in (index if isinstance(index, tuple) else (index,)) if i is not None]
    if not all(isinstance(i, (slice, int, np.integer, EllipsisType)) for i in index):
        raise TypeError(f"a fancy index has no derivative on {type(a).__name__}s: take slices, or multiply by a matrix of 0 and 1")
    if ... in index:
        at = index.index(...)
        index[at : at + 1] = [slice(None)] * (len(to) - len(index) + 1)
    index += [slice(None)] * len(to)
    picked = [np.atleast_1d(np.arange(n)[i]) for i, n in zip(index, to)]
    a = np.reshape(a, tuple([p.size for p in picked]))  # integers and None took and added axes
    for axis, (p, n) in enumerate(zip(picked, to)):
        if np.array_equal(p, np.arange(n)):
            continue
        if not p.size:
            return np.broadcast_to(total(a), to)  # 0
        source, there = np.zeros(n, int), np.zeros(n, bool)
        source[p], there[p] = np.arange(p.size), True
        there = there.reshape([n if i == axis else 1 for i in range(len(to))])
        a = np.where(there, np.take(a, source, axis=axis), zero(a))
    return a


scatter: Primitive = Primitive("scatter", "scatter",
                               _scatter,
                               lambda g, y, a, index, to: (g[index],))

getitem = Primitive("getitem", "[ ]",
                    lambda a, index: array(a)[index],
                    lambda g, y, a, index: (scatter(g, index=index, to=shape(a)),))
# fmt: on
