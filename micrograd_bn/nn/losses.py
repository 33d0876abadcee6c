"""Losses: what a net is trained to make small."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..engine import Tensor
from .hyperparameters import UP_TO_1, plain
from .module import Input, as_tensor

Reduction: TypeAlias = Literal["mean", "sum", "none"]


def mse_loss(input: Input, target: Input, *, reduction: Reduction = "mean") -> Tensor:
    """The mean of (input − target)²; their sum or, with "none", each of them. Both have the same shape.

    Raises ValueError for another shape, for broadcasting would compare all with all, and for another reduction.

    >>> mse_loss([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    input = as_tensor(input)
    target = as_tensor(target, getattr(input.data, "dtype", None))
    if input.shape != target.shape:
        raise ValueError(f"input has shape {input.shape} and target {target.shape}: reshape one to the other's")
    return _reduced((input - target) ** 2, reduction)


def cross_entropy(logits: Input, targets: ArrayLike, *, reduction: Reduction = "mean", label_smoothing: float = 0.0) -> Tensor:
    """The mean of −log softmax(logits)[target]: logits of shape (N, C), targets N class numbers from 0 to C − 1.

    reduction         "mean", "sum", or "none" for the N losses, of shape (N,).
    label_smoothing   the share of a target, from 0 to 1, that is spread evenly over all C classes.

    Raises ValueError for other shapes, class numbers, reductions and shares, TypeError for targets that are not integers.

    >>> round(cross_entropy([[2.0, 0.0]], [0]).item(), 4)
    0.1269
    """
    logits, targets = as_tensor(logits), np.asarray(targets)
    smoothing = plain("label_smoothing", label_smoothing, UP_TO_1)
    if len(logits.shape) != 2 or not logits.shape[0]:
        raise ValueError(f"logits have shape (N, C), a row an example and a column a class, and these have {logits.shape}")
    n, classes = logits.shape
    if targets.shape != (n,):
        advice = ": for one-hot rows pass targets.argmax(axis=1)" if targets.shape == logits.shape else ""
        raise ValueError(f"{n} rows of logits need {n} targets, of shape ({n},), and these have {targets.shape}{advice}")
    if targets.dtype.kind not in "iu":
        raise TypeError(f"targets are class numbers, integers, and these are {targets.dtype}: convert them with astype(int)")
    outside = np.flatnonzero((targets < 0) | (targets >= classes))
    if outside.size:
        raise ValueError(f"targets[{outside[0]}] is {targets[outside[0]]}: with {classes} classes they are 0 to {classes - 1}")
    logarithms = logits.log_softmax(axis=1)
    aimed_at = logarithms[np.arange(n), targets]
    if smoothing:
        aimed_at = (1 - smoothing) * aimed_at + smoothing * logarithms.mean(axis=1)
    return _reduced(-aimed_at, reduction)


def _reduced(losses: Tensor, reduction: Reduction) -> Tensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction is "mean", "sum" or "none", and this is {reduction!r}')
    loss: Tensor = {"mean": losses.mean, "sum": losses.sum, "none": lambda: losses}[reduction]()
    return loss
