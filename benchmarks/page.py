"""The interactive page in Chromium: how soon its numbers move, and how soon it is there."""

from __future__ import annotations

import importlib.util
import shutil
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from micrograd_bn import Tensor, explore
from micrograd_bn.engine import in_order

# Milliseconds from a number that is typed until the page is laid out anew, so many times.
CHANGED = """times => Array.from({ length: times }, (_, i) => {
    const field = document.querySelector("[data-leaf]");
    field.value = 1 + i / times;
    const start = performance.now();
    field.dispatchEvent(new Event("input"));
    document.documentElement.getBoundingClientRect();
    return performance.now() - start;
})"""
# When, in milliseconds after the navigation began, the first frame with numbers in it has been drawn.
OPENED = """new MutationObserver((_, observer) => {
    if (!document.querySelector("[data-number]")) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.opened = performance.now(); }));
}).observe(document, { childList: true, subtree: true });"""


def network() -> Tensor:
    """The loss of a 3-8-1 network on six points: a graph of single numbers."""
    rng = np.random.default_rng(0)
    *hidden, out = [[Tensor(a) for a in rng.normal(size=n).tolist()] for n in (*[4] * 8, 9)]
    loss = 0.0
    for *x, wanted in rng.normal(size=(6, 4)).tolist():
        x = [sum((w * a for w, a in zip(weights, x)), start=bias).tanh() for bias, *weights in hidden]
        loss = loss + (sum((w * a for w, a in zip(out[1:], x)), start=out[0]) - wanted) ** 2
    return loss


def measured(times: int) -> list[str]:
    """What there is to say of the page, or what is missing."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not (chromium and importlib.util.find_spec("playwright")):
        return [
            "The page is not measured: that needs Chromium on PATH (apt install chromium), and Playwright (pip install playwright)."
        ]
    from playwright.sync_api import sync_playwright

    graph = network()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        batch = explore(Path(folder, "batch.html"), np.random.default_rng(0).normal(size=(200, 1)))
        large = explore(Path(folder, "large.html"), graph)
        default = explore(Path(folder, "default.html"))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(batch.as_uri())
        changed = {}
        for zoom in tab.locator("#zooms button").all():
            zoom.click()
            tab.keyboard.press("End")  # all numbers are shown
            changed[zoom.inner_text()] = statistics.median(tab.evaluate(CHANGED, times))
        opened = []
        for _ in range(times // 10):
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            tab.add_init_script(OPENED)
            tab.goto(large.as_uri())
            opened.append(tab.wait_for_function("window.opened").json_value())
            tab.close()
        frames = ", ".join(f"{milliseconds:.1f} ms at the zoom of {name}" for name, milliseconds in changed.items())
        return [
            f"In Chromium {browser.version} the page of a 200 × 1 batch has computed and laid out its numbers anew, when one "
            f"is changed, in {frames} (medians of {times}; a frame is 16 ms).",
            f"The page of {len(in_order([graph]))} single numbers shows the first of them {statistics.median(opened):.0f} ms after "
            f"navigation began (median of {times // 10}). The default page is a file of {default.stat().st_size / 1000:.0f} kB.",
        ]
