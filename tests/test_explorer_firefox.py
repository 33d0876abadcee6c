"""The page in Firefox: part by part it looks as it does in Chromium, its numbers are the engine's, and it is alive."""

import io

import numpy as np
import pytest

from tests.conftest import optional
from tests.firefox import Firefox
from tests.test_explorer import FUNCTIONS, SHOWN, against_the_engine, browser, data_of, expected, opened, pages  # noqa: F401

# The parts of the page, and where each is; not those that are scrolled out of their frames.
PARTS = """() => [...document.querySelectorAll(
    "h1, #title, #sentence, math, .node > rect, .node text, .label, #plot > *, .legend li, #source li, td[data-number], [data-leaf]"
)].flatMap((part, i) => {
    const { left, top, right, bottom, width, height } = part.getBoundingClientRect();
    const frame = part.closest(".graph, #source, .scroll, .numbers")?.getBoundingClientRect();
    const inside = !frame || left >= frame.left && right <= frame.right && top >= frame.top + 4 && bottom <= frame.bottom - 4;
    const seen = inside && width * height && part.checkVisibility({ visibilityProperty: true });
    return seen ? [[part.tagName, i, part.textContent, left + scrollX, top + scrollY, width, height]] : [];
})"""


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    firefox = Firefox(tmp_path_factory.mktemp("firefox"))
    yield firefox
    firefox.close()


def looks(picture, parts):
    """Of each part: how much of it is not its background, in pixels, and how high and how wide that reaches."""
    with optional("PIL.Image").open(picture) as image:
        grey = np.asarray(image.convert("L"), dtype=float)
    found = {}
    for *name, left, top, width, height in parts:
        part = grey[round(top) : round(top + height), round(left) : round(left + width)]
        ink = abs(part - np.median(part))
        lines = [np.flatnonzero((ink > 40).any(axis=axis)) for axis in (1, 0)]
        found[tuple(name)] = [ink.sum() / 128, *(np.ptp(line) if line.size else 0 for line in lines)]
    return found


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 800, "light"), (390, 844, "dark")])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_looks_as_in_chromium(firefox, opened, pages, name, width, height, scheme):  # noqa: F811
    page = opened(pages[name], "#step=1000", width=width, scheme=scheme)
    firefox.open(pages[name].as_uri() + "#step=1000", width, height, scheme)
    wanted = looks(io.BytesIO(page.screenshot(full_page=True)), page.evaluate(PARTS))
    found = looks(firefox.screenshot(), firefox.evaluate(PARTS))
    both = wanted.keys() & found.keys()
    assert len(both) > 0.8 * len(wanted) > 40 and {tag for tag, *_ in both} == {tag for tag, *_ in wanted}
    for part in both:
        np.testing.assert_allclose(found[part], wanted[part], rtol=0.5, atol=5, err_msg=str(part))


def all_numbers(firefox, path, function, numbers):
    """Hold all that Firefox shows, at each step of each zoom, against the engine."""
    zooms = data_of(path)["zooms"]
    engines = expected(function, numbers, zooms)
    for i, zoom in enumerate(zooms):
        firefox.evaluate("(i) => document.querySelectorAll('#zooms button')[i].click()", i)
        said, shown = firefox.evaluate(SHOWN, [*range(len(zoom["steps"]) + 1)])
        assert said == [*range(len(zoom["steps"]) + 1)]
        assert len(against_the_engine(zoom, shown, engines)) > 10


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_numbers_are_the_engines(firefox, pages, name):  # noqa: F811
    firefox.open(pages[name].as_uri(), 1280, 800, "light")
    all_numbers(firefox, pages[name], *FUNCTIONS[name])


def test_it_is_alive(firefox, pages):  # noqa: F811
    path, (function, numbers) = pages["batch norm"], FUNCTIONS["batch norm"]
    firefox.open(path.as_uri(), 1280, 800, "light")
    x = numbers["x"].copy()

    def field(i):
        return float(firefox.evaluate("(key) => document.querySelector(`[data-leaf='${key}']`).dataset.number", f"x[{i}]"))

    firefox.type("[data-leaf='x[3]']", "0.5")
    firefox.press("\ue013")  # the arrow upwards
    x[3] = field(3)
    assert x[3] == 0.51
    firefox.drag("#plot circle[aria-label='x[5]']", 40)
    x[5] = field(5)
    assert x[5] > numbers["x"][5] + 0.1
    firefox.drag("[data-leaf='x[6]']", -40)
    x[6] = field(6)
    assert x[6] < numbers["x"][6]
    firefox.click("#next")
    assert firefox.evaluate("() => document.querySelector('#title').textContent") == "(1) μ"
    all_numbers(firefox, path, function, numbers | {"x": x})
    last = data_of(path)["zooms"][-1]["name"]
    firefox.wait(f"() => location.hash.includes('zoom={last}')")
    firefox.command("WebDriver:Refresh")
    assert firefox.evaluate("() => document.querySelector('#zooms [aria-pressed=true]').textContent") == last
    all_numbers(firefox, path, function, numbers | {"x": x})
