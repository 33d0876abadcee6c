"""The derivation on paper, written by the engine, for any derivation or graph. Needs SymPy, which checks every line.

A line is printed when it is an identity: the rows of ``prove`` hold the equations, the local derivatives and the gradients against
the engine and the definition, for every m, and each line that follows is held against the engine's gradient in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from .derivation import Derivation, Edge, Equation, Gradient
from .engine import Tensor
from .files import AnyPath, write_whole
from .graph import derivation_of
from .numbers import written as W
from .numbers.written import Expression, Reduction, Symbol, expression, replaced
from .prove import Prover, prove
from .shapes import shape
from .writer import Text


class Numbered(NamedTuple):
    """A line with a number: a forward equation, or the local derivative of an equation."""

    number: int
    output: str
    input: str  # "" in a forward equation
    text: str
    latex: str
    name: str  # the left-hand side as on the terminal


class Step(NamedTuple):
    """A line that follows from the one before, and why, each as text and in LaTeX; of the line it is the right-hand side."""

    text: str
    latex: str
    why: Text


class Derived(NamedTuple):
    """A gradient: the sum over the edges with these numbers, and what follows from it. The last step is its shortest form."""

    variable: str
    numbers: tuple[int, ...]
    text: str
    latex: str
    name: str
    steps: tuple[Step, ...]


class Paper(NamedTuple):
    """A derivation on paper. It prints as text, and shows itself in a notebook.

    >>> from micrograd_bn import derivations
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
    ranges: tuple[Text, ...] = ()  # the indices

    @property
    def text(self) -> str:
        """The derivation for a terminal."""
        return _text(self)

    @property
    def latex(self) -> str:
        """The derivation as a LaTeX document, which needs amsmath."""
        return _latex(self)

    @property
    def markdown(self) -> str:
        """The derivation in Markdown with formulas as GitHub shows them."""
        return _markdown(self)

    @property
    def html(self) -> str:
        """The derivation as a page with MathML: it stands alone, and opens from disk."""
        return _page(self)

    def save(self, path: AnyPath) -> Path:
        """Write it to ``path``, whole, by its ending: .html, .tex, .md or .txt. ValueError for another."""
        kinds = {".html": "html", ".tex": "latex", ".md": "markdown", ".txt": "text"}
        ending = Path(path).suffix
        if ending not in kinds:
            raise ValueError(f"{path} ends with {ending or 'nothing'}: a derivation is saved as {', '.join(kinds)}")
        content: str = getattr(self, kinds[ending])
        return write_whole(path, content.encode())

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return _fragment(self)


def derive(source: Derivation | Tensor) -> Paper:
    """Derive a backward pass on paper: equations, local derivatives, gradients, and what these simplify to.

    source  a ``Derivation``, or the result y of a computation. Where y is a derivation's result, the paper is that derivation's;
            else its steps are the equations that were run (see ``equation``), and primitives where there are none.

    Every line is checked before it is printed, for every m; where that is out of reach, for sizes 2 and 3, and ``.scope`` says so.
    Raises ValueError where a formula of the table is wrong, TypeError for a step that has no rule on symbols or for what is no
    derivation, ModuleNotFoundError where SymPy is not installed.

    >>> x = Tensor([1.0, 2.0, 6.0], label="x")
    >>> print(derive((x * x).sum()).gradients[-1].text)
    da · 2 x
    """
    d = source if isinstance(source, Derivation) else derivation_of(source)
    proof = prove(derivation=d)
    for row in proof.rows:
        if row.difference is not None:
            what = f"{d.name}: {row.number} {row.name} = {row.formula} is no identity"
            raise ValueError(f"{what}: {row.difference} does not vanish, {proof.seen(row)}")
    entries: list[Equation | Edge] = [*d.equations, *d.edges]
    numbered = tuple(_numbered(entry) for entry in entries)
    chains = _Simplifier(d).chains() if d.writer is not None and not proof.reason else {}
    gradients = tuple(_derived(d, gradient, chains.get(gradient.variable, [])) for gradient in d.gradients)
    letters = d.writer.letters if d.writer is not None else {}
    ranges = tuple((f"{letter} = 1 … {n}", rf"{letter} = 1, \dots, {n}") for n, letter in letters.items())
    return Paper(d.name[0].upper() + d.name[1:], proof.rows[0].scope, numbered, gradients, ranges)


def _numbered(entry: Equation | Edge) -> Numbered:
    return Numbered(entry.number, entry.output, getattr(entry, "input", ""), entry.text, entry.latex, entry.name)


