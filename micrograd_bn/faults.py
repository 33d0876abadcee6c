"""What can be wrong with the numbers in a graph: one is not finite, or is older than what it was computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from .engine import Tensor, data_of, in_order
from .kinds import Array, Value, apply
from .shapes import shape

INFINITE = float("inf"), float("-inf")


class NotFinite(NamedTuple):
    """The first value or gradient in a graph that is not finite. Prints as a sentence.

    >>> found = first_not_finite(Tensor([3.0, np.inf], "x") * 2)
    >>> found.what, found.at
    ('value', (1,))
    >>> print(found)
    the value of 'x' is inf at [1]: nothing computed it, so it came in with the data
    """

    node: Tensor  # ``.primitive`` and ``.inputs`` are its operation and what that was applied to
    what: str  # "value" or "gradient"
    at: tuple[int, ...]  # its first element that is not finite; () in a single number
    number: Any  # NaN or an infinity
    name: str  # the node's label, operation and inputs, in words
    why: str

    def __str__(self) -> str:
        place = f" at {list(self.at)}" if self.at else ""
        return f"the {self.what} of {self.name} is {_number(self.number)}{place}{self.why}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


def first_not_finite(y: Tensor | Array) -> NotFinite | None:
    """Where NaN or an infinity comes from: the first node on the way to ``y`` whose value, or then gradient, is not finite.

    y   a Tensor, or an object array of them (the results of a batch of scalars); of any number of nodes.

    Values are looked at in the order of computation; if all are finite and y has a gradient, gradients in the order of the
    backward pass. Returns a ``NotFinite``, whose sentence has the operation, its inputs and their numbers at that place; None
    if all are finite. Raises TypeError for what is no Tensor.

    >>> x = Tensor([4.0, 0.0], label="x")
    >>> y = x.sqrt().sum()
    >>> first_not_finite(y) is None
    True
    >>> with np.errstate(divide="ignore"):
    ...     y.backward()
    >>> print(first_not_finite(y))
    the gradient of 'x' is inf at [1]: sqrt of 'x' sends it back, where its own gradient is 1 and 'x' is 0
    """
    roots = [y] if isinstance(y, Tensor) else list(np.asarray(y, dtype=object).flat)
    if not roots or not all(isinstance(node, Tensor) for node in roots):
        raise TypeError("first_not_finite needs a Tensor, or an array of Tensors: the result that a computation ends with")
    return find_not_finite(roots, {})


def find_not_finite(roots: Sequence[Tensor], names: Mapping[Tensor, str]) -> NotFinite | None:
    """``first_not_finite`` of several results; ``names`` are the nodes' where they have others than their labels."""
    order = in_order(roots)
    with np.errstate(all="ignore"):
        for node in order:
            if (index := not_finite_at(node.data)) is not None:
                number = np.asarray(node.data)[index]
                return NotFinite(node, "value", index, number, described(node, names), _why_value(node, index, number, names))
        if any(root.grad is not None for root in roots):
            for node in reversed(order):
                if node.grad is not None and (index := not_finite_at(node.grad)) is not None:
                    why = _why_gradient(node, index, order, set(roots), names)
                    return NotFinite(node, "gradient", index, np.asarray(node.grad)[index], described(node, names), why)
    return None


