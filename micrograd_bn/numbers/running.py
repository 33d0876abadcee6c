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

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal, getcontext
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from .. import functions as F
from .. import primitives as P
from ..dispatch import FUNCTIONS, UFUNCS
from ..engine import Tensor, adjoints, in_order
from ..kinds import Array, Value, by_kind, is_tensor, zero
from ..shapes import Axis, Shape, count, total

FUNCTION = 8  # roundings' worth in exp, log, tanh, **, …: the SIMD loops of NumPy's promise 4 units in the last place


def running(dtype: Any, wide: Any = np.float64) -> type[Running]:
    """The kind of number that stands for floats of ``dtype``; for object, Decimals with the digits of the current context.

    ``wide`` is what it computes with: float64 for a bound, longdouble for a value with more digits than float64 has.
    """
    if np.dtype(dtype) == object:
        limits: dict[str, Any] = {"unit": Decimal(10) ** (1 - getcontext().prec), "tiny": 0, "largest": Decimal("Infinity")}
        return type("Running", (Running,), {"wide": object, "infinite": limits["largest"], **limits})
    own = np.finfo(dtype)
    # Half a last place of the float, and half a one of the value here. Of subnormal numbers the error is half of the tiniest.
    unit = float(own.eps + np.finfo(wide).eps) / 2
    limits = {"unit": unit, "tiny": float(own.smallest_subnormal), "largest": float(own.max)}
    return type("Running", (Running,), {"narrow": own.dtype, "wide": wide, **limits})


