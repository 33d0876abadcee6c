"""The derivation on paper: every line says what the engine computes, and reads as a person would write it."""

import re
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, batch_norm, cli, derivations, derive, equation, fused_batch_norm, grad, nn, verify
from micrograd_bn.batchnorm import mean
from micrograd_bn.derivation import Edge
from micrograd_bn.numbers import written
from micrograd_bn.numbers.printed import Latex, Plain
from micrograd_bn.paper import STYLE
from micrograd_bn.primitives import relu
from tests.conftest import optional
from tests.latex import Formula, everywhere

optional("sympy")
from latex2mathml.converter import convert  # noqa: E402

SIZES = {"m": 4, "k": 3, "n": 2, "g": 2, "c": 3, "h": 2, "w": 2, "d": 3}
PAPERS = {name: derive(getattr(derivations, name)) for name in derivations.__all__ if name not in ("ATTENTION", "GROUP_NORM")}


def lines(paper):
    """All lines in LaTeX."""
    for line in paper.equations:
        yield line.latex
    for gradient in paper.gradients:
        yield gradient.latex
        for step in gradient.steps:
            yield f"{gradient.latex.partition(' = ')[0]} = {step.latex}"


# ---- What the source has


SOURCE = {
    1: r"\mu_B = \frac{1}{m} \sum_{i=1}^m x_i",
    2: r"\sigma_B^2 = \frac{1}{m} \sum_{i=1}^m (x_i - \mu_B)^2",
    3: r"\hat x_i = \frac{x_i - \mu_B}{\sqrt{\sigma_B^2 + \epsilon}}",
    4: r"y_i = \gamma \, \hat x_i + \beta",
    5: r"\frac{\partial y_i}{\partial \hat x_i} = \gamma",
    6: r"\frac{\partial y_i}{\partial \beta} = 1",
    7: r"\frac{\partial y_i}{\partial \gamma} = \hat x_i",
    8: r"\frac{\partial \hat x_i}{\partial \sigma_B^2} = -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2}",
    9: r"\frac{\partial \sigma_B^2}{\partial \mu_B} = \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
    10: r"\frac{\partial \hat x_i}{\partial \mu_B} = \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}",
    11: r"\frac{\partial \mu_B}{\partial x_i} = \frac{1}{m}",
    12: r"\frac{\partial \sigma_B^2}{\partial x_i} = \frac{2}{m} (x_i - \mu_B)",
    13: r"\frac{\partial \hat x_i}{\partial x_i} = \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}",
}
SOURCE_GRADIENTS = {
    "x_hat": ((5,), r"d\hat x_i = dy_i \, \gamma"),
    "gamma": ((7,), r"d\gamma = \sum_{i=1}^m dy_i \, \hat x_i"),
    "beta": ((6,), r"d\beta = \sum_{i=1}^m dy_i"),
    "var": (
        (8,),
        r"d\sigma_B^2 = \sum_{i=1}^m d\hat x_i \cdot \left( -\frac{1}{2} (x_i - \mu_B) (\sigma_B^2 + \epsilon)^{-3/2} \right)",
    ),
    "mu": (
        (10, 9),
        r"d\mu_B = \sum_{i=1}^m d\hat x_i \cdot \frac{-1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{1}{m} \sum_{i=1}^m -2 (x_i - \mu_B)",
    ),
    "x": (
        (13, 12, 11),
        r"dx_i = d\hat x_i \cdot \frac{1}{\sqrt{\sigma_B^2 + \epsilon}}"
        r" + d\sigma_B^2 \cdot \frac{2}{m} (x_i - \mu_B) + d\mu_B \cdot \frac{1}{m}",
    ),
}


def test_batch_norms_paper_has_the_sources_lines_and_numbers():
    paper = PAPERS["BATCH_NORM"]
    assert {line.number: line.latex for line in paper.equations} == SOURCE
    assert {g.variable: (g.numbers, g.latex) for g in paper.gradients} == SOURCE_GRADIENTS
    assert (paper.equations[7].output, paper.equations[7].input, paper.equations[0].input) == ("x_hat", "var", "")
    assert paper.scope == "every m"


# ---- How it ends: the condensed forms, and the reasons on the way

ENDS = {
    ("BATCH_NORM", "var"): "−γ dγ / (2 (σ² + ε))",
    ("BATCH_NORM", "mu"): "−γ dβ / √(σ² + ε)",
    ("BATCH_NORM", "x"): "γ (m dy − dβ − x̂ dγ) / (m √(σ² + ε))",
    ("LAYER_NORM", "x"): "(k dx̂ − Σⱼ dx̂ − x̂ Σⱼ dx̂ x̂) / (k √(σ² + ε))",
    ("RMS_NORM", "x"): "(k dx̂ − x̂ Σⱼ dx̂ x̂) / (k √(s + ε))",
    ("SOFTMAX_CROSS_ENTROPY", "s"): "1/m dl",
    ("SOFTMAX_CROSS_ENTROPY", "z"): "1/m dl (exp(z − s) − t)",
}


