"""A compiled program: machine code for what a program says, and the cache of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..engine import as_single
from ..files import write_whole
from . import loops, machine
from .program import Program


class Compiled:
    """A compiled program: called as the program is, and gives the same bits, or numbers within the bound of a running error
    analysis where a sum is taken in another order or a function of a number is the C library's and not NumPy's.

    The same bits: sums and means over the first axes, and +, −, ×, ÷, √, comparisons and selections. Within the bound: sums along
    a row, whose order is the processor's vector's and NumPy's is by pairs; over the first axes as well, where such sums are
    needed in the same pass and a large batch is therefore cut into tiles of rows; exp, log, tanh and other powers than 2.

    A batch of half a million numbers or more is computed by threads, a tile each. Tiles depend on the shape alone, and their sums
    are added up in order, so that the numbers do not depend on how many threads there are.

    Freed, it leaves behind what LLVM keeps of a compilation in this process: about two megabytes for a program of arrays, a tenth
    of one where it came from the cache.

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
        names = [*program.given, *program.statements]
        for name in names:
            if name.dtype.kind == "O" or (name.dtype.kind == "f" and name.dtype.itemsize > 8):
                raise TypeError(f"compile() is for floats, and {name.label} is of {name.dtype}: the program itself runs on it")
        self.program = program
        self.single = all(not a.shape and a.dtype in (np.float64, bool) for a in names) and all(
            a.operation in loops.FUSED for a in program.statements
        )

    @cached_property
    def source(self) -> str:
        """The loops as they are compiled, a Python module; a program of single numbers is compiled as it stands."""
        return str(self.program) if self.single else loops.source(self.program)

    @cached_property
    def _machine(self) -> machine.Machine:
        return machine.Machine(self.program)

    @cached_property
    def _module(self) -> ModuleType:
        module = _loaded(self.source, self.program.name)
        weakref.finalize(self, vars(module).clear)  # Numba holds on to a function's module, and so to the function
        return module

    def __call__(self, *values: Any) -> Any:
        """The result; see ``Program``."""
        if self.single:
            return self._machine(self._fill(values))[0]
        return as_single(self._module.forward(*self.program.fitted(values), *self.program.arrays))

    def gradients(self, *values: Any) -> tuple[Any, Any]:
        """The result and the gradient of each input; see ``Program``."""
        if self.single:
            y, found = self._machine(self._fill(values))
            return y, found.copy() if _is_row(values) else tuple(found.tolist())
        y, gradients = self._module.gradients(*self.program.fitted(values, backward=True), *self.program.arrays)
        return as_single(y), tuple(map(as_single, gradients))

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
    finally:
        sys.modules.pop(spec.name, None)
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
