"""NumPy's functions on Tensors: np.sqrt(t), np.mean(t, axis=0) and array * t (NEP 13 and NEP 18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from . import primitives as P
from .kinds import Value, is_number


class NumpyFunctions:
    """What NumPy asks of a class before it applies its functions to it; ``Tensor`` is made on top of it."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Value, **kwargs: Any) -> Value:
        if kwargs.get("out") is not None:
            raise TypeError(f"numpy.{ufunc.__name__} cannot write a Tensor into an array: write a = a + t, not a += t")
        if ufunc not in UFUNCS or method != "__call__" or kwargs:
            raise _no_primitive(ufunc.__name__ + ("" if method == "__call__" else "." + method), kwargs)
        inputs = tuple(np.asarray(a) if isinstance(a, (list, tuple)) else a for a in inputs)
        if any(holds_tensors(a) for a in inputs):  # an array of Tensors is a container: NumPy goes through its elements
            return ufunc(*[_boxed(a) if isinstance(a, NumpyFunctions) else a for a in inputs])
        if not all(is_number(a) for a in inputs):
            return NotImplemented
        return UFUNCS[ufunc](*inputs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Value:
        if function not in METHODS:
            raise _no_primitive(function.__name__, {})
        return getattr(type(self), METHODS[function])(*args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a Tensor does not turn into an array by itself, for its history would be lost: use its .data")


UFUNCS: dict[np.ufunc, Any] = {
    np.add: P.add,
    np.subtract: P.sub,
    np.multiply: P.mul,
    np.divide: P.div,
    np.matmul: P.matmul,
    np.negative: P.neg,
    np.power: lambda a, b: a**b if isinstance(a, NumpyFunctions) else b.__rpow__(a),
    np.square: lambda a: a**2,
    np.sqrt: P.sqrt,
    np.exp: P.exp,
    np.log: P.log,
    np.tanh: P.tanh,
}
METHODS: dict[Any, str] = {
    np.sum: "sum",
    np.mean: "mean",
    np.reshape: "reshape",
    np.transpose: "transpose",
    np.broadcast_to: "broadcast_to",
}


def _no_primitive(name: str, kwargs: dict[str, Any]) -> TypeError:
    options = f" with {', '.join(kwargs)}" if kwargs else ""
    relu = "; np.maximum(t, 0) is t.relu()" if name == "maximum" else ""
    return TypeError(
        f"numpy.{name}{options} has no primitive here, so it cannot be differentiated: compose it from those there are "
        f"({', '.join(sorted(f.__name__ for f in (*UFUNCS, *METHODS)))}{relu}), or apply it to .data"
    )


def holds_tensors(value: Any) -> bool:
    """Whether this is an array of Tensors, as ``scalars`` makes them: a container, not data."""
    return isinstance(value, np.ndarray) and value.dtype == object and value.size > 0 and isinstance(value.flat[0], NumpyFunctions)


def _boxed(tensor: NumpyFunctions) -> np.ndarray[Any, Any]:
    box = np.empty((), dtype=object)
    box[()] = tensor
    return box