@pytest.mark.parametrize(("name", "variable"), ENDS)
def test_a_gradient_ends_in_its_condensed_form(name, variable):
    (gradient,) = [g for g in PAPERS[name].gradients if g.variable == variable]
    assert gradient.steps[-1].text == ENDS[name, variable]


def test_the_simplifications_have_their_names():
    reasons = {name: [step.why[0] for g in paper.gradients for step in g.steps] for name, paper in PAPERS.items()}
    for name, paper in PAPERS.items():
        collects = "the terms collect" in reasons[name]
        assert collects == (len(paper.gradients[-1].numbers) > 1), name
    assert "Σ (x − μ) = 0" in reasons["BATCH_NORM"]
    assert "by (3), x − μ = x̂ √(σ² + ε)" in reasons["BATCH_NORM"]
    assert "Σⱼ t = 1" in reasons["SOFTMAX_CROSS_ENTROPY"]


def test_no_line_divides_by_a_variable_that_may_be_0():
    @equation(1, "n")
    def squared_length(v):
        return (v**2).sum()

    @equation(2, "w")
    def weight(v, g, n):
        return g * v / n**0.5

    paper = derive(Derivation("weight norm", [squared_length, weight], shapes={"v": ("k",), "g": ()}))
    ends = {g.variable: g.steps[-1].text for g in paper.gradients}
    assert ends["g"] == "1 / √n Σ dw v"  # not 1/g Σ dw w, for v = w √n / g
    assert ends["n"] == "−1 / (2 n) Σ dw w"  # where g cancels

    @equation(1, "s")
    def mean_square(x):
        return (x**2).mean(axis=-1, keepdims=True)

    @equation(2, "y")
    def divide(x, s, gamma, eps=1e-5):
        return gamma * x / (s + eps) ** 0.5

    paper = derive(Derivation("RMS norm", [mean_square, divide]))
    assert "/ γ" not in paper.text and "by (2), γ x / √(s + ε) = y" in paper.text


# ---- Every line, read as LaTeX, is what the engine computes


class Numbers:
    """A derivation on random numbers: the engine's variables and gradients, by their LaTeX."""

    def __init__(self, d):
        random = np.random.default_rng(0)
        self.d = d
        shapes = {a: tuple(int(n) if n.isdigit() else SIZES[n] for n in to) for a, to in d.dimensions().items()}
        arrays = {a: random.uniform(0.5, 1.5, to) for a, to in shapes.items()}
        if "t" in arrays:
            arrays["t"] /= arrays["t"].sum(axis=-1, keepdims=True)
        constants = {name: 0.3 for name, value in d.constants.items() if isinstance(value, float)}
        self.nodes = d.forward(**{a: Tensor(v) for a, v in arrays.items()}, **constants)
        self.nodes[d.result].backward(random.normal(size=self.nodes[d.result].shape))
        self.shown = set(d.writer.letters) if d.writer else set(SIZES)
        self.symbols = {d.symbol(k)[1]: np.asarray(v) for k, v in constants.items()}
        for a in d.variables:
            self.symbols[d.symbol(a)[1]] = self.visible(a, self.nodes[a].data)
            self.symbols[d.called(f"d{a}")[1]] = self.visible(a, self.nodes[a].grad)

    def axes(self, a):
        return self.d.writer.axes[a] if self.d.writer else [None] * len(self.nodes[a].shape)

    def visible(self, a, array):
        """An array without the axes that have no index: of the others, which are all alike, the first."""
        if not self.d.writer:
            return np.asarray(array)
        axes = iter(self.axes(a))
        index = []
        for n in np.shape(array):
            axis = next(axes) if n != 1 else None
            index.append(slice(None) if axis in self.shown else 0)
        return np.asarray(array)[(*index, ...)]

    def formula(self, latex):
        return Formula(latex, self.symbols, SIZES)

    def jacobian(self, output, input):
        """∂output/∂input by the engine, at one place of each."""
        e = self.d.equation_of(output)
        leaves = {a: Tensor(self.nodes[a].data) for a in e.inputs}
        constants = {k: 0.3 if isinstance(v, float) else self.d.constants[k] for k, v in e.constants.items()}
        y = e.function(**leaves, **constants)

        def at(out, into):
            gradient = np.zeros(y.shape)
            self.visible(output, gradient)[out] = 1  # a view
            return self.visible(input, grad(y, leaves[input], gradient)[0].data)[into]

        return at


