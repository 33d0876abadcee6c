"""Pictures: what is in them, with values and gradients."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm
from micrograd_bn.draw import draw


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_primitives_graph_has_every_primitive_with_values_and_gradients():
    y = batch_norm(Tensor([[1.0], [2.0], [6.0]], "x"), Tensor(2.0, "gamma"), Tensor(0.0, "beta"))
    y.backward(np.ones((3, 1)))
    shown = texts(draw(y).svg)
    assert {"x", "gamma", "beta", "mu", "var", "x_hat", "y"} <= set(shown)
    assert [shown.count(symbol) for symbol in ("mean", "−", "^", "√", "÷", "×", "+")] == [2, 2, 1, 1, 1, 1, 2]
    assert "data 3×1: mean 3, 1 … 6" in shown
    assert any(text.startswith("grad 3×1") for text in shown)


def test_saving(tmp_path):
    graph = draw(Tensor(1.0, "a") + 1)
    assert graph.save(tmp_path / "g.svg").read_text(encoding="utf-8") == graph.svg
    assert graph.save(tmp_path / "g.dot").read_text(encoding="utf-8") == graph.source
    with pytest.raises(ValueError, match=r"\.svg or \.dot"):
        graph.save(tmp_path / "g.bmp")
    assert graph._repr_mimebundle_() == {"image/svg+xml": graph.svg}
