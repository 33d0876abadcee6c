"""A derivation as a table, for any function: forward equations, a local derivative an edge, a gradient a variable.

An author writes the forward equations, plain functions of named variables, each with its number. From them follow the edges, one
from each variable into each equation that uses it, and the gradients: ``da`` is the gradient of the loss with respect to a, the
sum of the terms on the edges that leave a. An edge's formula may be written by the author, as the claim that is to be tested;
without one, the engine pulls back along it. The report, the proof, the pictures and the layers all read this table.
"""

from __future__ import annotations

import inspect
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, wraps
from itertools import count
from numbers import Number
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

import numpy as np

from .dispatch import holds_tensors
from .engine import Step, Tensor, adjoints
from .kinds import Value, as_data, explains_kinds
from .shapes import Shape, axes, broadcast_shape, shape, unbroadcast

if TYPE_CHECKING:
    from .writer import Writer

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
Formula: TypeAlias = Callable[..., Value]

# What a variable is called on the terminal and in LaTeX.
Symbol: TypeAlias = tuple[str, str]


# ---- The entries of the table


@dataclass(frozen=True)
class Equation:
    """A numbered equation, ``output`` = ``function``(``inputs``, constants)."""

    number: int
    output: str
    text: str  # the right-hand side …
    latex: str  # … and the whole equation; both are the printer's, where the author has written none
    function: Formula
    name: str = ""  # as on the terminal: "μ"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The variables on the right-hand side."""
        return tuple(name for name, default in parameters(self.function).items() if default is inspect.Parameter.empty)

    @property
    def constants(self) -> dict[str, Any]:
        """The parameters that are no variables, for they have a default, and these."""
        return {name: default for name, default in parameters(self.function).items() if name not in self.inputs}


@dataclass(frozen=True)
class Edge:
    """The local derivative of an equation: of its ``output`` with respect to one ``input``, the others held fixed.

    ``function`` takes the gradient of the output, ``d`` + its name, and what else it names, and returns the term for the input, not
    yet summed to its shape. None: the engine pulls back instead.
    """

    number: int
    output: str
    input: str
    text: str = ""
    latex: str = ""
    function: Formula | None = None
    name: str = ""  # "∂μ/∂x"


@dataclass(frozen=True)
class Gradient:
    """The gradient of a variable: the sum of the terms on the edges with these numbers, all that leave it; or a condensed form."""

    numbers: tuple[int, ...]
    variable: str
    text: str = ""
    latex: str = ""
    function: Formula = lambda: None  # of what it names
    name: str = ""  # "dμ"


class Mistake(NamedTuple):
    """What people get wrong: formulas, or the sums of their terms, each change by the number of its equation or edge.

    A change is a function of what it names: any variable, gradient ("dy") and constant, and ``term``, which is what the right
    formula gives; in ``sums``, of the term alone, and it stands for the sum.
    """

    why: str  # "the variance divides by m − 1, not by m, in equation (2)"
    formulas: Mapping[Any, Callable[..., Value]] = MappingProxyType({})
    sums: Mapping[int, Callable[[Value], Value]] = MappingProxyType({})
    loses_digits: bool = False  # the formula is right, but where it cancels, its numbers are not

    @property
    def places(self) -> set[Any]:
        """What it changes."""
        return {*self.formulas, *self.sums}


