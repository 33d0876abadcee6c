"""A number that writes itself down: an operation on it becomes a statement on a tape.

The engine, which never looks inside a number, runs on Names as on any other; what they have written down then is the program.
"""

from __future__ import annotations

import itertools
import linecache
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .. import primitives as P
from ..dispatch import ArrayLike
from ..engine import Step
from ..kinds import Value, apply
from ..shapes import Shape, shape


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
        return self.value

    @property
    def operation(self) -> str:
        """The primitive's name; nothing, for an argument."""
        return self.primitive.name if self.primitive else ""

    def uses(self) -> list[Name]:
        """The Names that this one is made of."""
        params = [a for value in self.params.values() for a in (value if isinstance(value, tuple) else (value,))]
        return [a for a in (*self.inputs, *params) if isinstance(a, Name)]

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
    item = tolist = numpy = any = all = argmin = _looked_at
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
        first: Name = inputs[0]
        if primitive is P.getitem and isinstance(params["index"], tuple) and not params["index"]:
            return first
        value = _computed(primitive, inputs, params)
        if primitive in (P.reshape, P.broadcast) and shape(value) == shape(first):
            return first
        if primitive in ARITHMETIC:  # what is repeated anyway need not be repeated before
            inputs = list(inputs)
            for i, a in enumerate(inputs):
                for source in _repeated(a):
                    shorter = [*inputs[:i], source, *inputs[i + 1 :]]
                    if any(isinstance(b, Name) for b in shorter) and kind(_computed(primitive, shorter, params)) == kind(value):
                        inputs = shorter
        if primitive is P.mul:  # a product with 1 is what it was, to the bit
            for a, b in (inputs, inputs[::-1]):
                if isinstance(a, Name) and isinstance(b, (float, int, np.floating)) and b == 1 and kind(a.value) == kind(value):
                    return a
        constants = [self.constant(a) for a in inputs]
        params = {name: tuple(map(self.constant, a)) if type(a) is tuple else self.constant(a) for name, a in params.items()}
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
        return [*a.inputs] if a.primitive is P.broadcast else [_example(a.params["value"])] if a.primitive is FULL else []
    return [_example(a.flat[0])] if isinstance(a, np.ndarray) and a.shape and _uniform(a) else []


def _example(value: Any) -> Any:
    """A number as the engine keeps it; of a large array, one element that stands for all."""
    if type(value) is np.float64:
        return float(value)
    if isinstance(value, np.ndarray) and value.size > 4096:
        return np.broadcast_to(value.flat[0], value.shape)
    if isinstance(value, np.ndarray) and not value.shape:
        return _example(value[()])
    return value


def kind(value: Any) -> tuple[Shape, Any]:
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


def unused(stem: str, taken: Container[str], first: int = 1) -> Iterator[str]:
    """The stem with a number, from the first on, but for those that are taken."""
    return (label for i in itertools.count(first) if (label := f"{stem}{i}") not in taken)


def behind(targets: Iterable[Any]) -> set[Name]:
    """The Names among the targets, and all that these are made of."""
    found: set[Name] = set()
    todo = [a for a in targets if isinstance(a, Name)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += name.uses()
    return found
