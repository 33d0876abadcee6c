"""A derivation is a table that anyone can write: what follows from forward equations, and what is said of tables that are none."""

import unicodedata
from decimal import Decimal, localcontext
from functools import partial

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, batch_norm, cli, derivations, draw, equation, grad, scalars, verify
from micrograd_bn.batches import drawn
from micrograd_bn.batchnorm import mean, variance
from micrograd_bn.check import check_backward
from micrograd_bn.derivation import GREEK, Edge, Gradient, Mistake, made_by
from micrograd_bn.engine import in_order
from micrograd_bn.graph import derivation_of
from micrograd_bn.prove import prove
from micrograd_bn.verify import values_on_paper
from tests.conftest import optional

ALL = {name: getattr(derivations, name) for name in derivations.__all__}
random = np.random.default_rng(0)
FIRST = {name: random.normal(size=(2, 2, 3, 2, 2) if name == "GROUP_NORM" else (5, 4)) for name in ALL}
edges = [(name, edge.number) for name, d in ALL.items() for edge in d.edges]


# Weight normalisation, as a user would write it: forward equations alone.


@equation(1, "n")
def squared_length(v, axis=-1):
    return (v**2).sum(axis=axis, keepdims=True)


@equation(2, "w")
def weight(v, g, n):
    return g * v / n**0.5


WEIGHT_NORM = Derivation("weight norm", [squared_length, weight], shapes={"g": ("m", "1")})


def values_of(name):
    """Every variable and gradient of a packaged derivation, on random numbers."""
    d, x = ALL[name], FIRST[name]
    inputs, upstream = drawn(x, 1, d)
    return d, values_on_paper({d.inputs[0]: x} | inputs, upstream, d)


@pytest.mark.parametrize("name", ALL)
def test_each_packaged_derivation_is_the_engines(name):
    report = verify(FIRST[name], derivation=ALL[name])
    assert report.ok
    assert report.max_error < 1e-12
    assert not any(row.by_engine for row in report.rows)


@pytest.mark.parametrize("name", ALL)
def test_equations_and_edges_are_numbered_one_after_the_other(name):
    numbers = [entry.number for entry in (*ALL[name].equations, *ALL[name].edges)]
    assert numbers == [*range(1, len(numbers) + 1)]


@pytest.mark.parametrize("name", ALL)
def test_in_fifty_digits(name):
    x = np.vectorize(lambda number: Decimal(repr(float(number))), otypes=[object])(FIRST[name])
    with localcontext() as context:
        context.prec = 50
        report = verify(x, derivation=ALL[name])
    assert report.ok
    assert report.max_error < 1e-45


@pytest.mark.parametrize(("name", "number"), edges)
def test_each_local_derivative_written_by_hand_is_the_slope_of_its_equation(name, number):
    """Along a random direction of the edge's input, in 60 digits, with no engine."""
    mpmath = optional("mpmath")
    d, values = values_of(name)
    edge = next(edge for edge in d.edges if edge.number == number)
    with mpmath.workdps(60):
        lifted = {
            k: np.vectorize(lambda n: mpmath.mpf(float(n)), otypes=[object])(v) if k not in d.constants else v
            for k, v in values.items()
        }
        direction = np.vectorize(mpmath.mpf, otypes=[object])(np.random.default_rng(2).normal(size=np.shape(values[edge.input])))
        e = d.equation_of(edge.output)

        lifted[edge.output] = e.function(*[lifted[a] for a in e.inputs], **{c: values[c] for c in e.constants})

        def loss(t):
            moved = lifted | {edge.input: lifted[edge.input] + t * direction}
            result = e.function(*[moved[a] for a in e.inputs], **{c: values[c] for c in e.constants})
            return np.sum(lifted[f"d{edge.output}"] * result)

        h = mpmath.mpf(10) ** -20
        slope = (loss(h) - loss(-h)) / (2 * h)
        term = d.pull_back(edge, lifted)
        assert abs(np.sum(np.broadcast_to(term, direction.shape) * direction) - slope) < 1e-25 * (1 + abs(slope))


