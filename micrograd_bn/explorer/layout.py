"""Where the boxes, arrows and labels of a graph stand: Graphviz finds the places, the page draws."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..dot import LARGE, QUICKLY, rendered

CHARACTER = 6.67  # the width of an X in Graphviz's Arial of 10 points, by which a label's place is kept free


class Box(NamedTuple):
    """What is to be placed: its size in pixels, and the group that it belongs to, or None."""

    width: float
    height: float
    group: int | None


def layout(
    boxes: list[Box],
    groups: list[str],
    arrows: Iterable[tuple[int, int, tuple[int, int]]],
    rows: Iterable[list[int]] = (),
) -> dict[str, Any]:
    """The places, in pixels from the top left corner.

    boxes    by their index.
    groups   their titles.
    arrows   (from, to, (characters, lines) of the label), by the boxes' indices.
    rows     boxes of one group, or of none, that stand beside each other, from left to right.
    """
    import graphviz

    arrows, rows = list(arrows), list(rows)
    how = QUICKLY if len(boxes) > LARGE else {}
    how = how | ({"remincross": "false"} if rows else {})  # which would take boxes out of their rows' order
    dot = graphviz.Digraph(
        graph_attr={"fontname": "Arial", "fontsize": "12", "nodesep": "0.25", "ranksep": "0.3", "newrank": "true", **how},
        node_attr={"shape": "box", "fixedsize": "true", "label": ""},
        edge_attr={"fontname": "Arial", "fontsize": "10", "arrowsize": "0.7"},
    )
    clusters = [graphviz.Digraph(name=f"cluster_{g}") for g in range(len(groups))]
    for cluster, title in zip(clusters, groups):
        cluster.attr(margin="8", label="X" * len(title), labeljust="l")
    for i, box in enumerate(boxes):
        size = {"width": f"{box.width / 72:.3f}", "height": f"{box.height / 72:.3f}"}
        (dot if box.group is None else clusters[box.group]).node(str(i), **size)
    for first, *others in rows:
        group = boxes[first].group
        with (dot if group is None else clusters[group]).subgraph(graph_attr={"rank": "same"}) as row:
            for left, right in zip([first, *others], others):
                row.edge(str(left), str(right), style="invis")
    for cluster in clusters:
        dot.subgraph(cluster)
    for i, (start, end, (characters, lines)) in enumerate(arrows):
        dot.edge(str(start), str(end), id=str(i), label="\\n".join(["X" * characters] * lines) if characters else "")
    placed = json.loads(rendered(dot.source, "json0"))
    _, _, width, height = map(float, placed["bb"].split(","))

    def point(text: str) -> tuple[float, float]:
        x, y = map(float, text.split(",")[-2:])
        return round(x, 1), round(height - y, 1)

    objects = placed.get("objects", [])
    at = {o["name"]: point(o["pos"]) for o in objects if "pos" in o}
    frames = {}
    for o in objects:
        if "bb" in o:
            x1, y1, x2, y2 = map(float, o["bb"].split(","))
            frames[int(o["name"].removeprefix("cluster_"))] = [x1, height - y2, x2 - x1, y2 - y1]
    found: list[Any] = [None] * len(arrows)
    for edge in placed.get("edges", []):
        if "id" not in edge:
            continue
        end, *points = edge["pos"].split()
        k = int(edge["id"])
        label = None
        if "lp" in edge:  # Graphviz has kept a place free to the right of the line
            across, down = point(edge["lp"])
            label = round(across - arrows[k][2][0] * CHARACTER / 2 + 6, 1), down
        found[k] = {"points": [point(p) for p in points] + [point(end)], "label": label}
    return {
        "size": [width, height],
        "boxes": [at[str(i)] for i in range(len(boxes))],
        "groups": [frames[g] for g in range(len(groups))],
        "arrows": found,
    }
