"""The site, as it is built from what is there: every link leads somewhere, nothing is fetched from outside; and in a browser, from
a static host, no page has an error in its console, is wider than its window, or breaks a rule of accessibility."""

import functools
import re
import runpy
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from tests.conftest import optional
from tests.test_explorer import browser  # noqa: F401

ROOT = Path(__file__).parents[1]
FETCHED = ("script", "link", "img", "iframe", "source", "video", "audio", "embed", "object")


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.places |= {attributes.get("id"), attributes.get("name")}
        target = attributes.get("href") or attributes.get("src")
        if target and not target.startswith("data:"):
            (self.loads if tag in FETCHED else self.links).append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for part in ("pdoc", "markdown2", "pygments"):
        optional(part)
    out = tmp_path_factory.mktemp("site")
    runpy.run_path(str(ROOT / "docs" / "site" / "build.py"))["main"](out)
    return out


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_there_is_a_page_of_each_kind(site):
    lessons = [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")]
    for page in ("live", "docs/teaching", "benchmarks/results", "reference/micrograd_bn", *(f"lessons/{name}" for name in lessons)):
        assert (site / f"{page}.html").is_file(), page
    home = (site / "index.html").read_text(encoding="utf-8")
    assert home.index('src="live.html"') < home.index("<pre")  # on top


def test_every_link_leads_to_a_page_and_a_place_that_are_there(pages):
    dead = []
    for path, page in pages.items():
        for target in page.links + page.loads:
            if re.match(r"https?:", target):
                continue
            file, place = urldefrag(target)
            file = (path.parent / file).resolve() if file else path
            if not file.is_file() or (
                place and file in pages and place not in pages[file].places and not place.startswith("step=")
            ):
                dead.append(f"{path.name}: {target}")
    assert not dead
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_nothing_is_loaded_from_elsewhere(pages):
    assert [target for page in pages.values() for target in page.loads if re.match(r"(https?:)?//", target)] == []


@pytest.fixture(scope="module")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


# The reference's pages are alike: one with a table, classes and code stands for them.
LOOKED_AT = ["*.html", "lessons/*.html", "derivations/*.html", "benchmarks/*.html", "docs/*.html"]
LOOKED_AT += ["reference/micrograd_bn/check.html", "reference/micrograd_bn/derivations/batch_norm.html"]


@pytest.mark.parametrize(("scheme", "width", "height"), [("light", 1280, 800), ("dark", 390, 844)], ids=["desktop", "phone"])
def test_in_a_browser_no_page_has_an_error_is_too_wide_or_inaccessible(site, address, browser, scheme, width, height):  # noqa: F811
    axe = optional("axe_playwright_python.sync_playwright").Axe()
    trouble = []
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
    page = context.new_page()
    page.on("console", lambda message: trouble.append((page.url, message.text)))
    page.on("pageerror", lambda error: trouble.append((page.url, str(error))))
    page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith((address, "data:", "about:")) else None)
    paths = [path.relative_to(site).as_posix() for pattern in LOOKED_AT for path in site.glob(pattern)]
    for path in paths:
        page.goto(f"{address}/{path}")
        if page.evaluate("document.documentElement.scrollWidth") > width:
            trouble.append((path, "wider than the window"))
        trouble += [(path, v["id"], v["nodes"][0]["html"]) for v in axe.run(page).response["violations"]]
    context.close()
    assert trouble == []
    assert len(paths) > 15
