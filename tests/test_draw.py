"""Pictures: what is in them, that their numbers add up, and that nothing but png and pdf needs Graphviz's own programs."""

import os
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ET
from decimal import Decimal

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, draw, fused_batch_norm, scalars, trace
from micrograd_bn.derivations import BATCH_NORM
from micrograd_bn.draw import RED, TINT
from tests.conftest import optional

SVG = "{http://www.w3.org/2000/svg}"

TITLES = [f"({entry.number})  {entry.name} = {entry.text}" for entry in BATCH_NORM.equations]


def batch():
    y = batch_norm(Tensor([[1.0], [2.0], [6.0]]), Tensor([2.0]), Tensor([0.5]))
    y.backward(np.array([[1.0], [0.0], [2.0]]))
    return y


def groups(graph, kind):
    """The nodes or edges of a picture: title → its lines of text."""
    root = ET.fromstring(graph.svg)
    found = {}
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == kind:
            found[group.find(f"{SVG}title").text] = [text.text.replace("\u00a0", " ") for text in group.iter(f"{SVG}text")]
    return found


def numbers(text):
    return np.array([float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)])


def test_the_equations_zoom_has_seven_variables_and_the_nine_numbered_edges():
    graph = draw(batch())
    assert set(groups(graph, "node")) == {"x", "μ", "σ²", "x̂", "γ", "β", "y", "legend"}
    assert {title: lines[0].strip() for title, lines in groups(graph, "edge").items()} == {
        "x̂->y": "(5)",
        "β->y": "(6)",
        "γ->y": "(7)",
        "σ²->x̂": "(8)",
        "μ->σ²": "(9)",
        "μ->x̂": "(10)",
        "x->μ": "(11)",
        "x->σ²": "(12)",
        "x->x̂": "(13)",
    }
    assert groups(graph, "node")["σ²"][0] == "(2)  σ² = 1/m Σ (x − μ)²   1×1"


@pytest.mark.parametrize("variable", ["x", "μ", "σ²", "x̂", "γ", "β"])
def test_the_terms_on_the_edges_that_leave_a_variable_add_up_to_its_gradient_as_printed(variable):
    graph = draw(batch())
    gradient = numbers(groups(graph, "node")[variable][-1])
    terms = [numbers(lines[1]) for title, lines in groups(graph, "edge").items() if title.startswith(f"{variable}->")]
    # Four significant digits are printed: each term may be off by half a unit of its fourth.
    np.testing.assert_allclose(sum(terms), gradient, atol=sum(np.abs(t).max() for t in terms) * 5e-4 + 1e-15)
    assert len(gradient) == (3 if variable in ("x", "x̂") else 1)


def test_large_arrays_are_shape_mean_min_and_max_and_the_means_add_up():
    random = np.random.default_rng(0)
    y = batch_norm(Tensor(random.normal(size=(150, 4))), 1.0, 0.0)
    y.backward(random.normal(size=(150, 4)))
    graph = draw(y, precision=6)
    lines = groups(graph, "node")["x"]
    assert lines[0].endswith("150×4")
    assert [line.split()[0] for line in lines[1:]] == ["mean", "grad"]
    means = [numbers(lines[1])[0] for title, lines in groups(graph, "edge").items() if title.startswith("x->")]
    assert sum(means) == pytest.approx(numbers(lines[2])[0], abs=1e-5)


def test_the_legend_explains_what_the_picture_shows_and_no_more():
    def legend(graph):
        return groups(graph, "node").get("legend", [])

    numbered, terms, summary, zero = "(n)  the equation", "at an arrow: the term", "mean a, b … c  of more than 6", "≈ 0  so small"
    many = batch_norm(Tensor(np.arange(8.0)), 1.0, 0.0)
    many.backward(np.arange(8.0))
    for graph, expected in (
        (draw(batch()), [numbered, terms]),
        (draw(batch(), "primitives"), [terms]),
        (draw(many), [numbered, terms, summary, zero]),
        (draw(many, show="values"), [numbered, summary]),
        (draw(Tensor(np.arange(8.0)) + 1.0), [summary]),
        (draw(scalar_batch(30), "scalars"), []),  # where there is no term at an arrow
    ):
        found = [text for text in (numbered, terms, summary, zero) if any(line.startswith(text) for line in legend(graph))]
        assert found == expected


