"""What the page shows of a graph, as plain data: its numbers, its zooms, and the program of them all.

The graph is run once more on Names, so that everything it computes is written down: each value, each gradient, and the term on
each arrow at each zoom. In JavaScript, that program is how the page computes them again when a reader changes a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..derivation import made_by, tensors_in
from ..dispatch import holds_tensors
from ..engine import Step, Tensor, adjoints, in_order
from ..faults import not_finite_at
from ..kinds import Value
from ..numbers.javascript import source
from ..numbers.name import Name, Tape, behind, unused
from ..numbers.program import Program, identifiers
from ..numbers.python import statement
from ..shapes import Shape, shape
from ..zoom import Zoomed, symbol_in
from .singles import singles
from .view import Moment, View

MAX_NODES = 1000
MAX_SINGLES = 200  # nodes, in the zoom that shows a graph of arrays number by number


@dataclass(eq=False)
class Entry:
    """A node of the graph, or a number that is given beside it: a constant that an equation names, the upstream gradient."""

    key: str  # what its numbers are called in the page's data
    symbol: str  # what a person reads
    value: Any  # a Name; or a constant
    tensor: Tensor | None = None
    given: Value = None  # the numbers, where they are given
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


class OnNames:
    """A graph on Names: what stands at each of its Tensors, and the gradients that its roots' are pulled back to.

    upstream    the roots, with the gradient of each.
    rows        of a graph of single numbers, those that are an array's.
    """

    def __init__(
        self,
        upstream: Mapping[Tensor, Any],
        called: dict[Tensor, str],
        constants: dict[Name, Entry],
        statistics: Iterable[Tensor] | None = None,
        rows: Iterable[list[Tensor]] = (),
    ):
        self.roots, self.order, self.rows = list(upstream), list(called), rows
        self.steps = made_by(self.order)
        self.constants = constants
        symbols = Zoomed(self.roots, "primitives", MAX_NODES).names
        self.entries = {node: Entry(key, symbols.get(node, key), node.data, node) for node, key in called.items()}
        found = self._statistics() if statistics is None else statistics
        self.statistics = {node: self.entries[node] for node in found if node in self.entries}
        gradients = adjoints(upstream)
        without = adjoints(upstream, stop={*self.statistics}) if self.statistics else {}
        for node, entry in self.entries.items():
            entry.gradient = gradients.get(node)
            entry.without = None if node in self.statistics else without.get(node)

    def _statistics(self) -> Iterator[Tensor]:
        """What an equation reduces a batch to, and another one repeats over a batch again."""
        steps = {node: node.equation for node in self.order if node.equation}
        for node, step in steps.items():
            reduces = node not in {*self.roots} and any(math.prod(shape(a)) > node.size for a in step.values)
            if reduces and any(a.size > node.size and any(v is node for v in used.values) for a, used in steps.items()):
                yield node

    def named(self, a: Value) -> Entry | None:
        """The entry of a Tensor, or of a constant that has one."""
        return self.entries[a] if isinstance(a, Tensor) else self.constants.get(a) if isinstance(a, Name) else None


class Model:
    """The page's model of the graph that leads to ``y``; ``y.grad``, or 1 for a single number, is its upstream gradient.

    Raises ValueError and TypeError for what is no graph for the page.
    """

    def __init__(self, y: Tensor):
        order = in_order([y])
        _check(y, order)
        self.tape = Tape()
        self.leaves: list[Entry] = []
        self.quantities: list[dict[str, Any]] = []
        self.results: list[Any] = []
        self._place: dict[Any, int] = {}
        self._constants: dict[Any, Entry] = {}
        self._first: dict[Name, str] = {}
        self.graph = self._on_names(y, order)

    # ---- the graph on Names

    def _on_names(self, y: Tensor, order: list[Tensor]) -> OnNames:
        steps = made_by(order)
        called = keys(order, steps, y)
        taken = set(called.values())
        new: dict[Tensor, Tensor] = {}
        runs: dict[int, tuple[Value, ...]] = {}  # what stood for the variables of each equation

        def known(name: str, a: Value) -> Value:
            if holds_tensors(a):
                return np.frompyfunc(lambda b: known(name, b), 1, 1)(a)
            if isinstance(a, Tensor):
                return new.get(a, a.data)  # an equation need not use what it names
            entry = self._constants.get(_constant_key(name, a))
            return entry.value if entry else a

        for node in order:
            if node.inputs:
                assert node.primitive is not None
                inputs = [new[a] if isinstance(a, Tensor) else self._constant(steps.get(node), a, taken) for a in node.inputs]
                try:
                    twin = new[node] = Tensor.record(node.primitive, tuple(inputs), node.params)
                except (AttributeError, TypeError) as error:
                    raise TypeError(
                        f"the page shows what a graph is composed of, and {node.primitive.name} is one step that it cannot look "
                        "into: compose that of primitives (batch_norm, in place of fused_batch_norm)"
                    ) from error
            else:
                twin = new[node] = Tensor(0.0)
                twin.data = self.tape.given(node.data, called[node])
            twin.label, step = node.label, node.equation
            if step is not None:
                if id(step.values) not in runs:
                    runs[id(step.values)] = tuple(map(known, step.names, step.values))
                constants = {name: known(name, a) for name, a in step.constants.items()}
                twin.equation = step._replace(values=runs[id(step.values)], constants=constants)
        root = new[y]
        given = np.ones(y.shape)[()] if y.grad is None else y.grad
        key = f"d{called[y]}"
        self.upstream = Entry(_free(key, taken), key, self.tape.given(given, key), None, given)
        named = {entry.value: entry for entry in self._constants.values()}
        graph = OnNames({root: self.upstream.value}, {new[node]: key for node, key in called.items()}, named)
        self.upstream.symbol = f"d{graph.entries[root].symbol}"
        for node in order:
            if not node.inputs:
                graph.entries[new[node]].given = node.data
                self.leaves.append(graph.entries[new[node]])
        self.leaves.sort(key=lambda entry: -entry.size)
        self.leaves += [*named.values(), self.upstream]
        return graph

    def _constant(self, step: Step | None, value: Value, taken: set[str]) -> Value:
        """A constant that an equation names is an input of the page; another one stays what it is."""
        if step is None:
            return value
        for name, named in {**step.constants, **step.inputs}.items():
            if type(named) is not float and not (isinstance(named, np.ndarray) and named.dtype == np.float64):
                continue
            if named is value or (type(value) is float and named == value):
                key = _constant_key(name, value)
                if key not in self._constants:
                    own = _free(name, taken)
                    self._constants[key] = Entry(own, symbol_in(step, name), self.tape.given(value, own), None, value)
                return self._constants[key].value
        return value

    def _singles(self) -> tuple[OnNames | None, str]:
        """The graph of arrays number by number; or why the page has none."""
        old = self.graph
        if not any(node.shape for node in old.order):
            return None, ""
        if sum(entry.size for entry in old.entries.values()) <= MAX_SINGLES:
            pieces, order, rows = singles({node: entry.key for node, entry in old.entries.items()})
            if len(order) <= MAX_SINGLES:
                upstream: dict[Tensor, Any] = {}
                for index, a in np.ndenumerate(pieces[old.roots[0]]):
                    if isinstance(a, Tensor):  # one for several places, if it is repeated
                        g = self.upstream.value[index]
                        upstream[a] = upstream[a] + g if a in upstream else g
                called = keys(order, made_by(order), None, {entry.key for entry in old.entries.values()})
                statistics = [a for node in old.statistics for a in pieces[node].flat]
                return OnNames(upstream, called, old.constants, statistics, rows), ""
        return None, f"Number by number, this graph has more than {MAX_SINGLES} nodes, too many to look at."

    # ---- what the program returns

    def quantity(self, kind: str, of: Any, key: str, name: Any, without: Any = None) -> int:
        """Where the page finds these numbers."""
        if (kind, of) not in self._place:
            self._place[kind, of] = len(self.results)
            second = None if without is None else len(self.results) + 1
            self.results.append(name)
            self.quantities.append({"kind": kind, "key": key, "shape": list(shape(name)), "without": second})
            if second is not None:
                self.results.append(without)
                self.quantities.append({"kind": "without", "key": key, "shape": list(shape(without)), "without": None})
        return self._place[kind, of]

    def value(self, entry: Entry) -> int:
        """The place of a value."""
        return self.quantity("value", entry, entry.key, entry.value)

    def gradient(self, entry: Entry) -> int | None:
        """The place of a gradient, if there is one."""
        if entry.gradient is None:
            return None
        return self.quantity("gradient", entry, entry.key, entry.gradient, entry.without if self.graph.statistics else None)

    # ---- the page

    def data(self) -> dict[str, Any]:
        """All of it. Raises ValueError for a graph too large to look at."""
        views = [view for zoom in ("equations", "primitives") if (view := View(self, self.graph, zoom)).is_one]
        self._list(self.graph, views, self.results)
        graph, missing = self._singles()
        if graph:
            before = len(self.results)
            views.append(View(self, graph, "scalars"))
            self._list(graph, views[-1:], self.results[before:])
        program = self._program(self.graph, self.results)
        return {
            "leaves": [
                {
                    "key": entry.key,
                    "symbol": entry.symbol,
                    "shape": list(entry.shape),
                    "kind": "upstream" if entry is self.upstream else "leaf" if entry.tensor is not None else "constant",
                }
                for entry in self.leaves
            ],
            "fixed": [_finite("a constant of the graph", name.value) for name in program.constants],
            "quantities": self.quantities,
            "statistics": [entry.symbol for entry in self.graph.statistics.values()],
            "zooms": [view.data for view in views],
            "missing": missing,
            "program": source(program, errors=True),
        }

    def _program(self, graph: OnNames, results: list[Any]) -> Program:
        """What a graph's results need, with the names that the graph has for them."""
        for name in self.tape.names:
            name.label = None
        entries = graph.entries
        labelled = [node for node in graph.order if node.inputs and node.label]
        values = [(entry.value, entry.key) for entry in entries.values()]
        gradients = [(entries[a].gradient, f"d{entries[a].key}") for a in (*labelled[::-1], *graph.order[::-1])]
        self._first = {}  # what two of them share is called by the first
        for a, label in values + gradients:
            if isinstance(a, Name) and a.primitive:
                a.label = self._first.setdefault(a, label)
        root = self.graph.roots[0]
        needed = behind([root.data, *results])
        free = unused("t", {entry.key for entry in graph.entries.values()})
        for name in self.tape.names:
            if name in needed:
                name.label = name.label or next(free)  # what the picture calls t2 is t2 here, or nothing is
        names = [entry.value for entry in self.leaves]
        for name, label in zip(names, identifiers((entry.key for entry in self.leaves), "x")):
            name.label = label
        shown = tuple(self.tape.constant(result) for result in results)
        return Program("the graph", tuple(names), None, root.data, shown, tuple(self.tape.names), root, (), False)

    def numbers(self) -> list[list[float]]:
        """The leaves' numbers now, each flat."""
        return [_finite(entry.symbol, entry.given) for entry in self.leaves]

    def _list(self, graph: OnNames, views: list[View], results: list[Any]) -> None:
        """Give each step of the views its lines, and each view its listing."""
        self._program(graph, results)
        place = {name: i for i, name in enumerate(self.tape.names)}
        for name in [*place] if graph is not self.graph else ():
            if name.operation == "getitem" and not name.shape and not name.uses()[0].primitive:  # x[0] is its own name
                name.label = statement(name)[0].partition(" = ")[2].replace(",]", "]").removesuffix("[()]")
                del place[name]
        for view in views:
            for moment in view.moments:
                a, own = moment.names[0] if moment.names else None, f"d{moment.data.get('complete')}"
                if moment.data["back"] and isinstance(a, Name) and self._first.get(a) != own:
                    moment.notes.append(f"{own} = {a.label}")
            view.data["source"] = _listing(view.moments, place)
            view.data["steps"] = [moment.data for moment in view.moments]


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
        known = isinstance(node.data, (bool, float, np.ndarray, np.generic)) and node.dtype != np.dtype(object)
        if not known or node.dtype not in (np.float64, np.bool_):
            raise TypeError(
                f"the page computes with float64 numbers, as a browser does, and {repr(node.label) if node.label else 'a node'} of "
                f"this graph is of {node.dtype if known else type(node.data).__name__}: build it on floats, or arrays of them"
            )
    if y.dtype.kind != "f":
        raise TypeError(f"the result is of {y.dtype}, as comparisons are, and has no gradient: end with a computation on floats")
    if y.grad is None and y.size != 1:
        raise ValueError(
            f"the result has shape {y.shape}, and no upstream gradient: call y.backward(gradient) first, or reduce it to a single "
            "value"
        )


