"""The interactive page, in a real browser: any graph, alive, held against the engine number by number, and nothing from outside."""

import json
import math
import re
import shutil

import numpy as np
import pytest

from micrograd_bn import Derivation, Tensor, batch_norm, derivations, equation, explore
from micrograd_bn.derivation import made_by
from micrograd_bn.derivations.batch_norm import EQUATIONS
from micrograd_bn.engine import adjoints, in_order
from micrograd_bn.explorer.model import keys
from micrograd_bn.numbers.running import running
from tests.conftest import missing, optional

HOSTILE = "</script><script>document.title='owned'</script>\"'\n]]>"
RNG = np.random.default_rng(0)


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


def element(name, shape, index):
    """What the page calls an element."""
    return name if math.prod(shape) == 1 else f"{name}[{','.join(map(str, index))}]"


def expected(function, numbers, zooms):
    """What the engine has for all that the page may show, by zoom and by kind and key: on numbers that carry a bound on what floats
    may differ by."""
    kind = running(np.float64)
    lifted = {name: a if name in ("eps", "delta") else kind(np.asarray(a)) for name, a in numbers.items()}
    y = function(**lifted)
    order = in_order([y])
    nodes = {key: node for node, key in keys(order, made_by(order), y).items()}
    found = {}

    def add(zoom, what, name, number):
        number = kind.lift(number)
        for index in np.ndindex(number.shape):
            found[zoom, what, element(name, number.shape, index)] = float(number.value[index]), float(number.error[index])

    for zoom in zooms:
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
                    term = adjoints(end, end.grad, stop=inputs)[start]
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


# Every number that is shown at any of the given steps, once, with the steps that ``data-step`` said.
SHOWN = """(steps) => {
    const found = new Map(), said = [], slider = document.getElementById("slider");
    for (const step of steps) {
        slider.value = step;
        slider.dispatchEvent(new Event("input"));
        said.push(Number(document.querySelector("[data-step]").dataset.step));
        for (const node of document.querySelectorAll("[data-number]"))
            for (const kind of ["value", "gradient", "term"])
                if (node.hasAttribute(`data-${kind}`)) {
                    const key = node.getAttribute(`data-${kind}`), number = Number(node.dataset.number);
                    found.set(`${kind} ${key} ${number}`, [kind, key, number]);
                }
    }
    return [said, [...found.values()]];
}"""


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
    engines = expected(function, {key: a if a.shape else float(a) for key, a in numbers.items()}, zooms)
    seen = set()
    for zoom in zooms:
        to_zoom(page, zoom["name"])
        steps = [*range(len(zoom["steps"]) + 1), *range(len(zoom["steps"]) - 1, -1, -1)]
        said, shown = page.evaluate(SHOWN, steps)
        assert said == steps
        for kind, key, number in shown:
            exact, bound = engines[zoom["name"], kind, key]
            assert abs(number - exact) <= bound + 2e-16 * abs(exact), (zoom["name"], kind, key)
            assert bound <= 1e-12 * max(abs(exact), 1)  # the bound means something
            seen.add((zoom["name"], kind, key))
    # All of the engine's numbers were on the page at some time: each value, gradient and term of each zoom but what an equation hides.
    assert {key for key in engines if key not in seen and not (key[0] == "equations" and re.match(r"t[\d[]", key[2]))} == set()
    page.wait_for_timeout(300)
    page.reload()
    assert page.evaluate(SHOWN, [3]) == page.evaluate(SHOWN, [3])
    assert {tuple(entry) for entry in page.evaluate(SHOWN, steps)[1]} == {tuple(entry) for entry in shown}
