"""A derivation on paper: its lines, and how they are printed, for a terminal, in LaTeX, in Markdown and as a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .derivation import Notation
from .files import AnyPath, write_by_ending


class Numbered(NamedTuple):
    """A line with a number: a forward equation, or the local derivative of an equation."""

    number: int
    output: str
    input: str  # "" in a forward equation
    text: str
    latex: str
    name: str  # the left-hand side as on the terminal


class Line(NamedTuple):
    """A line that follows from the one before, and why, each as text and in LaTeX; of the line it is the right-hand side."""

    text: str
    latex: str
    why: Notation


class Derived(NamedTuple):
    """A gradient: the sum over the edges with these numbers, and what follows from it. The last step is its shortest form."""

    variable: str
    numbers: tuple[int, ...]
    text: str
    latex: str
    name: str
    steps: tuple[Line, ...]


class Paper(NamedTuple):
    """A derivation on paper. It prints as text, and shows itself in a notebook.

    >>> from micrograd_bn import derivations, derive
    >>> paper = derive(derivations.BATCH_NORM)
    >>> print(paper.equations[7].number, paper.equations[7].latex)
    8 \\frac{\\partial \\hat x_i}{\\partial \\sigma_B^2} = -\\frac{1}{2} (x_i - \\mu_B) (\\sigma_B^2 + \\epsilon)^{-3/2}
    >>> [step.text for step in paper.gradients[4].steps][0]
    '−1 / √(σ² + ε) Σ dx̂ − 2/m dσ² Σ (x − μ)'
    """

    title: str
    scope: str  # "every m"
    equations: tuple[Numbered, ...]  # the forward equations, and the local derivatives
    gradients: tuple[Derived, ...]
    ranges: tuple[Notation, ...] = ()  # the indices
    constants: tuple[Notation, ...] = ()  # the inputs that have no gradient

    @property
    def text(self) -> str:
        """The derivation for a terminal."""
        lines = [self.title, _preface(self, 0)]
        for heading, numbered in _sections(self):
            lines += ["", heading, *[f"  {f'({line.number})':>5}  {line.name} = {line.text}" for line in numbered]]
        lines += ["", _HEADINGS[2]]
        for derived in self.gradients:
            lines += ["", f"  {derived.name} = {derived.text}    {_tags(derived.numbers)}"]
            lines += [f"  {' ' * len(derived.name)} = {step.text}    [{step.why[0]}]" for step in derived.steps]
        return "\n".join(lines)

    @property
    def latex(self) -> str:
        """The derivation as a LaTeX document, which needs amsmath."""
        lines = [
            r"\documentclass{article}",
            r"\usepackage[a4paper,margin=2cm]{geometry}",
            r"\usepackage{amsmath}",
            r"\allowdisplaybreaks",
        ]
        lines += [r"\begin{document}", rf"\section*{{{self.title}}}", _preface(self, 1)]
        for heading, block in _blocks(self):
            tags = [rf"&& {why} \notag" if why else rf"\tag{{{', '.join(map(str, numbers))}}}" for _, numbers, why in block]
            rows = [f"{_aligned(latex)} {tag}" for (latex, _, _), tag in zip(block, tags)]
            lines += [rf"\subsection*{{{heading}}}"] if heading else []
            lines += [r"\begin{align}", *[row + r" \\" for row in rows[:-1]], *rows[-1:], r"\end{align}"] if rows else []
        return "\n".join([*lines, r"\end{document}", ""])

    @property
    def markdown(self) -> str:
        """The derivation in Markdown, in blocks that GitHub shows as formulas, without taking their underscores for emphasis."""
        lines = [f"# {self.title}", "", _preface(self, 1)]
        for heading, block in _blocks(self):
            rows = [rf"{_aligned(latex)} && {why or _tags(numbers)} \\" for latex, numbers, why in block]
            lines += ["", f"## {heading}"] if heading else []
            lines += ["", "```math", r"\begin{aligned}", *rows, r"\end{aligned}", "```"]
        return "\n".join([*lines, ""])

    @property
    def html(self) -> str:
        """The derivation as a page with MathML: it stands alone, and opens from disk."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}, derived</title>\n<style>{STYLE}</style>\n</head>\n"
            f"<body>\n{self._repr_html_()}\n</body>\n</html>\n"
        )

    def _repr_html_(self) -> str:
        """The derivation in tables whose formulas are MathML."""
        from latex2mathml.converter import convert

        def math(latex: str) -> str:
            found = str(convert(latex, display="block")) if latex else ""
            return found.replace('display="block"', 'display="inline" displaystyle="true"')

        def inline(text: str) -> str:
            parts = text.split("$")
            return "".join(str(convert(part)) if i % 2 else escape(part) for i, part in enumerate(parts))

        def row(latex: str, mark: str, kind: str = "mark") -> str:
            left, _, right = latex.partition(" = ")
            left, right = (left, "= " + right) if right else ("", left)
            return f'<tr><td class="left">{math(left)}</td><td>{math(right)}</td><td class="{kind}">{mark}</td></tr>'

        out = [f"<h1>{escape(self.title)}</h1><p>{inline(_preface(self, 1))}</p>"]
        for heading, block in _blocks(self):
            rows = "".join(
                row(latex, _why(why, convert), "mark why") if why else row(latex, _tags(numbers)) for latex, numbers, why in block
            )
            out.append(f"<h2>{heading}</h2>" * bool(heading) + f"<div><table>{rows}</table></div>")
        return f'<div class="derivation">{"".join(out)}</div>'

    def save(self, path: AnyPath) -> Path:
        """Write it to ``path``, whole, by its ending: .html, .tex, .md or .txt. ValueError for another."""
        kinds = {".html": "html", ".tex": "latex", ".md": "markdown", ".txt": "text"}
        writers = {ending: partial(getattr, self, kind) for ending, kind in kinds.items()}
        return write_by_ending(path, "a derivation", writers)

    def __str__(self) -> str:
        return self.text