def _finite(called: str, value: Value) -> list[float]:
    """The numbers, flat. Raises ValueError for NaN and infinity, which JSON does not have."""
    if (at := not_finite_at(value)) is not None:
        raise ValueError(
            f"{called}{list(at) or ''} is {np.asarray(value)[at]}, and the page starts from finite numbers, each of which a reader "
            "can change: replace it, or leave its row out"
        )
    found: list[float] = np.ravel(value).tolist()
    return found


def _constant_key(name: str, value: Value) -> Any:
    return name, value if type(value) is float else id(value)


def keys(order: list[Tensor], steps: dict[Tensor, Step], root: Tensor | None, others: Iterable[str] = ()) -> dict[Tensor, str]:
    """What each node is called: its label; or its part in an equation; or t1, t2, …, but for ``others``."""
    called: dict[Tensor, str] = {}
    for step in {id(step.values): step for step in steps.values()}.values():
        for name, value in step.inputs.items():
            for place, a in tensors_in(value):
                called.setdefault(a, name + place)
    taken = {label for node in order if (label := node.label or called.get(node))}.union(others)
    found, used = dict[Tensor, str](), set[str]()
    unnamed = unused("t", taken)
    for node in order:
        key = node.label or called.get(node) or ("y" if node is root and "y" not in taken else next(unnamed))
        found[node] = _free(key, used)
    return found


def _free(key: str, taken: set[str]) -> str:
    """The key, or with a number if it is taken; from now on it is."""
    own = key if key not in taken else next(unused(f"{key}_", taken, 2))
    taken.add(own)
    return own


def _listing(moments: list[Moment], place: dict[Name, int]) -> list[dict[str, Any]]:
    """The program's statements in the order of the steps, each where it is needed first, under the line of the derivation that it
    comes from; and each step's lines."""
    listed: dict[Name, list[int]] = {}
    lines: list[dict[str, Any]] = []
    needed = behind(name for moment in moments for name in moment.names)
    for i, moment in enumerate(moments, 1):
        notes = [*range(len(lines), len(lines) + len(moment.notes))]
        lines += [{"text": f"# {note}", "step": i} for note in moment.notes]
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
        moment.data["lines"] = sorted({*notes, *(line for name in (*own, *found) for line in listed.get(name, ()))})
    return lines
