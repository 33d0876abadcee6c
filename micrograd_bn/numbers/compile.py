"""A program as loops: Numba compiles what a person could have written, with nothing as large as the batch stored between.

A program of single numbers is compiled as it stands. In a program of arrays the largest shape is seen as rows and columns; all
statements that go element by element, and the reductions over rows or columns, become loops over both. A sum over the rows is a
pass over the memory that has to end before what needs it can begin; a sum over a row's columns ends within the row. So each pass
computes all it can, and computes again, rather than stores, what a later one needs. What does not fit into loops (a product of
matrices, a fancy index) stays a NumPy statement between them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import pickle
import re
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import CFUNCTYPE, c_double, c_void_p
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import primitives as P
from ..engine import as_single
from ..files import write_whole
from ..shapes import axes
from .program import FULL, Name, Program, function_source, literal, statement

INFIX = {
    **{"add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}", "neg": "-{}", "abs": "abs({})"},
    **{"less": "{} < {}", "less_equal": "{} <= {}", "greater": "{} > {}", "greater_equal": "{} >= {}"},
    **{"equal": "{} == {}", "not_equal": "{} != {}", "where": "{1} if {0} else {2}", "power": "np.power({}, {})"},
    **{"maximum": "{0} if {0} > {1} or {0} != {0} else {1}", "minimum": "{0} if {0} < {1} or {0} != {0} else {1}"},
    **{of: f"np.{of}({{}})" for of in ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh")},
    "relu": "{1} if {1} > {0} else {0}",
}
POWERS = {2: "{0} * {0}", 1: "{}", 0.5: "np.sqrt({})", -1: "1 / {}"}
REDUCTIONS = ("sum", "mean", "max", "min")
QUICK = ("add", "sub", "mul", "neg", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "where", "astype")
SAME = ("reshape", "broadcast")  # the same numbers, where places have names
DTYPES = ("float32", "float64", "bool")


class Compiled:
    """A compiled program: called as the program is, and gives the same bits, or numbers within the bound of a running error
    analysis where a sum is taken in another order or a function of a number is the C library's and not NumPy's.

    The same bits: sums and means over the first axes, and +, −, ×, ÷, √, comparisons and selections. Within the bound: sums along
    a row, whose order is the processor's vector's and NumPy's is by pairs; exp, log, tanh and other powers than 2. One thread.

    A program of single numbers may be called with one array of them as well, and gives the gradients as an array then.

    >>> from micrograd_bn import trace
    >>> compiled = trace(lambda a, b: a * b + a, 1.0, 1.0).compile()  # doctest: +SKIP
    >>> compiled.gradients(np.array([3.0, 4.0]))                      # doctest: +SKIP
    (15.0, array([5., 3.]))
    """

    def __init__(self, program: Program):
        try:
            import numba  # noqa: F401
        except ModuleNotFoundError:
            raise ModuleNotFoundError("compile() needs Numba: pip install 'micrograd-bn[fast]'") from None
        names = [*program.inputs, *program.statements, *([] if program.upstream is None else [program.upstream])]
        for name in names:
            if name.dtype.kind == "O" or (name.dtype.kind == "f" and name.dtype.name not in (*DTYPES, "float16")):
                raise TypeError(f"compile() is for floats, and {name.label} is of {name.dtype}: the program itself runs on it")
        self.program = program
        self.single = all(not a.shape and a.dtype in (np.float64, bool) for a in names) and all(
            map(_elementwise, program.statements)
        )

    @cached_property
    def source(self) -> str:
        """The loops as they are compiled, a Python module; a program of single numbers is compiled as it stands."""
        return str(self.program) if self.single else _arrays(self.program)

    @cached_property
    def _machine(self) -> Machine:
        return Machine(self.program)

    @cached_property
    def _module(self) -> ModuleType:
        return _loaded(self.source, self.program.name)

    def __call__(self, *values: Any) -> Any:
        """The result; see ``Program``."""
        if self.single:
            return self._machine(self._fill(values))[0]
        return as_single(self._module.forward(*self.program.fitted(values), *self._constants))

    def gradients(self, *values: Any) -> tuple[Any, Any]:
        """The result and the gradient of each input; see ``Program``."""
        if self.single:
            y, found = self._machine(self._fill(values))
            return y, found.copy() if _is_row(values) else tuple(found.tolist())
        y, gradients = self._module.gradients(*self.program.fitted(values, backward=True), *self._constants)
        return as_single(y), tuple(map(as_single, gradients))

    @cached_property
    def _constants(self) -> list[Any]:
        return [name.value for name in self.program.constants]

    def _fill(self, values: Sequence[Any]) -> Callable[[Any], None]:
        """What puts the inputs of a program of single numbers into an array: numbers, or one array of them."""
        n = len(self.program.inputs)
        if _is_row(values):
            row = np.asarray(values[0], np.float64)
            if row.shape != (n,):
                raise ValueError(
                    f"the program of {self.program.name} takes {n} numbers or one array of them, and this is {row.shape}"
                )
            return lambda given: np.copyto(given, row)

        def pack(given: Any) -> None:
            try:
                self._pack(given, 0, *values)  # in a third of the time that NumPy takes
            except struct.error:
                given[:] = self.program.fitted(values)  # which says what does not fit

        return pack

    @cached_property
    def _pack(self) -> Callable[..., None]:
        return struct.Struct(f"{len(self.program.inputs)}d").pack_into


def _is_row(values: Sequence[Any]) -> bool:
    return len(values) == 1 and (isinstance(values[0], (list, tuple)) or getattr(values[0], "ndim", 0) > 0)


# ---- Where the source is kept, so that Numba finds what it has compiled before


def _loaded(source: str, title: str) -> ModuleType:
    plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in title)
    name = f"{plain}_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    path = folder() / f"{name}.py"
    if not path.is_file() or path.read_text(encoding="utf-8") != source:
        write_whole(path, source.encode())
    _vectorise_in_spite_of_many_arrays()
    spec = importlib.util.spec_from_file_location(f"micrograd_bn_{name}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where Numba looks for what it has kept
    try:
        spec.loader.exec_module(module)
    except (ImportError, EOFError, OSError, pickle.UnpicklingError):  # what was kept is of no use: it is made anew
        for old in (path.parent / "__pycache__").glob(f"{name}.*.nb?"):
            old.unlink(missing_ok=True)
        spec.loader.exec_module(module)
    return module


def folder() -> Path:
    """Where compiled programs are kept: the user's cache, or a temporary folder where that cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for folder in (
        Path(base) / "micrograd_bn",
        Path(tempfile.gettempdir()) / f"micrograd_bn-{os.getuid() if hasattr(os, 'getuid') else 0}",
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp())


