"""A derivation as a table, for any function: forward equations, a local derivative an edge, a gradient a variable.

An author writes the forward equations, plain functions of named variables, each with its number. From them follow the edges, one
from each variable into each equation that uses it, and the gradients: ``da`` is the gradient of the loss with respect to a, the
sum of the terms on the edges that leave a. An edge's formula may be written by the author, as the claim that is to be tested;
without one, the engine pulls back along it. The report, the proof, the pictures and the layers all read this table.
"""

from __future__ import annotations

import inspect
import re
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
from .kinds import Value, as_data, explains_kinds, zeros
from .shapes import Shape, axes, broadcast_shape, broadcast_to, shape, subscript, unbroadcast
from .validation import complaints

if TYPE_CHECKING:
    from .writer import Writer

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
Formula: TypeAlias = Callable[..., Value]

# What a variable is called on the terminal and in LaTeX.
Notation: TypeAlias = tuple[str, str]

# The letters that LaTeX has a command for.
GREEK = dict(
    re.findall(
        r"(\w+) (\w)",
        "alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ "
        "tau τ upsilon υ phi φ chi χ psi ψ omega ω "
        "Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω",
    )
)

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
    """What people get wrong: formulas, the sums of their terms, or single steps, each change by the number of its equation or edge.

    A change is a function of what it names: any variable, gradient ("dy") and constant, ``sizes``, which are those of the axes by
    name, and ``term``, which is what the right formula gives; in ``sums``, of the term alone, and it stands for the sum. ``steps``
    follow from the table.
    """

    why: str  # "the variance divides by m − 1, not by m, in equation (2)"
    formulas: Mapping[Any, Callable[..., Value]] = MappingProxyType({})
    sums: Mapping[int, Callable[[Value], Value]] = MappingProxyType({})
    loses_digits: bool = False  # the formula is right, but where it cancels, its numbers are not
    steps: Mapping[Any, Any] = MappingProxyType({})  # a formula ``Changed`` in some of its steps

    @property
    def places(self) -> set[Any]:
        """What it changes."""
        return {*self.formulas, *self.sums, *self.steps}


