"""A formula, recorded on Tensors: its steps are gone through again on any kind of number, some of them changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from .derivation import Formula, parameters
from .engine import Tensor, in_order
from .kinds import Value, apply
from .shapes import shape

Values: TypeAlias = Mapping[str, Value]
Change: TypeAlias = Callable[..., Value]
NOT_NUMBERS = (int, tuple, str, dict, type(None))  # what is no number to compute with: an axis, say


def operation(node: Tensor) -> str:
    """The name of the primitive that a step is; "" for a number, of which none is."""
    return node.primitive.name if node.primitive else ""


def again(node: Tensor, inputs: Sequence[Value], **params: Any) -> Value:
    """A step on other inputs, or with other parameters."""
    assert node.primitive
    return apply(node.primitive.forward, inputs, {**node.params, **params})


class Recorded:
    """A function of named values, run once on Tensors of these values' shapes."""

    def __init__(self, function: Formula, given: tuple[tuple[str, bool, Any], ...]):
        random = np.random.default_rng(0)
        leaves = {name: Tensor(random.uniform(0.5, 1.5, value)) for name, is_shape, value in given if is_shape}
        with np.errstate(all="ignore"):
            result = function(*[leaves.get(name, value) for name, _, value in given])
        self.nodes = in_order([result] if isinstance(result, Tensor) else [])
        self.names = {leaf: name for name, leaf in leaves.items()}

    def run(self, values: Values, changes: Mapping[int, Change], end: int = -1) -> Value:
        """The result for other values, or the step at ``end``; a change is a function of the values and the step's inputs."""
        found: dict[Tensor, Value] = {}
        for i, node in enumerate(self.nodes):
            inputs = [found[a] if isinstance(a, Tensor) else a for a in node.inputs]
            if i in changes:
                found[node] = changes[i](values, *inputs)
            elif node in self.names:
                found[node] = values[self.names[node]]
            else:
                found[node] = again(node, inputs) if node.primitive else node.data
        return found[self.nodes[end]]


_recorded = lru_cache(maxsize=4096)(Recorded)


def recorded(function: Formula, values: Values) -> Recorded:
    """The steps of a function, on values of these shapes."""
    given = [(name, values[name]) for name in parameters(function)]
    return _recorded(function, tuple([(a, False, v) if isinstance(v, NOT_NUMBERS) else (a, True, shape(v)) for a, v in given]))


def size(function: Formula, values: Values) -> Value:
    """How large the terms are that a function adds up: its value, if all of them had one sign."""

    def of_absolutes(node: Tensor) -> Change:
        return lambda values, *inputs: again(node, [np.abs(a) for a in inputs])

    steps = recorded(function, values)
    adding = {i: of_absolutes(node) for i, node in enumerate(steps.nodes) if operation(node) in ("sum", "mean", "matmul")}
    return np.abs(steps.run(values, adding))


class Changed:
    """A formula with some of its steps changed."""

    def __init__(self, function: Formula, length: int, changes: Mapping[int, Change]):
        self.function, self.length, self.changes = function, length, changes

    def __or__(self, other: Changed) -> Changed:
        return Changed(self.function, self.length, {**self.changes, **other.changes})

    def __call__(self, values: Values) -> Value:
        steps = recorded(self.function, values)
        if len(steps.nodes) != self.length:
            raise ValueError("on these shapes, the formula has other steps")
        return steps.run(values, self.changes)
