"""Every function, a row each, against PyTorch: value, gradient and second derivative, in every dtype; also of no numbers at all.

A row is how we write it (NumPy's function, the method, …), how PyTorch does, the shapes of the inputs and the numbers in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from micrograd_bn import Tensor, grad
from micrograd_bn import functions as F
from micrograd_bn.dispatch import FUNCTIONS, UFUNCS
from tests.conftest import optional
from tests.strategies import PRIMITIVES, as_c, as_fortran, backwards, every_other

torch = optional("torch")

EACH = [((),), ((4,),), ((2, 3),), ((0,),), ((2, 0, 3),)]
PAIRS = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((0, 3), (1, 3)), ((2, 1), (2, 0))]
MATRIX = [((4, 3),), ((3, 2, 4),)]
TWO = [((2, 3), (2, 3))]


def normal(random, shape):
    return random.normal(size=shape)


def positive(random, shape):
    return random.uniform(0.5, 2, shape)


def ties(random, shape):
    """Small integers: with equals among them, on bounds, and at 0."""
    return random.integers(-2, 3, shape).astype(float)


def huge(random, shape):
    return random.choice([-1e4, 1e4, 9_999.0, 0.5, -0.5], shape)


class Row(NamedTuple):
    name: str
    ours: tuple[Callable[..., Any], ...]  # ways to write the same
    theirs: Callable[..., Any]
    shapes: list[tuple[tuple[int, ...], ...]]
    numbers: Callable[..., Any] = normal
    orders: int = 2
    dtypes: tuple[str, ...] = ("float16", "float32", "float64")


def row(name, *ours, theirs, shapes, numbers=normal, orders=2, dtypes=("float16", "float32", "float64")):
    return Row(name, ours, theirs, shapes, numbers, orders, dtypes)


def sorted_einsum(subscripts, *shapes):
    return row(
        f"einsum {subscripts}",
        lambda *a: np.einsum(subscripts, *a),
        lambda *a: F.einsum(subscripts, *a),
        theirs=lambda *a: torch.einsum(subscripts, *a),
        shapes=list(shapes),
    )


INTEGERS = np.array([2, 3, 0, 1])
CONDITION = np.array([[True, False, True], [False, False, True]])

ROWS = [
    # ---- each number
    row("exp", lambda a: a.exp(), np.exp, theirs=lambda a: a.exp(), shapes=EACH),
    row("expm1", np.expm1, theirs=lambda a: a.expm1(), shapes=EACH),
    row("log", lambda a: a.log(), np.log, theirs=lambda a: a.log(), shapes=EACH, numbers=positive),
    row("log1p", np.log1p, theirs=lambda a: a.log1p(), shapes=EACH, numbers=positive),
    row("sqrt", lambda a: a.sqrt(), np.sqrt, theirs=lambda a: a.sqrt(), shapes=EACH, numbers=positive),
    row("square", np.square, lambda a: a**2, theirs=lambda a: a.square(), shapes=EACH),
    row("sin", lambda a: a.sin(), np.sin, theirs=lambda a: a.sin(), shapes=EACH),
    row("cos", lambda a: a.cos(), np.cos, theirs=lambda a: a.cos(), shapes=EACH),
    row("tanh", lambda a: a.tanh(), np.tanh, theirs=lambda a: a.tanh(), shapes=EACH),
    row("sigmoid", lambda a: a.sigmoid(), F.sigmoid, theirs=lambda a: a.sigmoid(), shapes=EACH),
    row("relu", lambda a: a.relu(), F.relu, theirs=lambda a: a.relu(), shapes=EACH, numbers=ties),
    row("negative", lambda a: -a, np.negative, theirs=lambda a: -a, shapes=EACH),
    row("abs", lambda a: a.abs(), np.abs, abs, theirs=lambda a: a.abs(), shapes=EACH, numbers=ties),
    row("clip", lambda a: a.clip(-1, 1), lambda a: np.clip(a, -1, 1), lambda a: np.clip(a, a_min=-1, a_max=1.0),
        theirs=lambda a: a.clamp(-1, 1), shapes=EACH, numbers=ties),
    row("clip below", lambda a: a.clip(min=1), lambda a: np.clip(a, 1, None), theirs=lambda a: a.clamp(min=1),
        shapes=EACH, numbers=ties),
    row("clip above", lambda a: a.clip(max=1), theirs=lambda a: a.clamp(max=1), shapes=EACH, numbers=ties),
    row("clip by Tensors", lambda a, b, c: a.clip(b, c), theirs=torch.clamp, shapes=[((2, 3), (3,), ())]),
    *[row(f"** {n}", lambda a, n=n: a**n, lambda a, n=n: np.power(a, n), theirs=lambda a, n=n: a**n, shapes=EACH,
          numbers=positive if n < 0 else ties) for n in (0, 1, 2, 3, -1, -2)],
    row("** 0.5", lambda a: a**0.5, theirs=lambda a: a**0.5, shapes=EACH, numbers=positive),
    row("** integers", lambda a: a**INTEGERS, lambda a: np.power(a, INTEGERS), theirs=lambda a: a ** torch.tensor(INTEGERS),
        shapes=[((4,),), ((2, 4),), ((1,),), ((),)]),
    row("** integers, at 0", lambda a: a**INTEGERS, theirs=lambda a: a ** torch.tensor(INTEGERS),
        shapes=[((3, 4),)], numbers=ties, orders=1),
    # ---- two numbers
    row("add", lambda a, b: a + b, np.add, theirs=lambda a, b: a + b, shapes=PAIRS),
    row("subtract", lambda a, b: a - b, np.subtract, theirs=lambda a, b: a - b, shapes=PAIRS),
    row("multiply", lambda a, b: a * b, np.multiply, theirs=lambda a, b: a * b, shapes=PAIRS),
    row("divide", lambda a, b: a / b, np.divide, theirs=lambda a, b: a / b, shapes=PAIRS, numbers=positive),
    row("power", lambda a, b: a**b, np.power, theirs=lambda a, b: a**b, shapes=PAIRS, numbers=positive),
    row("power at 0", lambda a, b: abs(a) ** abs(b), theirs=lambda a, b: a.abs() ** b.abs(), shapes=PAIRS, numbers=ties, orders=1),
    row("number ** a", lambda a: 3**a, lambda a: np.power(3.0, a), theirs=lambda a: 3**a, shapes=EACH),
    row("0 ** a", lambda a: 0 ** (a + 1), theirs=lambda a: 0 ** (a + 1), shapes=EACH, numbers=positive, orders=1),
    row("maximum", np.maximum, F.maximum, theirs=torch.maximum, shapes=PAIRS, numbers=ties),
    row("minimum", np.minimum, F.minimum, theirs=torch.minimum, shapes=PAIRS, numbers=ties),
    row("where", lambda a, b: np.where(CONDITION, a, b), theirs=lambda a, b: torch.where(torch.tensor(CONDITION), a, b),
        shapes=[((2, 3), (2, 3)), ((3,), (2, 1)), ((), (1, 3))]),
    row("where a < b", lambda a, b: np.where(a < b, a * b, b), theirs=lambda a, b: torch.where(a < b, a * b, b),
        shapes=PAIRS, numbers=ties),
    # ---- reductions
    *[
        row(f"{name} over {axis}{', kept' if keepdims else ''}",
            lambda a, name=name, axis=axis, keepdims=keepdims: getattr(a, name)(axis=axis, keepdims=keepdims),
            lambda a, name=name, axis=axis, keepdims=keepdims: getattr(np, name)(a, axis=axis, keepdims=keepdims),
            theirs=lambda a, their=their, axis=axis, keepdims=keepdims: their(a, dim=axis, keepdim=keepdims),
            shapes=[*MATRIX, *([((2, 0, 3),)] if axis == -1 else [])], numbers=ties if name in ("max", "min") else normal)
        for name, their in {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}.items()
        for axis, keepdims in ((0, False), (-1, True), ((0, 1), False), (-1, False))
    ],
    *[
        row(f"{name} of all", lambda a, name=name: getattr(a, name)(), lambda a, name=name: getattr(np, name)(a),
            theirs=lambda a, name=name: getattr(torch, name)(a), shapes=[((),), ((4,),), ((2, 3),)], numbers=numbers)
        for name, numbers in (("sum", normal), ("mean", normal), ("max", ties), ("min", ties), ("prod", normal))
    ],
    row("sum of nothing", lambda a: a.sum(axis=0), theirs=lambda a: a.sum(0), shapes=[((0, 3),)]),
    row("prod", lambda a: a.prod(axis=1), lambda a: np.prod(a, axis=1), theirs=lambda a: a.prod(1), shapes=MATRIX),
    row("prod, kept", lambda a: a.prod(axis=-1, keepdims=True), theirs=lambda a: a.prod(-1, keepdim=True), shapes=MATRIX),
    row("prod with zeros", lambda a: a.prod(axis=0), theirs=lambda a: a.prod(0), shapes=[((5, 8),), ((1, 3),)], numbers=ties),
    row("prod of nothing", lambda a: a.prod(axis=0), theirs=lambda a: a.prod(0), shapes=[((0, 3),)]),
    *[
        row(f"{name}, ddof {ddof}", lambda a, name=name, ddof=ddof: getattr(a, name)(axis=0, ddof=ddof),
            lambda a, name=name, ddof=ddof: getattr(np, name)(a, axis=0, ddof=ddof),
            theirs=lambda a, name=name, ddof=ddof: getattr(a, name)(0, correction=ddof), shapes=MATRIX)
        for name in ("var", "std") for ddof in (0, 1)
    ],
    row("var of all", lambda a: a.var(), lambda a: np.var(a, keepdims=False), theirs=lambda a: a.var(correction=0), shapes=MATRIX),
    row("norm", lambda a: a.norm(axis=-1), lambda a: np.linalg.norm(a, axis=-1), lambda a: np.linalg.norm(a, 2, -1),
        theirs=lambda a: a.norm(dim=-1), shapes=MATRIX),
    row("norm of all", lambda a: a.norm(), np.linalg.norm, theirs=lambda a: a.norm(), shapes=[((4,),), ((2, 3),)]),
    row("norm at 0", lambda a: (a * 0).norm(axis=0), theirs=lambda a: (a * 0).norm(dim=0), shapes=MATRIX, orders=1),
    row("softmax", lambda a: a.softmax(), lambda a: a.softmax(axis=-1), theirs=lambda a: a.softmax(-1), shapes=MATRIX),
    row("softmax over 0", lambda a: a.softmax(axis=0), theirs=lambda a: a.softmax(0), shapes=MATRIX, numbers=ties),
    row("log_softmax", lambda a: a.log_softmax(axis=1), theirs=lambda a: a.log_softmax(1), shapes=MATRIX),
    row("logsumexp", lambda a: a.logsumexp(axis=0), theirs=lambda a: a.logsumexp(0), shapes=MATRIX, numbers=ties),
    row("logsumexp, kept", lambda a: a.logsumexp(axis=(0, 1), keepdims=True), theirs=lambda a: a.logsumexp((0, 1), True),
        shapes=MATRIX),
    *[
        row(f"{name} of 1e4", lambda a, name=name: getattr(a, name)(axis=-1), theirs=lambda a, name=name: getattr(a, name)(-1),
            shapes=[((6, 4),)], numbers=huge)
        for name in ("softmax", "log_softmax", "logsumexp")
    ],
    row("cumsum", lambda a: a.cumsum(axis=0), lambda a: np.cumsum(a, axis=0), theirs=lambda a: a.cumsum(0),
        shapes=[*MATRIX, ((0, 2),)]),
    row("cumsum over -1", lambda a: a.cumsum(axis=-1), theirs=lambda a: a.cumsum(-1), shapes=MATRIX),
    row("cumsum of all", lambda a: a.cumsum(), np.cumsum, theirs=lambda a: a.ravel().cumsum(0), shapes=[((),), ((2, 3),)]),
    # ---- products
    row("matmul", lambda a, b: a @ b, np.matmul, theirs=torch.matmul,
        shapes=[((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)),
                ((5, 2, 3), (3, 4)), ((2, 1, 2, 3), (5, 3, 2)), ((2, 0), (0, 3))]),
    row("dot", lambda a, b: a.dot(b), np.dot, theirs=lambda a, b: a @ b, shapes=[((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4))]),
    row("dot with a number", lambda a, b: a.dot(b), np.dot, theirs=lambda a, b: a * b, shapes=[((), (2, 3)), ((2,), ())]),
    row("dot of 3 axes", lambda a, b: a.dot(b), np.dot, theirs=lambda a, b: torch.tensordot(a, b, ([-1], [-2])),
        shapes=[((2, 3), (4, 3, 2))]),
    row("outer", np.outer, F.outer, theirs=lambda a, b: torch.outer(a.ravel(), b.ravel()),
        shapes=[((2,), (3,)), ((2, 2), (3,)), ((), (3,))]),
    row("tensordot", np.tensordot, F.tensordot, theirs=torch.tensordot, shapes=[((2, 3, 4), (3, 4, 2))]),
    row("tensordot 1", lambda a, b: np.tensordot(a, b, 1), theirs=lambda a, b: torch.tensordot(a, b, 1),
        shapes=[((2, 3), (3, 4)), ((3,), (3,))]),
    row("tensordot 0", lambda a, b: np.tensordot(a, b, 0), theirs=lambda a, b: torch.tensordot(a, b, 0), shapes=[((2,), (3, 4))]),
    row("tensordot axes", lambda a, b: np.tensordot(a, b, axes=([0, -1], [1, 0])),
        lambda a, b: np.tensordot(a, b, ((0, 2), (1, 0))),
        theirs=lambda a, b: torch.tensordot(a, b, ([0, 2], [1, 0])), shapes=[((2, 3, 4), (4, 2, 5)), ((0, 3, 4), (4, 0, 5))]),
    sorted_einsum("ij,jk->ik", ((2, 3), (3, 4)), ((2, 0), (0, 4))),
    sorted_einsum("ij,jk", ((2, 3), (3, 4))),
    sorted_einsum("ba", ((2, 3),)),
    sorted_einsum("ii", ((3, 3),)),
    sorted_einsum("ii->i", ((3, 3),)),
    sorted_einsum("iij->j", ((3, 3, 2),)),
    sorted_einsum("ij->", ((3, 2),)),
    sorted_einsum("ij->j", ((3, 2),)),
    sorted_einsum("i,i->", ((3,), (3,)), ((3,), (1,))),
    sorted_einsum("i,i", ((3,), (3,))),
    sorted_einsum("i,j->ji", ((3,), (2,))),
    sorted_einsum("ij,ij->", ((3, 2), (3, 2)), ((3, 1), (1, 2))),
    sorted_einsum("bhqd,bhkd->bhqk", ((2, 2, 3, 2), (2, 2, 4, 2))),
    sorted_einsum("...ij,...jk->...ik", ((2, 2, 3), (2, 3, 2)), ((5, 1, 2, 3), (2, 3, 2)), ((2, 3), (4, 3, 2))),
    sorted_einsum("...ij,jk", ((4, 2, 3), (3, 2))),
    sorted_einsum("...", ((2, 3),)),
    sorted_einsum("i...->...", ((4, 2, 3),)),
    sorted_einsum("ij,jk,kl->il", ((2, 3), (3, 2), (2, 4))),
    sorted_einsum("ij,kj->", ((2, 3), (4, 3))),
    # ---- shapes
    row("reshape", lambda a: a.reshape(3, -1), lambda a: a.reshape((3, -1)), lambda a: np.reshape(a, (3, -1)),
        theirs=lambda a: a.reshape(3, -1), shapes=[((2, 3),), ((2, 3, 4),)]),
    row("ravel", lambda a: a.ravel(), lambda a: a.flatten(), np.ravel, theirs=lambda a: a.ravel(), shapes=EACH),
    row("transpose", lambda a: a.transpose(1, 0, 2), lambda a: np.transpose(a, (1, 0, -1)), theirs=lambda a: a.permute(1, 0, 2),
        shapes=[((2, 3, 4),), ((2, 0, 4),)]),
    row("T", lambda a: a.T, np.transpose, theirs=lambda a: a.T, shapes=[((2, 3),)]),
    row("swapaxes", lambda a: a.swapaxes(0, -1), lambda a: np.swapaxes(a, 0, -1), theirs=lambda a: a.swapaxes(0, -1),
        shapes=MATRIX),
    row("moveaxis", lambda a: np.moveaxis(a, 0, -1), theirs=lambda a: a.moveaxis(0, -1), shapes=MATRIX),
    row("moveaxis of two", lambda a: np.moveaxis(a, (0, 2), (1, 0)), theirs=lambda a: a.moveaxis((0, 2), (1, 0)),
        shapes=[((2, 3, 4, 2),)]),
    row("squeeze", lambda a: a.squeeze(), np.squeeze, theirs=lambda a: a.squeeze(), shapes=[((1, 3, 1),), ((1, 1),)]),
    row("squeeze 0", lambda a: a.squeeze(axis=0), lambda a: np.squeeze(a, 0), theirs=lambda a: a.squeeze(0), shapes=[((1, 3, 1),)]),
    row("expand_dims", lambda a: np.expand_dims(a, 1), theirs=lambda a: a.unsqueeze(1), shapes=[((3,),), ((2, 3),)]),
    row("expand_dims of two", lambda a: np.expand_dims(a, (0, -1)), theirs=lambda a: a[None, ..., None], shapes=[((3,),)]),
    row("broadcast_to", lambda a: a.broadcast_to((2, 4, 3)), lambda a: np.broadcast_to(a, (2, 4, 3)),
        theirs=lambda a: a.broadcast_to((2, 4, 3)), shapes=[((3,),), ((4, 1),), ((),)]),
    row("repeat", lambda a: a.repeat(2, axis=0), lambda a: np.repeat(a, 2, axis=0),
        theirs=lambda a: a.repeat_interleave(2, 0), shapes=MATRIX),
    row("repeat by counts", lambda a: np.repeat(a, [2, 0, 1], axis=-1),
        theirs=lambda a: a.repeat_interleave(torch.tensor([2, 0, 1]), -1), shapes=[((2, 3),)]),
    row("repeat of all", lambda a: a.repeat(3), theirs=lambda a: a.ravel().repeat_interleave(3), shapes=[((),), ((2, 3),)]),
    row("concatenate", lambda *a: np.concatenate(a), lambda *a: F.concatenate(a, 0), theirs=lambda *a: torch.cat(a),
        shapes=[((2, 3), (1, 3), (0, 3)), ((2,), (2,))]),
    row("concatenate along -1", lambda *a: np.concatenate(a, axis=-1), theirs=lambda *a: torch.cat(a, -1),
        shapes=[((2, 3), (2, 1))]),
    row("concatenate of all", lambda *a: np.concatenate(a, axis=None), theirs=lambda *a: torch.cat([x.ravel() for x in a]),
        shapes=[((2, 3), ())]),
    row("stack", lambda *a: np.stack(a), lambda *a: F.stack(a), theirs=lambda *a: torch.stack(a), shapes=[*TWO, ((), ()), ((2,),)]),
    row("stack along -1", lambda *a: np.stack(a, axis=-1), theirs=lambda *a: torch.stack(a, -1), shapes=TWO),
    row("index", lambda a: a[:, 1], theirs=lambda a: a[:, 1], shapes=MATRIX),
    row("slice", lambda a: a[1:, ..., None], theirs=lambda a: a[1:, ..., None], shapes=MATRIX),
    row("fancy index", lambda a: a[[0, 2, 0]], theirs=lambda a: a[[0, 2, 0]], shapes=[((3, 2),)]),
    row("mask", lambda a: a[CONDITION], theirs=lambda a: a[torch.tensor(CONDITION)], shapes=[((2, 3),)]),
    row("astype", lambda a: a.astype(np.float32) * 1, theirs=lambda a: a.to(torch.float32) * 1, shapes=EACH, dtypes=("float32",)),
    row("astype float64", lambda a: (a.astype("float64") ** 2).astype(a.dtype),
        theirs=lambda a: (a.double() ** 2).to(a.dtype), shapes=EACH),
]  # fmt: skip


def plain(a):
    return a.numpy(force=True) if isinstance(a, torch.Tensor) else np.asarray(a.data)


def by_us(function, arrays, dy, directions, orders):
    """The result, its gradients for the upstream gradient dy, and the gradients of their sum along directions."""
    inputs = [Tensor(a) for a in arrays]
    y = function(*inputs)
    y.backward(dy)
    first = grad(y, inputs, dy)
    for a, g in zip(inputs, first):
        assert np.shape(a.grad) == a.shape
        np.testing.assert_array_equal(a.grad, g.data)
    second = grad(sum((g * v).sum() for g, v in zip(first, directions)), inputs) if orders > 1 else ()
    return y, *first, *second


def by_torch(function, arrays, dy, directions, orders):
    inputs = [torch.tensor(np.array(a), dtype=torch.float64, requires_grad=True) for a in arrays]
    y = function(*inputs)
    first = torch.autograd.grad(y, inputs, torch.tensor(dy, dtype=torch.float64), create_graph=True, materialize_grads=True)
    slope = sum((g * torch.tensor(v)).sum() for g, v in zip(first, directions))
    if orders > 1 and slope.requires_grad:
        return y, *first, *torch.autograd.grad(slope, inputs, materialize_grads=True)
    return y, *first, *([torch.zeros_like(a) for a in inputs] if orders > 1 else ())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_value_gradient_and_second_derivative_are_pytorchs(row):
    random = np.random.default_rng(0)
    for shapes in row.shapes:
        for dtype in row.dtypes:
            arrays = [np.asarray(row.numbers(random, shape)).astype(dtype) for shape in shapes]
            directions = [random.normal(size=shape).astype(dtype).astype(float) for shape in shapes]
            shape = np.shape(plain(row.ours[0](*map(Tensor, arrays))))
            dy = random.normal(size=shape).astype(dtype)
            expected = by_torch(row.theirs, arrays, dy, directions, row.orders)
            directions = [v.astype(dtype) for v in directions]
            results = [by_us(way, arrays, dy, directions, row.orders) for way in row.ours]
            for got, want in zip(results[0], map(plain, expected)):
                assert got.shape == want.shape
                assert got.dtype == np.dtype(dtype)
                # Some ten to a hundred roundings, of numbers as large as the largest.
                size = max(1.0, *(np.abs(a).max(initial=0) for a in (want, *arrays)))
                np.testing.assert_allclose(
                    plain(got), want, rtol=0, atol=64 * np.finfo(dtype).eps * size, err_msg=f"{shapes} {dtype}"
                )
            for other in results[1:]:
                for a, b in zip(results[0], other):
                    np.testing.assert_array_equal(plain(a), plain(b))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("layout", [as_fortran, backwards, every_other], ids=lambda layout: layout.__name__)
def test_how_numbers_lie_in_memory_changes_nothing(row, layout):
    """Negative strides, Fortran's order, gaps: the same numbers to a rounding, for sums may be taken in another order."""
    random = np.random.default_rng(0)
    shapes = row.shapes[-1]
    arrays = [np.asarray(row.numbers(random, shape)) for shape in shapes]
    dy = random.normal(size=np.shape(plain(row.ours[0](*map(Tensor, arrays)))))
    arrays = [a.astype(row.dtypes[-1]) for a in arrays]
    found = [by_us(row.ours[0], [lay(a) for a in arrays], lay(np.asarray(dy)), arrays, row.orders) for lay in (as_c, layout)]
    for a, b in zip(*found):
        size = np.abs(plain(a)).max(initial=1)
        np.testing.assert_allclose(plain(b), plain(a), rtol=0, atol=64 * np.finfo(plain(a).dtype).eps * size)


