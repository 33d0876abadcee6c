"""Kinds of number: what a Tensor may hold, and what is said when two kinds that do not mix have met."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import wraps
from numbers import Number
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

    Raises TypeError for what is no number or not real, for masked arrays, and for what is a Tensor already; ValueError for a ragged
    sequence.
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
    value = _unmasked(value)
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


def as_constant(value: Any, like: Any) -> Any:
    """A constant that meets the number ``like``: a sequence becomes an array; integers and single numbers take its dtype, so that
    float32 stays float32. Other kinds stay as they are. Raises TypeError for masked arrays and complex numbers."""
    if type(value) is float or type(value) is int or is_tensor(value):
        return value
    value = _unmasked(np.asarray(value) if isinstance(value, (list, tuple)) else value)
    kind, dtype = getattr(getattr(value, "dtype", None), "kind", ""), getattr(like, "dtype", None)
    if kind == "c":
        raise TypeError(f"a Tensor is computed with real numbers, and these are {value.dtype}: take their .real, or their abs()")
    single = isinstance(value, np.number) or (type(value) is np.ndarray and not value.ndim)
    if single and (dtype is None or dtype.kind == "O"):
        return value.item()  # a float, a Decimal: they mix with Python's own numbers only
    if (kind in ("i", "u") or single) and dtype is not None and dtype.kind == "f":
        return value.astype(dtype)
    return value


def _unmasked(value: Any) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            "a masked array has no gradient here, for its mask would be lost: take what it keeps, a.compressed(), or fill the "
            "rest, a.filled(value)"
        )
    return np.asarray(value) if isinstance(value, np.matrix) else value  # whose * is another product


def apply(function: Callable[..., Any], values: Sequence[Value], params: Mapping[str, Any]) -> Any:
    """``function(*values, **params)``, in NumPy's arithmetic: where Python's floats raise, inf or NaN with NumPy's warning."""
    try:
        return function(*values, **params) if params else function(*values)
    except (ZeroDivisionError, OverflowError):  # which other kinds of number raise again
        return function(*[np.float64(value) if type(value) is float else value for value in values], **params)
    except TypeError as error:
        raise explain_kinds(error, values) from error


# ---- What each kind of number does in its own way

# For a kind of our own: the operator that NumPy's function of arrays stands for.
OPERATORS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.negative: operator.neg,
    np.absolute: operator.abs,
    np.power: operator.pow,
    np.matmul: operator.matmul,
}


def zero(like: Value) -> Value:
    """0, as the kind of number that ``like`` is, or is made of."""
    if type(like) is float:
        return 0.0
    if is_tensor(like):
        return zero(like.data)
    if hasattr(like, "shape") and like.dtype.kind == "O" and 0 not in like.shape:
        like = like[(0,) * like.ndim] if isinstance(like, np.ndarray) else (like * 0).sum()  # not all have elements to pick
    dtype = getattr(like, "dtype", np.dtype(object))
    return like * 0 if dtype.kind == "O" else dtype.type(0)


def one(like: Value) -> Value:
    """1, as the kind of number that ``like`` is, or is made of."""
    return zero(like) + 1


def zeros(like: Value) -> Value:
    """``zero``, for each number in ``like``: data of the same shape."""
    return zero(like) if getattr(getattr(like, "dtype", None), "kind", "O") == "O" else np.zeros_like(like)[()]


def power(a: Value, b: Value) -> Value:
    """a to the power of b: NaN where Python's floats would leave the real numbers."""
    y = a**b
    return np.float64(a) ** float(b) if type(y) is complex else y


def by_kind(name: str) -> Callable[[Value], Value]:
    """The function of this name, for each kind of number: NumPy's, or the number's own method, or its library's function.

    >>> from fractions import Fraction
    >>> print(by_kind("sqrt")(4.0), by_kind("sqrt")(Fraction(9, 4)))
    2.0 1.5
    """
    ufunc: Any = getattr(np, name)
    each: Any = np.frompyfunc(lambda number: _own(name, number), 1, 1)

    def function(a: Value) -> Value:
        try:
            return ufunc(a)
        except (TypeError, AttributeError):  # it looks for a method of that name, and there is none
            return each(a)

    return function


OTHERWISE: dict[str, Callable[[Value], Value]] = {  # where a kind has none of its own
    "sqrt": lambda a: power(a, Fraction(1, 2)),
    "log": lambda a: a.ln(),
    "expm1": lambda a: _own("exp", a) - 1,
    "log1p": lambda a: _own("log", 1 + a),
    "tanh": lambda a: 1 - 2 / (_own("exp", 2 * a) + 1),
}


def _own(name: str, number: Value) -> Value:
    if type(number) is float or type(number) is int:
        return float(getattr(np, name)(number))
    library = sys.modules.get(type(number).__module__.partition(".")[0])
    for function in (getattr(type(number), name, None), getattr(library, name, None), OTHERWISE.get(name)):
        if callable(function):  # a SymPy power's exp is its exponent
            try:
                return function(number)
            except AttributeError:
                continue
    raise TypeError(f"{type(number).__name__} has no {name}: convert to a kind of number that has, such as float or mpmath's mpf")


def dtype_of(data: Any) -> np.dtype[Any]:
    """The dtype of data: float64 for Python's float, object for numbers that NumPy does not know."""
    dtype: np.dtype[Any] | None = getattr(data, "dtype", None)
    return np.dtype(type(data) if isinstance(data, (float, bool)) else object) if dtype is None else dtype


def is_tensor(value: Any) -> bool:
    """Whether this is a Tensor, which this module cannot import: the engine is built on it."""
    return hasattr(type(value), "record")


def is_number(value: Any) -> bool:
    """Whether this may be a real number or an array of them, of any kind: what can be divided."""
    return hasattr(value, "__truediv__") and not isinstance(value, complex)


def is_boolean(value: Any) -> bool:
    """Whether this is true or false, of any kind (SymPy has one of its own), or an array of that."""
    if hasattr(value, "dtype"):
        return bool(value.dtype == bool)
    return isinstance(value, bool) or (hasattr(value, "__bool__") and not isinstance(value, (Number, type(None))))


def boxed(value: Any) -> Array:
    """A number that is no array's own, as an array without axes: NumPy goes through such arrays element by element."""
    box = np.empty((), dtype=object)
    box[()] = value
    return box


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
