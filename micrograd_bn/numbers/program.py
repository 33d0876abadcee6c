"""The program: what the engine does for a function, forward and backward, as straight-line NumPy that a person reads.

``trace`` runs the function, and the engine's backward pass, on numbers that write themselves down (``name``); a ``Program`` is what
they have written. ``python``, ``javascript``, ``loops`` and ``machine`` write it out for whoever runs it.
"""

from __future__ import annotations

import inspect
import json
import keyword
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import primitives as P
from ..derivation import Derivation, made_by
from ..engine import Step, Tensor, adjoints, as_single, in_order
from ..files import AnyPath, write_by_ending
from ..kinds import Value, as_data, zeros
from ..shapes import Shape, shape
from . import python
from .name import Name, Tape, behind, kind, unused

if TYPE_CHECKING:
    from .compile import Compiled

FLOATS: Any = (float, np.floating, np.ndarray)
TAKEN = {  # in the modules that are written
    *("np", "forward", "gradients", "check", "SHAPES", "buffers", "max", "abs", "float", "range", "Decimal", "Fraction"),
    *("tiled", "exp32", "row_sum", "row_max", "row_min", *keyword.kwlist),
}
LOOPS = re.compile(r"(forward|gradients)_\d+|.*_tiles")  # what loops are called, and their results


# ---- Tracing


def trace(f: Callable[..., Tensor] | Tensor | Derivation, *examples: Any, reuse: bool = False) -> Program:
    """The program of ``f``, or of a graph that is there: its forward pass, and the backward pass that the engine makes of it.

    f         a function of Tensors that returns one; a derivation; or a Tensor, whose graph is taken from its leaves on.
    examples  a number or an array for each argument of f, or input of the derivation: they give shapes and dtypes, their values do
              not matter.
    reuse     write the NumPy program with buffers for what is as large as the largest array, kept from call to call: faster where
              memory is what takes the time. Such a program is for one thread at a time; its results are arrays of their own.

    What f computes without Tensors, such as a mask of random numbers, is computed once: it is a constant of the program.

    Raises TypeError for an f that cannot be called or returns anything but one Tensor, for an example that is no number, and for an
    f that looks inside a number (``if t.data > 0``, ``float(t)``), with the line that does.

    >>> def area(width, height):
    ...     return width * height
    >>> p = trace(area, 1.0, 1.0)
    >>> p(3.0, 4.0), p.gradients(3.0, 4.0)
    (12.0, (12.0, (4.0, 3.0)))
    """
    tape = Tape()
    if isinstance(f, Tensor):
        if examples:
            raise TypeError("trace(y) of a graph takes its examples from the leaves: give no others")
        title, order = f.label or "the graph", in_order([f])
        leaves = [node for node in order if not node.inputs]
        called = {a: name for step in made_by(order).values() for name, a in step.inputs.items() if isinstance(a, Tensor)}
        examples, labels = tuple(a.data for a in leaves), [a.label or called.get(a, "") for a in leaves]
    else:
        if not callable(f):
            raise TypeError(f"trace takes a function of Tensors, a derivation or a Tensor with a history, and this is {f!r}")
        title = f.name if isinstance(f, Derivation) else getattr(f, "__name__", "the function").strip("<>")
        labels = _parameters(f, len(examples))
    numbers = [as_data(a.data if isinstance(a, Tensor) else a) for a in examples]
    tensors = [_tensor(tape.given(a, label)) for a, label in zip(numbers, identifiers(labels, "x"))]
    y = f if isinstance(f, Tensor) else f(*tensors)
    if not isinstance(y, Tensor):
        which = "which of them is the result? " if isinstance(y, (tuple, list)) else ""
        raise TypeError(
            f"{title} returns {type(y).__name__}: {which}A program has one result, a Tensor, as computations on Tensors do"
        )
    given = tensors
    if not isinstance(f, Tensor):  # what f holds as Tensors is given, too
        leaves = [node for node in in_order([y]) if not node.inputs and isinstance(node.data, np.ndarray) and node.shape]
        given = [_tensor(tape.constant(node.data), node.label) for node in leaves]
    new = replayed(y, dict(zip(leaves, given)))
    steps = {new[node]: step for node, step in made_by(in_order([y])).items()}
    y = new[y]
    _name(y, steps)
    value = y.data.value if isinstance(y.data, Name) else y.data
    if np.asarray(value).dtype.kind not in "fO":
        raise TypeError(f"{title} returns {np.asarray(value).dtype}, as comparisons are, and has no gradient: end with floats")
    upstream, seed = None, zeros(value) + 1
    if any(n != 1 for n in y.shape):
        example = f.grad if isinstance(f, Tensor) and f.grad is not None else np.ones_like(value)
        seed = upstream = tape.given(example, f"d{y.label or 'y'}")
    found = _pulled_back(tape, y, tape.constant(seed), steps, {*tensors})
    for node, g in found.items():
        if node.label and isinstance(g, Name) and g.primitive:
            g.label = g.label or f"d{node.label}"
    gradients = [tape.constant(found[t] if t in found else np.zeros_like(t.data.value)[()]) for t in tensors]
    for t, g in zip(tensors, gradients):
        if isinstance(g, Name) and g.primitive:  # an array of one number, too, as of a sum
            g.label = g.label or f"d{t.label}"
    inputs = tuple(t.data for t in tensors)
    title = "".join(c for c in title if c.isprintable() and c not in '\\"') or "the graph"  # it stands in the module's docstring
    return Program(title, inputs, upstream, tape.constant(y.data), tuple(gradients), tuple(tape.names), y, tuple(tensors), reuse)


