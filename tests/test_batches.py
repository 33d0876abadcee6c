"""What a derivation is tried on: numbers of its shapes and domains, and batches on which mistakes show."""

import numpy as np
import pytest

from micrograd_bn import Derivation, equation, verify
from micrograd_bn.batches import Batches, drawn
from micrograd_bn.check import check_backward
from micrograd_bn.derivations import BATCH_NORM, LAYER_NORM


@pytest.mark.parametrize("dims", [("k",), ("m", "k"), ("m", "n", "k")])
@pytest.mark.parametrize(
    ("domain", "least", "most"), [("", -9, 9), ("scale", 0.5, 1.5), ("positive", 0, 99), ("probabilities", 0, 1)]
)
def test_an_input_is_drawn_from_its_domain(domain, least, most, dims):
    d = Derivation(
        "d", [equation(1, "y")(lambda x, w: x + w)], shapes=dict.fromkeys("xw", dims), domains={"w": domain} if domain else {}
    )
    x = np.ones((2, 4, 60)[-len(dims) :])
    inputs, dy = drawn(x, derivation=d)
    assert (list(inputs), inputs["w"].shape, dy.shape) == (["w"], x.shape, x.shape)
    assert least <= inputs["w"].min() < inputs["w"].max() <= most
    if domain == "probabilities":
        assert (inputs["w"].sum(axis=-1) == 1).all()
    other, again = drawn(x, seed=1, derivation=d)[0]["w"], drawn(x, seed=0, derivation=d)[0]["w"]
    assert (other != inputs["w"]).any() and (again == inputs["w"]).all()


@pytest.mark.parametrize(
    ("function", "kept"),
    [(lambda x, z: x * z, (1, 1)), (lambda x, z, axis=0: x * z, (1, 3)), (lambda x, z, axis=-1: x * z, (2, 1))],
)
def test_what_a_mean_over_the_axis_keeps_is_drawn_in_that_shape_and_given_without_the_axes_of_size_1(function, kept):
    d = Derivation("d", [equation(1, "y")(function)], shapes={"z": "kept"})
    assert drawn(np.ones((2, 3)), derivation=d)[0]["z"].shape == kept
    assert verify(np.ones((2, 3)), derivation=d).ok
    for dy, x, z in Batches(d).adversarial(0):
        assert z.shape == tuple(n for n, of_one in zip(x.shape, kept) if of_one != 1)
        assert check_backward(lambda dy, x, z: {"dx": dy * (z[:, None] if kept == (2, 1) else z)}, [(dy, x, z)], d).ok


@pytest.mark.parametrize("d", [BATCH_NORM, LAYER_NORM], ids=lambda d: d.name)
def test_the_batches_differ_in_what_mistakes_depend_on(d):
    batches, axis = list(Batches(d).adversarial(0)), d.constants["axis"]
    _, xs, gammas, _, eps = zip(*batches)
    assert {np.sign(m - k) for m, k in (x.shape for x in xs)} == {-1, 0, 1}
    assert {x.dtype.name for x in xs} == {"float64", "float32"}
    assert min(eps) == 1e-5 and max(eps) == pytest.approx(0.1)  # that of PyTorch, and one that counts
    assert all({*np.sign(gamma)} == {-1, 1} and (abs(gamma) > 1.2).all() and (abs(gamma) < 2.6).all() for gamma in gammas)
    spreads = [x.std(axis=axis) for x in xs]
    assert any(spread.max() > 1e5 * spread.min() > 0 for spread in spreads)
    assert any(spread.min() == 0 for spread in spreads)
    assert any((abs(x.mean(axis=axis)) > 1e5 * spread).all() for x, spread in zip(xs, spreads))


def test_a_constant_that_is_no_eps_may_be_negative():
    d = Derivation("d", [equation(1, "y")(lambda x, c=-1.0: c * x)])
    assert check_backward(lambda dy, x, c: {"dx": dy * c}, derivation=d).ok


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.sum(axis=2), "axis 2 is out of bounds"),
        (lambda x: np.log(x), "y is not finite where x is any number"),
    ],
)
def test_where_no_batch_can_be_drawn_it_is_said_what_to_tell(function, message):
    d = Derivation("d", [equation(1, "y", "…")(function)])
    with pytest.raises(ValueError, match=rf"no batch can be drawn for d: .*{message}.*shapes=\{{'x': .* scale, positive and prob"):
        check_backward(lambda dy, x: {"dx": dy}, derivation=d)
