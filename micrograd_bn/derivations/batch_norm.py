"""Batch normalisation: thirteen numbered equations and six gradients, with the source's numbers.

Source: Aritra Roy Gosthipaty, "Back propagation in BatchNorm", 12 August 2020. (1) to (4) are the forward pass and stand in
``batchnorm``; (5) to (13) are the local derivatives, one for each edge between the seven variables, each a partial derivative with
the function's other arguments held fixed. They are written by hand, for they are the claim that is tested.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arguments import checked
from ..batchnorm import mean, normalize, normalized, scale_shift, variance
from ..derivation import Derivation, Edge, Gradient
from ..engine import Tensor
from ..kinds import Value, as_data, explains_kinds
from ..primitives import shared, sqrt
from ..shapes import Axis, count, shape, unbroadcast

# ---- (5) to (13). Each takes the gradient of the edge's output and returns the term for its input, not yet summed over the
# batch; the local derivative itself stands in parentheses.


def y_to_x_hat(dy: Value, gamma: Value) -> Value:
    """(5): ∂y/∂x_hat = gamma."""
    return dy * (gamma)


def y_to_beta(dy: Value) -> Value:
    """(6): ∂y/∂beta = 1."""
    return dy * (1)


def y_to_gamma(dy: Value, x_hat: Value) -> Value:
    """(7): ∂y/∂gamma = x_hat."""
    return dy * (x_hat)


def x_hat_to_var(dx_hat: Value, x: Value, mu: Value, var: Value, eps: Value) -> Value:
    """(8): ∂x_hat/∂var = −½ (x − mu) (var + eps)^(−3/2), in two divisions: the −3/2 alone leaves float16's range."""
    return dx_hat * (-(x - mu) / (2 * sqrt(var + eps)) / (var + eps))


def var_to_mu(dvar: Value, x: Value, mu: Value, axis: Axis) -> Value:
    """(9): ∂var/∂mu = 1/m Σ −2 (x − mu)."""
    return dvar * ((-2 * (x - mu)).mean(axis=axis, keepdims=True))


def x_hat_to_mu(dx_hat: Value, var: Value, eps: Value) -> Value:
    """(10): ∂x_hat/∂mu = −1 / √(var + eps)."""
    return dx_hat * (-1 / sqrt(var + eps))


def mu_to_x(dmu: Value, x: Value, axis: Axis) -> Value:
    """(11): ∂mu/∂x = 1/m; divided, because 1/m would be a float and not every number mixes with those."""
    return shared(dmu, x, axis)


def var_to_x(dvar: Value, x: Value, mu: Value, axis: Axis) -> Value:
    """(12): ∂var/∂x = 2/m (x − mu)."""
    return dvar * (shared(2 * (x - mu), x, axis))


def x_hat_to_x(dx_hat: Value, var: Value, eps: Value) -> Value:
    """(13): ∂x_hat/∂x = 1 / √(var + eps)."""
    return dx_hat * (1 / sqrt(var + eps))


# ---- What follows from the thirteen: the three terms of dx collected


def d_x_condensed(dy: Value, x: Value, x_hat: Value, var: Value, gamma: Value, eps: Value, axis: Axis) -> Value:
    """What frameworks hard-code: the three terms of dx, collected. The sums are over the batch, gamma under them."""
    m = count(x, axis)
    dx_hat = dy * gamma
    sums = unbroadcast(dx_hat, shape(var)) + x_hat * unbroadcast(dx_hat * x_hat, shape(var))
    return (m * dx_hat - sums) / (m * sqrt(var + eps))


# ---- The table

EDGES = (
    Edge(5, "y", "x_hat", "γ", r"\frac{\partial y_i}{\partial \hat x_i} = \gamma", y_to_x_hat),
    Edge(6, "y", "beta", "1", r"\frac{\partial y_i}{\partial \beta} = 1", y_to_beta),
    Edge(7, "y", "gamma", "x̂", r"\frac{\partial y_i}{\partial \gamma} = \hat x_i", y_to_gamma),
    Edge(
        8,
        "x_hat",
        "var",
        "−½ (x − μ) (σ² + ε)^(−3/2)",
        r"\frac{\partial \hat x_i}{\partial \sigma_B^2} = -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2}",
        x_hat_to_var,
    ),
    Edge(
        9,
        "var",
        "mu",
        "1/m Σ −2 (x − μ)",
        r"\frac{\partial \sigma_B^2}{\partial \mu_B} = \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
        var_to_mu,
    ),
    Edge(
        10,
        "x_hat",
        "mu",
        "−1 / √(σ² + ε)",
        r"\frac{\partial \hat x_i}{\partial \mu_B} = \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}",
        x_hat_to_mu,
    ),
    Edge(11, "mu", "x", "1/m", r"\frac{\partial \mu_B}{\partial x_i} = \frac{1}{m}", mu_to_x),
    Edge(
        12,
        "var",
        "x",
        "2/m (x − μ)",
        r"\frac{\partial \sigma_B^2}{\partial x_i} = \frac{2}{m} (x_i - \mu_B)",
        var_to_x,
    ),
    Edge(
        13,
        "x_hat",
        "x",
        "1 / √(σ² + ε)",
        r"\frac{\partial \hat x_i}{\partial x_i} = \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}",
        x_hat_to_x,
    ),
)

