"""What the property tests draw: shapes, numbers of every size and layout, batches, and random expression graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from micrograd_bn import primitives as P
from micrograd_bn.shapes import axes

DTYPES = ("float16", "float32", "float64")
LARGEST = 48  # elements in an array: 60 digits take their time

EXAMPLES: Counter[str] = Counter()  # how many examples have passed, for the summary at the end of the run


def prop(_percent: int, **strategies) -> Callable:
    """A property: @given, for so many of each hundred examples that the profile asks for, counted."""

    def decorate(test):
        @settings(max_examples=max(1, settings().max_examples * _percent // 100))
        @given(**strategies)
        @wraps(test)
        def counted(*args, **kwargs):
            test(*args, **kwargs)
            EXAMPLES[test.__name__] += 1

        return counted

    return decorate


# ---- Shapes and numbers


@st.composite
def shapes(draw, min_dims=0):
    """0 to 4 dimensions; many have size 1, and one shape in eight has an axis of size 0."""
    sizes = draw(st.lists(st.sampled_from((3, 2, 1)), min_size=min_dims, max_size=4))
    if sizes and draw(st.integers(0, 7)) == 7:
        sizes[draw(st.integers(0, len(sizes) - 1))] = 0
    return tuple(sizes) if prod(sizes) <= LARGEST else (*sizes[:-1], 1)


@st.composite
def relatives(draw, shape):
    """A shape that broadcasts against ``shape``: axes missing, of size 1 on either side, or added in front."""
    start = draw(st.integers(0, len(shape)))
    other = [draw(st.sampled_from([1, n] if n != 1 else [1, 2, 0])) for n in shape[start:]]
    if not start and len(shape) < 4 and draw(st.booleans()):
        other.insert(0, draw(st.sampled_from([2, 1])))
    return tuple(other) if prod(np.broadcast_shapes(shape, tuple(other))) <= LARGEST else shape[start:]


def exponents(dtype) -> st.SearchStrategy[int]:
    """Powers of ten from 1e-30 to 1e30, or as far as the dtype goes."""
    info = np.finfo(dtype)
    low, high = int(np.ceil(np.log10(info.smallest_normal))), int(np.log10(info.max)) - 2
    return st.one_of(st.just(0), st.integers(max(-30, low), min(30, high)))


@st.composite
def values(draw, shape, dtype="float64", scale=0):
    """Numbers of about the size 10**scale: random, small integers with equals among them, of all sizes, or all the same."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    normal = random.normal(size=shape)
    kind = draw(st.sampled_from(["random", "integers", "far from 0", "of all sizes", "constant"]))
    numbers = {
        "random": normal,
        "integers": random.integers(-3, 4, shape).astype(float),
        "far from 0": normal + draw(st.sampled_from([-100, 10])),
        "of all sizes": normal * 10.0 ** random.integers(-3, 1, shape),
        "constant": np.full(shape, random.normal()),
    }[kind]
    return np.asarray(numbers * 10.0**scale).astype(dtype)


# ---- Layouts: the same numbers, laid out in memory in another way


def as_c(a):
    return a.copy(order="C")


def as_fortran(a):
    return a.copy(order="F")


def every_other(a):
    return np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a


def backwards(a):
    return np.flip(np.flip(a).copy())


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


def unaligned(a):
    """Not on an address that the processor likes, as from a packed record."""
    raw = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    raw[...] = a
    return raw


LAYOUTS = (as_c, as_fortran, every_other, backwards, read_only, big_endian, unaligned)
layouts = st.sampled_from(LAYOUTS)


# ---- Batches


class Batch(NamedTuple):
    x: np.ndarray
    dy: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    eps: float
    axis: int | tuple[int, ...]


EPS = (2.0**-17, 2.0**-10, 1.0)  # the same numbers in every dtype: 7.6e-6, 9.8e-4 and 1


