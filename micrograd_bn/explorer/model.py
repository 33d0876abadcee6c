"""What the page shows of a graph, as plain data: its numbers, boxes, arrows and steps at each zoom, and the program of them all.

The graph is run once more on Names, so that everything it computes is written down: each value, each gradient, and the term on
each arrow at each zoom. In JavaScript, that program is how the page computes them again when a reader changes a number.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ..derivation import evaluate, made_by
from ..dispatch import holds_tensors
from ..draw import Picture, text
from ..engine import Step, Tensor, adjoints, in_order
from ..kinds import Value
from ..numbers.javascript import source
from ..numbers.name import Name, Tape, behind
from ..numbers.program import Program, identifiers
from ..numbers.python import statement
from ..shapes import Shape, shape
from .formulas import ELEMENTWISE, formulas
from .layout import Box, layout

MAX_NODES = 1000
LABELLED = 24  # pictures of more boxes have no numbers at their arrows: those stand beside the picture
WRITTEN_OUT, SAMPLE = 6, 3  # arrays of up to so many numbers are written out in a box; of larger ones, the first few
LINE, SLOT, CHARACTER, MARGIN, GRAD = 17, 54, 6.6, 8, 30  # pixels: a line, a number, a character, a box's margin, the word before
INNER = 6  # an equation of up to so many primitives is shown with what they compute


@dataclass(eq=False)
class Entry:
    """A node of the graph, or a constant that an equation names."""

    key: str  # what its numbers are called in the page's data
    symbol: str  # what a person reads
    value: Any  # a Name; or a constant
    tensor: Tensor | None = None
    gradient: Any = None
    without: Any = None  # the gradient when the statistics are taken as constants

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return shape(self.value)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)


@dataclass(eq=False)
class Edge:
    """An arrow at a zoom: from what is used to what is computed of it. Its term goes back."""

    start: Entry
    end: Entry
    number: int | None  # in the derivation
    formula: str = ""  # the local derivative, in words
    term: Any = None
    without: Any = None
    local: Any = None
    own: int = 0  # in the page


@dataclass
class Moment:
    """A step: what it shows, and what is computed in it."""

    data: dict[str, Any]
    names: list[Any] = field(default_factory=list)
    term: Any = None  # what goes back, if it does


class Model:
    """The page's model of the graph that leads to ``y``; ``y.grad``, or 1 for a single number, is its upstream gradient."""

    def __init__(self, y: Tensor):
        self.root, self.order = y, in_order([y])
        _check(y, self.order)
        self.steps = made_by(self.order)
        self.tape = Tape()
        self.entries: dict[Tensor, Entry] = {}
        self.twins: dict[Tensor, Tensor] = {}
        self.constants: dict[Any, Entry] = {}
        self.leaves: list[Entry] = []
        self.quantities: list[dict[str, Any]] = []
        self.results: list[Any] = []
        self._place: dict[Any, int] = {}
        self._run_on_names(Picture([y], "primitives", "TB", 4, "neither", MAX_NODES).names)

    # ---- the graph on Names

    def _run_on_names(self, symbols: dict[Tensor, str]) -> None:
        called = keys(self.order, self.steps, self.root)
        taken = set(called.values())
        for node in self.order:
            key = called[node]
            if node.inputs:
                inputs = tuple(self.twins[a] if isinstance(a, Tensor) else self._constant(node, a, taken) for a in node.inputs)
                assert node.primitive is not None
                twin = Tensor.record(node.primitive, inputs, node.params)
            else:
                twin = Tensor(0.0)
                twin.data = self.tape.given(node.data, key)
            self.twins[node] = twin
            entry = self.entries[node] = Entry(key, symbols.get(node, key), twin.data, node)
            if not node.inputs:
                self.leaves.append(entry)
        self.leaves.sort(key=lambda entry: -entry.size)
        self.leaves += self.constants.values()
        y = self.entries[self.root]
        given = np.ones(y.shape)[()] if self.root.grad is None else self.root.grad
        self.upstream = Entry(_free(f"d{y.key}", taken), f"d{y.symbol}", self.tape.given(given, f"d{y.key}"))
        self.leaves.append(self.upstream)
        self.upstream_numbers = given
        twin = self.twins[self.root]
        found = adjoints(twin, self.upstream.value)
        self.statistics = dict.fromkeys(node for node in self.order if self._is_statistic(node))
        without = adjoints(twin, self.upstream.value, stop={self.twins[a] for a in self.statistics}) if self.statistics else {}
        for node, entry in self.entries.items():
            entry.gradient = found.get(self.twins[node])
            entry.without = None if node in self.statistics else without.get(self.twins[node])

    def _constant(self, node: Tensor, value: Value, taken: set[str]) -> Value:
        """A constant that an equation names is an input of the page; another one stays what it is."""
        for name, named in _constants(self.steps.get(node)).items():
            if named is value or (type(value) is float and named == value):
                key = _constant_key(name, value)
                if key not in self.constants:
                    own = _free(name, taken)
                    step = self.steps[node]
                    symbol = step.derivation.symbol(name)[0] if step.derivation else name
                    self.constants[key] = Entry(own, symbol, self.tape.given(value, own))
                return self.constants[key].value
        return value

    def _is_statistic(self, node: Tensor) -> bool:
        """Whether an equation reduces a batch to this, and another one repeats it over a batch again."""
        step = node.equation
        if step is None or node is self.root or not any(math.prod(shape(a)) > node.size for a in step.values):
            return False
        users = [a for a in self.order if a.equation and any(v is node for v in a.equation.values)]
        return any(a.size > node.size for a in users)

    # ---- what the program returns

    def _quantity(self, kind: str, of: Entry | Edge, name: Any, without: Any = None) -> int:
        """Where the page finds these numbers."""
        if (kind, of) not in self._place:
            key = of.key if isinstance(of, Entry) else f"{of.own}:{of.start.key}"
            self._place[kind, of] = len(self.results)
            second = len(self.results) + 1 if self.statistics and without is not None else None
            self.results.append(name)
            self.quantities.append({"kind": kind, "key": key, "shape": list(shape(name)), "without": second})
            if second is not None:
                self.results.append(without)
                self.quantities.append({"kind": "without", "key": key, "shape": list(shape(without)), "without": None})
        return self._place[kind, of]

    def value(self, entry: Entry) -> int:
        """The place of a value."""
        return self._quantity("value", entry, entry.value)

    def gradient(self, entry: Entry) -> int | None:
        """The place of a gradient, if there is one."""
        if entry.gradient is None:
            return None
        return self._quantity("gradient", entry, entry.gradient, entry.without)

    def term(self, edge: Edge) -> int:
        """The place of the term on an edge."""
        return self._quantity("term", edge, edge.term, edge.without)

    # ---- the page

    def data(self) -> dict[str, Any]:
        """All of it. Raises ValueError for a graph too large to look at."""
        views = [view for name in ("equations", "primitives") if (view := self._view(name))]
        for node, entry in self.entries.items():
            if node.inputs and isinstance(entry.value, Name):
                entry.value.label = entry.value.label or entry.key
        for entry in self.entries.values():
            if isinstance(entry.gradient, Name) and entry.gradient.primitive:
                entry.gradient.label = entry.gradient.label or f"d{entry.key}"
        names = [entry.value for entry in self.leaves]
        taken = {entry.key for entry in self.entries.values()}
        free = (label for i in itertools.count(1) if (label := f"t{i}") not in taken)
        needed = behind([self.twins[self.root].data, *self.results])
        for name in self.tape.names:
            if name in needed:
                name.label = name.label or next(free)  # what the picture calls t2 is t2 here, or nothing is
        for name, label in zip(names, identifiers((entry.key for entry in self.leaves), "x")):
            name.label = label
        program = Program(
            "the graph",
            tuple(names),
            None,
            self.twins[self.root].data,
            tuple(self.tape.constant(result) for result in self.results),
            tuple(self.tape.names),
            self.twins[self.root],
            (),
            False,
        )
        place = {name: i for i, name in enumerate(self.tape.names)}
        for shown, moments in views:
            shown["source"] = _listing(moments, place)
            shown["steps"] = [moment.data for moment in moments]
        return {
            "leaves": [
                {
                    "key": entry.key,
                    "symbol": entry.symbol,
                    "shape": list(entry.shape),
                    "kind": "upstream" if entry is self.upstream else "leaf" if entry.tensor is not None else "constant",
                    "value": self._place.get(("value", entry)),
                    "gradient": self._place.get(("gradient", entry)),
                }
                for entry in self.leaves
            ],
            "fixed": [_finite("a constant of the graph", name.value) for name in program.constants],
            "quantities": self.quantities,
            "statistics": [self.entries[node].symbol for node in self.statistics],
            "zooms": [view for view, _ in views],
            "program": source(program, errors=True),
        }

    def numbers(self) -> list[list[float]]:
        """The leaves' numbers now, each flat."""
        values = [entry.tensor.data if entry.tensor is not None else entry.value.value for entry in self.leaves[:-1]]
        return [_finite(entry.symbol, value) for entry, value in zip(self.leaves, (*values, self.upstream_numbers))]

    def _view(self, zoom: str) -> tuple[dict[str, Any], list[Moment]] | None:
        picture = Picture([self.root], zoom, "TB", 4, "neither", MAX_NODES)
        visible = set(picture.nodes)
        order = [node for node in self.order if node in visible]
        whole = {node: step for node in order if (step := picture._step(node)) is not None}
        if zoom == "equations" and not whole:
            return None
        edges = {node: self._edges(node, picture, whole.get(node)) for node in order if node.inputs}
        backward = [edge for node in self._backward(edges) for edge in edges[node] if edge.term is not None]
        computed = [node for node in order if node.inputs]
        numbers = [whole[node].number if node in whole else None for node in computed] + [edge.number for edge in backward]
        numbered = None not in numbers and len(set(numbers)) == len(numbers)
        if numbered:
            backward = _by_number(backward)
        for i, edge in enumerate(backward):
            edge.own = edge.number if numbered and edge.number else len(computed) + i + 1
        titles = {node: self._title(node, picture, whole.get(node)) for node in computed}
        moments = [self._forward(node, titles[node], whole.get(node), edges[node]) for node in computed]
        for i, edge in enumerate(backward):
            complete = all(later.start is not edge.start for later in backward[i + 1 :])
            terms = [e for e in backward if e.start is edge.start] if complete else []
            moments.append(self._back(edge, terms, numbered, whole))
        everything = [edge for node in computed for edge in edges[node]]
        return self._placed(zoom, picture, order, everything, titles, numbered, moments), moments

    def _edges(self, node: Tensor, picture: Picture, step: Step | None) -> list[Edge]:
        """The arrows into a node, with what the gradient carries back along them."""
        end, twin = self.entries[node], self.twins[node]
        inputs = picture.inputs(node)
        tensors = [self.twins[a] for _, a in inputs if isinstance(a, Tensor)]
        terms, without = (iter(_terms(twin, g, tensors, step is not None)) for g in (end.gradient, end.without))
        names = [self._symbol(a) for _, a in inputs]
        words = [""] * len(inputs) if step else formulas(node, end.symbol, names)[1:]
        locals_ = [None] * len(inputs) if step else _locals(twin)
        edges = []
        for i, (number, a) in enumerate(inputs):
            if isinstance(a, Tensor):
                start = self.entries[a]
                edge = Edge(start, end, number, words[i] if i < len(words) else "", next(terms), next(without), locals_[i])
                if a in self.statistics:
                    edge.without = None
                if step and step.derivation and number is None:
                    edge.term = None  # it says itself that there is no gradient here
                elif step and step.derivation:
                    entry = step.derivation.edge(step.output, step.names[i])
                    edge.formula = entry.text
                    edge.local = self._by_formula(entry, step, end)
                edges.append(edge)
            elif (constant := self._named(node, a, step, i)) is not None:
                edges.append(Edge(constant, end, None))
        return edges

    def _by_formula(self, edge: Any, step: Step, end: Entry) -> Any:
        """The local derivative by the derivation's own formula, where it has one, of the equation's own variables."""
        if edge.function is None:
            return None
        values: dict[str, Any] = {name: self._number(value, name) for name, value in {**step.constants, **step.inputs}.items()}
        try:
            return evaluate(edge.function, values | {step.output: end.value, f"d{step.output}": 1.0})
        except KeyError:
            return None

    def _number(self, value: Value, name: str) -> Any:
        if isinstance(value, Tensor):
            return self.twins[value].data
        constant = self.constants.get(_constant_key(name, value))
        return constant.value if constant else value

    def _named(self, node: Tensor, value: Value, step: Step | None, place: int) -> Entry | None:
        """The constant among what a node is computed of, if an equation names it."""
        if step is not None:
            return self.constants.get(_constant_key(step.names[place], value))
        twin = self.twins[node].inputs[place]
        return next((entry for entry in self.constants.values() if entry.value is twin), None)

    def _symbol(self, a: Value) -> str:
        if isinstance(a, Tensor):
            return self.entries[a].symbol
        found = next((e.symbol for (_, key), e in self.constants.items() if key == (a if type(a) is float else id(a))), None)
        return found or (text(a, 4) if not shape(a) else "a constant")

    def _backward(self, edges: dict[Tensor, list[Edge]]) -> list[Tensor]:
        """The computed nodes in the order in which the engine completes their gradients."""
        waiting: dict[Entry, int] = {}
        by_entry = {entry: node for node, entry in self.entries.items()}
        for found in edges.values():
            for edge in found:
                waiting[edge.start] = waiting.get(edge.start, 0) + 1
        ready, order = [self.root], []
        while ready:
            node = ready.pop()
            order.append(node)
            for edge in edges[node]:
                waiting[edge.start] -= 1
                start = by_entry.get(edge.start)
                if not waiting[edge.start] and start is not None and start in edges:
                    ready.append(start)
        return order

    # ---- steps

    def _title(self, node: Tensor, picture: Picture, step: Step | None) -> str:
        if step is not None:
            return picture.formula(step)
        symbol = self.entries[node].symbol
        return f"{symbol} = {formulas(node, symbol, [self._symbol(a) for a in node.inputs])[0]}"

    def _forward(self, node: Tensor, title: str, step: Step | None, edges: list[Edge]) -> Moment:
        entry = self.entries[node]
        shown = [edge.start for edge in edges]
        named = [self.constants.get(_constant_key(name, value)) for name, value in step.constants.items()] if step else []
        columns = [{"q": self.value(a), "head": a.symbol} for a in dict.fromkeys([*shown, *filter(None, named)])]
        inner = self._inner(node) if step else []
        columns += [{"q": self.value(self.entries[a]), "head": self._formula(a)} for a in inner]
        columns.append({"q": self.value(entry), "head": entry.symbol, "result": True})
        small = [a.symbol for a in dict.fromkeys(shown) if a.size < entry.size and _repeats(a.shape, entry.shape)]
        repeated = f" {_listed(small)}: repeated over {_times(entry.shape)}." if small else ""
        sentence = f"Forward: {entry.symbol} is computed of {_listed([a.symbol for a in dict.fromkeys(shown)])}.{repeated}"
        math_ = []
        if step and step.derivation:
            math_ = [mathml(step.derivation.equation_of(step.output).latex)]
        data = {
            "title": f"({step.number}) {entry.symbol}" if step else entry.symbol,
            "formula": "" if math_ else title,
            "sentence": sentence,
            "math": list(filter(None, math_)),
            "back": False,
            "node": entry.key,
            "tables": [{"columns": columns}],
            "group": self._group(node),
        }
        return Moment(data, [self.twins[node].data])

    def _back(self, edge: Edge, terms: list[Edge], numbered: bool, whole: dict[Tensor, Step]) -> Moment:
        start, end = edge.start, edge.end
        assert end.tensor is not None
        step = whole.get(end.tensor)
        name = f"∂{end.symbol}/∂{start.symbol}"
        columns = [{"q": self.gradient(end), "head": f"d{end.symbol}"}]
        if isinstance(edge.local, Name):
            columns.append({"q": self._quantity("local", edge, edge.local), "head": name})
        columns.append({"q": self.term(edge), "head": "term", "result": True})
        sentence = f"Back from {end.symbol} to {start.symbol}: what arrives, times the local derivative."
        if start.size < end.size and _repeats(start.shape, end.shape):
            one = "is one number" if start.size == 1 else f"are {start.size} numbers"
            sentence += (
                f" {start.symbol} {one}, repeated over {_times(end.shape)} on the way forward: on the way back that is a sum."
            )
        tables: list[dict[str, Any]] = [{"columns": columns}]
        gradient = None
        math_ = []
        if step and step.derivation and edge.number is not None:
            math_ = [mathml(step.derivation.edge(step.output, _variable(step, start)).latex)]
        cut, kept = edge.without is None, sum(e.without is not None for e in terms)
        constants = " and ".join(self.entries[a].symbol for a in self.statistics)
        nothing = f"Nothing goes back from {end.symbol} to {start.symbol}: {constants} count as constants."
        without = (nothing if cut else sentence) + _complete(start, kept, not cut)
        sentence += _complete(start, len(terms), True)
        if terms:
            d = f"d{start.symbol}"
            gradient = self.gradient(start)
            if len(terms) == 1:
                columns.append({"q": gradient, "head": d, "result": True})
            else:
                heads = [{"q": self.term(e), "head": f"({e.own}) from {e.end.symbol}"} for e in terms]
                tables.append({"columns": [*heads, {"q": gradient, "head": d, "result": True}], "sum": True})
            if numbered and step:
                found = [g for g in step.derivation.gradients if g.variable == _variable(step, start)]
                math_ += [mathml(g.latex) for g in found]
        data = {
            "title": f"({edge.number}) {name}" if step and edge.number is not None else name,
            "formula": f"{name} = {edge.formula}" if edge.formula and not any(math_) else "",
            "sentence": sentence,
            "without": without if self.statistics else None,
            "math": list(filter(None, math_)),
            "back": True,
            "number": edge.own,
            "complete": start.key if terms else None,
            "tables": tables,
            "group": self._group(end.tensor),
        }
        return Moment(data, [start.gradient] if terms else [], edge.term)

    def _inner(self, node: Tensor) -> list[Tensor]:
        """What an equation computes on the way to its result."""
        step = node.equation
        assert step is not None
        found = [a for a in self.order if a is not node and a.inputs and self.steps.get(a) is not None]
        found = [a for a in found if self.steps[a].values is step.values and a.equation is not step]
        return found if len(found) <= INNER else []

    def _formula(self, node: Tensor) -> str:
        entry = self.entries[node]
        own = formulas(node, entry.symbol, [self._symbol(a) for a in node.inputs])[0]
        return own if entry.key.startswith("t") and not node.label else entry.symbol

    @staticmethod
    def _output(step: Step) -> str:
        return step.derivation.symbol(step.output)[0] if step.derivation else step.output

    def _group(self, node: Tensor) -> str:
        step = self.steps.get(node)
        return self.entries[node].key if step is None else f"({step.number}) {step.output}"

    # ---- the picture

    def _placed(
        self,
        zoom: str,
        picture: Picture,
        order: list[Tensor],
        edges: list[Edge],
        titles: dict[Tensor, str],
        numbered: bool,
        moments: list[Moment],
    ) -> dict[str, Any]:
        entries = list(dict.fromkeys([self.entries[node] for node in order] + [edge.start for edge in edges]))
        index = {entry: i for i, entry in enumerate(entries)}
        groups: dict[int, str] = {}
        if zoom != "equations":
            for node in order:
                step = self.steps.get(node)
                if step:
                    groups.setdefault(id(step.values), f"({step.number}) {self._output(step)}")
        clusters = list(groups)
        forward = {moment.data["node"]: i for i, moment in enumerate(moments, 1) if not moment.data["back"]}
        complete = {moment.data["complete"]: i for i, moment in enumerate(moments, 1) if moment.data["back"]}
        numbers = {moment.data["number"]: i for i, moment in enumerate(moments, 1) if moment.data["back"]}
        first = min(numbers.values(), default=0)
        boxes, nodes = [], []
        for entry in entries:
            title = titles.get(entry.tensor, entry.symbol) if entry.tensor is not None else entry.symbol
            title = title if len(title) <= 48 else title[:47] + "…"
            rows, bars = _rows(entry.shape, SAMPLE if zoom == "equations" else SAMPLE - 1)
            root = entry.tensor is self.root
            known = root or entry.key in complete
            across = max(map(len, rows), default=1)
            lines = (len(rows) + bars) * (1 + known)
            step = self.steps.get(entry.tensor) if entry.tensor is not None else None
            width = max(len(title) * CHARACTER, GRAD + across * SLOT) + 2 * MARGIN
            height = (1 + lines) * LINE + 2 * MARGIN
            boxes.append(Box(width, height, clusters.index(id(step.values)) if step and groups else None))
            nodes.append(
                {
                    "key": entry.key,
                    "title": title,
                    "symbol": entry.symbol,
                    "value": self.value(entry),
                    "gradient": self.gradient(entry) if known else None,
                    "kind": "constant" if entry.tensor is None else "computed" if entry.tensor.inputs else "leaf",
                    "rows": rows,
                    "bars": bars,
                    "width": round(width, 1),
                    "height": height,
                    "valueAt": forward.get(entry.key, 0),
                    "gradientAt": first if root else complete.get(entry.key),
                }
            )
        labelled = len(entries) <= LABELLED
        arrows = [(index[e.start], index[e.end], _label(e, numbered) if labelled else (0, 0)) for e in edges]
        placed = layout(boxes, [groups[c] for c in clusters], arrows, ordered=zoom != "equations")
        for shown, at in zip(nodes, placed["boxes"]):
            shown["at"] = at
        return {
            "name": "scalars" if not any(node.shape for node in self.order) else zoom,
            "numbered": numbered,
            "size": placed["size"],
            "nodes": nodes,
            "edges": [
                {
                    "from": e.start.key,
                    "to": e.end.key,
                    "number": e.own if e.term is not None else None,
                    "term": self.term(e) if e.term is not None else None,
                    "name": f"∂{e.end.symbol}/∂{e.start.symbol}",
                    "formula": e.formula,
                    "cut": e.term is not None and bool(self.statistics) and e.without is None,
                    "repeated": e.end.size // e.start.size
                    if e.start.size < e.end.size and _repeats(e.start.shape, e.end.shape)
                    else 0,
                    "at": numbers.get(e.own) if e.term is not None else None,
                    "forwardAt": forward.get(e.end.key),
                    **where,
                }
                for e, where in zip(edges, placed["arrows"])
            ],
            "groups": [{"title": groups[c], "box": box} for c, box in zip(clusters, placed["groups"])],
        }


