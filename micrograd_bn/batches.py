"""What a derivation is tried on: numbers drawn by the shapes and domains of its inputs, and the batches for a backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from .derivation import Derivation
from .derivations.batch_norm import BATCH_NORM
from .faults import listed
from .kinds import Array, Value
from .shapes import Shape, axes
from .validation import DOMAINS


def _shares(random: np.random.Generator, size: Shape) -> Array:
    """Numbers that add up to 1 along the last axis: exactly, in every kind of number, for they are multiples of 1/1024."""
    shares: Array = random.multinomial(1024, [1 / size[-1]] * size[-1], size[:-1]) / 1024
    return shares


RANDOM: dict[str, Callable[[np.random.Generator, Shape], Any]] = {  # of each domain
    "": lambda random, size: random.normal(size=size),
    "scale": lambda random, size: random.uniform(0.5, 1.5, size),
    "positive": lambda random, size: np.exp(random.normal(size=size)),
    "probabilities": _shares,
}


def drawn(
    x: Array,
    seed: int = 0,
    derivation: Derivation = BATCH_NORM,
    given: Mapping[str, Array] = MappingProxyType({}),
) -> tuple[dict[str, Array], Array]:
    """The inputs after the first one that are not given, and an upstream gradient: of the derivation's shapes, from its domains."""
    random = np.random.default_rng(seed)
    # Of the same seed, as x in many an example is, a second input would be the first.
    if np.array_equal(x, np.random.default_rng(seed).normal(size=np.shape(x))):
        random = np.random.default_rng((seed, 1))
    sizes: dict[str, int] = {}
    for name, array in ({derivation.inputs[0]: x} | dict(given)).items():
        dims = derivation.shapes[name]
        sizes |= dict(zip(reversed(dims), reversed(np.shape(array)))) if isinstance(dims, tuple) else {}
    inputs: dict[str, Array] = {}
    for name in derivation.inputs[1:]:
        dims = derivation.shapes[name]
        if dims == "kept":
            reduced = axes(x.ndim, derivation.constants.get("axis"))
            to = tuple(1 if i in reduced else n for i, n in enumerate(x.shape))
        else:
            to = tuple(int(n) if n.isdigit() else sizes.setdefault(n, 3) for n in dims)
        inputs[name] = np.asarray(RANDOM[derivation.domains.get(name, "")](random, to))
    known = {derivation.inputs[0]: np.asarray(x, dtype=float)} | inputs | {k: np.asarray(v, dtype=float) for k, v in given.items()}
    with np.errstate(all="ignore"):
        result = derivation.forward(**known)[derivation.result]
    return inputs, np.asarray(random.normal(size=np.shape(result)))


# ---- What a backward pass is called with

# Sizes of the first two axes that are named, dtype, what a small constant (an eps) and another is multiplied by, and the first
# input's scales and offset: m ≠ k and m = k, an ε that counts, columns that differ.
ADVERSARIAL: tuple[tuple[int, int, str, float, float, Any, float], ...] = (
    (5, 3, "float64", 1, 1, 1, 0),
    (4, 4, "float64", 1e4, 1.5, 1, 0.5),  # a sum over the wrong axis has the right shape
    (7, 2, "float64", 100, 0.75, (1e-3, 1e3), 0),  # columns of very different scale
    (6, 3, "float64", 1, 1, 1, 1e6),  # far from 0
    (3, 5, "float64", 10, 1.25, (0, 1e-9, 1e-3, 1, 1), 2),  # constant, and nearly
    (8, 4, "float32", 1e3, 0.5, 1, 0),
    (2, 3, "float32", 1, 1, (1, 1, 1e-4), 100),
)


