"""The kind of number behind the proof: with numbers for its symbols, an expression is what NumPy computes."""

import numpy as np
import pytest

from micrograd_bn import Tensor, derivations
from tests.conftest import optional

sp = optional("sympy")

from micrograd_bn.numbers import batch  # noqa: E402
from micrograd_bn.prove import Prover  # noqa: E402

SIZES = {"m": 4, "k": 3, "n": 2, "g": 2, "c": 3, "h": 2, "w": 5}
ORDER = list(SIZES)
m, k = (sp.Symbol(name, integer=True, positive=True) for name in "mk")


def laid_out(array, names):
    """An array with an axis for each name in ORDER, of size 1 where it has none of that name."""
    named = [(ORDER.index(name), i) for i, name in enumerate(names) if name]
    array = np.transpose(array, [i for _, i in sorted(named)] + [i for i, name in enumerate(names) if not name])
    return array.reshape([SIZES[name] if name in names else 1 for name in ORDER])


def names_of(shape):
    return [None if n == 1 else n.name for n in shape]


def number(e, arrays):
    """An expression, laid out: with an array for each symbol that is not a size, and a mean for each mean."""
    if isinstance(e, batch.Mean):
        axis = ORDER.index(e.over.name)
        return number(e.of, arrays).mean(axis=axis, keepdims=True)
    if isinstance(e, batch.Root):
        return np.sqrt(number(e.of, arrays))
    if isinstance(e, batch.Largest):
        return 0.7  # any number: it cancels
    if isinstance(e, batch.Element):
        return arrays[e.name]
    symbols = sorted(e.free_symbols, key=str)
    values = [number(s, arrays) if isinstance(s, batch.Element) else SIZES[s.name] for s in symbols]
    return sp.lambdify(symbols, e, "numpy")(*values)


@pytest.mark.parametrize("name", [name for name in derivations.__all__ if name != "ATTENTION"])
def test_what_the_engine_computes_on_a_batch_is_what_it_computes_on_numbers(name):
    d, random = getattr(derivations, name), np.random.default_rng(0)
    prover = Prover(d)
    shapes = {a: tuple(1 if n == 1 else SIZES[n.name] for n in to) for a, to in prover.shapes.items()}
    arrays = {a: random.uniform(0.5, 1.5, to) for a, to in shapes.items()}
    if "t" in arrays:
        arrays["t"] /= arrays["t"].sum(axis=-1, keepdims=True)
    inputs = {a: Tensor(v) for a, v in arrays.items()}
    nodes = d.forward(**inputs)
    symbolic = d.forward(**{a: Tensor(v) for a, v in prover.inputs.items()}, **prover.constants)
    upstream = random.normal(size=nodes[d.result].shape)
    nodes[d.result].backward(upstream)
    symbolic[d.result].backward(prover.upstream)
    numbers = {a: laid_out(v, names_of(prover.shapes[a])) for a, v in arrays.items()}
    numbers |= {d.upstream: laid_out(upstream, names_of(symbolic[d.result].shape))}
    numbers |= {c: v for c, v in d.constants.items() if isinstance(v, float)}
    for variable in d.variables:
        got, expected = symbolic[variable], nodes[variable]
        for one, other in (got.data, expected.data), (got.grad, expected.grad):
            given = laid_out(np.asarray(other), names_of(one.shape))
            np.testing.assert_allclose(np.broadcast_to(number(one.e, numbers), given.shape), given, rtol=1e-9, atol=1e-12)


def test_what_is_the_same_for_all_comes_out_and_what_adds_up_to_0_is_0():
    x = batch.Batch(batch.Element("x", [m]), (m,))
    c = batch.Batch(batch.Element("c"))
    mu = x.mean(keepdims=True)
    assert (x - mu).sum().e == 0
    assert sp.expand((c * x).sum().e - m * c.e * mu.e) == 0
    assert sp.expand(((x - mu) ** 2).mean().e - ((x * x).mean() - (mu * mu).mean()).e) == 0
    assert (c + x * 0).sum().e == m * c.e


def test_a_mean_of_means_is_the_same_in_any_order_and_across_another_factor():
    x, w = batch.Batch(batch.Element("x", [m, k]), (m, k)), batch.Batch(batch.Element("w", [m]), (m, 1))
    v = batch.Batch(batch.Element("v", [k]), (1, k))
    for y in (x, x * w, x * v, x * w * v):
        by_rows, by_columns = y.sum(axis=0).sum(), y.sum(axis=1).sum()
        assert by_rows.e == by_columns.e == y.sum().e
    assert ((x * w).sum(axis=0) * v).sum().e != (x * w).sum().e


def test_probabilities_are_others_than_numbers_of_the_same_name():
    assert batch.Element("t", [k], adds_up=k) != batch.Element("t", [k]) == batch.Element("t", [k]) != batch.Element("t", [m])


