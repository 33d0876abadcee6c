"""Layers: linear, normalising, and element by element; their initial weights come from one generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..batchnorm import batch_norm, mean, normalize, scale_shift, statistics, variance
from ..engine import Tensor
from ..fused import fused_batch_norm
from ..kinds import Array, Value
from ..shapes import Axis, count
from .hyperparameters import NOT_NEGATIVE, UP_TO_1, Hyperparameter, size
from .module import Input, Module, Parameter, as_tensor

_random = np.random.default_rng(0)


def manual_seed(seed: int) -> None:
    """Start the generator of initial weights anew: the same seed and the same layers in the same order, the same weights.

    >>> manual_seed(3)
    >>> first = Linear(2, 2).weight.data
    >>> manual_seed(3)
    >>> np.array_equal(first, Linear(2, 2).weight.data)
    True
    """
    global _random
    _random = np.random.default_rng(seed)


class Linear(Module):
    """y = x weightᵀ + bias, for x of shape (…, in_features).

    weight has shape (out_features, in_features) and bias (out_features,); both start uniform within ±1/√in_features.
    Raises ValueError for an x of another last size and for sizes below 1, TypeError for a Tensor of another dtype.

    >>> Linear(3, 2)([[1.0, 2.0, 3.0]]).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = np.float32):
        in_features, out_features = size("Linear's in_features", in_features), size("Linear's out_features", out_features)
        bound = in_features**-0.5
        weight = _random.uniform(-bound, bound, (out_features, in_features))
        self.weight = Parameter(weight.astype(dtype), "weight")
        self.bias = Parameter(_random.uniform(-bound, bound, out_features).astype(dtype), "bias") if bias else None

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"in_features={in_features}, out_features={out_features}, bias={self.bias is not None}"

    def forward(self, x: Input) -> Tensor:
        x = as_tensor(x, self.weight.data.dtype)
        out_features, in_features = self.weight.shape
        if x.shape[-1:] != (in_features,):
            raise ValueError(f"Linear({in_features}, {out_features}) takes (…, {in_features}), and this has shape {x.shape}")
        y: Tensor = x @ self.weight.T if self.bias is None else x @ self.weight.T + self.bias
        return y


class _BatchNorm(Module):
    """What ``BatchNorm1d`` says, for inputs of a subclass's ``layouts``, with as many axes as one of its ``dimensions``."""

    layouts: str
    dimensions: tuple[int, ...]
    eps = Hyperparameter(NOT_NEGATIVE, "it is added to the variance")
    momentum = Hyperparameter(UP_TO_1, "it is the weight of the newest batch", optional=True)
    running_mean: Array | Any  # these three are None without track_running_stats
    running_var: Array | Any
    num_batches_tracked: Array | Any

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike = np.float32,
        fused: bool = False,
    ):
        self.num_features = num_features = size(f"{type(self).__name__}'s num_features", num_features)
        self.eps, self.momentum, self.fused, self.dtype = eps, momentum, fused, np.dtype(dtype)
        self.weight = Parameter(np.ones(num_features, dtype), "gamma") if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype), "beta") if affine and bias else None
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.array(0, dtype=np.int64) if track_running_stats else None)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
            f"bias={self.bias is not None}, track_running_stats={self.running_mean is not None}"
        )

    def forward(self, x: Input) -> Tensor:
        x = as_tensor(x, self.dtype)
        name = f"{type(self).__name__}({self.num_features})"
        if len(x.shape) not in self.dimensions or x.shape[1] != self.num_features:
            raise ValueError(f"{name} takes {self.layouts} with C = {self.num_features}, and this has shape {x.shape}")

        axis = (0, *range(2, len(x.shape)))
        gamma = 1.0 if self.weight is None else _along_channels(self.weight, x)
        beta = 0.0 if self.bias is None else _along_channels(self.bias, x)
        if not self.training and self.running_mean is not None:
            mu, var = (_along_channels(statistic, x) for statistic in (self.running_mean, self.running_var))
            y: Tensor = scale_shift(normalize(x, mu, var, self.eps), gamma, beta)
            return y

        if count(x, axis) == 1:
            raise ValueError(
                f"{name} takes its statistics from the batch, and one of shape {x.shape} has a single value a channel, which is "
                "its own mean: give it more, or use running statistics, after eval()"
            )
        y = (fused_batch_norm if self.fused else batch_norm)(x, gamma, beta, self.eps, axis)
        if self.running_mean is not None:
            self._track(x, y, axis)
        return y

    def _track(self, x: Tensor, y: Tensor, axis: Axis) -> None:
        """Let the running statistics follow this batch's: plain numbers, outside the graph."""
        if y.equation is None:  # fused_batch_norm keeps its statistics to itself
            mu = mean(x.data, axis)
            var = variance(x.data, mu, axis)
        else:
            mu, var = (statistic.data for statistic in statistics(y))
        m = count(x, axis)
        self.num_batches_tracked = self.num_batches_tracked + 1
        newest = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean = (1 - newest) * self.running_mean + newest * mu.reshape(-1)
        self.running_var = (1 - newest) * self.running_var + newest * (m / (m - 1)) * var.reshape(-1)


