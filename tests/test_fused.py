"""fused_batch_norm: batch_norm's values, gradients of every order and errors, by loops on any number of threads and by NumPy."""

import subprocess
import sys
from decimal import Decimal
from functools import cache, partial
from multiprocessing import get_context
from threading import Event, Thread

import numpy as np
import pytest

from benchmarks.contenders import EPS
from benchmarks.timing import batch, exact
from micrograd_bn import Tensor, batch_norm, fused, fused_batch_norm, grad
from micrograd_bn.numbers import threads as helpers
from tests.conftest import optional
from tests.test_batchnorm import test_errors_teach as errors_teach

# Shape, axis and gamma's shape. The later ones are large enough for tiles and threads.
CASES = [
    *[((2, 1), 0, (1,)), ((32, 10), 0, (10,)), ((7,), 0, ()), ((5, 3, 2), 0, (3, 2)), ((4, 3, 8, 8), (-2, 0, -1), (1, 3, 1, 1))],
    *[((30, 8), -1, ()), ((3, 4, 5), (1, 2), (3, 1, 1)), ((3, 4, 5), 1, ()), ((40, 3, 2), (0, 1), (2,)), ((3, 4), (0, 1), ())],
    *[
        ((30_011, 5), 0, (5,)),
        ((4_099, 130), 0, ()),
        ((300, 12, 40), 0, (12, 1)),
        ((3, 20_000), 0, (20_000,)),
        ((300_001, 1), 0, (1,)),
    ],
    *[((40, 7, 31, 31), (0, 2, 3), (7, 1, 1)), ((1, 2, 150, 150), (0, 2, 3), (2, 1, 1)), ((400, 300), 1, ())],
]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}  # some hundred roundings


@pytest.fixture(params=[1, 2, 8, None], ids=lambda n: f"{n} threads" if n else "NumPy")
def threads(request, monkeypatch):
    if request.param is None:
        monkeypatch.setattr(fused, "_loops", lambda: None)
    else:
        optional("numba")
        monkeypatch.setattr(helpers, "THREADS", request.param)
    return request.param


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
    for a, b in zip(got, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize("center", [3, 1000])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("shape", "axis", "gamma_shape"), CASES)
def test_the_result_and_the_gradients_are_batch_norms_on_any_number_of_threads(shape, axis, gamma_shape, dtype, center, threads):
    arguments = inputs(shape, gamma_shape, dtype, center)
    got = passes(fused_batch_norm, *arguments, axis=axis)
    assert fused_batch_norm(Tensor(arguments[0]), 1.0, 0.0, axis=axis).primitive is fused.fused
    assert all(np.asarray(a).dtype == dtype for a in got)
    tolerance = TOLERANCE[dtype] * (center if dtype == "float64" and not threads else 1)  # NumPy's mean is a float64, and no more
    assert_close(got, passes(batch_norm, *(a.astype(np.longdouble) for a in arguments), axis=axis), tolerance)
    if threads and threads > 1:
        helpers.THREADS = 1
        for a, b in zip(got, passes(fused_batch_norm, *arguments, axis=axis)):
            np.testing.assert_array_equal(a, b)


def far_with_an_outlier(shape):
    """The first row is what the sums are shifted by."""
    x, dy = batch(1e6, shape)
    x[0] = 1e3
    return x, dy


def far_and_drifting(shape):
    x, dy = batch(1e6, shape)
    return x + np.linspace(0, 50, shape[0], dtype=np.float32)[:, None], dy


@cache
def with_truth(make):
    x, dy = make((4096, 16))
    return x, dy, exact(x, dy)


@pytest.mark.parametrize("make", [partial(batch, 1e6), far_with_an_outlier, far_and_drifting])
def test_a_float32_batch_far_from_0_loses_nothing_that_it_still_has(make, threads):
    x, dy, truths = with_truth(make)
    images = {"axis": (1, 2)}, lambda a: np.ascontiguousarray(a.T).reshape(16, 8, -1)
    for options, seen in (({}, lambda a: a), images):
        got = passes(fused_batch_norm, seen(x), seen(dy), np.float32(1), np.float32(0), eps=EPS, **options)
        for a, truth in zip(got, truths):
            assert np.abs(a - seen(truth)).max() <= 1e-6 * np.abs(truth).max()


def as_fortran(a):
    return np.asfortranarray(a)


def every_other_row(a):
    return np.repeat(a, 2, axis=0)[::2]


def read_only(a):
    return np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)