def test_every_function_and_every_method_has_a_row():
    """By what is called: each entry of the two tables that NumPy's functions go through, and each method."""
    called = set()

    class Watched(Tensor):
        def __getattribute__(self, name):
            called.add(name)
            return super().__getattribute__(name)

        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            called.add(ufunc)
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)

        def __array_function__(self, function, types, args, kwargs):
            called.add(function)
            return super().__array_function__(function, types, args, kwargs)

    random = np.random.default_rng(0)
    for row in ROWS:
        for way in row.ours:
            way(*[Watched(row.numbers(random, shape)) for shape in row.shapes[-1]])
    comparisons = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
    without = {*comparisons, np.argmax, np.amax, np.amin}  # no derivative, or another name
    assert {f.__name__ for f in (*UFUNCS, *FUNCTIONS)} - {getattr(f, "__name__", f) for f in called} <= {
        f.__name__ for f in without
    }
    here = vars(Tensor.__mro__[1]).items()
    methods = {name for name, value in here if getattr(value, "__module__", "") == F.__name__ or name in PRIMITIVES}
    assert len(methods) > 25
    assert methods - called == {"argmax"}


# ---- What PyTorch cannot say, or says in another way


def test_sigmoid_is_stable_and_exact_at_0_to_third_order():
    x = Tensor([-1000.0, -40.0, 0.0, 40.0, 1000.0])
    with np.errstate(all="raise", under="ignore"):
        y = x.sigmoid()
        y.backward(np.ones(5))
    np.testing.assert_allclose(y.data, [0, np.exp(-40), 0.5, 1, 1], rtol=1e-15)
    np.testing.assert_allclose(x.grad, [0, np.exp(-40), 0.25, np.exp(-40), 0], rtol=1e-14)
    for zero in (Tensor(0.0), Tensor(np.float32(0))):
        derivative, found = zero.sigmoid(), []
        for _ in range(3):
            (derivative,) = grad(derivative, [zero])
            found.append(derivative.item())
        assert found == [0.25, 0, -0.125]


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_softmax_and_its_kin_keep_their_digits_however_large_the_numbers(scale):
    x = np.random.default_rng(0).normal(size=(5, 4)) * scale
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(Tensor(x).log_softmax().exp().data, Tensor(x).softmax().data, rtol=1e-11, atol=1e-300)
        exact = np.log1p(np.exp(-20.0))
        rows = Tensor([[scale, scale - 20.0]])
        np.testing.assert_allclose(rows.log_softmax().data, [[-exact, -20 - exact]], rtol=0, atol=2.3e-16)
        np.testing.assert_allclose(rows.logsumexp(axis=1).data, scale + exact, rtol=1e-15)


