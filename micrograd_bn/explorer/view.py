"""A graph at one zoom: its boxes and arrows, and its steps, forward and backward."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..derivation import Formula, evaluate, parameters
from ..draw import WRITTEN_OUT, text
from ..engine import Step, Tensor, adjoints
from ..faults import listed
from ..kinds import Value
from ..numbers.name import FULL, Name
from ..shapes import Shape, broadcasts, shape
from ..zoom import Zoomed, carried, symbol_in
from .layout import CHARACTER, Box, layout
from .words import ELEMENTWISE, formulas

if TYPE_CHECKING:
    from .model import Entry, Model, OnNames

LABELLED = 24  # pictures of more boxes have no numbers at their arrows: those stand beside the picture
SAMPLE = 3  # of an array that is too large to be written out in a box, the first few
LINE, SLOT, LETTER, MARGIN, GRAD = 17, 54, 6.6, 8, 30  # pixels: a line, a number, a letter, a box's margin, the word before
INNER = 6  # an equation of up to so many primitives is shown with what they compute


@dataclass(eq=False)
class Arrow:
    """An arrow at a zoom: from what is used to what is computed of it. Its term goes back."""

    start: Entry
    end: Entry
    number: int | None = None  # in the derivation
    formula: str = ""  # the local derivative, in words
    latex: str = ""
    term: Any = None
    without: Any = None
    local: Any = None
    own: int = 0  # in the page

    @property
    def name(self) -> str:
        """What the local derivative is called."""
        return f"∂{self.end.symbol}/∂{self.start.symbol}"

    @property
    def repeats(self) -> bool:
        """Whether what is used is repeated on the way forward."""
        return self.start.size < self.end.size and broadcasts(self.start.shape, self.end.shape)


@dataclass
class Moment:
    """A step: what it shows, and what is computed in it."""

    data: dict[str, Any]
    notes: list[str]  # the lines of the derivation
    names: list[Any] = field(default_factory=list)
    term: Any = None  # what goes back, if it does


class View:
    """A graph at a zoom. ``data`` is for the page, but for what the program adds: the listing, and each step's lines."""

    def __init__(self, model: Model, graph: OnNames, zoom: str):
        self.model, self.graph, self.zoom = model, graph, zoom
        self.zoomed = Zoomed(graph.roots, zoom, len(graph.order))
        visible = set(self.zoomed.nodes)
        self.order = [node for node in graph.order if node in visible]
        self.computed = [node for node in self.order if node.inputs]
        self.whole = {node: step for node in self.computed if (step := self.zoomed.step_of(node)) is not None}
        self.is_one = zoom != "equations" or bool(self.whole)
        if self.is_one:
            self._build()

    def _build(self) -> None:
        arrows = {node: self._arrows(node) for node in self.computed}
        self.arrows = [arrow for node in self.computed for arrow in arrows[node]]
        backward = [arrow for node in self._backward(arrows) for arrow in arrows[node] if arrow.term is not None]
        numbers = [self.whole[node].number if node in self.whole else None for node in self.computed]
        numbers += [arrow.number for arrow in backward]
        self.numbered = None not in numbers and len(set(numbers)) == len(numbers)
        if self.numbered:
            backward = _by_number(backward)
        for i, arrow in enumerate(backward, len(self.computed) + 1):
            arrow.own = arrow.number if self.numbered and arrow.number else i
        self.noted: set[int] = set()
        self.moments = [self._forward(node, arrows[node]) for node in self.computed]
        for i, arrow in enumerate(backward):
            complete = all(later.start is not arrow.start for later in backward[i + 1 :])
            self.moments.append(self._back(arrow, [e for e in backward if e.start is arrow.start] if complete else []))
        self.data = self._placed()

    # ---- arrows

    def _arrows(self, node: Tensor) -> list[Arrow]:
        """The arrows into a node, with what the gradient carries back along them."""
        end, step, inputs = self.graph.entries[node], self.whole.get(node), self.zoomed.inputs(node)
        tensors = [a for _, a in inputs if isinstance(a, Tensor)]
        node.grad = end.gradient
        terms = iter(carried(node, tensors, step))
        node.grad = end.without
        without = iter(carried(node, tensors, step))
        words, locals_ = ([], []) if step else (formulas(node, end.symbol, map(self._symbol, node.inputs))[1:], _locals(node))
        arrows = []
        for i, (number, a) in enumerate(inputs):
            start = self.graph.named(a)
            if start is None:
                continue
            arrow = Arrow(start, end, number)
            arrows.append(arrow)
            if not isinstance(a, Tensor):
                continue
            arrow.term, arrow.without = next(terms), next(without)
            if a in self.graph.statistics:
                arrow.without = None
            if step is None:
                arrow.formula, arrow.local = next(iter(words[i : i + 1]), ""), locals_[i]
            elif step.derivation and number is None:
                arrow.term = None  # it says itself that there is no gradient here
            elif step.derivation:
                entry = step.derivation.edge(step.output, step.names[i])
                arrow.formula, arrow.latex, arrow.local = entry.text, entry.latex, self._local(entry.function, step, end, a)
        return arrows

    def _local(self, function: Formula | None, step: Step, end: Entry, a: Tensor) -> Any:
        """The local derivative of an equation by ``a``, by the derivation's formula or the engine's, if it is a number for each
        gradient."""
        assert end.tensor is not None
        upstream, root = f"d{step.output}", end.tensor
        values = {**step.constants, **step.inputs, step.output: root}
        if function is not None and not parameters(function).keys() <= {*values, upstream}:
            return None
        values = {name: value.data if isinstance(value, Tensor) else value for name, value in values.items()}
        tensors = {value for value in step.inputs.values() if isinstance(value, Tensor)}

        def term(g: Value) -> Any:
            g = self.model.tape.constant(g)
            return evaluate(function, {**values, upstream: g}) if function else adjoints({root: g}, stop=tensors).get(a)

        random = np.random.default_rng(0).uniform(1, 2, end.shape)
        local, other = term(np.ones(end.shape)[()]), term(random)
        if not isinstance(local, Name) or local.primitive is FULL or not broadcasts(end.shape, local.shape):
            return None
        return local if np.allclose(other.value, local.value * random, equal_nan=True) else None

    def _symbol(self, a: Value) -> str:
        named = self.graph.named(a)
        return named.symbol if named else "a constant" if shape(a) else text(a, 4)

    def _backward(self, arrows: dict[Tensor, list[Arrow]]) -> list[Tensor]:
        """The computed nodes in the order in which the engine completes their gradients."""
        waiting: dict[Tensor | None, int] = {}
        for arrow in self.arrows:
            waiting[arrow.start.tensor] = waiting.get(arrow.start.tensor, 0) + 1
        ready, order = [root for root in dict.fromkeys(self.graph.roots) if not waiting.get(root)], []
        while ready:
            node = ready.pop()
            order.append(node)
            for arrow in arrows.get(node, ()):
                start = arrow.start.tensor
                waiting[start] -= 1
                if not waiting[start] and start in arrows:
                    ready.append(start)
        return [node for node in order if node in arrows]

    # ---- steps

    def _forward(self, node: Tensor, arrows: list[Arrow]) -> Moment:
        entry, step, group = self.graph.entries[node], self.whole.get(node), self.graph.steps.get(node)
        used = list(dict.fromkeys(arrow.start for arrow in arrows))
        constants = map(self.graph.named, step.constants.values()) if step else ()
        inner = self._inner(node, step) if step else []
        columns = [self._column(a) for a in dict.fromkeys([*used, *filter(None, constants)])]
        columns += [self._column(self.graph.entries[a]) | {"head": self._formula(a)} for a in inner]
        small = dict.fromkeys(arrow.start.symbol for arrow in arrows if arrow.repeats)
        repeated = f" {listed(small)}: repeated over {_times(entry.shape)}." if small else ""
        math_ = mathml(step.derivation.equation_of(step.output).latex) if step and step.derivation else ""
        data = {
            "title": f"({step.number}) {entry.symbol}" if step else entry.symbol,
            "formula": "" if math_ else self._title(node),
            "sentence": f"Forward: {entry.symbol} is computed of {listed(a.symbol for a in used)}.{repeated}",
            "math": [math_] if math_ else [],
            "back": False,
            "node": entry.key,
            "tables": [{"columns": [*columns, self._column(entry) | {"result": True}]}],
            "group": self._group(node),
        }
        notes = [] if group is None or not group.text or id(group.values) in self.noted else [f"{_output(group)} = {group.text}"]
        self.noted.add(id(group.values) if group else 0)  # the equation stands before the first of its primitives
        return Moment(data, notes, [node.data])

    def _column(self, entry: Entry) -> dict[str, Any]:
        return {"q": self.model.value(entry), "head": entry.symbol}

    def _gradient(self, entry: Entry) -> dict[str, Any]:
        return {"q": self.model.gradient(entry), "head": f"d{entry.symbol}"}

    def _back(self, arrow: Arrow, terms: list[Arrow]) -> Moment:
        """Back along an arrow; ``terms`` are all arrows from its start, if that has its gradient now."""
        start, end, name = arrow.start, arrow.end, arrow.name
        assert end.tensor is not None
        step = self.whole.get(end.tensor)
        derivation = step.derivation if step and arrow.number is not None else None
        sentence = f"Back from {end.symbol} to {start.symbol}: what arrives, times the local derivative."
        if arrow.repeats:
            one = "is one number" if start.size == 1 else f"are {start.size} numbers"
            sentence += (
                f" {start.symbol} {one}, repeated over {_times(end.shape)} on the way forward: on the way back that is a sum."
            )
        constants = listed(entry.symbol for entry in self.graph.statistics.values()) if self.graph.statistics else ""
        nothing = f"Nothing goes back from {end.symbol} to {start.symbol}: {constants} count as constants."
        cut, kept = arrow.without is None, sum(e.without is not None for e in terms)
        columns = [self._gradient(end)]
        if isinstance(arrow.local, Name):
            columns.append({"q": self.model.quantity("local", arrow, "", arrow.local), "head": name})
        columns.append({"q": self._term(arrow), "head": "term", "result": True})
        tables = [columns]
        if terms:
            tables += [[{"q": self._term(e), "head": f"({e.own}) from {e.end.symbol}"} for e in terms]] if len(terms) > 1 else []
            tables[-1].append(self._gradient(start) | {"result": True})
        math_, notes = [arrow.latex], [f"{f'({arrow.own}) ' * self.numbered}{name} = {arrow.formula}"] if arrow.formula else []
        if terms and derivation and self.numbered:
            variable = next(a for a, value in step.inputs.items() if value is start.tensor) if step else ""
            forms = [g for g in (*derivation.gradients, *derivation.condensed) if g.variable == variable]
            math_ += [g.latex for g in forms]
            notes += [f"{g.name} = {g.text}" for g in forms if g.text]
        math_ = list(filter(None, map(mathml, math_)))
        alike = start.without is start.gradient
        data = {
            "title": f"({arrow.number}) {name}" if step and arrow.number is not None else name,
            "formula": f"{name} = {arrow.formula}" if arrow.formula and not math_ else "",
            "sentence": sentence + _complete(start, len(terms), True),
            "without": (nothing if cut else sentence) + _complete(start, kept, not cut) if constants else None,
            "math": math_,
            "holding": len(math_) if alike else int(bool(arrow.latex) and not cut),  # so many of the formulas, with constants
            "back": True,
            "number": arrow.own,
            "complete": start.key if terms else None,
            "tables": [{"columns": columns} for columns in tables],
            "group": self._group(end.tensor),
        }
        return Moment(data, notes, [start.gradient] if terms else [], arrow.term)

    def _term(self, arrow: Arrow) -> int:
        return self.model.quantity("term", arrow, f"{arrow.own}:{arrow.start.key}", arrow.term, arrow.without)

    def _title(self, node: Tensor) -> str:
        if node in self.whole:
            return self.zoomed.formula(self.whole[node])
        symbol = self.graph.entries[node].symbol
        return f"{symbol} = {formulas(node, symbol, map(self._symbol, node.inputs))[0]}"

    def _inner(self, node: Tensor, step: Step) -> list[Tensor]:
        """What an equation computes on the way to its result."""
        of = {a: found for a in self.graph.order if a is not node and a.inputs and (found := self.graph.steps.get(a))}
        inner = [a for a, found in of.items() if found.values is step.values and a.equation is not step]
        return inner if len(inner) <= INNER else []

    def _formula(self, node: Tensor) -> str:
        entry = self.graph.entries[node]
        own = formulas(node, entry.symbol, map(self._symbol, node.inputs))[0]
        return own if entry.key.startswith("t") and not node.label else entry.symbol

    def _group(self, node: Tensor) -> str:
        step = self.graph.steps.get(node)
        return self.graph.entries[node].key if step is None else f"({step.number}) {step.output}"

    # ---- the picture

    def _placed(self) -> dict[str, Any]:
        entries = list(dict.fromkeys([self.graph.entries[node] for node in self.order] + [arrow.start for arrow in self.arrows]))
        index = {entry: i for i, entry in enumerate(entries)}
        groups: dict[int, str] = {}
        for node in self.order if self.zoom != "equations" else ():
            if step := self.graph.steps.get(node):
                groups.setdefault(id(step.values), _output(step))
        clusters = list(groups)
        forward = {moment.data["node"]: i for i, moment in enumerate(self.moments, 1) if not moment.data["back"]}
        complete = {moment.data["complete"]: i for i, moment in enumerate(self.moments, 1) if moment.data["back"]}
        numbers = {moment.data["number"]: i for i, moment in enumerate(self.moments, 1) if moment.data["back"]}
        complete = {self.graph.entries[root].key: min(numbers.values(), default=0) for root in self.graph.roots} | complete
        boxes, nodes = [], []
        for entry in entries:
            title = self._title(entry.tensor) if entry.tensor is not None and entry.tensor.inputs else entry.symbol
            title = title if len(title) <= 48 else title[:47] + "…"
            rows, bars = _rows(entry.shape, SAMPLE if self.zoom == "equations" else SAMPLE - 1)
            known = entry.key in complete
            step = self.graph.steps.get(entry.tensor) if groups and entry.tensor is not None else None
            width = max(len(title) * LETTER, GRAD + max(map(len, rows), default=1) * SLOT) + 2 * MARGIN
            height = (1 + (len(rows) + bars) * (1 + known)) * LINE + 2 * MARGIN
            boxes.append(Box(width, height, clusters.index(id(step.values)) if step else None))
            nodes.append(
                {
                    "key": entry.key,
                    "title": title,
                    "symbol": entry.symbol,
                    "value": self.model.value(entry),
                    "gradient": self.model.gradient(entry) if known else None,
                    "kind": "constant" if entry.tensor is None else "computed" if entry.tensor.inputs else "leaf",
                    "rows": rows,
                    "bars": bars,
                    "width": round(width, 1),
                    "height": height,
                    "valueAt": forward.get(entry.key, 0),
                    "gradientAt": complete.get(entry.key),
                }
            )
        labelled = len(entries) <= LABELLED
        arrows = [(index[e.start], index[e.end], _label(e, self.numbered) if labelled else (0, 0)) for e in self.arrows]
        placed = layout(boxes, [*groups.values()], arrows, self._siblings(index) if self.zoom == "scalars" else ())
        for shown, at in zip(nodes, placed["boxes"]):
            shown["at"] = at
        return {
            "name": "scalars" if not any(node.shape for node in self.graph.order) else self.zoom,
            "numbered": self.numbered,
            "size": placed["size"],
            "nodes": nodes,
            "edges": [self._as_data(e, numbers) | where for e, where in zip(self.arrows, placed["arrows"])],
            "groups": [{"title": title, "box": box} for title, box in zip(groups.values(), placed["groups"])],
        }

    def _siblings(self, index: dict[Entry, int]) -> list[list[int]]:
        """The places of an array's numbers, in order, if none is computed of another."""
        rows = [[index[e] for a in row if (e := self.graph.entries.get(a)) in index] for row in self.graph.rows]
        row_of = {i: n for n, row in enumerate(rows) for i in row}
        ends = [[row_of.get(index[e]) for e in (arrow.start, arrow.end)] for arrow in self.arrows]
        linked = {start for start, end in ends if start == end}
        return [row for n, row in enumerate(rows) if len(row) > 1 and n not in linked]

    def _as_data(self, e: Arrow, numbers: dict[int, int]) -> dict[str, Any]:
        goes = e.term is not None
        return {
            "from": e.start.key,
            "to": e.end.key,
            "number": e.own if goes else None,
            "term": self._term(e) if goes else None,
            "name": e.name,
            "formula": e.formula,
            "cut": goes and bool(self.graph.statistics) and e.without is None,
            "repeated": e.end.size // e.start.size if e.repeats else 0,
            "at": numbers[e.own] if goes else None,
        }


