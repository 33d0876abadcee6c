"""Batch normalisation from primitives: the derivation's equations (1) to (4), and ``batch_norm``, which chains them.

Each equation is a function of the variables on its right-hand side, so that the graph's edges are the derivation's:
(2) and (3) each subtract mu for themselves, and x leads to mu, to var and to x_hat.
"""

from __future__ import annotations

from .arguments import checked
from .derivation import equation
from .engine import Tensor
from .kinds import Value
from .primitives import sqrt
from .shapes import Axis


@equation(1, "mu")
def mean(x: Value, axis: Axis = 0) -> Value:
    """Equation (1), the batch mean: mu = 1/m Σ x, over ``axis``, which stays as size 1.

    >>> import numpy as np
    >>> mean(np.array([[1.0, 10.0], [3.0, 30.0]]))
    array([[ 2., 20.]])
    """
    return x.mean(axis=axis, keepdims=True)


@equation(2, "var")
def variance(x: Value, mu: Value, axis: Axis = 0) -> Value:
    """Equation (2), the (biased) batch variance: var = 1/m Σ (x − mu)², over ``axis``, which stays as size 1.

    >>> import numpy as np
    >>> variance(np.array([[1.0, 10.0], [3.0, 30.0]]), mu=np.array([[2.0, 20.0]]))
    array([[  1., 100.]])
    """
    return ((x - mu) ** 2).mean(axis=axis, keepdims=True)


@equation(3, "x_hat")
def normalize(x: Value, mu: Value, var: Value, eps: Value = 1e-5) -> Value:
    """Equation (3), the normalised batch, of x's shape: x_hat = (x − mu) / √(var + eps).

    >>> import numpy as np
    >>> normalize(np.array([1.0, 3.0]), mu=2.0, var=0.99, eps=0.01)
    array([-1.,  1.])
    """
    return (x - mu) / sqrt(var + eps)


@equation(4, "y")
def scale_shift(x_hat: Value, gamma: Value, beta: Value) -> Value:
    """Equation (4), scaled and shifted, of x_hat's shape: y = gamma x_hat + beta.

    >>> import numpy as np
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
    _, _, x_hat = normalized(x, eps, axis)
    return scale_shift(x_hat, gamma, beta)


def normalized(x: Value, eps: Value, axis: Axis) -> tuple[Value, Value, Value]:
    """Equations (1) to (3), one after the other: mu, var and x_hat, of arguments that ``checked`` has seen."""
    mu = mean(x, axis)
    var = variance(x, mu, axis)
    x_hat = normalize(x, mu, var, eps)
    return mu, var, x_hat


def variables(y: Tensor) -> dict[str, Value]:
    """The derivation's seven variables, by name, in the graph of a ``y`` that ``batch_norm`` has made of a Tensor x.

    Raises ValueError for another y.

    >>> y = batch_norm(Tensor([1.0, 3.0]), gamma=2.0, beta=1.0)
    >>> variables(y)["mu"]
    Tensor(array([2.]), label='mu')
    """
    found: dict[str, Value] = {"y": y}
    for name in ("y", "x_hat"):
        step = found[name].equation if isinstance(found.get(name), Tensor) else None
        found = {**(step.inputs if step else {}), **found}
    if {*found} != {"x", "mu", "var", "x_hat", "gamma", "beta", "y"}:
        raise ValueError("these are the variables of batch_norm, and this is not what batch_norm has returned for a Tensor x")
    return found


def statistics(y: Tensor) -> tuple[Value, Value]:
    """mu and var in the graph of a ``y`` that ``batch_norm`` has made of a Tensor x. Raises ValueError for another y."""
    found = variables(y)
    return found["mu"], found["var"]
