"""Batch normalisation from primitive operations, its gradients proved equal to the derivation on paper, and drawn."""

from . import check as check
from . import derivations
from . import nn as nn
from . import prove as prove
from .batchnorm import batch_norm
from .derivation import Derivation, equation
from .derivations.batch_norm import batch_norm_backward
from .derive import derive
from .draw import draw
from .engine import Tensor, grad, scalars
from .explorer import explore
from .fused import fused_batch_norm
from .numbers.program import trace
from .verify import verify

__all__ = [
    "Derivation",
    "Tensor",
    "batch_norm",
    "batch_norm_backward",
    "derivations",
    "derive",
    "draw",
    "equation",
    "explore",
    "fused_batch_norm",
    "grad",
    "scalars",
    "trace",
    "verify",
]
