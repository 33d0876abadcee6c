"""What can be wrong with the numbers in a graph: one is not finite, or is older than what it was computed from."""

import time
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, fused_batch_norm, nn, scalars
from micrograd_bn.check import first_not_finite
from micrograd_bn.faults import described, outdated
from micrograd_bn.primitives import Primitive
from tests.conftest import optional

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's own, of what is not finite


def sentence(y):
    return str(first_not_finite(y))


# ---- the first that is not finite


def test_where_all_is_finite_there_is_none():
    x = Tensor([1.0, 2.0, 6.0], "x")
    y = batch_norm(x, 2.0, 0.5)
    assert first_not_finite(y) is None
    y.backward(np.ones(3))
    assert first_not_finite(y) is None
    assert first_not_finite(Tensor(1.0) > 0) is None  # a truth is finite


def test_the_first_value_in_the_order_of_computation_is_named_with_its_operation_inputs_and_numbers():
    x = Tensor([1.0, 2.0, 3.0, -4.0], "x")
    root = x**0.5
    root.label = "root"
    y = (root * 2 + 1).sum()
    found = first_not_finite(y)
    assert (found.node, found.what, found.at) == (root, "value", (3,))
    assert np.isnan(found.number)
    assert str(found) == "the value of 'root' (pow of 'x', exponent 0.5) is NaN at [3], where 'x' is -4"


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda a, b: a.log(), "log of 'a' is -inf at [0], where 'a' is 0"),
        (lambda a, b: b / a, "div of 'b' and 'a' is inf at [0], where 'b' is 3 and 'a' is 0"),
        (lambda a, b: a / 0.0, "div of 'a' and 0 is NaN at [0], where 'a' is 0"),
        (lambda a, b: a + np.array([1.0, np.inf]), "add of 'a' and a constant is inf at [1]: the constant is not finite"),
        (lambda a, b: (b * 1e308).exp() + a, "mul of 'b' and 1e+308 is inf, where 'b' is 3"),
        (lambda a, b: (a * 5e307 + 5e307).sum(), "sum of the result of add is inf: its input is finite, from 5e+307 to 1.5e+308"),
        (
            lambda a, b: np.cumsum(a * 5e307 + 5e307),
            "cumsum of the result of reshape, axis 0 is inf at [1]: its input is finite, from 5e+307 to 1.5e+308",
        ),
        (
            lambda a, b: a @ (a + 1.7e308),
            "matmul of 'a' and the result of add is inf: its inputs are finite, from 0 to 2 and 1.7e+308",
        ),
        (
            lambda a, b: (a * np.ones((2, 2))) @ np.full((2, 2), 1e308),
            "matmul of the result of mul and a constant is inf at [0, 0]: its input is finite, from 0 to 2",
        ),
        (lambda a, b: APART(a), "apart of 'a' is NaN at [0]: its input is finite, from 0 to 2"),
        (lambda a, b: SHARE(a), "share of 'a' is inf at [0]: its input is finite, from 0 to 2"),
    ],
)
def test_the_sentence_says_what_went_in(compute, expected):
    assert sentence(compute(Tensor([0.0, 2.0], "a"), Tensor(3.0, "b"))) == f"the value of {expected}"


# Of one number alone they are another: 0, NaN and, as a gradient, 2.
APART = Primitive("apart", "apart", lambda a: (a - np.sum(a)) ** 0.5, None)
SHARE = Primitive("share", "share", lambda a: np.sum(a) / a, None)
LEFT = Primitive("left", "left", lambda a: a * 1, lambda g, y, a: (g / (1 - np.sum(a)),))


def test_a_leaf_that_is_not_finite_itself_is_named_as_such():
    a = Tensor([[1.0, np.inf], [2.0, np.nan]], "a")
    assert sentence((a * 2).sum()) == "the value of 'a' is inf at [0, 1]: nothing computed it, so it came in with the data"
    assert sentence(Tensor(np.nan) + 1).startswith("the value of a leaf without a label is NaN: nothing computed it")