@st.composite
def batches(draw, dtypes=DTYPES, eps=EPS, scaled=True):
    """A batch of 1 to 4 dimensions, with statistics over any of its axes and a gamma and beta of any shape that fits.

    Half of them are as most batches are, which is what fused_batch_norm streams: many samples, and a gamma for each channel.
    """
    usual = draw(st.booleans())
    dtype = draw(st.sampled_from([d for d in dtypes if d != "float16"] if usual else dtypes))
    if usual:
        shape = (draw(st.integers(2, 16)), *draw(st.sampled_from([(), (1,), (3,), (2, 3), (1, 3), (3, 1)])))
        shape = shape if prod(shape) <= LARGEST else (LARGEST // prod(shape[1:]), *shape[1:])
        axis = draw(st.sampled_from([0, (0, *range(2, len(shape)))]))
    else:
        shape = draw(shapes(min_dims=1))
        some = st.lists(st.integers(-len(shape), len(shape) - 1), min_size=1, max_size=4, unique_by=lambda i: i % len(shape))
        axis = draw(st.one_of(some.map(tuple), st.integers(-len(shape), len(shape) - 1)))
    reduced = axes(len(shape), axis)
    shape = tuple([max(1, n) if i in reduced else n for i, n in enumerate(shape)])  # nothing has no mean
    kept = tuple([1 if i in reduced else n for i, n in enumerate(shape)])
    like = draw(st.sampled_from([kept, ()] if usual else [kept, (), shape, (1,) * len(shape), shape[1:], (*kept[:-1], shape[-1])]))
    scales = [draw(exponents(dtype)) if scaled else 0 for _ in range(2)]
    x, dy = (draw(values(shape, dtype, scale)) for scale in scales)
    gamma, beta = (draw(values(like, dtype)) for _ in range(2))
    return Batch(x, dy, gamma, beta, draw(st.sampled_from(eps)), axis)


# ---- Expression graphs


PRIMITIVES = {primitive.name: primitive for primitive in vars(P).values() if isinstance(primitive, P.Primitive)}


class Step(NamedTuple):
    """An operation on earlier nodes (by number) and constants (floats); no primitive: the next leaf."""

    primitive: P.Primitive | None
    inputs: tuple[int | float, ...]
    params: dict[str, Any]
    shape: tuple[int, ...]

    def __repr__(self):
        return f"{self.primitive.name}{self.inputs}{self.params or ''} → {self.shape}" if self.primitive else f"leaf {self.shape}"


class Program(NamedTuple):
    """An expression graph that can be computed on any kind of number: Tensors, floats, 60 digits, Running numbers."""

    steps: tuple[Step, ...]

    def nodes(self, leaves) -> list:
        """The values of all nodes; the last one is the result."""
        leaves, nodes = iter(leaves), []
        for step in self.steps:
            if step.primitive is None:
                nodes.append(next(leaves))
            else:
                inputs = [nodes[a] if isinstance(a, int) else a for a in step.inputs]
                nodes.append(step.primitive(*inputs, **step.params))
        return nodes

    def __call__(self, leaves):
        return self.nodes(leaves)[-1]

    @property
    def leaves(self) -> list[tuple[int, ...]]:
        """The shapes of the leaves."""
        return [step.shape for step in self.steps if step.primitive is None]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.steps[-1].shape


class Builder:
    """A program that grows: nodes are known by their number."""

    def __init__(self, draw):
        self.draw, self.steps, self.void, self.conditions = draw, [], set(), set()

    def leaf(self, shape) -> int:
        return self._append(Step(None, (), {}, shape))

    def apply(self, name, *inputs, shape, **params) -> int:
        return self._append(Step(PRIMITIVES[name], inputs, params, shape))

    def function(self, name, i) -> int:
        """exp, log and the like: where NumPy has summed up no object at all, an integer 0 stands, which has none of them."""
        return self.apply(name if i not in self.void else "neg", i, shape=self.shape(i))

    def _append(self, step) -> int:
        self.steps.append(step)
        number = len(self.steps) - 1
        if any(isinstance(a, int) and (a in self.void or 0 in self.shape(a)) for a in step.inputs):
            self.void.add(number)
        return number

    def numbers(self) -> list[int]:
        """The nodes that can be computed with: all but the conditions."""
        return [j for j in range(len(self.steps)) if j not in self.conditions]

    def shape(self, a) -> tuple[int, ...]:
        return self.steps[a].shape if isinstance(a, int) else ()

    def any_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def rival(self, i) -> int:
        """A partner that is a number of the same kind: where one of the two is selected, a constant would stay Python's float."""
        j = self.partner(i)
        return j if isinstance(j, int) else self.leaf(())

    def partner(self, i):
        """Something to combine node i with: itself, a constant, another node that fits, or a new leaf that broadcasts."""
        others = [j for j in self.numbers() if self.fits(self.shape(i), self.shape(j))]
        kind = self.any_of("leaf", "node", "constant", "itself")
        if kind == "leaf":
            return self.leaf(self.draw(relatives(self.shape(i))))
        return self.any_of(*{"node": others, "constant": (2.0, -0.5, 3.0), "itself": (i,)}[kind])

    @staticmethod
    def fits(a, b) -> bool:
        try:
            return prod(np.broadcast_shapes(a, b)) <= LARGEST
        except ValueError:
            return False

    def positive(self, i) -> int:
        """i² + ½, where a root, a logarithm and a power have a value."""
        square = self.apply("pow", i, exponent=2, shape=self.shape(i))
        return self.apply("add", square, 0.5, shape=self.shape(i))


def _binary(name):
    def move(b: Builder, i: int) -> int:
        j = b.rival(i) if name in ("maximum", "minimum") else b.partner(i)
        if name == "div" and isinstance(j, int) and b.any_of(True, False):
            j = b.positive(j)
        pair = b.any_of((i, j), (j, i))
        return b.apply(name, *pair, shape=np.broadcast_shapes(b.shape(i), b.shape(j)))

    return move


def _unary(name):
    return lambda b, i: b.function(name, i)


def _unary_of_positive(name):
    return lambda b, i: b.function(name, b.positive(i))


def _pow(b, i):
    exponent = b.any_of(2, 3, 1, 0, -1, -3, 0.5, -1.5)
    return b.apply("pow", i if exponent in (0, 1, 2, 3) else b.positive(i), exponent=exponent, shape=b.shape(i))


def _reduction(name):
    def move(b, i):
        shape = b.shape(i)
        n = len(shape)
        axis = b.any_of(None, *range(-n, n), *[(j, k - n) for j in range(n) for k in range(j + 1, n)], ())
        reduced = axes(n, axis) if n or axis is None else ()
        if name in ("mean", "max", "min") and 0 in [shape[j] for j in reduced]:
            return b.apply("neg", i, shape=shape)  # nothing has no mean, and no largest
        if name == "prod":  # of numbers up to 1, so that it is in range, in whatever order it is taken
            i = b.function("tanh", i)
        keepdims = b.any_of(False, True)
        to = [1 if j in reduced else size for j, size in enumerate(shape) if keepdims or j not in reduced]
        return b.apply(name, i, axis=axis, keepdims=keepdims, shape=tuple(to))

    return move


def _reshape(b, i):
    shape = b.shape(i)
    to = b.any_of(shape[::-1], (prod(shape),), (1, *shape), (*shape, 1))
    to = to if len(to) <= 5 else shape[::-1]
    return b.apply("reshape", i, to=b.any_of(to, (-1,)) if len(to) == 1 else to, shape=to)


def _transpose(b, i):
    n = len(b.shape(i))
    order = b.draw(st.permutations(range(n)) | st.just([*range(1, n), 0][:n]))  # a rotation is not its own inverse
    return b.apply("transpose", i, axes=tuple(order), shape=tuple(b.shape(i)[k] for k in order))


def _broadcast(b, i):
    to = [n if n != 1 else b.any_of(1, 2, 0) for n in b.shape(i)]
    if len(to) < 4:
        to.insert(0, b.any_of(1, 2, 0))
    to = tuple(to) if prod(to) <= LARGEST else b.shape(i)
    return b.apply("broadcast", i, to=to, shape=to)


def _matmul(b, i):
    """Matrices, vectors on either side, and batches of matrices that broadcast; an inner size of 0 makes sums of nothing."""
    shape = b.shape(i)
    if not shape:
        i, shape = b.apply("reshape", i, to=(1,), shape=(1,)), (1,)
    n, k, batch = shape[-2] if len(shape) > 1 else None, shape[-1], shape[:-2]
    m = b.any_of(2, 1, 3, 0)
    if b.any_of("left", "right") == "left":
        right, columns = b.any_of(((k,), ()), ((k, m), (m,)), (((2,) if not batch else batch[-1:]) + (k, m), (m,)))
        rows, of_right = () if n is None else (n,), right[:-2]
        j = b.leaf(right)
        return b.apply("matmul", i, j, shape=(*np.broadcast_shapes(batch, of_right), *rows, *columns))
    inner = k if n is None else n
    left, rows = b.any_of(((inner,), ()), ((m, inner), (m,)))
    j = b.leaf(left)
    return b.apply("matmul", j, i, shape=(*batch, *rows, *(() if n is None else (k,))))


def _getitem(b, i):
    shape = b.shape(i)
    if not shape:
        i, shape = b.apply("reshape", i, to=(1, 1), shape=(1, 1)), (1, 1)
    indices = [slice(1, None), slice(None, None, -2), ..., None, (slice(None), None), np.zeros(shape[0], bool), []]
    if shape[0]:
        indices += [0, -1, (0,), [0, -1, 0], (..., np.full(shape[-1], True))]
    index = b.any_of(*indices)
    return b.apply("getitem", i, index=index, shape=np.empty(shape, bool)[index].shape)


def _scatter(b, i):
    shape = b.shape(i)
    if not shape:
        i, shape = b.apply("reshape", i, to=(1,), shape=(1,)), (1,)
    together = [0] * shape[0]  # several elements on one place
    index, to = b.any_of((slice(1, None), (shape[0] + 1, *shape[1:])), (together, (2, *shape[1:])), ((..., None), shape[:-1]))
    if index == (..., None) and shape[-1] != 1:
        index, to = ..., shape
    return b.apply("scatter", i, index=index, to=to, shape=to)


def _power(b, i):
    """A positive number to the power of a variable from -3 to 3."""
    base, exponent = b.positive(i), b.partner(i)
    if isinstance(exponent, int):
        exponent = b.apply("mul", b.function("tanh", exponent), 3.0, shape=b.shape(exponent))
    shape = np.broadcast_shapes(b.shape(i), b.shape(exponent))
    return b.apply("power" if base not in b.void else "mul", base, exponent, shape=shape)


def _where(b, i):
    """One number or the other, by how they compare, or how two others do."""
    j, k = b.rival(i), b.partner(i)
    over = np.broadcast_shapes(b.shape(i), b.shape(k))
    condition = b.apply(b.any_of("less", "less_equal", "greater", "greater_equal", "not_equal"), i, k, shape=over)
    b.conditions.add(condition)
    shape = np.broadcast_shapes(b.shape(i), b.shape(j))
    if not b.fits(shape, over):  # then by how the two compare
        b.steps[condition] = b.steps[condition]._replace(inputs=(i, j), shape=shape)
        over = shape
    return b.apply("where", condition, *b.any_of((i, j), (j, i)), shape=np.broadcast_shapes(shape, over))


def _cumsum(b, i):
    i = i if b.shape(i) else b.apply("reshape", i, to=(1,), shape=(1,))
    return b.apply("cumsum", i, axis=b.any_of(*range(len(b.shape(i)))), shape=b.shape(i))


def _concatenate(b, i):
    i = i if b.shape(i) else b.apply("reshape", i, to=(1,), shape=(1,))
    shape = b.shape(i)
    axis = b.any_of(*range(len(shape)))
    beside = [(*shape[:axis], n, *shape[axis + 1 :]) for n in (0, 1, 2)]
    j = b.leaf(b.any_of(*[s for s in beside if prod(s) + prod(shape) <= LARGEST]))
    to = (*shape[:axis], shape[axis] + b.shape(j)[axis], *shape[axis + 1 :])
    return b.apply("concatenate", *b.any_of((i, j), (j, i)), axis=axis, shape=to)


def _einsum(b, i):
    """The sum of products with a leaf that has some of the indices: over some, along a diagonal where sizes are equal."""
    sizes = dict(zip("abcde", b.shape(i)))
    own = "".join(sizes)
    if len(own) > 1 and b.shape(i)[0] == b.shape(i)[1] and b.any_of(True, False):
        own, sizes = "a" + "a" + own[2:], {letter: n for letter, n in sizes.items() if letter != "b"}
    other = b.draw(st.lists(st.sampled_from([*sizes, "z"]), unique=True, max_size=3))
    sizes["z"] = 2
    j = b.leaf(tuple(b.any_of(sizes[letter], 1) for letter in other))
    kept = b.draw(st.permutations(sorted({*own, *other})))[: b.any_of(0, 1, 2)]
    to = tuple(sizes[letter] if letter in own or b.shape(j)[other.index(letter)] != 1 else 1 for letter in kept)
    if prod(to) > LARGEST:
        kept, to = kept[:1], to[:1]
    return b.apply("einsum", i, j, subscripts=f"{own},{''.join(other)}->{''.join(kept)}", shape=to)


MOVES: dict[str, Callable[[Builder, int], int]] = {
    **{name: _binary(name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    **{name: _unary(name) for name in ("neg", "exp", "expm1", "tanh", "sin", "cos", "relu", "abs")},
    **{name: _unary_of_positive(name) for name in ("sqrt", "log", "log1p")},
    **{name: _reduction(name) for name in ("sum", "mean", "prod", "max", "min")},
    "pow": _pow,
    "power": _power,
    "where": _where,
    "cumsum": _cumsum,
    "concatenate": _concatenate,
    "einsum": _einsum,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast": _broadcast,
    "matmul": _matmul,
    "getitem": _getitem,
    "scatter": _scatter,
}


@st.composite
def programs(draw, names=tuple(name for name in MOVES if name != "scatter"), moves=5):
    """Up to ``moves`` operations on a leaf, on what came of it, and on one another; scatter is for backward passes."""
    b = Builder(draw)
    last = b.leaf(draw(shapes()))
    for _ in range(draw(st.integers(1, moves))):
        # A bare integer 0, the sum of no objects at all, would become an array of integers: it is only combined with others.
        i = draw(st.sampled_from([j for j in (last, last, *b.numbers()) if j not in b.void or b.shape(j)]))
        last = MOVES[draw(st.sampled_from(names))](b, i)
    return Program(tuple(b.steps))