def flat():
    """A batch whose gradients are 0 on paper: γ, σ² and x lose nothing by a shift of y."""
    y = batch_norm(Tensor([0.1, 0.2, 0.3]), Tensor([2.0]), Tensor([0.0]))
    y.backward(np.ones(3))
    return y


def flat_scalars():
    y = batch_norm(scalars([0.1, 0.2, 0.3]), scalars([2.0]), scalars([0.0]))
    y.sum().backward()
    return y


def shown_numbers(graph):
    """The numbers in boxes and at arrows, all that are given with an exponent."""
    lines = [line for kind in ("node", "edge") for lines in groups(graph, kind).values() for line in lines]
    return re.findall(r"\d+e-\d+", " ".join(line for line in lines if "1e-05" not in line))  # eps


@pytest.mark.parametrize("zoom", ["equations", "primitives", "scalars"])
def test_what_is_zero_but_for_rounding_is_shown_as_that(zoom):
    graph = draw(flat_scalars() if zoom == "scalars" else flat(), zoom)
    assert shown_numbers(graph) == []
    if zoom != "scalars":
        nodes = groups(graph, "node")
        assert [nodes[name][-1].split("grad  ")[1] for name in ("γ", "σ²", "x")] == ["≈ 0", "≈ 0", "≈ 0, ≈ 0, ≈ 0"]
        assert nodes["x̂"][1] == "-1.224, ≈ 0, 1.224"
    gamma = flat().equation.inputs["gamma"]
    assert 0 < abs(gamma.grad[0]) < 1e-14  # the data are what they are


def test_the_means_of_many_numbers_are_zero_where_they_are_on_paper():
    from micrograd_bn.reader import read_batch

    x = read_batch(None).data
    y = batch_norm(Tensor(x), Tensor(np.ones(4)), Tensor(np.zeros(4)))
    y.backward(np.random.default_rng(0).normal(size=x.shape))
    for zoom in ("equations", "primitives"):
        nodes = groups(draw(y, zoom), "node")
        assert nodes["x̂"][1].startswith("mean ≈ 0, -2.4")
        assert nodes["x"][2].startswith("grad  mean ≈ 0, ")
        assert [number for number in shown_numbers(draw(y, zoom)) if not number.endswith("e-07")] == []  # but the least square


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_small_number_that_is_no_rounding_is_shown(dtype):
    a, b = Tensor(np.array([1e-30, 3.0], dtype), "a"), Tensor(np.array([1.0, 1.0], dtype), "b")
    y = np.array([1e-20, 1e-20], dtype) * a + b
    y.backward(np.ones(2, dtype))
    assert groups(draw(y), "node")["a"][1:] == ["1e-30, 3", "grad  1e-20, 1e-20"]

    far = {"float64": 1e9, "float32": 1e4}[dtype]
    y = batch_norm(Tensor(np.array([far, far + 1, far + 5], dtype)), 1.0, 0.0)
    y.backward(np.array([1.0, 0.0, 2.0], dtype))
    nodes = groups(draw(y), "node")
    assert nodes["x̂"][1] == "-0.9258, -0.4629, 1.389"
    assert "≈" not in nodes["x"][2] + nodes["σ²"][2] + nodes["μ"][2]


def test_many_numbers_that_are_all_the_same_are_one():
    y = Tensor(np.arange(8.0), "x").sum()
    y.backward(0.25)
    graph = draw(y)
    assert groups(graph, "node")["x"] == ["x   8", "mean 3.5, 0 … 7", "grad  all 0.25"]
    _, lowest = max((float(text.get("y")), text.text) for text in ET.fromstring(graph.svg).iter(f"{SVG}text"))
    assert lowest.startswith("mean a, b")  # the legend, below the graph, which it would widen


def test_many_numbers_reach_no_further_than_few():
    y = batch_norm(Tensor(1e13 + np.arange(1000.0) % 2), 1.0, 0.0)
    assert ["1000", "mean 0, -0.5 … 0.5"] in groups(draw(y, "primitives"), "node").values()  # x − μ


def test_numbers_of_another_kind_and_unknown_primitives_are_shown_as_they_are():
    y = batch_norm(Tensor(np.array([Decimal("0.1"), Decimal("0.2"), Decimal("0.4")])), Decimal(2), Decimal(0), Decimal("1e-5"))
    y.backward(np.array([Decimal(1)] * 3))
    assert "≈" not in draw(y).source
    y = fused_batch_norm(Tensor([0.1, 0.2, 0.3]), Tensor([2.0]), Tensor([0.0]), eps=0.0)
    y.backward(np.array([-1.0, 0.0, 1.0]))  # in proportion to x̂, so that dx is 0: but who knows what a fused VJP adds up
    assert "≈" not in draw(y).source


