"""The engine: a Tensor records how it was made, and a backward pass reads the record from the end to the start.

A graph grows in ``Tensor.record``. ``adjoints`` is the chain rule: a node's adjoint is the gradient of the output with
respect to it, complete when every operation that used the node has sent its term. What an operation computes and how its
gradient flows stand in ``primitives``; what a number is, Python and NumPy know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import primitives as P
from . import shapes
from .dispatch import NumpyFunctions
from .kinds import as_data, explain_kinds, is_number
from .shapes import shape, unbroadcast

_new, _float64 = object.__new__, np.float64


class Step(NamedTuple):
    """What a node remembers of the numbered equation that it is the result of: ``Tensor.equation``."""

    label: str
    number: int
    output: str  # the variable on the left-hand side …
    names: tuple[str, ...]  # … and those on the right-hand side: their names …
    values: tuple  # … and what stood for them

    @property
    def inputs(self) -> dict[str, Any]:
        """The variables on the right-hand side, by name."""
        return dict(zip(self.names, self.values))


class Tensor(NumpyFunctions):
    """A number or an array of numbers, with the history of how it was computed.

    data      the value: a float, an array, or any number or array-like that has operators; integers become float64.
    grad      None until a backward pass, then plain data of ``data``'s shape. Treat arrays as read-only: add by rebinding.
    label     a name for pictures and messages, or None.

    >>> a, b = Tensor(2.0), Tensor([1.0, 3.0])
    >>> y = (a * b).sum()
    >>> y.backward()
    >>> y.data, a.grad, b.grad
    (8.0, 4.0, array([2., 2.]))
    """

    # A graph of single numbers has many nodes: this is what each costs beyond its number and its tuple of inputs.
    __slots__ = ("about", "data", "grad", "inputs", "primitive")

    def __init__(self, data, label: str | None = None):
        self.data = as_data(data)
        self.grad = None
        self.primitive = None  # what made this node …
        self.inputs = ()  # … of which Tensors and constants
        self.about = label  # a name, or the Step that it is the result of

    @staticmethod
    def record(primitive: P.Primitive, inputs: tuple) -> Tensor:
        """Apply a primitive to Tensors and constants, and remember it: the one place where a graph grows."""
        try:
            if len(inputs) == 2:
                a, b = inputs
                data = primitive.forward(a.data if isinstance(a, Tensor) else a, b.data if isinstance(b, Tensor) else b)
            else:
                data = primitive.forward(*[a.data if isinstance(a, Tensor) else a for a in inputs])
        except TypeError as error:
            raise explain_kinds(error, inputs) from error
        node = _new(Tensor)
        node.data = float(data) if type(data) is _float64 else data
        node.grad = node.about = None
        node.primitive = primitive
        node.inputs = inputs
        return node

    # ---- what it is

    @property
    def label(self) -> str | None:
        return self.about.label if isinstance(self.about, Step) else self.about

    @label.setter
    def label(self, label: str | None) -> None:
        self.about = self.about._replace(label=label) if isinstance(self.about, Step) else label

    @property
    def equation(self) -> Step | None:
        """The numbered equation that this is the result of, if it is (see ``batchnorm.equation``)."""
        return self.about if isinstance(self.about, Step) else None

    @property
    def shape(self) -> tuple[int, ...]:
        return shape(self.data)

    @property
    def parents(self) -> tuple[Tensor, ...]:
        """The Tensors that this one was computed from, in order; one that was used twice stands here twice."""
        return tuple(a for a in self.inputs if isinstance(a, Tensor))

    def item(self):
        """The single number in here, as a plain number."""
        return self.data.item() if hasattr(self.data, "item") else self.data

    def detach(self) -> Tensor:
        """The same data without the history: a constant for the chain rule."""
        return Tensor(self.data, self.label)

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}" + (f", label={self.label!r})" if self.label else ")")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a Tensor of a single number has no len()")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # ---- operators; ``+=`` and its like rebind the name to a new node, as for any immutable value

    def __pow__(self, exponent):
        if isinstance(exponent, Tensor):
            raise TypeError("the exponent must be a constant; for a variable one write (exponent * base.log()).exp()")
        return self.record(P.pow.bind(exponent=exponent), (self,))

    def __rpow__(self, base):
        raise TypeError("the exponent must be a constant, not a Tensor: write (exponent * log(base)).exp()")

    def __neg__(self):
        return self.record(P.neg, (self,))

    def __getitem__(self, index):
        return P.getitem(self, index=index)

    # Comparisons have no derivative: they give plain booleans.
    def __lt__(self, other):
        return self.data < _data(other)

    def __le__(self, other):
        return self.data <= _data(other)

    def __gt__(self, other):
        return self.data > _data(other)

    def __ge__(self, other):
        return self.data >= _data(other)

    # ---- methods, named and shaped as NumPy's

    def sum(self, axis=None, keepdims=False):
        return self.record(P.sum.bind(axis=axis, keepdims=keepdims), (self,))

    def mean(self, axis=None, keepdims=False):
        return self.record(P.mean.bind(axis=axis, keepdims=keepdims), (self,))

    def exp(self):
        return self.record(P.exp, (self,))

    def log(self):
        return self.record(P.log, (self,))

    def sqrt(self):
        return self.record(P.sqrt, (self,))

    def tanh(self):
        return self.record(P.tanh, (self,))

    def relu(self):
        return self.record(P.relu, (self,))

    def reshape(self, *shape):
        return P.reshape(self, to=shape[0] if len(shape) == 1 else shape)

    def transpose(self, axes=None):
        return P.transpose(self, axes=shapes.axes(len(self.shape), axes)[:: -1 if axes is None else 1])

    @property
    def T(self):
        return self.transpose()

    def broadcast_to(self, shape):
        return P.broadcast(self, to=shape)

    # ---- the chain rule

    def backward(self, gradient=None) -> None:
        """Add the gradient of this node to ``.grad`` of every node that it depends on, itself included.

        gradient: of this tensor's shape; None means 1, and only for a single value (ValueError otherwise). A second
        pass flows through its own adjoints, so it adds exactly the same again, on every node.
        """
        seen = set()
        for node, g in adjoints(self, _seed(self, gradient)).items():
            if type(g) is not float:
                # A leaf's gradient may be an array that others hold too: it gets a copy, so that `w.grad *= 0.5` is safe.
                if not node.inputs and isinstance(g, np.ndarray) and (g.base is not None or id(g) in seen or node is self):
                    g = g.copy()
                seen.add(id(g))
            node.grad = g if node.grad is None else node.grad + g

    def contributions(self) -> tuple:
        """What this node's gradient sends back along each edge: a term for each of ``parents``, computed, not stored.

        A node's gradient is the sum of the terms on all edges that leave it. Raises ValueError before a backward pass.
        """
        if self.grad is None:
            raise ValueError("there is no gradient to send back yet: call backward() on the graph's result first")
        if not self.inputs:
            return ()
        terms = self.primitive.vjp(self.grad, self.data, *map(_data, self.inputs))
        return tuple(unbroadcast(term, a.shape) for a, term in zip(self.inputs, terms) if isinstance(a, Tensor))


def _operator(primitive, reflected=False):
    def method(self, other):
        if not isinstance(other, (Tensor, float, int)):
            if not is_number(other) or (isinstance(other, np.ndarray) and other.dtype == object):
                return NotImplemented  # an object array goes through __array_ufunc__, which looks at what it holds
            other = np.asarray(other) if isinstance(other, (list, tuple)) else other
        return Tensor.record(primitive, (other, self) if reflected else (self, other))

    return method


for _symbol, _primitive in (("add", P.add), ("sub", P.sub), ("mul", P.mul), ("truediv", P.div), ("matmul", P.matmul)):
    setattr(Tensor, f"__{_symbol}__", _operator(_primitive))
    setattr(Tensor, f"__r{_symbol}__", _operator(_primitive, reflected=True))


def _data(value):
    return value.data if isinstance(value, Tensor) else value


def _seed(output: Tensor, gradient):
    """The gradient that a backward pass starts from, checked: of the output's shape, and of its dtype."""
    if gradient is None:
        if any(n != 1 for n in output.shape):
            raise ValueError(
                f"backward() needs an upstream gradient: this tensor has shape {output.shape}; "
                "pass one of that shape, or reduce it to a single value first"
            )
        return 1.0 if isinstance(output.data, float) else np.ones_like(output.data)[()]
    gradient = gradient if isinstance(gradient, Tensor) else as_data(gradient)
    if shape(gradient) != output.shape:
        raise ValueError(f"the upstream gradient has shape {shape(gradient)}, and the tensor it belongs to {output.shape}")
    own, given = getattr(output.data, "dtype", None), getattr(gradient, "dtype", None)
    return gradient if own == given or own is None or given is None else gradient.astype(own)