def _vectorise_in_spite_of_many_arrays() -> None:
    """LLVM makes vectors of a loop only if few pairs of arrays have to be checked for overlap, and 8 is few."""
    from llvmlite import binding

    if not getattr(binding, "_micrograd_bn", False):
        binding.set_option("", "-runtime-memory-check-threshold=200")
        binding._micrograd_bn = True


SUM = '''@njit(nogil=True, fastmath={"reassoc"})
def row_sum(row):
    """The sum, in the order that is the fastest for the processor."""
    total = row.dtype.type(0)
    for c in range(row.size):
        total += row[c]
    return total'''
EXTREMUM = '''@njit(nogil=True, fastmath={{"nnan"}})
def row_{of}_of_numbers(row):
    found = row[0]
    for c in range(row.size):
        found = row[c] if row[c] {sign} found else found
    return found


@njit(nogil=True)
def row_{of}(row):
    """The {of}, or NaN if there is one: looking for it apart makes vectors of both loops."""
    missing = 0
    for c in range(row.size):
        missing += row[c] != row[c]
    return row.dtype.type(np.nan) if missing else row_{of}_of_numbers(row)'''
EXP = '''@njit(nogil=True)
def exp32(x):
    """exp of a float32, within 2 units in the last place, by additions and products that fill a vector: exp(x) = 2ⁿ exp(r)."""
    near = min(max(x, np.float32(-104)), np.float32(89))  # beyond, it is 0 or infinite
    n = np.rint(near * np.float32(1.4426950408889634))
    r = (near - n * np.float32(0.693359375)) + n * np.float32(2.12194440e-4)  # ln 2 in two parts, the first of few digits
    p = np.float32(1 / 5040) * r + np.float32(1 / 720)
    p = ((((p * r + np.float32(1 / 120)) * r + np.float32(1 / 24)) * r + np.float32(1 / 6)) * r + np.float32(0.5)) * r * r + r
    p = p + np.float32(1)
    n = np.int32(n)
    half = n >> np.int32(1)  # 2ⁿ itself may be out of range
    for power in (half, n - half):
        p = p * np.int32((power + np.int32(127)) << np.int32(23)).view(np.float32)
    return p if x == x else x'''
