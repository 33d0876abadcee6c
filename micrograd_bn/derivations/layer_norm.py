"""Layer normalisation: batch norm's four equations along the other axis.

Source: Ba, Kiros and Hinton, "Layer Normalization", 2016. The statistics of a row x_1 … x_m are over its m features (axis −1), and
γ and β have one number for each feature, so they stand under the sums: what batch norm's condensed form takes out of them stays in.
The local derivatives are the same nine, for an equation does not know which axis it goes along.
"""

from __future__ import annotations

from dataclasses import replace

from ..batchnorm import mean, normalize, scale_shift, variance
from ..derivation import Derivation, Gradient
from .batch_norm import EDGES, d_x_condensed, mistakes_in

LAYER_NORM = Derivation(
    "layer norm",
    [mean, variance, normalize, scale_shift],
    [replace(edge, latex=edge.latex.replace("_B", "")) for edge in EDGES],  # no batch, no B
    domains={"gamma": "scale"},
    symbols={
        "x": ("x", "x_i"),
        "mu": ("μ", r"\mu"),
        "var": ("σ²", r"\sigma^2"),
        "x_hat": ("x̂", r"\hat x_i"),
        "y": ("y", "y_i"),
        "gamma": ("γ", r"\gamma_i"),
        "beta": ("β", r"\beta_i"),
    },
    condensed=[
        Gradient(
            (13, 12, 11),
            "x",
            "(m dx̂ − Σ dx̂ − x̂ Σ dx̂ x̂) / (m √(σ² + ε))",
            r"dx_i = \frac{1}{m \sqrt{\sigma^2 + \epsilon}} \left( m \, d\hat x_i - \sum_{j=1}^m d\hat x_j"
            r" - \hat x_i \sum_{j=1}^m d\hat x_j \, \hat x_j \right)",
            d_x_condensed,
        )
    ],
    mistakes=mistakes_in("the features (axis 1)", "the batch (axis 0)", 0),
    defaults={"axis": -1},
)