@pytest.mark.parametrize("name", ALL)
def test_from_the_equations_alone_the_engine_gives_the_same(name):
    """All of an author's formulas left out: each edge is pulled back by the engine, on arrays and on Tensors."""
    d, values = values_of(name)
    bare = Derivation(d.name, [e.function for e in d.equations], shapes=d.shapes, no_gradient=d.no_gradient, defaults=d.constants)
    inputs = {a: values[a] for a in (*d.inputs, *d.constants)}
    given = bare.backward(values[d.upstream], **inputs)
    lifted = d.backward(values[d.upstream], **{a: Tensor(v) if a in d.inputs else v for a, v in inputs.items()})
    for variable, gradient in given.items():
        np.testing.assert_allclose(gradient, values[f"d{variable}"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(lifted[variable].data, gradient, rtol=1e-10, atol=1e-12)


def test_a_claim_leaves_the_other_edges_their_numbers():
    """The author writes one edge, with the number that it has: the others keep theirs."""
    claim = Edge(4, "w", "g", "", "", lambda dw, v, n: dw * v / n**0.5)
    claimed = Derivation("claimed", [e.function for e in WEIGHT_NORM.equations], [claim])
    assert [(e.number, e.name) for e in claimed.edges] == [(e.number, e.name) for e in WEIGHT_NORM.edges]


def test_numbers_that_are_not_given_are_the_free_ones_after_the_equations():
    d = Derivation("d", [number(2, "a"), number(7, "y", lambda a, w: a * w)], [Edge(9, "y", "w", function=lambda dy, a: dy * a)])
    assert [(edge.number, edge.output, edge.input) for edge in d.edges] == [(8, "y", "a"), (9, "y", "w"), (10, "a", "x")]


def test_on_the_terminal_all_entries_are_called_by_their_symbols():
    double, x_max = number(1, "mu", lambda gamma: gamma * 2), number(2, "x_max", lambda mu: mu * 3)
    condensed = Gradient((3, 4), "gamma", function=lambda dx_max: dx_max * 6)
    d = Derivation("d", [double, x_max], texts={3: ("three", "3")}, condensed=[condensed])
    entries = (*d.equations, *d.edges, *d.gradients, *d.condensed)
    assert [entry.name for entry in entries] == ["μ", "x_max", "∂x_max/∂μ", "∂μ/∂γ", "dμ", "dγ", "dγ"]
    assert (d.edges[0].text, d.edges[0].latex, d.symbol("x_max")[1]) == ("three", "3", r"x_{\mathrm{max}}")
    for entry in entries:
        with pytest.raises(AttributeError, match="name"):
            entry.name = "another"


def test_a_text_that_is_not_given_is_written_beside_the_one_that_is():
    twice = [equation(1, "y", **{of: "as given"})(lambda x: 2 * x) for of in ("text", "latex")]
    text, latex = [Derivation("d", [function]).equations[0] for function in twice]
    assert (text.text, text.latex) == ("as given", r"y = 2 \, x")
    assert (latex.text, latex.latex) == ("2 x", "as given")


def test_a_users_derivation_has_a_report_that_says_where_the_engine_is_alone():
    report = verify(random.normal(size=(3, 4)), derivation=WEIGHT_NORM)
    assert report.ok
    assert [(row.number, row.name, row.by_engine) for row in report.rows] == [
        ("(1)", "n", False), ("(2)", "w", False), ("(3)", "∂w/∂v", True), ("(4)", "∂w/∂g", True), ("(5)", "∂w/∂n", True),
        ("(6)", "∂n/∂v", True), ("(4)", "dg", True), ("(5)", "dn", True), ("(3) (6)", "dv", True),
    ]  # fmt: skip
    assert str(report).count("by the engine") == 7
    assert "2 of 2 rows agree" in str(report)
    assert "7 rows have no formula to hold the engine against" in str(report)


def test_a_gradient_with_one_formula_among_its_edges_is_held_against_the_engine():
    edges = [Edge(3, "w", "v", "g/√n", "", lambda dw, g, n: dw * (g / n**0.5))]
    report = verify(
        random.normal(size=(3, 4)), derivation=Derivation("w", [squared_length, weight], edges, shapes={"g": ("m", "1")})
    )
    assert report.ok
    assert [row.name for row in report.rows if not row.by_engine] == ["n", "w", "∂w/∂v", "dv"]


def test_a_users_derivation_is_drawn_at_all_zooms_with_numbers_and_terms_that_add_up():
    v, g = Tensor(random.normal(size=(1, 3)), "v"), Tensor([[2.0]], "g")
    w = WEIGHT_NORM(v=v, g=g)
    w.backward(np.array([[1.0, -2.0, 0.5]]))
    assert w.equation.derivation is WEIGHT_NORM
    pictures = {zoom: draw(w, zoom, precision=17).source for zoom in ("equations", "primitives")}
    assert all(f"({number})" in pictures["equations"] for number in (1, 2, 3, 4, 5, 6))
    assert "(2)  w" in pictures["primitives"].replace("\\ ", " ")
    row = WEIGHT_NORM(v=scalars([[1.0, 2.0]], "v"), g=scalars([[2.0]], "g"))
    row[0, 0].backward()
    assert "n[0,0]" in draw(row, "scalars").source


def test_a_bare_call_belongs_to_the_first_derivation_and_a_call_of_another_to_that():
    x = Tensor(np.ones((2, 3)))
    assert mean(x).equation.derivation is derivations.BATCH_NORM
    y = derivations.LAYER_NORM(x=x, gamma=np.ones(3), beta=np.zeros(3))
    assert y.equation.derivation is derivations.LAYER_NORM
    assert y.equation.inputs["x_hat"].equation.derivation is derivations.LAYER_NORM


def test_keyword_arguments_are_remembered_as_positional_ones_are():
    x = Tensor([1.0, 2.0])
    assert mean(x=x, axis=0).equation.inputs == {"x": x}
    assert weight(Tensor([1.0]), n=Tensor([4.0]), g=2.0).equation.names == ("v", "g", "n")


def test_what_is_made_by_an_equation_ends_where_its_variables_are():
    x = Tensor([1.0, 2.0])
    mu = mean(x)
    var = variance(x, mu)
    steps = made_by([var, mu])
    assert steps == {mu: mu.equation, **{node: var.equation for node in in_order([var]) if node not in {x, mu}}}


def test_two_runs_in_one_picture_are_told_apart():
    x = Tensor(random.normal(size=(3, 2)), "x")
    twice = batch_norm(batch_norm(x, 1.0, 0.0), 2.0, 1.0)
    for zoom in ("equations", "primitives"):
        source = draw(twice, zoom).source.replace("\\ ", " ")
        assert "batch norm 1  (1)  μ" in source
        assert "batch norm 2  (1)  μ" in source
    both = draw(derivations.LAYER_NORM(x=batch_norm(x, 1.0, 0.0), gamma=1.0, beta=0.0)).source.replace("\\ ", " ")
    assert "layer norm  (4)  y" in both
    assert "batch norm  (4)  y" in both
    assert "batch norm" not in draw(batch_norm(x, 1.0, 0.0)).source


def test_an_equation_without_a_derivation_is_drawn_without_numbers_at_its_edges():
    @equation(7, "z", text="a b")
    def product(a, b):
        return a * b

    z = product(Tensor(2.0, "left"), b=Tensor(3.0))
    z.backward()
    assert "(7)  z = a b" in draw(z).source.replace("\\ ", " ")
    assert "(8)" not in draw(z).source


def number(n, output, function=lambda x: x):
    return equation(n, output)(function)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Derivation("d", []), "d has no equations"),
        (lambda: Derivation("d", [lambda x: x]), "is no equation: decorate it"),
        (lambda: Derivation("d", [number(1, "a"), number(2, "a")]), r"d: equations \(2\) and before compute 'a' twice"),
        (lambda: Derivation("d", [number(1, "a"), number(1, "b")]), "d: number 1 is used twice: each equation"),
        (
            lambda: Derivation("d", [number(1, "a", lambda b: b), number(2, "b", lambda a: a)]),
            r"equation \(1\) needs 'b'.*without a cycle",
        ),
        (lambda: Derivation("d", [number(1, "a")], [Edge(2, "a", "z", "", "", None)]), r"edge \(2\) is of 'a' with respect to 'z'"),
        (lambda: Derivation("d", [number(1, "a")], [Edge(1, "a", "x", "", "", None)]), "number 1 is used twice"),
        (
            lambda: Derivation("d", [number(1, "a")], [Edge(n, "a", "x") for n in (2, 3)]),
            r"edge \(2\) is of 'a' with .* another one",
        ),
        (lambda: Derivation("d", [number(1, "a")], shapes={"y": ("m",)}), "d: shapes names 'y', and the inputs are x"),
        (
            lambda: Derivation("d", [number(1, "a")], shapes={"x": ("m", 3)}),
            r"names of sizes such as .* with '1' for a size of 1; .* 'x' has \('m', 3\)",
        ),
        (
            lambda: Derivation("d", [number(1, "a")], shapes={"x": "kept"}),
            "after the first input's, 'kept', which is .*; and 'x' has 'kept'",
        ),
        (lambda: Derivation("d", [number(1, "a")], domains={"a": "scale"}), "d: domains names 'a'"),
        (
            lambda: Derivation("d", [number(1, "a")], domains={"x": "postive"}),
            "d: domains names 'postive', and the domains are scale, positive, probabilities",
        ),
        (
            lambda: Derivation("d", [number(1, "a", lambda x, n=2: x)], defaults={"m": 1}),
            "defaults names 'm', and the constants are n",
        ),
        (
            lambda: Derivation("d", [number(1, "a")], condensed=[Gradient((2,), "a", function=lambda da: da)]),
            "condensed names 'a', and the variables with a gradient are x",
        ),
        (
            lambda: Derivation("d", [number(1, "a")], forms={"": {1: lambda da: da}}),
            "forms names 1, and the edges and variables with a gradient are 2, x",
        ),
        (
            lambda: Derivation("d", [number(1, "a")], mistakes=[Mistake("", {1: lambda term: 0}, {"x": lambda term: 0})]),
            "mistakes names 'x', and the equations, edges and condensed forms are 1, 2",
        ),
        (lambda: Derivation("d", [number(1, "a")], no_gradient=["b"]), "d: no_gradient names 'b'"),
        (
            lambda: Derivation("d", [number(1, "s"), equation(2, "y")(lambda x, S: x / S)]),
            r"d: equation \(1\) computes 's', and no equation uses it: is it spelt otherwise there\? The inputs are x, S$",
        ),
        (lambda: Derivation("d", [number(1, "a")], texts={3: ("", "")}), "texts names 3, and the variables and edges are x, a, 2"),
        (
            lambda: derivations.LINEAR(np.ones((2, 3)), np.ones((2, 4)), np.ones(2)),
            r"shapes x \(m, k\), w \(n, k\), b \(n\), and x has \(2, 3\) and w has \(2, 4\)",
        ),
        *[
            (
                lambda latex=latex: verify(1.0, derivation=Derivation("d", [equation(1, "a", latex=latex)(lambda x: x)])),
                "LaTeX of 1, a, does",
            )
            for latex in (r"a = \frac{x", "a = x}", r"a = \left( x")
        ],
    ],
)
def test_a_table_that_is_none_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ([lambda dx, v: dx * v, lambda x, a: x * a], "d: 'dx' is also the gradient of 'x': it needs another name"),
        ([lambda x, dx=2.0: x * dx], "'dx' is also the gradient of 'x'"),
        ([lambda x, dy: x * dy], "'dy' is also the gradient of 'y'"),
        ([lambda x, term: x * term], "'term' is also what the right formula gives, in a Mistake"),
        ([lambda x, sizes=2: x * sizes], "'sizes' is also those of the axes, in a Mistake"),
        ([lambda x, w=2: x * w, lambda a, w: a * w], "'w' is also a constant, with a default"),
        ([lambda x: x * 2, lambda x, a=1: a * x], "'a' is also a constant, with a default"),
        (
            [lambda x, n=2: x * n, lambda a, n=3: a * n],
            r"'n' is 2 in equation \(1\) and 3 further on: say which, defaults=\{'n': …",
        ),
        ([lambda n=2: n], "there is nothing to differentiate by"),
    ],
)
def test_a_name_stands_for_one_thing(functions, message):
    *before, last = functions
    with pytest.raises(ValueError, match=message):
        Derivation("d", [*[number(1, "a", function) for function in before], number(2, "y", last)])