def _check(y: Tensor, order: list[Tensor]) -> None:
    """Raise for a graph that the page cannot show."""
    if not y.inputs:
        raise ValueError(
            "this Tensor has no history to explore, for nothing computed it: pass the result of a computation on Tensors; for the "
            "page of a batch, pass the batch itself, t.data"
        )
    if len(order) > MAX_NODES:
        raise ValueError(
            f"this graph has {len(order):,} nodes, and the page shows up to {MAX_NODES:,}: take a smaller batch, or arrays in "
            "place of single numbers"
        )
    for node in order:
        if node.dtype not in (np.float64, np.bool_):
            what = type(node.data).__name__ if node.dtype == np.dtype(object) else node.dtype
            raise _unfit(node, str(what))
        if not isinstance(node.data, (bool, float, np.ndarray, np.generic)):
            raise _unfit(node, type(node.data).__name__)
    if y.dtype.kind != "f":
        raise TypeError(f"the result is of {y.dtype}, as comparisons are, and has no gradient: end with a computation on floats")
    if y.grad is None and y.size != 1:
        raise ValueError(
            f"the result has shape {y.shape}, and no upstream gradient: call y.backward(gradient) first, or reduce it to a single "
            "value"
        )


def _unfit(node: Tensor, what: str) -> TypeError:
    name = repr(node.label) if node.label else "a node"
    return TypeError(
        f"the page computes with float64 numbers, as a browser does, and {name} of this graph is of {what}: build it on floats, or "
        "arrays of them"
    )


