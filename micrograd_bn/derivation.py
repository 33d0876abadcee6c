"""The derivation as a table: thirteen numbered equations and six gradients, each with its formulas and its function.

Source: Aritra Roy Gosthipaty, "Back propagation in BatchNorm", 12 August 2020, with its numbers. (1) to (4) are the forward
pass and stand in ``batchnorm``; (5) to (13) are the local derivatives, one for each edge between the seven variables, each a
partial derivative with the function's other arguments held fixed. ``da`` is short for ∂l/∂a, the gradient of the loss l.
The report, the pictures, the page, the notebooks and the tests all read this table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from .batchnorm import checked, mean, normalize, scale_shift, variance
from .engine import Tensor
from .kinds import Value, as_data, explains_kinds
from .primitives import sqrt
from .shapes import Axis, count, shape, unbroadcast

# The seven variables, in the order of the forward pass: name in the code → on the terminal, in LaTeX.
SYMBOLS = {
    "x": ("x", "x_i"),
    "mu": ("μ", r"\mu_B"),
    "var": ("σ²", r"\sigma_B^2"),
    "x_hat": ("x̂", r"\hat x_i"),
    "gamma": ("γ", r"\gamma"),
    "beta": ("β", r"\beta"),
    "y": ("y", "y_i"),
}


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
    return dmu / count(x, axis)


def var_to_x(dvar: Value, x: Value, mu: Value, axis: Axis) -> Value:
    """(12): ∂var/∂x = 2/m (x − mu)."""
    return dvar * (2 * (x - mu) / count(x, axis))


def x_hat_to_x(dx_hat: Value, var: Value, eps: Value) -> Value:
    """(13): ∂x_hat/∂x = 1 / √(var + eps)."""
    return dx_hat * (1 / sqrt(var + eps))


# ---- The six gradients: the sum of the terms on the edges that leave a variable. gamma, beta, mu and var are single values
# that a whole batch uses, so what reaches them is summed over it: ``total`` brings a term to the variable's own shape.

total = unbroadcast


def d_x_hat(dy: Value, gamma: Value) -> Value:
    """dx_hat: (5)."""
    return y_to_x_hat(dy, gamma)


def d_gamma(dy: Value, x_hat: Value, gamma: Value) -> Value:
    """dgamma: (7), summed."""
    return total(y_to_gamma(dy, x_hat), shape(gamma))


def d_beta(dy: Value, gamma: Value) -> Value:
    """dbeta: (6), summed; beta has gamma's shape."""
    return total(y_to_beta(dy), shape(gamma))


def d_var(dx_hat: Value, x: Value, mu: Value, var: Value, eps: Value) -> Value:
    """dvar: (8), summed."""
    return total(x_hat_to_var(dx_hat, x, mu, var, eps), shape(var))


def d_mu(dx_hat: Value, dvar: Value, x: Value, mu: Value, var: Value, eps: Value, axis: Axis) -> Value:
    """dmu: (10), summed, and (9)."""
    return total(x_hat_to_mu(dx_hat, var, eps), shape(mu)) + var_to_mu(dvar, x, mu, axis)


def d_x(dx_hat: Value, dvar: Value, dmu: Value, x: Value, mu: Value, var: Value, eps: Value, axis: Axis) -> Value:
    """dx: (13), (12) and (11)."""
    return x_hat_to_x(dx_hat, var, eps) + var_to_x(dvar, x, mu, axis) + mu_to_x(dmu, x, axis)


def d_x_condensed(dy: Value, x: Value, x_hat: Value, var: Value, gamma: Value, eps: Value, axis: Axis) -> Value:
    """What frameworks hard-code: the three terms of dx, collected. The sums are over the batch, gamma under them."""
    m = count(x, axis)
    dx_hat = dy * gamma
    sums = total(dx_hat, shape(var)) + x_hat * total(dx_hat * x_hat, shape(var))
    return (m * dx_hat - sums) / (m * sqrt(var + eps))


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
    mu = mean(x, axis)
    var = variance(x, mu, axis)
    x_hat = normalize(x, mu, var, eps)

    dx_hat = d_x_hat(dy, gamma)
    dgamma = d_gamma(dy, x_hat, gamma)
    dbeta = d_beta(dy, gamma)
    dvar = d_var(dx_hat, x, mu, var, eps)
    dmu = d_mu(dx_hat, dvar, x, mu, var, eps, axis)
    dx = d_x(dx_hat, dvar, dmu, x, mu, var, eps, axis)
    return Gradients(dx_hat, dgamma, dbeta, dvar, dmu, dx)


# ---- The table


class Equation(NamedTuple):
    """A numbered equation: (1) to (4) compute ``output``; (5) to (13) differentiate it with respect to ``input``.

    >>> print(EQUATIONS[12].number, EQUATIONS[12].name, "=", EQUATIONS[12].text)
    13 ∂x̂/∂x = 1 / √(σ² + ε)
    """

    number: int
    output: str
    input: str  # "" for (1) to (4), which have several
    text: str
    latex: str
    function: Callable[..., Value]

    @property
    def name(self) -> str:
        """As on the terminal: "μ" for an equation, "∂μ/∂x" for a local derivative."""
        if not self.input:
            return SYMBOLS[self.output][0]
        return f"∂{SYMBOLS[self.output][0]}/∂{SYMBOLS[self.input][0]}"