def test_what_has_no_gradient_may_stand_beside_its_differential():
    d = Derivation("d", [number(1, "a", lambda dx, v: dx * v), number(2, "y", lambda x, a: x * a)], no_gradient=["x"])
    assert d.backward(1.0, x=3.0, dx=2.0, v=5.0) == {"a": 3, "dx": 15, "v": 6}


def test_what_begins_with_a_d_is_called_a_gradient_only_if_it_is_one():
    equations = [
        number(1, "a", lambda dgamma, v: dgamma * v),
        number(2, "y", lambda gamma, a, depth=2, va=3: gamma * a * depth * va),
    ]
    d = Derivation("d", equations, no_gradient=["gamma"])
    for name in ("dgamma", "gamma", "a", "depth", "va"):
        assert d.called(name) == d.symbol(name)
    assert [d.called(name) for name in ("ddgamma", "dv")] == [("ddgamma", r"d\mathrm{dgamma}"), ("dv", "dv")]


def test_of_a_graph_with_a_variable_and_its_differential_each_has_its_gradient():
    for first, second in (("x", "dx"), ("dx", "x"), ("term", "sizes")):
        d = derivation_of(Tensor(3.0, first) * (Tensor(2.0, second) * Tensor(5.0, "v")))
        assert d.backward(1.0, **dict(zip(d.inputs, (2.0, 5.0, 3.0))))["v"] == 6