def test_a_value_comes_before_a_gradient_and_a_gradient_in_the_order_of_the_backward_pass():
    x = Tensor([4.0, 0.0], "x")
    root = x.sqrt()
    root.label = "root"
    y = (root * 3).sum()
    assert first_not_finite(y) is None
    y.backward()
    found = first_not_finite(y)
    assert (found.node, found.what, found.at) == (x, "gradient", (1,))
    assert str(found) == (
        "the gradient of 'x' is inf at [1]: 'root' (sqrt of 'x') sends it back, where its own gradient is 3 and 'x' is 0"
    )

    x, w = Tensor([4.0, 0.0], "x"), Tensor([1.0, 1.0], "w")
    h = x * w
    h.label = "h"
    y = h.sqrt().sum()
    y.backward()
    assert first_not_finite(y).node is h  # and x and w get theirs from there

    b = Tensor([1e-200], "b")
    y = (1 / b).sum()
    y.backward()
    assert sentence(y).endswith("div of 1 and 'b' sends it back, where its own gradient is 1 and 'b' is 1e-200")


def test_of_several_that_send_a_gradient_back_the_one_that_is_to_blame_is_named():
    x = Tensor([4.0, 0.0], "x")
    y = x * 2 + x.sqrt()
    y.backward(np.ones(2))
    assert "[1]: sqrt of 'x' sends it back" in sentence(y)

    x = Tensor(0.0, "x")
    y = x.sqrt()
    y.backward()
    assert "inf: sqrt of 'x' sends it back" in sentence(np.array([x * 3, y], dtype=object))  # x * 3 has had no backward pass


def test_a_gradient_that_takes_all_numbers_is_no_single_numbers():
    x = Tensor([0.5, 0.5], "x")
    y = LEFT(x).sum()
    y.backward()
    assert sentence(y).endswith("left of 'x' sends it back, though its own gradient is finite, 1")
    x = Tensor([4.0, 0.0], "x")
    y = (x ** np.array([[0.5], [0.5]])).sum()
    y.backward()
    assert sentence(y) == (
        "the gradient of 'x' is inf at [1]: pow of 'x', exponent [[0.5] [0.5]] sends it back, though its own gradient is finite, 1"
    )


def test_a_gradient_that_came_from_outside_or_overflows_in_the_sum_is_said_to():
    x = Tensor([1.0, 2.0], "x")
    y = x * 2
    y.label = "y"
    y.backward(np.array([0.0, np.nan]))
    assert sentence(y) == "the gradient of 'y' (mul of 'x' and 2) is NaN at [1]: it is what backward() was given"

    for label, name, variable in (("w", "'w'", "w"), ("x[1]", "'x[1]'", "x"), (None, "a leaf without a label", "x")):
        x = Tensor(0.5, label)
        y = x * 1e308 + x * 1e308
        y.backward()
        assert sentence(y) == (
            f"the gradient of {name} is inf: the terms that it adds up are finite here, so their sum overflows, or it is left over "
            f"from another pass ({variable}.grad = None starts afresh)"
        )


def test_an_array_of_scalars_is_one_graph():
    x = scalars([4.0, -1.0, -2.0], "x")
    y = np.sqrt(x)
    assert sentence(y) == "the value of sqrt of 'x[1]' is NaN, where 'x[1]' is -1"
    assert first_not_finite(y[0]) is None
    with pytest.raises(TypeError, match=r"needs a Tensor, or an array of Tensors"):
        first_not_finite([1.0, 2.0])


def test_a_matrix_product_of_single_rows_is_not_taken_for_element_by_element():
    a = Tensor([[1e200, 1.0]], "a")
    assert sentence(a @ Tensor([[1e200], [0.0]], "b")).endswith(
        "is inf at [0, 0]: its inputs are finite, from 1 to 1e+200 and from 0 to 1e+200"
    )


def test_other_kinds_of_number():
    assert first_not_finite(Tensor(Fraction(1, 3)) * 2) is None
    assert first_not_finite(Tensor(np.array([Decimal("0.1"), Decimal(2)])).sum()) is None
    assert "NaN at [1]" in sentence(Tensor(np.array([Decimal("0.1"), Decimal("NaN")]), "x"))
    assert "-inf at [0]" in sentence(Tensor(np.array([Decimal("-Infinity"), Decimal(1)]), "x"))


