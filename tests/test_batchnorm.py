"""batch_norm: its graph has the derivation's edges, its options do what they say, bad input gets a clear error."""

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, derivations, fused_batch_norm, grad, scalars
from micrograd_bn.batchnorm import mean, normalize, variables, variance
from tests.conftest import optional


def test_the_graph_has_seven_variables_and_nine_edges(random):
    x, gamma, beta = Tensor(random.normal(size=(4, 2))), Tensor([1.0, 2.0]), Tensor([0.0, 1.0])
    y = batch_norm(x, gamma, beta)
    assert (y.label, y.equation.number, list(y.equation.inputs)) == ("y", 4, ["x_hat", "gamma", "beta"])
    x_hat = y.equation.inputs["x_hat"]
    assert (x_hat.label, x_hat.equation.number, list(x_hat.equation.inputs)) == ("x_hat", 3, ["x", "mu", "var"])
    var, mu = x_hat.equation.inputs["var"], x_hat.equation.inputs["mu"]
    assert (var.equation.number, list(var.equation.inputs)) == (2, ["x", "mu"])
    assert (mu.equation.number, list(mu.equation.inputs)) == (1, ["x"])
    assert var.equation.inputs == {"x": x, "mu": mu}


def test_images_are_normalised_channel_by_channel(random):
    x = random.normal(3, 2, size=(4, 3, 8, 8))
    y = batch_norm(x, np.ones((3, 1, 1)), np.zeros((3, 1, 1)), axis=(0, 2, 3))
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, atol=1e-4)


def test_an_axis_may_be_numpys_integer(random):
    x = random.normal(size=(4, 3))
    for axis, same in ((np.int64(1), 1), ((np.int64(0), np.int64(1)), (0, 1))):
        np.testing.assert_array_equal(batch_norm(x, 1.0, 0.0, axis=axis), batch_norm(x, 1.0, 0.0, axis=same))
        t = Tensor(x)
        t.mean(axis=axis, keepdims=True).sum().backward()
        np.testing.assert_array_equal(t.grad, np.full((4, 3), 1 / (3 if same == 1 else 12)))


def test_layer_norm_is_the_last_axis(random):
    x = random.normal(3, 2, size=(4, 6))
    np.testing.assert_allclose(batch_norm(x, 1.0, 0.0, axis=-1), batch_norm(x.T, 1.0, 0.0, axis=0).T, rtol=1e-12, atol=1e-14)


def test_gamma_and_beta_may_have_each_shape_that_broadcasts_to_xs(random):
    x = random.normal(size=(4, 3))
    x_hat = batch_norm(x, 1.0, 0.0)
    for shape in ((4, 3), (1, 3), (4, 1), (1, 1), (3,), (1,), ()):
        gamma, beta = random.normal(size=(2, *shape))
        np.testing.assert_array_equal(batch_norm(x, gamma, beta), gamma * x_hat + beta)


def test_an_array_gives_an_array_and_a_tensor_a_tensor(random):
    x = random.normal(size=(4, 2))
    assert isinstance(batch_norm(x, 1.0, 0.0), np.ndarray)
    assert isinstance(batch_norm(Tensor(x), 1.0, 0.0), Tensor)
    assert isinstance(batch_norm(x, Tensor([1.0, 2.0]), 0.0), Tensor)
    assert isinstance(batch_norm([[1, 2], [3, 4]], 1, 0), np.ndarray)


@pytest.mark.parametrize("axis", [0, 1, (0, 1), -1])
def test_on_scalars_the_same_numbers_with_a_node_each(random, axis):
    data, dy = random.normal(size=(4, 2)), random.normal(size=(4, 2))
    x, gamma, beta = scalars(data, "x"), scalars([2.0, 3.0], "gamma"), scalars([0.5, 1.0], "beta")
    y = batch_norm(x, gamma, beta, axis=axis)
    assert y[1, 0].label == "y[1,0]"
    (y * dy).sum().backward()

    arrays = [Tensor(data), Tensor([2.0, 3.0]), Tensor([0.5, 1.0])]
    batch_norm(*arrays, axis=axis).backward(dy)
    for nodes, array in zip((x, gamma, beta), arrays):
        np.testing.assert_allclose(np.vectorize(lambda node: node.grad)(nodes), array.grad, rtol=1e-12, atol=1e-13)


