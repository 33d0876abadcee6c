"""The engine at its edges: what NumPy says of infinities and NaNs, dtypes, selections, numbers of one's own kind, copies."""

import copy
import itertools
import operator
import pickle
import warnings
from decimal import Decimal, DivisionByZero
from fractions import Fraction

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward, fused_batch_norm, grad, nn, scalars
from micrograd_bn.primitives import NONE

NAN, INF = float("nan"), float("inf")


def derivatives(function, *values):
    """The result, the gradients by backward(), the same by grad(), and the second derivatives of their sum; all plain data."""
    inputs = [Tensor(value) for value in values]
    y = function(*inputs)
    y.backward()
    first = grad(y, inputs)
    for a, g in zip(inputs, first):
        np.testing.assert_array_equal(a.grad, g.data)
    second = grad(sum((g.sum() for g in first), Tensor(0.0)), inputs)
    return y.data, [g.data for g in first], [g.data for g in second]


def numbers(values):
    return [float(n) for value in values for n in np.ravel(value)]


# ---- Python's floats are NumPy's


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (lambda x: x.sum() ** 0.5, [[1.0, -3.0]]),
        (lambda x: x ** (1 / 3), [-8.0]),
        (lambda x: x ** Fraction(1, 3), [-8.0]),
        (lambda x: x ** (1 / 3), [np.float32(-8.0)]),
        (lambda x: x ** (1 / 3), [np.array(-8.0)]),
        (lambda x: (x ** (1 / 3)).sum(), [[-8.0]]),
        (lambda x, p: x**p, [-8.0, 1 / 3]),
        (lambda p: (-8.0) ** p, [1 / 3]),
        (lambda x: x.sqrt(), [-8.0]),
    ],
)
def test_a_root_of_a_negative_number_is_nan_never_complex(function, values):
    with np.errstate(invalid="ignore"):
        y, first, second = derivatives(function, *values)
    for value in (y, *first, *second):
        assert np.asarray(value).dtype.kind == "f"
        assert np.isnan(value).all()


EXTREMES = [
    # what is computed, of which float, the result, the slope, the second derivative
    (lambda x: x**2, 1e200, INF, 2e200, 2.0),
    (lambda x: x**3, 1e200, INF, INF, 6e200),
    (lambda x: x**-1, 0.0, INF, -INF, INF),
    (lambda x: x**0.5, 0.0, 0.0, INF, -INF),
    (lambda x: 1 / x, 0.0, INF, -INF, INF),
    (lambda x: x / 0, 1.0, INF, INF, 0.0),
    (lambda x: x / x, 0.0, NAN, NAN, NAN),
    (lambda x: x.log(), 0.0, -INF, INF, -INF),
    (lambda x: np.log1p(x), -1.0, -INF, INF, -INF),
    (lambda x: x.sqrt(), 0.0, 0.0, INF, -INF),
    (lambda x: x.exp(), 1000.0, INF, INF, INF),
    (lambda x: 2**x, 5000.0, INF, INF, INF),
    (lambda x: x**x, 1000.0, INF, INF, INF),
    (lambda x: 1e308 * x * 10, 1.0, INF, INF, 0.0),
]


@pytest.mark.parametrize(("function", "at", "y", "slope", "bend"), EXTREMES)
@pytest.mark.parametrize("kind", [float, np.float64, np.array])
def test_no_float_raises_and_all_say_the_same(function, at, y, slope, bend, kind):
    with np.errstate(all="ignore"):
        found = derivatives(function, kind(at))
    np.testing.assert_array_equal(numbers([found[0], *found[1], *found[2]]), [y, slope, bend])
    assert all(np.asarray(value).dtype == np.float64 for value in (found[0], *found[1], *found[2]))


