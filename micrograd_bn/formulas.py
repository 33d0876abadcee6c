"""What can be wrong in a derivation follows from its table: a path left out, a sign, a sum, and each step of a formula.

``mistakes_in(d)`` lists a derivation's own mistakes and these, in words; a formula is ``recorded``, for its steps to be changed.
``factors_in(d)`` are the quantities that all of a gradient may be multiplied by. The room is long as a list is: a kind in
each ``of_…`` and in what comes after them, and all look at the same table.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from .computed import forms_of
from .derivation import Derivation, Formula, Mistake, evaluate, parameters, with_parameters
from .engine import Tensor, in_order
from .kinds import Value
from .primitives import exp
from .recorded import Change, Changed, Recorded, again, operation, recorded
from .shapes import Shape, array, axes, broadcasts, count, shape
from .wording import Wording, is_shift

# ---- What may be wrong with a step


class Slip(NamedTuple):
    """What somebody makes of a step."""

    change: Change  # what its inputs, a and b, give instead
    words: str = "{gone}"  # of {a}, {b}, the {whole} step, and what is said where an input is gone
    gone: int | None = None  # the input that is
    omits: bool = False  # whether it only leaves something out, which is likelier than to put something in its place


SLIPS = {
    "add": [
        Slip(lambda v, a, b: a, "{b} is forgotten", 1, omits=True),
        Slip(lambda v, a, b: b, "{a} is forgotten", 0, omits=True),
        Slip(lambda v, a, b: a - b, "there is a − for the + in {whole}"),
    ],
    "sub": [
        Slip(lambda v, a, b: a, "{a} stands for {whole}", 1),
        Slip(lambda v, a, b: -b, "{a} is forgotten", 0, omits=True),
        Slip(lambda v, a, b: a + b, "there is a + for the − in {whole}"),
        Slip(lambda v, a, b: a - 1, "1 stands for {b}"),
    ],
    "mul": [Slip(lambda v, a, b: b, gone=0, omits=True), Slip(lambda v, a, b: a, gone=1, omits=True)],
    "div": [
        Slip(lambda v, a, b: a, gone=1, omits=True),
        Slip(lambda v, a, b: 1 / b, gone=0, omits=True),
        Slip(lambda v, a, b: a * b, "it is multiplied by {b}, not divided,"),
        Slip(lambda v, a, b: a / b / b, "there is a division by {b} too many"),
    ],
    "sqrt": [Slip(lambda v, a: a, "the square root is forgotten", omits=True)],
    "transpose": [Slip(lambda v, a: a, "{a} is not transposed")],
    "matmul": [Slip(lambda v, a, b: a.T @ b, "{a} is transposed"), Slip(lambda v, a, b: a @ b.T, "{b} is transposed")],
    **{of: [Slip(lambda v, a: a, f"{of} is forgotten", omits=True)] for of in ("log", "tanh", "sin", "cos", "relu", "abs", "exp")},
}
SLIPS["exp"].append(Slip(lambda v, a: exp(-a), "the sign under exp is wrong"))
REDUCTIONS = ("sum", "mean", "max")

# ---- The mistakes that follow from a table


class Mistakes(NamedTuple):
    """What can be wrong in a derivation; what is wrong in one place stands before what is in several, for it says more."""

    likely: tuple[Mistake, ...]  # its own, and a path, a sign, a sum or a factor: of these, two may be made together
    backward: tuple[Mistake, ...]  # the likely ones, and whatever else may stand in a formula of the backward pass
    forward: tuple[Mistake, ...]  # what may be wrong with an equation, and with what stands there and further on


@cache
def mistakes_in(d: Derivation) -> Mistakes:
    """The mistakes in a derivation: its own, and those that follow from its table."""
    table = _table(d)
    missing, changed, forward = table.of_steps()
    likely = [*d.mistakes, *table.of_edges(), *missing]
    groups = likely, [*likely, *changed, *table.factors_too_many(), *table.stand_ins(), *table.gradients_left_out()], forward
    return Mistakes(*[tuple(sorted(group, key=lambda mistake: len(mistake.places))) for group in groups])


@cache
def factors_in(d: Derivation) -> tuple[Quantity, ...]:
    """The quantities that a whole gradient may have been multiplied or divided by."""
    return tuple(_table(d).factors())


class Quantity(NamedTuple):
    """What may stand for something of its shape, or multiply it: a variable, a gradient, or a step of a formula."""

    text: str
    shape: Shape
    rank: int  # what comes earlier in the passes has a lower one
    is_gradient: bool
    function: Formula


class _Place(NamedTuple):
    """A formula, and where it stands."""

    key: Any  # its number, or the variable for all of whose gradient it stands
    where: str  # "∂y/∂x̂, equation (5)"
    function: Formula
    steps: Recorded
    texts: dict[Tensor, str]  # of the steps
    rank: int

    def mistake(self, what: str, changes: Mapping[int, Change]) -> Mistake:
        return Mistake(f"{what} in {self.where}", steps={self.key: Changed(self.function, len(self.steps.nodes), changes)})


class _Table:
    """A derivation on arrays whose sizes tell their axes apart."""

    def __init__(self, d: Derivation):
        self.d, self.words = d, Wording(d)
        self.sizes, self.counts = self.words.sizes, self.words.counts
        random = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            values = d.forward(**{a: random.uniform(0.5, 1.5, to) for a, to in d.shapes_for(self.sizes).items()})
            upstream = random.normal(size=shape(values[d.result]))
            self.gradients = {d.upstream: upstream} | {f"d{a}": g for a, g in d.backward(upstream, **values).items()}
        self.values = values | self.gradients | {"sizes": self.sizes}
        self.ranks = {name: i for i, name in enumerate((*d.variables, *self.gradients))}
        self.equations = [self._place(e.number, f"{e.name}, equation ({e.number})", e.function, e.output) for e in d.equations]
        self.edges = [
            self._place(edge.number, f"{edge.name}, equation ({edge.number})", d.formula(edge), f"d{edge.output}")
            for edge in d.edges
        ]
        variables: dict[Any, str] = {edge.number: edge.input for edge in d.edges}
        self.forms = [
            self._place(key, f"{form.words} of {self.words.symbol(name)}", function, name)
            for form in forms_of(d)
            for key, function in form.formulas.items()
            for name in [f"d{variables.get(key, key)}"]
        ]

    def _place(self, key: Any, where: str, function: Formula, name: str) -> _Place:
        steps = recorded(function, self.values)
        return _Place(key, where, function, steps, self.words.texts(steps), self.ranks[name])

    def of_edges(self) -> Iterator[Mistake]:
        """A path that is left out, a sign, a sum."""
        d = self.d
        several = [(g, sorted(d.leaving(g.variable), key=lambda edge: edge.number)) for g in d.gradients if len(g.numbers) > 1]
        for g, edges in several:
            terms = [d.pull_back(edge, self.values) for edge in edges]
            for edge, term in zip(edges, terms):
                rest = sum(other for other in terms if other is not term)
                if all(np.abs(part).max() > 1e-9 for part in (term, rest)):  # else it is 0, or all that there is
                    what = f"{g.name} lacks the path through {self.words.symbol(edge.output)}, equation ({edge.number})"
                    yield Mistake(what, {edge.number: lambda term: term * 0})
        for place in self.edges:
            yield Mistake(f"the sign is wrong in {place.where}", {place.key: lambda term: -term})
        for edge, place in zip(d.edges, self.edges):
            sizes, to = place.steps.nodes[-1].shape, shape(self.values[edge.input])
            to = (1,) * (len(sizes) - len(to)) + to
            over = tuple(i for i, n in enumerate(sizes) if n > 1 and to[i] == 1)
            if over and edge.function is not None:
                for slip in self._reductions(sizes, over, "sum"):
                    yield Mistake(f"{slip.words} in {place.where}", sums={edge.number: partial(slip.change, {})})
        for g, edges in several:
            yield Mistake(f"the sign is wrong in all of {g.name}", {edge.number: lambda term: -term for edge in edges})

    def _reductions(self, sizes: Shape, over: tuple[int, ...], of: str, keepdims: bool = True) -> Iterator[Slip]:
        """What can be wrong with a sum or a mean over some axes."""

        def reduced(of: str, axis: Any) -> Change:
            return lambda v, a: getattr(array(a), of)(axis=axis, keepdims=keepdims)

        briefly = self.words.axes(sizes, over, full=False)
        share = self.words.number(math.prod([sizes[i] for i in over]), inverse=True)
        if of == "sum":
            yield Slip(lambda v, a: a, f"there is no sum over {briefly}")
        for axis, words in self._other_axes(sizes, over):
            yield Slip(reduced(of, axis), f"the {of} is {words}")
        if of == "sum":
            yield Slip(reduced("mean", over), f"there is a {share} too many (a mean for the sum over {briefly})")
        else:
            yield Slip(reduced("sum", over), f"the {share} is missing", omits=True)

    def _other_axes(self, sizes: Shape, over: tuple[int, ...]) -> Iterator[tuple[int | None, str]]:
        """What somebody may have taken for these axes, and how to say so."""
        these = self.words.axes(sizes, over)
        for i, n in enumerate(sizes):
            if (i,) != over and n > 1:
                yield i, f"over {self.words.axes(sizes, (i,))}, not over {these},"
        if len(over) < len(sizes):
            yield None, f"over everything, not only over {these},"

    def of_axes(self, place: _Place, one_by_one: bool) -> Iterator[Mistake]:
        """What a formula adds up, or takes the largest of, along other axes: all of it, or in a form one by one.

        A form goes on with sums where people write means, and a mean goes along with how many numbers it is of.
        """
        along: dict[tuple[Shape, tuple[int, ...]], dict[int, Tensor]] = {}
        for i, node in enumerate(place.steps.nodes):
            if operation(node) in REDUCTIONS:
                sizes = shape(node.inputs[0])
                along.setdefault((sizes, axes(len(sizes), node.params["axis"])), {})[i] = node
        for (sizes, over), group in along.items():
            sums = [i for i, node in group.items() if operation(node) != "max"]
            for axis, words in self._other_axes(sizes, over):
                if len(group) > 1:
                    yield place.mistake(f"everything is taken {words}", {i: _along(axis, node) for i, node in group.items()})
                if one_by_one:
                    means = dict.fromkeys(sums, _as_mean(axis, over))
                    for i in sums:
                        yield place.mistake(f"the mean of {place.texts[group[i].inputs[0]]} is {words}", {i: means[i]})
                    yield place.mistake(f"all means are {words}", means)

    def of_shifts(self, place: _Place) -> Iterator[Mistake]:
        """Without what is subtracted so that exp does not overflow, or with one number for all, so that it is 0."""
        shifts = self._shifts(place)
        largest = {i: _along(None, node) for i, node in enumerate(place.steps.nodes) if shifts and operation(node) == "max"}
        for what, changes in (
            ("is not subtracted before it", shifts),
            ("that is subtracted before it is the largest of all", largest),
        ):
            if changes:
                what = f"right while exp stays in the range of floats: the largest number {what},"
                yield place.mistake(what, changes)._replace(loses_digits=True)

    def _shifts(self, place: _Place) -> dict[int, Change]:
        """The steps that keep exp from overflowing, left out."""
        return {i: lambda v, a, shift: a for i, node in enumerate(place.steps.nodes) if is_shift(node)}

    def of_steps(self) -> tuple[list[Mistake], list[Mistake], list[Mistake]]:
        """Steps of formulas: what is missing in an edge's, what else is wrong with those; what is with equations, or wherever."""
        missing: list[Mistake] = []
        changed: list[Mistake] = []
        forward: list[Mistake] = []
        everywhere: dict[tuple[str, str], dict[Any, Any]] = {}
        for places, omissions, others in (
            (self.equations, forward, forward),
            (self.edges, missing, changed),
            (self.forms, changed, changed),
        ):
            for place in places:
                slips = list(self._slips(place))
                times = Counter(slip.words for slip, *_ in slips)
                for slip, whole, changes in slips:
                    what = f"{slip.words.rstrip(',')}, in {whole}," if times[slip.words] > 1 else slip.words
                    mistake = place.mistake(what, changes)
                    (omissions if slip.omits else others).append(mistake)
                    if places is not self.forms:
                        everywhere.setdefault((slip.words, whole), {}).update(mistake.steps)
                others.extend([*self.of_axes(place, one_by_one=places is self.forms), *self.of_shifts(place)])
        wherever = [Mistake(f"{what} wherever {whole} stands", steps=s) for (what, whole), s in everywhere.items() if len(s) > 1]
        return missing, changed, [*forward, *wherever]

    def _slips(self, place: _Place) -> Iterator[tuple[Slip, str, dict[int, Change]]]:
        """What can be wrong with the steps of a formula; with which expression; and the changes, wherever that is in it."""
        nodes, texts = place.steps.nodes, place.texts
        groups: dict[tuple[str, str], list[int]] = {}
        below: dict[Tensor, bool] = {}  # a fraction bar
        for i, node in reversed(list(enumerate(nodes))):
            of = operation(node)
            groups.setdefault((texts[node], of), []).append(i)
            for j, a in enumerate(node.inputs):
                if isinstance(a, Tensor) and of in ("mul", "div", "neg", "sqrt"):
                    below[a] = below.get(node, False) ^ (of == "div" and j == 1)
        right = place.steps.run(self.values, {})
        for (whole, of), group in reversed(groups.items()):
            node = nodes[group[0]]
            words = dict(zip("ab", [self.words.text(a, texts) for a in node.inputs]), whole=whole)
            for slip in self._slips_of(node, place.steps.names):
                if slip.gone is not None:
                    if self._flows_in(node.inputs[slip.gone], place.steps.names):
                        continue
                    words["gone"] = self._gone(place, node, slip.gone, below.get(node, False))
                changes = dict.fromkeys(group, slip.change)
                if of == "exp" and slip.omits:  # what keeps it from overflowing goes with it
                    changes |= self._shifts(place)
                if self._matters(place, changes, right):
                    yield slip._replace(words=slip.words.format(**words)), whole, changes

    def _slips_of(self, node: Tensor, names: Mapping[Tensor, str]) -> Iterator[Slip]:
        of = operation(node)
        yield from SLIPS.get(of, [])
        if names.get(node) in self.d.constants:
            default = self.d.constants[names[node]]
            yield Slip(lambda v: default, f"{{whole}} is always {self.words.number(default)}, not the one that was passed,")
        if of == "pow":
            n = node.params["exponent"]
            root = n == 0.5
            yield Slip(lambda v, a: a, "the square root is forgotten" if root else "{a} stands for {whole}", omits=root)
            for other in (n + 1, n - 1, n + 0.5, n - 0.5):
                words = f"the power is {self.words.number(other)}, not {self.words.number(n)}," if other else "{whole} is missing"
                yield Slip(lambda v, a, other=other: a**other, words, omits=not other)
        if of == "div" and not shape(m := node.inputs[1]) and not isinstance(m, Tensor) and abs(m) in self.counts:
            right = self.counts[abs(m)]
            yield Slip(lambda v, a, m: a / (m - 1), f"there is {right} − 1 for {right}")
            for name, size in self.sizes.items():
                if size != m:
                    yield Slip(lambda v, a, m, name=name: a / v["sizes"][name], f"there is {self.counts[size]} for {right}")
        if of in REDUCTIONS:
            sizes = shape(node.inputs[0])
            over = axes(len(sizes), node.params["axis"])
            if of == "max":
                for axis, where in self._other_axes(sizes, over):
                    yield Slip(_along(axis, node), f"the largest is {where}")
            else:
                yield from self._reductions(sizes, over, of, node.params["keepdims"])

    def _gone(self, place: _Place, node: Tensor, i: int, below: bool) -> str:
        """What is said where an input is gone, of a step that is ``below`` a fraction bar or not."""
        a, below = node.inputs[i], below ^ (operation(node) == "div" and i == 1)
        if not isinstance(a, Tensor):
            return f"the {'…' if shape(a) else self.words.number(float(a), below)} is missing"
        text = place.texts[a]
        if below:
            return f"the division by {text} is missing"
        return f"{text} is forgotten" if a in place.steps.names else f"the factor {text} is missing"

    def _flows_in(self, a: Value, names: Mapping[Tensor, str]) -> bool:
        """Whether this is the gradient of an array that a formula takes: few leave that out, and last it is tried."""
        return isinstance(a, Tensor) and bool(a.shape) and names.get(a) in self.gradients

    def _matters(self, place: _Place, changes: Mapping[int, Change], right: Value) -> bool:
        """Whether such a change is possible, and gives other numbers."""
        try:
            with np.errstate(all="ignore"):
                value = place.steps.run(self.values, changes)
        except ValueError:  # shapes that do not fit
            return False
        return shape(value) != shape(right) or not np.allclose(value, right, 1e-9, 0)

    def factors_too_many(self) -> Iterator[Mistake]:
        """A variable, or a 1/m, that is there once more than it should be."""
        for place in self.edges:
            to = place.steps.nodes[-1].shape
            for name in self.d.variables[:-1]:
                if broadcasts(shape(self.values[name]), to):
                    symbol = self.words.symbol(name)
                    article = "an" if symbol[0] in "aefhilmnorsx" and not symbol[1:2].isalpha() else "a"
                    times = with_parameters(("term", name), lambda term, value: term * value)
                    yield Mistake(f"there is {article} {symbol} too many in {place.where}", {place.key: times})
            for name, size in self.sizes.items():
                over = with_parameters(("term", "sizes"), lambda term, sizes, name=name: term / sizes[name])
                yield Mistake(f"there is a 1/{self.counts[size]} too many in {place.where}", {place.key: over})

    def gradients_left_out(self) -> Iterator[Mistake]:
        """A local derivative for what is carried back along its edge."""
        for place in self.edges:
            for i, node in enumerate(place.steps.nodes):
                for slip in SLIPS.get(operation(node), []):
                    if slip.gone is not None and self._flows_in(a := node.inputs[slip.gone], place.steps.names):
                        yield place.mistake(f"there is no {self.words.symbol(place.steps.names[a])}", {i: slip.change})

    def stand_ins(self) -> Iterator[Mistake]:
        """A quantity of the same shape in the place of what should stand there."""
        quantities = list(self._quantities())
        for place in (*self.edges, *self.forms):
            names, seen = place.steps.names, set()
            for i, node in enumerate(place.steps.nodes[:-1]):
                if not (node.primitive or node in names):
                    continue
                for q in quantities:
                    what = f"{q.text} stands for {place.texts[node]}"
                    fits = q.shape == node.shape and q.rank < place.rank and q.is_gradient == self._flows_in(node, names)
                    if fits and q.text != place.texts[node] and what not in seen:
                        seen.add(what)
                        yield place.mistake(what, {i: lambda v, *inputs, q=q: evaluate(q.function, v)})

    def _quantities(self) -> Iterator[Quantity]:
        for name, rank in self.ranks.items():
            value = with_parameters((name,), lambda value: value)
            yield Quantity(self.words.symbol(name), shape(self.values[name]), rank, name in self.gradients, value)
        for place in self.equations:
            yield from self._quantities_in(place, place.steps.nodes[:-1])

    def _quantities_in(self, place: _Place, nodes: Sequence[Tensor]) -> Iterator[Quantity]:
        for i, node in enumerate(nodes):
            text, flows = place.texts[node], any(self._flows_in(a, place.steps.names) for a in in_order([node]))
            if node.primitive and node.shape and "max" not in text and not flows:
                yield Quantity(text, node.shape, place.rank, False, self._step(place.function, i))

    def _step(self, function: Formula, i: int) -> Formula:
        """What a formula has at a step that takes no gradient: of one that it names the shape counts, which is its variable's."""
        given = {a: a[1:] if a in self.gradients else a for a in parameters(function)}
        names = tuple(dict.fromkeys(given.values()))

        def value(*arguments: Value) -> Value:
            known = dict(zip(names, arguments))
            values = {a: known[name] for a, name in given.items()}
            return recorded(function, values).run(values, {}, i)

        return with_parameters(names, value)

    def factors(self) -> Iterator[Quantity]:
        """What all of a gradient may be multiplied or divided by: also q (1 − q), which a sigmoid's derivative is."""
        seen: list[Value] = []
        steps = [q for place in self.edges for q in self._quantities_in(place, place.steps.nodes)]
        for q in (*[q for q in self._quantities() if not q.is_gradient], *steps):
            value = evaluate(q.function, self.values)
            new = not any(shape(value) == shape(other) and np.allclose(value, other) for other in seen)
            if new and np.abs(value).max() > 1e-9:
                seen.append(value)
                yield q
                if np.min(value) > 0 and np.max(value) < 1:
                    names = parameters(q.function)
                    slope = with_parameters(names, lambda *a, q=q: (p := q.function(*a)) * (1 - p))
                    written = recorded(slope, self.values)
                    yield q._replace(text=self.words.texts(written)[written.nodes[-1]], function=slope)


def _along(axis: int | None, node: Tensor) -> Change:
    return lambda v, a: again(node, [a], axis=axis)


def _as_mean(axis: int | None, over: tuple[int, ...]) -> Change:
    """The mean over other axes, where a sum stands that is divided by how many numbers it is of."""
    return lambda v, a: array(a).mean(axis=axis, keepdims=True) * count(a, over)


_table = cache(_Table)