class Gradient(NamedTuple):
    """A gradient: the sum of the terms on the edges with these numbers, all that leave ``variable``.

    >>> print(GRADIENTS[4].numbers, GRADIENTS[4].name, "=", GRADIENTS[4].text)
    (10, 9) dμ = Σ dx̂ · −1/√(σ² + ε) + dσ² · 1/m Σ −2 (x − μ)
    """

    numbers: tuple[int, ...]
    variable: str
    text: str
    latex: str
    function: Callable[..., Value]

    @property
    def name(self) -> str:
        """As on the terminal: "dμ"."""
        return f"d{SYMBOLS[self.variable][0]}"


EQUATIONS = (
    Equation(1, "mu", "", "1/m Σ x", r"\mu_B = \frac{1}{m} \sum_{i=1}^m x_i", mean),
    Equation(2, "var", "", "1/m Σ (x − μ)²", r"\sigma_B^2 = \frac{1}{m} \sum_{i=1}^m (x_i - \mu_B)^2", variance),
    Equation(3, "x_hat", "", "(x − μ) / √(σ² + ε)", r"\hat x_i = \frac{x_i - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}}", normalize),
    Equation(4, "y", "", "γ x̂ + β", r"y_i = \gamma \hat x_i + \beta", scale_shift),
    Equation(5, "y", "x_hat", "γ", r"\frac{\partial y_i}{\partial \hat x_i} = \gamma", y_to_x_hat),
    Equation(6, "y", "beta", "1", r"\frac{\partial y_i}{\partial \beta} = 1", y_to_beta),
    Equation(7, "y", "gamma", "x̂", r"\frac{\partial y_i}{\partial \gamma} = \hat x_i", y_to_gamma),
    Equation(
        8,
        "x_hat",
        "var",
        "−½ (x − μ) (σ² + ε)^(−3/2)",
        r"\frac{\partial \hat x_i}{\partial \sigma_B^2} = -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2}",
        x_hat_to_var,
    ),
    Equation(
        9,
        "var",
        "mu",
        "1/m Σ −2 (x − μ)",
        r"\frac{\partial \sigma_B^2}{\partial \mu_B} = \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
        var_to_mu,
    ),
    Equation(
        10,
        "x_hat",
        "mu",
        "−1 / √(σ² + ε)",
        r"\frac{\partial \hat x_i}{\partial \mu_B} = \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}",
        x_hat_to_mu,
    ),
    Equation(11, "mu", "x", "1/m", r"\frac{\partial \mu_B}{\partial x_i} = \frac{1}{m}", mu_to_x),
    Equation(
        12,
        "var",
        "x",
        "2/m (x − μ)",
        r"\frac{\partial \sigma_B^2}{\partial x_i} = \frac{2}{m} (x_i - \mu_B)",
        var_to_x,
    ),
    Equation(
        13,
        "x_hat",
        "x",
        "1 / √(σ² + ε)",
        r"\frac{\partial \hat x_i}{\partial x_i} = \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}",
        x_hat_to_x,
    ),
)

GRADIENTS = (
    Gradient((5,), "x_hat", "dy γ", r"d\hat x_i = dy_i \, \gamma", d_x_hat),
    Gradient((7,), "gamma", "Σ dy x̂", r"d\gamma = \sum_{i=1}^m dy_i \, \hat x_i", d_gamma),
    Gradient((6,), "beta", "Σ dy", r"d\beta = \sum_{i=1}^m dy_i", d_beta),
    Gradient(
        (8,),
        "var",
        "Σ dx̂ · −½ (x − μ) (σ² + ε)^(−3/2)",
        r"d\sigma_B^2 = \sum_{i=1}^m d\hat x_i \cdot \left( -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2} \right)",
        d_var,
    ),
    Gradient(
        (10, 9),
        "mu",
        "Σ dx̂ · −1/√(σ² + ε) + dσ² · 1/m Σ −2 (x − μ)",
        r"d\mu_B = \sum_{i=1}^m d\hat x_i \cdot \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
        d_mu,
    ),
    Gradient(
        (13, 12, 11),
        "x",
        "dx̂ / √(σ² + ε) + dσ² · 2/m (x − μ) + dμ · 1/m",
        r"dx_i = d\hat x_i \cdot \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{2}{m} (x_i - \mu_B) + d\mu_B \cdot \frac{1}{m}",
        d_x,
    ),
)

# The three terms of dx collected: not a fourteenth equation, but what follows from the thirteen.
CONDENSED = Gradient(
    (13, 12, 11),
    "x",
    "γ (m dy − dβ − x̂ dγ) / (m √(σ² + ε))",
    r"dx_i = \frac{\gamma}{m \sqrt{\sigma_B^2 + \epsilon}} \left( m \, dy_i - d\beta - \hat x_i \, d\gamma \right)",
    d_x_condensed,
)


def evaluate(function: Callable[..., Value], values: Mapping[str, Any]) -> Value:
    """Call a function of the table with the values it names: x, mu, var, x_hat, gamma, beta, eps, axis, dy, dx_hat, …

    Other values are passed over; KeyError if one that it names is not there.

    >>> evaluate(EQUATIONS[4].function, {"dy": 2.0, "gamma": 3.0, "beta": 1.0})
    6.0
    """
    return function(*[values[name] for name in _parameters(function)])


@cache
def _parameters(function: Callable[..., Value]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)
