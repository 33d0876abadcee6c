"""A graph of arrays as a graph of single numbers, as it would be if its function were called on ``scalars``."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..engine import Tensor, in_order
from ..kinds import Value
from ..numbers.javascript import number_by_number
from ..numbers.name import Name
from ..shapes import Shape, shape, subscript


def element(name: str, to: Shape, index: tuple[int, ...]) -> str:
    """What an element of an array is called; of a single number, the number."""
    return name if np.prod(to) == 1 else name + subscript(index)


def singles(called: Mapping[Tensor, str]) -> tuple[dict[Tensor, Any], list[Tensor], list[list[Tensor]]]:
    """For each node of a graph, in the order of computation, an array of Tensors that are its numbers, in a graph of their own;
    all that leads to those of the last node, array by array, as NumPy computes them; and the numbers of each array, none of them
    in two, as those of a reshaped one would be.

    called  what each node is called: its numbers are labelled accordingly. What belonged to an equation does so again.
    """
    found: dict[Tensor, Any] = {}
    rows: list[list[Tensor]] = []
    runs: dict[int, tuple[Value, ...]] = {}

    def part(a: Value) -> Any:
        return found[a] if isinstance(a, Tensor) else _elements(a) if isinstance(a, Name) else a

    for node, name in called.items():
        if node.primitive is None:
            array = np.empty(node.shape, dtype=object)
            for index in np.ndindex(node.shape):
                array[index] = leaf = Tensor(0.0)
                leaf.data = node.data[index] if node.shape else node.data
        else:
            array = number_by_number(Tensor.record, node.primitive, node.params, node.shape, [part(a) for a in node.inputs])
        found[node] = array
        step = node.equation
        if step is not None:
            if id(step.values) not in runs:
                runs[id(step.values)] = tuple([_whole(part(a)) for a in step.values])
            step = step._replace(values=runs[id(step.values)])
        rows.append([])
        for index, a in np.ndenumerate(array):
            if isinstance(a, Tensor) and a.label is None:
                a.label, a.equation = element(name, node.shape, index), step
                rows[-1].append(a)
    numbers = [[a for a in array.flat if isinstance(a, Tensor)] for array in found.values()]
    reached = {*in_order(numbers[-1])}
    return found, [a for a in in_order(itertools.chain(*numbers)) if a in reached], rows


def _elements(a: Value) -> Any:
    array = np.empty(shape(a), dtype=object)
    for index in np.ndindex(array.shape):
        array[index] = a[index] if array.shape else a
    return array


def _whole(a: Any) -> Any:
    """A single number as such, not as an array without axes."""
    return a[()] if isinstance(a, np.ndarray) and not a.shape else a
