"""Scaled dot-product attention, one head: each of n queries takes a mean of the values, weighted by how well their keys fit it.

Source: Vaswani and others, "Attention Is All You Need", 2017. q, k and v have shape (n, d), a row a token.
"""

from __future__ import annotations

import numpy as np

from .. import functions as F
from ..derivation import Derivation, Edge, equation
from ..kinds import Value, one
from ..primitives import sqrt
from ..shapes import count


@equation(1, "s", "q kᵀ / √d", r"s_{ij} = \frac{1}{\sqrt d} \sum_{l=1}^d q_{il} k_{jl}")
def scores(q: Value, k: Value) -> Value:
    """Equation (1), how well each key fits each query, of shape (n, n): s = q kᵀ / √d."""
    return q @ np.transpose(k) / sqrt(one(q) * count(q, -1))


@equation(2, "p", "softmax s", r"p_{ij} = \frac{e^{s_{ij}}}{\sum_{l=1}^n e^{s_{il}}}")
def weights(s: Value) -> Value:
    """Equation (2), the weights of each row, which add up to 1: p = softmax s."""
    return F.softmax(s)


@equation(3, "y", "p v", r"y_{il} = \sum_{j=1}^n p_{ij} v_{jl}")
def weighted_mean(p: Value, v: Value) -> Value:
    """Equation (3), for each query the mean of the values by its weights, of shape (n, d): y = p v."""
    return p @ v


def y_to_p(dy: Value, v: Value) -> Value:
    """(4): ∂y_il/∂p_ij = v_jl."""
    return dy @ np.transpose(v)


def y_to_v(dy: Value, p: Value) -> Value:
    """(5): ∂y_il/∂v_jl = p_ij."""
    return np.transpose(p) @ dy


def p_to_s(dp: Value, p: Value) -> Value:
    """(6): ∂p_ij/∂s_il = p_ij (δ_jl − p_il): each weight takes from the others."""
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def s_to_q(ds: Value, q: Value, k: Value) -> Value:
    """(7): ∂s_ij/∂q_il = k_jl / √d."""
    return ds @ k / sqrt(one(q) * count(q, -1))


def s_to_k(ds: Value, q: Value) -> Value:
    """(8): ∂s_ij/∂k_jl = q_il / √d."""
    return np.transpose(ds) @ q / sqrt(one(q) * count(q, -1))


ATTENTION = Derivation(
    "attention",
    [scores, weights, weighted_mean],
    [
        Edge(4, "y", "p", "v", r"\frac{\partial y_{il}}{\partial p_{ij}} = v_{jl}", y_to_p),
        Edge(5, "y", "v", "p", r"\frac{\partial y_{il}}{\partial v_{jl}} = p_{ij}", y_to_v),
        Edge(6, "p", "s", "p (δ − p)", r"\frac{\partial p_{ij}}{\partial s_{il}} = p_{ij} (\delta_{jl} - p_{il})", p_to_s),
        Edge(7, "s", "q", "k / √d", r"\frac{\partial s_{ij}}{\partial q_{il}} = \frac{k_{jl}}{\sqrt d}", s_to_q),
        Edge(8, "s", "k", "q / √d", r"\frac{\partial s_{ij}}{\partial k_{jl}} = \frac{q_{il}}{\sqrt d}", s_to_k),
    ],
    shapes={"q": ("n", "d"), "k": ("n", "d"), "v": ("n", "d")},
    texts={
        "p": ("dy vᵀ", r"dp_{ij} = \sum_{l=1}^d dy_{il} \, v_{jl}"),
        "v": ("pᵀ dy", r"dv_{jl} = \sum_{i=1}^n p_{ij} \, dy_{il}"),
        "s": ("p (dp − Σ dp p)", r"ds_{ij} = p_{ij} \left( dp_{ij} - \sum_{l=1}^n dp_{il} \, p_{il} \right)"),
        "q": ("ds k / √d", r"dq_{il} = \frac{1}{\sqrt d} \sum_{j=1}^n ds_{ij} \, k_{jl}"),
        "k": ("dsᵀ q / √d", r"dk_{jl} = \frac{1}{\sqrt d} \sum_{i=1}^n ds_{ij} \, q_{il}"),
    },
)