def test_symbols_are_finite():
    sympy = optional("sympy")
    a = Tensor(sympy.Symbol("a"), "a")
    assert first_not_finite(a.exp() / 2) is None
    assert described(a + sympy.Symbol("b")) == "add of 'a' and b"


def test_it_works_inside_layers():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    net[2].weight.data[0, 1] = np.inf
    assert "'weight' is inf at [0, 1]: nothing computed it" in sentence(net(np.ones((4, 2))))


def test_a_fused_layer_is_looked_at_and_left_as_it_is():
    y = fused_batch_norm(Tensor([1.0, 1.0], "x"), Tensor([2.0], "gamma"), Tensor([0.0], "beta"), eps=0.0)
    y.label = "y"
    found = dict(y.params["found"])
    assert sentence(y).startswith(
        "the value of 'y' (fused_batch_norm of 'x', 'gamma' and 'beta', axis 0) is NaN at [0]: its inputs are finite"
    )
    assert y.params["found"] == found


def test_a_million_nodes():
    x = Tensor(1.0, "x")
    y = x
    for _ in range(1_000_000):
        y = y + 1e-9
    y = (y - 10).log()
    start = time.perf_counter()
    assert sentence(y).startswith("the value of log of the result of sub is NaN, where")
    assert time.perf_counter() - start < 30


# ---- older than what it was computed from


def test_what_was_just_computed_is_up_to_date():
    random = np.random.default_rng(0)
    x, w = Tensor(random.normal(size=(8, 3)).astype(np.float32)), Tensor(random.normal(size=(3, 4)).astype(np.float32))
    h = batch_norm(x @ w, 1.0, 0.0)
    for y in (
        np.where(h > 0, h, 0.1 * h).sum(),
        np.einsum("ij,ij->i", h, h)[2:, None].T.reshape(-1),
        h.max(axis=0) / h.std(axis=0),
        fused_batch_norm(x, 1.0, 0.0).tanh(),
        batch_norm(scalars([1.0, 2.0, 6.0]), 1.0, 0.0),
        Tensor([np.nan, -1.0]).log(),
        Tensor(0.0) / 0.0,
    ):
        assert outdated(y) == []


def test_what_an_assignment_has_left_behind_is_found_in_the_order_of_computation():
    x, w = Tensor([1.0, 2.0], "x"), Tensor(3.0, "w")
    h = x * w
    y = (h - w).sum() + x.mean()
    w.data -= 1
    assert outdated(y) == [h, y.inputs[0].inputs[0]]  # not what follows from them, nor what has nothing to do with w


def test_a_change_in_place_is_found_and_a_view_changes_with_it():
    w = Tensor([[1.0, 2.0], [3.0, 4.0]], "w")
    y = w.T.sum(axis=0)
    w.data *= 2
    assert outdated(y) == [y]


def test_nan_is_nan_and_no_news():
    x = Tensor([np.nan, 1.0])
    y = x * 2
    assert outdated(y) == []
    x.data[1] = 2.0
    assert outdated(y) == [y]
    x.data[:] = np.nan, 1.0
    assert outdated(y) == []
    x.data[1] = np.nan
    assert outdated(y) == [y]


def test_an_input_of_another_shape_by_now():
    x = Tensor([1.0, 2.0])
    y = x * np.ones(2)
    x.data = np.ones(3)
    assert outdated(y) == [y]


@pytest.mark.parametrize("number", [Decimal(1), np.array([Decimal(1)])], ids=["one", "an array"])
def test_other_kinds_of_number_are_not_computed_again(number):
    x = Tensor(number)
    y = x * 2
    x.data = number * 3
    assert outdated(y) == []


def test_a_fused_layer_is_computed_again_and_what_it_keeps_stays_as_it_is():
    x = Tensor([1.0, 2.0, 6.0], "x")
    y = fused_batch_norm(x, 2.0, 0.5)
    found, kept = y.params["found"], dict(y.params["found"])
    assert outdated(y) == []
    x.data = x.data**2
    assert outdated(y) == [y]
    assert list(found) == list(kept) and all(found[name] is kept[name] for name in found)