HELPERS = {
    "exp32": EXP,
    "row_sum": SUM,
    "row_max": EXTREMUM.format(of="max", sign=">"),
    "row_min": EXTREMUM.format(of="min", sign="<"),
}

HEAD = '''"""{name}, compiled: loops written by micrograd_bn."""

import numpy as np
from numba import njit
'''


def _decorated(signature: str) -> str:
    return f'@njit("{signature}", cache=True, nogil=True, error_model="numpy")'


# ---- Single numbers


class Machine:
    """A program of single numbers as one function of machine code, by LLVM, which Numba is built on: a statement is an instruction.

    Numba itself would take a time that grows with the square of the statements: 12 s for a sum of 300 products, and this 0.1 s.
    """

    def __init__(self, p: Program):
        from llvmlite import binding, ir

        number = ir.DoubleType()
        module = ir.Module()
        module.triple = binding.get_default_triple()
        function = ir.Function(module, ir.FunctionType(number, [number.as_pointer()] * 2), "gradients")
        b = ir.IRBuilder(function.append_basic_block())
        given, found = function.args
        at = [ir.Constant(ir.IntType(64), i) for i in range(len(p.inputs))]
        values: dict[Any, Any] = {name: b.load(b.gep(given, [i])) for name, i in zip(p.inputs, at)}

        def value(a: Any) -> Any:
            if isinstance(a, Name):
                return values[a]
            return ir.Constant(ir.IntType(1), int(a)) if isinstance(a, (bool, np.bool_)) else ir.Constant(number, float(a))

        def call(of: str, *args: Any) -> Any:
            kind = ir.FunctionType(number, [number] * len(args))
            return b.call(module.globals.get(of) or ir.Function(module, kind, of), args)

        def larger(a: Any, c: Any, sign: str) -> Any:
            return b.select(b.or_(b.fcmp_ordered(sign, a, c), b.fcmp_unordered("!=", a, a)), a, c)

        def power(a: Any, exponent: float) -> Any:
            return b.fmul(a, a) if exponent == 2 else call("pow", a, ir.Constant(number, float(exponent)))

        special = {
            **{"add": b.fadd, "sub": b.fsub, "mul": b.fmul, "div": b.fdiv, "neg": b.fneg, "where": b.select},
            **{of: partial(b.fcmp_ordered, sign) for of, sign in COMPARED.items()},
            **{"not_equal": partial(b.fcmp_unordered, "!="), "power": partial(call, "pow")},
            **{"abs": partial(call, "llvm.fabs.f64"), "sqrt": partial(call, "llvm.sqrt.f64")},
            **{"maximum": lambda a, c: larger(a, c, ">"), "minimum": lambda a, c: larger(a, c, "<")},
            "relu": lambda a, zero: b.select(b.fcmp_ordered(">", zero, a), zero, a),
        }
        for name in p.statements:
            of, args = _of(name), [value(a) for a in name.inputs]
            if of == "pow":
                values[name] = power(args[0], name.params["exponent"])
            elif of in REDUCTIONS or of in (*SAME, "astype"):
                values[name] = args[0]
            else:
                values[name] = special[of](*args) if of in special else call(of, *args)
        for a, i in zip(p.gradient, at):
            b.store(value(a), b.gep(found, [i]))
        b.ret(value(p.result))

        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        target = binding.Target.from_default_triple().create_target_machine(opt=2)
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(str(module)), target)
        self._engine.finalize_object()
        self._run = CFUNCTYPE(c_double, c_void_p, c_void_p)(self._engine.get_function_address("gradients"))
        self._inputs, self._own = len(p.inputs), threading.local()

    def __call__(self, fill: Callable[[Any], None]) -> tuple[float, Any]:
        """The result and the gradients, in an array that this thread's next call writes over; ``fill`` puts the inputs into one."""
        own = vars(self._own)
        if not own:  # an array's address takes longer to ask for than all its sums
            own["given"], own["found"] = np.empty((2, self._inputs))
            own["addresses"] = own["given"].ctypes.data, own["found"].ctypes.data
        fill(own["given"])
        return self._run(*own["addresses"]), own["found"]