def test_one_gamma_may_serve_a_batch_of_scalars():
    gamma = Tensor(2.0)
    y = batch_norm(scalars([1.0, 2.0, 6.0]), gamma, Tensor(0.0))
    y[0].backward()
    assert gamma.grad == pytest.approx(batch_norm([1.0, 2.0, 6.0], 1.0, 0.0)[0])


@pytest.mark.parametrize(
    ("shape", "gamma_shape", "axis"),
    [
        ((2, 1), (1,), 0),
        ((3, 5), (5,), 0),
        ((3, 5), (), 0),
        ((4, 3, 8, 8), (3, 1, 1), (0, 2, 3)),
        ((3, 5), (5,), -1),
        ((7,), (), 0),
    ],
)
def test_on_paper_and_by_engine_the_gradients_are_one(random, shape, gamma_shape, axis):
    data, dy, scale = random.normal(size=shape), random.normal(size=shape), random.normal(size=gamma_shape)
    x, gamma, beta = Tensor(data), Tensor(scale), Tensor(np.zeros(gamma_shape))
    batch_norm(x, gamma, beta, axis=axis).backward(dy)
    on_paper = batch_norm_backward(dy, data, scale, axis=axis)
    # dx cancels to almost nothing for m = 2: the terms it adds up are of size 1 to 10.
    np.testing.assert_allclose(x.grad, on_paper.x, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gamma.grad, on_paper.gamma, rtol=1e-12)
    np.testing.assert_allclose(beta.grad, on_paper.beta, rtol=1e-12)
    assert on_paper.mu.shape == on_paper.var.shape == data.mean(axis=axis, keepdims=True).shape


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_the_derivation_holds_in_float16_where_the_variance_is_small(spread):
    x, dy = np.array([[-1.0], [2.0], [-1.0]]) * spread + 0.5, np.array([[1.0], [0.5], [-2.0]])
    half = batch_norm_backward(dy.astype(np.float16), x.astype(np.float16), np.float16(1))
    assert all(gradient.dtype == np.float16 for gradient in half)
    exact = batch_norm_backward(dy, x.astype(np.float16).astype(float), 1.0)
    # Three digits; what dvar is made of is of the size 1/var, and cancels in it.
    for got, expected in zip(half, exact):
        np.testing.assert_allclose(got, expected, rtol=0.01, atol=0.01 * max(1, np.abs(expected).max()))


def test_the_derivation_runs_on_tensors_and_can_be_differentiated(random):
    data, dy = random.normal(size=(5, 2)), random.normal(size=(5, 2))
    x = Tensor(data)
    (by_engine,) = grad(batch_norm(x, 2.0, 0.0), [x], dy)
    on_paper = batch_norm_backward(dy, x, 2.0).x
    for a, b in zip(grad((by_engine**2).sum(), [x]), grad((on_paper**2).sum(), [x])):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.ones((0, 3))}, ValueError, r"empty.*\(0, 3\)"),
        ({"x": np.ones(())}, ValueError, "axis 0 is out of range"),
        ({"x": "text"}, TypeError, "str 'text'"),
        ({"x": None}, TypeError, "None"),
        ({"gamma": np.ones(4)}, ValueError, r"gamma of shape \(4,\) does not broadcast to x's shape \(5, 3\)"),
        ({"gamma": np.ones((2, 5, 3))}, ValueError, r"gamma of shape \(2, 5, 3\)"),
        ({"x": np.ones((5, 1)), "gamma": np.ones(3)}, ValueError, r"gamma of shape \(3,\).*\(5, 1\)"),
        ({"beta": np.ones((5, 4))}, ValueError, r"beta of shape \(5, 4\)"),
        ({"gamma": np.ones(2)}, ValueError, r"gamma of shape \(2,\) does not broadcast to x's shape \(5, 3\)"),
        ({"gamma": np.ones(4)}, ValueError, r"gamma of shape \(4,\) does not broadcast"),
        ({"eps": -1e-5}, ValueError, "cannot be -1e-05"),
        ({"eps": float("nan")}, ValueError, "cannot be nan"),
        ({"eps": "small"}, TypeError, "str 'small'"),
        ({"eps": None}, TypeError, "None"),
        ({"eps": np.ones(3)}, ValueError, r"single number.*\(3,\)"),
        ({"axis": 2}, ValueError, r"axis 2 is out of range: x has shape \(5, 3\), so it has 2 axes"),
        ({"axis": 7}, ValueError, "axis 7 is out of range"),
        ({"axis": (0, -3)}, ValueError, "axis -3 is out of range"),
        ({"axis": (0, -2)}, ValueError, "same axis twice"),
        ({"axis": 0.5}, TypeError, "axis is an integer"),
        ({"axis": None}, TypeError, "axis is an integer"),
    ],
)
def test_errors_teach(arguments, error, message):
    good = {"x": np.ones((5, 3)), "gamma": 1.0, "beta": 0.0, "eps": 1e-5, "axis": 0}
    with pytest.raises(error, match=message):
        batch_norm(**good | arguments)
    if "beta" not in arguments:
        given = {name: value for name, value in (good | arguments).items() if name != "beta"}
        with pytest.raises(error, match=message):
            batch_norm_backward(np.ones((5, 3)), **given)


