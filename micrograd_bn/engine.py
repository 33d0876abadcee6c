"""The engine: a Tensor records how it was made, and a backward pass reads the record from the end to the start.

A graph grows in ``Tensor.record``. ``adjoints`` is the chain rule: a node's adjoint is the gradient of the output with
respect to it, complete when every operation that used the node has sent its term. What an operation computes and how its
gradient flows stand in ``primitives``; operators and methods, such as ``a + b`` and ``a.mean()``, in ``dispatch``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import primitives as P
from .dispatch import ArrayLike, holds_tensors
from .kinds import Value, apply, as_data, dtype_of, zeros
from .shapes import Shape, shape, subscript, unbroadcast

_new, _float64 = object.__new__, np.float64  # what every node asks for


class Tensor(ArrayLike):
    """A number or an array of numbers, with the history of how it was computed.

    data      the value: a float, an array, or any number or array-like that has operators; integers become float64. A single
              float64 is a float, and takes the dtype of the array that it meets, as Python's own do: float32 stays float32, where
              NumPy would widen it for a float64 of its own.
    grad      None until a backward pass, then plain data of ``data``'s shape and dtype. A leaf's array is its own; nodes further on
              may share theirs, so treat them as read-only.
    label     a name for pictures and messages, or None.
    equation  the numbered equation that this is the result of, or None (see ``derivation.equation``).

    >>> a, b = Tensor(2.0), Tensor([1.0, 3.0])
    >>> y = (a * b).sum()
    >>> y.backward()
    >>> y.data, a.grad, b.grad
    (8.0, 4.0, array([2., 2.]))
    """

    # A graph of single numbers has many nodes: this is what each costs beyond its number and its tuple of inputs.
    __slots__ = ("data", "equation", "grad", "inputs", "label", "params", "primitive")

    def __init__(self, data: Any, label: str | None = None):
        self.data = as_single(as_data(data))
        if type(data) is not float and holds_tensors(self.data):
            raise TypeError("a Tensor holds numbers, and these are Tensors: np.stack(list(array)) makes one Tensor of them")
        if label is not None and not isinstance(label, str):
            raise TypeError(
                f"a Tensor's label is a string, and this is {label!r}: several numbers are one list, Tensor([1.0, 2.0])"
            )
        self.grad: Any = None
        self.label = label
        self.equation: Step | None = None
        self.primitive: P.Primitive | None = None  # what made this node …
        self.inputs: tuple[Value, ...] = ()  # … of which Tensors and constants …
        self.params: Mapping[str, Any] = P.NONE  # … and with which axis, exponent or the like

    @staticmethod
    def record(primitive: P.Primitive, inputs: tuple[Value, ...], params: Mapping[str, Any] = P.NONE) -> Tensor:
        """Apply a primitive to Tensors and constants, and remember it: the one place where a graph grows.

        Raises what the numbers raise; TypeError, with what to convert, where two kinds of number meet that do not mix.
        """
        values = _values(inputs)
        try:  # directly, which saves a single number some of its time
            data = primitive.forward(*values, **params) if params else primitive.forward(*values)
        except (ArithmeticError, TypeError):  # of Python's floats, say, which divide by 0: ``apply`` has NumPy's answer
            data = apply(primitive.forward, values, params)
        except ValueError as error:  # of shapes that do not fit each other, NumPy's
            given = " and ".join([f"{getattr(a, 'label', None) or 'a value'} of shape {shape(a)}" for a in inputs])
            raise ValueError(f"{primitive.name} of {given}: {error}") from error
        node = _new(Tensor)
        node.data = data if type(data) is float else as_single(data)
        node.grad = node.label = node.equation = None
        node.primitive, node.inputs, node.params = primitive, inputs, params
        return node

    # ---- what it is

    @property
    def shape(self) -> Shape:
        """The shape of ``data``: () for a single number."""
        return shape(self.data)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of ``data``: float64 for Python's float, object for numbers that NumPy does not know."""
        return dtype_of(self.data)

    @property
    def parents(self) -> tuple[Tensor, ...]:
        """The Tensors that this one was computed from, in order; one that was used twice stands here twice."""
        return tuple(a for a in self.inputs if isinstance(a, Tensor))

    def detach(self) -> Tensor:
        """The same data without the history: a constant for the chain rule."""
        return Tensor(self.data, self.label)

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}" + (f", label={self.label!r})" if self.label else ")")

    def __reduce__(self) -> Any:
        if self.inputs:
            raise TypeError(
                "a Tensor with a history is not copied or pickled, for its graph would be, too: take t.detach(), or its .data"
            )
        return _leaf, (type(self), self.data, self.label, self.grad)

    # ---- the chain rule

    def backward(self, gradient: Any = None) -> None:
        """Add the gradient of this node to ``.grad`` of every node that it depends on, itself included.

        gradient: of this tensor's shape; None means 1, and only for a single value (ValueError otherwise). A second
        pass flows through its own adjoints, so it adds exactly the same again, on every node.

        Threads may run passes at the same time on graphs that share no node. Where they share leaves, adding to ``.grad``
        wants a lock; ``grad`` needs none, for it leaves ``.grad`` alone.
        """
        seen: set[int] = set()
        for node, g in adjoints({self: _seed(self, data_of(gradient))}).items():
            if type(g) is not float and isinstance(g, np.ndarray):
                # A leaf's array is its own, so that `w.grad *= 0.5` is safe: a view, and what others hold too, is copied.
                if not node.inputs and (g.base is not None or id(g) in seen or node is self):
                    g = g.copy()
                seen.add(id(g))
            node.grad = g if node.grad is None else node.grad + g

    def pull_back(self, g: Value, differentiable: bool = False) -> Sequence[Any]:
        """What the gradient ``g`` of this node sends to each of its inputs: g times ∂node/∂input, broadcasting not yet undone.

        None is no derivative: a comparison has none, nor has what comes before it, if that is all it goes into.

        ``differentiable``: the VJP sees the nodes themselves instead of their data, so what it computes is recorded too.
        """
        vjp, inputs, params = self.primitive.vjp if self.primitive else None, self.inputs, self.params
        if vjp is None or g is None:
            return [None] * len(inputs)
        if len(inputs) == 2 and not params and not differentiable:  # most nodes: called directly, a tenth of the time is saved
            a, b = inputs
            try:
                return vjp(g, self.data, a.data if isinstance(a, Tensor) else a, b.data if isinstance(b, Tensor) else b)
            except (ArithmeticError, TypeError):
                pass  # as in ``record``
        terms: Sequence[Any] = apply(vjp, (g, self, *inputs) if differentiable else (g, self.data, *_values(inputs)), params)
        return terms

    def contributions(self) -> tuple[Any, ...]:
        """What this node's gradient sends back along each edge: a term for each of ``parents``, computed, not stored.

        A node's gradient is the sum of the terms on all edges that leave it; None is an edge without a derivative. Raises
        ValueError before a backward pass.
        """
        if self.grad is None:
            raise ValueError("there is no gradient to send back yet: call backward() on the graph's result first")
        return tuple(_fitted(term, a) for a, term in zip(self.inputs, self.pull_back(self.grad)) if isinstance(a, Tensor))


