"""Shapes and axes: what broadcasting and reductions do to a gradient, for arrays, Tensors and bare numbers alike."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None


def shape(a: Any) -> Shape:
    """The shape of an array, a Tensor or a bare number; ``np.shape`` would pull a remote array here to find out."""
    sizes: Shape = getattr(a, "shape", ())
    return sizes


def array(a: Any) -> Any:
    """``a`` itself, if it has a shape; a bare number as an array without axes."""
    return a if hasattr(a, "shape") else np.asarray(a)


def subscript(index: tuple[int, ...]) -> str:
    """Where a number stands in an array, as its name says it: x[0,1]; nothing, for a single number."""
    return f"[{','.join(map(str, index))}]" if index else ""


@lru_cache
def axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """``axis`` as a tuple of non-negative ints: None is all of them, negative ones count from the end.

    Raises NumPy's AxisError, which is a ValueError, for one that is not there.
    """
    if axis is None:
        return tuple(range(ndim))
    given = (axis,) if isinstance(axis, (int, np.integer)) else axis
    for i in given:
        if not -ndim <= i < ndim:
            raise np.exceptions.AxisError(i, ndim)
    return tuple([i % ndim for i in given])


def count(a: Any, axis: Axis) -> int:
    """How many numbers a reduction over ``axis`` brings together: the derivation's m."""
    return _count(shape(a), axis)


@lru_cache
def _count(sizes: Shape, axis: Axis) -> int:
    return math.prod([sizes[i] for i in axes(len(sizes), axis)])


def total(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum of ``a`` over ``axis``. float16 is added up in float32: from 2048 on, its own sums of ones would stand still."""
    if type(a) is np.ndarray and a.dtype.char in "fde":
        add: Any = np.add.reduce  # what a.sum() calls in the end, in half the time
        if a.dtype.char == "e":
            return add(a, axis, np.float32, None, keepdims).astype(a.dtype)
        return add(a, axis, None, None, keepdims)
    return array(a).sum(axis=axis, keepdims=keepdims)


def expanded(g: Any, a: Any, axis: Axis) -> Any:
    """A reduction of ``a`` over ``axis``, or its gradient, with the reduced axes as size 1 where they were dropped."""
    sizes = shape(a)
    if len(shape(g)) == len(sizes):
        return g
    reduced = axes(len(sizes), axis)
    return np.reshape(g, [1 if i in reduced else n for i, n in enumerate(sizes)])


def spread(g: Any, a: Any, axis: Axis) -> Any:
    """The gradient ``g`` of a reduction of ``a``, seen by every element that went into it: a view, not a copy."""
    return broadcast_to(expanded(g, a, axis), shape(a))


def broadcast_to(a: Any, to: Shape) -> Any:
    """``a`` repeated to the shape ``to``; itself, where it has that."""
    return a if shape(a) == to else np.broadcast_to(a, to)


def unbroadcast(g: Any, to: Shape) -> Any:
    """Sum ``g`` over the axes along which a value of shape ``to`` was repeated: each copy's gradient is its own."""
    sizes = shape(g)
    if sizes == to:
        return g
    repeated, keepdims = _repeated(sizes, to)
    summed = total(g, repeated, keepdims)
    return summed if keepdims or shape(summed) == to else np.reshape(summed, to)


def broadcasts(small: Shape, large: Shape) -> bool:
    """Whether a value of shape ``small`` can be repeated to shape ``large``."""
    if len(small) > len(large):
        return False
    last = large[len(large) - len(small) :]
    return small == last or all(a in (1, b) for a, b in zip(small, last))


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The shape of what ``a`` and ``b`` are repeated to: np.broadcast_shapes, for sizes that may be symbols.

    Raises ValueError where they do not fit each other.
    """
    n = max(len(a), len(b))
    pairs = list(zip((1,) * (n - len(a)) + tuple(a), (1,) * (n - len(b)) + tuple(b)))
    if not all(i == j or 1 in (i, j) for i, j in pairs):
        raise ValueError(f"shapes {a} and {b} do not broadcast to one")
    return tuple([j if i == 1 else i for i, j in pairs])


@lru_cache
def _repeated(sizes: Shape, to: Shape) -> tuple[tuple[int, ...], bool]:
    """The axes to sum over, and whether they stay as size 1: they do if broadcasting added none in front."""
    extra = len(sizes) - len(to)
    return tuple([i for i, n in enumerate(sizes) if i < extra or (to[i - extra] == 1 and n != 1)]), not extra
