"""What a derivation is tried on: numbers of its shapes and domains, and batches on which mistakes show."""

import numpy as np
import pytest

from micrograd_bn import Derivation, equation, verify
from micrograd_bn.batches import Batches, drawn
from micrograd_bn.derivations import BATCH_NORM


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


def test_what_a_mean_keeps_has_that_axis_in_a_table_only():
    """And where no axis is named, it is the first."""
    d = Derivation("d", [equation(1, "y")(lambda x, z: x @ z.T)], shapes={"z": "kept"})  # of (m, k) and (1, k)
    assert drawn(np.ones((2, 3)), derivation=d)[0]["z"].shape == (1, 3)
    assert verify(np.ones((2, 3)), derivation=d).ok
    assert all(x.shape[1:] == z.shape for _, x, z in Batches(d).adversarial(0))


def test_the_batches_differ_in_what_mistakes_depend_on():
    batches = list(Batches(BATCH_NORM).adversarial(0))
    _, xs, gammas, _, eps = zip(*batches)
    assert {np.sign(m - k) for m, k in (x.shape for x in xs)} == {-1, 0, 1}
    assert {x.dtype.name for x in xs} == {"float64", "float32"}
    assert min(eps) == 1e-5 and max(eps) == pytest.approx(0.1)  # that of PyTorch, and one that counts
    assert all({*np.sign(gamma)} == {-1, 1} and (abs(gamma) > 1.2).all() and (abs(gamma) < 2.6).all() for gamma in gammas)
    spreads = [x.std(axis=0) for x in xs]
    assert any(spread.max() > 1e5 * spread.min() > 0 for spread in spreads)
    assert any(spread.min() == 0 for spread in spreads)
    assert any((abs(x.mean(axis=0)) > 1e5 * spread).all() for x, spread in zip(xs, spreads))
