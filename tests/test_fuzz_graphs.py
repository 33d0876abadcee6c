"""Whatever the graph and its labels: it is drawn, stepped through, traced and derived, or an error says in words why not.

Nothing is half written: a file is whole, or it is not there.
"""

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import strategies as st

from micrograd_bn import Tensor, derive, draw, explore
from micrograd_bn.draw import ZOOMS
from micrograd_bn.numbers.program import trace
from tests.conftest import optional
from tests.strategies import DTYPES, programs, prop
from tests.test_properties import draw_leaves

labels = st.one_of(
    st.none(), st.sampled_from(["x", "legend", "\\", '"', "</script>", "a\nb", "{|}", '"""', "ª", "a"]), st.text(max_size=4)
)


@st.composite
def results(draw, dtypes=("float64",), **sizes):
    """The result of a random graph, with labels here and there, most often after its backward pass."""
    program = draw(programs(**sizes))
    leaves, dy = draw_leaves(draw(st.data()), program, draw(st.sampled_from(dtypes)))
    with np.errstate(all="ignore"):
        y = program([Tensor(a, label=draw(labels)) for a in leaves])
        y.label = draw(labels)
        if draw(st.integers(0, 3)):
            y.backward(dy)
    return y


def written(name, write):
    """What stands in the file that ``write`` was given to write, or None where an error has said why there is none."""
    with TemporaryDirectory() as folder, np.errstate(all="ignore"):
        path = Path(folder) / name
        try:
            write(path)
        except (ValueError, TypeError) as error:
            assert len(str(error)) > 20, repr(error)
            assert not list(Path(folder).iterdir())
            return None
        assert list(Path(folder).iterdir()) == [path]
        return path.read_text(encoding="utf-8")


@prop(20, y=results(DTYPES), zoom=st.sampled_from(ZOOMS), precision=st.integers(1, 17), direction=st.sampled_from(("TB", "LR")))
def test_any_graph_is_drawn_or_too_fine_a_zoom_refused(y, zoom, precision, direction):
    svg = written("graph.svg", lambda path: draw(y, zoom, precision=precision, direction=direction).save(path))
    assert zoom == "scalars" or svg is not None
    if svg is not None:
        assert ET.fromstring(svg).tag.endswith("svg")


class Whole(HTMLParser):
    """Whether the page's last tag is there."""

    ended = False

    def handle_endtag(self, tag):
        self.ended = tag == "html"


@prop(10, y=results(DTYPES))
def test_any_graph_has_its_page_or_what_it_cannot_have_is_said(y):
    page = written("page.html", lambda path: explore(path, y))
    if page is not None:
        parser = Whole()
        parser.feed(page)
        assert parser.ended


@prop(20, y=results(DTYPES), reuse=st.booleans())
def test_any_graph_is_traced_and_what_is_saved_is_python(y, reuse):
    module = written("backward.py", lambda path: trace(y, reuse=reuse).save(path))
    assert module is not None
    compile(module, "backward.py", "exec")


def test_two_labels_that_python_reads_as_one_name_are_two_arguments():
    compile(str(trace(Tensor(1.0, "a") * Tensor(2.0, "ª"))), "backward.py", "exec")


@prop(4, y=results(moves=2), ending=st.sampled_from(("html", "tex", "md", "txt")))
def test_any_graph_is_derived_or_what_has_no_rule_is_said(y, ending):
    optional("sympy")
    paper = written(f"paper.{ending}", lambda path: derive(y).save(path))
    assert paper is None or ("Every line was checked" in paper and "every ." not in paper)


@pytest.mark.parametrize(
    ("write", "name"),
    [(lambda path: draw(Tensor(1.0) * 2).save(path), "file.svg"), (lambda path: explore(path, Tensor(1.0) * 2), "file.html")],
)
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, write, name):
    path = tmp_path / name
    path.write_text("before")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("micrograd_bn.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(name, "before")]
