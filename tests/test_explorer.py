"""The interactive page, in a real browser: any graph, alive, held against the engine number by number, and nothing from outside."""

import json
import math
import re
import shutil
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import sympy

from micrograd_bn import Derivation, Tensor, batch_norm, derivations, derive, equation, explore, fused_batch_norm, scalars
from micrograd_bn import primitives as P
from micrograd_bn.derivation import made_by
from micrograd_bn.engine import adjoints, in_order
from micrograd_bn.explorer.model import Model, keys
from micrograd_bn.explorer.singles import element, singles
from micrograd_bn.explorer.view import View
from micrograd_bn.explorer.words import FORMULAS
from micrograd_bn.functions import logsumexp
from micrograd_bn.numbers.name import Name
from micrograd_bn.numbers.running import running
from tests.conftest import missing, optional

HOSTILE = "</script><script>document.title='owned'</script>\"'\n]]>"
RNG = np.random.default_rng(0)
EQUATIONS = (*derivations.BATCH_NORM.equations, *derivations.BATCH_NORM.edges)


# ---- The functions: each is built on its leaves, by the names that they have on the page, of whatever kind of number


def _batch_norm(x, gamma, beta, eps, dy):
    y = batch_norm(Tensor(x, "x"), Tensor(gamma, "gamma"), Tensor(beta, "beta"), eps)
    y.backward(dy)
    return y


def _neuron(x1, x2, w1, w2, b, dy):
    a, c, v, w, bias = (Tensor(number, label) for number, label in zip((x1, x2, w1, w2, b), ("x1", "x2", "w1", "w2", "b")))
    y = (a * v + c * w + bias).tanh()
    y.label = "y"
    y.backward(dy)
    return y


def _each(array, label):
    """An object array of Tensors, a number each, of whatever kind of number."""
    found = np.empty(array.shape, dtype=object)
    for i in np.ndindex(array.shape):
        found[i] = Tensor(array[i], f"{label}[{','.join(map(str, i))}]")
    return found


def _mlp(x, w, b, v, t, dloss):
    x, w, b, v, t = (_each(a, label) for a, label in ((x, "x"), (w, "w"), (b, "b"), (v, "v"), (t, "t")))
    loss = 0.0
    for row, wanted in zip(x, t):
        hidden = [(sum((a * c for a, c in zip(row, own)), start=bias)).tanh() for own, bias in zip(w, b)]
        loss = loss + (sum((h * c for h, c in zip(hidden[1:], v[1:])), start=hidden[0] * v[0]) - wanted) ** 2
    loss.label = "loss"
    loss.backward(dloss)
    return loss


def _layer_norm(x, gamma, beta, eps, dy):
    y = derivations.LAYER_NORM(x=Tensor(x, "x"), gamma=Tensor(gamma, "gamma"), beta=Tensor(beta, "beta"), eps=eps)
    y.backward(dy)
    return y


def _softmax_cross_entropy(z, t, dl):
    loss = derivations.SOFTMAX_CROSS_ENTROPY(z=Tensor(z, "z"), t=Tensor(t, "t"))
    loss.backward(dl)
    return loss


@equation(1, "n", text="Σ v²", latex=r"n = \sum_i v_i^2")
def _square(v):
    return (v * v).sum()


@equation(2, "u", text="v / √(n + δ)", latex=r"u_i = \frac{v_i}{\sqrt{n + \delta}}")
def _unit(v, n, delta=0.01):
    return v / np.sqrt(n + delta)


@equation(3, "y", text="exp(u) w", latex=r"y_i = e^{u_i} w_i")
def _weighted(u, w):
    return np.exp(u) * w


OWN = Derivation("unit vector", [_square, _unit, _weighted])


def _own(v, w, delta, dy):
    y = OWN(v=Tensor(v, "v"), w=Tensor(w, "w"), delta=delta)
    y.backward(dy)
    return y


def normal(*shape):
    return RNG.normal(size=shape).round(3)


FUNCTIONS = {
    "batch norm": (_batch_norm, {"x": normal(8), "gamma": normal(1), "beta": normal(1), "eps": 1e-5, "dy": normal(8)}),
    "neuron": (_neuron, {"x1": 2.0, "x2": 0.0, "w1": -3.0, "w2": 1.0, "b": 6.88, "dy": 1.0}),
    "MLP on scalars": (_mlp, {"x": normal(2, 2), "w": normal(3, 2), "b": normal(3), "v": normal(3), "t": normal(2), "dloss": 1.0}),
    "layer norm": (_layer_norm, {"x": normal(3, 4), "gamma": normal(4), "beta": normal(4), "eps": 1e-5, "dy": normal(3, 4)}),
    "softmax cross-entropy": (_softmax_cross_entropy, {"z": normal(3, 4), "t": np.full((3, 4), 0.25), "dl": 1.0}),
    "one's own": (_own, {"v": normal(5), "w": normal(5), "delta": 0.01, "dy": normal(5)}),
}


def expected(function, numbers, zooms):
    """What the engine has for all that the page may show, by zoom and by kind and key: on numbers that carry a bound on what floats
    may differ by."""
    kind = running(np.float64)
    lifted = {name: a if name in ("eps", "delta") else kind(np.asarray(a)) for name, a in numbers.items()}
    y = function(**lifted)
    order = in_order([y])
    called = keys(order, made_by(order), y)
    arrays, found = {key: node for node, key in called.items()}, {}

    def add(zoom, what, name, number):
        number = kind.lift(number)
        for index in np.ndindex(number.shape):
            found[zoom, what, element(name, number.shape, index)] = float(number.value[index]), float(number.error[index])

    for zoom in zooms:
        nodes = arrays
        if zoom["name"] == "scalars" and any(node.shape for node in order):
            pieces, numbers_in_order, _ = singles(called)
            ends = [(pieces[y][i], y.grad[i] if y.shape else y.grad) for i in np.ndindex(y.shape)]
            sum((end * g for end, g in ends[1:]), start=ends[0][0] * ends[0][1]).backward()
            nodes = {key: node for node, key in keys(numbers_in_order, made_by(numbers_in_order), None, arrays).items()}
        for name, node in nodes.items():
            add(zoom["name"], "value", name, node.data)
            if node.grad is not None:
                add(zoom["name"], "gradient", name, node.grad)
        for name in ("eps", "delta"):
            if name in numbers:
                add(zoom["name"], "value", name, numbers[name])
        used = {}
        for edge in zoom["edges"]:
            if edge["number"] is not None:
                start, end = nodes[edge["from"]], nodes[edge["to"]]
                if zoom["name"] == "equations":
                    inputs = {a for a in end.equation.values if isinstance(a, Tensor)}
                    term = adjoints({end: end.grad}, stop=inputs)[start]
                else:
                    terms = [term for a, term in zip(end.parents, end.contributions()) if a is start]
                    used[start, end] = used.get((start, end), -1) + 1
                    term = terms[used[start, end]]
                add(zoom["name"], "term", f"{edge['number']}:{edge['from']}", term)
    return found


