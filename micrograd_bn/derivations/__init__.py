"""Derivations, a file each: batch norm's, which is the source's, and others in the same form."""

from .attention import ATTENTION
from .batch_norm import BATCH_NORM
from .group_norm import GROUP_NORM
from .layer_norm import LAYER_NORM
from .linear import LINEAR
from .rms_norm import RMS_NORM
from .softmax_cross_entropy import SOFTMAX_CROSS_ENTROPY

__all__ = ["ATTENTION", "BATCH_NORM", "GROUP_NORM", "LAYER_NORM", "LINEAR", "RMS_NORM", "SOFTMAX_CROSS_ENTROPY"]
