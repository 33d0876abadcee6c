"""A program of arrays as loops, with nothing as large as the batch stored between: what a person could have written for Numba.

The largest shape is seen as rows of columns; where statistics are taken over the axes before and behind one, as over images and
their pixels, rows belong to channels. All statements that go element by element, and reductions of the batch, become
loops. A sum over the rows is a pass over the memory that has to end before what needs it can begin; a sum over a row's columns ends
within the row. So each pass computes all it can, and computes again, rather than stores, what a later one needs. What does not fit
into loops (a product of matrices, a fancy index) stays a NumPy statement between them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..shapes import Shape, axes
from .name import FULL, Name
from .program import Program
from .python import ARITHMETIC, FUNCTIONS, function, literal, parts, statement

REDUCTIONS = ("sum", "mean", "max", "min")
SAME = ("reshape", "broadcast")  # the same numbers, where places have names
SCALAR = {  # a statement of single numbers, for Numba
    **ARITHMETIC,
    **{of: f"np.{of}({{}})" for of in FUNCTIONS},
    **{"abs": "abs({})", "where": "{1} if {0} else {2}", "power": "np.power({}, {})"},
    **{"maximum": "{0} if {0} > {1} or {0} != {0} else {1}", "minimum": "{0} if {0} < {1} or {0} != {0} else {1}"},
    "relu": "{1} if {1} > {0} else {0}",
}
POWERS = {2: "{0} * {0}", 1: "{}", 0.5: "np.sqrt({})", -1: "1 / {}"}
FUSED = {*SCALAR, *REDUCTIONS, *SAME, "pow", "astype"}
SLOW = (*FUNCTIONS, "div", "pow", "power", "maximum", "minimum", "abs", "relu")  # not computed twice within a row
DTYPES = ("float32", "float64", "bool")
TILE = 2**18  # numbers, at least: what takes longer than to wake a thread
TILES = 16  # at most
NARROW = 512  # columns, at least: where a tile's rows are short, memory is not fast

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

from micrograd_bn.numbers.threads import tiled'''


def source(p: Program) -> str:
    """The module: a function for each group of loops, and ``forward`` and ``gradients``, which call them."""
    sizes = max((a.shape for a in (*p.given, *p.statements)), key=lambda s: (math.prod(s), len(s)))
    n = len(sizes)
    splits = [*[(i, i) for i in range(n + 1)], *[(i, j) for j in range(n) for i in range(1, j)]]
    places = max((Places(p, sizes, *split) for split in splits), key=lambda a: (len(a.fused), a.first == a.last, -abs(a.first - 1)))
    functions: list[str] = []
    drivers: list[str] = []
    for which, given, needed, result in parts(p):
        targets = {a for a in (p.result, *(p.gradient if which == "gradients" else ())) if isinstance(a, Name)}
        plain: list[Name] = []  # what stays a NumPy statement
        body: list[str] = []
        number = itertools.count(1)
        for fused, rest in _groups(needed, places):
            if fused:
                within = {*rest}
                wanted = targets.union(*[a.uses() for a in needed if a not in within])
                loops = Loops(f"{which}_{next(number)}", rest, wanted, places)
                rest = loops.rest
                if loops.outputs:
                    functions.append(loops.source())
                    body += loops.call()
            plain += rest
            body += [line for a in rest for line in statement(a)]
        repeated = targets.union(*[a.uses() for a in plain])
        body[:0] = [line for a in needed if a.primitive is FULL and a in repeated for line in statement(a)]
        drivers.append(function(which, given, body, result))
    helpers = [text for word, text in HELPERS.items() if any(f"{word}(" in text for text in (*functions, *drivers))]
    return "\n\n\n".join([HEAD.format(name=p.name), *helpers, *functions, *drivers]) + "\n"


def _groups(names: Sequence[Name], places: Places) -> list[tuple[bool, list[Name]]]:
    """The statements in an order in which those that become loops are as few groups as can be, apart from those that do not."""
    level: dict[Name, int] = {}
    groups: dict[tuple[int, bool], list[Name]] = {}
    for name in names:
        if name.primitive is not FULL:  # one number repeated is written wherever it is used
            own = name in places.fused
            level[name] = max([level[a] + ((a in places.fused) != own) for a in name.uses() if a in level], default=0)
            groups.setdefault((level[name], own), []).append(name)
    return [(fused, groups[at, fused]) for at, fused in sorted(groups)]


class Places:
    """Which of rows, channels and columns each array goes along, as letters: "rc" or, with channels, "rmc" is the batch, "r" or
    "rm" a number for each row, "m" for each channel, "c" for each column, "" a single one.

    The largest shape's axes before ``first`` and those between it and ``last`` make the rows, a row's channel being its place along
    the latter; those from ``last`` on are columns.
    """

    def __init__(self, p: Program, sizes: Shape, first: int, last: int):
        self.sizes, self.first, self.last = sizes, first, last
        self.row = "rm" if first < last else "r"
        self.batch = self.row + "c"
        self.extent = {"r": math.prod(sizes[:first]), "m": math.prod(sizes[first:last]), "c": math.prod(sizes[last:])}
        self.extent[self.row] = math.prod(sizes[:last])
        groups = {"r": range(first), "m": range(first, last), "c": range(last, len(sizes))}
        self.forms = {  # by the axes, without those of size 1; the batch comes first where it is the same as another
            frozenset(i for letter in form for i in groups[letter] if sizes[i] != 1): form
            for form in ("c", "m", self.row, self.batch, "")
        }
        self.along: dict[Name, tuple[int | None, ...] | None] = {}
        self.fused: set[Name] = set()
        for name in (*p.given, *p.statements):
            found = self._of(name) if name.operation in FUSED and not isinstance(name.params.get("exponent"), Name) else None
            if found is not None:
                self.fused.add(name)
            self.along[name] = found or self._aligned(name.shape)

    def form(self, name: Name) -> str:
        """The letters that it goes along."""
        return self._letters(self.along[name] or ()) or ""

    def _letters(self, along: Sequence[int | None]) -> str | None:
        return self.forms.get(frozenset(along) - {None})  # type: ignore[arg-type]

    def _aligned(self, shape: Shape) -> tuple[int | None, ...] | None:
        """The axes that an array of this shape goes along where it meets the largest, or None if it does not fit."""
        n = len(self.sizes)
        last = range(n - len(shape), n) if len(shape) <= n else ()
        if last != () and all(k in (1, self.sizes[i]) for k, i in zip(shape, last)):
            return self._allowed([None if k == 1 else i for k, i in zip(shape, last)])
        if shape == self.sizes[: self.last]:
            return self._allowed([None if k == 1 else i for i, k in enumerate(shape)])
        return None

    def _allowed(self, found: Sequence[int | None]) -> tuple[int | None, ...] | None:
        some = [i for i in found if i is not None]
        return tuple(found) if some == sorted({*some}) and self._letters(found) is not None else None

    def _of(self, name: Name) -> tuple[int | None, ...] | None:
        """The axes of what a statement makes of its inputs' axes; None: it does not go by places."""
        inputs: list[Any] = [self.along.get(a) for a in name.uses() if a.primitive is not FULL]
        if not inputs or None in inputs or 0 in name.shape or name.dtype.name not in DTYPES:
            return None
        found: list[int | None] = []
        of = name.operation
        if of in REDUCTIONS:
            (along,), source = inputs, name.inputs[0]
            reduced, keep = axes(len(along), name.params["axis"]), name.params["keepdims"]
            if any(along[i] is None and source.shape[i] != 1 for i in reduced):
                return None
            found = [None if i in reduced else a for i, a in enumerate(along) if keep or i not in reduced]
            if "r" not in self.form(source) and self._letters(found) != self.form(source):
                return None  # a sum along a vector is NumPy's
        elif of == "reshape":
            (along,), sizes = inputs, name.inputs[0].shape
            if [n for n in sizes if n != 1] != [n for n in name.shape if n != 1]:
                return None
            left = iter([a for a, n in zip(along, sizes) if n != 1])
            found = [None if n == 1 else next(left) for n in name.shape]
        else:
            # What is repeated goes along the axes of what it is repeated to.
            repeated = of == "broadcast" or any(a.primitive is FULL for a in name.uses())
            to = (repeated and self._aligned(name.shape)) or (None,) * len(name.shape)
            for i in range(-len(name.shape), 0):
                here = {a[i] for a in inputs if len(a) >= -i} - {None}
                if len(here) > 1:
                    return None
                found.append(here.pop() if here else to[i])
        return self._allowed(found) if [n == 1 for n in name.shape] == [a is None for a in found] else None