# The gradients as the source writes them: the sums over the batch stand where single values are used by a whole batch.
TEXTS = {
    "x_hat": (
        "dy γ",
        r"d\hat x_i = dy_i \, \gamma",
    ),
    "gamma": (
        "Σ dy x̂",
        r"d\gamma = \sum_{i=1}^m dy_i \, \hat x_i",
    ),
    "beta": (
        "Σ dy",
        r"d\beta = \sum_{i=1}^m dy_i",
    ),
    "var": (
        "Σ dx̂ · −½ (x − μ) (σ² + ε)^(−3/2)",
        r"d\sigma_B^2 = \sum_{i=1}^m d\hat x_i \cdot \left( -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2} \right)",
    ),
    "mu": (
        "Σ dx̂ · −1/√(σ² + ε) + dσ² · 1/m Σ −2 (x − μ)",
        r"d\mu_B = \sum_{i=1}^m d\hat x_i \cdot \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
    ),
    "x": (
        "dx̂ / √(σ² + ε) + dσ² · 2/m (x − μ) + dμ · 1/m",
        r"dx_i = d\hat x_i \cdot \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{2}{m} (x_i - \mu_B) + d\mu_B \cdot \frac{1}{m}",
    ),
}

CONDENSED = Gradient(
    (13, 12, 11),
    "x",
    "γ (m dy − dβ − x̂ dγ) / (m √(σ² + ε))",
    r"dx_i = \frac{\gamma}{m \sqrt{\sigma_B^2 + \epsilon}} \left( m \, dy_i - d\beta - \hat x_i \, d\gamma \right)",
    d_x_condensed,
)


def _check(values: dict[str, Value]) -> None:
    """What ``batch_norm`` says of bad arguments; and where σ² + ε is 0, equation (3) has no value."""
    x, _, _ = checked(*(values[name] for name in ("x", "gamma", "beta", "eps", "axis")))
    if isinstance(x, np.ndarray) and not shape(values["eps"]) and values["eps"] == 0:
        with np.errstate(over="ignore", invalid="ignore"):
            var = variance(x, mean(x, values["axis"]), values["axis"])
        if not var.all():
            raise ZeroDivisionError(
                f"the batch is constant at statistic {np.argwhere(var == 0)[0].tolist()} and eps is 0: equation (3) divides by "
                "√(σ² + ε) = 0. Use an eps > 0"
            )


BATCH_NORM = Derivation(
    "batch norm",
    [mean, variance, normalize, scale_shift],
    EDGES,
    shapes={"gamma": "kept", "beta": "kept"},
    domains={"gamma": "scale"},
    symbols={
        "x": ("x", "x_i"),
        "mu": ("μ", r"\mu_B"),
        "var": ("σ²", r"\sigma_B^2"),
        "x_hat": ("x̂", r"\hat x_i"),
        "y": ("y", "y_i"),
    },
    texts=TEXTS,
    condensed=[CONDENSED],
    check=_check,
)
EQUATIONS: tuple[Any, ...] = (*BATCH_NORM.equations, *BATCH_NORM.edges)
GRADIENTS = BATCH_NORM.gradients
(CONDENSED,) = BATCH_NORM.condensed


class Gradients(NamedTuple):
    """The gradients of the loss with respect to each variable but y, in the order in which they are derived.

    >>> Gradients._fields
    ('x_hat', 'gamma', 'beta', 'var', 'mu', 'x')
    """

    x_hat: Value
    gamma: Value
    beta: Value
    var: Value
    mu: Value
    x: Value


@explains_kinds
def batch_norm_backward(dy: Value, x: Value, gamma: Value, eps: Value = 1e-5, axis: int | tuple[int, ...] = 0) -> Gradients:
    """The backward pass of ``batch_norm`` as derived on paper: no engine, on any kind of number, Tensors included.

    dy is the upstream gradient, of x's shape; x, gamma, eps and axis are ``batch_norm``'s, and raise the same errors. The
    gradients have their variables' shapes (mu and var keep the reduced axes as size 1); beta is taken to be of gamma's shape.

    >>> import numpy as np
    >>> gradients = batch_norm_backward(np.array([1.0, 0.0, 0.0]), np.array([1.0, 2.0, 6.0]), gamma=1.0)
    >>> gradients.x.round(4)
    array([ 0.1763, -0.2204,  0.0441])
    """
    x, gamma, _ = checked(x, gamma, 0, eps, axis)
    dy = dy if isinstance(dy, Tensor) else as_data(dy)
    if shape(dy) != shape(x):
        raise ValueError(f"dy is the gradient of y, so it has x's shape {shape(x)}, and this has {shape(dy)}")
    mu, var, x_hat = normalized(x, eps, axis)
    known = {"x": x, "gamma": gamma, "beta": gamma, "mu": mu, "var": var, "x_hat": x_hat, "y": x_hat, "eps": eps, "axis": axis}
    return Gradients(**BATCH_NORM.backward(dy, **known))  # of y and beta only the shapes count