@pytest.mark.parametrize("name", [name for name in derivations.__all__ if name != "ATTENTION"])
def test_every_line_read_as_latex_is_what_the_engine_computes(name):
    d = getattr(derivations, name)
    paper, numbers = PAPERS.get(name) or derive(d), Numbers(d)
    letters = {letter: SIZES[n] for n, letter in d.writer.letters.items()}
    count = 0
    for line in paper.equations:
        left, _, right = line.latex.partition(" = ")
        formula = numbers.formula(right)
        axes = {a: [n for n in d.writer.axes[a] if n in numbers.shown] for a in (line.output, line.input) if a}
        used = {d.writer.letters[n]: SIZES[n] for names in axes.values() for n in names}
        for index in everywhere(used):
            places = {a: tuple(index[d.writer.letters[n]] for n in names) for a, names in axes.items()}
            if line.input:
                expected = numbers.jacobian(line.output, line.input)(places[line.output], places[line.input])
            else:
                expected = numbers.formula(left)(**index)
            assert formula(**index) == pytest.approx(expected, rel=1e-9, abs=1e-12), line.latex
            count += 1
    for gradient in paper.gradients:
        left, _, right = gradient.latex.partition(" = ")
        expected = numbers.formula(left)
        used = {d.writer.letters[n]: SIZES[n] for n in d.writer.axes[gradient.variable] if n in numbers.shown}
        for latex in (right, *[step.latex for step in gradient.steps]):
            formula = numbers.formula(latex)
            for index in everywhere(used):
                assert formula(**index) == pytest.approx(expected(**index), rel=1e-9, abs=1e-12), latex
                count += 1
        for why in [step.why[1] for step in gradient.steps]:  # Σ (x − μ) = 0
            equality = re.sub(r"\\text\{[^}]*\}", "", why)
            if " = " in equality:
                left, right = map(numbers.formula, equality.split(" = "))
                for index in everywhere(letters):
                    assert left(**index) == pytest.approx(right(**index), rel=1e-9, abs=1e-12), why
    assert count > 10


def test_attentions_lines_which_are_written_by_hand_are_what_the_engine_computes():
    d = derivations.ATTENTION
    numbers = Numbers(d)
    for entry in (*d.equations, *d.gradients):
        left, _, right = entry.latex.partition(" = ")
        expected, formula = numbers.formula(left), numbers.formula(right)
        variable = getattr(entry, "output", None) or entry.variable
        letters = re.search(r"_\{(\w+)\}", left)[1]
        for index in everywhere(dict(zip(letters, numbers.nodes[variable].shape))):
            assert formula(**index) == pytest.approx(expected(**index), rel=1e-9), entry.latex


def test_the_parser_sees_a_misprint():
    numbers = Numbers(derivations.BATCH_NORM)
    right = r"\frac{\gamma}{m \sqrt{\sigma_B^2 + \epsilon}} \left( m \, dy_i - d\beta - \hat x_i \, d\gamma \right)"
    assert numbers.formula(right)(i=1) == pytest.approx(numbers.formula("dx_i")(i=1))
    for old, new in [
        ("m \\, dy", "dy"),
        ("- d\\beta", "+ d\\beta"),
        ("\\sqrt{\\sigma_B^2 + \\epsilon}", "(\\sigma_B^2 + \\epsilon)"),
        ("\\gamma}", "1}"),
        ("\\hat x_i", "x_i"),
    ]:
        assert numbers.formula(right.replace(old, new, 1))(i=1) != pytest.approx(numbers.formula("dx_i")(i=1)), new
    for broken in ("dx_i +", r"\sum_{i=1}^m", r"\frac{1}", "q_i", r"dx"):
        with pytest.raises((AssertionError, IndexError)):
            numbers.formula(broken)


# ---- How it reads


@pytest.mark.parametrize("name", PAPERS)
def test_latex_reads_as_a_person_writes_it_and_parses(name):
    for latex in lines(PAPERS[name]):
        assert "*" not in latex and "mean" not in latex and r"\operatorname" not in latex
        assert latex.count("{") == latex.count("}") and latex.count(r"\left") == latex.count(r"\right")
        assert "<math" in convert(latex)
    document = PAPERS[name].latex
    assert re.findall(r"\\(begin|end)\{(\w+)\}", document)[0] == ("begin", "document")
    for kind in ("document", "align"):
        assert document.count(rf"\begin{{{kind}}}") == document.count(rf"\end{{{kind}}}") > 0


m = written.expression(written.Symbol("m", is_size=True))
x = written.Written(written.Symbol("x", ("m",)), (m,))
c = written.Written(written.Symbol("c"))


