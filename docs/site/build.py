"""Build the site, around the live page: the README, the lessons, the derivations, the benchmarks, teaching and the reference.

    python docs/site/build.py FOLDER

What is there is found, not listed: a lesson, a page in docs/ or a derivation more is a page more. A link between files of the
repository becomes one between pages; one to a file without a page becomes words. Nothing is fetched, by the build or by the pages.
"""

from __future__ import annotations

import base64
import json
import os
import re
import runpy
import shutil
import sys
from html import escape
from pathlib import Path
from string import Template

import markdown2
from latex2mathml.converter import convert
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from micrograd_bn import derivations, explore

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXTRAS = ["tables", "fenced-code-blocks", "header-ids", "latex", "cuddled-lists", "code-friendly"]
NAV = {
    "index.html": "Home",
    "lessons/index.html": "Lessons",
    "derivations/index.html": "Derivations",
    "reference/micrograd_bn.html": "Reference",
    "benchmarks/results.html": "Benchmarks",
    "docs/teaching.html": "Teaching",
}
# Where a file of the repository is, on the site; what is not named stands where it stands in the repository.
MOVED = {"README.md": "index.html", "notebooks": "lessons/index.html"}
LIVE = '<iframe class="live wide" src="live.html" title="The derivation of batch norm, step by step"></iframe>'
LIVE += (
    '<p class="hint">Step forward through the equations, and back along the edges. <a href="live.html">The page by itself.</a></p>'
)


