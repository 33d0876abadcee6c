"""A number that knows the size of what it adds up: how far from 0 its rounding error may be, in units of the last place.

A formula of the table, run on ``Sized`` numbers, says how large the terms are that it adds up. A sum or difference of two exact
numbers rounds its result, however large they are; where a sum cancels, its terms count, not what is left of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import primitives as P
from ..kinds import OPERATORS, Value
from ..shapes import Axis, Shape, shape, total


class Sized:
    """value: a number or an array; size: of its terms, of the same shape; 0 is for what is exact.

    >>> x = Sized(np.array([1.0, -3.0]))
    >>> (x * 2).sum().size, (x - 1).sum().size
    (np.float64(8.0), np.float64(4.0))
    """

    __array_priority__ = 1000

    def __init__(self, value: Value, size: Value = 0):
        self.value, self.size = value, size

    @property
    def shape(self) -> Shape:
        """The value's shape."""
        return shape(self.value)

    @property
    def dtype(self) -> Any:
        """The value's dtype."""
        return getattr(self.value, "dtype", np.dtype(float if isinstance(self.value, float) else object))

    # ---- a result rounds in proportion to itself, or to what its inputs bring along

    def __add__(self, other: Value) -> Sized:
        other = sized(other)
        return _rounded(self.value + other.value, self.size + other.size)

    def __neg__(self) -> Sized:
        return Sized(-self.value, self.size)

    def __sub__(self, other: Value) -> Sized:
        return self + -sized(other)

    def __rsub__(self, other: Value) -> Sized:
        return (-self).__add__(other)

    def __mul__(self, other: Value) -> Sized:
        other = sized(other)
        brought = abs(self.value) * other.size, abs(other.value) * self.size
        return _rounded(self.value * other.value, np.maximum(*brought))

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Value) -> Sized:
        other = sized(other)
        quotient = self.value / other.value
        return _rounded(quotient, np.maximum(self.size, abs(quotient) * other.size) / abs(other.value))

    def __rtruediv__(self, other: Value) -> Sized:
        return sized(other) / self

    def __pow__(self, exponent: Value) -> Sized:
        return self._carried(P.pow, exponent=exponent)

    def _carried(self, primitive: P.Primitive, **params: Any) -> Sized:
        """A function of each number carries along what its slope, the primitive's own VJP, makes of it."""
        value = primitive.forward(self.value, **params)
        (slope,) = primitive.vjp(1, value, self.value, **params) if primitive.vjp else (0,)
        return _rounded(value, abs(slope) * self.size)

    def __matmul__(self, other: Value) -> Sized:
        other = sized(other)
        return Sized(self.value @ other.value, _own(self) @ _own(other))

    def __rmatmul__(self, other: Value) -> Sized:
        return sized(other) @ self

    def __getitem__(self, index: Any) -> Sized:
        return Sized(self.value[index], np.broadcast_to(self.size, self.shape)[index])

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Sized:
        """A sum is as large as its terms."""
        return Sized(total(self.value, axis, keepdims), total(np.broadcast_to(_own(self), self.shape), axis, keepdims))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Sized:
        """The sum, over how many they are."""
        value = self.value.mean(axis=axis, keepdims=keepdims)
        return Sized(value, np.broadcast_to(_own(self), self.shape).mean(axis=axis, keepdims=keepdims))

    def max(self, axis: Axis = None, keepdims: bool = False) -> Sized:
        """The largest, which is one of them."""
        return Sized(np.max(self.value, axis, keepdims=keepdims), np.max(_own(self), axis, keepdims=keepdims))

    # ---- comparisons are those of the values

    def __lt__(self, other: Value) -> Any:
        return self.value < sized(other).value

    def __le__(self, other: Value) -> Any:
        return self.value <= sized(other).value

    def __gt__(self, other: Value) -> Any:
        return self.value > sized(other).value

    def __ge__(self, other: Value) -> Any:
        return self.value >= sized(other).value

    # ---- NumPy's functions: what moves numbers, moves their sizes

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Value, **kwargs: Any) -> Any:
        if ufunc in OPERATORS:
            return OPERATORS[ufunc](sized(inputs[0]), *inputs[1:])
        if ufunc in (np.maximum, np.minimum):
            a, b = map(sized, inputs)
            return Sized(ufunc(a.value, b.value), np.maximum(a.size, b.size))
        if not hasattr(P, ufunc.__name__):
            raise TypeError(
                f"the size of numpy.{ufunc.__name__} is not known here, for it is no primitive, which would have a slope"
            )
        return self._carried(getattr(P, ufunc.__name__))

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function in (np.max, np.sum, np.mean):
            return {np.max: Sized.max, np.sum: Sized.sum, np.mean: Sized.mean}[function](*args, **kwargs)
        values = [a.value if isinstance(a, Sized) else a for a in args]
        sizes = [np.broadcast_to(a.size, a.shape) if isinstance(a, Sized) else a for a in args]
        return Sized(function(*values, **kwargs), function(*sizes, **kwargs))


def sized(value: Value) -> Sized:
    """``value`` as a Sized number; an exact one if it is not."""
    return value if isinstance(value, Sized) else Sized(value)


def rounded(value: Value) -> Sized:
    """A number that has been rounded once."""
    return Sized(value, abs(value))


def _rounded(value: Value, brought: Value) -> Sized:
    return Sized(value, np.maximum(abs(value), brought))


def _own(a: Sized) -> Value:
    return np.maximum(abs(a.value), a.size)
