"""The interactive page: the derivation's thirteen steps on a batch, forward and backward, in one HTML file.

Python computes every number and draws every graph; the page only shows and hides. It is one more way to read the table.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import broadcasts, checked
from ..batchnorm import batch_norm
from ..derivation import Edge, Equation, Gradient, evaluate
from ..derivations.batch_norm import BATCH_NORM, EQUATIONS, GRADIENTS, x_hat_to_x
from ..draw import WRITTEN_OUT, Graph, Picture
from ..engine import Tensor
from ..files import AnyPath, write_whole
from ..kinds import Array, Value, as_data
from ..notebook import Page
from ..numbers.running import Running, running
from ..verify import drawn, values_on_paper

HERE = Path(__file__).parent
MAX_ROWS, MAX_COLUMNS = 200, 12
# The edges through μ and σ²: what vanishes when the statistics are taken as constants.
THROUGH_THE_STATISTICS = (8, 9, 10, 11, 12)


def explore(
    path: AnyPath,
    x: Value = None,
    gamma: Value = None,
    beta: Value = None,
    dy: Value = None,
    eps: float = 1e-5,
    *,
    columns: Iterable[str] | None = None,
    seed: int = 0,
) -> Page:
    """Write the interactive page to ``path`` and return it, a ``Path``: one file, no network, it opens from disk. In a notebook's
    last line the path shows the page.

    x           a batch of rows (m × k, or m numbers; at most 200 × 12); without one, eight irises.
    gamma, beta, dy, eps, seed    as for ``verify``.
    columns     the names of the k columns.

    Raises ValueError for a batch of another shape or size, and the errors of ``verify``.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     page = explore(f"{folder}/page.html", [1.0, 2.0, 6.0])
    ...     "∂x̂/∂σ²" in page.read_text(encoding="utf-8")
    True
    """
    if x is None:
        from ..reader import read_batch

        batch = read_batch(None)
        x, columns = batch.data[::19], batch.columns if columns is None else columns  # eight flowers from all three species
    x = np.asarray(as_data(x), dtype=np.float64)
    x = x.reshape(-1, 1) if x.ndim == 1 else x
    if x.ndim != 2 or not (1 <= x.shape[0] <= MAX_ROWS and 1 <= x.shape[1] <= MAX_COLUMNS):
        raise ValueError(f"the page shows 1 to {MAX_ROWS} rows of 1 to {MAX_COLUMNS} columns, and x has shape {x.shape}")
    m, k = x.shape
    own, own_dy = drawn(x, seed=seed)
    gamma, beta, dy = (
        random if given is None else np.asarray(as_data(given), dtype=np.float64)
        for given, random in zip((gamma, beta, dy), (*own.values(), own_dy))
    )
    dy = dy.reshape(-1, 1) if dy.ndim == 1 else dy
    checked(x, gamma, beta, eps, 0)
    for name, value in (("gamma", gamma), ("beta", beta)):
        if not broadcasts(value.shape, (1, k)):
            raise ValueError(f"the page shows one {name} for each column, and this is of shape {value.shape} for {k} columns")
    gamma, beta = (np.broadcast_to(value, (1, k)) for value in (gamma, beta))
    # for its errors: column by column they would not say which
    values_on_paper({"x": x, "gamma": gamma, "beta": beta, "eps": eps, "axis": 0}, dy)
    names = [str(name) for name in columns] if columns is not None else [f"column {j + 1}" for j in range(k)]
    if len(names) != k:
        raise ValueError(f"there are {len(names)} names for {k} columns")

    pages = [_column(x[:, j], gamma[:, j], beta[:, j], dy[:, j], eps) for j in range(k)]
    data = {"names": names, "columns": pages, "steps": _steps(), "vanish": THROUGH_THE_STATISTICS}
    # "<" is the one character that could end the script element that the data stands in.
    payload = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    for mark, content in (
        ("/* page.css */", (HERE / "page.css").read_text(encoding="utf-8")),
        ("/* page.js */", (HERE / "page.js").read_text(encoding="utf-8")),
        ("{{shape}}", html.escape(f"{m} × {k}")),
        ("{{written out}}", str(WRITTEN_OUT)),
        ("{{data}}", payload),
    ):
        page = page.replace(mark, content)
    written = Page(write_whole(path, page.encode()))
    written.written = True
    return written


def symbol(variable: str) -> str:
    """What batch norm's derivation calls a variable on the terminal."""
    return BATCH_NORM.symbol(variable)[0]


def _steps() -> list[dict[str, Any]]:
    """What the thirteen steps say, whatever the numbers: the table's own words and formulas."""
    from latex2mathml.converter import convert

    complete = {max(gradient.numbers): gradient for gradient in GRADIENTS}
    steps = []
    for entry in EQUATIONS:
        step: dict[str, Any] = {"number": entry.number, "name": entry.name, "text": entry.text, "output": symbol(entry.output)}
        step["math"] = [convert(entry.latex, display="block")]
        if isinstance(entry, Edge):
            step["input"] = symbol(entry.input)
            gradient = complete.get(entry.number)
            if gradient:
                step["math"].append(convert(gradient.latex, display="block"))
                if entry.number == 13:  # with constant statistics, the first of the three terms is all that is left
                    step["constant"] = convert(gradient.latex.split(" + d")[0], display="block")
                step["gradient"] = gradient.name
        steps.append(step)
    return steps


