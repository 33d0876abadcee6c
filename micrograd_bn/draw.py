"""Pictures of a graph at three zooms: the equations, the primitives, or the single numbers. No system's Graphviz is needed.

Arrows go forward, from what is known to what is computed. On its way back the gradient goes against them, and the number at an
arrow is the term it carries: the terms on all arrows that leave a value add up to its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from .dot import LARGE, QUICKLY, by_dot, rendered
from .engine import Tensor
from .faults import all_finite, described, find_not_finite, listed, outdated
from .files import AnyPath, write_by_ending
from .kinds import Array, Value
from .numbers.name import unused
from .numbers.program import Program
from .numbers.running import Running, twins
from .shapes import shape
from .zoom import Zoomed, carried, symbol_in

if TYPE_CHECKING:
    from graphviz import Digraph

Zoom: TypeAlias = Literal["equations", "primitives", "scalars"]
ZOOMS: tuple[Zoom, ...] = ("equations", "primitives", "scalars")
# Arrays of up to so many numbers are written out, row by row; larger ones are shown as shape, mean, min and max.
WRITTEN_OUT = 6
FONT = {"fontname": "Arial", "fontsize": "11"}
INK, TINT = "#5f6b7a", "#eef3f9"
RED = "#b42318"
WRONG = {"color": RED, "fillcolor": "#fdecea", "penwidth": "2"}
BLAMED = {"color": RED, "fontcolor": RED, "penwidth": "2"}
NOTES = {  # beside the graph
    "legend": {"color": "#d6c89a", "fillcolor": "#fffbeb"},
    "outdated": {"color": "#b45309", "fillcolor": "#fff4e5", "penwidth": "2"},
    "not finite": WRONG,
    "wrong": WRONG,
}
NARROW = 60  # characters in a line of a note
TITLE = {"class": "title", "shape": "box", "color": TINT, "fillcolor": TINT, "height": "0.2", "margin": "0.05,0.02"}


class Graph:
    """A picture: ``.source`` is DOT, ``.svg`` is SVG, ``.save(path)`` writes it, and in a notebook it shows itself.

    >>> graph = Graph("digraph { x -> y }")
    >>> "<svg" in graph.svg
    True
    """

    def __init__(self, source: str):
        self.source = source

    @cached_property
    def svg(self) -> str:
        """The picture as SVG. Raises RuntimeError on Python 3.10 without Graphviz's ``dot``."""
        return rendered(self.source, "svg")

    def save(self, path: AnyPath) -> Path:
        """Write the picture to ``path``, by its ending: .svg or .dot always; .png or .pdf where Graphviz's ``dot`` is installed.

        Raises ValueError for another ending, RuntimeError where ``dot`` is needed and absent. Nothing is half written.
        """
        return write_by_ending(
            path,
            "a picture",
            {
                ".svg": lambda: self.svg,
                ".dot": lambda: self.source,
                ".png": lambda: by_dot(self.source, "png"),
                ".pdf": lambda: by_dot(self.source, "pdf"),
            },
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg}


def draw(
    root: Tensor | Array | Program,
    zoom: Zoom = "equations",
    *,
    direction: Literal["TB", "LR"] = "TB",
    precision: int = 4,
    show: Literal["values", "gradients", "both", "neither"] = "both",
    max_nodes: int = 2000,
) -> Graph:
    """Draw the graph that leads to ``root``: any graph of Tensors, batch norm or not.

    root        a Tensor, or an object array of Tensors (the results of a batch of scalars); or a Program, which is drawn as it
                stands, a box for each statement.
    zoom        "equations": a numbered equation is one step, from its variables to its result; each arrow has the number of its
                local derivative. What belongs to no equation is shown as primitives.
                "primitives": every primitive is a round node, and they are grouped by equation.
                "scalars": for a graph of single numbers (see ``scalars``), a box for each, grouped by equation.
    direction   "TB" from top to bottom, "LR" from left to right.
    precision   how many significant digits.
    show        "values", "gradients", "both" or "neither".
    max_nodes   a larger picture is refused with a ValueError: nobody can read it. Beyond 200, arrows are straight and bare.

    Names come from ``label``; batch norm's variables have theirs without your doing anything. A note says if an input's ``data``
    has changed since the values were computed. Boxes with NaN or an infinity are red, and a note says where it comes from.

    >>> x = Tensor([1.0, 2.0, 6.0], label="x")
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> graph = draw(y)                    # in a notebook: shows itself
    >>> "Σ" in graph.svg
    True
    """
    if zoom not in ZOOMS:
        raise ValueError(f"zoom is one of {', '.join(ZOOMS)}, and this is {zoom!r}")
    if direction not in ("TB", "LR"):
        raise ValueError(f"direction is 'TB' or 'LR', and this is {direction!r}")
    if show not in ("values", "gradients", "both", "neither"):
        raise ValueError(f"show is 'values', 'gradients', 'both' or 'neither', and this is {show!r}")
    if not 1 <= precision <= 17:
        raise ValueError(f"precision is a number of digits from 1 to 17, and this is {precision}")
    if isinstance(root, Program):
        if (zoom, direction, precision, show) != ("equations", "TB", 4, "both"):
            raise TypeError(
                "a program is drawn as it stands, a box for each statement: zoom, direction, precision and show are a graph's"
            )
        return Graph(root.dot())
    roots = [root] if isinstance(root, Tensor) else list(np.asarray(root, dtype=object).flat)
    if not roots or not all(isinstance(node, Tensor) for node in roots):
        raise TypeError("draw needs a Tensor, or an array of Tensors: the result that a computation ends with")
    with np.errstate(all="ignore"):  # what is not finite, the picture says itself
        return Graph(Picture(roots, zoom, direction, precision, show, max_nodes).source())


