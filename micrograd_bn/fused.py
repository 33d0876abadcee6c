"""Batch normalisation as one primitive: the closed form, with statistics in float64.

Both passes are (x − high) slope + shift + dy scale, where only the backward pass has a dy; the four numbers of a column follow from
two sums over it. The mean is mu = high + low, so that a float32 batch far from 0 loses nothing that it still has. With the extra
``fast``, ``loops`` do it, compiled by Numba: a stream for the sums and one for the result. Without, NumPy does.
"""

from __future__ import annotations

from functools import cache, lru_cache, partial
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from .arguments import checked
from .batchnorm import batch_norm, normalized
from .derivations.batch_norm import d_x_condensed
from .engine import Tensor, data_of
from .kinds import Array, Value
from .numbers.compile import folder
from .numbers.threads import shared
from .primitives import Primitive
from .shapes import Axis, Shape, axes, broadcasts, shape

LARGE = 1 << 16  # numbers in a batch that is worth waking other threads for
TILE = 1 << 15, 128  # numbers and rows that a tile has at least


def fused_batch_norm(x: Value, gamma: Value, beta: Value, eps: Value = 1e-5, axis: int | tuple[int, ...] = 0) -> Value:
    """``batch_norm`` for speed: the same arguments, result, gradients of every order and errors, as one node in the graph.

    It is for float32 and float64 arrays with a gamma and beta for each statistic or for all; anything else takes the composed
    formulas. The extra ``fast`` (Numba) compiles it, for contiguous arrays where the axes that have statistics of their own lie
    side by side: with axis 0, (0, 2, 3) or −1. That takes two seconds when a dtype is first met, and is kept in the user's cache.
    Large batches are worked on by ``numbers.threads.THREADS`` threads; the result does not depend on how many they are.

    >>> fused_batch_norm(np.array([[1.0], [3.0]]), gamma=2.0, beta=1.0, eps=0.0)
    array([[-1.],
           [ 3.]])
    """
    x, gamma, beta = checked(x, gamma, beta, eps, axis)
    if not _fits(eps, axis, *map(data_of, (x, gamma, beta))):
        return batch_norm(x, gamma, beta, eps, axis)
    y = fused(x, gamma, beta, eps=eps, axis=axis, found={})  # what the forward pass leaves there for the backward pass
    if isinstance(y, Tensor):
        y.label = "y"
    return y


def _fits(eps: Value, axis: Axis, x: Value, gamma: Value, beta: Value) -> bool:
    if type(x) is not np.ndarray or x.dtype.char not in "fd" or not x.dtype.isnative or not x.size:
        return False
    for v in (gamma, beta, eps):
        if type(v) not in (float, int) and not (isinstance(v, (np.ndarray, np.generic)) and v.dtype == x.dtype):
            return False
    kept, _ = _seen(x.shape, axis)
    return broadcasts(shape(gamma), kept) and broadcasts(shape(beta), kept)


@lru_cache
def _seen(sizes: Shape, axis: Axis) -> tuple[Shape, Shape]:
    """The shape of the statistics, and of x as the loops see it: n × C or n × C × L, or () where they do not."""
    over = axes(len(sizes), axis)
    own = [i for i in range(len(sizes)) if i not in over]
    first, last = (own[0], own[-1] + 1) if own else (0, 0)
    n, channels, length = prod(sizes[:first]), prod(sizes[first:last]), prod(sizes[last:])
    seen = (1, 1, n * length) if channels == 1 else (n, channels) if length == 1 else (n, channels, length)
    return tuple([1 if i in over else n for i, n in enumerate(sizes)]), seen if own == [*range(first, last)] else ()


def _forward(x: Array, gamma: Value, beta: Value, eps: Value, axis: Axis, found: dict[str, Any]) -> Array:
    v = np.empty((7, *_seen(x.shape, axis)[0]))
    v[0], v[1] = gamma, beta
    y = _pass(x, None, float(eps), axis, v)
    found.update(x=x, v=v)
    return y


