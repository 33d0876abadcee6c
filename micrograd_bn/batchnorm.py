"""Batch normalisation from primitives: the derivation's equations (1) to (4), and ``batch_norm``, which chains them.

Each equation is a function of the variables on its right-hand side, so that the graph's edges are the derivation's:
(2) and (3) each subtract mu for themselves, and x leads to mu, to var and to x_hat.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from .engine import Step, Tensor
from .kinds import Value, as_data, explains_kinds
from .primitives import sqrt
from .shapes import Axis, Shape, axes, shape

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def equation(number: int, output: str) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Name the result of a function after the variable it computes, and let it remember which equation it came from."""

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        names = tuple(name for name in inspect.signature(function).parameters if name not in ("axis", "eps"))

        explained = explains_kinds(function)

        @wraps(function)
        def numbered(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            result = explained(*args, **kwargs)
            if isinstance(result, Tensor):
                result.label, result.equation = output, Step(number, output, names, args)
            elif isinstance(result, np.ndarray) and result.dtype.kind == "O":
                for index, element in np.ndenumerate(result):
                    if isinstance(element, Tensor):
                        element.label = f"{output}[{','.join(map(str, index))}]"
                        element.equation = Step(number, output, names, args)
            return result

        return numbered

    return decorate


@equation(1, "mu")
def mean(x: Value, axis: Axis = 0) -> Value:
    """Equation (1), the batch mean: mu = 1/m Σ x, over ``axis``, which stays as size 1.

    >>> mean(np.array([[1.0, 10.0], [3.0, 30.0]]))
    array([[ 2., 20.]])
    """
    return x.mean(axis=axis, keepdims=True)


@equation(2, "var")
def variance(x: Value, mu: Value, axis: Axis = 0) -> Value:
    """Equation (2), the (biased) batch variance: var = 1/m Σ (x − mu)², over ``axis``, which stays as size 1.

    >>> variance(np.array([[1.0, 10.0], [3.0, 30.0]]), mu=np.array([[2.0, 20.0]]))
    array([[  1., 100.]])
    """
    return ((x - mu) ** 2).mean(axis=axis, keepdims=True)


@equation(3, "x_hat")
def normalize(x: Value, mu: Value, var: Value, eps: Value = 1e-5) -> Value:
    """Equation (3), the normalised batch, of x's shape: x_hat = (x − mu) / √(var + eps).

    >>> normalize(np.array([1.0, 3.0]), mu=2.0, var=0.99, eps=0.01)
    array([-1.,  1.])
    """
    return (x - mu) / sqrt(var + eps)


@equation(4, "y")
def scale_shift(x_hat: Value, gamma: Value, beta: Value) -> Value:
    """Equation (4), scaled and shifted, of x_hat's shape: y = gamma x_hat + beta.

    >>> scale_shift(np.array([-1.0, 1.0]), gamma=2.0, beta=1.0)
    array([-1.,  3.])
    """
    return gamma * x_hat + beta


def batch_norm(x: Value, gamma: Value, beta: Value, eps: Value = 1e-5, axis: int | tuple[int, ...] = 0) -> Value:
    """Batch normalisation of ``x``: equations (1) to (4), one after the other.

    x       the batch, of any shape: a Tensor (the result is then part of its graph), an array of any kind of number, or
            an object array of scalar Tensors.
    gamma   the scale and
    beta    the shift; they broadcast against x.
    eps     added to the variance, in the units of x squared; not negative.
    axis    the axes that the statistics are taken over: 0 for a batch of rows, (0, 2, 3) for images N × C × H × W
            (gamma and beta then have shape (C, 1, 1)), the last ones for layer normalisation.

    Returns y, of x's shape. Raises ValueError for an empty batch, a negative eps, an axis that x does not have, or a gamma or
    beta that does not broadcast to x's shape; TypeError for what is not a number.
    Source: Ioffe and Szegedy, 2015, algorithm 1.

    >>> x = Tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> batch_norm(x, gamma=2.0, beta=1.0, eps=0.0).data
    array([[-1., -1.],
           [ 3.,  3.]])
    """
    x, gamma, beta = checked(x, gamma, beta, eps, axis)
    mu = mean(x, axis)
    var = variance(x, mu, axis)
    x_hat = normalize(x, mu, var, eps)
    return scale_shift(x_hat, gamma, beta)


def variables(y: Tensor) -> dict[str, Value]:
    """The derivation's seven variables, by name, in the graph of a ``y`` that ``batch_norm`` has made.

    >>> y = batch_norm(Tensor([1.0, 3.0]), gamma=2.0, beta=1.0)
    >>> variables(y)["mu"]
    Tensor(array([2.]), label='mu')
    """
    if y.equation is None or y.equation.output != "y":
        raise ValueError("these are the variables of batch_norm, and this is not what batch_norm has returned")
    x_hat = y.equation.inputs["x_hat"]
    return {**x_hat.equation.inputs, **y.equation.inputs, "y": y}


def checked(x: Value, gamma: Value, beta: Value, eps: Value, axis: Axis) -> tuple[Value, Value, Value]:
    """x, gamma and beta as Tensors or arrays that fit each other, or an error that says what does not fit."""
    x, gamma, beta = [v if isinstance(v, Tensor) else as_data(v) for v in (x, gamma, beta)]
    for i in axis if isinstance(axis, tuple) else (axis,):
        if isinstance(i, bool) or not hasattr(i, "__index__"):
            raise TypeError(f"axis is an integer or a tuple of them, and this is {axis!r}")
    _check_shapes(shape(x), shape(gamma), shape(beta), axis)
    _check_eps(eps)
    return x, gamma, beta


@lru_cache  # what fits once fits always
def _check_shapes(sizes: Shape, gamma: Shape, beta: Shape, axis: Any) -> None:
    for i in axis if isinstance(axis, tuple) else (axis,):
        if not -len(sizes) <= i < len(sizes):
            raise ValueError(f"axis {i} is out of range: x has shape {sizes}, so it has {len(sizes)} axes, counted from 0")
    reduced = axes(len(sizes), axis)
    if len(set(reduced)) != len(reduced):
        raise ValueError(f"axis {axis} names the same axis twice")
    if 0 in [sizes[i] for i in reduced]:
        raise ValueError(f"the batch is empty: x has shape {sizes}, and a mean over axis {axis} needs at least one element")
    for name, small in (("gamma", gamma), ("beta", beta)):
        if not broadcasts(small, sizes):
            raise ValueError(f"{name} of shape {small} does not broadcast to x's shape {sizes}")


def broadcasts(small: Shape, large: Shape) -> bool:
    """Whether a value of shape ``small`` can be repeated to shape ``large``."""
    if len(small) > len(large):
        return False
    last = large[len(large) - len(small) :]
    return small == last or all(a in (1, b) for a, b in zip(small, last))


def _check_eps(eps: Value) -> None:
    if not isinstance(eps, Tensor):
        as_data(eps)
    if shape(eps) != ():
        raise ValueError(f"eps is a single number, and this has shape {shape(eps)}")
    try:
        acceptable = bool(eps >= 0)  # NaN is not
    except TypeError:  # a symbol is neither
        acceptable = True
    if not acceptable:
        raise ValueError(f"eps is added to a variance under a square root: it cannot be {eps}")