class Wrong(NamedTuple):
    """A gradient that somebody computed otherwise than the graph, to be marked in its picture."""

    node: Tensor
    gradient: Value  # theirs
    edges: set[int]  # the numbers of those to blame
    why: str


class Picture(Zoomed):
    """A graph at a zoom, on its way to DOT."""

    def __init__(
        self, roots: list[Tensor], zoom: str, direction: str, precision: int, show: str, max_nodes: int, wrong: Wrong | None = None
    ):
        super().__init__(roots, zoom, max_nodes)
        self.direction, self.precision, self.wrong = direction, precision, wrong
        self.values, self.gradients = show in ("values", "both"), show in ("gradients", "both")
        self.ids = self._ids()
        self.taken = set(self.ids.values())
        self.with_terms = self.gradients and len(self.nodes) <= LARGE
        self.written: set[str] = set()  # what the legend has to explain

    @cached_property
    def twins(self) -> dict[Tensor, Tensor]:
        """What rounding may have made of the numbers."""
        return twins(self.roots)

    def target(self, node: Tensor) -> str:
        """What DOT calls the place that the arrows into a Tensor lead to: its box, or its primitive's node."""
        apart = node.primitive and self.zoom != "scalars" and self.step_of(node) is None
        return self._beside(node, "←") if apart else self.ids[node]

    def _beside(self, node: Tensor, what: object) -> str:
        """What DOT calls something that belongs to a Tensor's box."""
        own = f"{self.ids[node]} {what}"
        while own in self.taken:
            own += "'"
        return own

    def _terms(self, node: Tensor) -> Iterator[tuple[int | None, Value, Value, Value]]:
        """The inputs, each with the term of its gradient that comes from this node (None before a backward pass), and the
        term's rounding."""
        inputs = self.inputs(node)
        tensors = [a for _, a in inputs if isinstance(a, Tensor)]
        terms: Iterator[tuple[Value, Value]]
        if self.with_terms:
            twins, step = self.twins, self.step_of(node)
            terms = zip(carried(node, tensors, step), carried(twins.get(node), [twins.get(a) for a in tensors], step))
        else:
            terms = iter([(None, None)] * len(tensors))
        for number, a in inputs:
            term, twin = next(terms) if isinstance(a, Tensor) else (None, None)
            yield number, a, term, _rounding(twin)

    def _ids(self) -> dict[Tensor, str]:
        """What DOT calls each Tensor, and a browser shows at the pointer: its name where that is plain, else its place."""
        ids: dict[Tensor, str] = {}
        taken, names = set(NOTES), {*NOTES, *self.names.values()}
        for i, node in enumerate(self.nodes):
            name = self.names.get(node, "")
            plain = name.isprintable() and name and name not in taken and not set(name) & set(':"\\<>')
            ids[node] = name if plain else next(unused("n", names, i))
            taken.add(ids[node])
            names.add(ids[node])
        return ids

    # ---- how it is written

    def source(self) -> str:
        """The picture in DOT, with a legend of what it shows if there is anything to explain."""
        import graphviz

        dot = graphviz.Digraph(
            graph_attr={**FONT, "rankdir": self.direction, "bgcolor": "white", "nodesep": "0.3", "ranksep": "0.4"}
            # Long sums in one group must not turn arrows between groups upwards.
            | ({"newrank": "true"} if self.zoom == "scalars" else {})
            | (QUICKLY if len(self.nodes) > LARGE else {}),
            node_attr={**FONT, "shape": "record", "style": "filled", "fillcolor": "white", "color": INK},
            edge_attr={**FONT, "fontsize": "10", "color": "#8a94a3", "fontcolor": "#9a3412", "arrowsize": "0.7"},
        )
        clusters: dict[int, Any] = {}
        first: dict[int, Tensor] = {}
        for node in self.nodes:
            step = self.groups.get(node)
            if step and id(step.values) not in clusters:
                cluster = clusters[id(step.values)] = graphviz.Digraph(name=f"cluster_{len(clusters)}")
                cluster.attr(style="rounded,filled", fillcolor=TINT, color="#b8c7da", margin="6")
            self._write(clusters[id(step.values)] if step else dot, dot, node)
            if step:
                first[id(step.values)] = node  # results come first: what is left at the end is computed first
        for key, cluster in clusters.items():
            if self.zoom != "equations":
                # Arrows cross a cluster's label. Around a node they find their way, or go behind it, as it is written last.
                with cluster.subgraph(graph_attr={"rank": "same"}) as row:
                    title = self.formula(self.groups[first[key]])
                    row.node(f"{title}:{cluster.name}", title, **TITLE)
                    row.node(self.target(first[key]))
            dot.subgraph(cluster)
        for name, lines in self._notes():
            dot.node(name, "".join(f"{_escaped(line)}\\l" for line in lines), shape="note", fontsize="10", **NOTES[name])
            if name == "legend" and self.direction == "TB":  # below the graph, which it would widen
                dot.edge(self.ids[self.roots[-1]], name, style="invis")
        source: str = dot.source
        return source

    def _write(self, group: Digraph, dot: Digraph, node: Tensor) -> None:
        """A Tensor and what leads to it: the box (and its primitive) into its group, the arrows into the picture."""
        own, name, target, step = self.ids[node], self.names.get(node, ""), self.target(node), self.step_of(node)
        if node.primitive and self.zoom == "scalars":
            name = f"{name} = {_operation(node)}" if name else _operation(node)
        if step is not None:
            formula = self.formula(step)
            name = formula if name == symbol_in(step, step.output) else f"{name}:  {formula}"
        twin = self.twins.get(node, node)
        theirs = self.wrong.gradient if self.wrong and self.wrong.node is node else None
        group.node(own, **self._box(name, node.data, node.grad, (_rounding(twin.data), _rounding(twin.grad)), theirs))
        if target != own:
            group.node(target, _operation(node), shape="circle", fixedsize="false", margin="0.02", fillcolor="#dbe7f5")
            dot.edge(target, own)
        for i, (number, value, term, rounding) in enumerate(self._terms(node)):
            if isinstance(value, Tensor):
                blamed = BLAMED if self.wrong and number in self.wrong.edges else {}
                dot.edge(self.ids[value], target, self._arrow(number, term, rounding), **blamed)
            elif step is not None:  # a variable of the equation that is no Tensor: a constant
                constant = self._beside(node, i)
                symbol = symbol_in(step, step.names[i])
                dot.node(constant, style="filled,dashed", **self._box(symbol, value, None))
                dot.edge(constant, target, self._arrow(number, None))

    def _notes(self) -> Iterator[tuple[str, list[str]]]:
        """What stands beside the graph, line by line: what there is to explain, and what is wrong with the numbers."""
        if self.wrong:
            yield "wrong", wrap(self.wrong.why, NARROW)
        legend = [line for word, line in LEGEND if word in self.written]
        if legend:
            yield "legend", legend
        old = outdated(self.roots) if self.values or self.gradients else []
        if old:
            words = list(dict.fromkeys(described(node, self.names) for node in old))
            some = words if len(words) <= 3 else [*words[:2], f"{len(words) - 2} more"]
            note = "These numbers are old: an input has changed since they were computed. Now others would come out of"
            yield "outdated", wrap(f"{note} {listed(some)}. Compute the result again, and draw that.", NARROW)
        if "not finite" in self.written:
            note = "Red boxes are not finite: NaN or an infinity is in their value or gradient. The first:"
            yield "not finite", wrap(f"{note} {find_not_finite(self.roots, self.names)}.", NARROW)

    def _mark(self, data: Value, grad: Value) -> dict[str, str]:
        """How a box is drawn that shows what is not finite; a lazy array is not computed for that."""
        shown = ([data] if self.values else []) + ([grad] if self.gradients and grad is not None else [])
        known = [value for value in shown if isinstance(value, (np.ndarray, np.generic)) or not hasattr(value, "dtype")]
        if all(map(all_finite, known)):
            return {}
        self.written.add("not finite")
        return WRONG

    def _box(
        self, name: str, data: Value, grad: Value, rounding: tuple[Value, Value] = (0, 0), theirs: Value = None
    ) -> dict[str, str]:
        """A box's label, and how it is drawn."""
        size, mark = "×".join(map(str, shape(data))), self._mark(data, grad)
        fields = ["   ".join(filter(None, (name, size, "not finite" if mark else "")))]
        if self.values:
            fields += [self._text(data, rounding[0])]
        if self.gradients and grad is not None:
            fields += ["grad  " + self._text(grad, rounding[1])]
        if theirs is not None:
            fields, mark = [*fields, "yours  " + self._text(theirs, 0)], WRONG
        label = "|".join(_escaped(field) for field in fields if field) or " "
        return {"label": "{" + label + "}" if self.direction == "TB" else label, **mark}

    def _arrow(self, number: int | None, term: Value, rounding: Value = 0) -> str:
        lines = [f"({number})"] if number is not None else []
        lines += [self._text(term, rounding)] if term is not None else []
        if number is not None:
            self.written.add("number")
        if term is not None and self.groups:
            self.written.add("term")
        return "".join(f" {line} \\l" for line in lines)

    def _text(self, value: Value, rounding: Value) -> str:
        written = text(value, self.precision, rounding)
        self.written |= {word for word in ("mean", "≈ 0") if word in written}
        return written


