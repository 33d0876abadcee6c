"""Layers that train: modules with PyTorch's names, defaults and state dicts, on the engine's primitives alone.

    net = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = nn.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss = nn.cross_entropy(net(images), digits)

A layer's ``dtype`` is float32 unless it is told otherwise. Weights are drawn from one generator, which ``manual_seed`` sets;
it starts at seed 0, so that a script gives the same numbers each time it runs.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .batchnorm import batch_norm, mean, normalize, scale_shift, variables, variance
from .engine import Tensor
from .files import AnyPath, write_whole
from .kinds import Array, Value, as_data
from .shapes import Axis, count

Input: TypeAlias = Tensor | ArrayLike  # plain data is converted to the layer's dtype

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


def _tensor(x: Input, dtype: DTypeLike | None = None) -> Tensor:
    """``x`` as a Tensor of this dtype: plain data is converted; a Tensor is not, for the change would not be in its graph."""
    if not isinstance(x, Tensor):
        return Tensor(np.asarray(as_data(x), dtype=dtype))
    kind = getattr(x.data, "dtype", dtype)
    if dtype is not None and kind != dtype:
        raise TypeError(
            f"a Tensor of {kind} meets {np.dtype(dtype)}: make the layers with dtype=np.{kind}, or the Tensor from "
            f"data.astype(np.{np.dtype(dtype)})"
        )
    return x


class Parameter(Tensor):
    """A Tensor that a module learns. As a module's attribute it is found by ``parameters()`` and ``state_dict()``.

    >>> weight = Parameter([1.0, 2.0], label="weight")
    >>> isinstance(weight * 2, Parameter)  # what is computed from it is not learned
    False
    """

    __slots__ = ()


class Module:
    """A function with parameters: write ``forward``, and assign Parameters and other modules as attributes.

    Their names in ``named_parameters()`` and ``state_dict()`` are PyTorch's: the attributes' names, joined by dots. As in
    PyTorch, modules in a list or a dict are not found: put them in a ``Sequential``.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> net = Sequential(Scale(), Tanh())
    >>> [name for name, parameter in net.named_parameters()]
    ['0.factor']
    >>> net([1.0, -1.0])
    Tensor(array([ 0.96402758, -0.96402758]))
    """

    training = True
    _buffers: tuple[str, ...] = ()

    def forward(self, *inputs: Value, **named: Any) -> Value:
        """What the module computes, in a subclass's own words and with its own arguments."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method: write what it computes there")

    def __call__(self, *inputs: Value, **named: Any) -> Value:
        return self.forward(*inputs, **named)

    def register_buffer(self, name: str, value: Array | None) -> None:
        """Keep an array that is not learned but belongs to the state, as an attribute; None is left out of the state."""
        setattr(self, name, value)
        self._buffers = (*self._buffers, name)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all that are in it, each with its name from here: "" for this one, "0", "0.inner" …"""
        yield prefix, self
        for name, child in vars(self).items():
            if isinstance(child, Module):
                yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def _state(self) -> Iterator[tuple[str, Module, str, Any]]:
        """Every parameter and buffer: its key in the state dict, the module that has it, its name there, and itself."""
        for prefix, module in self.named_modules():
            names = [name for name, value in vars(module).items() if isinstance(value, Parameter)]
            for name in (*names, *module._buffers):
                if getattr(module, name) is not None:
                    yield f"{prefix}.{name}" if prefix else name, module, name, getattr(module, name)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its name; one that is shared comes once, under its first name."""
        seen: set[Parameter] = set()
        for key, _, _, value in self._state():
            if isinstance(value, Parameter) and value not in seen:
                seen.add(value)
                yield key, value

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter, each once: what an optimizer takes."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget the gradients: backward passes add to what is there."""
        for parameter in self.parameters():
            parameter.grad = None

    def train(self, mode: bool = True) -> Module:
        """Set this module and all in it to training (or not); returns the module. BatchNorm is what behaves differently."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set this module and all in it to evaluation: ``train(False)``."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """Every parameter and buffer as an array, a copy, under PyTorch's key."""
        return {key: np.array(v.data if isinstance(v, Parameter) else v) for key, _, _, v in self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the arrays of a state dict, this package's or PyTorch's; each keeps the dtype that it has here.

        Raises ValueError, with a line for each key that is missing, not known, of another shape or not made of numbers; the
        module is then as it was.
        """
        own = self.state_dict()
        arrays = {key: np.asarray(value) for key, value in state.items()}
        wrong = [f"{key} is missing" for key in own if key not in arrays]
        for key, array in arrays.items():
            if key not in own:
                wrong.append(f"{key} is not a key of this module")
            elif array.dtype.kind not in "biuf":
                wrong.append(f"{key} has dtype {array.dtype}, and should hold real numbers")
            elif array.shape != own[key].shape:
                wrong.append(f"{key} has shape {array.shape}, and should have {own[key].shape}")
        if wrong:
            raise ValueError("\n  ".join([f"this state does not fit the {type(self).__name__}, which is left as it was:", *wrong]))
        arrays = {key: np.array(array, dtype=own[key].dtype) for key, array in arrays.items()}
        for key, module, name, value in self._state():
            if isinstance(value, Parameter):
                value.data = arrays[key]
            else:
                setattr(module, name, arrays[key])

    def save(self, path: AnyPath) -> None:
        """Write the state dict to ``path`` as .npz, whole or not at all: if it is cut short, an earlier file there stays."""
        content = io.BytesIO()
        arrays: dict[str, Any] = self.state_dict()
        np.savez(content, **arrays)
        write_whole(path, content.getvalue())

    def load(self, path: AnyPath) -> None:
        """Take over the state dict of an .npz file, written by ``save`` or by ``numpy.savez``. Nothing in it is unpickled.

        Raises ValueError for a damaged file and for a state that does not fit; the module is then as it was.
        """
        with open(path, "rb") as file:
            try:
                with np.load(file, allow_pickle=False) as archive:
                    state = {key: archive[key] for key in archive.files}
            except Exception as error:  # each damaged byte fails in its own way in zipfile, zlib or NumPy
                raise ValueError(f"{path} is damaged or not an .npz file of arrays: {error}") from error
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


class Linear(Module):
    """y = x weightᵀ + bias, for x of shape (…, in_features).

    weight has shape (out_features, in_features) and bias (out_features,); both start uniform within ±1/√in_features.
    Raises ValueError for an x of another last size, TypeError for a Tensor of another dtype.

    >>> Linear(3, 2)([[1.0, 2.0, 3.0]]).shape
    (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, dtype: DTypeLike = np.float32):
        bound = in_features**-0.5
        weight = _random.uniform(-bound, bound, (out_features, in_features))
        self.weight = Parameter(weight.astype(dtype), "weight")
        self.bias = Parameter(_random.uniform(-bound, bound, out_features).astype(dtype), "bias") if bias else None

    def forward(self, x: Input) -> Tensor:
        x = _tensor(x, self.weight.data.dtype)
        out_features, in_features = self.weight.shape
        if x.shape[-1:] != (in_features,):
            raise ValueError(f"Linear({in_features}, {out_features}) takes (…, {in_features}), and this has shape {x.shape}")
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias


class _BatchNorm(Module):
    """What ``BatchNorm1d`` says, for inputs of a subclass's ``layouts``, with as many axes as one of its ``dimensions``."""

    layouts: str
    dimensions: tuple[int, ...]
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
        dtype: DTypeLike = np.float32,
        fused: bool = False,
    ):
        self.num_features, self.eps, self.momentum, self.fused, self.dtype = num_features, eps, momentum, fused, np.dtype(dtype)
        self.weight = Parameter(np.ones(num_features, dtype), "gamma") if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype), "beta") if affine else None
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if track_running_stats else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", np.array(0, dtype=np.int64) if track_running_stats else None)

    def forward(self, x: Input) -> Tensor:
        x = _tensor(x, self.dtype)
        name = f"{type(self).__name__}({self.num_features})"
        if len(x.shape) not in self.dimensions or x.shape[1] != self.num_features:
            raise ValueError(f"{name} takes {self.layouts} with C = {self.num_features}, and this has shape {x.shape}")

        axis = (0, *range(2, len(x.shape)))
        gamma, beta = (1.0, 0.0) if self.weight is None else (_along_channels(p, x) for p in (self.weight, self.bias))
        if not self.training and self.running_mean is not None:
            mu, var = (_along_channels(statistic, x) for statistic in (self.running_mean, self.running_var))
            y: Tensor = scale_shift(normalize(x, mu, var, self.eps), gamma, beta)
            return y

        if count(x, axis) == 1:
            raise ValueError(
                f"{name} takes its statistics from the batch, and one of shape {x.shape} has a single value a channel, which is "
                "its own mean: give it more, or use running statistics, after eval()"
            )
        if self.fused:
            from .fused import fused_batch_norm

            y = fused_batch_norm(x, gamma, beta, self.eps, axis)
        else:
            y = batch_norm(x, gamma, beta, self.eps, axis)
        if self.running_mean is not None:
            self._track(x, y, axis)
        return y

    def _track(self, x: Tensor, y: Tensor, axis: Axis) -> None:
        """Let the running statistics follow this batch's: plain numbers, outside the graph."""
        if y.equation is None:  # fused_batch_norm keeps its statistics to itself
            mu = mean(x.data, axis)
            var = variance(x.data, mu, axis)
        else:
            mu, var = (variables(y)[name].data for name in ("mu", "var"))
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

    weight is gamma and bias is beta (None if not ``affine``). While training, the statistics are the batch's, and
    running_mean and running_var follow them: ``momentum`` is the weight of the newest batch, None the average of all so far.
    The running variance follows the unbiased one (m − 1 for m), though equation (2), which normalises, is biased. After
    ``eval()`` the running statistics stand in equation (3), as constants; without ``track_running_stats`` the batch's do then
    too. With ``fused`` the batch goes through ``fused_batch_norm``: one primitive, faster, with no graph to look into.

    Raises ValueError for another shape, and where the batch's statistics are needed and a channel has one value; TypeError for
    a Tensor of another dtype.

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