def test_a_root_is_a_symbol_whose_square_is_known():
    a, b = batch.Batch(batch.Element("a")), batch.Batch(batch.Element("b"))
    root = (a + b).sqrt()
    assert batch.normal_form((root * root - a - b).e) == 0
    assert batch.normal_form((1 / (a + b) - root**-2).e) == 0
    assert batch.normal_form((root**3 / (a + b) - root).e) == 0
    assert batch.normal_form((root - a - b).e) != 0
    assert batch.normal_form((root * a - a).e) != 0


def test_what_does_not_fit_is_said():
    x = batch.Batch(batch.Element("x", [m]), (m,))
    with pytest.raises(ValueError, match="do not broadcast"):
        x + batch.Batch(batch.Element("y", [k]), (k,))
    with pytest.raises(TypeError, match=r"numpy\.sort has no rule"):
        np.sort(x)
    with pytest.raises(TypeError, match="does not mix with an array of float64"):
        np.ones(3) * x
    with pytest.raises(TypeError, match="does not mix"):
        Tensor(x) * np.ones(3)
    with pytest.raises(TypeError, match="which number is larger depends on the numbers, and these are any"):
        bool(x > 0)
    for how in (np.add.outer, np.add.reduceat, lambda *pair: np.add(*pair, where=True)):
        with pytest.raises(TypeError, match=r"numpy\.add has no rule"):
            how(x, x)
    with pytest.raises(TypeError, match=r"numpy\.concatenate has no rule"):
        np.concatenate([x, x])
    with pytest.raises(ValueError, match=r"an array of shape \(m\) is not repeated to \(m, 1\)"):
        np.broadcast_to(x, (m, 1))
    with pytest.raises(TypeError, match=r"an array of shape \(m, m\) has a size twice"):
        x * batch.Batch(batch.Element("c", [m]), (m, 1))
    for index in (0, (0,), (1,), (0, 0), slice(1)):  # x₁ is none that holds for all
        with pytest.raises(TypeError, match="has a generic element, and no element"):
            x[index]
    assert x.sum(keepdims=True)[(0,)].shape == ()


@pytest.mark.parametrize("shapes", [((m, k), (m, k)), ((m, k), (k, m)), ((1, m, k), (k, 1)), ((m, k), (k, 1, 1))])
def test_a_matrix_product_that_a_generic_element_does_not_give_is_refused(shapes):
    a, b = (batch.Batch(batch.Element(name, set(to) - {1}), to) for name, to in zip("ab", shapes))
    with pytest.raises(TypeError, match=r"a matrix product of .* has a size twice"):
        a @ b


def test_which_is_larger_is_a_symbol_whose_square_is_itself():
    x, w = batch.Batch(batch.Element("x", [m]), (m,)), batch.Batch(batch.Element("w"))
    above = x > w
    assert above.dtype == bool and (above * above - above).mean().e == 0 and batch.expand((above * ~above).e) == 0
    assert (above.e, (x <= w).e, (2 * x > 2 * w).e) == ((w < x).e, (~above).e, above.e)
    assert ((x > 0) | (x < 0)).e == 1 and ((x > 0) & (x < 0)).e == 0
    assert (np.maximum(x, w) + np.minimum(w, x) - x - w).mean().e == 0 and (abs(x) ** 2 - x * x).mean().e == 0
    assert (np.maximum(0, x) >= 0).e == 1  # where x is below 0, it is 0
    assert (np.maximum(x, 0) > 0).e == (x > 0).e and batch.expand((1 / np.where(x > 0, x, 1)).e * (x > 0).e * x.e) == (x > 0).e
    assert (np.exp(abs(x)) - np.where(x > 0, np.exp(x), np.exp(-x))).mean().e == 0
    assert (np.clip(x, -1, 1) - np.maximum(np.minimum(x, 1), -1)).e != 0  # for that x > 1 is x > −1, too, it does not know
    root = (x * x + w).sqrt()
    assert (root - x > 0).e != (root - x >= 0).e  # with w = 0 they are equal for all x > 0
    with pytest.raises(TypeError, match=r"in one of two cases, .* has no value"):
        1 / np.maximum(x, 0)


def test_numbers_are_compared_at_points_of_both_signs_and_positive_ones_at_positive_ones():
    for positive in (False, True):
        values = [[float(batch.value_at(point, f"x[{i}]", positive)) for point in range(batch.POINTS)] for i in range(20)]
        assert {value > 0 for each in values for value in each} == ({True} if positive else {True, False})
        mirrored = (lambda v: 1 / v) if positive else (lambda v: -v)
        assert all(each[1::2] == pytest.approx([mirrored(v) for v in each[::2]]) for each in values)
        assert all((1 < abs(far) < 4) and 0 < abs(near) < 2 for near, _, far, _ in values)
    a, b = (batch.Batch(batch.Element(name, at=sp.Float(at))) for name, at in (("a", 2), ("b", -3)))
    assert (a > b, a < b, b >= 0, (1 / (a + b)).sqrt() is not None, 1 / (a + b) < 0, abs(b).e) == (
        True,
        False,
        False,
        True,
        True,
        -b.e,
    )
