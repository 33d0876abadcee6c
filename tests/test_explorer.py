"""The interactive page, in a real browser: every step by button, key and slider, the engine's numbers, and nothing from outside."""

import json
import re
import shutil

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, explore
from micrograd_bn.derivations.batch_norm import EQUATIONS
from tests.conftest import missing, optional

X = np.array([[1.0, -4.0], [2.0, 0.5], [6.0, 3.0], [3.0, 8.0]])
DY = np.array([[1.0, 0.5], [0.0, -1.0], [2.0, 0.25], [-1.0, 1.0]])
GAMMA, BETA = np.array([2.0, -0.5]), np.array([0.5, 1.0])
HOSTILE = "</script><script>document.title='owned'</script>\"'\n]]>"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    return explore(path, X, GAMMA, BETA, DY, columns=[HOSTILE, "second"])


@pytest.fixture(scope="module")
def browser():
    playwright = optional("playwright.sync_api")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        missing("Chromium (chromium, chromium-browser or google-chrome on PATH)")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=executable, args=[*quiet, "--disable-component-update", "--disable-sync"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_file):
    """The page, opened from disk; any console message, error or request at all fails the test."""
    page = browser.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda request: trouble.append(request.url) if request.url != page_file.as_uri() else None)
    page.goto(page_file.as_uri())
    trouble[:] = [entry for entry in trouble if not entry.startswith(page_file.as_uri())]
    yield page
    page.close()
    assert trouble == []


def step(page):
    return int(page.locator("#place").inner_text().split("/")[0])


def cells(page, table=0):
    """The numbers of a table on the page: in full, row by row."""
    rows = page.locator("#numbers table").nth(table).locator("tbody tr")
    return np.array([[float(cell.get_attribute("data-value")) for cell in row.locator("td").all()] for row in rows.all()])


def test_every_step_by_button(page):
    titles = [page.locator("#title").inner_text()]
    for _ in range(13):
        page.click("#next")
        titles.append(page.locator("#title").inner_text())
    assert page.locator("#next").is_disabled()
    assert titles[1:] == [f"({entry.number}) {entry.name}" for entry in EQUATIONS]
    for expected in range(12, -1, -1):
        page.click("#back")
        assert step(page) == expected
    assert page.locator("#back").is_disabled()


def test_every_step_by_key(page):
    for expected in range(1, 14):
        page.keyboard.press("ArrowRight")
        assert step(page) == expected
    for key, expected in (("Home", 0), ("End", 13), ("ArrowLeft", 12)):
        page.keyboard.press(key)
        assert step(page) == expected


def test_every_step_by_slider(page):
    page.focus("#slider")
    for expected in range(1, 14):
        page.keyboard.press("ArrowRight")
        assert step(page) == expected
    page.locator("#slider").fill("7")
    assert step(page) == 7
    assert page.url.endswith("#step=7")


def test_play_and_pause(page):
    page.clock.install()
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text().endswith("pause")
    page.clock.run_for(1900)
    assert step(page) == 1
    page.click("#play")
    page.clock.run_for(5000)
    assert step(page) == 1
    page.click("#play")
    page.clock.run_for(60_000)
    assert step(page) == 13
    assert page.locator("#play").inner_text().endswith("play")


def test_a_link_to_a_step(page, page_file):
    page.goto(page_file.as_uri() + "#step=7")
    assert step(page) == 7
    page.evaluate("location.hash = '#step=12'")
    page.wait_for_function("document.getElementById('place').textContent.startsWith('12')")
    page.goto(page_file.as_uri() + "#step=99")
    assert step(page) == 13


