"""Every primitive's VJP against central differences, over shapes and broadcasts that Hypothesis draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from micrograd_bn import Tensor, grad
from micrograd_bn import primitives as P
from tests.strategies import MOVES

PRIMITIVES = {p.name: p for p in vars(P).values() if isinstance(p, P.Primitive)}


def shapes(min_dims=0):
    return hnp.array_shapes(min_dims=min_dims, max_dims=3, min_side=1, max_side=4)


@st.composite
def broadcastable(draw):
    """Two shapes that broadcast against each other, in any of the ways that NumPy knows."""
    return draw(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4)).input_shapes, {}


@st.composite
def elementwise(draw):
    return (draw(shapes()),), {}


@st.composite
def power(draw):
    return (draw(shapes()),), {"exponent": draw(st.sampled_from([-3, -1, 0, 1, 2, 3, 0.5, -1.5]))}


@st.composite
def reduction(draw):
    shape = draw(shapes())
    axis = draw(st.one_of(st.none(), hnp.valid_tuple_axes(len(shape)), st.sampled_from([-1, 0]) if shape else st.none()))
    return (shape,), {"axis": axis, "keepdims": draw(st.booleans())}


@st.composite
def reshaping(draw):
    shape = draw(shapes())
    return (shape,), {"to": draw(st.sampled_from([shape[::-1], (-1,), (1, *shape)]))}


@st.composite
def transposing(draw):
    shape = draw(shapes())
    return (shape,), {"axes": tuple(draw(st.permutations(range(len(shape)))))}


@st.composite
def broadcasting(draw):
    shape = draw(shapes())
    return (tuple(draw(st.sampled_from([1, n])) for n in shape),), {"to": (2, *shape)}


@st.composite
def products(draw):
    """Matrices, vectors on either side, and batches of matrices that broadcast."""
    n, k, m, batch = (draw(st.integers(1, 3)) for _ in range(4))
    left = draw(st.sampled_from([(k,), (n, k), (batch, n, k), (1, n, k)]))
    right = draw(st.sampled_from([(k,), (k, m), (batch, k, m)]))
    return (left, right), {}


INDICES = [0, -1, (0,), slice(1, None), slice(None, None, -2), ..., None, [0, 0, 1], (slice(None), 1), ([0, 1], [1, 1])]


@st.composite
def indexing(draw):
    return ((2, 3),), {"index": draw(st.sampled_from(INDICES))}


@st.composite
def scattering(draw):
    index = draw(st.sampled_from(INDICES))
    return (np.empty((2, 3))[index].shape,), {"index": index, "to": (2, 3)}


@st.composite
def along_an_axis(draw):
    shape = draw(shapes(min_dims=1))
    return (shape,), {"axis": draw(st.integers(0, len(shape) - 1))}


@st.composite
def joining(draw):
    shape, axis = draw(shapes(min_dims=1)), 0
    return tuple((n, *shape[1:]) for n in draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))), {"axis": axis}


@st.composite
def sums_of_products(draw):
    """Products of matrices, of three, traces, diagonals, sums over an index that stands alone, and sizes of 1 that broadcast."""
    n, k, m = (draw(st.integers(1, 3)) for _ in range(3))
    cases = {
        "ij,jk->ik": ((n, k), (k, m)), "ij,jk,kl->li": ((n, k), (k, m), (m, n)), "ii->": ((n, n),), "iij->ji": ((n, n, k),),
        "ij->": ((n, k),), "ij,i->j": ((n, k), (n,)), "i,i->i": ((n,), (1,)), "ij,kj->": ((n, k), (m, k)), "i,i->": ((n,), (1,)),
    }  # fmt: skip
    subscripts = draw(st.sampled_from(sorted(cases)))
    return cases[subscripts], {"subscripts": subscripts}


CASES = {
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum", "power"), broadcastable()),
    **dict.fromkeys(
        ("neg", "sqrt", "exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "relu", "abs"),
        elementwise(),
    ),
    "pow": power(),
    **dict.fromkeys(("sum", "mean", "prod", "max", "min"), reduction()),
    "cumsum": along_an_axis(),
    "concatenate": joining(),
    "einsum": sums_of_products(),
    "astype": elementwise().map(lambda case: (case[0], {"dtype": np.dtype(np.float64)})),
    "reshape": reshaping(),
    "transpose": transposing(),
    "broadcast": broadcasting(),
    "matmul": products(),
    "getitem": indexing(),
    "scatter": scattering(),
}


WITHOUT_A_DERIVATIVE = {name for name, primitive in PRIMITIVES.items() if primitive.vjp is None}


def test_every_primitive_has_a_case():
    assert {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "stop_gradient"} == WITHOUT_A_DERIVATIVE
    assert set(CASES) == set(PRIMITIVES) - WITHOUT_A_DERIVATIVE - {"where"}  # whose condition has no derivative: below


def test_no_entry_of_the_table_is_changed_by_mistake():
    with pytest.raises(AttributeError, match="symbol"):
        P.add.symbol = "plus"


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_vjp_is_the_derivative(name, data):
    primitive = PRIMITIVES[name]
    shapes, params = data.draw(CASES[name])
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    sign = 1 if name in ("sqrt", "log", "log1p", "pow", "power") else random.choice([-1, 1])
    points = [sign * random.uniform(0.5, 2, shape) for shape in shapes]
    inputs = [Tensor(point) for point in points]
    y = primitive(*inputs, **params)
    dy = random.normal(size=y.shape)
    y.backward(dy)

    h = 1e-6
    for i, x in enumerate(inputs):
        direction = random.normal(size=x.shape)
        ahead = primitive(*[p + h * direction if j == i else p for j, p in enumerate(points)], **params)
        behind = primitive(*[p - h * direction if j == i else p for j, p in enumerate(points)], **params)
        measured = np.sum(dy * (ahead - behind)) / (2 * h)
        assert np.shape(x.grad) == x.shape
        # Central differences of numbers of size 1 to 10 with h = 1e-6 hold about 9 digits.
        assert np.sum(x.grad * direction) == pytest.approx(measured, rel=1e-6, abs=1e-6)

    # The same line of the table, run on Tensors, gives the same bits: that is what makes every order right.
    for x, dx in zip(inputs, grad(y, inputs, dy)):
        np.testing.assert_array_equal(dx.data, x.grad)


def test_relu_is_flat_at_zero_and_below_everything():
    x = Tensor([-np.inf, -1.0, 0.0, 2.0])
    y = x.relu()
    y.backward(np.ones(4))
    assert y.data.tolist() == [0, 0, 0, 2]
    assert x.grad.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_of_an_array_without_dimensions(dtype):
    for number, slope in ((2, 1), (-3, 0)):
        x = Tensor(np.array(number, dtype))
        y = x.relu()
        y.backward()
        assert (y.data, x.grad) == (max(number, 0), slope)


def test_a_root_of_a_negative_number_is_nan_as_in_numpy_not_complex():
    with np.errstate(invalid="ignore"):
        assert np.isnan((Tensor(-2.0) ** 0.5).data)
        assert np.isnan((Tensor([-2.0]) ** 0.5).data)


def test_a_vector_times_no_matrices_at_all():
    v, none = Tensor([1.0, 2.0, 3.0]), Tensor(np.ones((0, 3, 2)))
    (v @ none).backward(np.ones((0, 2)))
    assert v.grad.tolist() == [0, 0, 0]
    assert none.grad.shape == (0, 3, 2)


def test_an_element_picked_twice_gets_both_gradients():
    x = Tensor([1.0, 2.0])
    x[[0, 0, 1]].backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [11, 100]


def test_powers_are_differentiable_at_zero_to_every_order():
    x = Tensor(0.0)
    derivative = x**2
    for expected in (0, 2, 0, 0):
        (derivative,) = grad(derivative, [x])
        assert derivative.data == expected


def test_the_mixed_second_derivative_of_a_power_is_right_where_the_exponent_is_0():
    """∂²/∂a∂b of a to the b is a^(b − 1) (1 + b log a): 1/a at b = 0, where the slope ∂/∂a itself is 0."""
    a, b = Tensor([0.5, 2.0]), Tensor([0.0, 0.0])
    da, db = grad(a**b, [a, b], np.ones(2))
    assert da.tolist() == [0, 0]
    assert grad(da, [b], np.ones(2))[0].tolist() == grad(db, [a], np.ones(2))[0].tolist() == [2, 0.5]
    zero = Tensor(0.0)
    (zero ** Tensor(0.0)).backward()
    assert zero.grad == 0


def test_every_primitive_turns_up_in_random_graphs():
    """But comparisons, which stand in where, and what gives numbers of another dtype or is a constant to the chain rule."""
    assert set(PRIMITIVES) - set(MOVES) == WITHOUT_A_DERIVATIVE | {"astype"}


def test_a_number_to_the_power_of_an_array_of_integers_has_each_ones_slope():
    x = Tensor([2.0, 0.0, 3.0, 5.0])
    y = x ** np.array([3, 0, 1, -1])
    y.backward(np.array([1.0, 10.0, 100.0, 1000.0]))
    assert y.data.tolist() == [8, 1, 3, 0.2]
    np.testing.assert_allclose(x.grad, [12, 0, 100, -40], rtol=1e-15)


def test_what_is_1_whatever_the_number_has_a_slope_of_0_everywhere():
    """To the power of 0, as one exponent or one of an array, and where the upstream gradient or the number is infinite."""
    for exponent, upstream in ((0, [1.0, np.inf, 1.0]), (np.array([0, 0, 0]), [1.0, 1.0, 1.0])):
        x = Tensor([0.0, 2.0, np.inf])
        (x**exponent).backward(np.array(upstream))
        assert x.grad.tolist() == [0, 0, 0]


def test_the_slope_by_an_exponent_is_0_at_0_and_nan_below():
    b = Tensor([2.0, 2.0])
    with np.errstate(all="ignore"):
        (np.array([0.0, -2.0]) ** b).sqrt().backward(np.ones(2))
    np.testing.assert_array_equal(b.grad, [0, np.nan])


def test_of_two_the_larger_or_the_smaller_gets_the_gradient_and_equals_share_it():
    for choose, expected in ((np.maximum, [[4, 0, 20], [4, 10, 0]]), (np.minimum, [[4, 10, 0], [4, 0, 20]])):
        a, b = Tensor([1.0, 2.0, 3.0]), Tensor([1.0, 5.0, 0.0])
        choose(a, b).backward(np.array([8.0, 10.0, 20.0]))
        assert [a.grad.tolist(), b.grad.tolist()] == expected


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("m", [3, 2048, 2049])
def test_each_of_more_float16_than_it_can_count_has_its_share_of_a_mean(m, dtype):
    x = Tensor(np.ones(m, dtype))
    x.mean().backward()
    assert x.grad.tolist() == [dtype(1 / m)] * m


@pytest.mark.parametrize("reduce", [lambda x: x.max(axis=1), lambda x: -(-x).min(axis=1)])
def test_all_that_are_largest_share_the_gradient_and_so_do_all_beside_a_nan(reduce):
    x = Tensor([[1.0, 3.0, 3.0, 3.0], [2.0, 0.0, 1.0, -5.0], [1.0, np.nan, 3.0, 3.0]])
    reduce(x).backward(np.array([6.0, 5.0, 4.0]))
    assert x.grad.tolist() == [[0, 2, 2, 2], [5, 0, 0, 0], [1, 1, 1, 1]]


def test_a_products_gradient_is_the_product_of_the_others_for_any_number_of_them():
    for n in range(1, 7):
        x = Tensor(np.arange(1.0, 2 * n + 1).reshape(n, 2))
        y = x.prod(axis=0)
        y.backward(np.array([1.0, 10.0]))
        np.testing.assert_allclose(x.grad, [1, 10] * y.data / x.data, rtol=1e-14)
    for axis, shape in ((0, (3,)), (1, (0,))):
        none = Tensor(np.ones((0, 3)))
        y = none.prod(axis=axis)
        (first,) = grad(y, none, np.ones(shape))
        assert (y.tolist(), first.shape, grad(first, none, first)[0].shape) == ([1.0] * shape[0], (0, 3), (0, 3))


def test_how_many_are_true_is_counted_in_integers():
    true = Tensor(np.ones(3000)) > 0
    assert true.cumsum().tolist() == [*range(1, 3001)]
    assert (true.cumsum().dtype, true.sum().data) == (np.int64, 3000)


def test_an_absolute_value_has_no_slope_at_0_and_a_sign_elsewhere():
    x = Tensor([-2.0, -1.0, 0.0, 1.0, 3.0])
    abs(x).backward(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    assert x.grad.tolist() == [-1, -2, 0, 8, 16]
