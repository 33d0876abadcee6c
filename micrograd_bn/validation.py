"""What is wrong with a derivation's table, in words: each thing that is checked, once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .derivation import Derivation, Edge

# What an input's numbers may be, where they are not any: near 1; greater than 0; shares of 1 along the last axis.
DOMAINS = ("scale", "positive", "probabilities")

# What a Mistake may name besides variables, constants and gradients.
RESERVED = {"term": "what the right formula gives, in a Mistake", "sizes": "those of the axes, in a Mistake"}


def complaints(d: Derivation, edges: list[Edge], texts: Mapping[str | int, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a table that is made of these arguments, the most basic first: it may be what leads to the others."""
    yield from _of_equations(d, defaults)
    yield from _of_names(d)
    yield from _of_edges(d, edges)
    yield from _of_arguments(d, texts, defaults)
    yield from _of_use(d)


def _of_equations(d: Derivation, defaults: Mapping[str, Any]) -> Iterator[str]:
    computed = {e.output: e.number for e in d.equations}
    known: set[str] = set()
    for e in d.equations:
        if e.output in known:
            yield f"equations ({computed[e.output]}) and before compute {e.output!r} twice: one each"
        for a in e.inputs:
            if a in computed and a not in known:
                yield (
                    f"equation ({e.number}) needs {a!r}, which equation ({computed[a]}) computes only then or later: order them as "
                    "they are computed, without a cycle"
                )
        known.add(e.output)
        for k, v in e.constants.items():
            if k not in defaults and d.constants[k] is not v and d.constants[k] != v:
                yield f"{k!r} is {v!r} in equation ({e.number}) and {d.constants[k]!r} further on: say which, defaults={{{k!r}: …}}"
    if not d.inputs:
        yield "there is nothing to differentiate by: a parameter without a default is a variable"


def _of_names(d: Derivation) -> Iterator[str]:
    meanings = {f"d{a}": f"the gradient of {a!r}" for a in d.variables if a not in d.no_gradient}
    meanings |= RESERVED
    for name, times in Counter([*d.variables, *d.constants]).items():
        if name in meanings or times > 1:
            yield f"{name!r} is also {meanings.get(name, 'a constant, with a default')}: it needs another name"


def _of_edges(d: Derivation, given: list[Edge]) -> Iterator[str]:
    known, pairs = {(edge.output, edge.input) for edge in d.edges}, Counter((edge.output, edge.input) for edge in given)
    for edge in given:
        what = f"edge ({edge.number}) is of {edge.output!r} with respect to {edge.input!r}"
        if (edge.output, edge.input) not in known:
            yield f"{what}, and no equation computes the one from the other"
        if pairs[edge.output, edge.input] > 1:
            yield f"{what}, and another one, too: one each"
    for number, times in Counter([e.number for e in d.equations] + [edge.number for edge in d.edges]).items():
        if times > 1:
            yield f"number {number} is used twice: each equation and each edge has its own"


def _of_arguments(d: Derivation, texts: Mapping[str | int, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """What is named in an argument is there."""
    equations, edges = [e.number for e in d.equations], [edge.number for edge in d.edges]
    condensed, differentiated = [g.variable for g in d.condensed], list(dict.fromkeys(edge.input for edge in d.edges))
    constants = list(dict.fromkeys(k for e in d.equations for k in e.constants))
    replaced, changed = [n for form in d.forms.values() for n in form], [place for m in d.mistakes for place in m.places]
    for argument, names, what, known in (
        ("shapes", d.shapes, "inputs", d.inputs),
        ("domains", d.domains, "inputs", d.inputs),
        ("domains", d.domains.values(), "domains", DOMAINS),
        ("no_gradient", d.no_gradient, "inputs", d.inputs),
        ("defaults", defaults, "constants", constants),
        ("texts", texts, "variables and edges", [*d.variables, *edges]),
        ("condensed", condensed, "variables with a gradient", differentiated),
        ("forms", replaced, "edges and variables with a gradient", [*edges, *differentiated]),
        ("mistakes", changed, "equations, edges and condensed forms", [*equations, *edges, *condensed]),
    ):
        for name in names:
            if name not in known:
                yield f"{argument} names {name!r}, and the {what} are {', '.join(map(str, known))}"
    for a, dims in d.shapes.items():
        named = isinstance(dims, tuple) and all(isinstance(n, str) for n in dims)
        if not named and (dims != "kept" or a == d.inputs[0]):
            yield (
                "a shape is a tuple of names of sizes such as ('m', 'k'), with '1' for a size of 1; or, after the first input's, "
                f"'kept', which is that one with 1 along the axis; and {a!r} has {dims!r}"
            )


def _of_use(d: Derivation) -> Iterator[str]:
    """A name that is spelt otherwise where it is used is an input like any other, and would be drawn at random."""
    used = {a for e in d.equations for a in e.inputs}
    for e in d.equations[:-1]:
        if e.output not in used:
            yield (
                f"equation ({e.number}) computes {e.output!r}, and no equation uses it: is it spelt otherwise there? "
                f"The inputs are {', '.join(d.inputs)}"
            )
