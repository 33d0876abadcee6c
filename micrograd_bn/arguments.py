"""What batch normalisation is given: arguments that fit each other, or an error that says what does not."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .engine import Tensor
from .kinds import Value, as_data
from .shapes import Axis, Shape, axes, broadcasts, shape


def checked(x: Value, gamma: Value, beta: Value, eps: Value, axis: Axis) -> tuple[Value, Value, Value]:
    """x, gamma and beta as Tensors or arrays that fit each other, or an error that says what does not fit."""
    x, gamma, beta = [v if isinstance(v, Tensor) else as_data(v) for v in (x, gamma, beta)]
    for i in axis if isinstance(axis, tuple) else (axis,):
        if isinstance(i, bool) or not hasattr(i, "__index__"):
            raise TypeError(f"axis is an integer or a tuple of them, and this is {axis!r}")
    _check_shapes(shape(x), shape(gamma), shape(beta), axis)
    _check_eps(eps)
    return x, gamma, beta


@lru_cache  # what fits once fits always
def _check_shapes(sizes: Shape, gamma: Shape, beta: Shape, axis: Any) -> None:
    for i in axis if isinstance(axis, tuple) else (axis,):
        if not -len(sizes) <= i < len(sizes):
            raise ValueError(f"axis {i} is out of range: x has shape {sizes}, so it has {len(sizes)} axes, counted from 0")
    reduced = axes(len(sizes), axis)
    if len(set(reduced)) != len(reduced):
        raise ValueError(f"axis {axis} names the same axis twice")
    if 0 in [sizes[i] for i in reduced]:
        raise ValueError(f"the batch is empty: x has shape {sizes}, and a mean over axis {axis} needs at least one element")
    for name, small in (("gamma", gamma), ("beta", beta)):
        if not broadcasts(small, sizes):
            raise ValueError(f"{name} of shape {small} does not broadcast to x's shape {sizes}")


def _check_eps(eps: Value) -> None:
    if not isinstance(eps, Tensor):
        as_data(eps)
    if shape(eps) != ():
        raise ValueError(f"eps is a single number, and this has shape {shape(eps)}")
    try:
        acceptable = bool(eps >= 0)  # NaN is not
    except TypeError:  # a symbol is neither
        acceptable = True
    if not acceptable:
        raise ValueError(f"eps is added to a variance under a square root: it cannot be {eps}")
