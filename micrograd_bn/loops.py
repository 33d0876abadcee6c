"""The closed form of ``fused`` as loops that Numba compiles: a forward pass where dy is None, and a backward pass where it is not.

Several threads may run a pass with the same arguments. Each takes the next tile of rows, or the next channel, until none is left,
and waits for tiles that others have begun; not for a thread that has yet to begin. A tile's sums have a place of their own and are
folded in the tiles' order, whoever took them: the result does not depend on the threads.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

loop: Any = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
in_any_order: Any = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "reassoc"})


def _fetch_add(typing, array, i, number):
    """array[i], before ``number`` is added to it: in one step, as threads see it."""

    def code(context, builder, signature, args):
        data = make_array(signature.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), args[2], "seq_cst")

    return types.int64(array, types.int64, types.int64), code


fetch_add: Any = intrinsic(_fetch_add)


@loop
def wait(turns, i, tiles):
    while fetch_add(turns, i, 0) < tiles:
        pass


@loop
def centered(a, k):
    """a − k in float64: a function of its own, so that ``in_any_order`` does not add up a before it subtracts k."""
    return np.float64(a) - k


@loop
def affine(x, dy, s, q, k, m, eps, v, c):
    """high, slope, shift and scale of the pass's result, (x − high) slope + shift + dy scale, from s and q; column c of ``v``.

    The mean may have more digits than x's dtype, so that it is subtracted in two parts: mu = high + low.
    """
    number = x.dtype.type
    if dy is None:  # s = Σ (x − k), q = Σ (x − k)²
        high = number(k + s / m)
        v[2, c], v[3, c], v[4, c] = high, (k - high) + s / m, np.sqrt(max(q / m - (s / m) ** 2, 0.0) + eps)
        slope, shift = v[0, c] / v[4, c], v[1, c]
    else:  # s = Σ dy, q = Σ dy (x − high)/√(var + eps)
        v[5, c], v[6, c] = q - v[3, c] * s / v[4, c], s
        slope, shift = -v[0, c] * v[5, c] / (m * v[4, c] * v[4, c]), -v[0, c] * s / (m * v[4, c])
    return number(v[2, c]), number(slope), number(shift - slope * v[3, c]), number(v[0, c] / v[4, c])


@loop
def add_squares(x, k, r, rows, s, q):
    """Adds Σ (x − k) and Σ (x − k)² to s and q. With eight rows at a time these are read and written more seldom."""
    for c in range(x.shape[1]):
        s_rows = q_rows = 0.0
        for i in range(r, r + rows):
            d = centered(x[i, c], k[c])
            s_rows += d
            q_rows += d * d
        s[c] += s_rows
        q[c] += q_rows


@loop
def add_products(x, dy, first, last, v, s, q):
    """Adds Σ dy and Σ dy (x − high)/√(var + eps) to s and q; 32 rows in x's own dtype, for here nothing cancels."""
    high, inverse = v[2].astype(x.dtype), (1 / v[4]).astype(x.dtype)
    s_rows, q_rows = np.zeros((2, x.shape[1]), x.dtype)
    for r in range(first, last, 32):
        for i in range(r, min(r + 32, last)):
            for c in range(x.shape[1]):
                s_rows[c] += dy[i, c]
                q_rows[c] += dy[i, c] * ((x[i, c] - high[c]) * inverse[c])
        for c in range(x.shape[1]):
            s[c] += s_rows[c]
            q[c] += q_rows[c]
            s_rows[c] = q_rows[c] = 0


@loop
def columns(x, dy, out, eps, v, sums, coefficients, turns):
    """A statistic for each column: x is n × C. True where one is infinite."""
    (n, width), tiles = x.shape, sums.shape[0]
    t = fetch_add(turns, 0, 1)
    while t < tiles:
        first, last = t * n // tiles, (t + 1) * n // tiles
        sums[t] = 0.0
        if dy is None:
            for r in range(first, last - 7, 8):
                add_squares(x, v[2], r, 8, sums[t, 0], sums[t, 1])
            for r in range(last - (last - first) % 8, last):
                add_squares(x, v[2], r, 1, sums[t, 0], sums[t, 1])
        else:
            add_products(x, dy, first, last, v, sums[t, 0], sums[t, 1])
        if fetch_add(turns, 1, 1) == tiles - 1:  # the last one: all sums are there, and nobody reads v any more
            for i in range(1, tiles):
                sums[0] += sums[i]
            high, slope, shift, scale = coefficients
            for c in range(width):
                high[c], slope[c], shift[c], scale[c] = affine(x, dy, sums[0, 0, c], sums[0, 1, c], v[2, c], n, eps, v, c)
            fetch_add(turns, 2, 1)
        t = fetch_add(turns, 0, 1)
    wait(turns, 2, 1)
    high, slope, shift, scale = coefficients.copy()  # memory that the compiler sees is not out's
    t = tiles - 1 - fetch_add(turns, 3, 1)  # backwards: what was read last is still in the cache
    while t >= 0:
        for r in range(t * n // tiles, (t + 1) * n // tiles):
            for c in range(width):
                y = (x[r, c] - high[c]) * slope[c] + shift[c]
                out[r, c] = y if dy is None else y + dy[r, c] * scale[c]
        fetch_add(turns, 4, 1)
        t = tiles - 1 - fetch_add(turns, 3, 1)
    wait(turns, 4, tiles)
    return v[4].max() == np.inf


@in_any_order
def run_sums(x, dy, k):
    s = q = 0.0
    for i in range(x.size):
        d = centered(x[i], k)
        g = d if dy is None else np.float64(dy[i])
        s += g
        q += g * d
    return s, q


@loop
def channels(x, dy, out, eps, v, turns):
    """A statistic for each channel: x is n × C × L, and a channel's second pass finds it in the cache. True as above."""
    n, width, length = x.shape
    c = fetch_add(turns, 0, 1)
    while c < width:
        k, inverse = v[2, c], 1.0 if dy is None else 1 / v[4, c]
        s = q = 0.0
        for i in range(n):
            part = run_sums(x[i, c], None if dy is None else dy[i, c], k)
            s += part[0]
            q += part[1]
        high, slope, shift, scale = affine(x, dy, s, q * inverse, k, n * length, eps, v, c)
        for i in range(n):
            for j in range(length):
                y = (x[i, c, j] - high) * slope + shift
                out[i, c, j] = y if dy is None else y + dy[i, c, j] * scale
        fetch_add(turns, 1, 1)
        c = fetch_add(turns, 0, 1)
    wait(turns, 1, width)
    return v[4].max() == np.inf