def _derived(d: Derivation, gradient: Gradient, steps: list[Step]) -> Derived:
    """With the condensed forms of the table, where they have not been reached."""
    reached = {step.text for step in steps}
    for entry in d.condensed:
        if entry.variable == gradient.variable and entry.text and entry.text not in reached:
            steps = [*steps, Step(entry.text, entry.latex.partition(" = ")[2], _words("condensed"))]
    numbers, text, latex, name = gradient.numbers, gradient.text, gradient.latex, gradient.name
    return Derived(gradient.variable, numbers, text, latex, name, tuple(steps))


def _words(words: str) -> Text:
    return words, rf"\text{{{words}}}"


# ---- What follows from a sum over edges

_Line: TypeAlias = tuple[Expression, Text]  # a form, and why
_Rule: TypeAlias = Callable[[Expression], Iterator[_Line]]


class _Simplifier:
    """Forms of the gradients, each held against the engine's."""

    def __init__(self, d: Derivation):
        assert d.writer is not None
        self.d, self.w = d, d.writer
        self.prover = Prover(d, None)
        self.engine = {g.variable: self.prover.nodes[g.variable].grad for g in d.gradients}
        kind = self.prover.kind.Batch
        known = self.prover.known | {f"d{a}": g for a, g in self.engine.items()} | {d.upstream: self.prover.upstream}
        self.values = {name: kind(value.e) for name, value in known.items() if isinstance(value, kind)}
        self.values |= {n: kind(size) for n, size in self.prover.sizes.items()}
        self.short: dict[str, Expression] = {}  # the last form of each gradient
        self.sums: dict[Any, Expression] = {}  # a sum that is a gradient → its name

    def chains(self) -> dict[str, list[Step]]:
        """For each variable the lines that follow from the sum over its edges."""
        found = {}
        for gradient in self.d.gradients:
            v = gradient.variable
            term = self.w.term(v)
            found[v], self.short[v] = self._chain(v, term)
            if W.is_factor(term, (Reduction,)):
                self.sums[term.terms[0].factors[0][0]] = expression(self._upstream(v))
        return found

    def _chain(self, v: str, term: Expression) -> tuple[list[Step], Expression]:
        lines: list[_Line] = []
        if self._factored(v):
            lines.append((term, _words("what is the same for all stands before the sum")))
        e = self._go(lines, term, [self._valued])
        e = self._better(lines, e, [[self._renamed]])
        known = [a for a in self.short if expression(self._upstream(a)) not in self.sums.values()]
        for inserted in ([a for a in known if self.w.axes[a] != self.w.axes[v]], known):
            insert = partial(self._inserted, inserted)
            end = [_gathered, self._named]
            e = self._better(lines, e, [[insert, self._valued, *end], [insert, self._valued, self._renamed, *end]])
        steps, last = [], term
        for form, why in lines:
            if not self._is_gradient(v, form):
                break  # what is not checked is not printed, nor what follows from it
            steps.append(Step(*self._right(v, form), why))
            last = form
        return steps, last

    def _upstream(self, variable: str) -> Symbol:
        return Symbol(f"d{variable}", self.w.axes[variable])

    def _factored(self, v: str) -> bool:
        """Whether something stands before an edge's sum, once that is a formula."""
        found = [local for edge in self.d.leaving(v) if (local := self.w.local(edge)).axes and local.factor is not None]
        return any(not W.is_factor(local.term, (Reduction,)) and local.factor.as_term().factors for local in found if local.factor)

    def _go(self, lines: list[_Line], e: Expression, rules: Iterable[_Rule]) -> Expression:
        """Apply rules one after the other, a line for each that changes something."""
        for rule in rules:
            for form, why in rule(e):
                if form != e:
                    lines.append((form, why))
                e = form
        return e

    def _better(self, lines: list[_Line], e: Expression, routes: Iterable[Iterable[_Rule]]) -> Expression:
        """The end of the best route, if it is shorter, or one product of more than a number where there was a sum."""
        found: list[tuple[bool, int, int, list[_Line], Expression]] = []
        for rules in routes:
            trial: list[_Line] = []
            end = self._go(trial, e, rules)
            common = [base for base, n in end.as_term().factors if not (isinstance(base, Expression) and n == 1)]
            product = len(end.terms) == 1 < len(e.terms) and not all(isinstance(b, Symbol) and b.is_size for b in common)
            if product or (len(end.terms) <= len(e.terms) and W.length(end) < W.length(e)):
                found.append((not product, W.length(end), len(found), trial, end))
        if not found:
            return e
        _, _, _, trial, best = min(found)
        lines += trial
        return best

    def _is_gradient(self, v: str, e: Expression) -> bool:
        got = W.computed(e, self.values, self._total)
        return self.prover.difference(shape(self.prover.known[v]), [got.e], self.engine[v]) is None

    def _right(self, v: str, e: Expression) -> Text:
        text, latex = self.w.line(f"d{v}", e)
        return text, latex.partition(" = ")[2]

    def _total(self, value: Any, axis: str, name: str) -> Any:
        batch = self.prover.kind.Batch
        return batch((batch.total if name == "sum" else batch.largest)(value.e, self.prover.sizes[axis]))

    # ---- the rules: each gives a form and its reason

    def _valued(self, e: Expression) -> Iterator[_Line]:
        """Sums whose value is known: Σ (x − μ) = 0, Σ t = 1."""
        for base in dict.fromkeys(W.factors_of(e)):
            if isinstance(base, Reduction) and base in set(W.factors_of(e)):
                value = self.prover.kind.reduced(W.computed(expression(base), self.values, self._total).e)
                if value.is_Integer:
                    e, new = replaced(e, {base: expression(int(value))}), expression(int(value))
                    yield e, self._equality(expression(base), new)

    def _renamed(self, e: Expression) -> Iterator[_Line]:
        """What an equation divides or multiplies, by the name of the result: x − μ = x̂ √(σ² + ε)."""
        for equation in self.d.equations:
            o = equation.output
            term = self.w.right[o].as_term()
            own = [base for base, n in term.factors if n == 1 and W.axes_of(base) == set(self.w.axes[o]) and self.w.axes[o]]
            if len(own) != 1 or len(term.factors) < 2 or (isinstance(own[0], Symbol) and own[0].name not in self.d.inputs):
                continue
            rest = W.product(term.number, [factor for factor in term.factors if factor[0] != own[0]])
            result = expression(Symbol(o, self.w.axes[o]))
            new = result * W.power(rest, expression(-1))
            sides = (self.w.right[o], result) if W.divisors(new) else (expression(own[0]), new)
            (text, latex), number = self._equality(*sides), equation.number
            form = replaced(e, {own[0]: new})
            if form != e and W.divisors(form) <= W.divisors(e):  # which may be 0
                e = form
                yield e, (f"by ({number}), {text}", rf"\text{{by ({number}), }} {latex}")

    def _inserted(self, variables: Iterable[str], e: Expression) -> Iterator[_Line]:
        """Gradients that are known, by their last forms."""
        used = {base.name for base in W.factors_of(e) if isinstance(base, Symbol)}
        names = [a for a in variables if f"d{a}" in used]
        new = {self._upstream(a): self.short[a] for a in names}
        if new:
            text = ", ".join(self.d.called(f"d{a}")[0] for a in names)
            yield replaced(e, new), (f"with {text}", rf"\text{{with }} {', '.join(self.w.variable(f'd{a}') for a in names)}")

    def _named(self, e: Expression) -> Iterator[_Line]:
        """Sums that are gradients by their names."""
        for base, name in self.sums.items():
            if base in set(W.factors_of(e)):
                e = replaced(e, {base: name})
                yield e, self._equality(expression(base), name)

    def _equality(self, left: Expression, right: Expression) -> Text:
        w = self.w
        free = {n: letter for n, letter in w.letters.items() if n in W.axes_of(left)}
        return f"{w.text(left)} = {w.text(right)}", f"{w.latex(left, free)} = {w.latex(right, free)}"


