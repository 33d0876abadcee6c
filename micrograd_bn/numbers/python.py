"""A program in Python: a module of two functions that needs NumPy and nothing else."""

from __future__ import annotations

import html
import json
import keyword
import math
import re
import textwrap
from collections.abc import Container, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import primitives as P
from ..engine import Step
from ..shapes import shape
from .name import Name, kind

if TYPE_CHECKING:
    from .program import Program

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
COMPARISONS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
FUNCTIONS = ("sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh")
ARITHMETIC = {of: f"{{}} {sign} {{}}" for of, sign in {**INFIX, **COMPARISONS}.items()} | {"neg": "-{}"}  # in any of our languages
RIGHT = {
    **ARITHMETIC,
    **{"matmul": "{} @ {}", "pow": "{} ** {}", "power": "{} ** {}", "abs": "abs({})", "relu": "max({}, {})"},
    **{"maximum": "np.maximum({}, {})", "minimum": "np.minimum({}, {})"},
}
UFUNCS = {  # by NumPy's names
    **{of: of for of in (*FUNCTIONS, "maximum", "minimum")},
    **{"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "abs": "abs"},
}
OWN = {  # where a kind of number has no such function of its own, as in ``kinds``
    **{"sqrt": "float(np.float64(a) ** 0.5)", "log": "a.ln()", "expm1": "a.exp() - 1", "log1p": "(1 + a).ln()"},
    "tanh": "1 - 2 / ((2 * a).exp() + 1)",
}
VIEWS = ("reshape", "transpose", "broadcast", "getitem")  # what NumPy may give as a view, not an array of its own
WRITTEN = 64  # numbers of a constant array that stands in the module itself
IMPORTS = {"Decimal": "from decimal import Decimal\n", "Fraction": "from fractions import Fraction\n"}
CHECK = """def check(**given):
    for name, value in given.items():
        if np.shape(value) != SHAPES[name]:
            raise ValueError(f"{name}: the statements are for shape {SHAPES[name]}, and this has {np.shape(value)}")"""


# ---- A statement


def literal(value: Any) -> str:
    """A constant, or the name of a Name, as source: every float comes back bit for bit."""
    if isinstance(value, Name):
        return value.label or "?"
    if isinstance(value, np.floating) and type(value) is not np.float64:
        return f"np.{value.dtype.name}({literal(value.item()).strip('()')})"
    if isinstance(value, (bool, np.bool_, int, float, np.integer)):
        value = value.item() if isinstance(value, np.generic) else value
        text = repr(value) if math.isfinite(value) else "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"
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


def statement(name: Name) -> list[str]:
    """A Name's statement, as a line; several where an array is filled at some places."""
    if name.primitive is not P.scatter:
        return [f"{name.label} = {_right(name)}"]
    (a,), index, to = map(literal, name.inputs), name.params["index"], name.params["to"]
    plain = all(i is None or i is ... or isinstance(i, (int, slice)) for i in (index if isinstance(index, tuple) else (index,)))
    half = name.dtype == np.float16  # added up in float32
    dtype = "np.float32" if half else literal(name.dtype) if name.dtype.kind == "f" else "object"
    after = ".astype(np.float16)" * half + "[()]" * (not to)
    return [
        f"{name.label} = np.zeros({literal(to)}, {dtype})",
        f"{name.label}[{_index(index)}] += {a}" if plain else f"np.add.at({name.label}, {literal(index)}, {a})",
        *([f"{name.label} = {name.label}{after}"] if after else []),
    ]


def operands(name: Name) -> list[Any]:
    """What a statement computes with: the inputs, and an exponent."""
    return [*name.inputs, *[a for key, a in name.params.items() if key == "exponent"]]


def arguments(name: Name) -> list[str]:
    """The operands as source: of a computed float, which is NumPy's and would make float64 of what it meets, Python's."""
    given = operands(name)
    narrow = any(a.dtype.kind == "f" and a.dtype.itemsize < 8 for a in given if isinstance(a, (Name, np.floating)))
    # With floats NumPy is faster than with integers.
    floats = bool(name.shape) and name.dtype.kind == "f" and name.primitive is not P.pow
    return [
        f"float({literal(a)})"
        if narrow and isinstance(a, Name) and type(a.value) is float
        else literal(float(a) if floats and type(a) is int else a)
        for a in given
    ]


def _right(name: Name) -> str:
    """The right-hand side of a Name's statement."""
    of, p = name.operation, {key: literal(a) for key, a in name.params.items()}
    args = arguments(name)
    first: Any = name.inputs[0].value if name.inputs and isinstance(name.inputs[0], Name) else None
    whole = isinstance(first, np.ndarray) and first.ndim > 0  # it has methods, in the program too
    single = "" if name.shape else "[()]"  # a number as such, as the engine keeps it, not an array without axes
    half = name.dtype == np.float16
    if of in RIGHT:
        exponent = name.params.get("exponent", 0.5) if of in ("pow", "power") else 1
        if type(name.value) is float and not isinstance(exponent, int) and exponent % 1:  # below 0, Python's would be complex
            args[0] = f"np.float64({args[0]})"
        return RIGHT[of].format(*args)
    match of:
        case "full":
            return f"np.full({p['shape']}, {p['value']})"
        case "where":
            if all(type(a.value if isinstance(a, Name) else a) in (bool, float, Decimal, Fraction) for a in name.inputs):
                return f"{args[1]} if {args[0]} else {args[2]}"
            return f"np.where({', '.join(args)}){single}"
        case "sum" | "mean" | "max" | "min" | "prod":
            axis = name.params["axis"]
            axis = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
            over = [f"axis={literal(axis)}"] * (axis is not None) + ["keepdims=True"] * bool(name.params["keepdims"])
            if not whole:
                return f"np.{of}({', '.join([args[0], *over])})"
            if of == "sum" and half:
                return f"{args[0]}.sum({', '.join([*over, 'dtype=np.float32'])}).astype(np.float16)"
            if of == "mean" and first.size and first.dtype.kind == "f" and not half:  # as ``primitives`` does it
                return f"{args[0]}.sum({', '.join(over)}) / {first.size / max(1, math.prod(name.shape))}"
            return f"{args[0]}.{of}({', '.join(over)})"
        case "astype":
            return f"{args[0]}.astype({p['dtype']})" if whole else f"np.asarray({args[0]}, {p['dtype']})[()]"
        case "getitem":
            return f"{args[0] if whole else f'np.asarray({args[0]})'}[{_index(name.params['index'])}]{single}"
        case "concatenate":
            return f"np.concatenate([{', '.join(args)}], axis={p['axis']})"
        case "einsum":
            thin = ", dtype=np.float32).astype(np.float16)" if half else ")"
            return f"np.einsum({', '.join([p['subscripts'], *args])}{thin}{single}"
        case "cumsum":
            return f"np.cumsum({args[0]}, {p['axis']}{', np.float32).astype(np.float16)' if half else ')'}"
        case "reshape" | "transpose" | "broadcast":
            (how,) = p.values()
            called = "broadcast_to" if of == "broadcast" else of
            return (f"{args[0]}.{of}({how})" if whole and of != "broadcast" else f"np.{called}({args[0]}, {how})") + single
    return _function(of, args[0], first)


def _index(index: Any) -> str:
    if isinstance(index, tuple):
        return ", ".join(map(_index, index)) + "," * (len(index) == 1)
    if isinstance(index, slice):
        start, stop, step = ("" if a is None else str(a) for a in (index.start, index.stop, index.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return literal(index)


def _function(of: str, a: str, example: Any) -> str:
    try:
        with np.errstate(all="ignore"):
            getattr(np, of)(example)
    except (TypeError, AttributeError):
        if of not in OWN:
            raise TypeError(f"a program has no {of} of {type(example).__name__} numbers") from None
        return f"np.frompyfunc(lambda a: {OWN[of]}, 1, 1)({a})"
    return f"np.{of}({a})"


# ---- The module


def source(p: Program) -> str:
    """The module."""
    functions = []
    written = dict.fromkeys(a for a in p.constants if is_written(a))
    for name, given, names, result in parts(p):
        checked = ", ".join(f"{a.label}={a.label}" for a in given if a.shape)
        functions.append(function(name, given, [f"check({checked})"] * bool(checked) + body(p, names), result, written))
    text = "\n".join(functions)
    head = ["".join(line for word, line in IMPORTS.items() if word in text) + "import numpy as np"]
    if arrays := [f"{json.dumps(a.label, ensure_ascii=False)}: {literal(a.shape)}" for a in p.given if a.shape]:
        head.append(f"SHAPES = {{{', '.join(arrays)}}}")
        functions.append(CHECK)
    if written:
        head.append("\n".join([f"{a.label} = np.array({literal(a.value.tolist())}, {json.dumps(a.dtype.name)})" for a in written]))
    if p.reuse and p.largest is not None and (n := max(buffered(p, names)[1] for names in (p.statements, p.forward))):
        buffer = f"np.empty({literal(p.largest.shape)}, {literal(p.largest.dtype)})"
        head.append(f"# Written over by every call, so one call at a time.\nbuffers = [{buffer} for _ in range({n})]")
    return "\n\n".join([f'"""{_description(p)}"""', *head]) + "\n\n\n" + "\n\n\n".join(functions) + "\n"


def parts(p: Program) -> list[tuple[str, list[Name], list[Name], str]]:
    """The functions: name, arguments, statements, and what is returned, as source: each array its own, no part of another."""
    seen, texts = {id(_base(p.result))}, []
    for g in p.gradient:
        base = _base(g)
        own = isinstance(base, Name) and base.primitive and base.operation not in VIEWS and id(base) not in seen
        texts.append(literal(g) + (".copy()" if shape(g) and not own else ""))
        seen.add(id(base))
    y, gradients = literal(p.result), f"({', '.join(texts)}{',' * (len(texts) == 1)})"
    return [
        ("forward", [*p.inputs, *p.constants], p.forward, y),
        ("gradients", p.given, p.statements, f"{y}, {gradients}"),
    ]


def _base(a: Any) -> Any:
    """The array whose numbers these are, all of them, in another shape."""
    while isinstance(a, Name) and a.operation in ("reshape", "transpose"):
        (a,) = a.inputs
    return a


def body(p: Program, names: Sequence[Name]) -> list[str]:
    """Statements, with the numbers of their equations."""
    outs, _ = buffered(p, names)
    lines: list[str] = []
    group = ""
    for name in names:
        heading = _heading(*name.group) if name.group else ""
        lines += [heading] * (heading != group) + ([f"{name.label} = {outs[name]}"] if name in outs else statement(name))
        group = heading
    return lines


def buffered(p: Program, names: Sequence[Name]) -> tuple[Mapping[Name, str], int]:
    """With ``reuse``: the right-hand sides that write into a buffer, and how many buffers they need. A buffer is free again after
    the last use of what stands in it, so a statement may write over its own input."""
    if not p.reuse or p.largest is None or not p.largest.shape:
        return {}, 0
    last: dict[Name, int] = {}
    for i, name in reversed([*enumerate(names)]):
        for a in name.uses():
            last[a] = max(last.get(a, 0), last.get(name, i) if name.operation in VIEWS else i)
    kept, todo = set(), [p.result, *p.gradient]  # what is returned, and what that may be a view of
    for a in todo:  # which grows on the way
        if isinstance(a, Name):
            kept.add(a)
            todo += a.uses() if a.operation in VIEWS else ()
    outs: dict[Name, str] = {}
    place: dict[Name, int] = {}
    free: list[int] = []
    n = 0
    for i, name in enumerate(names):
        free += [place.pop(a) for a in [*place] if last[a] <= i]
        square = name.operation == "pow" and name.params["exponent"] == 2
        called = "square" if square else UFUNCS.get(name.operation)
        if called and kind(name.value) == kind(p.largest.value) and name not in kept:
            place[name] = free.pop() if free else n
            n = max(n, place[name] + 1)
            outs[name] = f"np.{called}({', '.join(arguments(name)[: len(name.inputs)])}, out=buffers[{place[name]}])"
    return outs, n


def is_written(constant: Name) -> bool:
    """Whether a constant array stands in the module, as the default of an argument: a small one, of numbers that NumPy knows."""
    return bool(constant.value.size <= WRITTEN and constant.dtype.kind in "fbiu" and constant.dtype.itemsize <= 8)


def function(name: str, given: Sequence[Name], lines: Sequence[str], result: str, defaults: Container[Name] = ()) -> str:
    """A function's source; ``defaults`` are arguments that are what the module has by that name, if they are not given."""

    def wrapped(text: str) -> str:
        return textwrap.fill(text, 120, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)

    indented = [f"    {line}" for line in lines]
    arguments = [literal(a) + f"={literal(a)}" * (a in defaults) for a in given]
    return "\n".join([wrapped(f"def {name}({', '.join(arguments)}):"), *indented, wrapped(f"    return {result}")])


def _description(p: Program) -> str:
    unwritten = "a constant that is not in here (Program.arrays has it), "
    roles = {a: "a constant, " if is_written(a) else unwritten for a in p.constants} | {p.upstream: "the upstream gradient, "}
    of = [f"    {a.label}: {roles.get(a, '')}{_sort(a)}" for a in p.given]
    of = [*of[:20], f"    … and {len(of) - 20} more"] if len(of) > 21 else of
    return "\n".join(
        [
            f"{p.name}, forward and backward, statement by statement; written by micrograd_bn, which it does not need.",
            *("", "The arguments have these shapes, which the statements rely on:", "", *of, ""),
            f"forward returns the result, {_sort(p.result)}; gradients returns it and a tuple, the gradient of each argument.",
            "",
        ]
    )


def _sort(value: Any) -> str:
    """What a person calls a value's shape and kind."""
    sizes, of = kind(value.value if isinstance(value, Name) else value)
    called = of.__name__ if isinstance(of, type) else of.name
    return f"{called} of shape {sizes}" if sizes else f"a single {called}"


def _heading(step: Step, backward: bool) -> str:
    if not backward:
        return f"# ({step.number}): {step.output}"
    edges = [edge.number for edge in step.derivation.edges if edge.output == step.output] if step.derivation else []
    return f"# back through ({step.number})" + ": " * bool(edges) + ", ".join(f"({n})" for n in edges)


def highlighted(source: str) -> str:
    """Python source as HTML, with colours for comments, strings, keywords and numbers."""
    colours = {"comment": "#6a737d", "string": "#22663b", "keyword": "#a626a4", "number": "#986801"}
    words = "|".join(keyword.kwlist)
    parts = rf"(?P<string>\"\"\"[\s\S]*?\"\"\")|(?P<comment>#.*)|\b(?P<keyword>{words})\b|(?<![\w.])(?P<number>\d[\w.]*(?:e-\d+)?)"

    def coloured(match: re.Match[str]) -> str:
        return f'<span style="color: {colours[match.lastgroup or ""]}">{match.group()}</span>'

    style = "background: #fafafa; color: #24292e; padding: 0.5em; overflow-x: auto"  # on which the colours can be read in any theme
    return f'<pre tabindex="0" style="{style}">{re.sub(parts, coloured, html.escape(source, quote=False))}</pre>'
