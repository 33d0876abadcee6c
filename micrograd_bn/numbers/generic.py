"""An array of any size as a kind of number: by its generic element, an expression of whatever algebra a kind brings along."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from ..kinds import OPERATORS, Array, Value, boxed, is_tensor
from ..shapes import Axis, Shape, axes, broadcast_shape

Algebraic = Any  # an expression of the algebra: it has operators
_Kind = TypeVar("_Kind", bound="Generic")


class Generic:
    """An array of numbers whose axes are as long as symbols: ``e`` is its generic element, and holds for each.

    An axis is known by its size. So no shape has a size twice: of an (n, n) array and its transpose the generic element is one.

    A kind says how its algebra goes on: ``expression`` makes one of a number, ``power`` and ``total``, a sum along an axis, are
    of expressions. Its other methods, such as ``exp``, are what NumPy's functions of that name do.
    """

    dtype = np.dtype(object)
    expression: Callable[[Any], Algebraic]
    power: Callable[[Algebraic, Algebraic], Algebraic]
    total: Callable[[Algebraic, Any], Algebraic]
    largest: Callable[[Algebraic, Any], Algebraic]

    def __init__(self, e: Any, shape: Shape = ()):
        sizes = [n for n in shape if n != 1]
        if len({*sizes}) < len(sizes):
            raise TypeError(f"an array of shape {_named(shape)} has a size twice")
        self.e, self.shape = type(self).expression(e), shape

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.e})"

    @staticmethod
    def _operator(
        function: Callable[[Any, Algebraic, Algebraic], Algebraic], reflected: bool = False
    ) -> Callable[[Any, Value], Any]:
        def method(self: _Kind, other: Value) -> Any:
            if is_tensor(other) or isinstance(other, np.ndarray):
                return NotImplemented
            kind = type(self)
            other = other if isinstance(other, kind) else kind(other)
            first, second = (other, self) if reflected else (self, other)
            return kind(function(kind, first.e, second.e), broadcast_shape(first.shape, second.shape))

        return method

    __add__, __radd__ = _operator(lambda k, a, b: a + b), _operator(lambda k, a, b: a + b, True)
    __sub__, __rsub__ = _operator(lambda k, a, b: a - b), _operator(lambda k, a, b: a - b, True)
    __mul__, __rmul__ = _operator(lambda k, a, b: a * b), _operator(lambda k, a, b: a * b, True)
    __truediv__ = _operator(lambda k, a, b: a * k.power(b, k.expression(-1)))
    __rtruediv__ = _operator(lambda k, a, b: a * k.power(b, k.expression(-1)), True)
    __pow__, __rpow__ = _operator(lambda k, a, b: k.power(a, b)), _operator(lambda k, a, b: k.power(a, b), True)

    def __neg__(self: _Kind) -> _Kind:
        return type(self)(-self.e, self.shape)

    def __matmul__(self, other: Value) -> Any:
        if not isinstance(other, type(self)):
            return NotImplemented
        *rows, n = self.shape
        inner, *columns = other.shape
        if len(rows) > 1 or len(columns) > 1 or n != inner or {*rows} & {*columns} - {1}:
            raise TypeError(f"a matrix product of {_named(self.shape)} and {_named(other.shape)} has a size twice")
        return type(self)(self.e * other.e, (*rows, n, *columns)).sum(axis=len(rows))

    def __getitem__(self: _Kind, index: Any) -> _Kind:
        index = list(index) if isinstance(index, tuple) else [index]
        index += [] if any(i is ... for i in index) else [...]
        end, given = next(n for n, i in enumerate(index) if i is ...), sum(i is not None for i in index) - 1
        index[end : end + 1] = [slice(None)] * (len(self.shape) - given)
        sizes, to = iter(self.shape), []
        for i in index:
            n = 1 if i is None else next(sizes)
            if not (i is None or (isinstance(i, slice) and i == slice(None)) or (type(i) is int and i == 0 and n == 1)):
                raise TypeError("an array of any size has a generic element, and no element that is picked by its place")
            to += [n] * (type(i) is not int)
        return type(self)(self.e, tuple(to))

    def scatter(self: _Kind, index: Any, to: Shape) -> _Kind:
        """What ``[index]`` has taken, in its place again: all of it, for nothing less is taken."""
        return type(self)(self.e, tuple(to))

    def expm1(self: Any) -> Any:
        """e to the power of each, less 1."""
        return self.exp() - 1

    def log1p(self: Any) -> Any:
        """The logarithm of 1 and each."""
        return (1 + self).log()

    def sqrt(self: _Kind) -> _Kind:
        """The square root."""
        return type(self)(type(self).power(self.e, type(self).expression(Fraction(1, 2))), self.shape)

    @property
    def T(self: _Kind) -> _Kind:
        """The transpose."""
        return self._transpose()

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> Any:
        """How many numbers there are."""
        return math.prod(self.shape)

    # ---- reductions

    def _reduced(self: _Kind, axis: Axis, keepdims: bool, reduce: Callable[[Algebraic, Any], Algebraic]) -> _Kind:
        e, gone = self.e, axes(len(self.shape), axis)
        for n in reversed([self.shape[i] for i in sorted(gone) if self.shape[i] != 1]):  # the first is the outermost
            e = reduce(e, n)
        left = [1 if i in gone else n for i, n in enumerate(self.shape) if keepdims or i not in gone]
        return type(self)(e, tuple(left))

    def sum(self: _Kind, axis: Axis = None, keepdims: bool = False) -> _Kind:
        """The sum."""
        return self._reduced(axis, keepdims, type(self).total)

    def mean(self: _Kind, axis: Axis = None, keepdims: bool = False) -> _Kind:
        """The mean: the sum, divided by how many there are."""
        kind = type(self)
        return self._reduced(axis, keepdims, lambda e, n: kind.total(e, n) * kind.power(kind.expression(n), kind.expression(-1)))

    def max(self: _Kind, axis: Axis = None, keepdims: bool = False) -> _Kind:
        """The largest, of which no more is known."""
        return self._reduced(axis, keepdims, type(self).largest)

    def min(self: _Kind, axis: Axis = None, keepdims: bool = False) -> _Kind:
        """The smallest: less the largest of all with the other sign."""
        return -(-self).max(axis, keepdims)

    def astype(self: _Kind, dtype: Any) -> _Kind:
        """The same numbers, for an expression has all digits; a condition is 1 or 0."""
        return type(self)(self.e, self.shape)

    # ---- selections, for a kind that has comparisons

    def maximum(self: Any, other: Value) -> Any:
        """The larger of each two."""
        return self._where(self > other, self, other)

    def minimum(self: Any, other: Value) -> Any:
        """The smaller of each two."""
        return self._where(self < other, self, other)

    def clip(self: Any, low: Value, high: Value) -> Any:
        """Each, or the nearest of two bounds where it is beyond."""
        return self.maximum(low).minimum(high)

    # ---- NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Value, **kwargs: Any) -> Any:
        if any(map(is_tensor, inputs)):
            return NotImplemented
        kind = type(self)
        given = next((a for a in inputs if isinstance(a, np.ndarray)), None)
        if given is not None and given.dtype.kind not in "Obiu":
            raise TypeError(f"a {kind.__name__} is an expression of symbols, and does not mix with an array of {given.dtype}")
        name, function = ufunc.__name__, OPERATORS.get(ufunc)
        if given is None and method == "__call__" and not kwargs and (function or hasattr(kind, name)):
            own = [a if isinstance(a, kind) else kind(a) for a in inputs]
            return function(*own) if function else getattr(kind, name)(*own)
        return getattr(ufunc, method)(*self._singles(name, inputs), **kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        own = getattr(type(self), FUNCTIONS.get(function, ""), None)
        if own is not None and not any(isinstance(a, np.ndarray) for a in args):
            return own(*args, **kwargs)
        return function(*self._singles(function.__name__, args), **kwargs)

    def _singles(self, name: str, inputs: Iterable[Value]) -> list[Value]:
        """The inputs of a function that has no rule, which goes through arrays of single numbers element by element."""
        own = [a for a in inputs if isinstance(a, type(self))]
        if not own or any({*a.shape} - {1} for a in own):
            raise self._no_rule(name)
        return [a._single() if isinstance(a, type(self)) else a for a in inputs]

    def _single(self) -> Array:
        """An array of one number."""
        return np.reshape(boxed(type(self)(self.e)), self.shape)

    def _no_rule(self, name: str) -> TypeError:
        return TypeError(f"numpy.{name} has no rule for a batch of any size")

    def _broadcast_to(self, shape: Shape) -> Any:
        if not {*self.shape} - {1} and {*map(type, shape)} == {int} and {*shape} - {1}:
            return np.broadcast_to(self._single(), shape)
        if broadcast_shape(self.shape, shape) != tuple(shape):
            raise ValueError(f"an array of shape {_named(self.shape)} is not repeated to {_named(shape)}")
        if any(type(n) is int and n > 1 for n in shape):
            raise TypeError(f"an array of shape {_named(self.shape)} is repeated to {_named(shape)}, of a size that is a number")
        return type(self)(self.e, shape)

    def _reshape(self: _Kind, shape: Shape | int) -> _Kind:
        to = [shape] if isinstance(shape, int) else list(shape)
        own = [n for n in self.shape if n != 1]
        if -1 in to and len(left := [n for n in own if n not in to]) < 2:
            to[to.index(-1)] = left[0] if left else 1
        if [n for n in to if n != 1] != own:
            raise TypeError(f"an array of shape {_named(self.shape)} becomes {_named(to)} only where these are numbers")
        return type(self)(self.e, tuple(to))

    def _transpose(self: _Kind, order: Iterable[int] | None = None) -> _Kind:
        return type(self)(self.e, tuple([self.shape[i] for i in order]) if order is not None else self.shape[::-1])


FUNCTIONS: dict[Any, str] = {
    np.sum: "sum",
    np.mean: "mean",
    np.max: "max",
    np.min: "min",
    np.where: "_where",
    np.clip: "clip",
    np.broadcast_to: "_broadcast_to",
    np.reshape: "_reshape",
    np.transpose: "_transpose",
}


def _named(shape: Iterable[Any]) -> str:
    return f"({', '.join(map(str, shape))})"
