"""Softmax and cross-entropy: the loss of a classifier, whose gradient collapses to p − t.

A row of logits z_1 … z_k stands for the probabilities p_j = exp z_j / Σ exp z, and t says which are wanted. The logarithm of the
sum is computed by itself, so that no p is rounded to 0 before its logarithm is taken: log p_j = z_j − s.
"""

from __future__ import annotations

from .. import functions as F
from ..derivation import Derivation, Edge, Gradient, Mistake, equation
from ..kinds import Value
from ..primitives import exp, shared


@equation(1, "s")
def log_sum_exp(z: Value) -> Value:
    """Equation (1), the logarithm of the sum of exponentials: s = log Σ exp z, over the classes, which stay as size 1."""
    return F.logsumexp(z, axis=-1, keepdims=True)


@equation(2, "log_p")
def log_probabilities(z: Value, s: Value) -> Value:
    """Equation (2), the logarithm of the softmax, of z's shape: log_p = z − s."""
    return z - s


@equation(3, "l")
def cross_entropy(log_p: Value, t: Value) -> Value:
    """Equation (3), the mean over the m rows of the cross-entropy: l = −1/m ΣΣ t log_p."""
    return -shared((t * log_p).sum(), log_p, 0)


def l_to_log_p(dl: Value, log_p: Value, t: Value) -> Value:
    """(4): ∂l/∂log_p = −t/m."""
    return dl * (shared(-t, log_p, 0))


def log_p_to_z(dlog_p: Value) -> Value:
    """(5): ∂log_p/∂z = 1."""
    return dlog_p * (1)


def log_p_to_s(dlog_p: Value) -> Value:
    """(6): ∂log_p/∂s = −1."""
    return dlog_p * (-1)


def s_to_z(ds: Value, z: Value, s: Value) -> Value:
    """(7): ∂s/∂z = exp(z − s), which is p."""
    return ds * (exp(z - s))


def d_z_condensed(dl: Value, z: Value, s: Value, t: Value) -> Value:
    """The two terms of dz, collected, for rows of t that add up to 1."""
    return shared(dl * (exp(z - s) - t), z, 0)


def d_z_by_softmax(dl: Value, z: Value, t: Value) -> Value:
    """The same with p as people compute it, exp z / Σ exp z."""
    return shared(dl * (F.softmax(z) - t), z, 0)


SOFTMAX_CROSS_ENTROPY = Derivation(
    "softmax cross-entropy",
    [log_sum_exp, log_probabilities, cross_entropy],
    [
        Edge(4, "l", "log_p", function=l_to_log_p),
        Edge(5, "log_p", "z", function=log_p_to_z),
        Edge(6, "log_p", "s", function=log_p_to_s),
        Edge(7, "s", "z", function=s_to_z),
    ],
    shapes={"t": ("m", "k")},
    domains={"t": "probabilities"},
    no_gradient=["t"],
    symbols={"log_p": ("log p", r"\log p")},
    condensed=[Gradient((5, 7), "z", function=d_z_condensed)],
    forms={"the softmax form": {"z": d_z_by_softmax}},
    mistakes=[
        Mistake("this is p − t: dl and the 1/m are forgotten in the condensed form of dz", {"z": lambda z, s, t: exp(z - s) - t})
    ],
)
