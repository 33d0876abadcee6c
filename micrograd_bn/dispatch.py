"""What a Tensor does as NumPy's arrays do: operators, methods, and NumPy's functions, np.sqrt(t) or array * t (NEP 13 and 18)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from . import functions as F
from . import primitives as P
from .kinds import Array, Value, as_constant, boxed, is_number, is_tensor
from .shapes import shape

if TYPE_CHECKING:
    from .engine import Tensor


def _operator(primitive: P.Primitive, reflected: bool = False) -> Callable[[Any, Value], Any]:
    def method(self: Tensor, other: Value) -> Any:
        if not (isinstance(other, ArrayLike) or type(other) is float or type(other) is int):
            other = as_constant(other, self.data)
            if not is_number(other) or (isinstance(other, np.ndarray) and other.dtype == object):
                return NotImplemented  # an object array goes through __array_ufunc__, which looks at what it holds
        return self.record(primitive, (other, self) if reflected else (self, other))

    return method


def _method(primitive: P.Primitive) -> Callable[[Any], Any]:
    def method(self: Tensor) -> Any:
        return self.record(primitive, (self,))

    method.__name__, method.__doc__ = primitive.name, f"The primitive ``{primitive.name}``, for each number."
    return method


def _comparison(primitive: P.Primitive) -> Callable[[Any, Value], Any]:
    compare = _operator(primitive)

    def method(self: Tensor, other: Value) -> Any:
        if other is None:
            return NotImplemented  # so that t == None is False
        if not is_number(other) and not isinstance(other, (bool, np.bool_, list, tuple)):
            raise TypeError(f"a Tensor is compared with numbers, and this is {type(other).__name__} {other!r}: convert it first")
        return compare(self, other)

    return method


class ArrayLike:
    """The operators and methods of ``Tensor``, which is made on top of it, and NumPy's functions on it."""

    __slots__ = ()
    _op_priority = 0  # SymPy leaves its operators to what has one, instead of making a number of it

    # ---- operators; ``+=`` and its like rebind the name to a new node, as for any immutable value

    __add__, __radd__ = _operator(P.add), _operator(P.add, reflected=True)
    __sub__, __rsub__ = _operator(P.sub), _operator(P.sub, reflected=True)
    __mul__, __rmul__ = _operator(P.mul), _operator(P.mul, reflected=True)
    __truediv__, __rtruediv__ = _operator(P.div), _operator(P.div, reflected=True)
    __matmul__, __rmatmul__ = _operator(P.matmul), _operator(P.matmul, reflected=True)
    __rpow__ = _operator(P.variable_power, reflected=True)
    _to_the_power_of = _operator(P.variable_power)

    def __pow__(self: Any, exponent: Any) -> Any:
        if isinstance(exponent, ArrayLike):
            return self._to_the_power_of(exponent)
        exponent = as_constant(exponent, self.data)
        if not is_number(exponent):
            return NotImplemented
        return self.record(P.pow, (self,), {"exponent": exponent})

    __neg__, __abs__ = _method(P.neg), _method(P.abs)

    # Comparisons are element by element, and part of the graph, but have no derivative. A Tensor is a key by what it is, not by
    # its numbers.
    __lt__, __le__ = _comparison(P.less), _comparison(P.less_equal)
    __gt__, __ge__ = _comparison(P.greater), _comparison(P.greater_equal)
    __eq__, __ne__ = _comparison(P.equal), _comparison(P.not_equal)
    __hash__ = object.__hash__

    def __getitem__(self: Any, index: Any) -> Any:
        index = tuple(map(_index, index)) if isinstance(index, tuple) else _index(index)
        return self.record(P.getitem, (self,), {"index": index})

    # ---- methods, named and shaped as NumPy's: primitives, and what functions.py has

    sum, mean, prod, max, min, var, std = F.sum, F.mean, F.prod, F.max, F.min, F.var, F.std
    cumsum, argmax, clip, dot, repeat = F.cumsum, F.argmax, F.clip, F.dot, F.repeat
    reshape, ravel, flatten, squeeze, transpose, swapaxes = F.reshape, F.ravel, F.ravel, F.squeeze, F.transpose, F.swapaxes
    broadcast_to, astype = F.broadcast_to, F.astype
    exp, log, sqrt = _method(P.exp), _method(P.log), _method(P.sqrt)
    sin, cos, tanh, relu, abs = _method(P.sin), _method(P.cos), _method(P.tanh), _method(P.relu), _method(P.abs)
    sigmoid, softmax, log_softmax, logsumexp, norm = F.sigmoid, F.softmax, F.log_softmax, F.logsumexp, F.norm

    @property
    def T(self) -> Any:
        """The transpose: the axes reversed."""
        return F.transpose(self)

    # ---- what an array is asked for

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(shape(self))

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(shape(self))

    def item(self: Any) -> Any:
        """The single number in here, as a plain number."""
        try:
            return self.data.item() if hasattr(self.data, "item") else self.data
        except ValueError:
            raise ValueError(f"a Tensor of shape {shape(self)} is no single number: reduce it first, as by sum()") from None

    def numpy(self: Any) -> Array:
        """``data`` as an array: the same memory where it is one."""
        return np.asarray(self.data)

    def tolist(self) -> Any:
        """``data`` as a number, or nested lists of them."""
        return self.numpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self: Any) -> bool:
        try:
            return bool(self.data)
        except ValueError:
            raise ValueError(
                f"a Tensor of shape {shape(self)} is not true or false as one: ask its .data, as in (t > 0).data.all(), or select "
                "with where(t > 0, a, b), which is part of the graph"
            ) from None

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __len__(self) -> int:
        if not shape(self):
            raise TypeError("a Tensor of a single number has no len()")
        return shape(self)[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # ---- NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Value, **kwargs: Any) -> Value:
        if kwargs.get("out") is not None:
            raise TypeError(f"numpy.{ufunc.__name__} cannot write a Tensor into an array: write a = a + t, not a += t")
        if ufunc not in UFUNCS or method != "__call__" or kwargs:
            raise _no_primitive(f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else "." + method), kwargs)
        inputs = tuple(np.asarray(a) if isinstance(a, (list, tuple)) else a for a in inputs)
        if any(holds_tensors(a) for a in inputs):  # an array of Tensors is a container: NumPy goes through its elements
            return ufunc(*[boxed(a) if isinstance(a, ArrayLike) else a for a in inputs])
        if not all(is_number(a) for a in inputs):
            return NotImplemented
        return UFUNCS[ufunc](*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Value:
        own = FUNCTIONS.get(function)
        if own is None:
            raise _no_primitive(f"{function.__module__}.{function.__name__}", ())
        needed, defaults, known = _parameters(function)
        options = {**dict(zip(defaults, args[needed:])), **kwargs}  # by name, for ours are fewer, and in another order
        unknown = [name for name, value in options.items() if name not in known and value is not defaults.get(name)]
        if unknown:
            raise _no_primitive(f"{function.__module__}.{function.__name__}", unknown)
        return own(*args[:needed], **{name: value for name, value in options.items() if name in known})

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        if dtype is not None and np.dtype(dtype) == object and not shape(self):  # NumPy makes an array of Tensors, if it is told to
            return boxed(self)
        raise TypeError(
            "a Tensor does not turn into an array by itself, for its history would be lost: use its .data, or "
            "np.stack([a, b]) for one Tensor of several; if a masked array wants it, fill that first, m.filled(value)"
        )


UFUNCS: dict[np.ufunc, Any] = {
    np.add: P.add,
    np.subtract: P.sub,
    np.multiply: P.mul,
    np.divide: P.div,
    np.matmul: P.matmul,
    np.negative: P.neg,
    np.power: lambda a, b: a**b if isinstance(a, ArrayLike) else b.__rpow__(a),
    np.square: F.square,
    np.less: P.less,
    np.less_equal: P.less_equal,
    np.greater: P.greater,
    np.greater_equal: P.greater_equal,
    np.equal: P.equal,
    np.not_equal: P.not_equal,
    np.sqrt: P.sqrt,
    np.exp: P.exp,
    np.expm1: P.expm1,
    np.log: P.log,
    np.log1p: P.log1p,
    np.sin: P.sin,
    np.cos: P.cos,
    np.tanh: P.tanh,
    np.abs: P.abs,
    np.maximum: P.maximum,
    np.minimum: P.minimum,
}


@cache
def _parameters(function: Callable[..., Any]) -> tuple[int, dict[str, Any], Collection[str]]:
    """Of a function of NumPy's: how many arguments it needs, the defaults of the options that follow, and what ours takes."""
    own = signature(FUNCTIONS[function]).parameters
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # NumPy's compiled functions have one from 2.4 on
        parameters = own.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    any_number = needed[0].kind is needed[0].VAR_POSITIONAL
    return sys.maxsize if any_number else len(needed), defaults, own.keys()


def _where(condition: Value, x: Value = None, y: Value = None) -> Value:
    if x is None or y is None:
        raise TypeError("numpy.where of a condition alone gives places, which have no derivative: apply it to .data")
    return F.where(condition, x, y)


def _clip(a: Value, a_min: Value = None, a_max: Value = None, *, min: Value = None, max: Value = None) -> Value:
    return F.clip(a, a_min if min is None else min, a_max if max is None else max)


def _norm(x: Value, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Value:
    vectors = isinstance(axis, int) or len(shape(x)) == 1
    if ord not in (None, 2 if vectors else "fro"):
        raise TypeError(f"the norm that can be differentiated here is the Euclidean one, and this is of order {ord!r}: compose it")
    return F.norm(x, axis, keepdims)


FUNCTIONS: dict[Any, Any] = {
    np.linalg.norm: _norm,
    np.clip: _clip,
    np.where: _where,
    np.reshape: lambda a, shape: F.reshape(a, shape),
    np.amax: F.max,
    np.amin: F.min,
    **{
        getattr(np, function.__name__): function
        for function in (
            *(F.sum, F.mean, F.prod, F.max, F.min, F.var, F.std, F.cumsum, F.argmax),
            *(F.dot, F.outer, F.tensordot, F.einsum),
            *(F.ravel, F.transpose, F.swapaxes, F.moveaxis, F.expand_dims, F.squeeze),
            *(F.broadcast_to, F.repeat, F.concatenate, F.stack),
        )
    },
}


def _no_primitive(name: str, options: Collection[str]) -> TypeError:
    with_options = f" with {', '.join(options)}" if options else ""
    return TypeError(
        f"{name}{with_options} has no primitive here, so it cannot be differentiated: compose it from those there are "
        f"({', '.join(sorted({f.__name__ for f in (*UFUNCS, *FUNCTIONS)}))}), or apply it to .data"
    )


def _index(index: Any) -> Any:
    """An index as it is now: an array may be changed before the backward pass; a Tensor of booleans is its data."""
    return deepcopy(index.data if is_tensor(index) else index)


def holds_tensors(value: Any) -> bool:
    """Whether this is an array of Tensors, as ``scalars`` makes them: a container, not data."""
    return isinstance(value, np.ndarray) and value.dtype == object and value.size > 0 and isinstance(value.flat[0], ArrayLike)
