"""The program: what the engine does for a function, forward and backward, as straight-line NumPy that a person reads.

A ``Name`` is a kind of number: it stands for a number or an array, and an operation on it writes itself down as a statement. The
engine, which never looks inside a number, runs on Names as on any other; what they have written down then is the program.
"""

from __future__ import annotations

import html
import inspect
import itertools
import json
import keyword
import linecache
import math
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import primitives as P
from ..derivation import Derivation, made_by
from ..dispatch import ArrayLike
from ..engine import Step, Tensor, adjoints, as_single, in_order
from ..files import AnyPath, write_whole
from ..kinds import Value, apply, as_data, one
from ..shapes import Shape, shape

if TYPE_CHECKING:
    from .compile import Compiled

FLOATS: Any = (float, np.floating, np.ndarray)


# ---- The number that writes itself down


class Name(ArrayLike):
    """A number that is known by its name. It carries an example, which gives shape and dtype; nobody may decide by its value.

    value       the example: a number, or an array; a large one is kept as one number, repeated.
    primitive   what makes it, of ``inputs`` (Names and constants) and with ``params``; None: it is an argument of the program.
    label       what it is called in the program, or None.
    group       the equation that it belongs to, and whether on the way back.
    """

    __slots__ = ("group", "inputs", "label", "params", "primitive", "tape", "value")

    def __init__(self, tape: Tape, value: Any, primitive: Any = None, inputs: Sequence[Value] = (), params: Any = P.NONE):
        self.tape, self.value = tape, value
        self.primitive: P.Primitive | None = primitive
        self.inputs, self.params = tuple(inputs), params
        self.label: str | None = None
        self.group: tuple[Step, bool] | None = None

    @staticmethod
    def record(primitive: P.Primitive, inputs: Sequence[Value], params: Mapping[str, Any] = P.NONE) -> Name:
        """Write down that a primitive is applied: where every operation on a Name ends."""
        return next(a.tape for a in inputs if isinstance(a, Name)).write(primitive, inputs, params)

    @property
    def shape(self) -> Shape:
        """The example's."""
        return shape(self.value)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The example's: float64 for Python's float, object for numbers that NumPy does not know."""
        return np.asarray(self.value).dtype

    @property
    def data(self) -> Any:
        """What the engine learns a number's kind from, where it makes a 0 or a constant of that kind."""
        return np.float64(self.value) if type(self.value) is float else self.value

    def uses(self) -> Iterator[Name]:
        """The Names that this one is made of."""
        yield from (a for a in (*self.inputs, *_flat(self.params)) if isinstance(a, Name))

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Value:
        if function in (np.ones_like, np.zeros_like, np.shape, np.ndim, np.size):
            return function(self.value, *args[1:], **kwargs)  # depends on the shape alone
        # From a primitive's own forward, which adds up float16 in float32: that the primitive does, wherever it is run.
        if function is np.cumsum:
            return P.cumsum(self, axis=args[1])
        if function is np.einsum:
            return P.einsum(*args[1:], subscripts=args[0])
        if function in (np.argmax, np.argmin, np.nonzero, np.argsort):
            _refuse()
        return super().__array_function__(function, types, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(i, ArrayLike) for i in (index if isinstance(index, tuple) else (index,))):
            _refuse()
        return super().__getitem__(index)

    def __deepcopy__(self, memo: Any) -> Name:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        _refuse()

    def _looked_at(self, *_: Any) -> NoReturn:
        _refuse()

    __bool__ = __float__ = __int__ = __index__ = __round__ = __iter__ = _looked_at
    item = tolist = any = all = argmin = _looked_at
    argmax: Any = _looked_at

    def __repr__(self) -> str:
        return f"<a number that a program is written of, shape {self.shape}>"