def _finite(called: str, value: Value) -> list[float]:
    """The numbers, flat. Raises ValueError for NaN and infinity, which JSON does not have."""
    array = np.asarray(value)
    for index in np.argwhere(~np.isfinite(array)):
        element = f"{called}[{', '.join(map(str, index))}]" if array.shape else called
        raise ValueError(
            f"{element} is {array[tuple(index)]}, and the page starts from finite numbers, each of which a reader can change: "
            "replace it, or leave its row out"
        )
    found: list[float] = np.ravel(array).tolist()
    return found


def _constants(step: Step | None) -> dict[str, Any]:
    """What a step names and is no Tensor, but numbers: as ε."""
    if step is None:
        return {}
    named = {**step.constants, **step.inputs}
    return {name: a for name, a in named.items() if type(a) is float or (isinstance(a, np.ndarray) and a.dtype == np.float64)}


def _constant_key(name: str, value: Value) -> Any:
    return name, value if type(value) is float else id(value)


def keys(order: list[Tensor], steps: dict[Tensor, Step], root: Tensor) -> dict[Tensor, str]:
    """What each node is called: its label; or its part in an equation; or t1, t2, …"""
    called: dict[Tensor, str] = {}
    for step in {id(step.values): step for step in steps.values()}.values():
        for name, value in step.inputs.items():
            elements = [((), value)] if isinstance(value, Tensor) else np.ndenumerate(value) if holds_tensors(value) else ()
            for index, a in elements:
                called.setdefault(a, name + (f"[{','.join(map(str, index))}]" if index else ""))
    taken = {label for node in order if (label := node.label or called.get(node))}
    found, used = dict[Tensor, str](), set[str]()
    unnamed = (key for i in range(1, 10**9) if (key := f"t{i}") not in taken)
    for node in order:
        key = node.label or called.get(node) or ("y" if node is root and "y" not in taken else next(unnamed))
        found[node] = _free(key, used)
    return found