LEGEND = (
    ("number", "(n)  the equation of the local derivative"),
    ("term", "at an arrow: the term that the gradient carries back along it"),
    ("term", "the terms on the arrows that leave a box add up to its grad"),
    ("mean", f"mean a, b … c  of more than {WRITTEN_OUT} numbers, from the smallest, b, to the largest, c"),
    ("≈ 0", "≈ 0  so small that it may be rounding alone"),
)


def _rounding(value: Value) -> Value:
    """How far floats may be from a Running number; 0 where that is not known."""
    return np.where(np.isfinite(value.error), value.error, 0) if isinstance(value, Running) else 0


def _operation(node: Tensor) -> str:
    """A primitive's symbol, with the constants that it was applied to; "" for a leaf, which none has made."""
    if node.primitive is None:
        return ""
    constants = [text(a, 4) for a in node.inputs if not isinstance(a, Tensor) and not shape(a)]
    constants += [text(value, 4) for name, value in node.params.items() if name == "exponent"]
    before = node.inputs and not isinstance(node.inputs[0], Tensor)
    return " ".join([*constants, node.primitive.symbol] if before else [node.primitive.symbol, *constants])


def text(value: Value, precision: int, rounding: Value = 0) -> str:
    """A number, a few numbers, or many as mean, min and max, or as the one that they all are: never a wall of digits. What is
    within ``rounding`` is ≈ 0. Where there are rows and columns, a semicolon ends a row.

    >>> text(np.array([1 / 3, 1e-17]), precision=2, rounding=1e-16)
    '0.33, ≈ 0'
    >>> text(np.array([[1.0, 2.0], [3.0, 4.0]]), precision=2)
    '1, 2; 3, 4'
    """
    if not shape(value):
        return _number(value.item() if isinstance(value, np.ndarray) else value, precision, rounding)
    if not isinstance(value, np.ndarray):
        return f"lazy, {type(value).__module__.partition('.')[0]}"
    if value.size == 0:
        return "empty"
    rounding = np.broadcast_to(rounding, value.shape)
    if value.size <= WRITTEN_OUT:
        numbers = [_number(number, precision, within) for number, within in zip(value.flat, rounding.flat)]
        across = value.size if value.size in value.shape else value.shape[-1]
        return "; ".join(", ".join(numbers[i : i + across]) for i in range(0, value.size, across))
    try:
        least, most = value.argmin(), value.argmax()
        some = (value.mean(), rounding.mean()), (value.flat[least], rounding.flat[least]), (value.flat[most], rounding.flat[most])
        mean, low, high = (_number(number, precision, within) for number, within in some)
    except TypeError:  # symbols have no order
        return f"{value.size} expressions"
    except ArithmeticError:  # nor have Decimals if one is NaN
        return f"{value.size} numbers, with NaN"
    return f"all {low}" if value.flat[least] == value.flat[most] else f"mean {mean}, {low} … {high}"


def _number(number: Value, precision: int, rounding: Value = 0) -> str:
    try:
        if number == 0:
            return "0"  # −0 is no news
        return "≈ 0" if rounding and abs(number) <= rounding else format(number, f".{precision}g")
    except (TypeError, ValueError):  # a symbol
        written = str(number)
        return written if len(written) <= 40 else written[:39] + "…"


def _escaped(label: str) -> str:
    """Text for a record, where \\ { } | < > and spaces have meanings, and for XML, which knows no control characters."""
    printable = "".join(c if c.isprintable() else "�" for c in label)
    return "".join("\\" + c if c in "\\{}|<> " else c for c in printable)