# ---- The browser


def browser_path():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing("Chromium (chromium, chromium-browser or google-chrome on PATH)")
    return path


@pytest.fixture(scope="module")
def browser():
    playwright = optional("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_path(), args=[*quiet, "--disable-component-update", "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Open a page from disk, in a window; any console message, error or request at all fails the test."""
    contexts, trouble = [], []

    def opened(path, address="", width=1280, scheme="light", **more):
        context = browser.new_context(
            viewport={"width": width, "height": 800 if width > 800 else 844}, color_scheme=scheme, reduced_motion="reduce", **more
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda request: trouble.append(request.url) if not request.url.startswith(path.as_uri()) else None)
        page.goto(path.as_uri() + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


def data_of(path):
    """The page's model, as it stands in the file."""
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL).group(1))


# Every number that is shown at any of the given steps, once, with its text, and the steps that ``data-step`` said.
SHOWN = """(steps) => {
    const found = new Map(), said = [], slider = document.getElementById("slider");
    for (const step of steps) {
        slider.value = step;
        slider.dispatchEvent(new Event("input"));
        said.push(Number(document.querySelector("[data-step]").dataset.step));
        for (const node of document.querySelectorAll("[data-number]"))
            for (const kind of ["value", "gradient", "term"])
                if (node.hasAttribute(`data-${kind}`)) {
                    const entry = [kind, node.getAttribute(`data-${kind}`), Number(node.dataset.number), node.textContent];
                    found.set(entry.join(" "), entry);
                }
    }
    return [said, [...found.values()]];
}"""


def against_the_engine(zoom, shown, engines):
    """Hold what ``SHOWN`` found at a zoom against ``expected``; which numbers that were."""
    for kind, key, number, text in shown:
        exact, bound = engines[zoom["name"], kind, key]
        assert abs(number - exact) <= bound + 2e-16 * abs(exact), (zoom["name"], kind, key)
        assert bound <= 1e-12 * max(abs(exact), 1)  # the bound means something
        assert says(text, number, bound), (zoom["name"], kind, key, text)
    return {(zoom["name"], kind, key) for kind, key, *_ in shown}


def says(text, number, bound):
    """Whether a text is the number to the digits that it has; "≈ 0" is what is no more than its rounding."""
    if text == "≈ 0":
        return abs(number) <= bound
    read = Decimal(text.replace("−", "-"))
    return read == number if not read else abs(float(read) - number) <= 0.5000001 * 10.0 ** read.as_tuple().exponent


def step(page):
    return int(page.locator("body").get_attribute("data-step"))


def to_step(page, number):
    page.locator("#slider").fill(str(number))


