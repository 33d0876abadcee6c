"""Build the reference with pdoc: a page for each module, from the docstrings as they stand.

    python docs/reference/build.py FOLDER

What pdoc cannot know comes from the package's own tables: the equations are rendered where the derivation's table has them, as
MathML, which browsers draw by themselves, so that the pages need no network; a primitive shows its entry.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from pdoc import doc, render
from pygments.formatters import HtmlFormatter

import micrograd_bn
from micrograd_bn import Derivation, derivations
from micrograd_bn.primitives import Primitive

# In the order to read them in; the other modules are what it is made of.
TABLES = {name.lower(): getattr(derivations, name) for name in derivations.__all__}
USED = [
    "batchnorm",
    "derivation",
    "derivations",
    "verify",
    "prove",
    "derive",
    "draw",
    "explorer",
    "check",
    "grading",
    "nn",
    "fused",
    "cli",
]
USED += [f"derivations.{name}" for name in TABLES]
MADE_OF = [
    module.name for module in pkgutil.iter_modules(micrograd_bn.__path__) if module.name not in (*USED, "__main__", "pytest_plugin")
]


def main(out: Path) -> None:
    names = [f"micrograd_bn.{name}" for name in (*USED, *MADE_OF)]
    root, *rooms = modules = [doc.Module(importlib.import_module(name)) for name in ("micrograd_bn", *names)]
    root.submodules = rooms
    by_name = {module.modulename: module for module in modules}

    for entry in (d for module in modules for d in with_members(module)):
        if isinstance(entry, doc.Class):
            mend(entry)
        if isinstance(entry, doc.Variable) and entry.name.isupper() and not isinstance(entry.default_value, Derivation):
            entry.docstring = "@private"  # a constant of the code, explained where it is used
        entry.docstring = lists(entry.docstring)
    for name, d in TABLES.items():
        page = by_name[f"micrograd_bn.derivations.{name}"]
        for row in (*d.equations, *d.edges, *d.condensed):
            function = page.members.get(row.function.__name__)
            if function is not None:  # not one that it shares with another derivation
                function.docstring += f"\n\n{display(row.latex)}\n"
        page.docstring += table(d)
    for row in derivations.BATCH_NORM.equations:
        by_name["micrograd_bn.batchnorm"].members[row.function.__name__].docstring += f"\n\n{display(row.latex)}\n"
    for name, source in primitives():
        entry = by_name["micrograd_bn.primitives"].members[name]
        entry.docstring, entry.default_value_str = f"```python\n{source}\n```\n\n{entry.docstring}", ""
    root.docstring += overview(rooms)

    # No warning but one: pdoc looks for the types of a NamedTuple in a namespace that it does not have.
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", r"Error parsing type annotation ForwardRef\(.*\.__init__")
    render.configure(docformat="markdown", favicon="data:,", template_directory=Path(__file__).parent)
    render.env.globals["dark_code"] = HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code")
    for module in modules:
        write(out / f"{module.modulename.replace('.', '/')}.html", accessible(render.html_module(module, by_name)))
    write(out / "index.html", render.html_index(by_name))
    write(out / "search.js", render.search_index(by_name))
    print(f"{len(modules)} pages: {out / 'index.html'}")


def accessible(page: str) -> str:
    """pdoc's page, mended: links without words, or to what is not there; what scrolls needs a mouse; a heading too deep."""
    page = re.sub(r'<a class="headerlink" href="#([^"]*)">', r'<a class="headerlink" href="#\1" aria-label="Link to \1">', page)
    page = re.sub(r'<a [^>]*href="#([^"]+)"[^>]*>(.*?)</a>', lambda a: a[0] if f'id="{a[1]}"' in page else a[2], page)
    page = page.replace("<pre>", '<pre tabindex="0">')
    return page.replace("<h5>Inherited Members</h5>", "<p>Inherited Members</p>")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def with_members(entry: doc.Doc) -> Iterator[doc.Doc]:
    yield entry
    for member in entry.members.values() if isinstance(entry, doc.Namespace) else ():
        if not isinstance(member, doc.Module):
            yield from with_members(member)


def mend(entry: doc.Class) -> None:
    """What pdoc shows of a class that inherits what it is: from NamedTuple, or from a private class."""
    if hasattr(entry.obj, "_fields"):
        entry.own_members = [member for member in entry.own_members if member.name != "__init__"]
        for name in entry.obj._fields:
            comment = re.search(rf"(?m)^    {name}: .*  # (.+)$", entry.source)
            entry.members[name].docstring = comment[1] if comment else ""
    base = entry.obj.__bases__[0]
    if base.__name__.startswith("_"):
        entry.bases = doc.Class(base.__module__, base.__qualname__, base, entry.taken_from).bases
        entry.own_members = [entry.members["__init__"]]
        entry.inherited_members = {
            place: members for place, members in entry.inherited_members.items() if place[1] != base.__qualname__
        }


def lists(docstring: str) -> str:
    """The docstrings' columns, a name, two spaces or more, and what it is, as lists; an item goes on where lines are indented."""
    lines, inside = [], False
    for line in docstring.splitlines():
        if start := re.match(r"([\w\"][\w\", ]*?) {2,}(?=\S)", line):
            if not inside and lines and lines[-1]:
                lines.append("")
            inside = True
            lines.append(f"- **{start[1]}** – {line[start.end() :]}")
        elif inside and line.startswith("  "):
            lines.append(f"  {line.strip()}")
        else:
            inside = inside and not line
            lines.append(line)
    return "\n".join(lines)


def display(latex: str) -> str:
    return f'<div class="equation">{convert(latex, display="block")}</div>'


def table(d: Derivation) -> str:
    """A derivation on one page, each equation and local derivative with the function that computes it."""
    rows = []
    for row in (*d.equations, *d.edges, *d.gradients, *d.condensed):
        number = f"({row.number})" if hasattr(row, "number") else " ".join(f"({n})" for n in row.numbers)
        number = "condensed" if row in d.condensed else number
        function = "" if row in d.gradients else f"<code>{row.function.__name__}</code>"
        rows.append(f"<tr><td>{number}</td><td tabindex=0>{convert(row.latex, display='block')}</td><td>{function}</td></tr>")
    n, k = len(d.equations), len(d.equations) + len(d.edges)
    headings = {0: "Forward", n: "Backward: a local derivative for each edge", k: "The gradients, and the edges they add up"}
    for i, heading in reversed(headings.items()):
        rows.insert(i, f'<tr><th colspan="3">{heading}</th></tr>')
    return f'\n\n<div class="derivation"><table>{"".join(rows)}</table></div>\n'


def primitives() -> Iterator[tuple[str, str]]:
    """The name and the source of each entry of the table of primitives."""
    module = importlib.import_module("micrograd_bn.primitives")
    source = inspect.getsource(module)
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            name = (node.targets[0] if isinstance(node, ast.Assign) else node.target).id
            if isinstance(getattr(module, name), Primitive):
                yield name, ast.get_source_segment(source, node)


def overview(rooms: list[doc.Module]) -> str:
    links = [f'<a href="micrograd_bn/derivations/{name}.html">{d.name}</a>' for name, d in TABLES.items()]
    text = f"\n\nThe derivations, rendered, with the function that computes each equation: {', '.join(links)}.\n"
    for heading, names in (("What is used", USED), ("What it is made of", MADE_OF)):
        text += f"\n\n**{heading}**\n\n"
        for room in rooms:
            if room.name in names:
                first = room.docstring.partition("\n\n")[0].replace("\n", " ")
                text += f"- [`{room.name}`](micrograd_bn/{room.name}.html) – {first}\n"
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
