"""A linear layer: y = x wᵀ + b, with PyTorch's shapes: x (m, k), w (n, k), b (n,), y (m, n)."""

from __future__ import annotations

import numpy as np

from ..derivation import Derivation, Edge, equation
from ..kinds import Value


@equation(1, "y", "x wᵀ + b", r"y_{ij} = \sum_{l=1}^k x_{il} w_{jl} + b_j")
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
        Edge(2, "y", "x", "w", r"\frac{\partial y_{ij}}{\partial x_{il}} = w_{jl}", y_to_x),
        Edge(3, "y", "w", "x", r"\frac{\partial y_{ij}}{\partial w_{jl}} = x_{il}", y_to_w),
        Edge(4, "y", "b", "1", r"\frac{\partial y_{ij}}{\partial b_j} = 1", y_to_b),
    ],
    shapes={"w": ("n", "k"), "b": ("n",)},
    texts={
        "x": ("dy w", r"dx_{il} = \sum_{j=1}^n dy_{ij} \, w_{jl}"),
        "w": ("dyᵀ x", r"dw_{jl} = \sum_{i=1}^m dy_{ij} \, x_{il}"),
        "b": ("Σ dy", r"db_j = \sum_{i=1}^m dy_{ij}"),
    },
)