COMPARED = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "=="}


def _expression(name: Name, args: Sequence[str]) -> str:
    """A statement of single numbers, for Numba."""
    assert name.primitive is not None
    of = name.primitive.name
    if of == "pow":
        exponent = name.params["exponent"]
        power = f"np.power({{}}, {_literal(float(exponent), name.dtype)})"
        return POWERS.get(exponent, power).format(*args)
    if of == "astype":
        return f"np.{name.dtype.name}({args[0]})"
    if of in REDUCTIONS or of in SAME:
        return args[0]
    return INFIX[of].format(*args)


def _literal(value: Any, dtype: Any) -> str:
    """A constant as a number of the dtype that it takes among arrays of it."""
    own = getattr(value, "dtype", dtype)
    plain = literal(float(value)) if own.kind == "f" else literal(value)
    return f"np.float32({plain.strip('()') if plain[:1] == '(' else plain})" if own == np.float32 else plain


# ---- Arrays


class Places:
    """The largest shape as rows and columns, and which of its axes each array goes along."""

    def __init__(self, p: Program, split: int):
        names = [*p.inputs, *p.constants, *p.statements, *([] if p.upstream is None else [p.upstream])]
        self.sizes = max((name.shape for name in names), key=lambda s: (math.prod(s), len(s)))
        self.split = split
        self.rows, self.columns = math.prod(self.sizes[:split]), math.prod(self.sizes[split:])
        self.along: dict[Name, tuple[int | None, ...] | None] = {}
        for name in names:
            if name.primitive is None:
                self.along[name] = self._aligned(name.shape)
        for name in p.statements:
            self.along[name] = self._of(name) if _elementwise(name) else self._aligned(name.shape)
        self.fused = {name for name in p.statements if _elementwise(name) and self._of(name) is not None}

    def form(self, name: Name) -> str:
        """Which of rows (r) and columns (c) it goes along: "rc", "r", "c" or "" for a single number."""
        found = {i for i in self.along[name] or () if i is not None}
        return "r" * any(i < self.split for i in found) + "c" * any(i >= self.split for i in found)

    def _aligned(self, shape: tuple[int, ...]) -> tuple[int | None, ...] | None:
        """The axes that an array of this shape goes along where it meets the largest, or None if it does not fit."""
        if len(shape) > len(self.sizes):
            return None
        last = range(len(self.sizes) - len(shape), len(self.sizes))
        if all(n in (1, self.sizes[i]) for n, i in zip(shape, last)):
            return self._whole([None if n == 1 else i for n, i in zip(shape, last)])
        if shape == self.sizes[: self.split]:
            return self._whole([None if n == 1 else i for i, n in enumerate(shape)])
        return None

    def _whole(self, found: Sequence[int | None]) -> tuple[int | None, ...] | None:
        """Rows and columns are gone along from the first to the last or not at all."""
        long = {i for i, n in enumerate(self.sizes) if n != 1}
        for group in ({i for i in long if i < self.split}, {i for i in long if i >= self.split}):
            if group & {*found} and not group <= {*found}:
                return None
        some = [i for i in found if i is not None]
        return tuple(found) if some == sorted(set(some)) else None

    def _of(self, name: Name) -> tuple[int | None, ...] | None:
        """The axes of what a statement makes of its inputs' axes; None: it does not go by places."""
        given = [self.along.get(a) for a in name.inputs if isinstance(a, Name)]
        if any(a is None for a in given) or 0 in name.shape or name.dtype.name not in DTYPES:
            return None
        of = _of(name)
        inputs: list[Any] = given
        if of == "full":
            return (None,) * len(name.shape)
        found: list[int | None] = []
        if of in REDUCTIONS:
            (along,) = inputs
            reduced, keep = axes(len(along), name.params["axis"]), name.params["keepdims"]
            if any(along[i] is None and name.inputs[0].shape[i] != 1 for i in reduced):
                return None
            found = [None if i in reduced else a for i, a in enumerate(along) if keep or i not in reduced]
        elif of in SAME:
            (along,) = inputs
            source = [(a, n) for a, n in zip(along, name.inputs[0].shape) if n != 1]
            if of == "reshape":
                if [n for _, n in source] != [n for n in name.shape if n != 1]:
                    return None
                left = [a for a, _ in source]
                found = [None if n == 1 else left.pop(0) for n in name.shape]
            inputs = [along, self._aligned(name.shape)]
            if inputs[1] is None and of == "broadcast":
                return None
        for i in range(-len(name.shape), 0) if of not in (*REDUCTIONS, "reshape") else ():
            here = {a[i] for a in inputs if len(a) >= -i} - {None}
            if len(here) > 1:
                return None
            found.append(here.pop() if here else None)
        return self._whole(found) if [n == 1 for n in name.shape] == [a is None for a in found] else None