def outdated(roots: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The nodes whose values are not what their operations make of their inputs now, in the order of computation.

    An assignment to an input's ``.data`` after the computation leaves them behind; what was computed from them is not in the list.
    Nodes of floats are computed again, a forward pass's worth of time; those of other kinds of number are taken as they are.

    >>> w = Tensor(3.0, "w")
    >>> y = w * 2 + 1
    >>> w.data -= 1
    >>> [described(node) for node in outdated(y)]
    ["mul of 'w' and 2"]
    """
    with np.errstate(all="ignore"):
        return [node for node in in_order([roots] if isinstance(roots, Tensor) else roots) if _is_outdated(node)]


def _is_outdated(node: Tensor) -> bool:
    if node.primitive is None or not all(map(_of_floats, (node, *node.parents))):
        return False
    try:
        now = _apply(node.primitive.forward, [data_of(a) for a in node.inputs], node.params)
    except (ValueError, IndexError):  # an input has another shape by now
        return True
    before, now = np.asarray(node.data), np.asarray(now)
    same = now.shape == before.shape and np.all((now == before) | ((now != now) & (before != before)))
    return not same


def _of_floats(node: Tensor) -> bool:
    """Whether these are floats, or comparisons of them."""
    return isinstance(node.data, (float, bool, np.generic, np.ndarray)) and node.dtype.kind in "fb"


def _apply(function: Callable[..., Any], values: Sequence[Value], params: Mapping[str, Any]) -> Any:
    """A primitive's function once more, for a look: what a fused forward leaves in a dict for its VJP stays as it is."""
    return apply(function, values, {name: dict(value) if type(value) is dict else value for name, value in params.items()})


# ---- What is finite


def all_finite(value: Value) -> bool:
    """Whether a number, or every number in an array, is finite, whatever its kind."""
    return bool(np.all(_finite(value)))


def _finite(value: Value) -> Any:
    try:
        return np.isfinite(value)
    except TypeError:  # numbers that NumPy does not know; a symbol is neither NaN nor infinite
        return np.frompyfunc(lambda number: number == number and number not in INFINITE, 1, 1)(value)


def not_finite_at(value: Value) -> tuple[int, ...] | None:
    """Where the first number stands that is not finite, () if there is one alone; None if all are finite."""
    if all_finite(value):
        return None
    return tuple(map(int, np.argwhere(~np.asarray(_finite(np.asarray(value)), dtype=bool))[0]))


# ---- In words


def described(node: Tensor, names: Mapping[Tensor, str] | None = None) -> str:
    """A node by its label, its operation and what that was applied to.

    >>> described(Tensor(2.0, "a") ** 2 / Tensor(3.0))
    'div of the result of pow and a leaf without a label'
    """
    names = names or {}
    label = names.get(node) or node.label
    if node.primitive is None:
        return _name(node, names)
    inputs = [_name(a, names) for a in node.inputs]
    operation = f"{node.primitive.name} of {listed(inputs)}"
    operation += "".join(f", {name} {node.params[name]}" for name in ("exponent", "axis") if node.params.get(name) is not None)
    operation = " ".join(operation.split())  # an array of exponents takes several lines
    return f"'{label}' ({operation})" if label else operation


def _name(value: Value, names: Mapping[Tensor, str]) -> str:
    if not isinstance(value, Tensor):
        return "a constant" if shape(value) else _number(value)
    if label := names.get(value) or value.label:
        return f"'{label}'"
    return f"the result of {value.primitive.name}" if value.primitive else "a leaf without a label"


def _number(value: Value) -> str:
    try:
        return "NaN" if value != value else f"{float(value) if value in INFINITE else value:.4g}"
    except (TypeError, ValueError):
        return str(value)


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _why_value(node: Tensor, index: tuple[int, ...], number: Any, names: Mapping[Tensor, str]) -> str:
    if node.primitive is None:
        return ": nothing computed it, so it came in with the data"
    values = [data_of(a) for a in node.inputs]
    if not all(map(all_finite, values)):
        return ": the constant is not finite"
    numbers = _numbers_at(node, index, values)
    if numbers and _same(_try(node.primitive.forward, numbers, node.params), number):
        return f", where {listed(_there(node, numbers, names))}"
    ranges = [_range(a.data) for a in dict.fromkeys(node.parents)]
    return f": its input{'s are' if len(ranges) > 1 else ' is'} finite, {listed(ranges)}"


def _why_gradient(
    node: Tensor, index: tuple[int, ...], order: Sequence[Tensor], roots: set[Tensor], names: Mapping[Tensor, str]
) -> str:
    """The operation that sends back a term that is not finite, in a backward pass that was finite up to there."""
    for user in order:
        if user.primitive is None or user.primitive.vjp is None or user.grad is None or not any(a is node for a in user.inputs):
            continue
        terms = [term for a, term in zip(user.parents, user.contributions()) if a is node and term is not None]
        if all(map(all_finite, terms)):
            continue
        numbers = _numbers_at(user, index, [user.grad, user.data, *map(data_of, user.inputs)]) if user.shape == node.shape else []
        alone = _try(user.primitive.vjp, numbers, user.params) if numbers else None
        if alone and any(a is node and not _try(all_finite, [term], {}) for a, term in zip(user.inputs, alone)):
            where = f", where {listed([f'its own gradient is {_number(numbers[0])}', *_there(user, numbers[2:], names)])}"
        else:
            where = f", though its own gradient is finite, {_range(user.grad)}"
        return f": {described(user, names)} sends it back{where}"
    if node in roots:
        return ": it is what backward() was given"
    name = node.label if node.label and node.label.isidentifier() else "x"
    return (
        ": the terms that it adds up are finite here, so their sum overflows, or it is left over from another pass "
        f"({name}.grad = None starts afresh)"
    )


def _numbers_at(node: Tensor, index: tuple[int, ...], values: Sequence[Value]) -> list[Any]:
    """The numbers that stand at one place of an operation that goes element by element; [] if it cannot be one."""
    if "axis" in node.params:
        return []
    try:
        return [np.broadcast_to(np.asarray(value), node.shape)[index] for value in values]
    except ValueError:
        return []


def _try(function: Callable[..., Any], values: Sequence[Value], params: Mapping[str, Any]) -> Any:
    """The function on single numbers; None where it has no use for them."""
    try:
        return _apply(function, values, params)
    except Exception:  # whatever an operation on arrays says to that
        return None


def _same(a: Any, b: Any) -> bool:
    return a is not None and not shape(a) and (a == b or (a != a and b != b))


def _there(node: Tensor, numbers: Sequence[Any], names: Mapping[Tensor, str]) -> list[str]:
    """What the inputs are at one place: "x is 0"; a constant number has been said already."""
    pairs = [(a, number) for a, number in zip(node.inputs, numbers) if isinstance(a, Tensor) or shape(a)]
    return list(dict.fromkeys(f"{_name(a, names)} is {_number(number)}" for a, number in pairs))


def _range(value: Value) -> str:
    least, most = _number(np.min(value)), _number(np.max(value))
    return f"from {least} to {most}" if least != most else least