def equation(
    number: int, output: str, text: str = "", latex: str = ""
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Decorate a function of variables as equation ``number``, which computes ``output``.

    Its parameters with a default are constants, the others variables. On Tensors, its result is labelled ``output`` and remembers
    where it came from: ``t.equation`` is a ``Step``. ``text`` and ``latex`` are the right-hand side and the whole equation.

    >>> @equation(1, "s", text="x + y")
    ... def add(x, y):
    ...     return x + y
    >>> add(Tensor(1.0), y=Tensor(2.0)).equation.inputs
    {'x': Tensor(1.0), 'y': Tensor(2.0)}
    """

    def decorate(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        explained = explains_kinds(function)

        @wraps(function)
        def numbered(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            result = explained(*args, **kwargs)
            step = None
            for place, t in _tensors(result):
                if step is None:  # one for all numbers of an array
                    named = dict(zip(names, args)) | kwargs
                    values = tuple([named[name] for name in inputs])
                    constants = {name: named.get(name, default) for name, default in defaults.items()}
                    about = getattr(numbered, "text", text), getattr(numbered, "derivation", None), constants
                    step = Step(number, output, inputs, values, *about)
                t.label, t.equation = output + place, step
            return result

        entry = cast(Any, numbered).entry = Equation(number, output, text, latex, numbered)
        names, inputs, defaults = tuple(parameters(numbered)), entry.inputs, entry.constants  # once, not at every call
        return numbered

    return decorate


def _tensors(result: Any) -> list[tuple[str, Tensor]]:
    """A Tensor, or each of an array of scalar Tensors, with its place: "", or "[0,1]"."""
    if isinstance(result, Tensor):
        return [("", result)]
    if not holds_tensors(result):
        return []
    return [(f"[{','.join(map(str, i))}]", t) for i, t in np.ndenumerate(result) if isinstance(t, Tensor)]


_Entry = TypeVar("_Entry", Equation, Edge, Gradient)


# ---- The table


class Derivation:
    """A function as numbered equations, and from them its backward pass, edge by edge.

    name        what it is called.
    equations   functions decorated with ``equation``, in the order in which they are computed; the last one gives the result.
    edges       an ``Edge`` for each local derivative that the author has written; the others are the engine's. Numbers that are not
                given are the free ones after the equations', in the order of the backward pass.
    shapes      what each input looks like, for whoever has to draw numbers: {"x": ("m", "k"), "w": ("k",)}. By default the first
                is a batch (m, k), and every other (k,). "kept" is the first one's shape with size 1 along the constant ``axis``.
    domains     what an input's numbers are, where they are not any: "scale" (near 1), "positive", or "probabilities" (along the
                last axis).
    no_gradient inputs that have no gradient.
    symbols     {name: (on the terminal, in LaTeX)} where that is not what follows from the name: x_hat is x̂, mu is μ. Without
                indices, which follow from the shapes.
    texts       {variable: (text, LaTeX)} of a gradient that is written otherwise than the sum over its edges, {number: …} of an
                edge that is written otherwise than its function.
    condensed   further forms of a gradient, as ``Gradient``s whose function may name any variable, gradient and constant.
    forms       {what they are called: {number: formula}}: formulas that people write for edges' own, or, for a variable in place of
                a number, for all of its gradient, going on with other gradients.
    mistakes    ``Mistake``s that people make in this derivation, beyond those that follow from its formulas.
    defaults    of the equations' constants, where they are not the functions' own.
    check       called with inputs and constants by name, before the equations run: it raises what is to be said of bad ones.

    Texts and LaTeX that are not given are written by running the functions on formulas (see ``writer``).

    Raises ValueError, naming the equation, for a table that is none: no equation, two for one variable, a variable that is needed
    before it is computed, a number used twice, an edge for a pair that no equation has.

    >>> @equation(1, "s", text="x w")
    ... def scale(x, w):
    ...     return x * w
    >>> @equation(2, "y", text="tanh s")
    ... def squash(s):
    ...     return np.tanh(s)
    >>> neuron = Derivation("neuron", [scale, squash])
    >>> [(edge.number, edge.name) for edge in neuron.edges]
    [(3, '∂y/∂s'), (4, '∂s/∂x'), (5, '∂s/∂w')]
    >>> round(neuron.backward(1.0, x=0.5, w=2.0)["w"], 4)
    0.21
    """

    def __init__(
        self,
        name: str,
        equations: Iterable[Formula],
        edges: Iterable[Edge] = (),
        shapes: Mapping[str, tuple[str, ...] | str] | None = None,
        domains: Mapping[str, str] | None = None,
        no_gradient: Iterable[str] = (),
        symbols: Mapping[str, Symbol] | None = None,
        texts: Mapping[str | int, Symbol] | None = None,
        condensed: Iterable[Gradient] = (),
        forms: Mapping[str, Mapping[Any, Formula]] | None = None,
        mistakes: Iterable[Mistake] = (),
        defaults: Mapping[str, Any] | None = None,
        check: Callable[[dict[str, Value]], None] | None = None,
    ):
        functions: list[Any] = list(equations)
        for function in functions:
            if not hasattr(function, "entry"):
                what = getattr(function, "__name__", repr(function))
                raise ValueError(f"{name}: {what} is no equation: decorate it with @equation(number, 'output')")
        edges, condensed, mistakes = list(edges), list(condensed), list(mistakes)
        self._given: dict[str, Any] = {
            "name": name,
            "equations": functions,
            "edges": edges,
            "shapes": shapes,
            "domains": domains,
            "no_gradient": tuple(no_gradient),
            "symbols": symbols,
            "condensed": condensed,
            "forms": forms,
            "mistakes": mistakes,
            "check": check,
        }
        self._others: dict[Any, Derivation] = {}
        self.name, self._symbols, self._check = name, dict(symbols or {}), check
        self.equations: tuple[Equation, ...] = tuple(
            replace(function.entry, name=self.symbol(function.entry.output)[0]) for function in functions
        )
        self._check_equations()
        self.inputs = tuple(dict.fromkeys(a for e in self.equations for a in e.inputs if a not in self.outputs))
        self.constants = {k: v for e in self.equations for k, v in e.constants.items()} | dict(defaults or {})
        self.result = self.equations[-1].output
        self.upstream = f"d{self.result}"
        self.no_gradient, self.domains = frozenset(self._given["no_gradient"]), dict(domains or {})
        self.shapes: dict[str, tuple[str, ...] | str] = {a: ("k",) if i else ("m", "k") for i, a in enumerate(self.inputs)}
        self.shapes |= shapes or {}
        for argument in ("shapes", "domains", "no_gradient"):
            self._check_names(argument, self._given[argument] or (), "inputs", self.inputs)
        for a, dims in self.shapes.items():
            if dims != "kept" and not (isinstance(dims, tuple) and all(isinstance(n, str) for n in dims)):
                raise ValueError(f"{name}: a shape is a tuple of names such as ('m', 'k'), or 'kept', and {a!r} has {dims!r}")
        self.edges = self._all_edges(edges)
        self._check_names("texts", texts or (), "variables and edges", (*self.variables, *[edge.number for edge in self.edges]))
        self.equations = tuple(self._with_text(e, "equation") for e in self.equations)
        given: dict[str | int, Symbol] = dict(texts or {})
        written = [replace(e, text=given[e.number][0], latex=given[e.number][1]) if e.number in given else e for e in self.edges]
        self.edges = tuple(self._with_text(e, "edge") for e in written)
        self.gradients = tuple(self._gradient(variable, given) for variable in self._order())
        self.condensed = tuple(self._with_text(replace(g, name=f"d{self.symbol(g.variable)[0]}"), "condensed") for g in condensed)
        self.forms, self.mistakes = dict(forms or {}), tuple(mistakes)
        for function in functions:
            if not hasattr(function, "derivation"):  # a bare call of an equation belongs to the first that was built from it
                function.derivation, function.text = self, self.equation_of(function.entry.output).text

    def __repr__(self) -> str:
        return f"<Derivation {self.name}: {len(self.equations)} equations, {len(self.edges)} edges>"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The variables that the equations compute, in order: the last one is the result."""
        return tuple(e.output for e in self.equations)

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables: the inputs, and what is computed."""
        return (*self.inputs, *self.outputs)

    def symbol(self, variable: str) -> Symbol:
        """What a variable is called on the terminal and in LaTeX."""
        if variable in self._symbols:
            return self._symbols[variable]
        base, _, mark = variable.partition("_")
        base = "epsilon" if base == "eps" else base
        try:
            text, latex = unicodedata.lookup(f"GREEK SMALL LETTER {base}"), rf"\{base}"
        except KeyError:
            text, latex = base, base if len(base) == 1 else rf"\mathrm{{{base}}}"
        if mark == "hat":
            return unicodedata.normalize("NFC", text + "\u0302"), rf"\hat {latex}"
        return (f"{text}_{mark}", rf"{latex}_{{\mathrm{{{mark}}}}}") if mark else (text, latex)

    def with_constants(self, values: Mapping[str, Any]) -> Derivation:
        """This derivation as it reads with such constants: itself, where they are its own; floats are symbols on paper, so any are.

        What an author has written is about the defaults, so the other one is written by the engine. An ``axis`` that the first
        input's shape in the table does not have, as for images in batch norm, is read as the table's own.
        """
        own = {
            k: v for k, v in self.constants.items() if not isinstance(v, float) and isinstance(values.get(k), (Number, tuple, str))
        }
        changed = {k: values[k] for k, v in own.items() if values[k] != v}
        try:
            axes(len(self.shapes[self.inputs[0]]), changed.get("axis"))
        except ValueError:
            del changed["axis"]
        key = tuple(changed.items())
        if key and key not in self._others:
            anew: dict[str, Any] = {
                "equations": [
                    equation(e.number, e.output)(e.function) if {*e.constants} & {*changed} else e.function for e in self.equations
                ],
                "edges": [replace(edge, text="", latex="") for edge in self._given["edges"]],
                "condensed": [replace(entry, text="", latex="") for entry in self._given["condensed"]],
                "defaults": self.constants | changed,
            }
            self._others[key] = Derivation(**self._given | anew)
        return self._others[key] if key else self

    def dimensions(self) -> dict[str, tuple[str, ...]]:
        """The shape of each input by the names of its sizes, "1" where it is repeated."""
        first = self.shapes[self.inputs[0]]
        reduced = axes(len(first), self.constants["axis"]) if "axis" in self.constants else range(len(first))
        kept = tuple("1" if i in reduced else n for i, n in enumerate(first))
        return {a: kept if self.shapes[a] == "kept" else tuple(self.shapes[a]) for a in self.inputs}

    def shapes_for(self, sizes: Mapping[str, Any]) -> dict[str, Shape]:
        """The shape of each input, for sizes by their names."""
        return {a: tuple([int(n) if n.isdigit() else sizes[n] for n in dims]) for a, dims in self.dimensions().items()}

    @property
    def size_names(self) -> list[str]:
        """The names of the sizes that its inputs have: "m", "k"."""
        return list(dict.fromkeys(n for dims in self.dimensions().values() for n in dims if not n.isdigit()))

    def called(self, name: str) -> Symbol:
        """What a variable, a constant, or a gradient ("d" + its name) is called on the terminal and in LaTeX."""
        if name in self.variables or not (name.startswith("d") and name[1:] in self.variables):
            return self.symbol(name)
        text, latex = self.symbol(name[1:])
        return f"d{text}", f"d{latex}"

    # ---- texts that the author has not written

    @cached_property
    def writer(self) -> Writer | None:
        """What writes the texts that the author has not written; None where a step has no form on paper."""
        from .writer import Writer

        try:
            return Writer(self)
        except Exception:  # whatever an author's function says to a formula
            return None

    def _with_text(self, entry: _Entry, kind: str) -> _Entry:
        if entry.text and entry.latex:
            return entry
        try:
            text, latex = getattr(self.writer, kind)(entry)
        except Exception:  # no writer, or as above
            text, latex = self._unwritten(entry)
        return replace(entry, text=entry.text or text, latex=entry.latex or latex)

    def _unwritten(self, entry: Equation | Edge | Gradient) -> Symbol:
        """What stands for a step that has no form on paper: its function's name, applied to its inputs, or a derivative of that."""
        if isinstance(entry, Gradient):
            return "", ""
        e = entry if isinstance(entry, Equation) else self.equation_of(entry.output)
        name = found if (found := getattr(e.function, "__name__", "")).isidentifier() else "f"
        texts, inputs = zip(*map(self.symbol, e.inputs))
        text, latex = f"{name}({', '.join(texts)})", rf"\mathrm{{{name.replace('_', ' ')}}}({', '.join(inputs)})"
        if isinstance(entry, Equation):
            return text, f"{self.symbol(e.output)[1]} = {latex}"
        x, x_latex = self.symbol(entry.input)
        return f"∂{text}/∂{x}", rf"{self._ratio(entry)} = \frac{{\partial}}{{\partial {x_latex}}} {latex}"

    # ---- what is wrong with a table

    def _check_equations(self) -> None:
        if not self.equations:
            raise ValueError(f"{self.name} has no equations, and a derivation begins with one")
        known: set[str] = set()
        numbers: dict[int, str] = {}
        computed = {e.output: e.number for e in self.equations}
        for e in self.equations:
            if e.output in known:
                raise ValueError(f"{self.name}: equations ({computed[e.output]}) and before compute {e.output!r} twice: one each")
            if e.number in numbers:
                raise ValueError(f"{self.name}: number {e.number} stands at {numbers[e.number]!r} and at {e.output!r}: one each")
            for a in e.inputs:
                if a in computed and a not in known:
                    raise ValueError(
                        f"{self.name}: equation ({e.number}) needs {a!r}, which equation ({computed[a]}) computes only then or "
                        "later: order them as they are computed, without a cycle"
                    )
            known.add(e.output)
            numbers[e.number] = e.output

    def _check_names(self, argument: str, names: Iterable[str | int], what: str, known: Iterable[str | int]) -> None:
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{self.name}: {argument} names {unknown[0]!r}, and the {what} are {', '.join(map(str, known))}")

    def _all_edges(self, given: list[Edge]) -> tuple[Edge, ...]:
        """The author's edges, and one by the engine for each pair that has none."""
        pairs = {(e.output, a) for e in self.equations for a in e.inputs if a not in self.no_gradient}
        for edge in given:
            if (edge.output, edge.input) not in pairs:
                raise ValueError(
                    f"{self.name}: edge ({edge.number}) is of {edge.output!r} with respect to {edge.input!r}, and no equation "
                    "computes the one from the other"
                )
        written = {(edge.output, edge.input): edge for edge in given}
        taken = {e.number for e in self.equations}
        for edge in written.values():
            if edge.number in taken and edge.number:
                raise ValueError(f"{self.name}: number {edge.number} is used twice: each equation and each edge has its own")
            taken.add(edge.number)
        following = (n for n in count(max(e.number for e in self.equations)) if n not in taken)
        edges = []
        for e in reversed(self.equations):
            for a in e.inputs:
                if (e.output, a) in pairs:
                    edge = written.get((e.output, a), Edge(0, e.output, a))
                    name = f"∂{self.symbol(e.output)[0]}/∂{self.symbol(a)[0]}"
                    edges.append(replace(edge, number=edge.number or next(following), name=name))
        return tuple(sorted(edges, key=lambda edge: edge.number))

    def check_latex(self) -> None:
        """Raise ValueError, naming the entry, for LaTeX that does not parse. The report asks for it, for it takes a moment."""
        from latex2mathml.converter import convert

        entries: tuple[Any, ...] = (*self.equations, *self.edges, *self.gradients, *self.condensed)
        for entry in entries:
            try:
                if entry.latex.count("{") != entry.latex.count("}"):
                    raise ValueError("a brace is missing")
                convert(entry.latex or "0")
            except Exception as error:
                number = getattr(entry, "number", None) or getattr(entry, "numbers", None)
                what = f"{self.name}: the LaTeX of {number}, {entry.name}, does not parse"
                raise ValueError(f"{what} ({type(error).__name__}): {entry.latex}") from error

    # ---- the order of the backward pass, and a gradient's sum

    def _order(self) -> list[str]:
        """The variables in the order in which their gradients are complete: each when all that use it are gone through."""
        order: list[str] = []
        for i, e in reversed(list(enumerate(self.equations))):
            earlier = {a for before in self.equations[:i] for a in before.inputs}
            order += [a for a in e.inputs if a not in earlier and a not in self.no_gradient and a not in order]
        return order

    def leaving(self, variable: str) -> list[Edge]:
        """The edges that leave a variable, in the order of the backward pass."""
        order = {output: i for i, output in enumerate(self.outputs)}
        return sorted((edge for edge in self.edges if edge.input == variable), key=lambda edge: -order[edge.output])

    def _gradient(self, variable: str, texts: Mapping[str | int, Symbol]) -> Gradient:
        edges, symbol = self.leaving(variable), self.symbol(variable)[0]
        named = [name for edge in edges for name in self._needs(edge)]
        names = list(dict.fromkeys([*named, variable]))

        def function(*arguments: Value) -> Value:
            values = dict(zip(names, arguments))
            first, *others = [self.pull_back(edge, values) for edge in edges]
            for other in others:
                first = first + other
            to = shape(values[variable])
            return first if shape(first) == to else np.broadcast_to(first, to)

        function = with_parameters(names, function)
        numbers, text = tuple(edge.number for edge in edges), " + ".join(f"d{self.symbol(e.output)[0]} · {e.name}" for e in edges)
        gradient = Gradient(numbers, variable, *texts.get(variable, ("", "")), function, f"d{symbol}")
        gradient = self._with_text(gradient, "gradient")
        latex = " + ".join(rf"{self.called(f'd{e.output}')[1]} \cdot {self._ratio(e)}" for e in edges)
        latex = f"{self.called(f'd{variable}')[1]} = {latex}"
        return replace(gradient, text=gradient.text or text, latex=gradient.latex or latex)

    def _ratio(self, edge: Edge) -> str:
        """The name of a local derivative in LaTeX, without indices."""
        return rf"\frac{{\partial {self.symbol(edge.output)[1]}}}{{\partial {self.symbol(edge.input)[1]}}}"

    def _needs(self, edge: Edge) -> list[str]:
        if edge.function is not None:
            return list(parameters(edge.function))
        e = self.equation_of(edge.output)
        return [f"d{edge.output}", *e.inputs, *e.constants]

    def edge(self, output: str, input: str) -> Edge:
        """The edge from ``input`` to ``output``. KeyError if there is none."""
        for edge in self.edges:
            if (edge.output, edge.input) == (output, input):
                return edge
        raise KeyError(f"{self.name} has no edge from {input} to {output}")

    def equation_of(self, output: str) -> Equation:
        """The equation that computes a variable."""
        return next(e for e in self.equations if e.output == output)

    # ---- run

    def __call__(self, *inputs: Value, **named: Value) -> Value:
        """Run the equations on the inputs, in their order or by name, and constants by name, and return the result.

        Each step of its graph knows that it is this derivation's.
        """
        if len(inputs) > len(self.inputs):
            raise TypeError(f"{self.name} takes {', '.join(self.inputs)}, and {len(inputs)} are given; constants go by their names")
        if twice := [name for name in self.inputs[: len(inputs)] if name in named]:
            raise TypeError(f"{self.name}: {twice[0]} is given twice, by its place and by its name")
        return self.forward(**dict(zip(self.inputs, inputs)), **named)[self.result]

    def complete(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The inputs and constants, with defaults for constants that are not given. TypeError for what is missing or too much."""
        missing = [a for a in self.inputs if a not in values]
        unknown = [a for a in values if a not in self.inputs and a not in self.constants]
        if missing or unknown:
            wrong = [f"{', '.join(map(repr, missing))} is missing"] if missing else []
            wrong += [f"{', '.join(map(repr, unknown))} is not among them"] if unknown else []
            known = ", ".join([*self.inputs, *(f"{k}={v!r}" for k, v in self.constants.items())])
            raise TypeError(f"{self.name} is a function of {known}: {' and '.join(wrong)}")
        found = self.constants | dict(values)
        found |= {a: as_data(found[a]) for a in self.inputs if isinstance(found[a], (list, tuple))}
        if self._check:
            self._check(found)
        return found

    def forward(self, **values: Value) -> dict[str, Value]:
        """All variables and constants by name, from the inputs, of any kind of number."""
        found, read = self.complete(values), None
        for e in self.equations:
            try:
                result = evaluate(e.function, found)
            except ValueError as error:
                if not (misfit := self._misfit(found)):
                    raise
                raise ValueError(f"{self.name}: {misfit} (equation ({e.number}): {error})") from error
            if any(_tensors(found[a]) for a in e.inputs):
                self._check_history(e, result)
            for _, t in _tensors(result):
                if t.equation is not None:
                    read = read or self.with_constants(found)
                    t.equation = t.equation._replace(derivation=read, text=read.equation_of(e.output).text)
            found[e.output] = result
        return found

    def _check_history(self, e: Equation, result: Value) -> None:
        if not _tensors(result):
            what = f"equation ({e.number}) makes {type(result).__name__} of Tensors, without a history"
            raise TypeError(f"{self.name}: {what}: compose it of its inputs, and not of their .data or len()")

    def _misfit(self, values: Mapping[str, Value]) -> str:
        """How the inputs' shapes differ from the table's, if they do."""
        sizes: dict[str, int] = {}
        due, given = self.dimensions(), {a: shape(values[a]) for a in self.inputs}
        named = [(n, size) for a in due for n, size in zip(due[a], given[a]) if not n.isdigit() and size != 1]
        if all(len(due[a]) == len(given[a]) for a in due) and all(sizes.setdefault(n, size) == size for n, size in named):
            return ""
        odd = [a for a in due if len(due[a]) != len(given[a])] or list(due)
        ours = ", ".join(f"{a} ({', '.join(due[a])})" for a in odd)
        return f"its inputs are of shapes {ours}, and {' and '.join(f'{a} has {given[a]}' for a in odd)}"

    def backward(self, upstream: Value, **values: Value) -> dict[str, Value]:
        """All gradients by the variables' names, in the order in which they are complete, through the formulas.

        upstream    the gradient of the result, of its shape.
        values      the inputs and constants, or all variables, as ``forward`` gives them.
        """
        upstream = upstream if isinstance(upstream, Tensor) else as_data(upstream)
        known = dict(values) if set(self.outputs) <= set(values) else self.forward(**values)
        if shape(upstream) != shape(known[self.result]):
            raise ValueError(
                f"{self.upstream} is the gradient of {self.result}, of shape {shape(known[self.result])}, and this has "
                f"{shape(upstream)}"
            )
        known = self.constants | known | {self.upstream: upstream}
        for gradient in self.gradients:
            known[f"d{gradient.variable}"] = evaluate(gradient.function, known)
        return {gradient.variable: known[f"d{gradient.variable}"] for gradient in self.gradients}

    def pull_back(self, edge: Edge, values: Mapping[str, Value]) -> Value:
        """The term that an edge carries back: by its formula, or by the engine, added up to no more than the shape of its input."""
        if edge.function is None:
            return self.by_engine(edge, values)
        term, to = evaluate(edge.function, values), shape(values[edge.input])
        try:
            return added_up(term, to)
        except ValueError:
            what = f"({edge.number}) {edge.name}: the formula gives shape {shape(term)}"
            raise ValueError(f"{self.name}, {what}, which cannot be added up to {edge.input}'s shape {to}") from None

    def by_engine(self, edge: Edge, values: Mapping[str, Value]) -> Value:
        """The gradient of the edge's output, pulled back along it by the engine, through the function of that one equation."""
        return self.all_by_engine(self.equation_of(edge.output), values)[edge.input]

    def all_by_engine(self, e: Equation, values: Mapping[str, Value]) -> dict[str, Value]:
        """The same along all edges of an equation, by their inputs."""
        leaves = {a: v if isinstance(v := values[a], Tensor) else Tensor(v) for a in e.inputs}
        node = evaluate(e.function, {**self.constants, **values, **leaves})
        self._check_history(e, node)
        recorded = isinstance(values[f"d{e.output}"], Tensor) or any(isinstance(values[a], Tensor) for a in e.inputs)
        found = adjoints(node, values[f"d{e.output}"], differentiable=recorded, stop=set(leaves.values()))
        return {a: found.get(leaf, leaf.data * 0) for a, leaf in leaves.items()}


def as_derivation(value: Any) -> Derivation:
    """``value``, which TypeError is raised for if it is another thing."""
    if not isinstance(value, Derivation):
        raise TypeError(f"derivation is a Derivation, such as micrograd_bn.derivations.LAYER_NORM, and this is {value!r}")
    return value


def added_up(term: Value, to: Shape) -> Value:
    """A term for a value of shape ``to``, summed where that was repeated. ValueError if their shapes do not fit each other."""
    fits = broadcast_shape(shape(term), to)
    if fits == to:
        return term
    return unbroadcast(term if shape(term) == fits else np.broadcast_to(term, fits), to)


def made_by(nodes: Iterable[Tensor]) -> dict[Tensor, Step]:
    """Which numbered equation each node belongs to: the results, and what they are computed from up to the equation's variables."""
    groups: dict[Tensor, Step] = {}
    variables: dict[int, set[Tensor]] = {}  # of the single numbers of an array, thousands share one
    for node in nodes:
        step = node.equation
        if step is None:
            continue
        if id(step.values) not in variables:
            variables[id(step.values)] = {t for value in step.values for _, t in _tensors(value)}
        inner = [node]
        while inner:
            a = inner.pop()
            groups[a] = step
            inner += [b for b in a.parents if b not in variables[id(step.values)] and b not in groups]
    return groups


def evaluate(function: Formula, values: Mapping[str, Any]) -> Value:
    """Call a function of the table with the values that it names: variables, constants, and gradients as "dy", "dx_hat", …

    Other values are passed over; TypeError if one that it names is not there.

    >>> evaluate(lambda dy, gamma: dy * gamma, {"dy": 2.0, "gamma": 3.0, "beta": 1.0})
    6.0
    """
    try:
        arguments = [values[name] for name in parameters(function)]
    except KeyError as error:
        raise TypeError(f"a formula names {error.args[0]}, and what there is to name is {', '.join(values)}") from None
    return function(*arguments)


def with_parameters(names: Iterable[str], function: Formula) -> Formula:
    """A function of any number of values, as one of parameters with these names."""
    kind, named = inspect.Parameter.POSITIONAL_ONLY, cast(Any, function)
    named.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    return function


@cache
def parameters(function: Formula) -> dict[str, Any]:
    """The names of a function's parameters, with their defaults."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