def unaligned(a):
    return np.frombuffer(bytearray(b"." + a.tobytes()), a.dtype, offset=1).reshape(a.shape)


def big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


def half(a):
    return a.astype(np.float16)


def extended(a):
    return a.astype(np.longdouble)


@pytest.mark.parametrize("layout", [as_fortran, every_other_row, read_only, unaligned, big_endian, half, extended])
def test_every_layout_and_precision_gives_the_same_answer(layout):
    x, dy, *affine = inputs((30, 4), (4,))
    gamma, beta = (v.astype(layout(x).dtype) for v in affine)
    expected, got = (passes(function, layout(x), layout(dy), gamma, beta) for function in (batch_norm, fused_batch_norm))
    assert [a.dtype for a in got] == [a.dtype for a in expected] and got[0].dtype.isnative
    assert_close(got, expected, 1e-12)
    assert_close(passes(fused_batch_norm, x, layout(dy), *affine), passes(batch_norm, x, layout(dy), *affine), 1e-12)


@pytest.mark.parametrize(
    ("axis", "gamma_shape", "eps"),
    [
        *[(1, (40, 1, 2), 1e-5), (0, (40, 3, 2), 1e-5), (0, (40, 1, 1), 1e-5)],  # a gamma for every element, or for every sample
        *[(0, (3, 2), np.float64(1e-5)), (0, (3, 2), 0), (0, (3, 2), 1), (0, (3, 2), Tensor(1e-5))],
    ],
)
def test_every_gamma_and_eps_gives_the_same_answer(axis, gamma_shape, eps):
    arguments = inputs((40, 3, 2), gamma_shape)
    expected, got = (passes(function, *arguments, axis=axis, eps=eps) for function in (batch_norm, fused_batch_norm))
    assert_close(got, expected, 1e-12)


def test_mixed_precisions_give_the_same_dtype():
    x, dy, gamma, beta = inputs((30, 4), (4,), "float32")
    for scale, shift in ((gamma.astype(float), beta), (gamma, np.float64(0)), (2.0, beta), (gamma, 0.5)):
        expected, got = (passes(function, x, dy, scale, shift) for function in (batch_norm, fused_batch_norm))
        assert [np.asarray(a).dtype for a in got] == [np.asarray(a).dtype for a in expected]
        assert_close(got, expected, 1e-4)
    t, u = Tensor(x), Tensor(x)
    (fused_batch_norm(t, 1.0, 0.0) * dy.astype(float)).sum().backward()
    (batch_norm(u, 1.0, 0.0) * dy.astype(float)).sum().backward()
    assert t.grad.dtype == u.grad.dtype == np.float32
    assert_close([t.grad], [u.grad], 2e-5)


def test_decimals_take_the_formulas():
    x = np.array([[Decimal(1)], [Decimal(2)], [Decimal(6)]])
    dy, eps = np.array([[Decimal(1)], [Decimal(0)], [Decimal(2)]]), Decimal("0.5")
    for a, b in zip(*(passes(f, x, dy, Decimal(2), Decimal(1), eps=eps) for f in (fused_batch_norm, batch_norm))):
        assert np.all(a == b)


def test_an_array_gives_an_array_and_a_tensor_a_labelled_tensor():
    x, _, gamma, beta = inputs((32, 10), (10,))
    assert isinstance(fused_batch_norm(x, gamma, beta), np.ndarray)
    for arguments in ((Tensor(x), gamma, beta), (x, Tensor(gamma), beta), (x, gamma, Tensor(beta)), (Tensor(x.T), 1.0, 0.0)):
        assert fused_batch_norm(*arguments).label == "y"
    assert fused_batch_norm(np.ones((5, 0)), 1.0, 0.0).shape == (5, 0)


def test_three_orders_are_batch_norms(threads):
    """The k-th derivative along a direction, for x, gamma and beta at once."""
    x, v, gamma, beta = inputs((6, 2), (2,))
    w = np.random.default_rng(1).normal(size=(6, 2))

    def derivatives(function):
        t = Tensor(0.0)
        result = (function(x + t * v, gamma + t, beta * t, eps=0.5) * w).tanh().sum()
        for _ in range(3):
            (result,) = grad(result, [t])
            yield result.data

    # Each order adds and cancels larger terms than the last.
    np.testing.assert_allclose(list(derivatives(fused_batch_norm)), list(derivatives(batch_norm)), rtol=1e-9)


