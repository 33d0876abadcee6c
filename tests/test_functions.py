"""NumPy's functions on Tensors give what NumPy gives, or an error where it has one; what it does not have, by definition."""

import warnings

import numpy as np
import pytest

from micrograd_bn import Tensor, scalars

random = np.random.default_rng(0)
ARRAYS = [
    random.normal(size=shape) for shape in [(1,), (3,), (2, 3), (1, 3), (3, 3), (2, 1, 3), (2, 3, 4), (2, 1, 3, 2), (0,), (2, 0)]
]
AXES = [{}, {"axis": 0}, {"axis": -1}, {"axis": 1}, {"axis": 5}]
OVER = [*AXES, {"axis": (0, 1)}, {"axis": (-1, 0), "keepdims": True}, {"axis": 1, "keepdims": True}, {"keepdims": True}]
CALLS = {
    **dict.fromkeys((np.sum, np.mean, np.prod, np.max, np.min, np.linalg.norm), OVER),
    **{f: [{**over, **more} for over in OVER for more in ({}, *[{"ddof": n} for n in (1, 5, 0.5, -1)])] for f in (np.var, np.std)},
    **dict.fromkeys((np.argmax, np.cumsum), AXES),
    np.ravel: [{}],
    np.transpose: [{"axes": axes} for axes in (None, (1, 0), (0, 1, 2), (2, 0, 1), (-1, 0, 1), (0, 0), (0,))],
    np.swapaxes: [{"axis1": i, "axis2": j} for i in (0, -1, 1, 3) for j in (0, 1, -1)],
    np.moveaxis: [{"source": i, "destination": j}
                 for i, j in ((0, -1), (0, 1), ((0, 1), (-1, -2)), (5, 0), ((0, 0), (0, 1)), ((0, 1), 0))],
    np.expand_dims: [{"axis": axis} for axis in (0, -1, 1, (0, 2), (0, 0), 7)],
    np.squeeze: [{"axis": axis} for axis in (None, 0, 1, (0, 1), -2)],
    np.broadcast_to: [{"shape": shape} for shape in ((3,), (2, 3), (5, 2, 3), (2, 2, 3), (4,))],
    np.repeat: [{"repeats": n, "axis": axis} for n in (0, 2, [1, 2, 0], [1, 2], -1) for axis in (None, 0, -1, 1, 7)],
    np.clip: [{"a_min": 0, "a_max": None}, {"a_min": None, "a_max": 0.5}, {"a_min": 0.5, "a_max": 0}],
}  # fmt: skip
PRODUCTS = {
    "dot": np.dot, "outer": np.outer, "matmul": np.matmul, "tensordot": np.tensordot,
    **{f"tensordot over {over}": lambda a, b, over=over: np.tensordot(a, b, over)
       for over in (0, 1, 2, ((-1,), (0,)), (0, 0), ((0, 1), (0, 1)), ((0, 1), (1, 0)), ((0,), (0, 1)))},
    **{f"{join.__name__} along {axis}": lambda a, b, join=join, axis=axis: join([a, b], axis)
       for join in (np.concatenate, np.stack) for axis in (0, 1, 2, -1, -3, None)},
    **{f"einsum of {subscripts}": lambda a, b, subscripts=subscripts: np.einsum(subscripts, a, b)
       for subscripts in ("ij,jk", "ij,jk->ki", "ji,jk", "ij,ij", "ij,ji->", "...i,...i", "i...,...->...i", "...ij,...jk->...k",
                          "b...,a...", "i,j,k", "i,jj->ij", "i,ij->k", "i,ij->ii")},
}  # fmt: skip


def outcome(function, *arrays, **options):
    """What a function gives; None for an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = function(*arrays, **options)
        except (ValueError, TypeError, IndexError):
            return None
    return getattr(y, "data", y) if isinstance(y, Tensor) else y


def assert_same(got, expected):
    assert (got is None) == (expected is None)
    if expected is not None:
        assert np.shape(got) == np.shape(expected)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("function", CALLS, ids=lambda function: function.__name__)
def test_a_function_is_numpys(function):
    for a in ARRAYS:
        for options in CALLS[function]:
            assert_same(outcome(function, Tensor(a), **options), outcome(function, a, **options))


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_function_of_two_is_numpys(name):
    function = PRODUCTS[name]
    for a in [*ARRAYS, np.float64(3)]:
        for b in [*ARRAYS, np.float64(5)]:
            expected = outcome(function, a, b)
            assert_same(outcome(function, Tensor(a), b), expected)
            assert_same(outcome(function, a, Tensor(b)), expected)


@pytest.mark.parametrize("a", [a for a in ARRAYS if a.size], ids=np.shape)
def test_what_numpy_does_not_have_is_what_its_definition_gives(a):
    t, e = Tensor(a), np.exp(a)
    assert_same(t.sigmoid().data, 1 / (1 + 1 / e))
    for axis in (-1, 0, len(a.shape) // 2):
        p = e / e.sum(axis, keepdims=True)
        assert_same(t.softmax(axis).data, p)
        assert_same(t.log_softmax(axis).data, np.log(p))
        assert_same(t.logsumexp(axis).data, np.log(e.sum(axis)))
        assert_same(t.logsumexp(axis, keepdims=True).data, np.log(e.sum(axis, keepdims=True)))
    assert_same(t.logsumexp().data, np.log(e.sum()))
    assert_same(t.norm().data, np.sqrt((a * a).sum()))
    assert_same(t.softmax().data, t.softmax(-1).data)
    assert_same(t.log_softmax().data, t.log_softmax(-1).data)


def test_a_number_on_the_bound_that_it_is_clipped_to_has_its_gradient():
    x, low, high = Tensor([0.0, 1.0, 2.0, 3.0]), Tensor(0.0), Tensor(2.0)
    x.clip(low, high).backward(np.array([1.0, 2.0, 4.0, 8.0]))
    assert (x.grad.tolist(), low.grad, high.grad) == ([1, 2, 4, 0], 0, 8)


def test_an_exponential_cannot_overflow():
    t = Tensor([1000.0, 1000.0])
    assert (t.logsumexp().data, (-t).logsumexp().data) == (1000 + np.log(2), np.log(2) - 1000)
    assert t.softmax().tolist() == (-t).softmax().tolist() == [0.5, 0.5]


def test_a_tensor_goes_into_each_of_an_array_of_tensors():
    t = Tensor(2.0)
    products = t * scalars([1.0, 3.0])
    assert type(products) is np.ndarray and [p.data for p in products] == [2, 6]
    products.sum().backward()
    assert t.grad == 4