def test_numpys_warning_is_given_where_python_would_raise():
    for compute, warning in [
        (lambda: 1 / Tensor(0.0), "divide by zero"),
        (lambda: Tensor(0.0) / Tensor(0.0), "invalid value"),
        (lambda: Tensor(1e200) ** 2, "overflow"),
        (lambda: 2 ** Tensor(5000.0), "overflow"),
        (lambda: Tensor(0.0).log(), "divide by zero"),
        (lambda: Tensor(0.0).sqrt().backward(), "divide by zero"),
    ]:
        with pytest.warns(RuntimeWarning, match=warning):
            compute()


def test_the_backward_pass_of_a_norm_at_0_and_its_terms():
    x = Tensor(np.zeros(3))
    root = (x * x).sum().sqrt()
    with np.errstate(divide="warn", invalid="ignore"), pytest.warns(RuntimeWarning, match="divide by zero"):
        root.backward()
    assert np.isnan(x.grad).all()  # ∞ · 0, as in NumPy and PyTorch
    with np.errstate(all="ignore"):
        assert root.contributions() == (INF,)
        assert np.isnan(grad(root, [x])[0].data).all()


def test_a_decimals_division_by_zero_is_its_own():
    with pytest.raises(DivisionByZero):
        1 / Tensor(Decimal(0))
    x = Tensor(Decimal(0))
    with pytest.raises(DivisionByZero):
        x.sqrt().backward()
    with pytest.raises(ZeroDivisionError):
        1 / Tensor(Fraction(0))


# ---- dtypes


MIXED = {
    "t * integers": lambda t: t * np.arange(2),
    "integers * t": lambda t: np.arange(2) * t,
    "t / integers": lambda t: t / np.arange(1, 3),
    "integers / t": lambda t: np.arange(1, 3) / t,
    "t @ integers": lambda t: t @ np.arange(2),
    "a list @ t": lambda t: [1, 2] @ t,
    "t + int64": lambda t: t + np.int64(1),
    "int64 - t": lambda t: np.int64(1) - t,
    "t * float64": lambda t: t * np.float64(2),
    "float64 * t": lambda t: np.float64(2) * t,
    "t ** float64": lambda t: t ** np.float64(2),
    "t ** int64": lambda t: np.power(t, np.int64(3)),
    "t ** integers": lambda t: t ** np.array([0, 3]),
    "2 ** t": lambda t: 2**t,
    "float64 ** t": lambda t: np.float64(2) ** t,
    "integers ** t": lambda t: np.arange(1, 3) ** t,
    "t ** t": lambda t: t**t,
    "t.mean() ** t.mean()": lambda t: t.mean() ** t.mean(),
    "where": lambda t: np.where(t > 2, t, 0),
    "where, integers": lambda t: np.where(t > 2, np.arange(2), t),
    "where, a float": lambda t: np.where(t > 2, np.float64(0.5), t),
    "maximum": lambda t: np.maximum(t, 2),
    "maximum, integers": lambda t: np.maximum(np.arange(2), t),
    "minimum": lambda t: np.minimum(t, np.int64(2)),
    "clip": lambda t: t.clip(np.int64(2), 3),
    "clip, arrays": lambda t: np.clip(t, np.arange(2), np.float64(3)),
    "concatenate": lambda t: np.concatenate([t, np.arange(4).reshape(2, 2)]),
    "stack": lambda t: np.stack([[[1, 2], [3, 4]], t]),
    "einsum": lambda t: np.einsum("ij,j->i", t, [1, 2]),
    "tensordot": lambda t: np.tensordot(t, np.arange(2), 1),
    "dot": lambda t: t.dot([1, 2]),
    "outer": lambda t: np.outer(t, [1, 2]),
    "a mask": lambda t: t * (t > 2),
    "var": lambda t: t.var(axis=0, ddof=np.int64(1)),
    "prod": lambda t: t.prod(axis=0),
    "cumsum": lambda t: t.cumsum(),
    "max": lambda t: t.max(axis=1),
    "softmax": lambda t: t.softmax(),
    "log_softmax": lambda t: t.log_softmax(axis=0),
    "sigmoid": lambda t: t.sigmoid(),
    "a sum's sigmoid": lambda t: (t.sum() - 10).sigmoid(),
    "norm": lambda t: t.norm(),
    "repeat": lambda t: np.repeat(t, 2, axis=0),
    "log1p": lambda t: np.log1p(t) - np.expm1(t) + np.sin(t) * np.cos(t),
    "a sum and float64": lambda t: t.sum() * np.float64(2) + 1,
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", MIXED)
def test_a_dtype_stays_its_own_whatever_meets_it(name, dtype):
    t = Tensor(np.array([[1, 2], [3, 4]], dtype))
    y = MIXED[name](t)
    y.backward(np.ones(y.shape))
    (first,) = grad(y, [t], np.ones(y.shape))
    (second,) = grad(first, [t], np.ones(t.shape))
    assert {np.asarray(data).dtype for data in (y.data, t.grad, first.data, second.data)} == {np.dtype(dtype)}
    widened = MIXED[name](Tensor(t.data.astype(float)))
    np.testing.assert_allclose(y.data, widened.data, rtol=8 * np.finfo(dtype).eps, atol=8 * np.finfo(dtype).eps)


MET = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "@": operator.matmul,
    "maximum": np.maximum,
    "where": lambda a, b: np.where([True, False], a, b),
    "clip": lambda a, b: np.clip(a, None, b),
    "concatenate": lambda a, b: np.concatenate([a, b]),
    "einsum": lambda a, b: np.einsum("ij,jk->ik", a, b),
    "outer": np.outer,
}
WIDTHS = [np.float16, np.float32, np.float64]


