"""The thirteen numbered equations and the six gradients, a test for each, against numbers worked out by hand.

The batch is x = 1, 2, 6 with γ = 2, β = 1 and ε = 2, so that μ = 3, σ² = 14/3 and σ² + ε = 20/3; dy = 1, 0, 2.
"""

import numpy as np
import pytest

from micrograd_bn import Tensor, batch_norm, batch_norm_backward
from micrograd_bn.batchnorm import mean, normalize, scale_shift, variables, variance
from micrograd_bn.derivation import evaluate
from micrograd_bn.derivations import BATCH_NORM
from micrograd_bn.engine import grad

EQUATIONS, GRADIENTS = (*BATCH_NORM.equations, *BATCH_NORM.edges), BATCH_NORM.gradients
X, GAMMA, BETA, EPS, DY = np.array([1.0, 2.0, 6.0]), 2.0, 1.0, 2.0, np.array([1.0, 0.0, 2.0])
MU, VAR, S = 3.0, 14 / 3, (20 / 3) ** 0.5
X_HAT = np.array([-2 / S, -1 / S, 3 / S])
VALUES = {"x": X, "mu": MU, "var": VAR, "x_hat": X_HAT, "gamma": GAMMA, "beta": BETA, "eps": EPS, "axis": 0}


def close(value, expected):
    """Equal up to the rounding of a handful of float64 operations."""
    np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-15)


def edge(number: int, upstream):
    """The gradient pulled back along one edge: by the engine, and by the table's formula."""
    entry = EQUATIONS[number - 1]
    forward = next(e.function for e in EQUATIONS[:4] if e.output == entry.output)
    leaves = {name: Tensor(VALUES[name]) for name in ("x", "x_hat", "gamma", "beta")}
    leaves |= {"mu": Tensor([MU]), "var": Tensor([VAR])}
    output = evaluate(forward, leaves | {"eps": EPS, "axis": 0})
    (by_engine,) = grad(output, [leaves[entry.input]], np.broadcast_to(upstream, output.shape))
    on_paper = evaluate(entry.function, VALUES | {"mu": np.array([MU]), f"d{entry.output}": np.asarray(upstream)})
    return by_engine.data, on_paper


def test_equation_1_mean():
    close(mean(X), [3])
    close(mean(Tensor(X)).data, [3])


def test_equation_2_variance():
    close(variance(X, MU), [14 / 3])
    close(variance(Tensor(X), Tensor(MU)).data, [14 / 3])


def test_equation_3_normalize():
    close(normalize(X, MU, VAR, EPS), X_HAT)
    close(normalize(Tensor(X), Tensor(MU), Tensor(VAR), EPS).data, X_HAT)


def test_equation_4_scale_shift():
    close(scale_shift(X_HAT, GAMMA, BETA), [1 - 4 / S, 1 - 2 / S, 1 + 6 / S])
    close(scale_shift(Tensor(X_HAT), GAMMA, BETA).data, [1 - 4 / S, 1 - 2 / S, 1 + 6 / S])


def test_equation_5_y_by_x_hat():
    for term in edge(5, DY):
        close(term, DY * 2)


def test_equation_6_y_by_beta():
    by_engine, on_paper = edge(6, DY)
    close(by_engine, 3)
    close(on_paper, DY)


def test_equation_7_y_by_gamma():
    by_engine, on_paper = edge(7, DY)
    close(by_engine, 4 / S)
    close(on_paper, DY * X_HAT)


def test_equation_8_x_hat_by_var():
    by_engine, on_paper = edge(8, DY)
    close(by_engine, [-2 / S**3])
    close(on_paper, [1 / S**3, 0, -3 / S**3])


def test_equation_9_var_by_mu():
    """Zero in exact arithmetic when mu is the mean, and not otherwise."""
    for term in edge(9, [5.0]):
        close(term, [0])
    x, other_mu = Tensor(X), Tensor([2.0])
    (by_engine,) = grad(variance(x, other_mu), [other_mu], [5.0])
    close(by_engine.data, [5 * -2])
    close(EQUATIONS[8].function(np.array([5.0]), X, other_mu.data, 0), [5 * -2])


def test_equation_10_x_hat_by_mu():
    by_engine, on_paper = edge(10, DY)
    close(by_engine, [-3 / S])
    close(on_paper, -DY / S)


def test_equation_11_mu_by_x():
    by_engine, on_paper = edge(11, [6.0])
    close(by_engine, [2, 2, 2])
    close(on_paper, [2])


def test_equation_12_var_by_x():
    for term in edge(12, [6.0]):
        close(term, [-8, -4, 12])


def test_equation_13_x_hat_by_x():
    for term in edge(13, DY):
        close(term, DY / S)


DVAR = -4 / S**3
DMU = -6 / S
GRADIENTS_BY_HAND = {
    "x_hat": [2, 0, 4],
    "gamma": 4 / S,
    "beta": 3,
    "var": [DVAR],
    "mu": [DMU],
    "x": np.array([2, 0, 4]) / S + DVAR * 2 / 3 * np.array([-2, -1, 3]) + DMU / 3,
}


@pytest.mark.parametrize("variable", GRADIENTS_BY_HAND)
def test_gradient_of(variable):
    """On paper by batch_norm_backward, by the table's function, and by the engine through the whole graph."""
    expected = GRADIENTS_BY_HAND[variable]
    on_paper = batch_norm_backward(DY, X, GAMMA, EPS)
    close(getattr(on_paper, variable), expected)

    arrived = {f"d{name}": g for name, g in on_paper._asdict().items()} | {"dy": DY}
    arrived |= {"mu": np.array([MU]), "var": np.array([VAR])}
    entry = next(entry for entry in GRADIENTS if entry.variable == variable)
    close(evaluate(entry.function, VALUES | arrived), expected)

    y = batch_norm(Tensor(X), Tensor(GAMMA), Tensor(BETA), EPS)
    y.backward(DY)
    close(variables(y)[variable].grad, expected)


def test_the_table_is_the_derivations():
    """Seven variables, thirteen numbers, nine edges; each gradient adds up the edges that leave its variable."""
    assert [entry.number for entry in EQUATIONS] == list(range(1, 14))
    forward, edges = EQUATIONS[:4], EQUATIONS[4:]
    assert [entry.output for entry in forward] == ["mu", "var", "x_hat", "y"]
    assert len({(entry.input, entry.output) for entry in edges}) == 9
    for gradient in GRADIENTS:
        assert set(gradient.numbers) == {entry.number for entry in edges if entry.input == gradient.variable}


def test_the_table_calls_its_entries_by_the_derivations_symbols():
    assert [entry.name for entry in EQUATIONS[:5]] == ["μ", "σ²", "x̂", "y", "∂y/∂x̂"]
    assert BATCH_NORM.condensed[0].numbers == GRADIENTS[-1].numbers
    assert [entry.name for entry in GRADIENTS] == ["dx̂", "dγ", "dβ", "dσ²", "dμ", "dx"]