def _parameters(f: Callable[..., Any], n: int) -> list[str]:
    """What f calls its first n arguments. Raises TypeError if it does not take so many."""
    if isinstance(f, Derivation):
        return [*f.inputs, *[""] * n][:n]  # it says itself if that is not what it takes
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return [""] * n
    try:
        bound = signature.bind(*range(n))
    except TypeError as error:
        raise TypeError(f"an example is needed for each argument of {getattr(f, '__name__', f)}{signature}: {error}") from None
    return [
        f"{name}{i + 1}" if isinstance(value, tuple) else name
        for name, value in bound.arguments.items()
        for i, _ in enumerate(value if isinstance(value, tuple) else (0,))
    ]


def identifiers(labels: Iterable[str], otherwise: str, taken: Iterable[str] = ()) -> list[str]:
    """The labels as names that Python knows, each once; ``otherwise`` and a number where there is none."""
    used, found = {*TAKEN, *taken}, []
    for label in labels:
        label = unicodedata.normalize("NFKC", label)  # as Python reads a name: ª is a
        plain = "_".join("".join(c if c.isalnum() or c == "_" else " " for c in label).split())
        free = plain.isidentifier() and plain not in used and not LOOPS.fullmatch(plain)
        name = plain if free else next(unused(f"{plain}_" if plain.isidentifier() else otherwise, used))
        used.add(name)
        found.append(name)
    return found


def _tensor(data: Any, label: str | None = None) -> Tensor:
    leaf = Tensor(0.0, label or data.label)
    leaf.data = data  # a Name, of which no one asks whether it is a number
    return leaf