def _free(key: str, taken: set[str]) -> str:
    """The key, or with a number if it is taken; from now on it is."""
    i, own = 1, key
    while own in taken:
        i += 1
        own = f"{key}_{i}"
    taken.add(own)
    return own


def _terms(twin: Tensor, g: Any, tensors: list[Tensor], whole: bool) -> list[Any]:
    """What the gradient ``g`` of a node carries back to what it was computed of, in one equation or by one primitive."""
    if g is None:
        return [None] * len(tensors)
    if whole:
        found = adjoints(twin, g, stop=set(tensors))
        return [found.get(a) for a in tensors]
    twin.grad = g
    return list(twin.contributions())


def _locals(twin: Tensor) -> list[Any]:
    """The local derivatives of a primitive that goes element by element, without broadcasting: what a gradient of 1 sends back."""
    primitive = twin.primitive
    repeated = any(a.shape != twin.shape for a in twin.parents)
    if primitive is None or primitive.vjp is None or primitive.name not in ELEMENTWISE or repeated:
        return [None] * len(twin.inputs)
    values = [a.data if isinstance(a, Tensor) else a for a in twin.inputs]
    return list(primitive.vjp(1.0, twin.data, *values, **twin.params))


def _by_number(edges: list[Edge]) -> list[Edge]:
    """The edges in the order of their numbers, as far as each gradient is complete before it goes on."""
    order: list[Edge] = []
    left = sorted(edges, key=lambda edge: edge.number or 0)
    while left:
        edge = next(e for e in left if all(other.start is not e.end for other in left))
        left.remove(edge)
        order.append(edge)
    return order


