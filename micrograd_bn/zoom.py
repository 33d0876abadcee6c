"""A graph at a zoom: which of its nodes are seen, what each was computed from there, and what they are called."""

from __future__ import annotations

from collections import Counter
from typing import Any

from .derivation import made_by, tensors_in
from .dispatch import holds_tensors
from .engine import Step, Tensor, adjoints
from .kinds import Value
from .shapes import shape


class Zoomed:
    """A graph at a zoom (see ``draw``); of at most ``max_nodes`` nodes, or it raises ValueError."""

    def __init__(self, roots: list[Tensor], zoom: str, max_nodes: int):
        self.roots, self.zoom = roots, zoom
        self.nodes = self._visible(roots, max_nodes)
        groups = made_by(self.nodes)
        self.groups = {node: groups[node] for node in self.nodes if node in groups}
        self.names = self._names()
        self.runs = self._runs()

    def _visible(self, roots: list[Tensor], max_nodes: int) -> list[Tensor]:
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

    def inputs(self, node: Tensor) -> list[tuple[int | None, Value]]:
        """What a Tensor was computed from at this zoom, each with the number of its local derivative where it has one."""
        step = self.step_of(node)
        if step is not None:
            return [(_number_of(step, name), value) for name, value in step.inputs.items()]
        return [(None, value) for value in node.inputs]

    def step_of(self, node: Tensor) -> Step | None:
        """The numbered equation that a Tensor is shown as the result of, its primitives left out; None if it is not."""
        step = node.equation
        if self.zoom != "equations" or step is None:
            return None
        values = step.inputs.values()
        # A batch of scalars has too many variables for that; one Tensor in two parts, too few.
        tensors = [v for v in values if isinstance(v, Tensor)]
        fits = len(set(tensors)) == len(tensors) and not any(holds_tensors(v) for v in values)
        return step if fits else None

    def _names(self) -> dict[Tensor, str]:
        """What each Tensor is called: its label, or the part it plays in an equation; a variable by the derivation's symbol."""
        names: dict[Tensor, str] = {}
        parts = {node: node.equation for node in self.nodes if node.equation is not None}
        for step in {id(step.values): step for step in self.groups.values()}.values():
            for name, value in step.inputs.items():
                for place, element in tensors_in(value):
                    names[element] = symbol_in(step, name) + place
                    parts.setdefault(element, step)
        for node in self.nodes:
            if node.label:
                base, bracket, place = node.label.partition("[")
                part = parts.get(node)
                known = part is not None and base in (part.output, *getattr(part.derivation, "variables", part.names))
                names[node] = symbol_in(part, base) + bracket + place if part is not None and known else node.label
        return names

    def _runs(self) -> dict[int, str]:
        """What each step's run of its derivation is called, where there are several in the picture, to tell them apart."""
        steps = {id(step.values): step for node in self.nodes if (step := self.groups.get(node)) and step.derivation}
        ends = sorted(steps.values(), key=lambda step: step.output != step.derivation.result)  # a result ends a run
        found: list[tuple[Any, set[int]]] = []
        for end in ends:
            if not any(id(end.values) in run for _, run in found):
                run, stack = {id(end.values)}, [end]
                while stack:
                    for value in stack.pop().values:
                        for a in value.flat if holds_tensors(value) else [value]:
                            step = a.equation if isinstance(a, Tensor) else None
                            if step and step.derivation is end.derivation and step.output != step.derivation.result:
                                stack += [step] if id(step.values) not in run else []
                                run.add(id(step.values))
                found.append((end.derivation, run))
        if len(found) < 2:
            return {}
        found.reverse()  # results come first: what was computed first is the first
        same = Counter(d.name for d, _ in found)
        number = Counter[str]()
        names: dict[int, str] = {}
        for d, run in found:
            number[d.name] += 1
            names |= dict.fromkeys(run, d.name + (f" {number[d.name]}" if same[d.name] > 1 else ""))
        return names

    def formula(self, step: Step) -> str:
        """The title of a step: its equation, and of which run it is if there are several."""
        run = self.runs.get(id(step.values), "")
        text = f" = {step.text}" if step.text else ""
        return (f"{run}  " if run else "") + f"({step.number})  {symbol_in(step, step.output)}{text}"


def carried(node: Tensor | None, tensors: list[Any], step: Step | None) -> list[Any]:
    """What a node's gradient carries back to the Tensors that it was computed from, in one equation or by one primitive."""
    if node is None or node.grad is None or not node.inputs:
        return [None] * len(tensors)
    if step is not None:
        found = adjoints({node: node.grad}, stop=set(tensors))
        return [found.get(a) for a in tensors]
    return list(node.contributions())


def symbol_in(step: Step, name: str) -> str:
    symbol: str = step.derivation.symbol(name)[0] if step.derivation else name
    return symbol


def _number_of(step: Step, name: str) -> int | None:
    """The number of the local derivative of a step with respect to one of its variables; None where it has none."""
    if step.derivation is None or name in step.derivation.no_gradient:
        return None
    number: int = step.derivation.edge(step.output, name).number
    return number