def test_an_entry_of_minus_infinity_has_a_share_and_a_gradient_of_0():
    """As a causal mask makes them."""
    data, dy = np.array([[1.0, -np.inf, 2.0], [0.0, -np.inf, -np.inf]]), np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    for name in ("softmax", "logsumexp"):
        x, t = Tensor(data), torch.tensor(data, requires_grad=True)
        g = dy if name == "softmax" else dy[:, 0]
        y = getattr(x, name)(axis=-1)
        y.backward(g)
        theirs = getattr(t, name)(-1)
        theirs.backward(torch.tensor(g))
        np.testing.assert_allclose(y.data, plain(theirs), rtol=1e-15)
        np.testing.assert_allclose(x.grad, t.grad.numpy(), rtol=1e-15, atol=1e-16)
        assert not x.grad[:, 1].any()


def test_equals_share_and_a_second_derivative_of_a_product_goes_by_pairs():
    x = Tensor([3.0, 1.0, 3.0, 3.0])
    x.max().backward()
    np.testing.assert_allclose(x.grad, [1 / 3, 0, 1 / 3, 1 / 3])
    for data, first, second in (
        ([0.0, 2.0, 3.0], [6, 0, 0], [[0, 3, 2], [3, 0, 0], [2, 0, 0]]),
        ([0.0, 0.0, 3.0], [0, 0, 0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
        ([0.0, 0.0, 0.0], [0, 0, 0], np.zeros((3, 3))),
    ):
        x = Tensor(data)
        (g,) = grad(x.prod(), [x])
        np.testing.assert_array_equal(g.data, first)
        np.testing.assert_array_equal([grad(g[i], [x])[0].data for i in range(3)], second)


def test_a_norm_at_0_is_flat_to_every_order():
    x = Tensor(np.zeros(3))
    (g,) = grad(x.norm(), [x])
    (h,) = grad(g.sum(), [x])
    assert (g.tolist(), h.tolist()) == ([0, 0, 0], [0, 0, 0])


def test_argmax_is_plain_data():
    data = np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])
    t = Tensor(data)
    for got, expected in ((t.argmax(), 1), (np.argmax(t, axis=1), [1, 0]), (t.argmax(axis=0, keepdims=True), [[1, 0, 0]])):
        assert not isinstance(got, Tensor)
        np.testing.assert_array_equal(got, expected)
