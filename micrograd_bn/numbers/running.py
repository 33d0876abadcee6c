"""Numbers that say how far floats may be from them: a running error analysis (Higham, 2002, "Accuracy and stability", §3.3).

The engine never looks inside a number, so the lines that compute with floats compute their own tolerance: what each step makes of
the errors of its inputs, and its own rounding. An operation on two numbers rounds its result; where many are added up, the sums on
the way are rounded, in whatever order.

>>> Float32 = running(np.float32)
>>> x = Float32(np.array([1e4, 1e4 + 1], np.float32))
>>> print((x - x.mean()).error)                # μ is off by 2 roundings of 1e4, and each difference by as much
[0.00119218 0.00119218]
>>> print((x - Float32(x.mean().value)).error)  # the μ that both have: an exact input
[2.98023242e-08 2.98023242e-08]
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, getcontext
from typing import Any, ClassVar

import numpy as np

from .. import primitives as P
from ..dispatch import FUNCTIONS, UFUNCS
from ..kinds import Array, Value, by_kind, is_tensor
from ..shapes import Axis, Shape, count, total

FUNCTION = 8  # roundings' worth in exp, log, tanh, **, …: the SIMD loops of NumPy's promise 4 units in the last place


def running(dtype: Any) -> type[Running]:
    """The kind of number that stands for floats of ``dtype``; for object, Decimals with the digits of the current context."""
    if np.dtype(dtype) == object:
        limits: dict[str, Any] = {"unit": Decimal(10) ** (1 - getcontext().prec), "tiny": 0, "largest": Decimal("Infinity")}
        return type("Running", (Running,), {"wide": object, "infinite": limits["largest"], **limits})
    own, wide = np.finfo(dtype), np.finfo(np.longdouble)
    # Half a last place of the float, and half a one of the value here: longdouble is float64 on some machines.
    limits = {"unit": (own.eps + wide.eps) / 2, "tiny": own.smallest_subnormal, "largest": own.max}
    return type("Running", (Running,), {"narrow": own.dtype, **limits})


class Running(np.lib.mixins.NDArrayOperatorsMixin):
    """A number, or an array of them, in extended precision, and how far from it the same computation in floats may be.

    Make a kind by ``running(dtype)``, and its numbers by ``kind(value)``: exact inputs, as those are that two computations share.
    What runs on arrays runs on them, Tensors too: operators, the primitives, and NumPy's functions that Tensors know. Python's
    floats are rounded to the dtype first, as NumPy does. Comparisons are those of the values.

    value   in longdouble (Decimals: in the digits of the context that it is computed in).
    error   the bound, of the same shape and kind; infinite where nothing is known, as after a division by what may be 0.
    """

    unit: ClassVar[Any]  # the largest relative error of a rounding …
    tiny: ClassVar[Any]  # … and, among subnormal numbers, the largest absolute one
    largest: ClassVar[Any]  # what is larger may be infinite
    infinite: ClassVar[Any] = np.inf
    narrow: ClassVar[Any] = object  # the dtype that floats are rounded to
    wide: ClassVar[Any] = np.longdouble

    def __init__(self, value: Value, error: Value = 0):
        self.value: Array = np.asarray(value, self.wide)
        self.error: Array = np.broadcast_to(np.asarray(error, self.wide), self.value.shape)

    @classmethod
    def lift(cls, value: Value) -> Running:
        """``value`` as a number of this kind, an exact one if it is not."""
        return value if isinstance(value, Running) else cls(np.asarray(value, cls.narrow) if type(value) is float else value)

    @classmethod
    def _rounded(cls, value: Value, carried: Value, roundings: int = 1, size: Value = None) -> Running:
        """A result: the error that its inputs bring along, and its own, in proportion to its size."""
        size = abs(value) + carried if size is None else size
        share = roundings * cls.unit  # n roundings of 1 ± u each are within 1 ± n u / (1 − n u)
        error = carried + (size * (share / (1 - share)) if share < 1 else cls.infinite) + roundings * cls.tiny
        return cls(value, np.where(size + error <= cls.largest, error, cls.infinite))

    @classmethod
    def _of_terms(cls, function: Callable[..., Value], roundings: int, *numbers: Value) -> Running:
        """A function that adds up terms, linear in each of the numbers: its partial sums, in any order, are rounded."""
        lifted = [cls.lift(a) for a in numbers]
        exactly = function(*[abs(a.value) for a in lifted])
        at_most = function(*[abs(a.value) + a.error for a in lifted])
        return cls._rounded(function(*[a.value for a in lifted]), at_most - exactly, roundings, at_most)

    def _moved(self, function: Callable[..., Value], *args: Any, **kwargs: Any) -> Running:
        """What only moves numbers moves their errors with them."""
        return type(self)(function(self.value, *args, **kwargs), function(self.error, *args, **kwargs))

    # ---- what arrays have

    @property
    def shape(self) -> Shape:
        """The value's shape."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self.value.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The value's dtype."""
        return self.value.dtype

    @property
    def T(self) -> Running:
        """The transpose."""
        return self._moved(np.transpose)

    def __getitem__(self, index: Any) -> Running:
        return self._moved(lambda a: a[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError("a Running number does not turn into an array by itself, for its error would be lost: take its .value")

    def __repr__(self) -> str:
        return f"{self.value} ± {self.error}"

    def astype(self, dtype: Any) -> Running:
        """Rounded once more."""
        return self._rounded(self.value, self.error)

    def reshape(self, *to: Any) -> Running:
        """As NumPy's."""
        return self._moved(lambda a: a.reshape(*to))

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The sum over ``axis``, in any order."""
        return self._of_terms(lambda a: total(a, axis, keepdims), max(count(self, axis) - 1, 0), self)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The sum, over how many they are."""
        mean: Running = self.sum(axis, keepdims) / count(self, axis)
        return mean

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The product over ``axis``, in any order."""
        return self._of_terms(lambda a: np.prod(a, axis=axis, keepdims=keepdims), max(count(self, axis) - 1, 0), self)

    def cumsum(self, axis: int) -> Running:
        """The sums of the first, the first two, …"""
        return self._of_terms(lambda a: np.cumsum(a, axis), self.shape[axis], self)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The largest, which is one of them."""
        return self._moved(lambda a: np.max(a, axis, keepdims=keepdims))

    def min(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The smallest."""
        return -(-self).max(axis, keepdims)

    def scatter(self, index: Any, to: Shape) -> Running:
        """The numbers at their places among zeros; where several meet, their sum."""
        return self._of_terms(lambda a: P.scatter.forward(a, index, to), max(count(self, None) - 1, 0), self)

    # ---- NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Value, **kwargs: Any) -> Any:
        if any(is_tensor(a) for a in inputs):
            return NotImplemented
        numbers = [self.lift(a) for a in inputs]
        values = [a.value for a in numbers]
        if ufunc in COMPARISONS:
            return ufunc(*values)
        if ufunc is np.matmul:
            return self._of_terms(np.matmul, values[0].shape[-1], *numbers)
        if ufunc in CARRIED:
            value = by_kind(ufunc.__name__)(*values) if ufunc.nin == 1 else ufunc(*values)
            return self._rounded(value, CARRIED[ufunc](value, *numbers), ROUNDINGS.get(ufunc, FUNCTION))
        return _known(UFUNCS, ufunc)(*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function in MOVES:
            return args[0]._moved(function, *args[1:], **kwargs)
        if function in METHODS:
            return METHODS[function](*args, **kwargs)
        if function is np.where:
            a, b = (self.lift(a) for a in args[1:])
            return type(self)(*[np.where(args[0], *pair) for pair in ((a.value, b.value), (a.error, b.error))])
        if function is np.concatenate:
            numbers = [self.lift(a) for a in args[0]]
            return type(self)(*[np.concatenate(list(p), *args[1:], **kwargs) for p in zip(*[(a.value, a.error) for a in numbers])])
        if function is np.einsum:
            return self._of_terms(lambda *arrays: np.einsum(args[0], *arrays), _terms_of(*args) * (len(args) - 1), *args[1:])
        return _known(FUNCTIONS, function)(*args, **kwargs)


def _known(table: Any, function: Any) -> Callable[..., Any]:
    if function not in table:
        raise TypeError(
            f"how numpy.{function.__name__} carries an error along is not known here: write it with the primitives, or add a line "
            "to CARRIED in numbers/running.py"
        )
    found: Callable[..., Any] = table[function]
    return found


def _terms_of(subscripts: str, *arrays: Value) -> int:
    """How many products each number of an einsum adds up."""
    given, result = subscripts.split("->")
    sizes = {letter: n for own, a in zip(given.split(","), arrays) for letter, n in zip(own, a.shape)}
    return int(np.prod([n for letter, n in sizes.items() if letter not in result], dtype=int))


# ---- How far from y a function of a ± its error is, without the rounding of its own: by its steepest slope in between


def _over(a: Value, b: Value) -> Value:
    """a / b, where a is the error of something divided; b may be 0 or less."""
    within = b > 0
    return np.where(a == 0, a, np.where(within, a / np.where(within, b, 1), np.inf))


def _of_power(y: Value, a: Running, n: Running) -> Value:
    if np.any(n.error != 0):
        by_logarithm: Running = np.exp(n * np.log(a))  # type: ignore[call-overload]
        return by_logarithm.error
    far = abs(a.value) + np.where(n.value >= 1, a.error, -a.error)
    known = (far > 0) & ((a.value > a.error) | (n.value % 1 == 0))
    steepest = abs(n.value) * np.where(known, far, 1) ** np.where(n.value == 0, 0, n.value - 1)
    return np.where((a.error == 0) | (n.value == 0), 0 * a.error, np.where(known, steepest * a.error, np.inf))


CARRIED: dict[np.ufunc, Callable[..., Value]] = {
    np.add: lambda y, a, b: a.error + b.error,
    np.subtract: lambda y, a, b: a.error + b.error,
    np.multiply: lambda y, a, b: abs(a.value) * b.error + (abs(b.value) + b.error) * a.error,
    np.divide: lambda y, a, b: _over(a.error + abs(y) * b.error, abs(b.value) - b.error),
    np.power: _of_power,
    np.negative: lambda y, a: a.error,
    np.abs: lambda y, a: a.error,
    np.maximum: lambda y, a, b: np.maximum(a.error, b.error),
    np.minimum: lambda y, a, b: np.maximum(a.error, b.error),
    np.sqrt: lambda y, a: _over(a.error, y + P.sqrt(a.value - a.error)),
    np.exp: lambda y, a: y * P.expm1(a.error),
    np.expm1: lambda y, a: (y + 1) * P.expm1(a.error),
    np.log: lambda y, a: -P.log1p(-a.error / a.value),
    np.log1p: lambda y, a: -P.log1p(-a.error / (1 + a.value)),
    np.tanh: lambda y, a: a.error,
    np.sin: lambda y, a: a.error,
    np.cos: lambda y, a: a.error,
}
ROUNDINGS = {np.add: 1, np.subtract: 1, np.multiply: 1, np.divide: 1, np.sqrt: 1, **dict.fromkeys((np.negative, np.abs), 0)}
ROUNDINGS |= dict.fromkeys((np.maximum, np.minimum), 0)
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
MOVES = {np.reshape, np.transpose, np.broadcast_to, np.take, np.zeros_like}
METHODS = {np.sum: Running.sum, np.mean: Running.mean, np.prod: Running.prod, np.cumsum: Running.cumsum}
METHODS |= {np.max: Running.max, np.min: Running.min}