def test_a_default_that_equations_do_not_share_is_decided_by_the_table():
    d = Derivation("d", [number(1, "a", lambda x, n=2: x * n), number(2, "y", lambda a, n=3: a * n)], defaults={"n": 4})
    assert d(1.0) == 16
    with pytest.raises(ValueError, match=r"'n' is 3 in equation \(1\) and 2 further on"):
        Derivation("d", [number(1, "a", lambda x, n=3: x * n), number(2, "y", lambda a, n=2: a * n)])
    shared = [lambda x, n=float("2"), none=np.nan: x * n, lambda a, n=float("2"): a * n]  # equal ones, and one that equals nothing
    assert Derivation("d", [number(1, "a", shared[0]), number(2, "y", shared[1])])(1.0) == 4


def test_an_equation_of_constants_alone_and_one_without_a_form_on_paper_have_a_text():
    d = Derivation("d", [number(1, "c", lambda n=2: n), number(2, "y", lambda x, c: np.sort(x) * c)])
    assert [(e.text, e.latex) for e in d.equations] == [("f()", r"c = \mathrm{f}()"), ("f(x, c)", r"y = \mathrm{f}(x, c)")]
    assert d.gradients[0].latex == r"dx = dy \cdot \frac{\partial y}{\partial x}"


@pytest.mark.parametrize("function", [lambda x, *, n=2: x, lambda *x: x, lambda x, **n: x])
def test_a_parameter_with_a_star_or_after_one_is_refused(function):
    with pytest.raises(TypeError, match=r"<lambda> is called by position, and '.+' has a star or comes after one"):
        number(1, "y", function)