def _gathered(e: Expression) -> Iterator[_Line]:
    yield W.gathered(e), _words("the terms collect")


# ---- In print

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
    """What a reader has to know: how far the indices go, what d stands for, and what has been checked."""
    ranges = ", ".join(pair[of] if of == 0 else f"${pair[of]}$" for pair in paper.ranges)
    da, fraction = ("da", "∂l/∂a") if of == 0 else ("$da$", r"$\partial l / \partial a$")
    start = f"Here {ranges}, and " * bool(ranges)
    return f"{start}{da} is {fraction}, the gradient of the loss. Every line was checked, for {paper.scope}."


def _text(paper: Paper) -> str:
    lines = [paper.title, _preface(paper, 0)]
    for heading, numbered in _sections(paper):
        lines += ["", heading, *[f"  {f'({line.number})':>5}  {line.name} = {line.text}" for line in numbered]]
    lines += ["", _HEADINGS[2]]
    for derived in paper.gradients:
        lines += ["", f"  {derived.name} = {derived.text}    {_tags(derived.numbers)}"]
        lines += [f"  {' ' * len(derived.name)} = {step.text}    [{step.why[0]}]" for step in derived.steps]
    return "\n".join(lines)


def _latex(paper: Paper) -> str:
    lines = [
        r"\documentclass{article}",
        r"\usepackage[a4paper,margin=2cm]{geometry}",
        r"\usepackage{amsmath}",
        r"\allowdisplaybreaks",
    ]
    lines += [r"\begin{document}", rf"\section*{{{paper.title}}}", _preface(paper, 1)]
    for heading, block in _blocks(paper):
        tags = [rf"&& {why} \notag" if why else rf"\tag{{{', '.join(map(str, numbers))}}}" for _, numbers, why in block]
        rows = [f"{_aligned(latex)} {tag}" for (latex, _, _), tag in zip(block, tags)]
        lines += [rf"\subsection*{{{heading}}}"] if heading else []
        lines += [r"\begin{align}", *[row + r" \\" for row in rows[:-1]], *rows[-1:], r"\end{align}"] if rows else []
    return "\n".join([*lines, r"\end{document}", ""])