def to_zoom(page, name):
    button = page.locator("#zooms button", has_text=name)
    if button.is_visible():
        button.click()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of each function."""
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for name, (function, numbers) in FUNCTIONS.items():
        found[name] = explore(folder / f"{name}.html", function(**numbers))
    return found


WINDOWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_number_is_the_engines_whatever_leaves_are_changed(opened, pages, name, width, scheme):
    function, start = FUNCTIONS[name]
    page = opened(pages[name], width=width, scheme=scheme)
    rng = np.random.default_rng(width + len(scheme))
    numbers = {key: np.array(a, dtype=float) for key, a in start.items()}
    leaves = [(key, index) for key, a in numbers.items() for index in np.ndindex(a.shape)]
    for key, index in [leaves[i] for i in rng.permutation(len(leaves))[:10]]:
        number = rng.normal() if key not in ("eps", "delta", "t") else rng.uniform(0.1, 1)
        numbers[key][index] = number
        page.locator(f'[data-leaf="{element(key, numbers[key].shape, index)}"]').fill(repr(float(number)))
    zooms = data_of(pages[name])["zooms"]
    if len(zooms) == 3 and (width, scheme) != WINDOWS[0]:
        del zooms[2]  # arrays number by number have hundreds of steps
    engines = expected(function, {key: a if a.shape else float(a) for key, a in numbers.items()}, zooms)
    seen = set()
    for zoom in zooms:
        to_zoom(page, zoom["name"])
        forward = [*range(len(zoom["steps"]) + 1)]
        said, shown = page.evaluate(SHOWN, [*forward, *forward[-2::-1]])
        assert said == [*forward, *forward[-2::-1]]
        seen |= against_the_engine(zoom, shown, engines)
        page.wait_for_timeout(300)  # the address follows
        page.reload()
        assert sorted(page.evaluate(SHOWN, forward)[1]) == sorted(shown)
    # All of the engine's numbers were on the page at some time, at each zoom, but what an equation hides.
    hidden = {key for key in engines if key[0] == "equations" and re.match(r"t[\d[]", key[2])}
    assert engines.keys() - seen - hidden == set()


# ---- Stepping


@pytest.fixture
def page(opened, pages):
    return opened(pages["batch norm"])


def test_every_step_by_button(page):
    titles = [page.locator("#title").inner_text()]
    for _ in range(13):
        page.click("#next")
        titles.append(page.locator("#title").inner_text())
    assert page.locator("#next").is_disabled()
    assert titles[1:] == [f"({entry.number}) {entry.name}" for entry in EQUATIONS]
    for wanted in range(12, -1, -1):
        page.click("#back")
        assert step(page) == wanted
    assert page.locator("#back").is_disabled()


def test_the_keys_work_wherever_the_focus_is(page):
    to_zoom(page, "primitives")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text().endswith("pause")
    page.click("#whatif")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text().endswith("play") and page.is_checked("#whatif")
    to_zoom(page, "equations")
    page.keyboard.press("Home")
    for wanted in range(1, 14):
        page.keyboard.press("ArrowRight")
        assert step(page) == wanted
    page.focus("#whatif")
    for key, wanted in (("Home", 0), ("End", 13), ("ArrowLeft", 12)):
        page.keyboard.press(key)
        assert step(page) == wanted
    page.focus("#slider")
    page.keyboard.press("ArrowLeft")
    assert step(page) == 11


def test_play_and_pause(page):
    page.clock.install()
    page.keyboard.press("Space")
    page.clock.run_for(1900)
    assert step(page) == 1
    page.click("#play")
    page.clock.run_for(5000)
    assert step(page) == 1
    page.click("#play")
    page.clock.run_for(60_000)
    assert step(page) == 13
    assert page.locator("#play").inner_text().endswith("play")


def test_a_link_to_a_batch_and_a_step(opened, pages):
    page = opened(pages["batch norm"], "#step=7")
    assert step(page) == 7
    page.evaluate("location.hash = '#step=12'")
    page.wait_for_function("document.body.dataset.step === '12'")
    page.evaluate("location.hash = '#step=99'")
    page.wait_for_function("document.body.dataset.step === '13'")
    page.locator('[data-leaf="x[2]"]').fill("-7.5")
    page.click("#whatif")
    to_zoom(page, "primitives")
    page.wait_for_timeout(300)
    there = opened(pages["batch norm"], page.evaluate("location.hash"))
    assert there.locator('[data-leaf="x[2]"]').input_value() == "−7.5"
    assert there.is_checked("#whatif") and there.locator("#zooms [aria-pressed=true]").inner_text() == "primitives"
    assert step(there) == step(page)
    # What is no number of the page in an address is passed over.
    odd = opened(pages["batch norm"], "#step=x&zoom=<b>&set+x=1+2&set+gamma=no&example=-1")
    assert step(odd) == 0 and odd.locator('[data-leaf="gamma"]').get_attribute("data-number") == str(
        FUNCTIONS["batch norm"][1]["gamma"][0]
    )


def test_values_and_gradients_appear_in_their_turn(page):
    wanted = {"mu": (1, 10), "var": (2, 8), "x_hat": (3, 5), "y": (4, 5), "gamma": (0, 7), "x": (0, 13)}
    for number in range(14):
        to_step(page, number)
        for name, appears in wanted.items():
            for kind, at in zip(("value", "gradient"), appears):
                shown = page.locator(f'#graph .node [data-{kind}^="{name}"]').first
                visible = shown.evaluate("node => getComputedStyle(node).visibility") == "visible"
                assert visible == (number >= at), (name, kind, number)


def test_the_backward_pass_goes_backward(page):
    for number in range(1, 14):
        to_step(page, number)
        arrows = page.locator("#graph .edge.now .line")
        heads = arrows.evaluate_all(
            "lines => lines.map((line) => [line.getAttribute('marker-start'), line.getAttribute('marker-end')])"
        )
        assert heads == [["url(#headnow)", ""]] if number > 4 else set(map(tuple, heads)) == {("", "url(#headnow)")}


def test_the_term_travels_along_the_arrow_unless_motion_is_not_wanted(browser, opened, pages):
    still = opened(pages["batch norm"], "#step=8")
    assert still.locator(".pill").count() == 0
    page = browser.new_page()
    page.goto(pages["batch norm"].as_uri() + "#step=7")
    tops = page.evaluate("""() => new Promise((done) => {
        const tops = [], look = () => {
            const pill = document.querySelector(".pill");
            if (!pill) return done(tops);
            tops.push(pill.getBoundingClientRect().top);
            requestAnimationFrame(look);
        };
        document.getElementById("next").click();
        look();
    })""")
    assert tops == sorted(tops, reverse=True) and tops[0] > tops[-1]  # σ² stands above x̂
    page.close()


def test_the_statement_of_the_step_is_marked_and_leads_to_its_step(page):
    to_step(page, 3)
    marked = page.locator("#source .now").all_inner_texts()
    assert marked[0] == "# (3) x̂ = (x − μ) / √(σ² + ε)" and marked[-1] == "x_hat = t1 / t5" and "t5 = np.sqrt(t4)" in marked
    page.locator("#source button", has_text="dgamma =").click()
    assert step(page) == 7


def statements(zoom):
    return [line["text"] for line in zoom["source"] if not line["text"].startswith("#")]


def variables(y, zoom):
    """What a zoom's program calls each node, or each of its numbers, with its value and its gradient."""
    order = in_order([y])
    for node, key in keys(order, made_by(order), y).items():
        singly = zoom["name"] == "scalars"
        for index in np.ndindex(node.shape) if singly else [...]:
            name = re.sub(r"\W+", "_", element(key, node.shape, index) if singly else key).strip("_")
            yield node, name, np.asarray(node.data)[index], None if node.grad is None else np.asarray(node.grad)[index]


def scope_of(y, numbers):
    """The leaves, and the numbers that are given beside them."""
    return {name: node.data for node, name, _, _ in variables(y, {"name": ""}) if not node.inputs} | numbers | {"np": np}


def test_the_source_is_the_whole_program(pages):
    """Run as it stands, it gives the engine's numbers."""
    for name, (function, numbers) in FUNCTIONS.items():
        y = function(**numbers)
        for zoom in data_of(pages[name])["zooms"]:
            scope = scope_of(y, numbers)
            exec("\n".join(line["text"] for line in zoom["source"]), scope)
            for node, called, value, gradient in variables(y, zoom):
                if node.label and node.inputs:
                    np.testing.assert_allclose(scope[called], value, rtol=1e-14, atol=0)
                if node.label and not node.inputs and f"d{called}" in scope:
                    np.testing.assert_allclose(scope[f"d{called}"], gradient, rtol=1e-12, atol=1e-12)


def test_a_name_means_one_thing_in_the_picture_and_in_the_program(pages):
    """And nothing stands in the program that nothing uses."""
    for name, (function, numbers) in FUNCTIONS.items():
        y = function(**numbers)
        for zoom in data_of(pages[name])["zooms"]:
            texts, scope = statements(zoom), scope_of(y, numbers)
            exec("\n".join(texts), scope)
            values = {called: value for _, called, value, _ in variables(y, zoom)}
            for key in values.keys() & scope.keys():
                np.testing.assert_allclose(scope[key], values[key], rtol=1e-14, atol=1e-16, err_msg=f"{name}: {key}")
            for i, text in enumerate(texts):
                left = text.split()[0]
                used = any(re.search(rf"\b{left}\b", other.partition("=")[2]) for other in texts[i + 1 :])
                assert used or left in {f"d{key}" for key in values} | values.keys(), (name, zoom["name"], text)