def replayed(y: Tensor, leaves: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """The graph of ``y`` once more, on other leaves: each node, and what has taken its place."""
    new = dict(leaves)
    for node in in_order([y]):
        if node not in new:
            inputs = tuple(new.get(a, a) if isinstance(a, Tensor) else a for a in node.inputs)
            new[node] = node
            if node.primitive and any(a is not b for a, b in zip(inputs, node.inputs)):
                new[node] = Tensor.record(node.primitive, inputs, node.params)
                new[node].label = node.label
    return new


def _name(y: Tensor, steps: Mapping[Tensor, Step]) -> None:
    """Give the Names in the graph of ``y`` their labels, and the equations that made them."""
    for node in in_order([y]):
        data, step = node.data, steps.get(node)
        if isinstance(data, Name):
            if step and data.primitive and (data.group is None or step.number < data.group[0].number):
                data.group = step, False  # the first, if two equations compute x − mu
            if node.primitive is P.relu and data.primitive is P.maximum and type(data.value) is float:
                data.primitive = P.relu  # which of -0.0 and 0.0 takes the first, as max does
            data.label = data.label or node.label


def _pulled_back(tape: Tape, y: Tensor, seed: Any, steps: Mapping[Tensor, Step], stop: set[Tensor]) -> dict[Tensor, Any]:
    """The adjoints of the graph of ``y``; what a VJP writes down belongs to the equation that it leads back through."""

    def marked(vjp: Any, group: tuple[Step, bool] | None) -> Any:
        def marked_vjp(*args: Any, **params: Any) -> Any:
            tape.group = group
            return vjp(*args, **params)

        return vjp and marked_vjp

    primitives = {node: node.primitive for node in in_order([y]) if isinstance(node.data, Name) and node.primitive}
    for node, primitive in primitives.items():
        node.primitive = replace(primitive, vjp=marked(primitive.vjp, (steps[node], True) if node in steps else None))
    try:
        with np.errstate(all="ignore"):  # examples need not have a gradient
            return adjoints({y: seed}, stop=stop)
    finally:
        for node, primitive in primitives.items():  # the graph is kept, to differentiate the program again
            node.primitive = primitive


# ---- The program


@dataclass(frozen=True, eq=False, repr=False)
class Program:
    """A function's forward and backward pass, written down: call it, print it, save it, compile it. ``trace`` makes it.

    ``p(*values)`` is the result, ``p.gradients(*values)`` the result and the gradient of each input, with the upstream gradient
    as one more argument where that is not a single number: the engine's, bit for bit. Values have the examples' shapes and dtypes:
    ValueError and TypeError otherwise. Called on Tensors, it is one node of their graph, which can be differentiated to any order.

    >>> p = trace(lambda x: (x * x).sum(), np.zeros(3))
    >>> p.gradients([1.0, 2.0, 3.0])
    (14.0, (array([2., 4., 6.]),))
    >>> print(p.body(backward=True))
    t1 = x * x
    t2 = t1.sum()
    dx = x + x
    """

    name: str
    inputs: tuple[Name, ...]
    upstream: Name | None
    result: Any  # a Name, or a constant
    gradient: tuple[Any, ...]  # of each input, likewise
    names: tuple[Name, ...]  # the statements, those without use included
    graph: Tensor
    leaves: tuple[Tensor, ...]
    reuse: bool

    def __post_init__(self) -> None:
        inputs = [name.label or "" for name in self.inputs]
        named = [name for name in (*self.given[len(inputs) :], *self.statements) if name.label or not name.primitive]
        for name, label in zip(named, identifiers([name.label or "" for name in named], "c", inputs)):
            name.label = label
        free = unused("t", {*inputs, *[name.label or "" for name in named]})
        for name in self.statements:
            name.label = name.label or next(free)

    # ---- what it consists of

    @cached_property
    def statements(self) -> list[Name]:
        """What is computed, in order: what the result or a gradient needs, and no more."""
        return self._needed(self.result, *self.gradient)

    @cached_property
    def forward(self) -> list[Name]:
        """The statements that the result needs."""
        return self._needed(self.result)

    def _needed(self, *targets: Any) -> list[Name]:
        needed = behind(targets)
        return [name for name in self.names if name in needed]

    @cached_property
    def constants(self) -> list[Name]:
        """The arrays that are arguments of the module, though the function did not have them as such."""
        used = [a for name in self.statements for a in name.uses()] + [self.result, *self.gradient]
        given = {*self.inputs, self.upstream}
        found = [a for a in dict.fromkeys(used) if isinstance(a, Name) and not a.primitive and a not in given]
        return sorted(found, key=python.is_written)  # which have a default, and so come last

    @cached_property
    def given(self) -> list[Name]:
        """The arguments of the module's ``gradients``; its ``forward`` has no upstream gradient."""
        return [*self.inputs, *([] if self.upstream is None else [self.upstream]), *self.constants]

    @cached_property
    def largest(self) -> Name | None:
        """What is computed that is as large as anything."""
        return max(self.statements, key=lambda name: math.prod(name.shape), default=None)

    # ---- how it is shown

    def body(self, backward: bool = False) -> str:
        """The statements of ``forward`` or of ``gradients``, with the numbers of their equations."""
        return "\n".join(python.body(self, self.statements if backward else self.forward))

    def __str__(self) -> str:
        """The program as a module of two functions, ``forward`` and ``gradients``, that needs NumPy and nothing else."""
        return python.source(self)

    def save(self, path: AnyPath) -> Path:
        """Write the module to ``path``, a .py file, whole or not at all. Raises ValueError for another, OSError if it cannot be.

        A constant array of more than 64 numbers is an argument of its functions: keep it, from ``arrays``, beside the module.
        """
        return write_by_ending(path, "a program", {".py": lambda: str(self)})

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": python.highlighted(str(self))}

    @property
    def javascript(self) -> str:
        """The program in JavaScript, number by number: see ``javascript.source``."""
        from .javascript import source

        return source(self)

    def dot(self) -> str:
        """The program as a graph in DOT: a box for each statement, an arrow from each of its arguments."""
        lines = [f'"{a.label}" [style="filled", fillcolor="#eef3f9"]' for a in self.given]
        for a in self.statements:
            text = "\\l".join(json.dumps(line)[1:-1] for line in python.statement(a))
            lines.append(f'"{a.label}" [label="{text}"]')
            lines += [f'"{b.label}" -> "{a.label}"' for b in dict.fromkeys(a.uses())]
        return "\n    ".join(["digraph {", 'node [shape=box, fontname="Courier", fontsize="10"]', *lines]) + "\n}\n"

    def to_dict(self) -> dict[str, Any]:
        """The program as plain data, for JSON: what is given, the statements in order, and what is returned."""

        def entry(name: Name) -> dict[str, Any]:
            sizes, of = kind(name.value)
            return {"name": name.label, "shape": list(sizes), "dtype": of.__name__ if isinstance(of, type) else of.name}

        return {
            "name": self.name,
            "inputs": [entry(a) for a in self.inputs],
            "upstream": None if self.upstream is None else entry(self.upstream),
            "constants": [entry(a) for a in self.constants],
            "statements": [
                {
                    **entry(a),
                    "operation": a.operation,
                    "arguments": [python.literal(b) for b in a.inputs],
                    "parameters": {key: python.literal(value) for key, value in a.params.items()},
                    "equation": a.group[0].number if a.group else None,
                    "backward": bool(a.group and a.group[1]),
                    "text": python.statement(a),
                }
                for a in self.statements
            ],
            "result": python.literal(self.result),
            "gradients": [python.literal(a) for a in self.gradient],
        }

    # ---- running it

    def compile(self) -> Compiled:
        """The program compiled by Numba, as loops: see ``Compiled``. Raises ModuleNotFoundError without the extra ``fast``."""
        from .compile import Compiled

        return Compiled(self)

    def __call__(self, *values: Any) -> Any:
        """The result, for values of the examples' shapes and dtypes; a Tensor if one of them is."""
        if any(isinstance(a, Tensor) for a in values):
            fitted = self.fitted([a.data if isinstance(a, Tensor) else a for a in values])
            return Tensor.record(self._primitive, tuple(a if isinstance(a, Tensor) else b for a, b in zip(values, fitted)))
        return as_single(self._run("forward", self.fitted(values)))

    def gradients(self, *values: Any) -> tuple[Any, tuple[Any, ...]]:
        """The result and the gradient of each input; the upstream gradient comes last, where the result is no single number."""
        y, gradients = self._run("gradients", self.fitted(values, backward=True))
        return as_single(y), gradients if {*map(type, gradients)} == {float} else tuple(map(as_single, gradients))

    def _run(self, which: str, values: Sequence[Any]) -> Any:
        run = self._module[which]
        try:
            return run(*values, *self.arrays)
        except (ZeroDivisionError, OverflowError):  # in NumPy's arithmetic there is inf or NaN, with a warning
            return run(*[np.float64(a) if type(a) is float else a for a in values], *self.arrays)

    @cached_property
    def _module(self) -> dict[str, Any]:
        scope: dict[str, Any] = {}
        exec(compile(str(self), f"<the program of {self.name}>", "exec"), scope)
        scope["check"] = lambda **_: None  # ``fitted`` has looked at the shapes already
        return scope

    @cached_property
    def arrays(self) -> list[Any]:
        """The constants' values."""
        return [name.value for name in self.constants]

    def fitted(self, values: Sequence[Any], backward: bool = False) -> Sequence[Any]:
        """The values as the engine would keep them, if they are what the program was written for: an error says what is not."""
        names = (*self.inputs, self.upstream) if backward and self.upstream is not None else self.inputs
        if len(values) != len(names):
            wanted = ", ".join([name.label or "" for name in names[:8]]) + (", …" if len(names) > 8 else "")
            last = f", the last of them the upstream gradient of shape {names[-1].shape}" if len(names) > len(self.inputs) else ""
            raise TypeError(f"the program of {self.name} takes {len(names)} values ({wanted}){last}, and this is {len(values)}")
        if {*map(type, values)} == self._types == {float}:  # of thousands, asked one by one, that would take the longest
            return values
        return [
            a
            if type(a) is wanted is float or (type(a) is wanted is np.ndarray and a.shape == sizes and a.dtype == dtype)
            else _checked(a, name)
            for a, name, (wanted, sizes, dtype) in zip(values, names, self._wanted)
        ]

    @cached_property
    def _types(self) -> set[type]:
        return {type(name.value) for name in self.inputs}

    @cached_property
    def _wanted(self) -> list[tuple[type, Shape, np.dtype[Any]]]:
        return [(type(name.value), name.shape, name.dtype) for name in self.given]

    @cached_property
    def _primitive(self) -> P.Primitive:
        """The program as one node: its VJP is the program's own, or the graph's once more where that is to be differentiated."""

        def vjp(g: Value, y: Value, *inputs: Value) -> tuple[Any, ...]:
            recorded = any(isinstance(a, Tensor) for a in (g, *inputs))
            if self.upstream is not None and not recorded:
                return self.gradients(*inputs, g)[1]
            given = [a if isinstance(a, Tensor) else Tensor(a) for a in inputs]
            captured = {a: Tensor(a.data.value) for a in in_order([self.graph]) if not a.inputs and isinstance(a.data, Name)}
            again = replayed(self.graph, {**captured, **dict(zip(self.leaves, given))})[self.graph]
            found = adjoints({again: g}, differentiable=recorded, stop=set(given))
            return tuple([found.get(a) for a in given])

        return P.Primitive(self.name, self.name, lambda *values: self(*values), vjp)


def _checked(value: Any, name: Name) -> Any:
    example = name.value
    if type(value) is not np.ndarray or value.dtype != name.dtype:
        value = as_data(value)
        if isinstance(example, float) and not shape(value) and isinstance(value, FLOATS):
            return float(value)
        (_, own), (_, given) = kind(example), kind(value)
        if own != given:
            of, called = (a.__name__ if isinstance(a, type) else a for a in (own, given))
            raise TypeError(
                f"{name.label}: the program is written for {of}, and this is {called}: convert it, or trace with such an example"
            )
    if shape(value) != name.shape:
        raise ValueError(f"{name.label}: the program is for shape {name.shape}, and this has {shape(value)}: trace again for it")
    return value