def _aligned(latex: str) -> str:
    """An equation that is lined up at its sign."""
    left, _, right = latex.partition(" = ")
    return f"{left} &= {right}".lstrip() if right else f"&{left}"


def _markdown(paper: Paper) -> str:
    """In blocks that GitHub shows as formulas, without taking their underscores for emphasis."""
    lines = [f"# {paper.title}", "", _preface(paper, 1)]
    for heading, block in _blocks(paper):
        rows = [rf"{_aligned(latex)} && {why or _tags(numbers)} \\" for latex, numbers, why in block]
        lines += ["", f"## {heading}"] if heading else []
        lines += ["", "```math", r"\begin{aligned}", *rows, r"\end{aligned}", "```"]
    return "\n".join([*lines, ""])


def _fragment(paper: Paper) -> str:
    """The derivation as HTML, in tables whose formulas are MathML."""
    from latex2mathml.converter import convert

    def math(latex: str) -> str:
        return (
            str(convert(latex, display="block")).replace('display="block"', 'display="inline" displaystyle="true"') if latex else ""
        )

    def inline(text: str) -> str:
        parts = text.split("$")
        return "".join(str(convert(part)) if i % 2 else escape(part) for i, part in enumerate(parts))

    def row(latex: str, mark: str, kind: str = "mark") -> str:
        left, _, right = latex.partition(" = ")
        left, right = (left, "= " + right) if right else ("", left)
        return f'<tr><td class="left">{math(left)}</td><td>{math(right)}</td><td class="{kind}">{mark}</td></tr>'

    out = [f"<h1>{escape(paper.title)}</h1><p>{inline(_preface(paper, 1))}</p>"]
    for heading, block in _blocks(paper):
        rows = "".join(
            row(latex, _why(why, convert), "mark why") if why else row(latex, _tags(numbers)) for latex, numbers, why in block
        )
        out.append(f"<h2>{heading}</h2>" * bool(heading) + f"<div><table>{rows}</table></div>")
    return f'<div class="derivation">{"".join(out)}</div>'


def _why(latex: str, convert: Callable[[str], str]) -> str:
    """A reason: its words as words, and its formula in MathML."""
    words, _, formula = latex.removeprefix(r"\text{").partition("}") if latex.startswith(r"\text{") else ("", "", latex)
    return escape(words) + (convert(formula.strip()) if formula.strip() else "")


def _page(paper: Paper) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(paper.title)}, derived</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{_fragment(paper)}\n</body>\n</html>\n"
    )


STYLE = """
:root { color-scheme: light dark; --mark: #5f6b7a; --line: #d8dee6; }
@media (prefers-color-scheme: dark) { :root { --mark: #9aa7b8; --line: #39424e; } body { background: #14181d; color: #e6e9ee; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; font: 1rem/1.6 system-ui, sans-serif; }
h2 { margin-top: 2rem; font-size: 1.15rem; }
.derivation > div { overflow-x: auto; border-bottom: 1px solid var(--line); padding: .4rem 0; }
table { border-collapse: collapse; }
td { padding: .25rem .2rem; vertical-align: middle; white-space: nowrap; }
td.left { text-align: right; min-width: 3.5rem; }
td.mark { padding-left: 2rem; color: var(--mark); font-size: .9rem; }
@media (max-width: 40rem) {
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 3.5rem max-content auto; align-items: center; }
  td.mark { padding-left: 1rem; }
  td.why { grid-column: 2 / -1; max-width: calc(100vw - 7rem); padding: 0 0 .5rem .2rem; white-space: normal; }
}
"""
