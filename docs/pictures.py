"""The README's pictures: the graph of its first example, by ``make pictures``, and the page as it moves, by ``make film``."""

import contextlib
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

from micrograd_bn import draw, explore


def equations() -> str:
    """The picture as SVG."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example = re.search(r"(?ms)^```python\n(.*?)^```", readme)
    assert example, "README.md has no example in Python"
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example[1], names)
    return draw(names["y"]).svg


def film(to: Path) -> None:
    """The page as it moves: a number dragged, then the steps back along the arrows."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    frames, times = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        page_file = explore(Path(folder) / "page.html", [1.0, 2.0, 6.0, 3.0], 2.0, 0.5, [1.0, 0.0, 2.0, -1.0], columns=["x"])
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760}, reduced_motion="reduce", color_scheme="light")
        page.goto(page_file.as_uri() + "#step=4")

        def shot(milliseconds: int) -> None:
            with Image.open(io.BytesIO(page.screenshot())) as image:
                frames.append(image.convert("RGB").resize((960, 570), Image.Resampling.LANCZOS))
            times.append(milliseconds)

        shot(900)
        point = page.locator("#plot circle[aria-label='x[2]']").bounding_box()
        page.mouse.move(point["x"] + 5, point["y"] + 5)
        page.mouse.down()
        for pixels in (-10, -25, -45, -70, -95, -70, -45, -25, -10):
            page.mouse.move(point["x"] + 5 + pixels, point["y"] + 5)
            shot(130)
        page.mouse.up()
        for _ in range(9):
            page.keyboard.press("ArrowRight")
            shot(900)
        browser.close()
    frames[0].save(to, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=55, method=4)


if __name__ == "__main__":
    here = Path(__file__).parent
    if sys.argv[1:] == ["page"]:
        film(here / "page.webp")
    else:
        (here / "equations.svg").write_text(equations(), encoding="utf-8")
