"""A graph of Tensors as a derivation."""

from .derivation import Derivation
from .engine import Tensor


def derivation_of(y: Tensor) -> Derivation:
    raise NotImplementedError
