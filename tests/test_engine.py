"""The graph, the backward pass, NumPy's functions on Tensors, and what bad input gets."""

import numpy as np
import pytest

from micrograd_bn import Tensor, grad, scalars
from micrograd_bn import primitives as P
from micrograd_bn.batchnorm import mean
from micrograd_bn.engine import adjoints, in_order
from micrograd_bn.shapes import axes, broadcast_shape, shape, total


def test_micrograds_published_example():
    """The example of micrograd's README, and the three numbers that it prints."""
    a = Tensor(-4.0)
    b = Tensor(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    g.backward()
    assert (f"{g.data:.4f}", f"{a.grad:.4f}", f"{b.grad:.4f}") == ("24.7041", "138.8338", "645.5773")


def test_a_diamond():
    a = Tensor(3.0)
    b = a + a
    c = b * b
    c.backward()
    assert (b.grad, a.grad) == (12, 24)


def test_a_tensor_used_many_times():
    a = Tensor(2.0)
    total = a * 0
    for i in range(100):
        total = total + a * i
    total.backward()
    assert a.grad == sum(range(100))


def test_adjoints_of_several_outputs_are_their_sum():
    a = Tensor(2.0)
    b = a * 3
    c = b * b
    d = c + b
    outputs = {c: 1.0, b: 10.0, d: 100.0, a: 1000.0}
    alone = [adjoints({node: g}) for node, g in outputs.items()]
    assert adjoints(outputs) == {node: sum(found.get(node, 0) for found in alone) for node in (a, b, c, d)}
    assert adjoints(outputs, stop={b}) == {d: 100, c: 101, b: 110 + 12 * 101, a: 1000}


def test_two_passes_give_exactly_twice_on_every_node():
    x = Tensor(np.random.default_rng(0).normal(size=(4, 3)))
    h = (x * x).exp()
    y = (h / (h + 1)).sum()
    y.backward()
    once = [node.grad for node in (x, h, y)]
    y.backward()
    for node, g in zip((x, h, y), once):
        np.testing.assert_array_equal(node.grad, 2 * g)


def test_contributions_add_up_to_the_gradient():
    x = Tensor([1.0, 2.0, 4.0], label="x")
    square, root = x**2, x.sqrt()
    y = square * root
    y.backward(np.ones(3))
    (to_x_1,), (to_x_2,) = square.contributions(), root.contributions()
    np.testing.assert_array_equal(to_x_1 + to_x_2, x.grad)
    assert y.parents == (square, root)
    np.testing.assert_array_equal(y.contributions()[0], square.grad)


def test_a_product_with_itself_has_an_edge_for_each_factor():
    a = Tensor(3.0)
    y = a * a
    y.backward()
    assert y.parents == (a, a)
    assert y.contributions() == (3, 3)


def test_constants_are_no_parents_and_get_no_gradient():
    a = Tensor(3.0)
    y = 2 * a + np.array([1.0, 2.0])
    assert y.parents[0].parents == (a,)
    assert a.detach().parents == ()


def test_numpy_functions_work_on_tensors():
    data = np.arange(1.0, 7.0).reshape(2, 3)
    t = Tensor(data)
    for got, expected in [
        (np.sqrt(t), np.sqrt(data)),
        (np.exp(t), np.exp(data)),
        (np.log(t), np.log(data)),
        (np.tanh(t), np.tanh(data)),
        (np.square(t), data**2),
        (np.power(t, 3), data**3),
        (2**t, 2**data),
        (np.power(2.0, t), 2**data),
        (np.negative(t), -data),
        (np.mean(t, axis=0), data.mean(axis=0)),
        (np.sum(t, axis=(0, 1), keepdims=True), data.sum(keepdims=True)),
        (np.reshape(t, (3, 2)), data.reshape(3, 2)),
        (np.transpose(t), data.T),
        (t.T, data.T),
        (np.broadcast_to(t, (2, 2, 3)), np.broadcast_to(data, (2, 2, 3))),
        (data * t, data * data),
        (t * data, data * data),
        (data - t, data * 0),
        (data / t, data / data),
        (t @ data.T, data @ data.T),
        (data @ t.T, data @ data.T),
        (np.float64(2) * t, 2 * data),
        ([1.0, 2.0, 3.0] * t, data * [1, 2, 3]),
        (t.reshape(-1), data.reshape(-1)),
        (t.reshape(3, 2), data.reshape(3, 2)),
        (t[:, 1:], data[:, 1:]),
    ]:
        assert isinstance(got, Tensor)
        np.testing.assert_array_equal(got.data, expected)


@pytest.mark.parametrize("call", [np.arctan, np.cumprod, np.add.reduce, np.vstack])
def test_a_numpy_function_without_a_primitive_is_named(call):
    with pytest.raises(TypeError, match=r"numpy\.(arctan|cumprod|add\.reduce|vstack) has no primitive"):
        call(Tensor([1.0]) if call is not np.vstack else [Tensor([1.0])])


def test_numpys_options_may_come_by_position_and_as_its_defaults():
    t = Tensor([[1.0, 2.0], [3.0, 7.0]])
    for call in (
        lambda a: np.mean(a, 0, None, None, True),
        lambda a: np.std(a, 1, None, None, 1),
        lambda a: np.max(a, 0, None, True),
        lambda a: np.sum(a, axis=1, dtype=None, out=None),
        lambda a: np.reshape(a, (4,), "C"),
        lambda a: np.concatenate([a, a], None),
        lambda a: np.stack([a, a], 1, None),
        lambda a: np.clip(a, None, 2.0),
        lambda a: np.linalg.norm(a, None, 0, True),
        lambda a: np.linalg.norm(a, 2, 1),
        lambda a: np.linalg.norm(a[0], 2),
        lambda a: np.linalg.norm(a, "fro"),
        lambda a: np.broadcast_to(array=a, shape=(3, 2, 2)),
        lambda a: np.einsum("ij,jk->k", a, a, optimize=False),
        lambda a: np.argmax(a, 1, None, keepdims=True),
    ):
        np.testing.assert_array_equal(getattr(call(t), "data", call(t)), call(t.data))


def test_writing_a_tensor_into_an_array_is_refused():
    a = np.ones(2)
    with pytest.raises(TypeError, match=r"write a = a \+ t"):
        a += Tensor([1.0, 2.0])
    assert a.tolist() == [1, 1]


def test_in_place_operators_rebind():
    a = b = Tensor([1.0, 2.0])
    a += 1
    assert a is not b
    assert b.data.tolist() == [1, 2]


@pytest.mark.parametrize("value", [3, True, np.int64(3), np.array([1, 2]), np.array([True]), [1, 2]])
def test_integers_and_booleans_become_float64(value):
    data = Tensor(value).data
    assert isinstance(data, float) or data.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_a_dtype_stays_through_forward_and_backward(dtype):
    x = Tensor(np.array([[1, 2], [3, 5]], dtype=dtype))
    y = ((x - x.mean(axis=0, keepdims=True)) ** 2 / 3.0 + 1).sqrt() * 2
    y.backward(np.ones((2, 2)))
    assert y.data.dtype == np.dtype(dtype).newbyteorder("=")
    assert x.grad.dtype == np.dtype(dtype).newbyteorder("=")


def test_a_single_number_may_be_reshaped_broadcast_and_averaged():
    t = Tensor(3.0)
    y = t.reshape(1, 1) * t.broadcast_to((2, 1)) + t.mean() + t.sum(keepdims=True)
    y.sum().backward()
    assert y.data.tolist() == [[15], [15]]
    assert t.grad == 2 * 6 + 2 + 2


def test_a_number_in_another_precision_has_a_gradient_in_its_own():
    x = Tensor([1.5, 0.1])
    y = x.astype("float32")
    y.backward([1.0, 2.0])
    assert (y.dtype, y.tolist(), x.grad.dtype, x.grad.tolist()) == (np.float32, [1.5, float(np.float32(0.1))], np.float64, [1, 2])


def test_leaves_do_not_share_their_gradients():
    a, b = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    (a + b).backward(np.ones(2))
    a.grad *= 0.5
    assert b.grad.tolist() == [1, 1]

    upstream = np.ones(2)
    for build in (lambda t: t, lambda t: t.reshape(2), lambda t: t + 1, lambda t: t.broadcast_to((2,))):
        t = Tensor([1.0, 2.0])
        y = build(t)
        y.backward(upstream)
        t.grad *= 0.5
        assert upstream.tolist() == [1, 1]
        assert y is t or y.grad.tolist() == [1, 1]


def test_grad_leaves_the_gradients_alone_and_gives_zeros_where_there_is_no_path():
    x, z = Tensor([1.0, 2.0]), Tensor([5.0])
    y = (x * x).sum()
    dx, dz = grad(y, [x, z])
    assert (dx.data.tolist(), dz.data.tolist()) == ([2, 4], [0])
    assert x.grad is None
    (alone,) = grad(y, x)
    assert alone.data.tolist() == [2, 4]


def test_grad_of_grad_with_a_tensor_as_upstream_gradient():
    """d/dv of (v · ∂(x²)/∂x) is 2x: the upstream gradient is part of the graph."""
    x, v = Tensor([1.0, 2.0]), Tensor([3.0, 4.0])
    (product,) = grad(x**2, [x], gradient=v)
    (dv,) = grad(product.sum(), [v])
    assert dv.data.tolist() == [2, 4]


def test_an_array_of_scalars_is_a_container():
    x = scalars([1.0, 2.0], label="x")
    assert [t.label for t in x] == ["x[0]", "x[1]"]
    scale = Tensor(3.0)
    for y in (x * scale, scale * x):
        assert y.shape == (2,)
        assert [t.data for t in y] == [3, 6]
    (x * scale).sum().backward()
    assert (scale.grad, x[0].grad) == (3, 3)


def test_an_array_that_holds_nothing_holds_no_tensors():
    none = Tensor(np.empty((0, 2), dtype=object))
    assert ((none + none).shape, none.sum(axis=1).shape) == ((0, 2), (0,))


def test_item_len_iteration_repr_and_comparisons():
    t = Tensor([[1.0], [2.0]], label="t")
    assert (t.sum().item(), Tensor(2.0).item(), len(t)) == (3, 2, 2)
    assert [row.item() for row in t] == [1, 2]
    assert repr(Tensor(2.0, "a")) == "Tensor(2.0, label='a')"
    assert (t > 1).tolist() == [[False], [True]]
    assert (Tensor(1.0) < Tensor(2.0), Tensor(1.0) >= 2, Tensor(1.0) <= 1) == (True, False, True)


def test_scalars_are_pythons_own_floats():
    t = Tensor([1.0, 2.0])
    assert type(t.sum().data) is float
    assert type(Tensor(2.0).exp().data) is float


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Tensor("text"), TypeError, "str 'text'"),
        (lambda: Tensor(None), TypeError, "None"),
        (lambda: Tensor([1.0, None]), TypeError, r"element \[1\] is None"),
        (lambda: Tensor(np.array(["a"])), TypeError, "dtype <U1"),
        (lambda: Tensor(1j), TypeError, "complex 1j"),
        (lambda: Tensor(range(3)), TypeError, "real numbers, and this is range"),
        (lambda: Tensor(len), TypeError, "built-in function len"),
        (lambda: Tensor([1.0]) * 1j, TypeError, "unsupported operand"),
        (lambda: Tensor([[1.0]]).transpose((3, 0)), ValueError, "axis 3 is out of bounds"),
        (
            lambda: bool(Tensor([1.0, 2.0])),
            ValueError,
            r"shape \(2,\) is not true or false as one: ask its \.data, as in \(t > 0\)\.data\.all\(\)",
        ),
        (lambda: Tensor(np.array([1j])), TypeError, "real numbers"),
        (lambda: Tensor([[1.0], [1.0, 2.0]]), ValueError, "rows of different lengths"),
        (lambda: Tensor(Tensor(1.0)), TypeError, "a Tensor already"),
        (lambda: Tensor(1.0, 2.0), TypeError, r"label is a string, and this is 2\.0: .* one list, Tensor\(\[1\.0, 2\.0\]\)"),
        (lambda: Tensor([1.0]) + "a", TypeError, "unsupported operand"),
        (lambda: Tensor([1.0]) * None, TypeError, "unsupported operand"),
        (
            lambda: Tensor([1.0, 2.0], "a") + np.ones(3),
            ValueError,
            r"add of a of shape \(2,\) and a value of shape \(3,\): .*\(2,\) \(3,\)",
        ),
        (
            lambda: Tensor([[1.0]], "x") @ Tensor([1.0, 2.0], "w"),
            ValueError,
            r"matmul of x of shape \(1, 1\) and w of shape \(2,\): ",
        ),
        (lambda: float(Tensor([1.0, 2.0])), ValueError, r"a Tensor of shape \(2,\) is no single number: reduce it first"),
        (lambda: np.linalg.inv(Tensor([[1.0]])), TypeError, r"numpy\.linalg\.inv has no primitive"),
        (lambda: Tensor(2.0) ** "a", TypeError, "unsupported operand"),
        (lambda: Tensor(2.0) < "a", TypeError, "compared with numbers, and this is str 'a'"),
        (lambda: Tensor(2.0) == "a", TypeError, "compared with numbers, and this is str 'a'"),
        (lambda: (Tensor([1.0]) > 0).sum().backward(), TypeError, "has no derivative"),
        (lambda: np.where(np.array([1.0]), Tensor([1.0]), 0.0), TypeError, "a condition of booleans"),
        (lambda: np.concatenate([Tensor([[1.0]]), [1.0]]), ValueError, r"shapes \[\(1, 1\), \(1,\)\]"),
        (lambda: np.concatenate([Tensor(np.ones((2, 3))), np.ones((2, 4))], -2), ValueError, r"along axis 0 joins .* nothing else"),
        (lambda: np.concatenate([Tensor(np.ones((2, 3))), np.ones((1, 3))], -1), ValueError, r"along axis 1 joins .* nothing else"),
        (lambda: np.concatenate([Tensor([1.0]), [1.0]], 1), ValueError, "axis 1 is out of bounds"),
        (lambda: np.stack([Tensor([1.0]), [1.0, 2.0]]), ValueError, r"one shape, and these have shapes"),
        (lambda: np.einsum("ij->ii", Tensor([[1.0]])), ValueError, "names an index twice"),
        (lambda: np.einsum("ij->k", Tensor([[1.0]])), ValueError, "or one that no array has"),
        (
            lambda: np.einsum("ij,jk->ik", Tensor([[1.0, 2.0]]), np.ones((3, 2))),
            ValueError,
            r"'j' in 'ij,jk->ik' is 2 and 3 in \[\(1, 2\)",
        ),
        (lambda: np.einsum("ij", Tensor([1.0])), ValueError, r"'ij' does not fit arrays of shapes \(1,\)"),
        (lambda: np.einsum("i,i", Tensor([1.0])), ValueError, "is about 2 arrays, and there are 1"),
        (lambda: np.einsum("i", Tensor([1.0]), [1.0]), ValueError, "is about 1 arrays, and there are 2"),
        (lambda: np.einsum("i", Tensor([[1.0]])), ValueError, r"'i' does not fit arrays of shapes \(1, 1\)"),
        (
            lambda: np.einsum("i,i", Tensor([1.0, 2.0, 3.0]), [1.0, 2.0]),
            ValueError,
            r"'i' in 'i,i' is 3 and 2 in \[\(3,\), \(2,\)\]",
        ),
        (lambda: np.einsum("i,i", Tensor([1.0, 2.0]), []), ValueError, "'i' in 'i,i' is 2 and 0 in"),
        (lambda: np.tensordot(Tensor(np.ones((2, 3))), np.ones((3, 2)), ([0, 1], [0, 1])), ValueError, "differ in size"),
        (lambda: Tensor([1.0]).cumsum(axis=1), ValueError, "axis 1 is out of bounds for array of dimension 1"),
        (lambda: np.moveaxis(Tensor([[1.0]]), 0, 2), ValueError, "axis 2 is out of bounds"),
        (lambda: Tensor(1.0).softmax(), ValueError, "axis -1 is out of bounds for array of dimension 0"),
        (lambda: np.linalg.norm(Tensor([1.0]), "fro"), TypeError, "the Euclidean one, and this is of order 'fro'"),
        (lambda: np.linalg.norm(Tensor([[1.0]]), 2), TypeError, "the Euclidean one, and this is of order 2"),
        (lambda: np.linalg.norm(Tensor(1.0), 2), TypeError, "the Euclidean one, and this is of order 2"),
        (lambda: np.sum(Tensor([1.0]), where=np.array([True, False])), TypeError, r"numpy\.sum with where has no primitive"),
        (lambda: np.sum(Tensor([1.0]), dtype=float), TypeError, r"numpy\.sum with dtype has no primitive"),
        (lambda: np.sum(Tensor([1.0]), 0, float), TypeError, r"numpy\.sum with dtype has no primitive"),
        (lambda: np.max(Tensor([1.0]), 0, None, True, 5.0), TypeError, r"numpy\.max with initial has no primitive"),
        (lambda: np.reshape(Tensor([1.0]), 1, "F"), TypeError, r"numpy\.reshape with order has no primitive"),
        (lambda: np.where(Tensor([1.0]) > 0), TypeError, "of a condition alone gives places, which have no derivative"),
        (lambda: np.where(Tensor([1.0]) > 0, 1.0), TypeError, "of a condition alone gives places"),
        (lambda: Tensor([1.0]).clip(), ValueError, "clip needs a bound"),
        (lambda: np.where(None, Tensor([1.0]), 0.0), TypeError, "a condition of booleans, and this is None"),
        (lambda: np.where(1, Tensor([1.0]), 0.0), TypeError, "a condition of booleans, and this is 1"),
        (lambda: Tensor(np.empty((2, 0))).max(axis=1), ValueError, r"max over axis 1 of shape \(2, 0\) is of no number"),
        (lambda: Tensor([1.0]).astype(int), TypeError, "numbers are floats.*and this is int64"),
        (lambda: Tensor([1.0]).astype(bool), TypeError, "numbers are floats.*and this is bool"),
        (lambda: Tensor(np.ma.masked_invalid([1.0, np.nan])), TypeError, r"a\.compressed\(\)"),
        (lambda: Tensor([1.0, 2.0]) * np.ma.masked_invalid([1.0, np.nan]), TypeError, r"a\.compressed\(\)"),
        *[(lambda n=n: Tensor(scalars(n)), TypeError, r"np\.stack\(list\(array\)\)") for n in ([1.0], [1.0, 2.0])],
        (lambda: np.array([Tensor(1.0), Tensor(2.0)]), TypeError, r"np\.stack\(\[a, b\]\)"),
        (lambda: np.asarray(Tensor([1.0])), TypeError, r"\.data"),
        (lambda: np.asarray(Tensor(1.0), dtype=float), TypeError, "its history would be lost"),
        (lambda: len(Tensor(1.0)), TypeError, "len"),
        (lambda: Tensor([1.0, 2.0]).backward(), ValueError, r"shape \(2,\)"),
        (lambda: Tensor([1.0, 2.0]).backward([1.0]), ValueError, r"\(1,\).*\(2,\)"),
        (lambda: Tensor([1.0, 2.0]).backward("a"), TypeError, "str 'a'"),
        (lambda: Tensor([1.0]).exp().contributions(), ValueError, "backward"),
    ],
)
def test_errors_teach(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_failed_operation_leaves_nothing_behind():
    x = Tensor([1.0, 2.0])
    y = x * 2
    with pytest.raises(ValueError, match="upstream gradient"):
        y.backward(np.ones(3))
    assert x.grad is None
    assert y.grad is None


def test_primitives_compute_on_plain_data_too():
    assert P.mul(2.0, 3.0) == 6
    assert P.sum(np.ones(3), axis=None, keepdims=False) == 3


def test_comparisons_are_those_of_the_data():
    a, b = Tensor(1.0), Tensor(2.0)
    assert [a < b, a <= b, a > b, a >= b] == [True, True, False, False]
    assert [b < a, b <= a, b > a, b >= a] == [False, False, True, True]
    assert [a < 1.0, a <= 1.0, a > 1.0, a >= 1.0] == [False, True, False, True]


@pytest.mark.parametrize(
    "single", [2.1, np.float64(2.1), np.array(2.1), Tensor(2.1), Tensor(np.float64(2.1)), Tensor(np.array(2.1))]
)
def test_a_single_number_takes_the_dtype_of_the_array_that_it_meets(single):
    x = Tensor(np.ones(3, np.float32))
    assert (x * single).dtype == (single * x).dtype == np.float32
    assert (x * np.array([2.1])).dtype == np.float64


def test_a_single_value_needs_no_upstream_gradient_whatever_its_shape():
    x = Tensor([[3.0]])
    (x * x).backward()
    assert x.grad.tolist() == [[6.0]]
    with pytest.raises(ValueError, match=r"needs an upstream gradient: this tensor has shape \(0,\)"):
        Tensor(np.empty(0)).backward()


def test_the_upstream_gradient_of_a_float32_may_be_pythons_float():
    x = Tensor(np.float32(3))
    (x * x).backward(0.5)
    assert x.grad == 3


def test_an_index_that_equals_another_is_not_taken_for_it():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert x[(False, True)].shape == (0, 2, 3)
    assert x[0, 1].data == 1
    assert x[True, 0].shape == (1, 3)


def test_axes_may_be_given_as_numbers_and_from_the_end():
    data, dy = np.arange(24.0).reshape(2, 3, 4), np.arange(24.0).reshape(4, 2, 3)
    for moved in (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose((-1, 0, 1)), lambda x: np.transpose(x, axes=[2, 0, 1])):
        x = Tensor(data)
        y = moved(x)
        y.backward(dy)
        np.testing.assert_array_equal(y.data, data.transpose(2, 0, 1))
        np.testing.assert_array_equal(x.grad, dy.transpose(1, 2, 0))


def test_lists_are_arrays_to_numpys_functions():
    x = Tensor([[1.0, 2.0]])
    y = np.add(np.matmul(x, [[3.0], [4.0]]), [5.0])
    y.backward([[1.0]])
    assert (y.data.tolist(), x.grad.tolist()) == ([[16]], [[3, 4]])


def test_a_gradient_is_plain_data_though_it_came_as_a_tensor():
    x = Tensor([1.0, 2.0])
    (x * x).backward(Tensor([1.0, 1.0]))
    assert type(x.grad) is np.ndarray


def test_an_array_of_one_number_may_lose_its_axes():
    assert Tensor([[3.0]]).reshape().data == 3


def test_the_truth_of_a_number_is_that_of_its_data():
    assert [bool(Tensor(value)) for value in (0.0, 2.0, [[3.0]])] == [False, True, True]


def test_a_list_stands_on_the_side_where_it_was_written():
    x = Tensor([[4.0], [2.0]])
    given = [[8.0]]
    results = given + x, given - x, given * x, given / x, [[8.0, 1.0]] @ x
    assert [y.data.ravel().tolist() for y in results] == [[12, 10], [4, 6], [32, 16], [2, 4], [34]]
    assert all(y.parents == (x,) and y.inputs[1] is x for y in results)


def test_the_upstream_gradient_takes_the_dtype_of_what_it_belongs_to():
    for dtype, other in ((np.float64, np.float32), (np.float32, np.float64)):
        x = Tensor(np.ones(2, dtype))
        y = x + x
        y.backward(np.ones(2, other))
        assert y.grad.dtype == x.grad.dtype == dtype


def test_what_was_repeated_no_times_has_a_gradient_of_0():
    x = Tensor([[3.0]])
    (x * np.empty((0, 2))).backward(np.empty((0, 2)))
    assert x.grad.tolist() == [[0.0]]
    none = Tensor(np.empty(0))
    (none * np.ones((2, 1))).backward(np.empty((2, 0)))
    assert none.grad.shape == (0,)


def test_a_label_may_be_changed_and_the_equation_stays():
    mu = mean(Tensor([1.0, 2.0]))
    mu.label = "average"
    assert (mu.label, mu.equation.number, mu.equation.output) == ("average", 1, "mu")
    x = Tensor(1.0)
    x.label = "x"
    assert (x.label, x.equation) == ("x", None)


def test_what_goes_into_a_comparison_too_still_gets_its_gradient():
    """Nothing comes back from a comparison, and nothing waits for it: not where, clip and norm, not a mask that is a product."""
    x = Tensor([-1.0, 2.0, 5.0])
    h = x * 3  # a node that is used by the comparison, and by what it selects
    y = np.where(h > 0, h * h, 0.0) + h.clip(-2, 9) + np.where((h > 0)[::-1], h, 0.0)
    y.backward(np.ones(3))
    assert h.grad.tolist() == [1, 14, 30]
    assert x.grad.tolist() == [3, 42, 90]
    (dx,) = grad(y, [x], np.ones(3))
    assert dx.data.tolist() == [3, 42, 90]


def test_a_vjp_may_say_that_an_input_has_no_derivative():
    first = P.Primitive("first", "first", lambda a, b: a, lambda g, y, a, b: (g, None))
    x = Tensor(2.0)
    h = x * 3
    y = first(h, h * h) * h
    y.backward()
    assert (h.grad, x.grad) == (12, 36)
    assert [node.grad for node in y.parents[0].parents] == [12, None]


def test_a_gradient_has_its_nodes_dtype_whatever_a_vjp_gives():
    for given in (np.float16, np.float32, np.float64):
        half = P.Primitive("half", "half", lambda a: a / 2, lambda g, y, a, given=given: ((g / 2).astype(given),))
        for own in (np.float32, np.float64):
            x = Tensor(np.ones(2, own))
            half(x).backward(np.ones(2))
            assert (x.grad.dtype, x.grad.tolist()) == (own, [0.5, 0.5])


def test_grad_by_what_is_in_no_graph_is_refused():
    x = Tensor(2.0)
    with pytest.raises(TypeError, match=r"this is 2\.0, which is in no graph"):
        grad(x * x, [2.0])
    with pytest.raises(TypeError, match=r"grad differentiates a Tensor, .*, and this is 3\.0"):
        grad(3.0, [x])


def test_what_leads_to_several_results_comes_in_the_order_in_which_python_computes_it():
    a = Tensor(1.0)
    b, c = a + 1, a * 3
    assert [in_order([b, c]), in_order([c, b])] == [[a, b, c], [a, c, b]]


def test_a_gradient_has_its_inputs_shape_where_axes_were_added_and_repeated_and_where_there_is_nothing():
    x = Tensor(np.ones((1, 3)))
    (x * np.ones((2, 4, 3))).sum().backward()
    assert x.grad.tolist() == [[8, 8, 8]]
    none = Tensor(np.empty((0, 3)))
    none.sum(axis=0).backward(np.ones(3))
    assert none.grad.shape == (0, 3)


def test_axes_that_are_not_there_are_refused_and_a_sum_over_all_is_one_number():
    for axis in (2, 3, -3, (0, 5)):
        with pytest.raises(ValueError, match="out of bounds for array of dimension 2"):
            axes(2, axis)
    assert shape(total(np.ones((2, 3)))) == ()
    assert broadcast_shape((int("1000"), 1), (int("1000"),)) == (1000, 1000)