def data_of(value: Value) -> Any:
    """What a Tensor holds; a constant is its own data."""
    return value.data if isinstance(value, Tensor) else value


def _values(inputs: tuple[Value, ...]) -> Sequence[Any]:
    """The data of what a node was computed from."""
    if len(inputs) == 2:  # most nodes have two: without a list for them, a graph of single numbers takes a fifth less
        a, b = inputs
        return (a.data if isinstance(a, Tensor) else a, b.data if isinstance(b, Tensor) else b)
    return [a.data if isinstance(a, Tensor) else a for a in inputs]


def as_single(data: Any) -> Any:
    """A single number as such, not as an array without axes; as Python's own float, which computes twice as fast as float64."""
    if type(data) is np.ndarray and not data.shape:
        data = data[()]
    return float(data) if type(data) is _float64 else data


def _leaf(kind: type[Tensor], data: Any, label: str | None, grad: Any) -> Tensor:
    leaf = kind(data, label)
    leaf.grad = grad
    return leaf


def _fitted(term: Any, a: Tensor) -> Any:
    """A term in the shape and dtype of the node that it goes to, which may have been repeated, or have met a wider dtype."""
    data = a.data
    if type(term) is type(data) is np.ndarray and term.shape == data.shape and term.dtype == data.dtype:  # as most are
        return term
    if term is None:
        return None
    term = unbroadcast(term, shape(data))
    met, own = dtype_of(term), dtype_of(data)
    if met != own and {met.kind, own.kind} == {"f"}:
        term = P.astype(term, dtype=own)
    return as_single(term)


def _seed(output: Tensor, gradient: Any) -> Any:
    """The gradient that a backward pass starts from, checked: of the output's shape, and of its dtype."""
    own = output.dtype
    if own.kind not in "fO":
        raise TypeError(f"this is of {own}, as comparisons and counts are, and has no derivative: end with a computation on floats")
    if gradient is None:
        if any(n != 1 for n in output.shape):
            raise ValueError(
                f"backward() needs an upstream gradient: this tensor has shape {output.shape}; "
                "pass one of that shape, or reduce it to a single value first"
            )
        return zeros(output.data) + 1
    gradient = gradient if isinstance(gradient, Tensor) else as_data(gradient)
    if shape(gradient) != output.shape:
        raise ValueError(f"the upstream gradient has shape {shape(gradient)}, and the tensor it belongs to {output.shape}")
    if own.kind == "f" and hasattr(output.data, "dtype") and getattr(gradient, "dtype", None) != own:
        gradient = P.astype(gradient, dtype=own)
    return gradient


