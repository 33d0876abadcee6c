"""NumPy's functions, and a few of PyTorch's, as primitives or compositions of primitives: differentiable to every order.

Each takes a Tensor, and is a method of it; its arguments are NumPy's. What is not a primitive is composed here of what is, so
that it needs no derivative of its own, and its graph shows how it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import primitives as P
from .kinds import Value, is_tensor, one, zero
from .primitives import abs, cos, exp, expm1, log, log1p, relu, sin, sqrt, tanh  # noqa: F401, functions of each number
from .shapes import Axis, Shape, axes, count, shape

# ---- Functions of each number, beyond those that are primitives


def square(a: Value) -> Value:
    """Each number times itself."""
    return a**2


def sigmoid(a: Value) -> Value:
    """1 / (1 + exp(−a)), for each number; exp sees only what is negative, so nothing overflows."""
    positive = a >= 0
    e = exp(P.where(positive, -a, a))
    return P.where(positive, one(e), e) / (1 + e)


def maximum(a: Value, b: Value) -> Value:
    """The larger of each two numbers; equals share the gradient."""
    return P.maximum(a, b)


def minimum(a: Value, b: Value) -> Value:
    """The smaller of each two numbers; equals share the gradient."""
    return P.minimum(a, b)


def clip(a: Value, min: Value = None, max: Value = None) -> Value:
    """Each number, or the nearest of ``min`` and ``max`` where it is beyond; None is no bound. On a bound, the gradient is a's."""
    if min is None and max is None:
        raise ValueError("clip needs a bound, min or max, and this is None and None")
    if min is not None:
        a = P.where(a < min, min, a)
    return a if max is None else P.where(a > max, max, a)


def where(condition: Value, x: Value, y: Value) -> Value:
    """x where ``condition`` (booleans, as of a comparison) is true, y elsewhere: selected, so what is not selected has gradient 0.

    Raises TypeError for a condition of other than booleans.
    """
    return P.where(condition, x, y)


# ---- Reductions; over ``axis`` (an int, a tuple, None for all), which with ``keepdims`` stays as size 1