def test_a_second_backward_adds_the_same_again_and_the_primitive_serves_any_x_in_any_order(threads):
    x, dy, gamma, beta = inputs((20_000, 4), (4,))
    t = Tensor(x)
    y = fused_batch_norm(t, gamma, beta)
    y.backward(dy)
    first = t.grad.copy()
    y.primitive.forward(x + x**2, gamma, beta, **y.params)  # what forward has found belongs to its x
    y.backward(dy)
    np.testing.assert_array_equal(t.grad, 2 * first)
    np.testing.assert_array_equal(x, inputs((20_000, 4), ())[0])


def test_a_constant_column_is_beta_and_a_nan_stays_in_its_column(threads):
    x, dy, _, _ = inputs((20_000, 4), (), "float32")
    x[:, 0] = 1e6 + 0.3
    y, dx, *_ = passes(fused_batch_norm, x, dy, np.float32(2), np.float32(5))
    np.testing.assert_array_equal(y[:, 0], 5)
    assert np.isfinite(dx).all()
    x[-1, 0] = np.nan
    y, dx, *_ = passes(fused_batch_norm, x, dy, np.float32(2), np.float32(5))
    assert np.isnan(y[:, 0]).all() and np.isfinite(y[:, 1:]).all() and np.isfinite(dx[:, 1:]).all()


def test_an_overflow_is_said_as_numpy_says_it(threads):
    x = 1e200 * inputs((20_000, 4), ())[0]
    with pytest.warns(RuntimeWarning, match="overflow encountered"):
        np.testing.assert_array_equal(fused_batch_norm(x, 2.0, 5.0), 5)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        fused_batch_norm(x, 2.0, 5.0)


@pytest.mark.parametrize(("arguments", "error", "message"), errors_teach.pytestmark[0].args[1])
def test_errors_are_batch_norms(arguments, error, message):
    with pytest.raises(error, match=message):
        fused_batch_norm(**{"x": np.ones((5, 3)), "gamma": 1.0, "beta": 0.0} | arguments)


# ---- Callers on several threads, processes that are forked, and where compiled code is kept


def some_passes(queue=None):
    cases = [(inputs(shape, (), "float32"), axis) for shape, axis in (((4099, 130), 0), ((20, 7, 31, 31), (0, 2, 3)))]
    found = [[a.tobytes() for a in passes(fused_batch_norm, *given, axis=axis)[:2]] for given, axis in cases for _ in range(5)]
    if queue is not None:
        queue.put(found)
    return found


def test_callers_on_several_threads_and_forked_processes_get_the_same(monkeypatch):
    optional("numba")
    monkeypatch.setattr(helpers, "THREADS", 4)
    expected, found = some_passes(), []
    callers = [Thread(target=lambda: found.append(some_passes())) for _ in range(6)]
    for caller in callers:
        caller.start()
    fork = get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=some_passes, args=(queue,), daemon=True)
    with pytest.MonkeyPatch.context() as patch:  # Python 3.12 warns of a fork among threads, which is what this is about
        patch.setattr("os._warn_about_fork_with_threads", lambda: None, raising=False)
        process.start()
    found.append(queue.get(timeout=60))
    for caller in [process, *callers]:
        caller.join(60)
    assert found == [expected] * 7


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_helper_that_dies_leaves_its_work_to_the_others(monkeypatch):
    optional("numba")
    monkeypatch.setattr(helpers, "THREADS", 2)
    expected = some_passes()
    died = Event()

    def die():
        died.set()
        raise MemoryError

    helpers._helpers(2).put(die)
    assert died.wait(60)
    assert some_passes() == expected
    helpers._helpers.cache_clear()  # others want a living one


RUN = """
import numpy as np, micrograd_bn, sys
assert "numba" not in sys.modules
micrograd_bn.fused_batch_norm(np.ones((4, 2)), 1.0, 0.0)
from micrograd_bn import loops
print(sum(loops.columns.stats.cache_hits.values()), loops.columns.stats.cache_path)
"""


@pytest.mark.parametrize("writable", [True, False])
def test_compiled_code_is_kept_where_the_user_can_write(tmp_path, writable):
    optional("numba")
    home = tmp_path / "home"
    home.mkdir()
    environment = {"XDG_CACHE_HOME": str(home) if writable else "/proc/nowhere", "TMPDIR": str(tmp_path), "HOME": "/proc/nowhere"}
    for hits in "01":
        done = subprocess.run([sys.executable, "-c", RUN], check=True, capture_output=True, text=True, env=environment)
        assert done.stdout.split()[0] == hits
        assert done.stdout.split()[1].startswith(str(home if writable else tmp_path))
