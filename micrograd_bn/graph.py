"""A graph of Tensors as a derivation: its steps are the equations that were run, and primitives where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .derivation import Derivation, equation, made_by, with_parameters
from .engine import Step, Tensor, data_of, in_order
from .kinds import Value
from .primitives import stop_gradient
from .shapes import Shape, shape
from .validation import RESERVED

# Sizes have the names that they have in the derivations, and what is computed has the first letters that are free.
SIZES = "mknghw"
NAMES = "abcfghpqrsuvz"


def derivation_of(y: Tensor) -> Derivation:
    """The derivation of the graph that leads to y: its own, where y is the result of one.

    Tensors that are labelled have their label for a name. An array among the inputs is a variable without a gradient, a number
    stays what it is. Raises TypeError for what is no Tensor, or a leaf.
    """
    if not isinstance(y, Tensor) or not y.inputs:
        raise TypeError("derive needs a Derivation, or the result of a computation with Tensors: y, as in y = f(Tensor(x))")
    step = y.equation
    if step is not None and isinstance(step.derivation, Derivation) and step.output == step.derivation.result:
        return step.derivation.with_constants(_constants(step, step.derivation))
    return _Graph(y).derivation()


def _constants(step: Step, d: Derivation) -> dict[str, Any]:
    """The constants of a derivation's run, from the step that gave its result."""
    found, stack = dict(d.constants), [step]
    while stack:
        step = stack.pop()
        found |= step.constants
        steps = [value.equation for value in step.values if isinstance(value, Tensor) and value.equation is not None]
        stack += [each for each in steps if each.derivation is d and each.output != d.result]
    return found


class _Graph:
    """The nodes of a graph by name, and the steps that lead from one to the next.

    Equal sizes have one name, but for those of one shape: a square array is (m, k).
    """

    def __init__(self, y: Tensor):
        self.y = y
        self.order = in_order([y])
        self.steps = made_by(reversed(self.order))
        self.sizes: dict[tuple[int, int], str] = {}
        self.names: dict[int, str] = {}  # by id: of Tensors, and of arrays that are constants
        self.values: dict[str, Value] = {}

    def derivation(self) -> Derivation:
        """A derivation whose equations run the same primitives."""
        shown = self._shown()
        for value in [a for node in shown for a in self._inputs(node)] + shown:
            self._name(value)
        numbers = [node.equation.number if node.equation else 0 for node in shown]
        if len(set(numbers)) < len(numbers) or 0 in numbers:
            numbers = list(range(1, len(shown) + 1))
        functions = [self._function(node, number) for node, number in zip(shown, numbers)]
        inputs = [name for name, value in self.values.items() if self._is_given(value)]
        return Derivation(
            self.names[id(self.y)] if self.y.label else "the graph",
            functions,
            shapes={name: self._dims(shape(self.values[name])) for name in inputs},
            no_gradient=[name for name in inputs if not isinstance(self.values[name], Tensor) or self.values[name].inputs],
        )

    def _shown(self) -> list[Tensor]:
        """The results of the steps, in the order of computation."""
        wanted: set[Tensor] = set()
        stack = [self.y]
        while stack:
            node = stack.pop()
            if node not in wanted:
                wanted.add(node)
                stack += [a for a in self._inputs(node) if not self._is_given(a)]
        return [node for node in self.order if node in wanted]

    def _is_given(self, value: Value) -> bool:
        """Whether no step leads to it that has a derivative."""
        if not isinstance(value, Tensor) or not value.inputs:
            return True
        return value.primitive is stop_gradient and value not in self.steps and value is not self.y

    def _inputs(self, node: Tensor) -> list[Value]:
        """What a step's variables are: Tensors, and arrays of constants; of a comparison, what is compared."""
        inputs = node.equation.values if node.equation is not None else node.inputs
        return [b for a in inputs for b in (self._inputs(a) if _is_comparison(a) else [a]) if isinstance(b, Tensor) or shape(b)]

    def _name(self, value: Value) -> None:
        if id(value) in self.names:
            return
        step = value.equation if isinstance(value, Tensor) else None
        label = value.label if isinstance(value, Tensor) else None
        wanted = [label, step.output if step else None, *NAMES]
        taken = {*self.values, *[f"d{a}" for a in self.values], *RESERVED}
        free = [name for name in wanted if name and name.isidentifier() and name not in taken and f"d{name}" not in self.values]
        name = free[0] if free else f"v_{len(self.values)}"
        self.names[id(value)], self.values[name] = name, value

    def _dims(self, to: Shape) -> tuple[str, ...]:
        """A shape by the names of its sizes."""
        keys = _counted(to)
        for n, j in keys:
            if n != 1 and (n, j) not in self.sizes:
                free = [c for c in SIZES if c not in {*self.sizes.values(), *self.values}]
                self.sizes[n, j] = free[0] if free else f"n{len(self.sizes)}"
        return tuple("1" if key[0] == 1 else self.sizes[key] for key in keys)

    # ---- a step as an equation

    def _function(self, node: Tensor, number: int) -> Callable[..., Value]:
        """The primitives of one step, as a function of its variables that runs them again on any kind of number."""
        variables = list({id(a): a for a in self._inputs(node)}.values())
        inner = list(self._between(node, {id(a) for a in variables}))

        def function(*arguments: Value) -> Value:
            found = {id(a): value > 0 if _is_mask(a) else value for a, value in zip(variables, arguments)}
            pairs = zip(variables, arguments)
            sizes = {key: n for a, value in pairs for key, n in zip(_counted(shape(a)), shape(value)) if key[0] != 1}
            for each in inner:
                assert each.primitive is not None
                params = {name: _resized(value, sizes) if name == "to" else value for name, value in each.params.items()}
                found[id(each)] = each.primitive(*[found.get(id(a), data_of(a)) for a in each.inputs], **params)
            return found[id(node)]

        function.__name__ = self._called(node)
        text = node.equation.text if node.equation is not None and node.equation.derivation is None else ""  # in its own symbols
        return equation(number, self.names[id(node)], text)(with_parameters([self.names[id(a)] for a in variables], function))

    def _called(self, node: Tensor) -> str:
        """The name of what computes a step."""
        step = node.equation
        if step is not None and step.derivation is not None:
            return str(step.derivation.equation_of(step.output).function.__name__)
        return "f" if step is not None or node.primitive is None else node.primitive.name

    def _between(self, node: Tensor, variables: set[int]) -> Iterator[Tensor]:
        """The nodes from a step's variables to its result, in the order of computation."""
        wanted, stack = set(), [node]
        while stack:
            each = stack.pop()
            if id(each) not in wanted and id(each) not in variables:
                wanted.add(id(each))
                stack += each.parents
        yield from [each for each in self.order if id(each) in wanted and each.inputs]


def _counted(to: Shape) -> list[tuple[int, int]]:
    """The sizes of a shape, each with how many equal ones stand before it."""
    return [(n, to[:i].count(n)) for i, n in enumerate(to)]


def _is_comparison(value: Value) -> bool:
    return isinstance(value, Tensor) and value.dtype == bool and value.equation is None


def _is_mask(value: Value) -> bool:
    """Whether this is an array of booleans: on symbols, numbers that are above 0 where it is true."""
    return isinstance(value, np.ndarray) and value.dtype == bool


def _resized(to: Shape | int, sizes: dict[tuple[int, int], Any]) -> tuple[Any, ...]:
    """A shape that a primitive is given, by the sizes of what the function is called on."""
    to = (to,) if isinstance(to, int) else to
    return tuple([sizes.get((n, j), sizes.get((n, 0), n)) for n, j in _counted(to)])