def sum(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The sum over ``axis``, which with ``keepdims`` stays as size 1."""
    return P.sum(a, axis=axis, keepdims=keepdims)


def mean(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The mean over ``axis``, which with ``keepdims`` stays as size 1."""
    return P.mean(a, axis=axis, keepdims=keepdims)


def prod(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The product over ``axis``, with the right gradient where a factor is 0."""
    return P.prod(a, axis=axis, keepdims=keepdims)


def max(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The largest over ``axis``; equals share the gradient. Raises ValueError for an empty axis."""
    return P.max(_not_empty(a, axis, "max"), axis=axis, keepdims=keepdims)


def min(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The smallest over ``axis``; equals share the gradient. Raises ValueError for an empty axis."""
    return P.min(_not_empty(a, axis, "min"), axis=axis, keepdims=keepdims)


def _not_empty(a: Value, axis: Axis, name: str) -> Value:
    if count(a, axis) == 0:
        raise ValueError(f"{name} over axis {axis} of shape {shape(a)} is of no number at all: take an axis that is not empty")
    return a


def var(a: Value, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Value:
    """The variance over ``axis``: the mean of (a − mean)², with n − ddof for n; ddof=1 is the unbiased one."""
    squares = (a - mean(a, axis, True)) ** 2
    return mean(squares, axis, keepdims) if ddof == 0 else sum(squares, axis, keepdims) / np.maximum(count(a, axis) - ddof, 0)


def std(a: Value, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Value:
    """The standard deviation over ``axis``: the root of ``var``."""
    return sqrt(var(a, axis, ddof, keepdims))


def norm(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The Euclidean norm, √Σ a², over ``axis``; at 0 its gradient is taken as 0."""
    squares = sum(a * a, axis, keepdims)
    at_0 = squares == 0
    return P.where(at_0, zero(squares), sqrt(P.where(at_0, one(squares), squares)))


def logsumexp(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """log Σ exp(a) over ``axis``. The largest number is subtracted before and added after, so that exp cannot overflow; where that
    is infinite, the result is NaN."""
    largest = P.stop_gradient(max(a, axis, True))
    total = log(sum(exp(a - largest), axis, True)) + largest
    return total if keepdims else squeeze(total, axis)


def softmax(a: Value, axis: Axis = -1) -> Value:
    """exp(a) / Σ exp(a) over ``axis``, of a's shape: positive numbers that add up to 1."""
    e = exp(a - P.stop_gradient(max(a, axis, True)))
    return e / sum(e, axis, True)


def log_softmax(a: Value, axis: Axis = -1) -> Value:
    """The logarithm of ``softmax``, of a's shape: all its digits where that is small, and to a rounding of 1 however large a is."""
    below = a - P.stop_gradient(max(a, axis, True))
    return below - log(sum(exp(below), axis, True))


def argmax(a: Value, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the largest is, as plain integers: they have no derivative."""
    return np.argmax(a.data if is_tensor(a) else a, axis=axis, keepdims=keepdims)


def cumsum(a: Value, axis: int | None = None) -> Value:
    """The sums of the first, the first two, … numbers along ``axis``; None is of all of them in a row."""
    if axis is None:
        return P.cumsum(ravel(a), axis=0)
    return P.cumsum(a, axis=_places(a, axis)[0])


# ---- Products


def dot(a: Value, b: Value) -> Value:
    """NumPy's dot: a single number times all, vectors and matrices as by @, else the sum over a's last and b's second-last axis.

    Of what is summed over, the result has a's other axes and then b's.
    """
    a, b = _arrays((a, b))
    if not shape(a) or not shape(b):
        return P.mul(a, b)
    return P.matmul(a, b) if len(shape(b)) < 3 else tensordot(a, b, (-1, -2))


def outer(a: Value, b: Value) -> Value:
    """Each number of a times each of b, as a matrix: a row for each of a, a column for each of b."""
    a, b = _arrays((a, b))
    return P.mul(reshape(a, (-1, 1)), ravel(b))


def tensordot(a: Value, b: Value, axes: Any = 2) -> Value:
    """The sum of products over ``axes``: of a and of b, each an int or several; n stands for the last n of a, the first n of b.

    The result has a's other axes and then b's. Raises ValueError where those that are summed over differ in size.
    """
    a, b = _arrays((a, b))
    of_a, of_b = (range(-axes, 0), range(axes)) if isinstance(axes, int) else axes
    of_a, of_b = _places(a, of_a), _places(b, of_b)
    over = [shape(a)[i] for i in of_a]
    if over != [shape(b)[i] for i in of_b]:
        raise ValueError(f"tensordot: axes {of_a} of shape {shape(a)} and {of_b} of {shape(b)} are summed over, and differ in size")
    left, right = _others(a, of_a), _others(b, of_b)
    rows, columns = [shape(a)[i] for i in left], [shape(b)[i] for i in right]
    matrix = reshape(np.transpose(a, (*left, *of_a)), (math.prod(rows), math.prod(over)))
    product = P.matmul(matrix, reshape(np.transpose(b, (*of_b, *right)), (math.prod(over), math.prod(columns))))
    return reshape(product, (*rows, *columns))


def einsum(subscripts: str, *arrays: Any) -> Value:
    """Einstein's sum: "ij,jk->ik" is a product of matrices. Without "->", what stands once is kept, in the order of the alphabet.

    Raises ValueError for a result that names an index twice, or another, and for subscripts that do not fit the arrays.

    >>> a = np.arange(6.0).reshape(2, 3)
    >>> einsum("ij,kj->ik", a, a)
    array([[ 5., 14.],
           [14., 50.]])
    """
    arrays = tuple(_arrays(arrays))
    operands, arrow, result = subscripts.replace(" ", "").partition("->")
    names = operands.split(",")
    if len(names) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} is about {len(names)} arrays, and there are {len(arrays)}")
    # "..." stands for the axes that have no letter: they get those that are free.
    free = [c for c in P.LETTERS if c not in subscripts]
    beyond = [len(shape(a)) - len(name.replace("...", "")) for name, a in zip(names, arrays) if "..." in name]
    batch = "".join(free[: np.max(beyond)]) if beyond else ""
    names = [n.replace("...", batch[len(batch) - (len(shape(a)) - len(n) + 3) :]) for n, a in zip(names, arrays)]
    if any(len(name) != len(shape(a)) for name, a in zip(names, arrays)):
        raise ValueError(f"einsum: {subscripts!r} does not fit arrays of shapes {', '.join(str(shape(a)) for a in arrays)}")
    once = [c for c in sorted(set(operands) - set(".,")) if operands.count(c) == 1]
    result = result.replace("...", batch) if arrow else batch + "".join(once)
    if len(set(result)) < len(result) or not set(result) <= set("".join(names)):
        raise ValueError(f"einsum: {result!r}, the result of {subscripts!r}, names an index twice, or one that no array has")
    sizes: dict[str, int] = {}
    for letter, n in [pair for name, a in zip(names, arrays) for pair in zip(name, shape(a)) if pair[1] != 1]:
        if sizes.setdefault(letter, n) != n:
            raise ValueError(f"einsum: {letter!r} in {subscripts!r} is {sizes[letter]} and {n} in {[shape(a) for a in arrays]}")
    return P.einsum(*arrays, subscripts=f"{','.join(names)}->{result}")


# ---- Shapes


def reshape(a: Value, *shape: Any) -> Value:
    """The same numbers in another shape, given as a tuple or as several sizes; one of them may be -1."""
    return P.reshape(a, to=shape[0] if len(shape) == 1 else shape)


def ravel(a: Value) -> Value:
    """The same numbers in a row."""
    return reshape(a, -1)


def transpose(a: Value, axes: Any = None, *more: int) -> Value:
    """The axes in another order, given as a tuple or as several numbers: reversed if none is given."""
    if axes is None:
        axes = tuple(reversed(range(len(shape(a)))))
    return P.transpose(a, axes=(axes, *more) if isinstance(axes, int) else tuple(axes))


def swapaxes(a: Value, axis1: int, axis2: int) -> Value:
    """The two axes exchanged."""
    order = list(range(len(shape(a))))
    i, j = _places(a, (axis1, axis2))
    order[i], order[j] = j, i
    return transpose(a, tuple(order))


def moveaxis(a: Value, source: int | Sequence[int], destination: int | Sequence[int]) -> Value:
    """The axes ``source`` at the places ``destination``, the others in their order."""
    come, go = _places(a, source), _places(a, destination)
    order = _others(a, come)
    for place, axis in sorted(zip(go, come)):
        order.insert(place, axis)
    return transpose(a, tuple(order))


def expand_dims(a: Value, axis: int | tuple[int, ...]) -> Value:
    """New axes of size 1, at these places of the result."""
    return reshape(a, np.expand_dims(np.broadcast_to(0, shape(a)), axis).shape)


def squeeze(a: Value, axis: Axis = None) -> Value:
    """Without the axes of size 1, or without those of them that are named."""
    return reshape(a, np.squeeze(np.broadcast_to(0, shape(a)), axis).shape)


def broadcast_to(array: Value, shape: Shape) -> Value:
    """Repeated to this shape, by NumPy's rules."""
    return P.broadcast(array, to=shape)


def repeat(a: Value, repeats: Any, axis: int | None = None) -> Value:
    """Each element so many times, along ``axis``; None is of all of them in a row.

    ``repeats`` is a number, or one for each place along the axis, which becomes as long as their sum.
    """
    if axis is None:
        a, axis = ravel(a), 0
    (axis,) = _places(a, axis)
    return a[(*[slice(None)] * axis, np.repeat(np.arange(shape(a)[axis]), repeats))]


def concatenate(arrays: Sequence[Value], axis: int | None = 0) -> Value:
    """The arrays one after the other along ``axis``; None is all their numbers in a row. ValueError if the shapes do not fit."""
    arrays = _arrays(arrays)
    arrays = [ravel(a) for a in arrays] if axis is None else arrays
    shapes = [shape(a) for a in arrays]
    (axis,) = axes(len(shapes[0]) if shapes else 0, axis or 0)
    if len({(len(s), *s[:axis], *s[axis + 1 :]) for s in shapes}) > 1:
        raise ValueError(f"concatenate along axis {axis} joins arrays that differ in nothing else, and these have shapes {shapes}")
    return P.concatenate(*arrays, axis=axis)


def stack(arrays: Sequence[Value], axis: int = 0) -> Value:
    """The arrays side by side along a new axis, at this place of the result. ValueError if the shapes differ."""
    arrays = _arrays(arrays)
    shapes = [shape(a) for a in arrays]
    if len(set(shapes)) != 1:
        raise ValueError(f"stack takes arrays of one shape, and these have shapes {shapes}")
    return concatenate([expand_dims(a, axis) for a in arrays], axis)


def astype(a: Value, dtype: DTypeLike) -> Value:
    """The same numbers as floats of another precision. Raises TypeError for what is no float: integers have no derivative."""
    if np.dtype(dtype).kind != "f":
        raise TypeError(f"a Tensor's numbers are floats, others have no derivative, and this is {np.dtype(dtype)}: use .data")
    return P.astype(a, dtype=np.dtype(dtype))


# ---- What they share


def _places(a: Value, axis: int | Iterable[int]) -> tuple[int, ...]:
    """The axes of ``a`` that are meant, counted from the start."""
    return axes(len(shape(a)), tuple(axis) if isinstance(axis, Iterable) else axis)


def _others(a: Value, places: Collection[int]) -> list[int]:
    return [i for i in range(len(shape(a))) if i not in places]


def _arrays(values: Iterable[Value]) -> list[Value]:
    return [np.asarray(a) if isinstance(a, (list, tuple)) else a for a in values]