_HEADINGS = (
    "Forward",
    "Backward: a local derivative for each edge",
    "The gradients: each the sum over the edges that leave its variable",
)


_Row: TypeAlias = tuple[str, tuple[int, ...], str]  # an equation in LaTeX, its numbers, or else why it follows


def _sections(paper: Paper) -> Iterator[tuple[str, list[Numbered]]]:
    """The numbered lines under their headings."""
    yield _HEADINGS[0], [line for line in paper.equations if not line.input]
    yield _HEADINGS[1], [line for line in paper.equations if line.input]


def _blocks(paper: Paper) -> Iterator[tuple[str, list[_Row]]]:
    """The rows that are lined up with one another, those of each gradient by themselves; with a heading, or ""."""
    for heading, numbered in _sections(paper):
        yield heading, [(line.latex, (line.number,), "") for line in numbered]
    for derived, heading in zip(paper.gradients, (_HEADINGS[2], *[""] * len(paper.gradients))):
        yield heading, [(derived.latex, derived.numbers, ""), *[(f" = {step.latex}", (), step.why[1]) for step in derived.steps]]


def _tags(numbers: Iterable[int]) -> str:
    return " ".join(f"({n})" for n in numbers)


def _preface(paper: Paper, of: int) -> str:
    """What a reader has to know: how far the indices go, what is constant, what d and brackets stand for, what has been checked."""
    mark = "" if of == 0 else "$"
    named = [f"{mark}{pair[of]}{mark}" for pair in paper.constants]
    given = [f"{mark}{pair[of]}{mark}" for pair in paper.ranges]
    given += [f"{' and '.join(named)} {'is a constant' if len(named) == 1 else 'are constants'}"] if named else []
    letter = next(a for a in "avu" if a not in {pair[0] for pair in paper.constants})
    da, fraction = (f"d{letter}", f"∂l/∂{letter}") if of == 0 else (f"$d{letter}$", rf"$\partial l / \partial {letter}$")
    start = f"Here {', '.join(given)}, and " * bool(given)
    equal = "" if "differ" in paper.scope else ", and of numbers that are equal nothing was checked"
    bracket = f"{mark}[x > 0]{mark} is 1 where {mark}x > 0{mark}, else 0{equal}. "
    brackets = bracket * any(re.search(r"\[[^]]* [<≤>≥=≠] [^]]*\]", line.text) for line in paper.equations)
    return f"{start}{da} is {fraction}, the gradient of the loss. {brackets}Every line was checked, for {paper.scope}."


def _aligned(latex: str) -> str:
    """An equation that is lined up at its sign."""
    left, _, right = latex.partition(" = ")
    return f"{left} &= {right}".lstrip() if right else f"&{left}"


def _why(latex: str, convert: Callable[[str], str]) -> str:
    """A reason: its words as words, and its formula in MathML."""
    words, _, formula = latex.removeprefix(r"\text{").partition("}") if latex.startswith(r"\text{") else ("", "", latex)
    return escape(words) + (convert(formula.strip()) if formula.strip() else "")


STYLE = """
:root { color-scheme: light dark; --mark: #5f6b7a; --line: #d8dee6; }
@media (prefers-color-scheme: dark) { :root { --mark: #9aa7b8; --line: #39424e; } body { background: #14181d; color: #e6e9ee; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 1rem/1.6 system-ui, sans-serif; }
h2 { margin-top: 2rem; font-size: 1.15rem; }
.derivation > div { overflow-x: auto; border-bottom: 1px solid var(--line); padding: .4rem 0; }
math {
  font-family: "Latin Modern Math", "STIX Two Math", "Cambria Math", "DejaVu Math TeX Gyre", "TeX Gyre Termes Math", math, serif;
}
mfrac > *, munderover > :not(:first-child) { padding-block: .12em; }
table { border-collapse: collapse; }
td { padding: .25rem .2rem; vertical-align: middle; white-space: nowrap; }
td.left { text-align: right; min-width: 3.5rem; }
td.mark { padding-left: 2rem; color: var(--mark); font-size: .9rem; }
@media (max-width: 40rem) {
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: minmax(3.9rem, max-content) max-content auto; align-items: center; }
  td.mark { padding-left: 1rem; }
  td.why { grid-column: 2 / -1; max-width: calc(100vw - 7rem); padding: 0 0 .5rem .2rem; white-space: normal; }
}
"""
