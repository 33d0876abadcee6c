"""Group normalisation: batch norm's four equations over the channels of a group and their pixels, for each image by itself.

Source: Wu and He, "Group Normalization", 2018. x has shape (images, groups, channels of a group, height, width); γ and β have one
number for each channel. With one channel a group it is instance normalisation, with one group layer normalisation of images.
"""

from __future__ import annotations

from ..batchnorm import mean, normalize, scale_shift, variance
from ..derivation import Derivation
from .batch_norm import EDGES, mistakes_in
from .layer_norm import CONDENSED

GROUP_NORM = Derivation(
    "group norm",
    [mean, variance, normalize, scale_shift],
    EDGES,
    shapes={"x": ("n", "g", "c", "h", "w"), "gamma": ("g", "c", "1", "1"), "beta": ("g", "c", "1", "1")},
    domains={"gamma": "scale"},
    symbols={"var": ("σ²", r"\sigma^2")},
    condensed=[CONDENSED],
    mistakes=mistakes_in("the axes 2, 3 and 4", "the images (axis 0)", 0, "c h w"),
    defaults={"axis": (2, 3, 4)},
)
