"""Batch normalisation as one primitive: the closed form, streamed through the cache.

The composed graph reads and writes the whole batch once for every operation. Here each pass takes a tile of the batch that
stays in the cache and does all it has to with it: the forward pass is a stream for the statistics and one for y, the backward
pass a stream for dbeta and dgamma and one for dx. Sums go from tile to tile in float64, and the mean is subtracted as a high
and a low part, x − mu = (x − high) − low, so that a float32 batch far from 0 loses nothing that it still has.

Tiles follow from the batch's shape alone and are merged in their order, so the result does not depend on the threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from .batchnorm import batch_norm, broadcasts, checked, mean, normalize, variance
from .derivation import d_x_condensed
from .engine import Tensor
from .primitives import Primitive, axes, shape

SMALL = 1 << 15  # numbers in a batch that is not worth cutting
ROW = 1 << 13  # numbers in a row of a tile, at least: NumPy broadcasts long rows at full speed
TILE = 1 << 18  # numbers in a tile
GROUP = 1 << 19  # numbers in a group of channels
THREADS = min(os.cpu_count() or 1, 8)


def fused_batch_norm(x, gamma, beta, eps=1e-5, axis=0):
    """``batch_norm`` for speed: the same arguments, result, gradients of every order and errors, as one node in the graph.

    C-contiguous float32 and float64 arrays are streamed, with statistics over axis 0, or over axis 0 and the last ones
    ((0, 2, 3) for images), and a gamma and beta for each statistic or for all; anything else takes the composed formulas.

    >>> fused_batch_norm(np.array([[1.0], [3.0]]), gamma=2.0, beta=1.0, eps=0.0)
    array([[-1.],
           [ 3.]])
    """
    x, gamma, beta = checked(x, gamma, beta, eps, axis)
    if not _is_for_streams(*(v.data if isinstance(v, Tensor) else v for v in (x, gamma, beta)), eps, axis):
        return batch_norm(x, gamma, beta, eps, axis)
    y = fused.bind(eps=eps, axis=axis, found={})(x, gamma, beta)
    if isinstance(y, Tensor):
        y.label = "y"
    return y


def _is_for_streams(x, gamma, beta, eps, axis) -> bool:
    if type(x) is not np.ndarray or x.dtype.char not in "fd" or not x.dtype.isnative or not x.flags.c_contiguous or not x.size:
        return False
    for v in (gamma, beta, eps):
        if type(v) is not float and not (isinstance(v, (np.ndarray, np.generic)) and v.dtype == x.dtype):
            return False
    cut = _cut(x.shape, axis)
    return cut is not None and broadcasts(shape(gamma), cut.kept) and broadcasts(shape(beta), cut.kept)


# ---- How a batch is cut into tiles, and who works on them


class _Cut(NamedTuple):
    """A batch as samples × channels × length, with a statistic for each channel."""

    batch: tuple[int, int, int]
    kept: tuple[int, ...]  # the shape of mu and var
    groups: tuple[slice, ...]  # of channels; each has a stream for itself, for their statistics are independent
    tiles: tuple[slice, ...]  # of samples
    together: int  # samples in a row of a tile

    def view(self, a, tile, group):
        """A tile of ``a``, as rows whose columns each belong to one channel. It is a view, so it can be written to."""
        part = a.reshape(self.batch)[tile, group]
        n, channels, length = part.shape
        return part.reshape(-1, min(n, self.together) * channels * length)

    def row(self, v, dtype):
        """A number for each channel, repeated for each column of a tile."""
        row = np.empty((self.together, len(v), self.batch[2]), dtype)
        row[...] = v[:, None]
        return row.reshape(-1)

    def fold(self, rows, channels):
        """The reverse: numbers for each column, summed for each channel."""
        return rows.reshape(-1, self.together, channels, self.batch[2]).sum(axis=(1, 3), dtype=np.float64)


@lru_cache
def _cut(whole: tuple[int, ...], axis: int | tuple[int, ...]) -> _Cut | None:
    over = sorted(axes(len(whole), axis))
    inner = len(whole) - len(over) + 1  # where the last of the reduced axes begin
    if over != [0, *range(inner, len(whole))]:
        return None
    n, channels, length = whole[0], prod(whole[1:inner]), prod(whole[inner:])
    kept = (1, *whole[1:inner], *(1 for _ in whole[inner:]))
    together = max(1, min(n, ROW // (channels * length)))
    wide = channels if together > 1 else min(channels, max(-(-ROW // length), GROUP // (n * length)))
    wide = -(-channels // -(-channels // wide))
    tall = max(1, TILE // (together * wide * length)) * together
    rest = n - n % together
    tiles = [slice(i, min(i + tall, rest)) for i in range(0, rest, tall)] + [slice(rest, n)] * (rest < n)
    groups = [slice(i, min(i + wide, channels)) for i in range(0, channels, wide)]
    return _Cut((n, channels, length), kept, tuple(groups), tuple(tiles), together)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="fused_batch_norm")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of the threads


def _one_by_one(work, items) -> None:
    for item in items:
        work(item)


def _side_by_side(work, items) -> None:
    """``work`` on every item, on several threads. Each item has a place of its own for its result."""
    rest = iter(items)
    helpers = [_pool().submit(copy_context().run, _one_by_one, work, rest) for _ in range(min(THREADS, len(items)) - 1)]
    _one_by_one(work, rest)
    for helper in helpers:
        helper.result()


def _for_each_group(work, cut) -> None:
    """Threads take a group each, or where there is but one group, its tiles."""
    if len(cut.groups) == 1:
        work(cut.groups[0], _side_by_side)
    else:
        _side_by_side(lambda group: work(group, _one_by_one), cut.groups)


# ---- Forward


def _forward(x, gamma, beta, eps, axis, found):
    if x.size <= SMALL:
        return _small_forward(x, gamma, beta, eps, axis, found)
    cut = _cut(x.shape, axis)
    y, mu, deviation = np.empty_like(x), np.empty(cut.batch[1]), np.empty(cut.batch[1])
    gamma, beta = (np.broadcast_to(v, cut.kept).reshape(-1) for v in (gamma, beta))

    def stream(group, each):
        mu[group], var = _statistics(x, cut, group, each)
        deviation[group] = np.sqrt(var + eps)
        high = mu[group].astype(x.dtype)
        scale = gamma[group] / deviation[group]
        shift = beta[group] - scale * (mu[group] - high)
        high, scale, shift = (cut.row(v, x.dtype) for v in (high, scale, shift))

        def write(tile):
            x_tile, y_tile = cut.view(x, tile, group), cut.view(y, tile, group)
            width = x_tile.shape[1]
            np.subtract(x_tile, high[:width], out=y_tile)
            np.multiply(y_tile, scale[:width], out=y_tile)
            np.add(y_tile, shift[:width], out=y_tile)

        each(write, cut.tiles[::-1])

    _for_each_group(stream, cut)
    found.update(x=x, mu=mu, deviation=deviation)
    return y


def _statistics(x, cut, group, each):
    """mu and var of a group of channels: those of the tiles, merged as in Chan, Golub and LeVeque (1979)."""
    channels = group.stop - group.start
    # Taken from a value in their midst, the numbers' sums keep their digits wherever the batch lies.
    whole, tall = slice(0, cut.tiles[-1].stop // cut.together * cut.together), cut.tiles[0].stop // cut.together
    sample = cut.view(x, whole, group)[::tall]
    pilot = (cut.fold(np.add.reduce(sample), channels)[0] * (channels / sample.size)).astype(x.dtype)
    pilots = cut.row(pilot, x.dtype)
    sums, squares = np.zeros((2, len(cut.tiles), pilots.size), x.dtype)

    def measure(i):
        tile = cut.view(x, cut.tiles[i], group)
        width = tile.shape[1]
        difference = tile - pilots[:width]
        np.add.reduce(difference, out=sums[i, :width])
        np.einsum("ij,ij->j", difference, difference, out=squares[i, :width])

    each(measure, range(len(sums)))
    n = np.array([[(tile.stop - tile.start) * cut.batch[2]] for tile in cut.tiles])
    m = n.sum()
    sums, squares = cut.fold(sums, channels), cut.fold(squares, channels)
    excess = sums.sum(axis=0) / m
    var = (squares - sums**2 / n + n * (sums / n - excess) ** 2).sum(axis=0) / m
    return pilot + excess, var


def _small_forward(x, gamma, beta, eps, axis, found):
    mu = _mean(x, axis)
    high = mu.astype(x.dtype, copy=False)
    difference = x - high
    if high is not mu:
        difference -= (mu - high).astype(x.dtype)
    deviation = np.sqrt(_mean(difference * difference, axis) + eps)
    found.update(x=x, difference=difference, deviation=deviation)
    y = difference * (gamma / deviation).astype(x.dtype, copy=False)
    y += beta
    return y


def _mean(a, axis):
    total = np.add.reduce(a, axis, np.float64, keepdims=True)
    return total / (a.size // total.size)


# ---- Backward


def _vjp(g, y, x, gamma, beta, eps, axis, found):
    if isinstance(g, Tensor) or isinstance(x, Tensor) or isinstance(gamma, Tensor) or g.dtype != x.dtype:
        mu = mean(x, axis)
        var = variance(x, mu, axis)
        x_hat = normalize(x, mu, var, eps)
        return d_x_condensed(g, x, x_hat, var, gamma, eps, axis), g * x_hat, g
    if found.get("x") is not x:
        _forward(x, gamma, beta, eps, axis, found)
    if x.size <= SMALL:
        return _small_vjp(g, x, gamma, beta, axis, found)
    cut = _cut(x.shape, axis)
    g, m = np.ascontiguousarray(g), x.size // cut.batch[1]
    dx, dgamma, dbeta = np.empty_like(x), np.empty(cut.batch[1]), np.empty(cut.batch[1])
    gammas = np.broadcast_to(gamma, cut.kept).reshape(-1)

    def stream(group, each):
        mu, deviation = found["mu"][group], found["deviation"][group]
        high = mu.astype(x.dtype)
        low = mu - high
        high = cut.row(high, x.dtype)
        sums, products = np.zeros((2, len(cut.tiles), high.size), x.dtype)

        def add_up(i):
            g_tile, x_tile = (cut.view(a, cut.tiles[i], group) for a in (g, x))
            width = x_tile.shape[1]
            np.add.reduce(g_tile, out=sums[i, :width])
            np.einsum("ij,ij->j", g_tile, x_tile - high[:width], out=products[i, :width])

        each(add_up, range(len(sums)))
        dbeta[group], products = (cut.fold(v, len(mu)).sum(axis=0) for v in (sums, products))
        dgamma[group] = (products - low * dbeta[group]) / deviation

        # gamma / (m deviation) (m dy − dbeta − x_hat dgamma) = scale (dy − slope (x − high) − shift)
        scale = gammas[group] / deviation
        slope = dgamma[group] / (m * deviation)
        shift = dbeta[group] / m - slope * low
        scale, slope, shift = (cut.row(v, x.dtype) for v in (scale, slope, shift))

        def write(tile):
            g_tile, x_tile, dx_tile = (cut.view(a, tile, group) for a in (g, x, dx))
            width = x_tile.shape[1]
            np.subtract(x_tile, high[:width], out=dx_tile)
            np.multiply(dx_tile, slope[:width], out=dx_tile)
            np.subtract(g_tile, dx_tile, out=dx_tile)
            np.subtract(dx_tile, shift[:width], out=dx_tile)
            np.multiply(dx_tile, scale[:width], out=dx_tile)

        each(write, cut.tiles[::-1])

    _for_each_group(stream, cut)
    return dx, *(_shaped(v.astype(x.dtype).reshape(cut.kept), like) for v, like in ((dgamma, gamma), (dbeta, beta)))


def _small_vjp(g, x, gamma, beta, axis, found):
    difference, deviation = found["difference"], found["deviation"]
    mean_dy, mean_dy_x_hat = _mean(g, axis), _mean(g * difference, axis) / deviation
    scale, slope, shift = (v.astype(x.dtype, copy=False) for v in (gamma / deviation, mean_dy_x_hat / deviation, mean_dy))
    dx = difference * slope
    np.subtract(g, dx, out=dx)
    dx -= shift
    dx *= scale
    m = x.size // mean_dy.size
    return dx, _shaped((m * mean_dy_x_hat).astype(x.dtype), gamma), _shaped((m * mean_dy).astype(x.dtype), beta)


def _shaped(v, like):
    """v in the shape of what it is the gradient of; where that is smaller, the engine adds up."""
    return v.reshape(shape(like)) if v.size == getattr(like, "size", 1) else v


fused = Primitive("fused_batch_norm", "BN", _forward, _vjp)