def _column(x: Array, gamma: Array, beta: Array, dy: Array, eps: float) -> dict[str, Any]:
    """One feature: its graphs, a table of numbers for each step, and what dx becomes with constant statistics."""
    tensors = Tensor(x, "x"), Tensor(gamma, "gamma"), Tensor(beta, "beta")
    y = batch_norm(*tensors, eps)
    y.backward(dy)
    values = values_on_paper({"x": x, "gamma": gamma, "beta": beta, "eps": eps, "axis": 0}, dy)
    constant = x_hat_to_x(values["dx_hat"], values["var"], eps)
    graphs = {}
    for zoom in ("equations", "primitives"):
        picture = Picture([y], zoom, "TB", 4, "both", 2000)
        groups = {picture.ids[node]: step.number for node, step in picture.groups.items()}
        svg = Graph(picture.source(legend=False)).svg
        graphs[zoom] = {"svg": svg[svg.index("<svg") :], "groups": groups, "edges": _edge_numbers(picture)}
    numbers = _numbers(values)
    return {"graphs": graphs, **numbers, "constant": _list(constant), "zeros": _zeros(numbers, values)}


def _numbers(v: dict[str, Value]) -> dict[str, Any]:
    """The numbers of the page: of the variables, and a table for each step; of Running values, the bounds on their rounding."""
    return {
        "variables": {symbol(name): {"value": _list(v[name]), "gradient": _list(v[f"d{name}"])} for name in BATCH_NORM.variables},
        "tables": [*(_forward_table(e, v) for e in BATCH_NORM.equations), *(_edge_table(e, v) for e in EQUATIONS[4:])],
        "totals": {max(gradient.numbers): _total_table(gradient, v) for gradient in GRADIENTS if len(gradient.numbers) > 1},
    }


def _zeros(numbers: dict[str, Any], v: dict[str, Value]) -> list[float]:
    """Those of the page's numbers that are no larger than their rounding, as in the pictures."""
    number = running(np.float64)
    with np.errstate(all="ignore"):
        own = BATCH_NORM.forward(**{name: number(v[name]) for name in BATCH_NORM.inputs}, eps=v["eps"], axis=v["axis"])
        dy = number(v["dy"])
        gradients = {f"d{name}": gradient for name, gradient in BATCH_NORM.backward(dy, **own).items()}
        bounds = _numbers(own | gradients | {"dy": dy})
    return sorted({a for a, bound in zip(_flat(numbers), _flat(bounds)) if a and abs(a) <= bound})


def _flat(part: Any) -> list[float]:
    """All numbers of a part of the page, in order."""
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [part] if isinstance(part, float) else [number for each in inner for number in _flat(each)]


def _edge_numbers(picture: Picture) -> dict[str, int]:
    """For each arrow of the picture, the step at which the gradient flows along it.

    Between two variables that is the number of its local derivative; inside an equation, that of the first edge into it.
    """
    first = {entry.output: entry.number for entry in reversed(EQUATIONS[4:])}
    numbers = {}
    for node in picture.nodes:
        step = picture.groups.get(node)
        if step is None:
            continue
        parts = {value: name for name, value in step.inputs.items() if isinstance(value, Tensor)}
        for _, value in picture.inputs(node):
            if isinstance(value, Tensor):
                arrow = f"{picture.ids[value]}->{picture.target(node)}"
                numbers[arrow] = BATCH_NORM.edge(step.output, parts[value]).number if value in parts else first[step.output]
    return numbers


def _list(values: Value) -> list[float]:
    values = values.error if isinstance(values, Running) else values
    return np.asarray(values, dtype=np.float64).ravel().tolist()


def _table(columns: list[tuple[str, Any]], total: tuple[str, Any] | None = None) -> dict[str, Any]:
    return {
        "head": [name for name, _ in columns],
        "columns": [_list(column) for _, column in columns],
        "total": total and {"name": total[0], "value": _list(total[1])[0]},
    }


def _forward_table(entry: Equation, v: dict[str, Value]) -> dict[str, Any]:
    """The numbers of the batch, put into one of (1) to (4)."""
    d, deviation = v["x"] - v["mu"], np.sqrt(v["var"] + v["eps"])
    return {
        1: lambda: _table([("x", v["x"])], ("1/m Σ = μ", v["mu"])),
        2: lambda: _table([("x", v["x"]), ("x − μ", d), ("(x − μ)²", d**2)], ("1/m Σ = σ²", v["var"])),
        3: lambda: _table([("x − μ", d), ("√(σ² + ε)", deviation), ("x̂", v["x_hat"])]),
        4: lambda: _table([("γ", v["gamma"]), ("x̂", v["x_hat"]), ("β", v["beta"]), ("y", v["y"])]),
    }[entry.number]()


def _edge_table(entry: Any, v: dict[str, Value]) -> dict[str, Any]:
    """What arrives at an edge, times its local derivative, is the term that leaves; into a single value goes their sum."""
    arrives, name = v[f"d{entry.output}"], f"d{symbol(entry.output)}"
    one = type(arrives)(1.0) if isinstance(arrives, Running) else 1.0
    local = evaluate(entry.function, v | {f"d{entry.output}": one})
    term = np.broadcast_to(evaluate(entry.function, v), np.broadcast_shapes(np.shape(arrives), np.shape(v[entry.input])))
    single = np.size(v[entry.input]) == 1 and term.size > 1
    return _table([(name, arrives), (entry.name, local), ("product", term)], ("Σ", term.sum()) if single else None)


def _total_table(gradient: Gradient, v: dict[str, Value]) -> dict[str, Any]:
    """The terms on the edges that leave a variable, and the gradient that they add up to."""
    columns = []
    for number in gradient.numbers:
        entry = EQUATIONS[number - 1]
        term = evaluate(entry.function, v)
        same = np.size(v[gradient.variable]) == 1
        columns.append((f"({number})", np.sum(term) if same else np.broadcast_to(term, v["x"].shape)))
    return _table([*columns, (gradient.name, v[f"d{gradient.variable}"])])