def _elementwise(name: Name) -> bool:
    of = _of(name)
    return of in INFIX or (
        of in (*REDUCTIONS, *SAME, "pow", "astype", "full") and not isinstance(name.params.get("exponent"), Name)
    )


def _arrays(p: Program) -> str:
    """Loops, and between them what does not fit into loops, as NumPy statements."""
    whole = max((name.shape for name in (*p.inputs, *p.statements)), key=lambda s: (math.prod(s), len(s)))
    places = max(
        (Places(p, split) for split in range(len(whole) + 1)), key=lambda places: (len(places.fused), -abs(places.split - 1))
    )
    functions, drivers = [], []
    for which, targets in (("forward", [p.result]), ("gradients", [p.result, *p.gradient])):
        needed = p.needed(*targets)
        given = [*p.inputs, *([] if p.upstream is None or which == "forward" else [p.upstream]), *p.constants]
        body = []
        for i, (fused, names) in enumerate(_groups(needed, places)):
            if not fused or all(_of(name) in (*SAME, "full") for name in names):
                body += [line for name in names if _of(name) != "full" for line in statement(name)]
                continue
            inside = {*names}
            others = [a for name in needed if name not in inside for a in name.uses()]
            loops = Loops(f"{which}_{i + 1}", names, {a for a in (*others, *targets) if isinstance(a, Name)}, places)
            if loops.outputs:
                functions.append(loops.source())
            body += loops.call()
        result = literal(p.result) + (f", ({', '.join(p.returned())},)" if which == "gradients" else "")
        text = "\n".join([*body, result])
        body[:0] = [line for a in needed if _of(a) == "full" and re.search(rf"\b{a.label}\b", text) for line in statement(a)]
        drivers.append(function_source(which, [a.label or "" for a in given], "\n".join(body), result))
    helpers = [text for word, text in HELPERS.items() if any(f"{word}(" in function for function in functions)]
    return "\n\n\n".join([HEAD.format(name=p.name).rstrip(), *helpers, *functions, *drivers]) + "\n"


def _groups(names: Sequence[Name], places: Places) -> list[tuple[bool, list[Name]]]:
    """The statements in an order in which those that become loops are as few groups as can be, apart from those that do not."""
    level: dict[Name, int] = {}
    groups: dict[tuple[int, bool], list[Name]] = {}
    for name in names:
        own = name in places.fused
        before = [level[a] + ((a in places.fused) != own) for a in name.uses() if a in level and a.primitive is not FULL]
        level[name] = max(before, default=0)
        groups.setdefault((level[name], own), []).append(name)
    for (_, own), group in groups.items():  # what is one number repeated stands wherever it is used
        if own:
            group[:0] = [a for name in [*group] for a in name.uses() if a.primitive is FULL]
    return [(own, list(dict.fromkeys(groups[at, own]))) for at, own in sorted(groups)]


