"""Batch normalisation as one primitive: the closed form, streamed through the cache.

The composed graph reads and writes the whole batch once for every operation. Here each pass takes a tile of the batch that
stays in the cache and does all it has to with it: the forward pass is a stream for the statistics and one for y, the backward
pass a stream for dbeta and dgamma and one for dx. Sums go from tile to tile in float64, and the mean is subtracted as a high
and a low part, x − mu = (x − high) − low, so that a float32 batch far from 0 loses nothing that it still has.

Tiles follow from the batch's shape alone and are merged in their order, so the result does not depend on the threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, lru_cache
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .arguments import broadcasts, checked
from .batchnorm import batch_norm, normalized
from .derivations.batch_norm import d_x_condensed
from .engine import Tensor
from .kinds import Array, Value
from .primitives import Primitive
from .shapes import Axis, Shape, axes, shape

SMALL = 1 << 15  # numbers in a batch that is not worth cutting
ROWS = 1 << 9, 1 << 12  # least and most numbers in one of _Rows, whose sums take longer if it is shorter, and lose digits if longer
ROW = 1 << 12  # numbers in a row of _Columns, as far as there are so many
# Least and most numbers in a tile, a sixteenth of the batch in between: NumPy's own cost for a call is small, there is work for
# every thread, and the second pass still meets a warm cache.
TILE = 1 << 18, 1 << 19
THREADS = min(os.cpu_count() or 1, 8)


def fused_batch_norm(x: Value, gamma: Value, beta: Value, eps: Value = 1e-5, axis: int | tuple[int, ...] = 0) -> Value:
    """``batch_norm`` for speed: the same arguments, result, gradients of every order and errors, as one node in the graph.

    C-contiguous float32 and float64 arrays are streamed, with statistics over axis 0, or over axis 0 and the last ones
    ((0, 2, 3) for images), and a gamma and beta for each statistic or for all; anything else takes the composed formulas.
    The streams add up dy (x − mu) before they divide by σ: in float32, where that is beyond 1e38, a gradient is not finite.

    >>> fused_batch_norm(np.array([[1.0], [3.0]]), gamma=2.0, beta=1.0, eps=0.0)
    array([[-1.],
           [ 3.]])
    """
    x, gamma, beta = checked(x, gamma, beta, eps, axis)
    cut = _cut_for_streams(eps, axis, *(v.data if isinstance(v, Tensor) else v for v in (x, gamma, beta)))
    if cut is None:
        return batch_norm(x, gamma, beta, eps, axis)
    found: dict[str, Any] = {}  # what forward leaves there for backward, which finds it anew if x is another by then
    y = fused(x, gamma, beta, eps=eps, axis=axis, cut=cut, found=found)
    if isinstance(y, Tensor):
        y.label = "y"
    return y


def _cut_for_streams(eps: Value, axis: Axis, x: Value, gamma: Value, beta: Value) -> _Cut | None:
    """How to cut the batch, or None where it is not for the streams."""
    if type(x) is not np.ndarray or x.dtype.char not in "fd" or not x.dtype.isnative or not x.flags.c_contiguous or not x.size:
        return None
    for v in (gamma, beta, eps):
        if type(v) not in (float, int) and not (isinstance(v, (np.ndarray, np.generic)) and v.dtype == x.dtype):
            return None
    cut = _cut(x.shape, axis)
    return cut if cut is not None and broadcasts(shape(gamma), cut.kept) and broadcasts(shape(beta), cut.kept) else None


# ---- How a batch is cut into tiles, and who works on them


class _Rows(NamedTuple):
    """Where the length is long: a row holds numbers of one channel of one sample, and has a sum. A tile is some rows."""

    batch: tuple[int, int, int]  # samples × channels × length, with a statistic for each channel
    kept: Shape  # of mu and var
    width: int  # of a row, a divisor of the length
    tiles: tuple[slice, ...]
    keeps: str = "i"  # the axis of a tile that is left after a sum, for einsum

    @property
    def heights(self) -> Array:
        """How many numbers are behind each of the sums of a channel."""
        n, _, length = self.batch
        return np.full((n * (length // self.width), 1), self.width)

    def views(self, a: Array) -> list[Array]:
        """The tiles of ``a``."""
        rows = a.reshape(-1, self.width)
        return [rows[tile] for tile in self.tiles]

    def parts(self, v: Array, dtype: np.dtype[Any]) -> list[Array]:
        """A number for each channel, as each tile needs it."""
        n, _, length = self.batch
        column = np.tile(np.repeat(v.astype(dtype), length // self.width), n)[:, None]
        return [column[tile] for tile in self.tiles]

    def sums(self, dtype: np.dtype[Any]) -> tuple[Array, list[Array]]:
        """Room for the sums, and each tile's share in it."""
        sums = np.zeros(prod(self.batch) // self.width, dtype)
        return sums, [sums[tile] for tile in self.tiles]

    def fold(self, sums: Array) -> Array:
        """The sums of each channel, in float64."""
        n, channels, _ = self.batch
        return np.moveaxis(sums.reshape(n, channels, -1), 1, 2).reshape(-1, channels).astype(np.float64)


class _Columns(NamedTuple):
    """Where it is not: a row is one or more whole samples, and each column has a sum. A tile is some columns of a band of rows."""

    batch: tuple[int, int, int]
    kept: Shape
    together: int  # samples in a row; those left over are a last, shorter row, and a band and a tile of its own
    bands: tuple[slice, ...]
    tiles: tuple[tuple[int, slice], ...]
    keeps: str = "j"

    @property
    def heights(self) -> Array:
        """How many numbers are behind each of the sums of a channel."""
        n, _, length = self.batch
        samples = [min(n, band.stop * self.together) - band.start * self.together for band in self.bands]
        return np.array(samples)[:, None] * length

    def views(self, a: Array) -> list[Array]:
        """The tiles of ``a``."""
        width = self.together * prod(self.batch[1:])
        a = a.reshape(-1)
        rows, rest = a[: a.size // width * width].reshape(-1, width), a[a.size // width * width :]
        tiles = [rows[self.bands[band], columns] for band, columns in self.tiles]
        return [*tiles[:-1], rest[None]] if rest.size else tiles

    def parts(self, v: Array, dtype: np.dtype[Any]) -> list[Array]:
        """A number for each channel, as each tile needs it."""
        row = np.empty((self.together, *self.batch[1:]), dtype)
        row[...] = v[:, None]
        return [row.reshape(-1)[columns] for _, columns in self.tiles]

    def sums(self, dtype: np.dtype[Any]) -> tuple[Array, list[Array]]:
        """Room for the sums, and each tile's share in it."""
        sums = np.zeros((len(self.bands), self.together * prod(self.batch[1:])), dtype)
        return sums, [sums[band, columns] for band, columns in self.tiles]

    def fold(self, sums: Array) -> Array:
        """The sums of each channel, in float64."""
        columns = sums.reshape(-1, self.together, *self.batch[1:])
        folded: Array = columns.sum(axis=(1, 3), dtype=np.float64)
        return folded


_Cut: TypeAlias = _Rows | _Columns


@lru_cache
def _cut(whole: Shape, axis: Axis) -> _Cut | None:
    """How to cut a batch of this shape; None if the statistics are not over axis 0 and the last ones."""
    over = sorted(axes(len(whole), axis))
    inner = len(whole) - len(over) + 1  # where the last of the reduced axes begin
    if over != [0, *range(inner, len(whole))]:
        return None
    n, channels, length = batch = whole[0], prod(whole[1:inner]), prod(whole[inner:])
    kept = (1, *whole[1:inner], *(1 for _ in whole[inner:]))
    tile = min(max(prod(batch) // 16, TILE[0]), TILE[1])
    row = next((width for width in range(min(length, ROWS[1]), ROWS[0] - 1, -1) if length % width == 0), None)
    if row is not None:
        return _Rows(batch, kept, row, _parts(prod(batch) // row, tile // row))
    together = max(1, min(n, ROW // (channels * length)))
    width = together * channels * length
    bands, columns = _parts(n // together, tile // min(width, ROW)), _parts(width, ROW)
    tiles = [(band, c) for c in columns for band in range(len(bands))]
    if n % together:
        tiles.append((len(bands), slice(0, n % together * channels * length)))
        bands = (*bands, slice(n // together, n // together + 1))
    return _Columns(batch, kept, together, bands, tuple(tiles))


def _parts(n: int, size: int) -> tuple[slice, ...]:
    return tuple(slice(i, min(i + size, n)) for i in range(0, n, size))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="fused_batch_norm")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of the threads


def _one_by_one(work: Callable[..., None], tiles: Iterable[tuple[Any, ...]]) -> None:
    buffer = np.setbufsize(512)  # less than a row: NumPy copies what it broadcasts along rows that fit into its buffer
    try:
        for tile in tiles:
            work(*tile)
    finally:
        np.setbufsize(buffer)


def _side_by_side(work: Callable[..., None], *parts: Sequence[Any]) -> None:
    """``work`` on every tile, on several threads. Each tile has a place of its own for its result."""
    tiles = list(zip(*parts))
    rest = iter(tiles)
    helpers = [_pool().submit(copy_context().run, _one_by_one, work, rest) for _ in range(min(THREADS, len(tiles)) - 1)]
    _one_by_one(work, rest)
    for helper in helpers:
        helper.result()


# ---- Forward


def _forward(x: Array, gamma: Value, beta: Value, eps: Value, axis: Axis, cut: _Cut, found: dict[str, Any]) -> Array:
    if x.size <= SMALL:
        return _small_forward(x, gamma, beta, eps, axis, found)
    x_tiles = cut.views(x)
    high, low, var = _statistics(x, x_tiles, cut)
    deviation = np.sqrt(var + eps)
    gamma, beta = (np.broadcast_to(v, cut.kept).reshape(-1) for v in (gamma, beta))
    scale = gamma / deviation
    shift = beta - scale * low
    y = np.empty_like(x)

    def write(x_tile: Array, y_tile: Array, high: Array | None, scale: Array, shift: Array) -> None:
        np.multiply(_minus(x_tile, high, y_tile), scale, out=y_tile)
        np.add(y_tile, shift, out=y_tile)

    # What was read last is still in the cache: so the second stream runs backwards.
    tiles = x_tiles, cut.views(y), high, cut.parts(scale, x.dtype), cut.parts(shift, x.dtype)
    _side_by_side(write, *(part[::-1] for part in tiles))
    found.update(x=x, high=high, low=low, deviation=deviation)
    return y


def _minus(tile: Array, high: Array | None, out: Array | None = None) -> Array:
    return tile if high is None else np.subtract(tile, high, out=out)


def _statistics(x: Array, x_tiles: list[Array], cut: _Cut) -> tuple[list[Array] | list[None], Array, Array]:
    """mu, as a high part of x's dtype (for each tile, None for 0) and a low part, and var: those of the tiles, merged.

    Source: Chan, Golub and LeVeque, 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """
    high = _midst(x, len(x_tiles), cut)
    (sums, shares), (squares, shares_of_squares) = cut.sums(x.dtype), cut.sums(x.dtype)

    def measure(tile: Array, high: Array | None, total: Array, square: Array) -> None:
        difference = _minus(tile, high)
        np.einsum(f"ij->{cut.keeps}", difference, out=total)
        np.einsum(f"ij,ij->{cut.keeps}", difference, difference, out=square)

    _side_by_side(measure, x_tiles, high, shares, shares_of_squares)
    if np.isinf(squares).any():
        np.square(np.finfo(x.dtype).max)  # einsum overflows in silence, and y would be beta: warn, or do what np.errstate says
    heights, sums, squares = cut.heights, cut.fold(sums), cut.fold(squares)
    m = heights.sum()
    low = sums.sum(axis=0) / m
    var = (squares - sums**2 / heights + heights * (sums / heights - low) ** 2).sum(axis=0) / m
    return high, low, var


def _midst(x: Array, tiles: int, cut: _Cut) -> list[Array] | list[None]:
    """A value in the midst of the numbers, the mean of a sample: taken from there, sums keep their digits wherever a batch lies.

    None where 0 is in their midst: it would save no digits, and cost a fifth of the time.
    """
    n, _, length = cut.batch
    sample = x.reshape(cut.batch)[:: max(1, n // 256), :, :: max(1, length // 8)]
    total, square = np.einsum("ijk->j", sample, dtype=np.float64), np.einsum("ijk,ijk->j", sample, sample, dtype=np.float64)
    m = sample.shape[0] * sample.shape[2]
    with np.errstate(over="ignore"):
        return [None] * tiles if (2 * total**2 < m * square).all() else cut.parts(total / m, x.dtype)


def _small_forward(x: Array, gamma: Value, beta: Value, eps: Value, axis: Axis, found: dict[str, Any]) -> Array:
    mu = _mean(x, axis)
    high = mu.astype(x.dtype, copy=False)
    difference = x - high
    if high is not mu:
        difference -= (mu - high).astype(x.dtype)
    deviation = np.sqrt(_mean(difference * difference, axis) + eps)
    found.update(x=x, difference=difference, deviation=deviation)
    y: Array = difference * (gamma / deviation).astype(x.dtype, copy=False)
    y += beta
    return y


def _mean(a: Array, axis: Axis) -> Array:
    total = np.add.reduce(a, axis, np.float64, keepdims=True)
    average: Array = total / (a.size // total.size)
    return average


# ---- Backward


def _vjp(
    g: Value, y: Value, x: Value, gamma: Value, beta: Value, eps: Value, axis: Axis, cut: _Cut, found: dict[str, Any]
) -> tuple[Value, Value, Value]:
    if isinstance(g, Tensor) or isinstance(x, Tensor) or isinstance(gamma, Tensor) or g.dtype != x.dtype:
        _, var, x_hat = normalized(x, eps, axis)
        return d_x_condensed(g * gamma, x, x_hat, var, eps, axis), g * x_hat, g
    if found.get("x") is not x:
        _forward(x, gamma, beta, eps, axis, cut, found)
    if x.size <= SMALL:
        return _small_vjp(g, x, gamma, beta, axis, found)
    g_tiles, x_tiles = cut.views(np.ascontiguousarray(g)), cut.views(x)
    high, low, deviation = (found[name] for name in ("high", "low", "deviation"))
    (sums, shares), (products, shares_of_products) = cut.sums(x.dtype), cut.sums(x.dtype)

    def add_up(g_tile: Array, x_tile: Array, high: Array | None, total: Array, product: Array) -> None:
        np.einsum(f"ij->{cut.keeps}", g_tile, out=total)
        np.einsum(f"ij,ij->{cut.keeps}", g_tile, _minus(x_tile, high), out=product)

    _side_by_side(add_up, g_tiles, x_tiles, high, shares, shares_of_products)
    m = cut.heights.sum()
    dbeta, products = (cut.fold(v).sum(axis=0) for v in (sums, products))
    dgamma = (products - low * dbeta) / deviation

    # gamma / (m deviation) (m dy − dbeta − x_hat dgamma) = scale (dy − slope (x − high) − shift)
    scale = np.broadcast_to(gamma, cut.kept).reshape(-1) / deviation
    slope = dgamma / (m * deviation)
    shift = dbeta / m - slope * low
    dx = np.empty_like(x)

    def write(g_tile: Array, x_tile: Array, dx_tile: Array, high: Array | None, slope: Array, shift: Array, scale: Array) -> None:
        np.multiply(_minus(x_tile, high, dx_tile), slope, out=dx_tile)
        np.subtract(g_tile, dx_tile, out=dx_tile)
        np.subtract(dx_tile, shift, out=dx_tile)
        np.multiply(dx_tile, scale, out=dx_tile)

    tiles = g_tiles, x_tiles, cut.views(dx), high, *(cut.parts(v, x.dtype) for v in (slope, shift, scale))
    _side_by_side(write, *(part[::-1] for part in tiles))
    return dx, *(_shaped(v.astype(x.dtype).reshape(cut.kept), like) for v, like in ((dgamma, gamma), (dbeta, beta)))


def _small_vjp(g: Array, x: Array, gamma: Value, beta: Value, axis: Axis, found: dict[str, Any]) -> tuple[Array, Array, Array]:
    difference, deviation = found["difference"], found["deviation"]
    mean_dy, mean_dy_x_hat = _mean(g, axis), _mean(g * difference, axis) / deviation
    scale, slope, shift = (v.astype(x.dtype, copy=False) for v in (gamma / deviation, mean_dy_x_hat / deviation, mean_dy))
    dx = difference * slope
    np.subtract(g, dx, out=dx)
    dx -= shift
    dx *= scale
    m = x.size // mean_dy.size
    return dx, _shaped((m * mean_dy_x_hat).astype(x.dtype), gamma), _shaped((m * mean_dy).astype(x.dtype), beta)


def _shaped(v: Array, like: Value) -> Array:
    """v in the shape of what it is the gradient of; where that is smaller, the engine adds up."""
    return v.reshape(shape(like)) if v.size == getattr(like, "size", 1) else v


fused = Primitive("fused_batch_norm", "BN", _forward, _vjp)