def test_the_derivations_line_stands_over_the_statements_that_come_of_it(page, pages):
    """As ``derive`` prints it, at each step: an equation, a local derivative, and the sum that a gradient is."""
    paper = derive(derivations.BATCH_NORM)
    lines = [f"# ({line.number}) {line.name} = {line.text}" for line in paper.equations]
    listing = data_of(pages["batch norm"])["zooms"][0]["source"]
    for line in lines:
        assert line in [entry["text"] for entry in listing], line
    for gradient in paper.gradients:
        assert f"# {gradient.name} = {gradient.text}" in [entry["text"] for entry in listing]
    to_step(page, 13)
    marked = [text for text in page.locator("#source .now").all_inner_texts() if text.startswith("#")]
    assert marked == [lines[-1], *(f"# dx = {text}" for text in (paper.gradients[-1].text, paper.gradients[-1].steps[-1].text))]
    page.locator("#source button", has_text=lines[2]).click()
    assert step(page) == 3
    texts = [entry["text"] for entry in data_of(pages["batch norm"])["zooms"][1]["source"]]
    assert {text for text in texts if text.startswith("# (")} == set(lines[:4])  # of the primitives, an equation once
    texts = [entry["text"] for entry in data_of(pages["neuron"])["zooms"][0]["source"]]
    assert {f"# d{name} = dt4" for name in ("t3", "b", "t1", "t2")} < {*texts}  # which is computed once


# ---- Changing


def test_a_number_by_typing_by_key_and_by_dragging(page):
    x = page.locator('[data-leaf="x[3]"]')
    y = page.locator('#graph [data-value="y[0]"]').first
    before = y.get_attribute("data-number")
    x.fill("0.5")
    assert x.get_attribute("data-number") == "0.5" and y.get_attribute("data-number") != before
    x.press("ArrowUp")
    assert x.get_attribute("data-number") == "0.51"
    x.press("Shift+ArrowDown")
    assert x.get_attribute("data-number") == "0.41"
    box = x.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 10, steps=5)
    page.mouse.up()
    assert x.get_attribute("data-number") == "0.51"
    page.click("#undo")
    assert x.get_attribute("data-number") == "0.41"
    page.keyboard.press("Control+z")
    assert y.get_attribute("data-number") == before
    x.fill("3")
    page.click("#reset")
    assert y.get_attribute("data-number") == before
    page.click("#undo")
    assert y.get_attribute("data-number") != before


def test_a_point_is_dragged_along_its_number_line(page):
    x, y = page.locator('[data-leaf="x[3]"]'), page.locator('#graph [data-value="y[0]"]').first
    before, of_y = float(x.get_attribute("data-number")), y.get_attribute("data-number")
    point = page.locator("#plot circle[aria-label='x[3]']")
    box = point.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 35, box["y"] + 5)  # at once, and so out of the point
    page.mouse.up()
    after = float(x.get_attribute("data-number"))
    assert after > before and y.get_attribute("data-number") != of_y
    point.focus()
    page.keyboard.press("ArrowDown")
    assert float(x.get_attribute("data-number")) < after
    assert float(point.get_attribute("aria-valuenow")) == float(x.get_attribute("data-number"))


def test_a_number_line_goes_as_far_as_its_numbers(opened, tmp_path):
    page = opened(explore(tmp_path / "page.html", np.sqrt(Tensor([1.0, 2.0, 3.0], "x")).sum()))

    def points():
        return page.locator("#plot circle").evaluate_all(
            "all => all.map((a) => a.checkVisibility() && Number(a.getAttribute('cx')))"
        )

    def ends():
        return [float(text.replace("−", "-")) for text in page.locator("#plot text").all_text_contents()[1:3]]

    x = page.locator('[data-leaf="x[0]"]')
    before = points(), ends()
    x.fill("60")
    assert ends()[0] < 2 < 60 < ends()[1] and points()[0] > 250
    x.press("PageUp")
    assert ends()[1] > 70
    page.click("#undo")
    assert (points(), ends()) == before
    x.fill("-1")
    assert points()[3] is False and all(points()[:3]) and all(points()[4:])  # there is no root of -1
    assert len(page.locator("#plot polyline").first.get_attribute("points").split()) == 2
    for i in range(3):
        page.locator(f'[data-leaf="x[{i}]"]').fill("-1")
    assert points()[3:] == [False] * 3
    assert page.locator("#plot text").all_text_contents()[4:] == ["", ""]


def test_a_letter_in_a_field_is_refused_and_the_last_number_stands(page):
    x = page.locator('[data-leaf="x[3]"]')
    before = page.evaluate(SHOWN, [13])
    x.fill("3 apples")
    assert x.get_attribute("aria-invalid") == "true"
    assert "“3 apples” is no number: x[3] stays" in page.locator("#complaint").inner_text()
    assert page.evaluate(SHOWN, [13]) == before
    x.blur()
    assert (
        x.get_attribute("aria-invalid") is None and float(x.input_value().replace("−", "-")) == FUNCTIONS["batch norm"][1]["x"][3]
    )
    for text, number in (("-.5", -0.5), ("−2", -2.0), ("1e3", 1000.0), ("0,25", 0.25), (" 7 ", 7.0)):
        x.fill(text)
        assert float(x.get_attribute("data-number")) == number
        assert page.locator("#complaint").is_hidden()


def test_what_becomes_undefined_is_said(opened, tmp_path):
    page = opened(explore(tmp_path / "page.html", [2.0, 2.0, 3.0]))
    page.locator('[data-leaf="eps"]').fill("0")
    assert page.locator("#undefined").is_hidden()
    page.locator('[data-leaf="x[2]"]').fill("2")
    assert "x̂[0] is not a finite number: (3) x̂ = (x − μ) / √(σ² + ε)." in page.locator("#undefined").inner_text()
    page.click("#undo")
    assert page.locator("#undefined").is_hidden()
    a = Tensor(2.0, "a")
    page = opened(explore(tmp_path / "log.html", np.log(a) * 3))
    page.locator('[data-leaf="a"]').fill("-1")
    assert "t1 is not a finite number: t1 = log a" in page.locator("#undefined").inner_text()
    page = opened(explore(tmp_path / "squares.html", (Tensor(np.arange(3.0), "x") ** 2).sum()))
    page.locator('[data-leaf="x[1]"]').fill("1e200")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    assert page.locator('#graph [data-value="y"]').first.text_content() == "∞"