def test_a_variable_may_be_called_as_pythons_own_are():
    d = Derivation("d", [number(1, "y", lambda self, upstream: self * upstream)])
    assert (d(self=2.0, upstream=3.0), d.backward(1.0, self=2.0, upstream=3.0)) == (6, {"self": 3, "upstream": 2})


def test_a_greek_letter_is_the_same_on_the_terminal_and_in_latex_and_one_that_latex_does_not_have_is_a_word():
    d = Derivation("d", [number(1, "y")])
    for name, letter in GREEK.items():
        case, spelling = "SMALL" if name.islower() else "CAPITAL", name.upper().replace("LAMBDA", "LAMDA")
        assert unicodedata.name(letter) == f"GREEK {case} LETTER {spelling}"
        assert d.symbol(name) == (letter, f"\\{name}")
    assert [d.symbol(name) for name in ("eps", "lambda_", "Gamma_hat")] == [
        ("ε", r"\epsilon"),
        ("λ", r"\lambda"),
        ("Γ̂", r"\hat \Gamma"),
    ]
    assert [d.symbol(name) for name in ("lamda", "Alpha", "san")] == [(w, rf"\mathrm{{{w}}}") for w in ("lamda", "Alpha", "san")]


def test_an_equation_that_gives_back_what_it_is_given_leaves_it_alone():
    d = Derivation("d", [number(1, "a"), number(2, "y", lambda a: a * a)])
    x = Tensor([1.0, 2.0], "x")
    y = d(x)
    y.backward(np.ones(2))
    assert (x.label, x.equation, x.grad.tolist()) == ("x", None, [2, 4])
    assert verify([1.0, 2.0], derivation=d).ok
    assert all(f"{name} [" in draw(y).source for name in "xay")
    numbers = scalars([1.0, 2.0], "x")
    largest = Derivation("m", [number(1, "y", lambda x: np.max(x))])(numbers)
    assert (numbers[1].label, largest.label, largest.data) == ("x[1]", "y", 2)
    d(numbers)
    assert numbers[0].label == "x[0]"
    assert Derivation("d", [number(1, "y", lambda x: x + 1)])(x).inputs[0] is x  # and nothing comes between, where it is not