def _output(step: Step) -> str:
    return f"({step.number}) {symbol_in(step, step.output)}"


def _locals(node: Tensor) -> list[Any]:
    """The local derivatives of a primitive that goes element by element, without broadcasting: what gradients of 1 send back."""
    primitive = node.primitive
    repeated = any(a.shape != node.shape for a in node.parents)
    if primitive is None or primitive.vjp is None or primitive.name not in ELEMENTWISE or repeated:
        return [None] * len(node.inputs)
    values = [a.data if isinstance(a, Tensor) else a for a in node.inputs]
    return list(primitive.vjp(np.ones(node.shape)[()], node.data, *values, **node.params))


def _by_number(arrows: list[Arrow]) -> list[Arrow]:
    """The arrows in the order of their numbers, as far as each gradient is complete before it goes on."""
    order: list[Arrow] = []
    left = sorted(arrows, key=lambda arrow: arrow.number or 0)
    while left:
        arrow = next(e for e in left if all(other.start is not e.end for other in left))
        left.remove(arrow)
        order.append(arrow)
    return order


def _times(sizes: Shape) -> str:
    return f"{'×'.join(map(str, sizes))} numbers"


def _complete(entry: Entry, terms: int, last: bool) -> str:
    """Says that a gradient has all its terms, if it has any; ``last`` is whether the one at hand is among them."""
    if not terms:
        return ""
    complete = f"d{entry.symbol} is complete"
    return f" With it {complete}{f', the sum of {terms} terms' * (terms > 1)}." if last else f" {complete} without it."


def _rows(sizes: Shape, sample: int) -> tuple[list[list[int]], bool]:
    """Which numbers of an array stand in its box, row by row, and whether a picture of all goes with them."""
    n = math.prod(sizes)
    if n > WRITTEN_OUT:
        return [list(range(sample))], True
    across = math.prod(sizes[-1:]) if n not in sizes else n if 1 <= n <= 4 else 3
    return [list(range(i, min(i + across, n))) for i in range(0, n, across)], False


def _label(arrow: Arrow, numbered: bool) -> tuple[int, int]:
    """The characters and lines to keep free at an arrow."""
    if arrow.term is None:
        return 0, 0
    numbers = min(arrow.start.size, 2)
    return math.ceil(numbers * SLOT / CHARACTER), 1 + numbered


@cache
def mathml(latex: str) -> str:
    """LaTeX as MathML, or nothing for none."""
    from latex2mathml.converter import convert

    return convert(latex, display="block") if latex else ""