def test_an_eps_that_is_a_symbol_is_taken_for_what_it_may_be_and_one_below_0_is_refused():
    sympy = optional("sympy")
    eps, below = sympy.Symbol("eps"), sympy.Symbol("eps", negative=True)
    (first, _) = batch_norm(np.array([sympy.Integer(1), sympy.Integer(3)]), 1, 0, eps)
    assert first.subs(eps, 3) == -0.5
    with pytest.raises(ValueError, match="it cannot be eps"):
        batch_norm([1.0, 3.0], 1.0, 0.0, below)


def test_the_variables_of_what_is_no_batch_norm():
    x, gamma = Tensor(np.ones((2, 1))), Tensor(2.0)
    of_numbers, of_scalars = batch_norm(x.data, gamma, 0.0), batch_norm(scalars(x.data), gamma, 0.0)
    for y in (
        x,
        mean(x),
        fused_batch_norm(x, 1.0, 0.0),
        derivations.RMS_NORM(x, gamma),
        x.data,
        of_numbers,
        of_scalars,
        of_scalars[0, 0],
    ):
        with pytest.raises(ValueError, match="not what batch_norm has returned for a Tensor x"):
            variables(y)


def test_dy_has_xs_shape():
    for other in (np.ones(3), np.ones((6, 3))):
        with pytest.raises(ValueError, match=r"x's shape \(5, 3\), and this has \([36]"):
            batch_norm_backward(other, np.ones((5, 3)), 1.0)


def test_in_the_bare_engine_numpys_rules_hold_for_a_constant_column():
    with np.errstate(invalid="ignore"):
        assert np.isnan(batch_norm(np.ones((3, 1)), 1.0, 0.0, eps=0.0)).all()
    with np.errstate(all="ignore"):
        assert np.isnan(batch_norm_backward(np.ones((3, 1)), np.ones((3, 1)), 1.0, eps=0.0).x).all()


def test_every_eps_that_is_not_given_is_the_same():
    x, dy = np.random.default_rng(0).normal(scale=1e-3, size=(2, 5, 3))
    mu, var = mean(x), variance(x, mean(x))
    np.testing.assert_array_equal(normalize(x, mu, var), normalize(x, mu, var, 1e-5))
    np.testing.assert_array_equal(batch_norm(x, 1.0, 0.0), normalize(x, mu, var, 1e-5))
    np.testing.assert_array_equal(fused_batch_norm(x, 1.0, 0.0), fused_batch_norm(x, 1.0, 0.0, 1e-5))
    np.testing.assert_array_equal(batch_norm_backward(dy, x, 1.0).x, batch_norm_backward(dy, x, 1.0, 1e-5).x)


def test_the_upstream_gradient_may_be_a_list_or_a_tensor():
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = batch_norm_backward(dy, x, 1.0).x
    np.testing.assert_array_equal(batch_norm_backward(dy.tolist(), x, 1.0).x, expected)
    np.testing.assert_array_equal(batch_norm_backward(Tensor(dy), x, 1.0).x.data, expected)