class ReLU(Module):
    """Each number, or 0 where it is negative.

    >>> ReLU()([-1.0, 2.0])
    Tensor(array([0., 2.]))
    """

    def forward(self, x: Input) -> Tensor:
        return _tensor(x).relu()


class Tanh(Module):
    """The hyperbolic tangent of each number.

    >>> Tanh()([0.0, 1.0]).data.round(4)
    array([0.    , 0.7616])
    """

    def forward(self, x: Input) -> Tensor:
        return _tensor(x).tanh()


class Sequential(Module):
    """Modules one after the other; their names are their positions: "0", "1", … TypeError for what is no module.

    >>> net = Sequential(Linear(4, 8), ReLU(), Linear(8, 1))
    >>> list(net.state_dict())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> net(np.ones((5, 4))).shape
    (5, 1)
    """

    def __init__(self, *modules: Module):
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential takes modules, one an argument, and argument {i} is {module!r}")
            setattr(self, str(i), module)

    def __iter__(self) -> Iterator[Module]:
        return (child for child in vars(self).values() if isinstance(child, Module))

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]

    def forward(self, x: Value) -> Value:
        for module in self:
            x = module(x)
        return x


def mse_loss(input: Input, target: Input) -> Tensor:
    """The mean of (input − target)². Both have the same shape (ValueError): broadcasting would compare all with all.

    >>> mse_loss([1.0, 2.0], [1.0, 4.0]).item()
    2.0
    """
    input = _tensor(input)
    target = _tensor(target, getattr(input.data, "dtype", None))
    if input.shape != target.shape:
        raise ValueError(f"input has shape {input.shape} and target {target.shape}: reshape one to the other's")
    return ((input - target) ** 2).mean()