@pytest.mark.parametrize("column", [0, 1])
def test_the_numbers_are_the_engines(page, column):
    page.select_option("#column", str(column))
    x, gamma, beta = (Tensor(a) for a in (X[:, column], GAMMA[column : column + 1], BETA[column : column + 1]))
    y = batch_norm(x, gamma, beta)
    y.backward(DY[:, column])
    x_hat = y.equation.inputs["x_hat"]
    mu, var = x_hat.equation.inputs["mu"], x_hat.equation.inputs["var"]

    def at(number):
        page.locator("#slider").fill(str(number))
        return cells(page)

    def total():
        return float(page.locator("#numbers tfoot td").first.get_attribute("data-value"))

    close = {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(at(1)[:, 0], x.data)
    np.testing.assert_allclose(total(), mu.data[0], **close)
    at(2)
    np.testing.assert_allclose(total(), var.data[0], **close)
    np.testing.assert_allclose(at(3)[:, -1], x_hat.data, **close)
    np.testing.assert_allclose(at(4)[:, -1], y.data, **close)
    np.testing.assert_allclose(at(5)[:, -1], x_hat.grad, **close)
    for number, node in ((6, beta), (7, gamma), (8, var)):
        table = at(number)
        np.testing.assert_allclose(table[:, 0] * table[:, 1], table[:, 2], **close)
        np.testing.assert_allclose(total(), node.grad[0], **close)
    at(10)
    np.testing.assert_allclose(cells(page, 1)[0, -1], mu.grad[0], **close)
    at(13)
    terms = cells(page, 1)
    np.testing.assert_allclose(terms[:, -1], x.grad, **close)
    np.testing.assert_allclose(terms[:, :3].sum(axis=1), x.grad, **close)
    # What a person reads is that number to four digits.
    shown = page.locator("#numbers td.sum").first.inner_text().replace("−", "-")
    assert float(shown) == pytest.approx(x.grad[0] if page.locator("#numbers table").count() == 1 else terms[0, -1], rel=1e-3)


def test_values_and_gradients_appear_in_their_turn(page):
    def visible(variable):
        texts = page.locator(f"#graph .node[data-name='{variable}'] text")
        return [texts.nth(i).evaluate("node => getComputedStyle(node).visibility") == "visible" for i in (1, 2)]

    expected = {"μ": (1, 10), "σ²": (2, 8), "x̂": (3, 5), "y": (4, 5), "γ": (0, 7), "x": (0, 13)}
    for number in range(14):
        page.locator("#slider").fill(str(number))
        for variable, (value, gradient) in expected.items():
            assert visible(variable) == [number >= value, number >= gradient], (variable, number)


def test_the_current_edge_is_marked_at_both_zooms(page):
    for zoom in ("equations", "primitives"):
        page.check(f"input[value={zoom}]")
        for number in range(5, 14):
            page.locator("#slider").fill(str(number))
            entry = EQUATIONS[number - 1]
            marked = page.locator("#graph .edge.flows")
            assert marked.count() >= 1
            if zoom == "equations":
                assert marked.locator("text").first.text_content().strip() == f"({entry.number})"


def test_the_what_if_switch_makes_edges_vanish_and_dx_wrong(page):
    page.keyboard.press("End")
    right = cells(page, 1)[:, -1]
    assert "μ" in page.locator("#math").text_content()
    page.check("#whatif")
    assert "μ" not in page.locator("#math").text_content()  # of the three terms of dx, one is left
    wrong = cells(page, 1)
    gamma, var = GAMMA[0], X[:, 0].var()
    np.testing.assert_allclose(wrong[:, 0], DY[:, 0] * gamma / np.sqrt(var + 1e-5), rtol=1e-12)
    np.testing.assert_allclose(wrong[:, 1], right)
    np.testing.assert_allclose(right, batch_norm_backward(DY[:, 0], X[:, 0], gamma).x, rtol=1e-12, atol=1e-13)
    assert np.abs(wrong[:, 2]).max() > 0.1
    gone = page.locator("#graph .edge.gone text:first-of-type").all_text_contents()
    assert sorted(text.strip() for text in gone) == ["(10)", "(11)", "(12)", "(8)", "(9)"]
    page.uncheck("#whatif")
    assert page.locator("#graph .edge.gone").count() == 0


@pytest.mark.parametrize("dy", [[1.0, 1.0, 1.0], [0.1, 0.2, -0.3]], ids=["dx is 0", "dβ is 0"])
def test_what_is_zero_but_for_rounding_is_shown_as_that(browser, tmp_path, dy):
    page = browser.new_page()
    page.goto(explore(tmp_path / "page.html", [0.1, 0.2, 0.3], 2.0, 0.0, dy).as_uri())
    for zoom in ("equations", "primitives"):
        page.check(f"input[value={zoom}]")
        for number in range(14):
            page.locator("#slider").fill(str(number))
            labels = page.locator("#graph [aria-label]").evaluate_all("nodes => nodes.map((node) => node.ariaLabel)")
            shown = "\n".join([*page.locator("main").all_text_contents(), *labels])
            assert not re.search(r"\d+e[-−]\d+", shown.replace("1e-05", "")), (zoom, number)  # but for eps
    page.locator("#slider").fill("9")
    assert "its term is ≈ 0, since the x − μ cancel" in page.locator("#sentence").inner_text()
    assert 0 < np.abs(cells(page)[0, 1]) < 1e-15  # the number itself is what it is
    page.close()


def test_details_by_pointer_and_by_keyboard(page):
    page.keyboard.press("End")
    page.hover("#graph .node[data-name='μ']")
    assert "μ = 1/m Σ x; value: 3; gradient:" in page.locator("#details").inner_text()
    page.locator("#graph .edge[data-name='x->σ²']").focus()
    assert "(12) ∂σ²/∂x = 2/m (x − μ). Carries back:" in page.locator("#details").inner_text()


def test_it_can_be_used_with_a_keyboard_and_a_screen_reader(page):
    for selector in ("#back", "#play", "#next"):
        assert page.locator(selector).evaluate("node => node.tagName") == "BUTTON"
        assert page.locator(selector).get_attribute("aria-label")
    assert page.locator("#announce").get_attribute("aria-live") == "polite"
    page.keyboard.press("End")
    assert page.locator("#slider").get_attribute("aria-valuetext") == "(13) ∂x̂/∂x"
    unnamed = page.locator("#graph [tabindex]:not([aria-label])")
    assert unnamed.count() == 0
    assert page.locator("#graph [tabindex]").count() == 7 + 9
    assert page.locator("#math math").count() == 2


def test_a_hostile_name_is_text(page):
    assert page.title() == "Batch normalisation, step by step"
    assert page.locator("#column option").first.text_content() == HOSTILE


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def test_nothing_sticks_out_of_the_window_and_text_has_contrast(browser, page_file, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.goto(page_file.as_uri() + "#step=13")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    luminance = """element => {
        const style = getComputedStyle(element);
        const parse = (text) => text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = parse(element.closest("svg") ? style.fill : style.color);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    }"""
    paper = {"light": 1.0, "dark": 0.008}[scheme]
    for selector in ("h2", "#sentence", "header p", ".hint", "#graph .edge text", "#graph .node text", "td"):
        found = page.locator(selector).first.evaluate(luminance)
        contrast = (max(found, paper) + 0.05) / (min(found, paper) + 0.05)
        assert contrast >= 4.5, (selector, contrast)  # WCAG AA
    context.close()


# ---- what needs no browser


def test_the_page_is_one_file_that_asks_for_nothing(page_file):
    text = page_file.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text.replace("http://www.w3.org", ""))
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1))
    assert data["names"] == [HOSTILE, "second"]
    assert [entry["number"] for entry in data["steps"]] == list(range(1, 14))
    assert "mean a, b … c: more than 6 numbers" in text
    assert "≈ 0: no more than the rounding of the terms that are added up" in text


def test_a_small_number_that_is_no_rounding_is_shown(tmp_path):
    path = explore(tmp_path / "page.html", [1e9, 1e9 + 1, 1e9 + 5], 1e-20, 0.0, [1.0, 0.0, 2.0])
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL).group(1))
    page = data["columns"][0]
    for name in ("x", "μ", "σ²", "x̂", "γ", "y"):
        for number in page["variables"][name]["value"] + page["variables"][name]["gradient"]:
            assert number not in page["zeros"], name


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


def test_the_irises_columns_may_be_renamed(tmp_path):
    page = explore(tmp_path / "page.html", columns="abcd").read_text(encoding="utf-8")
    assert '"names": ["a", "b", "c", "d"]' in page
