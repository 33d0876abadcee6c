"""RMS normalisation: a row divided by its root mean square, without a mean that is subtracted.

Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019. Three equations, and five edges: x reaches x_hat by two
ways, directly and through the mean of squares that all of a row share. (4) and (5) are batch norm's (5) and (7).
"""

from __future__ import annotations

from ..derivation import Derivation, Edge, Gradient, equation
from ..kinds import Value
from ..primitives import shared, sqrt
from ..shapes import Axis, count
from .batch_norm import y_to_gamma, y_to_x_hat


@equation(1, "ms")
def mean_square(x: Value, axis: Axis = -1) -> Value:
    """Equation (1), the mean of squares: ms = 1/m Σ x², over ``axis``, which stays as size 1."""
    return (x**2).mean(axis=axis, keepdims=True)


@equation(2, "x_hat")
def divide(x: Value, ms: Value, eps: Value = 1e-5) -> Value:
    """Equation (2), the normalised row, of x's shape: x_hat = x / √(ms + eps)."""
    return x / sqrt(ms + eps)


@equation(3, "y")
def scale(x_hat: Value, gamma: Value) -> Value:
    """Equation (3), scaled, of x_hat's shape: y = gamma x_hat."""
    return gamma * x_hat


def x_hat_to_x(dx_hat: Value, ms: Value, eps: Value) -> Value:
    """(6): ∂x_hat/∂x = 1 / √(ms + eps)."""
    return dx_hat * (1 / sqrt(ms + eps))


def x_hat_to_ms(dx_hat: Value, x: Value, ms: Value, eps: Value) -> Value:
    """(7): ∂x_hat/∂ms = −½ x (ms + eps)^(−3/2), in two divisions."""
    return dx_hat * (-x / (2 * sqrt(ms + eps)) / (ms + eps))


def ms_to_x(dms: Value, x: Value, axis: Axis) -> Value:
    """(8): ∂ms/∂x = 2/m x."""
    return dms * (shared(2 * x, x, axis))


def d_x_condensed(dx_hat: Value, x_hat: Value, ms: Value, x: Value, eps: Value, axis: Axis) -> Value:
    """The two terms of dx, collected."""
    m = count(x, axis)
    return (m * dx_hat - x_hat * (dx_hat * x_hat).sum(axis=axis, keepdims=True)) / (m * sqrt(ms + eps))


RMS_NORM = Derivation(
    "RMS norm",
    [mean_square, divide, scale],
    [
        Edge(4, "y", "x_hat", function=y_to_x_hat),
        Edge(5, "y", "gamma", function=y_to_gamma),
        Edge(6, "x_hat", "x", function=x_hat_to_x),
        Edge(7, "x_hat", "ms", function=x_hat_to_ms),
        Edge(8, "ms", "x", function=ms_to_x),
    ],
    domains={"gamma": "scale"},
    symbols={"ms": ("s", "s")},
    condensed=[Gradient((6, 8), "x", function=d_x_condensed)],
)