def test_an_axis_that_is_written_otherwise_is_still_the_tables_own():
    batch, layer = derivations.BATCH_NORM, derivations.LAYER_NORM
    assert all(batch.with_constants({"axis": axis}) is batch for axis in (0, (0,), -2, (0, 2, 3)))
    assert all(layer.with_constants({"axis": axis}) is layer for axis in (1, (-1,)))
    assert batch.with_constants({"axis": 1}) is batch.with_constants({"axis": 1}) is not batch
    assert batch.with_constants({"axis": (0, 1)}) is not batch
    assert derivations.GROUP_NORM.with_constants({"axis": (2, 3)}) is not derivations.GROUP_NORM
    power = Derivation("d", [number(1, "y", lambda x, n=1000: x**n)])
    assert power.with_constants({"n": int("1000")}) is power
    x = [[1.0, 2.0], [3.0, 5.0]]
    assert [row.formula for row in verify(x, axis=(0,)).rows] == [row.formula for row in verify(x).rows]


def test_with_another_constant_what_the_author_has_written_of_it_is_written_anew_and_no_other_equation():
    written = [equation(1, "a", "x to the n")(lambda x, n=2: x**n), equation(2, "y", "thrice a")(lambda a: 3 * a)]
    assert [e.text for e in Derivation("d", written).with_constants({"n": 3}).equations] == ["x³", "thrice a"]


def test_what_comes_after_the_first_input_may_be_of_the_shape_that_a_mean_of_it_keeps():
    d = Derivation("d", [number(1, "y", lambda x, z, axis=0: (x * z).sum(axis=axis))], shapes={"z": "kept"})
    assert d.dimensions() == {"x": ("m", "k"), "z": ("1", "k")}


def test_a_title_begins_with_a_capital_and_keeps_the_others():
    assert [d.title for d in (derivations.RMS_NORM, derivations.LAYER_NORM)] == ["RMS norm", "Layer norm"]
    assert Derivation("", [number(1, "y")]).title == ""


def test_a_formula_that_returns_another_shape_is_named():
    wrong = Derivation("d", [number(1, "y", lambda x: x * 2)], [Edge(2, "y", "x", "2", "", lambda dy: dy[..., None] * 2)])
    with pytest.raises(
        ValueError, match=r"d, \(2\) ∂y/∂x: the formula gives shape \(2, 3, 1\), which cannot be added up to x's shape \(2, 3\)"
    ):
        verify(np.ones((2, 3)), derivation=wrong)