def _refuse() -> NoReturn:
    """What looks inside a number has no place in a program: TypeError, with the line that does it."""
    package, numpy = str(Path(__file__).parents[1]), str(Path(np.__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((package, numpy, "<__array")):
        frame = frame.f_back
    path, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(path, number).strip()
    raise TypeError(
        f"{path}, line {number}{': ' + line if line else ''}\nlooks inside a number, and a program is the same for all numbers: "
        "select with where(condition, a, b), relu or max, which stay part of it, or decide by shapes"
    )


FULL = P.Primitive("full", "full", np.full, None)  # an array of one number, repeated


class Tape:
    """The statements so far, each once: what has been computed already is taken from here."""

    def __init__(self) -> None:
        self.names: list[Name] = []
        self.known: dict[Any, Name] = {}
        self.group: tuple[Step, bool] | None = None

    def given(self, value: Any, label: str) -> Name:
        """A Name that is an argument of the program."""
        name = Name(self, _example(value) if shape(value) else value)
        name.label = label
        return name

    def constant(self, value: Any) -> Any:
        """Arrays as Names: one number repeated is written as such, others become arguments of the program."""
        if not isinstance(value, np.ndarray):
            return value
        if not value.shape:
            return value[()]
        key = _key(value)
        if key not in self.known:
            self.known[key] = name = Name(self, value)
            if _uniform(value):
                name.primitive, name.params = FULL, {"shape": value.shape, "value": value.flat[0]}
                self.names.append(name)
        return self.known[key]

    def write(self, primitive: P.Primitive, inputs: Sequence[Value], params: Mapping[str, Any]) -> Name:
        """The Name of what ``primitive`` makes of the inputs, written down unless it stands there already."""
        if primitive is P.getitem and isinstance(params["index"], tuple) and not params["index"]:
            return inputs[0]  # type: ignore[no-any-return]
        if primitive is P.astype and isinstance(inputs[0].value, (np.ndarray, np.generic)) and inputs[0].dtype == params["dtype"]:
            return inputs[0]  # type: ignore[no-any-return]
        value = _computed(primitive, inputs, params)
        if primitive in ARITHMETIC:  # what is repeated anyway need not be repeated before
            inputs = list(inputs)
            for i, a in enumerate(inputs):
                for source in _repeated(a):
                    shorter = [*inputs[:i], source, *inputs[i + 1 :]]
                    if any(isinstance(b, Name) for b in shorter) and _kind(_computed(primitive, shorter, params)) == _kind(value):
                        inputs = shorter
        if primitive is P.mul:  # a product with 1 is what it was, to the bit
            for a, b in (inputs, inputs[::-1]):
                if isinstance(a, Name) and isinstance(b, (float, int, np.floating)) and b == 1 and _kind(a.value) == _kind(value):
                    return a
        # Where all is float64, NumPy's is Python's.
        plain = _kind(value)[1] == np.float64
        constants = [self.constant(float(a) if plain and type(a) is np.float64 else a) for a in inputs]
        params = {name: _mapped(self.constant, a) for name, a in params.items()}
        key = (primitive, *map(_key, constants), *[(name, _key(a)) for name, a in params.items()])
        if key not in self.known:
            name = self.known[key] = Name(self, value, primitive, constants, params)
            name.group = self.group
            self.names.append(name)
        return self.known[key]


ARITHMETIC = {P.add, P.sub, P.mul, P.div}


def _computed(primitive: P.Primitive, inputs: Sequence[Value], params: Mapping[str, Any]) -> Any:
    with np.errstate(all="ignore"):
        return _example(apply(primitive.forward, [a.value if isinstance(a, Name) else a for a in inputs], params))


def _repeated(a: Value) -> list[Any]:
    """The number or array that this repeats, if it does."""
    if isinstance(a, Name):
        return [*a.inputs] if a.primitive is P.broadcast else [a.params["value"]] if a.primitive is FULL else []
    return [a.flat[0]] if isinstance(a, np.ndarray) and a.shape and _uniform(a) else []


def _example(value: Any) -> Any:
    """A number as the engine keeps it; of a large array, one element that stands for all."""
    if type(value) is np.float64:
        return float(value)
    if isinstance(value, np.ndarray) and value.size > 4096:
        return np.broadcast_to(value.flat[0], value.shape)
    if isinstance(value, np.ndarray) and not value.shape:
        return _example(value[()])
    return value


def _kind(value: Any) -> tuple[Shape, Any]:
    """Shape and dtype, or the type of what is no float."""
    dtype = np.asarray(value).dtype
    return shape(value), type(value) if dtype.kind == "O" and not isinstance(value, np.ndarray) else dtype.newbyteorder("=")


def _key(value: Any) -> Any:
    """What is the same for the same constants, and for the same Names only."""
    if isinstance(value, Name):
        return id(value)
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype, repr(value.flat[0])) if _uniform(value) else (id(value),)
    if isinstance(value, (tuple, list)):
        return (type(value), *map(_key, value))
    return type(value), repr(value)


def _uniform(value: Any) -> bool:
    return value.dtype.kind in "fbiu" and value.size > 0 and bool((value == value.flat[0]).all())


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    return tuple(function(a) for a in value) if type(value) is tuple else function(value)


def _flat(params: Mapping[str, Any]) -> Iterator[Any]:
    for value in params.values():
        yield from value if isinstance(value, tuple) else (value,)


# ---- How a statement is written

INFIX = {
    **{"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@"},
    **{"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="},
}
FUNCTIONS = ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "maximum", "minimum")
OWN = {  # where a kind of number has no such function of its own, as in ``kinds``
    **{"sqrt": "float(np.float64(a) ** 0.5)", "log": "a.ln()", "expm1": "a.exp() - 1", "log1p": "(1 + a).ln()"},
    "tanh": "1 - 2 / ((2 * a).exp() + 1)",
}