@pytest.mark.parametrize(
    ("value", "text", "latex"),
    [
        (x.mean(), "1/m Σᵢ x", r"\frac{1}{m} \sum_{i=1}^m x_i"),
        ((c * x).sum() / 2, "½ c Σᵢ x", r"\frac{1}{2} c \, \sum_{i=1}^m x_i"),
        (x**2, "x²", "x_i^2"),
        (1 / (x + c) ** 2, "1 / (x + c)²", r"\frac{1}{(x_i + c)^2}"),
        ((x + c).sqrt() ** -3, "(x + c)^(−3/2)", "(x_i + c)^{-3/2}"),
        (x - (x - c), "c", "c"),
        (c * x + x * c, "2 c x", r"2 \, c \, x_i"),
        (x * x.sum(), "x Σᵢ x", r"x_i \, \sum_{j=1}^m x_j"),
        (np.exp(x - c), "exp(x − c)", "e^{x_i - c}"),
        (np.log(np.exp(x - c).sum()) + c, "log Σᵢ exp x", r"\log \sum_{i=1}^m e^{x_i}"),
        (np.tanh(c) ** 2, "(tanh c)²", r"(\tanh c)^2"),
        (-(x - c) * 2, "−2 (x − c)", "-2 (x_i - c)"),
        ((c * (x + c)).sqrt(), "√(c (x + c))", r"\sqrt{c (x_i + c)}"),
        (1 + c, "1 + c", "1 + c"),
        (c + 1, "c + 1", "c + 1"),
        ((c * x + c * x**2).sum(), "c Σᵢ x (1 + x)", r"c \, \sum_{i=1}^m x_i (1 + x_i)"),  # of a maximum c may be negative
        ((c * x + c * x**2).max(), "max (c x + c x²)", r"\max_i (c \, x_i + c \, x_i^2)"),
        (written.Written(written.collected((-x - c).e), (m,)), "−(x + c)", "-(x_i + c)"),
        (np.cos(c) * np.cos(c), "(cos c)²", r"(\cos c)^2"),
        (np.log(np.exp(c) * c), "log c + c", r"\log c + c"),
        (np.cos(x) * np.exp(c), "(cos x) exp c", r"\left( \cos x_i \right) \, e^{c}"),
        ((x + c) / (2 * c), "(x + c) / (2 c)", r"\frac{x_i + c}{2 c}"),
        (c * x.sum() ** 2, "c (Σᵢ x)²", r"c \left( \sum_{i=1}^m x_i \right)^2"),
        (c**0.25, "c^(1/4)", "c^{1/4}"),
        (np.tanh(c) * (x + c).sqrt() ** -3, "(x + c)^(−3/2) tanh c", r"(x_i + c)^{-3/2} \, \tanh c"),
    ],
)
def test_a_formula_keeps_its_form(value, text, latex):
    free = {"m": "i"} if "m" in written.axes_of(value.e) else {}
    assert Plain().sum(value.e).replace("Σ", "Σᵢ") == text
    assert Latex(lambda name: (name, name), {"m": "i"}, free).sum(value.e) == latex


# ---- The forms


def test_what_is_committed_is_what_is_derived(tmp_path):
    papers = runpy.run_path("docs/papers.py")
    for name in papers["NAMES"]:
        for ending in papers["ENDINGS"]:
            path = PAPERS[name.upper()].save(tmp_path / f"{name}{ending}")
            committed = (papers["FOLDER"] / path.name).read_text(encoding="utf-8")
            assert path.read_text(encoding="utf-8") == committed, f"{path.name} is out of date: run make derivations"


def test_it_is_text_latex_markdown_and_a_page_that_stands_alone(tmp_path):
    paper = PAPERS["LAYER_NORM"]
    assert str(paper) == paper.text and "(13)  ∂x̂/∂x = 1 / √(σ² + ε)" in paper.text
    assert "Every line was checked, for every m and k." in paper.text
    assert paper.markdown.count("```math") == 2 + len(paper.gradients)
    page = paper.html
    assert page.startswith("<!doctype html>") and page.count("<math") > 30
    assert not re.search(r"<script|<link|src=|href=|@import|url\(", page)
    assert page.count("<table") == 2 + len(paper.gradients) == page.count("</table>")
    assert paper._repr_html_() in page
    for ending, content in {".html": page, ".tex": paper.latex, ".md": paper.markdown, ".txt": paper.text}.items():
        path = paper.save(tmp_path / f"layer_norm{ending}")
        assert path.read_text(encoding="utf-8") == content
    with pytest.raises(ValueError, match=r"ends with \.pdf: a derivation is saved as \.html, \.tex, \.md, \.txt"):
        paper.save(tmp_path / "layer_norm.pdf")


def test_a_papers_page_has_the_live_pages_mathematical_fonts_and_so_has_the_site():
    pages = (STYLE, *(Path(page).read_text(encoding="utf-8") for page in ("micrograd_bn/explorer/page.css", "docs/site/site.css")))
    fonts = {re.search(r"math \{\s*font-family: ([^;]*);", page)[1] for page in pages}
    assert len(fonts) == 1 and fonts.pop().endswith(" math, serif")