def test_constants_of_an_equation_are_shown_and_get_no_gradient():
    y = batch_norm(Tensor([1.0, 2.0, 6.0]), 2.0, 0.5)
    y.backward(np.ones(3))
    nodes = groups(draw(y), "node").values()
    assert ["γ", "2"] in nodes
    assert ["β", "0.5"] in nodes


def test_the_primitives_zoom_groups_every_primitive_by_its_equation():
    graph = draw(batch(), zoom="primitives")
    shown = [lines[0] for lines in groups(graph, "node").values()]
    assert [shown.count(symbol) for symbol in ("mean", "−", "^ 2", "√", "÷", "×", "+")] == [2, 2, 1, 1, 1, 1, 1]
    assert shown.count("+ 1e-05") == 1
    assert [title for title, _ in sorted(titles(graph))] == TITLES


def titles(graph):
    """The titles of the groups, each with the rectangle that it takes: left, right, top, bottom."""
    found = []
    for text in ET.fromstring(graph.svg).iter(f"{SVG}text"):
        title = text.text.replace("\u00a0", " ")
        if title in TITLES:
            x, y, size = (float(text.get(name)) for name in ("x", "y", "font-size"))
            half = len(title) * size / 4
            found.append((title, (x - half, x + half, y - 0.8 * size, y + 0.2 * size)))
    return found