def literal(value: Any) -> str:
    """A constant, or the name of a Name, as source: every float comes back bit for bit."""
    if isinstance(value, Name):
        return value.label or "?"
    if isinstance(value, (bool, np.bool_)):
        return repr(bool(value))
    if isinstance(value, np.floating) and type(value) is not np.float64:
        return f"np.{value.dtype.name}({literal(value.item())})"
    if isinstance(value, (int, float, np.integer)):
        text = repr(value.item() if isinstance(value, np.generic) else value)
        text = text if math.isfinite(value) else "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"
        return f"({text})" if text.startswith("-") else text
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' * (len(value) == 1)})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, np.dtype):
        return f"np.{value.name}"
    if value is None or value is ... or isinstance(value, (slice, str, Decimal, Fraction)):
        return "..." if value is ... else json.dumps(value) if isinstance(value, str) else repr(value)
    raise TypeError(f"a program is written for floats, arrays of them, Decimals and Fractions, and this is {value!r}")


def _index(index: Any) -> str:
    if isinstance(index, tuple):
        return ", ".join(map(_index, index)) + "," * (len(index) == 1)
    if isinstance(index, slice):
        start, stop, step = ("" if a is None else str(a) for a in (index.start, index.stop, index.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return literal(index)


def source_of(name: Name) -> str:
    """The right-hand side of a Name's statement."""
    assert name.primitive is not None
    of, p = name.primitive.name, {key: literal(a) for key, a in name.params.items()}
    floats = bool(name.shape) and name.dtype.kind == "f"  # with which NumPy is faster than with integers
    args = [literal(float(a) if floats and type(a) is int else a) for a in name.inputs]
    first = name.inputs[0].value if name.inputs and isinstance(name.inputs[0], Name) else None
    whole = isinstance(first, np.ndarray) and first.ndim > 0  # it has methods, in the program too
    if of == "full":
        return f"np.full({p['shape']}, {p['value']})"
    if of in ("pow", "power"):
        exponent = name.params["exponent"] if of == "pow" else 0.5
        real = type(name.value) is float and not isinstance(exponent, int) and exponent % 1  # below 0, Python's would be complex
        return f"{f'np.float64({args[0]})' if real else args[0]} ** {p['exponent'] if of == 'pow' else args[1]}"
    if of in INFIX:
        return f"{args[0]} {INFIX[of]} {args[1]}"
    if of == "relu":
        return f"max({args[0]}, 0.0)"
    if of in FUNCTIONS:
        return f"np.{of}({', '.join(args)})" if len(args) > 1 else _function(of, args[0], first)
    if of in ("neg", "abs"):
        return f"-{args[0]}" if of == "neg" else f"abs({args[0]})"
    if of == "where":
        if all(type(a.value if isinstance(a, Name) else a) in (bool, float, Decimal, Fraction) for a in name.inputs):
            return f"{args[1]} if {args[0]} else {args[2]}"
        return f"np.where({', '.join(args)}){'' if name.shape else '[()]'}"
    if of in ("sum", "mean", "max", "min", "prod"):
        return _reduction(of, args[0], p, name, first if whole else None)
    if of == "astype":
        return f"{args[0]}.astype({p['dtype']})" if whole else f"np.asarray({args[0]}, {p['dtype']})[()]"
    single = "" if name.shape else "[()]"  # a number as such, as the engine keeps it, not an array without axes
    if of == "getitem":
        return f"{args[0] if whole else f'np.asarray({args[0]})'}[{_index(name.params['index'])}]{single}"
    if of == "concatenate":
        return f"np.concatenate([{', '.join(args)}], axis={p['axis']})"
    if of == "einsum":
        half = all(isinstance(a, Name) and a.dtype == np.float16 for a in name.inputs)
        return f"np.einsum({', '.join([p['subscripts'], *args])}{', dtype=np.float32).astype(np.float16)' * half or ')'}{single}"
    if of == "cumsum":
        thin = ", np.float32).astype(np.float16)" if name.dtype == np.float16 else ")"
        return f"np.cumsum({args[0]}, {p['axis']}{thin}"
    (how,) = p.values()
    called = {"broadcast": "broadcast_to"}.get(of, of)
    return (f"{args[0]}.{of}({how})" if whole and of in ("reshape", "transpose") else f"np.{called}({args[0]}, {how})") + single


def _with_out(name: Name) -> str:
    """A statement as a call of a ufunc, without the last parenthesis, or nothing if there is none that gives the same bits."""
    of, args = name.primitive.name if name.primitive else "", [literal(a) for a in name.inputs]
    if of == "pow":
        return f"np.square({args[0]}" if name.params["exponent"] == 2 else ""
    called = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "abs": "abs"}.get(of)
    return f"np.{called or of}({', '.join(args)}" if called or of in FUNCTIONS else ""


def _function(of: str, a: str, example: Any) -> str:
    try:
        with np.errstate(all="ignore"):
            getattr(np, of)(example)
    except (TypeError, AttributeError):
        if of not in OWN:
            raise TypeError(f"a program has no {of} of {type(example).__name__} numbers") from None
        return f"np.frompyfunc(lambda a: {OWN[of]}, 1, 1)({a})"
    return f"np.{of}({a})"


def _reduction(of: str, a: str, p: Mapping[str, str], name: Name, example: Any) -> str:
    """As ``primitives`` and ``shapes.total`` do it: float16 is added up in float32, a mean is a sum divided."""
    over = f"axis={p['axis']}, keepdims={p['keepdims']}"
    if example is None:
        return f"np.{of}({a}, {over})"
    half = example.dtype == np.float16
    if of == "sum" and half:
        return f"{a}.sum({over}, dtype=np.float32).astype(np.float16)"
    if of == "mean" and example.size and example.dtype.kind == "f" and not half:
        return f"{a}.sum({over}) / {float(example.size // max(1, math.prod(name.shape)))}"
    return f"{a}.{of}({over})"


def statement(name: Name) -> list[str]:
    """A Name's statement, as a line; two where an array is filled at some places."""
    if name.primitive is P.scatter:
        (a,), index, to = map(literal, name.inputs), name.params["index"], name.params["to"]
        plain = all(i is None or i is ... or isinstance(i, (int, slice)) for i in (index if isinstance(index, tuple) else (index,)))
        place = f"{name.label}[{_index(index)}]"
        half = name.dtype == np.float16  # added up in float32
        dtype = "np.float32" if half else literal(name.dtype) if name.dtype.kind == "f" else "object"
        after = ".astype(np.float16)" * half + "[()]" * (not to)
        return [
            f"{name.label} = np.zeros({literal(to)}, {dtype})",
            f"{place} += {a}" if plain else f"np.add.at({name.label}, {literal(index)}, {a})",
            *([f"{name.label} = {name.label}{after}"] if after else []),
        ]
    return [f"{name.label} = {source_of(name)}"]


# ---- Tracing


def trace(f: Callable[..., Tensor] | Tensor | Derivation, *examples: Any, reuse: bool = False) -> Program:
    """The program of ``f``, or of a graph that is there: its forward pass, and the backward pass that the engine makes of it.

    f         a function of Tensors that returns one; a derivation; or a Tensor, whose graph is taken from its leaves on.
    examples  a number or an array for each argument of f, or input of the derivation: they give shapes and dtypes, their values do
              not matter.
    reuse     write the NumPy program with buffers for what is as large as the largest array, kept from call to call: faster where
              memory is what takes the time. Such a program is for one thread at a time; its results are arrays of their own.

    Raises TypeError for an f that returns anything but one Tensor, for an example that is no number, and for an f that looks inside
    a number (``if t.data > 0``, ``float(t)``), with the line that does.

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
        called = {a: name for step in made_by(in_order([f])).values() for name, a in step.inputs.items() if isinstance(a, Tensor)}
        examples, labels = tuple(a.data for a in leaves), [a.label or called.get(a, "") for a in leaves]
    else:
        f = _by_position(f) if isinstance(f, Derivation) else f
        title, labels = getattr(f, "__name__", "the function").strip("<>"), _parameters(f, len(examples))
    labels = identifiers(labels, "x")
    numbers = [as_data(a.data if isinstance(a, Tensor) else a) for a in examples]
    names = [tape.given(a, label) for a, label in zip(numbers, labels)]
    tensors = [_tensor(name) for name in names]
    y, example = (f, f.grad) if isinstance(f, Tensor) else (f(*tensors), None)
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
    groups = {new[node]: step for node, step in made_by(in_order([y])).items()}
    return _program(title, tape, names, tensors, new[y], groups, example, reuse)


def _by_position(derivation: Derivation) -> Callable[..., Tensor]:
    """A derivation as a function of its inputs, in order."""

    def function(*values: Value) -> Tensor:
        result: Tensor = derivation(**dict(zip(derivation.inputs, values)))
        return result

    function.__name__ = derivation.name
    inputs = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in derivation.inputs]
    function.__signature__ = inspect.Signature(inputs)  # type: ignore[attr-defined]
    return function


def _tensor(name: Name, label: str | None = None) -> Tensor:
    leaf = Tensor(0.0, label or name.label)
    leaf.data = name  # of which no one asks whether it is a number
    return leaf


def _program(
    title: str,
    tape: Tape,
    names: list[Name],
    tensors: list[Tensor],
    y: Tensor,
    groups: Mapping[Tensor, Step],
    example: Any,
    reuse: bool,
) -> Program:
    order = in_order([y])
    for node in order:
        data, step = node.data, groups.get(node)
        if isinstance(data, Name):
            if step and data.primitive:
                first = data.group is None or step.number < data.group[0].number  # two equations may both compute x − mu
                data.group = (step, False) if first else data.group
            if node.primitive is P.relu and data.primitive is P.maximum and type(data.value) is float:
                data.primitive = P.relu  # which of -0.0 and 0.0 takes the first, as max does
            data.label = data.label or node.label
    result, single = y.data, all(n == 1 for n in y.shape)
    value = result.value if isinstance(result, Name) else result
    if np.asarray(value).dtype.kind not in "fO":
        raise TypeError(f"{title} returns {np.asarray(value).dtype}, as comparisons are, and has no gradient: end with floats")
    upstream = None if single else tape.given(np.ones_like(value) if example is None else example, "")
    seed: Any = upstream
    if upstream is None:
        seed = one(value) if isinstance(value, float) or np.asarray(value).dtype == object else np.ones_like(value)[()]
    kept = {node: node.primitive for node in order if isinstance(node.data, Name) and node.primitive}
    for node, primitive in kept.items():
        node.primitive = replace(primitive, vjp=_marked(tape, primitive.vjp, groups.get(node)))
    with np.errstate(all="ignore"):  # examples need not have a gradient
        found = adjoints(y, tape.constant(seed), stop=set(tensors))
    for node, primitive in kept.items():  # as it was: the graph is kept, to differentiate the program again
        node.primitive = primitive
    for node, g in found.items():
        if node.label and isinstance(g, Name) and g.primitive:
            g.label = g.label or f"d{node.label}"
    gradients = [tape.constant(found[t] if t in found else np.zeros_like(t.data.value)[()]) for t in tensors]
    if upstream is not None:
        upstream.label = f"d{y.label or 'y'}"
    return Program(
        title, tuple(names), upstream, tape.constant(result), tuple(gradients), tuple(tape.names), y, tuple(tensors), reuse
    )


def _marked(tape: Tape, vjp: Any, step: Step | None) -> Any:
    """A VJP that says, before it computes, which equation its statements lead back through."""

    def marked(*args: Any, **params: Any) -> Any:
        tape.group = (step, True) if step else None
        return vjp(*args, **params)

    return vjp and marked


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


def edge_numbers(step: Step) -> list[int]:
    """The numbers of the local derivatives that lead back through an equation, if it belongs to a derivation."""
    return [edge.number for edge in step.derivation.edges if edge.output == step.output] if step.derivation else []


def _parameters(f: Callable[..., Any], n: int) -> list[str]:
    """What f calls its first n arguments. Raises TypeError if it does not take so many."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return [""] * n
    try:
        bound = signature.bind(*range(n))
    except TypeError as error:
        raise TypeError(f"an example is needed for each argument of {getattr(f, '__name__', f)}{signature}: {error}") from None
    bound.apply_defaults()
    return [
        f"{name}{i + 1}" if isinstance(value, tuple) else name
        for name, value in bound.arguments.items()
        for i, _ in enumerate(value if isinstance(value, tuple) else (0,))
    ][:n]


TAKEN = {"np", "forward", "gradients", "max", "abs", "Decimal", "Fraction", *keyword.kwlist}


def identifiers(labels: Iterable[str], otherwise: str, taken: Iterable[str] = ()) -> list[str]:
    """The labels as names that Python knows, each once; ``otherwise`` and a number where there is none."""
    used, found = {*TAKEN, *taken}, []
    for label in labels:
        plain = "_".join(filter(None, "".join(c if c.isalnum() or c == "_" else " " for c in label).split())) if label else ""
        name = plain if plain.isidentifier() else ""
        i = 1
        while not name or name in used:
            name, i = f"{plain if plain.isidentifier() else otherwise}{'_' * plain.isidentifier()}{i}", i + 1
        used.add(name)
        found.append(name)
    return found


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
    t2 = t1.sum(axis=None, keepdims=False)
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
        given = [name.label or "" for name in self.inputs]
        named = [name for name in (self.upstream, *self.constants) if name is not None]
        named += [name for name in self.statements if name.label]
        for name, label in zip(named, identifiers([name.label or "" for name in named], "c", given)):
            name.label = label
        taken = {*given, *[name.label for name in named]}
        free = (label for i in itertools.count(1) if (label := f"t{i}") not in taken)
        for name in self.statements:
            name.label = name.label or next(free)

    # ---- what it consists of

    @cached_property
    def statements(self) -> list[Name]:
        """What is computed, in order: those that the result or a gradient needs, and no others."""
        return self.needed(self.result, *self.gradient)

    def needed(self, *targets: Any) -> list[Name]:
        needed, todo = set(), [a for a in targets if isinstance(a, Name)]
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += name.uses()
        return [name for name in self.names if name in needed]

    @cached_property
    def constants(self) -> list[Name]:
        """The arrays that are arguments of the module, though the function did not have them as such."""
        used = [a for name in self.statements for a in name.uses()] + [
            a for a in (self.result, *self.gradient) if isinstance(a, Name)
        ]
        given = {*self.inputs, self.upstream}
        return [a for a in dict.fromkeys(used) if not a.primitive and a not in given]

    def body(self, backward: bool = False) -> str:
        """The statements of ``forward`` or of ``gradients``, with the numbers of their equations."""
        lines: list[str] = []
        group = ""
        names = self.statements if backward else self.needed(self.result)
        outs, n = self._buffered(names)
        if n:
            lines.append(f"{', '.join(f'buffer{i + 1}' for i in range(n))}, *_ = buffers")
        for name in names:
            heading = _heading(*name.group) if name.group else ""
            if heading != group:
                group = heading
                lines.append(heading)
            lines += [f"{name.label} = {outs[name]}"] if name in outs else statement(name)
        return "\n".join(lines)

    def _buffered(self, names: Sequence[Name]) -> tuple[dict[Name, str], int]:
        """With ``reuse``: the statements that write into a buffer, and how many buffers they need. A buffer is free again after the
        last use of what stands in it, so a statement may write over its own input."""
        whole = max(self.statements, key=lambda name: math.prod(name.shape), default=None)
        last: dict[Name, int] = {}
        for i, name in reversed([*enumerate(names)]):
            for a in name.uses():
                end = max(i, last.get(name, i)) if name.primitive and name.primitive.name in VIEWS else i
                last[a] = max(end, last.get(a, 0))
        returned, todo = set(), [self.result, *self.gradient]
        while todo:
            a = todo.pop()
            if isinstance(a, Name):
                returned.add(a)
                todo += a.uses() if a.primitive and a.primitive.name in VIEWS else ()
        outs: dict[Name, str] = {}
        place: dict[Name, int] = {}
        free: list[int] = []
        n = 0
        for i, name in enumerate(names if self.reuse and shape(whole) else ()):
            free += [place.pop(a) for a in [*place] if last[a] <= i]
            source = _with_out(name)
            if source and whole is not None and _kind(name.value) == _kind(whole.value) and name not in returned:
                n += not free
                place[name] = free.pop() if free else n
                outs[name] = f"{source}, out=buffer{place[name]})"
        return outs, n

    def __str__(self) -> str:
        """The program as a module of two functions, ``forward`` and ``gradients``, that needs NumPy and nothing else."""
        inputs, constants = ([name.label or "" for name in names] for names in (self.inputs, self.constants))
        upstream = [self.upstream.label or ""] if self.upstream is not None else []
        result, gradients = literal(self.result), self.returned()
        parts = [
            f'"""{self._description()}"""',
            "".join(line for word, line in IMPORTS if word in self.body(backward=True)) + "import numpy as np",
            function_source("forward", [*inputs, *constants], self.body(), result),
            function_source(
                "gradients",
                [*inputs, *upstream, *constants],
                self.body(backward=True),
                f"{result}, ({', '.join(gradients)}{',' * (len(gradients) == 1)})",
            ),
        ]
        buffered = [self._buffered(names) for names in (self.needed(self.result), self.statements)]
        if any(n for _, n in buffered):
            of = next(name for outs, _ in buffered for name in outs)
            whole = literal((max(n for _, n in buffered), *of.shape))
            parts[1] += f"\n\n# Written over by every call, so one call at a time.\nbuffers = np.empty({whole}, np.{of.dtype.name})"
        return "\n\n\n".join(["\n\n".join(parts[:2]), *parts[2:]]) + "\n"

    def returned(self) -> list[str]:
        """The gradients as they are returned: each array its own, no part of another."""
        seen, texts = {id(self.result)}, []
        for g in self.gradient:
            own = isinstance(g, Name) and g.primitive and g.primitive.name not in VIEWS and id(g) not in seen
            texts.append(literal(g) + (".copy()" if shape(g) and not own else ""))
            seen.add(id(g))
        return texts

    def _description(self) -> str:
        what = {
            "": self.inputs,
            "the upstream gradient, ": (self.upstream,) if self.upstream is not None else (),
            "a constant, ": self.constants,
        }
        of = [f"    {a.label}: {kind}{_sort(a)}" for kind, names in what.items() for a in names]
        of = [*of[:20], f"    … and {len(of) - 20} more"] if len(of) > 21 else of
        returned = f"the result, {_sort(self.result)}"
        return "\n".join(
            [
                f"{self.name}, forward and backward, statement by statement; written by micrograd_bn, which it does not need.",
                "",
                "The arguments have these shapes, which the statements rely on:",
                "",
                *of,
                "",
                f"forward returns {returned}; gradients returns it and a tuple, the gradient of each argument.",
                "",
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The program as plain data, for JSON: what is given, the statements in order, and what is returned."""
        return {
            "name": self.name,
            "inputs": [_entry(a) for a in self.inputs],
            "upstream": None if self.upstream is None else _entry(self.upstream),
            "constants": [_entry(a) for a in self.constants],
            "statements": [
                {
                    **_entry(a),
                    "operation": a.primitive.name if a.primitive else "",
                    "arguments": [literal(b) for b in a.inputs],
                    "parameters": {key: literal(value) for key, value in a.params.items()},
                    "equation": a.group[0].number if a.group else None,
                    "backward": bool(a.group and a.group[1]),
                    "text": statement(a),
                }
                for a in self.statements
            ],
            "result": literal(self.result),
            "gradients": [literal(a) for a in self.gradient],
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": _highlighted(str(self))}

    @property
    def javascript(self) -> str:
        """The program in JavaScript, number by number: see ``javascript.source``."""
        from .javascript import source

        return source(self)

    def dot(self) -> str:
        """The program as a graph in DOT: a box for each statement, an arrow from each of its arguments."""
        given = [a for a in (*self.inputs, self.upstream, *self.constants) if a is not None]
        lines = [f'"{a.label}" [style="filled", fillcolor="#eef3f9"]' for a in given]
        for a in self.statements:
            text = "\\l".join(json.dumps(line)[1:-1] for line in statement(a))
            lines.append(f'"{a.label}" [label="{text}"]')
            lines += [f'"{b.label}" -> "{a.label}"' for b in dict.fromkeys(a.uses())]
        return "\n    ".join(["digraph {", 'node [shape=box, fontname="monospace", fontsize="10"]', *lines]) + "\n}\n"

    def save(self, path: AnyPath) -> Path:
        """Write the module to ``path``, whole or not at all. Raises OSError if it cannot be written."""
        return write_whole(path, str(self).encode())

    # ---- running it

    @cached_property
    def _functions(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        scope: dict[str, Any] = {}
        exec(compile(str(self), f"<the program of {self.name}>", "exec"), scope)
        return scope["forward"], scope["gradients"]

    def __call__(self, *values: Any) -> Any:
        """The result, for values of the examples' shapes and dtypes; a Tensor if one of them is."""
        if any(isinstance(a, Tensor) for a in values):
            fitted = self.fitted([a.data if isinstance(a, Tensor) else a for a in values])
            return Tensor.record(self._primitive, tuple(a if isinstance(a, Tensor) else b for a, b in zip(values, fitted)))
        return as_single(self._run(0, self.fitted(values)))

    def gradients(self, *values: Any) -> tuple[Any, tuple[Any, ...]]:
        """The result and the gradient of each input; the upstream gradient comes last, where the result is no single number."""
        y, gradients = self._run(1, self.fitted(values, backward=True))
        return as_single(y), gradients if {*map(type, gradients)} == {float} else tuple(map(as_single, gradients))

    def _run(self, which: int, values: Sequence[Any]) -> Any:
        constants = [name.value for name in self.constants]
        try:
            return self._functions[which](*values, *constants)
        except (ZeroDivisionError, OverflowError):  # in NumPy's arithmetic there is inf or NaN, with a warning
            return self._functions[which](*[np.float64(a) if type(a) is float else a for a in values], *constants)

    def fitted(self, values: Sequence[Any], backward: bool = False) -> Sequence[Any]:
        """The values as the engine would keep them, if they are what the program was written for: an error says what is not."""
        names = (*self.inputs, self.upstream) if backward and self.upstream is not None else self.inputs
        if len(values) != len(names):
            wanted = ", ".join([name.label or "" for name in names[:8]]) + (", …" if len(names) > 8 else "")
            last = f", the last of them the upstream gradient of shape {names[-1].shape}" if len(names) > len(self.inputs) else ""
            raise TypeError(f"the program of {self.name} takes {len(names)} values ({wanted}){last}, and this is {len(values)}")
        if {*map(type, values)} == self._kinds == {float}:  # of thousands, asked one by one, that would take the longest
            return values
        return [
            a
            if type(a) is wanted is float or (type(a) is wanted is np.ndarray and a.shape == sizes and a.dtype == dtype)
            else _checked(a, name)
            for a, name, (wanted, sizes, dtype) in zip(values, names, self._wanted)
        ]

    @cached_property
    def _kinds(self) -> set[type]:
        return {type(name.value) for name in self.inputs}

    @cached_property
    def _wanted(self) -> list[tuple[type, Shape, np.dtype[Any]]]:
        return [(type(name.value), name.shape, name.dtype) for name in (*self.inputs, self.upstream) if name is not None]

    def compile(self) -> Compiled:
        """The program compiled by Numba, as loops: see ``Compiled``. Raises ModuleNotFoundError without the extra ``fast``."""
        from .compile import Compiled

        return Compiled(self)

    @cached_property
    def _primitive(self) -> P.Primitive:
        """The program as one node: its VJP is the program's own, or the graph's once more where that is to be differentiated."""

        def vjp(g: Value, y: Value, *inputs: Value) -> tuple[Any, ...]:
            recorded = any(isinstance(a, Tensor) for a in (g, *inputs))
            if self.upstream is not None and not recorded:
                return self.gradients(*inputs, g)[1]
            given = [a if isinstance(a, Tensor) else Tensor(a) for a in inputs]
            again = replayed(self.graph, dict(zip(self.leaves, given)))[self.graph]
            found = adjoints(again, g, differentiable=recorded, stop=set(given))
            return tuple([found.get(a) for a in given])

        return P.Primitive(self.name, self.name, lambda *values: self(*values), vjp)


def _entry(name: Name) -> dict[str, Any]:
    sizes, kind = _kind(name.value)
    return {"name": name.label, "shape": list(sizes), "dtype": kind.__name__ if isinstance(kind, type) else kind.name}


def _highlighted(source: str) -> str:
    """Python source as HTML, with colours for comments, strings, keywords and numbers."""
    colours = {"comment": "#6a737d", "string": "#22663b", "keyword": "#a626a4", "number": "#986801"}
    words = "|".join(keyword.kwlist)
    parts = rf"(?P<string>\"\"\"[\s\S]*?\"\"\")|(?P<comment>#.*)|\b(?P<keyword>{words})\b|(?<![\w.])(?P<number>\d[\w.]*(?:e-\d+)?)"

    def coloured(match: re.Match[str]) -> str:
        return f'<span style="color: {colours[match.lastgroup or ""]}">{match.group()}</span>'

    return f"<pre>{re.sub(parts, coloured, html.escape(source, quote=False))}</pre>"


VIEWS = ("reshape", "transpose", "broadcast", "getitem")
IMPORTS = (("Decimal", "from decimal import Decimal\n"), ("Fraction", "from fractions import Fraction\n"))


def _checked(value: Any, name: Name) -> Any:
    example = name.value
    if type(value) is not np.ndarray or value.dtype != name.dtype:
        value = as_data(value)
        if isinstance(example, float) and not shape(value) and isinstance(value, FLOATS):
            return float(value)
        (_, own), (_, given) = _kind(example), _kind(value)
        if own != given:
            of, called = (a.__name__ if isinstance(a, type) else a for a in (own, given))
            raise TypeError(
                f"{name.label}: the program is written for {of}, and this is {called}: convert it, or trace with such an example"
            )
    if shape(value) != name.shape:
        raise ValueError(f"{name.label}: the program is for shape {name.shape}, and this has {shape(value)}: trace again for it")
    return value


def _sort(value: Any) -> str:
    """What a person calls a value's shape and kind."""
    sizes, kind = _kind(value.value if isinstance(value, Name) else value)
    of = kind.__name__ if isinstance(kind, type) else kind.name
    return f"{of} of shape {sizes}" if sizes else f"a single {of}"


def _heading(step: Step, backward: bool) -> str:
    if not backward:
        return f"# ({step.number}): {step.output}"
    numbers = ", ".join(f"({n})" for n in edge_numbers(step))
    return f"# back through ({step.number})" + f": {numbers}" * bool(numbers)


def function_source(name: str, arguments: Sequence[str], body: str, result: str) -> str:
    def wrapped(text: str, indent: str) -> str:
        return textwrap.fill(text, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)

    lines = [f"    {line}" if line else "" for line in body.splitlines()]
    head = wrapped(f"def {name}({', '.join(arguments)}):", " " * 8)
    return "\n".join([head, *lines, wrapped(f"    return {result}", " " * 8)])
