"""What a notebook's last line shows: reports and proofs as tables, a net as its layers, the page as itself."""

import copy
import html
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from micrograd_bn import Tensor, draw, explore, nn, verify
from micrograd_bn.check import check_backward, first_not_finite
from micrograd_bn.derivations.batch_norm import batch_norm_backward
from micrograd_bn.prove import prove
from tests.conftest import optional
from tests.test_explorer import browser  # noqa: F401


def shown(value):
    """What IPython would send to the notebook: kind → content."""
    formats, _ = optional("IPython.core.formatters").DisplayFormatter().format(value)
    return formats


def right(dy, x, gamma, beta, eps):
    return batch_norm_backward(dy, x, gamma, eps)


def rows(table):
    """The cells of an HTML table, as text, row by row."""
    every = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table))
    return [[html.unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in every]


def test_a_report_is_a_table_of_its_rows():
    report = verify([1.0, 2.0, 6.0])
    table = shown(report)["text/html"]
    assert rows(table)[0] == ["equation", "", "formula", "error", "bound", ""]
    assert [cells[:3] for cells in rows(table)[1:]] == [[row.number, row.name, row.formula] for row in report.rows]
    assert {cells[-1] for cells in rows(table)[1:]} == {"✓"}
    assert "A batch of shape (3,), float64: engine against derivation" in table
    assert "20 of 20 rows agree within rounding" in table
    assert "<b>" not in table
    wrong = report._replace(rows=(report.rows[0]._replace(ok=False, name="<μ>"), *report.rows[1:]))
    assert "<b>✗ differs</b>" in shown(wrong)["text/html"]
    assert "&lt;μ&gt;" in shown(wrong)["text/html"]


def test_a_proof_is_a_table_of_its_rows():
    optional("sympy")
    proof = prove(2)
    table = shown(proof)["text/html"]
    assert [cells[:3] for cells in rows(table)[1:]] == [[row.number, row.name, row.formula] for row in proof.rows]
    assert {cells[3] for cells in rows(table)[1:]} == {"identity"} and "identities for m = 2, k = 3, with ε &gt; 0" in table
    wrong = proof._replace(rows=(proof.rows[0]._replace(difference="x[1] < 2"), *proof.rows[1:]))
    assert "<b>x[1] &lt; 2</b>" in shown(wrong)["text/html"]


def test_a_check_is_a_table_in_the_same_way():
    check = check_backward(right)
    assert [cells[:2] for cells in rows(shown(check)["text/html"])[1:]] == [[row.name, row.verdict] for row in check.rows]


def test_what_a_terminal_shows_and_what_a_notebook_shows_are_the_same_words():
    report = verify([1.0, 2.0, 6.0])
    words = set(re.sub("[─━]", "", str(report)).split())
    assert words - set(html.unescape(re.sub("<.*?>", " ", report._repr_html_())).split()) == set()


def test_a_net_shows_its_layers_and_a_picture_and_a_sentence_themselves():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    assert shown(net) == {"text/plain": repr(net)}
    assert shown(nn.Linear(2, 3))["text/plain"].startswith("Linear(in_features=2, out_features=3")
    assert "image/svg+xml" in shown(draw(Tensor(1.0) + 1))
    found = shown(first_not_finite(Tensor(np.array([np.nan]), "<x>")))["text/html"]
    assert "the value of &#x27;&lt;x&gt;&#x27; is NaN" in found


# ---- the page


@pytest.fixture
def page(tmp_path):
    return explore(tmp_path / "page.html", [1.0, 2.0, 6.0], columns=['"><script>'])


def test_the_page_is_shown_inline_in_a_sandbox(page):
    frame = shown(page)["text/html"]
    assert re.fullmatch(r"<iframe [^<>]*>page.html is a page; [^<>]*</iframe>\n<script>[^<]*</script>", frame)
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.read_text(encoding="utf-8")
    assert 'sandbox="allow-scripts"' in frame  # and not allow-same-origin: it cannot reach the notebook


def test_the_page_is_a_path_in_every_other_way(page, tmp_path):
    plain = tmp_path / "page.html"
    assert isinstance(page, Path) and page == plain and plain == page and hash(page) == hash(plain) and str(page) == str(plain)
    assert os.fspath(page) == str(plain) and page.name == "page.html" and page.suffix == ".html" and page.exists()
    assert page in {plain: 1} and sorted([page, tmp_path / "a"])[1] == plain
    assert pickle.loads(pickle.dumps(page)) == copy.deepcopy(page) == plain
    assert Path(page).parent == page.parent == tmp_path
    with open(page, encoding="utf-8") as file:
        assert file.read() == plain.read_text(encoding="utf-8")


def test_no_other_path_shows_itself(page):
    other = page.with_name("other.html")
    other.write_text("<script>")
    for path in (other, page.parent, page.parent / "other.html", page.resolve().parent):
        assert "text/html" not in shown(path)
    page.unlink()
    assert "text/html" not in shown(page)


def test_the_page_works_inside_a_notebook(browser, page):  # noqa: F811
    tab = browser.new_page(viewport={"width": 1000, "height": 900})
    trouble = []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.set_content(f"<p>In [1]</p>{page._repr_html_()}")
    frame = tab.frame_locator("iframe")
    for expected in range(1, 14):
        frame.locator("#next").click()
        assert frame.locator("#place").inner_text() == f"{expected} / 13"
    assert not frame.locator("#address").is_visible()
    assert tab.locator("iframe").bounding_box()["height"] >= 700
    tab.close()
    assert trouble == []


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A notebook, with what a kernel made of it."""
    nbclient, nbformat = optional("nbclient"), optional("nbformat")
    optional("ipykernel")
    code = [
        "from micrograd_bn import Tensor, explore, nn, verify\nfrom micrograd_bn.prove import prove\nverify([1.0, 2.0])",
        "prove(1)",
        "nn.Sequential(nn.Linear(1, 1))",
        "explore('page.html', [1.0, 2.0, 6.0])",
        "explore('tanh.html', (Tensor(2.0, 'a') * Tensor(0.25, 'b')).tanh())",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in code])
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    folder = {"metadata": {"path": tmp_path_factory.mktemp("notebook")}}
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120, resources=folder).execute(env=environment)
    return notebook


def test_a_kernel_shows_all_of_it(executed):
    first = [cell.outputs[0].data for cell in executed.cells]
    assert "<table>" in first[0]["text/html"] and "<table>" in first[1]["text/html"]
    assert "(0): Linear" in first[2]["text/plain"]
    assert first[3]["text/html"].startswith("<iframe ") and first[4]["text/html"].startswith("<iframe ")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_of_an_exported_notebook_are_alive_and_whole_each_by_itself(browser, executed, tmp_path, width):  # noqa: F811
    text, _ = optional("nbconvert").HTMLExporter().from_notebook_node(executed)
    (tmp_path / "notebook.html").write_text(text, encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    trouble = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.route("http*://**", lambda route: route.abort())  # what nbconvert itself asks for, and nothing else:
    tab.on("request", lambda request: trouble.append(request.url) if request.frame != tab.main_frame else None)
    tab.goto((tmp_path / "notebook.html").as_uri())
    frames = tab.locator("iframe")
    batch, own = frames.nth(0).content_frame, frames.nth(1).content_frame

    def whole(i):
        """Soon, a frame is as tall as its page, and as wide."""
        for _ in range(50):
            height, more = (
                frames.nth(i).content_frame.locator("html").evaluate("(a) => [a.offsetHeight, a.scrollWidth - innerWidth]")
            )
            if frames.nth(i).bounding_box()["height"] == height + 2 and more == 0:
                return True
            tab.wait_for_timeout(100)
        return False

    assert whole(0) and whole(1)  # though one or both are out of sight
    for _ in range(13):
        batch.locator("#next").click()
    batch.locator('[data-leaf="x[1]"]').fill("5")
    assert own.locator("body").get_attribute("data-step") == "0" and own.locator('[data-leaf="a"]').input_value() == "2"
    own.locator('[data-leaf="b"]').fill("0")
    own.locator("body").press("End")
    found = own.locator("#graph [data-gradient]").evaluate_all("all => all.map((a) => [a.dataset.gradient, a.dataset.number])")
    assert {("a", "0"), ("b", "2")} <= set(map(tuple, found))
    assert batch.locator("body").get_attribute("data-step") == "13"
    assert batch.locator('#graph [data-value="mu"]').get_attribute("data-number") == "4"
    for i in (0, 1):
        frames.nth(i).scroll_into_view_if_needed()
        tab.wait_for_timeout(200)
        assert whole(i)
    tab.close()
    assert trouble == []