def test_the_command_line(tmp_path, capsys):
    page = tmp_path / "rms_norm.html"
    assert cli.main(["derive", "rms_norm", "-o", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == PAPERS["RMS_NORM"].html
    assert capsys.readouterr().out == f"{page}\n"
    assert cli.main(["derive", "--derivation", "rms_norm"]) == 0
    assert capsys.readouterr().out == f"{PAPERS['RMS_NORM']}\n"
    assert cli.main(["derive", "rms_norm", "-o", str(tmp_path / "rms_norm.doc")]) == 2
    assert "saved as .html" in capsys.readouterr().err
    assert cli.main(["derive", "no_norm"]) == 2
    assert "no_norm: these are there" in capsys.readouterr().err


# ---- Graphs


def test_a_graph_of_a_derivation_gives_its_paper():
    y = batch_norm(Tensor([[1.0], [2.0], [6.0]]), Tensor([2.0]), Tensor([0.5]))
    assert derive(y).text == PAPERS["BATCH_NORM"].text


def test_a_graph_of_equations_has_them_as_its_steps():
    @equation(1, "n", text="Σ v²")
    def squared_length(v):
        return (v**2).sum()

    @equation(2, "u")
    def unit(v, n):
        return v / n**0.5

    v = Tensor([3.0, 4.0], label="v")
    paper = derive(unit(v, squared_length(v)))
    assert [(line.number, line.name, line.text) for line in paper.equations] == [
        (1, "n", "Σ v²"),
        (2, "u", "v / √n"),
        (3, "∂u/∂v", "1 / √n"),
        (4, "∂u/∂n", "−½ v n^(−3/2)"),
        (5, "∂n/∂v", "2 v"),
    ]
    assert paper.gradients[-1].steps[-1].text == "(du − u Σ du u) / √n"


def test_a_function_without_equations_has_its_primitives_as_the_steps():
    w, x = Tensor(np.ones((5, 4)), label="weight"), Tensor(np.ones((3, 4)), label="x")
    paper = derive(((x @ w.T).tanh() * np.ones((3, 5))).mean())
    assert [line.text for line in paper.equations if not line.input] == ["weight", "Σⱼ x a", "tanh b", "c f", "1/(m n) Σₚ Σᵢ g"]
    assert "1 − c²" in {line.text for line in paper.equations}  # by the name of the result
    assert not any(g.variable == "f" for g in paper.gradients)  # the array is a constant
    mixed = derive((batch_norm(x, Tensor(np.ones(4), "gamma"), Tensor(np.zeros(4), "beta")) ** 2).sum())
    assert mixed.gradients[-1].variable == "x" and mixed.gradients[-1].steps[-1].why[0] == "the terms collect"


def test_a_square_array_has_two_sizes():
    for shape, scope in (((3, 3), "every m and k"), ((3, 4), "every m and k")):
        x = Tensor(np.arange(float(np.prod(shape))).reshape(shape), label="x")
        assert derive((x * x).sum()).gradients[-1].text == "da · 2 x"
        paper = derive(((x - x.mean(axis=0, keepdims=True)) ** 2).sum())
        assert (paper.scope, paper.gradients[-1].text) == (scope, "db + da · 1/m")
    paper = derive(x.T * Tensor(np.ones((4, 3)), label="w"))
    assert (paper.scope, [g.text for g in paper.gradients]) == (
        "every m and k",
        ["w db", "a db", "da"],
    )  # as printed, in w's indices
    x = Tensor(np.eye(3), label="x")
    for y in (x.T * x, x @ x.T):  # which takes m = k, and an index that goes along two axes
        with pytest.raises(TypeError, match=r"the graph: \(2\) b = (mul|matmul)\(.*\) has no form on paper: .*shapes|a size twice"):
            derive(y)


def test_a_gradient_that_vanishes_is_0():
    x = Tensor([1.0, 2.0, 6.0], label="x")
    assert [(g.text, [step.text for step in g.steps]) for g in derive(x.var()).gradients][-2:] == [
        ("−Σ db", ["0"]),
        ("db + da · 1/m", ["db"]),
    ]
    squares = equation(2, "y")(lambda x, mu: ((x - mu) ** 2).sum())
    paper = derive(Derivation("squares", [mean, squares], shapes={"x": ("m",)}))
    assert [(g.variable, g.steps[-1].text) for g in paper.gradients] == [("mu", "0"), ("x", "2 dy (x − μ)")]
    assert derive(x.std()).gradients[-1].steps[-1].text == "db"


def test_what_has_no_derivative_is_given():
    paper = derive(Tensor([1.0, 2.0, 6.0], label="x").softmax())
    assert paper.scope == "every m" and [line.text for line in paper.equations if not line.input] == [
        "x − a",
        "exp b",
        "Σ c",
        "c / f",
    ]
    assert [g.variable for g in paper.gradients] == ["f", "c", "b", "x"]


def test_there_are_letters_for_as_many_sizes_as_there_are():
    names = [f"n{i}" for i in range(12)]
    total = equation(1, "y")(lambda x, w: (x * w).sum(axis=tuple(range(12))))
    d = Derivation("many", [total], shapes={"x": tuple(names), "w": ()})
    assert d.equations[0].latex.endswith(r"\sum_{i_1=1}^{n10} \sum_{i_2=1}^{n11} x_{ijpqruvabci_1i_2}")


def test_a_derivation_without_a_name_has_a_paper():
    assert derive(Derivation("", [equation(1, "y")(lambda x: 2 * x)])).title == ""


def test_constants_other_than_the_defaults_are_on_paper_as_they_were():
    @equation(1, "s", text="x²", latex="s_i = x_i^2")
    def scale(x, power=2):
        return x**power

    d = Derivation("scale", [scale])
    x = Tensor([2.0, 3.0])
    for y in (d(x=x, power=3), scale(x, power=3), scale(x, 3)):
        paper = derive(y)
        assert [line.text for line in paper.equations] == ["x³", "3 x²"] and paper.gradients[0].text == "ds · 3 x²"
    step = d(x=x, power=3).equation
    assert (step.text, step.derivation.equations[0].text) == ("x³", "x³")  # what pages and pictures show
    assert [row.formula for row in verify([1.0, 2.0], derivation=d, power=3).rows] == ["x³", "3 x²", "ds · 3 x²"]
    assert derive(scale(x)).equations[0].text == derive(d).equations[0].text == "x²"
    assert d(x=x, power=2).equation.derivation is d


def test_an_axis_other_than_the_default_is_on_paper():
    x = np.random.default_rng(0).normal(size=(3, 4))
    layer_norm = derivations.LAYER_NORM
    y = layer_norm(x=Tensor(x), gamma=Tensor(np.ones(4)), beta=Tensor(np.ones(4)), axis=0, eps=0.1)
    assert [line.text for line in derive(y).equations][:3] == ["1/m Σ x", "1/m Σ (x − μ)²", "(x − μ) / √(σ² + ε)"]
    report = verify(x, derivation=layer_norm, axis=0)
    assert report.ok and report.rows[0].formula == "1/m Σ x"
    assert verify(x, derivation=layer_norm, eps=0.1).rows[0].formula == "1/k Σⱼ x"
    assert verify(np.ones((3, 4, 2)), axis=(0, 2)).rows[0].formula == "1/m Σ x"  # of more axes than the table has


def test_the_sizes_that_it_is_checked_for_are_named():
    product = derive(Tensor(2.0, label="a") * Tensor(3.0, label="b"))
    assert product.scope == "all numbers" and "Every line was checked, for all numbers." in product.text
    assert derive(derivations.GROUP_NORM).scope == "every n and g and c and h and w"
    assert PAPERS["LINEAR"].ranges[-1][0] == "p = 1 … n"  # for l is the loss, of which da is ∂l/∂a


X, V = np.array([[0.5, -1.0], [2.0, 0.3], [1.2, -0.7]]), np.array([0.5, -1.0])


@pytest.mark.parametrize(
    ("function", "x", "lines"),
    [
        (lambda x: np.where(x > 0, x, 0.1 * x), X, ["1/10 x", "x [x > 0] + a [x ≤ 0]", "[x > 0]", "[x ≤ 0]", "1/10"]),
        (lambda x: np.where(X > 0, x, 0.0), X, ["x [a > 0]", "[a > 0]"]),
        (lambda x: np.clip(x, -1, None), X, ["−[x < −1] + x [x ≥ −1]", "[x ≥ −1]"]),
        (lambda x: (x > 0.5) * x, X, ["x [x > ½]", "[x > ½]"]),
        (lambda x: np.abs(x), 0.5, ["|x|", "[x ≥ 0] [x ≠ 0] − [x < 0]"]),
        (lambda x: np.minimum(x, V), V, ["x [x < a] + a [x ≥ a]", "½ ([a = x] + 2 [a ≠ x]) [a ≥ x]"]),
        (lambda x: x.max(axis=1), X, ["max x", "[x ≥ max x] / Σ [x ≥ max x]"]),
        (lambda x: -x.min(), V, ["−max −x", "−a", "−1", "[x + max −x ≤ 0] / Σ [x + max −x ≤ 0]"]),
        (lambda x: np.log1p(np.expm1(x)), V, ["exp x − 1", "log(1 + a)", "1 / (1 + a)", "exp x"]),
        (lambda x: np.float64(0.125) * x + 0.044715, V, ["1/8 x", "a + 0.044715", "1", "1/8"]),
        (lambda x: 0.044715 * x[:, None, ...], V, ["x", "0.044715 a", "0.044715", "1"]),
        (lambda x: x.ravel() * x[None][0].astype(np.float32), V, None),
    ],
)
def test_a_function_of_each_number_has_a_form(function, x, lines):
    y = function(Tensor(x, "x"))
    paper = derive(y)
    assert lines is None or [line.text for line in paper.equations] == lines
    assert "∂" not in "".join(line.text for line in paper.equations)
    assert ("is 1 where" in paper.text) == any("[" in line.text for line in paper.equations)
    assert ["[" in line.text for line in paper.equations] == ["[" in line.latex for line in paper.equations]


def test_sigmoid_and_norm_have_a_form_and_no_term_that_is_0():
    paper = derive(Tensor(0.5, "x").sigmoid())
    assert [line.text for line in paper.equations][:6] == [
        "−x",
        "a [x ≥ 0] + x [x < 0]",
        "exp b",
        "[x ≥ 0] + c [x < 0]",
        "1 + c",
        "f / g",
    ]
    assert (paper.gradients[-1].text, paper.gradients[-1].numbers) == ("db · [x < 0] − da", (10, 13, 15))
    assert paper.equations[9].latex == r"\frac{\partial f}{\partial x} = 0"
    assert [line.text for line in derive(Tensor(X, "x").norm(axis=1)).equations][2:5] == ["[b = 0] + b [b ≠ 0]", "√c", "f [b ≠ 0]"]


def test_brackets_are_what_the_functions_compute():
    m = written.Symbol("m", is_size=True)
    a, b = np.random.default_rng(0).normal(size=(2, 50)).round(1)
    symbols = [written.Written(written.Symbol(name, ("m",)), (written.expression(m),)) for name in "ab"]
    for f in (
        lambda a, b: np.maximum(a, b) - np.minimum(a, 0.5) + np.maximum(-1, b),
        lambda a, b: np.where(a == b, np.abs(a), np.where(a != 0.3, b, 2)),
        lambda a, b: np.where((a < b) * (b <= 0.4), a, b) * (a >= 0) + np.where(True, a, b),
    ):
        found = written.computed(f(*symbols).e, {"a": a, "b": b}, lambda *_: 0)
        np.testing.assert_allclose(found.astype(float), f(a, b))
    with pytest.raises(TypeError, match="which number is larger depends on the numbers"):
        max(symbols)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x[0] * 3, r"\(1\) a = getitem\(x\) .*: an array of any size has .* no element that is picked by its place"),
        (lambda x: x[:, [0, 1]], "getitem"),
        (lambda x: x[1:], "getitem"),
        (lambda x: x.reshape(6), r"reshape\(x\) .*: an array of shape \(m, k\) becomes \(6\) only where these are numbers"),
        (lambda x: x.ravel(), "reshape"),
        (lambda x: np.repeat(x, 2), "reshape"),
        (lambda x: np.cumsum(x, axis=0), r"cumsum\(x\) .*: numpy\.cumsum has no rule"),
        (lambda x: nn.cross_entropy(x, [0, 1, 1]), r"\(6\) p = getitem\(h\)"),
        (lambda x: np.prod(x), "prod"),
        (lambda x: np.concatenate([x, x]), "concatenate"),
        (lambda x: 2**x, r"power\(x\) .*: a power whose exponent is a variable has no rule"),
        (lambda x: x ** np.array([2.0, 3.0]), "pow"),
        (lambda x: np.broadcast_to(x, (4, 3, 2)), "broadcast"),
        (lambda x: fused_batch_norm(x, V, V), "fused_batch_norm"),
    ],
)
def test_what_has_no_form_on_paper_is_named(function, said):
    with pytest.raises(TypeError, match=f"{said}.*has no form on paper|{said}") as error:
        derive(function(Tensor(X, "x")))
    assert " has no form on paper: " in str(error.value) and "draw(y), explore and trace(y) show any graph" in str(error.value)


