"""What can be wrong in a derivation follows from its table: a path left out, a sign, a sum, and each step of a formula.

``mistakes_in(d)`` lists a derivation's own mistakes and these, in words; a formula is ``recorded``, for its steps to be changed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import combinations
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .derivation import Derivation, Formula, Mistake, with_parameters
from .engine import Tensor
from .kinds import Value, apply
from .recorded import Change, Changed, Recorded, Values, recorded
from .shapes import Shape, array, axes, count, shape

# ---- What may be wrong with a step: what its inputs a and b then give, which of them is gone, and the words if that is not all

STEPS: dict[str, list[tuple[Change, int | None, str]]] = {
    "add": [
        (lambda v, a, b: a, 1, "{b} is forgotten"),
        (lambda v, a, b: b, 0, "{a} is forgotten"),
        (lambda v, a, b: a - b, None, "there is a − for the + in {whole}"),
    ],
    "sub": [
        (lambda v, a, b: a, 1, "{a} stands for {whole}"),
        (lambda v, a, b: -b, 0, "{a} is forgotten"),
        (lambda v, a, b: a + b, None, "there is a + for the − in {whole}"),
    ],
    "mul": [(lambda v, a, b: b, 0, ""), (lambda v, a, b: a, 1, "")],
    "div": [
        (lambda v, a, b: a, 1, ""),
        (lambda v, a, b: 1 / b, 0, ""),
        (lambda v, a, b: a * b, None, "it is multiplied by {b}, not divided,"),
        (lambda v, a, b: a / b / b, None, "there is a division by {b} too many"),
    ],
    "sqrt": [(lambda v, a: a, None, "the square root is forgotten")],
    "transpose": [(lambda v, a: a, None, "{a} is not transposed")],
    "matmul": [(lambda v, a, b: a.T @ b, None, "{a} is transposed"), (lambda v, a, b: a @ b.T, None, "{b} is transposed")],
    **{name: [(lambda v, a: a, None, f"{name} is forgotten")] for name in ("exp", "log", "tanh", "sin", "cos", "relu", "abs")},
}

# ---- A step in words, and how tightly they hold together: 1 for a sum, 2 for a product, 3 for what stands alone

Part: TypeAlias = tuple[str, int]
WORDS: dict[str, tuple[str, int, tuple[int, ...]]] = {  # with the tightness that each input needs, else it is put in parentheses
    "add": ("{} + {}", 1, (1, 1)),
    "sub": ("{} − {}", 1, (1, 2)),
    "mul": ("{} {}", 2, (2, 3)),
    "matmul": ("{} {}", 2, (2, 3)),
    "div": ("{} / {}", 2, (2, 3)),
    "neg": ("−{}", 2, (2,)),
    "sqrt": ("√{}", 3, (3,)),
    "sum": ("Σ {}", 2, (2,)),
    "transpose": ("{}ᵀ", 3, (3,)),
}
POWERS = {0.5: "√{}", 2: "{}²", 3: "{}³"}
# Sizes by which a number in a formula is known for a count: 77 for two axes together.
PRIMES = (7, 11, 13, 5, 3, *[n for n in range(17, 100, 2) if all(n % i for i in range(3, n, 2))])
REDUCTIONS = ("sum", "mean", "max")
NAMES_OF_AXES = {"m": "the batch", "k": "the features"}


def _shift(node: Tensor) -> bool:
    """Whether this adds or subtracts what the chain rule takes for a constant: so that exp does not overflow, and for no more."""
    shift = node.inputs[-1]
    return isinstance(shift, Tensor) and shift.primitive is not None and shift.primitive.name == "stop_gradient"


# ---- The mistakes that follow from a table


class Mistakes(NamedTuple):
    """What can be wrong in a derivation; what is wrong in one place stands before what is in several, for it says more."""

    likely: tuple[Mistake, ...]  # its own, and a path, a sign, a sum or a factor: of these, two may be made together
    backward: tuple[Mistake, ...]  # the likely ones, and whatever else may stand in a formula of the backward pass
    forward: tuple[Mistake, ...]  # what may be wrong with an equation, and with what stands there and further on


@cache
def mistakes_in(d: Derivation) -> Mistakes:
    """The mistakes in a derivation: its own, and those that follow from its table."""
    table = _Table(d)
    missing, changed, forward = table.of_steps()
    likely = [*d.mistakes, *table.of_edges(), *missing]
    groups = likely, [*likely, *changed, *table.factors_too_many(), *table.stand_ins()], forward
    return Mistakes(*[tuple(sorted(group, key=lambda mistake: len(mistake.places))) for group in groups])


class _Quantity(NamedTuple):
    """What may stand for something of its shape: a variable, a gradient, or a step of an equation."""

    text: str
    shape: Shape
    rank: int  # what comes earlier in the passes has a lower one
    is_gradient: bool
    of: Callable[[Values], Value]


class _Place(NamedTuple):
    """A formula, and where it stands."""

    key: Any  # its number, or the variable whose condensed form it is
    where: str  # "∂y/∂x̂, equation (5)"
    function: Formula
    steps: Recorded
    parts: list[Part]
    rank: int

    def mistake(self, what: str, changes: Mapping[int, Change]) -> Mistake:
        return Mistake(f"{what} in {self.where}", {self.key: Changed(self.function, len(self.steps.nodes), changes)})


class _Table:
    """A derivation on arrays whose sizes tell their axes apart."""

    def __init__(self, d: Derivation):
        self.d = d
        self.sizes = dict(zip(d.size_names, PRIMES))
        random = np.random.default_rng(0)
        with np.errstate(all="ignore"):
            values = d.forward(**{a: random.uniform(0.5, 1.5, to) for a, to in d.shapes_for(self.sizes).items()})
            upstream = random.normal(size=shape(values[d.result]))
            gradients = {f"d{a}": g for a, g in d.backward(upstream, **values).items()}
        self.values = values | {d.upstream: upstream} | gradients
        self.values["sizes"] = self.sizes
        self.ranks = {name: i for i, name in enumerate((*d.variables, d.upstream, *gradients))}
        words = set(re.findall(r"[^\W\d_]+", " ".join([*[e.text for e in d.equations], *[edge.text for edge in d.edges]])))
        self.counts: dict[float, str] = {}  # what sizes and their products are called: m, if not by the name of an axis
        for n in range(1, len(self.sizes) + 1):
            for names in combinations(self.sizes, n):  # "m" on paper is a count that has no other name
                own = "m" in self.sizes or (n == 1 and names[0] in words) or "m" not in words
                self.counts[math.prod(self.sizes[name] for name in names)] = " ".join(names) if own else "m"
        self.axes = NAMES_OF_AXES | {d.shapes[a][-1]: "the classes" for a, what in d.domains.items() if what == "probabilities"}
        self.equations = [self._place(e.number, f"{e.name}, equation ({e.number})", e.function, e.output) for e in d.equations]
        self.edges = [
            self._place(edge.number, f"{edge.name}, equation ({edge.number})", d.formula(edge), f"d{edge.output}", 1)
            for edge in d.edges
        ]
        inputs = {edge.number: edge.input for edge in d.edges}
        self.forms = [
            self._place(number, f"{name} of {self._symbol(f'd{inputs[number]}')}", function, f"d{inputs[number]}")
            for name, functions in d.forms.items()
            for number, function in functions.items()
        ]
        self.forms += [
            self._place(g.variable, f"the condensed form of {g.name}", g.function, f"d{g.variable}") for g in d.condensed
        ]

    def _place(self, key: Any, where: str, function: Formula, name: str, later: int = 0) -> _Place:
        steps = recorded(function, self.values)
        parts: dict[Tensor, Part] = {}
        for node in steps.nodes:
            parts[node] = self._part(node, [self._known(a, parts) for a in node.inputs], steps.names.get(node))
        return _Place(key, where, function, steps, list(parts.values()), self.ranks[name] + later)

    # ---- in words

    def _symbol(self, name: str) -> str:
        return self.d.called(name)[0]

    def _number(self, number: float, inverse: bool = False) -> str:
        number, sign = abs(number), "−" if number < 0 else ""
        text = self.counts.get(number) or {0.5: "½"}.get(number, f"{number:g}".replace("e-0", "e-"))
        squared = round(number**2, 9)
        text = f"√{self.counts[squared]}" if squared in self.counts else text
        return sign + ({"2": "½", "½": "2"}.get(text, f"1/({text})" if " " in text else f"1/{text}") if inverse else text)

    def _known(self, a: Value, parts: Mapping[Tensor, Part]) -> Part:
        return parts[a] if isinstance(a, Tensor) else ("…" if shape(a) else self._number(float(a)), 3)

    def _part(self, node: Tensor, inputs: list[Part], name: str | None) -> Part:
        if name is not None:
            return self._symbol(name), 3
        if node.primitive is None:
            return self._known(node.data, {})
        operation = node.primitive.name
        if _shift(node) or operation in ("reshape", "broadcast", "astype"):
            return inputs[0]
        needed: tuple[int, ...]
        if operation == "pow":
            exponent = node.params["exponent"]
            text, level, needed = POWERS.get(exponent, f"{{}}^({self._number(exponent)})"), 3, (3,)
        else:
            text, level, needed = WORDS.get(operation, (f"{operation}({', '.join(['{}'] * len(inputs))})", 3, (1,) * len(inputs)))
        return text.format(*[part if tight >= least else f"({part})" for (part, tight), least in zip(inputs, needed)]), level

    def _axes(self, sizes: Shape, over: tuple[int, ...], full: bool = True) -> str:
        """Axes by what goes along them, and by their numbers."""
        if len(over) != 1:
            return f"the axes {', '.join(map(str, over[:-1]))} and {over[-1]}"
        name = self.axes.get(next((n for n, known in self.sizes.items() if known == sizes[over[0]]), ""))
        return f"axis {over[0]}" if name is None else f"{name} (axis {over[0]})" if full else name

    # ---- the mistakes

    def of_edges(self) -> Iterator[Mistake]:
        """A path that is left out, a sign, a sum."""
        d = self.d
        several = [(g, sorted(d.leaving(g.variable), key=lambda edge: edge.number)) for g in d.gradients if len(g.numbers) > 1]
        for g, edges in several:
            terms = [d.pull_back(edge, self.values) for edge in edges]
            for edge, term in zip(edges, terms):
                rest = sum(other for other in terms if other is not term)
                if all(np.abs(part).max() > 1e-9 for part in (term, rest)):  # else it is 0, or all that there is
                    what = f"{g.name} lacks the path through {self._symbol(edge.output)}, equation ({edge.number})"
                    yield Mistake(what, {edge.number: lambda term: term * 0})
        for place in self.edges:
            yield Mistake(f"the sign is wrong in {place.where}", {place.key: lambda term: -term})
        for edge, place in zip(d.edges, self.edges):
            sizes, to = place.steps.nodes[-1].shape, shape(self.values[edge.input])
            to = (1,) * (len(sizes) - len(to)) + to
            over = tuple(i for i, n in enumerate(sizes) if n > 1 and to[i] == 1)
            if over and edge.function is not None:
                for what, change in self._reductions(sizes, over, "sum"):
                    yield Mistake(f"{what} in {place.where}", sums={edge.number: partial(change, {})})
        for g, edges in several:
            yield Mistake(f"the sign is wrong in all of {g.name}", {edge.number: lambda term: -term for edge in edges})

    def _reductions(
        self, sizes: Shape, over: tuple[int, ...], operation: str, keepdims: bool = True
    ) -> Iterator[tuple[str, Change]]:
        """What can be wrong with a sum or a mean over some axes."""
        briefly = self._axes(sizes, over, full=False)
        if operation == "sum":
            yield f"there is no sum over {briefly}", lambda v, a: a
        for axis, words in self._other_axes(sizes, over):
            yield f"the {operation} is {words}", partial(_reduced, operation, axis, keepdims)
        share = self._number(math.prod([sizes[i] for i in over]), inverse=True)
        other = (
            f"there is a {share} too many (a mean for the sum over {briefly})" if operation == "sum" else f"the {share} is missing"
        )
        yield other, partial(_reduced, "mean" if operation == "sum" else "sum", over, keepdims)

    def _other_axes(self, sizes: Shape, over: tuple[int, ...]) -> Iterator[tuple[int | None, str]]:
        """What somebody may have taken for these axes, and how to say so."""
        for i, n in enumerate(sizes):
            if (i,) != over and n > 1:
                yield i, f"over {self._axes(sizes, (i,))}, not over {self._axes(sizes, over)},"
        if len(over) < len(sizes):
            yield None, f"over everything, not only over {self._axes(sizes, over)},"

    def of_axes(self, place: _Place) -> Iterator[Mistake]:
        """What a formula adds up, or takes the largest of, along other axes: all of it, or in a form one by one.

        A form goes on with sums where people write means, and a mean goes along with how many numbers it is of.
        """
        known = dict(zip(place.steps.nodes, place.parts))
        along: dict[tuple[Shape, tuple[int, ...]], dict[int, Tensor]] = {}
        for i, node in enumerate(place.steps.nodes):
            if node.primitive and node.primitive.name in REDUCTIONS:
                sizes = shape(node.inputs[0])
                along.setdefault((sizes, axes(len(sizes), node.params["axis"])), {})[i] = node
        for (sizes, over), group in along.items():
            for axis, words in self._other_axes(sizes, over):
                if len(group) > 1:
                    yield place.mistake(
                        f"everything is taken {words}", {i: partial(_along, axis, node) for i, node in group.items()}
                    )
                if place in self.forms:
                    means: dict[int, Change] = dict.fromkeys(group, partial(_as_mean, axis, over))
                    for i, node in group.items():
                        yield place.mistake(f"the mean of {self._known(node.inputs[0], known)[0]} is {words}", {i: means[i]})
                    yield place.mistake(f"all means are {words}", means)

    def of_shifts(self, place: _Place) -> Iterator[Mistake]:
        """Without what is subtracted so that exp does not overflow, or with one number for all, so that it is 0."""
        nodes = place.steps.nodes
        shifts = [i for i, node in enumerate(nodes) if node.primitive and _shift(node)]
        largest = [i for i, node in enumerate(nodes) if shifts and node.primitive and node.primitive.name == "max"]
        for what, changes in (
            ("is not subtracted before it", dict.fromkeys(shifts, lambda v, a, shift: a)),
            ("that is subtracted before it is the largest of all", {i: partial(_along, None, nodes[i]) for i in largest}),
        ):
            if changes:
                what = f"right while exp stays in the range of floats: the largest number {what},"
                yield place.mistake(what, changes)._replace(loses_digits=True)

    def of_steps(self) -> tuple[list[Mistake], list[Mistake], list[Mistake]]:
        """Steps of formulas: what is missing in an edge's, what else is wrong with those; what is with equations, or wherever."""
        missing: list[Mistake] = []
        changed: list[Mistake] = []
        forward: list[Mistake] = []
        everywhere: dict[tuple[str, str], dict[Any, Change]] = {}
        for place in (*self.equations, *self.edges, *self.forms):
            found = list(self._of_steps(place))
            for what, whole, changes in found:
                again = sum(what == other for other, *_ in found) > 1
                mistake = place.mistake(f"{what.rstrip(',')}, in {whole}," if again else what, changes)
                if place not in self.forms:
                    everywhere.setdefault((what, whole), {}).update(mistake.formulas)
                gone = place in self.edges and what.endswith(("is missing", "is forgotten"))
                (forward if place in self.equations else missing if gone else changed).append(mistake)
            further = [*self.of_axes(place), *self.of_shifts(place)]
            (forward if place in self.equations else changed).extend(further)
        wherever = [Mistake(f"{what} wherever {whole} stands", f) for (what, whole), f in everywhere.items() if len(f) > 1]
        return missing, changed, [*forward, *wherever]

    def _of_steps(self, place: _Place) -> Iterator[tuple[str, str, dict[int, Change]]]:
        """What can be wrong with the steps of a formula: in words, of which expression, and the changes wherever that is in it."""
        nodes, parts, names = place.steps.nodes, place.parts, place.steps.names
        known = dict(zip(nodes, parts))
        groups: dict[tuple[str, str], list[int]] = {}
        inverse: dict[Tensor, bool] = {}  # below a fraction bar
        for i, node in reversed(list(enumerate(nodes))):
            operation = node.primitive.name if node.primitive else ""
            groups.setdefault((parts[i][0], operation), []).append(i)
            for j, a in enumerate(node.inputs):
                if isinstance(a, Tensor) and operation in ("mul", "div", "neg", "sqrt"):
                    inverse[a] = inverse.get(node, False) ^ (operation == "div" and j == 1)
        right = place.steps.run(self.values, {})
        for (whole, operation), group in reversed(groups.items()):
            node = nodes[group[0]]
            texts = dict(zip("ab", [self._known(a, known)[0] for a in node.inputs]), whole=whole)
            for change, gone, words in self._of_step(node, names):
                if gone is not None and self._flows_in(node.inputs[gone], names):
                    continue
                if not words and gone is not None:
                    below = inverse.get(node, False) ^ (operation == "div" and gone == 1)
                    words = self._missing(node.inputs[gone], texts["ab"[gone]], below, names)
                changes = dict.fromkeys(group, change)
                if self._matters(place, changes, right):
                    yield words.format(**texts), whole, changes

    def _of_step(self, node: Tensor, names: Mapping[Tensor, str]) -> Iterator[tuple[Change, int | None, str]]:
        operation = node.primitive.name if node.primitive else ""
        yield from STEPS.get(operation, [])
        if names.get(node) in self.d.constants:
            default = self.d.constants[names[node]]
            yield lambda values: default, None, f"{{whole}} is always {self._number(default)}, not the one that was passed,"
        if operation == "pow":
            n = node.params["exponent"]
            yield lambda v, a: a, None, "the square root is forgotten" if n == 0.5 else "{a} stands for {whole}"
            for other in (n + 1, n - 1, n + 0.5, n - 0.5):
                words = f"the power is {self._number(other)}, not {self._number(n)}," if other else "{whole} is missing"
                yield partial(_to_the, other), None, words
        if operation == "div" and not shape(m := node.inputs[1]) and not isinstance(m, Tensor) and abs(m) in self.counts:
            right = self.counts[abs(m)]
            yield lambda v, a, m: a / (m - 1), None, f"there is {right} − 1 for {right}"
            for name in self.sizes:
                if self.sizes[name] != m:
                    yield partial(_divided_by, name), None, f"there is {self.counts[self.sizes[name]]} for {right}"
        if operation in ("sum", "mean"):
            sizes = shape(node.inputs[0])
            over = axes(len(sizes), node.params["axis"])
            for what, change in self._reductions(sizes, over, operation, node.params["keepdims"]):
                yield change, None, what

    def _missing(self, a: Value, text: str, below: bool, names: Mapping[Tensor, str]) -> str:
        if not isinstance(a, Tensor):
            return f"the {self._number(float(a), below) if not shape(a) else text} is missing"
        if below:
            return f"the division by {text} is missing"
        return f"{text} is forgotten" if a in names else f"the factor {text} is missing"

    def _flows_in(self, a: Value, names: Mapping[Tensor, str]) -> bool:
        """Whether this is the gradient of an array that a formula takes: nobody leaves that out."""
        return isinstance(a, Tensor) and bool(a.shape) and names.get(a, "") in self.ranks and names[a] not in self.d.variables

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
                own = shape(self.values[name])
                if len(own) <= len(to) and all(n in (1, m) for n, m in zip(own[::-1], to[::-1])):
                    symbol = self._symbol(name)
                    article = "an" if symbol[0] in "aefhilmnorsx" and not symbol[1:2].isalpha() else "a"
                    times = with_parameters(("term", name), lambda term, value: term * value)
                    yield Mistake(f"there is {article} {symbol} too many in {place.where}", {place.key: times})
            for name, size in self.sizes.items():
                over = with_parameters(("term", "sizes"), lambda term, sizes, name=name: term / sizes[name])
                yield Mistake(f"there is a 1/{self.counts[size]} too many in {place.where}", {place.key: over})

    def stand_ins(self) -> Iterator[Mistake]:
        """A quantity of the same shape in the place of what should stand there."""
        quantities = list(self._quantities())
        for place in (*self.edges, *self.forms):
            seen = set()
            for i, node in enumerate(place.steps.nodes[:-1]):
                if not (node.primitive or node in place.steps.names):
                    continue
                for q in quantities:
                    what = f"{q.text} stands for {place.parts[i][0]}"
                    fits = (
                        q.shape == node.shape and q.rank < place.rank and q.is_gradient == self._flows_in(node, place.steps.names)
                    )
                    if fits and q.text != place.parts[i][0] and what not in seen:
                        seen.add(what)
                        yield place.mistake(what, {i: partial(_value_of, q)})

    def _quantities(self) -> Iterator[_Quantity]:
        for name, rank in self.ranks.items():
            is_gradient = name not in self.d.variables
            yield _Quantity(self._symbol(name), shape(self.values[name]), rank, is_gradient, itemgetter(name))
        for place in self.equations:
            for i, node in enumerate(place.steps.nodes[:-1]):
                if node.primitive and node.shape and "max" not in place.parts[i][0]:
                    yield _Quantity(place.parts[i][0], node.shape, place.rank, False, partial(_at_step, place.function, i))


def _reduced(operation: str, axis: Any, keepdims: bool, values: Values, a: Value) -> Value:
    return getattr(array(a), operation)(axis=axis, keepdims=keepdims)


def _along(axis: int | None, node: Tensor, values: Values, a: Value) -> Value:
    assert node.primitive
    return apply(node.primitive.forward, [a], {**node.params, "axis": axis})


def _as_mean(axis: int | None, over: tuple[int, ...], values: Values, a: Value) -> Value:
    """The mean over other axes, where a sum stands that is divided by how many numbers it is of."""
    return array(a).mean(axis=axis, keepdims=True) * count(a, over)


def _divided_by(name: str, values: Values, a: Value, m: Value) -> Value:
    return a / values["sizes"][name]


def _unshifted(values: Values, a: Value, shift: Value) -> Value:
    return a


def _to_the(exponent: float, values: Values, a: Value) -> Value:
    return a**exponent


def _value_of(quantity: _Quantity, values: Values, *inputs: Value) -> Value:
    return quantity.of(values)


def _at_step(function: Formula, i: int, values: Values) -> Value:
    return recorded(function, values).run(values, {}, i)
