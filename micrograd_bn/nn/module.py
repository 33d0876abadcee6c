"""Modules: functions with parameters, which have names, gradients to forget, and a state to keep."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..engine import Tensor, as_single
from ..files import AnyPath, write_whole
from ..kinds import Array, Value, as_data

Input: TypeAlias = Tensor | ArrayLike  # plain data is converted to the layer's dtype


def as_tensor(x: Input, dtype: DTypeLike | None = None) -> Tensor:
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

    Their names in ``named_parameters()`` and ``state_dict()`` are PyTorch's: the attributes' names, joined by dots. What would
    not be found is a TypeError there: modules in a list or a dict, which belong in a ``ModuleList``, and a Tensor that is
    neither a Parameter nor computed from others.

    >>> from micrograd_bn import nn
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> net = nn.Sequential(Scale(), nn.Tanh())
    >>> [name for name, parameter in net.named_parameters()]
    ['0.factor']
    >>> net([1.0, -1.0])
    Tensor(array([ 0.96402758, -0.96402758]))
    >>> net
    Sequential(
      (0): Scale()
      (1): Tanh()
    )
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

    def extra_repr(self) -> str:
        """What a module shows of itself between its parentheses, for a subclass to say."""
        return ""

    def __repr__(self) -> str:
        return self._shown([f"({name}): {child!r}" for name, child in self.named_children()])

    def _shown(self, children: list[str]) -> str:
        extra = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = "".join(f"\n{line}" for line in ([extra] if extra else []) + children)
        return f"{type(self).__name__}(" + lines.replace("\n", "\n  ") + "\n)"

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that are this one's attributes, each with its name."""
        return ((name, child) for name, child in vars(self).items() if isinstance(child, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all that are in it, each with its name from here: "" for this one, "0", "0.inner" …

        Raises TypeError, as all do that look for modules or parameters, if an attribute has some that would not be found.
        """
        for name, value in vars(self).items():
            _check_found(f"{type(self).__name__}.{name}", value)
        yield prefix, self
        for name, child in self.named_children():
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
                value.data = as_single(arrays[key])
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


def _check_found(name: str, value: Any) -> None:
    """Raise TypeError if this attribute is, or has in it, what could be learned and would be left out."""
    if isinstance(value, Tensor) and not isinstance(value, Parameter) and not value.parents:
        raise TypeError(
            f"{name} is a Tensor that is not learned: make it an nn.Parameter, or register_buffer(…) its .data if it is a constant"
        )
    if isinstance(value, (list, tuple, dict)):
        hidden = _first_within(value)
        if hidden is not None:
            what, advice = "Parameters", "give each an attribute of its own"
            if isinstance(hidden, Module):
                what, advice = "modules", "make it an nn.ModuleList"
            raise TypeError(f"{name} is a {type(value).__name__} that holds {what}: parameters() would not find them; {advice}")


def _first_within(value: Any) -> Module | Parameter | None:
    """The first module or Parameter in lists, tuples and dicts, in any depth."""
    if isinstance(value, (Module, Parameter)):
        return value
    if not isinstance(value, (list, tuple, dict)):
        return None
    within = map(_first_within, value.values() if isinstance(value, dict) else value)
    return next((found for found in within if found is not None), None)