def test_what_an_author_writes_of_a_step_stands_for_it():
    ordered = equation(1, "y", text="x in order")(lambda x: np.cumsum(x))
    told = Derivation("sums", [ordered], [], {"x": ("m",)}, texts={2: ("m − i", "m - i")})
    assert [line.text for line in derive(told).equations] == ["x in order", "m − i"]
    with pytest.raises(TypeError, match=r"sums: \(1\) y = .* has no form on paper"):
        derive(Derivation("sums", [ordered], [], {"x": ("m",)}))


def test_constants_are_named_as_such():
    x = Tensor(V, "x")
    assert derive(x * V).text.splitlines()[1].startswith("Here a is a constant, and dv is ∂l/∂v,")
    paper = derive(x * V + 2 * V)
    assert "a and c are constants" in paper.text and "$a$ and $c$ are constants" in paper.markdown
    assert "constant" not in derive(x * x).text


# ---- What bad input gets


def test_nothing_is_printed_that_is_no_identity(monkeypatch):
    @equation(1, "y", text="x²")
    def square(x):
        return x**2

    wrong = Edge(2, "y", "x", "x", "", lambda dy, x: dy * x)
    with pytest.raises(ValueError, match=r"squares: \(2\) ∂y/∂x = x is no identity: x dy does not vanish, at m = 1, k = 1, "):
        derive(Derivation("squares", [square], [wrong]))
    right = written.gathered
    monkeypatch.setattr(written, "gathered", lambda e: right(e) * 2)  # a rule with a mistake in it
    gradient = derive(derivations.RMS_NORM).gradients[-1]
    assert [step.why[0] for step in gradient.steps][-1] != "the terms collect"
    assert len(gradient.steps) < len(PAPERS["RMS_NORM"].gradients[-1].steps) + 1