# ---- What it says of batch norm, and of any graph


@pytest.mark.parametrize(
    "f",
    [
        lambda x: derivations.ATTENTION(q=x, k=x + 1, v=x**2),
        lambda x: np.concatenate([x.T, x.reshape(3, 2)]),
        lambda x: np.stack([x[0], x[1, ::-1]]),
        lambda x: np.where(x.data > 2, x, 0.0) @ np.ones((3, 2)),
        lambda x: np.repeat(np.cumsum(x, axis=1), 2, axis=0),
        lambda x: np.broadcast_to(x[[0, 1], [1, 2]].max(), (2, 2)),
        lambda x: np.einsum("ij,kj->ik", np.maximum(x, 1.0), 2.0**x),
        lambda x: ((x - x[::-1]) ** np.array([2.0, 3.0, 1.0])).mean(),
        lambda x: logsumexp(1 - x) + x.min() * x[:1, :1].reshape(()),
    ],
)
def test_graphs_of_all_kinds_have_a_page_with_the_engines_numbers(opened, tmp_path, f):
    """Number by number, too."""
    x = Tensor(np.arange(6.0).reshape(2, 3), "x")
    y = f(x)
    y.label = "y"
    y.backward(np.arange(1.0, 1.0 + y.size).reshape(y.shape))
    page = opened(explore(tmp_path / "page.html", y))
    for zoom in page.locator("#zooms button").all_inner_texts():
        to_zoom(page, zoom)
        page.keyboard.press("End")
        shown = {
            (kind, key): number
            for kind, key, number, _ in page.evaluate(SHOWN, [int(page.locator("#slider").get_attribute("max"))])[1]
        }
        for name, node in (("x", x), ("y", y)):
            for i in [i for i in np.ndindex(node.shape) if ("value", element(name, node.shape, i)) in shown]:
                assert shown["value", element(name, node.shape, i)] == pytest.approx(np.asarray(node.data)[i], rel=1e-13)
                assert shown["gradient", element(name, node.shape, i)] == pytest.approx(np.asarray(node.grad)[i], rel=1e-13)
        assert zoom != "scalars" or ("gradient", "x[1,2]") in shown
    assert zoom == "scalars"


