"""fused_batch_norm: batch_norm's values, gradients of every order and errors, however the batch is cut."""

from decimal import Decimal
from functools import partial

import numpy as np
import pytest

from benchmarks.accuracy import EPS, batch, exact
from micrograd_bn import Tensor, batch_norm, fused, fused_batch_norm, grad
from tests.test_batchnorm import test_errors_teach as errors_teach

# Shape, axis and gamma's shape: small batches, then those that are cut.
CASES = [
    ((2, 1), 0, (1,)),
    ((32, 10), 0, (10,)),
    ((7,), 0, ()),
    ((5, 3, 2), 0, (3, 2)),
    ((4, 3, 8, 8), (0, 2, 3), (3, 1, 1)),
    ((4, 3, 8, 8), (-2, 0, -1), (1, 3, 1, 1)),
    ((30_011, 5), 0, (5,)),  # rows of many samples, and a rest that does not fill one
    ((4_099, 130), 0, ()),  # several tiles, and one gamma for all
    ((300, 12, 40), 0, (12, 1)),  # a gamma for some of the statistics together
    ((3, 20_000), 0, (20_000,)),  # a sample is longer than a row needs to be
    ((40, 7, 31, 31), (0, 2, 3), (7, 1, 1)),
    ((6, 70, 60, 60), (0, 2, 3), (70, 1, 1)),  # several tiles to a sample
    ((1, 2, 150, 150), (0, 2, 3), (2, 1, 1)),
    ((3, 3, 5003), (0, 2), (3, 1)),  # a long length without divisors
    ((300_001, 1), 0, (1,)),
]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}  # some hundred roundings


def inputs(shape, gamma_shape, dtype="float64", center=3.0):
    random = np.random.default_rng(0)
    x, dy = random.normal(center, 2, shape).astype(dtype), random.normal(0.5, 1, shape).astype(dtype)
    return x, dy, random.normal(size=gamma_shape).astype(dtype), random.normal(size=gamma_shape).astype(dtype)


def passes(function, x, dy, gamma, beta, **options):
    """y and the gradients of x, gamma and beta."""
    tensors = Tensor(x), Tensor(gamma), Tensor(beta)
    y = function(*tensors, **options)
    y.backward(dy)
    return y.data, *(t.grad for t in tensors)


def assert_close(got, expected, tolerance):
    """Each in proportion to its own largest element; a gradient that cancels, to the dy of size 1 that it was made of."""
    for a, b in zip(got, expected):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def is_fused(y) -> bool:
    return y.primitive.name == "fused_batch_norm"


@pytest.mark.parametrize(("dtype", "center"), [("float32", 3), ("float64", 3), ("float32", 1000), ("float64", 1000)])
@pytest.mark.parametrize(("shape", "axis", "gamma_shape"), CASES)
def test_the_result_and_the_gradients_are_batch_norms(shape, axis, gamma_shape, dtype, center):
    x, dy, gamma, beta = inputs(shape, gamma_shape, dtype, center)
    got = passes(fused_batch_norm, x, dy, gamma, beta, axis=axis)
    assert is_fused(fused_batch_norm(Tensor(x), gamma, beta, axis=axis))
    assert all(np.asarray(a).dtype == dtype for a in got)
    extended = (a.astype(np.longdouble) for a in (x, dy, gamma, beta))
    assert_close(got, passes(batch_norm, *extended, axis=axis), TOLERANCE[dtype])


@pytest.mark.parametrize(("shape", "axis", "gamma_shape"), CASES[6:])
def test_the_result_does_not_depend_on_the_number_of_threads(shape, axis, gamma_shape, monkeypatch):
    found = []
    for threads in (1, 2, 5, 2):
        monkeypatch.setattr(fused, "THREADS", threads)
        found.append(passes(fused_batch_norm, *inputs(shape, gamma_shape, "float32"), axis=axis))
    for other in found[1:]:
        for a, b in zip(found[0], other):
            np.testing.assert_array_equal(a, b)


def test_numpys_buffer_is_left_as_it_was():
    before = np.getbufsize()
    x, _, gamma, beta = inputs((20_000, 4), (4,))
    fused_batch_norm(x, gamma, beta)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        fused_batch_norm(1e200 * x, gamma, beta)
    assert np.getbufsize() == before


def test_errstate_holds_on_every_thread(monkeypatch):
    """Warnings are errors here, so an overflow on a thread that does not know of the errstate would raise."""
    monkeypatch.setattr(fused, "THREADS", 5)
    x, _, _, _ = inputs((8192, 512), (), "float32")
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(fused_batch_norm(x, np.float32(3e38), np.float32(0))).all()