def cross_entropy(logits: Input, targets: ArrayLike) -> Tensor:
    """The mean of −log softmax(logits)[target]: logits of shape (N, C), targets N class numbers from 0 to C − 1.

    Raises ValueError for other shapes and class numbers, TypeError for targets that are not integers.

    >>> round(cross_entropy([[2.0, 0.0]], [0]).item(), 4)
    0.1269
    """
    logits, targets = _tensor(logits), np.asarray(targets)
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
    shifted: Tensor = logits - logits.data.max(axis=1, keepdims=True)  # the same softmax, and exp cannot overflow
    return (shifted.exp().sum(axis=1).log() - shifted[np.arange(n), targets]).mean()


class SGD:
    """Stochastic gradient descent: velocity = momentum · velocity + gradient, parameter −= lr · velocity.

    A parameter whose gradient is None is left alone, its velocity too. Raises ValueError without parameters.

    >>> weight = Parameter([1.0])
    >>> (weight**2).sum().backward()
    >>> SGD([weight], lr=0.25).step()
    >>> weight.data
    array([0.5])
    """

    def __init__(self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.0):
        self.params = list(params)
        self.lr, self.momentum = lr, momentum
        self.velocities: list[Any] = [0.0] * len(self.params)
        if not self.params:
            raise ValueError("SGD has no parameters to step: pass net.parameters(), anew if they were used up")
        for parameter in self.params:
            if not isinstance(parameter, Tensor):
                raise TypeError(f"SGD steps Tensors, and this is {parameter!r}: pass net.parameters()")

    def zero_grad(self) -> None:
        """Forget the gradients: backward passes add to what is there."""
        for parameter in self.params:
            parameter.grad = None

    def step(self) -> None:
        """Change each parameter's data by its gradient; the old array stays as it was."""
        for i, parameter in enumerate(self.params):
            if parameter.grad is not None:
                # A loss in float64 sends float64 back: the parameter stays what it is.
                gradient = np.asarray(parameter.grad, dtype=np.result_type(parameter.data))
                self.velocities[i] = self.momentum * self.velocities[i] + gradient
                parameter.data = parameter.data - self.lr * self.velocities[i]