class Running(np.lib.mixins.NDArrayOperatorsMixin):
    """A number, or an array of them, and how far from it the same computation in floats may be.

    Make a kind by ``running(dtype)``, and its numbers by ``kind(value)``: exact inputs, as those are that two computations share.
    What runs on arrays runs on them, Tensors too: operators, the primitives, and NumPy's functions that Tensors know. Python's
    floats are rounded to the dtype first, as NumPy does. Comparisons are those of the values.

    value   in float64 or longdouble (Decimals: in the digits of the context that it is computed in).
    error   the bound, of the same shape and kind; infinite where nothing is known, as after a division by what may be 0.
    """

    unit: ClassVar[Any]  # the largest relative error of a rounding …
    tiny: ClassVar[Any]  # … and, among subnormal numbers, the largest absolute one
    largest: ClassVar[Any]  # what is larger may be infinite
    infinite: ClassVar[Any] = np.inf
    narrow: ClassVar[Any] = object  # the dtype that floats are rounded to
    wide: ClassVar[Any] = np.float64

    def __init__(self, value: Value, error: Value = None):
        self.value: Array = np.asarray(value, self.wide)
        bound = np.asarray(zero(self.value) if error is None else error, self.wide)
        self.error: Array = bound if bound.shape == self.value.shape else np.broadcast_to(bound, self.value.shape)

    @classmethod
    def lift(cls, value: Value) -> Running:
        """``value`` as a number of this kind, an exact one if it is not."""
        return value if isinstance(value, Running) else cls(np.asarray(value, cls.narrow) if type(value) is float else value)

    @classmethod
    def _rounded(cls, value: Value, carried: Value, roundings: int = 1, size: Value = None) -> Running:
        """A result: the error that its inputs bring along, and its own, in proportion to its size."""
        size = abs(value) + carried if size is None else size
        share = roundings * cls.unit  # n roundings of 1 ± u each are within 1 ± n u / (1 − n u)
        error = size * (share / (1 - share)) if share < 1 else size + cls.infinite
        error += carried + roundings * cls.tiny
        known = size + error <= cls.largest
        return cls(value, error if np.all(known) else np.where(known, error, cls.infinite))

    @classmethod
    def _of_terms(cls, function: Callable[..., Value], roundings: int, *numbers: Value) -> Running:
        """A function that adds up terms, linear in each of the numbers: its partial sums, in any order, are rounded."""
        lifted = [cls.lift(a) for a in numbers]
        at_most = [abs(a.value) + a.error for a in lifted]
        size = function(*at_most)
        carried = [function(*at_most[:i], a.error, *at_most[i + 1 :]) for i, a in enumerate(lifted) if np.any(a.error != 0)]
        return cls._rounded(function(*[a.value for a in lifted]), sum(carried), roundings, size)

    def _moved(self, function: Callable[..., Value], *args: Any, **kwargs: Any) -> Running:
        """What only moves numbers moves their errors with them."""
        return type(self)(function(self.value, *args, **kwargs), function(self.error, *args, **kwargs))

    # ---- what arrays have

    shape, ndim, size, dtype = (property(attrgetter(f"value.{name}")) for name in ("shape", "ndim", "size", "dtype"))

    max, min, prod, var, std, clip, dot, cumsum, repeat = F.max, F.min, F.prod, F.var, F.std, F.clip, F.dot, F.cumsum, F.repeat
    reshape, ravel, flatten, squeeze, transpose, swapaxes = F.reshape, F.ravel, F.ravel, F.squeeze, F.transpose, F.swapaxes
    T = property(F.transpose)

    def __getitem__(self, index: Any) -> Running:
        return self._moved(lambda a: a[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError("a Running number does not turn into an array by itself, for its error would be lost: take its .value")

    def astype(self, dtype: Any) -> Running:
        """Rounded once more, to the narrower of the two."""
        wider = self.narrow is object or np.dtype(dtype).kind != "f" or np.finfo(dtype).eps <= np.finfo(self.narrow).eps
        return (self if wider else running(dtype, self.wide))._rounded(self.value, self.error)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Running:
        """The sum over ``axis``, in any order; a single row in NumPy's: pairs of pairs of eight sums each of up to 128 numbers, and
        so for every 8192 of them."""
        n = count(self, axis)
        roundings = min(n - 1, 31 + n // 8192) if self.ndim == 1 else n - 1
        return self._of_terms(lambda a: total(a, axis, keepdims), max(roundings, 0), self)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """The sum, over how many they are."""
        return self.sum(axis, keepdims) / count(self, axis)

    def scatter(self, index: Any, to: Shape) -> Running:
        """The numbers at their places among zeros; where several meet, their sum."""
        return self._of_terms(lambda a: P.scatter.forward(a, index, to), self.size, self)

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
        primitive = getattr(P, ufunc.__name__, None)
        if primitive and primitive.vjp and ufunc.nin == 1:  # all the slopes there are between a − error and a + error
            (slope,) = map(self.lift, primitive.vjp(1, primitive.forward(*values), *numbers))
            return self._rounded(primitive.forward(*values), (abs(slope.value) + slope.error) * numbers[0].error, FUNCTION)
        return UFUNCS[ufunc](*inputs) if ufunc in UFUNCS else NotImplemented

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if function in (np.shape, np.size, np.argmax):
            return function(args[0].value, *args[1:], **kwargs)
        if function in MOVES:
            return args[0]._moved(function, *args[1:], **kwargs)
        if function in OWN:
            return OWN[function](self, *args, **kwargs)
        return FUNCTIONS[function](*args, **kwargs) if function in FUNCTIONS else NotImplemented

    def _where(self, condition: Value, a: Value, b: Value) -> Running:
        a, b = self.lift(a), self.lift(b)
        return type(self)(np.where(condition, a.value, b.value), np.where(condition, a.error, b.error))

    def _concatenate(self, arrays: Sequence[Value], axis: int = 0) -> Running:
        parts = [self.lift(a) for a in arrays]
        return type(self)(np.concatenate([a.value for a in parts], axis), np.concatenate([a.error for a in parts], axis))

    def _prod(self, a: Running, axis: Axis = None, keepdims: bool = False) -> Running:
        value, least, most = (np.prod(n, axis, keepdims=keepdims) for n in (a.value, abs(a.value), abs(a.value) + a.error))
        return self._rounded(value, most - least, 3 * count(a, axis), most)  # all three are rounded

    def _einsum(self, subscripts: str, *arrays: Value) -> Running:
        roundings = _terms_of(subscripts, *arrays) * len(arrays)
        return self._of_terms(lambda *given: np.einsum(subscripts, *given), roundings, *arrays)


def _terms_of(subscripts: str, *arrays: Value) -> int:
    """How many products each number of an einsum adds up."""
    given, result = subscripts.split("->")
    sizes = {letter: n for own, a in zip(given.split(","), arrays) for letter, n in zip(own, a.shape)}
    return int(np.prod([n for letter, n in sizes.items() if letter not in result], dtype=int))


# ---- How far from y a function of a ± its error is, without the rounding of its own: by its steepest slope in between


def _over(a: Value, b: Value) -> Value:
    """a / b, where a is the error of something divided, and b may be 0 or less."""
    return np.where(a == 0, a, a / np.where(b > 0, b, 0))


def _of_power(y: Value, a: Running, n: Running) -> Value:
    if np.any(n.error != 0):
        by_logarithm: Any = np.exp(n * np.log(a))
        return by_logarithm.error
    far = abs(a.value) + np.where(n.value >= 1, a.error, -a.error)
    known = (far > 0) & ((a.value > a.error) | (n.value % 1 == 0))
    steepest = abs(n.value) * np.where(known, far, 1) ** np.where(n.value == 0, 0, n.value - 1)
    return np.where((a.error == 0) | (n.value == 0), 0 * a.error, np.where(known, steepest * a.error, a.infinite))


def _of_the_winner(y: Value, a: Running, b: Running) -> Value:
    beyond_doubt = abs(a.value - b.value) > a.error + b.error
    return np.where(beyond_doubt, np.where(y == a.value, a.error, b.error), np.maximum(a.error, b.error))


CARRIED: dict[Any, Callable[..., Value]] = {
    np.multiply: lambda y, a, b: abs(a.value) * b.error + (abs(b.value) + b.error) * a.error,
    np.divide: lambda y, a, b: _over(a.error + abs(y) * b.error, abs(b.value) - b.error),
    np.power: _of_power,
    np.sqrt: lambda y, a: _over(a.error, y + P.sqrt(a.value - a.error)),
    np.exp: lambda y, a: y * P.expm1(a.error),
    np.expm1: lambda y, a: (y + 1) * P.expm1(a.error),
    **dict.fromkeys((np.add, np.subtract), lambda y, a, b: a.error + b.error),
    **dict.fromkeys((np.maximum, np.minimum), _of_the_winner),
    **dict.fromkeys((np.negative, np.abs, np.tanh, np.sin, np.cos), lambda y, a: a.error),
}
ROUNDINGS: dict[Any, int] = dict.fromkeys((np.add, np.subtract, np.multiply, np.divide, np.sqrt), 1)
ROUNDINGS |= dict.fromkeys((np.negative, np.abs, np.maximum, np.minimum), 0)
COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
OWN: dict[Any, Callable[..., Any]] = {
    np.where: Running._where,
    np.concatenate: Running._concatenate,
    np.prod: Running._prod,
    np.einsum: Running._einsum,
    np.cumsum: lambda self, a, axis: self._of_terms(lambda n: np.cumsum(n, axis), a.shape[axis], a),
    np.min: lambda self, a, axis=None, keepdims=False: -np.max(-a, axis, keepdims=keepdims),
}
MOVES = {np.reshape, np.transpose, np.broadcast_to, np.take, np.zeros_like, np.max}


# ---- A graph


def twins(roots: list[Tensor]) -> dict[Tensor, Tensor]:
    """What rounding may have made of a graph of floats: each node's twin, in the same graph of Running numbers.

    Of other numbers nothing is known, nor of what leads to a node whose primitive such numbers do not go through, a fused one.
    """
    graph = in_order(roots)
    plain = (float, bool, np.generic, np.ndarray)
    own = [np.asarray(node.data if isinstance(node.data, plain) else None).dtype for node in graph]
    if np.dtype(object) in own:
        return {}
    number = running(max((dtype for dtype in own if dtype.kind == "f"), key=lambda dtype: np.finfo(dtype).eps))
    twins: dict[Tensor, Tensor] = {}
    for node in graph:
        twins[node] = Tensor(number(node.data))
        if node.primitive:
            with suppress(TypeError, AttributeError):
                inputs = tuple(twins[a] if isinstance(a, Tensor) else a for a in node.inputs)
                twins[node] = Tensor.record(node.primitive, inputs, node.params)
    ends = {twins[root]: number(root.grad) for root in roots if root.grad is not None}
    with suppress(TypeError, AttributeError):
        for node, g in adjoints(ends).items():
            node.grad = g
    return twins