def _variable(step: Step, entry: Entry) -> str:
    return next(name for name, value in step.inputs.items() if value is entry.tensor)


def _repeats(small: Shape, large: Shape) -> bool:
    """Whether broadcasting makes the one of the other."""
    try:
        return np.broadcast_shapes(small, large) == large
    except ValueError:
        return False


def _times(sizes: Shape) -> str:
    return f"{'×'.join(map(str, sizes))} numbers"


def _complete(entry: Entry, terms: int, last: bool) -> str:
    """Says that a gradient has all its terms, if it has any; ``last`` is whether the one at hand is among them."""
    if not terms:
        return ""
    return f" With{'' if last else 'out'} it d{entry.symbol} is complete" + (f", the sum of {terms} terms." if terms > 1 else ".")


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _rows(sizes: Shape, sample: int) -> tuple[list[list[int]], bool]:
    """Which numbers of an array stand in its box, row by row, and whether a picture of all goes with them."""
    n = math.prod(sizes)
    if n > WRITTEN_OUT:
        return [list(range(sample))], True
    across = sizes[-1] if len(sizes) > 1 and n not in sizes else 2 if n == 4 else min(n, 3)
    return [list(range(i, min(i + across, n))) for i in range(0, n, across)], False


def _label(edge: Edge, numbered: bool) -> tuple[int, int]:
    """The characters and lines to keep free at an arrow."""
    if edge.term is None:
        return 0, 0
    numbers = min(edge.start.size, 2)
    return math.ceil(numbers * SLOT / 6.67), 1 + numbered


def _listing(moments: list[Moment], place: dict[Name, int]) -> list[dict[str, Any]]:
    """The program's statements in the order of the steps, each where it is needed first; and each step's lines."""
    listed: dict[Name, list[int]] = {}
    lines: list[dict[str, Any]] = []
    needed = behind(name for moment in moments for name in moment.names)
    for i, moment in enumerate(moments, 1):
        own, shown = list[Name](), [*moment.names, moment.term]
        for a in shown:
            if isinstance(a, Name) and a in needed:
                own.append(a)
            elif isinstance(a, Name):  # as a number repeated, where what follows needs only the number
                shown += a.uses()
        todo, found = [*own], list[Name]()
        while todo:
            name = todo.pop()
            if name not in listed and name in place:
                listed[name] = []
                found.append(name)
                todo += name.uses()
        for name in sorted(found, key=place.__getitem__):
            for line in statement(name):
                listed[name].append(len(lines))
                lines.append({"text": line, "step": i})
        moment.data["lines"] = sorted({line for name in (*own, *found) for line in listed.get(name, ())})
    return lines


@cache
def mathml(latex: str) -> str:
    """LaTeX as MathML, or nothing for none."""
    from latex2mathml.converter import convert

    return convert(latex, display="block") if latex else ""