class Loops:
    """A group of statements as one function of loops over rows and columns.

    Each value of the batch has a pass over the rows in which it can first be computed, and in that a turn over a row's columns:
    what needs a sum over the rows has to wait for the next pass, what needs a sum over a row's columns for the next turn.
    """

    def __init__(self, title: str, names: list[Name], wanted: set[Name], places: Places):
        self.title, self.names, self.places, self.own = title, names, places, {*names}
        self.given = dict.fromkeys(a for name in names for a in name.uses() if a not in self.own)  # ordered, and asked who is in it
        self.form = {a: places.form(a) for a in (*names, *self.given)}
        self.root = {a: a for a in self.form}  # reshaped numbers are the same numbers
        self.at, self.turn = dict.fromkeys(self.form, 0), dict.fromkeys(self.form, 0)
        for name in names:
            self._schedule(name)
        self.alias = {a for a in names if self.root[a] is not a}
        self.sums = dict.fromkeys(a for a in names if _of(a) in REDUCTIONS and a not in self.alias)
        self.outputs = dict.fromkeys(
            self.root[a] for a in names if a in wanted and self.root[a] in self.own and _of(self.root[a]) != "full"
        )
        self.aliases = [a for a in names if a in wanted and a in self.alias]
        later = {self.root[a] for name in names for a in name.uses() if self.at[a] < self.at[name] - (name in self.sums)}
        self.row: dict[Name, None] = {}  # what a pass keeps of a row, and what of that there is so far
        self.filled: set[Name] = set()
        self.kept = {a for a in names if self.form[a] == "r" and a not in self.alias and (a in later or a in self.outputs)}

    def _schedule(self, name: Name) -> None:
        inputs = [a for a in name.inputs if isinstance(a, Name)]
        form, at = self.form[name], max([self.at[a] for a in inputs], default=0)
        turn = max([self.turn[a] for a in inputs if self.at[a] == at], default=0)
        if _of(name) in (*SAME, *REDUCTIONS) and self.form[inputs[0]] == form:
            self.root[name] = self.root[inputs[0]]
        elif _of(name) in REDUCTIONS and "r" in self.form[inputs[0]]:
            at, turn = (at, turn + 1) if form == "r" else (at + 1, 0)
        self.at[name], self.turn[name] = at, turn if "r" in form else 0

    def source(self) -> str:
        """The function."""
        lines = [f"{a.label} = {a.label}_[0]" for a in self.given if self.form[a] == ""]
        vectors = [a for a in self.names if self.form[a] in ("c", "") and _of(a) != "full" and a not in self.alias]
        columns, rows = self.places.columns, self.places.rows
        lines += [f"{a.label} = np.empty({columns}, {_dtype(a)})" for a in vectors if self.form[a] == "c" and a not in self.outputs]
        lines += [f"{a.label}_rows = np.empty({rows}, {_dtype(a)})" for a in self.names if a in self.kept and a not in self.outputs]
        for at in range(max(self.at.values()) + 1):
            lines += self._vectors([a for a in vectors if self.at[a] == at]) + self._pass(at)
        lines += [f"{a.label}_[0] = {a.label}" for a in self.outputs if self.form[a] == ""]
        types = ", ".join(f"{a.dtype.name}{'[:, ::1]' if self.form[a] == 'rc' else '[::1]'}" for a in (*self.given, *self.outputs))
        head = f"def {self.title}({', '.join(map(self._argument, (*self.given, *self.outputs)))}):"
        return "\n".join([_decorated(f"void({types})"), head, *_indented(lines)])

    def call(self) -> list[str]:
        """The call of the function, among NumPy statements."""
        sizes = {
            "rc": f"({self.places.rows}, {self.places.columns})",
            "r": f"{self.places.rows}",
            "c": f"{self.places.columns}",
            "": "1",
        }
        lines = [f"{a.label} = np.empty({literal(a.shape)}, {_dtype(a)})" for a in self.outputs]
        arguments = [
            f"np.ascontiguousarray({a.label}).reshape({sizes[self.form[a]]})"
            if a in self.given
            else f"{a.label}.reshape({sizes[self.form[a]]})"
            for a in (*self.given, *self.outputs)
        ]
        lines.append(f"{self.title}({', '.join(arguments)})")
        lines += [f"{a.label} = {a.label}[()]" for a in self.outputs if not a.shape]
        return [
            *(lines if self.outputs else []),
            *[f"{a.label} = {self.root[a].label}.reshape({literal(a.shape)})" + ("" if a.shape else "[()]") for a in self.aliases],
        ]

    def _argument(self, name: Name) -> str:
        return f"{name.label}{ {'': '_', 'r': '_rows'}.get(self.form[name], '') }"

    def _value(self, a: Any, dtype: Any = None, here: Mapping[Any, str] = P.NONE) -> str:
        """A value at the row r and the column c, as far as it goes along them; ``here`` is what this loop calls its own."""
        if not isinstance(a, Name):
            return _literal(a, dtype)
        a = self.root[a]
        if _of(a) == "full":
            return _literal(a.params["value"], a.dtype)
        if self.form[a] == "rc":
            return here.get(a, f"{a.label}[r, c]")
        return f"{a.label}[c]" if self.form[a] == "c" else a.label or ""

    def _right(self, name: Name, here: Mapping[Any, str] = P.NONE) -> str:
        """The right-hand side of a statement."""
        if _of(name) in SAME:
            return self._value(name.inputs[0], None, here)
        among = [a.dtype for a in name.inputs if isinstance(a, Name) and a.dtype != bool]
        args = [self._value(a, among[0] if among else name.dtype, here) for a in name.inputs]
        if _of(name) == "exp" and name.dtype == np.float32 and self.form[name] == "rc":
            return f"exp32({args[0]})"
        return _expression(name, args)

    def _vectors(self, names: list[Name]) -> list[str]:
        """Between two passes: what goes along the columns, in one loop where nothing is summed up, and single numbers."""
        lines: list[str] = []
        loop: list[str] = []

        def end() -> None:
            lines.extend(["for c in range(columns):", *_indented(loop)] if loop else [])
            loop.clear()

        for name in names:
            target = loop if self.form[name] == "c" else lines
            if name in self.sums:
                if self.form[name.inputs[0]] == "c":
                    end()
                    lines += [f"{name.label} = {_start(name)}", "for c in range(columns):"]
                    lines.append(f"    {_add(name, name.label or '', self._value(name.inputs[0]))}")
                if _of(name) == "mean":
                    target.append(f"{self._value(name)} /= {_literal(float(name.inputs[0].value.size // _size(name)), name.dtype)}")
            else:
                if target is lines:
                    end()
                target.append(f"{self._value(name)} = {self._right(name)}")
        end()
        return [line.replace("range(columns)", f"range({self.places.columns})") for line in lines]

    def _pass(self, at: int) -> list[str]:
        """A pass over the rows: the sums that it completes, and the results that can be given by now."""
        sums = [a for a in self.sums if "r" in self.form[a.inputs[0]] and self.at[a.inputs[0]] == at]
        outputs = [a for a in self.outputs if self.form[a] == "rc" and self.at[a] == at]
        rows = [a for a in self.names if self.form[a] == "r" and self.at[a] == at and a not in self.alias]
        if not (sums or outputs or rows):
            return []
        turns = [
            ([a for a in sums if self.turn[a.inputs[0]] == turn], {a for a in outputs if self.turn[a] == turn})
            for turn in range(max([self.turn[a.inputs[0]] for a in sums] + [self.turn[a] for a in (*outputs, *rows)]) + 1)
        ]
        self.filled = set()
        needed = [self._needed([*[a.inputs[0] for a in sums], *outputs]) for sums, outputs in turns]
        self.row = dict.fromkeys(
            self.root[a.inputs[0]] for a in sums if self.form[a.inputs[0]] == "rc" and self.form[a] in ("r", "")
        )
        for i, names in enumerate(needed):  # what takes long is kept for a later turn: a row stays in the cache
            self.row |= dict.fromkeys(a for a in names if _of(a) not in QUICK and any(a in {*later} for later in needed[i + 1 :]))
        buffers = [f"{a.label}_row = np.empty({self.places.columns}, {_dtype(a)})" for a in self.row if a in self.own]
        body: list[str] = []
        for turn, (ending, given) in enumerate(turns):
            body += [f"{a.label} = {self._right(a)}" for a in rows if self.turn[a] == turn and a not in self.sums]
            body += self._turn(ending, given)
        body += [f"{a.label}_rows[r] = {a.label}" for a in rows if a in self.kept]
        earlier = [a for a in self.form if self.form[a] == "r" and self.root[a] is a and (a in self.given or self.at[a] < at)]
        loads = [f"{a.label} = {a.label}_rows[r]" for a in earlier if any(re.search(rf"\b{a.label}\b", line) for line in body)]
        starts = [f"{a.label}{'[:]' if self.form[a] == 'c' else ''} = {_start(a)}" for a in sums if self.form[a] != "r"]
        return [*buffers, *starts, f"for r in range({self.places.rows}):", *_indented([*loads, *body])]

    def _turn(self, sums: list[Name], outputs: set[Name]) -> list[str]:
        """A turn over a row's columns, with the sums that it completes, or adds to."""
        across = [a for a in sums if self.form[a.inputs[0]] == "rc"]
        here = {a: f"{a.label}_row[c]" for a in self.filled}
        needed = self._needed([*[a.inputs[0] for a in across], *outputs])
        used = {self.root[b] for a in needed for b in a.uses()} | {self.root[a.inputs[0]] for a in across if self.form[a] == "c"}
        loop: list[str] = []
        for a in needed:
            places = [f"{a.label}[r, c]"] * (a in outputs) + [f"{a.label}_row[c]"] * (a in self.row)
            right = self._right(a, here)
            if a in used or len(places) != 1:
                here[a] = f"{a.label}_" if a in self.outputs else a.label or ""  # the array has the name itself
                loop += [f"{here[a]} = {right}", *[f"{place} = {here[a]}" for place in places]]
            else:
                loop.append(f"{places[0]} = {right}")
        self.filled |= {a for a in needed if a in self.row}
        loop += [_add(a, f"{a.label}[c]", self._value(a.inputs[0], None, here)) for a in across if self.form[a] == "c"]
        lines = [f"for c in range({self.places.columns}):", *_indented(loop)] if loop else []
        for a in sums:
            source, n = self.root[a.inputs[0]], a.inputs[0].value.size // _size(a)
            of = "sum" if _of(a) == "mean" else _of(a)
            along = (
                f"row_{of}({source.label}{'_row' if source in self.own else '[r]'})"
                if self.form[source] == "rc"
                else self._value(source)
            )
            if self.form[a] == "":
                lines.append(_add(a, a.label or "", along))
            elif self.form[a] == "r":
                lines.append(f"{a.label} = {along}" + f" / {_literal(float(n), a.dtype)}" * (_of(a) == "mean"))
        return lines

    def _needed(self, targets: Iterable[Name]) -> list[Name]:
        """The values of the batch that a loop has to compute, in order."""
        needed: set[Name] = set()
        todo = [self.root[a] for a in targets]
        while todo:
            a = todo.pop()
            if a in self.own and self.form[a] == "rc" and a not in needed and a not in self.filled and _of(a) != "full":
                needed.add(a)
                todo += [self.root[b] for b in a.uses()]
        return [a for a in self.names if a in needed]


def _of(name: Name) -> str:
    return name.primitive.name if name.primitive else ""


def _dtype(name: Name) -> str:
    return "np.bool_" if name.dtype == bool else f"np.{name.dtype.name}"


def _size(name: Name) -> int:
    return max(1, math.prod(name.shape))


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _start(name: Name) -> str:
    return _literal({"max": -math.inf, "min": math.inf}.get(_of(name), 0.0), name.dtype)


def _add(name: Name, to: str, value: str) -> str:
    if _of(name) in ("max", "min"):
        return f"{to} = {value} if {value} {'>' if _of(name) == 'max' else '<'} {to} or {value} != {value} else {to}"
    return f"{to} += {value}"
