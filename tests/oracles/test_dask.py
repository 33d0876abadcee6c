"""Arrays that live elsewhere: a Dask batch goes through forward and backward as one lazy graph, on threads and on a cluster."""

import pickle
import resource

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, draw, explore, grad
from micrograd_bn.check import first_not_finite
from tests.conftest import optional

dask = optional("dask")
da = optional("dask.array")
distributed = optional("dask.distributed")
cloudpickle = optional("cloudpickle")


def forbidden(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def normal(rows, columns, chunk, seed):
    return da.random.default_rng(seed).normal(3, 2, size=(rows, columns), chunks=(chunk, columns))


def lazily(x, dy, columns):
    """y, dx, dgamma and dbeta of a batch norm, with any computation on the way forbidden."""
    tensors = Tensor(x, "x"), Tensor(np.full(columns, 1.5), "gamma"), Tensor(np.zeros(columns), "beta")
    with dask.config.set(scheduler=forbidden):
        y = batch_norm(*tensors)
        y.backward(dy)
    return y.data, *(t.grad for t in tensors)


@pytest.fixture(scope="module")
def cluster():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, memory_limit="400MB", dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_on_threads_it_equals_numpy():
    x, dy = normal(1000, 5, 100, 0), normal(1000, 5, 100, 1)
    results = lazily(x, dy, 5)
    assert all(isinstance(result, da.Array) for result in results)
    y, dx, dgamma, dbeta = dask.compute(*results, scheduler="threads")
    x, dy = dask.compute(x, dy)
    on_paper = batch_norm_backward(dy, x, np.full(5, 1.5))
    for got, expected in ((y, batch_norm(x, 1.5, 0.0)), (dx, on_paper.x), (dgamma, on_paper.gamma), (dbeta, on_paper.beta)):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_operators_and_second_derivatives_stay_lazy():
    x = normal(100, 3, 10, 0)
    t = Tensor(x)
    with dask.config.set(scheduler=forbidden):
        product = x * t + np.ones(3) * t
        (dx,) = grad(batch_norm(t, 1.0, 0.0), [t], normal(100, 3, 10, 1))
        (again,) = grad((dx**2).sum(), [t])
    for result in (product, dx, again):
        assert isinstance(result.data, da.Array)
    assert np.isfinite(again.data.compute(scheduler="threads")).all()


def test_integers_become_floats_and_unknown_chunks_get_a_message():
    assert Tensor(da.ones((4, 2), dtype=int, chunks=2)).data.dtype == np.float64
    x = normal(10, 2, 5, 0)
    with pytest.raises(ValueError, match=r"compute_chunk_sizes\(\)"):
        Tensor(x[x[:, 0] > 0])


def test_two_million_rows_on_two_workers_with_the_memory_of_a_few_chunks(cluster):
    """The batch (1 GB) and its upstream gradient (1 GB) on two workers of 400 MB, chunk by chunk."""
    rows, columns, chunk = 2_000_000, 64, 50_000
    x, dy = normal(rows, columns, chunk, 0), normal(rows, columns, chunk, 1)
    chunk_size = chunk * columns * 8
    before = max(cluster.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024).values())

    y, dx, dgamma, dbeta = lazily(x, dy, columns)
    # What travels to the scheduler is the recipe: it holds no chunk of the batch.
    recipe = cloudpickle.dumps([dict(a.__dask_graph__()) for a in (y, dx)], protocol=pickle.HIGHEST_PROTOCOL)
    assert len(recipe) < chunk_size / 10

    sample = slice(None, None, 200_003)
    # Means instead of the arrays themselves, so that nothing large comes here.
    got = cluster.compute([y[sample], dx[sample], dgamma, dbeta, dx.mean(axis=0)], sync=True)
    after = max(cluster.run(lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024).values())
    # 80 chunks of input; a worker keeps what is still needed up to its limit and spills the rest to disk.
    assert after - before < 13 * chunk_size

    gamma, eps = np.full(columns, 1.5), 1e-5
    moments = dask.compute(x.mean(axis=0), x.var(axis=0), x[sample], dy[sample], dy.sum(axis=0), scheduler="threads")
    mu, var, some_x, some_dy, sum_dy = moments
    some_x_hat = (some_x - mu) / np.sqrt(var + eps)
    sum_dy_x_hat = got[2]
    np.testing.assert_allclose(got[0], gamma * some_x_hat, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(got[3], sum_dy, rtol=1e-9)
    expected = gamma / (rows * np.sqrt(var + eps)) * (rows * some_dy - sum_dy - some_x_hat * sum_dy_x_hat)
    np.testing.assert_allclose(got[1], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(got[4], 0, atol=1e-9)


INDICES = [
    0,
    -1,
    np.int64(2),
    (0,),
    slice(1, None),
    slice(None, None, -2),
    slice(4, 1, -1),
    slice(0, 0),
    ...,
    None,
    (..., 1),
    (None, ..., -1),
]
INDICES += [
    (slice(None), 1),
    (2, slice(None, None, -1)),
    (slice(1, 6, 3), None, slice(1, None)),
    (slice(None, None, -1), 0),
    (3, 1),
    (),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_slices_are_differentiated_lazily_as_numpys(index):
    data = np.random.default_rng(0).normal(size=(7, 3))
    x, lazy = Tensor(data), Tensor(da.from_array(data, chunks=(2, 2)))
    dy = np.random.default_rng(1).normal(size=data[index].shape)
    expected = x[index]
    (dx,) = grad(expected * expected, [x], dy)
    (second,) = grad((dx * dx).sum(), [x])
    with dask.config.set(scheduler=forbidden):
        y = lazy[index]
        (lazy_dx,) = grad(y * y, [lazy], dy)
        (lazy_second,) = grad((lazy_dx * lazy_dx).sum(), [lazy])
    for got, want in ((y, expected), (lazy_dx, dx), (lazy_second, second)):
        np.testing.assert_allclose(np.asarray(got.data), want.data, rtol=1e-14)


@pytest.mark.parametrize("index", [[0, 2, 2], np.array([True, False] * 3 + [True]), (slice(None), [0, 1])], ids=str)
def test_a_fancy_index_of_a_lazy_array_gets_an_error_that_says_what_to_do(index):
    y = Tensor(da.ones((7, 3), chunks=2))[index] ** 2
    if any(n != n for n in y.shape):  # Dask does not count what a mask selects
        y = y.sum()
    with pytest.raises(TypeError, match="take slices, or multiply by a matrix of 0 and 1"):
        y.backward(np.ones(y.shape) if y.shape else None)


def test_functions_on_lazy_arrays_are_numpys():
    data = np.random.default_rng(0).normal(size=(6, 3))
    for function in (
        lambda t: np.where(t > 0, t, 0.5 * t).sum(axis=0),
        lambda t: np.maximum(t, t * t) - abs(t).clip(0.1, 1),
        lambda t: t.max(axis=1) * t.min(axis=1),
        lambda t: np.concatenate([t, t * 2]).cumsum(axis=0),
        lambda t: np.stack([t, t]).sum(axis=0),
        lambda t: t.var(axis=0, ddof=1) + t.std(axis=0),
        lambda t: t.log_softmax(axis=1) + t.softmax(axis=1) + t.sigmoid(),
        lambda t: np.einsum("ij,kj->ik", t, t),
        lambda t: t.norm(axis=1) + np.sin(t).sum(axis=1),
        lambda t: np.log1p(t * t) + np.expm1(t),
    ):
        x, lazy = Tensor(data), Tensor(da.from_array(data, chunks=(2, 3)))
        expected = function(x)
        expected.backward(np.ones(expected.shape))
        with dask.config.set(scheduler=forbidden):
            y = function(lazy)
            y.backward(np.ones(y.shape))
        assert isinstance(y.data, da.Array)
        for got, want in ((y.data, expected.data), (lazy.grad, x.grad)):
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-12, atol=1e-12)


def test_a_lazy_graph_is_drawn_without_computing_it_and_looked_through_by_computing_it():
    x = Tensor(da.from_array(np.array([[1.0], [-1.0]]), chunks=1), "x")
    y = x.log() + 1
    with dask.config.set(scheduler=forbidden):
        assert "not finite" not in draw(y).source
    with np.errstate(invalid="ignore"):
        assert str(first_not_finite(y)) == "the value of log of 'x' is NaN at [1, 0], where 'x' is -1"


def test_a_graph_of_dask_arrays_has_no_page(tmp_path):
    """Its numbers are not there; the page says which kinds it shows."""
    y = Tensor(da.from_array(np.ones(2))).sum()
    with pytest.raises(TypeError, match="of Array"):
        explore(tmp_path / "page.html", y)
    assert not any(tmp_path.iterdir())
