"""The interactive page: a graph's steps, forward and backward, in one HTML file in which every number that is given can be changed.

Python draws the graph, and writes the program of all its numbers; the page runs that again whenever a reader changes one.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import checked
from ..batches import drawn
from ..batchnorm import batch_norm
from ..dispatch import holds_tensors
from ..engine import Tensor
from ..files import AnyPath, write_whole
from ..kinds import Array, Value, as_data
from ..notebook import Page
from ..shapes import broadcasts
from ..verify import values_on_paper
from .model import Model

HERE = Path(__file__).parent
MAX_ROWS, MAX_COLUMNS = 200, 12


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
    title: str | None = None,
) -> Page:
    """Write the interactive page to ``path`` and return it, a ``Path``: one file, no network, it opens from disk. In a notebook's
    last line the path shows the page.

    x           a Tensor with a history: the page steps through its graph, whatever that is of up to 1,000 nodes. Its upstream
                gradient is ``x.grad``, or 1 for a single number. Or a batch of rows (m × k, or m numbers; at most 200 × 12) for
                batch norm's page; without one, eight irises.
    gamma, beta, dy, eps, seed    of batch norm's page, as for ``verify``.
    columns     the names of the k columns.
    title       what the page is called.

    Raises ValueError for a path that does not end with .html, a Tensor without a history or with too large a graph, NaN and
    inf among what is given, and for a batch of another shape or size, besides the errors of ``verify``; TypeError for a graph of
    other numbers than float64, and for several results.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     w, x = Tensor(2.0, "w"), Tensor(3.0, "x")
    ...     page = explore(f"{folder}/page.html", (w * x).tanh())
    ...     "w × x" in page.read_text(encoding="utf-8")
    True
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"the page is written to a path, which comes first: explore('page.html', y); and this is {path!r:.60}")
    if Path(path).suffix.lower() not in (".html", ".htm"):
        raise ValueError(
            f"{str(path)!r} does not end with .html: the page is HTML, for a browser; a picture, as .svg or .png, is drawn by draw"
        )
    if isinstance(x, Tensor):
        if any(given is not None for given in (gamma, beta, dy, columns)) or (eps, seed) != (1e-5, 0):
            raise TypeError("gamma, beta, dy, eps, columns and seed belong to batch norm's page of a batch, and this is a graph's")
        model = Model(x)
        data = model.data()
        examples = [{"name": "", "numbers": model.numbers()}]
        derivation = x.equation and x.equation.derivation
        name = derivation.title if derivation else x.label
        return _write(path, title or f"{name or 'A function'}, step by step", "", data, examples)
    if callable(x) or isinstance(x, (str, dict)):
        raise TypeError(
            f"the page is of a result, y in y = f(Tensor(x)), or of a batch of numbers, and this is {type(x).__name__} {x!r:.60}"
        )
    if holds_tensors(x) or (isinstance(x, (list, tuple)) and any(isinstance(a, Tensor) for a in x)):
        raise TypeError(
            "the page has one result, and these are several: make one Tensor of them, by np.stack(list(y)) or by their sum"
        )
    x, gamma, beta, dy, names = _batch(x, gamma, beta, dy, eps, columns, seed)
    m, k = x.shape
    examples = []
    for j, name in enumerate(names):
        y = batch_norm(Tensor(x[:, j], "x"), Tensor(gamma[:, j], "gamma"), Tensor(beta[:, j], "beta"), float(eps))
        y.backward(dy[:, j])
        model = Model(y)
        if not examples:
            data = model.data()
        examples.append({"name": name, "numbers": model.numbers()})
    return _write(path, title or "Batch normalisation, step by step", f"A batch of {m} × {k}. ", data, examples)


def _batch(
    x: Value, gamma: Value, beta: Value, dy: Value, eps: float, columns: Iterable[str] | None, seed: int
) -> tuple[Array, Array, Array, Array, list[str]]:
    """What batch norm's page shows, checked: x and dy of m × k, gamma and beta of 1 × k, and the columns' names."""
    if x is None:
        from ..reader import read_batch

        batch = read_batch(None)
        x, columns = batch.data[::19], batch.columns if columns is None else columns  # eight flowers from all three species
    try:
        x = np.asarray(as_data(x), dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"the page computes with float64 numbers, as a browser does, and of this batch they cannot be made: {x!r:.60}"
        ) from None
    x = x.reshape(-1, 1) if x.ndim == 1 else x
    if x.ndim != 2 or not (1 <= x.shape[0] <= MAX_ROWS and 1 <= x.shape[1] <= MAX_COLUMNS):
        raise ValueError(f"the page shows 1 to {MAX_ROWS} rows of 1 to {MAX_COLUMNS} columns, and x has shape {x.shape}")
    k = x.shape[1]
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
    return x, gamma, beta, dy, names


def _write(path: AnyPath, title: str, about: str, data: dict[str, Any], examples: list[dict[str, Any]]) -> Page:
    program = data.pop("program")
    # "<" is the one character that could end the script element that the data stands in.
    payload = json.dumps(data | {"examples": examples}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    payload = payload.replace("<", "\\u003c")
    script = f"\n{program}\n{(HERE / 'page.js').read_text(encoding='utf-8')}"
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "{{script's hash}}": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "/* page.css */": (HERE / "page.css").read_text(encoding="utf-8"),
        "/* page.js */": script,
        "{{title}}": html.escape(title),
        "{{about}}": html.escape(about),
        "{{data}}": payload,
    }
    page = re.sub("|".join(map(re.escape, parts)), lambda mark: parts[mark.group()], page)  # at once, for a title may look like one
    written = Page(write_whole(path, page.encode()))
    written.written = True
    return written