def equation(
    number: int, output: str, text: str = "", latex: str = ""
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Decorate a function of variables as equation ``number``, which computes ``output``.

    Its parameters with a default are constants, the others variables. On Tensors, its result is labelled ``output`` and remembers
    where it came from: ``t.equation`` is a ``Step``. ``text`` and ``latex`` are the right-hand side and the whole equation.

    Raises TypeError for a parameter with a star, or after one: a table's functions are called by position.

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
            result: Any = explained(*args, **kwargs)
            if not isinstance(result, Tensor) and not holds_tensors(result):
                return cast(_Result, result)
            named = dict(zip(names, args)) | kwargs
            values = tuple([named[name] for name in inputs])
            if _holds_one_of(result, values):
                result = result * 1  # a node of its own, for theirs have their labels
            constants = {name: named.get(name, default) for name, default in defaults.items()}
            about = getattr(numbered, "text", text), getattr(numbered, "derivation", None), constants
            step = Step(number, output, inputs, values, *about)
            for place, t in tensors_in(result):  # one step for all numbers of an array
                t.label, t.equation = output + place, step
            return cast(_Result, result)

        entry = cast(Any, numbered).entry = Equation(number, output, text, latex, numbered)
        names, inputs, defaults = tuple(parameters(numbered)), entry.inputs, entry.constants  # once, not at every call
        return numbered

    return decorate


def _holds_one_of(result: Any, values: Iterable[Any]) -> bool:
    """Whether a Tensor of the result is one of these values, or in one of them: an equation may give back what it is given."""
    for value in values:
        if value is result or (holds_tensors(value) and not {id(t) for _, t in tensors_in(result)}.isdisjoint(map(id, value.flat))):
            return True
    return False


def tensors_in(result: Any) -> list[tuple[str, Tensor]]:
    """A Tensor, or each of an array of scalar Tensors, with its place: "", or "[0,1]"."""
    if isinstance(result, Tensor):
        return [("", result)]
    if not holds_tensors(result):
        return []
    return [(subscript(i), t) for i, t in np.ndenumerate(result) if isinstance(t, Tensor)]


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

    Raises ValueError, naming what is wrong, for a table that is none: no equation, two for one variable, a variable that is needed
    before it is computed, a name or a number for two things ("dx" is the gradient of x), two defaults of a constant, an edge for a
    pair that no equation has, or two for one, an argument that names what there is not.

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
        symbols: Mapping[str, Notation] | None = None,
        texts: Mapping[str | int, Notation] | None = None,
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
        self.name, self._symbols, self._check = name, dict(symbols or {}), check
        self.equations: tuple[Equation, ...] = tuple(
            replace(function.entry, name=self.symbol(function.entry.output)[0]) for function in functions
        )
        if not self.equations:
            raise ValueError(f"{name} has no equations, and a derivation begins with one")
        self.outputs = tuple(e.output for e in self.equations)  # in order: the last one is the result
        self.inputs = tuple(dict.fromkeys(a for e in self.equations for a in e.inputs if a not in self.outputs))
        self.variables = (*self.inputs, *self.outputs)
        self.result, self.upstream = self.outputs[-1], f"d{self.outputs[-1]}"
        self.constants = {k: v for e in self.equations for k, v in e.constants.items()} | dict(defaults or {})
        self.shapes: dict[str, tuple[str, ...] | str] = {a: ("k",) if i else ("m", "k") for i, a in enumerate(self.inputs)}
        self.shapes |= shapes or {}
        self.no_gradient, self.domains = frozenset(no_gradient), dict(domains or {})
        given, texts = list(edges), dict(texts or {})
        self.edges = self._all_edges(given)
        self.condensed, self.forms, self.mistakes = tuple(condensed), dict(forms or {}), tuple(mistakes)
        for complaint in complaints(self, given, texts, defaults or {}):
            raise ValueError(f"{name}: {complaint}")
        self._others: dict[Any, Derivation] = {}
        self._engines: dict[int, Formula] = {}
        self.equations = tuple(self._with_text(e, "equation") for e in self.equations)
        self.edges = tuple(self._with_text(edge, "edge", texts.get(edge.number)) for edge in self.edges)
        self._edges = {(edge.output, edge.input): edge for edge in self.edges}
        self.gradients = tuple(self._with_text(self._gradient(a), "gradient", texts.get(a)) for a in self._order())
        self.condensed = tuple(
            self._with_text(replace(g, name=f"d{self.symbol(g.variable)[0]}"), "condensed") for g in self.condensed
        )
        for function, e in zip(functions, self.equations):
            if not hasattr(function, "derivation"):  # a bare call of an equation belongs to the first that was built from it
                function.derivation, function.text = self, e.text

    def __repr__(self) -> str:
        return f"<Derivation {self.name}: {len(self.equations)} equations, {len(self.edges)} edges>"

    @property
    def title(self) -> str:
        """Its name as a title: "RMS norm", "Layer norm"."""
        return self.name[:1].upper() + self.name[1:]

    def symbol(self, variable: str) -> Notation:
        """What a variable is called on the terminal and in LaTeX."""
        if variable in self._symbols:
            return self._symbols[variable]
        base, _, mark = variable.partition("_")
        base = "epsilon" if base == "eps" else base
        text, latex = GREEK.get(base, base), base if len(base) == 1 else rf"\mathrm{{{base}}}"
        latex = rf"\{base}" if base in GREEK else latex
        if mark == "hat":
            return unicodedata.normalize("NFC", text + "\u0302"), rf"\hat {latex}"
        return (f"{text}_{mark}", rf"{latex}_{{\mathrm{{{mark}}}}}") if mark else (text, latex)

    def with_constants(self, values: Mapping[str, Any]) -> Derivation:
        """This derivation as it reads with such constants: itself, where they are its own; floats are symbols on paper, so any are.

        What an author has written is about the defaults, so the other one is written by the engine. An ``axis`` that the first
        input's shape in the table does not have, as for images in batch norm, is read as the table's own.
        """
        changed = {
            k: values[k]
            for k, v in self.constants.items()
            if not isinstance(v, float) and isinstance(values.get(k), (Number, tuple, str)) and values[k] != v
        }
        if "axis" in changed and self._is_own_axis(changed["axis"]):
            del changed["axis"]
        key = tuple(changed.items())
        if key and key not in self._others:
            self._others[key] = Derivation(
                self.name,
                [equation(e.number, e.output)(e.function) if {*e.constants} & {*changed} else e.function for e in self.equations],
                [replace(edge, text="", latex="") for edge in self.edges],
                self.shapes,
                self.domains,
                self.no_gradient,
                self._symbols,
                condensed=[replace(entry, text="", latex="") for entry in self.condensed],
                forms=self.forms,
                mistakes=self.mistakes,
                defaults=self.constants | changed,
                check=self._check,
            )
        return self._others[key] if key else self

    def _is_own_axis(self, axis: Any) -> bool:
        ndim = len(self.shapes[self.inputs[0]])
        try:
            return {*axes(ndim, axis)} == {*axes(ndim, self.constants["axis"])}
        except ValueError:
            return True

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

    def called(self, name: str) -> Notation:
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

    def _with_text(self, entry: _Entry, kind: str, given: Notation | None = None) -> _Entry:
        text, latex = given or (entry.text, entry.latex)
        if not (text and latex):
            try:
                written = getattr(self.writer, kind)(entry)
            except Exception:  # no writer, or as above
                from .writer import Named

                written = getattr(Named(self), kind)(entry)
            text, latex = text or written[0], latex or written[1]
        return replace(entry, text=text, latex=latex)

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

    # ---- the backward pass: edges, their order, and their sum in a gradient

    def _all_edges(self, given: list[Edge]) -> tuple[Edge, ...]:
        """The author's edges, and one by the engine for each pair that has none; each with its name, and a number of its own."""
        pairs = [(e.output, a) for e in reversed(self.equations) for a in e.inputs if a not in self.no_gradient]
        written = {(edge.output, edge.input): edge for edge in given}
        edges = [written.get(pair, Edge(0, *pair)) for pair in pairs]
        numbers = [e.number for e in self.equations]
        taken = {*numbers, *[edge.number for edge in edges]}
        free = (n for n in count(max(numbers)) if n not in taken)
        named = [
            replace(edge, number=edge.number or next(free), name=f"∂{self.symbol(edge.output)[0]}/∂{self.symbol(edge.input)[0]}")
            for edge in edges
        ]
        return tuple(sorted(named, key=lambda edge: edge.number))

    def _order(self) -> list[str]:
        """The variables in the order in which their gradients are complete: each when all that use it are gone through."""
        first = {a: e.output for e in reversed(self.equations) for a in e.inputs}  # what is computed of it first
        return [a for e in reversed(self.equations) for a in e.inputs if first[a] == e.output and a not in self.no_gradient]

    def leaving(self, variable: str) -> list[Edge]:
        """The edges that leave a variable, in the order of the backward pass."""
        return [self._edges[e.output, variable] for e in reversed(self.equations) if (e.output, variable) in self._edges]

    def _gradient(self, variable: str) -> Gradient:
        edges = self.leaving(variable)
        names = list(dict.fromkeys([*[name for edge in edges for name in parameters(self.formula(edge))], variable]))

        def function(*arguments: Value) -> Value:
            values = dict(zip(names, arguments))
            first, *others = [self.pull_back(edge, values) for edge in edges]
            return broadcast_to(sum(others, first), shape(values[variable]))

        numbers, name = tuple(edge.number for edge in edges), f"d{self.symbol(variable)[0]}"
        return Gradient(numbers, variable, function=with_parameters(names, function), name=name)

    def edge(self, output: str, input: str) -> Edge:
        """The edge from ``input`` to ``output``. KeyError if there is none."""
        if (output, input) not in self._edges:
            raise KeyError(f"{self.name} has no edge from {input} to {output}")
        return self._edges[output, input]

    def equation_of(self, output: str) -> Equation:
        """The equation that computes a variable."""
        return next(e for e in self.equations if e.output == output)

    def formula(self, edge: Edge) -> Formula:
        """What an edge carries back, as a function of what it names: the author's formula; the engine's, if there is none."""
        if edge.function is not None:
            return edge.function
        if edge.number not in self._engines:
            e = self.equation_of(edge.output)
            names = (f"d{edge.output}", *e.inputs, *e.constants)
            pulled = with_parameters(names, lambda *arguments: self.by_engine(edge, dict(zip(names, arguments))))
            self._engines[edge.number] = pulled
        return self._engines[edge.number]

    # ---- run

    def __call__(self, /, *inputs: Value, **named: Value) -> Value:
        """Run the equations on the inputs, in their order or by name, and constants by name, and return the result.

        Each step of its graph knows that it is this derivation's. Raises TypeError for an input that is missing, given twice or not
        among them, and for an equation that loses the Tensors' history; ValueError for shapes that do not fit each other.
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

    def forward(self, /, **values: Value) -> dict[str, Value]:
        """All variables and constants by name, from the inputs, of any kind of number. Raises what a call raises."""
        found, read = self.complete(values), None
        for e in self.equations:
            try:
                result = evaluate(e.function, found)
            except ValueError as error:
                if not (misfit := self._misfit(found)):
                    raise
                raise ValueError(f"{self.name}: {misfit} (equation ({e.number}): {error})") from error
            if any(tensors_in(found[a]) for a in e.inputs):
                self._check_history(e, result)
            for _, t in tensors_in(result):
                if t.equation is not None:
                    read = read or self.with_constants(found)
                    t.equation = t.equation._replace(derivation=read, text=read.equation_of(e.output).text)
            found[e.output] = result
        return found

    def _check_history(self, e: Equation, result: Value) -> None:
        if not tensors_in(result):
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

    def backward(self, upstream: Value, /, **values: Value) -> dict[str, Value]:
        """All gradients by the variables' names, in the order in which they are complete, through the formulas.

        upstream    the gradient of the result, of its shape.
        values      the inputs and constants, or all variables, as ``forward`` gives them.

        Raises what a call raises; ValueError for an upstream gradient of another shape, or a formula that gives one; TypeError for
        a formula that names what there is not.
        """
        upstream = upstream if isinstance(upstream, Tensor) else as_data(upstream)
        known = dict(values) if set(self.outputs) <= set(values) else self.forward(**values)
        if shape(upstream) != shape(known[self.result]):
            raise ValueError(
                f"{self.upstream} is the gradient of {self.result}, of shape {shape(known[self.result])}, and this has "
                f"{shape(upstream)}"
            )
        known = self.constants | known | {self.upstream: upstream}
        found: dict[str, Value] = {}
        for g in self.gradients:
            found[g.variable] = known[f"d{g.variable}"] = evaluate(g.function, known)
        return found

    def pull_back(self, edge: Edge, values: Mapping[str, Value]) -> Value:
        """The term that an edge carries back: by its formula, or by the engine, added up to no more than the shape of its input."""
        term, to = evaluate(self.formula(edge), values), shape(values[edge.input])
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
        found = adjoints({node: values[f"d{e.output}"]}, differentiable=recorded, stop=set(leaves.values()))
        return {a: found.get(leaf, leaf.data * 0) for a, leaf in leaves.items()}


def as_derivation(value: Any) -> Derivation:
    """``value``, which TypeError is raised for if it is another thing."""
    if not isinstance(value, Derivation):
        raise TypeError(f"derivation is a Derivation, such as micrograd_bn.derivations.LAYER_NORM, and this is {value!r}")
    return value


def gradient_of(node: Tensor) -> Value:
    """What a backward pass has left at a node: 0 where none of the paths from it has a derivative."""
    return zeros(node.data) if node.grad is None else node.grad


def added_up(term: Value, to: Shape) -> Value:
    """A term for a value of shape ``to``, summed where that was repeated. ValueError if their shapes do not fit each other."""
    fits = broadcast_shape(shape(term), to)
    if fits == to:
        return term
    return unbroadcast(broadcast_to(term, fits), to)


def made_by(nodes: Iterable[Tensor]) -> dict[Tensor, Step]:
    """Which numbered equation each node belongs to: the results, and what they are computed from up to the equation's variables."""
    groups: dict[Tensor, Step] = {}
    variables: dict[int, set[Tensor]] = {}  # of the single numbers of an array, thousands share one
    for node in nodes:
        step = node.equation
        if step is None:
            continue
        if id(step.values) not in variables:
            variables[id(step.values)] = {t for value in step.values for _, t in tensors_in(value)}
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
    """The names of a function's parameters, with their defaults. TypeError for one with a star, or after one."""
    found = inspect.signature(function).parameters
    for parameter in found.values():
        if parameter.kind > parameter.POSITIONAL_OR_KEYWORD:
            what = getattr(function, "__name__", "a formula")
            raise TypeError(f"{what} is called by position, and {str(parameter)!r} has a star or comes after one: write it without")
    return {name: parameter.default for name, parameter in found.items()}
