"""gradcheck: the engine's gradients of any function against differences."""

from dataclasses import replace

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, primitives
from micrograd_bn.check import gradcheck


def test_gradcheck_passes_what_is_right():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(4, 3)), random.normal(size=(3, 2))
    assert gradcheck(lambda x, w: (x @ w).tanh(), x, w) is True
    assert gradcheck(lambda x, gamma, beta: batch_norm(x, gamma, beta), Tensor(x), 2.0, [1.0, 2.0, 3.0])
    assert gradcheck(lambda x: (x**2).sum() + 1e6, x)
    assert gradcheck(lambda x: x.exp().log().sqrt(), [[0.5, 4.0]])


def test_gradcheck_names_the_input_the_element_and_both_numbers():
    def leaky(a, b):
        return (a * b).sum() + 3 * b.data[1]  # through .data, the engine does not see it

    with pytest.raises(
        AssertionError, match=r"input 1, element \[1\]: the engine's gradient is 2, and central differences give 5\b"
    ):
        gradcheck(leaky, [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(AssertionError, match=r"input 0, element \[\]: .* random weights"):
        gradcheck(lambda a: a * a.detach() * np.ones(2), 2.0)


@pytest.mark.parametrize("factor", [1 + 1e-5, -1, 0])
def test_gradcheck_notices_a_vjp_that_is_slightly_wrong(factor):
    assert gradcheck(primitives.exp, [0.5, 1.0])
    wrong = replace(primitives.exp, vjp=lambda g, y, a: (g * y * factor,))
    with pytest.raises(AssertionError):
        gradcheck(wrong, [0.5, 1.0])


def test_gradcheck_says_where_there_is_a_kink():
    with pytest.raises(
        AssertionError, match=r"gradient is 0, and central .*: there is a kink, with slope 0 before it and 1 behind"
    ):
        gradcheck(lambda a: a.relu(), [0.0])
    with pytest.raises(AssertionError) as caught:
        gradcheck(lambda a: (a * a.detach()).exp(), [1.0])
    assert "kink" not in str(caught.value)


def test_gradcheck_needs_a_tensor_back():
    with pytest.raises(TypeError, match="without a history"):
        gradcheck(lambda a: a.data * 2, [1.0])
    with pytest.raises(AssertionError, match="nan"), np.errstate(all="ignore"):
        gradcheck(lambda a: (a - 1).log(), [1.0])


def test_gradcheck_of_nothing_is_no_way_to_pass():
    with pytest.raises(ValueError, match="nothing would be checked"):
        gradcheck(lambda: Tensor(1.0))
