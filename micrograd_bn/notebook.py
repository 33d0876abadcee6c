"""What a terminal shows of a report, and a notebook of a result that stands in its last line: a table, a page inline."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Column, Table
    from rich.text import Text

    Concrete = Path
else:
    Concrete = type(Path())  # Path itself cannot be derived from before Python 3.12


class Tabular(Protocol):
    """What shows itself as a table: a report, a proof, a check."""

    def __rich__(self) -> Table:
        """The table, for the terminal."""


def as_table(title: str, caption: str | Text, *columns: Column | str, expand: bool = False) -> Table:
    """A report's table, still without its rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    head, foot = Text(title, "table.title"), caption if isinstance(caption, Text) else Text(caption, "table.caption")
    how: dict[str, Any] = {"title_justify": "left", "caption_justify": "left", "expand": expand}
    return Table(*columns, box=box.SIMPLE_HEAD, title=head, caption=foot, **how)


def as_text(report: Tabular) -> str:
    """What rich would show, as plain text: in Jupyter, and where FORCE_COLOR is set, too."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=110, color_system=None, force_jupyter=False).print(report)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def as_html(report: Tabular) -> str:
    """The table that a terminal shows, in HTML: the same words. What is wrong is bold; there is no colour, so any theme will do."""
    table = report.__rich__()
    ends = [row.end_section for row in table.rows]
    aligned = [f"text-align: {column.justify}" for column in table.columns]
    head = "".join(_cell("th" if column.header else "td", column.header, style) for column, style in zip(table.columns, aligned))
    body = ""
    for cells, end in zip(zip(*(column.cells for column in table.columns)), ends):
        line = "; border-bottom: 1px solid" if end else ""
        body += f"<tr>{''.join(_cell('td', cell, style + line) for cell, style in zip(cells, aligned))}</tr>"
    title, caption = (_text(words or "").replace("\n", "<br>") for words in (table.title, table.caption))
    return f"<p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{caption}</p>"


def _cell(tag: str, content: RenderableType, style: str) -> str:
    return f'<{tag} style="{style}">{_text(content)}</{tag}>'


def _text(content: RenderableType) -> str:
    from rich.text import Text

    text = content if isinstance(content, Text) else Text.from_markup(str(content))
    bold = any("bold" in str(style) for style in (text.style, *(span.style for span in text.spans)))
    return f"<b>{escape(text.plain)}</b>" if bold else escape(text.plain)


class Page(Concrete):
    """The path of a page that ``explore`` wrote: a ``pathlib.Path`` that a notebook shows as the page itself.

    The page is shown in a frame with a sandbox: its script runs, and reaches nothing outside. Paths that are derived from this one
    are plain in all but their class.
    """

    written = False  # only what explore itself returns is known to be a page

    def _repr_html_(self) -> str | None:
        if not self.written or not self.is_file():
            return None
        page = escape(self.read_text(encoding="utf-8"))
        style = "box-sizing: border-box; width: 100%; height: 820px; border: 1px solid #8886; resize: vertical"
        # what is inside shows where frames are taken out: in a notebook that is not trusted, or on GitHub
        instead = f"{escape(self.name)} is a page; it shows here once the cell is run, or the notebook trusted."
        frame = f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="{escape(self.name)}" style="{style}">{instead}</iframe>'
        return f"{frame}\n<script>{AS_TALL_AS_IT_NEEDS}</script>"


# The page says how tall it is, and the frame that it comes from becomes so: once for all frames of a notebook.
AS_TALL_AS_IT_NEEDS = """
if (!window.framesOfPages) {
  window.framesOfPages = true;
  window.addEventListener("message", ({ source, data }) => {
    const frame = [...document.querySelectorAll("iframe[srcdoc]")].find((frame) => frame.contentWindow === source);
    if (frame && Number.isFinite(data?.page)) frame.style.height = `${Math.min(Math.max(data.page, 300), 5000) + 2}px`;
  });
}
"""
