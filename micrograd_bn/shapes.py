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


def axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """``axis`` as a tuple of non-negative ints: None is all of them, negative ones count from the end."""
    if isinstance(axis, (int, np.integer)):
        return (int(axis) % ndim,)
    return tuple(range(ndim)) if axis is None else tuple([i % ndim for i in axis])


def count(a: Any, axis: Axis) -> int:
    """How many numbers a reduction over ``axis`` brings together: the derivation's m."""
    sizes = shape(a)
    return sizes[axis] if isinstance(axis, int) else math.prod([sizes[i] for i in axes(len(sizes), axis)])


def spread(g: Any, a: Any, axis: Axis) -> Any:
    """The gradient ``g`` of a reduction of ``a``, seen by every element that went into it: a view, not a copy."""
    sizes = shape(a)
    if len(shape(g)) != len(sizes):  # the reduced axes were dropped: they come back with size 1
        reduced = axes(len(sizes), axis)
        g = np.reshape(g, [1 if i in reduced else n for i, n in enumerate(sizes)])
    return np.broadcast_to(g, sizes)


def unbroadcast(g: Any, to: Shape) -> Any:
    """Sum ``g`` over the axes along which a value of shape ``to`` was repeated: each copy's gradient is its own."""
    sizes = shape(g)
    if sizes == to:
        return g
    repeated, keepdims = _repeated(sizes, to)
    total = g.sum(axis=repeated, keepdims=keepdims)
    if not to:
        return float(total) if type(total) is np.float64 else total
    return total if keepdims or shape(total) == to else np.reshape(total, to)


@lru_cache
def _repeated(sizes: Shape, to: Shape) -> tuple[tuple[int, ...], bool]:
    """The axes to sum over, and whether they stay as size 1: they do if broadcasting added none in front."""
    extra = len(sizes) - len(to)
    return tuple([i for i, n in enumerate(sizes) if i < extra or (to[i - extra] == 1 and n != 1)]), not extra