def test_a_mistake_is_a_wrong_formula_unless_it_says_that_it_loses_digits():
    assert [Mistake("").loses_digits, Mistake("", loses_digits=True).loses_digits] == [False, True]


ALL_SAID = "its inputs are of shapes x (m, k), w (m), g (1, 1), and x has {} and w has {} and g has {} (equation (1): mine)"


@pytest.mark.parametrize(
    ("x", "w", "g", "said"),
    [
        *[(x, w, (3, 2), "mine") for x, w in (((5, 3), (5,)), ((1, 3), (5,)), ((5, 3), (1,)))],
        *[(x, w, (1, 1), ALL_SAID) for x, w in (((5, 3), (4,)), ((4, 3), (5,)), ((2, 3), (5,)), ((5, 3), (0,)), ((0, 3), (5,)))],
        ((5,), (5,), (1, 1), "its inputs are of shapes x (m, k), and x has (5,) (equation (1): mine)"),
        ((5, 3), (5, 1), (1, 1), "its inputs are of shapes w (m), and w has (5, 1) (equation (1): mine)"),
        ((5, 3), (5, 1), (1,), "its inputs are of shapes w (m), g (1, 1), and w has (5, 1) and g has (1,) (equation (1): mine)"),
    ],
)
def test_shapes_that_do_not_fit_are_said_and_where_they_fit_the_equations_own_error(x, w, g, said):
    def refused(x, w, g):
        raise ValueError("mine")

    d = Derivation("d", [number(1, "y", refused)], shapes={"w": ("m",), "g": ("1", "1")})
    with pytest.raises(ValueError) as error:
        d(np.ones(x), np.ones(w), np.ones(g))
    assert str(error.value).removeprefix("d: ") == said.format(x, w, g)


def test_a_gradient_by_the_engine_can_be_differentiated_by_the_inputs_and_by_the_upstream_gradient():
    d = Derivation("d", [number(1, "y", lambda x: x**3)])
    x, dy = Tensor(2.0), Tensor(1.0)
    assert [grad(d.backward(1.0, x=x)["x"], x)[0].data, grad(d.backward(dy, x=2.0)["x"], dy)[0].data] == [12, 12]
    assert d.backward(1.0, x=2.0) == {"x": 12.0}


def test_values_that_are_missing_or_too_many_are_named():
    with pytest.raises(TypeError, match="verify needs the first input of RMS norm, 'x'"):
        verify(derivation=derivations.RMS_NORM)
    with pytest.raises(TypeError, match=r"RMS norm is a function of x, gamma, .*'w' is not among them"):
        verify(np.ones((2, 3)), w=1.0, derivation=derivations.RMS_NORM)
    with pytest.raises(TypeError, match="'gamma' is missing"):
        derivations.RMS_NORM(x=np.ones((2, 3)))


def test_the_command_line_verifies_any_derivation(tmp_path, capsys):
    batch = tmp_path / "batch.csv"
    batch.write_text("a,b,c\n1,2,4\n3,1,5\n", encoding="utf-8")
    assert cli.main(["verify", str(batch), "--derivation", "layer_norm"]) == 0
    assert "layer norm: x of shape (2, 3)" in capsys.readouterr().out
    own = tmp_path / "own.py"
    own.write_text(
        "from micrograd_bn import Derivation, equation\n\n"
        "@equation(1, 'y', text='x w')\ndef scale(x, w):\n    return x * w\n\nSCALE = Derivation('scale', [scale])\n",
        encoding="utf-8",
    )
    assert cli.main(["verify", str(batch), "--derivation", f"{own}:SCALE"]) == 0
    assert "by the engine" in capsys.readouterr().out
    batch.write_text(
        "a,b,c\n1,2,4\n1,1,5\n", encoding="utf-8"
    )  # a constant column has a variance of 0, which only batch norm divides by
    assert cli.main(["verify", str(batch), "--derivation", "rms_norm", "--eps", "0"]) == 0
    assert "variance 0" not in capsys.readouterr().err
    assert cli.main(["verify", str(batch), "--eps", "0"]) == 2
    assert "divides by √(σ² + ε) = 0" in capsys.readouterr().err
    assert cli.main(["verify", str(batch), "--derivation", "no_norm"]) == 2
    assert "these are there: attention, batch_norm" in capsys.readouterr().err
    assert cli.main(["verify", str(batch), "--derivation", f"{own}:scale"]) == 2
    assert cli.main(["derivations"]) == 0
    assert "(2) p = softmax s" in capsys.readouterr().out