@pytest.mark.parametrize("name", MET)
@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(WIDTHS, 2)))
def test_where_two_dtypes_meet_the_result_is_numpys_and_each_gradient_has_its_own(name, one, other):
    for shapes in itertools.product([(2, 2)] if name in ("@", "concatenate", "einsum", "outer") else [(), (2, 2)], repeat=2):
        data = [dtype(1.5) * np.ones(shape, dtype) for dtype, shape in zip((one, other), shapes)]
        inputs = [Tensor(a) for a in data]
        y = MET[name](*inputs)
        assert y.dtype == np.result_type(*[1.5 if type(a.data) is float else a.data for a in inputs])  # Python's float gives way
        y.backward(np.ones(y.shape))
        first = grad(y, inputs, np.ones(y.shape))
        second = grad(first[0].sum() + first[1].sum(), inputs)
        for dtype, a, g, h in zip((one, other), inputs, first, second):
            assert {Tensor(a.grad).dtype, g.dtype, h.dtype} == {np.dtype(dtype)}
        for a, term in zip(y.parents, y.contributions()):
            assert term is None or Tensor(term).dtype == a.dtype


def test_a_python_float_gives_way_to_an_array_and_keeps_a_gradient_of_its_own():
    x, w = Tensor(np.ones(3, np.float32)), Tensor(2.0)
    y = x * w
    y.backward(np.ones(3))
    assert (y.dtype, x.grad.dtype, w.grad, type(w.grad)) == (np.float32, np.float32, 3.0, float)


def test_a_python_float_as_upstream_gradient_takes_the_dtype_of_a_single_number():
    x = Tensor(np.float32(3))
    (x + x).backward(0.5)
    assert (x.grad, x.grad.dtype) == (1, np.float32)


def test_the_mean_of_70000_float16_has_a_gradient():
    x = Tensor(np.ones(70_000, np.float16))
    x.mean().backward()
    assert x.grad.dtype == np.float16
    np.testing.assert_allclose(x.grad, 1.43e-5, rtol=1e-3)
    (dx,) = grad(x.mean(), [x])
    np.testing.assert_array_equal(dx.data, x.grad)


def dx_by(function):
    def dx(dy, x, gamma):
        t = Tensor(x)
        function(t, gamma, np.zeros_like(gamma)).backward(dy)
        return t.grad

    return dx


