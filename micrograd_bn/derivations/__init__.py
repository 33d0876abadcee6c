"""Derivations, a file each, imported when it is asked for: batch norm's, which is the source's, and others in the same form."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..derivation import Derivation
    from .attention import ATTENTION
    from .batch_norm import BATCH_NORM
    from .group_norm import GROUP_NORM
    from .layer_norm import LAYER_NORM
    from .linear import LINEAR
    from .rms_norm import RMS_NORM
    from .softmax_cross_entropy import SOFTMAX_CROSS_ENTROPY

__all__ = ["ATTENTION", "BATCH_NORM", "GROUP_NORM", "LAYER_NORM", "LINEAR", "RMS_NORM", "SOFTMAX_CROSS_ENTROPY"]


def __getattr__(name: str) -> "Derivation":
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: it has {', '.join(__all__)}")
    derivation: Derivation = getattr(import_module(f".{name.lower()}", __name__), name)
    globals()[name] = derivation
    return derivation