def adjoints(output: Tensor, gradient, differentiable=False, stop=()) -> dict[Tensor, Any]:
    """The gradient of ``output`` with respect to every node that it depends on, ``output`` first.

    ``differentiable``: the VJPs see the nodes themselves instead of their data, so what they compute is recorded too.
    Nodes in ``stop`` are taken as independent: the pass does not go on behind them.
    """
    # The nodes whose VJPs are needed, all but leaves and what stands in stop: how many of the edges that leave each are
    # still to report.
    edges, found = {output: 1}, [output]
    for node in found:  # which grows on the way
        for a in node.inputs:
            if isinstance(a, Tensor) and a.inputs and a not in stop:
                if a in edges:
                    edges[a] += 1
                else:
                    edges[a] = 1
                    found.append(a)

    result, ready = {output: gradient}, [output]  # ready: all edges have reported, so the gradient is complete
    while ready:
        node = ready.pop()
        g, inputs = result[node], node.inputs
        try:
            if differentiable:
                terms = node.primitive.vjp(g, node, *inputs) if inputs else ()
            elif len(inputs) == 2:
                a, b = inputs  # most nodes have two: without a list for them, a scalar graph takes a tenth less
                a, b = a.data if isinstance(a, Tensor) else a, b.data if isinstance(b, Tensor) else b
                terms = node.primitive.vjp(g, node.data, a, b)
            else:
                terms = node.primitive.vjp(g, node.data, *map(_data, inputs)) if inputs else ()
        except TypeError as error:
            raise explain_kinds(error, (g, *inputs)) from error
        for a, term in zip(inputs, terms):
            if isinstance(a, Tensor):
                if type(term) is not float:
                    own = getattr(a.data, "shape", ())
                    if getattr(term, "shape", ()) != own:
                        term = unbroadcast(term, own)
                result[a] = result[a] + term if a in result else term
                if a in edges:
                    left = edges[a] - 1
                    if left:
                        edges[a] = left
                    else:
                        ready.append(a)
    return result