def far(shape):
    return batch(1e6, shape)


def far_with_an_outlier(shape):
    """The first row is where every shortcut would look for the mean."""
    x, dy = batch(0.0, shape)
    x[0] = 1e3
    return x, dy


def far_and_drifting(shape):
    x, dy = batch(1e6, shape)
    return x + np.linspace(0, 50, shape[0], dtype=np.float32)[:, None], dy


@pytest.mark.parametrize("shape", [(4096, 16), (512, 16)])
@pytest.mark.parametrize("make", [far, far_with_an_outlier, far_and_drifting])
def test_a_float32_batch_far_from_0_loses_nothing_that_it_still_has(make, shape):
    x, dy = make(shape)
    found = passes(fused_batch_norm, x, dy, np.float32(1), np.float32(0), eps=EPS)
    for got, truth in zip((found[0], found[1]), exact(x, dy)):
        assert np.abs(got - truth).max() <= 1e-6 * np.abs(truth).max()


def as_fortran(a):
    return np.asfortranarray(a)


def every_other_row(a):
    return np.repeat(a, 2, axis=0)[::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


def half(a):
    return a.astype(np.float16)


def extended(a):
    return a.astype(np.longdouble)


@pytest.mark.parametrize("layout", [as_fortran, every_other_row, read_only, big_endian, half, extended])
@pytest.mark.parametrize("shape", [(30, 4), (20_000, 4)])
def test_every_layout_and_precision_gives_the_same_answer(layout, shape):
    x, dy, gamma, beta = inputs(shape, (4,))
    gamma, beta = (v.astype(layout(x).dtype) for v in (gamma, beta))
    expected = passes(batch_norm, layout(x), layout(dy), gamma, beta)
    got = passes(fused_batch_norm, layout(x), layout(dy), gamma, beta)
    assert [a.dtype for a in got] == [a.dtype for a in expected]
    assert got[0].dtype.isnative
    assert_close(got, expected, 1e-12)
    assert_close(passes(fused_batch_norm, x, layout(dy), gamma, beta), passes(batch_norm, x, layout(dy), gamma, beta), 1e-12)


@pytest.mark.parametrize(
    ("axis", "gamma_shape", "eps"),
    [
        (1, (3, 1, 2), 1e-5),
        (-1, (2,), 1e-5),
        ((0, 1), (2,), 1e-5),
        ((1, 2), (), 1e-5),
        (0, (40, 3, 2), 1e-5),  # a gamma for every element
        (0, (40, 1, 1), 1e-5),  # … for every sample
        (0, (3, 2), np.float64(1e-5)),
        (0, (3, 2), 0),
        (0, (3, 2), Tensor(1e-5)),
    ],
)
def test_every_axis_gamma_and_eps_gives_the_same_answer(axis, gamma_shape, eps):
    arguments = inputs((40, 3, 2), gamma_shape if axis != 1 else (2,))
    expected = passes(batch_norm, *arguments, axis=axis, eps=eps)
    assert_close(passes(fused_batch_norm, *arguments, axis=axis, eps=eps), expected, 1e-12)


@pytest.mark.parametrize("shape", [(30, 4), (20_000, 4)])
def test_mixed_precisions_give_the_same_dtype(shape):
    x, dy, gamma, beta = inputs(shape, (4,), "float32")
    for scale, shift in ((gamma.astype(float), beta), (gamma, np.float64(0)), (2.0, beta), (gamma, 0.5)):
        got = passes(fused_batch_norm, x, dy, scale, shift)
        assert [np.asarray(a).dtype for a in got] == [np.asarray(a).dtype for a in passes(batch_norm, x, dy, scale, shift)]
        # The formulas, which some of these take, add up in float32: their rounding grows with the number of terms.
        assert_close(got, passes(batch_norm, x.astype(float), dy.astype(float), scale, shift), 2e-5 * shape[0] ** 0.5)
    t, u = Tensor(x), Tensor(x)
    (fused_batch_norm(t, 1.0, 0.0) * dy.astype(float)).sum().backward()
    (batch_norm(u, 1.0, 0.0) * dy.astype(float)).sum().backward()
    assert t.grad.dtype == u.grad.dtype == np.float32
    assert_close([t.grad], [u.grad], 2e-5)


def test_eps_may_be_an_integer():
    x = inputs((6, 2), ())[0]
    y = fused_batch_norm(Tensor(x), 1, 0, eps=1)
    assert is_fused(y)
    np.testing.assert_allclose(y.data, batch_norm(x, 1, 0, eps=1), rtol=1e-14)


def test_decimals_take_the_formulas():
    x = np.array([[Decimal(1)], [Decimal(2)], [Decimal(6)]])
    arguments = x, np.array([[Decimal(1)], [Decimal(0)], [Decimal(2)]]), Decimal(2), Decimal(1)
    got = passes(fused_batch_norm, *arguments, eps=Decimal("0.5"))
    for a, b in zip(got, passes(batch_norm, *arguments, eps=Decimal("0.5"))):
        assert np.all(a == b)


def test_an_array_gives_an_array_and_a_tensor_a_labelled_tensor():
    x, _, gamma, beta = inputs((32, 10), (10,))
    assert isinstance(fused_batch_norm(x, gamma, beta), np.ndarray)
    for arguments in ((Tensor(x), gamma, beta), (x, Tensor(gamma), beta), (x, gamma, Tensor(beta)), (Tensor(x.T), 1.0, 0.0)):
        assert fused_batch_norm(*arguments).label == "y"


@pytest.mark.parametrize("shape", [(0, 3), (5, 0)])
def test_no_features_are_no_work_and_no_samples_an_error(shape):
    if shape[0]:
        assert fused_batch_norm(np.ones(shape), 1.0, 0.0).shape == shape
    else:
        with pytest.raises(ValueError, match="empty"):
            fused_batch_norm(np.ones(shape), 1.0, 0.0)


@pytest.mark.parametrize("shape", [(6, 2), (20_000, 2)])
def test_three_orders_are_batch_norms(shape):
    """The k-th derivative along a direction, for x, gamma and beta at once."""
    x, v, gamma, beta = inputs(shape, (2,))
    w = np.random.default_rng(1).normal(size=shape)

    def derivatives(function):
        t = Tensor(0.0)
        result = (function(x + t * v, gamma + t, beta * t, eps=0.5) * w).tanh().sum()
        for _ in range(3):
            (result,) = grad(result, [t])
            yield result.data

    # Each order adds and cancels larger terms than the last.
    np.testing.assert_allclose(list(derivatives(fused_batch_norm)), list(derivatives(batch_norm)), rtol=1e-9)


@pytest.mark.parametrize("shape", [(6, 2), (20_000, 2)])
def test_a_second_backward_adds_the_same_again(shape):
    x, dy, gamma, beta = inputs(shape, (2,))
    t = Tensor(x)
    y = fused_batch_norm(t, gamma, beta)
    y.backward(dy)
    first = t.grad.copy()
    y.backward(dy)
    np.testing.assert_array_equal(t.grad, 2 * first)
    np.testing.assert_array_equal(x, inputs(shape, (2,))[0])


@pytest.mark.parametrize("shape", [(6, 2), (20_000, 2)])
def test_the_primitive_serves_any_x_in_any_order(shape):
    """What forward has found belongs to its x: for another one, the VJP finds it anew."""
    x, dy, gamma, beta = inputs(shape, (2,))
    y = fused_batch_norm(Tensor(x), gamma, beta)
    vjp = partial(y.primitive.vjp, **y.params)
    expected = vjp(dy, y.data, x, gamma, beta)
    y.primitive.forward(x + x**2, gamma, beta, **y.params)
    for a, b in zip(vjp(dy, y.data, x, gamma, beta), expected):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(6, 2), (20_000, 2)])