def main(out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    explore(made(out / "live.html"))
    styles = {name: HtmlFormatter(style=style).get_style_defs(".codehilite") for name, style in STYLES.items()}
    (out / "site.css").write_text(Template((HERE / "site.css").read_text(encoding="utf-8")).substitute(styles), encoding="utf-8")

    texts = {path: path.read_text(encoding="utf-8") for path in found("*.md", "docs/**/*.md", "benchmarks/*.md")}
    texts |= {path: lesson(path, out) for path in found("notebooks/*.ipynb")}
    pages = {path: page_of(path) for path in texts}
    for path, text in texts.items():
        content = text if path.suffix == ".ipynb" else html(text)
        content = content if "<h1" in content else f"<h1>{path.parent.name.capitalize()}</h1>{content}"
        if path == ROOT / "README.md":
            content = content.replace("<div class", f"{LIVE}\n<div class", 1)  # before the first lines of code
        write(out, pages[path], linked(content, path, pages, out))
    write(out, "lessons/index.html", index("Lessons", {p: t for p, t in texts.items() if p.suffix == ".ipynb"}, pages))
    on_paper = {p: t for p, t in texts.items() if p.parent.name == "derivations"}
    write(out, "derivations/index.html", index("Derivations", on_paper, pages) + tables())
    runpy.run_path(str(ROOT / "docs" / "reference" / "build.py"))["main"](out / "reference")
    for path in (out / "reference").rglob("*.html"):
        home = f'<a class="pdoc-button" href="{os.path.relpath(out / "index.html", path.parent)}">micrograd_bn</a>'
        path.write_text(path.read_text(encoding="utf-8").replace("<div>", f"<div>{home}", 1), encoding="utf-8")
    print(f"{len(list(out.rglob('*.html')))} pages: {out / 'index.html'}")


STYLES = {"light": "default", "dark": "github-dark"}


def found(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def page_of(path: Path) -> str:
    name = path.relative_to(ROOT).as_posix()
    return MOVED.get(name) or re.sub(
        r"\.\w+$", ".html", name.replace("notebooks/", "lessons/").replace("docs/derivations/", "derivations/")
    )


def write(out: Path, page: str, content: str) -> None:
    root = "../" * page.count("/")
    heading = re.search(r"(?s)<h1.*?>(.*?)</h1>", content)
    title = re.sub("<.*?>", "", heading[1]) if heading else page
    nav = " ".join(
        f'<a href="{root}{target}"{" aria-current=page" if target == page else ""}>{name}</a>' for target, name in NAV.items()
    )
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    made(out / page).write_text(template.substitute(root=root, title=title, nav=nav, content=content), encoding="utf-8")


# ---- From Markdown and notebooks to HTML


def html(text: str) -> str:
    return reachable(markdown2.markdown(text, extras=EXTRAS))


def reachable(content: str) -> str:
    """What may be wider than a phone scrolls by itself, with the keyboard too; and a corner without words is no heading."""
    content = content.replace("<pre>", '<pre tabindex="0">').replace("<th></th>", "<td></td>")
    wide = r'(?s)<table.*?</table>|<math[^>]* display="block".*?</math>'
    return re.sub(wide, r'<div class="scroll" tabindex="0">\g<0></div>', content)


def lesson(path: Path, out: Path) -> str:
    """A notebook's cells and what they show, as they are committed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    heading, parts = "", []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(html(source))
            heading = (re.findall(r"(?m)^#+ (.*)$", source) or [heading])[-1]
        else:
            parts.append(reachable(highlight(source, PythonLexer(), HtmlFormatter(cssclass="codehilite"))))
            parts += [f'<div class="output">{shown(output, heading, out)}</div>' for output in cell["outputs"]]
    return "\n".join(parts)


def shown(output: dict, heading: str, out: Path) -> str:
    """What a cell shows; a picture is described by the heading that it stands under."""
    data = {kind: "".join(value) for kind, value in output.get("data", {"text/plain": output.get("text", "")}).items()}
    if "text/latex" in data:
        # latex2mathml knows align*, and no distances between lines
        latex = data["text/latex"].strip("$ ").replace("{aligned}", "{align*}")
        return reachable(convert(re.sub(r"\\\\\[\w+\]", r"\\\\", latex), display="block"))
    for kind in ("image/svg+xml", "image/png"):
        if kind in data:
            content = data[kind] if kind.endswith("png") else base64.b64encode(data[kind].encode()).decode()
            return f'<img src="data:{kind};base64,{content}" alt="{escape(f"What the lines above show: {heading}")}">'
    if "text/html" in data:
        for page in re.findall(r'src="(out/[\w./]+)"', data["text/html"]):  # which the lesson writes when it runs
            explore(made(out / "lessons" / page))
        return reachable(re.sub(r"<iframe(?![^>]*title)", '<iframe title="The live page"', data["text/html"]))
    return f'<pre tabindex="0">{escape(data["text/plain"])}</pre>'


# ---- Links, and pages of links


def linked(content: str, path: Path, pages: dict[Path, str], out: Path) -> str:
    """The links of a file to others of the repository, as the site has them; pictures come along."""
    here = (out / pages[path]).parent

    def link(match: re.Match[str]) -> str:
        whole, attribute, target, place, inside = (
            match["whole"],
            match["attribute"],
            match["target"],
            match["place"] or "",
            match["inside"],
        )
        file = (path.parent / target).resolve()
        if (here / target).exists() and attribute == "src":  # a live page
            return whole
        if file in pages or file.relative_to(ROOT).as_posix() in MOVED:
            return f'<a href="{os.path.relpath(out / page_of(file), here)}{place}">{inside}</a>'
        if attribute == "src":
            shutil.copy(file, made(out / file.relative_to(ROOT)))
            return whole.replace(f'"{target}"', f'"{os.path.relpath(out / file.relative_to(ROOT), here)}"')
        return inside

    local = r'(?!\w+:|#)(?P<target>[^"#]+)'
    content = re.sub(rf'(?s)(?P<whole><a (?P<attribute>href)="{local}(?P<place>#[^"]*)?">(?P<inside>.*?)</a>)', link, content)
    return re.sub(rf'(?P<whole><(?:img|iframe)[^>]*? (?P<attribute>src)="{local}(?P<place>)(?P<inside>)"[^>]*>)', link, content)


def index(title: str, texts: dict[Path, str], pages: dict[Path, str]) -> str:
    """A list of pages by their headings, each with the first sentences below."""
    entries = ""
    for path, text in texts.items():
        content = text if path.suffix == ".ipynb" else html(text)
        name, below = re.search(r"(?s)<h1.*?>(.*?)</h1>\s*(<p>.*?</p>)?", content).groups()
        entries += f'<h2><a href="{Path(pages[path]).name}">{name}</a></h2>{below or ""}'
    return f"<h1>{title}</h1>{entries}"


def tables() -> str:
    """The derivations that are there, with their equations."""
    entries = ""
    for name in derivations.__all__:
        d = getattr(derivations, name)
        lines = reachable("".join(convert(e.latex, display="block") for e in d.equations))
        entries += f'<h2><a href="../reference/micrograd_bn/derivations/{name.lower()}.html">{d.name.capitalize()}</a></h2>{lines}'
    return entries


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