def grad(output: Tensor, inputs, gradient=None) -> tuple[Tensor, ...]:
    """The gradients of ``output`` with respect to ``inputs`` (a Tensor, or several), as Tensors of the same shapes.

    They are part of a graph, so they can be differentiated again, to any order. ``gradient`` is as for ``backward``, and may
    be a Tensor; ``.grad`` is left alone. An input that ``output`` does not depend on gets zeros.

    >>> x = Tensor(3.0)
    >>> (slope,) = grad(x**3, [x])
    >>> (curvature,) = grad(slope, [x])
    >>> slope.data, curvature.data
    (27.0, 18.0)

    A Hessian times a vector v needs no Hessian: it is the gradient of the gradient's product with v.

    >>> x, v = Tensor([1.0, 2.0]), np.array([1.0, 0.0])
    >>> (g,) = grad((x**3).sum(), [x])
    >>> (hv,) = grad((g * v).sum(), [x])
    >>> hv.data
    array([6., 0.])
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    seed = _seed(output, gradient)
    found = adjoints(output, seed if isinstance(seed, Tensor) else Tensor(seed), differentiable=True)
    return tuple(found[a] if a in found else Tensor(np.zeros_like(a.data)[()]) for a in inputs)


def scalars(array, label: str | None = None) -> np.ndarray:
    """An object array of scalar Tensors, one for each number: called with it, a function builds a graph of single numbers.

    With a label "x", the elements are named x[0], x[1], … or x[0,0], …

    >>> x = scalars([1.0, 2.0], label="x")
    >>> x[1]
    Tensor(2.0, label='x[1]')
    """
    data = np.asarray(as_data(array))
    result = np.empty(data.shape, dtype=object)
    for index in np.ndindex(data.shape):
        number = data[index]
        name = f"{label}[{','.join(map(str, index))}]" if label else None
        result[index] = Tensor(float(number) if isinstance(number, np.float64) else number, name)
    return result