def _vjp(g: Value, y: Value, x: Value, gamma: Value, beta: Value, eps: Value, axis: Axis, found: dict[str, Any]) -> Any:
    if isinstance(g, Tensor) or isinstance(x, Tensor) or isinstance(gamma, Tensor) or g.dtype != x.dtype:
        _, var, x_hat = normalized(x, eps, axis)
        return d_x_condensed(g * gamma, x, x_hat, var, eps, axis), g * x_hat, g
    if found.get("x") is not x:
        _forward(x, gamma, beta, eps, axis, found)
    v = found["v"]
    dx = _pass(x, g, float(eps), axis, v)
    return (
        dx,
        *[
            d.reshape(shape(a)) if d.size == getattr(a, "size", 1) else d  # where a is smaller, the engine adds up
            for d, a in zip(v[5:].astype(x.dtype), (gamma, beta))
        ],
    )


fused = Primitive("fused_batch_norm", "BN", _forward, _vjp)


def _pass(x: Array, dy: Array | None, eps: float, axis: Axis, v: Array) -> Array:
    """y; or dx, where there is a dy. Rows of ``v``: gamma, beta; mu's high and low part, √(var + eps); dgamma, dbeta."""
    _, seen = _seen(x.shape, axis)
    loops = _loops() if seen and x.flags.carray else None
    if loops is None:
        return _by_numpy(x, dy, eps, axis, v)
    if dy is not None:
        dy = (dy if dy.flags.carray else np.array(dy, order="C")).reshape(seen)
    out, v, x = np.empty_like(x), v.reshape(7, -1), x.reshape(seen)
    if dy is None:
        v[2] = x[0] if len(seen) == 2 else x[0, :, 0]  # k: x − k is about as large as x − mu, unless this row is an outlier
    given, parts = (x, dy, out.reshape(seen), eps, v), seen[1]
    if len(seen) == 2:
        parts = max(1, min(x.size // TILE[0], seen[0] // TILE[1]))
        run = partial(loops.columns, *given, np.empty((parts, 2, seen[1])), np.empty((4, seen[1]), x.dtype), np.zeros(5, int))
    else:
        run = partial(loops.channels, *given, np.zeros(2, int))
    if shared(run, parts if x.size >= LARGE else 1):
        np.square(np.finfo(x.dtype).max)  # loops overflow in silence, and y is beta: warn, or do what np.errstate says
    return out


def _by_numpy(x: Array, dy: Array | None, eps: float, axis: Axis, v: Array) -> Array:
    def mean(a: Array) -> Array:
        total = np.add.reduce(a, axis, np.float64, keepdims=True)
        average: Array = total / (a.size // total.size)
        return average

    gamma, beta, high, low, deviation, dgamma, dbeta = v
    if dy is None:
        mu = mean(x)
        high[...] = mu.astype(x.dtype)
        low[...] = mu - high
    out: Array = x - high.astype(x.dtype)
    if dy is None:
        deviation[...] = np.sqrt(np.maximum(mean(out * out) - low * low, 0) + eps)
        slope, shift = gamma / deviation, beta
    else:
        mean_dy, mean_dy_x_hat = mean(dy), mean(dy * out)
        mean_dy_x_hat = (mean_dy_x_hat - low * mean_dy) / deviation
        m = x.size // low.size
        dgamma[...], dbeta[...] = m * mean_dy_x_hat, m * mean_dy
        scale = gamma / deviation
        slope, shift = -scale * mean_dy_x_hat / deviation, -scale * mean_dy
    out *= slope.astype(x.dtype)
    out += (shift - slope * low).astype(x.dtype)
    if dy is not None:
        out += dy * scale.astype(x.dtype)
    return out


@cache
def _loops() -> ModuleType | None:
    try:
        import numba
    except ModuleNotFoundError:
        return None
    config: Any = numba.config
    given = config.CACHE_DIR
    config.CACHE_DIR = given or str(folder())  # Numba looks there as functions are defined
    try:
        from . import loops
    finally:
        config.CACHE_DIR = given
    return loops
