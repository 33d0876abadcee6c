"""The engine: a Tensor records how it was made, and a backward pass reads the record from the end to the start.

A graph grows in ``Tensor.record``. ``adjoints`` is the chain rule: a node's adjoint is the gradient of the output with
respect to it, complete when every operation that used the node has sent its term. What an operation computes and how its
gradient flows stand in ``primitives``; what a number is, Python and NumPy know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from . import primitives as P
from .dispatch import NumpyFunctions
from .kinds import Value, as_data, explain_kinds, is_number
from .shapes import Axis, Shape, shape, unbroadcast

_new, _float64 = object.__new__, np.float64


class Step(NamedTuple):
    """What a node remembers of the numbered equation that it is the result of: ``Tensor.equation``."""

    label: str | None
    number: int
    output: str  # the variable on the left-hand side …
    names: tuple[str, ...]  # … and those on the right-hand side: their names …
    values: tuple[Value, ...]  # … and what stood for them

    @property
    def inputs(self) -> dict[str, Value]:
        """The variables on the right-hand side, by name."""
        return dict(zip(self.names, self.values))


def _operator(primitive: P.Primitive, reflected: bool = False) -> Callable[[Tensor, Value], Tensor]:
    def method(self: Tensor, other: Value) -> Any:
        if not isinstance(other, (Tensor, float, int)):
            other = np.asarray(other) if isinstance(other, (list, tuple)) else other
            if not is_number(other) or (isinstance(other, np.ndarray) and other.dtype == object):
                return NotImplemented  # an object array goes through __array_ufunc__, which looks at what it holds
        return Tensor.record(primitive, (other, self) if reflected else (self, other))

    return method


class Tensor(NumpyFunctions):
    """A number or an array of numbers, with the history of how it was computed.

    data      the value: a float, an array, or any number or array-like that has operators; integers become float64.
    grad      None until a backward pass, then plain data of ``data``'s shape. A leaf's array is its own; nodes further on may share
              theirs, so treat them as read-only.
    label     a name for pictures and messages, or None.

    >>> a, b = Tensor(2.0), Tensor([1.0, 3.0])
    >>> y = (a * b).sum()
    >>> y.backward()
    >>> y.data, a.grad, b.grad
    (8.0, 4.0, array([2., 2.]))
    """

    # A graph of single numbers has many nodes: this is what each costs beyond its number and its tuple of inputs.
    __slots__ = ("about", "data", "grad", "inputs", "primitive")

    def __init__(self, data: Any, label: str | None = None):
        self.data = as_data(data)
        self.grad: Any = None
        self.primitive: P.Primitive | None = None  # what made this node …
        self.inputs: tuple[Value, ...] = ()  # … of which Tensors and constants
        self.about: str | Step | None = label  # a name, or the Step that it is the result of

    @staticmethod
    def record(primitive: P.Primitive, inputs: tuple[Value, ...]) -> Tensor:
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
        node.data = float(data) if type(data) is _float64 else data  # Python's own computes twice as fast
        node.grad = node.about = None
        node.primitive = primitive
        node.inputs = inputs
        return node

    # ---- what it is

    @property
    def label(self) -> str | None:
        """A name for pictures and messages, or None."""
        return self.about.label if isinstance(self.about, Step) else self.about

    @label.setter
    def label(self, label: str | None) -> None:
        self.about = self.about._replace(label=label) if isinstance(self.about, Step) else label

    @property
    def equation(self) -> Step | None:
        """The numbered equation that this is the result of, if it is (see ``batchnorm.equation``)."""
        return self.about if isinstance(self.about, Step) else None

    @property
    def shape(self) -> Shape:
        """The shape of ``data``: () for a single number."""
        return shape(self.data)

    @property
    def parents(self) -> tuple[Tensor, ...]:
        """The Tensors that this one was computed from, in order; one that was used twice stands here twice."""
        return tuple(a for a in self.inputs if isinstance(a, Tensor))

    def item(self) -> Any:
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

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # ---- operators; ``+=`` and its like rebind the name to a new node, as for any immutable value

    __add__, __radd__ = _operator(P.add), _operator(P.add, reflected=True)
    __sub__, __rsub__ = _operator(P.sub), _operator(P.sub, reflected=True)
    __mul__, __rmul__ = _operator(P.mul), _operator(P.mul, reflected=True)
    __truediv__, __rtruediv__ = _operator(P.div), _operator(P.div, reflected=True)
    __matmul__, __rmatmul__ = _operator(P.matmul), _operator(P.matmul, reflected=True)

    def __pow__(self, exponent: Any) -> Tensor:
        if isinstance(exponent, Tensor):
            raise TypeError("the exponent must be a constant; for a variable one write (exponent * base.log()).exp()")
        if isinstance(exponent, (list, tuple)) or shape(exponent) != ():
            raise TypeError(f"the exponent must be a single number, and this is {exponent!r}")
        return self.record(P.pow.bind(exponent=exponent), (self,))

    def __rpow__(self, base: Any) -> NoReturn:
        raise TypeError("the exponent must be a constant, not a Tensor: write (exponent * log(base)).exp()")

    def __neg__(self) -> Tensor:
        return self.record(P.neg, (self,))

    def __getitem__(self, index: Any) -> Tensor:
        return self.record(P.getitem.bind(index=index), (self,))

    # Comparisons have no derivative: they give plain booleans. == is identity, so that a Tensor can be a key.
    def __bool__(self) -> bool:
        return bool(self.data)

    def __lt__(self, other: Value) -> Any:
        return self.data < _data(other)

    def __le__(self, other: Value) -> Any:
        return self.data <= _data(other)

    def __gt__(self, other: Value) -> Any:
        return self.data > _data(other)

    def __ge__(self, other: Value) -> Any:
        return self.data >= _data(other)

    # ---- methods, named and shaped as NumPy's

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over ``axis``, which with ``keepdims`` stays as size 1."""
        return self.record(P.sum.bind(axis=axis, keepdims=keepdims), (self,))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over ``axis``, which with ``keepdims`` stays as size 1."""
        return self.record(P.mean.bind(axis=axis, keepdims=keepdims), (self,))

    def exp(self) -> Tensor:
        """e to the power of each number."""
        return self.record(P.exp, (self,))

    def log(self) -> Tensor:
        """The natural logarithm of each number."""
        return self.record(P.log, (self,))

    def sqrt(self) -> Tensor:
        """The square root of each number."""
        return self.record(P.sqrt, (self,))

    def tanh(self) -> Tensor:
        """The hyperbolic tangent of each number."""
        return self.record(P.tanh, (self,))

    def relu(self) -> Tensor:
        """Each number, or 0 where it is negative; the derivative at 0 is taken as 0."""
        return self.record(P.relu, (self,))

    def reshape(self, *shape: Any) -> Tensor:
        """The same numbers in another shape, given as a tuple or as several sizes; one of them may be -1."""
        return self.record(P.reshape.bind(to=shape[0] if len(shape) == 1 else shape), (self,))

    def transpose(self, axes: Any = None, *more: int) -> Tensor:
        """The axes in another order, given as a tuple or as several numbers: reversed if none is given."""
        if axes is None:
            axes = tuple(reversed(range(len(self.shape))))
        return self.record(P.transpose.bind(axes=(axes, *more) if isinstance(axes, int) else tuple(axes)), (self,))

    @property
    def T(self) -> Tensor:
        """The transpose: the axes reversed."""
        return self.transpose()

    def broadcast_to(self, shape: Shape) -> Tensor:
        """Repeated to this shape, by NumPy's rules."""
        return self.record(P.broadcast.bind(to=shape), (self,))

    # ---- the chain rule

    def backward(self, gradient: Any = None) -> None:
        """Add the gradient of this node to ``.grad`` of every node that it depends on, itself included.

        gradient: of this tensor's shape; None means 1, and only for a single value (ValueError otherwise). A second
        pass flows through its own adjoints, so it adds exactly the same again, on every node.

        Threads may run passes at the same time on graphs that share no node. Where they share leaves, adding to ``.grad``
        wants a lock; ``grad`` needs none, for it leaves ``.grad`` alone.
        """
        seen: set[int] = set()
        for node, g in adjoints(self, _seed(self, _data(gradient))).items():
            if type(g) is not float:
                # A leaf's gradient may be an array that others hold too: it gets a copy, so that `w.grad *= 0.5` is safe.
                if not node.inputs and isinstance(g, np.ndarray) and (g.base is not None or id(g) in seen or node is self):
                    g = g.copy()
                seen.add(id(g))
            node.grad = g if node.grad is None else node.grad + g

    def contributions(self) -> tuple[Any, ...]:
        """What this node's gradient sends back along each edge: a term for each of ``parents``, computed, not stored.

        A node's gradient is the sum of the terms on all edges that leave it. Raises ValueError before a backward pass.
        """
        if self.grad is None:
            raise ValueError("there is no gradient to send back yet: call backward() on the graph's result first")
        if self.primitive is None:
            return ()
        terms = self.primitive.vjp(self.grad, self.data, *map(_data, self.inputs))
        return tuple(unbroadcast(term, a.shape) for a, term in zip(self.inputs, terms) if isinstance(a, Tensor))


def _data(value: Value) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _seed(output: Tensor, gradient: Any) -> Any:
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


def adjoints(output: Tensor, gradient: Value, differentiable: bool = False, stop: Collection[Tensor] = ()) -> dict[Tensor, Any]:
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
        g, primitive, inputs = result[node], node.primitive, node.inputs
        if primitive is None:  # the output is a leaf itself
            break
        try:
            if differentiable:
                terms = primitive.vjp(g, node, *inputs)
            elif len(inputs) == 2:
                a, b = inputs  # most nodes have two: without a list for them, a scalar graph takes a tenth less
                a, b = a.data if isinstance(a, Tensor) else a, b.data if isinstance(b, Tensor) else b
                terms = primitive.vjp(g, node.data, a, b)
            else:
                terms = primitive.vjp(g, node.data, *map(_data, inputs))
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


def grad(output: Tensor, inputs: Tensor | Iterable[Tensor], gradient: Any = None) -> tuple[Tensor, ...]:
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


def scalars(array: Any, label: str | None = None) -> np.ndarray[Any, Any]:
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