class Batches:
    """The batches that somebody's backward pass of a derivation is called with.

    Each is a tuple: the upstream gradient, the inputs and the constants, as dy, x, gamma, beta, eps.
    """

    def __init__(self, d: Derivation):
        self.derivation, self.arguments = d, (d.upstream, *d.inputs)
        self.constants = {name: value for name, value in d.constants.items() if name != "axis"}
        # Inputs that are "kept" have the axes of size 1 in the table, and not here.
        self.kept = {name: d.constants.get("axis") for name in d.inputs if d.shapes[name] == "kept"}
        try:
            known = d.forward(**{a: np.full(to, 0.5) for a, to in d.shapes_for(dict.fromkeys(d.size_names, 2)).items()})
        except Exception as error:
            raise self._not_drawn(error) from error
        whole = {name for name in d.inputs if name not in self.kept}
        self.ones = {a: () if a in whole else tuple(i for i, n in enumerate(np.shape(known[a])) if n == 1) for a in d.variables}

    def _not_drawn(self, error: Exception) -> ValueError:
        d = self.derivation
        return ValueError(
            f"no batch can be drawn for {d.name}: {error}. Say what its inputs look like, Derivation(…, shapes={{{d.inputs[0]!r}: "
            f"('m', 'k'), …}}, domains={{{d.inputs[0]!r}: …}}), a domain being {listed([*DOMAINS])}; or pass batches"
        )

    def adversarial(self, seed: int) -> Iterator[tuple[Any, ...]]:
        """Small batches that tell the usual mistakes apart."""
        d, first, axis = self.derivation, self.derivation.inputs[0], self.derivation.constants.get("axis")
        random = np.random.default_rng(seed)
        for m, k, dtype, small, other, scale, offset in ADVERSARIAL:
            sizes = dict(zip(d.size_names, (m, k, 2, 3, *[2] * len(d.size_names))))
            shapes = {a: self.dropped(a, to) for a, to in d.shapes_for(sizes).items()}
            scales = {a: np.asarray(random.uniform(1.25, 2.5, to)) for a, to in shapes.items() if d.domains.get(a) == "scale"}
            numbers = {a: g * (-1.0) ** np.arange(g.size).reshape(g.shape) for a, g in scales.items()}
            constants = [v * (small if abs(v) <= 1e-3 else other) if isinstance(v, float) else v for v in self.constants.values()]
            try:
                due = self._result({a: np.full(to, 0.5) for a, to in shapes.items()}, constants).shape
                upstream = np.asarray(random.normal(size=due))
                for a, to in shapes.items():
                    if a not in numbers:
                        numbers[a] = np.asarray(RANDOM[d.domains.get(a, "")](random, to))
                plain = numbers[first]
                if shapes[first] and not d.domains.get(first):
                    ndim = len(shapes[first])
                    along = max([i for i in range(ndim) if axis is None or i not in axes(ndim, axis)], default=0)
                    scaled = np.resize(scale, shapes[first][along]).reshape([-1 if i == along else 1 for i in range(ndim)])
                    numbers[first] = plain * scaled + offset
                if not self._finite(upstream, numbers, constants):  # so large that an exp overflows, say
                    numbers[first] = plain
                    if not np.isfinite(self._result(numbers, constants)).all():
                        raise ValueError(f"{d.result} is not finite where {first} is any number")
            except Exception as error:
                raise self._not_drawn(error) from error
            yield (*[np.asarray(a, dtype=dtype) for a in (upstream, *[numbers[a] for a in d.inputs])], *constants)

    def _finite(self, upstream: Array, arrays: Mapping[str, Array], constants: list[Any]) -> bool:
        """Whether the result is finite, and all gradients are."""
        known = self.values(arrays, constants, np.float64)
        return all(
            np.isfinite(a).all() for a in (known[self.derivation.result], *self.derivation.backward(upstream, **known).values())
        )

    def _result(self, arrays: Mapping[str, Array], constants: list[Any]) -> Array:
        return np.asarray(self.values(arrays, constants, np.float64)[self.derivation.result])

    def checked(self, batch: tuple[Any, ...]) -> tuple[list[Array], list[Any]]:
        """The arrays and the constants of a batch. ValueError for one that does not fit the derivation."""
        d, first, names = self.derivation, self.derivation.inputs[0], [*self.arguments, *self.constants]
        if len(batch) != len(names):
            what = f"batches is a list of tuples ({', '.join(names)}), and one of them has length {len(batch)}, not {len(names)}"
            raise ValueError(what)
        constants, dims = list(batch[len(self.arguments) :]), d.shapes[first]
        x = np.asarray(batch[1])
        if x.ndim != len(dims) or x.dtype not in (np.float32, np.float64) or not x.size:
            due = f"({', '.join(dims)}{',' * (len(dims) == 1)})"
            raise ValueError(f"{first} is a batch of shape {due} of float32 or float64, and this is of shape {x.shape}, {x.dtype}")
        arrays = dict(zip(self.arguments, (np.asarray(a, dtype=x.dtype) for a in batch)))
        self._check(arrays, {name: self.dropped(name, to) for name, to in d.shapes_for(self.sizes(arrays)).items()})
        for name, value in zip(self.constants, constants):  # where it may be 0, a wrong gradient of a constant column is nobody's
            if name == "eps" and not value > 0:
                raise ValueError(f"eps is greater than 0 here, for constant columns, and this is {value}")
        result = self.values(arrays, constants, x.dtype)[d.result]
        self._check(arrays, {d.upstream: np.shape(result)})
        if not np.isfinite(result).all():
            raise ValueError(f"{d.result} is not finite on this batch: {result}. Is it in the domain of {d.name}?")
        return list(arrays.values()), constants

    def _check(self, arrays: Mapping[str, Array], due: Mapping[str, Shape]) -> None:
        for name, expected in due.items():
            a = arrays[name]
            if a.shape != expected or not np.isfinite(a).all():
                raise ValueError(f"{name} is of shape {expected} and finite, and this is of shape {a.shape}: {a}")

    def sizes(self, arrays: Mapping[str, Array]) -> dict[str, int]:
        """The sizes of the axes by their names; of an axis of several inputs, the first one's."""
        d = self.derivation
        return {n: size for a in d.inputs[::-1] if a not in self.kept for n, size in zip(d.shapes[a], arrays[a].shape)}

    def dropped(self, name: str, to: Shape) -> Shape:
        """A shape without the axes that may be dropped."""
        return tuple(n for i, n in enumerate(to) if i not in self.ones.get(name, ()))

    def values(self, arrays: Mapping[str, Array], constants: list[Any], dtype: Any) -> dict[str, Value]:
        """All variables and constants of the derivation, in numbers of this dtype."""
        d = self.derivation
        numbers = {a: arrays[a].astype(dtype) for a in d.inputs}
        numbers |= {a: np.expand_dims(numbers[a], axes(np.ndim(arrays[d.inputs[0]]), axis)) for a, axis in self.kept.items()}
        wide = dtype == np.longdouble
        numbers |= {a: dtype(v) if wide and isinstance(v, (float, np.floating)) else v for a, v in zip(self.constants, constants)}
        return d.forward(**numbers)