class Loops:
    """A group of statements as one function of loops over rows and columns.

    Each value has a pass over the rows in which it can first be computed, and in that a turn over a row's columns: what needs a sum
    over the rows has to wait for the next pass, what needs a sum over a row's columns for the next turn.

    A large batch is cut into tiles, along an axis of which the passes are independent: a function computes a tile, and sums that
    cross tiles are the function's results, one for each tile, added up in order.
    """

    def __init__(self, title: str, names: list[Name], wanted: set[Name], places: Places):
        self.title, self.places, self.own = title, places, {*names}
        self.form = {a: places.form(a) for name in names for a in (name, *name.uses())}
        self.root: dict[Name, Name] = {}  # reshaped numbers are the same numbers
        self.at, self.turn = dict.fromkeys(self.form, 0), dict.fromkeys(self.form, 0)
        for name in names:
            self._schedule(name)
        self.last = max([self.at[a] for name in names for a in (name, *name.uses()) if "r" in self.form[a]], default=-1)
        # What comes after the last pass, and what is called by another name, is NumPy's.
        rest = [a for a in names if a in self.root or ("r" not in self.form[a] and self.at[a] > self.last and not self._is_sum(a))]
        wanted = {*wanted}
        self.rest: list[Name] = []
        for name in reversed(rest):
            if name in wanted:
                self.rest.insert(0, name)
                wanted.update(name.uses())
        after = {*rest}
        self.names = [a for a in names if a not in after]
        self.given = dict.fromkeys(
            b for a in self.names for b in map(self._of, a.uses()) if b not in self.own and b.primitive is not FULL
        )
        # Dicts, for they are ordered, and asked who is in them: a list would compare Names, which they write down.
        self.outputs = dict.fromkeys(a for a in self.names if a in wanted)
        self.sums = dict.fromkeys(a for a in self.names if self._is_sum(a))
        later = {self._of(b) for a in self.names for b in a.uses() if self.at[b] < self.at[a] - (a in self.sums)}
        self.kept = {a for a in self.names if self.form[a] == places.row and (a in later or a in self.outputs)}
        self.axis, self.tiles = self._tiling()
        self.partial = {a for a in self.outputs if self.tiles > 1 and self.axis not in self.form[a]}  # one for each tile
        self.filled: set[Name] = set()

    def _schedule(self, name: Name) -> None:
        inputs = [*name.uses()]
        form, at = self.form[name], max([self.at[a] for a in inputs], default=0)
        turn = max([self.turn[a] for a in inputs if self.at[a] == at], default=0)
        if name.operation in (*SAME, *REDUCTIONS) and self.form[inputs[0]] == form:
            self.root[name] = self._of(inputs[0])
        elif name.operation in REDUCTIONS:
            at, turn = (at, turn + 1) if form == self.places.row else (at + 1, 0)
        self.at[name], self.turn[name] = at, turn if "r" in form else 0

    def _of(self, a: Name) -> Name:
        return self.root.get(a, a)

    def _is_sum(self, a: Name) -> bool:
        return a.operation in REDUCTIONS and a not in self.root

    def _tiling(self) -> tuple[str, int]:
        """The axis along which a large batch is cut, and into how many tiles: the same on every machine."""
        used = {self._of(b) for a in self.names for b in a.uses()}
        crossing = {
            axis: [a for a in self.sums if axis in self.form[a.inputs[0]] and axis not in self.form[a]]
            for axis in self.places.batch
        }
        possible = [axis for axis, sums in crossing.items() if not sums or (axis != "c" and not used & {*sums})]
        if not possible:
            return "r", 1
        axis = min(possible, key=lambda axis: len(crossing[axis]))
        most = self.places.extent[axis] // (NARROW if axis == "c" else 1)
        return axis, max(1, min(TILES, math.prod(self.places.sizes) // TILE, most))

    # ---- the function, and its call

    def source(self) -> str:
        """The function."""
        lines = [f"{_label(a)} = {self._array(a)}[0]" for a in self.given if self.form[a] == ""]
        lines += [f"{self._array(a)} = {self._parameter(a)}[tile]" for a in self.outputs if a in self.partial and self.form[a]]
        lines += [
            f"{self._array(a)} = np.empty({self.places.extent[self.form[a]]}, {_dtype(a)})"
            for a in self.names
            if a not in self.outputs and (self.form[a] in ("c", "m") or a in self.kept)
        ]
        for at in range(self.last + 1):
            lines += self._between(at) + self._pass(at)
        lines += [
            f"{self._parameter(a)}[{'tile' if a in self.partial else '0'}] = {_label(a)}"
            for a in self.outputs
            if self.form[a] == ""
        ]
        arrays = (*self.given, *self.outputs)
        tile = ["tile", "start", "stop"] if self.tiles > 1 else []
        types = [*["uintp" for _ in tile], *map(self._type, arrays)]  # a signed index may be negative, and Numba looks
        head = f'@njit("void({", ".join(types)})", cache=True, nogil=True, error_model="numpy")'
        return "\n".join([head, f"def {self.title}({', '.join([*tile, *map(self._parameter, arrays)])}):", *_indented(lines)])

    def call(self) -> list[str]:
        """The call of the function, among NumPy statements."""
        row, columns = (self.places.extent[axis] for axis in (self.places.row, "c"))
        extent = {**self.places.extent, "": 1, self.places.batch: f"({row}, {columns})"}
        arguments = [f"np.ascontiguousarray({a.label}, {_dtype(a)}).reshape({extent[self.form[a]]})" for a in self.given]
        before, after = [], []
        for a in self.outputs:
            if a in self.partial:
                tiles = f"{a.label}_tiles"
                before.append(
                    f"{tiles} = np.empty({literal((self.tiles, *([extent[self.form[a]]] if self.form[a] else [])))}, {_dtype(a)})"
                )
                arguments.append(tiles)
                of = "sum" if a.operation == "mean" else a.operation
                added = f"{tiles}.{of}(axis=0)" if a in self.sums else f"{tiles}[0]"
                after.append(f"{a.label} = {added}" + f".reshape({literal(a.shape)})" * bool(a.shape))
            else:
                before.append(f"{a.label} = np.empty({literal(a.shape)}, {_dtype(a)})")
                arguments.append(f"{a.label}.reshape({extent[self.form[a]]})")
                after += [f"{a.label} = {a.label}[()]"] * (not a.shape)
            if a.operation == "mean" and self.at[a] > self.last:
                after.append(f"{a.label} /= {_count(a)}")
        call = f"tiled({self.title}, {self.tiles}, {self.places.extent[self.axis]}, " if self.tiles > 1 else f"{self.title}("
        return [*before, f"{call}{', '.join(arguments)})", *after]

    def _array(self, a: Name) -> str:
        """What the array is called whose numbers at the places of a loop have the name itself."""
        form = self.form[a]
        if form == self.places.batch:
            return f"{_label(a)}_" if a in self.own else _label(a)
        return f"{_label(a)}{ {self.places.row: '_rows', 'm': '_channels', 'c': '', '': '_'}[form] }"

    def _parameter(self, a: Name) -> str:
        return f"{_label(a)}_tiles" if a in self.partial else self._array(a)

    def _type(self, a: Name) -> str:
        rank = 1 + (self.form[a] == self.places.batch) + (a in self.partial and self.form[a] != "")
        return f"{a.dtype.name}[{':, ' * (rank - 1)}::1]"

    # ---- what stands in it

    def _value(self, a: Any, dtype: Any = None, here: Any = ()) -> str:
        """A value at the row, channel and column of a loop; ``here`` is what this loop has by now as a number."""
        if not isinstance(a, Name):
            return _literal(a, dtype)
        a = self._of(a)
        if a.primitive is FULL:
            return _literal(a.params["value"], a.dtype)
        if self.form[a] == self.places.batch and a not in here:
            return f"{_label(a)}_row[c]" if a in self.own else f"{_label(a)}[r, c]"
        number = f"{_label(a)}[c]" if self.form[a] == "c" else _label(a)
        return f"np.float32({number})" if type(a.value) is float and dtype == np.float32 else number

    def _right(self, name: Name, here: Any = ()) -> str:
        """The right-hand side of a statement."""
        strong = [a.dtype for a in name.uses() if a.dtype != bool and type(a.value) is not float]  # those that a float adapts to
        dtype = np.result_type(*strong) if strong else name.dtype if name.dtype != bool else np.dtype(float)
        args = [self._value(a, dtype, here) for a in name.inputs]
        of = name.operation
        if of in (*SAME, *REDUCTIONS):
            return args[0]
        if of == "pow":
            exponent = name.params["exponent"]
            return POWERS.get(exponent, f"np.power({{}}, {_literal(float(exponent), name.dtype)})").format(*args)
        if of == "astype":
            return f"{_dtype(name)}({args[0]})"
        if of == "exp" and name.dtype == np.float32 and self.form[name] == self.places.batch:
            return f"exp32({args[0]})"
        return SCALAR[of].format(*args)

    def _range(self, axis: str) -> str:
        return "range(start, stop)" if axis == self.axis and self.tiles > 1 else f"range({self.places.extent[axis]})"

    def _between(self, at: int) -> list[str]:
        """Before a pass: single numbers, and what goes along the channels or the columns."""
        lines: list[str] = []
        for form in ("", "m", "c"):
            here = dict.fromkeys(a for a in self.names if self.form[a] == form and self.at[a] == at)
            loop: list[str] = []
            for a in here:
                array = f"{self._array(a)}[{form}]"
                if a in self.sums:
                    right = f"{array if form else _label(a)}" + f" / {_count(a)}" * (a.operation == "mean")
                else:
                    right = self._right(a)
                to = {"": _label(a), "m": f"{_label(a)} = {array}", "c": array}[form]
                if a not in self.sums or a.operation == "mean" or form == "m":
                    loop.append(f"{to} = {right}")
            if form == "m":
                loop[:0] = self._loads({b for a in here for b in a.uses()} - {*here})
            lines += [f"for {form} in {self._range(form)}:", *_indented(loop)] if form and loop else loop
        return lines

    def _loads(self, used: set[Name]) -> list[str]:
        """What a row, or a channel, has of its own."""
        index = {"m": "m", self.places.row: "r"}
        own = [a for a in (*self.given, *self.names) if a in used and self.form[a] in index]
        return [f"{_label(a)} = {self._array(a)}[{index[self.form[a]]}]" for a in own]

    def _pass(self, at: int) -> list[str]:
        """A pass over the rows: the sums that it completes, and the results that can be given by now."""
        row, batch = self.places.row, self.places.batch
        sums = [a for a in self.sums if self.at[a.inputs[0]] == at]
        outputs = [a for a in self.outputs if self.form[a] == batch and self.at[a] == at]
        rows = dict.fromkeys(a for a in self.names if self.form[a] == row and self.at[a] == at)
        if not (sums or outputs or rows):
            return []
        turns = range(max([self.turn[a.inputs[0]] for a in sums] + [self.turn[a] for a in (*outputs, *rows)]) + 1)
        ending = [[a for a in sums if self.turn[a.inputs[0]] == turn] for turn in turns]
        self.filled = set()
        needed = [
            self._needed([*[a.inputs[0] for a in ending[turn]], *[a for a in outputs if self.turn[a] == turn]]) for turn in turns
        ]
        # What a row keeps: what is summed up along it, and what takes long and is needed in a later turn.
        keeps = {self._of(a.inputs[0]) for a in sums if self.form[a.inputs[0]] == batch and self.form[a] != "c"} & self.own
        keeps |= {
            a
            for i, names in enumerate(needed)
            for a in names
            if a.operation in SLOW and any(a in later for later in needed[i + 1 :])
        }
        body: list[str] = []
        for turn in turns:
            body += [f"{_label(a)} = {self._right(a)}" for a in rows if self.turn[a] == turn and a not in self.sums]
            body += self._turn(ending[turn], [a for a in outputs if self.turn[a] == turn], keeps)
        body += [f"{_label(a)}_rows[r] = {_label(a)}" for a in rows if a in self.kept]
        computed = {*rows, *sums}.union(*needed)
        loads = self._loads({self._of(b) for a in computed for b in a.uses()} - {*rows})
        return [
            *[f"{_label(a)}_row = np.empty({self.places.extent['c']}, {_dtype(a)})" for a in self.names if a in keeps],
            *[f"{self._whole(a)} = {_start(a)}" for a in sums if self.form[a] != row],
            *self._rows([*loads, *body]),
        ]

    def _whole(self, a: Name) -> str:
        """A sum, from before its first row on: all of it, or this tile's part."""
        if not self.form[a]:
            return _label(a)
        return f"{self._array(a)}[{'start:stop' if self.tiles > 1 and self.axis == self.form[a] else ':'}]"

    def _rows(self, body: list[str]) -> list[str]:
        """A loop over the rows, with r the row, and m its channel."""
        if self.places.row == "r":
            return [f"for r in {self._range('r')}:", *_indented(body)]
        inner = [f"for m in {self._range('m')}:", *_indented([f"r = n * {self.places.extent['m']} + m", *body])]
        return [f"for n in {self._range('r')}:", *_indented(inner)]

    def _turn(self, sums: list[Name], outputs: list[Name], keeps: set[Name]) -> list[str]:
        """A turn over a row's columns, with the sums that it completes, or adds to."""
        across = dict.fromkeys(a for a in sums if self.form[a.inputs[0]] == self.places.batch)
        loop: list[str] = []
        here: set[Name] = set()
        for a in self._needed([*[a.inputs[0] for a in across], *outputs]):
            loop.append(f"{_label(a)} = {self._right(a, here)}")
            loop += [f"{self._array(a)}[r, c] = {_label(a)}"] * (a in self.outputs) + [f"{_label(a)}_row[c] = {_label(a)}"] * (
                a in keeps
            )
            here.add(a)
        self.filled |= here & keeps
        loop += [_add(a, f"{_label(a)}[c]", self._value(a.inputs[0], None, here)) for a in across if self.form[a] == "c"]
        lines = [f"for c in {self._range('c')}:", *_indented(loop)] if loop else []
        for a in sums:
            if self.form[a] != "c":
                source = self._of(a.inputs[0])
                of = "sum" if a.operation == "mean" else a.operation
                along = (
                    f"row_{of}({_label(source)}{'_row' if source in self.own else '[r]'})" if a in across else self._value(source)
                )
                if self.form[a] == self.places.row:
                    lines.append(f"{_label(a)} = {along}" + f" / {_count(a)}" * (a.operation == "mean"))
                else:
                    lines.append(_add(a, f"{_label(a)}_channels[m]" if self.form[a] else _label(a), along))
        return lines

    def _needed(self, targets: Iterable[Name]) -> dict[Name, None]:
        """The values of the batch that a loop has to compute, in order."""
        needed: set[Name] = set()
        todo = [self._of(a) for a in targets]
        while todo:
            a = todo.pop()
            if a in self.own and self.form[a] == self.places.batch and a not in needed and a not in self.filled:
                needed.add(a)
                todo += map(self._of, a.uses())
        return dict.fromkeys(a for a in self.names if a in needed)


def _literal(value: Any, dtype: Any) -> str:
    """A constant as a number of the dtype that it takes among arrays of it."""
    own = getattr(value, "dtype", dtype)
    return literal(np.float32(value) if own == np.float32 else float(value) if own.kind == "f" else value)


def _label(name: Name) -> str:
    """What it is called within a function, which has variables of its own: a name that could be one of them gets a 0 more."""
    return re.sub(r"^((r|c|m|n|tile|start|stop|.*_(row|rows|channels|tiles)?)0*)$", r"\g<1>0", name.label or "")


def _dtype(name: Name) -> str:
    return "np.bool_" if name.dtype == bool else f"np.{name.dtype.name}"


def _count(name: Name) -> str:
    """How many numbers each of a mean's is the mean of."""
    return _literal(float(name.inputs[0].value.size // max(1, math.prod(name.shape))), name.dtype)


def _start(name: Name) -> str:
    return _literal({"max": -math.inf, "min": math.inf}.get(name.operation, 0.0), name.dtype)


def _add(name: Name, to: str, value: str) -> str:
    if name.operation in ("max", "min"):
        return f"{to} = {value} if {value} {'>' if name.operation == 'max' else '<'} {to} or {value} != {value} else {to}"
    return f"{to} += {value}"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