def test_a_derivation_takes_its_inputs_by_place_or_by_name():
    v, g = Tensor([3.0, 4.0]), Tensor(10.0)
    assert WEIGHT_NORM(v, g).data.tolist() == WEIGHT_NORM(v, g=g).data.tolist() == WEIGHT_NORM(g=g, v=v).data.tolist() == [6.0, 8.0]
    with pytest.raises(TypeError, match="weight norm takes v, g, and 3 are given"):
        WEIGHT_NORM(v, g, 1.0)
    with pytest.raises(TypeError, match="v is given twice"):
        WEIGHT_NORM(v, v=v)


def test_a_formula_that_names_what_there_is_not_is_told_what_there_is():
    claim = Edge(4, "w", "g", "", "", lambda g, upstream: upstream)
    d = Derivation("claimed", [e.function for e in WEIGHT_NORM.equations], [claim])
    with pytest.raises(TypeError, match=r"names upstream, and what there is to name is .*dw"):
        verify([3.0, 4.0], derivation=d)


@pytest.mark.parametrize(
    "function", [lambda x: len(x), lambda x: np.ones(2), lambda x: 2 * (x.data if isinstance(x, Tensor) else x)]
)
def test_an_equation_without_a_history_is_refused(function):
    d = Derivation("d", [number(1, "y", function)])
    for run in (lambda: verify(np.ones(2), derivation=d), lambda: d(Tensor(np.ones(2)))):
        with pytest.raises(TypeError, match=r"d: equation \(1\) makes \w+ of Tensors, without a history: compose it"):
            run()


@pytest.mark.parametrize("upstream", [1.0, np.ones(3), np.ones((2, 3, 1)), np.ones((3, 2))])
def test_an_upstream_gradient_of_another_shape_than_the_results_is_refused(upstream):
    with pytest.raises(ValueError, match=r"dy is the gradient of y, of shape \(2, 3\), and this has \("):
        derivations.RMS_NORM.backward(upstream, x=np.ones((2, 3)), gamma=1.0)


def test_a_term_that_is_the_same_for_each_number_of_an_input_is_added_up_for_each():
    """Of m numbers, and for an input that has another size than they."""
    d = Derivation("d", [number(1, "y", lambda x, w: x + w.sum())], [Edge(3, "y", "w", function=lambda dy: dy * 1)])
    values = {"x": np.ones((4, 1)), "w": np.ones(3)}
    assert d.backward(np.array([[1.0], [2.0], [3.0], [4.0]]), **values)["w"].tolist() == [10, 10, 10]
    assert d.backward(2.0, x=1.0, w=np.ones(3))["w"].tolist() == [2, 2, 2]
    assert verify(**values, derivation=d).ok


def test_what_an_equation_names_and_does_not_use_has_a_gradient_of_0():
    d = Derivation("d", [number(1, "y", lambda x, w: x * 2)])
    assert d.backward(np.ones(2), x=np.ones(2), w=3.0) == {"x": pytest.approx([2, 2]), "w": 0}


def test_what_is_no_derivation_is_refused():
    optional("sympy")
    for use in (partial(verify, [[1.0, 2.0]]), partial(check_backward, print), prove):
        with pytest.raises(TypeError, match=r"LAYER_NORM, and this is 'layer_norm'"):
            use(derivation="layer_norm")


def test_lists_are_arrays_to_a_derivation():
    x, gamma, beta = [[1.0, 2.0], [3.0, 5.0]], [1.0, 2.0], [0.0, 1.0]
    of_lists = derivations.LAYER_NORM(x, gamma, beta)
    np.testing.assert_array_equal(of_lists, derivations.LAYER_NORM(np.array(x), np.array(gamma), np.array(beta)))