def test_what_cannot_be_derived_says_what_it_would_take(monkeypatch):
    for nothing in (Tensor(1.0), 3.0, np.ones(2), lambda x: x):
        with pytest.raises(TypeError, match="derive needs a Derivation, or the result of a computation with Tensors"):
            derive(nothing)

    @equation(1, "y")
    def ordered(x):
        return np.sort(x)

    d = Derivation("sorted", [ordered])  # in pictures by its name
    assert [e.text for e in (*d.equations, *d.edges, *d.gradients)] == ["ordered(x)", "∂ordered(x)/∂x", "dy · ∂y/∂x"]
    assert d.equations[0].latex == r"y = \mathrm{ordered}(x)"
    assert d.edges[0].latex == r"\frac{\partial y}{\partial x} = \frac{\partial}{\partial x} \mathrm{ordered}(x)"
    assert d.gradients[0].latex == r"dx = dy \cdot \frac{\partial y}{\partial x}"
    with pytest.raises(TypeError, match=r"sorted: \(1\) y = ordered\(x\) has no form on paper: numpy\.sort has no rule"):
        derive(d)

    @equation(1, "y")
    def halved(x):
        while x > 1:
            x = x / 2
        return x

    with pytest.raises(TypeError, match="which number is larger depends on the numbers"):
        derive(Derivation("halved", [halved]))

    @equation(1, "y")
    def weighed(x):
        return x * np.array([0.5, 0.25])

    with pytest.raises(TypeError, match="does not mix with an array of float64"):
        derive(Derivation("weighed", [weighed]))
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'micrograd-bn\[prove\]'"):
        derive(derivations.RMS_NORM)


