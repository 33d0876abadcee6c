"""A program of single numbers as machine code: a statement is an instruction."""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, c_double, c_void_p
from functools import partial
from typing import Any

import numpy as np

from .loops import REDUCTIONS, SAME
from .name import Name
from .program import Program
from .python import COMPARISONS, FUNCTIONS


class Machine:
    """A program of single numbers as one function, by LLVM, which Numba is built on.

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

        operations = {
            **dict.fromkeys((*REDUCTIONS, *SAME), lambda a, **_: a),
            **{of: partial(call, of) for of in FUNCTIONS},  # the C library's, but for √
            **{"add": b.fadd, "sub": b.fsub, "mul": b.fmul, "div": b.fdiv, "neg": b.fneg, "where": b.select},
            **{of: partial(b.fcmp_ordered, sign) for of, sign in COMPARISONS.items()},
            **{"not_equal": partial(b.fcmp_unordered, "!="), "pow": power, "power": partial(call, "pow")},
            **{"abs": partial(call, "llvm.fabs.f64"), "sqrt": partial(call, "llvm.sqrt.f64")},
            **{"maximum": partial(larger, sign=">"), "minimum": partial(larger, sign="<")},
            "relu": lambda a, zero: b.select(b.fcmp_ordered(">", zero, a), zero, a),
            "astype": lambda a, dtype: a if a.type == number else b.uitofp(a, number),
        }
        for name in p.statements:
            values[name] = operations[name.operation](*map(value, name.inputs), **name.params)
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