@pytest.mark.parametrize("sizes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (2, 3)), ((1,), (1, 1)), ((), ())], ids=str)
@pytest.mark.parametrize("of", sorted(FORMULAS.keys() - {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}))
def test_every_primitive_has_a_page_whatever_the_shapes(tmp_path, of, sizes):
    """A local derivative, where it is shown, times what arrives is what goes on."""
    a, b = (Tensor(np.random.default_rng(i).uniform(1, 2, to)[()], name) for i, to, name in zip((0, 1), sizes, "ab"))
    by_axis = {"axis": None, "keepdims": False}
    c = {
        "where": lambda: P.where(a > b, a, b),
        "power": lambda: a**b,
        "pow": lambda: P.pow(a, exponent=3.0) + b ** (2 * np.ones(b.shape)),
        "matmul": lambda: np.reshape(a, (-1, 1)) @ np.reshape(b, (1, -1)),
        **{name: lambda: getattr(P, of)(a, **by_axis) for name in ("sum", "mean", "max", "min")},
        **{name: lambda: getattr(P, of)(a, b) for name in ("add", "sub", "mul", "div", "maximum", "minimum")},
    }.get(of, lambda: getattr(P, of)(a))()
    y = (c * 1.5).sum()
    explore(tmp_path / "page.html", y)
    arrows = View(model := Model(y), model.graph, "primitives").arrows
    for arrow in [arrow for arrow in arrows if isinstance(arrow.local, Name)]:
        assert arrow.local.shape == arrow.end.shape
        arrives, term = (value.value if isinstance(value, Name) else value for value in (arrow.end.gradient, arrow.term))
        np.testing.assert_allclose(np.broadcast_to(arrives * arrow.local.value, arrow.start.shape), term, rtol=1e-15)


def test_a_local_derivative_has_a_column_if_it_is_a_number_for_each_gradient(tmp_path):
    """Those of a matrix product and of a softmax are none."""
    q, k, v = (Tensor(normal(4, 3), name) for name in "qkv")
    own = _own(**{name: FUNCTIONS["one's own"][1][name] for name in ("v", "w", "delta", "dy")})
    pages = {"batch norm": None, "attention": derivations.ATTENTION(q=q, k=k, v=v).sum(), "own": own}
    found = {}
    for name, y in pages.items():
        steps = data_of(explore(tmp_path / "page.html", y))["zooms"][0]["steps"]
        heads = {column["head"] for moment in steps for table in moment["tables"] for column in table["columns"]}
        found[name] = {head for head in heads if head.startswith("∂")}
    assert found["batch norm"] == {edge.name for edge in derivations.BATCH_NORM.edges} - {"∂y/∂β"}  # which is 1
    assert not found["attention"]
    assert found["own"] == {"∂n/∂v", "∂u/∂v", "∂y/∂u", "∂y/∂w"}  # by the engine; of ∂u/∂n, a term for each u is added up at once


def test_arrays_are_seen_number_by_number_if_those_are_not_too_many(opened, pages, tmp_path):
    page = opened(pages["batch norm"])
    to_zoom(page, "scalars")
    assert page.locator("#missing").inner_text() == ""
    for function, m, n in (("batch norm", 8, 0), ("layer norm", 3, 4)):
        boxes = {box["key"]: box["at"] for box in data_of(pages[function])["zooms"][2]["nodes"]}
        for name in ("x", "x_hat", "y"):  # side by side, in order
            places = [boxes[element(name, (m, n), i)] for i in np.ndindex((m, n) if n else (m,))]
            assert [y for _, y in places] == [places[0][1]] * len(places)
            assert [x for x, _ in places] == sorted(x for x, _ in places)
    page.keyboard.press("End")
    page.check("#whatif")
    assert "d" in page.locator("#tables .warning").first.inner_text()
    page = opened(explore(tmp_path / "page.html", np.arange(40.0)))
    assert page.locator("#zooms button").all_inner_texts() == ["equations", "primitives"]
    assert "more than 200 nodes" in page.locator("#missing").inner_text()


def test_the_what_if_switch_makes_edges_vanish_and_dx_wrong(page):
    page.keyboard.press("End")
    right = {(kind, key): number for kind, key, number, _ in page.evaluate(SHOWN, [13])[1]}
    page.check("#whatif")
    numbers = FUNCTIONS["batch norm"][1]
    table = page.locator("#tables > table tbody tr")
    found = np.array([[float(cell.get_attribute("data-number")) for cell in row.locator("td").all()] for row in table.all()])
    np.testing.assert_allclose(found[:, 0], numbers["dy"] * numbers["gamma"] / np.sqrt(numbers["x"].var() + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(found[:, 1], [right["gradient", f"x[{i}]"] for i in range(8)])
    np.testing.assert_allclose(found[:, 2], found[:, 0] - found[:, 1])
    gone = page.locator("#graph .label.gone text:first-child").all_text_contents()
    assert sorted(gone) == ["(10)", "(11)", "(12)", "(8)", "(9)"]
    assert page.locator("#sentence").inner_text().endswith("With it dx is complete.")
    assert page.locator("#math math").count() == 1  # ∂x̂/∂x: what dx is the sum of holds no longer
    assert page.locator("#about-code").inner_text() == "Here is the program of the right gradients: they go through μ and σ², too."
    to_step(page, 7)
    assert page.locator("#math math").count() == 2  # as dγ does
    to_step(page, 12)
    assert page.locator("#math math").count() == 0
    assert page.locator("#sentence").inner_text() == "Nothing goes back from σ² to x: μ and σ² count as constants."
    to_zoom(page, "primitives")
    page.keyboard.press("End")
    assert page.locator("#sentence").inner_text().endswith("μ and σ² count as constants. dx is complete without it.")
    page.uncheck("#whatif")
    assert page.locator("#sentence").inner_text().endswith("With it dx is complete, the sum of 3 terms.")
    assert page.locator("#graph .gone").count() == 0


@pytest.mark.parametrize("dy", [[1.0, 1.0, 1.0], [0.1, 0.2, -0.3]], ids=["dx is 0", "dβ is 0"])
def test_what_is_zero_but_for_rounding_is_shown_as_that(opened, tmp_path, dy):
    page = opened(explore(tmp_path / "page.html", [0.1, 0.2, 0.3], 2.0, 0.0, dy))
    for zoom in ("equations", "primitives"):
        to_zoom(page, zoom)
        for number in range(int(page.locator("#slider").get_attribute("max")) + 1):
            to_step(page, number)
            labels = page.locator("#graph [aria-label]").evaluate_all("nodes => nodes.map((node) => node.ariaLabel)")
            shown = "\n".join([*page.locator("main").all_text_contents(), *labels])
            assert not re.search(r"\d+e[-−]\d+", shown.replace("1e−5", "").replace("1e-05", "")), (zoom, number)  # but for ε
    assert "≈ 0" in shown


def test_a_small_number_that_is_no_rounding_is_shown(opened, tmp_path):
    page = opened(explore(tmp_path / "page.html", [1e9, 1e9 + 1, 1e9 + 5], 1e-20, 0.0, [1.0, 0.0, 2.0]), "#step=13")
    texts = page.locator("#graph [data-number]:visible").all_text_contents()
    assert len(texts) > 20 and not [text for text in texts if "≈" in text]


# The texts in the graph's boxes that run into the one before.
CLASHES = """() => [...document.querySelectorAll("#graph .node")].flatMap((node) => {
    const texts = [...node.querySelectorAll("text:not(.title)")].filter((a) => a.checkVisibility({ visibilityProperty: true }));
    const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width);
    return boxes.flatMap(([one, a], i) => boxes.slice(i + 1)
        .filter(([, b]) => Math.abs(a.top - b.top) < 4 && a.left < b.right && b.left < a.right)
        .map(([other]) => one + " " + other));
})"""


def test_no_number_runs_into_the_next(opened, tmp_path):
    x = Tensor([0.0003708, 3.121e-6, -0.0003739, -1.2345e-105, -0.054321, 0.99999], "x")
    y = x * Tensor(-0.00037085, "a")
    y.backward([-0.0012345, 3.21e-7, -99994.6, 1.0, -3.3333e7, 0.0])
    page = opened(explore(tmp_path / "page.html", y))
    page.keyboard.press("End")
    assert page.evaluate(CLASHES) == []
    texts = page.locator('#graph [data-value^="x["]').all_text_contents()
    assert texts == ["0.000371", "3.121e−6", "−0.00037", "−1e−105", "−0.05432", "1"]
    page.locator('[data-leaf="a"]').fill("1e308")
    page.locator('[data-leaf="x[0]"]').fill("1e308")
    page.locator('[data-leaf="x[5]"]').fill("2")
    assert page.evaluate(CLASHES) == []
    a, b = Tensor([1.0, 2.0, 3.0], "a"), Tensor([1.0, 1.0, 1.0], "b")
    page = opened(explore(tmp_path / "log.html", (np.log(a) * b).sum()))
    page.locator('[data-leaf="a[0]"]').fill("-1")
    page.locator('[data-leaf="a[1]"]').fill("-2")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    assert "NaN" in page.locator('#graph [data-gradient^="b"]').all_text_contents()
    assert page.evaluate(CLASHES) == []


def test_a_constant_array_is_one_number(page):
    to_step(page, 13)
    label = page.locator("#graph .label", has_text="(11)").locator(".term")
    assert re.fullmatch(r"(−?[\d.]+) \(all 8\)", re.sub(r", [^ ]+", "", label.text_content()))
    assert label.locator("[data-term]").nth(1).is_hidden()


def test_what_a_box_says_is_near_it_by_pointer_by_keyboard_and_by_touch(opened, pages):
    page = opened(pages["batch norm"], "#step=13", has_touch=True)
    box = page.locator("#graph .node", has_text="(1) μ")
    for reach in (box.hover, box.focus, box.tap):
        page.mouse.move(0, 0)
        page.evaluate("document.activeElement.blur()")
        assert page.locator("#tip").is_hidden()
        reach()
        assert re.match(r"\(1\) μ = 1/m Σ x; value: .*; gradient: ", page.locator("#tip").inner_text())
        tip, at = page.locator("#tip").bounding_box(), box.bounding_box()
        assert abs(tip["y"] - at["y"] - at["height"]) < 30 or abs(at["y"] - tip["y"] - tip["height"]) < 30
    page.locator("#graph .edge[aria-label^='(12)']").focus()
    assert "(12) ∂σ²/∂x = 2/m (x − μ); carries back:" in page.locator("#tip").inner_text()


def test_broadcasting_is_said_where_it_happens(page):
    to_step(page, 3)
    assert "μ and σ²: repeated over 8 numbers." in page.locator("#sentence").inner_text()
    to_step(page, 8)
    assert "on the way back that is a sum" in page.locator("#sentence").inner_text()


# ---- For everybody


@pytest.mark.parametrize(("width", "scheme"), WINDOWS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_axe_finds_no_violation_and_nothing_sticks_out(opened, pages, name, width, scheme):
    axe = optional("axe_playwright_python.sync_playwright")
    page = opened(pages[name], width=width, scheme=scheme)
    zooms = data_of(pages[name])["zooms"]
    for zoom, number in [
        (zooms[0], 1),
        *((zoom, len(zoom["steps"])) for zoom in zooms),
    ]:  # a step on the way, and all that there is
        to_zoom(page, zoom["name"])
        to_step(page, number)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_sticks_out_of_a_frame_narrower_than_a_phone(opened, pages, name):
    assert opened(pages[name], width=240).evaluate("document.documentElement.scrollWidth") == 240


def test_the_graph_is_in_sight_while_its_numbers_are_changed(opened, pages):
    page = opened(pages["batch norm"], width=390)
    page.locator("#plot").evaluate("plot => scrollTo(0, plot.getBoundingClientRect().bottom + scrollY - innerHeight)")
    graph, plot = page.locator("#graph").bounding_box(), page.locator("#plot").bounding_box()
    assert graph["y"] > 0 and graph["y"] + graph["height"] <= plot["y"] + 1 and plot["y"] + plot["height"] <= 845


def test_a_row_of_an_array_is_a_row_in_its_box_or_else_its_shape_is_said(opened, tmp_path):
    shapes = {"a": (1, 5), "b": (4,), "c": (2, 2), "d": (3, 2), "e": (), "f": (1, 1)}
    y = sum(Tensor(np.ones(to)[()], name).sum() for name, to in shapes.items())
    path = explore(tmp_path / "page.html", y)
    rows = {node["key"]: node["rows"] for node in data_of(path)["zooms"][0]["nodes"]}
    assert {name: [len(row) for row in rows[name]] for name in shapes} == {
        "a": [3, 2], "b": [4], "c": [2, 2], "d": [2, 2, 2], "e": [1], "f": [1],
    }  # fmt: skip
    texts = opened(path).locator("#graph .leaf text").all_text_contents()
    assert texts.count("1×5") == 2 and not {"4", "2×2", "3×2", "1×1"} & {*texts}


def test_the_number_lines_begin_beside_their_names(opened, tmp_path):
    y = Tensor([1.0, 2.0], "a long name indeed") * 2
    y.label = "half as long"
    page = opened(explore(tmp_path / "page.html", y.sum()))
    ends = page.locator("#plot text").evaluate_all("all => all.map((a) => a.getBBox().x + a.getBBox().width)")
    lines = page.locator("#plot .axis").evaluate_all("all => all.map((a) => a.getBBox().x)")
    assert len(set(lines)) == 1 and max(ends[0], ends[3]) < lines[0] < 150
    assert min(page.locator("#plot circle").evaluate_all("all => all.map((a) => Number(a.getAttribute('cx')))")) >= lines[0]


def test_it_can_be_used_with_a_screen_reader(page):
    assert page.locator("#announce").get_attribute("aria-live") == "polite"
    page.keyboard.press("End")
    assert page.locator("#slider").get_attribute("aria-valuetext") == "(13) ∂x̂/∂x"
    assert page.locator("#graph [tabindex]:not([aria-label])").count() == 0
    assert page.locator("#graph .node, #graph .edge").count() == 7 + 9
    assert page.locator("#math math").count() == 3


def test_hostile_names_and_formulas_are_text(opened, tmp_path):
    @equation(1, "y", text=HOSTILE, latex=r"\text{<img src=x onerror=alert(1)>}")
    def hostile(a, b):
        return a * b

    Derivation("hostile", [hostile])
    page = opened(explore(tmp_path / "page.html", hostile(Tensor(2.0, HOSTILE), Tensor(3.0, "var")), title=HOSTILE), "#step=1")
    assert page.title().split() == HOSTILE.split()
    assert page.locator("h1").text_content().split() == HOSTILE.split()
    assert HOSTILE.split("\n")[0] in page.locator("#leaves").inner_text()
    page.locator('[data-leaf="var"]').fill("5")
    page.keyboard.press("End")
    assert page.locator("img").count() == 0
    explore(tmp_path / "columns.html", np.ones((3, 2)), columns=[HOSTILE, "second"])
    page = opened(tmp_path / "columns.html")
    assert page.locator("#example option").first.text_content() == HOSTILE


# ---- What needs no browser


def test_the_page_is_one_small_file_that_asks_for_nothing(tmp_path):
    path = explore(tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 1_000_000
    assert "default-src 'none'" in text and "script-src 'sha256-" in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text.replace("http://www.w3.org", ""))
    data = data_of(path)
    assert [example["name"] for example in data["examples"]] == [
        "sepal_length_cm",
        "sepal_width_cm",
        "petal_length_cm",
        "petal_width_cm",
    ]
    assert [moment["title"] for moment in data["zooms"][0]["steps"]] == [f"({entry.number}) {entry.name}" for entry in EQUATIONS]


def test_nothing_of_the_page_knows_batch_norms_names():
    for path in (Path(__file__).parents[1] / "micrograd_bn" / "explorer").glob("*.*"):
        if path.name != "__init__.py":
            assert not re.search(
                r"\b(mu|var|x_hat|gamma|beta)\b|[μσγβ]|x̂|x̂", re.sub(r"var\(--", "", path.read_text(encoding="utf-8"))
            ), path


def test_the_primitives_zoom_is_half_as_tall_as_it_was(tmp_path):
    primitives = data_of(explore(tmp_path / "page.html"))["zooms"][1]
    assert primitives["size"][1] < 3360 / 2


def test_the_edges_go_back_in_the_engines_order():
    a, b = Tensor(2.0, "a"), Tensor(3.0, "b")
    c = (a * b).exp()
    y = c * a + b
    order = []
    for node in in_order([y]):
        if node.inputs:
            vjp = node.primitive.vjp
            node.primitive = type(node.primitive)(
                node.primitive.name,
                "",
                node.primitive.forward,
                lambda *args, vjp=vjp, node=node, **k: order.append(node) or vjp(*args, **k),
            )
    y.backward()
    model = Model(y)
    order.clear()
    y.backward()
    called = keys(in_order([y]), {}, y)
    wanted = [called[node] for node in order]
    (zoom,) = model.data()["zooms"]
    ends = [next(e["to"] for e in zoom["edges"] if e["number"] == moment["number"]) for moment in zoom["steps"] if moment["back"]]
    assert list(dict.fromkeys(ends)) == wanted


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((2, 2, 2)), r"\(2, 2, 2\)"),
        (np.ones((201, 1)), "1 to 200 rows"),
        (np.ones((2, 13)), "of 1 to 12 columns"),
        ([[1.0, 2.0], [1.0, np.nan]], r"x\[1, 1\] is nan"),
        ([[1.0, 2e200], [1.0, 1e200]], r"var\[0, 1\] is inf"),
    ],
)
def test_a_batch_that_nobody_could_follow_is_refused(tmp_path, x, message):
    with pytest.raises(ValueError, match=message):
        explore(tmp_path / "page.html", x)
    for name, value in (("dy", np.ones((2, 3))), ("gamma", np.ones((3, 2)))):
        with pytest.raises(ValueError, match=f"{name} .*shape"):
            explore(tmp_path / "page.html", np.ones((3, 2)), **{name: value})
    with pytest.raises(ValueError, match="1 names for 2 columns"):
        explore(tmp_path / "page.html", np.ones((3, 2)), columns=["a"])
    assert list(tmp_path.iterdir()) == []


def long():
    y = Tensor(1.0)
    for _ in range(1000):
        y = y * 2.0
    return y


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (lambda: Tensor(1.0), ValueError, "no history"),
        (lambda: Tensor([1.0, 2.0]) * 2, ValueError, r"shape \(2,\), and no upstream gradient: call y.backward\(gradient\) first"),
        (lambda: scalars([1.0, 2.0]), TypeError, "one result, and these are several"),
        (lambda: [Tensor(1.0), Tensor(2.0)], TypeError, "one result, and these are several"),
        (lambda: long, TypeError, r"y in y = f\(Tensor\(x\)\), or of a batch of numbers, and this is function"),
        (lambda: "x", TypeError, "and this is str 'x'"),
        (lambda: [sympy.Symbol("a")], TypeError, "of this batch they cannot be made"),
        (
            lambda: fused_batch_norm(Tensor([1.0, 2.0]), 1.0, 0.0).sum(),
            TypeError,
            r"fused_batch_norm is one step .* \(batch_norm, in place",
        ),
        (lambda: Tensor(np.float32(1.0), "a") * 2, TypeError, "float64 numbers, .* 'a' of this graph is of float32"),
        (lambda: Tensor(Decimal(1)) * 2, TypeError, "of Decimal"),
        (lambda: Tensor(sympy.Symbol("a")) * 2, TypeError, "of Symbol"),
        (
            lambda: (Tensor([1.0, math.nan], "a") * 2).sum(),
            ValueError,
            r"^a\[1\] is nan, and the page starts from finite .*: replace it",
        ),
        (lambda: batch_norm(Tensor([1.0, 2.0]), 1.0, 0.0, math.inf).sum(), ValueError, "^ε is inf"),
        (lambda: (Tensor([1.0, 2.0]) * [1.0, math.inf]).sum(), ValueError, r"^a constant of the graph\[1\] is inf"),
        (lambda: Tensor(1.0) > 0, TypeError, "of bool, as comparisons are"),
        (long, ValueError, r"1,001 nodes, and the page shows up to 1,000"),
        (lambda: (Tensor(np.ones((80, 80))) @ np.ones((80, 80))).sum(), ValueError, r"numbers are too many .* 20,000 at most"),
    ],
)
def test_a_graph_that_is_none_for_the_page_is_refused(tmp_path, y, error, message):
    with pytest.raises(error, match=message):
        explore(tmp_path / "page.html", y())
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_written_to_a_path_of_html(tmp_path):
    y = Tensor(1.0) * 2
    with pytest.raises(TypeError, match=r"a path, which comes first: explore\('page.html', y\); and this is Tensor"):
        explore(y, tmp_path / "page.html")
    with pytest.raises(ValueError, match=r"page.png' does not end with .html: .* a picture, as .svg or .png, is drawn by draw"):
        explore(tmp_path / "page.png", y)
    with pytest.raises(ValueError, match=r"page' does not end with .html"):
        explore(tmp_path / "page", y)
    assert explore(tmp_path / "page.HTM", y).name == "page.HTM"