def test_sizes_that_are_numbers_are_said():
    @equation(1, "mu")
    def rectify(x):
        return relu(x)

    paper = derive(Derivation("rectifier", [rectify]))
    assert [line.text for line in paper.equations] == ["x [x > 0]", "[x > 0]"]
    assert [line.latex for line in paper.equations][1] == r"\frac{\partial \mu}{\partial x} = [x > 0]"
    assert paper.gradients[0].latex == r"dx = d\mu \cdot [x > 0]"
    assert paper.scope == "every m and k, where numbers that are compared differ" and f"checked, for {paper.scope}." in paper.text
    d = Derivation(
        "largest", [equation(1, "y")(lambda x: 2 * x.max())], shapes={"x": ("k",)}
    )  # has a form, and no proof for every k
    assert (d.equations[0].text, derive(d).scope, derive(d).gradients[0].steps) == ("2 max x", "k = 2, 3, near 2 points each", ())

    @equation(1, "y")
    def times_the_first(x):
        return x * x[0, 0]  # not x²: an element is not each of them

    with pytest.raises(
        TypeError, match=r"first: \(1\) y = times_the_first\(x\) has no form on paper: .* no element that is picked"
    ):
        derive(Derivation("first", [times_the_first]))


def test_lines_go_on_behind_a_root_of_any_degree():
    cubed = equation(1, "s")(lambda x: (x**2).sum(keepdims=True)), equation(2, "r")(lambda s: s ** Fraction(1, 3))
    d = Derivation("cube root", [*cubed, equation(3, "y")(lambda x, r: x / r)], shapes={"x": ("k",)})
    assert derive(d).gradients[-1].steps[-1].text == "(3 dy s^(2/3) + 2 x r dr) / (3 r s^(2/3))"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x, w: x * w, "w dy"),
        (lambda x, w: x * w**2, "dy · w²"),
        (lambda x, w: -x * w, "dy · −w"),
        (lambda x, w: x * (w + 1), "dy · (w + 1)"),
    ],
)
def test_a_local_derivative_that_is_more_than_a_product_stands_behind_a_dot(function, text):
    d = Derivation("d", [equation(1, "y")(function)], shapes={"x": ("k",), "w": ("k",)})
    assert next(g.text for g in d.gradients if g.variable == "x") == text