def _along_channels(value: Value, x: Tensor) -> Value:
    """A value a channel, of shape (C,), so that it broadcasts against x: (C, 1) for N × C × L, (C, 1, 1) for images."""
    beyond = len(x.shape) - 2
    return value.reshape((-1, *[1] * beyond)) if beyond else value


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L), channel by channel: equations (1) to (4).

    weight is gamma and bias is beta; without ``affine`` there is neither, without ``bias`` no bias. While training, the
    statistics are the batch's, and running_mean and running_var follow them: ``momentum`` is the weight of the newest batch,
    from 0 to 1, None the average of all so far. The running variance follows the unbiased one (m − 1 for m), though equation
    (2), which normalises, is biased. After ``eval()`` the running statistics stand in equation (3), as constants; without
    ``track_running_stats`` the batch's do then too. With ``fused`` the batch goes through ``fused_batch_norm``: one
    primitive, faster, with no graph to look into.

    Raises ValueError for another shape, a num_features below 1, and where the batch's statistics are needed and a channel has one
    value; TypeError for a Tensor of another dtype.

    >>> norm = BatchNorm1d(1)
    >>> norm([[1.0], [3.0]]).data.ravel().round(4), norm.running_mean
    (array([-1.,  1.], dtype=float32), array([0.2], dtype=float32))
    """

    layouts, dimensions = "(N, C) or (N, C, L)", (2, 3)


class BatchNorm2d(_BatchNorm):
    """``BatchNorm1d`` for images, (N, C, H, W): the statistics of a channel are over its pixels in the whole batch.

    >>> BatchNorm2d(3)(np.ones((8, 3, 4, 4))).shape
    (8, 3, 4, 4)
    """

    layouts, dimensions = "(N, C, H, W)", (4,)


class LayerNorm(Module):
    """Layer normalisation: equations (1) to (4) over the last axes of each example, those of ``normalized_shape``.

    weight is gamma and bias is beta, both of shape ``normalized_shape``, which is one size or several; without
    ``elementwise_affine`` there is neither, without ``bias`` no bias. Training and evaluation are the same: an
    example's statistics are its own.

    Raises ValueError for an x whose last sizes are others and for sizes below 1, TypeError for a Tensor of another dtype.

    >>> LayerNorm(2)([[1.0, 3.0], [30.0, 10.0]]).data.round(4)
    array([[-1.,  1.],
           [ 1., -1.]], dtype=float32)
    """

    eps = Hyperparameter(NOT_NEGATIVE, "it is added to the variance")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ):
        sizes = normalized_shape if isinstance(normalized_shape, Sequence) else [normalized_shape]
        self.normalized_shape = tuple([size("a size in LayerNorm's normalized_shape", n) for n in sizes])
        self.eps, self.dtype = eps, np.dtype(dtype)
        if not self.normalized_shape:
            raise ValueError("LayerNorm normalizes over the last axes, and () names none: give their sizes, or the last one's")
        self.weight = Parameter(np.ones(self.normalized_shape, dtype), "gamma") if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype), "beta") if elementwise_affine and bias else None

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.weight is not None}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"

    def forward(self, x: Input) -> Tensor:
        x = as_tensor(x, self.dtype)
        n = len(self.normalized_shape)
        if x.shape[-n:] != self.normalized_shape:
            sizes = ", ".join(map(str, self.normalized_shape))
            raise ValueError(f"LayerNorm({self.normalized_shape}) takes (…, {sizes}), and this has shape {x.shape}")
        gamma = 1.0 if self.weight is None else self.weight
        beta = 0.0 if self.bias is None else self.bias
        y: Tensor = batch_norm(x, gamma, beta, self.eps, axis=tuple(range(-n, 0)))
        return y


class ReLU(Module):
    """Each number, or 0 where it is negative.

    >>> ReLU()([-1.0, 2.0])
    Tensor(array([0., 2.]))
    """

    def forward(self, x: Input) -> Tensor:
        y: Tensor = as_tensor(x).relu()
        return y


class Tanh(Module):
    """The hyperbolic tangent of each number.

    >>> Tanh()([0.0, 1.0]).data.round(4)
    array([0.    , 0.7616])
    """

    def forward(self, x: Input) -> Tensor:
        y: Tensor = as_tensor(x).tanh()
        return y


class Sigmoid(Module):
    """The logistic function of each number, 1 / (1 + e⁻ˣ), with all its digits however far x is from 0.

    >>> Sigmoid()([0.0, 1.0]).data.round(4)
    array([0.5   , 0.7311])
    """

    def forward(self, x: Input) -> Tensor:
        y: Tensor = as_tensor(x).sigmoid()
        return y
