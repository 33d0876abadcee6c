"""Kinds of number: what a Tensor may hold, and what is said when two kinds that do not mix have met."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from .shapes import shape

# A Tensor, or data: a number of any kind, or an array of them. Nobody looks inside, so no type says more.
Value: TypeAlias = Any

# Of any shape and dtype.
Array: TypeAlias = np.ndarray[Any, Any]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def as_data(value: Any) -> Any:
    """``value`` as the engine keeps it: integers and booleans become float64, sequences become arrays, other numbers stay.

    Raises TypeError for what is no number or not real, and for what is already a Tensor; ValueError for a ragged sequence.
    """
    if isinstance(value, float) or (type(value) is np.ndarray and value.dtype.kind == "f"):
        return value
    if isinstance(value, (bool, int)):
        return float(value)
    if is_tensor(value):
        raise TypeError("this is a Tensor already: where plain numbers are wanted, take its .data")
    if isinstance(value, (list, tuple)) or (hasattr(value, "__array__") and not hasattr(value, "__array_function__")):
        try:
            value = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"rows of different lengths do not make an array ({error})") from None
    if not is_number(value):
        raise TypeError(f"a Tensor holds real numbers, and this is {_name(value)}: convert it first")
    kind = getattr(getattr(value, "dtype", None), "kind", "f")
    if kind in "biu":
        return value.astype(np.float64)
    if kind not in "fO":
        raise TypeError(f"a Tensor holds real numbers, and this array has dtype {value.dtype}: convert it first")
    if isinstance(value, np.ndarray) and kind == "O":
        for index, element in np.ndenumerate(value):
            if element is None or isinstance(element, (str, bytes)):
                raise TypeError(f"a Tensor holds numbers, and element {list(index)} is {_name(element)}: convert it first")
    if any(n != n for n in shape(value)):
        raise ValueError("a Dask array with unknown chunk sizes has no shape yet: call its compute_chunk_sizes() first")
    return value


def is_tensor(value: Any) -> bool:
    """Whether this is a Tensor, which this module cannot import: the engine is built on it."""
    return hasattr(type(value), "record")


def is_number(value: Any) -> bool:
    """Whether this may be a real number or an array of them, of any kind: what can be divided."""
    return hasattr(value, "__truediv__") and not isinstance(value, complex)


def _name(value: Any) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r}"


def explain_kinds(error: TypeError, values: Iterable[Value]) -> TypeError:
    """The error that a number raised, with a line that says what to convert if two kinds of number met."""
    kinds = sorted({kind for value in values if (kind := _kind(value))})
    if len(kinds) < 2 or "do not mix" in str(error):
        return error
    exact = next((kind for kind in kinds if kind != "float"), "")
    example = f", for example by {exact}(str(value))" if "float" in kinds else ""
    return TypeError(
        f"{error}\n{' and '.join(kinds)} do not mix: convert x, gamma, beta, eps and the upstream gradient to one kind{example}"
    )


def explains_kinds(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Decorate a function of numbers so that its TypeError says what to convert (see ``explain_kinds``)."""

    @wraps(function)
    def explained(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            raise explain_kinds(error, (*args, *kwargs.values())) from error

    return explained


def _kind(value: Value) -> str | None:
    """What kind of number this is, or an array is made of: "float", "Decimal", … None for an integer, which goes with all."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    if is_tensor(value):
        value = value.data
    if isinstance(value, np.ndarray) and value.dtype == object and value.size:
        value = value.flat[0]
    if isinstance(value, int) or not is_number(value):
        return None
    return "float" if isinstance(value, float) or hasattr(value, "dtype") else type(value).__name__
