"""Layer normalisation: batch norm's four equations along the other axis.

Source: Ba, Kiros and Hinton, "Layer Normalization", 2016. The statistics of a row x_1 … x_k are over its k features (axis −1), and
γ and β have one number for each feature, so they stand under the sums: what batch norm's condensed form takes out of them stays in.
The local derivatives are the same nine, for an equation does not know which axis it goes along.
"""

from __future__ import annotations

from ..batchnorm import mean, normalize, scale_shift, variance
from ..derivation import Derivation, Gradient, Mistake
from .batch_norm import EDGES, d_x_condensed, mistakes_in

CONDENSED = Gradient((13, 12, 11), "x", function=d_x_condensed)
AS_IN_BATCH_NORM = Mistake(
    "γ stands before the sums, as in batch norm, and not under them, in the condensed form of dx",
    {"x": lambda dy, x, gamma, x_hat, var, eps, axis: gamma * d_x_condensed(dy, x, x_hat, var, eps, axis)},
)
LAYER_NORM = Derivation(
    "layer norm",
    [mean, variance, normalize, scale_shift],
    EDGES,
    domains={"gamma": "scale"},
    symbols={"var": ("σ²", r"\sigma^2")},
    condensed=[CONDENSED],
    mistakes=[*mistakes_in("the features (axis 1)", "the batch (axis 0)", 0, "k"), AS_IN_BATCH_NORM],
    defaults={"axis": -1},
)