@pytest.mark.parametrize(
    "dx", [dx_by(batch_norm), dx_by(fused_batch_norm), lambda dy, x, gamma: batch_norm_backward(dy, x, gamma).x]
)
def test_batch_norm_of_70000_rows_of_float16(dx):
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=(70_000, 2)).astype(np.float16) for _ in range(2))
    gamma = np.array([1.5, 0.5], np.float16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = dx(dy, x, gamma)
    assert found.dtype == np.float16
    expected = dx(*(a.astype(np.float32) for a in (dy, x, gamma)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize(
    "add_up",
    [
        lambda t: t.sum(axis=0),
        lambda t: t.sum(axis=0, keepdims=True)[0],
        lambda t: t.cumsum(axis=0)[-1],
        lambda t: np.ones(3000, np.float16) @ t,
        lambda t: np.einsum("ij->j", t),
        lambda t: np.einsum("ij,i->j", t, np.ones(3000, np.float16)),
    ],
)
def test_float16_is_added_up_in_float32(add_up):
    assert add_up(Tensor(np.ones((3000, 2), np.float16))).data.tolist() == [3000, 3000]


@pytest.mark.parametrize(
    "use",
    [
        lambda b: b + np.zeros((3000, 2), np.float16),
        lambda b: np.zeros((3000, 2), np.float16) - (-b),
        lambda b: np.maximum(b, np.zeros((3000, 2), np.float16)),
        lambda b: b.broadcast_to((3000, 2)),
        lambda b: b.reshape(1, 2).repeat(3000, axis=0),
    ],
)
def test_gradients_of_float16_are_added_up_in_float32(use):
    b = Tensor(np.ones(2, np.float16))
    use(b).backward(np.ones((3000, 2)))
    assert b.grad.tolist() == [3000, 3000]


def test_a_row_picked_3000_times_gets_3000_gradients_in_float16():
    embedding = Tensor(np.ones((2, 3), np.float16))
    embedding[np.ones(3000, int)].backward(np.ones((3000, 3)))
    assert embedding.grad.tolist() == [[0] * 3, [3000] * 3]


# ---- Masked arrays, complex numbers


MASKED = np.ma.masked_invalid([[1.0, NAN], [1.0, 2.0]])
PLAIN = np.ones((2, 2))


@pytest.mark.parametrize(
    "use",
    [
        lambda: Tensor(MASKED),
        lambda: scalars(MASKED),
        lambda: Tensor(PLAIN) * MASKED,
        lambda: Tensor(PLAIN) < MASKED,
        lambda: Tensor(PLAIN) ** MASKED,
        lambda: MASKED * Tensor(PLAIN),
        lambda: MASKED @ Tensor(PLAIN),
        lambda: np.add(MASKED, Tensor(PLAIN)),
        lambda: Tensor(1.0) + np.ma.masked,
        lambda: np.where(PLAIN > 0, Tensor(PLAIN), MASKED),
        lambda: np.concatenate([Tensor(PLAIN), MASKED]),
        lambda: np.einsum("ij,ij", Tensor(PLAIN), MASKED),
        lambda: np.dot(MASKED, Tensor(PLAIN)),
        lambda: (Tensor(PLAIN) * 2).backward(MASKED),
        lambda: grad(Tensor(PLAIN) * 2, [], MASKED),
        lambda: batch_norm(MASKED, 1.0, 0.0),
        lambda: batch_norm(PLAIN, MASKED[0], 0.0),
        lambda: batch_norm(Tensor(PLAIN), 1.0, MASKED[0]),
        lambda: fused_batch_norm(MASKED, 1.0, 0.0),
        lambda: batch_norm_backward(MASKED, PLAIN, 1.0),
        lambda: batch_norm_backward(PLAIN, MASKED, 1.0),
        lambda: batch_norm_backward(PLAIN, PLAIN, MASKED[0]),
    ],
)
def test_masked_arrays_are_refused_with_what_to_do(use):
    with pytest.raises(TypeError, match=r"masked array .*\.filled\(value\)"):
        use()


@pytest.mark.parametrize("use", [lambda t, z: t * z, lambda t, z: z * t, lambda t, z: t**z, lambda t, z: np.where(t > 0, t, z)])
def test_complex_arrays_are_refused(use):
    with pytest.raises(TypeError, match="real numbers, and these are complex128"):
        use(Tensor([1.0]), np.array([1j]))


# ---- Selections


def test_what_is_not_selected_has_a_gradient_of_0_not_nan():
    x = Tensor([-1.0, 4.0])
    with np.errstate(divide="ignore"):
        x.relu().sqrt().backward(np.ones(2))
    assert x.grad.tolist() == [0, 0.25]
    for at, slope in ((-1.0, 0), (4.0, 0.25)):
        single = Tensor(at)
        with np.errstate(divide="ignore"):
            single.relu().sqrt().backward()
        assert single.grad == slope


@pytest.mark.parametrize(
    "select",
    [
        lambda x: np.where(x > 0, x, 0),
        lambda x: np.maximum(x, 0),
        lambda x: -np.minimum(-x, 0.0),
        lambda x: x.clip(0),
        lambda x: np.stack([x, np.zeros(2)]).max(axis=0),
    ],
)
def test_no_selection_is_a_product_with_0(select):
    x = Tensor([-1.0, 4.0])
    with np.errstate(divide="ignore"):
        select(x).sqrt().backward(np.ones(2))
    assert x.grad.tolist() == [0, 0.25]


def test_what_one_truth_selects_has_the_shape_of_both():
    x = Tensor([1.0, 2.0])
    for y in (np.where(False, x, 0.0), np.where(True, 0.0, x)):
        y.backward(np.ones(2))
        assert y.tolist() == x.grad.tolist() == [0, 0]


def test_relus_slope_at_nan_is_1_as_in_pytorch():
    for x in (Tensor([NAN]), Tensor(NAN)):
        y = x.relu()
        y.backward(np.ones(x.shape))
        assert np.isnan(y.data)
        assert x.grad == 1


def test_an_index_is_what_it_was_when_it_was_used():
    index, mask, x = np.array([0, 1]), np.array([True, False]), Tensor([1.0, 2.0])
    results = x[index], x[(index,)], x[[0, 1]], x[mask]
    index[:], mask[:] = 0, False
    for y in results:
        y.backward(np.ones(y.shape))
    assert x.grad.tolist() == [4, 3]


def test_a_comparison_is_a_node_without_a_derivative():
    a, b = Tensor([1.0, 2.0]), Tensor([2.0, 2.0])
    less = a < b
    assert less.parents == (a, b)
    assert less.primitive.name == "less"
    (less * a).backward(np.ones(2))
    assert a.grad.tolist() == [1, 0]
    assert b.grad is None
    assert less.contributions() == (None, None)
    for end in (Tensor(1.0) < 2.0, less, less.sum()):
        with pytest.raises(TypeError, match="has no derivative"):
            end.backward(np.ones(end.shape))


def test_comparisons_are_element_by_element_and_a_tensor_is_a_key_by_what_it_is():
    t = Tensor([1.0, 2.0])
    for other in ([1.0, 3.0], np.array([1, 3]), Tensor([1.0, 3.0])):
        assert (t == other).tolist() == [True, False]
        assert (other == t).tolist() == [True, False]
        assert (t != other).tolist() == [False, True]
    assert (t == t).tolist() == [True, True]
    same = Tensor([1.0, 2.0])
    assert len({t, same, t}) == 2
    assert {t: 1, same: 2}[t] == 1
    assert t in {t} and t not in {same}
    assert (t == None, t != None) == (False, True)  # noqa: E711
    for refused in ("a", {}, object()):
        for compare in (operator.eq, operator.ne, operator.lt, operator.ge):
            with pytest.raises(TypeError, match="compared with numbers"):
                compare(t, refused)


class Own(np.lib.mixins.NDArrayOperatorsMixin):
    """A number of one's own kind: what it goes into is one again, comparisons too, and nobody may ask whether it is true."""

    def __init__(self, value):
        self.value = value

    shape = property(lambda self: np.shape(self.value))
    dtype = property(lambda self: np.asarray(self.value).dtype)

    def __bool__(self):
        raise AssertionError("the engine has looked inside a number")

    __float__ = __array__ = __bool__

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if any(isinstance(a, Tensor) for a in inputs):
            return NotImplemented
        return Own(getattr(ufunc, method)(*map(plain, inputs), **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        args = [list(map(plain, a)) if isinstance(a, (list, tuple)) and function is np.concatenate else plain(a) for a in args]
        return Own(function(*args, **kwargs))

    def __getitem__(self, index):
        return Own(self.value[index])

    def sum(self, axis=None, keepdims=False):
        return Own(self.value.sum(axis=axis, keepdims=keepdims))

    def mean(self, axis=None, keepdims=False):
        return Own(self.value.mean(axis=axis, keepdims=keepdims))


def plain(a):
    return a.value if isinstance(a, Own) else a


KEPT = {
    "relu": lambda x: x.relu(),
    "abs": lambda x: abs(x),
    "maximum": lambda x: np.maximum(x, x[::-1]),
    "minimum": lambda x: np.minimum(x, 1.0),
    "where": lambda x: np.where(x >= x[::-1], x * 2, x * x),
    "clip": lambda x: x.clip(-0.5, 1.0),
    "max": lambda x: x.max(axis=0),
    "min": lambda x: x.min(axis=1, keepdims=True),
    "==": lambda x: (x == x[::-1]) * x,
    "norm": lambda x: x.norm(axis=1),
    "sigmoid": lambda x: x.sigmoid(),
    "softmax": lambda x: x.softmax(),
    "log_softmax": lambda x: x.log_softmax(axis=0),
    "x ** x": lambda x: (x * x) ** x,
    "x ** 0": lambda x: x**0,
    "prod": lambda x: x.prod(axis=0),
    "cumsum": lambda x: x.cumsum(axis=1),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "var": lambda x: x.var(axis=0, ddof=1),
    "stack": lambda x: np.stack([x, x * x]),
}


@pytest.mark.parametrize("name", KEPT)
def test_numbers_of_ones_own_kind_stay_so_and_are_never_asked_for_their_truth(name):
    data = np.random.default_rng(0).normal(size=(4, 3))
    data[0] = data[3]  # equals
    found = []
    for x in (Tensor(data), Tensor(Own(data))):
        y = KEPT[name](x)
        y.backward(np.ones(y.shape) if isinstance(x.data, np.ndarray) else Own(np.ones(y.shape)))
        (first,) = grad(y, [x], y.data * 0 + 1)
        (second,) = grad((first * first).sum(), [x])
        found.append((y.data, x.grad, first.data, second.data))
    for expected, got in zip(*found):
        assert isinstance(got, Own)
        np.testing.assert_array_equal(got.value, expected)


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(1), (), ..., None, slice(1, None), slice(None, None, -2), slice(3, None), (1, 0, 2), (slice(None), 1),
     (..., 2), (1, ...), (0, ..., slice(None, None, -1)), (None, 1, ..., None, slice(1, 3)), (slice(None), slice(1, None), -1),
     (0, 1, ..., 2)],
)  # fmt: skip
def test_what_is_picked_of_numbers_of_ones_own_kind_gets_its_gradient_and_the_rest_0(index):
    data = np.arange(24.0).reshape(2, 3, 4)
    dy = np.arange(1.0, data[index].size + 1).reshape(data[index].shape)
    x, same = Tensor(Own(data)), Tensor(data)
    x[index].backward(Own(dy))
    same[index].backward(dy)
    assert isinstance(x.grad, Own)
    np.testing.assert_array_equal(x.grad.value, same.grad)


def test_a_fancy_index_of_numbers_of_ones_own_kind_is_refused_with_what_to_do():
    for index in ([0, 0], (slice(None), [1, 2]), np.array([True, False])):
        y = Tensor(Own(np.ones((2, 3))))[index]
        with pytest.raises(TypeError, match="a fancy index has no derivative on Owns: take slices"):
            y.backward(Own(np.ones(y.shape)))


# ---- Single numbers, arrays of Tensors


@pytest.mark.parametrize("index", [(), None, ..., (None, None), (..., None)])
@pytest.mark.parametrize("number", [5.0, np.float32(5), Decimal(5)])
def test_a_single_number_may_be_indexed(index, number):
    t = Tensor(number)
    y = t[index]
    assert y.shape == np.empty(())[index].shape
    (y * y).sum().backward()
    assert t.grad == 10
    assert type(t.grad) is type(number)


def test_a_single_number_is_never_an_array_without_axes():
    for number, kind in ((2.0, float), (np.float32(2), np.float32), (Decimal(2), Decimal), (np.array(2.0), float)):
        t = Tensor(number)
        y = t.reshape(1, 1).transpose(1, 0).reshape(())
        y.backward()
        assert type(y.data) is type(t.grad) is type(grad(y, [t])[0].data) is kind


def test_an_array_of_tensors_is_made_when_asked_for_and_a_tensor_of_them_by_stack():
    a, b = Tensor(1.0), Tensor(2.0)
    array = np.array([a, b], dtype=object)
    assert array.shape == (2,) and array[0] is a and array[1] is b
    for untyped in (lambda: np.array([a, b]), lambda: np.asarray([a, b]), lambda: Tensor([a, b])):
        with pytest.raises(TypeError, match=r"np\.stack\(\[a, b\]\)"):
            untyped()
    with pytest.raises(TypeError, match=r"np\.stack"):
        Tensor(scalars([1.0, 2.0]))
    y = np.stack([a, b])
    assert y.data.tolist() == [1, 2]
    (y * [3.0, 5.0]).sum().backward()
    assert (a.grad, b.grad) == (3, 5)


def test_what_a_tensor_says_of_itself():
    t = Tensor([[1.0, 2.0]])
    assert (t.ndim, t.size, t.dtype, t.tolist()) == (2, 2, np.float64, [[1.0, 2.0]])
    assert t.numpy() is t.data
    one = Tensor(1.25)
    assert (one.ndim, one.size, one.dtype, one.numpy().shape, one.tolist()) == (0, 1, np.float64, (), 1.25)
    assert (float(one), float(Tensor([[2.0]])), f"{one:.1f}", f"{Tensor(np.float32(2)):.3f}") == (1.25, 2.0, "1.2", "2.000")
    assert f"{t}" == repr(t)
    assert [Tensor(n).dtype for n in (np.float32(1), Decimal(1))] == [np.float32, object]
    assert (one < 2).dtype == bool
    with pytest.raises(ValueError, match="no single number"):
        float(t)


# ---- Copies


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_leaves_are_copied_and_what_has_a_history_is_not(copied):
    leaf = nn.Parameter([1.0, 2.0], "w")
    leaf.grad = np.array([3.0, 4.0])
    other = copied(leaf)
    assert type(other) is nn.Parameter and other is not leaf
    assert (other.data.tolist(), other.grad.tolist(), other.label, other.params) == ([1, 2], [3, 4], "w", NONE)
    deep = leaf.sum()
    for _ in range(1_000_000):
        deep = deep + 1
    for tensor in (leaf * 2, deep):
        with pytest.raises(TypeError, match=r"not copied or pickled.*t\.detach\(\)"):
            copied(tensor)


def test_warnings_are_only_where_numpy_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (lambda x: x.sigmoid(), lambda x: x.softmax(), lambda x: x.log_softmax(), lambda x: x.norm()):
            x = Tensor([-1000.0, 0.0, 1000.0])
            function(x).sum().backward()
        (Tensor(np.zeros(3)).norm() + Tensor(np.array([0.0, -1.0])).relu().sum()).backward()