def adjoints(outputs: Mapping[Tensor, Value], differentiable: bool = False, stop: Collection[Tensor] = ()) -> dict[Tensor, Any]:
    """The gradient with respect to every node that the outputs depend on, these first; ``outputs`` has the gradient of each.

    Nodes in the set ``stop`` are taken as independent: the pass does not go on behind them. ``differentiable`` is as for
    ``pull_back``.
    """
    waiting = _uses(outputs, stop)
    adjoint, ready = dict(outputs), [a for a in outputs if waiting.get(a) == 0]
    while ready:
        node = ready.pop()  # everyone who used it has sent a term, or None: its adjoint is complete
        terms = iter(node.pull_back(adjoint.get(node), differentiable))
        for a in node.inputs:
            term = next(terms)  # in half of zip's time
            if isinstance(a, Tensor):
                if type(term) is not float:
                    term = _fitted(term, a)
                if term is not None:
                    adjoint[a] = adjoint[a] + term if a in adjoint else term  # the sum over all its uses
                if a in waiting:
                    waiting[a] = left = waiting[a] - 1
                    if not left:
                        ready.append(a)
    return adjoint


def _uses(outputs: Iterable[Tensor], stop: Collection[Tensor]) -> dict[Tensor, int]:
    """How often each node that the pass goes on behind, no leaf and not in ``stop``, was used on the way to the outputs."""
    found = [a for a in outputs if a.inputs and a not in stop]
    uses = dict.fromkeys(found, 0)
    for node in found:  # which grows on the way
        for a in node.inputs:
            if isinstance(a, Tensor) and a.inputs and a not in stop:
                if a in uses:
                    uses[a] += 1
                else:
                    uses[a] = 1
                    found.append(a)
    return uses


def in_order(roots: Iterable[Tensor]) -> list[Tensor]:
    """All nodes that lead to the roots, each after its inputs; of several inputs the first comes first, as Python computes them."""
    order: dict[Tensor, None] = {}
    opened: set[Tensor] = set()
    stack = list(roots)[::-1]
    while stack:
        node = stack[-1]
        if node in opened or not node.inputs:
            order[stack.pop()] = None
        else:
            opened.add(node)
            stack.extend([a for a in reversed(node.inputs) if isinstance(a, Tensor) and a not in order])
    return list(order)


def grad(output: Tensor, inputs: Tensor | Iterable[Tensor], gradient: Any = None) -> tuple[Tensor, ...]:
    """The gradients of ``output`` with respect to ``inputs`` (a Tensor, or several), as Tensors of the same shapes.

    They are part of a graph, so they can be differentiated again, to any order. ``gradient`` is as for ``backward``, and may
    be a Tensor; ``.grad`` is left alone. An input that ``output`` does not depend on gets zeros, and so does a copy of one,
    ``Tensor(x.data)``: to a high enough order, no polynomial depends on its inputs.

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

    A Jacobian has a row for each number of the output: its gradient.

    >>> def jacobian(f, x):
    ...     x = Tensor(x)
    ...     y = f(x)
    ...     return np.reshape([grad(y, x, e.reshape(y.shape))[0].data for e in np.eye(y.size)], y.shape + x.shape)
    >>> jacobian(lambda x: x**2 + x[0], [1.0, 2.0])
    array([[3., 0.],
           [1., 4.]])

    A Jacobian times a vector v needs no Jacobian: the gradient is linear in the upstream gradient u, whatever that is, so its
    derivative with respect to u is the Jacobian transposed, and the gradient of that, for v, is the product.

    >>> def jvp(f, x, v):
    ...     x = Tensor(x)
    ...     y = f(x)
    ...     u = Tensor(np.zeros_like(y.data))
    ...     (g,) = grad(y, x, u)
    ...     return grad(g, u, v)[0].data
    >>> jvp(lambda x: x**2 + x[0], [1.0, 2.0], [1.0, 10.0])
    array([ 3., 41.])
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"grad differentiates a Tensor, the result of a computation with Tensors, and this is {output!r}")
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    for a in inputs:
        if not isinstance(a, Tensor):
            raise TypeError(f"grad takes the Tensors to differentiate by, and this is {a!r}, which is in no graph")
    seed = _seed(output, gradient)
    found = adjoints({output: seed if isinstance(seed, Tensor) else Tensor(seed)}, differentiable=True)
    return tuple(found[a] if a in found else Tensor(zeros(a.data)) for a in inputs)


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
        name = f"{label}{subscript(index)}" if label else None
        result[index] = Tensor(float(number) if isinstance(number, np.float64) else number, name)
    return result


class Step(NamedTuple):
    """What a node remembers of the numbered equation that it is the result of: ``Tensor.equation``."""

    number: int
    output: str  # the variable on the left-hand side …
    names: tuple[str, ...]  # … and those on the right-hand side: their names …
    values: tuple[Value, ...]  # … and what stood for them
    text: str = ""  # the right-hand side, for pictures
    derivation: Any = None  # the table that it belongs to, if it does to one
    constants: Mapping[str, Any] = P.NONE  # what its constants, as ε, were

    @property
    def inputs(self) -> dict[str, Value]:
        """The variables on the right-hand side, by name."""
        return dict(zip(self.names, self.values))
