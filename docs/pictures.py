"""The README's picture, by ``make pictures``: the graph of its first example, as that stands there."""

import contextlib
import io
import re
from pathlib import Path

from micrograd_bn import draw


def equations() -> str:
    """The picture as SVG."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    example = re.search(r"(?ms)^```python\n(.*?)^```", readme)
    assert example, "README.md has no example in Python"
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(example[1], names)
    return draw(names["y"]).svg


if __name__ == "__main__":
    (Path(__file__).parent / "equations.svg").write_text(equations(), encoding="utf-8")