@pytest.mark.parametrize("given", [{"gamma": np.ones(2)}, {"eps": 1e-3}, {"seed": 1}])
def test_a_graph_takes_none_of_batch_norms_arguments(tmp_path, given):
    with pytest.raises(TypeError, match="belong to batch norm's page"):
        explore(tmp_path / "page.html", Tensor(1.0) * 2, **given)


def test_a_title_is_the_derivations_name_and_no_mark(tmp_path):
    page = explore(tmp_path / "page.html", derivations.RMS_NORM(Tensor([1.0, 2.0]), 1.0).sum(), title="{{data}} of {{about}}")
    assert "<title>{{data}} of {{about}}</title>" in page.read_text(encoding="utf-8")
    y = derivations.RMS_NORM(Tensor([1.0, 2.0]), 1.0)
    y.backward([1.0, 1.0])
    assert "<title>RMS norm, step by step</title>" in explore(page, y).read_text(encoding="utf-8")


@pytest.mark.parametrize("label", ["x[a]", "x[0]", "[", "x[1][0]"])
def test_a_label_may_look_like_a_numbers(tmp_path, label):
    y = (Tensor([1.0, 2.0], "x") * Tensor([3.0, 4.0], label) * Tensor(2.0, label)).sum()
    singles = data_of(explore(tmp_path / "page.html", y))["zooms"][-1]
    at = {node["key"]: node["at"] for node in singles["nodes"]}
    assert singles["name"] == "scalars" and at["x[0]"][1] == at["x[1]"][1]


def test_the_irises_columns_may_be_renamed(tmp_path):
    page = data_of(explore(tmp_path / "page.html", columns="abcd"))
    assert [example["name"] for example in page["examples"]] == ["a", "b", "c", "d"]


def test_the_readmes_page_moves_and_is_small():
    image = optional("PIL.Image")
    path = Path(__file__).parents[1] / "docs" / "page.webp"
    assert path.stat().st_size <= 500_000
    with image.open(path) as film:
        assert film.n_frames >= 15
