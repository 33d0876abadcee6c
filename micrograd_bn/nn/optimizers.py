"""Optimizers: how parameters follow their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine import Tensor, as_single
from ..kinds import Array
from .hyperparameters import BELOW_1, FINITE, NOT_NEGATIVE, Hyperparameter, plain


class Optimizer:
    """What optimizers share: parameter −= lr · direction, for each parameter, or a single one; a subclass says what a direction is.

    A parameter whose gradient is None is left alone, and so is what the optimizer remembers of it. ``weight_decay`` of the
    parameter is added to its gradient. Hyperparameters may be assigned at any time, ``optimizer.lr = …`` by a schedule.

    Raises ValueError without parameters and for a hyperparameter out of range, TypeError for what is no Tensor or no number.
    """

    lr = Hyperparameter(NOT_NEGATIVE, "a step goes against the gradient by itself")
    weight_decay = Hyperparameter(NOT_NEGATIVE)

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float):
        name = type(self).__name__
        self.params = [*params] if isinstance(params, Iterable) and not isinstance(params, Tensor) else [params]
        self.lr, self.weight_decay = lr, weight_decay
        if not self.params:
            raise ValueError(f"{name} has no parameters to step: pass net.parameters(), anew if they were used up")
        for parameter in self.params:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"{name} steps Tensors, and this is {parameter!r}: pass net.parameters()")

    def zero_grad(self) -> None:
        """Forget the gradients: backward passes add to what is there."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Change each parameter's data by its gradient; the old array stays as it was."""
        for i, parameter in enumerate(self.params):
            if parameter.grad is not None:
                # A loss in float64 sends float64 back: the parameter stays what it is.
                dtype = np.result_type(parameter.data)
                gradient = np.array(parameter.grad, dtype=dtype)
                if self.weight_decay:
                    gradient = gradient + self.weight_decay * parameter.data
                moved = parameter.data - self.lr * self.direction(i, gradient)
                parameter.data = as_single(moved.astype(dtype, copy=False))

    def direction(self, i: int, gradient: Array) -> Array:
        """Where the ``i``-th parameter goes from, given its gradient, an array that nobody else holds."""
        raise NotImplementedError(f"{type(self).__name__} has no direction method: write which way a gradient sends a parameter")


class SGD(Optimizer):
    """Stochastic gradient descent: velocity = momentum · velocity + (1 − dampening) · gradient, parameter −= lr · velocity.

    The first velocity is the gradient itself. With ``nesterov``, which needs a momentum and no dampening (ValueError), the
    step looks ahead: parameter −= lr · (gradient + momentum · velocity). For the rest see ``Optimizer``.

    >>> from micrograd_bn import nn
    >>> weight = nn.Parameter([1.0])
    >>> (weight**2).sum().backward()
    >>> SGD([weight], lr=0.25).step()
    >>> weight.data
    array([0.5])
    """

    momentum = Hyperparameter(NOT_NEGATIVE)
    dampening = Hyperparameter(FINITE)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(params, lr, weight_decay)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.velocities: list[Any] = [None] * len(self.params)
        if nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov looks ahead along the velocity: it needs a momentum above 0 and a dampening of 0, and these are "
                f"{self.momentum} and {self.dampening}"
            )

    def direction(self, i: int, gradient: Array) -> Array:
        if self.momentum == 0:
            return gradient
        velocity = self.velocities[i]
        velocity = gradient if velocity is None else self.momentum * velocity + (1 - self.dampening) * gradient
        self.velocities[i] = velocity
        return gradient + self.momentum * velocity if self.nesterov else velocity


class Adam(Optimizer):
    """Each number at a rate of its own: the gradient's running mean over the root of its square's.

    Both begin at 0 and are divided by 1 − betaᵗ at a parameter's step t, as if they had not; ``betas`` are the shares of them
    that a step keeps, and ``eps`` is added to the root. For the rest see ``Optimizer``. Source: Kingma and Ba, 2015, algorithm 1.

    >>> from micrograd_bn import nn
    >>> weight = nn.Parameter([1.0, 100.0])
    >>> (weight**2).sum().backward()
    >>> Adam([weight], lr=0.25).step()
    >>> weight.data.round(4)
    array([ 0.75, 99.75])
    """

    eps = Hyperparameter(NOT_NEGATIVE)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, lr, weight_decay)
        self.betas, self.eps = betas, eps
        self.steps = [0] * len(self.params)
        self.means: list[Any] = [0.0] * len(self.params)
        self.squares: list[Any] = [0.0] * len(self.params)

    @property
    def betas(self) -> tuple[float, float]:
        """The shares of the running means, of the gradient and of its square, that a step keeps."""
        return self._betas

    @betas.setter
    def betas(self, betas: tuple[float, float]) -> None:
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"Adam's betas are two numbers, the gradient's and its square's, and this is {betas!r}")
        first, second = (plain(f"Adam's betas[{i}]", beta, BELOW_1) for i, beta in enumerate(betas))
        self._betas = first, second

    def direction(self, i: int, gradient: Array) -> Array:
        first, second = self.betas
        self.steps[i] += 1
        self.means[i] = first * self.means[i] + (1 - first) * gradient
        self.squares[i] = second * self.squares[i] + (1 - second) * gradient**2
        mean = self.means[i] / (1 - first ** self.steps[i])
        square = self.squares[i] / (1 - second ** self.steps[i])
        step: Array = mean / (np.sqrt(square) + self.eps)
        return step