def test_a_constant_column_is_beta_and_a_nan_stays_in_its_column(shape):
    x, dy, _, _ = inputs(shape, (2,), "float32")
    x[:, 0] = 1e6 + 0.3
    y, dx, *_ = passes(fused_batch_norm, x, dy, np.float32(2), np.float32(5))
    np.testing.assert_array_equal(y[:, 0], 5)
    assert np.isfinite(dx).all()
    x[-1, 0] = np.nan
    y, dx, *_ = passes(fused_batch_norm, x, dy, np.float32(2), np.float32(5))
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1]).all() and np.isfinite(dx[:, 1]).all()


@pytest.mark.parametrize("shape", [(6, 2), (20_000, 2)])
def test_an_overflow_is_said_as_numpy_says_it(shape):
    x = np.float32(1e20) * inputs(shape, (2,), "float32")[0]
    for function in (batch_norm, fused_batch_norm):
        with pytest.warns(RuntimeWarning, match="overflow encountered"):
            function(x, np.float32(2), np.float32(5))
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            function(x, np.float32(2), np.float32(5))


@pytest.mark.parametrize(("arguments", "error", "message"), errors_teach.pytestmark[0].args[1])
def test_errors_are_batch_norms(arguments, error, message):
    with pytest.raises(error, match=message):
        fused_batch_norm(**{"x": np.ones((5, 3)), "gamma": 1.0, "beta": 0.0} | arguments)