def curves(graph):
    """The arrows of a picture, each as points along its Bézier curves."""
    t = np.linspace(0, 1, 40)[:, None]
    for group in ET.fromstring(graph.svg).iter(f"{SVG}g"):
        if group.get("class") == "edge":
            points = numbers(group.find(f"{SVG}path").get("d").replace("-", " -")).reshape(-1, 2)
            parts = [points[i : i + 4] for i in range(0, len(points) - 1, 3)]
            curve = [(1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d for a, b, c, d in parts]
            yield group.find(f"{SVG}title").text, np.concatenate(curve)


def scalar_batch(m):
    random = np.random.default_rng(0)
    y = batch_norm(scalars(random.normal(size=m)), scalars([2.0]), scalars([0.5]))
    (y * random.normal(size=m)).sum().backward()
    return y


@pytest.mark.parametrize("direction", ["TB", "LR"])
@pytest.mark.parametrize("m", [3, 4, 5, 8, 12])
def test_no_arrow_crosses_the_title_of_a_group(m, direction):
    x = np.random.default_rng(0).normal(size=(m, 2))
    y = batch_norm(Tensor(x), Tensor([2.0, 1.0]), Tensor([0.5, 0.5]))
    y.backward(x[::-1])
    for graph in (draw(y, "primitives", direction=direction), draw(scalar_batch(m), "scalars", direction=direction)):
        assert len(titles(graph)) == 4
        for name, curve in curves(graph):
            for title, (left, right, top, bottom) in titles(graph):
                x, y_ = curve.T
                assert not ((x > left) & (x < right) & (y_ > top) & (y_ < bottom)).any(), f"{name} crosses {title}"


def rectangle(group):
    points = numbers(group.find(f"{SVG}polygon").get("points").replace("-", " -")).reshape(-1, 2)
    return *points.min(axis=0), *points.max(axis=0)


def test_a_title_stands_beside_a_box_of_its_group():
    every = [group for group in ET.fromstring(draw(scalar_batch(4), "scalars").svg).iter(f"{SVG}g") if group.get("class")]
    boxes = [rectangle(group) for group in every if group.get("class") == "node"]
    for left, top, right, bottom in [rectangle(group) for group in every if group.get("class") == "node title"]:
        beside = [box for box in boxes if box[1] < (top + bottom) / 2 < box[3]]
        assert min(max(left - box[2], box[0] - right) for box in beside) < 60


def test_where_arrows_are_straight_they_go_behind_the_titles():
    drawn = [group for group in ET.fromstring(draw(scalar_batch(30), "scalars").svg).iter(f"{SVG}g") if group.get("class")]
    kinds = [group.get("class") for group in drawn]
    assert kinds.count("node title") == 4
    assert max(i for i, kind in enumerate(kinds) if kind == "edge") < kinds.index("node title")
    assert {group.find(f"{SVG}polygon").get("fill") for group in drawn if group.get("class") == "node title"} == {TINT}


def test_the_scalars_zoom_has_a_box_for_every_number():
    x, gamma, beta = scalars([1.0, 2.0, 6.0, 3.0]), Tensor(2.0), Tensor(0.0)
    y = batch_norm(x, gamma, beta)
    y[0].backward()
    graph = draw(y, zoom="scalars")
    names = [lines[0] for lines in groups(graph, "node").values()]
    assert {"x[0]", "x[3]", "μ[0] = ÷ 4", "σ²[0] = ÷ 4", "x̂[2] = ÷", "y[3] = +", "γ", "β"} <= set(names)
    assert len(groups(graph, "cluster")) == 4


def test_a_thousand_numbers_take_the_quick_layout():
    x = scalars(np.random.default_rng(0).normal(size=100))
    graph = draw(batch_norm(x, 1.0, 0.0), zoom="scalars")
    assert len(groups(graph, "node")) > 800
    assert "splines=line" in graph.source


def test_no_two_boxes_are_one_whatever_the_labels_are():
    """A box without a name, a primitive's node and a constant's box are called by their places: no label is one of these."""
    x = Tensor(2.0, "n1") * Tensor(3.0, "n0") + 1.0
    assert len(groups(draw(x, "primitives"), "node")) == 4 + 2
    y = Tensor(2.0, "z ←") * 3.0
    y.label = "z"
    assert len(groups(draw(y, "primitives"), "node")) == 2 + 1
    y = batch_norm(Tensor([1.0, 2.0]), 1.0, Tensor(1.0, "y 1"))  # γ, the second variable of (4), is a constant
    assert len(groups(draw(y), "node")) == len(groups(draw(batch_norm(Tensor([1.0, 2.0]), 1.0, Tensor(1.0))), "node"))


def test_any_graph_can_be_drawn():
    a, w = Tensor(2.0, "a"), Tensor(-3.0, "w")
    neuron = (2 - a * w + 1 / w).tanh()
    neuron.label = "neuron"
    neuron.backward()
    shown = [lines[0] for lines in groups(draw(neuron), "node").values()]
    assert {"a", "w", "neuron", "tanh", "2 −", "1 ÷"} <= set(shown)
    assert "legend" not in groups(draw(neuron), "node")


def test_a_node_used_twice_has_two_edges():
    a = Tensor(3.0, "a")
    y = a * a
    y.backward()
    assert draw(y).source.count("a -> ") == 2


def test_two_batch_norms_in_one_graph():
    h = batch_norm(Tensor([[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]]), 1.0, 0.0).tanh()
    y = batch_norm(h, 2.0, 0.5)
    y.backward(np.ones((3, 2)))
    arrows = [lines[0].strip() for lines in groups(draw(y), "edge").values() if lines and lines[0].strip().startswith("(")]
    assert sorted(arrows) == sorted(f"({n})" for n in [*range(5, 14)] * 2)


@pytest.mark.parametrize(("show", "lines"), [("both", 3), ("values", 2), ("gradients", 2), ("neither", 1)])
def test_what_is_shown(show, lines):
    assert len(groups(draw(batch(), show=show), "node")["x"]) == lines


def test_direction_and_precision():
    assert "rankdir=LR" in draw(batch(), direction="LR").source
    assert (
        "0.13" in groups(draw(batch(), precision=2), "node")["x̂"][1]
        or "-0.93" in groups(draw(batch(), precision=2), "node")["x̂"][1]
    )


def test_other_numbers_than_floats():
    sympy = optional("sympy")
    a, b = sympy.symbols("a b")
    y = batch_norm(Tensor(np.array([a, b])), sympy.Symbol("g"), 0, sympy.Symbol("e"))
    y.backward(np.array([1, 0]))
    assert groups(draw(y), "node")["x"][1] == "a, b"


HOSTILE = '<script>alert("1")</script> | {x} \\N \n ]]> & é \x00'


def test_a_hostile_label_is_text():
    nodes = groups(draw(Tensor(1.0, HOSTILE) + 1), "node")
    shown = next(lines[0] for lines in nodes.values() if "script" in lines[0])
    assert shown == HOSTILE.replace("\n", "�").replace("\x00", "�")


def test_the_same_graph_gives_the_same_source():
    assert draw(batch()).source == draw(batch()).source


def test_saving(tmp_path):
    graph = draw(batch())
    assert graph.save(tmp_path / "g.svg").read_text(encoding="utf-8") == graph.svg
    assert graph.save(tmp_path / "g.dot").read_text(encoding="utf-8") == graph.source
    assert graph.save(tmp_path / "H.SVG").read_text(encoding="utf-8") == graph.svg
    with pytest.raises(ValueError, match=r"\.svg, \.dot, \.png, \.pdf"):
        graph.save(tmp_path / "g.bmp")
    assert graph._repr_mimebundle_() == {"image/svg+xml": graph.svg}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["H.SVG", "g.dot", "g.svg"]


def test_without_dot_on_path_only_png_and_pdf_are_missing(tmp_path):
    """In a process of its own with an empty PATH."""
    code = """
import sys
from micrograd_bn import Tensor, draw, explore
graph = draw(Tensor([1.0, 2.0]).sum())
print(graph.save(sys.argv[1] + "/g.svg"), graph.save(sys.argv[1] + "/g.dot"), explore(sys.argv[1] + "/page.html"))
for ending in ("png", "pdf"):
    try:
        graph.save(f"{sys.argv[1]}/g.{ending}")
    except RuntimeError as error:
        print(error)
"""
    environment = {**os.environ, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("install it (apt install graphviz") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.dot", "g.svg", "page.html"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: draw(batch(), zoom="closer"), ValueError, "equations, primitives, scalars"),
        (lambda: draw(batch(), precision=0), ValueError, "from 1 to 17, and this is 0"),
        (lambda: draw(batch(), direction="up"), ValueError, "'TB' or 'LR'"),
        (lambda: draw(batch(), show="all"), ValueError, "'neither'"),
        (lambda: draw(batch(), zoom="scalars"), ValueError, r"scalars\(x\)"),
        (lambda: draw(3.0), TypeError, "needs a Tensor"),
        (lambda: draw(trace(lambda x: x * 2, 1.0), show="values"), TypeError, "a program is drawn as it stands"),
        (lambda: draw(batch(), zoom="primitives", max_nodes=5), ValueError, "more than 5 nodes.*zoom='equations'.*max_nodes="),
    ],
)
def test_errors_teach(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_graph_of_a_million_nodes_is_refused_without_walking_it():
    y = Tensor(1.0)
    for _ in range(1_000_000):
        y = y + 1.0
    with pytest.raises(ValueError, match="more than 2,000 nodes"):
        draw(y)


def test_the_readmes_picture_is_current():
    """The words and numbers of the committed picture are those of a picture drawn now (make pictures)."""
    now = ET.fromstring(runpy.run_path("docs/pictures.py")["equations"]())
    committed = ET.parse("docs/equations.svg")
    words = [[element.text for element in tree.iter() if element.text and element.text.strip()] for tree in (now, committed)]
    assert words[0] == words[1], "docs/equations.svg is out of date: run make pictures"


def test_constants_that_are_the_same_number_are_two_variables():
    y = batch_norm(Tensor([[1.0], [2.0]]), 1.0, 1.0)
    assert "(4)  y = γ x̂ + β   2×1" in groups(draw(y), "node")["y"]


# ---- what is wrong with the numbers


def trained():
    """A loss whose weights have moved since."""
    x, w = Tensor([[1.0, 2.0], [3.0, 4.0]], "x"), Tensor([0.5, -1.0], "w")
    loss = ((x @ w) ** 2).mean()
    loss.label = "loss"
    loss.backward()
    w.data -= 1
    return loss


def said(graph):
    """What the notes say that are no legend, as one text each."""
    return {title: " ".join(lines) for title, lines in groups(graph, "node").items() if title in ("outdated", "not finite")}


@pytest.mark.parametrize("zoom", ["equations", "primitives"])
def test_values_that_are_older_than_their_inputs_are_said_to_be(zoom):
    assert said(draw(batch(), zoom)) == {}
    assert said(draw(trained(), zoom)) == {
        "outdated": "These numbers are old: an input has changed since they were computed. "
        "Now others would come out of matmul of 'x' and 'w'. Compute the result again, and draw that."
    }


def test_of_many_old_values_the_first_are_named_and_the_others_counted():
    x = Tensor([1.0, 2.0, 6.0])
    y = batch_norm(x, 2.0, 0.5)
    x.data = x.data + 1
    note = said(draw(y))["outdated"]
    assert "'μ' (mean of 'x', axis 0) and sub of 'x' and 'μ'. Compute" in note

    x = scalars(np.arange(1.0, 9.0), "x")
    y = (x * x).sum()
    for node in x:
        node.data += 1
    assert "mul of 'x[0]' and 'x[0]', mul of 'x[1]' and 'x[1]' and 6 more. Compute" in said(draw(y, "scalars"))["outdated"]


def test_old_numbers_are_no_news_where_no_numbers_are():
    assert list(said(draw(trained(), show="gradients"))) == ["outdated"]  # the terms at the arrows are of now
    assert said(draw(trained(), show="neither")) == {}


def test_numbers_of_another_kind_and_fused_layers_are_drawn_without_being_disturbed():
    x = Tensor(np.array([Decimal(1), Decimal(2)]))
    y = x.sum()
    x.data = x.data * 2
    assert said(draw(y)) == {}
    y = fused_batch_norm(Tensor([1.0, 2.0]), 1.0, 0.0)
    found = dict(y.params["found"])
    assert said(draw(y)) == {}
    assert all(y.params["found"][name] is value for name, value in found.items())


def marked(graph):
    """The boxes with a red border, each with its lines."""
    red = {}
    for group in ET.fromstring(graph.svg).iter(f"{SVG}g"):
        shape = group.find(f"{SVG}polygon")
        if group.get("class") == "node" and shape is not None and shape.get("stroke") == RED:
            red[group.find(f"{SVG}title").text] = " ".join(text.text.replace("\u00a0", " ") for text in group.iter(f"{SVG}text"))
    return red


def negative():
    x, w = Tensor(np.array([4.0, -1.0, 9.0]), "x"), Tensor(2.0, "w")
    with np.errstate(all="ignore"):
        root = x**0.5
        root.label = "root"
        y = (root * w).sum()
        y.label = "y"
    return y


@pytest.mark.parametrize("zoom", ["equations", "primitives"])
def test_boxes_that_are_not_finite_are_marked_and_the_first_is_explained(zoom):
    assert marked(draw(batch(), zoom)) == {}
    graph = draw(negative(), zoom)
    assert list(said(graph)) == ["not finite"]
    assert "The first: the value of 'root' (pow of 'x', exponent 0.5) is NaN at [1], where 'x' is -1." in said(graph)["not finite"]
    boxes = {title: lines for title, lines in marked(graph).items() if title != "not finite"}
    assert {"root", "y"} <= set(boxes) and not {"x", "w"} & set(boxes)
    assert all("not finite" in lines for lines in boxes.values())  # in words, for whom red is no colour


def test_a_gradient_that_is_not_finite_is_marked_where_gradients_are_shown():
    x = Tensor(np.array([4.0, 0.0]), "x")
    y = x.sqrt().sum()
    with np.errstate(all="ignore"):
        y.backward()
    assert "The first: the gradient of 'x' is inf at [1]: sqrt of 'x' sends it back" in said(draw(y))["not finite"]
    assert "x" in marked(draw(y))
    assert marked(draw(y, show="values")) == {} == said(draw(y, show="values"))
    assert marked(draw(negative(), show="gradients")) == {} == said(draw(negative(), show="gradients"))


def test_a_label_may_be_a_notes_name():
    y = Tensor(np.array([np.nan, 1.0]), "legend") * Tensor(np.arange(7.0)[:, None], "not finite")
    shown = [lines[0] for lines in groups(draw(y), "node").values()]
    assert {"legend   2   not finite", "not finite   7×1"} <= set(shown)


def test_the_variables_of_batch_norm_are_called_what_the_boxes_call_them():
    with np.errstate(all="ignore"):
        y = batch_norm(Tensor([1.0, 1.0]), 2.0, 0.5, eps=0.0)
    note = said(draw(y))["not finite"]
    assert "the value of 'x̂' (div of the result of sub and the result of sqrt) is NaN at [0]" in note
    assert {"x̂", "y"} <= set(marked(draw(y)))


def test_scalars_that_are_not_finite_are_marked():
    with np.errstate(all="ignore"):
        y = np.log(scalars([1.0, 0.0], "x")).sum()
    graph = draw(y, "scalars")
    assert "the value of log of 'x[1]' is -inf, where 'x[1]' is 0" in said(graph)["not finite"]
    assert len(marked(graph)) == 3  # log, sum and the note


def test_other_kinds_of_number_that_are_not_finite_are_marked_too():
    assert "x" in marked(draw(Tensor(np.array([Decimal("NaN"), Decimal(1)]), "x") * 2))
    assert "8 numbers, with NaN" in marked(draw(Tensor(np.array([Decimal("NaN"), *map(Decimal, range(7))]), "x")))["x"]
