"""A linear layer: y = x wᵀ + b, with PyTorch's shapes: x (m, k), w (n, k), b (n,), y (m, n)."""

from __future__ import annotations

import numpy as np

from ..derivation import Derivation, Edge, equation
from ..kinds import Value


@equation(1, "y", "x wᵀ + b")
def linear(x: Value, w: Value, b: Value) -> Value:
    """Equation (1): y = x wᵀ + b, of shape (m, n)."""
    return x @ np.transpose(w) + b


def y_to_x(dy: Value, w: Value) -> Value:
    """(2): ∂y_ij/∂x_il = w_jl."""
    return dy @ w


def y_to_w(dy: Value, x: Value) -> Value:
    """(3): ∂y_ij/∂w_jl = x_il; all m rows use the same w, so they add up."""
    return np.transpose(dy) @ x


def y_to_b(dy: Value) -> Value:
    """(4): ∂y_ij/∂b_j = 1."""
    return dy * (1)


LINEAR = Derivation(
    "linear",
    [linear],
    [
        Edge(2, "y", "x", function=y_to_x),
        Edge(3, "y", "w", function=y_to_w),
        Edge(4, "y", "b", function=y_to_b),
    ],
    shapes={"w": ("n", "k"), "b": ("n",)},
)
